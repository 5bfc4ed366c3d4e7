//! What one client can make grow, and what happens at the limit: it is told, and nothing is lost in silence.
#![allow(clippy::unwrap_used)]

mod house;

use house::{DOMAIN, House};
use inglenook::core::{Command, StreamId};
use inglenook::wire::Jid;

/// The conditions of the errors that came.
fn errors(house: &mut House, sid: StreamId) -> Vec<&'static str> {
    let conditions = ["resource-constraint", "policy-violation", "not-acceptable"];
    let all = house.receive_all(sid);
    all.iter().flat_map(|xml| conditions.into_iter().find(|c| xml.contains(&format!("<{c} ")))).collect()
}

#[test]
fn a_presence_that_is_kept_is_short() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let juliet = house.login("juliet@house.test/balcony");
    let presence = |bytes: usize| format!("<presence><status>{}</status></presence>", "x".repeat(bytes));
    house.send(romeo, &presence(16 * 1024));
    assert_eq!(errors(&mut house, romeo), ["policy-violation"]);
    assert!(house.state().available("romeo").is_empty());
    house.send(romeo, &presence(4 * 1024));
    assert_eq!(house.receive_all(romeo).len(), 1);
    // One to somebody passes, and is not kept.
    let directed =
        format!("<presence to='juliet@house.test/balcony'><status>{}</status></presence>", "x".repeat(16_384));
    house.send(romeo, &directed);
    assert_eq!((errors(&mut house, romeo), house.receive_all(juliet).len()), (vec![], 1));
}

#[test]
fn who_was_sent_directed_presence_is_told_of_its_end() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let resource = "r".repeat(1000);
    let juliet = house.login(&format!("juliet@house.test/{resource}"));
    let mut refused = 0;
    for n in 0..100 {
        house.send(romeo, &format!("<presence to='{n}@house.test/{resource}'/>"));
        refused += errors(&mut house, romeo).len();
    }
    assert!(refused > 20 && refused < 80, "{refused}");
    let to_juliet = format!("<presence to='juliet@house.test/{resource}'/>");
    house.send(romeo, &to_juliet);
    assert_eq!(errors(&mut house, romeo), ["resource-constraint"]);
    assert_eq!(house.receive_all(juliet), [""; 0], "it would never hear of the end");
    // What was taken back makes room.
    house.send(romeo, &format!("<presence to='0@house.test/{resource}' type='unavailable'/>"));
    house.send(romeo, &to_juliet);
    house.send(romeo, &to_juliet);
    assert_eq!((errors(&mut house, romeo), house.receive_all(juliet).len()), (vec![], 2));
    house.cut(romeo);
    assert!(house.receive_all(juliet).pop().unwrap().contains("unavailable"));
}

#[test]
fn a_roster_fits_into_an_outbox() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let groups: String = (0..32).map(|n| format!("<group>{n:04}{}</group>", "'".repeat(1000))).collect();
    let set = |n: usize, what: &str| {
        format!(
            "<iq type='set' id='{n}'><query xmlns='jabber:iq:roster'><item jid='{n}@elsewhere.test'{what}</item></query></iq>"
        )
    };
    let mut refused = 0;
    for n in 0..8 {
        house.send(romeo, &set(n, &format!(">{groups}")));
        refused += errors(&mut house, romeo).len();
    }
    assert_eq!(refused, 6, "each is more than 160 KB long as it is written");
    house.send(romeo, &set(0, " subscription='remove'>"));
    house.send(romeo, &set(1, ">"));
    house.send(romeo, &set(2, &format!(">{groups}")));
    assert_eq!(errors(&mut house, romeo), [""; 0], "there is room again");
    house.restart();
    let romeo = house.login("romeo@house.test/orchard");
    house.send(romeo, &set(3, &format!(">{groups}")));
    assert_eq!(errors(&mut house, romeo), [""; 0]);
    house.send(romeo, &set(4, &format!(">{groups}")));
    assert_eq!(errors(&mut house, romeo), ["resource-constraint"], "also after a restart");
    house.send(romeo, "<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq>");
    assert!(house.receive(romeo).unwrap().len() < 512 * 1024 + 1024);
}

#[test]
fn a_block_list_fits_into_an_outbox() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let mut refused = 0;
    for n in 0..8 {
        let items: String = (0..50).map(|i| format!("<item jid='{n}.{i}@house.test/{}'/>", "r".repeat(1000))).collect();
        house.send(romeo, &format!("<iq type='set' id='{n}'><block xmlns='urn:xmpp:blocking'>{items}</block></iq>"));
        refused += errors(&mut house, romeo).len();
    }
    assert_eq!(refused, 6);
    assert_eq!(house.state().accounts()["romeo"].blocked.len(), 100);
}

/// A house where sixty people show their presence to iago, and he is about to be removed with storage held back.
fn removed() -> House {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    for n in 0..60 {
        let sid = house.login(&format!("u{n}@house.test/x"));
        house.send(sid, "<presence to='iago@house.test' type='subscribed'/>");
        house.send(iago, &format!("<presence to='u{n}@house.test' type='subscribe'/>"));
    }
    house.hold = true;
    house.command(Command::UserRemove(Jid::parse("iago@house.test").unwrap()));
    house
}

/// How many show their presence to whoever has the name.
fn shown(house: &House) -> usize {
    let iago = Jid::parse(&format!("iago@{DOMAIN}")).unwrap();
    house.state().accounts().sum(|a| usize::from(a.roster.state(&iago).from))
}

#[test]
fn nobody_shows_presence_to_a_name_that_is_free_whenever_the_power_fails() {
    let batches = removed().uncommitted();
    assert!(batches > 1, "one batch proves nothing");
    for n in 0..=batches {
        let mut house = removed();
        for _ in 0..n {
            assert_eq!(house.told.len(), 0, "told before it was stored");
            house.store_one();
        }
        assert_eq!(house.told.len(), usize::from(n == batches));
        house.power_cut();
        let there = house.state().accounts().contains_key("iago");
        assert_eq!(there, n < batches);
        assert!(there || shown(&house) == 0, "{} after {n} of {batches}", shown(&house));
    }
}

/// A house where iago owns rooms and nodes with emilia, and is about to be removed with storage held back.
fn dispossessed() -> House {
    let mut house = House::new();
    let iago = house.login("iago@house.test/x");
    house.account("emilia@house.test");
    for n in 0..ROOMS {
        let room = format!("r{n}@conference.house.test");
        house.send(iago, &format!("<presence to='{room}/Iago'><x xmlns='http://jabber.org/protocol/muc'/></presence>"));
        let form =
            "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>";
        house.send(iago, &format!("<iq type='set' id='c' to='{room}'>{form}</iq>"));
        let item = "<item jid='emilia@house.test' affiliation='member'/>";
        let admin = format!("<query xmlns='http://jabber.org/protocol/muc#admin'>{item}</query>");
        house.send(iago, &format!("<iq type='set' id='m' to='{room}'>{admin}</iq>"));
        house.receive_all(iago);
    }
    house.hold = true;
    house.command(Command::UserRemove(Jid::parse("iago@house.test").unwrap()));
    house
}

const ROOMS: usize = 60;

#[test]
fn nobody_owns_a_room_by_a_name_that_is_free_whenever_the_power_fails() {
    let batches = dispossessed().uncommitted();
    assert!(batches > 1, "one batch proves nothing");
    for n in 0..=batches {
        let mut house = dispossessed();
        for _ in 0..n {
            assert_eq!(house.told.len(), 0, "told before it was stored");
            house.store_one();
        }
        assert_eq!(house.told.len(), usize::from(n == batches));
        house.power_cut();
        house.hold = false;
        let there = house.state().accounts().contains_key("iago");
        assert!(there || n == batches, "{n} of {batches}: it goes last");
        // Whoever has the name now.
        let who = house.login(if there { "emilia@house.test/x" } else { "iago@house.test/x" });
        for room in (0..ROOMS).filter(|_| !there) {
            let query = "<query xmlns='http://jabber.org/protocol/muc#owner'/>";
            house.send(who, &format!("<iq type='get' id='1' to='r{room}@conference.house.test'>{query}</iq>"));
            let answer = house.receive(who).unwrap();
            assert!(answer.contains("<forbidden"), "room {room} after {n} of {batches}: {answer}");
        }
    }
}

// --- stream management (XEP-0198) ---

const SM: &str = "xmlns='urn:xmpp:sm:3'";

/// Enables stream management; the stream's id.
fn enable(house: &mut House, sid: StreamId) -> String {
    house.send(sid, &format!("<enable {SM} resume='true'/>"));
    let enabled = house.receive_all(sid).pop().unwrap();
    enabled.split_once(" id='").unwrap().1.split_once('\'').unwrap().0.to_owned()
}

fn resume(house: &mut House, jid: &str, id: &str, h: u32) -> StreamId {
    let sid = house.authenticate(jid);
    house.send(sid, &format!("<resume {SM} previd='{id}' h='{h}'/>"));
    sid
}

/// A house where so many messages wait for juliet, who has come, and whose page is held back until storage has the note of it.
fn held_back(messages: usize) -> (House, StreamId) {
    let mut house = House::new();
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    for _ in 0..messages {
        house.send(romeo, "<message type='chat' to='juliet@house.test'><body>Hark</body></message>");
    }
    let juliet = house.login("juliet@house.test/balcony");
    enable(&mut house, juliet);
    house.hold = true;
    house.send(juliet, "<presence/>");
    assert!(house.store_one(), "the page");
    house.receive_all(juliet);
    (house, juliet)
}

#[test]
fn what_is_not_written_yet_cannot_be_acknowledged() {
    for h in [2, 3, 4] {
        let (mut house, juliet) = held_back(2);
        assert_eq!(house.uncommitted(), 1, "the note of what is handed over");
        house.send(juliet, &format!("<a {SM} h='{h}'/>"));
        let got = house.receive_all(juliet).concat();
        assert!(got.contains(&format!("<handled-count-too-high {SM} h='{h}' send-count='1'/>")), "{got}");
        house.release();
        assert!(house.is_closed(juliet) && house.receive_all(juliet).is_empty());
        // Nothing was lost by that.
        let juliet = house.login("juliet@house.test/balcony");
        house.send(juliet, "<presence/>");
        assert_eq!(house.receive_all(juliet).concat().matches("<body>Hark</body>").count(), 2);
    }
}

/// What is written late is asked for then.
#[test]
fn what_was_held_back_is_asked_for() {
    let (mut house, juliet) = held_back(1);
    house.send(juliet, &format!("<a {SM} h='1'/>"));
    assert_eq!(house.receive_all(juliet), [""; 0], "there is nothing to ask for");
    house.release();
    let got = house.receive_all(juliet);
    assert!(got.len() == 2 && got[0].contains("Hark") && got[1] == format!("<r {SM}/>"), "{got:?}");
}

/// A client that answers without news is asked again, but not as fast as it answers.
#[test]
fn a_slow_client_is_asked_now_and_then() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let juliet = house.login("juliet@house.test/balcony");
    enable(&mut house, juliet);
    house.send(romeo, "<presence to='juliet@house.test/balcony'/>");
    let mut asked = 0;
    for _ in 0..100 {
        for got in house.receive_all(juliet) {
            if got == format!("<r {SM}/>") {
                asked += 1;
                for _ in 0..10 {
                    house.send(juliet, &format!("<a {SM} h='0'/>"));
                }
            }
        }
        house.pass(6_000);
    }
    assert!((5..=11).contains(&asked), "{asked}");
    assert!(!house.is_closed(juliet));
}

#[test]
fn floods_of_stream_management() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    let id = enable(&mut house, romeo);
    house.send(romeo, &format!("<r {SM}/>").repeat(10_000));
    assert_eq!(house.receive_all(romeo).len(), 10_000);
    // While storage waits they are answered together.
    house.hold = true;
    for _ in 0..100 {
        house.send(romeo, "<message type='chat' to='juliet@house.test'><body>Hark</body></message>");
        house.send(romeo, &format!("<r {SM}/>").repeat(100));
    }
    assert_eq!(house.receive_all(romeo), [""; 0]);
    house.release();
    let acks = house.receive_all(romeo);
    assert!(acks.len() <= 100 && acks.last() == Some(&format!("<a {SM} h='100'/>")), "{acks:?}");
    // Acks without news.
    house.send(romeo, &format!("<a {SM} h='0'/>").repeat(10_000));
    assert_eq!(house.receive_all(romeo), [""; 0]);
    // Ids that are not there, or somebody else's: the session is not touched.
    let tybalt = house.authenticate("tybalt@house.test");
    for n in 0..1_000 {
        house.send(tybalt, &format!("<resume {SM} previd='{n:048x}' h='0'/><resume {SM} previd='{id}' h='{n}'/>"));
    }
    let failed = house.receive_all(tybalt);
    assert!(failed.len() == 2_000 && failed.iter().all(|xml| *xml == failed[0]), "{:?}", failed[0]);
    assert!(!house.is_closed(romeo));
    // Before there is a resource, and before authentication, where bytes are counted.
    house.send(tybalt, &format!("<enable {SM} resume='true'/>").repeat(1_000));
    assert_eq!(house.receive_all(tybalt).len(), 1_000);
    let nobody = house.open();
    let xmlns = "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'";
    house.send(nobody, &format!("<stream:stream to='{DOMAIN}' version='1.0' {xmlns}>"));
    house.send(nobody, &format!("<enable {SM} resume='true'/>").repeat(1_000));
    assert!(house.is_closed(nobody));
    assert!(house.receive_all(nobody).iter().any(|xml| xml.contains("<policy-violation ")));
}

#[test]
fn a_session_that_waits_has_a_limit_and_ends_there() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let juliet = house.login("juliet@house.test/balcony");
    let id = enable(&mut house, juliet);
    house.cut(juliet);
    let body = "x".repeat(100_000);
    for n in 0..16 {
        assert_eq!(house.state().sessions_of("juliet").len(), usize::from(n < 16), "{n}");
        let to = "juliet@house.test/balcony";
        house.send(romeo, &format!("<message type='chat' id='{n}' to='{to}'><body>{body}</body></message>"));
    }
    assert!(house.state().sessions_of("juliet").is_empty(), "too much was waiting");
    assert_eq!(house.receive_all(romeo), [""; 0], "and nothing of it is lost");
    let late = resume(&mut house, "juliet@house.test", &id, 0);
    assert!(house.receive_all(late).concat().starts_with("<failed "));
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, &format!("<enable {SM}/><presence/>"));
    let (mut got, mut count) = (Vec::new(), 0_u32);
    for _ in 0..40 {
        for xml in house.receive_all(juliet) {
            count += u32::from(!xml.contains(SM));
            let id = xml.split_once(" id='").filter(|_| xml.starts_with("<message"));
            got.extend(id.map(|(_, id)| id.split('\'').next().unwrap().parse::<u32>().unwrap()));
        }
        house.send(juliet, &format!("<a {SM} h='{count}'/>"));
    }
    assert_eq!(got, (0..16).collect::<Vec<_>>());
}

#[test]
fn the_session_that_has_waited_longest_makes_room() {
    let mut house = House::new();
    let mut ids = Vec::new();
    for n in 0..40 {
        let sid = house.login(&format!("juliet@house.test/{n:02}"));
        ids.push(enable(&mut house, sid));
        house.cut(sid);
        house.pass(1000);
        assert!(house.state().sessions_of("juliet").len() <= 32);
    }
    for (n, id) in ids.iter().enumerate() {
        let sid = resume(&mut house, "juliet@house.test", id, 0);
        let got = house.receive_all(sid).concat();
        assert_eq!(got.starts_with("<resumed "), n >= 8, "{n}: {got}");
    }
    // With all of them connected there is no room.
    let sid = house.authenticate("juliet@house.test");
    house.send(sid, "<iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
    assert_eq!(errors(&mut house, sid), ["resource-constraint"]);
}

/// Whoever comes and goes leaves nothing behind.
#[test]
fn a_session_that_comes_and_goes_stays_one() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let juliet = house.login("juliet@house.test/balcony");
    let id = enable(&mut house, juliet);
    house.send(romeo, "<presence to='juliet@house.test/balcony' id='1'/>");
    for n in 0..200 {
        let sid = resume(&mut house, "juliet@house.test", &id, 0);
        let got = house.receive_all(sid);
        assert!(got.len() == 3 && got[0] == format!("<resumed {SM} h='{n}' previd='{id}'/>"), "{got:?}");
        assert!(got[1].starts_with("<presence ") && got[2] == format!("<r {SM}/>"));
        house.send(sid, "<presence to='nobody@house.test'/>");
        if n % 2 == 0 {
            house.cut(sid);
        }
    }
    assert_eq!(house.state().sessions().len(), 2);
}
