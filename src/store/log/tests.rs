//! The log against the one in memory, against crashes, and against damage.

use super::*;
use crate::store::memory::Memory;
use crate::store::{Engine, Query, scratch};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::sync::Once;

const SMALL: u64 = 4096;

fn open(dir: &Path, known: u64) -> Log {
    Log::open(dir, known, SMALL, true).unwrap()
}

fn entry(id: u64, names: &[(&str, &str)], len: usize) -> Entry {
    let copies = names.iter().copied().collect();
    let value: Vec<u8> = (0..len).map(|i| (id.wrapping_mul(31) as usize + i * 7) as u8).collect();
    Entry { id, copies, value: value.into() }
}

fn batch(low: u64, entries: impl IntoIterator<Item = Entry>) -> Batch {
    Batch { ops: entries.into_iter().map(Op::Append).collect(), low }
}

/// A message to juliet.
fn message(id: u64) -> Batch {
    batch(id, [entry(id, &[("juliet", "romeo@example.org"), ("romeo", "juliet@example.org")], 100)])
}

fn page(owner: &str, with: Option<&str>, from: u64, to: u64, backwards: bool) -> Page {
    let (rows, bytes) = (usize::MAX, usize::MAX);
    Page { owner: owner.into(), with: with.map(Into::into), from, to, backwards, rows, bytes }
}

fn ids(rows: &Rows) -> Vec<u64> {
    rows.iter().map(|(id, _)| u64::from_be_bytes((**id).try_into().unwrap())).collect()
}

fn all(log: &mut Log) -> Vec<u64> {
    ids(&log.since(0, usize::MAX, usize::MAX).unwrap())
}

/// Numbers that look random.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

// ---- what is told ----

thread_local! {
    static TOLD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

impl log::Log for Ear {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        if record.level() <= log::Level::Warn {
            TOLD.with(|told| told.borrow_mut().push(record.args().to_string()));
        }
    }
    fn flush(&self) {}
}

/// What was told in this thread since the last time.
fn told() -> Vec<String> {
    static EAR: Once = Once::new();
    EAR.call_once(|| {
        log::set_logger(&Ear).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    TOLD.with(|told| told.take())
}

#[test]
fn it_does_what_the_log_in_memory_does() {
    let dir = scratch("log-model");
    let names = ["juliet", "romeo", "nurse", "j", "tybalt"];
    let withs = ["romeo@example.org", "juliet@example.org", "nurse@example.org", "x@y"];
    told();
    for seed in 0..6 {
        let dir = dir.join(seed.to_string());
        let (mut log, mut memory) = (open(&dir, 0), Memory::default());
        let mut dice = Dice(seed);
        let (mut last, mut floor, mut drops) = (0, 0, 0);
        for round in 0..250 {
            let mut batches = Vec::new();
            for _ in 0..dice.below(4) {
                let mut entries = Vec::new();
                for _ in 0..dice.below(3) {
                    last += 1 + dice.below(5);
                    let mut copies = Vec::new();
                    for _ in 0..dice.below(4) {
                        copies.push((names[dice.below(5) as usize], withs[dice.below(4) as usize]));
                    }
                    let len = if dice.below(40) == 0 { 20_000 } else { dice.below(400) };
                    entries.push(entry(last, &copies, len as usize));
                }
                let low = if dice.below(2) == 0 { u64::MAX } else { last.saturating_sub(dice.below(30)) };
                batches.push(batch(low, entries));
            }
            if dice.below(8) == 0 {
                let (edge, rows) = (log.edge(), all(&mut log));
                log.append(&batches).unwrap();
                log.undo().unwrap();
                assert_eq!((log.edge(), all(&mut log)), (edge, rows));
            }
            log.append(&batches).unwrap();
            memory.commit(&batches).unwrap();
            if dice.below(12) == 0 {
                log = open(&dir, log.number());
            }
            if dice.below(25) == 0 {
                let before = last.saturating_sub(dice.below(200));
                let (low, had) = (log.edge.low, all(&mut log));
                log.trim(before, u64::MAX);
                let now = all(&mut log).first().copied().unwrap_or(0);
                let dropped = had.iter().filter(|id| **id < now).max();
                assert!(dropped.is_none_or(|id| *id < before && *id < low), "round {round}: too much was dropped");
                drops += u64::from(now > floor);
                floor = now;
            }
            assert_eq!(log.edge(), memory.query(&Query::Edge).unwrap());
            for _ in 0..6 {
                let from = floor.max(dice.below(last + 2));
                let to = if dice.below(3) == 0 { u64::MAX } else { dice.below(last + 3) };
                let with = (dice.below(2) == 0).then(|| withs[dice.below(4) as usize]);
                let mut page = page(names[dice.below(5) as usize], with, from, to, dice.below(2) == 0);
                page.rows = if dice.below(3) == 0 { usize::MAX } else { dice.below(20) as usize };
                page.bytes = if dice.below(3) == 0 { usize::MAX } else { dice.below(3000) as usize };
                let expected = memory.query(&Query::Archive(page.clone())).unwrap();
                assert_eq!(ids(&log.page(&page).unwrap()), ids(&expected), "seed {seed}, round {round}, {page:?}");
                assert!(log.page(&page).unwrap() == expected);
            }
            let wanted: Box<[u64]> = (0..dice.below(20)).map(|_| floor + dice.below(last + 2)).collect();
            let owner = names[dice.below(5) as usize];
            let expected = memory.query(&Query::Entries { owner: owner.into(), ids: wanted.clone() }).unwrap();
            assert!(log.entries(owner, &wanted).unwrap() == expected, "seed {seed}, round {round}");
            let after = floor.max(1) - 1 + dice.below(last + 2);
            let (rows, bytes) = (dice.below(30) as usize, dice.below(9000) as usize);
            let expected = memory.query(&Query::Since { after, rows, bytes }).unwrap();
            assert!(log.since(after, rows, bytes).unwrap() == expected, "seed {seed}, round {round}");
        }
        log.verify().unwrap();
        assert!(drops > 2, "{drops} drops");
    }
    assert_eq!(told(), [""; 0]);
}

#[test]
fn numbers_only_grow_and_limits_are_refused() {
    let dir = scratch("log-limits");
    let mut log = open(&dir, 0);
    log.append(&[message(5)]).unwrap();
    let long = "x".repeat(NAME_BYTES + 1);
    for bad in [
        vec![message(5)],
        vec![message(4)],
        vec![message(6), message(6)],
        vec![batch(0, [entry(7, &[], VALUE_BYTES + 1)])],
        vec![batch(0, [entry(7, &[("juliet", &long)], 1)])],
    ] {
        let words = log.append(&bad).unwrap_err().to_string();
        assert!(words.contains("log"), "{words}");
        assert_eq!(all(&mut log), [5]);
    }
    log.append(&[batch(0, [entry(7, &[("juliet", "romeo@example.org")], VALUE_BYTES)])]).unwrap();
    assert_eq!(log.page(&page("juliet", None, 6, 8, true)).unwrap()[0].1.len(), VALUE_BYTES);
    let written = log.written();
    log.append(&[]).unwrap();
    log.append(&[Batch::default()]).unwrap();
    log.trim(u64::MAX, 0);
    assert_eq!(log.written(), written);
}

#[test]
fn the_edge_outlives_all_segments_but_the_newest() {
    let dir = scratch("log-edge");
    let mut log = open(&dir, 0);
    assert_eq!(ids(&log.edge()), [0]);
    for id in 1..=200 {
        log.append(&[Batch { low: 150, ..message(id) }]).unwrap();
    }
    log.trim(u64::MAX, 0);
    // What is still on its way stays.
    assert!(all(&mut log)[0] <= 150 && all(&mut log)[0] > 100);
    log.append(&[Batch { low: u64::MAX, ..message(201) }]).unwrap();
    let size: u64 = log.snapshot().iter().map(|(_, size)| size).sum();
    log.trim(0, size);
    assert_eq!(size, log.snapshot().iter().map(|(_, size)| size).sum::<u64>());
    log.trim(0, size - 1);
    assert!(log.snapshot().len() > 1);
    log.trim(0, 0);
    assert_eq!(log.snapshot().len(), 1);
    // The newest segment is torn to its header.
    let (path, _) = log.snapshot().pop().unwrap();
    let (edge, begin) = (log.edge(), all(&mut log)[0]);
    drop(log);
    assert_eq!(open(&dir, 0).edge(), edge);
    File::options().write(true).open(&path).unwrap().set_len(HEADER_BYTES as u64 + 3).unwrap();
    let mut log = open(&dir, 0);
    assert_eq!(log.edge(), [(150_u64.to_be_bytes().into(), (begin - 1).to_be_bytes().into())]);
    log.append(&[message(300)]).unwrap();
    assert_eq!(all(&mut log), [300]);
    log.verify().unwrap();
}

/// The files of a snapshot are a log, whatever came later.
#[test]
fn a_snapshot_is_a_log() {
    let dir = scratch("log-snapshot");
    let mut log = open(&dir.join("a"), 0);
    (1..=90).for_each(|id| drop(log.append(&[message(id)]).unwrap()));
    let files = log.snapshot();
    (91..=190).for_each(|id| drop(log.append(&[message(id)]).unwrap()));
    fs::create_dir(dir.join("b")).unwrap();
    for (path, len) in files {
        let bytes = fs::read(&path).unwrap();
        fs::write(dir.join("b").join(path.file_name().unwrap()), &bytes[..len as usize]).unwrap();
    }
    let mut copy = open(&dir.join("b"), 90);
    assert_eq!(all(&mut copy), (1..=90).collect::<Vec<_>>());
    copy.verify().unwrap();
}

#[test]
fn a_torn_end_is_cut_wherever_it_is_torn() {
    let dir = scratch("log-torn");
    let mut log = open(&dir, 0);
    log.append(&[message(1), message(2)]).unwrap();
    let (path, end) = log.snapshot().pop().unwrap();
    log.append(&[message(3), message(4), message(5)]).unwrap();
    drop(log);
    told();
    let whole = fs::read(&path).unwrap();
    for cut in end as usize..whole.len() {
        for zeros in [0, 70, 5000] {
            let torn = [&whole[..cut], &vec![0; zeros]].concat();
            fs::write(&path, torn).unwrap();
            let mut log = open(&dir, 2);
            let there = 2 + ((cut - end as usize) * 3 / (whole.len() - end as usize)) as u64;
            assert_eq!(all(&mut log), (1..=there).collect::<Vec<_>>());
            assert_eq!(log.number(), there);
            log.append(&[message(9)]).unwrap();
            drop(log);
            let mut log = open(&dir, there + 1);
            assert_eq!(all(&mut log).last(), Some(&9));
            log.verify().unwrap();
        }
    }
    // A page in the middle did not get there, what is behind it did.
    let third = (whole.len() - end as usize) / 3;
    let mut torn = whole.clone();
    torn[end as usize + third..end as usize + 2 * third].fill(0);
    fs::write(&path, &torn).unwrap();
    assert_eq!(all(&mut open(&dir, 2)), [1, 2, 3]);
    assert_eq!(told(), [""; 0]);
    // But if it is known to have been there, it is damage.
    fs::write(&path, &torn).unwrap();
    assert_eq!(all(&mut open(&dir, 5)), [1, 2, 3, 5]);
    assert!(!told().is_empty());
    let mut torn = whole.clone();
    torn[HEADER_BYTES + 30] ^= 1;
    fs::write(&path, &torn).unwrap();
    let mut log = open(&dir, 0);
    assert_eq!(all(&mut log), [2, 3, 4, 5]);
    assert!(!told().is_empty());
    let words = log.verify().unwrap_err().to_string();
    assert!(words.contains("0000000000000001.seg"), "{words}");
}

/// Everything that can be asked, and whether the answers are those of the whole log but for what may be missing.
fn hold(log: &mut Log, whole: &BTreeMap<u64, Box<[u8]>>, missing: &mut Vec<u64>) {
    missing.clear();
    let rows = log.since(0, usize::MAX, usize::MAX).unwrap();
    let mut rest = whole.iter();
    for (id, value) in &rows {
        let id = u64::from_be_bytes((**id).try_into().unwrap());
        let (_, right) = rest
            .by_ref()
            .inspect(|(n, _)| {
                if **n != id {
                    missing.push(**n)
                }
            })
            .find(|(n, _)| **n == id)
            .unwrap();
        assert_eq!(value, right);
    }
    missing.extend(rest.map(|(id, _)| *id));
    for with in [None, Some("romeo@example.org")] {
        for backwards in [false, true] {
            let mut page = log.page(&page("juliet", with, 0, u64::MAX, backwards)).unwrap();
            if backwards {
                page.reverse();
            }
            assert!(page == rows, "{:?} are not {:?} ({with:?}, {backwards})", ids(&page), ids(&rows));
        }
    }
    assert!(log.entries("juliet", &whole.keys().copied().collect::<Vec<_>>()).unwrap() == rows);
}

/// However much of a page was read before an index turns out to be damaged: each entry comes once.
#[test]
fn an_index_that_is_damaged_while_it_is_open_gives_no_entry_twice() {
    const ENTRIES: u64 = 6000;
    let dir = scratch("log-middle");
    let mut log = Log::open(&dir, 0, u64::from(u32::MAX), false).unwrap();
    let batches: Vec<Batch> =
        (1..=ENTRIES).map(|id| batch(id, [entry(id, &[("juliet", "a"), ("romeo", "b")], 0)])).collect();
    log.append(&batches).unwrap();
    log.seal_now().unwrap();
    let index = fs::read_dir(&*dir).unwrap().map(|file| file.unwrap().path());
    let index = index.into_iter().find(|path| path.extension().unwrap() == "idx").unwrap();
    let whole = fs::read(&index).unwrap();
    told();
    let expected: Vec<u64> = (1..=ENTRIES).collect();
    for place in (1..=10).map(|n| whole.len() - n * 4096) {
        for (owner, backwards) in [("juliet", false), ("romeo", false), ("romeo", true)] {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            fs::write(&index, damaged).unwrap();
            let mut found = ids(&log.page(&page(owner, None, 0, u64::MAX, backwards)).unwrap());
            if backwards {
                found.reverse();
            }
            assert!(found == expected, "{} entries, {place} {owner} {backwards}", found.len());
        }
    }
    assert!(told().iter().any(|line| line.contains("is damaged")));
}

#[test]
fn damage_costs_what_it_hit_and_is_told() {
    let dir = scratch("log-damage");
    let (good, bad) = (dir.join("good"), dir.join("bad"));
    let mut log = open(&good, 0);
    let mut whole = BTreeMap::new();
    for id in 1..=120 {
        log.append(&[message(id)]).unwrap();
        whole.insert(id, entry(id, &[], 100).value);
    }
    let files: Vec<_> = log.snapshot().into_iter().map(|(path, _)| path).collect();
    let (count, number) = (files.len(), log.number());
    assert!(count >= 7);
    drop(log);
    let mut dice = Dice(5);
    let (mut harmless, mut telling) = (0, 0);
    for (n, file) in files.iter().enumerate() {
        let bytes = fs::read(file).unwrap();
        let is_index = file.extension().unwrap() == "idx";
        for round in 0..60 {
            let (at, bit) = (dice.below(bytes.len() as u64) as usize, dice.below(8));
            let mut new = bytes.clone();
            let mut most = 1;
            let what = match round {
                0 => "gone",
                1 => "empty",
                2..5 => "cut",
                5..9 => "garbage",
                9..12 => "longer",
                _ => "bit",
            };
            match what {
                "gone" | "empty" | "cut" => {
                    new.truncate(if what == "cut" { at } else { 0 });
                    most = 120;
                }
                "garbage" => {
                    let end = (at + 1000).min(new.len());
                    new[at..end].iter_mut().for_each(|b| *b = dice.below(256) as u8);
                    most = 9;
                }
                "longer" => new.extend((0..at).map(|_| dice.below(256) as u8)),
                _ => new[at] ^= 1 << bit,
            }
            for running in [false, true] {
                let _ = fs::remove_dir_all(&bad);
                fs::create_dir(&bad).unwrap();
                for file in &files {
                    fs::copy(file, bad.join(file.file_name().unwrap())).unwrap();
                }
                let path = bad.join(file.file_name().unwrap());
                let mut log = running.then(|| open(&bad, number));
                told();
                if what == "gone" {
                    fs::remove_file(&path).unwrap();
                } else {
                    fs::write(&path, &new).unwrap();
                }
                if running && !is_index && ["gone", "empty", "cut", "longer"].contains(&what) {
                    continue;
                }
                let name = format!("{}: {what} at {at} bit {bit}, running {running}", file.display());
                let mut log = log.take().unwrap_or_else(|| open(&bad, number));
                let mut missing = Vec::new();
                hold(&mut log, &whole, &mut missing);
                let lines = told();
                assert!(missing.len() <= if is_index { 0 } else { most }, "{name}: {missing:?}");
                // The oldest segment may also have been dropped because of its age.
                let oldest = n == 0 && what == "gone";
                if !missing.is_empty() && !oldest {
                    assert!(!lines.is_empty(), "{name}: {missing:?} are missing without a word");
                    assert!(log.verify().is_err(), "{name}");
                    telling += 1;
                } else {
                    harmless += 1;
                }
                // It goes on.
                log.append(&[message(500)]).unwrap();
                assert_eq!(all(&mut log).last(), Some(&500), "{name}");
                drop(log);
                let mut log = open(&bad, number + 1);
                assert_eq!(all(&mut log).last(), Some(&500), "{name}");
            }
        }
    }
    eprintln!("{harmless} harmless, {telling} told");
    assert!(telling > 100 && harmless > 100);
}

#[test]
fn a_newer_layout_is_refused_and_nothing_is_changed() {
    let dir = scratch("log-newer");
    let mut log = open(&dir, 0);
    (1..=60).for_each(|id| drop(log.append(&[message(id)]).unwrap()));
    let (path, _) = log.snapshot().pop().unwrap();
    drop(log);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] += 1;
    let sum = crc32fast::hash(&bytes[..44]);
    bytes[44..48].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let files = || disk::entries(&dir).unwrap().iter().map(|e| fs::read(e.path()).unwrap()).collect::<Vec<_>>();
    let before = files();
    assert!(matches!(Log::refuse_newer(&dir), Err(StoreError::Newer(_))));
    assert!(matches!(Log::open(&dir, 0, SMALL, true), Err(StoreError::Newer(_))));
    assert_eq!(files(), before);
}

/// The commit that cannot be written is taken back, and the next one is clean.
#[test]
fn a_half_written_group_is_taken_back() {
    let dir = scratch("log-half");
    let mut log = open(&dir, 0);
    for id in 1..=3 {
        log.append(&[message(id)]).unwrap();
    }
    let (path, len) = log.snapshot().pop().unwrap();
    // What it would look like if the disk was full in the middle of the write.
    log.append(&[message(4), message(5)]).unwrap();
    log.undo().unwrap();
    assert_eq!(path.metadata().unwrap().len(), len);
    log.append(&[message(4)]).unwrap();
    assert_eq!(all(&mut log), [1, 2, 3, 4]);
    let mut fresh = open(&dir.join("fresh"), 0);
    fresh.append(&[message(1)]).unwrap();
    fresh.undo().unwrap();
    assert!(disk::entries(&dir.join("fresh")).unwrap().is_empty());
    fresh.append(&[message(1)]).unwrap();
    assert_eq!(all(&mut fresh), [1]);
    drop(log);
    assert_eq!(all(&mut open(&dir, 4)), [1, 2, 3, 4]);
}
