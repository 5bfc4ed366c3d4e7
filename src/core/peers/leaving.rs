//! What the end of the log tells of messages that were on their way to other servers.

use crate::core::message::Counted;
use crate::wire::{Condition, DomainPair, Jid, Stanza, StanzaError};
use std::collections::BTreeMap;

/// A message, and how it was counted when it was last written to a stream.
pub(super) type OnItsWay = (Stanza, Option<Counted>);

/// What is read of it.
#[derive(Debug, Default)]
pub(in crate::core) struct Leaving {
    /// The messages by their numbers.
    messages: BTreeMap<u64, OnItsWay>,
    /// What streams are called, and between whom they are.
    names: BTreeMap<u64, Named>,
}

/// What a peer calls a stream.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) pair: DomainPair,
    pub(super) id: Box<str>,
    /// How many had been named before.
    at: usize,
}

impl Leaving {
    /// A message to another server.
    pub(in crate::core) fn on_their_way(&mut self, message: Stanza, counts: &[Counted]) {
        let counted = counts.first().copied().filter(|counted| counted.stream > 0);
        self.messages.insert(message.mark, (message, counted));
    }

    /// It needs no more delivery.
    pub(in crate::core) fn arrived(&mut self, mark: u64) {
        self.messages.remove(&mark);
    }

    /// Those that waited were written to a stream.
    pub(in crate::core) fn handed(&mut self, stream: u64, messages: &[(u32, u64)]) {
        for (count, mark) in messages {
            if let Some((_, counted)) = self.messages.get_mut(mark) {
                *counted = Some(Counted { stream, count: *count });
            }
        }
    }

    /// What the peer calls a stream.
    pub(in crate::core) fn named(&mut self, stream: u64, (ours, theirs): (&str, &str), id: &str) {
        if let (Ok(ours), Ok(theirs)) = (Jid::parse(ours), Jid::parse(theirs)) {
            let at = self.names.len();
            self.names.entry(stream).or_insert(Named { pair: DomainPair { ours, theirs }, id: id.into(), at });
        }
    }

    /// The messages by who says them to whom, in order.
    pub(super) fn by_pair(&mut self) -> Vec<(DomainPair, Vec<OnItsWay>)> {
        let mut all: Vec<(DomainPair, Vec<OnItsWay>)> = Vec::new();
        for (stanza, counted) in std::mem::take(&mut self.messages).into_values() {
            let Some(pair) = pair_of(&stanza) else { continue };
            match all.iter_mut().find(|(known, _)| *known == pair) {
                Some((_, messages)) => messages.push((stanza, counted)),
                None => all.push((pair, vec![(stanza, counted)])),
            }
        }
        all
    }

    /// What the peer calls a stream, and between whom it is.
    pub(super) fn name(&self, stream: u64) -> Option<&Named> {
        self.names.get(&stream)
    }

    /// All of that by the numbers of the streams, the last one first.
    pub(super) fn names(self) -> Vec<(u64, Named)> {
        let mut names: Vec<_> = self.names.into_iter().collect();
        names.sort_by_key(|(_, named)| std::cmp::Reverse(named.at));
        names
    }
}

/// The domains that a stanza is between.
pub(super) fn pair_of(stanza: &Stanza) -> Option<DomainPair> {
    let (from, to) = (stanza.from.as_ref()?, stanza.to.as_ref()?);
    Some(DomainPair { ours: domain_of(from).ok()?, theirs: domain_of(to).ok()? })
}

/// The domain of an address, as an address.
pub(super) fn domain_of(jid: &Jid) -> Result<Jid, StanzaError> {
    match jid.local().is_none() && jid.is_bare() {
        true => Ok(jid.clone()),
        false => Jid::new(None, jid.domain(), None).map_err(|_| Condition::JidMalformed.into()),
    }
}
