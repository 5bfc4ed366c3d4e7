//! What waits for a pinned server whose line is down (`core/peers/outbox.rs`): messages, with limits, over a restart.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::peers::{PINNED_OUTBOX_BYTES, PINNED_OUTBOX_MS};
use inglenook::core::{Input, StreamId};
use inglenook::wire::{DomainPair, Jid};

const DAY_MS: u64 = 86_400_000;

fn jid(text: &str) -> Jid {
    Jid::parse(text).unwrap()
}

fn branch() -> House {
    let mut house = House::with(|settings| settings.federation.pinned = [(jid("branch.test"), [1; 32])].into());
    house.has_neighbours = true;
    house
}

fn come(house: &mut House) -> StreamId {
    let sid = house.login("juliet@house.test/home");
    house.send(sid, "<presence/>");
    house.receive_all(sid);
    sid
}

fn write(house: &mut House, sid: StreamId, id: &str, body: &str) {
    let xml = format!("<message to='romeo@branch.test' type='chat' id='{id}'><body>{body}</body></message>");
    house.send(sid, &xml);
}

/// Nobody is reached for so long. How often that was tried.
fn stay_away(house: &mut House, ms: u64) -> usize {
    let mut tried = 0;
    for _ in 0..ms / 60_000 {
        house.pass(60_000);
        for pair in house.take_dials() {
            tried += 1;
            house.not_dialled(&pair);
        }
    }
    tried
}

fn refuse(house: &mut House) -> Vec<DomainPair> {
    let dials = house.take_dials();
    dials.iter().for_each(|pair| house.not_dialled(pair));
    dials
}

/// What the messages are called that came.
fn ids(said: &[String]) -> Vec<String> {
    let id = |xml: &String| Some(xml.split_once(" id='")?.1.split('\'').next()?.to_owned());
    said.iter().filter(|xml| xml.starts_with("<message")).filter_map(id).collect()
}

#[test]
fn messages_wait_over_a_restart_and_nothing_else_does() {
    let mut house = branch();
    let sid = come(&mut house);
    write(&mut house, sid, "1", "are you there?");
    house.send(sid, "<iq type='get' to='branch.test' id='q'><query xmlns='jabber:iq:version'/></iq>");
    assert_eq!(refuse(&mut house).len(), 1);
    let said = house.receive_all(sid);
    assert!(said.len() == 1 && said[0].contains(" id='q'"), "{said:?}");
    write(&mut house, sid, "2", "still not?");
    house.send(sid, "<iq type='get' to='branch.test' id='q2'><query xmlns='jabber:iq:version'/></iq>");
    let said = house.receive_all(sid);
    assert!(said.len() == 1 && said[0].contains(" id='q2'"), "at once: {said:?}");
    assert!(stay_away(&mut house, DAY_MS) > 100, "it is tried again and again");
    for cut in [true, false] {
        if cut {
            house.power_cut()
        } else {
            house.restart()
        }
        come(&mut house);
        house.input(Input::Tick);
        assert_eq!(house.take_dials().len(), 1, "it is tried at the start");
        house.not_dialled(&DomainPair {
            ours: Jid::parse("house.test").unwrap(),
            theirs: Jid::parse("branch.test").unwrap(),
        });
        stay_away(&mut house, DAY_MS);
    }
    let sid = come(&mut house);
    write(&mut house, sid, "3", "at last");
    let state: Vec<usize> = house.state().peers().map(|peer| peer.waiting).collect();
    assert_eq!(state, [3]);
    house.server("branch.test", "house.test");
    assert_eq!(house.state().peers().map(|peer| peer.waiting).sum::<usize>(), 0);
    // They are gone for good.
    house.pass(10_000);
    house.power_cut();
    assert_eq!(house.state().peers().count(), 0);
}

#[test]
fn what_has_waited_tells_since_when() {
    let mut house = branch();
    let sid = come(&mut house);
    write(&mut house, sid, "1", "are you there?");
    refuse(&mut house);
    stay_away(&mut house, 120_000);
    write(&mut house, sid, "2", "and now?");
    let pair = DomainPair { ours: jid("house.test"), theirs: jid("branch.test") };
    let stream = house.dialled(&pair);
    let mut other = House::with(|settings| {
        settings.domain = jid("branch.test");
        settings.federation.pinned = [(jid("house.test"), [1; 32])].into();
    });
    let romeo = other.login("romeo@branch.test/home");
    other.send(romeo, "<presence/>");
    other.receive_all(romeo);
    let their = other.accepted();
    for _ in 0..20 {
        let said = house.said_to_server(stream);
        other.hear_server(their, &said);
        let said = other.said_to_server(their);
        house.hear_server(stream, &said);
    }
    let said = other.receive_all(romeo);
    assert_eq!(ids(&said), ["1", "2"], "{said:?}");
    let delay = "<delay xmlns='urn:xmpp:delay' from='house.test' stamp='2026-01-01T00:00:00";
    assert_eq!(said.iter().map(|xml| xml.contains(delay)).collect::<Vec<_>>(), [true, false], "{said:?}");
}

#[test]
fn what_is_too_old_comes_back() {
    let mut house = branch();
    let sid = come(&mut house);
    write(&mut house, sid, "1", "are you there?");
    refuse(&mut house);
    stay_away(&mut house, PINNED_OUTBOX_MS - DAY_MS);
    let sid = come(&mut house);
    write(&mut house, sid, "2", "still not?");
    stay_away(&mut house, DAY_MS - 60_000);
    let sid = come(&mut house);
    assert_eq!(ids(&house.receive_all(sid)), [""; 0]);
    for _ in 0..20 {
        stay_away(&mut house, 60_000);
        house.send(sid, " ");
    }
    let said = house.receive_all(sid);
    assert!(said.iter().any(|xml| xml.contains(" id='1'") && xml.contains("<remote-server-timeout")), "{said:?}");
    assert_eq!(house.state().peers().map(|peer| peer.waiting).sum::<usize>(), 1, "the other one waits");
}

#[test]
fn who_is_away_is_told_later_what_came_back() {
    for cut in [false, true] {
        let mut house = branch();
        let sid = come(&mut house);
        write(&mut house, sid, "1", "are you there?");
        refuse(&mut house);
        house.cut(sid);
        stay_away(&mut house, PINNED_OUTBOX_MS + DAY_MS);
        assert_eq!(house.state().peers().map(|peer| peer.waiting).sum::<usize>(), 0);
        if cut {
            house.power_cut();
        }
        let sid = house.login("juliet@house.test/elsewhere");
        house.send(sid, "<presence/>");
        let said = house.receive_all(sid);
        let told = said.iter().filter(|xml| xml.contains(" id='1'") && xml.contains("<remote-server-timeout"));
        assert!(told.clone().count() == 1 && told.clone().all(|xml| xml.contains("<delay ")), "{said:?}");
        house.power_cut();
        let sid = come(&mut house);
        assert_eq!(ids(&house.receive_all(sid)), [""; 0], "once");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    let mut house = branch();
    let sid = come(&mut house);
    let body = "x".repeat(60_000);
    for n in 0..40 {
        write(&mut house, sid, &n.to_string(), &body);
        refuse(&mut house);
    }
    let refused = ids(&house.receive_all(sid));
    let kept = 40 - refused.len();
    assert!(kept * 60_000 < PINNED_OUTBOX_BYTES && (kept + 1) * 61_000 > PINNED_OUTBOX_BYTES, "{kept}");
    assert_eq!(refused.first().unwrap(), &kept.to_string(), "the first are kept");
}
