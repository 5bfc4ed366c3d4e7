//! Connections with other servers, those that they make and those that we make: STARTTLS where TLS does not come first, the handshake,
//! the verdict on who is there, then the stream.

use super::dial::{Dialer, Reached, Rules};
use super::gate::{Gate, Pass};
use super::link::ServerLink;
use super::pump::{Entry, Pump, Wait, tune, wait};
use super::starttls::{Ended, starttls, wants_tls};
use super::transport::Socket;
use crate::core::{Input, network};
use crate::service::dns::Resolver;
use crate::service::federation::{Federation, PeerEnd, PeerEvidence};
use crate::service::hub::{Dial, Hub};
use crate::service::share::{Owner, Share, in_turns};
use crate::service::tls::{Acceptor, Profile};
use crate::service::{host, lock};
use crate::stream::Mono;
use crate::stream::s2s::{Evidence, Purpose, S2s, SERVER_UNPROVED_MS};
use crate::wire::{DomainPair, Refusal};
use rustls::pki_types::CertificateDer;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

/// Streams that servers may have made to us, at the same time.
pub const SERVER_STREAMS: usize = 200;
/// The same of one address: a host may have many domains, and each a stream for each of ours.
pub const SERVER_STREAMS_OF_ADDRESS: usize = 24;

/// What connections with other servers need to know.
pub struct Servers {
    federation: Mutex<Arc<Federation>>,
    dialer: Mutex<Arc<Dialer>>,
    /// Where this server listens itself.
    own: Vec<SocketAddr>,
    /// Streams that were made to us.
    incoming: Arc<Gate>,
}

impl Servers {
    /// With these settings. `own`: where this server listens.
    pub fn new(federation: Federation, own: Vec<SocketAddr>) -> Arc<Servers> {
        let dialer = Mutex::new(Arc::new(dialer(&federation, &own)));
        let incoming = Gate::new((SERVER_STREAMS, SERVER_STREAMS_OF_ADDRESS));
        Arc::new(Servers { federation: Mutex::new(Arc::new(federation)), dialer, own, incoming })
    }

    /// Other settings, for streams that begin later.
    pub fn configure(&self, federation: Federation) {
        if lock(&self.federation).loopback != federation.loopback {
            *lock(&self.dialer) = Arc::new(dialer(&federation, &self.own));
        }
        *lock(&self.federation) = Arc::new(federation);
    }

    /// One more stream that was made to us from this address, if there may be one; it counts until that is dropped. Nobody is ended for a
    /// newcomer: who proves nothing goes by itself, within seconds.
    pub(super) fn enter(&self, ip: IpAddr) -> Option<Pass> {
        let counts = self.incoming.enter(ip, |_| false);
        if counts.is_none() {
            log::debug!("too many streams of other servers, refused one from {ip}");
        }
        counts
    }

    /// The settings.
    fn federation(&self) -> Arc<Federation> {
        lock(&self.federation).clone()
    }
}

fn dialer(federation: &Federation, own: &[SocketAddr]) -> Dialer {
    Dialer::new(Resolver::of_system(), Rules { own: own.into(), loopback: federation.loopback })
}

/// Carries a connection that was made to us to its end.
pub async fn serve(hub: Arc<Hub>, servers: Arc<Servers>, acceptor: Arc<Acceptor>, socket: Socket, ip: IpAddr) {
    let Some(_counts) = servers.enter(ip) else { return };
    let share = hub.shares().share(Owner::Address(network(ip)));
    let begin = Box::pin(in_turns(share.clone(), accept(hub, share, servers.clone(), acceptor, socket, ip)));
    if let Some(pump) = begin.await {
        pump.carry().await;
    }
}

/// A connection that was made to us without TLS, up to the end of the handshake.
async fn accept(
    hub: Arc<Hub>,
    share: Arc<Share>,
    servers: Arc<Servers>,
    acceptor: Arc<Acceptor>,
    mut socket: Socket,
    ip: IpAddr,
) -> Option<Box<Pump<crate::service::tls::Stream, ServerLink>>> {
    let since = hub.mono();
    tune(&socket);
    let entry = Entry::new(hub, share);
    let sid = entry.sid;
    log::debug!("{sid:?}: a server has connected from {ip}");
    let random = crate::service::random().inspect_err(|e| log::error!("{e}")).ok()?;
    let mut plain = S2s::incoming(entry.hub.server_terms(), None, since, random);
    if !wants_tls(&entry, &mut socket, &mut plain).await {
        return None;
    }
    let handshake = acceptor.accept(socket, Profile::Server);
    match wait(&entry.hub, Some(&entry.outbox), since + SERVER_UNPROVED_MS, handshake).await {
        Wait::Done(Ok((stream, _, early))) => pump(&servers, entry, stream, &early, since).await,
        Wait::Done(Err(e)) => {
            log::debug!("{sid:?}: no TLS: {e}");
            None
        }
        Wait::Late | Wait::Mail => None,
    }
}

/// The stream of another server on a connection inside TLS, which was accepted `since`, and on which this was read.
pub(super) async fn pump(
    servers: &Servers,
    entry: Entry,
    stream: crate::service::tls::Stream,
    early: &[u8],
    since: Mono,
) -> Option<Box<Pump<crate::service::tls::Stream, ServerLink>>> {
    let evidence = evidence(servers, stream.peer_chain(), None, PeerEnd::Dialling).await;
    let random = crate::service::random().inspect_err(|e| log::error!("{e}")).ok()?;
    let now = entry.hub.mono();
    let link =
        ServerLink::incoming(entry.sid, S2s::incoming(entry.hub.server_terms(), Some(evidence), since, random), now);
    let mut pump = Pump::new(entry, stream, link, since);
    pump.feed(early);
    Some(pump)
}

/// Judges what a peer has shown; reads files, and so not on an executor's thread.
async fn evidence(
    servers: &Servers,
    chain: &[CertificateDer<'static>],
    pair: Option<&DomainPair>,
    end: PeerEnd,
) -> Box<dyn Evidence> {
    let (federation, chain) = (servers.federation(), chain.to_vec());
    let theirs = pair.map(|pair| pair.theirs.clone());
    let judge = move || PeerEvidence::new(federation, &chain, theirs.as_ref(), &end, host::clock());
    Box::new(smol::unblock(judge).await)
}

/// Makes a stream to another server, and carries it to its end. Whatever becomes of it, the core is told.
pub async fn dial(hub: Arc<Hub>, servers: Arc<Servers>, acceptor: Arc<Acceptor>, dial: Dial) {
    let pair = match &dial {
        Dial::Stanzas(pair) | Dial::Verify { pair, .. } => pair.clone(),
    };
    match Box::pin(connect(&hub, &servers, &acceptor, &dial, &pair)).await {
        Ok(pump) => pump.carry().await,
        Err(refusal) => hub.handle(match dial {
            Dial::Stanzas(pair) => Input::PeerRefused(pair, refusal),
            Dial::Verify { stream, pair, .. } => Input::PeerVerified(stream, pair, Err(refusal)),
        }),
    }
}

type Dialled = Box<Pump<crate::service::tls::Outgoing, ServerLink>>;

/// The first of the places where a server may be that TLS can be made with.
async fn connect(
    hub: &Arc<Hub>,
    servers: &Arc<Servers>,
    acceptor: &Acceptor,
    dial: &Dial,
    pair: &DomainPair,
) -> Result<Dialled, Refusal> {
    let (dialer, federation) = (lock(&servers.dialer).clone(), servers.federation());
    let pinned = federation.pinned(&pair.theirs).and_then(|pinned| pinned.address.as_ref());
    let mut way = match pinned {
        Some(address) => dialer.pinned(address),
        None => dialer.way(pair.theirs.domain()).await?,
    };
    while let Some(reached) = way.next().await {
        let until = hub.mono() + u64::try_from(way.left().as_millis()).unwrap_or_default();
        match Box::pin(begin(hub, servers, acceptor, dial, pair, reached, until)).await {
            Ok(pump) => return Ok(pump),
            Err(why) => way.failed(why),
        }
    }
    Err(way.failure())
}

/// TLS on a connection that we have made, and the stream inside.
async fn begin(
    hub: &Arc<Hub>,
    servers: &Servers,
    acceptor: &Acceptor,
    dial: &Dial,
    pair: &DomainPair,
    reached: Reached,
    until: Mono,
) -> Result<Dialled, Refusal> {
    let Reached { mut socket, address, target, keys } = reached;
    let since = hub.mono();
    tune(&socket);
    let entry = Entry::new(hub.clone(), hub.shares().share(Owner::Address(network(address.ip()))));
    let sid = entry.sid;
    log::debug!("{sid:?}: connected to {address} for {pair}");
    let failed = |why: &dyn std::fmt::Display| Refusal::wait(format!("{address}: {why}"));
    let random = || crate::service::random().map_err(|e| Refusal::wait(e.0));
    let purpose = match dial {
        Dial::Stanzas(pair) => Purpose::Stanzas { pair: pair.clone(), keep: servers.federation().keeps(&pair.theirs) },
        Dial::Verify { pair, id, key, .. } => Purpose::Verify { pair: pair.clone(), id: id.clone(), key: key.clone() },
    };
    if !target.direct {
        let mut plain = S2s::outgoing(hub.server_terms(), None, since, random()?, purpose.clone());
        match Box::pin(starttls(&entry, &mut socket, &mut plain)).await.map_err(|e| failed(&e))? {
            Ended::Tls => {}
            Ended::Over(Some(refusal)) => return Err(refusal),
            Ended::Over(None) => return Err(failed(&"it ended the stream before TLS")),
            Ended::Unread => return Err(failed(&io::Error::from(io::ErrorKind::TimedOut))),
        }
    }
    let handshake = acceptor.connector().connect(socket, pair.theirs.domain(), target.direct);
    let (stream, early) = match wait(hub, Some(&entry.outbox), until, handshake).await {
        Wait::Done(made) => made.map_err(|e| failed(&e))?,
        Wait::Late => return Err(failed(&"it did not finish TLS's handshake in time")),
        Wait::Mail => return Err(failed(&"this server stops")),
    };
    let evidence = evidence(servers, stream.peer_chain(), Some(pair), PeerEnd::Dialled(keys)).await;
    let s2s = S2s::outgoing(hub.server_terms(), Some(evidence), hub.mono(), random()?, purpose);
    let link = match dial {
        Dial::Stanzas(pair) => ServerLink::outgoing(sid, s2s, pair.clone(), since),
        Dial::Verify { stream, pair, .. } => ServerLink::asking(sid, s2s, *stream, pair.clone(), since),
    };
    let mut pump = Pump::new(entry, stream, link, since);
    pump.feed(&early);
    Ok(pump)
}
