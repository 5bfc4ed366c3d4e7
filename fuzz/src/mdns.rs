//! Packets of multicast DNS.

use inglenook::service::mdns::packet::{MdnsPacket, PACKET_BYTES, QUESTIONS, RECORDS};
use inglenook::service::mdns::responder::{Datagram, LinkId, MdnsLink, Responder};
use inglenook::service::mdns::{Offer, Wanted};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

const LINK: LinkId = LinkId { interface: 2, v6: false };
/// Packets that one packet can bring about in a minute: probes for all names, announcements, answers, what is said again.
const PACKETS: usize = 120;

/// What is read is bounded, and is read again as the same once it was written.
fn round_trip(bytes: &[u8]) {
    let Some(packet) = MdnsPacket::read(bytes) else { return };
    let records = [&packet.answers, &packet.authority, &packet.additional];
    assert!(packet.questions.len() <= QUESTIONS && records.iter().map(|all| all.len()).sum::<usize>() <= RECORDS);
    if let Some(written) = packet.write() {
        assert!(written.len() <= PACKET_BYTES);
        assert_eq!(MdnsPacket::read(&written), Some(packet));
    }
}

/// What is sent can be read.
fn all(packets: Vec<Datagram>) -> usize {
    for packet in &packets {
        assert!(packet.bytes.len() <= PACKET_BYTES && packet.link == LINK && MdnsPacket::read(&packet.bytes).is_some());
    }
    packets.len()
}

/// A responder hears the packet at an age that its first byte tells, from a port that its second does; then it lives a minute more.
pub fn mdns(bytes: &[u8]) {
    round_trip(bytes);
    let [age, port, packet @ ..] = bytes else { return };
    let service = Offer { kind: "_https._tcp", instance: "Chat of us".into(), port: 443, text: "path=/" };
    let wanted = Wanted { host: "box".into(), aliases: vec!["chat.local".into()], services: vec![service] };
    let own: IpAddr = [192, 168, 1, 5].into();
    let mut responder = Responder::new(&wanted, port & 2 != 0, Box::new(|most| most / 2));
    responder.set_links(Duration::ZERO, vec![MdnsLink { id: LINK, addresses: vec![own], networks: vec![(own, 24)] }]);
    let (mut now, mut heard, mut count) = (Duration::ZERO, false, 0);
    let hears = Duration::from_millis(u64::from(*age) * 20);
    let host = if port & 4 == 0 { 77 } else { 5 };
    let from: SocketAddr = ([192, 168, 1, host], if port & 1 == 0 { 5353 } else { 40_000 }).into();
    for _ in 0..1_000 {
        count += all(responder.packets());
        let next = responder.wake().unwrap_or(Duration::MAX);
        if !heard && hears <= next {
            (now, heard) = (hears, true);
            responder.handle(now, LINK, from, packet);
        } else if next > hears + Duration::from_secs(60) {
            assert!(count <= PACKETS, "{count} packets");
            return;
        } else {
            assert!(next >= now, "it wants to be called in the past");
            now = next;
            responder.tick(now);
        }
    }
    panic!("it does not rest");
}
