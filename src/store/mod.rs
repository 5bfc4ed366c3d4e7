//! DISK: trees of keys and values for what is small and keyed, and the log for messages. Both are changed by batches that are on
//! stable storage or not there at all.
//!
//! [`mod@tree`] is the table of the trees, whose numbers and names stand on disks for good (`tests/golden` has some).
//! [`Engine`] is the whole contract: [`card`] keeps it on a card, [`memory`] in a test that can cut the power. On the card,
//! [`sled_engine`] has the trees and [`log`](mod@log) the messages. Around sled: `trees` opens it and counts what it holds, `large` keeps what is too large for it, `mark` tells a close in order from a
//! crash, `probe` tries whether it can be opened at all, [`salvage`](mod@salvage) makes a new one of what `scan` can read of a damaged one, and `disk`
//! has the words for the file system.

pub mod card;
mod copies;
mod disk;
pub mod key;
mod large;
mod leb128;
pub(crate) mod log;
mod mark;
pub mod memory;
mod probe;
pub mod record;
pub(crate) mod salvage;
mod scan;
pub mod sled_engine;
pub(crate) mod tree;
mod trees;
mod whose;

pub use copies::Copies;
use std::fmt;
pub use tree::Tree;
pub use whose::Whose;

/// Bytes of a key or a value.
pub type Bytes = Box<[u8]>;

/// Keys with their values, in the order of the keys.
pub type Rows = Vec<(Bytes, Bytes)>;

/// One change of what is stored; see [`Batch`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// Sets a key; the value may have any size up to [`VALUE_BYTES`].
    Put(Tree, Bytes, Bytes),
    /// Removes a key, if it is there.
    Delete(Tree, Bytes),
    /// Removes all keys that begin so. Not part of the batch's atomicity when there are many: it is done in steps before
    /// the rest of the batch, and doing it again does no harm.
    DeleteAll(Tree, Bytes),
    /// Appends to the log.
    Append(Entry),
    /// Drops the oldest segments of the log: those that hold nothing newer than the entry `before`, and so many more that at
    /// most `bytes` remain. What [`Batch::low`] protects stays, and the newest segment. With nothing to drop nothing is written.
    Trim {
        /// The first number that stays whatever its age.
        before: u64,
        /// The size of the whole log, in bytes.
        bytes: u64,
    },
}

impl Op {
    /// Whether it is for the trees.
    pub(crate) fn is_tree(&self) -> bool {
        matches!(self, Op::Put(..) | Op::Delete(..) | Op::DeleteAll(..))
    }
}

/// One entry of the log: a message, and in whose archives it is; or a note that is in nobody's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its number, greater than that of every entry before it: microseconds since 1970, or one more than the last.
    pub id: u64,
    /// The archives that it is in.
    pub copies: Copies,
    /// What was written; the log does not look into it.
    pub value: Bytes,
}

/// The longest value, in bytes: an offline message of the longest stanza, and its envelope.
pub const VALUE_BYTES: usize = 320 * 1024;

/// The most changes in one [`Batch`] besides [`Op::DeleteAll`].
pub const BATCH_OPS: usize = 100;

/// Changes that are made together or not at all.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    /// In this order; a later one on the same key wins.
    pub ops: Vec<Op>,
    /// What the log needs to be read from when it is opened again ([`Query::Since`]): the first entry that matters to more than
    /// archives. The greatest number there is, if none does.
    pub low: u64,
}

impl Default for Batch {
    fn default() -> Batch {
        Batch { ops: Vec::new(), low: u64::MAX }
    }
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, tree: Tree, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.ops.push(Op::Put(tree, key.into(), value.into()));
    }
    /// Removes a key.
    pub fn delete(&mut self, tree: Tree, key: impl Into<Bytes>) {
        self.ops.push(Op::Delete(tree, key.into()));
    }
    /// Removes all keys that begin with `prefix`.
    pub fn delete_all(&mut self, tree: Tree, prefix: impl Into<Bytes>) {
        self.ops.push(Op::DeleteAll(tree, prefix.into()));
    }
    /// Appends to the log.
    pub fn append(&mut self, entry: Entry) {
        self.ops.push(Op::Append(entry));
    }
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }
    /// Whether the trees have to do with it.
    pub(crate) fn changes_trees(&self) -> bool {
        self.ops.iter().any(Op::is_tree)
    }
    /// Whether something is appended to the log.
    pub(crate) fn appends(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, Op::Append(_)))
    }
}

/// What was handed to storage since the start, and what that made it write.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Written {
    /// Bytes that were to be kept: keys and values that changed, and of entries the number, the names and the value.
    pub accepted: u64,
    /// Bytes that were written to files for it.
    pub bytes: u64,
    /// How often a file or a folder was synced.
    pub syncs: u64,
}

impl std::ops::Add for Written {
    type Output = Written;
    fn add(self, other: Written) -> Written {
        Written {
            accepted: self.accepted + other.accepted,
            bytes: self.bytes + other.bytes,
            syncs: self.syncs + other.syncs,
        }
    }
}

/// A question to an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Query {
    /// The row of this key: none or one.
    Get(Tree, Bytes),
    /// The keys that begin with `prefix`, in order, from behind `after` on, until `rows` or about `bytes` are reached.
    Scan {
        /// The tree whose rows are read.
        tree: Tree,
        /// How the keys begin.
        prefix: Bytes,
        /// The last key of the page before.
        after: Option<Bytes>,
        /// At most so many rows.
        rows: usize,
        /// Stop behind the row that passes so many bytes.
        bytes: usize,
    },
    /// Entries of one archive. Rows: the number, big-endian, and the entry's value; in the order they were walked in.
    Archive(Page),
    /// Those of these entries that are in an archive, in ascending order; rows as for [`Query::Archive`].
    Entries {
        /// Whose archive.
        owner: Box<str>,
        /// The numbers of the entries, in any order.
        ids: Box<[u64]>,
    },
    /// All entries behind a number, whosever they are, at most so many and about so many bytes; rows as for [`Query::Archive`].
    Since {
        /// The last number of the page before, or one less than the first that is wanted.
        after: u64,
        /// At most so many rows.
        rows: usize,
        /// Stop behind the row that passes so many bytes.
        bytes: usize,
    },
    /// One row: [`Batch::low`] of the last batch that appended to the log, and the greatest number that was ever in the log
    /// (also if it was dropped since), both big-endian; 0 and 0 for an empty log.
    Edge,
}

/// Which entries of an archive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// Whose archive.
    pub owner: Box<str>,
    /// Only those with this bare JID on the other side.
    pub with: Option<Box<str>>,
    /// The first number that may be there.
    pub from: u64,
    /// The last number that is wanted.
    pub to: u64,
    /// From the last one on towards the first.
    pub backwards: bool,
    /// At most so many rows.
    pub rows: usize,
    /// Stop behind the row that passes so many bytes.
    pub bytes: usize,
}

/// What went wrong, and what the owner of the box should do.
#[derive(Debug)]
pub enum StoreError {
    /// Another process has it open.
    Locked(String),
    /// There is no room; nothing was changed.
    Full(String),
    /// What is on the disk cannot be read; nothing was changed.
    Damaged(String),
    /// Written by a newer version of the program.
    Newer(String),
    /// The operating system refused.
    Io(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Locked(s)
            | StoreError::Full(s)
            | StoreError::Damaged(s)
            | StoreError::Newer(s)
            | StoreError::Io(s) => f.write_str(s),
        }
    }
}

impl std::error::Error for StoreError {}

/// What keeps the trees.
pub trait Engine: Send {
    /// Makes the changes of all batches, in order, each batch whole or not at all. They are on stable storage when this
    /// returns `Ok`. After an error none, some or all may be there, in order, none in part; and nothing that was there before
    /// is hurt. Calling it again with the same batches is safe.
    fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError>;

    /// Reads what is committed.
    fn query(&mut self, query: &Query) -> Result<Rows, StoreError>;
}

/// A folder for one test, removed with the value.
#[cfg(test)]
pub(crate) fn scratch(name: &str) -> Scratch {
    let dir = std::env::temp_dir().join(format!("inglenook-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("the test has a place for its files");
    Scratch(dir)
}

/// See [`scratch`].
#[cfg(test)]
pub(crate) struct Scratch(std::path::PathBuf);

#[cfg(test)]
impl std::ops::Deref for Scratch {
    type Target = std::path::Path;
    fn deref(&self) -> &std::path::Path {
        &self.0
    }
}

#[cfg(test)]
impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
