//! A turn: one input, with all that follows from it.

use super::admin;
use super::effect::{Effect, Input, Now};
use super::event::Event;
use super::reading::Asker;
use super::server::Core;
use super::throttle::Outcome;
use super::work::{Timer, Work};
use crate::wire::{StreamCondition, StreamError};

impl Core {
    /// The one entrance: does all that follows from an input, and appends what the world is to do.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.state.now = now;
        self.state.started.get_or_insert(now.mono);
        self.state.clock.look(now, &self.state.numbers);
        std::mem::swap(&mut self.state.effects, effects);
        let (mut heard, mut counted) = (None, None);
        match input {
            Input::Login(stream, jid, peer) => self.login(stream, jid, peer),
            Input::LoginEnded(stream, jid, peer, success) => {
                if success {
                    self.state.invitations.release(stream);
                }
                self.state.login_ended(stream, &jid, peer, success);
                self.admit();
            }
            Input::Begin(stream, begin, peer) => {
                self.state.invitations.release(stream);
                self.begin(stream, begin, peer);
            }
            Input::Bind(stream, jid, resource) => {
                let answer = self.bind(stream, &jid, resource).map(|(_, full)| full);
                self.state.effects.push(Effect::Bound(stream, answer));
            }
            Input::Attach(stream, name, secret) => self.state.attach(stream, name, &secret),
            Input::Stanza(stream, stanza) => match self.state.carried(stream) {
                Some(sid) => {
                    heard = Some(sid);
                    // What the client sends has woken its radio: what waits for it costs it little now.
                    self.state.flush(sid);
                    self.state.count_in(sid);
                    self.state.heard = Some(sid);
                    self.sent(sid, stanza);
                    self.state.heard = None;
                }
                None => {
                    counted = self.state.count_in_of_peer(stream, &stanza);
                    self.state.heard_of_peer = counted;
                    self.peer_sent(stream, stanza);
                    self.state.heard_of_peer = None;
                }
            },
            Input::Register(stream, peer, iq) => self.register(stream, peer, &iq),
            Input::Closed(stream, _) if self.state.detach(stream) => {}
            Input::Closed(stream, _) if self.state.peer_closed(stream) => {}
            Input::Closed(stream, clean) => {
                self.state.throttle.ended(now.mono, stream, Outcome::Nothing);
                self.state.invitations.release(stream);
                self.state.lost(stream, clean);
                self.admit();
            }
            Input::Closing(stream) => self.state.closing(stream),
            Input::Enable(stream, resume, max) if self.state.enable_for_peer(stream, resume, max) => {}
            Input::Enable(stream, resume, max) => {
                let enabled = self.state.enable(stream, resume, max);
                self.state.effects.extend(enabled.map(|enabled| Effect::Manage(stream, enabled)));
            }
            Input::Resume(stream, account, id, h) => self.state.resume(stream, &account, &id, h),
            Input::PeerResume(stream, id, h) => self.state.peer_resumes(stream, &id, h),
            Input::PeerManaged(stream, answer) => self.state.peer_managed(stream, answer),
            Input::Acknowledged(stream, h) if self.state.acknowledged_by_peer(stream, h) => {}
            Input::Acknowledge(stream) if self.state.acknowledge_to_peer(stream) => {}
            Input::Acknowledged(stream, h) => self.state.acknowledged(stream, h),
            Input::Acknowledge(stream) => self.state.acknowledge(stream),
            Input::Active(stream, active) => {
                if let Some(sid) = self.state.carried(stream) {
                    self.state.set_active(sid, active);
                }
            }
            Input::Answer(job, rows) => {
                self.state.was_read(job);
                if let Some(n) = self.state.questions.take(job) {
                    self.hook(n, |x, st| x.answer(st, job, rows));
                } else {
                    self.read_for_login(job, rows);
                }
            }
            Input::Hashed(job, credentials) => {
                if let Some(n) = self.state.questions.take(job) {
                    self.hook(n, |x, st| x.hashed(st, job, credentials));
                }
            }
            Input::Slot(job, slot) => {
                self.state.was_read(job);
                if let Some(n) = self.state.questions.take(job) {
                    self.hook(n, |x, st| x.slot(st, job, slot));
                }
            }
            Input::PeerProved(stream, pair, proof) => self.state.peer_proved(stream, pair, proof),
            Input::PeerKey { stream, pair, id, key } => self.state.peer_key(stream, pair, id, key),
            Input::PeerVerified(stream, pair, valid) => self.state.peer_verified(stream, pair, valid),
            Input::PeerOpen { stream, pair, proof, sends, dialled, manages } => {
                self.state.peer_open(stream, &pair, proof, (sends, dialled, manages));
            }
            Input::PeerRefused(pair, refusal) => self.state.peer_refused(&pair, refusal),
            Input::Committed(seq) => self.state.on_committed(seq),
            Input::Room(bytes) => self.state.written.set_room(bytes),
            Input::Stalled(stalled) => self.state.on_stalled(stalled),
            Input::Full(full) => self.state.on_full(full),
            Input::Erases(erases) => self.state.on_erases(erases),
            Input::Command(job, command) => {
                let asked = (0..self.extensions.len()).find_map(|n| self.hook(n, |x, st| x.command(st, &command)));
                admin::command(&mut self.state, job, command, asked);
            }
            Input::Notify(job, digest, text) => self.state.notify(job, &digest, &text),
            Input::Take(job, digest, name, keys, peer) => self.state.take_for(job, &digest, &name, keys, peer),
            Input::Tick => self.state.questions.woken(),
        }
        let asker = std::mem::take(&mut self.state.reading.asker);
        let erasing = self.state.set_erasing(false);
        self.due();
        self.state.set_erasing(erasing);
        self.state.reading.asker = asker;
        self.drain();
        self.state.notified();
        self.state.paid();
        self.state.set_erasing(false);
        self.state.reading.asker = Asker::Nobody;
        if let Some(sid) = heard {
            self.state.handled(sid);
        }
        if let Some(number) = counted {
            self.state.handled_of_peer(number);
        }
        self.state.ask_for_acks();
        self.state.ask_peers_for_acks();
        if let Some(at) = self.state.questions.wakes() {
            self.state.effects.push(Effect::WakeAt(at));
        }
        std::mem::swap(&mut self.state.effects, effects);
    }

    /// Does what has waited for its time.
    fn due(&mut self) {
        while let Some(timer) = self.state.questions.due(self.state.now.mono) {
            match timer {
                Timer::Logins => self.admit(),
                Timer::Unanswered(sid) => self.state.unanswered(sid),
                Timer::Hibernated(sid) => self.state.hibernated(sid),
                Timer::Note => self.state.note(),
                Timer::Greeting(sid) => self.state.greet(sid),
                Timer::Household => self.state.introduce_all(),
                Timer::Called(local) => self.state.call_again(&local),
                Timer::Kept => self.state.keep_lines(),
                Timer::PeerClosed(stream) => {
                    self.state.peer_closed(stream);
                }
                Timer::PeerUnanswered(number) => self.state.peer_unanswered(number),
                Timer::PeerLost(number) => self.state.peer_lost(number),
                Timer::PeerRetry(pair) => self.state.retry(&pair),
                Timer::Extension(n, job) => self.hook(n, |x, st| x.timer(st, job)),
            }
        }
    }

    /// Does what is still to be done in this turn.
    pub(super) fn drain(&mut self) {
        while let Some(work) = self.state.work.pop_front() {
            match work {
                Work::Route(stanza) => self.route(stanza),
                Work::Event(event) => self.tell_all(&event),
                Work::Delivered(local, message, targets) => self.delivered(&local, &message, &targets),
                Work::Remove(leaving) => {
                    if let Some(local) = admin::removed(&mut self.state, &leaving) {
                        self.tell_all(&Event::Removed(local));
                        admin::forgotten(&mut self.state, leaving);
                        self.state.tell_outcomes();
                    }
                }
                Work::Tell(job, answer) => self.state.tell(job, answer, true),
                Work::Had(local, mark) => self.had(&local, mark),
                Work::Answered(job, reply) => {
                    if let Some(n) = self.state.questions.take(job) {
                        self.hook(n, |x, st| x.answered(st, job, &reply));
                    }
                }
                Work::Hold(message) => self.hold(message),
                Work::Keep(message) => self.hold_now(message),
                Work::Promise(ack) => self.state.promise(ack),
                Work::Left(sid, stanza) => self.unacknowledged(sid, stanza),
                Work::Introduce(local) => self.state.introduce(&local),
                Work::Login(sid) => self.go_on(sid),
                Work::Overflow(sid) => {
                    let error = StreamError::new(StreamCondition::ResourceConstraint);
                    self.state.close(sid, Some(error.text("too much was not acknowledged, or not read")));
                }
            }
            self.state.step();
        }
        self.state.seal();
    }
}
