//! Registration with a room (XEP-0045 §7.10).

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
