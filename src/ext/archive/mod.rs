//! XEP-0313: Message Archive Management. Every account has an archive of what it sends and receives.
//!
//! What is archived: messages of one person to another (chat, normal) that say something to be seen again: those with a body, and
//! whatever else is in them (receipts, markers, corrections, reactions, what is encrypted) as a client that was away must know of it,
//! too. Not those that are nothing but a chat state, and not what the sender wants to be forgotten: the hints `no-store` and
//! `no-permanent-store` (XEP-0334), and `private` (XEP-0280), which keeps a message from the user's other clients. The hint `store`
//! is a wish to the contrary for a message that would be left out for what it says. Then there are the account's own preferences
//! (`prefs`).
//!
//! A message is one entry of the log for both sides. Its number is its id, and tells when it came. The id is told in `stanza-id`
//! to those who may read the archive: in what they receive, and in the copies of what they send (XEP-0280), never to the other side.
//!
//! A message that waits for a client to come (XEP-0160), and that one has read here before, need not wait any more: when the client
//! acknowledged the page (XEP-0198), or answered a ping behind it.
//!
//! Whoever has stream management is told by `<a/>` that a message is safe; while storage takes nothing, it is refused. From others it
//! is handed on without being archived.

mod order;
mod prefs;
pub(super) mod query;

use super::{chat_states, hints};
use crate::core::{About, Event, Extension, Flow, Handled, Inline, Job, Place, SessionId, State, Way};
use crate::store::{Engine, Op, Query, Rows, StoreError, Tree, key};
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type, stamp};
use query::{Queue, Source, Task, View};
use std::collections::{BTreeMap, BTreeSet};

/// What is read at once to know which messages wait, in messages.
const SEEN_ROWS: usize = 256;
/// The same in bytes, about.
const SEEN_BYTES: usize = 64 * 1024;
/// Pages of one session whose receipt waits to be confirmed by a ping; of the oldest it is not known then.
const SEEN: usize = 16;
/// Entries that cannot be read and were told of in the log.
const UNREADABLE: usize = 1000;
/// Time after the start when it is looked whether the log is too large or too old, in milliseconds.
const FIRST_TRIM_MS: u64 = 60_000;
/// Milliseconds of a day: it is looked once a day.
const DAY_MS: u64 = 86_400_000;
/// And whenever so much of the size that is allowed was added: this part of it.
const TRIM_PART: u64 = 16;

#[derive(Default)]
pub(super) struct Archive {
    /// What sessions want to read, one after the other.
    tasks: Queue<SessionId>,
    /// What was read by clients that do not acknowledge it.
    seen: BTreeMap<Job, Seen>,
    unreadable: Unreadable,
    /// The message that was archived last for a receiver, and whose that is.
    last: (String, u64),
    /// The next look at the log.
    timer: Option<Job>,
    /// The look at its oldest entry, and which that was, if something was dropped since.
    look: Option<(Job, Option<u64>)>,
    /// The first number that was not too old.
    young: u64,
    /// Bytes since the log was trimmed, about; at first nobody knows.
    added: Option<u64>,
}

/// Messages that were sent to a session as part of a page.
struct Seen {
    sid: SessionId,
    numbers: BTreeSet<u64>,
    /// Those of them that are known to wait.
    waiting: Vec<u64>,
    /// The client answered a ping behind it.
    asked: bool,
}

/// Entries of the log that are no messages, each told of once.
#[derive(Default)]
pub(super) struct Unreadable(BTreeSet<u64>);

impl View for Unreadable {
    fn unreadable(&mut self, id: u64) {
        if self.0.len() < UNREADABLE && self.0.insert(id) {
            log::error!("entry {id} of the message log is not a readable message; archives are shown without it");
        }
    }
}

/// Whether a message between two people is to be seen again (§6.1.1), see above.
fn worth(message: &Stanza) -> bool {
    matches!(message.ty, Type::None | Type::Normal | Type::Chat | Type::Unknown) && lasting(message)
}

/// Whether a message says something to be seen again, whatever its type.
pub(super) fn lasting(message: &Stanza) -> bool {
    let forget = || {
        ["no-store", "no-permanent-store"].iter().any(|hint| hints::has(message, hint))
            || message.child(Ns::CARBONS, "private").is_some()
    };
    message.kind == Kind::Message && (hints::has(message, "store") || !chat_states::standalone(message)) && !forget()
}

/// Whether an account, which there is, wants to have messages to or from somebody archived.
fn wants(st: &State, local: &str, other: &Jid) -> bool {
    let roster = || st.account_of(local).map(|account| &account.roster);
    st.archived(local).is_none_or(|archived| archived.wants(roster, other))
}

impl Archive {
    /// A request waits for its turn.
    fn queue(&mut self, st: &mut State, iq: &Stanza, task: Task) -> Handled {
        let Some(sid) = iq.from.as_ref().and_then(|from| st.session_at(from)) else { return Ok(Flow::Pass) };
        let first = self.tasks.push(st, sid, task)?;
        st.begin_reading(sid);
        if first {
            self.run(st, sid);
        }
        Ok(Flow::Done)
    }

    /// Asks what is to be known next, or answers.
    fn run(&mut self, st: &mut State, sid: SessionId) {
        while let Some(task) = self.tasks.next(st, &sid) {
            let came = task.finish(st);
            st.end_reading(sid);
            if let Some(session) = st.session(sid)
                && let Some(first) = came.iter().min()
                // What waits is being handed to one that takes messages, anyway.
                && !session.receives()
            {
                let after = first.saturating_sub(1);
                let numbers = came.into_iter().collect();
                self.look_for(st, after, Seen { sid, numbers, waiting: Vec::new(), asked: false });
            }
        }
    }

    /// Looks which messages wait, behind this number.
    fn look_for(&mut self, st: &mut State, after: u64, seen: Seen) {
        let Some(session) = st.session(seen.sid) else { return };
        let prefix = key::prefix(session.local());
        let after = Some(key::numbered(session.local(), after));
        let job = st.ask(Query::Scan { tree: Tree::Offline, prefix, after, rows: SEEN_ROWS, bytes: SEEN_BYTES });
        self.seen.insert(job, seen);
    }

    /// Which of the messages that a client was sent wait, and must be sure to have arrived.
    fn waits(&mut self, st: &mut State, mut seen: Seen, rows: Rows) {
        let mut waiting = rows.iter().filter_map(|(key, _)| key::number(key));
        seen.waiting.extend(waiting.clone().filter(|number| seen.numbers.contains(number)));
        // What waits is not all in this archive: others may be between them.
        if let Some(last) = waiting.next_back().filter(|last| seen.numbers.last().is_some_and(|end| last < end)) {
            return self.look_for(st, last, seen);
        }
        if !seen.waiting.is_empty() && st.session(seen.sid).is_some() {
            let own = self.seen.iter().filter(|(_, other)| other.sid == seen.sid);
            if own.clone().count() >= SEEN
                && let Some(oldest) = own.map(|(job, _)| *job).min()
            {
                self.seen.remove(&oldest);
            }
            let job = st.request(seen.sid, "<ping xmlns='urn:xmpp:ping'/>");
            self.seen.insert(job, Seen { asked: true, ..seen });
        }
    }

    /// Something was added to the log.
    fn count(&mut self, st: &mut State, message: &Stanza) {
        let Some(added) = &mut self.added else { return };
        *added += message.bytes() as u64;
        if *added >= st.settings().archive_bytes / TRIM_PART {
            self.trim(st);
        }
    }

    /// Drops what is too much, and what was found to be too old.
    fn trim(&mut self, st: &mut State) {
        let (before, bytes) = (self.young, st.settings().archive_bytes);
        if let Ok(batch) = st.erase() {
            batch.ops.push(Op::Trim { before, bytes });
            self.added = Some(0);
        }
    }

    /// Asks for the oldest entry.
    fn look(&mut self, st: &mut State, before: Option<u64>) {
        self.look = Some((st.ask(Query::Since { after: 0, rows: 1, bytes: 1 }), before));
    }

    /// The oldest entry is known: drops what is too old, and tells what that was. `before`: the oldest until then.
    fn looked(&mut self, st: &mut State, oldest: Option<u64>, before: Option<u64>) {
        let days = st.settings().archive_days;
        match (oldest, before) {
            (Some(oldest), Some(before)) if oldest > before => {
                let [from, to] = [before, oldest].map(|number| stamp::format(st.stamp(number)));
                log::info!("dropped the messages from {from} to before {to}: they are older than {days} days");
            }
            (_, Some(_)) => {}
            (None, None) => self.added = Some(0),
            (Some(oldest), None) => {
                let old = st.too_old(oldest).filter(|number| *number >= oldest);
                self.young = self.young.max(old.map_or(0, |number| number.saturating_add(1)));
                // Once after the start it is not known how much is there.
                if old.is_some() || self.added.is_none() {
                    self.trim(st);
                }
                if old.is_some() {
                    self.look(st, Some(oldest));
                }
            }
        }
    }
}

impl Extension for Archive {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0313",
            name: "Message Archive Management",
            version: "1.1.3",
            missing: "messages of rooms are not in the archives of accounts",
            server: &[],
            account: &["urn:xmpp:mam:2", "urn:xmpp:mam:2#extended", "urn:xmpp:mam:2#groupchat-field"],
            iq: &[Ns::MAM],
        }
    }

    fn also(&self) -> &'static [About] {
        &[prefs::PREFERENCES, order::ORDER]
    }

    fn load(&mut self, st: &mut State, _engine: &mut dyn Engine) -> Result<(), StoreError> {
        self.timer = Some(st.after(FIRST_TRIM_MS));
        Ok(())
    }

    fn before_bind(&mut self, st: &mut State, local: &str) -> Vec<Query> {
        let Some(account) = st.account_of(local) else { return Vec::new() };
        let source = Source::account(st, &account.jid);
        vec![source.end(false), source.end(true)]
    }

    /// XEP-0386 §3.2: the state of the archive at the moment when the session begins.
    fn bind_inline(&mut self, st: &mut State, sid: SessionId, inline: &Inline<'_>, bound: &mut String) {
        let (Some(session), [Some(first), Some(last)]) = (st.session(sid), inline.rows) else { return };
        let found = query::end_of(first).zip(query::end_of(last));
        let (found_first, new_last) = (found.map(|(first, _)| first), inline.archived.map(|(_, last)| last));
        let first = found_first.or(inline.archived.map(|(first, _)| first));
        let last = found.map(|(_, last)| last).max(new_last);
        bound.push_str(&query::metadata(st, session.local(), first.zip(last)));
    }

    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        let Some(session) = st.session(sid).filter(|_| worth(stanza)) else { return Ok(Flow::Pass) };
        let (me, managed) = (session.jid.bare(), session.managed.is_some());
        let local = me.local().unwrap_or_default();
        let to = stanza.to.clone().unwrap_or_else(|| me.clone());
        if !wants(st, local, &to) {
            return Ok(Flow::Pass);
        }
        let stored = if to.bare_str() == me.as_str() {
            // It is archived once, when it arrives.
            st.write().map(|_| ())
        } else {
            st.archive(local, &to, stanza, Way::Sent).map(|_| self.count(st, stanza))
        };
        match stored {
            Err(error) if managed => Err(error),
            _ => Ok(Flow::Pass),
        }
    }

    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        if stanza.kind != Kind::Message {
            return Ok(Flow::Pass);
        }
        if stanza.mark == 0 {
            // Something was cut: this is another message than the one that was sent.
            stanza.mark = st.mark_for(stanza);
        }
        let Some(account) = st.account_of(local).map(|a| a.jid.clone()) else { return Ok(Flow::Pass) };
        let from = stanza.from.as_ref().unwrap_or(&account);
        if worth(stanza) && wants(st, local, from) && st.write().is_ok() {
            st.note_id(&account, stanza);
        }
        Ok(Flow::Pass)
    }

    /// What has an id is archived, as it came.
    fn accepted(&mut self, st: &mut State, local: &str, message: &Stanza) {
        // A room's message has the id that it has there.
        if message.ty == Type::Groupchat || !message.has_note(Ns::SID, "stanza-id") {
            return;
        }
        let Some(account) = st.account_of(local) else { return };
        let from = message.from.clone().unwrap_or_else(|| account.jid.clone());
        // A room sends the same to several sessions of an account.
        if (self.last.0.as_str(), self.last.1) == (local, message.mark) {
            return;
        }
        self.last.0.clear();
        self.last.0.push_str(local);
        self.last.1 = message.mark;
        let number = st.archive(local, &from, message, Way::Received);
        debug_assert!(number.is_ok_and(|number| number == message.mark), "it has another id than was told");
        self.count(st, message);
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let local = match at {
            Place::Own(local) => local,
            // §8.1; and nobody is told whether there is one.
            Place::Account(_) => return Err(Condition::Forbidden.into()),
            Place::Server => return Ok(Flow::Pass),
        };
        let Some(account) = st.account_of(local).map(|a| a.jid.clone()) else { return Ok(Flow::Pass) };
        let Some(request) = iq.children().next() else { return Ok(Flow::Pass) };
        match (request.name(), iq.ty) {
            ("prefs", _) => prefs::answer(st, local, iq, request),
            ("query", Type::Get) => st.reply(iq, query::FORM),
            ("query", _) => {
                let task = Task::page(st, Source::account(st, &account), iq, request)?;
                self.queue(st, iq, task)
            }
            ("metadata", Type::Get) => {
                let task = Task::ends(Source::account(st, &account), iq);
                self.queue(st, iq, task)
            }
            _ => Err(StanzaError::new(Condition::BadRequest).text("no such request")),
        }
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        if let Some((_, before)) = self.look.take_if(|(look, _)| *look == job) {
            let oldest = rows.and_then(|rows| Some(u64::from_be_bytes((*rows.first()?.0).try_into().ok()?)));
            return self.looked(st, oldest, before);
        }
        if let Some(seen) = self.seen.remove(&job) {
            return self.waits(st, seen, rows.unwrap_or_default());
        }
        let Some((sid, task)) = self.tasks.asked(job) else { return };
        let taken = match rows {
            Some(rows) => task.take(rows, &mut self.unreadable),
            None => Err(Condition::InternalServerError.into()),
        };
        if let Err(error) = taken {
            self.tasks.refuse(st, &sid, &error);
            st.end_reading(sid);
        }
        self.run(st, sid);
    }

    /// The page was read.
    fn replied(&mut self, st: &mut State, _sid: SessionId, job: Job, _reply: &Stanza) {
        let Some(seen) = self.seen.remove(&job).filter(|seen| seen.asked) else { return };
        let Some(local) = st.session(seen.sid).map(|s| Box::<str>::from(s.local())) else { return };
        for number in seen.waiting {
            st.has(&local, number);
        }
    }

    fn timer(&mut self, st: &mut State, job: Job) {
        if self.timer == Some(job) {
            self.timer = Some(st.after(DAY_MS));
            self.look(st, None);
        }
    }

    fn event(&mut self, _st: &mut State, event: &Event) {
        if let Event::Closed { sid, .. } = event {
            self.tasks.forget(sid);
            self.seen.retain(|_, seen| seen.sid != *sid);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;

    #[test]
    fn what_is_to_be_seen_again() {
        let of = |ty: &str, inner: &str| {
            let xml = format!("<message type='{ty}'>{inner}</message>");
            worth(&Stanza::parse(&xml, Scope::client()).unwrap().unwrap())
        };
        const BODY: &str = "<body>Hark</body>";
        const STATE: &str = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        let hint = |name: &str, rest: &str| format!("{rest}<{name} xmlns='urn:xmpp:hints'/>");
        for ty in ["chat", "normal", "", "unheard-of"] {
            assert!(of(ty, BODY), "{ty}");
            assert!(of(ty, &format!("{STATE}{BODY}")));
            for payload in [
                "<received xmlns='urn:xmpp:receipts' id='1'/>",
                "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>",
                "<reactions xmlns='urn:xmpp:reactions:0' id='1'/>",
                "<retract xmlns='urn:xmpp:message-retract:1' id='1'/>",
                "<encrypted xmlns='urn:xmpp:omemo:2'/>",
                "<propose xmlns='urn:xmpp:jingle-message:0' id='1'/>",
            ] {
                assert!(of(ty, payload), "{payload}");
                assert!(!of(ty, &hint("no-store", payload)), "{payload}");
            }
            for nothing in [STATE, "", "<thread>t</thread>"] {
                assert!(!of(ty, nothing), "{nothing}");
                assert!(of(ty, &hint("store", nothing)));
            }
            assert!(!of(ty, &hint("no-permanent-store", BODY)));
            assert!(!of(ty, &hint("no-store", &hint("store", BODY))), "forgetting is the safer one");
            assert!(of(ty, &hint("no-copy", BODY)));
            assert!(!of(ty, &format!("{BODY}<private xmlns='urn:xmpp:carbons:2'/>")));
        }
        for ty in ["groupchat", "headline", "error"] {
            assert!(!of(ty, BODY) && !of(ty, &hint("store", BODY)), "{ty}");
        }
    }
}
