//! A session's own progress through what was stored before it came (XEP-0160), and what that means for what comes meanwhile.
//!
//! While older messages are still to come, all that others send to the session waits behind them, whatever it is and however it is
//! addressed, copies too: stanzas of one pair of entities stay in order (RFC 6120 §10.1). It waits here, in memory, and not in
//! storage: most of it has another receiver that has it at once, or is nothing that can be stored. So there is a limit, of which no speaker
//! has more than is left for the others: who says more is told to wait, and of what is not worth an error the rest is dropped. If all of
//! them pass it, the client reads more slowly than it is written to; the session ends, as with [`super::QUEUE_BYTES`].
//! What the server itself answers, for itself, a service or an account, does not wait: that is another pair, and a client may not read
//! on before it has its answer.
//!
//! A client without stream management is asked (by a ping) whether it has read what it was handed. Until it answers, its line may be
//! dead: what else is written to it, or waits for it, is not sure to arrive, and is kept if nobody else has it. The same goes for
//! what waits here for a client with stream management, which has not counted it yet.

use crate::core::share::{Shared, Shares, limits};
use crate::wire::Stanza;
use std::collections::{BTreeSet, VecDeque};

/// What may wait behind older messages for one session, in bytes; more ends the session. What is kept comes to the next one.
pub const BEHIND_BYTES: usize = 256 * 1024;

/// For the table in `src/lib.rs`.
pub const SHARED: Shared = Shared {
    what: "what comes while a session is handed what was stored for it",
    whole: limits![BEHIND_BYTES],
    share: "who says something to it, in a room each occupant: the rule",
    checked: "core/message/progress.rs",
    told: "`resource-constraint`: later; presence, and what is said in a room, is dropped",
};

/// What a stanza that waits costs besides its text, in bytes.
pub const WAITING_BYTES: usize = 256;

/// Numbers of messages that a session has read in the archive and that are remembered while messages wait for its account, in bytes.
/// What was read beyond that may come twice.
pub const READ_BYTES: usize = 64 * 1024;

pub(super) const READ: usize = READ_BYTES / size_of::<u64>();

/// One session's progress. There is none while nothing older is on its way to it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Older messages are still to come.
    pub(super) behind: bool,
    /// What came meanwhile, in order.
    pub(super) queue: VecDeque<Stanza>,
    pub(super) bytes: usize,
    /// Of whom that is.
    pub(super) speakers: Shares,
    /// Written since the client was last asked whether it reads, and not counted by its stream.
    pub(super) given: Vec<u64>,
    /// Written before it was asked, and not answered yet.
    pub(super) asked: Vec<u64>,
    /// It has read them in the archive.
    pub(super) read: BTreeSet<u64>,
    /// How many requests to read there are not answered yet.
    pub(super) reading: usize,
    /// How many of them are to be answered before it is handed what is older.
    pub(super) awaited: usize,
}

impl Progress {
    /// Whether a client that does not count is sure to read what is written now.
    pub(super) fn is_sure(&self) -> bool {
        self.given.is_empty() && self.asked.is_empty()
    }

    /// What waits, in bytes.
    pub(in crate::core) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &Stanza> {
        self.queue.iter()
    }

    /// Takes what waits, in order.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Stanza> {
        (self.bytes, self.speakers) = (0, Shares::default());
        std::mem::take(&mut self.queue)
    }

    pub(super) fn is_over(&self) -> bool {
        !self.behind && self.is_sure() && self.queue.is_empty() && self.read.is_empty() && self.reading == 0
    }
}
