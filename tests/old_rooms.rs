//! Rooms as older versions have left them: lists without the order in which somebody came onto them, and rooms that have lost their
//! owner with the account.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::StreamId;
use inglenook::store::record::Writer;
use inglenook::store::{Batch, Engine, Tree, key};

const ROOM: &str = "garden@conference.house.test";
const OWNER: &str = "http://jabber.org/protocol/muc#owner";

/// Somebody on a list: the bare JID, the affiliation (0: outcast, 2: member, 3: admin, 4: owner), and who brought them.
type Listed<'a> = (&'a str, u8, Option<&'a str>);

/// The list of a room as it was stored before: version 1 for whom an admin brought, 2 for the others.
fn row(batch: &mut Batch, jid: &str, affiliation: u8, by: Option<&str>) {
    let w = Writer::new(if by.is_some() { 2 } else { 1 }).u8(affiliation).opt_str(None).opt_str(None).u64(0);
    let record = by.iter().fold(w, |w, by| w.str(by)).done();
    batch.put(Tree::Room, key::named("garden", &format!("a {jid}")), record);
}

/// A room of romeo's, whose list is then that of an older version, without him.
fn house(list: &[Listed<'_>]) -> House {
    let mut house = House::new();
    for name in ["juliet", "nurse", "paris"] {
        house.account(&format!("{name}@house.test"));
    }
    let romeo = house.login("romeo@house.test/orchard");
    house.send(romeo, &format!("<presence to='{ROOM}/Romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    let form = "<x xmlns='jabber:x:data' type='submit'/>";
    house.send(romeo, &format!("<iq type='set' id='c' to='{ROOM}'><query xmlns='{OWNER}'>{form}</query></iq>"));
    assert!(house.receive_all(romeo).iter().any(|xml| xml.contains("type='result'")));
    let mut batch = Batch::default();
    batch.delete(Tree::Room, key::named("garden", "a romeo@house.test"));
    for (jid, affiliation, by) in list {
        row(&mut batch, jid, *affiliation, *by);
    }
    house.disk().commit(&[batch]).unwrap();
    house.restart();
    house
}

fn owns(house: &mut House, sid: StreamId) -> bool {
    house.send(sid, &format!("<iq type='get' id='1' to='{ROOM}'><query xmlns='{OWNER}'/></iq>"));
    house.receive(sid).unwrap().contains("type='result'")
}

#[test]
fn a_room_that_had_lost_its_owner_has_one_from_the_next_start_on() {
    let lists: [(&[Listed<'_>], &str); 3] = [
        (&[("juliet@house.test", 2, None), ("paris@house.test", 3, None)], "paris"),
        (&[("paris@house.test", 2, Some("nurse@house.test")), ("nurse@house.test", 0, None)], "paris"),
        // Somebody who has no account is nobody.
        (&[("abram@house.test", 3, None), ("juliet@house.test", 2, None), ("house.test", 2, None)], "juliet"),
    ];
    for (list, heir) in lists {
        let mut house = house(list);
        for _ in 0..2 {
            for name in ["juliet", "nurse", "paris"] {
                let sid = house.login(&format!("{name}@house.test/x"));
                assert_eq!(owns(&mut house, sid), name == heir, "{name}, {list:?}");
            }
            house.power_cut();
        }
    }
}

#[test]
fn a_room_that_has_an_owner_keeps_it() {
    let mut house = house(&[("paris@house.test", 3, None), ("nurse@house.test", 4, None)]);
    for (name, is) in [("paris", false), ("nurse", true)] {
        let sid = house.login(&format!("{name}@house.test/x"));
        assert_eq!(owns(&mut house, sid), is, "{name}");
    }
}

/// Who was there before the order was stored has been there for longer than whoever came later.
#[test]
fn who_was_on_a_list_before_goes_before_who_came_later() {
    let mut house = house(&[("nurse@house.test", 4, None), ("paris@house.test", 3, None)]);
    let nurse = house.login("nurse@house.test/x");
    let item = "<item jid='juliet@house.test' affiliation='admin'/>";
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
    house.send(nurse, &format!("<iq type='set' id='1' to='{ROOM}'>{query}</iq>"));
    house.power_cut();
    let nurse = house.login("nurse@house.test/x");
    house.send(nurse, "<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>");
    for (name, is) in [("juliet", false), ("paris", true)] {
        let sid = house.login(&format!("{name}@house.test/x"));
        assert_eq!(owns(&mut house, sid), is, "{name}");
    }
}

/// Makes a room of romeo's, open to everybody, with somebody on its list.
fn garden(house: &mut House, romeo: StreamId, who: &str, affiliation: &str) {
    house.send(romeo, &format!("<presence to='{ROOM}/Romeo'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
    let open = "<field var='muc#roomconfig_membersonly'><value>0</value></field>";
    let form = format!(
        "<x xmlns='jabber:x:data' type='submit'>\
         <field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>{open}</x>"
    );
    house.send(romeo, &format!("<iq type='set' id='c' to='{ROOM}'><query xmlns='{OWNER}'>{form}</query></iq>"));
    let item = format!("<item jid='{who}' affiliation='{affiliation}'/>");
    let query = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
    house.send(romeo, &format!("<iq type='set' id='1' to='{ROOM}'>{query}</iq>"));
    let came = house.receive_all(romeo);
    assert_eq!(came.iter().filter(|xml| xml.contains("type='result'")).count(), 2, "{came:?}");
}

fn leave_for_good(house: &mut House, sid: StreamId) {
    house.send(sid, "<iq type='set' id='r'><query xmlns='jabber:iq:register'><remove/></query></iq>");
}

/// A name that stood on the list when nobody had it makes nobody an owner, however often the server starts.
#[test]
fn who_takes_a_name_later_is_no_heir() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    garden(&mut house, romeo, "ghost@house.test", "admin");
    leave_for_good(&mut house, romeo);
    house.account("ghost@house.test");
    for _ in 0..2 {
        let ghost = house.login("ghost@house.test/x");
        assert!(!owns(&mut house, ghost));
        house.power_cut();
    }
}

/// Who is at a domain that nothing leads to cannot act, and is nobody that a room could be left to.
#[test]
fn an_owner_whom_nobody_can_be_is_none() {
    let mut house = House::new();
    house.account("paris@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    garden(&mut house, romeo, "x@nowhere.invalid", "owner");
    let query = "<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='paris@house.test' affiliation='admin'/></query>";
    house.send(romeo, &format!("<iq type='set' id='2' to='{ROOM}'>{query}</iq>"));
    leave_for_good(&mut house, romeo);
    let paris = house.login("paris@house.test/x");
    assert!(owns(&mut house, paris));
}

/// XEP-0421 §3: who has the name of a removed account is another occupant, and has said nothing of what that one has said.
#[test]
fn who_has_a_name_again_is_another_occupant() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    garden(&mut house, romeo, "juliet@house.test", "member");
    let id = |all: &[String], tag: &str| -> String {
        let of = all.iter().rev().find(|xml| xml.starts_with(tag) && xml.contains("/Juliet'")).unwrap();
        of.split("urn:xmpp:occupant-id:0' id='").nth(1).unwrap().split('\'').next().unwrap().to_owned()
    };
    let join = format!("<presence to='{ROOM}/Juliet'><x xmlns='http://jabber.org/protocol/muc'/></presence>");
    let first = house.login("juliet@house.test/x");
    house.send(first, &join);
    house.send(first, &format!("<message type='groupchat' to='{ROOM}'><body>Hark</body></message>"));
    let came = house.receive_all(first);
    let before = id(&came, "<message");
    assert_eq!(id(&came, "<presence"), before);
    leave_for_good(&mut house, first);
    let second = house.login("juliet@house.test/x");
    house.send(second, &join);
    let came = house.receive_all(second);
    assert_ne!(id(&came, "<presence"), before);
    assert_eq!(id(&came, "<message"), before, "what was said before was said by somebody else");
    house.power_cut();
    let again = house.login("juliet@house.test/x");
    house.send(again, &join);
    assert_eq!(id(&house.receive_all(again), "<presence"), id(&came, "<presence"));
}
