//! An engine in memory, for the simulation: what was not committed is lost when it "crashes".

use super::{Batch, Engine, Op, Query, Rows, StoreError, Tree};
use std::collections::BTreeMap;

/// The trees, in memory.
#[derive(Clone, Default, Debug)]
pub struct Memory {
    rows: BTreeMap<(Tree, Box<[u8]>), Box<[u8]>>,
}

impl Engine for Memory {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        for op in batches.iter().flat_map(|b| &b.ops) {
            match op {
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
        }
    }
}
