//! A component's connection (XEP-0114), on this box: bytes between its socket and its stream, and between the stream and the core.
//! One task, and one loop that reads, writes and takes its outbox whenever there is something to do.

use super::conn::{Entry, HANG_UP_MS, WRITE_BYTES, WRITE_MS, Wait, linger, too_much, tune, wait};
use super::hub::{Hub, Mail};
use super::share::{Owner, Watch};
use crate::core::Input;
use crate::stream::Mono;
use crate::stream::component::{Component, Event};
use crate::wire::StreamCondition;
use smol::io::{AsyncRead as _, AsyncWrite as _, AsyncWriteExt as _};
use smol::{Async, Timer};
use std::future::{Future, poll_fn};
use std::io;
use std::net::{IpAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// Bytes that are read at once.
const READ_BYTES: usize = 16 * 1024;
/// How the stream ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// What is written is to be written still.
    Said,
    /// There is nobody to say goodbye to.
    Broken,
}

struct Conn {
    entry: Entry,
    socket: Async<TcpStream>,
    stream: Component,
    /// What was read behind the handshake, which waits for its answer, or for the next turn.
    rest: Vec<u8>,
    waits: bool,
    /// The core knows of it.
    known: bool,
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

/// Carries a connection to its end.
pub async fn serve(hub: Arc<Hub>, socket: Async<TcpStream>, ip: IpAddr) {
    let since = hub.mono();
    tune(&socket);
    let random = match super::random() {
        Ok(random) => random,
        Err(e) => return log::error!("{e}"),
    };
    let stream = Component::new(hub.terms().domain.clone(), hub.components(), since, random);
    let mut conn = Conn {
        entry: Entry::new(hub.clone(), hub.shares().share(Owner::Address(ip))),
        socket,
        stream,
        rest: Vec::new(),
        waits: false,
        known: false,
        out: String::new(),
        sent: 0,
        progress: since,
        timer: Timer::never(),
        timer_at: Mono::MAX,
        watch: Watch::new(),
        end: None,
    };
    let end = poll_fn(|cx| conn.poll(cx)).await;
    let Conn { entry, mut socket, known, out, sent, .. } = conn;
    if known {
        hub.handle(Input::Closed(entry.sid, false));
    }
    drop(entry);
    if end == End::Said {
        let goodbye = socket.write_all(&out.as_bytes()[sent..]);
        if let Wait::Done(Ok(())) = wait(&hub, None, hub.mono() + HANG_UP_MS, goodbye).await {
            linger(&hub, &mut socket).await;
        }
    }
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
        let (end, more) = match self.work(cx) {
            Some(end) => (end, false),
            None => (Poll::Pending, true),
        };
        let fits = self.entry.keeps(self.stream.held_bytes() + self.rest.len() + self.out.len() - self.sent);
        self.entry.end((begun, self.watch.now), more, cx);
        if end.is_pending() && !fits {
            log::info!("{:?}: closed, this component keeps more waiting than it leaves to the others", self.entry.sid);
            self.stream.close(Some(&too_much("too much of this component was waiting")), &mut self.out);
            return Poll::Ready(End::Said);
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
            let mail = self.entry.outbox.poll(cx.waker(), !room);
            let mut busy = mail.is_ready();
            if let Poll::Ready(mail) = mail {
                mail.into_iter().for_each(|mail| self.take(mail));
            }
            let open = self.end.is_none() && room && !self.waits;
            busy |= open && !self.entry.is_crowded(&self.watch, cx) && self.read(cx).is_ready();
            busy |= self.end.is_none() && self.late(cx).is_ready();
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
            let left = &self.out.as_bytes()[self.sent..];
            let Poll::Ready(n) = Pin::new(&mut self.socket).poll_write(cx, left)? else { return Ok(()) };
            self.sent += n;
            self.progress = self.watch.mono();
        }
        self.out.clear();
        self.out.shrink_to(WRITE_BYTES);
        self.sent = 0;
        Ok(())
    }

    /// Reads once, when all that was read is done with. Ready: there was something, or the end.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.rest.is_empty() {
            let rest = std::mem::take(&mut self.rest);
            self.feed(&rest);
            return Poll::Ready(());
        }
        let mut buffer = [0; READ_BYTES];
        match ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer)) {
            Ok(n @ 1..) => self.feed(&buffer[..n]),
            _ => self.end = Some(End::Broken),
        }
        Poll::Ready(())
    }

    /// Looks after the clock. Ready: it was time for something.
    fn late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = self.watch.mono();
        let stuck = if self.out.is_empty() { Mono::MAX } else { self.progress + WRITE_MS };
        if stuck <= now {
            log::info!("{:?}: closed, this component does not read", self.entry.sid);
            self.end = Some(End::Broken);
            return Poll::Ready(());
        }
        if self.stream.expired(now, &mut self.out).is_some() {
            self.end = Some(End::Said);
            return Poll::Ready(());
        }
        let due = stuck.min(self.stream.deadline());
        if due != self.timer_at {
            self.timer_at = due;
            self.timer = if due == Mono::MAX { Timer::never() } else { Timer::at(self.entry.hub.instant(due)) };
        }
        Pin::new(&mut self.timer).poll(cx).map(|_| self.timer_at = 0)
    }

    /// Counts the peer's time to take what is written from now on, if nothing was in writing before.
    fn began(&mut self) {
        if self.out.is_empty() {
            self.progress = self.watch.mono();
        }
    }

    /// Gives the stream what was read.
    fn feed(&mut self, mut input: &[u8]) {
        self.began();
        while self.end.is_none() && !self.waits {
            let is_over = self.watch.look(self.entry.hub.shares()) || self.entry.keeps_busy(&self.watch);
            if is_over && !input.is_empty() {
                break;
            }
            let Some(event) = self.stream.next(&mut input, &mut self.out) else { return };
            let sid = self.entry.sid;
            match event {
                Event::Proved(name, secret) => {
                    self.waits = true;
                    self.known = true;
                    self.entry.tell(Input::Attach(sid, name, secret));
                }
                Event::Stanza(stanza) => self.entry.tell(Input::Stanza(sid, stanza)),
                Event::Closed => self.end = Some(End::Said),
            }
        }
        self.rest = input.to_vec();
    }

    /// Gives the stream what came from the core.
    fn take(&mut self, mail: Mail) {
        if self.end.is_some() {
            return;
        }
        self.began();
        let end = match mail {
            Mail::Bound(name) => {
                if let Ok(name) = &name {
                    self.entry.known(name);
                }
                self.stream.attached(&mut self.out);
                self.waits = false;
                let rest = std::mem::take(&mut self.rest);
                return self.feed(&rest);
            }
            Mail::Send(stanza) => return self.stream.send(&stanza, &mut self.out),
            Mail::Close(error) => error,
            Mail::Overflow => {
                log::info!("{:?}: closed, this component does not read what waits for it", self.entry.sid);
                Some(too_much("too much was waiting to be read"))
            }
            Mail::Shutdown => Some(StreamCondition::SystemShutdown.into()),
            // These are for clients.
            Mail::Begun(_) | Mail::Credentials(_) | Mail::Manage(_) => return,
        };
        self.stream.close(end.as_ref(), &mut self.out);
        self.end = Some(End::Said);
    }
}
