//! What people are called in a room besides (XEP-0317).

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

/// The element that a person's presence in a room gets, if they have hats.
pub fn element(_room: &super::room::Room, _bare: &crate::wire::Jid) -> Option<String> {
    None
}
