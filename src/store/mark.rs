//! The file `mark` beside the database: who has it open, whether it was closed in order, and how far it had come.
//!
//! - Its lock keeps a second process out before anything is touched.
//! - It names the last commit. It is written after that commit is on stable storage, and not synced by itself, so it costs no
//!   sync and is never ahead of the database: a database that is behind its mark has lost something.
//! - A close in order writes a seal, the digest of all files of the database. If it holds at the next start, the files are
//!   what sled left, and need no probe.

use super::{StoreError, disk};
use ring::digest::{Context, SHA256, digest};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the system may need to let go of files.
const RELEASE: Duration = Duration::from_secs(1);

const MAGIC: &[u8; 8] = b"inglmark";
const VERSION: u8 = 2;
/// magic, version, whether there is a seal, commit number, frame number, seal, checksum of all that.
const MARK_BYTES: usize = 8 + 1 + 1 + 8 + 8 + 32 + 8;
const SUM_AT: usize = MARK_BYTES - 8;

/// What the file says.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Mark {
    /// The number of the last commit known to be on stable storage.
    pub(super) commit: u64,
    /// The number of the last frame of the message log known to be on stable storage.
    pub(super) log: u64,
    /// The digest of the database's files, if it was closed in order.
    pub(super) seal: Option<[u8; 32]>,
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let mut sum = [0; 8];
    sum.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..8]);
    sum
}

impl Mark {
    fn to_bytes(self) -> [u8; MARK_BYTES] {
        let mut out = [0; MARK_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8] = VERSION;
        out[9] = self.seal.is_some().into();
        out[10..18].copy_from_slice(&self.commit.to_le_bytes());
        out[18..26].copy_from_slice(&self.log.to_le_bytes());
        out[26..SUM_AT].copy_from_slice(&self.seal.unwrap_or_default());
        let sum = checksum(&out[..SUM_AT]);
        out[SUM_AT..].copy_from_slice(&sum);
        out
    }

    /// What the file at `path` says. A torn, missing or older one says nothing, which only makes the next start more careful.
    pub(super) fn read(path: &Path) -> Result<Mark, StoreError> {
        let mut bytes = Vec::new();
        match File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(disk::refused("read", path, &e)),
            Ok(_) => {}
        }
        // Newer ones end with such a checksum, too. A flipped bit makes none.
        let whole = bytes.split_last_chunk::<8>().is_some_and(|(rest, sum)| checksum(rest) == *sum);
        if whole && bytes.len() > 16 && bytes.starts_with(MAGIC) && bytes[8] > VERSION {
            return Err(newer(u32::from(bytes[8]), u32::from(VERSION)));
        }
        if !whole || bytes.len() != MARK_BYTES || bytes[..8] != *MAGIC || bytes[8] != VERSION {
            return Ok(Mark::default());
        }
        let number = |at: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&bytes[at..at + 8]);
            u64::from_le_bytes(number)
        };
        let mut seal = [0; 32];
        seal.copy_from_slice(&bytes[26..SUM_AT]);
        Ok(Mark { commit: number(10), log: number(18), seal: (bytes[9] == 1).then_some(seal) })
    }
}

/// The refusal of what a newer version wrote.
pub(super) fn newer(found: u32, known: u32) -> StoreError {
    StoreError::Newer(format!(
        "the data was written by a newer version of inglenook (layout {found}; this one knows up to {known}). \
         Nothing was changed. Install the newer version again, or restore a backup made with this one"
    ))
}

/// The open and locked file.
#[derive(Debug)]
pub(super) struct MarkFile {
    file: File,
}

impl MarkFile {
    /// Opens or makes the file and locks it; the lock ends with the process at the latest.
    pub(super) fn lock(path: &Path) -> Result<MarkFile, StoreError> {
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(|e| disk::refused("open", path, &e))?;
        patient(|| match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => Err(locked(path)),
            done => done.map_err(|e| disk::refused("lock", path, &e.into())),
        })?;
        Ok(MarkFile { file })
    }

    /// Writes the mark, and waits for the disk if `sync`. Returns the bytes written.
    pub(super) fn write(&self, mark: Mark, sync: bool) -> io::Result<u64> {
        self.file.write_all_at(&mark.to_bytes(), 0)?;
        if sync {
            // Behind it nothing may stand: a mark of another length says nothing.
            self.file.set_len(MARK_BYTES as u64)?;
            self.file.sync_all()?;
        }
        Ok(MARK_BYTES as u64)
    }
}

/// Opens what may have been this process's own until now: the system may need a moment to let go of it, and so does a child that has not
/// begun its own program yet.
pub(super) fn patient<T>(mut open: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(StoreError::Locked(_)) if begun.elapsed() < RELEASE => std::thread::sleep(Duration::from_millis(5)),
            opened => return opened,
        }
    }
}

/// The refusal when another process has the database.
pub(super) fn locked(path: &Path) -> StoreError {
    let dir = path.parent().unwrap_or(path).display();
    StoreError::Locked(format!(
        "another process has the database in {dir} open: is the server running already? Stop that one first"
    ))
}

/// The digest of all files of the database in `dir`: names, lengths, contents; of those in `large` without the contents,
/// which are checked when they are read.
pub(super) fn seal(dir: &Path) -> io::Result<[u8; 32]> {
    let mut context = Context::new(&SHA256);
    digest_dir(&dir.join("sled"), true, &mut context)?;
    digest_dir(&dir.join("large"), false, &mut context)?;
    let mut seal = [0; 32];
    seal.copy_from_slice(context.finish().as_ref());
    Ok(seal)
}

fn digest_dir(dir: &Path, contents: bool, context: &mut Context) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let entries = disk::entries(dir)?;
    context.update(&(entries.len() as u64).to_le_bytes());
    for entry in entries {
        let (name, meta) = (entry.file_name(), entry.metadata()?);
        let len = if meta.is_dir() { u64::MAX } else { meta.len() };
        context.update(&(name.len() as u64).to_le_bytes());
        context.update(name.as_encoded_bytes());
        context.update(&len.to_le_bytes());
        if meta.is_dir() {
            digest_dir(&entry.path(), contents, context)?;
            continue;
        }
        if !contents {
            continue;
        }
        let mut file = File::open(entry.path())?;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                n => context.update(&buffer[..n]),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_comes_back_and_a_broken_one_says_nothing() {
        let dir = crate::store::scratch("mark");
        let path = dir.join("mark");
        assert_eq!(Mark::read(&path).unwrap(), Mark::default());
        let file = MarkFile::lock(&path).unwrap();
        let mark = Mark { commit: 7, log: 8, seal: Some([9; 32]) };
        file.write(mark, true).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), mark);
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            std::fs::write(&path, &bad).unwrap();
            assert_eq!(Mark::read(&path).unwrap(), Mark::default(), "byte {at}");
        }
        std::fs::write(&path, [&good[..], b"more"].concat()).unwrap();
        file.write(mark, true).unwrap();
        assert_eq!(Mark::read(&path).unwrap(), mark);
        let mut new = good.clone();
        new[8] = VERSION + 1;
        let sum = checksum(&new[..SUM_AT]);
        new[SUM_AT..].copy_from_slice(&sum);
        std::fs::write(&path, &new).unwrap();
        assert!(matches!(Mark::read(&path), Err(StoreError::Newer(_))));
    }

    #[test]
    fn the_lock_holds_until_the_file_is_closed() {
        let dir = crate::store::scratch("lock");
        let path = dir.join("mark");
        let first = MarkFile::lock(&path).unwrap();
        assert!(matches!(MarkFile::lock(&path), Err(StoreError::Locked(_))));
        drop(first);
        MarkFile::lock(&path).unwrap();
    }

    /// As a child has it for a moment that was made while it was open.
    #[test]
    fn what_is_let_go_of_late_is_waited_for() {
        let dir = crate::store::scratch("lock-late");
        let path = dir.join("mark");
        let first = MarkFile::lock(&path).unwrap();
        let copy = first.file.try_clone().unwrap();
        drop(first);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| MarkFile::lock(&path));
            std::thread::sleep(RELEASE / 20);
            drop(copy);
            waits.join().unwrap().unwrap();
        });
    }

    #[test]
    fn the_seal_sees_every_byte_and_name() {
        let dir = crate::store::scratch("seal");
        std::fs::create_dir_all(dir.join("sled/blobs")).unwrap();
        std::fs::create_dir(dir.join("large")).unwrap();
        let mut seals = std::collections::BTreeSet::new();
        for (name, content) in
            [("sled/db", "12"), ("sled/db", "13"), ("sled/blobs/1", ""), ("large/1", "1"), ("large/1", "12")]
        {
            std::fs::write(dir.join(name), content).unwrap();
            let first = seal(&dir).unwrap();
            assert_eq!(seal(&dir).unwrap(), first);
            assert!(seals.insert(first), "{name}");
        }
    }
}
