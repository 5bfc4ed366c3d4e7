//! The owner's way into the running server: a socket in the data folder, for the same user alone.
//!
//! A request is one line, its fields apart by tabs. The answer is lines that begin with a space, then `ok`, or `error` and why. For
//! a backup, the line ` data` comes first, then the backup in chunks: each begins with its length, 32 bits, big-endian; an empty one
//! is the last.

use crate::core::{Command, InvitationKind, TokenDigest, WantedInvitation, WantedNotifier};
use crate::service::disk::data::Data;
use crate::service::owner::{backup, status};
use crate::service::serve::Shared;
use crate::service::{Failure, Result, driver};
use crate::wire::Jid;
use crate::wire::scram::{Credentials, long_enough};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::unix::{UnixListener, UnixStream};
use smol::{Async, Timer};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest request, in bytes.
const REQUEST_BYTES: usize = 16 * 1024;
/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
/// A piece of a backup, in bytes.
const CHUNK_BYTES: usize = 64 * 1024;
/// The longest answer that is read, in bytes, without a backup: far more than the accounts and rooms of any box.
const ANSWER_BYTES: u64 = 16 * 1024 * 1024;
/// The longest path that a socket's address holds on all systems, in bytes.
const PATH_BYTES: usize = 100;

/// What can be asked for.
#[derive(Clone, PartialEq, Eq)]
pub enum Request {
    /// A new account: address and password.
    Add(String, String),
    /// Another password.
    Password(String, String),
    /// The accounts.
    List,
    /// Removes an account.
    Remove(String),
    /// Whether an account administers the server.
    Admin(String, bool),
    /// The rooms.
    RoomList,
    /// Makes an account an owner of a room: the room, and the account.
    RoomOwner(String, String),
    /// Removes a room.
    RoomRemove(String),
    /// One more who may say something by HTTP.
    NotifierAdd {
        /// The room or the person that is told.
        to: String,
        /// What it is called; else after them.
        name: Option<String>,
        /// The account whose messages they are; else they are the server's.
        from: Option<String>,
        /// Of its token.
        digest: TokenDigest,
    },
    /// Those who may.
    NotifierList,
    /// The one of this name may no longer.
    NotifierRemove(String),
    /// One more invitation.
    Invite(InviteRequest),
    /// Those that are open.
    InvitationList,
    /// The one of this name can be taken no longer.
    InvitationRevoke(String),
    /// The newest gets a token with this digest.
    InvitationRenew(TokenDigest),
    /// Where it listens: the setting and the address of each port.
    Ports,
    /// A slot for a file of the server itself, of so many bytes: its URL, and what `Authorization` has to say.
    Slot(u64),
    /// Removes what was put there.
    SlotEnd,
    /// What URLs begin with; nothing, if no port is open for them.
    Urls,
    /// Reads settings and certificates again.
    Reload,
    /// How the server is.
    Status,
    /// A backup, with what people have uploaded or without: to be asked for with [`receive`].
    Backup(bool),
}

/// An invitation as the owner types it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct InviteRequest {
    /// Of its token.
    pub digest: TokenDigest,
    /// Whether it is for another password of the account that is named.
    pub reset: bool,
    /// The account.
    pub name: Option<String>,
    /// Whose contact one becomes.
    pub contacts: Vec<String>,
    /// The room that one becomes a member of.
    pub room: Option<String>,
    /// How often it can be taken.
    pub uses: u32,
    /// For how many days.
    pub days: u32,
    /// Whether one becomes an administrator.
    pub admin: bool,
    /// Whether it is for the first account.
    pub first: bool,
}

impl InviteRequest {
    fn line(&self) -> String {
        let digest = URL_SAFE_NO_PAD.encode(self.digest);
        let flags = [(self.reset, 'r'), (self.admin, 'a'), (self.first, 'f')];
        let flags: String = flags.into_iter().filter_map(|(set, flag)| set.then_some(flag)).collect();
        let (name, room) = (self.name.as_deref().unwrap_or_default(), self.room.as_deref().unwrap_or_default());
        let (uses, days, contacts) = (self.uses, self.days, self.contacts.join("\t"));
        format!("invite\t{digest}\t{name}\t{flags}\t{uses}\t{days}\t{room}\t{contacts}\n")
    }

    fn parse(digest: &str, rest: &str) -> Option<InviteRequest> {
        let digest = URL_SAFE_NO_PAD.decode(digest).ok()?.try_into().ok()?;
        let mut fields = rest.split('\t');
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (name, flags) = (some(fields.next()?), fields.next()?);
        let (uses, days, room) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?, some(fields.next()?));
        let contacts = fields.filter_map(some).collect();
        let has = |flag: char| flags.contains(flag);
        let (reset, admin, first) = (has('r'), has('a'), has('f'));
        Some(InviteRequest { digest, reset, name, contacts, room, uses, days, admin, first })
    }

    fn wanted(&self, domain: &Jid) -> std::result::Result<WantedInvitation, String> {
        Ok(WantedInvitation {
            digest: self.digest,
            kind: if self.reset { InvitationKind::Reset } else { InvitationKind::Account },
            name: self.name.as_deref().map(|name| address(name, domain)).transpose()?,
            contacts: self
                .contacts
                .iter()
                .map(|contact| address(contact, domain))
                .collect::<std::result::Result<_, _>>()?,
            room: self.room.as_deref().map(|at| room(at, domain)).transpose()?,
            uses: self.uses,
            days: self.days,
            admin: self.admin,
            first: self.first,
        })
    }
}

impl Request {
    fn line(&self) -> String {
        match self {
            Request::Add(jid, password) => format!("add\t{jid}\t{password}\n"),
            Request::Password(jid, password) => format!("passwd\t{jid}\t{password}\n"),
            Request::List => "list\n".into(),
            Request::Remove(jid) => format!("remove\t{jid}\n"),
            Request::Admin(jid, true) => format!("admin\t{jid}\n"),
            Request::Admin(jid, false) => format!("admin-off\t{jid}\n"),
            Request::RoomList => "rooms\n".into(),
            Request::RoomOwner(room, jid) => format!("room-owner\t{room}\t{jid}\n"),
            Request::RoomRemove(room) => format!("room-remove\t{room}\n"),
            Request::NotifierAdd { to, name, from, digest } => {
                let or_none = |text: &Option<String>| text.clone().unwrap_or_default();
                let digest = URL_SAFE_NO_PAD.encode(digest);
                format!("notify-add\t{to}\t{digest}\t{}\t{}\n", or_none(from), or_none(name))
            }
            Request::NotifierList => "notify-list\n".into(),
            Request::NotifierRemove(name) => format!("notify-remove\t{name}\n"),
            Request::Invite(invite) => invite.line(),
            Request::InvitationList => "invite-list\n".into(),
            Request::InvitationRevoke(name) => format!("invite-revoke\t{name}\n"),
            Request::InvitationRenew(digest) => format!("invite-renew\t{}\n", URL_SAFE_NO_PAD.encode(digest)),
            Request::Ports => "ports\n".into(),
            Request::Slot(bytes) => format!("slot\t{bytes}\n"),
            Request::SlotEnd => "slot-end\n".into(),
            Request::Urls => "urls\n".into(),
            Request::Reload => "reload\n".into(),
            Request::Status => "status\n".into(),
            Request::Backup(true) => "backup\n".into(),
            Request::Backup(false) => "backup\twithout-files\n".into(),
        }
    }

    fn parse(line: &str) -> Option<Request> {
        let mut fields = line.splitn(3, '\t');
        let (verb, jid, password) =
            (fields.next()?, fields.next().map(str::to_owned), fields.next().map(str::to_owned));
        Some(match verb {
            "add" => Request::Add(jid?, password?),
            "passwd" => Request::Password(jid?, password?),
            "list" => Request::List,
            "remove" => Request::Remove(jid?),
            "admin" => Request::Admin(jid?, true),
            "admin-off" => Request::Admin(jid?, false),
            "rooms" => Request::RoomList,
            "room-owner" => Request::RoomOwner(jid?, password?),
            "room-remove" => Request::RoomRemove(jid?),
            "notify-add" => Request::notifier(jid?, &password?)?,
            "notify-list" => Request::NotifierList,
            "notify-remove" => Request::NotifierRemove(jid?),
            "invite" => Request::Invite(InviteRequest::parse(&jid?, &password?)?),
            "invite-list" => Request::InvitationList,
            "invite-revoke" => Request::InvitationRevoke(jid?),
            "invite-renew" => Request::InvitationRenew(URL_SAFE_NO_PAD.decode(jid?).ok()?.try_into().ok()?),
            "ports" => Request::Ports,
            "slot" => Request::Slot(jid?.parse().ok()?),
            "slot-end" => Request::SlotEnd,
            "urls" => Request::Urls,
            "reload" => Request::Reload,
            "status" => Request::Status,
            "backup" => Request::Backup(jid.as_deref() != Some("without-files")),
            _ => return None,
        })
    }

    /// What stands behind the name of whom a notifier tells.
    fn notifier(to: String, rest: &str) -> Option<Request> {
        let mut fields = rest.splitn(3, '\t');
        let digest = URL_SAFE_NO_PAD.decode(fields.next()?).ok()?.try_into().ok()?;
        let mut text = || Some(fields.next()?.to_owned()).filter(|text| !text.is_empty());
        let (from, name) = (text(), text());
        Some(Request::NotifierAdd { to, name, from, digest })
    }

    /// As the core understands it; `None` for what is not the core's. Hashes passwords: slow.
    ///
    /// # Errors
    /// When the address or the password cannot be used.
    pub fn command(&self, domain: &Jid, iterations: u32) -> std::result::Result<Option<Command>, String> {
        Ok(Some(match self {
            Request::Add(jid, password) => Command::UserAdd(address(jid, domain)?, keys(password, iterations)?),
            Request::Password(jid, password) => {
                Command::UserPassword(address(jid, domain)?, keys(password, iterations)?)
            }
            Request::List => Command::UserList,
            Request::Remove(jid) => Command::UserRemove(address(jid, domain)?),
            Request::Admin(jid, admin) => Command::UserAdmin(address(jid, domain)?, *admin),
            Request::RoomList => Command::RoomList,
            Request::RoomOwner(at, jid) => Command::RoomOwner(room(at, domain)?, address(jid, domain)?),
            Request::RoomRemove(at) => Command::RoomRemove(room(at, domain)?),
            Request::NotifierAdd { to, name, from, digest } => Command::NotifierAdd(WantedNotifier {
                name: name.as_deref().map(Box::from),
                to: notified(to, domain)?,
                from: from.as_deref().map(|from| address(from, domain)).transpose()?,
                digest: *digest,
            }),
            Request::NotifierList => Command::NotifierList,
            Request::NotifierRemove(name) => Command::NotifierRemove(name.as_str().into()),
            Request::Invite(invite) => Command::Invite(Box::new(invite.wanted(domain)?)),
            Request::InvitationList => Command::InvitationList,
            Request::InvitationRevoke(name) => Command::InvitationRevoke(name.as_str().into()),
            Request::InvitationRenew(digest) => Command::InvitationRenew(*digest),
            Request::Ports
            | Request::Slot(_)
            | Request::SlotEnd
            | Request::Urls
            | Request::Reload
            | Request::Status
            | Request::Backup(_) => return Ok(None),
        }))
    }
}

/// The keys of a password that may be chosen.
fn keys(password: &str, iterations: u32) -> std::result::Result<Credentials, String> {
    long_enough(password)?;
    driver::hash(password, iterations)
}

/// An account's address; a name alone is one of our domain.
fn address(text: &str, domain: &Jid) -> std::result::Result<Jid, String> {
    let full = if text.contains('@') { text.to_owned() } else { format!("{text}@{domain}") };
    let jid = Jid::parse(&full).map_err(|e| format!("\"{text}\" is not an address: {e}"))?;
    match (jid.is_bare(), jid.local()) {
        (false, _) => Err(format!("\"{text}\" must end behind the domain")),
        (true, Some(local)) if jid.domain() != domain.domain() => Err(format!(
            "{jid} is not an address of {domain}, the domain of this server. Is {local}@{domain} meant? If not, say where the data \
             of {} is with --data DIR",
            jid.domain()
        )),
        (true, _) => Ok(jid),
    }
}

/// A room's address; a name alone is one of our rooms.
fn room(text: &str, domain: &Jid) -> std::result::Result<Jid, String> {
    let host = format!("conference.{domain}");
    let full = if text.contains('@') { text.to_owned() } else { format!("{text}@{host}") };
    let jid = Jid::parse(&full).map_err(|e| format!("\"{text}\" is not an address: {e}"))?;
    match jid.is_bare() && jid.local().is_some() && jid.domain() == host {
        true => Ok(jid),
        false => Err(format!("\"{text}\" is not the address of a room here: that is NAME@{host}")),
    }
}

/// A room or a person that is told something, here or elsewhere; a name alone is one of our rooms.
fn notified(text: &str, domain: &Jid) -> std::result::Result<Jid, String> {
    if !text.contains('@') {
        return room(text, domain);
    }
    let jid = Jid::parse(text).map_err(|e| format!("\"{text}\" is not an address: {e}"))?;
    match jid.is_bare() && jid.local().is_some() {
        true => Ok(jid),
        false => Err(format!("\"{text}\" is not a room or a person: that is NAME@DOMAIN")),
    }
}

/// A path short enough for a socket's address, and what must live as long as it.
fn short(data: &Data) -> std::io::Result<(PathBuf, Option<File>)> {
    let path = data.control();
    if path.as_os_str().len() <= PATH_BYTES {
        return Ok((path, None));
    }
    let dir = File::open(data.dir())?;
    Ok((format!("/proc/self/fd/{}/control", dir.as_raw_fd()).into(), Some(dir)))
}

/// Opens the socket. The caller holds the folder's lock: one that is there is a leftover.
///
/// # Errors
/// When it cannot be made.
pub fn bind(data: &Data) -> Result<UnixListener> {
    let make = || {
        let _ = std::fs::remove_file(data.control());
        let (path, _dir) = short(data)?;
        let socket = net::UnixListener::bind(&path)?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(data.control(), private)?;
        Async::new(socket).map(UnixListener::from)
    };
    make().map_err(|e| Failure(format!("{} cannot be made: {e}.", data.control().display())))
}

/// Serves the owner, for ever.
pub async fn listen(listener: UnixListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                let one = answer(socket, shared.clone());
                shared.hub.spawn(async move {
                    if let Err(e) = one.await {
                        log::warn!("control: {e}");
                    }
                });
            }
            Err(e) => {
                log::warn!("control: {e}");
                Timer::after(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Whether the peer is the user we run as, or root.
fn is_owner(socket: &UnixStream) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let peer = rustix::net::sockopt::socket_peercred(socket);
        peer.is_ok_and(|peer| peer.uid == rustix::process::geteuid() || peer.uid.is_root())
    }
    // Elsewhere the permissions of the folder say it alone.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let _ = socket;
        true
    }
}

async fn late<T>() -> std::io::Result<T> {
    Timer::after(PATIENCE).await;
    Err(ErrorKind::TimedOut.into())
}

async fn answer(mut socket: UnixStream, shared: Arc<Shared>) -> std::io::Result<()> {
    if !is_owner(&socket) {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let mut line = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while !line.ends_with(b"\n") {
            match socket.read(&mut buffer).await? {
                // Somebody only looked whether we are here.
                0 if line.is_empty() => return Ok(()),
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                n if line.len() + n > REQUEST_BYTES => return Err(ErrorKind::InvalidData.into()),
                n => line.extend_from_slice(&buffer[..n]),
            }
        }
        Ok(())
    };
    smol::future::or(read, late()).await?;
    if line.is_empty() {
        return Ok(());
    }
    let request = std::str::from_utf8(&line).ok().and_then(|line| Request::parse(line.trim_end_matches('\n')));
    let answer = match request {
        Some(Request::Backup(with_uploads)) => {
            let socket = net::UnixStream::from(socket.as_fd().try_clone_to_owned()?);
            return smol::unblock(move || send(socket, &shared, with_uploads)).await;
        }
        Some(request) => carry_out(request, &shared).await,
        None => Err("this server does not know that request: is it another version?".into()),
    };
    let mut text = String::new();
    match answer {
        Ok(lines) => {
            lines.iter().for_each(|line| text.extend([" ", &line.replace('\n', " "), "\n"]));
            text.push_str("ok\n");
        }
        Err(why) => text.extend(["error ", &why.replace('\n', " "), "\n"]),
    }
    smol::future::or(socket.write_all(text.as_bytes()), late()).await
}

/// Whoever looks for what has changed, looks into the log.
fn tell(lines: &[String]) {
    lines.iter().for_each(|line| log::info!("{line}"));
}

async fn carry_out(request: Request, shared: &Arc<Shared>) -> std::result::Result<Vec<String>, String> {
    if request == Request::Reload {
        let shared = shared.clone();
        let done = smol::unblock(move || shared.reload()).await;
        return done.inspect(|lines| tell(lines)).map_err(|e| e.0);
    }
    if request == Request::Status {
        let shared = shared.clone();
        return smol::unblock(move || status::running(&shared)).await.map_err(|e| e.0);
    }
    if request == Request::Ports {
        return Ok(shared.ports().iter().map(|(name, at)| format!("{name} {at}")).collect());
    }
    if let Request::Slot(bytes) = request {
        let shared = shared.clone();
        return smol::unblock(move || shared.own_file.slot(&shared.hub, &shared.domain, bytes)).await;
    }
    if request == Request::SlotEnd {
        let shared = shared.clone();
        smol::unblock(move || shared.own_file.remove(&shared.hub, &shared.domain)).await;
        return Ok(Vec::new());
    }
    if request == Request::Urls {
        return Ok(shared.urls().into_iter().collect());
    }
    let (domain, iterations) = (shared.domain.clone(), shared.iterations());
    match smol::unblock(move || request.command(&domain, iterations)).await? {
        Some(command) => shared.hub.command(command).await,
        None => Ok(Vec::new()),
    }
}

/// Sends a backup. Blocks.
fn send(socket: net::UnixStream, shared: &Shared, with_uploads: bool) -> std::io::Result<()> {
    socket.set_nonblocking(false)?;
    // Whoever does not take it any more must not keep what it is made of.
    socket.set_write_timeout(Some(PATIENCE * 6))?;
    let mut plain = &socket;
    plain.write_all(b" data\n")?;
    let mut out = BufWriter::with_capacity(CHUNK_BYTES, Chunks(&socket));
    let done = backup::running(shared, with_uploads, &mut out);
    out.flush()?;
    plain.write_all(&0_u32.to_be_bytes())?;
    match done {
        Ok(()) => plain.write_all(b"ok\n"),
        Err(e) => plain.write_all(format!("error {}\n", e.0.replace('\n', " ")).as_bytes()),
    }
}

/// Writes each piece with its length before it.
struct Chunks<W>(W);

impl<W: Write> Write for Chunks<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = &bytes[..bytes.len().min(CHUNK_BYTES)];
        if !piece.is_empty() {
            self.0.write_all(&(piece.len() as u32).to_be_bytes())?;
            self.0.write_all(piece)?;
        }
        Ok(piece.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Whether a server runs on this folder.
pub fn runs(data: &Data) -> bool {
    short(data).is_ok_and(|(path, _dir)| net::UnixStream::connect(path).is_ok())
}

/// Asks the running server. `None`: none runs.
///
/// # Errors
/// What the server says, or that it does not answer.
pub fn ask(data: &Data, request: &Request) -> Result<Option<Vec<String>>> {
    // A password takes its time on a small board; a commit waits for its window.
    ask_within(data, request, PATIENCE * 6)
}

/// The same, of a server that may hang.
///
/// # Errors
/// What the server says, or that it does not answer in time.
pub fn ask_within(data: &Data, request: &Request, patience: Duration) -> Result<Option<Vec<String>>> {
    match call(data, request, patience)? {
        Some(mut socket) => Ok(Some(answer_of(&mut socket).map_err(|e| silent(data, &e))??)),
        None => Ok(None),
    }
}

/// Asks the running server for a backup, and writes it out. `None`: none runs.
///
/// # Errors
/// What the server says, that it does not answer, or that it cannot be written.
pub fn receive(data: &Data, request: &Request, out: &mut dyn Write) -> Result<Option<()>> {
    let Some(mut socket) = call(data, request, PATIENCE * 6)? else { return Ok(None) };
    let mut take = || {
        let mut first = String::new();
        (&mut socket).take(ANSWER_BYTES).read_line(&mut first)?;
        if first != " data\n" {
            let rest = &mut Read::chain(first.as_bytes(), &mut socket);
            return answer_of(rest).map(|answer| answer.and(Err(Failure::new("the server sends no backup"))));
        }
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let mut len = [0; 4];
            socket.read_exact(&mut len)?;
            let len = u32::from_be_bytes(len) as usize;
            let Some(piece) = chunk.get_mut(..len) else { return Err(ErrorKind::InvalidData.into()) };
            if piece.is_empty() {
                return answer_of(&mut socket).map(|answer| answer.map(drop));
            }
            socket.read_exact(piece)?;
            if let Err(e) = out.write_all(piece) {
                return Ok(Err(Failure(format!("the backup cannot be written: {e}."))));
            }
        }
    };
    take().map_err(|e| silent(data, &e))?.map(Some)
}

fn silent(data: &Data, e: &std::io::Error) -> Failure {
    Failure(format!("the server does not answer at {}: {e}.", data.control().display()))
}

/// Sends a request to the running server, if one runs.
fn call(data: &Data, request: &Request, patience: Duration) -> Result<Option<BufReader<net::UnixStream>>> {
    if !data.control().exists() {
        return Ok(None);
    }
    let (path, _dir) = short(data).map_err(|e| silent(data, &e))?;
    let socket = match net::UnixStream::connect(path) {
        Ok(socket) => socket,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(silent(data, &e)),
    };
    let asked = socket.set_read_timeout(Some(patience)).and_then(|()| (&socket).write_all(request.line().as_bytes()));
    asked.map_err(|e| silent(data, &e))?;
    Ok(Some(BufReader::new(socket)))
}

/// Reads the lines of an answer.
fn answer_of(socket: &mut dyn BufRead) -> std::io::Result<Result<Vec<String>>> {
    let mut lines = Vec::new();
    let mut socket = socket.take(ANSWER_BYTES);
    for line in (&mut socket).lines() {
        let line = line?;
        if let Some(text) = line.strip_prefix(' ') {
            lines.push(text.to_owned());
        } else if line == "ok" {
            return Ok(Ok(lines));
        } else {
            return Ok(Err(Failure(line.strip_prefix("error ").unwrap_or(&line).to_owned())));
        }
    }
    match socket.limit() {
        0 => Err(std::io::Error::new(ErrorKind::InvalidData, "its answer has no end")),
        _ => Err(ErrorKind::UnexpectedEof.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn requests_travel_as_lines() {
        for request in [
            Request::Add("juliet".into(), "a\tb c".into()),
            Request::Password("juliet@example.org".into(), "x".into()),
            Request::List,
            Request::Remove("juliet".into()),
            Request::RoomList,
            Request::Admin("juliet".into(), true),
            Request::Admin("juliet".into(), false),
            Request::RoomOwner("garden".into(), "juliet".into()),
            Request::RoomRemove("garden".into()),
            Request::NotifierAdd { to: "garden".into(), name: None, from: None, digest: [7; 32] },
            Request::NotifierAdd {
                to: "a@b".into(),
                name: Some("disk".into()),
                from: Some("juliet".into()),
                digest: [255; 32],
            },
            Request::NotifierList,
            Request::NotifierRemove("disk".into()),
            Request::Invite(InviteRequest { uses: 1, days: 7, ..InviteRequest::default() }),
            Request::Invite(InviteRequest {
                digest: [9; 32],
                reset: true,
                name: Some("juliet".into()),
                contacts: vec!["romeo".into(), "nurse@b".into()],
                room: Some("garden".into()),
                uses: 12,
                days: 1,
                admin: true,
                first: true,
            }),
            Request::InvitationList,
            Request::InvitationRevoke("abcd".into()),
            Request::InvitationRenew([7; 32]),
            Request::Urls,
            Request::Reload,
            Request::Status,
            Request::Backup(true),
            Request::Backup(false),
        ] {
            assert!(Request::parse(request.line().trim_end_matches('\n')) == Some(request));
        }
        for wrong in [
            "",
            "add",
            "add\tjuliet",
            "remove",
            "sing",
            "room-owner\tgarden",
            "room-remove",
            "notify-add\ta\tb\tc",
            "invite\ta\tb",
            "invite-renew\ta",
        ] {
            assert!(Request::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_answer_without_an_end_is_not_read_for_ever() {
        let read = |answer: &mut dyn BufRead| answer_of(answer).map_err(|e| e.kind());
        assert_eq!(read(&mut &b" one\nok\n"[..]), Ok(Ok(vec!["one".into()])));
        assert_eq!(read(&mut &b"error no\n"[..]), Ok(Err(Failure::new("no"))));
        assert_eq!(read(&mut &b" one\n"[..]), Err(ErrorKind::UnexpectedEof));
        for forever in [&b" a\n"[..], b" "] {
            let endless = forever.iter().copied().cycle().take(2 * ANSWER_BYTES as usize).collect::<Vec<u8>>();
            assert_eq!(read(&mut &endless[..]), Err(ErrorKind::InvalidData));
        }
    }

    #[test]
    fn a_name_alone_is_of_our_domain() {
        let domain = Jid::parse("example.org").unwrap();
        assert_eq!(address("Juliet", &domain).unwrap().as_str(), "juliet@example.org");
        assert_eq!(address("juliet@Example.org", &domain).unwrap().as_str(), "juliet@example.org");
        let error = address("juliet@example.net", &domain).unwrap_err();
        assert!(error.contains("not an address of example.org") && error.contains("juliet@example.org"), "{error}");
        assert!(address("juliet@example.org/balcony", &domain).is_err());
        assert!(address("@", &domain).is_err());
        assert_eq!(room("Garden", &domain).unwrap().as_str(), "garden@conference.example.org");
        for wrong in
            ["garden@example.org", "garden@conference.example.net", "garden@conference.example.org/Juliet", "@", ""]
        {
            assert!(room(wrong, &domain).is_err(), "{wrong}");
        }
    }
}
