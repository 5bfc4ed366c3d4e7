//! Certificates: our own authority, made once; the server's certificate, signed by it and renewed with its key kept; and the
//! administrator's own, which goes before it.
//!
//! ```text
//! DIR/cert/ca.crt         the authority, for people to install on their devices
//! DIR/cert/ca.key         its key
//! DIR/cert/server.crt     the server's certificate and the authority's
//! DIR/cert/server.key     its key; it stays, so that what pinned it goes on
//! DIR/cert/installed.pem  the administrator's chain and key, if installed
//! DIR/cert/new/           another authority with all that belongs to it, whole, for the moment in which it takes its place
//! ```
//! The authority is sent along: who has installed it, or remembers it, takes the next certificate unasked. Apps that keep the
//! certificate itself (Gajim) ask everybody again when there is another one: so it is made for as long as the platforms allow, and another
//! one only when it must be.

mod facts;
mod installed;
mod names;
mod own;
mod permitted;

pub(crate) use self::facts::Facts;
pub(crate) use self::names::Names;
pub(crate) use self::permitted::Permitted;
pub(crate) use crate::wire::punycode::a_labels;

use self::facts::{DAY, armored, clean, ders, first, parse_all, read, signatures, unfit};
use self::own::{NEW_AUTHORITY, PAST_DAYS};
use crate::service::disk::data::Data;
use crate::service::{Failure, Result, host, tls};
use crate::web::pages::{Authority, Vouched};
use std::path::PathBuf;

/// A chain and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Pair {
    /// The own certificate first.
    pub chain: Vec<u8>,
    pub key: Vec<u8>,
    /// Whether the administrator installed it.
    pub installed: bool,
}

/// The certificates of a data folder.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Those of this folder.
    pub(crate) fn of(data: &Data) -> Certificates {
        Certificates { dir: data.certificates() }
    }

    /// Where the authority's certificate is, for people to install.
    pub(crate) fn ca_path(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// What the authority signs for; `None`: everything, or there is none.
    pub(crate) fn permitted(&self) -> Option<Permitted> {
        let pem = std::fs::read(self.ca_path()).ok()?;
        Permitted::read(ders(&pem).first()?)
    }

    /// The time to judge and make certificates by, in seconds since 1970. A box whose clock is not set must not take a good
    /// certificate for one of the future, and make one that has ended for everybody else: our own was made before now.
    pub(crate) fn now(&self) -> u64 {
        if host::clock_is_set() {
            return host::clock();
        }
        let made = first(&self.dir.join("server.crt")).map_or(0, |facts| facts.not_before + PAST_DAYS * DAY);
        host::now().max(made)
    }

    /// Where the one is that the administrator has installed.
    pub(crate) fn installed_path(&self) -> PathBuf {
        self.dir.join("installed.pem")
    }

    /// Whether there is one.
    pub(crate) fn is_installed(&self) -> bool {
        self.installed_path().exists()
    }

    /// Whether what is shown is good for everybody: a certificate for the domain that an authority has signed which the world trusts.
    pub fn is_public(&self, domain: &str) -> bool {
        let Ok((pair, _)) = self.current() else { return false };
        pair.installed && tls::is_public(&pair.chain, domain, self.now())
    }

    /// The authority.
    ///
    /// # Errors
    /// When there is none yet, or it is not readable.
    pub(crate) fn ca(&self) -> Result<Facts> {
        first(&self.ca_path())
    }

    /// What visitors are told of who vouches for a domain.
    ///
    /// # Errors
    /// When there is no certificate yet, or it is not readable.
    pub(crate) fn vouched(&self, domain: &str) -> Result<Vouched> {
        let (pair, facts) = self.current()?;
        if pair.installed {
            return Ok(if self.is_public(domain) { Vouched::World } else { Vouched::Owner });
        }
        let (path, ca) = (self.ca_path(), self.ca()?);
        let der = ders(&read(&path)?).into_iter().next().ok_or_else(|| Failure::new("the authority is gone"))?;
        let name = ca.subject.strip_prefix("CN=").unwrap_or(&ca.subject).to_owned();
        let pem = armored(&der);
        Ok(Vouched::Itself(Authority { name, der, pem, fingerprint: ca.fingerprint, shown: facts.fingerprint }))
    }

    /// Where the authority is, and what systems show that install it.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn authority_line(&self) -> Result<String> {
        let (path, ca) = (self.ca_path(), self.ca()?);
        Ok(format!("authority    {}, SHA-256 {} (for installing)", path.display(), ca.fingerprint))
    }

    /// The server's own certificate, whether it is shown or not.
    ///
    /// # Errors
    /// When there is none yet, or it is not readable.
    pub(crate) fn own(&self) -> Result<Facts> {
        first(&self.dir.join("server.crt"))
    }

    /// What the server shows, and its facts: the administrator's certificate if there is one, else our own.
    ///
    /// # Errors
    /// When there is none yet, or it is not readable.
    pub(crate) fn current(&self) -> Result<(Pair, Facts)> {
        let installed = self.dir.join("installed.pem");
        if installed.exists() {
            let both = clean(&read(&installed)?);
            return Ok((Pair { chain: both.clone(), key: both, installed: true }, first(&installed)?));
        }
        let path = self.dir.join("server.crt");
        Ok((Pair { chain: read(&path)?, key: read(&self.dir.join("server.key"))?, installed: false }, first(&path)?))
    }

    /// What the server shows, ready to be used.
    ///
    /// # Errors
    /// What is wrong with it, and the fix.
    pub(crate) fn acceptor(&self) -> Result<(tls::Acceptor, Pair, Facts)> {
        let path = self.dir.join("installed.pem");
        let fix = match path.exists() {
            true => {
                format!("Fix: inglenook cert install CERT KEY, or remove {} to use the server's own", path.display())
            }
            false => "Fix: inglenook cert renew".to_owned(),
        };
        let ready =
            self.current().and_then(|(pair, facts)| Ok((tls::Acceptor::new(&pair.chain, &pair.key)?, pair, facts)));
        ready.map_err(|e| Failure(format!("the certificate cannot be used: {}. {fix}.", e.0.trim_end_matches('.'))))
    }

    /// What is wrong with the files, each with its fix: chain, keys, signatures, names and dates are held against each other.
    /// `now`: seconds since 1970.
    pub(crate) fn faults(&self, domain: Option<&str>, now: u64) -> Vec<String> {
        let installed = self.dir.join("installed.pem");
        let mut faults = Vec::new();
        if installed.exists() {
            let fix = "Fix: inglenook cert install CERT KEY, with a new one";
            let read = self.current().and_then(|(pair, _)| {
                tls::Acceptor::new(&pair.chain, &pair.key)?;
                parse_all(&installed, &pair.chain)?;
                signatures(&ders(&pair.chain))
            });
            faults.extend(read.err().map(|e| format!("{}: {}. {fix}", installed.display(), e.0.trim_end_matches('.'))));
            faults.extend(
                first(&installed).ok().and_then(|facts| unfit(&facts, domain, now)).map(|why| format!("{why} {fix}")),
            );
        } else if !["server.crt", "server.key"].iter().any(|name| self.dir.join(name).exists()) {
            faults.push("there is none, though there is an authority. Fix: inglenook cert renew".into());
        } else {
            match self.leaf() {
                Ok(Ok(facts)) => {
                    faults.extend(unfit(&facts, domain, now).map(|why| format!("{why} Fix: inglenook cert renew")));
                }
                Ok(Err(why)) => faults.push(format!("{why} Fix: inglenook cert renew")),
                Err(e) => faults.push(e.0),
            }
        }
        match self.authority() {
            Ok(Ok(facts)) => {
                faults.extend(unfit(&facts, None, now).map(|why| format!("the authority: {why} {NEW_AUTHORITY}")))
            }
            // Who has installed a certificate may have none of our own.
            Ok(Err(_)) if installed.exists() && !self.ca_path().exists() && !self.dir.join("ca.key").exists() => {}
            Ok(Err(why)) => faults.push(why),
            Err(e) => faults.push(e.0),
        }
        faults
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::facts::*;
    use super::names::alternative_names;
    use super::own::{OWN, params};
    use super::*;
    use crate::service::disk::data::{self, tests::Temp};
    use std::path::Path;
    use x509_parser::pem::Pem;
    use x509_parser::prelude::*;

    const NOW: u64 = host::EARLIEST + 400 * DAY;

    fn names() -> Names {
        Names {
            domain: "example.org".into(),
            hosts: vec!["box".into(), "box.local".into()],
            addresses: vec!["192.168.1.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        }
    }

    fn fresh() -> (Temp, Certificates) {
        let temp = Temp::new();
        let certificates = Certificates { dir: temp.0.join("cert") };
        assert!(certificates.ensure(&names(), NOW).unwrap());
        (temp, certificates)
    }

    fn blocks(pem: &[u8]) -> Vec<Vec<u8>> {
        Pem::iter_from_buffer(pem).map(|b| b.unwrap().contents).collect()
    }

    #[test]
    fn the_server_certificate_has_all_that_clients_look_for() {
        let (_temp, certificates) = fresh();
        let (pair, facts) = certificates.current().unwrap();
        let ders = blocks(&pair.chain);
        assert_eq!(ders.len(), 2);
        let (_, leaf) = parse_x509_certificate(&ders[0]).unwrap();
        let (_, ca) = parse_x509_certificate(&ders[1]).unwrap();
        assert_eq!(leaf.subject().to_string(), "CN=example.org");
        assert_eq!(leaf.issuer(), ca.subject());
        let wanted = ["example.org", "conference.example.org", "pubsub.example.org", "upload.example.org", "box.local"];
        assert_eq!(facts.names, wanted);
        assert_eq!(facts.addresses, names().addresses);
        let san = leaf.subject_alternative_name().unwrap().unwrap();
        assert!(!san.critical);
        let others = san.value.general_names.iter().filter_map(|name| match name {
            GeneralName::OtherName(oid, value) => {
                // [0] EXPLICIT, then the string: all are short.
                assert_eq!((value[0], usize::from(value[1])), (0xa0, value.len() - 2));
                Some((oid.to_id_string(), value[2], String::from_utf8(value[4..].to_vec()).unwrap()))
            }
            _ => None,
        });
        let others: Vec<(String, u8, String)> = others.collect();
        for (oid, tag, value) in [
            ("1.3.6.1.5.5.7.8.5", 0x0c, "example.org"),
            ("1.3.6.1.5.5.7.8.5", 0x0c, "conference.example.org"),
            ("1.3.6.1.5.5.7.8.7", 0x16, "_xmpp-client.example.org"),
            ("1.3.6.1.5.5.7.8.7", 0x16, "_xmpp-server.example.org"),
        ] {
            assert!(others.contains(&(oid.into(), tag, value.into())), "{value}: {others:?}");
        }
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth && !usage.any);
        assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
        assert!(!leaf.is_ca() && ca.is_ca());
        assert!(facts.not_after - facts.not_before <= 825 * DAY - DAY);
        assert!(facts.not_before <= NOW - 60 * DAY && facts.not_after > NOW + 730 * DAY);
        assert_eq!(
            leaf.public_key().algorithm.parameters.as_ref().unwrap().as_oid().unwrap().to_id_string(),
            "1.2.840.10045.3.1.7"
        );
        leaf.verify_signature(Some(ca.public_key())).unwrap();
        ca.verify_signature(None).unwrap();
        // Whoever installs it trusts this house for nothing else (RFC 5280 §4.2.1.10).
        assert!(ca.name_constraints().unwrap().unwrap().critical);
        let Names { domain, hosts, addresses } = names();
        assert_eq!(certificates.permitted(), Some(Permitted::of(&domain, &hosts, &addresses)));
        let usage = ca.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth && !usage.any && !usage.code_signing && !usage.email_protection);
        let ca = certificates.ca().unwrap();
        assert!(ca.not_before < host::EARLIEST && ca.not_after > NOW + 20 * 365 * DAY);
    }

    #[test]
    fn a_renewed_one_has_the_same_key_and_another_serial() {
        let (_temp, certificates) = fresh();
        let before = certificates.current().unwrap();
        let ca = certificates.ca().unwrap();
        let at = before.1.renewed_at();
        assert!(at > NOW + 700 * DAY, "nobody is asked again for almost two years");
        assert!(!certificates.ensure(&names(), at - DAY).unwrap());
        assert!(certificates.ensure(&names(), at + DAY).unwrap());
        let after = certificates.current().unwrap();
        assert_eq!(before.0.key, after.0.key);
        assert_eq!(certificates.ca().unwrap(), ca);
        assert!(after.1.not_after > before.1.not_after);
        let (old, new) = (blocks(&before.0.chain), blocks(&after.0.chain));
        let (_, old) = parse_x509_certificate(&old[0]).unwrap();
        let (_, new) = parse_x509_certificate(&new[0]).unwrap();
        assert_eq!(old.public_key(), new.public_key());
        assert_ne!(old.raw_serial(), new.raw_serial());
    }

    #[test]
    fn what_apps_do_not_look_for_is_no_reason_for_another_one() {
        let (_temp, certificates) = fresh();
        let mut more = names();
        more.addresses = vec!["10.0.0.1".parse().unwrap(), "192.168.1.5".parse().unwrap()];
        more.hosts = vec!["other".into()];
        assert!(!certificates.ensure(&more, NOW).unwrap(), "another address or host name");
        let permitted = certificates.permitted();
        assert_eq!(certificates.current().unwrap().1.lacks(&more, None), ["other", "10.0.0.1", "192.168.1.5"]);
        // The authority does not sign for them.
        assert_eq!(certificates.current().unwrap().1.lacks(&more, permitted.as_ref()), [""; 0]);
        certificates.renew(&more, NOW).unwrap();
        assert!(certificates.current().unwrap().1.addresses.contains(&"10.0.0.1".parse().unwrap()));
        assert!(!certificates.ensure(&names(), NOW).unwrap(), "fewer");
        more.domain = "example.net".into();
        assert!(certificates.ensure(&more, NOW).unwrap(), "another domain");
        assert!(certificates.current().unwrap().1.covers("conference.example.net"));
    }

    /// What older versions have made for 397 days stays until its own end is near.
    #[test]
    fn a_short_one_is_kept_as_long_as_it_holds() {
        let (_temp, certificates) = fresh();
        let mut short = params("example.org", NOW - 90 * DAY, NOW + 307 * DAY).unwrap();
        short.custom_extensions = vec![alternative_names(&names(), None)];
        let ca = read_text(&certificates.ca_path()).unwrap();
        let issuer = rcgen::Issuer::from_ca_cert_pem(&ca, certificates.key("ca.key").unwrap()).unwrap();
        let leaf = short.signed_by(&certificates.key("server.key").unwrap(), &issuer).unwrap();
        std::fs::write(certificates.dir.join("server.crt"), format!("{}{ca}", leaf.pem())).unwrap();
        assert!(!certificates.ensure(&names(), NOW + 270 * DAY).unwrap());
        assert!(certificates.ensure(&names(), NOW + 280 * DAY).unwrap());
        assert!(certificates.current().unwrap().1.not_after > NOW + 1000 * DAY);
    }

    #[test]
    fn a_clock_that_was_ahead_renews_and_one_that_is_behind_has_an_hour() {
        let (_temp, certificates) = fresh();
        assert!(!certificates.ensure_at_start(&names(), NOW - 200 * DAY).unwrap(), "which of both it is, is not known");
        assert!(certificates.ensure(&names(), NOW - 200 * DAY).unwrap());
        assert!(certificates.current().unwrap().1.not_before < NOW - 200 * DAY);
        assert!(certificates.ensure_at_start(&names(), NOW + 900 * DAY).unwrap(), "it has ended");
    }

    /// The power fails between any two steps of a new authority: all of it is the old one or the new one.
    #[test]
    fn another_authority_takes_its_place_whole() {
        let fresh_or = |old: bool| {
            let temp = Temp::new();
            let certificates = Certificates { dir: temp.0.join("cert") };
            if old {
                assert!(certificates.ensure(&names(), NOW).unwrap());
            }
            (temp, certificates)
        };
        for old in [true, false] {
            for step in 0..=4 {
                let (_temp, certificates) = fresh_or(old);
                let before = certificates.ca().ok();
                let building = Certificates { dir: certificates.dir.join("building") };
                certificates.build(&building, &names(), NOW).unwrap();
                let made = certificates.dir.join("new");
                let ca = first(&made.join("ca.crt")).unwrap();
                for name in OWN.iter().take(step) {
                    if certificates.dir.join(name).exists() {
                        certificates.put_aside(name).unwrap();
                    }
                    std::fs::rename(made.join(name), certificates.dir.join(name)).unwrap();
                }
                assert!(!certificates.ensure_at_start(&names(), NOW).unwrap(), "old {old}, step {step}");
                assert_eq!(certificates.ca().unwrap(), ca);
                assert_ne!(before, Some(ca));
                assert_eq!(certificates.faults(Some("example.org"), NOW), [""; 0], "old {old}, step {step}");
                certificates.acceptor().unwrap();
                assert!(!made.exists());
            }
            // What was not finished is as if it had never begun.
            let (_temp, certificates) = fresh_or(old);
            data::make_dir(&certificates.dir.join("building")).unwrap();
            std::fs::write(certificates.dir.join("building/ca.key"), "half").unwrap();
            assert_eq!(certificates.ensure_at_start(&names(), NOW).unwrap(), !old);
            certificates.acceptor().unwrap();
        }
    }

    #[test]
    fn files_are_for_their_owner_alone() {
        let (temp, certificates) = fresh();
        for name in ["ca.crt", "ca.key", "server.crt", "server.key"] {
            assert_eq!(data::open_to_others(&temp.0.join("cert").join(name)), None, "{name}");
        }
        assert_eq!(data::open_to_others(&certificates.dir), None);
    }

    /// Another authority's files for `names`, in a folder of their own.
    fn foreign(temp: &Temp, domain: &str, now: u64) -> (PathBuf, PathBuf) {
        let made = Certificates { dir: temp.0.join(format!("other-{domain}-{now}")) };
        let names = Names { domain: domain.into(), hosts: vec![], addresses: vec![] };
        made.ensure(&names, now).unwrap();
        (made.dir.join("server.crt"), made.dir.join("server.key"))
    }

    #[test]
    fn an_installed_one_goes_first() {
        let (temp, certificates) = fresh();
        let (chain, key) = foreign(&temp, "example.org", NOW);
        assert_eq!(certificates.install(&chain, &key, "example.org", NOW).unwrap(), Vec::<String>::new());
        let (pair, facts) = certificates.current().unwrap();
        assert!(pair.installed);
        assert_eq!(facts, first(&chain).unwrap());
        tls::Acceptor::new(&pair.chain, &pair.key).unwrap();
        assert_eq!(data::open_to_others(&certificates.dir.join("installed.pem")), None);
    }

    #[test]
    fn an_unfit_one_is_refused_with_the_reason() {
        let (temp, certificates) = fresh();
        let (chain, key) = foreign(&temp, "example.org", NOW);
        let refused = |chain: &Path, key: &Path, now: u64| {
            let error = certificates.install(chain, key, "example.org", now).unwrap_err().0;
            assert!(!certificates.current().unwrap().0.installed);
            error
        };
        assert!(refused(&chain, &key, NOW + 900 * DAY).contains("ended on"));
        assert!(refused(&chain, &key, NOW - 200 * DAY).contains("not valid yet"));
        assert!(refused(&key, &key, NOW).contains("no BEGIN CERTIFICATE"));
        assert!(refused(&chain, &chain, NOW).contains("key is not readable"));
        assert!(refused(Path::new("/nowhere"), &key, NOW).contains("cannot be read"));
        let (other, other_key) = foreign(&temp, "example.net", NOW);
        assert!(refused(&other, &other_key, NOW).contains("is for example.net, conference.example.net"));
        assert!(refused(&chain, &other_key, NOW).contains("the key does not belong to the certificate"));
        let mixed = temp.0.join("mixed.pem");
        let leaf_only = |path: &Path| {
            let text = read_text(path).unwrap();
            let end = text.find("-----END CERTIFICATE-----").unwrap() + "-----END CERTIFICATE-----\n".len();
            text[..end].to_owned()
        };
        data::write(&mixed, (leaf_only(&chain) + &leaf_only(&other)).as_bytes()).unwrap();
        assert!(refused(&mixed, &key, NOW).contains("out of order"));
    }

    #[test]
    fn four_common_mistakes_are_named_with_their_fix() {
        let (temp, certificates) = fresh();
        let (chain, key) = foreign(&temp, "example.org", NOW);
        let file = |name: &str, content: &[u8]| {
            let path = temp.0.join(name);
            data::write(&path, content).unwrap();
            path
        };
        let refused = |chain: &Path, key: &Path| certificates.install(chain, key, "example.org", NOW).unwrap_err().0;
        let pkcs8 =
            file("a.key", b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n");
        let old = file(
            "b.key",
            b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
        );
        for locked in [&pkcs8, &old] {
            let said = refused(&chain, locked);
            let fix = format!("openssl pkey -in {0} -out {0}.plain", locked.display());
            assert!(said.contains("has a password") && said.contains(&fix), "{said}");
        }
        // A key that is PEM, but of no kind that works.
        let odd = file("c.key", b"-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n");
        for kind in ["P-256", "P-384", "RSA from 2048", "Ed25519"] {
            assert!(refused(&chain, &odd).contains(kind));
        }
        let other_form = file("d.pfx", &[0x30, 0x82, 1, 2]);
        assert!(refused(&chain, &other_form).contains("openssl pkcs12"));
        assert!(refused(&other_form, &key).contains("openssl pkcs12"));
        let empty = file("e.key", b"");
        assert!(refused(&chain, &empty).contains("is empty"));
        let (leaf, authority) = (blocks(&read(&chain).unwrap())[0].clone(), blocks(&read(&chain).unwrap())[1].clone());
        let turned = file("turned.pem", (armored(&authority) + &armored(&leaf)).as_bytes());
        assert!(refused(&turned, &key).contains("out of order"));
        // A bit of the signature.
        let mut bad = leaf.clone();
        *bad.last_mut().unwrap() ^= 1;
        let damaged = file("damaged.pem", (armored(&bad) + &armored(&authority)).as_bytes());
        assert!(refused(&damaged, &key).contains("signature"));
        assert!(!certificates.is_installed());
    }

    #[test]
    fn byte_order_marks_are_passed_over() {
        let (temp, certificates) = fresh();
        let (chain, key) = foreign(&temp, "example.org", NOW);
        let (chain, key) = (read_text(&chain).unwrap(), read_text(&key).unwrap());
        let utf8 = |text: &str| [b"\xef\xbb\xbf", text.as_bytes()].concat();
        let utf16 = |text: &str| {
            [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect::<Vec<u8>>()
        };
        let inside = chain.replace("-----\n-----", "-----\n\u{feff}-----").into_bytes();
        assert_ne!(inside, chain.as_bytes());
        for (chain, key) in [(utf8(&chain), utf8(&key)), (utf16(&chain), utf16(&key)), (inside, utf8(&key))] {
            let (c, k) = (temp.0.join("c.pem"), temp.0.join("k.pem"));
            std::fs::write(&c, chain).unwrap();
            std::fs::write(&k, key).unwrap();
            assert_eq!(certificates.install(&c, &k, "example.org", NOW).unwrap(), Vec::<String>::new());
            assert_eq!(certificates.acceptor().unwrap().2.names[0], "example.org");
            assert_eq!(ders(&certificates.current().unwrap().0.chain).len(), 2);
            std::fs::remove_file(certificates.dir.join("installed.pem")).unwrap();
        }
    }

    /// What people have on their devices is never replaced; what can be made again is.
    #[test]
    fn damage_is_told_and_the_authority_stays() {
        let flipped = |pem: &[u8]| {
            let mut ders = blocks(pem);
            *ders[0].last_mut().unwrap() ^= 1;
            ders.iter().map(|der| armored(der)).collect::<String>().into_bytes()
        };
        let other = Temp::new();
        let stranger = Certificates { dir: other.0.join("cert") };
        stranger.ensure(&names(), NOW).unwrap();
        let foreign = |name: &str| read(&stranger.dir.join(name)).unwrap();
        // Name, what becomes of it, whether the fault is told, whether a start makes another leaf.
        type Damage<'a> = (&'a str, Option<&'a dyn Fn(&[u8]) -> Vec<u8>>, &'a str, bool);
        let noise = |_: &[u8]| b"x".to_vec();
        let (ca_key, server_crt, server_key) =
            (|_: &[u8]| foreign("ca.key"), |_: &[u8]| foreign("server.crt"), |_: &[u8]| foreign("server.key"));
        let cases: [Damage<'_>; 12] = [
            ("ca.crt", None, "ca.crt is gone", false),
            ("ca.crt", Some(&noise), "ca.crt is damaged", false),
            ("ca.crt", Some(&flipped), "ca.crt is damaged", false),
            ("ca.key", None, "ca.key is gone", false),
            ("ca.key", Some(&noise), "ca.key is damaged", false),
            ("ca.key", Some(&ca_key), "ca.key is the key of another authority", false),
            ("server.crt", None, "server.crt is gone", true),
            ("server.crt", Some(&flipped), "signature", true),
            ("server.crt", Some(&server_crt), "key of another certificate", true),
            ("server.key", None, "server.key is gone", true),
            ("server.key", Some(&noise), "server.key is damaged", true),
            ("server.key", Some(&server_key), "key of another certificate", true),
        ];
        for (name, content, told, remade) in cases {
            let (_temp, certificates) = fresh();
            let path = certificates.dir.join(name);
            let before = certificates.ca().unwrap();
            match content {
                Some(content) => data::write(&path, &content(&read(&path).unwrap())).unwrap(),
                None => std::fs::remove_file(&path).unwrap(),
            }
            let faults = certificates.faults(Some("example.org"), NOW);
            assert!(faults.iter().any(|fault| fault.contains(told)), "{name}: {faults:?}");
            assert!(faults.iter().all(|fault| fault.contains("cert renew")), "{name}: {faults:?}");
            assert_eq!(certificates.ensure(&names(), NOW).unwrap(), remade, "{name} {told}");
            assert_eq!(certificates.ca().unwrap(), before, "{name} {told}");
            certificates.acceptor().unwrap();
            let healed = name != "ca.key";
            assert_eq!(certificates.faults(Some("example.org"), NOW).is_empty(), healed, "{name} {told}");
        }
        // Nothing is left that could be served: then it is said, and nothing is made.
        let (_temp, certificates) = fresh();
        for name in ["ca.crt", "server.crt"] {
            std::fs::remove_file(certificates.dir.join(name)).unwrap();
        }
        let said = certificates.ensure(&names(), NOW).unwrap_err().0;
        assert!(said.contains("ca.crt is gone") && said.contains("cert renew --authority"), "{said}");
        assert!(!certificates.ca_path().exists());
        certificates.renew_authority(&names(), NOW).unwrap();
        assert_eq!(certificates.faults(Some("example.org"), NOW), Vec::<String>::new());
        assert!(certificates.dir.join("ca.key.before").exists());
    }

    #[test]
    fn names_of_all_letters_are_written_as_dns_has_them() {
        // The codes are those of Python's codec "punycode".
        for (name, ascii) in [
            ("example.org", "example.org"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("münchen.straßenbahn.example", "xn--mnchen-3ya.xn--straenbahn-83a.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
            ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
        ] {
            assert_eq!(a_labels(name), ascii);
        }
        let temp = Temp::new();
        let certificates = Certificates { dir: temp.0.join("cert") };
        let names = Names { domain: "bücher.example".into(), hosts: vec![], addresses: vec![] };
        certificates.ensure(&names, NOW).unwrap();
        let facts = certificates.current().unwrap().1;
        assert_eq!(facts.names[..2], ["xn--bcher-kva.example", "conference.xn--bcher-kva.example"]);
        assert!(facts.covers("bücher.example"));
        assert!(!certificates.ensure(&names, NOW).unwrap());
    }

    #[test]
    fn wildcards_stand_for_one_label() {
        let (_temp, certificates) = fresh();
        let mut facts = certificates.ca().unwrap();
        facts.names = vec!["*.example.org".into()];
        assert!(facts.covers("chat.example.org") && !facts.covers("example.org") && !facts.covers("a.b.example.org"));
    }
}
