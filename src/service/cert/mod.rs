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

use crate::ext::SERVICES;
use crate::service::disk::{
    data::{self, Data},
    wear::date,
};
use crate::service::{Failure, Result, host, random, tls};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SerialNumber,
};
use rustix::fs::{FlockOperation, flock};
use std::fmt::Write as _;
use std::fs::File;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use x509_parser::error::X509Error;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

/// What we make.
const OWN: [&str; 4] = ["ca.crt", "ca.key", "server.crt", "server.key"];

const DAY: u64 = 86_400;
/// Days that the server's certificate is valid for. Apple's systems take 825 at most from an authority that a person has installed
/// (support.apple.com/103769); 398 is their limit, and that of browsers, for the authorities that systems come with.
const LEAF_DAYS: u64 = 824;
/// Days of them that lie in the past: boards boot without a clock, and so do some that connect.
const PAST_DAYS: u64 = 90;
/// Days before the end at which it is renewed.
const RENEW_DAYS: u64 = 30;
/// Days before the end at which an installed one, which we cannot renew, is warned of.
const WARN_DAYS: u64 = 14;
/// How long a change of the certificates waits for another one to end. On a small board a key takes seconds.
const ALONE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// An upper bound of the X.509 name (RFC 5280 appendix A.1).
const COMMON_NAME_BYTES: usize = 64;

/// The way to another authority.
const NEW_AUTHORITY: &str = "Without one: `inglenook cert renew --authority` makes another authority, which must be installed on every device again.";
/// The keys that TLS can use.
const KINDS: &str = "These work: ECDSA with P-256 or P-384, RSA from 2048 bits on, Ed25519. A new one: `openssl genpkey -algorithm EC \
                     -pkeyopt ec_paramgen_curve:P-256 -out KEY`; the certificate must be made for it.";

/// Under which names and addresses the server is reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Names {
    /// The XMPP domain, as it stands in addresses.
    pub domain: String,
    /// Names of the host.
    pub hosts: Vec<String>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
}

impl Names {
    /// Those of this box.
    pub fn of_host(domain: &str) -> Names {
        let mut hosts = vec![host::name(), format!("{}.local", host::label())];
        hosts.dedup();
        Names { domain: domain.to_owned(), hosts, addresses: host::addresses() }
    }

    /// The domain and its services, as DNS has them.
    fn served(&self) -> Vec<String> {
        let domain = a_labels(&self.domain);
        let services = SERVICES.iter().map(|s| format!("{s}.{domain}"));
        std::iter::once(domain.clone()).chain(services).collect()
    }

    /// What stands in the certificate as dNSName: the domain first; addresses too, for clients that look for them there.
    fn dns(&self) -> Vec<String> {
        let mut names = self.served();
        names.extend(self.hosts.iter().cloned());
        names.extend(self.addresses.iter().map(IpAddr::to_string));
        let mut seen = std::collections::BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        names
    }
}

/// What a certificate says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Facts {
    /// The subject, as a line.
    pub subject: String,
    /// The issuer, as a line.
    pub issuer: String,
    /// dNSName entries.
    pub names: Vec<String>,
    /// iPAddress entries.
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
    pub fn covers(&self, name: &str) -> bool {
        let name = &*a_labels(name);
        let parent = name.split_once('.').map(|(_, parent)| parent);
        self.names
            .iter()
            .any(|n| n.eq_ignore_ascii_case(name) || n.strip_prefix("*.").is_some_and(|n| Some(n) == parent))
    }

    /// Whole days from `now` (seconds since 1970) to its end.
    pub fn days_left(&self, now: u64) -> u64 {
        self.not_after.saturating_sub(now) / DAY
    }

    /// When our own is renewed, in seconds since 1970.
    pub fn renewed_at(&self) -> u64 {
        self.not_after.saturating_sub(RENEW_DAYS * DAY)
    }

    /// Whether it ends so soon that who has installed it should get the next.
    pub fn ends_soon(&self, now: u64) -> bool {
        self.days_left(now) < WARN_DAYS
    }

    /// The names and addresses that this box has and the certificate lacks, for people. Apps look for the domain: so these are no
    /// reason to make another certificate before its time.
    pub fn lacks(&self, names: &Names) -> Vec<String> {
        names.dns().into_iter().filter(|name| !self.names.contains(name)).collect()
    }

    /// What an owner compares with what apps show.
    pub fn line(&self, installed: bool) -> String {
        let whose = if installed { "installed" } else { "own" };
        format!("certificate  SHA-256 {} (apps show this one); {whose}, until {}", self.fingerprint, self.until)
    }

    /// What an owner is told of our own: until when it holds, and when those will be asked who have not installed the authority.
    pub fn told(&self) -> String {
        format!(
            "until {}; renewed on {}, when apps that keep the certificate itself (Gajim) ask everybody again",
            date(self.not_after),
            date(self.renewed_at())
        )
    }
}

/// A chain and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    /// The own certificate first.
    pub chain: Vec<u8>,
    /// The key.
    pub key: Vec<u8>,
    /// Whether the administrator installed it.
    pub installed: bool,
}

/// The certificates of a data folder.
#[derive(Clone, Debug)]
pub struct Certificates {
    dir: PathBuf,
}

impl Certificates {
    /// Those of this folder.
    pub fn of(data: &Data) -> Certificates {
        Certificates { dir: data.certificates() }
    }

    /// Where the authority's certificate is, for people to install.
    pub fn ca_path(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// The time to judge and make certificates by, in seconds since 1970. A box whose clock is not set must not take a good
    /// certificate for one of the future, and make one that has ended for everybody else: our own was made before now.
    pub fn now(&self) -> u64 {
        if host::clock_is_set() {
            return host::clock();
        }
        let made = first(&self.dir.join("server.crt")).map_or(0, |facts| facts.not_before + PAST_DAYS * DAY);
        host::now().max(made)
    }

    /// Where the one is that the administrator has installed.
    pub fn installed_path(&self) -> PathBuf {
        self.dir.join("installed.pem")
    }

    /// Whether there is one.
    pub fn is_installed(&self) -> bool {
        self.installed_path().exists()
    }

    /// The authority.
    ///
    /// # Errors
    /// When there is none yet, or it is not readable.
    pub fn ca(&self) -> Result<Facts> {
        first(&self.ca_path())
    }

    /// Where the authority is, and what systems show that install it.
    ///
    /// # Errors
    /// The same.
    pub fn authority_line(&self) -> Result<String> {
        let (path, ca) = (self.ca_path(), self.ca()?);
        Ok(format!("authority    {}, SHA-256 {} (for installing)", path.display(), ca.fingerprint))
    }

    /// The server's own certificate, whether it is shown or not.
    ///
    /// # Errors
    /// When there is none yet, or it is not readable.
    pub fn own(&self) -> Result<Facts> {
        first(&self.dir.join("server.crt"))
    }

    /// What the server shows, and its facts: the administrator's certificate if there is one, else our own.
    ///
    /// # Errors
    /// When there is none yet, or it is not readable.
    pub fn current(&self) -> Result<(Pair, Facts)> {
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
    pub fn acceptor(&self) -> Result<(tls::Acceptor, Pair, Facts)> {
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

    /// Makes what is missing, and renews the server's certificate when it ends soon, lacks the name of a service or is not whole. `now`:
    /// seconds since 1970. Says whether there is another one than before. The authority is made once: people have installed it, and
    /// while anything is left of it no other one takes its place. Other names and addresses of the box come with the next one.
    ///
    /// # Errors
    /// When files cannot be read or written; when nothing is left that can be served.
    pub fn ensure(&self, names: &Names, now: u64) -> Result<bool> {
        self.ensure_with(names, now, |facts| facts.not_before > now)
    }

    /// The same when the server starts. By a clock that is behind, a certificate is one of the future; that clock is likely to be set soon,
    /// and whoever keeps the certificate must not be asked for that.
    ///
    /// # Errors
    /// The same.
    pub fn ensure_at_start(&self, names: &Names, now: u64) -> Result<bool> {
        self.ensure_with(names, now, |facts| {
            if facts.not_before > now {
                log::warn!(
                    "by this box's clock the certificate is not valid yet: set the clock. It is kept for an hour"
                );
            }
            false
        })
    }

    fn ensure_with(&self, names: &Names, now: u64, too_young: impl Fn(&Facts) -> bool) -> Result<bool> {
        let _alone = self.alone()?;
        self.take_in()?;
        if !OWN.iter().any(|name| self.dir.join(name).exists()) {
            self.make_authority(names, now)?;
            return Ok(true);
        }
        self.put_back_ca()?;
        let (authority, leaf) = (self.authority()?, self.leaf()?);
        let renew = match (&authority, &leaf) {
            (Ok(_), Ok(facts)) => {
                too_young(facts)
                    || facts.days_left(now) < RENEW_DAYS
                    || !names.served().iter().all(|name| facts.names.contains(name))
            }
            (Ok(_), Err(why)) => {
                log::warn!("{why} A new certificate of the same authority is made");
                true
            }
            (Err(why), Ok(_)) => {
                log::error!("{why}");
                false
            }
            (Err(why), Err(also)) => return Err(Failure(format!("{also} {why}"))),
        };
        if renew {
            self.make_leaf(names, now)?;
        }
        Ok(renew)
    }

    /// What is wrong with the files, each with its fix: chain, keys, signatures, names and dates are held against each other.
    /// `now`: seconds since 1970.
    pub fn faults(&self, domain: Option<&str>, now: u64) -> Vec<String> {
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

    /// The authority, if its certificate and its key are there and whole; else what is wrong with it, and the fix.
    fn authority(&self) -> Result<std::result::Result<Facts, String>> {
        let (path, key) = (self.ca_path(), self.dir.join("ca.key"));
        let (pem, key_pem) = (maybe(&path)?, maybe(&key)?);
        let wrong = |what: String| {
            Ok(Err(format!(
                "{what} What people have installed stays as it is: put the file back from a backup. {NEW_AUTHORITY}"
            )))
        };
        let Some(pem) = pem else {
            return wrong(format!("{} is gone: no certificate can be renewed.", path.display()));
        };
        let (Ok(facts), Some(der)) = (parse_all(&path, &pem), ders(&pem).into_iter().next()) else {
            return wrong(format!("{} is damaged: no certificate can be renewed.", path.display()));
        };
        if signatures(&[der.clone(), der.clone()]).is_err() {
            return wrong(format!("{} is damaged: its signature does not hold.", path.display()));
        }
        let Some(key_pem) = key_pem else {
            return wrong(format!("{} is gone: no certificate can be renewed.", key.display()));
        };
        match own_key(&key_pem) {
            None => wrong(format!("{} is damaged: no certificate can be renewed.", key.display())),
            Some(pair) if !belongs(&pair, &der) => {
                wrong(format!("{} is the key of another authority than {}.", key.display(), path.display()))
            }
            Some(_) => Ok(facts.into_iter().next().ok_or_else(|| format!("{} is empty.", path.display()))),
        }
    }

    /// The server's own certificate, if it is whole: its key, and the signature of the authority; else what is wrong with it.
    fn leaf(&self) -> Result<std::result::Result<Facts, String>> {
        let (path, key) = (self.dir.join("server.crt"), self.dir.join("server.key"));
        let (pem, key_pem) = (maybe(&path)?, maybe(&key)?);
        let Some(pem) = pem else { return Ok(Err(format!("{} is gone.", path.display()))) };
        let chain = ders(&pem);
        let (Ok(facts), Some(leaf)) = (parse_all(&path, &pem), chain.first()) else {
            return Ok(Err(format!("{} is damaged.", path.display())));
        };
        let Some(key_pem) = key_pem else { return Ok(Err(format!("{} is gone.", key.display()))) };
        match own_key(&key_pem) {
            None => return Ok(Err(format!("{} is damaged.", key.display()))),
            Some(pair) if !belongs(&pair, leaf) => {
                return Ok(Err(format!(
                    "{} is the key of another certificate than {}.",
                    key.display(),
                    path.display()
                )));
            }
            Some(_) => {}
        }
        let mut signed = chain.clone();
        if let Some(ca) = maybe(&self.ca_path())?.and_then(|ca| ders(&ca).into_iter().next()) {
            if chain.get(1).is_some_and(|sent| *sent != ca) {
                return Ok(Err(format!(
                    "{} is of another authority than {}.",
                    path.display(),
                    self.ca_path().display()
                )));
            }
            signed = vec![leaf.clone(), ca];
        }
        match signatures(&signed) {
            Err(e) => Ok(Err(format!("{} is damaged: {}", path.display(), e.0))),
            Ok(()) => Ok(facts.into_iter().next().ok_or_else(|| format!("{} is empty.", path.display()))),
        }
    }

    /// The authority's certificate is sent along with the server's: if its own file is gone or damaged, that is where it is.
    fn put_back_ca(&self) -> Result<()> {
        let sound = |der: &Vec<u8>| signatures(&[der.clone(), der.clone()]).is_ok();
        if maybe(&self.ca_path())?.is_some_and(|pem| ders(&pem).first().is_some_and(sound)) {
            return Ok(());
        }
        let chain = maybe(&self.dir.join("server.crt"))?.map(|pem| ders(&pem)).unwrap_or_default();
        let [leaf, ca] = &chain[..] else { return Ok(()) };
        let key = maybe(&self.dir.join("ca.key"))?.and_then(|pem| own_key(&pem));
        let is_it =
            sound(ca) && signatures(&[leaf.clone(), ca.clone()]).is_ok() && key.is_none_or(|key| belongs(&key, ca));
        if !is_it {
            return Ok(());
        }
        log::warn!("{} was gone or damaged, and is there again: server.crt has a copy of it", self.ca_path().display());
        data::write(&self.ca_path(), armored(ca).as_bytes())
    }

    /// Makes another certificate for the server, with the same key if there is one.
    ///
    /// # Errors
    /// When files cannot be read or written; when the authority is not whole.
    pub fn renew(&self, names: &Names, now: u64) -> Result<()> {
        let _alone = self.alone()?;
        self.make_leaf(names, now)
    }

    /// Keeps other processes and threads from changing the certificates until it is dropped: the server renews them by itself, and a
    /// command may do so at the same moment.
    fn alone(&self) -> Result<File> {
        let failed = |e: std::io::Error| Failure(format!("{} cannot be used: {e}.", self.dir.display()));
        data::make_dir(&self.dir).map_err(failed)?;
        let folder = File::open(&self.dir).map_err(failed)?;
        let begun = Instant::now();
        loop {
            match flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(folder),
                Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < ALONE => std::thread::sleep(LOOK_AGAIN),
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    let dir = self.dir.display();
                    return Err(Failure(format!(
                        "another process is making certificates in {dir}. Try again when it has ended."
                    )));
                }
                Err(e) => return Err(failed(e.into())),
            }
        }
    }

    /// Makes another certificate. The caller has the folder [alone](Self::alone).
    fn make_leaf(&self, names: &Names, now: u64) -> Result<()> {
        self.take_in()?;
        if !self.ca_path().exists() && !self.dir.join("ca.key").exists() && !self.dir.join("server.crt").exists() {
            return self.make_authority(names, now);
        }
        self.put_back_ca()?;
        self.sign(names, now)
    }

    /// The certificate, by the authority that is there.
    fn sign(&self, names: &Names, now: u64) -> Result<()> {
        self.authority()?
            .map_err(|why| Failure(format!("{why} Or install your own with `inglenook cert install`.")))?;
        let ca_pem = read_text(&self.ca_path())?;
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, self.key("ca.key")?).map_err(words)?;
        let key = match maybe(&self.dir.join("server.key"))?.map(|pem| own_key(&pem)) {
            Some(Some(key)) => key,
            Some(None) => {
                self.put_aside("server.key")?;
                self.make_key("server.key")?
            }
            None => self.make_key("server.key")?,
        };
        let not_before = now.saturating_sub(PAST_DAYS * DAY);
        let mut params = params(&names.domain, not_before, not_before + LEAF_DAYS * DAY)?;
        params.custom_extensions = vec![alternative_names(names)];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        params.use_authority_key_identifier_extension = true;
        let leaf = params.signed_by(&key, &issuer).map_err(words)?;
        data::write(&self.dir.join("server.crt"), format!("{}{ca_pem}", leaf.pem()).as_bytes())
    }

    /// Makes another authority, and a certificate of it. What is there of the old one is kept beside. Whatever happens meanwhile (no room
    /// on the disk, no power), all of the old one is there, or all of the new one: that is made in a folder of its own first.
    ///
    /// # Errors
    /// When files cannot be read or written.
    pub fn renew_authority(&self, names: &Names, now: u64) -> Result<()> {
        let _alone = self.alone()?;
        self.make_authority(names, now)
    }

    /// The same, when the caller has the folder [alone](Self::alone).
    fn make_authority(&self, names: &Names, now: u64) -> Result<()> {
        let building = Certificates { dir: self.dir.join("building") };
        let made = self.build(&building, names, now);
        if made.is_err() {
            // What is left of it is removed the next time, else.
            let _ = std::fs::remove_dir_all(&building.dir);
        }
        made?;
        self.take_in()
    }

    fn build(&self, building: &Certificates, names: &Names, now: u64) -> Result<()> {
        let failed = |e: std::io::Error| Failure(format!("{} cannot be made: {e}.", building.dir.display()));
        match std::fs::remove_dir_all(&building.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => data::make_dir(&building.dir).map_err(failed)?,
        }
        building.make_ca(&names.domain)?;
        if let Some(key) = maybe(&self.dir.join("server.key"))?.filter(|key| own_key(key).is_some()) {
            data::write(&building.dir.join("server.key"), &key)?;
        }
        building.sign(names, now)?;
        std::fs::rename(&building.dir, self.dir.join("new")).and_then(|()| self.sync()).map_err(failed)
    }

    /// Has what was made in a folder of its own take its place, whole: also after the power has failed in the middle of that.
    fn take_in(&self) -> Result<()> {
        let new = self.dir.join("new");
        if !new.exists() {
            return Ok(());
        }
        let failed = |e: std::io::Error| Failure(format!("{} cannot be taken in: {e}.", new.display()));
        for name in OWN {
            let (from, to) = (new.join(name), self.dir.join(name));
            let Some(made) = maybe(&from)? else { continue };
            if maybe(&to)?.is_some_and(|there| there != made) {
                self.put_aside(name)?;
            }
            std::fs::rename(&from, &to).map_err(failed)?;
        }
        // On stable storage before that goes which tells of it.
        self.sync().and_then(|()| std::fs::remove_dir_all(&new)).map_err(failed)
    }

    fn sync(&self) -> std::io::Result<()> {
        std::fs::File::open(&self.dir)?.sync_all()
    }

    /// Gives a file that counts no more another name.
    fn put_aside(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        match std::fs::rename(&path, self.dir.join(format!("{name}.before"))) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure(format!("{} cannot be renamed: {e}.", path.display())))
            }
            _ => Ok(()),
        }
    }

    fn make_ca(&self, domain: &str) -> Result<()> {
        data::make_dir(&self.dir).map_err(|e| Failure(format!("{} cannot be made: {e}.", self.dir.display())))?;
        let key = self.make_key("ca.key")?;
        // 2020 to 2049: whatever the clock says, and the last year that all date formats of certificates know.
        let mut params = params("", 1_577_836_800, 2_524_607_999)?;
        let tag = random()?;
        let name = format!("Inglenook CA {:02x}{:02x}{:02x} {domain}", tag[0], tag[1], tag[2]);
        params.distinguished_name.push(DnType::CommonName, shortened(&name));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca = params.self_signed(&key).map_err(words)?;
        data::write(&self.ca_path(), ca.pem().as_bytes())
    }

    fn key(&self, name: &str) -> Result<KeyPair> {
        let path = self.dir.join(name);
        KeyPair::from_pem(&read_text(&path)?)
            .map_err(|e| Failure(format!("{} holds no usable key: {e}.", path.display())))
    }

    fn make_key(&self, name: &str) -> Result<KeyPair> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(words)?;
        data::write(&self.dir.join(name), key.serialize_pem().as_bytes())?;
        Ok(key)
    }

    /// Takes the administrator's own certificate. Returns remarks that do not stand in the way.
    ///
    /// # Errors
    /// When it cannot serve this domain now, with the reason.
    pub fn install(&self, chain: &Path, key: &Path, domain: &str, now: u64) -> Result<Vec<String>> {
        let (chain_pem, key_pem) = (clean(&read(chain)?), clean(&read(key)?));
        let certificates = parse_all(chain, &chain_pem)?;
        for pair in certificates.windows(2) {
            if pair[0].issuer != pair[1].subject {
                return Err(Failure(format!(
                    "{} is out of order: \"{}\" is issued by \"{}\", but \"{}\" follows. Put the server's certificate first, then \
                     each issuer's behind the one it issued.",
                    chain.display(),
                    pair[0].subject,
                    pair[0].issuer,
                    pair[1].subject
                )));
            }
        }
        if let Some(why) = no_key(key, &key_pem) {
            return Err(Failure(why));
        }
        tls::Acceptor::new(&chain_pem, &key_pem).map_err(|e| match e.0.contains("failed to parse private key") {
            true => Failure(format!("{} is damaged, or of a kind that does not work. {KINDS}", key.display())),
            false => Failure(format!("{} and {} do not work together: {e}.", chain.display(), key.display())),
        })?;
        signatures(&ders(&chain_pem)).map_err(|e| Failure(format!("{} is damaged: {e}", chain.display())))?;
        let leaf = &certificates[0];
        if !leaf.covers(domain) {
            return Err(Failure(format!(
                "{} is for {}, not for {domain}, which this server serves. Get one for {domain}.",
                chain.display(),
                if leaf.names.is_empty() { leaf.subject.clone() } else { leaf.names.join(", ") }
            )));
        }
        if leaf.not_after <= now {
            return Err(Failure(format!("{} ended on {}. Renew it first.", chain.display(), leaf.until)));
        }
        if leaf.not_before > now {
            return Err(Failure(format!(
                "{} is not valid yet by this box's clock. Set the clock, or wait.",
                chain.display()
            )));
        }
        let _alone = self.alone()?;
        let both = [&chain_pem[..], b"\n", &key_pem[..]].concat();
        data::write(&self.dir.join("installed.pem"), &both)?;
        let lacking = SERVICES.iter().map(|s| format!("{s}.{domain}")).filter(|name| !leaf.covers(name));
        let mut remarks: Vec<String> = lacking.map(|name| format!("it does not cover {name}")).collect();
        if certificates.len() == 1 && leaf.issuer != leaf.subject {
            remarks.push(
                "it comes without its issuer's certificate; most providers give a \"full chain\" file: use that".into(),
            );
        }
        if leaf.ends_soon(now) {
            remarks.push(format!("it ends on {}", leaf.until));
        }
        Ok(remarks)
    }
}

/// The parameters that all have in common. Seconds since 1970.
fn params(name: &str, not_before: u64, not_after: u64) -> Result<CertificateParams> {
    let time = |secs| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(secs);
    let mut params = CertificateParams::default();
    params.not_before = time(not_before);
    params.not_after = time(not_after);
    params.distinguished_name = DistinguishedName::new();
    if !name.is_empty() {
        params.distinguished_name.push(DnType::CommonName, shortened(name));
    }
    // By default it would follow from the key, which stays; the pair of issuer and serial number must not (RFC 5280 §4.1.2.2).
    let mut serial = random()?;
    serial[0] = serial[0] & 0x3f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial[..16]));
    Ok(params)
}

fn shortened(name: &str) -> &str {
    let mut end = name.len().min(COMMON_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

/// The subjectAltName (RFC 5280 §4.2.1.6), by hand: RFC 6120 §13.7.1.2 wants otherNames of two string types.
fn alternative_names(names: &Names) -> CustomExtension {
    const IA5_STRING: u8 = 0x16;
    const UTF8_STRING: u8 = 0x0c;
    // 1.3.6.1.5.5.7.8.5 (id-on-xmppAddr) and 1.3.6.1.5.5.7.8.7 (id-on-dnsSRV).
    const XMPP_ADDR: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 8, 5];
    const SRV_NAME: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 8, 7];
    let other = |oid: &[u8], string: u8, value: &str| {
        der(0xa0, &[der(0x06, oid), der(0xa0, &der(string, value.as_bytes()))].concat())
    };
    let mut list = Vec::new();
    for name in names.dns() {
        list.extend(der(0x82, name.as_bytes()));
    }
    for address in &names.addresses {
        match address {
            IpAddr::V4(v4) => list.extend(der(0x87, &v4.octets())),
            IpAddr::V6(v6) => list.extend(der(0x87, &v6.octets())),
        }
    }
    let served = std::iter::once(names.domain.clone()).chain(SERVICES.iter().map(|s| format!("{s}.{}", names.domain)));
    for domain in served {
        list.extend(other(&XMPP_ADDR, UTF8_STRING, &domain));
        let ascii = a_labels(&domain);
        // Clients connect to the domain itself; to the services only other servers do.
        if domain == names.domain {
            list.extend(other(&SRV_NAME, IA5_STRING, &format!("_xmpp-client.{ascii}")));
        }
        list.extend(other(&SRV_NAME, IA5_STRING, &format!("_xmpp-server.{ascii}")));
    }
    CustomExtension::from_oid_content(&[2, 5, 29, 17], der(0x30, &list))
}

/// A name as DNS and dNSName have it: labels with other letters than ASCII's in their `xn--` form (RFC 5890 §2.3.2.1).
pub fn a_labels(name: &str) -> String {
    let label = |label: &str| if label.is_ascii() { label.to_owned() } else { format!("xn--{}", punycode(label)) };
    name.split('.').map(label).collect::<Vec<_>>().join(".")
}

/// Punycode (RFC 3492 §6.3) of one label; saturates where a label is absurdly long.
fn punycode(label: &str) -> String {
    const BASE: u32 = 36;
    let digit = |n: u32| char::from(if n < 26 { b'a' + n as u8 } else { b'0' + (n - 26) as u8 });
    let points: Vec<u32> = label.chars().map(u32::from).collect();
    let mut out: String = label.chars().filter(char::is_ascii).collect();
    let basic = out.len() as u32;
    if basic > 0 {
        out.push('-');
    }
    let (mut at, mut delta, mut bias, mut done) = (128, 0_u32, 72, basic);
    while let Some(next) = points.iter().copied().filter(|p| *p >= at).min() {
        delta = delta.saturating_add((next - at).saturating_mul(done + 1));
        for point in &points {
            if *point < next {
                delta = delta.saturating_add(1);
            } else if *point == next {
                let (mut rest, mut k) = (delta, BASE);
                loop {
                    let threshold = k.saturating_sub(bias).clamp(1, 26);
                    if rest < threshold {
                        break;
                    }
                    out.push(digit(threshold + (rest - threshold) % (BASE - threshold)));
                    rest = (rest - threshold) / (BASE - threshold);
                    k += BASE;
                }
                out.push(digit(rest));
                // RFC 3492 §6.1
                let mut adapted = if done == basic { delta / 700 } else { delta / 2 };
                adapted += adapted / (done + 1);
                bias = 0;
                while adapted > 455 {
                    adapted /= BASE - 1;
                    bias += BASE;
                }
                bias += BASE * adapted / (adapted + 38);
                delta = 0;
                done += 1;
            }
        }
        delta = delta.saturating_add(1);
        at = next + 1;
    }
    out
}

/// One DER value: tag, length, content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len().to_be_bytes();
    let zeros = length.iter().take_while(|b| **b == 0).count();
    match content.len() {
        short @ 0..128 => out.push(short as u8),
        _ => {
            out.push(0x80 | (length.len() - zeros) as u8);
            out.extend_from_slice(&length[zeros..]);
        }
    }
    out.extend_from_slice(content);
    out
}

fn words(error: rcgen::Error) -> Failure {
    Failure(format!("the certificate cannot be made: {error}."))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|e| Failure(format!("{} cannot be read: {e}.", path.display())))
}

/// The same; nothing if it is not there.
fn maybe(path: &Path) -> Result<Option<Vec<u8>>> {
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
fn clean(pem: &[u8]) -> Vec<u8> {
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
fn no_key(path: &Path, pem: &[u8]) -> Option<String> {
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
fn converted(shown: &std::path::Display<'_>) -> String {
    format!(
        "`openssl pkcs12 -in {shown} -nodes -out both.pem` if it is PKCS #12 (.p12, .pfx), then install both.pem both.pem; else \
         `openssl x509 -inform der -in CERT -out cert.pem` and `openssl pkey -inform der -in KEY -out key.pem`."
    )
}

/// The certificates of PEM, as far as they are readable as that.
fn ders(pem: &[u8]) -> Vec<Vec<u8>> {
    let blocks = Pem::iter_from_buffer(pem).map_while(std::result::Result::ok);
    blocks.filter(|block| block.label == "CERTIFICATE").map(|block| block.contents).collect()
}

/// A certificate as PEM.
fn armored(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut out = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out + "-----END CERTIFICATE-----\n"
}

/// Whether each certificate is signed by the next one. One by itself may come without its issuer.
fn signatures(chain: &[Vec<u8>]) -> Result<()> {
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
fn own_key(pem: &[u8]) -> Option<KeyPair> {
    KeyPair::from_pem(std::str::from_utf8(pem).ok()?).ok()
}

/// Whether a key is that of a certificate.
fn belongs(key: &KeyPair, der: &[u8]) -> bool {
    let parsed = x509_parser::parse_x509_certificate(der);
    parsed.is_ok_and(|(_, cert)| cert.public_key().raw == key.subject_public_key_info())
}

/// Why a certificate that is whole does not do.
fn unfit(facts: &Facts, domain: Option<&str>, now: u64) -> Option<String> {
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

fn read_text(path: &Path) -> Result<String> {
    String::from_utf8(read(path)?).map_err(|_| Failure(format!("{} is not PEM.", path.display())))
}

fn first(path: &Path) -> Result<Facts> {
    Ok(parse_all(path, &read(path)?)?.remove(0))
}

/// The certificates of a PEM file: at least one.
fn parse_all(path: &Path, pem: &[u8]) -> Result<Vec<Facts>> {
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

/// Reads one certificate.
pub fn facts(der: &[u8]) -> Option<Facts> {
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

fn fingerprint(der: &[u8]) -> String {
    let mut out = String::new();
    for byte in ring::digest::digest(&ring::digest::SHA256, der).as_ref() {
        let _ = write!(out, "{}{byte:02X}", if out.is_empty() { "" } else { ":" });
    }
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;
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
        let wanted = [
            "example.org",
            "conference.example.org",
            "pubsub.example.org",
            "box",
            "box.local",
            "192.168.1.5",
            "fd00::5",
        ];
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
        assert!(usage.server_auth && !usage.client_auth && !usage.any);
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
        assert!(ca.name_constraints().unwrap().is_none());
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
        assert_eq!(certificates.current().unwrap().1.lacks(&more), ["other", "10.0.0.1"]);
        certificates.renew(&more, NOW).unwrap();
        assert_eq!(certificates.current().unwrap().1.lacks(&more), [""; 0]);
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
        short.custom_extensions = vec![alternative_names(&names())];
        let ca = read_text(&certificates.ca_path()).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&ca, certificates.key("ca.key").unwrap()).unwrap();
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
