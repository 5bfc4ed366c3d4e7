//! The use cases of moderators and admins (XEP-0045 §8, §9).

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
