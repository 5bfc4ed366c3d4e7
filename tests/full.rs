//! A full disk under the real binary: every answer comes in time and is true, nothing is left half made, and what makes room is done.
#![allow(clippy::unwrap_used, clippy::print_stderr)]
#![cfg(target_os = "linux")]

mod common;

use common::binary::{Dir, Server, fails, log_in, login, ok, ping, run, tls, until};
use common::disk::Disk;
use common::files::all_below;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const PASSWORD: &str = "a rose by any other name";
/// Less than the server leaves free, and more than what makes room needs.
const LITTLE_BYTES: u64 = 3 * 1024 * 1024 + 512 * 1024;

fn disk() -> Option<Disk> {
    let disk = Disk::new("24m");
    if disk.is_none() {
        eprintln!("no file system of its own: left out");
    }
    let disk = disk?;
    disk.dir.settings("plain = true\ndomain = \"example.org\"\nscram_iterations = 4096");
    Some(disk)
}

fn add(dir: &Dir, name: &str) {
    ok(dir, &["user", "add", name, "--password-stdin"], &format!("{PASSWORD}\n"));
}

/// All files below a folder.
fn files(dir: &Path) -> BTreeSet<PathBuf> {
    all_below(dir).into_iter().filter(|path| !path.is_dir()).collect()
}

/// What was logged until now.
fn logged(server: &Server) -> Vec<String> {
    let log = server.log.lock().unwrap();
    std::iter::from_fn(|| log.try_recv().ok()).collect()
}

/// The account would be there with a password that nobody has seen, and the log said so before it was.
#[test]
fn an_account_is_made_or_not_and_the_answer_says_which() {
    let Some(disk) = disk() else { return };
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir, "juliet");
    server.logs("added juliet");
    // Another program, in a moment when the server does not look.
    disk.fill();
    let begun = Instant::now();
    let error = fails(&disk.dir, &["user", "add", "nurse"], "");
    assert!(error.contains("nurse@example.org is not added") && error.contains("inglenook check"), "{error}");
    let error = fails(&disk.dir, &["user", "passwd", "juliet", "--password-stdin"], "wherefore art thou\n");
    assert!(error.contains("full or failing"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(logged(&server).iter().all(|line| !line.contains("nurse") && !line.contains("changed the password")));
    disk.make_room();
    server.logs("can be written again");
    assert_eq!(ok(&disk.dir, &["user", "list"], ""), "juliet@example.org\n");
    drop(login(&server, &disk.dir, "juliet", PASSWORD));
    add(&disk.dir, "nurse");
    server.logs("added nurse");
    drop(login(&server, &disk.dir, "nurse", PASSWORD));
    server.kill();
    // And so it is stored.
    assert_eq!(ok(&disk.dir, &["user", "list"], ""), "juliet@example.org\nnurse@example.org\n");
}

/// What cannot be taken back is not said to be done, either; it is done, and logged, as soon as there is room.
#[test]
fn a_removal_that_cannot_be_stored_is_told_and_made_up_for() {
    let Some(disk) = disk() else { return };
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir, "juliet");
    add(&disk.dir, "romeo");
    disk.fill();
    let begun = Instant::now();
    let error = fails(&disk.dir, &["user", "remove", "juliet"], "");
    assert!(error.contains("not stored yet") && error.contains("inglenook check"), "{error}");
    assert!(fails(&disk.dir, &["user", "remove", "romeo"], "").contains("full or failing"));
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(logged(&server).iter().all(|line| !line.contains("removed ")));
    disk.make_room();
    server.logs("removed juliet@example.org, as the owner wants");
    server.kill();
    assert_eq!(ok(&disk.dir, &["user", "list"], ""), "romeo@example.org\n");
}

/// A password whose change could not be stored stays as it was: the new one was shown to nobody.
#[test]
fn a_password_is_changed_or_not() {
    let Some(disk) = disk() else { return };
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir, "juliet");
    disk.fill();
    let error = fails(&disk.dir, &["user", "passwd", "juliet", "--password-stdin"], "wherefore art thou\n");
    assert!(error.contains("juliet@example.org is not given another password"), "{error}");
    disk.make_room();
    server.logs("can be written again");
    drop(login(&server, &disk.dir, "juliet", PASSWORD));
    assert!(server.stop().success());
    let server = Server::start(&disk.dir, &[]);
    drop(login(&server, &disk.dir, "juliet", PASSWORD));
}

#[test]
fn check_and_status_tell_that_the_disk_is_full() {
    let Some(disk) = disk() else { return };
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir, "juliet");
    let data = disk.dir.data().to_str().unwrap().to_owned();
    let check = || run(&disk.dir, &["check", "--data", &data], "");
    let status = |part: &str| {
        let said = ok(&disk.dir, &["status"], "");
        assert!(said.lines().any(|line| line.starts_with("storage") && line.contains(part)), "{said}");
    };
    let said = check();
    // That it takes passwords as they are costs its grade, and nothing is wrong.
    assert!(!said.out.contains("WRONG") && said.out.contains("ok     storage: it works"), "{}", said.out);
    status("works");
    // It is seen without a change.
    disk.fill_but(LITTLE_BYTES);
    let said = check();
    assert!(
        said.code == 1 && said.out.contains("WRONG  disk: only ") && said.out.contains("WRONG  storage: "),
        "{}",
        said.out
    );
    status("but what makes room");
    disk.make_room();
    server.logs("can be written again");
    let said = check();
    assert!(!said.out.contains("WRONG"), "{}", said.out);
    status("works");
    // With nothing at all left, a change is on its way.
    disk.fill();
    fails(&disk.dir, &["user", "add", "nurse"], "");
    let said = check();
    assert!(said.out.contains("WRONG  storage: nothing can be stored"), "{}", said.out);
    status("nothing can be stored");
    disk.make_room();
    server.logs("can be written again");
    assert!(server.stop().success());
}

/// Whoever wants to make room must be able to.
#[test]
fn what_makes_room_is_done_on_a_full_disk() {
    let Some(disk) = disk() else { return };
    let server = Server::start(&disk.dir, &[]);
    for name in ["juliet", "romeo", "benvolio", "mercutio", "tybalt"] {
        add(&disk.dir, name);
    }
    let mut juliet = login(&server, &disk.dir, "juliet", PASSWORD);
    let set = |id: &str, payload: &str| format!("<iq type='set' id='{id}'>{payload}</iq>");
    let publish = format!(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:pictures'><item id='1'><p xmlns='urn:p'>{}</p></item>\
         </publish></pubsub>",
        "x".repeat(60_000)
    );
    juliet.write_all(set("publish", &publish).as_bytes()).unwrap();
    assert!(until(&mut juliet, "id='publish'").contains("result"));
    let large = || std::fs::read_dir(disk.dir.data().join("db/large")).unwrap().count();
    let before = large();
    disk.fill_but(LITTLE_BYTES);
    ok(&disk.dir, &["status"], "");
    server.logs("nothing can be stored");
    juliet.write_all(set("more", &publish).as_bytes()).unwrap();
    assert!(until(&mut juliet, "id='more'").contains("error"));
    let retract = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:pictures'><item id='1'/></retract></pubsub>";
    juliet.write_all(set("retract", retract).as_bytes()).unwrap();
    let answer = until(&mut juliet, "id='retract'");
    assert!(answer.contains("type='result'"), "{answer}");
    assert!(large() < before);
    ping(&mut juliet);
    // At once: not when the disk is looked at the next time, which is every three seconds.
    let begun = std::time::Instant::now();
    for name in ["romeo", "benvolio", "mercutio"] {
        assert_eq!(ok(&disk.dir, &["user", "remove", name], ""), format!("removed {name}@example.org\n"));
    }
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "{:?}", begun.elapsed());
    server.logs("removed romeo");
    assert!(fails(&disk.dir, &["user", "add", "nurse"], "").contains("full"));
    // The same without the server.
    assert!(server.stop().success());
    assert_eq!(ok(&disk.dir, &["user", "remove", "tybalt"], ""), "removed tybalt@example.org\n");
    let server = Server::start(&disk.dir, &[]);
    assert_eq!(ok(&disk.dir, &["user", "list"], ""), "juliet@example.org\n");
    drop(login(&server, &disk.dir, "juliet", PASSWORD));
    assert!(server.stop().success());
}

/// So does the removal of a room, with the server and without; and what cannot be done says where to look.
#[test]
fn a_room_is_removed_on_a_full_disk() {
    let Some(disk) = disk() else { return };
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir, "juliet");
    let mut juliet = login(&server, &disk.dir, "juliet", PASSWORD);
    for name in ["garden", "lobby"] {
        let at = format!("{name}@conference.example.org");
        let join = format!("<presence to='{at}/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
        let query =
            "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>";
        juliet.write_all(format!("{join}<iq type='set' id='{name}' to='{at}'>{query}</iq>").as_bytes()).unwrap();
        assert!(until(&mut juliet, &format!("id='{name}'")).contains("type='result'"));
    }
    disk.fill_but(LITTLE_BYTES);
    ok(&disk.dir, &["status"], "");
    server.logs("nothing can be stored");
    let error = fails(&disk.dir, &["user", "passwd", "juliet"], "");
    assert!(error.contains("full or failing") && error.contains("inglenook check"), "{error}");
    assert_eq!(ok(&disk.dir, &["room", "remove", "garden"], ""), "removed garden@conference.example.org\n");
    assert!(server.stop().success());
    let error = fails(&disk.dir, &["user", "passwd", "juliet"], "");
    assert!(error.contains("inglenook check"), "{error}");
    assert_eq!(ok(&disk.dir, &["room", "remove", "lobby"], ""), "removed lobby@conference.example.org\n");
    assert_eq!(ok(&disk.dir, &["room", "list"], ""), "");
}

/// What makes room uses no more than its part of what is kept free: the next start has its own.
#[test]
fn what_makes_room_leaves_what_a_start_needs() {
    let Some(disk) = disk() else { return };
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir, "juliet");
    let mut juliet = login(&server, &disk.dir, "juliet", PASSWORD);
    disk.fill_but(LITTLE_BYTES);
    ok(&disk.dir, &["status"], "");
    server.logs("nothing can be stored");
    // Each is stored, for ever and ever.
    let end = Instant::now() + Duration::from_secs(5);
    for n in 0.. {
        if Instant::now() > end {
            break;
        }
        let card =
            format!("<iq type='set' id='v{n}'><vCard xmlns='vcard-temp'><FN>{n}{}</FN></vCard></iq>", "x".repeat(400));
        juliet.write_all(card.as_bytes()).unwrap();
        until(&mut juliet, &format!("id='v{n}'"));
    }
    server.kill();
    let server = Server::start(&disk.dir, &[]);
    drop(login(&server, &disk.dir, "juliet", PASSWORD));
    assert!(server.stop().success());
}

#[test]
fn a_certificate_is_made_whole_or_not_at_all() {
    let Some(disk) = disk() else { return };
    let other = Dir::begun("");
    ok(&other, &["cert", "renew"], "");
    // As after a first start.
    std::fs::write(disk.dir.data().join("domain"), "example.org\n").unwrap();
    let (chain, key) = (other.data().join("cert/server.crt"), other.data().join("cert/server.key"));
    for fresh in [true, false] {
        if !fresh {
            ok(&disk.dir, &["cert", "renew"], "");
        }
        let before = files(&disk.dir.data());
        disk.fill();
        let install = ["cert", "install", chain.to_str().unwrap(), key.to_str().unwrap()];
        for words in [&["cert", "renew"][..], &["cert", "renew", "--authority"], &install] {
            let error = fails(&disk.dir, words, "example.org\n");
            assert!(error.contains("No space left"), "{words:?}: {error}");
            let mut after = files(&disk.dir.data());
            after.retain(|path| !path.ends_with("domain") && !path.ends_with("lock"));
            let mut before = before.clone();
            before.retain(|path| !path.ends_with("domain") && !path.ends_with("lock"));
            assert_eq!(after, before, "{words:?}");
        }
        disk.make_room();
        let server = Server::start(&disk.dir, &[]);
        tls(common::binary::connect(&server, "c2s_tls"), &disk.dir.ca()).flush().unwrap();
        assert!(server.stop().success());
        assert_eq!(run(&disk.dir, &["check", "--data", disk.dir.data().to_str().unwrap()], "").code, 0);
    }
}

/// A first start on a full disk leaves nothing that stops the next one.
#[test]
fn a_first_start_on_a_full_disk_can_be_done_again() {
    let Some(disk) = disk() else { return };
    disk.fill();
    assert!(fails(&disk.dir, &["serve"], "").contains("room"));
    disk.make_room();
    let server = Server::start(&disk.dir, &[]);
    add(&disk.dir, "juliet");
    let mut stream = tls(common::binary::connect(&server, "c2s_tls"), &disk.dir.ca());
    log_in(&mut stream, "juliet", PASSWORD);
    assert!(server.stop().success());
}
