//! What a stream to another server carried, and the next one goes on with (XEP-0198 §5).
//!
//! Whoever dials next asks for it, whichever side dialled before: both know its id. What the other has handled, and stored, is told by
//! the answer also if it is not carried on; so nothing is doubled and nothing lost, whatever broke off when. While something of it is not
//! acknowledged, nothing newer is said between the two domains: order holds.

use super::session::{PEER_RESUME_MS, PEER_SESSIONS, PeerSession, is_kept};
use super::table::Asked;
use crate::core::effect::Effect;
use crate::core::ids::StreamId;
use crate::core::message::streams::Ended;
use crate::core::message::too_high;
use crate::core::promise::Promise;
use crate::core::state::State;
use crate::core::work::{Timer, Work};
use crate::wire::{Condition, DomainPair, Manage, ManageAnswer, Refusal, Stanza, StreamCondition, StreamError};
use ring::hmac;

/// How long a server that has dialled us may think about stream management before we dial it ourselves, if there is something to say, in
/// milliseconds.
const THINKS_MS: u64 = 5_000;
/// How long a session that was lost is kept when the other server has come without asking for it, in milliseconds: it may still be reached
/// and asked.
const PASSED_OVER_MS: u64 = 10_000;
/// How long what a session counted is remembered when it has ended, in milliseconds.
const ENDED_MS: u64 = 86_400_000;

impl State {
    /// A stream is proved that may have stream management: it is asked for, or waited for, before something is said.
    pub(super) fn manage_stream(&mut self, stream: StreamId, pair: &DomainPair, dialled: bool) {
        if !dialled {
            self.peers.asked.insert(stream, Asked::Awaits(pair.clone()));
            return self.retry_at(pair, self.now.mono + THINKS_MS);
        }
        let Some(number) = self.peers.lost_between(pair) else { return self.enable_on(stream, pair) };
        if let Some(session) = self.peers.sessions.get_mut(&number) {
            session.asks = Some(stream);
        }
        self.peers.asked.insert(stream, Asked::Resume(pair.clone(), number));
        self.note_unlogged_of_peer(number);
        self.promise(Promise::PeerResume { stream, number });
    }

    fn enable_on(&mut self, stream: StreamId, pair: &DomainPair) {
        self.peers.asked.insert(stream, Asked::Enable(pair.clone()));
        self.effects.push(Effect::Manage(stream, Manage::Enable));
    }

    /// All that was handled is on stable storage: the peer is asked to go on behind it.
    pub(in crate::core) fn resume_at_peer(&mut self, stream: StreamId, number: u64) {
        let stalled = self.is_stalled();
        let Some(Asked::Resume(pair, _)) = self.peers.asked.get(&stream) else { return };
        let pair = pair.clone();
        let session = self.peers.sessions.get_mut(&number).filter(|session| session.asks == Some(stream));
        let Some(PeerSession { managed, id: Some(id), .. }) = session else { return self.enable_on(stream, &pair) };
        if stalled {
            managed.forget_unsafe();
        }
        let resume = Manage::Resume { id: id.to_string(), h: managed.handled_count() };
        self.effects.push(Effect::Manage(stream, resume));
    }

    /// A server that was asked for stream management answers.
    pub(in crate::core) fn peer_managed(&mut self, stream: StreamId, answer: ManageAnswer) {
        let Some(asked) = self.peers.asked.remove(&stream) else { return };
        match (asked, answer) {
            (Asked::Resume(pair, number), ManageAnswer::Resumed(h)) => {
                self.peers.dialled(&pair);
                // Meanwhile the peer has asked for it, on another stream, and was told that it has ended.
                if self.peers.sessions.get(&number).is_none_or(|session| session.asks != Some(stream)) {
                    let error = StreamError::new(StreamCondition::UndefinedCondition);
                    return self.end_stream(stream, error.text("what was to be resumed has ended"));
                }
                let Some(PeerSession { managed, recovered, .. }) = self.peers.sessions.get(&number) else { return };
                if !recovered && !managed.fits(h) {
                    let error = too_high(h, managed.written_count());
                    self.end_stream(stream, error);
                    return self.give_up(number);
                }
                self.carry_on(stream, number, h, true);
            }
            (Asked::Resume(pair, number), ManageAnswer::Failed(h)) => {
                if self.peers.sessions.get(&number).is_some_and(|session| session.asks == Some(stream)) {
                    self.end_session(number, h);
                }
                // Or another one.
                self.manage_stream(stream, &pair, true);
            }
            (Asked::Enable(pair), ManageAnswer::Enabled(id)) => {
                let number = id.as_ref().map(|id| self.peer_number(&pair, id));
                // One that was there before cannot be told from it.
                let known = number.is_some_and(|number| self.peers.sessions.contains_key(&number));
                let id = id.filter(|_| !known).map(Box::from);
                self.begin_session(stream, &pair, id);
                if let Some(number) = number.filter(|_| self.settings.federation.kept.contains(&pair.theirs)) {
                    // Perhaps that server cannot ask for it here.
                    self.name_peer_session(number);
                }
                self.open_line(stream, &pair, false);
            }
            (Asked::Enable(pair), ManageAnswer::Failed(_)) => self.open_line(stream, &pair, false),
            // It is an answer to another question.
            (asked, _) => {
                self.peers.asked.insert(stream, asked);
                let error = StreamError::new(StreamCondition::PolicyViolation);
                self.end_stream(stream, error.text("that was not asked for"));
            }
        }
    }

    fn begin_session(&mut self, stream: StreamId, pair: &DomainPair, id: Option<Box<str>>) {
        let number = match &id {
            Some(id) => self.peer_number(pair, id),
            None => {
                let unique = self.token();
                self.peer_number(pair, &unique)
            }
        };
        let mut session = PeerSession::new(pair.clone(), id, number);
        session.stream = Some(stream);
        self.peers.sessions.insert(number, session);
        self.peers.carries.insert(stream, number);
    }

    /// Stanzas can be said on a stream; what waits for that is.
    fn open_line(&mut self, stream: StreamId, pair: &DomainPair, first: bool) {
        self.peers.dialled(pair);
        self.peers.join(stream, pair, first, self.now.mono);
        self.go_on(pair);
    }

    /// XEP-0198 §3: `<enable/>` of a server that has dialled us. Says whether the stream is one's.
    pub(in crate::core) fn enable_for_peer(&mut self, stream: StreamId, resume: bool, max_s: Option<u32>) -> bool {
        let Some(pair) = self.peers.pair_of(stream).cloned() else { return false };
        if self.peers.carries.contains_key(&stream) {
            return true;
        }
        let id = resume.then(|| self.token());
        self.begin_session(stream, &pair, id.as_deref().map(Box::from));
        let longest = (PEER_RESUME_MS / 1000) as u32;
        let max_s = max_s.map_or(longest, |max| max.min(longest));
        self.effects.push(Effect::Manage(stream, Manage::Enabled { id, max_s, location: None }));
        self.pass_over(&pair);
        if let Some(Asked::Awaits(_)) = self.peers.asked.remove(&stream) {
            self.open_line(stream, &pair, false);
        }
        true
    }

    /// A server has come and not asked for what was lost between the two: it will not be waited for long.
    fn pass_over(&mut self, pair: &DomainPair) {
        let until = self.now.mono + PASSED_OVER_MS;
        let Some(number) = self.peers.owed_between(pair, 0) else { return };
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        if until < session.until {
            session.until = until;
            self.set_timer(until, Timer::PeerLost(number));
        }
    }

    /// A server that has dialled us says something else than that it wants stream management: it is spoken to without.
    pub(in crate::core) fn speaks_plainly(&mut self, stream: StreamId) {
        if let Some(Asked::Awaits(pair)) = self.peers.asked.get(&stream) {
            let pair = pair.clone();
            self.peers.asked.remove(&stream);
            self.open_line(stream, &pair, false);
        }
    }

    /// XEP-0198 §5: `<resume/>` of a server that has dialled us.
    pub(in crate::core) fn peer_resumes(&mut self, stream: StreamId, id: &str, h: u32) {
        let Some(pair) = self.peers.pair_of(stream).cloned() else { return };
        let number = self.peer_number(&pair, id);
        // Nothing more is heard or said on the old stream.
        if let Some(old) = self.peers.sessions.get(&number).and_then(|session| session.stream) {
            let conflict = StreamError::new(StreamCondition::Conflict).text("resumed on a new stream");
            self.effects.push(Effect::Close(old, Some(conflict)));
            self.peers.closed(old);
            self.part(number);
        }
        self.note_unlogged_of_peer(number);
        self.promise(Promise::PeerResumed { stream, number, h });
    }

    /// All that was handled is on stable storage: the new stream carries it from here on, or the peer is told how much that was.
    pub(in crate::core) fn peer_resumed(&mut self, stream: StreamId, number: u64, h: u32) {
        let (stalled, now) = (self.is_stalled(), self.now.mono);
        let Some(pair) = self.peers.pair_of(stream).cloned() else { return };
        let is_one_of_several = self.peers.owed_between(&pair, number).is_some();
        let Some(session) = self.peers.sessions.get_mut(&number) else {
            let ended = self.streams.ended.get(&number).filter(|ended| ended.until > now);
            let handled = ended.and_then(|ended| ended.handled);
            return self.peer_not_resumed(stream, handled);
        };
        if stalled {
            session.managed.forget_unsafe();
        }
        let handled = session.managed.handled_count();
        // Of before a restart the counts may be wrong; and while we ask for it ourselves, two streams would carry it.
        let is_sure = !session.recovered && session.asks.is_none() && session.stream.is_none();
        // Whoever is told no asks for the next one: a stream carries on one of them, and of the others both have to know how far they are.
        let can = is_sure && session.managed.fits(h) && !is_one_of_several;
        if !can {
            if let Some(old) = session.stream {
                self.effects.push(Effect::Close(old, None));
                self.peers.closed(old);
            }
            self.end_session(number, Some(h));
            return self.peer_not_resumed(stream, Some(handled));
        }
        let id = session.id.as_deref().unwrap_or_default().to_owned();
        self.effects.push(Effect::Manage(stream, Manage::Resumed { jid: pair.theirs.clone(), id, h: handled }));
        let sends = matches!(self.peers.asked.remove(&stream), Some(Asked::Awaits(_)));
        let sends = sends || self.peers.is_said_on(stream, &pair);
        self.carry_on(stream, number, h, sends);
    }

    /// What the peer wants to carry on has ended.
    fn peer_not_resumed(&mut self, stream: StreamId, handled: Option<u32>) {
        // What it has is stored first: it will not ask again.
        self.note_settled();
        let failed = Manage::Failed { condition: Condition::ItemNotFound, handled };
        self.work.push_back(Work::Promise(Promise::Manage(stream, failed)));
    }

    /// A stream carries on what another one did; the peer has handled so many. `sends`: something may be said on it.
    fn carry_on(&mut self, stream: StreamId, number: u64, h: u32, sends: bool) {
        self.seen_by_peer(number, h);
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        let pair = session.pair.clone();
        (session.stream, session.asks) = (Some(stream), None);
        self.peers.carries.insert(stream, number);
        let whole = session.managed.written().all(is_kept) && !session.recovered && sends;
        session.recovered = false;
        let owed = session.is_owed();
        if whole {
            self.effects.extend(session.managed.written().map(|stanza| Effect::Send(stream, stanza.clone())));
            self.peers.acks.ask.push(number);
        } else {
            // What was not kept has no place in the count any more.
            let (queue, bytes) = session.take_queue();
            session.managed.rewind(h);
            self.peers.unacknowledged -= bytes;
            self.wait_again(&pair, queue);
        }
        self.peers.no_more_lost(&pair, number);
        if sends {
            self.open_line(stream, &pair, owed);
        }
        self.redial(&pair);
    }

    /// The peer says how much of a session it has handled: that needs no more delivery.
    fn seen_by_peer(&mut self, number: u64, h: u32) {
        let now = self.now.mono;
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        let (done, bytes) = match session.acknowledge(h, now) {
            Some(done) => done,
            // More than was known when the power failed.
            None if session.recovered => session.take_queue(),
            None => return,
        };
        self.peers.unacknowledged -= bytes;
        done.iter().for_each(|stanza| self.arrived(stanza.mark));
    }

    /// A session is over. What the peer has not handled, by its count if it knows it, waits for another one.
    pub(super) fn end_session(&mut self, number: u64, h: Option<u32>) {
        if let Some(h) = h {
            self.seen_by_peer(number, h);
        }
        let Some((pair, queue)) = self.forget_session(number) else { return };
        self.wait_again(&pair, queue);
        self.redial(&pair);
    }

    /// A session is in no table any more. Gives what was not acknowledged.
    fn forget_session(&mut self, number: u64) -> Option<(DomainPair, Vec<Stanza>)> {
        let mut session = self.peers.sessions.remove(&number)?;
        if let Some(stream) = session.stream {
            self.peers.carries.remove(&stream);
        }
        let pair = session.pair.clone();
        let (queue, bytes) = session.take_queue();
        self.peers.unacknowledged -= bytes;
        self.peers.no_more_lost(&pair, number);
        let until = self.now.mono.saturating_add(ENDED_MS);
        let (handled, local) = (Some(session.managed.handled_count()), pair.theirs.domain().into());
        self.streams.remember(self.now.mono, number, Ended { handled, local, sent: Vec::new(), until });
        Some((pair, queue))
    }

    /// What was said and is not known to have arrived waits in front of all else.
    pub(super) fn wait_again(&mut self, pair: &DomainPair, queue: Vec<Stanza>) {
        for stanza in queue.into_iter().rev() {
            let who: Box<str> = self.because_of(&stanza).into();
            self.peers.wait_first(pair, stanza, &who);
        }
    }

    /// A stream that carried a session is gone: the session waits for another one.
    pub(super) fn part(&mut self, number: u64) {
        let until = self.now.mono.saturating_add(PEER_RESUME_MS);
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        if let Some(stream) = session.stream.take() {
            self.peers.carries.remove(&stream);
        }
        session.managed.answered();
        (session.until, session.passed_over) = (until, 0);
        let pair = session.pair.clone();
        if session.id.is_none() {
            return self.end_session(number, None);
        }
        let (owed, first) = (session.is_owed(), session.managed.sets_return_timer());
        if owed && let Some(line) = self.peers.line_mut(&pair) {
            line.lost = Some(number);
        }
        if first {
            self.set_timer(until, Timer::PeerLost(number));
        }
        if let Some(oldest) = self.peers.surplus(PEER_SESSIONS) {
            self.give_up(oldest);
        }
    }

    /// The time to carry on a session is over, if nothing does.
    pub(in crate::core) fn peer_lost(&mut self, number: u64) {
        let now = self.now.mono;
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        session.managed.return_timer_ended();
        if session.stream.is_some() {
            return;
        }
        if session.until <= now && session.asks.is_none() {
            let pair = session.pair.clone();
            if !self.is_patient(number) {
                return self.give_up(number);
            }
            if self.is_not_asked_for(number, &pair) {
                return self.end_session(number, None);
            }
        }
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        // It was carried on and is lost again, or is just being asked for.
        let at = session.until.max(now + THINKS_MS);
        session.managed.sets_return_timer();
        self.set_timer(at, Timer::PeerLost(number));
    }

    /// Whether a session is kept for a pinned server, as what waits for it. All but the messages comes back. One with a server to which there
    /// is always a stream is kept in any case: that server may wait to be asked for it.
    fn is_patient(&mut self, number: u64) -> bool {
        let Some(pair) = self.peers.sessions.get(&number).map(|session| session.pair.clone()) else { return false };
        let until = self.now.mono.saturating_add(PEER_RESUME_MS);
        let goes: Vec<bool> = match self.peers.sessions.get(&number) {
            Some(session) => session.queue().map(|stanza| is_kept(stanza) && !self.stays(&pair, stanza)).collect(),
            None => return false,
        };
        let Some(session) = self.peers.sessions.get_mut(&number) else { return false };
        let mut goes = goes.into_iter();
        let (back, bytes) = session.take_out(|_| goes.next().unwrap_or_default());
        session.until = until;
        let owed = session.is_owed();
        self.peers.unacknowledged -= bytes;
        if !owed {
            self.peers.no_more_lost(&pair, number);
        }
        let waits = owed || self.settings.federation.kept.contains(&pair.theirs);
        let why = format!("{} was reached and has not confirmed this; it may have it or not", pair.theirs);
        self.send_back(&pair, back, &Refusal::wait(why));
        waits
    }

    /// Whether the peer has come without asking for a session that is kept, often enough to be sure that it knows nothing of it.
    fn is_not_asked_for(&mut self, number: u64, pair: &DomainPair) -> bool {
        let Some(line) = self.peers.line(pair.ours.domain(), pair.theirs.domain()) else { return false };
        let (streams, dials) = (line.streams.clone(), line.dialling.is_some());
        let Some(session) = self.peers.sessions.get_mut(&number) else { return false };
        if streams.is_empty() || dials {
            return false;
        }
        session.passed_over = session.passed_over.saturating_add(1);
        match (session.is_owed(), session.passed_over) {
            // Whoever comes again asks for what was before, also if that ended behind their backs while this stream was there.
            (true, 1) => {
                let again = StreamError::new(StreamCondition::Reset).text("something of another stream is open");
                streams.iter().for_each(|stream| self.end_stream(*stream, again.clone()));
                false
            }
            (true, _) => true,
            // It is their turn to end the stream.
            (false, times) => times > 3,
        }
    }

    /// What was on its way comes back.
    fn give_up(&mut self, number: u64) {
        let Some((pair, queue)) = self.forget_session(number) else { return };
        let why = format!("{} was reached and has not confirmed this; it may have it or not", pair.theirs);
        self.send_back(&pair, queue, &Refusal::wait(why));
        self.redial(&pair);
    }
}

impl State {
    /// The number that a stream between two domains has in the log, by its id: of another pair's it is another one. Only who knows the
    /// server's secret can tell.
    pub(super) fn peer_number(&self, pair: &DomainPair, id: &str) -> u64 {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret));
        for part in ["server stream", pair.ours.as_str(), pair.theirs.as_str(), id] {
            context.update(part.as_bytes());
            context.update(b"\0");
        }
        let mut number = [0; 8];
        number.copy_from_slice(&context.sign().as_ref()[..8]);
        // 0 says in the log that a message waits.
        u64::from_be_bytes(number).max(1)
    }
}
