//! The table of peers: between which domains there are lines, and which streams are proved for them.

use super::outbox::Outbox;
use super::shown::Attached;
use crate::core::ids::StreamId;
use crate::core::share::{Shared, Shares, limits};
use crate::wire::{Condition, DomainPair, Jid, Proof, Refusal, Stanza, StanzaError};
use std::collections::{BTreeMap, BTreeSet};

/// Streams to other servers that are made at the same time.
const DIALS: usize = 64;

/// For the table in `src/lib.rs`.
pub const SHARED: Shared = Shared {
    what: "streams to other servers that are being made",
    whole: limits![DIALS],
    share: "an account, or the domain of a component: the rule",
    checked: "core/peers/table.rs",
    told: "`resource-constraint`: later",
};

/// Pairs of domains that are remembered at the same time.
pub const PEER_LINES: usize = 1024;

/// Who else speaks for a domain.
#[derive(Debug, Default)]
pub(in crate::core) struct Peers {
    /// By their domains, a line for each domain of ours that something was said from; a component has one for all of ours.
    lines: BTreeMap<Box<str>, Vec<Line>>,
    count: usize,
    /// What each stream is proved for: whose stanzas may come.
    streams: BTreeMap<StreamId, Vec<DomainPair>>,
    /// The components that are attached.
    pub(super) attached: BTreeMap<StreamId, Attached>,
    /// What waits in all outboxes, by whose it is.
    pub(super) waiting: Shares,
    /// Whose dialled streams are being made, by who wanted to say something.
    dials: Shares,
    /// The keys of dialback that are being verified.
    pub(super) verifying: BTreeSet<(StreamId, DomainPair)>,
    /// When the streams are looked after that stay.
    pub(super) kept_at: Option<u64>,
}

/// What is said from one domain to another.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) ours: Jid,
    pub(super) theirs: Jid,
    /// The streams that it can be said on, the one that is used first.
    pub(super) streams: Vec<StreamId>,
    /// What proves who is at the other end of those.
    pub(super) proof: Option<Proof>,
    /// A stream is being made, for whom.
    pub(super) dialling: Option<Box<str>>,
    pub(super) outbox: Outbox,
    /// How often nothing came of that, one after the other.
    pub(super) failures: u32,
    /// Why, the last time.
    pub(super) refusal: Option<Refusal>,
    /// When it may be tried again, of [`crate::core::Now::mono`].
    pub(super) retry_at: u64,
    /// When something was last said.
    pub(super) used: u64,
}

impl Line {
    fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.dialling.is_none() && self.outbox.is_empty()
    }
}

impl Peers {
    /// The stream that something can be said on.
    pub(super) fn stream_to(&self, ours: &str, theirs: &str) -> Option<StreamId> {
        self.line(ours, theirs)?.streams.first().copied()
    }

    /// The domain that a stream speaks for, the first if it speaks for several.
    pub(in crate::core) fn of(&self, stream: StreamId) -> Option<&Jid> {
        self.streams.get(&stream)?.first().map(|pair| &pair.theirs)
    }

    /// All streams, with what each is proved for.
    pub(super) fn streams(&self) -> impl Iterator<Item = (StreamId, &[DomainPair])> {
        self.streams.iter().map(|(stream, pairs)| (*stream, &**pairs))
    }

    /// All lines.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.lines.values().flatten()
    }

    pub(super) fn line(&self, ours: &str, theirs: &str) -> Option<&Line> {
        self.lines.get(theirs)?.iter().find(|line| line.ours.domain() == ours)
    }

    pub(super) fn line_mut(&mut self, pair: &DomainPair) -> Option<&mut Line> {
        self.lines.get_mut(pair.theirs.domain())?.iter_mut().find(|line| line.ours == pair.ours)
    }

    /// The line between two domains, a new one if there is none.
    ///
    /// # Errors
    /// All that are remembered are in use.
    pub(super) fn line_for(&mut self, pair: &DomainPair, now: u64) -> Result<&mut Line, StanzaError> {
        let known = self.line(pair.ours.domain(), pair.theirs.domain()).is_some();
        if !known && self.count >= PEER_LINES && !self.forget_oldest() {
            let error = StanzaError::new(Condition::ResourceConstraint);
            return Err(error.text("this server talks to too many others at the moment"));
        }
        let lines = self.lines.entry(pair.theirs.domain().into()).or_default();
        let at = match lines.iter().position(|line| line.ours == pair.ours) {
            Some(at) => at,
            None => {
                self.count += 1;
                lines.push(Line {
                    ours: pair.ours.clone(),
                    theirs: pair.theirs.clone(),
                    streams: Vec::new(),
                    proof: None,
                    dialling: None,
                    outbox: Outbox::default(),
                    failures: 0,
                    refusal: None,
                    retry_at: 0,
                    used: now,
                });
                lines.len() - 1
            }
        };
        let line = &mut lines[at];
        line.used = now;
        Ok(line)
    }

    /// Makes room for one more line. Says whether there is.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.lines().filter(|line| line.is_idle()).min_by_key(|line| line.used);
        let Some((ours, theirs)) = oldest.map(|line| (line.ours.clone(), Box::<str>::from(line.theirs.domain())))
        else {
            return false;
        };
        if let Some(lines) = self.lines.get_mut(&theirs) {
            lines.retain(|line| line.ours != ours);
            if lines.is_empty() {
                self.lines.remove(&theirs);
            }
        }
        self.count -= 1;
        true
    }

    /// Stanzas of this pair may come on this stream; `sends`: and be said on it. Gives what waited for that.
    pub(super) fn open(
        &mut self,
        stream: StreamId,
        pair: &DomainPair,
        proof: Proof,
        sends: bool,
        now: u64,
    ) -> Vec<Stanza> {
        let pairs = self.streams.entry(stream).or_default();
        if !pairs.contains(pair) {
            pairs.push(pair.clone());
        }
        // Whoever comes is there: nobody has to wait until it is tried again.
        for line in self.lines.get_mut(pair.theirs.domain()).into_iter().flatten() {
            (line.failures, line.retry_at) = (0, 0);
        }
        if !sends {
            return Vec::new();
        }
        // One that is not remembered is used as far as its own side says something.
        if self.line_for(pair, now).is_err() {
            return Vec::new();
        }
        let Some(line) =
            self.lines.get_mut(pair.theirs.domain()).and_then(|lines| lines.iter_mut().find(|l| l.ours == pair.ours))
        else {
            return Vec::new();
        };
        if !line.streams.contains(&stream) {
            line.streams.push(stream);
        }
        line.proof = Some(proof);
        line.refusal = None;
        line.outbox.take(&mut self.waiting)
    }

    /// A stream is to be made between these two, because of somebody. Says whether it may be.
    pub(super) fn dial(&mut self, pair: &DomainPair, who: &str) -> bool {
        if !self.dials.may(who, 1, DIALS) {
            return false;
        }
        if let Some(line) = self.line_mut(pair) {
            line.dialling = Some(who.into());
            self.dials.add(who, 1);
        }
        true
    }

    /// Nobody makes a stream between these two any more.
    pub(super) fn dialled(&mut self, pair: &DomainPair) {
        if let Some(who) = self.line_mut(pair).and_then(|line| line.dialling.take()) {
            self.dials.take(&who, 1);
        }
    }

    /// A stream is gone. Gives what it was proved for; nothing if it was nobody's here.
    pub(super) fn closed(&mut self, stream: StreamId) -> Vec<DomainPair> {
        let Some(pairs) = self.streams.remove(&stream) else { return Vec::new() };
        for pair in &pairs {
            if let Some(line) = self.line_mut(pair) {
                line.streams.retain(|one| *one != stream);
            }
        }
        self.verifying.retain(|(one, _)| *one != stream);
        pairs
    }

    /// All that waits between these two, taken out.
    pub(super) fn take_waiting(&mut self, pair: &DomainPair) -> Vec<Stanza> {
        let Some(line) =
            self.lines.get_mut(pair.theirs.domain()).and_then(|lines| lines.iter_mut().find(|l| l.ours == pair.ours))
        else {
            return Vec::new();
        };
        line.outbox.take(&mut self.waiting)
    }

    /// One more waits between these two, of somebody.
    ///
    /// # Errors
    /// Too much does.
    pub(super) fn wait(&mut self, pair: &DomainPair, stanza: Stanza, who: &str, now: u64) -> Result<(), StanzaError> {
        self.line_for(pair, now)?;
        let lines = self.lines.get_mut(pair.theirs.domain());
        match lines.and_then(|lines| lines.iter_mut().find(|line| line.ours == pair.ours)) {
            Some(line) => line.outbox.push(stanza, who, &mut self.waiting),
            None => Ok(()),
        }
    }
}
