//! Stream management between two servers (XEP-0198), as a value: what one stream after the other has carried between two domains, and how
//! far each side is with it.

use crate::core::ids::StreamId;
use crate::core::message::Managed;
use crate::core::share::{Shared, limits, may_have};
use crate::wire::{DomainPair, Kind, Stanza};

/// How long what a stream carried can be carried on by another one, in milliseconds.
pub const PEER_RESUME_MS: u64 = 300_000;
/// So much of that is remembered for servers that have gone.
pub const PEER_SESSIONS: usize = 256;
/// What was written to servers and not acknowledged, for all together, in bytes.
pub const PEERS_UNACKNOWLEDGED_BYTES: usize = 4 * 1024 * 1024;
/// The same between two domains: a burst of a thousand messages fits in.
pub const PEER_UNACKNOWLEDGED_BYTES: usize = 1024 * 1024;
/// Stanzas that may be on their way on one stream.
pub(super) const UNACKNOWLEDGED: usize = 10_000;
/// What a stanza in the queue costs besides its text, in bytes, about.
const STANZA_AROUND_BYTES: usize = 192;

/// For the table in `src/lib.rs`.
pub const SHARED: Shared = Shared {
    what: "what was written to other servers and they have not acknowledged",
    whole: limits![PEERS_UNACKNOWLEDGED_BYTES, PEER_UNACKNOWLEDGED_BYTES],
    share: "between two domains: the rule, and the second",
    checked: "core/peers/session.rs",
    told: "more waits, as for a stream",
};

/// What two servers have counted.
#[derive(Debug)]
pub(super) struct PeerSession {
    pub(super) pair: DomainPair,
    /// What whoever was dialled calls it; none: it ends with its stream.
    pub(super) id: Option<Box<str>>,
    pub(super) managed: Managed,
    /// The stream that carries it.
    pub(super) stream: Option<StreamId>,
    /// The stream on which the peer is asked to carry it on.
    pub(super) asks: Option<StreamId>,
    /// It was before a restart: what is known to be counted may be less than what was.
    pub(super) recovered: bool,
    /// The log knows what it is called.
    pub(super) named: bool,
    /// Somebody's words were handled that the log does not know of.
    pub(super) unlogged: bool,
    /// When it is given up, if nothing carries it.
    pub(super) until: u64,
    /// How often that time was over while there was another stream.
    pub(super) passed_over: u8,
    /// What of it is kept until it is acknowledged, in bytes.
    kept_bytes: usize,
}

impl PeerSession {
    pub(super) fn new(pair: DomainPair, id: Option<Box<str>>, number: u64) -> PeerSession {
        PeerSession {
            pair,
            managed: Managed::new(number, id.is_some().then_some(PEER_RESUME_MS)),
            id,
            stream: None,
            asks: None,
            recovered: false,
            named: false,
            unlogged: false,
            until: 0,
            passed_over: 0,
            kept_bytes: 0,
        }
    }

    /// Whether something was written that the peer has not acknowledged, and is not lost with the stream.
    pub(super) fn is_owed(&self) -> bool {
        self.kept_bytes > 0
    }

    /// Whether one more stanza may be on its way, when so much is in all.
    pub(super) fn has_room(&self, stanza: &Stanza, all: usize) -> bool {
        let more = cost(stanza);
        self.managed.waiting().0 < UNACKNOWLEDGED
            && self.kept_bytes + more <= PEER_UNACKNOWLEDGED_BYTES
            && may_have(self.kept_bytes, more, all, PEERS_UNACKNOWLEDGED_BYTES)
    }

    /// Whether presence is written that is not kept, when there is no room for it.
    pub(super) fn takes_unkept(&self, stanza: &Stanza) -> bool {
        stanza.kind == Kind::Presence && self.managed.waiting().0 < UNACKNOWLEDGED
    }

    /// Counts a stanza that is written, and keeps it if there is room. Gives what more is kept, in bytes, and whether it is written now.
    pub(super) fn push(&mut self, stanza: &Stanza, all: usize) -> (usize, bool) {
        if !self.has_room(stanza, all) && self.takes_unkept(stanza) {
            self.managed.push_unkept();
            return (0, true);
        }
        let (_, now) = self.managed.push(stanza);
        self.kept_bytes += cost(stanza);
        (cost(stanza), now)
    }

    /// The peer has handled so many. Gives what that was, and what less is kept, in bytes; nothing: that cannot be.
    pub(super) fn acknowledge(&mut self, h: u32, now: u64) -> Option<(Vec<Stanza>, usize)> {
        let mut done = self.managed.acknowledge(h, now)?;
        done.retain(is_kept);
        let bytes = done.iter().map(cost).sum::<usize>();
        self.kept_bytes -= bytes;
        Some((done, bytes))
    }

    /// What is not acknowledged, taken out, and its bytes.
    pub(super) fn take_queue(&mut self) -> (Vec<Stanza>, usize) {
        let queue = self.managed.take_queue().into_iter().filter(is_kept).collect();
        (queue, std::mem::take(&mut self.kept_bytes))
    }

    /// What is not acknowledged, in order, with the places of what was not kept.
    pub(super) fn queue(&self) -> impl Iterator<Item = &Stanza> {
        self.managed.unacknowledged()
    }

    /// Takes stanzas out; they leave their places. Gives them, and their bytes.
    pub(super) fn take_out(&mut self, goes: impl FnMut(&Stanza) -> bool) -> (Vec<Stanza>, usize) {
        let taken = self.managed.take_out(goes);
        let bytes = taken.iter().map(cost).sum::<usize>();
        self.kept_bytes -= bytes;
        (taken, bytes)
    }

    /// As it was before a restart ([`Managed::restore`]). Gives the bytes that are kept.
    pub(super) fn restore(&mut self, sent: Vec<(u32, Stanza)>, handled: u32) -> usize {
        self.recovered = true;
        self.named = true;
        self.kept_bytes = sent.iter().map(|(_, stanza)| cost(stanza)).sum();
        self.managed.restore(sent.into_iter(), handled);
        self.kept_bytes
    }
}

/// Whether it is more than its place in the count.
pub(super) fn is_kept(stanza: &Stanza) -> bool {
    stanza.to.is_some()
}

fn cost(stanza: &Stanza) -> usize {
    STANZA_AROUND_BYTES + stanza.bytes()
}
