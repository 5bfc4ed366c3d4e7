//! What an entry of the log says.
//!
//! A message is one entry, whether it is in one archive or in two. It also says what the streams of its sender and of its
//! receiver call it (XEP-0198 §4), so that a client that comes back after a power cut can be told what it sent arrived, and can
//! tell what it has seen. A note says which messages need no more delivery.

use crate::store::record::{Broken, Reader, Writer};

/// What a stream with stream management calls a stanza.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Counted {
    /// The stream's number, never used twice.
    pub stream: u64,
    /// How many stanzas went that way until this one, itself included (modulo 2^32).
    pub count: u32,
}

/// An entry's value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logged<'a> {
    /// A message.
    Message {
        /// How its sender's stream counts it.
        sent: Option<Counted>,
        /// The streams that it was written to, if none of them was sure to have it, and it is not stored elsewhere.
        received: Vec<Counted>,
        /// The stanza as it was accepted.
        xml: &'a str,
    },
    /// Messages that somebody has, or that are kept elsewhere.
    Settled(Vec<u64>),
    /// Messages of this account that were kept, and were handed to a stream: how it counts them, and what they are called. Or that had waited
    /// for a stream to another server.
    Handed {
        /// Whose; of another server's nobody's.
        local: &'a str,
        /// The stream.
        stream: u64,
        /// Its counts, and the numbers.
        messages: Vec<(u32, u64)>,
    },
    /// How much of what the clients of these streams sent they are told was handled, be it in the log or not.
    Heard(Vec<Counted>),
    /// What another server calls a stream with stream management, and between which domains it is.
    Peer {
        /// The stream.
        stream: u64,
        /// Our domain.
        ours: &'a str,
        /// Theirs.
        theirs: &'a str,
        /// The id that it can be resumed by.
        id: &'a str,
    },
}

const MESSAGE: u8 = 1;
const SETTLED: u8 = 2;
const HANDED: u8 = 3;
const HEARD: u8 = 4;
const PEER: u8 = 5;

/// In the place of a stream: the message waits for one to another server.
pub(in crate::core) const WAITS: Counted = Counted { stream: 0, count: 0 };

impl<'a> Logged<'a> {
    /// As it is written.
    pub fn record(&self) -> Box<[u8]> {
        match self {
            Logged::Message { sent, received, xml } => {
                let counted = |w: Writer, c: &Counted| w.u64(c.stream).u32(c.count);
                // Two bytes, 12 for each count, and 4 for the length: no more is needed, so that nothing is copied.
                let counts = received.len() + usize::from(sent.is_some());
                let w = Writer::with_room(1, 1 + 2 + 12 * counts + 4 + xml.len()).u8(MESSAGE);
                let w = sent.iter().fold(w.u8(sent.is_some().into()), counted);
                // An account has fewer sessions than a byte counts.
                let w = received.iter().fold(w.u8(received.len() as u8), counted);
                w.str(xml).done()
            }
            Logged::Settled(ids) => {
                let w = Writer::new(1).u8(SETTLED).u32(ids.len() as u32);
                ids.iter().fold(w, |w, id| w.u64(*id)).done()
            }
            Logged::Handed { local, stream, messages } => {
                let w = Writer::new(1).u8(HANDED).str(local).u64(*stream).u32(messages.len() as u32);
                messages.iter().fold(w, |w, (count, mark)| w.u32(*count).u64(*mark)).done()
            }
            Logged::Peer { stream, ours, theirs, id } => {
                Writer::new(1).u8(PEER).u64(*stream).str(ours).str(theirs).str(id).done()
            }
            Logged::Heard(counts) => {
                let w = Writer::new(1).u8(HEARD).u32(counts.len() as u32);
                counts.iter().fold(w, |w, c| w.u64(c.stream).u32(c.count)).done()
            }
        }
    }

    /// As it was written.
    pub fn read(record: &'a [u8]) -> Result<Logged<'a>, Broken> {
        let mut r = Reader::new(record)?;
        let counted = |r: &mut Reader<'a>| Ok(Counted { stream: r.u64()?, count: r.u32()? });
        match (r.version, r.u8()?) {
            (1, MESSAGE) => {
                let sent = if r.u8()? == 1 { Some(counted(&mut r)?) } else { None };
                let received = (0..r.u8()?).map(|_| counted(&mut r)).collect::<Result<_, Broken>>()?;
                Ok(Logged::Message { sent, received, xml: r.str()? })
            }
            (1, SETTLED) => Ok(Logged::Settled((0..r.u32()?).map(|_| r.u64()).collect::<Result<_, _>>()?)),
            (1, HANDED) => {
                let (local, stream) = (r.str()?, r.u64()?);
                let messages = (0..r.u32()?).map(|_| Ok((r.u32()?, r.u64()?))).collect::<Result<_, Broken>>()?;
                Ok(Logged::Handed { local, stream, messages })
            }
            (1, PEER) => Ok(Logged::Peer { stream: r.u64()?, ours: r.str()?, theirs: r.str()?, id: r.str()? }),
            (1, HEARD) => Ok(Logged::Heard((0..r.u32()?).map(|_| counted(&mut r)).collect::<Result<_, Broken>>()?)),
            _ => Err(Broken),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back() {
        let c = |stream, count| Counted { stream, count };
        let xml = "<message xmlns='jabber:client'/>";
        for entry in [
            Logged::Message { sent: None, received: vec![], xml },
            Logged::Message { sent: Some(c(u64::MAX, 7)), received: vec![c(1, u32::MAX), c(2, 0)], xml },
            Logged::Settled(vec![]),
            Logged::Settled(vec![1, u64::MAX]),
            Logged::Heard(vec![c(u64::MAX, 7), c(0, u32::MAX)]),
            Logged::Handed { local: "juliet", stream: 9, messages: vec![(u32::MAX, 1), (0, u64::MAX)] },
            Logged::Peer { stream: u64::MAX, ours: "a.test", theirs: "b.test", id: "x" },
        ] {
            let record = entry.record();
            assert_eq!(Logged::read(&record), Ok(entry));
            for end in 0..record.len() {
                assert_eq!(Logged::read(&record[..end]), Err(Broken), "{end}");
            }
        }
        // As disks have them.
        for (entry, kind) in [
            (Logged::Message { sent: None, received: vec![], xml }, 1),
            (Logged::Settled(vec![]), 2),
            (Logged::Handed { local: "juliet", stream: 9, messages: vec![] }, 3),
            (Logged::Heard(vec![]), 4),
            (Logged::Peer { stream: 0, ours: "", theirs: "", id: "" }, 5),
        ] {
            assert_eq!(entry.record()[..2], [1, kind]);
        }
        assert_eq!(Logged::read(&[1, 9]), Err(Broken));
        assert_eq!(Logged::read(&[2, 1]), Err(Broken));
    }
}
