//! What extensions are told.

use super::ids::SessionId;
use crate::wire::Jid;

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
    /// An account was made, or is given what everybody in the house has: the room of the house is due to it ([`super::State::house_room`]).
    Arrived(Box<str>),
    /// The settings are others, or who administers the server.
    Configured,
    /// A room of the house was ended.
    HouseEnded(Jid),
    /// Somebody has made this account by an invitation into this room.
    Invited {
        /// Whose account.
        local: Box<str>,
        /// The room.
        room: Jid,
    },
    /// An account has become a member of a room without asking for it.
    Enrolled {
        /// Whose account.
        local: Box<str>,
        /// The room.
        room: Jid,
        /// What the room is called, if it has a name.
        name: Option<Box<str>>,
    },
    /// A session has lost its connection and waits for its client (XEP-0198 §7).
    Parted(SessionId),
    /// A session that had lost its connection has another (XEP-0198 §5).
    Resumed(SessionId),
    /// A component is not attached any more: nobody is at this domain.
    ComponentGone(Jid),
    /// A session has read in the archive what it had asked for when [`super::State::await_reading`] was called.
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
