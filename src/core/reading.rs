//! What is being read from storage, and for whom. Whoever asks for something waits for it with what is needed to answer; so who asks
//! faster than storage answers would fill the memory, and stand before everybody else.

use super::ids::{Job, SessionId};
use super::share::{Shared, Shares, limits};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Requests that wait for storage, in bytes.
pub(crate) const READING_BYTES: usize = 16 * 1024 * 1024;

/// For the table of what is shared.
pub(crate) const SHARED: Shared = Shared {
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

impl Reading {
    /// Something is read for who asks in this turn. `bare`: the account of a session.
    pub(super) fn begin<'a>(&mut self, job: Job, bare: impl FnOnce(SessionId) -> Option<&'a str>) {
        let (who, bytes) = match &self.asker {
            Asker::Nobody => return,
            Asker::Named(who, bytes) => (&**who, *bytes),
            Asker::Session(sid, bytes) => match bare(*sid) {
                Some(who) => (who, *bytes),
                None => return,
            },
        };
        let who = self.shares.add(who, bytes);
        self.jobs.insert(job, (who, bytes));
    }

    /// It was read. For whom, if it was for somebody.
    pub(super) fn end(&mut self, job: Job) -> Option<(Arc<str>, usize)> {
        let (who, bytes) = self.jobs.remove(&job)?;
        self.shares.take(&who, bytes);
        Some((who, bytes))
    }

    /// Whether a request of so many bytes may wait for storage, too.
    pub(super) fn may(&self, who: &str, bytes: usize) -> bool {
        self.jobs.is_empty() || self.shares.may(who, bytes, READING_BYTES)
    }
}
