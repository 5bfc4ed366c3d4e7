//! What can be the name of a host, and so a domain that apps and name services know.

use super::punycode::a_labels;
use std::net::IpAddr;

/// The longest name and the longest label that DNS has, in bytes (RFC 1035 §2.3.4).
const NAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

/// Labels below which a country has its people's names, as in `co.uk`.
const OF_COUNTRIES: [&str; 14] =
    ["ac", "co", "com", "edu", "gob", "gov", "gv", "ltd", "mil", "ne", "net", "nom", "or", "org"];
/// Names below which everybody has some: of networks at home, of routers, of services for those whose address changes.
const OF_EVERYBODY: [&str; 12] = [
    "ddns.net",
    "duckdns.org",
    "dyndns.org",
    "dynu.net",
    "dynv6.net",
    "fritz.box",
    "home.arpa",
    "hopto.org",
    "myds.me",
    "myfritz.net",
    "no-ip.org",
    "synology.me",
];

/// Whether names below this one are other people's, as far as that is known: what vouches for this name (RFC 5280 §4.2.1.10: and for all
/// below it) would vouch for them. The box itself is nobody else's.
pub(crate) fn is_shared(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    match name.split_once('.') {
        None => name != "localhost",
        Some((label, country)) if country.len() == 2 => OF_COUNTRIES.contains(&label),
        Some(_) => OF_EVERYBODY.contains(&name.as_str()),
    }
}

/// Why a name cannot be that of a host (RFC 952, RFC 1123 §2.1), as apps and name services have it.
pub(crate) fn fault(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let ascii = a_labels(name);
    let labels: Vec<&str> = ascii.split('.').collect();
    let foreign = |c: &char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-.".contains(*c);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    Some(if name.is_empty() {
        "it is empty".into()
    } else if name.contains(['@', '/']) {
        "the domain is only what stands behind the @ of an address".into()
    } else if bare.parse::<IpAddr>().is_ok() || labels.last().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit())) {
        "an address is no name: it changes, and no name can be made below it for the rooms. Take one such as HOSTNAME.local".into()
    } else if name.chars().any(char::is_whitespace) {
        "a host's name has no space in it".into()
    } else if name.contains('_') {
        format!("a host's name has no \"_\" in it, and apps refuse that. Take {}", valid(name))
    } else if let Some(c) = name.chars().find(foreign) {
        format!("a host's name has no \"{c}\" in it: only letters, digits, hyphens and dots")
    } else if labels.contains(&"") {
        "there is nothing between two dots, or before the first".into()
    } else if labels.iter().any(|label| label.starts_with('-') || label.ends_with('-')) {
        "no part of a host's name begins or ends with a hyphen".into()
    } else if labels.iter().any(|label| label.len() > LABEL_BYTES) {
        format!("a part of it is longer than {LABEL_BYTES} bytes")
    } else if ascii.len() > NAME_BYTES {
        format!("it is longer than {NAME_BYTES} bytes")
    } else if is_shared(&ascii) {
        // Names of networks, and not of houses.
        let is_network = ascii.contains('.') || ["home", "internal", "lan", "local"].contains(&ascii.as_str());
        let fit = if is_network { format!("chat.{ascii}") } else { format!("{ascii}.local") };
        format!(
            "others have names below it, and whoever trusts this house would trust it for those. Take another, such as {fit}"
        )
    } else {
        return None;
    })
}

/// The nearest name that a host can have: a hyphen for what it cannot.
pub(crate) fn valid(name: &str) -> String {
    let mut out = String::new();
    for label in name.to_ascii_lowercase().split('.') {
        let fits = |c: char| if c.is_ascii() && !c.is_ascii_alphanumeric() { '-' } else { c };
        let label: String = label.chars().map(fits).collect();
        let label = label.trim_matches('-');
        if !label.is_empty() {
            out.extend([if out.is_empty() { "" } else { "." }, label]);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_host_can_be_called_is_no_domain() {
        let long = format!("{}.org", "a".repeat(64));
        let longer = format!("{}org", "abcdefg.".repeat(32));
        for (name, why) in [
            ("", "empty"),
            ("juliet@example.org", "behind the @"),
            ("example.org/balcony", "behind the @"),
            ("192.168.1.5", "address"),
            ("[fd00::5]", "address"),
            ("fd00::5", "address"),
            ("chat.5", "address"),
            ("my pi.lan", "space"),
            ("my_pi.local", "Take my-pi.local"),
            ("_chat_.lan", "Take chat.lan"),
            ("chat!.lan", "\"!\""),
            ("chat..lan", "between two dots"),
            (".lan", "between two dots"),
            ("-chat.lan", "hyphen"),
            ("chat-.lan", "hyphen"),
            (&long, "63"),
            (&longer, "253"),
            ("bücher_.example", "_"),
            ("lan", "Take another, such as chat.lan"),
            ("local", "others have names below it"),
            ("COM.", "others have names below it"),
            ("kanzlei", "such as kanzlei.local"),
            ("co.uk", "such as chat.co.uk"),
            ("gv.at", "others have names below it"),
            ("home.arpa", "others have names below it"),
            ("DuckDNS.org", "others have names below it"),
        ] {
            assert!(fault(name).is_some_and(|found| found.contains(why)), "{name}: {:?}", fault(name));
        }
        for name in [
            "example.org",
            "Example.org.",
            "chat.lan",
            "my-pi.local",
            "3com.com",
            "bücher.example",
            "a--b.org",
            "localhost",
            "smith.co.uk",
            "smith.uk",
            "my.home.arpa",
            "or.example",
        ] {
            assert_eq!(fault(name), None, "{name}");
        }
        assert_eq!(["My_Pi", "_", "a.b_c", "Büro_1"].map(valid), ["my-pi", "", "a.b-c", "büro-1"]);
    }
}
