//! A stream between two servers (RFC 6120), in both directions: who dials has the outgoing end of it, who is dialled the incoming one.
//!
//! Before TLS it can say `<starttls/>` and nothing else. Behind TLS each of the two proves that it may speak for its domain: by the
//! certificate that it showed and SASL EXTERNAL (XEP-0178), by a key that the owner has pinned, or by dialback (XEP-0220). One stream is
//! for one [pair of domains](crate::wire::DomainPair); who asks for more on the same stream, by dialback's words, gets them. With
//! XEP-0288 stanzas go both ways; with stream management (XEP-0198) both ends know what the other has.
//!
//! Who the other end is, the world around judges ([`Evidence`]); whether it may federate with us, the core.

mod dialback;
mod incoming;
mod line;
mod manage;
mod outgoing;
mod servers;
#[cfg(test)]
mod tests;

pub use dialback::DialbackSecret;
pub use limits::*;
pub use line::{Event, Evidence, Purpose, ServerTerms};
pub use servers::S2s;

mod limits {
    use crate::stream::Mono;

    /// Before anything is proved: time from the connection on, in milliseconds.
    pub const SERVER_UNPROVED_MS: Mono = 20_000;
    /// Before anything is proved: bytes read in all, besides TLS's handshake.
    pub const SERVER_UNPROVED_BYTES: usize = 64 * 1024;
    /// The longest stanza of a server, in bytes: it was one of somebody else's users before, whose server may allow more than ours.
    pub const SERVER_STANZA_BYTES: usize = 512 * 1024;
    /// Pairs of domains that one stream may be for.
    pub const STREAM_PAIRS: usize = 16;
    /// Time for an answer to what we want of stream management, in milliseconds: it may wait for the peer's storage.
    pub const SERVER_MANAGED_MS: Mono = 60_000;
    /// Silence after which whoever dialled ends a stream, in milliseconds.
    pub const SERVER_IDLE_MS: Mono = 900_000;
    /// Silence after which whoever was dialled ends one, in milliseconds.
    pub const SERVER_DEAF_MS: Mono = 3_600_000;
}
