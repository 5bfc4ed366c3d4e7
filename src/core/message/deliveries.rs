//! What is known of the messages that nobody has for sure.

use super::logged::Counted;
use crate::core::ids::SessionId;
use std::collections::{BTreeMap, BTreeSet};

/// Entries of the log that are read again at a start, about, besides those that are on their way: they tell what clients sent.
const RECENT_ENTRIES: u64 = 1024;

/// So many notes of what streams were told count as one entry: they are short, and must not push messages out.
const HEARD_WEIGHT: u64 = 8;

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
    since: u64,
}

impl OnItsWay {
    /// How the stream of a session counts it, in whose queue it is.
    pub(super) fn count_of(&self, sid: SessionId) -> Option<Counted> {
        self.holders.iter().rfind(|(holder, _)| *holder == sid).map(|(_, counted)| *counted)
    }

    /// Whether it is on its way to nobody.
    pub(super) fn is_with_nobody(&self) -> bool {
        self.holders.is_empty() && self.unsure.is_empty()
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(in crate::core) struct Deliveries {
    on_their_way: BTreeMap<u64, OnItsWay>,
    /// Where the log tells of them: the entry, and what the message is called.
    told: BTreeSet<(u64, u64)>,
    /// Entries of the log that are on their way to other servers.
    leaving: BTreeSet<u64>,
    /// In the log, and arrived or kept elsewhere since; to be noted.
    settled: Vec<u64>,
    /// The timer for that runs.
    timed: bool,
    /// From where on the log is read at a start if nothing is on its way, and from where on soon.
    recent: (u64, u64),
    /// Entries since that was moved, in parts of [`HEARD_WEIGHT`].
    entries: u64,
    /// It was, and not all that matters is noted behind it.
    moved: bool,
}

impl Deliveries {
    /// [`crate::store::Batch::low`]
    pub(in crate::core) fn low(&self) -> u64 {
        let leaving = self.leaving.first().copied().unwrap_or(u64::MAX);
        self.told.first().map_or(u64::MAX, |(since, _)| *since).min(leaving).min(self.recent.0)
    }

    /// An entry of the log is on its way to another server.
    pub(in crate::core) fn leaves(&mut self, id: u64) {
        self.leaving.insert(id);
    }

    /// It needs no more delivery. Says whether the log is to be told.
    pub(in crate::core) fn arrives(&mut self, id: u64) -> bool {
        self.leaving.remove(&id)
    }

    /// Whether nobody has a message for sure.
    pub(super) fn is_on_its_way(&self, mark: u64) -> bool {
        self.on_their_way.contains_key(&mark)
    }

    pub(super) fn get(&self, mark: u64) -> Option<&OnItsWay> {
        self.on_their_way.get(&mark)
    }

    pub(super) fn get_mut(&mut self, mark: u64) -> Option<&mut OnItsWay> {
        self.on_their_way.get_mut(&mark)
    }

    /// A message of an account was written to these sessions, and nobody is sure to have it.
    pub(super) fn wrote(
        &mut self,
        mark: u64,
        local: &str,
        kept: bool,
        holders: Vec<(SessionId, Counted)>,
        unsure: Vec<SessionId>,
    ) {
        let way = self.on_their_way.entry(mark).or_insert_with(|| OnItsWay {
            local: local.into(),
            holders: Vec::new(),
            unsure: Vec::new(),
            logged: false,
            kept,
            since: 0,
        });
        way.kept |= kept;
        way.holders.extend(holders);
        way.unsure.extend(unsure);
    }

    /// It is in the log with how the streams count it that it was written to: what these are. None if no stream counts it: then it is
    /// kept elsewhere, and the log has nothing to tell.
    pub(super) fn log(&mut self, mark: u64) -> Vec<Counted> {
        let way = self.on_their_way.get_mut(&mark).filter(|way| !way.holders.is_empty());
        let Some(way) = way else { return Vec::new() };
        way.logged = true;
        if way.since == 0 {
            way.since = mark;
            self.told.insert((mark, mark));
        }
        way.holders.iter().map(|(_, counted)| *counted).collect()
    }

    /// A session will not have it. Says whether the log is to be told that it needs no more delivery.
    pub(super) fn not_given(&mut self, sid: SessionId, mark: u64) -> bool {
        let Some(way) = self.on_their_way.get_mut(&mark) else { return false };
        way.unsure.retain(|given| *given != sid);
        way.is_with_nobody() && self.remove(mark).is_some_and(|way| way.logged)
    }

    /// Somebody has it, or nobody will: nothing is known of it any more.
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

    /// Whether what matters is to be noted behind that, once.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// The server starts: the part of the log that is read, and its last entry.
    pub(super) fn begin(&mut self, low: u64, last: u64) {
        self.recent = (low.min(last), last);
    }

    /// In the log, and not on its way any more: that is to be noted. Says whether the timer for it has to be set.
    pub(super) fn settle(&mut self, mark: u64) -> bool {
        self.settled.push(mark);
        !std::mem::replace(&mut self.timed, true)
    }

    /// Whether something is to be noted.
    pub(super) fn has_settled(&self) -> bool {
        !self.settled.is_empty()
    }

    /// What is to be noted now, at most so many.
    pub(super) fn take_settled(&mut self, most: usize) -> Vec<u64> {
        self.settled.drain(..self.settled.len().min(most)).collect()
    }

    /// The time to note something is over. Says whether the timer has to be set again.
    pub(super) fn timer_ended(&mut self) -> bool {
        self.timed = self.has_settled();
        self.timed
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::ids::StreamId;

    const ONE: SessionId = SessionId::of(StreamId(1));
    const TWO: SessionId = SessionId::of(StreamId(2));

    fn counted(count: u32) -> Counted {
        Counted { stream: 9, count }
    }

    /// What is on its way is read again at a start.
    #[test]
    fn the_log_is_read_from_where_it_tells_of_what_is_on_its_way() {
        let mut all = Deliveries::default();
        all.begin(100, 200);
        for mark in [20, 10, 30] {
            all.wrote(mark, "juliet", false, vec![(ONE, counted(mark as u32))], vec![]);
            assert_eq!(all.log(mark), [counted(mark as u32)]);
        }
        all.wrote(5, "juliet", true, vec![(ONE, counted(5))], vec![]);
        assert_eq!(all.low(), 10, "what is kept is not in the log");
        all.told_since(5, 40);
        all.told_since(5, 50);
        assert_eq!(all.remove(10).unwrap().holders, [(ONE, counted(10))]);
        assert_eq!(all.low(), 20);
        all.remove(20);
        all.remove(30);
        assert_eq!(all.low(), 40, "from where it was told of first");
        all.remove(5);
        assert_eq!((all.low(), all.told.len(), all.on_their_way.len()), (100, 0, 0));
    }

    #[test]
    fn what_no_stream_counts_is_not_in_the_log() {
        let mut all = Deliveries::default();
        all.wrote(7, "juliet", false, vec![], vec![ONE, TWO]);
        assert_eq!(all.log(7), []);
        assert!(!all.get(7).unwrap().logged);
        all.wrote(7, "juliet", false, vec![(TWO, counted(1)), (TWO, counted(2))], vec![]);
        assert_eq!(all.get(7).unwrap().count_of(TWO), Some(counted(2)), "the last time it was written");
        assert_eq!(all.log(7), [counted(1), counted(2)]);
        assert!(!all.not_given(ONE, 7) && !all.not_given(TWO, 7) && all.is_on_its_way(7), "it is in a queue");
        all.get_mut(7).unwrap().holders.clear();
        assert!(all.not_given(TWO, 7), "the log is told");
        assert!(!all.is_on_its_way(7) && !all.not_given(TWO, 7));
    }

    #[test]
    fn what_arrived_is_noted_with_one_timer() {
        let mut all = Deliveries::default();
        assert!(all.settle(1) && !all.settle(2) && !all.settle(3));
        assert_eq!((all.take_settled(2), all.timer_ended()), (vec![1, 2], true), "one is left");
        assert!(!all.settle(4));
        assert_eq!((all.take_settled(9), all.timer_ended(), all.has_settled()), (vec![3, 4], false, false));
        assert!(all.settle(5));
    }

    #[test]
    fn what_is_read_again_at_a_start_is_bounded() {
        let mut all = Deliveries::default();
        all.begin(0, 0);
        for id in 1..=RECENT_ENTRIES * 2 {
            all.count(id);
        }
        assert_eq!(all.low(), RECENT_ENTRIES);
        assert!(all.take_moved() && !all.take_moved());
        for id in 1..RECENT_ENTRIES * HEARD_WEIGHT {
            all.weigh(RECENT_ENTRIES * 2 + id, 1);
        }
        assert!(!all.take_moved(), "notes are short");
        all.weigh(RECENT_ENTRIES * 20, 1);
        assert!(all.take_moved());
        assert_eq!(all.low(), RECENT_ENTRIES * 2);
    }
}
