//! Our own: the authority, made once, and the server's certificate, which it signs.

use super::Certificates;
use super::facts::*;
use super::names::{Names, alternative_names};
use super::permitted::Permitted;
use crate::service::disk::data;
use crate::service::{Failure, Result, random};
use crate::wire::punycode::a_labels;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SerialNumber,
};
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::time::{Duration, Instant};

/// What we make.
pub(super) const OWN: [&str; 4] = ["ca.crt", "ca.key", "server.crt", "server.key"];
/// Days that the server's certificate is valid for. Apple's systems take 825 at most from an authority that a person has installed
/// (support.apple.com/103769); 398 is their limit, and that of browsers, for the authorities that systems come with.
const LEAF_DAYS: u64 = 824;
/// Days of them that lie in the past: boards boot without a clock, and so do some that connect.
pub(super) const PAST_DAYS: u64 = 90;
/// How long a change of the certificates waits for another one to end. On a small board a key takes seconds.
const ALONE: Duration = Duration::from_secs(30);
/// How often it looks.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// An upper bound of the X.509 name (RFC 5280 appendix A.1).
const COMMON_NAME_BYTES: usize = 64;
/// The way to another authority.
pub(super) const NEW_AUTHORITY: &str = "Without one: `inglenook cert renew --authority` makes another authority, which must be installed on every device again.";

impl Certificates {
    /// Makes what is missing, and renews the server's certificate when it ends soon, lacks the name of a service or is not whole. `now`:
    /// seconds since 1970. Says whether there is another one than before. The authority is made once: people have installed it, and
    /// while anything is left of it no other one takes its place. Other names and addresses of the box come with the next one.
    ///
    /// # Errors
    /// When files cannot be read or written; when nothing is left that can be served.
    pub(crate) fn ensure(&self, names: &Names, now: u64) -> Result<bool> {
        self.ensure_with(names, now, |facts| facts.not_before > now)
    }

    /// The same when the server starts. By a clock that is behind, a certificate is one of the future; that clock is likely to be set soon,
    /// and whoever keeps the certificate must not be asked for that.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn ensure_at_start(&self, names: &Names, now: u64) -> Result<bool> {
        self.ensure_with(names, now, |facts| {
            if facts.not_before > now {
                log::warn!(
                    "by this box's clock the certificate is not valid yet: set the clock. It is kept for an hour"
                );
            }
            false
        })
    }

    pub(super) fn ensure_with(&self, names: &Names, now: u64, too_young: impl Fn(&Facts) -> bool) -> Result<bool> {
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

    /// The authority, if its certificate and its key are there and whole; else what is wrong with it, and the fix.
    pub(super) fn authority(&self) -> Result<std::result::Result<Facts, String>> {
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
    pub(super) fn leaf(&self) -> Result<std::result::Result<Facts, String>> {
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
    pub(super) fn put_back_ca(&self) -> Result<()> {
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
    pub(crate) fn renew(&self, names: &Names, now: u64) -> Result<()> {
        let _alone = self.alone()?;
        self.make_leaf(names, now)
    }

    /// Keeps other processes and threads from changing the certificates until it is dropped: the server renews them by itself, and a
    /// command may do so at the same moment.
    pub(super) fn alone(&self) -> Result<File> {
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
    pub(super) fn make_leaf(&self, names: &Names, now: u64) -> Result<()> {
        self.take_in()?;
        if !self.ca_path().exists() && !self.dir.join("ca.key").exists() && !self.dir.join("server.crt").exists() {
            return self.make_authority(names, now);
        }
        self.put_back_ca()?;
        if self.permitted().is_some_and(|permitted| !permitted.has_name(&a_labels(&names.domain))) {
            log::warn!("the domain is another one, for which the authority does not sign: another authority is made");
            return self.make_authority(names, now);
        }
        self.sign(names, now)
    }

    /// The certificate, by the authority that is there.
    pub(super) fn sign(&self, names: &Names, now: u64) -> Result<()> {
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
        let permitted = ders(ca_pem.as_bytes()).first().and_then(|ca| Permitted::read(ca));
        params.custom_extensions = vec![alternative_names(names, permitted.as_ref())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        // Old servers want the second of who connects to them (ejabberd before 25.08); apps do not mind it.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
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
    pub(crate) fn renew_authority(&self, names: &Names, now: u64) -> Result<()> {
        let _alone = self.alone()?;
        self.make_authority(names, now)
    }

    /// The same, when the caller has the folder [alone](Self::alone).
    pub(super) fn make_authority(&self, names: &Names, now: u64) -> Result<()> {
        let building = Certificates { dir: self.dir.join("building") };
        let made = self.build(&building, names, now);
        if made.is_err() {
            // What is left of it is removed the next time, else.
            let _ = std::fs::remove_dir_all(&building.dir);
        }
        made?;
        self.take_in()
    }

    pub(super) fn build(&self, building: &Certificates, names: &Names, now: u64) -> Result<()> {
        let failed = |e: std::io::Error| Failure(format!("{} cannot be made: {e}.", building.dir.display()));
        match std::fs::remove_dir_all(&building.dir) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => data::make_dir(&building.dir).map_err(failed)?,
        }
        building.make_ca(names)?;
        if let Some(key) = maybe(&self.dir.join("server.key"))?.filter(|key| own_key(key).is_some()) {
            data::write(&building.dir.join("server.key"), &key)?;
        }
        building.sign(names, now)?;
        std::fs::rename(&building.dir, self.dir.join("new")).and_then(|()| self.sync()).map_err(failed)
    }

    /// Has what was made in a folder of its own take its place, whole: also after the power has failed in the middle of that.
    pub(super) fn take_in(&self) -> Result<()> {
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

    pub(super) fn sync(&self) -> std::io::Result<()> {
        std::fs::File::open(&self.dir)?.sync_all()
    }

    /// Gives a file that counts no more another name.
    pub(super) fn put_aside(&self, name: &str) -> Result<()> {
        let path = self.dir.join(name);
        match std::fs::rename(&path, self.dir.join(format!("{name}.before"))) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure(format!("{} cannot be renamed: {e}.", path.display())))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn make_ca(&self, names: &Names) -> Result<()> {
        data::make_dir(&self.dir).map_err(|e| Failure(format!("{} cannot be made: {e}.", self.dir.display())))?;
        let key = self.make_key("ca.key")?;
        // 2020 to 2049: whatever the clock says, and the last year that all date formats of certificates know.
        let mut params = params("", 1_577_836_800, 2_524_607_999)?;
        let tag = random()?;
        let name = format!("Inglenook CA {:02x}{:02x}{:02x} {}", tag[0], tag[1], tag[2], names.domain);
        params.distinguished_name.push(DnType::CommonName, shortened(&name));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(Permitted::of(&names.domain, &names.hosts, &names.addresses).constraints());
        // Names say nothing of programs and mails: for those it is no authority.
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let ca = params.self_signed(&key).map_err(words)?;
        data::write(&self.ca_path(), ca.pem().as_bytes())
    }

    pub(super) fn key(&self, name: &str) -> Result<KeyPair> {
        let path = self.dir.join(name);
        KeyPair::from_pem(&read_text(&path)?)
            .map_err(|e| Failure(format!("{} holds no usable key: {e}.", path.display())))
    }

    pub(super) fn make_key(&self, name: &str) -> Result<KeyPair> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(words)?;
        data::write(&self.dir.join(name), key.serialize_pem().as_bytes())?;
        Ok(key)
    }
}

/// The parameters that all have in common. Seconds since 1970.
pub(super) fn params(name: &str, not_before: u64, not_after: u64) -> Result<CertificateParams> {
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

pub(super) fn shortened(name: &str) -> &str {
    let mut end = name.len().min(COMMON_NAME_BYTES);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}

pub(super) fn words(error: rcgen::Error) -> Failure {
    Failure(format!("the certificate cannot be made: {error}."))
}
