//! What many people share (`core::share`): the greedy one is refused with an error that says so, the modest one beside it gets what it
//! wants, what is taken away gives room again, and a restart counts the same.
#![allow(clippy::unwrap_used)]

mod house;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use house::{DOMAIN, House};
use inglenook::core::{Command, Input, StreamId};
use inglenook::store::{Batch, Engine, Query, Tree, key};
use inglenook::wire::{Jid, Scope, Secret, Stanza};
use std::collections::BTreeSet;

const MUC: &str = "conference.house.test";
const GATEWAY: &str = "gateway.test";
/// The stream of the gateway: nobody reads what is sent to it.
const STREAM: StreamId = StreamId(7);

/// Sends a request and takes its answer; what else came is thrown away.
fn ask(house: &mut House, sid: StreamId, ty: &str, to: &str, payload: &str) -> String {
    house.receive_all(sid);
    house.send(sid, &format!("<iq type='{ty}' id='ask' to='{to}'>{payload}</iq>"));
    house.settle();
    let all = house.receive_all(sid);
    all.into_iter().find(|xml| xml.starts_with("<iq ") && xml.contains(" id='ask'")).expect("an answer")
}

fn is_done(answer: &str) -> bool {
    assert!(answer.contains("type='result'") || answer.contains("type='error'"), "{answer}");
    answer.contains("type='result'")
}

/// That an error says whose fault it is and what to do.
fn says(answer: &str, condition: &str, text: &str) {
    assert!(answer.contains("type='error'") && answer.contains(&format!("<{condition} ")), "{answer}");
    assert!(answer.contains(text), "{answer}");
}

/// Enters a room; the error, if there is one.
fn enter(house: &mut House, sid: StreamId, room: &str, nick: &str) -> Result<(), String> {
    house.receive_all(sid);
    let presence = format!("<presence to='{room}@{MUC}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    house.send(sid, &presence);
    house.settle();
    let all = house.receive_all(sid);
    match all.into_iter().find(|xml| xml.contains("type='error'")) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn configure(house: &mut House, sid: StreamId, room: &str, fields: &[(&str, &str)]) -> String {
    let field = |(var, value): &(&str, &str)| format!("<field var='{var}'><value>{value}</value></field>");
    let form_type = ("FORM_TYPE", "http://jabber.org/protocol/muc#roomconfig");
    let fields: String = [form_type].iter().chain(fields).map(field).collect();
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{fields}</x>");
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#owner'>{form}</query>");
    ask(house, sid, "set", &format!("{room}@{MUC}"), &query)
}

fn make(house: &mut House, sid: StreamId, room: &str, fields: &[(&str, &str)]) -> Result<(), String> {
    enter(house, sid, room, "x")?;
    let answer = configure(house, sid, room, fields);
    if is_done(&answer) { Ok(()) } else { Err(answer) }
}

fn admin(house: &mut House, sid: StreamId, room: &str, items: &str) -> String {
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{items}</query>");
    ask(house, sid, "set", &format!("{room}@{MUC}"), &query)
}

fn ban(house: &mut House, sid: StreamId, room: &str, round: usize, reason: usize) -> String {
    let reason = "r".repeat(reason);
    let item =
        |n| format!("<item affiliation='outcast' jid='{round}x{n}@elsewhere.test'><reason>{reason}</reason></item>");
    let items: String = (0..40).map(item).collect();
    admin(house, sid, room, &items)
}

fn destroy(house: &mut House, sid: StreamId, room: &str) {
    let query = "<query xmlns='http://jabber.org/protocol/muc#owner'><destroy/></query>";
    assert!(is_done(&ask(house, sid, "set", &format!("{room}@{MUC}"), query)));
}

/// A house with a gateway, which is connected.
fn with_gateway() -> House {
    let secret = Secret::new("a secret of the tests").unwrap();
    let name = Jid::parse(GATEWAY).unwrap();
    let mut house = House::with(|s| drop(s.components.insert(name.clone(), secret.clone())));
    house.input(Input::Attach(STREAM, name, secret));
    house
}

/// Somebody behind the gateway sends something.
fn from_gateway(house: &mut House, xml: &str) {
    let stanza = Stanza::parse(xml, Scope::client()).unwrap().unwrap();
    house.input(Input::Stanza(STREAM, stanza));
}

// --- rooms ---

/// The attack: many rooms, many outcasts in each, long reasons.
fn greedy_with_rooms(house: &mut House, iago: StreamId) -> (usize, String) {
    for room in 0..200 {
        make(house, iago, &format!("r{room}"), &[]).unwrap();
        for round in 0..8 {
            let answer = ban(house, iago, &format!("r{room}"), round, 1024);
            if !is_done(&answer) {
                return (room, answer);
            }
        }
    }
    panic!("nothing stopped it");
}

#[test]
fn one_account_does_not_keep_everybody_from_making_rooms() {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    let (rooms, refused) = greedy_with_rooms(&mut house, iago);
    says(&refused, "resource-constraint", "their share of what all rooms may take");
    assert!((20..80).contains(&rooms), "{rooms}");
    let juliet = house.login("juliet@house.test/balcony");
    make(&mut house, juliet, "garden", &[]).unwrap();
    assert!(is_done(&ban(&mut house, juliet, "garden", 0, 1024)), "also her lists grow");
    // Whatever else makes a room grow is asked, too.
    let long = "d".repeat(4000);
    let described = (0..rooms).take_while(|room| {
        is_done(&configure(&mut house, iago, &format!("r{room}"), &[("muc#roomconfig_roomdesc", &long)]))
    });
    assert!(described.count() < 20);
    let spoken = |house: &mut House, room: usize| {
        let subject = format!("<message type='groupchat' to='r{room}@{MUC}'><subject>{long}</subject></message>");
        house.receive_all(iago);
        house.send(iago, &subject);
        house.receive_all(iago).concat()
    };
    assert!((0..rooms).any(|room| spoken(&mut house, room).contains("<resource-constraint ")));
    let hat = |n: usize| {
        let (uri, title) = (format!("urn:x:{n}{}", "u".repeat(200)), "t".repeat(120));
        let field = |var: &str, value: &str| format!("<field var='{var}'><value>{value}</value></field>");
        let fields =
            field("FORM_TYPE", "urn:xmpp:hats:commands") + &field("hats#uri", &uri) + &field("hats#title", &title);
        format!(
            "<command xmlns='http://jabber.org/protocol/commands' node='urn:xmpp:hats:commands:create' action='complete'>\
             <x xmlns='jabber:x:data' type='submit'>{fields}</x></command>"
        )
    };
    let made = |house: &mut House, n: usize| is_done(&ask(house, iago, "set", &format!("r{}@{MUC}", n / 32), &hat(n)));
    assert!((0..20 * 32).any(|n| !made(&mut house, n)), "hats");
    // After a restart it is the same; and what is destroyed gives room.
    house.restart();
    let (iago, juliet) = (house.login("iago@house.test/x"), house.login("juliet@house.test/balcony"));
    assert!(enter(&mut house, iago, "r0", "x").is_ok() && enter(&mut house, juliet, "garden", "x").is_ok());
    says(&ban(&mut house, iago, "r0", 9, 1024), "resource-constraint", "shorten a list or destroy one");
    assert!(is_done(&ban(&mut house, juliet, "garden", 1, 1024)));
    enter(&mut house, iago, "r1", "x").unwrap();
    destroy(&mut house, iago, "r1");
    assert!(is_done(&ban(&mut house, iago, "r0", 9, 1024)));
    // Lifted bans give room, too; the rows stay without their reasons.
    let lifted: String = (0..40).map(|n| format!("<item affiliation='none' jid='0x{n}@elsewhere.test'/>")).collect();
    assert!(is_done(&admin(&mut house, iago, "r0", &lifted)));
}

#[test]
fn nobody_gets_rooms_into_their_share_by_what_others_do() {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    let juliet = house.login("juliet@house.test/balcony");
    for room in 0..200 {
        let room = format!("r{room}");
        make(&mut house, iago, &room, &[]).unwrap();
        let items = "<item affiliation='owner' jid='juliet@house.test'/>";
        assert!(is_done(&admin(&mut house, iago, &room, items)));
        let items = "<item affiliation='none' jid='iago@house.test'/>";
        assert!(is_done(&admin(&mut house, iago, &room, items)));
    }
    let full = enter(&mut house, iago, "one-more", "x").unwrap_err();
    says(&full, "resource-constraint", "you have made too many rooms; destroy one");
    make(&mut house, juliet, "garden", &[]).unwrap();
    // Whoever goes on with a room that its maker has left takes it over.
    for room in 0..199 {
        assert!(is_done(&configure(&mut house, juliet, &format!("r{room}"), &[("muc#roomconfig_roomname", "mine")])));
    }
    assert!(enter(&mut house, juliet, "hers-too", "x").is_err());
    make(&mut house, iago, "one-more", &[]).unwrap();
    house.restart();
    let (iago, juliet) = (house.login("iago@house.test/x"), house.login("juliet@house.test/balcony"));
    assert!(enter(&mut house, juliet, "hers-too", "x").is_err(), "200 are hers");
    make(&mut house, iago, "and-more", &[]).unwrap();
    // Who has the name next begins with nothing; and nobody pays for what is left of hers, also after a restart.
    let romeo = house.login("romeo@house.test/orchard");
    for room in 0..199 {
        enter(&mut house, juliet, &format!("r{room}"), "x").unwrap();
        let items = "<item affiliation='owner' jid='romeo@house.test'/>";
        assert!(is_done(&admin(&mut house, juliet, &format!("r{room}"), items)));
    }
    house.command(Command::UserRemove(Jid::parse("juliet@house.test").unwrap()));
    house.settle();
    let juliet = house.login("juliet@house.test/tomb");
    make(&mut house, juliet, "tomb", &[]).unwrap();
    for room in ["a", "b"] {
        make(&mut house, romeo, room, &[]).unwrap();
    }
    house.restart();
    let (romeo, juliet) = (house.login("romeo@house.test/orchard"), house.login("juliet@house.test/tomb"));
    for room in ["c", "d"] {
        make(&mut house, romeo, room, &[]).unwrap();
        make(&mut house, juliet, &format!("hers-{room}"), &[]).unwrap();
    }
    // A room that he goes on with is his.
    for room in 0..196 {
        assert!(is_done(&configure(&mut house, romeo, &format!("r{room}"), &[("muc#roomconfig_roomname", "mine")])));
    }
    assert!(enter(&mut house, romeo, "too-many", "x").is_err());
}

/// What is said in a room without an archive is kept in memory: there the oldest goes.
#[test]
fn what_is_said_without_an_archive_is_in_the_share_of_the_room() {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    let body = "b".repeat(30_000);
    for room in 0..199 {
        let room = format!("r{room}");
        make(&mut house, iago, &room, &[("muc#roomconfig_enablearchiving", "0")]).unwrap();
        for _ in 0..3 {
            let said = format!("<message type='groupchat' to='{room}@{MUC}'><body>{body}</body></message>");
            house.send(iago, &said);
            assert!(!house.receive_all(iago).concat().contains("type='error'"));
        }
    }
    // In the rooms that came late there was no place for all of it.
    let history = |house: &mut House, room: &str| {
        house.send(iago, &format!("<presence type='unavailable' to='{room}@{MUC}/x'/>"));
        house.receive_all(iago);
        house.send(
            iago,
            &format!("<presence to='{room}@{MUC}/x'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
        );
        house.receive_all(iago).concat().matches("<body>").count()
    };
    assert_eq!((history(&mut house, "r0"), history(&mut house, "r198")), (2, 0));
    let juliet = house.login("juliet@house.test/balcony");
    make(&mut house, juliet, "garden", &[("muc#roomconfig_enablearchiving", "0")]).unwrap();
    house.send(juliet, &format!("<message type='groupchat' to='garden@{MUC}'><body>Hark</body></message>"));
    let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
    house.receive_all(juliet);
    house.send(juliet, &format!("<presence to='garden@{MUC}/x'>{x}</presence>"));
    assert!(house.receive_all(juliet).concat().contains("<body>Hark</body>"), "hers is kept");
    for room in 0..4 {
        destroy(&mut house, iago, &format!("r{room}"));
    }
    house.send(iago, &format!("<message type='groupchat' to='r198@{MUC}'><body>{body}</body></message>"));
    assert_eq!(history(&mut house, "r198"), 1);
}

#[test]
fn pictures_of_rooms_have_shares() {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    let picture = BASE64.encode([7; 90_000]);
    let vcard = format!("<vCard xmlns='vcard-temp'><PHOTO><BINVAL>{picture}</BINVAL></PHOTO></vCard>");
    let put = |house: &mut House, sid: StreamId, room: &str| ask(house, sid, "set", &format!("{room}@{MUC}"), &vcard);
    let mut room = 0_usize;
    let refused = loop {
        make(&mut house, iago, &format!("r{room}"), &[]).unwrap();
        let answer = put(&mut house, iago, &format!("r{room}"));
        if !is_done(&answer) {
            break answer;
        }
        room += 1;
    };
    says(&refused, "resource-constraint", "remove a picture");
    let most = 16 * 1024 * 1024 / (picture.len() + 60);
    assert!(room.abs_diff(most) <= 1, "half of 32 MiB: {room} of {most}");
    assert!(is_done(&put(&mut house, iago, "r0")), "in the place of another it is no more");
    house.restart();
    let (iago, juliet) = (house.login("iago@house.test/x"), house.login("juliet@house.test/balcony"));
    enter(&mut house, iago, &format!("r{room}"), "x").unwrap();
    says(&put(&mut house, iago, &format!("r{room}")), "resource-constraint", "remove a picture");
    make(&mut house, juliet, "garden", &[]).unwrap();
    assert!(is_done(&put(&mut house, juliet, "garden")));
    assert!(is_done(&ask(&mut house, iago, "set", &format!("r0@{MUC}"), "<vCard xmlns='vcard-temp'/>")));
    assert!(is_done(&put(&mut house, iago, &format!("r{room}"))));
}

/// The lists of one room: who may invite does not take the place that its admins need.
#[test]
fn invitations_leave_the_lists_of_a_room_to_its_admins() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let iago = house.login("iago@house.test/x");
    make(&mut house, romeo, "garden", &[]).unwrap();
    assert!(is_done(&admin(&mut house, romeo, "garden", "<item affiliation='member' jid='iago@house.test'/>")));
    assert!(is_done(&admin(&mut house, romeo, "garden", "<item affiliation='member' jid='juliet@house.test'/>")));
    enter(&mut house, iago, "garden", "Iago").unwrap();
    let mut refused = String::new();
    for round in 0..110 {
        let invites: String = (0..20).map(|n| format!("<invite to='{round}x{n}@elsewhere.test'/>")).collect();
        let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{invites}</x>");
        house.send(iago, &format!("<message to='garden@{MUC}'>{x}</message>"));
        let all = house.receive_all(iago);
        house.receive_all(romeo);
        if let Some(error) = all.into_iter().find(|xml| {
            xml.contains("type='error'") && xml.contains("<resource-constraint ") && xml.contains("as you may")
        }) {
            refused = error;
            assert!((20..=30).contains(&round), "{round}");
            break;
        }
        house.send(romeo, " ");
        house.pass(60_000);
    }
    says(&refused, "resource-constraint", "ask an admin");
    // Another one may; after a restart it is the same.
    house.restart();
    let (romeo, iago) = (house.login("romeo@house.test/orchard"), house.login("iago@house.test/x"));
    let juliet = house.login("juliet@house.test/balcony");
    enter(&mut house, romeo, "garden", "x").unwrap();
    enter(&mut house, iago, "garden", "Iago").unwrap();
    enter(&mut house, juliet, "garden", "Juliet").unwrap();
    for (who, refused) in [(juliet, false), (iago, true)] {
        let invites: String = (0..20).map(|n| format!("<invite to='more{n}@elsewhere.test'/>")).collect();
        let x = format!("<x xmlns='http://jabber.org/protocol/muc#user'>{invites}</x>");
        house.receive_all(who);
        house.send(who, &format!("<message to='garden@{MUC}'>{}</message>", x.replace("more", &who.0.to_string())));
        assert_eq!(house.receive_all(who).concat().contains("<resource-constraint "), refused);
    }
    assert!(is_done(&ban(&mut house, romeo, "garden", 200, 100)));
    assert!(is_done(&admin(&mut house, romeo, "garden", "<item affiliation='outcast' jid='iago@house.test'/>")));
}

#[test]
fn one_person_does_not_fill_a_room() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let fields = [("muc#roomconfig_membersonly", "0"), ("muc#roomconfig_maxusers", "10")];
    make(&mut house, romeo, "garden", &fields).unwrap();
    let iago: Vec<StreamId> = (0..10).map(|n| house.login(&format!("iago@house.test/{n}"))).collect();
    let came: Vec<Result<(), String>> =
        iago.iter().enumerate().map(|(n, sid)| enter(&mut house, *sid, "garden", &format!("i{n}"))).collect();
    let inside = came.iter().filter(|came| came.is_ok()).count();
    assert!((3..=5).contains(&inside), "{inside}");
    says(came.last().unwrap().as_ref().unwrap_err(), "resource-constraint", "leave with one first");
    // Under one nickname all of them may be there.
    enter(&mut house, iago[9], "garden", "i0").unwrap();
    house.send(iago[1], &format!("<presence type='unavailable' to='garden@{MUC}/i1'/>"));
    enter(&mut house, iago[8], "garden", "i8").unwrap();
    for who in ["juliet", "nurse", "paris", "tybalt"] {
        let sid = house.login(&format!("{who}@house.test/x"));
        enter(&mut house, sid, "garden", who).unwrap();
    }
}

#[test]
fn one_gateway_does_not_take_all_places_in_rooms() {
    let mut house = with_gateway();
    let romeo = house.login("romeo@house.test/orchard");
    let fields = [("muc#roomconfig_membersonly", "0"), ("muc#roomconfig_maxusers", "1000")];
    let status = "s".repeat(2700);
    let resource = "r".repeat(1000);
    let mut rooms = 0;
    // Each has its own nickname, up to half of a room; and a presence as long as it can be.
    let mut came = 0;
    'all: for room in 0..8 {
        rooms = room;
        make(&mut house, romeo, &format!("r{room}"), &fields).unwrap();
        house.send(romeo, &format!("<presence type='unavailable' to='r{room}@{MUC}/x'/>"));
        for n in 0..490 {
            let from = format!("u{n}@{GATEWAY}/{resource}");
            from_gateway(
                &mut house,
                &format!(
                    "<presence from='{from}' to='r{room}@{MUC}/u{n}'><status>{status}</status>\
                     <x xmlns='http://jabber.org/protocol/muc'/></presence>"
                ),
            );
            let items = "<query xmlns='http://jabber.org/protocol/disco#info'/>";
            if n % 70 == 69 {
                let info = ask(&mut house, romeo, "get", &format!("r{room}@{MUC}"), items);
                let count = info.split("muc#roominfo_occupants'><value>").nth(1).unwrap();
                let count: usize = count.split('<').next().unwrap().parse().unwrap();
                if count < n + 1 {
                    came += count;
                    break 'all;
                }
            }
        }
        came += 490;
    }
    // A quarter of it: half is for our own people, and half of the rest for others elsewhere.
    let most = 8 * 1024 * 1024 / (512 + 2 * 1020 + 1150 + status.len());
    assert!(came < most && came > most * 8 / 10, "{came} of {most}");
    // Somebody else enters; and what the gateway gives up, it may have again.
    enter(&mut house, romeo, &format!("r{rooms}"), "Romeo").unwrap();
    let at = |n: usize, ty: &str| {
        format!(
            "<presence from='u{n}@{GATEWAY}/{resource}' to='r0@{MUC}/u{n}'{ty}>\
             <x xmlns='http://jabber.org/protocol/muc'/></presence>"
        )
    };
    enter(&mut house, romeo, "r0", "Romeo").unwrap();
    from_gateway(&mut house, &at(0, " type='unavailable'"));
    assert!(house.receive_all(romeo).concat().contains("type='unavailable'"));
    from_gateway(&mut house, &at(0, ""));
    assert!(house.receive_all(romeo).concat().contains("<presence "), "there was room for one");
}

/// Presence, invitations and the like are counted for everybody in each minute.
#[test]
fn one_gateway_does_not_use_up_a_minute() {
    let mut house = with_gateway();
    let romeo = house.login("romeo@house.test/orchard");
    make(&mut house, romeo, "garden", &[("muc#roomconfig_membersonly", "0")]).unwrap();
    let mut came = 0;
    for n in 0..2200 {
        let from = format!("u{n}@{GATEWAY}/x");
        let to = format!("garden@{MUC}/u{n}");
        from_gateway(
            &mut house,
            &format!("<presence from='{from}' to='{to}'><x xmlns='http://jabber.org/protocol/muc'/></presence>"),
        );
        came += usize::from(house.receive_all(romeo).concat().contains("affiliation='none'"));
        from_gateway(&mut house, &format!("<presence type='unavailable' from='{from}' to='{to}'/>"));
        house.receive_all(romeo);
    }
    assert!((1000..=1050).contains(&came), "a quarter of 512 KiB: {came}");
    let juliet = house.login("juliet@house.test/balcony");
    enter(&mut house, juliet, "garden", "Juliet").unwrap();
}

#[test]
fn one_moderator_leaves_retractions_to_the_others() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let iago = house.login("iago@house.test/x");
    make(&mut house, romeo, "garden", &[("muc#roomconfig_membersonly", "0")]).unwrap();
    enter(&mut house, iago, "garden", "Iago").unwrap();
    assert!(is_done(&admin(&mut house, romeo, "garden", "<item role='moderator' nick='Iago'/>")));
    let retract = |house: &mut House, sid: StreamId| {
        house.receive_all(sid);
        house.send(sid, &format!("<message type='groupchat' to='garden@{MUC}'><body>Hark</body></message>"));
        let said = house.receive_all(sid).concat();
        let id = said.split("urn:xmpp:sid:0").nth(1).unwrap().split(" id='").nth(1).unwrap();
        let id = id.split('\'').next().unwrap().to_owned();
        let moderate = format!(
            "<moderate xmlns='urn:xmpp:message-moderate:1' id='{id}'><retract xmlns='urn:xmpp:message-retract:1'/></moderate>"
        );
        ask(house, sid, "set", &format!("garden@{MUC}"), &moderate)
    };
    let done = (0..300).take_while(|_| is_done(&retract(&mut house, iago))).count();
    assert_eq!(done, 250, "half of 500");
    says(&retract(&mut house, iago), "resource-constraint", "you have retracted your share; ask an admin");
    assert!(is_done(&retract(&mut house, romeo)));
}

#[test]
fn who_asks_much_in_a_room_loses_their_own_requests() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    make(&mut house, romeo, "garden", &[("muc#roomconfig_membersonly", "0")]).unwrap();
    let juliet = house.login("juliet@house.test/balcony");
    enter(&mut house, juliet, "garden", "Juliet").unwrap();
    house.receive_all(romeo);
    let ask =
        |id: &str| format!("<iq type='get' id='{id}' to='garden@{MUC}/x'><query xmlns='jabber:iq:version'/></iq>");
    house.send(juliet, &ask("hers"));
    let asked = house.receive_all(romeo).concat();
    let id = asked.split(" id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    for n in 0..20 {
        let iago = house.login(&format!("iago@house.test/{n}"));
        enter(&mut house, iago, "garden", "Iago").unwrap();
        for n in 0..64 {
            house.send(iago, &ask(&n.to_string()));
        }
        house.receive_all(romeo);
    }
    house.receive_all(juliet);
    house.send(
        romeo,
        &format!("<iq type='result' id='{id}' to='garden@{MUC}/Juliet'><query xmlns='jabber:iq:version'/></iq>"),
    );
    let answer = house.receive_all(juliet).concat();
    assert!(answer.contains(" id='hers'") && answer.contains("type='result'"), "{answer}");
}

/// Rooms from before there were shares are in that of the first of their owners.
#[test]
fn old_rooms_are_in_somebodys_share() {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    for room in 0..200 {
        make(&mut house, iago, &format!("r{room}"), &[]).unwrap();
    }
    let mut batch = Batch::default();
    (0..200).for_each(|room| batch.delete(Tree::Room, key::named(&format!("r{room}"), "payer")));
    house.disk().commit(&[batch]).unwrap();
    for _ in 0..2 {
        house.power_cut();
        let iago = house.login("iago@house.test/x");
        assert!(enter(&mut house, iago, "one-more", "x").unwrap_err().contains("too many rooms"));
        let rows = Query::Get(Tree::Room, key::named("r7", "payer"));
        assert_eq!(house.disk().query(&rows).unwrap().len(), 1, "it is written down");
    }
    let juliet = house.login("juliet@house.test/balcony");
    make(&mut house, juliet, "garden", &[]).unwrap();
}

/// While storage is slow, what is said waits for those who have just come. Where too much is said, they do without the history.
#[test]
fn a_loud_room_costs_a_quiet_one_nothing() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let fields = [("muc#roomconfig_membersonly", "0")];
    for room in ["loud", "quiet"] {
        make(&mut house, romeo, room, &fields).unwrap();
        house.send(romeo, &format!("<message type='groupchat' to='{room}@{MUC}'><body>before</body></message>"));
    }
    let juliet = house.login("juliet@house.test/balcony");
    let many: Vec<StreamId> =
        (0..32).chain(0..13).enumerate().map(|(n, r)| house.login(&format!("u{}@house.test/{r}", n / 32))).collect();
    house.hold = true;
    let join = |house: &mut House, sid: StreamId, room: &str, nick: &str| {
        house.receive_all(sid);
        let x = "<x xmlns='http://jabber.org/protocol/muc'/>";
        house.send(sid, &format!("<presence to='{room}@{MUC}/{nick}'>{x}</presence>"));
    };
    join(&mut house, juliet, "quiet", "Juliet");
    for (n, sid) in many.iter().enumerate() {
        join(&mut house, *sid, "loud", &format!("u{}", n / 32));
    }
    let (body, quiet) = ("b".repeat(50_000), "<body>hush</body>");
    for _ in 0..4 {
        house.send(romeo, &format!("<message type='groupchat' to='loud@{MUC}'><body>{body}</body></message>"));
        house.send(romeo, &format!("<message type='groupchat' to='quiet@{MUC}'>{quiet}</message>"));
        house.receive_all(romeo);
    }
    let said = |house: &House, sid: StreamId, what: &str| house.peek(sid).filter(|xml| xml.contains(what)).count();
    assert!(many.iter().all(|sid| said(&house, *sid, &body) == 4), "it came, without the history");
    assert_eq!(said(&house, juliet, "<body>"), 0, "she waits");
    while house.store_one() {}
    house.release();
    let all = house.receive_all(juliet).concat();
    assert!(all.find("before").unwrap() < all.find("hush").unwrap() && all.matches("hush").count() == 4);
    assert_eq!(said(&house, many[0], "before"), 0);
}

// --- nodes ---

const PUBSUB: &str = "pubsub.house.test";

fn pubsub(house: &mut House, sid: StreamId, ty: &str, to: &str, inner: &str) -> String {
    ask(house, sid, ty, to, &format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{inner}</pubsub>"))
}

fn publish(house: &mut House, sid: StreamId, to: &str, node: &str, id: &str, bytes: usize) -> String {
    let payload = format!("<x xmlns='urn:x'>{}</x>", "x".repeat(bytes));
    pubsub(house, sid, "set", to, &format!("<publish node='{node}'><item id='{id}'>{payload}</item></publish>"))
}

fn options(fields: &[(&str, &str)]) -> String {
    let fields: String =
        fields.iter().map(|(var, value)| format!("<field var='pubsub#{var}'><value>{value}</value></field>")).collect();
    format!(
        "<configure><x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'>\
         <value>http://jabber.org/protocol/pubsub#node_config</value></field>{fields}</x></configure>"
    )
}

#[test]
fn one_publisher_does_not_fill_the_service() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let iago = house.login("iago@house.test/x");
    let open = options(&[("publish_model", "open"), ("access_model", "open"), ("max_items", "max")]);
    assert!(is_done(&pubsub(&mut house, romeo, "set", PUBSUB, &format!("<create node='n'/>{open}"))));
    let mut stored = 0_usize;
    let refused = loop {
        let answer = publish(&mut house, iago, PUBSUB, "n", &format!("i{stored}"), 120_000);
        if !is_done(&answer) {
            break answer;
        }
        stored += 1;
    };
    says(&refused, "resource-constraint", "retract some");
    let most = 16 * 1024 * 1024 / 120_600;
    assert!(stored.abs_diff(most) <= 1, "half of 32 MiB: {stored} of {most}");
    assert!(is_done(&publish(&mut house, romeo, PUBSUB, "n", "r", 120_000)));
    assert!(is_done(&publish(&mut house, iago, PUBSUB, "n", "i0", 120_000)), "in the place of another it is no more");
    house.restart();
    let (iago, romeo) = (house.login("iago@house.test/x"), house.login("romeo@house.test/orchard"));
    says(&publish(&mut house, iago, PUBSUB, "n", "more", 120_000), "resource-constraint", "retract some");
    assert!(is_done(&publish(&mut house, romeo, PUBSUB, "n", "r2", 120_000)));
    for n in 1..4 {
        let retract = format!("<retract node='n'><item id='i{n}'/></retract>");
        assert!(is_done(&pubsub(&mut house, iago, "set", PUBSUB, &retract)));
    }
    assert!(is_done(&publish(&mut house, iago, PUBSUB, "n", "more", 120_000)));
}

/// An account's own nodes: others publish where they may, and leave it what it needs.
#[test]
fn a_publisher_does_not_fill_the_nodes_of_another() {
    let mut house = House::new();
    let juliet = house.login("juliet@house.test/balcony");
    let iago = house.login("iago@house.test/x");
    let open = options(&[("publish_model", "open"), ("access_model", "open"), ("max_items", "max")]);
    assert!(is_done(&pubsub(&mut house, juliet, "set", "juliet@house.test", &format!("<create node='n'/>{open}"))));
    let published = (0..100)
        .take_while(|n| is_done(&publish(&mut house, iago, "juliet@house.test", "n", &format!("i{n}"), 120_000)));
    assert_eq!(published.count(), 17, "half of 4 MiB");
    let refused = publish(&mut house, iago, "juliet@house.test", "n", "more", 120_000);
    says(&refused, "resource-constraint", "your items have their share");
    for n in 0..16 {
        let answer = publish(&mut house, juliet, "juliet@house.test", "n", &format!("j{n}"), 120_000);
        assert!(is_done(&answer), "{n}: {answer}");
    }
}

#[test]
fn one_account_does_not_use_up_what_nodes_say_of_people() {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    let juliet = house.login("juliet@house.test/balcony");
    let mut refused = String::new();
    'nodes: for node in 0..50 {
        let answer = pubsub(&mut house, iago, "set", PUBSUB, &format!("<create node='n{node}'/>"));
        if !is_done(&answer) {
            refused = answer;
            break;
        }
        for round in 0..4 {
            let one = |n| format!("<affiliation jid='{}{round}x{n}@h.test' affiliation='member'/>", "j".repeat(50));
            let all: String = (0..200).map(one).collect();
            let owner = format!(
                "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><affiliations node='n{node}'>{all}</affiliations></pubsub>"
            );
            let answer = ask(&mut house, iago, "set", PUBSUB, &owner);
            if !is_done(&answer) {
                refused = answer;
                break 'nodes;
            }
        }
    }
    assert!(refused.contains("<not-acceptable ") || refused.contains("<resource-constraint "), "{refused}");
    says(
        &pubsub(
            &mut house,
            iago,
            "set",
            PUBSUB,
            &format!("<create node='long'/>{}", options(&[("description", &"d".repeat(4000))])),
        ),
        "resource-constraint",
        "delete one",
    );
    let hers = format!("<create node='hers'/>{}", options(&[("description", &"d".repeat(4000))]));
    assert!(is_done(&pubsub(&mut house, juliet, "set", PUBSUB, &hers)));
    // Also after a restart; and a node less is room.
    house.restart();
    let iago = house.login("iago@house.test/x");
    let long = format!("<create node='long'/>{}", options(&[("description", &"d".repeat(4000))]));
    assert!(!is_done(&pubsub(&mut house, iago, "set", PUBSUB, &long)));
    let delete = "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><delete node='n0'/></pubsub>";
    assert!(is_done(&ask(&mut house, iago, "set", PUBSUB, delete)));
    assert!(is_done(&pubsub(&mut house, iago, "set", PUBSUB, &long)));
}

#[test]
fn one_subscriber_does_not_fill_a_node() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let iago = house.login("iago@house.test/x");
    assert!(is_done(&pubsub(&mut house, romeo, "set", PUBSUB, "<create node='n'/>")));
    let subscribe = |house: &mut House, sid: StreamId, jid: &str| {
        pubsub(house, sid, "set", PUBSUB, &format!("<subscribe node='n' jid='{jid}'/>"))
    };
    let address = |n: usize| format!("iago@house.test/{n}{}", "r".repeat(900));
    let made = (0..16).take_while(|n| is_done(&subscribe(&mut house, iago, &address(*n)))).count();
    assert_eq!(made, 2, "2 KiB");
    says(&subscribe(&mut house, iago, &address(9)), "policy-violation", "<too-many-subscriptions ");
    let juliet = house.login("juliet@house.test/balcony");
    assert!(is_done(&subscribe(&mut house, juliet, "juliet@house.test")));
    let leave = format!("<unsubscribe node='n' jid='{}'/>", address(0));
    assert!(is_done(&pubsub(&mut house, iago, "set", PUBSUB, &leave)));
    assert!(is_done(&subscribe(&mut house, iago, &address(9))));
}

/// The presence of a client whose features have this hash, and its answer to who asks for them.
fn features(n: usize) -> (String, String) {
    let name = format!("urn:x:{n}");
    let text = format!("client/pc//<{name}+notify<");
    let ver = BASE64.encode(ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
    let presence = format!(
        "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:c' ver='{ver}'/></presence>"
    );
    let info = format!("<identity category='client' type='pc'/><feature var='{name}+notify'/>");
    (presence, info)
}

/// Says so, and answers if it is asked. Says whether it was.
fn shows(house: &mut House, sid: StreamId, n: usize) -> bool {
    let (presence, info) = features(n);
    house.receive_all(sid);
    house.send(sid, &presence);
    let asked = house.receive_all(sid).into_iter().find(|xml| xml.contains("disco#info"));
    let Some(asked) = asked else { return false };
    let id = asked.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
    let query = format!("<query xmlns='http://jabber.org/protocol/disco#info'>{info}</query>");
    house.send(sid, &format!("<iq type='result' id='{id}' to='{DOMAIN}'>{query}</iq>"));
    true
}

#[test]
fn who_has_many_clients_forgets_nobody_elses() {
    let mut house = House::new();
    let juliet = house.login("juliet@house.test/balcony");
    assert!(shows(&mut house, juliet, 0));
    let iago = house.login("iago@house.test/x");
    for n in 1..600 {
        assert!(shows(&mut house, iago, n), "{n}");
    }
    let again = house.login("juliet@house.test/tomb");
    assert!(!shows(&mut house, again, 0), "it is still known");
    assert!(shows(&mut house, iago, 1), "his own are not");
    // One that answers nothing is not asked without end.
    let silent = house.login("iago@house.test/silent");
    for n in 1000..1100 {
        house.send(silent, &features(n).0);
    }
    let questions = house.receive_all(silent).iter().filter(|xml| xml.contains("disco#info")).count();
    assert!((1..=8).contains(&questions), "{questions}");
    house.pass(20_000);
    assert!(shows(&mut house, silent, 2000));
}

// --- storage ---

#[test]
fn who_asks_faster_than_storage_answers_is_told() {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    let juliet = house.login("juliet@house.test/balcony");
    house.hold = true;
    let padding = "p".repeat(200_000);
    let long = |n: usize| {
        format!("<iq type='get' id='{n}' to='iago@house.test'><vCard xmlns='vcard-temp'><x>{padding}</x></vCard></iq>")
    };
    let mut sent = 0;
    let refused = loop {
        house.send(iago, &long(sent));
        sent += 1;
        if let Some(answer) = house.receive(iago) {
            break answer;
        }
        assert!(sent < 200);
    };
    says(&refused, "resource-constraint", "too many of your requests wait for storage; wait for the answers");
    assert!((38..=43).contains(&sent), "half of 16 MiB: {sent}");
    // What needs no storage he gets; she gets everything.
    house.send(iago, "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>");
    assert!(house.receive(iago).unwrap().contains("type='result'"));
    house.send(juliet, "<iq type='get' id='v' to='iago@house.test'><vCard xmlns='vcard-temp'/></iq>");
    assert_eq!(house.receive(juliet), None);
    house.release();
    assert!(house.receive(juliet).unwrap().contains(" id='v'"));
    assert_eq!(house.receive_all(iago).len(), sent - 1);
    house.send(iago, &long(sent));
    assert!(house.receive(iago).unwrap().contains("<vCard xmlns='vcard-temp'/>"), "there is no vCard");
}

#[test]
fn one_gateway_does_not_take_all_turns_at_archives() {
    let mut house = with_gateway();
    let romeo = house.login("romeo@house.test/orchard");
    make(&mut house, romeo, "garden", &[("muc#roomconfig_membersonly", "0")]).unwrap();
    house.hold = true;
    let query = "<query xmlns='urn:xmpp:mam:2'/>";
    for n in 0..5000 {
        let (from, to) = (format!("u{n}@{GATEWAY}/x"), format!("garden@{MUC}"));
        from_gateway(&mut house, &format!("<iq type='set' id='q' from='{from}' to='{to}'>{query}</iq>"));
    }
    house.receive_all(romeo);
    house.send(romeo, &format!("<iq type='set' id='q' to='garden@{MUC}'>{query}</iq>"));
    assert_eq!(house.receive_all(romeo), [""; 0], "it waits for storage, and is not refused");
    while house.store_one() {}
    house.release();
    assert!(house.receive_all(romeo).concat().contains("<fin "));
}

#[test]
fn one_sender_does_not_fill_what_waits_for_somebody() {
    let mut house = House::with(|s| s.offline_bytes = 1 << 20);
    house.account("juliet@house.test");
    let iago = house.login("iago@house.test/x");
    let romeo = house.login("romeo@house.test/orchard");
    let body = "b".repeat(10_000);
    let message = format!("<message type='chat' id='m' to='juliet@house.test'><body>{body}</body></message>");
    let send = |house: &mut House, sid: StreamId| {
        house.send(sid, &message);
        house.receive(sid)
    };
    let mut kept = 0;
    let refused = loop {
        if let Some(error) = send(&mut house, iago) {
            break error;
        }
        kept += 1;
    };
    says(&refused, "service-unavailable", "too much of yours waits for them already");
    assert!((48..=53).contains(&kept), "half of 1 MiB: {kept}");
    for _ in 0..20 {
        assert_eq!(send(&mut house, romeo), None);
    }
    house.restart();
    let (iago, romeo) = (house.login("iago@house.test/x"), house.login("romeo@house.test/orchard"));
    assert!(send(&mut house, iago).is_some(), "also after a restart");
    assert_eq!(send(&mut house, romeo), None);
    // When she has read them there is room again.
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<presence/>");
    let mut bodies = 0;
    loop {
        let all = house.receive_all(juliet);
        bodies += all.iter().filter(|xml| xml.contains("<body>")).count();
        let Some(ping) = all.iter().find(|xml| xml.contains("urn:xmpp:ping")) else { break };
        let id = ping.split(" id='").nth(1).unwrap().split('\'').next().unwrap();
        house.send(juliet, &format!("<iq type='result' id='{id}' to='{DOMAIN}'/>"));
    }
    assert_eq!(bodies, kept + 21);
    house.send(juliet, "<presence type='unavailable'/>");
    assert_eq!(send(&mut house, iago), None);
}

#[test]
fn one_sender_of_short_messages_does_not_fill_it_either() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let iago = house.login("iago@house.test/x");
    let romeo = house.login("romeo@house.test/orchard");
    let message = "<message to='juliet@house.test'><body>b</body></message>";
    for _ in 0..500 {
        house.send(iago, &message.repeat(20));
    }
    let refused = house.receive_all(iago);
    assert!(refused.len() > 4000, "{}", refused.len());
    house.send(romeo, message);
    assert_eq!(house.receive(romeo), None);
}

#[test]
fn strangers_of_one_domain_leave_room_for_requests_of_others() {
    let mut house = with_gateway();
    house.account("juliet@house.test");
    for n in 0..300 {
        let from = format!("{n}{}@{GATEWAY}", "u".repeat(1000));
        from_gateway(&mut house, &format!("<presence type='subscribe' from='{from}' to='juliet@house.test'/>"));
    }
    let waiting = |house: &House| {
        let items = house.state().accounts()["juliet"].roster.items.values();
        items.filter(|item| item.state.pending).count()
    };
    let theirs = waiting(&house);
    assert!(theirs <= 100 && theirs > 30, "{theirs}");
    let romeo = house.login("romeo@house.test/orchard");
    house.send(romeo, "<presence type='subscribe' to='juliet@house.test'/>");
    assert_eq!(waiting(&house), theirs + 1);
    // Her own roster has as much room as without them.
    let juliet = house.login("juliet@house.test/balcony");
    let groups: String = (0..32).map(|n| format!("<group>{n:04}{}</group>", "g".repeat(1000))).collect();
    let item =
        |n: usize| format!("<query xmlns='jabber:iq:roster'><item jid='{n}@elsewhere.test'>{groups}</item></query>");
    let stored = (0..20).take_while(|n| is_done(&ask(&mut house, juliet, "set", "juliet@house.test", &item(*n))));
    assert_eq!(stored.count(), 16);
    house.restart();
    let juliet = house.login("juliet@house.test/balcony");
    assert!(!is_done(&ask(&mut house, juliet, "set", "juliet@house.test", &item(99))), "also after a restart");
    assert_eq!(waiting(&house), theirs + 1);
    // What is answered makes room.
    house.send(juliet, "<presence type='unsubscribed' to='romeo@house.test'/>");
    assert_eq!(waiting(&house), theirs);
}

#[test]
fn commands_that_were_begun_are_those_of_who_began_most() {
    let mut house = House::new();
    let begin = |house: &mut House, sid: StreamId| {
        let command = "<command xmlns='http://jabber.org/protocol/commands' node='urn:inglenook:commands#password'/>";
        let answer = ask(house, sid, "set", DOMAIN, command);
        assert!(is_done(&answer));
        answer.split("sessionid='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
    };
    let juliet = house.login("juliet@house.test/balcony");
    let hers = begin(&mut house, juliet);
    let mut ids = BTreeSet::new();
    for n in 0..129 {
        let sid = house.login(&format!("u{n}@house.test/x"));
        for _ in 0..8 {
            ids.insert(begin(&mut house, sid));
        }
    }
    assert_eq!(ids.len(), 129 * 8, "nobody was refused");
    let cancel = format!(
        "<command xmlns='http://jabber.org/protocol/commands' node='urn:inglenook:commands#password' sessionid='{hers}' action='cancel'/>"
    );
    assert!(is_done(&ask(&mut house, juliet, "set", DOMAIN, &cancel)), "hers is still there");
}
