//! What waits for a stream to another server: in order, with limits, whose it is.

use crate::core::share::{Shared, Shares, limits};
use crate::wire::{Condition, Kind, Stanza, StanzaError};
use std::collections::VecDeque;
use std::sync::Arc;

/// Messages and requests that may wait for a stream between two domains.
pub const OUTBOX_STANZAS: usize = 128;
/// What may wait for it, in bytes, presence included.
pub const PEER_OUTBOX_BYTES: usize = 256 * 1024;
/// What may wait for all such streams together, in bytes.
pub const PEER_OUTBOXES_BYTES: usize = 4 * 1024 * 1024;
/// What may wait for a pinned server, in bytes.
pub const PINNED_OUTBOX_BYTES: usize = 1024 * 1024;
/// How long a message may wait for a pinned server, in milliseconds.
pub const PINNED_OUTBOX_MS: u64 = 7 * 86_400_000;
/// What a stanza that waits costs besides its text, in bytes, about.
const STANZA_AROUND_BYTES: usize = 192;

/// For the table in `src/lib.rs`.
pub const SHARED: Shared = Shared {
    what: "what waits for a stream to another server",
    whole: limits![PEER_OUTBOXES_BYTES, PEER_OUTBOX_BYTES, OUTBOX_STANZAS, PINNED_OUTBOX_BYTES],
    share: "an account, or the domain of a component: the rule; between two domains, the next two, or the last if the owner has pinned the other",
    checked: "core/peers/outbox.rs",
    told: "`resource-constraint`: wait until that server is reached; presence is dropped",
};

/// What waits for one stream.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<(Stanza, Arc<str>)>,
    bytes: usize,
    /// Messages and requests in it.
    stanzas: usize,
}

impl Outbox {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// One more of somebody's. `stays`: also while nothing comes of a stream.
    ///
    /// # Errors
    /// Too much waits already.
    pub(super) fn push(
        &mut self,
        stanza: Stanza,
        who: &str,
        stays: bool,
        shares: &mut Shares,
    ) -> Result<(), StanzaError> {
        let bytes = cost(&stanza);
        let counts = usize::from(stanza.kind != Kind::Presence);
        let full = match stays {
            true => self.bytes + bytes > PINNED_OUTBOX_BYTES,
            false => self.bytes + bytes > PEER_OUTBOX_BYTES || self.stanzas + counts > OUTBOX_STANZAS,
        };
        if full || !shares.may(who, bytes, PEER_OUTBOXES_BYTES) {
            let error = StanzaError::new(Condition::ResourceConstraint);
            return Err(error.text("too much waits for that server, which is not reached yet"));
        }
        self.bytes += bytes;
        self.stanzas += counts;
        let who = shares.add(who, bytes);
        self.waiting.push_back((stanza, who));
        Ok(())
    }

    /// One more before all others. It was taken before, and is in any case.
    pub(super) fn push_first(&mut self, stanza: Stanza, who: &str, shares: &mut Shares) {
        self.bytes += cost(&stanza);
        self.stanzas += usize::from(stanza.kind != Kind::Presence);
        let who = shares.add(who, cost(&stanza));
        self.waiting.push_front((stanza, who));
    }

    /// Whether something waits that is stored.
    pub(super) fn has_stored(&self) -> bool {
        self.waiting.iter().any(|(stanza, _)| stanza.mark > 0)
    }

    /// The number of the last in the log.
    pub(super) fn mark_last(&mut self, mark: u64) {
        if let Some((stanza, _)) = self.waiting.back_mut() {
            stanza.mark = mark;
        }
    }

    /// The last is taken back.
    pub(super) fn take_last(&mut self, shares: &mut Shares) {
        if let Some((stanza, who)) = self.waiting.pop_back() {
            self.forget(&stanza, &who, shares);
        }
    }

    /// The first, if it may go.
    pub(super) fn next(&mut self, shares: &mut Shares, may: impl Fn(&Stanza) -> bool) -> Option<Stanza> {
        self.waiting.front().filter(|(stanza, _)| may(stanza))?;
        let (stanza, who) = self.waiting.pop_front()?;
        self.forget(&stanza, &who, shares);
        Some(stanza)
    }

    fn forget(&mut self, stanza: &Stanza, who: &str, shares: &mut Shares) {
        self.bytes -= cost(stanza);
        self.stanzas -= usize::from(stanza.kind != Kind::Presence);
        shares.take(who, cost(stanza));
    }

    /// All of it, in order.
    pub(super) fn take(&mut self, shares: &mut Shares) -> Vec<Stanza> {
        let all = std::mem::take(self);
        let one = |(stanza, who): (Stanza, Arc<str>)| {
            shares.take(&who, cost(&stanza));
            stanza
        };
        all.waiting.into_iter().map(one).collect()
    }
}

fn cost(stanza: &Stanza) -> usize {
    STANZA_AROUND_BYTES + stanza.bytes()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Type;

    #[test]
    fn it_has_limits_and_keeps_order() {
        let (mut outbox, mut shares) = (Outbox::default(), Shares::default());
        let message = |n: usize| Stanza::new(Kind::Message, Type::Chat).with_id(&n.to_string());
        for n in 0..OUTBOX_STANZAS {
            outbox.push(message(n), "juliet@capulet.example", false, &mut shares).unwrap();
        }
        assert!(outbox.push(message(1000), "juliet@capulet.example", false, &mut shares).is_err());
        let presence = Stanza::new(Kind::Presence, Type::None);
        let mut more = 0;
        while outbox.push(presence.clone(), "juliet@capulet.example", false, &mut shares).is_ok() {
            more += 1;
        }
        assert!(more > OUTBOX_STANZAS && outbox.bytes <= PEER_OUTBOX_BYTES);
        let taken = outbox.take(&mut shares);
        let ids: Vec<_> = taken.iter().take(OUTBOX_STANZAS).map(|m| m.id().unwrap().into_owned()).collect();
        assert!(ids.iter().enumerate().all(|(n, id)| *id == n.to_string()));
        assert_eq!((shares.all(), outbox.bytes, outbox.stanzas), (0, 0, 0));
    }

    #[test]
    fn nobody_has_more_than_is_left_to_the_others() {
        let mut shares = Shares::default();
        let big = || Stanza::new(Kind::Message, Type::Chat).with(format!("<body>{}</body>", "x".repeat(50_000)));
        let mut outboxes: Vec<Outbox> = (0..100).map(|_| Outbox::default()).collect();
        for outbox in &mut outboxes {
            while outbox.push(big(), "greedy@capulet.example", false, &mut shares).is_ok() {}
        }
        assert!(shares.all() <= PEER_OUTBOXES_BYTES / 2);
        assert!(Outbox::default().push(big(), "juliet@capulet.example", false, &mut shares).is_ok());
    }
}
