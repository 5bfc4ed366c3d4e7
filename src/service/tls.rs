//! TLS for those who connect to us: the only file that names the TLS crate.
//!
//! TLS 1.2 and 1.3, ECDHE and AEAD only: older versions and weaker suites are not in the crate. There is no switch.

use super::{Failure, Result};
use crate::stream;
use async_rustls::rustls::crypto::ring::{Ticketer, default_provider};
use async_rustls::rustls::pki_types::pem::PemObject;
use async_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use async_rustls::rustls::server::NoServerSessionStorage;
use async_rustls::rustls::{self, ServerConfig};
use ring::digest::{SHA256, SHA384, SHA512, digest};
use smol::io::{AsyncRead, AsyncWrite};
use std::io;
use std::sync::Arc;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// The protocol's name in ALPN (XEP-0368 §4).
const ALPN: &[u8] = b"xmpp-client";

/// The label of `tls-exporter` (RFC 9266 §4.2).
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// A connection inside TLS.
pub type Stream<IO> = async_rustls::server::TlsStream<IO>;

/// What makes TLS out of connections, with one certificate. Another certificate is another acceptor: tickets of the older
/// one are then refused, so that a resumed session cannot be bound to a certificate that is gone.
pub struct Acceptor {
    starttls: async_rustls::TlsAcceptor,
    direct: async_rustls::TlsAcceptor,
    end_point: Box<[u8]>,
}

impl Acceptor {
    /// From PEM: the chain, own certificate first, and its key.
    ///
    /// # Errors
    /// When something is not readable, or the key is not the certificate's.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Acceptor> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
            .collect::<std::result::Result<_, _>>()
            .map_err(|e| Failure(format!("the certificate is not readable PEM: {e}")))?;
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|e| Failure(format!("the key is not readable PEM: {e}")))?;
        let end_point = end_point(chain.first().ok_or_else(|| Failure::new("there is no certificate in the file"))?)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(words)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(words)?;
        // Without the extended master secret (RFC 7627) a TLS 1.2 session cannot be told from another one, and `tls-exporter`
        // would bind to nothing (RFC 9266 §4.2). All that speaks TLS 1.2 since about 2016 has it.
        config.require_ems = true;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.ticketer = Ticketer::new().map_err(words)?;
        // One ticket is what one app uses.
        config.send_tls13_tickets = 1;
        let starttls = Arc::new(config.clone());
        // A client without ALPN is welcome, one that wants another protocol is not (XEP-0368 §4).
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Acceptor { starttls: starttls.into(), direct: Arc::new(config).into(), end_point })
    }

    /// The handshake. `direct`: from the first byte, not after STARTTLS. The caller limits the time.
    ///
    /// # Errors
    /// When there is none to be had with the peer.
    pub async fn accept<IO>(&self, io: IO, direct: bool) -> io::Result<(Stream<IO>, stream::Tls)>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = if direct { &self.direct } else { &self.starttls };
        let tls = acceptor.accept(io).await?;
        let exporter = tls.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).ok();
        Ok((tls, stream::Tls { exporter, end_point: self.end_point.clone() }))
    }
}

fn words(error: rustls::Error) -> Failure {
    match error {
        rustls::Error::InconsistentKeys(_) => Failure::new("the key does not belong to the certificate"),
        other => Failure(format!("TLS cannot use the certificate or its key: {other}")),
    }
}

/// `tls-server-end-point` (RFC 5929 §4.1): the certificate's hash, by the hash function of its signature; SHA-256 in place of
/// MD5 and SHA-1. Ed25519 names none: it works with SHA-512 inside.
fn end_point(certificate: &[u8]) -> Result<Box<[u8]>> {
    let unreadable = |_| Failure::new("the certificate is not readable");
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(unreadable)?;
    let signature = &parsed.signature_algorithm;
    let algorithm = match SignatureAlgorithm::try_from(signature) {
        Ok(SignatureAlgorithm::RSASSA_PSS(params)) => match params.hash_algorithm_oid() {
            hash if *hash == oid::OID_NIST_HASH_SHA384 => &SHA384,
            hash if *hash == oid::OID_NIST_HASH_SHA512 => &SHA512,
            _ => &SHA256,
        },
        _ => match &signature.algorithm {
            o if *o == oid::OID_PKCS1_SHA384WITHRSA || *o == oid::OID_SIG_ECDSA_WITH_SHA384 => &SHA384,
            o if *o == oid::OID_PKCS1_SHA512WITHRSA || *o == oid::OID_SIG_ECDSA_WITH_SHA512 => &SHA512,
            o if *o == oid::OID_SIG_ED25519 => &SHA512,
            _ => &SHA256,
        },
    };
    Ok(digest(algorithm, certificate).as_ref().into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cert::{Certificates, Names};
    use super::super::data::{Data, tests::Temp};
    use super::super::host;
    use super::*;
    use async_rustls::rustls::version::{TLS12, TLS13};
    use async_rustls::rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
    use smol::io::{AsyncReadExt, AsyncWriteExt};
    use smol::net::unix::UnixStream;

    struct Setting {
        acceptor: Acceptor,
        roots: RootCertStore,
        leaf: CertificateDer<'static>,
    }

    fn setting() -> Setting {
        let temp = Temp::new();
        let certificates = Certificates::of(&Data::locate(Some(&temp.0)));
        let names = Names { domain: "example.org".into(), hosts: vec![], addresses: vec!["fd00::5".parse().unwrap()] };
        certificates.ensure(&names, host::now()).unwrap();
        let (pair, _) = certificates.current().unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(certificates.ca_path()).unwrap()).unwrap();
        let leaf = CertificateDer::from_pem_slice(&pair.chain).unwrap();
        Setting { acceptor: Acceptor::new(&pair.chain, &pair.key).unwrap(), roots, leaf }
    }

    type Ends =
        (io::Result<(Stream<UnixStream>, stream::Tls)>, io::Result<async_rustls::client::TlsStream<UnixStream>>);

    fn handshake(setting: &Setting, version: &'static SupportedProtocolVersion, alpn: &[&[u8]], direct: bool) -> Ends {
        let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(setting.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
        let connector = async_rustls::TlsConnector::from(Arc::new(config));
        let (ours, theirs) = UnixStream::pair().unwrap();
        let server = async { setting.acceptor.accept(ours, direct).await };
        let client = async { connector.connect("example.org".try_into().unwrap(), theirs).await };
        smol::block_on(smol::future::zip(server, client))
    }

    #[test]
    fn both_versions_shake_hands_and_bind_the_channel() {
        let setting = setting();
        for (version, which) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let (server, client) = handshake(&setting, version, &[], false);
            // The client has checked chain and name.
            let ((mut server, tls), mut client) = (server.unwrap(), client.unwrap());
            assert_eq!(server.get_ref().1.protocol_version(), Some(which));
            let suite = server.get_ref().1.negotiated_cipher_suite().unwrap().suite();
            let name = suite.as_str().unwrap();
            assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
            assert!(name.contains("GCM") || name.contains("CHACHA20_POLY1305"), "{name}");
            let exporter = client.get_ref().1.export_keying_material([0; 32], EXPORTER_LABEL, Some(b"")).unwrap();
            assert_eq!(tls.exporter, Some(exporter));
            // Our own is signed with ecdsa-with-SHA256.
            assert_eq!(*tls.end_point, *digest(&SHA256, &setting.leaf).as_ref());
            smol::block_on(async {
                client.write_all(b"hello").await.unwrap();
                client.flush().await.unwrap();
                let mut read = [0; 5];
                server.read_exact(&mut read).await.unwrap();
                assert_eq!(&read, b"hello");
            });
        }
    }

    #[test]
    fn direct_tls_takes_xmpp_or_no_alpn() {
        let setting = setting();
        let (server, client) = handshake(&setting, &TLS13, &[b"http/1.1", b"xmpp-client"], true);
        assert_eq!(server.unwrap().0.get_ref().1.alpn_protocol(), Some(ALPN));
        client.unwrap();
        handshake(&setting, &TLS13, &[], true).0.unwrap();
        let (server, client) = handshake(&setting, &TLS13, &[b"http/1.1"], true);
        assert!(server.is_err() && client.is_err());
        // After STARTTLS there is nothing to choose.
        handshake(&setting, &TLS13, &[b"http/1.1"], false).0.unwrap();
    }

    #[test]
    fn the_hash_follows_the_signature() {
        let sign = |algorithm| {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let params = rcgen::CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
            params.self_signed(&key).unwrap().der().to_vec()
        };
        for (algorithm, hash) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, &SHA256),
            (&rcgen::PKCS_ECDSA_P384_SHA384, &SHA384),
            (&rcgen::PKCS_ED25519, &SHA512),
        ] {
            let certificate = sign(algorithm);
            assert_eq!(*end_point(&certificate).unwrap(), *digest(hash, &certificate).as_ref());
        }
    }

    #[test]
    fn bytes_that_are_no_tls_end_the_handshake() {
        let setting = setting();
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        smol::block_on(async {
            theirs.write_all(b"<stream:stream to='example.org'>").await.unwrap();
            assert!(setting.acceptor.accept(ours, false).await.is_err());
        });
    }
}
