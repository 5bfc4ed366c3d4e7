//! Several devices of one account, each with its own progress through what was stored while nobody was there (XEP-0160), and what
//! comes for them meanwhile: order of a pair (RFC 6120 §10.1), nothing lost, nothing twice, nobody waits for somebody else.
#![allow(clippy::unwrap_used)]

mod house;

use house::{DOMAIN, House};
use inglenook::core::StreamId;
use inglenook::core::message::BEHIND_BYTES;
use inglenook::wire::{Kind, Ns, Scope, Stanza, Type};

/// What a stanza is, in a word: the body of a message (`+` if it is one of the old ones), or its id.
fn word(xml: &str) -> Option<String> {
    let stanza = Stanza::parse(xml, Scope::client()).ok()??;
    match stanza.kind {
        Kind::Message => {
            let (_, rest) = xml.split_once("<body>")?;
            let old = if stanza.child(Ns::DELAY, "delay").is_some() { "+" } else { "" };
            Some(format!("{old}{}", rest.split('<').next()?))
        }
        Kind::Iq if stanza.child(Ns::PING, "ping").is_some() && stanza.from.as_ref()?.as_str() == DOMAIN => None,
        Kind::Iq | Kind::Presence => stanza.id().map(|id| id.into_owned()),
    }
}

/// What came, and the id of the last question.
fn read(house: &mut House, sid: StreamId) -> (Vec<String>, Option<String>) {
    let all = house.receive_all(sid);
    let question = all.iter().rev().find_map(|xml| {
        let stanza = Stanza::parse(xml, Scope::client()).ok()??;
        let ours = stanza.from.as_ref().is_some_and(|from| from.as_str() == DOMAIN);
        let asks = ours && stanza.ty == Type::Get && stanza.child(Ns::PING, "ping").is_some();
        asks.then(|| stanza.id().unwrap().into_owned())
    });
    (all.iter().filter_map(|xml| word(xml)).collect(), question)
}

fn words(house: &mut House, sid: StreamId) -> Vec<String> {
    read(house, sid).0
}

fn reply(house: &mut House, sid: StreamId, id: &str) {
    house.send(sid, &format!("<iq type='result' id='{id}' to='{DOMAIN}'/>"));
}

fn say(house: &mut House, from: StreamId, to: &str, body: &str) {
    house.send(from, &format!("<message type='chat' to='{to}'><body>{body}</body></message>"));
}

fn old(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("+old{n}")).collect()
}

/// Juliet is away and has so many messages of Romeo's.
fn away(count: usize) -> (House, StreamId) {
    let mut house = House::new();
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    for n in 0..count {
        say(&mut house, romeo, "juliet@house.test", &format!("old{n}"));
    }
    (house, romeo)
}

fn come(house: &mut House, jid: &str) -> StreamId {
    let sid = house.login(jid);
    house.send(sid, "<presence/>");
    sid
}

const BALCONY: &str = "juliet@house.test/balcony";

/// Everything that one sender can send to a device, in every form of the address; and what each is called.
fn everything(house: &mut House, romeo: StreamId) -> Vec<&'static str> {
    say(house, romeo, "juliet@house.test", "bare");
    say(house, romeo, BALCONY, "full");
    for xml in [
        "<iq type='get' to='juliet@house.test/balcony' id='iq'><query xmlns='jabber:iq:version'/></iq>",
        "<message type='headline' to='juliet@house.test'><body>news</body></message>",
        "<message to='juliet@house.test'><body>normal</body></message>",
        "<presence to='juliet@house.test/balcony' id='presence'/>",
        "<message type='chat' to='juliet@house.test/pda'><body>copy</body></message>",
        "<message type='groupchat' to='juliet@house.test/balcony'><body>room</body></message>",
        "<iq type='result' to='juliet@house.test/balcony' id='result'/>",
        "<message type='chat' to='juliet@house.test'><body>secret</body><no-store xmlns='urn:xmpp:hints'/></message>",
        "<presence to='juliet@house.test/balcony' type='unavailable' id='gone'/>",
    ] {
        house.send(romeo, xml);
    }
    say(house, romeo, "juliet@house.test", "last");
    vec!["bare", "full", "iq", "news", "normal", "presence", "copy", "room", "result", "secret", "gone", "last"]
}

#[test]
fn what_comes_meanwhile_is_behind_the_last_page_whatever_it_is() {
    let (mut house, romeo) = away(120);
    let pda = house.login("juliet@house.test/pda");
    house.send(pda, "<presence><priority>-1</priority></presence>");
    let balcony = come(&mut house, BALCONY);
    house.send(balcony, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq>");
    let (came, ping) = read(&mut house, balcony);
    // The answer of the server does not wait.
    assert_eq!(came, [old(0..50), vec!["carbons".into()]].concat());
    let new = everything(&mut house, romeo);
    // The other device is not behind anything.
    let at_pda = words(&mut house, pda);
    assert!(at_pda.contains(&"copy".into()), "{at_pda:?}");
    assert_eq!(words(&mut house, balcony), [""; 0]);
    house.send(balcony, "<iq type='get' id='own'><query xmlns='jabber:iq:roster'/></iq>");
    assert_eq!(words(&mut house, balcony), ["own"], "what it asks for itself does not wait");
    reply(&mut house, balcony, &ping.unwrap());
    let (came, ping) = read(&mut house, balcony);
    assert_eq!(came, old(50..100));
    reply(&mut house, balcony, &ping.unwrap());
    // The last page is not confirmed, and nothing waits for that.
    let (came, ping) = read(&mut house, balcony);
    assert_eq!(came[..20], old(100..120));
    assert_eq!(came[20..], new);
    say(&mut house, romeo, "juliet@house.test", "at once");
    assert_eq!(words(&mut house, balcony), ["at once"]);
    reply(&mut house, balcony, &ping.unwrap());
    house.power_cut();
    let again = come(&mut house, BALCONY);
    assert_eq!(words(&mut house, again), [""; 0]);
}

/// A client that takes no messages any more while old ones are on their way gets nothing in their place.
#[test]
fn who_stops_taking_messages_on_the_way_gets_the_new_ones_behind_the_old_ones() {
    for managed in [false, true] {
        let (mut house, romeo) = away(120);
        let balcony = house.login(BALCONY);
        if managed {
            house.send(balcony, "<enable xmlns='urn:xmpp:sm:3'/>");
            house.receive_all(balcony);
        }
        house.send(balcony, "<presence/>");
        let (came, ping) = read(&mut house, balcony);
        assert_eq!(came, old(0..50));
        say(&mut house, romeo, "juliet@house.test", "bare");
        say(&mut house, romeo, BALCONY, "full");
        house.send(balcony, "<presence type='unavailable'/>");
        let confirm = |house: &mut House, ping: Option<String>, h: u32| match managed {
            true => house.send(balcony, &format!("<a xmlns='urn:xmpp:sm:3' h='{h}'/>")),
            false => reply(house, balcony, &ping.unwrap()),
        };
        // Its own presence is counted, too.
        confirm(&mut house, ping, 51);
        assert_eq!(words(&mut house, balcony), [""; 0], "{managed}");
        house.send(balcony, "<presence/>");
        let (came, ping) = read(&mut house, balcony);
        assert_eq!(came, old(50..100), "{managed}");
        confirm(&mut house, ping, 103);
        let (came, _) = read(&mut house, balcony);
        assert_eq!(came, [old(100..120), vec!["+bare".into(), "+full".into()]].concat(), "{managed}");
    }
}

#[test]
fn the_same_with_acknowledgements() {
    let (mut house, romeo) = away(120);
    let pda = house.login("juliet@house.test/pda");
    house.send(pda, "<presence><priority>-1</priority></presence>");
    let balcony = house.login(BALCONY);
    house.send(balcony, "<enable xmlns='urn:xmpp:sm:3' resume='true'/>");
    let id = house.receive_all(balcony).concat();
    let (_, id) = id.split_once(" id='").unwrap();
    let id = id.split('\'').next().unwrap().to_owned();
    house.send(balcony, "<iq type='set' id='carbons'><enable xmlns='urn:xmpp:carbons:2'/></iq><presence/>");
    assert_eq!(words(&mut house, balcony), [vec!["carbons".into()], old(0..50)].concat());
    let new = everything(&mut house, romeo);
    // Its own presence, that of the other device, the answer.
    house.send(balcony, "<a xmlns='urn:xmpp:sm:3' h='53'/>");
    assert_eq!(words(&mut house, balcony), old(50..100));
    // The connection is lost in the middle: it goes on where it was, in the same order.
    house.cut(balcony);
    say(&mut house, romeo, "juliet@house.test", "while away");
    let balcony = house.authenticate("juliet@house.test");
    house.send(balcony, &format!("<resume xmlns='urn:xmpp:sm:3' previd='{id}' h='63'/>"));
    assert_eq!(words(&mut house, balcony), old(60..100));
    house.send(balcony, "<a xmlns='urn:xmpp:sm:3' h='103'/>");
    let came = words(&mut house, balcony);
    assert_eq!(came[..20], old(100..120));
    assert_eq!(came[20..20 + new.len()], new);
    assert_eq!(came[20 + new.len()..], ["while away"]);
    // It acknowledges the page and the first of what is new; the rest comes to the next one. That is what is kept.
    house.send(balcony, "<a xmlns='urn:xmpp:sm:3' h='124'/><r xmlns='urn:xmpp:sm:3'/>");
    house.power_cut();
    let next = come(&mut house, "juliet@house.test/next");
    let came = words(&mut house, next);
    assert_eq!(came, ["+full", "+normal", "+last", "+while away"]);
}

#[test]
fn a_page_is_handed_to_each_device_and_none_waits_for_another() {
    let (mut house, romeo) = away(120);
    let silent = come(&mut house, "juliet@house.test/silent");
    assert_eq!(words(&mut house, silent), old(0..50));
    let balcony = come(&mut house, BALCONY);
    let mut came = Vec::new();
    say(&mut house, romeo, "juliet@house.test", "live");
    while let (page, Some(ping)) = read(&mut house, balcony) {
        came.extend(page);
        reply(&mut house, balcony, &ping);
    }
    assert_eq!(came, [old(0..120), vec!["live".into()]].concat());
    say(&mut house, romeo, "juliet@house.test", "more");
    assert_eq!(words(&mut house, balcony), ["more"]);
    // The silent one is ended, and nothing is left for the other.
    house.pass(130_000);
    assert!(house.is_closed(silent));
    assert_eq!(words(&mut house, balcony), [""; 0]);
    house.cut(balcony);
    let next = come(&mut house, "juliet@house.test/next");
    assert_eq!(words(&mut house, next), [""; 0]);
}

#[test]
fn a_client_that_never_answers_gets_everything_once() {
    let (mut house, romeo) = away(120);
    let first = come(&mut house, BALCONY);
    house.pass(130_000);
    assert!(house.is_closed(first));
    let balcony = come(&mut house, BALCONY);
    say(&mut house, romeo, "juliet@house.test", "live");
    say(&mut house, romeo, BALCONY, "full");
    let mut came = Vec::new();
    for _ in 0..9 {
        came.extend(words(&mut house, balcony));
        house.pass(60_000);
    }
    assert!(!house.is_closed(balcony));
    assert_eq!(came, [old(0..120), vec!["live".into(), "full".into()]].concat());
    say(&mut house, romeo, "juliet@house.test", "more");
    assert_eq!(words(&mut house, balcony), ["more"]);
    house.cut(balcony);
    // It has confirmed nothing: the next one gets it all, in order.
    let next = come(&mut house, "juliet@house.test/next");
    let mut came = Vec::new();
    while let (page, Some(ping)) = read(&mut house, next) {
        came.extend(page);
        reply(&mut house, next, &ping);
    }
    assert_eq!(came, [old(0..120), vec!["+live".into(), "+full".into(), "+more".into()]].concat());
}

#[test]
fn a_client_that_answers_late_has_had_it() {
    let (mut house, romeo) = away(3);
    let balcony = come(&mut house, BALCONY);
    let ping = read(&mut house, balcony).1.unwrap();
    for n in 0..5 {
        say(&mut house, romeo, "juliet@house.test", &format!("live{n}"));
        house.pass(10_000);
    }
    reply(&mut house, balcony, &ping);
    assert_eq!(words(&mut house, balcony), ["live0", "live1", "live2", "live3", "live4"]);
    house.pass(300_000);
    assert!(!house.is_closed(balcony));
    house.cut(balcony);
    let next = come(&mut house, "juliet@house.test/next");
    assert_eq!(words(&mut house, next), [""; 0]);
}

#[test]
fn what_waits_for_a_device_is_bounded() {
    let (mut house, romeo) = away(120);
    let balcony = come(&mut house, BALCONY);
    let other = come(&mut house, "juliet@house.test/other");
    words(&mut house, other);
    let large = "x".repeat(10_000);
    // One speaker has no more of it than is left for the others, whatever he says; and nobody is closed for that.
    let mut count = 0;
    let refused = loop {
        let to = if count % 2 == 0 { "juliet@house.test" } else { BALCONY };
        say(&mut house, romeo, to, &format!("{count} {large}"));
        if let Some(refused) = house.receive(romeo) {
            break refused;
        }
        count += 1;
    };
    assert!(refused.contains("<resource-constraint ") && refused.contains("type='wait'"), "{refused}");
    assert!(count * large.len() < BEHIND_BYTES / 2 && (count + 2) * large.len() > BEHIND_BYTES / 2, "{count}");
    for n in 0..100 {
        let flood = format!("<message type='headline' to='{BALCONY}'><body>{n} {large}</body></message>");
        house.send(romeo, &flood);
        house.send(romeo, &format!("<presence to='{BALCONY}'><status>{large}</status></presence>"));
    }
    house.receive_all(romeo);
    let nurse = house.login("nurse@house.test/x");
    say(&mut house, nurse, BALCONY, "Madam!");
    assert_eq!(house.receive_all(nurse), [""; 0]);
    assert!(!house.is_closed(balcony));
    house.cut(balcony);
    house.cut(other);
    let next = come(&mut house, "juliet@house.test/next");
    let mut came = Vec::new();
    while let (page, Some(ping)) = read(&mut house, next) {
        came.extend(page);
        reply(&mut house, next, &ping);
    }
    assert_eq!(came[..120], old(0..120));
    let numbers: Vec<String> = came[120..].iter().map(|word| word.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(numbers, (0..count).map(|n| format!("+{n}")).chain(["+Madam!".into()]).collect::<Vec<_>>());
}

#[test]
fn whoever_takes_no_more_messages_waits_for_none() {
    for away_by in ["<presence type='unavailable'/>", "<presence><priority>-1</priority></presence>"] {
        let (mut house, romeo) = away(120);
        let balcony = come(&mut house, BALCONY);
        let ping = read(&mut house, balcony).1.unwrap();
        say(&mut house, romeo, "juliet@house.test", "bare");
        say(&mut house, romeo, BALCONY, "full");
        assert_eq!(words(&mut house, balcony), [""; 0]);
        say(&mut house, romeo, "juliet@house.test/pda", "for all");
        house.send(romeo, "<message type='headline' to='juliet@house.test/balcony'><body>news</body></message>");
        house.send(balcony, away_by);
        // What can be kept stays behind what is older; what cannot be is not held up any more.
        assert_eq!(words(&mut house, balcony), ["news"]);
        say(&mut house, romeo, BALCONY, "later");
        assert_eq!(words(&mut house, balcony), ["later"]);
        // It comes back: it gets what it did not get, in order, and nothing twice.
        house.send(balcony, "<presence/>");
        reply(&mut house, balcony, &ping);
        let mut came = Vec::new();
        while let (page, Some(ping)) = read(&mut house, balcony) {
            came.extend(page);
            reply(&mut house, balcony, &ping);
        }
        let kept = ["+bare", "+full", "+for all"].map(str::to_owned);
        assert_eq!(came, [&old(50..120)[..], &kept].concat(), "{away_by}");
        house.cut(balcony);
        let next = come(&mut house, "juliet@house.test/next");
        assert_eq!(words(&mut house, next), [""; 0]);
    }
}

#[test]
fn what_was_asked_of_the_archive_before_the_presence_does_not_come_twice() {
    for sm in ["", "<enable xmlns='urn:xmpp:sm:3'/>"] {
        let (mut house, _) = away(120);
        let balcony = house.login(BALCONY);
        house.send(balcony, sm);
        // In one piece, as a client does that is in a hurry: two pages of the archive, the newest first, and then the presence.
        let page = |id: &str, rsm: &str| {
            format!(
                "<iq type='set' id='{id}'><query xmlns='urn:xmpp:mam:2'>\
                 <set xmlns='http://jabber.org/protocol/rsm'>{rsm}</set></query></iq>"
            )
        };
        let all = page("q1", "<max>30</max><before/>") + &page("q2", "<max>40</max>") + "<presence/>";
        house.send(balcony, &all);
        let (mut came, mut handled) = (Vec::<String>::new(), 0);
        loop {
            let all = house.receive_all(balcony);
            let bodies = all.iter().filter_map(|xml| xml.split_once("<body>")?.1.split('<').next());
            came.extend(bodies.map(str::to_owned));
            let pings = all.iter().filter(|xml| xml.contains("urn:xmpp:ping"));
            let pings: Vec<String> = pings
                .map(|xml| Stanza::parse(xml, Scope::client()).unwrap().unwrap().id().unwrap().into_owned())
                .collect();
            if !sm.is_empty() && !all.is_empty() {
                handled += all.iter().filter(|xml| !xml.contains("urn:xmpp:sm:3")).count();
                house.send(balcony, &format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>"));
            } else if pings.is_empty() {
                break;
            }
            if all.is_empty() {
                break;
            }
            pings.iter().for_each(|ping| reply(&mut house, balcony, ping));
        }
        let expected = (90..120).chain(0..40).chain(40..90).map(|n| format!("old{n}"));
        assert_eq!(came, expected.collect::<Vec<_>>(), "{sm}");
        house.cut(balcony);
        let next = come(&mut house, "juliet@house.test/next");
        assert_eq!(words(&mut house, next), [""; 0], "{sm}");
    }
}

/// A room, a private message of which comes while older messages are still to come.
#[test]
fn what_an_occupant_says_in_private_stays_in_order() {
    let (mut house, romeo) = away(120);
    let balcony = house.login(BALCONY);
    let enter = |nick: &str| {
        format!("<presence to='hall@conference.{DOMAIN}/{nick}'><x xmlns='http://jabber.org/protocol/muc'/></presence>")
    };
    house.send(romeo, &enter("romeo"));
    house.send(
        romeo,
        "<iq type='set' id='1' to='hall@conference.house.test'><query xmlns='http://jabber.org/protocol/muc#owner'>\
         <x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE'><value>http://jabber.org/protocol/muc#roomconfig</value></field>\
         <field var='muc#roomconfig_membersonly'><value>0</value></field></x></query></iq>",
    );
    house.send(balcony, &enter("juliet"));
    words(&mut house, balcony);
    house.send(balcony, "<presence/>");
    let (came, ping) = read(&mut house, balcony);
    assert_eq!(came, old(0..50));
    let hall = |to: &str, ty: &str, body: &str| {
        format!("<message type='{ty}' to='hall@conference.{DOMAIN}{to}'><body>{body}</body></message>")
    };
    house.send(romeo, &hall("", "groupchat", "all"));
    house.send(romeo, &hall("/juliet", "chat", "private"));
    house.send(romeo, &hall("", "groupchat", "all again"));
    house.send(balcony, "<iq type='get' id='room' to='hall@conference.house.test'><ping xmlns='urn:xmpp:ping'/></iq>");
    assert_eq!(words(&mut house, balcony), ["room"], "its own question is answered");
    reply(&mut house, balcony, &ping.unwrap());
    let ping = read(&mut house, balcony).1;
    reply(&mut house, balcony, &ping.unwrap());
    assert_eq!(words(&mut house, balcony)[20..], ["all", "private", "all again"]);
}

/// Stream management begins in the middle: what came before is confirmed by the answer, what comes then by acknowledgement.
#[test]
fn whoever_begins_to_count_in_the_middle_loses_nothing() {
    for inactive in ["", "<inactive xmlns='urn:xmpp:csi:0'/>"] {
        let (mut house, romeo) = away(120);
        let balcony = come(&mut house, BALCONY);
        let ping = read(&mut house, balcony).1.unwrap();
        say(&mut house, romeo, "juliet@house.test", "before");
        house.send(balcony, &format!("{inactive}<enable xmlns='urn:xmpp:sm:3'/>"));
        say(&mut house, romeo, BALCONY, "after");
        reply(&mut house, balcony, &ping);
        let (mut came, mut handled) = (Vec::new(), 0);
        loop {
            let page = words(&mut house, balcony);
            if page.is_empty() {
                break;
            }
            handled += page.len();
            came.extend(page);
            house.send(balcony, &format!("<a xmlns='urn:xmpp:sm:3' h='{handled}'/>"));
        }
        assert_eq!(came, [old(50..120), vec!["before".into(), "after".into()]].concat(), "{inactive}");
        house.cut(balcony);
        let next = come(&mut house, "juliet@house.test/next");
        assert_eq!(words(&mut house, next), [""; 0]);
    }
}

/// One that never says it is there, and reads the archive, is nobody's hindrance, and takes nothing away before it has answered.
#[test]
fn whoever_only_reads_the_archive_delays_nobody() {
    let (mut house, romeo) = away(3);
    let reader = house.login("juliet@house.test/reader");
    house.send(reader, "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'/></iq>");
    let ping = read(&mut house, reader).1.unwrap();
    let balcony = come(&mut house, BALCONY);
    let (came, question) = read(&mut house, balcony);
    assert_eq!(came, old(0..3));
    say(&mut house, romeo, "juliet@house.test", "live");
    assert_eq!(words(&mut house, balcony), ["live"]);
    house.cut(balcony);
    let _ = question;
    // The one that read them has them; the others get what nobody has said to have.
    house.send(reader, "<presence/>");
    assert_eq!(words(&mut house, reader), ["+live"], "not what it has read");
    let next = come(&mut house, "juliet@house.test/next");
    assert_eq!(words(&mut house, next), [old(0..3), vec!["+live".into()]].concat());
    house.cut(next);
    reply(&mut house, reader, &ping);
    let next = come(&mut house, "juliet@house.test/next");
    assert_eq!(words(&mut house, next), ["+live"]);
}

/// What cannot be kept is refused if it was never written, and is like any other message if it was.
#[test]
fn a_full_mailbox_refuses_what_never_reached_anybody() {
    let mut house = House::with(|s| s.offline_bytes = 160_000);
    house.account("juliet@house.test");
    let romeo = house.login("romeo@house.test/orchard");
    let large = "x".repeat(7_000);
    let fits = (0..100).take_while(|_| {
        say(&mut house, romeo, "juliet@house.test", &large);
        house.receive_all(romeo).is_empty()
    });
    assert!(fits.count() > 9, "more than a page");
    let balcony = come(&mut house, BALCONY);
    words(&mut house, balcony);
    say(&mut house, romeo, "juliet@house.test", &large);
    assert_eq!(house.receive_all(romeo), [""; 0], "it waits for her");
    house.cut(balcony);
    let told = house.receive_all(romeo).concat();
    assert!(told.contains("type='error'") && told.contains("service-unavailable"), "{told}");
}

/// The same of one that counts, and never says so.
#[test]
fn a_client_that_never_acknowledges_gets_everything_once() {
    let (mut house, romeo) = away(120);
    for _ in 0..3 {
        let balcony = house.login(BALCONY);
        house.send(balcony, "<enable xmlns='urn:xmpp:sm:3'/><presence/>");
        assert_eq!(words(&mut house, balcony), old(0..50));
        house.pass(61_000);
        assert!(house.is_closed(balcony));
    }
    let balcony = house.login(BALCONY);
    house.send(balcony, "<enable xmlns='urn:xmpp:sm:3'/><presence/>");
    let romeo = if house.is_closed(romeo) { house.login("romeo@house.test/orchard") } else { romeo };
    say(&mut house, romeo, "juliet@house.test", "live");
    let mut came = Vec::new();
    for _ in 0..9 {
        came.extend(words(&mut house, balcony));
        house.pass(60_000);
    }
    assert!(!house.is_closed(balcony));
    assert_eq!(came, [old(0..120), vec!["live".into()]].concat());
    house.cut(balcony);
    let next = come(&mut house, "juliet@house.test/next");
    let mut came = Vec::new();
    while let (page, Some(ping)) = read(&mut house, next) {
        came.extend(page);
        reply(&mut house, next, &ping);
    }
    assert_eq!(came, [old(0..120), vec!["+live".into()]].concat());
}

/// Two that count have read the same in the archive, and say so in the same moment: what waits is counted right all the same.
#[test]
fn what_two_have_at_once_is_gone_once() {
    let (mut house, romeo) = away(2);
    let devices = ["juliet@house.test/a", "juliet@house.test/b"].map(|jid| {
        let sid = house.login(jid);
        house.send(sid, "<enable xmlns='urn:xmpp:sm:3'/>");
        house.send(
            sid,
            "<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'>\
             <set xmlns='http://jabber.org/protocol/rsm'><max>1</max></set></query></iq>",
        );
        house.receive_all(sid);
        sid
    });
    house.hold = true;
    for sid in devices {
        house.send(sid, "<a xmlns='urn:xmpp:sm:3' h='2'/>");
    }
    house.release();
    say(&mut house, romeo, "juliet@house.test", "more");
    let balcony = come(&mut house, BALCONY);
    assert_eq!(words(&mut house, balcony), ["+old1", "+more"]);
}
