//! A clock that jumps: what is stamped, in what order it stands, and what is dropped for its age.
//!
//! One box, two people who write to each other, and real time, which only the test knows. What the box's clock shows is the real time
//! and some error; the clock that never jumps goes on with the real time while the box runs, and begins anew with each start.
//! `INGLENOOK_SEEDS` says how many lives are lived, `INGLENOOK_SEED` lives one alone.
#![allow(clippy::unwrap_used)]

use inglenook::core::{Command, Core, Effect, Input, Now, Settings, StreamId};
use inglenook::service::driver::Driver;
use inglenook::store::memory::Memory;
use inglenook::store::{Batch, Engine, Query, Rows, StoreError, Tree};
use inglenook::wire::scram::Credentials;
use inglenook::wire::{Jid, Ns, Scope, Stanza, stamp};
use std::collections::BTreeMap;

const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const YEAR: u64 = 365 * DAY;
/// 2026-11-29T00:00:00Z
const START: u64 = 1_795_910_400_000;

/// Everything that is old enough may go: in the real log the newest files stay.
struct Disk(Memory);

impl Engine for Disk {
    fn commit(&mut self, batches: &[Batch]) -> Result<(), StoreError> {
        let bare = |batch: &Batch| Batch { low: u64::MAX, ..batch.clone() };
        self.0.commit(&batches.iter().map(bare).collect::<Vec<_>>())
    }
    fn query(&mut self, query: &Query) -> Result<Rows, StoreError> {
        self.0.query(query)
    }
}

/// A message in Juliet's archive.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Kept {
    id: String,
    stamp: u64,
    n: usize,
}

/// One that was sent: when, and what the clock showed; and its id, once it was seen.
struct Sent {
    real: u64,
    shown: u64,
    id: Option<String>,
}

struct Life {
    house: Option<Driver<Disk>>,
    days: u32,
    real: u64,
    /// What the clock is wrong by.
    error: i64,
    /// When the box was started, by the real time.
    started: u64,
    wake: u64,
    starts: u64,
    sent: Vec<Sent>,
}

fn jid(name: &str) -> Jid {
    Jid::parse(&format!("{name}@house.test")).unwrap()
}

fn parse(xml: &str) -> Stanza {
    Stanza::parse(xml, Scope::client()).unwrap().unwrap()
}

const ROMEO: StreamId = StreamId(1);
const JULIET: StreamId = StreamId(2);

impl Life {
    fn new(days: u32) -> Life {
        let mut life = Life {
            house: None,
            days,
            real: START,
            error: 0,
            started: START,
            wake: u64::MAX,
            starts: 0,
            sent: Vec::new(),
        };
        life.boot(Disk(Memory::default()));
        let keys = Credentials::derive("secret", b"salt of the test", 4096).unwrap();
        for name in ["romeo", "juliet"] {
            let now = life.now();
            life.house.as_mut().unwrap().command(now, Command::UserAdd(jid(name), keys.clone())).unwrap();
        }
        life.come();
        life
    }

    fn boot(&mut self, mut disk: Disk) {
        let mut settings = Settings::new(Jid::parse("house.test").unwrap());
        settings.archive_days = self.days;
        self.starts += 1;
        (self.started, self.wake) = (self.real, u64::MAX);
        let core = Core::open(settings, [self.starts as u8; 32], inglenook::ext::all(), &mut disk).unwrap();
        self.house = Some(Driver { core, engine: disk });
        self.input(Input::Tick);
    }

    /// Both are there.
    fn come(&mut self) {
        for (sid, name) in [(ROMEO, "romeo"), (JULIET, "juliet")] {
            self.input(Input::Bind(sid, jid(name), Some("phone".into())));
            self.input(Input::Stanza(sid, parse("<presence/>")));
        }
    }

    /// The box is off for a while. Without a battery its clock shows something else then.
    fn restart(&mut self, off: u64, error: i64) {
        let disk = self.house.take().unwrap().engine;
        (self.real, self.error) = (self.real + off, error);
        self.boot(disk);
        self.come();
    }

    fn shown(&self) -> u64 {
        self.real.saturating_add_signed(self.error)
    }

    fn now(&self) -> Now {
        Now { mono: 1_000 + self.real - self.started, wall: self.shown() }
    }

    fn input(&mut self, input: Input) -> Vec<Effect> {
        let now = self.now();
        let mut effects = self.house.as_mut().unwrap().handle(now, input).unwrap();
        effects.retain(|effect| match effect {
            Effect::WakeAt(at) => {
                self.wake = *at;
                false
            }
            _ => true,
        });
        effects
    }

    fn pass(&mut self, ms: u64) {
        let end = self.real + ms;
        while self.started + self.wake.saturating_sub(1_000) <= end && self.wake < u64::MAX {
            self.real = self.real.max(self.started + self.wake.saturating_sub(1_000));
            self.wake = u64::MAX;
            self.input(Input::Tick);
        }
        self.real = end;
    }

    fn say(&mut self) {
        let n = self.sent.len();
        let xml = format!("<message to='juliet@house.test' type='chat'><body>{n}</body></message>");
        let effects = self.input(Input::Stanza(ROMEO, parse(&xml)));
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Send(JULIET, _))), "{n} arrives");
        self.sent.push(Sent { real: self.real, shown: self.shown(), id: None });
    }

    /// What Juliet finds in her archive.
    fn read(&mut self, fields: &str) -> Vec<Kept> {
        let mut found: Vec<Kept> = Vec::new();
        loop {
            let after = found.last().map(|kept| format!("<after>{}</after>", kept.id)).unwrap_or_default();
            let iq = format!(
                "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
                 <value>urn:xmpp:mam:2</value></field>{fields}</x><set xmlns='http://jabber.org/protocol/rsm'><max>250</max>{after}\
                 </set></query></iq>"
            );
            let mut complete = false;
            for effect in self.input(Input::Stanza(JULIET, parse(&iq))) {
                let Effect::Send(JULIET, stanza) = effect else { continue };
                let stanza = parse(&stanza.to_xml());
                if let Some(fin) = stanza.child(Ns::MAM, "fin") {
                    complete = fin.attr("complete").is_some();
                }
                let Some(result) = stanza.child(Ns::MAM, "result") else { continue };
                let forwarded = result.child(Ns::FORWARD, "forwarded").unwrap();
                let stamp = forwarded.child(Ns::DELAY, "delay").unwrap().attr("stamp").unwrap();
                let body = forwarded.child(Ns::CLIENT, "message").unwrap().child(Ns::CLIENT, "body").unwrap();
                found.push(Kept {
                    id: result.attr("id").unwrap().into_owned(),
                    stamp: stamp::parse(&stamp).unwrap(),
                    n: body.text().parse().unwrap(),
                });
            }
            if complete {
                return found;
            }
        }
    }

    /// Nothing young is lost, in order, each with its id and the time when it came.
    fn check(&mut self, told: &str) {
        let found = self.read("");
        assert!(found.is_sorted_by_key(|kept| kept.n), "{told}: not in order: {found:?}");
        let by_n: BTreeMap<usize, &Kept> = found.iter().map(|kept| (kept.n, kept)).collect();
        assert_eq!(by_n.len(), found.len(), "{told}: something is there twice");
        for (n, sent) in self.sent.iter_mut().enumerate() {
            let Some(kept) = by_n.get(&n) else {
                let age = (self.real - sent.real) / HOUR;
                let young = self.real - sent.real < u64::from(self.days) * DAY;
                assert!(!young, "{told}: {n} is gone after {age} hours, and should stay for {} days", self.days);
                continue;
            };
            assert_eq!(sent.id.get_or_insert(kept.id.clone()), &kept.id, "{told}: {n} has another id");
            // A clock that was never set, or shows what cannot be, is another matter.
            if (1_735_689_600_000..=stamp::LAST_MS).contains(&sent.shown) {
                let off = kept.stamp.abs_diff(sent.shown);
                assert!(off <= MINUTE, "{told}: {n} is stamped {off} ms off the clock");
            }
        }
    }

    /// How many of those that were sent until then are still there.
    fn left(&mut self, until: u64) -> usize {
        let ns: Vec<usize> = self.read("").iter().map(|kept| kept.n).collect();
        ns.iter().filter(|n| self.sent[**n].real <= until).count()
    }
}

/// A small generator of numbers, the same every time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % n
    }

    /// An error of up to a hundred years, or none.
    fn error(&mut self) -> i64 {
        match self.roll(3) {
            0 => 0,
            _ => self.roll(200 * YEAR).cast_signed() - (100 * YEAR).cast_signed(),
        }
    }

    fn of<const N: usize>(&mut self, all: [u64; N]) -> u64 {
        all[self.roll(N as u64) as usize]
    }
}

fn live(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let days = dice.of([2, 10, 45, 100]) as u32;
    let (jumps, starts) = (dice.of([2, 8, 60]), dice.of([4, 20, 100]));
    let told = format!("INGLENOOK_SEED={seed}");
    let mut life = Life::new(days);
    for step in 1..=300 {
        if dice.roll(jumps) == 0 {
            life.error = dice.error();
        }
        if dice.roll(starts) == 0 {
            let off = dice.of([0, MINUTE, 16 * HOUR, 3 * DAY, 60 * DAY]);
            let error = if dice.roll(4) == 0 { dice.error() } else { life.error };
            life.restart(off, error);
        }
        if dice.roll(3) > 0 {
            life.say();
        }
        life.pass(dice.of([0, 1, 1_000, MINUTE, HOUR, 8 * HOUR, DAY, 5 * DAY]));
        if step % 30 == 0 {
            life.check(&told);
        }
    }
}

#[test]
fn nothing_young_is_lost_and_stamps_are_right_whatever_the_clock_does() {
    let number = |name: &str| std::env::var(name).ok().map(|v| v.parse::<u64>().unwrap());
    if let Some(seed) = number("INGLENOOK_SEED") {
        return live(seed);
    }
    (0..number("INGLENOOK_SEEDS").unwrap_or(100)).for_each(live);
}

/// One message an hour for so many days.
fn write(life: &mut Life, days: u64) {
    for _ in 0..days * 24 {
        life.say();
        life.pass(HOUR);
    }
}

#[test]
fn with_a_right_clock_each_day_drops_a_day() {
    let mut life = Life::new(10);
    write(&mut life, 11);
    let mut before = life.left(u64::MAX);
    assert_eq!(before, 11 * 24);
    for _ in 0..20 {
        write(&mut life, 1);
        let after = life.left(u64::MAX);
        assert!(after <= 12 * 24 && before + 24 - after <= 24, "{before} {after}");
        before = after;
    }
    life.check("right");
}

#[test]
fn a_clock_that_is_ahead_at_the_start_drops_nothing_for_a_month() {
    let mut life = Life::new(100);
    write(&mut life, 50);
    life.restart(HOUR, (4000 * DAY).cast_signed());
    write(&mut life, 25);
    let told = life.house.as_ref().unwrap().core.state().clock_told().unwrap();
    assert!(told.starts_with("went ahead by 11 years at 2027-01-17 23:"), "{told}");
    write(&mut life, 15);
    assert_eq!(life.left(u64::MAX), 90 * 24);
    // And again after it is right.
    life.restart(HOUR, 0);
    assert_eq!(life.left(u64::MAX), 90 * 24);
    let told = life.house.as_ref().unwrap().core.state().clock_told().unwrap();
    assert!(told.starts_with("was ahead by 11 years, from 2027-01-17 23:"), "{told}");
    assert!(told.contains("until 2027-02-27 02:"), "{told}");
    life.check("ahead");
}

#[test]
fn a_box_that_was_off_for_months_drops_what_is_old_a_day_at_a_time() {
    let mut life = Life::new(100);
    write(&mut life, 90);
    let off = life.real;
    life.restart(150 * DAY, 0);
    // It is not sure yet.
    write(&mut life, 9);
    assert_eq!(life.left(off), 90 * 24);
    let mut before = 90 * 24;
    for _ in 0..95 {
        write(&mut life, 1);
        let after = life.left(off);
        assert!(before - after <= 24, "{before} {after}");
        before = after;
    }
    // A hundred lived days would have left them there for much longer.
    assert!(before < 90 * 24 - 60 * 24, "{before} are left");
    life.check("months");
}

#[test]
fn a_box_that_is_on_by_day_keeps_its_archive_little_longer_than_it_should() {
    let mut life = Life::new(60);
    let begun = life.real;
    for _ in 0..200 {
        for _ in 0..8 {
            life.say();
            life.pass(HOUR);
        }
        life.restart(16 * HOUR, 0);
    }
    life.check("by day");
    // 60 lived days are 180; 30 of them confirm the nights.
    assert_eq!(life.left(begun + 30 * DAY), 0);
}

#[test]
fn less_than_a_year_that_turns_out_to_be_wrong_is_forgotten() {
    let mut life = Life::new(50);
    write(&mut life, 45);
    life.restart(0, (200 * DAY).cast_signed());
    write(&mut life, 2);
    life.error = 0;
    // Were it believed, all would go one day after the other.
    write(&mut life, 2);
    assert_eq!(life.left(u64::MAX), 49 * 24);
    write(&mut life, 60);
    life.check("wrong for a moment");
}

#[test]
fn an_archive_from_before_such_days_were_counted_is_as_old_as_it_says() {
    let mut life = Life::new(30);
    write(&mut life, 29);
    // As an older version has left it.
    let mut rows = Batch::default();
    rows.delete_all(Tree::Meta, *b"clock\0");
    life.house.as_mut().unwrap().engine.commit(&[rows]).unwrap();
    life.restart(HOUR, 0);
    let mut before = life.left(u64::MAX);
    assert_eq!(before, 29 * 24);
    for _ in 0..20 {
        write(&mut life, 1);
        let after = life.left(u64::MAX);
        assert!(before + 24 - after <= 24, "{before} {after}");
        before = after;
    }
    assert!(before <= 33 * 24, "{before} are left");
    life.check("from before");
}
