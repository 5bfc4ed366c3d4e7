//! One client's connection: TLS around the socket, the stream inside, and the way between the stream and the core.
//!
//! It is one task and one loop that reads, writes and takes its outbox whenever there is something to do. It owns no read
//! buffer: what is read goes through a buffer of the thread, and the stream keeps what is incomplete.

use super::hub::{Hub, Mail, Outbox};
use super::share::{ACCOUNT_CONNECTIONS, Owner, Share, Turns, Waiting, Watch, in_turns};
use super::tls::{Acceptor, Stream};
use crate::core::{Input, Sid, network};
use crate::stream::c2s::C2s;
use crate::stream::plain::Plain;
use crate::stream::{Event, Mono, UNAUTHENTICATED_MS};
use crate::wire::{Jid, StreamCondition, StreamError};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How long a peer may take none of what is written to it, in milliseconds.
pub const WRITE_MS: Mono = 60_000;
/// How long a peer may take to read the end of its stream, in milliseconds.
pub const HANG_UP_MS: Mono = 5_000;
/// How long we listen to a peer that was told the end, in milliseconds: to close at once would make its system throw away
/// what it has not read yet.
const LINGER_MS: Mono = 1_000;
/// Bytes that are read from it in that time.
const LINGER_BYTES: usize = 64 * 1024;
/// Bytes in writing above which nothing more is read from the peer or taken from the outbox.
pub(super) const WRITE_BYTES: usize = 64 * 1024;

type Socket = Async<TcpStream>;

/// Carries a connection to its end. `direct`: TLS from the first byte.
///
/// Each part of its life is a box of its own, gone with that part: thousands may be at the same one. While it is idle there is only
/// [`Conn`].
pub fn serve(
    hub: Arc<Hub>,
    acceptor: Arc<Acceptor>,
    socket: Socket,
    ip: IpAddr,
    direct: bool,
) -> impl Future<Output = ()> + Send + 'static {
    let share = hub.shares().share(Owner::Address(network(ip)));
    let begin = Box::pin(in_turns(share.clone(), begin(hub, share, acceptor, socket, ip, direct)));
    async move {
        if let Some(mut conn) = begin.await {
            let end = poll_fn(|cx| conn.poll(cx)).await;
            Box::pin(conn.finish(end)).await;
        }
    }
}

/// The connection up to the end of TLS's handshake.
async fn begin(
    hub: Arc<Hub>,
    share: Arc<Share>,
    acceptor: Arc<Acceptor>,
    mut socket: Socket,
    ip: IpAddr,
    direct: bool,
) -> Option<Box<Conn>> {
    let since = hub.mono();
    tune(&socket);
    let entry = Entry::new(hub, share);
    let sid = entry.sid;
    log::debug!("{sid:?}: connected from {ip}");
    if !direct {
        match Box::pin(starttls(&entry, &mut socket, since)).await {
            Ok(true) => {}
            Ok(false) => {
                Box::pin(linger(&entry.hub, &mut socket)).await;
                return None;
            }
            Err(e) => {
                log::debug!("{sid:?}: {e}");
                return None;
            }
        }
    }
    let handshake = Box::pin(acceptor.accept(socket, direct));
    match wait(&entry.hub, Some(&entry.outbox), since + UNAUTHENTICATED_MS, handshake).await {
        Wait::Done(Ok((stream, tls, early))) => {
            let random = super::random().inspect_err(|e| log::error!("{e}")).ok()?;
            let c2s = C2s::new(entry.hub.terms(), tls, since, random);
            let mut conn = Box::new(Conn {
                entry,
                ip,
                stream,
                c2s,
                known: false,
                login: None,
                waits: None,
                rest: Vec::new(),
                out: String::new(),
                sent: 0,
                progress: since,
                timer: Timer::never(),
                timer_at: Mono::MAX,
                watch: Watch::new(),
                end: None,
            });
            conn.feed(&early);
            Some(conn)
        }
        Wait::Done(Err(e)) => {
            log::debug!("{sid:?}: no TLS: {e}");
            None
        }
        Wait::Late | Wait::Mail => None,
    }
}

/// The connection in the hub. The hub forgets it when it ends, however it ends.
pub(super) struct Entry {
    pub hub: Arc<Hub>,
    pub sid: Sid,
    pub outbox: Arc<Outbox>,
    turns: Turns,
    /// What it keeps itself, of what came in and of what is to be written; and whose it is.
    kept: Waiting,
}

impl Entry {
    pub fn new(hub: Arc<Hub>, share: Arc<Share>) -> Entry {
        let (sid, outbox) = hub.connect(&share);
        share.connected();
        Entry { hub, sid, outbox, turns: Turns::default(), kept: Waiting::new(share) }
    }

    /// Its peer has said who it is. Says whether it may have one more connection.
    pub fn known(&mut self, jid: &Jid) -> bool {
        let share = self.hub.known(&self.outbox, jid);
        self.kept.share().disconnected();
        let connections = share.connected();
        self.kept.belongs_to(share);
        connections <= ACCOUNT_CONNECTIONS
    }

    /// Whether it is its turn now, in nanoseconds since the start.
    pub fn begin(&mut self, now: u64, cx: &Context<'_>) -> bool {
        self.turns.begin(self.kept.share(), now, cx)
    }

    /// The turn from then to now is over. `more`: something is left to do.
    pub fn end(&mut self, time: (u64, u64), more: bool, cx: &Context<'_>) {
        self.turns.end(self.kept.share(), time, more, cx);
    }

    /// Tells the core.
    pub fn tell(&self, input: Input) {
        self.hub.handle_of(Some(self.kept.share()), input);
    }

    /// It keeps so many bytes. Says whether that may be.
    pub fn keeps(&mut self, bytes: usize) -> bool {
        self.kept.set(bytes)
    }

    /// Whether nothing more should be read from its owner for now; its task is woken when that changes, or a timer is due
    /// ([`Entry::paused_until`]).
    pub fn is_crowded(&self, watch: &Watch, cx: &Context<'_>) -> bool {
        self.is_paused(watch) || self.hub.is_crowded(self.kept.share(), cx.waker())
    }

    /// Whether even what was read already has to wait: short requests can have long answers. What is to be written is as long as what
    /// was read, and does not.
    pub fn keeps_busy(&self, watch: &Watch) -> bool {
        self.is_paused(watch) || self.kept.share().asks_much()
    }

    fn is_paused(&self, watch: &Watch) -> bool {
        self.kept.share().paused_until() > watch.now
    }

    /// When its owner is read from again, in milliseconds; at once if that is over.
    pub fn paused_until(&self, watch: &Watch) -> Option<Mono> {
        self.is_paused(watch).then(|| self.kept.share().paused_until() / 1_000_000 + 1)
    }
}

/// What is told to who has more waiting than may.
pub(super) fn too_much(text: &'static str) -> StreamError {
    StreamError::new(StreamCondition::ResourceConstraint).text(text)
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.hub.disconnect(self.sid);
        self.kept.share().disconnected();
    }
}

/// What the socket should do; that it cannot is no reason to refuse a client.
pub(super) fn tune(socket: &Socket) {
    let _ = socket.get_ref().set_nodelay(true);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(socket.get_ref(), WRITE_MS as u32);
}

pub(super) enum Wait<T> {
    Done(T),
    Late,
    /// Before the core knows of a stream only one kind comes: the server stops.
    Mail,
}

/// Waits for something, but not longer than until `deadline`, nor until there is mail in the outbox.
pub(super) async fn wait<T>(
    hub: &Hub,
    outbox: Option<&Outbox>,
    deadline: Mono,
    what: impl Future<Output = T>,
) -> Wait<T> {
    let mut what = pin!(what);
    let mut timer = Timer::at(hub.instant(deadline));
    poll_fn(|cx| {
        if let Poll::Ready(done) = what.as_mut().poll(cx) {
            return Poll::Ready(Wait::Done(done));
        }
        if outbox.is_some_and(|outbox| outbox.poll(cx.waker(), false).is_ready()) {
            return Poll::Ready(Wait::Mail);
        }
        Pin::new(&mut timer).poll(cx).map(|_| Wait::Late)
    })
    .await
}

/// The stream before TLS. `true`: the next byte is TLS's; what else was read is forgotten (RFC 6120 §5.3.1).
async fn starttls(entry: &Entry, socket: &mut Socket, since: Mono) -> io::Result<bool> {
    let Entry { hub, outbox, .. } = entry;
    let mut plain = Plain::new(hub.terms(), since, super::random().map_err(|e| io::Error::other(e.0))?);
    let mut buffer = [0; 1024];
    let mut out = String::new();
    loop {
        let mut event = match wait(hub, Some(outbox), plain.deadline(), socket.read(&mut buffer)).await {
            Wait::Done(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Wait::Done(Ok(n)) => {
                let mut input = &buffer[..n];
                plain.next(hub.mono(), &mut input, &mut out)
            }
            Wait::Done(Err(e)) => return Err(e),
            Wait::Late => plain.expired(hub.mono(), &mut out),
            Wait::Mail => {
                plain.close(&StreamCondition::SystemShutdown.into(), &mut out);
                Some(Event::Closed { clean: false })
            }
        };
        // The answer is short: whoever does not take it has no business here.
        let written = wait(hub, None, hub.mono() + HANG_UP_MS, socket.write_all(out.as_bytes())).await;
        if !matches!(written, Wait::Done(Ok(()))) {
            event = Some(Event::Closed { clean: false });
        }
        out.clear();
        match event {
            None => {}
            Some(Event::StartTls) => return Ok(true),
            Some(_) => return Ok(false),
        }
    }
}

/// Ends a connection that was told the reason.
pub(super) async fn linger(hub: &Hub, socket: &mut Socket) {
    let _ = socket.get_ref().shutdown(std::net::Shutdown::Write);
    let drain = async {
        let mut buffer = [0; 1024];
        let mut bytes = 0;
        while let Ok(n @ 1..) = socket.read(&mut buffer).await {
            bytes += n;
            if bytes > LINGER_BYTES {
                break;
            }
        }
    };
    wait(hub, None, hub.mono() + LINGER_MS, drain).await;
}

thread_local! {
    /// What was read and decrypted.
    static READ: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The buffer of whoever has something to write; who has written all gives it back.
    static WRITE: Cell<String> = const { Cell::new(String::new()) };
}

/// How a stream ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// The peer closed it.
    Clean,
    /// An error of theirs, or of ours.
    Unclean,
    /// The core ended it.
    Told,
    /// There is nobody to say goodbye to.
    Broken,
}

/// What the stream waits for before it reads on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waits {
    Credentials,
    Begun,
    Bound,
    Resumed,
    Registered,
}

/// A connection inside TLS.
struct Conn {
    entry: Entry,
    ip: IpAddr,
    stream: Stream,
    c2s: C2s,
    /// Whether the core has heard of it.
    known: bool,
    /// Who logs in, or has.
    login: Option<Jid>,
    waits: Option<Waits>,
    /// What was read behind that which waits for its answer, or for the next turn.
    rest: Vec<u8>,
    /// What is to be written, from `sent` on.
    out: String,
    sent: usize,
    /// When the peer last took something, or nothing was to be taken.
    progress: Mono,
    timer: Timer,
    timer_at: Mono,
    watch: Watch,
    end: Option<End>,
}

impl Conn {
    /// Does what can be done now, until the stream ends or the turn is over.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.watch.look(self.entry.hub.shares());
        let begun = self.watch.now;
        if !self.entry.begin(begun, cx) {
            return Poll::Pending;
        }
        self.watch.begin(self.entry.hub.shares());
        if self.out.is_empty() {
            self.out = WRITE.take();
        }
        let (end, more) = match self.work(cx) {
            Some(end) => (end, false),
            None => (Poll::Pending, true),
        };
        if self.out.is_empty() {
            let mut out = std::mem::take(&mut self.out);
            out.shrink_to(WRITE_BYTES);
            WRITE.set(out);
        }
        let kept = self.c2s.held_bytes() + self.rest.len() + self.out.len() - self.sent + self.stream.unsent();
        let fits = self.entry.keeps(kept);
        self.entry.end((begun, self.watch.now), more, cx);
        if end.is_pending() && !fits {
            log::info!("{:?}: closed, its owner keeps more waiting than it leaves to the others", self.entry.sid);
            self.close(Some(too_much("too much of this account or address was waiting")), End::Unclean);
            return Poll::Ready(End::Unclean);
        }
        end
    }

    /// Nothing: there is more to do in the next turn.
    fn work(&mut self, cx: &mut Context<'_>) -> Option<Poll<End>> {
        loop {
            if let Err(e) = self.write(cx) {
                log::debug!("{:?}: writing: {e}", self.entry.sid);
                return Some(Poll::Ready(End::Broken));
            }
            let room = self.out.len() - self.sent < WRITE_BYTES;
            let busy = match self.entry.outbox.poll(cx.waker(), !room) {
                Poll::Ready(mail) => {
                    mail.into_iter().for_each(|mail| self.take(mail));
                    true
                }
                Poll::Pending => false,
            };
            let open = self.end.is_none() && room && self.waits.is_none();
            let busy = busy || open && !self.entry.is_crowded(&self.watch, cx) && self.read(cx).is_ready();
            let busy = busy || self.end.is_none() && self.late(cx).is_ready();
            if let Some(end) = self.end {
                return Some(Poll::Ready(end));
            }
            if !busy {
                return Some(Poll::Pending);
            }
            if self.watch.look(self.entry.hub.shares()) {
                return None;
            }
        }
    }

    /// Writes what the peer takes.
    fn write(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.sent < self.out.len() {
            let Poll::Ready(n) = self.stream.poll_write(cx, &self.out.as_bytes()[self.sent..])? else {
                return Ok(());
            };
            self.sent += n;
            self.progress = self.watch.mono();
        }
        self.out.clear();
        self.sent = 0;
        let unsent = self.stream.unsent();
        let _ = self.stream.poll_flush(cx)?;
        if self.stream.unsent() < unsent {
            self.progress = self.watch.mono();
        }
        Ok(())
    }

    /// Whether the peer has taken all that was written.
    fn is_idle(&self) -> bool {
        self.sent == self.out.len() && self.stream.unsent() == 0
    }

    /// Reads once, when all that was read is done with. Ready: there was something, or the end.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.feed(&rest);
            return Poll::Ready(());
        }
        READ.with_borrow_mut(|plain| {
            plain.clear();
            match ready!(self.stream.poll_read(cx, plain)) {
                Ok(1..) => self.feed(plain),
                Ok(_) => self.end = Some(End::Broken),
                Err(e) => {
                    log::debug!("{:?}: reading: {e}", self.entry.sid);
                    self.end = Some(End::Broken);
                }
            }
            Poll::Ready(())
        })
    }

    /// Looks after the clock. Ready: it was time for something.
    fn late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.watch.mono();
        let idle = self.is_idle();
        let stuck = if idle { Mono::MAX } else { self.progress + WRITE_MS };
        if stuck <= now {
            log::debug!("{:?}: the peer does not read", self.entry.sid);
            self.end = Some(End::Broken);
            return Poll::Ready(());
        }
        if self.c2s.deadline() <= now {
            let event = self.c2s.expired(now, &mut self.out);
            self.began(idle);
            self.react(event);
            return Poll::Ready(());
        }
        // The timer is only ever set to something earlier: most deadlines move away before they come.
        let paused = self.entry.paused_until(&self.watch).unwrap_or(Mono::MAX);
        let due = stuck.min(self.c2s.deadline()).min(paused);
        if due < self.timer_at {
            self.timer.set_at(self.entry.hub.instant(due));
            self.timer_at = due;
        }
        if Pin::new(&mut self.timer).poll(cx).is_ready() {
            self.timer_at = Mono::MAX;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Counts the peer's time to take what is written from now on, if nothing was in writing before.
    fn began(&mut self, idle: bool) {
        if idle {
            self.progress = self.watch.mono();
        }
    }

    /// Gives the stream what was read, until it has to wait for something or the turn is over.
    fn feed(&mut self, mut input: &[u8]) {
        let idle = self.is_idle();
        self.began(idle);
        while self.end.is_none() && self.waits.is_none() {
            let is_over = self.watch.look(self.entry.hub.shares()) || self.entry.keeps_busy(&self.watch);
            if is_over && !input.is_empty() {
                break;
            }
            match self.c2s.next(self.watch.mono(), &mut input, &mut self.out) {
                None => return,
                event => self.react(event),
            }
        }
        self.rest = input.to_vec();
    }

    /// Carries what the stream wants to the core.
    fn react(&mut self, event: Option<Event>) {
        let Some(event) = event else { return };
        let sid = self.entry.sid;
        match event {
            Event::Credentials(jid) => {
                self.login = Some(jid.clone());
                self.waits = Some(Waits::Credentials);
                self.tell(Input::Login(sid, jid, self.ip));
            }
            Event::Authenticated(jid) => {
                log::info!("{jid} logged in from {}", self.ip);
                self.login = Some(jid.clone());
                let fits = self.entry.known(&jid);
                self.tell(Input::LoginEnded(sid, jid, self.ip, true));
                if !fits {
                    self.close(Some(too_much("this account has too many connections")), End::Unclean);
                }
            }
            Event::Failed(jid) => {
                if let Some(jid) = jid {
                    log::info!("{jid} failed to log in from {}", self.ip);
                    self.tell(Input::LoginEnded(sid, jid, self.ip, false));
                }
                self.login = None;
            }
            Event::Begin(begin) => {
                self.waits = Some(Waits::Begun);
                self.tell(Input::Begin(sid, begin, self.ip));
            }
            Event::Bind(resource) => match self.login.clone() {
                Some(jid) => {
                    self.waits = Some(Waits::Bound);
                    self.tell(Input::Bind(sid, jid, resource));
                }
                None => self.end = Some(End::Broken),
            },
            Event::Resume { id, h } => match self.login.clone() {
                Some(jid) => {
                    self.waits = Some(Waits::Resumed);
                    self.tell(Input::Resume(sid, jid, id, h));
                }
                None => self.end = Some(End::Broken),
            },
            Event::Enable { resume, max_s } => self.tell(Input::Enable(sid, resume, max_s)),
            Event::Acknowledged(h) => self.tell(Input::Acknowledged(sid, h)),
            Event::Acknowledge => self.tell(Input::Acknowledge(sid)),
            Event::Active(active) => self.tell(Input::Active(sid, active)),
            Event::Closing => self.tell(Input::Closing(sid)),
            Event::Stanza(stanza) => self.tell(Input::Stanza(sid, stanza)),
            Event::Register(stanza) => {
                self.waits = Some(Waits::Registered);
                self.tell(Input::Register(sid, self.ip, stanza));
            }
            Event::Closed { clean } => self.end = Some(if clean { End::Clean } else { End::Unclean }),
            // There is TLS already.
            Event::StartTls => self.end = Some(End::Broken),
        }
    }

    fn tell(&mut self, input: Input) {
        self.known = true;
        self.entry.tell(input);
    }

    /// Gives the stream what came from the core.
    fn take(&mut self, mail: Mail) {
        if self.end.is_some() {
            return;
        }
        let idle = self.is_idle();
        self.began(idle);
        let answered = match mail {
            Mail::Credentials(credentials) => {
                let event = self.c2s.credentials(credentials, &mut self.out);
                self.react(event);
                Waits::Credentials
            }
            Mail::Begun(answer) => {
                let event = self.c2s.begun(answer, &mut self.out);
                self.react(event);
                Waits::Begun
            }
            Mail::Bound(answer) => {
                self.c2s.bound(answer, &mut self.out);
                Waits::Bound
            }
            Mail::Manage(element) => {
                self.c2s.manage(&element, &mut self.out);
                Waits::Resumed
            }
            Mail::Send(stanza) => {
                self.c2s.send(&stanza, &mut self.out);
                Waits::Registered
            }
            Mail::Close(error) => return self.close(error, End::Told),
            Mail::Overflow => {
                log::info!("{:?}: closed, it does not read what waits for it", self.entry.sid);
                return self.close(Some(too_much("too much was waiting to be read")), End::Unclean);
            }
            Mail::Shutdown => return self.close(Some(StreamCondition::SystemShutdown.into()), End::Unclean),
        };
        if self.waits == Some(answered) {
            self.waits = None;
            let rest = std::mem::take(&mut self.rest);
            self.feed(&rest);
        }
    }

    fn close(&mut self, error: Option<StreamError>, end: End) {
        self.c2s.close(error.as_ref(), &mut self.out);
        self.end = Some(end);
    }

    /// The connection after its stream.
    async fn finish(mut self: Box<Self>, end: End) {
        let Entry { hub, sid, .. } = &self.entry;
        let (hub, sid) = (hub.clone(), *sid);
        log::debug!("{sid:?}: ended ({end:?})");
        if self.known && end != End::Told {
            hub.handle(Input::Closed(sid, end == End::Clean));
        }
        hub.disconnect(sid);
        if end == End::Broken {
            return;
        }
        // Writes what is left, says close_notify, then shuts the socket's sending side.
        let goodbye = async {
            while self.sent < self.out.len() {
                self.sent += poll_fn(|cx| self.stream.poll_write(cx, &self.out.as_bytes()[self.sent..])).await?;
            }
            poll_fn(|cx| self.stream.poll_close(cx)).await
        };
        if let Wait::Done(Ok(())) = wait(&hub, None, hub.mono() + HANG_UP_MS, goodbye).await {
            Box::pin(linger(&hub, self.stream.socket())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What thousands of connections have while they are idle.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Conn>() <= 512, "{}", size_of::<Conn>());
        fn size<F>(_: impl FnOnce(Arc<Hub>, Arc<Acceptor>, Socket, IpAddr, bool) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 64, "{}", size(serve));
    }
}
