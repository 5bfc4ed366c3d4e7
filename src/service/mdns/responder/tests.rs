//! One responder, question by question; then several on a link that loses, doubles and reorders packets.
#![allow(clippy::unwrap_used)]

use super::super::claims::Offer;
use super::super::packet::{PACKET_BYTES, WireName, wire_name};
use super::link::in_network;
use super::*;
use std::collections::BTreeMap;

const LINK: LinkId = LinkId { interface: 2, v6: false };
const EVERYBODY: &str = "192.168.1.77:5353";

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn name(text: &str) -> WireName {
    wire_name(text.split('.')).unwrap()
}

fn dice(seed: u64) -> Box<dyn FnMut(u32) -> u32 + Send> {
    let mut dice = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Box::new(move |most| {
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        (dice >> 20) as u32 % (most + 1)
    })
}

fn wanted(host: &str) -> Wanted {
    let offer = |kind, instance: &str, text| Offer { kind, instance: instance.into(), port: 5222, text };
    let services = vec![offer("_xmpp-client._tcp", "us", ""), offer("_https._tcp", "Chat of us", "path=/")];
    Wanted { host: host.into(), aliases: vec!["chat.local".into()], services }
}

fn link(id: LinkId, addresses: &[&str]) -> MdnsLink {
    let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    let networks = addresses.iter().map(|ip| (*ip, if ip.is_ipv4() { 24 } else { 64 })).collect();
    MdnsLink { id, addresses, networks }
}

/// A responder and its clock.
struct Seat {
    responder: Responder,
    now: Duration,
}

impl Seat {
    fn new(wanted: &Wanted, cautious: bool, links: Vec<MdnsLink>) -> Seat {
        let mut responder = Responder::new(wanted, cautious, dice(1));
        responder.set_links(Duration::ZERO, links);
        Seat { responder, now: Duration::ZERO }
    }

    /// One that has its names.
    fn up() -> Seat {
        let mut seat = Seat::new(&wanted("box"), false, vec![link(LINK, &["192.168.1.5"])]);
        seat.run(ms(10_000));
        assert_eq!(seat.responder.host().as_deref(), Some("box.local"));
        seat
    }

    /// What is sent, and when, in that time.
    fn run(&mut self, time: Duration) -> Vec<(Duration, Option<SocketAddr>, MdnsPacket)> {
        let until = self.now + time;
        let mut sent = Vec::new();
        loop {
            for packet in self.responder.packets() {
                assert!(packet.bytes.len() <= PACKET_BYTES);
                sent.push((self.now, packet.to, MdnsPacket::read(&packet.bytes).unwrap()));
            }
            match self.responder.wake().filter(|at| *at <= until) {
                Some(at) => {
                    assert!(at >= self.now, "it wants to be called in the past");
                    self.now = at;
                    self.responder.tick(at);
                }
                None => break,
            }
        }
        self.now = until;
        sent
    }

    fn hear(&mut self, from: &str, packet: &MdnsPacket) {
        self.responder.handle(self.now, LINK, from.parse().unwrap(), &packet.write().unwrap());
    }

    /// What is said to a packet in the next second: (milliseconds, whether to everybody, packet).
    fn answers(&mut self, from: &str, packet: &MdnsPacket) -> Vec<(u64, bool, MdnsPacket)> {
        let begun = self.now;
        self.hear(from, packet);
        let sent = self.run(ms(1_000)).into_iter();
        sent.map(|(at, to, packet)| ((at - begun).as_millis() as u64, to.is_none(), packet)).collect()
    }
}

fn question(of: &str, kind: Rtype) -> MdnsPacket {
    let questions = vec![MdnsQuestion { name: name(of), kind, unicast: false }];
    MdnsPacket { questions, ..MdnsPacket::default() }
}

fn unicast(of: &str, kind: Rtype) -> MdnsPacket {
    let mut packet = question(of, kind);
    packet.questions[0].unicast = true;
    packet
}

fn record_of(of: &str, kind: Rtype, ttl_s: u32, data: &[u8]) -> MdnsRecord {
    MdnsRecord { name: name(of), kind, flush: true, ttl_s, data: data.into() }
}

fn response(answers: Vec<MdnsRecord>) -> MdnsPacket {
    MdnsPacket { response: true, answers, ..MdnsPacket::default() }
}

/// Somebody else's claim to a name.
fn probe(of: &str, data: &[u8]) -> MdnsPacket {
    MdnsPacket { authority: vec![record_of(of, Rtype::A, 120, data)], ..unicast(of, Rtype::ANY) }
}

const OURS: [u8; 4] = [192, 168, 1, 5];
const THEIRS: [u8; 4] = [192, 168, 1, 77];

#[test]
fn a_name_is_probed_and_announced_before_it_is_answered_for() {
    let mut seat = Seat::new(&wanted("box"), false, vec![link(LINK, &["192.168.1.5", "fd00::5"])]);
    seat.hear(EVERYBODY, &question("box.local", Rtype::A));
    let sent = seat.run(ms(10_000));
    let times: Vec<u64> = sent.iter().map(|(at, ..)| at.as_millis() as u64).collect();
    assert_eq!(sent.len(), 5, "{times:?}");
    assert!(times[0] <= 250);
    let pauses: Vec<u64> = times.windows(2).map(|two| two[1] - two[0]).collect();
    assert_eq!(pauses, [250, 250, 250, 1000]);
    assert!(sent.iter().all(|(_, to, packet)| to.is_none() && packet.id == 0));
    for (.., packet) in &sent[..3] {
        assert!(!packet.response && packet.answers.is_empty());
        // box, chat and two services; each wants all there is, sent to us alone, and says what it claims.
        assert_eq!(packet.questions.len(), 4);
        assert!(packet.questions.iter().all(|question| question.kind == Rtype::ANY && question.unicast));
        let kinds: Vec<Rtype> = packet.authority.iter().map(|record| record.kind).collect();
        assert_eq!(kinds, [1, 28, 1, 28, 33, 16, 33, 16].map(Rtype::from_int));
    }
    for (.., packet) in &sent[3..] {
        assert!(packet.response && packet.questions.is_empty());
        let shared = packet.answers.iter().filter(|record| record.kind == Rtype::PTR);
        assert!(shared.clone().count() == 4 && shared.clone().all(|record| !record.flush && record.ttl_s == 4500));
        assert!(packet.answers.iter().filter(|record| record.kind != Rtype::PTR).all(|record| record.flush));
        let ttl = |kind| packet.answers.iter().find(|record| record.kind == kind).unwrap().ttl_s;
        assert_eq!([Rtype::A, Rtype::SRV, Rtype::TXT].map(ttl), [120, 120, 4500]);
    }
    assert_eq!(seat.responder.wake(), None, "then it rests");
}

#[test]
fn questions_are_answered_with_what_there_is() {
    let mut seat = Seat::up();
    let said = seat.answers(EVERYBODY, &question("BOX.local", Rtype::A));
    assert_eq!(said.len(), 1);
    let (delay, all, packet) = &said[0];
    assert_eq!((*delay, *all), (0, true), "it is ours alone");
    assert_eq!((packet.answers.len(), &*packet.answers[0].data), (1, &OURS[..]));
    // There is no AAAA, which comes along and is an answer, too.
    assert_eq!(packet.additional[0].kind, Rtype::NSEC);
    let said = seat.answers(EVERYBODY, &question("box.local", Rtype::AAAA));
    assert_eq!(said[0].2.answers.iter().map(|record| record.kind).collect::<Vec<_>>(), [Rtype::NSEC]);
    let said = seat.answers(EVERYBODY, &question("chat.local", Rtype::ANY));
    assert_eq!(&*said[0].2.answers[0].data, OURS);
    // Others may have such services.
    let said = seat.answers(EVERYBODY, &question("_https._tcp.local", Rtype::PTR));
    assert!((20..=120).contains(&said[0].0), "{}", said[0].0);
    assert_eq!(&*said[0].2.answers[0].data, name("Chat of us._https._tcp.local").as_slice());
    let along: Vec<u16> = said[0].2.additional.iter().map(|record| record.kind.to_int()).collect();
    assert_eq!(along, [1, 33, 16, 47]);
    let said = seat.answers(EVERYBODY, &question("_services._dns-sd._udp.local", Rtype::PTR));
    assert_eq!(said[0].2.answers.len(), 2);
    for other in ["bux.local", "_ipp._tcp.local", "local", "us._https._tcp.local"] {
        assert_eq!(seat.answers(EVERYBODY, &question(other, Rtype::ANY)), []);
    }
}

#[test]
fn what_the_asker_knows_is_not_said() {
    let mut seat = Seat::up();
    let known = |ttl_s, data: &[u8]| MdnsPacket {
        answers: vec![record_of("box.local", Rtype::A, ttl_s, data)],
        ..question("box.local", Rtype::A)
    };
    assert_eq!(seat.answers(EVERYBODY, &known(60, &OURS)), []);
    assert_eq!(seat.answers(EVERYBODY, &known(59, &OURS)).len(), 1);
    assert_eq!(seat.answers(EVERYBODY, &known(60, &THEIRS)).len(), 1);
}

#[test]
fn known_answers_may_follow() {
    let mut seat = Seat::up();
    let first = MdnsPacket { truncated: true, ..question("_https._tcp.local", Rtype::PTR) };
    let said = seat.answers(EVERYBODY, &first);
    assert!((400..=500).contains(&said[0].0), "{}", said[0].0);
    seat.hear(EVERYBODY, &first);
    let data = name("Chat of us._https._tcp.local");
    let ptr = record_of("_https._tcp.local", Rtype::PTR, 4500, data.as_slice());
    let known = MdnsPacket { answers: vec![ptr], ..MdnsPacket::default() };
    // Of somebody else it does not count.
    let mut other = Seat::up();
    other.hear(EVERYBODY, &first);
    assert_eq!(other.answers("192.168.1.78:5353", &known).len(), 1);
    assert_eq!(seat.answers(EVERYBODY, &known), []);
    // However many ask so, few are remembered; the others are answered.
    for n in 0..200 {
        seat.hear(&format!("192.168.1.{n}:5353"), &first);
    }
    assert_eq!(seat.responder.links[&LINK].held.len(), HELD);
}

#[test]
fn who_wants_it_alone_gets_it_alone() {
    let mut seat = Seat::up();
    let said = seat.answers(EVERYBODY, &unicast("box.local", Rtype::A));
    assert_eq!((said.len(), said[0].0, said[0].1), (1, 0, false));
    // It was not said to all for a quarter of its time.
    seat.run(ms(31_000));
    let said = seat.answers(EVERYBODY, &unicast("box.local", Rtype::A));
    assert_eq!((said.len(), said[0].1), (1, true));
}

#[test]
fn old_resolvers_get_an_answer_of_dns() {
    let mut seat = Seat::up();
    let asked = MdnsPacket { id: 0x1234, ..question("box.local", Rtype::A) };
    let said = seat.answers("192.168.1.77:40000", &asked);
    let (delay, all, packet) = &said[0];
    assert_eq!((said.len(), *delay, *all, packet.id), (1, 0, false, 0x1234));
    assert_eq!(packet.questions, asked.questions);
    assert!(packet.answers.iter().chain(&packet.additional).all(|record| record.ttl_s == 10 && !record.flush));
    assert_eq!(&*packet.answers[0].data, OURS);
    // And responses that do not come from the port are nothing.
    let conflict = response(vec![record_of("box.local", Rtype::A, 120, &THEIRS)]);
    assert_eq!(seat.answers("192.168.1.77:40000", &conflict), []);
}

#[test]
fn a_record_is_said_once_a_second() {
    let mut seat = Seat::up();
    for _ in 0..50 {
        seat.hear(EVERYBODY, &question("box.local", Rtype::A));
        seat.now += ms(1);
    }
    let begun = seat.now - ms(50);
    let times: Vec<Duration> = seat.run(ms(5_000)).iter().map(|(at, ..)| *at - begun).collect();
    // The second asker gets it as soon as it may be.
    assert_eq!(times, [ms(50), ms(1000)], "what was due at once is sent as soon as it is fetched");
}

#[test]
fn what_is_ours_is_defended() {
    let mut seat = Seat::up();
    // At once, though it was just said; and to the asker alone, who hears it for sure.
    seat.answers(EVERYBODY, &question("box.local", Rtype::A));
    let said = seat.answers(EVERYBODY, &probe("box.local", &THEIRS));
    assert_eq!((said.len(), said[0].0, said[0].1), (1, 0, false));
    let all = MdnsPacket { questions: question("box.local", Rtype::ANY).questions, ..probe("box.local", &THEIRS) };
    let (first, second) = (seat.answers(EVERYBODY, &all), {
        seat.now -= ms(900);
        seat.hear(EVERYBODY, &all);
        seat.run(ms(1_000))
    });
    assert_eq!((first[0].0, first[0].1), (0, true));
    assert_eq!(second.len(), 1, "after a quarter of a second, not a whole one");
    assert_eq!(seat.responder.host().as_deref(), Some("box.local"));
}

/// When the first probe after this was sent, and what became of the name.
fn contested(data: &[u8]) -> (u64, Option<String>) {
    let mut seat = Seat::new(&wanted("box"), false, vec![link(LINK, &["192.168.1.5"])]);
    seat.run(ms(300));
    let begun = seat.now;
    seat.hear(EVERYBODY, &probe("box.local", data));
    let sent = seat.run(ms(10_000));
    let first =
        sent.iter().find(|(.., packet)| packet.questions.iter().any(|question| question.name == name("box.local")));
    ((first.unwrap().0 - begun).as_millis() as u64, seat.responder.host())
}

#[test]
fn of_two_who_probe_at_once_one_waits() {
    assert!(contested(&[192, 168, 1, 4]).0 < 250, "ours comes later in the order: we go on");
    assert_eq!(contested(&[192, 168, 1, 77]).0, 1000, "theirs does: we wait");
    assert!(contested(&OURS).0 < 250, "the same is no conflict");
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let mut seat = Seat::new(&wanted("box"), false, vec![link(LINK, &["192.168.1.5"])]);
    seat.run(ms(300));
    seat.hear(EVERYBODY, &response(vec![record_of("box.local", Rtype::A, 120, &THEIRS)]));
    let sent = seat.run(ms(10_000));
    let news = seat.responder.news();
    assert_eq!(news, [MdnsNews::Renamed { from: "box.local".into(), to: "box-2.local".into() }]);
    assert_eq!(seat.responder.host().as_deref(), Some("box-2.local"));
    // It was probed for, and what it has to offer leads there.
    let probes = sent.iter().filter(|(.., packet)| packet.questions.iter().any(|q| q.name == name("box-2.local")));
    assert_eq!(probes.count(), 3);
    let last = sent.iter().flat_map(|(.., packet)| &packet.answers).rfind(|record| record.kind == Rtype::SRV).unwrap();
    assert!(last.data.ends_with(name("box-2.local").as_slice()));
    assert_eq!(seat.answers(EVERYBODY, &question("box.local", Rtype::A)), []);
    // Of a service, too.
    let srv = [&[0; 6], name("other.local").as_slice()].concat();
    for _ in 0..2 {
        seat.hear(EVERYBODY, &response(vec![record_of("Chat of us._https._tcp.local", Rtype::SRV, 120, &srv)]));
        seat.run(ms(300));
    }
    seat.run(ms(5_000));
    let said = seat.answers(EVERYBODY, &question("_https._tcp.local", Rtype::PTR));
    assert_eq!(&*said[0].2.answers[0].data, name("Chat of us (2)._https._tcp.local").as_slice());
}

#[test]
fn a_name_that_is_lost_on_one_link_is_taken_back_on_the_others() {
    let mut seat = Seat::up();
    let other = LinkId { interface: 3, v6: false };
    seat.responder.set_links(seat.now, vec![link(LINK, &["192.168.1.5"]), link(other, &["10.0.0.5"])]);
    seat.run(ms(300));
    let taken = response(vec![record_of("box.local", Rtype::A, 120, &[10, 0, 0, 77])]);
    seat.responder.handle(seat.now, other, "10.0.0.77:5353".parse().unwrap(), &taken.write().unwrap());
    let gone = &seat.run(ms(5))[0].2.answers;
    assert_eq!((gone.len(), gone[0].ttl_s, &*gone[0].data, gone[0].flush), (1, 0, &OURS[..], false));
    seat.run(ms(5_000));
    assert_eq!(seat.responder.host().as_deref(), Some("box-2.local"));
}

#[test]
fn who_contests_a_name_that_we_have_is_asked_whether_they_are_there() {
    let mut seat = Seat::up();
    let conflict = response(vec![record_of("box.local", Rtype::A, 120, &THEIRS)]);
    let said = seat.answers(EVERYBODY, &conflict);
    assert!(said[0].2.questions.iter().any(|question| question.name == name("box.local")), "it is probed again");
    // Nobody was there: we have it still.
    seat.run(ms(5_000));
    assert_eq!((seat.responder.host().as_deref(), seat.responder.news()), (Some("box.local"), vec![]));
    // Somebody was: they keep it.
    seat.hear(EVERYBODY, &conflict);
    seat.run(ms(260));
    seat.hear(EVERYBODY, &conflict);
    seat.run(ms(5_000));
    assert_eq!(seat.responder.host().as_deref(), Some("box-2.local"));
    // Records of other kinds are no conflict with what is established.
    seat.responder.news();
    seat.hear(EVERYBODY, &response(vec![record_of("box-2.local", Rtype::TXT, 120, &[0])]));
    assert!(!seat.run(ms(2_000)).iter().any(|(.., packet)| !packet.response));
}

#[test]
fn whoever_contests_every_name_slows_us_down() {
    let mut seat = Seat::new(&wanted("box"), false, vec![link(LINK, &["192.168.1.5"])]);
    let mut names = 0;
    let mut probes = 0;
    for _ in 0..4_000 {
        for (.., packet) in seat.run(ms(10)) {
            probes += usize::from(!packet.response);
            let probed = packet.questions.iter().find(|question| question.name.to_string().starts_with("box"));
            if let Some(probed) = probed.filter(|_| !packet.response) {
                let answers = vec![MdnsRecord { name: probed.name.clone(), ..record_of("x", Rtype::A, 120, &THEIRS) }];
                seat.hear(EVERYBODY, &response(answers));
                names += 1;
            }
        }
    }
    // 15 within the first seconds, then at most one in five.
    assert!((15..=15 + 9).contains(&names), "{names} names in 40 seconds");
    assert!(probes < 80, "{probes}");
}

#[test]
fn a_name_that_can_have_no_number_is_tried_again() {
    let mut seat = Seat::new(&wanted("box"), false, vec![link(LINK, &["192.168.1.5"])]);
    seat.run(ms(300));
    seat.hear(EVERYBODY, &response(vec![record_of("chat.local", Rtype::A, 120, &THEIRS)]));
    assert_eq!(seat.responder.news(), [MdnsNews::Taken("chat.local".into())]);
    seat.run(ms(30_000));
    assert_eq!(seat.answers(EVERYBODY, &question("chat.local", Rtype::A)), []);
    seat.run(ms(35_000));
    assert_eq!(seat.answers(EVERYBODY, &question("chat.local", Rtype::A)).len(), 1);
}

#[test]
fn the_end_is_told() {
    let mut seat = Seat::up();
    seat.responder.end(seat.now, true);
    let packets = seat.responder.packets();
    let packet = MdnsPacket::read(&packets[0].bytes).unwrap();
    assert!(packets.len() == 1 && packet.response && packet.answers.iter().all(|record| record.ttl_s == 0));
    // Two addresses, two of each of a service.
    assert_eq!(packet.answers.len(), 2 + 2 * 4);
    assert_eq!(seat.answers(EVERYBODY, &question("box.local", Rtype::A)), []);
    let mut seat = Seat::up();
    seat.responder.end(seat.now, false);
    let packet = MdnsPacket::read(&seat.responder.packets()[0].bytes).unwrap();
    assert!(packet.answers.iter().all(|record| record.kind != Rtype::A), "somebody else answers for the host");
    // What was never said is not taken back.
    let mut seat = Seat::new(&wanted("box"), false, vec![link(LINK, &["192.168.1.5"])]);
    seat.run(ms(300));
    seat.responder.end(seat.now, true);
    assert_eq!(seat.responder.packets(), []);
}

#[test]
fn who_takes_back_what_is_ours_is_contradicted_so_often() {
    let mut seat = Seat::up();
    let forged = response(vec![record_of("box.local", Rtype::A, 0, &OURS)]);
    let said = seat.answers(EVERYBODY, &forged);
    assert_eq!((said[0].1, said[0].2.answers[0].ttl_s), (true, 120));
    let data = name("Chat of us._https._tcp.local");
    let said = seat.answers(EVERYBODY, &response(vec![record_of("_https._tcp.local", Rtype::PTR, 0, data.as_slice())]));
    assert_eq!((said[0].1, said[0].2.answers[0].kind), (true, Rtype::PTR));
    let mut count = 0;
    for _ in 0..500 {
        seat.hear(EVERYBODY, &forged);
        count += seat.run(ms(100)).len();
    }
    assert!(count <= 20, "{count}");
    assert_eq!(seat.responder.host().as_deref(), Some("box.local"));
    // What somebody else takes back of theirs is not our business.
    let theirs = response(vec![record_of("box.local", Rtype::A, 0, &THEIRS)]);
    assert_eq!(seat.answers(EVERYBODY, &theirs), []);
}

#[test]
fn what_others_have_just_said_is_not_said_again() {
    let mut seat = Seat::up();
    seat.hear(EVERYBODY, &question("_services._dns-sd._udp.local", Rtype::PTR));
    let kinds = ["_https._tcp.local", "_xmpp-client._tcp.local"].map(|kind| {
        let data = name(kind);
        record_of("_services._dns-sd._udp.local", Rtype::PTR, 4500, data.as_slice())
    });
    assert_eq!(seat.answers("192.168.1.78:5353", &response(kinds.to_vec())), []);
}

#[test]
fn addresses_that_change_are_told() {
    let mut seat = Seat::up();
    seat.responder.set_links(seat.now, vec![link(LINK, &["192.168.1.9", "fd00::9"])]);
    let sent = seat.run(ms(5_000));
    assert_eq!(sent.len(), 3);
    let gone: Vec<_> = sent[0].2.answers.iter().map(|record| (record.ttl_s, record.data.to_vec())).collect();
    assert_eq!(gone, [(0, OURS.to_vec()), (0, OURS.to_vec())], "of box and of chat");
    let addresses = |packet: &MdnsPacket| {
        let of = |record: &&MdnsRecord| record.name == name("box.local") && record.kind != Rtype::NSEC;
        packet.answers.iter().filter(of).map(|record| record.kind.to_int()).collect::<Vec<_>>()
    };
    assert_eq!([addresses(&sent[1].2), addresses(&sent[2].2)], [vec![1, 28], vec![1, 28]]);
    // A cable that was pulled and put back: all is probed again.
    seat.responder.set_links(seat.now, vec![]);
    assert_eq!((seat.run(ms(5_000)), seat.responder.host()), (vec![], None));
    seat.responder.set_links(seat.now, vec![link(LINK, &["192.168.1.9"])]);
    assert_eq!(seat.run(ms(5_000)).iter().filter(|(.., packet)| !packet.response).count(), 3);
    // The same again is nothing new.
    seat.responder.set_links(seat.now, vec![link(LINK, &["192.168.1.9"])]);
    assert_eq!(seat.run(ms(5_000)), []);
}

#[test]
fn a_flood_is_not_listened_to() {
    let mut seat = Seat::up();
    let ask = question("nobody.local", Rtype::A);
    for _ in 0..=FLOOD_PACKETS {
        seat.hear(EVERYBODY, &ask);
    }
    assert_eq!(seat.responder.news(), [MdnsNews::Flood(LINK)]);
    assert_eq!(seat.responder.ignored(LINK, seat.now), Some(seat.now + FLOOD_PAUSE));
    assert_eq!(seat.answers(EVERYBODY, &question("box.local", Rtype::A)), []);
    seat.run(FLOOD_PAUSE);
    assert_eq!(seat.responder.ignored(LINK, seat.now), None);
    assert_eq!(seat.answers(EVERYBODY, &question("box.local", Rtype::A)).len(), 1);
    assert_eq!(seat.responder.news(), []);
}

#[test]
fn only_the_link_is_listened_to() {
    let mut seat = Seat::up();
    for far in ["10.0.0.1:5353", "192.168.2.77:5353", "[fd00::7]:5353", "8.8.8.8:40000"] {
        assert_eq!(seat.answers(far, &question("box.local", Rtype::A)), [], "{far}");
    }
    for near in ["192.168.1.77:5353", "169.254.7.7:5353"] {
        assert_eq!(seat.answers(near, &question("box.local", Rtype::A)).len(), 1, "{near}");
    }
    let net = |own: &str, prefix, ip: &str| in_network(ip.parse().unwrap(), own.parse().unwrap(), prefix);
    assert!(net("10.1.2.3", 8, "10.9.9.9") && !net("10.1.2.3", 16, "10.9.9.9") && net("1.2.3.4", 0, "9.9.9.9"));
    assert!(net("fd00::1", 64, "fd00::2") && !net("fd00::1", 128, "fd00::2") && !net("fd00::1", 0, "1.2.3.4"));
}

#[test]
fn what_comes_back_is_not_a_conflict() {
    // Two interfaces in one network: each hears the other.
    let other = LinkId { interface: 3, v6: false };
    let mut responder = Responder::new(&wanted("box"), false, dice(3));
    responder.set_links(Duration::ZERO, vec![link(LINK, &["192.168.1.5"]), link(other, &["192.168.1.6"])]);
    let mut now = Duration::ZERO;
    while let Some(at) = responder.wake() {
        now = at;
        responder.tick(now);
        for packet in responder.packets() {
            let from = if packet.link == LINK { "192.168.1.5:5353" } else { "192.168.1.6:5353" };
            for link in [LINK, other] {
                responder.handle(now, link, from.parse().unwrap(), &packet.bytes);
            }
        }
    }
    assert_eq!((responder.host().as_deref(), responder.news()), (Some("box.local"), vec![]));
    // Long after, too.
    let late = response(vec![record_of("box.local", Rtype::A, 120, &[192, 168, 1, 6])]);
    responder.handle(now + ms(60_000), LINK, "192.168.1.6:5353".parse().unwrap(), &late.write().unwrap());
    assert_eq!(responder.wake(), None);
}

#[test]
fn another_responder_of_this_box_keeps_the_name() {
    let mut seat = Seat::new(&wanted("box"), true, vec![link(LINK, &["192.168.1.5"])]);
    let sent = seat.run(ms(300));
    let host = |(.., packet): &(Duration, Option<SocketAddr>, MdnsPacket)| {
        packet.authority.iter().any(|record| record.name == name("box.local"))
    };
    assert!(!sent.iter().any(host), "it is asked without a claim");
    seat.hear("192.168.1.5:5353", &response(vec![record_of("box.local", Rtype::A, 120, &OURS)]));
    assert_eq!(seat.responder.news(), [MdnsNews::Elsewhere("box.local".into())]);
    let sent = seat.run(ms(5_000));
    assert!(!sent.iter().any(host) && !sent.is_empty());
    assert_eq!(seat.answers(EVERYBODY, &question("box.local", Rtype::A)), []);
    let said = seat.answers(EVERYBODY, &question("_https._tcp.local", Rtype::PTR));
    let srv = said[0].2.additional.iter().find(|record| record.kind == Rtype::SRV).unwrap();
    assert!(srv.data.ends_with(name("box.local").as_slice()), "what we have to offer leads there");
    // It is asked for again, without a claim, and told once.
    let sent = seat.run(ms(53_150));
    assert!(!sent.iter().any(host));
    seat.hear("192.168.1.5:5353", &response(vec![record_of("box.local", Rtype::A, 120, &OURS)]));
    assert_eq!((seat.responder.news(), seat.responder.host()), (vec![], None));
    assert!(!seat.run(ms(5_000)).iter().any(host));
    // Who only says so is gone by then.
    seat.run(ms(65_000));
    assert_eq!(seat.responder.host().as_deref(), Some("box.local"));
    // Where nobody answers, it is ours after all.
    let mut seat = Seat::new(&wanted("box"), true, vec![link(LINK, &["192.168.1.5"])]);
    seat.run(ms(10_000));
    assert_eq!(seat.responder.host().as_deref(), Some("box.local"));
}

/// Several responders on a link that loses, doubles and reorders packets.
struct Net {
    now: Duration,
    seats: Vec<(IpAddr, Responder)>,
    /// What is on its way to whom, by when it comes; the number keeps what comes at one time apart.
    flying: BTreeMap<(Duration, u64), (usize, SocketAddr, Vec<u8>)>,
    number: u64,
    random: Box<dyn FnMut(u32) -> u32 + Send>,
    /// Of a hundred packets.
    lost: u32,
    sent: usize,
    /// What somebody at .200 hears.
    heard: Vec<MdnsPacket>,
}

impl Net {
    fn new(seed: u64, boxes: u8, lost: u32) -> Net {
        let mut net = Net {
            now: Duration::ZERO,
            seats: Vec::new(),
            flying: BTreeMap::new(),
            number: 0,
            random: dice(seed),
            lost,
            sent: 0,
            heard: Vec::new(),
        };
        for n in 0..boxes {
            let mut responder = Responder::new(&wanted("box"), false, dice(seed * 100 + u64::from(n)));
            let address = format!("192.168.1.{}", n + 1);
            responder.set_links(Duration::ZERO, vec![link(LINK, &[&address])]);
            net.seats.push((address.parse().unwrap(), responder));
        }
        net
    }

    fn carry(&mut self, from: SocketAddr, to: Option<SocketAddr>, bytes: &[u8]) {
        self.sent += 1;
        if to.is_none_or(|to| to.ip() == "192.168.1.200".parse::<IpAddr>().unwrap()) {
            self.heard.extend(MdnsPacket::read(bytes));
        }
        for n in 0..self.seats.len() {
            let is_for = to.is_none_or(|to| to.ip() == self.seats[n].0);
            // What it said itself comes back for sure.
            let is_own = from.ip() == self.seats[n].0;
            let copies = match (self.random)(99) {
                luck if luck < self.lost && !is_own => 0,
                luck if luck > 95 => 2,
                _ => 1,
            };
            for _ in 0..if is_for { copies } else { 0 } {
                let at = self.now + ms((self.random)(30).into());
                self.number += 1;
                self.flying.insert((at, self.number), (n, from, bytes.to_vec()));
            }
        }
    }

    fn run(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            for n in 0..self.seats.len() {
                let from = (self.seats[n].0, PORT).into();
                for packet in self.seats[n].1.packets() {
                    assert!(packet.bytes.len() <= PACKET_BYTES);
                    self.carry(from, packet.to, &packet.bytes);
                }
            }
            let wakes = self.seats.iter().filter_map(|(_, responder)| responder.wake());
            let next = wakes.chain(self.flying.keys().map(|(at, _)| *at).next()).min().filter(|at| *at <= until);
            let Some(at) = next else { break };
            self.now = at;
            while let Some(first) = self.flying.first_entry().filter(|first| first.key().0 <= at) {
                let (n, from, bytes) = first.remove();
                self.seats[n].1.handle(at, LINK, from, &bytes);
            }
            self.seats.iter_mut().for_each(|(_, responder)| responder.tick(at));
        }
        self.now = until;
    }

    fn hosts(&self) -> Vec<Option<String>> {
        self.seats.iter().map(|(_, responder)| responder.host()).collect()
    }

    /// Asks for a name, and gives all addresses that are said to be its.
    fn ask(&mut self, of: &str) -> BTreeSet<Vec<u8>> {
        self.heard.clear();
        for _ in 0..3 {
            let bytes = question(of, Rtype::A).write().unwrap();
            self.carry("192.168.1.200:5353".parse().unwrap(), None, &bytes);
            self.run(ms(1_500));
        }
        let answers = self.heard.iter().filter(|packet| packet.response).flat_map(|packet| &packet.answers);
        answers.filter(|record| record.name == name(of) && record.kind == Rtype::A).map(|r| r.data.to_vec()).collect()
    }
}

#[test]
fn names_end_unique_whatever_gets_lost() {
    for seed in 1..=40 {
        let boxes = 2 + (seed % 5) as u8;
        let mut net = Net::new(seed, boxes, 20);
        net.run(ms(60_000));
        // What was lost may have left two with one name: the next that is said of it brings that out (RFC 6762 §9).
        net.lost = 0;
        for (_, responder) in &mut net.seats {
            let link = responder.links[&LINK].link.clone();
            responder.set_links(net.now, vec![MdnsLink { addresses: vec![], ..link.clone() }]);
            responder.set_links(net.now, vec![link]);
        }
        net.run(ms(60_000));
        let hosts = net.hosts();
        let unique: BTreeSet<_> = hosts.iter().flatten().collect();
        assert_eq!(unique.len(), usize::from(boxes), "seed {seed}: {hosts:?}");
        for (n, host) in hosts.iter().enumerate() {
            let found = net.ask(host.as_deref().unwrap());
            assert_eq!(found, BTreeSet::from([vec![192, 168, 1, n as u8 + 1]]), "seed {seed}");
        }
        // chat.local is one box's alone.
        assert_eq!(net.ask("chat.local").len(), 1, "seed {seed}");
        let before = net.sent;
        net.run(ms(50_000));
        // Those who want chat.local try once a minute, and are answered.
        assert!(
            net.sent - before <= usize::from(boxes) * 8,
            "seed {seed}: {} packets when all is said",
            net.sent - before
        );
        assert!(before < 160 * usize::from(boxes), "seed {seed}: {before}");
    }
}
