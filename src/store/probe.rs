//! Whether sled can open its files, tried where it can do no harm: on a copy, in another process.
//!
//! sled's recovery rewrites the files it reads, and damage can make it panic (which ends a process built with `panic = "abort"`)
//! or wait for ever. So after a close that was not in order, or when the files are not what the last close left, the engine
//! copies them into a folder beside, and lets a child process open the copy. Only if that went well does it open the only copy.
//! Where no process can be started, this one opens the copy. Where there is no room for a copy, the child opens the files themselves,
//! as this process would do next: damage may then make them worse, but a full disk alone keeps nobody from starting.
//! A copy is written once per power cut, which is less than what sled's own recovery writes; it is never synced, since nobody
//! needs it after the next line. On file systems that share blocks it costs nothing.

use super::mark::Mark;
use super::trees::{SCHEMA, Trees};
use super::{StoreError, disk};
use crate::wire::typed::shell;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The time a probe has: this, and a second for each MiB, which the slowest cards manage.
const PROBE_SECONDS: u64 = 60;

/// How long to wait between two looks at the child.
const LOOK: Duration = Duration::from_millis(5);

/// How the names of copies begin.
const COPY: &str = "probe-";

/// Bytes of what a failing probe said that are worth repeating.
const SAID_BYTES: u64 = 2000;

/// Opens the copy in `dir` and reads all of it. To be called in a process of its own, which may end in any way: what
/// [`Command`] given to [`super::sled_engine::Sled::open`] runs. Exit with 0 if and only if this returns `Ok`, and print the
/// error to stderr.
pub fn probe(dir: &Path) -> Result<(), StoreError> {
    // Whoever asked is waiting; without it there is nobody to tell.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    read(dir)
}

fn read(dir: &Path) -> Result<(), StoreError> {
    let mark = Mark::read(&dir.join("mark"))?;
    let trees = Trees::open(&dir.join("sled"))?;
    // What a newer version counts is not known here; the engine refuses it itself.
    if trees.schema()?.is_some_and(|found| found > SCHEMA) {
        return Ok(());
    }
    // What a large value's file lost costs that value alone.
    trees.large()?;
    trees.verify(mark.commit)
}

/// Copies the database in `dir` to a folder in it, runs `command` with that path as the last argument, and removes the copy.
pub(super) fn run(dir: &Path, mut command: Command) -> Result<(), StoreError> {
    clear(dir);
    // A name of its own: a child may have outlived a process that was killed, and still work on its copy.
    let copy = dir.join(format!("{COPY}{}", std::process::id()));
    let bytes = disk::used_bytes(&dir.join("sled")).map_err(|e| disk::refused("read", dir, &e))?;
    let free = disk::free_bytes(dir).map_err(|e| disk::refused("look at", dir, &e))?;
    // A full disk must not keep the server from starting.
    let has_room = free >= bytes.saturating_add(super::sled_engine::RESERVE_BYTES);
    if !has_room {
        log::warn!("no room for a copy of the database in {}: it is checked without one", dir.display());
    }
    let copied = match has_room {
        true => copy_dir(&dir.join("sled"), &copy.join("sled")),
        false => fs::create_dir(&copy).and_then(|()| symlink("../sled", copy.join("sled"))),
    };
    let result = copied
        .and_then(|()| fs::copy(dir.join("mark"), copy.join("mark")))
        .map_err(|e| disk::refused("copy the database to", &copy, &e))
        .and_then(|_| {
            command.arg(&copy);
            let limit = Duration::from_secs(PROBE_SECONDS + (bytes >> 20));
            match child(&mut command, limit) {
                Ok(None) => Ok(()),
                Ok(Some(said)) => Err(damaged(dir, &said)),
                // Where no process may be started, better so than not at all: damage may end or block this one, before it has
                // touched the only copy.
                Err(e) => {
                    log::warn!("cannot start another process to check the database ({e}): this one does it");
                    read(&copy).map_err(|e| damaged(dir, &e.to_string()))
                }
            }
        });
    clear(dir);
    result
}

/// What the owner reads when the database is damaged.
pub(super) fn damaged(dir: &Path, why: &str) -> StoreError {
    let whole = dir.parent().filter(|whole| dir.ends_with("db") && !whole.as_os_str().is_empty()).unwrap_or(dir);
    let (dir, whole) = (dir.display(), shell(&whole.display().to_string()));
    StoreError::Damaged(format!(
        "the database in {dir} is damaged: {}. Nothing was changed. With the server stopped, `inglenook salvage {whole}` puts all \
         that is readable into a new folder, and says what is lost; or restore a backup with `inglenook restore FILE --data {whole}`. \
         A damaged database often means a worn card: put the data on a new one",
        why.trim().trim_end_matches('.')
    ))
}

/// Runs the child; what it said if it failed.
fn child(command: &mut Command, limit: Duration) -> io::Result<Option<String>> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() > end {
            child.kill()?;
            child.wait()?;
            return Ok(Some(format!("reading it does not end within {} s", limit.as_secs())));
        }
        std::thread::sleep(LOOK);
    };
    if status.success() {
        return Ok(None);
    }
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Not what a grandchild may still hold open: only what is there is read, and a broken pipe says nothing.
        let _ = stderr.take(SAID_BYTES).read_to_end(&mut said);
    }
    let said = String::from_utf8_lossy(&said).split_whitespace().collect::<Vec<_>>().join(" ");
    Ok(Some(if said.is_empty() { format!("reading it fails ({status})") } else { said }))
}

fn clear(dir: &Path) {
    for entry in disk::entries(dir).into_iter().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(COPY.as_bytes())
            && let Err(e) = fs::remove_dir_all(entry.path())
        {
            log::warn!("cannot remove {}, which is not needed any more: {e}", entry.path().display());
        }
    }
}

fn copy_dir(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in disk::entries(from)? {
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), &to)?;
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_child_may_end_in_any_way() {
        let long = Duration::from_secs(60);
        assert_eq!(child(&mut sh("exit 0"), long).unwrap(), None);
        assert_eq!(child(&mut sh("echo it is broken >&2; exit 1"), long).unwrap().unwrap(), "it is broken");
        assert!(child(&mut sh("kill -ABRT $$"), long).unwrap().unwrap().contains("signal"));
        assert!(child(&mut sh("exec sleep 60"), Duration::from_millis(20)).unwrap().unwrap().contains("does not end"));
        assert!(child(&mut Command::new("/nowhere"), long).is_err());
    }
}
