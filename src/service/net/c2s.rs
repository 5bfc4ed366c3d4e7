//! A client's connection that begins without TLS: STARTTLS, the handshake, then its stream.

use super::link::ClientLink;
use super::pump::{Entry, Pump, Wait, tune, wait};
use super::starttls::wants_tls;
use super::transport::{Socket, Transport};
use crate::core::network;
use crate::service::hub::Hub;
use crate::service::share::{Owner, Share, in_turns};
use crate::service::tls::{Acceptor, Profile, Stream};
use crate::stream::c2s::C2s;
use crate::stream::framing::Framing;
use crate::stream::plain::Plain;
use crate::stream::{Mono, Tls, UNAUTHENTICATED_MS};
use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

/// Carries a connection to its end.
///
/// Each part of its life is a box of its own, gone with that part: thousands may be at the same one. While it is idle there is only
/// the [`Pump`].
pub fn serve(
    hub: Arc<Hub>,
    acceptor: Arc<Acceptor>,
    socket: Socket,
    ip: IpAddr,
) -> impl Future<Output = ()> + Send + 'static {
    let share = hub.shares().share(Owner::Address(network(ip)));
    let begin = Box::pin(in_turns(share.clone(), begin(hub, share, acceptor, socket, ip)));
    async move {
        if let Some(pump) = begin.await {
            pump.carry().await;
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
) -> Option<Box<Pump<Stream, ClientLink>>> {
    let since = hub.mono();
    tune(&socket);
    let entry = Entry::new(hub, share);
    let sid = entry.sid;
    log::debug!("{sid:?}: connected from {ip}");
    let random = crate::service::random().inspect_err(|e| log::error!("{e}")).ok()?;
    let mut plain = Plain::new(entry.hub.terms(), since, random);
    if !wants_tls(&entry, &mut socket, &mut plain).await {
        return None;
    }
    let handshake = Box::pin(acceptor.accept(socket, Profile::StartTls));
    match wait(&entry.hub, Some(&entry.outbox), since + UNAUTHENTICATED_MS, handshake).await {
        Wait::Done(Ok((stream, tls, early))) => pump(entry, stream, Framing::Tcp, tls, &early, ip, since),
        Wait::Done(Err(e)) => {
            log::debug!("{sid:?}: no TLS: {e}");
            None
        }
        Wait::Late | Wait::Mail => None,
    }
}

/// A client's stream on a connection inside TLS, which was accepted `since`, and on which this was read.
pub(super) fn pump<T: Transport>(
    entry: Entry,
    transport: T,
    framing: Framing,
    tls: Tls,
    early: &[u8],
    ip: IpAddr,
    since: Mono,
) -> Option<Box<Pump<T, ClientLink>>> {
    let random = crate::service::random().inspect_err(|e| log::error!("{e}")).ok()?;
    let link = ClientLink::new(entry.sid, ip, C2s::new(framing, entry.hub.terms(), tls, since, random));
    let mut pump = Pump::new(entry, transport, link, since);
    pump.feed(early);
    Some(pump)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What thousands of connections have while they are idle.
    #[test]
    fn an_idle_connection_is_small() {
        fn size<F>(_: impl FnOnce(Arc<Hub>, Arc<Acceptor>, Socket, IpAddr) -> F) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 64, "{}", size(serve));
    }
}
