//! Taking back what others said (XEP-0425, XEP-0424).

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

/// Changes a message from the archive that was taken back: `id` is its number.
pub fn apply(_room: &super::room::Room, _id: u64, _message: &mut Stanza) {}
