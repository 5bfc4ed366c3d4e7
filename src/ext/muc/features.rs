//! What hangs on a room besides what every room has. Each feature keeps its state in one field here and has its rows beside those of
//! the room; what only one of them knows stays in its file.

use super::hats::{self, Hats};
use super::moderate::{self, Retracted};
use super::room::Room;
use super::vcard;
use crate::core::State;
use crate::store::{Batch, StoreError};
use crate::wire::StanzaError;
use std::collections::BTreeMap;

/// The state of the features of one room.
#[derive(Debug, Default)]
pub(super) struct Features {
    /// What moderators took back, by its number in the archive.
    pub(super) retracted: BTreeMap<u64, Retracted>,
    /// What people are called besides.
    pub(super) hats: Hats,
    /// If there is a vCard: the hashes of its pictures.
    pub(super) vcard: Option<Vec<String>>,
    /// The bytes of its vCard, and how many of them are in the share already.
    pub(super) picture: (usize, usize),
}

/// A row that is read at the start and is none of the room's own. Rows with other names are of a newer version.
pub(super) fn load(room: &mut Room, what: &str, value: &[u8]) -> Result<(), StoreError> {
    moderate::load(room, what, value)?;
    hats::load(room, what, value)?;
    vcard::load(room, what, value)
}

/// The room is stored from now on: so is what they have.
pub(super) fn store(room: &Room, st: &mut State) -> Result<(), StanzaError> {
    moderate::store(room, st)?;
    hats::store(room, st, &room.features.hats)
}

/// All rows of the room go: so does what they have elsewhere.
pub(super) fn forget(room: &Room, batch: &mut Batch) {
    vcard::forget(room, batch);
}

/// The room is not stored any more: what they have nowhere but on the disk is gone.
pub(super) fn forgotten(room: &mut Room) {
    vcard::forgotten(room);
}
