//! sled itself: how it is opened, which trees it has, what it keeps in its own rows, and what its errors mean to the owner.

use super::large::Note;
use super::record::{Broken, Reader, Writer};
use super::{Bytes, StoreError, Tree, disk, mark};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Bytes of pages sled keeps in memory.
const CACHE_BYTES: u64 = 2 * 1024 * 1024;

/// The layout of trees, keys and tags this version writes and reads.
///
/// It stands in a tree of the engine's own, `engine`, under the key `schema`, so that no row of [`Tree::Meta`] is special.
/// What a record holds is versioned in the record.
pub const SCHEMA: u32 = 3;

/// How long sled may need to let go of its files.
const RELEASE: Duration = Duration::from_secs(2);

/// How often to look whether sled has failed while it writes.
const LOOK: Duration = Duration::from_millis(200);

/// The number of the engine's own tree, which has `schema`, `count`, and a row for each large value. No tree of ours ever gets it.
pub(super) const ENGINE: usize = 13;

/// Trees in sled, with the engine's.
const TREES: usize = Tree::ALL.len() + 1;

/// What sled calls the trees, each at the place of its number. New ones are made in this order, which [`super::scan`] knows.
pub(super) const NAMES: [&str; TREES] = {
    let mut names = ["engine"; TREES];
    let mut n = 0;
    while n < Tree::ALL.len() {
        assert!(at(Tree::ALL[n]) != ENGINE, "this number is taken");
        names[at(Tree::ALL[n])] = Tree::ALL[n].name();
        n += 1;
    }
    names
};

/// The key of [`Count`].
pub(super) const COUNT: &[u8] = b"count";

pub(super) const SCHEMA_KEY: &[u8] = b"schema";
pub(super) const LARGE_PREFIX: &[u8] = b"large/";

/// The tag of a value that stands in sled as it is.
pub(super) const INLINE: u8 = 0;
/// The tag of a value that stands in a file of its own; a reference follows.
pub(super) const REFERENCE: u8 = 1;

/// The place of a tree among all of them.
pub(super) const fn at(tree: Tree) -> usize {
    tree.number() as usize
}

/// The key that keeps a large value from being swept.
pub(super) fn large_key(number: u64) -> Vec<u8> {
    [LARGE_PREFIX, &number.to_be_bytes()].concat()
}

/// What the trees hold, counted along with every transaction, so that a loss is seen that sled does not see: its recovery
/// takes damage in the newest part of its log for a torn write and goes on without a word.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Count {
    /// The transactions so far.
    pub(super) commit: u64,
    /// The rows in all trees but the engine's.
    pub(super) rows: u64,
    /// The sum of their hashes.
    pub(super) sum: u64,
    /// The last frame of the message log whose changes have been made.
    pub(super) applied: u64,
}

impl Count {
    pub(super) fn add(&mut self, tree: usize, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(hash(tree, key, value));
    }

    pub(super) fn remove(&mut self, tree: usize, key: &[u8], value: &[u8]) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(hash(tree, key, value));
    }

    pub(super) fn to_bytes(self) -> Bytes {
        Writer::new(2).u64(self.commit).u64(self.rows).u64(self.sum).u64(self.applied).done()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Count, Broken> {
        let mut record = Reader::new(bytes)?;
        let (commit, rows, sum) = (record.u64()?, record.u64()?, record.u64()?);
        // The first layout knew no log.
        let applied = if record.version >= 2 { record.u64()? } else { 0 };
        Ok(Count { commit, rows, sum, applied })
    }
}

/// FNV-1a, 64 bits: against accidents, not against an attacker, who could write the sum as well.
fn hash(tree: usize, key: &[u8], value: &[u8]) -> u64 {
    let fold = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3);
    let len = (key.len() as u64).to_le_bytes();
    let parts = [&[tree as u8][..], &len, key, value];
    parts.iter().fold(0xcbf2_9ce4_8422_2325, |h, part| part.iter().fold(h, fold))
}

/// An open sled with its trees, each at the place of its number, the engine's with them.
#[derive(Debug)]
pub(super) struct Trees {
    config: sled::Config,
    pub(super) db: sled::Db,
    pub(super) all: Vec<sled::Tree>,
}

impl Trees {
    /// Opens or makes sled in `dir`. On damage it may also panic, hang, or have rewritten the files: probe a copy first.
    pub(super) fn open(dir: &Path) -> Result<Trees, StoreError> {
        // A crash can leave a half-written snapshot, which sled would take for the newest and find broken, for ever.
        for entry in disk::entries(dir).map_err(|e| disk::refused("read", dir, &e))? {
            if entry.file_name().as_encoded_bytes().ends_with(b".generating") {
                disk::remove(&entry.path()).map_err(|e| disk::refused("remove", &entry.path(), &e))?;
            }
        }
        let config = sled::Config::new().path(dir).flush_every_ms(None).cache_capacity(CACHE_BYTES);
        let opened = (|| {
            let db = config.open()?;
            let all = NAMES.iter().map(|name| db.open_tree(name)).collect::<sled::Result<_>>()?;
            Ok(Trees { config: config.clone(), db, all })
        })();
        opened.map_err(|e| opening(dir, &e))
    }

    /// Has sled write out everything.
    ///
    /// When a disk fails late, sled's own flush waits for ever: the thread that writes the end of a transaction notes the error,
    /// and wakes nobody. So sled waits in a thread of its own, and the note is looked at now and then.
    /// Returns the bytes that were written meanwhile.
    pub(super) fn flush(&self) -> Result<u64, StoreError> {
        let (done, wait) = mpsc::sync_channel(1);
        let db = self.db.clone();
        // If the disk has failed, the thread stays, and keeps sled from syncing again when it is dropped.
        let flush = move || drop(done.send(db.flush()));
        let thread = std::thread::Builder::new().name("store-flush".into()).spawn(flush);
        let thread = thread.map_err(|e| StoreError::Io(format!("cannot start a thread to write the database: {e}")))?;
        loop {
            match wait.recv_timeout(LOOK) {
                Ok(flushed) => {
                    // So that its handle is gone when the last one is dropped.
                    let _ = thread.join();
                    return flushed.map(|bytes| bytes as u64).map_err(|e| failed(&e));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => self.config.global_error().map_err(|e| failed(&e))?,
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(StoreError::Io(
                        "sled ended while it wrote the database; start the server again".into(),
                    ));
                }
            }
        }
    }

    /// Lets go of the files and waits until sled's threads did. Returns whether they did.
    pub(super) fn close(self, dir: &Path) -> bool {
        drop(self);
        let end = Instant::now() + RELEASE;
        loop {
            let free = std::fs::File::open(dir.join("db")).is_ok_and(|file| {
                rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_ok()
            });
            if free || Instant::now() > end {
                return free;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The layout the rows have; none in a new database.
    pub(super) fn schema(&self) -> Result<Option<u32>, StoreError> {
        let Some(row) = self.all[ENGINE].get(SCHEMA_KEY).map_err(|e| failed(&e))? else { return Ok(None) };
        Ok(Some(Reader::new(&row)?.u32()?))
    }

    /// Brings an older layout up to date, and marks a new database; a newer one has been refused.
    pub(super) fn migrate(&self, found: Option<u32>) -> Result<(), StoreError> {
        if found == Some(SCHEMA) {
            return Ok(());
        }
        // An older layout is brought up to date here, one step for each version. From 1 to 2 only what is counted has changed,
        // and is read in both forms; from 2 to 3 trees were added.
        let row = Writer::new(1).u32(SCHEMA).done();
        self.all[ENGINE].insert(SCHEMA_KEY, &*row).map_err(|e| failed(&e))?;
        Ok(())
    }

    /// What the transactions have counted.
    pub(super) fn count(&self) -> Result<Count, StoreError> {
        match self.all[ENGINE].get(COUNT).map_err(|e| failed(&e))? {
            Some(row) => Ok(Count::from_bytes(&row)?),
            None => Ok(Count::default()),
        }
    }

    /// All large values: their numbers, and what is noted of them.
    pub(super) fn large(&self) -> Result<BTreeMap<u64, Option<Note>>, StoreError> {
        let rows = self.all[ENGINE].scan_prefix(LARGE_PREFIX);
        rows.map(|row| {
            let (key, note) = row.map_err(|e| failed(&e))?;
            let tail = key[LARGE_PREFIX.len()..].try_into().map_err(|_| Broken)?;
            Ok((u64::from_be_bytes(tail), Note::from_bytes(&note)))
        })
        .collect()
    }

    /// Reads every row and holds it against what was counted, and the last commit against the mark.
    pub(super) fn verify(&self, marked: u64) -> Result<(), StoreError> {
        let count = self.count()?;
        if count.commit < marked {
            let lost = marked - count.commit;
            return Err(StoreError::Damaged(format!("the newest {lost} of {marked} changes are missing")));
        }
        let mut found = Count { commit: count.commit, applied: count.applied, ..Count::default() };
        for tree in Tree::ALL {
            for row in self.all[at(tree)].iter() {
                let (key, value) = row.map_err(|e| failed(&e))?;
                found.add(at(tree), &key, &value);
            }
        }
        if found != count {
            let (found, counted) = (found.rows, count.rows);
            return Err(StoreError::Damaged(format!(
                "{found} rows are there that should be {counted}, or their contents differ"
            )));
        }
        Ok(())
    }
}

/// What sled's error means while it runs.
pub(super) fn failed(e: &sled::Error) -> StoreError {
    match e {
        sled::Error::Io(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => StoreError::Io(format!(
            "the database could not be read or written: {e}. Look at the disk (dmesg, free room)"
        )),
        e => StoreError::Damaged(format!("the database is damaged: {e}")),
    }
}

/// What sled's error means when it is opened.
fn opening(dir: &Path, e: &sled::Error) -> StoreError {
    match e {
        sled::Error::Io(e) if e.to_string().starts_with("could not acquire lock") => mark::locked(&dir.join("db")),
        sled::Error::Io(e) if e.kind() != std::io::ErrorKind::UnexpectedEof => disk::refused("open", dir, e),
        e => failed(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_sees_what_moves_and_forgets_what_goes() {
        let mut count = Count::default();
        count.add(1, b"k", b"v");
        let one = count;
        count.add(2, b"k", b"v");
        count.remove(2, b"k", b"v");
        assert_eq!(count, one);
        let hashes =
            std::collections::BTreeSet::from([hash(1, b"ab", b"c"), hash(1, b"a", b"bc"), hash(2, b"ab", b"c")]);
        assert_eq!(hashes.len(), 3);
        assert_eq!(Count::from_bytes(&count.to_bytes()), Ok(count));
    }

    /// The sum stands on disks, and so does a tree's number in it.
    #[test]
    fn the_sum_is_the_one_on_disks() {
        assert_eq!(hash(2, b"key", b"value"), 0x1b6f_f0fb_a788_77a2);
        assert_eq!(Count { commit: 1, rows: 2, sum: 3, applied: 4 }.to_bytes()[..10], [2, 1, 0, 0, 0, 0, 0, 0, 0, 2]);
    }

    #[test]
    fn each_name_stands_at_its_number() {
        let names = ["meta", "account", "roster", "block", "private", "vcard", "offline", "archive"];
        let more = ["room", "node", "item", "push", "token", "engine"];
        assert_eq!(NAMES[..14], [&names[..], &more[..]].concat());
        assert_eq!(NAMES[ENGINE], "engine");
    }
}
