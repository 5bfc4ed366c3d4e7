//! A few words with the file system.

use super::StoreError;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes that stay free on the disk whatever is stored, so that sled never meets its end: some of its segments of 512 KiB.
pub const RESERVE_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes that stay free when what was accepted before the disk was full is stored.
pub(crate) const RESERVE_ACCEPTED_BYTES: u64 = 2 * 1024 * 1024;

/// Bytes that stay free when a commit only deletes: a full disk must not keep anybody from making room.
pub const RESERVE_DELETING_BYTES: u64 = 1024 * 1024;

/// How long to wait for what the system does not have now, and how often to ask for it.
const PATIENCE: Duration = Duration::from_secs(10);
const ASK_AGAIN: Duration = Duration::from_millis(20);

/// Opens something where an error would be the end, though the system may only be short of descriptors or memory for a moment.
pub(super) fn patiently<T>(mut open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let begun = Instant::now();
    loop {
        match open() {
            Err(e) if is_short(&e) && begun.elapsed() < PATIENCE => std::thread::sleep(ASK_AGAIN),
            done => return done,
        }
    }
}

/// Whether the system has no descriptor or no memory to give.
fn is_short(e: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(Errno::from_io_error(e), Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::INTR | Errno::AGAIN))
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    patiently(|| File::open(dir))?.sync_all()
}

/// Makes a folder whose name is durable when this returns, unless it is there.
pub(super) fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Bytes that may still be written to the file system of `dir`.
pub(super) fn free_bytes(dir: &Path) -> io::Result<u64> {
    let stat = rustix::fs::statvfs(dir)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Bytes that a commit may still add, about.
pub(super) fn room_bytes(dir: &Path) -> io::Result<u64> {
    Ok(free_bytes(dir)?.saturating_sub(RESERVE_BYTES))
}

/// Refuses if fewer bytes than `need` are free.
pub(super) fn room(dir: &Path, need: u64) -> Result<(), StoreError> {
    let free = free_bytes(dir).map_err(|e| refused("look at", dir, &e))?;
    if free >= need {
        return Ok(());
    }
    Err(StoreError::Full(format!(
        "only {} KiB are free on the disk of {}, and {} KiB must be. Nothing was changed; make room on that disk (`inglenook check` says when there is enough)",
        free >> 10,
        dir.display(),
        need.div_ceil(1024)
    )))
}

/// Bytes of all files in a folder; a folder that is not there holds none.
pub(super) fn used_bytes(dir: &Path) -> io::Result<u64> {
    let mut sum = 0;
    for entry in entries(dir)? {
        let meta = entry.metadata()?;
        sum += if meta.is_dir() { used_bytes(&entry.path())? } else { meta.len() };
    }
    Ok(sum)
}

/// What is in a folder, in the order of the names; a folder that is not there is empty.
pub(super) fn entries(dir: &Path) -> io::Result<Vec<fs::DirEntry>> {
    let listing = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut all = listing.collect::<io::Result<Vec<_>>>()?;
    all.sort_by_key(fs::DirEntry::file_name);
    Ok(all)
}

/// What the owner of the box reads when the operating system refused `what`.
pub(super) fn refused(what: &str, path: &Path, e: &io::Error) -> StoreError {
    let path = path.display();
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(format!(
            "no room to {what} {path}: {e}. Nothing was changed; make room on that disk (`inglenook check` says when there is enough)"
        )),
        io::ErrorKind::PermissionDenied => StoreError::Io(format!(
            "cannot {what} {path}: {e}. Run as the owner of the data folder, or chown all of it to the server's user"
        )),
        io::ErrorKind::IsADirectory | io::ErrorKind::NotADirectory => StoreError::Io(format!(
            "cannot {what} {path}: {e}. Move what stands there away, and put the file back from a copy, or run `inglenook salvage` on \
             the data folder"
        )),
        io::ErrorKind::ReadOnlyFilesystem => StoreError::Io(format!(
            "cannot {what} {path}: {e}. A worn card does that: look at dmesg, and copy the data folder to another one"
        )),
        _ => StoreError::Io(format!("cannot {what} {path}: {e}. Look at the disk (dmesg)")),
    }
}
