//! What was on its way to other servers when the power failed, as the end of the log tells it: it waits for a stream again, in order.

use super::leaving::{Leaving, Named, OnItsWay};
use super::session::{PEER_RESUME_MS, PEER_SESSIONS, PeerSession, UNACKNOWLEDGED};
use crate::core::message::Counted;
use crate::core::state::State;
use crate::core::work::Timer;
use crate::wire::{DomainPair, Refusal, Stanza};
use std::collections::BTreeMap;

/// Of the streams between two domains on which something was heard, so many may be asked for: on more than one the peer does not say anything.
const HEARD_OF_PAIR: usize = 2;

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
            let Ok(line) = self.peers.line_for(&pair, 0, None) else {
                let stanzas = messages.into_iter().map(|(stanza, _)| stanza).collect();
                self.send_back(&pair, stanzas, &Refusal::wait("this server talks to too many others at the moment"));
                continue;
            };
            line.keep_until = PEER_RESUME_MS;
            let last = messages.iter().rev().find_map(|(_, counted)| Some(counted.as_ref()?.stream));
            let name = last.and_then(|number| Some((number, leaving.name(number)?)));
            let rest = match name.filter(|(_, named)| named.pair == pair) {
                Some((number, named)) => self.carried_before(number, named, messages),
                None => messages.into_iter().map(|(stanza, _)| stanza).collect(),
            };
            self.wait_again(&pair, rest);
            self.set_timer(0, Timer::PeerRetry(pair));
        }
        // Whoever has said something there and cannot be dialled waits to be asked for it.
        let mut heard: BTreeMap<DomainPair, usize> = BTreeMap::new();
        for (number, named) in leaving.names() {
            let handled = self.streams.ended.get(&number).and_then(|ended| ended.handled);
            let comes = handled.is_some() || self.settings.federation.kept.contains(&named.pair.theirs);
            if !comes || self.peers.sessions.contains_key(&number) {
                continue;
            }
            let of_pair = heard.entry(named.pair.clone()).or_default();
            *of_pair += 1;
            if *of_pair <= HEARD_OF_PAIR && self.peers.sessions.len() < PEER_SESSIONS {
                self.recover_session(number, &named, Vec::new());
            }
        }
    }

    /// What one stream carried waits to be carried on. Gives the other messages.
    fn carried_before(&mut self, number: u64, named: &Named, messages: Vec<OnItsWay>) -> Vec<Stanza> {
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
        self.recover_session(number, named, sent);
        if let Some(line) = self.peers.line_mut(&named.pair) {
            line.lost = Some(number);
        }
        rest
    }

    /// A session of before waits for a stream again, with what the peer is not known to have.
    fn recover_session(&mut self, number: u64, named: &Named, sent: Vec<(u32, Stanza)>) {
        let handled = self.streams.ended.get(&number).and_then(|ended| ended.handled).unwrap_or(0);
        let mut session = PeerSession::new(named.pair.clone(), Some(named.id.clone()), number);
        self.peers.unacknowledged += session.restore(sent, handled);
        session.until = PEER_RESUME_MS;
        session.managed.sets_return_timer();
        self.set_timer(PEER_RESUME_MS, Timer::PeerLost(number));
        self.peers.sessions.insert(number, session);
    }
}
