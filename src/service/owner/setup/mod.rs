//! The command `setup`: asks what only the house knows, looks whether the network agrees, and has the server run with the box.
//! `serve` needs none of it.

mod boot;
mod settings;
mod talk;

use self::boot::BootManager;
use self::settings::Wanted;
pub use self::talk::Talk;
use super::{
    avahi, check, control, domain, find,
    find::Surroundings,
    invite,
    lookup::{Lookup, Ports},
    root,
};
use crate::core::Household;
use crate::service::config::{self, Config};
use crate::service::disk::data::Data;
use crate::service::net::listen;
use crate::service::serve::{Options, Place};
use crate::service::{Failure, Result};
use crate::wire::host_name;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Where avahi looks for what it tells the network.
const AVAHI: &str = "/etc/avahi/services";

/// What comes behind the questions.
#[derive(Clone, Debug)]
pub enum SetUp {
    /// The server runs with the box.
    Installed,
    /// It is to be run now, for as long as the terminal is there.
    Serve(Options),
}

/// What was answered.
struct Answers {
    domain: String,
    /// What the house is called; empty: after its domain.
    name: String,
    boot: Option<&'static BootManager>,
}

/// Asks, and does it. Nothing is changed before the last answer.
///
/// # Errors
/// When there is no answer; what is in the way, and what to do.
pub fn run(options: &Options, around: &Surroundings, talk: &mut Talk<'_>) -> Result<SetUp> {
    let there = find::set_up(options.data.as_deref(), around)?;
    let manager = BootManager::of_box().filter(|_| options.data.is_none());
    let is_root = rustix::process::geteuid().is_root();
    if manager.is_some() && !is_root {
        talk.say("To have the server started with the box, type `sudo inglenook setup` instead (Ctrl-C ends this).");
    }
    let boot = manager.filter(|_| is_root);
    let of_service = boot.map(BootManager::dir).transpose()?;
    let usual = of_service.clone().unwrap_or_else(|| around.here.clone());
    let data = there.clone().unwrap_or_else(|| Data::locate(Some(&usual)));
    let options = Options { data: Some(data.dir().to_owned()), ..options.clone() };
    talk.say("Enter takes what stands in brackets. Nothing is changed before the last answer.");
    let answers = ask(&options, &data, boot, talk)?;
    let home = match of_service.filter(|_| answers.boot.is_some()) {
        Some(dir) => Data::locate(Some(&dir)),
        None => there.clone().unwrap_or_else(|| Data::locate(Some(&around.here))),
    };
    let options = Options { data: Some(home.dir().to_owned()), ..options };
    free(&data, &home, answers.boot.is_some())?;
    if there.is_some() && !same(&data, &home) {
        move_data(&data, &home, talk)?;
    }
    root::as_owner(&home, || write(&home, &answers, talk))?;
    match answers.boot {
        None => Ok(SetUp::Serve(options)),
        Some(boot) => {
            boot.install(&home, talk)?;
            tell_avahi(&options, &home, talk)?;
            finish(options, &home, talk).map(|()| SetUp::Installed)
        }
    }
}

fn same(one: &Data, other: &Data) -> bool {
    let real = |data: &Data| data.dir().canonicalize().unwrap_or_else(|_| data.dir().to_owned());
    real(one) == real(other)
}

fn ask(options: &Options, data: &Data, boot: Option<&'static BootManager>, talk: &mut Talk<'_>) -> Result<Answers> {
    let Place { config, domain, .. } = root::as_owner(data, || options.place())?;
    let (domain, name) = match root::as_owner(data, || domain::accounts(options, data))? {
        0 => {
            let domain = ask_domain(domain.as_str(), &config, talk)?;
            let name = ask_name(&domain, &config, talk)?;
            (domain, name)
        }
        count => {
            let accounts = if count == 1 { "1 account belongs".to_owned() } else { format!("{count} accounts belong") };
            talk.say(&format!("The domain stays {domain}: {accounts} to it."));
            (domain.to_string(), config.household.name)
        }
    };
    let boot = match boot {
        Some(boot) if talk.is_wanted("Is the server to run now, and whenever the box is started?")? => Some(boot),
        _ => None,
    };
    Ok(Answers { domain, name, boot })
}

/// The domain, which is looked up at once: whoever types it should see what phones will.
fn ask_domain(usual: &str, config: &Config, talk: &mut Talk<'_>) -> Result<String> {
    talk.say("The domain is the second half of everybody's address, and the name by which phones look for this box.");
    let mut usual = usual.to_owned();
    // What was told of once is not told again: who takes it all the same has read it.
    let mut told_of = None;
    loop {
        let answer = talk.ask("Which domain?", &usual)?;
        let named = match config::read_domain(&answer) {
            Ok(named) => named,
            Err(e) => {
                talk.say(&e.0);
                continue;
            }
        };
        if let Some(why) = host_name::fault(named.as_str()) {
            talk.say(&format!("{named} cannot be a domain: {why}."));
            continue;
        }
        if told_of.as_ref() == Some(&named) {
            return Ok(named.to_string());
        }
        let told = Lookup::begin(named.as_str()).end(&Ports::set(config));
        talk.say(&format!("  {}", told.text));
        // What was offered is taken: nobody chose it who could choose better.
        if told.fine || named.as_str() == usual {
            return Ok(named.to_string());
        }
        talk.say("Enter takes it all the same; or type another.");
        usual = named.to_string();
        told_of = Some(named);
    }
}

/// What everybody reads above the list of contacts.
fn ask_name(domain: &str, config: &Config, talk: &mut Talk<'_>) -> Result<String> {
    let after_domain = Household::default().called(domain);
    let usual = config.household.called(domain);
    loop {
        let name = talk.ask("What is the house called? People see that above their contacts.", &usual)?;
        if name == after_domain {
            return Ok(String::new());
        }
        match config::is_house_name(&name) {
            true => return Ok(name),
            false => talk.say("A name has no more than 100 bytes, and no control characters. Another, please."),
        }
    }
}

/// Nothing is in the way of the server: no other on that data, unless the service manager ends it, and no other program at its ports.
fn free(data: &Data, home: &Data, restarts: bool) -> Result<()> {
    if restarts && control::runs(home) {
        return Ok(());
    }
    if control::runs(data) {
        return Err(Failure(format!(
            "a server runs on {} (process {}). End it (Ctrl-C in its terminal), and type this again. Nothing was changed.",
            data.dir().display(),
            data.holder()
        )));
    }
    let config = root::as_owner(data, || Config::load(None, data.dir()))?;
    listen::try_all(&config).map_err(|e| Failure(format!("{e} Nothing was changed.")))
}

/// What was begun in one folder goes on in that of the service.
fn move_data(from: &Data, to: &Data, talk: &mut Talk<'_>) -> Result<()> {
    let (old, new) = (from.dir(), to.dir());
    let cannot = |why: &str| {
        Failure(format!(
            "the data of {} cannot be moved to {}: {why}. `inglenook backup FILE --data {}`, remove that folder, then this again, then \
             `inglenook restore FILE` does the same. Nothing was changed.",
            old.display(),
            new.display(),
            old.display()
        ))
    };
    // An empty one is in nobody's way.
    match std::fs::remove_dir(new) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(cannot(&e.to_string())),
        _ => {}
    }
    std::fs::rename(old, new).map_err(|e| cannot(&e.to_string()))?;
    talk.say(&format!("moves        {} to {}", old.display(), new.display()));
    Ok(())
}

fn write(data: &Data, answers: &Answers, talk: &mut Talk<'_>) -> Result<()> {
    let path = data.dir().join("inglenook.toml");
    // Who keeps them elsewhere has them there still.
    let path = path.canonicalize().unwrap_or(path);
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
        read => read.map_err(|e| Failure(format!("{name} cannot be read: {e}.")))?,
    };
    let domain = |config: &Config| config.domain.as_ref().map(ToString::to_string).unwrap_or_default();
    let wanted = [
        Wanted { table: "", name: "domain", value: &answers.domain, read: domain },
        Wanted { table: "house", name: "name", value: &answers.name, read: |config| config.household.name.clone() },
    ];
    let now = settings::with(&name, &text, &wanted)?;
    if now == text {
        return Ok(());
    }
    data.make()?;
    let mode = std::fs::metadata(&path).map_or(0o600, |meta| meta.permissions().mode() & 0o777);
    boot::put(&path, now.as_bytes(), mode, talk)
}

/// Where avahi answers for the box, it tells of the server, too.
fn tell_avahi(options: &Options, data: &Data, talk: &mut Talk<'_>) -> Result<()> {
    let services = Path::new(AVAHI);
    if !services.is_dir() {
        return Ok(());
    }
    // By the settings nothing may be open to the network: then there is nothing to tell.
    let Ok(text) = root::as_owner(data, || avahi::run(options)) else { return Ok(()) };
    boot::put(&services.join("inglenook.service"), text.as_bytes(), 0o644, talk)
}

/// What the network makes of it, and the owner's code.
fn finish(options: Options, data: &Data, talk: &mut Talk<'_>) -> Result<()> {
    let sudo = root::become_owner(data)? && std::env::var_os("SUDO_USER").is_some();
    let options = Options { sudo, found: true, ..options };
    let lines = check::run(&options).lines();
    let matters = |line: &&String| ["WRONG", "grade"].iter().any(|mark| line.starts_with(mark));
    lines.iter().filter(matters).for_each(|line| talk.say(line));
    if domain::accounts(&options, data)? > 0 {
        talk.say("next         `inglenook invite` lets the next one in");
        return Ok(());
    }
    talk.say("next         the first account, which administers the server: on this page, within a day");
    invite::renew(&options, true)?.iter().for_each(|line| talk.say(line));
    Ok(())
}
