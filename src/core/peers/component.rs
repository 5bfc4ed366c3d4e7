//! External components (XEP-0114): who is attached, and the way to them. A component is a peer on this box: what it says is routed as it
//! is, and what is sent to its domain goes to it, or is refused while it is not there.

use super::shown::Attached;
use crate::core::effect::Effect;
use crate::core::event::Event;
use crate::core::ids::StreamId;
use crate::core::message::rule::is_subscription;
use crate::core::settings::Settings;
use crate::core::state::State;
use crate::core::work::{Timer, Work};
use crate::wire::{
    Condition, DomainPair, ErrorType, Jid, Kind, Proof, Secret, Stanza, StanzaError, StreamCondition, StreamError, Type,
};
use std::collections::BTreeSet;

/// What a component that has come is told at once of presence here, in bytes, about; the rest follows bit by bit, so that its outbox
/// holds it.
const GREETING_BYTES: usize = 128 * 1024;
/// Time between two such bits, in milliseconds.
const GREETING_MS: u64 = 200;

impl State {
    /// The domains of the components that are attached.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.peers.attached.values().map(|attached| attached.domain.domain())
    }

    /// A stream has proved that it is this component. The answer is [`Effect::Bound`] or [`Effect::Close`].
    pub(in crate::core) fn attach(&mut self, stream: StreamId, name: Jid, secret: &Secret) {
        // The settings may be others than those that the stream began with.
        let refused = if self.settings.components.get(&name) != Some(secret) {
            Some(StreamError::new(StreamCondition::NotAuthorized))
        } else if self.component_stream(name.domain()).is_some() {
            // XEP-0114 §3 has this error for a name that is served already. Two that threw each other out would never end.
            Some(StreamError::new(StreamCondition::Conflict).text("this component is connected already"))
        } else {
            None
        };
        if let Some(error) = refused {
            log::info!("the component {name} was refused: {error}");
            return self.effects.push(Effect::Close(stream, Some(error)));
        }
        log::info!("the component {name} is connected");
        let pair = DomainPair { ours: self.domain().clone(), theirs: name.clone() };
        self.peers.open(stream, &pair, Proof::Secret, self.now.mono);
        self.peers.attached.insert(stream, Attached::new(name.clone()));
        self.effects.push(Effect::Bound(stream, Ok(name)));
        let contacts = self.contacts_at(stream);
        if let Some(attached) = self.peers.attached.get_mut(&stream) {
            attached.greetings = contacts.into();
        }
        self.greet(stream);
    }

    /// The contacts at a component of everybody who is available.
    fn contacts_at(&self, stream: StreamId) -> Vec<(Box<str>, Jid)> {
        let Some(domain) = self.peers.of(stream).map(Jid::domain) else { return Vec::new() };
        let mut contacts = Vec::new();
        for (local, account) in self.here.accounts().iter() {
            let there = |jid: &&Jid| jid.domain() == domain && !account.blocks(jid);
            let roster = || account.roster.subscriptions().chain(account.roster.subscribers()).filter(there);
            if account.sessions.is_empty() || roster().next().is_none() || self.available(local).is_empty() {
                continue;
            }
            let jids: BTreeSet<Jid> = roster().cloned().collect();
            contacts.extend(jids.into_iter().map(|jid| (local.clone(), jid)));
        }
        contacts
    }

    /// Asks a component that has come for the presence of its people, and tells it who is here (RFC 6121 §4.3, §4.2.2): it may know
    /// nothing of what was before.
    pub(in crate::core) fn greet(&mut self, stream: StreamId) {
        let mut bytes = 0;
        while let Some(attached) = self.peers.attached.get_mut(&stream) {
            let Some((local, contact)) = attached.greetings.pop_front() else { return };
            let Some(account) = self.here.account(&local).filter(|account| !account.blocks(&contact)) else { continue };
            let (state, own) = (account.roster.state(&contact), account.jid.clone());
            let sids = self.available(&local);
            if state.to && !sids.is_empty() {
                let probe = Stanza::new(Kind::Presence, Type::Probe).from(own).to(contact.clone());
                bytes += probe.bytes();
                self.send(probe);
            }
            if state.from {
                let presences = sids.iter().filter_map(|sid| self.here.session(*sid)?.presence.as_ref());
                bytes += presences.map(Stanza::bytes).sum::<usize>();
                self.show(&local, &contact);
            }
            if bytes > GREETING_BYTES {
                return self.set_timer(self.now.mono + GREETING_MS, Timer::Greeting(stream));
            }
        }
    }

    /// A stream is gone; says whether it was a component's. Whoever was available through it is not any more, for all who were told
    /// so (RFC 6121 §4.5), as with a session of ours that ends without a word.
    pub(in crate::core) fn detach(&mut self, stream: StreamId) -> bool {
        let Some(contacts) = self.peers.attached.get(&stream).map(|attached| attached.more_shown) else {
            return false;
        };
        let contacts = if contacts { self.contacts_at(stream) } else { Vec::new() };
        let Some(Attached { domain, shown, .. }) = self.peers.attached.remove(&stream) else { return false };
        self.peers.closed(stream);
        log::info!("the component {domain} is gone");
        self.work.push_back(Work::Event(Event::ComponentGone(domain)));
        let gone = |from: Jid, to: Jid| Stanza::new(Kind::Presence, Type::Unavailable).from(from).to(to);
        for (local, contact) in contacts {
            if let Some(own) = self.here.account(&local).map(|account| account.jid.clone()) {
                self.send(gone(contact, own));
            }
        }
        for (from, to) in shown {
            self.send(gone(from, to));
        }
        true
    }

    /// Other settings: the streams of peers that may not be here any more: components that are not in them, or have another secret there,
    /// and servers that we do not talk to.
    pub(in crate::core) fn dismiss(&mut self, settings: &Settings) -> Vec<(StreamId, StreamError)> {
        let before = &self.settings.components;
        let gone = |name: &Jid| match settings.components.get(name) {
            None => Some(StreamError::new(StreamCondition::HostGone)),
            secret if secret != before.get(name) => {
                Some(StreamError::new(StreamCondition::NotAuthorized).text("the secret has changed"))
            }
            _ => None,
        };
        let attached = self.peers.attached.iter();
        let streams = attached.filter_map(|(stream, attached)| Some((*stream, gone(&attached.domain)?)));
        let mut streams: Vec<_> = streams.collect();
        for (stream, _) in &streams {
            self.detach(*stream);
        }
        streams.append(&mut self.dismiss_servers(settings));
        streams
    }

    /// The stream of a component that is attached.
    fn component_stream(&self, domain: &str) -> Option<StreamId> {
        self.peers.stream_to(self.settings.domain.domain(), domain)
    }

    /// Remembers what a component shows to people here.
    pub(super) fn note_component(&mut self, stream: StreamId, stanza: &Stanza) {
        if stanza.kind == Kind::Presence
            && let (Some(from), Some(to)) = (&stanza.from, &stanza.to)
            && to.domain() == self.settings.domain.domain()
            && let Some(attached) = self.peers.attached.get_mut(&stream)
        {
            attached.note(from, to, stanza.ty);
        }
    }

    /// To a component's domain.
    pub(in crate::core) fn at_component(&mut self, to: &Jid, stanza: &Stanza) -> Result<(), StanzaError> {
        match self.component_stream(to.domain()) {
            Some(stream) => {
                self.effects.push(Effect::Send(stream, stanza.clone()));
                Ok(())
            }
            // As with a server that is not there: presence is not worth an error, a subscription is.
            None if stanza.kind == Kind::Presence && !is_subscription(stanza.ty) => Ok(()),
            None => {
                let error = StanzaError::new(Condition::ServiceUnavailable).ty(ErrorType::Wait);
                Err(error.text("this gateway or bot is not connected"))
            }
        }
    }
}
