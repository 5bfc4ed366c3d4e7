//! Failed logins slow down: each address for itself, and each account for addresses that it was never entered from. The
//! owner, at an address where the password was right before, never waits for what strangers did.

use crate::wire::Jid;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Addresses and accounts remembered, each; the one quiet for longest is forgotten first.
const REMEMBERED: usize = 4096;
/// Failures without a consequence.
const FREE: u32 = 3;
/// The delay after the first failure that has one, in milliseconds; it doubles with each.
const FIRST_MS: u64 = 250;
/// The longest delay for an address. Below the time a stream has for its login.
const ADDRESS_MS: u64 = 16_000;
/// The longest delay for an account.
const ACCOUNT_MS: u64 = 4_000;
/// After so long without a failure all is forgotten, in milliseconds.
const FORGET_MS: u64 = 15 * 60_000;
/// Addresses remembered that logged in to an account.
const KNOWN: usize = 8;

/// Failures of one kind.
#[derive(Debug, Default, Clone)]
struct Failures {
    count: u32,
    last: u64,
    /// The next attempt is answered not before.
    free_at: u64,
}

impl Failures {
    fn fail(&mut self, now: u64) {
        if now.saturating_sub(self.last) > FORGET_MS {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = now;
    }

    /// When an attempt is answered: attempts that have to wait are answered one after the other, so that opening more
    /// connections gains nothing, but never later than `most` from now.
    fn when(&mut self, now: u64, most: u64) -> u64 {
        if self.count < FREE || now.saturating_sub(self.last) > FORGET_MS {
            return now;
        }
        let delay = FIRST_MS.saturating_mul(1 << (self.count - FREE).min(20)).min(most);
        self.free_at = (self.free_at.max(now) + delay).min(now + most);
        self.free_at
    }
}

/// An account that somebody tried.
#[derive(Debug, Default, Clone)]
struct Tried {
    /// From addresses that never got in.
    outside: Failures,
    /// From those that did.
    inside: Failures,
    known: Vec<IpAddr>,
    seen: u64,
}

/// Who failed how often.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    addresses: BTreeMap<IpAddr, Failures>,
    accounts: BTreeMap<Jid, Tried>,
    /// When it was last looked what can be forgotten.
    looked: u64,
}

/// Who counts as one: one customer of the network has a whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !(u128::MAX >> 64)).into()),
        v4 => v4,
    }
}

/// The entry of a key; when the table is full, the one with the smallest `age` makes room.
fn entry<K: Ord + Clone, V: Default>(map: &mut BTreeMap<K, V>, key: K, age: impl Fn(&V) -> u64) -> &mut V {
    if map.len() >= REMEMBERED && !map.contains_key(&key) {
        let oldest = map.iter().min_by_key(|(_, v)| age(v)).map(|(k, _)| k.clone());
        if let Some(oldest) = oldest {
            map.remove(&oldest);
        }
    }
    map.entry(key).or_default()
}

impl Throttle {
    /// When (in milliseconds of the clock that never jumps) an attempt may be answered.
    pub(super) fn when(&mut self, now: u64, jid: &Jid, address: IpAddr) -> u64 {
        let address = network(address);
        let tried = self.accounts.get_mut(jid);
        if let Some(tried) = tried {
            if tried.known.contains(&address) {
                return tried.inside.when(now, ACCOUNT_MS);
            }
            // A stranger's failures slow other strangers down, but they do not queue: nobody is locked out by a flood.
            tried.outside.free_at = now;
            let at = tried.outside.when(now, ACCOUNT_MS);
            return self.addresses.get_mut(&address).map_or(at, |f| f.when(now, ADDRESS_MS).max(at));
        }
        self.addresses.get_mut(&address).map_or(now, |f| f.when(now, ADDRESS_MS))
    }

    /// Strangers that have been quiet for long, now and then.
    fn forget(&mut self, now: u64) {
        if now.saturating_sub(self.looked) > FORGET_MS {
            self.looked = now;
            self.addresses.retain(|_, failures| now.saturating_sub(failures.last) <= FORGET_MS);
            self.accounts.retain(|_, tried| !tried.known.is_empty() || now.saturating_sub(tried.seen) <= FORGET_MS);
        }
    }

    /// How an attempt ended.
    pub(super) fn ended(&mut self, now: u64, jid: &Jid, address: IpAddr, success: bool) {
        self.forget(now);
        let address = network(address);
        let tried = entry(&mut self.accounts, jid.clone(), |t| t.seen);
        tried.seen = now;
        let known = tried.known.iter().position(|a| *a == address);
        if success {
            if let Some(at) = known {
                tried.known.remove(at);
            }
            tried.known.insert(0, address);
            tried.known.truncate(KNOWN);
            tried.inside = Failures::default();
        } else {
            if known.is_some() { &mut tried.inside } else { &mut tried.outside }.fail(now);
            entry(&mut self.addresses, address, |f| f.last).fail(now);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn jid(text: &str) -> Jid {
        Jid::parse(text).unwrap()
    }
    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn guessing_slows_down_and_is_forgotten() {
        let (mut t, j, a) = (Throttle::default(), jid("juliet@house"), ip("192.0.2.1"));
        let mut waits = Vec::new();
        for _ in 0..12 {
            waits.push(t.when(1000, &j, a) - 1000);
            t.ended(1000, &j, a, false);
        }
        assert_eq!(&waits[..3], [0, 0, 0]);
        assert!(waits[3] >= FIRST_MS && waits[11] == ADDRESS_MS, "{waits:?}");
        let later = 1000 + FORGET_MS + 1;
        assert_eq!(t.when(later, &j, a), later);
    }

    #[test]
    fn more_connections_gain_nothing() {
        let (mut t, j, a) = (Throttle::default(), jid("juliet@house"), ip("192.0.2.1"));
        for _ in 0..4 {
            t.ended(0, &j, a, false);
        }
        let first = t.when(0, &j, a);
        assert!(t.when(0, &j, a) > first, "the second attempt at the same time waits for longer");
    }

    #[test]
    fn a_stranger_does_not_lock_the_owner_out() {
        let (mut t, j) = (Throttle::default(), jid("juliet@house"));
        t.ended(0, &j, ip("198.51.100.7"), true);
        for n in 0..1000 {
            t.ended(0, &j, ip(&format!("203.0.113.{}", n % 250)), false);
        }
        assert_eq!(t.when(0, &j, ip("198.51.100.7")), 0, "from where she was before");
        assert!(t.when(0, &j, ip("192.0.2.99")) <= ACCOUNT_MS, "from elsewhere a short wait");
        assert!(t.when(0, &j, ip("192.0.2.99")) <= ACCOUNT_MS, "which does not add up");
    }

    #[test]
    fn logging_in_elsewhere_does_not_reset_an_address() {
        let (mut t, a) = (Throttle::default(), ip("192.0.2.1"));
        for _ in 0..8 {
            t.ended(0, &jid("juliet@house"), a, false);
            t.ended(0, &jid("iago@house"), a, true);
        }
        assert!(t.when(0, &jid("juliet@house"), a) > 0);
    }

    #[test]
    fn the_tables_do_not_grow() {
        let mut t = Throttle::default();
        for n in 0..(REMEMBERED as u32 + 100) {
            t.ended(u64::from(n), &jid(&format!("u{n}@house")), IpAddr::V4(n.into()), false);
        }
        assert!(t.addresses.len() == REMEMBERED && t.accounts.len() == REMEMBERED);
    }

    #[test]
    fn strangers_are_forgotten_and_owners_are_not() {
        let (mut t, owner) = (Throttle::default(), jid("juliet@house"));
        t.ended(0, &owner, ip("198.51.100.7"), true);
        for n in 0..100 {
            t.ended(n, &jid(&format!("u{n}@house")), IpAddr::V4((n as u32).into()), false);
        }
        assert_eq!((t.addresses.len(), t.accounts.len()), (100, 101));
        t.ended(3 * FORGET_MS, &owner, ip("198.51.100.7"), false);
        assert_eq!((t.addresses.len(), t.accounts.len()), (1, 1));
        assert_eq!(t.accounts[&owner].known.len(), 1);
    }

    #[test]
    fn a_network_counts_as_one_address() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), network(ip("2001:db8:1:2::1")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
