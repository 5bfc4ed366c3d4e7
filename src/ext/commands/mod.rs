//! XEP-0050: Ad-Hoc Commands: what a person can do to the server, or to the own account, from the menus of a client. Every command
//! is one form to fill in, or none: [`admin`] has those of administrators, [`own`] those of everybody, [`invite`] how people are invited.

mod admin;
mod announce;
mod invite;
mod own;

use super::disco::{self, Identity, Info};
use super::form::{self, Form, Submitted};
use crate::core::share::{Ledger, Shared, limits};
use crate::core::{self, About, Event, Extension, Flow, Handled, Inviters, Job, Place, SessionId, State};
use crate::store::{Engine, StoreError};
use crate::wire::scram::{CHOSEN_PASSWORD_BYTES, Credentials, long_enough};
use crate::wire::xml::escaped;
use crate::wire::{Condition, ErrorType, Jid, Kind, Node, Ns, Stanza, StanzaError, StreamCondition, StreamError, Type};
use announce::Announcements;
use std::collections::BTreeMap;

/// Commands that one account may have begun and not ended; the one that was begun first is forgotten first.
const ACCOUNT_SESSIONS: usize = 8;
/// Commands that all together may have begun.
const SESSIONS: usize = 1024;

pub(super) const SHARED: Shared = Shared {
    what: "commands that have begun and wait for their form",
    whole: limits![SESSIONS, ACCOUNT_SESSIONS],
    share: "an account: that number, its oldest goes; if there are too many in all, who has most loses first",
    checked: "ext/commands/mod.rs",
    told: "`session-expired` when it goes on with the oldest",
};

/// How long a form may take to be filled in, in milliseconds.
const SESSION_MS: u64 = 15 * 60_000;
/// How the nodes of all commands for administrators begin (XEP-0133).
const ADMIN: &str = "http://jabber.org/protocol/admin#";
/// How the nodes of invitations begin (XEP-0401).
const INVITE: &str = "urn:xmpp:invite#";
/// The node of the list of commands.
const LIST: &str = "http://jabber.org/protocol/commands";

struct AdHocCommand {
    /// What names it.
    node: &'static str,
    /// What it is called, for people.
    name: &'static str,
    /// What is to be filled in, if anything.
    form: Option<fn(&Commands, &State, &Jid) -> Form>,
    run: fn(&mut Commands, &mut State, Run<'_>) -> Result<Done, StanzaError>,
}

/// A command that is being carried out.
struct Run<'a> {
    iq: &'a Stanza,
    /// The full JID of whoever wants it: a session of ours.
    by: &'a Jid,
    /// What was filled in.
    fields: Submitted,
    /// The answer, without what is in it.
    tag: Tag,
}

/// What became of a command. The texts are payloads: forms and notes.
enum Done {
    /// It has told something, and changed nothing.
    Told(String),
    /// It has changed something that is to be stored.
    Changed(String),
    /// These sessions are to be ended, after the answer.
    Ends(Vec<SessionId>),
    /// The password is being hashed; the answer comes then.
    Later,
}

/// The `<command/>` of an answer: node and session.
#[derive(Clone)]
struct Tag {
    node: &'static str,
    session: String,
}

impl Tag {
    fn write(&self, status: &str, payload: &str) -> String {
        let Tag { node, session } = self;
        let (node, session) = (escaped(node), escaped(session));
        format!(
            "<command xmlns='{LIST}' node='{node}' sessionid='{session}' status='{status}' xml:lang='en'>{payload}</command>"
        )
    }
}

/// A command that waits for its form.
struct CommandSession {
    owner: Jid,
    command: &'static AdHocCommand,
    /// Whether it was begun at the account and not at the server.
    own: bool,
    /// Until when, of [`core::Now::mono`].
    until: u64,
    /// The number in its id: later is greater.
    number: u64,
}

/// A password that is being hashed.
struct NewPassword {
    iq: Stanza,
    tag: Tag,
    by: Jid,
    /// Whose it is to be.
    jid: Jid,
    /// For a new account.
    new: bool,
}

/// The commands, what has been begun, and what is told to everybody.
#[derive(Default)]
pub(super) struct Commands {
    sessions: BTreeMap<String, CommandSession>,
    passwords: BTreeMap<Job, NewPassword>,
    news: Announcements,
}

/// XEP-0050 §4.4
fn refusal(condition: Condition, app: &'static str) -> StanzaError {
    StanzaError::new(condition).app(app)
}

fn bad_action() -> StanzaError {
    refusal(Condition::BadRequest, "<bad-action xmlns='http://jabber.org/protocol/commands'/>")
}

fn bad_session() -> StanzaError {
    refusal(Condition::BadRequest, "<bad-sessionid xmlns='http://jabber.org/protocol/commands'/>")
}

/// The form is not what was asked for.
fn bad_payload(text: impl Into<std::borrow::Cow<'static, str>>) -> StanzaError {
    refusal(Condition::BadRequest, "<bad-payload xmlns='http://jabber.org/protocol/commands'/>").text(text)
}

/// Whether somebody is an administrator, by a session of ours. A component's addresses are what it says.
fn is_admin(st: &State, jid: &Jid) -> bool {
    st.session_at(jid).is_some() && st.administers(&jid.bare())
}

/// Whether others may use a command, as its node tells.
fn is_known(node: &str) -> bool {
    node.starts_with(ADMIN) || node.starts_with(INVITE)
}

/// The commands that somebody may use at a place.
fn commands(st: &State, at: &Place, by: &Jid) -> impl Iterator<Item = &'static AdHocCommand> {
    let here = !matches!(at, Place::Account(_)) && st.session_at(by).is_some();
    let admin = *at == Place::Server && is_admin(st, by);
    let invites = match st.settings().inviters {
        Inviters::Everybody => true,
        Inviters::Admins => is_admin(st, by),
        Inviters::Nobody => false,
    };
    let all = admin::COMMANDS.iter().filter(move |_| admin).chain(own::COMMANDS.iter().filter(move |_| here));
    // Who has none open is not asked which.
    let withdraws = here && st.has_invited(&by.bare());
    all.filter(move |command| match command.node {
        own::WITHDRAW => withdraws,
        node => invites || !node.starts_with(INVITE),
    })
}

/// What service discovery tells of commands (XEP-0050 §2.2); `None`: the node is none of theirs. Who may not use any of the
/// administrators' commands cannot tell those that exist from others.
pub(super) fn disco(
    st: &State,
    at: &Place,
    iq: &Stanza,
    info: bool,
    node: &str,
) -> Option<Result<String, StanzaError>> {
    let by = iq.from.as_ref()?;
    let tell = |ty, name: &'static str| {
        let identities = [Identity { category: "automation", ty, lang: "", name: name.into() }].into();
        let info = Info { identities, features: [LIST, Ns::DATA_FORM.uri()].into(), forms: BTreeMap::new() };
        Some(Ok(info.write(Some(node))))
    };
    if node == LIST && info {
        return tell("command-list", "Commands");
    }
    if node == LIST {
        let to = iq.to.as_ref().map_or("", |to| to.as_str());
        let mut out = disco::open(Ns::DISCO_ITEMS, Some(node));
        for command in commands(st, at, by) {
            out += &format!("<item jid='{}' node='{}' name='{}'/>", escaped(to), escaped(command.node), command.name);
        }
        return Some(Ok(out + "</query>"));
    }
    match commands(st, at, by).find(|command| command.node == node) {
        Some(command) if info => tell("command-node", command.name),
        Some(_) => Some(Ok(disco::open(Ns::DISCO_ITEMS, Some(node)) + "</query>")),
        None if is_known(node) && *at == Place::Server && !is_admin(st, by) => Some(Err(Condition::Forbidden.into())),
        None => None,
    }
}

impl Commands {
    /// Begins a command: its form, or its end.
    fn begin(&mut self, st: &mut State, at: &Place, iq: &Stanza, by: &Jid, command: &'static AdHocCommand) -> Handled {
        let number = st.next_mark();
        let tag = Tag { node: command.node, session: st.uid(by.as_str(), number) };
        let Some(form) = command.form else {
            let run = Run { iq, by, fields: Submitted::new(), tag };
            return self.finish(st, command, run);
        };
        let now = st.now().mono;
        self.sessions.retain(|_, session| session.until > now);
        let own = |session: &&CommandSession| session.owner.bare_str() == by.bare_str();
        if self.sessions.values().filter(own).count() >= ACCOUNT_SESSIONS {
            let first = self.sessions.values().filter(own).map(|session| session.number).min();
            self.sessions.retain(|_, session| Some(session.number) != first);
        }
        if self.sessions.len() >= SESSIONS {
            self.make_room();
        }
        let payload = format!("<actions execute='complete'><complete/></actions>{}", form(self, st, by).xml());
        let own = matches!(at, Place::Own(_));
        let session = CommandSession { owner: by.clone(), command, own, until: now.saturating_add(SESSION_MS), number };
        self.sessions.insert(tag.session.clone(), session);
        st.reply(iq, tag.write("executing", &payload))
    }

    /// Of who has begun most, what was begun first is forgotten.
    fn make_room(&mut self) {
        let mut ledger = Ledger::default();
        let mut all: Vec<_> = self.sessions.iter().collect();
        all.sort_unstable_by_key(|(_, session)| session.number);
        all.into_iter().for_each(|(id, session)| ledger.put(id.clone(), session.owner.bare_str(), 1));
        if let Some(id) = ledger.surplus() {
            self.sessions.remove(&id);
        }
    }

    /// Goes on with a command that was begun.
    fn go_on(&mut self, st: &mut State, at: &Place, iq: &Stanza, by: &Jid, element: Node<'_>, action: &str) -> Handled {
        let id = element.attr("sessionid").unwrap_or_default();
        let known = self.sessions.get(&*id).filter(|session| session.owner == *by);
        let Some(session) = known.filter(|session| session.until > st.now().mono) else {
            // An id that was given to this one is not made up.
            return Err(match st.uid_mark(by.as_str(), &id) {
                Some(_) => {
                    refusal(Condition::NotAllowed, "<session-expired xmlns='http://jabber.org/protocol/commands'/>")
                }
                None => bad_session(),
            });
        };
        let command = session.command;
        if element.attr("node").as_deref() != Some(command.node) || session.own != matches!(at, Place::Own(_)) {
            return Err(bad_session());
        }
        let tag = Tag { node: command.node, session: id.to_string() };
        match action {
            "cancel" => {
                self.sessions.remove(&*id);
                st.reply(iq, tag.write("canceled", ""))
            }
            "" | "execute" | "complete" => {
                let fields = form::of_command(element).map_err(|e| bad_payload(e.text.unwrap_or_default()))?;
                // It is over, unless what was filled in can be corrected.
                let session = self.sessions.remove(&*id);
                let done = self.finish(st, command, Run { iq, by, fields, tag });
                if let (Err(_), Some(session)) = (&done, session) {
                    self.sessions.insert(id.into_owned(), session);
                }
                done
            }
            // There is one stage.
            _ => Err(bad_action()),
        }
    }

    /// Carries a command out and answers.
    fn finish(&mut self, st: &mut State, command: &AdHocCommand, run: Run<'_>) -> Handled {
        let (iq, tag) = (run.iq, run.tag.clone());
        match (command.run)(self, st, run)? {
            Done::Told(payload) => st.reply(iq, tag.write("completed", &payload)),
            Done::Changed(payload) => st.confirm_all(iq, tag.write("completed", &payload)),
            Done::Ends(sids) => {
                let payload = note("info", &format!("Sessions that were ended: {}.", sids.len()));
                st.reply(iq, tag.write("completed", &payload))?;
                for sid in sids {
                    let error = StreamError::new(StreamCondition::PolicyViolation);
                    st.close(sid, Some(error.text("this session was ended by a command")));
                }
                Ok(Flow::Done)
            }
            Done::Later => Ok(Flow::Done),
        }
    }

    /// Has a password hashed, for an account or for a new one.
    fn hash(&mut self, st: &mut State, run: &mut Run<'_>, jid: Jid, new: bool) -> Result<Done, StanzaError> {
        let password = text(&mut run.fields, "password").filter(|p| !p.is_empty());
        let password = password.ok_or_else(|| bad_payload("a password is needed"))?;
        if run.fields.contains_key("password-verify")
            && text(&mut run.fields, "password-verify").as_ref() != Some(&password)
        {
            return Err(bad_payload("the passwords are not the same"));
        }
        if password.len() > CHOSEN_PASSWORD_BYTES {
            return Err(bad_payload("the password is too long"));
        }
        long_enough(&password).map_err(bad_payload)?;
        if self.passwords.values().any(|waiting| waiting.jid == jid || waiting.by.bare_str() == run.by.bare_str()) {
            return Err(StanzaError::new(Condition::ResourceConstraint).text("a password is being changed already"));
        }
        st.write()?;
        let job = st.hash(&password);
        let mut iq = run.iq.clone();
        iq.clear();
        self.passwords.insert(job, NewPassword { iq, tag: run.tag.clone(), by: run.by.clone(), jid, new });
        Ok(Done::Later)
    }
}

/// A note for a person (XEP-0050 §4.3).
fn note(ty: &str, text: &str) -> String {
    format!("<note type='{ty}'>{}</note>", escaped(text))
}

/// What stands in a field, its lines apart by line feeds; takes it out.
fn text(fields: &mut Submitted, var: &str) -> Option<String> {
    fields.remove(var).map(|lines| lines.join("\n"))
}

/// Whether it looks like a language tag (RFC 5646 §2.1).
fn is_lang(lang: &str) -> bool {
    lang.len() <= 35
        && lang.split('-').all(|part| (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric()))
}

impl Extension for Commands {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0050",
            name: "Ad-Hoc Commands",
            version: "1.3.0",
            missing: "other languages than English, commands of several stages",
            server: &["http://jabber.org/protocol/commands"],
            account: &["http://jabber.org/protocol/commands"],
            iq: &[Ns::COMMANDS],
        }
    }

    fn also(&self) -> &'static [About] {
        &[ADMINISTRATION, invite::INVITATIONS]
    }

    fn load(&mut self, _st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        self.news = Announcements::load(engine)?;
        Ok(())
    }

    /// Announcements by message.
    fn leave(&mut self, st: &mut State, _sid: SessionId, stanza: &mut Stanza) -> Handled {
        if stanza.kind != Kind::Message {
            return Ok(Flow::Pass);
        }
        self.news.by_message(st, stanza)
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        if matches!(at, Place::Account(_)) {
            return Ok(Flow::Pass);
        }
        let element = iq.child(Ns::COMMANDS, "command").filter(|_| iq.ty == Type::Set);
        let (Some(element), Some(by)) = (element, &iq.from) else { return Err(Condition::BadRequest.into()) };
        let Some(node) = element.attr("node") else { return Err(Condition::BadRequest.into()) };
        let lang = element.attr("xml:lang").or_else(|| iq.lang());
        if lang.is_some_and(|lang| !lang.is_empty() && !is_lang(&lang)) {
            return Err(refusal(Condition::BadRequest, "<bad-locale xmlns='http://jabber.org/protocol/commands'/>"));
        }
        let Some(command) = commands(st, at, by).find(|command| command.node == node) else {
            // XEP-0133 §5
            return Err(match is_known(&node) && *at == Place::Server {
                true if is_admin(st, by) => Condition::FeatureNotImplemented.into(),
                true => Condition::Forbidden.into(),
                false => Condition::ItemNotFound.into(),
            });
        };
        let action = element.attr("action").unwrap_or_default();
        if !matches!(&*action, "" | "execute" | "cancel" | "prev" | "next" | "complete") {
            return Err(refusal(
                Condition::BadRequest,
                "<malformed-action xmlns='http://jabber.org/protocol/commands'/>",
            ));
        }
        match element.attr("sessionid") {
            Some(_) => self.go_on(st, at, iq, by, element, &action),
            None if matches!(&*action, "" | "execute") => self.begin(st, at, iq, by, command),
            None => Err(bad_action()),
        }
    }

    fn hashed(&mut self, st: &mut State, job: Job, credentials: Option<Credentials>) {
        let Some(NewPassword { iq, tag, by, jid, new }) = self.passwords.remove(&job) else { return };
        let change = |st: &mut State, keys| match new {
            true => core::admin::add(st, &jid, keys),
            false => core::admin::set_credentials(st, &jid, keys, iq.from.as_ref()),
        };
        let unusable = || bad_payload("the password has characters that cannot be used");
        let failed = |text: String| StanzaError::new(Condition::Conflict).ty(ErrorType::Wait).text(text);
        let done = credentials.ok_or_else(unusable).and_then(|keys| change(st, keys).map_err(failed));
        match done {
            Ok(()) => {
                st.log_stored(format!("{by} has {} {jid}", if new { "added" } else { "changed the password of" }));
                // It always is dealt with.
                let _ = st.confirm(&iq, tag.write("completed", ""));
            }
            Err(error) => st.refuse(&iq, &error),
        }
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        match event {
            Event::Receives(sid) => self.news.receives(st, *sid),
            Event::Removed(local) => {
                self.passwords.retain(|_, waiting| waiting.jid.local() != Some(local));
                self.sessions.retain(|_, session| session.owner.local() != Some(local));
                self.news.removed(st, local);
            }
            _ => {}
        }
    }
}

/// What administrators can do.
pub(super) const ADMINISTRATION: About = About::new(
    "XEP-0133",
    "Service Administration",
    "1.3.1",
    "disabled users, rosters and last logins of others, black and white lists; administrators, the end and the \
                      restart are the business of the box's owner",
);
