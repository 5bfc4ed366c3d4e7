//! What everybody knows: where the server is, and what was sent, acknowledged and seen.

use crate::device::{DEVICES, Plan};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What the devices do with a server that is up.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Phase {
    /// They chat as their plans say.
    Chat,
    /// Everybody is there; nothing new is sent.
    Finish,
    /// Each comes once more, looks what there is and into the archive, and leaves.
    Look,
}

/// A server that is up.
#[derive(Clone, Copy)]
pub(crate) struct Up {
    pub(crate) address: SocketAddr,
    /// Counts the starts of the server, from 1.
    pub(crate) round: u64,
    pub(crate) phase: Phase,
}

/// A message as a device saw it.
#[derive(Clone)]
pub(crate) struct Seen {
    /// Index of the device that sent it.
    pub(crate) sender: usize,
    pub(crate) number: u64,
    /// The `stanza-id` of the receiver's archive.
    pub(crate) id: Option<String>,
    /// Kept since another device of the account did not get it.
    pub(crate) left: bool,
    pub(crate) round: u64,
}

/// What is known of one device.
#[derive(Default)]
pub(crate) struct Account {
    /// In which round message n + 1 was sent first.
    pub(crate) sent: Vec<u64>,
    /// Those that had to be sent again in a new session.
    pub(crate) again: BTreeSet<u64>,
    /// So many of them are acknowledged; always a prefix, as stream management counts.
    pub(crate) acked: u64,
    /// Which of them any device of the receiver has seen.
    pub(crate) arrived: BTreeSet<u64>,
    /// All it saw, in the order it came.
    pub(crate) seen: Vec<Seen>,
    /// What the archive of its account holds; only the first device of an account asks.
    pub(crate) archive: Option<Result<Vec<Seen>, String>>,
}

/// How often things happened that are no failures by themselves.
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) resumed: u64,
    pub(crate) failed_with_h: u64,
    pub(crate) failed_without_h: u64,
    pub(crate) bounced: u64,
}

#[derive(Default)]
pub(crate) struct State {
    up: Option<Up>,
    over: bool,
    pub(crate) devices: [Account; DEVICES.len()],
    pub(crate) counts: Counts,
    /// Messages acknowledged since the server started.
    acks: u64,
    /// Grows with everything that happens.
    pub(crate) events: u64,
    /// What no server should do, beyond the figures.
    pub(crate) odd: Vec<String>,
    /// What a device died of.
    dead: Option<String>,
    /// Devices that have looked and left.
    pub(crate) done: usize,
}

/// What a wait for something ended with.
#[derive(Debug, PartialEq)]
pub(crate) enum Waited {
    Happened,
    InVain,
}

#[derive(Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    changed: Condvar,
    /// Whether the devices show all they say and hear.
    pub(crate) shows: bool,
}

impl Board {
    pub(crate) fn new(shows: bool) -> Board {
        Board { shows, ..Board::default() }
    }

    /// Reads and writes what is known.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        state.events += 1;
        let result = change(&mut state);
        drop(state);
        self.changed.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn server_is_up(&self, up: Up) {
        self.with(|state| (state.up, state.acks) = (Some(up), 0));
    }

    pub(crate) fn server_goes(&self) {
        self.with(|state| state.up = None);
    }

    pub(crate) fn over(&self) {
        self.with(|state| state.over = true);
    }

    /// Waits for a server that a device wants: one it has not `left`. `None` when all is over.
    pub(crate) fn server(&self, left: Option<u64>) -> Option<Up> {
        let wanted = |state: &State| state.over || state.up.is_some_and(|up| Some(up.round) != left);
        let state = self.changed.wait_while(self.lock(), |state| !wanted(state)).unwrap();
        state.up.filter(|_| !state.over)
    }

    /// Waits until others have got some acknowledgements, the server goes, or a moment has passed.
    pub(crate) fn pause(&self, acks: u64) {
        let state = self.lock();
        let until = state.acks + acks;
        let _ = self.changed.wait_timeout_while(state, Duration::from_millis(300), |state| {
            state.up.is_some() && !state.over && state.acks < until
        });
    }

    pub(crate) fn acked(&self, device: usize, messages: u64) {
        self.with(|state| {
            state.devices[device].acked += messages;
            state.acks += messages;
        });
    }

    pub(crate) fn died(&self, why: String) {
        self.with(|state| state.dead.get_or_insert(why).truncate(2000));
    }

    /// Waits for something; in vain when nothing at all happens for so long, or `limit` has passed.
    pub(crate) fn wait_for(&self, quiet: Duration, limit: Duration, mut ready: impl FnMut(&State) -> bool) -> Waited {
        let end = Instant::now() + limit;
        let mut state = self.lock();
        let (mut events, mut since) = (state.events, Instant::now());
        loop {
            if let Some(why) = &state.dead {
                let why = why.clone();
                drop(state);
                panic!("{why}");
            }
            if ready(&state) {
                return Waited::Happened;
            }
            if state.events != events {
                (events, since) = (state.events, Instant::now());
            }
            if since.elapsed() > quiet || Instant::now() > end {
                return Waited::InVain;
            }
            state = self.changed.wait_timeout(state, Duration::from_millis(50)).unwrap().0;
        }
    }

    pub(crate) fn acks(&self, wanted: u64) -> impl FnMut(&State) -> bool + use<> {
        move |state| state.acks >= wanted
    }
}

impl State {
    /// Whether everything sent is acknowledged and has arrived.
    pub(crate) fn complete(&self) -> bool {
        self.devices.iter().all(|d| d.acked == d.sent.len() as u64 && d.arrived.len() == d.sent.len())
    }

    /// Notes what a device saw.
    pub(crate) fn sees(&mut self, device: usize, seen: Seen) {
        self.devices[seen.sender].arrived.insert(seen.number);
        self.devices[device].seen.push(seen);
    }
}

/// What the whole run showed. The figures after `acked` should be zero.
#[derive(Default, Debug)]
pub(crate) struct Figures {
    pub(crate) acked: u64,
    /// Acknowledged, and no device of the receiver ever saw them.
    pub(crate) missing: u64,
    /// Copies that a device got of a message that it had.
    pub(crate) twice: u64,
    /// Those of them that had the same stanza-id as the first copy.
    pub(crate) recognisable: u64,
    /// Others that the sender had to send again: the server delivered them, and did not have them any more afterwards.
    pub(crate) sent_again: u64,
    /// First copies that came after a later message of the same sender.
    pub(crate) disorder: u64,
    /// Messages that an archive of the two does not hold; second copies; copies after a later message.
    pub(crate) archive_missing: u64,
    pub(crate) archive_twice: u64,
    pub(crate) archive_disorder: u64,
    /// Archives that could not be read.
    pub(crate) unreadable: u64,
    /// Other things no server should do.
    pub(crate) odd: u64,
    /// The first of all these, for who has to find out why.
    pub(crate) examples: String,
}

/// At most so many examples of each kind of failure.
const EXAMPLES: usize = 12;

impl Figures {
    pub(crate) fn of(state: &State) -> Figures {
        let mut f = Figures::default();
        let mut examples: Vec<String> = Vec::new();
        for (sender, device) in state.devices.iter().enumerate() {
            f.acked += device.acked;
            for number in (1..=device.acked).filter(|n| !device.arrived.contains(n)) {
                f.missing += 1;
                let round = device.sent[number as usize - 1];
                examples.push(format!("missing: {} {number}, sent in round {round}", DEVICES[sender].resource));
            }
        }
        for (at, device) in state.devices.iter().enumerate() {
            for (copy, first) in again(&device.seen) {
                let known = copy.id.is_some() && copy.id == first.id;
                let (sender, number) = (DEVICES[first.sender].resource, first.number);
                let (from, by_id) = (&state.devices[first.sender], if known { "with" } else { "without" });
                // The server had it in memory alone when it ended, and nobody was told that it was stored: its sender sent it again.
                let sent_again = !known && from.again.contains(&number);
                f.sent_again += u64::from(sent_again);
                f.twice += u64::from(!sent_again);
                f.recognisable += u64::from(known);
                let what = if sent_again { "sent again" } else { "twice" };
                let sent = from.sent[number as usize - 1];
                examples.push(format!(
                    "{what}: {sender} {number}, sent in round {sent}, at {} in rounds {} and {}, {by_id} the same stanza-id",
                    DEVICES[at].resource, first.round, copy.round
                ));
            }
            for seen in late(&device.seen) {
                f.disorder += 1;
                let (sender, number, round) = (DEVICES[seen.sender].resource, seen.number, seen.round);
                examples.push(format!("late: {sender} {number}, at {} in round {round}", DEVICES[at].resource));
            }
            let Some(archive) = &device.archive else { continue };
            let owner = DEVICES[at].name;
            let archive = match archive {
                Ok(archive) => archive,
                Err(why) => {
                    f.unreadable += 1;
                    examples.push(format!("unreadable: the archive of {owner}: {why}"));
                    continue;
                }
            };
            let has: BTreeSet<_> = archive.iter().map(|s| (s.sender, s.number)).collect();
            let involved = |spec: &&crate::device::Spec| spec.name == owner || spec.to == owner;
            for (sender, spec) in DEVICES.iter().enumerate().filter(|(_, spec)| involved(spec)) {
                for number in (1..=state.devices[sender].acked).filter(|n| !has.contains(&(sender, *n))) {
                    f.archive_missing += 1;
                    examples.push(format!("not in an archive: {} {number}, in that of {owner}", spec.resource));
                }
            }
            for (copy, _) in again(archive) {
                f.archive_twice += 1;
                let sender = DEVICES[copy.sender].resource;
                examples.push(format!("twice in an archive: {sender} {}, in that of {owner}", copy.number));
            }
            for seen in late(archive) {
                f.archive_disorder += 1;
                let sender = DEVICES[seen.sender].resource;
                examples.push(format!("late in an archive: {sender} {}, in that of {owner}", seen.number));
            }
        }
        f.odd += state.odd.len() as u64;
        examples.extend(state.odd.iter().cloned());
        let mut kinds = std::collections::BTreeMap::new();
        for example in examples {
            let kind: &mut usize = kinds.entry(example.split(':').next().unwrap_or_default().to_owned()).or_default();
            *kind += 1;
            if *kind <= EXAMPLES {
                let _ = writeln!(f.examples, "  {example}");
            }
        }
        f
    }

    /// Whether the promise was kept: nothing lost, nothing twice, all in order.
    pub(crate) fn clean(&self) -> bool {
        let Figures { missing, twice, disorder, archive_missing, archive_twice, archive_disorder, .. } = self;
        missing + twice + disorder + archive_missing + archive_twice + archive_disorder + self.unreadable + self.odd
            == 0
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, out: &mut std::fmt::Formatter) -> std::fmt::Result {
        writeln!(
            out,
            "{} acknowledged: {} missing, {} twice ({} with the same stanza-id), {} sent again, {} out of order; \
             archive: {} missing, {} twice, {} out of order, {} unreadable; {} other oddities",
            self.acked,
            self.missing,
            self.twice,
            self.recognisable,
            self.sent_again,
            self.disorder,
            self.archive_missing,
            self.archive_twice,
            self.archive_disorder,
            self.unreadable,
            self.odd,
        )?;
        out.write_str(&self.examples)
    }
}

/// Each copy that is not the first, with the first.
fn again(all: &[Seen]) -> Vec<(&Seen, &Seen)> {
    let mut firsts = std::collections::BTreeMap::new();
    let mut again = Vec::new();
    for seen in all {
        let first = *firsts.entry((seen.sender, seen.number)).or_insert(seen);
        if !std::ptr::eq(first, seen) {
            again.push((seen, first));
        }
    }
    again
}

/// First copies that come after a later message of the same sender, and not because another device left them.
fn late(all: &[Seen]) -> Vec<&Seen> {
    let mut had = BTreeSet::new();
    let mut last = [0; DEVICES.len()];
    let mut late = Vec::new();
    for seen in all {
        if !had.insert((seen.sender, seen.number)) {
            continue;
        }
        if seen.number < last[seen.sender] && !seen.left {
            late.push(seen);
        }
        last[seen.sender] = last[seen.sender].max(seen.number);
    }
    late
}

/// How many messages will be acknowledged in a round if nothing goes wrong.
pub(crate) fn expected_acks(seed: u64, round: u64) -> u64 {
    let plans = (0..DEVICES.len()).map(|device| Plan::of(seed, round, device));
    plans.filter(|plan| !plan.away && plan.leave_after.is_none()).map(|plan| plan.messages as u64).sum()
}
