//! What is being read from storage, and for whom. Whoever asks for something waits for it with what is needed to answer; so who asks
//! faster than storage answers would fill the memory, and stand before everybody else.

use super::ids::{Job, SessionId};
use super::share::{Shared, Shares, limits};
use super::state::State;
use crate::wire::{Condition, ErrorType, Kind, Stanza, StanzaError, Type};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests that wait for storage, in bytes.
pub const READING_BYTES: usize = 16 * 1024 * 1024;
/// What one of them costs besides its text, in bytes.
const READ_BYTES: usize = 512;

/// For the table of what is shared.
pub const SHARED: Shared = Shared {
    what: "requests that wait for storage",
    whole: limits![READING_BYTES],
    share: "an account or a component: the rule",
    checked: "core/reading.rs",
    told: "`resource-constraint`: wait for the answers",
};

/// For whom something is done in this turn.
#[derive(Debug, Default, Clone)]
pub(super) enum Asker {
    #[default]
    Nobody,
    /// A session, for a stanza of so many bytes.
    Session(SessionId, usize),
    /// A component or an account, with something that it asked for before.
    Named(Arc<str>, usize),
}

/// What is being read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    shares: Shares,
    jobs: BTreeMap<Job, (Arc<str>, usize)>,
    pub(super) asker: Asker,
}

impl State {
    /// Something is read.
    pub(super) fn reads(&mut self, job: Job) {
        let (who, bytes) = match &self.reading.asker {
            Asker::Nobody => return,
            Asker::Named(who, bytes) => (&**who, *bytes),
            Asker::Session(sid, bytes) => match self.sessions.get(sid) {
                Some(session) => (session.jid.bare_str(), *bytes),
                None => return,
            },
        };
        let who = self.reading.shares.add(who, bytes);
        self.reading.jobs.insert(job, (who, bytes));
    }

    /// It was read: what is done with it is for the same one.
    pub(super) fn was_read(&mut self, job: Job) {
        if let Some((who, bytes)) = self.reading.jobs.remove(&job) {
            self.reading.shares.take(&who, bytes);
            self.reading.asker = Asker::Named(who, bytes);
        }
    }

    /// Somebody makes a request.
    ///
    /// # Errors
    /// `resource-constraint` if too many of theirs wait for storage.
    pub(super) fn asks(&mut self, sid: Option<SessionId>, stanza: &Stanza) -> Result<(), StanzaError> {
        if stanza.kind != Kind::Iq || !matches!(stanza.ty, Type::Get | Type::Set) {
            return Ok(());
        }
        let Some(from) = &stanza.from else { return Ok(()) };
        let (who, bytes) = (self.whose(from), READ_BYTES + stanza.bytes());
        if !self.reading.jobs.is_empty() && !self.reading.shares.may(who, bytes, READING_BYTES) {
            let text = "too many of your requests wait for storage; wait for the answers";
            return Err(StanzaError::new(Condition::ResourceConstraint).ty(ErrorType::Wait).text(text));
        }
        self.reading.asker = match sid {
            Some(sid) => Asker::Session(sid, bytes),
            None => Asker::Named(who.into(), bytes),
        };
        Ok(())
    }
}
