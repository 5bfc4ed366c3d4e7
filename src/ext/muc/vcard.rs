//! The vCard and the avatar of a room (XEP-0486).

use super::Muc;
use crate::core::{Handled, State};
use crate::wire::{Condition, Stanza};

/// A request to a room.
pub fn iq(muc: &mut Muc, _st: &mut State, local: &str, _iq: &Stanza) -> Handled {
    match muc.rooms.contains_key(local) {
        true => Err(Condition::FeatureNotImplemented.into()),
        false => Err(Condition::ItemNotFound.into()),
    }
}

/// Features of rooms.
pub const FEATURES: &[&str] = &[];

/// Adds to the form in which a room tells of itself.
pub fn fields(_room: &super::room::Room, _form: &mut crate::ext::disco::Form) {}
