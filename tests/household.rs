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
    let noted: Vec<_> = house.disk().query(&notes).unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(noted, [key::account("nurse"), key::account("romeo")], "nothing is left of who was never there");
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
    for n in 0..HOUSE_CONTACTS - 1 {
        house.account(&format!("p{n:03}@house.test"));
    }
    // The last one that it has room for is not left out for who comes before all is stored.
    house.hold = true;
    for name in ["p199", "romeo"] {
        let keys = Credentials::derive(name, b"salt of the tests", 4096).unwrap();
        house.command(Command::UserAdd(jid(&format!("{name}@house.test")), keys));
    }
    house.release();
    assert_eq!((contacts(&house, "romeo").len(), contacts(&house, "p199").len()), (0, HOUSE_CONTACTS - 1));
    remove(&mut house, "romeo");
    assert!(!house.state().house_is_large());
    assert_eq!(contacts(&house, "p000").len(), HOUSE_CONTACTS - 1);
    add(&mut house, &["juliet"]);
    assert!(house.state().house_is_large());
    let told =
        "The house: there are more than 200 people: who comes is nobody's contact by itself; there is no room for all";
    assert_eq!(house.state().house_told(), told);
    assert_eq!((contacts(&house, "juliet").len(), contacts(&house, "p000").len()), (0, HOUSE_CONTACTS - 1));
    // As soon as they are fewer it is made up for; what is removed meanwhile stays so.
    house.restart();
    wake(&mut house);
    assert_eq!(contacts(&house, "juliet").len(), 0);
    remove(&mut house, "p000");
    wake(&mut house);
    assert!(!house.state().house_is_large());
    assert_eq!(contacts(&house, "juliet").len(), HOUSE_CONTACTS - 1);
    assert!(contacts(&house, "p001").contains(&of_house(&["juliet"])[0]));
}

/// Whoever else is in the house is heard in between: it goes in parts.
#[test]
fn nobody_waits_long_while_many_are_introduced() {
    let mut house = House::with(|s| {
        given(Given::Nowhere)(s);
    });
    for n in 0..HOUSE_CONTACTS {
        house.account(&format!("p{n:03}@house.test"));
    }
    house.restart_with(|s| s.household.contacts = Given::Everywhere);
    house.hold = true;
    house.input(Input::Tick);
    house.pass(1_000);
    let all = |house: &House| {
        (0..HOUSE_CONTACTS)
            .map(|n| house.state().account_of(&format!("p{n:03}")).unwrap().roster.items.len())
            .sum::<usize>()
    };
    let (mut before, mut most) = (0, 0);
    loop {
        let now = all(&house);
        most = most.max(now - before);
        before = now;
        if !house.store_one() {
            break;
        }
    }
    assert_eq!(before, HOUSE_CONTACTS * (HOUSE_CONTACTS - 1));
    assert!(most <= 200, "{most} entries at once");
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

/// Their apps may enter it by themselves for ever: it never becomes a stranger's.
#[test]
fn a_room_that_was_ended_stays_ended_and_is_nobody_elses() {
    let mut house = House::with(|s| {
        given(Given::InNewHouses)(s);
        s.admins = vec![jid("capulet@house.test")];
    });
    add(&mut house, &["juliet", "nurse"]);
    assert!(bookmarks(&mut house, "juliet").contains(ROOM));
    house.command(Command::RoomRemove(jid(ROOM)));
    for restarts in 0..2 {
        for name in ["juliet", "nurse"] {
            let has = bookmarks(&mut house, name);
            assert!(!has.contains(ROOM), "{restarts} {has}");
        }
        add(&mut house, &["romeo"]);
        assert!(!bookmarks(&mut house, "romeo").contains(ROOM));
        for name in ["juliet", "romeo"] {
            let told = affiliation(&mut house, name);
            assert!(told.contains("not-allowed") && told.contains("kept for a room of everybody"), "{told}");
        }
        let told = house.state().house_told();
        assert!(told.contains("the room everybody was ended"), "{told}");
        house.restart();
    }
    // Another name is another room, for those who have had none.
    house.restart_with(|s| s.household.room_local = "hall".into());
    add(&mut house, &["tybalt"]);
    wake(&mut house);
    let hall = "hall@conference.house.test";
    let has: Vec<bool> =
        ["juliet", "romeo", "tybalt"].map(|name| bookmarks(&mut house, name).contains(hall)).into_iter().collect();
    assert_eq!(has, [false, true, true]);
    assert!(house.state().house_told().contains("the room hall is for all"));
    assert!(affiliation(&mut house, "tybalt").contains("not-allowed"), "the name is kept all the same");
    add(&mut house, &["capulet"]);
    assert_eq!(affiliation(&mut house, "capulet"), "owner", "administrators may");
    // Also by an owner's own request (XEP-0045 §10.9), and where the setting names another one by then.
    house.restart_with(|s| s.household.room_local = "attic".into());
    let destroy = format!(
        "<iq type='set' id='d' to='{hall}'><query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query></iq>"
    );
    assert!(ask(&mut house, "capulet", &destroy).contains("type='result'"));
    assert!(!bookmarks(&mut house, "romeo").contains(hall));
    let enters = format!("<presence to='{hall}/t'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    assert!(ask(&mut house, "tybalt", &enters).contains("not-allowed"));
}

#[test]
fn nobody_makes_the_room_before_the_house_does() {
    let mut house = House::with(|s| {
        given(Given::InNewHouses)(s);
        s.registration = true;
    });
    let sid = house.open();
    house.send(sid, "<stream:stream to='house.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>");
    house.send(
        sid,
        "<iq type='set' id='1'><query xmlns='jabber:iq:register'><username>benvolio</username><password>benvolio</password></query></iq>",
    );
    house.settle();
    assert!(affiliation(&mut house, "benvolio").contains("not-allowed"));
    add(&mut house, &["juliet"]);
    assert!(bookmarks(&mut house, "juliet").contains(ROOM));
    assert_eq!(affiliation(&mut house, "juliet"), "member");
}

#[test]
fn a_room_of_somebody_else_is_theirs_and_everybody_waits_for_one() {
    let taken = || {
        let mut house = House::new();
        add(&mut house, &["juliet", "nurse"]);
        assert_eq!(affiliation(&mut house, "juliet"), "owner");
        let opens = format!(
            "<presence to='{ROOM}/j'><x xmlns='http://jabber.org/protocol/muc'/></presence><iq type='set' id='c' to='{ROOM}'>\
             <query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query></iq>"
        );
        ask(&mut house, "juliet", &opens);
        house.restart_with(given(Given::Everywhere));
        wake(&mut house);
        let told = house.state().house_told();
        assert!(told.contains("everybody is somebody else's"), "{told}");
        assert!(!bookmarks(&mut house, "nurse").contains(ROOM));
        house
    };
    let everybody_has = |house: &mut House, room: &str| {
        for name in ["juliet", "nurse", "romeo"] {
            assert!(bookmarks(house, name).contains(room), "{name}");
        }
    };
    let mut house = taken();
    house.restart_with(|s| s.household.room_local = "hall".into());
    wake(&mut house);
    add(&mut house, &["romeo"]);
    everybody_has(&mut house, "hall@conference.house.test");
    // The same, when the settings are read again.
    let mut house = taken();
    house.reload(|s| s.household.room_local = "hall".into());
    wake(&mut house);
    add(&mut house, &["romeo"]);
    everybody_has(&mut house, "hall@conference.house.test");
    assert!(house.state().house_told().contains("the room hall is for all"));
    // And when the other one goes.
    let mut house = taken();
    house.command(Command::RoomRemove(jid(ROOM)));
    wake(&mut house);
    add(&mut house, &["romeo"]);
    everybody_has(&mut house, ROOM);
    assert!(house.state().house_told().contains("the room everybody is for all"));
}

#[test]
fn a_room_of_before_is_the_houses_again() {
    let mut house = new_house();
    add(&mut house, &["juliet"]);
    house.restart_with(|s| s.household.room_local = "family".into());
    add(&mut house, &["nurse"]);
    assert!(bookmarks(&mut house, "nurse").contains("family@conference.house.test"));
    // Nobody inherits it meanwhile.
    remove(&mut house, "nurse");
    assert_eq!(affiliation(&mut house, "juliet"), "member");
    for name in ["romeo", "tybalt"] {
        house.reload(|s| s.household.room_local = "everybody".into());
        add(&mut house, &[name]);
        assert!(bookmarks(&mut house, name).contains(ROOM), "{name}");
        assert_eq!(affiliation(&mut house, name), "member");
        house.restart_with(|s| s.household.room_local = "family".into());
    }
}

/// Whatever the settings said when an account was made: everybody has both once, and not twice.
#[test]
fn what_was_off_is_made_up_for() {
    let mut house = new_house();
    add(&mut house, &["juliet", "nurse"]);
    ask(
        &mut house,
        "nurse",
        "<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='juliet@house.test' subscription='remove'/></query></iq>",
    );
    let off = |s: &mut Settings| (s.household.contacts, s.household.room) = (Given::Nowhere, Given::Nowhere);
    house.reload(off);
    add(&mut house, &["romeo"]);
    house.restart();
    add(&mut house, &["tybalt"]);
    wake(&mut house);
    for name in ["romeo", "tybalt"] {
        assert_eq!(contacts(&house, name), [""; 0]);
        assert!(!bookmarks(&mut house, name).contains(ROOM));
    }
    house.reload(given(Given::Everywhere));
    for _ in 0..2 {
        wake(&mut house);
        assert_eq!(contacts(&house, "romeo"), of_house(&["juliet", "nurse", "tybalt"]));
        assert_eq!(contacts(&house, "tybalt"), of_house(&["juliet", "nurse", "romeo"]));
        assert_eq!(contacts(&house, "nurse"), of_house(&["romeo", "tybalt"]), "what was removed stays so");
        for name in ["romeo", "tybalt"] {
            assert!(bookmarks(&mut house, name).contains(ROOM));
            assert_eq!(affiliation(&mut house, name), "member");
        }
        house.restart();
    }
}

/// A node of bookmarks that is full loses none for the one of the house (XEP-0060 §7.1.2.5).
#[test]
fn a_full_node_of_bookmarks_loses_nothing() {
    let mut house = House::new();
    add(&mut house, &["juliet"]);
    let sid = house.login("juliet@house.test/asks");
    let publish = |id: &str| {
        format!(
            "<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='urn:xmpp:bookmarks:1'>\
             <item id='{id}'><conference xmlns='urn:xmpp:bookmarks:1'/></item></publish></pubsub></iq>"
        )
    };
    for n in 0..1000 {
        house.send(sid, &publish(&format!("r{n}@rooms.test")));
    }
    house.receive_all(sid);
    house.cut(sid);
    house.restart_with(given(Given::Everywhere));
    wake(&mut house);
    let has = bookmarks(&mut house, "juliet");
    assert!(has.contains("'r0@rooms.test'") && !has.contains(ROOM));
    assert_eq!(affiliation(&mut house, "juliet"), "member");
    // With one place left it has room.
    let mut house = House::new();
    add(&mut house, &["juliet"]);
    let sid = house.login("juliet@house.test/asks");
    for n in 0..999 {
        house.send(sid, &publish(&format!("r{n}@rooms.test")));
    }
    house.cut(sid);
    house.restart_with(given(Given::Everywhere));
    wake(&mut house);
    let has = bookmarks(&mut house, "juliet");
    assert!(has.contains("'r0@rooms.test'") && has.contains(ROOM));
}

/// Who is in a room when that changes is something else there at once, without a word from anybody.
#[test]
fn who_administers_the_server_is_seen_in_rooms_at_once() {
    let mut house = new_house();
    add(&mut house, &["juliet", "nurse"]);
    let enters =
        |name: &str| format!("<presence to='{ROOM}/{name}'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    let nurse = house.login("nurse@house.test/in");
    house.send(nurse, &enters("nurse"));
    let juliet = house.login("juliet@house.test/in");
    house.send(juliet, &enters("juliet"));
    house.settle();
    house.receive_all(juliet);
    let sees = |house: &mut House, what: [&str; 2]| {
        house.settle();
        let told = house.receive_all(juliet).concat();
        assert!(told.contains("/nurse'") && what.iter().all(|part| told.contains(part)), "{told}");
    };
    for admin in [true, false] {
        house.command(Command::UserAdmin(jid("nurse@house.test"), admin));
        let (owner, member) =
            (["affiliation='owner'", "role='moderator'"], ["affiliation='member'", "role='participant'"]);
        sees(&mut house, if admin { owner } else { member });
    }
    house.reload(|s| s.admins = vec![jid("nurse@house.test")]);
    sees(&mut house, ["affiliation='owner'", "role='moderator'"]);
    house.reload(|s| s.admins.clear());
    sees(&mut house, ["affiliation='member'", "role='participant'"]);
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
    // The last one counts, as soon as it may; and whoever restarts the server meanwhile changes nothing of that.
    house.pass(10 * 60_000);
    house.settle();
    assert_eq!(contacts(&house, "romeo")[0], "juliet J29 [The house]");
    ask(&mut house, "juliet", &vcard("<FN>Ju</FN>"));
    assert_eq!(contacts(&house, "romeo")[0], "juliet J29 [The house]");
    house.restart();
    wake(&mut house);
    assert_eq!(contacts(&house, "romeo")[0], "juliet Ju [The house]");
}

#[test]
fn nobody_is_shown_as_somebody_else() {
    let mut house = new_house();
    add(&mut house, &["juliet", "nurse", "mum"]);
    let is_called = |house: &mut House, who: &str, name: &str| {
        ask(house, who, &format!("<iq type='set' id='v'><vCard xmlns='vcard-temp'><FN>{name}</FN></vCard></iq>"));
        let all = contacts(house, "nurse");
        let shown = all.iter().find(|contact| contact.starts_with(&format!("{who} "))).unwrap();
        shown[who.len() + 1..].strip_suffix(" [The house]").unwrap().to_owned()
    };
    assert_eq!(is_called(&mut house, "mum", "Mother"), "Mother");
    // What turns or hides letters is left out, and what a language or a picture needs is not.
    for (name, shown) in [
        ("\u{202e}Jul\u{200b}iet\u{2066}", "Juliet"),
        ("Ju\u{ad}le\u{3164}\u{2800}\u{feff}", "Jule"),
        ("Ju \u{1f469}\u{200d}\u{1f467}", "Ju \u{1f469}\u{200d}\u{1f467}"),
        ("\u{200b}\u{3164}\u{200d}", "juliet"),
    ] {
        assert_eq!(is_called(&mut house, "juliet", name), shown, "{name:?}");
        house.pass(3_600_000);
    }
    for name in ["Mum", "M\u{200d}um", "mother", "M o t h e r", "Nurse.", "Admin", "Моther"] {
        assert_eq!(is_called(&mut house, "juliet", name), "juliet", "{name}");
        house.pass(3_600_000);
    }
    assert_eq!(is_called(&mut house, "juliet", "Romeo"), "Romeo", "nobody is that yet");
    add(&mut house, &["romeo"]);
    assert!(contacts(&house, "nurse").contains(&"juliet juliet [The house]".to_owned()));
    // Of older accounts, too, that are introduced later.
    let mut house = House::new();
    add(&mut house, &["juliet", "nurse"]);
    let mut older = Batch::default();
    older.put(Tree::Vcard, key::account("juliet"), *b"<vCard xmlns='vcard-temp'><FN>Nurse</FN></vCard>");
    house.disk().commit(&[older]).unwrap();
    house.restart_with(given(Given::Everywhere));
    wake(&mut house);
    assert_eq!(contacts(&house, "nurse"), ["juliet juliet [The house]"]);
}
