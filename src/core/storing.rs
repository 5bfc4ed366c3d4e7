//! Changes are made, handed to storage, and what is promised with them is kept (`# What an answer promises` in the crate's documentation).

use super::effect::Effect;
use super::ids::{Job, StreamId};
use super::impossible::impossible;
use super::outcome::{Flow, Handled};
use super::promise::{Promise, Undo, logged};
use super::state::State;
use super::work::Work;
use crate::store::{Batch, Tree, key};
use crate::wire::{Stanza, StanzaError, StreamError};

impl State {
    /// The changes of this turn, to add to. Refused while storage takes no more, and to who has had more stored than its share,
    /// before anything is changed: ask first.
    pub fn write(&mut self) -> Result<&mut Batch, StanzaError> {
        self.changes.write(self.over_share)
    }

    /// The same for what makes room on the disk: it is taken also when the disk is full, from the room that is kept free, and so is all
    /// that follows from it in this turn, which the caller knows to be little. A share that is used up does not matter, either.
    pub fn erase(&mut self) -> Result<&mut Batch, StanzaError> {
        self.changes.erase();
        self.write()
    }

    /// Whether what is done from here on makes room; gives what was so until now.
    pub(super) fn set_erasing(&mut self, erasing: bool) -> bool {
        self.changes.set_erasing(erasing)
    }

    /// Between two changes that need not be made together: keeps a batch from becoming too large.
    pub fn step(&mut self) {
        if self.changes.is_large() {
            self.seal();
        }
    }

    /// What is changed from here on is stored behind what was changed before, never without it.
    pub fn barrier(&mut self) {
        self.seal();
    }

    /// Gives the batch its number and hands it over.
    pub(super) fn seal(&mut self) {
        if !self.changes.is_empty() {
            self.changes.finish_entry();
            self.note_settled();
            self.note_heard_again();
            let batch = self.changes.add();
            self.clock.note(self.now, batch);
            self.numbers.note(batch);
            batch.low = self.deliveries.low();
            let (seq, batch) = self.changes.seal();
            self.charge(&batch);
            self.effects.push(Effect::Commit(seq, batch));
        }
    }

    pub(super) fn on_committed(&mut self, seq: u64) {
        self.changes.commit(seq);
        self.committed_for_acks(self.changes.committed());
        self.committed_for_peers(self.changes.committed());
        while let Some(promise) = self.changes.due() {
            self.keep(promise);
        }
    }

    pub(super) fn on_stalled(&mut self, stalled: bool) {
        self.changes.set_stalled(stalled);
        if !stalled {
            return;
        }
        self.release(u64::MAX);
        self.release_to_peers(u64::MAX);
        self.release_lines(u64::MAX);
        for (waits_for, promise) in self.changes.take_promises() {
            // What is not stored yet is logged when it is.
            match promise {
                Promise::Log(_) | Promise::Introduce(_) => self.changes.put_back(waits_for, promise),
                Promise::Told(job, Ok(lines), true) => {
                    logged(&lines).for_each(|line| self.changes.put_back(waits_for, Promise::Log(line)));
                    self.keep(Promise::Told(job, Ok(lines), true).not_stored());
                }
                promise => self.keep(promise.not_stored()),
            }
        }
    }

    pub(super) fn on_full(&mut self, full: bool) {
        self.changes.set_full(full);
    }

    pub(super) fn on_erases(&mut self, erases: bool) {
        self.changes.set_erases(erases);
    }

    /// Whether what storage was handed is not stored.
    pub(super) fn is_stalled(&self) -> bool {
        self.changes.is_stalled()
    }

    /// Whether storage is to be handed nothing.
    pub(super) fn takes_nothing(&self) -> bool {
        self.changes.takes_nothing()
    }

    /// The number of the last batch that was handed over.
    pub(super) fn sealed(&self) -> u64 {
        self.changes.sealed()
    }

    /// The number of the last batch on stable storage.
    pub(super) fn committed(&self) -> u64 {
        self.changes.committed()
    }

    pub(super) fn promise(&mut self, promise: Promise) {
        if let Some(promise) = self.changes.promise(promise) {
            self.keep(promise);
        }
    }

    fn keep(&mut self, promise: Promise) {
        match promise {
            Promise::Reply(stanza) => self.back(stanza),
            Promise::Registered(stream, stanza) => self.registered(stream, stanza),
            Promise::To(stream, stanza) => self.effects.push(Effect::Send(stream, stanza)),
            Promise::Close(stream, error) => self.effects.push(Effect::Close(stream, error)),
            Promise::Told(job, answer, changed) => {
                answer.iter().filter(|_| changed).flat_map(|lines| logged(lines)).for_each(|line| log::info!("{line}"));
                self.effects.push(Effect::Told(job, answer));
            }
            Promise::Notified(job, answer) => self.effects.push(Effect::Notified(job, answer)),
            Promise::Taken(job, answer) => self.effects.push(Effect::Taken(job, answer)),
            Promise::Made(job, Err(why), undo) => {
                self.undo(undo);
                self.effects.push(Effect::Told(job, Err(why)));
            }
            Promise::Made(job, answer, _) => self.keep(Promise::Told(job, answer, true)),
            Promise::Log(line) => log::info!("{line}"),
            Promise::Manage(stream, element) => self.answer_resume(stream, element),
            Promise::Introduce(local) => self.work.push_back(Work::Introduce(local)),
            Promise::Login(stream) => self.work.push_back(Work::Login(stream)),
            Promise::Resumed { stream, sid, number, h } => self.resumed(stream, sid, number, h),
            Promise::PeerResume { stream, number } => self.resume_at_peer(stream, number),
            Promise::PeerResumed { stream, number, h } => self.peer_resumed(stream, number, h),
        }
    }

    /// Takes back what could not be stored. What was handed over already goes to storage first, and this behind it.
    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Added(jid) => {
                let Some(local) = self.local(&jid).map(Box::<str>::from) else {
                    return impossible("a change of an account elsewhere is taken back");
                };
                if self.here.account(&local).is_some_and(|account| account.sessions.is_empty()) {
                    self.here.remove(&local);
                    self.changes.add().delete(Tree::Account, key::account(&local));
                    self.never_arrived(&local);
                }
            }
            Undo::Password(jid, credentials) => {
                let Some(local) = self.local(&jid).map(Box::<str>::from) else {
                    return impossible("a change of an account elsewhere is taken back");
                };
                let Some(account) = self.here.account_mut(&local) else { return };
                account.credentials = credentials;
                let record = account.record();
                self.changes.add().put(Tree::Account, key::account(&local), record);
            }
        }
    }

    /// Answers a request once what this turn changed is on stable storage: an answer to a change is a promise.
    pub fn confirm(&mut self, iq: &Stanza, payload: impl Into<String>) -> Handled {
        let result = Stanza::result_of(iq, payload);
        self.promise(Promise::Reply(result));
        Ok(Flow::Done)
    }

    /// The same, also once what this turn has set off and not done yet is on stable storage: the removal of an account.
    pub fn confirm_all(&mut self, iq: &Stanza, payload: impl Into<String>) -> Handled {
        let result = Stanza::result_of(iq, payload);
        self.work.push_back(Work::Promise(Promise::Reply(result)));
        Ok(Flow::Done)
    }

    /// The same, once what this turn changed is on stable storage.
    pub fn confirm_registered(&mut self, stream: StreamId, iq: &Stanza) {
        self.promise(Promise::Registered(stream, Stanza::result_of(iq, "")));
    }

    /// Sends an answer that is made already, once what this turn changed is on stable storage.
    pub fn confirm_with(&mut self, answer: Stanza) {
        self.promise(Promise::Reply(answer));
    }

    /// Ends the stream of a session that is in no table any more, once what this turn changed is on stable storage; before
    /// that with the answer to a request.
    pub(super) fn close_stored(&mut self, stream: StreamId, answer: Option<Stanza>, error: StreamError) {
        if let Some(answer) = answer {
            self.promise(Promise::To(stream, answer));
        }
        self.promise(Promise::Close(stream, Some(error)));
    }

    /// Answers a command of the owner: a change once it is on stable storage, all else (`changed` is false) at once, also
    /// while the storage takes nothing.
    pub(super) fn tell(&mut self, job: Job, answer: Result<Vec<String>, String>, changed: bool) {
        let ack = Promise::Told(job, answer, changed);
        if changed { self.promise(ack) } else { self.keep(ack) }
    }

    /// Writes a line into the program's log once all that this turn changes is on stable storage: nothing is said to be done before.
    pub fn log_stored(&mut self, line: String) {
        self.work.push_back(Work::Promise(Promise::Log(line)));
    }

    /// Keeps what became of something that went with an account, until [`State::tell_outcomes`].
    pub fn outcome(&mut self, line: String) {
        self.outcomes.push(line);
    }

    /// Says what became of what went with an account: to the owner, if they have removed it in this turn, else to the log.
    pub(super) fn tell_outcomes(&mut self) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let asked = self.work.iter_mut().find_map(|work| match work {
            Work::Tell(_, Ok(lines)) => Some(lines),
            _ => None,
        });
        match asked {
            Some(lines) => lines.append(&mut outcomes),
            None => outcomes.into_iter().for_each(|line| self.log_stored(line)),
        }
    }
}
