//! What phones will see of the domain: whether a name service leads to this machine, and what it lacks.

use crate::service::cert::a_labels;
use crate::service::config::Config;
use crate::service::host;
use crate::service::net::listeners::{C2S, C2S_TLS};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a name service may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// The ports that apps try without being told (RFC 6120 §14.7, XEP-0368).
const STARTTLS_PORT: u16 = 5222;
const TLS_PORT: u16 = 5223;

/// What a name service says.
#[derive(Clone, PartialEq, Eq, Debug)]
enum FoundAddresses {
    /// These addresses; none: it does not know the name.
    At(Vec<IpAddr>),
    /// Nobody has answered in time.
    Silence,
}

impl FoundAddresses {
    fn first(&self) -> Option<IpAddr> {
        match self {
            FoundAddresses::At(all) => all.first().copied(),
            FoundAddresses::Silence => None,
        }
    }
}

/// A question that is asked.
pub(crate) struct Lookup {
    domain: String,
    answer: Receiver<Vec<IpAddr>>,
    until: Instant,
}

/// What an owner is told of the look-up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LookedUp {
    /// Whether phones find the server.
    pub fine: bool,
    pub text: String,
}

impl Lookup {
    /// Asks the system's resolver, on a thread of its own: it may take long, and nobody can tell it to stop.
    pub(crate) fn begin(domain: &str) -> Lookup {
        let (send, answer) = channel();
        let name = a_labels(domain);
        let ask = move || {
            let found = (name.as_str(), 0).to_socket_addrs().map(|all| all.map(|address| address.ip()).collect());
            // Without an answer that is of use, or nobody left to hear it, there is nothing to do.
            let _ = send.send(found.unwrap_or_default());
        };
        // Without a thread there is no answer.
        let _ = std::thread::Builder::new().name("lookup".into()).spawn(ask);
        Lookup { domain: domain.to_owned(), answer, until: Instant::now() + PATIENCE }
    }

    /// The answer, in a bounded time. `ports`: those that are listened on.
    pub(crate) fn end(self, ports: &Ports) -> LookedUp {
        let left = self.until.saturating_duration_since(Instant::now());
        let found = self.answer.recv_timeout(left).map_or(FoundAddresses::Silence, |mut addresses| {
            addresses.sort_unstable();
            addresses.dedup();
            FoundAddresses::At(addresses)
        });
        tell(&self.domain, ports, &host::addresses(), &found, is_ours)
    }
}

/// The ports for apps; none that is 0, which the system chooses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Ports {
    /// With STARTTLS.
    pub starttls: Option<u16>,
    /// With TLS from the first byte.
    pub tls: Option<u16>,
}

impl Ports {
    /// The first of each.
    pub(crate) fn of(starttls: &[SocketAddr], tls: &[SocketAddr]) -> Ports {
        let first = |all: &[SocketAddr], standard: u16| {
            let ports: Vec<u16> = all.iter().map(SocketAddr::port).filter(|port| *port != 0).collect();
            ports.iter().copied().find(|port| *port == standard).or(ports.first().copied())
        };
        Ports { starttls: first(starttls, STARTTLS_PORT), tls: first(tls, TLS_PORT) }
    }

    /// Those of the settings.
    pub(crate) fn set(config: &Config) -> Ports {
        Ports::of(config.addresses(C2S), config.addresses(C2S_TLS))
    }

    /// What name services must say for apps to find them (RFC 6120 §3.2.1, XEP-0368).
    fn lines(&self, domain: &str) -> Vec<String> {
        let line = |service: &str, port: u16| format!("`_{service}._tcp.{domain}. SRV 0 5 {port} {domain}.`");
        let starttls = self.starttls.filter(|port| *port != STARTTLS_PORT);
        let tls = self.tls.filter(|port| *port != TLS_PORT || self.starttls.is_none());
        let all = [starttls.map(|port| line("xmpp-client", port)), tls.map(|port| line("xmpps-client", port))];
        all.into_iter().flatten().collect()
    }

    /// What a name service must say where the domain is another machine's.
    fn elsewhere(&self, domain: &str) -> String {
        let (service, port) = match (self.starttls, self.tls) {
            (None, Some(port)) => ("xmpps-client", port),
            (port, _) => ("xmpp-client", port.unwrap_or(STARTTLS_PORT)),
        };
        format!("`_{service}._tcp.{domain}. SRV 0 5 {port} HOST.`")
    }

    fn any(&self) -> Option<u16> {
        self.starttls.or(self.tls)
    }
}

/// Whether an address is this machine's: only those can be bound.
fn is_ours(address: &IpAddr) -> bool {
    UdpSocket::bind((*address, 0)).is_ok()
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

/// One of each kind, for the lines of a name service.
fn records(domain: &str, own: &[IpAddr]) -> Vec<String> {
    let (v4, v6) = (own.iter().find(|a| a.is_ipv4()), own.iter().find(|a| a.is_ipv6()));
    let line = |kind: &str, address: Option<&IpAddr>| address.map(|address| format!("`{domain}. {kind} {address}`"));
    [line("A", v4), line("AAAA", v6)].into_iter().flatten().collect()
}

/// What of an answer others see, too: beside an address that leads somewhere, those of this machine alone (Debian's 127.0.1.1) are
/// nothing.
fn beyond_loopback(found: &FoundAddresses) -> FoundAddresses {
    let FoundAddresses::At(all) = found else { return found.clone() };
    let beyond: Vec<IpAddr> = all.iter().filter(|address| !address.is_loopback()).copied().collect();
    FoundAddresses::At(if beyond.is_empty() { all.clone() } else { beyond })
}

/// A machine that nobody can reach, whatever its name.
fn without_address(domain: &str, found: &FoundAddresses) -> String {
    let at = match found {
        FoundAddresses::At(all) if all.iter().any(|address| !address.is_loopback()) => {
            format!("{domain} is found at {}, but", list(all))
        }
        _ => format!("nobody reaches {domain}:"),
    };
    format!(
        "{at} this machine has no address yet: connect it to a network. Then `inglenook check` tells what the name service must say"
    )
}

fn tell(
    domain: &str,
    ports: &Ports,
    own: &[IpAddr],
    found: &FoundAddresses,
    is_ours: impl Fn(&IpAddr) -> bool,
) -> LookedUp {
    let name = a_labels(domain);
    let srv = ports.lines(&name);
    let mut lines = records(&name, own);
    lines.extend(srv.iter().cloned());
    let lines = lines.join(", ");
    let port = ports.any().map(|port| format!(", port {port}")).unwrap_or_default();
    let warn = |text: String| LookedUp { fine: false, text };
    let found = &beyond_loopback(found);
    let is_here = matches!(found, FoundAddresses::At(all) if all.iter().any(|a| !a.is_loopback() && is_ours(a)));
    let Some(address) = own.first().copied().or(found.first().filter(|_| is_here)) else {
        return warn(without_address(domain, found));
    };
    let by_hand = format!("type {address}{port} as the server, in the app's advanced settings");
    match found {
        FoundAddresses::At(all) if !all.is_empty() && all.iter().all(|a| !a.is_loopback() && is_ours(a)) => {
            match srv.is_empty() {
                true => {
                    LookedUp { fine: true, text: format!("{domain} is found at {}, which is this machine", list(all)) }
                }
                false => warn(format!(
                    "{domain} is found at {}, which is this machine; apps learn its ports from the name service alone (not looked at): {}",
                    list(all),
                    srv.join(", ")
                )),
            }
        }
        FoundAddresses::At(all) if all.iter().any(|a| !a.is_loopback()) => warn(format!(
            "{domain} is found at {}, but this machine has {}: phones connect to the former. That is right if it is a router which \
                 hands the ports on to this machine, or if a SRV line (not looked at) leads here. Else the name service must say: {lines}; \
                 or, where the name must stay as it is, {}, with HOST a name that leads here",
            list(all),
            list(own),
            ports.elsewhere(&name)
        )),
        _ if name.ends_with(".local") => warn(format!(
            "names that end with .local are found by mDNS, which some phones do not speak. Where an app does \
             not find {domain}: {by_hand}"
        )),
        FoundAddresses::At(all) if !all.is_empty() => warn(format!(
            "{domain} is known to this machine alone ({}, from /etc/hosts), phones do not see that. The name service (often in the \
             router) must say: {lines}. Until then: {by_hand}",
            list(all)
        )),
        FoundAddresses::At(_) => warn(format!(
            "no name service leads to {domain}: phones will not find it by name. The name service (often in the router) must say: \
             {lines}. Until then: {by_hand}"
        )),
        FoundAddresses::Silence => warn(format!(
            "no name service has answered within {} s: whether phones find {domain} by name is not known. It must say: {lines}. \
             Otherwise: {by_hand}",
            PATIENCE.as_secs()
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const STANDARD: Ports = Ports { starttls: Some(5222), tls: Some(5223) };

    fn addresses(all: &[&str]) -> Vec<IpAddr> {
        all.iter().map(|a| a.parse().unwrap()).collect()
    }

    fn told(domain: &str, ports: Ports, found: &[&str]) -> LookedUp {
        let own = addresses(&["192.168.1.5", "fd00::5"]);
        tell(domain, &ports, &own, &FoundAddresses::At(addresses(found)), |a| own.contains(a) || a.is_loopback())
    }

    #[test]
    fn phones_see_this_machine_another_or_none() {
        let here = told("chat.lan", STANDARD, &["192.168.1.5"]);
        assert!(here.fine && here.text.contains("192.168.1.5, which is this machine"), "{here:?}");
        for found in [&["203.0.113.9"][..], &["192.168.1.5", "203.0.113.9"]] {
            let elsewhere = told("chat.lan", STANDARD, found);
            assert!(!elsewhere.fine, "{elsewhere:?}");
            for part in [
                "203.0.113.9",
                "`_xmpp-client._tcp.chat.lan. SRV 0 5 5222 HOST.`",
                "this machine has 192.168.1.5, fd00::5",
                "`chat.lan. A 192.168.1.5`, `chat.lan. AAAA fd00::5`",
            ] {
                assert!(elsewhere.text.contains(part), "{part}: {elsewhere:?}");
            }
        }
        let nowhere = told("chat.lan", STANDARD, &[]);
        for part in ["will not find it by name", "chat.lan. A 192.168.1.5", "type 192.168.1.5, port 5222 as the server"]
        {
            assert!(!nowhere.fine && nowhere.text.contains(part), "{part}: {nowhere:?}");
        }
        assert!(!nowhere.text.contains("SRV"), "{nowhere:?}");
        // What Debian writes into /etc/hosts.
        let itself = told("chat.lan", STANDARD, &["127.0.1.1"]);
        assert!(
            !itself.fine && itself.text.contains("/etc/hosts") && itself.text.contains("chat.lan. A 192"),
            "{itself:?}"
        );
    }

    /// Debian's line in /etc/hosts stands beside what the name service says.
    #[test]
    fn a_loopback_address_beside_a_right_one_is_nothing() {
        for loopback in ["127.0.1.1", "::1"] {
            let here = told("chat.lan", STANDARD, &[loopback, "192.168.1.5"]);
            assert!(here.fine && !here.text.contains(loopback), "{here:?}");
            let elsewhere = told("chat.lan", STANDARD, &[loopback, "203.0.113.9"]);
            assert!(
                !elsewhere.fine && elsewhere.text.starts_with("chat.lan is found at 203.0.113.9, but"),
                "{elsewhere:?}"
            );
        }
        assert!(told("chat.local", STANDARD, &["127.0.1.1", "192.168.1.5"]).fine);
    }

    #[test]
    fn without_an_address_there_is_one_thing_to_do() {
        let todo = "this machine has no address yet: connect it to a network. Then `inglenook check` tells what the name service must say";
        for (domain, found) in [
            ("chat.lan", FoundAddresses::At(vec![])),
            ("chat.lan", FoundAddresses::At(addresses(&["127.0.1.1"]))),
            ("pi.local", FoundAddresses::At(vec![])),
            ("chat.lan", FoundAddresses::Silence),
        ] {
            let told = tell(domain, &STANDARD, &[], &found, |a| a.is_loopback());
            assert_eq!(told.text, format!("nobody reaches {domain}: {todo}"));
        }
        let told = tell("chat.lan", &STANDARD, &[], &FoundAddresses::At(addresses(&["203.0.113.9"])), |_| false);
        assert_eq!(told.text, format!("chat.lan is found at 203.0.113.9, but {todo}"));
    }

    #[test]
    fn names_of_mdns_have_no_lines() {
        for found in [&[][..], &["127.0.1.1"]] {
            let local = told("pi.local", STANDARD, found);
            assert!(!local.fine && local.text.contains("mDNS") && local.text.contains("type 192.168.1.5"), "{local:?}");
            assert!(!local.text.contains(". A "), "{local:?}");
        }
        assert!(told("pi.local", STANDARD, &["192.168.1.5"]).fine);
    }

    #[test]
    fn other_ports_need_their_own_lines() {
        let (both, only) = (Ports { starttls: Some(6222), tls: Some(6223) }, Ports { starttls: None, tls: Some(5223) });
        let told_of = |ports, part: &str| {
            for found in [&[][..], &["192.168.1.5"], &["203.0.113.9"]] {
                let told = told("bücher.example", ports, found);
                assert!(!told.fine && told.text.contains(part), "{part}: {told:?}");
            }
        };
        told_of(both, "_xmpp-client._tcp.xn--bcher-kva.example. SRV 0 5 6222 xn--bcher-kva.example.");
        told_of(both, "_xmpps-client._tcp.xn--bcher-kva.example. SRV 0 5 6223 xn--bcher-kva.example.");
        told_of(only, "_xmpps-client._tcp.xn--bcher-kva.example. SRV 0 5 5223 xn--bcher-kva.example.");
        let ports = |all: &[u16]| all.iter().map(|port| SocketAddr::from(([0; 16], *port))).collect::<Vec<_>>();
        assert_eq!(Ports::of(&ports(&[6222, 5222]), &ports(&[0])), Ports { starttls: Some(5222), tls: None });
    }

    /// Without a network, without a resolver, with one that never answers.
    #[test]
    fn an_answer_takes_a_bounded_time() {
        let (_hold, answer) = channel();
        let begun = Instant::now();
        let until = begun + Duration::from_millis(50);
        let told = Lookup { domain: "chat.lan".into(), answer, until }.end(&STANDARD);
        assert!(!told.fine && told.text.contains("has answered within"), "{told:?}");
        assert!(begun.elapsed() < PATIENCE);
        let none = tell("chat.lan", &STANDARD, &[], &FoundAddresses::At(vec![]), |_| false);
        assert!(none.text.contains("no address yet"), "{none:?}");
    }

    #[test]
    fn the_system_is_asked() {
        let told = Lookup::begin("localhost").end(&STANDARD);
        assert!(told.text.contains("known to this machine alone") || told.text.contains("has answered"), "{told:?}");
    }
}
