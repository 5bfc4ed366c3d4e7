//! The owner's way into the running server: a socket in the data folder, for the same user alone.
//!
//! A request is one line, its fields apart by tabs. The answer is lines that begin with a space, then `ok`, or `error` and why.

use super::data::Data;
use super::serve::Shared;
use super::{Failure, Result, driver};
use crate::core::Command;
use crate::wire::Jid;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::unix::{UnixListener, UnixStream};
use smol::{Async, Timer};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The longest request, in bytes.
const REQUEST_BYTES: usize = 16 * 1024;
/// How long a request may take to come, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(10);
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
    /// Reads settings and certificates again.
    Reload,
}

impl Request {
    fn line(&self) -> String {
        match self {
            Request::Add(jid, password) => format!("add\t{jid}\t{password}\n"),
            Request::Password(jid, password) => format!("passwd\t{jid}\t{password}\n"),
            Request::List => "list\n".into(),
            Request::Remove(jid) => format!("remove\t{jid}\n"),
            Request::Reload => "reload\n".into(),
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
            "reload" => Request::Reload,
            _ => return None,
        })
    }

    /// As the core understands it; `None` for what is not the core's. Hashes passwords: slow.
    ///
    /// # Errors
    /// When the address or the password cannot be used.
    pub fn command(&self, domain: &Jid, iterations: u32) -> std::result::Result<Option<Command>, String> {
        Ok(Some(match self {
            Request::Add(jid, password) => Command::UserAdd(address(jid, domain)?, driver::hash(password, iterations)?),
            Request::Password(jid, password) => {
                Command::UserPassword(address(jid, domain)?, driver::hash(password, iterations)?)
            }
            Request::List => Command::UserList,
            Request::Remove(jid) => Command::UserRemove(address(jid, domain)?),
            Request::Reload => return Ok(None),
        }))
    }
}

/// An account's address; a name alone is one of our domain.
fn address(text: &str, domain: &Jid) -> std::result::Result<Jid, String> {
    let full = if text.contains('@') { text.to_owned() } else { format!("{text}@{domain}") };
    let jid = Jid::parse(&full).map_err(|e| format!("\"{text}\" is not an address: {e}"))?;
    match jid.is_bare() {
        true => Ok(jid),
        false => Err(format!("\"{text}\" must end behind the domain")),
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

async fn carry_out(request: Request, shared: &Arc<Shared>) -> std::result::Result<Vec<String>, String> {
    if request == Request::Reload {
        let shared = shared.clone();
        return smol::unblock(move || shared.reload()).await.map_err(|e| e.0);
    }
    let (domain, iterations) = (shared.domain.clone(), shared.iterations());
    match smol::unblock(move || request.command(&domain, iterations)).await? {
        Some(command) => shared.hub.command(command).await,
        None => Ok(Vec::new()),
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
    let failed =
        |e: std::io::Error| Failure(format!("the server does not answer at {}: {e}.", data.control().display()));
    if !data.control().exists() {
        return Ok(None);
    }
    let (path, _dir) = short(data).map_err(failed)?;
    let mut socket = match net::UnixStream::connect(path) {
        Ok(socket) => socket,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => return Ok(None),
        Err(e) => return Err(failed(e)),
    };
    // A password takes its time on a small board; a commit waits for its window.
    socket.set_read_timeout(Some(PATIENCE * 6)).map_err(failed)?;
    socket.write_all(request.line().as_bytes()).map_err(failed)?;
    let mut lines = Vec::new();
    for line in BufReader::new(socket).lines() {
        let line = line.map_err(failed)?;
        if let Some(text) = line.strip_prefix(' ') {
            lines.push(text.to_owned());
        } else if line == "ok" {
            return Ok(Some(lines));
        } else {
            return Err(Failure(line.strip_prefix("error ").unwrap_or(&line).to_owned()));
        }
    }
    Err(failed(ErrorKind::UnexpectedEof.into()))
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
            Request::Reload,
        ] {
            assert!(Request::parse(request.line().trim_end_matches('\n')) == Some(request));
        }
        for wrong in ["", "add", "add\tjuliet", "remove", "sing"] {
            assert!(Request::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_name_alone_is_of_our_domain() {
        let domain = Jid::parse("example.org").unwrap();
        assert_eq!(address("Juliet", &domain).unwrap().as_str(), "juliet@example.org");
        assert_eq!(address("juliet@example.net", &domain).unwrap().as_str(), "juliet@example.net");
        assert!(address("juliet@example.org/balcony", &domain).is_err());
        assert!(address("@", &domain).is_err());
    }
}
