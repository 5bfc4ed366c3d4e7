//! sled's file, read without sled: what of a damaged database is still readable.
//!
//! sled's own recovery takes all or nothing: one flipped bit may end it or make it wait for ever. But its file says more than it needs.
//! It is segments of [`SEGMENT_BYTES`], each a header and messages; a message has a checksum, the number of the segment it was written
//! for, and the number of its page. So every message that is whole is known, whatever stands around it, and its place in the order of
//! all messages, too: a later one counts more. A page is its newest whole copy and the changes behind that; a tree is the pages that its
//! root leads to, and those that fit into the gaps where something is missing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The length of a segment: sled's default, which the engine does not change.
const SEGMENT_BYTES: usize = 512 * 1024;
/// The length of a segment's header.
const SEGMENT_HEAD_BYTES: usize = 20;
/// The longest message besides padding: sled makes a file of what is longer.
const MESSAGE_BYTES: usize = SEGMENT_BYTES / 4;
/// Bytes of one segment that are summed for messages that turn out to be none; more is given up.
const FALSE_BYTES: usize = 64 * 1024 * 1024;
/// The longest page that stands in a file of its own.
const BLOB_BYTES: u64 = 64 * 1024 * 1024;

/// The page of the names of the trees.
const META_PAGE: u64 = 0;

/// Keys from the first up to the second; an empty second: up to the end.
pub(super) type Range = (Vec<u8>, Vec<u8>);

/// What is readable of a tree.
#[derive(Debug, Default)]
pub(super) struct Readable {
    pub(super) rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Nothing of what stood there is readable.
    pub(super) gone: Vec<Range>,
    /// It may be as it was at some time before.
    pub(super) old: Vec<Range>,
}

/// A whole message of the file.
#[derive(Clone, Copy, Debug)]
struct Message {
    order: u64,
    kind: u8,
    at: u64,
    len: usize,
}

#[derive(Debug)]
struct SledPage {
    order: u64,
    prefix: usize,
    low: Vec<u8>,
    high: Vec<u8>,
    next: Option<u64>,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Leaf(BTreeMap<Vec<u8>, Vec<u8>>),
    Index(BTreeMap<Vec<u8>, u64>),
}

/// Reads all that is readable of sled's files in `dir`: the trees by their names. `names`: in the order in which they were made, for
/// a file in which nothing says where they are.
///
/// # Errors
/// When the file cannot be read at all.
pub(super) fn read(dir: &Path, names: &[&str]) -> io::Result<BTreeMap<String, Readable>> {
    let file = File::open(dir.join("db"))?;
    let mut scan =
        Scan { file, blobs: dir.join("blobs"), pages: BTreeMap::new(), broken: BTreeMap::new(), torn: u64::MAX };
    scan.walk_file()?;
    Ok(scan.trees(names))
}

struct Scan {
    file: File,
    blobs: PathBuf,
    /// The messages of each page.
    pages: BTreeMap<u64, Vec<Message>>,
    /// Pages that a damaged message seems to be of, and the newest such one.
    broken: BTreeMap<u64, u64>,
    /// What is behind this belongs to a transaction that is not there whole.
    torn: u64,
}

impl Scan {
    fn walk_file(&mut self) -> io::Result<()> {
        let len = self.file.metadata()?.len();
        let (mut segment, mut manifests, mut newest) = (vec![0; SEGMENT_BYTES], Vec::new(), 0);
        let count = len.div_ceil(SEGMENT_BYTES as u64);
        // Every segment is written again and again: how often nobody knows.
        let most = self.newest_segment(count)?.saturating_add(1);
        for n in 0..count {
            let base = n * SEGMENT_BYTES as u64;
            let have = (len - base).min(SEGMENT_BYTES as u64) as usize;
            let bytes = &mut segment[..have];
            // A part that the card does not give is damage like any other.
            if self.file.read_exact_at(bytes, base).is_err() {
                bytes.fill(0);
                for (at, part) in (base..).step_by(512).zip(bytes.chunks_mut(512)) {
                    let _ = self.file.read_exact_at(part, at);
                }
            }
            // Only where a message must begin, a broken head is that of one.
            let (mut at, mut wasted, mut follows) = (SEGMENT_HEAD_BYTES, 0, true);
            while at < have && wasted < FALSE_BYTES {
                let here = std::mem::take(&mut follows);
                let Some((head, page, len, number)) = head(&bytes[at..], most) else {
                    at += 1;
                    continue;
                };
                let kind = bytes[at + 4];
                let body = at + head..at + head + len;
                let order = number * SEGMENT_BYTES as u64 + at as u64;
                let whole = bytes
                    .get(body.clone())
                    .is_some_and(|body| sum(&bytes[at + 4..at + head], body) == bytes[at..at + 4]);
                if !whole {
                    wasted += len;
                    if kind >= 4 && here {
                        let known = self.broken.entry(page).or_default();
                        *known = order.max(*known);
                    }
                    at += 1;
                    continue;
                }
                newest = newest.max(order + (head + len) as u64);
                if kind == 3 && len == 8 {
                    manifests.push((order, fixed(&bytes[body.clone()])));
                } else if kind >= 4 {
                    let message = Message { order, kind, at: base + body.start as u64, len };
                    self.pages.entry(page).or_default().push(message);
                }
                (at, follows) = (body.end, true);
            }
        }
        self.torn =
            manifests.into_iter().filter(|(_, last)| *last > newest).map(|(at, _)| at).min().unwrap_or(u64::MAX);
        for messages in self.pages.values_mut() {
            messages.retain(|message| message.order < self.torn);
            messages.sort_by_key(|message| message.order);
        }
        Ok(())
    }

    /// The greatest number of a segment that a header says.
    fn newest_segment(&self, count: u64) -> io::Result<u64> {
        let mut newest = count;
        for n in 0..count {
            let mut head = [0; SEGMENT_HEAD_BYTES];
            if self.file.read_exact_at(&mut head, n * SEGMENT_BYTES as u64).is_ok()
                && (crc32fast::hash(&head[4..]) ^ u32::MAX).to_le_bytes() == head[..4]
            {
                newest = newest.max((fixed(&head[4..12]) ^ (u64::MAX >> 1)) / SEGMENT_BYTES as u64);
            }
        }
        Ok(newest)
    }

    /// The body of a message, from its own file if it has one.
    fn body(&self, message: &Message) -> Option<Vec<u8>> {
        let mut body = vec![0; message.len];
        self.file.read_exact_at(&mut body, message.at).ok()?;
        // 7, 9 and 11 are the kinds 6, 8 and 10 with a file.
        if !matches!(message.kind, 7 | 9 | 11) {
            return Some(body);
        }
        let path = self.blobs.join((fixed(body.get(..8)?) as i64).to_string());
        if path.metadata().ok()?.len() > BLOB_BYTES {
            return None;
        }
        let mut bytes = std::fs::read(path).ok()?;
        let whole =
            bytes.len() > 5 && crc32fast::hash(&bytes[4..]).to_le_bytes() == bytes[..4] && bytes[4] == message.kind;
        whole.then(|| bytes.split_off(5))
    }

    /// The page as its newest readable copy and the changes behind it say; nothing if it was freed or is not readable.
    fn page(&self, number: u64) -> Option<SledPage> {
        let messages = self.pages.get(&number)?;
        for (n, base) in messages.iter().enumerate().rev() {
            match base.kind {
                4 => return None,
                8 | 9 => {
                    let Some(mut page) = self.body(base).and_then(|body| SledPage::read(&body, base.order)) else {
                        continue;
                    };
                    for link in messages[n + 1..].iter().filter(|link| matches!(link.kind, 10 | 11)) {
                        if self.body(link).and_then(|body| page.apply(&body)).is_some() {
                            page.order = link.order;
                        }
                    }
                    return Some(page);
                }
                _ => {}
            }
        }
        None
    }

    /// The roots of the trees, by the names.
    fn roots(&self, names: &[&str]) -> BTreeMap<String, u64> {
        for message in self.pages.get(&META_PAGE).into_iter().flatten().rev() {
            let Some(body) = self.body(message).filter(|_| matches!(message.kind, 6 | 7)) else { continue };
            let mut rest = &body[..];
            let mut roots = BTreeMap::new();
            while let Some((name, root)) = field(&mut rest).and_then(|name| Some((name.to_vec(), number(&mut rest)?))) {
                roots.insert(String::from_utf8_lossy(&name).into_owned(), root);
            }
            // Trees that were made since have their roots behind those of the others.
            for name in names {
                if !roots.contains_key(*name) {
                    let next = roots.values().max().map_or(3, |last| last + 2);
                    roots.insert((*name).to_owned(), next);
                }
            }
            return roots;
        }
        // In a new file a tree gets a leaf and then a root, behind two pages of sled's own and the tree that it makes by itself.
        (0..).zip(names).map(|(n, name)| ((*name).to_owned(), 5 + 2 * n)).collect()
    }

    fn trees(&self, names: &[&str]) -> BTreeMap<String, Readable> {
        let pages: BTreeMap<u64, SledPage> = self.pages.keys().filter_map(|n| Some((*n, self.page(*n)?))).collect();
        let mut walk = Walk { pages: &pages, seen: BTreeSet::new() };
        let mut trees: BTreeMap<String, (Vec<u64>, Vec<Range>)> = BTreeMap::new();
        for (name, root) in self.roots(names) {
            let mut tree = (Vec::new(), Vec::new());
            walk.visit(root, (Vec::new(), Vec::new()), &mut tree);
            trees.insert(name, tree);
        }
        // What no root leads to is of the tree that misses something there.
        let orphans: Vec<u64> = pages.keys().copied().filter(|n| !walk.seen.contains(n)).collect();
        for n in orphans {
            let Some(SledPage { data: Data::Leaf(_), low, high, .. }) = pages.get(&n) else { continue };
            let covers = |gap: &&Range| gap.0 <= *low && (gap.1.is_empty() || (!high.is_empty() && *high <= gap.1));
            let mut fits = trees.values_mut().filter(|(_, gone)| gone.iter().any(|gap| covers(&gap)));
            if let (Some((leaves, _)), None) = (fits.next(), fits.next()) {
                leaves.push(n);
            }
        }
        let tree = |(name, (leaves, gone))| (name, self.rows(&pages, leaves, gone));
        trees.into_iter().map(tree).collect()
    }

    /// Puts the leaves of a tree together.
    fn rows(&self, pages: &BTreeMap<u64, SledPage>, mut leaves: Vec<u64>, gone: Vec<Range>) -> Readable {
        let mut found = Readable { gone, ..Readable::default() };
        leaves.sort_by_key(|n| pages[n].order);
        for n in leaves {
            let SledPage { order, low, high, data: Data::Leaf(rows), .. } = &pages[&n] else { continue };
            // What an older page says of these keys is over.
            let stale: Vec<Vec<u8>> = found.rows.range(low.clone()..).map(|(key, _)| key.clone()).collect();
            for key in stale.into_iter().take_while(|key| high.is_empty() || key < high) {
                found.rows.remove(&key);
            }
            found.rows.extend(rows.iter().map(|(key, value)| (key.clone(), value.clone())));
            found.gone = found.gone.into_iter().flat_map(|gap| without(gap, low, high)).collect();
            if self.broken.get(&n).is_some_and(|broken| broken > order && *broken < self.torn) {
                found.old.push((low.clone(), high.clone()));
            }
        }
        found
    }
}

/// What is left of a gap where a page stands.
fn without((from, to): Range, low: &[u8], high: &[u8]) -> Vec<Range> {
    let is_apart = (!high.is_empty() && *high <= *from) || (!to.is_empty() && *to <= *low);
    if is_apart {
        return vec![(from, to)];
    }
    let mut left = Vec::new();
    if *from < *low {
        left.push((from, low.to_vec()));
    }
    if !high.is_empty() && (to.is_empty() || *high < *to) {
        left.push((high.to_vec(), to));
    }
    left
}

/// Follows the pages of trees.
struct Walk<'a> {
    pages: &'a BTreeMap<u64, SledPage>,
    seen: BTreeSet<u64>,
}

impl Walk<'_> {
    /// Goes to a page that has the keys of a range, and to all that it leads to: leaves and gaps are put into `tree`.
    fn visit(&mut self, root: u64, range: Range, tree: &mut (Vec<u64>, Vec<Range>)) {
        let mut open = vec![(root, range)];
        while let Some((n, (from, to))) = open.pop() {
            if !self.seen.insert(n) {
                continue;
            }
            let Some(page) = self.pages.get(&n) else {
                tree.1.push((from, to));
                continue;
            };
            match &page.data {
                Data::Leaf(_) => tree.0.push(n),
                Data::Index(children) => {
                    let ends = children.keys().skip(1).chain([&page.high]);
                    open.extend(
                        children.iter().zip(ends).map(|((key, child), end)| (*child, (key.clone(), end.clone()))),
                    );
                }
            }
            // A page that was split just now is known to its neighbour alone.
            if let Some(next) = page.next.filter(|next| self.pages.contains_key(next) && !page.high.is_empty()) {
                let already = open.iter().any(|(n, _)| *n == next);
                if !already {
                    open.push((next, (page.high.clone(), Vec::new())));
                }
            }
        }
    }
}

impl SledPage {
    fn read(mut bytes: &[u8], order: u64) -> Option<SledPage> {
        let rest = &mut bytes;
        let next = number(rest)?;
        let _merging_child = number(rest)?;
        let (flags, after) = rest.split_first_chunk::<2>()?;
        let prefix = usize::from(flags[1]);
        *rest = after;
        let (low, high) = (field(rest)?.to_vec(), field(rest)?.to_vec());
        let (kind, after) = rest.split_first()?;
        *rest = after;
        let count = number(rest)?;
        let whole = |key: &[u8]| Some([low.get(..prefix)?, key].concat());
        let mut keys = Vec::new();
        for _ in 0..count {
            keys.push(whole(field(rest)?)?);
        }
        let data = match kind {
            0 => Data::Leaf(keys.into_iter().map(|key| Some((key, field(rest)?.to_vec()))).collect::<Option<_>>()?),
            1 => Data::Index(keys.into_iter().map(|key| Some((key, number(rest)?))).collect::<Option<_>>()?),
            _ => return None,
        };
        Some(SledPage { order, prefix, low, high, next: (next > 0).then_some(next), data })
    }

    fn apply(&mut self, mut link: &[u8]) -> Option<()> {
        let (kind, rest) = link.split_first()?;
        link = rest;
        let Data::Leaf(rows) = &mut self.data else { return Some(()) };
        match kind {
            0 | 1 => {
                let key = [self.low.get(..self.prefix)?, field(&mut link)?].concat();
                if *kind == 0 {
                    rows.insert(key, field(&mut link)?.to_vec());
                } else {
                    rows.remove(&key);
                }
            }
            // About merging: the neighbour's next copy has all of it.
            _ => {}
        }
        Some(())
    }
}

/// The head of a message that may stand here: its length, the page, the length of the body, the number of the segment.
fn head(bytes: &[u8], most: u64) -> Option<(usize, u64, usize, u64)> {
    let mut rest = bytes.get(5..)?;
    let kind = bytes[4];
    if !(1..=11).contains(&kind) {
        return None;
    }
    let (len, segment, page) = (number(&mut rest)?, number(&mut rest)?, number(&mut rest)?);
    let longest = if kind <= 2 { SEGMENT_BYTES } else { MESSAGE_BYTES };
    (len <= longest as u64 && segment <= most).then_some((bytes.len() - rest.len(), page, len as usize, segment))
}

/// The checksum of a message.
fn sum(head: &[u8], body: &[u8]) -> [u8; 4] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(head);
    (hasher.finalize() ^ u32::MAX).to_le_bytes()
}

/// Up to eight bytes as a number.
fn fixed(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A number of one to nine bytes, as sled writes it.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (first, rest) = bytes.split_first()?;
    let len = match first {
        0..=240 => 0,
        241..=248 => 1,
        249 => 2,
        more => usize::from(*more) - 247,
    };
    let (digits, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some(match first {
        0..=240 => u64::from(*first),
        241..=248 => 240 + 256 * (u64::from(*first) - 241) + u64::from(digits[0]),
        249 => 2288 + 256 * u64::from(digits[0]) + u64::from(digits[1]),
        _ => fixed(digits),
    })
}

/// Bytes behind their length.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(number(bytes)?).ok()?;
    let (field, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(field)
}
