//! The stream management of one session (XEP-0198): what it owes its client, and what it waits for.
//!
//! Both counts are of the session, not of the connection that carries it.

use super::logged::Counted;
use crate::wire::Stanza;
use std::collections::VecDeque;

/// What may wait for a client's acknowledgement, in bytes; more ends the session. All of it goes into the outbox of the connection
/// that resumes it, which must have room for more.
pub const QUEUE_BYTES: usize = 1536 * 1024;

/// The same, in stanzas.
pub const QUEUE_STANZAS: usize = 10_000;

/// What a stanza in the queue costs besides its text, in bytes.
pub const QUEUED_BYTES: usize = 256;

/// Notes of what was acknowledged that one stream has in reserve.
pub(super) const NOTES: u32 = 64;

/// How often it gets another one, in milliseconds.
pub(super) const NOTE_EVERY_MS: u64 = 60_000;

/// The stream management of one session.
#[derive(Debug)]
pub struct Managed {
    /// The stream's number, never used twice.
    pub number: u64,
    /// How long the session waits for its client when the connection is lost, in milliseconds; `None`: it does not.
    pub(super) resume_ms: Option<u64>,
    /// Stanzas of the client that were handled (modulo 2^32).
    pub(super) handled: u32,
    /// Those of them that may be acknowledged.
    pub(super) safe: u32,
    /// Those of them that the log knows of.
    pub(super) logged: u32,
    /// Notes that it may have written, and since when.
    pub(super) notes: (u32, u64),
    /// What the others wait for: the number of a batch, and how many stanzas are handled with it.
    pub(super) waits: VecDeque<(u64, u32)>,
    /// The last batch that the answer to an `<r/>` waits for.
    pub(super) asked: Option<u64>,
    /// Stanzas written to the client; it counts them modulo 2^32.
    pub(super) sent: u64,
    /// Those that it has not acknowledged, in order.
    pub(super) queue: VecDeque<Stanza>,
    pub(super) bytes: usize,
    /// The last ones of them are not written yet: how many, and which batch they wait for.
    pub(super) held_back: Option<(usize, u64)>,
    /// When something was last acknowledged.
    pub(in crate::core) acknowledged_at: u64,
    /// When our `<r/>` went out that is not answered.
    pub(super) requested: Option<u64>,
    /// The timer for that runs.
    pub(super) timed: bool,
    /// The timer for the client's time to come back runs.
    pub(super) awaited: bool,
}

impl Managed {
    pub(super) fn new(number: u64, resume_ms: Option<u64>) -> Managed {
        Managed {
            number,
            resume_ms,
            handled: 0,
            safe: 0,
            logged: 0,
            notes: (NOTES, 0),
            waits: VecDeque::new(),
            asked: None,
            sent: 0,
            queue: VecDeque::new(),
            bytes: 0,
            held_back: None,
            acknowledged_at: 0,
            requested: None,
            timed: false,
            awaited: false,
        }
    }

    /// How the stream counts the stanza of its client that is being handled.
    pub fn last_in(&self) -> Counted {
        Counted { stream: self.number, count: self.handled }
    }

    /// The stanza that is being handled is put into the log, with its count.
    pub(in crate::core) fn is_logged(&mut self) {
        self.logged = self.handled;
    }

    /// What the log is to know of it.
    pub(in crate::core) fn heard(&self) -> Option<Counted> {
        (self.can_be_resumed() && self.logged > 0).then_some(Counted { stream: self.number, count: self.logged })
    }

    /// Whether another note may be written.
    pub(super) fn may_note(&mut self, now: u64) -> bool {
        let (left, since) = self.notes;
        let more = now.saturating_sub(since) / NOTE_EVERY_MS;
        let left = left.saturating_add(more.min(u64::from(NOTES)) as u32).min(NOTES);
        self.notes = (left.saturating_sub(1), if left == NOTES { now } else { since + more * NOTE_EVERY_MS });
        left > 0
    }

    /// How the stream counts the stanza that was written last, or one so many behind it.
    pub(in crate::core) fn count_of(&self, behind: usize) -> Counted {
        Counted { stream: self.number, count: (self.sent as u32).wrapping_add(behind as u32) }
    }

    /// What waits for an acknowledgement: stanzas, and bytes.
    pub(in crate::core) fn waiting(&self) -> (usize, usize) {
        (self.queue.len(), self.bytes)
    }

    /// Whether the session waits for its client when its connection is lost.
    pub fn can_be_resumed(&self) -> bool {
        self.resume_ms.is_some()
    }

    /// Stanzas that the client has not acknowledged.
    pub fn unacknowledged(&self) -> impl Iterator<Item = &Stanza> {
        self.queue.iter()
    }

    /// Counts a stanza for the client. Says whether no more waits than may, and whether it is to be written now.
    pub(in crate::core) fn push(&mut self, stanza: &Stanza) -> (bool, bool) {
        self.sent += 1;
        self.bytes += stanza.bytes() + QUEUED_BYTES;
        self.queue.push_back(stanza.clone());
        if let Some((stanzas, _)) = &mut self.held_back {
            *stanzas += 1;
        }
        (self.bytes <= QUEUE_BYTES && self.queue.len() <= QUEUE_STANZAS, self.held_back.is_none())
    }

    /// The last ones of the queue that are not written yet.
    pub(super) fn unwritten(&self) -> usize {
        self.held_back.map_or(0, |(stanzas, _)| stanzas)
    }

    /// Whether an acknowledgement can be expected.
    pub(super) fn expects(&self) -> bool {
        self.queue.len() > self.unwritten()
    }

    /// What the client has handled, by its count; `None` if it cannot be: more than was sent.
    pub(super) fn acknowledge(&mut self, h: u32) -> Option<Vec<Stanza>> {
        let open = self.queue.len() as u32;
        let left = (self.sent as u32).wrapping_sub(h);
        if left < self.unwritten() as u32 {
            return None;
        }
        if left > open {
            // Below what was acknowledged before: old news. Above what was sent: a mistake.
            return (left < u32::MAX / 2 && u64::from(left) <= self.sent).then(Vec::new);
        }
        let done: Vec<Stanza> = self.queue.drain(..(open - left) as usize).collect();
        self.bytes -= done.iter().map(|s| s.bytes() + QUEUED_BYTES).sum::<usize>();
        if self.queue.is_empty() {
            self.queue.shrink_to(16);
        }
        Some(done)
    }

    /// Storage takes nothing: what is not stored is told as not handled, and comes again. Twice is better than never.
    pub(super) fn forget_unsafe(&mut self) {
        self.waits.clear();
        self.handled = self.safe;
        self.logged = self.safe;
    }

    /// All batches up to this one are on stable storage.
    pub(super) fn committed(&mut self, seq: u64) {
        while let Some((_, count)) = self.waits.front().filter(|(n, _)| *n <= seq) {
            self.safe = *count;
            self.waits.pop_front();
        }
        if self.waits.is_empty() {
            self.safe = self.handled;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::{Kind, Type};

    fn stanza(mark: u64) -> Stanza {
        let mut message = Stanza::new(Kind::Message, Type::Chat);
        message.mark = mark;
        message
    }

    /// The marks of what was acknowledged.
    fn acknowledge(managed: &mut Managed, h: u32) -> Option<Vec<u64>> {
        managed.acknowledge(h).map(|done| done.iter().map(|s| s.mark).collect())
    }

    #[test]
    fn acks_count_modulo_2_to_the_32() {
        // The count behind 2^32-1 is 0.
        for before in [0, u64::from(u32::MAX) - 2, u64::from(u32::MAX), 7 * (1 << 32) - 2] {
            let mut managed = Managed::new(1, None);
            managed.sent = before;
            let count = |n: u64| (before + n) as u32;
            assert_eq!(acknowledge(&mut managed, count(0)), Some(vec![]));
            assert_eq!(acknowledge(&mut managed, count(1)), None, "{before}");
            for n in 1..=5 {
                assert!(managed.push(&stanza(n)).0);
                assert_eq!(managed.count_of(0).count, count(n));
            }
            assert_eq!(acknowledge(&mut managed, count(6)), None);
            assert_eq!(acknowledge(&mut managed, count(0)), Some(vec![]));
            assert_eq!(acknowledge(&mut managed, count(2)), Some(vec![1, 2]));
            assert_eq!(acknowledge(&mut managed, count(2)), Some(vec![]), "again");
            assert_eq!(acknowledge(&mut managed, count(1)), Some(vec![]), "old");
            assert_eq!(acknowledge(&mut managed, count(6)), None);
            assert_eq!(acknowledge(&mut managed, count(1 << 31)), None);
            assert_eq!(acknowledge(&mut managed, count(5)), Some(vec![3, 4, 5]));
            assert_eq!((managed.queue.len(), managed.bytes), (0, 0));
        }
        // Nobody has seen what was never sent.
        let mut managed = Managed::new(1, None);
        assert_eq!(acknowledge(&mut managed, u32::MAX), None);
    }

    #[test]
    fn a_queue_has_limits() {
        let (mut managed, mut n) = (Managed::new(1, None), 0);
        while managed.push(&stanza(1)).0 {
            n += 1;
        }
        assert!(n <= QUEUE_STANZAS && managed.bytes <= QUEUE_BYTES + 2 * QUEUED_BYTES + stanza(1).bytes(), "{n}");
        assert!(acknowledge(&mut managed, n as u32).is_some());
        assert!(managed.push(&stanza(1)).0, "there is room again");
        let mut big = Managed::new(1, None);
        let body = stanza(1).with(format!("<body>{}</body>", "x".repeat(QUEUE_BYTES / 4)));
        assert_eq!((0..8).take_while(|_| big.push(&body).0).count(), 3);
    }
}
