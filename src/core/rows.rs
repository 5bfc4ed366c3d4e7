//! Reading the rows of the database at a start.

use crate::store::{Engine, Query, StoreError, Tree};

/// Rows read at once when the database is loaded.
const PAGE_ROWS: usize = 256;
/// Bytes read at once when the database is loaded.
const PAGE_BYTES: usize = 1024 * 1024;

/// All rows of a tree under a prefix, page by page.
pub fn scan(
    engine: &mut dyn Engine,
    tree: Tree,
    prefix: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let query = Query::Scan { tree, prefix: prefix.into(), after, rows: PAGE_ROWS, bytes: PAGE_BYTES };
        let page = engine.query(&query)?;
        for (key, value) in &page {
            each(key, value)?;
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

/// Something that was stored cannot be read.
pub(super) fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} in the database is not readable"))
}
