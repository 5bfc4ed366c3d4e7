//! Which data folder a command is about, if nobody says so.
//!
//! Only `serve` and `restore` make a data folder. Whatever else is typed is about one that is there: an account that was added to the
//! wrong folder has a password that never works, and a backup of it is none. So a folder is taken without being named only if there
//! is no other that could be meant.
//!
//! Anybody can lay a folder where root will type a command, or start a process with the name of a server. So what is found is taken only
//! if it is ours, or is the folder of an installed server. That of somebody else is named where nothing else is found, and is never in
//! the way of one that may be taken.

use crate::service::config::Config;
use crate::service::disk::data::{DEFAULT, Data};
use crate::service::net::listen;
use crate::service::owner::{control, restore};
use crate::service::{Failure, Result};
use crate::wire::typed::shell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A way in which the server can be installed on a box, as in `cross/`.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Where its data is.
    pub dir: &'static str,
    /// Files one of which is there if it is installed.
    pub units: &'static [&'static str],
    /// Links one of which is there if it is started with the box.
    pub enabled: &'static [&'static str],
    /// What starts its server.
    pub start: &'static str,
    /// What stops it.
    pub stop: &'static str,
    /// What makes it read settings and certificates again.
    pub reload: &'static str,
    /// What starts it when it has been given up.
    pub revive: &'static str,
}

/// As a unit of systemd, of this project's own or of the Debian package.
pub const SYSTEMD: Package = Package {
    dir: "/var/lib/inglenook",
    units: &[
        "/etc/systemd/system/inglenook.service",
        "/usr/lib/systemd/system/inglenook.service",
        "/lib/systemd/system/inglenook.service",
    ],
    enabled: &[
        "/etc/systemd/system/multi-user.target.wants/inglenook.service",
        "/usr/lib/systemd/system/multi-user.target.wants/inglenook.service",
        "/lib/systemd/system/multi-user.target.wants/inglenook.service",
    ],
    start: "systemctl start inglenook",
    stop: "systemctl stop inglenook",
    reload: "systemctl reload inglenook",
    revive: "sudo systemctl reset-failed inglenook; sudo systemctl start inglenook",
};

/// As a service of OpenWrt's procd.
pub const PROCD: Package = Package {
    dir: "/etc/inglenook",
    units: &["/etc/init.d/inglenook"],
    enabled: &["/etc/rc.d/S95inglenook"],
    start: "service inglenook start",
    stop: "service inglenook stop",
    reload: "service inglenook reload",
    revive: "service inglenook start",
};

/// Those that there are.
const PACKAGES: [Package; 2] = [SYSTEMD, PROCD];

/// Where data folders are looked for.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The one that the service manager names.
    pub state_directory: Option<PathBuf>,
    /// The one where the command is typed.
    pub here: PathBuf,
    /// The installed ones.
    pub packages: Vec<Package>,
    /// The processes, among them servers that run.
    pub processes: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Surroundings {
        Surroundings {
            state_directory: std::env::var_os("STATE_DIRECTORY").filter(|dir| !dir.is_empty()).map(PathBuf::from),
            here: DEFAULT.into(),
            packages: PACKAGES.into(),
            processes: "/proc".into(),
        }
    }
}

/// What is known of a folder that could be meant.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Candidate {
    dir: PathBuf,
    /// Whether we may look into it.
    open: bool,
    runs: bool,
}

/// What is there.
#[derive(Default, Debug)]
struct FoundServer {
    candidates: Vec<Candidate>,
    /// Servers that run for other users: where is not ours to know.
    hidden: Vec<String>,
    /// What is of somebody whom we do not trust, as it is told.
    foreign: Vec<String>,
}

/// How a folder came to be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FoundAt {
    Here,
    Installed,
    /// By a server that runs as this user.
    Server(u32),
}

/// A server that runs.
struct Running {
    process: String,
    user: u32,
    /// Where its data is, if we may know.
    dir: Option<PathBuf>,
}

/// Whether a folder is one that a server has made: it says whose the accounts in it are, or has a database.
///
/// # Errors
/// When we may not look into it.
pub fn is_data(dir: &Path) -> std::io::Result<bool> {
    for name in ["domain", "db"] {
        match dir.join(name).symlink_metadata() {
            Ok(_) => return Ok(true),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(false)
}

/// Holds that a folder is one that a server has made.
///
/// # Errors
/// When it is not, with what to do.
pub fn must_be_data(data: &Data) -> Result<()> {
    let dir = data.dir().display();
    match is_data(data.dir()) {
        Ok(true) => Ok(()),
        Err(e) => Err(Failure(format!("{dir} cannot be looked into: {e}. {SUDO}"))),
        Ok(false) => {
            let what = if data.dir().is_dir() { "holds no server's data" } else { "is not there" };
            Err(Failure(format!(
                "the data folder {dir} {what}.{} Nothing was made. Say which one is meant with --data DIR; `inglenook serve --data {}` \
                 makes a new one there.",
                restore::note_left(data),
                shell(&data.dir().display().to_string())
            )))
        }
    }
}

/// What to do about a folder of somebody else.
const SUDO: &str = "Run it as its owner or as root: type `sudo` before the command.";

/// The folder that a command is about which does not make one: `named`, else the one that is there.
///
/// # Errors
/// When none is there, or more than one, or it is not ours to look into.
pub fn existing(named: Option<&Path>, around: &Surroundings) -> Result<Data> {
    if let Some(told) = named.or(around.state_directory.as_deref()) {
        let data = Data::locate(Some(told));
        return must_be_data(&data).map(|()| data);
    }
    let found = look(around);
    match choose(&found, around)? {
        Some(data) => Ok(data),
        None => {
            let mut places = vec![around.here.display().to_string()];
            places.extend(around.packages.iter().map(|package| package.dir.to_owned()));
            let makes = installed(around).map_or("inglenook serve", |package| package.start);
            Err(Failure(format!(
                "there is no data folder{}: looked for {}, and for a server that runs. Nothing was made. {}Say where it is with --data \
                 DIR; `{makes}` makes a new one.",
                if found.foreign.is_empty() { "" } else { " of ours" },
                places.join(", "),
                foreign(&found)
            )))
        }
    }
}

/// The folder that is to be replaced: `named`, else the one that is there, else one that is to be made where we are.
///
/// # Errors
/// When there is more than one, or it is not ours to look into, or a server is installed whose folder was not made yet.
pub fn to_replace(named: Option<&Path>, around: &Surroundings) -> Result<Data> {
    if let Some(told) = named.or(around.state_directory.as_deref()) {
        return Ok(Data::locate(Some(told)));
    }
    let found = look(around);
    if let Some(data) = choose(&found, around)? {
        return Ok(data);
    }
    if !found.foreign.is_empty() {
        return Err(Failure(format!(
            "there is no data folder of ours to replace. Nothing was changed. {}Say where to put it with --data DIR.",
            foreign(&found)
        )));
    }
    match installed(around) {
        Some(package) => Err(Failure(format!(
            "the installed server has its data in {0}, where none is yet. Nothing was made. Say --data {0}, or another folder.",
            package.dir
        ))),
        None => Ok(Data::locate(Some(&around.here))),
    }
}

/// The folder that is set up: `named`, else the one that is there, if any is.
///
/// # Errors
/// When there is more than one, or it is not ours to look into.
pub fn set_up(named: Option<&Path>, around: &Surroundings) -> Result<Option<Data>> {
    match named.or(around.state_directory.as_deref()) {
        Some(told) => Ok(Some(Data::locate(Some(told)))),
        None => choose(&look(around), around),
    }
}

fn is_installed(package: &Package) -> bool {
    package.units.iter().any(|unit| Path::new(unit).exists())
}

/// Whether it is started with the box.
pub fn is_enabled(package: &Package) -> bool {
    package.enabled.iter().any(|link| Path::new(link).is_symlink())
}

fn installed(around: &Surroundings) -> Option<&Package> {
    around.packages.iter().find(|package| is_installed(package))
}

/// The installed server whose folder this is, by whatever name.
pub fn installed_at(dir: &Path) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| is_installed(package) && same_place(dir, Path::new(package.dir)))
}

/// What starts the server of a folder.
pub fn start(dir: &Path) -> String {
    installed_at(dir).map_or_else(|| format!("inglenook serve{}", flag(dir)), |package| package.start.to_owned())
}

/// What makes the server of a folder read its settings and certificates again.
pub fn reload(data: &Data) -> String {
    let ours = || format!("kill -HUP {}", data.holder());
    installed_at(data.dir()).map_or_else(ours, |package| package.reload.to_owned())
}

/// What is told of a damaged folder, with what stops its server if that is an installed one.
pub fn with_stop(text: &str, dir: &Path) -> String {
    const STOPPED: &str = "With the server stopped";
    match installed_at(dir) {
        Some(package) => text.replace(STOPPED, &format!("{STOPPED} (`{}{}`)", sudo(), package.stop)),
        None => text.to_owned(),
    }
}

/// What stands before the next command that root must type, where this one was typed so.
pub fn sudo() -> &'static str {
    match std::env::var_os("SUDO_USER") {
        Some(_) => "sudo ",
        None => "",
    }
}

/// What is to be typed behind a command so that it is about a folder: nothing, if it is what is taken anyway.
pub fn flag(dir: &Path) -> String {
    match dir == Path::new(DEFAULT) {
        true => String::new(),
        false => format!(" --data {}", shell(&dir.display().to_string())),
    }
}

fn same_place(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

/// The one that is meant, if that is sure; none, if there is none.
fn choose(found: &FoundServer, around: &Surroundings) -> Result<Option<Data>> {
    let here = found.candidates.iter().find(|one| one.dir == around.here && one.open && one.runs);
    match (here, &found.candidates[..], &found.hidden[..]) {
        (Some(one), ..) => Ok(Some(Data::locate(Some(&one.dir)))),
        (None, [], []) => Ok(None),
        (None, [one], []) if one.open => Ok(Some(Data::locate(Some(&one.dir)))),
        (None, [one], []) => {
            Err(Failure(format!("the data folder {} is not ours to look into. {SUDO}", one.dir.display())))
        }
        (None, [], [process]) => Err(Failure(format!(
            "a server runs for another user (process {process}), and where its data is, only that user and root can tell. {SUDO}"
        ))),
        (None, all, hidden) => {
            let told =
                all.iter().map(|one| format!("--data {} ({})", shell(&one.dir.display().to_string()), describe(one)));
            let told = told
                .chain(found.foreign.iter().cloned())
                .chain(hidden.iter().map(|process| format!("that of process {process}, of another user")));
            Err(Failure(format!(
                "there is more than one data folder. Nothing was changed. Say which one is meant: {}.",
                told.collect::<Vec<_>>().join(", or ")
            )))
        }
    }
}

fn describe(one: &Candidate) -> String {
    if !one.open {
        return "not ours to look into".to_owned();
    }
    let whose = match Data::locate(Some(&one.dir)).domain() {
        Ok(Some(domain)) => format!("of {domain}, "),
        _ => String::new(),
    };
    whose + if one.runs { "its server runs" } else { "no server runs on it" }
}

/// What is said of what is not taken.
fn foreign(found: &FoundServer) -> String {
    let sudo = if rustix::process::geteuid().is_root() { "" } else { SUDO };
    match &found.foreign[..] {
        [] => String::new(),
        all => format!("What is of another user is taken only if it is named: {}. {sudo} ", all.join(", or ")),
    }
}

/// Looks for all that could be meant, each once.
fn look(around: &Surroundings) -> FoundServer {
    let mut found = FoundServer::default();
    let mut seen = BTreeMap::new();
    let packages = around.packages.iter().map(|package| (PathBuf::from(package.dir), FoundAt::Installed));
    let mut places: Vec<(PathBuf, FoundAt)> =
        std::iter::once((around.here.clone(), FoundAt::Here)).chain(packages).collect();
    for Running { process, user, dir } in servers(around) {
        match dir {
            Some(dir) => places.push((dir, FoundAt::Server(user))),
            None if is_trusted(user, around) => found.hidden.push(process),
            None => found.foreign.push(format!("that of process {process} (of user {user})")),
        }
    }
    for (dir, place) in places {
        let open = match is_data(&dir) {
            Ok(false) => continue,
            is => is.is_ok(),
        };
        let real = dir.canonicalize().unwrap_or_else(|_| dir.clone());
        if seen.contains_key(&real) {
            continue;
        }
        if let Some(user) = stranger(&dir, place, around) {
            let told = format!("--data {} (of user {user})", shell(&dir.display().to_string()));
            if !found.foreign.contains(&told) {
                found.foreign.push(told);
            }
            continue;
        }
        seen.insert(real, ());
        let runs = control::runs(&Data::locate(Some(&dir)));
        found.candidates.push(Candidate { dir, open, runs });
    }
    // A server that we cannot look at is one whose folder we cannot look into, if there is one.
    if found.candidates.iter().any(|one| !one.open) {
        found.hidden.clear();
    }
    found
}

/// Whether a server of this user may be one that we are to deal with: it is ours, or root's, or that of an installed one.
fn is_trusted(user: u32, around: &Surroundings) -> bool {
    let owner = |package: &Package| std::fs::metadata(package.dir).is_ok_and(|meta| meta.uid() == user);
    user == 0 || user == rustix::process::geteuid().as_raw() || around.packages.iter().any(owner)
}

/// Whose a folder is, if we do not trust them with being found.
fn stranger(dir: &Path, place: FoundAt, around: &Surroundings) -> Option<u32> {
    let (Ok(link), Ok(meta)) = (dir.symlink_metadata(), dir.metadata()) else { return None };
    let ours = |user: u32| user == 0 || user == rustix::process::geteuid().as_raw();
    let is_installed = || around.packages.iter().any(|package| same_place(dir, Path::new(package.dir)));
    let fits = |user: u32| ours(user) || place == FoundAt::Server(user) && is_trusted(user, around);
    match place {
        FoundAt::Installed => None,
        FoundAt::Server(user) if !is_trusted(user, around) => Some(user),
        _ if !fits(link.uid()) => Some(link.uid()),
        _ if !fits(meta.uid()) && !is_installed() => Some(meta.uid()),
        _ => None,
    }
}

/// The servers that run, by what their processes were started with.
fn servers(around: &Surroundings) -> Vec<Running> {
    let entries = std::fs::read_dir(&around.processes).into_iter().flatten().flatten();
    let mut all: Vec<(u32, PathBuf)> =
        entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))).collect();
    all.sort_unstable();
    let mut found = Vec::new();
    for (number, process) in all {
        let Ok(line) = std::fs::read(process.join("cmdline")) else { continue };
        let Some(told) = served(&line) else { continue };
        let Some(user) = user(&process) else { continue };
        let running = |dir| Running { process: number.to_string(), user, dir };
        match folder(&process, told) {
            Ok(dir) => {
                // In a container the same path is another place: the folder knows who has it, if we may ask it.
                let is_there = |data: &Data| is_data(&dir).is_err() || data.holder() == number.to_string();
                if !is_trusted(user, around) || is_there(&Data::locate(Some(&dir))) {
                    found.push(running(Some(dir)));
                }
            }
            Err(e) if e.kind() == ErrorKind::PermissionDenied => found.push(running(None)),
            Err(_) => {}
        }
    }
    found
}

/// Which server of ours listens on a port, by its settings, for people; one of another user may.
pub fn listens(port: u16, processes: &Path) -> Option<String> {
    let mut hidden = None;
    let around = Surroundings { processes: processes.to_owned(), ..Surroundings::of_process() };
    for Running { process, user, dir } in servers(&around).into_iter().filter(|one| is_in_our_network(one, processes)) {
        // What somebody else says of themselves is not read.
        match dir.filter(|dir| stranger(dir, FoundAt::Server(user), &around).is_none()) {
            Some(dir) => {
                let config = Config::load(None, &dir).unwrap_or_default();
                if listen::wanted(&config).iter().any(|(_, address)| address.port() == port) {
                    return Some(format!(
                        "The Inglenook server of {} (process {process}) listens there",
                        dir.display()
                    ));
                }
            }
            None => {
                let told = || format!("Maybe the Inglenook server of another user (process {process}) listens there");
                hidden = hidden.or_else(|| Some(told()));
            }
        }
    }
    hidden
}

/// Whether a process has the ports that we have, as far as can be seen (network_namespaces(7)).
fn is_in_our_network(one: &Running, processes: &Path) -> bool {
    let network = |of: &str| std::fs::read_link(processes.join(of).join("ns/net")).ok();
    network(&one.process).zip(network("self")).is_none_or(|(theirs, ours)| theirs == ours)
}

/// The user who has started a process: not who it acts as, which can be root without meaning anything. Its folder in `/proc` can be
/// root's for other reasons, too.
fn user(process: &Path) -> Option<u32> {
    let status = std::fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Whether a command line is that of a server, and the folder that it names.
fn served(line: &[u8]) -> Option<Option<PathBuf>> {
    let mut words = line.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let program = Path::new(words.next()?).file_name()?;
    if !program.as_bytes().starts_with(b"inglenook") || words.next()? != "serve" {
        return None;
    }
    Some(words.skip_while(|word| *word != "--data").nth(1).map(PathBuf::from))
}

/// The whole path of the folder that a server was started with.
fn folder(process: &Path, told: Option<PathBuf>) -> std::io::Result<PathBuf> {
    let dir = match told {
        Some(dir) => dir,
        None => {
            let environment = std::fs::read(process.join("environ"))?;
            let mut variables = environment.split(|byte| *byte == 0);
            let state = variables.find_map(|line| line.strip_prefix(b"STATE_DIRECTORY=")).filter(|dir| !dir.is_empty());
            state.map_or_else(|| OsString::from(DEFAULT), |dir| OsStr::from_bytes(dir).to_owned()).into()
        }
    };
    match dir.is_absolute() {
        true => Ok(dir),
        false => Ok(std::fs::read_link(process.join("cwd"))?.join(dir)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;
    use crate::service::serve::hold;

    /// Surroundings in which nothing is, but for what a test puts there.
    fn nothing(temp: &Temp) -> Surroundings {
        let (here, processes) = (temp.0.join("here"), temp.0.join("processes"));
        std::fs::create_dir(&processes).unwrap();
        Surroundings { state_directory: None, here, packages: Vec::new(), processes }
    }

    fn package(dir: &Path) -> Package {
        Package {
            dir: dir.to_str().unwrap().to_owned().leak(),
            units: &[],
            enabled: &[],
            start: "start",
            stop: "stop",
            reload: "reload",
            revive: "revive",
        }
    }

    fn make(dir: &Path, domain: &str) {
        std::fs::create_dir(dir).unwrap();
        std::fs::write(dir.join("domain"), domain).unwrap();
    }

    #[test]
    fn without_a_folder_nothing_is_made() {
        let temp = Temp::new();
        let mut around = nothing(&temp);
        around.packages = vec![package(&temp.0.join("installed"))];
        let error = existing(None, &around).unwrap_err().0;
        for part in [around.here.to_str().unwrap(), "installed", "--data DIR", "inglenook serve"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        let named = temp.0.join("named");
        let error = existing(Some(&named), &around).unwrap_err().0;
        assert!(error.contains("is not there") && error.contains(named.to_str().unwrap()), "{error}");
        // A folder that holds something else, or only the settings of one that is to be.
        std::fs::create_dir(&named).unwrap();
        std::fs::write(named.join("inglenook.toml"), "").unwrap();
        assert!(existing(Some(&named), &around).unwrap_err().0.contains("holds no server's data"));
        around.state_directory = Some(named);
        assert!(existing(None, &around).unwrap_err().0.contains("holds no server's data"));
        assert!(!around.here.exists() && !temp.0.join("installed").exists());
    }

    #[test]
    fn the_only_folder_is_taken_wherever_it_is() {
        let temp = Temp::new();
        let mut around = nothing(&temp);
        let installed = temp.0.join("installed");
        make(&installed, "chat.local");
        around.packages = vec![package(&installed)];
        assert_eq!(existing(None, &around).unwrap().dir(), installed);
        assert_eq!(to_replace(None, &around).unwrap().dir(), installed);
        // The same by another name is no other one.
        std::os::unix::fs::symlink(&installed, &around.here).unwrap();
        assert_eq!(existing(None, &around).unwrap().dir(), around.here);
    }

    #[test]
    fn of_two_folders_none_is_guessed() {
        let temp = Temp::new();
        let mut around = nothing(&temp);
        let installed = temp.0.join("installed");
        make(&installed, "chat.local");
        make(&around.here, "example.org");
        around.packages = vec![package(&installed)];
        for error in [existing(None, &around).unwrap_err().0, to_replace(None, &around).unwrap_err().0] {
            for part in ["more than one", "of chat.local", "of example.org", "--data", "no server runs"] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
        // Unless the one here is that of a server that runs, which has its socket there.
        let data = Data::locate(Some(&around.here));
        let held = hold(&data).unwrap();
        let socket = std::os::unix::net::UnixListener::bind(data.control()).unwrap();
        assert_eq!(existing(None, &around).unwrap().dir(), around.here);
        drop((socket, held));
        // Or is named.
        assert_eq!(existing(Some(&installed), &around).unwrap().dir(), installed);
    }

    #[test]
    fn what_is_to_be_replaced_may_not_be_there_yet() {
        let temp = Temp::new();
        let mut around = nothing(&temp);
        assert_eq!(to_replace(None, &around).unwrap().dir(), around.here);
        let unit: &'static str = temp.0.join("unit").to_str().unwrap().to_owned().leak();
        std::fs::write(unit, "").unwrap();
        let package = Package { units: [unit].to_vec().leak(), ..package(&temp.0.join("installed")) };
        around.packages = vec![package];
        assert!(to_replace(None, &around).unwrap_err().0.contains("Say --data"));
        // It only has to be started.
        assert!(existing(None, &around).unwrap_err().0.contains("`start` makes a new one"));
        assert_eq!(to_replace(Some(&temp.0.join("named")), &around).unwrap().dir(), temp.0.join("named"));
    }

    /// The link of a unit leads nowhere where the system's files are looked at from another one.
    #[test]
    fn a_unit_is_enabled_by_its_link() {
        let temp = Temp::new();
        let link: &'static str = temp.0.join("wanted").to_str().unwrap().to_owned().leak();
        let package = Package { enabled: [link].to_vec().leak(), ..package(&temp.0) };
        assert!(!is_enabled(&package));
        std::os::unix::fs::symlink("/nowhere/inglenook.service", link).unwrap();
        assert!(is_enabled(&package));
    }

    #[test]
    fn a_server_is_known_by_its_command_line() {
        let line = |words: &[&str]| words.join("\0").into_bytes();
        assert_eq!(served(&line(&["/usr/bin/inglenook", "serve", ""])), Some(None));
        assert_eq!(
            served(&line(&["./inglenook-aarch64", "serve", "--domain", "x", "--data", "chat"])),
            Some(Some("chat".into()))
        );
        assert_eq!(served(&line(&["inglenook", "user", "serve"])), None);
        assert_eq!(served(&line(&["/bin/sh", "serve"])), None);
        assert_eq!(served(b""), None);
    }
}
