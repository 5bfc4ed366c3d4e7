//! What an extension is: one value, one file, one line in the list `ext::all`. The order of the list is the order of the hooks.

use super::about::About;
use super::effect::Command;
use super::event::Event;
use super::ids::{Job, SessionId, StreamId};
use super::outcome::{Accepts, Flow, Handled, Hold};
use super::slot::{Slot, SlotRefusal};
use super::state::State;
use crate::store::{Engine, Query, Rows, StoreError};
use crate::wire::scram::Credentials;
use crate::wire::{Node, Stanza, StanzaError, StreamFeature};
use std::net::IpAddr;

/// Whom a request is addressed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The domain itself.
    Server,
    /// The account of this localpart, by one of its own sessions.
    Own(Box<str>),
    /// The account of this localpart, by somebody else: nothing is told or changed unless they may. There may be no such
    /// account; the answer must not tell that from one that shows nothing.
    Account(Box<str>),
}

/// What an extension gets of a stream that is bound by Bind 2 (XEP-0386).
#[derive(Debug)]
pub struct Inline<'a> {
    /// `<bind/>`, with elements of all extensions.
    pub bind: Node<'a>,
    /// The answers to what [`Extension::before_bind`] asked; `None`: it could not be read.
    pub rows: &'a [Option<Rows>],
    /// What was archived for the account since, so that the answers do not tell of it: the first number and the last.
    pub archived: Option<(u64, u64)>,
}

/// An extension. Every hook but [`Extension::about`] may be left out. State that an extension keeps in memory is its own, in
/// its value; what all share is in [`State`].
#[allow(unused_variables)]
pub trait Extension: Send {
    /// What it is.
    fn about(&self) -> &'static About;

    /// What else it does: specifications that are done by the same hooks, or that ask nothing of a server but what it does anyway.
    fn also(&self) -> &'static [About] {
        &[]
    }

    /// Reads what it needs in memory, once, at the start.
    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        Ok(())
    }

    /// Stream features after authentication.
    fn stream_features(&self, st: &State) -> Vec<StreamFeature> {
        Vec::new()
    }

    /// What can be asked for in `<bind/>`, each the name of a feature (XEP-0386 §3.1).
    fn bind_features(&self) -> &'static [&'static str] {
        &[]
    }

    /// A stream of this account will be bound by Bind 2: what [`Extension::bind_inline`] has to know for that.
    fn before_bind(&mut self, st: &mut State, local: &str) -> Vec<Query> {
        Vec::new()
    }

    /// A session was bound by Bind 2: takes what it asks for in [`Inline::bind`], and appends what `<bound/>` is to tell. Nothing can
    /// be sent to the session yet.
    fn bind_inline(&mut self, st: &mut State, sid: SessionId, inline: &Inline<'_>, bound: &mut String) {}

    /// A stanza that a session of ours sends, before anything is done with it. `from` is the session's full JID already.
    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        Ok(Flow::Pass)
    }

    /// A stanza that reaches an account of ours, before it is decided who gets it. Also one that stays within the account; and
    /// one to an account that does not exist, which must look from outside as one that shows nothing.
    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        Ok(Flow::Pass)
    }

    /// A message was accepted for the account: it was written to its sessions, or is stored.
    fn accepted(&mut self, st: &mut State, local: &str, message: &Stanza) {}

    /// A message was handed to these sessions of the account, now or once it was its turn.
    fn delivered(&mut self, st: &mut State, local: &str, message: &Stanza, targets: &[SessionId]) {}

    /// A message that nobody was there to take. If all pass, the sender gets `service-unavailable`.
    fn offline(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Result<Accepts, StanzaError> {
        Ok(Accepts::Pass)
    }

    /// A message is on its way, and no session will take it soon for sure. [`Hold::Kept`]: it is kept under its
    /// [`Stanza::mark`] until [`Extension::had`] tells that it arrived. If all pass, or with an error, its sender is told, should it
    /// not arrive.
    fn hold(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Result<Hold, StanzaError> {
        Ok(Hold::Pass)
    }

    /// A message that was kept has arrived.
    fn had(&mut self, st: &mut State, local: &str, mark: u64) {}

    /// An IQ request (get or set) with one of the namespaces in [`About::iq`], to the server or to an account. `Done` means
    /// that it is or will be answered ([`State::reply`], [`State::confirm`]). `Pass`: the next one with that namespace is asked; if
    /// all pass, `service-unavailable`.
    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        Ok(Flow::Pass)
    }

    /// In-band registration by a stream that is not authenticated. Answered with [`State::registered`].
    fn register(&mut self, st: &mut State, stream: StreamId, peer: IpAddr, iq: &Stanza) -> Handled {
        Ok(Flow::Pass)
    }

    /// A stanza to an address on a subdomain that this extension serves ([`State::serve`]), whatever its kind and whoever is its
    /// sender. An error is sent back from the address that it was sent to; `Pass`: `service-unavailable`, where that is allowed.
    fn serve(&mut self, st: &mut State, stanza: &mut Stanza) -> Handled {
        Ok(Flow::Pass)
    }

    /// A command of the box's owner that is about what this extension serves: lines for a person, or what is wrong. `None`: it is not.
    fn command(&mut self, st: &mut State, command: &Command) -> Option<Result<Vec<String>, String>> {
        None
    }

    /// Something happened.
    fn event(&mut self, st: &mut State, event: &Event) {}

    /// What [`State::ask`] found; `None`: it could not be read.
    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {}

    /// What [`State::hash`] made; `None`: not a password that can be used.
    fn hashed(&mut self, st: &mut State, job: Job, credentials: Option<Credentials>) {}

    /// What came of [`State::want_slot`].
    fn slot(&mut self, st: &mut State, job: Job, slot: Result<Slot, SlotRefusal>) {}

    /// The client answered what [`State::request`] asked of it, with a result or an error.
    fn replied(&mut self, st: &mut State, sid: SessionId, job: Job, reply: &Stanza) {}

    /// What [`State::inquire`] was answered: a result or an error.
    fn answered(&mut self, st: &mut State, job: Job, reply: &Stanza) {}

    /// The time that [`State::after`] waited for has come.
    fn timer(&mut self, st: &mut State, job: Job) {}
}
