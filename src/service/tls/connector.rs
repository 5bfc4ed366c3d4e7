//! TLS towards other servers.

use super::hello::SERVER_ALPN;
use super::stream::Outgoing;
use super::verifier::HasTheKey;
use crate::wire::Refusal;
use crate::wire::punycode::a_labels;
use rustls::client::Resumption;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{AlertDescription, ClientConfig, Error};
use smol::Async;
use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;

/// What makes TLS out of connections that we have made, with one certificate of ours.
pub struct Connector {
    starttls: Arc<ClientConfig>,
    direct: Arc<ClientConfig>,
}

impl Connector {
    /// It always shows this certificate, whatever authorities the peer names. TLS 1.2 and 1.3, the suites as for those who connect to us.
    /// No session is resumed.
    pub(super) fn new(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<Connector, Error> {
        let provider = Arc::new(default_provider());
        let verifier = Arc::new(HasTheKey(provider.signature_verification_algorithms));
        let mut starttls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(chain, key)?;
        starttls.resumption = Resumption::disabled();
        starttls.require_ems = true;
        let mut direct = starttls.clone();
        direct.alpn_protocols = vec![SERVER_ALPN.to_vec()];
        Ok(Connector { starttls: Arc::new(starttls), direct: Arc::new(direct) })
    }

    /// The handshake with the server of a domain, as it stands in addresses: SNI is the domain, whatever host that is (XEP-0368 §3, RFC 6120
    /// §13.7.2). `direct`: it is not preceded by STARTTLS. The caller limits the time, and [judges](super::judge) the peer's certificate.
    /// Gives also what the peer said right behind its part of the handshake.
    ///
    /// # Errors
    /// When there is none to be had with the peer.
    pub async fn connect(
        &self,
        socket: Async<TcpStream>,
        domain: &str,
        direct: bool,
    ) -> Result<(Outgoing, Vec<u8>), Refusal> {
        let inside = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
        let name = ServerName::try_from(a_labels(inside))
            .map_err(|_| Refusal::gone(format!("{domain} is no name that TLS could ask for")))?;
        let config = if direct { &self.direct } else { &self.starttls };
        Outgoing::connect(socket, config.clone(), name).await.map_err(|e| Refusal::wait(words(&e)))
    }
}

/// Why there is no TLS, and whose fault that is.
fn words(error: &io::Error) -> String {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match of_tls {
        Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)) => {
            "there is TLS, but not for servers of XMPP (no_application_protocol)".into()
        }
        Some(Error::AlertReceived(alert)) => format!("it refuses TLS with this server: {alert:?}"),
        Some(
            Error::InvalidMessage(_) | Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. },
        ) => "what it says is not TLS".into(),
        Some(Error::PeerIncompatible(why)) => format!("its TLS is too old: {why:?}"),
        Some(other) => format!("TLS with it has failed: {other}"),
        None if error.kind() == ErrorKind::UnexpectedEof => {
            "it closed the connection in the middle of TLS's handshake".into()
        }
        None => format!("the connection broke in TLS's handshake: {error}"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::verdict::tests::{Authority, NOW, date};
    use super::super::{Acceptor, PeerKey, Profile, Roots, Stream, judge};
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::future::poll_fn;
    use std::net::TcpListener;

    fn ends() -> (Async<TcpStream>, Async<TcpStream>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Async::new(ours).unwrap(), Async::new(listener.accept().unwrap().0).unwrap())
    }

    fn connector(chain: &[u8], key: &[u8]) -> Connector {
        let (chain, key) = super::super::read(chain, key).unwrap();
        Connector::new(chain, key).unwrap()
    }

    struct Server {
        acceptor: Acceptor,
        connector: Connector,
        key: PeerKey,
    }

    fn server(authority: &Authority, name: &str) -> Server {
        let (chain, key) = authority.pem(&authority.params(name));
        let leaf = super::super::read(chain.as_bytes(), key.as_bytes()).unwrap().0;
        Server {
            acceptor: Acceptor::new(chain.as_bytes(), key.as_bytes()).unwrap(),
            connector: connector(chain.as_bytes(), key.as_bytes()),
            key: PeerKey::of_certificate(&leaf[0]).unwrap(),
        }
    }

    type Result2<T> = (Result<(Outgoing, Vec<u8>), Refusal>, io::Result<T>);

    fn meet(from: &Server, to: &Server, domain: &str, direct: bool, profile: Profile) -> Result2<Stream> {
        let (ours, theirs) = ends();
        smol::block_on(smol::future::zip(from.connector.connect(ours, domain, direct), async {
            to.acceptor.accept(theirs, profile).await.map(|(stream, _, _)| stream)
        }))
    }

    #[test]
    fn two_servers_see_each_others_certificates_and_talk() {
        let (authority, other) = (Authority::new("A"), Authority::new("B"));
        let (a, b) = (server(&authority, "a.example"), server(&other, "b.example"));
        for (direct, profile) in
            [(false, Profile::Server), (true, Profile::ServerDirect), (false, Profile::ServerDirect)]
        {
            let (ours, theirs) = meet(&a, &b, "b.example", direct, profile);
            let (mut ours, mut theirs) = (ours.unwrap().0, theirs.unwrap());
            let far = judge(ours.peer_chain(), &other.roots(), NOW);
            assert_eq!((far.proves("b.example"), far.is_pinned(&b.key)), (Ok(()), Ok(())));
            // Ours is shown though B trusts nobody that A knows.
            let near = judge(theirs.peer_chain(), &authority.roots(), NOW);
            assert_eq!((near.proves("a.example"), near.is_pinned(&a.key)), (Ok(()), Ok(())));
            assert!(judge(theirs.peer_chain(), &other.roots(), NOW).chain.unwrap_err().contains("does not trust"));
            smol::block_on(async {
                let text = vec![b'x'; 100_000];
                let mut heard = Vec::new();
                let say = async {
                    let mut at = 0;
                    while at < text.len() {
                        at += poll_fn(|cx| ours.poll_write(cx, &text[at..])).await.unwrap();
                    }
                    poll_fn(|cx| ours.poll_close(cx)).await.unwrap();
                };
                let hear = async { while poll_fn(|cx| theirs.poll_read(cx, &mut heard)).await.unwrap() > 0 {} };
                smol::future::zip(say, hear).await;
                assert!(heard == text);
                poll_fn(|cx| theirs.poll_write(cx, b"yes")).await.unwrap();
                heard.clear();
                while heard.len() < 3 {
                    poll_fn(|cx| ours.poll_read(cx, &mut heard)).await.unwrap();
                }
                assert_eq!(heard, b"yes");
            });
        }
    }

    #[test]
    fn names_are_asked_for_as_dns_has_them() {
        let authority = Authority::new("A");
        let (a, b) = (server(&authority, "a.example"), server(&authority, "xn--bcher-kva.example"));
        let (ours, _) = meet(&a, &b, "bücher.example", true, Profile::ServerDirect);
        assert_eq!(judge(ours.unwrap().0.peer_chain(), &authority.roots(), NOW).proves("bücher.example"), Ok(()));
        meet(&a, &b, "[::1]", false, Profile::Server).0.unwrap();
        let why = smol::block_on(a.connector.connect(ends().0, "a b", false)).map(|_| ()).unwrap_err();
        assert!(why.text.contains("no name"), "{why}");
    }

    #[test]
    fn a_port_that_is_for_others_is_told_so() {
        let authority = Authority::new("A");
        let (a, b) = (server(&authority, "a.example"), server(&authority, "b.example"));
        // One of ours is for servers, too, and they are asked for their certificates.
        let (ours, theirs) = meet(&a, &b, "b.example", true, Profile::Direct);
        ours.unwrap();
        assert!(!theirs.unwrap().peer_chain().is_empty());
        // Behind STARTTLS nothing is named.
        meet(&a, &b, "b.example", false, Profile::StartTls).0.unwrap();
        let (chain, key) = authority.pem(&authority.params("b.example"));
        let (chain, key) = super::super::read(chain.as_bytes(), key.as_bytes()).unwrap();
        let mut web = rustls::ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        web.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (ours, theirs) = ends();
        let connect = a.connector.connect(ours, "b.example", true);
        let (ours, theirs) = smol::block_on(smol::future::zip(connect, Stream::accept(theirs, |_| Arc::new(web))));
        assert!(theirs.is_err());
        assert!(ours.map(|_| ()).unwrap_err().text.contains("not for servers of XMPP"));
    }

    #[test]
    fn a_peer_without_a_certificate_is_let_in_and_is_nobody() {
        let authority = Authority::new("A");
        let b = server(&authority, "b.example");
        let provider = Arc::new(default_provider());
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let config = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(HasTheKey(provider.signature_verification_algorithms)))
                .with_no_client_auth();
            let (ours, theirs) = ends();
            let name = ServerName::try_from("b.example").unwrap();
            let (ours, theirs) = smol::block_on(smol::future::zip(
                Outgoing::connect(ours, Arc::new(config), name),
                b.acceptor.accept(theirs, Profile::Server),
            ));
            ours.unwrap();
            let verdict = judge(theirs.unwrap().0.peer_chain(), &authority.roots(), NOW);
            assert_eq!(verdict.chain, Err("it has shown no certificate".into()));
            assert!(verdict.proves("a.example").is_err() && verdict.is_pinned(&b.key).is_err());
        }
    }

    /// Whoever shows a certificate must have its key, in both versions and at both ends.
    #[test]
    fn a_certificate_without_its_key_is_refused() {
        let authority = Authority::new("A");
        let b = server(&authority, "b.example");
        let (chain, _) = authority.pem(&authority.params("a.example"));
        let chain =
            super::super::read(chain.as_bytes(), KeyPair::generate().unwrap().serialize_pem().as_bytes()).unwrap().0;
        let stolen = || {
            let other = PrivateKeyDer::try_from(KeyPair::generate().unwrap().serialize_der()).unwrap();
            let key = rustls::crypto::ring::sign::any_supported_type(&other).unwrap();
            Arc::new(rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain.clone(), key)))
        };
        let provider = Arc::new(default_provider());
        let verifier = Arc::new(HasTheKey(provider.signature_verification_algorithms));
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let client = ClientConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(verifier.clone())
                .with_client_cert_resolver(stolen());
            let (ours, theirs) = ends();
            let name = ServerName::try_from("b.example").unwrap();
            let connect = Outgoing::connect(ours, Arc::new(client), name.clone());
            let (_, accepted) = smol::block_on(smol::future::zip(connect, b.acceptor.accept(theirs, Profile::Server)));
            assert!(accepted.is_err());
            let server = rustls::ServerConfig::builder_with_provider(provider.clone())
                .with_protocol_versions(&[version])
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(stolen());
            let (ours, theirs) = ends();
            let connect = b.connector.connect(ours, "b.example", false);
            let (connected, _) =
                smol::block_on(smol::future::zip(connect, Stream::accept(theirs, |_| Arc::new(server))));
            let why = connected.map(|_| ()).unwrap_err();
            assert!(why.text.contains("failed"), "{why}");
        }
    }

    #[test]
    fn what_is_no_tls_is_told_so() {
        let b = server(&Authority::new("A"), "b.example");
        for (said, words) in [
            (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "not TLS"),
            (&b""[..], "in the middle"),
            (&[21, 3, 3, 0, 2, 2, 40][..], "refuses TLS"),
        ] {
            let (ours, theirs) = ends();
            let mut theirs = theirs.into_inner().unwrap();
            theirs.set_nonblocking(false).unwrap();
            let thread = std::thread::spawn(move || {
                let mut hello = [0; 5];
                std::io::Read::read_exact(&mut theirs, &mut hello).unwrap();
                let mut rest = vec![0; u16::from_be_bytes([hello[3], hello[4]]).into()];
                std::io::Read::read_exact(&mut theirs, &mut rest).unwrap();
                std::io::Write::write_all(&mut theirs, said).unwrap();
            });
            let why = smol::block_on(b.connector.connect(ours, "b.example", true)).map(|_| ()).unwrap_err();
            assert!(why.text.contains(words), "{why}");
            thread.join().unwrap();
        }
    }

    /// Self-made certificates do for who has agreed on keys, in 1970 as well.
    #[test]
    fn a_pinned_key_needs_neither_authority_nor_clock() {
        let authority = Authority::new("A");
        let key = KeyPair::generate().unwrap();
        let mut params: CertificateParams = authority.params("office.local");
        date(&mut params, 0, 1);
        let own = params.self_signed(&key).unwrap();
        let b = Server {
            acceptor: Acceptor::new(own.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap(),
            connector: connector(own.pem().as_bytes(), key.serialize_pem().as_bytes()),
            key: PeerKey::of_certificate(own.der()).unwrap(),
        };
        let a = server(&authority, "a.example");
        let (ours, theirs) = meet(&a, &b, "other.local", false, Profile::Server);
        let verdict = judge(ours.unwrap().0.peer_chain(), &Roots::new(None), 0);
        assert!(verdict.chain.is_err() && verdict.is_pinned(&b.key).is_ok());
        let why = verdict.is_pinned(&a.key).unwrap_err();
        assert!(why.contains(&b.key.to_string()) && why.contains("somebody else"), "{why}");
        assert!(theirs.is_ok());
        let (_, theirs) = meet(&b, &a, "a.example", false, Profile::Server);
        assert_eq!(judge(theirs.unwrap().peer_chain(), &authority.roots(), 0).is_pinned(&b.key), Ok(()));
    }
}
