//! What the two profiles of SASL (RFC 6120 §6, XEP-0388) write differently, and what only the second one has: features inline, and
//! tasks (XEP-0480).
//!
//! Nothing of it is taken from TLS's early data: this server accepts none (XEP-0388 §3), and so offers no `tls-0rtt` (XEP-0484 §3.1).

use super::sasl::{self, Failure, SaslRefusal};
use super::{Terms, Tls, scram};
use crate::wire::Jid;
use crate::wire::login::{Begins, Begun, Request};
use crate::wire::scram::{Credentials, Hash};
use crate::wire::xml::escape;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;

/// How a mechanism's messages are carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Profile {
    Rfc6120,
    Sasl2,
}

impl Profile {
    fn ns(self) -> &'static str {
        match self {
            Profile::Rfc6120 => "urn:ietf:params:xml:ns:xmpp-sasl",
            Profile::Sasl2 => "urn:xmpp:sasl:2",
        }
    }

    /// The data of an element, base64. RFC 6120 §6.4.2: without white space, and `=` for none. XEP-0388 §2.2 wishes for the first
    /// alone, and its examples do otherwise.
    pub(super) fn decode(self, text: &str) -> Result<Vec<u8>, SaslRefusal> {
        let text = match self {
            Profile::Rfc6120 if text == "=" => "",
            Profile::Rfc6120 => text,
            Profile::Sasl2 => text.trim_ascii(),
        };
        STANDARD.decode(text).map_err(|_| SaslRefusal(Failure::IncorrectEncoding, ""))
    }

    pub(super) fn write_challenge(self, message: &str, out: &mut String) {
        let _ = write!(out, "<challenge xmlns='{}'", self.ns());
        if message.is_empty() {
            return out.push_str("/>");
        }
        out.push('>');
        STANDARD.encode_string(message, out);
        out.push_str("</challenge>");
    }

    pub(super) fn write_failure(self, SaslRefusal(failure, text): SaslRefusal, out: &mut String) {
        let _ = write!(out, "<failure xmlns='{}'><{}", self.ns(), failure.as_str());
        if self == Profile::Sasl2 {
            let _ = write!(out, " xmlns='{}'", Profile::Rfc6120.ns());
        }
        out.push_str("/>");
        if !text.is_empty() {
            out.push_str("<text xml:lang='en'>");
            escape(text, out);
            out.push_str("</text>");
        }
        out.push_str("</failure>");
    }
}

/// Appends `<authentication/>` (XEP-0388 §2.1) with what can be asked for inline. `mechanisms`: the elements.
pub(super) fn write_feature(mechanisms: &str, terms: &Terms, tls: &Tls, out: &mut String) {
    out.push_str("<authentication xmlns='urn:xmpp:sasl:2'>");
    out.push_str(mechanisms);
    out.push_str("<inline><bind xmlns='urn:xmpp:bind:0'><inline>");
    for feature in &terms.bind_features {
        let _ = write!(out, "<feature var='{feature}'/>");
    }
    out.push_str("</inline></bind><sm xmlns='urn:xmpp:sm:3'/><fast xmlns='urn:xmpp:fast:0'>");
    for ht in sasl::offered_ht(tls) {
        let _ = write!(out, "<mechanism>{}</mechanism>", ht.as_str());
    }
    out.push_str("</fast></inline>");
    for hash in TASKS.into_iter().filter(|_| terms.upgrades > 0) {
        let _ = write!(out, "<upgrade xmlns='urn:xmpp:sasl:upgrade:0'>{}</upgrade>", task(hash));
    }
    out.push_str("</authentication>");
}

/// Appends `<success/>` (XEP-0388 §2.6.1). `data`: the last words of the mechanism.
pub(super) fn write_success(data: Option<&[u8]>, begun: &Begun, out: &mut String) {
    out.push_str("<success xmlns='urn:xmpp:sasl:2'>");
    write_data(data, out);
    out.push_str("<authorization-identifier>");
    // Of a session that goes on the client knows it, and the example of §2.6.1 has none.
    escape(if begun.begins == Begins::Resumed { begun.jid.bare_str() } else { begun.jid.as_str() }, out);
    out.push_str("</authorization-identifier>");
    out.push_str(&begun.elements);
    out.push_str("</success>");
}

fn write_data(data: Option<&[u8]>, out: &mut String) {
    if let Some(data) = data {
        out.push_str("<additional-data>");
        STANDARD.encode_string(data, out);
        out.push_str("</additional-data>");
    }
}

/// The one message of the mechanisms that prove a token: who it is, and the proof.
pub(super) fn read_token<'a>(data: &'a [u8], domain: &Jid) -> Result<(Jid, &'a [u8]), SaslRefusal> {
    let malformed = SaslRefusal(Failure::MalformedRequest, "");
    let at = data.iter().position(|b| *b == 0).ok_or(malformed)?;
    let name = std::str::from_utf8(&data[..at]).map_err(|_| malformed)?;
    Ok((scram::account(name, domain)?, &data[at + 1..]))
}

/// The upgrades there are (XEP-0480 §3). Accounts have keys for all mechanisms; what they may lack is the number of iterations that
/// is set by now. As soon as one lacks it all are offered this: what is offered must not tell who has an account (XEP-0388 §3).
const TASKS: [Hash; 2] = [Hash::Sha256, Hash::Sha1];

/// The name of an upgrade.
pub(super) fn task(hash: Hash) -> &'static str {
    match hash {
        Hash::Sha256 => "UPGR-SCRAM-SHA-256",
        Hash::Sha1 => "UPGR-SCRAM-SHA-1",
    }
}

/// The upgrades that a client asks for and an account needs, the last one first.
pub(super) fn tasks(request: &Request, credentials: &Credentials, iterations: u32) -> Vec<Hash> {
    let wanted: Vec<String> = request.upgrades().collect();
    let mut tasks: Vec<Hash> = TASKS
        .into_iter()
        .filter(|hash| wanted.iter().any(|name| name == task(*hash)))
        .filter(|hash| credentials.keys(*hash).iterations < iterations)
        .collect();
    tasks.reverse();
    tasks
}

/// Appends `<continue/>` with one task (XEP-0480 §2.2).
pub(super) fn write_continue(data: Option<&str>, hash: Hash, out: &mut String) {
    out.push_str("<continue xmlns='urn:xmpp:sasl:2'>");
    write_data(data.map(str::as_bytes), out);
    let _ = write!(out, "<tasks><task>{}</task></tasks></continue>", task(hash));
}

/// Appends what the client is to hash the password with (XEP-0480 §3).
pub(super) fn write_salt(salt: &[u8], iterations: u32, out: &mut String) {
    let _ = write!(
        out,
        "<task-data xmlns='urn:xmpp:sasl:2'><salt xmlns='urn:xmpp:scram-upgrade:0' iterations='{iterations}'>{}</salt></task-data>",
        STANDARD.encode(salt)
    );
}
