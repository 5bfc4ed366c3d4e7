//! The core under its lock, the outboxes of all sessions, and everything that carries out what the core wants.

use super::counters::Counters;
use super::disk::files::Files;
use super::disk::storage::{Keep, Listener, Storage};
use super::driver;
use super::net::link::{Mail, Peer};
use super::patient::Patient;
use super::share::{Owner, Share, Shares, Waiting};
use super::{Failure, Result, lock};
use crate::core::message::SLOW_BYTES;
use crate::core::peers::PeerStatus;
use crate::core::unordered::Number;
use crate::core::{
    Command, Core, Effect, Input, InvitationKind, InvitationView, Job, NotifyRefusal, Now, Settings, SlotRefusal,
    StreamId, TakeRefusal, TokenDigest, WantedSlot,
};
use crate::store::sled_engine::INLINE_BYTES;
use crate::stream::Terms;
use crate::stream::component::Secrets;
use crate::stream::s2s::{DialbackSecret, ServerTerms};
use crate::wire::{DomainPair, Jid};
use smol::{Executor, Timer, channel};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::future::{Future, poll_fn};
use std::hash::BuildHasherDefault;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What may wait for a client that does not read, in bytes: a full roster and the presence of everybody in it fit in. More
/// closes its stream, and nobody else notices.
pub const OUTBOX_BYTES: usize = 2 * 1024 * 1024;
/// The same of a component: many people are behind it, and enter all of their rooms when it comes.
pub const COMPONENT_OUTBOX_BYTES: usize = 16 * 1024 * 1024;
/// What a stanza in an outbox costs besides its text, in bytes.
const MAIL_BYTES: usize = 256;
/// What a value that gets a file of its own costs besides its bytes, while it waits for the disk: time to sync it, in bytes.
const LARGE_BYTES: usize = 32 * 1024;
/// What is taken from an outbox at once, in bytes, and what passes that.
const PIECE_BYTES: usize = 64 * 1024;

/// A client that has taken nothing for so long takes nothing.
const DEAF: Duration = Duration::from_secs(1);

/// How long whoever asks storage waits for it.
const STORAGE: Duration = Duration::from_secs(30);

/// What waits for one connection.
#[derive(Debug)]
pub struct Outbox {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    mail: VecDeque<Mail>,
    bytes: usize,
    limit: usize,
    full: bool,
    /// The server stops: nothing more is taken.
    stops: bool,
    /// When a piece of a long one was last taken.
    taken: Option<Instant>,
    waker: Option<Waker>,
    waiting: Waiting,
}

impl Mail {
    /// What it costs while it waits.
    fn bytes(&self) -> usize {
        match self {
            Mail::Send(stanza) | Mail::Registered(stanza) => stanza.bytes() + MAIL_BYTES,
            Mail::Manage(_) => MAIL_BYTES,
            _ => 0,
        }
    }
}

impl Outbox {
    fn new(limit: usize, share: Arc<Share>) -> Outbox {
        let waiting = Waiting::new(share);
        Outbox {
            inner: Mutex::new(Inner {
                mail: VecDeque::new(),
                bytes: 0,
                limit,
                full: false,
                stops: false,
                taken: None,
                waker: None,
                waiting,
            }),
        }
    }

    fn push(&self, mail: Mail) {
        self.push_from(mail, None);
    }

    /// The same, of what somebody else may have said.
    fn push_from(&self, mail: Mail, from: Option<&Arc<Share>>) {
        let mut inner = lock(&self.inner);
        if inner.full {
            return;
        }
        inner.stops |= matches!(mail, Mail::Shutdown);
        let more = mail.bytes();
        inner.bytes += more;
        let bytes = inner.bytes;
        // Who takes nothing at all is not waited for: it will be closed.
        if bytes > SLOW_BYTES
            && inner.taken.is_some_and(|taken| taken.elapsed() < DEAF)
            && let Some(from) = from.filter(|from| !Arc::ptr_eq(from, inner.waiting.share()))
        {
            from.slow_down(more);
        }
        if bytes > inner.limit || !inner.waiting.set(bytes) {
            inner.overflow();
        } else {
            inner.mail.push_back(mail);
        }
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// What waits, in order, up to [`PIECE_BYTES`]; or the waker is kept. With `keep` the mail stays unless there was an overflow, or
    /// the server stops: the connection is busy writing.
    pub(super) fn poll(&self, waker: &Waker, keep: bool) -> Poll<VecDeque<Mail>> {
        let mut inner = lock(&self.inner);
        if !inner.mail.is_empty() && (!keep || inner.full || inner.stops) {
            return Poll::Ready(inner.take());
        }
        match &mut inner.waker {
            Some(kept) => kept.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        Poll::Pending
    }

    /// Ends its connection. Says whether that was not done before.
    fn cut(&self) -> bool {
        let mut inner = lock(&self.inner);
        let waker = inner.waker.take();
        let is_new = inner.overflow();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        is_new
    }

    /// Where it comes from, if it has not said whose it is and is not about to end.
    fn stranger(&self) -> Option<IpAddr> {
        let inner = lock(&self.inner);
        inner.waiting.share().stranger().filter(|_| !inner.full)
    }

    /// It is another owner's from now on.
    fn belongs_to(&self, share: Arc<Share>) {
        let mut inner = lock(&self.inner);
        if share.is_component() {
            inner.limit = COMPONENT_OUTBOX_BYTES;
        }
        inner.waiting.belongs_to(share);
    }
}

impl Inner {
    /// More was waiting than may: it is gone. Says whether that is new.
    fn overflow(&mut self) -> bool {
        self.bytes = 0;
        self.waiting.set(0);
        self.mail = VecDeque::from([Mail::Overflow]);
        !std::mem::replace(&mut self.full, true)
    }

    fn take(&mut self) -> VecDeque<Mail> {
        if self.bytes <= PIECE_BYTES {
            self.bytes = 0;
            self.waiting.set(0);
            return std::mem::take(&mut self.mail);
        }
        self.taken = Some(Instant::now());
        let (mut piece, mut bytes) = (VecDeque::new(), 0);
        while bytes <= PIECE_BYTES
            && let Some(mail) = self.mail.pop_front()
        {
            bytes += mail.bytes();
            piece.push_back(mail);
        }
        self.bytes -= bytes;
        let left = self.bytes;
        self.waiting.set(left);
        piece
    }
}

struct State {
    core: Core,
    effects: Vec<Effect>,
    sessions: HashMap<StreamId, Arc<Outbox>, BuildHasherDefault<Number>>,
    /// Whose questions to storage are not answered.
    questions: HashMap<Job, Arc<Share>>,
    commands: HashMap<Job, channel::Sender<std::result::Result<Vec<String>, String>>>,
    notifications: HashMap<Job, channel::Sender<std::result::Result<String, NotifyRefusal>>>,
    takers: HashMap<Job, channel::Sender<std::result::Result<Jid, TakeRefusal>>>,
    unwritten: Unwritten,
}

/// The batches that are not on stable storage.
#[derive(Default)]
struct Unwritten {
    /// Number, size, and whose stanza made it.
    batches: VecDeque<(u64, usize, Option<Arc<Share>>)>,
    bytes: usize,
    /// Who waits for that to become less.
    readers: Vec<Waker>,
}

impl Unwritten {
    fn add(&mut self, number: u64, bytes: usize, share: Option<Arc<Share>>, shares: &Shares) {
        if let Some(share) = &share {
            share.add_unwritten(bytes);
        }
        self.batches.push_back((number, bytes, share));
        self.bytes += bytes;
        shares.set_unwritten(self.bytes);
    }

    /// All batches up to this one are there.
    fn written(&mut self, number: u64, shares: &Shares) {
        while self.batches.front().is_some_and(|(n, ..)| *n <= number)
            && let Some((_, bytes, share)) = self.batches.pop_front()
        {
            self.bytes -= bytes;
            if let Some(share) = share {
                share.take_unwritten(bytes);
            }
        }
        shares.set_unwritten(self.bytes);
        self.wake();
    }

    fn wake(&mut self) {
        self.readers.drain(..).for_each(Waker::wake);
    }
}

/// The domains that something of ours answers under.
fn domains(core: &Core) -> BTreeSet<Jid> {
    core.state().domains().filter_map(|domain| Jid::new(None, domain, None).ok()).collect()
}

#[derive(Default)]
struct Alarm {
    at: Option<Instant>,
    waker: Option<Waker>,
}

/// A stream to another server that is to be made.
#[derive(Debug)]
pub enum Dial {
    /// To say something. The answer is [`Input::PeerOpen`] or [`Input::PeerRefused`].
    Stanzas(DomainPair),
    /// To ask whether a key is theirs. The answer is [`Input::PeerVerified`].
    Verify {
        /// The stream that it was shown on.
        stream: StreamId,
        /// For which domains.
        pair: DomainPair,
        /// What we call that stream.
        id: String,
        /// The key.
        key: String,
    },
}

/// The server's middle.
pub struct Hub {
    state: Patient<State>,
    alarm: Mutex<Alarm>,
    terms: Mutex<Arc<Terms>>,
    components: Mutex<Arc<Secrets>>,
    server_terms: Mutex<Arc<ServerTerms>>,
    dials: (channel::Sender<Dial>, channel::Receiver<Dial>),
    storage: Storage,
    files: OnceLock<Arc<Files>>,
    /// Weak: the tasks on it hold the hub.
    executor: Weak<Executor<'static>>,
    next: AtomicU64,
    shares: Arc<Shares>,
    /// Storage takes nothing: nothing more comes to wait for it.
    stalled: AtomicBool,
    /// Storage takes only what makes room.
    full: AtomicBool,
    counters: Counters,
}

impl Hub {
    /// Around this core.
    pub fn new(mut core: Core, terms: Terms, storage: Storage, executor: &Arc<Executor<'static>>) -> Arc<Hub> {
        // Keys of dialback are good as long as the streams that they were shown on: not longer than this run.
        let secret = DialbackSecret::new(core.random());
        let server_terms = Arc::new(ServerTerms { domains: domains(&core), secret });
        Arc::new(Hub {
            state: Patient::new(State {
                core,
                effects: Vec::new(),
                sessions: HashMap::default(),
                questions: HashMap::new(),
                commands: HashMap::new(),
                notifications: HashMap::new(),
                takers: HashMap::new(),
                unwritten: Unwritten::default(),
            }),
            alarm: Mutex::default(),
            terms: Mutex::new(Arc::new(terms)),
            components: Mutex::default(),
            server_terms: Mutex::new(server_terms),
            dials: channel::unbounded(),
            storage,
            files: OnceLock::new(),
            executor: Arc::downgrade(executor),
            next: AtomicU64::new(1),
            shares: Shares::new(usize::MAX),
            stalled: false.into(),
            full: false.into(),
            counters: Counters::default(),
        })
    }

    /// What has happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Milliseconds since the start.
    pub fn mono(&self) -> u64 {
        self.nanos() / 1_000_000
    }

    fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        Now { mono: self.mono(), wall }
    }

    /// Nanoseconds since the start.
    pub fn nanos(&self) -> u64 {
        self.shares.nanos()
    }

    /// The moment of a time of [`Hub::mono`].
    pub fn instant(&self, mono: u64) -> Instant {
        // Nobody waits longer than a year; what is further away must not overflow.
        self.shares.moment(mono.min(self.mono() + 31_536_000_000).saturating_mul(1_000_000))
    }

    /// What owners of connections have of what all share.
    pub fn shares(&self) -> &Arc<Shares> {
        &self.shares
    }

    /// The components that may connect now.
    pub fn components(&self) -> Arc<Secrets> {
        lock(&self.components).clone()
    }

    /// Files can be uploaded, and are kept there; once.
    pub fn keep_files(&self, files: Arc<Files>) {
        let _ = self.files.set(files);
    }

    /// Where uploaded files are, if files can be uploaded.
    pub fn files(&self) -> Option<&Arc<Files>> {
        self.files.get()
    }

    /// What streams need to know now.
    pub fn terms(&self) -> Arc<Terms> {
        lock(&self.terms).clone()
    }

    /// Other settings from now on: for the core, and for streams that begin later.
    pub fn configure(self: &Arc<Self>, settings: Settings, plain: bool, commit_window: Duration) {
        self.storage.set_window(commit_window);
        self.shares.set_waiting_bytes(settings.waiting_bytes);
        let registration = settings.registration;
        *lock(&self.components) = Arc::new(settings.components.clone());
        let (features, upgrades, domains) = {
            let state = &mut *self.state.lock();
            for (sid, error) in state.core.configure(settings) {
                if let Some(outbox) = state.sessions.get(&sid) {
                    outbox.push(Mail::Close(Some(error)));
                }
            }
            // They depend on the settings: XEP-0115 has a hash of all that the server tells of itself.
            (state.core.stream_features(), state.core.upgrades(), domains(&state.core))
        };
        {
            let mut terms = lock(&self.server_terms);
            *terms = Arc::new(ServerTerms { domains, ..ServerTerms::clone(&terms) });
        }
        // Those who had contacts at a component that is gone are told; streams are made that have to be there.
        self.handle(Input::Tick);
        let mut terms = lock(&self.terms);
        *terms = Arc::new(Terms { plain, registration, features, upgrades, ..Terms::clone(&terms) });
    }

    /// A new connection of this owner, and what will wait for it.
    pub fn connect(&self, share: &Arc<Share>) -> (StreamId, Arc<Outbox>) {
        let sid = StreamId(self.next.fetch_add(1, Ordering::Relaxed));
        let outbox = Arc::new(Outbox::new(OUTBOX_BYTES, share.clone()));
        self.state.lock().sessions.insert(sid, outbox.clone());
        (sid, outbox)
    }

    /// A connection has said whose it is.
    pub(super) fn known(&self, outbox: &Outbox, peer: &Peer) -> Arc<Share> {
        let share = self.shares.share(Owner::of(peer));
        outbox.belongs_to(share.clone());
        share
    }

    /// All connections that may be are there, and somebody comes from this address. Ends the oldest connection of the address with most
    /// that have not said whose they are, if that has more of them. Says whether it has.
    pub(super) fn make_room(&self, newcomer: IpAddr) -> bool {
        let state = self.state.lock();
        let mut strangers: HashMap<IpAddr, (usize, StreamId)> = HashMap::new();
        for (sid, outbox) in &state.sessions {
            if let Some(ip) = outbox.stranger() {
                let (count, oldest) = strangers.entry(ip).or_insert((0, *sid));
                *count += 1;
                *oldest = (*oldest).min(*sid);
            }
        }
        let own = strangers.get(&newcomer).map_or(0, |(count, _)| *count);
        let Some((most, oldest)) = strangers.into_values().max() else { return false };
        if most <= own {
            return false;
        }
        state.sessions.get(&oldest).is_some_and(|outbox| outbox.cut())
    }

    /// The connection is gone: nothing waits for it any more.
    pub fn disconnect(&self, sid: StreamId) {
        self.state.lock().sessions.remove(&sid);
    }

    /// Tells every connection that the server stops.
    pub fn shut_down(&self) {
        for outbox in self.state.lock().sessions.values() {
            outbox.push(Mail::Shutdown);
        }
    }

    /// Ends storage, when all is committed.
    pub fn stop_storage(&self) {
        self.storage.stop();
    }

    /// Whether somebody has an account who was not a stranger when it was made.
    pub fn has_people(&self) -> bool {
        self.state.lock().core.state().has_people()
    }

    /// Whether somebody who has an account administers the server.
    pub fn is_administered(&self) -> bool {
        self.state.lock().core.state().is_administered()
    }

    /// What everybody in the house has, in words.
    pub fn house_told(&self) -> String {
        self.state.lock().core.state().house_told()
    }

    /// How many sessions are connected, how many wait for their client to come back, and how many accounts there are.
    pub fn people(&self) -> (usize, usize, usize) {
        let state = self.state.lock();
        let core = state.core.state();
        let connected = core.sessions().sum(|session| usize::from(session.stream.is_some()));
        (connected, core.sessions().len() - connected, core.accounts().len())
    }

    /// How it stands with other servers.
    pub fn peers(&self) -> Vec<PeerStatus> {
        self.state.lock().core.state().peers().collect()
    }

    /// What there is to tell of the clock.
    pub fn clock_told(&self) -> Option<String> {
        self.state.lock().core.state().clock_told()
    }

    /// Does something with the database between two commits; see [`Storage::with`].
    pub fn with_storage(&self, work: impl FnOnce(&mut dyn Keep, &mut Vec<Listener>) + Send + 'static) {
        self.storage.with(work);
    }

    /// The same, and waits for what it gives. Blocks.
    ///
    /// # Errors
    /// When storage does not answer.
    pub fn on_storage<T: Send + 'static>(&self, work: impl FnOnce(&mut dyn Keep) -> T + Send + 'static) -> Result<T> {
        let (tell, told) = mpsc::channel();
        self.with_storage(move |engine, _| drop(tell.send(work(engine))));
        told.recv_timeout(STORAGE).map_err(|_| Failure::new("the server's storage does not answer; is it stopping?"))
    }

    /// Waits until the core can be had and storage has done what it does; `false` when storage has ended. Hangs if one of them does.
    pub async fn answers(&self) -> bool {
        drop(self.state.lock());
        let (tell, told) = channel::bounded(1);
        self.with_storage(move |_, _| {
            let _ = tell.try_send(());
        });
        told.recv().await.is_ok()
    }

    /// Keeps the core from everybody else meanwhile.
    #[cfg(test)]
    pub(super) fn hold(&self, meanwhile: impl FnOnce()) {
        let _held = self.state.lock();
        meanwhile();
    }

    /// Why storage does not take everything, if it does not.
    pub fn takes_nothing(&self) -> Option<&'static str> {
        match (self.stalled.load(Ordering::Relaxed), self.full.load(Ordering::Relaxed)) {
            (true, _) => Some("nothing can be stored: the disk is full or fails, the log says why"),
            (false, true) => Some("the disk is full: nothing more is stored but what makes room"),
            (false, false) => None,
        }
    }

    /// Whether an owner keeps storage so busy that nothing more should be read from it. While storage takes nothing nobody waits for
    /// the disk: what has to be stored is refused, and all else goes on.
    pub(super) fn keeps_busy(&self, share: &Share) -> bool {
        share.asks_much() || share.is_crowded() && !self.stalled.load(Ordering::Relaxed)
    }

    /// The same; if so, the waker is kept.
    pub(super) fn is_crowded(&self, share: &Share, waker: &Waker) -> bool {
        if !self.keeps_busy(share) {
            return false;
        }
        let mut state = self.state.lock();
        let crowded = self.keeps_busy(share);
        if crowded && !state.unwritten.readers.iter().any(|kept| kept.will_wake(waker)) {
            state.unwritten.readers.push(waker.clone());
        }
        crowded
    }

    /// The one entrance to the core: carries out what it wants before it returns.
    pub fn handle(self: &Arc<Self>, input: Input) {
        self.handle_of(None, input);
    }

    /// The same, of somebody.
    pub(super) fn handle_of(self: &Arc<Self>, share: Option<&Arc<Share>>, input: Input) {
        let mut state = self.state.lock();
        let state = &mut *state;
        let mut asker = None;
        match &input {
            Input::Answer(job, _) => {
                asker = state.questions.remove(job);
                if let Some(share) = &asker {
                    share.is_answered();
                    state.unwritten.wake();
                }
            }
            Input::Committed(number) => state.unwritten.written(*number, &self.shares),
            Input::Stalled(stalled) => {
                self.stalled.store(*stalled, Ordering::Relaxed);
                state.unwritten.wake();
            }
            Input::Full(full) => self.full.store(*full, Ordering::Relaxed),
            Input::Stanza(_, stanza) => self.counters.received(stanza.kind),
            Input::LoginEnded(_, _, _, succeeded) => self.counters.login(*succeeded),
            _ => {}
        }
        let share = share.or(asker.as_ref());
        let now = self.now();
        state.core.handle(now, input, &mut state.effects);
        let slow = state.core.take_said_to_slow();
        if slow > 0
            && let Some(share) = share
        {
            share.slow_down(slow);
        }
        for effect in state.effects.drain(..) {
            let effect = match Mail::of(effect) {
                Ok((sid, mail)) => {
                    if let Mail::Send(stanza) = &mail {
                        self.counters.sent(stanza.kind);
                    }
                    if let Some(outbox) = state.sessions.get(&sid) {
                        outbox.push_from(mail, share);
                    }
                    continue;
                }
                Err(effect) => effect,
            };
            match effect {
                Effect::Commit(number, batch) => {
                    let bytes = batch.ops.iter().map(op_bytes).sum();
                    state.unwritten.add(number, bytes, share.cloned(), &self.shares);
                    self.storage.commit(number, batch);
                }
                Effect::Ask(job, query) => {
                    if let Some(share) = share {
                        share.asks();
                        state.questions.insert(job, share.clone());
                    }
                    self.storage.ask(job, query);
                }
                Effect::Hash(job, password, iterations) => self.hash(job, password, iterations),
                Effect::Slot(job, wanted) => self.slot(job, wanted),
                Effect::RemoveFiles(account) => self.with_files(move |files| files.remove_of(&account)),
                Effect::WakeAt(mono) => self.wake_at(mono),
                Effect::Dial(pair) => self.dial(Dial::Stanzas(pair)),
                Effect::Verify { stream, pair, id, key } => self.dial(Dial::Verify { stream, pair, id, key }),
                Effect::Told(job, answer) => tell(&mut state.commands, job, answer),
                Effect::Notified(job, answer) => tell(&mut state.notifications, job, answer),
                Effect::Taken(job, answer) => tell(&mut state.takers, job, answer),
                // For a stream: see above.
                _ => {}
            }
        }
    }

    /// Has somebody make a stream: whoever serves other servers. If nobody does, nothing comes of it.
    fn dial(&self, dial: Dial) {
        // Without a limit of its own: the core has one for what is on its way.
        let _ = self.dials.0.try_send(dial);
    }

    /// The streams to other servers that are to be made.
    pub(super) fn dials(&self) -> channel::Receiver<Dial> {
        self.dials.1.clone()
    }

    /// What streams between servers need to know now.
    pub(super) fn server_terms(&self) -> Arc<ServerTerms> {
        lock(&self.server_terms).clone()
    }

    fn hash(self: &Arc<Self>, job: Job, password: String, iterations: u32) {
        let hub = self.clone();
        let work = async move {
            let keys = smol::unblock(move || driver::hash(&password, iterations)).await;
            hub.handle(Input::Hashed(job, keys.ok()));
        };
        self.spawn(work);
    }

    fn slot(self: &Arc<Self>, job: Job, wanted: WantedSlot) {
        let (hub, files) = (self.clone(), self.files().cloned());
        let work = async move {
            let mono = hub.mono();
            let slot = match files {
                Some(files) => smol::unblock(move || files.slot(&wanted, mono)).await,
                None => Err(SlotRefusal::Unavailable("the server keeps no files now")),
            };
            hub.handle(Input::Slot(job, slot));
        };
        self.spawn(work);
    }

    /// Does something with the uploaded files, if there are any.
    fn with_files(&self, work: impl FnOnce(&Files) + Send + 'static) {
        if let Some(files) = self.files().cloned() {
            self.spawn(smol::unblock(move || work(&files)));
        }
    }

    /// Carries out a command of the owner.
    ///
    /// # Errors
    /// What the core says.
    pub async fn command(self: &Arc<Self>, command: Command) -> std::result::Result<Vec<String>, String> {
        let (answer, answered) = channel::bounded(1);
        let job = Job(self.next.fetch_add(1, Ordering::Relaxed));
        self.state.lock().commands.insert(job, answer);
        self.handle(Input::Command(job, command));
        answered.recv().await.unwrap_or_else(|_| Err("the server stops".into()))
    }

    /// Whether a token may be used now ([`Core::knows_notifier`]).
    ///
    /// # Errors
    /// Why not.
    pub(super) fn knows_notifier(&self, digest: &TokenDigest, peer: IpAddr) -> std::result::Result<(), NotifyRefusal> {
        let now = self.mono();
        self.state.lock().core.knows_notifier(now, digest, peer)
    }

    /// Says what somebody of this share has to say who knows a token. Gives the `id` of the message, once it is stored.
    ///
    /// # Errors
    /// Why it is not said.
    pub(super) async fn notify(
        self: &Arc<Self>,
        share: &Arc<Share>,
        digest: TokenDigest,
        text: &str,
    ) -> std::result::Result<String, NotifyRefusal> {
        let (answer, answered) = channel::bounded(1);
        let job = Job(self.next.fetch_add(1, Ordering::Relaxed));
        self.state.lock().notifications.insert(job, answer);
        self.handle_of(Some(share), Input::Notify(job, digest, text.into()));
        answered.recv().await.unwrap_or_else(|_| Err(NotifyRefusal::NotStored("the server stops".into())))
    }

    /// What may be shown of the invitation with this token. One that is none counts against the network that it came from.
    ///
    /// # Errors
    /// [`TakeRefusal::Unknown`], or [`TakeRefusal::Later`].
    pub fn invitation(&self, token: &str, peer: IpAddr) -> std::result::Result<InvitationView, TakeRefusal> {
        let now = self.now();
        self.state.lock().core.invitation(now, token, peer)
    }

    /// Makes the account, or sets the password, that the invitation with this token is for; `name` counts for an account alone. Gives
    /// its bare JID, once it is stored. A page that was opened in time may be sent for another hour.
    ///
    /// # Errors
    /// Why not; the invitation stays as it was.
    pub async fn take_invitation(
        self: &Arc<Self>,
        token: &str,
        peer: IpAddr,
        kind: InvitationKind,
        (name, password): (&str, &str),
    ) -> std::result::Result<Jid, TakeRefusal> {
        let now = self.now();
        let (digest, iterations) = {
            let mut state = self.state.lock();
            let digest = state.core.may_take(now, token, peer, kind, (name, password))?;
            (digest, state.core.state().settings().iterations)
        };
        let unhashed = password.to_owned();
        let keys = smol::unblock(move || driver::hash(&unhashed, iterations)).await;
        let keys = keys.map_err(|_| TakeRefusal::Password("the password has characters that cannot be used"))?;
        let (answer, answered) = channel::bounded(1);
        let job = Job(self.next.fetch_add(1, Ordering::Relaxed));
        self.state.lock().takers.insert(job, answer);
        self.handle(Input::Take(job, digest, name.into(), keys, peer));
        answered.recv().await.unwrap_or_else(|_| Err(TakeRefusal::NotStored("the server stops".into())))
    }

    /// What URLs begin with from now on.
    pub(super) fn set_web_base(&self, base: Option<String>) {
        self.state.lock().core.set_web_base(base);
    }

    fn wake_at(&self, mono: u64) {
        let (mut alarm, at) = (lock(&self.alarm), self.instant(mono));
        // An earlier time is kept: a tick too many costs less than to move the timer whenever the first one is over.
        if alarm.at.is_some_and(|set| set <= at) {
            return;
        }
        alarm.at = Some(at);
        if let Some(waker) = alarm.waker.take() {
            waker.wake();
        }
    }

    /// Wakes the core when it asked to be, for ever.
    pub async fn tick(self: Arc<Self>) {
        let mut timer = Timer::never();
        loop {
            let mut set = None;
            poll_fn(|cx| {
                let mut alarm = lock(&self.alarm);
                alarm.waker = Some(cx.waker().clone());
                match alarm.at {
                    None => return Poll::Pending,
                    Some(at) if set != Some(at) => {
                        set = Some(at);
                        timer.set_at(at);
                    }
                    _ => {}
                }
                let fired = Pin::new(&mut timer).poll(cx).is_ready();
                if fired {
                    alarm.at = None;
                    return Poll::Ready(());
                }
                Poll::Pending
            })
            .await;
            self.handle(Input::Tick);
        }
    }

    /// Runs a task beside the others.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(task).detach();
        }
    }
}

/// An answer goes to who waits for it, if somebody still does.
fn tell<T>(waiting: &mut HashMap<Job, channel::Sender<T>>, job: Job, answer: T) {
    if let Some(asked) = waiting.remove(&job) {
        let _ = asked.try_send(answer);
    }
}

fn op_bytes(op: &crate::store::Op) -> usize {
    use crate::store::Op;
    match op {
        Op::Put(_, key, value) => {
            let file = if key.len() + value.len() > INLINE_BYTES { LARGE_BYTES } else { 0 };
            key.len() + value.len() + 64 + file
        }
        Op::Delete(_, key) | Op::DeleteAll(_, key) => key.len() + 64,
        Op::Append(entry) => entry.value.len() + 256,
        Op::Trim { .. } => 64,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::store::{Engine, Query, Tree};
    use crate::wire::{Kind, Stanza, stanza::Type};

    fn mail(bytes: usize) -> Mail {
        Mail::Send(Stanza::new(Kind::Message, Type::Chat).with(format!("<body>{}</body>", "x".repeat(bytes))))
    }

    fn outbox(limit: usize) -> Outbox {
        Outbox::new(limit, Shares::new(64 * 1024 * 1024).share(Owner::Account("juliet@house.test".into())))
    }

    #[test]
    fn an_outbox_is_taken_in_order() {
        let outbox = outbox(OUTBOX_BYTES);
        assert!(outbox.poll(Waker::noop(), false).is_pending());
        outbox.push(mail(1));
        outbox.push(Mail::Close(None));
        assert!(outbox.poll(Waker::noop(), true).is_pending());
        let Poll::Ready(all) = outbox.poll(Waker::noop(), false) else { panic!("there was mail") };
        assert!(matches!(&Vec::from(all)[..], [Mail::Send(_), Mail::Close(None)]));
        assert!(outbox.poll(Waker::noop(), false).is_pending());
    }

    #[test]
    fn an_outbox_that_passes_its_limit_holds_nothing_else() {
        let outbox = outbox(10_000);
        outbox.push(mail(9_000));
        outbox.push(mail(2_000));
        outbox.push(mail(1));
        // Also while the connection is stuck in writing.
        let Poll::Ready(all) = outbox.poll(Waker::noop(), true) else { panic!("there was mail") };
        assert!(matches!(&Vec::from(all)[..], [Mail::Overflow]));
        outbox.push(mail(1));
        assert!(outbox.poll(Waker::noop(), false).is_pending());
    }

    /// A bridge that starts enters the rooms of all its people at once.
    #[test]
    fn an_outbox_of_a_component_takes_a_burst() {
        let shares = Shares::new(64 * 1024 * 1024);
        for (owner, takes) in [
            (Owner::Account("juliet@house.test".into()), false),
            (Owner::Server("office.test".into()), false),
            (Owner::Component("irc.house.test".into()), true),
        ] {
            let outbox = Outbox::new(OUTBOX_BYTES, shares.share(Owner::Address([127, 0, 0, 1].into())));
            outbox.belongs_to(shares.share(owner.clone()));
            (0..8 * 1024).for_each(|_| outbox.push(mail(1024)));
            let Poll::Ready(first) = outbox.poll(Waker::noop(), false) else { panic!("there was mail") };
            assert_eq!(!matches!(first[0], Mail::Overflow), takes, "{owner:?}");
        }
    }

    /// A session that waited can be resumed, however small its stanzas are.
    #[test]
    fn an_outbox_takes_all_that_a_session_may_have_waiting() {
        use crate::core::message::{QUEUE_BYTES, QUEUE_STANZAS, QUEUED_BYTES};
        for bytes in [0, 100, 10_000] {
            let outbox = outbox(OUTBOX_BYTES);
            let (mut left, mut stanzas) = (QUEUE_BYTES, 0);
            while let Mail::Send(stanza) = mail(bytes)
                && let Some(rest) = left.checked_sub(stanza.bytes() + QUEUED_BYTES)
                && stanzas < QUEUE_STANZAS
            {
                outbox.push(Mail::Send(stanza));
                (left, stanzas) = (rest, stanzas + 1);
            }
            // And what comes right behind it.
            outbox.push(mail(256 * 1024));
            let mut all = 0;
            while let Poll::Ready(piece) = outbox.poll(Waker::noop(), false) {
                let weight: usize = piece.iter().map(Mail::bytes).sum();
                assert!(weight <= PIECE_BYTES + 257 * 1024, "{weight}");
                all += piece.len();
            }
            assert_eq!(all, stanzas + 1, "{bytes}");
        }
    }

    fn hub(settings: &Settings) -> Arc<Hub> {
        let mut engine = crate::store::memory::Memory::default();
        let core = Core::open(settings.clone(), [0; 32], crate::ext::all(), &mut engine).unwrap();
        let features = core.stream_features();
        let terms = Terms { plain: true, features, ..Terms::new(settings.domain.clone()) };
        Hub::new(core, terms, Storage::channel().0, &Arc::new(Executor::new()))
    }

    #[test]
    fn room_for_a_newcomer_is_made_by_the_address_that_has_more_connections() {
        let hub = hub(&Settings::new(Jid::parse("house.test").unwrap()));
        let [few, many] = [1, 2].map(|n| IpAddr::from([192, 0, 2, n]));
        let connect = |ip| hub.connect(&hub.shares().share(Owner::Address(ip))).1;
        let few_outboxes = [connect(few), connect(few)];
        let mut many_outboxes = vec![connect(many), connect(many)];
        // Nobody is ended for somebody who has as many: the two would end each other for ever.
        assert!(!hub.make_room(few) && !hub.make_room(many));
        many_outboxes.push(connect(many));
        assert!(!hub.make_room(many) && hub.make_room(few));
        let are_there = |outboxes: &[Arc<Outbox>]| outboxes.iter().map(|o| o.stranger().is_some()).collect::<Vec<_>>();
        assert_eq!((are_there(&few_outboxes), are_there(&many_outboxes)), (vec![true; 2], vec![false, true, true]));
        assert!(!hub.make_room(few));
    }

    #[test]
    fn features_follow_the_settings() {
        let settings = Settings::new(Jid::parse("house.test").unwrap());
        let hub = hub(&settings);
        let before = hub.terms().features.clone();
        let contacts = vec![("admin".to_owned(), "mailto:admin@house.test".to_owned())];
        hub.configure(Settings { contacts, ..settings.clone() }, true, Duration::ZERO);
        assert_ne!(hub.terms().features, before, "the hash of XEP-0115");
        hub.configure(settings, true, Duration::ZERO);
        assert_eq!(hub.terms().features, before);
    }

    /// As pages do it: of two who take one invitation at once, one has it, and what is answered is stored.
    #[test]
    fn an_invitation_is_taken_once() {
        let settings = Settings { iterations: 4096, ..Settings::new(Jid::parse("house.test").unwrap()) };
        let mut engine = crate::store::memory::Memory::default();
        let core = Core::open(settings.clone(), [0; 32], crate::ext::all(), &mut engine).unwrap();
        let (storage, requests) = Storage::channel();
        let hub = Hub::new(core, Terms::new(settings.domain), storage, &Arc::new(Executor::new()));
        let told = hub.clone();
        let wear = Arc::new(crate::service::disk::wear::Wear::default());
        let thread = requests.start(engine, Duration::ZERO, wear, move |input| told.handle(input)).unwrap();
        let digest = crate::core::token_digest("abc");
        let peer = IpAddr::from([192, 0, 2, 7]);
        smol::block_on(async {
            let wanted = crate::core::WantedInvitation::new(digest);
            hub.command(Command::Invite(Box::new(wanted))).await.unwrap();
            assert!(hub.invitation("abc", peer).is_ok());
            assert_eq!(hub.invitation("no", peer), Err(TakeRefusal::Unknown));
            let short = hub.take_invitation("abc", peer, InvitationKind::Account, ("juliet", "short")).await;
            assert!(matches!(short, Err(TakeRefusal::Password(_))), "{short:?}");
            let odd = hub.take_invitation("abc", peer, InvitationKind::Account, ("juliet", "wherefore\u{0}art")).await;
            assert!(matches!(odd, Err(TakeRefusal::Password(_))), "{odd:?}");
            let take = |name| hub.take_invitation("abc", peer, InvitationKind::Account, (name, "wherefore art thou"));
            let both = smol::future::zip(take("juliet"), take("romeo")).await;
            let (taken, refused) = if both.0.is_ok() { both } else { (both.1, both.0) };
            let jid = taken.unwrap();
            assert_eq!(refused, Err(TakeRefusal::Unknown));
            assert_eq!(hub.command(Command::UserList).await.unwrap(), [jid.to_string()]);
        });
        hub.stop_storage();
        let mut engine = thread.join().unwrap();
        let rows = |engine: &mut crate::store::memory::Memory, tree| {
            let (prefix, after) = (Box::default(), None);
            engine.query(&Query::Scan { tree, prefix, after, rows: 9, bytes: usize::MAX }).unwrap().len()
        };
        assert_eq!((rows(&mut engine, Tree::Account), rows(&mut engine, Tree::Invitation)), (1, 0));
    }
}
