//! What the owner has set for uploaded files, and what follows from it on this disk.

use super::header::HEADER_BYTES;
use std::path::Path;

/// The folder of uploaded files, in the data folder.
pub(crate) const FOLDER: &str = "uploads";

/// What all files may take if nothing is set, in bytes, where a fifth of the free space is not less.
const TOTAL_BYTES: u64 = 2 << 30;
/// Which part of the free space that is.
const FREE_PART: u64 = 5;
/// Which part of all an account may have if nothing is set.
const ACCOUNT_PART: u64 = 4;

/// The settings in `[uploads]`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UploadSettings {
    /// Whether files can be uploaded.
    pub enabled: bool,
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// What the files of an account may take together, in bytes; 0: a quarter of the next.
    pub account_bytes: u64,
    /// What all files may take together, in bytes; 0: what fits the disk.
    pub total_bytes: u64,
    /// How long a file is kept, in days; 0: as long as there is room.
    pub days: u32,
}

/// What files may take. Each is counted with its header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FileLimits {
    /// The content of one, in bytes.
    pub file_bytes: u64,
    /// Those of an account, in bytes; also what it may upload within a day.
    pub account_bytes: u64,
    /// All of them, in bytes.
    pub total_bytes: u64,
    /// How long one is kept, in seconds; 0: as long as there is room.
    pub seconds: u64,
}

impl FileLimits {
    /// The largest file that fits, in bytes.
    pub fn largest(&self) -> u64 {
        self.file_bytes.min(self.account_bytes.min(self.total_bytes).saturating_sub(HEADER_BYTES))
    }
}

impl UploadSettings {
    /// What they mean for a data folder. Looks at its disk.
    pub fn limits(&self, data: &Path) -> FileLimits {
        let total_bytes = match self.total_bytes {
            0 => TOTAL_BYTES.min(free(data).saturating_add(taken(&data.join(FOLDER))) / FREE_PART),
            bytes => bytes,
        };
        let account_bytes = match self.account_bytes {
            0 => total_bytes / ACCOUNT_PART,
            bytes => bytes.min(total_bytes),
        };
        let seconds = u64::from(self.days) * 86_400;
        FileLimits { file_bytes: self.file_bytes, account_bytes, total_bytes, seconds }
    }
}

/// Bytes that are free on the disk of a folder; where nobody knows, as many as there can be.
fn free(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes of the files in a folder.
fn taken(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;

    const DEFAULT: UploadSettings =
        UploadSettings { enabled: true, file_bytes: 100, account_bytes: 0, total_bytes: 0, days: 30 };

    #[test]
    fn what_is_not_set_fits_the_disk() {
        let temp = Temp::new();
        let limits = DEFAULT.limits(&temp.0);
        assert!(limits.total_bytes > 0 && limits.total_bytes <= TOTAL_BYTES);
        assert_eq!((limits.account_bytes, limits.seconds), (limits.total_bytes / 4, 30 * 86_400));
        assert_eq!(DEFAULT.limits(Path::new("/nowhere")).total_bytes, TOTAL_BYTES);
    }

    #[test]
    fn no_file_is_larger_than_what_there_is_for_all() {
        let limits = UploadSettings { total_bytes: 1 << 20, ..DEFAULT }.limits(Path::new("/"));
        assert_eq!((limits.account_bytes, limits.largest()), (1 << 18, 100));
        let limits = FileLimits { file_bytes: 1 << 30, ..limits };
        assert_eq!(limits.largest(), (1 << 18) - HEADER_BYTES);
        let limits = UploadSettings { total_bytes: 1 << 20, account_bytes: 1 << 30, ..DEFAULT }.limits(Path::new("/"));
        assert_eq!(limits.account_bytes, 1 << 20);
    }

    #[test]
    fn what_the_files_take_counts_as_free() {
        let temp = Temp::new();
        assert_eq!(taken(&temp.0), 0);
        std::fs::write(temp.0.join("one"), [0; 1000]).expect("written");
        std::fs::write(temp.0.join("two"), [0; 234]).expect("written");
        assert_eq!(taken(&temp.0), 1234);
    }
}
