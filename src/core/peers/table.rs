//! The table of peers: between which domains there are lines, and which streams are proved for them.

use super::acks::Acks;
use super::outbox::Outbox;
use super::session::PeerSession;
use super::shown::Attached;
use crate::core::ids::StreamId;
use crate::core::message::Counted;
use crate::core::share::{Shared, Shares, is_elsewhere, limits};
use crate::wire::{Condition, DomainPair, Jid, Proof, Refusal, Stanza, StanzaError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Streams to other servers that are made at the same time.
const DIALS: usize = 64;

/// For the table in `src/lib.rs`.
pub const SHARED: Shared = Shared {
    what: "streams to other servers that are being made; pairs of domains that are remembered because of somebody elsewhere",
    whole: limits![DIALS, PEER_LINES],
    share: "an account, or a site elsewhere: the rule",
    checked: "core/peers/table.rs",
    told: "`resource-constraint`: later; nothing is said to that domain on the stream that it has made",
};

/// Pairs of domains that are remembered at the same time.
pub const PEER_LINES: usize = 1024;

/// Who else speaks for a domain.
#[derive(Debug, Default)]
pub(in crate::core) struct Peers {
    /// By their domains, a line for each domain of ours that something was said from; a component has one for all of ours.
    lines: BTreeMap<Box<str>, Vec<Line>>,
    count: usize,
    /// How many of them are there because of somebody elsewhere.
    lines_of: Shares,
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
    /// What is counted with stream management, by its number.
    pub(super) sessions: BTreeMap<u64, PeerSession>,
    /// Which of these a stream carries.
    pub(super) carries: BTreeMap<StreamId, u64>,
    /// What nobody has answered yet of stream management.
    pub(super) asked: BTreeMap<StreamId, Asked>,
    /// What of all sessions is kept until it is acknowledged, in bytes.
    pub(super) unacknowledged: usize,
    pub(super) acks: Acks,
}

/// What a stream waits for before something is said on it.
#[derive(Clone, Debug)]
pub(super) enum Asked {
    /// Whether whoever has dialled us wants stream management.
    Awaits(DomainPair),
    /// Whether it is enabled.
    Enable(DomainPair),
    /// Whether this session is carried on.
    Resume(DomainPair, u64),
}

/// How something is said between two domains.
pub(super) enum Way {
    /// On this stream.
    Stream(StreamId),
    /// On the stream of this session, which counts it.
    Counted(u64),
    /// It waits for a stream, or behind what does.
    Waits,
}

/// What is said from one domain to another.
#[derive(Debug)]
pub(super) struct Line {
    /// Because of whom it is remembered, if they are elsewhere.
    whose: Option<Arc<str>>,
    pub(super) ours: Jid,
    pub(super) theirs: Jid,
    /// The streams that it can be said on, the one that is used first.
    pub(super) streams: Vec<StreamId>,
    /// What proves who is at the other end of those.
    pub(super) proof: Option<Proof>,
    /// A stream is being made, for whom.
    pub(super) dialling: Option<Box<str>>,
    pub(super) outbox: Outbox,
    /// What was said on a stream that is gone and not acknowledged, by the number of its session: nothing newer is said before.
    pub(super) lost: Option<u64>,
    /// The batch that tells what came back: nothing newer is said before that is stored, or a power cut would have it said behind.
    pub(super) behind: Option<u64>,
    /// Until then what waits is not sent back when nothing comes of a stream.
    pub(super) keep_until: u64,
    /// How often nothing came of that, one after the other.
    pub(super) failures: u32,
    /// Why, the last time.
    pub(super) refusal: Option<Refusal>,
    /// When it may be tried again, of [`crate::core::Now::mono`].
    pub(super) retry_at: u64,
    /// The timer for that, if one runs.
    pub(super) timed: Option<u64>,
    /// When something was last said.
    pub(super) used: u64,
}

impl Line {
    /// Whether nothing older has to come first.
    fn is_free(&self) -> bool {
        self.lost.is_none() && self.behind.is_none()
    }

    fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.dialling.is_none() && self.outbox.is_empty() && self.is_free()
    }
}

impl Peers {
    /// The stream that something can be said on.
    pub(super) fn stream_to(&self, ours: &str, theirs: &str) -> Option<StreamId> {
        self.line(ours, theirs)?.streams.first().copied()
    }

    /// The domain that a stream speaks for, the first if it speaks for several.
    pub(in crate::core) fn of(&self, stream: StreamId) -> Option<&Jid> {
        self.pair_of(stream).map(|pair| &pair.theirs)
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

    /// The line between two domains, a new one if there is none, because of `who`, if they are elsewhere.
    ///
    /// # Errors
    /// All that are remembered are in use, or too many of those that are remembered because of the same one.
    pub(super) fn line_for(
        &mut self,
        pair: &DomainPair,
        now: u64,
        who: Option<&str>,
    ) -> Result<&mut Line, StanzaError> {
        let known = self.line(pair.ours.domain(), pair.theirs.domain()).is_some();
        let is_much = |peers: &Peers| who.is_some_and(|who| !peers.lines_of.may(who, 1, PEER_LINES));
        if !known
            && (is_much(self) && !self.forget_oldest(who) || self.count >= PEER_LINES && !self.forget_oldest(None))
        {
            let error = StanzaError::new(Condition::ResourceConstraint);
            return Err(error.text("this server talks to too many others at the moment"));
        }
        let lines = self.lines.entry(pair.theirs.domain().into()).or_default();
        let at = match lines.iter().position(|line| line.ours == pair.ours) {
            Some(at) => at,
            None => {
                self.count += 1;
                lines.push(Line {
                    whose: who.map(|who| self.lines_of.add(who, 1)),
                    ours: pair.ours.clone(),
                    theirs: pair.theirs.clone(),
                    streams: Vec::new(),
                    proof: None,
                    dialling: None,
                    outbox: Outbox::default(),
                    lost: None,
                    behind: None,
                    keep_until: 0,
                    failures: 0,
                    refusal: None,
                    retry_at: 0,
                    timed: None,
                    used: now,
                });
                lines.len() - 1
            }
        };
        let line = &mut lines[at];
        line.used = now;
        Ok(line)
    }

    /// Makes room for one more line, or one of somebody's. Says whether there is.
    fn forget_oldest(&mut self, who: Option<&str>) -> bool {
        let theirs = |line: &&Line| who.is_none() || line.whose.as_deref() == who;
        let oldest = self.lines().filter(|line| line.is_idle()).filter(theirs).min_by_key(|line| line.used);
        let Some((ours, theirs)) = oldest.map(|line| (line.ours.clone(), Box::<str>::from(line.theirs.domain())))
        else {
            return false;
        };
        if let Some(lines) = self.lines.get_mut(&theirs) {
            let gone = lines.extract_if(.., |line| line.ours == ours).filter_map(|line| line.whose);
            gone.for_each(|who| self.lines_of.take(&who, 1));
            if lines.is_empty() {
                self.lines.remove(&theirs);
            }
        }
        self.count -= 1;
        true
    }

    /// How a stanza is said between two domains.
    pub(super) fn way(&self, ours: &str, theirs: &str, stanza: &Stanza) -> Way {
        let line = self.line(ours, theirs).filter(|line| line.is_free() && line.outbox.is_empty());
        let Some(stream) = line.and_then(|line| line.streams.first()) else { return Way::Waits };
        let Some(number) = self.carries.get(stream) else { return Way::Stream(*stream) };
        match self.sessions.get(number) {
            Some(session) if session.has_room(stanza, self.unacknowledged) || session.takes_unkept(stanza) => {
                Way::Counted(*number)
            }
            _ => Way::Waits,
        }
    }

    /// The stream on which what waits between two domains can be said.
    pub(super) fn ready(&self, pair: &DomainPair) -> Option<StreamId> {
        let line = self.line(pair.ours.domain(), pair.theirs.domain())?;
        line.streams.first().copied().filter(|_| line.is_free() && !line.outbox.is_empty())
    }

    /// The stream of a server that has dialled us and may still want stream management.
    pub(super) fn thinking(&self, pair: &DomainPair) -> Option<StreamId> {
        let awaits = |asked: &Asked| matches!(asked, Asked::Awaits(of) if of == pair);
        self.asked.iter().find(|(_, asked)| awaits(asked)).map(|(stream, _)| *stream)
    }

    /// Whether something is said between two domains on this stream.
    pub(super) fn is_said_on(&self, stream: StreamId, pair: &DomainPair) -> bool {
        let line = self.line(pair.ours.domain(), pair.theirs.domain());
        line.is_some_and(|line| line.streams.contains(&stream))
    }

    /// Whether something that is stored waits between two domains.
    pub(super) fn has_stored(&self, pair: &DomainPair) -> bool {
        let line = self.line(pair.ours.domain(), pair.theirs.domain());
        line.is_some_and(|line| line.outbox.has_stored())
    }

    /// The first that waits between two domains, if there is room on the stream of this session, when so much is on its way in all.
    pub(super) fn next_waiting(&mut self, pair: &DomainPair, number: u64, all: usize) -> Option<Stanza> {
        let session = self.sessions.get(&number)?;
        let lines = self.lines.get_mut(pair.theirs.domain())?;
        let line = lines.iter_mut().find(|line| line.ours == pair.ours)?;
        line.outbox.next(&mut self.waiting, |stanza| session.has_room(stanza, all) || session.takes_unkept(stanza))
    }

    /// What is counted on this stream, and its number.
    pub(super) fn carried_mut(&mut self, stream: StreamId) -> Option<(u64, &mut PeerSession)> {
        let number = *self.carries.get(&stream)?;
        Some((number, self.sessions.get_mut(&number)?))
    }

    /// The domains that a stream is for, the first if it is for several.
    pub(super) fn pair_of(&self, stream: StreamId) -> Option<&DomainPair> {
        self.streams.get(&stream)?.first()
    }

    /// A session between these two that was lost and can be carried on: the one that owes something, if there is one.
    pub(super) fn lost_between(&self, pair: &DomainPair) -> Option<u64> {
        let lost = |session: &PeerSession| session.stream.is_none() && session.asks.is_none() && session.id.is_some();
        let lost = self.sessions.iter().filter(|(_, session)| session.pair == *pair && lost(session));
        lost.max_by_key(|(_, session)| (session.is_owed(), session.until)).map(|(number, _)| *number)
    }

    /// Another session between these two that was lost and owes something.
    pub(super) fn owed_between(&self, pair: &DomainPair, but: u64) -> Option<u64> {
        let owed = |session: &PeerSession| session.pair == *pair && session.stream.is_none() && session.is_owed();
        self.sessions.iter().find(|(number, session)| **number != but && owed(session)).map(|(number, _)| *number)
    }

    /// Of the sessions that nothing carries the one that was lost first, if there are more than so many.
    pub(super) fn surplus(&self, most: usize) -> Option<u64> {
        let lost = || self.sessions.iter().filter(|(_, session)| session.stream.is_none());
        if lost().count() <= most {
            return None;
        }
        lost().min_by_key(|(_, session)| session.until).map(|(number, _)| *number)
    }

    /// Nothing newer has to wait for this session any more, but perhaps for another one.
    pub(super) fn no_more_lost(&mut self, pair: &DomainPair, number: u64) {
        let next = self.owed_between(pair, number);
        if let Some(line) = self.line_mut(pair)
            && line.lost == Some(number)
        {
            line.lost = next;
        }
    }

    /// Stanzas of this pair may come on this stream.
    pub(super) fn enter(&mut self, stream: StreamId, pair: &DomainPair) {
        let pairs = self.streams.entry(stream).or_default();
        if !pairs.contains(pair) {
            pairs.push(pair.clone());
        }
        // Whoever comes is there: nobody has to wait until it is tried again.
        for line in self.lines.get_mut(pair.theirs.domain()).into_iter().flatten() {
            (line.failures, line.retry_at) = (0, 0);
        }
    }

    /// A stream between these two is proved. `who`: because of whom, if they are elsewhere and not known to the owner.
    pub(super) fn proved(&mut self, pair: &DomainPair, proof: Proof, now: u64, who: Option<&str>) {
        // One that is not remembered is used as far as its own side says something.
        if let Ok(line) = self.line_for(pair, now, who) {
            line.proof = Some(proof);
            (line.failures, line.retry_at, line.refusal) = (0, 0, None);
        }
    }

    /// From here on stanzas are said on it; `first`: before all other streams.
    pub(super) fn join(&mut self, stream: StreamId, pair: &DomainPair, first: bool, now: u64) {
        if !self.streams.contains_key(&stream) {
            return;
        }
        let Some(line) = self.line_mut(pair) else { return };
        line.used = now;
        if !line.streams.contains(&stream) {
            let at = if first { 0 } else { line.streams.len() };
            line.streams.insert(at, stream);
        }
    }

    /// Stanzas of this pair may come and go on this stream.
    pub(super) fn open(&mut self, stream: StreamId, pair: &DomainPair, proof: Proof, now: u64) {
        self.enter(stream, pair);
        self.proved(pair, proof, now, None);
        self.join(stream, pair, false, now);
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

    /// What waits between these two, and what waits in all.
    fn outbox(&mut self, pair: &DomainPair) -> Option<(&mut Outbox, &mut Shares)> {
        let lines = self.lines.get_mut(pair.theirs.domain())?;
        let line = lines.iter_mut().find(|line| line.ours == pair.ours)?;
        Some((&mut line.outbox, &mut self.waiting))
    }

    /// All that waits between these two, taken out.
    pub(super) fn take_waiting(&mut self, pair: &DomainPair) -> Vec<Stanza> {
        self.outbox(pair).map(|(outbox, all)| outbox.take(all)).unwrap_or_default()
    }

    /// Something waits between these two again, before all that does.
    pub(super) fn wait_first(&mut self, pair: &DomainPair, stanza: Stanza, who: &str) {
        if let Some((outbox, all)) = self.outbox(pair) {
            outbox.push_first(stanza, who, all);
        }
    }

    /// The last that waits between these two has this number in the log; or is taken back.
    pub(super) fn last_waiting(&mut self, pair: &DomainPair, mark: Option<u64>) {
        let Some((outbox, all)) = self.outbox(pair) else { return };
        match mark {
            Some(mark) => outbox.mark_last(mark),
            None => outbox.take_last(all),
        }
    }

    /// One more waits between these two, of somebody.
    ///
    /// # Errors
    /// Too much does.
    pub(super) fn wait(
        &mut self,
        pair: &DomainPair,
        stanza: Stanza,
        who: &str,
        stays: bool,
        now: u64,
    ) -> Result<(), StanzaError> {
        self.line_for(pair, now, Some(who).filter(|who| is_elsewhere(who)))?;
        self.outbox(pair).map_or(Ok(()), |(outbox, all)| outbox.push(stanza, who, stays, all))
    }

    /// What the log is to know of what servers have sent.
    pub(in crate::core) fn heard(&self) -> impl Iterator<Item = Counted> {
        self.sessions.values().filter_map(|session| session.managed.heard())
    }

    /// What a session is called, if the log does not know: from here on it does.
    pub(in crate::core) fn unnamed(&mut self, number: u64) -> Option<(DomainPair, Box<str>)> {
        let session = self.sessions.get_mut(&number).filter(|session| !session.named)?;
        session.named = true;
        Some((session.pair.clone(), session.id.clone()?))
    }

    /// What the log was told of names is forgotten. Gives the sessions whose names are told again: those it was told, and those that owe
    /// something, or of which the log knows how much was heard.
    pub(in crate::core) fn forget_names(&mut self) -> Vec<u64> {
        let told = |session: &mut PeerSession| {
            std::mem::take(&mut session.named) || session.is_owed() || session.managed.heard().is_some()
        };
        self.sessions.iter_mut().filter_map(|(number, session)| told(session).then_some(*number)).collect()
    }
}
