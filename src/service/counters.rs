//! What has happened since the start, for programs that look after the server: numbers, and no names.

use crate::wire::Kind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Stanzas by kind, and logins by how they ended.
#[derive(Debug, Default)]
pub struct Counters {
    received: [AtomicU64; 3],
    sent: [AtomicU64; 3],
    logins: [AtomicU64; 2],
}

/// The kinds of stanzas, as they are counted.
pub const KINDS: [&str; 3] = ["message", "presence", "iq"];

fn at(kind: Kind) -> usize {
    match kind {
        Kind::Message => 0,
        Kind::Presence => 1,
        Kind::Iq => 2,
    }
}

fn numbers<const N: usize>(counters: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|n| counters[n].load(Ordering::Relaxed))
}

impl Counters {
    /// A stanza has come in.
    pub fn received(&self, kind: Kind) {
        self.received[at(kind)].fetch_add(1, Ordering::Relaxed);
    }

    /// A stanza is to be written to somebody.
    pub fn sent(&self, kind: Kind) {
        self.sent[at(kind)].fetch_add(1, Ordering::Relaxed);
    }

    /// Somebody has logged in, or could not.
    pub fn login(&self, succeeded: bool) {
        self.logins[usize::from(succeeded)].fetch_add(1, Ordering::Relaxed);
    }

    /// Stanzas that came in and went out, by [`KINDS`].
    pub fn stanzas(&self) -> ([u64; 3], [u64; 3]) {
        (numbers(&self.received), numbers(&self.sent))
    }

    /// Logins that failed, and those that did not.
    pub fn logins(&self) -> [u64; 2] {
        numbers(&self.logins)
    }
}

/// The upper bounds of [`Times`], in seconds.
pub const TIMES: [f64; 9] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5];

/// How long something took, each time.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Times {
    /// How often it took no longer than each of [`TIMES`] says, and longer than the one before.
    pub counts: [u64; TIMES.len()],
    /// How often in all.
    pub all: u64,
    /// How long in all, in seconds.
    pub seconds: f64,
}

impl Times {
    /// Once more.
    pub fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = TIMES.iter().position(|most| seconds <= *most) {
            self.counts[at] += 1;
        }
        self.all += 1;
        self.seconds += seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_where_they_belong() {
        let mut times = Times::default();
        for ms in [0, 1, 2, 6, 10, 60_000] {
            times.add(Duration::from_millis(ms));
        }
        assert_eq!((times.counts, times.all), ([2, 1, 0, 2, 0, 0, 0, 0, 0], 6));
        assert!((times.seconds - 60.019).abs() < 1e-9, "{}", times.seconds);
    }
}
