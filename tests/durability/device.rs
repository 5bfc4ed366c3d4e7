//! A device of somebody: it sends numbered messages with stream management, remembers which were acknowledged, and after every loss
//! of its connection resumes, or binds anew and sends again exactly what the server says it does not have.

use crate::board::{Board, Phase, Seen, Up};
use crate::stream::{DOMAIN, Stream};
use async_rustls::rustls::ClientConfig;
use inglenook::wire::stamp;
use minidom::Element;
use std::collections::VecDeque;
use std::fmt::Write;
use std::io::{ErrorKind, Result};
use std::sync::Arc;
use std::time::SystemTime;

const SM: &str = "urn:xmpp:sm:3";
const CLIENT: &str = "jabber:client";
const MAM: &str = "urn:xmpp:mam:2";
const RSM: &str = "http://jabber.org/protocol/rsm";
const SID: &str = "urn:xmpp:sid:0";

/// A device and whom it writes to.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// Also the name of the device in messages and reports.
    pub(crate) resource: &'static str,
    pub(crate) to: &'static str,
    /// Goes offline and comes back, in order, now and then.
    pub(crate) leaves: bool,
}

const fn device(name: &'static str, resource: &'static str, to: &'static str, leaves: bool) -> Spec {
    Spec { name, resource, to, leaves }
}

/// Three pairs: one that is always there, one with somebody who goes offline, one with two devices at one end.
pub(crate) const DEVICES: [Spec; 7] = [
    device("romeo", "orchard", "juliet", false),
    device("juliet", "balcony", "romeo", false),
    device("benvolio", "street", "mercutio", false),
    device("mercutio", "tavern", "benvolio", true),
    device("nurse", "house", "peter", false),
    device("peter", "kitchen", "nurse", false),
    device("peter", "pocket", "nurse", false),
];

/// What a device does while the server is up, until the server is killed.
pub(crate) struct Plan {
    /// Is not there at all.
    pub(crate) away: bool,
    /// New messages to send.
    pub(crate) messages: usize,
    /// The most messages that are on their way at once.
    window: usize,
    /// Says what it has after so many stanzas, also when nobody asks.
    ack_every: usize,
    /// Loses its connection after so many elements, and comes back when others have got so many acknowledgements.
    drop_after: Option<(usize, u64)>,
    /// Goes offline in order after so many elements.
    pub(crate) leave_after: Option<usize>,
}

impl Plan {
    pub(crate) fn of(seed: u64, round: u64, device: usize) -> Plan {
        let mut random = crate::dice(seed, round, device as u64);
        let leaves = DEVICES[device].leaves;
        let away = leaves && random.below(4) == 0;
        let (messages, window) = (1 + random.below(12), 1 + random.below(8));
        let ack_every = 1 + random.below(10);
        let drop_after = (random.below(2) == 0).then(|| (1 + random.below(9), random.below(6) as u64));
        let leave_after = (leaves && random.below(2) == 0).then(|| 1 + random.below(12));
        Plan { away, messages, window, ack_every, drop_after, leave_after }
    }

    /// Nothing new, nothing lost.
    fn quiet() -> Plan {
        Plan { away: false, messages: 0, window: 8, ack_every: 1, drop_after: None, leave_after: None }
    }
}

/// A stanza that is sent and not acknowledged.
struct Out {
    xml: String,
    /// The number, if it is a message of the test.
    number: Option<u64>,
}

/// A session with stream management, over as many connections as it takes.
struct Session {
    id: Option<String>,
    /// Stanzas of ours that the server has acknowledged.
    acked: u32,
    unacked: VecDeque<Out>,
    /// Stanzas of the server that have come.
    came: u32,
    /// Of these, those it was told of.
    told: u32,
}

/// How a connection ended.
enum End {
    /// In order.
    Left,
    /// The plan said so; come back after so many acknowledgements of others.
    Dropped(u64),
}

pub(crate) struct Device {
    at: usize,
    seed: u64,
    board: Arc<Board>,
    trust: Arc<ClientConfig>,
    session: Option<Session>,
    /// Numbers of messages that must be sent again in a new session.
    again: VecDeque<u64>,
    /// When each message was sent first, in milliseconds since 1970.
    sent_ms: Vec<u64>,
    plan: Plan,
    round: u64,
    /// What came of the archive.
    results: Vec<Seen>,
    requests: u64,
}

impl Device {
    pub(crate) fn new(at: usize, seed: u64, board: Arc<Board>, trust: Arc<ClientConfig>) -> Device {
        let (session, again, sent_ms, results) = (None, VecDeque::new(), Vec::new(), Vec::new());
        Device { at, seed, board, trust, session, again, sent_ms, plan: Plan::quiet(), round: 0, results, requests: 0 }
    }

    fn spec(&self) -> &'static Spec {
        &DEVICES[self.at]
    }

    /// Lives until the board says that all is over.
    pub(crate) fn run(mut self) {
        let mut left = None;
        while let Some(up) = self.board.server(left) {
            if up.round != self.round {
                self.round = up.round;
                self.plan =
                    if up.phase == Phase::Chat { Plan::of(self.seed, up.round, self.at) } else { Plan::quiet() };
                if self.plan.away {
                    left = Some(up.round);
                    continue;
                }
            }
            match self.connection(up) {
                Ok(End::Left) => {
                    left = Some(up.round);
                    if up.phase == Phase::Look {
                        self.board.with(|state| state.done += 1);
                    }
                }
                Ok(End::Dropped(acks)) => self.board.pause(acks),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    panic!("{}: not a word in round {}", self.spec().resource, self.round);
                }
                Err(e) if e.kind() == ErrorKind::Other => {
                    let text = e.to_string();
                    if !text.contains("system-shutdown") {
                        self.odd(format!("stream ended: {text}"));
                    }
                    self.board.pause(1);
                }
                // The server has gone, or will have in a moment.
                Err(_) => self.board.pause(1),
            }
        }
    }

    fn odd(&self, what: String) {
        let text = format!("{what}, at {} in round {}", self.spec().resource, self.round);
        self.board.with(|state| state.odd.push(text));
    }

    /// One connection, from login to its end.
    fn connection(&mut self, up: Up) -> Result<End> {
        let shown = self.board.shows.then(|| format!("{} {}", up.round, self.spec().resource));
        let (mut stream, features) = Stream::log_in(up.address, &self.trust, self.spec().name, shown)?;
        assert!(features.get_child("sm", SM).is_some(), "stream management is not offered");
        let resumed = self.resume(&mut stream)?;
        if !resumed {
            self.bind(&mut stream)?;
        }
        if up.phase == Phase::Look {
            self.look(&mut stream)?;
            return self.leave(stream);
        }
        loop {
            self.chat(&mut stream)?;
            let element = stream.next()?;
            self.take(&mut stream, element)?;
            if let Some((left, acks)) = &mut self.plan.drop_after {
                *left -= 1;
                if *left == 0 {
                    let acks = *acks;
                    self.plan.drop_after = None;
                    stream.cut();
                    return Ok(End::Dropped(acks));
                }
            }
            if let Some(left) = &mut self.plan.leave_after {
                *left = left.saturating_sub(1);
                if *left == 0 {
                    return self.leave(stream);
                }
            }
        }
    }

    /// Tries to go on with the session before; otherwise what the server does not have is to be sent again.
    fn resume(&mut self, stream: &mut Stream) -> Result<bool> {
        let Some(session) = &mut self.session else { return Ok(false) };
        let Some(id) = &session.id else {
            self.give_up();
            return Ok(false);
        };
        stream.say(&format!("<resume xmlns='{SM}' h='{}' previd='{id}'/>", session.came))?;
        session.told = session.came;
        let answer = stream.next()?;
        let h = answer.attr("h").map(|h| h.parse::<u32>().unwrap());
        if answer.is("resumed", SM) {
            self.board.with(|state| state.counts.resumed += 1);
            self.acknowledged(h.expect("resumed has an h"));
            let unacked = self.session.iter().flat_map(|session| &session.unacked);
            let text: String = unacked.map(|out| out.xml.as_str()).collect();
            stream.say(&format!("{text}<r xmlns='{SM}'/>"))?;
            return Ok(true);
        }
        assert!(answer.is("failed", SM), "to <resume/>: {}", String::from(&answer));
        match h {
            Some(h) => {
                self.board.with(|state| state.counts.failed_with_h += 1);
                // Less than was acknowledged: what stores nothing is not counted over a restart.
                let acked = self.session.as_ref().map_or(0, |session| session.acked);
                if h.wrapping_sub(acked) < u32::MAX / 2 {
                    self.acknowledged(h);
                }
            }
            None => self.board.with(|state| state.counts.failed_without_h += 1),
        }
        self.give_up();
        Ok(false)
    }

    /// The session is lost: what it had not got acknowledged is sent again in the next.
    fn give_up(&mut self) {
        let lost = self.session.take().into_iter().flat_map(|session| session.unacked);
        let mut again: VecDeque<u64> = lost.filter_map(|out| out.number).collect();
        again.append(&mut self.again);
        self.again = again;
    }

    fn bind(&mut self, stream: &mut Stream) -> Result<()> {
        let resource = self.spec().resource;
        let bind = "urn:ietf:params:xml:ns:xmpp-bind";
        stream.say(&format!(
            "<iq type='set' id='bind'><bind xmlns='{bind}'><resource>{resource}</resource></bind></iq>"
        ))?;
        let answer = stream.next()?;
        let jid = answer.get_child("bind", bind).and_then(|b| b.get_child("jid", bind)).map(Element::text);
        assert!(jid.is_some_and(|jid| jid.ends_with(resource)), "bound: {}", String::from(&answer));
        stream.say(&format!("<enable xmlns='{SM}' resume='true'/>"))?;
        let answer = stream.next()?;
        assert!(answer.is("enabled", SM), "to <enable/>: {}", String::from(&answer));
        let id = answer.attr("id").map(str::to_owned);
        self.session = Some(Session { id, acked: 0, unacked: VecDeque::new(), came: 0, told: 0 });
        self.send(stream, "<presence/>".into())
    }

    /// Sends a stanza that is no message of the test.
    fn send(&mut self, stream: &mut Stream, xml: String) -> Result<()> {
        let session = self.session.as_mut().expect("it has a session");
        session.unacked.push_back(Out { xml, number: None });
        stream.say(&session.unacked.back().expect("it was just put there").xml)
    }

    /// Sends what the window has room for, and asks for an answer.
    fn chat(&mut self, stream: &mut Stream) -> Result<()> {
        let mut text = String::new();
        loop {
            let session = self.session.as_mut().expect("it has a session");
            let on_their_way = session.unacked.iter().filter(|out| out.number.is_some()).count();
            if on_their_way >= self.plan.window || (self.again.is_empty() && self.plan.messages == 0) {
                break;
            }
            let (number, again) = match self.again.pop_front() {
                Some(number) => {
                    self.board.with(|state| state.devices[self.at].again.insert(number));
                    (number, true)
                }
                None => {
                    self.plan.messages -= 1;
                    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                    self.sent_ms.push(now.map_or(0, |d| d.as_millis() as u64));
                    let (at, round) = (self.at, self.round);
                    self.board.with(|state| state.devices[at].sent.push(round));
                    (self.sent_ms.len() as u64, false)
                }
            };
            let xml = message(&DEVICES[self.at], number, again.then(|| self.sent_ms[number as usize - 1]));
            text.push_str(&xml);
            session.unacked.push_back(Out { xml, number: Some(number) });
        }
        if text.is_empty() {
            return Ok(());
        }
        let _ = write!(text, "<r xmlns='{SM}'/>");
        stream.say(&text)
    }

    /// Whatever comes.
    fn take(&mut self, stream: &mut Stream, element: Element) -> Result<()> {
        if element.is("r", SM) {
            return self.tell(stream);
        }
        if element.is("a", SM) {
            self.acknowledged(element.attr("h").expect("an h").parse().expect("a number"));
            return Ok(());
        }
        if !element.has_ns(CLIENT) {
            self.odd(format!("not understood: {}", String::from(&element)));
            return Ok(());
        }
        let session = self.session.as_mut().expect("it has a session");
        session.came = session.came.wrapping_add(1);
        let due = session.came.wrapping_sub(session.told) as usize >= self.plan.ack_every;
        match element.name() {
            "message" => self.message(&element),
            // Requests are answered, as RFC 6120 §8.2.3 asks.
            "iq" if matches!(element.attr("type"), Some("get" | "set")) => {
                let (id, from) = (element.attr("id").unwrap_or_default(), element.attr("from"));
                let to = from.map(|from| format!(" to='{from}'")).unwrap_or_default();
                self.send(stream, format!("<iq type='result' id='{id}'{to}/>"))?;
            }
            _ => {}
        }
        if due { self.tell(stream) } else { Ok(()) }
    }

    /// Says how much has come.
    fn tell(&mut self, stream: &mut Stream) -> Result<()> {
        let session = self.session.as_mut().expect("it has a session");
        session.told = session.came;
        stream.say(&format!("<a xmlns='{SM}' h='{}'/>", session.came))
    }

    fn message(&mut self, message: &Element) {
        if let Some(result) = message.get_child("result", MAM) {
            let forwarded = result.children().next().and_then(|f| f.get_child("message", CLIENT));
            let id = result.attr("id").map(str::to_owned);
            self.results.extend(forwarded.and_then(|message| self.seen(message, id)));
            return;
        }
        if message.attr("type") == Some("error") {
            self.board.with(|state| state.counts.bounced += 1);
            return;
        }
        let me = format!("{}@{DOMAIN}", self.spec().name);
        let mut ids = message.children().filter(|c| c.is("stanza-id", SID) && c.attr("by") == Some(&me));
        let id = ids.next().and_then(|c| c.attr("id")).map(str::to_owned);
        match self.seen(message, id) {
            Some(seen) => self.board.with(|state| state.sees(self.at, seen)),
            None => self.odd(format!("not from the test: {}", String::from(message))),
        }
    }

    /// What a message says: the device and its number.
    fn seen(&self, message: &Element, id: Option<String>) -> Option<Seen> {
        let body = message.get_child("body", CLIENT)?.text();
        let (resource, number) = body.split_once(' ')?;
        let sender = DEVICES.iter().position(|spec| spec.resource == resource)?;
        let by_server = |c: &Element| c.is("delay", "urn:xmpp:delay") && c.attr("from") == Some(DOMAIN);
        let others = DEVICES.iter().filter(|spec| spec.name == self.spec().name).count() > 1;
        // It was in the queue of another device, which never came back for it.
        let left = others && message.children().any(by_server);
        Some(Seen { sender, number: number.parse().ok()?, id, left, round: self.round })
    }

    /// The server has so many stanzas of the session.
    fn acknowledged(&mut self, h: u32) {
        let session = self.session.as_mut().expect("it has a session");
        let new = h.wrapping_sub(session.acked);
        if new as usize > session.unacked.len() {
            let (acked, unacked) = (session.acked, session.unacked.len());
            return self.odd(format!("h: {h}, after {acked}, with {unacked} on their way"));
        }
        session.acked = h;
        let messages = session.unacked.drain(..new as usize).filter(|out| out.number.is_some()).count();
        self.board.acked(self.at, messages as u64);
    }

    /// Goes offline so that nothing can come twice: from the acknowledged `unavailable` on, nothing comes any more, and all
    /// that came is told.
    fn leave(&mut self, mut stream: Stream) -> Result<End> {
        // If the connection is lost now, it comes back in this round and has nothing more to do.
        (self.plan.messages, self.plan.leave_after, self.plan.drop_after) = (0, None, None);
        self.send(&mut stream, "<presence type='unavailable'/>".into())?;
        stream.say(&format!("<r xmlns='{SM}'/>"))?;
        while self.session.as_ref().is_some_and(|session| !session.unacked.is_empty()) {
            let element = stream.next()?;
            self.take(&mut stream, element)?;
        }
        self.tell(&mut stream)?;
        let mut rest = Vec::new();
        let ended = stream.close(|element| rest.push(element));
        rest.iter().filter(|e| e.is("message", CLIENT)).for_each(|message| self.message(message));
        if !ended {
            // The server may not have heard it: the stream is not forgotten.
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.give_up();
        Ok(End::Left)
    }

    /// Waits for what is still to come, and reads the whole archive in pages if this is the first device of its account.
    fn look(&mut self, stream: &mut Stream) -> Result<()> {
        self.ask(stream, "get", "<ping xmlns='urn:xmpp:ping'/>")?;
        if DEVICES.iter().position(|spec| spec.name == self.spec().name) == Some(self.at) {
            let archive = self.archive(stream)?;
            self.board.with(|state| state.devices[self.at].archive = Some(archive));
        }
        self.ask(stream, "get", "<ping xmlns='urn:xmpp:ping'/>").map(drop)
    }

    fn archive(&mut self, stream: &mut Stream) -> Result<std::result::Result<Vec<Seen>, String>> {
        self.results.clear();
        let mut after = String::new();
        loop {
            let had = self.results.len();
            let query =
                format!("<query xmlns='{MAM}' queryid='q'><set xmlns='{RSM}'><max>50</max>{after}</set></query>");
            let answer = self.ask(stream, "set", &query)?;
            let Some(fin) = answer.get_child("fin", MAM) else { return Ok(Err(String::from(&answer))) };
            let came = self.results.len() - had;
            let last = fin.get_child("set", RSM).and_then(|set| set.get_child("last", RSM)).map(Element::text);
            if fin.attr("complete") == Some("true") {
                return Ok(Ok(std::mem::take(&mut self.results)));
            }
            match last {
                Some(last) if (1..=50).contains(&came) => after = format!("<after>{last}</after>"),
                last => return Ok(Err(format!("a page of {came} messages, not the last, that ends with {last:?}"))),
            }
        }
    }

    /// The answer to a request to the own account or server.
    fn ask(&mut self, stream: &mut Stream, kind: &str, what: &str) -> Result<Element> {
        self.requests += 1;
        let id = format!("ask-{}", self.requests);
        self.send(stream, format!("<iq type='{kind}' id='{id}'>{what}</iq>"))?;
        loop {
            let element = stream.next()?;
            let answer = element.is("iq", CLIENT) && element.attr("id") == Some(&id);
            self.take(stream, element.clone())?;
            if answer {
                return Ok(element);
            }
        }
    }
}

/// The text of a message; sent again in a new session, it says when it was sent first.
fn message(spec: &Spec, number: u64, again_ms: Option<u64>) -> String {
    let Spec { resource, to, .. } = spec;
    let delay = again_ms.map(|ms| format!("<delay xmlns='urn:xmpp:delay' stamp='{}'/>", stamp::format(ms)));
    let delay = delay.unwrap_or_default();
    format!(
        "<message type='chat' to='{to}@{DOMAIN}' id='{resource}-{number}'><body>{resource} {number}</body>\
         <origin-id xmlns='{SID}' id='{resource}-{number}'/>{delay}</message>"
    )
}
