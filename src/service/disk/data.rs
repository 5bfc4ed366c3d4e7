//! The data folder: what lies where in it, who may read it, and that one server at a time uses it.
//!
//! ```text
//! DIR/domain         the domain that the accounts belong to
//! DIR/inglenook.toml the settings, if there are any
//! DIR/peers.toml     other servers whose keys are pinned, see `peer`
//! DIR/lock           held by the process that uses the database; its number stands in it
//! DIR/control        the running server's socket for its owner
//! DIR/backed-up      when the last backup was made, see `backup`
//! DIR/written        how much was written to storage, see `wear`
//! DIR/db/            the database
//! DIR/cert/          certificates and keys, see `cert`
//! DIR/uploads/       what people have uploaded, see `files`
//! ```

use crate::service::config::{self, Config};
use crate::service::disk::files::limits::FOLDER;
use crate::service::{Failure, Result, host};
use crate::wire::{Jid, host_name};
use rustix::fs::{FlockOperation, OFlags, flock};
use std::fs::{File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The data folder where none is named.
pub const DEFAULT: &str = "inglenook-data";

/// The file that says when the last backup was made.
pub(in crate::service) const BACKED_UP: &str = "backed-up";

/// A data folder.
#[derive(Clone, Debug)]
pub struct Data {
    dir: PathBuf,
}

/// Holds the data folder for this process, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Data {
    /// The folder that is meant: `named`, else `$STATE_DIRECTORY`, else `./inglenook-data`.
    pub fn locate(named: Option<&Path>) -> Data {
        let from_system = || std::env::var_os("STATE_DIRECTORY").filter(|s| !s.is_empty()).map(PathBuf::from);
        let dir = named.map(Path::to_owned).or_else(from_system).unwrap_or_else(|| DEFAULT.into());
        // Without a slash at its end, which would follow a link, and whose name cannot be made longer.
        Data { dir: dir.components().collect() }
    }

    /// Notes that a backup was made at this time, in seconds since 1970, as the box believes.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn remember_backup(&self, clock: u64) -> Result<()> {
        write(&self.dir.join(BACKED_UP), format!("{clock}\n").as_bytes())
    }

    /// When the last backup was made, in seconds since 1970; nothing, if none was, or while the clock is not set.
    pub fn backed_up(&self) -> Option<u64> {
        let text = std::fs::read_to_string(self.dir.join(BACKED_UP)).ok()?;
        text.trim().parse().ok().filter(|made| *made >= host::EARLIEST && host::clock() >= host::EARLIEST)
    }

    /// Makes the folder if it is not there, for this user alone.
    ///
    /// # Errors
    /// When it cannot be made, or is not a folder, or belongs to somebody who keeps us out.
    pub fn make(&self) -> Result<()> {
        let dir = self.dir.display();
        make_dir(&self.dir).map_err(|e| {
            Failure(format!(
                "the data folder {dir} cannot be made: {e}. Choose another with --data, or run as its owner."
            ))
        })
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the database is.
    pub fn database(&self) -> PathBuf {
        self.dir.join("db")
    }

    /// Where the certificates are.
    pub fn certificates(&self) -> PathBuf {
        self.dir.join("cert")
    }

    /// Where uploaded files are.
    pub fn uploads(&self) -> PathBuf {
        self.dir.join(FOLDER)
    }

    /// Where the running server listens for its owner.
    pub fn control(&self) -> PathBuf {
        self.dir.join("control")
    }

    /// The domain that the data belongs to, once there is some.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or holds something else.
    pub fn domain(&self) -> Result<Option<Jid>> {
        let path = self.dir.join("domain");
        match std::fs::read_to_string(&path) {
            Ok(text) => config::domain(text.trim()).map(Some).ok_or_else(|| {
                Failure(format!("{} must hold the domain of this data folder, and does not.", path.display()))
            }),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => {
                Err(Failure(format!("{} cannot be read: {e}. Run as the owner of the data folder.", path.display())))
            }
        }
    }

    /// The domain to serve: as told on the command line, else the setting, else the data's, else the host's name. That of a folder with
    /// accounts stays: [`may_change`](crate::service::owner::domain::may_change).
    ///
    /// # Errors
    /// When the name can be none.
    pub fn settle(&self, told: Option<&str>, config: &Config) -> Result<Jid> {
        let kept = self.domain()?;
        let (wanted, whose) = match told {
            Some(name) => (Some(config::read_domain(name)?), "--domain"),
            None => (config.domain.clone(), "the setting \"domain\""),
        };
        if let Some(wanted) = wanted {
            // What is served already goes on.
            return match host_name::fault(wanted.as_str()).filter(|_| kept.as_ref() != Some(&wanted)) {
                Some(why) => Err(Failure(format!("{whose} says {wanted}, which cannot be a domain: {why}."))),
                None => Ok(wanted),
            };
        }
        let name = format!("{}.local", host::label());
        kept.or_else(|| config::domain(&name))
            .ok_or_else(|| Failure(format!("the host's name gives no domain ({name}): say one with --domain NAME.")))
    }

    /// Remembers the domain; see [`keep`](crate::service::owner::domain::keep).
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_domain(&self, domain: &Jid) -> Result<()> {
        match self.domain()? {
            Some(kept) if kept == *domain => Ok(()),
            _ => write(&self.dir.join("domain"), format!("{domain}\n").as_bytes()),
        }
    }

    /// Takes the folder for this process; `None` when another has it.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn lock(&self) -> Result<Option<Lock>> {
        let path = self.lock_path();
        let mut open = OpenOptions::new();
        let open = open.read(true).write(true).create(true).truncate(false).mode(0o600);
        let open = open.custom_flags(OFlags::NOFOLLOW.bits().cast_signed()).open(&path);
        let mut file = open.map_err(|e| {
            Failure(format!("{} cannot be written: {e}. Run as the owner of the data folder.", path.display()))
        })?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            Err(e) => return Err(Failure(format!("{} cannot be locked: {e}.", path.display()))),
        }
        // The number is for people; the lock is what counts.
        let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        Ok(Some(Lock { _file: file }))
    }

    /// The number of the process that has the folder, for people.
    pub fn holder(&self) -> String {
        std::fs::read_to_string(self.lock_path()).unwrap_or_default().trim().to_owned()
    }

    fn lock_path(&self) -> PathBuf {
        self.dir.join("lock")
    }
}

/// Makes a folder with its parents, for this user alone.
///
/// # Errors
/// Those of the system.
pub fn make_dir(dir: &Path) -> std::io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Replaces a file whole, readable by this user alone, on stable storage when this returns.
///
/// # Errors
/// When it cannot be written; then the old one is untouched.
pub fn write(path: &Path, content: &[u8]) -> Result<()> {
    write_as(path, content, 0o600)
}

/// The same of a file with other permissions, whatever the mask is.
///
/// # Errors
/// When it cannot be written; then the old one is untouched.
pub fn write_as(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    let fresh = path.with_extension("new");
    let replace = || -> std::io::Result<()> {
        let _ = std::fs::remove_file(&fresh);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
    };
    replace().map_err(|e| {
        // Half of it is of use to nobody, and takes room.
        let _ = std::fs::remove_file(&fresh);
        let fix = match e.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => " It is as it was; make room on that disk.",
            _ => "",
        };
        Failure(format!("{} cannot be written: {e}.{fix}", path.display()))
    })
}

/// The permission bits of a file or folder that let others in, if any.
pub fn open_to_others(path: &Path) -> Option<u32> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

/// A folder for one test, removed at its end.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) struct Temp(pub(crate) PathBuf);

    impl Temp {
        pub(crate) fn new() -> Temp {
            let name =
                crate::service::random().map(|r| r.iter().take(8).map(|b| format!("{b:02x}")).collect::<String>());
            let dir = std::env::temp_dir().join(format!("inglenook-test-{}", name.expect("randomness")));
            make_dir(&dir).expect("a folder for the test");
            Temp(dir)
        }
    }

    impl Drop for Temp {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_folder_has_one_user_at_a_time() {
        let temp = Temp::new();
        let data = Data::locate(Some(&temp.0));
        let held = data.lock().expect("works").expect("free");
        assert!(data.lock().expect("works").is_none());
        assert_eq!(data.holder(), std::process::id().to_string());
        drop(held);
        data.lock().expect("works").expect("free again");
    }

    #[test]
    fn the_domain_is_told_or_set_or_kept_or_the_host_s() {
        let temp = Temp::new();
        let data = Data::locate(Some(&temp.0));
        let config = Config::default();
        assert!(data.settle(None, &config).expect("the host's").as_str().ends_with(".local"));
        assert_eq!(data.settle(Some("Example.org"), &config).expect("told").as_str(), "example.org");
        let set = Config { domain: config::domain("set.example"), ..Config::default() };
        let domain = data.settle(None, &set).expect("set");
        assert_eq!(domain.as_str(), "set.example");
        data.keep_domain(&domain).expect("written");
        assert_eq!(data.settle(None, &config).expect("kept").as_str(), "set.example");
        assert!(data.settle(Some("a@b"), &config).expect_err("no domain").0.contains("behind the @"));
        let under = Config { domain: config::domain("my_pi.lan"), ..Config::default() };
        let error = data.settle(None, &under).expect_err("no host's").0;
        assert!(error.contains("Take my-pi.lan"), "{error}");
        // Who has it already keeps it.
        data.keep_domain(&config::domain("my_pi.lan").expect("a domain")).expect("written");
        assert_eq!(data.settle(None, &under).expect("kept").as_str(), "my_pi.lan");
    }

    #[test]
    fn what_is_written_is_for_its_owner_alone() {
        let temp = Temp::new();
        let dir = temp.0.join("a/b");
        make_dir(&dir).expect("made");
        let path = dir.join("file");
        write(&path, b"one").expect("written");
        write(&path, b"two").expect("replaced");
        assert_eq!(std::fs::read(&path).expect("read"), b"two");
        assert_eq!((open_to_others(&path), open_to_others(&dir)), (None, None));
        assert_eq!(std::fs::read_dir(&dir).expect("listed").count(), 1);
    }
}
