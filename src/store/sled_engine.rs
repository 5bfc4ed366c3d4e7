//! The engine on sled.

use super::{Batch, Engine, Query, Rows, StoreError};
use std::path::Path;

/// The database in a folder.
#[derive(Debug)]
pub struct Sled {}

impl Sled {
    /// Opens or makes the database in `dir`. One process at a time.
    pub fn open(dir: &Path) -> Result<Sled, StoreError> {
        let _ = dir;
        todo!()
    }
}

impl Engine for Sled {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let _ = batches;
        todo!()
    }

    fn query(&mut self, query: &Query) -> Result<Rows, StoreError> {
        let _ = query;
        todo!()
    }
}
