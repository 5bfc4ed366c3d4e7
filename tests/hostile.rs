//! Bad input against the real binary: everybody who means harm, or is broken, loses what is theirs alone. The table of all
//! that no XML may hold is in `tests/stream.rs`, what damage to its files does to the database in `tests/storage`.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use async_rustls::rustls::version::{TLS12, TLS13};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::binary::*;
use common::disk::Disk;
use common::files::files;
use common::scram::{SASL, Scram, data};
use inglenook::service::share::UNWRITTEN_BYTES;
use ring::digest::{SHA256, digest};
use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use std::process::Command;
use std::time::{Duration, Instant};

const MIB: usize = 1024 * 1024;
const PASSWORD: &str = "a rose by any other name";

/// A running server that takes PLAIN, with these accounts.
fn house(settings: &str, names: &[&str]) -> (Dir, Server) {
    let dir = Dir::with(&format!("plain = true\n{settings}"));
    let server = Server::start(&dir, &["--domain", "example.org"]);
    add(&dir, names);
    (dir, server)
}

fn add(dir: &Dir, names: &[&str]) {
    for name in names {
        ok(dir, &["user", "add", name, "--password-stdin"], &format!("{PASSWORD}\n"));
    }
}

/// All that comes until the peer hangs up.
fn rest(stream: &mut impl Read) -> String {
    let mut text = Vec::new();
    if let Err(e) = stream.read_to_end(&mut text) {
        assert!(matches!(e.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{e}");
    }
    String::from_utf8(text).unwrap()
}

fn message(to: &str, body: &str) -> String {
    format!("<message type='chat' to='{to}@example.org'><body>{body}</body></message>")
}

/// Sends a request, and reads until its answer is there: all that came.
fn ask(stream: &mut Tls, id: &str, request: &str) -> String {
    say(stream, request);
    let mut got = until(stream, &format!("id='{id}'"));
    let whole = |got: &str| {
        let rest = got.split_once(&format!("id='{id}'")).unwrap().1;
        rest.starts_with("/>") || rest.contains("</iq>")
    };
    while !whole(&got) {
        got += &until(stream, ">");
    }
    got
}

fn roster(stream: &mut Tls) -> String {
    ask(stream, "read", "<iq type='get' id='read'><query xmlns='jabber:iq:roster'/></iq>")
}

fn say(stream: &mut impl Write, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
}

// ---- bytes ----

/// To close a connection with something in it that was not read makes the system reset it, and what was said last may be lost on the
/// way. Whoever is told why the stream ends is listened to until they have heard it.
#[test]
fn who_says_much_behind_a_fault_hears_of_it_and_a_clean_end() {
    let (dir, server) = house("", &[]);
    let behind = |bytes: usize| format!("<stream:stream to='nowhere.example' version='1.0'></a>{}", " ".repeat(bytes));
    let mut plain = connect(&server, "c2s");
    say(&mut plain, &behind(16 * 1024));
    let mut inside = tls(connect(&server, "c2s_tls"), &dir.ca());
    say(&mut inside, &behind(48 * 1024));
    let mut said = [Vec::new(), Vec::new()];
    plain.read_to_end(&mut said[0]).expect("the connection was reset");
    inside.read_to_end(&mut said[1]).expect("the connection was reset");
    for said in said {
        assert!(said.ends_with(b"</stream:error></stream:stream>"), "{}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn bad_bytes_end_their_stream_alone() {
    let (dir, server) = house("", &["romeo", "juliet"]);
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    let before = server.memory().0;
    let attributes = |n: usize| (0..n).map(|n| format!(" a{n}=''")).collect::<String>();
    let forms: Vec<(Vec<u8>, &str)> = [
        ("<message><!-- --></message>", "restricted-xml"),
        ("<?php ?>", "restricted-xml"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]>", "restricted-xml"),
        ("<message>&nbsp;</message>", "restricted-xml"),
        ("<message>&#0;</message>", "not-well-formed"),
        ("<message a='1' a='2'/>", "not-well-formed"),
        ("<message><x:a/></message>", "not-well-formed"),
        ("<message><a></b></message>", "not-well-formed"),
        ("\u{0}", "not-well-formed"),
        ("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", "not-well-formed"),
    ]
    .into_iter()
    .map(|(text, condition)| (text.into(), condition))
    .chain([(b"<message>\xff</message>".to_vec(), "unsupported-encoding")])
    .collect();
    let bombs = |bytes: usize, depth: usize, elements: usize, wide: usize| {
        [
            format!("<message><body>{}</body></message>", "x".repeat(bytes)),
            "<a>".repeat(depth + 1),
            format!("<message>{}</message>", "<a/>".repeat(elements)),
            format!("<message><a{}/></message>", attributes(wide + 1)),
            format!("<message a='{}", "x".repeat(bytes)),
            format!("<message{}", " ".repeat(bytes)),
        ]
        .map(|bomb| (bomb.into_bytes(), "policy-violation"))
    };
    let (small, large) = (bombs(16 * 1024, 8, 64, 32), bombs(256 * 1024, 64, 8192, 64));
    let cases: [(&str, &[_]); 3] =
        [("before TLS", &small), ("before authentication", &small), ("in a session", &large)];
    let mut count = 0;
    for (when, bombs) in cases {
        for (n, (bad, condition)) in forms.iter().chain(bombs).enumerate() {
            let mut stream: Box<dyn ReadWrite> = match when {
                "before TLS" => Box::new(connect(&server, "c2s")),
                "before authentication" => Box::new(tls(connect(&server, "c2s_tls"), &dir.ca())),
                _ => Box::new(login(&server, &dir, "romeo", PASSWORD)),
            };
            if when != "in a session" {
                greet(&mut stream);
            }
            let (head, tail) = bad.split_at(n * 7 % bad.len());
            for part in [head, tail, message("juliet", "behind").as_bytes()] {
                // It may have hung up in the middle, and that is fine.
                let _ = stream.write_all(part).and_then(|()| stream.flush());
            }
            let got = rest(&mut stream);
            let shown = String::from_utf8_lossy(&bad[..bad.len().min(40)]).into_owned();
            assert!(got.contains(&format!("<stream:error><{condition} ")), "{when}: {shown}: {got}");
            assert!(got.ends_with("</stream:stream>"), "{when}: {shown}: {got}");
            count += 1;
        }
    }
    let heard = ping(&mut juliet);
    assert!(!heard.contains("behind") && !heard.contains("<message"), "{heard}");
    let (after, most) = server.memory();
    eprintln!(
        "{count} bad streams: {} KiB, at most {} KiB more",
        after.saturating_sub(before) / 1024,
        (most - before) / 1024
    );
    assert!(most < before + 16 * MIB);
    assert!(server.stop().success());
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn who_forges_from_is_closed_and_a_bad_address_is_answered() {
    let (dir, server) = house("", &["romeo", "juliet"]);
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    ping(&mut juliet);
    for from in [
        "'juliet@example.org'",
        "'example.org'",
        "'romeo@example.org/another'",
        "'romeo@example.net'",
        "''",
        "'@'",
        // Written between other quotes this would be two attributes.
        "\"romeo@example.org' type='error\"",
        "'romeo@example.org&#39; type=&#39;error'",
    ] {
        for kind in ["message", "presence", "iq type='get' id='1'"] {
            let mut romeo = login(&server, &dir, "romeo", PASSWORD);
            let name = kind.split(' ').next().unwrap();
            say(&mut romeo, &format!("<{kind} to='juliet@example.org' from={from}><x xmlns='forged'/></{name}>"));
            let got = rest(&mut romeo);
            assert!(got.contains("<stream:error><invalid-from ") && got.ends_with("</stream:stream>"), "{from}: {got}");
        }
    }
    let heard = ping(&mut juliet);
    assert!(!heard.contains("forged"), "{heard}");

    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    let long = format!("{}@example.org", "x".repeat(1024));
    let bad = [
        "",
        "@",
        "@example.org",
        "juliet@",
        "/x",
        "juliet@example.org/",
        "a@b@c",
        "a b@example.org",
        "&#32;@example.org",
        "a&amp;b@example.org",
        "a@exa mple",
        "a@example..org",
        "a@[::1",
        "juliet@example.org/\u{7f}",
        "a@-\u{fffd}",
        &long,
    ];
    for to in bad {
        say(&mut romeo, &format!("<message to='{to}' id='1'><body>?</body></message>"));
        let got = until(&mut romeo, "</message>");
        assert!(got.contains("type='error'") && got.contains("<jid-malformed "), "{to:?}: {got}");
    }
    ping(&mut romeo);
    assert!(server.stop().success());
}

// ---- logging in ----

/// A step of SASL: the answer.
fn step(stream: &mut Tls, text: &str) -> String {
    say(stream, text);
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while !["</challenge>", "</success>", "</failure>"].iter().any(|end| got.contains(end)) {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "{got}");
        got.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    got
}

/// One attempt: what was said, and how it was answered.
fn attempt(stream: &mut Tls, scram: &Scram) -> ([String; 2], String) {
    let first = scram.first();
    let challenge = step(stream, &first);
    if challenge.contains("<failure") {
        return ([first, String::new()], challenge);
    }
    let (unproven, proof, expected) = scram.last(&challenge);
    let last = Scram::response(&unproven, &proof);
    let answer = step(stream, &last);
    if answer.contains("<success") {
        assert_eq!(data(&answer, "success"), expected, "the server proves that it knows the keys");
    }
    ([first, last], answer)
}

const WRONG: &str = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/>";

fn exporter(stream: &Tls) -> Vec<u8> {
    stream.conn.export_keying_material(vec![0; 32], b"EXPORTER-Channel-Binding", Some(b"")).unwrap()
}

fn end_point(stream: &Tls) -> Vec<u8> {
    digest(&SHA256, &stream.conn.peer_certificates().unwrap()[0]).as_ref().to_vec()
}

#[test]
fn a_login_is_bound_to_its_channel() {
    // An account and an address for each, so that no attempt waits for another's failures.
    let (dir, server) = house("", &["a0", "a1", "a2", "a3"]);
    let mut n = 0;
    for version in [&TLS13, &TLS12] {
        for (kind, data_of) in [("tls-exporter", exporter as fn(&Tls) -> Vec<u8>), ("tls-server-end-point", end_point)]
        {
            let (name, from) = (format!("a{n}"), format!("127.0.1.{}", n + 1));
            n += 1;
            let open = || {
                let mut stream = tls_of(connect_from(&server, "c2s_tls", &from), &dir.ca(), &[version]);
                let features = greet(&mut stream);
                assert!(features.contains(&format!("<channel-binding type='{kind}'/>")), "{features}");
                stream
            };
            let gs2 = format!("p={kind},,");
            let scram = |binding| Scram::new("SCRAM-SHA-256-PLUS", &gs2, binding, &name, PASSWORD);
            let mut stream = open();
            let right = scram(data_of(&stream));
            assert!(attempt(&mut stream, &right).1.contains("<success"), "{kind}");
            let flipped = right.binding.iter().map(|b| b ^ 1).collect();
            for wrong in [vec![], flipped] {
                assert!(attempt(&mut open(), &scram(wrong)).1.starts_with(WRONG), "{kind}");
            }
            // What another connection would be bound to: somebody stands in the middle.
            let mut other = open();
            let foreign = if kind == "tls-exporter" { right.binding } else { exporter(&other) };
            assert!(attempt(&mut other, &scram(foreign)).1.starts_with(WRONG), "{kind}");
        }
    }
    assert!(server.stop().success());
}

#[test]
fn logins_cannot_be_replayed_downgraded_or_told_apart() {
    let (dir, server) = house("", &["romeo"]);
    let open = |from| {
        let mut stream = tls(connect_from(&server, "c2s_tls", from), &dir.ca());
        let features = greet(&mut stream);
        (stream, features)
    };
    let (mut stream, features) = open("127.0.0.1");
    let (said, answer) = attempt(&mut stream, &Scram::new("SCRAM-SHA-256", "n,,", vec![], "romeo", PASSWORD));
    assert!(answer.contains("<success"));
    // The same words once more.
    let (mut stream, _) = open("127.0.0.1");
    assert!(step(&mut stream, &said[0]).contains("<challenge"));
    assert!(step(&mut stream, &said[1]).starts_with(WRONG));
    // A client that could bind the channel, and believes that we cannot: somebody took the offer away (RFC 5802 §6).
    let (mut stream, _) = open("127.0.0.1");
    let deceived = Scram::new("SCRAM-SHA-256", "y,,", vec![], "romeo", PASSWORD);
    assert!(attempt(&mut stream, &deceived).1.starts_with(WRONG));
    // The hash of the offer is in the challenge, and a client sees when that differs from what it saw (XEP-0474).
    let (classic, behind) = features.split_once("</mechanisms>").unwrap();
    fn list<'a>(features: &'a str, open: &str, close: &str) -> Vec<&'a str> {
        let mut names: Vec<&str> = features.split(open).skip(1).map(|rest| rest.split(close).next().unwrap()).collect();
        names.sort_unstable();
        names
    }
    let mechanisms = list(classic, "<mechanism>", "<");
    let bindings = list(behind, "<channel-binding type='", "'");
    let hash = |mechanisms: &[&str]| {
        let text = format!("{}\x1f{}", mechanisms.join("\x1e"), bindings.join("\x1e"));
        STANDARD.encode(digest(&SHA256, text.as_bytes()))
    };
    let challenge = data(&step(&mut stream, &said[0]), "challenge");
    assert!(challenge.ends_with(&format!(",h={}", hash(&mechanisms))), "{challenge}");
    assert!(mechanisms.len() == 5 && !challenge.ends_with(&hash(&mechanisms[1..])));
    // A name that there is not looks like one that there is: the salt stays the same.
    let salt = || {
        let nobody = Scram::new("SCRAM-SHA-256", "n,,", vec![], "nobody", PASSWORD);
        let (mut stream, _) = open("127.0.0.3");
        let challenge = data(&step(&mut stream, &nobody.first()), "challenge");
        let (unproven, proof, _) =
            nobody.last(&format!("<challenge {SASL}>{}</challenge>", STANDARD.encode(&challenge)));
        assert!(step(&mut stream, &Scram::response(&unproven, &proof)).starts_with(WRONG));
        challenge.split(',').find(|part| part.starts_with("s=")).unwrap().to_owned()
    };
    assert_eq!(salt(), salt());
    // Four failures are enough for one stream.
    let (mut stream, _) = open("127.0.0.4");
    say(&mut stream, &format!("<auth {SASL} mechanism='SCRAM-SHA-256'>*</auth>").repeat(9));
    let got = rest(&mut stream);
    assert!(got.matches("<failure ").count() == 4 && got.contains("<policy-violation "), "{got}");
    assert!(server.stop().success());
}

#[test]
fn guessing_slows_down_the_guesser_alone() {
    let (dir, server) = house("", &["romeo", "juliet", "nurse"]);
    let log_in_from = |name, from| {
        let begun = Instant::now();
        log_in(&mut tls(connect_from(&server, "c2s_tls", from), &dir.ca()), name, PASSWORD);
        begun.elapsed()
    };
    log_in_from("juliet", "127.0.0.1");
    let mut owner = Duration::ZERO;
    let waits = std::thread::scope(|scope| {
        let guesser = scope.spawn(|| {
            let mut waits = Vec::new();
            for _ in 0..2 {
                let mut stream = tls(connect_from(&server, "c2s_tls", "127.0.0.2"), &dir.ca());
                greet(&mut stream);
                for _ in 0..4 {
                    let begun = Instant::now();
                    say(&mut stream, &plain("juliet", "wrong"));
                    until(&mut stream, "</failure>");
                    waits.push(begun.elapsed().as_millis());
                }
            }
            waits
        });
        while !guesser.is_finished() {
            owner = owner.max(log_in_from("juliet", "127.0.0.1"));
            std::thread::sleep(Duration::from_millis(200));
        }
        guesser.join().unwrap()
    });
    let elsewhere = log_in_from("juliet", "127.0.0.3");
    let other = log_in_from("romeo", "127.0.0.3");
    eprintln!(
        "guesses took {waits:?} ms; her logins {owner:?} at most, from elsewhere {elsewhere:?}, another's {other:?}"
    );
    assert!(waits[3] >= 250 && waits.windows(2).skip(3).all(|w| w[1] >= w[0] * 3 / 2), "{waits:?}");
    let long = Duration::from_millis(waits[7] as u64);
    assert!(owner < long / 4, "she is not slowed down where she has been before");
    assert!(elsewhere < Duration::from_secs(6), "and not locked out elsewhere");
    assert!(other < long / 4);

    // Who gives up has guessed nothing.
    for _ in 0..3 {
        let mut stream = tls(connect_from(&server, "c2s_tls", "127.0.0.4"), &dir.ca());
        greet(&mut stream);
        for _ in 0..3 {
            step(&mut stream, &Scram::new("SCRAM-SHA-256", "n,,", vec![], "nurse", PASSWORD).first());
            assert!(step(&mut stream, &format!("<abort {SASL}/>")).contains("<aborted/>"));
        }
    }
    assert!(log_in_from("nurse", "127.0.0.4") < long / 4);
    assert!(server.stop().success());
}

// ---- patience ----

#[test]
fn who_never_reads_is_closed_and_nobody_else_waits() {
    const DEAF: [&str; 4] = ["tybalt", "paris", "sampson", "gregory"];
    let (dir, server) = house("", &["romeo", "juliet", "nurse"]);
    add(&dir, &DEAF);
    let deaf: Vec<Tls> = DEAF.iter().map(|name| login(&server, &dir, name, PASSWORD)).collect();
    for stream in &deaf {
        // So that the system takes little in its place, and no more later.
        rustix::net::sockopt::set_socket_recv_buffer_size(&stream.sock, 64 * 1024).unwrap();
    }
    let mut nurse = login(&server, &dir, "nurse", PASSWORD);
    ping(&mut nurse);
    let before = server.memory().0;
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::SeqCst);
    let begun = Instant::now();
    let (sent, slowest, waited) = std::thread::scope(|scope| {
        let senders: Vec<_> = ["romeo", "juliet"]
            .map(|name| {
                let mut sender = login(&server, &dir, name, PASSWORD);
                scope.spawn(move || {
                    let (mut sent, mut slowest) = (0, Duration::ZERO);
                    // In the first second nobody is deaf yet: then the sender is read from at 64 KiB/s, and a ping waits behind what is before it.
                    let body = "x".repeat(10_000);
                    while !is_done() {
                        for name in DEAF {
                            say(&mut sender, &message(name, &body));
                        }
                        sent += DEAF.len() * body.len();
                        let begun = Instant::now();
                        // Also the errors, once they are gone: it keeps reading.
                        ping(&mut sender);
                        slowest = slowest.max(begun.elapsed());
                        assert!(sent < 400 * MIB, "nobody is closed");
                    }
                    (sent, slowest)
                })
            })
            .into();
        let bystander = scope.spawn(|| {
            let mut waited = Duration::ZERO;
            while !is_done() {
                let begun = Instant::now();
                ping(&mut nurse);
                waited = waited.max(begun.elapsed());
                std::thread::sleep(Duration::from_millis(10));
            }
            waited
        });
        for _ in DEAF {
            server.logs("does not read what waits for it");
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        let sent: Vec<(usize, Duration)> = senders.into_iter().map(|s| s.join().unwrap()).collect();
        let slowest = sent.iter().map(|s| s.1).max().unwrap();
        (sent.iter().map(|s| s.0).sum::<usize>(), slowest, bystander.join().unwrap())
    });
    let more = server.memory().1 - before;
    eprintln!(
        "{} deaf, {} MiB sent in {:?}: closed at {} KiB each at most; slowest answer {slowest:?} to a sender, {waited:?} beside",
        DEAF.len(),
        sent / MIB,
        begun.elapsed(),
        more / DEAF.len() / 1024
    );
    // An outbox holds 2 MiB, and what is in writing comes on top. The messages are archived: what waits for the disk is there twice
    // while it is written.
    assert!(more < DEAF.len() * 2 * MIB + 2 * UNWRITTEN_BYTES + 8 * MIB, "{more}");
    assert!(slowest < Duration::from_secs(2) && waited < Duration::from_secs(2), "{slowest:?} {waited:?}");
    drop(deaf);
    assert!(server.stop().success());
}

#[test]
fn a_byte_a_second_ends_after_half_a_minute() {
    let (dir, server) = house("", &["juliet"]);
    let ca = dir.ca();
    let begun = Instant::now();
    let mut greeted = tls(connect(&server, "c2s_tls"), &ca);
    greet(&mut greeted);
    let mut blank = tls(connect(&server, "c2s_tls"), &ca);
    greet(&mut blank);
    let mut agreed = connect(&server, "c2s");
    greet(&mut agreed);
    say(&mut agreed, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    until(&mut agreed, "<proceed");
    let hello = {
        let mut hello = Vec::new();
        let mut client = tls(connect(&server, "c2s_tls"), &ca);
        client.conn.write_tls(&mut hello).unwrap();
        hello
    };
    let auth = format!("<auth {SASL} mechanism='PLAIN'>").into_bytes();
    type Dribble<'a> = (&'a str, Box<dyn Dribbling>, Vec<u8>, bool);
    let all: [Dribble; 6] = [
        ("a header in the open", Box::new(connect(&server, "c2s")), HEADER.into(), true),
        ("a handshake", Box::new(connect(&server, "c2s_tls")), hello.clone(), false),
        ("a handshake behind STARTTLS", Box::new(agreed), hello, false),
        ("a header in TLS", Box::new(tls(connect(&server, "c2s_tls"), &ca)), HEADER.into(), true),
        ("a login", Box::new(greeted), auth, true),
        ("white space", Box::new(blank), vec![b' '; 60], true),
    ];
    let ended: Vec<f32> = std::thread::scope(|scope| {
        let threads: Vec<_> = all
            .into_iter()
            .map(|(what, mut stream, bytes, told)| {
                scope.spawn(move || {
                    stream.wait(Duration::from_secs(1));
                    let (mut got, mut buffer) = (Vec::new(), [0; 1024]);
                    for byte in bytes {
                        if stream.write_all(&[byte]).and_then(|()| stream.flush()).is_err() {
                            break;
                        }
                        match stream.read(&mut buffer) {
                            Ok(0) => break,
                            Ok(n) => got.extend_from_slice(&buffer[..n]),
                            Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                            Err(_) => break,
                        }
                    }
                    let got = String::from_utf8_lossy(&got);
                    assert_eq!(got.contains("<connection-timeout "), told, "{what}: {got}");
                    let ended = begun.elapsed();
                    assert!((29..=36).contains(&ended.as_secs()), "{what}: {ended:?}");
                    ended.as_secs_f32()
                })
            })
            .collect();
        // Nobody waits for them.
        let others = Instant::now();
        login(&server, &dir, "juliet", PASSWORD);
        assert!(others.elapsed() < Duration::from_secs(5));
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    eprintln!("a byte a second ends after {ended:.1?} s");
    assert!(server.stop().success());
}

trait Dribbling: ReadWrite + Send {
    /// How long to wait for something to read.
    fn wait(&self, time: Duration);
}

impl Dribbling for TcpStream {
    fn wait(&self, time: Duration) {
        self.set_read_timeout(Some(time)).unwrap();
    }
}

impl Dribbling for Tls {
    fn wait(&self, time: Duration) {
        self.sock.wait(time);
    }
}

#[test]
fn thousands_of_half_open_connections_keep_nobody_out() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let most = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |n| n as usize).saturating_sub(200);
    let (dir, server) = house("", &["juliet"]);
    let files = || std::fs::read_dir(format!("/proc/{}/fd", server.child.id())).unwrap().count();
    let (idle_files, idle_memory) = (files(), server.memory().0);
    let enters = |from: &str| {
        let begun = Instant::now();
        log_in(&mut tls(connect_from(&server, "c2s_tls", from), &dir.ca()), "juliet", PASSWORD);
        begun.elapsed()
    };
    // One address: a hundred are held, the others hung up on.
    let begun = Instant::now();
    let half_open = |from: &str, n: usize| {
        let mut socket = connect_from(&server, ["c2s", "c2s_tls"][n % 2], from);
        let _ = socket.write_all([&b"<stream:stream to='exam"[..], b"\x16\x03\x01\x02"][n % 2]);
        socket
    };
    let sockets: Vec<TcpStream> = (0..most.min(3000)).map(|n| half_open("127.0.0.1", n)).collect();
    let took = begun.elapsed();
    let login = enters("127.0.0.2");
    let held = files() - idle_files;
    eprintln!("{} from one address in {took:?}: {held} are held; another enters in {login:?}", sockets.len());
    assert!(held <= 102, "{held}");
    drop(sockets);
    // Thirty addresses: all are held, within the limit for all, and each costs little.
    let begun = Instant::now();
    let sockets: Vec<TcpStream> =
        (0..most.min(3000)).map(|n| half_open(&format!("127.0.2.{}", n / 100 + 1), n)).collect();
    let took = begun.elapsed();
    let login = login.max(enters("127.0.0.2"));
    let (held, memory) = (files() - idle_files, server.memory().0.saturating_sub(idle_memory));
    let each = memory / held;
    eprintln!(
        "{} from thirty in {took:?}: {held} are held, {each} bytes each; another enters in {login:?}",
        sockets.len()
    );
    // A handshake that has begun is most of it.
    assert!(each < 16 * 1024, "{each}");
    assert!(login < Duration::from_secs(5), "{login:?}");
    drop(sockets);
    assert!(server.stop().success());
}

// ---- the disk ----

fn roster_set(id: &str) -> String {
    format!("<iq type='set' id='{id}'><query xmlns='jabber:iq:roster'><item jid='{id}@example.org'/></query></iq>")
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let Some(disk) = Disk::new("24m") else {
        return eprintln!("left out: this user cannot have a file system of its own here");
    };
    let dir = &disk.dir;
    let server = Server::start(dir, &["--domain", "example.org"]);
    add(dir, &["romeo", "juliet", "nurse"]);
    let mut romeo = login(&server, dir, "romeo", PASSWORD);
    say(&mut romeo, &message("juliet", "first"));
    ask(&mut romeo, "before", &roster_set("before"));

    disk.fill();
    // The first change finds out: it is told that it is not stored yet, soon, and it is not told that it failed.
    let begun = Instant::now();
    say(&mut romeo, &roster_set("withheld"));
    let got = until(&mut romeo, "</error></iq>");
    assert!(got.contains("id='withheld'") && got.contains("<resource-constraint "), "{got}");
    assert!(got.contains("not stored yet") && begun.elapsed() < Duration::from_secs(2), "{:?}: {got}", begun.elapsed());
    let told = server.logs("nothing can be stored");
    eprintln!("{told}");
    assert!(told.contains("KiB are free on the disk of") && told.contains("make room on that disk"), "{told}");
    assert!(told.contains("messages to people who are offline are refused"), "{told}");
    let got = ask(&mut romeo, "refused", &roster_set("refused"));
    assert!(got.contains("<resource-constraint "), "{got}");
    say(&mut romeo, &message("juliet", "refused"));
    let got = until(&mut romeo, "</message>");
    assert!(got.contains("type='error'") && got.contains("<resource-constraint "), "{got}");
    // All that needs no disk goes on: logging in, reading what is stored, people who are online.
    let mut nurse = login(&server, dir, "nurse", PASSWORD);
    ping(&mut nurse);
    say(&mut romeo, &message("nurse", "here"));
    until(&mut nurse, "<body>here</body>");
    let got = roster(&mut romeo);
    assert!(got.contains("before@example.org") && !got.contains("refused@example.org"), "{got}");
    assert!(!ping(&mut romeo).contains("id='withheld'/>"), "no false promise");
    let error = fails(dir, &["user", "add", "tybalt", "--password-stdin"], "wherefore\n");
    assert!(error.contains("full or failing"), "{error}");
    assert!(ok(dir, &["user", "list"], "").contains("nurse@example.org"));

    disk.make_room();
    let begun = Instant::now();
    server.logs("the database can be written again");
    eprintln!("stored again {:?} after there was room", begun.elapsed());
    say(&mut romeo, &message("juliet", "second"));
    ask(&mut romeo, "after", &roster_set("after"));
    ping(&mut romeo);
    // Full once more, and killed: a start says so, changes nothing, and works when there is room.
    disk.fill();
    say(&mut romeo, &roster_set("lost"));
    server.logs("nothing can be stored");
    server.kill();
    let before = files(&dir.data().join("db"));
    let error = fails(dir, &["serve"], "");
    eprintln!("{}", error.trim());
    assert!(error.contains("that disk"), "{error}");
    assert!(files(&dir.data().join("db")) == before, "the files are touched");
    disk.make_room();
    let server = Server::start(dir, &[]);
    let mut juliet = login(&server, dir, "juliet", PASSWORD);
    let got = until(&mut juliet, "<body>second</body>");
    assert!(got.contains("<body>first</body>") && !got.contains("<body>refused</body>"), "{got}");
    let mut romeo = login(&server, dir, "romeo", PASSWORD);
    let got = roster(&mut romeo);
    for kept in ["before", "withheld", "after"] {
        assert!(got.contains(&format!("'{kept}@example.org'")), "{kept}: {got}");
    }
    assert!(!got.contains("'refused@"), "{got}");
    assert!(server.stop().success());
}

/// What the server lets itself write leaves the room that its next start needs; what it accepted is stored, what it refuses is told.
#[test]
fn what_is_written_leaves_room_for_the_next_start() {
    let Some(disk) = Disk::new("24m") else {
        return eprintln!("left out: this user cannot have a file system of its own here");
    };
    let dir = &disk.dir;
    let server = Server::start(dir, &["--domain", "example.org"]);
    let people = ["romeo", "juliet", "nurse", "tybalt", "paris", "benvolio"];
    add(dir, &people);
    let free = || {
        let stat = rustix::fs::statvfs(dir.data()).unwrap();
        (stat.f_bavail * stat.f_frsize) as usize
    };
    std::fs::write(dir.data().join("others"), vec![7; free() - 7 * MIB]).unwrap();
    let mut kept = Vec::new();
    let mut refused = 0;
    for name in people {
        let mut stream = login(&server, dir, name, PASSWORD);
        for n in 0..40 {
            let begun = Instant::now();
            let notes = "note ".repeat(10_000);
            let set = format!(
                "<iq type='set' id='{name}{n}'><query xmlns='jabber:iq:private'><x xmlns='urn:example:{n}'>{notes}</x></query></iq>"
            );
            let got = ask(&mut stream, &format!("{name}{n}"), &set);
            assert!(begun.elapsed() < Duration::from_secs(2), "{name} {n}: {:?}", begun.elapsed());
            match got.contains("type='error'") {
                true => refused += 1,
                false => kept.push((name, n)),
            }
        }
    }
    server.logs("nothing can be stored: the disk is full");
    assert!(refused > 0 && kept.len() > 10, "{refused} refused, {} kept", kept.len());
    assert!(free() > 2 * MIB, "{} bytes are left", free());
    assert!(run(dir, &["check", "--data", dir.data().to_str().unwrap()], "").out.contains("WRONG  disk: only "));
    assert!(ok(dir, &["status"], "").contains("nothing more is stored until"));
    server.kill();
    let server = Server::start(dir, &[]);
    let (name, n) = *kept.last().unwrap();
    let mut stream = login(&server, dir, name, PASSWORD);
    let get =
        format!("<iq type='get' id='got'><query xmlns='jabber:iq:private'><x xmlns='urn:example:{n}'/></query></iq>");
    assert!(ask(&mut stream, "got", &get).contains("note note"));
    // With room it goes on by itself.
    std::fs::remove_file(dir.data().join("others")).unwrap();
    server.logs("the database can be written again");
    assert!(ask(&mut stream, "again", &roster_set("again")).contains("type='result'"));
    assert!(server.stop().success());
}

#[test]
fn a_failing_disk_is_told_and_loses_nothing() {
    let dir = Dir::with("plain = true");
    // Without the signal a file that may not grow is an error like any other of a disk.
    let mut shell = Command::new("sh");
    let data = dir.data();
    shell.args([
        "-c",
        "trap '' XFSZ; exec \"$0\" serve --domain example.org --data \"$1\"",
        env!("CARGO_BIN_EXE_inglenook"),
    ]);
    let mut server = Server::of({
        shell.arg(&data).env_remove("RUST_LOG");
        shell
    });
    add(&dir, &["romeo", "juliet", "nurse"]);
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    let mut nurse = login(&server, &dir, "nurse", PASSWORD);
    say(&mut romeo, &message("juliet", "first"));
    ask(&mut romeo, "before", &roster_set("before"));
    let bytes = std::fs::metadata(data.join("db/sled/db")).unwrap().len();
    let none = Rlimit { current: Some(bytes), maximum: None };
    prlimit(Some(Pid::from_child(&server.child)), Resource::Fsize, none).unwrap();
    say(&mut romeo, &roster_set("withheld"));
    let told = server.logs("nothing can be stored");
    eprintln!("{told}");
    assert!(told.contains("Look at the disk") && told.contains("until the server is started again"), "{told}");
    let got = ask(&mut romeo, "refused", &roster_set("refused"));
    assert!(got.contains("<resource-constraint ") && !got.contains("id='withheld'/>"), "{got}");
    say(&mut romeo, &message("juliet", "refused"));
    let got = until(&mut romeo, "</message>");
    assert!(got.contains("type='error'") && got.contains("<resource-constraint "), "{got}");
    say(&mut romeo, &message("nurse", "here"));
    until(&mut nurse, "<body>here</body>");
    // The end is not a clean one, and says so.
    server.signal(rustix::process::Signal::TERM);
    server.logs("could not be written before the end");
    assert_eq!(server.child.wait().unwrap().code(), Some(1));

    let server = Server::start(&dir, &[]);
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    let got = until(&mut juliet, "<body>first</body>") + &ping(&mut juliet);
    assert!(!got.contains("<body>refused</body>"), "{got}");
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    let got = roster(&mut romeo);
    assert!(got.contains("before@example.org") && !got.contains("refused@example.org"), "{got}");
    assert!(server.stop().success());
}

#[test]
fn a_damaged_database_is_told_and_left_alone() {
    for killed in [true, false] {
        let (dir, server) = house("", &["romeo", "juliet"]);
        if killed {
            server.kill();
        } else {
            assert!(server.stop().success());
        }
        let db = dir.data().join("db/sled/db");
        let mut bytes = std::fs::read(&db).unwrap();
        // A worn card gives back other bytes than were written to it.
        let worn = bytes.iter().position(|b| *b != 0).unwrap();
        bytes[worn..].iter_mut().skip(100).step_by(50).filter(|b| **b != 0).for_each(|b| *b ^= 0x10);
        std::fs::write(&db, bytes).unwrap();
        let before = files(&dir.data().join("db"));
        for words in [&["serve"][..], &["user", "list"], &["serve"]] {
            let error = fails(&dir, words, "");
            assert_eq!(error.matches("inglenook: ").count(), 1, "{error}");
            let folder = dir.data().join("db");
            assert!(error.contains(&format!("the database in {} is damaged: ", folder.display())), "{error}");
            assert!(error.contains(&format!("`inglenook salvage {}`", dir.data().display())), "{error}");
            assert!(error.contains("Nothing was changed"), "{error}");
            assert!(files(&folder) == before, "the files are touched");
        }
        // What it says helps, as far as anything is left.
        let said = run(&dir, &["salvage", "data"], "");
        assert!(said.code == 0 && said.out.contains("lost         "), "{}{}", said.out, said.err);
        std::fs::rename(dir.data(), dir.0.join("data.damaged")).unwrap();
        std::fs::rename(dir.0.join("data.salvaged"), dir.data()).unwrap();
        let server = Server::start(&dir, &[]);
        if !ok(&dir, &["user", "list"], "").contains("romeo") {
            add(&dir, &["romeo"]);
        }
        login(&server, &dir, "romeo", PASSWORD);
        assert!(server.stop().success());
    }
}
