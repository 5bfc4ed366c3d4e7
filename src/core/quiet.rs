//! What a session need not know yet: its client is inactive (XEP-0352), or has lost its connection and may come back (XEP-0198).
//!
//! What is held here was never written, and the stream does not count it. So what is out of date may go: of the presence of one
//! full JID only the newest is left. What is left keeps its order, and everything is written before the next
//! thing that cannot wait: a client sees what it would have seen, with something left out.
//!
//! A message that may have to be delivered elsewhere ([`Stanza::mark`]) is in the log with the number that the stream will count it
//! by. While the client is connected that stays true, so what stands before such a message stays. For one that comes back, the
//! number is stored anew before the message is written.

use super::effect::Effect;
use super::ids::SessionId;
use super::logged::Counted;
use super::sm::{QUEUE_BYTES, QUEUE_STANZAS};
use super::state::State;
use super::waiting::SLOW_BYTES;
use super::work::Work;
use crate::wire::Stanza;
use std::collections::BTreeMap;

/// What may be held for an inactive client, in bytes; more is written at once. What is held for one without a connection counts
/// with what waits for its acknowledgement ([`QUEUE_BYTES`]).
pub const QUIET_BYTES: usize = 192 * 1024;
/// What a stanza that is held costs besides its text, in bytes.
pub const HELD_BYTES: usize = 256;

/// What a stanza is worth to a client that does not look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Worth {
    /// It wakes the client.
    Urgent,
    /// It can wait.
    Later,
    /// The same, and what waits under the same name is out of date.
    Newest(Box<str>),
    /// It will be worth nothing later.
    Nothing,
}

/// What became of a stanza for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Handed {
    /// Nobody misses it.
    Dropped,
    /// It was written; whether it arrives, nobody will know.
    Written,
    /// How its stream counts it. While it is held for a client without a connection, that is how it counts it at most: what is
    /// before it may still be dropped, and whoever says to have seen so many has seen it.
    Counted(Counted),
    /// It was written behind something that the client has not shown to have read.
    Unsure,
    /// It waits behind what is older ([`super::progress`]).
    Waits,
}

/// What is held for a session.
#[derive(Debug, Default)]
pub struct Quiet {
    /// In order.
    held: BTreeMap<u64, Stanza>,
    /// Where the newest of each name is.
    newest: BTreeMap<Box<str>, u64>,
    /// What is before this place stays: the log knows how the stream counts it.
    counted: u64,
    next: u64,
    bytes: usize,
}

impl Quiet {
    /// Its stanzas, in order.
    pub fn held(&self) -> impl Iterator<Item = &Stanza> {
        self.held.values()
    }

    fn len(&self) -> usize {
        self.held.len()
    }

    /// What they cost, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// `connected`: the stanza may be written before anything more is stored.
    fn push(&mut self, name: Option<Box<str>>, stanza: Stanza, connected: bool) {
        self.next += 1;
        if !connected {
            self.counted = 0;
        } else if stanza.mark > 0 {
            self.counted = self.next;
        }
        self.bytes += stanza.bytes() + HELD_BYTES;
        self.held.insert(self.next, stanza);
        let Some(name) = name else { return };
        let bytes = name.len();
        match self.newest.insert(name, self.next) {
            None => self.bytes += bytes,
            Some(old) if old < self.counted => {}
            Some(old) => self.bytes -= self.held.remove(&old).map_or(0, |old| old.bytes() + HELD_BYTES),
        }
    }
}

impl State {
    /// Who says what a stanza is worth to a client that does not look. Until somebody does: everything is urgent.
    pub fn weigh_with(&mut self, weigh: fn(&Stanza) -> Worth) {
        self.weigh = weigh;
    }

    /// XEP-0352: whether somebody looks at a client. A stream begins active, also one that resumes a session (§5.2).
    pub fn set_active(&mut self, sid: SessionId, active: bool) {
        if !active {
            if let Some(session) = self.sessions.get_mut(&sid).filter(|s| s.stream.is_some()) {
                session.quiet.get_or_insert_default();
            }
            return;
        }
        self.flush(sid);
        if let Some(session) = self.sessions.get_mut(&sid) {
            session.quiet = None;
        }
    }

    /// Writes what is held for a session that is connected.
    pub(super) fn flush(&mut self, sid: SessionId) {
        let session = self.sessions.get_mut(&sid).filter(|s| s.stream.is_some());
        let Some(quiet) = session.and_then(|s| s.quiet.as_mut()).filter(|q| q.len() > 0) else { return };
        let held = std::mem::take(&mut **quiet).held;
        self.recount(sid, held.values());
        for stanza in held.into_values() {
            self.write_to(sid, stanza);
        }
    }

    /// Writes a stanza to a session, or holds it there, or lets it wait behind what is older.
    pub(super) fn hand(&mut self, sid: SessionId, stanza: Stanza) -> Handed {
        self.put(sid, stanza, true)
    }

    /// Writes a stanza to a session past what waits behind something older, or holds it there.
    pub(super) fn pass(&mut self, sid: SessionId, stanza: Stanza) -> Handed {
        self.put(sid, stanza, false)
    }

    fn put(&mut self, sid: SessionId, stanza: Stanza, waits: bool) -> Handed {
        let Some(session) = self.sessions.get_mut(&sid) else { return self.write_to(sid, stanza) };
        if waits && session.progress.is_some() {
            return if self.behind(sid, &stanza) { Handed::Waits } else { self.pass(sid, stanza) };
        }
        let connected = session.stream.is_some();
        if connected && session.quiet.is_none() {
            return self.write_to(sid, stanza);
        }
        let name = match (self.weigh)(&stanza) {
            Worth::Nothing => return Handed::Dropped,
            // A message that no stream counts would be lost without a trace.
            _ if connected && session.managed.is_none() && stanza.mark > 0 => None,
            Worth::Urgent if connected => None,
            Worth::Newest(name) => Some(Some(name)),
            Worth::Later | Worth::Urgent => Some(None),
        };
        let Some(name) = name else {
            self.flush(sid);
            return self.write_to(sid, stanza);
        };
        let before = session.waiting_bytes();
        let quiet = session.quiet.get_or_insert_default();
        quiet.push(name, stanza, connected);
        let (stanzas, bytes) = (quiet.len(), quiet.bytes);
        let (grown, more_bytes) = (session.has_grown(before), session.waiting_bytes().saturating_sub(before));
        let handed = match &session.managed {
            Some(managed) => Handed::Counted(managed.count_of(stanzas)),
            None => Handed::Written,
        };
        if connected {
            if bytes > QUIET_BYTES {
                self.flush(sid);
            }
        } else if let Some((waiting, more)) = session.managed.as_ref().map(|m| m.waiting())
            && (waiting + stanzas > QUEUE_STANZAS || more + bytes > QUEUE_BYTES)
        {
            self.work.push_back(Work::Overflow(sid));
        } else if grown && let Some(most) = self.waits_too_much(sid) {
            self.work.push_back(Work::Overflow(most));
        }
        self.said_to(sid, more_bytes);
        handed
    }

    /// Writes a stanza to a session, past what is held.
    pub(super) fn write_to(&mut self, sid: SessionId, stanza: Stanza) -> Handed {
        let Some(session) = self.sessions.get_mut(&sid) else {
            // It has just ended: nobody reads there.
            return Handed::Written;
        };
        let before = session.waiting_bytes();
        let (fits, now, handed) = match session.managed.as_mut() {
            Some(managed) => {
                self.streams.ask.push(sid);
                let (fits, now) = managed.push(&stanza);
                (fits, now, Handed::Counted(managed.count_of(0)))
            }
            None => {
                let sure = session.progress.as_ref().is_none_or(|progress| progress.is_sure());
                (true, true, if sure { Handed::Written } else { Handed::Unsure })
            }
        };
        let (grown, waiting) = (session.has_grown(before), session.waiting_bytes());
        if let (Some(stream), true) = (session.stream, now) {
            self.effects.push(Effect::Send(stream, stanza));
        }
        if !fits {
            self.work.push_back(Work::Overflow(sid));
        } else if grown && let Some(most) = self.waits_too_much(sid) {
            self.work.push_back(Work::Overflow(most));
        }
        if waiting > SLOW_BYTES {
            self.said_to(sid, waiting.saturating_sub(before));
        }
        handed
    }
}
