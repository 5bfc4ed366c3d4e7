//! The accounts, from the command line: through the running server, or else on the database itself.

use crate::core::{Command, Core, Now};
use crate::ext;
use crate::service::driver::Driver;
use crate::service::net::listeners::{C2S, C2S_TLS};
use crate::service::owner::control::{self, Request};
use crate::service::serve::{self, Options, Place};
use crate::service::{Failure, Result, host, random};
use crate::store::memory::Memory;
use crate::store::{Batch, Engine, Query, Rows, StoreError};
use crate::wire::Jid;
use std::io::BufRead;
use std::time::{SystemTime, UNIX_EPOCH};

/// Letters and digits that nobody mistakes for another.
const ALPHABET: &[u8; 31] = b"abcdefghjkmnpqrstuvwxyz23456789";
/// Groups of a made password, each of [`GROUP`] letters: 89 bits.
const GROUPS: usize = 3;
const GROUP: usize = 6;

/// Carries out a request. Returns lines for the person.
///
/// # Errors
/// What is wrong, from the server, the core or the database.
pub fn run(options: &Options, request: &Request) -> Result<Vec<String>> {
    let place = options.place()?;
    if let Some(lines) = control::ask(&place.data, request)? {
        return Ok(lines);
    }
    let command = request.command(&place.domain, place.config.scram_iterations).map_err(Failure)?;
    let Some(command) = command else { return Ok(Vec::new()) };
    if !place.data.database().exists()
        && !matches!(request, Request::Add(..) | Request::NotifierAdd { .. } | Request::Invite(_))
    {
        // There is nothing yet, and only an account makes it something, or a URL for somebody elsewhere.
        let mut nothing = Memory::default();
        let settings = place.config.core(&place.domain, place.data.dir(), false);
        let core = Core::open(settings, random()?, ext::all(), &mut nothing)?;
        return carry_out(core, &mut nothing, command);
    }
    let done = serve::offline(options, &place, |core, engine| {
        let removes = matches!(command, Command::UserRemove(_) | Command::RoomRemove(_) | Command::NotifierRemove(_));
        if removes || matches!(command, Command::InvitationRevoke(_)) {
            // It makes room.
            engine.use_reserve();
        }
        carry_out(core, engine, command)
    });
    // A server may have begun since we asked.
    match done {
        Err(e) if control::runs(&place.data) => control::ask(&place.data, request)?.ok_or(e),
        done => done,
    }
}

/// What is to be typed into an app for a new account, besides its password: lines for the person.
///
/// # Errors
/// When the settings cannot be read.
pub fn entry(options: &Options, account: &str) -> Result<Vec<String>> {
    let Place { config, domain, .. } = options.place()?;
    let mut lines = vec![format!("address      {account}")];
    if options.unset {
        // Which ports the server has, only its settings could tell.
        return Ok(lines);
    }
    let starttls = config.addresses(C2S).iter().map(|address| (address, ""));
    let tls = config.addresses(C2S_TLS).iter().map(|address| (address, " (TLS from the first byte)"));
    if let Some((address, how)) = starttls.chain(tls).find(|(address, _)| address.port() != 0) {
        let ours = host::addresses().into_iter().min_by_key(|ip| ip.is_ipv6()).map(|ip| ip.to_string());
        let host = match address.ip().is_unspecified() {
            true => ours.unwrap_or_else(|| domain.to_string()),
            false => address.ip().to_string(),
        };
        let when = "if the app asks for it, or does not find it by itself";
        lines.push(format!("server       {host}, port {}{how}: {when}", address.port()));
    }
    Ok(lines)
}

/// Who is set as an administrator and is none, each with the reason. `has`: whether an address of ours has an account.
pub fn idle_admins(admins: &[Jid], domain: &Jid, has: impl Fn(&Jid) -> bool) -> Vec<String> {
    let why = |jid: &Jid| match jid.domain() == domain.domain() {
        true if has(jid) => None,
        true => Some(format!("has no account: `inglenook user add {jid}` makes it, or take it out")),
        false => Some(format!("is not an address of {domain}, and administers nothing here: take it out")),
    };
    admins.iter().filter_map(|jid| Some(format!("{jid} in the setting \"admins\" {}", why(jid)?))).collect()
}

fn carry_out(core: Core, engine: &mut dyn Engine, command: Command) -> Result<Vec<String>> {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    Driver { core, engine: Borrowed(engine) }.command(Now { mono: 0, wall }, command).map_err(Failure)
}

struct Borrowed<'a>(&'a mut dyn Engine);

impl Engine for Borrowed<'_> {
    fn commit(&mut self, batches: &[Batch]) -> std::result::Result<(), StoreError> {
        self.0.commit(batches)
    }
    fn query(&mut self, query: &Query) -> std::result::Result<Rows, StoreError> {
        self.0.query(query)
    }
}

/// A strong password that can be read aloud and typed on a phone.
///
/// # Errors
/// When the system gives no random numbers.
pub fn make_password() -> Result<String> {
    let mut letters = Vec::with_capacity(GROUPS * (GROUP + 1));
    while letters.len() < GROUPS * GROUP {
        // Bytes above the last multiple of 31 would make some letters likelier than others.
        let fair = random()?.into_iter().filter(|b| *b < 248);
        letters.extend(fair.map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()])));
    }
    letters.truncate(GROUPS * GROUP);
    let groups: Vec<String> = letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

/// The password on standard input: its first line.
///
/// # Errors
/// When there is none.
pub fn read_password() -> Result<String> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| Failure(format!("the password cannot be read from standard input: {e}")))?;
    let password = line.trim_end_matches(['\r', '\n']);
    match password.is_empty() {
        true => Err(Failure::new("there is no password on standard input: its first line is taken")),
        false => Ok(password.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn who_administers_nothing_is_told() {
        let jid = |text: &str| Jid::parse(text).unwrap();
        let admins = ["juliet@example.org", "romeo@example.org", "paris@example.net"].map(jid);
        let idle = idle_admins(&admins, &jid("example.org"), |jid| jid.local() == Some("juliet"));
        assert_eq!(idle.len(), 2, "{idle:?}");
        assert!(idle[0].starts_with("romeo@example.org") && idle[0].contains("`inglenook user add romeo@example.org`"));
        assert!(idle[1].starts_with("paris@example.net") && idle[1].contains("not an address of example.org"));
    }

    #[test]
    fn a_made_password_is_strong_and_readable() {
        let password = make_password().unwrap();
        assert_eq!(password.len(), GROUPS * GROUP + GROUPS - 1);
        assert!(password.bytes().all(|b| b == b'-' || ALPHABET.contains(&b)), "{password}");
        assert_ne!(password, make_password().unwrap());
        assert!((ALPHABET.len() as f64).log2() * (GROUPS * GROUP) as f64 > 80.0);
        assert!(![b'0', b'o', b'1', b'l', b'i'].iter().any(|b| ALPHABET.contains(b)));
    }
}
