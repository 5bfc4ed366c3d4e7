//! XEP-0060: Publish-Subscribe, at the service `pubsub.DOMAIN`, and XEP-0163: Personal Eventing Protocol, at every account. Both
//! are one engine; a [`Home`] is where the nodes are.
//!
//! - `node`: what nodes are, how they are stored and how many there may be; `config`: how they behave; `access`: who may do what.
//! - `publish`, `items`, `subscribe`, `owner`, `disco`: the requests. `errors`: the answers to those that fail.
//! - `notify`: who is told of what happens; `caps`: who wants to be; `last`: what one gets who has come.
//!
//! Other extensions publish with [`publish()`], in the name of an account, and read with [`items()`]. They are told by
//! [`Event::Published`] and [`Event::Retracted`].

mod access;
pub(super) mod caps;
mod config;
mod disco;
mod errors;
mod items;
mod last;
pub(super) mod node;
mod notify;
mod owner;
mod publish;
mod subscribe;

use crate::core::{About, Event, Extension, Flow, Handled, Job, Place, SessionId, State};
use crate::store::{Engine, Query, Rows, StoreError, Tree, Whose};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Node, Ns, Stanza, StanzaError, Type};
use caps::CapsClient;
use errors::{bad, unsupported};
use node::{Forest, Home, Item};
use std::collections::BTreeMap;

/// What people read in the list of services.
const TITLE: &str = "Publish-Subscribe";

/// XEP-0163, of which all is done here.
pub(super) const PEP: About = About::new(
    "XEP-0163",
    "Personal Eventing Protocol",
    "1.2.2",
    "who only sent directed presence gets no notifications; no replyto",
);

/// XEP-0223: nothing but a use of XEP-0060 at accounts.
pub(super) const PRIVATE: About = About::new("XEP-0223", "Persistent Storage of Private Data via PubSub", "1.1.1", "");

pub(super) const SUBDOMAIN: &str = "pubsub";

#[derive(Default)]
pub(super) struct PubSub {
    forest: Forest,
    caps: caps::ClientCaps,
    /// What waits for storage.
    tasks: BTreeMap<Job, PubSubTask>,
    service: Option<Jid>,
}

#[derive(Debug)]
enum PubSubTask {
    Read(items::ItemsReading),
    SendLast(last::Sending, Home, Box<str>, u64),
}

/// A request, and who makes it.
struct PubSubRequest<'a> {
    home: Home,
    /// Whose request it is: a bare JID.
    who: Jid,
    iq: &'a Stanza,
}

impl PubSubRequest<'_> {
    /// Whether an account does it at itself.
    fn own(&self) -> bool {
        self.home.is_account() && self.who == self.home.jid
    }
}

/// The node that a request names.
fn node_name(request: Node<'_>) -> Result<String, StanzaError> {
    request.attr("node").filter(|name| !name.is_empty()).map(|name| name.into_owned()).ok_or_else(errors::node_required)
}

/// An attribute that says yes or no (XML Schema's boolean).
fn flag(request: Node<'_>, name: &str) -> Result<bool, StanzaError> {
    match request.attr(name).as_deref() {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(bad("an attribute is neither true nor false")),
    }
}

/// An attribute, if there is something to say.
fn attribute(name: &str, value: Option<&str>) -> String {
    value.map(|value| format!(" {name}='{}'", escaped(value))).unwrap_or_default()
}

/// Publishes in the name of an account: the payload is one element with its namespace, `options` are fields of
/// `pubsub#publish-options` with their values. It happens later in this turn, or not at all if the node is otherwise configured: the
/// answer comes to [`Extension::answered`].
pub(super) fn publish(
    st: &mut State,
    account: &Jid,
    node: &str,
    id: &str,
    payload: &str,
    options: &[(&str, &str)],
) -> Job {
    let form = form("http://jabber.org/protocol/pubsub#publish-options", options);
    let publish = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='{}'><item id='{}'>{payload}</item></publish>\
         <publish-options>{form}</publish-options></pubsub>",
        escaped(node),
        escaped(id)
    );
    request(st, account, publish)
}

/// Retracts in the name of an account; those who are interested are told.
pub(super) fn retract(st: &mut State, account: &Jid, node: &str, id: &str) -> Job {
    let retract = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='{}' notify='1'><item id='{}'/></retract></pubsub>",
        escaped(node),
        escaped(id)
    );
    request(st, account, retract)
}

/// Configures a node in the name of an account, if there is such a node: fields of `pubsub#node_config`.
pub(super) fn configure(st: &mut State, account: &Jid, node: &str, fields: &[(&str, &str)]) -> Job {
    let configure = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><configure node='{}'>{}</configure></pubsub>",
        escaped(node),
        form("http://jabber.org/protocol/pubsub#node_config", fields)
    );
    request(st, account, configure)
}

fn form(ty: &str, fields: &[(&str, &str)]) -> String {
    let mut form = format!(
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'><value>{ty}</value></field>"
    );
    for (var, value) in fields {
        form += &format!("<field var='{}'><value>{}</value></field>", escaped(var), escaped(value));
    }
    form + "</x>"
}

/// A request that an account makes to itself.
fn request(st: &mut State, account: &Jid, payload: String) -> Job {
    st.inquire(account.bare(), account.bare(), Type::Set, payload)
}

/// What to ask storage for, to read the items of an account's node: at most so many, the first that were published.
pub(super) fn items(local: &str, node: &str, rows: usize) -> Query {
    let prefix = node::items_prefix(&Whose::account(local), node).into();
    Query::Scan { tree: Tree::Item, prefix, after: None, rows, bytes: usize::MAX }
}

/// The id and the payload of an item that storage has.
pub(super) fn item(record: &[u8]) -> Option<(Box<str>, String)> {
    let (item, payload) = Item::from_record(record).ok()?;
    Some((item.id, payload.to_owned()))
}

impl PubSub {
    /// Somebody elsewhere shows presence to an account, or does not any more. Who may not see the account's own is told of nothing there,
    /// and makes nothing grow here.
    fn presence_from_elsewhere(&mut self, st: &mut State, local: &str, presence: &Stanza) {
        let Some(from) = presence.from.as_ref().filter(|from| !from.is_bare()) else { return };
        match presence.ty {
            Type::None if st.account_of(local).is_some_and(|account| account.shows_presence_to(from)) => {
                let (news, met) = self.caps.shown(st, local, presence);
                if met && news.is_empty() {
                    self.met(st, local, from);
                }
                self.news(st, news);
            }
            Type::Unavailable => self.caps.hidden(st, local, from),
            _ => {}
        }
    }

    /// A request in one of the namespaces of publish-subscribe.
    fn requested(&mut self, st: &mut State, home: Home, iq: &Stanza) -> Handled {
        let who = iq.from.as_ref().map(Jid::bare).ok_or(Condition::BadRequest)?;
        let rq = &PubSubRequest { home, who, iq };
        if rq.own() && st.account(&rq.who).is_none() {
            // It was removed meanwhile.
            return Err(errors::no_node());
        }
        let Some(pubsub) = iq.children().next().filter(|c| c.name() == "pubsub") else {
            return Err(bad("no such request"));
        };
        let named = pubsub.children().find(|c| !["publish-options", "configure"].contains(&c.name()));
        let Some(element) = named.or_else(|| pubsub.children().next()).filter(|c| c.ns() == pubsub.ns()) else {
            return Err(bad("nothing is asked for"));
        };
        if element.name() == "subscribe" && pubsub.children().any(|c| c.name() == "options") {
            // §6.3.7: better than to promise them.
            return Err(unsupported!("subscription-options"));
        }
        match (pubsub.ns() == Ns::PUBSUB, iq.ty == Type::Set, element.name()) {
            (true, true, "publish") => self.publish(st, rq, pubsub, element),
            (true, true, "retract") => self.retract(st, rq, element),
            (true, true, "subscribe") => self.subscribe(st, rq, element),
            (true, true, "unsubscribe") => self.unsubscribe(st, rq, element),
            (true, true, "create") => self.create(st, rq, pubsub, element),
            (true, false, "items") => self.items(st, rq, pubsub, element),
            (true, false, "subscriptions") => self.own_subscriptions(st, rq, element),
            (true, false, "affiliations") => self.own_affiliations(st, rq, element),
            (true, _, "options") => Err(unsupported!("subscription-options")),
            (true, false, "default") => Err(unsupported!("retrieve-default-sub")),
            (false, false, "configure") => self.configuration(st, rq, element),
            (false, false, "default") => self.defaults(st, rq),
            (false, false, "subscriptions") => self.subscriptions(st, rq, element),
            (false, false, "affiliations") => self.affiliations(st, rq, element),
            (false, true, "configure") => self.configure(st, rq, element),
            (false, true, "delete") => self.delete(st, rq, element),
            (false, true, "purge") => self.purge(st, rq, element),
            (false, true, "subscriptions") => self.change_subscriptions(st, rq, element),
            (false, true, "affiliations") => self.change_affiliations(st, rq, element),
            _ => Err(bad("no such request")),
        }
    }
}

impl Extension for PubSub {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0060",
            name: "Publish-Subscribe",
            version: "1.30.0",
            missing: "collections, subscription options, several subscriptions of one address, the list of pending subscriptions, \
                      expiry of items, and a node that moved is not remembered",
            server: &[],
            account: disco::ACCOUNT,
            iq: &[Ns::PUBSUB, Ns::PUBSUB_OWNER, Ns::DISCO_INFO, Ns::DISCO_ITEMS],
        }
    }

    fn also(&self) -> &'static [About] {
        &[PEP, PRIVATE]
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let domain = format!("{SUBDOMAIN}.{}", st.domain().domain());
        if let Ok(jid) = Jid::parse(&domain) {
            st.serve(jid.domain(), TITLE);
            self.service = Some(jid);
        }
        self.forest.load(st, engine)
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Some(home) = iq.to.as_ref().map(Jid::bare).filter(|_| *at != Place::Server).map(Home::account) else {
            return Ok(Flow::Pass);
        };
        match iq.children().next().map(Node::ns) {
            Some(Ns::DISCO_INFO | Ns::DISCO_ITEMS) => self.account_disco(st, &home, iq),
            _ => self.requested(st, home, iq),
        }
    }

    fn serve(&mut self, st: &mut State, stanza: &mut Stanza) -> Handled {
        let Some(home) = stanza.to.clone().filter(|to| Some(to) == self.service.as_ref()).map(Home::service) else {
            return Ok(Flow::Pass);
        };
        match (stanza.kind, stanza.ty) {
            (Kind::Iq, Type::Get | Type::Set) => match stanza.children().next().map(Node::ns) {
                Some(Ns::PUBSUB | Ns::PUBSUB_OWNER) => self.requested(st, home, stanza),
                Some(Ns::DISCO_INFO | Ns::DISCO_ITEMS) => self.service_disco(st, &home, stanza, TITLE),
                Some(Ns::PING) if stanza.ty == Type::Get => st.reply(stanza, ""),
                _ => Ok(Flow::Pass),
            },
            (Kind::Message, ty) if ty != Type::Error => {
                self.authorized(st, &home, stanza).map_or(Ok(Flow::Pass), |done| done.map(|()| Flow::Done))
            }
            _ => Ok(Flow::Done),
        }
    }

    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        if stanza.kind == Kind::Presence && stanza.ty == Type::Unavailable && stanza.to.is_none() {
            self.caps.gone(st, &CapsClient::Here(sid));
        }
        Ok(Flow::Pass)
    }

    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        let Some(from) = stanza.from.as_ref() else { return Ok(Flow::Pass) };
        if stanza.kind == Kind::Presence && st.local(from).is_none() {
            self.presence_from_elsewhere(st, local, stanza);
        } else if stanza.kind == Kind::Presence && stanza.ty == Type::Subscribed && st.local(from).is_some() {
            let contact = from.bare();
            self.subscribed(st, local, &contact);
        } else if stanza.kind == Kind::Message && stanza.ty != Type::Error && stanza.may_have(Ns::DATA_FORM) {
            // What an owner says to the own account of a subscription to one of its nodes.
            let own = stanza.to.as_ref().is_some_and(|to| to.is_bare() && to.as_str() == from.bare_str());
            let home = Home::account(from.bare());
            if own && let Some(done) = self.authorized(st, &home, stanza) {
                return done.map(|()| Flow::Done);
            }
        }
        Ok(Flow::Pass)
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        match event {
            Event::Broadcast(sid) => {
                let news = self.caps.broadcast(st, *sid);
                self.news(st, news);
            }
            Event::Closed { sid, .. } => self.caps.gone(st, &CapsClient::Here(*sid)),
            Event::Removed(local) => {
                if let Some(service) = self.service.clone() {
                    self.forest.account_removed(st, local, &service);
                }
            }
            _ => {}
        }
    }

    fn replied(&mut self, st: &mut State, _sid: SessionId, job: Job, reply: &Stanza) {
        let news = self.caps.replied(st, job, reply);
        self.news(st, news);
    }

    fn answered(&mut self, st: &mut State, job: Job, reply: &Stanza) {
        let news = self.caps.replied(st, job, reply);
        self.news(st, news);
    }

    fn timer(&mut self, st: &mut State, job: Job) {
        self.caps.timer(st, job);
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match self.tasks.remove(&job) {
            Some(PubSubTask::Read(reading)) => self.was_read(st, reading, rows),
            Some(PubSubTask::SendLast(sending, home, name, number)) => {
                self.was_last(st, sending, (home, name, number), rows)
            }
            None => {}
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::{Command, Core, Effect, Input, Now, Settings, StreamId};
    use crate::store::memory::Memory;
    use crate::wire::scram::Credentials;

    /// Publishes at `urn:b` what is published at `urn:a`, and takes it back with it.
    #[derive(Default)]
    struct Echo {
        told: Vec<String>,
        job: Option<Job>,
    }

    impl Extension for Echo {
        fn about(&self) -> &'static About {
            &PRIVATE
        }
        fn event(&mut self, st: &mut State, event: &Event) {
            let jid = Jid::parse("romeo@house.test").unwrap();
            match event {
                Event::Published { node, .. } if &**node == "urn:a" => {
                    self.job = Some(st.ask(items("romeo", node, 10)))
                }
                Event::Retracted { node, item: Some(item), .. } if &**node == "urn:a" => {
                    let _ = retract(st, &jid, "urn:b", item);
                }
                other => self.told.push(format!("{other:?}")),
            }
        }
        fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
            assert_eq!(self.job, Some(job));
            let jid = Jid::parse("romeo@house.test").unwrap();
            for (_, record) in rows.unwrap() {
                let (id, payload) = item(&record).unwrap();
                publish(st, &jid, "urn:b", &id, &payload, &[("pubsub#access_model", "open")]);
            }
        }
    }

    /// Does what the core wants, storage included, and says what was written to the client.
    fn run(core: &mut Core, disk: &mut Memory, input: Input) -> String {
        let mut inputs = std::collections::VecDeque::from([input]);
        let mut said = String::new();
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            core.handle(Now::default(), input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Send(_, stanza) => said += &stanza.to_xml(),
                    Effect::Commit(n, batch) => {
                        disk.commit(&[batch]).unwrap();
                        inputs.push_back(Input::Committed(n));
                    }
                    Effect::Ask(job, query) => inputs.push_back(Input::Answer(job, disk.query(&query).ok())),
                    _ => {}
                }
            }
        }
        said
    }

    #[test]
    fn another_extension_is_told_reads_publishes_and_retracts() {
        let jid = Jid::parse("romeo@house.test").unwrap();
        let mut disk = Memory::default();
        let extensions: Vec<Box<dyn Extension>> = vec![Box::new(PubSub::default()), Box::new(Echo::default())];
        let settings = Settings::new(Jid::parse("house.test").unwrap());
        let mut core = Core::open(settings, [7; 32], extensions, &mut disk).unwrap();
        let credentials = Credentials::fake(&[1; 32], "romeo", 1);
        run(&mut core, &mut disk, Input::Command(Job(u64::MAX), Command::UserAdd(jid.clone(), credentials)));
        run(&mut core, &mut disk, Input::Bind(StreamId(1), jid, Some("orchard".into())));
        let mut ask = |inner: &str, ty: &str| {
            let xml = format!(
                "<iq type='{ty}' id='1'><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inner}</pubsub></iq>"
            );
            let iq = Stanza::parse(&xml, crate::wire::Scope::client()).unwrap().unwrap();
            run(&mut core, &mut disk, Input::Stanza(StreamId(1), iq))
        };
        let published =
            ask("<publish node='urn:a'><item id='i'><x xmlns='urn:x'>A &amp; B</x></item></publish>", "set");
        assert!(published.contains("type='result'"), "{published}");
        let read = ask("<items node='urn:b'/>", "get");
        assert!(read.contains("<item id='i'><x xmlns='urn:x'>A &amp; B</x></item>"), "{read}");
        ask("<retract node='urn:a'><item id='i'/></retract>", "set");
        let read = ask("<items node='urn:b'/>", "get");
        assert!(read.contains("<items node='urn:b'></items>"), "{read}");
    }
}
