//! An account that is removed takes along all that is stored for it: whoever has its name later finds nothing, and nothing of it is
//! left in any tree but what is listed here.
#![allow(clippy::unwrap_used)]

mod house;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use house::House;
use inglenook::core::{Command, StreamId, WantedInvitation, token_digest};
use inglenook::store::{Engine, Query, Tree};
use inglenook::wire::Jid;

/// Whose account goes, and who has the same of everything and stays. Neither name is in the other, or in what is written below.
const GOES: &str = "juliet";
const STAYS: &str = "mercutio";

fn ask(house: &mut House, sid: StreamId, to: &str, inner: &str) {
    house.send(sid, &format!("<iq type='set' id='1'{to}>{inner}</iq>"));
    house.settle();
    let answer = house.receive_all(sid).concat();
    assert!(answer.contains("type='result'"), "{inner}: {answer}");
}

/// Stores something in each tree that belongs to accounts.
fn fill(house: &mut House, name: &str) {
    house.account("romeo@house.test");
    let contacts = vec![Jid::parse("romeo@house.test").unwrap()];
    let invitation = WantedInvitation { admin: true, contacts, ..WantedInvitation::new(token_digest(name)) };
    house.command(Command::Invite(Box::new(invitation)));
    assert!(house.take(name, name).unwrap().is_ok());
    let romeo = house.login("romeo@house.test/orchard");
    // Before it is there: a message waits.
    house.send(romeo, &format!("<message type='chat' to='{name}@house.test'><body>waits</body></message>"));
    let sid = house.login(&format!("{name}@house.test/balcony"));
    ask(house, sid, "", "<query xmlns='jabber:iq:roster'><item jid='romeo@house.test'/></query>");
    ask(house, sid, "", "<block xmlns='urn:xmpp:blocking'><item jid='iago@house.test'/></block>");
    ask(house, sid, "", "<query xmlns='jabber:iq:private'><a xmlns='urn:a'>x</a></query>");
    ask(house, sid, "", "<vCard xmlns='vcard-temp'><FN>x</FN></vCard>");
    ask(house, sid, "", "<prefs xmlns='urn:xmpp:mam:2' default='roster'/>");
    ask(house, sid, "", "<enable xmlns='urn:xmpp:push:0' jid='romeo@house.test/maker' node='n'/>");
    let publish = "<publish node='urn:n'><item id='i'><a xmlns='urn:a'/></item></publish>";
    ask(house, sid, "", &format!("<pubsub xmlns='http://jabber.org/protocol/pubsub'>{publish}</pubsub>"));
    let token = house.open();
    let proof = STANDARD.encode(format!("\0{name}\0{name}"));
    house.send(
        token,
        &format!(
            "<stream:stream to='house.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>\
             <authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'><initial-response>{proof}</initial-response>\
             <user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'/>\
             <request-token xmlns='urn:xmpp:fast:0' mechanism='HT-SHA-256-NONE'/></authenticate>"
        ),
    );
    house.settle();
    assert!(house.receive_all(token).concat().contains("<token "));
}

/// The keys of a tree, as text, where a key or a value has a name in it.
fn mentions(house: &mut House, tree: Tree, name: &str) -> Vec<String> {
    let all = Query::Scan { tree, prefix: Box::default(), after: None, rows: usize::MAX, bytes: usize::MAX };
    let has = |bytes: &[u8]| bytes.windows(name.len()).any(|part| part == name.as_bytes());
    let rows = house.disk().query(&all).unwrap();
    rows.into_iter()
        .filter(|(key, value)| has(key) || has(value))
        .map(|(key, _)| String::from_utf8_lossy(&key).into_owned())
        .collect()
}

/// Whether rows of a tree are an account's, by what the tests say, whatever the program does.
fn belongs_to_accounts(tree: Tree) -> bool {
    match tree {
        Tree::Meta | Tree::Room | Tree::Notifier | Tree::Invitation => false,
        Tree::Account
        | Tree::Roster
        | Tree::Block
        | Tree::Private
        | Tree::Vcard
        | Tree::Offline
        | Tree::Archive
        | Tree::Node
        | Tree::Item
        | Tree::Push
        | Tree::Token
        | Tree::Admin
        | Tree::House => true,
    }
}

#[test]
fn nothing_is_left_of_an_account() {
    let mut house = House::new();
    for name in [GOES, STAYS] {
        fill(&mut house, name);
    }
    // In other people's rows: a subscription, a membership in a room, an affiliation, the message of the day.
    let romeo = house.login("romeo@house.test/other");
    let goes = house.login("juliet@house.test/other");
    house.send(romeo, "<presence type='subscribe' to='juliet@house.test'/>");
    house.send(goes, "<presence type='subscribed' to='romeo@house.test'/>");
    ask(
        &mut house,
        romeo,
        " to='pubsub.house.test'",
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='n'/></pubsub>",
    );
    ask(
        &mut house,
        romeo,
        " to='pubsub.house.test'",
        "<pubsub xmlns='http://jabber.org/protocol/pubsub#owner'><affiliations node='n'>\
         <affiliation jid='juliet@house.test' affiliation='publisher'/></affiliations></pubsub>",
    );
    house.send(
        romeo,
        "<presence to='room@conference.house.test/r'><x xmlns='http://jabber.org/protocol/muc'/></presence>",
    );
    house.settle();
    house.receive_all(romeo);
    ask(
        &mut house,
        romeo,
        " to='room@conference.house.test'",
        "<query xmlns='http://jabber.org/protocol/muc#owner'><x xmlns='jabber:x:data' type='submit'/></query>",
    );
    ask(
        &mut house,
        romeo,
        " to='room@conference.house.test'",
        "<query xmlns='http://jabber.org/protocol/muc#admin'><item jid='juliet@house.test' affiliation='member'/></query>",
    );
    let before = Tree::ALL.map(|tree| mentions(&mut house, tree, STAYS));
    for (tree, stays) in Tree::ALL.into_iter().zip(&before).filter(|(tree, _)| belongs_to_accounts(*tree)) {
        assert!(!stays.is_empty(), "{tree:?} has rows of accounts, and the test fills it");
        assert!(!mentions(&mut house, tree, GOES).is_empty(), "{tree:?}");
    }

    house.command(Command::UserRemove(Jid::parse("juliet@house.test").unwrap()));
    house.settle();
    for _ in 0..2 {
        for (tree, stays) in Tree::ALL.into_iter().zip(&before) {
            let left: &[&str] = match tree {
                // From where on the archive of whoever has the name later begins.
                Tree::Archive => &["juliet"],
                // Romeo's contact, with no subscription: contacts are their owner's.
                Tree::Roster => &["romeo\0juliet@house.test"],
                _ => &[],
            };
            assert_eq!(mentions(&mut house, tree, GOES), left, "{tree:?}");
            assert_eq!(mentions(&mut house, tree, STAYS), *stays, "{tree:?}");
        }
        house.restart();
    }
}
