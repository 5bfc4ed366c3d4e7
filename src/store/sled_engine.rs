//! The engine on sled 0.34: what a commit is, and how the database is opened and closed.
//!
//! A folder holds `sled/` (sled's own files), `large/` (values too large for it) and `mark` (the lock, the last commit, and the
//! seal of a close in order); the private modules of these names tell more.
//!
//! A commit puts whole batches into as few transactions over all trees as [`TRANSACTION_OPS`] allows, has sled write them out,
//! and then syncs sled's file itself: sled's own flush starts the writing (`sync_file_range`) but makes neither the file's
//! length nor the disk's cache durable. Without the transaction a killed process leaves half a batch; without the sync a power
//! cut takes back what was acknowledged; `tests/storage` shows both.

use super::large::{Large, Note, Reference};
use super::mark::{Mark, MarkFile, newer, patient, seal};
use super::trees::{COUNT, Count, ENGINE, INLINE, REFERENCE, Trees, at, failed, large_key};
use super::{BATCH_OPS, Batch, Bytes, Engine, Op, Query, Rows, StoreError, Tree, VALUE_BYTES, Written, disk, probe};
use sled::transaction::{ConflictableTransactionError as Stop, TransactionError, Transactional, TransactionalTree};
use std::borrow::Cow;
use std::collections::{BTreeSet, VecDeque};
use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::process::Command;

pub use super::probe::probe;
pub use super::trees::SCHEMA;

/// The longest key and value together, in bytes, that stand in sled; a longer value becomes a file in `large/`. A page of
/// sled's holds up to 17 rows, and one that passes 128 KiB becomes a file that sled never syncs.
pub const INLINE_BYTES: usize = 4096;

/// About the most changes in one transaction; a batch is never split.
pub const TRANSACTION_OPS: usize = BATCH_OPS;

pub use super::disk::{RESERVE_BYTES, RESERVE_DELETING_BYTES};

/// What one change may make sled write besides its own bytes: now and then the page it is in, in bytes.
const CHANGE_BYTES: u64 = 8 * 1024;

/// Ways to break the engine, for the test that shows what each part is for.
#[doc(hidden)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sabotage {
    /// None.
    Sound,
    /// Leaves the sync to sled.
    NoSync,
    /// Makes the changes tree by tree.
    NoTransaction,
    /// Leaves the sync of the message log to the system.
    NoLogSync,
    /// Does not make the changes that only the message log knows after a crash.
    NoReplay,
}

/// The database in a folder.
#[derive(Debug)]
pub struct Sled {
    dir: PathBuf,
    trees: Trees,
    /// sled's `db`, opened once more, to sync it.
    file: File,
    large: Large,
    mark: MarkFile,
    count: Count,
    /// The number of the last frame of the message log that is known to be on stable storage, for the mark.
    logged: u64,
    /// Large values that nothing refers to once the current commit is durable.
    dropped: Vec<u64>,
    /// The files in sled's `blobs` that are known to be durable.
    blobs: BTreeSet<OsString>,
    written: Written,
    /// Bytes that stay free on the disk.
    reserve: u64,
    /// Why no commit is possible any more.
    failed: Option<String>,
    sabotage: Sabotage,
}

/// A change as sled gets it.
struct Change<'a> {
    tree: usize,
    key: Cow<'a, [u8]>,
    /// With its tag.
    value: Option<Vec<u8>>,
}

/// What one transaction makes.
struct Group<'a> {
    changes: Vec<Change<'a>>,
    /// The last frame of the message log whose changes are among these or came before.
    applied: u64,
}

impl Sled {
    /// Opens or makes the database in `dir`. One process at a time.
    ///
    /// `probe` starts this very program so that it calls [`probe`](fn@probe) with the path that is appended as the last
    /// argument, and exits with 0 if that went well, else prints the error. It is run, on a copy, only if the last close was
    /// not in order or the files are not what it left. Without a command damage may end or block the calling process.
    ///
    /// Errors: [`StoreError::Locked`], [`StoreError::Newer`], [`StoreError::Damaged`], [`StoreError::Full`] and
    /// [`StoreError::Io`], each with words for the owner. After all of them what is stored is what it was.
    pub fn open(dir: &Path, probe: Option<Command>) -> Result<Sled, StoreError> {
        Sled::open_with(dir, probe, Sabotage::Sound)
    }

    #[doc(hidden)]
    pub fn open_with(dir: &Path, probe: Option<Command>, sabotage: Sabotage) -> Result<Sled, StoreError> {
        disk::make_dir(dir).map_err(|e| disk::refused("make", dir, &e))?;
        let mark_path = dir.join("mark");
        let lock = MarkFile::lock(&mark_path)?;
        let mark = Mark::read(&mark_path)?;
        let sled_dir = dir.join("sled");
        disk::room(dir, RESERVE_DELETING_BYTES)?;
        if sled_dir.join("db").exists() {
            let intact = match mark.seal {
                Some(was) => seal(dir).map_err(|e| disk::refused("read", dir, &e))? == was,
                None => false,
            };
            if let (false, Some(command)) = (intact, probe) {
                probe::run(dir, command)?;
            }
        } else if mark.commit > 0 {
            return Err(probe::damaged(dir, "the file sled/db is missing"));
        }
        lock.write(Mark { seal: None, ..mark }, true).map_err(|e| disk::refused("write", &mark_path, &e))?;
        disk::make_dir(&sled_dir).map_err(|e| disk::refused("make", &sled_dir, &e))?;
        let trees = patient(|| Trees::open(&sled_dir).map_err(|e| explain(dir, e)))?;
        let schema = trees.schema().map_err(|e| explain(dir, e))?;
        if let Some(found) = schema.filter(|found| *found > SCHEMA) {
            return Err(newer(found, SCHEMA));
        }
        let count = trees.count().map_err(|e| explain(dir, e))?;
        if count.commit < mark.commit {
            let lost = mark.commit - count.commit;
            return Err(probe::damaged(dir, &format!("the newest {lost} of {} changes are missing", mark.commit)));
        }
        trees.migrate(schema).map_err(|e| explain(dir, e))?;
        let used = trees.large().map_err(|e| explain(dir, e))?;
        let large = Large::open(&dir.join("large"), &used).map_err(|e| explain(dir, e))?;
        trees.flush().map_err(|e| explain(dir, e))?;
        let db = sled_dir.join("db");
        let file = OpenOptions::new().read(true).write(true).open(&db).map_err(|e| disk::refused("open", &db, &e))?;
        let mut sled = Sled {
            dir: dir.into(),
            trees,
            file,
            large,
            mark: lock,
            count,
            logged: mark.log.max(count.applied),
            dropped: Vec::new(),
            blobs: BTreeSet::new(),
            written: Written::default(),
            reserve: RESERVE_BYTES,
            failed: None,
            sabotage,
        };
        sled.sync_names().map_err(|e| disk::refused("sync", &sled_dir, &e))?;
        Ok(sled)
    }

    /// Ends in order, so that the next start needs no probe. Dropping the engine instead is what a crash is.
    pub fn close(self) -> Result<(), StoreError> {
        let Sled { dir, trees, mark, count, logged, failed, .. } = self;
        if let Some(why) = failed {
            return Err(StoreError::Io(why));
        }
        let sled_dir = dir.join("sled");
        if !trees.close(&sled_dir) {
            return Err(StoreError::Io("the database does not let go of its files; the next start checks them".into()));
        }
        let seal = seal(&dir).map_err(|e| disk::refused("read", &dir, &e))?;
        mark.write(Mark { commit: count.commit, log: logged, seal: Some(seal) }, true)
            .map_err(|e| disk::refused("write", &dir.join("mark"), &e))?;
        Ok(())
    }

    /// Reads everything and holds it against what was counted and summed on the way in.
    pub fn verify(&self) -> Result<(), StoreError> {
        self.verify_rows()?;
        let lost = self.damaged_values()?;
        if lost.is_empty() { Ok(()) } else { Err(StoreError::Damaged(lost.join("; "))) }
    }

    /// The same without the files of large values.
    pub(super) fn verify_rows(&self) -> Result<(), StoreError> {
        self.trees.verify(self.count.commit).map_err(|e| explain(&self.dir, e))
    }

    /// What was handed over and written since the start.
    pub fn written(&self) -> Written {
        self.written
    }

    /// From now on commits leave only so much free.
    pub(super) fn set_reserve(&mut self, bytes: u64) {
        self.reserve = bytes;
    }

    /// Bytes that a commit may still add to the disk, about.
    pub(super) fn room_bytes(&self) -> u64 {
        disk::room_bytes(&self.dir).unwrap_or(u64::MAX)
    }

    /// The same of what may use what is kept free for accepted changes.
    pub(super) fn erasing_bytes(&self) -> u64 {
        disk::free_bytes(&self.dir).map_or(u64::MAX, |free| free.saturating_sub(disk::RESERVE_ACCEPTED_BYTES))
    }

    /// The number of the last frame of the message log whose changes are in the trees.
    pub(super) fn applied(&self) -> u64 {
        self.count.applied
    }

    /// The number of the last frame that the message log must have.
    pub(super) fn logged(&self) -> u64 {
        self.logged
    }

    /// Notes the last frame that the message log has on stable storage. It is written with the next mark.
    pub(super) fn note_logged(&mut self, number: u64) {
        self.logged = number;
    }

    /// Why no commit is possible any more.
    pub(super) fn failed(&self) -> Option<StoreError> {
        self.failed.clone().map(StoreError::Io)
    }

    /// Makes sled's files and their names durable, where they are new.
    fn sync_names(&mut self) -> io::Result<()> {
        let sled_dir = self.dir.join("sled");
        for entry in disk::entries(&sled_dir)? {
            if entry.file_type()?.is_file() {
                File::open(entry.path())?.sync_all()?;
            }
        }
        self.sync_blobs()?;
        disk::sync_dir(&sled_dir)?;
        disk::sync_dir(&self.dir)?;
        self.written.syncs += 1;
        Ok(())
    }

    /// sled puts a page of very long keys into a file that it does not sync.
    fn sync_blobs(&mut self) -> io::Result<()> {
        let dir = self.dir.join("sled").join("blobs");
        let entries = disk::patiently(|| disk::entries(&dir))?;
        let new: Vec<_> = entries.iter().filter(|entry| !self.blobs.contains(&entry.file_name())).collect();
        for entry in &new {
            match disk::patiently(|| File::open(entry.path())).and_then(|file| file.sync_all()) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
                _ => self.written.syncs += 1,
            }
        }
        if !new.is_empty() {
            disk::sync_dir(&dir)?;
        }
        if !new.is_empty() || entries.len() != self.blobs.len() {
            self.blobs = entries.iter().map(std::fs::DirEntry::file_name).collect();
        }
        Ok(())
    }

    /// Refuses what cannot be stored, before anything is changed.
    pub(super) fn check(&self, batches: &[Batch]) -> Result<(), StoreError> {
        let (mut bytes, mut puts) = (0_u64, false);
        for op in batches.iter().flat_map(|batch| &batch.ops).filter(|op| op.is_tree()) {
            bytes += CHANGE_BYTES;
            if let Op::Put(_, key, value) = op {
                if value.len() > VALUE_BYTES {
                    let len = value.len();
                    return Err(StoreError::Io(format!("a value of {len} bytes passes the limit of {VALUE_BYTES}")));
                }
                puts = true;
                // In sled a value is written again with its page, in a file of its own once.
                let times = if is_large(key, value) { 1 } else { 4 };
                bytes += (key.len() + value.len()) as u64 * times;
            }
        }
        disk::room(&self.dir, if puts { self.reserve + bytes } else { RESERVE_DELETING_BYTES })
    }

    /// Makes the changes; see [`Sled::commit_logged`]. `files` are those of the large values.
    fn apply(&mut self, batches: &[Batch], numbers: &[u64], mut files: VecDeque<Reference>) -> Result<(), StoreError> {
        let mut group = Group { changes: Vec::new(), applied: self.count.applied };
        for (n, batch) in batches.iter().enumerate() {
            let mut first = Vec::new();
            if batch.ops.iter().any(|op| matches!(op, Op::DeleteAll(..))) {
                self.transact(&mut group)?;
                first = self.delete_all(batch)?;
            }
            if group.changes.len() + first.len() + batch.ops.len() > TRANSACTION_OPS {
                self.transact(&mut group)?;
            }
            if let Some(number) = numbers.get(n) {
                group.applied = group.applied.max(*number);
            }
            group.changes.append(&mut first);
            group.changes.extend(batch.ops.iter().filter_map(|op| match op {
                Op::Put(tree, key, value) => {
                    let tagged = if is_large(key, value) {
                        // One was written for each of them.
                        [&[REFERENCE], &*files.pop_front()?.to_bytes()].concat()
                    } else {
                        [&[INLINE], &**value].concat()
                    };
                    Some(Change { tree: at(*tree), key: Cow::Borrowed(key), value: Some(tagged) })
                }
                Op::Delete(tree, key) => Some(Change { tree: at(*tree), key: Cow::Borrowed(key), value: None }),
                // The log's are not for the trees.
                Op::DeleteAll(..) | Op::Append(_) | Op::Trim { .. } => None,
            }));
        }
        self.transact(&mut group)
    }

    /// Writes the files of all large values, in the order of the changes, names and all.
    fn write_large(&mut self, batches: &[Batch]) -> Result<VecDeque<Reference>, StoreError> {
        let mut files = VecDeque::new();
        for op in batches.iter().flat_map(|batch| &batch.ops) {
            if let Op::Put(_, key, value) = op
                && is_large(key, value)
            {
                match self.large.write(value) {
                    Ok(file) => files.push_back(file),
                    Err(e) => {
                        files.iter().for_each(|file| self.large.remove(file.number));
                        return Err(e);
                    }
                }
                self.written.bytes += value.len() as u64;
                self.written.syncs += 1;
            }
        }
        if !files.is_empty() {
            if let Err(e) = self.large.sync() {
                files.iter().for_each(|file| self.large.remove(file.number));
                return Err(e);
            }
            self.written.syncs += 1;
        }
        Ok(files)
    }

    /// Makes the wide deletions of a batch in steps, until what is left fits into the transaction of the rest of the batch.
    fn delete_all(&mut self, batch: &Batch) -> Result<Vec<Change<'static>>, StoreError> {
        let room = TRANSACTION_OPS.saturating_sub(batch.ops.len());
        loop {
            let mut step = Vec::new();
            for op in &batch.ops {
                let Op::DeleteAll(tree, prefix) = op else { continue };
                for row in self.trees.all[at(*tree)].scan_prefix(prefix) {
                    let (key, _) = row.map_err(|e| failed(&e))?;
                    step.push(Change { tree: at(*tree), key: Cow::Owned(key.to_vec()), value: None });
                    if step.len() > TRANSACTION_OPS {
                        break;
                    }
                }
            }
            if step.len() <= room {
                return Ok(step);
            }
            step.truncate(TRANSACTION_OPS);
            self.transact(&mut Group { changes: step, applied: self.count.applied })?;
        }
    }

    /// Makes the changes in one transaction and forgets them.
    fn transact(&mut self, group: &mut Group) -> Result<(), StoreError> {
        let (changes, applied) = (std::mem::take(&mut group.changes), group.applied);
        if self.sabotage == Sabotage::NoTransaction {
            return (Tree::ALL.into_iter().map(at))
                .try_for_each(|tree| self.transaction(changes.iter().filter(|c| c.tree == tree), applied));
        }
        self.transaction(changes.iter(), applied)
    }

    fn transaction<'a>(
        &mut self,
        changes: impl Iterator<Item = &'a Change<'a>> + Clone,
        applied: u64,
    ) -> Result<(), StoreError> {
        let done = self.trees.all.as_slice().transaction(|trees: &Vec<TransactionalTree>| {
            let (mut count, mut dropped, mut bytes) = (self.count, Vec::new(), 0_u64);
            for Change { tree, key, value } in changes.clone() {
                let old = trees[*tree].get(key)?;
                if old.as_deref() == value.as_deref() {
                    continue;
                }
                bytes += (key.len() + value.as_ref().map_or(0, Vec::len)) as u64;
                if let Some(old) = old {
                    count.remove(*tree, key, &old);
                    if let Some(number) = large_number(&old).map_err(Stop::Abort)? {
                        dropped.push(number);
                        trees[ENGINE].remove(large_key(number))?;
                    }
                }
                match value {
                    Some(value) => {
                        count.add(*tree, key, value);
                        if let Some(number) = large_number(value).map_err(Stop::Abort)? {
                            trees[ENGINE].insert(large_key(number), &*Note::bytes_of(&value[1..], *tree, key))?;
                        }
                        trees[*tree].insert(&**key, &**value)?;
                    }
                    None => {
                        trees[*tree].remove(&**key)?;
                    }
                }
            }
            // Also if nothing changes: later the same change could undo what came in between.
            if bytes > 0 || applied > count.applied {
                count.commit += 1;
                count.applied = applied.max(count.applied);
                trees[ENGINE].insert(COUNT, &*count.to_bytes())?;
            }
            Ok((count, dropped, bytes))
        });
        let (count, dropped, bytes) = done.map_err(|e| match e {
            TransactionError::Abort(e) => e,
            TransactionError::Storage(e) => failed(&e),
        })?;
        self.count = count;
        self.dropped.extend(dropped);
        self.written.accepted += bytes;
        Ok(())
    }

    /// Waits until all transactions are on stable storage.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.written.bytes += self.trees.flush()?;
        if self.sabotage != Sabotage::NoSync {
            let synced = self.file.sync_data().and_then(|()| self.sync_blobs());
            synced.map_err(|e| failed(&sled::Error::Io(e)))?;
            self.written.syncs += 1;
        }
        match self.mark.write(Mark { commit: self.count.commit, log: self.logged, seal: None }, false) {
            Ok(bytes) => self.written.bytes += bytes,
            // The changes are durable; the mark only helps to see damage later.
            Err(e) => log::warn!("cannot write {}: {e}", self.dir.join("mark").display()),
        }
        for number in std::mem::take(&mut self.dropped) {
            self.large.remove(number);
        }
        Ok(())
    }

    /// The value behind its tag; nothing if its file is damaged: that costs the value alone. It stays, for when the file comes back.
    fn whole(&self, tree: Tree, key: &[u8], value: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match self.decode(value) {
            Err(StoreError::Damaged(why)) if value.first() == Some(&REFERENCE) => {
                log::error!("{why}: it is {}. All else is served", super::salvage::words(tree, key));
                Ok(None)
            }
            value => value.map(Some),
        }
    }

    /// Whose large values are damaged, in words; reads all of them.
    pub(super) fn damaged_values(&self) -> Result<Vec<String>, StoreError> {
        let mut lost = Vec::new();
        for tree in Tree::ALL {
            for row in self.trees.all[at(tree)].iter() {
                let (key, value) = row.map_err(|e| explain(&self.dir, failed(&e)))?;
                if value.first() == Some(&REFERENCE)
                    && let Err(e) = self.decode(&value)
                {
                    lost.push(format!("{e}: it is {}", super::salvage::words(tree, &key)));
                }
            }
        }
        Ok(lost)
    }

    /// The value behind its tag.
    fn decode(&self, value: &[u8]) -> Result<Bytes, StoreError> {
        match value.split_first() {
            Some((&INLINE, value)) => Ok(value.into()),
            Some((&REFERENCE, reference)) => self.large.read(&Reference::from_bytes(reference)?),
            _ => Err(super::record::Broken.into()),
        }
    }
}

impl Sled {
    /// [`Engine::commit`] for the changes of the trees. `numbers` are those of the frames in the message log
    /// of the first of the batches; the others have none.
    pub(super) fn commit_logged(&mut self, batches: &[Batch], numbers: &[u64]) -> Result<(), StoreError> {
        if let Some(why) = &self.failed {
            return Err(StoreError::Io(why.clone()));
        }
        if !batches.iter().any(Batch::changes_trees) {
            return Ok(());
        }
        // What fails up to here has hurt nothing, whatever it is: no room, no descriptor, a folder that may not be written.
        self.check(batches)?;
        let files = self.write_large(batches)?;
        let before = self.count.commit;
        let applied = self.apply(batches, numbers, files);
        let Err(e) = applied.and_then(|()| if self.count.commit > before { self.sync() } else { Ok(()) }) else {
            return Ok(());
        };
        self.dropped.clear();
        // Nobody knows what is on the disk.
        let why = format!(
            "{}. Nothing more is stored until the server is started again; what was acknowledged is kept. \
             The next start looks at all of it first, and says what to do if something is lost",
            explain(&self.dir, e)
        );
        self.failed = Some(why.clone());
        // sled would sync once more when it is dropped, and panic if that fails.
        std::mem::forget(self.trees.db.clone());
        std::mem::forget(self.trees.all.clone());
        Err(StoreError::Io(why))
    }
}

/// Of the trees alone: what is for the log is passed over.
impl Engine for Sled {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        self.commit_logged(batches, &[])
    }

    fn query(&mut self, query: &Query) -> Result<Rows, StoreError> {
        match query {
            Query::Get(tree, key) => {
                let value = self.trees.all[at(*tree)].get(key).map_err(|e| failed(&e))?;
                let Some(value) = value else { return Ok(Rows::new()) };
                Ok(self.whole(*tree, key, &value)?.map(|value| (key.clone(), value)).into_iter().collect())
            }
            Query::Scan { tree, prefix, after, rows, bytes } => {
                let from = match after {
                    Some(after) if after >= prefix => Bound::Excluded(&**after),
                    _ => Bound::Included(&**prefix),
                };
                let (mut out, mut size) = (Rows::new(), 0);
                for row in self.trees.all[at(*tree)].range::<&[u8], _>((from, Bound::Unbounded)) {
                    let (key, value) = row.map_err(|e| failed(&e))?;
                    if !key.starts_with(prefix) || out.len() >= *rows || size >= *bytes {
                        break;
                    }
                    let Some(value) = self.whole(*tree, &key, &value)? else { continue };
                    size += key.len() + value.len();
                    out.push(((*key).into(), value));
                }
                Ok(out)
            }
            Query::Archive(_) | Query::Entries { .. } | Query::Since { .. } | Query::Edge => Ok(Rows::new()),
        }
    }
}

/// Whether a value gets a file of its own.
fn is_large(key: &[u8], value: &[u8]) -> bool {
    key.len().saturating_add(value.len()) > INLINE_BYTES
}

/// The number of the file a tagged value stands in, if it does.
fn large_number(value: &[u8]) -> Result<Option<u64>, StoreError> {
    match value.split_first() {
        Some((&REFERENCE, reference)) => Ok(Some(Reference::from_bytes(reference)?.number)),
        _ => Ok(None),
    }
}

/// Puts the owner's next steps to damage that was found in the database in `dir`.
pub fn explain(dir: &Path, e: StoreError) -> StoreError {
    match e {
        StoreError::Damaged(why) => probe::damaged(dir, &why),
        e => e,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{key, memory::Memory, scratch};

    fn get(engine: &mut dyn Engine, tree: Tree, key: &[u8]) -> Option<Bytes> {
        engine.query(&Query::Get(tree, key.into())).unwrap().pop().map(|(_, value)| value)
    }

    fn all(engine: &mut dyn Engine, tree: Tree) -> Rows {
        let (prefix, after) = (Bytes::default(), None);
        engine.query(&Query::Scan { tree, prefix, after, rows: usize::MAX, bytes: usize::MAX }).unwrap()
    }

    #[test]
    fn values_of_every_size_come_back_and_survive_a_restart() {
        let dir = scratch("sizes");
        let mut sled = Sled::open(&dir, None).unwrap();
        let mut batch = Batch::default();
        let sizes = [0, 1, INLINE_BYTES - 2, INLINE_BYTES - 1, INLINE_BYTES, 100_000, VALUE_BYTES];
        for size in sizes {
            batch.put(Tree::Vcard, size.to_be_bytes(), vec![size as u8; size]);
        }
        sled.commit(&[batch]).unwrap();
        for _ in 0..2 {
            for size in sizes {
                assert_eq!(get(&mut sled, Tree::Vcard, &size.to_be_bytes()).unwrap(), vec![size as u8; size].into());
            }
            sled.verify().unwrap();
            sled.close().unwrap();
            sled = Sled::open(&dir, None).unwrap();
        }
        let mut batch = Batch::default();
        batch.put(Tree::Vcard, *b"k", vec![0; VALUE_BYTES + 1]);
        assert!(matches!(sled.commit(&[batch]), Err(StoreError::Io(_))));
        assert_eq!(all(&mut sled, Tree::Vcard).len(), sizes.len());
        sled.commit(&[Batch::default()]).unwrap();
    }

    #[test]
    fn a_copy_is_checked_where_no_process_can_be_started() {
        let dir = scratch("alone");
        let open = || Sled::open(&dir, Some(Command::new("/nowhere")));
        let mut sled = open().unwrap();
        let mut batch = Batch::default();
        batch.put(Tree::Vcard, *b"k", vec![1; 5000]);
        sled.commit(&[batch]).unwrap();
        drop(sled);
        assert_eq!(get(&mut open().unwrap(), Tree::Vcard, b"k").unwrap().len(), 5000);
        let mut db = std::fs::read(dir.join("sled/db")).unwrap();
        db[600] ^= 1;
        std::fs::write(dir.join("sled/db"), db).unwrap();
        assert!(matches!(open(), Err(StoreError::Damaged(_))));
        // Nothing is left of the copies.
        let left = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("probe-");
        assert!(!disk::entries(&dir).unwrap().iter().any(left));
    }

    #[test]
    fn files_of_large_values_go_when_nothing_refers_to_them() {
        let dir = scratch("drop");
        let files = || disk::entries(&dir.join("large")).unwrap().len();
        let mut sled = Sled::open(&dir, None).unwrap();
        let put = |size: usize| Batch {
            low: u64::MAX,
            ops: vec![Op::Put(Tree::Vcard, (*b"k").into(), vec![1; size].into())],
        };
        sled.commit(&[put(5000), put(6000)]).unwrap();
        assert_eq!(files(), 1);
        assert_eq!(get(&mut sled, Tree::Vcard, b"k").unwrap().len(), 6000);
        sled.commit(&[put(10)]).unwrap();
        assert_eq!(files(), 0);
        sled.commit(&[put(7000)]).unwrap();
        let mut batch = Batch::default();
        batch.delete(Tree::Vcard, *b"k");
        sled.commit(&[batch]).unwrap();
        assert_eq!(files(), 0);
        sled.verify().unwrap();
    }

    #[test]
    fn wide_deletions_come_before_the_rest_of_their_batch() {
        let dir = scratch("delete-all");
        let mut sled = Sled::open(&dir, None).unwrap();
        for user in ["romeo", "juliet", "julietta"] {
            let batches: Vec<Batch> = (0..230)
                .map(|n| {
                    let mut batch = Batch::default();
                    batch.put(Tree::Offline, key::numbered(user, n), vec![0; if n == 7 { 9000 } else { 100 }]);
                    batch
                })
                .collect();
            sled.commit(&batches).unwrap();
        }
        let mut batch = Batch::default();
        batch.put(Tree::Offline, key::numbered("juliet", 1), *b"new");
        batch.delete_all(Tree::Offline, key::prefix("juliet"));
        for _ in 0..2 {
            sled.commit(std::slice::from_ref(&batch)).unwrap();
            let rows = all(&mut sled, Tree::Offline);
            assert_eq!(rows.len(), 230 + 1 + 230);
            assert_eq!(get(&mut sled, Tree::Offline, &key::numbered("juliet", 1)).unwrap(), (*b"new").into());
        }
        assert_eq!(disk::entries(&dir.join("large")).unwrap().len(), 2);
        sled.verify().unwrap();
    }

    #[test]
    fn pages_are_read_one_behind_the_other() {
        let dir = scratch("pages");
        let mut engines: [Box<dyn Engine>; 2] = [Box::new(Sled::open(&dir, None).unwrap()), Box::<Memory>::default()];
        for engine in &mut engines {
            let mut batch = Batch::default();
            for n in 0..20 {
                batch.put(Tree::Offline, key::numbered("juliet", n), vec![n as u8; 100]);
            }
            batch.put(Tree::Offline, key::numbered("julia", 0), *b"other");
            batch.put(Tree::Offline, key::numbered("romeo", 0), *b"other");
            engine.commit(&[batch]).unwrap();
            for (rows, bytes, page) in
                [(7, usize::MAX, 7), (usize::MAX, 330, 3), (1, 1, 1), (usize::MAX, usize::MAX, 20)]
            {
                let (mut after, mut seen) = (None, Vec::new());
                loop {
                    let prefix = key::prefix("juliet");
                    let found = engine.query(&Query::Scan { tree: Tree::Offline, prefix, after, rows, bytes }).unwrap();
                    let Some((last, _)) = found.last() else { break };
                    assert!(found.len() <= page);
                    after = Some(last.clone());
                    seen.extend(found.iter().filter_map(|(k, _)| key::number(k)));
                }
                assert_eq!(seen, (0..20).collect::<Vec<_>>());
            }
            let query = |rows, bytes| Query::Scan {
                tree: Tree::Offline,
                prefix: key::prefix("juliet"),
                after: None,
                rows,
                bytes,
            };
            assert!(engine.query(&query(0, 9)).unwrap().is_empty() && engine.query(&query(9, 0)).unwrap().is_empty());
        }
    }

    #[test]
    fn it_does_what_the_engine_in_memory_does() {
        let dir = scratch("model");
        let (mut sled, mut memory) = (Sled::open(&dir, None).unwrap(), Memory::default());
        let mut state = 1_u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..60 {
            let batches: Vec<Batch> = (0..random(4))
                .map(|_| {
                    let mut batch = Batch::default();
                    if random(9) == 0 {
                        batch.delete_all(Tree::ALL[random(Tree::ALL.len() as u64) as usize], [random(3) as u8]);
                    }
                    for _ in 0..random(20) {
                        let (tree, key) =
                            (Tree::ALL[random(Tree::ALL.len() as u64) as usize], [random(3) as u8, random(9) as u8]);
                        match random(3) {
                            0 => batch.delete(tree, key),
                            _ => batch.put(tree, key, vec![round; random(6000) as usize]),
                        }
                    }
                    batch
                })
                .collect();
            sled.commit(&batches).unwrap();
            memory.commit(&batches).unwrap();
            if round % 20 == 0 {
                sled.close().unwrap();
                sled = Sled::open(&dir, None).unwrap();
            }
            for tree in Tree::ALL {
                assert_eq!(all(&mut sled, tree), all(&mut memory, tree), "round {round}");
            }
        }
        sled.verify().unwrap();
    }

    #[test]
    fn one_process_has_it() {
        let dir = scratch("locked");
        let sled = Sled::open(&dir, None).unwrap();
        let Err(StoreError::Locked(words)) = Sled::open(&dir, None) else { panic!("opened twice") };
        assert!(words.contains("running already"));
        sled.close().unwrap();
        Sled::open(&dir, None).unwrap();
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let dir = scratch("newer");
        Sled::open(&dir, None).unwrap().close().unwrap();
        let trees = Trees::open(&dir.join("sled")).unwrap();
        trees.all[ENGINE].insert("schema", &*crate::store::record::Writer::new(1).u32(SCHEMA + 1).done()).unwrap();
        assert!(trees.close(&dir.join("sled")));
        let Err(StoreError::Newer(words)) = Sled::open(&dir, None) else { panic!("not refused") };
        assert!(words.contains(&format!("layout {}", SCHEMA + 1)) && words.contains("newer version"));
    }

    #[test]
    fn what_changes_nothing_writes_nothing() {
        let dir = scratch("nothing");
        let mut sled = Sled::open(&dir, None).unwrap();
        let mut batch = Batch::default();
        batch.put(Tree::Meta, *b"k", *b"v");
        sled.commit(std::slice::from_ref(&batch)).unwrap();
        let written = sled.written();
        let mut gone = Batch::default();
        gone.delete(Tree::Meta, *b"other");
        gone.delete_all(Tree::Roster, *b"");
        sled.commit(&[batch, gone, Batch::default()]).unwrap();
        sled.commit(&[]).unwrap();
        assert_eq!(sled.written(), written);
    }
}
