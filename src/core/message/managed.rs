//! The stream management of one session (XEP-0198): what it owes its client, and what it waits for.
//!
//! Both counts are of the session, not of the connection that carries it.

use super::logged::Counted;
use crate::wire::{Kind, Stanza, Type};
use std::collections::VecDeque;

/// What may wait for a client's acknowledgement, in bytes; more ends the session. All of it goes into the outbox of the connection
/// that resumes it, which must have room for more.
pub const QUEUE_BYTES: usize = 1536 * 1024;

/// The same, in stanzas.
pub const QUEUE_STANZAS: usize = 10_000;

/// What a stanza in the queue costs besides its text, in bytes.
pub const QUEUED_BYTES: usize = 256;

/// Notes of what was acknowledged that one stream has in reserve.
const NOTES: u32 = 64;

/// How often it gets another one, in milliseconds.
const NOTE_EVERY_MS: u64 = 60_000;

/// The stream management of one session.
#[derive(Debug)]
pub struct Managed {
    /// The stream's number, never used twice.
    number: u64,
    /// How long the session waits for its client when the connection is lost, in milliseconds; `None`: it does not.
    resume_ms: Option<u64>,
    /// Stanzas of the client that were handled (modulo 2^32).
    handled: u32,
    /// Those of them that may be acknowledged.
    safe: u32,
    /// Those of them that the log knows of.
    logged: u32,
    /// Notes that it may have written, and since when.
    notes: (u32, u64),
    /// What the others wait for: the number of a batch, and how many stanzas are handled with it.
    waits: VecDeque<(u64, u32)>,
    /// The last batch that the answer to an `<r/>` waits for.
    asked: Option<u64>,
    /// Stanzas written to the client; it counts them modulo 2^32.
    sent: u64,
    /// Those that it has not acknowledged, in order.
    queue: VecDeque<Stanza>,
    bytes: usize,
    /// The last ones of them are not written yet: how many, and which batch they wait for.
    held_back: Option<(usize, u64)>,
    /// When something was last acknowledged.
    acknowledged_at: u64,
    /// When our `<r/>` went out that is not answered.
    requested: Option<u64>,
    /// The timer for that runs.
    timed: bool,
    /// The timer for the client's time to come back runs.
    awaited: bool,
}

/// How an `<r/>` of the client is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::core) enum Asks {
    /// At once: so many may be acknowledged.
    Now(u32),
    /// When this batch is on stable storage.
    With(u64),
    /// Another one waits, and is answered for both.
    Again,
}

impl Managed {
    pub(in crate::core) fn new(number: u64, resume_ms: Option<u64>) -> Managed {
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

    pub(in crate::core) fn number(&self) -> u64 {
        self.number
    }

    /// How long the session waits for its client when the connection is lost, in milliseconds; `None`: it does not.
    pub(in crate::core) fn resume_ms(&self) -> Option<u64> {
        self.resume_ms
    }

    // --- what the client sends ---

    /// Counts a stanza of the client, before it is handled.
    pub(in crate::core) fn count_in(&mut self) {
        self.handled = self.handled.wrapping_add(1);
    }

    /// It is handled, and what it changed is in batches up to `sealed`. Says whether it waits for one that nothing waited for before.
    pub(in crate::core) fn handled(&mut self, sealed: u64, committed: u64) -> bool {
        if sealed <= committed && self.waits.is_empty() {
            self.safe = self.handled;
        } else if let Some((_, handled)) = self.waits.back_mut().filter(|(seq, _)| *seq >= sealed) {
            *handled = self.handled;
        } else {
            self.waits.push_back((sealed, self.handled));
            return true;
        }
        false
    }

    /// What was handled is safe with this batch.
    pub(in crate::core) fn wait_for(&mut self, seq: u64) {
        self.waits.push_back((seq, self.handled));
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

    /// Something is to be acknowledged: what the log is to be told of it first, if it does not know and there may be another note.
    pub(in crate::core) fn note(&mut self, now: u64) -> Option<Counted> {
        if self.handled == self.logged || !self.can_be_resumed() || !self.may_note(now) {
            return None;
        }
        self.logged = self.handled;
        Some(self.last_in())
    }

    /// Whether another note may be written.
    fn may_note(&mut self, now: u64) -> bool {
        let (left, since) = self.notes;
        let more = now.saturating_sub(since) / NOTE_EVERY_MS;
        let left = left.saturating_add(more.min(u64::from(NOTES)) as u32).min(NOTES);
        self.notes = (left.saturating_sub(1), if left == NOTES { now } else { since + more * NOTE_EVERY_MS });
        left > 0
    }

    /// All batches up to this one are on stable storage. Says whether it still waits for one.
    pub(in crate::core) fn committed(&mut self, seq: u64) -> bool {
        while let Some((_, count)) = self.waits.front().filter(|(n, _)| *n <= seq) {
            self.safe = *count;
            self.waits.pop_front();
        }
        if self.waits.is_empty() {
            self.safe = self.handled;
        }
        !self.waits.is_empty() || self.held_back.is_some()
    }

    /// Storage takes nothing: what is not stored is told as not handled, and comes again. Twice is better than never.
    pub(in crate::core) fn forget_unsafe(&mut self) {
        self.waits.clear();
        self.handled = self.safe;
        self.logged = self.safe;
    }

    /// `<r/>` of the client.
    pub(in crate::core) fn asks(&mut self) -> Asks {
        let Some((seq, _)) = self.waits.back() else { return Asks::Now(self.safe) };
        match self.asked.replace(*seq) {
            None => Asks::With(*seq),
            Some(_) => Asks::Again,
        }
    }

    /// The answer to it that waited for this batch, and the batch that another one waits for.
    pub(in crate::core) fn answer(&mut self, seq: u64) -> (u32, Option<u64>) {
        self.asked = self.asked.filter(|last| *last > seq);
        (self.safe, self.asked)
    }

    // --- what it is sent ---

    /// How the stream counts the stanza that was written last, or one so many behind it.
    pub(in crate::core) fn count_of(&self, behind: usize) -> Counted {
        Counted { stream: self.number, count: (self.sent as u32).wrapping_add(behind as u32) }
    }

    /// When the client last acknowledged something.
    pub(in crate::core) fn acknowledged_at(&self) -> u64 {
        self.acknowledged_at
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

    /// Counts a stanza that is written now, and not kept: it is lost with the connection.
    pub(in crate::core) fn push_unkept(&mut self) {
        self.push(&Stanza::new(Kind::Presence, Type::None));
    }

    /// What is not acknowledged, in order, taken out: it will not be on this stream.
    pub(in crate::core) fn take_queue(&mut self) -> VecDeque<Stanza> {
        (self.bytes, self.held_back) = (0, None);
        std::mem::take(&mut self.queue)
    }

    /// Stanzas taken out that are not kept any longer; their places in the count stay.
    pub(in crate::core) fn take_out(&mut self, mut goes: impl FnMut(&Stanza) -> bool) -> Vec<Stanza> {
        let place = || Stanza::new(Kind::Presence, Type::None);
        let gone = self.queue.iter_mut().filter_map(|stanza| goes(stanza).then(|| std::mem::replace(stanza, place())));
        let gone: Vec<Stanza> = gone.collect();
        self.bytes -= gone.iter().map(|stanza| stanza.bytes() - place().bytes()).sum::<usize>();
        gone
    }

    /// What was written before a restart and is not known to have arrived, each with how the stream counts it, in order; and how many of the
    /// peer's are known to have been handled.
    pub(in crate::core) fn restore(&mut self, sent: impl Iterator<Item = (u32, Stanza)>, handled: u32) {
        (self.handled, self.safe, self.logged) = (handled, handled, handled);
        for (count, stanza) in sent {
            if self.queue.is_empty() {
                self.sent = u64::from(count.wrapping_sub(1));
            }
            while (self.sent as u32).wrapping_add(1) != count && self.queue.len() < QUEUE_STANZAS {
                self.push_unkept();
            }
            self.push(&stanza);
        }
    }

    /// Whether the peer can have handled so many, and nothing that it handled is gone or still to be written.
    pub(in crate::core) fn fits(&self, h: u32) -> bool {
        let left = (self.sent as u32).wrapping_sub(h);
        left >= self.unwritten() as u32 && left <= self.queue.len() as u32
    }

    /// The count goes on behind that one: what comes next is the next.
    pub(in crate::core) fn rewind(&mut self, h: u32) {
        self.sent = u64::from(h);
    }

    /// The last ones of the queue that are not written yet.
    fn unwritten(&self) -> usize {
        self.held_back.map_or(0, |(stanzas, _)| stanzas)
    }

    /// Those of the queue that were written.
    pub(in crate::core) fn written(&self) -> impl Iterator<Item = &Stanza> {
        self.queue.iter().take(self.queue.len() - self.unwritten())
    }

    /// How many were written since the stream began.
    pub(in crate::core) fn written_count(&self) -> u32 {
        (self.sent as u32).wrapping_sub(self.unwritten() as u32)
    }

    /// Nothing more is written until this batch is on stable storage.
    pub(in crate::core) fn hold_back(&mut self, seq: u64) {
        self.held_back = Some((self.unwritten(), seq));
    }

    /// What was held back and waited for a batch up to this one, if any did: it can be written.
    pub(in crate::core) fn release(&mut self, up_to: u64) -> Option<impl Iterator<Item = &Stanza>> {
        let (stanzas, _) = self.held_back.take_if(|(_, waits)| *waits <= up_to)?;
        Some(self.queue.iter().skip(self.queue.len().saturating_sub(stanzas)))
    }

    /// What the client has handled, by its count, as it says now; `None` if it cannot be: more than was sent.
    pub(in crate::core) fn acknowledge(&mut self, h: u32, now: u64) -> Option<Vec<Stanza>> {
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
        if !done.is_empty() {
            self.acknowledged_at = now;
        }
        Some(done)
    }

    // --- what it is asked ---

    /// Whether it is to be asked for an acknowledgement now: then it was.
    pub(in crate::core) fn ask(&mut self, now: u64) -> bool {
        // It was asked already, or has nothing to acknowledge.
        if self.requested.is_some() || self.queue.len() <= self.unwritten() {
            return false;
        }
        self.requested = Some(now);
        true
    }

    /// Whether it was asked for an acknowledgement, which this may be the answer to. Nothing is asked any more.
    pub(in crate::core) fn answered(&mut self) -> bool {
        self.requested.take().is_some()
    }

    /// When it was asked what it has not answered.
    pub(in crate::core) fn requested(&self) -> Option<u64> {
        self.requested
    }

    /// Whether the timer for the answer has to be set: from now on it runs.
    pub(in crate::core) fn sets_answer_timer(&mut self) -> bool {
        !std::mem::replace(&mut self.timed, true)
    }

    /// That time is over.
    pub(in crate::core) fn answer_timer_ended(&mut self) {
        self.timed = false;
    }

    // --- when its connection is lost ---

    /// Whether the timer for the client's time to come back has to be set: from now on it runs.
    pub(in crate::core) fn sets_return_timer(&mut self) -> bool {
        !std::mem::replace(&mut self.awaited, true)
    }

    /// That time is over.
    pub(in crate::core) fn return_timer_ended(&mut self) {
        self.awaited = false;
    }

    /// What a client may be told of that asks for this stream when the session has ended: how many of its stanzas were handled, and
    /// how it counts the messages that it did not acknowledge.
    pub(in crate::core) fn left_behind(&self) -> (u32, Vec<(u32, u64)>) {
        let first = (self.sent as u32).wrapping_sub(self.queue.len() as u32);
        let sent = (1..).zip(&self.queue).filter(|(_, stanza)| stanza.mark > 0);
        (self.handled, sent.map(|(n, stanza)| (first.wrapping_add(n), stanza.mark)).collect())
    }

    /// How many of the client's stanzas were handled.
    pub(in crate::core) fn handled_count(&self) -> u32 {
        self.handled
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn stanza(mark: u64) -> Stanza {
        let mut message = Stanza::new(Kind::Message, Type::Chat);
        message.mark = mark;
        message
    }

    /// The marks of what was acknowledged.
    fn acknowledge(managed: &mut Managed, h: u32) -> Option<Vec<u64>> {
        managed.acknowledge(h, 0).map(|done| done.iter().map(|s| s.mark).collect())
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

    impl Managed {
        /// As if so many had been sent and acknowledged, and handled.
        pub(in crate::core::message) fn set_counts(&mut self, sent: u64, handled: u32) {
            (self.sent, self.handled, self.logged) = (sent, handled, handled);
        }

        /// What may be acknowledged, and what the rest waits for.
        pub(in crate::core::message) fn safe(&self) -> (u32, Vec<(u64, u32)>) {
            (self.safe, self.waits.iter().copied().collect())
        }
    }

    #[test]
    fn what_is_acknowledged_waits_for_its_batches() {
        let mut managed = Managed::new(1, Some(1));
        managed.count_in();
        assert!(!managed.handled(0, 0));
        assert_eq!(managed.asks(), Asks::Now(1), "it changed nothing");
        managed.count_in();
        assert!(managed.handled(1, 0));
        managed.count_in();
        assert!(!managed.handled(1, 0), "it waits for the same");
        assert_eq!((managed.asks(), managed.asks()), (Asks::With(1), Asks::Again));
        managed.count_in();
        assert!(managed.handled(2, 0));
        assert_eq!(managed.asks(), Asks::Again);
        assert!(managed.committed(1));
        assert_eq!(managed.answer(1), (3, Some(2)), "another answer is due with the next");
        assert!(!managed.committed(2));
        assert_eq!(managed.answer(2), (4, None));
    }

    #[test]
    fn what_is_held_back_is_written_once_and_behind_the_rest() {
        let mut managed = Managed::new(1, None);
        managed.push(&stanza(1));
        managed.hold_back(1);
        assert_eq!(managed.push(&stanza(2)), (true, false));
        managed.hold_back(2);
        assert_eq!(managed.push(&stanza(3)), (true, false));
        let marks = |stanzas: Vec<&Stanza>| stanzas.iter().map(|s| s.mark).collect::<Vec<_>>();
        assert_eq!((marks(managed.written().collect()), managed.written_count()), (vec![1], 1));
        assert_eq!(acknowledge(&mut managed, 2), None, "it was not written");
        assert!(managed.ask(0), "the first was");
        assert!(managed.release(1).is_none(), "it waits for the later one");
        assert_eq!(managed.release(2).map(|written| marks(written.collect())), Some(vec![2, 3]));
        assert!(managed.release(2).is_none());
        assert_eq!((managed.written_count(), managed.push(&stanza(4))), (3, (true, true)));
    }

    #[test]
    fn one_question_at_a_time() {
        let mut managed = Managed::new(1, None);
        assert!(!managed.ask(0), "nothing was sent");
        managed.push(&stanza(1));
        assert!(managed.ask(7) && !managed.ask(8));
        assert_eq!(
            (managed.requested(), managed.sets_answer_timer(), managed.sets_answer_timer()),
            (Some(7), true, false)
        );
        assert!(managed.answered() && !managed.answered());
        managed.answer_timer_ended();
        assert!(managed.ask(9) && managed.sets_answer_timer());
    }
}
