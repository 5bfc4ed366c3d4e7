//! The command `salvage`: what is readable of a damaged data folder, in a new one beside it.
//!
//! The damaged folder stays as it is. What could not be read is said, in a few lines.

use crate::core;
use crate::service::cert::Certificates;
use crate::service::config::PEERS_FILE;
use crate::service::disk::{
    data::{self, Data},
    wear::{self, size},
};
use crate::service::owner::{find, restore, root};
use crate::service::serve;
use crate::service::{Failure, Result, config};
use crate::store::card::Card;
use crate::store::salvage::{self, Salvaged};
use crate::wire::typed::shell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// What is not followed.
const LINK: std::io::ErrorKind = std::io::ErrorKind::InvalidInput;

/// Salvages the folder `dir` into `to`, or into one beside it. Returns lines for the person.
///
/// # Errors
/// When there is nothing to salvage, or the new folder cannot be made.
pub fn run(dir: &Path, to: Option<&Path>) -> Result<Vec<String>> {
    let dir = &real(dir);
    let old = Data::locate(Some(dir));
    let shown = dir.display();
    let found = std::fs::read_dir(dir)
        .map_err(|e| Failure(format!("{shown} cannot be read: {e}. Say which folder, and run as its owner.")))?;
    let names: Vec<OsString> = found.flatten().map(|entry| entry.file_name()).collect();
    if !["db", "cert", "domain"].iter().any(|name| names.iter().any(|n| n == name)) {
        return Err(Failure(format!("{shown} holds no data of inglenook. Say which folder does.")));
    }
    let to = to.map_or_else(|| restore::beside(dir, ".salvaged"), Path::to_owned);
    if std::fs::read_dir(&to).is_ok_and(|mut entries| entries.next().is_some()) || to.is_file() {
        let to = to.display();
        return Err(Failure(format!(
            "{to} is there already, and is not overwritten. Choose another folder with --to."
        )));
    }
    let new = Data::locate(Some(&to));
    let (lock, note) = hold(&old)?;
    new.make()?;
    let done = fill(&old, &new);
    drop(lock);
    let (salvaged, mut lost) = done?;
    lost.extend(salvaged.lost);
    let rows = salvaged.rows;
    let mut lines = vec![format!(
        "salvaged     {shown} into {}: {rows} entries, {} of messages",
        to.display(),
        size(salvaged.log_bytes)
    )];
    lines.extend(note);
    match lost.is_empty() {
        true => lines.push("lost         nothing".into()),
        false => lines.extend(lost.into_iter().map(|what| format!("lost         {what}"))),
    }
    lines.push(format!("next         {}", next(dir, &to)));
    Ok(lines)
}

/// The folder itself, where a link to it was named, as that of the installed service is (`DynamicUser=` of systemd): it is what is to
/// be renamed.
fn real(dir: &Path) -> PathBuf {
    let dir = dir.components().as_path();
    let found = if restore::is_name(dir) { None } else { dir.canonicalize().ok() };
    found.unwrap_or_else(|| dir.to_owned())
}

/// What is to be typed, so that the new folder takes the old one's place and is served.
fn next(dir: &Path, to: &Path) -> String {
    let sudo = find::sudo();
    let aside = shell(&format!("{}.damaged", dir.display()));
    let (shown, to) = (shell(&dir.display().to_string()), shell(&to.display().to_string()));
    let last = match find::installed_at(dir) {
        Some(package) => package.start.to_owned(),
        None => format!("inglenook check --data {shown} && {}", find::start(dir)),
    };
    format!("{sudo}mv {shown} {aside} && {sudo}mv {to} {shown} && {sudo}{last}")
}

/// Keeps a server from using the folder meanwhile. A card that cannot be written any more can still be read.
fn hold(old: &Data) -> Result<(Option<data::Lock>, Option<String>)> {
    match root::as_owner(old, || old.lock()) {
        Ok(Some(lock)) => Ok((Some(lock), None)),
        Ok(None) => Ok((Some(serve::hold(old)?), None)),
        Err(e) => Ok((None, Some(format!("note         {e} It was only read: no server must run on it meanwhile.")))),
    }
}

/// Fills the new folder. Gives what came of the database, and what else is lost.
fn fill(old: &Data, new: &Data) -> Result<(Salvaged, Vec<String>)> {
    let mut lost = Vec::new();
    let mut salvaged = Salvaged::default();
    if old.database().exists() {
        salvaged = salvage::salvage(&old.database(), &new.database())?;
    } else {
        lost.push("all accounts, contacts, rooms and messages: there is no folder db".into());
    }
    settle_domain(old, new, &mut lost)?;
    for name in ["inglenook.toml", PEERS_FILE, wear::FILE] {
        copy(old, new, name, &mut lost)?;
    }
    let from = old.certificates();
    if from.is_dir() {
        data::make_dir(&new.certificates())
            .map_err(|e| Failure(format!("{} cannot be made: {e}.", new.certificates().display())))?;
        for entry in std::fs::read_dir(&from).into_iter().flatten().flatten() {
            if let Ok(name) = entry.path().strip_prefix(old.dir()) {
                copy(old, new, name, &mut lost)?;
            }
        }
        let domain = new.domain()?.map(|domain| domain.to_string());
        let certificates = Certificates::of(new);
        lost.extend(certificates.faults(domain.as_deref(), certificates.now()));
    }
    settle(old, new)?;
    Ok((salvaged, lost))
}

/// Finds out whose data it is.
fn settle_domain(old: &Data, new: &Data, lost: &mut Vec<String>) -> Result<()> {
    let mut domain = old.domain().ok().flatten();
    if domain.is_none() && new.database().exists() {
        let mut engine = Card::open(&new.database(), None)?;
        let stored = core::stored_domain(&mut engine).ok().flatten();
        engine.close()?;
        domain = stored.and_then(|stored| config::domain(&stored));
    }
    match domain {
        Some(domain) => new.keep_domain(&domain),
        None => {
            lost.push("the domain: say it with --domain NAME at the next start".into());
            Ok(())
        }
    }
}

/// Copies a small file, if it is there.
fn copy(old: &Data, new: &Data, name: impl AsRef<Path>, lost: &mut Vec<String>) -> Result<()> {
    let from = old.dir().join(&name);
    // Nobody's: a broken server may have laid it.
    let is_link = from.symlink_metadata().is_ok_and(|meta| meta.is_symlink());
    let read = if is_link { Err(LINK.into()) } else { root::read_small(old, name.as_ref())? };
    match read {
        Ok(bytes) => data::write(&new.dir().join(name), &bytes),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => {
            lost.push(format!("{}: it cannot be read ({e})", from.display()));
            Ok(())
        }
    }
}

/// The new folder is of who has the old one.
fn settle(old: &Data, new: &Data) -> Result<()> {
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(old.dir()).ok().map(|meta| (meta.uid(), meta.gid()));
    let owner = owner.filter(|_| rustix::process::geteuid().is_root());
    restore::settle(new.dir(), owner).map_err(|e| Failure(format!("{} cannot be synced: {e}.", new.dir().display())))
}
