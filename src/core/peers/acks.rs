//! Which sessions with other servers wait for what.

use crate::wire::DomainPair;
use std::collections::{BTreeSet, VecDeque};

/// The sessions with other servers that wait for something, by their numbers.
#[derive(Debug, Default)]
pub(in crate::core) struct Acks {
    /// For a batch: to count something as safe, or to be written something.
    pub(super) waiting: BTreeSet<u64>,
    /// To acknowledge, and for which batch.
    pub(super) asked: VecDeque<(u64, u64)>,
    /// Lines on which nothing is said before a batch.
    pub(super) behind: VecDeque<(u64, DomainPair)>,
    /// To be asked for an acknowledgement at the end of this turn.
    pub(super) ask: Vec<u64>,
}
