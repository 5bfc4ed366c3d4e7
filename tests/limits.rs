//! What one client can make grow, and what happens at the limit: it is told, and nothing is lost in silence.
#![allow(clippy::unwrap_used)]

mod house;

use house::{DOMAIN, House};
use inglenook::core::{Command, Sid};
use inglenook::wire::Jid;

/// The conditions of the errors that came.
fn errors(house: &mut House, sid: Sid) -> Vec<&'static str> {
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
    assert_eq!(house.state().accounts["romeo"].blocked.len(), 100);
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
    house.state().accounts.values().filter(|a| a.roster.state(&iago).from).count()
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
        let there = house.state().accounts.contains_key("iago");
        assert_eq!(there, n < batches);
        assert!(there || shown(&house) == 0, "{} after {n} of {batches}", shown(&house));
    }
}
