//! An engine in memory, for the simulation: what was not committed is lost when it "crashes".

use super::{Batch, Bytes, Engine, Entry, Op, Page, Query, Rows, StoreError, Tree};
use std::collections::BTreeMap;

/// The trees and the log, in memory.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    rows: BTreeMap<(Tree, Bytes), Bytes>,
    log: BTreeMap<u64, Entry>,
    low: u64,
    last: u64,
}

impl Memory {
    fn append(&mut self, low: u64, entry: &Entry) {
        debug_assert!(entry.id > self.last, "the numbers of entries grow");
        self.low = low;
        self.last = entry.id;
        self.log.insert(entry.id, entry.clone());
    }

    /// As if each entry were a segment.
    fn trim(&mut self, before: u64, bytes: u64) {
        let size = |e: &Entry| e.value.len() as u64;
        let mut all: u64 = self.log.values().map(size).sum();
        while let Some(oldest) = self.log.first_entry() {
            let id = *oldest.key();
            if id >= self.low || id == self.last || (id >= before && all <= bytes) {
                break;
            }
            all -= size(&oldest.remove());
        }
    }

    fn page(&self, page: &Page) -> Rows {
        let Page { owner, with, from, to, backwards, rows, bytes } = page;
        let mine = |e: &&Entry| e.copies.has(owner, with.as_deref());
        if from > to {
            return Rows::new();
        }
        let range = self.log.range(*from..=*to).map(|(_, e)| e).filter(mine);
        if *backwards { take(range.rev(), *rows, *bytes) } else { take(range, *rows, *bytes) }
    }
}

fn take<'a>(entries: impl Iterator<Item = &'a Entry>, rows: usize, bytes: usize) -> Rows {
    let mut size = 0;
    let mut out = Rows::new();
    for entry in entries.take(rows) {
        if size >= bytes {
            break;
        }
        size += entry.value.len();
        out.push((entry.id.to_be_bytes().into(), entry.value.clone()));
    }
    out
}

impl Engine for Memory {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        for (low, op) in batches.iter().flat_map(|b| b.ops.iter().map(|op| (b.low, op))) {
            match op {
                Op::Append(entry) => self.append(low, entry),
                Op::Trim { before, bytes } => self.trim(*before, *bytes),
                Op::Put(tree, key, value) => {
                    self.rows.insert((*tree, key.clone()), value.clone());
                }
                Op::Delete(tree, key) => {
                    self.rows.remove(&(*tree, key.clone()));
                }
                Op::DeleteAll(tree, prefix) => {
                    self.rows.retain(|(t, key), _| t != tree || !key.starts_with(prefix));
                }
            }
        }
        Ok(())
    }

    fn query(&mut self, query: &Query) -> Result<Rows, StoreError> {
        match query {
            Query::Get(tree, key) => {
                Ok(self.rows.get(&(*tree, key.clone())).map(|v| (key.clone(), v.clone())).into_iter().collect())
            }
            Query::Scan { tree, prefix, after, rows, bytes } => {
                let mut out = Rows::new();
                let mut size = 0;
                for ((t, key), value) in self.rows.range((*tree, prefix.clone())..) {
                    if t != tree || !key.starts_with(prefix) || out.len() >= *rows || size >= *bytes {
                        break;
                    }
                    if after.as_ref().is_some_and(|after| key <= after) {
                        continue;
                    }
                    size += key.len() + value.len();
                    out.push((key.clone(), value.clone()));
                }
                Ok(out)
            }
            Query::Archive(page) => Ok(self.page(page)),
            Query::Entries { owner, ids } => {
                let of = |e: &&Entry| e.copies.has(owner, None);
                let mut ids = ids.to_vec();
                ids.sort_unstable();
                ids.dedup();
                Ok(take(ids.iter().filter_map(|id| self.log.get(id)).filter(of), usize::MAX, usize::MAX))
            }
            Query::Since { after, rows, bytes } => {
                Ok(take(self.log.range(after.saturating_add(1)..).map(|(_, e)| e), *rows, *bytes))
            }
            Query::Edge => Ok(vec![(self.low.to_be_bytes().into(), self.last.to_be_bytes().into())]),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rows(
        memory: &mut Memory,
        tree: Tree,
        prefix: &[u8],
        after: Option<&[u8]>,
        rows: usize,
        bytes: usize,
    ) -> Vec<Box<[u8]>> {
        let query = Query::Scan { tree, prefix: prefix.into(), after: after.map(Into::into), rows, bytes };
        memory.query(&query).unwrap().into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn later_changes_win_and_trees_are_apart() {
        let mut memory = Memory::default();
        let mut batch = Batch::default();
        batch.put(Tree::Roster, *b"a", *b"1");
        batch.put(Tree::Roster, *b"a", *b"2");
        batch.put(Tree::Block, *b"a", *b"3");
        batch.put(Tree::Block, *b"b", *b"4");
        batch.delete(Tree::Block, *b"b");
        memory.commit(&[batch]).unwrap();
        let mut get = |tree, key: &[u8]| memory.query(&Query::Get(tree, key.into())).unwrap().pop().map(|(_, v)| v);
        assert_eq!(get(Tree::Roster, b"a"), Some((*b"2").into()));
        assert_eq!(get(Tree::Block, b"a"), Some((*b"3").into()));
        assert_eq!(get(Tree::Block, b"b"), None);
    }

    #[test]
    fn scans_have_a_beginning_and_an_end() {
        let mut memory = Memory::default();
        let mut batch = Batch::default();
        for key in ["a", "b1", "b2", "b3", "c"] {
            batch.put(Tree::Block, key.as_bytes(), *b"value");
        }
        memory.commit(&[batch]).unwrap();
        let all = usize::MAX;
        assert_eq!(rows(&mut memory, Tree::Block, b"b", None, all, all).len(), 3);
        assert_eq!(rows(&mut memory, Tree::Block, b"b", Some(b"b1"), all, all)[0], (*b"b2").into());
        assert_eq!(rows(&mut memory, Tree::Block, b"b", None, 2, all).len(), 2);
        assert_eq!(rows(&mut memory, Tree::Block, b"b", None, all, 8).len(), 2);
        assert_eq!(rows(&mut memory, Tree::Roster, b"", None, all, all).len(), 0);
        let mut batch = Batch::default();
        batch.delete_all(Tree::Block, *b"b");
        memory.commit(&[batch]).unwrap();
        assert_eq!(rows(&mut memory, Tree::Block, b"", None, all, all).len(), 2);
    }
}
