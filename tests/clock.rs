//! A board that boots in 1970 and learns the time later: sessions go on, and every client whose own clock is right finds the
//! certificate valid, before and after.
//!
//! The real binary runs with libfaketime (Debian's package of that name), which reads the time from a file. Where it is not
//! installed, there is nothing to test; with `INGLENOOK_FAKETIME` set, to its path or to 1, that is a failure.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod common;

use async_rustls::rustls::crypto::ring::default_provider;
use async_rustls::rustls::pki_types::pem::PemObject;
use async_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use async_rustls::rustls::time_provider::TimeProvider;
use async_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use common::binary::{Dir, Server, Tls, command, connect, log_in, ok, ping, until};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: i64 = 86_400;

/// Where libfaketime is.
fn library() -> Option<PathBuf> {
    let wanted = std::env::var_os("INGLENOOK_FAKETIME").map(PathBuf::from);
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", "arm-linux-gnueabihf"];
    let known = places.map(|place| PathBuf::from(format!("/usr/lib/{place}/faketime/libfaketime.so.1")));
    let found = wanted.iter().chain(&known).find(|path| path.is_file()).cloned();
    match found {
        None if wanted.is_some() => panic!("libfaketime is not installed"),
        None => eprintln!("skipped: libfaketime is not installed"),
        Some(_) => {}
    }
    found
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64
}

/// A server whose clock is this many seconds from the true one; it can be set.
struct Clock(PathBuf);

impl Clock {
    fn set(&self, offset: i64) {
        let fresh = self.0.with_extension("new");
        std::fs::write(&fresh, format!("{offset:+}")).unwrap();
        std::fs::rename(fresh, &self.0).unwrap();
    }
}

fn start(dir: &Dir, library: &PathBuf, offset: i64) -> (Server, Clock) {
    let clock = Clock(dir.0.join("clock"));
    clock.set(offset);
    let mut command = command(dir, &["serve", "--data", dir.data().to_str().unwrap(), "--domain", "example.org"]);
    command.env("LD_PRELOAD", library).env("FAKETIME_TIMESTAMP_FILE", &clock.0);
    // What waits must wait by the clock that does not jump.
    command.envs([("FAKETIME_NO_CACHE", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")]);
    (Server::of(command), clock)
}

/// A client's clock.
#[derive(Debug)]
struct At(i64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(self.0).unwrap())))
    }
}

/// A login, by a client whose clock shows `time`; an error is what it says to the certificate.
fn login_at(server: &Server, dir: &Dir, time: i64) -> std::io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.ca()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(At(time)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "example.org".try_into().unwrap()).unwrap();
    let mut stream = StreamOwned::new(connection, connect(server, "c2s_tls"));
    stream.flush()?;
    log_in(&mut stream, "juliet", "capulet house");
    Ok(stream)
}

/// What the server takes for the time (XEP-0202).
fn asked(stream: &mut Tls) -> String {
    stream.write_all(b"<iq type='get' to='example.org' id='time'><time xmlns='urn:xmpp:time'/></iq>").unwrap();
    let answer = until(stream, "</iq>");
    let (_, utc) = answer.split_once("<utc>").unwrap_or_else(|| panic!("{answer}"));
    utc.split('<').next().unwrap().to_owned()
}

#[test]
fn a_board_without_a_clock_serves_and_gets_one() {
    let Some(library) = library() else { return };
    let dir = Dir::with("plain = true");
    let (server, clock) = start(&dir, &library, 600 - now());
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet house\n");
    // A phone, whose clock is right.
    let mut session = login_at(&server, &dir, now()).unwrap();
    assert!(asked(&mut session).starts_with("1970-01-01T00:1"));
    // The time comes. Nobody notices.
    clock.set(0);
    assert!(!asked(&mut session).starts_with("1970"));
    ping(&mut session);
    let mut other = login_at(&server, &dir, now()).unwrap();
    ping(&mut other);
    // It was older than it thought: the certificate had ended. It is renewed at once, not tomorrow.
    let later = now() + 900 * DAY;
    assert!(login_at(&server, &dir, later).is_err());
    clock.set(900 * DAY);
    server.logs("renewed the certificate");
    let mut third = login_at(&server, &dir, later).unwrap();
    for session in [&mut session, &mut other, &mut third] {
        ping(session);
    }
    assert!(server.stop().success());
}

#[test]
fn a_good_certificate_is_kept_when_the_next_boot_has_no_clock() {
    let Some(library) = library() else { return };
    let dir = Dir::with("plain = true");
    // Made when the clock was right, in a year that is still to come.
    let later = now() + 800 * DAY;
    let (server, _clock) = start(&dir, &library, 800 * DAY);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet house\n");
    login_at(&server, &dir, later).unwrap();
    assert!(server.stop().success());
    let file = dir.data().join("cert/server.crt");
    let made = std::fs::read(&file).unwrap();
    // After a power failure.
    let (server, clock) = start(&dir, &library, 600 - now());
    assert_eq!(std::fs::read(&file).unwrap(), made);
    let mut session = login_at(&server, &dir, later).unwrap();
    assert!(asked(&mut session).starts_with("1970-01-01"));
    clock.set(800 * DAY);
    ping(&mut session);
    ping(&mut login_at(&server, &dir, later).unwrap());
    assert!(server.stop().success());
    assert_eq!(std::fs::read(&file).unwrap(), made);
}

/// What the archive says: the stamps, and the bodies.
fn archive(stream: &mut Tls) -> Vec<(String, String)> {
    stream.write_all(b"<iq type='set' id='all'><query xmlns='urn:xmpp:mam:2'/></iq>").unwrap();
    let found = until(stream, "</iq>");
    let part = |text: &str, from: &str, to: char| text.split_once(from).unwrap().1.split(to).next().unwrap().to_owned();
    found.split("<result ").skip(1).map(|r| (part(r, "stamp='", '\''), part(r, "<body>", '<'))).collect()
}

fn say(stream: &mut Tls, body: &str) {
    let message = format!("<message type='chat' to='romeo@example.org'><body>{body}</body></message>");
    stream.write_all(message.as_bytes()).unwrap();
    ping(stream);
}

/// Seconds since 1970 of a stamp.
fn seconds(stamp: &str) -> i64 {
    (inglenook::wire::stamp::parse(stamp).unwrap() / 1000).cast_signed()
}

#[test]
fn a_clock_that_was_ahead_is_told_and_stamps_nothing_after_it() {
    let Some(library) = library() else { return };
    let dir = Dir::begun("domain = \"example.org\"\nplain = true");
    let (server, clock) = start(&dir, &library, 0);
    for name in ["juliet", "romeo"] {
        ok(&dir, &["user", "add", name, "--password-stdin"], "capulet house\n");
    }
    assert!(!ok(&dir, &["status"], "").contains("clock"));
    let mut juliet = login_at(&server, &dir, now()).unwrap();
    let begun = now();
    let right = |stamp: &str| (begun..=now()).contains(&seconds(stamp));
    say(&mut juliet, "before");
    clock.set(30 * 365 * DAY);
    say(&mut juliet, "ahead");
    let status = ok(&dir, &["status"], "");
    assert!(status.contains("clock        went ahead by 30 years at"), "{status}");
    // That one is for nobody else.
    server.logs("renewed the certificate");
    assert!(login_at(&server, &dir, now()).is_err());
    clock.set(0);
    say(&mut juliet, "after");
    let told = "was ahead by 30 years, from ";
    for (words, before) in [("status", "clock        "), ("check", "clock: it ")] {
        let said = common::binary::run(&dir, &[words, "--data", dir.data().to_str().unwrap()], "");
        assert!(said.out.contains(&format!("{before}{told}")), "{}", said.out);
    }
    // The certificate is one for now again.
    server.logs("renewed the certificate");
    login_at(&server, &dir, now()).unwrap();
    assert!(server.stop().success());
    for (words, before) in [("status", "clock        "), ("check", "clock: it ")] {
        let said = common::binary::run(&dir, &[words, "--data", dir.data().to_str().unwrap()], "");
        assert!(said.out.contains(&format!("{before}{told}")), "{}", said.out);
    }
    let (server, _clock) = start(&dir, &library, 0);
    let mut juliet = login_at(&server, &dir, now()).unwrap();
    say(&mut juliet, "restarted");
    let found = archive(&mut juliet);
    let bodies: Vec<&str> = found.iter().map(|(_, body)| &**body).collect();
    assert_eq!(bodies, ["before", "ahead", "after", "restarted"]);
    let rights: Vec<bool> = found.iter().map(|(stamp, _)| right(stamp)).collect();
    assert_eq!(rights, [true, false, true, true], "{found:?}");
    assert!(server.stop().success());
}
