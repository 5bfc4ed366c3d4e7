//! Invitations with the program itself: the first start, the owner's commands, and who registers with a token over TLS. What the core does with
//! them is in `tests/invitations.rs`.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use common::binary::{Dir, Server, Tls, command, connect, fails, greet, login, ok, ping, run, tls, until};
use std::io::Write;
use std::sync::Barrier;

const PASSWORD: &str = "a rose by any other name";

fn dir() -> Dir {
    let dir = Dir::new();
    settings(&dir, "");
    dir
}

fn settings(dir: &Dir, more: &str) {
    std::fs::create_dir_all(dir.data()).unwrap();
    let house = if more.contains("[house]") { "" } else { "[house]\ncontacts = false\nroom = false\n" };
    let text = format!(
        "domain = \"example.org\"\nplain = true\nscram_iterations = 4096\n{more}\n{house}[listen]\ns2s = []\ns2s_tls = []\nc2s = []\n\
         c2s_tls = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n"
    );
    std::fs::write(dir.data().join("inglenook.toml"), text).unwrap();
}

/// The token in a link, or in a URI.
fn token(text: &str) -> String {
    let behind = |mark: &str| text.split_once(mark).map(|(_, rest)| rest);
    let rest = behind("/invite/").or_else(|| behind("/reset/")).or_else(|| behind("preauth=")).unwrap();
    let token = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
    assert_eq!(token.len(), 26, "{text}");
    token.to_owned()
}

/// A stream that has shown a token; and what it was told.
fn preauth(server: &Server, dir: &Dir, token: &str) -> (Tls, String) {
    let mut stream = tls(connect(server, "c2s_tls"), &dir.ca());
    let features = greet(&mut stream);
    assert!(features.contains("<register xmlns='urn:xmpp:ibr-token:0'/>"), "{features}");
    assert!(!features.contains("iq-register"), "{features}");
    let preauth =
        format!("<iq type='set' id='p' to='example.org'><preauth xmlns='urn:xmpp:pars:0' token='{token}'/></iq>");
    let told = asked(&mut stream, &preauth);
    (stream, told)
}

/// What is answered to a request on a stream that is not authenticated.
fn asked(stream: &mut Tls, iq: &str) -> String {
    stream.write_all(iq.as_bytes()).unwrap();
    let mut told = until(stream, "<iq ");
    if !told.contains("/>") && !told.contains("</iq>") {
        told += &until(stream, ">");
    }
    if told.contains("type='error'") && !told.contains("</iq>") {
        told += &until(stream, "</iq>");
    }
    told
}

fn register(stream: &mut Tls, name: &str) -> String {
    let query = format!("<username>{name}</username><password>{PASSWORD}</password>");
    asked(stream, &format!("<iq type='set' id='r'><query xmlns='jabber:iq:register'>{query}</query></iq>"))
}

/// Registers with a token; what was told at last.
fn take(server: &Server, dir: &Dir, token: &str, name: &str) -> String {
    let (mut stream, told) = preauth(server, dir, token);
    if told.contains("type='error'") { told } else { register(&mut stream, name) }
}

fn invite(dir: &Dir, words: &[&str]) -> String {
    ok(dir, &[&["invite"], words].concat(), "")
}

fn is_result(told: &str) {
    assert!(told.contains("type='result'"), "{told}");
}

fn is_unknown(told: &str) {
    assert!(told.contains("<item-not-found") && told.contains("invalid or expired"), "{told}");
}

fn for_you(server: &Server) -> Option<String> {
    server.greeting.iter().find(|line| line.starts_with("for you ")).cloned()
}

#[test]
fn the_first_start_invites_the_owner_until_there_is_an_account() {
    let dir = dir();
    let server = Server::start(&dir, &[]);
    let line = for_you(&server).unwrap();
    let port = server.address("https").port();
    assert!(line.contains("https://") && line.contains(&format!(":{port}/invite/")), "{line}");
    assert!(server.greeting.last().unwrap().starts_with("next "), "{:?}", server.greeting);
    assert!(server.greeting.iter().all(|line| !line.contains('█')), "nobody would scan a log");
    let before = token(&line);
    server.kill();
    // Another start, another link: nobody has the one before.
    let server = Server::start(&dir, &[]);
    let owner = token(&for_you(&server).unwrap());
    is_unknown(&take(&server, &dir, &before, "juliet"));
    // `qr` shows one, too.
    let shown = ok(&dir, &["qr"], "");
    is_unknown(&take(&server, &dir, &owner, "juliet"));
    assert!(shown.contains('█') && shown.contains("good for nothing any more"), "{shown}");
    is_result(&take(&server, &dir, &token(&shown), "juliet"));
    is_unknown(&take(&server, &dir, &token(&shown), "romeo"));
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    let list = "<iq type='get' id='l' to='example.org'><query xmlns='http://jabber.org/protocol/disco#items' \
                node='http://jabber.org/protocol/commands'/></iq>";
    juliet.write_all(list.as_bytes()).unwrap();
    assert!(ping(&mut juliet).contains("urn:xmpp:invite#create-account"), "juliet administers the server");
    server.kill();
    let server = Server::start(&dir, &[]);
    assert_eq!(for_you(&server), None);
    let error = fails(&dir, &["qr"], "");
    assert!(error.contains("no open invitation") && error.contains("inglenook invite"), "{error}");
}

#[test]
fn the_first_invitation_ends_with_the_first_administrator() {
    let dir = dir();
    let server = Server::start(&dir, &[]);
    let owner = token(&for_you(&server).unwrap());
    // Whoever comes before the owner locks nobody out.
    let guest = token(&invite(&dir, &["--uses", "12"]));
    is_result(&take(&server, &dir, &guest, "benvolio"));
    let told = ok(&dir, &["user", "add", "juliet", "--password-stdin"], &format!("{PASSWORD}\n"));
    assert!(told.contains("`inglenook user admin juliet`"), "{told}");
    assert!(ok(&dir, &["status"], "").contains("nobody administers"));
    let checked = run(&dir, &["check", "--data", dir.data().to_str().unwrap()], "");
    assert!(checked.out.contains("note   admins: nobody administers"), "{}", checked.out);
    let (_stream, told) = preauth(&server, &dir, &owner);
    is_result(&told);
    ok(&dir, &["user", "admin", "juliet"], "");
    assert!(!ok(&dir, &["status"], "").contains("nobody administers"));
    is_unknown(&take(&server, &dir, &owner, "romeo"));
}

#[test]
fn the_owner_invites_lists_and_takes_back() {
    let dir = dir();
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], &format!("{PASSWORD}\n"));
    let said = invite(&dir, &[]);
    let (link, uri) = (said.lines().next().unwrap(), said.lines().nth(2).unwrap());
    assert!(link.starts_with("link         https://") && link.ends_with(&token(link)), "{said}");
    assert_eq!(uri, format!("uri          xmpp:example.org?register;preauth={}", token(link)), "{said}");
    assert!(!said.contains('█'), "{said}");
    // For somebody, whose contact they become.
    let kept = invite(&dir, &["Müller", "--contact", "juliet", "--days", "2", "--qr"]);
    assert!(kept.contains("uri          xmpp:m%C3%BCller@example.org?register;preauth="), "{kept}");
    assert!(kept.contains('█'), "{kept}");
    let friend = invite(&dir, &["--contact", "juliet"]);
    assert!(friend.contains(&format!("xmpp:juliet@example.org?roster;preauth={};ibr=y", token(&friend))), "{friend}");
    let list = invite(&dir, &["--list"]);
    assert_eq!(list.lines().count(), 4, "the owner's first is one of them: {list}");
    assert!(list.contains("the account müller, contact of juliet@example.org"), "{list}");
    assert!(!list.contains(&token(link)), "{list}");
    // What the log tells opens nothing.
    let logged = server.logs("made invitation");
    assert!(!logged.contains("preauth"), "{logged}");
    let id = list.lines().find(|line| line.contains("müller")).unwrap().split(' ').next().unwrap();
    assert!(fails(&dir, &["user", "add", "müller"], "").contains(&format!("inglenook invite --revoke {id}")));
    assert!(invite(&dir, &["--revoke", id]).starts_with("revoked "));
    is_unknown(&take(&server, &dir, &token(&kept), "müller"));
    // Until it is taken, it is not spent.
    let (mut stream, told) = preauth(&server, &dir, &token(link));
    is_result(&told);
    assert!(register(&mut stream, "juliet").contains("<conflict"));
    is_result(&register(&mut stream, "romeo"));
    for (words, why) in [
        (&["juliet"][..], "is there already"),
        (&["--contact", "nobody"], "there is no nobody@example.org"),
        (&["--room", "nowhere"], "there is no room nowhere@conference.example.org"),
        (&["--uses", "0"], "from 1 to 1000"),
        (&["--days", "0"], "for a day at least"),
        (&["--days", "400"], "from 1 to 365 days"),
        (&["a\tb"], "is no name"),
        (&["--list", "romeo"], "stand alone"),
        (&["--revoke", "nothing"], "there is no invitation nothing"),
    ] {
        let error = fails(&dir, &[&["invite"], words].concat(), "");
        assert!(error.contains(why), "{words:?}: {error}");
    }
    assert!(server.stop().success());
    // Without the server: it is there when it starts.
    let said = invite(&dir, &["nurse"]);
    assert!(said.contains("does not run"), "{said}");
    let server = Server::start(&dir, &[]);
    is_result(&take(&server, &dir, &token(&said), ""));
    drop(login(&server, &dir, "nurse", PASSWORD));
}

#[test]
fn a_forgotten_password_has_a_link_of_its_own() {
    let dir = dir();
    let server = Server::start(&dir, &[]);
    assert!(fails(&dir, &["user", "reset", "juliet"], "").contains("there is no juliet@example.org"));
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], &format!("{PASSWORD}\n"));
    let said = ok(&dir, &["user", "reset", "juliet"], "");
    assert!(said.lines().next().unwrap().contains("/reset/") && !said.contains("xmpp:"), "{said}");
    // It makes no account.
    is_unknown(&take(&server, &dir, &token(&said), "romeo"));
    let list = invite(&dir, &["--list"]);
    assert_eq!(list.matches("a new password for juliet").count(), 1, "{list}");
}

#[test]
fn of_two_who_take_one_invitation_at_once_one_has_it() {
    let dir = dir();
    let server = Server::start(&dir, &[]);
    for round in 0..5 {
        let token = token(&invite(&dir, &[]));
        let begin = Barrier::new(2);
        let one = |name: String| {
            let (mut stream, told) = preauth(&server, &dir, &token);
            is_result(&told);
            begin.wait();
            register(&mut stream, &name)
        };
        let told = std::thread::scope(|scope| {
            let both = ["a", "b"].map(|who| scope.spawn(move || one(format!("{who}{round}friend"))));
            both.map(|one| one.join().unwrap())
        });
        assert_eq!(told.iter().filter(|told| told.contains("type='result'")).count(), 1, "{told:?}");
        told.iter().filter(|told| !told.contains("type='result'")).for_each(|told| is_unknown(told));
    }
    assert_eq!(ok(&dir, &["user", "list"], "").lines().count(), 5);
}

/// What was answered is stored: account, contacts, and that the token is spent.
#[test]
fn a_result_survives_a_kill() {
    let dir = dir();
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], &format!("{PASSWORD}\n"));
    let token = token(&invite(&dir, &["romeo", "--contact", "juliet"]));
    is_result(&take(&server, &dir, &token, "romeo"));
    server.kill();
    let server = Server::start(&dir, &[]);
    is_unknown(&take(&server, &dir, &token, "romeo"));
    for (name, other) in [("romeo", "juliet"), ("juliet", "romeo")] {
        let mut stream = login(&server, &dir, name, PASSWORD);
        stream.write_all(b"<iq type='get' id='s'><query xmlns='jabber:iq:roster'/></iq>").unwrap();
        let roster = ping(&mut stream);
        assert!(roster.contains(&format!("<item jid='{other}@example.org' subscription='both'/>")), "{roster}");
    }
}

#[test]
fn an_app_gets_a_link_to_the_page() {
    let dir = dir();
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], &format!("{PASSWORD}\n"));
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    juliet.write_all(b"<iq type='get' id='s'><query xmlns='jabber:iq:roster'/></iq>").unwrap();
    let invite = "<iq type='set' id='i' to='example.org'><command xmlns='http://jabber.org/protocol/commands' \
                  node='urn:xmpp:invite#invite' action='execute'/></iq>";
    juliet.write_all(invite.as_bytes()).unwrap();
    let told = until(&mut juliet, "</command>");
    let token = token(&told);
    assert!(told.contains(&format!("/invite/{token}</value>")) && told.contains("landing-url"), "{told}");
    is_result(&take(&server, &dir, &token, "romeo"));
    let pushed = ping(&mut juliet);
    assert!(pushed.contains("<item jid='romeo@example.org' subscription='both'/>"), "{pushed}");
}

fn roster(stream: &mut Tls) -> String {
    stream.write_all(b"<iq type='get' id='s'><query xmlns='jabber:iq:roster'/></iq>").unwrap();
    ping(stream)
}

fn contact(name: &str, called: &str) -> String {
    format!("<item jid='{name}@example.org' subscription='both' name='{called}'><group>Example</group></item>")
}

/// Whether somebody finds the room of the house and may enter it, as what.
fn has_the_room(stream: &mut Tls, name: &str, affiliation: &str) {
    let items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub>";
    stream.write_all(format!("<iq type='get' id='b'>{items}</iq>").as_bytes()).unwrap();
    let bookmarks = until(stream, "</pubsub>");
    for part in ["<item id='everybody@conference.example.org'>", "name='Example'", "autojoin='true'"] {
        assert!(bookmarks.contains(part), "{name}, {part}: {bookmarks}");
    }
    let enter = "<x xmlns='http://jabber.org/protocol/muc'/></presence>";
    stream.write_all(format!("<presence to='everybody@conference.example.org/{name}'>{enter}").as_bytes()).unwrap();
    let told = until(stream, "<subject");
    assert!(told.contains(&format!("affiliation='{affiliation}'")), "{told}");
}

/// A new house as it is without settings: the owner's link, a link for a second person, and they have each other and a room.
#[test]
fn everybody_in_a_new_house_has_everybody() {
    let dir = Dir::new();
    settings(&dir, "[house]\n");
    let server = Server::start(&dir, &[]);
    is_result(&take(&server, &dir, &token(&for_you(&server).unwrap()), "nurse"));
    let mut nurse = login(&server, &dir, "nurse", PASSWORD);
    assert!(!roster(&mut nurse).contains("<item"));
    has_the_room(&mut nurse, "nurse", "owner");
    is_result(&take(&server, &dir, &token(&invite(&dir, &[])), "romeo"));
    let pushed = until(&mut nurse, "</group></item>");
    assert!(pushed.contains(&contact("romeo", "romeo")), "{pushed}");
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    assert!(roster(&mut romeo).contains(&contact("nurse", "nurse")));
    has_the_room(&mut romeo, "romeo", "member");
    let status = ok(&dir, &["status"], "");
    assert!(
        status.contains("house        Example: who comes is everybody's contact; the room everybody is for all"),
        "{status}"
    );
    drop(romeo);
    ok(&dir, &["user", "remove", "romeo"], "");
    let pushed = until(&mut nurse, "subscription='remove'");
    assert!(pushed.contains("romeo@example.org"), "{pushed}");
    assert!(server.stop().success());
    // Made by command, while nothing runs: what that has not done itself is done at the start.
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], &format!("{PASSWORD}\n"));
    let server = Server::start(&dir, &[]);
    server.kill();
    let server = Server::start(&dir, &[]);
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    assert!(roster(&mut juliet).contains(&contact("nurse", "nurse")));
    has_the_room(&mut juliet, "juliet", "member");
    assert!(server.stop().success());
    settings(&dir, "[house]\ncontacts = false\nroom = false\n");
    let server = Server::start(&dir, &[]);
    ok(&dir, &["user", "add", "tybalt", "--password-stdin"], &format!("{PASSWORD}\n"));
    let mut tybalt = login(&server, &dir, "tybalt", PASSWORD);
    assert!(!roster(&mut tybalt).contains("<item"));
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    assert!(roster(&mut juliet).contains(&contact("nurse", "nurse")), "what is there stays");
}

/// The box's clock, from one start to the next.
#[test]
#[cfg(target_os = "linux")]
fn the_time_of_an_invitation_is_over() {
    let places = ["x86_64-linux-gnu", "aarch64-linux-gnu", "arm-linux-gnueabihf"];
    let library = places.map(|place| format!("/usr/lib/{place}/faketime/libfaketime.so.1"));
    let Some(library) = library.iter().find(|path| std::path::Path::new(path).is_file()) else {
        eprintln!("skipped: libfaketime is not installed");
        return;
    };
    let dir = dir();
    let server = Server::start(&dir, &[]);
    let tokens = [invite(&dir, &["--days", "1"]), invite(&dir, &["--days", "3"])].map(|said| token(&said));
    assert!(server.stop().success());
    let data = dir.data();
    let mut later = command(&dir, &["serve", "--data", data.to_str().unwrap()]);
    later.env("LD_PRELOAD", library).envs([
        ("FAKETIME", "+2d"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ]);
    let server = Server::of(later);
    is_unknown(&take(&server, &dir, &tokens[0], "juliet"));
    is_result(&take(&server, &dir, &tokens[1], "juliet"));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_spends_no_invitation() {
    let Some(disk) = common::disk::Disk::new("24m") else {
        eprintln!("no file system of its own: left out");
        return;
    };
    settings(&disk.dir, "");
    let server = Server::start(&disk.dir, &[]);
    let token = token(&invite(&disk.dir, &[]));
    let (mut stream, told) = preauth(&server, &disk.dir, &token);
    is_result(&told);
    disk.fill();
    // What was handed over last finds the disk full.
    let told = register(&mut stream, "juliet");
    assert!(told.contains("<resource-constraint") && told.contains("type='wait'"), "{told}");
    let said = run(&disk.dir, &["invite", "--data", disk.dir.data().to_str().unwrap()], "");
    assert!(said.code == 1 && said.err.contains("full or failing"), "{}{}", said.out, said.err);
    disk.make_room();
    server.logs("can be written again");
    server.kill();
    // Either it was made up for, or the token is good as it was.
    let server = Server::start(&disk.dir, &[]);
    let made = ok(&disk.dir, &["user", "list"], "") == "juliet@example.org\n";
    let told = take(&server, &disk.dir, &token, "juliet");
    if made {
        is_unknown(&told)
    } else {
        is_result(&told)
    }
    drop(login(&server, &disk.dir, "juliet", PASSWORD));
}
