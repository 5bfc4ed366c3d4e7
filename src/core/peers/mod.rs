//! Who else speaks for a domain: components on this box (XEP-0114) and other servers. Each is a *peer*: a name, how it is reached, what
//! proved it, the streams to it, and an outbox that is there before its stream is. With stream management, what was said on a stream to a
//! server is kept until that has stored it, and goes on with the next stream.

mod acks;
mod component;
mod kept;
mod leaving;
mod manage;
mod outbox;
mod recover;
mod resume;
mod server;
mod session;
mod shown;
mod table;
#[cfg(test)]
mod tests;

pub(in crate::core) use leaving::Leaving;
pub use outbox::{OUTBOX_STANZAS, PEER_OUTBOX_BYTES, PEER_OUTBOXES_BYTES, SHARED as OUTBOXES};
pub use outbox::{PINNED_OUTBOX_BYTES, PINNED_OUTBOX_MS};
pub use server::{FAILURES_MS, PeerStatus};
pub use session::{PEER_RESUME_MS, PEER_SESSIONS, PEERS_UNACKNOWLEDGED_BYTES, SHARED as UNACKNOWLEDGED};
pub(in crate::core) use table::Peers;
pub use table::{PEER_LINES, SHARED as DIALLED};
