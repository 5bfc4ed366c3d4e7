//! What is asked of whoever keeps uploaded files, and what that answers (XEP-0363 §4).

use crate::wire::Jid;

/// The longest name of a file, in bytes.
pub const FILE_NAME_BYTES: usize = 255;
/// The longest content type, in bytes.
pub const CONTENT_TYPE_BYTES: usize = 127;

/// What a file is uploaded for, of what is honoured (XEP-0363 §5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UploadPurpose {
    /// To be sent in a message (§5.1).
    #[default]
    Message,
    /// The same, and nobody gets it at this time or later, in milliseconds since 1970 (§5.3).
    Ephemeral(u64),
}

/// A place for one file, as somebody wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WantedSlot {
    /// The bare JID of the account that uploads it.
    pub owner: Jid,
    /// What it is called, at most [`FILE_NAME_BYTES`].
    pub name: Box<str>,
    /// How long it is, in bytes.
    pub size: u64,
    /// Its content type, if that was told, at most [`CONTENT_TYPE_BYTES`].
    pub content_type: Option<Box<str>>,
    /// What it is for.
    pub purpose: UploadPurpose,
}

/// The place that it gets.
#[derive(Clone, PartialEq, Eq)]
pub struct Slot {
    /// Where it is to be put, by HTTP.
    pub put: String,
    /// Where it is to be had then.
    pub get: String,
    /// What the field `Authorization` of the request that puts it has to say.
    pub authorization: String,
}

/// Why there is no place for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SlotRefusal {
    /// It is larger than any file may be: so many bytes.
    TooLarge(u64),
    /// There may be room in so many milliseconds.
    Later(u64, &'static str),
    /// It is not the account's fault.
    Unavailable(&'static str),
}

// Whoever reads it in a log could put a file there.
impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").finish_non_exhaustive()
    }
}
