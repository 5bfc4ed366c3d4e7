//! What everybody shares: accounts, sessions, the changes to be stored, and the ways to say something.

use super::about::About;
use super::account::Account;
use super::archived::Archived;
use super::clock::Clock;
use super::effect::{Effect, Now};
use super::event::Event;
use super::ids::{Job, SessionId, StreamId};
use super::login::Login;
use super::message::archive::Draft;
use super::message::deliveries::Deliveries;
use super::message::quiet::Worth;
use super::message::streams::Streams;
use super::number::Numbers;
use super::outcome::{Flow, Handled};
use super::peers::Peers;
use super::random::Random;
use super::reading::Reading;
use super::session::Session;
use super::settings::Settings;
use super::throttle::Throttle;
use super::token::Tokens;
use super::unordered::{ByName, ByNumber};
use super::work::{Ack, Payer, Timer, Undo, Work};
use super::written::{Written, over_share};
use crate::store::{BATCH_OPS, Batch, Query, Tree, key};
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, StreamError, Type};
use std::collections::{BTreeMap, VecDeque};

/// A batch is sealed at the end of a step once it has so many changes; a single step must stay below what remains.
const SEAL_OPS: usize = BATCH_OPS / 2;

/// Requests to one client that wait for its answer.
const REQUESTS: usize = 64;

/// A service on a subdomain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// The extension that serves it.
    pub(super) extension: usize,
    /// What it is called in service discovery.
    pub name: Box<str>,
}

/// Why nothing is stored, and what the owner of the box does about it.
pub(super) const FULL: &str = "the server's storage is full or failing";
pub(super) const CHECK: &str = "`inglenook check` says what is wrong; make room on that disk";

/// What a command of the owner has done, for the log: that, and what came of it.
fn logged(lines: &[String]) -> impl Iterator<Item = String> + '_ {
    let why = |n: usize| if n == 0 { ", as the owner wants" } else { "" };
    lines.iter().enumerate().map(move |(n, line)| format!("{line}{}", why(n)))
}

impl Ack {
    /// Whether it is told also while storage takes nothing: nobody is promised that a change is stored.
    fn can_be_told(&self) -> bool {
        matches!(self, Ack::Manage(..) | Ack::Login(_) | Ack::Resumed { .. } | Ack::Close(_, None))
    }

    /// What is told in its place when storage fails behind the change: that it is made and not stored. Who waits for ever learns less,
    /// and "done" or "not done" may both be wrong: it is stored as soon as that is possible, and lost if the server ends before.
    fn not_stored(self) -> Ack {
        const WHY: &str = "the server's storage is full or failing: this is not stored yet. It will be as soon as there is room; if the \
                           server ends before that, it is lost";
        let error = |stanza: Stanza| match (stanza.kind, stanza.ty) {
            (Kind::Iq, Type::Result) => {
                let mut request = stanza.clone();
                (request.from, request.to, request.ty) = (stanza.to.clone(), stanza.from.clone(), Type::Set);
                let error = StanzaError::new(Condition::ResourceConstraint).text(WHY);
                Stanza::error_of(&request, &error).unwrap_or(stanza)
            }
            _ => stanza,
        };
        match self {
            Ack::Reply(stanza) => Ack::Reply(error(stanza)),
            Ack::Registered(sid, stanza) => Ack::Registered(sid, error(stanza)),
            Ack::To(sid, stanza) => Ack::To(sid, error(stanza)),
            Ack::Told(job, Ok(_), changed) => Ack::Told(job, Err(format!("{WHY}. {CHECK}")), changed),
            Ack::Made(job, Ok(_), undo) => {
                let (what, jid) = match &undo {
                    Undo::Added(jid) => ("not added", jid),
                    Undo::Password(jid, _) => ("not given another password", jid),
                };
                let why =
                    format!("{jid} is {what}: the server's storage is full or failing. {CHECK}; then say it again");
                Ack::Made(job, Err(why), undo)
            }
            other => other,
        }
    }
}

/// The state of the server, and what it has to say in this turn.
#[derive(Debug)]
pub struct State {
    /// The settings.
    pub settings: Settings,
    /// The time of this turn.
    pub now: Now,
    /// When the first turn was, of [`Now::mono`].
    pub started: Option<u64>,
    /// The local accounts by localpart.
    pub accounts: ByName<Account>,
    /// What is archived, by localpart; also of accounts that were removed. Without an entry: the default.
    pub archives: ByName<Archived>,
    /// The bound sessions.
    pub sessions: ByNumber<SessionId, Session>,
    /// The services on subdomains, by their domains.
    pub services: BTreeMap<Box<str>, Service>,
    /// What the extensions say of themselves, in order.
    pub abouts: Vec<&'static About>,
    pub(super) peers: Peers,
    pub(super) throttle: Throttle,
    pub(super) tokens: Tokens,
    pub(super) logins: BTreeMap<StreamId, Login>,
    /// Which login a question belongs to, which extension, and which of its questions it is.
    pub(super) login_jobs: BTreeMap<Job, (StreamId, usize, usize)>,
    pub(super) secret: [u8; 32],
    pub(super) numbers: Numbers,
    pub(super) clock: Clock,
    pub(super) streams: Streams,
    pub(super) deliveries: Deliveries,
    pub(super) reading: Reading,
    pub(super) effects: Vec<Effect>,
    pub(super) work: VecDeque<Work>,
    pub(super) timers: BTreeMap<(u64, u64), Timer>,
    /// [`State::weigh_with`]
    pub(super) weigh: fn(&Stanza) -> Worth,
    /// When the world was last asked to wake us, until it does.
    pub(super) wakes: Option<u64>,
    /// Which extension a job belongs to.
    pub(super) jobs: BTreeMap<Job, usize>,
    /// When the time of a job comes that waits for that.
    pub(super) timed: BTreeMap<Job, u64>,
    /// Which job a request to a client belongs to.
    pub(super) requests: BTreeMap<(SessionId, String), Job>,
    /// Which job a question of an extension belongs to, by the id of its request, and whom it asks.
    inquiries: BTreeMap<String, (Jid, Job)>,
    /// The extension whose hook runs.
    pub(super) running: usize,
    /// The session whose stanza is being handled.
    pub(super) heard: Option<SessionId>,
    /// The session or component whose stanza is being handled, with all that follows from it in this turn.
    pub(super) payer: Option<Payer>,
    /// It has had more stored than its share.
    pub(super) over_share: bool,
    pub(super) written: Written,
    /// See [`State::said_to`].
    pub(super) said_to_slow: usize,
    random: Random,
    next: u64,
    pub(super) batch: Batch,
    /// The entry of the batch that is to be written yet.
    pub(super) draft: Option<Draft>,
    /// Where it is written.
    pub(super) text: String,
    /// The number of the batch that is being filled.
    seq: u64,
    committed: u64,
    /// Storage takes nothing: what it was handed is not stored.
    stalled: bool,
    /// Storage is to be handed nothing more; what it was handed is stored.
    full: bool,
    /// But for what makes room.
    erases: bool,
    /// This turn makes room.
    erasing: bool,
    acks: VecDeque<(u64, Ack)>,
    /// See [`State::outcome`].
    outcomes: Vec<String>,
}

impl State {
    pub(super) fn new(settings: Settings, seed: [u8; 32], secret: [u8; 32]) -> State {
        State {
            settings,
            now: Now::default(),
            started: None,
            accounts: ByName::default(),
            archives: ByName::default(),
            sessions: ByNumber::default(),
            services: BTreeMap::new(),
            abouts: Vec::new(),
            peers: Peers::default(),
            throttle: Throttle::default(),
            tokens: Tokens::default(),
            logins: BTreeMap::new(),
            login_jobs: BTreeMap::new(),
            secret,
            numbers: Numbers::new(&secret),
            clock: Clock::default(),
            streams: Streams::default(),
            deliveries: Deliveries::default(),
            reading: Reading::default(),
            effects: Vec::new(),
            work: VecDeque::new(),
            timers: BTreeMap::new(),
            weigh: |_| Worth::Urgent,
            wakes: None,
            jobs: BTreeMap::new(),
            timed: BTreeMap::new(),
            requests: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            running: 0,
            heard: None,
            payer: None,
            over_share: false,
            written: Written::default(),
            said_to_slow: 0,
            random: Random::new(seed),
            next: 0,
            batch: Batch::default(),
            draft: None,
            text: String::new(),
            seq: 1,
            committed: 0,
            stalled: false,
            full: false,
            erases: true,
            erasing: false,
            acks: VecDeque::new(),
            outcomes: Vec::new(),
        }
    }

    // --- who is here ---

    /// The domain that is served.
    pub fn domain(&self) -> &Jid {
        &self.settings.domain
    }

    /// The localpart of an address of ours, whether or not the account exists.
    pub fn local<'a>(&self, jid: &'a Jid) -> Option<&'a str> {
        jid.local().filter(|_| jid.domain() == self.settings.domain.domain())
    }

    /// The account of an address of ours.
    pub fn account(&self, jid: &Jid) -> Option<&Account> {
        self.accounts.get(self.local(jid)?)
    }

    /// Whether somebody can be behind an address that is on a list: an account here, or somebody behind a component.
    pub fn can_act(&self, jid: &Jid) -> bool {
        jid.local().is_some() && (self.account(jid).is_some() || self.settings.components.contains_key(jid.domain()))
    }

    /// Whether the setting `admins` names this account, by its bare JID. What a component says of its own addresses does not count.
    pub fn administers(&self, bare: &Jid) -> bool {
        self.settings.admins.contains(bare) && self.local(bare).is_some()
    }

    /// Whose share it is: that of an account of ours, by its bare JID; of all others that of their domain, which is one component or
    /// one server.
    pub fn whose<'a>(&self, jid: &'a Jid) -> &'a str {
        if self.local(jid).is_some() { jid.bare_str() } else { jid.domain() }
    }

    /// The session of a full JID.
    pub fn session_at(&self, jid: &Jid) -> Option<SessionId> {
        self.account(jid)?.sessions.get(jid.resource()?).copied()
    }

    /// The account's sessions, in the order of their resources.
    pub fn sessions_of(&self, local: &str) -> Vec<SessionId> {
        self.accounts.get(local).map(|a| a.sessions.values().copied().collect()).unwrap_or_default()
    }

    /// The account's available sessions (RFC 6121 §4).
    pub fn available(&self, local: &str) -> Vec<SessionId> {
        let mut sids = self.sessions_of(local);
        sids.retain(|sid| self.sessions.get(sid).is_some_and(|s| s.presence.is_some()));
        sids
    }

    /// Whether the account that a stanza is addressed to shows its presence to the sender.
    pub fn shows_presence(&self, stanza: &Stanza) -> bool {
        let account = stanza.to.as_ref().and_then(|to| self.account(to));
        account.zip(stanza.from.as_ref()).is_some_and(|(account, from)| account.shows_presence_to(from))
    }

    /// From now on, what is sent to this domain comes to the extension whose hook runs ([`super::Extension::serve`]). `name`: for
    /// people.
    pub fn serve(&mut self, domain: &str, name: &str) {
        let service = Service { extension: self.running, name: name.into() };
        self.services.insert(domain.into(), service);
    }

    // --- saying something ---

    /// Sends a stanza on its way, as from whom its `from` says; it passes the hooks of the receiving side. `to` must be set.
    pub fn send(&mut self, stanza: Stanza) {
        self.work.push_back(Work::Route(stanza));
    }

    /// Writes a stanza to one session, past all hooks; or holds it there ([`super::message::quiet`]).
    pub fn send_to(&mut self, sid: SessionId, stanza: Stanza) {
        self.hand(sid, stanza);
    }

    /// Hands a message to these sessions of one account; the `delivered` hooks see it.
    pub fn deliver(&mut self, local: &str, message: Stanza, targets: Vec<SessionId>) {
        self.write_message(local, &message, &targets, false);
        self.work.push_back(Work::Delivered(local.into(), message, targets));
    }

    /// Answers a request at once, with an optional payload (empty: none).
    pub fn reply(&mut self, iq: &Stanza, payload: impl Into<String>) -> Handled {
        let result = Stanza::result_of(iq, payload);
        self.back(result);
        Ok(Flow::Done)
    }

    /// Answers a request once what this turn changed is on stable storage: an answer to a change is a promise.
    pub fn confirm(&mut self, iq: &Stanza, payload: impl Into<String>) -> Handled {
        let result = Stanza::result_of(iq, payload);
        self.promise(Ack::Reply(result));
        Ok(Flow::Done)
    }

    /// The same, also once what this turn has set off and not done yet is on stable storage: the removal of an account.
    pub fn confirm_all(&mut self, iq: &Stanza, payload: impl Into<String>) -> Handled {
        let result = Stanza::result_of(iq, payload);
        self.work.push_back(Work::Promise(Ack::Reply(result)));
        Ok(Flow::Done)
    }

    /// Answers a stream that is not authenticated ([`super::hook::Extension::register`]), at once.
    pub fn registered(&mut self, stream: StreamId, answer: Stanza) {
        self.effects.push(Effect::Registered(stream, answer));
    }

    /// The same, once what this turn changed is on stable storage.
    pub fn confirm_registered(&mut self, stream: StreamId, iq: &Stanza) {
        self.promise(Ack::Registered(stream, Stanza::result_of(iq, "")));
    }

    /// Sends an answer that is made already, once what this turn changed is on stable storage.
    pub fn confirm_with(&mut self, answer: Stanza) {
        self.promise(Ack::Reply(answer));
    }

    /// Tells all extensions, later in this turn.
    pub fn announce(&mut self, event: Event) {
        self.work.push_back(Work::Event(event));
    }

    /// Answers a stanza with an error, where the RFC allows one.
    pub fn refuse(&mut self, stanza: &Stanza, error: &StanzaError) {
        if let Some(reply) = Stanza::error_of(stanza, error) {
            self.back(reply);
        }
    }

    /// An answer goes straight to the session that asked, and by the router to anybody else.
    fn back(&mut self, reply: Stanza) {
        if self.is_answer(&reply) {
            return;
        }
        match reply.to.as_ref().and_then(|to| self.session_at(to)) {
            // The error of a message is news to the account's other sessions, too (XEP-0280 §6.1).
            Some(sid) if reply.kind == Kind::Message => {
                let local: Box<str> = reply.to.as_ref().and_then(Jid::local).unwrap_or_default().into();
                self.deliver(&local, reply, vec![sid]);
            }
            Some(sid) => self.send_to(sid, reply),
            None => self.send(reply),
        }
    }

    /// Answers a command of the owner: a change once it is on stable storage, all else (`changed` is false) at once, also
    /// while the storage takes nothing.
    pub(super) fn tell(&mut self, job: Job, answer: Result<Vec<String>, String>, changed: bool) {
        let ack = Ack::Told(job, answer, changed);
        if changed { self.promise(ack) } else { self.keep(ack) }
    }

    /// Writes a line into the program's log once all that this turn changes is on stable storage: nothing is said to be done before.
    pub fn log_stored(&mut self, line: String) {
        self.work.push_back(Work::Promise(Ack::Log(line)));
    }

    /// Keeps what became of something that went with an account, until [`State::tell_outcomes`].
    pub fn outcome(&mut self, line: String) {
        self.outcomes.push(line);
    }

    /// Says what became of what went with an account: to the owner, if they have removed it in this turn, else to the log.
    pub(super) fn tell_outcomes(&mut self) {
        let mut outcomes = std::mem::take(&mut self.outcomes);
        let asked = self.work.iter_mut().find_map(|work| match work {
            Work::Tell(_, Ok(lines)) => Some(lines),
            _ => None,
        });
        match asked {
            Some(lines) => lines.append(&mut outcomes),
            None => outcomes.into_iter().for_each(|line| self.log_stored(line)),
        }
    }

    /// Takes back what could not be stored. What was handed over already goes to storage first, and this behind it.
    fn undo(&mut self, undo: Undo) {
        match undo {
            Undo::Added(jid) => {
                let Some(local) = self.local(&jid).map(Box::<str>::from) else { return };
                if self.accounts.get(&local).is_some_and(|account| account.sessions.is_empty()) {
                    self.accounts.remove(&local);
                    self.batch.delete(Tree::Account, key::account(&local));
                }
            }
            Undo::Password(jid, credentials) => {
                let Some(local) = self.local(&jid).map(Box::<str>::from) else { return };
                let Some(account) = self.accounts.get_mut(&local) else { return };
                account.credentials = credentials;
                let record = account.record();
                self.batch.put(Tree::Account, key::account(&local), record);
            }
        }
    }

    /// The number of the last batch that was handed over.
    pub(super) fn sealed(&self) -> u64 {
        self.seq - 1
    }

    /// The number of the last batch on stable storage.
    pub(super) fn committed(&self) -> u64 {
        self.committed
    }

    pub(super) fn promise(&mut self, ack: Ack) {
        let waits_for = if self.batch.is_empty() { self.seq - 1 } else { self.seq };
        let now = waits_for <= self.committed || (self.stalled && ack.can_be_told());
        if now { self.keep(ack) } else { self.acks.push_back((waits_for, ack)) }
    }

    fn keep(&mut self, ack: Ack) {
        match ack {
            Ack::Reply(stanza) => self.back(stanza),
            Ack::Registered(stream, stanza) => self.registered(stream, stanza),
            Ack::To(stream, stanza) => self.effects.push(Effect::Send(stream, stanza)),
            Ack::Close(stream, error) => self.effects.push(Effect::Close(stream, error)),
            Ack::Told(job, answer, changed) => {
                answer.iter().filter(|_| changed).flat_map(|lines| logged(lines)).for_each(|line| log::info!("{line}"));
                self.effects.push(Effect::Told(job, answer));
            }
            Ack::Made(job, Err(why), undo) => {
                self.undo(undo);
                self.effects.push(Effect::Told(job, Err(why)));
            }
            Ack::Made(job, answer, _) => self.keep(Ack::Told(job, answer, true)),
            Ack::Log(line) => log::info!("{line}"),
            Ack::Manage(stream, element) => self.answer_resume(stream, element),
            Ack::Login(stream) => self.work.push_back(Work::Login(stream)),
            Ack::Resumed { stream, sid, number, h } => self.resumed(stream, sid, number, h),
        }
    }

    /// Asks a client something; the answer comes to [`super::hook::Extension::replied`]. A session that ends answers nothing.
    pub fn request(&mut self, sid: SessionId, payload: impl Into<String>) -> Job {
        let job = self.job();
        let id = self.token();
        if let Some(session) = self.sessions.get(&sid) {
            let iq = Stanza::new(Kind::Iq, Type::Get).from(self.domain().clone()).to(session.jid.clone());
            self.make_room_for_request(sid);
            self.requests.insert((sid, id.clone()), job);
            self.send_to(sid, iq.with_id(&id).with(payload));
        } else {
            self.jobs.remove(&job);
        }
        job
    }

    /// A client that does not answer is owed no more than so many answers: of the oldest nothing is known any more.
    fn make_room_for_request(&mut self, sid: SessionId) {
        let own = || self.requests.range((sid, String::new())..).take_while(|((asked, _), _)| *asked == sid);
        if own().count() < REQUESTS {
            return;
        }
        if let Some((key, job)) = own().min_by_key(|(_, job)| **job).map(|(key, job)| (key.clone(), *job)) {
            self.requests.remove(&key);
            self.jobs.remove(&job);
        }
    }

    /// Makes a request in somebody's name, and whoever is asked answers as it would answer them. The answer, or the error, comes to
    /// [`super::hook::Extension::answered`] and to nobody else. An account or a service of ours always answers. Who is elsewhere may
    /// not, and is asked in the name of the server: [`State::forget`].
    pub fn inquire(&mut self, from: Jid, to: Jid, ty: Type, payload: impl Into<String>) -> Job {
        let job = self.job();
        let id = self.token();
        self.send(Stanza::new(Kind::Iq, ty).from(from).to(to.clone()).with_id(&id).with(payload));
        self.inquiries.insert(id, (to, job));
        job
    }

    /// Waits no longer for the answer to a [`State::inquire`], or for a time ([`State::after`]).
    pub fn forget(&mut self, job: Job) {
        self.jobs.remove(&job);
        if let Some(at) = self.timed.remove(&job) {
            self.timers.remove(&(at, job.0));
        }
        self.inquiries.retain(|_, (_, asked)| *asked != job);
    }

    /// Whether an IQ is the answer to such a question, from whom was asked. Then it is on its way to who asked.
    pub(super) fn is_answer(&mut self, iq: &Stanza) -> bool {
        if self.inquiries.is_empty() || iq.kind != Kind::Iq {
            return false;
        }
        let Some(id) = iq.id().map(|id| id.into_owned()) else { return false };
        match self.inquiries.get(&id) {
            Some((asked, job)) if iq.from.as_ref() == Some(asked) => {
                self.work.push_back(Work::Answered(*job, iq.clone()));
                self.inquiries.remove(&id);
                true
            }
            _ => false,
        }
    }

    /// A push from a session's own account, an IQ set whose answer nobody waits for: rosters, block lists.
    pub fn push_request(&mut self, sid: SessionId, payload: &str) {
        let id = self.token();
        if let Some(session) = self.sessions.get(&sid) {
            // Without `from`: it is from the account itself (RFC 6121 §2.1.6).
            let iq = Stanza::new(Kind::Iq, Type::Set).to(session.jid.clone());
            self.send_to(sid, iq.with_id(&id).with(payload));
        }
    }

    /// Ends a session; it is gone from all tables when this returns, its contacts are told.
    pub fn close(&mut self, sid: SessionId, error: Option<StreamError>) {
        if let Some(session) = self.sessions.get(&sid) {
            let stream = session.stream;
            super::presence::gone(self, sid, false);
            if let Some(stream) = stream {
                self.effects.push(Effect::Close(stream, error));
            }
        }
    }

    /// Ends the stream of a session that is in no table any more, once what this turn changed is on stable storage; before
    /// that with the answer to a request.
    pub(super) fn close_stored(&mut self, stream: StreamId, answer: Option<Stanza>, error: StreamError) {
        if let Some(answer) = answer {
            self.promise(Ack::To(stream, answer));
        }
        self.promise(Ack::Close(stream, Some(error)));
    }

    // --- storing ---

    /// The changes of this turn, to add to. Refused while storage takes no more, and to who has had more stored than its share,
    /// before anything is changed: ask first.
    pub fn write(&mut self) -> Result<&mut Batch, StanzaError> {
        if self.takes_nothing() {
            return Err(StanzaError::new(Condition::ResourceConstraint).text(FULL));
        }
        if self.over_share && !self.erasing {
            return Err(over_share());
        }
        Ok(&mut self.batch)
    }

    /// The same for what makes room on the disk: it is taken also when the disk is full, from the room that is kept free, and so is all
    /// that follows from it in this turn, which the caller knows to be little. A share that is used up does not matter, either.
    pub fn erase(&mut self) -> Result<&mut Batch, StanzaError> {
        self.erasing |= !self.stalled && (!self.full || self.erases);
        self.write()
    }

    /// Whether what is done from here on makes room; gives what was so until now.
    pub(super) fn set_erasing(&mut self, erasing: bool) -> bool {
        std::mem::replace(&mut self.erasing, erasing)
    }

    /// A number for a message that enters the server ([`Stanza::mark`]): greater than all before. When that was,
    /// [`State::stamp`] tells.
    pub fn next_mark(&mut self) -> u64 {
        self.numbers.next(self.time())
    }

    /// The last number that was given.
    pub fn last_mark(&self) -> u64 {
        self.numbers.last()
    }

    /// The id of a message in an account's archive, and in `stanza-id` (XEP-0359).
    pub fn uid(&self, local: &str, mark: u64) -> String {
        self.numbers.text(local, mark)
    }

    /// A name for somebody, as of a number, that tells nothing of who it is, always the same in one place (XEP-0421). Whoever has taken
    /// the name of a removed account is somebody else.
    pub fn pseudonym(&self, place: &str, who: &Jid, number: u64) -> String {
        let account = self.local(who).and_then(|local| self.archives.get(local));
        let begins = account.map_or(0, |archived| archived.begins);
        self.numbers.pseudonym(place, who.bare_str(), if number < begins { 0 } else { begins })
    }

    /// Notes in a message what it is called in an account's archive (XEP-0359).
    pub fn note_id(&self, account: &Jid, message: &mut Stanza) {
        let mut text = [0; super::number::TEXT_BYTES];
        let uid = self.numbers.write_text(account.local().unwrap_or_default(), message.mark, &mut text);
        message.note(Ns::SID, "stanza-id", &[("by", account.as_str()), ("id", uid)]);
    }

    /// The number that such an id stands for; `None` if it was not given out for this account.
    pub fn uid_mark(&self, local: &str, uid: &str) -> Option<u64> {
        self.numbers.read(local, uid)
    }

    /// Stores the account's own row again.
    pub fn write_account(&mut self, local: &str) -> Result<(), StanzaError> {
        let Some(record) = self.accounts.get(local).map(Account::record) else { return Ok(()) };
        self.write()?.put(Tree::Account, key::account(local), record);
        Ok(())
    }

    /// Reads; the answer comes to [`super::hook::Extension::answer`]. It sees all changes of this turn and before.
    pub fn ask(&mut self, query: Query) -> Job {
        let job = self.job();
        self.reads(job);
        self.seal();
        self.effects.push(Effect::Ask(job, query));
        job
    }

    /// The same for a login; the answer comes to it.
    pub(super) fn ask_for_login(&mut self, query: Query) -> Job {
        let job = Job(self.number());
        self.seal();
        self.effects.push(Effect::Ask(job, query));
        job
    }

    /// Makes keys from a password; they come to [`super::hook::Extension::hashed`].
    pub fn hash(&mut self, password: &str) -> Job {
        let job = self.job();
        self.effects.push(Effect::Hash(job, password.to_owned(), self.settings.iterations));
        job
    }

    /// Waits; [`super::hook::Extension::timer`] is called in `ms` milliseconds or a little later.
    pub fn after(&mut self, ms: u64) -> Job {
        let job = self.job();
        let at = self.now.mono.saturating_add(ms);
        self.timers.insert((at, job.0), Timer::Extension(self.running, job));
        self.timed.insert(job, at);
        job
    }

    pub(super) fn set_timer(&mut self, at: u64, timer: Timer) {
        let n = self.number();
        self.timers.insert((at, n), timer);
    }

    /// Gives the batch its number and hands it over.
    pub(super) fn seal(&mut self) {
        if !self.batch.is_empty() {
            self.finish_entry();
            self.note_settled();
            self.note_heard_again();
            self.clock.note(self.now, &mut self.batch);
            self.numbers.note(&mut self.batch);
            self.batch.low = self.deliveries.low();
            let batch = std::mem::take(&mut self.batch);
            self.charge(&batch);
            self.effects.push(Effect::Commit(self.seq, batch));
            self.seq += 1;
        }
    }

    /// Between two changes that need not be made together: keeps a batch from becoming too large.
    pub fn step(&mut self) {
        if self.batch.ops.len() >= SEAL_OPS {
            self.seal();
        }
    }

    /// What is changed from here on is stored behind what was changed before, never without it.
    pub fn barrier(&mut self) {
        self.seal();
    }

    pub(super) fn on_committed(&mut self, seq: u64) {
        self.committed = self.committed.max(seq);
        self.committed_for_acks(self.committed);
        while self.acks.front().is_some_and(|(n, _)| *n <= self.committed) {
            if let Some((_, ack)) = self.acks.pop_front() {
                self.keep(ack);
            }
        }
    }

    pub(super) fn on_stalled(&mut self, stalled: bool) {
        self.stalled = stalled;
        if stalled {
            self.release(u64::MAX);
            for (number, ack) in std::mem::take(&mut self.acks) {
                // What is not stored yet is logged when it is.
                match ack {
                    Ack::Log(_) => self.acks.push_back((number, ack)),
                    Ack::Told(job, Ok(lines), true) => {
                        self.acks.extend(logged(&lines).map(|line| (number, Ack::Log(line))));
                        self.keep(Ack::Told(job, Ok(lines), true).not_stored());
                    }
                    ack => self.keep(ack.not_stored()),
                }
            }
        }
    }

    pub(super) fn on_full(&mut self, full: bool) {
        self.full = full;
    }

    pub(super) fn on_erases(&mut self, erases: bool) {
        self.erases = erases;
    }

    /// Whether what storage was handed is not stored.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// Whether storage is to be handed nothing.
    pub(super) fn takes_nothing(&self) -> bool {
        self.stalled || self.full && !self.erasing
    }

    // --- numbers ---

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn job(&mut self) -> Job {
        let job = Job(self.number());
        self.jobs.insert(job, self.running);
        job
    }

    /// 32 unpredictable bytes.
    pub fn random(&mut self) -> [u8; 32] {
        self.random.next()
    }

    /// An unpredictable name of 16 characters: ids, resources, roster versions.
    pub fn token(&mut self) -> String {
        name_of(&self.random())
    }
}

/// A name of 16 characters.
pub(super) fn name_of(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    bytes.iter().take(16).map(|b| ALPHABET[(b & 31) as usize] as char).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STREAM: StreamId = StreamId(1);

    fn sid() -> SessionId {
        SessionId::of(STREAM)
    }

    fn jid() -> Jid {
        Jid::parse("juliet@house.test/balcony").unwrap()
    }

    /// One managed session that can be resumed, and its id.
    fn state() -> (State, String) {
        let mut st = State::new(Settings::new(Jid::parse("house.test").unwrap()), [1; 32], [2; 32]);
        st.sessions.insert(sid(), Session::new(jid(), STREAM));
        let Some(crate::wire::Manage::Enabled { id: Some(id), .. }) = st.enable(STREAM, true, None) else { panic!() };
        (st, id)
    }

    /// What is waited for no more leaves nothing behind.
    #[test]
    fn a_time_that_is_waited_for_no_more_is_forgotten() {
        let (mut st, _) = state();
        let jobs: Vec<_> = (0..100).map(|n| st.after(n % 7)).collect();
        assert_eq!((st.timers.len(), st.timed.len()), (100, 100));
        jobs.into_iter().for_each(|job| st.forget(job));
        assert!(st.timers.is_empty() && st.timed.is_empty() && st.jobs.is_empty());
    }

    /// A client that answers nothing is owed only so many answers.
    #[test]
    fn requests_to_a_silent_client_are_bounded() {
        let (mut st, _) = state();
        let jobs: Vec<_> = (0..1000).map(|_| st.request(sid(), "<ping xmlns='urn:xmpp:ping'/>")).collect();
        assert!(st.requests.len() <= 64 && st.jobs.len() == st.requests.len());
        assert!(st.jobs.contains_key(jobs.last().unwrap()));
        super::super::presence::gone(&mut st, sid(), false);
        assert!(st.requests.is_empty() && st.jobs.is_empty());
    }
}
