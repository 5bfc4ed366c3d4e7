//! What a flood costs those beside it: whatever one account, one address or the disk does, a bystander's ping is answered in a moment, and
//! others can log in. Each flood runs alone, beside a bystander who pings and somebody who logs in again and again.
//!
//! `INGLENOOK_BINARY` names another program to try, `INGLENOOK_SECONDS` how long each flood lasts, and `INGLENOOK_REPORT=1` only prints
//! what was measured.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

#[path = "../common/mod.rs"]
mod common;
mod crowd;

use common::binary::*;
use common::disk::Disk;
use crowd::{Again, Crowd, handshake, silent, stream, wrong_password};
use inglenook::service::share::ACCOUNT_CONNECTIONS;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const PASSWORD: &str = "a rose by any other name";
const SETTINGS: &str = "domain = \"example.org\"\nplain = true\nscram_iterations = 4096\n";
const PEOPLE: [&str; 5] = ["flood", "victim", "bystander", "visitor", "other"];

/// One flood at a time: they are measured.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seconds() -> Duration {
    Duration::from_secs_f64(std::env::var("INGLENOOK_SECONDS").map_or(1.0, |n| n.parse().unwrap()))
}

fn house(settings: &str) -> (Dir, Server) {
    let dir = Dir::with(&format!("{SETTINGS}{settings}"));
    let server = Server::start(&dir, &[]);
    add(&dir);
    (dir, server)
}

fn add(dir: &Dir) {
    for name in PEOPLE {
        ok(dir, &["user", "add", &format!("{name}@example.org"), "--password-stdin"], &format!("{PASSWORD}\n"));
    }
}

/// What was measured beside a flood.
struct Beside {
    pings: Vec<Duration>,
    logins: Vec<Duration>,
}

impl Beside {
    fn new() -> Beside {
        Beside { pings: Vec::new(), logins: Vec::new() }
    }

    /// Pings and logins for a while.
    fn look(&mut self, server: &Server, dir: &Dir) {
        self.look_for(server, dir, seconds());
    }

    fn look_for(&mut self, server: &Server, dir: &Dir, time: Duration) {
        let end = Instant::now() + time;
        std::thread::scope(|scope| {
            let logins = scope.spawn(|| {
                let mut took = Vec::new();
                while Instant::now() < end {
                    let begun = Instant::now();
                    // From elsewhere: it is not about the limits of one address.
                    let mut stream = tls(connect_from(server, "c2s_tls", "127.0.9.2"), &dir.ca());
                    log_in(&mut stream, "visitor", PASSWORD);
                    took.push(begun.elapsed());
                    std::thread::sleep(Duration::from_millis(100));
                }
                took
            });
            let mut bystander = tls(connect_from(server, "c2s_tls", "127.0.9.1"), &dir.ca());
            log_in(&mut bystander, "bystander", PASSWORD);
            ping(&mut bystander);
            while Instant::now() < end {
                let begun = Instant::now();
                ping(&mut bystander);
                self.pings.push(begun.elapsed());
                std::thread::sleep(Duration::from_millis(3));
            }
            self.logins.extend(logins.join().unwrap());
        });
    }

    /// Prints it, and holds it against what may be.
    fn tell(mut self, flood: &str) {
        self.pings.sort();
        self.logins.sort();
        let (pings, logins) = (&self.pings, &self.logins);
        let (median, longest) = (pings[pings.len() / 2], pings[pings.len() - 1]);
        let login = logins[logins.len() - 1];
        eprintln!(
            "beside {flood}: ping median {:.1} ms, 99 % {:.1}, longest {:.1} of {}; login median {:.0} ms, longest {:.0} of {}",
            ms(median),
            ms(pings[pings.len() * 99 / 100]),
            ms(longest),
            pings.len(),
            ms(logins[logins.len() / 2]),
            ms(login),
            logins.len()
        );
        if std::env::var_os("INGLENOOK_REPORT").is_none() {
            assert!(median < Duration::from_millis(5), "{flood}: median {median:?}");
            assert!(longest < Duration::from_millis(250), "{flood}: longest {longest:?}");
            assert!(login < Duration::from_secs(1), "{flood}: login {login:?}");
        }
    }
}

/// Sends a request; the answer's start tag.
fn answer(stream: &mut Tls, id: &str, request: &str) -> String {
    stream.write_all(request.as_bytes()).unwrap();
    let mut got = until(stream, &format!("id='{id}'"));
    while !got.split_once(&format!("id='{id}'")).unwrap().1.contains('>') {
        got += &until(stream, ">");
    }
    got
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

const DISCO: &str =
    "<iq type='get' id='d' to='example.org'><query xmlns='http://jabber.org/protocol/disco#info'/></iq>";

// ---- the processor ----

fn requests(sessions: usize, stanza: &str, flood: &str) {
    let _alone = alone();
    let (dir, server) = house("");
    let crowd = Crowd::sessions(&server, &dir, "flood", sessions, stanza, true);
    let mut beside = Beside::new();
    beside.look(&server, &dir);
    let said = crowd.said();
    drop(crowd);
    beside.tell(&format!("{flood}, {sessions} sessions, {said} said"));
}

#[test]
fn requests_of_8_sessions() {
    requests(8, DISCO, "disco#info");
}

#[test]
fn requests_of_32_sessions() {
    requests(32, DISCO, "disco#info");
}

#[test]
fn messages_to_oneself() {
    requests(
        16,
        "<message to='flood@example.org' type='headline'><body>x</body></message>",
        "headlines to 16 sessions",
    );
}

#[test]
fn presence_again_and_again() {
    requests(32, "<presence><status>here</status></presence>", "presence to 32 sessions");
}

#[test]
fn pages_of_the_archive() {
    let _alone = alone();
    let (dir, server) = house("");
    let mut writer = stream(&server, &dir);
    log_in(&mut writer, "flood", PASSWORD);
    let message = format!("<message to='flood@example.org' type='chat'><body>{}</body></message>", "x".repeat(200));
    for _ in 0..10 {
        writer.write_all(message.repeat(100).as_bytes()).unwrap();
        ping(&mut writer);
    }
    // As long as what clients ask for: a page is made in one go, and a build for tests takes ten times as long for it.
    let page = "<iq type='set' id='m'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'>\
                <max>50</max></set></query></iq>";
    let crowd = Crowd::sessions(&server, &dir, "flood", 24, page, true);
    let mut beside = Beside::new();
    beside.look(&server, &dir);
    drop(crowd);
    beside.tell("pages of the archive, 24 sessions");
}

#[test]
fn handshakes() {
    let _alone = alone();
    let (dir, server) = house("");
    let (address, ca) = (server.address("c2s_tls"), dir.ca());
    let floods: Vec<Again> = (0..16)
        .map(|_| {
            let ca = ca.clone();
            Again::new(move || handshake(address, &ca))
        })
        .collect();
    let mut beside = Beside::new();
    beside.look(&server, &dir);
    drop(floods);
    beside.tell("handshakes, 16 at a time");
}

// ---- storage ----

const OFFLINE: &str = "<message to='victim@example.org' type='chat'><body>";

fn offline(bytes: usize) -> String {
    format!("{OFFLINE}{}</body></message>", "x".repeat(bytes))
}

#[test]
fn a_disk_that_gets_full() {
    let _alone = alone();
    let Some(disk) = Disk::new("24m") else { return eprintln!("no file system of its own: left out") };
    disk.dir.settings(SETTINGS);
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir);
    let crowd = Crowd::sessions(&server, &disk.dir, "flood", 1, &offline(5000), true);
    let mut beside = Beside::new();
    beside.look_for(&server, &disk.dir, seconds() * 3);
    // And what the others want stored is stored.
    let mut other = stream(&server, &disk.dir);
    log_in(&mut other, "other", PASSWORD);
    let card = "<iq type='set' id='card'><vCard xmlns='vcard-temp'><FN>Other</FN></vCard></iq>";
    let answer = answer(&mut other, "card", card);
    drop(crowd);
    beside.tell("a disk that gets full");
    if std::env::var_os("INGLENOOK_REPORT").is_none() {
        assert!(answer.contains("type='result'"), "{answer}");
        // It starts again after a crash.
        server.kill();
        let server = Server::start(&disk.dir, &[]);
        assert!(server.stop().success());
    }
}

#[test]
fn a_disk_that_another_program_has_filled() {
    let _alone = alone();
    let Some(disk) = Disk::new("24m") else { return eprintln!("no file system of its own: left out") };
    disk.dir.settings(SETTINGS);
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir);
    disk.fill();
    let crowd = Crowd::sessions(&server, &disk.dir, "flood", 4, &offline(5000), true);
    let mut beside = Beside::new();
    beside.look_for(&server, &disk.dir, seconds() * 2);
    drop(crowd);
    beside.tell("a disk that another program has filled");
    disk.make_room();
}

fn slow_card() -> PathBuf {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fairness/slow.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("slow.so");
    let built =
        Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl").status();
    assert!(built.unwrap().success());
    library
}

fn slow(ms: u64, stanza: &str, sessions: usize) {
    let _alone = alone();
    let dir = Dir::with(SETTINGS);
    let data = dir.data();
    let mut command = command(&dir, &["serve", "--data", data.to_str().unwrap()]);
    command.env("LD_PRELOAD", slow_card()).env("SLOW_MS", ms.to_string());
    let server = Server::of(command);
    add(&dir);
    let crowd = Crowd::sessions(&server, &dir, "flood", sessions, stanza, true);
    let mut beside = Beside::new();
    beside.look_for(&server, &dir, seconds() * 2);
    drop(crowd);
    beside.tell(&format!("a card that takes {ms} ms a sync, {sessions} sessions"));
}

#[test]
fn a_slow_card() {
    slow(300, &offline(200), 1);
}

#[test]
fn a_very_slow_card() {
    slow(1000, &offline(200), 8);
}

#[test]
fn pictures_on_a_slow_card() {
    let picture = "x".repeat(20_000);
    slow(
        100,
        &format!("<iq type='set' id='p'><query xmlns='jabber:iq:private'><a xmlns='a'>{picture}</a></query></iq>"),
        2,
    );
}

/// Who changes something and reads it again, for ever, has no commit for each: what the others want stored waits for none of them.
#[test]
fn changing_and_reading_in_turns() {
    let _alone = alone();
    let dir = Dir::with(SETTINGS);
    let data = dir.data();
    let mut command = command(&dir, &["serve", "--data", data.to_str().unwrap()]);
    command.env("LD_PRELOAD", slow_card()).env("SLOW_MS", "20");
    let server = Server::of(command);
    add(&dir);
    let picture = "x".repeat(20_000);
    let turns = format!(
        "<iq type='set' id='s'><query xmlns='jabber:iq:private'><a xmlns='a'>{picture}</a></query></iq>\
         <iq type='get' id='g'><query xmlns='jabber:iq:private'><a xmlns='a'/></query></iq>"
    );
    let crowd = Crowd::sessions(&server, &dir, "flood", 4, &turns, true);
    let mut other = stream(&server, &dir);
    log_in(&mut other, "other", PASSWORD);
    let end = Instant::now() + seconds() * 3;
    let mut took = Vec::new();
    while Instant::now() < end {
        let begun = Instant::now();
        let card = format!("<iq type='set' id='c'><vCard xmlns='vcard-temp'><FN>{}</FN></vCard></iq>", took.len());
        assert!(answer(&mut other, "c", &card).contains("type='result'"));
        took.push(begun.elapsed());
    }
    drop(crowd);
    took.sort();
    let (median, longest) = (took[took.len() / 2], took[took.len() - 1]);
    eprintln!("beside changing and reading in turns: a change median {:.0} ms, longest {:.0}", ms(median), ms(longest));
    if std::env::var_os("INGLENOOK_REPORT").is_none() {
        assert!(median < Duration::from_millis(450) && longest < Duration::from_secs(1), "{median:?}, {longest:?}");
    }
}

// ---- logins ----

/// A phone with an old password, in the same network as the visitor.
#[test]
fn a_wrong_password_again_and_again() {
    let _alone = alone();
    let (dir, server) = house("");
    let (address, ca) = (server.address("c2s_tls"), dir.ca());
    let phones: Vec<Again> = (0..4)
        .map(|_| {
            let ca = ca.clone();
            Again::new(move || wrong_password(address, &ca, "127.0.9.2", "victim"))
        })
        .collect();
    // It has failed often when the others come.
    std::thread::sleep(seconds());
    let mut beside = Beside::new();
    beside.look_for(&server, &dir, seconds() * 2);
    drop(phones);
    beside.tell("a wrong password again and again");
}

// ---- descriptors ----

#[test]
fn strangers_who_say_nothing() {
    let _alone = alone();
    let dir = Dir::with(SETTINGS);
    let data = dir.data();
    let mut serve = Command::new("prlimit");
    let binary = command(&dir, &[]).get_program().to_owned();
    serve
        .args(["--nofile=1024:1024"])
        .arg(binary)
        .args(["serve", "--data", data.to_str().unwrap()])
        .current_dir(&dir.0);
    let server = Server::of(serve);
    add(&dir);
    let mut bystander = stream(&server, &dir);
    log_in(&mut bystander, "other", PASSWORD);
    ping(&mut bystander);
    let strangers: Vec<_> = (0..1100).map(|n| silent(&server, &format!("127.0.2.{}", n % 12 + 1))).collect();
    let mut beside = Beside::new();
    let picture = |id: &str| {
        let card = "x".repeat(20_000);
        format!(
            "<iq type='set' id='{id}'><vCard xmlns='vcard-temp'><PHOTO><BINVAL>{card}</BINVAL></PHOTO></vCard></iq>"
        )
    };
    let begun = Instant::now();
    let answer = answer(&mut bystander, "one", &picture("one"));
    let stored = begun.elapsed();
    beside.look(&server, &dir);
    drop(strangers);
    beside.tell(&format!("1,100 strangers who say nothing; a picture stored in {:.0} ms", ms(stored)));
    assert!(answer.contains("type='result'"), "{answer}");
}

#[test]
fn more_connections_than_an_account_may_have() {
    let _alone = alone();
    let (dir, server) = house("connections_per_address = 1000\n");
    // Authenticated, and not bound: no session counts them.
    let mut greedy: Vec<(Tls, String)> = (0..ACCOUNT_CONNECTIONS + 8)
        .map(|n| {
            let mut stream = tls(connect_from(&server, "c2s_tls", &format!("127.0.3.{}", n % 9 + 1)), &dir.ca());
            greet(&mut stream);
            stream.write_all(plain("flood", PASSWORD).as_bytes()).unwrap();
            let said = until(&mut stream, "<success");
            (stream, said)
        })
        .collect();
    let mut ended = 0;
    for (stream, said) in &mut greedy {
        stream.sock.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        *said += &String::from_utf8_lossy(&rest);
        ended += usize::from(said.contains("too many connections"));
    }
    assert_eq!(ended, 8);
    let mut other = stream(&server, &dir);
    log_in(&mut other, "other", PASSWORD);
    ping(&mut other);
}

// ---- memory ----

/// A control group with a limit of memory, where this user may make one.
struct Group(PathBuf);

impl Group {
    fn new(bytes: u64) -> Option<Group> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let path = |controllers: &str| {
            let mut lines = own.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
            lines.find(|(names, _)| names.split(',').any(|name| name == controllers)).map(|(_, path)| path.to_owned())
        };
        let name = format!("inglenook-{}", std::process::id());
        let places = [
            ("/sys/fs/cgroup".to_owned(), "memory.max"),
            (format!("/sys/fs/cgroup{}", path("").unwrap_or_default()), "memory.max"),
            ("/sys/fs/cgroup/memory".to_owned(), "memory.limit_in_bytes"),
            (format!("/sys/fs/cgroup/memory{}", path("memory").unwrap_or_default()), "memory.limit_in_bytes"),
        ];
        places.into_iter().find_map(|(parent, limit)| {
            let dir = Path::new(&parent).join(&name);
            std::fs::create_dir(&dir).ok()?;
            let group = Group(dir);
            std::fs::write(group.0.join(limit), bytes.to_string()).ok()?;
            Some(group)
        })
    }

    /// A command that runs in it.
    fn command(&self, dir: &Dir) -> Command {
        let data = dir.data();
        let serve = command(dir, &[]);
        let mut inside = Command::new("sh");
        inside.args(["-c", "echo $$ > \"$0/cgroup.procs\" && exec \"$@\""]).arg(&self.0).arg(serve.get_program());
        inside.args(["serve", "--data", data.to_str().unwrap()]).current_dir(&dir.0);
        inside
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0);
    }
}

const MEMORY: u64 = 64 << 20;

/// A server with 64 MiB, whose floods are the accounts `flood`, `victim` and `other`.
fn small(floods: impl FnOnce(&Server, &Dir) -> Vec<Crowd>, what: &str) {
    let _alone = alone();
    let Some(group) = Group::new(MEMORY) else { return eprintln!("no control group of its own: left out") };
    let dir = Dir::with(SETTINGS);
    let mut server = Server::of(group.command(&dir));
    add(&dir);
    let crowds = floods(&server, &dir);
    let mut beside = Beside::new();
    beside.look_for(&server, &dir, seconds() * 3);
    let most = server.memory().1;
    assert!(server.child.try_wait().unwrap().is_none(), "the server was killed");
    let mut modest = stream(&server, &dir);
    log_in(&mut modest, "bystander", PASSWORD);
    ping(&mut modest);
    drop(crowds);
    beside.tell(&format!("{what}, at most {} MiB resident", most >> 20));
    drop((modest, server));
}

/// Each account writes to itself and reads nothing.
#[test]
fn sessions_that_never_read() {
    small(
        |server, dir| {
            let accounts = ["flood", "victim", "other"].into_iter();
            let deaf = accounts.clone().map(|name| {
                let enable = "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
                Crowd::silent(server, dir, name, 20, enable)
            });
            let deaf: Vec<Crowd> = deaf.collect();
            let body = "x".repeat(2000);
            let noisy = accounts.map(|name| {
                let message = format!("<message to='{name}@example.org' type='chat'><body>{body}</body></message>");
                Crowd::sessions(server, dir, name, 2, &message, true)
            });
            deaf.into_iter().chain(noisy).collect()
        },
        "sessions that never read",
    );
}

/// Each session holds the largest stanza that is not quite there.
#[test]
fn stanzas_that_never_end() {
    small(
        |server, dir| {
            let begun = format!("<message><body>{}", "x".repeat(255 * 1024));
            ["flood", "victim", "other"].into_iter().map(|name| Crowd::silent(server, dir, name, 30, &begun)).collect()
        },
        "stanzas that never end",
    );
}

// ---- what others do to somebody ----

/// Somebody who reads a megabyte a second, and is told more than that.
#[test]
fn who_reads_slowly_stays_though_others_say_much() {
    let _alone = alone();
    for (managed, ty) in [(false, "headline"), (true, "headline"), (true, "chat")] {
        let (dir, server) = house("");
        let mut victim = stream(&server, &dir);
        log_in(&mut victim, "victim", PASSWORD);
        if managed {
            victim.write_all(b"<enable xmlns='urn:xmpp:sm:3'/>").unwrap();
            until(&mut victim, "<enabled");
        }
        let body = "x".repeat(1000);
        let message = format!("<message to='victim@example.org' type='{ty}'><body>{body}</body></message>");
        let crowd = Crowd::sessions(&server, &dir, "flood", 4, &message, true);
        let (end, mut read, mut stanzas) = (Instant::now() + seconds() * 4, 0_u64, 0_u64);
        let mut buffer = [0; 8192];
        while Instant::now() < end {
            let n = victim.read(&mut buffer).unwrap();
            read += n as u64;
            assert!(n > 0, "it was closed");
            let text = String::from_utf8_lossy(&buffer[..n]);
            assert!(!text.contains("<stream:error"), "{managed} {ty}: {text}");
            stanzas += text.matches("</message>").count() as u64;
            if managed && text.contains("<r ") {
                victim.write_all(format!("<a xmlns='urn:xmpp:sm:3' h='{stanzas}'/>").as_bytes()).unwrap();
            }
            std::thread::sleep(Duration::from_millis(8));
        }
        eprintln!("{managed} {ty}: {} KiB read, {} said", read >> 10, crowd.said());
        drop(crowd);
    }
}

/// Each answer is a hundred times as long as the question, and comes from the card.
#[test]
fn pictures_asked_for_again_and_again() {
    let _alone = alone();
    let (dir, server) = house("");
    let mut writer = stream(&server, &dir);
    log_in(&mut writer, "flood", PASSWORD);
    let picture = "x".repeat(75_000);
    let card = format!(
        "<iq type='set' id='c'><vCard xmlns='vcard-temp'><PHOTO><BINVAL>{picture}</BINVAL></PHOTO></vCard></iq>"
    );
    assert!(answer(&mut writer, "c", &card).contains("result"));
    let mut other = stream(&server, &dir);
    log_in(&mut other, "other", PASSWORD);
    let crowd =
        Crowd::sessions(&server, &dir, "flood", 8, "<iq type='get' id='g'><vCard xmlns='vcard-temp'/></iq>", true);
    std::thread::sleep(seconds());
    let mut slowest = Duration::ZERO;
    for n in 0..10 {
        let begun = Instant::now();
        let id = format!("s{n}");
        let set =
            format!("<iq type='set' id='{id}'><query xmlns='jabber:iq:private'><a xmlns='a'>{n}</a></query></iq>");
        assert!(answer(&mut other, &id, &set).contains("result"));
        slowest = slowest.max(begun.elapsed());
    }
    drop(crowd);
    eprintln!("beside 8 sessions that ask for pictures: something is stored within {:.0} ms", ms(slowest));
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
}
