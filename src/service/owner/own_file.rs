//! A file of the server itself, with which its owner tries whether files come and go. No account has the server's address.

use crate::core::{SlotRefusal, UploadPurpose, WantedSlot};
use crate::service::hub::Hub;
use crate::service::lock;
use crate::stream::Mono;
use crate::wire::Jid;
use std::sync::Mutex;

/// Room that is left to everybody else's files, in bytes.
const SPARE_BYTES: u64 = 1024 * 1024;

/// One is tried at a time, for no longer than this, in milliseconds: what is removed is all that the server has.
const TRIAL_MS: u64 = 30_000;

/// Whether one is being tried, and since when.
#[derive(Debug, Default)]
pub(in crate::service) struct OwnFile(Mutex<Option<Mono>>);

impl OwnFile {
    /// A slot for it: the URL, and what `Authorization` has to say. Nobody's file goes for it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn slot(&self, hub: &Hub, domain: &Jid, bytes: u64) -> Result<Vec<String>, String> {
        let Some(files) = hub.files() else { return Err("no files can be uploaded here".into()) };
        let now = hub.mono();
        let mut begun = lock(&self.0);
        if begun.is_some_and(|begun| now < begun + TRIAL_MS) {
            return Err("another check is trying it right now".into());
        }
        let usage = files.usage();
        if usage.bytes.saturating_add(bytes).saturating_add(SPARE_BYTES) > usage.total_bytes {
            return Err("uploaded files have all the room that they may have, and the oldest would go for it".into());
        }
        // Of a check that was broken off.
        files.remove_of(domain);
        let (name, owner) = ("observed".into(), domain.clone());
        let wanted = WantedSlot { owner, name, size: bytes, content_type: None, purpose: UploadPurpose::Message };
        match files.slot(&wanted, now) {
            Ok(slot) => {
                *begun = Some(now);
                Ok(vec![slot.put, slot.authorization])
            }
            Err(SlotRefusal::TooLarge(_)) => Err("files may not be as large".into()),
            Err(SlotRefusal::Later(_, why) | SlotRefusal::Unavailable(why)) => Err(why.into()),
        }
    }

    /// Removes it.
    pub fn remove(&self, hub: &Hub, domain: &Jid) {
        hub.files().iter().for_each(|files| files.remove_of(domain));
        *lock(&self.0) = None;
    }
}
