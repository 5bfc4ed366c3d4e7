//! XEP-0060: what one client can make grow at nodes, and what happens at the limit: it is told, and nothing is lost in silence.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::StreamId;

const SERVICE: &str = " to='pubsub.house.test'";

/// What came for a request in the namespace of publish-subscribe.
fn ask(house: &mut House, sid: StreamId, ty: &str, to: &str, inner: &str) -> String {
    let iq =
        format!("<iq type='{ty}' id='1'{to}><pubsub xmlns='http://jabber.org/protocol/pubsub'>{inner}</pubsub></iq>");
    house.send(sid, &iq);
    house.settle();
    house.receive_all(sid).concat()
}

fn publish(house: &mut House, sid: StreamId, to: &str, node: &str, id: &str, bytes: usize) -> String {
    let payload = format!("<x xmlns='urn:x'>{}</x>", "x".repeat(bytes - "<x xmlns='urn:x'></x>".len()));
    ask(house, sid, "set", to, &format!("<publish node='{node}'><item id='{id}'>{payload}</item></publish>"))
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
fn an_avatar_fits_and_survives_a_restart() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    assert!(publish(&mut house, romeo, "", "urn:xmpp:avatar:data", "a", 128 * 1024).contains("type='result'"));
    let more = publish(&mut house, romeo, "", "urn:xmpp:avatar:data", "b", 128 * 1024 + 1);
    assert!(more.contains("payload-too-big"), "{more}");
    house.restart();
    let romeo = house.login("romeo@house.test/orchard");
    let items = ask(&mut house, romeo, "get", "", "<items node='urn:xmpp:avatar:data'/>");
    assert!(items.len() > 128 * 1024 && items.contains("id='a'"), "{}", items.len());
}

#[test]
fn an_account_has_a_limit_in_nodes() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let mut made = 0;
    let refused = loop {
        let answer = publish(&mut house, romeo, "", &format!("urn:n:{made}"), "a", 100);
        if !answer.contains("type='result'") {
            break answer;
        }
        made += 1;
    };
    assert_eq!(made, 256);
    assert!(refused.contains("<resource-constraint ") && refused.contains("<max-nodes-exceeded "), "{refused}");
    // What is there can still be used.
    assert!(publish(&mut house, romeo, "", "urn:n:0", "b", 100).contains("type='result'"));
    assert!(ask(&mut house, romeo, "set", "", "<create node='more'/>").contains("max-nodes-exceeded"));
}

#[test]
fn one_account_does_not_fill_the_service() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let juliet = house.login("juliet@house.test/balcony");
    let made = (0..100)
        .take_while(|n| {
            let create = format!("<create node='n{n}'/>");
            ask(&mut house, romeo, "set", SERVICE, &create).contains("type='result'")
        })
        .count();
    assert_eq!(made, 50);
    assert!(ask(&mut house, juliet, "set", SERVICE, "<create node='hers'/>").contains("type='result'"));
}

#[test]
fn items_have_a_limit_in_bytes_and_pages_too() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let create = format!("<create node='n'/>{}", options(&[("max_items", "max")]));
    assert!(ask(&mut house, romeo, "set", "", &create).contains("type='result'"));
    let mut stored = 0;
    let refused = loop {
        let answer = publish(&mut house, romeo, "", "n", &format!("i{stored}"), 100_000);
        if !answer.contains("type='result'") {
            break answer;
        }
        stored += 1;
    };
    assert!(refused.contains("<resource-constraint "), "{refused}");
    assert!((40..=42).contains(&stored), "{stored}");
    // The last ones that fit into an answer, and how many there are.
    let page = ask(&mut house, romeo, "get", "", "<items node='n'/>");
    assert!(page.len() < 300 * 1024 && page.contains(&format!("<last>i{}</last><count>{stored}</count>", stored - 1)));
    // One in the place of another is no more; what is taken back makes room.
    assert!(publish(&mut house, romeo, "", "n", "i0", 100_000).contains("type='result'"));
    let retract = "<retract node='n'><item id='i1'/></retract>";
    assert!(ask(&mut house, romeo, "set", "", retract).contains("type='result'"));
    assert!(publish(&mut house, romeo, "", "n", "more", 100_000).contains("type='result'"));
    assert!(publish(&mut house, romeo, "", "n", "and more", 100_000).contains("type='error'"));
}

#[test]
fn a_node_has_a_limit_in_items() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    assert!(ask(&mut house, romeo, "set", SERVICE, "<create node='n'/>").contains("type='result'"));
    for n in 0..1010 {
        assert!(publish(&mut house, romeo, SERVICE, "n", &format!("i{n}"), 100).contains("type='result'"));
    }
    let all = ask(&mut house, romeo, "get", SERVICE, "<items node='n'/>");
    assert_eq!(all.matches("<item ").count(), 1000);
    assert!(all.contains("id='i10'") && !all.contains("id='i9'"));
}

#[test]
fn subscriptions_and_affiliations_have_a_limit_in_bytes() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    assert!(ask(&mut house, romeo, "set", SERVICE, "<create node='n'/>").contains("type='result'"));
    let mut refused = String::new();
    for round in 0..10 {
        let all: String = (0..200)
            .map(|n| format!("<affiliation jid='{}{round}x{n}@house.test' affiliation='member'/>", "j".repeat(100)))
            .collect();
        house.send(
            romeo,
            &format!(
                "<iq type='set' id='1'{SERVICE}><pubsub xmlns='http://jabber.org/protocol/pubsub#owner'>\
                 <affiliations node='n'>{all}</affiliations></pubsub></iq>"
            ),
        );
        house.settle();
        refused = house.receive_all(romeo).concat();
        if refused.contains("type='error'") {
            break;
        }
    }
    assert!(refused.contains("<not-acceptable ") && refused.contains("affiliation='none'"), "{refused}");
    // One account subscribes with a few of its addresses.
    let count = (0..40)
        .take_while(|n| {
            let subscribe = format!("<subscribe node='n' jid='romeo@house.test/{n}'/>");
            let create = "<create node='m'/>";
            if *n == 0 {
                ask(&mut house, romeo, "set", SERVICE, create);
            }
            let answer = ask(&mut house, romeo, "set", SERVICE, &subscribe.replace("'n'", "'m'"));
            answer.contains("type='result'") || !answer.contains("too-many-subscriptions")
        })
        .count();
    assert_eq!(count, 16);
}

#[test]
fn what_one_gets_for_having_come_is_bounded() {
    let mut house = House::new();
    let romeo = house.login("romeo@house.test/orchard");
    let names: Vec<String> = (0..20).map(|n| format!("urn:n:{n:02}")).collect();
    for name in &names {
        assert!(publish(&mut house, romeo, "", name, "a", 100_000).contains("type='result'"));
    }
    house.send(
        romeo,
        "<presence><c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='urn:c' ver='whatever'/></presence>",
    );
    let question = house.receive_all(romeo).concat();
    let id = question.split("type='get' id='").nth(1).unwrap().split('\'').next().unwrap().to_owned();
    let features: String = names.iter().map(|name| format!("<feature var='{name}+notify'/>")).collect();
    house.send(
        romeo,
        &format!(
            "<iq type='result' id='{id}' to='house.test'><query xmlns='http://jabber.org/protocol/disco#info'>\
             <identity category='client' type='pc'/>{features}</query></iq>"
        ),
    );
    house.settle();
    let all = house.receive_all(romeo);
    assert_eq!(all.len(), 5, "512 KB");
    assert!(all.iter().all(|message| message.contains("<delay ") && message.contains("type='headline'")));
    assert!(!house.is_closed(romeo));
}
