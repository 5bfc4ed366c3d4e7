//! The one loop of every connection: it reads, writes and takes its outbox whenever there is something to do, in turns with all
//! others ([`crate::service::share`]).
//!
//! It is one task. It owns no read buffer: what is read goes through a buffer of the thread, and the stream keeps what is incomplete.

use super::link::{End, Link, Mail, Peer, Step, too_much};
use super::transport::{Socket, Transport};
use crate::core::{Input, StreamId};
use crate::service::hub::{Hub, Outbox};
use crate::service::share::{ACCOUNT_CONNECTIONS, Share, Turns, Waiting, Watch};
use crate::stream::Mono;
use smol::Timer;
use smol::io::AsyncReadExt;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// How long a peer may take none of what is written to it, in milliseconds.
pub(super) const WRITE_MS: Mono = 60_000;
/// How long a peer may take to read the end of its stream, in milliseconds.
pub(super) const HANG_UP_MS: Mono = 5_000;
/// How long we listen to a peer that was told the end, in milliseconds: to close at once would make its system throw away
/// what it has not read yet.
const LINGER_MS: Mono = 1_000;
/// Bytes that are read from it in that time.
const LINGER_BYTES: usize = 64 * 1024;
/// Bytes in writing above which nothing more is read from the peer or taken from the outbox.
const WRITE_BYTES: usize = 64 * 1024;

/// The connection in the hub. The hub forgets it when it ends, however it ends.
pub(super) struct Entry {
    pub hub: Arc<Hub>,
    pub sid: StreamId,
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
    pub fn known(&mut self, peer: &Peer) -> bool {
        let share = self.hub.known(&self.outbox, peer);
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

    /// Whose it is.
    pub fn share(&self) -> &Arc<Share> {
        self.kept.share()
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

/// A connection on which a stream is spoken.
pub(super) struct Pump<T, L> {
    entry: Entry,
    transport: T,
    link: L,
    /// Whether the core has heard of it.
    known: bool,
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

impl<T: Transport, L: Link> Pump<T, L> {
    /// Of a connection that was accepted then.
    pub fn new(entry: Entry, transport: T, link: L, since: Mono) -> Box<Self> {
        let mut pump = Box::new(Pump {
            entry,
            transport,
            link,
            known: false,
            rest: Vec::new(),
            out: String::new(),
            sent: 0,
            progress: since,
            timer: Timer::never(),
            timer_at: Mono::MAX,
            watch: Watch::new(),
            end: None,
        });
        if let Some(step) = pump.link.begin(&mut pump.out) {
            pump.go(step);
        }
        pump
    }

    /// Carries the connection to its end.
    pub async fn carry(mut self: Box<Self>) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        // Only what waits for it is there while it is idle.
        Box::pin(self.finish(end)).await;
    }

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
        let kept = self.link.held_bytes() + self.rest.len() + self.out.len() - self.sent + self.transport.kept();
        let fits = self.entry.keeps(kept);
        self.entry.end((begun, self.watch.now), more, cx);
        if end.is_pending() && !fits {
            log::info!("{:?}: closed, its owner keeps more waiting than it leaves to the others", self.entry.sid);
            self.close(format!("too much of {} was waiting", L::WHOSE));
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
            let open = self.end.is_none() && room && !self.link.waits();
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
            let Poll::Ready(n) = self.transport.poll_write(cx, &self.out.as_bytes()[self.sent..])? else {
                return Ok(());
            };
            self.sent += n;
            self.progress = self.watch.mono();
        }
        self.out.clear();
        self.sent = 0;
        let unsent = self.transport.unsent();
        let _ = self.transport.poll_flush(cx)?;
        if self.transport.unsent() < unsent {
            self.progress = self.watch.mono();
        }
        Ok(())
    }

    /// Whether the peer has taken all that was written.
    fn is_idle(&self) -> bool {
        self.sent == self.out.len() && self.transport.unsent() == 0
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
            match ready!(self.transport.poll_read(cx, plain)) {
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
            log::log!(L::LEVEL, "{:?}: closed, {} does not read", self.entry.sid, L::PEER);
            self.end = Some(End::Broken);
            return Poll::Ready(());
        }
        if self.link.deadline() <= now {
            let event = self.link.expired(now, &mut self.out);
            self.began(idle);
            if let Some(step) = event {
                self.go(step);
            }
            return Poll::Ready(());
        }
        // The timer is only ever set to something earlier: most deadlines move away before they come.
        let paused = self.entry.paused_until(&self.watch).unwrap_or(Mono::MAX);
        let due = stuck.min(self.link.deadline()).min(paused);
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
    pub fn feed(&mut self, mut input: &[u8]) {
        let idle = self.is_idle();
        self.began(idle);
        while self.end.is_none() && !self.link.waits() {
            let is_over = self.watch.look(self.entry.hub.shares()) || self.entry.keeps_busy(&self.watch);
            if is_over && !input.is_empty() {
                break;
            }
            match self.link.next(self.watch.mono(), &mut input, &mut self.out) {
                None => return,
                Some(step) => self.go(step),
            }
        }
        self.rest = input.to_vec();
    }

    /// Gives the stream what came from the core.
    fn take(&mut self, mail: Mail) {
        if self.end.is_some() {
            return;
        }
        if matches!(mail, Mail::Overflow) {
            log::info!("{:?}: closed, it does not read what waits for it", self.entry.sid);
        }
        let idle = self.is_idle();
        self.began(idle);
        let waited = self.link.waits();
        if let Some(step) = self.link.take(mail, &mut self.out) {
            self.go(step);
        }
        if waited && !self.link.waits() {
            let rest = std::mem::take(&mut self.rest);
            self.feed(&rest);
        }
    }

    /// Does what is to be done because of what the stream was given.
    fn go(&mut self, step: Step) {
        match step {
            Step::Tell(input) => self.tell(input),
            Step::Proved(peer, input) => {
                let fits = self.entry.known(&peer);
                input.into_iter().for_each(|input| self.tell(input));
                if !fits {
                    self.close(format!("{} has too many connections", L::WHOSE));
                }
            }
            Step::TellAndEnd(input, end) => {
                self.tell(input);
                self.end = Some(end);
            }
            Step::End(end) => self.end = Some(end),
        }
    }

    fn tell(&mut self, input: Input) {
        self.known = true;
        self.entry.tell(input);
    }

    fn close(&mut self, why: String) {
        self.link.close(Some(&too_much(why)), &mut self.out);
        self.end = Some(End::Unclean);
    }

    /// The connection after its stream.
    async fn finish(mut self: Box<Self>, end: End) {
        let Entry { hub, sid, .. } = &self.entry;
        let (hub, sid) = (hub.clone(), *sid);
        log::debug!("{sid:?}: ended ({end:?})");
        if self.known && end != End::Told {
            hub.handle(Input::Closed(sid, end == End::Clean));
        }
        if let Some(input) = self.link.left() {
            hub.handle(input);
        }
        hub.disconnect(sid);
        if end == End::Broken {
            return;
        }
        // Writes what is left, says that it was all, then shuts the socket's sending side.
        let goodbye = async {
            while self.sent < self.out.len() {
                self.sent += poll_fn(|cx| self.transport.poll_write(cx, &self.out.as_bytes()[self.sent..])).await?;
            }
            poll_fn(|cx| self.transport.poll_close(cx)).await
        };
        let said = wait(&hub, None, hub.mono() + HANG_UP_MS, goodbye).await;
        if let (Wait::Done(Ok(())), Some(socket)) = (said, self.transport.socket()) {
            Box::pin(linger(&hub, socket)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::net::link::ClientLink;
    use crate::service::tls::Stream;

    /// What thousands of connections have while they are idle.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Pump<Stream, ClientLink>>() <= 512, "{}", size_of::<Pump<Stream, ClientLink>>());
    }
}
