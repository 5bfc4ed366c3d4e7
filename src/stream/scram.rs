//! The server's half of a SCRAM exchange (RFC 5802, RFC 7677): four messages, no state but what the next one needs.

use super::Tls;
use super::sasl::{Failure, SaslRefusal};
use crate::wire::Jid;
use crate::wire::scram::{Hash, Keys};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

/// The channel binding types that a connection has (RFC 9266, RFC 5929), the stronger first.
pub(super) fn bindings(tls: &Tls) -> impl Iterator<Item = (&'static str, &[u8])> {
    let exporter = tls.exporter.as_ref().map(|bytes| ("tls-exporter", &bytes[..]));
    exporter.into_iter().chain([("tls-server-end-point", &tls.end_point[..])])
}

/// The client wants a type of channel binding that the connection does not have.
pub(super) const OTHER_BINDING: &str = "this type of channel binding is not offered";
/// The client says that it was offered no channel binding (RFC 5802 §6).
pub(super) const NOT_SEEN: &str = "channel binding is offered here";
/// The type that old clients know alone. It is not to be had of this library, and means nothing in TLS 1.3 (RFC 9266 §1).
const TLS_UNIQUE: &str = "tls-unique";

/// A client's first message (RFC 5802 §7), that is answered once the keys of the account are here.
pub(super) struct First {
    hash: Hash,
    /// Who wants to log in.
    pub(super) account: Jid,
    /// `client-first-message-bare`.
    bare: String,
    nonce: String,
    /// What `c=` has to be: the GS2 header, and the channel's data with -PLUS.
    binding: Vec<u8>,
    /// It binds the channel in a way that cannot be checked here.
    unbound: bool,
}

impl First {
    /// Reads the message. `plus`: whether the mechanism is a -PLUS. `saw`: who has proved to know what is offered
    /// ([`Second::is_unbound`]).
    pub(super) fn read(
        message: &[u8],
        hash: Hash,
        plus: bool,
        saw: Option<&Jid>,
        domain: &Jid,
        tls: &Tls,
    ) -> Result<First, SaslRefusal> {
        let malformed = |text| SaslRefusal(Failure::MalformedRequest, text);
        let message = std::str::from_utf8(message).map_err(|_| malformed("not UTF-8"))?;
        let (flag, rest) = message.split_once(',').ok_or(malformed("no GS2 header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(malformed("no GS2 header"))?;
        let mut binding = message.as_bytes()[..message.len() - bare.len()].to_vec();
        let mut unbound = false;
        match (flag.split_once('='), plus) {
            (Some(("p", name)), true) => match bindings(tls).find(|(offered, _)| *offered == name) {
                Some((_, data)) => binding.extend_from_slice(data),
                None if name == TLS_UNIQUE => unbound = true,
                None => return Err(malformed(OTHER_BINDING)),
            },
            (None, false) if flag == "n" || flag == "y" => {}
            _ => return Err(malformed("the GS2 header does not fit the mechanism")),
        }

        let mut attributes = bare.split(',');
        let name = attributes
            .next()
            .and_then(|first| first.strip_prefix("n="))
            .ok_or(malformed("no user name, or an extension that is not known"))?;
        let name = unescape(name).ok_or(malformed("the user name is not well-formed"))?;
        let nonce = attributes
            .next()
            .and_then(|second| second.strip_prefix("r="))
            .filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|b| b.is_ascii_graphic()))
            .ok_or(malformed("no nonce"))?;
        only_optional(attributes)?;

        let account = account(&name, domain)?;
        // It would have bound the channel, had it seen our offer: somebody has taken that away (RFC 5802 §6).
        if flag == "y" && saw != Some(&account) {
            return Err(SaslRefusal(Failure::NotAuthorized, NOT_SEEN));
        }
        if !authzid.is_empty() {
            let authzid = authzid.strip_prefix("a=").and_then(unescape).ok_or(malformed("no GS2 header"))?;
            same_account(&authzid, &account)?;
        }
        let (bare, nonce) = (bare.to_owned(), nonce.to_owned());
        Ok(First { hash, account, bare, nonce, binding, unbound })
    }

    /// The hash function of the mechanism.
    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// The answer, `server-first-message`, and what is needed later. `nonce`: our part of it. `offered`: the digest of what
    /// was offered (XEP-0474 §6.1), of the hash function in use.
    pub(super) fn challenge(self, keys: Keys, nonce: &str, offered: Option<&[u8]>) -> (Second, String) {
        let nonce = self.nonce + nonce;
        let mut message = format!("r={nonce},s={},i={}", STANDARD.encode(&keys.salt), keys.iterations);
        if let Some(digest) = offered {
            message.push_str(",h=");
            message.push_str(&STANDARD.encode(digest));
        }
        let signed = format!("{},{message},", self.bare);
        let Keys { stored, server, .. } = keys;
        let (hash, account, binding, unbound) = (self.hash, self.account, self.binding, self.unbound);
        (Second { hash, account, stored, server, binding, unbound, nonce, signed }, message)
    }
}

/// What the proof is checked against.
pub(super) struct Second {
    hash: Hash,
    /// Who wants to log in.
    pub(super) account: Jid,
    stored: Box<[u8]>,
    server: Box<[u8]>,
    binding: Vec<u8>,
    unbound: bool,
    nonce: String,
    /// `AuthMessage` up to the last comma.
    signed: String,
}

impl Second {
    /// Whether the channel is bound in a way that cannot be checked here. A proof that is right lets nobody in then, but shows that
    /// whoever has the password has seen that binding is offered, and knows nothing better: after that a `y` of the same client takes
    /// nothing away that it would have had. Who stands between cannot make such a proof.
    pub(super) fn is_unbound(&self) -> bool {
        self.unbound
    }

    /// Checks `client-final-message`; gives `server-final-message`.
    pub(super) fn check(&self, message: &[u8]) -> Result<String, SaslRefusal> {
        let malformed = |text| SaslRefusal(Failure::MalformedRequest, text);
        let message = std::str::from_utf8(message).map_err(|_| malformed("not UTF-8"))?;
        let (unproven, proof) = message.rsplit_once(",p=").ok_or(malformed("no proof"))?;
        let proof = STANDARD.decode(proof).map_err(|_| malformed("the proof is not base64"))?;
        if proof.len() != self.hash.bytes_len() {
            return Err(malformed("the proof has a wrong length"));
        }
        let mut attributes = unproven.split(',');
        let binding = attributes
            .next()
            .and_then(|first| first.strip_prefix("c="))
            .and_then(|binding| STANDARD.decode(binding).ok())
            .ok_or(malformed("no channel binding"))?;
        let nonce = attributes.next().and_then(|second| second.strip_prefix("r=")).ok_or(malformed("no nonce"))?;
        only_optional(attributes)?;
        let fits = if self.unbound { binding.starts_with(&self.binding) } else { binding == self.binding };
        if !fits {
            return Err(SaslRefusal(Failure::NotAuthorized, "the channel binding does not match"));
        }
        if nonce != self.nonce {
            return Err(SaslRefusal(Failure::NotAuthorized, "the nonce does not match"));
        }

        let signed = format!("{}{unproven}", self.signed);
        let signature = self.hash.hmac(&self.stored, signed.as_bytes());
        let key: Vec<u8> = proof.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        if !bool::from(self.hash.digest(&key).ct_eq(&self.stored)) {
            return Err(SaslRefusal(Failure::NotAuthorized, ""));
        }
        Ok(format!("v={}", STANDARD.encode(self.hash.hmac(&self.server, signed.as_bytes()))))
    }
}

/// Attributes that we do not know may stand here, but not `m`, the one that must be understood (RFC 5802 §5.1).
fn only_optional<'a>(mut attributes: impl Iterator<Item = &'a str>) -> Result<(), SaslRefusal> {
    let optional = |attribute: &str| matches!(attribute.as_bytes(), [name, b'=', _, ..] if name.is_ascii_alphabetic() && *name != b'm');
    match attributes.all(optional) {
        true => Ok(()),
        false => Err(SaslRefusal(Failure::MalformedRequest, "an extension that is not known")),
    }
}

/// A `saslname` as text: `=2C` is a comma and `=3D` an equals sign; no other `=` may be in it (RFC 5802 §5.1).
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (letter, rest) =
            part.strip_prefix("2C").map(|rest| (',', rest)).or(part.strip_prefix("3D").map(|rest| ('=', rest)))?;
        text.push(letter);
        text.push_str(rest);
    }
    (!text.is_empty() && !text.contains('\0')).then_some(text)
}

/// The bare JID of a user name.
pub(super) fn account(name: &str, domain: &Jid) -> Result<Jid, SaslRefusal> {
    Jid::new(Some(name), domain.as_str(), None)
        .map_err(|_| SaslRefusal(Failure::NotAuthorized, "no account can have this name"))
}

/// An authorization identity can only be the account itself (RFC 6120 §6.3.8).
pub(super) fn same_account(authzid: &str, account: &Jid) -> Result<(), SaslRefusal> {
    match Jid::parse(authzid) {
        Ok(authzid) if authzid == *account => Ok(()),
        _ => Err(SaslRefusal(Failure::InvalidAuthzid, "")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::scram::Credentials;

    fn keys(hash: Hash, salt: &str) -> Keys {
        let credentials = Credentials::derive("pencil", &STANDARD.decode(salt).unwrap(), 4096).unwrap();
        if hash == Hash::Sha1 { credentials.sha1 } else { credentials.sha256 }
    }

    fn first(message: &str, hash: Hash) -> First {
        let tls = Tls { exporter: None, end_point: [0; 32].into() };
        First::read(message.as_bytes(), hash, false, None, &Jid::parse("example.org").unwrap(), &tls).unwrap()
    }

    /// The examples of RFC 5802 §5 and RFC 7677 §3, message by message.
    #[test]
    fn published_exchanges() {
        for (hash, client, server, salt, proof, signature) in [
            (
                Hash::Sha1,
                "fyko+d2lbbFgONRv9qkxdawL",
                "3rfcNHYJY1ZVvWVs7j",
                "QSXCR+Q6sek8bf92",
                "v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ),
            (
                Hash::Sha256,
                "rOprNGfwEbeRWgbNEkqO",
                "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
                "W22ZaJ0SNY7soEsUEjb6gQ==",
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ),
        ] {
            let first = first(&format!("n,,n=user,r={client}"), hash);
            assert_eq!(first.account.as_str(), "user@example.org");
            let (second, message) = first.challenge(keys(hash, salt), server, None);
            assert_eq!(message, format!("r={client}{server},s={salt},i=4096"));
            let last = format!("c=biws,r={client}{server},p={proof}");
            assert_eq!(second.check(last.as_bytes()), Ok(format!("v={signature}")));
            let wrong = last.replace(&proof[..1], "x");
            assert!(second.check(wrong.as_bytes()).is_err());
        }
    }

    #[test]
    fn the_digest_of_the_offer_is_an_attribute() {
        // The text and its hash in XEP-0474 §6.3.
        let digest = Hash::Sha1.digest(b"SCRAM-SHA-1\x1eSCRAM-SHA-1-PLUS\x1ftls-exporter\x1etls-server-end-point");
        let (_, message) =
            first("n,,n=user,r=x", Hash::Sha1).challenge(keys(Hash::Sha1, "QSXCR+Q6sek8bf92"), "y", Some(&digest));
        assert_eq!(message, "r=xy,s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=");
    }

    #[test]
    fn names() {
        for (name, text) in [("a", Some("a")), ("a=2Cb", Some("a,b")), ("=3D=3D", Some("==")), ("=3D2C", Some("=2C"))] {
            assert_eq!(unescape(name).as_deref(), text);
        }
        for name in ["", "=", "a=", "a=2", "a=2c", "a=3d", "=20", "a\0"] {
            assert_eq!(unescape(name), None, "{name}");
        }
    }
}
