//! What many people share, and how much of it one of them may have.
//!
//! One rule holds wherever something has a limit for all together: **nobody may have more than what is then left for all the
//! others**. Whoever is alone gets at most half of it, the next at most a quarter, and so on: who has little always gets something,
//! whatever the greedy ones do. It is asked at every growth, not only when something is made.
//!
//! All who are elsewhere have together at most half of what our own people leave, and among them the rule holds in that half: whoever has
//! a name elsewhere can have many, and our own people none but theirs. So a site, which is all the domains below one that somebody
//! registers, is one of them ([`site`]).
//!
//! What is refused by it is refused with an error that says so. What merely expires, or is remembered to save work, is not refused:
//! there the one who has most loses what is oldest of theirs, never anybody else.

use crate::wire::Jid;
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

/// Whose share something is in: that of an account of ours, by its bare JID; of all others that of their site. `ours`: the domain that is
/// served, and below which each name is one that the owner has given.
pub fn whose<'a>(ours: &str, jid: &'a Jid) -> &'a str {
    match jid.local() {
        Some(_) if jid.domain() == ours => jid.bare_str(),
        _ => site(ours, jid.domain()),
    }
}

/// What somebody has registered, as far as a domain tells that: its last two labels; three, where the last two are as in `co.uk`.
pub fn site<'a>(ours: &str, domain: &'a str) -> &'a str {
    let is_below_ours = domain.strip_suffix(ours).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let is_address = domain.starts_with('[') || domain.ends_with(|c: char| c.is_ascii_digit());
    let mut dots = domain.rmatch_indices('.').map(|(at, _)| at);
    let (Some(last), Some(second)) = (dots.next(), dots.next()) else { return domain };
    if is_below_ours || is_address {
        return domain;
    }
    let (country, kind) = (domain.len() - last - 1, last - second - 1);
    match (country, kind, dots.next()) {
        (2, ..=3, Some(third)) => &domain[third + 1..],
        (2, ..=3, None) => domain,
        _ => &domain[second + 1..],
    }
}

/// Whether somebody is elsewhere, by what [`whose`] says; nobody is here.
pub fn is_elsewhere(who: &str) -> bool {
    !who.is_empty() && !who.contains('@')
}

/// How much each has of something.
#[derive(Debug, Default)]
pub struct Shares {
    of: BTreeMap<Arc<str>, usize>,
    all: usize,
    /// What those have together who are elsewhere.
    elsewhere: usize,
    /// There is no difference between here and elsewhere.
    alike: bool,
}

impl Shares {
    /// Of those who are neither here nor elsewhere, such as addresses.
    pub fn of_alike() -> Shares {
        Shares { alike: true, ..Shares::default() }
    }

    /// What somebody has.
    pub fn of(&self, who: &str) -> usize {
        self.of.get(who).copied().unwrap_or_default()
    }

    /// What all have together.
    pub fn all(&self) -> usize {
        self.all
    }

    /// What those have together who are elsewhere.
    pub fn elsewhere(&self) -> usize {
        self.elsewhere
    }

    /// Whether somebody may have so much more of a `whole`.
    pub fn may(&self, who: &str, more: usize, whole: usize) -> bool {
        more <= self.spare(who, whole)
    }

    /// How much more of it that one may have.
    pub fn spare(&self, who: &str, whole: usize) -> usize {
        match self.alike || !is_elsewhere(who) {
            true => spare(self.of(who), self.all, whole),
            false => spare(self.of(who), self.elsewhere, whole.saturating_sub(self.all - self.elsewhere) / 2),
        }
    }

    /// Somebody has so much more. Their name, to be kept.
    pub fn add(&mut self, who: &str, more: usize) -> Arc<str> {
        self.all += more;
        self.elsewhere += if is_elsewhere(who) { more } else { 0 };
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
        self.elsewhere = self.elsewhere.saturating_sub(if is_elsewhere(who) { less.min(*own) } else { 0 });
        *own = own.saturating_sub(less);
        if *own == 0 {
            self.of.remove(who);
        }
    }

    /// Who has most; all who are elsewhere are one for that, and of them the one who has most.
    pub fn greediest(&self) -> Option<&str> {
        let most = |elsewhere: bool| {
            let some = self.of.iter().filter(move |(who, _)| is_elsewhere(who) == elsewhere);
            some.max_by_key(|(_, own)| **own)
        };
        let (here, elsewhere) = (most(false), most(true));
        let first = here.filter(|(_, own)| elsewhere.is_none() || **own > self.elsewhere);
        first.or(elsewhere).map(|(who, _)| &**who)
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
        for greedy in ["a@", "b@", "c@", "d@", "e@", "f@", "g@", "h@"] {
            while shares.may(greedy, 1000, whole) {
                shares.add(greedy, 1000);
            }
            assert!(shares.may("modest@", 10_000, whole), "after {greedy}");
        }
        assert!(shares.of("a@") <= whole / 2 && shares.of("b@") <= whole / 4);
        assert_eq!(shares.greediest(), Some("a@"));
        shares.take("a@", usize::MAX);
        assert_eq!(shares.of("a@"), 0);
        assert_eq!(
            shares.all(),
            ["b@", "c@", "d@", "e@", "f@", "g@", "h@"].iter().map(|who| shares.of(who)).sum::<usize>()
        );
    }

    #[test]
    fn our_own_people_have_room_however_many_are_elsewhere() {
        let (mut shares, whole) = (Shares::default(), 16 * 1024 * 1024);
        shares.add("romeo@house.test", 1_000_000);
        for n in 0..10_000 {
            let site = format!("evil{n}.test");
            while shares.may(&site, 1000, whole) {
                shares.add(&site, 1000);
            }
        }
        assert!(shares.of("evil0.test") <= (whole - 1_000_000) / 4 && shares.of("evil0.test") > whole / 5);
        assert!(shares.of("evil1.test") > whole / 10, "the rule holds among them");
        assert!(shares.all() <= whole / 2 + 1_000_000);
        assert!(shares.may("juliet@house.test", whole / 8, whole));
        assert_eq!(shares.greediest(), Some("evil0.test"), "together they have most");
        shares.add("romeo@house.test", whole);
        assert_eq!(shares.greediest(), Some("romeo@house.test"));
        (0..10_000).for_each(|n| shares.take(&format!("evil{n}.test"), usize::MAX));
        assert_eq!(shares.all(), whole + 1_000_000);
        shares.take("romeo@house.test", usize::MAX);
        assert!(shares.may("good.test", whole / 4, whole) && !shares.may("good.test", whole / 4 + 1, whole));
        let mut alike = Shares::of_alike();
        assert!(alike.may("192.0.2.7", whole / 2, whole));
        alike.add("192.0.2.7", whole / 2);
        assert!(alike.may("192.0.2.8", whole / 4, whole));
    }

    #[test]
    fn a_site_is_what_somebody_has_registered() {
        for (domain, is) in [
            ("evil.test", "evil.test"),
            ("a.evil.test", "evil.test"),
            ("a.b.c.evil.test", "evil.test"),
            ("a.evil.de", "evil.de"),
            ("evil.co.uk", "evil.co.uk"),
            ("a.evil.co.uk", "evil.co.uk"),
            ("co.uk", "co.uk"),
            ("box.local", "box.local"),
            ("localhost", "localhost"),
            ("192.0.2.77", "192.0.2.77"),
            ("[2001:db8::7]", "[2001:db8::7]"),
            ("gateway.house.example", "gateway.house.example"),
            ("house.example", "house.example"),
            ("a.notmyhouse.example", "notmyhouse.example"),
        ] {
            assert_eq!(site("house.example", domain), is, "{domain}");
        }
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
