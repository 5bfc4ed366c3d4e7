//! Who else speaks for a domain: components on this box (XEP-0114) and other servers. Each is a *peer*: a name, how it is reached, what
//! proved it, the streams to it, and an outbox that is there before its stream is.

mod component;
mod kept;
mod outbox;
mod server;
mod shown;
mod table;

pub use outbox::{OUTBOX_STANZAS, PEER_OUTBOX_BYTES, PEER_OUTBOXES_BYTES, SHARED as OUTBOXES};
pub use server::{FAILURES_MS, PeerStatus};
pub(in crate::core) use table::Peers;
pub use table::{PEER_LINES, SHARED as DIALLED};
