//! What is claimed in the network: names that must be ours alone, and the records under them (RFC 6762 §2, RFC 6763 §4).

use super::packet::{MdnsQuestion, MdnsRecord, WireName, wire_name};
use domain::base::Rtype;
use domain::base::name::ToLabelIter as _;
use std::net::IpAddr;

/// How long addresses and places hold, in seconds (RFC 6762 §10).
const HOST_TTL_S: u32 = 120;
/// How long all else does.
const OTHER_TTL_S: u32 = 4500;
/// The domain of all of it.
const LOCAL: &str = "local";
/// Under which all types of services are found (RFC 6763 §9).
const TYPES: [&str; 4] = ["_services", "_dns-sd", "_udp", LOCAL];
/// The longest label, in bytes (RFC 1035 §2.3.4).
const LABEL_BYTES: usize = 63;

/// What is to be found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The first label of the host's name. If somebody has it, it gets a number.
    pub host: String,
    /// Other names of the host, whole, such as the domain of the addresses. They get no number: apps look for them as they are.
    pub aliases: Vec<String>,
    /// What the host has to offer.
    pub services: Vec<Offer>,
}

/// A service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Its name with that of its transport: `_https._tcp`.
    pub kind: &'static str,
    /// What people see; any characters. If somebody has it, it gets a number.
    pub instance: String,
    /// Where it listens.
    pub port: u16,
    /// What else is to be known: `path=/`, or nothing (RFC 6763 §6).
    pub text: &'static str,
}

/// Whose a name is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Use {
    Host,
    Alias,
    Instance(Offer),
}

/// A name that must be ours alone, as it is now.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub what: Use,
    pub name: WireName,
    /// How often it was taken already: 1 is the name as it was wanted.
    number: u32,
}

impl Claim {
    /// The claims; the host's is the first. What cannot be a name is left out.
    pub fn all(wanted: &Wanted) -> Vec<Claim> {
        let host = wire_name([label(&wanted.host, ""), LOCAL.into()].iter().map(String::as_str));
        // Without a host there is nowhere to lead to.
        let Some(host) = host.map(|name| (Use::Host, name)) else { return Vec::new() };
        let aliases = wanted.aliases.iter().filter_map(|alias| Some((Use::Alias, wire_name(alias.split('.'))?)));
        let instances =
            wanted.services.iter().filter_map(|offer| Some((Use::Instance(offer.clone()), instance_name(offer, 1)?)));
        let all = std::iter::once(host).chain(aliases).chain(instances);
        all.map(|(what, name)| Claim { what, name, number: 1 }).collect()
    }

    /// Takes the next name: `box-2` for a host (RFC 6762 §9), `Box (2)` for a service (RFC 6763 §D). `false` if it has none but its own.
    pub fn rename(&mut self) -> bool {
        let number = self.number.saturating_add(1);
        let next = match &self.what {
            Use::Alias => None,
            Use::Instance(offer) => instance_name(offer, number),
            Use::Host => {
                let first = self.label();
                let suffix = format!("-{}", self.number);
                let stem = if self.number > 1 { first.strip_suffix(&suffix).unwrap_or(&first) } else { &first };
                wire_name([label(stem, &format!("-{number}")).as_str(), LOCAL])
            }
        };
        let Some(name) = next else { return false };
        (self.name, self.number) = (name, number);
        true
    }

    /// Its first label.
    pub fn label(&self) -> String {
        self.name
            .iter_labels()
            .next()
            .map(|label| String::from_utf8_lossy(label.as_slice()).into_owned())
            .unwrap_or_default()
    }

    /// For people, who do not read the last dot.
    pub fn told(&self) -> String {
        let labels: Vec<_> = self.name.iter_labels().filter(|label| !label.is_root()).collect();
        let labels = labels.iter().map(|label| String::from_utf8_lossy(label.as_slice()));
        labels.collect::<Vec<_>>().join(".")
    }

    /// The question of its probes (RFC 6762 §8.1).
    pub fn probe(&self) -> MdnsQuestion {
        MdnsQuestion { name: self.name.clone(), kind: Rtype::ANY, unicast: true }
    }
}

fn instance_name(offer: &Offer, number: u32) -> Option<WireName> {
    let suffix = if number > 1 { format!(" ({number})") } else { String::new() };
    let instance = label(&offer.instance, &suffix);
    wire_name([instance.as_str()].into_iter().chain(offer.kind.split('.')).chain([LOCAL]))
}

/// A label with a suffix, cut between characters to what fits.
fn label(text: &str, suffix: &str) -> String {
    let mut end = text.len().min(LABEL_BYTES - suffix.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{suffix}", &text[..end])
}

/// A record of ours; the number is that of its claim.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum RecordId {
    /// Where the host is.
    Address(usize, IpAddr),
    /// Which port a service has (SRV).
    Place(usize),
    /// What else is to be known of it (TXT).
    Text(usize),
    /// Which kinds of records there are under a name, and so which are not (NSEC, RFC 6762 §6.1).
    Kinds(usize),
    /// That there is such a service (PTR); others may have some of the same kind.
    Instance(usize),
    /// That there are services of its kind (PTR).
    Type(usize),
}

impl RecordId {
    /// Whether others may have records of this name, too (RFC 6762 §2).
    pub fn is_shared(self) -> bool {
        matches!(self, RecordId::Instance(_) | RecordId::Type(_))
    }

    /// Its claim.
    pub fn claim(self) -> usize {
        match self {
            RecordId::Address(n, _)
            | RecordId::Place(n)
            | RecordId::Text(n)
            | RecordId::Kinds(n)
            | RecordId::Instance(n)
            | RecordId::Type(n) => n,
        }
    }

    pub fn kind(self) -> Rtype {
        match self {
            RecordId::Address(_, IpAddr::V4(_)) => Rtype::A,
            RecordId::Address(_, IpAddr::V6(_)) => Rtype::AAAA,
            RecordId::Place(_) => Rtype::SRV,
            RecordId::Text(_) => Rtype::TXT,
            RecordId::Kinds(_) => Rtype::NSEC,
            RecordId::Instance(_) | RecordId::Type(_) => Rtype::PTR,
        }
    }
}

/// The records under a claimed name, on a link where the host has these addresses; [`RecordId::Kinds`] is the last.
pub(super) fn unique(n: usize, claim: &Claim, addresses: &[IpAddr]) -> Vec<RecordId> {
    let mut ids: Vec<RecordId> = match claim.what {
        Use::Host | Use::Alias => addresses.iter().map(|ip| RecordId::Address(n, *ip)).collect(),
        Use::Instance(_) => vec![RecordId::Place(n), RecordId::Text(n)],
    };
    ids.push(RecordId::Kinds(n));
    ids
}

/// The records that lead to a claimed name, each with the name under which it is.
pub(super) fn shared(n: usize, claim: &Claim) -> Vec<(RecordId, WireName)> {
    let Use::Instance(offer) = &claim.what else { return Vec::new() };
    let of_kind = wire_name(offer.kind.split('.').chain([LOCAL])).map(|name| (RecordId::Instance(n), name));
    let types = wire_name(TYPES).map(|name| (RecordId::Type(n), name));
    of_kind.into_iter().chain(types).collect()
}

/// What a record says. `None` if there is no such record.
pub(super) fn record(claims: &[Claim], id: RecordId, addresses: &[IpAddr]) -> Option<MdnsRecord> {
    let claim = claims.get(id.claim())?;
    let offer = match &claim.what {
        Use::Instance(offer) => Some(offer),
        _ => None,
    };
    let mut owner = claim.name.clone();
    let (ttl_s, data) = match id {
        RecordId::Address(_, IpAddr::V4(ip)) => (HOST_TTL_S, ip.octets().to_vec()),
        RecordId::Address(_, IpAddr::V6(ip)) => (HOST_TTL_S, ip.octets().to_vec()),
        RecordId::Place(_) => {
            // Priority and weight mean nothing where one host has it.
            let port = offer?.port.to_be_bytes();
            (HOST_TTL_S, [&[0, 0, 0, 0], &port[..], claims.first()?.name.as_slice()].concat())
        }
        RecordId::Text(_) => {
            let text = offer?.text;
            (OTHER_TTL_S, [&[u8::try_from(text.len()).ok()?], text.as_bytes()].concat())
        }
        RecordId::Kinds(n) => {
            let kinds = unique(n, claim, addresses).into_iter().map(RecordId::kind).filter(|kind| *kind != Rtype::NSEC);
            (HOST_TTL_S, [claim.name.as_slice(), &bitmap(kinds)].concat())
        }
        RecordId::Instance(n) | RecordId::Type(n) => {
            owner = shared(n, claim).into_iter().find(|(one, _)| *one == id)?.1;
            let to = match id {
                RecordId::Type(_) => wire_name(offer?.kind.split('.').chain([LOCAL]))?,
                _ => claim.name.clone(),
            };
            (OTHER_TTL_S, to.into_octets())
        }
    };
    Some(MdnsRecord { name: owner, kind: id.kind(), flush: !id.is_shared(), ttl_s, data: data.into() })
}

/// Kinds of records as in NSEC: one window, all that multicast DNS can say there (RFC 6762 §6.1).
fn bitmap(kinds: impl Iterator<Item = Rtype>) -> Vec<u8> {
    let mut bits = Vec::new();
    for kind in kinds.map(|kind| usize::from(kind.to_int())).filter(|kind| *kind < 256) {
        bits.resize(bits.len().max(kind / 8 + 1), 0);
        bits[kind / 8] |= 0x80 >> (kind % 8);
    }
    [&[0, bits.len() as u8][..], &bits].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn wanted() -> Wanted {
        let offer = |kind, text| Offer { kind, instance: "Chat of us".into(), port: 5443, text };
        Wanted {
            host: "box".into(),
            aliases: vec!["chat.local".into()],
            services: vec![offer("_https._tcp", "path=/")],
        }
    }

    #[test]
    fn what_is_taken_gets_a_number() {
        let mut claims = Claim::all(&wanted());
        let names: Vec<String> = claims.iter().map(Claim::told).collect();
        assert_eq!(names, ["box.local", "chat.local", "Chat of us._https._tcp.local"]);
        let renamed: Vec<bool> = claims.iter_mut().map(Claim::rename).collect();
        assert_eq!(renamed, [true, false, true]);
        assert!(claims[0].rename());
        let names: Vec<String> = claims.iter().map(Claim::told).collect();
        assert_eq!(names, ["box-3.local", "chat.local", "Chat of us (2)._https._tcp.local"]);
        // Longer than fits, and no half characters.
        let long = Wanted { host: "ü".repeat(40), ..wanted() };
        let mut claims = Claim::all(&long);
        assert_eq!(claims[0].label(), "ü".repeat(31));
        (0..10).for_each(|_| assert!(claims[0].rename()));
        assert_eq!(claims[0].label(), format!("{}-11", "ü".repeat(30)));
    }

    #[test]
    fn a_name_that_ends_with_a_number_keeps_it() {
        let mut claims = Claim::all(&Wanted { host: "box-7".into(), ..wanted() });
        assert!(claims[0].rename() && claims[0].rename());
        assert_eq!(claims[0].told(), "box-7-3.local");
    }

    #[test]
    fn records_say_what_there_is() {
        let claims = Claim::all(&wanted());
        let addresses: Vec<IpAddr> = vec!["192.168.1.5".parse().unwrap()];
        let of = |id| record(&claims, id, &addresses).unwrap();
        let a = of(RecordId::Address(0, addresses[0]));
        assert_eq!((a.kind, a.ttl_s, a.flush, &*a.data), (Rtype::A, 120, true, &[192, 168, 1, 5][..]));
        let srv = of(RecordId::Place(2));
        assert_eq!((srv.ttl_s, &*srv.data), (120, &b"\0\0\0\0\x15\x43\x03box\x05local\0"[..]));
        assert_eq!((of(RecordId::Text(2)).ttl_s, &*of(RecordId::Text(2)).data), (4500, &b"\x06path=/"[..]));
        let ptr = of(RecordId::Instance(2));
        assert_eq!((ptr.name.to_string().as_str(), ptr.flush), ("_https._tcp.local", false));
        assert_eq!(&*ptr.data, claims[2].name.as_slice());
        assert_eq!(of(RecordId::Type(2)).name.to_string(), "_services._dns-sd._udp.local");
        // A alone; SRV and TXT.
        assert_eq!(&*of(RecordId::Kinds(0)).data, b"\x03box\x05local\0\0\x01\x40");
        assert!(of(RecordId::Kinds(2)).data.ends_with(&[0, 5, 0, 0, 0x80, 0, 0x40]));
        assert_eq!(record(&claims, RecordId::Place(0), &addresses), None);
        assert_eq!(record(&claims, RecordId::Text(9), &addresses), None);
    }

    #[test]
    fn nothing_more_to_know_is_one_empty_string() {
        let mut wanted = wanted();
        wanted.services[0].text = "";
        assert_eq!(&*record(&Claim::all(&wanted), RecordId::Text(2), &[]).unwrap().data, [0]);
    }
}
