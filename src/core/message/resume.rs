//! A session that outlives its connection (XEP-0198 §5): how it is made one that can, is lost, waits, and is carried on.

use super::managed::Managed;
use super::streams::Ended;
use crate::core::effect::Effect;
use crate::core::event::Event;
use crate::core::ids::{SessionId, StreamId};
use crate::core::impossible::impossible;
use crate::core::promise::Promise;
use crate::core::session::Session;
use crate::core::state::State;
use crate::core::work::{Timer, Work};
use crate::wire::{Condition, Jid, Manage, StreamCondition, StreamError};
use ring::hmac;

/// The longest time for which an ended stream is remembered, in milliseconds.
const ENDED_MS: u64 = 7 * 86_400_000;

/// Hexadecimal digits of the code in an id.
const CODE_DIGITS: usize = 32;

fn code(st: &State, account: &str, number: u64) -> String {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &st.secret));
    context.update(b"stream\0");
    context.update(account.as_bytes());
    context.update(&number.to_be_bytes());
    // Whoever has the name of an account that was removed is somebody else.
    let local = account.split_once('@').map_or(account, |(local, _)| local);
    let archived = st.here.archived(local).filter(|_| st.here.accounts().contains_key(local));
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
    pub(in crate::core) fn carried(&self, stream: StreamId) -> Option<SessionId> {
        let sid = self.streams.carries.get(&stream).copied().unwrap_or(SessionId::of(stream));
        self.here.session(sid).filter(|s| s.stream == Some(stream)).map(|_| sid)
    }

    /// XEP-0198 §3: `<enable/>`. `max`: what the client prefers, in seconds. The answer, unless it is enabled.
    pub(in crate::core) fn enable(&mut self, stream: StreamId, resume: bool, max: Option<u32>) -> Option<Manage> {
        let sid = self.carried(stream)?;
        let bytes = self.random();
        let mut number = [0; 8];
        number.copy_from_slice(&bytes[..8]);
        let number = u64::from_be_bytes(number);
        let max_s = max.map_or(self.settings.resume_s, |max| max.min(self.settings.resume_s));
        let resume = resume && max_s > 0;
        let session = self.here.session_mut(sid).filter(|s| s.managed.is_none())?;
        session.managed = Some(Box::new(Managed::new(number, resume.then_some(u64::from(max_s) * 1000))));
        let account = session.jid.bare();
        self.streams.by_number.insert(number, sid);
        let id = resume.then(|| id(self, account.as_str(), number));
        let location = self.settings.resume_at.clone().filter(|_| resume);
        Some(Manage::Enabled { id, max_s, location })
    }

    /// A connection is gone: its session too, or it waits for its client. `clean`: the client closed the stream (XEP-0198 §7).
    pub(in crate::core) fn lost(&mut self, stream: StreamId, clean: bool) {
        self.forget_login(stream);
        self.streams.resuming.remove(&stream);
        let carried = self.carried(stream);
        self.streams.carries.remove(&stream);
        let Some(sid) = carried else { return };
        let Some(session) = self.here.session_mut(sid) else {
            return impossible("a connection carries a session that is gone");
        };
        match session.managed.as_mut().and_then(|m| m.resume_ms().map(|ms| (m, ms))) {
            Some((managed, resume_ms)) if !clean => {
                managed.answered();
                session.stream = None;
                let until = self.now.mono.saturating_add(resume_ms);
                session.waits_until = Some(until);
                if managed.sets_return_timer() {
                    self.set_timer(until, Timer::Hibernated(sid));
                }
                self.parted(sid);
                self.work.push_back(Work::Event(Event::Parted(sid)));
            }
            _ => self.gone(sid, clean),
        }
    }

    /// The client closed its stream (XEP-0198 §7). It forgets the stream when it reads our end of it.
    pub(in crate::core) fn closing(&mut self, stream: StreamId) {
        self.lost(stream, true);
        self.work.push_back(Work::Promise(Promise::Close(stream, None)));
    }

    /// The time to come back is over, if it still waits.
    pub(in crate::core) fn hibernated(&mut self, sid: SessionId) {
        let Some(session) = self.here.session_mut(sid) else { return };
        let (until, Some(managed)) = (session.waits_until, session.managed.as_mut()) else { return };
        managed.return_timer_ended();
        match until {
            Some(until) if until <= self.now.mono => self.gone(sid, false),
            // It came back, and was lost again.
            Some(until) => {
                managed.sets_return_timer();
                self.set_timer(until, Timer::Hibernated(sid));
            }
            None => {}
        }
    }

    /// XEP-0198 §5: `<resume/>` of an authenticated stream.
    pub(in crate::core) fn resume(&mut self, stream: StreamId, account: &Jid, previd: &str, h: u32) {
        let number = number(self, account.as_str(), previd);
        let found = number.and_then(|number| self.streams.by_number.get(&number)).copied();
        let found = found
            .filter(|sid| self.here.session(*sid).and_then(|s| s.managed.as_ref()).is_some_and(|m| m.can_be_resumed()));
        let (Some(sid), Some(number)) = (found, number) else { return self.not_resumed(stream, number, h) };
        // Nothing more is heard or said on the old connection. The session waits, until the answer is true.
        if let Some(old) = self.here.session(sid).and_then(|s| s.stream) {
            let conflict = StreamError::new(StreamCondition::Conflict).text("resumed on a new connection");
            self.effects.push(Effect::Close(old, Some(conflict)));
            self.lost(old, false);
        }
        let resuming = &mut self.streams.resuming;
        if let Some(first) = resuming.iter().find(|(_, resumed)| **resumed == sid).map(|(stream, _)| *stream) {
            // Another connection waits for it: the later one is the one that works.
            resuming.remove(&first);
            if self.logins.get(first).is_some() {
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
        self.promise(Promise::Resumed { stream, sid, number, h });
    }

    /// The stream with this number, if it is one of the client's, cannot be resumed.
    fn not_resumed(&mut self, stream: StreamId, number: Option<u64>, h: u32) {
        // Nothing of a stream of ours is stored: then nothing was acknowledged. It is never more than was handled.
        let handled = number.map(|number| self.returned(number, h).unwrap_or(0));
        let failed = Manage::Failed { condition: Condition::ItemNotFound, handled };
        // What it has seen is forgotten first: it will not ask again.
        self.work.push_back(Work::Promise(Promise::Manage(stream, failed)));
    }

    /// All that the session handled is on stable storage: the new connection carries it from here on.
    pub(in crate::core) fn resumed(&mut self, stream: StreamId, sid: SessionId, number: u64, h: u32) {
        if self.streams.resuming.get(&stream) != Some(&sid) {
            return;
        }
        self.streams.resuming.remove(&stream);
        let stalled = self.is_stalled();
        let session = self.here.session_mut(sid);
        let Some(Session { jid, stream: carrier, waits_until, managed: Some(managed), .. }) = session else {
            // Its time was over just now.
            return self.not_resumed(stream, Some(number), h);
        };
        if stalled {
            managed.forget_unsafe();
        }
        *carrier = Some(stream);
        *waits_until = None;
        let (jid, handled) = (jid.clone(), managed.handled_count());
        self.streams.carries.insert(stream, sid);
        let id = id(self, jid.bare_str(), number);
        self.answer_resume(stream, Manage::Resumed { jid, id, h: handled });
        self.count_out(sid, h, true);
        // It may have been closed for its count.
        let Some(managed) = self.here.session(sid).and_then(|s| s.managed.as_ref()) else { return };
        // What came meanwhile may have to wait on.
        self.effects.extend(managed.written().map(|stanza| Effect::Send(stream, stanza.clone())));
        self.streams.ask.push(sid);
        // What was never written follows.
        self.set_active(sid, true);
        self.work.push_back(Work::Event(Event::Resumed(sid)));
    }

    /// The session is in no table any more: what its client may ask about it later.
    pub(in crate::core) fn ended(&mut self, local: &str, managed: &Managed) {
        self.streams.by_number.remove(&managed.number());
        if !managed.can_be_resumed() {
            return;
        }
        let (handled, sent) = managed.left_behind();
        let until = self.now.mono.saturating_add(ENDED_MS);
        self.streams.remember(
            self.now.mono,
            managed.number(),
            Ended { handled: Some(handled), local: local.into(), sent, until },
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
pub(super) mod tests {
    use super::*;
    use crate::core::settings::Settings;
    use crate::wire::{Kind, Stanza, Type};

    pub(in crate::core::message) const STREAM: StreamId = StreamId(1);

    pub(in crate::core::message) fn sid() -> SessionId {
        SessionId::of(STREAM)
    }

    fn jid() -> Jid {
        Jid::parse("juliet@house.test/balcony").unwrap()
    }

    /// One managed session that can be resumed, and its id.
    pub(in crate::core::message) fn state() -> (State, String) {
        let mut st = State::new(Settings::new(Jid::parse("house.test").unwrap()), [1; 32], [2; 32]);
        st.here.add_a_test("juliet@house.test");
        st.here.enter(jid(), STREAM);
        let Some(Manage::Enabled { id: Some(id), .. }) = st.enable(STREAM, true, None) else { panic!() };
        (st, id)
    }

    fn stanza(mark: u64) -> Stanza {
        let mut message = Stanza::new(Kind::Message, Type::Chat);
        message.mark = mark;
        message
    }

    #[test]
    fn a_session_that_comes_and_goes_has_one_timer() {
        let (mut st, id) = state();
        for n in 2..100 {
            st.now.mono += 1000;
            let stream = st.here.session(sid()).unwrap().stream.unwrap();
            st.lost(stream, false);
            assert_eq!(st.questions.timers(), 1);
            st.resume(StreamId(n), &jid().bare(), &id, 0);
            assert_eq!(st.here.session(sid()).unwrap().stream, Some(StreamId(n)));
        }
        let stream = st.here.session(sid()).unwrap().stream.unwrap();
        st.lost(stream, false);
        let until = st.here.session(sid()).unwrap().waits_until.unwrap();
        for at in [601_000, until - 1, until] {
            assert!(st.here.session(sid()).is_some());
            st.now.mono = at;
            let at = st.questions.next_timer().unwrap();
            assert!(at <= until);
            st.hibernated(sid());
        }
        assert!(st.here.sessions().is_empty() && st.streams.carries.is_empty() && st.streams.by_number.is_empty());
    }

    #[test]
    fn a_client_that_returns_has_seen_what_it_counted_modulo_2_to_the_32() {
        let (mut st, id) = state();
        let managed = st.here.session_mut(sid()).unwrap().managed.as_mut().unwrap();
        managed.set_counts(u64::from(u32::MAX) - 1, 0);
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
                Work::Promise(Promise::Manage(StreamId(2), said)) => answer = Some(said),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(had, [1, 2]);
        assert!(matches!(answer, Some(Manage::Failed { handled: Some(0), .. })), "{answer:?}");
    }
}
