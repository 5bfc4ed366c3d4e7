//! What an authority may sign for (name constraints, RFC 5280 §4.2.1.10): whoever installs it trusts this house, and nobody else, also if
//! its key is stolen.

use crate::wire::host_name;
use crate::wire::punycode::a_labels;
use rcgen::{CidrSubnet, GeneralSubtree, NameConstraints};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use x509_parser::extensions::GeneralName;

/// Addresses that are nobody's in the internet, each with the length of its prefix: those of this box, and of networks like its own
/// (RFC 1918, 3927, 4193, 4291, 6598).
const PRIVATE: [(IpAddr, u8); 9] = [
    (IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(100, 64, 0, 0)), 10),
    (IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), 8),
    (IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), 16),
    (IpAddr::V4(Ipv4Addr::new(172, 16, 0, 0)), 12),
    (IpAddr::V4(Ipv4Addr::new(192, 168, 0, 0)), 16),
    (IpAddr::V6(Ipv6Addr::LOCALHOST), 128),
    (IpAddr::V6(Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0)), 7),
    (IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), 10),
];

/// Names and addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Permitted {
    /// Names, and all below them.
    names: Vec<String>,
    /// Addresses, each with its mask.
    networks: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Permitted {
    /// What a new authority signs for: the domain, the names of this box, private addresses, and those that the box has now.
    pub(super) fn of(domain: &str, hosts: &[String], addresses: &[IpAddr]) -> Permitted {
        let domain = a_labels(domain);
        // Everything below them would be signed for.
        let hosts = hosts.iter().filter(|host| !host_name::is_shared(host) && **host != domain).cloned();
        let own = domain.parse().ok().into_iter().chain(addresses.iter().copied());
        let own = own.filter(|address| !holds(&PRIVATE.map(network), *address)).map(|address| (address, 128));
        let networks = PRIVATE.into_iter().chain(own).map(network);
        let names = std::iter::once(domain.clone()).chain(hosts).collect();
        Permitted { networks: networks.collect(), names }
    }

    /// What an authority that is there signs for. `None`: whatever it is asked, as those that were made before there was this.
    pub(crate) fn read(der: &[u8]) -> Option<Permitted> {
        let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
        let subtrees = cert.name_constraints().ok()??.value.permitted_subtrees.as_ref()?;
        let mut permitted = Permitted { names: Vec::new(), networks: Vec::new() };
        for subtree in subtrees {
            match &subtree.base {
                GeneralName::DNSName(name) => permitted.names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    let (address, mask) = bytes.split_at(bytes.len() / 2);
                    permitted.networks.push((address.into(), mask.into()));
                }
                _ => {}
            }
        }
        Some(permitted)
    }

    /// As it stands in a certificate.
    pub(super) fn constraints(&self) -> NameConstraints {
        let names = self.names.iter().map(|name| GeneralSubtree::DnsName(name.clone()));
        let networks = self.networks.iter().filter_map(|(address, mask)| {
            let v4 = || Some(CidrSubnet::V4(address[..].try_into().ok()?, mask[..].try_into().ok()?));
            let v6 = || Some(CidrSubnet::V6(address[..].try_into().ok()?, mask[..].try_into().ok()?));
            v4().or_else(v6).map(GeneralSubtree::IpAddress)
        });
        NameConstraints { permitted_subtrees: names.chain(networks).collect(), excluded_subtrees: Vec::new() }
    }

    /// Whether it signs for a name of DNS. Addresses that stand where names do are taken for names, as whoever looks at a certificate does.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        self.names.iter().any(|own| {
            let below = name.len().checked_sub(own.len()).filter(|at| name.is_char_boundary(*at));
            below.is_some_and(|at| name[at..].eq_ignore_ascii_case(own) && (at == 0 || name[..at].ends_with('.')))
        })
    }

    /// Whether it signs for an address.
    pub(super) fn has_address(&self, address: IpAddr) -> bool {
        holds(&self.networks, address)
    }
}

/// An address, and the length of its prefix; that is at most the length of the address.
fn network((address, length): (IpAddr, u8)) -> (Vec<u8>, Vec<u8>) {
    let bytes = octets(address);
    let mask = (0..bytes.len() as u32).map(|n| {
        let ones = u32::from(length).saturating_sub(n * 8).min(8);
        (0xff00_u32 >> ones) as u8
    });
    (bytes.clone(), mask.collect())
}

fn holds(networks: &[(Vec<u8>, Vec<u8>)], address: IpAddr) -> bool {
    let bytes = octets(address);
    networks.iter().any(|(own, mask)| {
        own.len() == bytes.len() && bytes.iter().zip(mask).zip(own).all(|((byte, mask), own)| byte & mask == *own)
    })
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().into(),
        IpAddr::V6(v6) => v6.octets().into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(domain: &str, hosts: &[&str]) -> Permitted {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        Permitted::of(domain, &hosts, &[])
    }

    #[test]
    fn the_house_and_nobody_else() {
        let permitted = of("example.org", &["dev", "dev.local", "box.example.net", "fritz.box", "co.uk"]);
        for name in
            ["example.org", "conference.example.org", "EXAMPLE.org", "dev.local", "box.example.net", "a.b.example.org"]
        {
            assert!(permitted.has_name(name), "{name}");
        }
        for name in [
            "bank.example",
            "notexample.org",
            "org",
            "",
            "dev",
            "app.dev",
            "example.net",
            "192.168.1.5",
            "local",
            "fritz.box",
            "nas.fritz.box",
            "bank.co.uk",
        ] {
            assert!(!permitted.has_name(name), "{name}");
        }
        let address = |text: &str| text.parse::<IpAddr>().is_ok_and(|address| permitted.has_address(address));
        for own in [
            "10.1.2.3",
            "192.168.1.5",
            "172.16.0.1",
            "172.31.255.255",
            "127.0.0.1",
            "::1",
            "fd00::5",
            "fe80::1",
            "100.64.1.1",
        ] {
            assert!(address(own), "{own}");
        }
        for other in
            ["8.8.8.8", "172.32.0.1", "192.169.0.1", "11.0.0.1", "2001:db8::1", "fec0::1", "::2", "100.128.0.1"]
        {
            assert!(!address(other), "{other}");
        }
        let numeric = of("203.0.113.7", &[]);
        assert!(numeric.has_name("203.0.113.7") && numeric.has_address(IpAddr::from([203, 0, 113, 7])));
        assert!(!numeric.has_address(IpAddr::from([203, 0, 113, 8])));
        let own = Permitted::of("example.org", &[], &[IpAddr::from([198, 51, 100, 4]), IpAddr::from([10, 0, 0, 1])]);
        assert!(own.has_address(IpAddr::from([198, 51, 100, 4])) && !own.has_address(IpAddr::from([198, 51, 100, 5])));
        assert_eq!(own.networks.len(), PRIVATE.len() + 1);
    }
}
