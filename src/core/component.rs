//! External components (XEP-0114): who is attached, and the way to them and from them. A component is neither a session nor a
//! remote server: what it says is routed as it is, and what is sent to its domain goes to it, or is refused while it is not there.

use super::Core;
use super::effect::{Effect, Sid};
use super::hook::{Flow, Handled};
use super::route::well_formed;
use super::settings::Settings;
use super::state::State;
use crate::wire::{Condition, ErrorType, Jid, Kind, Secret, Stanza, StanzaError, StreamCondition, StreamError};
use std::collections::BTreeMap;

/// The components that are attached.
#[derive(Debug, Default)]
pub(super) struct Components {
    /// The stream of each, by its domain.
    streams: BTreeMap<Box<str>, Sid>,
    /// The domain of each stream.
    domains: BTreeMap<Sid, Jid>,
}

impl Components {
    /// The component of a stream.
    pub(super) fn of(&self, stream: Sid) -> Option<&Jid> {
        self.domains.get(&stream)
    }
}

impl State {
    /// The domains of the components that are attached.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.components.streams.keys().map(|domain| &**domain)
    }

    /// A stream has proved that it is this component. The answer is [`Effect::Bound`] or [`Effect::Close`].
    pub(super) fn attach(&mut self, sid: Sid, name: Jid, secret: &Secret) {
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
            return self.effects.push(Effect::Close(sid, Some(error)));
        }
        log::info!("the component {name} is connected");
        self.components.streams.insert(name.domain().into(), sid);
        self.components.domains.insert(sid, name.clone());
        self.effects.push(Effect::Bound(sid, Ok(name)));
    }

    /// A stream is gone; says whether it was a component's.
    pub(super) fn detach(&mut self, sid: Sid) -> bool {
        let Some(name) = self.components.domains.remove(&sid) else { return false };
        self.components.streams.remove(name.domain());
        log::info!("the component {name} is gone");
        true
    }

    /// Other settings: the streams of components that are not in them, or have another secret there.
    pub(super) fn dismiss(&mut self, settings: &Settings) -> Vec<(Sid, StreamError)> {
        let before = &self.settings.components;
        let gone = |name: &Jid| match settings.components.get(name) {
            None => Some(StreamError::new(StreamCondition::HostGone)),
            secret if secret != before.get(name) => {
                Some(StreamError::new(StreamCondition::NotAuthorized).text("the secret has changed"))
            }
            _ => None,
        };
        let streams = self.components.domains.iter().filter_map(|(sid, name)| Some((*sid, gone(name)?)));
        let streams: Vec<_> = streams.collect();
        for (sid, _) in &streams {
            self.detach(*sid);
        }
        streams
    }
}

impl Core {
    /// A stanza of a component, whose stream has looked at `from`.
    pub(super) fn component_sent(&mut self, stream: Sid, stanza: Stanza) {
        if !self.state.components.domains.contains_key(&stream) {
            return;
        }
        let allowed = well_formed(&stanza).and_then(|()| self.state.pays(stream, &stanza));
        match allowed.and_then(|()| self.state.asks(None, &stanza)) {
            Ok(()) => self.route(stanza),
            Err(error) => self.state.refuse(&stanza, &error),
        }
    }

    /// To a component's domain.
    pub(super) fn at_component(&mut self, to: &Jid, stanza: &Stanza) -> Handled {
        match self.state.components.streams.get(to.domain()) {
            Some(sid) => {
                self.state.effects.push(Effect::Send(*sid, stanza.clone()));
                Ok(Flow::Done)
            }
            // As with a server that is not there: presence is not worth an error, a subscription is.
            None if stanza.kind == Kind::Presence && !super::route::is_subscription(stanza.ty) => Ok(Flow::Done),
            None => {
                let error = StanzaError::new(Condition::ServiceUnavailable).ty(ErrorType::Wait);
                Err(error.text("this gateway or bot is not connected"))
            }
        }
    }
}
