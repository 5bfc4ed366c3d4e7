//! What everybody in the house has: each other, and a room. What clients see at once is in plays (`house-*.scs`).
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::{Command, Given, HOUSE_CONTACTS, Input, Settings, WantedInvitation, token_digest};
use inglenook::store::{Batch, Engine, Query, Tree, key};
use inglenook::wire::Jid;
use inglenook::wire::scram::Credentials;

const ROOM: &str = "everybody@conference.house.test";

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn given(given: Given) -> impl Fn(&mut Settings) {
    move |s| {
        s.household.name = "The house".into();
        (s.household.contacts, s.household.room) = (given, given);
        s.household.room_local = "everybody".into();
    }
}

fn new_house() -> House {
    House::with(given(Given::InNewHouses))
}

fn add(house: &mut House, names: &[&str]) {
    for name in names {
        house.account(&format!("{name}@house.test"));
    }
    house.settle();
}

/// Who is in somebody's roster, with name and groups, and the subscription if it is not both ways.
fn contacts(house: &House, local: &str) -> Vec<String> {
    let roster = &house.state().account_of(local).unwrap().roster;
    let all = roster.items.iter().map(|(jid, item)| {
        let name = item.name.as_deref().unwrap_or_default();
        let state = Some(item.state.as_str()).filter(|state| *state != "both");
        let state = state.map_or(String::new(), |state| format!(" {state}"));
        format!("{} {name} [{}]{state}", jid.local().unwrap(), item.groups.join(", "))
    });
    all.collect()
}

fn of_house(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| format!("{name} {name} [The house]")).collect()
}

/// What is answered to a request of somebody who comes for it.
fn ask(house: &mut House, name: &str, iq: &str) -> String {
    let sid = house.login(&format!("{name}@house.test/asks"));
    house.send(sid, iq);
    house.settle();
    let answer = house.receive_all(sid).concat();
    house.cut(sid);
    answer
}

fn bookmarks(house: &mut House, name: &str) -> String {
    let items = "<pubsub xmlns='http://jabber.org/protocol/pubsub'><items node='urn:xmpp:bookmarks:1'/></pubsub>";
    ask(house, name, &format!("<iq type='get' id='b'>{items}</iq>"))
}

/// What somebody is to the room, as who enters it is told.
fn affiliation(house: &mut House, name: &str) -> String {
    let told = ask(
        house,
        name,
        &format!("<presence to='{ROOM}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
    );
    let found = told.rsplit_once("affiliation='").map(|(_, rest)| rest.split('\'').next().unwrap().to_owned());
    found.unwrap_or_else(|| format!("refused: {told}"))
}

/// A server that begins hears something at once.
fn wake(house: &mut House) {
    house.input(Input::Tick);
    house.pass(60_000);
    house.settle();
}

fn remove(house: &mut House, name: &str) {
    house.command(Command::UserRemove(jid(&format!("{name}@house.test"))));
    house.settle();
    assert!(matches!(house.told.pop(), Some(Ok(_))));
}

#[test]
fn everybody_knows_everybody_and_has_the_room() {
    let mut house = new_house();
    add(&mut house, &["juliet", "nurse"]);
    house.command(Command::Invite(Box::new(WantedInvitation::new(token_digest("abc")))));
    assert!(house.take("abc", "romeo").unwrap().is_ok());
    house.power_cut();
    let told = "The house: who comes is everybody's contact; the room everybody is for all";
    assert_eq!(house.state().house_told(), told);
    assert_eq!(contacts(&house, "juliet"), of_house(&["nurse", "romeo"]));
    assert_eq!(contacts(&house, "romeo"), of_house(&["juliet", "nurse"]));
    assert_eq!(contacts(&house, "nurse"), of_house(&["juliet", "romeo"]));
    for name in ["juliet", "nurse", "romeo"] {
        let has = bookmarks(&mut house, name);
        for part in [ROOM, "autojoin='true'", "name='The house'"] {
            assert!(has.contains(part), "{name}, {part}: {has}");
        }
        assert_eq!(affiliation(&mut house, name), "member");
    }
}

#[test]
fn administrators_own_the_room_and_nobody_inherits_it() {
    let mut house = House::with(|s| {
        given(Given::InNewHouses)(s);
        s.admins = vec![jid("nurse@house.test")];
    });
    add(&mut house, &["nurse", "juliet"]);
    assert_eq!(affiliation(&mut house, "nurse"), "owner");
    remove(&mut house, "nurse");
    assert_eq!(affiliation(&mut house, "juliet"), "member");
    house.command(Command::RoomList);
    let rooms = house.told.pop().unwrap().unwrap();
    assert!(rooms[0].contains("owned by who administers the server") && rooms[0].contains("1 member"), "{rooms:?}");
    // Also of nobody it is there for whoever comes, and what was said there is.
    remove(&mut house, "juliet");
    house.restart();
    add(&mut house, &["romeo"]);
    assert_eq!(affiliation(&mut house, "romeo"), "member");
}

#[test]
fn who_goes_is_gone_from_the_rosters_and_from_the_room() {
    let mut house = new_house();
    add(&mut house, &["juliet", "nurse", "romeo"]);
    // Who has put somebody there by themselves keeps them.
    ask(
        &mut house,
        "nurse",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='tybalt@house.test'/></query></iq>",
    );
    add(&mut house, &["tybalt"]);
    remove(&mut house, "romeo");
    remove(&mut house, "tybalt");
    assert_eq!(contacts(&house, "juliet"), of_house(&["nurse"]));
    assert_eq!(contacts(&house, "nurse"), [of_house(&["juliet"])[0].as_str(), "tybalt tybalt [The house] none"]);
    add(&mut house, &["romeo"]);
    assert_eq!(contacts(&house, "romeo"), of_house(&["juliet", "nurse"]), "whoever has the name next is somebody new");
}

#[test]
fn what_somebody_removes_or_renames_stays_so() {
    let mut house = new_house();
    add(&mut house, &["juliet", "nurse", "romeo"]);
    let set = |item: &str| format!("<iq type='set' id='1'><query xmlns='jabber:iq:roster'>{item}</query></iq>");
    ask(&mut house, "juliet", &set("<item jid='nurse@house.test' subscription='remove'/>"));
    ask(&mut house, "juliet", &set("<item jid='romeo@house.test' name='My Romeo'><group>Love</group></item>"));
    ask(
        &mut house,
        "juliet",
        &format!(
            "<iq type='set' id='r'><pubsub xmlns='http://jabber.org/protocol/pubsub'><retract node='urn:xmpp:bookmarks:1'>\
             <item id='{ROOM}'/></retract></pubsub></iq>"
        ),
    );
    for _ in 0..2 {
        assert_eq!(contacts(&house, "juliet"), ["romeo My Romeo [Love]"]);
        assert!(!bookmarks(&mut house, "juliet").contains(ROOM));
        house.restart();
        house.pass(3_600_000);
    }
    add(&mut house, &["tybalt"]);
    assert_eq!(contacts(&house, "juliet"), ["romeo My Romeo [Love]", "tybalt tybalt [The house]"]);
    assert!(contacts(&house, "nurse").contains(&"juliet juliet [The house] none".to_owned()), "as after any removal");
}

/// At each point where the power can fail: either there is no account, or it has all.
#[test]
fn what_a_power_cut_interrupts_goes_on() {
    const OTHERS: usize = 40;
    let mut seen = (0, 0);
    for steps in 0.. {
        let mut house = new_house();
        let others: Vec<String> = (0..OTHERS).map(|n| format!("p{n:02}")).collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        add(&mut house, &others);
        house.hold = true;
        let keys = Credentials::derive("juliet", b"salt of the tests", 4096).unwrap();
        house.command(Command::UserAdd(jid("juliet@house.test"), keys));
        let stored = (0..steps).take_while(|_| house.store_one()).count();
        house.power_cut();
        wake(&mut house);
        if house.state().account_of("juliet").is_none() {
            seen.0 += 1;
        } else {
            seen.1 += 1;
            assert_eq!(contacts(&house, "juliet"), of_house(&others), "{steps}");
            for other in &others {
                assert!(contacts(&house, other).contains(&of_house(&["juliet"])[0]), "{steps} {other}");
            }
            assert!(bookmarks(&mut house, "juliet").contains(ROOM), "{steps}");
            assert_eq!(affiliation(&mut house, "juliet"), "member", "{steps}");
        }
        if stored < steps {
            break;
        }
    }
    assert!(seen.0 >= 1 && seen.1 > 4, "several batches: {seen:?}");
}

/// Storage that fails in between is no reason to leave somebody out, or to keep somebody who is not there.
#[test]
fn storage_that_fails_in_between_is_waited_for() {
    let mut house = new_house();
    add(&mut house, &["nurse", "romeo"]);
    house.hold = true;
    let keys = || Credentials::derive("juliet", b"salt of the tests", 4096).unwrap();
    house.command(Command::UserAdd(jid("juliet@house.test"), keys()));
    house.set_full(true);
    assert!(house.told.pop().unwrap().is_err(), "it is taken back");
    house.set_full(false);
    house.release();
    assert_eq!(contacts(&house, "nurse"), of_house(&["romeo"]));
    let notes = Query::Scan { tree: Tree::House, prefix: Box::default(), after: None, rows: 10, bytes: usize::MAX };
    assert!(
        house.disk().query(&notes).unwrap().is_empty(),
        "nothing is left of who was never there, nor of who has all"
    );
    // Behind the account the disk is full.
    house.hold = true;
    house.command(Command::UserAdd(jid("juliet@house.test"), keys()));
    house.set_disk_full(true);
    house.release();
    assert!(matches!(house.told.pop(), Some(Ok(_))));
    assert_eq!(contacts(&house, "nurse"), of_house(&["romeo"]));
    house.set_disk_full(false);
    house.pass(11 * 60_000);
    house.settle();
    assert_eq!(contacts(&house, "nurse"), of_house(&["juliet", "romeo"]));
    assert!(bookmarks(&mut house, "juliet").contains(ROOM));
}

#[test]
fn a_house_that_had_accounts_is_not_surprised() {
    let mut house = House::new();
    add(&mut house, &["juliet", "nurse", "romeo"]);
    ask(
        &mut house,
        "juliet",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='romeo@house.test' name='R'/></query></iq>",
    );
    house.restart_with(given(Given::InNewHouses));
    add(&mut house, &["tybalt"]);
    wake(&mut house);
    assert_eq!((contacts(&house, "nurse"), contacts(&house, "tybalt")), (vec![], vec![]));
    let told = house.state().house_told();
    assert!(told.contains("`contacts = true`") && told.contains("`room = \"everybody\"`"), "{told}");
    assert!(!bookmarks(&mut house, "tybalt").contains(ROOM));
    // Whoever says so in the settings wants it, for all, once; with the names that older versions have not noted.
    let mut older = Batch::default();
    older.put(Tree::Vcard, key::account("tybalt"), *b"<vCard xmlns='vcard-temp'><FN>Tybalt C.</FN></vCard>");
    house.disk().commit(&[older]).unwrap();
    house.restart_with(given(Given::Everywhere));
    wake(&mut house);
    assert_eq!(
        contacts(&house, "nurse"),
        ["juliet juliet [The house]", "romeo romeo [The house]", "tybalt Tybalt C. [The house]"]
    );
    assert_eq!(
        contacts(&house, "juliet"),
        ["nurse nurse [The house]", "romeo R [The house]", "tybalt Tybalt C. [The house]"]
    );
    for name in ["juliet", "nurse", "romeo", "tybalt"] {
        assert!(bookmarks(&mut house, name).contains(ROOM), "{name}");
        assert_eq!(affiliation(&mut house, name), "member");
    }
    ask(
        &mut house,
        "nurse",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='romeo@house.test' subscription='remove'/></query></iq>",
    );
    house.restart();
    wake(&mut house);
    assert_eq!(contacts(&house, "nurse"), ["juliet juliet [The house]", "tybalt Tybalt C. [The house]"], "once");
}

#[test]
fn each_can_be_turned_off() {
    let mut house = House::with(|s| {
        given(Given::InNewHouses)(s);
        s.household.room = Given::Nowhere;
    });
    add(&mut house, &["juliet", "nurse"]);
    assert_eq!(contacts(&house, "juliet"), of_house(&["nurse"]));
    assert!(!bookmarks(&mut house, "juliet").contains(ROOM));
    let mut house = House::with(|s| {
        given(Given::InNewHouses)(s);
        s.household.contacts = Given::Nowhere;
    });
    add(&mut house, &["juliet", "nurse"]);
    assert_eq!(contacts(&house, "juliet"), [""; 0]);
    assert!(bookmarks(&mut house, "juliet").contains(ROOM));
    house.restart_with(|s| s.household.room = Given::Nowhere);
    add(&mut house, &["romeo"]);
    assert!(!bookmarks(&mut house, "romeo").contains(ROOM));
    assert_eq!(affiliation(&mut house, "juliet"), "member", "what is there stays");
}

#[test]
fn a_large_house_has_a_limit() {
    let mut house = House::with(|s| {
        given(Given::InNewHouses)(s);
        s.household.room = Given::Nowhere;
    });
    for n in 0..HOUSE_CONTACTS {
        house.account(&format!("p{n:03}@house.test"));
    }
    assert!(!house.state().house_is_large());
    assert_eq!(contacts(&house, "p000").len(), HOUSE_CONTACTS - 1);
    add(&mut house, &["juliet"]);
    assert!(house.state().house_is_large());
    let told =
        "The house: there are more than 200 people: who comes is nobody's contact by itself; there is no room for all";
    assert_eq!(house.state().house_told(), told);
    assert_eq!((contacts(&house, "juliet").len(), contacts(&house, "p000").len()), (0, HOUSE_CONTACTS - 1));
}

#[test]
fn whom_somebody_blocks_is_not_given_to_them() {
    let mut house = new_house();
    add(&mut house, &["nurse", "romeo"]);
    ask(
        &mut house,
        "nurse",
        "<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'><item jid='tybalt@house.test'/></block></iq>",
    );
    add(&mut house, &["tybalt"]);
    assert_eq!(contacts(&house, "nurse"), of_house(&["romeo"]));
    assert_eq!(contacts(&house, "tybalt"), of_house(&["romeo"]));
}

#[test]
fn a_room_that_was_ended_stays_ended_and_one_of_somebody_else_is_theirs() {
    let mut house = new_house();
    add(&mut house, &["juliet"]);
    house.command(Command::RoomRemove(jid(ROOM)));
    add(&mut house, &["nurse"]);
    house.restart();
    add(&mut house, &["romeo"]);
    assert!(!bookmarks(&mut house, "romeo").contains(ROOM));
    // Somebody takes the name: that is a room like others.
    assert_eq!(affiliation(&mut house, "romeo"), "owner");
    house.restart_with(|s| s.household.room_local = "hall".into());
    add(&mut house, &["tybalt"]);
    assert!(bookmarks(&mut house, "tybalt").contains("hall@conference.house.test"), "another name is another room");
}

#[test]
fn they_are_called_as_they_call_themselves() {
    let mut house = new_house();
    add(&mut house, &["juliet", "nurse"]);
    let vcard = |inner: &str| format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'>{inner}</vCard></iq>");
    ask(
        &mut house,
        "nurse",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='juliet@house.test' name='Child'><group>The house</group></item></query></iq>",
    );
    ask(&mut house, "juliet", &vcard("<FN>\n Juliet  Capulet</FN><NICKNAME>Jule</NICKNAME>"));
    add(&mut house, &["romeo"]);
    assert_eq!(contacts(&house, "romeo"), ["juliet Juliet Capulet [The house]", "nurse nurse [The house]"]);
    assert_eq!(contacts(&house, "nurse")[0], "juliet Child [The house]", "who has another name for somebody keeps it");
    ask(&mut house, "juliet", &vcard("<NICKNAME>Jule</NICKNAME>"));
    house.restart();
    assert_eq!(contacts(&house, "romeo")[0], "juliet Jule [The house]");
    ask(&mut house, "juliet", &vcard("<PHOTO/>"));
    assert_eq!(contacts(&house, "romeo")[0], "juliet Jule [The house]", "a picture alone says nothing of that");
    // XEP-0172 §4.1
    let nick = |name: &str| {
        format!(
            "<iq type='set' id='n'><pubsub xmlns='http://jabber.org/protocol/pubsub'>\
             <publish node='http://jabber.org/protocol/nick'><item><nick xmlns='http://jabber.org/protocol/nick'>{name}</nick>\
             </item></publish></pubsub></iq>"
        )
    };
    for name in ["Ju", "Julie"] {
        ask(&mut house, "juliet", &nick(name));
        assert_eq!(contacts(&house, "romeo")[0], format!("juliet {name} [The house]"));
    }
    ask(&mut house, "juliet", &nick("  "));
    assert_eq!(contacts(&house, "romeo")[0], "juliet Julie [The house]");
    ask(&mut house, "juliet", &vcard(&format!("<FN>{}</FN>", "ü".repeat(1000))));
    let name = contacts(&house, "romeo")[0].clone();
    assert_eq!(name.chars().filter(|c| *c == 'ü').count(), 64, "a name has its limit");
    let names = |house: &mut House| {
        let all = (0..30).filter(|n| {
            ask(house, "juliet", &vcard(&format!("<FN>J{n}</FN>")));
            contacts(house, "romeo")[0] == format!("juliet J{n} [The house]")
        });
        all.count()
    };
    assert!(names(&mut house) < 10, "everybody is told, and that is not often");
    house.pass(10 * 60_000);
    assert_eq!(names(&mut house), 1);
}
