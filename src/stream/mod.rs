//! ONE CONNECTION as a state machine: bytes and answers in, bytes and events out. No socket, no clock, no random source.

pub mod c2s;
pub(crate) mod component;
pub mod framing;
mod header;
pub mod plain;
mod random;
pub mod s2s;
pub mod sasl;
mod sasl2;
mod scram;

use crate::wire::framer::Limits;
use crate::wire::login::Begin;
use crate::wire::{Jid, Stanza, StreamFeature};

/// Milliseconds on a clock that never jumps.
pub type Mono = u64;

/// What all streams of a server have in common; shared.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The domain that is served.
    pub domain: Jid,
    /// Whether SASL PLAIN is offered (over TLS, like all else).
    pub plain: bool,
    /// Whether in-band registration (XEP-0077) is offered before authentication.
    pub registration: bool,
    /// Stream features of extensions after authentication.
    pub features: Vec<StreamFeature>,
    /// What can be asked for in `<bind/>` of Bind 2 (XEP-0386 §3.1).
    pub bind_features: Vec<&'static str>,
    /// SCRAM iterations that accounts should have and some have not (XEP-0480); 0: all have.
    pub upgrades: u32,
}

impl Terms {
    /// With nothing but what every stream has.
    pub fn new(domain: Jid) -> Terms {
        Terms { domain, plain: false, registration: false, features: vec![], bind_features: vec![], upgrades: 0 }
    }
}

/// What a stream knows of the TLS connection that carries it. Only a finished handshake makes one.
#[derive(Clone, Debug)]
pub struct Tls {
    /// `tls-exporter` (RFC 9266): 32 bytes under the label `EXPORTER-Channel-Binding`.
    /// Absent for TLS 1.2 without extended master secret.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4.1): the hash of the certificate that we showed.
    pub end_point: Box<[u8]>,
}

/// What a stream asks of the world around it, or tells it.
#[derive(Debug)]
pub enum Event {
    /// STARTTLS was agreed on: write what is to be written, drop what else was read, make TLS (RFC 6120 §5.4.3.3).
    StartTls,
    /// Somebody wants to log in as this bare JID; answer with `credentials`.
    Credentials(Jid),
    /// They proved it.
    Authenticated(Jid),
    /// They did not. With the account if a proof or a password for it was wrong; what failed otherwise (given up, malformed,
    /// trouble on our side) says nothing about a password, and must not count as a guess.
    Failed(Option<Jid>),
    /// All that was asked for with the proof (XEP-0388 §2.6.1); answer with `begun`.
    Begin(Box<Begin>),
    /// Bind this resource or one of the server's choice (RFC 6120 §7); answer with `bound`.
    Bind {
        /// Who is authenticated.
        account: Jid,
        /// What was asked for.
        resource: Option<String>,
    },
    /// A stanza of a bound session.
    Stanza(Stanza),
    /// Stream management from here on (XEP-0198 §3); answer with `manage`.
    Enable {
        /// Whether the client wants to resume the stream later.
        resume: bool,
        /// Within how many seconds, at most.
        max_s: Option<u32>,
    },
    /// Carry on the session of this id (XEP-0198 §5); answer with `manage`.
    Resume {
        /// Who is authenticated.
        account: Jid,
        /// The former stream.
        id: String,
        /// Stanzas of it that the client has handled.
        h: u32,
    },
    /// The client has handled so many stanzas (XEP-0198 §4).
    Acknowledged(u32),
    /// How many of its stanzas were handled? Answer with `manage`.
    Acknowledge,
    /// Whether somebody looks at the client (XEP-0352).
    Active(bool),
    /// An IQ of in-band registration before authentication (XEP-0077), or the token of who is invited (XEP-0445); answer with `send`.
    Register(Stanza),
    /// The client of a session with stream management closed its stream. What it acknowledged before is to be stored, then call
    /// `close`: a client that has read our end forgets the stream.
    Closing,
    /// The stream is over, by their end tag, an error of theirs or of ours: write what is to be written and hang up.
    /// `clean`: they closed it themselves.
    Closed {
        /// Whether the peer ended it with `</stream:stream>`.
        clean: bool,
    },
}

/// Before authentication: bytes read in all, besides the TLS handshake. More is `policy-violation`.
pub const UNAUTHENTICATED_BYTES: usize = 16 * 1024;
/// The part of them that may come before TLS; the rest is for the time between TLS and authentication.
const PLAIN_BYTES: usize = 4 * 1024;
/// The other part: what is asked of every stanza (RFC 6120 §13.12) fits in.
const LOGIN_BYTES: usize = UNAUTHENTICATED_BYTES - PLAIN_BYTES;
/// Before authentication: time from the connection on, in milliseconds.
pub const UNAUTHENTICATED_MS: Mono = 30_000;
/// The longest stanza after authentication, in bytes (RFC 6120 §13.12 asks for 10,000 at least).
pub const STANZA_BYTES: usize = 256 * 1024;
/// Nesting of elements in a stanza, itself included.
pub const STANZA_DEPTH: usize = 64;
/// Elements in a stanza.
pub const STANZA_ELEMENTS: usize = 8192;
/// Attributes of one element.
pub const ELEMENT_ATTRIBUTES: usize = 64;
/// Silence after which a peer is asked whether it is there, in milliseconds.
pub const IDLE_MS: Mono = 600_000;
/// The same of an inactive client with stream management (XEP-0352), which is not woken for that: what is written to it is
/// missed soon enough. A NAT keeps an idle connection longer than that (RFC 5382, REQ-5).
pub const INACTIVE_IDLE_MS: Mono = 7_200_000;
/// How long it may take to answer that, in milliseconds.
pub const IDLE_ANSWER_MS: Mono = 60_000;

/// The limits for one element of a peer that we do not know.
fn small_limits(element_bytes: usize) -> Limits {
    Limits { element_bytes, depth: 8, elements: 64, attributes: 32 }
}

/// The limits for one element of a user.
fn stanza_limits() -> Limits {
    Limits {
        element_bytes: STANZA_BYTES,
        depth: STANZA_DEPTH,
        elements: STANZA_ELEMENTS,
        attributes: ELEMENT_ATTRIBUTES,
    }
}
