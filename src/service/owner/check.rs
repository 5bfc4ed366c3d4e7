//! What is wrong with an installation, and the exact fix.

pub use super::check_report::Report;
use crate::core::Federates;
use crate::service::cert::{Certificates, Names};
use crate::service::config::Config;
use crate::service::disk::{
    data::{self, Data},
    wear::size,
};
use crate::service::dns::{Resolver, in_time};
use crate::service::federation::Policy;
use crate::service::host;
use crate::service::mdns::{MdnsSetting, Neighbour};
use crate::service::net::{
    listen,
    listeners::{C2S, C2S_TLS, S2S, S2S_TLS},
};
use crate::service::owner::{
    control,
    control::Request,
    find,
    find::Package,
    lookup::{Lookup, Ports},
    observe, records, status,
    status::Health,
    user,
};
use crate::service::serve::{Options, Place};
use crate::service::tls::Roots;
use crate::store::card::Card;
use crate::store::sled_engine::RESERVE_BYTES;
use crate::store::{Engine, Query, Tree, key};
use crate::wire::{Jid, host_name};

use rustix::fs::{Access, AtFlags, CWD};
use std::time::Duration;

/// Files that the server may want to make at any time.
const FILES: u64 = 64;
/// How long the DNS is asked.
const LOOK_UP: Duration = Duration::from_secs(8);

/// Looks at everything; changes nothing. A small file is uploaded to a server that runs, and removed.
pub fn run(options: &Options) -> Report {
    let mut report = look(options);
    let fixes = report.seen.iter_mut().flat_map(|seen| &mut seen.tests).map(|test| &mut test.fix);
    report.fine.iter_mut().chain(&mut report.wrong).chain(fixes).for_each(|line| *line = typed(line, options));
    report
}

/// Looks at the server of any domain, as strangers see it. `at`: where it is, as `[LISTENER=]ADDRESS:PORT`, if its DNS is not to be asked.
///
/// # Errors
/// When there is nowhere to look.
pub fn of(name: &str, at: &[String]) -> crate::service::Result<Report> {
    Ok(Report { seen: Some(observe::of(name, at)?), ..Report::default() })
}

/// A line whose commands are whole: as they are to be typed where this one was.
fn typed(line: &str, options: &Options) -> String {
    let data = Data::locate(options.data.as_deref());
    let flag = if options.found { String::new() } else { find::flag(data.dir()) };
    let sudo = if options.sudo { "sudo " } else { "" };
    let mut line = line.replace("`inglenook serve`", &format!("`{}`", find::start(data.dir())));
    for command in ["inglenook cert renew", "inglenook cert install", "inglenook peer show"] {
        line = line.replace(command, &format!("{sudo}{command}{flag}"));
    }
    for command in ["`inglenook salvage", "`inglenook restore"] {
        line = line.replace(command, &command.replace('`', &format!("`{sudo}")));
    }
    line = find::with_stop(&line, data.dir());
    line.replace("Fix: chmod", &format!("Fix: {sudo}chmod"))
}

fn look(options: &Options) -> Report {
    let mut report = Report::default();
    let data = Data::locate(options.data.as_deref());
    clock(&mut report, host::clock());
    let there = folder(&mut report, &data);
    let read = settings(&mut report, options, &data);
    // What is wrong with them does not hide what else is.
    let unset = Options { unset: true, ..options.clone() };
    let place = match options.place() {
        Ok(place) => place,
        Err(e) => {
            if read {
                report.wrong(format!("domain: {e}"));
            }
            match unset.place() {
                Ok(place) if there && matches!(data.domain(), Ok(Some(_))) => {
                    return folder_checked(report, &unset, &place, asked(&place.data).as_ref());
                }
                _ => return report,
            }
        }
    };
    let lookup = Lookup::begin(place.domain.as_str());
    let health = asked(&place.data);
    let mut report = match there {
        true => folder_checked(report, options, &place, health.as_ref()),
        false => {
            ports(&mut report, &place.config);
            report
        }
    };
    domain_seen(&mut report, &place, lookup);
    let (runs, health) = (health.is_some(), health.and_then(Result::ok));
    let answers = health.is_some();
    let mdns = health.as_ref().and_then(|health| health.mdns.clone());
    found(&mut report, place.config.mdns, mdns.as_deref());
    let web = health.and_then(|health| health.web);
    if let Some(web) = &web {
        report.fine(format!("web: browsers find it at {}", records::urls(web).join(", ")));
    }
    report.records = records::lines(&place.config, place.domain.domain(), web.as_deref());
    if answers {
        match observe::own(&place, mdns.as_deref()) {
            Ok(seen) => report.seen = Some(seen),
            Err(e) => report.note(format!("grade: nothing was tried from outside: {e}")),
        }
    } else {
        let why = if runs { "does not answer" } else { "does not run" };
        report.note(format!("grade: nothing was tried from outside, as the server {why}"));
    }
    report
}

/// What a server that runs says of how it is, or that it says nothing.
fn asked(data: &Data) -> Option<crate::service::Result<Health>> {
    control::runs(data).then(|| status::health(data))
}

/// Whether the settings can be read.
fn settings(report: &mut Report, options: &Options, data: &Data) -> bool {
    let config = match Config::load(options.config.as_deref(), data.dir()) {
        Ok(config) => config,
        Err(e) => {
            report.wrong(format!("settings: {e}"));
            return false;
        }
    };
    match options.config.as_deref().filter(|_| !config.components.is_empty()) {
        Some(file) if data::open_to_others(file).is_some() => {
            let file = file.display();
            report.wrong(format!("settings: others can read the components' secrets in {file}. Fix: chmod 600 {file}"));
        }
        _ => report.fine("settings: understood"),
    }
    true
}

/// What can be told of a folder that is there: of its server, and of all that is in it.
fn folder_checked(
    mut report: Report,
    options: &Options,
    place: &Place,
    health: Option<&crate::service::Result<Health>>,
) -> Report {
    let data = &place.data;
    if let Some(health) = health {
        running(&mut report, data, health);
        if health.is_ok()
            && let Ok(Some(accounts)) = control::ask(data, &Request::List)
        {
            administrators(&mut report, place, &accounts);
        }
    } else {
        let installed = find::installed_at(data.dir()).map(|one| (one, find::is_enabled(one)));
        stopped(&mut report, installed, data.database().exists());
        if !options.unset {
            ports(&mut report, &place.config);
        }
    }
    space(&mut report, data);
    certificate(&mut report, place);
    other_servers(&mut report, place);
    if health.is_none() {
        database(&mut report, options, place);
    }
    report
}

/// Which other servers are talked to; and, where that is everybody, whether they would find this one.
fn other_servers(report: &mut Report, place: &Place) {
    let federation = &place.config.federation;
    if let Some(Err(e)) = federation.ca_file.as_deref().map(Roots::look_at) {
        report.wrong(format!(
            "other servers: {e}. Fix: name a file with certificates (PEM) in federation.ca_file, or leave it empty"
        ));
    }
    let certificates = Certificates::of(&place.data);
    let public = certificates.is_public(place.domain.domain());
    let listed = federation.allow.len() + federation.pinned.len();
    match federation.core(public).with {
        Federates::Nobody => return report.fine("other servers: none is talked to"),
        Federates::Listed => {
            let why = if federation.policy == Policy::Auto {
                ", as the certificate is not one that everybody trusts"
            } else {
                ""
            };
            return report
                .fine(format!("other servers: only those that are listed or pinned are talked to, {listed}{why}"));
        }
        Federates::Everybody => {}
    }
    let resolver = Resolver::of_system();
    match smol::block_on(in_time(LOOK_UP, resolver.targets(place.domain.domain()))) {
        Err(why) => report.wrong(format!(
            "other servers: they do not find this one: {why}. Fix: put `_xmpp-server._tcp.{}. SRV 5 0 5269 HOST.` with this box's HOST into the DNS",
            place.domain
        )),
        Ok(targets) => {
            let listened = |port: u16| [S2S, S2S_TLS].iter().flat_map(|name| place.config.addresses(name)).any(|at| at.port() == port);
            let told: Vec<String> = targets.iter().map(|target| format!("{}, port {}", target.host, target.port)).collect();
            report.fine(format!("other servers: they look for this one at {}", told.join("; ")));
            if !targets.iter().any(|target| listened(target.port)) {
                report.note("other servers: this one listens on none of those ports; that is right if a router forwards them");
            }
        }
    }
}

/// Who is set to administer the server, and does not. `accounts`: the addresses that there are.
fn administrators(report: &mut Report, place: &Place, accounts: &[String]) {
    let has = |jid: &Jid| accounts.iter().any(|account| account == jid.as_str());
    let idle = user::idle_admins(&place.config.admins, &place.domain, has);
    report.notes.extend(idle.iter().map(|line| format!("admins: {line}")));
}

/// What the running server tells of itself.
fn running(report: &mut Report, data: &Data, health: &crate::service::Result<Health>) {
    report.fine("server: it runs");
    match health {
        Ok(health) => {
            report.fine.extend(health.clock.iter().map(|told| format!("clock: it {told}")));
            match &health.storage {
                Some(told) => report.wrong(format!(
                    "storage: {told}. Fix: make room on the disk of {}; if there is some, look at dmesg and the log",
                    data.dir().display()
                )),
                None => report.fine("storage: it works"),
            }
            health.admins.iter().for_each(|told| report.note(format!("admins: {told}")));
            health.house.iter().for_each(|told| report.note(format!("house: {told}")));
            health.unreached.iter().for_each(|told| report.note(format!("other server: {told}")));
        }
        Err(e) => report.wrong(format!("server: {e} Fix: restart it; its log says what it was at")),
    }
}

/// No server runs on the folder. One that is `installed` and starts with the box should; so should one, perhaps, that has a database.
fn stopped(report: &mut Report, installed: Option<(&Package, bool)>, database: bool) {
    const STOPPED: &str = "server: it does not run";
    match installed {
        Some((package, true)) => report.wrong(format!("{STOPPED}: {}", package.revive)),
        Some((package, false)) if database => report.note(format!("{STOPPED}; `{}` starts it", package.start)),
        None if database => report.note(STOPPED),
        _ => {}
    }
}

/// What phones see of the domain.
fn domain_seen(report: &mut Report, place: &Place, lookup: Lookup) {
    let domain = &place.domain;
    if let Some(why) = host_name::fault(domain.as_str()) {
        let but = if host_name::is_shared(domain.as_str()) { "" } else { "some apps and name services refuse it: " };
        report.note(format!(
            "domain: {domain} goes on as it is, but {but}{why}. It can be changed while there are no accounts"
        ));
    }
    let told = lookup.end(&Ports::set(&place.config));
    if told.fine {
        return report.fine(format!("domain: {}", told.text));
    }
    // That it is set says less, and would contradict it.
    report.note(format!("domain: {}", told.text));
}

/// Whether the network at hand finds the server. `told`: what a running one says of that.
fn found(report: &mut Report, setting: MdnsSetting, told: Option<&str>) {
    let name = format!("{}.local", host::label());
    match (told, setting) {
        (Some(told), _) if told.starts_with("found as ") && !told.starts_with(&format!("found as {name} ")) => {
            report.note(format!(
                "mdns: {told}: {name} is another box. Give this one a name of its own (hostnamectl set-hostname NAME) and restart it"
            ));
        }
        (Some(told), _) => report.fine(format!("mdns: {told}")),
        (None, MdnsSetting::Auto) => {
            report.fine.extend(Neighbour::look().map(|neighbour| format!("mdns: {}", neighbour.told())));
        }
        (None, MdnsSetting::On | MdnsSetting::Off) => {}
    }
}

fn clock(report: &mut Report, shows: u64) {
    match shows >= host::EARLIEST {
        true => report.fine("clock: set"),
        false => report.wrong(
            "clock: it shows a time before this program was made. Set it (timedatectl set-ntp true), or messages carry wrong dates.",
        ),
    }
}

/// Whether the folder can be looked into.
fn folder(report: &mut Report, data: &Data) -> bool {
    let dir = data.dir();
    let shown = dir.display();
    match std::fs::read_dir(dir) {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            report.fine(format!("data folder: {shown} is not there yet; the first `inglenook serve` makes it"));
            return false;
        }
        Err(e) => {
            report.wrong(format!(
                "data folder: {shown} cannot be read: {e}. Run as its owner, or chown it to the server's user."
            ));
            return false;
        }
    }
    let mut fine = true;
    for path in [
        dir.to_owned(),
        data.certificates(),
        data.certificates().join("ca.key"),
        data.certificates().join("server.key"),
    ] {
        if let Some(mode) = data::open_to_others(&path) {
            let shown = path.display();
            let private = if path.is_dir() { 700 } else { 600 };
            report
                .wrong(format!("data folder: others can get at {shown} (mode {mode:o}). Fix: chmod {private} {shown}"));
            fine = false;
        }
    }
    // As who we are now, not as who started us.
    if rustix::fs::accessat(CWD, dir, Access::WRITE_OK, AtFlags::EACCESS).is_err() {
        report.wrong(format!(
            "data folder: {shown} cannot be written. Run as its owner, or chown it to the server's user."
        ));
        fine = false;
    }
    if fine {
        report.fine(format!("data folder: {shown}, for this user alone"));
    }
    true
}

/// Whether there is room to store something.
fn space(report: &mut Report, data: &Data) {
    let Ok(stat) = rustix::fs::statvfs(data.dir()) else { return };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let (dir, has) = (data.dir().display(), size(free));
    match free {
        0..RESERVE_BYTES => report.wrong(format!(
            "disk: only {has} are free on that of {dir}; the server stores nothing more below {}. Fix: make room there",
            size(RESERVE_BYTES)
        )),
        _ if stat.f_files > 0 && stat.f_favail < FILES => report.wrong(format!(
            "disk: only {} more files can be made on that of {dir}, though {has} are free. Fix: remove files there that nobody needs",
            stat.f_favail
        )),
        _ => report.fine(format!("disk: {has} free")),
    }
}

fn ports(report: &mut Report, config: &Config) {
    for (name, address) in listen::wanted(config) {
        match listen::probe(name, address) {
            Ok(()) => report.fine(format!("port: {address} ({name}) is free")),
            Err(e) => report.wrong(format!("port: {e}")),
        }
    }
    let most = listen::most(config);
    let fewer = if most < config.connections { ": the system has no descriptors or memory for more" } else { "" };
    match listen::few(config) {
        Some(few) => report.wrong(format!("connections: {few}")),
        None => report.fine(format!("connections: {most} at the same time{fewer}")),
    }
    if config.addresses(C2S).is_empty() && config.addresses(C2S_TLS).is_empty() {
        report.wrong("port: no app can connect. Put an address into c2s or c2s_tls in [listen].");
    }
}

fn certificate(report: &mut Report, place: &Place) {
    let certificates = Certificates::of(&place.data);
    let now = certificates.now();
    if ["ca.crt", "ca.key", "server.crt", "server.key", "installed.pem"]
        .iter()
        .all(|name| !place.data.certificates().join(name).exists())
    {
        return report.fine("certificate: none yet; the first `inglenook serve` makes it");
    }
    let before = report.wrong.len();
    for fault in certificates.faults(Some(place.domain.as_str()), now) {
        report.wrong(format!("certificate: {fault}"));
    }
    let Ok((pair, facts)) = certificates.current() else { return };
    if !pair.installed {
        let missing = facts.lacks(&Names::of_host(place.domain.as_str()), certificates.permitted().as_ref());
        if !missing.is_empty() {
            report.fine(format!(
                "certificate: it does not name {}, which apps do not look for; the next one will",
                missing.join(", ")
            ));
        }
    }
    if report.wrong.len() == before {
        report.fine(match pair.installed {
            true => format!("certificate: installed, until {}", facts.until),
            false => format!("certificate: {}", facts.told()),
        });
    }
}

fn database(report: &mut Report, options: &Options, place: &Place) {
    if !place.data.database().exists() {
        return report.fine("database: none yet; the first `inglenook serve` makes it");
    }
    let admins = &place.config.admins;
    let read = || -> crate::service::Result<(Vec<String>, Vec<String>, Option<String>)> {
        let _lock = crate::service::serve::hold(&place.data)?;
        let mut engine = Card::open(&place.data.database(), options.probe.and_then(|make| make()))?;
        let lost = engine.losses()?;
        let told = crate::core::clock::stored(&mut engine)?;
        let mut accounts = Vec::new();
        for (jid, local) in admins.iter().filter_map(|jid| Some((jid, jid.local()?))) {
            if !engine.query(&Query::Get(Tree::Account, key::account(local)))?.is_empty() {
                accounts.push(jid.to_string());
            }
        }
        engine.close()?;
        Ok((lost, accounts, told))
    };
    match read() {
        Ok((lost, accounts, told)) => {
            administrators(report, place, &accounts);
            if lost.is_empty() {
                report.fine("database: all of it can be read");
            }
            lost.into_iter().for_each(|what| report.wrong(format!("database: {what}. All else is served")));
            report.fine.extend(told.map(|told| format!("clock: it {told}")));
        }
        Err(e) => report.wrong(format!("database: {e}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;
    use std::os::unix::fs::PermissionsExt;

    fn at(temp: &Temp) -> Options {
        Options { data: Some(temp.0.clone()), ..Options::default() }
    }

    #[test]
    fn a_clock_that_is_not_set_is_told() {
        let mut report = Report::default();
        clock(&mut report, 1000);
        assert!(report.wrong[0].contains("timedatectl"));
        clock(&mut report, host::EARLIEST);
        assert_eq!((report.wrong.len(), report.fine.len()), (1, 1));
    }

    #[test]
    fn an_installed_server_that_does_not_run_is_wrong() {
        let package = Package {
            dir: "/var/lib/inglenook",
            units: &[],
            enabled: &[],
            start: "systemctl start inglenook",
            stop: "stop",
            reload: "reload",
            revive: "sudo systemctl reset-failed inglenook; sudo systemctl start inglenook",
        };
        let told = |installed, database| {
            let mut report = Report::default();
            stopped(&mut report, installed, database);
            report
        };
        let wrong = "server: it does not run: sudo systemctl reset-failed inglenook; sudo systemctl start inglenook";
        for database in [true, false] {
            assert_eq!(told(Some((&package, true)), database).wrong, [wrong]);
        }
        let note = told(Some((&package, false)), true);
        assert!(note.wrong.is_empty() && note.notes[0].contains("systemctl start inglenook"), "{note:?}");
        assert_eq!(told(None, true).notes, ["server: it does not run"]);
        assert_eq!(told(None, false), Report::default());
    }

    #[test]
    fn each_fault_is_told_with_its_fix() {
        let temp = Temp::new();
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let settings = format!(
            "domain = \"example.org\"\n[listen]\ns2s = []\ns2s_tls = []\nc2s = [\"{address}\"]\nc2s_tls = []\n"
        );
        std::fs::write(temp.0.join("inglenook.toml"), settings).unwrap();
        let certificates = Certificates::of(&Data::locate(Some(&temp.0)));
        let names = Names { domain: "example.org".into(), hosts: vec![], addresses: vec![] };
        certificates.ensure(&names, host::EARLIEST - 1000 * 86_400).unwrap();
        std::fs::set_permissions(&temp.0, PermissionsExt::from_mode(0o755)).unwrap();
        let report = run(&at(&temp));
        let wrong = |text: &str| report.wrong.iter().any(|line| line.contains(text));
        assert!(wrong("chmod 700"), "{report:?}");
        assert!(wrong("Another program listens there"), "{report:?}");
        assert!(wrong("Fix: inglenook cert renew"), "{report:?}");
        assert_eq!(report.wrong.len(), 3, "{report:?}");
        // Whole commands, to be typed as this one was.
        let dir = temp.0.display();
        assert!(wrong(&format!("Fix: inglenook cert renew --data {dir}")), "{report:?}");
        let found = run(&Options { found: true, sudo: true, ..at(&temp) });
        let wrong = |text: &str| found.wrong.iter().any(|line| line.ends_with(text));
        assert!(wrong("Fix: sudo inglenook cert renew") && wrong(&format!("Fix: sudo chmod 700 {dir}")), "{found:?}");
    }

    #[test]
    fn wrong_settings_are_told() {
        let temp = Temp::new();
        std::fs::write(temp.0.join("inglenook.toml"), "plian = true\n").unwrap();
        assert!(run(&at(&temp)).wrong.iter().any(|line| line.contains("inglenook.toml:1") && line.contains("plain")));
    }
}
