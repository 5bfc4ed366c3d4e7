//! What is still to be done: later in this turn, once it is stored, or when its time comes.

use super::event::Event;
use super::ids::{Job, SessionId, StreamId};
use crate::wire::scram::Credentials;
use crate::wire::{Jid, Manage, Stanza, StreamError};

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
    Promise(Ack),
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

/// Something promised that waits until its changes are on stable storage.
#[derive(Debug)]
pub(super) enum Ack {
    Reply(Stanza),
    /// To a stream that wants to register an account.
    Registered(StreamId, Stanza),
    /// To a stream whose session is in no table any more.
    To(StreamId, Stanza),
    Close(StreamId, Option<StreamError>),
    /// What came of a command of the owner, and whether it changed something.
    Told(Job, Result<Vec<String>, String>, bool),
    /// The same of one that is taken back if it cannot be stored.
    Made(Job, Result<Vec<String>, String>, Undo),
    /// A line of the program's log, which waits as long as it takes.
    Log(String),
    Manage(StreamId, Manage),
    /// A login, which goes on.
    Login(StreamId),
    /// The connection, the session, the number of its stream, and what its client has handled.
    Resumed {
        stream: StreamId,
        sid: SessionId,
        number: u64,
        h: u32,
    },
}

/// How a change of the owner is taken back that could not be stored: a password that was printed for nobody opens nothing later.
#[derive(Debug)]
pub(super) enum Undo {
    /// A new account.
    Added(Jid),
    /// Another password: what was there before.
    Password(Jid, Credentials),
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
