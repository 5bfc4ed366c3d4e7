//! Streams of the house with other servers: what it says on them waits in a string until the test carries it to the other end.

use super::House;
use inglenook::core::{Input, StreamId};
use inglenook::service::net::link::{End, Link, Mail, ServerLink, Step};
use inglenook::stream::s2s::{DialbackSecret, Evidence, Purpose, S2s, ServerTerms};
use inglenook::wire::{DomainPair, Jid, Proof, Refusal};
use std::sync::Arc;

/// One end of a stream between servers.
pub struct Connection {
    link: ServerLink,
    /// What came and the stream has not taken yet.
    unread: Vec<u8>,
    out: String,
    closed: bool,
}

/// Whoever is at the other end is who it says.
#[derive(Debug)]
struct Believed;

impl Evidence for Believed {
    fn proves(&self, _: &Jid) -> Result<Proof, String> {
        Ok(Proof::Certificate)
    }
}

impl Connection {
    /// When something is due, of a stream that is not over.
    pub fn deadline(&self) -> Option<u64> {
        (!self.closed).then(|| self.link.deadline())
    }
}

impl House {
    fn server_terms(&self) -> Arc<ServerTerms> {
        let domains = self.core.state().domains().map(|domain| Jid::parse(domain).unwrap()).collect();
        Arc::new(ServerTerms { domains, secret: DialbackSecret::new([1; 32]) })
    }

    fn connect_server(
        &mut self,
        link: impl FnOnce(StreamId, Arc<ServerTerms>, u64, [u8; 32]) -> ServerLink,
    ) -> StreamId {
        self.next += 1;
        let sid = StreamId(self.next);
        let mut random = [5; 32];
        random[..8].copy_from_slice(&sid.0.to_le_bytes());
        random[8] ^= u8::from(self.settings.domain.as_str() != super::DOMAIN);
        let link = link(sid, self.server_terms(), self.now.mono, random);
        self.servers.insert(sid, Connection { link, unread: Vec::new(), out: String::new(), closed: false });
        let connection = self.servers.get_mut(&sid).unwrap();
        let step = connection.link.begin(&mut connection.out);
        step.into_iter().for_each(|step| self.server_step(sid, step));
        sid
    }

    /// The streams to other servers that the core wants.
    pub fn take_dials(&mut self) -> Vec<DomainPair> {
        std::mem::take(&mut self.dials)
    }

    /// Another server is reached.
    pub fn dialled(&mut self, pair: &DomainPair) -> StreamId {
        let keep = self.settings.federation.kept.contains(&pair.theirs);
        self.connect_server(|sid, terms, now, random| {
            let purpose = Purpose::Stanzas { pair: pair.clone(), keep };
            let s2s = S2s::outgoing(terms, Some(Box::new(Believed)), now, random, purpose);
            ServerLink::outgoing(sid, s2s, pair.clone(), now)
        })
    }

    /// Another server is not reached.
    pub fn not_dialled(&mut self, pair: &DomainPair) {
        self.input(Input::PeerRefused(pair.clone(), Refusal::wait("nobody is there")));
    }

    /// Another server has reached us.
    pub fn accepted(&mut self) -> StreamId {
        self.connect_server(|sid, terms, now, random| {
            ServerLink::incoming(sid, S2s::incoming(terms, Some(Box::new(Believed)), now, random), now)
        })
    }

    /// What another server says.
    pub fn hear_server(&mut self, sid: StreamId, bytes: &str) {
        if let Some(connection) = self.servers.get_mut(&sid) {
            connection.unread.extend_from_slice(bytes.as_bytes());
        }
        self.pump_server(sid);
        self.settle();
    }

    /// What is said to another server.
    pub fn said_to_server(&mut self, sid: StreamId) -> String {
        self.servers.get_mut(&sid).map(|connection| std::mem::take(&mut connection.out)).unwrap_or_default()
    }

    /// Whether a stream is over on this side.
    pub fn is_over(&self, sid: StreamId) -> bool {
        self.servers.get(&sid).is_none_or(|connection| connection.closed)
    }

    /// A stream breaks.
    pub fn cut_server(&mut self, sid: StreamId) {
        self.end_server(sid, true);
        self.settle();
    }

    fn end_server(&mut self, sid: StreamId, tell: bool) {
        let Some(connection) = self.servers.get_mut(&sid).filter(|connection| !connection.closed) else { return };
        connection.closed = true;
        let left = connection.link.left();
        if tell {
            self.input(Input::Closed(sid, false));
        }
        left.into_iter().for_each(|input| self.input(input));
    }

    fn pump_server(&mut self, sid: StreamId) {
        loop {
            let now = self.now.mono;
            let Some(connection) = self.servers.get_mut(&sid).filter(|c| !c.closed && !c.link.waits()) else { return };
            let mut rest = &connection.unread[..];
            let step = connection.link.next(now, &mut rest, &mut connection.out);
            let taken = connection.unread.len() - rest.len();
            connection.unread.drain(..taken);
            match step {
                Some(step) => self.server_step(sid, step),
                None => return,
            }
        }
    }

    fn server_step(&mut self, sid: StreamId, step: Step) {
        match step {
            Step::Tell(input) | Step::Proved(_, Some(input)) => self.input(input),
            Step::Proved(_, None) => {}
            Step::TellAndEnd(input, _) => {
                self.input(input);
                self.end_server(sid, true);
            }
            Step::End(end) => self.end_server(sid, end != End::Told),
        }
    }

    pub(super) fn deliver_to_server(&mut self, sid: StreamId, mail: Mail) {
        let Some(connection) = self.servers.get_mut(&sid).filter(|connection| !connection.closed) else { return };
        let waited = connection.link.waits();
        let step = connection.link.take(mail, &mut connection.out);
        let goes_on = waited && !connection.link.waits();
        step.into_iter().for_each(|step| self.server_step(sid, step));
        if goes_on {
            self.pump_server(sid);
        }
    }

    pub(super) fn servers_late(&mut self, now: u64) {
        let late = |(_, connection): &(&StreamId, &Connection)| connection.deadline().is_some_and(|at| at <= now);
        let late: Vec<StreamId> = self.servers.iter().filter(late).map(|(sid, _)| *sid).collect();
        for sid in late {
            let connection = self.servers.get_mut(&sid).unwrap();
            let step = connection.link.expired(now, &mut connection.out);
            step.into_iter().for_each(|step| self.server_step(sid, step));
            assert!(self.servers[&sid].deadline().is_none_or(|at| at > now), "a deadline that does not move");
        }
        self.servers.retain(|_, connection| !connection.closed || !connection.out.is_empty());
    }
}
