//! Names in DNS.

use crate::wire::punycode::a_labels;
use std::fmt;

/// The longest name, in bytes, without the dot at its end (RFC 1035 §2.3.4).
const NAME_BYTES: usize = 253;
/// The longest label, in bytes.
const LABEL_BYTES: usize = 63;

/// A name of letters, digits, hyphens and underscores, in small letters and A-labels. What has other bytes is no name of a host or a
/// service, whoever publishes it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DnsName(Box<str>);

impl DnsName {
    /// From a domain as it stands in addresses or in DNS, with or without the dot at its end. `None` if it cannot stand in DNS.
    pub fn parse(text: &str) -> Option<DnsName> {
        let text = text.strip_suffix('.').unwrap_or(text);
        // No name of so many bytes becomes shorter.
        if text.len() > 4 * NAME_BYTES {
            return None;
        }
        let name = a_labels(text).to_ascii_lowercase();
        let fits = |label: &str| (1..=LABEL_BYTES).contains(&label.len()) && label.bytes().all(may_stand);
        (name.len() <= NAME_BYTES && name.split('.').all(fits)).then(|| DnsName(name.into()))
    }

    /// From labels as they are on the wire, the root's not among them.
    pub(super) fn of_labels<'a>(labels: impl Iterator<Item = &'a [u8]>) -> Option<DnsName> {
        let mut name = String::new();
        for label in labels {
            if !label.iter().copied().all(may_stand) {
                return None;
            }
            if !name.is_empty() {
                name.push('.');
            }
            name.extend(label.iter().map(|b| char::from(b.to_ascii_lowercase())));
        }
        (!name.is_empty() && name.len() <= NAME_BYTES).then(|| DnsName(name.into()))
    }

    /// The name below this one: `_xmpp-server._tcp`, for example. `None` if it would be too long.
    pub fn below(&self, labels: &str) -> Option<DnsName> {
        DnsName::parse(&format!("{labels}.{self}"))
    }

    /// As text, without a dot at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its labels, from the left.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// The label at its right end.
    fn top(&self) -> &str {
        self.0.rsplit('.').next().unwrap_or_default()
    }

    /// Whether it is one that only multicast knows (RFC 6762 §3).
    pub fn is_local(&self) -> bool {
        self.top() == "local"
    }

    /// Whether no DNS server knows it, or may hear of it (RFC 6761 §6.3, §6.4; RFC 7686 §2).
    pub fn is_special(&self) -> bool {
        matches!(self.top(), "localhost" | "invalid" | "onion")
    }
}

/// Whether a byte may stand in a label. Underscores are those of services.
fn may_stand(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_can_stand_in_dns() {
        let parse = |text: &str| DnsName::parse(text).map(|name| name.to_string());
        assert_eq!(parse("Example.ORG.").as_deref(), Some("example.org"));
        assert_eq!(parse("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(parse("_xmpp-server._tcp.a").as_deref(), Some("_xmpp-server._tcp.a"));
        let (long, longer) = ("a".repeat(63), "a".repeat(64));
        assert_eq!(parse(&long), Some(long.clone()));
        let too_long = [long.as_str(); 4].join(".");
        for bad in
            ["", ".", "a..b", ".a", "a b", "a/b", "a\\.b", "a@b", "[::1]", "\0", &longer, &too_long, &"ü".repeat(63)]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
        assert_eq!(DnsName::of_labels([&b"A"[..], b"b"].into_iter()), DnsName::parse("a.b"));
        for bad in [&b"a.b"[..], b"a b", b"\xff", b"\0"] {
            assert_eq!(DnsName::of_labels([bad].into_iter()), None);
        }
    }

    #[test]
    fn some_are_not_for_dns_servers() {
        let is = |text: &str| DnsName::parse(text).unwrap();
        assert!(is("box.local").is_local() && is("_x._tcp.Box.LOCAL").is_local());
        assert!(!is("local.example").is_local() && !is("notlocal").is_local());
        assert!(is("localhost").is_special() && is("a.localhost").is_special() && is("x.onion").is_special());
        assert!(!is("example.org").is_special());
    }
}
