//! What was on its way to other servers when the power failed, as the end of the log tells it: it waits for a stream again, in order.

use super::server::pair_of;
use super::session::{PEER_RESUME_MS, PeerSession, UNACKNOWLEDGED};
use crate::core::message::Counted;
use crate::core::state::State;
use crate::core::work::Timer;
use crate::wire::{DomainPair, Jid, Refusal, Stanza};
use std::collections::BTreeMap;

/// A message, and how it was counted when it was last written to a stream.
type OnItsWay = (Stanza, Option<Counted>);

/// What is read of it.
#[derive(Debug, Default)]
pub(in crate::core) struct Leaving {
    /// The messages by their numbers.
    messages: BTreeMap<u64, OnItsWay>,
    /// What streams are called, and between whom they are.
    names: BTreeMap<u64, (DomainPair, Box<str>)>,
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
            self.names.insert(stream, (DomainPair { ours, theirs }, id.into()));
        }
    }

    /// The messages by who says them to whom, in order.
    fn by_pair(&mut self) -> Vec<(DomainPair, Vec<OnItsWay>)> {
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
}

impl State {
    /// What was on its way to other servers waits for a stream.
    pub(in crate::core) fn recover_leaving(&mut self, mut leaving: Leaving) {
        for (pair, mut messages) in leaving.by_pair() {
            // Of an account that was removed nothing is said any more.
            messages.retain(|(stanza, _)| {
                let is_here = stanza.from.as_ref().is_some_and(|from| self.account(from).is_some());
                if !is_here {
                    self.settle(stanza.mark);
                }
                is_here
            });
            messages.iter().for_each(|(stanza, _)| self.deliveries.leaves(stanza.mark));
            let Ok(line) = self.peers.line_for(&pair, 0) else {
                let stanzas = messages.into_iter().map(|(stanza, _)| stanza).collect();
                self.send_back(&pair, stanzas, &Refusal::wait("this server talks to too many others at the moment"));
                continue;
            };
            line.keep_until = PEER_RESUME_MS;
            let last = messages.iter().rev().find_map(|(_, counted)| Some(counted.as_ref()?.stream));
            let name = last.and_then(|number| Some((number, leaving.names.get(&number)?)));
            let rest = match name.filter(|(_, (named, _))| *named == pair) {
                Some((number, (_, id))) => self.recover_session(number, &pair, id, messages),
                None => messages.into_iter().map(|(stanza, _)| stanza).collect(),
            };
            self.wait_again(&pair, rest);
            self.set_timer(0, Timer::PeerRetry(pair));
        }
    }

    /// What one stream carried waits to be carried on. Gives the other messages.
    fn recover_session(&mut self, number: u64, pair: &DomainPair, id: &str, messages: Vec<OnItsWay>) -> Vec<Stanza> {
        let first = messages.iter().find_map(|(_, counted)| counted.filter(|counted| counted.stream == number));
        let behind = |count: u32| count.wrapping_sub(first.map_or(0, |first| first.count));
        let (mut sent, mut rest) = (Vec::new(), Vec::new());
        for (stanza, counted) in messages {
            match counted.filter(|counted| counted.stream == number) {
                Some(Counted { count, .. }) if (behind(count) as usize) < UNACKNOWLEDGED => sent.push((count, stanza)),
                _ => rest.push(stanza),
            }
        }
        sent.sort_by_key(|(count, _)| behind(*count));
        let handled = self.streams.ended.get(&number).and_then(|ended| ended.handled).unwrap_or(0);
        let mut session = PeerSession::new(pair.clone(), Some(id.into()), number);
        self.peers.unacknowledged += session.restore(sent, handled);
        session.until = PEER_RESUME_MS;
        session.managed.sets_return_timer();
        self.set_timer(PEER_RESUME_MS, Timer::PeerLost(number));
        self.peers.sessions.insert(number, session);
        if let Some(line) = self.peers.line_mut(pair) {
            line.lost = Some(number);
        }
        rest
    }
}
