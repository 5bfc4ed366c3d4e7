//! What a large archive costs: memory, bytes written, and the time of a page. `INGLENOOK_ARCHIVE` is the number of messages
//! (50,000 unless set).
#![allow(clippy::unwrap_used)]

use inglenook::store::card::Card;
use inglenook::store::{Batch, Engine, Entry, Page, Query};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What memory may grow by, in KiB.
const GROWTH_KIB: u64 = 4 * 1024;

fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    dir
}

fn messages() -> u64 {
    std::env::var("INGLENOOK_ARCHIVE").map_or(50_000, |n| n.parse().unwrap())
}

/// The process's resident memory, in KiB.
fn memory_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Message `n` of twenty people who talk to each other.
fn message(n: u64) -> Batch {
    let (a, b) = (n % 20, (n / 20 + n + 1) % 20);
    let copy = |a, b| (format!("user{a}"), format!("user{b}@house.example"));
    let value: Vec<u8> = (0..300).map(|i| (n.wrapping_mul(i + 7) >> 3) as u8).collect();
    let mut batch = Batch::default();
    batch.append(Entry {
        id: 1_700_000_000_000_000 + n * 1_000,
        copies: [copy(a, b), copy(b, a)].into_iter().collect(),
        value: value.into(),
    });
    batch
}

fn page(card: &mut Card, with: Option<&str>, to: u64) -> Vec<u64> {
    let page = Page {
        owner: "user7".into(),
        with: with.map(Into::into),
        from: 0,
        to,
        backwards: true,
        rows: 50,
        bytes: 256 * 1024,
    };
    let rows = card.query(&Query::Archive(page)).unwrap();
    rows.iter().map(|(id, _)| u64::from_be_bytes((**id).try_into().unwrap())).collect()
}

#[test]
fn memory_stays_and_pages_are_quick() {
    let (dir, count) = (folder("archive-size"), messages());
    let mut card = Card::open(&dir, None).unwrap();
    let group = |card: &mut Card, from: u64| {
        let batches: Vec<_> = (from..from + 100).map(message).collect();
        let begin = Instant::now();
        card.commit(&batches).unwrap();
        begin.elapsed()
    };
    // What the first commits and the test itself need is not counted.
    for n in 0..20 {
        group(&mut card, n * 100);
    }
    page(&mut card, None, u64::MAX);
    let before = memory_kib();
    let mut committing = Duration::ZERO;
    let mut most = before;
    for n in 20..count / 100 {
        committing += group(&mut card, n * 100);
        if n % 100 == 0 {
            most = most.max(memory_kib());
        }
    }
    let rate = (count - 2_000) as f64 / committing.as_secs_f64();
    let filled = memory_kib();
    let (mut to, mut paged, mut pages) = (u64::MAX, 0, 0);
    let begin = Instant::now();
    loop {
        let ids = page(&mut card, None, to);
        let Some(last) = ids.last() else { break };
        assert!(ids.is_sorted_by(|a, b| a > b));
        (to, paged, pages) = (last - 1, paged + ids.len(), pages + 1);
        if pages % 100 == 0 {
            most = most.max(memory_kib());
        }
    }
    let paging = paged as f64 / begin.elapsed().as_secs_f64();
    most = most.max(memory_kib());
    assert!(paged as u64 > count / 11, "{paged} messages of one person");
    let written = card.written();
    let files: u64 = card.snapshot_log().iter().map(|(_, len)| len).sum();
    drop(card);

    let begin = Instant::now();
    let mut card = Card::open(&dir, None).unwrap();
    let opened = begin.elapsed();
    let begin = Instant::now();
    assert_eq!(page(&mut card, None, u64::MAX).len(), 50);
    let first = begin.elapsed();
    let begin = Instant::now();
    assert_eq!(page(&mut card, Some("nobody@house.example"), u64::MAX), []);
    let nobody = begin.elapsed();
    eprintln!(
        "{count} messages: memory {before} KiB, filled {filled}, at most {most}; {rate:.0} appends/s, {paging:.0} paged/s; \
         {} bytes a message; opened in {opened:?}, first page {first:?}, of nobody {nobody:?}; {written:?}",
        files / count
    );
    assert!(most - before < GROWTH_KIB, "memory grew from {before} to {most} KiB");
    assert!(opened + first < Duration::from_millis(1_000));
    assert!(first < Duration::from_millis(50), "the first page took {first:?}");
    let _ = std::fs::remove_dir_all(&dir);
}

#[test]
fn what_is_written_is_about_what_was_handed_over() {
    let dir = folder("archive-written");
    let mut card = Card::open(&dir, None).unwrap();
    let before = card.written();
    for n in 0..1_000 {
        let batches: Vec<_> = (n * 100..n * 100 + 100).map(message).collect();
        card.commit(&batches).unwrap();
    }
    let written = card.written();
    let (accepted, bytes) = (written.accepted - before.accepted, written.bytes - before.bytes);
    let amplification = bytes as f64 / accepted as f64;
    eprintln!("{bytes} bytes for {accepted}: {amplification:.3}; {} syncs", written.syncs - before.syncs);
    assert!(amplification < 1.15, "{amplification}");
    assert!(accepted > 30_000_000);
    card.close().unwrap();
    let _ = std::fs::remove_dir_all(&dir);
}
