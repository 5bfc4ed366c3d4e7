//! What goes into the core and what comes out of it: the whole interface to the world.

use super::ids::{Job, StreamId};
use super::invitation::{TakeRefusal, WantedInvitation};
use super::notifier::{NotifyRefusal, TokenDigest, WantedNotifier};
use super::slot::{Slot, SlotRefusal, WantedSlot};
use crate::store::{Batch, Query, Rows};
use crate::wire::login::{Begin, Begun, Refused};
use crate::wire::scram::Credentials;
use crate::wire::{DomainPair, Jid, Manage, ManageAnswer, Proof, Refusal, Secret, Stanza, StanzaError, StreamError};
use std::net::IpAddr;

/// The time, told with every input.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    /// Milliseconds on a clock that never jumps: what waits, waits by it.
    pub mono: u64,
    /// Milliseconds since 1970 as the box believes: what is stamped, is stamped by it. It may jump.
    pub wall: u64,
}

/// What can happen to the core.
#[derive(Debug)]
pub enum Input {
    /// A stream wants to log in as this bare JID from this address. The answer is [`Effect::Credentials`], late when
    /// somebody has been guessing (never sooner than it may be answered).
    Login(StreamId, Jid, IpAddr),
    /// How that ended.
    LoginEnded(StreamId, Jid, IpAddr, bool),
    /// A stream wants to begin as it says, from this address (XEP-0388 §2.6); the answer is [`Effect::Begun`], late when it must wait
    /// for storage, or somebody has been guessing.
    Begin(StreamId, Box<Begin>, IpAddr),
    /// An authenticated stream wants a resource; the answer is [`Effect::Bound`].
    Bind(StreamId, Jid, Option<String>),
    /// A stream has proved that it is this component and knows this secret (XEP-0114); the answer is [`Effect::Bound`] with its name, or [`Effect::Close`].
    Attach(StreamId, Jid, Secret),
    /// A stanza of a bound session, of an attached component, or of a server between two domains that it has proved.
    Stanza(StreamId, Stanza),
    /// In-band registration before authentication, from this address; the answer is [`Effect::Registered`].
    Register(StreamId, IpAddr, Stanza),
    /// A server that has dialled us has proved that it may speak for its domain; the answer is [`Effect::Judged`].
    PeerProved(StreamId, DomainPair, Proof),
    /// It shows a key of dialback instead, on a stream that we call `id`; the answer is [`Effect::Judged`], late.
    PeerKey {
        /// Its stream.
        stream: StreamId,
        /// For which domains.
        pair: DomainPair,
        /// What we call the stream.
        id: String,
        /// The key.
        key: String,
    },
    /// Answers [`Effect::Verify`]: whether the key is theirs, or why nobody could say.
    PeerVerified(StreamId, DomainPair, Result<bool, Refusal>),
    /// Stanzas of this pair may come on this stream.
    PeerOpen {
        /// The stream.
        stream: StreamId,
        /// For which domains.
        pair: DomainPair,
        /// What proved it.
        proof: Proof,
        /// Whether stanzas may be sent on it, too.
        sends: bool,
        /// Whether it answers [`Effect::Dial`].
        dialled: bool,
        /// Whether stream management may be had on it: whoever has dialled asks for it.
        manages: bool,
    },
    /// A server that has dialled us wants to carry on what was on another stream by this id; it has handled so many of our stanzas (XEP-0198
    /// §5). The answer is [`Manage::Resumed`] or [`Manage::Failed`], once it is sure.
    PeerResume(StreamId, String, u32),
    /// A server that we have dialled answers [`Manage::Enable`] or [`Manage::Resume`].
    PeerManaged(StreamId, ManageAnswer),
    /// The other answer to [`Effect::Dial`]: nothing came of it.
    PeerRefused(DomainPair, Refusal),
    /// The stream is gone. `clean`: the peer ended it itself, with everything read.
    Closed(StreamId, bool),
    /// The client of a session with stream management closed its stream; [`Effect::Close`] follows when what it acknowledged is
    /// on stable storage.
    Closing(StreamId),
    /// A bound stream, or one of another server, wants stream management (XEP-0198 §3), whether it wants to be resumed, and for how many seconds at most. The
    /// answer is [`Manage::Enabled`].
    Enable(StreamId, bool, Option<u32>),
    /// An authenticated stream of this account wants to carry on the session with this id, of whose stanzas it has handled so many
    /// (XEP-0198 §5). The answer is [`Manage::Resumed`] or [`Manage::Failed`], once it is sure.
    Resume(StreamId, Jid, String, u32),
    /// The client has handled so many stanzas.
    Acknowledged(StreamId, u32),
    /// The client wants to know how many of its stanzas were handled; the answer is [`Manage::Ack`], once it is a promise.
    Acknowledge(StreamId),
    /// Whether somebody looks at the client (XEP-0352).
    Active(StreamId, bool),
    /// What a query found, or nothing when it could not be read.
    Answer(Job, Option<Rows>),
    /// Keys made from a password.
    Hashed(Job, Option<Credentials>),
    /// Answers [`Effect::Slot`].
    Slot(Job, Result<Slot, SlotRefusal>),
    /// All batches up to this number are on stable storage.
    Committed(u64),
    /// So many bytes more can be stored, about.
    Room(u64),
    /// Storage fails (`true`), or takes again what it was handed: nothing that must be stored is accepted meanwhile, and who waits for
    /// it is told that it is not stored yet.
    Stalled(bool),
    /// The disk is full (`true`) up to what is kept free, or there is room again: nothing that must be stored is accepted
    /// meanwhile. What was accepted before still is stored: that is one of the things that room is kept free for.
    Full(bool),
    /// Whether what makes room is accepted while the disk is full, too: as long as some of what is kept free is left.
    Erases(bool),
    /// A command of the box's owner; the answer is [`Effect::Told`].
    Command(Job, Command),
    /// Somebody knows the token with this digest, and has this to say; the answer is [`Effect::Notified`].
    Notify(Job, TokenDigest, Box<str>),
    /// Somebody at this address, who may, takes the invitation with this digest, with this name and the keys of the password that they have
    /// chosen; the answer is [`Effect::Taken`].
    Take(Job, TokenDigest, Box<str>, Credentials, IpAddr),
    /// The time asked for has come.
    Tick,
}

/// What the box's owner can ask for.
#[derive(Clone, PartialEq, Eq)]
pub enum Command {
    /// A new account.
    UserAdd(Jid, Credentials),
    /// Other keys for an account; its sessions go on.
    UserPassword(Jid, Credentials),
    /// The accounts.
    UserList,
    /// Removes an account and all that is stored for it, and tells its contacts.
    UserRemove(Jid),
    /// Whether an account administers the server, beside those that the settings name.
    UserAdmin(Jid, bool),
    /// The rooms, and who owns them.
    RoomList,
    /// Makes an account an owner of a room.
    RoomOwner(Jid, Jid),
    /// Destroys a room with all that is stored for it, and tells who is there.
    RoomRemove(Jid),
    /// One more who may say something by HTTP.
    NotifierAdd(WantedNotifier),
    /// Who may.
    NotifierList,
    /// The one of this name may no longer.
    NotifierRemove(Box<str>),
    /// One more invitation.
    Invite(Box<WantedInvitation>),
    /// Those that are open.
    InvitationList,
    /// The one of this name can be taken no longer.
    InvitationRevoke(Box<str>),
    /// The owner's newest gets a token with this digest.
    InvitationRenew(TokenDigest),
}

/// What the core wants done. In order; each once.
#[derive(Debug)]
pub enum Effect {
    /// What the user's password must prove. Unknown users have some, too.
    Credentials(StreamId, Credentials),
    /// How the stream begins, or why not. What belongs to it follows.
    Begun(StreamId, Result<Begun, Refused>),
    /// The session or the component has this address now, or cannot have one.
    Bound(StreamId, Result<Jid, StanzaError>),
    /// Writes the answer to [`Input::Register`].
    Registered(StreamId, Stanza),
    /// Writes a stanza to a stream.
    Send(StreamId, Stanza),
    /// Writes an element of stream management to a stream.
    Manage(StreamId, Manage),
    /// Whether a peer may speak for its domain here: what proves it, or why not. Answers [`Input::PeerProved`] and [`Input::PeerKey`].
    Judged(StreamId, DomainPair, Result<Proof, Refusal>),
    /// Makes a stream to another server, for what is said from one domain of ours; the answer is [`Input::PeerOpen`] or
    /// [`Input::PeerRefused`], within a minute.
    Dial(DomainPair),
    /// Asks the domain's own server whether a key of dialback is theirs (XEP-0220 §2.1.2); the answer is [`Input::PeerVerified`], within a
    /// minute.
    Verify {
        /// The stream that it was shown on.
        stream: StreamId,
        /// For which domains.
        pair: DomainPair,
        /// What we call that stream.
        id: String,
        /// The key.
        key: String,
    },
    /// Ends a stream; `None`: with its end tag alone. The core has forgotten it already; no [`Input::Closed`] is due.
    Close(StreamId, Option<StreamError>),
    /// Makes these changes durable, in order of their numbers; the answer is [`Input::Committed`].
    Commit(u64, Batch),
    /// Reads; the answer is [`Input::Answer`]. What was committed before is seen.
    Ask(Job, Query),
    /// Makes keys from a password with this many iterations; the answer is [`Input::Hashed`].
    Hash(Job, String, u32),
    /// Keeps a place for a file that is to be uploaded; the answer is [`Input::Slot`].
    Slot(Job, WantedSlot),
    /// Removes all files that this account has uploaded: it is gone.
    RemoveFiles(Jid),
    /// [`Input::Tick`] at this time (of [`Now::mono`]) or a little later; one before it does no harm. What was asked for last
    /// counts. It is not said again until the tick.
    WakeAt(u64),
    /// What became of [`Input::Notify`]: the `id` of the message, once it is stored; or why nothing is said.
    Notified(Job, Result<String, NotifyRefusal>),
    /// What became of [`Input::Take`]: whose account it is, once it is stored; or why nothing is changed.
    Taken(Job, Result<Jid, TakeRefusal>),
    /// The answer to a command: lines for a person, or what was wrong.
    Told(Job, Result<Vec<String>, String>),
}

// Keys never reach a log.
impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Command::UserAdd(jid, _) => write!(f, "UserAdd({jid})"),
            Command::UserPassword(jid, _) => write!(f, "UserPassword({jid})"),
            Command::UserList => f.write_str("UserList"),
            Command::UserRemove(jid) => write!(f, "UserRemove({jid})"),
            Command::UserAdmin(jid, admin) => write!(f, "UserAdmin({jid}, {admin})"),
            Command::RoomList => f.write_str("RoomList"),
            Command::RoomOwner(room, jid) => write!(f, "RoomOwner({room}, {jid})"),
            Command::RoomRemove(room) => write!(f, "RoomRemove({room})"),
            Command::NotifierAdd(wanted) => write!(f, "NotifierAdd({})", wanted.to),
            Command::NotifierList => f.write_str("NotifierList"),
            Command::NotifierRemove(name) => write!(f, "NotifierRemove({name})"),
            Command::Invite(_) => f.write_str("Invite"),
            Command::InvitationList => f.write_str("InvitationList"),
            Command::InvitationRevoke(name) => write!(f, "InvitationRevoke({name})"),
            Command::InvitationRenew(_) => f.write_str("InvitationRenew"),
        }
    }
}
