//! A stream of XMPP in requests and answers of HTTP (BOSH, XEP-0124 and XEP-0206): what one session holds, in which order. No connection
//! and no clock.
//!
//! To the stream it looks like messages of RFC 7395, so the server has one state machine for both: what is read from a session and written
//! to it is text with [`END`] behind each message, and `<open/>` and `<close/>` are made from what is said in `<body/>`, and the reverse.

use super::answer::{Answer, Status};
use crate::wire::framer::{END, Frame, Limits};
use crate::wire::xml::escape;
use crate::wire::{Framer, Node, Raw};
use ring::digest;
use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

/// The longest content of a request, in bytes: the longest stanza, and what is around it.
pub const REQUEST_BYTES: usize = 320 * 1024;
/// What waits for the client to ask, in bytes, above which the stream writes no more; a message that is longer waits alone. It is as much as
/// waits for a client that does not read: a client that is away for a moment loses nothing.
pub const UNTOLD_BYTES: usize = 2 * 1024 * 1024;
/// An answer, in bytes; a message that is longer has one of its own.
pub const ANSWER_BYTES: usize = 64 * 1024;
/// What waits for the stream to read it, in bytes, above which no request is taken.
pub const UNREAD_BYTES: usize = 64 * 1024;
/// How long a request is held at most, in seconds.
pub const WAIT_S: u64 = 120;
/// How long a session is kept while no request of it is here, in seconds.
pub const INACTIVITY_S: u64 = 60;
/// The same of a client that asks from time to time, in seconds.
pub const POLLING_INACTIVITY_S: u64 = 120;
/// The shortest time between two requests of such a client that say nothing, in seconds.
pub const POLLING_S: u64 = 2;
/// For how long a client may say that it will not be here, in seconds.
pub const PAUSE_S: u64 = 120;
/// Answers that are kept for who did not get them, if they are short.
const ANSWERS: usize = 5;
/// How often one request may come again while nothing else comes.
pub const REPEATS: u32 = 16;
/// The first and the last request are held so long for what the stream has to say, in milliseconds, whatever the client asked for.
const ENDS_MS: u64 = 5_000;
/// The largest request ID (§14.1).
const LAST_RID: u64 = (1 << 53) - 1;
/// Requests that are held at the same time: one is enough, the next one takes its place.
const HOLD: u64 = 1;
/// A name of a language, a domain or a person in `<body/>`, in bytes.
const NAME_BYTES: usize = 3 * 1023 + 2;

/// Limits for `<body/>`; what is in it is looked at once more by the stream.
const LIMITS: Limits = Limits { element_bytes: REQUEST_BYTES, depth: 65, elements: 16 * 1024, attributes: 64 };

const NAMESPACE: &str = "http://jabber.org/protocol/httpbind";
const XBOSH: &str = "urn:xmpp:xbosh";
/// The default type of answers (§7.1).
const XML: &str = "text/xml; charset=utf-8";

/// Milliseconds on a clock that never jumps.
type Mono = u64;

/// Why a session ends, or does not begin (§17.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BoshCondition {
    /// What came is no `<body/>` as it should be.
    BadRequest,
    /// There is no such session, or the request does not belong to it.
    ItemNotFound,
    /// The client does what it may not.
    PolicyViolation,
    /// The domain is another server's.
    HostUnknown,
    /// The domain is not told.
    ImproperAddressing,
    /// What another request did ended the session.
    OtherRequest,
    /// The stream broke off.
    RemoteConnectionFailed,
    /// The stream ended with an error.
    RemoteStreamError,
    /// The server stops.
    SystemShutdown,
}

impl BoshCondition {
    fn name(self) -> &'static str {
        match self {
            BoshCondition::BadRequest => "bad-request",
            BoshCondition::ItemNotFound => "item-not-found",
            BoshCondition::PolicyViolation => "policy-violation",
            BoshCondition::HostUnknown => "host-unknown",
            BoshCondition::ImproperAddressing => "improper-addressing",
            BoshCondition::OtherRequest => "other-request",
            BoshCondition::RemoteConnectionFailed => "remote-connection-failed",
            BoshCondition::RemoteStreamError => "remote-stream-error",
            BoshCondition::SystemShutdown => "system-shutdown",
        }
    }

    /// What a client of old is told in place of a condition (§17.1).
    fn status(self) -> Option<Status> {
        match self {
            BoshCondition::BadRequest => Some(Status::BadRequest),
            BoshCondition::ItemNotFound => Some(Status::NotFound),
            BoshCondition::PolicyViolation => Some(Status::Forbidden),
            _ => None,
        }
    }

    /// The answer to a request that has no session.
    pub fn answer(self) -> Answer {
        let body = format!("<body xmlns='{NAMESPACE}' type='terminate' condition='{}'/>", self.name());
        Answer::of(Status::Ok, XML, body)
    }
}

/// A request, as its `<body/>` says it.
#[derive(Debug)]
pub struct BoshRequest {
    rid: u64,
    /// The session; none yet, if it is to begin.
    pub sid: Option<String>,
    to: Option<String>,
    from: Option<String>,
    lang: Option<String>,
    wait_s: Option<u64>,
    hold: Option<u64>,
    pause_s: Option<u64>,
    content_type: &'static str,
    /// The version of BOSH that the client knows, which a client of old does not say.
    version: Option<Version>,
    is_last: bool,
    restarts: bool,
    key: Option<String>,
    new_key: Option<String>,
    /// What is for the stream, with [`END`] behind each.
    text: String,
}

impl BoshRequest {
    /// Reads the content of a request.
    ///
    /// # Errors
    /// When it is not as §6 says.
    pub fn read(content: &[u8]) -> Result<BoshRequest, BoshCondition> {
        let raw = parsed(content).ok_or(BoshCondition::BadRequest)?;
        let body = raw.root();
        let is_body = body.name() == "body" && body.ns_uri() == NAMESPACE;
        if !is_body || !body.text().trim().is_empty() {
            return Err(BoshCondition::BadRequest);
        }
        let number = |name: &str| match body.attr(name) {
            None => Ok(None),
            Some(text) => match text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten() {
                Some(number) => Ok(Some(number)),
                None => Err(BoshCondition::BadRequest),
            },
        };
        let name = |name: &str| match body.attr(name) {
            Some(text) if text.len() > NAME_BYTES => Err(BoshCondition::BadRequest),
            text => Ok(text.map(Cow::into_owned)),
        };
        let rid = number("rid")?.filter(|rid| (1..=LAST_RID).contains(rid)).ok_or(BoshCondition::BadRequest)?;
        let restart = xbosh(body, "restart");
        let mut text = String::new();
        for (payload, copy) in body.copies() {
            text.push_str(&alone(payload, copy));
            text.push(char::from(END));
            // What `<body/>` declares is in each of them.
            if text.len() > REQUEST_BYTES {
                return Err(BoshCondition::BadRequest);
            }
        }
        Ok(BoshRequest {
            rid,
            sid: name("sid")?,
            to: name("to")?,
            from: name("from")?,
            lang: name("xml:lang")?,
            wait_s: number("wait")?,
            hold: number("hold")?,
            pause_s: number("pause")?,
            content_type: content_type(body.attr("content").as_deref()),
            version: body.attr("ver").map(|version| Version::read(&version)),
            is_last: body.attr("type").as_deref() == Some("terminate"),
            restarts: matches!(restart.as_deref(), Some("true" | "1")),
            key: name("key")?,
            new_key: name("newkey")?,
            text,
        })
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && !self.restarts && !self.is_last && self.pause_s.is_none()
    }
}

/// A version of BOSH: major and minor number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Version(u32, u32);

/// Of XEP-0124 as it is followed here.
const LATEST: Version = Version(1, 11);

impl Version {
    /// The lower one of what a client knows and what is known here (§7.2); what cannot be read is taken for the latest.
    fn read(text: &str) -> Version {
        let read =
            text.split_once('.').and_then(|(major, minor)| Some(Version(major.parse().ok()?, minor.parse().ok()?)));
        read.unwrap_or(LATEST).min(LATEST)
    }
}

/// The one element that the content is, within limits.
fn parsed(content: &[u8]) -> Option<std::sync::Arc<Raw>> {
    let mut framer = Framer::of_messages(LIMITS);
    // Whoever ends a message in the middle has no message.
    if content.contains(&END) {
        return None;
    }
    let mut input = content;
    let mut end: &[u8] = &[END];
    for input in [&mut input, &mut end] {
        match framer.next(input) {
            Ok(Some(Frame::Element(xml))) => return Raw::document(xml).ok(),
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => return None,
        }
    }
    None
}

/// An attribute that has the namespace of XEP-0206, whatever its prefix.
fn xbosh(body: Node<'_>, name: &str) -> Option<String> {
    let prefix = body.attrs().find_map(|(declared, uri)| {
        let prefix = declared.strip_prefix("xmlns:").filter(|_| uri == XBOSH)?;
        Some(prefix.to_owned())
    })?;
    body.attr(&format!("{prefix}:{name}")).map(Cow::into_owned)
}

/// An element of `<body/>` as a document of its own. Many clients leave out the namespace of stanzas, and so put them into that of
/// `<body/>` (XEP-0206 §2).
fn alone(payload: Node<'_>, copy: String) -> String {
    let is_stanza = matches!(payload.name(), "message" | "presence" | "iq");
    if !is_stanza || !payload.prefix().is_empty() || payload.ns_uri() != NAMESPACE {
        return copy;
    }
    // What is declared around it stands first in the copy.
    copy.replacen(&format!(" xmlns='{NAMESPACE}'"), " xmlns='jabber:client'", 1)
}

/// The type of answers that a client asks for (§7.1), of those that are text and nothing more: an answer is shown to nobody.
fn content_type(wanted: Option<&str>) -> &'static str {
    const TYPES: [(&str, &str); 4] = [
        ("text/xml", XML),
        ("application/xml", "application/xml; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("text/html", "text/html; charset=utf-8"),
    ];
    let wanted = wanted.unwrap_or(XML).split(';').next().unwrap_or_default().trim();
    TYPES.iter().find(|(name, _)| wanted.eq_ignore_ascii_case(name)).map_or(XML, |(_, written)| written)
}

/// Names a request that waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ticket(u64);

/// One that is held (§4).
#[derive(Debug)]
struct Held {
    rid: u64,
    /// Nobody waits any more, if the connection is gone; whoever asks again gets it.
    ticket: Option<Ticket>,
    /// Its answer may have nothing in it (§10).
    pauses: bool,
}

/// What is told in the first answer (§7.2).
#[derive(Debug)]
struct First {
    wait_s: u64,
    authid: String,
    from: String,
}

/// One session.
#[derive(Debug)]
pub struct BoshSession {
    sid: String,
    first: Option<First>,
    /// The domain of its stream.
    to: String,
    lang: String,
    wait_s: u64,
    /// Requests that are held; none: the client asks from time to time.
    hold: u64,
    content_type: &'static str,
    /// Without one the client is of old, and is told what is wrong by HTTP (§17.1).
    version: Option<Version>,
    /// Its stream was begun.
    opened: bool,
    /// The last request that was taken.
    rid: u64,
    /// How often it came again since.
    repeats: u32,
    /// The key that comes before the one that is to come (§15).
    key: Option<String>,
    /// Those that came before one that comes before them (§14.2).
    early: BTreeMap<u64, (BoshRequest, Option<Ticket>)>,
    held: VecDeque<Held>,
    /// What the last ones were answered (§14.3).
    answered: VecDeque<(u64, Answer)>,
    /// Answers that are to be written.
    ready: Vec<(Ticket, Answer)>,
    /// What the stream has not read.
    unread: Vec<u8>,
    /// Messages that the client was not told, and their bytes.
    untold: VecDeque<Box<str>>,
    untold_bytes: usize,
    /// When the last request that said nothing was answered with nothing, for those who ask from time to time.
    polled: Option<Mono>,
    /// When the last request was answered.
    since: Mono,
    /// How long no request has to be here, in milliseconds.
    inactivity_ms: Mono,
    /// The stream has told its error, or its end.
    ends: bool,
    error: Option<BoshCondition>,
    over: bool,
    tickets: u64,
}

impl BoshSession {
    /// Begins with this request, the first one: that it has no `sid` was seen. Give it to [`take`](Self::take) then.
    pub fn new(sid: String, request: &BoshRequest, now: Mono) -> BoshSession {
        let wait_s = request.wait_s.unwrap_or(WAIT_S).min(WAIT_S);
        let hold = if wait_s == 0 { 0 } else { request.hold.unwrap_or(HOLD).min(HOLD) };
        let to = request.to.clone().unwrap_or_default();
        BoshSession {
            sid,
            first: Some(First { wait_s, authid: String::new(), from: to.clone() }),
            to,
            lang: request.lang.clone().unwrap_or_default(),
            wait_s,
            hold,
            content_type: request.content_type,
            version: request.version,
            opened: false,
            rid: request.rid - 1,
            repeats: 0,
            key: None,
            early: BTreeMap::new(),
            held: VecDeque::new(),
            answered: VecDeque::new(),
            ready: Vec::new(),
            unread: Vec::new(),
            untold: VecDeque::new(),
            untold_bytes: 0,
            polled: None,
            since: now,
            inactivity_ms: INACTIVITY_S * 1000,
            ends: false,
            error: None,
            over: false,
            tickets: 0,
        }
    }

    /// A request came. Its answer comes with [`answer`](Self::answer), until then at most this many milliseconds: call
    /// [`late`](Self::late) then.
    pub fn take(&mut self, request: BoshRequest, now: Mono) -> (Ticket, Mono) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        let ends = request.is_last || self.first.is_some();
        let wait_ms = if self.hold == 0 { 0 } else { self.wait_s * 1000 };
        match request.rid {
            _ if self.over => self.refuse(ticket, BoshCondition::ItemNotFound),
            rid if rid <= self.rid => self.again(rid, ticket, now),
            rid if rid > self.rid + self.requests() => self.fail(Some(ticket), BoshCondition::ItemNotFound, now),
            rid => {
                // The same one once more, before its turn: whoever waits for it is told to ask again.
                if let Some((_, Some(old))) = self.early.insert(rid, (request, Some(ticket))) {
                    self.ready.push((old, self.recoverable()));
                }
                while let Some((request, ticket)) = self.early.remove(&(self.rid + 1)) {
                    self.next(request, ticket, now);
                }
            }
        }
        (ticket, if ends { wait_ms.max(ENDS_MS) } else { wait_ms })
    }

    /// The next request in the order of their IDs.
    fn next(&mut self, request: BoshRequest, ticket: Option<Ticket>, now: Mono) {
        if !self.has_key(&request) {
            return self.fail(ticket, BoshCondition::ItemNotFound, now);
        }
        self.rid = request.rid;
        self.repeats = 0;
        self.key = request.new_key.clone().or_else(|| request.key.clone().filter(|_| self.key.is_some()));
        self.inactivity_ms = 1000 * if self.hold == 0 { POLLING_INACTIVITY_S } else { INACTIVITY_S };
        if self.hold == 0 && self.first.is_none() {
            // §12
            let is_early = self.polled.is_some_and(|polled| now < polled + POLLING_S * 1000);
            if request.is_empty() && is_early {
                return self.fail(ticket, BoshCondition::PolicyViolation, now);
            }
            self.polled = (request.is_empty() && self.untold.is_empty()).then_some(now);
        }
        if let Some(pause_s) = request.pause_s {
            if pause_s > PAUSE_S {
                return self.fail(ticket, BoshCondition::BadRequest, now);
            }
            self.inactivity_ms = pause_s * 1000;
        }
        if request.restarts || !self.opened {
            self.opened = true;
            self.open(&request);
        }
        // XEP-0206 §5: what comes with a restart is ignored.
        if !request.restarts {
            self.unread.extend_from_slice(request.text.as_bytes());
        }
        if request.is_last {
            self.unread.extend_from_slice(b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
            self.unread.push(END);
        }
        let ends = request.is_last || self.first.is_some();
        let pauses = request.pause_s.is_some();
        self.held.push_back(Held { rid: request.rid, ticket, pauses });
        self.flush(now);
        let hold = if ends { 1 } else { self.hold as usize };
        while self.held.len() > if pauses { 0 } else { hold } {
            self.tell(now);
        }
    }

    /// A stream begins, or begins anew (XEP-0206 §3, §5).
    fn open(&mut self, request: &BoshRequest) {
        if let Some(to) = &request.to {
            self.to.clone_from(to);
        }
        if let Some(lang) = &request.lang {
            self.lang.clone_from(lang);
        }
        let mut open = String::from("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0'");
        let attributes = [("to", Some(&self.to)), ("from", request.from.as_ref()), ("xml:lang", Some(&self.lang))];
        for (name, value) in attributes.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            if !value.is_empty() {
                let _ = write!(open, " {name}='");
                escape(value, &mut open);
                open.push('\'');
            }
        }
        open.push_str("/>\0");
        self.unread.extend_from_slice(open.as_bytes());
    }

    /// A request that was taken comes again: its answer did not arrive (§14.3).
    fn again(&mut self, rid: u64, ticket: Ticket, now: Mono) {
        self.repeats += 1;
        if self.repeats > REPEATS {
            return self.fail(Some(ticket), BoshCondition::PolicyViolation, now);
        }
        if let Some(held) = self.held.iter_mut().find(|held| held.rid == rid) {
            if let Some(old) = held.ticket.replace(ticket) {
                let again = self.recoverable();
                self.ready.push((old, again));
            }
            return self.flush(now);
        }
        match self.answered.iter().find(|(answered, _)| *answered == rid) {
            Some((_, answer)) => {
                self.since = now;
                self.ready.push((ticket, answer.clone()));
            }
            None => self.fail(Some(ticket), BoshCondition::ItemNotFound, now),
        }
    }

    /// Whether a request has the key that comes next, if the session has keys (§15.4).
    fn has_key(&self, request: &BoshRequest) -> bool {
        let Some(expected) = &self.key else { return true };
        let Some(key) = &request.key else { return false };
        let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_bytes());
        let hash = hash.as_ref().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        hash.eq_ignore_ascii_case(expected)
    }

    /// The answer to a request, if there is one now.
    pub fn answer(&mut self, ticket: Ticket) -> Option<Answer> {
        let at = self.ready.iter().position(|(ready, _)| *ready == ticket)?;
        Some(self.ready.swap_remove(at).1)
    }

    /// A request was held for as long as it may be.
    pub fn late(&mut self, ticket: Ticket, now: Mono) {
        while self.held.iter().any(|held| held.ticket == Some(ticket)) {
            self.tell(now);
        }
        // One that came before its turn, and what comes before it did not come.
        if let Some(rid) = self.early.iter().find(|(_, (_, early))| *early == Some(ticket)).map(|(rid, _)| *rid) {
            self.early.remove(&rid);
            self.ready.push((ticket, self.recoverable()));
        }
    }

    /// Nobody waits for that answer any more.
    pub fn gone(&mut self, ticket: Ticket, now: Mono) {
        self.ready.retain(|(ready, _)| *ready != ticket);
        for held in self.held.iter_mut().filter(|held| held.ticket == Some(ticket)) {
            held.ticket = None;
        }
        for (_, early) in self.early.values_mut().filter(|(_, early)| *early == Some(ticket)) {
            *early = None;
        }
        if !self.is_waited_for() {
            self.since = now;
        }
    }

    fn is_waited_for(&self) -> bool {
        self.held.iter().any(|held| held.ticket.is_some())
    }

    /// When it is over if no request comes (§10).
    pub fn deadline(&self) -> Mono {
        if self.is_waited_for() { Mono::MAX } else { self.since.saturating_add(self.inactivity_ms) }
    }

    /// Whether nothing more is said in it.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Whether the stream has so much to read that no request may be taken.
    pub fn is_full(&self) -> bool {
        self.unread.len() > UNREAD_BYTES && !self.over
    }

    /// Bytes that it keeps.
    pub fn bytes(&self) -> usize {
        let answers = self.answered.iter().map(|(_, answer)| answer).chain(self.ready.iter().map(|(_, answer)| answer));
        let early: usize = self.early.values().map(|(request, _)| request.text.len()).sum();
        self.unread.len() + self.untold_bytes + early + answers.map(|answer| answer.content.len()).sum::<usize>()
    }

    /// Gives the stream what came for it. Says whether that was anything.
    pub fn read(&mut self, into: &mut Vec<u8>) -> bool {
        let unread = std::mem::take(&mut self.unread);
        into.extend_from_slice(&unread);
        !unread.is_empty()
    }

    /// Takes messages from the front of what the stream writes, each of them whole, and says how many bytes: none, if too much waits.
    pub fn write(&mut self, text: &str) -> usize {
        let mut taken = 0;
        for message in text.split_inclusive(char::from(END)) {
            if self.untold_bytes > 0 && self.untold_bytes + message.len() > UNTOLD_BYTES {
                break;
            }
            taken += message.len();
            self.hear(message.trim_end_matches(char::from(END)));
        }
        taken
    }

    /// What the stream says.
    fn hear(&mut self, message: &str) {
        if let Some(open) = message.strip_prefix("<open ") {
            if let Some(first) = &mut self.first {
                first.authid = attribute(open, " id='").to_owned();
            }
        } else if message.starts_with("<close ") {
            self.ends = true;
        } else if message.starts_with("<stream:error") {
            self.ends = true;
            let is = |name: &str| message.contains(&format!("<{name} "));
            let error = match self.first {
                Some(_) if is("host-unknown") => BoshCondition::HostUnknown,
                Some(_) if is("improper-addressing") => BoshCondition::ImproperAddressing,
                _ if is("system-shutdown") => BoshCondition::SystemShutdown,
                _ => BoshCondition::RemoteStreamError,
            };
            self.error = Some(error);
            if error == BoshCondition::RemoteStreamError {
                self.wait(message);
            }
        } else {
            self.wait(message);
        }
    }

    /// A message waits for the client to ask.
    fn wait(&mut self, message: &str) {
        self.untold_bytes += message.len();
        self.untold.push_back(message.into());
    }

    /// What fits into an answer of that; at the end, all.
    fn told(&mut self) -> String {
        let mut text = String::new();
        while let Some(message) = self.untold.front()
            && (self.ends || text.is_empty() || text.len() + message.len() <= ANSWER_BYTES)
        {
            text.push_str(message);
            self.untold_bytes -= message.len();
            self.untold.pop_front();
        }
        text
    }

    /// Answers whoever waits, if there is something to say. An end is told when it is there ([`end`](Self::end)).
    pub fn flush(&mut self, now: Mono) {
        // What can be had by nobody waits for who asks again, or next.
        let waits = self.held.front().is_some_and(|held| held.ticket.is_some() && !held.pauses);
        if waits && !self.untold.is_empty() && !self.ends {
            self.tell(now);
        }
    }

    /// The stream is over. `broken`: it did not say so.
    pub fn end(&mut self, broken: bool, now: Mono) {
        let failed = (broken && !self.ends).then_some(BoshCondition::RemoteConnectionFailed);
        self.finish(self.error.or(failed), now);
    }

    /// Tells the oldest request the end, and the others nothing (§13).
    fn finish(&mut self, condition: Option<BoshCondition>, now: Mono) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.error = condition;
        self.ends = true;
        while !self.held.is_empty() {
            self.tell(now);
            if condition != Some(BoshCondition::OtherRequest) {
                self.error = None;
                self.ends = false;
            }
        }
        for (_, ticket) in std::mem::take(&mut self.early).into_values() {
            if let Some(ticket) = ticket {
                self.ready.push((ticket, BoshCondition::ItemNotFound.answer()));
            }
        }
        self.unread = Vec::new();
    }

    /// The session ends because of a request that cannot be taken.
    fn fail(&mut self, ticket: Option<Ticket>, condition: BoshCondition, now: Mono) {
        if let Some(ticket) = ticket {
            self.refuse(ticket, condition);
        }
        self.untold.clear();
        self.untold_bytes = 0;
        self.finish(Some(BoshCondition::OtherRequest), now);
    }

    fn refuse(&mut self, ticket: Ticket, condition: BoshCondition) {
        let answer = match condition.status().filter(|_| self.version.is_none()) {
            Some(status) => Answer::text(status, condition.name()),
            None => condition.answer(),
        };
        self.ready.push((ticket, answer));
    }

    /// §17.3: ask again.
    fn recoverable(&self) -> Answer {
        Answer::of(Status::Ok, self.content_type, format!("<body xmlns='{NAMESPACE}' type='error'/>"))
    }

    /// How many requests may be on their way.
    fn requests(&self) -> u64 {
        self.hold + 1
    }

    /// Answers the oldest request with all that there is to say.
    fn tell(&mut self, now: Mono) {
        let Some(held) = self.held.pop_front() else { return };
        let silent = held.pauses || held.ticket.is_none() && !self.ends;
        let text = if silent { String::new() } else { self.told() };
        let mut body = format!("<body xmlns='{NAMESPACE}'");
        if self.ends && !held.pauses {
            body.push_str(" type='terminate'");
            if let Some(condition) = self.error {
                let _ = write!(body, " condition='{}'", condition.name());
            }
        }
        if text.contains("<stream:") {
            body.push_str(" xmlns:stream='http://etherx.jabber.org/streams'");
        }
        if let Some(first) = self.first.take().filter(|_| !self.ends) {
            self.describe(&first, &mut body);
        }
        body.push_str(if text.is_empty() { "/>" } else { ">" });
        if !text.is_empty() {
            body.push_str(&text);
            body.push_str("</body>");
        }
        let answer = Answer::of(Status::Ok, self.content_type, body);
        if !held.pauses {
            self.answered.push_back((held.rid, answer.clone()));
            while self.answered.len() as u64 > self.requests() && !self.may_keep_answers() {
                self.answered.pop_front();
            }
        }
        if let Some(ticket) = held.ticket {
            self.since = now;
            self.ready.push((ticket, answer));
        }
    }

    /// Whether all answers that were given may be kept: more than the client may be waiting for, if they are short. Some clients ask on
    /// while one of their requests is lost.
    fn may_keep_answers(&self) -> bool {
        let bytes: usize = self.answered.iter().map(|(_, answer)| answer.content.len()).sum();
        self.answered.len() <= ANSWERS && bytes <= ANSWER_BYTES
    }

    /// What the client has to know of its session (§7.2, XEP-0206 §4).
    fn describe(&self, first: &First, body: &mut String) {
        let inactivity = if self.hold == 0 { POLLING_INACTIVITY_S } else { INACTIVITY_S };
        let _ = write!(
            body,
            " sid='{}' wait='{}' requests='{}' hold='{}' inactivity='{inactivity}' maxpause='{PAUSE_S}' from='",
            self.sid,
            first.wait_s,
            self.requests(),
            self.hold
        );
        escape(&first.from, body);
        if self.hold == 0 {
            let _ = write!(body, "' polling='{POLLING_S}");
        }
        if let Some(Version(major, minor)) = self.version {
            let _ = write!(body, "' ver='{major}.{minor}");
        }
        let _ = write!(
            body,
            "' authid='{}' xmpp:version='1.0' xmpp:restartlogic='true' xmlns:xmpp='{XBOSH}'",
            first.authid
        );
    }
}

/// The value of an attribute in a start tag that our stream wrote.
fn attribute<'a>(tag: &'a str, name: &str) -> &'a str {
    let value = tag.split_once(name).map_or("", |(_, behind)| behind);
    value.split_once('\'').map_or("", |(value, _)| value)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::dice::Dice;

    const RID: u64 = 1000;

    fn words(answer: Answer) -> String {
        String::from_utf8(answer.content.into_owned()).unwrap()
    }

    fn body(rid: u64, more: &str, content: &str) -> String {
        format!("<body xmlns='{NAMESPACE}' rid='{rid}' ver='1.6' {more}>{content}</body>")
    }

    fn request(rid: u64, more: &str, content: &str) -> BoshRequest {
        BoshRequest::read(body(rid, more, content).as_bytes()).unwrap()
    }

    /// A session whose stream has said its features, which the client has heard.
    fn session(more: &str) -> BoshSession {
        let first = request(RID, more, "");
        let mut session = BoshSession::new("sid".into(), &first, 0);
        let (ticket, _) = session.take(first, 0);
        assert!(session.read(&mut Vec::new()));
        let said = "<open xmlns='f' id='abc'/>\0<stream:features/>\0";
        assert_eq!(session.write(said), said.len());
        session.flush(0);
        let answer = words(session.answer(ticket).unwrap());
        assert!(answer.contains(" authid='abc'") && answer.contains("<stream:features/></body>"), "{answer}");
        session
    }

    /// What is said, both ways, is heard once and in order, whichever connections break while a request or an answer is on its way.
    #[test]
    fn whatever_breaks_all_is_heard_once_and_in_order() {
        for seed in 1..2_000 {
            let mut dice = Dice(seed * 2 + 1);
            let mut session = session("to='a' wait='60' hold='1'");
            let (mut rid, mut now) = (RID, 0);
            // Requests without an answer, each with the connection that it is on now, if one is.
            let mut open: VecDeque<(u64, String, Option<Ticket>)> = VecDeque::new();
            let mut early: BTreeMap<u64, String> = BTreeMap::new();
            let (mut up, mut down) = (0, 0);
            let (mut to_stream, mut to_client) = (Vec::new(), String::new());
            for _ in 0..120 {
                now += dice.below(50);
                match dice.below(6) {
                    0 => {
                        let text = format!("<s xmlns='u'>{down}</s>\0");
                        down += session.write(&text).min(1);
                        session.flush(now);
                    }
                    1 | 2
                        if open.len() < 2
                            && open.front().is_none_or(|(first, ..)| rid < first + ANSWERS as u64 - 1) =>
                    {
                        rid += 1;
                        let content = if dice.below(2) == 0 { String::new() } else { format!("<c xmlns='u'>{up}</c>") };
                        up += usize::from(!content.is_empty());
                        open.push_back((rid, content, None));
                    }
                    3 => drop(session.read(&mut to_stream)),
                    4 if !open.is_empty() => {
                        let at = dice.below(open.len() as u64) as usize;
                        if let Some(ticket) = open[at].2.take() {
                            // It breaks: what was answered is lost, or it was not.
                            session.gone(ticket, now);
                        }
                    }
                    _ if !open.is_empty() => {
                        // One that is nowhere is sent, and another time the one that is held is held long enough.
                        let at = dice.below(open.len() as u64) as usize;
                        match open[at].2 {
                            None => {
                                open[at].2 = Some(session.take(request(open[at].0, "sid='sid'", &open[at].1), now).0)
                            }
                            Some(ticket) if dice.below(3) == 0 => session.late(ticket, now),
                            Some(_) => {}
                        }
                    }
                    _ => {}
                }
                for (rid, _, ticket) in &mut open {
                    let Some(answer) = ticket.and_then(|ticket| session.answer(ticket)).map(words) else { continue };
                    *ticket = None;
                    assert!(!answer.contains("terminate"), "{seed}: {answer}");
                    // It may be lost.
                    if !answer.contains("type='error'") && dice.below(4) > 0 {
                        early.insert(*rid, answer);
                    }
                }
                open.retain(|(rid, ..)| !early.contains_key(rid));
                // The client hears them in order (§14.2).
                let first = open.front().map_or(u64::MAX, |(rid, ..)| *rid);
                while let Some(entry) = early.first_entry().filter(|entry| *entry.key() < first) {
                    to_client += &entry.remove();
                }
            }
            // No more breaks: all that is open is answered.
            for _ in 0..3 {
                for (rid, content, ticket) in std::mem::take(&mut open) {
                    let ticket = ticket.unwrap_or_else(|| session.take(request(rid, "sid='sid'", &content), now).0);
                    session.late(ticket, now);
                    match session.answer(ticket).map(words) {
                        Some(answer) if !answer.contains("type='error'") => drop(early.insert(rid, answer)),
                        _ => open.push_back((rid, content, None)),
                    }
                }
            }
            let (ticket, _) = session.take(request(rid + 1, "sid='sid'", ""), now);
            session.late(ticket, now);
            early.insert(rid + 1, words(session.answer(ticket).unwrap()));
            to_client.extend(std::mem::take(&mut early).into_values());
            session.read(&mut to_stream);
            assert!(open.is_empty(), "{seed}");
            let numbers = |text: &str, name: &str| {
                let begins = format!("<{name} xmlns='u'>");
                let parts = text.split(&begins).skip(1);
                parts.map(|part| part.split('<').next().unwrap().parse::<usize>().unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(numbers(&String::from_utf8(to_stream).unwrap(), "c"), Vec::from_iter(0..up), "{seed}");
            assert_eq!(numbers(&to_client, "s"), Vec::from_iter(0..down), "{seed}");
        }
    }

    /// §10
    #[test]
    fn a_session_is_over_when_nobody_asks() {
        let mut session = session("to='a' wait='60' hold='1'");
        assert_eq!(session.deadline(), INACTIVITY_S * 1000);
        let (ticket, wait_ms) = session.take(request(RID + 1, "sid='sid'", ""), 5_000);
        assert_eq!((session.deadline(), wait_ms), (Mono::MAX, 60_000));
        // A connection that is gone is nobody who asks.
        session.gone(ticket, 7_000);
        assert_eq!(session.deadline(), 7_000 + INACTIVITY_S * 1000);
        let (pause, _) = session.take(request(RID + 2, "sid='sid' pause='100'", ""), 9_000);
        assert!(session.answer(pause).is_some());
        assert_eq!(session.deadline(), 9_000 + 100_000);
        let (ticket, _) = session.take(request(RID + 3, "sid='sid'", ""), 50_000);
        session.late(ticket, 60_000);
        assert_eq!(session.deadline(), 60_000 + INACTIVITY_S * 1000);

        let polls = session_deadline("to='a' wait='10' hold='0'");
        assert_eq!(polls, POLLING_INACTIVITY_S * 1000);
    }

    fn session_deadline(more: &str) -> Mono {
        session(more).deadline()
    }

    #[test]
    fn what_waits_has_limits() {
        let mut session = session("to='a' wait='60' hold='1'");
        let message = format!("<m xmlns='u'>{}</m>\0", "x".repeat(ANSWER_BYTES / 3));
        let fits = UNTOLD_BYTES / (message.len() - 1);
        assert_eq!(session.write(&message.repeat(fits + 1)), message.len() * fits);
        assert_eq!(session.write(&message), 0);
        let answer = |session: &mut BoshSession, rid: u64| {
            let (ticket, _) = session.take(request(rid, "sid='sid'", ""), 0);
            words(session.answer(ticket).unwrap())
        };
        assert_eq!(answer(&mut session, RID + 1).matches("<m ").count(), 2);
        assert_eq!(session.write(&message), message.len());
        session.untold.clear();
        session.untold_bytes = 0;
        // One that is longer goes alone.
        let long = format!("<l xmlns='u'>{}</l>\0", "x".repeat(2 * UNTOLD_BYTES));
        assert_eq!(session.write(&format!("{long}{message}")), long.len());
        assert_eq!(session.write(&message), 0);
        assert_eq!(answer(&mut session, RID + 2).matches("<l ").count(), 1);
        assert_eq!(session.write(&message), message.len());
        assert_eq!(answer(&mut session, RID + 3).matches("<m ").count(), 1);
        // At the end, all of it.
        let (ticket, _) = session.take(request(RID + 4, "sid='sid'", ""), 0);
        session.write(&format!("{}<close xmlns='f'/>\0", message.repeat(5)));
        session.end(false, 0);
        let last = words(session.answer(ticket).unwrap());
        assert!(last.contains("type='terminate'") && last.matches("<m ").count() == 5);

        let mut session = self::session("to='a' wait='60' hold='1'");

        // What the stream does not read is not taken in without end.
        let mut rid = RID + 1;
        while !session.is_full() {
            let content = format!("<m xmlns='u'>{}</m>", "x".repeat(UNREAD_BYTES / 4));
            let (ticket, _) = session.take(request(rid, "sid='sid'", &content), 0);
            session.late(ticket, 0);
            session.answer(ticket).unwrap();
            rid += 1;
            assert!(rid < RID + 8 && session.bytes() <= UNREAD_BYTES * 2 + 6 * ANSWER_BYTES);
        }
        session.read(&mut Vec::new());
        assert!(!session.is_full());
    }

    #[test]
    fn payloads_stand_alone() {
        let text = |content: &str| {
            let content =
                format!("<b:body xmlns:b='{NAMESPACE}' xmlns='{NAMESPACE}' xmlns:p='q' rid='7'>{content}</b:body>");
            BoshRequest::read(content.as_bytes()).map(|request| request.text)
        };
        for (content, is) in [
            (
                "<message to='a'><body>b</body></message>",
                "<message xmlns='jabber:client' to='a'><body>b</body></message>\0",
            ),
            ("<iq xmlns='jabber:client'/> <a xmlns='u'/>", "<iq xmlns='jabber:client'/>\0<a xmlns='u'/>\0"),
            ("<p:a/>", &format!("<p:a xmlns='{NAMESPACE}' xmlns:p='q'/>\0")),
            ("<presence><p:x/></presence>", "<presence xmlns='jabber:client' xmlns:p='q'><p:x/></presence>\0"),
        ] {
            assert_eq!(text(content).as_deref(), Ok(is));
        }
        for content in ["text", "<a>\0</a>", "<!-- -->", "<?pi?>", "<a></b>", "&x;", "<a b='1' b='2'/>"] {
            assert_eq!(text(content), Err(BoshCondition::BadRequest), "{content}");
        }
        assert_eq!(text(&"<a>".repeat(100)), Err(BoshCondition::BadRequest));
        assert_eq!(text(&"<a/>".repeat(20_000)), Err(BoshCondition::BadRequest));
        // What is declared once could be in each of them.
        let content = format!(
            "<b:body xmlns:b='{NAMESPACE}' xmlns='{}' rid='7'>{}</b:body>",
            "x".repeat(100_000),
            "<a/>".repeat(9_000)
        );
        assert_eq!(BoshRequest::read(content.as_bytes()).map(|request| request.text), Err(BoshCondition::BadRequest));
    }
}
