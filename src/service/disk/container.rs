//! The file that a backup is: one file, read and written from its beginning to its end.
//!
//! It begins with `MAGIC`. Then come frames: a kind, a length, so many bytes, and the SHA-256 digest of the whole file up to there.
//! So no byte is believed before it was checked, nothing can be changed, left out, moved or put in, and the memory that is needed is
//! one frame, whatever the file claims. The first frame is the [`Head`], the last one says that it is the last. Between them are
//! files, each with its name and then its contents, and changes: applied to an empty database one after the other, they make
//! the database that was saved.
//!
//! It is a format of its own and no tar, since its main part are rows, which no other tool could show, and since a tar checks only
//! its names.

use crate::service::{Failure, Result};
use crate::store::record::{self, Broken};
use crate::store::{Bytes, Op, Tree, VALUE_BYTES};
use ring::digest::{Context, SHA256, SHA256_OUTPUT_LEN};
use std::io::{ErrorKind, Read, Write};

/// How a backup begins. Another way to write frames would have another number.
const MAGIC: &[u8; 16] = b"inglenook-copy-1";
/// The layout of what is in the frames: it grows with every change that an older program would not understand.
pub(crate) const LAYOUT: u32 = 1;
/// The longest frame that is read, in bytes.
const FRAME_BYTES: usize = 1024 * 1024;
/// A frame that is written ends behind the piece that passes this, in bytes.
const FILL_BYTES: usize = 128 * 1024;
/// The longest key in a row, in bytes; those of the store are far shorter.
const KEY_BYTES: usize = 64 * 1024;
/// The longest name of a file, in bytes.
const NAME_BYTES: usize = 200;

const HEAD: u8 = b'H';
const FILE: u8 = b'F';
const DATA: u8 = b'D';
const ROWS: u8 = b'R';
const END: u8 = b'E';

/// What a backup says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    /// See [`LAYOUT`].
    pub layout: u32,
    /// The layout of the database's rows: `SCHEMA` of the engine.
    pub schema: u32,
    /// The version of the program that made it.
    pub program: String,
    /// The domain that the data belongs to.
    pub domain: String,
    /// When it was made, in milliseconds since 1970, as the box believed.
    pub made: u64,
}

/// What is in a backup, counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    /// How many files.
    pub files: u64,
    /// Changes of the database.
    pub changes: u64,
    /// Bytes of it all.
    pub bytes: u64,
}

/// Writes a backup.
pub(crate) struct Writer<W> {
    out: W,
    sum: Context,
    rows: Vec<u8>,
    totals: Totals,
}

impl<W: Write> Writer<W> {
    /// Begins.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn new(out: W, head: &Head) -> std::io::Result<Writer<W>> {
        let mut this = Writer { out, sum: Context::new(&SHA256), rows: Vec::new(), totals: Totals::default() };
        this.put(MAGIC)?;
        let record = record::Writer::new(1).u32(head.layout).u32(head.schema).str(&head.program).str(&head.domain);
        this.frame(HEAD, &record.u64(head.made).done())?;
        Ok(this)
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sum.update(bytes);
        self.totals.bytes += bytes.len() as u64;
        self.out.write_all(bytes)
    }

    fn frame(&mut self, kind: u8, bytes: &[u8]) -> std::io::Result<()> {
        // FRAME_BYTES is far below 4 GiB.
        let len = (bytes.len() as u32).to_le_bytes();
        self.put(&[kind, len[0], len[1], len[2], len[3]])?;
        self.put(bytes)?;
        let sum = self.sum.clone().finish();
        self.put(sum.as_ref())
    }

    /// Adds changes, in order.
    ///
    /// # Errors
    /// Those of the system, and one for a change that no database would hold.
    pub(crate) fn changes<'a>(&mut self, ops: impl IntoIterator<Item = &'a Op>) -> std::io::Result<()> {
        for op in ops {
            let (tag, tree, key, value) = match op {
                Op::Put(tree, key, value) => (0, tree, key, Some(value)),
                Op::Delete(tree, key) => (1, tree, key, None),
                Op::DeleteAll(tree, key) => (2, tree, key, None),
                // The log's own files hold that.
                Op::Append(_) | Op::Trim { .. } => continue,
            };
            if key.len() > KEY_BYTES || value.is_some_and(|value| value.len() > VALUE_BYTES) {
                return Err(std::io::Error::new(ErrorKind::InvalidData, "a row of the database is too long"));
            }
            self.rows.extend([tag, tree.number()]);
            for bytes in std::iter::once(key).chain(value) {
                self.rows.extend((bytes.len() as u32).to_le_bytes());
                self.rows.extend_from_slice(bytes);
            }
            self.totals.changes += 1;
            if self.rows.len() > FILL_BYTES {
                self.flush_rows()?;
            }
        }
        Ok(())
    }

    fn flush_rows(&mut self) -> std::io::Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        self.frame(ROWS, &rows)
    }

    /// Adds a file: exactly `len` bytes of it.
    ///
    /// # Errors
    /// Those of the system; when it has less.
    pub(crate) fn file(&mut self, name: &str, content: impl Read, len: u64) -> std::io::Result<()> {
        self.flush_rows()?;
        if !is_name(name) {
            return Err(std::io::Error::new(ErrorKind::InvalidInput, format!("the name {name} cannot be kept")));
        }
        self.frame(FILE, &record::Writer::new(1).str(name).u64(len).done())?;
        let mut content = content.take(len);
        let (mut buffer, mut left) = (vec![0; FILL_BYTES], len);
        while left > 0 {
            match content.read(&mut buffer)? {
                0 => return Err(std::io::Error::new(ErrorKind::UnexpectedEof, format!("{name} has become shorter"))),
                n => {
                    self.frame(DATA, &buffer[..n])?;
                    left -= n as u64;
                }
            }
        }
        self.totals.files += 1;
        Ok(())
    }

    /// Ends it. Gives what it was written to, and what is in it.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn finish(mut self) -> std::io::Result<(W, Totals)> {
        self.flush_rows()?;
        let record = record::Writer::new(1).u64(self.totals.files).u64(self.totals.changes).done();
        self.frame(END, &record)?;
        self.out.flush()?;
        Ok((self.out, self.totals))
    }
}

/// What is done with what a backup holds, while it is read. All of it was checked.
pub(crate) trait Sink {
    /// A file begins.
    ///
    /// # Errors
    /// Ends the reading.
    fn file(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }
    /// More of its contents.
    ///
    /// # Errors
    /// Ends the reading.
    fn data(&mut self, _bytes: &[u8]) -> Result<()> {
        Ok(())
    }
    /// More changes.
    ///
    /// # Errors
    /// Ends the reading.
    fn changes(&mut self, _ops: Vec<Op>) -> Result<()> {
        Ok(())
    }
}

/// Keeps nothing: for reading a backup to see whether it is whole.
pub(crate) struct Look;

impl Sink for Look {}

struct Frames<R> {
    input: R,
    sum: Context,
    bytes: u64,
}

enum Trouble {
    /// It is not what was written.
    Damaged(String),
    /// The system's.
    Io(std::io::Error),
    /// The sink's, or a newer version's.
    Other(Failure),
}

impl From<std::io::Error> for Trouble {
    fn from(e: std::io::Error) -> Trouble {
        match e.kind() {
            ErrorKind::UnexpectedEof => Trouble::Damaged("it ends too soon".into()),
            _ => Trouble::Io(e),
        }
    }
}

impl From<Broken> for Trouble {
    fn from(_: Broken) -> Trouble {
        Trouble::Damaged("a part of it is not readable".into())
    }
}

impl From<Failure> for Trouble {
    fn from(e: Failure) -> Trouble {
        Trouble::Other(e)
    }
}

impl<R: Read> Frames<R> {
    fn take(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        self.input.read_exact(bytes)?;
        self.sum.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    fn next(&mut self) -> std::result::Result<(u8, Vec<u8>), Trouble> {
        let wrong = |at: u64| Trouble::Damaged(format!("its bytes are not what was written, before or at byte {at}"));
        let mut start = [0; 5];
        self.take(&mut start)?;
        let len = u32::from_le_bytes([start[1], start[2], start[3], start[4]]) as usize;
        if len > FRAME_BYTES {
            return Err(wrong(self.bytes));
        }
        let mut bytes = vec![0; len];
        self.take(&mut bytes)?;
        let should_be = self.sum.clone().finish();
        let mut sum = [0; SHA256_OUTPUT_LEN];
        self.take(&mut sum)?;
        if sum != should_be.as_ref() {
            return Err(wrong(self.bytes));
        }
        Ok((start[0], bytes))
    }
}

/// Reads a backup, checks all of it, and hands it to the sink piece by piece. `name` is what errors call it.
///
/// # Errors
/// What is wrong with it, and what to do; what the sink says.
pub(crate) fn read(name: &str, input: impl Read, sink: &mut dyn Sink) -> Result<(Head, Totals)> {
    let mut frames = Frames { input, sum: Context::new(&SHA256), bytes: 0 };
    walk(name, &mut frames, sink).map_err(|trouble| match trouble {
        Trouble::Damaged(why) => {
            Failure(format!("the backup {name} is damaged: {why}. Nothing was changed. Take another backup."))
        }
        Trouble::Io(e) => Failure(format!("{name} cannot be read: {e}. Nothing was changed.")),
        Trouble::Other(failure) => failure,
    })
}

fn walk<R: Read>(
    name: &str,
    frames: &mut Frames<R>,
    sink: &mut dyn Sink,
) -> std::result::Result<(Head, Totals), Trouble> {
    let mut magic = [0; MAGIC.len()];
    let full = frames.take(&mut magic);
    let newer = magic.starts_with(&MAGIC[..MAGIC.len() - 1]) && magic[MAGIC.len() - 1].is_ascii_digit();
    if full.is_err() || magic != *MAGIC {
        return Err(Trouble::Other(Failure(match newer {
            true => format!(
                "{name} is a backup that was made by a newer version of inglenook, or its first bytes are damaged. Nothing \
                 was changed. Install that version, or take another backup."
            ),
            false => format!("{name} is not a backup made by inglenook, or its first bytes are damaged."),
        })));
    }
    let (HEAD, bytes) = frames.next()? else { return Err(Broken.into()) };
    let mut record = record::Reader::new(&bytes)?;
    let (layout, schema) = (record.u32()?, record.u32()?);
    let head =
        Head { layout, schema, program: record.str()?.into(), domain: record.str()?.into(), made: record.u64()? };
    let known = crate::store::sled_engine::SCHEMA;
    if layout > LAYOUT || schema > known {
        return Err(Trouble::Other(Failure(format!(
            "the backup {name} was made by a newer version of inglenook ({}, layout {layout}.{schema}; this is {}, which knows \
             up to {LAYOUT}.{known}). Nothing was changed. Install that version, or take a backup made with this one.",
            head.program,
            env!("CARGO_PKG_VERSION"),
        ))));
    }
    let mut totals = Totals::default();
    // Bytes of the current file that are still to come.
    let mut left = 0_u64;
    loop {
        let (kind, bytes) = frames.next()?;
        if (kind == DATA) != (left > 0) {
            return Err(Broken.into());
        }
        match kind {
            DATA => {
                left = left.checked_sub(bytes.len() as u64).filter(|_| !bytes.is_empty()).ok_or(Broken)?;
                sink.data(&bytes)?;
            }
            FILE => {
                let mut record = record::Reader::new(&bytes)?;
                let (name, len) = (record.str()?, record.u64()?);
                if !is_name(name) {
                    return Err(Broken.into());
                }
                left = len;
                totals.files += 1;
                sink.file(name)?;
            }
            ROWS => {
                let ops = changes(&bytes)?;
                totals.changes += ops.len() as u64;
                sink.changes(ops)?;
            }
            END => {
                let mut record = record::Reader::new(&bytes)?;
                if (record.u64()?, record.u64()?) != (totals.files, totals.changes) {
                    return Err(Broken.into());
                }
                if frames.input.read(&mut [0])? != 0 {
                    return Err(Trouble::Damaged("something stands behind its end".into()));
                }
                totals.bytes = frames.bytes;
                return Ok((head, totals));
            }
            _ => return Err(Broken.into()),
        }
    }
}

fn changes(mut bytes: &[u8]) -> std::result::Result<Vec<Op>, Broken> {
    fn field(bytes: &mut &[u8]) -> std::result::Result<Bytes, Broken> {
        let (len, rest) = bytes.split_first_chunk().ok_or(Broken)?;
        let (field, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(Broken)?;
        *bytes = rest;
        Ok(field.into())
    }
    let mut ops = Vec::new();
    while let Some(([tag, tree], rest)) = bytes.split_first_chunk() {
        bytes = rest;
        let tree = Tree::of_number(*tree).ok_or(Broken)?;
        let key = field(&mut bytes)?;
        ops.push(match tag {
            0 => Op::Put(tree, key, field(&mut bytes)?),
            1 => Op::Delete(tree, key),
            2 => Op::DeleteAll(tree, key),
            _ => return Err(Broken),
        });
    }
    if bytes.is_empty() { Ok(ops) } else { Err(Broken) }
}

/// A name below the data folder, of a few folders at most, that leads nowhere else.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
    };
    name.len() <= NAME_BYTES && name.split('/').count() <= 4 && name.split('/').all(fits)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// Keeps everything.
    #[derive(Default, PartialEq, Eq, Debug)]
    pub(crate) struct Kept {
        pub(crate) files: Vec<(String, Vec<u8>)>,
        pub(crate) ops: Vec<Op>,
    }

    impl Sink for Kept {
        fn file(&mut self, name: &str) -> Result<()> {
            self.files.push((name.into(), Vec::new()));
            Ok(())
        }
        fn data(&mut self, bytes: &[u8]) -> Result<()> {
            self.files.last_mut().unwrap().1.extend_from_slice(bytes);
            Ok(())
        }
        fn changes(&mut self, ops: Vec<Op>) -> Result<()> {
            self.ops.extend(ops);
            Ok(())
        }
    }

    fn head() -> Head {
        Head { layout: LAYOUT, schema: 1, program: "0.1.0".into(), domain: "example.org".into(), made: 7 }
    }

    fn sample(head: &Head) -> (Vec<u8>, Kept) {
        let ops = vec![
            Op::Put(Tree::Account, (*b"juliet").into(), vec![7; 300].into()),
            Op::Delete(Tree::Offline, (*b"juliet\0").into()),
            Op::DeleteAll(Tree::Private, Bytes::default()),
            Op::Put(Tree::Vcard, (*b"romeo").into(), vec![8; VALUE_BYTES].into()),
        ];
        let files = vec![
            ("domain".to_owned(), b"example.org\n".to_vec()),
            ("db/log/1".to_owned(), vec![9; FILL_BYTES + 1]),
            ("cert/empty".to_owned(), vec![]),
        ];
        let mut writer = Writer::new(Vec::new(), head).unwrap();
        writer.changes(&ops[..2]).unwrap();
        for (name, content) in &files {
            writer.file(name, &content[..], content.len() as u64).unwrap();
        }
        writer.changes(&ops[2..]).unwrap();
        let (out, totals) = writer.finish().unwrap();
        assert_eq!(totals, Totals { files: 3, changes: 4, bytes: out.len() as u64 });
        (out, Kept { files, ops })
    }

    fn error(bytes: &[u8]) -> String {
        read("b", bytes, &mut Look).unwrap_err().0
    }

    #[test]
    fn what_went_in_comes_out() {
        let (bytes, content) = sample(&head());
        let mut kept = Kept::default();
        let (found, totals) = read("b", &bytes[..], &mut kept).unwrap();
        assert_eq!((found, totals.files, totals.changes), (head(), 3, 4));
        assert_eq!(totals.bytes, bytes.len() as u64);
        assert_eq!(kept, content);
    }

    /// Tags, and the numbers of trees.
    #[test]
    fn changes_stand_there_as_in_backups_that_people_have() {
        let mut writer = Writer::new(Vec::new(), &head()).unwrap();
        let ops = [
            Op::Put(Tree::Vcard, (*b"k").into(), (*b"value").into()),
            Op::Delete(Tree::Offline, (*b"k").into()),
            Op::DeleteAll(Tree::Token, (*b"k").into()),
        ];
        writer.changes(&ops).unwrap();
        let (out, _) = writer.finish().unwrap();
        let rows = b"\x00\x05\x01\0\0\0k\x05\0\0\0value\x01\x06\x01\0\0\0k\x02\x0c\x01\0\0\0k";
        assert!(out.windows(rows.len()).any(|bytes| bytes == rows));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_seen() {
        let (bytes, _) = sample(&head());
        // All of the small frames, and samples of the long ones.
        let places = (0..bytes.len()).filter(|at| *at < 1000 || bytes.len() - at < 300 || at % 997 == 0);
        for at in places {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            let said = error(&bad);
            assert!(said.contains("damaged"), "byte {at}: {said}");
            let said = error(&bytes[..at]);
            assert!(said.contains("damaged"), "cut at {at}: {said}");
        }
        assert!(error(&[&bytes[..], b"x"].concat()).contains("behind its end"));
        assert!(error(b"PK").contains("not a backup"));
    }

    #[test]
    fn parts_cannot_be_left_out_or_moved() {
        let (bytes, _) = sample(&head());
        let mut frames = vec![];
        let mut at = MAGIC.len();
        while at < bytes.len() {
            let len = u32::from_le_bytes(bytes[at + 1..at + 5].try_into().unwrap()) as usize;
            frames.push(&bytes[at..at + 5 + len + SHA256_OUTPUT_LEN]);
            at += 5 + len + SHA256_OUTPUT_LEN;
        }
        for skip in 0..frames.len() {
            let rest: Vec<u8> =
                frames.iter().enumerate().filter(|(n, _)| *n != skip).flat_map(|(_, f)| *f).copied().collect();
            assert!(error(&[&MAGIC[..], &rest].concat()).contains("damaged"), "without frame {skip}");
        }
        frames.swap(1, 2);
        assert!(error(&[&MAGIC[..], &frames.concat()].concat()).contains("damaged"));
    }

    #[test]
    fn newer_ones_are_told_apart_from_damaged_ones() {
        for head in [Head { layout: LAYOUT + 1, program: "9.1".into(), ..head() }, Head { schema: 77, ..head() }] {
            let said = error(&sample(&head).0);
            assert!(said.contains("newer version") && said.contains(&head.program), "{said}");
        }
        let mut bytes = sample(&head()).0;
        bytes[MAGIC.len() - 1] = b'2';
        assert!(error(&bytes).contains("newer version"));
    }

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["domain", "cert/ca.key", "db/log/0001.seg", "a/b/c/d"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", "/etc/passwd", "../x", "cert/../x", ".hidden", "a//b", "a/b/c/d/e", "a\\b", "a\0", "cert/"] {
            assert!(!is_name(name), "{name}");
        }
    }
}
