//! Invitations: who may make an account, or set a new password, because they know a token.

use crate::wire::Jid;

/// What a token is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum InvitationKind {
    /// A new account.
    Account,
    /// Another password for an account that is there.
    Reset,
}

/// What may be shown of an invitation to who knows its token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvitationView {
    /// What it is for.
    pub kind: InvitationKind,
    /// Whose contact one becomes; a bare JID.
    pub inviter: Option<Jid>,
    /// The localpart that is reserved for it, or that of the account that gets another password.
    pub name: Option<Box<str>>,
    /// The room that one becomes a member of.
    pub room: Option<Jid>,
    /// Whether one becomes an administrator.
    pub admin: bool,
    /// Until when it can be taken, in seconds since 1970.
    pub until: u64,
}

/// Why a name cannot be taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NameFault {
    /// There is none.
    Missing,
    /// It is longer than [`NAME_BYTES`].
    TooLong,
    /// It is no localpart (RFC 7622 §3.3), or has characters that nobody could type.
    NotAllowed,
    /// Somebody has it.
    Taken,
    /// It is kept for who runs the server, or for somebody else who is invited.
    Reserved,
    /// It looks like the name of somebody else.
    LookAlike,
}

/// The longest name that somebody can choose, in bytes.
pub const NAME_BYTES: usize = 64;

/// Why an invitation is not taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TakeRefusal {
    /// There is none with this token: there never was, it was used, or its time is over.
    Unknown,
    /// Another name must be chosen.
    Name(NameFault),
    /// Another password must be chosen: why, in plain words.
    Password(&'static str),
    /// Too often: again in so many milliseconds.
    Later(u64),
    /// It cannot be stored now: why.
    NotStored(String),
}
