//! A link, and what happens on it.

use crate::service::mdns::claims::RecordId;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How often on a link, in what time, a record that somebody else has taken back is said again.
const RESCUES: u32 = 20;
const RESCUE_WINDOW: Duration = Duration::from_secs(60);
/// Packets of a link in a second; one that has more is not listened to for a while.
pub const FLOOD_PACKETS: u32 = 2_000;
/// How long it is not.
pub const FLOOD_PAUSE: Duration = Duration::from_secs(5);
/// The least time between two multicasts of a record that somebody else contests (RFC 6762 §6).
pub(super) const DEFENCE_PAUSE: Duration = Duration::from_millis(250);

/// An interface, with one family of addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct LinkId {
    /// The interface's number.
    pub interface: u32,
    /// Whether it is IPv6 that goes there.
    pub v6: bool,
}

/// A link as it is now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MdnsLink {
    /// Which.
    pub id: LinkId,
    /// Where this host is to be found there, of both families.
    pub addresses: Vec<IpAddr>,
    /// All addresses that it has there, each with the length of its network's prefix.
    pub networks: Vec<(IpAddr, u8)>,
}

impl MdnsLink {
    /// Whether an address is on the link, and no router between (RFC 6762 §11).
    pub(super) fn reaches(&self, ip: IpAddr) -> bool {
        let is_near = match ip {
            IpAddr::V4(ip) => ip.is_link_local(),
            IpAddr::V6(ip) => ip.is_unicast_link_local(),
        };
        is_near || self.networks.iter().any(|(own, prefix)| in_network(ip, *own, *prefix))
    }
}

/// Whether two addresses begin with the same bits.
pub(super) fn in_network(ip: IpAddr, own: IpAddr, prefix: u8) -> bool {
    let (one, other, bits) = match (ip, own) {
        (IpAddr::V4(one), IpAddr::V4(other)) => (u128::from(one.to_bits()), u128::from(other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits(), other.to_bits(), 128),
        _ => return false,
    };
    let rest = u32::from(bits - prefix.min(bits));
    (one ^ other).checked_shr(rest).unwrap_or(0) == 0
}

/// How far a name is on a link. The times say when the next packet is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// It is not ours.
    Idle,
    /// Whether another program on this box has it; with nothing that it could take for a conflict.
    Asking(u8, Duration),
    Probing(u8, Duration),
    Announcing(u8, Duration),
    Up,
}

impl Phase {
    pub fn due(self) -> Option<Duration> {
        match self {
            Phase::Asking(_, at) | Phase::Probing(_, at) | Phase::Announcing(_, at) => Some(at),
            Phase::Idle | Phase::Up => None,
        }
    }

    /// Whether questions about the name are answered.
    pub fn answers(self) -> bool {
        matches!(self, Phase::Announcing(..) | Phase::Up)
    }
}

/// A question whose asker has more known answers to tell.
#[derive(Debug)]
pub(super) struct HeldQuestion {
    pub from: SocketAddr,
    pub wanted: BTreeSet<RecordId>,
    pub due: Duration,
    pub most: Duration,
}

/// What happens on a link.
#[derive(Debug)]
pub(super) struct LinkState {
    pub link: MdnsLink,
    /// Of each claim.
    pub phases: Vec<Phase>,
    /// When a record was multicast last.
    pub last: BTreeMap<RecordId, Duration>,
    /// When records are to be multicast.
    pub pending: BTreeMap<RecordId, Duration>,
    pub held: Vec<HeldQuestion>,
    /// When this second began, and what came in it.
    heard: (Duration, u32),
    ignored_until: Option<Duration>,
    /// When this time began, and what was said again in it.
    rescued: (Duration, u32),
}

impl LinkState {
    /// One that has nothing on it yet.
    pub fn new(now: Duration, link: MdnsLink, phases: Vec<Phase>) -> LinkState {
        LinkState {
            link,
            phases,
            last: BTreeMap::new(),
            pending: BTreeMap::new(),
            held: Vec::new(),
            heard: (now, 0),
            ignored_until: None,
            rescued: (now, 0),
        }
    }

    /// Until when it is not listened to.
    pub fn ignored(&self, now: Duration) -> Option<Duration> {
        self.ignored_until.filter(|until| now < *until)
    }

    /// Counts a packet; `false` if it is too much.
    pub fn counts(&mut self, now: Duration) -> bool {
        if self.ignored(now).is_some() {
            return false;
        }
        self.ignored_until = None;
        if now.saturating_sub(self.heard.0) >= Duration::from_secs(1) {
            self.heard = (now, 0);
        }
        self.heard.1 += 1;
        if self.heard.1 > FLOOD_PACKETS {
            self.ignored_until = Some(now + FLOOD_PAUSE);
            return false;
        }
        true
    }

    /// Multicasts a record at a time, or as soon after as it may be.
    pub fn schedule(&mut self, id: RecordId, at: Duration, pause: Duration) {
        let at = self.last.get(&id).map_or(at, |last| at.max(*last + pause));
        let due = self.pending.entry(id).or_insert(at);
        *due = at.min(*due);
    }

    /// The same of a record that somebody else has taken back: who heard that forgets it in a second (RFC 6762 §10.1).
    pub fn rescue(&mut self, now: Duration, id: RecordId) {
        if now.saturating_sub(self.rescued.0) >= RESCUE_WINDOW {
            self.rescued = (now, 0);
        }
        if self.rescued.1 < RESCUES {
            self.rescued.1 += 1;
            self.schedule(id, now, DEFENCE_PAUSE);
        }
    }

    pub fn forget(&mut self, claim: usize) {
        self.last.retain(|id, _| id.claim() != claim);
        self.pending.retain(|id, _| id.claim() != claim);
        self.held.iter_mut().for_each(|held| held.wanted.retain(|id| id.claim() != claim));
    }

    pub fn wake(&self) -> Option<Duration> {
        let phases = self.phases.iter().filter_map(|phase| phase.due());
        phases.chain(self.pending.values().copied()).chain(self.held.iter().map(|held| held.due)).min()
    }
}
