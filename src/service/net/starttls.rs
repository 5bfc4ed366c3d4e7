//! A connection before TLS, of a client or a server, at either end: the stream that says no more than STARTTLS is carried up to TLS's
//! first byte.

use super::pump::{Entry, HANG_UP_MS, Wait, linger, wait};
use super::transport::Socket;
use crate::stream::plain::Plain;
use crate::stream::s2s::{self, S2s};
use crate::stream::{Event, Mono};
use crate::wire::{Refusal, StreamCondition};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::io;

/// How a stream before TLS has ended.
pub(super) enum Ended {
    /// The next byte is TLS's; what else was read is forgotten (RFC 6120 §5.3.1).
    Tls,
    /// Without TLS, and why, if we have made it.
    Over(Option<Refusal>),
    /// The peer does not take what it is told. What that is, is short: it has no business here.
    Unread,
}

/// A stream before TLS.
pub(super) trait BeforeTls: Send {
    /// What is said before the peer has said anything.
    fn begin(&mut self, out: &mut String) -> Option<Ended>;
    /// Takes what the peer says, and appends what it is to be told.
    fn next(&mut self, now: Mono, input: &[u8], out: &mut String) -> Option<Ended>;
    /// When [`BeforeTls::expired`] is to be called, if nothing comes before.
    fn deadline(&self) -> Mono;
    /// The time is over.
    fn expired(&mut self, now: Mono, out: &mut String) -> Option<Ended>;
    /// The server stops.
    fn stop(&mut self, out: &mut String);
}

impl BeforeTls for Plain {
    fn begin(&mut self, _out: &mut String) -> Option<Ended> {
        None
    }
    fn next(&mut self, now: Mono, mut input: &[u8], out: &mut String) -> Option<Ended> {
        Plain::next(self, now, &mut input, out).map(of_client)
    }
    fn deadline(&self) -> Mono {
        Plain::deadline(self)
    }
    fn expired(&mut self, now: Mono, out: &mut String) -> Option<Ended> {
        Plain::expired(self, now, out).map(of_client)
    }
    fn stop(&mut self, out: &mut String) {
        self.close(&StreamCondition::SystemShutdown.into(), out);
    }
}

fn of_client(event: Event) -> Ended {
    match event {
        Event::StartTls => Ended::Tls,
        _ => Ended::Over(None),
    }
}

impl BeforeTls for S2s {
    fn begin(&mut self, out: &mut String) -> Option<Ended> {
        S2s::begin(self, out).map(of_server)
    }
    fn next(&mut self, now: Mono, mut input: &[u8], out: &mut String) -> Option<Ended> {
        S2s::next(self, now, &mut input, out).map(of_server)
    }
    fn deadline(&self) -> Mono {
        S2s::deadline(self)
    }
    fn expired(&mut self, now: Mono, out: &mut String) -> Option<Ended> {
        S2s::expired(self, now, out).map(of_server)
    }
    fn stop(&mut self, out: &mut String) {
        self.close(Some(&StreamCondition::SystemShutdown.into()), out);
    }
}

fn of_server(event: s2s::Event) -> Ended {
    match event {
        s2s::Event::StartTls => Ended::Tls,
        s2s::Event::Refused(refusal) => Ended::Over(Some(refusal)),
        _ => Ended::Over(None),
    }
}

/// Whether TLS is to follow on a connection that was made to us. Who wants something else was told so, and is gone.
pub(super) async fn wants_tls(entry: &Entry, socket: &mut Socket, plain: &mut dyn BeforeTls) -> bool {
    match Box::pin(starttls(entry, socket, plain)).await {
        Ok(Ended::Tls) => return true,
        Ok(Ended::Over(_) | Ended::Unread) => Box::pin(linger(&entry.hub, socket)).await,
        Err(e) => log::debug!("{:?}: {e}", entry.sid),
    }
    false
}

/// Carries a stream before TLS to its end.
///
/// # Errors
///
/// The connection is gone.
pub(super) async fn starttls(entry: &Entry, socket: &mut Socket, plain: &mut dyn BeforeTls) -> io::Result<Ended> {
    let Entry { hub, outbox, .. } = entry;
    let mut buffer = [0; 1024];
    let mut out = String::new();
    let mut ended = plain.begin(&mut out);
    loop {
        if !out.is_empty() {
            let written = wait(hub, None, hub.mono() + HANG_UP_MS, socket.write_all(out.as_bytes())).await;
            if !matches!(written, Wait::Done(Ok(()))) {
                return Ok(Ended::Unread);
            }
            out.clear();
        }
        if let Some(ended) = ended {
            return Ok(ended);
        }
        ended = match wait(hub, Some(outbox), plain.deadline(), socket.read(&mut buffer)).await {
            Wait::Done(Ok(0)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Wait::Done(Ok(n)) => plain.next(hub.mono(), &buffer[..n], &mut out),
            Wait::Done(Err(e)) => return Err(e),
            Wait::Late => plain.expired(hub.mono(), &mut out),
            Wait::Mail => {
                plain.stop(&mut out);
                Some(Ended::Over(None))
            }
        };
    }
}
