//! Questions and answers (RFC 1035 §4), read with mistrust: an answer counts only for the question that was asked.

use super::name::DnsName;
use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::{ParsedName, ToLabelIter};
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, ParseRecordData, ParsedRecord, RecordData, Rtype};
use domain::dep::octseq::parse::Parser;
use domain::rdata::{A, Aaaa, Cname, Srv as SrvData};
use std::net::IpAddr;

/// Bytes of an answer that fit everywhere in one datagram (RFC 6891 §6.2.5).
pub const DATAGRAM_BYTES: u16 = 1232;
/// Names that may stand between a name and what it stands for.
pub const ALIASES: usize = 8;
/// Records of an answer that are looked at.
const ANSWERS: usize = 256;
/// Records of one kind that are kept of an answer.
const RECORDS: usize = 64;

/// A kind of record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Where a service is (RFC 2782).
    Srv,
    /// Which key a service has (RFC 6698).
    Tlsa,
}

impl Kind {
    fn rtype(self) -> Rtype {
        match self {
            Kind::A => Rtype::A,
            Kind::Aaaa => Rtype::AAAA,
            Kind::Srv => Rtype::SRV,
            Kind::Tlsa => Rtype::TLSA,
        }
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// Of an A or AAAA record.
    Address(IpAddr),
    /// Of an SRV record.
    Service(Srv),
    /// Of a TLSA record.
    Key(Tlsa),
}

impl Data {
    /// What it takes in memory, about, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let beside = match self {
            Data::Service(Srv { at: At::Host(name), .. }) => name.as_str().len(),
            Data::Key(tlsa) => tlsa.data.len(),
            _ => 0,
        };
        size_of::<Data>() + beside
    }
}

/// An SRV record (RFC 2782).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Srv {
    /// Smaller ones are tried first.
    pub priority: u16,
    /// Among equal priorities, how often this one comes first.
    pub weight: u16,
    /// Of TCP; 0 makes the record unusable.
    pub port: u16,
    /// Where it leads.
    pub at: At,
}

/// What stands in an SRV record as its target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum At {
    /// `.`: decidedly nowhere (RFC 2782).
    Nowhere,
    /// The host of this name, whose addresses are still to be looked up.
    Host(DnsName),
    /// No name that a host could have, or port 0.
    Unusable,
}

/// A TLSA record (RFC 6698 §2.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tlsa {
    /// 2: an authority; 3: the server itself.
    pub usage: u8,
    /// 0: the certificate; 1: its key.
    pub selector: u8,
    /// 0: all of it; 1: its SHA-256.
    pub matching: u8,
    /// The bytes, or their hash, as `matching` says.
    pub data: Box<[u8]>,
}

impl RecordData for Tlsa {
    fn rtype(&self) -> Rtype {
        Rtype::TLSA
    }
}

impl<'a, Octs: AsRef<[u8]> + ?Sized> ParseRecordData<'a, Octs> for Tlsa {
    fn parse_rdata(rtype: Rtype, parser: &mut Parser<'a, Octs>) -> Result<Option<Tlsa>, ParseError> {
        if rtype != Rtype::TLSA {
            return Ok(None);
        }
        let (usage, selector, matching) = (parser.parse_u8()?, parser.parse_u8()?, parser.parse_u8()?);
        let mut data = vec![0; parser.remaining()];
        parser.parse_buf(&mut data)?;
        Ok(Some(Tlsa { usage, selector, matching, data: data.into() }))
    }
}

/// What there is of one kind under a name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Looked {
    /// The records. None: there are none of this kind.
    pub records: Vec<Data>,
    /// Whether there is anything of this name.
    pub exists: bool,
    /// Whether DNSSEC vouches for that, as a resolver says whom we may believe.
    pub authentic: bool,
    /// How long it holds, in seconds.
    pub ttl_s: u32,
}

impl Looked {
    /// There is no such name.
    pub fn nothing() -> Looked {
        Looked { records: Vec::new(), exists: false, authentic: false, ttl_s: 0 }
    }

    /// The services among the records.
    pub fn services(&self) -> Vec<Srv> {
        let service = |data: &Data| match data {
            Data::Service(srv) => Some(srv.clone()),
            _ => None,
        };
        self.records.iter().filter_map(service).collect()
    }

    /// What it takes in memory, about, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.records.iter().map(Data::bytes).sum()
    }
}

/// A question for the records of one kind of one name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Question {
    /// By which its answer is known.
    pub id: u16,
    /// About which name.
    pub name: DnsName,
    /// And which kind of record.
    pub kind: Kind,
}

/// What a packet is to a question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reply {
    /// Not its answer.
    Foreign,
    /// There is more than fits in a datagram.
    Truncated,
    /// The server does not know what we have asked so (FORMERR, NOTIMP): maybe EDNS.
    Puzzled,
    /// The server cannot say. How the sentence "the DNS server ..." goes on.
    Failed(&'static str),
    /// The server says no more than that the name is another one's.
    Alias {
        /// The name that it stands for, which is to be asked for next.
        to: DnsName,
        /// As of [`Looked`].
        authentic: bool,
        /// As of [`Looked`].
        ttl_s: u32,
    },
    /// What there is.
    Found(Looked),
}

impl Question {
    /// As a packet. `recursive`: it is for a resolver, which is asked for DNSSEC's verdict, too (RFC 6840 §5.7).
    pub fn packet(&self, recursive: bool, edns: bool) -> Option<Vec<u8>> {
        let mut builder = MessageBuilder::new_vec();
        let header = builder.header_mut();
        header.set_id(self.id);
        header.set_rd(recursive);
        header.set_ad(recursive);
        let mut builder = builder.question();
        builder.push((Labels(&self.name).name()?, self.kind.rtype(), Class::IN)).ok()?;
        let mut builder = builder.additional();
        if edns {
            builder
                .opt(|opt| {
                    opt.set_udp_payload_size(DATAGRAM_BYTES);
                    Ok(())
                })
                .ok()?;
        }
        Some(builder.finish())
    }

    /// Reads what came. `trusted`: whether the AD bit is to be believed.
    pub fn read(&self, packet: &[u8], trusted: bool) -> Reply {
        let Ok(message) = Message::from_slice(packet) else { return Reply::Foreign };
        if !self.is_answered_by(message) {
            return Reply::Foreign;
        }
        let header = message.header();
        if header.tc() {
            return Reply::Truncated;
        }
        let exists = match header.rcode() {
            Rcode::NOERROR => true,
            Rcode::NXDOMAIN => false,
            Rcode::FORMERR | Rcode::NOTIMP => return Reply::Puzzled,
            Rcode::SERVFAIL => return Reply::Failed("has failed (SERVFAIL)"),
            Rcode::REFUSED => return Reply::Failed("refuses to answer (REFUSED)"),
            _ => return Reply::Failed("answers with an error"),
        };
        self.found(message, exists, trusted && header.ad()).unwrap_or(Reply::Failed("sends answers that are damaged"))
    }

    /// Whether it has our number, and our question.
    fn is_answered_by(&self, message: &Message<[u8]>) -> bool {
        let header = message.header();
        let is_ours = header.qr() && header.opcode() == Opcode::QUERY && header.id() == self.id;
        is_ours
            && message.sole_question().is_ok_and(|question| {
                question.qclass() == Class::IN
                    && question.qtype() == self.kind.rtype()
                    && is(question.qname(), &self.name)
            })
    }

    /// The records of the name, or of what it stands for. Others that came along are not looked at: anybody can write them.
    fn found(&self, message: &Message<[u8]>, exists: bool, authentic: bool) -> Result<Reply, ParseError> {
        let records = message.answer()?.take(ANSWERS).collect::<Result<Vec<_>, _>>()?;
        let (mut name, mut ttl_s) = (self.name.clone(), u32::MAX);
        for _ in 0..=ALIASES {
            let of_name = |record: &&ParsedRecord<'_, [u8]>| record.class() == Class::IN && is(&record.owner(), &name);
            let mut data = Vec::new();
            for record in records.iter().filter(of_name).filter(|record| record.rtype() == self.kind.rtype()) {
                if data.len() < RECORDS {
                    data.extend(self.data(record)?);
                }
                ttl_s = ttl_s.min(ttl(record));
            }
            if !data.is_empty() {
                return Ok(Reply::Found(Looked { records: data, exists: true, authentic, ttl_s }));
            }
            let Some(alias) = records.iter().find(|record| of_name(record) && record.rtype() == Rtype::CNAME) else {
                let is_alias = name != self.name && exists;
                return Ok(match is_alias {
                    true => Reply::Alias { to: name, authentic, ttl_s },
                    false => Reply::Found(Looked { records: data, exists, authentic, ttl_s: 0 }),
                });
            };
            let Some(cname) = alias.to_record::<Cname<ParsedName<&[u8]>>>()? else { break };
            let Some(next) = read_name(cname.data().cname()) else { break };
            ttl_s = ttl_s.min(ttl(alias));
            name = next;
        }
        Ok(Reply::Failed("gives a name that stands for another one without end"))
    }

    fn data(&self, record: &ParsedRecord<'_, [u8]>) -> Result<Option<Data>, ParseError> {
        Ok(match self.kind {
            Kind::A => record.to_record::<A>()?.map(|a| Data::Address(a.data().addr().into())),
            Kind::Aaaa => record.to_record::<Aaaa>()?.map(|a| Data::Address(a.data().addr().into())),
            Kind::Tlsa => record.to_record::<Tlsa>()?.map(|tlsa| Data::Key(tlsa.into_data())),
            Kind::Srv => record.to_record::<SrvData<ParsedName<&[u8]>>>()?.map(|srv| {
                let srv = srv.data();
                let at = match read_name(srv.target()) {
                    _ if srv.target().is_root() => At::Nowhere,
                    Some(host) if srv.port() != 0 => At::Host(host),
                    _ => At::Unusable,
                };
                Data::Service(Srv { priority: srv.priority(), weight: srv.weight(), port: srv.port(), at })
            }),
        })
    }
}

/// Seconds; what cannot be is 0 (RFC 2181 §8).
fn ttl(record: &ParsedRecord<'_, [u8]>) -> u32 {
    let secs = record.ttl().as_secs();
    if secs > u32::MAX / 2 { 0 } else { secs }
}

fn labels<'a>(name: &'a ParsedName<&'a [u8]>) -> impl Iterator<Item = &'a [u8]> {
    name.iter_labels().filter(|label| !label.is_root()).map(|label| label.as_slice())
}

fn is(name: &ParsedName<&[u8]>, ours: &DnsName) -> bool {
    let mut theirs = labels(name);
    ours.labels().all(|label| theirs.next().is_some_and(|other| other.eq_ignore_ascii_case(label.as_bytes())))
        && theirs.next().is_none()
}

fn read_name(name: &ParsedName<&[u8]>) -> Option<DnsName> {
    DnsName::of_labels(labels(name))
}

/// A name as the codec has it.
struct Labels<'a>(&'a DnsName);

impl Labels<'_> {
    fn name(&self) -> Option<domain::base::Name<Vec<u8>>> {
        let mut octets = Vec::with_capacity(self.0.as_str().len() + 2);
        for label in self.0.labels() {
            octets.push(u8::try_from(label.len()).ok()?);
            octets.extend_from_slice(label.as_bytes());
        }
        octets.push(0);
        domain::base::Name::from_octets(octets).ok()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(in crate::service) mod tests {
    use super::*;

    /// A record as it stands in an answer.
    pub fn record(name: &str, rtype: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
        let mut out = wire(name);
        out.extend(rtype.to_be_bytes());
        out.extend([0, 1]);
        out.extend(ttl.to_be_bytes());
        out.extend((data.len() as u16).to_be_bytes());
        out.extend(data);
        out
    }

    /// A name on the wire, without the checks of [`DnsName`].
    pub fn wire(name: &str) -> Vec<u8> {
        let labels = name.split('.').filter(|label| !label.is_empty());
        let mut out: Vec<u8> = labels.flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).collect();
        out.push(0);
        out
    }

    pub fn srv(name: &str, priority: u16, weight: u16, port: u16, target: &str) -> Vec<u8> {
        let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
        record(name, 33, 300, &[numbers, wire(target)].concat())
    }

    pub fn a(name: &str, address: &str) -> Vec<u8> {
        match address.parse().unwrap() {
            IpAddr::V4(ip) => record(name, 1, 300, &ip.octets()),
            IpAddr::V6(ip) => record(name, 28, 300, &ip.octets()),
        }
    }

    pub fn cname(name: &str, target: &str) -> Vec<u8> {
        record(name, 5, 300, &wire(target))
    }

    /// The answer to a packet. `flags`: the second half of the header's second word, with the rcode.
    pub fn answer(query: &[u8], flags: [u8; 2], records: &[Vec<u8>]) -> Vec<u8> {
        let end = 12 + query[12..].iter().position(|b| *b == 0).unwrap() + 5;
        let mut out = [&query[..2], &flags, &[0, 1], &(records.len() as u16).to_be_bytes(), &[0; 4]].concat();
        out.extend(&query[12..end]);
        records.iter().for_each(|record| out.extend(record));
        out
    }

    pub const OK: [u8; 2] = [0x81, 0x80];

    fn question(name: &str, kind: Kind) -> Question {
        Question { id: 0x1234, name: DnsName::parse(name).unwrap(), kind }
    }

    fn read(question: &Question, flags: [u8; 2], records: &[Vec<u8>]) -> Reply {
        question.read(&answer(&question.packet(true, true).unwrap(), flags, records), true)
    }

    fn addresses(reply: Reply) -> Vec<String> {
        let Reply::Found(looked) = reply else { panic!("{reply:?}") };
        let address = |data| match data {
            Data::Address(ip) => ip.to_string(),
            other => panic!("{other:?}"),
        };
        looked.records.into_iter().map(address).collect()
    }

    #[test]
    fn a_question_asks_for_what_we_want() {
        let packet = question("a.example", Kind::Srv).packet(true, true).unwrap();
        // RD, AD, one question and an OPT record of 1232 bytes.
        assert_eq!(packet[..12], [0x12, 0x34, 0x01, 0x20, 0, 1, 0, 0, 0, 0, 0, 1]);
        assert_eq!(packet[12..27], *b"\x01a\x07example\0\0\x21\0\x01");
        assert_eq!(packet[27..], [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        let plain = question("a.example", Kind::A).packet(false, false).unwrap();
        assert_eq!((&plain[2..4], plain.len()), (&[0, 0][..], 27));
    }

    #[test]
    fn only_the_answer_to_the_question_counts() {
        let asked = question("a.example", Kind::A);
        let good = answer(&asked.packet(true, true).unwrap(), OK, &[a("a.example", "192.0.2.1")]);
        assert_eq!(addresses(asked.read(&good, false)), ["192.0.2.1"]);
        let with = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            asked.read(&packet, false)
        };
        // Number, QR, opcode, number of questions, name, type, class.
        for (at, byte) in [(1, 0x35), (2, 0x01), (2, 0x89), (5, 2), (5, 0), (13, b'b'), (24, 28), (26, 3)] {
            assert_eq!(with(at, byte), Reply::Foreign, "{at}");
        }
        // Letters of another size are the same name.
        assert_eq!(addresses(with(13, b'A')), ["192.0.2.1"]);
        for cut in 0..good.len() {
            assert!(!matches!(asked.read(&good[..cut], false), Reply::Found(_)), "{cut}");
        }
    }

    #[test]
    fn what_comes_along_is_not_taken() {
        let asked = question("a.example", Kind::A);
        let records = [
            a("bank.example", "192.0.2.66"),
            a("a.example", "192.0.2.1"),
            a("A.Example", "192.0.2.2"),
            a("a.example", "::1"),
        ];
        assert_eq!(addresses(read(&asked, OK, &records)), ["192.0.2.1", "192.0.2.2"]);
        // Of another class.
        let mut chaos = a("a.example", "192.0.2.9");
        chaos[14] = 3;
        assert_eq!(addresses(read(&asked, OK, &[chaos])), [""; 0]);
    }

    #[test]
    fn aliases_are_followed_so_far() {
        let asked = question("a.example", Kind::A);
        let records = [a("c.example", "192.0.2.3"), cname("b.example", "c.example"), cname("a.example", "b.example")];
        assert_eq!(addresses(read(&asked, OK, &records)), ["192.0.2.3"]);
        assert!(matches!(read(&asked, OK, &records[1..]), Reply::Alias { to, .. } if to.as_str() == "c.example"));
        // The name behind the alias does not exist.
        let Reply::Found(looked) = read(&asked, [0x81, 0x83], &records[1..]) else { panic!() };
        assert!(!looked.exists && looked.records.is_empty());
        for circle in [
            vec![cname("a.example", "a.example")],
            vec![cname("a.example", "b.example"), cname("b.example", "a.example")],
        ] {
            assert!(matches!(read(&asked, OK, &circle), Reply::Failed(why) if why.contains("without end")));
        }
        let chain = |n: usize| -> Vec<Vec<u8>> {
            let name = |i: usize| if i == 0 { "a.example".to_owned() } else { format!("n{i}.example") };
            let mut records: Vec<_> = (0..n).map(|i| cname(&name(i), &name(i + 1))).collect();
            records.push(a(&name(n), "192.0.2.8"));
            records
        };
        assert_eq!(addresses(read(&asked, OK, &chain(ALIASES))), ["192.0.2.8"]);
        assert!(matches!(read(&asked, OK, &chain(ALIASES + 1)), Reply::Failed(_)));
    }

    #[test]
    fn an_error_is_not_an_absence() {
        let asked = question("a.example", Kind::A);
        let nothing = |exists| Looked { records: vec![], exists, authentic: false, ttl_s: 0 };
        assert_eq!(read(&asked, OK, &[]), Reply::Found(nothing(true)));
        assert_eq!(read(&asked, [0x81, 0x83], &[]), Reply::Found(nothing(false)));
        assert!(matches!(read(&asked, [0x81, 0x82], &[]), Reply::Failed(why) if why.contains("SERVFAIL")));
        assert!(matches!(read(&asked, [0x81, 0x85], &[]), Reply::Failed(why) if why.contains("REFUSED")));
        assert_eq!(read(&asked, [0x81, 0x81], &[]), Reply::Puzzled);
        assert_eq!(read(&asked, [0x83, 0x80], &[]), Reply::Truncated);
        assert!(
            matches!(read(&asked, OK, &[record("a.example", 1, 9, &[1, 2, 3])]), Reply::Failed(why) if why.contains("damaged"))
        );
    }

    #[test]
    fn services_and_keys_are_read() {
        let asked = question("_xmpp-server._tcp.a.example", Kind::Srv);
        let name = asked.name.to_string();
        let records = [
            srv(&name, 10, 20, 5270, "Host.Example"),
            srv(&name, 0, 0, 0, ""),
            srv(&name, 1, 1, 5269, "a b"),
            srv(&name, 1, 1, 0, "host.example"),
        ];
        let Reply::Found(looked) = read(&asked, [0x81, 0xa0], &records) else { panic!() };
        assert!(looked.authentic && looked.ttl_s == 300);
        let host = At::Host(DnsName::parse("host.example").unwrap());
        assert_eq!(looked.records[0], Data::Service(Srv { priority: 10, weight: 20, port: 5270, at: host }));
        let at = |n: usize| match &looked.records[n] {
            Data::Service(srv) => srv.at.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!([at(1), at(2), at(3)], [At::Nowhere, At::Unusable, At::Unusable]);
        let asked = question("_5269._tcp.host.example", Kind::Tlsa);
        let name = asked.name.to_string();
        let Reply::Found(looked) = read(&asked, OK, &[record(&name, 52, u32::MAX, &[3, 1, 1, 7, 8])]) else { panic!() };
        assert!(!looked.authentic && looked.ttl_s == 0);
        assert_eq!(looked.records, [Data::Key(Tlsa { usage: 3, selector: 1, matching: 1, data: [7, 8].into() })]);
        assert!(matches!(read(&asked, OK, &[record(&name, 52, 9, &[3, 1])]), Reply::Failed(_)));
    }

    #[test]
    fn the_bit_of_who_is_not_trusted_says_nothing() {
        let asked = question("a.example", Kind::A);
        let packet = answer(&asked.packet(true, true).unwrap(), [0x81, 0xa0], &[a("a.example", "192.0.2.1")]);
        for trusted in [false, true] {
            let Reply::Found(looked) = asked.read(&packet, trusted) else { panic!() };
            assert_eq!(looked.authentic, trusted);
        }
    }

    #[test]
    fn many_records_are_bounded() {
        let asked = question("a.example", Kind::A);
        let records: Vec<_> = (0..100).map(|n| a("a.example", &format!("192.0.2.{n}"))).collect();
        assert_eq!(addresses(read(&asked, OK, &records)).len(), RECORDS);
    }

    #[test]
    fn random_bytes_are_survived() {
        let asked = question("_xmpp-server._tcp.a.example", Kind::Srv);
        let name = asked.name.to_string();
        let records = [cname(&name, "b.example"), srv("b.example", 1, 1, 5269, "host.example")];
        let good = answer(&asked.packet(true, true).unwrap(), OK, &records);
        let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
        let mut roll = |sides: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            (dice % sides as u64) as usize
        };
        for _ in 0..50_000 {
            let mut packet = good.clone();
            for _ in 0..1 + roll(4) {
                let at = 2 + roll(packet.len() - 2);
                packet[at] = roll(256) as u8;
            }
            packet.truncate(12 + roll(packet.len()));
            let _ = asked.read(&packet, true);
        }
    }
}
