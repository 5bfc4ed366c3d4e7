//! Values too large for sled, each in a file of its own.
//!
//! sled puts what is large into files that it never syncs. Ours are on stable storage, name and all, before the transaction
//! that refers to them, and are removed after the transaction that drops them is on stable storage. A file is written once and
//! never changed; a value that is replaced gets a new number.

use super::record::{Reader, Writer};
use super::{Bytes, StoreError, Tree, VALUE_BYTES, disk};
use ring::digest::{SHA256, digest};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// For how long a start reads large values to see whether they are whole; the others are looked at when they are read.
const CHECK: Duration = Duration::from_secs(1);

/// The longest key that is noted beside a large value.
const NOTED_BYTES: usize = 1024;

/// How the name of a file ends that is being written.
const PART: &str = "part";

/// Where a value is, and how to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Reference {
    pub(super) number: u64,
    len: u32,
    sha256: [u8; 32],
}

impl Reference {
    /// As it stands in sled, behind the tag.
    pub(super) fn to_bytes(&self) -> Bytes {
        Writer::new(1).u64(self.number).u32(self.len).bytes(&self.sha256).done()
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Reference, StoreError> {
        let mut record = Reader::new(bytes)?;
        let (number, len) = (record.u64()?, record.u32()?);
        let sha256 = record.bytes()?.try_into().map_err(|_| super::record::Broken)?;
        Ok(Reference { number, len, sha256 })
    }
}

/// What is noted beside the number of a large value: how to know it, and whose it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Note {
    pub(super) reference: Reference,
    pub(super) tree: Tree,
    pub(super) key: Bytes,
}

impl Note {
    /// Whose value is lost, behind the name of its file.
    fn words(&self) -> String {
        format!(": it is {}", super::salvage::words(self.tree, &self.key))
    }

    /// Of the value that a reference leads to; a key that is very long is not noted.
    pub(super) fn bytes_of(reference: &[u8], tree: usize, key: &[u8]) -> Bytes {
        match key.len() <= NOTED_BYTES {
            true => Writer::new(1).bytes(reference).u8(tree as u8).bytes(key).done(),
            false => Bytes::default(),
        }
    }

    /// Older versions noted nothing.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Note> {
        let mut record = Reader::new(bytes).ok()?;
        let reference = Reference::from_bytes(record.bytes().ok()?).ok()?;
        let tree = Tree::of_number(record.u8().ok()?)?;
        Some(Note { reference, tree, key: record.bytes().ok()?.into() })
    }
}

/// The folder of large values.
#[derive(Debug)]
pub(super) struct Large {
    dir: PathBuf,
    next: u64,
}

impl Large {
    /// Opens or makes the folder. `used` are the values that the database refers to: what else is there was left over by a crash
    /// and goes. One that is missing or damaged costs that value alone: a line of the program's log says which.
    pub(super) fn open(dir: &Path, used: &BTreeMap<u64, Option<Note>>) -> Result<Large, StoreError> {
        disk::make_dir(dir).map_err(|e| disk::refused("make", dir, &e))?;
        let (leftovers, missing) = look(dir, used)?;
        for path in leftovers {
            if let Err(e) = disk::remove(&path) {
                log::warn!("cannot remove {}, which is not needed: {e}", path.display());
            }
        }
        let large = Large { dir: dir.into(), next: used.keys().last().map_or(0, |n| n.saturating_add(1)) };
        let begun = Instant::now();
        for (number, note) in used {
            let (path, whose) = (dir.join(name(*number)), note.as_ref().map_or_else(String::new, Note::words));
            if missing.contains(number) {
                log::error!("{} is missing{whose}. Put the file back from a copy; all else is served", path.display());
            } else if let Some(note) = note.as_ref().filter(|_| begun.elapsed() < CHECK)
                && let Err(e) = large.read(&note.reference)
            {
                log::error!("{e}{whose}. All else is served");
            }
        }
        Ok(large)
    }

    /// Writes a value to a new file and syncs it; [`Large::sync`] makes the name durable.
    pub(super) fn write(&mut self, value: &[u8]) -> Result<Reference, StoreError> {
        let number = self.next;
        self.next += 1;
        let path = self.dir.join(name(number));
        let part = path.with_extension(PART);
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&part)?;
            file.write_all(value)?;
            file.sync_all()?;
            fs::rename(&part, &path)
        })();
        if let Err(e) = written {
            // Whatever stays is swept at the next start.
            let _ = disk::remove(&part);
            return Err(disk::refused("write", &path, &e));
        }
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, value).as_ref());
        // The caller has checked the length against VALUE_BYTES.
        Ok(Reference { number, len: value.len() as u32, sha256 })
    }

    /// Makes the names of all files written so far durable.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        disk::sync_dir(&self.dir).map_err(|e| disk::refused("sync", &self.dir, &e))
    }

    /// Reads a value and checks it.
    pub(super) fn read(&self, reference: &Reference) -> Result<Bytes, StoreError> {
        let path = self.dir.join(name(reference.number));
        let mut value = Vec::with_capacity((reference.len as usize).min(VALUE_BYTES));
        let read = File::open(&path).and_then(|file| file.take(u64::from(reference.len) + 1).read_to_end(&mut value));
        match read {
            Err(e) if is_passing(&e) => Err(disk::refused("read", &path, &e)),
            Ok(_)
                if value.len() == reference.len as usize
                    && digest(&SHA256, &value).as_ref() == reference.sha256.as_slice() =>
            {
                Ok(value.into())
            }
            _ => Err(StoreError::Damaged(format!(
                "{} is damaged or missing, and the value that it holds is lost unless the file is put back from a copy",
                path.display()
            ))),
        }
    }

    /// Removes a file that nothing durable refers to any more.
    pub(super) fn remove(&self, number: u64) {
        let path = self.dir.join(name(number));
        if let Err(e) = disk::remove(&path) {
            log::warn!("cannot remove {}, which is not needed any more: {e}", path.display());
        }
    }
}

/// What is in the folder that the database does not refer to, and the numbers that it refers to and that are missing there.
fn look(dir: &Path, used: &BTreeMap<u64, Option<Note>>) -> Result<(Vec<PathBuf>, BTreeSet<u64>), StoreError> {
    let mut missing: BTreeSet<u64> = used.keys().copied().collect();
    let mut leftovers = Vec::new();
    for entry in disk::entries(dir).map_err(|e| disk::refused("read", dir, &e))? {
        match entry.file_name().to_str().and_then(number) {
            Some(n) if missing.remove(&n) => {}
            Some(_) => leftovers.push(entry.path()),
            // Not ours, unless it was never finished.
            None if entry.path().extension().is_some_and(|end| end == PART) => leftovers.push(entry.path()),
            None => log::warn!("{} does not belong to the database", entry.path().display()),
        }
    }
    Ok((leftovers, missing))
}

/// Reads a value of the folder `dir`, and checks it.
pub(super) fn read_from(dir: &Path, reference: &Reference) -> Result<Bytes, StoreError> {
    Large { dir: dir.into(), next: 0 }.read(reference)
}

/// Whether an error is of the system, not of the file.
fn is_passing(e: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(e), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::AGAIN))
}

fn name(number: u64) -> String {
    format!("{number:016x}")
}

fn number(name: &str) -> Option<u64> {
    (name.len() == 16).then(|| u64::from_str_radix(name, 16).ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// What stands beside the number of a large value.
    #[test]
    fn a_note_is_the_one_on_disks() {
        let reference = Reference { number: 7, len: 9, sha256: [8; 32] };
        let bytes = Note::bytes_of(&reference.to_bytes(), usize::from(Tree::Vcard.number()), b"juliet");
        let front = b"\x01\x31\0\0\0\x01\x07\0\0\0\0\0\0\0\x09\0\0\0\x20\0\0\0";
        assert_eq!(*bytes, [&front[..], &[8; 32], b"\x05\x06\0\0\0juliet"].concat());
        let note = Note { reference, tree: Tree::Vcard, key: (*b"juliet").into() };
        assert_eq!(Note::from_bytes(&bytes), Some(note));
    }

    #[test]
    fn values_come_back_and_leftovers_go() {
        let dir = crate::store::scratch("large");
        let mut large = Large::open(&dir, &BTreeMap::new()).unwrap();
        let (a, b) = (large.write(&[1; 5000]).unwrap(), large.write(&[2; 9000]).unwrap());
        assert_eq!(Reference::from_bytes(&a.to_bytes()).unwrap(), a);
        fs::write(dir.join("0000000000000009.part"), b"torn").unwrap();
        fs::write(dir.join("notes.txt"), b"the owner's").unwrap();
        let mut large = Large::open(&dir, &BTreeMap::from([(a.number, None)])).unwrap();
        assert_eq!(&*large.read(&a).unwrap(), &[1; 5000]);
        assert!(matches!(large.read(&b), Err(StoreError::Damaged(_))));
        assert_eq!(disk::entries(&dir).unwrap().len(), 2);
        assert_ne!(large.write(&[3; 5000]).unwrap().number, a.number);
    }

    #[test]
    fn damage_is_told() {
        let dir = crate::store::scratch("large-damage");
        let mut large = Large::open(&dir, &BTreeMap::new()).unwrap();
        let a = large.write(&[1; 5000]).unwrap();
        let path = dir.join(name(a.number));
        for bad in [vec![1; 4999], vec![1; 5001], [vec![1; 4999], vec![2]].concat()] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(large.read(&a), Err(StoreError::Damaged(_))));
        }
        fs::remove_file(&path).unwrap();
        let large = Large::open(&dir, &BTreeMap::from([(a.number, None)])).unwrap();
        assert!(matches!(large.read(&a), Err(StoreError::Damaged(_))));
        fs::create_dir(&path).unwrap();
        assert!(matches!(large.read(&a), Err(StoreError::Damaged(_))));
    }
}
