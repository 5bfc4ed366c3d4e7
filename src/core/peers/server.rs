//! Other servers (RFC 6120 §10.4): whom we talk to, what waits while a stream to them is being made, and what becomes of it when none can
//! be made.

use super::leaving::domain_of;
use super::outbox::PINNED_OUTBOX_MS;
use super::table::{Asked, Way};
use crate::core::effect::Effect;
use crate::core::ids::StreamId;
use crate::core::message::logged::WAITS;
use crate::core::message::quiet::Worth;
use crate::core::message::rule::{is_subscription, well_formed};
use crate::core::promise::Promise;
use crate::core::server::Core;
use crate::core::settings::{Federates, Federation, Settings};
use crate::core::share::site;
use crate::core::state::State;
use crate::core::work::{Payer, Timer};
use crate::wire::{
    Condition, DomainPair, Jid, Kind, Ns, Proof, Refusal, Stanza, StanzaError, StreamCondition, StreamError, Type,
};

/// Keys of dialback that are verified at the same time.
const VERIFICATIONS: usize = 20;
/// How long a server that could not be reached is left alone: from the one to the other, in milliseconds, longer each time.
pub const FAILURES_MS: (u64, u64) = (5_000, 600_000);

/// How it stands between a domain of ours and one of another server's, for the owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Between whom.
    pub pair: DomainPair,
    /// What proves that the other server is who it says; without it there is no stream.
    pub proof: Option<Proof>,
    /// A stream is being made.
    pub dialling: bool,
    /// Stanzas that wait for it.
    pub waiting: usize,
    /// Why none could be made, the last time.
    pub refusal: Option<Refusal>,
}

impl Federation {
    /// Whether a domain may talk to us, and we to it.
    ///
    /// # Errors
    /// Why not, for who wanted to.
    pub fn may(&self, theirs: &Jid) -> Result<(), Refusal> {
        let refused = |text: String| Err(Refusal { condition: Condition::NotAllowed, text });
        match self.with {
            Federates::Nobody => {
                let text = "this server talks to no other servers".to_owned();
                Err(Refusal { condition: Condition::RemoteServerNotFound, text })
            }
            _ if covers(&self.block, theirs) => {
                refused(format!("this server does not talk to {theirs}: it is blocked"))
            }
            _ if self.is_pinned(theirs) || covers(&self.allow, theirs) => Ok(()),
            Federates::Everybody => Ok(()),
            Federates::Listed => {
                refused(format!("this server talks to listed servers only, and {theirs} is not listed"))
            }
        }
    }

    /// Whether the owner knows a key of a domain.
    pub fn is_pinned(&self, theirs: &Jid) -> bool {
        self.pin(theirs).is_some()
    }

    /// The SHA-256 of the key of a domain, as the owner knows it: its own, or that of the nearest above it.
    fn pin(&self, theirs: &Jid) -> Option<&[u8; 32]> {
        let above = self.pinned.iter().filter(|(domain, _)| theirs.is_below(domain));
        above.max_by_key(|(domain, _)| domain.domain().len()).map(|(_, key)| key)
    }

    /// Whether the domain's DNS is believed about who may speak for it.
    pub fn trusts_dialback(&self, theirs: &Jid) -> bool {
        covers(&self.dialback_for, theirs)
    }
}

/// Whether a list has a domain, or one above it.
fn covers(list: &[Jid], domain: &Jid) -> bool {
    list.iter().any(|one| domain.is_below(one))
}

impl State {
    /// Whether something of ours answers under this domain.
    pub fn serves(&self, domain: &str) -> bool {
        domain == self.domain().domain()
            || self.services.contains_key(domain)
            || self.settings.components.contains_key(domain)
    }

    /// All domains that something of ours answers under.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        let components = self.settings.components.keys().map(Jid::domain);
        std::iter::once(self.domain().domain()).chain(self.services.keys().map(|domain| &**domain)).chain(components)
    }

    /// Whether somebody at another server can be behind this address.
    pub fn is_reachable(&self, jid: &Jid) -> bool {
        !self.serves(jid.domain()) && self.settings.federation.may(jid).is_ok()
    }

    /// How it stands with other servers.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        self.peers.lines().filter(|line| !self.settings.components.contains_key(line.theirs.domain())).map(|line| {
            PeerStatus {
                pair: DomainPair { ours: line.ours.clone(), theirs: line.theirs.clone() },
                proof: line.proof.filter(|_| !line.streams.is_empty()),
                dialling: line.dialling.is_some(),
                waiting: line.outbox.len(),
                refusal: line.refusal.clone(),
            }
        })
    }

    /// To another server.
    pub(in crate::core) fn at_other_server(&mut self, to: &Jid, stanza: &Stanza) -> Result<(), StanzaError> {
        match self.say_to_server(to, stanza) {
            Err(_) if !is_worth_an_error(stanza) => Ok(()),
            said => said,
        }
    }

    fn say_to_server(&mut self, to: &Jid, stanza: &Stanza) -> Result<(), StanzaError> {
        let Some(from) = stanza.from.as_ref().filter(|from| self.serves(from.domain())) else {
            // Nobody else's stanzas go through here (RFC 6120 §10.4).
            return Err(Condition::RemoteServerNotFound.into());
        };
        let theirs = domain_of(to)?;
        self.settings.federation.may(&theirs).map_err(|refusal| refusal.error())?;
        match self.peers.way(from.domain(), theirs.domain(), stanza) {
            Way::Stream(stream) => {
                self.effects.push(Effect::Send(stream, stanza.clone()));
                Ok(())
            }
            Way::Counted(number) => {
                let mark = self.stored(stanza)?;
                self.say_counted(number, marked(stanza, mark), false);
                Ok(())
            }
            Way::Waits => {
                let pair = DomainPair { ours: domain_of(from)?, theirs };
                let who: Box<str> = self.because_of(stanza).into();
                self.wait_for_stream(&pair, stanza, &who)
            }
        }
    }

    /// In whose share it is that a stanza goes out: its sender's; of an answer, and of what nobody has said, that of whoever is answered.
    pub(super) fn because_of<'a>(&self, stanza: &'a Stanza) -> &'a str {
        let answers = matches!(stanza.ty, Type::Error | Type::Result);
        let is_somebody = |from: &&Jid| self.local(from).is_none_or(|local| self.here.account(local).is_some());
        let speaker = stanza.from.as_ref().filter(is_somebody).filter(|_| !answers);
        speaker.or(stanza.to.as_ref()).map_or("", |jid| self.whose(jid))
    }

    fn wait_for_stream(&mut self, pair: &DomainPair, stanza: &Stanza, who: &str) -> Result<(), StanzaError> {
        let now = self.now.mono;
        let stays = self.may_stay(pair, stanza);
        let line = self.peers.line(pair.ours.domain(), pair.theirs.domain());
        if let Some(line) = line
            && !stays
            && line.streams.is_empty()
            && line.dialling.is_none()
            && line.retry_at > now
            && let Some(refusal) = &line.refusal
        {
            return Err(refusal.error());
        }
        // Or it is reached when it is time for that.
        let is_reached =
            line.is_some_and(|line| !line.streams.is_empty() && line.lost.is_none() || line.retry_at > now);
        let is_reached = is_reached || self.peers.thinking(pair).is_some();
        self.peers.wait(pair, marked(stanza, 0), who, stays, now)?;
        if !is_reached && let Err(error) = self.dial(pair, who) {
            self.peers.last_waiting(pair, None);
            return Err(error);
        }
        match self.stored(stanza) {
            Ok(mark) => {
                self.changes.counts(mark, WAITS);
                self.peers.last_waiting(pair, Some(mark));
                if stays {
                    self.redial(pair);
                }
                Ok(())
            }
            Err(error) => {
                self.peers.last_waiting(pair, None);
                Err(error)
            }
        }
    }

    /// Whether a message is kept for a server that is not reached: for one that the owner has pinned, and which may be away for long.
    fn may_stay(&self, pair: &DomainPair, stanza: &Stanza) -> bool {
        stanza.kind == Kind::Message && stanza.ty != Type::Error && self.settings.federation.is_pinned(&pair.theirs)
    }

    /// Whether it is still kept: what is not stored is not, nor what is too old.
    pub(super) fn stays(&self, pair: &DomainPair, stanza: &Stanza) -> bool {
        let age = self.time().saturating_sub(self.past(self.stamp(stanza.mark)));
        self.may_stay(pair, stanza) && stanza.mark > 0 && age < PINNED_OUTBOX_MS
    }

    /// Nothing came of a stream: what waited for it comes back, but for what stays.
    fn send_back_waiting(&mut self, pair: &DomainPair, refusal: &Refusal) {
        let all = self.peers.take_waiting(pair);
        let (stays, goes): (Vec<_>, Vec<_>) = all.into_iter().partition(|stanza| self.stays(pair, stanza));
        self.wait_again(pair, stays);
        self.send_back(pair, goes, refusal);
    }

    /// What somebody of ours says to somebody elsewhere is in the log until the other server has it, or the sender an error. Gives its
    /// number there; 0: a power cut may lose it.
    fn stored(&mut self, stanza: &Stanza) -> Result<u64, StanzaError> {
        let said = stanza.kind == Kind::Message && stanza.ty != Type::Error;
        let local = stanza.from.as_ref().and_then(|from| self.local(from)).filter(|_| said);
        let Some(local) = local.filter(|local| self.here.account(local).is_some()) else { return Ok(0) };
        let mark = match self.changes.begun(local, stanza) {
            Some(mark) => mark,
            // A hint says that it must not be stored (XEP-0334 §4.2), or nobody would miss it.
            None if stanza.child(Ns::HINTS, "no-store").is_some() || (self.weigh)(stanza) != Worth::Urgent => {
                return Ok(0);
            }
            None => {
                self.write()?;
                let mark = if self.numbers.logged < stanza.mark { stanza.mark } else { self.next_mark() };
                self.logged(mark);
                self.changes.begin_unarchived(mark, stanza);
                mark
            }
        };
        self.deliveries.leaves(mark);
        Ok(mark)
    }

    /// Has a stream made between two domains, if nobody does already.
    pub(super) fn dial(&mut self, pair: &DomainPair, who: &str) -> Result<(), StanzaError> {
        if self.peers.line(pair.ours.domain(), pair.theirs.domain()).is_none_or(|line| line.dialling.is_some()) {
            return Ok(());
        }
        if !self.peers.dial(pair, who) {
            let text = "too many other servers are being reached at the moment";
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        self.effects.push(Effect::Dial(pair.clone()));
        Ok(())
    }

    /// What could not be said between two domains is, if it can be now; else a stream is made, now or when it may be tried again.
    pub(in crate::core) fn redial(&mut self, pair: &DomainPair) {
        self.go_on(pair);
        let now = self.now.mono;
        let Some(line) = self.peers.line(pair.ours.domain(), pair.theirs.domain()) else { return };
        let (lost, reached) = (line.lost.is_some(), !line.streams.is_empty());
        if line.dialling.is_some() || !lost && (reached || line.outbox.is_empty()) {
            return;
        }
        if let Err(refusal) = self.settings.federation.may(&pair.theirs) {
            let waiting = self.peers.take_waiting(pair);
            return self.send_back(pair, waiting, &refusal);
        }
        if line.retry_at > now {
            return self.retry_at(pair, line.retry_at);
        }
        if self.dial(pair, pair.ours.domain()).is_err() {
            self.retry_at(pair, now + FAILURES_MS.0);
        }
    }

    /// Has a server tried again then, or before.
    pub(super) fn retry_at(&mut self, pair: &DomainPair, at: u64) {
        if let Some(line) = self.peers.line_mut(pair)
            && line.timed.is_none_or(|timed| timed > at)
        {
            line.timed = Some(at);
            self.set_timer(at, Timer::PeerRetry(pair.clone()));
        }
    }

    /// It is time for that.
    pub(in crate::core) fn retry(&mut self, pair: &DomainPair) {
        let now = self.now.mono;
        if let Some(line) = self.peers.line_mut(pair) {
            line.timed = line.timed.filter(|timed| *timed > now);
        }
        self.redial(pair);
    }

    /// What cannot be said comes back to its senders: once the log knows, or it would be said after a power cut all the same.
    pub(super) fn send_back(&mut self, pair: &DomainPair, stanzas: Vec<Stanza>, refusal: &Refusal) {
        stanzas.iter().for_each(|stanza| self.arrived(stanza.mark));
        self.note_settled();
        let seq = self.sealed() + 1;
        if stanzas.iter().any(|stanza| stanza.mark > 0)
            && !self.changes.is_empty()
            && let Some(line) = self.peers.line_mut(pair)
        {
            line.behind = Some(seq);
            self.peers.acks.behind.push_back((seq, pair.clone()));
        }
        for stanza in stanzas {
            if is_worth_an_error(&stanza)
                && let Some(mut error) = Stanza::error_of(&stanza, &refusal.error())
            {
                if stanza.mark > 0 {
                    // What was promised to its sender is not forgotten while they are away.
                    error.mark = self.next_mark();
                }
                self.promise(Promise::Reply(error));
            }
        }
    }

    /// Nothing came of a stream that was to be made.
    pub(in crate::core) fn peer_refused(&mut self, pair: &DomainPair, refusal: Refusal) {
        self.peers.dialled(pair);
        let jitter = u64::from(self.random()[0]);
        let now = self.now.mono;
        let Some(line) = self.peers.line_mut(pair) else { return };
        let (least, most) = FAILURES_MS;
        let wait = least.saturating_mul(1 << line.failures.min(10)).min(most);
        line.failures = line.failures.saturating_add(1);
        line.retry_at = now + wait + wait * jitter / 1024;
        log::info!("{} is not reached from {}: {}", pair.theirs, pair.ours, refusal.text);
        line.refusal = Some(refusal.clone());
        let (retry_at, is_reached) = (line.retry_at, !line.streams.is_empty());
        let keeps = line.keep_until > now;
        if self.settings.federation.kept.contains(&pair.theirs) {
            self.keep_lines_at(retry_at);
        }
        // Somebody may have come from there meanwhile, on a stream that goes both ways.
        if !is_reached && !keeps {
            self.send_back_waiting(pair, &refusal);
        }
        self.redial(pair);
    }

    /// A stream is proved for this pair: stanzas may come, and if `sends`, go. `dialled`: it was made for that by us. `manages`: there may be
    /// stream management on it.
    pub(in crate::core) fn peer_open(
        &mut self,
        stream: StreamId,
        pair: &DomainPair,
        proof: Proof,
        (sends, dialled, manages): (bool, bool, bool),
    ) {
        // The settings may be others than when it was judged.
        if let Err(refusal) = self.settings.federation.may(&pair.theirs) {
            if dialled {
                self.peers.dialled(pair);
            }
            let error = StreamError::new(StreamCondition::PolicyViolation).text(refusal.text);
            self.peers.closed(stream);
            self.effects.push(Effect::Close(stream, Some(error)));
            return;
        }
        log::debug!("{stream:?}: a stream between {pair}, proved by {proof}");
        self.peers.enter(stream, pair);
        if !sends {
            return;
        }
        let (ours, theirs) = (pair.ours.domain(), pair.theirs.domain());
        let who = Some(site(ours, theirs)).filter(|_| !dialled && !self.settings.federation.is_pinned(&pair.theirs));
        self.peers.proved(pair, proof, self.now.mono, who);
        if manages {
            return self.manage_stream(stream, pair, dialled);
        }
        if dialled {
            self.peers.dialled(pair);
        }
        self.peers.join(stream, pair, false, self.now.mono);
        self.go_on(pair);
    }

    /// A stream is gone. Says whether it was another server's. What was on its way on it without stream management may be lost.
    pub(in crate::core) fn peer_closed(&mut self, stream: StreamId) -> bool {
        let pairs = self.peers.closed(stream);
        let asked = self.peers.asked.remove(&stream);
        if let Some(Asked::Enable(pair) | Asked::Resume(pair, _)) = &asked {
            let asking = self.peers.sessions.values_mut().filter(|session| session.asks == Some(stream));
            asking.for_each(|session| session.asks = None);
            let why = format!("{} ended the stream before stream management was agreed on", pair.theirs);
            self.peer_refused(pair, Refusal::wait(why));
        }
        if let Some(number) = self.peers.carries.get(&stream).copied() {
            self.part(number);
        }
        pairs.iter().for_each(|pair| self.redial(pair));
        self.kept_closed(&pairs);
        !pairs.is_empty()
    }

    /// Somebody has proved to speak for a domain: may they?
    pub(in crate::core) fn peer_proved(&mut self, stream: StreamId, pair: DomainPair, proof: Proof) {
        let judged = self.settings.federation.may(&pair.theirs).map(|()| proof);
        if let Err(refusal) = &judged {
            log::info!("{} was refused: {}", pair.theirs, refusal.text);
        }
        self.effects.push(Effect::Judged(stream, pair, judged));
    }

    /// Somebody shows a key of dialback instead.
    pub(in crate::core) fn peer_key(&mut self, stream: StreamId, pair: DomainPair, id: String, key: String) {
        let federation = &self.settings.federation;
        let refused = |condition, text: &str| Err(Refusal { condition, text: text.into() });
        let may = federation.may(&pair.theirs).and_then(|()| {
            if !federation.trusts_dialback(&pair.theirs) {
                // XEP-0220 §2.5
                return refused(Condition::NotAuthorized, "a certificate is needed that proves the domain");
            }
            if self.peers.verifying.len() >= VERIFICATIONS {
                return refused(Condition::ResourceConstraint, "too many keys are being verified");
            }
            Ok(())
        });
        match may {
            Err(refusal) => {
                log::info!("{} was refused (dialback): {}", pair.theirs, refusal.text);
                self.effects.push(Effect::Judged(stream, pair, Err(refusal)));
            }
            Ok(()) => {
                self.peers.verifying.insert((stream, pair.clone()));
                self.effects.push(Effect::Verify { stream, pair, id, key });
            }
        }
    }

    /// What the domain's own server says of that key.
    pub(in crate::core) fn peer_verified(&mut self, stream: StreamId, pair: DomainPair, valid: Result<bool, Refusal>) {
        if !self.peers.verifying.remove(&(stream, pair.clone())) {
            return;
        }
        let judged = match valid {
            Ok(true) => Ok(Proof::Dialback),
            Ok(false) => Err(Refusal { condition: Condition::Forbidden, text: "the key is not theirs".into() }),
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = &judged {
            log::info!("{} was refused (dialback): {}", pair.theirs, refusal.text);
        }
        self.effects.push(Effect::Judged(stream, pair, judged));
    }

    /// Other settings: the streams of servers that we do not talk to any more, or not with this key.
    pub(super) fn dismiss_servers(&mut self, settings: &Settings) -> Vec<(StreamId, StreamError)> {
        let gone = |pairs: &[DomainPair]| {
            let mut others = pairs.iter().filter(|pair| !self.settings.components.contains_key(pair.theirs.domain()));
            others.find_map(|DomainPair { theirs, .. }| {
                if self.settings.federation.pin(theirs) != settings.federation.pin(theirs) {
                    return Some(Refusal::wait(format!("{theirs} has to prove itself by another key now")));
                }
                settings.federation.may(theirs).err()
            })
        };
        let streams: Vec<_> = self
            .peers
            .streams()
            .filter_map(|(stream, pairs)| {
                let refusal = gone(pairs)?;
                Some((stream, StreamError::new(StreamCondition::PolicyViolation).text(refusal.text)))
            })
            .collect();
        for (stream, _) in &streams {
            // What is to be done about it, is in the next turn.
            self.set_timer(self.now.mono, Timer::PeerClosed(*stream));
        }
        streams
    }
}

impl Core {
    /// A stanza of a component or of another server, whose stream has looked at its addresses.
    pub(in crate::core) fn peer_sent(&mut self, stream: StreamId, stanza: Stanza) {
        if self.state.peers.of(stream).is_none() {
            return;
        }
        self.state.note_component(stream, &stanza);
        let allowed = well_formed(&stanza).and_then(|()| self.state.pays(Payer::Peer(stream), &stanza));
        match allowed.and_then(|()| self.state.asks(None, &stanza)) {
            Ok(()) => self.route(stanza),
            Err(error) => self.state.refuse(&stanza, &error),
        }
    }
}

/// Whether somebody waits for what becomes of it. Of presence that goes nowhere nobody is told (RFC 6121 §4.2.2), but whoever comes into a
/// room waits for the room (XEP-0045 §7.2).
fn is_worth_an_error(stanza: &Stanza) -> bool {
    let enters = || stanza.ty == Type::None && stanza.child(Ns::MUC, "x").is_some();
    stanza.kind != Kind::Presence || is_subscription(stanza.ty) || enters()
}

/// The stanza as it is kept, with its number in the log.
fn marked(stanza: &Stanza, mark: u64) -> Stanza {
    let mut kept = stanza.clone();
    kept.mark = mark;
    kept
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use crate::core::{Core, Effect, Federates, Input, Now, Settings, StreamId};
    use crate::store::memory::Memory;
    use crate::wire::{DomainPair, Jid, Kind, Proof, Refusal, Stanza, Type};

    /// The input, and whether somebody is dialled then.
    fn dials(core: &mut Core, mono: u64, input: Input) -> bool {
        let mut effects = Vec::new();
        core.handle(Now { mono, ..Now::default() }, input, &mut effects);
        effects.iter().any(|effect| matches!(effect, Effect::Dial(_)))
    }

    #[test]
    fn whoever_comes_is_there_whatever_was_before() {
        let mut settings = Settings::new(Jid::parse("house.test").unwrap());
        settings.federation.with = Federates::Everybody;
        let mut core = Core::open(settings, [7; 32], Vec::new(), &mut Memory::default()).unwrap();
        let domain = |name: &str| Jid::parse(name).unwrap();
        let pair = DomainPair { ours: domain("house.test"), theirs: domain("far.test") };
        let came = |ours: &str, stream| Input::PeerOpen {
            stream: StreamId(stream),
            pair: DomainPair { ours: domain(ours), theirs: domain("far.test") },
            proof: Proof::Certificate,
            sends: false,
            dialled: false,
            manages: false,
        };
        // What the house itself answers.
        let asked = || {
            let mut iq = Stanza::new(Kind::Iq, Type::Get).with_id("1").with("<query xmlns='urn:unknown'/>");
            (iq.from, iq.to) = (Some(domain("iago@far.test/1")), Some(domain("house.test")));
            Input::Stanza(StreamId(1), iq)
        };
        dials(&mut core, 1_000, came("house.test", 1));
        assert!(dials(&mut core, 1_000, asked()));
        assert!(!dials(&mut core, 1_000, Input::PeerRefused(pair.clone(), Refusal::wait("it is away"))));
        assert!(!dials(&mut core, 2_000, asked()), "it is left alone");
        dials(&mut core, 2_000, came("rooms.house.test", 2));
        assert!(dials(&mut core, 2_000, asked()), "it is there again");
    }
}
