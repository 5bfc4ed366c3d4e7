//! The certificates of a server as they are seen from outside.

use crate::service::tls::{is_issuer_known, judged};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// RSA keys from here on are long enough, in bits.
const RSA_BITS: usize = 2048;
/// Those of elliptic curves, in bits.
const EC_BITS: usize = 256;
/// Signatures with MD2, MD5 or SHA-1.
const OLD_SIGNATURES: [&str; 5] =
    ["1.2.840.113549.1.1.2", "1.2.840.113549.1.1.4", "1.2.840.113549.1.1.5", "1.2.840.10045.4.1", "1.2.840.10040.4.3"];

/// What can be said of a chain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChainSeen {
    /// Kind and length of the key, for people.
    pub key: String,
    /// Whether that can be guessed.
    pub key_is_short: bool,
    /// Whether something in it is signed by a hash that can be forged.
    pub hash_is_old: bool,
    /// From when it holds, in seconds since 1970.
    pub from: u64,
    /// A key of who has signed it that can be guessed, for people, where that matters: another way to who is trusted leads past it.
    pub short_above: Option<String>,
    /// A certificate in between that does not hold now, likewise.
    pub over_above: Option<String>,
    /// Until when, in seconds since 1970.
    pub until: u64,
    /// The last day, for people.
    pub last_day: String,
    /// Whether it is for the domain.
    pub is_for_domain: bool,
    /// For whom it is, for people.
    pub names: String,
    /// The names of the domain's services that it lacks.
    pub lacks: Vec<String>,
    /// Whether this box trusts who has signed it, else why not. Dates do not count.
    pub trusted: Result<(), String>,
    /// Whether it is signed by itself.
    pub by_itself: bool,
    /// Who has signed the last one, if that is neither shown nor known.
    pub missing: Option<String>,
    /// Whether it may be shown by a server.
    pub for_servers: bool,
    /// Whether it may be shown by who connects.
    pub for_clients: bool,
    /// What it is told apart by.
    pub leaf: Vec<u8>,
}

impl ChainSeen {
    /// `chain`: DER, its own first. `services`: names besides the domain that should be in it. `now`: seconds since 1970. Reads the list of
    /// authorities of the system.
    pub fn of(chain: &[Vec<u8>], domain: &str, services: &[String], now: u64) -> Option<ChainSeen> {
        let all: Vec<X509Certificate<'_>> = chain.iter().filter_map(|der| parse(der)).collect();
        let (leaf, last) = (all.first()?, all.last()?);
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        let (from, until) =
            (seconds(leaf.validity().not_before.timestamp()), seconds(leaf.validity().not_after.timestamp()));
        let verdict = judged(chain, now.clamp(from, until.max(from)));
        let (key, key_is_short) = key_of(leaf);
        let usage = leaf.extended_key_usage().ok().flatten().map(|usage| usage.value.clone());
        let may = |server: bool| {
            usage.as_ref().is_none_or(|may| may.any || if server { may.server_auth } else { may.client_auth })
        };
        let is_old = |one: &&X509Certificate<'_>| {
            OLD_SIGNATURES.contains(&one.signature_algorithm.algorithm.to_id_string().as_str())
        };
        let is_own = |one: &X509Certificate<'_>| one.issuer().as_raw() == one.subject().as_raw();
        let is_missing =
            verdict.chain.is_err() && !is_own(last) && !chain.last().is_some_and(|last| is_issuer_known(last));
        let missing = is_missing.then(|| plain(&last.issuer().to_string()));
        let above = if verdict.chain.is_err() { &all[1..] } else { &[] };
        let is_over = |one: &X509Certificate<'_>| {
            let valid = one.validity();
            now < seconds(valid.not_before.timestamp()) || now >= seconds(valid.not_after.timestamp())
        };
        let over_above = above.iter().find(|one| !is_own(one) && is_over(one));
        let over_above = over_above.map(|one| plain(&one.subject().to_string()));
        let short_above = above.iter().map(key_of).find(|(_, is_short)| *is_short).map(|(key, _)| key);
        Some(ChainSeen {
            key,
            key_is_short,
            // What signs itself proves nothing by that.
            hash_is_old: all.iter().filter(|one| !is_own(one)).any(|one| is_old(&one)),
            short_above,
            over_above,
            from,
            until,
            last_day: leaf.validity().not_after.to_rfc2822().unwrap_or_default(),
            is_for_domain: verdict.names.cover(domain),
            names: plain(&verdict.names.told()),
            lacks: services.iter().filter(|name| !verdict.names.cover(name)).cloned().collect(),
            trusted: verdict.chain,
            by_itself: is_own(leaf),
            missing,
            for_servers: may(true),
            for_clients: may(false),
            leaf: chain.first()?.clone(),
        })
    }
}

fn parse(der: &[u8]) -> Option<X509Certificate<'_>> {
    X509Certificate::from_der(der).ok().map(|(_, parsed)| parsed)
}

/// Kind and length, and whether it is too short.
fn key_of(leaf: &X509Certificate<'_>) -> (String, bool) {
    match leaf.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => (format!("RSA, {} bits", key.key_size()), key.key_size() < RSA_BITS),
        Ok(PublicKey::EC(point)) => {
            // A byte that says how it is written, then two numbers.
            let bits = point.data().len().saturating_sub(1) / 2 * 8;
            (format!("ECDSA, {bits} bits"), bits < EC_BITS)
        }
        Ok(PublicKey::DSA(_)) => ("DSA".into(), true),
        _ => ("another kind".into(), false),
    }
}

/// A name that a stranger has written, for a line.
pub fn plain(name: &str) -> String {
    const CHARACTERS: usize = 100;
    name.chars().filter(|c| !c.is_control()).take(CHARACTERS).collect()
}
