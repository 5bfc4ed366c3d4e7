//! A file of the server itself, with which its owner tries whether files come and go. No account has the server's address.

use crate::core::{SlotRefusal, UploadPurpose, WantedSlot};
use crate::service::hub::Hub;
use crate::wire::Jid;

/// Room that is left to everybody else's files, in bytes.
const SPARE_BYTES: u64 = 1024 * 1024;

/// A slot for it: the URL, and what `Authorization` has to say. Nobody's file goes for it.
///
/// # Errors
/// Why there is none.
pub(super) fn slot(hub: &Hub, domain: &Jid, bytes: u64) -> Result<Vec<String>, String> {
    let Some(files) = hub.files() else { return Err("no files can be uploaded here".into()) };
    let usage = files.usage();
    if usage.bytes.saturating_add(bytes).saturating_add(SPARE_BYTES) > usage.total_bytes {
        return Err("uploaded files have all the room that they may have, and the oldest would go for it".into());
    }
    let (name, owner) = ("observed".into(), domain.clone());
    let wanted = WantedSlot { owner, name, size: bytes, content_type: None, purpose: UploadPurpose::Message };
    match files.slot(&wanted, hub.mono()) {
        Ok(slot) => Ok(vec![slot.put, slot.authorization]),
        Err(SlotRefusal::TooLarge(_)) => Err("files may not be as large".into()),
        Err(SlotRefusal::Later(_, why) | SlotRefusal::Unavailable(why)) => Err(why.into()),
    }
}

/// Removes it.
pub(super) fn remove(hub: &Hub, domain: &Jid) {
    hub.files().iter().for_each(|files| files.remove_of(domain));
}
