//! THE FILES that people upload (XEP-0363): in the folder `uploads` of the data folder, one file each, and nothing about them anywhere
//! else.
//!
//! A file describes itself: its first [`HEADER_BYTES`] say whose it is, what it is called and what is in it, and the content follows. So it
//! is there as soon as it has its name, whole, with all that is known of it, and gone with its name; there is no second place that could say
//! something else after a power cut, no row to be written for it, and a backup is a copy.
//!
//! While it comes in it is `ID.part`. Then its header is written, it is synced, gets its name `ID`, and the folder is synced: only then its
//! sender is told that it is there (201), **and what was told survives the plug**. A `.part` that is found at the start is what a
//! power cut has left of one whose sender was told nothing; it is removed.
//!
//! - [`limits`]: what the owner has set, and what follows from it on this disk.
//! - [`name`]: ids, tokens and URLs. [`header`]: the record at the beginning of a file; [`check`]: whether what follows is what it says. [`types`]: as what a file is served.
//! - [`room`]: which files and slots there are, how much everybody has, and who may have more. It knows no disk.
//! - [`store`]: the folder.

pub(crate) mod check;
pub(crate) mod header;
pub(crate) mod limits;
pub(crate) mod name;
pub(crate) mod room;
pub(crate) mod store;
pub(crate) mod types;

pub use header::HEADER_BYTES;
pub use limits::{FileLimits, UploadSettings};
pub use room::{FilesUsage, PutRefusal, PutRequest};
pub use store::{Files, StoredFile, Upload};
pub use types::{Served, served_as};
