//! What is still to be done: later in this turn, once it is stored, or when its time comes.

use super::event::Event;
use super::ids::{Job, SessionId, StreamId};
use super::promise::Promise;
use crate::wire::{DomainPair, Jid, Stanza};

/// What is still to be done in this turn. A queue instead of calls: hooks are never entered twice.
#[derive(Debug)]
pub(super) enum Work {
    /// A stanza on its way, `from` and `to` set.
    Route(Stanza),
    /// Something for the `event` hooks.
    Event(Event),
    /// A message that was handed to these sessions of an account, for the `delivered` hooks.
    Delivered(Box<str>, Stanza, Vec<SessionId>),
    /// An account whose sessions are gone, and everybody knows.
    Remove(Leaving),
    /// The answer to a command, behind all that the command is.
    Tell(Job, Result<Vec<String>, String>),
    /// A message that somebody of the account has.
    Had(Box<str>, u64),
    /// A message that may have to be kept.
    Hold(Stanza),
    /// A message that is to be kept, if it is on its way.
    Keep(Stanza),
    /// What the answer to a question of an extension is.
    Answered(Job, Stanza),
    /// A stanza that a session left behind.
    Left(SessionId, Stanza),
    /// An answer to what was done before.
    Promise(Promise),
    /// An account that is to be introduced to everybody in the house.
    Introduce(Box<str>),
    /// A session whose client does not acknowledge what it gets.
    Overflow(SessionId),
    /// A login that goes on.
    Login(StreamId),
}

/// Whose stanza is being handled.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payer {
    Session(SessionId),
    /// A component or another server, by its stream.
    Peer(StreamId),
}

/// Something that waits for its time.
#[derive(Debug)]
pub(super) enum Timer {
    /// Of those who want to log in, and wait.
    Logins,
    Extension(usize, Job),
    Unanswered(SessionId),
    Hibernated(SessionId),
    Note,
    Greeting(StreamId),
    /// Of those who are to be introduced to everybody in the house.
    Household,
    /// Somebody may be called otherwise again; a localpart.
    Called(Box<str>),
    /// Of the streams to other servers that stay.
    Kept,
    /// A stream of another server that is gone.
    PeerClosed(StreamId),
    /// Stream management with another server, by its number: an answer is due, or nothing carries it.
    PeerUnanswered(u64),
    PeerLost(u64),
    /// Another server is to be reached again.
    PeerRetry(DomainPair),
}

/// An account that is being removed.
#[derive(Debug)]
pub(super) struct Leaving {
    pub(super) jid: Jid,
    /// Its streams, which end when it is stored.
    pub(super) streams: Vec<StreamId>,
    /// The stream that asked for it, and its answer.
    pub(super) answer: Option<(StreamId, Stanza)>,
}
