//! What became of a stanza that was handed to a session.

use super::logged::Counted;

/// What became of a stanza for a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::core) enum Handed {
    /// Nobody misses it.
    Dropped,
    /// It was written; whether it arrives, nobody will know.
    Written,
    /// How its stream counts it. While it is held for a client without a connection, that is how it counts it at most: what is
    /// before it may still be dropped, and whoever says to have seen so many has seen it.
    Counted(Counted),
    /// It was written behind something that the client has not shown to have read.
    Unsure,
    /// It waits behind what is older ([`super::progress`]).
    Waits,
}

/// What became of a message that had waited behind older ones.
pub(in crate::core) enum Given {
    /// How the stream counts it, and what it is called.
    Counted((u32, u64)),
    /// It is not known whether it arrives.
    Unsure,
    /// It needs nothing more.
    Sure,
}
