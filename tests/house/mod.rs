//! A whole server in memory: streams, core and storage, driven by hand. The clock is a number, the disk a map, the network two
//! strings; nothing happens that the test did not ask for.
#![allow(dead_code, clippy::unwrap_used)]

pub mod messages;
pub mod remote;
pub mod servers;

use base64::Engine as _;
use inglenook::core::{
    Command, Core, Effect, Input, InvitationKind, InvitationView, Job, NotifyRefusal, Now, Settings, Slot, SlotRefusal,
    StreamId, TakeRefusal, WantedSlot,
};
use inglenook::service::net::link::{ClientLink, End, Link, Mail, ServerLink, Step};
use inglenook::store::memory::Memory;
use inglenook::store::{Batch, Engine, Query};
use inglenook::stream::c2s::C2s;
use inglenook::stream::framing::Framing;
use inglenook::stream::s2s::{DialbackSecret, Evidence, S2s, ServerTerms};
use inglenook::stream::{Terms, Tls};
use inglenook::wire::framer::{Frame, Framer, Limits};
use inglenook::wire::scram::Credentials;
use inglenook::wire::{DomainPair, Jid, Manage, Proof, Refusal, StreamError};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// The domain of all tests.
pub const DOMAIN: &str = "house.test";

/// 2026-01-01T00:00:00Z
const START: u64 = 1_767_225_600_000;

/// What a test may say and be told.
const WIDE: Limits = Limits { element_bytes: 1 << 24, depth: 1000, elements: 100_000, attributes: 1000 };

/// The stream of a connection: of a client, or of another server.
#[allow(clippy::large_enum_variant)]
enum Line {
    Client(Box<ClientLink>),
    Server(Box<ServerLink>),
}

/// What both can do.
impl Line {
    fn next(&mut self, now: u64, input: &mut &[u8], out: &mut String) -> Option<Step> {
        match self {
            Line::Client(link) => link.next(now, input, out),
            Line::Server(link) => link.next(now, input, out),
        }
    }

    fn waits(&self) -> bool {
        match self {
            Line::Client(link) => link.waits(),
            Line::Server(link) => link.waits(),
        }
    }

    fn take(&mut self, mail: Mail, out: &mut String) -> Option<Step> {
        match self {
            Line::Client(link) => link.take(mail, out),
            Line::Server(link) => link.take(mail, out),
        }
    }

    fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        match self {
            Line::Client(link) => link.close(error, out),
            Line::Server(link) => link.close(error, out),
        }
    }

    fn deadline(&self) -> u64 {
        match self {
            Line::Client(link) => link.deadline(),
            Line::Server(link) => link.deadline(),
        }
    }

    fn expired(&mut self, now: u64, out: &mut String) -> Option<Step> {
        match self {
            Line::Client(link) => link.expired(now, out),
            Line::Server(link) => link.expired(now, out),
        }
    }
}

/// The certificate of another server.
#[derive(Debug)]
struct Named(Jid);

impl Evidence for Named {
    fn proves(&self, domain: &Jid) -> Result<Proof, String> {
        if *domain == self.0 { Ok(Proof::Certificate) } else { Err("it is for another domain".into()) }
    }
}

/// One client's connection, or another server's, seen from the server.
struct Connection {
    link: Line,
    /// What it sent and the stream has not taken yet.
    unread: Vec<u8>,
    /// What was written to it: whole elements, and stream headers and ends as they are.
    inbox: VecDeque<String>,
    framer: Framer,
    /// What it says, if what carries it has messages: they are made of that.
    says: Option<Framer>,
    /// The server hung up.
    closed: bool,
    /// Bound in the core.
    bound: Option<Jid>,
}

enum StoreWork {
    Commit(u64, Batch),
    Ask(Job, Query),
}

/// The server.
pub struct House {
    core: Core,
    disk: Memory,
    settings: Settings,
    terms: Arc<Terms>,
    /// What carries connections that begin later. Tests speak and see the streams of TCP, whatever it is.
    pub framing: Framing,
    /// The time.
    pub now: Now,
    connections: BTreeMap<StreamId, Connection>,
    /// Streams with other servers.
    servers: BTreeMap<StreamId, servers::Connection>,
    /// Streams to other servers that the core wants.
    dials: Vec<DomainPair>,
    /// They can be made: the test does. Else nobody is reached.
    pub has_neighbours: bool,
    next: u64,
    wake: Option<u64>,
    to_store: VecDeque<StoreWork>,
    /// Nothing is committed while this is set.
    pub hold: bool,
    full: bool,
    /// How many slots each account was given for files. Files themselves do not come here.
    slots: BTreeMap<Jid, usize>,
    /// Answers to commands.
    pub told: Vec<Result<Vec<String>, String>>,
    /// What became of notifications.
    pub notified: Vec<Result<String, NotifyRefusal>>,
    /// What became of invitations that were taken.
    pub taken: Vec<Result<Jid, TakeRefusal>>,
    /// Every stanza that was written, in bytes: what a test that counts work looks at.
    pub written: usize,
    /// What was committed, in batches.
    pub commits: usize,
}

/// Where everybody is.
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// An id that no test uses.
const BIND_ID: &str = "house-bind";

impl House {
    /// An empty house.
    pub fn new() -> House {
        House::with(|_| {})
    }

    /// An empty house with other settings.
    pub fn with(change: impl FnOnce(&mut Settings)) -> House {
        let mut settings = Settings::new(Jid::parse(DOMAIN).unwrap());
        settings.iterations = 4096;
        change(&mut settings);
        House::boot(settings, Memory::default(), Now { mono: 1_000, wall: START }, 1)
    }

    fn boot(settings: Settings, mut disk: Memory, now: Now, run: u64) -> House {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&run.to_le_bytes());
        // Another house has other secrets.
        seed[8] ^= u8::from(settings.domain.as_str() != DOMAIN);
        let core = Core::open(settings.clone(), seed, inglenook::ext::all(), &mut disk).unwrap();
        let terms = Terms {
            domain: settings.domain.clone(),
            plain: true,
            registration: settings.registration,
            features: core.stream_features(),
            bind_features: core.bind_features(),
            upgrades: core.upgrades(),
        };
        House {
            core,
            disk,
            settings,
            terms: Arc::new(terms),
            framing: Framing::Tcp,
            now,
            connections: BTreeMap::new(),
            servers: BTreeMap::new(),
            dials: Vec::new(),
            has_neighbours: false,
            next: run * 1_000_000,
            wake: None,
            to_store: VecDeque::new(),
            hold: false,
            full: false,
            slots: BTreeMap::new(),
            told: Vec::new(),
            notified: Vec::new(),
            taken: Vec::new(),
            written: 0,
            commits: 0,
        }
    }

    /// What is stored.
    pub fn disk(&mut self) -> &mut Memory {
        &mut self.disk
    }

    /// The state of the core.
    pub fn state(&self) -> &inglenook::core::State {
        self.core.state()
    }

    /// Makes an account; its password is its name.
    pub fn account(&mut self, jid: &str) {
        let jid = Jid::parse(jid).unwrap().bare();
        if self.core.state().account(&jid).is_some() {
            return;
        }
        let credentials = Credentials::derive(jid.local().unwrap(), b"salt of the tests", 4096).unwrap();
        let (hold, full) = (self.hold, self.full);
        self.hold = false;
        self.full = false;
        self.input(Input::Command(Job(u64::MAX), Command::UserAdd(jid, credentials)));
        assert!(matches!(self.told.pop(), Some(Ok(_))), "the account was not made");
        (self.hold, self.full) = (hold, full);
    }

    /// A connection after its TLS handshake.
    pub fn open(&mut self) -> StreamId {
        self.open_from(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }

    /// The same from another address.
    pub fn open_from(&mut self, peer: IpAddr) -> StreamId {
        self.next += 1;
        let sid = StreamId(self.next);
        let mut random = [3; 32];
        random[..8].copy_from_slice(&sid.0.to_le_bytes());
        let tls = Tls { exporter: Some([9; 32]), end_point: Box::new([8; 32]) };
        let connection = Connection {
            link: Line::Client(Box::new(ClientLink::new(
                sid,
                peer,
                C2s::new(self.framing, self.terms.clone(), tls, self.now.mono, random),
            ))),
            unread: Vec::new(),
            inbox: VecDeque::new(),
            framer: Framer::new(WIDE),
            says: (self.framing == Framing::WebSocket).then(|| Framer::new(WIDE)),
            closed: false,
            bound: None,
        };
        self.connections.insert(sid, connection);
        sid
    }

    /// A stream of another server, which has proved that it speaks for `theirs`, to a domain of ours; stanzas go both ways (XEP-0288). All
    /// that this wrote is swallowed.
    pub fn server(&mut self, theirs: &str, ours: &str) -> StreamId {
        self.next += 1;
        let sid = StreamId(self.next);
        let domains = self.core.state().domains().map(|domain| Jid::parse(domain).unwrap()).collect();
        let terms = Arc::new(ServerTerms { domains, secret: DialbackSecret::new([4; 32]) });
        let evidence = Box::new(Named(Jid::parse(theirs).unwrap()));
        let mut random = [5; 32];
        random[..8].copy_from_slice(&sid.0.to_le_bytes());
        let stream = S2s::incoming(terms, Some(evidence), self.now.mono, random);
        let connection = Connection {
            link: Line::Server(Box::new(ServerLink::incoming(sid, stream, self.now.mono))),
            unread: Vec::new(),
            inbox: VecDeque::new(),
            framer: Framer::new(WIDE),
            says: None,
            closed: false,
            bound: None,
        };
        self.connections.insert(sid, connection);
        let header = format!(
            "<stream:stream from='{theirs}' to='{ours}' version='1.0' xmlns='jabber:server' xmlns:db='jabber:server:dialback' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        );
        self.send(sid, &header);
        self.send(
            sid,
            "<bidi xmlns='urn:xmpp:bidi'/><auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>",
        );
        let got = self.receive_all(sid);
        assert!(got.last().is_some_and(|x| x.starts_with("<success")), "no success, but {got:?}");
        self.send(sid, &header);
        // Whoever says something before it asks for stream management does not want any.
        self.send(sid, &format!("<iq type='result' id='house-first' from='{theirs}' to='{ours}'/>"));
        self.receive_all(sid);
        sid
    }

    /// A stream that is authenticated and not bound. All that the login wrote is swallowed.
    pub fn authenticate(&mut self, jid: &str) -> StreamId {
        self.account(jid);
        let jid = Jid::parse(jid).unwrap();
        let sid = self.open();
        let header = format!(
            "<stream:stream to='{}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
            self.settings.domain
        );
        let local = jid.local().unwrap();
        let plain = base64::engine::general_purpose::STANDARD.encode(format!("\0{local}\0{local}"));
        self.send(sid, &header);
        self.send(sid, &format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"));
        let got: Vec<String> = self.receive_all(sid);
        assert!(got.last().is_some_and(|x| x.starts_with("<success")), "no success, but {got:?}");
        self.send(sid, &header);
        self.receive_all(sid);
        sid
    }

    /// A bound session of an account, made if it is not there. All that the login wrote is swallowed.
    pub fn login(&mut self, jid: &str) -> StreamId {
        let sid = self.authenticate(jid);
        let jid = Jid::parse(jid).unwrap();
        let resource = jid.resource().map(|r| format!("<resource>{r}</resource>")).unwrap_or_default();
        self.send(
            sid,
            &format!(
                "<iq type='set' id='{BIND_ID}'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind></iq>"
            ),
        );
        let got: Vec<String> = self.receive_all(sid);
        assert!(self.jid(sid).is_some(), "not bound: {got:?}");
        sid
    }

    /// The full JID of a bound session.
    pub fn jid(&self, sid: StreamId) -> Option<Jid> {
        self.connections.get(&sid)?.bound.clone()
    }

    /// Bytes from a client.
    pub fn send(&mut self, sid: StreamId, bytes: &str) {
        if let Some(c) = self.connections.get_mut(&sid) {
            if bytes.contains("<stream:stream") {
                c.framer.reset();
                c.says.iter_mut().for_each(Framer::reset);
            }
            match &mut c.says {
                None => c.unread.extend_from_slice(bytes.as_bytes()),
                Some(says) => c.unread.extend_from_slice(messages::of(says, bytes).as_bytes()),
            }
        }
        self.pump(sid);
        self.settle();
    }

    /// The next thing that was written to a client.
    pub fn receive(&mut self, sid: StreamId) -> Option<String> {
        self.connections.get_mut(&sid)?.inbox.pop_front()
    }

    /// All that was written to a client.
    pub fn receive_all(&mut self, sid: StreamId) -> Vec<String> {
        self.connections.get_mut(&sid).map(|c| c.inbox.drain(..).collect()).unwrap_or_default()
    }

    /// What was written to a client and not yet received.
    pub fn peek(&self, sid: StreamId) -> impl Iterator<Item = &str> {
        self.connections.get(&sid).into_iter().flat_map(|c| c.inbox.iter().map(String::as_str))
    }

    /// Whether the server hung up on a client.
    pub fn is_closed(&self, sid: StreamId) -> bool {
        self.connections.get(&sid).is_none_or(|c| c.closed)
    }

    /// The line to a client is cut.
    pub fn cut(&mut self, sid: StreamId) {
        self.hang_up(sid, false);
        self.settle();
    }

    /// Forgets connections that are over: what a test keeps of them is no part of the server.
    pub fn sweep(&mut self) {
        self.connections.retain(|_, c| !c.closed);
        for c in self.connections.values_mut() {
            c.inbox.shrink_to_fit();
            c.unread.shrink_to_fit();
        }
        self.told = Vec::new();
        self.to_store.shrink_to_fit();
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        let end = self.now.mono + ms;
        loop {
            let deadlines = self.connections.values().filter(|c| !c.closed).map(|c| c.link.deadline());
            let servers = self.servers.values().filter_map(servers::Connection::deadline);
            let next = deadlines.chain(servers).chain(self.wake).min().filter(|at| *at <= end);
            let Some(at) = next else { break };
            let at = at.max(self.now.mono);
            self.now.wall += at - self.now.mono;
            self.now.mono = at;
            if self.wake.is_some_and(|wake| wake <= at) {
                self.wake = None;
                self.input(Input::Tick);
            }
            let due: Vec<StreamId> = self
                .connections
                .iter()
                .filter(|(_, c)| !c.closed && c.link.deadline() <= at)
                .map(|(s, _)| *s)
                .collect();
            for sid in due {
                let now = self.now.mono;
                let mut out = String::new();
                let c = self.connections.get_mut(&sid).unwrap();
                let step = c.link.expired(now, &mut out);
                c.write(&out, &mut self.written);
                if let Some(step) = step {
                    self.step(sid, step);
                }
                let c = self.connections.get(&sid).unwrap();
                assert!(c.closed || c.link.deadline() > at, "a deadline that does not move");
            }
            self.servers_late(at);
            self.settle();
        }
        self.now.wall += end - self.now.mono;
        self.now.mono = end;
    }

    /// A command of the owner.
    pub fn command(&mut self, command: Command) {
        self.input(Input::Command(Job(u64::MAX), command));
    }

    /// What a page shows of an invitation.
    pub fn invitation(&mut self, token: &str) -> Result<InvitationView, TakeRefusal> {
        self.core.invitation(self.now, token, LOCALHOST)
    }

    /// Takes it, as a page does; the keys are those of every account here. `None`: that is not stored.
    pub fn take(&mut self, token: &str, name: &str) -> Option<Result<Jid, TakeRefusal>> {
        self.take_for(InvitationKind::Account, token, name)
    }

    /// The same, on the page for that.
    pub fn take_for(&mut self, kind: InvitationKind, token: &str, name: &str) -> Option<Result<Jid, TakeRefusal>> {
        let digest = match self.core.may_take(self.now, token, LOCALHOST, kind, (name, "wherefore art thou")) {
            Ok(digest) => digest,
            Err(refusal) => return Some(Err(refusal)),
        };
        let keys = Credentials::derive(name, b"salt of the tests", 4096).unwrap();
        self.input(Input::Take(Job(u64::MAX), digest, name.into(), keys, LOCALHOST));
        self.taken.pop()
    }

    /// The disk is full up to what is kept free, or there is room again.
    pub fn set_disk_full(&mut self, full: bool) {
        self.input(Input::Full(full));
        self.settle();
    }

    /// Storage refuses, or works again.
    pub fn set_full(&mut self, full: bool) {
        self.full = full;
        self.input(Input::Stalled(full));
        self.settle();
    }

    /// Storage goes on.
    pub fn release(&mut self) {
        self.hold = false;
        self.settle();
    }

    /// Whether a text is in the log, on the disk.
    pub fn is_logged(&mut self, text: &str) -> bool {
        let query = Query::Since { after: 0, rows: usize::MAX, bytes: usize::MAX };
        let rows = self.disk.query(&query).unwrap();
        rows.iter().any(|(_, value)| value.windows(text.len()).any(|part| part == text.as_bytes()))
    }

    /// What is waiting to be stored.
    pub fn uncommitted(&self) -> usize {
        self.to_store.iter().filter(|w| matches!(w, StoreWork::Commit(..))).count()
    }

    /// Does one piece of waiting storage work, if there is one.
    pub fn store_one(&mut self) -> bool {
        let Some(work) = self.to_store.pop_front() else { return false };
        match work {
            StoreWork::Commit(n, batch) => {
                self.disk.commit(&[batch]).unwrap();
                self.commits += 1;
                self.input(Input::Committed(n));
            }
            StoreWork::Ask(job, query) => {
                let rows = self.disk.query(&query).unwrap();
                self.input(Input::Answer(job, Some(rows)));
            }
        }
        true
    }

    /// All streams are cut, and what was not committed is lost; then the server starts anew.
    pub fn power_cut(&mut self) {
        let disk = std::mem::take(&mut self.disk);
        self.reboot(disk);
    }

    /// A clean end and a new start.
    pub fn restart(&mut self) {
        self.hold = false;
        let sids: Vec<StreamId> = self.connections.keys().copied().collect();
        for sid in sids {
            self.hang_up(sid, false);
        }
        for sid in self.servers.keys().copied().collect::<Vec<_>>() {
            self.cut_server(sid);
        }
        self.settle();
        let disk = std::mem::take(&mut self.disk);
        self.reboot(disk);
    }

    /// The same, with other settings.
    pub fn restart_with(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.restart();
    }

    /// The settings are read again, and are others.
    pub fn reload(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        assert!(self.core.configure(self.settings.clone()).is_empty());
        self.input(Input::Tick);
        self.settle();
    }

    fn reboot(&mut self, disk: Memory) {
        // As after a power cut the clock that never jumps begins anew, and the wall clock goes on.
        let now = Now { mono: 1_000, wall: self.now.wall };
        let (full, framing, has_neighbours) = (self.full, self.framing, self.has_neighbours);
        *self = House::boot(self.settings.clone(), disk, now, self.next / 1_000_000 + 1);
        (self.full, self.framing, self.has_neighbours) = (full, framing, has_neighbours);
    }

    /// Does storage work until there is none left or it is held back.
    pub fn settle(&mut self) {
        loop {
            let stuck = self.full && matches!(self.to_store.front(), Some(StoreWork::Commit(..)));
            if self.hold || stuck || !self.store_one() {
                return;
            }
        }
    }

    fn pump(&mut self, sid: StreamId) {
        loop {
            let now = self.now.mono;
            let Some(c) = self.connections.get_mut(&sid) else { return };
            if c.link.waits() || c.closed {
                return;
            }
            let mut out = String::new();
            let mut rest = &c.unread[..];
            let step = c.link.next(now, &mut rest, &mut out);
            let taken = c.unread.len() - rest.len();
            c.unread.drain(..taken);
            c.write(&out, &mut self.written);
            match step {
                Some(step) => self.step(sid, step),
                None => return,
            }
        }
    }

    fn step(&mut self, sid: StreamId, step: Step) {
        match step {
            Step::Tell(input) | Step::Proved(_, Some(input)) => self.input(input),
            Step::Proved(_, None) => {}
            Step::TellAndEnd(input, _) => self.input(input),
            Step::End(End::Told) => self.connections.get_mut(&sid).unwrap().closed = true,
            Step::End(end) => self.hang_up(sid, end == End::Clean),
        }
    }

    fn hang_up(&mut self, sid: StreamId, clean: bool) {
        if let Some(c) = self.connections.get_mut(&sid)
            && !c.closed
        {
            c.closed = true;
            self.input(Input::Closed(sid, clean));
        }
    }

    /// Something happens to the core, and what it wants is done, but for storage.
    pub fn input(&mut self, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut effects = Vec::new();
            self.core.handle(self.now, input, &mut effects);
            for effect in effects {
                self.perform(effect, &mut inputs);
            }
        }
        self.settle();
    }

    fn perform(&mut self, effect: Effect, inputs: &mut VecDeque<Input>) {
        match Mail::of(effect) {
            Ok((sid, mail)) => self.deliver(sid, mail),
            Err(Effect::Commit(n, batch)) => self.to_store.push_back(StoreWork::Commit(n, batch)),
            Err(Effect::Ask(job, query)) => self.to_store.push_back(StoreWork::Ask(job, query)),
            Err(Effect::Hash(job, password, iterations)) => {
                let keys = Credentials::derive(&password, b"salt of the tests", iterations).ok();
                inputs.push_back(Input::Hashed(job, keys));
            }
            Err(Effect::Slot(job, wanted)) => inputs.push_back(Input::Slot(job, self.slot(&wanted))),
            Err(Effect::RemoveFiles(account)) => drop(self.slots.remove(&account)),
            Err(Effect::WakeAt(at)) => self.wake = Some(at),
            Err(Effect::Told(_, answer)) => self.told.push(answer),
            Err(Effect::Notified(_, answer)) => self.notified.push(answer),
            Err(Effect::Taken(_, answer)) => self.taken.push(answer),
            Err(Effect::Dial(pair)) if self.has_neighbours => self.dials.push(pair),
            // Nobody can be reached from here: others come.
            Err(Effect::Dial(pair)) => {
                let refusal = Refusal::wait("nobody can be dialled in a play");
                inputs.push_back(Input::PeerRefused(pair, refusal));
            }
            Err(other) => unreachable!("{other:?} is for a stream"),
        }
    }

    /// Slots by number, three for each account: what keeps files is tested with files.
    fn slot(&mut self, wanted: &WantedSlot) -> Result<Slot, SlotRefusal> {
        let count = self.slots.entry(wanted.owner.clone()).or_default();
        if *count == 3 {
            return Err(SlotRefusal::Later(90_000, "three are enough"));
        }
        *count += 1;
        let url = format!("https://{DOMAIN}:5443/upload/{count}/{}", wanted.name.len());
        Ok(Slot { put: url.clone(), get: url, authorization: format!("Bearer {count}") })
    }

    fn deliver(&mut self, sid: StreamId, mail: Mail) {
        if self.servers.contains_key(&sid) {
            return self.deliver_to_server(sid, mail);
        }
        let Some(c) = self.connections.get_mut(&sid).filter(|c| !c.closed) else { return };
        match &mail {
            Mail::Bound(answer) => c.bound = answer.clone().ok(),
            Mail::Begun(answer) => {
                c.bound = answer.as_ref().ok().map(|begun| begun.jid.clone()).filter(|jid| !jid.is_bare());
            }
            Mail::Manage(Manage::Resumed { jid, .. }) => c.bound = Some(jid.clone()),
            _ => {}
        }
        let waited = c.link.waits();
        let mut out = String::new();
        let step = c.link.take(mail, &mut out);
        c.write(&out, &mut self.written);
        let goes_on = waited && !c.link.waits();
        if let Some(step) = step {
            self.step(sid, step);
        }
        if goes_on {
            self.pump(sid);
        }
    }
}

impl Connection {
    fn write(&mut self, out: &str, written: &mut usize) {
        *written += out.len();
        if self.says.is_some() {
            self.inbox.extend(messages::read(out));
            return;
        }
        let mut rest = out.as_bytes();
        loop {
            let piece = match self.framer.next(&mut rest).expect("the server writes well-formed streams") {
                Some(Frame::Open(xml)) => xml.to_owned(),
                Some(Frame::Element(xml)) => xml.to_owned(),
                Some(Frame::Close) => "</stream:stream>".to_owned(),
                None => break,
            };
            self.inbox.push_back(piece);
        }
    }
}

/// What a play needs of the server it is played on.
pub trait Stage {
    /// Makes an account, if it is not there; its password is its name.
    fn account(&mut self, jid: &str);
    /// A connection behind TLS, without a stream.
    fn open(&mut self) -> StreamId;
    /// A bound session. All that the login wrote is swallowed.
    fn login(&mut self, jid: &str) -> StreamId;
    /// A stream that is authenticated and not bound, if that can be had here.
    fn authenticate(&mut self, _jid: &str) -> Option<StreamId> {
        None
    }
    /// Its full JID.
    fn jid(&self, sid: StreamId) -> Option<Jid>;
    /// A client sends something; all consequences are there when this returns.
    fn send(&mut self, sid: StreamId, xml: &str);
    /// The next thing that it was sent.
    fn receive(&mut self, sid: StreamId) -> Option<String>;
    /// All that it was sent.
    fn receive_all(&mut self, sid: StreamId) -> Vec<String>;
    /// The same, and leaves it there.
    fn peek(&self, sid: StreamId) -> Vec<String>;
    /// Whether the server hung up.
    fn is_closed(&self, sid: StreamId) -> bool;
    /// The line is cut.
    fn cut(&mut self, sid: StreamId);
    /// The house in memory, for what can be done to that alone.
    fn house(&mut self) -> Option<&mut House> {
        None
    }
}

impl Stage for House {
    fn account(&mut self, jid: &str) {
        House::account(self, jid);
    }
    fn open(&mut self) -> StreamId {
        House::open(self)
    }
    fn login(&mut self, jid: &str) -> StreamId {
        House::login(self, jid)
    }
    fn authenticate(&mut self, jid: &str) -> Option<StreamId> {
        Some(House::authenticate(self, jid))
    }
    fn jid(&self, sid: StreamId) -> Option<Jid> {
        House::jid(self, sid)
    }
    fn send(&mut self, sid: StreamId, xml: &str) {
        House::send(self, sid, xml);
    }
    fn receive(&mut self, sid: StreamId) -> Option<String> {
        House::receive(self, sid)
    }
    fn receive_all(&mut self, sid: StreamId) -> Vec<String> {
        House::receive_all(self, sid)
    }
    fn peek(&self, sid: StreamId) -> Vec<String> {
        House::peek(self, sid).map(str::to_owned).collect()
    }
    fn is_closed(&self, sid: StreamId) -> bool {
        House::is_closed(self, sid)
    }
    fn cut(&mut self, sid: StreamId) {
        House::cut(self, sid);
    }
    fn house(&mut self) -> Option<&mut House> {
        Some(self)
    }
}

/// A small generator of numbers for tests: the same seed, the same numbers.
pub struct Dice(u64);

impl Dice {
    /// From a seed.
    pub fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// A number below `n`.
    pub fn roll(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}
