//! What an extension is: one value, one file, one line in the list `ext::all`. The order of the list is the order of the hooks.

use super::effect::Command;
use super::ids::{Job, SessionId, StreamId};
use super::state::State;
use crate::store::{Engine, Query, Rows, StoreError};
use crate::wire::scram::Credentials;
use crate::wire::{Jid, Node, Ns, Stanza, StanzaError, StreamFeature};
use std::net::IpAddr;

/// What an extension says of itself: discovery, the table of specifications and `doap.xml` are made from it.
#[derive(Debug)]
pub struct About {
    /// `XEP-0199`, `RFC 6121`.
    pub spec: &'static str,
    /// The specification's title.
    pub name: &'static str,
    /// The version of the text it was written from.
    pub version: &'static str,
    /// What is left out; empty: it is complete for a server.
    pub missing: &'static str,
    /// Features that the server's own address has (XEP-0030).
    pub server: &'static [&'static str],
    /// Features that every account has.
    pub account: &'static [&'static str],
    /// Namespaces of IQ payloads whose requests come to [`Extension::iq`].
    pub iq: &'static [Ns],
}

impl About {
    /// A specification without features of its own.
    pub const fn new(spec: &'static str, name: &'static str, version: &'static str, missing: &'static str) -> About {
        About { spec, name, version, missing, server: &[], account: &[], iq: &[] }
    }
}

/// Whether the next in the list is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Go on.
    Pass,
    /// It is dealt with: nobody else sees it, nothing more happens.
    Done,
}

/// What [`Extension::offline`] does with a message that nobody was there to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepts {
    /// Nothing: the next in the list is asked.
    Pass,
    /// It is stored, or nobody misses it: it counts as accepted.
    Accepted,
}

/// What [`Extension::hold`] does with a message that may not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Nothing: the next in the list is asked.
    Pass,
    /// It is stored, and will be delivered or told of later.
    Kept,
    /// Nobody misses it.
    NotMissed,
}

/// What a hook answers. An error is sent to the stanza's sender, where the RFC allows one, and ends its way.
pub type Handled = Result<Flow, StanzaError>;

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

/// What happened to a session or an account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A session has its resource.
    Bound(SessionId),
    /// A session has broadcast a presence, its first or another (RFC 6121 §4.2, §4.4): [`super::session::Session::presence`].
    Broadcast(SessionId),
    /// A session became available with a priority that takes messages, or raised it to one that does (RFC 6121 §4.2, §8.5).
    Receives(SessionId),
    /// A session is gone; it is in no table any more. `clean`: its client ended the stream itself.
    Closed {
        /// Which.
        sid: SessionId,
        /// Whose.
        local: Box<str>,
        /// Whether the client ended the stream itself, with everything read.
        clean: bool,
    },
    /// An account was removed, with all that is stored for it.
    Removed(Box<str>),
    /// A session has lost its connection and waits for its client (XEP-0198 §7).
    Parted(SessionId),
    /// A session that had lost its connection has another (XEP-0198 §5).
    Resumed(SessionId),
    /// A component is not attached any more: nobody is at this domain.
    ComponentGone(Jid),
    /// A session has read in the archive what it had asked for when [`State::await_reading`] was called.
    Read(SessionId),
    /// An item was published at a node of an account; its payload can be read.
    Published {
        /// Whose node.
        local: Box<str>,
        /// The node.
        node: Box<str>,
        /// The id of the item.
        item: Box<str>,
    },
    /// An item of a node of an account is gone, or all of them are.
    Retracted {
        /// Whose node.
        local: Box<str>,
        /// The node.
        node: Box<str>,
        /// The id of the item; `None`: all.
        item: Option<Box<str>>,
    },
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

    /// The client answered what [`State::request`] asked of it, with a result or an error.
    fn replied(&mut self, st: &mut State, sid: SessionId, job: Job, reply: &Stanza) {}

    /// What [`State::inquire`] was answered: a result or an error.
    fn answered(&mut self, st: &mut State, job: Job, reply: &Stanza) {}

    /// The time that [`State::after`] waited for has come.
    fn timer(&mut self, st: &mut State, job: Job) {}
}
