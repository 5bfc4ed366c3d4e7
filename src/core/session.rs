//! A session: one connected resource.

use super::ids::StreamId;
use super::message::managed::Managed;
use super::message::progress::Progress;
use super::message::quiet::Quiet;
use crate::wire::login::Client;
use crate::wire::{Jid, Stanza};
use ring::hmac;
use std::collections::BTreeSet;
use std::num::NonZeroU64;

/// Sessions that one account may have at a time.
pub const SESSIONS: usize = 32;
/// Addresses that one session may have sent directed presence to (RFC 6121 §4.6), in bytes.
pub const DIRECTED_BYTES: usize = 64 * 1024;
/// What keeping one of them costs besides its text, in bytes.
pub const DIRECTED_AROUND_BYTES: usize = 64;
/// A presence that is broadcast, in bytes: it is kept, and goes to every contact.
pub const PRESENCE_BYTES: usize = 8 * 1024;

/// A bound session.
#[derive(Debug)]
pub struct Session {
    /// Its full JID.
    pub jid: Jid,
    /// Its last broadcast presence while it is available (RFC 6121 §4.2.1).
    pub presence: Option<Stanza>,
    /// The priority in it.
    pub priority: i8,
    /// Whether it asked for the roster, and so gets roster pushes (RFC 6121 §2.1.6).
    pub interested: bool,
    /// Whom it sent directed presence, and not yet took it back.
    pub directed: BTreeSet<Jid>,
    /// The connection that carries it; `None` while it waits for its client to resume it.
    pub stream: Option<StreamId>,
    /// Until when it waits, of [`super::Now::mono`].
    pub waits_until: Option<u64>,
    /// Which client it is of, if that told its id; see [`client_mark`].
    pub client: Option<NonZeroU64>,
    /// Its stream management, if its client enabled it (XEP-0198).
    pub managed: Option<Box<Managed>>,
    /// What its stanzas have made the server store and is not counted yet, in bytes; see [`super::written`].
    pub(super) unpaid: u32,
    /// What its client need not know yet, while that is inactive (XEP-0352) or has no connection.
    pub quiet: Option<Box<Quiet>>,
    /// How far it is with what was stored before it came (XEP-0160), while it is not through.
    pub progress: Option<Box<Progress>>,
}

impl Session {
    /// Of this full JID, on this connection, not available yet.
    pub fn new(jid: Jid, stream: StreamId) -> Session {
        Session {
            jid,
            presence: None,
            priority: 0,
            interested: false,
            directed: BTreeSet::new(),
            stream: Some(stream),
            waits_until: None,
            client: None,
            managed: None,
            unpaid: 0,
            quiet: None,
            progress: None,
        }
    }

    /// All that its client has not acknowledged, or was not even sent, in order.
    pub fn undelivered(&self) -> impl Iterator<Item = &Stanza> {
        let queued = self.managed.iter().flat_map(|managed| managed.unacknowledged());
        let held = self.quiet.iter().flat_map(|quiet| quiet.held());
        queued.chain(held).chain(self.progress.iter().flat_map(|progress| progress.waiting()))
    }

    /// Its account's localpart.
    pub fn local(&self) -> &str {
        // Only accounts bind, and an account has a localpart.
        self.jid.local().unwrap_or_default()
    }

    /// Whether messages to the bare JID reach it (RFC 6121 §8.5.2.1.1).
    pub fn receives(&self) -> bool {
        self.presence.is_some() && self.priority >= 0
    }
}

/// What is kept of a client's id: enough to know it again.
pub(super) fn client_mark(secret: &[u8; 32], client: Client) -> NonZeroU64 {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), &client.0.to_be_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&tag.as_ref()[..8]);
    NonZeroU64::new(u64::from_be_bytes(first)).unwrap_or(NonZeroU64::MIN)
}
