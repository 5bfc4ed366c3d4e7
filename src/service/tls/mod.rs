//! TLS, with those who connect to us and with the servers that we connect to: the only module that names the TLS crate.
//!
//! [`Acceptor`] and [`Connector`] make a [`Stream`] of a connection. Between servers, the handshake lets everybody pass who has the key of
//! the certificate that they show; [`judge`] says what it is worth, once it is known who the peer says it is.
//!
//! TLS 1.2 and 1.3, ECDHE and AEAD only: older versions and weaker suites are not in the crate. There is no switch.

mod connector;
mod exporter;
mod hello;
mod peer_names;
mod pin;
mod roots;
mod stranger;
mod stream;
mod verdict;
mod verifier;

pub use self::connector::Connector;
pub use self::hello::Protocol;
pub(crate) use self::hello::take;
pub use self::peer_names::PeerNames;
pub use self::pin::{NoPeerKey, PeerKey};
pub use self::roots::Roots;
pub(crate) use self::stranger::{Meeting, NoMeeting, Stranger, is_issuer_known, judged, meet};
pub use self::stream::{Outgoing, Side, Stream};
pub use self::verdict::{Verdict, dane, judge};

use self::hello::{CLIENT_ALPN, SERVER_ALPN, WEB_ALPN};
use self::verifier::HasTheKey;
use crate::service::{Failure, Result};
use crate::stream::Tls;
use ring::digest::{SHA256, SHA384, SHA512, digest};
use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;
use smol::Async;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use x509_parser::oid_registry as oid;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::SignatureAlgorithm;

/// How TLS is made, where that differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// A client's, after STARTTLS.
    StartTls,
    /// A client's, from the first byte (XEP-0368); or a browser's.
    Direct,
    /// Another server's, after STARTTLS. It is asked for its certificate.
    Server,
    /// Another server's, from the first byte.
    ServerDirect,
}

impl Profile {
    const ALL: [Profile; 4] = [Profile::StartTls, Profile::Direct, Profile::Server, Profile::ServerDirect];

    /// The protocols that are spoken behind it. A peer without ALPN is welcome, one that wants another protocol is not (XEP-0368 §4).
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Profile::StartTls | Profile::Server => Vec::new(),
            Profile::Direct => vec![CLIENT_ALPN.to_vec(), WEB_ALPN.to_vec()],
            Profile::ServerDirect => vec![SERVER_ALPN.to_vec()],
        }
    }
}

/// What makes TLS out of connections, with one certificate. Another certificate is another acceptor: tickets of the older
/// one are then refused, so that a resumed session cannot be bound to a certificate that is gone.
pub struct Acceptor {
    /// One for each [`Profile`].
    configs: [Arc<ServerConfig>; Profile::ALL.len()],
    end_point: Box<[u8]>,
    connector: Connector,
}

impl Acceptor {
    /// From PEM: the chain, own certificate first, and its key.
    ///
    /// # Errors
    /// When something is not readable, or the key is not the certificate's.
    pub fn new(chain: &[u8], key: &[u8]) -> Result<Acceptor> {
        let (chain, key) = read(chain, key)?;
        let end_point = end_point(&chain[0])?;
        let clients = Acceptor::clients(chain.clone(), key.clone_key())?;
        let servers = Acceptor::servers(chain.clone(), key.clone_key())?;
        let connector = Connector::new(chain, key).map_err(words)?;
        let configs = Profile::ALL.map(|profile| {
            let mut config = match profile {
                Profile::StartTls | Profile::Direct => clients.clone(),
                Profile::Server | Profile::ServerDirect => servers.clone(),
            };
            config.alpn_protocols = profile.alpn();
            Arc::new(config)
        });
        Ok(Acceptor { configs, end_point, connector })
    }

    /// What makes TLS to other servers, with the same certificate.
    pub fn connector(&self) -> &Connector {
        &self.connector
    }

    fn clients(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(words)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(words)?;
        let mut config = careful(config);
        config.ticketer = Ticketer::new().map_err(words)?;
        // One ticket is what one app uses.
        config.send_tls13_tickets = 1;
        config.key_log = Arc::new(exporter::ExporterSecrets);
        Ok(config)
    }

    /// No session of a server is resumed: it shows its certificate each time.
    fn servers(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<ServerConfig> {
        let provider = Arc::new(default_provider());
        let verifier = Arc::new(HasTheKey(provider.signature_verification_algorithms));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(words)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(words)?;
        let mut config = careful(config);
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// The handshake. The caller limits the time. Gives also what the peer said right behind its part of the handshake. Where TLS comes
    /// first, the peer may want to speak any [`Protocol`]; the profile is for who does not say which.
    ///
    /// # Errors
    /// When there is none to be had with the peer.
    pub async fn accept(&self, socket: Async<TcpStream>, profile: Profile) -> io::Result<(Stream, Tls, Vec<u8>)> {
        let chosen = |wanted: &[Box<[u8]>]| {
            let first = wanted.iter().find_map(|name| Protocol::of(name));
            let profile = match (profile, first) {
                (Profile::Direct | Profile::ServerDirect, Some(Protocol::Server)) => Profile::ServerDirect,
                (Profile::Direct | Profile::ServerDirect, Some(Protocol::Client | Protocol::Web)) => Profile::Direct,
                (profile, _) => profile,
            };
            self.configs[profile as usize].clone()
        };
        let (stream, early, exporter) = Stream::accept(socket, chosen).await?;
        Ok((stream, Tls { exporter, end_point: self.end_point.clone() }, early))
    }
}

/// What is the same for all peers.
fn careful(mut config: ServerConfig) -> ServerConfig {
    // Without the extended master secret (RFC 7627) a TLS 1.2 session cannot be told from another one, and `tls-exporter`
    // would bind to nothing (RFC 9266 §4.2). All that speaks TLS 1.2 since about 2016 has it.
    config.require_ems = true;
    // What comes before the handshake is done can be replayed (XEP-0388 §3): nothing is taken then.
    config.max_early_data_size = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config
}

/// Whether a chain (PEM) is for a domain, and signed by an authority that everybody trusts. Reads files.
pub fn is_public(chain: &[u8], domain: &str, now: u64) -> bool {
    let chain: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
    chain.is_ok_and(|chain| judge(&chain, &Roots::new(None), now).proves(domain).is_ok())
}

/// The certificates, at least one, and the key.
fn read(chain: &[u8], key: &[u8]) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(chain)
        .collect::<std::result::Result<_, _>>()
        .map_err(|e| Failure(format!("the certificate is not readable PEM: {e}")))?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|e| Failure(format!("the key is not readable PEM: {e}")))?;
    match chain.is_empty() {
        true => Err(Failure::new("there is no certificate in the file")),
        false => Ok((chain, key)),
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
    use super::*;
    use crate::service::cert::{Certificates, Names};
    use crate::service::disk::data::{Data, tests::Temp};
    use crate::service::host;
    use rustls::version::{TLS12, TLS13};
    use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
    use std::future::poll_fn;
    use std::io::Write;
    use std::net::TcpListener;

    pub const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

    pub struct Setting {
        pub acceptor: Acceptor,
        roots: RootCertStore,
        leaf: CertificateDer<'static>,
    }

    pub fn setting() -> Setting {
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

    impl Setting {
        /// What a client needs; it checks chain and name.
        pub fn client(&self, version: &'static SupportedProtocolVersion, alpn: &[&[u8]]) -> Arc<ClientConfig> {
            let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
                .with_protocol_versions(&[version])
                .unwrap()
                .with_root_certificates(self.roots.clone())
                .with_no_client_auth();
            config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
            Arc::new(config)
        }
    }

    /// A connection: our end, and theirs.
    pub fn sockets() -> (Async<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Async::new(listener.accept().unwrap().0).unwrap(), theirs)
    }

    type Ends = (io::Result<(Stream, Tls, Vec<u8>)>, io::Result<(ClientConnection, TcpStream)>);

    fn handshake(setting: &Setting, client: Arc<ClientConfig>, profile: Profile) -> Ends {
        let mut client = ClientConnection::new(client, "example.org".try_into().unwrap()).unwrap();
        let (ours, mut theirs) = sockets();
        let thread = std::thread::spawn(move || {
            // It does not wait with its first word until the handshake is done.
            client.writer().write_all(b"hello").unwrap();
            while client.is_handshaking() || client.wants_write() {
                client.complete_io(&mut theirs)?;
            }
            Ok((client, theirs))
        });
        let server = smol::block_on(setting.acceptor.accept(ours, profile));
        (server, thread.join().unwrap())
    }

    #[test]
    fn both_versions_shake_hands_and_bind_the_channel() {
        let setting = setting();
        for (version, which) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
            let config = setting.client(version, &[]);
            // The second one is resumed.
            for resumed in [false, true] {
                let (server, client) = handshake(&setting, config.clone(), Profile::StartTls);
                let ((mut server, tls, mut heard), (mut client, mut theirs)) = (server.unwrap(), client.unwrap());
                assert_eq!(client.protocol_version(), Some(which));
                let suite = client.negotiated_cipher_suite().unwrap().suite();
                let name = suite.as_str().unwrap();
                assert!(name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_"), "{name}");
                assert!(name.contains("GCM") || name.contains("CHACHA20_POLY1305"), "{name}");
                assert_eq!(client.handshake_kind() == Some(rustls::HandshakeKind::Resumed), resumed);
                let exporter = client.export_keying_material([0; 32], exporter::LABEL, Some(b"")).unwrap();
                assert_eq!(tls.exporter, Some(exporter));
                // Our own is signed with ecdsa-with-SHA256.
                assert_eq!(*tls.end_point, *digest(&SHA256, &setting.leaf).as_ref());
                while heard.len() < 5 {
                    assert!(smol::block_on(poll_fn(|cx| server.poll_read(cx, &mut heard))).unwrap() > 0);
                }
                assert_eq!(heard, b"hello");
                smol::block_on(poll_fn(|cx| server.poll_write(cx, b"hello yourself"))).unwrap();
                client.complete_io(&mut theirs).unwrap();
                while client.process_new_packets().unwrap().plaintext_bytes_to_read() == 0 {
                    client.read_tls(&mut theirs).unwrap();
                }
            }
        }
    }

    #[test]
    fn direct_tls_takes_what_is_spoken_here_or_no_alpn() {
        let setting = setting();
        let client = |alpn: &[&[u8]]| setting.client(&TLS13, alpn);
        for profile in [Profile::Direct, Profile::ServerDirect] {
            for (wanted, spoken) in [
                ("http/1.1", Some(Protocol::Web)),
                ("h2 http/1.1", Some(Protocol::Web)),
                ("http/1.1 xmpp-client", Some(Protocol::Client)),
                ("xmpp-server", Some(Protocol::Server)),
                ("h2 xmpp-server xmpp-client", Some(Protocol::Server)),
                ("", None),
            ] {
                let wanted: Vec<&[u8]> = wanted.split_whitespace().map(str::as_bytes).collect();
                let server = handshake(&setting, client(&wanted), profile).0.unwrap().0;
                assert_eq!(server.protocol(), spoken, "{profile:?}");
            }
            let (server, other) = handshake(&setting, client(&[b"h2"]), profile);
            // It is told why.
            assert!(server.is_err() && other.unwrap_err().to_string().contains("NoApplicationProtocol"));
        }
        // After STARTTLS there is nothing to choose.
        handshake(&setting, client(&[b"http/1.1"]), Profile::StartTls).0.unwrap();
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
        let (ours, mut theirs) = sockets();
        theirs.write_all(b"<stream:stream to='example.org'>").unwrap();
        assert!(smol::block_on(setting().acceptor.accept(ours, Profile::StartTls)).is_err());
    }
}
