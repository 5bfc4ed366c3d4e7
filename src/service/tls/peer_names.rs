//! For which domains a certificate is (RFC 6120 §13.7.1.2, RFC 6125 §6).

use crate::wire::Jid;
use crate::wire::punycode::a_labels;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

/// In front of the domain in an SRVName (RFC 4985 §2).
const SERVICE: &str = "_xmpp-server.";

/// The names in a certificate that may be those of a server. The common name is not among them.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct PeerNames {
    /// dNSName, and SRVName without its service: in small A-labels; one of the former may begin with `*.`.
    dns: Vec<String>,
    srv: Vec<String>,
    /// xmppAddr without localpart and resource, in the same form.
    xmpp: Vec<String>,
    addresses: Vec<IpAddr>,
}

impl PeerNames {
    pub(super) fn of(certificate: &X509Certificate<'_>) -> PeerNames {
        let mut names = PeerNames::default();
        if let Ok(Some(alternatives)) = certificate.subject_alternative_name() {
            alternatives.value.general_names.iter().for_each(|name| names.take(name));
        }
        names
    }

    fn take(&mut self, name: &GeneralName<'_>) {
        // 1.3.6.1.5.5.7.8.5 (id-on-xmppAddr) and 1.3.6.1.5.5.7.8.7 (id-on-dnsSRV).
        const XMPP_ADDR: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 8, 5];
        const DNS_SRV: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 8, 7];
        match name {
            GeneralName::DNSName(name) => self.dns.push(ascii(name)),
            GeneralName::IPAddress(bytes) => {
                let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                self.addresses.extend(v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok());
            }
            GeneralName::OtherName(kind, value) if kind.as_bytes() == XMPP_ADDR => {
                let jid = string(value).and_then(|text| Jid::parse(text).ok());
                let is_domain = |jid: &Jid| jid.local().is_none() && jid.resource().is_none();
                self.xmpp.extend(jid.filter(is_domain).map(|jid| ascii(jid.domain())));
            }
            GeneralName::OtherName(kind, value) if kind.as_bytes() == DNS_SRV => {
                let text = string(value).map(ascii);
                self.srv.extend(text.and_then(|text| Some(text.strip_prefix(SERVICE)?.to_owned())));
            }
            _ => {}
        }
    }

    /// Whether the certificate is for this domain, as it stands in addresses.
    pub fn cover(&self, domain: &str) -> bool {
        let inside = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
        if let Ok(address) = inside.parse::<IpAddr>() {
            return self.addresses.contains(&address);
        }
        let domain = ascii(domain);
        // A wildcard is the whole label at the left, and stands for one label (RFC 6125 §6.4.3); two labels are behind it, at least.
        let is_below = |name: &String| {
            let behind = name.strip_prefix("*.").filter(|behind| behind.contains('.') && !behind.contains('*'));
            behind.is_some_and(|behind| {
                domain.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == behind)
            })
        };
        let exact = self.dns.iter().chain(&self.srv).chain(&self.xmpp).any(|name| *name == domain);
        !domain.is_empty() && !domain.contains('*') && (exact || self.dns.iter().any(is_below))
    }

    /// For a person: some of them.
    pub fn told(&self) -> String {
        const MOST: usize = 3;
        let mut all: Vec<&String> = self.dns.iter().chain(&self.srv).chain(&self.xmpp).collect();
        let mut seen = std::collections::BTreeSet::new();
        all.retain(|name| seen.insert(*name));
        let first: Vec<&str> = all.iter().take(MOST).map(|name| name.as_str()).collect();
        match all.len() {
            0 => "no name".into(),
            n if n > MOST => format!("{} and {} more", first.join(", "), n - MOST),
            _ => first.join(", "),
        }
    }
}

/// As names are compared.
fn ascii(name: &str) -> String {
    let name = name.strip_suffix('.').unwrap_or(name);
    a_labels(&if name.is_ascii() { name.to_ascii_lowercase() } else { name.to_lowercase() })
}

/// The string in an otherName, which is tagged twice (RFC 5280 §4.2.1.6): UTF8String or IA5String.
fn string(value: &[u8]) -> Option<&str> {
    let inner = content(value, &[0xa0])?;
    std::str::from_utf8(content(inner, &[0x0c, 0x16])?).ok()
}

/// What is in a DER value that has one of these tags, and nothing behind it.
pub(super) fn content<'a>(der: &'a [u8], tags: &[u8]) -> Option<&'a [u8]> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = match rest.split_first()? {
        (short @ 0..0x80, rest) => (usize::from(*short), rest),
        (long, rest) => {
            let (length, rest) = rest.split_at_checked(usize::from(*long & 0x7f))?;
            (length.iter().try_fold(0_usize, |sum, byte| sum.checked_mul(256)?.checked_add((*byte).into()))?, rest)
        }
    };
    (tags.contains(tag) && rest.len() == length).then_some(rest)
}
