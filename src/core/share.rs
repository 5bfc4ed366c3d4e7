//! What many people share, and how much of it one of them may have.
//!
//! One rule holds wherever something has a limit for all together: **nobody may have more than what is then left for all the
//! others**. Whoever is alone gets at most half of it, the next at most a quarter, and so on: who has little always gets something,
//! whatever the greedy ones do. It is asked at every growth, not only when something is made.
//!
//! What is refused by it is refused with an error that says so. What merely expires, or is remembered to save work, is not refused:
//! there the one who has most loses what is oldest of theirs, never anybody else.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Whether somebody who has `own`, of the `all` that is taken of a `whole`, may have `more`.
pub fn may_have(own: usize, more: usize, all: usize, whole: usize) -> bool {
    more <= spare(own, all, whole)
}

/// How much more somebody may have: then they have as much as is left, or a little less.
pub fn spare(own: usize, all: usize, whole: usize) -> usize {
    whole.saturating_sub(all).saturating_sub(own) / 2
}

/// How much each has of something.
#[derive(Debug, Default)]
pub struct Shares {
    of: BTreeMap<Arc<str>, usize>,
    all: usize,
}

impl Shares {
    /// What somebody has.
    pub fn of(&self, who: &str) -> usize {
        self.of.get(who).copied().unwrap_or_default()
    }

    /// What all have together.
    pub fn all(&self) -> usize {
        self.all
    }

    /// Whether somebody may have so much more of a `whole`.
    pub fn may(&self, who: &str, more: usize, whole: usize) -> bool {
        may_have(self.of(who), more, self.all, whole)
    }

    /// How much more of it that one may have.
    pub fn spare(&self, who: &str, whole: usize) -> usize {
        spare(self.of(who), self.all, whole)
    }

    /// Somebody has so much more. Their name, to be kept.
    pub fn add(&mut self, who: &str, more: usize) -> Arc<str> {
        self.all += more;
        let who: Arc<str> = self.of.get_key_value(who).map_or_else(|| who.into(), |(who, _)| who.clone());
        if more > 0 {
            *self.of.entry(who.clone()).or_default() += more;
        }
        who
    }

    /// Somebody has so much less.
    pub fn take(&mut self, who: &str, less: usize) {
        let Some(own) = self.of.get_mut(who) else { return };
        self.all = self.all.saturating_sub(less.min(*own));
        *own = own.saturating_sub(less);
        if *own == 0 {
            self.of.remove(who);
        }
    }

    /// Who has most.
    pub fn greediest(&self) -> Option<&str> {
        self.of.iter().max_by_key(|(_, own)| **own).map(|(who, _)| &**who)
    }
}

/// Whose the entries of a table are, what each counts, and which of them came first.
#[derive(Debug)]
pub struct Ledger<K> {
    entries: BTreeMap<K, Entry>,
    shares: Shares,
    /// How many entries each has.
    counts: Shares,
    /// Greater for an entry that came later.
    last: u64,
}

#[derive(Debug)]
struct Entry {
    who: Arc<str>,
    weight: usize,
    age: u64,
}

impl<K> Default for Ledger<K> {
    fn default() -> Ledger<K> {
        Ledger { entries: BTreeMap::new(), shares: Shares::default(), counts: Shares::default(), last: 0 }
    }
}

impl<K: Ord + Clone> Ledger<K> {
    /// What each has.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// How many entries each has.
    pub fn counts(&self) -> &Shares {
        &self.counts
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// An entry of somebody, which counts as much as `weight`; in the place of one with the same key.
    pub fn put(&mut self, key: K, who: &str, weight: usize) {
        self.take(&key);
        self.last += 1;
        let who = self.shares.add(who, weight);
        self.counts.add(&who, 1);
        self.entries.insert(key, Entry { who, weight, age: self.last });
    }

    /// Takes an entry out.
    pub fn take(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.shares.take(&entry.who, entry.weight);
            self.counts.take(&entry.who, 1);
        }
    }

    /// An entry is used: it is as young as if it had just come.
    pub fn touch(&mut self, key: &K) {
        if let Some(entry) = self.entries.get_mut(key) {
            self.last += 1;
            entry.age = self.last;
        }
    }

    /// What goes if there is too much: of who has most, what came first. It is still there.
    pub fn surplus(&self) -> Option<K> {
        let greediest = self.shares.greediest()?;
        let theirs = self.entries.iter().filter(|(_, entry)| &*entry.who == greediest);
        theirs.min_by_key(|(_, entry)| entry.age).map(|(key, _)| key.clone())
    }
}

/// Something that is shared, for the table in `src/lib.rs`. One stands beside the limit of each such thing, with the name
/// `SHARED`; all of them are in `ext::table::shares` or in that of `service`.
#[derive(Debug)]
pub struct Shared {
    /// What it is.
    pub what: &'static str,
    /// The limits for all together: the names of the constants, and what they are.
    pub whole: &'static [(&'static str, usize)],
    /// Whose shares there are, and how large one may be.
    pub share: &'static str,
    /// The file, below `src`, where it is asked.
    pub checked: &'static str,
    /// What becomes of the greedy one.
    pub told: &'static str,
}

/// The names and values of constants, for [`Shared::whole`].
macro_rules! limits {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as usize)),*] };
}
pub(crate) use limits;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_more_than_is_left() {
        for (own, all, whole, most) in
            [(0, 0, 100, 50), (50, 50, 100, 0), (0, 50, 100, 25), (25, 75, 100, 0), (0, 75, 100, 12), (0, 99, 100, 0)]
        {
            assert_eq!(spare(own, all, whole), most, "{own} {all}");
            assert!(may_have(own, most, all, whole) && !may_have(own, most + 1, all, whole));
            assert!(most == 0 || own + most <= whole - (all + most));
        }
        assert_eq!(spare(7, 200, 100), 0, "when a limit has become smaller");
        assert!(may_have(7, 0, 200, 100), "what does not grow is not refused");
    }

    #[test]
    fn who_has_little_gets_something_whatever_the_greedy_do() {
        let (mut shares, whole) = (Shares::default(), 16 * 1024 * 1024);
        for greedy in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            while shares.may(greedy, 1000, whole) {
                shares.add(greedy, 1000);
            }
            assert!(shares.may("modest", 10_000, whole), "after {greedy}");
        }
        assert!(shares.of("a") <= whole / 2 && shares.of("b") <= whole / 4);
        assert_eq!(shares.greediest(), Some("a"));
        shares.take("a", usize::MAX);
        assert_eq!(shares.of("a"), 0);
        assert_eq!(shares.all(), ["b", "c", "d", "e", "f", "g", "h"].iter().map(|who| shares.of(who)).sum::<usize>());
    }

    #[test]
    fn the_greediest_loses_what_is_oldest() {
        let mut ledger = Ledger::default();
        for (key, who) in [(1, "romeo"), (2, "iago"), (3, "iago"), (4, "romeo"), (5, "iago")] {
            ledger.put(key, who, 1);
        }
        assert_eq!(ledger.surplus(), Some(2));
        ledger.touch(&2);
        assert_eq!(ledger.surplus(), Some(3));
        ledger.put(1, "romeo", 7);
        assert_eq!((ledger.len(), ledger.shares().of("romeo"), ledger.shares().all()), (5, 8, 11));
        assert_eq!(ledger.surplus(), Some(4), "by what it counts; and what is put again is younger");
        for key in 1..=5 {
            ledger.take(&key);
        }
        assert_eq!((ledger.surplus(), ledger.shares().all()), (None, 0));
        assert!(ledger.is_empty());
    }
}
