//! Values too large for sled, each in a file of its own.
//!
//! sled puts what is large into files that it never syncs. Ours are on stable storage, name and all, before the transaction
//! that refers to them, and are removed after the transaction that drops them is on stable storage. A file is written once and
//! never changed; a value that is replaced gets a new number.

use super::record::{Reader, Writer};
use super::{Bytes, StoreError, VALUE_BYTES, disk};
use ring::digest::{SHA256, digest};
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

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

    /// Reads it again.
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Reference, StoreError> {
        let mut record = Reader::new(bytes)?;
        let (number, len) = (record.u64()?, record.u32()?);
        let sha256 = record.bytes()?.try_into().map_err(|_| super::record::Broken)?;
        Ok(Reference { number, len, sha256 })
    }
}

/// The folder of large values.
#[derive(Debug)]
pub(super) struct Large {
    dir: PathBuf,
    next: u64,
}

impl Large {
    /// Opens or makes the folder. `used` are the numbers the database refers to: what else is there was left over by a crash
    /// and goes; what is missing is damage.
    pub(super) fn open(dir: &Path, used: &BTreeSet<u64>) -> Result<Large, StoreError> {
        disk::make_dir(dir).map_err(|e| disk::refused("make", dir, &e))?;
        let leftovers = check(dir, used)?;
        for path in leftovers {
            disk::remove(&path).map_err(|e| disk::refused("remove", &path, &e))?;
        }
        Ok(Large { dir: dir.into(), next: used.last().map_or(0, |n| n.saturating_add(1)) })
    }

    /// Writes a value to a new file and syncs it; [`Large::sync`] makes the name durable.
    pub(super) fn write(&mut self, value: &[u8]) -> Result<Reference, StoreError> {
        let number = self.next;
        self.next += 1;
        let path = self.dir.join(name(number));
        let part = path.with_extension("part");
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
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(disk::refused("read", &path, &e)),
            Ok(_)
                if value.len() == reference.len as usize
                    && digest(&SHA256, &value).as_ref() == reference.sha256.as_slice() =>
            {
                Ok(value.into())
            }
            _ => Err(StoreError::Damaged(format!(
                "{} is damaged; it holds a value of the database. Put the file back from a copy, or restore a backup",
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

/// Whether all files that the database refers to are in the folder; the others that are there.
pub(super) fn check(dir: &Path, used: &BTreeSet<u64>) -> Result<Vec<PathBuf>, StoreError> {
    let mut missing = used.clone();
    let mut leftovers = Vec::new();
    for entry in disk::entries(dir).map_err(|e| disk::refused("read", dir, &e))? {
        match entry.file_name().to_str().and_then(number) {
            Some(n) if missing.remove(&n) => {}
            _ => leftovers.push(entry.path()),
        }
    }
    match missing.first() {
        None => Ok(leftovers),
        Some(n) => {
            let path = dir.join(name(*n));
            Err(StoreError::Damaged(format!("the file {}, which holds a value, is missing", path.display())))
        }
    }
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

    #[test]
    fn values_come_back_and_leftovers_go() {
        let dir = crate::store::scratch("large");
        let mut large = Large::open(&dir, &BTreeSet::new()).unwrap();
        let (a, b) = (large.write(&[1; 5000]).unwrap(), large.write(&[2; 9000]).unwrap());
        assert_eq!(Reference::from_bytes(&a.to_bytes()).unwrap(), a);
        fs::write(dir.join("0000000000000009.part"), b"torn").unwrap();
        let mut large = Large::open(&dir, &BTreeSet::from([a.number])).unwrap();
        assert_eq!(&*large.read(&a).unwrap(), &[1; 5000]);
        assert!(matches!(large.read(&b), Err(StoreError::Damaged(_))));
        assert_eq!(disk::entries(&dir).unwrap().len(), 1);
        assert_ne!(large.write(&[3; 5000]).unwrap().number, a.number);
    }

    #[test]
    fn damage_is_told() {
        let dir = crate::store::scratch("large-damage");
        let mut large = Large::open(&dir, &BTreeSet::new()).unwrap();
        let a = large.write(&[1; 5000]).unwrap();
        let path = dir.join(name(a.number));
        for bad in [vec![1; 4999], vec![1; 5001], [vec![1; 4999], vec![2]].concat()] {
            fs::write(&path, bad).unwrap();
            assert!(matches!(large.read(&a), Err(StoreError::Damaged(_))));
        }
        fs::remove_file(&path).unwrap();
        assert!(matches!(Large::open(&dir, &BTreeSet::from([a.number])), Err(StoreError::Damaged(_))));
    }
}
