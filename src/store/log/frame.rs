//! What stands in a segment: a header, then frames, one for each batch that appended, and for those that came before it in the
//! same commit, so that batches are there in order after a crash.
//!
//! - Header ([`HEADER_BYTES`]): magic, version, the segment's sequence number, then what was before it: the greatest entry, the
//!   last frame and its `low`; a checksum. Newer versions keep the header's form, so that they are known to be newer.
//! - Frame: a check of the head (16 bits, so that a place where no frame begins is known at once), the length of the body, the
//!   frame's number, how far the segment was synced when it was written, a checksum of all that and the body; the body.
//! - Body: `low`, the entries, and if the batch changes trees, those changes. Small numbers are written as LEB128.
//!
//! Both checks take in the segment's number and the place, so that a frame counts only where it was written.

use super::super::copies::{is_of, pairs};
use super::super::leb128::{Cut, put, put_bytes};
use super::super::mark::newer;
use super::super::{Batch, Bytes, Entry, Op, StoreError, Tree};
use std::ops::Range;

/// The layout of segments and indexes this version writes and reads.
pub(super) const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"inglelog";

/// Bytes of a segment's header.
pub(super) const HEADER_BYTES: usize = 48;

/// Bytes of a frame's head: check, length, number, synced, checksum.
pub(super) const HEAD_BYTES: usize = 2 + 4 + 8 + 4 + 4;

/// Reads a little-endian number at a place that is there.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// Reads a little-endian number at a place that is there.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

/// What was in the log at some moment.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Edge {
    /// The greatest number of an entry.
    pub(super) last: u64,
    /// The number of the last frame.
    pub(super) number: u64,
    /// [`Batch::low`] of that frame.
    pub(super) low: u64,
}

impl Edge {
    /// Goes on to a frame.
    pub(super) fn pass(&mut self, frame: &Frame<'_>) {
        self.number = frame.number;
        if let Some(entry) = frame.entries().last() {
            (self.low, self.last) = (frame.low, entry.id);
        }
    }
}

/// A segment's header.
pub(super) fn header(sequence: u64, before: Edge) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    for (i, number) in [sequence, before.last, before.number, before.low].into_iter().enumerate() {
        out[12 + i * 8..20 + i * 8].copy_from_slice(&number.to_le_bytes());
    }
    let sum = crc32fast::hash(&out[..44]);
    out[44..].copy_from_slice(&sum.to_le_bytes());
    out
}

/// What a header says was before its segment; nothing if it is not readable.
///
/// Errors: [`StoreError::Newer`].
pub(super) fn read_header(bytes: &[u8], sequence: u64) -> Result<Option<Edge>, StoreError> {
    if bytes.len() < HEADER_BYTES || bytes[..8] != *MAGIC || crc32fast::hash(&bytes[..44]) != u32_at(bytes, 44) {
        return Ok(None);
    }
    let version = u32_at(bytes, 8);
    if version > VERSION {
        return Err(newer(version, VERSION));
    }
    let known = version == VERSION && u64_at(bytes, 12) == sequence;
    Ok(known.then(|| Edge { last: u64_at(bytes, 20), number: u64_at(bytes, 28), low: u64_at(bytes, 36) }))
}

/// The first check of a head: its fields, where it stands.
fn check(sequence: u64, place: u32, fields: &[u8]) -> [u8; 2] {
    let mut h = sequence ^ (u64::from(place) << 20);
    for number in [u64_at(fields, 0), u64_at(fields, 8)] {
        h = (h ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
    ((h >> 40) as u16).to_le_bytes()
}

fn sum(sequence: u64, place: u32, fields: &[u8], body: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_le_bytes());
    crc.update(&place.to_le_bytes());
    crc.update(fields);
    crc.update(body);
    crc.finalize().to_le_bytes()
}

/// `low` is near the first entry, or the greatest number there is, which is written as 0.
fn near(low: u64, id: u64) -> u64 {
    if low == u64::MAX {
        return 0;
    }
    let far = id.wrapping_sub(low).cast_signed();
    ((far << 1) ^ (far >> 63)).cast_unsigned().wrapping_add(1)
}

fn low(near: u64, id: u64) -> u64 {
    let Some(zigzag) = near.checked_sub(1) else { return u64::MAX };
    let far = (zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed());
    id.wrapping_sub(far.cast_unsigned())
}

/// Appends the frame of a batch. `out` begins at `base` of the segment, which is synced up to `synced`.
/// Returns the bytes of it that the batch asked to keep: numbers, names and values of entries.
pub(super) fn write(out: &mut Vec<u8>, sequence: u64, base: u32, number: u64, synced: u32, batch: &Batch) -> u64 {
    let start = out.len();
    let place = base.wrapping_add(start as u32);
    out.resize(start + HEAD_BYTES, 0);
    let entries = || batch.ops.iter().filter_map(|op| if let Op::Append(entry) = op { Some(entry) } else { None });
    let (mut before, mut kept) = (0, 0);
    put(out, near(batch.low, entries().next().map_or(0, |entry| entry.id)));
    put(out, entries().count() as u64);
    for entry in entries() {
        put(out, entry.id - before);
        before = entry.id;
        put(out, entry.copies.len() as u64);
        out.extend_from_slice(entry.copies.names());
        kept += 8 + entry.value.len() + entry.copies.bytes();
        put_bytes(out, &entry.value);
    }
    for op in &batch.ops {
        let (tag, tree, key) = match op {
            Op::Put(tree, key, _) => (0, tree, key),
            Op::Delete(tree, key) => (1, tree, key),
            Op::DeleteAll(tree, key) => (2, tree, key),
            Op::Append(_) | Op::Trim { .. } => continue,
        };
        out.extend_from_slice(&[tag, tree.number()]);
        put_bytes(out, key);
        if let Op::Put(_, _, value) = op {
            put_bytes(out, value);
        }
    }
    let (head, body) = out[start..].split_at_mut(HEAD_BYTES);
    head[2..6].copy_from_slice(&(body.len() as u32).to_le_bytes());
    head[6..14].copy_from_slice(&number.to_le_bytes());
    head[14..18].copy_from_slice(&synced.to_le_bytes());
    let (check, sum) = (check(sequence, place, &head[2..18]), sum(sequence, place, &head[2..18], body));
    head[..2].copy_from_slice(&check);
    head[18..].copy_from_slice(&sum);
    kept as u64
}

/// A frame whose checksum holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) number: u64,
    pub(super) synced: u32,
    pub(super) low: u64,
    /// Bytes of all of it.
    pub(super) len: u32,
    count: u64,
    /// Entries and changes.
    body: &'a [u8],
}

/// An entry as it stands in a frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) id: u64,
    copies: u64,
    names: &'a [u8],
    pub(super) value: &'a [u8],
}

/// Whether a frame may begin here, and its length then; `bytes` are what stands from `place` on.
pub(super) fn length(bytes: &[u8], sequence: u64, place: u32) -> Option<usize> {
    let head = bytes.get(..HEAD_BYTES)?;
    (check(sequence, place, &head[2..18]) == head[..2]).then(|| HEAD_BYTES.saturating_add(u32_at(head, 2) as usize))
}

/// The frame that begins here, if one does.
pub(super) fn read(bytes: &[u8], sequence: u64, place: u32) -> Option<Frame<'_>> {
    let len = length(bytes, sequence, place)?;
    let (head, body) = bytes.get(..len)?.split_at(HEAD_BYTES);
    if sum(sequence, place, &head[2..18], body) != head[18..] { None } else { written(bytes) }
}

/// The frame that [`write()`] has just written here: nothing needs to be checked.
pub(super) fn written(bytes: &[u8]) -> Option<Frame<'_>> {
    let len = HEAD_BYTES.saturating_add(u32_at(bytes.get(..HEAD_BYTES)?, 2) as usize);
    let (head, body) = bytes.get(..len)?.split_at(HEAD_BYTES);
    let mut rest = Cut(body);
    let (near, count) = (rest.number()?, rest.number()?);
    let first = if count > 0 { Cut(rest.0).number()? } else { 0 };
    Some(Frame {
        number: u64_at(head, 6),
        synced: u32_at(head, 14),
        low: low(near, first),
        len: len as u32,
        count,
        body: rest.0,
    })
}

impl<'a> Cut<'a> {
    fn entry(&mut self, before: u64) -> Option<Found<'a>> {
        let id = before.checked_add(self.number()?)?;
        let copies = self.number()?;
        let names = self.0;
        for _ in 0..copies {
            self.bytes()?;
            self.bytes()?;
        }
        let names = &names[..names.len() - self.0.len()];
        Some(Found { id, copies, names, value: self.bytes()? })
    }
    fn op(&mut self) -> Option<Op> {
        let [tag, tree] = *self.take(2)? else { return None };
        let tree = Tree::of_number(tree)?;
        let key = Bytes::from(self.bytes()?);
        match tag {
            0 => Some(Op::Put(tree, key, self.bytes()?.into())),
            1 => Some(Op::Delete(tree, key)),
            2 => Some(Op::DeleteAll(tree, key)),
            _ => None,
        }
    }
}

impl<'a> Frame<'a> {
    pub(super) fn entries(&self) -> impl Iterator<Item = Found<'a>> + use<'a> {
        let (mut rest, mut before) = (Cut(self.body), 0);
        (0..self.count).map_while(move |_| {
            let entry = rest.entry(before)?;
            before = entry.id;
            Some(entry)
        })
    }

    /// The whole batch, if it changes trees.
    pub(super) fn batch(&self) -> Option<Batch> {
        let mut rest = Cut(self.body);
        let mut batch = Batch { ops: Vec::new(), low: self.low };
        let mut before = 0;
        for _ in 0..self.count {
            let entry = rest.entry(before)?;
            before = entry.id;
            let text = String::from_utf8_lossy;
            let copies = entry.copies().map(|(owner, with)| (text(owner), text(with))).collect();
            batch.append(Entry { id: entry.id, copies, value: entry.value.into() });
        }
        if rest.0.is_empty() {
            return None;
        }
        while !rest.0.is_empty() {
            batch.ops.push(rest.op()?);
        }
        Some(batch)
    }
}

impl<'a> Found<'a> {
    /// The archives it is in: owner and the other side.
    pub(super) fn copies(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        pairs(self.copies, self.names)
    }

    /// Whether it is in this archive, with this other side if one is asked for.
    pub(super) fn is_of(&self, owner: &str, with: Option<&str>) -> bool {
        self.copies().any(|pair| is_of(pair, owner, with))
    }
}

/// What a walk over a segment meets.
pub(super) enum Step<'a> {
    /// A frame, at its place.
    Frame(u32, Frame<'a>),
    /// Bytes that are none.
    Bad(Range<u32>),
}

/// Walks over all that stands in a part of a segment, which begins at `base`.
pub(super) fn scan(bytes: &[u8], sequence: u64, base: u32) -> impl Iterator<Item = Step<'_>> {
    let place = move |at: usize| base.wrapping_add(at as u32);
    let frame = move |at: usize| read(&bytes[at..], sequence, place(at));
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        let from = at;
        if let Some(found) = frame(at) {
            at += found.len as usize;
            return Some(Step::Frame(place(from), found));
        }
        at += 1;
        while at < bytes.len() && frame(at).is_none() {
            at += 1;
        }
        Some(Step::Bad(place(from)..place(at)))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn batch(id: u64) -> Batch {
        let mut batch = Batch { ops: Vec::new(), low: id - 3 };
        for id in [id, id + 1] {
            let copies = [("juliet", "romeo@example.org"), ("romeo", "juliet@example.org")].into_iter().collect();
            batch.append(Entry { id, copies, value: vec![id as u8; 200].into() });
        }
        batch
    }

    /// Tags, and the numbers of trees.
    #[test]
    fn changes_stand_there_as_on_disks() {
        let mut whole = batch(99);
        whole.put(Tree::Offline, *b"key", *b"value");
        whole.delete(Tree::Archive, *b"k");
        whole.delete_all(Tree::Roster, *b"r");
        let mut out = Vec::new();
        write(&mut out, 4, 50, 6, 7, &whole);
        assert!(out.ends_with(b"\x00\x06\x03key\x05value\x01\x07\x01k\x02\x02\x01r"));
    }

    #[test]
    fn a_batch_comes_back() {
        for low in [0, 1, 98, 99, 100, 101, 5_000_000, u64::MAX - 1, u64::MAX] {
            let mut whole = Batch { low, ..batch(99) };
            whole.put(Tree::Offline, *b"key", vec![7; 300]);
            whole.delete(Tree::Archive, *b"");
            whole.delete_all(Tree::Roster, *b"r");
            let mut out = vec![1, 2, 3];
            write(&mut out, 4, 50, 6, 7, &whole);
            let frame = read(&out[3..], 4, 53).unwrap();
            assert_eq!((frame.number, frame.synced, frame.low), (6, 7, low));
            assert_eq!(frame.batch(), Some(whole));
            assert!(read(&out[3..], 5, 53).is_none() && read(&out[3..], 4, 54).is_none());
        }
        let mut out = Vec::new();
        write(&mut out, 4, 50, 6, 7, &batch(99));
        let frame = read(&out, 4, 50).unwrap();
        assert_eq!(frame.batch(), None);
        let ids: Vec<_> = frame.entries().map(|e| e.id).collect();
        assert_eq!(ids, [99, 100]);
        assert!(frame.entries().all(|e| e.is_of("juliet", None) && e.is_of("romeo", Some("juliet@example.org"))));
        assert!(!frame.entries().any(|e| e.is_of("juliet", Some("juliet@example.org")) || e.is_of("nurse", None)));
    }

    #[test]
    fn every_flipped_bit_is_seen_and_costs_one_frame() {
        let mut out = Vec::new();
        for n in 0..3 {
            write(&mut out, 9, 48, n, 48, &batch(100 + n * 10));
        }
        let third = out.len() / 3;
        for bit in third * 8..third * 16 {
            let mut bad = out.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let mut found = Vec::new();
            for step in scan(&bad, 9, 48) {
                match step {
                    Step::Frame(_, frame) => found.push(frame.number),
                    Step::Bad(range) => assert_eq!(range, 48 + third as u32..48 + 2 * third as u32),
                }
            }
            assert_eq!(found, [0, 2], "bit {bit}");
        }
        for cut in 0..out.len() {
            assert_eq!(scan(&out[..cut], 9, 48).filter(|s| matches!(s, Step::Frame(..))).count(), cut / third);
        }
    }

    #[test]
    fn headers_come_back_and_newer_ones_are_refused() {
        let edge = Edge { last: 5, number: 6, low: u64::MAX };
        let good = header(3, edge);
        assert_eq!(read_header(&good, 3).unwrap(), Some(edge));
        assert_eq!(read_header(&good, 4).unwrap(), None);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read_header(&bad, 3).unwrap(), None);
        }
        let mut new = good;
        new[8] = 2;
        let sum = crc32fast::hash(&new[..44]);
        new[44..].copy_from_slice(&sum.to_le_bytes());
        assert!(matches!(read_header(&new, 3), Err(StoreError::Newer(_))));
    }
}
