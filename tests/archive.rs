//! The archive beyond what a play can show: long ones, large messages, many requests, and what is dropped when.
#![allow(clippy::unwrap_used)]

mod house;

use house::House;
use inglenook::core::StreamId;
use inglenook::store::{Batch, Copies, Engine, Entry};
use inglenook::wire::{Kind, Ns, Scope, Stanza};

const MAM: &str = "urn:xmpp:mam:2";

/// A page: the bodies of its messages, the id of its first one and of its last, whether it is complete, and all its bytes.
struct Page {
    bodies: Vec<String>,
    ends: Option<(String, String)>,
    complete: bool,
    bytes: usize,
}

fn stanza(xml: &str) -> Stanza {
    Stanza::parse(xml, Scope::client()).unwrap().unwrap()
}

/// What a query finds; the condition of the error, if it is refused.
fn query(house: &mut House, sid: StreamId, form: &[(&str, &str)], set: &str) -> Result<Page, String> {
    let fields: String =
        form.iter().map(|(var, value)| format!("<field var='{var}'><value>{value}</value></field>")).collect();
    let ty = format!("<field var='FORM_TYPE'><value>{MAM}</value></field>");
    let form = format!("<x xmlns='jabber:x:data' type='submit'>{ty}{fields}</x>");
    let set = format!("<set xmlns='http://jabber.org/protocol/rsm'>{set}</set>");
    house.send(sid, &format!("<iq type='set' id='q'><query xmlns='{MAM}'>{form}{set}</query></iq>"));
    page(&house.receive_all(sid))
}

fn page(received: &[String]) -> Result<Page, String> {
    let mut page = Page { bodies: vec![], ends: None, complete: false, bytes: 0 };
    for (n, xml) in received.iter().enumerate() {
        page.bytes += xml.len();
        let stanza = stanza(xml);
        if stanza.kind == Kind::Iq {
            assert_eq!(n, received.len() - 1, "the end is the last");
            if let Some(error) = stanza.child(Ns::CLIENT, "error") {
                return Err(error.children().next().unwrap().name().to_owned());
            }
            let fin = stanza.child(Ns::MAM, "fin").unwrap();
            page.complete = fin.attr("complete").as_deref() == Some("true");
            let set = fin.child(Ns::RSM, "set").unwrap();
            let end = |name| set.child(Ns::RSM, name).map(|c| c.text().into_owned());
            page.ends = end("first").zip(end("last"));
        } else {
            let result = stanza.child(Ns::MAM, "result").unwrap();
            let message = result.child(Ns::FORWARD, "forwarded").unwrap().child(Ns::CLIENT, "message").unwrap();
            page.bodies.push(message.child(Ns::CLIENT, "body").unwrap().text().into_owned());
        }
    }
    Ok(page)
}

/// Both are there, and Romeo has sent so many messages to Juliet's session.
fn conversation(house: &mut House, messages: std::ops::Range<usize>) -> (StreamId, StreamId) {
    let romeo = house.login("romeo@house.test/orchard");
    let juliet = house.login("juliet@house.test/balcony");
    say(house, romeo, juliet, messages);
    (romeo, juliet)
}

fn say(house: &mut House, from: StreamId, to: StreamId, messages: std::ops::Range<usize>) {
    let jid = house.jid(to).unwrap();
    for n in messages {
        house.send(from, &format!("<message type='chat' to='{jid}'><body>{n}</body></message>"));
        house.receive_all(to);
    }
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}

#[test]
fn pages_have_a_size_by_default_and_a_largest_one() {
    let mut house = House::new();
    let (_, juliet) = conversation(&mut house, 0..300);
    let first = query(&mut house, juliet, &[], "").unwrap();
    assert_eq!((first.bodies, first.complete), (numbers(0..50), false));
    for (max, size) in [("249", 249), ("250", 250), ("251", 250), ("99999999999999999999", 250)] {
        let page = query(&mut house, juliet, &[], &format!("<max>{max}</max>")).unwrap();
        assert_eq!((page.bodies, page.complete), (numbers(0..size), false), "{max}");
    }
    let (_, last) = first.ends.unwrap();
    let rest = query(&mut house, juliet, &[], &format!("<max>250</max><after>{last}</after>")).unwrap();
    assert_eq!((rest.bodies, rest.complete), (numbers(50..300), true), "just as many as fit");
    let end = query(&mut house, juliet, &[], "<max>250</max><before/>").unwrap();
    assert_eq!((end.bodies, end.complete), (numbers(50..300), false));
}

#[test]
fn all_pages_together_are_the_archive_whatever_their_size() {
    let mut house = House::new();
    let (_, juliet) = conversation(&mut house, 0..61);
    for max in [1, 2, 7, 60, 61, 62] {
        for (forwards, step) in [(true, "after"), (false, "before")] {
            let mut all = Vec::new();
            let mut set = format!("<max>{max}</max>") + if forwards { "" } else { "<before/>" };
            loop {
                let page = query(&mut house, juliet, &[], &set).unwrap();
                let complete = page.complete;
                assert!(page.bodies.len() == max || complete);
                if forwards {
                    all.extend(page.bodies)
                } else {
                    all.splice(0..0, page.bodies).for_each(drop)
                }
                if complete {
                    break;
                }
                let (first, last) = page.ends.unwrap();
                set = format!("<max>{max}</max><{step}>{}</{step}>", if forwards { last } else { first });
            }
            assert_eq!(all, numbers(0..61), "{max} {step}");
        }
    }
}

#[test]
fn a_page_of_large_messages_is_short_and_loses_none() {
    let mut house = House::new();
    let (romeo, juliet) = conversation(&mut house, 0..0);
    let large = "x".repeat(100 * 1024);
    for n in 0..7 {
        house.send(
            romeo,
            &format!("<message type='chat' to='juliet@house.test/balcony'><body>{n}{large}</body></message>"),
        );
        house.receive_all(juliet);
    }
    for (start, step) in [("", "after"), ("<before/>", "before")] {
        let (mut all, mut set) = (0, start.to_owned());
        loop {
            let page = query(&mut house, juliet, &[], &set).unwrap();
            assert!(page.bytes < 300 * 1024 && !page.bodies.is_empty(), "{}", page.bytes);
            all += page.bodies.len();
            if page.complete {
                break;
            }
            let (first, last) = page.ends.unwrap();
            set = format!("<{step}>{}</{step}>", if step == "after" { last } else { first });
        }
        assert_eq!(all, 7);
    }
}

/// XEP-0313 §4.1.1: the conversation with a bare JID is read until there are enough of one of its resources.
#[test]
fn a_resource_is_found_in_a_long_conversation() {
    let mut house = House::new();
    let (romeo, juliet) = conversation(&mut house, 0..0);
    let pda = house.login("romeo@house.test/pda");
    for round in 0..3 {
        say(&mut house, romeo, juliet, 0..400);
        say(&mut house, pda, juliet, round..round + 1);
    }
    let with = [("with", "romeo@house.test/pda")];
    let all = query(&mut house, juliet, &with, "").unwrap();
    assert_eq!((all.bodies, all.complete), (numbers(0..3), true));
    let last = query(&mut house, juliet, &with, "<max>1</max><before/>").unwrap();
    assert_eq!((last.bodies, last.complete), (numbers(2..3), false));
    let two = query(&mut house, juliet, &with, "<max>2</max>").unwrap();
    assert_eq!((two.bodies, two.complete), (numbers(0..2), false));
}

#[test]
fn many_ids_at_once() {
    let mut house = House::new();
    let (_, juliet) = conversation(&mut house, 0..60);
    let mut ids = Vec::new();
    let mut set = "<max>1</max>".to_owned();
    for _ in 0..60 {
        let (first, _) = query(&mut house, juliet, &[], &set).unwrap().ends.unwrap();
        set = format!("<max>1</max><after>{first}</after>");
        ids.push(first);
    }
    let every_second: Vec<&String> = ids.iter().step_by(2).collect();
    let values = |ids: &[&String]| ids.iter().map(|id| id.as_str()).collect::<Vec<_>>().join("</value><value>");
    let found = query(&mut house, juliet, &[("ids", &values(&every_second))], "").unwrap();
    assert_eq!((found.bodies, found.complete), ((0..60).step_by(2).map(|n| n.to_string()).collect(), true));
    let page = query(&mut house, juliet, &[("ids", &values(&every_second))], "<max>20</max><before/>").unwrap();
    assert_eq!((page.bodies, page.complete), ((20..60).step_by(2).map(|n| n.to_string()).collect(), false));
    let mut one_unknown = every_second;
    let unknown = "x".repeat(24);
    one_unknown.push(&unknown);
    assert_eq!(
        query(&mut house, juliet, &[("ids", &values(&one_unknown))], "").err().as_deref(),
        Some("item-not-found")
    );
    let many: Vec<&String> = std::iter::repeat_n(&ids[0], 250).collect();
    assert_eq!(query(&mut house, juliet, &[("ids", &values(&many))], "").unwrap().bodies, ["0"]);
    let many: Vec<&String> = std::iter::repeat_n(&ids[0], 251).collect();
    assert_eq!(query(&mut house, juliet, &[("ids", &values(&many))], "").err().as_deref(), Some("bad-request"));
}

#[test]
fn requests_are_answered_one_after_the_other_and_not_too_many_wait() {
    let mut house = House::new();
    let (_, juliet) = conversation(&mut house, 0..10);
    house.hold = true;
    for n in 0..20 {
        house.send(juliet, &format!("<iq type='set' id='{n}'><query xmlns='{MAM}'/></iq>"));
    }
    let refused: Vec<String> = house.receive_all(juliet);
    assert_eq!(refused.len(), 4);
    assert!(refused.iter().all(|xml| xml.contains("resource-constraint")));
    house.release();
    let answers = house.receive_all(juliet);
    let ends: Vec<String> = answers
        .iter()
        .map(|xml| stanza(xml))
        .filter_map(|s| (s.kind == Kind::Iq).then(|| s.id().unwrap().into_owned()))
        .collect();
    assert_eq!(ends, numbers(0..16));
    for page in answers.chunks(11) {
        assert_eq!(self::page(page).unwrap().bodies, numbers(0..10));
    }
    // Who is gone gets nothing, and takes nobody's turn.
    house.hold = true;
    house.send(juliet, &format!("<iq type='set' id='x'><query xmlns='{MAM}'/></iq>"));
    house.cut(juliet);
    house.release();
    let juliet = house.login("juliet@house.test/balcony");
    assert_eq!(query(&mut house, juliet, &[], "").unwrap().bodies.len(), 10);
}

#[test]
fn what_stands_in_every_result_and_what_waits_has_limits_in_bytes() {
    let mut house = House::new();
    let (_, juliet) = conversation(&mut house, 0..1);
    let ask = |house: &mut House, queryid: usize, rest: usize| {
        let (queryid, rest) = ("x".repeat(queryid), "x".repeat(rest));
        house.send(
            juliet,
            &format!("<iq type='set' id='q'><query xmlns='{MAM}' queryid='{queryid}'><y>{rest}</y></query></iq>"),
        );
        page(&house.receive_all(juliet)).map(|page| page.bodies.len())
    };
    assert_eq!(ask(&mut house, 256, 0), Ok(1));
    assert_eq!(ask(&mut house, 257, 0), Err("bad-request".into()));
    assert_eq!(ask(&mut house, 1, 60 * 1024), Ok(1));
    assert_eq!(ask(&mut house, 1, 64 * 1024), Err("bad-request".into()));
}

const DAY_MS: u64 = 86_400_000;

/// How many messages are left.
fn left(house: &mut House) -> usize {
    let sid = house.login("juliet@house.test/reader");
    let mut all = 0;
    let mut set = "<max>250</max>".to_owned();
    loop {
        let page = query(house, sid, &[], &set).unwrap();
        all += page.bodies.len();
        if page.complete {
            house.cut(sid);
            return all;
        }
        set = format!("<max>250</max><after>{}</after>", page.ends.unwrap().1);
    }
}

/// Enough messages that the log protects the last of them only.
const MANY: usize = 3000;

#[test]
fn what_is_too_old_is_dropped_once_a_day_and_only_by_a_clock_that_can_be_right() {
    let mut house = House::with(|s| s.archive_days = 10);
    conversation(&mut house, 0..MANY);
    house.pass(9 * DAY_MS);
    assert_eq!(left(&mut house), MANY);
    // A clock that was never set, and one that went back.
    for wall in [DAY_MS, house.now.wall - 20 * DAY_MS] {
        let right = std::mem::replace(&mut house.now.wall, wall);
        house.pass(DAY_MS);
        assert_eq!(left(&mut house), MANY);
        house.now.wall = right;
    }
    house.pass(2 * DAY_MS);
    let after = left(&mut house);
    assert!(after < MANY && after > 0, "{after} are left");
    house.restart();
    assert_eq!(left(&mut house), after);
}

#[test]
fn without_a_limit_nothing_is_too_old() {
    let mut house = House::with(|s| s.archive_days = 0);
    conversation(&mut house, 0..MANY);
    house.now.wall += 4000 * DAY_MS;
    house.pass(2 * DAY_MS);
    assert_eq!(left(&mut house), MANY);
}

#[test]
fn what_is_too_much_is_dropped_when_it_is() {
    let mut house = House::with(|s| s.archive_bytes = 200_000);
    house.pass(60_000);
    conversation(&mut house, 0..MANY);
    let after = left(&mut house);
    assert!(after < MANY && after > 500, "{after} are left");
}

/// What cannot be read is left out, and everything else is found as before.
#[test]
fn an_entry_that_is_no_message_is_skipped() {
    let mut house = House::new();
    let (romeo, juliet) = conversation(&mut house, 0..2);
    let copies: Copies = [("juliet", "romeo@house.test")].into_iter().collect();
    for (n, value) in [&b""[..], b"\x01\x09", b"\x01\x01\0\0\x03\0\0\0<a>", b"\x01\x02\0\0\0\0"].into_iter().enumerate()
    {
        house.pass(1000);
        let mut batch = Batch::default();
        let id = house.now.wall * 1000 + n as u64;
        batch.append(Entry { id, copies: copies.clone(), value: value.into() });
        house.disk().commit(&[batch]).unwrap();
    }
    house.pass(1000);
    say(&mut house, romeo, juliet, 2..4);
    for _ in 0..2 {
        let page = query(&mut house, juliet, &[], "<max>4</max>").unwrap();
        assert_eq!((page.bodies, page.complete), (numbers(0..4), true));
    }
    let page = query(&mut house, juliet, &[], "<max>3</max><before/>").unwrap();
    assert_eq!((page.bodies, page.complete), (numbers(1..4), false));
}

/// A server that nobody uses writes nothing.
#[test]
fn nothing_is_written_when_nothing_happens() {
    let mut house = House::new();
    conversation(&mut house, 0..10);
    house.pass(2 * DAY_MS);
    house.hold = true;
    house.pass(10 * DAY_MS);
    assert_eq!(house.uncommitted(), 0);
    house.release();
    assert_eq!(left(&mut house), 10);
}
