//! The domain: when another one can take its place.
//!
//! Accounts belong to their domain. While there are none, nothing does that anybody would miss: then the data folder follows what is set.

use crate::service::cert::{Certificates, Names};
use crate::service::disk::data::Data;
use crate::service::owner::{
    control::{self, Request},
    status::count,
};
use crate::service::serve::{self, Options, Place};
use crate::service::{Failure, Result, host};
use crate::store::card::Card;
use crate::store::{Engine, Tree};
use crate::wire::{Jid, host_name, stamp};
use std::path::{Path, PathBuf};

/// How many accounts a folder has, whether its server runs or not.
///
/// # Errors
/// When nobody can tell.
pub(crate) fn accounts(options: &Options, data: &Data) -> Result<usize> {
    if let Some(lines) = control::ask(data, &Request::List)? {
        return Ok(lines.len());
    }
    if !data.database().exists() {
        return Ok(0);
    }
    let _lock = serve::hold(data)?;
    let mut engine = Card::open(&data.database(), options.probe.and_then(|make| make()))?;
    let found = rows(&mut engine, Tree::Account);
    engine.close()?;
    found
}

fn rows(engine: &mut Card, tree: Tree) -> Result<usize> {
    let (rows, _) = count(tree, |_| true, &mut |query| engine.query(&query).map_err(Failure::from))?;
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}

/// Whether the folder of `kept` can be that of `wanted` from now on, by what is known without its lock.
///
/// # Errors
/// Why not, and what to do.
pub(crate) fn may_change(options: &Options, data: &Data, kept: &Jid, wanted: &Jid) -> Result<()> {
    let whose = if options.domain.is_some() { "--domain" } else { "the setting \"domain\"" };
    match accounts(options, data) {
        Ok(0) if control::runs(data) => Err(Failure(format!(
            "{whose} says {wanted}, and the running server serves {kept}. There are no accounts yet: restart it, and it serves {wanted}."
        ))),
        Ok(0) => Ok(()),
        Ok(count) => Err(belongs(data.dir(), kept.as_str(), wanted, whose, &format!("{count} of them"))),
        Err(e) => Err(belongs(data.dir(), kept.as_str(), wanted, whose, &format!("how many is not known: {}", e.0))),
    }
}

/// What is said where accounts are in the way.
pub(crate) fn belongs(dir: &Path, kept: &str, wanted: &Jid, whose: &str, count: &str) -> Failure {
    let dir = dir.display();
    Failure(format!(
        "{whose} says {wanted}, but the accounts in {dir} belong to {kept} ({count}), and an address cannot be changed. Serve {kept}: \
         change {whose} to it; or choose another folder with --data for {wanted}; or remove all accounts first (`inglenook user list`, \
         `inglenook user remove NAME`). If that is a mistake of the file {dir}/domain, write {wanted} into it."
    ))
}

/// Remembers the domain. Where it was another one there are no accounts: then the authority gets its name, too. The caller has
/// the folder's lock, or the server does not run.
///
/// # Errors
/// When files cannot be written; when the name can be nobody's.
pub(crate) fn keep(place: &Place) -> Result<()> {
    let Place { data, domain, .. } = place;
    let before = data.domain()?;
    if before.as_ref() == Some(domain) {
        return Ok(());
    }
    if let Some(why) = host_name::fault(domain.as_str()) {
        return Err(Failure(format!("{domain} cannot be the domain: {why}.")));
    }
    if let Some(before) = before {
        let certificates = Certificates::of(data);
        log::warn!("the domain is {domain} from now on, not {before}: there are no accounts yet");
        if certificates.ca_path().exists() {
            certificates.renew_authority(&Names::of_host(domain.as_str()), certificates.now())?;
            log::warn!(
                "authority and certificate are made again for {domain}: whoever has installed the old one installs {}",
                certificates.ca_path().display()
            );
        }
    }
    data.keep_domain(domain)
}

/// Puts the database of another domain aside, if it has no accounts, and opens the one of this domain: that which was put aside when
/// it was another one's turn, else a new one. What is worth nothing to anybody is removed, and nothing else is.
///
/// # Errors
/// When it has accounts; when it cannot be read or renamed.
pub(crate) fn replace(options: &Options, place: &Place, mut engine: Card, stored: &str) -> Result<Card> {
    let (db, whose) =
        (place.data.database(), if options.domain.is_some() { "--domain" } else { "the setting or the file" });
    let found = rows(&mut engine, Tree::Account);
    // What may be there without an account: rooms, nodes, where the archives of removed accounts end. All but notes, and invitations to
    // the old name, is somebody's.
    let left = Tree::ALL.into_iter().filter(|tree| !matches!(tree, Tree::Meta | Tree::Invitation));
    let left = left.map(|tree| rows(&mut engine, tree)).sum::<Result<usize>>();
    engine.close()?;
    let (found, left) = (found?, left?);
    if found > 0 {
        return Err(belongs(place.data.dir(), stored, &place.domain, whose, &format!("{found} of them")));
    }
    let aside = unused(&kept_aside(&db, stored));
    rename(&db, &aside)?;
    if left == 0 {
        std::fs::remove_dir_all(&aside).map_err(|e| Failure(format!("{} cannot be removed: {e}.", aside.display())))?;
    } else {
        log::warn!("what was stored for {stored} (rooms and the like) is kept in {}", aside.display());
    }
    let open = || Card::open(&db, options.probe.and_then(|make| make()));
    let before = kept_aside(&db, place.domain.as_str());
    if before.is_dir() {
        rename(&before, &db)?;
        match open() {
            Ok(engine) => {
                log::warn!("what was kept for {} in {} is in use again", place.domain, before.display());
                return Ok(engine);
            }
            Err(e) => {
                log::error!("what was kept for {} in {} cannot be used again: {e}", place.domain, before.display());
                rename(&db, &before)?;
            }
        }
    }
    Ok(open()?)
}

/// Where the database of a domain is kept while the folder is another one's.
fn kept_aside(db: &Path, domain: &str) -> PathBuf {
    db.with_file_name(format!("db.of-{domain}"))
}

/// A name that nothing has: this one, else with the time behind it.
fn unused(path: &Path) -> PathBuf {
    let now = stamp::format(host::clock().saturating_mul(1000));
    let now: String = now.chars().filter(char::is_ascii_alphanumeric).take(15).collect();
    let name = |end: String| path.with_file_name(format!("{}{end}", path.file_name().unwrap_or_default().display()));
    let others = (0..).map(|n| name(if n == 0 { format!(".{now}") } else { format!(".{now}-{n}") }));
    let mut all = std::iter::once(path.to_owned()).chain(others);
    all.find(|path| path.symlink_metadata().is_err()).unwrap_or_else(|| path.to_owned())
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to)
        .map_err(|e| Failure(format!("{} cannot be renamed to {}: {e}.", from.display(), to.display())))
}
