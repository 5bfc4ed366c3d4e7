//! Where in a segment the entries of an archive are.
//!
//! While a segment grows its [`Index`] is in memory. When it is sealed the index becomes a file beside it, and only a small
//! filter stays in memory. The file is never synced: it can be made anew from its segment, and is, whenever it is missing, does
//! not fit or a checksum does not hold.
//!
//! - Header and filter, with one checksum: what the segment holds, and a Bloom filter over owners and pairs of owner and other
//!   side.
//! - Three tables, one behind the other, in blocks of [`BLOCK_BYTES`] with a checksum each: numbers and places of one frame in
//!   each [`STRIDE_BYTES`] of the segment; hashes of owners and where their places begin; the places, with a short hash of
//!   the other side. What hashes find is held against the entry itself.

use super::frame::{Edge, Frame, VERSION, u32_at, u64_at};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: &[u8; 8] = b"ingleidx";
const HEADER_BYTES: usize = 96;
/// Bytes of a block of the tables, with its checksum.
const BLOCK_BYTES: usize = 4096;
const BLOCK_ROOM: usize = BLOCK_BYTES - 4;
/// A step of the table of numbers, in bytes of the segment.
const STRIDE_BYTES: u32 = 4096;
/// The largest filter, in bytes: 1,600 owners and pairs with one false hit in a hundred.
const FILTER_BYTES: usize = 2048;
const FILTER_BITS_EACH: usize = 10;
const FILTER_HASHES: u64 = 5;

const STRIDE_ROW: usize = 12;
const OWNER_ROW: usize = 12;
const PLACE_ROW: usize = 6;

/// FNV-1a, 64 bits, and stirred, so that all its bits are worth the same.
fn hash(text: &[u8]) -> u64 {
    stir(text.iter().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01b3)))
}

fn stir(mut h: u64) -> u64 {
    h = (h ^ (h >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    h ^ (h >> 32)
}

/// An owner and perhaps the other side, as the index knows them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    owner: u64,
    with: Option<u16>,
}

impl Key {
    pub(super) fn new(owner: &str, with: Option<&str>) -> Key {
        Key { owner: hash(owner.as_bytes()), with: with.map(|with| hash(with.as_bytes()) as u16) }
    }
    fn for_filter(self) -> u64 {
        self.with.map_or(self.owner, |with| stir(self.owner ^ (u64::from(with) + 1)))
    }
}

/// A frame that an owner has an entry in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    at: u32,
    with: u16,
}

/// The index of a segment, in memory.
#[derive(Clone, Default, Debug)]
pub(super) struct Index {
    strides: Vec<(u64, u32)>,
    owners: HashMap<u64, Vec<Place>>,
}

impl Index {
    /// Takes in the next frame.
    pub(super) fn add(&mut self, at: u32, frame: &Frame<'_>) {
        for (n, entry) in frame.entries().enumerate() {
            if n == 0 && self.strides.last().is_none_or(|(_, before)| at - before >= STRIDE_BYTES) {
                self.strides.push((entry.id, at));
            }
            for (owner, with) in entry.copies() {
                let place = Place { at, with: hash(with) as u16 };
                let places = self.owners.entry(hash(owner)).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        }
    }

    /// Whether it knows no frame.
    pub(super) fn is_empty(&self) -> bool {
        self.strides.is_empty()
    }

    /// Forgets the frames from a place on.
    pub(super) fn cut(&mut self, end: u32) {
        self.strides.retain(|(_, at)| *at < end);
        self.owners.retain(|_, places| {
            places.retain(|place| place.at < end);
            !places.is_empty()
        });
    }

    /// Writes the file of a segment that is sealed.
    pub(super) fn write(&self, path: &Path, facts: Facts) -> io::Result<Sealed> {
        let mut owners: Vec<_> = self.owners.iter().collect();
        owners.sort_unstable_by_key(|(owner, _)| **owner);
        let mut keys = Vec::new();
        for (owner, places) in &owners {
            keys.push(Key { owner: **owner, with: None }.for_filter());
            let mut withs: Vec<_> = places.iter().map(|place| place.with).collect();
            withs.sort_unstable();
            withs.dedup();
            keys.extend(withs.into_iter().map(|with| Key { owner: **owner, with: Some(with) }.for_filter()));
        }
        let filter = Filter::new(&keys);
        let places: usize = owners.iter().map(|(_, places)| places.len()).sum();
        let counts = [self.strides.len(), owners.len(), places].map(|n| n as u32);

        let mut out = Vec::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(filter.0.len() as u32).to_le_bytes());
        let Facts { sequence, size, first, edge, before } = facts;
        for number in [sequence, size, first, edge.last, edge.number, edge.low, before] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        counts.iter().for_each(|n| out.extend_from_slice(&n.to_le_bytes()));
        out.resize(HEADER_BYTES, 0);
        out.extend_from_slice(&filter.0);
        let sum = crc32fast::hash(&out);
        out[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());

        let mut tables =
            Vec::with_capacity(self.strides.len() * STRIDE_ROW + owners.len() * OWNER_ROW + places * PLACE_ROW);
        for (id, at) in &self.strides {
            tables.extend_from_slice(&id.to_le_bytes());
            tables.extend_from_slice(&at.to_le_bytes());
        }
        let mut start = 0_u32;
        for (owner, places) in &owners {
            tables.extend_from_slice(&owner.to_le_bytes());
            tables.extend_from_slice(&start.to_le_bytes());
            start += places.len() as u32;
        }
        for place in owners.iter().flat_map(|(_, places)| places.iter()) {
            tables.extend_from_slice(&place.at.to_le_bytes());
            tables.extend_from_slice(&place.with.to_le_bytes());
        }
        for (n, block) in tables.chunks(BLOCK_ROOM).enumerate() {
            out.extend_from_slice(block);
            out.extend_from_slice(&block_sum(sequence, n, block));
        }
        if let Err(e) = fs::write(path, &out) {
            let _ = fs::remove_file(path);
            return Err(e);
        }
        Ok(Sealed { facts, index_size: out.len() as u64, filter, counts })
    }
}

fn block_sum(sequence: u64, n: usize, block: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&sequence.to_le_bytes());
    crc.update(&(n as u64).to_le_bytes());
    crc.update(block);
    crc.finalize().to_le_bytes()
}

/// A Bloom filter of the archives that a segment has entries of.
#[derive(Clone, Debug)]
struct Filter(Box<[u8]>);

impl Filter {
    fn new(keys: &[u64]) -> Filter {
        let bytes = (keys.len() * FILTER_BITS_EACH).div_ceil(8).clamp(8, FILTER_BYTES);
        let mut filter = Filter(vec![0; bytes].into());
        for key in keys {
            for bit in filter.bits(*key) {
                filter.0[bit / 8] |= 1 << (bit % 8);
            }
        }
        filter
    }
    fn bits(&self, key: u64) -> impl Iterator<Item = usize> + use<> {
        let (len, step) = (self.0.len() as u64 * 8, stir(key) | 1);
        (0..FILTER_HASHES).map(move |i| (key.wrapping_add(i.wrapping_mul(step)) % len) as usize)
    }
    fn may_have(&self, key: u64) -> bool {
        self.bits(key).all(|bit| self.0[bit / 8] & (1 << (bit % 8)) != 0)
    }
}

/// What is known of a sealed segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Facts {
    pub(super) sequence: u64,
    /// Its length, in bytes.
    pub(super) size: u64,
    /// The number of its first entry; the greatest there is if it has none.
    pub(super) first: u64,
    /// What it ends with.
    pub(super) edge: Edge,
    /// The number of the last frame before it.
    pub(super) before: u64,
}

/// A sealed segment and its index.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) facts: Facts,
    pub(super) index_size: u64,
    filter: Filter,
    /// Rows of the tables: strides, owners, places.
    counts: [u32; 3],
}

impl Sealed {
    /// Opens the index of a segment of so many bytes; nothing if it is not readable, or of another segment.
    pub(super) fn open(path: &Path, sequence: u64, size: u64) -> io::Result<Option<Sealed>> {
        let file = match File::open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let index_size = file.metadata()?.len();
        let mut head = vec![0; index_size.min((HEADER_BYTES + FILTER_BYTES) as u64) as usize];
        file.read_exact_at(&mut head, 0)?;
        if head.len() < HEADER_BYTES || head[..8] != *MAGIC || u32_at(&head, 8) != VERSION {
            return Ok(None);
        }
        let filter = u32_at(&head, 12) as usize;
        if filter == 0 || filter > FILTER_BYTES || head.len() < HEADER_BYTES + filter {
            return Ok(None);
        }
        head.truncate(HEADER_BYTES + filter);
        let sum = u32_at(&head, HEADER_BYTES - 4);
        head[HEADER_BYTES - 4..HEADER_BYTES].fill(0);
        let number = |n: usize| u64_at(&head, 16 + n * 8);
        let facts = Facts {
            sequence: number(0),
            size: number(1),
            first: number(2),
            edge: Edge { last: number(3), number: number(4), low: number(5) },
            before: number(6),
        };
        let counts = [72, 76, 80].map(|at| u32_at(&head, at));
        let sealed = Sealed { facts, index_size, filter: Filter(head[HEADER_BYTES..].into()), counts };
        let fits = crc32fast::hash(&head) == sum
            && facts.sequence == sequence
            && facts.size == size
            && sealed.tables_at() + sealed.tables_bytes().div_ceil(BLOCK_ROOM as u64) * 4 + sealed.tables_bytes()
                == index_size;
        Ok(fits.then_some(sealed))
    }

    /// Whether entries of such an archive may be in the segment.
    pub(super) fn may_have(&self, key: Key) -> bool {
        self.filter.may_have(key.for_filter())
    }

    fn tables_at(&self) -> u64 {
        (HEADER_BYTES + self.filter.0.len()) as u64
    }
    fn tables_bytes(&self) -> u64 {
        let rows = [STRIDE_ROW, OWNER_ROW, PLACE_ROW];
        self.counts.iter().zip(rows).map(|(n, row)| u64::from(*n) * row as u64).sum()
    }
}

/// An open index file, with the block that was read last.
#[derive(Debug)]
pub(super) struct Tables {
    file: File,
    block: Vec<u8>,
    number: u64,
}

impl Tables {
    pub(super) fn open(path: &Path) -> io::Result<Tables> {
        Ok(Tables { file: File::open(path)?, block: Vec::new(), number: u64::MAX })
    }

    fn block(&mut self, sealed: &Sealed, number: u64) -> io::Result<()> {
        if self.number == number {
            return Ok(());
        }
        self.number = u64::MAX;
        let left = sealed.tables_bytes().saturating_sub(number * BLOCK_ROOM as u64);
        let len = left.min(BLOCK_ROOM as u64) as usize;
        self.block.resize(len + 4, 0);
        self.file.read_exact_at(&mut self.block, sealed.tables_at() + number * BLOCK_BYTES as u64)?;
        if block_sum(sealed.facts.sequence, number as usize, &self.block[..len]) != self.block[len..] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.number = number;
        Ok(())
    }

    fn row<const N: usize>(&mut self, sealed: &Sealed, table: usize, n: usize) -> io::Result<[u8; N]> {
        let rows = [STRIDE_ROW, OWNER_ROW, PLACE_ROW];
        let before: usize = (0..table).map(|t| sealed.counts[t] as usize * rows[t]).sum();
        let (mut at, mut out, mut done) = (before + n * N, [0; N], 0);
        while done < N {
            self.block(sealed, (at / BLOCK_ROOM) as u64)?;
            let part = self.block[..self.block.len() - 4].get(at % BLOCK_ROOM..).unwrap_or_default();
            let len = part.len().min(N - done);
            if len == 0 {
                return Err(io::ErrorKind::InvalidData.into());
            }
            out[done..done + len].copy_from_slice(&part[..len]);
            (at, done) = (at + len, done + len);
        }
        Ok(out)
    }

    /// Reads all of it.
    pub(super) fn check(&mut self, sealed: &Sealed) -> io::Result<()> {
        (0..sealed.tables_bytes().div_ceil(BLOCK_ROOM as u64)).try_for_each(|n| self.block(sealed, n))
    }
}

/// The index of any segment. Errors of kind `InvalidData` and `UnexpectedEof`: the file of the index is damaged.
pub(super) enum View<'a> {
    Memory(&'a Index),
    File(&'a Sealed, &'a mut Tables),
}

/// The least `n` below `len` for which `is_behind` holds, or `len`.
fn partition(len: usize, mut is_behind: impl FnMut(usize) -> io::Result<bool>) -> io::Result<usize> {
    let (mut low, mut high) = (0, len);
    while low < high {
        let middle = low + (high - low) / 2;
        if is_behind(middle)? {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Ok(low)
}

impl View<'_> {
    fn strides(&self) -> usize {
        match self {
            View::Memory(index) => index.strides.len(),
            View::File(sealed, _) => sealed.counts[0] as usize,
        }
    }
    fn stride(&mut self, n: usize) -> io::Result<(u64, u32)> {
        match self {
            View::Memory(index) => Ok(index.strides[n]),
            View::File(sealed, tables) => {
                let row = tables.row::<STRIDE_ROW>(sealed, 0, n)?;
                Ok((u64_at(&row, 0), u32_at(&row, 8)))
            }
        }
    }

    /// Where to begin to read for the entry `id` and what follows; before it only smaller ones are.
    pub(super) fn begin(&mut self, id: u64) -> io::Result<Option<u32>> {
        let len = self.strides();
        if len == 0 {
            return Ok(None);
        }
        let behind = partition(len, |n| Ok(self.stride(n)?.0 > id))?;
        Ok(Some(self.stride(behind.saturating_sub(1))?.1))
    }

    /// From where on there are only entries behind `id`.
    fn end(&mut self, id: u64) -> io::Result<u32> {
        let len = self.strides();
        let behind = partition(len, |n| Ok(self.stride(n)?.0 > id))?;
        if behind == len { Ok(u32::MAX) } else { Ok(self.stride(behind)?.1) }
    }

    /// The places of the frames that may have entries of an archive with numbers `from..=to`.
    pub(super) fn find(mut self, key: Key, from: u64, to: u64) -> io::Result<Places<Self>> {
        let (begin, end) = (self.begin(from)?.unwrap_or(u32::MAX), self.end(to)?);
        let (start, len) = match &mut self {
            View::Memory(index) => (0, index.owners.get(&key.owner).map_or(0, Vec::len)),
            View::File(sealed, tables) => {
                let [_, owners, places] = sealed.counts.map(|n| n as usize);
                let row = |tables: &mut Tables, n| tables.row::<OWNER_ROW>(sealed, 1, n);
                let n = partition(owners, |n| Ok(u64_at(&row(tables, n)?, 0) >= key.owner))?;
                if n == owners {
                    (0, 0)
                } else {
                    let found = row(tables, n)?;
                    let start = u32_at(&found, 8) as usize;
                    let next = if n + 1 == owners { places } else { u32_at(&row(tables, n + 1)?, 8) as usize };
                    if u64_at(&found, 0) == key.owner { (start, next.saturating_sub(start)) } else { (0, 0) }
                }
            }
        };
        let mut places = Places { view: self, key, start, rest: 0..len };
        let low = partition(len, |n| Ok(places.get(n)?.at >= begin))?;
        let high = partition(len, |n| Ok(places.get(n)?.at >= end))?;
        places.rest = low..high.max(low);
        Ok(places)
    }
}

/// Places that [`View::find`] has found, taken from either end.
pub(super) struct Places<V> {
    view: V,
    key: Key,
    start: usize,
    rest: std::ops::Range<usize>,
}

impl Places<View<'_>> {
    fn get(&mut self, n: usize) -> io::Result<Place> {
        match &mut self.view {
            View::Memory(index) => Ok(index.owners[&self.key.owner][n]),
            View::File(sealed, tables) => {
                let row = tables.row::<PLACE_ROW>(sealed, 2, self.start + n)?;
                Ok(Place { at: u32_at(&row, 0), with: u16::from_le_bytes([row[4], row[5]]) })
            }
        }
    }

    /// The next place, from the last one on if `backwards`.
    pub(super) fn next(&mut self, backwards: bool) -> io::Result<Option<u32>> {
        while let Some(n) = if backwards { self.rest.next_back() } else { self.rest.next() } {
            let place = self.get(n)?;
            if self.key.with.is_none_or(|with| with == place.with) {
                return Ok(Some(place.at));
            }
        }
        Ok(None)
    }
}
