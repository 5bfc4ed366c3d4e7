//! Clients that nobody looks at (XEP-0352), and clients that have lost their connection (XEP-0198): how often they are woken, and
//! whether they know in the end what everybody else knows.
#![allow(clippy::unwrap_used)]

mod house;

use house::{DOMAIN, Dice, House};
use inglenook::core::message::{HELD_BYTES, QUIET_BYTES};
use inglenook::core::message::{QUEUE_BYTES, QUEUE_STANZAS};
use inglenook::core::{SessionId, StreamId};
use inglenook::wire::{Jid, Kind, Ns, Scope, Stanza, Type};
use std::collections::BTreeMap;

const SM: &str = "xmlns='urn:xmpp:sm:3'";
const INACTIVE: &str = "<inactive xmlns='urn:xmpp:csi:0'/>";
const ACTIVE: &str = "<active xmlns='urn:xmpp:csi:0'/>";
const CONTACTS: usize = 100;

/// Juliet's phone with stream management, and the id of its stream.
fn phone(house: &mut House) -> (StreamId, String) {
    let phone = house.login("juliet@house.test/phone");
    house.send(phone, &format!("<enable {SM} resume='true'/>"));
    let enabled = house.receive_all(phone).concat();
    let (_, rest) = enabled.split_once(" id='").unwrap();
    (phone, rest.split('\'').next().unwrap().to_owned())
}

/// People whose presence Juliet gets, all there.
fn contacts(house: &mut House, n: usize) -> Vec<StreamId> {
    let juliet = house.login("juliet@house.test/other");
    let all: Vec<StreamId> = (0..n).map(|n| house.login(&format!("u{n}@house.test/home"))).collect();
    for (n, sid) in all.iter().enumerate() {
        house.send(*sid, "<presence to='juliet@house.test' type='subscribed'/>");
        house.send(juliet, &format!("<presence to='u{n}@house.test' type='subscribe'/>"));
        house.send(*sid, "<presence/>");
    }
    house.send(juliet, "</stream:stream>");
    all
}

fn shows(dice: &mut Dice) -> String {
    match dice.roll(6) {
        0 => "<presence type='unavailable'/>".into(),
        n => format!("<presence><show>{}</show></presence>", ["away", "xa", "dnd", "chat", "away"][n - 1]),
    }
}

/// Time passes, and everybody else shows that they are there.
fn wait(house: &mut House, contacts: &[StreamId], seconds: u64) {
    house.pass(seconds * 1000);
    for sid in contacts {
        house.send(*sid, " ");
        house.receive_all(*sid);
    }
}

#[test]
fn an_hour_of_presence_wakes_nobody() {
    let mut house = House::new();
    let contacts = contacts(&mut house, CONTACTS);
    let (phone, _) = phone(&mut house);
    house.send(phone, "<presence/>");
    let known = house.receive_all(phone).iter().filter(|xml| xml.starts_with("<presence")).count();
    assert_eq!(known, CONTACTS + 1, "one of each contact, and its own");
    house.send(phone, &format!("<a {SM} h='{known}'/>{INACTIVE}"));
    house.receive_all(phone);
    let mut dice = Dice::new(1);
    for _ in 0..3600 / 10 {
        for sid in &contacts {
            if dice.roll(3) == 0 {
                house.send(*sid, &shows(&mut dice));
            }
            let state = ["composing", "paused"][dice.roll(2)];
            if dice.roll(20) == 0 {
                let state = format!("<{state} xmlns='http://jabber.org/protocol/chatstates'/>");
                house.send(*sid, &format!("<message type='chat' to='juliet@house.test'>{state}</message>"));
            }
        }
        wait(&mut house, &contacts, 10);
        assert_eq!(house.peek(phone).next(), None);
    }
    house.send(contacts[7], "<message type='chat' to='juliet@house.test' id='hark'><body>Hark</body></message>");
    let got = house.receive_all(phone);
    let presence = got.iter().take_while(|xml| xml.starts_with("<presence")).count();
    assert!(presence <= CONTACTS, "{presence}");
    assert!(got[presence].contains("id='hark'") && got[presence + 1].starts_with("<r "), "{:?}", &got[presence..]);
    assert_eq!(got.len(), presence + 2);
}

#[test]
fn an_hour_of_presence_does_not_fill_the_queue_of_a_client_that_is_away() {
    let mut house = House::with(|s| s.resume_s = 7200);
    let contacts = contacts(&mut house, CONTACTS);
    let (phone, id) = phone(&mut house);
    house.send(phone, "<presence/>");
    let known = house.receive_all(phone).iter().filter(|xml| xml.starts_with("<presence")).count();
    house.cut(phone);
    let mut dice = Dice::new(2);
    let mut sent = 0;
    while sent <= 2 * QUEUE_STANZAS {
        for sid in &contacts {
            house.send(*sid, &shows(&mut dice));
            sent += 1;
        }
        wait(&mut house, &contacts, 10);
    }
    let phone = house.authenticate("juliet@house.test");
    house.send(phone, &format!("<resume {SM} previd='{id}' h='{known}'/>"));
    let got = house.receive_all(phone);
    assert!(got[0].starts_with("<resumed"), "{}", got[0]);
    assert_eq!(got.len(), 1 + CONTACTS + 1, "one presence of each, and one <r/>");
}

/// What is held is bounded, whoever sends it.
#[test]
fn what_is_held_has_limits() {
    let mut house = House::new();
    let (phone, _) = phone(&mut house);
    let romeo = house.login("romeo@house.test/orchard");
    house.send(phone, INACTIVE);
    let receipt = |n: usize| {
        let room = "x".repeat(1000);
        format!(
            "<message type='chat' to='juliet@house.test/phone' id='{n}'><received xmlns='urn:xmpp:receipts' id='{room}'/></message>"
        )
    };
    let (mut most, mut woken) = (0, 0);
    for n in 0..1000 {
        house.send(romeo, &receipt(n));
        let quiet = house.state().sessions()[&SessionId::of(phone)].quiet.as_ref().unwrap();
        most = most.max(quiet.held().map(|s| s.bytes() + HELD_BYTES).sum());
        let got = house.receive_all(phone);
        let last = got.iter().rfind(|xml| xml.starts_with("<message"));
        assert!(last.is_none_or(|xml| xml.contains(&format!("id='{n}'"))), "all of it, in order");
        woken += usize::from(last.is_some());
    }
    assert!(most <= QUIET_BYTES, "{most}");
    assert!((1..20).contains(&woken), "{woken}");
    // Away, it counts with what is not acknowledged.
    house.cut(phone);
    let full = Jid::parse("juliet@house.test/phone").unwrap();
    let mut n = 0;
    while house.state().session_at(&full).is_some() {
        house.send(romeo, &receipt(n));
        n += 1;
        assert!(n < QUEUE_BYTES / 1000, "it never ends");
    }
}

/// How often a service was told something.
fn pushed(house: &mut House, service: StreamId) -> Vec<String> {
    house.receive_all(service).into_iter().filter(|xml| xml.contains("urn:xmpp:push:0")).collect()
}

/// An account has so many registrations; the oldest makes room. They are bounded in bytes.
#[test]
fn registrations_have_limits() {
    let mut house = House::new();
    let service = house.login("service@house.test/app");
    let phone = house.login("juliet@house.test/phone");
    let enable = |node: &str| {
        format!(
            "<iq type='set' id='e'><enable xmlns='urn:xmpp:push:0' jid='service@house.test/app' node='{node}'/></iq>"
        )
    };
    let mut commits = 0;
    for n in 0..40 {
        house.send(phone, &enable(&format!("n{n}")));
        assert!(house.receive(phone).unwrap().contains("type='result'"));
        house.pass(1000);
        // Said again, it costs nothing.
        commits = house.commits;
        house.send(phone, &enable(&format!("n{n}")));
        assert!(house.receive(phone).unwrap().contains("type='result'"));
    }
    assert_eq!(house.commits, commits);
    house.send(phone, &enable(&"n".repeat(5000)));
    assert!(house.receive(phone).unwrap().contains("policy-violation"));
    house.cut(phone);
    for restart in [false, true] {
        let service = if restart {
            house.restart();
            house.login("service@house.test/app")
        } else {
            service
        };
        let romeo = house.login("romeo@house.test/orchard");
        house.send(romeo, "<message type='chat' to='juliet@house.test'><body>Hark</body></message>");
        let told = pushed(&mut house, service);
        assert_eq!(told.len(), 16);
        assert!(told.iter().any(|xml| xml.contains("'n39'")) && told.iter().all(|xml| !xml.contains("'n23'")));
    }
}

/// However much comes, a service is told at most once in three seconds; and one that fails too often in a row not at all.
#[test]
fn notifications_have_limits() {
    let mut house = House::new();
    let service = house.login("service@house.test/app");
    let phone = house.login("juliet@house.test/phone");
    let enable = "<enable xmlns='urn:xmpp:push:0' jid='service@house.test/app' node='n'/>";
    house.send(phone, &format!("<iq type='set' id='e'>{enable}</iq>"));
    house.cut(phone);
    let romeo = house.login("romeo@house.test/orchard");
    let mut told = 0;
    for _ in 0..300 {
        house.send(romeo, "<message type='chat' to='juliet@house.test'><body>Hark</body></message>");
        house.pass(100);
        told += pushed(&mut house, service).len();
    }
    assert!((9..=11).contains(&told), "{told}");
    for good in [14, 15, 100] {
        house.pass(3000);
        pushed(&mut house, service);
        let mut errors = 0;
        for _ in 0..=good {
            house.send(romeo, "<message type='chat' to='juliet@house.test'><body>Hark</body></message>");
            let Some(xml) = pushed(&mut house, service).pop() else { break };
            let (_, id) = xml.split_once(" id='").unwrap();
            let id = id.split('\'').next().unwrap();
            let answer = if errors == good {
                format!("<iq type='result' id='{id}' to='house.test'/>")
            } else {
                errors += 1;
                let error = "<internal-server-error xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
                format!("<iq type='error' id='{id}' to='house.test'><error type='wait'>{error}</error></iq>")
            };
            house.send(service, &answer);
            house.pass(3000);
        }
        assert_eq!(errors, good.min(16), "in a row");
    }
}

/// What a client knows.
#[derive(Default, PartialEq, Debug)]
struct Knows {
    presence: BTreeMap<String, (bool, String)>,
    letters: Vec<String>,
    handled: u32,
}

impl Knows {
    fn read(&mut self, house: &mut House, sid: StreamId) {
        for xml in house.receive_all(sid) {
            let Ok(Some(stanza)) = Stanza::parse(&xml, Scope::client()) else {
                if xml.starts_with("<r ") {
                    house.send(sid, &format!("<a {SM} h='{}'/>", self.handled));
                }
                continue;
            };
            self.handled += 1;
            match (stanza.kind, stanza.ty) {
                (Kind::Presence, ty @ (Type::None | Type::Unavailable)) => {
                    let show = stanza.child(Ns::CLIENT, "show").map(|s| s.text().into_owned());
                    let who = stanza.from.as_ref().unwrap().to_string();
                    self.presence.insert(who, (ty == Type::None, show.unwrap_or_default()));
                }
                (Kind::Message, _) => {
                    self.letters.extend(stanza.child(Ns::CLIENT, "body").map(|b| b.text().into_owned()));
                }
                _ => {}
            }
        }
    }
}

/// Two clients of one person; one of them is looked at all the time, of the other that changes, and its connection comes and goes.
/// Whenever that is active they know the same.
#[test]
fn whoever_is_looked_at_again_knows_what_the_other_knows() {
    for seed in 0..40 {
        let mut house = House::new();
        let contacts = contacts(&mut house, 4);
        let desk = house.login("juliet@house.test/desk");
        house.send(desk, &format!("<enable {SM}/><presence/>"));
        let (mut phone, id) = phone(&mut house);
        house.send(phone, "<presence/>");
        let (mut seen, mut all) = (Knows::default(), Knows::default());
        let mut dice = Dice::new(seed);
        let mut n = 0;
        for step in 0..200 {
            let active = match dice.roll(12) {
                0..5 => {
                    house.send(contacts[dice.roll(4)], &shows(&mut dice));
                    false
                }
                5..7 => {
                    n += 1;
                    let letter = format!("<message type='chat' to='juliet@{DOMAIN}'><body>{n}</body></message>");
                    house.send(contacts[dice.roll(4)], &letter);
                    false
                }
                7..9 => {
                    house.send(phone, INACTIVE);
                    false
                }
                9 => {
                    // What was on the line is lost, and comes again.
                    house.receive_all(phone);
                    house.cut(phone);
                    for _ in 0..dice.roll(10) {
                        house.send(contacts[dice.roll(4)], &shows(&mut dice));
                    }
                    phone = house.authenticate("juliet@house.test");
                    house.send(phone, &format!("<resume {SM} previd='{id}' h='{}'/>", seen.handled));
                    true
                }
                10 => {
                    // Whoever is asked for an acknowledgement has answered by then.
                    all.read(&mut house, desk);
                    seen.read(&mut house, phone);
                    house.pass(dice.roll(5_000) as u64);
                    false
                }
                _ => {
                    house.send(phone, ACTIVE);
                    true
                }
            };
            all.read(&mut house, desk);
            if active || dice.roll(2) == 0 {
                seen.read(&mut house, phone);
            }
            assert!(!house.is_closed(phone) && !house.is_closed(desk), "seed {seed}, step {step}");
            if active {
                assert_eq!(seen.presence, all.presence, "seed {seed}, step {step}");
                assert_eq!(seen.letters, all.letters, "seed {seed}, step {step}");
            }
        }
    }
}
