//! What connections, sessions and questions are called.

/// A connection and the XML stream on it (RFC 6120 §4): of a client, authenticated or not, or of a component. Named by the world, never
/// used twice in one run.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StreamId(pub u64);

/// A session: a resource that a stream has bound (RFC 6120 §7). It can outlive that stream, and be carried by others after it
/// (XEP-0198 §5).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(u64);

impl SessionId {
    /// The session that this stream has bound, if it has. A stream binds once, so its number is a name for the session, too, and only
    /// what is resumed costs a table of which stream carries which session.
    pub const fn of(stream: StreamId) -> SessionId {
        SessionId(stream.0)
    }
}

/// A question that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Job(pub u64);

/// A name of 16 characters.
pub(super) fn name_of(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    bytes.iter().take(16).map(|b| ALPHABET[(b & 31) as usize] as char).collect()
}
