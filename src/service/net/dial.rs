//! From a domain to a connection with its server: the places that DNS names, their addresses raced (RFC 8305).

use crate::service::dns::{Addresses, DnsName, Family, Host, Resolver, Target, Tlsa, service};
use crate::wire::{Condition, Refusal};
use smol::{Async, Timer};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::pin::Pin;
use std::str::FromStr;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// How long one address may take to answer.
const ADDRESS: Duration = Duration::from_secs(10);
/// How long all may take together, from the first question to DNS on.
const ALL: Duration = Duration::from_secs(30);
/// How long the address tried before has a start (RFC 8305 §8).
const START: Duration = Duration::from_millis(250);
/// How long IPv6 addresses are waited for when those of IPv4 are there (RFC 8305 §3).
const RESOLUTION: Duration = Duration::from_millis(50);
/// Failures that are told.
const TOLD: usize = 3;
/// The usual port with TLS from the first byte.
const DIRECT_PORT: u16 = 5270;

/// Where this server does not connect to, whatever DNS says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rules {
    /// Where it listens itself. `[::]` and `0.0.0.0` are all addresses of the box.
    pub own: Vec<SocketAddr>,
    /// Whether loopback and link-local addresses and its own are allowed: for tests.
    pub loopback: bool,
}

impl Rules {
    /// Why an address is none to connect to, as the end of a sentence.
    fn forbid(&self, at: SocketAddr) -> Option<&'static str> {
        let ip = at.ip().to_canonical();
        if is_nobody(ip) {
            return Some("which is no address of a server");
        }
        if self.loopback {
            return None;
        }
        if ip.is_loopback() {
            return Some("which is this box itself (federation.loopback is for tests)");
        }
        if is_link_local(ip) {
            return Some("which means something else on each network (link-local)");
        }
        self.is_own(ip, at.port()).then_some("which is this server itself")
    }

    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        self.own.iter().filter(|own| own.port() == port).any(|own| {
            let own = own.ip().to_canonical();
            own == ip || own.is_unspecified() && is_of_this_box(ip)
        })
    }
}

/// Unspecified, multicast and broadcast addresses.
fn is_nobody(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast(),
        // `::a.b.c.d` is what IPv4 addresses were once written as (RFC 4291 §2.5.5.1); `::1` is loopback.
        IpAddr::V6(ip) => ip.is_multicast() || ip != Ipv6Addr::LOCALHOST && ip.segments()[..6] == [0; 6],
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Whether what goes to an address stays here: then the system would send it from that address. Nothing is sent.
fn is_of_this_box(ip: IpAddr) -> bool {
    let any: IpAddr = if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let from = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((ip, 9))?;
        socket.local_addr()
    };
    from().is_ok_and(|from: SocketAddr| from.ip() == ip)
}

/// Where a pinned peer is: `HOST`, `HOST:PORT`, `[IPV6]:PORT`. Port 5270 is TLS from the first byte, all others STARTTLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerAddress {
    host: Host,
    port: u16,
}

impl FromStr for PeerAddress {
    type Err = NoPeerAddress;

    fn from_str(text: &str) -> Result<PeerAddress, NoPeerAddress> {
        let text = text.trim();
        let inside = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = inside.parse::<IpAddr>() {
            return Ok(PeerAddress { host: Host::Address(ip), port: service::PORT });
        }
        if let Ok(at) = text.parse::<SocketAddr>() {
            return match at.port() {
                0 => Err(NoPeerAddress),
                port => Ok(PeerAddress { host: Host::Address(at.ip()), port }),
            };
        }
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => {
                let number = Some(port).filter(|port| digits(port)).and_then(|port| port.parse().ok());
                (name, number.filter(|port| *port != 0).ok_or(NoPeerAddress)?)
            }
            None => (text, service::PORT),
        };
        // RFC 1123 §2.1: what ends in a number is an address, or none.
        if name.trim_end_matches('.').rsplit('.').next().is_none_or(digits) {
            return Err(NoPeerAddress);
        }
        Ok(PeerAddress { host: Host::Name(DnsName::parse(name).ok_or(NoPeerAddress)?), port })
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&place(&self.host, self.port))
    }
}

/// What is wrong with a written address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPeerAddress;

impl fmt::Display for NoPeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "an address is a host or a host and a port, such as office.example:5269, 192.0.2.5 or [2001:db8::5]:5269",
        )
    }
}

impl std::error::Error for NoPeerAddress {}

/// A connection.
#[derive(Debug)]
pub struct Reached {
    /// Connected; nothing is said yet.
    pub socket: Async<TcpStream>,
    /// With which address.
    pub address: SocketAddr,
    /// Which of the places it is. `authentic`: DNSSEC vouches for all, the address among it: then its host's name may stand in the
    /// certificate in place of the domain (RFC 7673 §4).
    pub target: Target,
    /// The keys that DNS tells of it, for [`dane`](crate::service::tls::dane).
    pub keys: Vec<Tlsa>,
}

/// Who makes connections to other servers.
#[derive(Debug)]
pub struct Dialer {
    resolver: Resolver,
    rules: Rules,
    address: Duration,
    all: Duration,
}

impl Dialer {
    /// With these rules.
    pub fn new(resolver: Resolver, rules: Rules) -> Dialer {
        Dialer { resolver, rules, address: ADDRESS, all: ALL }
    }

    /// The ways to the server of a domain, as DNS has them.
    ///
    /// # Errors
    /// When there are none.
    pub async fn way(&self, domain: &str) -> Result<Way<'_>, Refusal> {
        let until = Instant::now() + self.all;
        let targets = self.resolver.targets(domain).await?;
        Ok(Way { dialer: self, targets: targets.into(), until, failures: Vec::new() })
    }

    /// The way to a peer whose address was agreed on.
    pub fn pinned(&self, address: &PeerAddress) -> Way<'_> {
        let PeerAddress { host, port } = address.clone();
        let target = Target { host, port, direct: port == DIRECT_PORT, authentic: false };
        Way { dialer: self, targets: [target].into(), until: Instant::now() + self.all, failures: Vec::new() }
    }
}

/// The places where a server may be, and what has become of those that were tried. If there is no stream to be had with the one that was
/// reached, the next is tried: it is [told](Way::failed) why, and [asked](Way::next) again.
#[derive(Debug)]
pub struct Way<'a> {
    dialer: &'a Dialer,
    targets: VecDeque<Target>,
    until: Instant,
    failures: Vec<Refusal>,
}

impl Way<'_> {
    /// A connection with the next place that can be reached. `None`: there is none, and [`Way::failure`] says why.
    pub async fn next(&mut self) -> Option<Reached> {
        while let Some(target) = self.targets.pop_front() {
            let place = place(&target.host, target.port);
            let until = self.until;
            let late = async {
                Timer::at(until).await;
                Err(Refusal::wait(format!("{place} did not answer in time")))
            };
            match smol::future::or(self.dialer.reach(target), late).await {
                Ok(reached) => return Some(reached),
                Err(why) => self.failed(why),
            }
            if self.left().is_zero() {
                self.targets.clear();
            }
        }
        None
    }

    /// What is left of the 30 seconds that it may take until there is a stream.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// There was no stream to be had with the place that was reached.
    pub fn failed(&mut self, why: Refusal) {
        if !self.failures.contains(&why) {
            self.failures.push(why);
        }
    }

    /// Why nobody was reached. If one of the places may be there another time, it is worth to wait.
    pub fn failure(&self) -> Refusal {
        sum(&self.failures)
    }
}

/// Several failures as one.
fn sum(failures: &[Refusal]) -> Refusal {
    let of = |condition: &Condition| failures.iter().any(|why| why.condition == *condition);
    let conditions = [Condition::RemoteServerTimeout, Condition::RemoteServerNotFound, Condition::NotAllowed];
    let condition = conditions.into_iter().find(of).unwrap_or(Condition::RemoteServerTimeout);
    let told: Vec<&str> = failures.iter().take(TOLD).map(|why| why.text.as_str()).collect();
    let text = if told.is_empty() { "there is nowhere left to try".into() } else { told.join("; ") };
    Refusal { condition, text }
}

impl Dialer {
    /// A connection with a place.
    async fn reach(&self, mut target: Target) -> Result<Reached, Refusal> {
        let mut race = Race::new(self, &target);
        let (socket, address, authentic) = poll_fn(|cx| race.poll(cx)).await?;
        drop(race);
        target.authentic &= authentic;
        let keys = match &target.host {
            Host::Name(name) if target.authentic => self.resolver.keys(name, target.port).await?,
            _ => Vec::new(),
        };
        Ok(Reached { socket, address, target, keys })
    }

    async fn connect(&self, at: SocketAddr) -> io::Result<Async<TcpStream>> {
        smol::future::or(Async::<TcpStream>::connect(at), async {
            Timer::after(self.address).await;
            Err(ErrorKind::TimedOut.into())
        })
        .await
    }
}

type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// A connection, its address, and whether DNSSEC vouches for that.
type Found = (Async<TcpStream>, SocketAddr, bool);
/// What has become of an attempt, in the same order.
type Attempted = (io::Result<Async<TcpStream>>, SocketAddr, bool);

/// The addresses of one family.
#[derive(Default)]
struct Lane<'a> {
    /// Still being looked up.
    asked: Option<Later<'a, Result<Addresses, Refusal>>>,
    /// To be tried.
    addresses: VecDeque<IpAddr>,
    authentic: bool,
}

/// Addresses that are tried one beside the other. What is done next depends on what DNS says, on what becomes of the attempts, and on the
/// time, so it is polled by hand.
struct Race<'a> {
    dialer: &'a Dialer,
    host: Host,
    port: u16,
    /// IPv6 first.
    lanes: [Lane<'a>; 2],
    /// Whose turn it is.
    turn: usize,
    attempts: Vec<Later<'a, Attempted>>,
    /// Until then nothing more is begun.
    pause: Option<Timer>,
    /// IPv6 addresses have been waited for.
    has_waited: bool,
    failures: Vec<Refusal>,
    /// What the look-ups have failed with: told if there is no address at all.
    unknown: Vec<Refusal>,
}

impl<'a> Race<'a> {
    fn new(dialer: &'a Dialer, target: &Target) -> Race<'a> {
        let mut lanes = [Lane::default(), Lane::default()];
        match &target.host {
            Host::Address(address) => lanes[0].addresses.push_back(*address),
            Host::Name(name) => {
                for (lane, family) in lanes.iter_mut().zip([Family::V6, Family::V4]) {
                    let name = name.clone();
                    lane.asked = Some(Box::pin(async move { dialer.resolver.addresses(&name, family).await }));
                }
            }
        }
        let (host, port) = (target.host.clone(), target.port);
        let (attempts, failures, unknown) = (Vec::new(), Vec::new(), Vec::new());
        Race { dialer, host, port, lanes, turn: 0, attempts, pause: None, has_waited: false, failures, unknown }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Found, Refusal>> {
        loop {
            self.poll_look_ups(cx);
            if let Some(found) = self.poll_attempts(cx) {
                return Poll::Ready(Ok(found));
            }
            if self.may_begin(cx) {
                self.begin();
                continue;
            }
            let is_idle = |lane: &Lane<'_>| lane.asked.is_none() && lane.addresses.is_empty();
            let is_over = self.attempts.is_empty() && self.lanes.iter().all(is_idle);
            return if is_over { Poll::Ready(Err(self.failure())) } else { Poll::Pending };
        }
    }

    fn poll_look_ups(&mut self, cx: &mut Context<'_>) {
        for lane in &mut self.lanes {
            let Some(Poll::Ready(found)) = lane.asked.as_mut().map(|asked| asked.as_mut().poll(cx)) else { continue };
            lane.asked = None;
            if self.attempts.is_empty() {
                self.pause = None;
            }
            match found {
                Ok(found) => (lane.addresses, lane.authentic) = (found.list.into(), found.authentic),
                Err(why) if self.unknown.contains(&why) => {}
                Err(why) => self.unknown.push(why),
            }
        }
    }

    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Option<Found> {
        let (mut found, mut failed) = (None, Vec::new());
        self.attempts.retain_mut(|attempt| {
            let Poll::Ready((result, at, authentic)) = attempt.as_mut().poll(cx) else { return true };
            match result {
                Ok(socket) => found = found.take().or(Some((socket, at, authentic))),
                Err(e) => failed.push((at, e)),
            }
            false
        });
        for (at, error) in failed {
            // The next need not wait any longer.
            self.pause = None;
            self.failures.push(Refusal::wait(words(&self.told(at), &error, self.dialer.address)));
        }
        found
    }

    /// Whether there is an address to try, and it is time for it.
    fn may_begin(&mut self, cx: &mut Context<'_>) -> bool {
        if self.lanes.iter().all(|lane| lane.addresses.is_empty()) {
            return false;
        }
        if self.lanes[0].asked.is_some() && !self.has_waited {
            self.has_waited = true;
            self.pause = Some(Timer::after(RESOLUTION));
        }
        match &mut self.pause {
            Some(pause) => Pin::new(pause).poll(cx).is_ready(),
            None => true,
        }
    }

    /// The families take turns (RFC 8305 §4).
    fn begin(&mut self) {
        let turn = if self.lanes[self.turn].addresses.is_empty() { 1 - self.turn } else { self.turn };
        self.pause = None;
        let Some(ip) = self.lanes[turn].addresses.pop_front() else { return };
        let at = SocketAddr::new(ip, self.port);
        if let Some(why) = self.dialer.rules.forbid(at) {
            let text = format!("{} is {}, {why}; this server does not connect to that", self.host, at.ip());
            self.failures.push(Refusal::refused(text));
            return;
        }
        self.turn = 1 - turn;
        self.pause = Some(Timer::after(START));
        let (dialer, authentic) = (self.dialer, self.lanes[turn].authentic);
        self.attempts.push(Box::pin(async move { (dialer.connect(at).await, at, authentic) }));
    }

    fn failure(&self) -> Refusal {
        match (&self.failures[..], &self.unknown[..]) {
            ([], []) => Refusal::gone(format!("{} has no address in the DNS", self.host)),
            // What one family lacks, the other may have: what is worth to wait for is told.
            ([], unknown) => sum(unknown),
            (failures, _) => sum(failures),
        }
    }

    /// An address as it is told.
    fn told(&self, at: SocketAddr) -> String {
        match &self.host {
            Host::Name(name) => format!("{name} ({} port {})", at.ip(), at.port()),
            Host::Address(_) => format!("{} port {}", at.ip(), at.port()),
        }
    }
}

/// A host and a port, as people write them.
fn place(host: &Host, port: u16) -> String {
    match host {
        Host::Name(name) => format!("{name}:{port}"),
        Host::Address(address) => SocketAddr::new(*address, port).to_string(),
    }
}

/// Why an address was not reached.
fn words(at: &str, error: &io::Error, limit: Duration) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => format!("{at} refuses the connection: no server listens there"),
        ErrorKind::TimedOut => format!("{at} did not answer in {} seconds", limit.as_secs()),
        ErrorKind::NetworkUnreachable | ErrorKind::HostUnreachable => format!("there is no way from here to {at}"),
        _ => format!("{at} cannot be reached: {error}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;
    use crate::service::dns::tests::{House, Server, house_with, record, secure_zone, srv};
    use std::net::TcpListener;

    /// A dialer, with its files.
    struct Office {
        dialer: Dialer,
        _temp: Temp,
    }

    impl std::ops::Deref for Office {
        type Target = Dialer;

        fn deref(&self) -> &Dialer {
            &self.dialer
        }
    }

    fn dialer(server: &Server, hosts: &str, loopback: bool) -> Office {
        let conf = "nameserver 127.0.0.1\noptions timeout:1 attempts:1";
        let House { resolver, temp } = house_with(conf, hosts, server.at.port());
        Office { dialer: Dialer::new(resolver, Rules { own: Vec::new(), loopback }), _temp: temp }
    }

    fn listener(at: &str) -> (TcpListener, u16) {
        let listener = TcpListener::bind(at).unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    /// A port where nobody listens.
    fn closed() -> u16 {
        listener("127.0.0.1:0").1
    }

    /// A port that does not answer: its queue is full. What is in it must be held.
    fn silent() -> (TcpListener, Vec<TcpStream>, u16) {
        let (listener, port) = listener("127.0.0.1:0");
        rustix::net::listen(&listener, 0).unwrap();
        let at = listener.local_addr().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(200)) {
            held.push(stream);
        }
        (listener, held, port)
    }

    fn all(dialer: &Dialer, domain: &str) -> (Vec<Reached>, Refusal) {
        smol::block_on(async {
            let mut way = match dialer.way(domain).await {
                Ok(way) => way,
                Err(why) => return (Vec::new(), why),
            };
            let mut reached = Vec::new();
            while let Some(one) = way.next().await {
                reached.push(one);
            }
            (reached, way.failure())
        })
    }

    #[test]
    fn the_places_are_tried_in_their_order() {
        let ((one, port_1), (two, port_2)) = (listener("127.0.0.1:0"), listener("127.0.0.1:0"));
        let nobody = closed();
        let name = "_xmpp-server._tcp.a.example";
        let server = secure_zone(
            false,
            vec![
                (
                    "SRV _xmpp-server._tcp.a.example",
                    vec![srv(name, 1, 0, nobody, "h.example"), srv(name, 3, 0, port_2, "h.example")],
                ),
                (
                    "SRV _xmpps-server._tcp.a.example",
                    vec![srv("_xmpps-server._tcp.a.example", 2, 0, port_1, "h.example")],
                ),
            ],
        );
        let dialer = dialer(&server, "127.0.0.1 h.example", true);
        let (reached, why) = all(&dialer, "a.example");
        let places: Vec<_> = reached.iter().map(|r| (r.address.port(), r.target.direct)).collect();
        assert_eq!(places, [(port_1, true), (port_2, false)]);
        let expected = format!("h.example (127.0.0.1 port {nobody}) refuses the connection: no server listens there");
        assert_eq!((why.condition, why.text), (Condition::RemoteServerTimeout, expected));
        drop((one, two));
        // What DNS says of the domain is told as it is.
        let why = all(&dialer, "b.example").1;
        assert_eq!((why.condition, &*why.text), (Condition::RemoteServerNotFound, "there is no b.example in the DNS"));
    }

    #[test]
    fn what_became_of_a_stream_is_told_with_the_rest() {
        let (_one, port) = listener("127.0.0.1:0");
        let dialer = dialer(&secure_zone(false, vec![]), "", true);
        smol::block_on(async {
            let mut way = dialer.pinned(&format!("127.0.0.1:{port}").parse().unwrap());
            assert!(way.next().await.is_some() && way.left() > Duration::from_secs(20));
            way.failed(Refusal::wait("its TLS is too old"));
            assert!(way.next().await.is_none());
            assert_eq!(way.failure(), Refusal::wait("its TLS is too old"));
        });
    }

    #[test]
    fn this_server_and_its_box_are_not_called() {
        let (_one, port) = listener("127.0.0.1:0");
        let server = secure_zone(false, vec![]);
        for (address, why) in [
            ("127.0.0.1", "this box itself"),
            ("127.8.8.8", "this box itself"),
            ("[::1]", "this box itself"),
            ("[::ffff:127.0.0.1]", "this box itself"),
            ("0.0.0.0", "no address of a server"),
            ("0.1.2.3", "no address of a server"),
            ("[::]", "no address of a server"),
            ("[::127.0.0.1]", "no address of a server"),
            ("[::ffff:0.0.0.0]", "no address of a server"),
            ("224.0.0.251", "no address of a server"),
            ("255.255.255.255", "no address of a server"),
            ("[ff02::fb]", "no address of a server"),
            ("169.254.1.1", "link-local"),
            ("[fe80::1]", "link-local"),
            ("[::ffff:169.254.1.1]", "link-local"),
        ] {
            let dialer = dialer(&server, "", false);
            let mut way = dialer.pinned(&format!("{address}:{port}").parse().unwrap());
            assert!(smol::block_on(way.next()).is_none(), "{address}");
            let failure = way.failure();
            assert!(failure.condition == Condition::NotAllowed && failure.text.contains(why), "{failure}");
        }
        // A name leads there as well.
        let (reached, why) = all(&dialer(&server, "127.0.0.1 a.example\n::1 a.example", false), "a.example");
        assert!(reached.is_empty() && why.text.contains("a.example is ::1, which is this box itself ("), "{why}");
        let (reached, _) = all(&dialer(&server, "", false), "127.0.0.1");
        assert!(reached.is_empty());
        // Even where loopback is allowed, some addresses are nobody's.
        assert!(Rules { own: vec![], loopback: true }.forbid("0.0.0.0:5269".parse().unwrap()).is_some());
    }

    #[test]
    fn the_ports_of_this_server_are_known_by_every_address() {
        let rules = |own: &str| Rules { own: vec![own.parse().unwrap()], loopback: false };
        let forbids = |own: &str, at: &str| rules(own).forbid(at.parse().unwrap());
        assert!(forbids("203.0.113.7:5269", "203.0.113.7:5269").unwrap().contains("this server itself"));
        assert!(forbids("203.0.113.7:5269", "[::ffff:203.0.113.7]:5269").is_some());
        assert_eq!(forbids("203.0.113.7:5269", "203.0.113.7:5222"), None);
        assert_eq!(forbids("203.0.113.7:5269", "203.0.113.9:5269"), None);
        assert_eq!(forbids("[::]:5269", "203.0.113.9:5269"), None);
        // Any address of this box, which others may have, too.
        for ip in crate::service::host::addresses() {
            assert!(is_of_this_box(ip), "{ip}");
            assert!(
                rules("[::]:5269").forbid((ip, 5269).into()).is_some()
                    && rules("0.0.0.0:5269").forbid((ip, 1).into()).is_none()
            );
        }
        assert!(is_of_this_box("127.0.0.1".parse().unwrap()) && !is_of_this_box("203.0.113.9".parse().unwrap()));
    }

    #[test]
    fn one_address_that_is_silent_does_not_hold_up_the_others() {
        let (_listener, _held, port) = silent();
        let _other = TcpListener::bind(("127.0.0.2", port)).unwrap();
        let server = secure_zone(false, vec![]);
        let name = "_xmpp-server._tcp.a.example";
        let server_2 =
            secure_zone(false, vec![("SRV _xmpp-server._tcp.a.example", vec![srv(name, 1, 0, port, "h.example")])]);
        let begun = Instant::now();
        let (reached, _) = all(&dialer(&server_2, "127.0.0.1 h.example\n127.0.0.2 h.example", true), "a.example");
        assert_eq!(reached[0].address, SocketAddr::from(([127, 0, 0, 2], port)));
        assert!(begun.elapsed() >= START && begun.elapsed() < ADDRESS / 2);
        // Nobody listens at the first seven: the next need not wait each time.
        let begun = Instant::now();
        let hosts: String = (2..9).rev().map(|n| format!("127.0.1.{n} h.example\n")).collect();
        let (reached, _) = all(&dialer(&server_2, &format!("{hosts}127.0.0.2 h.example"), true), "a.example");
        assert!(reached.len() == 1 && begun.elapsed() < 6 * START);
        // Time is limited, for one and for all.
        let mut office = dialer(&server, "", true);
        let dialer = &mut office.dialer;
        dialer.address = Duration::from_millis(300);
        let mut way = dialer.pinned(&format!("127.0.0.1:{port}").parse().unwrap());
        assert!(smol::block_on(way.next()).is_none());
        assert_eq!(way.failure().text, format!("127.0.0.1 port {port} did not answer in 0 seconds"));
        (dialer.address, dialer.all) = (ADDRESS, Duration::from_millis(300));
        let mut way = dialer.pinned(&format!("127.0.0.1:{port}").parse().unwrap());
        assert!(smol::block_on(way.next()).is_none());
        assert_eq!(way.failure(), Refusal::wait(format!("127.0.0.1:{port} did not answer in time")));
    }

    #[test]
    fn the_families_take_turns_and_ipv6_begins() {
        let server = secure_zone(false, vec![]);
        let hosts = "127.0.0.7 h.example\n127.0.0.8 h.example\n::1 h.example\n::2 h.example";
        let dialer = dialer(&server, hosts, true);
        let host = Host::Name(DnsName::parse("h.example").unwrap());
        let port = closed();
        let target = Target { host, port, direct: false, authentic: false };
        let why = smol::block_on(dialer.reach(target)).unwrap_err();
        // `::2` is no address of a server; three failures are told.
        let order = ["(::1 ", "(127.0.0.7 ", "is ::2, which is no address"].map(|at| why.text.find(at));
        assert!(order.is_sorted() && order[0].is_some(), "{why}");
    }

    /// RFC 8305 §3, §5: what DNS says late is tried at once, unless an attempt has its start.
    #[test]
    fn nobody_waits_for_a_start_that_nobody_has() {
        let server = secure_zone(false, vec![]);
        let dialer = dialer(&server, "", true);
        let target = Target { host: Host::Address([127, 0, 0, 1].into()), port: 1, direct: false, authentic: false };
        for has_start in [false, true] {
            let mut race = Race::new(&dialer, &target);
            race.lanes[1].asked = Some(Box::pin(async { Ok(Addresses { list: Vec::new(), authentic: false }) }));
            race.pause = Some(Timer::after(START));
            if has_start {
                race.attempts.push(Box::pin(std::future::pending()));
            }
            race.poll_look_ups(&mut Context::from_waker(std::task::Waker::noop()));
            assert_eq!(race.pause.is_some(), has_start);
        }
    }

    #[test]
    fn keys_come_along_where_all_is_authenticated() {
        let (_one, port) = listener("127.0.0.1:0");
        for secure in [true, false] {
            let name = "_xmpps-server._tcp.a.example";
            let (key, h) = (format!("_{port}._tcp.h.example"), "h.example");
            let entries = [
                ("SRV _xmpps-server._tcp.a.example".to_owned(), vec![srv(name, 1, 0, port, h)]),
                ("A h.example".to_owned(), vec![record(h, 1, 300, &[127, 0, 0, 1])]),
                (format!("TLSA {key}"), vec![record(&key, 52, 300, &[&[3, 1, 1][..], &[7; 32]].concat())]),
            ];
            let server = secure_zone(secure, entries.iter().map(|(what, r)| (what.as_str(), r.clone())).collect());
            let (reached, _) = all(&dialer(&server, "", true), "a.example");
            assert_eq!((reached[0].target.authentic, reached[0].keys.len()), (secure, secure as usize));
        }
    }

    #[test]
    fn addresses_of_peers_are_read() {
        let read = |text: &str| text.parse::<PeerAddress>().map(|address| address.to_string());
        for (text, is) in [
            ("office.example", "office.example:5269"),
            ("Office.Example:5270", "office.example:5270"),
            (" 192.0.2.5 ", "192.0.2.5:5269"),
            ("192.0.2.5:1", "192.0.2.5:1"),
            ("2001:db8::5", "[2001:db8::5]:5269"),
            ("[2001:db8::5]", "[2001:db8::5]:5269"),
            ("[2001:db8::5]:443", "[2001:db8::5]:443"),
            ("box.local", "box.local:5269"),
            ("büro.example", "xn--bro-hoa.example:5269"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(is), "{text}");
            assert_eq!(read(is).as_deref(), Ok(is));
        }
        for bad in [
            "",
            ":",
            "a:",
            "a:0",
            "a:+1",
            "a:70000",
            "999.1.1.1",
            "1.2.3:5269",
            "192.0.2.5:0",
            "a b",
            "http://a",
            "[a]:1",
            "a:1:2",
            "[[::1]]",
            "[::1",
        ] {
            assert_eq!(read(bad), Err(NoPeerAddress), "{bad}");
        }
        let dialer = dialer(&secure_zone(false, vec![]), "", true);
        assert!(dialer.pinned(&"a.example:5270".parse().unwrap()).targets[0].direct);
        assert!(!dialer.pinned(&"a.example:443".parse().unwrap()).targets[0].direct);
    }
}
