//! The roster (RFC 6121 §2): what an account keeps of its contacts ([`list`]), and how that is asked for and changed ([`change`]).

mod change;
pub(super) mod list;
mod words;

pub(crate) use change::{get, put, set};
pub(super) use words::Words;

pub(crate) use list::{Item, NAME_BYTES, REQUEST_BYTES, Roster, SHARED};
