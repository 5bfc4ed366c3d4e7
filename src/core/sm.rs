//! Stream management (XEP-0198): what a session owes its client, and what it waits for.
//!
//! Both counts are of the session, not of the connection that carries it. A stanza of the client counts as handled when the core has
//! seen it, and is acknowledged when all that it changed is on stable storage: whoever reads `<a/>` may forget it. A stanza for the
//! client stays in the queue until it is acknowledged; what becomes of it otherwise is told in `core/delivery.rs`.
//!
//! After a crash the log tells how far a stream was handled: its last message there has its count. What came behind that and changed
//! nothing, a presence or a request, is acknowledged, too, and `<failed/>` must not say less than `<a/>` did before: some clients
//! subtract. So what is acknowledged and is in no message is noted in the log first. That costs some 40 bytes, and a sync if nothing
//! else is stored just then; a client that only sends messages costs nothing. [`NOTES`] in a row, then one every [`NOTE_EVERY_MS`]: of a
//! client that asks more often the log may know less than it was told.

use super::effect::Effect;
use super::event::Event;
use super::ids::{SessionId, StreamId};
use super::impossible::impossible;
use super::logged::Counted;
use super::session::Session;
use super::share::{Ledger, Shared, limits};
use super::state::State;
use super::unordered::ByNumber;
use super::work::{Ack, Timer, Work};
use crate::wire::{Condition, Jid, Manage, Stanza, StreamCondition, StreamError};
use ring::hmac;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What may wait for a client's acknowledgement, in bytes; more ends the session. All of it goes into the outbox of the connection
/// that resumes it, which must have room for more.
pub const QUEUE_BYTES: usize = 1536 * 1024;
/// The same, in stanzas.
pub const QUEUE_STANZAS: usize = 10_000;
/// What a stanza in the queue costs besides its text, in bytes.
pub const QUEUED_BYTES: usize = 256;
/// Time in which a client must answer `<r/>`, in milliseconds. One that does not has lost its connection.
pub const ANSWER_MS: u64 = 60_000;
/// So often that is believed of an account's sessions until one of them acknowledges something. A client that never does is then left
/// alone, or it would come back for the same messages for ever; whether its line is dead, its stream finds out.
pub const SILENCES: u8 = 3;
/// Streams that cannot be resumed any more and are remembered, each with what its client may have seen.
pub const ENDED_STREAMS: usize = 1024;
/// The messages of all of them that may have been seen; each costs 16 bytes.
pub const ENDED_MESSAGES: usize = 32 * 1024;
/// For the table of what is shared.
pub const SHARED: Shared = Shared {
    what: "streams that have ended and may be asked about, and the messages that their clients may have seen",
    whole: limits![ENDED_STREAMS, ENDED_MESSAGES],
    share: "an account: who has most loses first",
    checked: "core/sm.rs",
    told: "its oldest is forgotten: its client gets what it may have seen again",
};
/// The longest time for which an ended stream is remembered, in milliseconds.
const ENDED_MS: u64 = 7 * 86_400_000;
/// Notes of what was acknowledged that one stream has in reserve.
const NOTES: u32 = 64;
/// How often it gets another one, in milliseconds.
const NOTE_EVERY_MS: u64 = 60_000;
/// Hexadecimal digits of the code in an id.
const CODE_DIGITS: usize = 32;

/// The stream management of one session.
#[derive(Debug)]
pub struct Managed {
    /// The stream's number, never used twice.
    pub number: u64,
    /// How long the session waits for its client when the connection is lost, in milliseconds; `None`: it does not.
    resume_ms: Option<u64>,
    /// Stanzas of the client that were handled (modulo 2^32).
    handled: u32,
    /// Those of them that may be acknowledged.
    safe: u32,
    /// Those of them that the log knows of.
    logged: u32,
    /// Notes that it may have written, and since when.
    notes: (u32, u64),
    /// What the others wait for: the number of a batch, and how many stanzas are handled with it.
    waits: VecDeque<(u64, u32)>,
    /// The last batch that the answer to an `<r/>` waits for.
    asked: Option<u64>,
    /// Stanzas written to the client; it counts them modulo 2^32.
    sent: u64,
    /// Those that it has not acknowledged, in order.
    queue: VecDeque<Stanza>,
    bytes: usize,
    /// The last ones of them are not written yet: how many, and which batch they wait for.
    held_back: Option<(usize, u64)>,
    /// When something was last acknowledged.
    pub(super) acknowledged_at: u64,
    /// When our `<r/>` went out that is not answered.
    requested: Option<u64>,
    /// The timer for that runs.
    timed: bool,
    /// The timer for the client's time to come back runs.
    awaited: bool,
}

impl Managed {
    fn new(number: u64, resume_ms: Option<u64>) -> Managed {
        Managed {
            number,
            resume_ms,
            handled: 0,
            safe: 0,
            logged: 0,
            notes: (NOTES, 0),
            waits: VecDeque::new(),
            asked: None,
            sent: 0,
            queue: VecDeque::new(),
            bytes: 0,
            held_back: None,
            acknowledged_at: 0,
            requested: None,
            timed: false,
            awaited: false,
        }
    }

    /// How the stream counts the stanza of its client that is being handled.
    pub fn last_in(&self) -> Counted {
        Counted { stream: self.number, count: self.handled }
    }

    /// The stanza that is being handled is put into the log, with its count.
    pub(super) fn is_logged(&mut self) {
        self.logged = self.handled;
    }

    /// What the log is to know of it.
    pub(super) fn heard(&self) -> Option<Counted> {
        (self.can_be_resumed() && self.logged > 0).then_some(Counted { stream: self.number, count: self.logged })
    }

    /// Whether another note may be written.
    fn may_note(&mut self, now: u64) -> bool {
        let (left, since) = self.notes;
        let more = now.saturating_sub(since) / NOTE_EVERY_MS;
        let left = left.saturating_add(more.min(u64::from(NOTES)) as u32).min(NOTES);
        self.notes = (left.saturating_sub(1), if left == NOTES { now } else { since + more * NOTE_EVERY_MS });
        left > 0
    }

    /// How the stream counts the stanza that was written last, or one so many behind it.
    pub(super) fn count_of(&self, behind: usize) -> Counted {
        Counted { stream: self.number, count: (self.sent as u32).wrapping_add(behind as u32) }
    }

    /// What waits for an acknowledgement: stanzas, and bytes.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.queue.len(), self.bytes)
    }

    /// Whether the session waits for its client when its connection is lost.
    pub fn can_be_resumed(&self) -> bool {
        self.resume_ms.is_some()
    }

    /// Stanzas that the client has not acknowledged.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &Stanza> {
        self.queue.iter()
    }

    /// Counts a stanza for the client. Says whether no more waits than may, and whether it is to be written now.
    pub(super) fn push(&mut self, stanza: &Stanza) -> (bool, bool) {
        self.sent += 1;
        self.bytes += stanza.bytes() + QUEUED_BYTES;
        self.queue.push_back(stanza.clone());
        if let Some((stanzas, _)) = &mut self.held_back {
            *stanzas += 1;
        }
        (self.bytes <= QUEUE_BYTES && self.queue.len() <= QUEUE_STANZAS, self.held_back.is_none())
    }

    /// The last ones of the queue that are not written yet.
    fn unwritten(&self) -> usize {
        self.held_back.map_or(0, |(stanzas, _)| stanzas)
    }

    /// Whether an acknowledgement can be expected.
    fn expects(&self) -> bool {
        self.queue.len() > self.unwritten()
    }

    /// What the client has handled, by its count; `None` if it cannot be: more than was sent.
    fn acknowledge(&mut self, h: u32) -> Option<Vec<Stanza>> {
        let open = self.queue.len() as u32;
        let left = (self.sent as u32).wrapping_sub(h);
        if left < self.unwritten() as u32 {
            return None;
        }
        if left > open {
            // Below what was acknowledged before: old news. Above what was sent: a mistake.
            return (left < u32::MAX / 2 && u64::from(left) <= self.sent).then(Vec::new);
        }
        let done: Vec<Stanza> = self.queue.drain(..(open - left) as usize).collect();
        self.bytes -= done.iter().map(|s| s.bytes() + QUEUED_BYTES).sum::<usize>();
        if self.queue.is_empty() {
            self.queue.shrink_to(16);
        }
        Some(done)
    }

    /// Storage takes nothing: what is not stored is told as not handled, and comes again. Twice is better than never.
    fn forget_unsafe(&mut self) {
        self.waits.clear();
        self.handled = self.safe;
        self.logged = self.safe;
    }

    /// All batches up to this one are on stable storage.
    fn committed(&mut self, seq: u64) {
        while let Some((_, count)) = self.waits.front().filter(|(n, _)| *n <= seq) {
            self.safe = *count;
            self.waits.pop_front();
        }
        if self.waits.is_empty() {
            self.safe = self.handled;
        }
    }
}

/// A stream that cannot be resumed, and what its client may ask about it.
#[derive(Debug)]
pub(super) struct Ended {
    /// How many of its stanzas are known to be stored or handled; `None`: that is not known.
    pub(super) handled: Option<u32>,
    /// Whose it was.
    pub(super) local: Box<str>,
    /// The messages that it did not acknowledge: how it counts them, and what they are called.
    pub(super) sent: Vec<(u32, u64)>,
    /// When it is forgotten.
    pub(super) until: u64,
}

/// All that is known of streams, beside their sessions.
#[derive(Debug, Default)]
pub(super) struct Streams {
    /// The sessions by the number of their stream.
    pub(super) by_number: ByNumber<u64, SessionId>,
    /// Which session a connection carries, where that is another than the one it began with.
    pub(super) carries: ByNumber<StreamId, SessionId>,
    /// Connections that resume a session once it is known what of it is stored: the session.
    resuming: BTreeMap<StreamId, SessionId>,
    /// Streams that have ended.
    pub(super) ended: BTreeMap<u64, Ended>,
    /// Sessions that wait for a batch: to count something as safe, or to be written something.
    waiting: BTreeSet<SessionId>,
    /// Sessions that wait to acknowledge, and for which batch.
    asked: VecDeque<(u64, SessionId)>,
    /// Sessions that are to be asked for an acknowledgement at the end of this turn.
    pub(super) ask: Vec<SessionId>,
}

impl Streams {
    pub(super) fn remember(&mut self, now: u64, number: u64, ended: Ended) {
        self.ended.retain(|_, ended| ended.until > now);
        self.ended.insert(number, ended);
        let mut messages: usize = self.ended.values().map(|e| e.sent.len()).sum();
        while self.ended.len() > ENDED_STREAMS || messages > ENDED_MESSAGES {
            // Of the account that has most of what there is too much of.
            let by_stream = self.ended.len() > ENDED_STREAMS;
            let mut ledger = Ledger::default();
            let mut all: Vec<(&u64, &Ended)> = self.ended.iter().collect();
            all.sort_by_key(|(_, ended)| ended.until);
            all.into_iter().for_each(|(n, e)| ledger.put(*n, &e.local, if by_stream { 1 } else { e.sent.len() }));
            let Some(oldest) = ledger.surplus() else { return };
            messages -= self.ended.remove(&oldest).map_or(0, |e| e.sent.len());
        }
    }
}

fn code(st: &State, account: &str, number: u64) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &st.secret));
    context.update(b"stream\0");
    context.update(account.as_bytes());
    context.update(&number.to_be_bytes());
    // Whoever has the name of an account that was removed is somebody else.
    let local = account.split_once('@').map_or(account, |(local, _)| local);
    let archived = st.archives.get(local).filter(|_| st.accounts.contains_key(local));
    let begins = archived.map_or(0, |archived| archived.begins);
    if begins > 0 {
        context.update(&begins.to_be_bytes());
    }
    context.sign().as_ref().iter().take(CODE_DIGITS / 2).map(|b| format!("{b:02x}")).collect()
}

/// The id of a stream for its client: nobody can make one up, and it is worth nothing to another account.
fn id(st: &State, account: &str, number: u64) -> String {
    format!("{number:016x}{}", code(st, account, number))
}

fn number(st: &State, account: &str, id: &str) -> Option<u64> {
    let number = u64::from_str_radix(id.get(..16)?, 16).ok()?;
    (self::id(st, account, number) == id).then_some(number)
}

impl State {
    /// The session that a connection carries, if it still does.
    pub(super) fn carried(&self, stream: StreamId) -> Option<SessionId> {
        let sid = self.streams.carries.get(&stream).copied().unwrap_or(SessionId::of(stream));
        self.sessions.get(&sid).filter(|s| s.stream == Some(stream)).map(|_| sid)
    }

    /// XEP-0198 §3: `<enable/>`. `max`: what the client prefers, in seconds. The answer, unless it is enabled.
    pub(super) fn enable(&mut self, stream: StreamId, resume: bool, max: Option<u32>) -> Option<Manage> {
        let sid = self.carried(stream)?;
        let bytes = self.random();
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[..8]);
        let number = u64::from_be_bytes(number);
        let max_s = max.map_or(self.settings.resume_s, |max| max.min(self.settings.resume_s));
        let resume = resume && max_s > 0;
        let session = self.sessions.get_mut(&sid).filter(|s| s.managed.is_none())?;
        session.managed = Some(Box::new(Managed::new(number, resume.then_some(u64::from(max_s) * 1000))));
        let account = session.jid.bare();
        self.streams.by_number.insert(number, sid);
        let id = resume.then(|| id(self, account.as_str(), number));
        let location = self.settings.resume_at.clone().filter(|_| resume);
        Some(Manage::Enabled { id, max_s, location })
    }

    /// Counts a stanza of the client, before it is handled.
    pub(super) fn count_in(&mut self, sid: SessionId) {
        if let Some(managed) = self.sessions.get_mut(&sid).and_then(|s| s.managed.as_mut()) {
            managed.handled = managed.handled.wrapping_add(1);
        }
    }

    /// Remembers what the stanza's acknowledgement waits for, when all is done that follows from it.
    pub(super) fn handled(&mut self, sid: SessionId) {
        let (seq, committed) = (self.sealed(), self.committed());
        let Some(managed) = self.sessions.get_mut(&sid).and_then(|s| s.managed.as_mut()) else { return };
        let handled = managed.handled;
        if seq <= committed && managed.waits.is_empty() {
            managed.safe = handled;
        } else if let Some(last) = managed.waits.back_mut().filter(|(n, _)| *n >= seq) {
            last.1 = handled;
        } else {
            managed.waits.push_back((seq, handled));
            self.streams.waiting.insert(sid);
        }
    }

    /// `<r/>` of the client (XEP-0198 §4). Those that wait for the same batch are answered together.
    pub(super) fn acknowledge(&mut self, stream: StreamId) {
        let Some(sid) = self.carried(stream) else { return };
        self.flush(sid);
        self.note_unlogged(sid);
        let Some(managed) = self.sessions.get_mut(&sid).and_then(|s| s.managed.as_mut()) else { return };
        match managed.waits.back() {
            None => {
                let h = managed.safe;
                self.effects.push(Effect::Manage(stream, Manage::Ack(h)));
            }
            Some((seq, _)) => {
                let seq = *seq;
                if managed.asked.replace(seq).is_none() {
                    // Behind what others wait for, sometimes: then they are all answered with the later one.
                    self.streams.asked.push_back((seq, sid));
                }
            }
        }
    }

    /// Something is to be acknowledged: what of it is in no message of the log is noted there first. While storage takes nothing,
    /// nothing is noted.
    fn note_unlogged(&mut self, sid: SessionId) {
        let now = self.now.mono;
        if self.takes_nothing() {
            return;
        }
        let Some(managed) = self.sessions.get_mut(&sid).and_then(|s| s.managed.as_mut()) else { return };
        if managed.handled == managed.logged || !managed.can_be_resumed() || !managed.may_note(now) {
            return;
        }
        managed.logged = managed.handled;
        let counted = managed.last_in();
        self.note_heard(vec![counted]);
        let seq = self.sealed() + 1;
        if let Some(managed) = self.sessions.get_mut(&sid).and_then(|s| s.managed.as_mut()) {
            managed.waits.push_back((seq, managed.handled));
            self.streams.waiting.insert(sid);
        }
    }

    /// `<a/>` of the client.
    pub(super) fn acknowledged(&mut self, stream: StreamId, h: u32) {
        let Some(sid) = self.carried(stream) else { return };
        if let Some(managed) = self.sessions.get_mut(&sid).and_then(|s| s.managed.as_mut()) {
            // Only an answer: who tells each stanza unasked would be asked as often.
            let answer = managed.requested.take().is_some();
            self.count_out(sid, h, answer);
        }
    }

    /// What a client says it has handled.
    fn count_out(&mut self, sid: SessionId, h: u32, ask: bool) {
        let Some(session) = self.sessions.get_mut(&sid) else {
            return impossible("a session is gone while it is acknowledged to");
        };
        let local: Box<str> = session.local().into();
        let Some(managed) = session.managed.as_mut() else {
            return impossible("a session without stream management is acknowledged to");
        };
        let sent = (managed.sent as u32).wrapping_sub(managed.unwritten() as u32);
        let now = self.now.mono;
        match managed.acknowledge(h) {
            Some(done) => {
                if !done.is_empty() {
                    managed.acknowledged_at = now;
                }
                // Not after an answer without news: a client that is slow would be asked as fast as the line can.
                if ask && !managed.queue.is_empty() && !done.is_empty() {
                    self.streams.ask.push(sid);
                }
                if !done.is_empty()
                    && let Some(account) = self.accounts.get_mut(&local)
                {
                    account.silences = 0;
                }
                for mark in done.iter().map(|s| s.mark).filter(|mark| *mark > 0) {
                    self.has(&local, mark);
                }
            }
            None => {
                // XEP-0198 §6
                let text = format!("You acknowledged {h} stanzas, but only {sent} were sent so far.");
                let app = format!("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='{h}' send-count='{sent}'/>");
                let error = StreamError::new(StreamCondition::UndefinedCondition).text(text).app(app);
                self.close(sid, Some(error));
            }
        }
    }

    /// At the end of a turn: asks those for an acknowledgement who were sent something, one question at a time.
    pub(super) fn ask_for_acks(&mut self) {
        let now = self.now.mono;
        for sid in std::mem::take(&mut self.streams.ask) {
            let Some(session) = self.sessions.get_mut(&sid) else { continue };
            let (Some(stream), Some(managed)) = (session.stream, session.managed.as_mut()) else { continue };
            if managed.requested.is_some() || !managed.expects() {
                continue;
            }
            managed.requested = Some(now);
            self.effects.push(Effect::Manage(stream, Manage::Request));
            if !std::mem::replace(&mut managed.timed, true) {
                self.set_timer(now + ANSWER_MS, Timer::Unanswered(sid));
            }
        }
    }

    /// The time for an answer to `<r/>` is over, if it is still the same question.
    pub(super) fn unanswered(&mut self, sid: SessionId) {
        let now = self.now.mono;
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let (stream, Some(managed)) = (session.stream, session.managed.as_mut()) else { return };
        managed.timed = false;
        let Some(requested) = managed.requested else {
            // The answer had no news, or not all. It is asked again now.
            return self.streams.ask.push(sid);
        };
        let Some(stream) = stream else { return };
        if now >= requested + ANSWER_MS {
            let account = self.accounts.get_mut(session.jid.local().unwrap_or_default());
            if account.as_ref().is_some_and(|account| account.silences >= SILENCES) {
                managed.requested = None;
                return self.streams.ask.push(sid);
            }
            if let Some(account) = account {
                account.silences += 1;
            }
            let silent = StreamError::new(StreamCondition::ConnectionTimeout).text("no answer to a request for an ack");
            self.effects.push(Effect::Close(stream, Some(silent)));
            self.lost(stream, false);
        } else {
            managed.timed = true;
            self.set_timer(requested + ANSWER_MS, Timer::Unanswered(sid));
        }
    }

    /// A connection is gone: its session too, or it waits for its client. `clean`: the client closed the stream (XEP-0198 §7).
    pub(super) fn lost(&mut self, stream: StreamId, clean: bool) {
        self.forget_login(stream);
        self.streams.resuming.remove(&stream);
        let carried = self.carried(stream);
        self.streams.carries.remove(&stream);
        let Some(sid) = carried else { return };
        let Some(session) = self.sessions.get_mut(&sid) else {
            return impossible("a connection carries a session that is gone");
        };
        match session.managed.as_mut().and_then(|m| m.resume_ms.map(|ms| (m, ms))) {
            Some((managed, resume_ms)) if !clean => {
                managed.requested = None;
                session.stream = None;
                let until = self.now.mono.saturating_add(resume_ms);
                session.waits_until = Some(until);
                if !std::mem::replace(&mut managed.awaited, true) {
                    self.set_timer(until, Timer::Hibernated(sid));
                }
                self.parted(sid);
                self.work.push_back(Work::Event(Event::Parted(sid)));
            }
            _ => super::presence::gone(self, sid, clean),
        }
    }

    /// The client closed its stream (XEP-0198 §7). It forgets the stream when it reads our end of it.
    pub(super) fn closing(&mut self, stream: StreamId) {
        self.lost(stream, true);
        self.work.push_back(Work::Promise(Ack::Close(stream, None)));
    }

    /// The time to come back is over, if it still waits.
    pub(super) fn hibernated(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let (until, Some(managed)) = (session.waits_until, session.managed.as_mut()) else { return };
        managed.awaited = false;
        match until {
            Some(until) if until <= self.now.mono => super::presence::gone(self, sid, false),
            // It came back, and was lost again.
            Some(until) => {
                managed.awaited = true;
                self.set_timer(until, Timer::Hibernated(sid));
            }
            None => {}
        }
    }

    /// XEP-0198 §5: `<resume/>` of an authenticated stream.
    pub(super) fn resume(&mut self, stream: StreamId, account: &Jid, previd: &str, h: u32) {
        let number = number(self, account.as_str(), previd);
        let found = number.and_then(|number| self.streams.by_number.get(&number)).copied();
        let found = found
            .filter(|sid| self.sessions.get(sid).and_then(|s| s.managed.as_ref()).is_some_and(|m| m.can_be_resumed()));
        let (Some(sid), Some(number)) = (found, number) else { return self.not_resumed(stream, number, h) };
        // Nothing more is heard or said on the old connection. The session waits, until the answer is true.
        if let Some(old) = self.sessions.get(&sid).and_then(|s| s.stream) {
            let conflict = StreamError::new(StreamCondition::Conflict).text("resumed on a new connection");
            self.effects.push(Effect::Close(old, Some(conflict)));
            self.lost(old, false);
        }
        let resuming = &mut self.streams.resuming;
        if let Some(first) = resuming.iter().find(|(_, resumed)| **resumed == sid).map(|(stream, _)| *stream) {
            // Another connection waits for it: the later one is the one that works.
            resuming.remove(&first);
            if self.logins.contains_key(&first) {
                // It would bind instead, and end this session.
                self.forget_login(first);
                let conflict = StreamError::new(StreamCondition::Conflict).text("resumed on a new connection");
                self.effects.push(Effect::Close(first, Some(conflict)));
            } else {
                let failed = Manage::Failed { condition: Condition::ItemNotFound, handled: None };
                self.effects.push(Effect::Manage(first, failed));
            }
        }
        self.streams.resuming.insert(stream, sid);
        self.note_unlogged(sid);
        self.promise(Ack::Resumed { stream, sid, number, h });
    }

    /// The stream with this number, if it is one of the client's, cannot be resumed.
    fn not_resumed(&mut self, stream: StreamId, number: Option<u64>, h: u32) {
        // Nothing of a stream of ours is stored: then nothing was acknowledged. It is never more than was handled.
        let handled = number.map(|number| self.returned(number, h).unwrap_or(0));
        let failed = Manage::Failed { condition: Condition::ItemNotFound, handled };
        // What it has seen is forgotten first: it will not ask again.
        self.work.push_back(Work::Promise(Ack::Manage(stream, failed)));
    }

    /// All that the session handled is on stable storage: the new connection carries it from here on.
    pub(super) fn resumed(&mut self, stream: StreamId, sid: SessionId, number: u64, h: u32) {
        if self.streams.resuming.get(&stream) != Some(&sid) {
            return;
        }
        self.streams.resuming.remove(&stream);
        let stalled = self.is_stalled();
        let session = self.sessions.get_mut(&sid);
        let Some(Session { jid, stream: carrier, waits_until, managed: Some(managed), .. }) = session else {
            // Its time was over just now.
            return self.not_resumed(stream, Some(number), h);
        };
        if stalled {
            managed.forget_unsafe();
        }
        *carrier = Some(stream);
        *waits_until = None;
        let (jid, handled) = (jid.clone(), managed.handled);
        self.streams.carries.insert(stream, sid);
        let id = id(self, jid.bare_str(), number);
        self.answer_resume(stream, Manage::Resumed { jid, id, h: handled });
        self.count_out(sid, h, true);
        // It may have been closed for its count.
        let Some(managed) = self.sessions.get(&sid).and_then(|s| s.managed.as_ref()) else { return };
        // What came meanwhile may have to wait on.
        let written = managed.queue.iter().take(managed.queue.len() - managed.unwritten());
        self.effects.extend(written.map(|stanza| Effect::Send(stream, stanza.clone())));
        self.streams.ask.push(sid);
        // What was never written follows.
        self.set_active(sid, true);
        self.work.push_back(Work::Event(Event::Resumed(sid)));
    }

    /// Writes what waited for these batches. Of all of them: storage takes nothing more for now, and nobody waits for it who only
    /// wants to read.
    pub(super) fn release(&mut self, up_to: u64) {
        for sid in &self.streams.waiting {
            let Some(session) = self.sessions.get_mut(sid) else { continue };
            let Some(managed) = session.managed.as_mut() else { continue };
            if let Some((stanzas, _)) = managed.held_back.take_if(|(_, waits)| *waits <= up_to)
                && let Some(stream) = session.stream
            {
                let written = managed.queue.iter().skip(managed.queue.len().saturating_sub(stanzas));
                self.effects.extend(written.map(|stanza| Effect::Send(stream, stanza.clone())));
                self.streams.ask.push(*sid);
            }
        }
    }

    /// What waited for this batch can be acknowledged.
    pub(super) fn committed_for_acks(&mut self, seq: u64) {
        self.release(seq);
        self.streams.waiting.retain(|sid| {
            let managed = self.sessions.get_mut(sid).and_then(|session| session.managed.as_mut());
            managed.is_some_and(|managed| {
                managed.committed(seq);
                !managed.waits.is_empty() || managed.held_back.is_some()
            })
        });
        while let Some((_, sid)) = self.streams.asked.front().filter(|(n, _)| *n <= seq).copied() {
            self.streams.asked.pop_front();
            let Some(session) = self.sessions.get_mut(&sid) else { continue };
            let Some(managed) = session.managed.as_mut() else { continue };
            managed.asked = managed.asked.filter(|last| *last > seq);
            if let Some(last) = managed.asked {
                self.streams.asked.push_back((last, sid));
            }
            if let Some(stream) = session.stream {
                self.effects.push(Effect::Manage(stream, Manage::Ack(managed.safe)));
            }
        }
    }

    /// Writes nothing more to a session with stream management until what is now being changed is on stable storage.
    pub(super) fn hold_back(&mut self, sid: SessionId) {
        let seq = self.sealed() + 1;
        if let Some(managed) = self.sessions.get_mut(&sid).and_then(|s| s.managed.as_mut()) {
            let stanzas = managed.held_back.map_or(0, |(stanzas, _)| stanzas);
            managed.held_back = Some((stanzas, seq));
            self.streams.waiting.insert(sid);
        }
    }

    /// The session is in no table any more: what its client may ask about it later.
    pub(super) fn ended(&mut self, local: &str, managed: &Managed) {
        self.streams.by_number.remove(&managed.number);
        if managed.resume_ms.is_none() {
            return;
        }
        let first = (managed.sent as u32).wrapping_sub(managed.queue.len() as u32);
        let sent = (1..).zip(&managed.queue).filter(|(_, s)| s.mark > 0);
        let sent = sent.map(|(n, s)| (first.wrapping_add(n), s.mark)).collect();
        let until = self.now.mono.saturating_add(ENDED_MS);
        self.streams.remember(
            self.now.mono,
            managed.number,
            Ended { handled: Some(managed.handled), local: local.into(), sent, until },
        );
    }

    /// The client of a stream that has ended asks for it: what it has seen needs no more delivery. Returns how many of its
    /// stanzas were handled, if that is known.
    fn returned(&mut self, number: u64, h: u32) -> Option<u32> {
        // It stays: the answer may not reach the client, which asks again then.
        let ended = self.streams.ended.get_mut(&number).filter(|ended| ended.until > self.now.mono)?;
        let handled = ended.handled;
        let mut seen = Vec::new();
        ended.sent.retain(|(count, mark)| {
            // Modulo 2^32: at most as many as a queue holds are between them.
            let is_seen = h.wrapping_sub(*count) < u32::MAX / 2;
            if is_seen {
                seen.push(*mark);
            }
            !is_seen
        });
        let local = ended.local.clone();
        seen.into_iter().for_each(|mark| self.has(&local, mark));
        handled
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    const STREAM: StreamId = StreamId(1);

    fn sid() -> SessionId {
        SessionId::of(STREAM)
    }

    fn jid() -> Jid {
        Jid::parse("juliet@house.test/balcony").unwrap()
    }

    /// One managed session that can be resumed, and its id.
    fn state() -> (State, String) {
        let mut st = State::new(Settings::new(Jid::parse("house.test").unwrap()), [1; 32], [2; 32]);
        st.sessions.insert(sid(), Session::new(jid(), STREAM));
        let Some(Manage::Enabled { id: Some(id), .. }) = st.enable(STREAM, true, None) else { panic!() };
        (st, id)
    }

    #[test]
    fn a_session_that_comes_and_goes_has_one_timer() {
        let (mut st, id) = state();
        for n in 2..100 {
            st.now.mono += 1000;
            let stream = st.sessions[&sid()].stream.unwrap();
            st.lost(stream, false);
            assert_eq!(st.timers.len(), 1);
            st.resume(StreamId(n), &jid().bare(), &id, 0);
            assert_eq!(st.sessions[&sid()].stream, Some(StreamId(n)));
        }
        let stream = st.sessions[&sid()].stream.unwrap();
        st.lost(stream, false);
        let until = st.sessions[&sid()].waits_until.unwrap();
        for at in [601_000, until - 1, until] {
            assert!(st.sessions.contains_key(&sid()));
            st.now.mono = at;
            let ((at, _), _) = st.timers.pop_first().unwrap();
            assert!(at <= until);
            st.hibernated(sid());
        }
        assert!(st.sessions.is_empty() && st.streams.carries.is_empty() && st.streams.by_number.is_empty());
    }

    fn stanza(mark: u64) -> Stanza {
        let mut message = Stanza::new(crate::wire::Kind::Message, crate::wire::Type::Chat);
        message.mark = mark;
        message
    }

    /// The marks of what was acknowledged.
    fn acknowledge(managed: &mut Managed, h: u32) -> Option<Vec<u64>> {
        managed.acknowledge(h).map(|done| done.iter().map(|s| s.mark).collect())
    }

    #[test]
    fn acks_count_modulo_2_to_the_32() {
        // The count behind 2^32-1 is 0.
        for before in [0, u64::from(u32::MAX) - 2, u64::from(u32::MAX), 7 * (1 << 32) - 2] {
            let mut managed = Managed::new(1, None);
            managed.sent = before;
            let count = |n: u64| (before + n) as u32;
            assert_eq!(acknowledge(&mut managed, count(0)), Some(vec![]));
            assert_eq!(acknowledge(&mut managed, count(1)), None, "{before}");
            for n in 1..=5 {
                assert!(managed.push(&stanza(n)).0);
                assert_eq!(managed.count_of(0).count, count(n));
            }
            assert_eq!(acknowledge(&mut managed, count(6)), None);
            assert_eq!(acknowledge(&mut managed, count(0)), Some(vec![]));
            assert_eq!(acknowledge(&mut managed, count(2)), Some(vec![1, 2]));
            assert_eq!(acknowledge(&mut managed, count(2)), Some(vec![]), "again");
            assert_eq!(acknowledge(&mut managed, count(1)), Some(vec![]), "old");
            assert_eq!(acknowledge(&mut managed, count(6)), None);
            assert_eq!(acknowledge(&mut managed, count(1 << 31)), None);
            assert_eq!(acknowledge(&mut managed, count(5)), Some(vec![3, 4, 5]));
            assert_eq!((managed.queue.len(), managed.bytes), (0, 0));
        }
        // Nobody has seen what was never sent.
        let mut managed = Managed::new(1, None);
        assert_eq!(acknowledge(&mut managed, u32::MAX), None);
    }

    #[test]
    fn stanzas_of_a_client_count_modulo_2_to_the_32() {
        let (mut st, _) = state();
        let managed = st.sessions.get_mut(&sid()).unwrap().managed.as_mut().unwrap();
        (managed.handled, managed.logged) = (u32::MAX - 1, u32::MAX - 1);
        for expected in [u32::MAX, 0, 1] {
            st.count_in(sid());
            st.handled(sid());
            st.acknowledge(STREAM);
            st.seal();
            st.on_committed(st.sealed());
            let Some(Effect::Manage(STREAM, Manage::Ack(h))) = st.effects.pop() else { panic!() };
            assert_eq!(h, expected);
        }
    }

    #[test]
    fn a_client_that_returns_has_seen_what_it_counted_modulo_2_to_the_32() {
        let (mut st, id) = state();
        let managed = st.sessions.get_mut(&sid()).unwrap().managed.as_mut().unwrap();
        managed.sent = u64::from(u32::MAX) - 1;
        for n in 1..=4 {
            managed.push(&stanza(n));
        }
        st.lost(STREAM, true);
        st.work.clear();
        st.resume(StreamId(2), &jid().bare(), &id, 0);
        let mut had: Vec<u64> = Vec::new();
        let mut answer = None;
        while let Some(work) = st.work.pop_front() {
            match work {
                Work::Had(local, mark) if &*local == "juliet" && answer.is_none() => had.push(mark),
                Work::Promise(Ack::Manage(StreamId(2), said)) => answer = Some(said),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(had, [1, 2]);
        assert!(matches!(answer, Some(Manage::Failed { handled: Some(0), .. })), "{answer:?}");
    }

    #[test]
    fn a_queue_has_limits() {
        let (mut managed, mut n) = (Managed::new(1, None), 0);
        while managed.push(&stanza(1)).0 {
            n += 1;
        }
        assert!(n <= QUEUE_STANZAS && managed.bytes <= QUEUE_BYTES + 2 * QUEUED_BYTES + stanza(1).bytes(), "{n}");
        assert!(acknowledge(&mut managed, n as u32).is_some());
        assert!(managed.push(&stanza(1)).0, "there is room again");
        let mut big = Managed::new(1, None);
        let body = stanza(1).with(format!("<body>{}</body>", "x".repeat(QUEUE_BYTES / 4)));
        assert_eq!((0..8).take_while(|_| big.push(&body).0).count(), 3);
    }

    /// Who comes and goes all the time is forgotten, not the others.
    #[test]
    fn ended_streams_of_the_others_stay() {
        let mut streams = Streams::default();
        let ended = |who: &str, until: u64, messages: usize| {
            let sent = (0..messages).map(|n| (n as u32, n as u64)).collect();
            Ended { handled: Some(1), local: who.into(), sent, until }
        };
        streams.remember(0, 1, ended("juliet", 1, 100));
        for n in 2..4 * ENDED_STREAMS as u64 {
            streams.remember(0, n, ended("iago", n, 50));
        }
        assert!(streams.ended.contains_key(&1) && streams.ended.len() <= ENDED_STREAMS);
        for n in 10_000..10_100 {
            streams.remember(0, n, ended("iago", n, QUEUE_STANZAS));
        }
        assert!(streams.ended.contains_key(&1));
    }

    /// While storage takes its time, a client may say much.
    #[test]
    fn what_waits_for_one_batch_waits_once() {
        let (mut st, _) = state();
        st.write().unwrap().put(crate::store::Tree::Meta, &b"a test"[..], &b"1"[..]);
        st.seal();
        for _ in 0..1000 {
            st.count_in(sid());
            st.handled(sid());
        }
        let managed = st.sessions[&sid()].managed.as_ref().unwrap();
        assert_eq!((managed.safe, managed.waits.iter().copied().collect::<Vec<_>>()), (0, vec![(st.sealed(), 1000)]));
        st.on_committed(st.sealed());
        assert_eq!(st.sessions[&sid()].managed.as_ref().unwrap().safe, 1000);
    }

    /// What is waited for no more leaves nothing behind.
    #[test]
    fn a_time_that_is_waited_for_no_more_is_forgotten() {
        let (mut st, _) = state();
        let jobs: Vec<_> = (0..100).map(|n| st.after(n % 7)).collect();
        assert_eq!((st.timers.len(), st.timed.len()), (100, 100));
        jobs.into_iter().for_each(|job| st.forget(job));
        assert!(st.timers.is_empty() && st.timed.is_empty() && st.jobs.is_empty());
    }

    /// A client that answers nothing is owed only so many answers.
    #[test]
    fn requests_to_a_silent_client_are_bounded() {
        let (mut st, _) = state();
        let jobs: Vec<_> = (0..1000).map(|_| st.request(sid(), "<ping xmlns='urn:xmpp:ping'/>")).collect();
        assert!(st.requests.len() <= 64 && st.jobs.len() == st.requests.len());
        assert!(st.jobs.contains_key(jobs.last().unwrap()));
        super::super::presence::gone(&mut st, sid(), false);
        assert!(st.requests.is_empty() && st.jobs.is_empty());
    }

    #[test]
    fn what_is_known_of_ended_streams_is_bounded() {
        let mut streams = Streams::default();
        let ended = |until: u64, messages: usize| {
            let sent = (0..messages).map(|n| (n as u32, n as u64)).collect();
            Ended { handled: Some(1), local: "juliet".into(), sent, until }
        };
        for n in 0..2 * ENDED_STREAMS as u64 {
            streams.remember(0, n.rotate_right(7), ended(n + 1, 0));
            assert!(streams.ended.len() <= ENDED_STREAMS && streams.ended.contains_key(&n.rotate_right(7)));
        }
        for n in 0..100 {
            streams.remember(0, n, ended(10_000 + n, QUEUE_STANZAS));
            assert!(streams.ended.values().map(|e| e.sent.len()).sum::<usize>() <= ENDED_MESSAGES);
            assert!(streams.ended.contains_key(&n), "the last one is there");
        }
        assert!(streams.ended.values().all(|e| e.until >= 10_000 + 97), "the oldest go first");
        streams.remember(20_000, 1, ended(20_001, 0));
        assert_eq!(streams.ended.len(), 1, "whose time is over is forgotten");
    }
}
