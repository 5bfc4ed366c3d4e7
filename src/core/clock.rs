//! What the box's clock is worth.
//!
//! A box without a battery boots in 1970 or 2037, people type wrong years, and the network corrects it all later. So the wall clock
//! is believed for what can be mended, and for nothing else: a message is stamped by it ([`super::State::stamp`]), and when the clock turns
//! out to have been wrong, the next one is stamped rightly again. While it shows what cannot be, before this program was made or
//! behind the year 9999, the last time that is known goes on by the clock that never jumps.
//!
//! What is gone cannot be mended: what is dropped for its age goes by the days that the server has *lived*, by the clock that never
//! jumps. At the end of each such day the last number that was given is noted ([`Point`]): every entry up to there is at least as old
//! as the note. Nights and months that the box was off for are added as the clock tells them, if it tells of less than a year at once
//! and has not gone back in 30 lived days, and what is dropped on its word alone is one day's worth a day. So a clock that was ahead,
//! for a second or for weeks, drops nothing; one that is right lets everything go in time; and without any clock things stay longer.
//!
//! All of that is a few small rows of [`Tree::Meta`], written together with other changes, once an hour at most: a server that nobody
//! uses writes nothing. What a crash loses of them is time lived, which only makes things stay.

use super::effect::Now;
use super::number::Numbers;
use super::rows::scan;
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{Batch, Engine, Op, Query, StoreError, Tree};
use crate::wire::stamp;
use std::collections::VecDeque;

/// A clock that shows less has not been set, in milliseconds since 1970: 2025-01-01.
pub(super) const PLAUSIBLE_MS: u64 = 1_735_689_600_000;
const DAY_MS: u64 = 86_400_000;
/// The clock jumps if it moves by so much against the one that never does, in milliseconds.
const JUMP_MS: u64 = 60_000;
/// Time after the start in which a clock that is set forward tells how long the box was off, in milliseconds: a box without a
/// battery learns it from the network.
const SET_MS: u64 = 3_600_000;
/// The longest time that a box was off, in milliseconds; of more the clock is not believed.
const OFF_MS: u64 = 366 * DAY_MS;
/// Lived days in which the clock has not gone back, after which it is believed how long the box was off.
const CONFIRMED_DAYS: u32 = 30;
/// Time between two notes of the time that was lived, in milliseconds: they are written with other changes.
const NOTE_MS: u64 = 3_600_000;
/// Points that are kept; the oldest is forgotten, and what came before it counts as if it came before the next.
const POINTS: usize = 4096;
/// Points that are written or deleted at once.
const POINTS_AT_ONCE: usize = 20;

/// The row with all but the points.
const HEAD: &[u8] = b"clock\0now";
/// How the keys of the points begin; their days follow, big-endian.
const DAYS: &[u8] = b"clock\0day\0";

fn day_key(day: u32) -> Box<[u8]> {
    [DAYS, &day.to_be_bytes()].concat().into()
}

/// Whether a clock can be right that shows this, in milliseconds since 1970.
fn is_plausible(wall: u64) -> bool {
    (PLAUSIBLE_MS..=stamp::LAST_MS).contains(&wall)
}

/// The end of a lived day.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Point {
    /// Lived days are counted from 1; 0 is the day before them.
    day: u32,
    /// The last number that was given.
    number: u64,
    /// How long the box was off in the course of that day, as the clock tells, in milliseconds.
    off: u64,
}

/// A clock that went ahead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Leap {
    /// What it showed before, in milliseconds since 1970.
    before: u64,
    /// How far, in milliseconds.
    by: u64,
    /// The lived day.
    day: u32,
}

/// What is known of a clock that went back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Back {
    /// When it had gone ahead, if that was seen; in milliseconds since 1970, by the clock before that.
    pub since: Option<u64>,
    /// When it went back, by the clock after that.
    pub until: u64,
    /// How far, in milliseconds.
    pub by: u64,
}

/// What is known of the time.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Clock {
    /// When this run began, of [`Now::mono`].
    started: Option<u64>,
    /// How far the wall clock was ahead of the other one when it was read last.
    ahead: Option<i64>,
    /// What it showed last in the run before; in milliseconds since 1970.
    known: u64,
    /// The same, or when the last message came.
    latest: u64,
    /// The day that is lived.
    day: u32,
    /// When it ends, of [`Now::mono`].
    ends: u64,
    /// How long the box was off in the course of it, in milliseconds.
    off: u64,
    /// The day since which the clock has shown what cannot be.
    blind: Option<u32>,
    points: VecDeque<Point>,
    /// Whether what is older than the first point is as old as its numbers say.
    agreed: Option<bool>,
    /// How far the clock has gone ahead without being believed, in milliseconds.
    doubted: u64,
    /// How far it has gone back below what was believed, in milliseconds.
    below: u64,
    /// How it went ahead last.
    leapt: Option<Leap>,
    /// When it went back last.
    pub(super) back: Option<Back>,
    /// Numbers up to this one may be dropped on the clock's word, as far as they are old enough; and the day of that.
    allowed: (u64, u32),
    /// What has changed must be written with whatever is written next.
    changed: bool,
    /// When the rows were written, of [`Now::mono`].
    noted: u64,
    /// How many of the points, from the last on, are to be written.
    unwritten: usize,
    /// Points that are to be deleted.
    gone: Vec<u32>,
}

impl Clock {
    /// What the database says.
    pub(super) fn load(engine: &mut dyn Engine) -> Result<Clock, StoreError> {
        let mut clock = Clock { changed: true, ..Clock::default() };
        if let Some((_, row)) = engine.query(&Query::Get(Tree::Meta, HEAD.into()))?.first() {
            clock.read(row)?;
        }
        scan(engine, Tree::Meta, DAYS, |key, row| {
            let day = key.get(DAYS.len()..).and_then(|day| day.try_into().ok()).map(u32::from_be_bytes);
            let mut r = Reader::new(row)?;
            if r.version != 1 {
                return Err(Broken.into());
            }
            clock.points.push_back(Point { day: day.ok_or(Broken)?, number: r.u64()?, off: r.u64()? });
            Ok(())
        })?;
        Ok(clock)
    }

    fn read(&mut self, row: &[u8]) -> Result<(), Broken> {
        let mut r = Reader::new(row)?;
        if r.version != 1 {
            return Err(Broken);
        }
        let some = |known: u8, value: u64| (known == 1).then_some(value);
        (self.day, self.ends, self.known, self.off) = (r.u32()?, r.u64()?, r.u64()?, r.u64()?);
        self.blind = Some(r.u32()?).filter(|day| *day > 0);
        self.agreed = match r.u8()? {
            0 => None,
            agreed => Some(agreed == 1),
        };
        (self.doubted, self.below) = (r.u64()?, r.u64()?);
        let leapt = (r.u8()?, Leap { before: r.u64()?, by: r.u64()?, day: r.u32()? });
        self.leapt = Some(leapt.1).filter(|_| leapt.0 == 1);
        let (back, since) = (r.u8()?, some(r.u8()?, r.u64()?));
        let (until, by) = (r.u64()?, r.u64()?);
        self.back = (back == 1).then_some(Back { since, until, by });
        self.allowed = (r.u64()?, r.u32()?);
        self.changed = false;
        Ok(())
    }

    fn record(&self, now: Now) -> Box<[u8]> {
        let some = |w: Writer, value: Option<u64>| w.u8(value.is_some().into()).u64(value.unwrap_or_default());
        let agreed = self.agreed.map_or(0, |agreed| if agreed { 1 } else { 2 });
        let w = Writer::new(1).u32(self.day).u64(self.ends.saturating_sub(now.mono)).u64(self.shown(now)).u64(self.off);
        let w = w.u32(self.blind.unwrap_or_default());
        let Leap { before, by, day } = self.leapt.unwrap_or(Leap { before: 0, by: 0, day: 0 });
        let w = w.u8(agreed).u64(self.doubted).u64(self.below).u8(self.leapt.is_some().into());
        let w = w.u64(before).u64(by).u32(day);
        let Back { since, until, by } = self.back.unwrap_or(Back { since: None, until: 0, by: 0 });
        let w = some(w.u8(self.back.is_some().into()), since).u64(until).u64(by);
        w.u64(self.allowed.0).u32(self.allowed.1).done()
    }

    /// What the clock shows, in milliseconds since 1970; while that cannot be, the last time that is known, gone on.
    pub(super) fn shown(&self, now: Now) -> u64 {
        if is_plausible(now.wall) {
            return now.wall;
        }
        match self.ahead {
            Some(ahead) => now.mono.saturating_add_signed(ahead),
            None if self.latest > 0 => self.latest + now.mono.saturating_sub(self.started.unwrap_or(now.mono)),
            None => now.wall,
        }
    }

    /// Looks at both clocks, before anything else is done in a turn.
    #[inline]
    pub(super) fn look(&mut self, now: Now, numbers: &Numbers) {
        let ahead = now.wall.min(stamp::LAST_MS).wrapping_sub(now.mono).cast_signed();
        let moved = self.ahead.map_or(u64::MAX, |before| before.abs_diff(ahead));
        if moved >= JUMP_MS || now.mono >= self.ends {
            self.look_closely(now, ahead, numbers);
        }
        if moved < JUMP_MS {
            self.ahead = Some(ahead);
        }
    }

    fn look_closely(&mut self, now: Now, ahead: i64, numbers: &Numbers) {
        if self.started.is_none() {
            self.begin(now, numbers);
        }
        if now.mono >= self.ends {
            self.end_day(now, numbers.last());
        }
        if !is_plausible(now.wall) {
            self.blind.get_or_insert(self.day);
            return;
        }
        // Who knows on which of several days the box was off?
        let same_day = self.blind.take().is_none_or(|day| day == self.day);
        let run = now.mono.saturating_sub(self.started.unwrap_or(now.mono));
        // How far it has moved by itself; while the box was off, or until it was set after the start, it may have.
        let (moved, may) = match self.ahead {
            Some(before) if before.abs_diff(ahead) < JUMP_MS => return,
            Some(before) => (ahead - before, run < SET_MS),
            None if self.known > 0 => (now.wall.cast_signed() - (self.known + run).cast_signed(), true),
            None => (0, true),
        };
        self.ahead = Some(ahead);
        if self.agreed.is_none() {
            let newest = numbers.stamp(numbers.last());
            self.agreed = Some(now.wall >= newest && now.wall - newest <= OFF_MS);
        }
        let (far, before) = (moved.unsigned_abs(), now.wall.saturating_add_signed(-moved));
        if far >= JUMP_MS && (same_day || moved < 0 || far > OFF_MS) {
            self.changed = true;
            if moved > 0 { self.forward(far, before, may) } else { self.backward(far, now.wall) }
        }
    }

    /// A run begins.
    fn begin(&mut self, now: Now, numbers: &Numbers) {
        let last = numbers.last();
        (self.started, self.noted) = (Some(now.mono), now.mono);
        if self.day == 0 {
            // What was there before is at least as old as this.
            self.day = 1;
            self.ends = DAY_MS;
            if last > 0 {
                self.push(Point { day: 0, number: last, off: 0 });
            }
        }
        self.ends = now.mono.saturating_add(self.ends.min(DAY_MS));
        if self.known == 0 {
            self.known = numbers.stamp(last);
        }
        self.latest = self.known.max(numbers.stamp(last));
    }

    /// One lived day or more are over: nothing has come since the first of them was.
    fn end_day(&mut self, now: Now, number: u64) {
        if self.off > 0 || self.points.back().is_none_or(|point| point.number < number) {
            let off = std::mem::take(&mut self.off);
            self.push(Point { day: self.day, number, off });
        }
        let days = (now.mono - self.ends) / DAY_MS + 1;
        self.day = self.day.saturating_add(u32::try_from(days).unwrap_or(u32::MAX));
        self.ends = self.ends.saturating_add(days.saturating_mul(DAY_MS));
    }

    fn push(&mut self, point: Point) {
        self.points.push_back(point);
        self.unwritten += 1;
        if self.points.len() > POINTS {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        self.gone.extend(self.points.pop_front().map(|point| point.day));
        self.unwritten = self.unwritten.min(self.points.len());
    }

    /// The clock went ahead. `may`: the box may have been off for that long.
    fn forward(&mut self, far: u64, before: u64, may: bool) {
        let again = far.min(self.below);
        self.below -= again;
        let rest = far - again;
        if self.below == 0 && again > 0 && self.back.is_some_and(|back| back.since.is_none()) {
            // It was behind, and is right again.
            self.back = None;
        }
        if rest == 0 {
            return;
        }
        if may && far <= OFF_MS {
            self.off += rest;
        } else {
            self.doubted += rest;
        }
        // It may turn out later that it was wrong.
        self.leapt = match self.leapt {
            Some(leap) if self.doubted > rest => Some(Leap { by: leap.by + rest, ..leap }),
            _ => Some(Leap { before, by: rest, day: self.day }),
        };
    }

    /// The clock went back: to `wall`.
    fn backward(&mut self, far: u64, wall: u64) {
        let mut rest = far - far.min(self.doubted);
        self.doubted -= far - rest;
        if self.doubted < far / 10 {
            // That is how long the box was off meanwhile.
            self.doubted = 0;
        }
        let mut take = |off: &mut u64| {
            let less = rest.min(*off);
            (rest, *off) = (rest - less, *off - less);
            rest > 0
        };
        let mut more = take(&mut self.off);
        for (n, point) in self.points.iter_mut().rev().enumerate() {
            if !more || point.day + CONFIRMED_DAYS <= self.day {
                break;
            }
            if point.off > 0 {
                more = take(&mut point.off);
                self.unwritten = self.unwritten.max(n + 1);
            }
        }
        self.below += rest;
        let leapt = self.leapt.filter(|leap| far >= leap.by - leap.by / 10);
        self.back = Some(Back { since: leapt.map(|leap| leap.before), until: wall, by: far });
        if self.doubted == 0 {
            self.leapt = None;
        }
        log::warn!("the clock {}", told(self.back, 0).unwrap_or_default());
    }

    /// The last number that is `days` old or more, for sure; and the same if the clock is believed.
    pub(super) fn old(&self, days: u32) -> (Option<u64>, Option<u64>) {
        let (wanted, mut off) = (u64::from(days) * DAY_MS, 0);
        let lived = |point: &Point| u64::from(self.day.saturating_sub(point.day + 1)) * DAY_MS;
        let mut believed = None;
        for point in self.points.iter().rev() {
            if believed.is_none() && lived(point) + off >= wanted {
                believed = Some(point.number);
            }
            if lived(point) >= wanted {
                return (Some(point.number), believed);
            }
            if point.day + CONFIRMED_DAYS <= self.day {
                off += point.off;
            }
        }
        if let (None, Some(first)) = (believed, self.virgin()) {
            let missing = wanted - (lived(first) + off).min(wanted);
            believed = Some(first.number.saturating_sub(missing.saturating_mul(1000)));
        }
        (None, believed)
    }

    /// The first point, if it is the one before the first day, and what is older is as old as it says.
    fn virgin(&self) -> Option<&Point> {
        self.points.front().filter(|point| point.day == 0 && self.agreed == Some(true))
    }

    /// One day's worth behind a number.
    fn next_day(&self, number: u64) -> u64 {
        if let Some(first) = self.virgin().filter(|first| number < first.number) {
            return number.saturating_add(DAY_MS * 1000).min(first.number);
        }
        self.points.iter().find(|point| point.number > number).map_or(number, |point| point.number)
    }

    /// The last number that may be dropped because it is `days` old, if `oldest` is the first that is there.
    pub(super) fn too_old(&mut self, oldest: u64, days: u32) -> Option<u64> {
        if days == 0 {
            return None;
        }
        while self.points.get(1).is_some_and(|second| second.number < oldest) {
            self.forget_first();
        }
        let (sure, believed) = self.old(days);
        if believed > sure && believed >= Some(oldest) && self.allowed.1 < self.day {
            self.allowed = (self.next_day(self.allowed.0.max(oldest)), self.day);
            self.changed = true;
        }
        sure.max(believed.map(|number| number.min(self.allowed.0)))
    }

    /// Adds to a batch what must be remembered.
    pub(super) fn note(&mut self, now: Now, batch: &mut Batch) {
        let due = now.mono >= self.noted.saturating_add(NOTE_MS);
        let anyway = || batch.ops.iter().any(|op| !matches!(op, Op::Trim { .. }));
        if self.started.is_none() || !(self.changed || due && anyway()) {
            return;
        }
        (self.changed, self.noted) = (false, now.mono);
        batch.put(Tree::Meta, HEAD, self.record(now));
        let from = self.points.len() - self.unwritten.min(self.points.len());
        for point in self.points.range(from..).take(POINTS_AT_ONCE) {
            batch.put(Tree::Meta, day_key(point.day), Writer::new(1).u64(point.number).u64(point.off).done());
        }
        self.unwritten = self.unwritten.saturating_sub(POINTS_AT_ONCE);
        let keep = self.gone.len().saturating_sub(POINTS_AT_ONCE);
        self.gone.drain(keep..).for_each(|day| batch.delete(Tree::Meta, day_key(day)));
    }

    /// In words, if there is something to tell.
    pub(super) fn told(&self) -> Option<String> {
        // A clock that has been so for long is likely to be right.
        let leapt = self.leapt.filter(|leap| self.doubted > 0 && leap.day + CONFIRMED_DAYS > self.day);
        let Some(Leap { before, .. }) = leapt else { return told(self.back, self.below) };
        Some(format!(
            "went ahead by {} at {}. If it is wrong now, set it (timedatectl set-ntp true); nothing is dropped because of it",
            span(self.doubted),
            minute(before)
        ))
    }
}

/// A clock that went back, in words.
fn told(back: Option<Back>, below: u64) -> Option<String> {
    let Back { since, until, by } = back?;
    let (far, until) = (span(by), minute(until));
    Some(match since {
        Some(since) => format!(
            "was ahead by {far}, from {} until {until}, and is right again. Messages of that time carry wrong dates, their order \
             and ids hold, and nothing was dropped because of it. Nothing is to be done",
            minute(since)
        ),
        None if below > 0 => format!(
            "was set back by {far} at {until}. If it is wrong now, set it (timedatectl set-ntp true). Order and ids of messages hold"
        ),
        None => format!(
            "was ahead by {far} until {until}, and is right again. Messages of that time carry wrong dates, their order and ids \
             hold. Nothing is to be done"
        ),
    })
}

/// Milliseconds since 1970, to the minute.
fn minute(ms: u64) -> String {
    let text = stamp::format(ms);
    format!("{} {} UTC", &text[..10], &text[11..16])
}

/// Milliseconds, for people.
fn span(ms: u64) -> String {
    let (minutes, days) = (ms / 60_000, ms / DAY_MS);
    match (days, minutes / 60) {
        (0, 0..=1) => format!("{minutes} minutes"),
        (0..=1, hours) => format!("{hours} hours"),
        (0..730, _) => format!("{days} days"),
        _ => format!("{} years", (days + 182) / 365),
    }
}

/// What a database says of the clock, in words, if there is something to tell.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn stored(engine: &mut dyn Engine) -> Result<Option<String>, StoreError> {
    Ok(Clock::load(engine)?.told())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (ms, words) in [
            (60_000, "1 minutes"),
            (7_200_000, "2 hours"),
            (DAY_MS * 47 / 24, "47 hours"),
            (3 * DAY_MS, "3 days"),
            (700 * DAY_MS, "700 days"),
            (4000 * DAY_MS, "11 years"),
            (30 * 365 * DAY_MS - 5, "30 years"),
        ] {
            assert_eq!(span(ms), words);
        }
        assert_eq!(minute(1_767_225_659_999), "2026-01-01 00:00 UTC");
    }
}
