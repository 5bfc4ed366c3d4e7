//! What root is in a data folder that belongs to somebody else: that somebody.
//!
//! The owner of a box types `inglenook user add` as root, while the server has a user of its own. A file that root made in the
//! server's folder would lock the server out, and root should not follow what a broken server may have put there. So the command
//! gives up what it does not need: it becomes the folder's owner, who can still read everything, as root can. That is needed where
//! the folder lies in one that only root can enter (`DynamicUser=` of systemd), and for keys that only root can read.

use crate::service::disk::data::Data;
use crate::service::{Failure, Result};
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The user and the group that we should be, if it is not who we are.
fn other(data: &Data) -> Option<(u32, u32)> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(data.dir()).ok()?;
    (rustix::process::geteuid().is_root() && meta.uid() != 0).then(|| (meta.uid(), meta.gid()))
}

fn refuse(data: &Data, (user, group): (u32, u32), e: &std::io::Error) -> Failure {
    Failure(format!(
        "{} belongs to user {user}, and root cannot act as that user here: {e}. Fix: run it with \
         `setpriv --reuid={user} --regid={group} --clear-groups` before it.",
        data.dir().display()
    ))
}

/// Makes the calling thread, and those that it starts from now on, the owner of the data folder, if we are root and it is somebody
/// else's: then the answer is yes. To be called before there are other threads.
///
/// # Errors
/// When the system refuses.
pub fn become_owner(data: &Data) -> Result<bool> {
    let Some(who) = other(data) else { return Ok(false) };
    switch(who, true).map_err(|e| refuse(data, who, &e)).map(|()| true)
}

/// Does something as the owner of the data folder, then is root again. Threads that it starts stay the owner.
///
/// # Errors
/// When the system refuses, or what `what` returns.
pub fn as_owner<T>(data: &Data, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(who) = other(data) else { return what() };
    switch(who, false).map_err(|e| refuse(data, who, &e))?;
    let done = what();
    back().map_err(|e| refuse(data, who, &e))?;
    done
}

/// The longest small file that is read out of a data folder, in bytes: settings, certificates and the like are far below.
const SMALL_BYTES: u64 = 1024 * 1024;

/// Reads a small file of the data folder as its owner; whoever has the folder chooses what is there, so that for somebody else's
/// folder root follows no link, takes no second name of a file of a third person's, and waits for no pipe. Inside: it is not there,
/// something else than a plain file, longer than [`SMALL_BYTES`], or cannot be read.
///
/// # Errors
/// When the system does not let root become the owner.
pub fn read_small(data: &Data, name: &Path) -> Result<std::io::Result<Vec<u8>>> {
    let whose = other(data).map(|(user, _)| user);
    as_owner(data, || Ok(read_plain(&data.dir().join(name), whose)))
}

/// Reads a plain file. With an owner, a link is not followed, and what has other names must be that owner's.
fn read_plain(path: &Path, owner: Option<u32>) -> std::io::Result<Vec<u8>> {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    let follow = if owner.is_some() { OFlags::NOFOLLOW } else { OFlags::empty() };
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY | follow).bits().cast_signed();
    let refuse = |why: &str| Err(std::io::Error::new(ErrorKind::InvalidInput, why));
    if owner.is_some() && std::fs::symlink_metadata(path)?.is_symlink() {
        return refuse("it is a link, which root does not follow in somebody else's folder");
    }
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return refuse("it is no plain file");
    }
    if owner.is_some_and(|owner| meta.nlink() > 1 && meta.uid() != owner) {
        return refuse("it is somebody else's file by another name");
    }
    let mut bytes = Vec::new();
    file.take(SMALL_BYTES + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > SMALL_BYTES {
        true => refuse("it is longer than 1 MiB"),
        false => Ok(bytes),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn switch((user, group): (u32, u32), for_good: bool) -> std::io::Result<()> {
    use rustix::process::{Gid, Uid};
    use rustix::thread::{self, CapabilitySet, CapabilitySets};
    let (user, group) = (Uid::from_raw(user), Gid::from_raw(group));
    if for_good {
        thread::set_thread_groups(&[])?;
        thread::set_thread_res_gid(group, group, group)?;
        thread::set_keep_capabilities(true)?;
        thread::set_thread_res_uid(user, user, user)?;
    } else {
        thread::set_thread_res_gid(None, group, None)?;
        thread::set_thread_res_uid(None, user, None)?;
    }
    // A container may not have it; then what the owner can read must do.
    let had = thread::capabilities(None)?;
    let read = had.permitted & CapabilitySet::DAC_READ_SEARCH;
    let permitted = if for_good { read } else { had.permitted };
    thread::set_capabilities(None, CapabilitySets { effective: read, permitted, inheritable: read })?;
    if !read.is_empty() {
        // For the process that looks at a damaged database.
        thread::configure_capability_in_ambient_set(read, true)?;
    }
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn back() -> std::io::Result<()> {
    use rustix::process::{Gid, Uid};
    use rustix::thread;
    thread::clear_ambient_capability_set()?;
    thread::set_thread_res_uid(None, Uid::ROOT, None)?;
    thread::set_thread_res_gid(None, Gid::ROOT, None)?;
    Ok(())
}

/// Elsewhere root stays root.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn switch(_: (u32, u32), _: bool) -> std::io::Result<()> {
    Ok(())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn back() -> std::io::Result<()> {
    Ok(())
}
