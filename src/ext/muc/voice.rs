//! Requests for voice (XEP-0045 §7.13, §8.6).

use super::Muc;
use crate::core::{Flow, Handled, State};
use crate::wire::Stanza;

/// A message to a room, not of the type `groupchat`. `Pass`: it is nothing of the kind.
pub fn message(_muc: &mut Muc, _st: &mut State, _local: &str, _message: &Stanza) -> Handled {
    Ok(Flow::Pass)
}

/// Features of rooms.
pub const FEATURES: &[&str] = &[];
