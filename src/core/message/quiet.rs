//! What a session need not know yet: its client is inactive (XEP-0352), or has lost its connection and may come back (XEP-0198).
//!
//! What is held here was never written, and the stream does not count it. So what is out of date may go: of the presence of one
//! full JID only the newest is left. What is left keeps its order, and everything is written before the next
//! thing that cannot wait: a client sees what it would have seen, with something left out.
//!
//! A message that may have to be delivered elsewhere ([`Stanza::mark`]) is in the log with the number that the stream will count it
//! by. While the client is connected that stays true, so what stands before such a message stays. For one that comes back, the
//! number is stored anew before the message is written.

use crate::wire::Stanza;
use std::collections::BTreeMap;

/// What may be held for an inactive client, in bytes; more is written at once. What is held for one without a connection counts
/// with what waits for its acknowledgement ([`super::QUEUE_BYTES`]).
pub const QUIET_BYTES: usize = 192 * 1024;

/// What a stanza that is held costs besides its text, in bytes.
pub const HELD_BYTES: usize = 256;

/// What a stanza is worth to a client that does not look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Worth {
    /// It wakes the client.
    Urgent,
    /// It can wait.
    Later,
    /// The same, and what waits under the same name is out of date.
    Newest(Box<str>),
    /// It will be worth nothing later.
    Nothing,
}

/// What is held for a session.
#[derive(Debug, Default)]
pub struct Quiet {
    /// In order.
    pub(super) held: BTreeMap<u64, Stanza>,
    /// Where the newest of each name is.
    pub(super) newest: BTreeMap<Box<str>, u64>,
    /// What is before this place stays: the log knows how the stream counts it.
    pub(super) counted: u64,
    pub(super) next: u64,
    pub(super) bytes: usize,
}

impl Quiet {
    /// Its stanzas, in order.
    pub fn held(&self) -> impl Iterator<Item = &Stanza> {
        self.held.values()
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    /// What they cost, in bytes.
    pub(in crate::core) fn bytes(&self) -> usize {
        self.bytes
    }

    /// `connected`: the stanza may be written before anything more is stored.
    pub(super) fn push(&mut self, name: Option<Box<str>>, stanza: Stanza, connected: bool) {
        self.next += 1;
        if !connected {
            self.counted = 0;
        } else if stanza.mark > 0 {
            self.counted = self.next;
        }
        self.bytes += stanza.bytes() + HELD_BYTES;
        self.held.insert(self.next, stanza);
        let Some(name) = name else { return };
        let bytes = name.len();
        match self.newest.insert(name, self.next) {
            None => self.bytes += bytes,
            Some(old) if old < self.counted => {}
            Some(old) => self.bytes -= self.held.remove(&old).map_or(0, |old| old.bytes() + HELD_BYTES),
        }
    }
}
