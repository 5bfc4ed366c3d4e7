//! All that is known of streams with stream management, beside their sessions.

use crate::core::ids::{SessionId, StreamId};
use crate::core::share::{Ledger, Shared, limits};
use crate::core::unordered::ByNumber;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Streams that cannot be resumed any more and are remembered, each with what its client may have seen.
pub const ENDED_STREAMS: usize = 1024;

/// The messages of all of them that may have been seen; each costs 16 bytes.
pub const ENDED_MESSAGES: usize = 32 * 1024;

/// For the table of what is shared.
pub const SHARED: Shared = Shared {
    what: "streams that have ended and may be asked about, and the messages that their clients may have seen",
    whole: limits![ENDED_STREAMS, ENDED_MESSAGES],
    share: "an account: who has most loses first",
    checked: "core/message/streams.rs",
    told: "its oldest is forgotten: its client gets what it may have seen again",
};

/// A stream that cannot be resumed, and what its client may ask about it.
#[derive(Debug)]
pub(in crate::core) struct Ended {
    /// How many of its stanzas are known to be stored or handled; `None`: that is not known.
    pub(in crate::core) handled: Option<u32>,
    /// Whose it was.
    pub(in crate::core) local: Box<str>,
    /// The messages that it did not acknowledge: how it counts them, and what they are called.
    pub(in crate::core) sent: Vec<(u32, u64)>,
    /// When it is forgotten.
    pub(in crate::core) until: u64,
}

/// All that is known of streams, beside their sessions.
#[derive(Debug, Default)]
pub(in crate::core) struct Streams {
    /// The sessions by the number of their stream.
    pub(in crate::core) by_number: ByNumber<u64, SessionId>,
    /// Which session a connection carries, where that is another than the one it began with.
    pub(in crate::core) carries: ByNumber<StreamId, SessionId>,
    /// Connections that resume a session once it is known what of it is stored: the session.
    pub(super) resuming: BTreeMap<StreamId, SessionId>,
    /// Streams that have ended.
    pub(in crate::core) ended: BTreeMap<u64, Ended>,
    /// Sessions that wait for a batch: to count something as safe, or to be written something.
    pub(super) waiting: BTreeSet<SessionId>,
    /// Sessions that wait to acknowledge, and for which batch.
    pub(super) asked: VecDeque<(u64, SessionId)>,
    /// Sessions that are to be asked for an acknowledgement at the end of this turn.
    pub(in crate::core) ask: Vec<SessionId>,
}

impl Streams {
    pub(in crate::core) fn remember(&mut self, now: u64, number: u64, ended: Ended) {
        self.ended.retain(|_, ended| ended.until > now);
        self.ended.insert(number, ended);
        let mut messages: usize = self.ended.values().map(|e| e.sent.len()).sum();
        while self.ended.len() > ENDED_STREAMS || messages > ENDED_MESSAGES {
            // Of the account that has most of what there is too much of.
            let by_stream = self.ended.len() > ENDED_STREAMS;
            let mut ledger = Ledger::default();
            let mut all: Vec<(&u64, &Ended)> = self.ended.iter().collect();
            all.sort_by_key(|(_, ended)| ended.until);
            all.into_iter().for_each(|(n, e)| ledger.put(*n, &e.local, if by_stream { 1 } else { e.sent.len() }));
            let Some(oldest) = ledger.surplus() else { return };
            messages -= self.ended.remove(&oldest).map_or(0, |e| e.sent.len());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::managed::QUEUE_STANZAS;
    use super::*;

    /// Who comes and goes all the time is forgotten, not the others.
    #[test]
    fn ended_streams_of_the_others_stay() {
        let mut streams = Streams::default();
        let ended = |who: &str, until: u64, messages: usize| {
            let sent = (0..messages).map(|n| (n as u32, n as u64)).collect();
            Ended { handled: Some(1), local: who.into(), sent, until }
        };
        streams.remember(0, 1, ended("juliet", 1, 100));
        for n in 2..4 * ENDED_STREAMS as u64 {
            streams.remember(0, n, ended("iago", n, 50));
        }
        assert!(streams.ended.contains_key(&1) && streams.ended.len() <= ENDED_STREAMS);
        for n in 10_000..10_100 {
            streams.remember(0, n, ended("iago", n, QUEUE_STANZAS));
        }
        assert!(streams.ended.contains_key(&1));
    }

    #[test]
    fn what_is_known_of_ended_streams_is_bounded() {
        let mut streams = Streams::default();
        let ended = |until: u64, messages: usize| {
            let sent = (0..messages).map(|n| (n as u32, n as u64)).collect();
            Ended { handled: Some(1), local: "juliet".into(), sent, until }
        };
        for n in 0..2 * ENDED_STREAMS as u64 {
            streams.remember(0, n.rotate_right(7), ended(n + 1, 0));
            assert!(streams.ended.len() <= ENDED_STREAMS && streams.ended.contains_key(&n.rotate_right(7)));
        }
        for n in 0..100 {
            streams.remember(0, n, ended(10_000 + n, QUEUE_STANZAS));
            assert!(streams.ended.values().map(|e| e.sent.len()).sum::<usize>() <= ENDED_MESSAGES);
            assert!(streams.ended.contains_key(&n), "the last one is there");
        }
        assert!(streams.ended.values().all(|e| e.until >= 10_000 + 97), "the oldest go first");
        streams.remember(20_000, 1, ended(20_001, 0));
        assert_eq!(streams.ended.len(), 1, "whose time is over is forgotten");
    }
}
