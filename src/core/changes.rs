//! Changes on their way to storage, and what is promised with them.

use super::impossible::impossible;
use super::message::logged::{Counted, Logged};
use super::promise::{FULL, Promise};
use super::written::over_share;
use crate::store::{BATCH_OPS, Batch, Copies, Entry, Op};
use crate::wire::{Condition, Stanza, StanzaError};
use std::collections::VecDeque;

/// A batch is handed over at the end of a step once it has so many changes; a single step must stay below what remains.
const SEAL_OPS: usize = BATCH_OPS / 2;
/// Memory for writing an entry that stays, in bytes.
const TEXT_BYTES: usize = 4096;
/// Room for the lengths of names, and for a domain that is not in the first archive of an entry, in bytes.
const COPIES_BYTES: usize = 24;

/// A message whose entry in the log is not written yet: the other side may see it, too.
#[derive(Debug)]
struct Draft {
    /// The entry's place in the batch.
    at: usize,
    /// How its sender's stream counts it.
    sent: Option<Counted>,
    /// How its receivers' streams count it, if that must be stored.
    received: Vec<Counted>,
    message: Stanza,
}

/// The changes of this turn, those that storage has, and the answers that wait for them.
#[derive(Debug)]
pub(super) struct Changes {
    batch: Batch,
    /// The entry of the batch that is to be written yet.
    draft: Option<Draft>,
    /// Where it is written.
    text: String,
    /// The number of the batch that is being filled.
    seq: u64,
    committed: u64,
    /// Storage takes nothing: what it was handed is not stored.
    stalled: bool,
    /// Storage is to be handed nothing more; what it was handed is stored.
    full: bool,
    /// But for what makes room.
    erases: bool,
    /// This turn makes room.
    erasing: bool,
    /// In the order in which they were made, with the batch that each waits for.
    promises: VecDeque<(u64, Promise)>,
}

impl Default for Changes {
    fn default() -> Changes {
        Changes {
            batch: Batch::default(),
            draft: None,
            text: String::new(),
            seq: 1,
            committed: 0,
            stalled: false,
            full: false,
            erases: true,
            erasing: false,
            promises: VecDeque::new(),
        }
    }
}

impl Changes {
    // --- what is changed ---

    /// The changes of this turn, to add to; refused while storage takes no more, and to who has had more stored than its share.
    pub(super) fn write(&mut self, over: bool) -> Result<&mut Batch, StanzaError> {
        if self.takes_nothing() {
            return Err(StanzaError::new(Condition::ResourceConstraint).text(FULL));
        }
        if over && !self.erasing {
            return Err(over_share());
        }
        Ok(&mut self.batch)
    }

    /// What goes along with the changes whatever storage takes: what was handed over already goes first, and this behind it.
    pub(super) fn add(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// This turn makes room: it is taken also while the disk is full.
    pub(super) fn erase(&mut self) {
        self.erasing |= !self.stalled && (!self.full || self.erases);
    }

    /// Whether what is done from here on makes room; gives what was so until now.
    pub(super) fn set_erasing(&mut self, erasing: bool) -> bool {
        std::mem::replace(&mut self.erasing, erasing)
    }

    /// Adds another archive to the entry of this message, if that was put into the log last, and what is known of it by now.
    pub(super) fn share_entry(
        &mut self,
        message: &Stanza,
        (local, with): (&str, &str),
        sent: Option<Counted>,
        received: &mut Vec<Counted>,
    ) -> bool {
        if let Some(draft) = self.draft.as_mut().filter(|draft| draft.message.same(message))
            && let Some(Op::Append(entry)) = self.batch.ops.get_mut(draft.at)
            && entry.id == message.mark
        {
            draft.sent = sent.or(draft.sent);
            draft.received.append(received);
            entry.copies.push(local, with);
            return true;
        }
        false
    }

    /// Puts a message into the log under this number. It is written later: the other side may see it, too.
    pub(super) fn begin_entry(
        &mut self,
        id: u64,
        message: &Stanza,
        (local, with): (&str, &str),
        sent: Option<Counted>,
        received: Vec<Counted>,
    ) {
        self.finish_entry();
        self.draft = Some(Draft { at: self.batch.ops.len(), sent, received, message: message.clone() });
        // The other side is likely to follow: what is `with` here has a part that is the owner there.
        let mut copies = Copies::with_room(2 * (local.len() + with.len()) + COPIES_BYTES);
        copies.push(local, with);
        self.batch.append(Entry { id, copies, value: Box::default() });
    }

    /// Puts a message into the log that is in nobody's archive.
    pub(super) fn begin_unarchived(&mut self, id: u64, message: &Stanza) {
        self.finish_entry();
        let (at, message) = (self.batch.ops.len(), message.clone());
        self.draft = Some(Draft { at, sent: None, received: Vec::new(), message });
        self.batch.append(Entry { id, copies: Copies::default(), value: Box::default() });
    }

    /// The number of a message's entry, if that was begun last, for this archive.
    pub(super) fn begun(&self, local: &str, message: &Stanza) -> Option<u64> {
        let draft = self.draft.as_ref().filter(|draft| message.mark > 0 && draft.message.mark == message.mark)?;
        match self.batch.ops.get(draft.at) {
            Some(Op::Append(entry)) if entry.copies.has(local, None) => Some(entry.id),
            _ => None,
        }
    }

    /// How a stream counts the message of the entry that was begun last, if that is it.
    pub(super) fn counts(&mut self, id: u64, counted: Counted) {
        if let Some(draft) = &mut self.draft
            && let Some(Op::Append(entry)) = self.batch.ops.get(draft.at)
            && entry.id == id
        {
            draft.received.push(counted);
        }
    }

    /// Writes the entry that was begun last: all that is to be told with it is known.
    pub(super) fn finish_entry(&mut self) {
        let Some(Draft { at, sent, received, message }) = self.draft.take() else { return };
        let Some(Op::Append(entry)) = self.batch.ops.get_mut(at) else {
            return impossible("an entry of the log is not where it was begun");
        };
        self.text.clear();
        message.write_bare(&mut self.text);
        entry.value = Logged::Message { sent, received, xml: &self.text }.record();
        self.text.shrink_to(TEXT_BYTES);
    }

    /// Whether a message was just put into this archive.
    pub(super) fn is_archived(&self, local: &str, mark: u64) -> bool {
        let last =
            self.batch.ops.iter().rev().find_map(|op| if let Op::Append(entry) = op { Some(entry) } else { None });
        last.is_some_and(|entry| entry.id == mark && entry.copies.has(local, None))
    }

    // --- how it goes to storage ---

    /// Whether nothing is changed in this turn that was not handed over.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.is_empty()
    }

    /// Whether the batch must not become much larger.
    pub(super) fn is_large(&self) -> bool {
        self.batch.ops.len() >= SEAL_OPS
    }

    /// What was changed, to be handed over, and its number.
    pub(super) fn seal(&mut self) -> (u64, Batch) {
        self.finish_entry();
        self.seq += 1;
        (self.seq - 1, std::mem::take(&mut self.batch))
    }

    /// The number of the last batch that was handed over.
    pub(super) fn sealed(&self) -> u64 {
        self.seq - 1
    }

    /// The number of the last batch on stable storage.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    /// All batches up to this one are on stable storage.
    pub(super) fn commit(&mut self, seq: u64) {
        self.committed = self.committed.max(seq);
    }

    // --- what storage takes ---

    pub(super) fn set_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
    }

    pub(super) fn set_full(&mut self, full: bool) {
        self.full = full;
    }

    pub(super) fn set_erases(&mut self, erases: bool) {
        self.erases = erases;
    }

    /// Whether what storage was handed is not stored.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Whether storage is to be handed nothing.
    pub(super) fn takes_nothing(&self) -> bool {
        self.stalled || self.full && !self.erasing
    }

    // --- what is promised ---

    /// Lets a promise wait for what was changed until now; gives it back if it can be kept at once.
    pub(super) fn promise(&mut self, promise: Promise) -> Option<Promise> {
        let waits_for = if self.batch.is_empty() { self.seq - 1 } else { self.seq };
        if waits_for <= self.committed || (self.stalled && promise.can_be_told()) {
            return Some(promise);
        }
        self.promises.push_back((waits_for, promise));
        None
    }

    /// The next promise that can be kept.
    pub(super) fn due(&mut self) -> Option<Promise> {
        self.promises.front().filter(|(waits_for, _)| *waits_for <= self.committed)?;
        self.promises.pop_front().map(|(_, promise)| promise)
    }

    /// All promises that wait, which cannot be kept for now.
    pub(super) fn take_promises(&mut self) -> VecDeque<(u64, Promise)> {
        std::mem::take(&mut self.promises)
    }

    /// One of them waits on.
    pub(super) fn put_back(&mut self, waits_for: u64, promise: Promise) {
        self.promises.push_back((waits_for, promise));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::Tree;

    fn change(changes: &mut Changes) -> bool {
        changes.write(false).map(|batch| batch.put(Tree::Meta, &b"a test"[..], &b"1"[..])).is_ok()
    }

    fn promise(name: &str) -> Promise {
        Promise::Log(name.into())
    }

    fn due(changes: &mut Changes) -> Vec<String> {
        std::iter::from_fn(|| changes.due())
            .map(|promise| if let Promise::Log(line) = promise { line } else { panic!() })
            .collect()
    }

    #[test]
    fn a_promise_waits_for_what_was_changed_before() {
        let mut changes = Changes::default();
        assert!(changes.promise(promise("nothing to wait for")).is_some());
        assert!(change(&mut changes));
        assert!(changes.promise(promise("first")).is_none());
        assert_eq!(changes.seal().0, 1);
        assert!(changes.promise(promise("of what was handed over")).is_none());
        assert!(change(&mut changes));
        assert!(changes.promise(promise("second")).is_none());
        assert_eq!(changes.seal().0, 2);
        assert_eq!(due(&mut changes), [""; 0]);
        changes.commit(1);
        assert_eq!(due(&mut changes), ["first", "of what was handed over"]);
        changes.commit(2);
        assert_eq!(due(&mut changes), ["second"]);
        assert!(changes.promise(promise("all is stored")).is_some());
        changes.commit(1);
        assert_eq!(changes.committed(), 2, "what is stored stays so");
    }

    /// Each of: storage fails, the disk is full, some of what is kept free is left, this turn makes room.
    #[test]
    fn what_storage_takes() {
        for (stalled, full, erases, erasing, taken) in [
            (false, false, true, false, true),
            (false, true, true, false, false),
            (false, true, true, true, true),
            (false, true, false, true, false),
            (true, false, true, false, false),
            (true, false, true, true, false),
            (true, true, true, true, false),
        ] {
            let mut changes = Changes::default();
            changes.set_stalled(stalled);
            changes.set_full(full);
            changes.set_erases(erases);
            if erasing {
                changes.erase();
            }
            assert_eq!(change(&mut changes), taken, "{stalled} {full} {erases} {erasing}");
            assert_eq!(changes.takes_nothing(), !taken);
            assert_eq!(changes.is_empty(), !taken);
        }
    }

    #[test]
    fn who_is_over_its_share_may_make_room() {
        let mut changes = Changes::default();
        assert!(changes.write(true).is_err());
        changes.erase();
        assert!(changes.write(true).is_ok());
        assert!(changes.set_erasing(false));
        assert!(changes.write(true).is_err());
    }

    #[test]
    fn both_sides_of_a_message_share_its_entry() {
        let message = |mark: u64| {
            let mut message = Stanza::new(crate::wire::Kind::Message, crate::wire::Type::Chat);
            message.mark = mark;
            message
        };
        let (first, second) = (message(7), message(8));
        let counted = |count| Counted { stream: 1, count };
        let mut changes = Changes::default();
        changes.begin_entry(7, &first, ("romeo", "juliet@b"), Some(counted(1)), vec![]);
        assert!(!changes.share_entry(&second, ("juliet", "romeo@b"), None, &mut vec![]), "another message");
        assert!(changes.share_entry(&first, ("juliet", "romeo@b"), None, &mut vec![counted(2)]));
        assert!(
            changes.is_archived("romeo", 7) && changes.is_archived("juliet", 7) && !changes.is_archived("nurse", 7)
        );
        changes.begin_entry(8, &second, ("romeo", "juliet@b"), None, vec![]);
        assert!(!changes.share_entry(&first, ("nurse", "romeo@b"), None, &mut vec![]), "it is written");
        let (_, batch) = changes.seal();
        let values: Vec<_> = batch
            .ops
            .iter()
            .map(|op| if let Op::Append(entry) = op { Logged::read(&entry.value).unwrap() } else { panic!() })
            .collect();
        let [Logged::Message { sent, received, .. }, Logged::Message { sent: None, .. }] = &values[..] else {
            panic!()
        };
        assert_eq!((*sent, &received[..]), (Some(counted(1)), &[counted(2)][..]), "all that is known of it");
    }
}
