//! What was written to storage: today, in the last days, in all; and how much of a memory card's life that is.
//!
//! The counts are in the file `written` in the data folder. It is written when the server ends in order, and together with a commit
//! on the first change of a day: when nothing happens, nothing is written. After a crash the counts since then are lost.
//!
//! Linux tells how many bytes a process has caused to be written, whole pages, as the card sees them; where it does not, or keeps
//! files in memory, what the engine says is taken. What the file system writes for itself is in neither.
//!
//! Days are those of UTC, by the box's clock. As long as that is not set, what is written has no day, and gets the first one that the
//! clock shows once it is set.

use crate::service::counters::Times;
use crate::service::disk::data;
use crate::service::host;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const DAY: u64 = 86_400;
/// Days that are remembered one by one.
const DAYS: u64 = 7;
/// Seconds after which a pace can be told.
const PACE: u64 = 3_600;
/// The file in the data folder.
pub(crate) const FILE: &str = "written";

/// What an engine was handed, and what it did with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Bytes that were to be kept.
    pub payload: u64,
    /// Bytes that were written for that.
    pub bytes: u64,
    /// How often the disk was told to make them durable.
    pub syncs: u64,
}

impl Usage {
    fn since(self, before: Usage) -> Usage {
        Usage {
            payload: self.payload.saturating_sub(before.payload),
            bytes: self.bytes.saturating_sub(before.bytes),
            syncs: self.syncs.saturating_sub(before.syncs),
        }
    }

    fn add(&mut self, more: Usage) {
        self.payload = self.payload.saturating_add(more.payload);
        self.bytes = self.bytes.saturating_add(more.bytes);
        self.syncs = self.syncs.saturating_add(more.syncs);
    }
}

/// What is remembered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Book {
    /// When counting began, in seconds since 1970; 0 before the clock was set.
    pub since: u64,
    /// Since then.
    pub ever: Usage,
    /// Bytes of each of the last days, counted from 1970; in order.
    days: Vec<(u64, u64)>,
    /// Bytes without a day.
    undated: u64,
}

impl Book {
    /// Notes what was written until `clock` (seconds since 1970, as the box believes).
    pub fn note(&mut self, more: Usage, clock: u64) {
        self.ever.add(more);
        self.undated = self.undated.saturating_add(more.bytes);
        if clock < host::EARLIEST {
            return;
        }
        if self.since == 0 || self.since > clock {
            self.since = clock;
        }
        let today = clock / DAY;
        // Days that are still to come were noted by a clock that went wrong.
        let mut bytes = std::mem::take(&mut self.undated);
        self.days.retain(|(day, noted)| {
            if *day >= today {
                bytes = bytes.saturating_add(*noted);
            }
            *day < today && *day + DAYS > today
        });
        if bytes > 0 {
            self.days.push((today, bytes));
        }
    }

    /// Bytes of the day of `clock`.
    pub fn today(&self, clock: u64) -> u64 {
        let noted = self.days.iter().find(|(day, _)| *day == clock / DAY).map_or(0, |(_, bytes)| *bytes);
        noted.saturating_add(self.undated)
    }

    /// Bytes of the last seven days, that of `clock` included.
    pub fn week(&self, clock: u64) -> u64 {
        let days = self.days.iter().filter(|(day, _)| clock < host::EARLIEST || day + DAYS > clock / DAY);
        days.fold(self.undated, |sum, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Bytes a day, as things went in the last seven days; none when that cannot be told yet.
    pub fn pace(&self, clock: u64) -> Option<u64> {
        let begun = self.since.max((clock / DAY).saturating_sub(DAYS - 1) * DAY);
        let seconds = clock.checked_sub(begun).filter(|s| *s >= PACE && self.since > 0 && clock >= host::EARLIEST)?;
        u64::try_from(u128::from(self.week(clock)) * u128::from(DAY) / u128::from(seconds)).ok()
    }

    /// What it means for a card that may be written `card_bytes` in its life, in words.
    pub fn life(&self, card_bytes: u64, clock: u64) -> String {
        let used = self.ever.bytes as f64 * 100.0 / card_bytes.max(1) as f64;
        let used = match self.since {
            0 => format!("{used:.3} % of {}", size(card_bytes)),
            since => format!("{used:.3} % of {} used since {}", size(card_bytes), date(since)),
        };
        let left = card_bytes.saturating_sub(self.ever.bytes);
        let rest = match self.pace(clock) {
            None => "after an hour it can be told how long it lasts".to_owned(),
            Some(0) => "nothing is written, it lasts for ever".to_owned(),
            Some(pace) => format!("at the pace of the last days, {} a day, it lasts {}", size(pace), days(left / pace)),
        };
        format!("{used}; {rest}")
    }

    fn to_text(&self) -> String {
        let Book { since, ever: Usage { payload, bytes, syncs }, days, undated } = self;
        let mut text = String::from("# What the server has written to storage: see `inglenook status`.\n");
        let _ = write!(text, "since {since}\npayload {payload}\nbytes {bytes}\nsyncs {syncs}\nundated {undated}\n");
        for (day, bytes) in days {
            let _ = writeln!(text, "day {day} {bytes}");
        }
        text
    }

    /// Only counts: what cannot be read counts nothing.
    fn from_text(text: &str) -> Book {
        let mut book = Book::default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let number = |n: usize| words.get(n).and_then(|word| word.parse().ok()).unwrap_or(0);
            match words[0] {
                "since" => book.since = number(1),
                "payload" => book.ever.payload = number(1),
                "bytes" => book.ever.bytes = number(1),
                "syncs" => book.ever.syncs = number(1),
                "undated" => book.undated = number(1),
                "day" if (book.days.len() as u64) < DAYS => book.days.push((number(1), number(2))),
                _ => {}
            }
        }
        book
    }

    /// What the file in a data folder says.
    pub fn read(dir: &Path) -> Book {
        Book::from_text(&std::fs::read_to_string(dir.join(FILE)).unwrap_or_default())
    }
}

/// Counts while the server runs.
#[derive(Debug, Default)]
pub struct Wear {
    /// Nowhere: in tests.
    path: Option<PathBuf>,
    inner: Mutex<WearState>,
    /// Bytes of uploaded files, in this run.
    files: AtomicU64,
}

#[derive(Debug, Default)]
struct WearState {
    book: Book,
    /// What the system said when this began.
    base: u64,
    /// What the engine said last.
    engine: Usage,
    /// What is in the book, of this run.
    noted: Usage,
    /// The day of the last save.
    saved: Option<u64>,
    commits: Times,
}

impl WearState {
    /// `files`: bytes of uploaded files, in this run.
    fn note(&mut self, files: u64, clock: u64) {
        let Usage { payload, bytes, syncs } = self.engine;
        let system = written_by_this_process().saturating_sub(self.base);
        let run = Usage { payload, bytes: bytes.saturating_add(files).max(system), syncs };
        self.book.note(run.since(self.noted), clock);
        self.noted = run;
    }
}

impl Wear {
    /// Goes on where the file in the data folder ends.
    pub fn open(dir: &Path) -> Wear {
        let path = dir.join(FILE);
        // What was saved on this day needs no saving until the next.
        let book = Book::read(dir);
        let saved = book.days.last().map(|(day, _)| *day);
        let inner = WearState { book, base: written_by_this_process(), saved, ..WearState::default() };
        Wear { path: Some(path), inner: Mutex::new(inner), files: 0.into() }
    }

    /// After a commit: what the engine has written since it was opened, and how long it took.
    pub fn committed(&self, engine: Usage, took: Duration) {
        let clock = host::clock();
        let mut inner = crate::service::lock(&self.inner);
        inner.engine = engine;
        inner.commits.add(took);
        inner.note(self.files(), clock);
        let day = clock / DAY;
        if clock >= host::EARLIEST && inner.saved != Some(day) {
            inner.saved = Some(day);
            self.save(&inner.book);
        }
    }

    /// So many bytes of an uploaded file were written.
    pub fn file_written(&self, bytes: u64) {
        self.files.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of uploaded files that were written in this run.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }

    /// The server has ended in order.
    pub fn close(&self) {
        let mut inner = crate::service::lock(&self.inner);
        inner.note(self.files(), host::clock());
        self.save(&inner.book);
    }

    fn save(&self, book: &Book) {
        if let Some(path) = &self.path
            && let Err(e) = data::write(path, book.to_text().as_bytes())
        {
            log::warn!("what was written is counted from anew at the next start: {e}");
        }
    }

    /// How long commits took in this run.
    pub fn commits(&self) -> Times {
        crate::service::lock(&self.inner).commits
    }

    /// All that is known now, and what is of this run.
    pub fn look(&self) -> (Book, Usage) {
        let mut inner = crate::service::lock(&self.inner);
        inner.note(self.files(), host::clock());
        (inner.book.clone(), inner.noted)
    }
}

/// Bytes that this process has caused to be written to disks, as far as the system tells.
fn written_by_this_process() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes:"));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

/// A number of bytes, for people.
pub(crate) fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for larger in ["KB", "MB", "GB", "TB"] {
        if size < 999.95 {
            break;
        }
        size /= 1000.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// A number of days, for people.
fn days(days: u64) -> String {
    match days {
        0..100 => format!("{days} days"),
        100..800 => format!("{} months", days * 12 / 365),
        800..36_500 => format!("{} years", days / 365),
        _ => "more than 100 years".to_owned(),
    }
}

/// The day of a time in seconds since 1970.
pub(crate) fn date(seconds: u64) -> String {
    crate::wire::stamp::format(seconds.saturating_mul(1000)).chars().take(10).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;

    const NOON: u64 = host::EARLIEST + 100 * DAY + DAY / 2;

    fn bytes(bytes: u64) -> Usage {
        Usage { payload: bytes / 2, bytes, syncs: 1 }
    }

    #[test]
    fn days_come_and_go() {
        let mut book = Book::default();
        for day in 0..10 {
            book.note(bytes(10), NOON + day * DAY);
            book.note(bytes(1), NOON + day * DAY + 60);
        }
        let now = NOON + 9 * DAY + 60;
        assert_eq!((book.today(now), book.week(now), book.ever.bytes), (11, 77, 110));
        assert_eq!(book.today(now + DAY), 0);
        assert_eq!(book.week(now + DAY), 66);
        assert_eq!(book.week(now + 30 * DAY), 0);
        assert_eq!(book.days.len(), 7);
        assert_eq!(Book::from_text(&book.to_text()), book);
    }

    #[test]
    fn a_box_without_a_clock_counts_for_the_day_it_gets_one() {
        let mut book = Book::default();
        book.note(bytes(5), 17);
        book.note(bytes(5), 86_400 * 3);
        assert_eq!((book.today(17), book.week(17), book.since), (10, 10, 0));
        assert_eq!(book.pace(86_400 * 9), None);
        let kept = Book::from_text(&book.to_text());
        assert_eq!(kept, book);
        book.note(bytes(1), NOON);
        assert_eq!((book.today(NOON), book.week(NOON), book.since), (11, 11, NOON));
        // It boots in 1970 again.
        book.note(bytes(2), 40);
        assert_eq!(book.week(40), 13);
        book.note(bytes(0), NOON + DAY);
        assert_eq!((book.today(NOON + DAY), book.week(NOON + DAY)), (2, 13));
    }

    #[test]
    fn a_clock_that_was_ahead_is_forgiven() {
        let mut book = Book::default();
        book.note(bytes(5), NOON + 40_000 * DAY);
        book.note(bytes(1), NOON);
        assert_eq!((book.today(NOON), book.since), (6, NOON));
        book.note(bytes(1), NOON + DAY);
        assert_eq!(book.today(NOON + DAY), 1);
    }

    #[test]
    fn the_life_of_a_card() {
        let mut book = Book::default();
        book.note(bytes(0), NOON);
        assert!(book.life(3_000_000_000_000, NOON).contains("after an hour"));
        book.note(bytes(1_000_000_000), NOON + DAY);
        assert_eq!(book.pace(NOON + DAY), Some(1_000_000_000));
        let life = book.life(3_000_000_000_000, NOON + DAY);
        assert!(life.starts_with("0.033 % of 3.0 TB used since 2026-04-11; "), "{life}");
        assert!(life.ends_with("1.0 GB a day, it lasts 8 years"), "{life}");
        assert!(book.life(500_000_000_000, NOON + DAY).ends_with("it lasts 16 months"));
        assert!(book.life(5_000_000_000, NOON + DAY).ends_with("it lasts 4 days"));
        assert!(book.life(1_000_000_000, NOON + DAY).ends_with("it lasts 0 days"));
        assert!(book.life(3_000_000_000_000, NOON + 20 * DAY).ends_with("for ever"));
    }

    #[test]
    fn sizes_for_people() {
        let sizes = [0, 999, 1_000, 999_949, 999_951, 3_000_000_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 KB", "999.9 KB", "1.0 MB", "3.0 TB"]);
    }

    #[test]
    fn it_is_saved_once_a_day_and_at_the_end() {
        let temp = Temp::new();
        let path = temp.0.join(FILE);
        let wear = Wear::open(&temp.0);
        assert!(!path.exists());
        wear.committed(bytes(10), Duration::ZERO);
        std::fs::remove_file(&path).unwrap();
        wear.committed(bytes(20), Duration::ZERO);
        wear.look();
        assert!(!path.exists(), "one save a day");
        wear.close();
        let before = Book::read(&temp.0);
        assert!(before.ever.bytes >= 20 && before.ever.payload == 10 && before.ever.syncs == 1, "{before:?}");
        let next = Wear::open(&temp.0);
        next.committed(bytes(6), Duration::ZERO);
        next.close();
        let after = Book::read(&temp.0);
        assert!(after.ever.bytes >= before.ever.bytes + 6 && after.ever.payload == 13, "{after:?}");
        std::fs::write(&path, "nonsense\nday x\nbytes -1\n\u{0}").unwrap();
        assert_eq!(Book::read(&temp.0).ever, Usage::default());
    }
}
