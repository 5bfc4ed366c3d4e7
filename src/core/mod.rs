//! STATE: who is here, what may they do, where does it go. A value without a socket, clock, thread, random source or disk.

pub mod account;
pub mod admin;
pub mod archived;
pub mod clock;
mod component;
mod delivery;
pub mod effect;
pub mod hook;
mod ids;
mod impossible;
pub mod logged;
mod login;
mod number;
pub mod presence;
pub mod progress;
pub mod quiet;
mod random;
pub mod reading;
pub mod roster;
mod route;
pub mod session;
pub mod settings;
pub mod share;
pub mod sm;
pub mod state;
pub mod subscription;
pub mod throttle;
pub mod token;
pub mod unordered;
pub mod waiting;
pub mod written;

pub use delivery::Recovered;
pub use effect::{Command, Effect, Input, Now};
pub use hook::{About, Accepts, Event, Extension, Flow, Handled, Hold, Inline, Place};
pub use ids::{Job, SessionId, StreamId};
pub use quiet::Worth;
pub use settings::{Creators, PushContent, RoomKind, Settings};
pub use state::{State, Way};
use throttle::Outcome;
pub use throttle::network;

use crate::store::{Batch, Engine, Query, StoreError, Tree, key};
use crate::wire::{Condition, Jid, StanzaError, StreamCondition, StreamError, StreamFeature};
use account::Account;
use archived::Archived;
use impossible::impossible;
use roster::Item;
use session::Session;
use state::Timer;

/// The server.
pub struct Core {
    state: State,
    extensions: Vec<Box<dyn Extension>>,
}

/// Rows read at once when the database is loaded.
const PAGE_ROWS: usize = 256;
/// Bytes read at once when the database is loaded.
const PAGE_BYTES: usize = 1024 * 1024;

/// All rows of a tree under a prefix, page by page.
pub fn scan(
    engine: &mut dyn Engine,
    tree: Tree,
    prefix: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let mut after = None;
    loop {
        let query = Query::Scan { tree, prefix: prefix.into(), after, rows: PAGE_ROWS, bytes: PAGE_BYTES };
        let page = engine.query(&query)?;
        for (key, value) in &page {
            each(key, value)?;
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok(()),
        }
    }
}

/// The row of [`Tree::Meta`] with the secret that answers for unknown users are made of.
const SECRET: &[u8] = b"secret";
/// The row of [`Tree::Meta`] with the domain.
const DOMAIN: &[u8] = b"domain";

/// The domain that a database was made for; `None` for a new one.
pub fn stored_domain(engine: &mut dyn Engine) -> Result<Option<String>, StoreError> {
    let rows = engine.query(&Query::Get(Tree::Meta, DOMAIN.into()))?;
    Ok(rows.first().map(|(_, value)| String::from_utf8_lossy(value).into_owned()))
}

impl Core {
    /// The server as the database has it: reads all accounts, rosters and block lists. `seed`: unpredictable, from the system.
    /// `extensions`: the pipeline, see `ext::all`.
    pub fn open(
        settings: Settings,
        seed: [u8; 32],
        extensions: Vec<Box<dyn Extension>>,
        engine: &mut dyn Engine,
    ) -> Result<Core, StoreError> {
        let secret = match engine.query(&Query::Get(Tree::Meta, SECRET.into()))?.first() {
            Some((_, secret)) => secret[..].try_into().map_err(|_| damaged("the server's secret"))?,
            None => {
                let mut first = Batch::default();
                first.put(Tree::Meta, SECRET, seed);
                first.put(Tree::Meta, DOMAIN, settings.domain.as_str().as_bytes());
                engine.commit(&[first])?;
                seed
            }
        };
        // Not the seed itself: that may just have been stored.
        let mut random = random::Random::new(seed);
        let mut state = State::new(settings, random.next(), secret);
        state.abouts = extensions.iter().flat_map(|x| std::iter::once(x.about()).chain(x.also())).collect();
        let mut core = Core { state, extensions };
        core.load(engine)?;
        for n in 0..core.extensions.len() {
            core.hook(n, |x, st| x.load(st, engine))?;
        }
        Ok(core)
    }

    fn load(&mut self, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let st = &mut self.state;
        let domain = st.settings.domain.clone();
        st.clock = clock::Clock::load(engine)?;
        st.numbers.load(engine)?;
        scan(engine, Tree::Account, &[], |key, value| {
            let local = std::str::from_utf8(key).map_err(|_| damaged("an account's name"))?;
            let jid = Jid::new(Some(local), domain.domain(), None).map_err(|_| damaged("an account's name"))?;
            st.accounts.insert(local.into(), Account::from_record(jid, value)?);
            Ok(())
        })?;
        scan(engine, Tree::Archive, &[], |key, value| {
            let local = std::str::from_utf8(key).map_err(|_| damaged("an archive's name"))?;
            let archived = Archived::from_record(value)?;
            // What is archived from now on lies behind that, also if the clock went back.
            st.seen_mark(archived.begins);
            st.archives.insert(local.into(), archived);
            Ok(())
        })?;
        scan(engine, Tree::Roster, &[], |key, value| {
            let (local, contact) = key::split(key).ok_or_else(|| damaged("a roster item's key"))?;
            let Some(account) = st.accounts.get_mut(local) else { return Ok(()) };
            let contact = std::str::from_utf8(contact).map_err(|_| damaged("a contact's address"))?;
            if contact.is_empty() {
                account.roster.version = String::from_utf8_lossy(value).into();
                return Ok(());
            }
            let jid = Jid::parse(contact).map_err(|_| damaged("a contact's address"))?;
            account.roster.insert(jid, Item::from_record(value)?);
            Ok(())
        })?;
        scan(engine, Tree::Token, &[], |key, value| st.tokens.load(key, value))?;
        scan(engine, Tree::Block, &[], |key, _| {
            let (local, jid) = key::split(key).ok_or_else(|| damaged("a block list's key"))?;
            let Some(account) = st.accounts.get_mut(local) else { return Ok(()) };
            let jid = std::str::from_utf8(jid).ok().and_then(|jid| Jid::parse(jid).ok());
            account.blocked.insert(jid.ok_or_else(|| damaged("a blocked address"))?);
            Ok(())
        })
    }

    /// The one entrance.
    pub fn handle(&mut self, now: Now, input: Input, effects: &mut Vec<Effect>) {
        self.state.now = now;
        self.state.started.get_or_insert(now.mono);
        self.state.clock.look(now, &self.state.numbers);
        std::mem::swap(&mut self.state.effects, effects);
        let mut heard = None;
        match input {
            Input::Login(stream, jid, peer) => self.login(stream, jid, peer),
            Input::LoginEnded(stream, jid, peer, success) => {
                self.state.login_ended(stream, &jid, peer, success);
                self.admit();
            }
            Input::Begin(stream, begin, peer) => self.begin(stream, begin, peer),
            Input::Bind(stream, jid, resource) => {
                let answer = self.bind(stream, &jid, resource).map(|(_, full)| full);
                self.state.effects.push(Effect::Bound(stream, answer));
            }
            Input::Attach(stream, name, secret) => self.state.attach(stream, name, &secret),
            Input::Stanza(stream, stanza) => match self.state.carried(stream) {
                Some(sid) => {
                    heard = Some(sid);
                    // Its radio is on anyway.
                    self.state.flush(sid);
                    self.state.count_in(sid);
                    self.state.heard = Some(sid);
                    self.sent(sid, stanza);
                    self.state.heard = None;
                }
                None => self.component_sent(stream, stanza),
            },
            Input::Register(stream, peer, iq) => self.register(stream, peer, &iq),
            Input::Closed(stream, _) if self.state.detach(stream) => {}
            Input::Closed(stream, clean) => {
                self.state.throttle.ended(now.mono, stream, Outcome::Nothing);
                self.state.lost(stream, clean);
                self.admit();
            }
            Input::Closing(stream) => self.state.closing(stream),
            Input::Enable(stream, resume, max) => {
                let enabled = self.state.enable(stream, resume, max);
                self.state.effects.extend(enabled.map(|enabled| Effect::Manage(stream, enabled)));
            }
            Input::Resume(stream, account, id, h) => self.state.resume(stream, &account, &id, h),
            Input::Acknowledged(stream, h) => self.state.acknowledged(stream, h),
            Input::Acknowledge(stream) => self.state.acknowledge(stream),
            Input::Active(stream, active) => {
                if let Some(sid) = self.state.carried(stream) {
                    self.state.set_active(sid, active);
                }
            }
            Input::Answer(job, rows) => {
                self.state.was_read(job);
                if let Some(n) = self.state.jobs.remove(&job) {
                    self.hook(n, |x, st| x.answer(st, job, rows));
                } else {
                    self.read_for_login(job, rows);
                }
            }
            Input::Hashed(job, credentials) => {
                if let Some(n) = self.state.jobs.remove(&job) {
                    self.hook(n, |x, st| x.hashed(st, job, credentials));
                }
            }
            Input::Committed(seq) => self.state.on_committed(seq),
            Input::Room(bytes) => self.state.set_room(bytes),
            Input::Stalled(stalled) => self.state.on_stalled(stalled),
            Input::Full(full) => self.state.on_full(full),
            Input::Erases(erases) => self.state.on_erases(erases),
            Input::Command(job, command) => {
                let asked = (0..self.extensions.len()).find_map(|n| self.hook(n, |x, st| x.command(st, &command)));
                admin::command(&mut self.state, job, command, asked);
            }
            Input::Tick => self.state.wakes = None,
        }
        let asker = std::mem::take(&mut self.state.reading.asker);
        let erasing = self.state.set_erasing(false);
        self.due();
        self.state.set_erasing(erasing);
        self.state.reading.asker = asker;
        self.drain();
        self.state.paid();
        self.state.set_erasing(false);
        self.state.reading.asker = reading::Asker::Nobody;
        if let Some(sid) = heard {
            self.state.handled(sid);
        }
        self.state.ask_for_acks();
        if let Some(((at, _), _)) = self.state.timers.first_key_value()
            && self.state.wakes != Some(*at)
        {
            self.state.wakes = Some(*at);
            self.state.effects.push(Effect::WakeAt(*at));
        }
        std::mem::swap(&mut self.state.effects, effects);
    }

    /// Does what has waited for its time.
    fn due(&mut self) {
        while let Some(timer) = self.state.timers.first_entry().filter(|t| t.key().0 <= self.state.now.mono) {
            match timer.remove() {
                Timer::Logins => self.admit(),
                Timer::Unanswered(sid) => self.state.unanswered(sid),
                Timer::Hibernated(sid) => self.state.hibernated(sid),
                Timer::Note => self.state.note(),
                Timer::Greeting(sid) => self.state.greet(sid),
                Timer::Extension(n, job) => {
                    self.state.jobs.remove(&job);
                    self.state.timed.remove(&job);
                    self.hook(n, |x, st| x.timer(st, job));
                }
            }
        }
    }

    /// RFC 6120 §7.6, §7.7
    fn bind(&mut self, stream: StreamId, jid: &Jid, resource: Option<String>) -> Result<(SessionId, Jid), StanzaError> {
        let st = &mut self.state;
        let resource = resource.filter(|r| !r.is_empty()).unwrap_or_else(|| st.token());
        let full = jid.with_resource(&resource).map_err(|e| StanzaError::new(Condition::BadRequest).text(e.0))?;
        if st.account(jid).is_none() {
            return Err(Condition::NotAllowed.into());
        }
        if let Some(old) = st.session_at(&full) {
            // RFC 6120 §7.7.2.2, the third way: whoever comes last is the one whose connection works.
            let conflict = StreamError::new(StreamCondition::Conflict).text("replaced by a new connection");
            st.close(old, Some(conflict));
        }
        let Some(account) = st.accounts.get_mut(full.local().unwrap_or_default()) else {
            impossible("an account is gone while a stream binds");
            return Err(Condition::NotAllowed.into());
        };
        if account.sessions.len() >= session::SESSIONS {
            let waits = |sid: &&SessionId| st.sessions.get(sid).and_then(|s| s.waits_until);
            let Some(longest) = account.sessions.values().filter(|sid| waits(sid).is_some()).min_by_key(waits).copied()
            else {
                return Err(StanzaError::new(Condition::ResourceConstraint).text("too many sessions of this account"));
            };
            presence::gone(st, longest, false);
        }
        let Some(account) = st.accounts.get_mut(full.local().unwrap_or_default()) else {
            impossible("an account is gone while a stream binds");
            return Err(Condition::NotAllowed.into());
        };
        let sid = SessionId::of(stream);
        account.sessions.insert(full.resource().unwrap_or_default().into(), sid);
        if st.sessions.insert(sid, Session::new(full.clone(), stream)).is_some() {
            impossible("a stream has bound twice");
        }
        st.work.push_back(state::Work::Event(Event::Bound(sid)));
        Ok((sid, full))
    }

    fn register(&mut self, stream: StreamId, peer: std::net::IpAddr, iq: &crate::wire::Stanza) {
        for n in 0..self.extensions.len() {
            match self.hook(n, |x, st| x.register(st, stream, peer, iq)) {
                Ok(Flow::Pass) => {}
                Ok(Flow::Done) => return,
                Err(error) => return self.refuse_to(stream, iq, &error),
            }
        }
        self.refuse_to(stream, iq, &Condition::ServiceUnavailable.into());
    }

    fn refuse_to(&mut self, stream: StreamId, iq: &crate::wire::Stanza, error: &StanzaError) {
        if let Some(reply) = crate::wire::Stanza::error_of(iq, error) {
            self.state.registered(stream, reply);
        }
    }

    /// What the last stanza said to clients that are far behind with what they read, in bytes: whoever sent it should be read from more
    /// slowly.
    pub fn take_said_to_slow(&mut self) -> usize {
        self.state.take_said_to_slow()
    }

    /// Other settings from now on. The domain stays. Gives the streams that must end: those of components that may not be here any
    /// more; the core has forgotten them.
    pub fn configure(&mut self, settings: Settings) -> Vec<(StreamId, StreamError)> {
        let domain = self.state.settings.domain.clone();
        let dismissed = self.state.dismiss(&settings);
        self.state.settings = Settings { domain, ..settings };
        dismissed
    }

    /// Stream features of the extensions after authentication, for `stream::Terms`.
    pub fn stream_features(&self) -> Vec<StreamFeature> {
        self.extensions.iter().flat_map(|x| x.stream_features(&self.state)).collect()
    }

    /// What the extensions take inline with Bind 2, for `stream::Terms`.
    pub fn bind_features(&self) -> Vec<&'static str> {
        self.extensions.iter().flat_map(|x| x.bind_features()).copied().collect()
    }

    /// The SCRAM iterations that are set, if there are accounts whose keys have fewer; else 0. For `stream::Terms`.
    pub fn upgrades(&self) -> u32 {
        let set = self.state.settings.iterations;
        let weak = |a: &Account| a.credentials.sha1.iterations.min(a.credentials.sha256.iterations) < set;
        if self.state.accounts.any(weak) { set } else { 0 }
    }

    /// What everybody shares, to look at.
    pub fn state(&self) -> &State {
        &self.state
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Damaged(format!("{what} in the database is not readable"))
}
