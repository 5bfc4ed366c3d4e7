//! Offline messages that do not fit into one page: what a client has to have read before it gets more.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::StreamId;
use inglenook::store::record::Writer;
use inglenook::store::{Batch, Engine, Tree, key};
use inglenook::wire::Scope;
use inglenook::wire::{Kind, Ns, Stanza};

/// The bodies that came, and the id of the ping behind them.
fn page(house: &mut House, sid: StreamId) -> (Vec<String>, Option<String>) {
    let (mut bodies, mut ping) = (Vec::new(), None);
    for xml in house.receive_all(sid) {
        let stanza = Stanza::parse(&xml, Scope::client()).unwrap().unwrap();
        match stanza.kind {
            Kind::Message => {
                assert!(ping.is_none(), "a message behind the ping");
                bodies.push(stanza.child(Ns::CLIENT, "body").unwrap().text().into_owned());
            }
            Kind::Iq => ping = stanza.id().map(|id| id.into_owned()),
            Kind::Presence => {}
        }
    }
    (bodies, ping)
}

fn confirm(house: &mut House, sid: StreamId, ping: &str) {
    house.send(sid, &format!("<iq type='result' id='{ping}' to='{}'/>", house::DOMAIN));
}

#[test]
fn many_messages_come_in_pages_each_after_the_one_before_was_read() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    for n in 0..120 {
        house.send(romeo, &format!("<message type='chat' to='juliet@house.test'><body>{n}</body></message>"));
    }
    assert_eq!(house.receive_all(romeo), [""; 0]);
    let mut juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<presence/>");
    let (mut all, mut sizes) = (Vec::new(), Vec::new());
    let (mut bodies, mut ping) = page(&mut house, juliet);
    while let Some(id) = ping {
        assert_eq!(page(&mut house, juliet).0.len(), 0, "more before it was confirmed");
        sizes.push(bodies.len());
        all.append(&mut bodies);
        confirm(&mut house, juliet, &id);
        if sizes.len() == 2 {
            // Elsewhere it goes on with what was not confirmed, also after the power failed.
            house.power_cut();
            juliet = house.login("juliet@house.test/balcony");
            house.send(juliet, "<presence/>");
        }
        (bodies, ping) = page(&mut house, juliet);
    }
    assert_eq!(all, (0..120).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(sizes, [50, 50, 20]);
    assert_eq!(house.uncommitted(), 0);
}

#[test]
fn a_page_of_large_messages_is_short() {
    let mut house = House::with(|s| s.offline_bytes = 4 << 20);
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    let large = "x".repeat(200 * 1024);
    for _ in 0..3 {
        house.send(romeo, &format!("<message type='chat' to='juliet@house.test'><body>{large}</body></message>"));
    }
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<presence/>");
    for _ in 0..3 {
        let (bodies, ping) = page(&mut house, juliet);
        assert_eq!(bodies.iter().map(String::len).collect::<Vec<_>>(), [large.len()]);
        confirm(&mut house, juliet, &ping.unwrap());
    }
    assert_eq!(page(&mut house, juliet), (vec![], None));
}

#[test]
fn a_removed_account_leaves_no_messages_to_its_successor() {
    let mut house = House::new();
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    house.send(romeo, "<message type='chat' to='juliet@house.test'><body>Hark</body></message>");
    house.command(inglenook::core::Command::UserRemove(inglenook::wire::Jid::parse("juliet@house.test").unwrap()));
    house.account("juliet@house.test");
    let juliet = house.login("juliet@house.test/balcony");
    house.send(juliet, "<presence/>");
    assert_eq!(page(&mut house, juliet), (vec![], None));
}

/// The first version numbered an account's messages from 0, and wrote rows without the streams that they went to.
#[test]
fn messages_of_the_first_version_are_handed_out() {
    for managed in [false, true] {
        let mut house = House::new();
        house.account("juliet@house.test");
        let mut batch = Batch::default();
        for n in 0..3 {
            let xml = format!(
                "<message xmlns='jabber:client' from='romeo@house.test/orchard' type='chat'><body>{n}</body></message>"
            );
            batch.put(Tree::Offline, key::numbered("juliet", n), Writer::new(1).u8(0).str(&xml).done());
        }
        house.disk().commit(&[batch]).unwrap();
        house.restart();
        let juliet = house.login("juliet@house.test/balcony");
        if managed {
            house.send(juliet, "<enable xmlns='urn:xmpp:sm:3'/>");
        }
        house.send(juliet, "<presence/>");
        let all = house.receive_all(juliet);
        let bodies: Vec<&String> = all.iter().filter(|xml| xml.contains("<body>")).collect();
        assert_eq!(bodies.len(), 3, "{all:?}");
        assert!(bodies.iter().enumerate().all(|(n, xml)| xml.contains(&format!("<body>{n}</body>"))), "{all:?}");
        if managed {
            house.send(juliet, "<a xmlns='urn:xmpp:sm:3' h='4'/>");
        } else {
            let ping = all.iter().find(|xml| xml.contains("urn:xmpp:ping")).unwrap();
            let ping = Stanza::parse(ping, Scope::client()).unwrap().unwrap();
            confirm(&mut house, juliet, &ping.id().unwrap());
        }
        house.power_cut();
        let juliet = house.login("juliet@house.test/balcony");
        house.send(juliet, "<presence/>");
        assert!(!house.receive_all(juliet).iter().any(|xml| xml.contains("<body>")), "they were confirmed");
    }
}

/// However small they are: the number of messages has a limit of its own, and nobody's free part passes it.
#[test]
fn messages_for_one_account_are_counted() {
    let mut house = House::with(|s| s.offline_bytes = 64 << 20);
    house.account("juliet@house.test");
    let (mut accepted, mut last) = (0, 0);
    for n in 0..40 {
        let sender = house.login(&format!("romeo{n}@house.test/orchard"));
        last = 0;
        loop {
            house.send(sender, "<message type='chat' to='juliet@house.test'><body>x</body></message>");
            let refused = house.receive_all(sender).concat();
            if !refused.is_empty() {
                assert!(refused.contains("<service-unavailable "), "{refused}");
                break;
            }
            last += 1;
        }
        accepted += last;
    }
    assert_eq!((accepted, last), (10_000, 0));
}
