//! The server: what everybody shares, and the extensions; how their hooks are called, and what the world may ask besides the inputs.

use super::account::Account;
use super::event::Event;
use super::hook::Extension;
use super::ids::StreamId;
use super::outcome::Flow;
use super::settings::Settings;
use super::state::State;
use crate::wire::{Condition, Stanza, StanzaError, StreamError, StreamFeature};
use std::net::IpAddr;

/// The server as a value: state, extensions in their order, and what is to be done yet.
pub struct Core {
    pub(super) state: State,
    pub(super) extensions: Vec<Box<dyn Extension>>,
}

impl Core {
    /// Calls a hook of one extension.
    pub(super) fn hook<T>(&mut self, n: usize, call: impl FnOnce(&mut dyn Extension, &mut State) -> T) -> T {
        self.state.running = n;
        call(&mut *self.extensions[n], &mut self.state)
    }

    /// Tells all extensions what happened.
    pub(super) fn tell_all(&mut self, event: &Event) {
        for n in 0..self.extensions.len() {
            self.hook(n, |x, st| x.event(st, event));
        }
    }

    /// In-band registration before authentication (XEP-0077).
    pub(super) fn register(&mut self, stream: StreamId, peer: IpAddr, iq: &Stanza) {
        for n in 0..self.extensions.len() {
            match self.hook(n, |x, st| x.register(st, stream, peer, iq)) {
                Ok(Flow::Pass) => {}
                Ok(Flow::Done) => return,
                Err(error) => return self.refuse_to(stream, iq, &error),
            }
        }
        self.refuse_to(stream, iq, &Condition::ServiceUnavailable.into());
    }

    fn refuse_to(&mut self, stream: StreamId, iq: &Stanza, error: &StanzaError) {
        if let Some(reply) = Stanza::error_of(iq, error) {
            self.state.registered(stream, reply);
        }
    }

    /// What the last stanza said to clients that are far behind with what they read, in bytes: whoever sent it should be read from more
    /// slowly.
    pub fn take_said_to_slow(&mut self) -> usize {
        self.state.take_said_to_slow()
    }

    /// 32 unpredictable bytes, for what the world around keeps secret.
    pub fn random(&mut self) -> [u8; 32] {
        self.state.random()
    }

    /// Other settings from now on. The domain stays. Gives the streams that must end: those of components that may not be here any
    /// more; the core has forgotten them.
    pub fn configure(&mut self, settings: Settings) -> Vec<(StreamId, StreamError)> {
        let domain = self.state.settings.domain.clone();
        let dismissed = self.state.dismiss(&settings);
        self.state.settings = Settings { domain, ..settings };
        self.state.keep_lines_at(self.state.now.mono);
        // Both in the next turn.
        self.state.announce(Event::Configured);
        self.state.look_again();
        dismissed
    }

    /// Stream features of the extensions after authentication, for `stream::Terms`.
    pub fn stream_features(&self) -> Vec<StreamFeature> {
        self.extensions.iter().flat_map(|x| x.stream_features(&self.state)).collect()
    }

    /// What the extensions take inline with Bind 2, for `stream::Terms`.
    pub fn bind_features(&self) -> Vec<&'static str> {
        self.extensions.iter().flat_map(|x| x.bind_features()).copied().collect()
    }

    /// The SCRAM iterations that are set, if there are accounts whose keys have fewer; else 0. For `stream::Terms`.
    pub fn upgrades(&self) -> u32 {
        let set = self.state.settings.iterations;
        let weak = |a: &Account| a.credentials.sha1.iterations.min(a.credentials.sha256.iterations) < set;
        if self.state.here.accounts().any(weak) { set } else { 0 }
    }

    /// What everybody shares, to look at.
    pub fn state(&self) -> &State {
        &self.state
    }
}
