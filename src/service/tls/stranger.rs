//! TLS as a stranger makes it who wants to see what is there: everybody is let pass, and it is told what was seen.

use super::hello::Protocol;
use super::roots::Roots;
use super::stream::Outgoing;
use super::verdict::{Verdict, issuer, judge};
use super::verifier::HasTheKey;
use crate::service::lock;
use crate::wire::punycode::a_labels;
use rustls::InvalidMessage::{CertificatePayloadTooLarge, HandshakePayloadTooLarge};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, DigitallySignedStruct, Error, NamedGroup, SignatureScheme};
use smol::Async;
use std::io;
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

/// RSA keys below this many bits are what the crate below makes no signature of out.
const CHECKED_BITS: usize = 2048;

/// How a stranger makes TLS.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stranger<'a> {
    /// The domain, as SNI; `None`: nothing is said of it.
    pub domain: Option<&'a str>,
    /// TLS 1.2 alone, rather than 1.3 alone.
    pub old: bool,
    /// What is to be spoken inside (RFC 7301).
    pub protocols: &'a [&'a [u8]],
    /// A certificate and its key (PKCS #8), both DER.
    pub identity: Option<(&'a [u8], &'a [u8])>,
}

/// What was seen.
pub(crate) struct Meeting {
    pub stream: Outgoing,
    /// What the peer said behind the handshake.
    pub early: Vec<u8>,
    /// The certificates, DER, its own first.
    pub chain: Vec<Vec<u8>>,
    /// Whether what comes before the end of a handshake would be taken with a ticket that it gave (0-RTT).
    pub tickets: Tickets,
}

/// Why there is no TLS.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NoMeeting {
    /// Whether it is because of what was to be spoken inside.
    pub of_protocol: bool,
    /// Whether the peer has refused; else it was silent, or has said more than is read here, which proves nothing.
    pub refused: bool,
    /// For people.
    pub why: String,
}

/// The handshake. The caller limits the time.
///
/// # Errors
/// When there is none to be had so.
pub(crate) async fn meet(socket: Async<TcpStream>, stranger: Stranger<'_>) -> Result<Meeting, NoMeeting> {
    let failed = |why: String| NoMeeting { of_protocol: false, refused: false, why };
    let domain = stranger.domain.unwrap_or("nobody.invalid");
    let inside = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(domain);
    let name = ServerName::try_from(a_labels(inside)).map_err(|_| failed(format!("{domain} is no name")))?;
    let tickets = Tickets::default();
    let config = config(stranger, &tickets).map_err(|e| failed(e.to_string()))?;
    match Outgoing::connect(socket, Arc::new(config), name).await {
        Ok((stream, early)) => {
            let chain = stream.peer_chain().iter().map(|der| der.to_vec()).collect();
            Ok(Meeting { stream, early, chain, tickets })
        }
        Err(e) => Err(words(&e)),
    }
}

fn config(stranger: Stranger<'_>, tickets: &Tickets) -> Result<ClientConfig, Error> {
    let provider = Arc::new(default_provider());
    let lenient = Arc::new(Lenient(HasTheKey(provider.signature_verification_algorithms)));
    let version = if stranger.old { &TLS12 } else { &TLS13 };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])?
        .dangerous()
        .with_custom_certificate_verifier(lenient);
    let mut config = match stranger.identity {
        Some((certificate, key)) => builder.with_client_auth_cert(
            vec![CertificateDer::from(certificate.to_vec())],
            PrivatePkcs8KeyDer::from(key.to_vec()).into(),
        )?,
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = stranger.domain.is_some();
    config.alpn_protocols = stranger.protocols.iter().map(|name| name.to_vec()).collect();
    config.resumption = Resumption::store(Arc::new(tickets.clone()));
    Ok(config)
}

fn words(error: &io::Error) -> NoMeeting {
    let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let of_protocol = matches!(of_tls, Some(Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
    // What is general is a limit of ours.
    let refused = !matches!(
        of_tls,
        Some(Error::General(_) | Error::InvalidMessage(CertificatePayloadTooLarge | HandshakePayloadTooLarge))
    );
    NoMeeting { of_protocol, refused, why: of_tls.map_or_else(|| error.to_string(), Error::to_string) }
}

impl Meeting {
    /// The protocol that both have agreed on, if it is one of ours.
    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.stream.protocol()
    }

    /// Whether they have agreed on any.
    pub(crate) fn has_agreed(&self) -> bool {
        self.stream.has_agreed()
    }
}

/// What a chain is worth for who trusts what this box trusts. `now`: seconds since 1970.
pub(crate) fn judged(chain: &[Vec<u8>], now: u64) -> Verdict {
    let chain: Vec<CertificateDer<'_>> = chain.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    judge(&chain, &Roots::new(None), now)
}

/// Whether this box trusts somebody with the name of who has signed that certificate (DER).
pub(crate) fn is_issuer_known(certificate: &[u8]) -> bool {
    let name = issuer(&CertificateDer::from(certificate));
    name.is_some_and(|name| !Roots::new(None).named(&[&name]).is_empty())
}

/// Lets everybody pass who has the key of the certificate that they show, as far as that can be told.
#[derive(Debug)]
struct Lenient(HasTheKey);

/// Whether a key is so short that nothing it has signed can be looked at here.
fn is_short(der: &[u8]) -> bool {
    let Ok((_, parsed)) = X509Certificate::from_der(der) else { return false };
    matches!(parsed.public_key().parsed(), Ok(PublicKey::RSA(key)) if key.key_size() < CHECKED_BITS)
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_short(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        ServerCertVerifier::verify_tls12_signature(&self.0, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if is_short(cert) {
            return Ok(HandshakeSignatureValid::assertion());
        }
        ServerCertVerifier::verify_tls13_signature(&self.0, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(&self.0)
    }
}

/// What the tickets of a connection say; none is ever used.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tickets(Arc<Mutex<u32>>);

impl Tickets {
    /// Whether with one of them something would be taken before the handshake is done.
    pub(crate) fn take_early_data(&self) -> bool {
        *lock(&self.0) > 0
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {}

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {}

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        let mut most = lock(&self.0);
        *most = (*most).max(value.max_early_data_size());
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}
