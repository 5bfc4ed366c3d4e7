//! The last step to a session: a stanza is written, or held for a client that nobody looks at, or waits behind what is older.

use super::handed::Handed;
use super::managed::{QUEUE_BYTES, QUEUE_STANZAS};
use super::quiet::{QUIET_BYTES, Worth};
use super::waiting::SLOW_BYTES;
use crate::core::effect::Effect;
use crate::core::ids::SessionId;
use crate::core::state::State;
use crate::core::work::Work;
use crate::wire::Stanza;

impl State {
    /// Who says what a stanza is worth to a client that does not look. Until somebody does: everything is urgent.
    pub fn weigh_with(&mut self, weigh: fn(&Stanza) -> Worth) {
        self.weigh = weigh;
    }

    /// XEP-0352: whether somebody looks at a client. A stream begins active, also one that resumes a session (§5.2).
    pub fn set_active(&mut self, sid: SessionId, active: bool) {
        if !active {
            if let Some(session) = self.here.session_mut(sid).filter(|s| s.stream.is_some()) {
                session.quiet.get_or_insert_default();
            }
            return;
        }
        self.flush(sid);
        if let Some(session) = self.here.session_mut(sid) {
            session.quiet = None;
        }
    }

    /// Writes what is held for a session that is connected.
    pub(in crate::core) fn flush(&mut self, sid: SessionId) {
        let session = self.here.session_mut(sid).filter(|s| s.stream.is_some());
        let Some(quiet) = session.and_then(|s| s.quiet.as_mut()).filter(|q| q.len() > 0) else { return };
        let held = std::mem::take(&mut **quiet).held;
        self.recount(sid, held.values());
        for stanza in held.into_values() {
            self.write_to(sid, stanza);
        }
    }

    /// Writes a stanza to a session, or holds it there, or lets it wait behind what is older.
    pub(in crate::core) fn hand(&mut self, sid: SessionId, stanza: Stanza) -> Handed {
        self.put(sid, stanza, true)
    }

    /// Writes a stanza to a session past what waits behind something older, or holds it there.
    pub(in crate::core) fn pass(&mut self, sid: SessionId, stanza: Stanza) -> Handed {
        self.put(sid, stanza, false)
    }

    fn put(&mut self, sid: SessionId, stanza: Stanza, waits: bool) -> Handed {
        let Some(session) = self.here.session_mut(sid) else { return self.write_to(sid, stanza) };
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
        let Some(session) = self.here.session_mut(sid) else {
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
