//! The message log.

use super::{Batch, Page, Rows, StoreError, Written};
use std::path::{Path, PathBuf};

/// The log in a folder.
#[derive(Debug)]
pub struct Log {
    dir: PathBuf,
}

#[allow(missing_docs, clippy::unused_self)]
impl Log {
    pub(super) fn refuse_newer(_dir: &Path) -> Result<(), StoreError> {
        Ok(())
    }
    pub(super) fn open(dir: &Path, _known: u64, _sync: bool) -> Result<Log, StoreError> {
        Ok(Log { dir: dir.into() })
    }
    pub(super) fn behind(&mut self, _applied: u64) -> Result<Vec<(u64, Batch)>, StoreError> {
        Ok(Vec::new())
    }
    pub(super) fn number(&self) -> u64 {
        0
    }
    pub(super) fn append(&mut self, _batches: &[Batch]) -> Result<(), StoreError> {
        Ok(())
    }
    pub(super) fn undo(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    pub(super) fn trim(&mut self, _before: u64, _bytes: u64) {}
    pub(super) fn page(&mut self, _page: &Page) -> Result<Rows, StoreError> {
        Ok(Rows::new())
    }
    pub(super) fn entries(&mut self, _owner: &str, _ids: &[u64]) -> Result<Rows, StoreError> {
        Ok(Rows::new())
    }
    pub(super) fn since(&mut self, _after: u64, _rows: usize, _bytes: usize) -> Result<Rows, StoreError> {
        Ok(Rows::new())
    }
    pub(super) fn edge(&self) -> Rows {
        Rows::new()
    }
    pub(super) fn verify(&mut self) -> Result<(), StoreError> {
        Ok(())
    }
    pub(super) fn written(&self) -> Written {
        Written::default()
    }
    pub(super) fn snapshot(&mut self) -> Vec<(PathBuf, u64)> {
        vec![(self.dir.clone(), 0)]
    }
}
