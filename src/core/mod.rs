//! STATE: who is here, what may they do, where does it go. A value without a socket, clock, thread, random source or disk.
//!
//! - The value: [`server`] is what it is made of and how hooks are called, [`open`](mod@open) how it is read at a start, [`turn`] its one entrance. What goes in and comes out
//!   is in [`effect`], what is asked for a file in [`slot`], what is still to be done in a turn in [`work`].
//! - What everybody shares is a [`State`] of parts that know nothing of each other: who is [`here`], with [`account`]s, [`session`]s, [`roster`]s and what is
//!   [`archived`]; the [`changes`] on their way to storage and what is [promised](promise) with them; the [`questions`] that wait; [`number`]s
//!   and the [`clock`]; [`token`]s, [`logins`] and the [`throttle`]; who may [notify] because they know a token ([`notifier`]), and who is [invited](invite) by one ([`invitation`]), under which [`names`]; what was [`written`] and is being [read](reading), and for whom.
//! - Its verbs stand with what they are about: [`saying`], [`asking`], [`storing`], [`accounts`], [`marks`], [`paying`], [`fast`], [`presence`].
//! - What comes in goes its way in [`message`], which tells it step by step; a stream gets there by [`login`] and [`bind`].
//!   Who is elsewhere is in [`peers`].
//! - What an extension is, is told in [`hook`]; what it says of itself in [`about`], what its hooks answer in [`outcome`], what it is told in [`event`].

mod about;
pub(crate) mod account;
mod accounts;
pub(crate) mod admin;
pub(crate) mod archived;
mod asking;
mod bind;
mod changes;
pub(crate) mod clock;
pub(crate) mod effect;
mod event;
mod fast;
mod here;
pub(crate) mod hook;
mod household;
mod ids;
mod impossible;
pub(crate) mod invitation;
mod invite;
mod login;
mod logins;
mod marks;
pub mod message;
mod names;
mod notifier;
mod notify;
mod number;
mod open;
mod outcome;
mod paying;
pub mod peers;
pub(crate) mod presence;
mod promise;
mod questions;
mod random;
pub(crate) mod reading;
mod residents;
pub(crate) mod roster;
mod rows;
mod saying;
mod server;
pub mod session;
pub(crate) mod settings;
pub mod share;
mod slot;
pub(crate) mod state;
mod storing;
pub(crate) mod subscription;
pub(crate) mod throttle;
pub mod token;
mod turn;
pub(crate) mod unordered;
mod work;
pub(crate) mod written;

pub use about::About;
pub use effect::{Command, Effect, Input, Now};
pub use event::Event;
pub use hook::{Extension, Inline, Place};
pub use ids::{Job, SessionId, StreamId};
pub use invitation::{
    ACCOUNT_INVITATIONS, CHAIN_INVITATIONS, INVITATION_DAYS, INVITATION_USES, INVITATIONS, InvitationKind,
    InvitationView, STRANGERS_INVITATIONS, TOKEN_PLACE, TakeRefusal, WantedInvitation, invitation_token,
};
pub use invite::password_fault;
pub use message::{Recovered, Way, Worth};
pub(crate) use names::is_format;
pub use names::{NAME_BYTES, NameFault};
pub use notifier::{NOTIFIER_NAME_BYTES, NOTIFIERS, NotifyRefusal, TokenDigest, WantedNotifier, token_digest};
pub use open::stored_domain;
pub use outcome::{Accepts, Flow, Handled, Hold};
pub use residents::{HOUSE_CONTACTS, NoRoom, TOO_MANY};
pub use rows::scan;
pub use server::Core;
pub use settings::{Creators, Federates, Federation, Given, Household, Inviters, PushContent, RoomKind, Settings};
pub use slot::{CONTENT_TYPE_BYTES, FILE_NAME_BYTES, Slot, SlotRefusal, UploadPurpose, WantedSlot};
pub use state::State;
pub use throttle::network;
