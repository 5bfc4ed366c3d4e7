//! What root is in a data folder that belongs to somebody else: that somebody.
//!
//! The owner of a box types `inglenook user add` as root, while the server has a user of its own. A file that root made in the
//! server's folder would lock the server out, and root should not follow what a broken server may have put there. So the command
//! gives up what it does not need: it becomes the folder's owner, who can still read everything, as root can. That is needed where
//! the folder lies in one that only root can enter (`DynamicUser=` of systemd), and for keys that only root can read.

use super::data::Data;
use super::{Failure, Result};

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
