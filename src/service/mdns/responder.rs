//! Who answers for our names on each link (RFC 6762): a state machine without sockets, clock and random source. It is told the time, the
//! links, and what came; it has packets to be sent, and says when it wants to be called again.
//!
//! A name goes through its phases on each link by itself: it is probed, announced, and then answered for, until somebody contests it.

mod link;

pub use self::link::{FLOOD_PACKETS, FLOOD_PAUSE, LinkId, MdnsLink};

use self::link::{DEFENCE_PAUSE, HeldQuestion, LinkState, Phase};
use super::claims::{Claim, RecordId, Use, Wanted, record, shared, unique};
use super::packet::{MdnsPacket, MdnsQuestion, MdnsRecord};
use domain::base::Rtype;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The port of everybody (RFC 6762 §3).
const PORT: u16 = 5353;
/// Probes for a name, and the time between two; the first comes after a random part of that (RFC 6762 §8.1).
const PROBES: u8 = 3;
const PROBE_PAUSE: Duration = Duration::from_millis(250);
/// Announcements of a name, and the time between them (RFC 6762 §8.3).
const ANNOUNCEMENTS: u8 = 2;
const ANNOUNCEMENT_PAUSE: Duration = Duration::from_secs(1);
/// How long who has lost a name to a probe of the same moment waits before they probe again (RFC 6762 §8.2).
const DEFERRED: Duration = Duration::from_secs(1);
/// After how many conflicts, in what time, each further name waits how long (RFC 6762 §8.1); until there was none for so long.
const CONFLICTS: usize = 15;
const CONFLICT_WINDOW: Duration = Duration::from_secs(10);
const CONFLICT_PAUSE: Duration = Duration::from_secs(5);
const CONFLICT_CALM: Duration = Duration::from_secs(60);
/// When a name that cannot have a number, or that another program on this box has, is tried again.
const RETRY: Duration = Duration::from_secs(60);
/// Others may have an answer, too: it waits so many milliseconds (RFC 6762 §6).
const ANSWER_MS: (u32, u32) = (20, 120);
/// The same if more known answers follow (RFC 6762 §7.2), and how long that may go on.
const MORE_MS: (u32, u32) = (400, 500);
const MORE_MOST: Duration = Duration::from_secs(2);
/// Questions of a link that wait for more known answers.
const HELD: usize = 8;
/// The least time between two multicasts of a record (RFC 6762 §6).
const RECORD_PAUSE: Duration = Duration::from_secs(1);
/// What old resolvers may keep, in seconds (RFC 6762 §6.7).
const LEGACY_TTL_S: u32 = 10;
/// Packets of ours that are known again when the network gives them back, and for how long.
const ECHOES: usize = 64;
const ECHO_AGE: Duration = Duration::from_secs(2);

/// A packet to be sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Datagram {
    /// On which link.
    pub link: LinkId,
    /// To whom; `None`: everybody.
    pub to: Option<SocketAddr>,
    /// What.
    pub bytes: Vec<u8>,
}

/// What an owner may want to know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MdnsNews {
    /// Somebody else has a name: we have another.
    Renamed {
        /// The name.
        from: String,
        /// The other.
        to: String,
    },
    /// Somebody else has a name that must be as it is.
    Taken(String),
    /// Another program on this box answers for a name.
    Elsewhere(String),
    /// More came on a link than is listened to.
    Flood(LinkId),
}

/// Whether we may have a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Wanted,
    /// Somebody else has it, on another box or on this one; then it is tried again.
    Refused(Duration),
}

/// The responder.
pub struct Responder {
    claims: Vec<Claim>,
    /// Of each claim.
    standing: Vec<Standing>,
    links: BTreeMap<LinkId, LinkState>,
    /// Whether there is another responder on this box, which must not see our claims as conflicts with its own.
    cautious: bool,
    random: Box<dyn FnMut(u32) -> u32 + Send>,
    /// The last of them, and until when names have to wait for that.
    conflicts: VecDeque<Duration>,
    slow_until: Duration,
    echoes: VecDeque<(Duration, u64)>,
    out: Vec<Datagram>,
    news: Vec<MdnsNews>,
    /// What was told last of each claim.
    told: Vec<Option<MdnsNews>>,
}

impl Responder {
    /// One without links. `cautious`: there is another responder on this box, which keeps the names that it has. `random` gives a
    /// number from 0 to what it is given.
    pub fn new(wanted: &Wanted, cautious: bool, random: Box<dyn FnMut(u32) -> u32 + Send>) -> Responder {
        let claims = Claim::all(wanted);
        Responder {
            standing: vec![Standing::Wanted; claims.len()],
            told: vec![None; claims.len()],
            claims,
            links: BTreeMap::new(),
            cautious,
            random,
            conflicts: VecDeque::new(),
            slow_until: Duration::ZERO,
            echoes: VecDeque::new(),
            out: Vec::new(),
            news: Vec::new(),
        }
    }

    /// What is to be sent now.
    pub fn packets(&mut self) -> Vec<Datagram> {
        std::mem::take(&mut self.out)
    }

    /// What an owner may want to know.
    pub fn news(&mut self) -> Vec<MdnsNews> {
        std::mem::take(&mut self.news)
    }

    /// The name under which the host is found, once it is on some link.
    pub fn host(&self) -> Option<String> {
        let is_found = self.links.values().any(|state| state.phases.first().is_some_and(|phase| phase.answers()));
        is_found.then(|| self.claims.first().map(Claim::told)).flatten()
    }

    /// When it wants to be called again, if nothing comes.
    pub fn wake(&self) -> Option<Duration> {
        let retries = self.standing.iter().filter_map(|standing| match standing {
            Standing::Refused(until) => Some(*until),
            Standing::Wanted => None,
        });
        self.links.values().filter_map(LinkState::wake).chain(retries).min()
    }

    /// Until when a link is not listened to.
    pub fn ignored(&self, link: LinkId, now: Duration) -> Option<Duration> {
        self.links.get(&link)?.ignored(now)
    }

    /// These links there are now (RFC 6762 §8.3, §8.4).
    pub fn set_links(&mut self, now: Duration, links: Vec<MdnsLink>) {
        self.links.retain(|id, _| links.iter().any(|link| link.id == *id));
        for link in links {
            match self.links.get(&link.id).map(|state| state.link.clone()) {
                Some(old) if old == link => {}
                Some(old) => self.moved(now, &old, link),
                None => self.add(now, link),
            }
        }
        self.tick(now);
    }

    fn add(&mut self, now: Duration, link: MdnsLink) {
        let at = now + self.millis(0, PROBE_PAUSE.as_millis() as u32);
        let phases = (0..self.claims.len()).map(|n| self.first_phase(n, at)).collect();
        self.links.insert(link.id, LinkState::new(now, link, phases));
    }

    /// Addresses have come and gone.
    fn moved(&mut self, now: Duration, old: &MdnsLink, link: MdnsLink) {
        let id = link.id;
        let gone: Vec<IpAddr> = old.addresses.iter().filter(|ip| !link.addresses.contains(ip)).copied().collect();
        let is_same = old.addresses == link.addresses;
        let Some(state) = self.links.get_mut(&id) else { return };
        state.link = link;
        if is_same {
            return;
        }
        let hosts: Vec<usize> = (0..self.claims.len())
            .filter(|n| !matches!(self.claims[*n].what, Use::Instance(_)) && state.phases[*n].answers())
            .collect();
        for n in &hosts {
            state.forget(*n);
            state.phases[*n] = Phase::Announcing(0, now);
        }
        let taken = |n: &usize| gone.iter().map(|ip| RecordId::Address(*n, *ip)).collect::<Vec<_>>();
        let taken: Vec<RecordId> = hosts.iter().flat_map(taken).collect();
        self.goodbye(now, id, &taken);
    }

    fn millis(&mut self, least: u32, most: u32) -> Duration {
        Duration::from_millis(u64::from(least + (self.random)(most - least)))
    }

    fn first_phase(&self, n: usize, at: Duration) -> Phase {
        match self.standing[n] {
            Standing::Wanted if self.cautious && self.claims[n].what == Use::Host => Phase::Asking(0, at),
            Standing::Wanted => Phase::Probing(0, at),
            Standing::Refused(_) => Phase::Idle,
        }
    }

    /// A name begins anew, everywhere.
    fn begin(&mut self, n: usize, at: Duration) {
        let at = at + self.millis(0, PROBE_PAUSE.as_millis() as u32);
        let phase = self.first_phase(n, at);
        for state in self.links.values_mut() {
            state.forget(n);
            state.phases[n] = phase;
        }
    }

    /// Takes a packet that came on a link.
    pub fn handle(&mut self, now: Duration, link: LinkId, from: SocketAddr, bytes: &[u8]) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let listened = state.ignored(now).is_none();
        let counts = state.counts(now);
        let is_near = counts && state.link.reaches(from.ip());
        if listened && !counts {
            self.news.push(MdnsNews::Flood(link));
        }
        if !is_near || self.is_echo(now, bytes) {
            return;
        }
        let Some(packet) = MdnsPacket::read(bytes) else { return };
        match packet.response {
            // Whoever answers does it from that port (RFC 6762 §6).
            true if from.port() == PORT => self.heard(now, link, from.ip(), &packet),
            true => {}
            false => self.asked(now, link, from, &packet),
        }
        self.tick(now);
    }

    /// What is due by now.
    pub fn tick(&mut self, now: Duration) {
        for n in 0..self.claims.len() {
            if matches!(self.standing[n], Standing::Refused(until) if until <= now) {
                self.standing[n] = Standing::Wanted;
                self.begin(n, now);
            }
        }
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            self.probe(now, id);
            self.announce(now, id);
            self.release(now, id);
            self.answer(now, id);
        }
    }

    /// The end: nobody is to look for us any more (RFC 6762 §10.1). `hosts`: not for the host either, for whom nobody else answers.
    pub fn end(&mut self, now: Duration, hosts: bool) {
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            let state = &self.links[&id];
            let ended = (0..self.claims.len())
                .filter(|n| state.phases[*n].answers() && (hosts || matches!(self.claims[*n].what, Use::Instance(_))));
            let ids: Vec<RecordId> = ended.flat_map(|n| self.of_claim(id, n)).collect();
            self.goodbye(now, id, &ids);
        }
        self.links.clear();
    }

    fn goodbye(&mut self, now: Duration, link: LinkId, ids: &[RecordId]) {
        let records = self.records(link, ids).into_iter().filter(|record| record.kind != Rtype::NSEC);
        // Whoever else has such a record by now keeps it.
        let answers = records.map(|record| MdnsRecord { ttl_s: 0, flush: false, ..record }).collect();
        self.send(now, link, MdnsPacket { response: true, answers, ..MdnsPacket::default() });
    }

    /// All records of a claim.
    fn of_claim(&self, link: LinkId, n: usize) -> Vec<RecordId> {
        let Some(state) = self.links.get(&link) else { return Vec::new() };
        let (claim, addresses) = (&self.claims[n], &state.link.addresses);
        unique(n, claim, addresses).into_iter().chain(shared(n, claim).into_iter().map(|(id, _)| id)).collect()
    }

    fn records(&self, link: LinkId, ids: &[RecordId]) -> Vec<MdnsRecord> {
        let addresses: &[IpAddr] = self.links.get(&link).map_or(&[], |state| &state.link.addresses);
        ids.iter().filter_map(|id| record(&self.claims, *id, addresses)).collect()
    }

    /// What a probe claims.
    fn claimed(&self, link: LinkId, n: usize) -> Vec<MdnsRecord> {
        let ids = self.of_claim(link, n);
        let ids: Vec<RecordId> =
            ids.into_iter().filter(|id| !id.is_shared() && !matches!(id, RecordId::Kinds(_))).collect();
        self.records(link, &ids)
    }

    fn send(&mut self, now: Duration, link: LinkId, packet: MdnsPacket) {
        if packet.questions.is_empty() && packet.answers.is_empty() {
            return;
        }
        for bytes in packet.packets() {
            self.echoes.push_back((now, fingerprint(&bytes)));
            self.out.push(Datagram { link, to: None, bytes });
        }
        while self.echoes.len() > ECHOES {
            self.echoes.pop_front();
        }
    }

    /// Whether a packet is our own, which came back: from this link, or through another one.
    fn is_echo(&mut self, now: Duration, bytes: &[u8]) -> bool {
        while self.echoes.front().is_some_and(|(at, _)| now.saturating_sub(*at) > ECHO_AGE) {
            self.echoes.pop_front();
        }
        !self.echoes.is_empty() && {
            let print = fingerprint(bytes);
            self.echoes.iter().any(|(_, known)| *known == print)
        }
    }

    /// Whether somebody is this box itself.
    fn is_own(&self, ip: IpAddr) -> bool {
        self.links.values().any(|state| state.link.networks.iter().any(|(own, _)| *own == ip))
    }

    // Claims.

    fn probe(&mut self, now: Duration, id: LinkId) {
        let Some(state) = self.links.get_mut(&id) else { return };
        let (mut asked, mut probed) = (Vec::new(), Vec::new());
        for (n, phase) in state.phases.iter_mut().enumerate() {
            match *phase {
                Phase::Asking(PROBES, at) if at <= now => *phase = Phase::Probing(0, now),
                _ => {}
            }
            match *phase {
                Phase::Asking(sent, at) if at <= now => {
                    *phase = Phase::Asking(sent + 1, now + PROBE_PAUSE);
                    asked.push(n);
                }
                Phase::Probing(PROBES, at) if at <= now => *phase = Phase::Announcing(0, now),
                Phase::Probing(sent, at) if at <= now => {
                    *phase = Phase::Probing(sent + 1, now + PROBE_PAUSE);
                    probed.push(n);
                }
                _ => {}
            }
        }
        // Who leads to the host by a new name says so.
        if state.phases.first() == Some(&Phase::Announcing(0, now)) {
            let others = state.phases.iter_mut().filter(|phase| **phase == Phase::Up);
            others.for_each(|phase| *phase = Phase::Announcing(0, now));
        }
        let asked = asked.into_iter().map(|n| (self.question(n), Vec::new()));
        let probed = probed.into_iter().map(|n| (self.question(n), self.claimed(id, n)));
        let probes: Vec<(MdnsQuestion, Vec<MdnsRecord>)> = asked.chain(probed).collect();
        self.send_probes(now, id, &probes);
    }

    /// Unicast would be given to one of all who listen at the port, and that may be another program on this box (RFC 6762 §15.1).
    fn question(&self, n: usize) -> MdnsQuestion {
        MdnsQuestion { unicast: !self.cautious, ..self.claims[n].probe() }
    }

    /// As many in a packet as fit: each with what it claims.
    fn send_probes(&mut self, now: Duration, link: LinkId, probes: &[(MdnsQuestion, Vec<MdnsRecord>)]) {
        let packet = MdnsPacket {
            questions: probes.iter().map(|(question, _)| question.clone()).collect(),
            authority: probes.iter().flat_map(|(_, records)| records.clone()).collect(),
            ..MdnsPacket::default()
        };
        if probes.len() > 1 && packet.write().is_none() {
            let (one, other) = probes.split_at(probes.len() / 2);
            self.send_probes(now, link, one);
            return self.send_probes(now, link, other);
        }
        self.send(now, link, packet);
    }

    fn announce(&mut self, now: Duration, id: LinkId) {
        let Some(state) = self.links.get_mut(&id) else { return };
        let mut announced = Vec::new();
        for (n, phase) in state.phases.iter_mut().enumerate() {
            let Phase::Announcing(sent, at) = *phase else { continue };
            if at <= now {
                let is_last = sent + 1 == ANNOUNCEMENTS;
                *phase = if is_last { Phase::Up } else { Phase::Announcing(sent + 1, now + ANNOUNCEMENT_PAUSE) };
                announced.push(n);
            }
        }
        let ids: Vec<RecordId> = announced.into_iter().flat_map(|n| self.of_claim(id, n)).collect();
        self.multicast(now, id, &ids, &[]);
    }

    fn multicast(&mut self, now: Duration, link: LinkId, ids: &[RecordId], along: &[RecordId]) {
        let (answers, additional) = (self.records(link, ids), self.records(link, along));
        if let Some(state) = self.links.get_mut(&link) {
            for id in ids {
                state.pending.remove(id);
                state.last.insert(*id, now);
            }
        }
        self.send(now, link, MdnsPacket { response: true, answers, additional, ..MdnsPacket::default() });
    }

    /// Somebody else has a name that we have not yet.
    fn lost(&mut self, now: Duration, n: usize) {
        self.conflicts.retain(|at| now.saturating_sub(*at) < CONFLICT_WINDOW);
        self.conflicts.push_back(now);
        let is_slow = self.conflicts.len() >= CONFLICTS || now < self.slow_until;
        let pause = if is_slow { CONFLICT_PAUSE } else { Duration::ZERO };
        if is_slow {
            self.slow_until = now + CONFLICT_CALM;
        }
        // On another link it may have been ours.
        for id in self.links.keys().copied().collect::<Vec<_>>() {
            if self.links[&id].phases[n].answers() {
                let ids: Vec<_> = self.of_claim(id, n).into_iter().filter(|id| !id.is_shared()).collect();
                self.goodbye(now, id, &ids);
            }
        }
        let from = self.claims[n].told();
        let news = match self.claims[n].rename() {
            true => MdnsNews::Renamed { from, to: self.claims[n].told() },
            false => {
                self.standing[n] = Standing::Refused(now + RETRY);
                MdnsNews::Taken(from)
            }
        };
        self.tell(n, news);
        self.begin(n, now + pause);
    }

    /// Another program on this box has the host's name: it keeps it, and what we have to offer leads there.
    fn leave(&mut self, now: Duration, n: usize) {
        self.standing[n] = Standing::Refused(now + RETRY);
        self.cautious = true;
        self.tell(n, MdnsNews::Elsewhere(self.claims[n].told()));
        self.begin(n, now);
    }

    /// What is tried again and again is told once.
    fn tell(&mut self, n: usize, news: MdnsNews) {
        if self.told[n].as_ref() != Some(&news) {
            self.told[n] = Some(news.clone());
            self.news.push(news);
        }
    }

    /// Somebody probes for a name that we probe for, too: whose records come later in their order has it (RFC 6762 §8.2).
    fn contest(&mut self, now: Duration, link: LinkId, from: IpAddr, packet: &MdnsPacket) {
        for n in 0..self.claims.len() {
            let name = &self.claims[n].name;
            let is_probed = packet.questions.iter().any(|question| question.name == *name);
            let mut theirs: Vec<_> = packet.authority.iter().filter(|record| record.name == *name).collect();
            let phase = self.links.get(&link).map_or(Phase::Idle, |state| state.phases[n]);
            if !is_probed || theirs.is_empty() || !matches!(phase, Phase::Asking(..) | Phase::Probing(..)) {
                continue;
            }
            if self.is_own(from) && self.claims[n].what == Use::Host {
                self.leave(now, n);
                continue;
            }
            let claimed = self.claimed(link, n);
            let mut ours: Vec<_> = claimed.iter().map(MdnsRecord::rank).collect();
            ours.sort_unstable();
            theirs.sort_unstable_by_key(|record| record.rank());
            let deferred = self.first_phase(n, now + DEFERRED);
            if ours.into_iter().lt(theirs.into_iter().map(MdnsRecord::rank))
                && let Some(state) = self.links.get_mut(&link)
            {
                state.phases[n] = deferred;
            }
        }
    }

    // Responses of others.

    fn heard(&mut self, now: Duration, link: LinkId, from: IpAddr, packet: &MdnsPacket) {
        let mut contested = BTreeSet::new();
        for theirs in packet.answers.iter().chain(&packet.additional) {
            for n in 0..self.claims.len() {
                if self.claims[n].name == theirs.name {
                    if self.is_contested(now, link, n, theirs, from) {
                        contested.insert(n);
                    }
                } else {
                    self.shared_heard(now, link, n, theirs);
                }
            }
        }
        for n in contested {
            let Some(phase) = self.links.get(&link).map(|state| state.phases[n]) else { continue };
            if self.is_own(from) && self.claims[n].what == Use::Host {
                self.leave(now, n);
            } else if !phase.answers() {
                self.lost(now, n);
            } else {
                // Both are asked whether they are still there (RFC 6762 §9).
                let at = now + self.millis(0, PROBE_PAUSE.as_millis() as u32);
                let phase = self.first_phase(n, at);
                if let Some(state) = self.links.get_mut(&link) {
                    state.forget(n);
                    state.phases[n] = phase;
                }
            }
        }
    }

    /// Whether a record of somebody else, under a name of ours, is in conflict with ours (RFC 6762 §9). One that says the same, but is
    /// to be forgotten sooner, is said again as it is.
    fn is_contested(&mut self, now: Duration, link: LinkId, n: usize, theirs: &MdnsRecord, from: IpAddr) -> bool {
        let on_box = self.is_own(from) && self.claims[n].what == Use::Host;
        let is_ours = |state: &LinkState| {
            let ids = unique(n, &self.claims[n], &state.link.addresses);
            ids.into_iter().find(|id| {
                let ours = record(&self.claims, *id, &state.link.addresses);
                ours.is_some_and(|ours| ours.says_the_same(theirs))
            })
        };
        let Some(state) = self.links.get(&link) else { return false };
        let here = is_ours(state);
        match state.phases[n] {
            Phase::Idle => return false,
            // It was not our question that was answered, and that comes.
            Phase::Asking(0, _) | Phase::Probing(0, _) if !on_box => return false,
            phase if phase.answers() && here.is_some() => {
                let ttl_s = here.and_then(|id| self.records(link, &[id]).pop()).map_or(0, |ours| ours.ttl_s);
                if theirs.ttl_s < ttl_s / 2
                    && let (Some(id), Some(state)) = (here, self.links.get_mut(&link))
                {
                    state.rescue(now, id);
                }
                return false;
            }
            _ => {}
        }
        if theirs.ttl_s == 0 || theirs.kind == Rtype::NSEC {
            return false;
        }
        if on_box && !state.phases[n].answers() {
            return true;
        }
        // We are on another link, and both are one network (RFC 6762 §14).
        if self.links.values().any(|state| is_ours(state).is_some()) {
            return false;
        }
        let is_of_kind = |id: &RecordId| id.kind() == theirs.kind;
        !state.phases[n].answers() || unique(n, &self.claims[n], &state.link.addresses).iter().any(is_of_kind)
    }

    /// Somebody else has said what we would say (RFC 6762 §7.4), or that it is no more.
    fn shared_heard(&mut self, now: Duration, link: LinkId, n: usize, theirs: &MdnsRecord) {
        let ids = shared(n, &self.claims[n]).into_iter().filter(|(_, name)| *name == theirs.name);
        for id in ids.map(|(id, _)| id).collect::<Vec<_>>() {
            let ours = self.records(link, &[id]).pop().filter(|ours| ours.says_the_same(theirs));
            let (Some(ours), Some(state)) = (ours, self.links.get_mut(&link)) else { continue };
            if !state.phases[n].answers() {
                continue;
            }
            if theirs.ttl_s < ours.ttl_s / 2 {
                state.rescue(now, id);
            } else if theirs.ttl_s >= ours.ttl_s && state.pending.remove(&id).is_some() {
                state.last.insert(id, now);
            }
        }
    }

    // Questions of others.

    fn asked(&mut self, now: Duration, link: LinkId, from: SocketAddr, packet: &MdnsPacket) {
        let is_legacy = from.port() != PORT;
        if !is_legacy && !packet.authority.is_empty() {
            self.contest(now, link, from.ip(), packet);
        }
        let (mut all, mut alone) = (BTreeSet::new(), BTreeSet::new());
        for question in &packet.questions {
            let to = if question.unicast || is_legacy { &mut alone } else { &mut all };
            to.extend(self.matching(link, question));
        }
        if is_legacy {
            return self.answer_legacy(link, from, packet, alone);
        }
        self.known(now, link, from, packet, [&mut all, &mut alone]);
        let Some(state) = self.links.get_mut(&link) else { return };
        if packet.truncated && state.held.len() < HELD && !(all.is_empty() && alone.is_empty()) {
            let (due, most) = (now + self.millis(MORE_MS.0, MORE_MS.1), now + MORE_MOST);
            let wanted = all.into_iter().chain(alone).collect();
            if let Some(state) = self.links.get_mut(&link) {
                state.held.push(HeldQuestion { from, wanted, due, most });
            }
            return;
        }
        // What was not multicast for long is, for all who keep it (RFC 6762 §5.4).
        let recent = |id: &RecordId| {
            let quarter = record(&self.claims, *id, &state.link.addresses).map_or(0, |ours| ours.ttl_s / 4);
            state.last.get(id).is_some_and(|last| now.saturating_sub(*last) < Duration::from_secs(quarter.into()))
        };
        let (alone, old): (BTreeSet<_>, BTreeSet<_>) = alone.into_iter().partition(recent);
        all.extend(old);
        let defended: BTreeSet<usize> = match packet.authority.is_empty() {
            true => BTreeSet::new(),
            false => all.iter().filter(|id| !id.is_shared()).map(|id| id.claim()).collect(),
        };
        self.schedule(now, link, &all, &defended);
        self.answer_alone(link, from, alone);
    }

    /// Takes out what the asker knows, of this question and of those before it (RFC 6762 §7.1, §7.2).
    fn known(
        &mut self,
        now: Duration,
        link: LinkId,
        from: SocketAddr,
        packet: &MdnsPacket,
        mut wanted: [&mut BTreeSet<RecordId>; 2],
    ) {
        let more = if packet.truncated { self.millis(MORE_MS.0, MORE_MS.1) } else { Duration::ZERO };
        let (claims, Some(state)) = (&self.claims, self.links.get_mut(&link)) else { return };
        let addresses = &state.link.addresses;
        let is_known = |id: &RecordId| {
            let Some(ours) = record(claims, *id, addresses) else { return false };
            packet.answers.iter().any(|theirs| theirs.ttl_s >= ours.ttl_s / 2 && theirs.says_the_same(&ours))
        };
        wanted.iter_mut().for_each(|wanted| wanted.retain(|id| !is_known(id)));
        for held in state.held.iter_mut().filter(|held| held.from == from) {
            held.wanted.retain(|id| !is_known(id));
            if packet.truncated {
                held.due = (now + more).min(held.most);
            }
        }
    }

    /// To everybody: at once if it is ours alone, else a little later, when others may have said it.
    fn schedule(&mut self, now: Duration, link: LinkId, ids: &BTreeSet<RecordId>, defended: &BTreeSet<usize>) {
        let at = match ids.iter().any(|id| id.is_shared()) {
            true => now + self.millis(ANSWER_MS.0, ANSWER_MS.1),
            false => now,
        };
        let Some(state) = self.links.get_mut(&link) else { return };
        for id in ids {
            match defended.contains(&id.claim()) {
                true => state.schedule(*id, now, DEFENCE_PAUSE),
                false => state.schedule(*id, at, RECORD_PAUSE),
            }
        }
    }

    /// The records that answer a question; where there is none of its kind under a name of ours, what says so (RFC 6762 §6.1).
    fn matching(&self, link: LinkId, question: &MdnsQuestion) -> Vec<RecordId> {
        let Some(state) = self.links.get(&link) else { return Vec::new() };
        let fits = |id: &RecordId| id.kind() == question.kind || question.kind == Rtype::ANY;
        let mut found = Vec::new();
        for (n, claim) in self.claims.iter().enumerate().filter(|(n, _)| state.phases[*n].answers()) {
            if claim.name == question.name {
                let mut ids = unique(n, claim, &state.link.addresses);
                let kinds = ids.pop();
                let before = found.len();
                found.extend(ids.into_iter().filter(fits));
                found.extend(kinds.filter(|_| found.len() == before));
            } else {
                let ids = shared(n, claim).into_iter().filter(|(_, name)| *name == question.name);
                found.extend(ids.map(|(id, _)| id).filter(fits));
            }
        }
        found
    }

    /// What whoever gets these records will ask for next (RFC 6763 §12).
    fn along(&self, link: LinkId, ids: &BTreeSet<RecordId>) -> Vec<RecordId> {
        let Some(state) = self.links.get(&link) else { return Vec::new() };
        let mut found = BTreeSet::new();
        for id in ids {
            let n = id.claim();
            let host = match id {
                RecordId::Instance(_) => {
                    found.extend([RecordId::Place(n), RecordId::Text(n)]);
                    0
                }
                RecordId::Place(_) => 0,
                RecordId::Address(..) => n,
                RecordId::Text(_) | RecordId::Kinds(_) | RecordId::Type(_) => continue,
            };
            if state.phases.get(host).is_some_and(|phase| phase.answers()) {
                let all = unique(host, &self.claims[host], &state.link.addresses);
                // That there is none of a family is worth a word where there is none.
                let families = [IpAddr::is_ipv4, IpAddr::is_ipv6].map(|is| state.link.addresses.iter().any(is));
                let is_worth = |id: &RecordId| !matches!(id, RecordId::Kinds(_)) || families != [true, true];
                found.extend(all.into_iter().filter(is_worth));
            }
        }
        found.difference(ids).copied().collect()
    }

    /// What waited for known answers waits no longer.
    fn release(&mut self, now: Duration, link: LinkId) {
        let Some(state) = self.links.get_mut(&link) else { return };
        let (due, held) = std::mem::take(&mut state.held).into_iter().partition(|held| held.due <= now);
        state.held = held;
        for id in Vec::<HeldQuestion>::into_iter(due).flat_map(|held| held.wanted) {
            state.schedule(id, now, RECORD_PAUSE);
        }
    }

    fn answer(&mut self, now: Duration, link: LinkId) {
        let Some(state) = self.links.get(&link) else { return };
        let due: BTreeSet<RecordId> = state.pending.iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        if !due.is_empty() {
            let along = self.along(link, &due);
            self.multicast(now, link, &due.into_iter().collect::<Vec<_>>(), &along);
        }
    }

    /// To the asker alone, at once (RFC 6762 §5.4).
    fn answer_alone(&mut self, link: LinkId, to: SocketAddr, ids: BTreeSet<RecordId>) {
        if ids.is_empty() {
            return;
        }
        let additional = self.records(link, &self.along(link, &ids));
        let answers = self.records(link, &ids.into_iter().collect::<Vec<_>>());
        let packet = MdnsPacket { response: true, answers, additional, ..MdnsPacket::default() };
        self.out.extend(packet.packets().into_iter().map(|bytes| Datagram { link, to: Some(to), bytes }));
    }

    /// To who knows nothing of multicast DNS: as an answer of DNS, in one packet (RFC 6762 §6.7).
    fn answer_legacy(&mut self, link: LinkId, to: SocketAddr, asked: &MdnsPacket, ids: BTreeSet<RecordId>) {
        if ids.is_empty() {
            return;
        }
        let plain = |record: MdnsRecord| MdnsRecord { flush: false, ttl_s: record.ttl_s.min(LEGACY_TTL_S), ..record };
        let additional = self.records(link, &self.along(link, &ids)).into_iter().map(plain).collect();
        let answers = self.records(link, &ids.into_iter().collect::<Vec<_>>()).into_iter().map(plain).collect();
        let questions = asked.questions.iter().map(|question| MdnsQuestion { unicast: false, ..question.clone() });
        let packet = MdnsPacket {
            id: asked.id,
            response: true,
            questions: questions.collect(),
            answers,
            additional,
            ..MdnsPacket::default()
        };
        self.out.extend(packet.packets().into_iter().take(1).map(|bytes| Datagram { link, to: Some(to), bytes }));
    }
}

/// A short stand-in for a packet of ours.
fn fingerprint(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
