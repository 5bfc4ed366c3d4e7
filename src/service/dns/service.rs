//! Where the server of a domain is: SRV records of both kinds (RFC 6120 §3.2, XEP-0368 §3, RFC 2782).

use super::message::{At, Srv};
use super::name::DnsName;
use std::fmt;
use std::net::IpAddr;

/// The service with STARTTLS (RFC 6120 §3.2.1).
pub(crate) const STARTTLS: &str = "_xmpp-server._tcp";
/// The service with TLS from the first byte (XEP-0368 §2).
pub(crate) const DIRECT: &str = "_xmpps-server._tcp";
/// The port where DNS names none (RFC 6120 §3.2.2).
pub(crate) const PORT: u16 = 5269;

/// What is asked for of a domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ServiceNames {
    /// With STARTTLS.
    pub starttls: &'static str,
    /// With TLS from the first byte.
    pub direct: &'static str,
    /// The port where DNS names none, with STARTTLS.
    pub port: u16,
}

/// What other servers ask for.
pub(crate) const SERVERS: ServiceNames = ServiceNames { starttls: STARTTLS, direct: DIRECT, port: PORT };
/// What apps ask for (RFC 6120 §3.2.1, XEP-0368 §2).
pub(crate) const CLIENTS: ServiceNames =
    ServiceNames { starttls: "_xmpp-client._tcp", direct: "_xmpps-client._tcp", port: 5222 };
/// Places that are tried for one domain.
const TARGETS: usize = 16;

/// A host, by its name or its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Host {
    /// Its addresses have to be looked up.
    Name(DnsName),
    /// It is this one.
    Address(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => name.fmt(f),
            Host::Address(address) => address.fmt(f),
        }
    }
}

/// A place where a domain's server may be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// Where the connection goes.
    pub host: Host,
    /// Of TCP.
    pub port: u16,
    /// Whether TLS begins with the first byte there (XEP-0368).
    pub direct: bool,
    /// Whether DNSSEC vouches for it up to here.
    pub authentic: bool,
}

/// What was asked for one of the two services, and what came.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Services {
    /// These records; none: there are none.
    Known {
        /// As they are in DNS.
        records: Vec<Srv>,
        /// Whether DNSSEC vouches for them.
        authentic: bool,
    },
    /// No server has answered.
    Silence,
    /// A server has answered that it cannot say.
    Failure,
}

impl Services {
    fn records(&self) -> &[Srv] {
        match self {
            Services::Known { records, .. } => records,
            Services::Silence | Services::Failure => &[],
        }
    }

    /// `.` as the only target: decidedly not there.
    fn is_denied(&self) -> bool {
        matches!(self.records(), [only] if only.at == At::Nowhere)
    }

    fn is_authentic(&self) -> bool {
        matches!(self, Services::Known { authentic: true, .. })
    }
}

/// What follows from the records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// These places, in this order.
    Targets(Vec<Target>),
    /// The domain's own address and the usual port (RFC 6120 §3.2.2).
    FallBack {
        /// Whether DNSSEC vouches for it that there are no records.
        authentic: bool,
    },
    /// The domain has no server.
    Denied,
    /// There are records, and none of them names a place.
    Unusable,
    /// Nobody knows: DNS has failed.
    Unknown,
}

/// RFC 6120 §3.2.1: where there are SRV records they count alone. XEP-0368: those of both services are one list. `roll` gives a number from
/// 0 to the one given.
pub(crate) fn way(direct: &Services, starttls: &Services, roll: &mut dyn FnMut(u32) -> u32) -> Way {
    let mut all = Vec::new();
    for (services, direct) in [(direct, true), (starttls, false)] {
        for record in services.records() {
            if let At::Host(name) = &record.at {
                let host = Host::Name(name.clone());
                let target = Target { host, port: record.port, direct, authentic: services.is_authentic() };
                all.push((record.priority, record.weight, target));
            }
        }
    }
    if !all.is_empty() {
        return Way::Targets(in_order(all, roll));
    }
    let is_only_denied = |services: &Services| services.is_denied() || services.records().is_empty();
    match starttls {
        _ if starttls.is_denied() => Way::Denied,
        _ if !starttls.records().is_empty() || !is_only_denied(direct) => Way::Unusable,
        Services::Failure => Way::Unknown,
        // "If the initiating entity does not receive a response", the same as without records.
        _ => Way::FallBack { authentic: starttls.is_authentic() && direct.is_authentic() },
    }
}

/// RFC 2782: by priority; among equal ones at random, as their weights say. The same place twice is tried once.
fn in_order(mut left: Vec<(u16, u16, Target)>, roll: &mut dyn FnMut(u32) -> u32) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    // Those of weight 0 first, "so that they have a very small chance of being selected".
    left.sort_by_key(|(priority, weight, _)| (*priority, *weight));
    while targets.len() < TARGETS {
        let Some(priority) = left.first().map(|(priority, ..)| *priority) else { break };
        let equal = left.iter().take_while(|(other, ..)| *other == priority);
        let sum: u32 = equal.clone().map(|(_, weight, _)| u32::from(*weight)).sum();
        let (rolled, mut running) = (roll(sum), 0);
        let chosen = equal.take_while(|(_, weight, _)| {
            running += u32::from(*weight);
            running < rolled
        });
        let at = chosen.count();
        let (_, _, target) = left.remove(at);
        if !targets.contains(&target) {
            targets.push(target);
        }
    }
    targets
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn srv(priority: u16, weight: u16, host: &str) -> Srv {
        let at = match host {
            "." => At::Nowhere,
            "!" => At::Unusable,
            host => At::Host(DnsName::parse(host).unwrap()),
        };
        Srv { priority, weight, port: 5000, at }
    }

    fn known(hosts: &[&str]) -> Services {
        Services::Known { records: hosts.iter().map(|host| srv(1, 0, host)).collect(), authentic: false }
    }

    fn places(way: Way) -> Vec<String> {
        let Way::Targets(targets) = way else { panic!("{way:?}") };
        targets.iter().map(|t| format!("{}{}", if t.direct { "tls:" } else { "" }, t.host)).collect()
    }

    #[test]
    fn what_the_records_mean() {
        let none = || known(&[]);
        let fall_back = Way::FallBack { authentic: false };
        let table = [
            (none(), none(), fall_back.clone()),
            // What direct TLS does not have, STARTTLS may have.
            (known(&["."]), none(), fall_back.clone()),
            (none(), known(&["."]), Way::Denied),
            (known(&["."]), known(&["."]), Way::Denied),
            (Services::Silence, Services::Silence, fall_back.clone()),
            (Services::Silence, known(&["."]), Way::Denied),
            (Services::Failure, none(), fall_back),
            (none(), Services::Failure, Way::Unknown),
            (Services::Failure, Services::Failure, Way::Unknown),
            // There are records: no fall-back.
            (none(), known(&["!"]), Way::Unusable),
            (known(&["!"]), none(), Way::Unusable),
            (none(), known(&[".", "."]), Way::Unusable),
        ];
        for (direct, starttls, expected) in table {
            assert_eq!(way(&direct, &starttls, &mut |_| 0), expected, "{direct:?} {starttls:?}");
        }
        let places = |direct: &Services, starttls: &Services| places(way(direct, starttls, &mut |_| 0));
        assert_eq!(places(&known(&["."]), &known(&["a"])), ["a"]);
        assert_eq!(places(&known(&["a"]), &known(&["."])), ["tls:a"]);
        assert_eq!(places(&known(&["a"]), &Services::Failure), ["tls:a"]);
        assert_eq!(places(&Services::Silence, &known(&["a", ".", "!"])), ["a"]);
        // The same port of the same host by both services is two places.
        assert_eq!(places(&known(&["a", "a"]), &known(&["a"])), ["tls:a", "a"]);
    }

    #[test]
    fn both_services_are_one_list() {
        let direct = Services::Known { records: vec![srv(20, 0, "c"), srv(5, 0, "a")], authentic: true };
        let starttls = Services::Known { records: vec![srv(10, 0, "b"), srv(30, 0, "d")], authentic: false };
        let Way::Targets(targets) = way(&direct, &starttls, &mut |_| 0) else { panic!() };
        let authentic: Vec<bool> = targets.iter().map(|t| t.authentic).collect();
        assert_eq!(authentic, [true, false, true, false]);
        assert_eq!(places(Way::Targets(targets)), ["tls:a", "b", "tls:c", "d"]);
    }

    #[test]
    fn weights_are_shares() {
        let starttls =
            Services::Known { records: vec![srv(1, 3, "b"), srv(1, 0, "a"), srv(1, 1, "c")], authentic: false };
        let first = |rolled: u32| {
            let mut rolls = 0;
            let way = way(&known(&[]), &starttls, &mut |most| {
                rolls += 1;
                if rolls == 1 {
                    assert_eq!(most, 4)
                }
                rolled.min(most)
            });
            places(way)
        };
        // 0: the one of weight 0; 1: the one of weight 1; 2 to 4: the one of weight 3.
        let order: Vec<_> = (0..5).map(|n| first(n)[0].clone()).collect();
        assert_eq!(order, ["a", "c", "b", "b", "b"]);
        assert!((0..5).all(|n| first(n).len() == 3));
    }

    #[test]
    fn not_more_are_tried() {
        let hosts: Vec<String> = (0..100).map(|n| format!("h{n}")).collect();
        let records = hosts.iter().map(|host| srv(1, u16::MAX, host)).collect();
        let starttls = Services::Known { records, authentic: false };
        assert_eq!(places(way(&known(&[]), &starttls, &mut |most| most)).len(), TARGETS);
    }
}
