//! The ports: who may connect, and how many at once.

use super::gate::{Gate, Pass};
use super::listeners::{HTTPS_FIRST, LISTENERS, Listener, Peers};
use super::s2s::{self, Servers};
use super::transport::Socket;
use super::web::Web;
use super::{c2s, component, direct, web};
use crate::core::share::{Shared, limits};
use crate::service::config::Config;
use crate::service::hub::Hub;
use crate::service::owner::find;
use crate::service::share::ACCOUNT_CONNECTIONS;
use crate::service::tls::{Acceptor, Profile};
use crate::service::{Failure, Result, host};
use smol::{Async, Timer};
use std::future::Future;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Descriptors that are kept for the database, for ports, and for what the owner asks: connections do not get them.
pub const KEPT_DESCRIPTORS: usize = 80;
/// The part of the memory that is for connections: one of so many.
const MEMORY_PART: u64 = 4;
/// What a connection takes, in bytes: a handshake, or an idle session and some that it says.
const CONNECTION_BYTES: usize = 16 * 1024;

/// For the table in `src/lib.rs`.
pub(in crate::service) const SHARED: Shared = Shared {
    what: "connections, and the descriptors and the memory for them: the setting `connections`, but no more than the system has",
    whole: limits![KEPT_DESCRIPTORS, ACCOUNT_CONNECTIONS],
    share: "an address: the setting `connections_per_address`, and when all are taken, the one with most that have not logged in \
            loses its oldest; an account: the latter number",
    checked: "service/net/listen.rs",
    told: "the connection is closed; stream error `resource-constraint` after a login",
};

/// A port that is listened on.
pub struct Port {
    /// Where it is, the port's real number included.
    pub address: SocketAddr,
    listener: &'static Listener,
    socket: TcpListener,
}

impl Port {
    /// Its setting in `[listen]`.
    pub fn name(&self) -> &'static str {
        self.listener.name
    }

    /// How whoever connects makes TLS here, for people.
    pub fn kind(&self) -> &'static str {
        self.listener.kind()
    }
}

/// The addresses that are listened on, each with its setting.
pub fn wanted(config: &Config) -> Vec<(&'static str, SocketAddr)> {
    places(config).map(|(listener, address)| (listener.name, address)).collect()
}

fn places(config: &Config) -> impl Iterator<Item = (&'static Listener, SocketAddr)> {
    let used = LISTENERS.iter().filter(|listener| is_used(listener, config));
    used.flat_map(|listener| config.addresses(listener.name).iter().map(move |address| (listener, *address)))
}

/// Opens all ports of the settings.
///
/// # Errors
/// When one cannot be had: which, and what to do.
pub fn bind(config: &Config) -> Result<Vec<Port>> {
    let mut ports = Vec::new();
    for (listener, wanted) in places(config) {
        let name = listener.name;
        let first = Some(SocketAddr::new(wanted.ip(), HTTPS_FIRST))
            .filter(|_| listener.peers == Peers::Web && is_spare(listener, wanted));
        let socket = match first.and_then(|first| open(first).ok()).map_or_else(|| open(wanted), Ok) {
            Err(e) if is_no_loss(wanted, &e) => {
                log::info!("{name}: {wanted} is not listened on: {e}");
                continue;
            }
            Err(e) if is_spare(listener, wanted) => {
                let who = if listener.peers == Peers::Web { "browsers" } else { "other servers" };
                log::warn!("{who} cannot connect here: {}", explain(name, wanted, &e));
                continue;
            }
            opened => opened.map_err(|e| Failure(explain(name, wanted, &e)))?,
        };
        let address = socket.local_addr().map_err(|e| Failure(explain(name, wanted, &e)))?;
        ports.push(Port { address, listener, socket });
    }
    Ok(ports)
}

/// Tries whether all ports of the settings could be opened, and opens none.
///
/// # Errors
/// When one cannot be had: which, and what to do.
pub fn try_all(config: &Config) -> Result<()> {
    let mut needed = places(config).filter(|(listener, wanted)| !is_spare(listener, *wanted));
    needed.try_for_each(|(listener, wanted)| probe(listener.name, wanted))
}

/// Tries whether a port could be opened.
///
/// # Errors
/// Why not, and what to do.
pub fn probe(name: &str, address: SocketAddr) -> Result<()> {
    match open(address) {
        Err(e) if !is_no_loss(address, &e) => Err(Failure(explain(name, address, &e))),
        _ => Ok(()),
    }
}

/// Whether anybody could connect there with these settings.
fn is_used(listener: &Listener, config: &Config) -> bool {
    match listener.peers {
        Peers::Clients | Peers::Web | Peers::Strays => true,
        Peers::Servers => config.federation.is_used(),
        // Nobody could connect there without a secret.
        Peers::Components => !config.components.is_empty(),
    }
}

/// Whether it is the usual address of a listener without which the server still serves its own people. Who has chosen another address
/// wants that one.
fn is_spare(listener: &Listener, address: SocketAddr) -> bool {
    matches!(listener.peers, Peers::Servers | Peers::Web)
        && Config::default().addresses(listener.name).contains(&address)
}

/// Whether it is `[::1]`, one of two defaults for components, on a system without IPv6: nobody can come from there.
fn is_no_loss(address: SocketAddr, error: &std::io::Error) -> bool {
    let no_v6 = rustix::io::Errno::from_io_error(error) == Some(rustix::io::Errno::AFNOSUPPORT);
    address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST) && (no_v6 || error.kind() == ErrorKind::AddrNotAvailable)
}

fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).or_else(|e| {
        // A kernel without IPv6: `[::]` means everybody, and that is 0.0.0.0 there.
        let no_v6 = rustix::io::Errno::from_io_error(&e) == Some(rustix::io::Errno::AFNOSUPPORT);
        match address.ip() {
            IpAddr::V6(v6) if v6.is_unspecified() && no_v6 => {
                TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port()))
            }
            _ => Err(e),
        }
    })
}

fn explain(name: &str, address: SocketAddr, error: &std::io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => {
            let ours = find::listens(address.port(), Path::new("/proc"));
            let who = ours.unwrap_or_else(|| "Another program listens there".into());
            format!("{who}: stop it, or choose another port")
        }
        ErrorKind::PermissionDenied => "Ports below 1024 are not for every user: choose another port".into(),
        ErrorKind::AddrNotAvailable => "This box does not have that address: choose another".into(),
        _ => "Choose another address".to_owned(),
    };
    format!(
        "cannot listen on {address}: {error}. {advice} with the setting {name} in [listen], which stands in inglenook.toml in the data folder, or in what --config names."
    )
}

/// Fewer connections than a small office has with its phones and computers.
const FEW: usize = 64;

/// Connections that may be: what the settings say, and what there are descriptors and memory for.
pub fn most(config: &Config) -> usize {
    let memory = usize::try_from(host::memory_bytes() / MEMORY_PART).unwrap_or(usize::MAX) / CONNECTION_BYTES;
    config.connections.min(host::descriptors().saturating_sub(KEPT_DESCRIPTORS)).min(memory).max(1)
}

/// Connections that may be in all, and of one address.
pub fn limits_of(config: &Config) -> (usize, usize) {
    (most(config), config.connections_per_address)
}

/// What is told where the system has so few descriptors that an office notices, and the fix.
pub fn few(config: &Config) -> Option<String> {
    let descriptors = host::descriptors();
    let have = descriptors.saturating_sub(KEPT_DESCRIPTORS);
    (have < FEW.min(config.connections)).then(|| {
        format!(
            "only {} connections at the same time: this program may have {descriptors} open files. Raise that (`LimitNOFILE=1024` in its \
             unit, `ulimit -n 1024` in a shell, `--ulimit nofile=1024` of a container)",
            have.max(1)
        )
    })
}

/// A connection that may be.
pub struct Accepted {
    hub: Arc<Hub>,
    servers: Arc<Servers>,
    web: Arc<Web>,
    acceptor: Arc<Acceptor>,
    socket: Socket,
    ip: IpAddr,
    pass: Pass,
}

impl Accepted {
    /// Has it carried by a task of its own. It counts until that ends.
    fn carry<F: Future<Output = ()> + Send + 'static>(
        self,
        serve: impl FnOnce(Arc<Hub>, Arc<Acceptor>, Socket, IpAddr) -> F,
    ) {
        let Accepted { hub, acceptor, socket, ip, pass, .. } = self;
        let carried = serve(hub.clone(), acceptor, socket, ip);
        hub.spawn(async move {
            carried.await;
            drop(pass);
        });
    }
}

/// Has a connection carried to its end by a task of its own.
fn serve(listener: &Listener, accepted: Accepted) {
    let (servers, web) = (accepted.servers.clone(), accepted.web.clone());
    match (listener.peers, listener.direct) {
        (Peers::Clients | Peers::Web, true) => accepted
            .carry(|hub, acceptor, socket, ip| direct::serve(hub, servers, web, acceptor, socket, ip, Profile::Direct)),
        (Peers::Servers, true) => accepted.carry(|hub, acceptor, socket, ip| {
            direct::serve(hub, servers, web, acceptor, socket, ip, Profile::ServerDirect)
        }),
        (Peers::Clients | Peers::Web, false) => accepted.carry(c2s::serve),
        (Peers::Servers, false) => {
            accepted.carry(|hub, acceptor, socket, ip| s2s::serve(hub, servers, acceptor, socket, ip));
        }
        (Peers::Strays, _) => accepted.carry(|hub, _, socket, ip| web::plain::serve(hub, web, socket, ip)),
        (Peers::Components, _) => accepted.carry(|hub, _, socket, ip| component::serve(hub, socket, ip)),
    }
}

/// Accepts connections on a port, for ever. `acceptor` is asked anew for each: it may change.
///
/// # Errors
/// When the port cannot be waited on.
pub async fn accept(
    port: Port,
    hub: Arc<Hub>,
    (servers, web): (Arc<Servers>, Arc<Web>),
    gate: Arc<Gate>,
    acceptor: impl Fn() -> Arc<Acceptor>,
) -> std::io::Result<()> {
    let (listener, name) = (port.listener, port.name());
    let ears = Async::new(port.socket)?;
    loop {
        let (socket, peer) = match ears.accept().await {
            Ok(accepted) => accepted,
            Err(e) => {
                // Mostly: too many open files. Those that are open go on.
                log::warn!("{name}: a connection could not be accepted: {e}");
                Timer::after(PAUSE).await;
                continue;
            }
        };
        let ip = peer.ip().to_canonical();
        let Some(pass) = gate.enter(ip, |whose| hub.make_room(whose)) else {
            log::debug!("{name}: too many connections, refused one from {ip}");
            continue;
        };
        serve(
            listener,
            Accepted {
                hub: hub.clone(),
                servers: servers.clone(),
                web: web.clone(),
                acceptor: acceptor(),
                socket,
                ip,
                pass,
            },
        );
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::listeners::C2S;
    use super::*;

    #[test]
    fn a_port_in_use_is_told_with_its_setting() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(&Config::default().listening(C2S, address)).err().unwrap().0;
        assert!(error.contains(&address.to_string()) && error.contains("setting c2s in [listen]"), "{error}");
        assert!(error.contains("Another program listens there"), "{error}");
    }
}
