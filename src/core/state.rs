//! What everybody shares. Each part knows its own rules and nothing of the others: who is [here](super::here), the
//! [changes](super::changes) to be stored, the [questions](super::questions) that wait, the messages on their [way](super::message). What
//! changes is changed by the verbs of this type, which stand with what they are about: extensions have no other way.

use super::about::About;
use super::account::Account;
use super::archived::Archived;
use super::changes::Changes;
use super::clock::Clock;
use super::effect::{Effect, Now};
use super::here::Here;
use super::ids::{SessionId, name_of};
use super::invitation::Invitations;
use super::logins::Logins;
use super::message::deliveries::Deliveries;
use super::message::quiet::Worth;
use super::message::streams::Streams;
use super::notifier::{Notification, Notifiers};
use super::number::Numbers;
use super::peers::Peers;
use super::questions::Questions;
use super::random::Random;
use super::reading::Reading;
use super::residents::Residents;
use super::roster::Words;
use super::session::Session;
use super::settings::Settings;
use super::share;
use super::throttle::Throttle;
use super::token::Tokens;
use super::unordered::{ByName, ByNumber};
use super::work::{Payer, Work};
use super::written::Written;
use crate::wire::{Jid, Stanza};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A service on a subdomain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// The extension that serves it.
    pub(super) extension: usize,
    /// What it is called in service discovery.
    pub name: Box<str>,
}

/// The state of the server, and what it has to say in this turn.
#[derive(Debug)]
pub struct State {
    pub(super) settings: Settings,
    pub(super) secret: [u8; 32],
    /// The services on subdomains, by their domains.
    pub(super) services: BTreeMap<Box<str>, Service>,
    /// What the extensions say of themselves, in order.
    pub(super) abouts: Vec<&'static About>,
    pub(super) here: Here,
    pub(super) peers: Peers,
    pub(super) changes: Changes,
    pub(super) questions: Questions,
    pub(super) streams: Streams,
    pub(super) deliveries: Deliveries,
    pub(super) numbers: Numbers,
    pub(super) clock: Clock,
    pub(super) logins: Logins,
    pub(super) tokens: Tokens,
    pub(super) notifiers: Notifiers,
    pub(super) invitations: Invitations,
    pub(super) residents: Residents,
    pub(super) words: Words,
    /// Accounts that administer the server by invitation.
    pub(super) granted: BTreeSet<Jid>,
    /// What URLs begin with, if there is a port for them.
    pub(super) web_base: Option<String>,
    pub(super) throttle: Throttle,
    pub(super) reading: Reading,
    pub(super) written: Written,
    random: Random,
    /// [`State::weigh_with`]
    pub(super) weigh: fn(&Stanza) -> Worth,
    /// When the first turn was, of [`Now::mono`].
    pub(super) started: Option<u64>,
    // --- this turn ---
    pub(super) now: Now,
    pub(super) effects: Vec<Effect>,
    pub(super) work: VecDeque<Work>,
    /// The extension whose hook runs.
    pub(super) running: usize,
    /// The session whose stanza is being handled.
    pub(super) heard: Option<SessionId>,
    /// What counts the stanza of another server that is being handled.
    pub(super) heard_of_peer: Option<u64>,
    /// The session or component whose stanza is being handled, with all that follows from it in this turn.
    pub(super) payer: Option<Payer>,
    /// It has had more stored than its share.
    pub(super) over_share: bool,
    /// See [`State::notify`].
    pub(super) notification: Option<Notification>,
    /// See [`State::said_to`].
    pub(super) said_to_slow: usize,
    /// See [`State::outcome`].
    pub(super) outcomes: Vec<String>,
}

impl State {
    pub(super) fn new(settings: Settings, seed: [u8; 32], secret: [u8; 32]) -> State {
        State {
            settings,
            secret,
            services: BTreeMap::new(),
            abouts: Vec::new(),
            here: Here::default(),
            peers: Peers::default(),
            changes: Changes::default(),
            questions: Questions::default(),
            streams: Streams::default(),
            deliveries: Deliveries::default(),
            numbers: Numbers::new(&secret),
            clock: Clock::default(),
            logins: Logins::default(),
            tokens: Tokens::default(),
            notifiers: Notifiers::default(),
            invitations: Invitations::default(),
            residents: Residents::default(),
            words: Words::default(),
            granted: BTreeSet::new(),
            web_base: None,
            throttle: Throttle::default(),
            reading: Reading::default(),
            written: Written::default(),
            random: Random::new(seed),
            weigh: |_| Worth::Urgent,
            started: None,
            now: Now::default(),
            effects: Vec::new(),
            work: VecDeque::new(),
            running: 0,
            heard: None,
            heard_of_peer: None,
            payer: None,
            over_share: false,
            notification: None,
            said_to_slow: 0,
            outcomes: Vec::new(),
        }
    }

    /// What the owner has set, as of the last [`Core::configure`](super::Core::configure).
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The time of this turn.
    pub fn now(&self) -> Now {
        self.now
    }

    /// Time since the first turn, in milliseconds.
    pub fn uptime_ms(&self) -> u64 {
        self.now.mono.saturating_sub(self.started.unwrap_or_default())
    }

    /// The services on subdomains, by their domains.
    pub fn services(&self) -> &BTreeMap<Box<str>, Service> {
        &self.services
    }

    /// What the extensions say of themselves, in order.
    pub fn abouts(&self) -> &[&'static About] {
        &self.abouts
    }

    /// The local accounts by localpart.
    pub fn accounts(&self) -> &ByName<Account> {
        self.here.accounts()
    }

    /// The account of a localpart.
    pub fn account_of(&self, local: &str) -> Option<&Account> {
        self.here.account(local)
    }

    /// The account of an address of ours.
    pub fn account(&self, jid: &Jid) -> Option<&Account> {
        self.here.account(self.local(jid)?)
    }

    /// What is archived for a localpart, also for one whose account was removed; `None`: the default.
    pub fn archived(&self, local: &str) -> Option<&Archived> {
        self.here.archived(local)
    }

    /// The bound sessions.
    pub fn sessions(&self) -> &ByNumber<SessionId, Session> {
        self.here.sessions()
    }

    /// A session, bound and not over; it may have lost its connection (XEP-0198).
    pub fn session(&self, sid: SessionId) -> Option<&Session> {
        self.here.session(sid)
    }

    /// The domain that is served.
    pub fn domain(&self) -> &Jid {
        &self.settings.domain
    }

    /// The localpart of an address of ours, whether or not the account exists.
    pub fn local<'a>(&self, jid: &'a Jid) -> Option<&'a str> {
        jid.local().filter(|_| jid.domain() == self.settings.domain.domain())
    }

    /// Whether somebody can be behind an address that is on a list: an account here, somebody behind a component, or at a server that is
    /// talked to.
    pub fn can_act(&self, jid: &Jid) -> bool {
        let elsewhere = || self.settings.components.contains_key(jid.domain()) || self.is_reachable(jid);
        jid.local().is_some() && (self.account(jid).is_some() || elsewhere())
    }

    /// Whether this account administers the server, by its bare JID: the setting `admins` names it, or it was invited to. What a component
    /// says of its own addresses does not count.
    pub fn administers(&self, bare: &Jid) -> bool {
        self.local(bare).is_some() && (self.settings.admins.contains(bare) || self.granted.contains(bare))
    }

    /// All of those.
    pub fn administrators(&self) -> impl Iterator<Item = &Jid> {
        self.settings.admins.iter().chain(&self.granted).filter(|jid| self.local(jid).is_some())
    }

    /// Whether somebody who has an account administers the server.
    pub fn is_administered(&self) -> bool {
        self.administrators().any(|admin| self.account(admin).is_some())
    }

    /// Those who were invited to.
    pub fn granted(&self) -> &BTreeSet<Jid> {
        &self.granted
    }

    /// Whose share it is ([`share::whose`]).
    pub fn whose<'a>(&self, jid: &'a Jid) -> &'a str {
        share::whose(self.domain().domain(), jid)
    }

    /// The session of a full JID.
    pub fn session_at(&self, jid: &Jid) -> Option<SessionId> {
        self.account(jid)?.sessions.get(jid.resource()?).copied()
    }

    /// The account's sessions, in the order of their resources.
    pub fn sessions_of(&self, local: &str) -> Vec<SessionId> {
        self.here.account(local).map(|a| a.sessions.values().copied().collect()).unwrap_or_default()
    }

    /// The account's available sessions (RFC 6121 §4).
    pub fn available(&self, local: &str) -> Vec<SessionId> {
        let mut sids = self.sessions_of(local);
        sids.retain(|sid| self.here.session(*sid).is_some_and(|s| s.presence.is_some()));
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

    /// 32 unpredictable bytes.
    pub fn random(&mut self) -> [u8; 32] {
        self.random.next()
    }

    /// An unpredictable name of 16 characters: ids, resources, roster versions.
    pub fn token(&mut self) -> String {
        name_of(&self.random())
    }
}
