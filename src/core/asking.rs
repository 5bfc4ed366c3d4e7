//! What is asked of clients, of others, of storage and of the clock; the answers come later.

use super::effect::Effect;
use super::ids::{Job, SessionId};
use super::slot::WantedSlot;
use super::state::State;
use super::work::{Timer, Work};
use crate::store::Query;
use crate::wire::{Jid, Kind, Stanza, Type};

impl State {
    /// Asks a client something; the answer comes to [`super::hook::Extension::replied`]. A session that ends answers nothing.
    pub fn request(&mut self, sid: SessionId, payload: impl Into<String>) -> Job {
        let job = self.questions.job_of(self.running);
        let id = self.token();
        if let Some(session) = self.here.session(sid) {
            let iq = Stanza::new(Kind::Iq, Type::Get).from(self.domain().clone()).to(session.jid.clone());
            let iq = iq.with_id(&id).with(payload);
            self.questions.request(sid, id, job);
            self.send_to(sid, iq);
        } else {
            self.questions.take(job);
        }
        job
    }

    /// Makes a request in somebody's name, and whoever is asked answers as it would answer them. The answer, or the error, comes to
    /// [`super::hook::Extension::answered`] and to nobody else. An account or a service of ours always answers. Who is elsewhere may
    /// not, and is asked in the name of the server: [`State::forget`].
    pub fn inquire(&mut self, from: Jid, to: Jid, ty: Type, payload: impl Into<String>) -> Job {
        let job = self.questions.job_of(self.running);
        let id = self.token();
        self.send(Stanza::new(Kind::Iq, ty).from(from).to(to.clone()).with_id(&id).with(payload));
        self.questions.inquire(id, to, job);
        job
    }

    /// Waits no longer for the answer to a [`State::inquire`], or for a time ([`State::after`]).
    pub fn forget(&mut self, job: Job) {
        self.questions.forget(job);
    }

    /// Whether an IQ is the answer to such a question, from whom was asked. Then it is on its way to who asked.
    pub(super) fn is_answer(&mut self, iq: &Stanza) -> bool {
        if self.questions.asks_nobody() || iq.kind != Kind::Iq {
            return false;
        }
        let Some(id) = iq.id() else { return false };
        let Some(job) = self.questions.answered(&id, iq.from.as_ref()) else { return false };
        self.work.push_back(Work::Answered(job, iq.clone()));
        true
    }

    /// Reads; the answer comes to [`super::hook::Extension::answer`]. It sees all changes of this turn and before.
    pub fn ask(&mut self, query: Query) -> Job {
        let job = self.questions.job_of(self.running);
        self.reads(job);
        self.seal();
        self.effects.push(Effect::Ask(job, query));
        job
    }

    /// The same for a login; the answer comes to it.
    pub(super) fn ask_for_login(&mut self, query: Query) -> Job {
        let job = self.questions.job();
        self.seal();
        self.effects.push(Effect::Ask(job, query));
        job
    }

    /// Makes keys from a password; they come to [`super::hook::Extension::hashed`].
    pub fn hash(&mut self, password: &str) -> Job {
        let job = self.questions.job_of(self.running);
        self.effects.push(Effect::Hash(job, password.to_owned(), self.settings.iterations));
        job
    }

    /// Asks for a place for a file (XEP-0363 §4); it comes to [`super::hook::Extension::slot`]. The request counts as one that waits for
    /// storage.
    pub fn want_slot(&mut self, wanted: WantedSlot) -> Job {
        let job = self.questions.job_of(self.running);
        self.reads(job);
        self.effects.push(Effect::Slot(job, wanted));
        job
    }

    /// Removes all files that an account has uploaded.
    pub fn remove_files(&mut self, account: Jid) {
        self.effects.push(Effect::RemoveFiles(account));
    }

    /// Waits; [`super::hook::Extension::timer`] is called in `ms` milliseconds or a little later.
    pub fn after(&mut self, ms: u64) -> Job {
        self.questions.after(self.running, self.now.mono.saturating_add(ms))
    }

    pub(super) fn set_timer(&mut self, at: u64, timer: Timer) {
        self.questions.set_timer(at, timer);
    }
}
