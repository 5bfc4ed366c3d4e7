//! A load generator: what does a server need for idle sessions, logins, messages, presence, rooms and history?
//!
//! It runs against any XMPP server on this machine that offers TLS from the first byte, and reads the server's processor time and
//! memory from the system. `examples/load/README.md` says what is measured, and `examples/load/compare` measures several servers.
//!
//! ```sh
//! cargo run --release --example load -- --address 127.0.0.1:5223 --domain house.local --pid 4711 chat --window 16
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod anyone;
mod chat;
mod crowd;
mod history;
mod idle;
mod login;
mod net;
mod relay;
mod report;
mod split;
mod start;
mod system;
mod websocket;

use argh::FromArgs;
use net::Net;
use report::Report;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};
use system::{Memory, Process};

/// Whatever went wrong is told to the person who ran it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Puts load on an XMPP server of this machine and tells what it needed. It accepts any certificate.
#[derive(FromArgs)]
pub struct Args {
    /// where the server takes TLS connections (127.0.0.1:5223)
    #[argh(option, default = "SocketAddr::from(([127, 0, 0, 1], 5223))")]
    address: SocketAddr,
    /// the server's domain (example.org)
    #[argh(option, default = "String::from(\"example.org\")")]
    domain: String,
    /// the server's process, for its processor time and memory; those it started count too
    #[argh(option)]
    pid: Option<u32>,
    /// number of the first account; their names are u0, u1, and so on
    #[argh(option, default = "0")]
    first: usize,
    /// the server is `load relay`: no login, no stanzas that it reads
    #[argh(switch)]
    relay: bool,
    /// clients speak on WebSockets
    #[argh(switch)]
    websocket: bool,
    #[argh(subcommand)]
    scenario: Scenario,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Scenario {
    Accounts(Accounts),
    Idle(idle::Idle),
    Login(idle::LoginRate),
    Chat(chat::Chat),
    S2s(chat::S2s),
    Presence(crowd::Presence),
    Room(crowd::Room),
    Offline(history::Offline),
    Archive(history::Archive),
    Start(start::Start),
    Relay(relay::Relay),
}

/// Make accounts by in-band registration, where the server lets everybody; or tell their password.
#[derive(FromArgs)]
#[argh(subcommand, name = "accounts")]
struct Accounts {
    /// how many (100)
    #[argh(option, default = "100")]
    count: usize,
    /// only print the password that all of them must have
    #[argh(switch)]
    password: bool,
}

impl Accounts {
    fn run(&self, net: &mut Net, target: &Target) -> Result<Option<Report>> {
        if self.password {
            println!("{}", login::PASSWORD);
            return Ok(None);
        }
        let began = Instant::now();
        let users: Vec<usize> = (target.first..target.first + self.count).collect();
        login::register(net, target, &users)?;
        let mut report = Report::new("accounts");
        report.add("count", "", self.count as f64);
        report.add("seconds", " s", began.elapsed().as_secs_f64());
        Ok(Some(report))
    }
}

/// The server, and who we are to it.
struct Target {
    address: SocketAddr,
    domain: String,
    process: Option<Process>,
    first: usize,
    relay: bool,
    /// What tells this run's messages from others.
    run: u32,
}

impl Target {
    fn user(&self, number: usize) -> String {
        format!("u{number}")
    }

    fn jid(&self, number: usize) -> String {
        format!("u{number}@{}", self.domain)
    }

    /// The server's seconds of processor time so far.
    fn cpu(&self) -> f64 {
        self.process.map_or(f64::NAN, Process::cpu)
    }

    fn memory(&self) -> Memory {
        self.process.map(Process::memory).unwrap_or_default()
    }
}

/// What accounts may tell the archive.
fn keep(text: &str) -> std::result::Result<&'static str, String> {
    ["always", "never"].into_iter().find(|word| *word == text).ok_or_else(|| "it is always or never".to_owned())
}

fn main() -> ExitCode {
    match run(argh::from_env()) {
        Ok(report) => {
            report.iter().for_each(Report::print);
            ExitCode::SUCCESS
        }
        Err(e) => {
            eprintln!("load: {e}");
            ExitCode::FAILURE
        }
    }
}

/// What one command line found out.
pub fn run(args: Args) -> Result<Option<Report>> {
    // Each session is an open file here, too.
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files })?;
    let Args { address, domain, pid, first, relay, websocket, scenario } = args;
    let run = SystemTime::UNIX_EPOCH.elapsed()?.as_millis() as u32;
    let target = Target { address, domain, process: pid.map(Process), first, relay, run };
    let mut net = Net::new()?;
    if websocket {
        net.on_websockets();
    }
    let report = match scenario {
        Scenario::Accounts(accounts) => return accounts.run(&mut net, &target),
        Scenario::Idle(idle) => idle.run(&mut net, &target)?,
        Scenario::Login(login) => login.run(&mut net, &target)?,
        Scenario::Chat(chat) => chat.run(&mut net, &target)?,
        Scenario::S2s(s2s) => s2s.run(&mut net, &target)?,
        Scenario::Presence(presence) => presence.run(&mut net, &target)?,
        Scenario::Room(room) => room.run(&mut net, &target)?,
        Scenario::Offline(offline) => offline.run(&mut net, &target)?,
        Scenario::Archive(archive) => archive.run(&mut net, &target)?,
        Scenario::Start(start) => start.run(&target)?,
        Scenario::Relay(relay) => return relay.run(&mut net, &target).map(|()| None),
    };
    Ok(Some(report))
}
