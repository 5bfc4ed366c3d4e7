//! What the certificate of another server is worth (RFC 6120 §13.7, RFC 7673, pinned keys).

use super::peer_names::{PeerNames, content};
use super::pin::PeerKey;
use super::roots::Roots;
use crate::service::dns::Tlsa;
use rustls::CertificateError as Bad;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{Error, RootCertStore};
use std::time::Duration;
use x509_parser::certificate::X509Certificate;

/// What is known of a peer by its certificates. That it has the key of the first was proved in the handshake.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// Whether an authority vouches for it that this box trusts, now; else why not, as a sentence that begins with "its certificate".
    pub chain: Result<(), String>,
    /// Its key; `None` if it has shown no certificate.
    pub key: Option<PeerKey>,
    /// For which domains it is.
    pub names: PeerNames,
}

/// Judges the certificates that a peer has shown, its own first. `now`: seconds since 1970. Files with authorities are read meanwhile.
///
/// Whichever end of the connection the peer is, its certificate is one of a server: public ones are for nothing else any more.
pub fn judge(chain: &[CertificateDer<'_>], roots: &Roots, now: u64) -> Verdict {
    let Some(parsed) = chain.first().and_then(|der| parse(der)) else {
        let why = if chain.is_empty() { "it has shown no certificate" } else { "its certificate is not readable" };
        return Verdict { chain: Err(why.into()), key: None, names: PeerNames::default() };
    };
    let issuers: Vec<Vec<u8>> = chain.iter().filter_map(issuer).collect();
    let issuers: Vec<&[u8]> = issuers.iter().map(Vec::as_slice).collect();
    Verdict {
        chain: holds(chain, &roots.named(&issuers), now).map_err(|error| words(&error, chain, &parsed)),
        key: Some(PeerKey::of_public_key(parsed.public_key().raw)),
        names: PeerNames::of(&parsed),
    }
}

impl Verdict {
    /// Whether the certificate proves that the peer is this domain's server (RFC 6120 §13.7.2).
    ///
    /// # Errors
    /// Why it does not, for people.
    pub fn proves(&self, domain: &str) -> Result<(), String> {
        self.chain.clone()?;
        self.covers(domain)
    }

    fn covers(&self, domain: &str) -> Result<(), String> {
        match self.names.cover(domain) {
            true => Ok(()),
            false => Err(format!("its certificate is not for {domain}: it is for {}", self.names.told())),
        }
    }

    /// Whether the peer has the key that was agreed on. Then neither authorities nor dates nor names count.
    ///
    /// # Errors
    /// Which other key it has, for people.
    pub fn is_pinned(&self, pin: &PeerKey) -> Result<(), String> {
        match &self.key {
            Some(key) if key == pin => Ok(()),
            Some(key) => Err(format!("its key is {key}, not {pin}: it has another one now, or is somebody else")),
            None => Err("it has shown no certificate".into()),
        }
    }
}

/// Whether the certificates are those that DNS tells of (DANE, RFC 7673). `None`: it tells of none in a way that counts here, which are
/// 3 1 1 and 2 1 1 (RFC 7671 §5.1, §5.2; as RFC 7672 §3.1); then the [verdict](judge) counts. `records` must be authenticated. `domains`:
/// the domain, and the host that authenticated records have led to (RFC 7673 §4): an authority's certificate may be for either.
pub fn dane(chain: &[CertificateDer<'_>], records: &[Tlsa], domains: &[&str], now: u64) -> Option<Result<(), String>> {
    let of_usage = |usage| move |r: &&Tlsa| (r.usage, r.selector, r.matching, r.data.len()) == (usage, 1, 1, 32);
    let (own, authorities) = (records.iter().filter(of_usage(3)), records.iter().filter(of_usage(2)));
    own.clone().chain(authorities.clone()).next()?;
    let key_of = |der: &CertificateDer<'_>| PeerKey::of_certificate(der);
    let Some(leaf) = chain.first().and_then(key_of) else { return Some(Err("it has shown no certificate".into())) };
    // The key itself: name and dates do not count (RFC 7671 §5.1).
    if own.into_iter().any(|record| *record.data == leaf.0) {
        return Some(Ok(()));
    }
    let is_told = |der: &&CertificateDer<'_>| {
        key_of(der).is_some_and(|key| authorities.clone().any(|record| *record.data == key.0))
    };
    let mut why = "its key is not the one that its DNS tells of (TLSA)".to_owned();
    for authority in chain.iter().filter(is_told) {
        let mut roots = RootCertStore::empty();
        if roots.add(authority.clone().into_owned()).is_err() {
            continue;
        }
        match holds(chain, &roots, now) {
            Ok(()) => {
                let names = parse(&chain[0]).map(|leaf| PeerNames::of(&leaf)).unwrap_or_default();
                let verdict = Verdict { chain: Ok(()), key: Some(leaf), names };
                let covered = domains.iter().map(|domain| verdict.covers(domain));
                return Some(covered.reduce(Result::or).unwrap_or_else(|| Err("it is for no domain".into())));
            }
            Err(error) => {
                if let Some(leaf) = parse(&chain[0]) {
                    why = words(&error, chain, &leaf);
                }
            }
        }
    }
    Some(Err(why))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der).ok().map(|(_, certificate)| certificate)
}

/// The name of who has signed a certificate: DER without its head.
/// The name of who has signed it, without its head.
pub(super) fn issuer(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    content(parse(der)?.issuer().as_raw(), &[0x30]).map(<[u8]>::to_vec)
}

fn holds(chain: &[CertificateDer<'_>], roots: &RootCertStore, now: u64) -> Result<(), Error> {
    let (leaf, others) = chain.split_first().ok_or(Error::NoCertificatesPresented)?;
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    let algorithms = default_provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&ParsedCertificate::try_from(leaf)?, roots, others, now, algorithms)
}

fn words(error: &Error, chain: &[CertificateDer<'_>], leaf: &X509Certificate<'_>) -> String {
    let date = |time: &x509_parser::time::ASN1Time| time.to_rfc2822().unwrap_or_default();
    let Error::InvalidCertificate(bad) = error else { return format!("its certificate does not hold: {error}") };
    match bad {
        Bad::Expired | Bad::ExpiredContext { .. } => {
            let end = chain.iter().filter_map(parse).map(|one| one.validity().not_after).min();
            format!("its certificate has ended on {}", date(&end.unwrap_or(leaf.validity().not_after)))
        }
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => format!(
            "its certificate begins on {}: that is to come, or the clock of this box is wrong",
            date(&leaf.validity().not_before)
        ),
        Bad::UnknownIssuer if leaf.issuer().as_raw() == leaf.subject().as_raw() => {
            "its certificate is signed by itself, and by no authority".into()
        }
        Bad::UnknownIssuer => {
            let last = chain.last().and_then(|der| parse(der));
            let issuer = last.as_ref().unwrap_or(leaf).issuer().to_string();
            format!("its certificate is of an authority that this box does not trust: {}", shortened(&issuer))
        }
        Bad::InvalidPurpose | Bad::InvalidPurposeContext { .. } => "its certificate is not for servers".into(),
        other => format!("its certificate does not hold: {other}"),
    }
}

/// A name that a stranger has written, for a line.
fn shortened(name: &str) -> String {
    const CHARACTERS: usize = 100;
    name.chars().filter(|c| !c.is_control()).take(CHARACTERS).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;
    use rcgen::{
        BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType,
        ExtendedKeyUsagePurpose as Usage, IsCa, Issuer, KeyPair, SanType,
    };

    /// 2026-01-01, in seconds since 1970.
    pub const NOW: u64 = 1_767_225_600;
    const DAY: u64 = 86_400;

    /// From when to when it holds, in seconds since 1970.
    pub fn date(params: &mut CertificateParams, from: u64, to: u64) {
        let at = |secs| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(secs);
        (params.not_before, params.not_after) = (at(from), at(to));
    }

    pub struct Authority {
        pem: String,
        der: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
        temp: Temp,
    }

    impl Authority {
        pub fn new(name: &str) -> Authority {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            let made = params.self_signed(&key).unwrap();
            let temp = Temp::new();
            std::fs::create_dir_all(&temp.0).unwrap();
            std::fs::write(temp.0.join("ca.pem"), made.pem()).unwrap();
            Authority { pem: made.pem(), der: made.der().clone(), issuer: Issuer::new(params, key), temp }
        }

        /// Only this one.
        pub fn roots(&self) -> Roots {
            Roots::only(self.temp.0.join("ca.pem"))
        }

        /// Of a certificate that holds for a month around now.
        pub fn params(&self, name: &str) -> CertificateParams {
            let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            params.distinguished_name = DistinguishedName::new();
            date(&mut params, NOW - DAY, NOW + 30 * DAY);
            params.extended_key_usages = vec![Usage::ServerAuth];
            params
        }

        fn sign(&self, params: &CertificateParams) -> Vec<CertificateDer<'static>> {
            vec![params.signed_by(&KeyPair::generate().unwrap(), &self.issuer).unwrap().der().clone()]
        }

        /// A chain and its key.
        pub fn pem(&self, params: &CertificateParams) -> (String, String) {
            let key = KeyPair::generate().unwrap();
            let leaf = params.signed_by(&key, &self.issuer).unwrap();
            (leaf.pem() + &self.pem, key.serialize_pem())
        }
    }

    fn verdict(authority: &Authority, change: impl FnOnce(&mut CertificateParams)) -> Result<(), String> {
        let mut params = authority.params("example.org");
        change(&mut params);
        judge(&authority.sign(&params), &authority.roots(), NOW).proves("example.org")
    }

    #[test]
    fn dates_and_purposes_and_authorities_count() {
        let authority = Authority::new("The Authority");
        assert_eq!(verdict(&authority, |_| {}), Ok(()));
        // Public ones are for servers alone since 2026; that is what our peers have, whichever end they are.
        assert_eq!(verdict(&authority, |p| p.extended_key_usages = vec![Usage::ServerAuth, Usage::ClientAuth]), Ok(()));
        assert_eq!(verdict(&authority, |p| p.extended_key_usages = vec![]), Ok(()));
        let why = verdict(&authority, |p| p.extended_key_usages = vec![Usage::ClientAuth]).unwrap_err();
        assert_eq!(why, "its certificate is not for servers");
        let why = verdict(&authority, |p| date(p, NOW - DAY, NOW - 1)).unwrap_err();
        assert!(why.starts_with("its certificate has ended on Wed, 31 Dec 2025"), "{why}");
        let why = verdict(&authority, |p| date(p, NOW + DAY, NOW + 2 * DAY)).unwrap_err();
        assert!(why.contains("begins on Fri, 02 Jan 2026") && why.contains("clock"), "{why}");
        let other = Authority::new("Another\nOne");
        let chain = other.sign(&other.params("example.org"));
        let why = judge(&chain, &authority.roots(), NOW).proves("example.org").unwrap_err();
        assert!(why.contains("does not trust: CN=Another"), "{why}");
        // One with the name of an authority, and another key.
        let forged = Authority::new("The Authority");
        let chain = forged.sign(&forged.params("example.org"));
        assert!(judge(&chain, &authority.roots(), NOW).chain.is_err());
        let own = authority.params("example.org").self_signed(&KeyPair::generate().unwrap()).unwrap();
        let why = judge(&[own.der().clone()], &authority.roots(), NOW).proves("example.org").unwrap_err();
        assert_eq!(why, "its certificate is signed by itself, and by no authority");
        for chain in [vec![], vec![CertificateDer::from(b"nonsense".to_vec())]] {
            let verdict = judge(&chain, &authority.roots(), NOW);
            assert!(verdict.chain.is_err() && verdict.key.is_none() && verdict.proves("example.org").is_err());
        }
    }

    #[test]
    fn an_authority_between_is_found_in_the_chain() {
        let root = Authority::new("Root");
        let mut params = root.params("x");
        params.subject_alt_names = vec![];
        params.distinguished_name.push(DnType::CommonName, "Between");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let between = params.signed_by(&key, &root.issuer).unwrap();
        let issuer = Issuer::new(params, key);
        let leaf = root.params("example.org").signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let chain = [leaf.der().clone(), between.der().clone(), root.der.clone()];
        assert_eq!(judge(&chain, &root.roots(), NOW).chain, Ok(()));
        assert_eq!(judge(&chain[..2], &root.roots(), NOW).chain, Ok(()));
        assert!(judge(&chain[..1], &root.roots(), NOW).chain.is_err());
        // One that is no authority has signed nothing.
        let key = KeyPair::generate().unwrap();
        let params = root.params("evil.example");
        let evil = params.signed_by(&key, &root.issuer).unwrap();
        let leaf =
            root.params("example.org").signed_by(&KeyPair::generate().unwrap(), &Issuer::new(params, key)).unwrap();
        let why = judge(&[leaf.der().clone(), evil.der().clone()], &root.roots(), NOW).chain;
        assert!(why.is_err());
    }

    /// One DER value of fewer than 128 bytes.
    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        [&[tag, content.len() as u8], content].concat()
    }

    fn other_name(last: u8, string: u8, text: &str) -> Vec<u8> {
        let value = der(0xa0, &der(string, text.as_bytes()));
        der(0xa0, &[der(6, &[0x2b, 6, 1, 5, 5, 7, 8, last]), value].concat())
    }

    fn covers(names: Vec<Vec<u8>>, domain: &str) -> bool {
        let mut params = CertificateParams::default();
        // The common name never counts.
        params.distinguished_name.push(DnType::CommonName, "common.example");
        params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 17], der(0x30, &names.concat()))];
        let made = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        judge(&[made.der().clone()], &Roots::new(None), NOW).names.cover(domain)
    }

    #[test]
    fn names_count_as_the_rfc_says() {
        let dns = |name: &str| covers_one(der(0x82, name.as_bytes()));
        let srv = |name: &str| covers_one(other_name(7, 0x16, name));
        let addr = |name: &str| covers_one(other_name(5, 0x0c, name));
        fn covers_one(name: Vec<u8>) -> impl Fn(&str) -> bool {
            move |domain| covers(vec![name.clone()], domain)
        }
        type IsFor<'a> = &'a dyn Fn(&str) -> bool;
        let table: [(IsFor<'_>, &str, bool); 34] = [
            (&dns("example.org"), "example.org", true),
            (&dns("Example.ORG"), "example.org", true),
            (&dns("example.org"), "conference.example.org", false),
            (&dns("conference.example.org"), "example.org", false),
            (&dns("example.org"), "xexample.org", false),
            (&dns("example.org"), "common.example", false),
            (&dns("*.example.org"), "chat.example.org", true),
            (&dns("*.Example.org"), "chat.example.org", true),
            (&dns("*.example.org"), "example.org", false),
            (&dns("*.example.org"), "a.chat.example.org", false),
            (&dns("c*.example.org"), "chat.example.org", false),
            (&dns("*t.example.org"), "chat.example.org", false),
            (&dns("chat.*.org"), "chat.example.org", false),
            (&dns("*.*.org"), "chat.example.org", false),
            (&dns("*.org"), "example.org", false),
            (&dns("*"), "org", false),
            (&dns("*.example.org"), "*.example.org", false),
            (&dns("xn--bcher-kva.example"), "bücher.example", true),
            (&dns("XN--BCHER-KVA.example"), "bücher.example", true),
            (&dns("*.xn--bcher-kva.example"), "chat.bücher.example", true),
            (&dns("example.org\0.evil.example"), "example.org", false),
            (&dns("_xmpp-server.example.org"), "example.org", false),
            (&srv("_xmpp-server.example.org"), "example.org", true),
            (&srv("_XMPP-Server.Example.org"), "example.org", true),
            (&srv("_xmpp-server.xn--bcher-kva.example"), "bücher.example", true),
            (&srv("_xmpp-client.example.org"), "example.org", false),
            (&srv("_xmpp-server.*.org"), "example.org", false),
            (&srv("example.org"), "example.org", false),
            (&addr("example.org"), "example.org", true),
            (&addr("Bücher.example"), "bücher.example", true),
            (&addr("juliet@example.org"), "example.org", false),
            (&addr("example.org/x"), "example.org", false),
            (&addr("*.example.org"), "chat.example.org", false),
            (&dns(""), "", false),
        ];
        for (n, (is_for, domain, expected)) in table.iter().enumerate() {
            assert_eq!(is_for(domain), *expected, "{n}: {domain}");
        }
        let many = vec![
            der(0x82, b"a.example"),
            other_name(5, 0x0c, "b.example"),
            der(0x87, &[192, 0, 2, 1]),
            der(0x87, &[0; 16]),
        ];
        for domain in ["a.example", "b.example", "192.0.2.1", "[::]"] {
            assert!(covers(many.clone(), domain), "{domain}");
        }
        assert!(!covers(many.clone(), "192.0.2.2") && !covers(many, "common.example"));
        // Strings of another type, cut off, or none.
        for name in [other_name(5, 0x04, "example.org"), der(0xa0, &[6, 8, 0x2b, 6, 1, 5, 5, 7, 8, 5]), der(0xa0, &[6])]
        {
            assert!(!covers(vec![name], "example.org"));
        }
    }

    #[test]
    fn who_has_another_name_is_told_which() {
        let authority = Authority::new("A");
        let mut params = authority.params("a.example");
        params.subject_alt_names.extend((0..4).map(|n| SanType::DnsName(format!("n{n}.example").try_into().unwrap())));
        let why = judge(&authority.sign(&params), &authority.roots(), NOW).proves("example.org").unwrap_err();
        assert_eq!(
            why,
            "its certificate is not for example.org: it is for a.example, n0.example, n1.example and 2 more"
        );
    }

    #[test]
    fn our_own_certificate_is_for_our_domain_and_services() {
        use crate::service::cert::{Certificates, Names};
        use crate::service::disk::data::Data;
        let temp = Temp::new();
        let certificates = Certificates::of(&Data::locate(Some(&temp.0)));
        let names = Names { domain: "bücher.example".into(), hosts: vec![], addresses: vec![] };
        certificates.ensure(&names, NOW).unwrap();
        let (pair, _) = certificates.current().unwrap();
        let (chain, _) = super::super::read(&pair.chain, &pair.key).unwrap();
        let verdict = judge(&chain, &Roots::only(certificates.ca_path()), NOW);
        assert_eq!(verdict.proves("bücher.example"), Ok(()));
        assert_eq!(verdict.proves("conference.bücher.example"), Ok(()));
        assert!(verdict.proves("other.bücher.example").is_err());
    }

    #[test]
    fn dane_counts_as_dns_says() {
        let root = Authority::new("Root");
        let chain = [root.sign(&root.params("example.org")), vec![root.der.clone()]].concat();
        let tlsa = |usage, selector, matching, key: PeerKey| Tlsa { usage, selector, matching, data: key.0.into() };
        let (leaf, authority) =
            (PeerKey::of_certificate(&chain[0]).unwrap(), PeerKey::of_certificate(&root.der).unwrap());
        let other = PeerKey([7; 32]);
        let says = |records: &[Tlsa], domain: &str, now| dane(&chain, records, &[domain], now);
        // The key itself: no name, no date.
        assert_eq!(says(&[tlsa(3, 1, 1, other), tlsa(3, 1, 1, leaf)], "else.example", 0), Some(Ok(())));
        let why = says(&[tlsa(3, 1, 1, other)], "example.org", NOW).unwrap().unwrap_err();
        assert!(why.contains("TLSA"), "{why}");
        // An authority: both.
        assert_eq!(says(&[tlsa(2, 1, 1, authority)], "example.org", NOW), Some(Ok(())));
        assert!(
            says(&[tlsa(2, 1, 1, authority)], "else.example", NOW)
                .unwrap()
                .unwrap_err()
                .contains("not for else.example")
        );
        let both = |domains| dane(&chain, &[tlsa(2, 1, 1, authority)], domains, NOW);
        assert_eq!(
            [both(&["else.example", "example.org"]), both(&["example.org", "else.example"])],
            [Some(Ok(())), Some(Ok(()))]
        );
        assert!(both(&[]).unwrap().is_err());
        assert!(says(&[tlsa(2, 1, 1, authority)], "example.org", 0).unwrap().is_err());
        assert!(says(&[tlsa(2, 1, 1, other)], "example.org", NOW).unwrap().is_err());
        // It has to be in the chain, and to have signed it.
        assert!(dane(&chain[..1], &[tlsa(2, 1, 1, authority)], &["example.org"], NOW).unwrap().is_err());
        let stranger = Authority::new("Stranger");
        let mixed = [chain[..1].to_vec(), vec![stranger.der.clone()]].concat();
        let theirs = PeerKey::of_certificate(&stranger.der).unwrap();
        assert!(dane(&mixed, &[tlsa(2, 1, 1, theirs)], &["example.org"], NOW).unwrap().is_err());
        // What does not count here.
        for (usage, selector, matching) in [(0, 1, 1), (1, 1, 1), (3, 0, 1), (3, 1, 0), (3, 1, 2), (2, 0, 1)] {
            assert_eq!(says(&[tlsa(usage, selector, matching, leaf)], "example.org", NOW), None);
        }
        assert_eq!(says(&[], "example.org", NOW), None);
        assert!(dane(&[], &[tlsa(3, 1, 1, leaf)], &["example.org"], NOW).unwrap().is_err());
    }
}
