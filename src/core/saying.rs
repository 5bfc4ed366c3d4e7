//! The ways to say something.

use super::effect::Effect;
use super::event::Event;
use super::ids::{SessionId, StreamId};
use super::outcome::{Flow, Handled};
use super::state::State;
use super::work::Work;
use crate::wire::{Jid, Kind, Stanza, StanzaError, StreamError, Type};

impl State {
    /// Sends a stanza on its way, as from whom its `from` says; it passes the hooks of the receiving side. `to` must be set.
    pub fn send(&mut self, stanza: Stanza) {
        self.work.push_back(Work::Route(stanza));
    }

    /// Writes a stanza to one session, past all hooks; or holds it there ([`super::message::quiet`]).
    pub fn send_to(&mut self, sid: SessionId, stanza: Stanza) {
        self.hand(sid, stanza);
    }

    /// Hands a message to these sessions of one account; the `delivered` hooks see it.
    pub fn deliver(&mut self, local: &str, message: Stanza, targets: Vec<SessionId>) {
        self.write_message(local, &message, &targets, false);
        self.work.push_back(Work::Delivered(local.into(), message, targets));
    }

    /// Answers a request at once, with an optional payload (empty: none).
    pub fn reply(&mut self, iq: &Stanza, payload: impl Into<String>) -> Handled {
        let result = Stanza::result_of(iq, payload);
        self.back(result);
        Ok(Flow::Done)
    }

    /// Answers a stream that is not authenticated ([`super::hook::Extension::register`]), at once.
    pub fn registered(&mut self, stream: StreamId, answer: Stanza) {
        self.effects.push(Effect::Registered(stream, answer));
    }

    /// Tells all extensions, later in this turn.
    pub fn announce(&mut self, event: Event) {
        self.work.push_back(Work::Event(event));
    }

    /// Answers a stanza with an error, where the RFC allows one.
    pub fn refuse(&mut self, stanza: &Stanza, error: &StanzaError) {
        if self.is_refused_notification(stanza, error) {
            return;
        }
        if let Some(reply) = Stanza::error_of(stanza, error) {
            self.back(reply);
        }
    }

    /// An answer goes straight to the session that asked, and by the router to anybody else.
    pub(super) fn back(&mut self, reply: Stanza) {
        if self.is_answer(&reply) {
            return;
        }
        match reply.to.as_ref().and_then(|to| self.session_at(to)) {
            // The error of a message is news to the account's other sessions, too (XEP-0280 §6.1).
            Some(sid) if reply.kind == Kind::Message => {
                let local: Box<str> = reply.to.as_ref().and_then(Jid::local).unwrap_or_default().into();
                self.deliver(&local, reply, vec![sid]);
            }
            Some(sid) => self.send_to(sid, reply),
            None => self.send(reply),
        }
    }

    /// A push from a session's own account, an IQ set whose answer nobody waits for: rosters, block lists.
    pub fn push_request(&mut self, sid: SessionId, payload: &str) {
        let id = self.token();
        if let Some(session) = self.here.session(sid) {
            // Without `from`: it is from the account itself (RFC 6121 §2.1.6).
            let iq = Stanza::new(Kind::Iq, Type::Set).to(session.jid.clone());
            self.send_to(sid, iq.with_id(&id).with(payload));
        }
    }

    /// Ends a session; it is gone from all tables when this returns, its contacts are told.
    pub fn close(&mut self, sid: SessionId, error: Option<StreamError>) {
        if let Some(session) = self.here.session(sid) {
            let stream = session.stream;
            self.gone(sid, false);
            if let Some(stream) = stream {
                self.effects.push(Effect::Close(stream, error));
            }
        }
    }
}
