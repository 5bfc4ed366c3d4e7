//! The engine on a card: small rows in sled, messages in the log, and batches that are whole over both.
//!
//! A commit goes to the log first: one write, one sync. Only then sled gets its part, in its own transaction and with its own
//! sync. A batch that has both kinds of changes stands in its frame of the log with the changes of the trees, as do batches
//! that come before such a one in a commit; sled's rows carry the frame's number in the same transaction. So when the power goes between the two syncs, the next start finds frames
//! that sled does not know, and makes their changes. What is only for one side never touches the other.

use super::disk::RESERVE_ACCEPTED_BYTES;
use super::log::{Log, SEGMENT_BYTES};
use super::sled_engine::{Sabotage, Sled};
use super::{Batch, Engine, Op, Query, Rows, StoreError, Written};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The database in a folder: sled's files as [`super::sled_engine`] says, and `log/`.
#[derive(Debug)]
pub struct Card {
    sled: Sled,
    log: Log,
}

impl Card {
    /// Opens or makes the database in `dir`; see [`Sled::open`], also for `probe` and the errors. Damage of the log is no error:
    /// what can be read is served, and a line of the program's log says what is missing.
    pub fn open(dir: &Path, probe: Option<Command>) -> Result<Card, StoreError> {
        Card::open_with(dir, probe, Sabotage::Sound, SEGMENT_BYTES)
    }

    #[doc(hidden)]
    pub fn open_with(
        dir: &Path,
        probe: Option<Command>,
        sabotage: Sabotage,
        segment_bytes: u64,
    ) -> Result<Card, StoreError> {
        let log_dir = dir.join("log");
        // Before anything is changed.
        Log::refuse_newer(&log_dir)?;
        let mut sled = Sled::open_with(dir, probe, sabotage)?;
        let mut log = Log::open(&log_dir, sled.logged(), segment_bytes, sabotage != Sabotage::NoLogSync)?;
        if sabotage != Sabotage::NoReplay {
            for (number, batch) in log.behind(sled.applied())? {
                sled.commit_logged(&[batch], &[number])?;
            }
        }
        sled.note_logged(log.number());
        Ok(Card { sled, log })
    }

    /// Ends in order, so that the next start needs no probe. Dropping the engine instead is what a crash is.
    pub fn close(self) -> Result<(), StoreError> {
        self.sled.close()
    }

    /// Reads everything and holds it against what was counted and summed on the way in.
    pub fn verify(&mut self) -> Result<(), StoreError> {
        self.sled.verify()?;
        self.log.verify()
    }

    /// The same of the rows alone: without the files of large values, and without the log.
    pub(super) fn verify_rows(&self) -> Result<(), StoreError> {
        self.sled.verify_rows()
    }

    /// What is damaged and costs no more than itself, in words: large values, and messages of the log. Reads all of it.
    ///
    /// # Errors
    /// When the rows are damaged: then the rest cannot be served, either.
    pub fn losses(&mut self) -> Result<Vec<String>, StoreError> {
        self.sled.verify_rows()?;
        let mut lost = self.sled.damaged_values()?;
        lost.extend(self.log.verify().err().map(|e| e.to_string()));
        Ok(lost)
    }

    /// What was handed over and written since the start.
    pub fn written(&self) -> Written {
        self.sled.written() + self.log.written()
    }

    /// From now on commits may use some of the room that is kept free: whoever hands them over looks at [`Card::room_bytes`] before it
    /// accepts a change, and what was accepted must not fail.
    pub fn use_reserve(&mut self) {
        self.sled.set_reserve(RESERVE_ACCEPTED_BYTES);
        self.log.set_reserve(RESERVE_ACCEPTED_BYTES);
    }

    /// Bytes that a commit may still add to the disk, about; all there are if the system does not tell.
    pub fn room_bytes(&self) -> u64 {
        self.sled.room_bytes()
    }

    /// The same for a change that makes room.
    pub fn erasing_bytes(&self) -> u64 {
        self.sled.erasing_bytes()
    }

    /// The files of the log, oldest first, each with the length up to which it belongs to what is committed now. They only
    /// grow, so that these lengths stay a consistent copy whatever is committed meanwhile; but [`Op::Trim`] may remove the
    /// oldest. Those of indexes (`.idx`) only save time: without them a start makes them anew.
    pub fn snapshot_log(&mut self) -> Vec<(PathBuf, u64)> {
        self.log.snapshot()
    }
}

impl Engine for Card {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        // What failed in one of them must not be passed by the other.
        if let Some(e) = self.sled.failed() {
            return Err(e);
        }
        let trees = batches.iter().any(Batch::changes_trees);
        if trees {
            self.sled.check(batches)?;
        }
        let before = self.log.number();
        let numbers = self.log.append(batches)?;
        self.sled.note_logged(self.log.number());
        if trees && let Err(e) = self.sled.commit_logged(batches, &numbers) {
            // It has hurt nothing: then the log has nothing of it, either, and all of it can be tried again.
            if self.sled.failed().is_none() {
                self.log.undo()?;
                self.sled.note_logged(before);
            }
            return Err(e);
        }
        for op in batches.iter().flat_map(|batch| &batch.ops) {
            if let Op::Trim { before, bytes } = op {
                self.log.trim(*before, *bytes);
            }
        }
        Ok(())
    }

    fn query(&mut self, query: &Query) -> Result<Rows, StoreError> {
        match query {
            Query::Get(..) | Query::Scan { .. } => self.sled.query(query),
            Query::Archive(page) => self.log.page(page),
            Query::Entries { owner, ids } => self.log.entries(owner, ids),
            Query::Since { after, rows, bytes } => self.log.since(*after, *rows, *bytes),
            Query::Edge => Ok(self.log.edge()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::Copies;
    use super::*;
    use crate::store::{Entry, Tree, disk, scratch};
    use std::fs;

    fn append(id: u64) -> Batch {
        let mut batch = Batch::default();
        batch.append(Entry { id, copies: Copies::default(), value: (*b"value").into() });
        batch
    }

    fn mixed(id: u64, value: &[u8]) -> Batch {
        let mut batch = append(id);
        batch.put(Tree::Meta, *b"key", value);
        batch
    }

    fn value(card: &mut Card) -> Option<Vec<u8>> {
        let rows = card.query(&Query::Get(Tree::Meta, (*b"key").into())).unwrap();
        rows.into_iter().next().map(|(_, value)| value.into())
    }

    fn sled_files(dir: &Path) -> Vec<Vec<u8>> {
        ["sled/db", "mark"].map(|name| fs::read(dir.join(name)).unwrap()).into()
    }

    #[test]
    fn each_side_is_left_alone_by_what_is_for_the_other() {
        let dir = scratch("card-sides");
        let mut card = Card::open(&dir, None).unwrap();
        card.commit(&[mixed(1, b"1")]).unwrap();
        let (before, syncs) = (sled_files(&dir), card.written().syncs);
        card.commit(&[append(2), Batch::default(), append(3)]).unwrap();
        assert_eq!((sled_files(&dir), card.written().syncs), (before, syncs + 1));
        let log = card.snapshot_log();
        let mut batch = Batch::default();
        batch.put(Tree::Meta, *b"key", *b"2");
        card.commit(&[batch]).unwrap();
        assert_eq!((card.snapshot_log(), card.written().syncs), (log, syncs + 2));
        card.verify().unwrap();
        card.close().unwrap();
        let mut card = Card::open(&dir, None).unwrap();
        assert_eq!(value(&mut card).unwrap(), b"2");
        card.verify().unwrap();
    }

    /// A folder that cannot be written for a while, or no descriptor: what is refused leaves nothing behind, and can be tried again.
    #[test]
    fn what_left_nothing_behind_is_not_the_end() {
        let dir = scratch("card-again");
        let mut card = Card::open(&dir, None).unwrap();
        card.commit(&[mixed(1, b"1")]).unwrap();
        let picture = |id: u64| mixed(id, &[id as u8; 20_000]);
        for (n, folder) in ["large", "log"].into_iter().enumerate() {
            let (id, away) = (10 * (n as u64 + 1), dir.join("away"));
            if folder == "log" {
                // The next entry needs a new file.
                card.log.seal_now().unwrap();
            }
            fs::rename(dir.join(folder), &away).unwrap();
            let before = (card.log.number(), sled_files(&dir));
            for _ in 0..3 {
                assert!(matches!(card.commit(&[append(id), picture(id + 1)]), Err(StoreError::Io(_))), "{folder}");
            }
            assert_eq!((card.log.number(), sled_files(&dir)), before);
            fs::rename(&away, dir.join(folder)).unwrap();
            card.commit(&[append(id), picture(id + 1)]).unwrap();
            assert_eq!(value(&mut card).unwrap(), [id as u8 + 1; 20_000]);
            card.verify().unwrap();
        }
        drop(card);
        let mut card = Card::open(&dir, None).unwrap();
        assert_eq!(value(&mut card).unwrap(), [21; 20_000]);
        card.verify().unwrap();
        assert_eq!(disk::entries(&dir.join("large")).unwrap().len(), 1);
    }

    /// The power goes when the log is synced and sled is not.
    #[test]
    fn what_only_the_log_has_is_made_up_for() {
        let dir = scratch("card-behind");
        let mut card = Card::open(&dir, None).unwrap();
        card.commit(&[mixed(1, b"1"), append(2)]).unwrap();
        card.log.append(&[mixed(3, b"3"), append(4), mixed(5, b"5"), append(6)]).unwrap();
        drop(card);
        let mut card = Card::open(&dir, None).unwrap();
        assert_eq!(value(&mut card).unwrap(), b"5");
        assert_eq!(card.sled.applied(), 5);
        card.verify().unwrap();
        // Not twice: what came later stays.
        let mut batch = Batch::default();
        batch.delete(Tree::Meta, *b"key");
        card.commit(&[batch.clone()]).unwrap();
        // It changes nothing, and must not when it is seen again.
        batch.append(Entry { id: 7, copies: Copies::default(), value: (*b"").into() });
        card.commit(&[batch]).unwrap();
        let mut batch = Batch::default();
        batch.put(Tree::Meta, *b"key", *b"8");
        card.commit(&[batch]).unwrap();
        drop(card);
        let mut card = Card::open(&dir, None).unwrap();
        assert_eq!(value(&mut card).unwrap(), b"8");
        card.verify().unwrap();
    }

    #[test]
    fn a_log_that_is_gone_is_told_and_numbers_go_on() {
        let dir = scratch("card-gone");
        let mut card = Card::open(&dir, None).unwrap();
        card.commit(&[mixed(1, b"1"), mixed(2, b"2"), append(3)]).unwrap();
        card.close().unwrap();
        fs::remove_dir_all(dir.join("log")).unwrap();
        let mut card = Card::open(&dir, None).unwrap();
        assert_eq!((card.log.number(), value(&mut card).unwrap()), (3, b"2".to_vec()));
        card.commit(&[mixed(9, b"9")]).unwrap();
        drop(card);
        let mut card = Card::open(&dir, None).unwrap();
        assert_eq!((card.log.number(), value(&mut card).unwrap()), (4, b"9".to_vec()));
        assert_eq!(disk::entries(&dir.join("log")).unwrap().len(), 1);
    }
}
