//! Stream management (XEP-0198): what a session owes its client, and what it waits for.
//!
//! Both counts are of the session, not of the connection that carries it. A stanza of the client counts as handled when the core has
//! seen it, and is acknowledged when all that it changed is on stable storage: whoever reads `<a/>` may forget it. A stanza for the
//! client stays in the queue until it is acknowledged; what becomes of it otherwise is told in [`super::delivery`].
//!
//! After a crash the log tells how far a stream was handled: its last message there has its count. What came behind that and changed
//! nothing, a presence or a request, is acknowledged, too, and `<failed/>` must not say less than `<a/>` did before: some clients
//! subtract. So what is acknowledged and is in no message is noted in the log first. That costs some 40 bytes, and a sync if nothing
//! else is stored just then; a client that only sends messages costs nothing. [`NOTES`](super::managed) in a row, then one every minute: of a
//! client that asks more often the log may know less than it was told.

use super::managed::Asks;
use crate::core::effect::Effect;
use crate::core::ids::{SessionId, StreamId};
use crate::core::impossible::impossible;
use crate::core::state::State;
use crate::core::work::Timer;
use crate::wire::{Manage, StreamCondition, StreamError};

/// Time in which a client must answer `<r/>`, in milliseconds. One that does not has lost its connection.
pub const ANSWER_MS: u64 = 60_000;

/// So often that is believed of an account's sessions until one of them acknowledges something. A client that never does is then left
/// alone, or it would come back for the same messages for ever; whether its line is dead, its stream finds out.
pub const SILENCES: u8 = 3;

/// XEP-0198 §6: more was acknowledged than was sent.
pub(in crate::core) fn too_high(h: u32, sent: u32) -> StreamError {
    let text = format!("You acknowledged {h} stanzas, but only {sent} were sent so far.");
    let app = format!("<handled-count-too-high xmlns='urn:xmpp:sm:3' h='{h}' send-count='{sent}'/>");
    StreamError::new(StreamCondition::UndefinedCondition).text(text).app(app)
}

impl State {
    /// Counts a stanza of the client, before it is handled.
    pub(in crate::core) fn count_in(&mut self, sid: SessionId) {
        if let Some(managed) = self.here.session_mut(sid).and_then(|s| s.managed.as_mut()) {
            managed.count_in();
        }
    }

    /// Remembers what the stanza's acknowledgement waits for, when all is done that follows from it.
    pub(in crate::core) fn handled(&mut self, sid: SessionId) {
        let (sealed, committed) = (self.sealed(), self.committed());
        let Some(managed) = self.here.session_mut(sid).and_then(|s| s.managed.as_mut()) else { return };
        if managed.handled(sealed, committed) {
            self.streams.waiting.insert(sid);
        }
    }

    /// `<r/>` of the client (XEP-0198 §4). Those that wait for the same batch are answered together.
    pub(in crate::core) fn acknowledge(&mut self, stream: StreamId) {
        let Some(sid) = self.carried(stream) else { return };
        self.flush(sid);
        self.note_unlogged(sid);
        let Some(managed) = self.here.session_mut(sid).and_then(|s| s.managed.as_mut()) else { return };
        match managed.asks() {
            Asks::Now(h) => self.effects.push(Effect::Manage(stream, Manage::Ack(h))),
            // Behind what others wait for, sometimes: then they are all answered with the later one.
            Asks::With(seq) => self.streams.asked.push_back((seq, sid)),
            Asks::Again => {}
        }
    }

    /// Something is to be acknowledged: what of it is in no message of the log is noted there first. While storage takes nothing,
    /// nothing is noted.
    pub(super) fn note_unlogged(&mut self, sid: SessionId) {
        let now = self.now.mono;
        if self.takes_nothing() {
            return;
        }
        let Some(managed) = self.here.session_mut(sid).and_then(|s| s.managed.as_mut()) else { return };
        let Some(counted) = managed.note(now) else { return };
        self.note_heard(vec![counted]);
        let seq = self.sealed() + 1;
        if let Some(managed) = self.here.session_mut(sid).and_then(|s| s.managed.as_mut()) {
            managed.wait_for(seq);
            self.streams.waiting.insert(sid);
        }
    }

    /// `<a/>` of the client.
    pub(in crate::core) fn acknowledged(&mut self, stream: StreamId, h: u32) {
        let Some(sid) = self.carried(stream) else { return };
        if let Some(managed) = self.here.session_mut(sid).and_then(|s| s.managed.as_mut()) {
            // Only an answer: who tells each stanza unasked would be asked as often.
            let answer = managed.answered();
            self.count_out(sid, h, answer);
        }
    }

    /// What a client says it has handled.
    pub(super) fn count_out(&mut self, sid: SessionId, h: u32, ask: bool) {
        let Some(session) = self.here.session_mut(sid) else {
            return impossible("a session is gone while it is acknowledged to");
        };
        let local: Box<str> = session.local().into();
        let Some(managed) = session.managed.as_mut() else {
            return impossible("a session without stream management is acknowledged to");
        };
        let sent = managed.written_count();
        match managed.acknowledge(h, self.now.mono) {
            Some(done) => {
                // Not after an answer without news: a client that is slow would be asked as fast as the line can.
                if ask && managed.waiting().0 > 0 && !done.is_empty() {
                    self.streams.ask.push(sid);
                }
                if !done.is_empty()
                    && let Some(account) = self.here.account_mut(&local)
                {
                    account.silences = 0;
                }
                for mark in done.iter().map(|s| s.mark).filter(|mark| *mark > 0) {
                    self.has(&local, mark);
                }
            }
            None => {
                self.close(sid, Some(too_high(h, sent)));
            }
        }
    }

    /// At the end of a turn: asks those for an acknowledgement who were sent something, one question at a time.
    pub(in crate::core) fn ask_for_acks(&mut self) {
        let now = self.now.mono;
        for sid in std::mem::take(&mut self.streams.ask) {
            let Some(session) = self.here.session_mut(sid) else { continue };
            let (Some(stream), Some(managed)) = (session.stream, session.managed.as_mut()) else { continue };
            if !managed.ask(now) {
                continue;
            }
            self.effects.push(Effect::Manage(stream, Manage::Request));
            if managed.sets_answer_timer() {
                self.set_timer(now + ANSWER_MS, Timer::Unanswered(sid));
            }
        }
    }

    /// The time for an answer to `<r/>` is over, if it is still the same question.
    pub(in crate::core) fn unanswered(&mut self, sid: SessionId) {
        let now = self.now.mono;
        let Some((session, account)) = self.here.session_and_account(sid) else { return };
        let (stream, Some(managed)) = (session.stream, session.managed.as_mut()) else { return };
        managed.answer_timer_ended();
        let Some(requested) = managed.requested() else {
            // The answer had no news, or not all. It is asked again now.
            return self.streams.ask.push(sid);
        };
        let Some(stream) = stream else { return };
        if now >= requested + ANSWER_MS {
            if account.as_ref().is_some_and(|account| account.silences >= SILENCES) {
                managed.answered();
                return self.streams.ask.push(sid);
            }
            if let Some(account) = account {
                account.silences += 1;
            }
            let silent = StreamError::new(StreamCondition::ConnectionTimeout).text("no answer to a request for an ack");
            self.effects.push(Effect::Close(stream, Some(silent)));
            self.lost(stream, false);
        } else if managed.sets_answer_timer() {
            self.set_timer(requested + ANSWER_MS, Timer::Unanswered(sid));
        }
    }

    /// Writes what waited for these batches. Of all of them: storage takes nothing more for now, and nobody waits for it who only
    /// wants to read.
    pub(in crate::core) fn release(&mut self, up_to: u64) {
        for sid in &self.streams.waiting {
            let Some(session) = self.here.session_mut(*sid) else { continue };
            let Some(managed) = session.managed.as_mut() else { continue };
            if let Some(written) = managed.release(up_to)
                && let Some(stream) = session.stream
            {
                self.effects.extend(written.map(|stanza| Effect::Send(stream, stanza.clone())));
                self.streams.ask.push(*sid);
            }
        }
    }

    /// What waited for this batch can be acknowledged.
    pub(in crate::core) fn committed_for_acks(&mut self, seq: u64) {
        self.release(seq);
        self.streams.waiting.retain(|sid| {
            let managed = self.here.session_mut(*sid).and_then(|session| session.managed.as_mut());
            managed.is_some_and(|managed| managed.committed(seq))
        });
        while let Some((_, sid)) = self.streams.asked.front().filter(|(n, _)| *n <= seq).copied() {
            self.streams.asked.pop_front();
            let Some(session) = self.here.session_mut(sid) else { continue };
            let Some(managed) = session.managed.as_mut() else { continue };
            let (safe, later) = managed.answer(seq);
            self.streams.asked.extend(later.map(|later| (later, sid)));
            if let Some(stream) = session.stream {
                self.effects.push(Effect::Manage(stream, Manage::Ack(safe)));
            }
        }
    }

    /// Writes nothing more to a session with stream management until what is now being changed is on stable storage.
    pub(super) fn hold_back(&mut self, sid: SessionId) {
        let seq = self.sealed() + 1;
        if let Some(managed) = self.here.session_mut(sid).and_then(|s| s.managed.as_mut()) {
            managed.hold_back(seq);
            self.streams.waiting.insert(sid);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::resume::tests::{STREAM, sid, state};
    use super::*;

    #[test]
    fn stanzas_of_a_client_count_modulo_2_to_the_32() {
        let (mut st, _) = state();
        let managed = st.here.session_mut(sid()).unwrap().managed.as_mut().unwrap();
        managed.set_counts(0, u32::MAX - 1);
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
        let managed = st.here.session(sid()).unwrap().managed.as_ref().unwrap();
        assert_eq!(managed.safe(), (0, vec![(st.sealed(), 1000)]));
        st.on_committed(st.sealed());
        assert_eq!(st.here.session(sid()).unwrap().managed.as_ref().unwrap().safe().0, 1000);
    }
}
