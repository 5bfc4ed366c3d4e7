//! What is promised with a change, and waits until that is on stable storage.

use super::ids::{Job, SessionId, StreamId};
use super::invitation::{TOKEN_PLACE, TakeRefusal};
use super::notifier::NotifyRefusal;
use crate::wire::scram::Credentials;
use crate::wire::{Condition, Jid, Kind, Manage, Stanza, StanzaError, StreamError, Type};

/// Why nothing is stored, and what the owner of the box does about it.
pub(super) const FULL: &str = "the server's storage is full or failing";
pub(super) const CHECK: &str = "`inglenook check` says what is wrong; make room on that disk";

/// Something promised that waits until its changes are on stable storage.
#[derive(Debug)]
pub(super) enum Promise {
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
    /// What became of a notification: the `id` of its message.
    Notified(Job, Result<String, NotifyRefusal>),
    /// What became of an invitation: whose account it has made.
    Taken(Job, Result<Jid, TakeRefusal>),
    /// A line of the program's log, which waits as long as it takes.
    Log(String),
    Manage(StreamId, Manage),
    /// An account that is to be introduced to everybody in the house, which waits as long as it takes.
    Introduce(Box<str>),
    /// A login, which goes on.
    Login(StreamId),
    /// The connection, the session, the number of its stream, and what its client has handled.
    Resumed {
        stream: StreamId,
        sid: SessionId,
        number: u64,
        h: u32,
    },
    /// A server is asked to carry on what we have counted under this number.
    PeerResume {
        stream: StreamId,
        number: u64,
    },
    /// A server wants to, and has handled so many.
    PeerResumed {
        stream: StreamId,
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

/// What a command of the owner has done, for the log: that, and what came of it. What only the owner can use is not for the log.
pub(super) fn logged(lines: &[String]) -> impl Iterator<Item = String> + '_ {
    let why = |n: usize| if n == 0 { ", as the owner wants" } else { "" };
    let lines = lines.iter().filter(|line| !line.contains(TOKEN_PLACE));
    lines.enumerate().map(move |(n, line)| format!("{line}{}", why(n)))
}

impl Promise {
    /// Whether it is told also while storage takes nothing: nobody is promised that a change is stored.
    pub(super) fn can_be_told(&self) -> bool {
        let is_for_a_server = matches!(self, Promise::PeerResume { .. } | Promise::PeerResumed { .. });
        is_for_a_server
            || matches!(
                self,
                Promise::Manage(..) | Promise::Login(_) | Promise::Resumed { .. } | Promise::Close(_, None)
            )
    }

    /// What is told in its place when storage fails behind the change: that it is made and not stored. Who waits for ever learns less,
    /// and "done" or "not done" may both be wrong: it is stored as soon as that is possible, and lost if the server ends before.
    pub(super) fn not_stored(self) -> Promise {
        const WHY: &str = "the server's storage is full or failing: this is not stored yet. It will be as soon as there is room; if the \
                           server ends before that, it is lost";
        let error = |stanza: Stanza| match (stanza.kind, stanza.ty) {
            (Kind::Iq, Type::Result) => {
                let mut request = stanza.clone();
                (request.from, request.to, request.ty) = (stanza.to.clone(), stanza.from.clone(), Type::Set);
                let error = StanzaError::new(Condition::ResourceConstraint).text(WHY);
                Stanza::error_of(&request, &error).unwrap_or(stanza)
            }
            _ => stanza,
        };
        match self {
            Promise::Reply(stanza) => Promise::Reply(error(stanza)),
            Promise::Registered(sid, stanza) => Promise::Registered(sid, error(stanza)),
            Promise::To(sid, stanza) => Promise::To(sid, error(stanza)),
            Promise::Notified(job, Ok(_)) => Promise::Notified(job, Err(NotifyRefusal::NotStored(WHY.into()))),
            Promise::Taken(job, Ok(_)) => Promise::Taken(job, Err(TakeRefusal::NotStored(WHY.into()))),
            Promise::Told(job, Ok(_), changed) => Promise::Told(job, Err(format!("{WHY}. {CHECK}")), changed),
            Promise::Made(job, Ok(_), undo) => {
                let (what, jid) = match &undo {
                    Undo::Added(jid) => ("not added", jid),
                    Undo::Password(jid, _) => ("not given another password", jid),
                };
                let why =
                    format!("{jid} is {what}: the server's storage is full or failing. {CHECK}; then say it again");
                Promise::Made(job, Err(why), undo)
            }
            other => other,
        }
    }
}
