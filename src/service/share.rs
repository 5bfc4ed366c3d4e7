//! What one owner of connections may take of what all share, so that nobody's flood costs anybody else more than a moment.
//!
//! An owner is an account, a component, another server, or an address whose connections have not said whose they are. Of each shared thing that is
//! counted in bytes it may have what it leaves to the others ([`crate::core::share`]), and who has little is never refused. Of the
//! processor it gets turns: a connection that has more to do than fits into [`TURN_US`], or whose owner has had more than its part lately,
//! lines up behind those of other owners.

use super::lock;
use super::net::link::Peer;
use crate::core::message::SLOW_BYTES;
use crate::core::share::{Shared, limits, spare};
use crate::stream::Mono;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

/// What may wait for the disk, in bytes, of all owners together. Whoever has more of it than is left is not read from until some of
/// it is written.
pub const UNWRITTEN_BYTES: usize = 4 * 1024 * 1024;
/// What an owner may have waiting for the disk whatever others have, in bytes.
pub const UNWRITTEN_FREE_BYTES: usize = 64 * 1024;
/// Questions to storage that an owner may have on their way. It is not read from until one is answered.
pub const QUESTIONS: usize = 8;
/// What somebody may then say to it, in bytes a second.
pub const SLOW_BYTES_A_SECOND: u64 = 64 * 1024;
/// What an owner may have waiting for its clients whatever others have, in bytes.
pub const WAITING_FREE_BYTES: usize = 256 * 1024;
/// Bytes that wait for a client are counted in steps of so many.
const WAITING_STEP_BYTES: usize = 16 * 1024;

/// Connections of one account: the sessions it may have, and as many that have not bound or not ended yet.
pub const ACCOUNT_CONNECTIONS: usize = 2 * crate::core::session::SESSIONS;

/// How long a connection works before it lines up, in microseconds. With longer turns what is said to many reaches each of them in fewer
/// pieces.
pub const TURN_US: u64 = 2000;
/// The same while others have lined up already, in microseconds.
pub const SHORT_TURN_US: u64 = 500;
/// The part of one processor that an owner may have without lining up: one of so many.
const PROCESSOR_PART: u64 = 4;
/// How far an owner may be ahead of that part, in nanoseconds of the processor.
const AHEAD_NS: u64 = 2_000_000;

/// Whose a connection is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// Nobody has said yet; see [`crate::core::network`].
    Address(IpAddr),
    /// An account's bare JID.
    Account(Box<str>),
    /// A component's name.
    Component(Box<str>),
    /// The domain of another server.
    Server(Box<str>),
}

impl Owner {
    /// The owner of a stream whose peer has proved to be this.
    pub fn of(peer: &Peer) -> Owner {
        match peer {
            Peer::Account(jid) => Owner::Account(jid.bare_str().into()),
            Peer::Component(name) => Owner::Component(name.as_str().into()),
            Peer::Server(domain) => Owner::Server(domain.as_str().into()),
        }
    }
}

/// For the table in `src/lib.rs`.
pub(super) const SHARED: [Shared; 5] = [
    Shared {
        what: "questions to storage",
        whole: limits![QUESTIONS],
        share: "an account, a component, another server or an address: that number at a time",
        checked: "service/share.rs",
        told: "is not read from until one is answered",
    },
    Shared {
        what: "what waits for a client that reads slowly, or has not acknowledged it",
        whole: limits![SLOW_BYTES, SLOW_BYTES_A_SECOND],
        share: "whoever says something to it while more than the first number waits: the second number",
        checked: "service/share.rs",
        told: "is read from more slowly",
    },
    Shared {
        what: "bytes on their way to the disk",
        whole: limits![UNWRITTEN_BYTES, UNWRITTEN_FREE_BYTES],
        share: "an account, a component, another server or an address: the rule, and the latter in any case",
        checked: "service/share.rs",
        told: "is not read from until some of it is written; while nothing can be written, what has to be is refused",
    },
    Shared {
        what: "bytes that wait for clients to read them, and of stanzas that have no end yet: half of the setting `waiting_bytes`",
        whole: limits![WAITING_FREE_BYTES],
        share: "an account, a component, another server or an address: the rule, and that in any case",
        checked: "service/share.rs",
        told: "stream error `resource-constraint`",
    },
    Shared {
        what: "the processor, in turns",
        whole: limits![TURN_US, SHORT_TURN_US, PROCESSOR_PART],
        share: "an account, a component, another server or an address: a turn of so many microseconds, of fewer while others have lined up, one \
                connection of each after the other; who needs less than one of so many parts of a processor does not line up",
        checked: "service/share.rs",
        told: "waits for its next turn",
    },
];

/// What the connections of one owner have of what all share.
#[derive(Debug)]
pub struct Share {
    shares: Arc<Shares>,
    owner: Owner,
    /// Bytes that are on their way to the disk. Changed under the hub's lock alone.
    unwritten: AtomicUsize,
    /// Bytes that wait for its clients.
    waiting: AtomicUsize,
    connections: AtomicUsize,
    /// Questions to storage that are not answered.
    questions: AtomicUsize,
    /// Until when it is not read from, in nanoseconds since the start.
    paused_until: AtomicU64,
    /// Up to when it has used its part of the processor, in nanoseconds since the start.
    used_until: AtomicU64,
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut of = lock(&self.shares.of);
        // There may be a new one already.
        if of.get(&self.owner).is_some_and(|share| share.strong_count() == 0) {
            of.remove(&self.owner);
        }
    }
}

/// What all owners have together.
#[derive(Debug)]
pub struct Shares {
    of: Mutex<HashMap<Owner, Weak<Share>>>,
    unwritten: AtomicUsize,
    waiting: AtomicUsize,
    /// What may wait for clients, in bytes.
    waiting_most: AtomicUsize,
    line: Mutex<Line>,
    /// How many are in it.
    lined_up: AtomicUsize,
    start: Instant,
}

impl Shares {
    /// `waiting_bytes`: what may wait for all clients together.
    pub fn new(waiting_bytes: usize) -> Arc<Shares> {
        Arc::new(Shares {
            of: Mutex::default(),
            unwritten: 0.into(),
            waiting: 0.into(),
            waiting_most: waiting_bytes.into(),
            line: Mutex::default(),
            lined_up: 0.into(),
            start: Instant::now(),
        })
    }

    /// How long a turn is now, in nanoseconds.
    pub(super) fn turn(&self) -> u64 {
        1000 * if self.lined_up.load(Ordering::Relaxed) > 0 { SHORT_TURN_US } else { TURN_US }
    }

    /// Nanoseconds since the start.
    pub fn nanos(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    /// The moment that was `nanos` nanoseconds after the start.
    pub fn moment(&self, nanos: u64) -> Instant {
        self.start + Duration::from_nanos(nanos)
    }

    /// Another limit for what waits for all clients together, in bytes.
    pub fn set_waiting_bytes(&self, bytes: usize) {
        self.waiting_most.store(bytes, Ordering::Relaxed);
    }

    /// The share of this owner: the same as long as somebody has it.
    pub fn share(self: &Arc<Self>, owner: Owner) -> Arc<Share> {
        let mut of = lock(&self.of);
        if let Some(share) = of.get(&owner).and_then(Weak::upgrade) {
            return share;
        }
        let share = Arc::new(Share {
            shares: self.clone(),
            owner: owner.clone(),
            unwritten: 0.into(),
            waiting: 0.into(),
            connections: 0.into(),
            questions: 0.into(),
            paused_until: 0.into(),
            used_until: 0.into(),
        });
        of.insert(owner, Arc::downgrade(&share));
        share
    }

    /// Lets those who line up work, for ever: one of each owner in turn. It lets as many in at a time as there are threads to carry them,
    /// since each time it comes behind whom it let in.
    pub async fn admit(self: Arc<Self>) {
        loop {
            let ticket = poll_fn(|cx| {
                let mut line = lock(&self.line);
                let next = line.next();
                if next.is_none() {
                    line.waker = Some(cx.waker().clone());
                }
                next.map_or(Poll::Pending, Poll::Ready)
            })
            .await;
            self.lined_up.fetch_sub(1, Ordering::Relaxed);
            ticket.pass();
            smol::future::yield_now().await;
        }
    }
}

impl Share {
    /// Whose it is, if nobody has said yet.
    pub(super) fn stranger(&self) -> Option<IpAddr> {
        match self.owner {
            Owner::Address(ip) => Some(ip),
            Owner::Account(_) | Owner::Component(_) | Owner::Server(_) => None,
        }
    }

    /// Whether it is a component's.
    pub(super) fn is_component(&self) -> bool {
        matches!(&self.owner, Owner::Component(_))
    }

    /// One more connection; how many there are now.
    pub(super) fn connected(&self) -> usize {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(super) fn disconnected(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// More is on its way to the disk. The caller has the hub's lock.
    pub(super) fn add_unwritten(&self, bytes: usize) {
        self.unwritten.store(self.unwritten.load(Ordering::Relaxed) + bytes, Ordering::Relaxed);
    }

    /// Some of it is there. The caller has the hub's lock.
    pub(super) fn take_unwritten(&self, bytes: usize) {
        self.unwritten.store(self.unwritten.load(Ordering::Relaxed).saturating_sub(bytes), Ordering::Relaxed);
    }

    /// One more question to storage.
    pub(super) fn asks(&self) {
        self.questions.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn is_answered(&self) {
        self.questions.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether it has as many as may be.
    pub(super) fn asks_much(&self) -> bool {
        self.questions.load(Ordering::Relaxed) >= QUESTIONS
    }

    /// It said so many bytes to somebody who does not read them as fast. A component speaks for many, and its owner vouches for it.
    pub(super) fn slow_down(&self, bytes: usize) {
        if self.stranger().is_some() || self.is_component() {
            return;
        }
        let time = (bytes as u64).saturating_mul(1_000_000_000) / SLOW_BYTES_A_SECOND;
        let from = self.paused_until.load(Ordering::Relaxed).max(self.shares.nanos());
        self.paused_until.store(from.saturating_add(time), Ordering::Relaxed);
    }

    /// Until when it is not read from, in nanoseconds since the start.
    pub(super) fn paused_until(&self) -> u64 {
        self.paused_until.load(Ordering::Relaxed)
    }

    /// Whether it has more on the way to the disk than it leaves to the others.
    pub(super) fn is_crowded(&self) -> bool {
        let own = self.unwritten.load(Ordering::Relaxed);
        own > UNWRITTEN_FREE_BYTES && spare(own, self.shares.unwritten.load(Ordering::Relaxed), UNWRITTEN_BYTES) == 0
    }

    /// Counts what waits for a client, `now` instead of `before`; says whether that may be.
    fn count_waiting(&self, before: usize, now: usize) -> bool {
        if now >= before {
            let more = now - before;
            let own = self.waiting.fetch_add(more, Ordering::Relaxed) + more;
            let all = self.shares.waiting.fetch_add(more, Ordering::Relaxed) + more;
            own <= WAITING_FREE_BYTES || spare(own, all, self.shares.waiting_most.load(Ordering::Relaxed)) > 0
        } else {
            self.waiting.fetch_sub(before - now, Ordering::Relaxed);
            self.shares.waiting.fetch_sub(before - now, Ordering::Relaxed);
            true
        }
    }

    /// Counts time of the processor, in nanoseconds since the start.
    fn used(&self, begun: u64, now: u64) {
        let until = self.used_until.load(Ordering::Relaxed).max(begun);
        // Two at once may overwrite each other: then it was cheaper.
        self.used_until.store(until + (now - begun) * PROCESSOR_PART, Ordering::Relaxed);
    }

    /// Whether it has had more of the processor than its part.
    fn is_ahead(&self, now: u64) -> bool {
        self.used_until.load(Ordering::Relaxed).saturating_sub(now) > AHEAD_NS * PROCESSOR_PART
    }
}

impl Shares {
    /// What all have on the way to the disk. The caller has the hub's lock.
    pub(super) fn set_unwritten(&self, bytes: usize) {
        self.unwritten.store(bytes, Ordering::Relaxed);
    }
}

/// Bytes of one connection that wait for its client, in its share.
#[derive(Debug)]
pub(super) struct Waiting {
    share: Arc<Share>,
    counted: usize,
}

impl Waiting {
    pub(super) fn new(share: Arc<Share>) -> Waiting {
        Waiting { share, counted: 0 }
    }

    pub(super) fn share(&self) -> &Arc<Share> {
        &self.share
    }

    /// It is somebody else's.
    pub(super) fn belongs_to(&mut self, share: Arc<Share>) {
        self.share.count_waiting(self.counted, 0);
        share.count_waiting(0, self.counted);
        self.share = share;
    }

    /// So many wait now. Says whether that is no more than its owner may have.
    pub(super) fn set(&mut self, bytes: usize) -> bool {
        let now = bytes - bytes % WAITING_STEP_BYTES;
        now == self.counted || self.share.count_waiting(std::mem::replace(&mut self.counted, now), now)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Those who wait for their turn, by whose they are.
#[derive(Debug, Default)]
struct Line {
    /// The owners who have somebody there, by the address of their share, in the order of their turns.
    owners: VecDeque<usize>,
    tickets: BTreeMap<usize, VecDeque<Arc<Ticket>>>,
    /// Of who lets them in.
    waker: Option<Waker>,
}

impl Line {
    fn next(&mut self) -> Option<Arc<Ticket>> {
        let owner = self.owners.pop_front()?;
        let tickets = self.tickets.get_mut(&owner)?;
        let ticket = tickets.pop_front();
        if tickets.is_empty() {
            self.tickets.remove(&owner);
        } else {
            self.owners.push_back(owner);
        }
        ticket
    }
}

/// A place in the line.
#[derive(Debug)]
struct Ticket {
    /// Its address is not used again as long as the ticket is there.
    share: Arc<Share>,
    passed: AtomicBool,
    waker: Mutex<Waker>,
}

impl Ticket {
    fn pass(&self) {
        self.passed.store(true, Ordering::Release);
        lock(&self.waker).wake_by_ref();
    }
}

/// What a connection knows of the time, in nanoseconds since the start.
#[derive(Debug)]
pub(super) struct Watch {
    /// When it last looked.
    pub(super) now: u64,
    /// When its turn is over.
    over: u64,
}

impl Watch {
    /// Without a turn that ends.
    pub(super) fn new() -> Watch {
        Watch { now: 0, over: u64::MAX }
    }

    /// Looks at the clock. Says whether the turn is over.
    pub(super) fn look(&mut self, shares: &Shares) -> bool {
        self.now = shares.nanos();
        self.now >= self.over
    }

    /// A turn begins now.
    pub(super) fn begin(&mut self, shares: &Shares) {
        self.over = self.now + shares.turn();
    }

    /// When it last looked, in milliseconds.
    pub(super) fn mono(&self) -> Mono {
        self.now / 1_000_000
    }
}

/// The turns of one connection.
#[derive(Debug, Default)]
pub(super) struct Turns {
    ticket: Option<Arc<Ticket>>,
}

impl Turns {
    /// Whether it is its turn now, in nanoseconds since the start; else the waker is kept.
    pub(super) fn begin(&mut self, share: &Arc<Share>, now: u64, cx: &Context<'_>) -> bool {
        match &self.ticket {
            None if share.is_ahead(now) => {
                self.line_up(share, cx);
                return false;
            }
            None => {}
            Some(ticket) => {
                lock(&ticket.waker).clone_from(cx.waker());
                if !ticket.passed.load(Ordering::Acquire) {
                    return false;
                }
                self.ticket = None;
            }
        }
        true
    }

    /// The turn that began then is over now. `more`: there is something left to do, and the next one is asked for.
    pub(super) fn end(&mut self, share: &Arc<Share>, (begun, now): (u64, u64), more: bool, cx: &Context<'_>) {
        share.used(begun, now);
        if more {
            self.line_up(share, cx);
        }
    }

    fn line_up(&mut self, share: &Arc<Share>, cx: &Context<'_>) {
        let waker = Mutex::new(cx.waker().clone());
        let ticket = Arc::new(Ticket { share: share.clone(), passed: false.into(), waker });
        self.ticket = Some(ticket.clone());
        share.shares.lined_up.fetch_add(1, Ordering::Relaxed);
        let owner = Arc::as_ptr(&ticket.share) as usize;
        let mut line = lock(&share.shares.line);
        let tickets = line.tickets.entry(owner).or_default();
        tickets.push_back(ticket);
        if tickets.len() == 1 {
            line.owners.push_back(owner);
        }
        if let Some(waker) = line.waker.take() {
            drop(line);
            waker.wake();
        }
    }
}

/// Does something in turns.
pub(super) async fn in_turns<T>(share: Arc<Share>, what: impl Future<Output = T>) -> T {
    let (mut what, mut turns) = (pin!(what), Turns::default());
    poll_fn(|cx| {
        let begun = share.shares.nanos();
        if !turns.begin(&share, begun, cx) {
            return Poll::Pending;
        }
        let done = what.as_mut().poll(cx);
        turns.end(&share, (begun, share.shares.nanos()), false, cx);
        done
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn known(name: &str) -> Owner {
        Owner::Account(name.into())
    }

    #[test]
    fn an_owner_has_one_share_as_long_as_somebody_has_it() {
        let shares = Shares::new(1 << 20);
        let (one, again) = (shares.share(known("juliet@example.org")), shares.share(known("juliet@example.org")));
        assert!(Arc::ptr_eq(&one, &again));
        drop((one, again));
        assert!(lock(&shares.of).is_empty());
    }

    #[test]
    fn a_greedy_one_leaves_something_and_a_modest_one_is_never_refused() {
        const MOST: usize = 8 << 20;
        let shares = Shares::new(MOST);
        let greedy: Vec<_> = (0..4).map(|n| shares.share(known(&n.to_string()))).collect();
        let mut all = 0;
        let mut waits = Vec::new();
        for share in &greedy {
            let mut bytes = 0;
            let mut waiting = Waiting::new(share.clone());
            while waiting.set(bytes + WAITING_STEP_BYTES) {
                bytes += WAITING_STEP_BYTES;
            }
            assert!(waiting.set(bytes));
            assert!(bytes >= (MOST - all) / 2 - WAITING_STEP_BYTES || bytes >= WAITING_FREE_BYTES, "{bytes}");
            all += bytes;
            waits.push(waiting);
        }
        let mut modest = Waiting::new(shares.share(known("modest")));
        assert!(modest.set(WAITING_FREE_BYTES));
        drop(waits);
        assert_eq!(shares.waiting.load(Ordering::Relaxed), WAITING_FREE_BYTES);
        let other = shares.share(known("other"));
        modest.belongs_to(other.clone());
        assert_eq!(other.waiting.load(Ordering::Relaxed), WAITING_FREE_BYTES);
        drop(modest);
        assert_eq!(shares.waiting.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn the_free_part_is_had_also_when_nothing_is_left() {
        let shares = Shares::new(WAITING_FREE_BYTES);
        let mut all: Vec<_> = (0..4).map(|n| Waiting::new(shares.share(known(&n.to_string())))).collect();
        for waiting in &mut all {
            assert!(waiting.set(WAITING_FREE_BYTES));
        }
        for waiting in &mut all {
            assert!(!waiting.set(WAITING_FREE_BYTES + WAITING_STEP_BYTES));
        }
    }

    /// A component speaks for many, and who has not logged in has nobody who reads what it says.
    #[test]
    fn only_accounts_and_servers_are_slowed_down() {
        let shares = Shares::new(1 << 20);
        for (owner, slow) in [
            (known("juliet@example.org"), true),
            (Owner::Server("example.net".into()), true),
            (Owner::Component("gateway.example.org".into()), false),
            (Owner::Address([192, 0, 2, 1].into()), false),
        ] {
            let share = shares.share(owner.clone());
            share.slow_down(SLOW_BYTES_A_SECOND as usize);
            assert_eq!(share.paused_until() > shares.nanos(), slow, "{owner:?}");
        }
    }

    #[test]
    fn what_is_on_its_way_to_the_disk_stops_only_who_makes_it() {
        let shares = Shares::new(1 << 20);
        let (flood, modest) = (shares.share(known("flood")), shares.share(known("modest")));
        let mut all = 0;
        while !flood.is_crowded() {
            flood.add_unwritten(1000);
            all += 1000;
            shares.set_unwritten(all);
        }
        assert!((UNWRITTEN_BYTES / 2..UNWRITTEN_BYTES / 2 + 2000).contains(&all));
        modest.add_unwritten(UNWRITTEN_FREE_BYTES);
        shares.set_unwritten(2 * UNWRITTEN_BYTES);
        assert!(!modest.is_crowded() && flood.is_crowded());
        flood.take_unwritten(all);
        assert!(!flood.is_crowded());
    }

    #[test]
    fn owners_take_turns_however_many_connections_they_have() {
        let shares = Shares::new(1 << 20);
        let cx = &mut Context::from_waker(Waker::noop());
        let (many, one) = (shares.share(known("many")), shares.share(known("one")));
        let mut crowd: Vec<Turns> = (0..32).map(|_| Turns::default()).collect();
        for turns in &mut crowd {
            assert!(turns.begin(&many, 0, cx), "nobody has used anything");
            turns.end(&many, (0, 1), true, cx);
            assert!(!turns.begin(&many, 2, cx), "it is in the line");
        }
        let mut single = Turns::default();
        assert!(single.begin(&one, 0, cx));
        single.end(&one, (0, 1), true, cx);
        let mut admitted = Vec::new();
        while let Some(ticket) = lock(&shares.line).next() {
            ticket.pass();
            admitted.push(Arc::ptr_eq(&ticket.share, &one));
        }
        assert_eq!(admitted.iter().position(|one| *one), Some(1), "one of each in turn");
        assert_eq!(admitted.len(), 33);
        assert!(single.begin(&one, 3, cx) && crowd.iter_mut().all(|turns| turns.begin(&many, 3, cx)));
    }

    #[test]
    fn an_owner_that_has_had_its_part_lines_up_before_it_works() {
        let shares = Shares::new(1 << 20);
        let cx = &mut Context::from_waker(Waker::noop());
        let share = shares.share(known("busy"));
        let now = 2 * AHEAD_NS;
        share.used(0, now);
        let mut turns = Turns::default();
        assert!(!turns.begin(&share, now, cx));
        lock(&shares.line).next().unwrap().pass();
        assert!(turns.begin(&share, now, cx));
        assert!(Turns::default().begin(&share, PROCESSOR_PART * now, cx), "it has waited");
    }
}
