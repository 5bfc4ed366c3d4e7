//! The message log: entries in files that only grow.
//!
//! A folder holds segments, `NNNNNNNNNNNNNNNN.seg`, named by their sequence number in hexadecimal, and for each that is sealed
//! its index, `.idx`; `frame` and `index` say what stands in them. All batches of a commit that append are one write and one
//! sync, and never in two segments. A segment that passes [`SEGMENT_BYTES`] is sealed before the next commit. In memory are the
//! index of the newest segment and of each other one a filter of at most 2 KiB, whatever the log holds.
//!
//! What is read is checked every time. What does not hold is left out, and a line of the program's log says where:
//!
//! - At the end of the newest segment it is what a crash tore, and is cut off, unless something knows that it was synced: a
//!   later frame, or the mark.
//! - Anywhere else it is damage. Other frames are served.
//! - An index is made anew. A missing segment is told; a missing oldest one looks like [`super::Op::Trim`].

mod frame;
mod index;

use super::disk::{RESERVE_BYTES, RESERVE_DELETING_BYTES};
use super::{Batch, Entry, Op, Page, Rows, StoreError, VALUE_BYTES, Written, disk};
use frame::{Edge, Found, Frame, HEAD_BYTES, HEADER_BYTES, Step};
use index::{Facts, Index, Key, Sealed, Tables, View};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A segment that is longer gets no more commits, in bytes.
pub(crate) const SEGMENT_BYTES: u64 = 2 * 1024 * 1024;

/// The longest name in a [`super::Copies`], in bytes: a bare JID has at most 2,047.
const NAME_BYTES: usize = 4096;
/// The most archives that one entry is in.
const COPIES: usize = 4096;
/// Sealed segments whose files are kept open.
const OPEN_SEGMENTS: usize = 8;
/// Bytes that are read at once, where frames are not longer.
const WINDOW_BYTES: u32 = 8 * 1024;
/// How much of them is ahead when the walk goes backwards.
const WINDOW_AHEAD_BYTES: u32 = 1024;
/// Memory for reading and writing that stays between two uses, in bytes.
const KEPT_BYTES: usize = 64 * 1024;

/// The log in a folder.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    /// From the oldest on.
    sealed: Vec<Sealed>,
    active: Option<Active>,
    edge: Edge,
    files: Files,
    /// What the next write writes.
    buffer: Vec<u8>,
    /// What was there before the last commit, and where in the newest segment it begins.
    before: Option<(Edge, u32)>,
    written: Written,
    /// Why nothing more can be appended.
    failed: Option<String>,
    segment_bytes: u64,
    sync: bool,
    /// Bytes that stay free on the disk.
    reserve: u64,
}

/// The newest segment.
#[derive(Debug)]
struct Active {
    sequence: u64,
    file: File,
    /// Where it ends.
    len: u32,
    /// See [`Facts`].
    first: u64,
    before: u64,
    index: Index,
}

fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016x}.seg"))
}

fn index_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016x}.idx"))
}

/// The sequence numbers of the files in a folder whose names end so, ascending.
fn sequences(dir: &Path, end: &str) -> Result<Vec<u64>, StoreError> {
    let entries = disk::entries(dir).map_err(|e| disk::refused("read", dir, &e))?;
    let number = |name: &str| match name.strip_suffix(end) {
        Some(digits) if digits.len() == 16 => u64::from_str_radix(digits, 16).ok(),
        _ => None,
    };
    Ok(entries.iter().filter_map(|entry| entry.file_name().to_str().and_then(number)).collect())
}

/// Whether an error says that what was read is not what was written.
fn is_damage(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof | io::ErrorKind::NotFound)
}

/// What a segment holds, all of it read.
struct Whole {
    index: Index,
    first: u64,
    edge: Edge,
    /// What the header says; nothing if it is not readable.
    header: Option<Edge>,
    /// What no frame is.
    bad: Vec<Range<u32>>,
    /// Frames whose number does not follow the one before.
    gaps: u64,
    /// How far the last frame says it is synced.
    synced: u32,
}

impl Whole {
    /// Reads a segment. `edge` is what was before it as far as known.
    fn read(bytes: &[u8], sequence: u64, edge: Edge) -> Result<Whole, StoreError> {
        let header = frame::read_header(bytes, sequence)?;
        let mut whole = Whole {
            index: Index::default(),
            first: u64::MAX,
            edge: header.unwrap_or(edge),
            header,
            bad: Vec::new(),
            gaps: 0,
            synced: 0,
        };
        if header.is_none() && !bytes.is_empty() {
            whole.bad.push(0..HEADER_BYTES.min(bytes.len()) as u32);
        }
        let base = HEADER_BYTES.min(bytes.len());
        for step in frame::scan(&bytes[base..], sequence, base as u32) {
            match step {
                Step::Frame(at, frame) => {
                    if frame.number != whole.edge.number + 1 {
                        whole.gaps += 1;
                    }
                    whole.edge.pass(&frame);
                    whole.index.add(at, &frame);
                    whole.synced = frame.synced;
                    if whole.first == u64::MAX {
                        whole.first = frame.entries().next().map_or(u64::MAX, |entry| entry.id);
                    }
                }
                Step::Bad(range) => whole.bad.push(range),
            }
        }
        Ok(whole)
    }
}

/// Tells about what cannot be read.
fn tell(path: &Path, bad: &Range<u32>) {
    log::warn!(
        "{} is damaged: {} bytes from {} on cannot be read, the messages there are missing. The rest is served",
        path.display(),
        bad.end - bad.start,
        bad.start
    );
}

impl Log {
    /// Refuses the log of a newer version.
    pub(super) fn refuse_newer(dir: &Path) -> Result<(), StoreError> {
        let Some(newest) = sequences(dir, ".seg")?.pop() else { return Ok(()) };
        let path = segment_path(dir, newest);
        let mut head = Vec::new();
        File::open(&path)
            .and_then(|file| io::Read::read_to_end(&mut io::Read::take(file, HEADER_BYTES as u64), &mut head))
            .map_err(|e| disk::refused("read", &path, &e))?;
        frame::read_header(&head, newest).map(drop)
    }

    /// What of the segments in `dir` is not readable, in words; changes nothing.
    pub(super) fn survey(dir: &Path) -> Result<Vec<String>, StoreError> {
        let (mut lost, mut edge, mut before) = (Vec::new(), Edge::default(), None);
        let segments = sequences(dir, ".seg")?;
        let newest = segments.last().copied();
        for sequence in segments {
            let path = segment_path(dir, sequence);
            let bytes = std::fs::read(&path).map_err(|e| disk::refused("read", &path, &e))?;
            let whole = Whole::read(&bytes, sequence, edge)?;
            let name = path.file_name().unwrap_or_default().display().to_string();
            if before.is_some_and(|before| before + 1 != sequence) {
                lost.push(format!("messages: files of the log before {name} are missing"));
            }
            // What stands at the end of the newest one may be what a crash tore.
            let mut bad = whole.bad.iter().filter(|range| Some(sequence) != newest || range.start < whole.synced);
            if bad.next().is_some() || whole.gaps > 0 {
                let bytes: u32 = whole.bad.iter().map(|range| range.end - range.start).sum();
                lost.push(format!(
                    "messages: {bytes} bytes of {name} cannot be read, {} changes are missing",
                    whole.gaps
                ));
            }
            (edge, before) = (whole.edge, Some(sequence));
        }
        Ok(lost)
    }

    /// Opens or makes the log in `dir`. `known` is the number of the last frame that it must have. Segments are sealed when they
    /// pass `segment_bytes`; without `sync` nothing is durable, for a test.
    pub(super) fn open(dir: &Path, known: u64, segment_bytes: u64, sync: bool) -> Result<Log, StoreError> {
        disk::make_dir(dir).map_err(|e| disk::refused("make", dir, &e))?;
        let mut log = Log {
            dir: dir.into(),
            sealed: Vec::new(),
            active: None,
            edge: Edge::default(),
            files: Files { dir: dir.into(), open: VecDeque::new(), window: Window::default() },
            buffer: Vec::new(),
            before: None,
            written: Written::default(),
            failed: None,
            segment_bytes,
            sync,
            reserve: RESERVE_BYTES,
        };
        let mut segments = sequences(dir, ".seg")?;
        for sequence in sequences(dir, ".idx")? {
            // That of the newest segment was written just before a crash. It grows now.
            if segments.binary_search(&sequence).is_err() || segments.last() == Some(&sequence) {
                let path = index_path(dir, sequence);
                disk::remove(&path).map_err(|e| disk::refused("remove", &path, &e))?;
            }
        }
        let newest = segments.pop();
        for sequence in segments {
            log.sealed.push(log.open_sealed(sequence)?);
            log.follow();
        }
        if let Some(sequence) = newest {
            log.recover(sequence, known)?;
        }
        if log.edge.number < known {
            log::warn!(
                "the newest messages in {} are missing: {} changes that were written are not there. The rest is served",
                dir.display(),
                known - log.edge.number
            );
            log.edge.number = known;
        }
        Ok(log)
    }

    fn open_sealed(&self, sequence: u64) -> Result<Sealed, StoreError> {
        let path = segment_path(&self.dir, sequence);
        let size = path.metadata().map_err(|e| disk::refused("read", &path, &e))?.len();
        match Sealed::open(&index_path(&self.dir, sequence), sequence, size) {
            Ok(Some(sealed)) => return Ok(sealed),
            Err(e) if !is_damage(&e) => return Err(disk::refused("read", &index_path(&self.dir, sequence), &e)),
            _ => {}
        }
        self.make_index(sequence, self.edge)
    }

    /// Makes the index of a sealed segment anew. `edge` is what was before it as far as known.
    fn make_index(&self, sequence: u64, edge: Edge) -> Result<Sealed, StoreError> {
        let path = segment_path(&self.dir, sequence);
        log::info!("making the index of {}", path.display());
        let bytes = std::fs::read(&path).map_err(|e| disk::refused("read", &path, &e))?;
        let whole = Whole::read(&bytes, sequence, edge)?;
        whole.bad.iter().for_each(|range| tell(&path, range));
        let before = whole.header.map_or(edge.number, |header| header.number);
        let facts = Facts { sequence, size: bytes.len() as u64, first: whole.first, edge: whole.edge, before };
        let index = index_path(&self.dir, sequence);
        whole.index.write(&index, facts).map_err(|e| disk::refused("write", &index, &e))
    }

    /// Goes on to the sealed segment that was opened last, and tells if something is missing before it.
    fn follow(&mut self) {
        if let [.., before, last] = &self.sealed[..] {
            self.tell_missing(before.facts.sequence, last.facts.sequence, last.facts.before);
        }
        if let Some(last) = self.sealed.last() {
            let edge = last.facts.edge;
            self.edge = if edge.number > self.edge.number { edge } else { self.edge };
        }
    }

    /// Tells if `sequence`, which begins behind the frame `number`, does not follow the segment `before`.
    fn tell_missing(&self, before: u64, sequence: u64, number: u64) {
        if sequence != before + 1 {
            let missing = segment_path(&self.dir, before + 1);
            let count = sequence - before - 1;
            log::warn!("{} is missing ({count} in all), and the messages there. The rest is served", missing.display());
        } else if self.edge.number < number {
            let (path, count) = (segment_path(&self.dir, before), number - self.edge.number);
            log::warn!("{} is damaged: {count} changes at its end are missing. The rest is served", path.display());
        }
    }

    /// Opens the newest segment, and cuts off what a crash tore.
    fn recover(&mut self, sequence: u64, known: u64) -> Result<(), StoreError> {
        let path = segment_path(&self.dir, sequence);
        let explain = |e: io::Error| disk::refused("recover", &path, &e);
        let mut bytes = std::fs::read(&path).map_err(explain)?;
        let mut whole = Whole::read(&bytes, sequence, self.edge)?;
        // A place is torn if neither a frame behind it knows that it was synced, nor the mark that such a frame was.
        let torn = {
            let mut durable = whole.synced;
            for step in frame::scan(bytes.get(HEADER_BYTES..).unwrap_or_default(), sequence, HEADER_BYTES as u32) {
                if let Step::Frame(at, frame) = step
                    && frame.number <= known
                {
                    durable = durable.max(at);
                }
            }
            whole.bad.iter().map(|range| range.start).find(|start| *start >= durable)
        };
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(explain)?;
        if let Some(end) = torn {
            log::info!("{}: cut off {} bytes that a crash left", path.display(), bytes.len() - end as usize);
            bytes.truncate(end as usize);
            whole = Whole::read(&bytes, sequence, self.edge)?;
            file.set_len(u64::from(end)).and_then(|()| file.sync_data()).map_err(explain)?;
        }
        whole.bad.iter().for_each(|range| tell(&path, range));
        let before = whole.header.map_or(self.edge.number, |header| header.number);
        if let Some(last) = self.sealed.last().map(|last| last.facts.sequence) {
            self.tell_missing(last, sequence, before);
        }
        if bytes.len() < HEADER_BYTES {
            // It had just been made.
            drop(file);
            disk::remove(&path).and_then(|()| disk::sync_dir(&self.dir)).map_err(explain)?;
            return Ok(());
        }
        if whole.edge.number > self.edge.number {
            self.edge = whole.edge;
        }
        if self.edge.number > known && self.sync {
            // The last group may be in the system's memory alone, and the system may even have failed to write it and have
            // forgotten that.
            let at = (whole.synced as usize).min(bytes.len());
            file.write_all_at(&bytes[at..], at as u64)
                .and_then(|()| file.sync_all())
                .and_then(|()| disk::sync_dir(&self.dir))
                .map_err(explain)?;
        }
        let len = bytes.len() as u32;
        self.active = Some(Active { sequence, file, len, first: whole.first, before, index: whole.index });
        Ok(())
    }

    /// The batches with changes of trees that are behind a frame, with the frame's number. Only the newest segment can have some.
    pub(super) fn behind(&mut self, applied: u64) -> Result<Vec<(u64, Batch)>, StoreError> {
        let newest = self.active.as_ref().map(|active| active.sequence);
        let newest = newest.or(self.sealed.last().map(|last| last.facts.sequence));
        let Some(sequence) = newest.filter(|_| self.edge.number > applied) else { return Ok(Vec::new()) };
        let path = segment_path(&self.dir, sequence);
        let bytes = std::fs::read(&path).map_err(|e| disk::refused("read", &path, &e))?;
        let frames = frame::scan(bytes.get(HEADER_BYTES..).unwrap_or_default(), sequence, HEADER_BYTES as u32);
        let batch = |step| match step {
            Step::Frame(_, frame) if frame.number > applied => Some((frame.number, frame.batch()?)),
            _ => None,
        };
        Ok(frames.filter_map(batch).collect())
    }

    /// From now on commits leave only so much free.
    pub(super) fn set_reserve(&mut self, bytes: u64) {
        self.reserve = bytes;
    }

    /// The number of the last frame.
    pub(super) fn number(&self) -> u64 {
        self.edge.number
    }

    /// What was handed over and written since the start.
    pub(super) fn written(&self) -> Written {
        self.written
    }

    /// Appends what the batches have for the log: one write and one sync for all of them. Returns for each of the first of them
    /// the number of its frame. The others, behind the last one that appends, have none.
    pub(super) fn append(&mut self, batches: &[Batch]) -> Result<Vec<u64>, StoreError> {
        self.before = None;
        if let Some(why) = &self.failed {
            return Err(StoreError::Io(why.clone()));
        }
        let Some(last) = batches.iter().rposition(Batch::appends) else { return Ok(Vec::new()) };
        let deleting = self.check(batches)?;
        let batches = &batches[..=last];
        if self.active.as_ref().is_some_and(|active| u64::from(active.len) > self.segment_bytes) {
            self.seal()?;
        }
        let last = self.sealed.last().map_or(0, |last| last.facts.sequence);
        let (sequence, base) = self.active.as_ref().map_or((last + 1, 0), |active| (active.sequence, active.len));
        let mut buffer = std::mem::take(&mut self.buffer);
        if base == 0 {
            buffer.extend_from_slice(&frame::header(sequence, self.edge));
        }
        let (mut number, mut accepted, mut numbers) = (self.edge.number, 0, Vec::with_capacity(batches.len()));
        for batch in batches {
            if batch.appends() || batch.changes_trees() {
                number += 1;
                accepted += frame::write(&mut buffer, sequence, base, number, base, batch);
            }
            numbers.push(number);
        }
        let done = self.write(&buffer, base, sequence, deleting);
        if done.is_ok() {
            self.before = Some((self.edge, base));
            self.written.accepted += accepted;
            self.take_in(&buffer, base);
        }
        buffer.clear();
        buffer.shrink_to(KEPT_BYTES);
        self.buffer = buffer;
        done.map(|()| numbers)
    }

    /// Refuses what cannot be stored. Returns whether nothing grows but by notes that are in nobody's archive.
    fn check(&self, batches: &[Batch]) -> Result<bool, StoreError> {
        let (mut last, mut deleting) = (self.edge.last, true);
        for op in batches.iter().flat_map(|batch| &batch.ops) {
            match op {
                Op::Append(Entry { id, copies, value }) => {
                    if *id <= last {
                        return Err(StoreError::Io(format!("an entry {id} cannot follow {last} in the message log")));
                    }
                    last = *id;
                    let names = copies.iter().flat_map(|(owner, with)| [owner.len(), with.len()]);
                    if value.len() > VALUE_BYTES || copies.len() > COPIES || names.max() > Some(NAME_BYTES) {
                        let len = value.len();
                        return Err(StoreError::Io(format!("an entry of {len} bytes passes the limits of the log")));
                    }
                    deleting &= copies.is_empty();
                }
                Op::Put(..) => deleting = false,
                Op::Delete(..) | Op::DeleteAll(..) | Op::Trim { .. } => {}
            }
        }
        Ok(deleting)
    }

    /// Writes at the end of the newest segment, or to a new one. If that cannot be done nothing is changed.
    fn write(&mut self, bytes: &[u8], base: u32, sequence: u64, deleting: bool) -> Result<(), StoreError> {
        let path = segment_path(&self.dir, sequence);
        let explain = |e: &io::Error| disk::refused("write", &path, e);
        if u64::from(base) + bytes.len() as u64 > u64::from(u32::MAX) {
            return Err(StoreError::Io(format!("{} bytes are too many for one commit", bytes.len())));
        }
        let reserve = if deleting { RESERVE_DELETING_BYTES } else { self.reserve };
        disk::room(&self.dir, reserve + bytes.len() as u64)?;
        if self.active.is_none() {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
            let (file, index) = (file.map_err(|e| explain(&e))?, Index::default());
            let before = self.edge.number;
            self.active = Some(Active { sequence, file, len: 0, first: u64::MAX, before, index });
        }
        let Some(active) = &self.active else { return Ok(()) };
        let mut written = active.file.write_all_at(bytes, u64::from(base));
        if self.sync {
            written = written.and_then(|()| active.file.sync_data());
            self.written.syncs += 1;
            if base == 0 {
                written = written.and_then(|()| disk::sync_dir(&self.dir));
                self.written.syncs += 1;
            }
        }
        self.written.bytes += bytes.len() as u64;
        let Err(e) = written else { return Ok(()) };
        let mut undone = active.file.set_len(u64::from(base));
        if base == 0 {
            self.active = None;
            undone = disk::remove(&path);
        }
        // A file that is gone has no end that could be wrong.
        match (explain(&e), undone) {
            (e, Ok(())) if base == 0 || matches!(e, StoreError::Full(_)) => Err(e),
            (e, _) => Err(self.fail(&e)),
        }
    }

    /// Nobody knows what is on the disk.
    fn fail(&mut self, e: &StoreError) -> StoreError {
        let why = format!(
            "{e}. Nothing more is stored until the server is started again; what was acknowledged is kept. Look at the \
             disk (dmesg, free room)"
        );
        self.failed = Some(why.clone());
        StoreError::Io(why)
    }

    /// Notes what was written.
    fn take_in(&mut self, bytes: &[u8], base: u32) {
        let Some(active) = &mut self.active else { return };
        let mut at = if base == 0 { HEADER_BYTES } else { 0 };
        while let Some(frame) = frame::written(&bytes[at..]) {
            active.index.add(base + at as u32, &frame);
            if active.first == u64::MAX {
                active.first = frame.entries().next().map_or(u64::MAX, |entry| entry.id);
            }
            self.edge.pass(&frame);
            at += frame.len as usize;
        }
        active.len = base + bytes.len() as u32;
    }

    /// Takes back what the last [`Log::append`] appended.
    pub(super) fn undo(&mut self) -> Result<(), StoreError> {
        let Some((edge, end)) = self.before.take() else { return Ok(()) };
        let Some(active) = &mut self.active else { return Ok(()) };
        let path = segment_path(&self.dir, active.sequence);
        self.files.window = Window::default();
        let undone = if end > 0 {
            active.index.cut(end);
            active.len = end;
            if active.index.is_empty() {
                active.first = u64::MAX;
            }
            active.file.set_len(u64::from(end))
        } else {
            self.active = None;
            disk::remove(&path)
        };
        self.edge = edge;
        undone.map_err(|e| self.fail(&disk::refused("write", &path, &e)))
    }

    #[cfg(test)]
    pub(super) fn seal_now(&mut self) -> Result<(), StoreError> {
        self.seal()
    }

    /// Makes the newest segment one that does not grow any more.
    fn seal(&mut self) -> Result<(), StoreError> {
        let Some(active) = &self.active else { return Ok(()) };
        let Active { sequence, len, first, before, .. } = *active;
        let facts = Facts { sequence, size: u64::from(len), first, edge: self.edge, before };
        let path = index_path(&self.dir, sequence);
        let sealed = active.index.write(&path, facts).map_err(|e| disk::refused("write", &path, &e))?;
        self.written.bytes += sealed.index_size;
        self.sealed.push(sealed);
        self.active = None;
        Ok(())
    }

    /// [`Op::Trim`].
    pub(super) fn trim(&mut self, before: u64, bytes: u64) {
        let mut size = self.active.as_ref().map_or(0, |active| u64::from(active.len));
        size += self.sealed.iter().map(|sealed| sealed.facts.size + sealed.index_size).sum::<u64>();
        let mut dropped = 0;
        let spared = usize::from(self.active.is_none());
        for sealed in &self.sealed[..self.sealed.len().saturating_sub(spared)] {
            let last = sealed.facts.edge.last;
            if last >= self.edge.low || (last >= before && size <= bytes) {
                break;
            }
            let sequence = sealed.facts.sequence;
            self.files.open.retain(|open| open.sequence != sequence);
            let (segment, index) = (segment_path(&self.dir, sequence), index_path(&self.dir, sequence));
            if let Err(e) = disk::remove(&segment).and_then(|()| disk::remove(&index)) {
                log::warn!("cannot remove {}, which is older than what is kept: {e}", segment.display());
                break;
            }
            size -= sealed.facts.size + sealed.index_size;
            dropped += 1;
        }
        if dropped > 0 {
            self.sealed.drain(..dropped);
            self.written.syncs += 1;
            if let Err(e) = disk::sync_dir(&self.dir) {
                log::warn!("cannot sync {}: {e}", self.dir.display());
            }
        }
    }

    /// [`super::Query::Edge`].
    pub(super) fn edge(&self) -> Rows {
        vec![(self.edge.low.to_be_bytes().into(), self.edge.last.to_be_bytes().into())]
    }

    /// How many segments there are, the newest included.
    fn segments(&self) -> usize {
        self.sealed.len() + usize::from(self.active.is_some())
    }

    /// The first and the last number in a segment.
    fn span(&self, n: usize) -> (u64, u64) {
        match self.sealed.get(n) {
            Some(sealed) => (sealed.facts.first, sealed.facts.edge.last),
            None => (self.active.as_ref().map_or(u64::MAX, |active| active.first), self.edge.last),
        }
    }

    /// [`super::Query::Archive`].
    pub(super) fn page(&mut self, page: &Page) -> Result<Rows, StoreError> {
        let mut out = Taken::new(page.rows, page.bytes);
        let key = Key::new(&page.owner, page.with.as_deref());
        let count = self.segments();
        let first = self.sealed.partition_point(|sealed| sealed.facts.edge.last < page.from);
        for step in first..count {
            let n = if page.backwards { count - 1 - (step - first) } else { step };
            let (first, last) = self.span(n);
            let outside = last < page.from || first > page.to;
            if outside || self.sealed.get(n).is_some_and(|sealed| !sealed.may_have(key)) {
                continue;
            }
            if out.is_full() {
                break;
            }
            let kept = (out.rows.len(), out.size);
            self.with_index(n, |view, frames| {
                out.rows.truncate(kept.0);
                out.size = kept.1;
                let mut places = view.find(key, page.from, page.to)?;
                let mut before = None;
                while let Some(place) = places.next(page.backwards)? {
                    if before.replace(place) == Some(place) {
                        continue;
                    }
                    let Some(frame) = frames.at(place, page.backwards)? else { continue };
                    let wanted = |e: &Found<'_>| {
                        (page.from..=page.to).contains(&e.id) && e.is_of(&page.owner, page.with.as_deref())
                    };
                    let mut add = |entry: Found<'_>| !out.is_full() && out.take(entry);
                    let go_on = if page.backwards {
                        let found: Vec<_> = frame.entries().filter(wanted).collect();
                        found.into_iter().rev().all(&mut add)
                    } else {
                        frame.entries().filter(wanted).all(&mut add)
                    };
                    if !go_on || out.is_full() {
                        break;
                    }
                }
                Ok(())
            })?;
        }
        Ok(out.rows)
    }

    /// [`super::Query::Entries`].
    pub(super) fn entries(&mut self, owner: &str, ids: &[u64]) -> Result<Rows, StoreError> {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        ids.dedup();
        let mut out = Taken::new(usize::MAX, usize::MAX);
        let key = Key::new(owner, None);
        let mut rest = &ids[..];
        for n in 0..self.segments() {
            let (first, last) = self.span(n);
            if first > last {
                continue;
            }
            rest = &rest[rest.partition_point(|id| *id < first)..];
            let (here, later) = rest.split_at(rest.partition_point(|id| *id <= last));
            rest = later;
            if self.sealed.get(n).is_some_and(|sealed| !sealed.may_have(key)) {
                continue;
            }
            for id in here {
                self.forward(n, *id, |entry| {
                    if entry.id == *id && entry.is_of(owner, None) {
                        out.take(entry);
                    }
                    entry.id < *id
                })?;
            }
        }
        Ok(out.rows)
    }

    /// [`super::Query::Since`].
    pub(super) fn since(&mut self, after: u64, rows: usize, bytes: usize) -> Result<Rows, StoreError> {
        let mut out = Taken::new(rows, bytes);
        for n in 0..self.segments() {
            if self.span(n).1 <= after {
                continue;
            }
            if out.is_full() {
                break;
            }
            self.forward(n, after.saturating_add(1), |entry| {
                if entry.id > after {
                    out.take(entry);
                }
                !out.is_full()
            })?;
        }
        Ok(out.rows)
    }

    /// Walks over the entries of a segment, from about `from` on, until `visit` says no.
    fn forward(&mut self, n: usize, from: u64, mut visit: impl FnMut(Found<'_>) -> bool) -> Result<(), StoreError> {
        let mut begin = None;
        self.with_index(n, |mut view, _| {
            begin = view.begin(from)?;
            Ok(())
        })?;
        let Some(mut place) = begin else { return Ok(()) };
        self.with_index(n, |_, frames| {
            while place < frames.end {
                match frames.at(place, false)? {
                    Some(frame) => {
                        place += frame.len;
                        if !frame.entries().all(&mut visit) {
                            return Ok(());
                        }
                    }
                    None => place = frames.next(place)?,
                }
            }
            Ok(())
        })
    }

    /// Reads in a segment. If its index turns out to be damaged it is made anew, and `read` is called again.
    fn with_index(
        &mut self,
        n: usize,
        mut read: impl FnMut(View<'_>, &mut Frames<'_>) -> io::Result<()>,
    ) -> Result<(), StoreError> {
        let Some(sealed) = self.sealed.get(n) else {
            let Some(active) = &self.active else { return Ok(()) };
            let (sequence, file, end) = (active.sequence, &active.file, active.len);
            let mut frames = Frames { sequence, file, end, window: &mut self.files.window, dir: &self.dir };
            let done = read(View::Memory(&active.index), &mut frames);
            return done.map_err(|e| disk::refused("read", &segment_path(&self.dir, sequence), &e));
        };
        let sequence = sealed.facts.sequence;
        let Err(e) = self.files.read(sealed, &mut read) else { return Ok(()) };
        self.files.open.retain(|open| open.sequence != sequence);
        if !is_damage(&e) {
            return Err(disk::refused("read", &segment_path(&self.dir, sequence), &e));
        }
        log::warn!("{} is damaged ({e})", index_path(&self.dir, sequence).display());
        let made = self.make_index(sequence, Edge { number: sealed.facts.before, ..sealed.facts.edge })?;
        self.written.bytes += made.index_size;
        let done = self.files.read(&made, &mut read);
        self.sealed[n] = made;
        done.map_err(|e| disk::refused("read", &segment_path(&self.dir, sequence), &e))
    }

    /// Reads all segments and indexes.
    pub(super) fn verify(&mut self) -> Result<(), StoreError> {
        let mut wrong = Vec::new();
        let mut edge = None;
        let mut sequences: Vec<_> = self.sealed.iter().map(|sealed| (sealed.facts.sequence, Some(sealed))).collect();
        sequences.extend(self.active.as_ref().map(|active| (active.sequence, None)));
        for (sequence, sealed) in sequences {
            let path = segment_path(&self.dir, sequence);
            let bytes = match std::fs::read(&path) {
                Ok(bytes) => bytes,
                Err(e) => {
                    wrong.push(format!("{} cannot be read: {e}", path.display()));
                    continue;
                }
            };
            let whole = Whole::read(&bytes, sequence, edge.unwrap_or_default())?;
            let bad: u64 = whole.bad.iter().map(|range| u64::from(range.end - range.start)).sum();
            if bad > 0 {
                wrong.push(format!("{bad} bytes of {} are not what was written", path.display()));
            } else if whole.gaps > 0 || edge.is_some_and(|edge| whole.header.is_some_and(|header| header != edge)) {
                wrong.push(format!("messages are missing in or before {}", path.display()));
            }
            edge = Some(whole.edge);
            let Some(sealed) = sealed else { continue };
            let index = index_path(&self.dir, sequence);
            let fits = sealed.facts.size == bytes.len() as u64 && sealed.facts.edge == whole.edge;
            if !fits || Tables::open(&index).and_then(|mut tables| tables.check(sealed)).is_err() {
                wrong.push(format!("{} does not fit; it is made anew when it is used", index.display()));
            }
        }
        if let Some(edge) = edge.filter(|edge| *edge != self.edge) {
            wrong.push(format!("{} changes at the end are missing", self.edge.number.saturating_sub(edge.number)));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        Err(StoreError::Damaged(format!(
            "the message log is damaged: {}. What can be read is served; the rest is in a backup, if you have one",
            wrong.join("; ")
        )))
    }

    /// The files, oldest first, each with its length now.
    pub(super) fn snapshot(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        for Sealed { facts, index_size, .. } in &self.sealed {
            files.push((segment_path(&self.dir, facts.sequence), facts.size));
            files.push((index_path(&self.dir, facts.sequence), *index_size));
        }
        files.extend(self.active.iter().map(|a| (segment_path(&self.dir, a.sequence), u64::from(a.len))));
        files
    }
}

/// Rows of an answer.
struct Taken {
    rows: Rows,
    size: usize,
    most_rows: usize,
    most_bytes: usize,
}

impl Taken {
    fn new(most_rows: usize, most_bytes: usize) -> Taken {
        Taken { rows: Rows::new(), size: 0, most_rows, most_bytes }
    }
    fn is_full(&self) -> bool {
        self.rows.len() >= self.most_rows || self.size >= self.most_bytes
    }
    fn take(&mut self, entry: Found<'_>) -> bool {
        self.size += entry.value.len();
        self.rows.push((entry.id.to_be_bytes().into(), entry.value.into()));
        true
    }
}

/// The open files of sealed segments, the one used last in front.
#[derive(Debug)]
struct Files {
    dir: PathBuf,
    open: VecDeque<Open>,
    window: Window,
}

#[derive(Debug)]
struct Open {
    sequence: u64,
    segment: File,
    tables: Tables,
}

impl Files {
    fn read(
        &mut self,
        sealed: &Sealed,
        mut read: impl FnMut(View<'_>, &mut Frames<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let sequence = sealed.facts.sequence;
        let open = match self.open.iter().position(|open| open.sequence == sequence) {
            Some(at) => self.open.remove(at),
            None => None,
        };
        let open = match open {
            Some(open) => open,
            None => Open {
                sequence,
                segment: File::open(segment_path(&self.dir, sequence))?,
                tables: Tables::open(&index_path(&self.dir, sequence))?,
            },
        };
        self.open.truncate(OPEN_SEGMENTS - 1);
        self.open.push_front(open);
        let Open { segment, tables, .. } = &mut self.open[0];
        let end = sealed.facts.size.min(u64::from(u32::MAX)) as u32;
        let mut frames = Frames { sequence, file: segment, end, window: &mut self.window, dir: &self.dir };
        let done = read(View::File(sealed, tables), &mut frames);
        self.window.shrink();
        done
    }
}

/// A part of a segment, in memory.
#[derive(Default, Debug)]
struct Window {
    sequence: u64,
    start: u32,
    bytes: Vec<u8>,
}

impl Window {
    fn has(&self, sequence: u64, place: u32, len: u32) -> bool {
        self.sequence == sequence
            && place >= self.start
            && u64::from(place) + u64::from(len) <= u64::from(self.start) + self.bytes.len() as u64
    }
    fn shrink(&mut self) {
        if self.bytes.len() > KEPT_BYTES {
            *self = Window::default();
        }
    }
}

/// The frames of one segment.
struct Frames<'a> {
    sequence: u64,
    file: &'a File,
    end: u32,
    window: &'a mut Window,
    dir: &'a Path,
}

impl Frames<'_> {
    /// Has so many bytes from a place on in the window.
    fn fill(&mut self, place: u32, len: u32, backwards: bool) -> io::Result<()> {
        if self.window.has(self.sequence, place, len) {
            return Ok(());
        }
        let (before, ahead) =
            if backwards { (WINDOW_BYTES - WINDOW_AHEAD_BYTES, WINDOW_AHEAD_BYTES) } else { (0, WINDOW_BYTES) };
        let start = place.saturating_sub(before);
        let end = place.saturating_add(len.max(ahead)).min(self.end);
        self.window.sequence = 0;
        self.window.bytes.resize((end - start) as usize, 0);
        self.file.read_exact_at(&mut self.window.bytes, u64::from(start))?;
        (self.window.sequence, self.window.start) = (self.sequence, start);
        Ok(())
    }

    /// The frame at a place; nothing, and a line in the program's log, if it is damaged.
    fn at(&mut self, place: u32, backwards: bool) -> io::Result<Option<Frame<'_>>> {
        let len = match self.read(place, backwards) {
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => None,
            Err(e) => return Err(e),
        };
        let sequence = self.sequence;
        if let Some(len) = len {
            let at = (place - self.window.start) as usize;
            if let Some(frame) = frame::read(&self.window.bytes[at..at + len as usize], sequence, place) {
                return Ok(Some(frame));
            }
        }
        let path = segment_path(self.dir, sequence);
        log::warn!("{} is damaged at {place}: a message there is missing. The rest is served", path.display());
        Ok(None)
    }

    /// Reads the frame at a place; its length, if one may be there.
    fn read(&mut self, place: u32, backwards: bool) -> io::Result<Option<u32>> {
        let left = self.end.saturating_sub(place);
        if left < HEAD_BYTES as u32 {
            return Ok(None);
        }
        self.fill(place, HEAD_BYTES as u32, backwards)?;
        let at = (place - self.window.start) as usize;
        let len = frame::length(&self.window.bytes[at..], self.sequence, place);
        let Some(len) = len.and_then(|len| u32::try_from(len).ok()).filter(|len| *len <= left) else { return Ok(None) };
        self.fill(place, len, backwards)?;
        Ok(Some(len))
    }

    /// The place of the next good frame behind a damaged one, or the end.
    fn next(&mut self, place: u32) -> io::Result<u32> {
        let mut rest = vec![0; self.end.saturating_sub(place) as usize];
        if let Err(e) = self.file.read_exact_at(&mut rest, u64::from(place)) {
            return if e.kind() == io::ErrorKind::UnexpectedEof { Ok(self.end) } else { Err(e) };
        }
        let bad = frame::scan(&rest, self.sequence, place).next();
        Ok(if let Some(Step::Bad(range)) = bad { range.end } else { self.end })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
