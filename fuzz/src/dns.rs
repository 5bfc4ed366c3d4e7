//! Answers of DNS servers.

use inglenook::service::dns::DnsName;
use inglenook::service::dns::message::{Data, Kind, Question, Reply};

/// What a packet says is of the kind that was asked for, and bounded; another number makes it nobody's answer.
pub fn dns(packet: &[u8]) {
    let id = packet.first_chunk().map_or(0, |bytes| u16::from_be_bytes(*bytes));
    for (name, kind) in [
        ("a.example", Kind::A),
        ("a.example", Kind::Aaaa),
        ("_s._tcp.a.example", Kind::Srv),
        ("_1._tcp.a.example", Kind::Tlsa),
    ] {
        let question = Question { id, name: DnsName::parse(name).expect("it is a name"), kind };
        let reply = question.read(packet, false);
        if let Reply::Found(looked) = &reply {
            assert!(looked.records.len() <= 64 && !looked.authentic && (looked.exists || looked.records.is_empty()));
            for data in &looked.records {
                assert!(match data {
                    Data::Address(ip) => ip.is_ipv4() == (kind == Kind::A),
                    Data::Service(_) => kind == Kind::Srv,
                    Data::Key(_) => kind == Kind::Tlsa,
                });
            }
        }
        assert_eq!(Question { id: id ^ 1, ..question }.read(packet, true), Reply::Foreign);
    }
}
