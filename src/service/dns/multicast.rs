//! Names under `.local`, asked of everybody on the link (RFC 6762 §5.1): one question, the first answer.

use super::exchange::{first, unspecified, within};
use super::message::{Looked, Question, Reply};
use super::random;
use smol::{Async, Timer};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

/// The port of everybody (RFC 6762 §3).
pub(crate) const PORT: u16 = 5353;
/// How long is waited for an answer.
const PATIENCE: Duration = Duration::from_millis(2500);
/// After what time the question is asked again: packets get lost.
const AGAIN: Duration = Duration::from_millis(1000);
/// Bytes that are taken of a datagram.
const RECEIVE_BYTES: usize = 9000;
/// Links that are asked.
const LINKS: usize = 8;
/// Packets that are looked at, on one link.
const PACKETS: u32 = 64;

/// The ways to everybody: from which address, and to which.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MulticastLink {
    /// An address of ours on it, which chooses it; or any.
    pub from: SocketAddr,
    /// Everybody on it.
    pub group: SocketAddr,
}

/// The links of this box, by its addresses.
pub(crate) fn links(addresses: &[IpAddr]) -> Vec<MulticastLink> {
    let v4 = addresses
        .iter()
        .filter(|ip| ip.is_ipv4())
        .map(|ip| MulticastLink { from: (*ip, 0).into(), group: (Ipv4Addr::new(224, 0, 0, 251), PORT).into() });
    let zones = zones(&std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default());
    let v6 = zones.into_iter().map(|zone| {
        let group: SocketAddr = SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb), PORT, 0, zone).into();
        MulticastLink { from: unspecified(&group), group }
    });
    v4.take(LINKS).chain(v6.take(LINKS)).collect()
}

/// The numbers of the interfaces that have a link-local address, by Linux's table: address, number, length, scope, flags and name.
fn zones(table: &str) -> Vec<u32> {
    const LINK_LOCAL: &str = "20";
    let zone = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words.get(3) == Some(&LINK_LOCAL)).then(|| u32::from_str_radix(words.get(1)?, 16).ok()).flatten()
    };
    let mut found: Vec<u32> = table.lines().filter_map(zone).collect();
    found.dedup();
    found
}

/// Asks on all links. Silence means that there is none; nobody vouches for what is said.
pub(super) async fn ask(links: &[MulticastLink], question: &Question) -> Looked {
    let id = random::number(u16::MAX.into()) as u16;
    let question = Question { id, ..question.clone() };
    let Some(packet) = question.packet(false, false) else { return Looked::nothing() };
    let asked = links.iter().map(|link| Box::pin(within(PATIENCE, on_link(link, &question, &packet)))).collect();
    first(asked).await.unwrap_or_else(Looked::nothing)
}

async fn on_link(link: &MulticastLink, question: &Question, packet: &[u8]) -> io::Result<Looked> {
    let socket = Async::<UdpSocket>::bind(link.from)?;
    socket.send_to(packet, link.group).await?;
    let again = async {
        Timer::after(AGAIN).await;
        socket.send_to(packet, link.group).await?;
        std::future::pending().await
    };
    let heard = async {
        let mut buffer = vec![0; RECEIVE_BYTES];
        for _ in 0..PACKETS {
            let (n, from) = socket.recv_from(&mut buffer).await?;
            // Who answers does it from the port of everybody (RFC 6762 §6.7), and repeats number and question.
            if from.port() != link.group.port() {
                continue;
            }
            if let Reply::Found(looked) = question.read(&buffer[..n], false)
                && !looked.records.is_empty()
            {
                return Ok(looked);
            }
        }
        Err(ErrorKind::InvalidData.into())
    };
    smol::future::or(heard, again).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::message::tests::{a, answer};
    use super::super::message::{Data, Kind};
    use super::super::name::DnsName;
    use super::*;

    /// Answers questions at a port until it is asked for `end.local`: what to, and from another port or not.
    fn responder(reply: fn(&[u8]) -> Vec<u8>, from_elsewhere: bool) -> (MulticastLink, std::thread::JoinHandle<usize>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let link = MulticastLink { from: "127.0.0.1:0".parse().unwrap(), group: socket.local_addr().unwrap() };
        let thread = std::thread::spawn(move || {
            let other = UdpSocket::bind("127.0.0.1:0").unwrap();
            let mut buffer = [0; 1000];
            let mut asked = 0;
            loop {
                let (n, peer) = socket.recv_from(&mut buffer).unwrap();
                if buffer[12..n].starts_with(b"\x03end") {
                    return asked;
                }
                asked += 1;
                let from = if from_elsewhere { &other } else { &socket };
                from.send_to(&reply(&buffer[..n]), peer).unwrap();
            }
        });
        (link, thread)
    }

    fn end(link: &MulticastLink, thread: std::thread::JoinHandle<usize>) -> usize {
        let query = Question { id: 1, name: DnsName::parse("end.local").unwrap(), kind: Kind::A };
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.send_to(&query.packet(false, false).unwrap(), link.group).unwrap();
        thread.join().unwrap()
    }

    fn question() -> Question {
        Question { id: 0, name: DnsName::parse("box.local").unwrap(), kind: Kind::A }
    }

    const MDNS: [u8; 2] = [0x84, 0];

    #[test]
    fn the_first_answer_counts() {
        let (link, thread) = responder(|query| answer(query, MDNS, &[a("box.local", "192.168.1.7")]), false);
        // A link on which nobody is.
        let dead = MulticastLink { from: "127.0.0.1:0".parse().unwrap(), group: "127.0.0.1:9".parse().unwrap() };
        let looked = smol::block_on(ask(&[dead, link.clone()], &question()));
        assert_eq!(looked.records, [Data::Address("192.168.1.7".parse().unwrap())]);
        assert!(!looked.authentic);
        assert_eq!(end(&link, thread), 1);
    }

    #[test]
    fn what_is_no_answer_is_silence_and_asked_again() {
        // From another port; about another name; with another number.
        let elsewhere = responder(|query| answer(query, MDNS, &[a("box.local", "192.168.1.7")]), true);
        let other = responder(|query| answer(query, MDNS, &[a("bux.local", "192.168.1.7")]), false);
        let number = responder(
            |query| {
                let mut packet = answer(query, MDNS, &[a("box.local", "192.168.1.7")]);
                packet[0] ^= 1;
                packet
            },
            false,
        );
        let links = [elsewhere.0.clone(), other.0.clone(), number.0.clone()];
        let looked = smol::block_on(ask(&links, &question()));
        assert!(looked.records.is_empty() && !looked.exists);
        for (link, thread) in [elsewhere, other, number] {
            assert_eq!(end(&link, thread), 2);
        }
        assert!(smol::block_on(ask(&[], &question())).records.is_empty());
    }

    #[test]
    fn links_are_found() {
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe800000000000000000000000000001 02 40 20 80     eth0\n\
                     20010db8000000000000000000000001 02 40 00 80     eth0\nfe8000 0b 40 20 80 wlan0\nnonsense\n";
        assert_eq!(zones(table), [2, 11]);
        let links = links(&["192.168.1.7".parse().unwrap(), "2001:db8::1".parse().unwrap()]);
        assert_eq!(
            (links[0].from.to_string(), links[0].group.to_string()),
            ("192.168.1.7:0".into(), "224.0.0.251:5353".into())
        );
    }
}
