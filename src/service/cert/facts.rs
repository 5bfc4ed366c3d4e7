//! What can be read in certificates and keys, and what is wrong with them.

use super::names::Names;
use super::permitted::Permitted;
use crate::service::disk::wear::date;
use crate::service::{Failure, Result};
use crate::wire::punycode::a_labels;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{KeyPair, PublicKeyData};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

pub(super) const DAY: u64 = 86_400;
/// Days before the end at which it is renewed.
pub(super) const RENEW_DAYS: u64 = 30;
/// Days before the end at which an installed one, which we cannot renew, is warned of.
const WARN_DAYS: u64 = 14;
/// The keys that TLS can use.
pub(super) const KINDS: &str = "These work: ECDSA with P-256 or P-384, RSA from 2048 bits on, Ed25519. A new one: `openssl genpkey -algorithm EC \
                     -pkeyopt ec_paramgen_curve:P-256 -out KEY`; the certificate must be made for it.";

/// What a certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Facts {
    /// The subject, as a line.
    pub subject: String,
    /// The issuer, as a line.
    pub issuer: String,
    pub names: Vec<String>,
    pub addresses: Vec<IpAddr>,
    /// Seconds since 1970.
    pub not_before: u64,
    /// Seconds since 1970.
    pub not_after: u64,
    /// Its last day, for people.
    pub until: String,
    /// SHA-256, as clients show it.
    pub fingerprint: String,
}

impl Facts {
    /// Whether it holds for this name (RFC 6125 §6.4: a wildcard stands for one label).
    pub(crate) fn covers(&self, name: &str) -> bool {
        let name = &*a_labels(name);
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|n| n.eq_ignore_ascii_case(name) || n.strip_prefix("*.").is_some_and(|n| Some(n) == parent))
    }

    /// Whole days from `now` (seconds since 1970) to its end.
    pub(crate) fn days_left(&self, now: u64) -> u64 {
        self.not_after.saturating_sub(now) / DAY
    }

    /// When our own is renewed, in seconds since 1970.
    pub(crate) fn renewed_at(&self) -> u64 {
        self.not_after.saturating_sub(RENEW_DAYS * DAY)
    }

    /// Whether it ends so soon that who has installed it should get the next.
    pub(crate) fn ends_soon(&self, now: u64) -> bool {
        self.days_left(now) < WARN_DAYS
    }

    /// The names and addresses that this box has and the certificate lacks, for people. Apps look for the domain: so these are no
    /// reason to make another certificate before its time. What the authority does not sign for is not missed.
    pub(crate) fn lacks(&self, names: &Names, permitted: Option<&Permitted>) -> Vec<String> {
        let signed = |name: &String| permitted.is_none_or(|permitted| permitted.has_name(name));
        names.dns().into_iter().filter(|name| signed(name) && !self.names.contains(name)).collect()
    }

    /// What an owner compares with what apps show.
    pub(crate) fn line(&self, installed: bool) -> String {
        let whose = if installed { "installed" } else { "own" };
        format!("certificate  SHA-256 {} (apps show this one); {whose}, until {}", self.fingerprint, self.until)
    }

    /// What an owner is told of our own: until when it holds, and when those will be asked who have not installed the authority.
    pub(crate) fn told(&self) -> String {
        format!(
            "until {}; renewed on {}, when apps that keep the certificate itself (Gajim) ask everybody again",
            date(self.not_after),
            date(self.renewed_at())
        )
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure(format!("{} cannot be read: {e}.", path.display())))
}

/// The same; nothing if it is not there.
pub(super) fn maybe(path: &Path) -> Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(Failure(format!(
            "{} cannot be read: {e}. It must be a file of the server's user; put it back from a backup if it is not.",
            path.display()
        ))),
        Ok(bytes) => Ok(Some(bytes)),
    }
}

/// PEM as it was before an editor: without byte order marks, and not in UTF-16.
pub(super) fn clean(pem: &[u8]) -> Vec<u8> {
    let wide = |order: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = pem[2..].chunks_exact(2).map(|pair| order([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units).into_bytes()
    };
    match pem {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => {
            let (mut out, mut rest) = (Vec::with_capacity(pem.len()), pem);
            while let Some((first, more)) = rest.split_first() {
                rest = match rest.strip_prefix(b"\xef\xbb\xbf") {
                    Some(behind) => behind,
                    None => {
                        out.push(*first);
                        more
                    }
                };
            }
            out
        }
    }
}

/// Why a file holds no key that can be used, as far as its form tells.
pub(super) fn no_key(path: &Path, pem: &[u8]) -> Option<String> {
    let (shown, text) = (path.display(), String::from_utf8_lossy(pem));
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Some(format!(
            "{shown} has a password, which nobody can type when the server starts. Fix: `openssl pkey -in {shown} -out {shown}.plain`, \
             then install {shown}.plain."
        ));
    }
    if text.contains("BEGIN OPENSSH PRIVATE KEY") || text.contains("BEGIN DSA PRIVATE KEY") {
        return Some(format!("{shown} is of a kind that does not work. {KINDS}"));
    }
    if ["PRIVATE KEY-----", "BEGIN "].iter().all(|part| text.contains(part)) {
        return None;
    }
    Some(match pem.first() {
        None => format!("{shown} is empty: the key is not readable."),
        Some(0x30) => format!("the key is not readable: {shown} is not PEM. Fix: {}", converted(&shown)),
        _ => format!("the key is not readable: there is no BEGIN PRIVATE KEY in {shown}."),
    })
}

/// How a file in another form becomes PEM.
pub(super) fn converted(shown: &std::path::Display<'_>) -> String {
    format!(
        "`openssl pkcs12 -in {shown} -nodes -out both.pem` if it is PKCS #12 (.p12, .pfx), then install both.pem both.pem; else \
         `openssl x509 -inform der -in CERT -out cert.pem` and `openssl pkey -inform der -in KEY -out key.pem`."
    )
}

/// The certificates of PEM, as far as they are readable as that.
pub(super) fn ders(pem: &[u8]) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(pem).map_while(std::result::Result::ok);
    blocks.filter(|block| block.label == "CERTIFICATE").map(|block| block.contents).collect()
}

/// A certificate as PEM.
pub(super) fn armored(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}

/// Whether each certificate is signed by the next one. One by itself may come without its issuer.
pub(super) fn signatures(chain: &[Vec<u8>]) -> Result<()> {
    let parse = |der| x509_parser::parse_x509_certificate(der).map(|(_, cert)| cert);
    for pair in chain.windows(2) {
        let (Ok(cert), Ok(issuer)) = (parse(&pair[0]), parse(&pair[1])) else {
            return Err(Failure::new("a certificate is not readable."));
        };
        // A kind of signature that is not known here is for others to judge.
        if let Err(X509Error::SignatureVerificationError) = cert.verify_signature(Some(issuer.public_key())) {
            return Err(Failure(format!(
                "the signature of \"{}\" is not that of \"{}\".",
                cert.subject(),
                issuer.subject()
            )));
        }
    }
    Ok(())
}

/// A key that we have made.
pub(super) fn own_key(pem: &[u8]) -> Option<KeyPair> {
    KeyPair::from_pem(std::str::from_utf8(pem).ok()?).ok()
}

/// Whether a key is that of a certificate.
pub(super) fn belongs(key: &KeyPair, der: &[u8]) -> bool {
    let parsed = x509_parser::parse_x509_certificate(der);
    parsed.is_ok_and(|(_, cert)| cert.public_key().raw == key.subject_public_key_info())
}

/// Why a certificate that is whole does not do.
pub(super) fn unfit(facts: &Facts, domain: Option<&str>, now: u64) -> Option<String> {
    if facts.not_after <= now {
        return Some(format!("it ended on {}.", facts.until));
    }
    if facts.ends_soon(now) {
        return Some(format!("it ends on {}.", facts.until));
    }
    if facts.not_before > now {
        return Some("it is not valid yet. Set the clock.".into());
    }
    domain.filter(|domain| !facts.covers(domain)).map(|domain| format!("it is not for {domain}."))
}

pub(super) fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| Failure(format!("{} is not PEM.", path.display())))
}

pub(super) fn first(path: &Path) -> Result<Facts> {
    Ok(parse_all(path, &read(path)?)?.remove(0))
}

/// The certificates of a PEM file: at least one.
pub(super) fn parse_all(path: &Path, pem: &[u8]) -> Result<Vec<Facts>> {
    let bad =
        |what: &dyn std::fmt::Display| Failure(format!("{} is not a readable certificate: {what}.", path.display()));
    let pem = &clean(pem)[..];
    if pem.first() == Some(&0x30) {
        return Err(Failure(format!("{0} is not PEM. Fix: {1}", path.display(), converted(&path.display()))));
    }
    let mut all = Vec::new();
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|e| bad(&e))?;
        if block.label == "CERTIFICATE" {
            all.push(facts(&block.contents).ok_or_else(|| bad(&"it is damaged"))?);
        }
    }
    match all.is_empty() {
        true => Err(bad(&"there is no BEGIN CERTIFICATE in it")),
        false => Ok(all),
    }
}

/// `None` if it is no certificate.
pub(crate) fn facts(der: &[u8]) -> Option<Facts> {
    let (_, cert) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut facts = Facts {
        subject: cert.subject().to_string(),
        issuer: cert.issuer().to_string(),
        names: Vec::new(),
        addresses: Vec::new(),
        not_before: cert.validity().not_before.timestamp().try_into().unwrap_or(0),
        not_after: cert.validity().not_after.timestamp().try_into().unwrap_or(0),
        until: cert.validity().not_after.to_rfc2822().unwrap_or_default(),
        fingerprint: fingerprint(der),
    };
    if let Some(san) = cert.subject_alternative_name().ok()? {
        for name in &san.value.general_names {
            match name {
                GeneralName::DNSName(name) => facts.names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => {
                    let v4 = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
                    facts.addresses.extend(v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from)).ok());
                }
                _ => {}
            }
        }
    }
    Some(facts)
}

pub(super) fn fingerprint(der: &[u8]) -> String {
    let mut out = String::new();
    for byte in ring::digest::digest(&ring::digest::SHA256, der).as_ref() {
        let _ = write!(out, "{}{byte:02X}", if out.is_empty() { "" } else { ":" });
    }
    out
}
