//! The domain: what can be one, and when another one can take its place.
//!
//! Accounts belong to their domain. While there are none, nothing does that anybody would miss: then the data folder follows what is set.

use crate::service::cert::{Certificates, Names, a_labels};
use crate::service::config;
use crate::service::disk::data::Data;
use crate::service::owner::{
    control::{self, Request},
    status::count,
};
use crate::service::serve::{self, Options, Place};
use crate::service::{Failure, Result, host};
use crate::store::card::Card;
use crate::store::{Engine, Tree};
use crate::wire::{Jid, stamp};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The longest name and the longest label that DNS has, in bytes (RFC 1035 §2.3.4).
const NAME_BYTES: usize = 253;
const LABEL_BYTES: usize = 63;

/// Why a name cannot be that of a host (RFC 952, RFC 1123 §2.1), as apps and name services have it.
pub fn fault(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let ascii = a_labels(name);
    let labels: Vec<&str> = ascii.split('.').collect();
    let foreign = |c: &char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-.".contains(*c);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    Some(if name.is_empty() {
        "it is empty".into()
    } else if name.contains(['@', '/']) {
        "the domain is only what stands behind the @ of an address".into()
    } else if bare.parse::<IpAddr>().is_ok() || labels.last().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit())) {
        "an address is no name: it changes, and no name can be made below it for the rooms. Take one such as HOSTNAME.local".into()
    } else if name.chars().any(char::is_whitespace) {
        "a host's name has no space in it".into()
    } else if name.contains('_') {
        format!("a host's name has no \"_\" in it, and apps refuse that. Take {}", valid(name))
    } else if let Some(c) = name.chars().find(foreign) {
        format!("a host's name has no \"{c}\" in it: only letters, digits, hyphens and dots")
    } else if labels.contains(&"") {
        "there is nothing between two dots, or before the first".into()
    } else if labels.iter().any(|label| label.starts_with('-') || label.ends_with('-')) {
        "no part of a host's name begins or ends with a hyphen".into()
    } else if labels.iter().any(|label| label.len() > LABEL_BYTES) {
        format!("a part of it is longer than {LABEL_BYTES} bytes")
    } else if ascii.len() > NAME_BYTES {
        format!("it is longer than {NAME_BYTES} bytes")
    } else {
        return None;
    })
}

/// The nearest name that a host can have: a hyphen for what it cannot.
pub fn valid(name: &str) -> String {
    let mut out = String::new();
    for label in name.to_ascii_lowercase().split('.') {
        let fits = |c: char| if c.is_ascii() && !c.is_ascii_alphanumeric() { '-' } else { c };
        let label: String = label.chars().map(fits).collect();
        let label = label.trim_matches('-');
        if !label.is_empty() {
            out.extend([if out.is_empty() { "" } else { "." }, label]);
        }
    }
    out
}

/// The domain of a name that somebody has typed.
///
/// # Errors
/// Why it can be none.
pub fn read(name: &str) -> Result<Jid> {
    config::domain(name).ok_or_else(|| {
        let why = fault(name).unwrap_or_else(|| "it has characters that no name has".into());
        Failure(format!("\"{name}\" is not a domain name: {why}."))
    })
}

/// How many accounts a folder has, whether its server runs or not.
///
/// # Errors
/// When nobody can tell.
pub fn accounts(options: &Options, data: &Data) -> Result<usize> {
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
pub fn may_change(options: &Options, data: &Data, kept: &Jid, wanted: &Jid) -> Result<()> {
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
pub fn belongs(dir: &Path, kept: &str, wanted: &Jid, whose: &str, count: &str) -> Failure {
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
pub fn keep(place: &Place) -> Result<()> {
    let Place { data, domain, .. } = place;
    let before = data.domain()?;
    if before.as_ref() == Some(domain) {
        return Ok(());
    }
    if let Some(why) = fault(domain.as_str()) {
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
pub fn replace(options: &Options, place: &Place, mut engine: Card, stored: &str) -> Result<Card> {
    let (db, whose) =
        (place.data.database(), if options.domain.is_some() { "--domain" } else { "the setting or the file" });
    let found = rows(&mut engine, Tree::Account);
    // What may be there without an account: rooms, nodes, where the archives of removed accounts end. All but notes is somebody's.
    let left = Tree::ALL.into_iter().filter(|tree| *tree != Tree::Meta);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_host_can_be_called_is_no_domain() {
        let long = format!("{}.org", "a".repeat(64));
        let longer = format!("{}org", "abcdefg.".repeat(32));
        for (name, why) in [
            ("", "empty"),
            ("juliet@example.org", "behind the @"),
            ("example.org/balcony", "behind the @"),
            ("192.168.1.5", "address"),
            ("[fd00::5]", "address"),
            ("fd00::5", "address"),
            ("chat.5", "address"),
            ("my pi.lan", "space"),
            ("my_pi.local", "Take my-pi.local"),
            ("_chat_.lan", "Take chat.lan"),
            ("chat!.lan", "\"!\""),
            ("chat..lan", "between two dots"),
            (".lan", "between two dots"),
            ("-chat.lan", "hyphen"),
            ("chat-.lan", "hyphen"),
            (&long, "63"),
            (&longer, "253"),
            ("bücher_.example", "_"),
        ] {
            assert!(fault(name).is_some_and(|found| found.contains(why)), "{name}: {:?}", fault(name));
        }
        for name in
            ["example.org", "Example.org.", "lan", "chat.lan", "my-pi.local", "3com.com", "bücher.example", "a--b.org"]
        {
            assert_eq!(fault(name), None, "{name}");
        }
        assert_eq!(["My_Pi", "_", "a.b_c", "Büro_1"].map(valid), ["my-pi", "", "a.b-c", "büro-1"]);
    }
}
