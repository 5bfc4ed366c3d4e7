//! The roster (RFC 6121 §2): what an account keeps of its contacts ([`list`]), and how that is asked for and changed ([`change`]).

mod change;
pub(super) mod list;

pub(crate) use change::{get, put, set};
pub(crate) use list::{Item, NAME_BYTES, REQUEST_BYTES, Roster, SHARED};
