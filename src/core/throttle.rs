//! Guessing is slowed down, and nobody waits for what others got wrong.
//!
//! Before a password can be checked nobody knows whether it will be right, so attempts wait, not answers. What an attempt waits for
//! depends on what went wrong before, looked at in three ways, each a [`Gate`]:
//!
//! - The *pair* of the account and the network that the attempt is from. One phone with an old password is one pair, however often
//!   it tries, and nobody but that account's clients in that network wait for it, [`KNOWN_MS`] at most.
//! - The *account*, tried from networks that it was never used from: guessers with many addresses share what one of them may.
//! - The *network*, trying accounts that were never used from there: of each of them the first failures count, so that one or a few
//!   devices with wrong passwords slow nobody down, and one password at all names does.
//!
//! The second and the third do not stand between an account and the networks that its password was right in; it remembers those
//! ([`super::account::Known`]), also over a restart. So an account's owner waits for strangers only somewhere new, and whoever waits
//! there is before those that have failed there. As nobody waits for longer than a gate is closed ([`PATIENCE_MS`]), whoever comes
//! has a turn.
//!
//! So whoever guesses has, once the free ones are used up: [`OTHER_MS`] for each guess at an account, 180 in an hour, from however many
//! networks; the same for each guess of a network at accounts it does not know, those that do not exist included; [`KNOWN_MS`] for each,
//! 450 in an hour, in a network that the account is used from, where its owner waits with them.
//!
//! What can be told from all that: whoever is in a network that an account is used from can find out that it is, and so that it
//! exists. From anywhere else accounts that exist and those that do not are alike.

use super::ids::StreamId;
use super::share::{Shared, limits};
use crate::wire::Jid;
use ring::hmac;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Gates of each of the three kinds that are remembered; the one quiet for longest is forgotten first.
const REMEMBERED: usize = 4096;
/// Attempts that wait, of all and of one network; then one of them, whichever, is not answered any more.
const WAITING: usize = 512;
const WAITING_OF_NETWORK: usize = 64;
/// Of so many the last has its turn.
const FEW: usize = 3;
/// Failures of a pair without a consequence. No more of one pair count for its network.
const FREE: u32 = 3;
/// Failures without a consequence of an account at networks that it was never used from.
const FREE_OF_ACCOUNT: u32 = 20;
/// Failures without a consequence of a network at accounts that were never used from there.
const FREE_OF_NETWORK: u32 = 20;
/// Attempts that are under way without a consequence. Further ones may fail, and count as if they had: more connections gain nothing.
const AT_ONCE: u32 = 8;
/// The delay after the first failure that has one, in milliseconds; it doubles with each.
const FIRST_MS: u64 = 250;
/// The longest delay of an account where it was used before, in milliseconds.
const KNOWN_MS: u64 = 8_000;
/// The longest delay elsewhere, in milliseconds.
const OTHER_MS: u64 = 20_000;
/// The longest that an attempt waits because it comes now, and not because others came shortly before, in milliseconds.
const ALONE_MS: u64 = 4_000;
/// How long an attempt can wait, in milliseconds: longer than any delay, and less than a stream has for its login.
const PATIENCE_MS: u64 = 24_000;
/// After so long without a failure all is forgotten, in milliseconds.
const FORGET_MS: u64 = 15 * 60_000;
/// Failures that the first login of an account in a network makes up for: where many are new, many mistype.
const MADE_UP: u32 = 3;

/// For the table in `src/lib.rs`.
pub(crate) const SHARED: Shared = Shared {
    what: "attempts to log in that wait, and failures that are remembered",
    whole: limits![WAITING, WAITING_OF_NETWORK, REMEMBERED, FREE_OF_NETWORK, FREE_OF_ACCOUNT],
    share: "an account in a network, an account from elsewhere, a network at accounts it does not know: each its own delay, and that \
            number of failures without one; a network: the second number of attempts",
    checked: "core/throttle.rs",
    told: "waits; one of too many is not answered",
};

/// What attempts pass one after the other, once some have failed.
#[derive(Debug, Default, Clone)]
struct Gate {
    failed: u32,
    /// When the last one failed.
    at: u64,
    /// Those that have passed, and may fail yet.
    under_way: u32,
    /// When the last one passed.
    passed: u64,
}

impl Gate {
    fn is_forgotten(&self, now: u64) -> bool {
        self.under_way == 0 && now.saturating_sub(self.at) > FORGET_MS
    }

    fn fail(&mut self, now: u64) {
        if now.saturating_sub(self.at) > FORGET_MS {
            self.failed = 0;
        }
        self.failed = self.failed.saturating_add(1);
        self.at = now;
    }

    /// When an attempt that came at `since` passes.
    fn opens(&self, since: u64, now: u64, free: u32, most: u64) -> u64 {
        let failed = if now.saturating_sub(self.at) > FORGET_MS { 0 } else { self.failed };
        let may_fail = failed.saturating_add(self.under_way.saturating_sub(AT_ONCE));
        let Some(more) = may_fail.checked_sub(free) else { return since };
        let delay = FIRST_MS.saturating_mul(1 << more.min(20)).min(most);
        (since + delay.min(ALONE_MS)).max(self.passed + delay)
    }
}

/// Whose attempt it is: keyed hashes, so that their sizes are known and nobody's address is kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Who {
    account: u64,
    network: u64,
}

/// An attempt to log in.
#[derive(Debug, Clone)]
struct Attempt {
    jid: Jid,
    who: Who,
    /// Whether the account was used from that network.
    known: bool,
    /// When it came.
    since: u64,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Outcome {
    /// It was proven.
    Success,
    /// What should have proven it was wrong.
    Failure,
    /// Nothing was proven, nor tried to be.
    Nothing,
}

/// How often something is done: many times at once, and then again as time passes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Pace {
    /// When all of it may be done at once again, in milliseconds.
    rested: u64,
}

impl Pace {
    /// It is done once more, of `at_once` and another each `ms`. Or else: in how many milliseconds it may be done.
    pub(super) fn count(&mut self, now: u64, at_once: u64, ms: u64) -> u64 {
        let rested = self.rested.max(now) + ms;
        let wait = rested.saturating_sub(now + at_once * ms);
        if wait == 0 {
            self.rested = rested;
        }
        wait
    }

    /// What was done last was as it should be, and does not count.
    pub(super) fn forgive(&mut self, ms: u64) {
        self.rested = self.rested.saturating_sub(ms);
    }
}

/// Who failed how often.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    pairs: BTreeMap<Who, Gate>,
    accounts: BTreeMap<u64, Gate>,
    networks: BTreeMap<u64, Gate>,
    /// Networks from which tokens were shown that are none.
    tokens: BTreeMap<u64, Gate>,
    waiting: BTreeMap<StreamId, Attempt>,
    under_way: BTreeMap<StreamId, Attempt>,
    /// When it was last looked what can be forgotten.
    looked: u64,
    /// When somebody is waked who waits.
    wakes: Option<u64>,
    turn: u64,
}

/// Who counts as one: one customer of the network has a whole /64.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !(u128::MAX >> 64)).into()),
        v4 => v4,
    }
}

/// A network as an account remembers it: nothing that tells which it is.
pub(super) fn network_mark(secret: &[u8; 32], address: IpAddr) -> u64 {
    mark(secret, b"network\0", network(address).to_string().as_bytes())
}

fn mark(secret: &[u8; 32], kind: &[u8], what: &[u8]) -> u64 {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, secret));
    context.update(b"throttle\0");
    context.update(kind);
    context.update(what);
    context.sign().as_ref().iter().take(8).fold(0, |mark, byte| mark << 8 | u64::from(*byte))
}

/// The gate of a key; when the table is full, the one that was quiet for longest makes room.
fn gate<K: Ord + Copy>(map: &mut BTreeMap<K, Gate>, key: K) -> &mut Gate {
    if map.len() >= REMEMBERED && !map.contains_key(&key) {
        let oldest = map.iter().min_by_key(|(_, gate)| gate.at.max(gate.passed)).map(|(key, _)| *key);
        oldest.and_then(|key| map.remove(&key));
    }
    map.entry(key).or_default()
}

/// Some order, another one each turn.
fn stir(stream: StreamId, turn: u64) -> u64 {
    let mixed = (stream.0 ^ turn.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 32).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

impl Throttle {
    /// Somebody wants to log in; it is their turn when [`Throttle::next`] says so. `known`: the account was used from there.
    pub(super) fn ask(
        &mut self,
        now: u64,
        stream: StreamId,
        jid: Jid,
        secret: &[u8; 32],
        address: IpAddr,
        known: bool,
    ) {
        self.ended(now, stream, Outcome::Nothing);
        let account = mark(secret, b"account\0", jid.as_str().as_bytes());
        let who = Who { account, network: network_mark(secret, address) };
        self.make_room(who.network);
        self.waiting.insert(stream, Attempt { jid, who, known, since: now });
    }

    fn make_room(&mut self, network: u64) {
        let here = |all: &Throttle| all.waiting.values().filter(|a| a.who.network == network).count();
        let of_network = if self.waiting.len() < WAITING_OF_NETWORK { false } else { here(self) >= WAITING_OF_NETWORK };
        if !of_network && self.waiting.len() < WAITING {
            return;
        }
        self.turn = self.turn.wrapping_add(1);
        let some = self.waiting.iter().filter(|(_, a)| !of_network || a.who.network == network);
        let any = some.map(|(stream, _)| *stream).min_by_key(|stream| stir(*stream, self.turn));
        any.and_then(|stream| self.waiting.remove(&stream));
    }

    /// When an attempt may be answered.
    fn opens(&self, attempt: &Attempt, now: u64) -> u64 {
        let Attempt { who, known, since, .. } = attempt;
        let most = if *known { KNOWN_MS } else { OTHER_MS };
        let pair = self.pairs.get(who).map_or(*since, |gate| gate.opens(*since, now, FREE, most));
        if *known {
            return pair;
        }
        let account = self.accounts.get(&who.account);
        let account = account.map_or(pair, |gate| gate.opens(*since, now, FREE_OF_ACCOUNT, OTHER_MS));
        let network = self.networks.get(&who.network);
        network.map_or(pair, |gate| gate.opens(*since, now, FREE_OF_NETWORK, OTHER_MS)).max(pair).max(account)
    }

    /// Whose turn it is now, if it is somebody's; to be asked until it is nobody's.
    pub(super) fn next(&mut self, now: u64) -> Option<(StreamId, Jid)> {
        self.waiting.retain(|_, attempt| now.saturating_sub(attempt.since) <= PATIENCE_MS);
        let failed = |attempt: &Attempt| self.pairs.get(&attempt.who).map_or(0, |gate| gate.failed);
        let ready = self.waiting.iter().filter(|(_, attempt)| self.opens(attempt, now) <= now);
        let ready: Vec<(u32, u64, StreamId)> =
            ready.map(|(stream, attempt)| (failed(attempt), attempt.since, *stream)).collect();
        // The last that came: who always tries was there before. But any of many every other time.
        let turn = self.turn;
        let any = ready.len() > FEW && turn.is_multiple_of(2);
        let order = |since: u64, stream: StreamId| match any {
            true => (stir(stream, turn), stream),
            false => (u64::MAX - since, stream),
        };
        let (_, _, stream) =
            ready.into_iter().min_by_key(|(failed, since, stream)| (*failed, order(*since, *stream)))?;
        self.turn = turn.wrapping_add(1);
        let attempt = self.waiting.remove(&stream)?;
        self.gates(&attempt, |gate| (gate.under_way, gate.passed) = (gate.under_way + 1, now));
        let jid = attempt.jid.clone();
        self.under_way.insert(stream, attempt);
        Some((stream, jid))
    }

    /// When to ask again, if that was not said before.
    pub(super) fn wake(&mut self, now: u64) -> Option<u64> {
        if self.wakes.is_some_and(|at| at <= now) {
            self.wakes = None;
        }
        let first = self.waiting.values().map(|attempt| self.opens(attempt, now)).min()?.max(now + 1);
        if self.wakes.is_some_and(|at| at <= first) {
            return None;
        }
        self.wakes = Some(first);
        self.wakes
    }

    /// All gates that an attempt passes.
    fn gates(&mut self, attempt: &Attempt, mut change: impl FnMut(&mut Gate)) {
        let Attempt { who, known, .. } = attempt;
        change(gate(&mut self.pairs, *who));
        if !known {
            change(gate(&mut self.accounts, who.account));
            change(gate(&mut self.networks, who.network));
        }
    }

    /// How an attempt ended, if it was under way.
    pub(super) fn ended(&mut self, now: u64, stream: StreamId, outcome: Outcome) {
        self.forget(now);
        self.waiting.remove(&stream);
        let Some(attempt) = self.under_way.remove(&stream) else { return };
        self.gates(&attempt, |gate| gate.under_way = gate.under_way.saturating_sub(1));
        let Attempt { who, known, .. } = attempt;
        match outcome {
            Outcome::Nothing => {}
            Outcome::Success => {
                self.pairs.entry(who).and_modify(|gate| gate.failed = 0);
                if !known {
                    let makes_up = |gate: &mut Gate| gate.failed = gate.failed.saturating_sub(MADE_UP);
                    self.networks.entry(who.network).and_modify(makes_up);
                }
            }
            Outcome::Failure => {
                let pair = gate(&mut self.pairs, who);
                pair.fail(now);
                let first = pair.failed <= FREE;
                if !known {
                    gate(&mut self.accounts, who.account).fail(now);
                    if first {
                        gate(&mut self.networks, who.network).fail(now);
                    }
                }
            }
        }
    }

    /// Somebody has shown a token that is none, for a notification. Gives how long whoever does the like there is told to wait, in
    /// milliseconds. A token that is one never waits for that: nobody guesses 128 bits.
    pub(super) fn unknown_token(&mut self, now: u64, secret: &[u8; 32], address: IpAddr) -> u64 {
        self.forget(now);
        let gate = gate(&mut self.tokens, network_mark(secret, address));
        let wait = gate.opens(now, now, FREE_OF_NETWORK, OTHER_MS) - now;
        gate.fail(now);
        wait
    }

    /// What has been quiet for long, now and then.
    fn forget(&mut self, now: u64) {
        if now.saturating_sub(self.looked) > FORGET_MS {
            self.looked = now;
            self.pairs.retain(|_, gate| !gate.is_forgotten(now));
            self.accounts.retain(|_, gate| !gate.is_forgotten(now));
            self.networks.retain(|_, gate| !gate.is_forgotten(now));
            self.tokens.retain(|_, gate| !gate.is_forgotten(now));
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [7; 32];

    /// A throttle, and the time that passes with what waits.
    struct Play {
        throttle: Throttle,
        now: u64,
        next: u64,
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    impl Play {
        fn new() -> Play {
            Play { throttle: Throttle::default(), now: 1_000, next: 0 }
        }

        fn ask(&mut self, name: &str, from: &str, known: bool) -> StreamId {
            self.next += 1;
            let jid = Jid::parse(&format!("{name}@house")).unwrap();
            self.throttle.ask(self.now, StreamId(self.next), jid, &SECRET, ip(from), known);
            StreamId(self.next)
        }

        fn ready(&mut self) -> Vec<StreamId> {
            std::iter::from_fn(|| self.throttle.next(self.now).map(|(stream, _)| stream)).collect()
        }

        /// An attempt that waits alone: for how long; and then it ends so.
        fn attempt(&mut self, name: &str, from: &str, known: bool, outcome: Outcome) -> u64 {
            let (stream, begun) = (self.ask(name, from, known), self.now);
            while !self.ready().contains(&stream) {
                self.now = self.throttle.wake(self.now).unwrap_or(self.now + 100);
                assert!(self.now - begun <= PATIENCE_MS, "it has no turn");
            }
            self.throttle.ended(self.now, stream, outcome);
            self.now - begun
        }

        /// How many guesses a guesser makes in so long, who has as many connections as there can be: `who` says at whose account
        /// and from where.
        fn guesses(&mut self, ms: u64, known: bool, mut who: impl FnMut(u64) -> (String, String)) -> u64 {
            let (end, mut guesses, mut n) = (self.now + ms, 0, 0);
            while self.now < end {
                for _ in 0..2 {
                    n += 1;
                    let (name, from) = who(n);
                    self.ask(&name, &from, known);
                }
                for stream in self.ready() {
                    self.throttle.ended(self.now, stream, Outcome::Failure);
                    guesses += 1;
                }
                self.now += 1_000;
            }
            guesses
        }
    }

    const HOUR: u64 = 3_600_000;

    /// Each network for itself, and nobody waits for a login because of it.
    #[test]
    fn tokens_that_are_none_are_told_to_wait() {
        let mut play = Play::new();
        let show = |play: &mut Play, from: &str| play.throttle.unknown_token(play.now, &SECRET, ip(from));
        for n in 0..FREE_OF_NETWORK {
            assert_eq!(show(&mut play, "2001:db8::1"), 0, "{n}");
        }
        let waits: Vec<u64> = (1..8).map(|n| show(&mut play, &format!("2001:db8::{n}"))).collect();
        assert!(waits[0] >= FIRST_MS && waits.is_sorted() && waits[6] <= OTHER_MS, "{waits:?}");
        assert_eq!(show(&mut play, "2001:db8:0:1::1"), 0, "another network");
        assert_eq!(play.attempt("juliet", "2001:db8::1", false, Outcome::Failure), 0);
        for network in 0..REMEMBERED as u32 * 2 {
            play.throttle.unknown_token(play.now, &SECRET, std::net::Ipv4Addr::from(network).into());
        }
        assert_eq!(play.throttle.tokens.len(), REMEMBERED);
        play.now += FORGET_MS + 1;
        assert_eq!((show(&mut play, "2001:db8::1"), play.throttle.tokens.len()), (0, 1));
    }

    #[test]
    fn a_pace_is_many_at_once_and_then_one_after_the_other() {
        let mut pace = Pace::default();
        assert!((0..3).all(|_| pace.count(10_000, 3, 100) == 0));
        assert_eq!((pace.count(10_000, 3, 100), pace.count(10_040, 3, 100)), (100, 60));
        assert_eq!((pace.count(10_100, 3, 100), pace.count(10_100, 3, 100)), (0, 100));
        assert!((0..3).all(|_| pace.count(20_000, 3, 100) == 0), "all of it again");
    }

    #[test]
    fn guessing_slows_down_and_is_forgotten() {
        let mut play = Play::new();
        let waits: Vec<u64> = (0..12).map(|_| play.attempt("juliet", "192.0.2.1", false, Outcome::Failure)).collect();
        assert_eq!(&waits[..8], [0, 0, 0, 250, 500, 1000, 2000, 4000]);
        assert_eq!(waits[11], OTHER_MS, "{waits:?}");
        play.now += FORGET_MS + 1;
        assert_eq!(play.attempt("juliet", "192.0.2.1", false, Outcome::Failure), 0);
        play.throttle.forget(play.now + FORGET_MS + 1);
        let Throttle { pairs, accounts, networks, .. } = &play.throttle;
        assert!(pairs.is_empty() && accounts.is_empty() && networks.is_empty());
    }

    /// What the documentation of this module says, with as many connections as a guesser likes.
    #[test]
    fn what_a_guesser_gets_in_an_hour() {
        let one = |_| ("juliet".to_owned(), "192.0.2.1".to_owned());
        let hour = |known, who: &mut dyn FnMut(u64) -> (String, String)| Play::new().guesses(HOUR, known, who);
        let at_one = hour(false, &mut { one });
        let inside = hour(true, &mut { one });
        let botnet = hour(false, &mut |n| ("juliet".into(), format!("10.{}.{}.{}", n >> 16, n >> 8 & 255, n & 255)));
        let customer = hour(false, &mut |n| ("juliet".into(), format!("2001:db8:1:2::{:x}", n & 0xffff)));
        let spray = hour(false, &mut |n| (format!("name{n}"), "192.0.2.1".into()));
        eprintln!(
            "{at_one} at one account, {inside} inside, {botnet} by a botnet, {customer} by a /64, {spray} at all"
        );
        assert!((170..=200).contains(&at_one) && (170..=200).contains(&customer));
        assert!((170..=210).contains(&botnet) && (170..=210).contains(&spray));
        assert!((430..=460).contains(&inside));
    }

    /// One old password, tried for ever, costs nobody else anything, and its account little.
    #[test]
    fn one_device_that_tries_for_ever() {
        let mut play = Play::new();
        for n in 0..500 {
            play.attempt("juliet", "192.0.2.1", n % 2 == 0, Outcome::Failure);
            assert_eq!(play.attempt(&format!("u{n}"), "192.0.2.1", false, Outcome::Success), 0, "{n}");
        }
        // Her other device, with the next attempt of the first always waiting.
        let mut longest = 0;
        for _ in 0..20 {
            let begun = play.now;
            let mut bad = play.ask("juliet", "192.0.2.1", true);
            play.now += 1_500;
            let good = play.ask("juliet", "192.0.2.1", true);
            'waits: loop {
                for stream in play.ready() {
                    if stream == good {
                        break 'waits;
                    }
                    play.throttle.ended(play.now, stream, Outcome::Failure);
                    bad = play.ask("juliet", "192.0.2.1", true);
                }
                play.now += 100;
                assert!(play.throttle.waiting.contains_key(&good), "it has no turn");
            }
            longest = longest.max(play.now - begun);
            play.throttle.ended(play.now, good, Outcome::Failure);
            play.throttle.ended(play.now, bad, Outcome::Nothing);
        }
        assert!(longest <= KNOWN_MS + 1_500, "{longest}");
    }

    #[test]
    fn a_stranger_does_not_lock_the_owner_out() {
        let mut play = Play::new();
        let net = |n: u64| format!("203.0.{}.{}", n / 250 % 250, n % 250);
        // From three networks, for an hour.
        play.guesses(HOUR, false, |n| ("juliet".into(), net(n % 3)));
        assert_eq!(play.attempt("juliet", "198.51.100.7", true, Outcome::Success), 0, "from where she was before");
        let far = play.now;
        let owner = play.ask("juliet", "192.0.2.99", false);
        loop {
            let ready = play.ready();
            if ready.contains(&owner) {
                break;
            }
            ready.into_iter().for_each(|stream| play.throttle.ended(play.now, stream, Outcome::Failure));
            play.now += 250;
            for n in 0..3 {
                play.ask("juliet", &net(n), false);
            }
            assert!(play.now - far <= OTHER_MS + 250, "from elsewhere she is before those who have failed");
        }
    }

    #[test]
    fn logging_in_elsewhere_does_not_reset_an_address() {
        let mut play = Play::new();
        for _ in 0..8 {
            play.attempt("juliet", "192.0.2.1", false, Outcome::Failure);
            play.attempt("iago", "192.0.2.1", true, Outcome::Success);
        }
        assert!(play.attempt("juliet", "192.0.2.1", false, Outcome::Success) > 0);
        let spray = |play: &mut Play, n| {
            play.attempt("iago", "192.0.2.1", true, Outcome::Success);
            play.attempt(&format!("name{n}"), "192.0.2.1", false, Outcome::Failure)
        };
        (0..30).for_each(|n| _ = spray(&mut play, n));
        assert!(spray(&mut play, 30) >= OTHER_MS);
    }

    /// Many that come at once, as after a restart, and nobody has failed.
    #[test]
    fn nobody_waits_for_those_who_do_not_fail() {
        let mut play = Play::new();
        let all: Vec<StreamId> = (0..300).map(|n| play.ask(&format!("u{n}"), "192.0.2.1", true)).collect();
        // The queue is for those who wait; all of them are answered as they come.
        let mut ready = play.ready();
        for stream in all {
            if !ready.contains(&stream) {
                let again = play.ask(&format!("u{}", stream.0 - 1), "192.0.2.1", true);
                ready = play.ready();
                assert!(ready.contains(&again));
            }
            play.throttle.ended(play.now, stream, Outcome::Success);
        }
        // Those who are new are answered as fast as the ones before have proven it.
        let mut open: Vec<StreamId> = Vec::new();
        for n in 0..100 {
            play.ask(&format!("new{n}"), "192.0.2.1", false);
            open.extend(play.ready());
            if open.len() >= (FREE_OF_NETWORK + AT_ONCE) as usize {
                play.now += 20;
                open.drain(..).for_each(|stream| play.throttle.ended(play.now, stream, Outcome::Success));
                open.extend(play.ready());
            }
        }
        assert!(play.throttle.waiting.is_empty());
    }

    #[test]
    fn more_connections_gain_nothing_and_nobody_who_gives_up_has_guessed() {
        let mut play = Play::new();
        let many: Vec<StreamId> = (0..30).map(|_| play.ask("juliet", "192.0.2.1", false)).collect();
        let ready = play.ready();
        assert_eq!(ready.len(), (FREE + AT_ONCE) as usize, "what may fail counts as if it had");
        ready.into_iter().for_each(|stream| play.throttle.ended(play.now, stream, Outcome::Nothing));
        many.into_iter().for_each(|stream| play.throttle.ended(play.now, stream, Outcome::Nothing));
        assert_eq!(play.attempt("juliet", "192.0.2.1", false, Outcome::Success), 0);
        assert!(play.throttle.waiting.is_empty() && play.throttle.under_way.is_empty());
    }

    #[test]
    fn the_tables_do_not_grow() {
        let mut play = Play::new();
        for n in 0..(REMEMBERED as u32 + 100) {
            let from = IpAddr::V4(n.into()).to_string();
            play.attempt(&format!("u{n}"), &from, false, Outcome::Failure);
        }
        let Throttle { pairs, accounts, networks, .. } = &play.throttle;
        assert!([pairs.len(), accounts.len(), networks.len()].iter().all(|len| *len == REMEMBERED));
        for n in 0..2 * WAITING as u32 {
            let from = IpAddr::V4((n / 20).into()).to_string();
            play.ask("juliet", &from, false);
        }
        let waiting = &play.throttle.waiting;
        let networks: std::collections::BTreeSet<u64> = waiting.values().map(|a| a.who.network).collect();
        assert!(waiting.len() <= WAITING && waiting.len() <= networks.len() * WAITING_OF_NETWORK);
    }

    #[test]
    fn who_has_logged_in_begins_anew_in_that_network() {
        let mut play = Play::new();
        (0..8).for_each(|_| _ = play.attempt("juliet", "192.0.2.1", false, Outcome::Failure));
        assert!(play.attempt("juliet", "192.0.2.1", true, Outcome::Success) > 0);
        play.now += 60_000;
        assert_eq!(play.attempt("juliet", "192.0.2.1", true, Outcome::Failure), 0);
        assert_eq!(play.attempt("juliet", "192.0.2.1", true, Outcome::Failure), 0);
    }

    #[test]
    fn no_more_than_the_free_failures_of_a_pair_count_for_its_network() {
        let mut play = Play::new();
        (0..8).for_each(|_| _ = play.attempt("juliet", "192.0.2.1", false, Outcome::Failure));
        (0..2).for_each(|_| _ = play.attempt("romeo", "192.0.2.1", false, Outcome::Failure));
        let counted: Vec<u32> = play.throttle.networks.values().map(|gate| gate.failed).collect();
        assert_eq!(counted, [FREE + 2]);
    }

    #[test]
    fn who_has_waited_too_long_has_no_turn() {
        for (waited, has_turn) in [(PATIENCE_MS, true), (PATIENCE_MS + 1, false)] {
            let mut play = Play::new();
            let stream = play.ask("juliet", "192.0.2.1", false);
            play.now += waited;
            assert_eq!(play.ready().contains(&stream), has_turn, "after {waited} ms");
            assert!(play.throttle.waiting.is_empty());
        }
    }

    #[test]
    fn a_network_counts_as_one_address() {
        assert_eq!(network(ip("2001:db8:1:2:3:4:5:6")), network(ip("2001:db8:1:2::1")));
        assert_eq!(network(ip("::ffff:192.0.2.1")), ip("192.0.2.1"));
    }
}
