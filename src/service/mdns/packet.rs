//! Packets of multicast DNS (RFC 6762 §18), read with mistrust, and written.

use domain::base::iana::{Class, Opcode, Rcode};
use domain::base::name::{Name, ParsedName, ToName};
use domain::base::rdata::{ComposeRecordData, UnknownRecordData};
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, ParseRecordData, ParsedRecord, Question, Rtype, StaticCompressor};
use domain::rdata::{Cname, Ptr, Srv};

/// A name as it is on the wire, of any bytes; which letters are capital does not count.
pub type WireName = Name<Vec<u8>>;

/// The largest packet that is written: with its headers it fits into one frame of an Ethernet (RFC 6762 §17).
pub const PACKET_BYTES: usize = 1400;
/// The largest packet that is read (RFC 6762 §17).
pub const READ_BYTES: usize = 9000;
/// Questions of a packet; one that has more is not read.
pub const QUESTIONS: usize = 64;
/// Records of a packet; one that has more is not read.
pub const RECORDS: usize = 256;
/// In the class of a question: an answer to the asker alone will do. In that of a record: it replaces what was there before
/// (RFC 6762 §18.12, §18.13).
const TOP_BIT: u16 = 0x8000;

/// A question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MdnsQuestion {
    /// About which name.
    pub name: WireName,
    /// And which kind of record; [`Rtype::ANY`] is all of them.
    pub kind: Rtype,
    /// Whether an answer to the asker alone will do (RFC 6762 §5.4).
    pub unicast: bool,
}

/// A record of the Internet's class.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MdnsRecord {
    /// Its owner.
    pub name: WireName,
    /// What its data is.
    pub kind: Rtype,
    /// Whether it replaces what was known before (RFC 6762 §10.2).
    pub flush: bool,
    /// How long it holds, in seconds; 0: no longer (RFC 6762 §10.1).
    pub ttl_s: u32,
    /// The data; names in it are whole.
    pub data: Box<[u8]>,
}

impl MdnsRecord {
    /// Whether another one says the same of the same name. Names in the data are compared as names.
    pub fn says_the_same(&self, other: &MdnsRecord) -> bool {
        let same = match self.kind {
            Rtype::PTR | Rtype::SRV | Rtype::CNAME => self.data.eq_ignore_ascii_case(&other.data),
            _ => self.data == other.data,
        };
        self.kind == other.kind && self.name == other.name && same
    }

    /// How records are compared where two want one name: bit by bit (RFC 6762 §8.2).
    pub fn rank(&self) -> (u16, &[u8]) {
        (self.kind.to_int(), &self.data)
    }

    fn read(record: &ParsedRecord<'_, [u8]>) -> Result<Option<MdnsRecord>, ParseError> {
        let class = record.class().to_int();
        if class & !TOP_BIT != Class::IN.to_int() {
            return Ok(None);
        }
        let data = match record.rtype() {
            Rtype::PTR => whole::<Ptr<ParsedName<&[u8]>>>(record)?,
            Rtype::CNAME => whole::<Cname<ParsedName<&[u8]>>>(record)?,
            Rtype::SRV => whole::<Srv<ParsedName<&[u8]>>>(record)?,
            _ => whole::<UnknownRecordData<&[u8]>>(record)?,
        };
        Ok(data.map(|data| MdnsRecord {
            name: record.owner().to_vec(),
            kind: record.rtype(),
            flush: class & TOP_BIT != 0,
            ttl_s: record.ttl().as_secs(),
            data,
        }))
    }
}

/// The data of a record with all its names whole.
fn whole<'a, Data>(record: &ParsedRecord<'a, [u8]>) -> Result<Option<Box<[u8]>>, ParseError>
where
    Data: ParseRecordData<'a, [u8]> + ComposeRecordData,
{
    let Some(record) = record.to_record::<Data>()? else { return Ok(None) };
    let mut data = Vec::new();
    // Nothing is too long for a vector.
    Ok(record.data().compose_rdata(&mut data).is_ok().then(|| data.into()))
}

/// A packet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MdnsPacket {
    /// Of use to old resolvers alone (RFC 6762 §6.7, §18.1).
    pub id: u16,
    /// Whether it is a response.
    pub response: bool,
    /// Of a question: that more known answers follow (RFC 6762 §7.2).
    pub truncated: bool,
    /// What is asked.
    pub questions: Vec<MdnsQuestion>,
    /// Of a response, its answers; of a question, what the asker knows already (RFC 6762 §7.1).
    pub answers: Vec<MdnsRecord>,
    /// Of a probe, what the asker is about to claim (RFC 6762 §8.2).
    pub authority: Vec<MdnsRecord>,
    /// What comes along.
    pub additional: Vec<MdnsRecord>,
}

impl MdnsPacket {
    /// Reads a packet. `None` if it is damaged, too large, or nothing of multicast DNS (RFC 6762 §18.3, §18.11).
    pub fn read(bytes: &[u8]) -> Option<MdnsPacket> {
        let message = Message::from_slice(bytes).ok().filter(|_| bytes.len() <= READ_BYTES)?;
        let (header, counts) = (message.header(), message.header_counts());
        let records = [counts.ancount(), counts.nscount(), counts.arcount()].map(usize::from).iter().sum::<usize>();
        let is_ours = header.opcode() == Opcode::QUERY && header.rcode() == Rcode::NOERROR;
        if !is_ours || usize::from(counts.qdcount()) > QUESTIONS || records > RECORDS {
            return None;
        }
        MdnsPacket::sections(message).ok()
    }

    fn sections(message: &Message<[u8]>) -> Result<MdnsPacket, ParseError> {
        let header = message.header();
        let mut packet =
            MdnsPacket { id: header.id(), response: header.qr(), truncated: header.tc(), ..MdnsPacket::default() };
        for question in message.question() {
            let question = question?;
            let class = question.qclass().to_int();
            if [Class::IN, Class::ANY].map(Class::to_int).contains(&(class & !TOP_BIT)) {
                let (name, unicast) = (question.qname().to_vec(), class & TOP_BIT != 0);
                packet.questions.push(MdnsQuestion { name, kind: question.qtype(), unicast });
            }
        }
        let mut section = message.answer()?;
        for record in &mut section {
            packet.answers.extend(MdnsRecord::read(&record?)?);
        }
        let Some(mut section) = section.next_section()? else { return Ok(packet) };
        for record in &mut section {
            packet.authority.extend(MdnsRecord::read(&record?)?);
        }
        let Some(section) = section.next_section()? else { return Ok(packet) };
        for record in section {
            packet.additional.extend(MdnsRecord::read(&record?)?);
        }
        Ok(packet)
    }

    /// The bytes of it. `None` if they would be more than [`PACKET_BYTES`].
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut builder = MessageBuilder::from_target(StaticCompressor::new(Vec::new())).ok()?;
        builder.set_push_limit(PACKET_BYTES);
        let header = builder.header_mut();
        header.set_id(self.id);
        header.set_qr(self.response);
        // Whoever answers has the last word (RFC 6762 §18.4).
        header.set_aa(self.response);
        header.set_tc(self.truncated);
        let class = |top: bool| Class::from_int(Class::IN.to_int() | if top { TOP_BIT } else { 0 });
        let mut builder = builder.question();
        for MdnsQuestion { name, kind, unicast } in &self.questions {
            builder.push(Question::new(name, *kind, class(*unicast))).ok()?;
        }
        let record = |record: &MdnsRecord| {
            let data = UnknownRecordData::from_octets(record.kind, record.data.to_vec()).ok()?;
            Some((record.name.clone(), class(record.flush), record.ttl_s, data))
        };
        let mut builder = builder.answer();
        for one in &self.answers {
            builder.push(record(one)?).ok()?;
        }
        let mut builder = builder.authority();
        for one in &self.authority {
            builder.push(record(one)?).ok()?;
        }
        let mut builder = builder.additional();
        for one in &self.additional {
            builder.push(record(one)?).ok()?;
        }
        Some(builder.finish().into_target())
    }

    /// As few packets as it takes: what does not fit goes on in another. What comes along is left out first.
    pub fn packets(mut self) -> Vec<Vec<u8>> {
        if let Some(bytes) = self.write() {
            return vec![bytes];
        }
        if !self.additional.is_empty() {
            self.additional.clear();
            return self.packets();
        }
        let half = self.answers.len() / 2;
        if half == 0 {
            return Vec::new();
        }
        let rest = MdnsPacket { answers: self.answers.split_off(half), ..self.clone() };
        [self.packets(), rest.packets()].concat()
    }
}

/// A name of labels that may have any bytes. `None` if one is empty or too long, or all together are.
pub fn wire_name<'a>(labels: impl IntoIterator<Item = &'a str>) -> Option<WireName> {
    let mut octets = Vec::new();
    for label in labels {
        octets.push(u8::try_from(label.len()).ok().filter(|len| (1..=63).contains(len))?);
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    Name::from_octets(octets).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use domain::base::name::ToLabelIter as _;

    fn name(text: &str) -> WireName {
        wire_name(text.split('.')).unwrap()
    }

    fn record(of: &str, kind: Rtype, data: &[u8]) -> MdnsRecord {
        MdnsRecord { name: name(of), kind, flush: true, ttl_s: 120, data: data.into() }
    }

    #[test]
    fn a_packet_is_read_as_it_was_written() {
        let srv = [&[0, 0, 0, 0, 0x14, 0x66][..], name("box.local").as_slice()].concat();
        let packet = MdnsPacket {
            id: 7,
            response: true,
            truncated: false,
            questions: vec![MdnsQuestion { name: name("box.local"), kind: Rtype::ANY, unicast: true }],
            answers: vec![record("box.local", Rtype::A, &[192, 168, 1, 5])],
            authority: vec![record("Chat of us._https._tcp.local", Rtype::SRV, &srv)],
            additional: vec![record("_https._tcp.local", Rtype::PTR, name("x._https._tcp.local").as_slice())],
        };
        let bytes = packet.write().unwrap();
        assert_eq!(MdnsPacket::read(&bytes), Some(packet));
        // QR and AA; ANY, with the bit that asks for an answer to the asker; A, with the one that replaces; what is compressed.
        assert_eq!(bytes[..12], [0, 7, 0x84, 0, 0, 1, 0, 1, 0, 1, 0, 1]);
        assert_eq!(bytes[23..27], [0, 255, 0x80, 1]);
        assert_eq!(bytes[27..43], [0xc0, 12, 0, 1, 0x80, 1, 0, 0, 0, 120, 0, 4, 192, 168, 1, 5]);
    }

    #[test]
    fn names_in_the_data_are_made_whole() {
        // PTR and SRV with pointers to the question's name.
        let head = [0, 0, 0x84, 0, 0, 1, 0, 2, 0, 0, 0, 0];
        let question = [&b"\x03box\x05local\0"[..], &[0, 255, 0, 1]].concat();
        let ptr = [0xc0, 12, 0, 12, 0, 1, 0, 0, 0, 9, 0, 4, 1, b'a', 0xc0, 16];
        let srv = [0xc0, 12, 0, 33, 0x80, 1, 0, 0, 0, 9, 0, 8, 0, 0, 0, 0, 1, 187, 0xc0, 12];
        let packet = MdnsPacket::read(&[&head[..], &question, &ptr, &srv].concat()).unwrap();
        assert_eq!(&*packet.answers[0].data, b"\x01a\x05local\0");
        assert_eq!(&*packet.answers[1].data, b"\0\0\0\0\x01\xbb\x03box\x05local\0");
        assert!(!packet.answers[0].flush && packet.answers[1].flush);
        let mut other = packet.answers[1].clone();
        other.data = b"\0\0\0\0\x01\xbb\x03BOX\x05local\0"[..].into();
        assert!(packet.answers[1].says_the_same(&other), "which letters are capital does not count");
        assert!(!packet.answers[0].says_the_same(&other));
    }

    #[test]
    fn what_is_not_of_multicast_dns_is_not_read() {
        let good = MdnsPacket { questions: vec![question("box.local")], ..MdnsPacket::default() }.write().unwrap();
        assert!(MdnsPacket::read(&good).is_some());
        // Another opcode, an error, no whole header, half a question, a pointer to itself.
        for (at, byte) in [(2, 0x28), (3, 3)] {
            let mut bad = good.clone();
            bad[at] = byte;
            assert_eq!(MdnsPacket::read(&bad), None, "{at}");
        }
        assert!((0..good.len()).all(|cut| MdnsPacket::read(&good[..cut]).is_none()));
        let turning = [&good[..12], &[0xc0, 12, 0, 1, 0, 1]].concat();
        assert_eq!(MdnsPacket::read(&turning), None);
        // Of another class.
        let mut chaos = good.clone();
        chaos[26] = 3;
        assert!(MdnsPacket::read(&chaos).unwrap().questions.is_empty());
        // Too much.
        let many = |questions: usize, answers: usize| {
            let mut bytes =
                [&[0; 4], &(questions as u16).to_be_bytes()[..], &(answers as u16).to_be_bytes(), &[0; 4]].concat();
            bytes.extend([0, 0, 1, 0, 1].repeat(questions));
            bytes.extend([0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0].repeat(answers));
            bytes
        };
        assert!(MdnsPacket::read(&many(QUESTIONS, RECORDS)).is_some());
        assert!(
            MdnsPacket::read(&many(QUESTIONS + 1, 0)).is_none() && MdnsPacket::read(&many(0, RECORDS + 1)).is_none()
        );
        assert!(MdnsPacket::read(&[good, vec![0; READ_BYTES]].concat()).is_none());
    }

    fn question(of: &str) -> MdnsQuestion {
        MdnsQuestion { name: name(of), kind: Rtype::A, unicast: false }
    }

    #[test]
    fn what_does_not_fit_goes_on_in_another() {
        let answers: Vec<MdnsRecord> =
            (0..40).map(|n| record(&format!("box{n}.local"), Rtype::TXT, &[n; 100])).collect();
        let packet = MdnsPacket { response: true, answers: answers.clone(), ..MdnsPacket::default() };
        let along =
            MdnsPacket { answers: answers[..10].to_vec(), additional: answers[10..].to_vec(), ..packet.clone() };
        let read = |packets: Vec<Vec<u8>>| -> Vec<MdnsPacket> {
            assert!(packets.iter().all(|packet| packet.len() <= PACKET_BYTES));
            packets.iter().map(|bytes| MdnsPacket::read(bytes).unwrap()).collect()
        };
        let packets = read(packet.packets());
        assert!(packets.len() >= 4 && packets.iter().all(|packet| packet.response));
        assert_eq!(packets.into_iter().flat_map(|packet| packet.answers).collect::<Vec<_>>(), answers);
        let packets = read(along.packets());
        assert_eq!((packets.len(), packets[0].answers.len(), packets[0].additional.len()), (1, 10, 0));
        let huge = MdnsPacket { answers: vec![record("a.local", Rtype::TXT, &[0; 2000])], ..MdnsPacket::default() };
        assert!(huge.packets().is_empty());
    }

    #[test]
    fn labels_have_their_limits() {
        assert_eq!(wire_name(["Chat of us. And you", "local"]).unwrap().iter_labels().count(), 3);
        assert!(wire_name(["a".repeat(64).as_str()]).is_none() && wire_name(["", "local"]).is_none());
        assert!(wire_name(["a".repeat(63).as_str(); 4]).is_none());
    }
}
