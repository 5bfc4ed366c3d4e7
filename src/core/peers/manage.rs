//! Stream management between servers (XEP-0198): counting, and acknowledging what is on stable storage, as for clients
//! ([`crate::core::message`]); how what one stream carried goes on with the next is in [`super::resume`].

use crate::core::effect::Effect;
use crate::core::ids::StreamId;
use crate::core::message::{ANSWER_MS, Asks, Counted, Way, too_high};
use crate::core::state::State;
use crate::core::work::Timer;
use crate::wire::{DomainPair, Jid, Kind, Manage, Ns, Stanza, StreamCondition, StreamError, Type, stamp};

/// What has waited longer for a server is delayed, in milliseconds.
const DELAYED_MS: u64 = 5_000;

impl State {
    /// Counts a stanza of a server, before it is handled. Gives the number of what is counted, if it is.
    pub(in crate::core) fn count_in_of_peer(&mut self, stream: StreamId, stanza: &Stanza) -> Option<u64> {
        self.speaks_plainly(stream);
        let (number, session) = self.peers.carried_mut(stream)?;
        session.managed.count_in();
        // What a person says must not come twice; of the rest it does no harm.
        let said = stanza.kind == Kind::Message && stanza.ty != Type::Error;
        session.unlogged |= said && stanza.child(Ns::CLIENT, "body").is_some();
        if said {
            // Not behind what is said: after a power cut it is asked for by that name.
            self.name_peer_session(number);
        }
        Some(number)
    }

    /// The message of a server that is being handled is put into the log: how its stream counts it.
    pub(in crate::core) fn logged_of_peer(&mut self, message: &Stanza, way: Way) -> Option<Counted> {
        let session = self.peers.sessions.get_mut(&self.heard_of_peer?)?;
        let from = message.from.as_ref().map(Jid::domain);
        if way != Way::Room && from != Some(session.pair.theirs.domain()) {
            return None;
        }
        session.unlogged = false;
        session.managed.is_logged();
        Some(session.managed.last_in())
    }

    /// Remembers what the stanza's acknowledgement waits for, when all is done that follows from it.
    pub(in crate::core) fn handled_of_peer(&mut self, number: u64) {
        let (sealed, committed) = (self.sealed(), self.committed());
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        if session.managed.handled(sealed, committed) {
            self.peers.acks.waiting.insert(number);
        }
    }

    /// `<r/>` of a server. Says whether the stream is one's.
    pub(in crate::core) fn acknowledge_to_peer(&mut self, stream: StreamId) -> bool {
        let Some((number, _)) = self.peers.carried_mut(stream) else { return self.peers.of(stream).is_some() };
        self.note_unlogged_of_peer(number);
        let Some(session) = self.peers.sessions.get_mut(&number) else { return true };
        match session.managed.asks() {
            Asks::Now(h) => self.effects.push(Effect::Manage(stream, Manage::Ack(h))),
            Asks::With(seq) => self.peers.acks.asked.push_back((seq, number)),
            Asks::Again => {}
        }
        true
    }

    /// Something is to be acknowledged: what of it somebody said, and is in no message of the log, is noted there first.
    pub(super) fn note_unlogged_of_peer(&mut self, number: u64) {
        let now = self.now.mono;
        if self.takes_nothing() {
            return;
        }
        let Some(session) = self.peers.sessions.get_mut(&number).filter(|session| session.unlogged) else { return };
        session.unlogged = false;
        let Some(counted) = session.managed.note(now) else { return };
        self.note_heard(vec![counted]);
        let seq = self.sealed() + 1;
        if let Some(session) = self.peers.sessions.get_mut(&number) {
            session.managed.wait_for(seq);
            self.peers.acks.waiting.insert(number);
        }
    }

    /// `<a/>` of a server. Says whether the stream is one's.
    pub(in crate::core) fn acknowledged_by_peer(&mut self, stream: StreamId, h: u32) -> bool {
        let now = self.now.mono;
        let Some((number, session)) = self.peers.carried_mut(stream) else { return self.peers.of(stream).is_some() };
        let (answer, before) = (session.managed.answered(), session.managed.waiting().0);
        let (sent, pair) = (session.managed.written_count(), session.pair.clone());
        let Some((done, bytes)) = session.acknowledge(h, now) else {
            self.end_stream(stream, too_high(h, sent));
            return true;
        };
        let left = session.managed.waiting().0;
        if answer && left > 0 && left < before {
            self.peers.acks.ask.push(number);
        }
        self.peers.unacknowledged -= bytes;
        done.iter().for_each(|stanza| self.arrived(stanza.mark));
        self.go_on(&pair);
        true
    }

    /// Ends a stream of another server.
    pub(super) fn end_stream(&mut self, stream: StreamId, error: StreamError) {
        self.effects.push(Effect::Close(stream, Some(error)));
        self.peer_closed(stream);
    }

    /// A message of ours needs no more delivery: another server has it, or its sender has an error.
    pub(super) fn arrived(&mut self, mark: u64) {
        if mark > 0 && self.deliveries.arrives(mark) {
            self.settle(mark);
        }
    }

    /// At the end of a turn: asks those servers for an acknowledgement that were sent something, one question at a time.
    pub(in crate::core) fn ask_peers_for_acks(&mut self) {
        let now = self.now.mono;
        for number in std::mem::take(&mut self.peers.acks.ask) {
            let Some(session) = self.peers.sessions.get_mut(&number) else { continue };
            let Some(stream) = session.stream.filter(|_| session.managed.ask(now)) else { continue };
            self.effects.push(Effect::Manage(stream, Manage::Request));
            if session.managed.sets_answer_timer() {
                self.set_timer(now + ANSWER_MS, Timer::PeerUnanswered(number));
            }
        }
    }

    /// The time for an answer to `<r/>` is over, if it is still the same question.
    pub(in crate::core) fn peer_unanswered(&mut self, number: u64) {
        let now = self.now.mono;
        let Some(session) = self.peers.sessions.get_mut(&number) else { return };
        session.managed.answer_timer_ended();
        let Some(requested) = session.managed.requested() else { return self.peers.acks.ask.push(number) };
        let Some(stream) = session.stream else { return };
        if now >= requested + ANSWER_MS {
            let silent = StreamError::new(StreamCondition::ConnectionTimeout).text("no answer to a request for an ack");
            self.end_stream(stream, silent);
        } else if session.managed.sets_answer_timer() {
            self.set_timer(requested + ANSWER_MS, Timer::PeerUnanswered(number));
        }
    }

    /// Writes what waited for batches up to this one.
    pub(in crate::core) fn release_to_peers(&mut self, up_to: u64) {
        for number in &self.peers.acks.waiting {
            let Some(session) = self.peers.sessions.get_mut(number) else { continue };
            if let Some(written) = session.managed.release(up_to)
                && let Some(stream) = session.stream
            {
                self.effects.extend(written.map(|stanza| Effect::Send(stream, stanza.clone())));
                self.peers.acks.ask.push(*number);
            }
        }
    }

    /// What waited for batches up to this one on whole lines is said.
    pub(in crate::core) fn release_lines(&mut self, up_to: u64) {
        while self.peers.acks.behind.front().is_some_and(|(seq, _)| *seq <= up_to) {
            let Some((seq, pair)) = self.peers.acks.behind.pop_front() else { return };
            if let Some(line) = self.peers.line_mut(&pair)
                && line.behind.is_some_and(|behind| behind <= seq)
            {
                line.behind = None;
            }
            self.redial(&pair);
        }
    }

    /// What waited for this batch can be acknowledged to servers.
    pub(in crate::core) fn committed_for_peers(&mut self, seq: u64) {
        self.release_lines(seq);
        if self.peers.sessions.is_empty() {
            return;
        }
        self.release_to_peers(seq);
        let sessions = &mut self.peers.sessions;
        self.peers.acks.waiting.retain(|number| sessions.get_mut(number).is_some_and(|s| s.managed.committed(seq)));
        while let Some((_, number)) = self.peers.acks.asked.front().filter(|(n, _)| *n <= seq).copied() {
            self.peers.acks.asked.pop_front();
            let Some(session) = self.peers.sessions.get_mut(&number) else { continue };
            let (safe, later) = session.managed.answer(seq);
            self.peers.acks.asked.extend(later.map(|later| (later, number)));
            if let Some(stream) = session.stream {
                self.effects.push(Effect::Manage(stream, Manage::Ack(safe)));
            }
        }
    }

    /// Writes a stanza to a server with stream management. `noted`: how it is counted is told the log elsewhere.
    pub(super) fn say_counted(&mut self, number: u64, stanza: Stanza, noted: bool) -> Option<u32> {
        let all = self.peers.unacknowledged;
        let session = self.peers.sessions.get_mut(&number)?;
        let (bytes, now) = session.push(&stanza, all);
        let (stream, mark, counted) = (session.stream, stanza.mark, session.managed.count_of(0));
        self.peers.unacknowledged += bytes;
        self.peers.acks.ask.push(number);
        if let Some(stream) = stream.filter(|_| now) {
            self.effects.push(Effect::Send(stream, stanza));
        }
        if mark > 0 {
            self.name_peer_session(number);
            if !noted {
                self.changes.counts(mark, counted);
            }
        }
        Some(counted.count)
    }

    /// XEP-0203: what has waited for a server tells since when.
    fn note_delay(&self, stanza: &mut Stanza) {
        if stanza.kind != Kind::Message || stanza.mark == 0 {
            return;
        }
        let said = self.past(self.stamp(stanza.mark));
        let is_noted = stanza
            .child(Ns::DELAY, "delay")
            .is_some_and(|delay| delay.attr("from").is_some_and(|from| from == self.domain().domain()));
        if self.time().saturating_sub(said) >= DELAYED_MS && !is_noted {
            stanza.note(Ns::DELAY, "delay", &[("from", self.domain().as_str()), ("stamp", &stamp::format(said))]);
        }
    }

    /// What waits between two domains is said, as far as may be on its way at a time.
    pub(super) fn go_on(&mut self, pair: &DomainPair) {
        let all = self.peers.unacknowledged;
        let Some(stream) = self.peers.ready(pair) else { return };
        let Some((number, _)) = self.peers.carried_mut(stream) else {
            for mut stanza in self.peers.take_waiting(pair) {
                self.note_delay(&mut stanza);
                self.arrived(stanza.mark);
                self.effects.push(Effect::Send(stream, stanza));
            }
            return;
        };
        // How the stream counts them is stored before they are written, or a power cut would have them said again.
        let noted = self.peers.has_stored(pair) && self.write().is_ok();
        if noted {
            let seq = self.sealed() + 1;
            if let Some(session) = self.peers.sessions.get_mut(&number) {
                session.managed.hold_back(seq);
                self.peers.acks.waiting.insert(number);
            }
        }
        let mut counts = Vec::new();
        let mut all = all;
        while let Some(mut stanza) = self.peers.next_waiting(pair, number, all) {
            self.note_delay(&mut stanza);
            let mark = stanza.mark;
            let count = self.say_counted(number, stanza, true);
            all = self.peers.unacknowledged;
            counts.extend(count.filter(|_| mark > 0).map(|count| (count, mark)));
        }
        if !counts.is_empty() {
            self.note_handed("", number, counts);
        }
    }
}
