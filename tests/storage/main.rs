//! The storage on a real file system, with a writer that is killed, a disk that loses what was not synced, and damaged files.
//!
//! The writer is this test binary itself, started again so that it runs only the test [`child`]. Numbers of rounds:
//! `INGLENOOK_KILLS` (100 unless set) and `INGLENOOK_CUTS` (50); `INGLENOOK_SEED` chooses other moments.
#![allow(clippy::unwrap_used, missing_docs)]

mod cut;
mod workload;

use cut::Disk;
use inglenook::store::card::Card;
use inglenook::store::sled_engine::{Sabotage, probe};
use inglenook::store::{Batch, Bytes, Copies, Engine, Entry, Query, StoreError, Tree, VALUE_BYTES};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};
use workload::mix;

const ROLE: &str = "INGLENOOK_STORAGE_ROLE";
const ARGS: &str = "INGLENOOK_STORAGE_ARGS";

/// How long any child may take before the test fails instead of hanging.
const CHILD_LIMIT: Duration = Duration::from_secs(30);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn seed() -> u64 {
    setting("INGLENOOK_SEED", 1)
}

/// An empty folder for one test.
fn folder(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("storage-{name}"));
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    dir
}

// ---- the child ----

/// The other end: does nothing in a usual test run.
#[test]
fn child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let args = std::env::var(ARGS).unwrap_or_default();
    let args: Vec<&str> = args.split('|').collect();
    log::set_logger(&Ear).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    match role.as_str() {
        "probe" => {
            if let Err(e) = probe(Path::new(&std::env::args_os().next_back().unwrap())) {
                eprintln!("{e}");
                std::process::exit(1);
            }
            // Not through the test harness: it would print, and wait for nothing.
            std::process::exit(0);
        }
        "write" => write(&args),
        "check" => check(Path::new(args[0])),
        "idle" => idle(Path::new(args[0])),
        "fill" => fill(Path::new(args[0])),
        other => panic!("no role {other}"),
    }
    std::process::exit(0);
}

/// A line for the parent. A parent that has gone does not matter.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\n= {line}").and_then(|()| out.flush());
}

/// Segments are small, so that there are many.
const SEGMENT_BYTES: u64 = 32 * 1024;

fn open(dir: &Path, probing: bool, sabotage: Sabotage) -> Result<Card, StoreError> {
    Card::open_with(dir, probing.then(|| role("probe", &[])), sabotage, SEGMENT_BYTES)
}

/// Passes what the store has to tell its owner on to the parent.
struct Ear;

impl log::Log for Ear {
    fn enabled(&self, _: &log::Metadata) -> bool {
        true
    }
    fn log(&self, record: &log::Record) {
        say(&format!("warned {}", record.args()));
    }
    fn flush(&self) {}
}

/// Verifies the state, says where it is, and goes on from there: `dir|seed|until|sabotage|probing`.
fn write(args: &[&str]) {
    let (seed, until): (u64, u64) = (args[1].parse().unwrap(), args[2].parse().unwrap());
    let sabotage = match args[3] {
        "no sync" => Sabotage::NoSync,
        "no transaction" => Sabotage::NoTransaction,
        "no log sync" => Sabotage::NoLogSync,
        "no replay" => Sabotage::NoReplay,
        _ => Sabotage::Sound,
    };
    let mut sled = match open(Path::new(args[0]), args[4] == "probing", sabotage) {
        Ok(sled) => sled,
        Err(e) => return say(&format!("error {e:?}")),
    };
    let mut n = match workload::verify(&mut sled) {
        Ok(Ok(n)) => n,
        Ok(Err(why)) => return say(&format!("broken {why}")),
        Err(e) => return say(&format!("error {e:?}")),
    };
    say(&format!("at {n}"));
    let begin = Instant::now();
    let mut commits = 0;
    while n < until {
        let last = n + 1 + mix(seed, n) % 5;
        say(&format!("try {last}"));
        let batches: Vec<Batch> = (n + 1..=last).map(workload::batch).collect();
        if let Err(e) = sled.commit(&batches) {
            say(&format!("error {e:?}"));
            let again = sled.commit(&batches);
            assert!(matches!(again, Err(StoreError::Io(_))), "no commit may follow a failed one: {again:?}");
            return;
        }
        say(&format!("ack {last}"));
        n = last;
        commits += 1;
    }
    say(&format!("took {} us for {commits} commits, {:?}", begin.elapsed().as_micros(), sled.written()));
    match sled.verify().and_then(|()| sled.close()) {
        Ok(()) => say("closed"),
        Err(e) => say(&format!("error {e:?}")),
    }
}

/// Opens with a probe and says what is there.
fn check(dir: &Path) {
    let mut sled = match open(dir, true, Sabotage::Sound) {
        Ok(sled) => sled,
        Err(e) => return say(&format!("error {e:?}")),
    };
    match workload::verify(&mut sled) {
        Ok(Ok(n)) => say(&format!("at {n}")),
        Ok(Err(why)) => say(&format!("broken {why}")),
        Err(e) => say(&format!("late {e:?}")),
    }
}

/// Bytes this process has given to `write` and its kind, and bytes it has caused to be written to a disk.
fn process_io() -> (u64, u64) {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let field = |name: &str| io.lines().find_map(|l| l.strip_prefix(name)).unwrap().trim().parse().unwrap();
    (field("wchar:"), field("write_bytes:"))
}

/// Does all that should write nothing, for more than a second.
fn idle(dir: &Path) {
    let mut sled = open(dir, true, Sabotage::Sound).unwrap();
    sled.commit(&[workload::batch(1)]).unwrap();
    let (before, written) = (process_io(), sled.written());
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        sled.commit(&[]).unwrap();
        sled.commit(&[Batch::default(), Batch::default()]).unwrap();
        assert_eq!(workload::verify(&mut sled).unwrap(), Ok(1));
        std::thread::sleep(Duration::from_millis(100));
    }
    let after = process_io();
    assert_eq!(sled.written(), written);
    drop(sled);
    let dropped = process_io();
    say(&format!("idle {} {}", after.0 - before.0, after.1 - before.1));
    say(&format!("drop {}", dropped.0 - after.0));
}

/// Stores until the disk is full, then makes room with deletions.
fn fill(dir: &Path) {
    let mut sled = open(dir, true, Sabotage::Sound).unwrap();
    let key = |n: u64| Bytes::from(n.to_be_bytes());
    let mut stored = 0;
    let words = loop {
        let mut batch = Batch::default();
        batch.put(Tree::Offline, key(stored), vec![7; if stored.is_multiple_of(3) { 90_000 } else { 3_000 }]);
        match sled.commit(&[batch]) {
            Ok(()) => stored += 1,
            Err(StoreError::Full(words)) => break words,
            Err(e) => panic!("{e:?}"),
        }
    };
    assert!(words.contains("make room"), "{words}");
    let rows = |sled: &mut Card| {
        let (prefix, after) = (Bytes::default(), None);
        sled.query(&Query::Scan { tree: Tree::Offline, prefix, after, rows: usize::MAX, bytes: usize::MAX })
            .unwrap()
            .len()
    };
    assert_eq!(rows(&mut sled) as u64, stored);
    let mut batch = Batch::default();
    batch.put(Tree::Vcard, key(0), vec![1; VALUE_BYTES]);
    assert!(matches!(sled.commit(&[batch]), Err(StoreError::Full(_))));
    // A message finds no room, but that one was delivered does, so that what was kept for it can go.
    let copies: Copies = [("juliet", "romeo@example.org")].into_iter().collect();
    let append = |id: u64, copies: &Copies| {
        let mut batch = Batch::default();
        batch.append(Entry { id, copies: copies.clone(), value: vec![1; 50_000].into() });
        batch
    };
    let mut last = 0;
    while sled.commit(&[append(last + 1, &copies)]).is_ok() {
        last += 1;
    }
    assert!(last < 20, "{last} messages of 50 KB");
    assert!(matches!(sled.commit(&[append(last + 1, &copies)]), Err(StoreError::Full(_))));
    sled.commit(&[append(last + 1, &Copies::default())]).unwrap();
    assert_eq!(sled.query(&Query::Edge).unwrap()[0].1, (last + 1).to_be_bytes().into());
    let mut batch = Batch::default();
    (0..stored / 2).for_each(|n| batch.delete(Tree::Offline, key(n)));
    sled.commit(&[batch]).unwrap();
    let mut batch = Batch::default();
    batch.put(Tree::Vcard, key(0), vec![1; VALUE_BYTES]);
    sled.commit(&[batch]).unwrap();
    assert_eq!(rows(&mut sled) as u64, stored - stored / 2);
    sled.verify().unwrap();
    sled.close().unwrap();
    open(dir, true, Sabotage::Sound).unwrap().verify().unwrap();
    say(&format!("filled {stored}"));
}

// ---- the parent ----

/// This binary in another role.
fn role(name: &str, args: &[&str]) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
    command.env_remove("LD_PRELOAD").env(ROLE, name).env(ARGS, args.join("|"));
    command
}

/// When a child is killed.
#[derive(Clone, Copy)]
enum Kill {
    Never,
    /// So long after so many acknowledgements.
    After(u64, Duration),
}

/// What a child said and how it ended.
#[derive(Debug, Default)]
struct Told {
    at: Option<u64>,
    acked: u64,
    tried: u64,
    /// Other lines, by their first word.
    words: BTreeMap<String, String>,
    status: Option<ExitStatus>,
}

fn run(mut command: Command, kill: Kill) -> Told {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    let (go, wait) = mpsc::channel::<()>();
    let (done, ended) = mpsc::channel::<()>();
    let delay = if let Kill::After(_, delay) = kill { delay } else { Duration::ZERO };
    let killer = std::thread::spawn(move || {
        // Either the moment has come, or the child takes too long, or it has ended (the sender is gone).
        if wait.recv_timeout(CHILD_LIMIT) != Err(mpsc::RecvTimeoutError::Disconnected) {
            let _ = ended.recv_timeout(delay);
            let _ = kill_process(pid, Signal::KILL);
        }
    });
    let mut told = Told::default();
    let mut acks = 0;
    let due = |acks| matches!(kill, Kill::After(n, _) if acks == n);
    if due(0) {
        go.send(()).unwrap();
    }
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let Ok(line) = line else { break };
        let Some((word, rest)) = line.strip_prefix("= ").and_then(|line| line.split_once(' ').or(Some((line, ""))))
        else {
            continue;
        };
        match word {
            "at" => told.at = Some(rest.parse().unwrap()),
            "try" => told.tried = rest.parse().unwrap(),
            "ack" => {
                told.acked = rest.parse().unwrap();
                acks += 1;
                if due(acks) {
                    let _ = go.send(());
                }
            }
            word => drop(told.words.insert(word.into(), rest.into())),
        }
    }
    drop(go);
    drop(done);
    // Killed only before it is waited for: its number is its own until then.
    killer.join().unwrap();
    told.status = Some(child.wait().unwrap());
    told
}

/// When to kill: often in the middle of commits, sometimes while it starts.
fn moment(seed: u64, round: u64) -> Kill {
    let dice = mix(seed, round);
    if dice.is_multiple_of(4) {
        Kill::After(0, Duration::from_micros(mix(dice, 1) % 60_000))
    } else {
        Kill::After(1 + mix(dice, 2) % 20, Duration::from_micros(mix(dice, 3) % 4_000))
    }
}

/// What is known of the database between runs.
#[derive(Default)]
struct Known {
    acked: u64,
    tried: u64,
    /// Runs that got as far as verifying the state.
    verified: u64,
}

impl Known {
    /// Holds what a run found against what was acknowledged before.
    fn hold(&mut self, told: &Told) -> Result<(), String> {
        for bad in ["broken", "error", "late"] {
            if let Some(why) = told.words.get(bad) {
                return Err(format!("{bad}: {why}"));
            }
        }
        if let Some(at) = told.at {
            if at < self.acked || at > self.tried {
                return Err(format!("it is at {at}, but {} were acknowledged and {} tried", self.acked, self.tried));
            }
            self.verified += 1;
            self.acked = at.max(told.acked);
            self.tried = at.max(told.tried);
        } else if told.status.is_some_and(|status| status.code().is_some()) {
            return Err(format!("it ended without a word: {told:?}"));
        }
        Ok(())
    }
}

fn writer(dir: &Path, round: u64, until: u64, sabotage: &str) -> Command {
    let probing = if round.is_multiple_of(3) { "probing" } else { "" };
    let (round, until) = (round.to_string(), until.to_string());
    role("write", &[dir.to_str().unwrap(), &round, &until, sabotage, probing])
}

/// Kills writers and reopens; the number of rounds, or where and how it failed.
fn kills(dir: &Path, rounds: u64, sabotage: &str) -> Result<Known, (u64, String)> {
    let mut known = Known::default();
    for round in 0..rounds {
        let told = run(writer(dir, round, u64::MAX, sabotage), moment(seed(), round));
        known.hold(&told).map_err(|why| (round, why))?;
    }
    Ok(known)
}

#[test]
fn nothing_acknowledged_is_lost_by_kills() {
    let dir = folder("kills");
    let rounds = setting("INGLENOOK_KILLS", 100);
    let begin = Instant::now();
    let mut known =
        kills(&dir, rounds, "").unwrap_or_else(|(round, why)| panic!("kill {round} of seed {}: {why}", seed()));
    let told = run(writer(&dir, rounds, known.tried + 200, ""), Kill::Never);
    known.hold(&told).unwrap();
    assert!(told.words.contains_key("closed"), "{told:?}");
    assert!(known.verified > rounds / 2, "too few runs got far enough: {}", known.verified);
    eprintln!("{rounds} kills in {:?}, {} batches, the last run {}", begin.elapsed(), known.tried, told.words["took"]);
}

#[test]
fn without_the_transaction_kills_leave_half_batches() {
    let dir = folder("no-transaction");
    let broken = kills(&dir, SABOTAGE_ROUNDS, "no transaction").err();
    eprintln!("without the transaction: {broken:?}");
    assert!(broken.is_some(), "the test does not see that batches are not whole");
}

#[test]
fn without_the_replay_kills_leave_half_batches() {
    let dir = folder("no-replay");
    let broken = kills(&dir, SABOTAGE_ROUNDS, "no replay").err();
    eprintln!("without the replay: {broken:?}");
    assert!(broken.is_some(), "the test does not see that batches are whole in the log alone");
}

#[test]
fn without_the_sync_of_the_log_power_cuts_take_back_what_was_acknowledged() {
    let broken = cuts("no-log-sync", 20, "no log sync", false).err();
    eprintln!("without the sync of the log: {broken:?}");
    assert!(broken.is_some(), "the test does not see that the sync of the log is missing");
}

/// The most rounds it may take to see that the engine is broken on purpose.
const SABOTAGE_ROUNDS: u64 = 300;

/// Cuts the power of writers and restarts them from what was synced; with `partial`, some of the rest is there too.
fn cuts(name: &str, rounds: u64, sabotage: &str, partial: bool) -> Result<Known, (u64, String)> {
    let base = folder(name);
    let (live, graves, notes) = (base.join("live"), base.join("graves"), base.join("notes"));
    let shim = cut::shim();
    fs::create_dir_all(&live).unwrap();
    let mut known = Known::default();
    for round in 0..rounds {
        let _ = fs::remove_dir_all(&graves);
        fs::create_dir_all(&graves).unwrap();
        let _ = fs::remove_file(&notes);
        let mut disk = Disk::scan(&live);
        let mut command = writer(&live, round, u64::MAX, sabotage);
        command.env("LD_PRELOAD", &shim).env("CUT_ROOT", &live).env("CUT_GRAVES", &graves).env("CUT_LOG", &notes);
        let told = run(command, moment(seed() ^ 0xc07, round));
        known.hold(&told).map_err(|why| (round, why))?;
        disk.replay(&fs::read(&notes).unwrap_or_default());
        if partial {
            let mut dice = mix(seed(), round);
            let share = mix(dice, 9) % 4;
            disk.survive(&Disk::scan(&live), &mut || {
                dice = mix(dice, 5);
                dice % 4 <= share
            });
        }
        disk.build(&live);
    }
    let told = run(writer(&live, rounds, known.tried + 50, sabotage), Kill::Never);
    known.hold(&told).map_err(|why| (rounds, why))?;
    Ok(known)
}

#[test]
fn nothing_acknowledged_is_lost_by_power_cuts() {
    let rounds = setting("INGLENOOK_CUTS", 50);
    let begin = Instant::now();
    let known =
        cuts("cuts", rounds, "", false).unwrap_or_else(|(round, why)| panic!("cut {round} of seed {}: {why}", seed()));
    assert!(known.verified > rounds / 2, "too few runs got far enough: {}", known.verified);
    eprintln!("{rounds} cuts in {:?}, {} batches", begin.elapsed(), known.tried);
}

#[test]
fn nothing_acknowledged_is_lost_when_some_of_the_rest_survives() {
    let rounds = setting("INGLENOOK_CUTS", 50);
    let begin = Instant::now();
    let known = cuts("partial", rounds, "", true)
        .unwrap_or_else(|(round, why)| panic!("cut {round} of seed {}: {why}", seed()));
    eprintln!("{rounds} partial cuts in {:?}, {} batches", begin.elapsed(), known.tried);
}

#[test]
fn without_the_sync_power_cuts_take_back_what_was_acknowledged() {
    let broken = cuts("no-sync", 20, "no sync", false).err();
    eprintln!("without the sync: {broken:?}");
    assert!(broken.is_some(), "the test does not see that the sync is missing");
}

// ---- damage ----

/// Where a database is left for the tests of damage: closed in order, or killed.
fn victim(name: &str, closed: bool) -> (PathBuf, Known) {
    let dir = folder(name).join("whole");
    let mut known = Known::default();
    // Several runs, so that there is a snapshot and a log behind it.
    for round in 0..4 {
        let kill = if round == 3 && !closed { Kill::After(70, Duration::ZERO) } else { Kill::Never };
        let until = if matches!(kill, Kill::Never) { known.tried + 120 } else { u64::MAX };
        known.hold(&run(writer(&dir, round, until, ""), kill)).unwrap();
    }
    (dir, known)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// All files under a folder with their contents, but the mark, which a start writes.
fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if !path.ends_with("mark") {
            all.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    all
}

/// A way to damage a database.
type Damage<'a> = (String, Box<dyn Fn(&Path) + 'a>);

/// Changes the bytes of one file.
fn edit<'a>(name: String, file: &'a str, change: impl Fn(&mut Vec<u8>) + 'a) -> Damage<'a> {
    let apply = move |dir: &Path| {
        // The snapshot's name holds a number.
        let path = match file.strip_suffix('*') {
            Some(start) => files(&dir.join("sled"))
                .into_keys()
                .find(|path| path.file_name().unwrap().to_str().unwrap().starts_with(start))
                .unwrap(),
            None => dir.join(file),
        };
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    };
    (format!("{file}: {name}"), Box::new(apply))
}

fn damages<'a>(db_bytes: u64, large: &'a str) -> Vec<Damage<'a>> {
    let mut all: Vec<Damage> = Vec::new();
    for i in 0..24 {
        let at = (mix(seed(), i) % db_bytes) as usize;
        all.push(edit(format!("a bit of byte {at}"), "sled/db", move |b| b[at] ^= 1 << (i % 8)));
    }
    for i in 0..8 {
        let at = (mix(seed() + 1, i) % db_bytes) as usize / 4096 * 4096;
        all.push(edit(format!("a page of zeros at {at}"), "sled/db", move |b| {
            let end = b.len().min(at + 4096);
            b[at..end].fill(0);
        }));
        all.push(edit(format!("half a segment of noise at {at}"), "sled/db", move |b| {
            let end = b.len().min(at + 256 * 1024);
            b[at..end].iter_mut().enumerate().for_each(|(i, b)| *b = mix(at as u64, i as u64) as u8);
        }));
        all.push(edit(format!("cut at {at}"), "sled/db", move |b| b.truncate(at)));
    }
    for file in ["sled/conf", "snap.*", "mark", large] {
        for i in 0..4 {
            all.push(edit(format!("bit {i}"), file, move |b| {
                let at = (mix(seed() + 2, i) % b.len() as u64) as usize;
                b[at] ^= 1 << i;
            }));
        }
        all.push(edit("half".into(), file, |b| b.truncate(b.len() / 2)));
        all.push(edit("empty".into(), file, Vec::clear));
    }
    all.push(edit("empty".into(), "sled/db", Vec::clear));
    for file in ["sled/db", "sled/conf", "mark", "sled", "large"] {
        all.push((
            format!("{file}: gone"),
            Box::new(move |dir| {
                let path = dir.join(file);
                if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
            }),
        ));
    }
    all
}

/// Damages copies of a database in every way. Each must be harmless or be told, with the files as they were.
fn damage(name: &str, closed: bool) {
    let (whole, known) = victim(name, closed);
    let copied = whole.with_file_name("damaged");
    let db_bytes = fs::metadata(whole.join("sled/db")).unwrap().len();
    let large = files(&whole.join("large")).into_keys().next().unwrap();
    let large = large.strip_prefix(&whole).unwrap().to_str().unwrap();
    let (mut harmless, mut refused, mut late, mut wrong) = (0, 0, 0, Vec::new());
    for (what, damage) in damages(db_bytes, large) {
        let _ = fs::remove_dir_all(&copied);
        copy(&whole, &copied);
        damage(&copied);
        let before = files(&copied);
        let told = run(role("check", &[copied.to_str().unwrap()]), Kill::Never);
        let whole = told.at.is_some_and(|at| at >= known.acked && at <= known.tried);
        if let Some(words) = told.words.get("error") {
            refused += 1;
            if !words.starts_with("Damaged") || !words.contains("restore") || files(&copied) != before {
                wrong.push(format!("{what}: refused with {words}, or files were changed"));
            }
        } else if what.starts_with("large")
            && told.words.get("warned").is_some_and(|words| words.contains("ll else is served"))
        {
            // It costs that value, and nothing else.
            late += 1;
        } else if whole {
            harmless += 1;
        } else {
            wrong.push(format!("{what}: {told:?}"));
        }
    }
    eprintln!("{name}: {harmless} harmless, {refused} refused, {late} told of a value, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(refused > 0 && late > 0);
}

#[test]
fn damage_after_a_kill_is_told() {
    damage("damage-killed", false);
}

#[test]
fn damage_after_a_close_is_told() {
    damage("damage-closed", true);
}

/// Damages the files of the message log in every way. All that is not hit must be there, and a loss must be told.
fn damage_of_the_log(name: &str, closed: bool) {
    let (whole, known) = victim(name, closed);
    let copied = whole.with_file_name("damaged");
    let mut names: Vec<_> = files(&whole.join("log")).into_keys().collect();
    if !closed {
        // What was written last before a kill may not be known to anybody.
        names.pop();
    }
    // The oldest segment may also be gone because of its age.
    names.drain(..2);
    let step = names.len().div_ceil(8);
    let (mut harmless, mut told_of, mut wrong) = (0, 0, Vec::new());
    for (n, path) in names.iter().rev().step_by(step).enumerate() {
        let at = path.strip_prefix(&whole).unwrap().to_owned();
        for round in 0..12 {
            let mut bytes = fs::read(path).unwrap();
            let place = (mix(n as u64, round) % bytes.len() as u64) as usize;
            let _ = fs::remove_dir_all(&copied);
            copy(&whole, &copied);
            match round {
                0 => fs::remove_file(copied.join(&at)).unwrap(),
                1 | 2 => bytes.truncate(place),
                3 => bytes.clear(),
                4 => bytes.iter_mut().skip(place).take(4096).for_each(|b| *b = 0),
                5 => bytes.iter_mut().enumerate().for_each(|(i, b)| *b = mix(place as u64, i as u64) as u8),
                6 => bytes.extend((0..5000).map(|i| mix(7, i) as u8)),
                _ => bytes[place] ^= 1 << (round % 8),
            }
            if round > 0 {
                fs::write(copied.join(&at), bytes).unwrap();
            }
            let told = run(role("check", &[copied.to_str().unwrap()]), Kill::Never);
            let what = format!("{} {round} at {place}: {told:?}", at.display());
            let whole = told.at.is_some_and(|at| at >= known.acked && at <= known.tried);
            let lacks = told.words.get("broken").is_some_and(|why| why.starts_with(workload::LACKS));
            if whole {
                harmless += 1;
            } else if told.words.contains_key("warned")
                && (lacks || told.at.is_some())
                && at.extension().unwrap() == "seg"
            {
                told_of += 1;
            } else {
                wrong.push(what);
            }
        }
    }
    eprintln!("{name}: {harmless} harmless, {told_of} told, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(harmless > 0 && told_of > 0);
}

#[test]
fn damage_of_the_log_after_a_kill_is_told() {
    damage_of_the_log("log-damage-killed", false);
}

#[test]
fn damage_of_the_log_after_a_close_is_told() {
    damage_of_the_log("log-damage-closed", true);
}

/// The newest part of the log is where sled takes damage for a torn write.
#[test]
fn a_lost_tail_is_told() {
    for closed in [true, false] {
        let (whole, known) = victim("tail", closed);
        let copied = whole.with_file_name("damaged");
        let db = fs::read(whole.join("sled/db")).unwrap();
        // The last byte that was written.
        let end = db.iter().rposition(|b| *b != 0).unwrap();
        for back in [10, 300, 3_000, 20_000] {
            let _ = fs::remove_dir_all(&copied);
            copy(&whole, &copied);
            let mut bytes = db.clone();
            bytes[end.saturating_sub(back)..].fill(0);
            fs::write(copied.join("sled/db"), bytes).unwrap();
            let told = run(role("check", &[copied.to_str().unwrap()]), Kill::Never);
            match told.at {
                Some(at) => assert!(at >= known.acked, "a tail of {back} bytes is lost without a word"),
                None => assert!(told.words["error"].starts_with("Damaged"), "{told:?}"),
            }
        }
    }
}

// ---- no room, no life ----

/// sled meets an error it was never to meet: the file may not grow.
#[test]
fn after_an_error_of_sled_nothing_more_is_stored_and_nothing_is_lost() {
    let dir = folder("limit").join("live");
    let mut known = Known::default();
    let mut met = 0;
    for round in 0..setting("INGLENOOK_LIMITS", 8) {
        let inner = writer(&dir, 0, known.tried + 400, "");
        let bytes = fs::metadata(dir.join("sled/db")).map_or(0, |meta| meta.len());
        let blocks = bytes.max(512 * 1024) / 512 + mix(seed(), round) % 500;
        let mut command = Command::new("sh");
        command.args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
        command.arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let begin = Instant::now();
        let mut told = run(command, Kill::Never);
        eprintln!("limit {blocks} blocks: {told:?} in {:?}", begin.elapsed());
        assert!(begin.elapsed() < CHILD_LIMIT, "it hangs");
        if let Some(words) = told.words.remove("error") {
            met += 1;
            assert!(words.starts_with("Io") && words.contains("start"), "{words}");
        }
        known.hold(&told).unwrap();
        let told = run(writer(&dir, 0, known.tried + 5, ""), Kill::Never);
        known.hold(&told).unwrap();
        assert!(told.words.contains_key("closed"), "{told:?}");
    }
    assert!(met > 0, "the limit was never met");
}

/// The disk fails while sled writes the end of a transaction, and so late that sled already waits for it, for ever.
#[test]
fn an_error_that_comes_late_does_not_block() {
    let shim = cut::shim();
    for fail in [2, 7, 30] {
        let dir = folder("late").join("live");
        let mut command = writer(&dir, 0, 3_000, "");
        command.env("LD_PRELOAD", &shim).env("SHIM_FAIL", fail.to_string());
        let begin = Instant::now();
        let mut told = run(command, Kill::Never);
        assert!(begin.elapsed() < CHILD_LIMIT, "it hangs at write {fail}: {told:?}");
        let words = told.words.remove("error").expect("the disk fails");
        assert!(words.starts_with("Io") && words.contains("start"), "{words}");
        let mut known = Known::default();
        known.hold(&told).unwrap();
        known.hold(&run(writer(&dir, 0, known.tried + 5, ""), Kill::Never)).unwrap();
    }
}

/// A small file system of its own, where the kernel lets this user have one.
#[test]
fn a_full_disk_refuses_and_deleting_makes_room() {
    let dir = folder("full");
    let inner = role("fill", &[dir.join("live").to_str().unwrap()]);
    let script = "mount -t tmpfs -o size=16m tmpfs \"$1\" || exit 77; shift; exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"]).arg(&dir);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let told = run(command, Kill::Never);
    if told.status.unwrap().code() == Some(77)
        || !told.words.contains_key("filled") && told.status.unwrap().code() == Some(1)
    {
        eprintln!("skipped: no file system of its own here ({told:?})");
        return;
    }
    assert!(told.words.contains_key("filled"), "{told:?}");
    eprintln!("{} rows fit", told.words["filled"]);
}

#[test]
fn idle_writes_nothing() {
    let dir = folder("idle").join("live");
    let told = run(role("idle", &[dir.to_str().unwrap()]), Kill::Never);
    eprintln!("{told:?}");
    assert_eq!(told.words["idle"], "0 0");
    assert_eq!(told.words["drop"], "0");
}

#[test]
fn a_second_process_is_refused_and_the_first_goes_on() {
    let dir = folder("two").join("live");
    let mut first = open(&dir, false, Sabotage::Sound).unwrap();
    let told = run(role("check", &[dir.to_str().unwrap()]), Kill::Never);
    assert!(told.words["error"].starts_with("Locked"), "{told:?}");
    first.commit(&[workload::batch(1)]).unwrap();
    first.close().unwrap();
    let told = run(role("check", &[dir.to_str().unwrap()]), Kill::Never);
    assert_eq!(told.at, Some(1));
}
