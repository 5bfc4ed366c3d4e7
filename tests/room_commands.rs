//! The command `room`, with the server running and without: what the owner of the box sees of rooms, and can do to them.

#![allow(clippy::unwrap_used)]

mod common;

use common::binary::{Dir, Server, Tls, fails, login, ok, until};
use std::io::Write;

const PASSWORD: &str = "wherefore art thou";
const SETTINGS: &str = "plain = true\nscram_iterations = 4096";

/// A server with these accounts.
fn house(names: &[&str]) -> (Dir, Server) {
    let dir = Dir::with(SETTINGS);
    let server = Server::start(&dir, &["--domain", "example.org"]);
    for name in names {
        ok(&dir, &["user", "add", name, "--password-stdin"], &format!("{PASSWORD}\n"));
    }
    (dir, server)
}

/// Sends an IQ and waits for its answer, which must be a result.
fn ask(session: &mut Tls, to: &str, inner: &str) {
    session.write_all(format!("<iq type='set' id='ask' to='{to}'>{inner}</iq>").as_bytes()).unwrap();
    let said = until(session, "id='ask'");
    let answer = said.rsplit("<iq ").next().unwrap();
    assert!(answer.contains("type='result'"), "{inner}: {answer}");
}

/// Makes a room, with what is to be said to it.
fn room(session: &mut Tls, name: &str, nick: &str, fields: &[(&str, &str)]) {
    let at = format!("{name}@conference.example.org");
    let join = format!("<presence to='{at}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    session.write_all(join.as_bytes()).unwrap();
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>")).collect();
    let form = "<field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>";
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{form}{fields}</x>");
    ask(session, &at, &format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>"));
}

fn affiliation(session: &mut Tls, name: &str, who: &str, what: &str) {
    let item = format!("<item jid='{who}@example.org' affiliation='{what}'/>");
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
    ask(session, &format!("{name}@conference.example.org"), &query);
}

#[test]
fn rooms_are_listed_given_and_removed() {
    let (dir, server) = house(&["juliet", "romeo", "nurse"]);
    assert_eq!(ok(&dir, &["room", "list"], ""), "");
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    room(&mut romeo, "garden", "Romeo", &[("muc#roomconfig_roomname", "The garden")]);
    affiliation(&mut romeo, "garden", "juliet", "member");
    room(&mut romeo, "lobby", "Romeo", &[("muc#roomconfig_membersonly", "0")]);
    let garden = "garden@conference.example.org  group, 2 members, owned by romeo@example.org, \"The garden\"\n";
    let lobby = "lobby@conference.example.org  channel, 1 member, owned by romeo@example.org\n";
    let check = |step: &str| {
        assert_eq!(ok(&dir, &["room", "list"], ""), format!("{garden}{lobby}"), "{step}");
        for (words, why) in [
            (["room", "owner", "garden", "tybalt"], "there is no tybalt@example.org"),
            (["room", "owner", "garden", "romeo@example.net"], "not an address of example.org"),
            (["room", "owner", "attic", "romeo"], "there is no room attic@conference.example.org"),
            (["room", "owner", "garden@example.org", "romeo"], "NAME@conference.example.org"),
        ] {
            let error = fails(&dir, &words, "");
            assert!(error.contains(why), "{step}: {error}");
        }
        assert!(fails(&dir, &["room", "remove", "attic"], "").contains("there is no room"), "{step}");
    };
    check("with a server");
    drop(romeo);
    assert!(server.stop().success());
    check("without");
    // Given without a server, and known to the next one.
    let said = ok(&dir, &["room", "owner", "lobby", "nurse"], "");
    assert_eq!(said, "nurse@example.org is an owner of lobby@conference.example.org from now on\n");
    assert!(ok(&dir, &["room", "owner", "lobby", "nurse"], "").contains("already"));
    let server = Server::start(&dir, &[]);
    assert!(ok(&dir, &["room", "list"], "").contains("owned by nurse@example.org, romeo@example.org\n"));
    let mut nurse = login(&server, &dir, "nurse", PASSWORD);
    affiliation(&mut nurse, "lobby", "romeo", "none");
    // Given with a server: who is there hears of it at once.
    let mut juliet = login(&server, &dir, "juliet", PASSWORD);
    let join = "<presence to='garden@conference.example.org/J'><x xmlns='http://jabber.org/protocol/muc'/></presence>";
    juliet.write_all(join.as_bytes()).unwrap();
    until(&mut juliet, "<subject");
    ok(&dir, &["room", "owner", "garden@conference.example.org", "juliet"], "");
    until(&mut juliet, "affiliation='owner' role='moderator'");
    affiliation(&mut juliet, "garden", "nurse", "admin");
    // Removed, with a server and without.
    assert_eq!(ok(&dir, &["room", "remove", "garden"], ""), "removed garden@conference.example.org\n");
    until(&mut juliet, "<destroy>");
    assert!(server.stop().success());
    assert_eq!(ok(&dir, &["room", "remove", "lobby"], ""), "removed lobby@conference.example.org\n");
    assert_eq!(ok(&dir, &["room", "list"], ""), "");
    let server = Server::start(&dir, &[]);
    assert_eq!(ok(&dir, &["room", "list"], ""), "");
    assert!(server.stop().success());
}

fn stopped(server: Server) -> Option<Server> {
    assert!(server.stop().success());
    None
}

/// Whoever removes an account hears what went with it, and who has what it had.
#[test]
fn what_becomes_of_rooms_is_told() {
    for runs in [true, false] {
        let (dir, server) = house(&["juliet", "romeo"]);
        let mut romeo = login(&server, &dir, "romeo", PASSWORD);
        for name in ["diary", "lobby", "shared", "tea"] {
            room(&mut romeo, name, "Romeo", &[]);
        }
        affiliation(&mut romeo, "tea", "juliet", "member");
        affiliation(&mut romeo, "shared", "juliet", "owner");
        // Nobody has that name, so nobody follows.
        affiliation(&mut romeo, "lobby", "tybalt", "admin");
        drop(romeo);
        let server = if runs { Some(server) } else { stopped(server) };
        let said = ok(&dir, &["user", "remove", "romeo"], "");
        let told = [
            "diary@conference.example.org is gone with all that was said: nobody else was in it",
            "lobby@conference.example.org has no owner any more: `inglenook room owner lobby NAME` makes somebody one",
            "tea@conference.example.org is owned by juliet@example.org now",
        ];
        assert_eq!(said, format!("removed romeo@example.org\n{}\n", told.join("\n")));
        if let Some(server) = &server {
            server.logs("removed romeo@example.org, as the owner wants");
            told.iter().for_each(|line| assert!(server.logs(line).ends_with(line)));
        }
        assert_eq!(ok(&dir, &["user", "remove", "juliet"], "").lines().count(), 3, "both that are left go");
        assert_eq!(ok(&dir, &["user", "list"], ""), "");
    }
}

/// Who removes the own account hears nothing of it; the log does.
#[test]
fn what_becomes_of_rooms_is_logged_where_nobody_asked() {
    let (dir, server) = house(&["juliet", "romeo"]);
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    room(&mut romeo, "diary", "Romeo", &[]);
    romeo.write_all(b"<iq type='set' id='bye'><query xmlns='jabber:iq:register'><remove/></query></iq>").unwrap();
    until(&mut romeo, "id='bye'");
    server.logs("diary@conference.example.org is gone with all that was said");
    assert!(server.stop().success());
}

#[test]
fn a_room_without_an_owner_is_flagged() {
    let (dir, server) = house(&["juliet", "romeo"]);
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    room(&mut romeo, "lobby", "Romeo", &[("muc#roomconfig_membersonly", "0")]);
    // Nobody has that name, so nobody follows.
    affiliation(&mut romeo, "lobby", "tybalt", "admin");
    assert!(server.stop().success());
    ok(&dir, &["user", "remove", "romeo"], "");
    let list = ok(&dir, &["room", "list"], "");
    assert!(list.contains("1 member, NO OWNER (make somebody one: inglenook room owner lobby NAME)"), "{list}");
    ok(&dir, &["room", "owner", "lobby", "juliet"], "");
    assert!(ok(&dir, &["room", "list"], "").contains("2 members, owned by juliet@example.org\n"));
}

/// An account that is made later with a name that was promised something gets that; one that had it before does not.
#[test]
fn who_has_a_name_again_owns_nothing() {
    let (dir, server) = house(&["juliet", "romeo"]);
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    room(&mut romeo, "garden", "Romeo", &[]);
    affiliation(&mut romeo, "garden", "juliet", "admin");
    drop(romeo);
    ok(&dir, &["user", "remove", "romeo"], "");
    ok(&dir, &["user", "add", "romeo"], "");
    let owned = "garden@conference.example.org  group, 1 member, owned by juliet@example.org\n";
    assert_eq!(ok(&dir, &["room", "list"], ""), owned);
    assert!(server.stop().success());
    assert_eq!(ok(&dir, &["room", "list"], ""), owned);
}

/// Who administers the server owns every room, from a reload to a reload.
#[test]
fn who_administers_no_more_is_what_the_room_says() {
    let (dir, server) = house(&["nurse", "romeo"]);
    let reload = |more: &str| {
        dir.settings(&format!("{SETTINGS}\n{more}"));
        server.signal(rustix::process::Signal::HUP);
        server.logs("reloaded the settings");
    };
    let mut romeo = login(&server, &dir, "romeo", PASSWORD);
    room(&mut romeo, "garden", "Romeo", &[]);
    let mut nurse = login(&server, &dir, "nurse", PASSWORD);
    let join = b"<presence to='garden@conference.example.org/N'><x xmlns='http://jabber.org/protocol/muc'/></presence>";
    nurse.write_all(join).unwrap();
    until(&mut nurse, "<registration-required");
    reload("admins = [\"nurse@example.org\"]");
    nurse.write_all(join).unwrap();
    until(&mut nurse, "<status code='110'/>");
    assert!(ok(&dir, &["room", "list"], "").contains("1 member, owned by romeo@example.org"), "on no list");
    reload("");
    // From the next thing on that happens in a room.
    let message = "<message type='groupchat' to='garden@conference.example.org'><body>But soft</body></message>";
    romeo.write_all(message.as_bytes()).unwrap();
    let said = until(&mut nurse, "<status code='321'/>");
    assert!(said.contains("type='unavailable'") && !said.contains("But soft"), "{said}");
    assert!(server.stop().success());
}
