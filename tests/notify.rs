//! Notifications in the core: what is answered with an id is stored and arrives, in a room or at a person; what is not, is not said.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::{
    Command, Federates, Input, Job, NOTIFIERS, NotifyRefusal, StreamId, WantedNotifier, token_digest,
};
use inglenook::wire::Jid;

const GARDEN: &str = "garden@conference.house.test";
const JULIET: &str = "juliet@house.test";

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

/// One that talks to all other servers.
fn open_house() -> House {
    House::with(|settings| settings.federation.with = Federates::Everybody)
}

/// What the owner is told who wants another notifier.
fn wants(house: &mut House, to: &str, from: Option<&str>, token: &str) -> Result<Vec<String>, String> {
    let digest = token_digest(token);
    house.command(Command::NotifierAdd(WantedNotifier { name: None, to: jid(to), from: from.map(jid), digest }));
    house.told.pop().unwrap()
}

fn list(house: &mut House) -> Vec<String> {
    house.command(Command::NotifierList);
    house.told.pop().unwrap().unwrap()
}

fn begin(house: &mut House, token: &str, text: &str) {
    house.input(Input::Notify(Job(7), token_digest(token), text.into()));
}

fn notify(house: &mut House, token: &str, text: &str) -> Result<String, NotifyRefusal> {
    begin(house, token, text);
    assert_eq!(house.notified.len(), 1, "each has one answer");
    house.notified.pop().unwrap()
}

/// A room, made by somebody who stays in it.
fn room(house: &mut House, sid: StreamId, fields: &str) {
    house.send(sid, &format!("<presence to='{GARDEN}/maker'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    house.send(
        sid,
        &format!(
            "<iq type='set' id='room' to='{GARDEN}'><query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' \
             type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{fields}</x></query></iq>"
        ),
    );
    house.settle();
    assert!(house.receive_all(sid).iter().any(|said| said.contains("type='result' id='room'")));
}

fn destroy(house: &mut House) {
    house.command(Command::RoomRemove(jid(GARDEN)));
    house.told.pop().unwrap().unwrap();
}

/// The messages that somebody got.
fn messages(house: &mut House, sid: StreamId) -> Vec<String> {
    house.receive_all(sid).into_iter().filter(|said| said.starts_with("<message")).collect()
}

fn body(text: &str) -> String {
    format!("<body>{text}</body>")
}

#[test]
fn a_room_says_it_itself_and_the_answer_waits_for_the_disk() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    room(&mut house, romeo, "");
    wants(&mut house, GARDEN, None, "secret").unwrap();
    house.hold = true;
    begin(&mut house, "secret", "disk <full> & \0 hot");
    let said = messages(&mut house, romeo);
    assert_eq!(said.len(), 1, "who is there need not wait");
    assert!(said[0].contains(&body("disk &lt;full&gt; &amp; \u{fffd} hot")), "{said:?}");
    assert!(said[0].contains(&format!("from='{GARDEN}'")) && said[0].contains("type='groupchat'"), "{said:?}");
    assert!(said[0].contains(&format!("by='{GARDEN}'")) && said[0].contains("<stanza-id"), "{said:?}");
    assert!(house.notified.is_empty());
    house.release();
    let id = house.notified.pop().unwrap().unwrap();
    assert!(said[0].contains(&format!("id='{id}'")));
    house.power_cut();
    let romeo = house.login("romeo@house.test/orchard");
    house.send(romeo, &format!("<presence to='{GARDEN}/r'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    house.settle();
    let history = messages(&mut house, romeo);
    assert!(history.iter().any(|said| said.contains("disk &lt;full&gt;") && said.contains("<delay")), "{history:?}");
}

#[test]
fn nobody_else_speaks_as_the_room() {
    let mut house = open_house();
    let romeo = house.login("romeo@house.test/orchard");
    room(&mut house, romeo, "");
    let other = house.login("iago@house.test/x");
    house.send(
        other,
        &format!("<message type='groupchat' from='{GARDEN}' to='{GARDEN}' id='x'><body>a</body></message>"),
    );
    assert!(house.is_closed(other), "it claims to be somebody else");
    let server = house.server("office.test", "conference.house.test");
    let forged = format!("<message type='groupchat' from='{GARDEN}' to='{GARDEN}' id='x'><body>a</body></message>");
    house.send(server, &forged);
    assert!(messages(&mut house, romeo).is_empty());
}

#[test]
fn a_person_gets_it_now_or_later() {
    let mut house = House::new();
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<presence/>");
    house.account("nurse@house.test");
    wants(&mut house, JULIET, None, "of the server").unwrap();
    wants(&mut house, JULIET, Some("nurse@house.test"), "of the nurse").unwrap();
    house.receive_all(juliet);
    for (token, from) in [("of the server", "house.test"), ("of the nurse", "nurse@house.test")] {
        notify(&mut house, token, "hello").unwrap();
        let said = messages(&mut house, juliet);
        assert!(said[0].contains(&format!("from='{from}'")) && said[0].contains("type='chat'"), "{said:?}");
        assert!(said[0].contains(&body("hello")) && said.len() == 1, "{said:?}");
    }
    house.cut(juliet);
    notify(&mut house, "of the nurse", "while you were out").unwrap();
    house.power_cut();
    assert_eq!(list(&mut house), ["juliet  juliet@house.test", "juliet-2  juliet@house.test  from nurse@house.test"]);
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<presence/>");
    let said = messages(&mut house, juliet);
    assert!(said[0].contains("while you were out") && said.len() == 1, "{said:?}");
}

#[test]
fn somebody_elsewhere_gets_it_from_the_log() {
    let mut house = open_house();
    house.has_neighbours = true;
    house.account(JULIET);
    wants(&mut house, "benvolio@office.test", Some(JULIET), "secret").unwrap();
    house.hold = true;
    begin(&mut house, "secret", "to another house");
    assert!(house.notified.is_empty());
    house.release();
    assert!(house.notified.pop().unwrap().is_ok() && house.is_logged("to another house"));
}

#[test]
fn what_is_not_stored_is_not_promised() {
    let mut house = House::with(|settings| settings.offline_bytes = 700);
    let romeo = house.login("romeo@house.test/orchard");
    house.account(JULIET);
    room(&mut house, romeo, "");
    wants(&mut house, GARDEN, None, "room").unwrap();
    wants(&mut house, JULIET, None, "juliet").unwrap();
    let not_stored = |answer: Result<String, NotifyRefusal>| matches!(answer, Err(NotifyRefusal::NotStored(_)));
    house.set_disk_full(true);
    assert!(not_stored(notify(&mut house, "room", "x")) && not_stored(notify(&mut house, "juliet", "x")));
    house.set_disk_full(false);
    assert!(messages(&mut house, romeo).is_empty(), "nobody hears what the sender will say again");
    // Storage fails while it is on its way.
    house.hold = true;
    begin(&mut house, "room", "said");
    house.set_full(true);
    assert!(not_stored(house.notified.pop().unwrap()));
    house.hold = false;
    house.set_full(false);
    assert!(house.notified.is_empty(), "it has its answer");
    // There is no room for it where it is to wait.
    let answer = notify(&mut house, "juliet", &"x".repeat(800));
    assert!(matches!(answer, Err(NotifyRefusal::Refused(_))), "{answer:?}");
    notify(&mut house, "juliet", "short").unwrap();
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='house.test'/></block></iq>");
    let answer = notify(&mut house, "juliet", "x");
    assert!(matches!(answer, Err(NotifyRefusal::Refused(_))), "{answer:?}");
}

/// Whoever has the name of a room or an account next is somebody else.
#[test]
fn who_is_gone_is_told_nothing() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    house.account(JULIET);
    house.account("nurse@house.test");
    room(&mut house, romeo, "");
    wants(&mut house, GARDEN, None, "room").unwrap();
    wants(&mut house, JULIET, None, "juliet").unwrap();
    wants(&mut house, "romeo@house.test", Some("nurse@house.test"), "nurse").unwrap();
    destroy(&mut house);
    for gone in [JULIET, "nurse@house.test"] {
        house.command(Command::UserRemove(jid(gone)));
        house.told.pop().unwrap().unwrap();
        house.account(gone);
    }
    room(&mut house, romeo, "");
    house.receive_all(romeo);
    for _ in 0..2 {
        for token in ["room", "juliet", "nurse"] {
            assert_eq!(notify(&mut house, token, "x"), Err(NotifyRefusal::Gone), "{token}");
        }
        assert_eq!(list(&mut house).iter().filter(|line| line.contains("GONE")).count(), 3);
        house.restart();
    }
    house.command(Command::NotifierRemove("garden".into()));
    assert!(house.told.pop().unwrap().is_ok());
    house.command(Command::NotifierRemove("garden".into()));
    assert!(house.told.pop().unwrap().unwrap_err().contains("notify list"));
    assert_eq!(notify(&mut house, "room", "x"), Err(NotifyRefusal::Unknown));
    house.power_cut();
    assert_eq!(notify(&mut house, "room", "x"), Err(NotifyRefusal::Unknown));
    wants(&mut house, GARDEN, None, "again").unwrap();
    notify(&mut house, "again", "x").unwrap();
}

/// A room that is not stored is gone after a restart without being removed.
#[test]
fn a_room_that_ends_with_the_server_is_gone() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    room(&mut house, romeo, "");
    wants(&mut house, GARDEN, None, "room").unwrap();
    let for_now = "<field var='muc#roomconfig_persistentroom'><value>0</value></field>";
    room(&mut house, romeo, for_now);
    assert!(wants(&mut house, GARDEN, None, "other").unwrap_err().contains("permanent"));
    house.power_cut();
    let romeo = house.login("romeo@house.test/orchard");
    room(&mut house, romeo, "");
    assert_eq!(notify(&mut house, "room", "x"), Err(NotifyRefusal::Gone));
    house.restart();
    assert_eq!(notify(&mut house, "room", "x"), Err(NotifyRefusal::Gone));
}

#[test]
fn what_cannot_be_told_has_no_token() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    house.account(JULIET);
    for (to, from, why) in [
        (GARDEN, None, "room list"),
        ("benvolio@office.test", None, "--from"),
        ("benvolio@office.test", Some("nurse@house.test"), "there is no nurse"),
        ("nurse@house.test", None, "there is no nurse"),
        (JULIET, Some("nurse@house.test"), "there is no nurse"),
        ("x@pubsub.house.test", None, "nobody is at"),
    ] {
        let error = wants(&mut house, to, from, "t").unwrap_err();
        assert!(error.contains(why), "{to}: {error}");
    }
    room(&mut house, romeo, "");
    assert!(wants(&mut house, GARDEN, Some(JULIET), "t").unwrap_err().contains("--from is for people"));
    house.set_full(true);
    assert!(wants(&mut house, GARDEN, None, "t").unwrap_err().contains("full or failing"));
    house.set_full(false);
    assert!(list(&mut house).is_empty());
    for n in 0..NOTIFIERS {
        wants(&mut house, GARDEN, None, &n.to_string()).unwrap();
    }
    assert!(wants(&mut house, GARDEN, None, "t").unwrap_err().contains("notify remove"));
}
