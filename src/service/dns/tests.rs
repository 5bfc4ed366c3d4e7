//! The resolver against a DNS server of our own, which does what none should.
#![allow(clippy::unwrap_used)]

use super::message::tests::{OK, a, answer, cname};
pub use super::message::tests::{record, srv};
use super::*;
use crate::service::disk::data::tests::Temp;
use crate::wire::Condition;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::Arc;

const NXDOMAIN: [u8; 2] = [0x81, 0x83];
const SERVFAIL: [u8; 2] = [0x81, 0x82];
const SECURE: [u8; 2] = [0x81, 0xa0];
const TRUNCATED: [u8; 2] = [0x83, 0x80];

type Says = Box<dyn Fn(&Asked<'_>) -> Vec<Vec<u8>> + Send + Sync>;

/// A question, as the server has it.
struct Asked<'a> {
    packet: &'a [u8],
    /// "SRV name", for example.
    what: String,
    tcp: bool,
}

impl Asked<'_> {
    fn reply(&self, flags: [u8; 2], records: &[Vec<u8>]) -> Vec<Vec<u8>> {
        vec![answer(self.packet, flags, records)]
    }
}

fn asked(packet: &[u8], tcp: bool) -> Asked<'_> {
    let (mut at, mut labels) = (12, Vec::new());
    while packet[at] != 0 {
        let end = at + 1 + packet[at] as usize;
        labels.push(String::from_utf8(packet[at + 1..end].to_vec()).unwrap());
        at = end;
    }
    let kind = match packet[at + 2] {
        1 => "A",
        28 => "AAAA",
        33 => "SRV",
        52 => "TLSA",
        other => panic!("type {other}"),
    };
    Asked { packet, what: format!("{kind} {}", labels.join(".")), tcp }
}

/// A server on a loopback address, by UDP and TCP.
pub struct Server {
    pub at: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    ids_and_ports: Arc<Mutex<Vec<(u16, u16)>>>,
}

impl Server {
    fn new(says: impl Fn(&Asked<'_>) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Server {
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        Server::on(udp, tcp, Box::new(says))
    }

    fn on(udp: UdpSocket, tcp: TcpListener, says: Says) -> Server {
        let at = udp.local_addr().unwrap();
        let (heard, ids_and_ports) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Vec<(u16, u16)>>>::default());
        let says = Arc::new(says);
        std::thread::spawn({
            let (heard, ids, says) = (heard.clone(), ids_and_ports.clone(), says.clone());
            move || {
                let mut buffer = [0; 2000];
                while let Ok((n, peer)) = udp.recv_from(&mut buffer) {
                    let asked = asked(&buffer[..n], false);
                    lock(&heard).push(asked.what.clone());
                    lock(&ids).push((u16::from_be_bytes([buffer[0], buffer[1]]), peer.port()));
                    for reply in says(&asked) {
                        udp.send_to(&reply, peer).unwrap();
                    }
                }
            }
        });
        std::thread::spawn({
            let heard = heard.clone();
            move || {
                for mut socket in tcp.incoming().flatten() {
                    let mut length = [0; 2];
                    socket.read_exact(&mut length).unwrap();
                    let mut packet = vec![0; u16::from_be_bytes(length).into()];
                    socket.read_exact(&mut packet).unwrap();
                    let asked = asked(&packet, true);
                    lock(&heard).push(format!("TCP {}", asked.what));
                    for reply in says(&asked) {
                        let _ = socket.write_all(&[&(reply.len() as u16).to_be_bytes()[..], &reply].concat());
                    }
                }
            }
        });
        Server { at, heard, ids_and_ports }
    }

    fn heard(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.heard))
    }
}

/// The same, where DNSSEC vouches for all, or for nothing.
pub fn secure_zone(secure: bool, entries: Vec<(&str, Vec<Vec<u8>>)>) -> Server {
    zone(if secure { SECURE } else { OK }, entries)
}

/// Answers from a zone: what is asked, and the records; all else does not exist.
fn zone(flags: [u8; 2], entries: Vec<(&str, Vec<Vec<u8>>)>) -> Server {
    let zone: BTreeMap<String, Vec<Vec<u8>>> = entries.into_iter().map(|(what, r)| (what.to_owned(), r)).collect();
    Server::new(move |asked| match zone.get(&asked.what) {
        Some(records) => asked.reply(flags, records),
        None => asked.reply([NXDOMAIN[0], NXDOMAIN[1] | flags[1] & 0x20], &[]),
    })
}

pub struct House {
    pub resolver: Resolver,
    pub temp: Temp,
}

pub fn house_with(conf: &str, hosts: &str, port: u16) -> House {
    let temp = Temp::new();
    std::fs::create_dir_all(&temp.0).unwrap();
    let (resolv_conf, hosts_path) = (temp.0.join("resolv.conf"), temp.0.join("hosts"));
    std::fs::write(&resolv_conf, conf).unwrap();
    std::fs::write(&hosts_path, hosts).unwrap();
    let resolver = Resolver::new(Sources { resolv_conf, hosts: hosts_path, port, links: Vec::new });
    House { resolver, temp }
}

fn house(server: &Server) -> House {
    house_with("nameserver 127.0.0.1\noptions timeout:1 attempts:1", "", server.at.port())
}

impl House {
    fn targets(&self, domain: &str) -> Result<Vec<String>, Refusal> {
        let targets = smol::block_on(self.resolver.targets(domain))?;
        let told = |t: &Target| {
            let (tls, secure) = (if t.direct { "tls:" } else { "" }, if t.authentic { "!" } else { "" });
            format!("{tls}{}:{}{secure}", t.host, t.port)
        };
        Ok(targets.iter().map(told).collect())
    }

    fn addresses(&self, host: &str, family: Family) -> Result<Vec<String>, Refusal> {
        let found = smol::block_on(self.resolver.addresses(&DnsName::parse(host).unwrap(), family))?;
        Ok(found.list.iter().map(ToString::to_string).collect())
    }

    fn v4(&self, host: &str) -> Result<Vec<String>, Refusal> {
        self.addresses(host, Family::V4)
    }
}

#[test]
fn a_domain_leads_to_hosts_and_they_to_addresses() {
    let server = zone(
        OK,
        vec![
            (
                "SRV _xmpps-server._tcp.example.org",
                vec![srv("_xmpps-server._tcp.example.org", 5, 0, 443, "xmpp.example.org")],
            ),
            (
                "SRV _xmpp-server._tcp.example.org",
                vec![srv("_xmpp-server._tcp.example.org", 9, 0, 5269, "xmpp.example.org")],
            ),
            ("A xmpp.example.org", vec![a("xmpp.example.org", "192.0.2.1")]),
            ("AAAA xmpp.example.org", vec![a("xmpp.example.org", "2001:db8::1")]),
            ("SRV _xmpp-server._tcp.denied.example", vec![srv("_xmpp-server._tcp.denied.example", 0, 0, 0, ".")]),
            ("SRV _xmpp-server._tcp.bad.example", vec![srv("_xmpp-server._tcp.bad.example", 0, 0, 5269, "a b")]),
            (
                "SRV _xmpp-server._tcp.xn--bcher-kva.example",
                vec![srv("_xmpp-server._tcp.xn--bcher-kva.example", 0, 0, 1, "h.example")],
            ),
        ],
    );
    let house = house(&server);
    let places = ["tls:xmpp.example.org:443", "xmpp.example.org:5269"];
    assert_eq!(house.targets("example.org").unwrap(), places);
    assert_eq!(house.v4("xmpp.example.org").unwrap(), ["192.0.2.1"]);
    assert_eq!(house.addresses("xmpp.example.org", Family::V6).unwrap(), ["2001:db8::1"]);
    assert_eq!(server.heard().len(), 4);
    // All of that is remembered; letters of another size are the same name.
    assert_eq!(house.targets("Example.Org").unwrap(), places);
    assert_eq!(house.v4("xmpp.example.org").unwrap(), ["192.0.2.1"]);
    assert!(server.heard().is_empty());
    // Without records: the domain itself.
    assert_eq!(house.targets("other.example").unwrap(), ["other.example:5269"]);
    assert_eq!(house.targets("bücher.example").unwrap(), ["h.example:1"]);
    let why = house.targets("denied.example").unwrap_err();
    assert_eq!(
        (why.condition, &*why.text),
        (Condition::RemoteServerNotFound, "denied.example has no XMPP server: its DNS says so")
    );
    let why = house.targets("bad.example").unwrap_err();
    assert!(
        why.condition == Condition::RemoteServerNotFound && why.text.contains("none of them names a host"),
        "{why}"
    );
    let why = house.v4("nowhere.example").unwrap_err();
    assert_eq!(
        (why.condition, &*why.text),
        (Condition::RemoteServerNotFound, "there is no nowhere.example in the DNS")
    );
    // An address is its own host; what is no name is not asked for.
    server.heard();
    assert_eq!(house.targets("192.0.2.7").unwrap(), ["192.0.2.7:5269"]);
    assert_eq!(house.targets("[2001:db8::7]").unwrap(), ["2001:db8::7:5269"]);
    for bad in ["a b", "localhost", "x.onion", &"a.".repeat(200)] {
        assert_eq!(house.targets(bad).unwrap_err().condition, Condition::RemoteServerNotFound, "{bad}");
    }
    assert!(server.heard().is_empty());
}

#[test]
fn every_question_has_another_number_and_port() {
    let server = zone(OK, vec![]);
    let house = house(&server);
    for n in 0..20 {
        house.v4(&format!("n{n}.example")).unwrap_err();
    }
    let all = lock(&server.ids_and_ports).clone();
    let different = |all: Vec<u16>| all.iter().collect::<std::collections::BTreeSet<_>>().len();
    assert!(different(all.iter().map(|(id, _)| *id).collect()) > 15, "{all:?}");
    assert!(different(all.iter().map(|(_, port)| *port).collect()) > 15, "{all:?}");
}

#[test]
fn forged_answers_are_not_taken() {
    let server = Server::new({
        |asked| {
            let forged = answer(asked.packet, OK, &[a("a.example", "192.0.2.66")]);
            let mut number = forged.clone();
            number[1] ^= 1;
            let mut name = forged.clone();
            name[13] = b'b';
            let mut kind = forged.clone();
            kind[24] = 28;
            let mut question = forged.clone();
            question[2] &= 0x7f;
            // Only the true one counts, which also says what nobody has asked.
            let records = [a("bank.example", "192.0.2.66"), a("a.example", "192.0.2.1")];
            [number, name, kind, question, b"garbage".to_vec(), vec![]]
                .into_iter()
                .chain(asked.reply(OK, &records))
                .collect()
        }
    });
    let house = house(&server);
    assert_eq!(house.v4("a.example").unwrap(), ["192.0.2.1"]);
    assert_eq!(server.heard(), ["A a.example"]);
    let bank = DnsName::parse("bank.example").unwrap();
    assert!(lock(&house.resolver.cache).get(&bank, Kind::A, Instant::now()).is_none());
}

#[test]
fn what_another_socket_says_is_not_heard() {
    // The forger is quick and knows everything but the server's socket; the server is silent.
    let port = Arc::new(Mutex::new(None));
    let forger = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = udp.local_addr().unwrap();
    let thread = std::thread::spawn({
        let port = port.clone();
        move || {
            let mut buffer = [0; 2000];
            let (n, peer) = udp.recv_from(&mut buffer).unwrap();
            *lock(&port) = Some(peer.port());
            forger.send_to(&answer(&buffer[..n], OK, &[a("a.example", "192.0.2.66")]), peer).unwrap();
        }
    });
    let house = house_with("nameserver 127.0.0.1\noptions timeout:1 attempts:1", "", at.port());
    let why = house.v4("a.example").unwrap_err();
    assert_eq!(
        (why.condition, &*why.text),
        (Condition::RemoteServerTimeout, "the DNS server 127.0.0.1 did not answer")
    );
    thread.join().unwrap();
    assert!(lock(&port).is_some());
}

#[test]
fn who_guesses_sends_the_question_to_tcp() {
    let server = Server::new(|asked| match asked.tcp {
        true => asked.reply(OK, &[a("a.example", "192.0.2.1")]),
        false => (0..100)
            .map(|n| {
                let mut packet = answer(asked.packet, OK, &[a("a.example", "192.0.2.66")]);
                packet[0] ^= 1 + n;
                packet
            })
            .collect(),
    });
    assert_eq!(house(&server).v4("a.example").unwrap(), ["192.0.2.1"]);
    assert_eq!(server.heard(), ["A a.example", "TCP A a.example"]);
}

#[test]
fn what_does_not_fit_comes_by_tcp() {
    let all: Vec<_> = (0..100).map(|n| a("a.example", &format!("192.0.2.{n}"))).collect();
    let server = Server::new(move |asked| match asked.tcp {
        true => asked.reply(OK, &all),
        // Some servers cut it off, others send too much.
        false if asked.what == "A a.example" => asked.reply(TRUNCATED, &[]),
        false => asked.reply(OK, &vec![record("a.example", 16, 1, &[9; 200]); 30]),
    });
    let house = house(&server);
    assert_eq!(house.v4("a.example").unwrap().len(), ADDRESSES);
    assert_eq!(server.heard(), ["A a.example", "TCP A a.example"]);
    house.addresses("a.example", Family::V6).unwrap();
    assert_eq!(server.heard(), ["AAAA a.example", "TCP AAAA a.example"]);
}

#[test]
fn a_server_that_has_failed_has_not_said_that_there_is_nothing() {
    let server = Server::new(|asked| asked.reply(SERVFAIL, &[]));
    let house = house(&server);
    let why = house.targets("example.org").unwrap_err();
    assert_eq!(
        (why.condition, &*why.text),
        (Condition::RemoteServerTimeout, "the DNS server 127.0.0.1 has failed (SERVFAIL)")
    );
    let why = house.v4("example.org").unwrap_err();
    assert!(why.condition == Condition::RemoteServerTimeout && why.text.contains("asked for example.org"), "{why}");
    // That is not remembered.
    server.heard();
    house.v4("example.org").unwrap_err();
    assert_eq!(server.heard(), ["A example.org"]);
    // Who owns this box may know better.
    std::fs::write(house.temp.0.join("hosts"), "192.0.2.5 example.org").unwrap();
    assert_eq!(house.targets("example.org").unwrap(), ["example.org:5269"]);
    assert_eq!(house.v4("example.org").unwrap(), ["192.0.2.5"]);
    assert!(house.addresses("example.org", Family::V6).unwrap().is_empty());
}

#[test]
fn a_server_too_old_for_edns_is_asked_without() {
    let server = Server::new(|asked| {
        let edns = asked.packet[11] > 0;
        asked.reply(if edns { [0x81, 0x81] } else { OK }, &[a("a.example", "192.0.2.1")])
    });
    assert_eq!(house(&server).v4("a.example").unwrap(), ["192.0.2.1"]);
    assert_eq!(server.heard().len(), 2);
    let server = Server::new(|asked| asked.reply([0x81, 0x84], &[]));
    assert!(house(&server).v4("a.example").unwrap_err().text.contains("does not understand"));
}

#[test]
fn the_next_server_is_asked_and_the_good_one_remembered() {
    // Nobody listens there: that is known at once.
    let server = zone(OK, vec![("A a.example", vec![a("a.example", "192.0.2.1")])]);
    let house = house_with("nameserver 127.0.0.9\nnameserver 127.0.0.1\noptions timeout:1", "", server.at.port());
    assert_eq!(house.v4("a.example").unwrap(), ["192.0.2.1"]);
    assert_eq!(house.resolver.first.load(Ordering::Relaxed), 1);
    // Silence is waited for so long and so often as the file says, and told.
    let silent = Server::new(|_| vec![]);
    let begun = Instant::now();
    let house = house_with("nameserver 127.0.0.1\noptions timeout:1 attempts:2", "", silent.at.port());
    let why = house.v4("a.example").unwrap_err();
    assert_eq!(
        (why.condition, &*why.text),
        (Condition::RemoteServerTimeout, "the DNS server 127.0.0.1 did not answer")
    );
    assert!(begun.elapsed() >= Duration::from_secs(2));
    assert_eq!(silent.heard(), ["A a.example", "A a.example"]);
    let house = house_with("nameserver 127.0.0.8\nnameserver 127.0.0.9\n", "", silent.at.port());
    assert_eq!(house.v4("b.example").unwrap_err().text, "the DNS servers 127.0.0.8, 127.0.0.9 did not answer");
    // Without any DNS there is still hosts.
    std::fs::write(house.temp.0.join("hosts"), "192.0.2.5 example.org").unwrap();
    assert_eq!(house.targets("example.org").unwrap(), ["example.org:5269"]);
}

#[test]
fn another_resolv_conf_is_another_network() {
    let one = zone(OK, vec![("A a.example", vec![a("a.example", "192.0.2.1")])]);
    let udp = UdpSocket::bind(("127.0.0.2", one.at.port())).unwrap();
    let tcp = TcpListener::bind(("127.0.0.2", one.at.port())).unwrap();
    let two = Server::on(udp, tcp, Box::new(|asked| asked.reply(OK, &[a("a.example", "192.0.2.2")])));
    let house = house(&one);
    assert_eq!(house.v4("a.example").unwrap(), ["192.0.2.1"]);
    std::fs::write(house.temp.0.join("resolv.conf"), "nameserver 127.0.0.2 # another").unwrap();
    assert_eq!(house.v4("a.example").unwrap(), ["192.0.2.2"]);
    assert_eq!(two.heard().len(), 1);
}

#[test]
fn circles_come_to_an_end() {
    // Each server's answer leads on: within one answer, from answer to answer, for ever.
    let server = Server::new(|asked| {
        let name = asked.what.split(' ').nth(1).unwrap();
        let n: u32 = name.strip_prefix('n').and_then(|rest| rest.split('.').next()?.parse().ok()).unwrap_or(0);
        asked.reply(OK, &[cname(name, &format!("n{}.example", n + 1))])
    });
    let house_1 = house(&server);
    let why = house_1.v4("n0.example").unwrap_err();
    assert!(why.condition == Condition::RemoteServerTimeout && why.text.contains("without end"), "{why}");
    assert_eq!(server.heard().len(), ALIASES + 1);
    // An SRV record that names itself is a host without an address.
    let own = "_xmpp-server._tcp.loop.example";
    let server = zone(
        OK,
        vec![
            ("SRV _xmpp-server._tcp.loop.example", vec![srv(own, 0, 0, 5269, own)]),
            (
                "SRV _xmpp-server._tcp.alias.example",
                vec![cname("_xmpp-server._tcp.alias.example", own), srv(own, 0, 0, 7, "h.example")],
            ),
            ("A b.example", vec![cname("b.example", "box.local")]),
        ],
    );
    let house_2 = house(&server);
    assert_eq!(house_2.targets("loop.example").unwrap(), [format!("{own}:5269")]);
    assert_eq!(house_2.v4(own).unwrap_err().condition, Condition::RemoteServerNotFound);
    assert_eq!(house_2.targets("alias.example").unwrap(), ["h.example:7"]);
    // Nobody outside has a say about names in here.
    assert_eq!(house_2.v4("b.example").unwrap_err().condition, Condition::RemoteServerNotFound);
}

#[test]
fn garbage_and_silence_on_tcp_are_told() {
    let server = Server::new(|asked| match asked.tcp {
        true => vec![b"garbage".to_vec()],
        false => asked.reply(TRUNCATED, &[]),
    });
    assert!(house(&server).v4("a.example").unwrap_err().text.contains("answers another question"));
    let server = Server::new(|asked| if asked.tcp { vec![] } else { asked.reply(TRUNCATED, &[]) });
    assert_eq!(house(&server).v4("a.example").unwrap_err().condition, Condition::RemoteServerTimeout);
    let server = Server::new(|asked| asked.reply(OK, &[record("a.example", 1, 9, &[1, 2, 3, 4, 5])]));
    assert!(house(&server).v4("a.example").unwrap_err().text.contains("damaged"));
}

#[test]
fn keys_count_only_where_all_is_authenticated() {
    let entries = || {
        vec![
            ("SRV _xmpps-server._tcp.example.org", vec![srv("_xmpps-server._tcp.example.org", 5, 0, 443, "h.example")]),
            ("A h.example", vec![a("h.example", "192.0.2.1")]),
            ("TLSA _443._tcp.h.example", vec![record("_443._tcp.h.example", 52, 300, &[3, 1, 1, 7])]),
        ]
    };
    for (flags, secure) in [(SECURE, true), (OK, false)] {
        let server = zone(flags, entries());
        let house = house(&server);
        let h = DnsName::parse("h.example").unwrap();
        assert_eq!(
            house.targets("example.org").unwrap(),
            [if secure { "tls:h.example:443!" } else { "tls:h.example:443" }]
        );
        assert_eq!(smol::block_on(house.resolver.addresses(&h, Family::V4)).unwrap().authentic, secure);
        assert_eq!(smol::block_on(house.resolver.keys(&h, 443)).unwrap().len(), secure as usize);
        assert!(smol::block_on(house.resolver.keys(&h, 444)).unwrap().is_empty());
        // That there are no records is so for certain, too.
        assert_eq!(
            house.targets("none.example").unwrap(),
            [if secure { "none.example:5269!" } else { "none.example:5269" }]
        );
        // hosts is nobody's signature.
        std::fs::write(house.temp.0.join("hosts"), "192.0.2.5 h.example").unwrap();
        assert!(!smol::block_on(house.resolver.addresses(&h, Family::V4)).unwrap().authentic);
    }
}

#[test]
fn local_names_never_go_to_a_server() {
    let server = Server::new(|asked| asked.reply(OK, &[a("box.local", "192.0.2.66")]));
    let house = house(&server);
    let why = house.v4("box.local").unwrap_err();
    assert_eq!(
        (why.condition, &*why.text),
        (Condition::RemoteServerNotFound, "nobody in this network answers to the name box.local")
    );
    assert_eq!(house.targets("office.local").unwrap(), ["office.local:5269"]);
    assert!(server.heard().is_empty());
}
