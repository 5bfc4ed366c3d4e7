//! What a certificate says of the names and addresses that the server is reached under.

use super::permitted::Permitted;
use crate::ext::SERVICES;
use crate::service::host;
use crate::wire::punycode::a_labels;
use rcgen::CustomExtension;
use std::net::IpAddr;

/// Under which names and addresses the server is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Names {
    /// The XMPP domain, as it stands in addresses.
    pub domain: String,
    /// Names of the host.
    pub hosts: Vec<String>,
    pub addresses: Vec<IpAddr>,
}

impl Names {
    /// Those of this box.
    pub(crate) fn of_host(domain: &str) -> Names {
        let mut hosts = vec![host::name(), format!("{}.local", host::label())];
        hosts.dedup();
        Names { domain: domain.to_owned(), hosts, addresses: host::addresses() }
    }

    /// The domain and its services, as DNS has them.
    pub(super) fn served(&self) -> Vec<String> {
        let domain = a_labels(&self.domain);
        let services = SERVICES.iter().map(|s| format!("{s}.{domain}"));
        std::iter::once(domain.clone()).chain(services).collect()
    }

    /// What stands in the certificate as dNSName: the domain first; addresses too, for clients that look for them there.
    pub(crate) fn dns(&self) -> Vec<String> {
        let mut names = self.served();
        names.extend(self.hosts.iter().cloned());
        names.extend(self.addresses.iter().map(IpAddr::to_string));
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// The subjectAltName (RFC 5280 §4.2.1.6), by hand: RFC 6120 §13.7.1.2 wants otherNames of two string types. What the authority does not
/// sign for is left out: with one such name the certificate would hold for none.
pub(super) fn alternative_names(names: &Names, permitted: Option<&Permitted>) -> CustomExtension {
    const IA5_STRING: u8 = 0x16;
    const UTF8_STRING: u8 = 0x0c;
    // 1.3.6.1.5.5.7.8.5 (id-on-xmppAddr) and 1.3.6.1.5.5.7.8.7 (id-on-dnsSRV).
    const XMPP_ADDR: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 8, 5];
    const SRV_NAME: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 8, 7];
    let other = |oid: &[u8], string: u8, value: &str| {
        der(0xa0, &[der(0x06, oid), der(0xa0, &der(string, value.as_bytes()))].concat())
    };
    let mut list = Vec::new();
    for name in names.dns().into_iter().filter(|name| permitted.is_none_or(|permitted| permitted.has_name(name))) {
        list.extend(der(0x82, name.as_bytes()));
    }
    for address in names.addresses.iter().filter(|one| permitted.is_none_or(|permitted| permitted.has_address(**one))) {
        match address {
            IpAddr::V4(v4) => list.extend(der(0x87, &v4.octets())),
            IpAddr::V6(v6) => list.extend(der(0x87, &v6.octets())),
        }
    }
    let served = std::iter::once(names.domain.clone()).chain(SERVICES.iter().map(|s| format!("{s}.{}", names.domain)));
    for domain in served {
        list.extend(other(&XMPP_ADDR, UTF8_STRING, &domain));
        let ascii = a_labels(&domain);
        // Clients connect to the domain itself; to the services only other servers do.
        if domain == names.domain {
            list.extend(other(&SRV_NAME, IA5_STRING, &format!("_xmpp-client.{ascii}")));
        }
        list.extend(other(&SRV_NAME, IA5_STRING, &format!("_xmpp-server.{ascii}")));
    }
    CustomExtension::from_oid_content(&[2, 5, 29, 17], der(0x30, &list))
}

/// One DER value: tag, length, content.
pub(super) fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|b| **b == 0).count();
    match content.len() {
        short @ 0..128 => out.push(short as u8),
        _ => {
            out.push(0x80 | (length.len() - zeros) as u8);
            out.extend_from_slice(&length[zeros..]);
        }
    }
    out.extend_from_slice(content);
    out
}
