//! How the server is, in a few lines.

use crate::core::{TOO_MANY, clock, peers::PeerStatus};
use crate::service::cert::Certificates;
use crate::service::disk::{
    data::Data,
    files::FilesUsage,
    storage::Keep,
    wear::{Book, size},
};
use crate::service::owner::control::{self, Request};
use crate::service::serve::{self, Options, Place, Shared};
use crate::service::{Failure, Result, host};
use crate::store::card::Card;
use crate::store::sled_engine::RESERVE_BYTES;
use crate::store::{Bytes, Engine, Query, Rows, Tree, key};
use std::path::Path;
use std::time::Duration;

/// The name of the line about what can be stored, and what it says when all is well.
const STORAGE: &str = "storage";
const WORKS: &str = "works";
/// The name of the line about uploaded files.
const FILES: &str = "files";
/// The name of the line about what is served to browsers.
const WEB: &str = "web";
/// The name of the line about the network at hand.
const MDNS: &str = "mdns";
/// The name of the line about what everybody in the house has.
/// How long a server may take to say how it is: it waits for its storage.
const HEALTH: Duration = Duration::from_secs(15);
const HOUSE: &str = "house";
const ADMINS: &str = "admins";
/// The name of the line about the clock.
const CLOCK: &str = "clock";
/// The name of the lines about other servers.
const PEER: &str = "server";
/// Other servers that are told of.
const PEERS: usize = 50;
/// What is told of one that cannot be reached, in front of the reason.
const UNREACHED: &str = "not reached: ";
/// Rows of a page.
const PAGE_ROWS: usize = 500;
/// Bytes of a page: what is committed meanwhile waits for one.
const PAGE_BYTES: usize = 256 * 1024;

/// The line about the certificate: when the office will be asked again.
fn certificate(data: &Data) -> Option<String> {
    let (pair, facts) = Certificates::of(data).current().ok()?;
    let told = if pair.installed { format!("installed, until {}", facts.until) } else { facts.told() };
    Some(line("certificate", told))
}

/// Asks the running server, or looks at what it has left.
///
/// # Errors
/// When the data cannot be read.
pub fn run(options: &Options) -> Result<Vec<String>> {
    let place = options.place()?;
    if let Some(lines) = control::ask(&place.data, &Request::Status)? {
        return Ok(lines);
    }
    match stopped(options, &place) {
        // A server may have begun since we asked.
        Err(e) if control::runs(&place.data) => control::ask(&place.data, &Request::Status)?.ok_or(e),
        done => done,
    }
}

/// What a running server tells of itself that is worth a check.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(in crate::service) struct Health {
    /// What is to be told of its clock, if anything.
    pub clock: Option<String>,
    /// Why it does not store everything, if it does not.
    pub storage: Option<String>,
    /// Other servers that could not be reached the last time, and why.
    pub unreached: Vec<String>,
    /// What URLs begin with, if there is a port for browsers.
    pub web: Option<String>,
    /// How it is found in the network at hand.
    pub mdns: Option<String>,
    /// What is to be told of those who live in the house, if anything.
    pub house: Option<String>,
    /// That nobody administers it from an app.
    pub admins: Option<String>,
}

/// Asks the running server.
///
/// # Errors
/// When it does not answer.
pub(in crate::service) fn health(data: &Data) -> Result<Health> {
    let lines = control::ask_within(data, &Request::Status, HEALTH)?.unwrap_or_default();
    let of = |name: &str| lines.iter().find_map(|line| Some(line.strip_prefix(name)?.trim_start().to_owned()));
    let peers = lines.iter().filter_map(|line| line.strip_prefix(PEER)).map(str::trim_start);
    let unreached = peers.filter(|told| told.contains(UNREACHED)).map(str::to_owned).collect();
    Ok(Health {
        clock: of(CLOCK),
        storage: of(STORAGE).filter(|told| told != WORKS),
        unreached,
        web: of(WEB),
        mdns: of(MDNS),
        admins: of(ADMINS),
        house: of(HOUSE).filter(|told| told.contains(TOO_MANY)).map(|_| TOO_MANY.to_owned()),
    })
}

fn line(name: &str, text: impl std::fmt::Display) -> String {
    format!("{name:<13}{text}")
}

/// Of a server that does not run.
fn stopped(options: &Options, place: &Place) -> Result<Vec<String>> {
    let Place { data, config, domain } = place;
    let mut lines = vec![line("domain", domain), line("server", "it does not run")];
    if !data.database().exists() {
        lines.push(line("data", format!("none yet in {}; the first `inglenook serve` makes it", data.dir().display())));
        return Ok(lines);
    }
    let _lock = serve::hold(data)?;
    let mut engine = Card::open(&data.database(), options.probe.and_then(|make| make()))?;
    let mut ask = |query: Query| Ok(engine.query(&query)?);
    let (accounts, _) = count(Tree::Account, |_| true, &mut ask)?;
    lines.push(line("accounts", accounts));
    let (messages, bytes) = count(Tree::Offline, |key| key::number(key).is_some(), &mut ask)?;
    lines.push(waiting(messages, bytes));
    lines.push(archive(&mut engine));
    lines.extend(Some(used(&data.uploads())).filter(|bytes| *bytes > 0).map(|bytes| line(FILES, size(bytes))));
    lines.extend(clock::stored(&mut engine)?.map(|told| line(CLOCK, told)));
    engine.close()?;
    lines.extend(certificate(data));
    lines.push(on_disk(data));
    let clock = host::clock();
    let book = Book::read(data.dir());
    lines.push(line(
        "written",
        format!("{}, today {}, in 7 days {}", since(&book), size(book.today(clock)), size(book.week(clock))),
    ));
    lines.push(line("card", book.life(config.card_bytes(), clock)));
    lines.extend(backed_up(data));
    Ok(lines)
}

/// Of the running server. Waits for its storage.
///
/// # Errors
/// When that does not answer.
pub fn running(shared: &Shared) -> Result<Vec<String>> {
    let (connected, waiting_sessions, accounts) = shared.hub.people();
    let mut lines = vec![
        line("domain", &shared.domain),
        line("server", format!("runs for {}, version {}", span(shared.hub.mono() / 1000), env!("CARGO_PKG_VERSION"))),
        line("sessions", format!("{connected} connected, {waiting_sessions} may come back")),
        line("accounts", accounts),
        line(HOUSE, shared.hub.house_told()),
    ];
    if accounts > 0 && !shared.hub.is_administered() {
        let told = "nobody administers the server from an app; `inglenook user admin NAME` says who does";
        lines.push(line(ADMINS, told));
    }
    let mut ask = |query: Query| shared.hub.on_storage(move |engine| engine.query(&query))?.map_err(Failure::from);
    let (messages, bytes) = count(Tree::Offline, |key| key::number(key).is_some(), &mut ask)?;
    lines.push(waiting(messages, bytes));
    lines.push(shared.hub.on_storage(|engine| archive(engine))?);
    lines.extend(shared.hub.files().map(|files| line(FILES, uploaded(files.usage()))));
    lines.extend(shared.web_base().map(|base| line(WEB, base)));
    lines.push(line(MDNS, shared.found()));
    lines.extend(shared.hub.clock_told().map(|told| line(CLOCK, told)));
    lines.extend(certificate(shared.data()));
    lines.push(line(STORAGE, shared.hub.takes_nothing().unwrap_or(WORKS)));
    lines.push(on_disk(shared.data()));
    let clock = host::clock();
    let (book, run) = shared.wear.look();
    lines.push(line(
        "written",
        format!(
            "today {}, in 7 days {}, since the start {} in {} syncs{}",
            size(book.today(clock)),
            size(book.week(clock)),
            size(run.bytes),
            run.syncs,
            of_files(shared.wear.files(), run.bytes)
        ),
    ));
    if run.payload > 0 {
        let times = run.bytes as f64 / run.payload as f64;
        lines.push(line("", format!("{times:.1} bytes for each of the {} to be kept", size(run.payload))));
    }
    lines.push(line("card", book.life(shared.card_bytes(), clock)));
    lines.extend(backed_up(shared.data()));
    lines.extend(peers(shared));
    Ok(lines)
}

/// A line for each domain elsewhere, and how it stands with it.
fn peers(shared: &Shared) -> Vec<String> {
    let peers = shared.hub.peers();
    let told = |peer: &PeerStatus| {
        let waits = if peer.waiting > 0 { format!(", {} wait", peer.waiting) } else { String::new() };
        let state = match (&peer.proof, peer.dialling, &peer.refusal) {
            (Some(proof), _, _) => format!("connected, proved by {proof}"),
            (None, true, _) => "being reached".into(),
            (None, false, Some(refusal)) => format!("{UNREACHED}{refusal}"),
            (None, false, None) => "not connected now".into(),
        };
        line(PEER, format!("{} with {}: {state}{waits}", peer.pair.theirs, peer.pair.ours))
    };
    let more = peers.len().saturating_sub(PEERS);
    let mut lines: Vec<String> = peers.iter().take(PEERS).map(told).collect();
    if more > 0 {
        lines.push(line(PEER, format!("and {more} more")));
    }
    lines
}

fn waiting(messages: u64, bytes: u64) -> String {
    line("messages", format!("{messages} wait for people who are offline, {}", size(bytes)))
}

fn uploaded(usage: FilesUsage) -> String {
    let FilesUsage { files, bytes, total_bytes, uploads } = usage;
    let coming = if uploads > 0 { format!(", {uploads} coming in") } else { String::new() };
    format!("{files} uploaded, {} of at most {}{coming}", size(bytes), size(total_bytes))
}

/// When the last backup was made, if one was.
fn backed_up(data: &Data) -> Option<String> {
    let made = data.backed_up()?;
    let age = host::clock().saturating_sub(made);
    Some(line("backup", format!("the last one {}, {} ago", crate::service::disk::wear::date(made), span(age))))
}

/// The part that uploaded files have in what was written.
fn of_files(files: u64, all: u64) -> String {
    match files {
        0 => String::new(),
        _ => format!(", of that {} ({} %) files", size(files), files.saturating_mul(100) / all.max(files)),
    }
}

fn archive(engine: &mut dyn Keep) -> String {
    let files = engine.log_files();
    line("archive", size(files.iter().map(|(_, len)| len).sum()))
}

fn since(book: &Book) -> String {
    match book.since {
        0 => format!("{} in all", size(book.ever.bytes)),
        since => format!("{} since {}", size(book.ever.bytes), crate::service::disk::wear::date(since)),
    }
}

fn on_disk(data: &Data) -> String {
    let free = rustix::fs::statvfs(data.dir()).map(|s| s.f_bavail.saturating_mul(s.f_frsize));
    let free = match free {
        Ok(free) if free < RESERVE_BYTES => {
            format!(", only {} free: nothing more is stored until there are {}", size(free), size(RESERVE_BYTES))
        }
        Ok(free) => format!(", {} free", size(free)),
        Err(_) => String::new(),
    };
    line("data", format!("{} in {}{free}", size(used(data.dir())), data.dir().display()))
}

/// Bytes of all files in a folder, as far as they can be seen.
fn used(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => used(&entry.path()),
        Ok(meta) if meta.is_file() => meta.len(),
        _ => 0,
    });
    sizes.sum()
}

/// How many rows of a tree count, and their bytes; page by page.
pub(in crate::service) fn count(
    tree: Tree,
    counts: impl Fn(&[u8]) -> bool,
    ask: &mut dyn FnMut(Query) -> Result<Rows>,
) -> Result<(u64, u64)> {
    let (mut rows, mut bytes, mut after) = (0, 0, None);
    loop {
        let page = ask(Query::Scan { tree, prefix: Bytes::default(), after, rows: PAGE_ROWS, bytes: PAGE_BYTES })?;
        for (_, value) in page.iter().filter(|(key, _)| counts(key)) {
            rows += 1;
            bytes += value.len() as u64;
        }
        match page.into_iter().next_back() {
            Some((key, _)) => after = Some(key),
            None => return Ok((rows, bytes)),
        }
    }
}

/// A time in seconds, for people.
fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} seconds"),
        (0, 0, _) => format!("{minutes} minutes"),
        (0, ..) => format!("{hours} hours {minutes} minutes"),
        _ => format!("{days} days {hours} hours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Batch;
    use crate::store::memory::Memory;

    #[test]
    fn times_for_people() {
        assert_eq!(
            [7, 125, 7_300, 200_000].map(span),
            ["7 seconds", "2 minutes", "2 hours 1 minutes", "2 days 7 hours"]
        );
    }

    #[test]
    fn all_pages_are_counted() {
        let mut engine = Memory::default();
        for n in 0..1_234 {
            let mut batch = Batch::default();
            batch.put(Tree::Offline, key::numbered("juliet", n), vec![0; 10]);
            engine.commit(&[batch]).expect("memory takes everything");
        }
        let mut batch = Batch::default();
        batch.put(Tree::Offline, key::named("juliet", "something else"), vec![0; 10]);
        engine.commit(&[batch]).expect("memory takes everything");
        let mut ask = |query: Query| engine.query(&query).map_err(Failure::from);
        assert_eq!(count(Tree::Offline, |key| key::number(key).is_some(), &mut ask), Ok((1_234, 12_340)));
    }
}
