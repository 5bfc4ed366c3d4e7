//! Sessions of BOSH (XEP-0124): each is a stream on requests and answers of HTTP, which connections bring it and take from it, whichever
//! they are.

use super::c2s;
use super::gate::{Gate, Pass};
use super::link::ClientLink;
use super::pump::{Entry, Pump};
use super::transport::{Socket, Transport};
use crate::core::network;
use crate::service::hub::Hub;
use crate::service::share::Owner;
use crate::service::{lock, random};
use crate::stream::framing::Framing;
use crate::stream::{Mono, Tls};
use crate::web::answer::Answer;
use crate::web::bosh::{BoshCondition, BoshRequest, BoshSession, Ticket};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smol::Timer;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Waker};

/// All sessions, by their ids.
pub(super) struct BoshSessions {
    of: Mutex<HashMap<String, Arc<BoshShared>>>,
    /// A session counts like a connection: it takes as much.
    gate: Arc<Gate>,
}

/// A session, between its stream and the connections that requests come on.
pub(super) struct BoshShared {
    inner: Mutex<Inner>,
}

struct Inner {
    session: BoshSession,
    /// The stream, which waits for requests, for time, or for room.
    stream: Option<Waker>,
    /// Connections, each with a request that waits for its answer, or that cannot be taken yet.
    requests: Vec<Waker>,
}

impl Inner {
    /// Whoever waits for something looks whether it is there.
    fn wake(&mut self) {
        self.stream.take().into_iter().chain(self.requests.drain(..)).for_each(Waker::wake);
    }

    fn waits(&mut self, waker: &Waker) {
        if !self.requests.iter().any(|kept| kept.will_wake(waker)) {
            self.requests.push(waker.clone());
        }
    }
}

impl BoshSessions {
    pub fn new(gate: Arc<Gate>) -> BoshSessions {
        BoshSessions { of: Mutex::default(), gate }
    }

    /// The session of this id.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self, sid: &str) -> Result<Arc<BoshShared>, BoshCondition> {
        lock(&self.of).get(sid).cloned().ok_or(BoshCondition::ItemNotFound)
    }

    /// A new session, which this request asks for.
    ///
    /// # Errors
    /// When there are too many.
    pub fn begin(
        self: &Arc<Self>,
        hub: &Arc<Hub>,
        ip: IpAddr,
        tls: &Tls,
        request: &BoshRequest,
    ) -> Result<Arc<BoshShared>, BoshCondition> {
        let pass = self.gate.enter(ip, |whose| hub.make_room(whose)).ok_or(BoshCondition::RemoteConnectionFailed)?;
        let random = random().inspect_err(|e| log::error!("{e}")).map_err(|_| BoshCondition::RemoteConnectionFailed)?;
        // 128 bits: whoever knows them is the client.
        let sid = URL_SAFE_NO_PAD.encode(&random[..16]);
        let now = hub.mono();
        let session = BoshSession::new(sid.clone(), request, now);
        let inner = Inner { session, stream: None, requests: Vec::new() };
        let shared = Arc::new(BoshShared { inner: Mutex::new(inner) });
        let transport = Bosh {
            hub: hub.clone(),
            shared: shared.clone(),
            sid: sid.clone(),
            sessions: Arc::downgrade(self),
            timer: Timer::never(),
            timer_at: Mono::MAX,
        };
        let entry = Entry::new(hub.clone(), hub.shares().share(Owner::Address(network(ip))));
        log::debug!("{:?}: begins on HTTP, for {ip}", entry.sid);
        // Requests come on any connection: none of them is the channel that a client could bind to.
        let tls = Tls { exporter: None, end_point: tls.end_point.clone() };
        let pump = c2s::pump(entry, transport, Framing::WebSocket, tls, &[], ip, now)
            .ok_or(BoshCondition::RemoteConnectionFailed)?;
        lock(&self.of).insert(sid, shared.clone());
        hub.spawn(carry(pump, pass));
        Ok(shared)
    }
}

async fn carry(pump: Box<Pump<Bosh, ClientLink>>, pass: Pass) {
    pump.carry().await;
    drop(pass);
}

impl BoshShared {
    /// Hands over a request as soon as the stream has read enough. Gives what names it, and until when it is held.
    pub fn poll_take(&self, request: &mut Option<BoshRequest>, now: Mono, waker: &Waker) -> Poll<(Ticket, Mono)> {
        let mut inner = lock(&self.inner);
        if inner.session.is_full() {
            inner.waits(waker);
            return Poll::Pending;
        }
        let Some(request) = request.take() else { return Poll::Pending };
        let (ticket, wait_ms) = inner.session.take(request, now);
        inner.wake();
        Poll::Ready((ticket, now + wait_ms))
    }

    /// The answer to a request.
    pub fn poll_answer(&self, ticket: Ticket, waker: &Waker) -> Poll<Answer> {
        let mut inner = lock(&self.inner);
        if let Some(answer) = inner.session.answer(ticket) {
            return Poll::Ready(answer);
        }
        inner.waits(waker);
        Poll::Pending
    }

    /// The answer to a request that was held for as long as it may be.
    pub fn late(&self, ticket: Ticket, now: Mono) -> Option<Answer> {
        self.with(|session| {
            session.late(ticket, now);
            session.answer(ticket)
        })
    }

    /// The connection of a request is gone.
    pub fn gone(&self, ticket: Ticket, now: Mono) {
        self.with(|session| session.gone(ticket, now));
    }

    fn with<T>(&self, act: impl FnOnce(&mut BoshSession) -> T) -> T {
        let mut inner = lock(&self.inner);
        let done = act(&mut inner.session);
        inner.wake();
        done
    }
}

/// What the stream of a session reads from and writes to.
pub(super) struct Bosh {
    hub: Arc<Hub>,
    shared: Arc<BoshShared>,
    sid: String,
    sessions: Weak<BoshSessions>,
    timer: Timer,
    timer_at: Mono,
}

impl Drop for Bosh {
    fn drop(&mut self) {
        if let Some(sessions) = self.sessions.upgrade() {
            lock(&sessions.of).remove(&self.sid);
        }
        let now = self.hub.mono();
        self.shared.with(|session| session.end(true, now));
    }
}

impl Transport for Bosh {
    /// The end is when no request has come for long, or one that ends the session because it should not have come.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let before = into.len();
        let mut inner = lock(&self.shared.inner);
        if inner.session.read(into) {
            // A request may wait for that.
            inner.requests.drain(..).for_each(Waker::wake);
            return Poll::Ready(Ok(into.len() - before));
        }
        let (now, deadline) = (self.hub.mono(), inner.session.deadline());
        if inner.session.is_over() || deadline <= now {
            return Poll::Ready(Ok(0));
        }
        inner.stream = Some(cx.waker().clone());
        drop(inner);
        // As in the pump: it is set to something earlier only, as most deadlines move away before they come.
        if deadline < self.timer_at {
            self.timer.set_at(self.hub.instant(deadline));
            self.timer_at = deadline;
        }
        if Pin::new(&mut self.timer).poll(cx).is_ready() {
            self.timer_at = Mono::MAX;
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Ok(text) = std::str::from_utf8(bytes) else { return Poll::Ready(Err(io::ErrorKind::InvalidData.into())) };
        let now = self.hub.mono();
        let mut inner = lock(&self.shared.inner);
        let mut taken = inner.session.write(text);
        if taken == 0 {
            inner.session.flush(now);
            inner.requests.drain(..).for_each(Waker::wake);
            taken = inner.session.write(text);
        }
        if taken == 0 && !inner.session.is_over() {
            inner.stream = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(Ok(if taken == 0 { bytes.len() } else { taken }))
    }

    /// What the client has not asked for is kept for as long as the session is: it is not the stream that waits for that.
    fn unsent(&self) -> usize {
        0
    }

    fn kept(&self) -> usize {
        lock(&self.shared.inner).session.bytes()
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.hub.mono();
        let mut inner = lock(&self.shared.inner);
        inner.session.flush(now);
        inner.requests.drain(..).for_each(Waker::wake);
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.hub.mono();
        self.shared.with(|session| session.end(false, now));
        Poll::Ready(Ok(()))
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        None
    }
}
