//! The authorities that this box trusts: the list of the system, or else the one in this program, and those of its owner.
//!
//! Nothing of them stays in memory. Of a list of 140, a certificate is of one: that one is looked for when a certificate is judged, in
//! the file as it is then.

use memchr::memmem;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, TrustAnchor};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where systems have their list, in the order in which it is looked for.
const SYSTEM: [&str; 6] = [
    // Debian, Alpine, Arch, OpenWrt.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora and its kin.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
    // Alpine without the package; BSD.
    "/etc/ssl/cert.pem",
    "/usr/local/etc/ssl/cert.pem",
];
/// Bytes that are read of a list.
const LIST_BYTES: u64 = 4 * 1024 * 1024;

/// The authorities that are trusted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Roots {
    system: Vec<PathBuf>,
    own: Option<PathBuf>,
}

impl Roots {
    /// Those of the system or of this program, and those in a PEM file of the owner.
    pub fn new(ca_file: Option<PathBuf>) -> Roots {
        Roots { system: SYSTEM.iter().map(PathBuf::from).collect(), own: ca_file }
    }

    /// Only those in a file.
    #[cfg(test)]
    pub(super) fn only(file: PathBuf) -> Roots {
        Roots { system: vec!["/dev/null".into()], own: Some(file) }
    }

    /// The list of the system, if there is one: else the one in this program counts, which is as old as that.
    pub fn system_file(&self) -> Option<&Path> {
        self.system.iter().map(PathBuf::as_path).find(|path| path.exists())
    }

    /// How many certificates are in the owner's file; for whoever sets it.
    ///
    /// # Errors
    /// When it cannot be read, or has none: in words.
    pub fn look_at(ca_file: &Path) -> Result<usize, String> {
        let shown = ca_file.display();
        let pem = read(ca_file).map_err(|e| format!("{shown} cannot be read: {e}"))?;
        let usable = |der: &CertificateDer<'_>| webpki_anchor(der).is_some();
        match certificates(&pem).filter(usable).count() {
            0 => Err(format!("there is no certificate of an authority in {shown}: it must have BEGIN CERTIFICATE")),
            n => Ok(n),
        }
    }

    /// Those of them that could have signed something: by their names, which are DER without its head.
    pub(super) fn named(&self, names: &[&[u8]]) -> RootCertStore {
        let mut store = RootCertStore::empty();
        let is_wanted = |anchor: &TrustAnchor<'_>| names.contains(&anchor.subject.as_ref());
        let mut lists: Vec<&Path> = self.system_file().into_iter().collect();
        if lists.is_empty() {
            store.roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().filter(|anchor| is_wanted(anchor)).cloned());
        }
        lists.extend(self.own.as_deref());
        for list in lists {
            let pem = read(list).unwrap_or_else(|e| {
                log::warn!("the authorities in {} cannot be read: {e}", list.display());
                Vec::new()
            });
            for der in certificates(&pem) {
                // To look for a name is quicker than to read the certificate.
                if names.iter().any(|name| memmem::find(&der, name).is_some()) {
                    store.roots.extend(webpki_anchor(&der).filter(|anchor| is_wanted(anchor)));
                }
            }
        }
        store
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LIST_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Those that are readable as PEM.
fn certificates(pem: &[u8]) -> impl Iterator<Item = CertificateDer<'static>> + '_ {
    CertificateDer::pem_slice_iter(pem).filter_map(Result::ok)
}

fn webpki_anchor(der: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    let mut store = RootCertStore::empty();
    store.add(der.clone().into_owned()).ok()?;
    store.roots.pop()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;

    fn authority(name: &str) -> (String, Vec<u8>) {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let made = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let anchor = webpki_anchor(made.der()).unwrap();
        (made.pem(), anchor.subject.as_ref().to_vec())
    }

    #[test]
    fn those_with_the_name_are_found_in_both_lists() {
        let temp = Temp::new();
        std::fs::create_dir_all(&temp.0).unwrap();
        let (system, own) = (temp.0.join("system"), temp.0.join("own"));
        let (a, b, c) = (authority("A"), authority("B"), authority("C"));
        std::fs::write(
            &system,
            format!("{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}", a.0, b.0),
        )
        .unwrap();
        std::fs::write(&own, &c.0).unwrap();
        let roots = Roots { system: vec!["/nonexistent".into(), system.clone()], own: Some(own.clone()) };
        assert_eq!(roots.system_file(), Some(&*system));
        let found = |names: &[&[u8]]| roots.named(names).roots.len();
        assert_eq!([found(&[&a.1]), found(&[&b.1, &c.1]), found(&[b"none"]), found(&[])], [1, 2, 0, 0]);
        assert_eq!(Roots::look_at(&system), Ok(2));
        std::fs::write(&own, "nothing").unwrap();
        assert!(Roots::look_at(&own).unwrap_err().contains("BEGIN CERTIFICATE"));
        assert!(Roots::look_at(&temp.0.join("none")).unwrap_err().contains("cannot be read"));
        // Whatever becomes of the file: there are none in it then.
        std::fs::remove_file(&own).unwrap();
        assert_eq!([found(&[&a.1]), found(&[&c.1])], [1, 0]);
    }

    #[test]
    fn a_box_without_a_list_has_the_one_in_the_program() {
        let roots = Roots { system: vec!["/nonexistent".into()], own: None };
        assert_eq!(roots.system_file(), None);
        let some = &webpki_roots::TLS_SERVER_ROOTS[7];
        assert!(roots.named(&[&some.subject]).roots.contains(some));
    }

    #[test]
    fn every_root_of_the_program_is_named_as_it_is_in_files() {
        // The name of an authority in a list of a system is the same bytes.
        let Some(system) = Roots::new(None).system_file().map(Path::to_owned) else { return };
        let pem = read(&system).unwrap();
        let anchors: Vec<_> = certificates(&pem).filter_map(|der| webpki_anchor(&der)).collect();
        assert!(anchors.len() > 50);
        let roots = Roots::new(None);
        for anchor in &anchors[..5] {
            assert!(roots.named(&[anchor.subject.as_ref()]).roots.contains(anchor));
        }
    }
}
