//! A connection that begins with TLS. What is spoken inside, the peer says with ALPN (XEP-0368, RFC 7301), or with the first byte: so each
//! such port is for apps, other servers and browsers, whichever of them it is meant for.

use super::gate::Pass;
use super::link::{ClientLink, ServerLink};
use super::pump::{Entry, Pump, Wait, tune, wait};
use super::s2s::{self, Servers};
use super::transport::Socket;
use super::web::{self, Web};
use super::{c2s, websocket::WebSocket};
use crate::core::network;
use crate::service::hub::Hub;
use crate::service::share::{Owner, Share, in_turns};
use crate::service::tls::{Acceptor, Profile, Protocol, Stream};
use crate::stream::framing::Framing;
use crate::stream::{Mono, UNAUTHENTICATED_MS};
use std::future::{Future, poll_fn};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// What is spoken on a connection, from when that is known.
enum Spoken {
    Client(Box<Pump<Stream, ClientLink>>),
    Server(Box<Pump<Stream, ServerLink>>, Pass),
    /// A client's stream on a WebSocket.
    WebSocket(Box<Pump<WebSocket<Stream>, ClientLink>>),
}

/// Carries a connection to its end. `profile`: whose port it is, for a peer that does not say what it wants to speak.
pub fn serve(
    hub: Arc<Hub>,
    servers: Arc<Servers>,
    web: Arc<Web>,
    acceptor: Arc<Acceptor>,
    socket: Socket,
    ip: IpAddr,
    profile: Profile,
) -> impl Future<Output = ()> + Send + 'static {
    let share = hub.shares().share(Owner::Address(network(ip)));
    let begin = Box::pin(in_turns(share.clone(), begin(hub, share, (servers, web), acceptor, socket, ip, profile)));
    async move {
        match begin.await {
            Some(Spoken::Client(pump)) => pump.carry().await,
            Some(Spoken::WebSocket(pump)) => pump.carry().await,
            Some(Spoken::Server(pump, _counts)) => Box::pin(pump.carry()).await,
            None => {}
        }
    }
}

/// The connection up to where a stream begins. What is asked of the web is answered on the way, and most connections end with that.
async fn begin(
    hub: Arc<Hub>,
    share: Arc<Share>,
    (servers, web): (Arc<Servers>, Arc<Web>),
    acceptor: Arc<Acceptor>,
    socket: Socket,
    ip: IpAddr,
    profile: Profile,
) -> Option<Spoken> {
    let since = hub.mono();
    tune(&socket);
    let entry = Entry::new(hub, share);
    let sid = entry.sid;
    log::debug!("{sid:?}: connected from {ip}");
    let handshake = Box::pin(acceptor.accept(socket, profile));
    let (mut stream, tls, mut early) =
        match wait(&entry.hub, Some(&entry.outbox), since + UNAUTHENTICATED_MS, handshake).await {
            Wait::Done(Ok(made)) => made,
            Wait::Done(Err(e)) => {
                log::debug!("{sid:?}: no TLS: {e}");
                return None;
            }
            Wait::Late | Wait::Mail => return None,
        };
    let protocol = match stream.protocol() {
        Some(protocol) => protocol,
        None if profile == Profile::ServerDirect => Protocol::Server,
        None => first(&entry, &mut stream, &mut early, since).await?,
    };
    match protocol {
        Protocol::Client => c2s::pump(entry, stream, Framing::Tcp, tls, &early, ip, since).map(Spoken::Client),
        Protocol::Server => {
            let counts = servers.enter(ip)?;
            let pump = s2s::pump(&servers, entry, stream, &early, since).await?;
            Some(Spoken::Server(pump, counts))
        }
        Protocol::Web => Box::pin(web::serve(&web, entry, stream, tls, early, ip)).await.map(Spoken::WebSocket),
    }
}

/// Who has not said what they want to speak: a request of HTTP begins with a capital letter, and no stream does.
async fn first(entry: &Entry, stream: &mut Stream, early: &mut Vec<u8>, since: Mono) -> Option<Protocol> {
    let read = async {
        while early.is_empty() {
            if poll_fn(|cx| stream.poll_read(cx, early)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
        Ok(early[0])
    };
    match wait(&entry.hub, Some(&entry.outbox), since + UNAUTHENTICATED_MS, read).await {
        Wait::Done(Ok(b'A'..=b'Z')) => Some(Protocol::Web),
        Wait::Done(Ok(_)) => Some(Protocol::Client),
        Wait::Done(Err(_)) | Wait::Late | Wait::Mail => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What thousands of connections have while they are idle.
    #[test]
    fn an_idle_connection_is_small() {
        #[allow(clippy::type_complexity)]
        fn size<F>(
            _: impl FnOnce(Arc<Hub>, Arc<Servers>, Arc<Web>, Arc<Acceptor>, Socket, IpAddr, Profile) -> F,
        ) -> usize {
            size_of::<F>()
        }
        assert!(size(serve) <= 96, "{}", size(serve));
    }
}
