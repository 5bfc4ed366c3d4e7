//! External components (XEP-0114): who is attached, and the way to them and from them. A component is neither a session nor a
//! remote server: what it says is routed as it is, and what is sent to its domain goes to it, or is refused while it is not there.

use super::Core;
use super::effect::Effect;
use super::event::Event;
use super::ids::StreamId;
use super::message::rule::{is_subscription, well_formed};
use super::settings::Settings;
use super::state::State;
use super::work::{Payer, Timer, Work};
use crate::wire::{Condition, ErrorType, Jid, Kind, Secret, Stanza, StanzaError, StreamCondition, StreamError, Type};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What is remembered of the presence that the people of one component have sent to people here, in bytes, about. Of what is beyond
/// that, contacts are told when the component goes, and nobody else.
const SHOWN_BYTES: usize = 2 * 1024 * 1024;
/// What one of them takes besides the addresses, in bytes, about.
const SHOWN_AROUND_BYTES: usize = 120;
/// What a component that has come is told at once of presence here, in bytes, about; the rest follows bit by bit, so that its outbox
/// holds it.
const GREETING_BYTES: usize = 128 * 1024;
/// Time between two such bits, in milliseconds.
const GREETING_MS: u64 = 200;

/// The components that are attached.
#[derive(Debug, Default)]
pub(super) struct Components {
    /// The stream of each, by its domain.
    streams: BTreeMap<Box<str>, StreamId>,
    /// Each of them, by its stream.
    attached: BTreeMap<StreamId, Attached>,
}

/// A component that is attached.
#[derive(Debug)]
struct Attached {
    domain: Jid,
    /// Who of its people is available to whom here: from whom, and to which address.
    shown: BTreeSet<(Jid, Jid)>,
    /// What those take, in bytes, about.
    shown_bytes: usize,
    /// There were more.
    more_shown: bool,
    /// The accounts and their contacts there that are still to be asked about each other.
    greetings: VecDeque<(Box<str>, Jid)>,
}

impl Attached {
    fn new(domain: Jid) -> Attached {
        Attached { domain, shown: BTreeSet::new(), shown_bytes: 0, more_shown: false, greetings: VecDeque::new() }
    }

    /// Remembers a presence to somebody here, to be taken back when the component goes.
    fn note(&mut self, from: &Jid, to: &Jid, ty: Type) {
        let bytes = SHOWN_AROUND_BYTES + from.as_str().len() + to.as_str().len();
        let pair = (from.clone(), to.clone());
        match ty {
            Type::Unavailable if self.shown.remove(&pair) => self.shown_bytes -= bytes,
            Type::None if !self.shown.contains(&pair) && self.shown_bytes + bytes > SHOWN_BYTES => {
                self.more_shown = true;
            }
            Type::None if self.shown.insert(pair) => self.shown_bytes += bytes,
            _ => {}
        }
    }
}

impl Components {
    /// The component of a stream.
    pub(super) fn of(&self, stream: StreamId) -> Option<&Jid> {
        self.attached.get(&stream).map(|attached| &attached.domain)
    }
}

impl State {
    /// The domains of the components that are attached.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.components.streams.keys().map(|domain| &**domain)
    }

    /// A stream has proved that it is this component. The answer is [`Effect::Bound`] or [`Effect::Close`].
    pub(super) fn attach(&mut self, stream: StreamId, name: Jid, secret: &Secret) {
        // The settings may be others than those that the stream began with.
        let refused = if self.settings.components.get(&name) != Some(secret) {
            Some(StreamError::new(StreamCondition::NotAuthorized))
        } else if self.components.streams.contains_key(name.domain()) {
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
        self.components.streams.insert(name.domain().into(), stream);
        self.components.attached.insert(stream, Attached::new(name.clone()));
        self.effects.push(Effect::Bound(stream, Ok(name)));
        let contacts = self.contacts_at(stream);
        if let Some(attached) = self.components.attached.get_mut(&stream) {
            attached.greetings = contacts.into();
        }
        self.greet(stream);
    }

    /// The contacts at a component of everybody who is available.
    fn contacts_at(&self, stream: StreamId) -> Vec<(Box<str>, Jid)> {
        let Some(domain) = self.components.of(stream).map(Jid::domain) else { return Vec::new() };
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
    pub(super) fn greet(&mut self, stream: StreamId) {
        let mut bytes = 0;
        while let Some(attached) = self.components.attached.get_mut(&stream) {
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
    pub(super) fn detach(&mut self, stream: StreamId) -> bool {
        let Some(contacts) = self.components.attached.get(&stream).map(|attached| attached.more_shown) else {
            return false;
        };
        let contacts = if contacts { self.contacts_at(stream) } else { Vec::new() };
        let Some(Attached { domain, shown, .. }) = self.components.attached.remove(&stream) else { return false };
        self.components.streams.remove(domain.domain());
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

    /// Other settings: the streams of components that are not in them, or have another secret there.
    pub(super) fn dismiss(&mut self, settings: &Settings) -> Vec<(StreamId, StreamError)> {
        let before = &self.settings.components;
        let gone = |name: &Jid| match settings.components.get(name) {
            None => Some(StreamError::new(StreamCondition::HostGone)),
            secret if secret != before.get(name) => {
                Some(StreamError::new(StreamCondition::NotAuthorized).text("the secret has changed"))
            }
            _ => None,
        };
        let attached = self.components.attached.iter();
        let streams = attached.filter_map(|(stream, attached)| Some((*stream, gone(&attached.domain)?)));
        let streams: Vec<_> = streams.collect();
        for (stream, _) in &streams {
            self.detach(*stream);
        }
        streams
    }
}

impl Core {
    /// A stanza of a component, whose stream has looked at `from`.
    pub(super) fn component_sent(&mut self, stream: StreamId, stanza: Stanza) {
        let State { components, settings, .. } = &mut self.state;
        let Some(attached) = components.attached.get_mut(&stream) else { return };
        if stanza.kind == Kind::Presence
            && let (Some(from), Some(to)) = (&stanza.from, &stanza.to)
            && to.domain() == settings.domain.domain()
        {
            attached.note(from, to, stanza.ty);
        }
        let allowed = well_formed(&stanza).and_then(|()| self.state.pays(Payer::Component(stream), &stanza));
        match allowed.and_then(|()| self.state.asks(None, &stanza)) {
            Ok(()) => self.route(stanza),
            Err(error) => self.state.refuse(&stanza, &error),
        }
    }

    /// To a component's domain.
    pub(super) fn at_component(&mut self, to: &Jid, stanza: &Stanza) -> Result<(), StanzaError> {
        match self.state.components.streams.get(to.domain()) {
            Some(stream) => {
                self.state.effects.push(Effect::Send(*stream, stanza.clone()));
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
