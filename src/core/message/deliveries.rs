//! What is known of the messages that nobody has for sure.

use super::logged::Counted;
use crate::core::ids::SessionId;
use std::collections::{BTreeMap, BTreeSet};

/// Entries of the log that are read again at a start, about, besides those that are on their way: they tell what clients sent.
pub(super) const RECENT_ENTRIES: u64 = 1024;

/// So many notes of what streams were told count as one entry: they are short, and must not push messages out.
pub(super) const HEARD_WEIGHT: u64 = 8;

/// A message that nobody has for sure.
#[derive(Debug)]
pub(super) struct OnItsWay {
    pub(super) local: Box<str>,
    /// The sessions that have it in their queues, and how their streams count it.
    pub(super) holders: Vec<(SessionId, Counted)>,
    /// The sessions that were given it and do not count it ([`super::progress`]).
    pub(super) unsure: Vec<SessionId>,
    /// It is in the log.
    pub(super) logged: bool,
    /// It is kept elsewhere, too.
    pub(super) kept: bool,
    /// The entry of the log from which on this is told.
    pub(super) since: u64,
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::core) struct Deliveries {
    pub(super) on_their_way: BTreeMap<u64, OnItsWay>,
    /// Where the log tells of them: the entry, and what the message is called.
    pub(super) told: BTreeSet<(u64, u64)>,
    /// In the log, and arrived or kept elsewhere since; to be noted.
    pub(super) settled: Vec<u64>,
    /// The timer for that runs.
    pub(super) timed: bool,
    /// From where on the log is read at a start if nothing is on its way, and from where on soon.
    pub(super) recent: (u64, u64),
    /// Entries since that was moved, in parts of [`HEARD_WEIGHT`].
    pub(super) entries: u64,
    /// It was, and not all that matters is noted behind it.
    pub(super) moved: bool,
}

impl Deliveries {
    /// [`crate::store::Batch::low`]
    pub(in crate::core) fn low(&self) -> u64 {
        self.told.first().map_or(u64::MAX, |(since, _)| *since).min(self.recent.0)
    }

    /// Whether nobody has a message for sure.
    pub(in crate::core) fn is_on_its_way(&self, mark: u64) -> bool {
        self.on_their_way.contains_key(&mark)
    }

    pub(super) fn remove(&mut self, mark: u64) -> Option<OnItsWay> {
        let way = self.on_their_way.remove(&mark)?;
        self.told.remove(&(way.since, mark));
        Some(way)
    }

    /// The log tells of a message from this entry on.
    pub(super) fn told_since(&mut self, mark: u64, since: u64) {
        if let Some(way) = self.on_their_way.get_mut(&mark)
            && way.since == 0
        {
            way.since = since;
            self.told.insert((since, mark));
        }
    }

    /// Another entry.
    pub(super) fn count(&mut self, id: u64) {
        self.weigh(id, HEARD_WEIGHT);
    }

    /// The same, as the part of one that it is.
    pub(super) fn weigh(&mut self, id: u64, parts: u64) {
        self.entries += parts;
        if self.entries >= RECENT_ENTRIES * HEARD_WEIGHT {
            self.entries = 0;
            self.recent = (self.recent.1, id);
            self.moved = true;
        }
    }
}
