//! XEP-0357: Push Notifications. A client that cannot keep a connection is told by its maker's service that there is something.
//!
//! A registration belongs to the client that made it, known by its resource. While a session with that resource is connected, also
//! an inactive one, there is nothing to notify of. When the connection is lost, or the session has ended, whatever would wake the
//! client ([`csi`]) is told to its service: at once, then not again for a few seconds, but what came meanwhile is counted. What the
//! client had not acknowledged when its connection was lost counts, too.
//!
//! What a notification says is a setting: it passes through the hands of two strangers. Without any words of its own an app takes
//! it for unimportant, so there always are some.

use super::csi;
use super::form;
use crate::core::unordered::ByName;
use crate::core::{About, Event, Extension, Flow, Handled, Job, Place, PushContent, SessionId, State, scan};
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{Engine, StoreError, Tree, key};
use crate::wire::xml::{escape, escaped};
use crate::wire::{Condition, Jid, Kind, Node, Ns, Scope, Stanza, StanzaError, Type};
use std::collections::BTreeMap;

/// Registrations of one account; one more takes the place of the oldest: phones are replaced, and nobody says so.
const REGISTRATIONS: usize = 16;
/// The service's address, the node and the form of a registration together, in bytes.
const REGISTRATION_BYTES: usize = 4096;
/// Time between two notifications of one registration, in milliseconds.
const PUSH_MS: u64 = 3_000;
/// Errors in a row that may pass, after which a registration is removed.
const ERRORS: u32 = 16;
/// The longest text of a message in a notification, in bytes.
const BODY_BYTES: usize = 1024;
/// What a notification says that does not tell what the message says.
const WORDS: &str = "New message";

const FORM_TYPE: &str = "http://jabber.org/protocol/pubsub#publish-options";

/// The registrations of all accounts.
#[derive(Default)]
pub(super) struct Push {
    accounts: ByName<BTreeMap<Name, Registration>>,
    /// Whose time or answer a job is.
    jobs: BTreeMap<Job, (Box<str>, Name)>,
}

/// A service and its node (empty: none).
type Name = (Jid, Box<str>);

struct Registration {
    stored: Stored,
    /// What the client has not seen, since it was last connected.
    count: u64,
    /// The last of it, if it is still to be told.
    news: Option<Occasion>,
    /// The time until the next notification.
    pause: Option<Job>,
    /// The answer of the service.
    waits: Option<Job>,
    /// Errors in a row.
    errors: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Stored {
    /// Which one was made first.
    since: u64,
    /// The client's resource.
    resource: Box<str>,
    /// The form that goes along with each notification; empty: none.
    options: Box<str>,
}

/// Something worth a notification.
#[derive(Clone, Default)]
struct Occasion {
    from: Option<Jid>,
    body: Option<Box<str>>,
    /// It is no message, but somebody who asks for a subscription.
    request: bool,
}

impl Stored {
    fn record(&self) -> Box<[u8]> {
        Writer::new(1).u64(self.since).str(&self.resource).str(&self.options).done()
    }

    fn from_record(record: &[u8]) -> Result<Stored, Broken> {
        let mut r = Reader::new(record)?;
        Ok(Stored { since: r.u64()?, resource: r.str()?.into(), options: r.str()?.into() })
    }
}

impl Registration {
    fn new(stored: Stored) -> Registration {
        Registration { stored, count: 0, news: None, pause: None, waits: None, errors: 0 }
    }
}

impl Occasion {
    fn of(message: &Stanza) -> Occasion {
        let hidden = csi::is_encrypted(message.children());
        let body = message.child(Ns::CLIENT, "body").filter(|_| !hidden).map(|body| {
            let text = body.text();
            text[..text.floor_char_boundary(BODY_BYTES)].into()
        });
        // Whom one writes to in a room is a nickname; elsewhere the device is nobody's business.
        let whole = message.ty == Type::Groupchat || message.may_have(Ns::MUC_USER);
        let from = message.from.as_ref().map(|from| if whole { from.clone() } else { from.bare() });
        Occasion { from, body, request: false }
    }
}

/// Whether a message is worth a notification.
fn matters(message: &Stanza) -> bool {
    let kind = !matches!(message.ty, Type::Error | Type::Headline);
    let mut children = message.children().filter(|c| {
        // A subject is no message, and an empty text says nothing. Of a call only its beginning is news.
        match c.ns() {
            Ns::CLIENT => c.name() == "body" && !c.text().is_empty(),
            Ns::JINGLE_MESSAGE => c.name() == "propose",
            _ => true,
        }
    });
    kind && csi::is_said(&mut children)
}

/// A message itself, or what it is a copy of (XEP-0280), if that came from somebody else.
fn uncopied(message: &Stanza) -> Option<Stanza> {
    if message.wrapped().next().is_none() {
        return Some(message.clone());
    }
    // What was wrapped is written only; here it is read after all.
    let copy = Stanza::parse(&message.to_xml(), Scope::client()).ok()??;
    let received =
        copy.child(Ns::CARBONS, "received")?.child(Ns::FORWARD, "forwarded")?.child(Ns::CLIENT, "message")?;
    Stanza::parse(&received.copy(), Scope::client()).ok()?
}

/// Whether the client with this resource has a connection.
fn is_connected(st: &State, local: &str, resource: &str) -> bool {
    let sid = st.account_of(local).and_then(|account| account.sessions.get(resource));
    sid.and_then(|sid| st.session(*sid)).is_some_and(|session| session.stream.is_some())
}

/// The key of a row.
fn row(local: &str, (service, node): &Name) -> crate::store::Bytes {
    key::named(local, &format!("{service}\0{node}"))
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}

impl Push {
    fn enable(&mut self, st: &mut State, local: &str, iq: &Stanza, enable: Node<'_>) -> Handled {
        let name = name(enable)?.ok_or_else(|| bad("the address of the service is missing"))?;
        let resource = iq.from.as_ref().and_then(Jid::resource).ok_or(Condition::NotAllowed)?;
        let own = st.account_of(local).is_none_or(|account| account.jid.as_str() == name.0.bare_str());
        if own || name.0 == *st.domain() {
            return Err(StanzaError::new(Condition::NotAllowed).text("that is no service for notifications"));
        }
        let options = match form::submitted(enable, FORM_TYPE)? {
            Some(_) => enable.child(Ns::DATA_FORM, "x").map(Node::copy).unwrap_or_default(),
            None => String::new(),
        };
        if name.0.as_str().len() + name.1.len() + options.len() > REGISTRATION_BYTES {
            let text = format!("a registration has at most {REGISTRATION_BYTES} bytes");
            return Err(StanzaError::new(Condition::PolicyViolation).text(text));
        }
        let mut stored = Stored { since: st.next_mark(), resource: resource.into(), options: options.into() };
        let known = self.accounts.get(local);
        if let Some(before) = known.and_then(|known| known.get(&name)) {
            let since = std::mem::replace(&mut stored.since, before.stored.since);
            if before.stored == stored {
                // Clients say it whenever they come: nothing to be stored.
                return st.reply(iq, "");
            }
            stored.since = since;
        } else if let Some(known) = known.filter(|known| known.len() >= REGISTRATIONS) {
            let oldest = known.iter().min_by_key(|(_, r)| r.stored.since).map(|(name, _)| name.clone());
            st.write()?;
            oldest.into_iter().for_each(|name| self.remove(st, local, &name));
        }
        st.write()?.put(Tree::Push, row(local, &name), stored.record());
        let registrations = self.accounts.or_default(local.into());
        match registrations.get_mut(&name) {
            Some(registration) => registration.stored = stored,
            None => drop(registrations.insert(name, Registration::new(stored))),
        }
        st.confirm(iq, "")
    }

    fn disable(&mut self, st: &mut State, local: &str, iq: &Stanza, disable: Node<'_>) -> Handled {
        let (service, node) = name(disable)?.ok_or_else(|| bad("the address of the service is missing"))?;
        let all = disable.attr("node").is_none();
        let names = self.accounts.get(local).into_iter().flat_map(BTreeMap::keys);
        let names: Vec<Name> = names.filter(|name| name.0 == service && (all || name.1 == node)).cloned().collect();
        st.erase()?;
        names.iter().for_each(|name| self.remove(st, local, name));
        st.confirm(iq, "")
    }

    /// Removes a registration. While storage takes nothing its row stays, and is there again after a restart.
    fn remove(&mut self, st: &mut State, local: &str, name: &Name) {
        let Some(registrations) = self.accounts.get_mut(local) else { return };
        let Some(gone) = registrations.remove(name) else { return };
        if registrations.is_empty() {
            self.accounts.remove(local);
        }
        self.stop(st, gone);
        if let Ok(batch) = st.write() {
            batch.delete(Tree::Push, row(local, name));
        }
    }

    /// Nothing more is waited for.
    fn stop(&mut self, st: &mut State, registration: Registration) {
        for job in registration.pause.into_iter().chain(registration.waits) {
            self.jobs.remove(&job);
            st.forget(job);
        }
    }

    /// Something happened that the clients of an account which are not connected should know; with `resource` only that one.
    fn tell(&mut self, st: &mut State, local: &str, resource: Option<&str>, news: &Occasion, count: u64) {
        let Some(registrations) = self.accounts.get_mut(local) else { return };
        let mut due = Vec::new();
        for (name, registration) in registrations {
            let theirs = &registration.stored.resource;
            if resource.is_some_and(|resource| resource != &**theirs) || is_connected(st, local, theirs) {
                continue;
            }
            registration.count += count;
            registration.news = Some(news.clone());
            if registration.pause.is_none() {
                due.push(name.clone());
            }
        }
        for name in due {
            self.publish(st, local, &name);
        }
    }

    /// Publishes what is to be told, then pauses.
    fn publish(&mut self, st: &mut State, local: &str, name: &Name) {
        let registration = self.accounts.get_mut(local).and_then(|all| all.get_mut(name));
        let Some((registration, news)) = registration.and_then(|r| r.news.take().map(|news| (r, news))) else { return };
        let item = notification(st, local, registration.count, &news);
        let mut payload = String::from("<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish");
        if !name.1.is_empty() {
            payload += &format!(" node='{}'", escaped(&name.1));
        }
        payload += &format!("><item>{item}</item></publish>");
        if !registration.stored.options.is_empty() {
            payload += &format!("<publish-options>{}</publish-options>", registration.stored.options);
        }
        payload += "</pubsub>";
        let waits = st.inquire(st.domain().clone(), name.0.clone(), Type::Set, payload);
        let pause = st.after(PUSH_MS);
        registration.pause = Some(pause);
        // Of several that are not answered, the last one counts.
        if let Some(before) = registration.waits.replace(waits) {
            self.jobs.remove(&before);
            st.forget(before);
        }
        self.jobs.insert(waits, (local.into(), name.clone()));
        self.jobs.insert(pause, (local.into(), name.clone()));
    }

    /// A client is here: it sees for itself.
    fn came(&mut self, st: &State, sid: SessionId) {
        let Some(session) = st.session(sid) else { return };
        let registrations = self.accounts.get_mut(session.local()).into_iter().flat_map(BTreeMap::values_mut);
        for registration in registrations.filter(|r| session.jid.resource() == Some(&*r.stored.resource)) {
            registration.count = 0;
            registration.news = None;
        }
    }

    /// A client has lost its connection: what it has not acknowledged is news, if it is not connected.
    fn parted(&mut self, st: &mut State, sid: SessionId) {
        let Some(session) = st.session(sid) else { return };
        if !self.accounts.contains_key(session.local()) {
            return;
        }
        let messages = session.undelivered().filter(|s| s.kind == Kind::Message).filter_map(uncopied).filter(matters);
        let (count, last) = messages.fold((0, None), |(n, _), message| (n + 1, Some(Occasion::of(&message))));
        let (Some(news), local) = (last, Box::<str>::from(session.local())) else { return };
        let resource = session.jid.resource().map(Box::<str>::from);
        self.tell(st, &local, resource.as_deref(), &news, count);
    }

    /// XEP-0357 §8: a service wants no more. Says whether that is what a message says.
    fn is_disabled(&mut self, st: &mut State, local: &str, message: &Stanza) -> bool {
        let (Some(from), Some(account)) = (&message.from, st.account_of(local)) else { return false };
        let Some(pubsub) = message.child(Ns::PUBSUB, "pubsub") else { return false };
        let ends = |c: Node<'_>| {
            c.is(Ns::PUBSUB, "affiliation")
                && c.attr("affiliation").as_deref() == Some("none")
                && c.attr("jid").and_then(|jid| Jid::parse(&jid).ok()).as_ref() == Some(&account.jid)
        };
        let name = (from.clone(), Box::from(pubsub.attr("node").unwrap_or_default()));
        let known = self.accounts.get(local).is_some_and(|known| known.contains_key(&name));
        let is_that = known && pubsub.children().any(ends);
        if is_that {
            self.remove(st, local, &name);
        }
        is_that
    }
}

/// The service and the node in a request.
fn name(request: Node<'_>) -> Result<Option<Name>, StanzaError> {
    let Some(jid) = request.attr("jid").filter(|jid| !jid.is_empty()) else { return Ok(None) };
    let jid = Jid::parse(&jid).map_err(|e| StanzaError::new(Condition::JidMalformed).text(e.0))?;
    // It is part of a key.
    let node = request.attr("node").unwrap_or_default();
    Ok(Some((jid, node.as_ref().into())))
}

/// XEP-0357 §7: what is told.
fn notification(st: &State, local: &str, count: u64, news: &Occasion) -> String {
    let mut fields = String::new();
    let mut field = |var: &str, value: &str| {
        fields += &format!("<field var='{var}'><value>");
        escape(value, &mut fields);
        fields += "</value></field>";
    };
    field("FORM_TYPE", "urn:xmpp:push:summary");
    if count > 0 {
        field("message-count", &count.to_string());
    }
    if news.request {
        let items = st.account_of(local).into_iter().flat_map(|account| account.roster.items.values());
        // The one that it is about is not there yet.
        let pending = items.filter(|item| item.state.pending).count() + 1;
        field("pending-subscription-count", &pending.to_string());
    }
    let content = st.settings().push_content;
    if let Some(from) = news.from.as_ref().filter(|_| content != PushContent::None) {
        field("last-message-sender", from.as_str());
    }
    if !news.request {
        let body = news.body.as_deref().filter(|_| content == PushContent::Full);
        field("last-message-body", body.unwrap_or(WORDS));
    }
    format!("<notification xmlns='urn:xmpp:push:0'><x xmlns='jabber:x:data' type='submit'>{fields}</x></notification>")
}

/// Whether an error may pass (XEP-0357 §7.1): the service is not there, or has trouble.
fn may_pass(error: &Stanza) -> bool {
    error.child(Ns::CLIENT, "error").is_some_and(|error| {
        let waits = error.attr("type").as_deref() == Some("wait");
        let away = ["remote-server-not-found", "remote-server-timeout", "service-unavailable", "recipient-unavailable"];
        waits || error.children().any(|c| c.ns() == Ns::STANZAS && away.contains(&c.name()))
    })
}

impl Extension for Push {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0357",
            name: "Push Notifications",
            version: "0.4.1",
            missing: "",
            server: &[],
            account: &["urn:xmpp:push:0"],
            iq: &[Ns::PUSH],
        }
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        scan(engine, Tree::Push, &[], |key, value| {
            let damaged =
                || StoreError::Damaged("the name of a push registration in the database is not readable".into());
            let (local, name) = key::split(key).ok_or_else(damaged)?;
            let (service, node) =
                std::str::from_utf8(name).ok().and_then(|name| name.split_once('\0')).ok_or_else(damaged)?;
            let service = Jid::parse(service).map_err(|_| damaged())?;
            if st.accounts().contains_key(local) {
                let registration = Registration::new(Stored::from_record(value)?);
                self.accounts.or_default(local.into()).insert((service, node.into()), registration);
            }
            Ok(())
        })
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Place::Own(local) = at else { return Ok(Flow::Pass) };
        if iq.ty != Type::Set {
            return Err(Condition::BadRequest.into());
        }
        if let Some(enable) = iq.child(Ns::PUSH, "enable") {
            return self.enable(st, local, iq, enable);
        }
        match iq.child(Ns::PUSH, "disable") {
            Some(disable) => self.disable(st, local, iq, disable),
            None => Err(Condition::BadRequest.into()),
        }
    }

    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        if !self.accounts.contains_key(local) {
            return Ok(Flow::Pass);
        }
        match (stanza.kind, stanza.ty) {
            (Kind::Message, _) if self.is_disabled(st, local, stanza) => return Ok(Flow::Done),
            (Kind::Presence, Type::Subscribe) => {
                let from = stanza.from.as_ref().map(Jid::bare);
                let state = from.as_ref().zip(st.account_of(local)).map(|(from, a)| a.roster.state(from));
                if state.is_some_and(|state| !state.pending && !state.from && !state.approved) {
                    self.tell(st, local, None, &Occasion { from, body: None, request: true }, 0);
                }
            }
            _ => {}
        }
        Ok(Flow::Pass)
    }

    fn accepted(&mut self, st: &mut State, local: &str, message: &Stanza) {
        if self.accounts.contains_key(local) && matters(message) {
            // What is said in a room comes to each client that is in it.
            let one = message.ty == Type::Groupchat || message.may_have(Ns::MUC_USER);
            let resource = message.to.as_ref().and_then(Jid::resource).filter(|_| one);
            self.tell(st, local, resource, &Occasion::of(message), 1);
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        match event {
            Event::Bound(sid) | Event::Resumed(sid) => self.came(st, *sid),
            Event::Parted(sid) => self.parted(st, *sid),
            Event::Removed(local) => {
                let gone = self.accounts.remove(local).unwrap_or_default();
                gone.into_values().for_each(|registration| self.stop(st, registration));
            }
            _ => {}
        }
    }

    fn answered(&mut self, st: &mut State, job: Job, reply: &Stanza) {
        let Some((local, name)) = self.jobs.remove(&job) else { return };
        let Some(registration) = self.accounts.get_mut(&local).and_then(|all| all.get_mut(&name)) else { return };
        registration.waits = None;
        if reply.ty == Type::Result {
            registration.errors = 0;
            return;
        }
        registration.errors += 1;
        if registration.errors >= ERRORS || !may_pass(reply) {
            log::info!("{} takes no more notifications for {local}", name.0);
            self.remove(st, &local, &name);
        }
    }

    fn timer(&mut self, st: &mut State, job: Job) {
        let Some((local, name)) = self.jobs.remove(&job) else { return };
        let Some(registration) = self.accounts.get_mut(&local).and_then(|all| all.get_mut(&name)) else { return };
        registration.pause = None;
        self.publish(st, &local, &name);
    }
}
