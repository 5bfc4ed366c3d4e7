//! A stanza on its way: what its own side makes of it, whom it is for, and what the other side makes of it.

use super::rule::{Rule, To, rule, well_formed};
use crate::core::Core;
use crate::core::hook::{Extension, Place};
use crate::core::ids::SessionId;
use crate::core::impossible::impossible;
use crate::core::outcome::{Accepts, Flow, Handled};
use crate::core::presence;
use crate::core::session::Session;
use crate::core::state::State;
use crate::core::work::Payer;
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type};

impl Core {
    /// A stanza that a session of ours sends.
    pub(in crate::core) fn sent(&mut self, sid: SessionId, mut stanza: Stanza) {
        let Some(session) = self.state.here.session(sid) else {
            return impossible("a stream that carries a session says something for none");
        };
        // RFC 6120 §8.1.2.1: whatever it says, it is from this session.
        stanza.from = Some(session.jid.clone());
        stanza.bad_from = false;
        if stanza.kind == Kind::Message {
            stanza.mark = self.state.mark_for(&stanza);
        }
        let allowed = self.state.pays(Payer::Session(sid), &stanza);
        match allowed.and_then(|()| self.leaves(sid, &mut stanza)) {
            Ok(Flow::Pass) if stanza.kind != Kind::Presence => {
                if stanza.to.is_none() {
                    // RFC 6120 §10.3: without `to` it is for the own account.
                    stanza.to = stanza.from.as_ref().map(Jid::bare);
                }
                self.route(stanza);
            }
            Ok(_) => {}
            Err(error) => self.state.refuse(&stanza, &error),
        }
    }

    /// What its own side makes of it. `Pass`: it goes on.
    fn leaves(&mut self, sid: SessionId, stanza: &mut Stanza) -> Handled {
        well_formed(stanza)?;
        if stanza.kind == Kind::Iq && self.is_reply(sid, stanza) {
            return Ok(Flow::Done);
        }
        self.state.asks(Some(sid), stanza)?;
        for n in 0..self.extensions.len() {
            if self.hook(n, |x, st| x.leave(st, sid, stanza))? == Flow::Done {
                return Ok(Flow::Done);
            }
        }
        if stanza.kind == Kind::Presence {
            presence::sent(&mut self.state, sid, stanza.clone())?;
        }
        Ok(Flow::Pass)
    }

    /// The answer to something that an extension asked of a client.
    fn is_reply(&mut self, sid: SessionId, iq: &Stanza) -> bool {
        if !matches!(iq.ty, Type::Result | Type::Error) {
            return false;
        }
        let Some(id) = iq.id().map(|id| id.into_owned()) else { return false };
        let Some(job) = self.state.questions.replied(sid, id) else { return false };
        if let Some(n) = self.state.questions.take(job) {
            self.hook(n, |x, st| x.replied(st, sid, job, iq));
        }
        true
    }

    /// A stanza with `from` and `to` on its way (RFC 6120 §10).
    pub(in crate::core) fn route(&mut self, mut stanza: Stanza) {
        let Some(to) = stanza.to.clone() else { return };
        if stanza.kind == Kind::Message && stanza.mark == 0 {
            stanza.mark = self.state.mark_for(&stanza);
        }
        let ours = to.domain() == self.state.domain().domain();
        let done = match to.local() {
            Some(local) if ours => self.arrives(local, &to, &mut stanza),
            None if ours => self.at_server(&to, &stanza),
            _ if self.state.services.contains_key(to.domain()) => self.at_service(&to, &mut stanza),
            _ if self.state.settings.components.contains_key(to.domain()) => self.state.at_component(&to, &stanza),
            _ => self.state.at_other_server(&to, &stanza),
        };
        if let Err(error) = done {
            self.state.refuse(&stanza, &error);
        }
    }

    /// To the server itself (RFC 6120 §10.3.2, §10.4).
    fn at_server(&mut self, to: &Jid, stanza: &Stanza) -> Result<(), StanzaError> {
        match (stanza.kind, stanza.ty) {
            (Kind::Iq, Type::Get | Type::Set) if to.is_bare() => {
                self.request(stanza, |x, st| x.iq(st, &Place::Server, stanza))
            }
            (Kind::Iq, Type::Get | Type::Set) | (Kind::Message, _) => Err(Condition::ServiceUnavailable.into()),
            (Kind::Iq, Type::Result | Type::Error) if to.is_bare() => {
                self.state.is_answer(stanza);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// To a service on a subdomain.
    fn at_service(&mut self, to: &Jid, stanza: &mut Stanza) -> Result<(), StanzaError> {
        let Some(n) = self.state.services.get(to.domain()).map(|service| service.extension) else {
            impossible("a service is gone while something is routed to it");
            return Ok(());
        };
        match self.hook(n, |x, st| x.serve(st, stanza))? {
            Flow::Done => Ok(()),
            Flow::Pass if stanza.kind == Kind::Presence => Ok(()),
            Flow::Pass => Err(Condition::ServiceUnavailable.into()),
        }
    }

    /// To an account of ours, whether or not there is one.
    fn arrives(&mut self, local: &str, to: &Jid, stanza: &mut Stanza) -> Result<(), StanzaError> {
        for n in 0..self.extensions.len() {
            match self.hook(n, |x, st| x.arrive(st, local, stanza))? {
                Flow::Pass => {}
                Flow::Done => return Ok(()),
            }
        }
        let place = |st: &State, bare: bool| {
            let Some(account) = st.here.account(local) else { return To::NoUser };
            if !bare && !to.is_bare() {
                return if st.session_at(to).is_some() { To::Full } else { To::FullGone };
            }
            // RFC 6121 §8.5.2.1.1: for messages, sessions with a negative priority are not there.
            let is_there = |session: &Session| match stanza.kind {
                Kind::Message => session.receives(),
                Kind::Presence | Kind::Iq => session.presence.is_some(),
            };
            let online = account.sessions.values().any(|sid| st.here.session(*sid).is_some_and(is_there));
            if online { To::BareOnline } else { To::BareOffline }
        };
        // An error that says what became of a message that was acknowledged is itself as good as one.
        let is_promised = stanza.kind == Kind::Message && stanza.ty == Type::Error && stanza.mark > 0;
        let ty = if is_promised { Type::Chat } else { stanza.ty };
        let mut verdict = rule(stanza.kind, ty, place(&self.state, false));
        if verdict == Rule::AsBare {
            verdict = rule(stanza.kind, ty, place(&self.state, true));
        }
        match verdict {
            Rule::Ignore | Rule::AsBare => Ok(()),
            Rule::Refuse => Err(Condition::ServiceUnavailable.into()),
            // There is no account; then no resource of it either.
            Rule::Server if !to.is_bare() => Err(Condition::ServiceUnavailable.into()),
            Rule::Session => {
                let target = self.state.session_at(to);
                self.state.may_wait(target.as_slice(), stanza)?;
                self.deliver(local, stanza, target.as_slice())
            }
            Rule::Receivers => {
                let mut targets = self.state.sessions_of(local);
                targets.retain(|sid| self.state.here.session(*sid).is_some_and(Session::receives));
                self.state.may_wait(&targets, stanza)?;
                self.deliver(local, stanza, &targets)
            }
            Rule::Available => {
                let targets = self.state.available(local);
                self.deliver(local, stanza, &targets)
            }
            Rule::Keep => self.keep(local, stanza),
            Rule::Server => {
                let own = stanza.from.as_ref().is_some_and(|from| from.bare_str() == to.bare_str());
                let place = if own { Place::Own(local.into()) } else { Place::Account(local.into()) };
                self.request(stanza, |x, st| x.iq(st, &place, stanza))
            }
            Rule::Subscription => presence::subscription_arrives(&mut self.state, local, stanza.clone()),
            Rule::Probe => {
                presence::probed(&mut self.state, stanza);
                Ok(())
            }
        }
    }

    fn deliver(&mut self, local: &str, stanza: &Stanza, targets: &[SessionId]) -> Result<(), StanzaError> {
        self.state.write_message(local, stanza, targets, false);
        if stanza.kind == Kind::Message {
            self.accepted(local, stanza);
            self.delivered(local, stanza, targets);
        }
        Ok(())
    }

    pub(in crate::core) fn delivered(&mut self, local: &str, message: &Stanza, targets: &[SessionId]) {
        for n in 0..self.extensions.len() {
            self.hook(n, |x, st| x.delivered(st, local, message, targets));
        }
    }

    fn accepted(&mut self, local: &str, message: &Stanza) {
        for n in 0..self.extensions.len() {
            self.hook(n, |x, st| x.accepted(st, local, message));
        }
        if self.must_hold(message.mark) {
            self.hold(message.clone());
        }
    }

    fn keep(&mut self, local: &str, message: &mut Stanza) -> Result<(), StanzaError> {
        for n in 0..self.extensions.len() {
            if self.hook(n, |x, st| x.offline(st, local, message))? == Accepts::Accepted {
                // Sessions that take no messages may still get copies.
                return self.deliver(local, message, &[]);
            }
        }
        Err(Condition::ServiceUnavailable.into())
    }

    /// A request to the server or to an account: the extension with its namespace answers (RFC 6120 §8.4).
    fn request(
        &mut self,
        iq: &Stanza,
        mut ask: impl FnMut(&mut dyn Extension, &mut State) -> Handled,
    ) -> Result<(), StanzaError> {
        let ns = iq.children().next().map_or(Ns::OTHER, |payload| payload.ns());
        for n in 0..self.extensions.len() {
            if self.extensions[n].about().iq.contains(&ns) && self.hook(n, &mut ask)? == Flow::Done {
                return Ok(());
            }
        }
        Err(Condition::ServiceUnavailable.into())
    }
}
