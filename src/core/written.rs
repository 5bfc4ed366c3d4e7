//! What each account, component and other server has had stored lately. The disk is for all: nobody may have stored more within a day than it
//! leaves to the others, of what is still free and of the archive. Whoever passes that has to wait until there is room, or time has
//! passed; reading, and what needs no storage, goes on.

use super::share::{Shared, is_elsewhere, limits};
use crate::wire::{Condition, ErrorType, StanzaError};
use std::collections::{BTreeMap, BTreeSet};

/// What may be stored for somebody within a day however full the disk is, in bytes, as long as there is room at all.
pub(crate) const WRITTEN_FREE_BYTES: u64 = 1024 * 1024;
/// In which time all of what somebody has had stored is forgiven, in milliseconds.
const FORGIVEN_MS: u64 = 86_400_000;

/// All who are elsewhere count as one, too.
const ELSEWHERE: &str = "";

/// For the table in `src/lib.rs`.
pub(crate) const SHARED: Shared = Shared {
    what: "the disk and the archive: what is stored within a day",
    whole: limits![WRITTEN_FREE_BYTES],
    share: "an account, a component, the site of another server, and all those together: as much as is left on the disk, and half of the archive; that in any case",
    checked: "core/written.rs",
    told: "`resource-constraint`, of messages and requests that change something: later it can store again",
};

/// What one has had stored.
#[derive(Debug)]
struct Sum {
    bytes: u64,
    /// When that was right, of [`super::Now::mono`].
    at: u64,
}

/// What all have had stored.
#[derive(Debug)]
pub(super) struct Written {
    of: BTreeMap<Box<str>, Sum>,
    /// Those who have passed what they may, when last looked at.
    greedy: BTreeSet<Box<str>>,
    /// Bytes that can still be stored; unknown: all.
    room: u64,
}

impl Default for Written {
    fn default() -> Written {
        Written { of: BTreeMap::new(), greedy: BTreeSet::new(), room: u64::MAX }
    }
}

impl Sum {
    /// What is not forgiven of it by now. `whole` is forgiven in [`FORGIVEN_MS`].
    fn forgive(&mut self, now: u64, whole: u64) -> u64 {
        let gone = u128::from(whole) * u128::from(now.saturating_sub(self.at)) / u128::from(FORGIVEN_MS);
        let gone = u64::try_from(gone).unwrap_or(u64::MAX);
        if gone > 0 {
            self.bytes = self.bytes.saturating_sub(gone);
            self.at = now;
        }
        self.bytes
    }
}

impl Written {
    /// What somebody may have had stored, in bytes: as much as is left for the others of the room on the disk, and of the archive,
    /// which has so many.
    pub(super) fn share(&self, archive_bytes: u64) -> u64 {
        (archive_bytes / 2).max(WRITTEN_FREE_BYTES).min(self.room.max(WRITTEN_FREE_BYTES))
    }

    /// So many bytes can still be stored.
    pub(super) fn set_room(&mut self, bytes: u64) {
        self.room = bytes;
    }

    /// Whether nobody has to wait.
    pub(super) fn is_nobody_greedy(&self) -> bool {
        self.greedy.is_empty()
    }

    /// Counts what a stanza of somebody has made the server store. `share`: what may have been.
    pub(super) fn charge(&mut self, who: &str, bytes: u64, now: u64, share: u64) {
        if is_elsewhere(who) {
            self.add(ELSEWHERE, bytes, now, share);
        }
        self.add(who, bytes, now, share);
    }

    fn add(&mut self, who: &str, bytes: u64, now: u64, share: u64) {
        match self.of.get_mut(who) {
            Some(sum) => sum.bytes += bytes,
            None => {
                self.of.retain(|_, sum| sum.forgive(now, share) > 0);
                self.of.insert(who.into(), Sum { bytes, at: now });
            }
        }
        self.judge(who, now, share);
    }

    /// Whether somebody has had more stored than may be; that is remembered.
    fn judge(&mut self, who: &str, now: u64, share: u64) -> bool {
        let Some(sum) = self.of.get_mut(who) else { return false };
        let greedy = sum.bytes > share && sum.forgive(now, share) > share;
        if greedy && !self.greedy.contains(who) {
            let whose = if who == ELSEWHERE { "all that are elsewhere together have" } else { who };
            log::info!("{whose}: the share of the disk and the archive is stored for today, and they have to wait");
            self.greedy.insert(who.into());
        } else if !greedy && !self.greedy.is_empty() {
            self.greedy.remove(who);
        }
        greedy
    }

    /// Whether somebody has to wait.
    pub(super) fn is_greedy(&mut self, who: &str, now: u64, share: u64) -> bool {
        let is_much = is_elsewhere(who) && self.of.get(who).is_some_and(|sum| sum.bytes > WRITTEN_FREE_BYTES);
        let mut passed = |who: &str| self.greedy.contains(who) && self.judge(who, now, share);
        passed(who) || is_much && passed(ELSEWHERE)
    }
}

/// What somebody reads who has to wait.
pub(super) fn over_share() -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint)
        .ty(ErrorType::Wait)
        .text("you have had more stored today than your share of this server's disk; it can store for you again later")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn somebody_may_have_what_it_leaves_to_the_others() {
        const ARCHIVE_BYTES: u64 = 256 * MIB;
        let mut all = Written::default();
        let charge = |all: &mut Written, who: &str, bytes: u64, room: u64| {
            all.set_room(room);
            let share = all.share(ARCHIVE_BYTES);
            all.charge(who, bytes, 0, share);
            all.is_greedy(who, 0, share)
        };
        let passed = (1..10).find(|n| charge(&mut all, "flood@", MIB, (10 - n) * MIB));
        assert_eq!(passed, Some(6), "six had been stored when four were left");
        assert!(!charge(&mut all, "modest@", WRITTEN_FREE_BYTES, 0), "however full the disk is");
        assert!(!charge(&mut all, "flood@", 1, 100 * MIB), "somebody made room");
        assert!(charge(&mut all, "flood@", 1, MIB));
        assert!(charge(&mut all, "log@", ARCHIVE_BYTES / 2 + 1, u64::MAX), "half of the archive");
        // Whoever has many names elsewhere.
        let passed = (0..100).find(|n| charge(&mut all, &format!("evil{n}.test"), 3 * MIB, u64::MAX));
        assert_eq!(passed, Some(42), "half of the archive together");
        assert!(!charge(&mut all, "good.test", WRITTEN_FREE_BYTES, u64::MAX), "who has had little");
        assert!(!charge(&mut all, "romeo@", 3 * MIB, u64::MAX));
    }

    #[test]
    fn a_day_forgives_a_share() {
        let mut written = Written::default();
        written.charge("flood", 12 * MIB, 0, 8 * MIB);
        assert!(written.is_greedy("flood", FORGIVEN_MS / 4, 8 * MIB));
        assert!(!written.is_greedy("flood", FORGIVEN_MS / 2, 8 * MIB), "eight are left");
        written.charge("other", 1000, 2 * FORGIVEN_MS, 8 * MIB);
        assert_eq!(written.of.len(), 1, "who is forgiven all is forgotten");
    }

    #[test]
    fn many_small_steps_of_time_forgive_as_much() {
        let mut sum = Sum { bytes: 1000, at: 0 };
        for ms in 0..=FORGIVEN_MS / 1000 {
            sum.forgive(ms * 500, 1000);
        }
        assert!((490..=510).contains(&sum.bytes), "{}", sum.bytes);
    }
}
