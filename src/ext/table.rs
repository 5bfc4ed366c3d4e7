//! What is implemented, for people: the table of specifications (`README.md` beside this file) and `doap.xml` (XEP-0453), from what the extensions say of themselves. And
//! the table of what is shared, in `src/lib.rs`.

use super::{archive, commands, muc, offline, pubsub, register};
use crate::core::share::Shared;
use crate::core::{About, invitation, message, peers, reading, roster, throttle, written};
use crate::wire::xml::escaped;
use std::iter;

/// What is implemented elsewhere than in an extension: in `wire`, `stream`, `core` and `service`.
const ELSEWHERE: &[About] = &[
    About::new("RFC 5802", "SCRAM-SHA-1 and SCRAM-SHA-1-PLUS", "2010", ""),
    About::new("RFC 5929", "Channel Bindings for TLS", "2010", "all but tls-server-end-point"),
    About::new("RFC 6120", "XMPP Core", "2011", ""),
    About::new("RFC 6762", "Multicast DNS", "2013", "continuous questions: a name is looked up by one"),
    About::new(
        "RFC 6763",
        "DNS-Based Service Discovery",
        "2013",
        "other domains than local, subtypes, looking for services",
    ),
    About::new("RFC 7395", "XMPP Subprotocol for WebSocket", "2014", ""),
    About::new("RFC 7590", "Use of TLS in XMPP", "2015", ""),
    About::new(
        "RFC 7622",
        "XMPP Address Format",
        "2015",
        "PRECIS for localparts and domainparts: they are prepared by Nodeprep and Nameprep",
    ),
    About::new(
        "RFC 7673",
        "DANE TLSA Records with SRV Records",
        "2015",
        "validation of DNSSEC: a resolver on this box does it",
    ),
    About::new("RFC 7677", "SCRAM-SHA-256 and SCRAM-SHA-256-PLUS", "2015", ""),
    About::new("RFC 9266", "Channel Bindings for TLS 1.3", "2022", ""),
    About::new("XEP-0082", "XMPP Date and Time Profiles", "1.1.1", ""),
    About::new(
        "XEP-0114",
        "Jabber Component Protocol",
        "1.6",
        "connecting to a component (jabber:component:connect), TLS: components are on this box",
    ),
    About::new(
        "XEP-0124",
        "Bidirectional-streams Over Synchronous HTTP (BOSH)",
        "1.11.2",
        "acknowledgements, several streams in a session, compression",
    ),
    About::new("XEP-0128", "Service Discovery Extensions", "1.0.1", ""),
    About::new("XEP-0156", "Discovering Alternative XMPP Connection Methods", "1.4.0", ""),
    About::new(
        "XEP-0178",
        "Best Practices for Use of SASL EXTERNAL with Certificates",
        "1.2",
        "certificates of clients",
    ),
    About::new("XEP-0185", "Dialback Key Generation and Validation", "1.0", ""),
    About::new("XEP-0206", "XMPP Over BOSH", "1.4", ""),
    About::new("XEP-0220", "Server Dialback", "1.1.1", "asking for several domains on one stream; they are taken"),
    About::new("XEP-0288", "Bidirectional Server-to-Server Connections", "1.0.1", ""),
    About::new("XEP-0368", "SRV records for XMPP over TLS", "1.1.0", ""),
    About::new("XEP-0386", "Bind 2", "1.1.0", ""),
    About::new("XEP-0388", "Extensible SASL Profile", "1.0.4", ""),
    About::new("XEP-0440", "SASL Channel-Binding Type Capability", "1.0.0", ""),
    About::new("XEP-0453", "DOAP usage in XMPP", "0.1.2", ""),
    About::new("XEP-0474", "SASL SCRAM Downgrade Protection", "0.5.0", ""),
    About::new("XEP-0478", "Stream Limits Advertisement", "0.2.0", ""),
    About::new("XEP-0480", "SASL Upgrade Tasks", "0.2.0", "all but SCRAM with more iterations"),
    About::new("XEP-0484", "Fast Authentication Streamlining Tokens", "0.2.0", "TLS 0-RTT, which is refused"),
];

/// All specifications, RFCs first, by number.
fn all() -> Vec<&'static About> {
    let mut all: Vec<_> =
        super::all().iter().flat_map(|x| iter::once(x.about()).chain(x.also())).chain(ELSEWHERE).collect();
    all.sort_by_key(|about| about.spec);
    all
}

/// Where a specification is to be read.
fn url(spec: &str) -> String {
    match spec.split_once(' ') {
        Some((_, number)) => format!("https://www.rfc-editor.org/rfc/rfc{number}"),
        None => format!("https://xmpp.org/extensions/{}.html", spec.to_lowercase()),
    }
}

/// The table of specifications, in Markdown.
pub fn markdown() -> String {
    let mut out = String::from("| Specification | Title | Version | Not done |\n| --- | --- | --- | --- |\n");
    for about in all() {
        let About { spec, name, version, missing, .. } = about;
        out += &format!("| [{spec}]({}) | {name} | {version} | {missing} |\n", url(spec));
    }
    out
}

/// The description of the project (XEP-0453 §4).
pub fn doap() -> String {
    let mut out = format!(
        "<?xml version='1.0' encoding='UTF-8'?>
<rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22-rdf-syntax-ns#'
         xmlns='http://usefulinc.com/ns/doap#'
         xmlns:xmpp='https://linkmauve.fr/ns/xmpp-doap#'>
  <Project>
    <name>Inglenook</name>
    <shortdesc xml:lang='en'>{}</shortdesc>
    <license rdf:resource='https://spdx.org/licenses/MIT'/>
    <license rdf:resource='https://spdx.org/licenses/Apache-2.0'/>
    <programming-language>Rust</programming-language>
    <os>Linux</os>
    <category rdf:resource='https://linkmauve.fr/ns/xmpp-doap#category-server'/>
",
        escaped(env!("CARGO_PKG_DESCRIPTION"))
    );
    for about in all() {
        let url = url(about.spec);
        if about.spec.starts_with("RFC") {
            out += &format!("    <implements rdf:resource='{url}'/>\n");
            continue;
        }
        let status = if about.missing.is_empty() { "complete" } else { "partial" };
        out += &format!(
            "    <implements>
      <xmpp:SupportedXep>
        <xmpp:xep rdf:resource='{url}'/>
        <xmpp:status>{status}</xmpp:status>
        <xmpp:version>{}</xmpp:version>
",
            about.version
        );
        if !about.missing.is_empty() {
            out += &format!("        <xmpp:note xml:lang='en'>Without: {}</xmpp:note>\n", escaped(about.missing));
        }
        out += "      </xmpp:SupportedXep>\n    </implements>\n";
    }
    out + "  </Project>\n</rdf:RDF>\n"
}

/// What is shared in `core` and here.
pub fn shares() -> Vec<&'static Shared> {
    let rooms = muc::SHARED.iter().chain([
        &muc::room::SHARED,
        &muc::moderate::SHARED,
        &muc::minute::SHARED,
        &muc::forward::SHARED,
    ]);
    let nodes = pubsub::node::SHARED.iter().chain(&pubsub::caps::SHARED);
    let others =
        [&archive::query::SHARED, &offline::SHARED, &roster::SHARED, &reading::SHARED, &message::streams::SHARED];
    let others = others.into_iter().chain([
        &message::waiting::SHARED,
        &message::BEHIND,
        &written::SHARED,
        &throttle::SHARED,
        &invitation::SHARED,
        &peers::OUTBOXES,
        &peers::UNACKNOWLEDGED,
        &peers::DIALLED,
    ]);
    rooms.chain(nodes).chain(others).chain([&commands::SHARED, &register::SHARED]).collect()
}

/// A number as people write it; of bytes, if its name says so.
fn number(name: &str, value: usize) -> String {
    let units = [("MiB", 1024 * 1024), ("KiB", 1024)];
    let unit =
        units.into_iter().find(|(_, unit)| name.ends_with("BYTES") && value >= *unit && value.is_multiple_of(*unit));
    match unit {
        Some((word, unit)) => format!("{} {word}", value / unit),
        None if name.ends_with("BYTES") => format!("{value} bytes"),
        None => value.to_string(),
    }
}

/// The table of what is shared, in Markdown.
pub fn shares_markdown<'a>(shares: impl IntoIterator<Item = &'a Shared>) -> String {
    let mut out = String::from(
        "| What | For all together | Share | Asked in | The greedy one |\n| --- | --- | --- | --- | --- |\n",
    );
    for Shared { what, whole, share, checked, told } in shares {
        let whole: Vec<String> =
            whole.iter().map(|(name, value)| format!("`{name}` = {}", number(name, *value))).collect();
        out += &format!("| {what} | {} | {share} | `{checked}` | {told} |\n", whole.join(", "));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_specification_stands_there_once() {
        let specs: Vec<_> = all().iter().map(|about| about.spec).collect();
        assert!(specs.windows(2).all(|two| two[0] < two[1]), "{specs:?}");
    }

    #[test]
    fn every_specification_has_an_address() {
        assert_eq!(url("RFC 6120"), "https://www.rfc-editor.org/rfc/rfc6120");
        assert_eq!(url("XEP-0030"), "https://xmpp.org/extensions/xep-0030.html");
        for about in all() {
            let digits = about.spec.strip_prefix("RFC ").or(about.spec.strip_prefix("XEP-"));
            assert!(digits.is_some_and(|d| d.len() == 4 && d.bytes().all(|b| b.is_ascii_digit())), "{}", about.spec);
        }
    }
}
