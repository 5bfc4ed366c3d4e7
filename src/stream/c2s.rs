//! A client's stream inside TLS: header, features, SASL, bind, stanzas (RFC 6120 §4 to §8).

use super::framing::Framing;
use super::header::{self, Declared, Header};
use super::random::Random;
use super::sasl::{self, Around, Failure, Sasl};
use super::sasl2::Profile;
use super::{
    Event, IDLE_ANSWER_MS, IDLE_MS, INACTIVE_IDLE_MS, LOGIN_BYTES, Mono, STANZA_BYTES, Terms, Tls, UNAUTHENTICATED_MS,
};
use super::{small_limits, stanza_limits};
use crate::wire::login::{self, Begins, Begun, Refused};
use crate::wire::scram::Credentials;
use crate::wire::{
    Condition, Frame, Framer, Jid, Kind, Manage, Node, Ns, Scope, Slice, Stanza, StanzaError, StreamCondition,
    StreamError, Type,
};
use std::fmt::Write;
use std::sync::Arc;

/// How the ids of our questions to silent peers begin.
const PING_ID: &str = "idle-";

/// The stream of a connection inside TLS.
#[derive(Debug)]
pub struct C2s {
    framer: Framer,
    line: ClientLine,
}

/// All but the framer, which lends out what is looked at.
#[derive(Debug)]
struct ClientLine {
    framing: Framing,
    terms: Arc<Terms>,
    phase: ClientPhase,
    declared: Declared,
    /// The language of stanzas that name none.
    lang: Option<Slice>,
    /// When the last byte came in, or when we asked for one.
    heard: Mono,
    /// How often we asked a silent peer.
    pings: u32,
    /// We asked, and nothing came in since.
    asked: bool,
    /// Our header of this stream is out.
    opened: bool,
    /// The client has enabled stream management.
    managed: bool,
    /// The client says that nobody looks at it (XEP-0352).
    inactive: bool,
    /// [`Event::Closing`] was told: nothing more is read.
    closing: bool,
}

#[derive(Debug)]
enum ClientPhase {
    Login(Box<Login>),
    Bind(Box<Bind>),
    /// The full JID.
    Session(Jid),
    /// Nothing is read or written any more.
    Over {
        /// [`Event::Closed`] is still to be told.
        untold: bool,
    },
}

/// Before authentication.
#[derive(Debug)]
struct Login {
    tls: Tls,
    random: Random,
    /// When the connection was accepted.
    since: Mono,
    /// Bytes read.
    taken: usize,
    /// Who the client says it is, in its header.
    from: Option<Jid>,
    /// It has shown a token, and may ask for an account, if the core says so (XEP-0445 §4).
    preauth: bool,
    sasl: Sasl,
}

impl Login {
    /// Does something with all that an attempt to authenticate has to do with.
    fn with<T>(&mut self, terms: &Terms, out: &mut String, act: impl FnOnce(&mut Sasl, &mut Around<'_>) -> T) -> T {
        let Login { tls, random, from, sasl, .. } = self;
        act(sasl, &mut Around { terms, tls, from: from.as_ref(), random, out })
    }
}

/// Between authentication and resource binding.
#[derive(Debug)]
struct Bind {
    account: Jid,
    random: Random,
    /// The request that [`Event::Bind`] told of.
    request: Option<Stanza>,
    /// [`Event::Resume`] waits for its answer.
    resuming: bool,
}

impl C2s {
    /// A connection whose handshake is done; `since` is when it was accepted: the time before authentication counts from there.
    /// `random`: unpredictable, for stream ids and nonces.
    pub fn new(framing: Framing, terms: Arc<Terms>, tls: Tls, since: Mono, random: [u8; 32]) -> C2s {
        let login =
            Login { tls, random: Random::new(random), since, taken: 0, from: None, preauth: false, sasl: Sasl::new() };
        C2s {
            framer: framing.framer(small_limits(LOGIN_BYTES)),
            line: ClientLine {
                framing,
                terms,
                phase: ClientPhase::Login(Box::new(login)),
                declared: Declared::default(),
                lang: None,
                heard: since,
                pings: 0,
                asked: false,
                opened: false,
                managed: false,
                inactive: false,
                closing: false,
            },
        }
    }

    /// Takes bytes from the front of `input`, appends what is to be written to `out`, up to the next event or the end of `input`.
    /// After [`Event::Credentials`], [`Event::Begin`], [`Event::Bind`], [`Event::Resume`] and [`Event::Register`] call the answer
    /// first, then go on. Call it until it gives `None`, also when `input` is empty: an event can follow another.
    pub fn next(&mut self, now: Mono, input: &mut &[u8], out: &mut String) -> Option<Event> {
        if !input.is_empty() {
            self.line.heard = now;
            self.line.asked = false;
        }
        if self.line.closing {
            *input = &[];
        }
        loop {
            match &mut self.line.phase {
                ClientPhase::Session(_) if self.line.closing => return None,
                ClientPhase::Over { untold } => {
                    *input = &[];
                    return std::mem::take(untold).then_some(Event::Closed { clean: false });
                }
                ClientPhase::Login(login) => {
                    if let Some(event) = login.sasl.take_begin(&login.tls) {
                        return Some(event);
                    }
                    if login.sasl.waits() {
                        return None;
                    }
                }
                ClientPhase::Bind(bind) if bind.request.is_some() || bind.resuming => return None,
                _ => {}
            }
            if self.is_broken_into(input) {
                *input = &[];
                return Some(self.line.end(Some(&StreamCondition::PolicyViolation.into()), out));
            }
            let mut rest = *input;
            let frame = self.framer.next(&mut rest);
            let used = input.len() - rest.len();
            *input = &input[used..];
            let was_opened = self.line.opened;
            let event = match (self.line.spend(used).and(frame), &mut self.line) {
                (Ok(Some(frame)), line) => line.frame(frame, out),
                (Ok(None), _) => return None,
                (Err(error), _) => Err(error),
            };
            let event = event.unwrap_or_else(|error| Some(self.line.end(Some(&error), out)));
            self.line.framing.end(out);
            if self.line.opened && !was_opened && matches!(self.line.phase, ClientPhase::Bind(_)) {
                self.framer.set_limits(stanza_limits());
            }
            if event.is_some() {
                return self.after(event, out);
            }
        }
    }

    /// The answer to [`Event::Credentials`]; those of an unknown user are [`Credentials::fake`].
    pub fn credentials(&mut self, credentials: Credentials, out: &mut String) -> Option<Event> {
        let ClientPhase::Login(login) = &mut self.line.phase else { return None };
        let event = login.with(&self.line.terms, out, |sasl, around| sasl.credentials(credentials, around));
        self.after(event, out)
    }

    /// The answer to [`Event::Begin`]: the stream goes on without a restart (XEP-0388 §2.6.1).
    pub fn begun(&mut self, answer: Result<Begun, Refused>, out: &mut String) -> Option<Event> {
        let ClientPhase::Login(login) = &mut self.line.phase else { return None };
        let event = login.sasl.begun(&answer, out);
        self.line.framing.end(out);
        let Ok(Begun { jid, begins, .. }) = answer else { return self.after(event, out) };
        self.framer.set_limits(stanza_limits());
        self.line.managed = matches!(begins, Begins::Bound { managed: true, .. } | Begins::Resumed);
        self.line.inactive = matches!(begins, Begins::Bound { inactive: true, .. });
        self.line.authenticated(jid, begins);
        // A stream that was resumed goes on where it was (XEP-0198 §9.2).
        if begins != Begins::Resumed {
            self.line.write_features(out);
        }
        event
    }

    /// Whether white space stands where nothing may come between (XEP-0388 §2.4).
    fn is_broken_into(&self, input: &[u8]) -> bool {
        let strict = matches!(&self.line.phase, ClientPhase::Login(login) if login.sasl.is_strict());
        strict && self.framer.held_bytes() == 0 && input.first().is_some_and(u8::is_ascii_whitespace)
    }

    /// The other answer to [`Event::Credentials`]: there will be none, for this reason; `temporary-auth-failure` when the store
    /// has trouble.
    pub fn refuse(&mut self, failure: Failure, out: &mut String) -> Option<Event> {
        let ClientPhase::Login(login) = &mut self.line.phase else { return None };
        let event = login.sasl.refuse(failure, out);
        self.after(event, out)
    }

    /// The answer to [`Event::Bind`]: the full JID, or why not.
    pub fn bound(&mut self, answer: Result<Jid, StanzaError>, out: &mut String) {
        let ClientPhase::Bind(bind) = &mut self.line.phase else { return };
        let Some(request) = bind.request.take() else { return };
        match answer {
            Ok(jid) => {
                let mut payload = String::from("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><jid>");
                crate::wire::xml::escape(jid.as_str(), &mut payload);
                payload.push_str("</jid></bind>");
                self.line.write(&Stanza::result_of(&request, payload), out);
                self.line.phase = ClientPhase::Session(jid);
            }
            // Not every stanza may be answered with an error.
            Err(error) => {
                if let Some(answer) = Stanza::error_of(&request, &error) {
                    self.line.write(&answer, out);
                }
            }
        }
    }

    /// Writes an element of stream management: the answer to [`Event::Resume`], to [`Event::Enable`], or something of its own.
    pub fn manage(&mut self, element: &Manage, out: &mut String) {
        match (&mut self.line.phase, element) {
            (ClientPhase::Over { .. }, _) => return,
            (ClientPhase::Bind(_), Manage::Resumed { jid, .. }) => {
                self.line.phase = ClientPhase::Session(jid.clone());
                self.line.managed = true;
            }
            (ClientPhase::Bind(bind), _) => bind.resuming = false,
            _ => {}
        }
        element.write(out);
        self.line.framing.end(out);
    }

    /// Writes a stanza to the peer.
    pub fn send(&mut self, stanza: &Stanza, out: &mut String) {
        if !matches!(self.line.phase, ClientPhase::Over { .. }) {
            self.line.write(stanza, out);
        }
    }

    /// Bytes of an element whose end has not come.
    pub fn held_bytes(&self) -> usize {
        self.framer.held_bytes()
    }

    /// When [`C2s::expired`] is to be called, if nothing comes before.
    pub fn deadline(&self) -> Mono {
        let ClientLine { phase, heard, asked, closing, managed, inactive, .. } = &self.line;
        match phase {
            ClientPhase::Login(login) => login.since.saturating_add(UNAUTHENTICATED_MS),
            ClientPhase::Bind(_) | ClientPhase::Session(_) => {
                let idle = if *inactive && *managed { INACTIVE_IDLE_MS } else { IDLE_MS };
                heard.saturating_add(if *asked || *closing { IDLE_ANSWER_MS } else { idle })
            }
            ClientPhase::Over { .. } => Mono::MAX,
        }
    }

    /// The time is over: a ping to a silent peer, or the end of the stream.
    pub fn expired(&mut self, now: Mono, out: &mut String) -> Option<Event> {
        if now < self.deadline() {
            return None;
        }
        if matches!(self.line.phase, ClientPhase::Session(_)) && !self.line.asked && !self.line.closing {
            self.line.ping(now, out);
            return None;
        }
        Some(self.line.end(Some(&StreamCondition::ConnectionTimeout.into()), out))
    }

    /// The server ends the stream; `None` without an error. Appends the error and the end tag, once.
    pub fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        if !matches!(self.line.phase, ClientPhase::Over { .. }) {
            self.line.end(error, out);
        }
    }

    /// What an event of SASL means for the stream.
    fn after(&mut self, event: Option<Event>, out: &mut String) -> Option<Event> {
        self.line.framing.end(out);
        match &event {
            // A new stream begins (RFC 6120 §6.4.6), with small limits until its header is here.
            Some(Event::Authenticated(account)) if self.line.restarts() => {
                self.framer.reset();
                self.line.opened = false;
                self.line.authenticated(account.clone(), Begins::Unbound);
            }
            Some(Event::Failed(_)) => self.line.failed(out),
            _ => {}
        }
        event
    }
}

impl ClientLine {
    /// Counts what was read before authentication.
    fn spend(&mut self, used: usize) -> Result<(), StreamError> {
        let ClientPhase::Login(login) = &mut self.phase else { return Ok(()) };
        login.taken = login.taken.saturating_add(used);
        match login.taken > LOGIN_BYTES {
            true => Err(StreamCondition::PolicyViolation.into()),
            false => Ok(()),
        }
    }

    fn frame(&mut self, frame: Frame<'_>, out: &mut String) -> Result<Option<Event>, StreamError> {
        match frame {
            Frame::Element(xml) => self.element(xml, out),
            Frame::Open(open) => {
                let header = header::read(open, &self.terms.domain)?;
                self.open(header, out);
                Ok(None)
            }
            Frame::Close => Ok(Some(self.closed(out))),
        }
    }

    /// The peer's header is here.
    fn open(&mut self, header: Header, out: &mut String) {
        if let ClientPhase::Login(login) = &mut self.phase {
            login.from = header.from.clone().filter(|from| from.local().is_some());
        }
        let id = self.token();
        self.framing.open(&self.terms.domain, &id, Some(&header), out);
        self.opened = true;
        self.declared = header.declared;
        self.lang = header.lang.as_deref().map(Stanza::lang_attribute);
        self.write_features(out);
    }

    /// The peer has ended its side.
    fn closed(&mut self, out: &mut String) -> Event {
        if self.managed && matches!(self.phase, ClientPhase::Session(_)) {
            self.closing = true;
            return Event::Closing;
        }
        self.end(None, out)
    }

    /// An element that opens or closes a stream (RFC 7395 §3.3.1), or stands where only that may (§3.4).
    fn framed(&mut self, root: Node<'_>, out: &mut String) -> Result<Option<Event>, StreamError> {
        match (root.ns(), root.name()) {
            (Ns::FRAMING, "open") if !self.opened => {
                let header = header::read_open(root, &self.terms.domain)?;
                self.open(header, out);
                Ok(None)
            }
            (Ns::FRAMING, "close") => Ok(Some(self.closed(out))),
            (Ns::FRAMING, _) => {
                Err(StreamError::new(StreamCondition::BadFormat).text("a stream is opened once, with <open/>"))
            }
            // §3.3.2
            _ => Err(StreamError::new(StreamCondition::InvalidNamespace).text("a stream is opened with <open/>")),
        }
    }

    fn element(&mut self, xml: &str, out: &mut String) -> Result<Option<Event>, StreamError> {
        let raw = self.framing.parse(xml, &self.declared)?;
        let root = raw.root();
        if self.framing == Framing::WebSocket && (!self.opened || root.ns() == Ns::FRAMING) {
            return self.framed(root, out);
        }
        let strict = matches!(&self.phase, ClientPhase::Login(login) if login.sasl.is_strict());
        match (root.ns(), root.name(), &mut self.phase) {
            (Ns::SASL, "auth" | "response" | "abort", ClientPhase::Login(login))
            | (Ns::SASL2, "authenticate" | "response" | "abort" | "next" | "task-data", ClientPhase::Login(login)) => {
                login.with(&self.terms, out, |sasl, around| sasl.element(&raw, around))
            }
            (Ns::STREAM, "error", _) => {
                self.end(None, out);
                Ok(Some(Event::Closed { clean: false }))
            }
            _ if strict => Err(StreamError::new(StreamCondition::PolicyViolation).text("authentication comes first")),
            // The content namespace, also where the header's default is that of streams.
            (Ns::CLIENT, "message" | "presence" | "iq", _) => match Stanza::from_raw(raw, Scope::client())? {
                Some(stanza) => self.stanza(stanza),
                None => Err(StreamCondition::UnsupportedStanzaType.into()),
            },
            (Ns::SM, "enable" | "resume" | "r" | "a", _) => Ok(self.manage(root, out)),
            (Ns::CSI, "active" | "inactive", ClientPhase::Session(_)) => {
                self.inactive = root.name() == "inactive";
                Ok(Some(Event::Active(!self.inactive)))
            }
            // A stream begins active; there is nothing to say yet.
            (Ns::CSI, "active" | "inactive", ClientPhase::Bind(_)) => Ok(None),
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    /// An element of stream management (XEP-0198). What comes at the wrong time or cannot be read is refused, and the stream goes
    /// on (§6); only a second `<enable/>` ends it (§3).
    fn manage(&mut self, element: Node<'_>, out: &mut String) -> Option<Event> {
        let count = || element.attr("h").and_then(|h| h.trim().parse::<u32>().ok());
        let said = match (element.name(), &mut self.phase) {
            ("enable", ClientPhase::Session(_)) if self.managed => {
                refuse_managed(Condition::UnexpectedRequest, out);
                let twice =
                    StreamError::new(StreamCondition::PolicyViolation).text("stream management is enabled already");
                return Some(self.end(Some(&twice), out));
            }
            ("enable", ClientPhase::Session(_)) => {
                self.managed = true;
                let (resume, max_s) = login::enable(element);
                Ok(Event::Enable { resume, max_s })
            }
            ("resume", ClientPhase::Bind(bind)) => login::resume(element).map(|(id, h)| {
                bind.resuming = true;
                Event::Resume { account: bind.account.clone(), id, h }
            }),
            ("r", ClientPhase::Session(_)) if self.managed => Ok(Event::Acknowledge),
            ("a", ClientPhase::Session(_)) if self.managed => {
                count().map(Event::Acknowledged).ok_or(Condition::BadRequest)
            }
            _ => Err(Condition::UnexpectedRequest),
        };
        said.map_err(|condition| refuse_managed(condition, out)).ok()
    }

    fn stanza(&mut self, mut stanza: Stanza) -> Result<Option<Event>, StreamError> {
        let domain = &self.terms.domain;
        let to_us = stanza.to.as_ref().is_none_or(|to| to == domain) && !stanza.bad_to;
        let request = stanza.kind == Kind::Iq && matches!(stanza.ty, Type::Get | Type::Set);
        match &mut self.phase {
            ClientPhase::Login(login) => {
                let ours = request && to_us && login.sasl.is_idle();
                login.preauth |= ours && stanza.child(Ns::PARS, "preauth").is_some();
                let registers = stanza.child(Ns::REGISTER, "query").is_some() && self.terms.registration;
                match ours && (registers || login.preauth) {
                    true => Ok(Some(Event::Register(stanza))),
                    false => Err(StreamError::new(StreamCondition::NotAuthorized).text("authentication comes first")),
                }
            }
            ClientPhase::Bind(bind) => {
                check_from(&stanza, &bind.account)?;
                let wanted = (stanza.ty == Type::Set && request && to_us)
                    .then(|| stanza.child(Ns::BIND, "bind"))
                    .flatten()
                    .map(|child| child.child(Ns::BIND, "resource").map(|resource| resource.text().into_owned()));
                let Some(resource) = wanted else {
                    return Err(StreamError::new(StreamCondition::NotAuthorized).text("resource binding comes first"));
                };
                bind.request = Some(stanza);
                let resource = resource.filter(|resource| !resource.is_empty());
                Ok(Some(Event::Bind { account: bind.account.clone(), resource }))
            }
            ClientPhase::Session(jid) => {
                check_from(&stanza, jid)?;
                if let Some(lang) = &self.lang {
                    stanza.default_lang(lang);
                }
                Ok(Some(Event::Stanza(stanza)))
            }
            ClientPhase::Over { .. } => Ok(None),
        }
    }

    fn write_features(&mut self, out: &mut String) {
        out.push_str(self.framing.features());
        let (bytes, idle) = match &self.phase {
            ClientPhase::Login(login) => {
                sasl::write_features(&self.terms, &login.tls, out);
                // XEP-0445 §3: whoever is invited, also where strangers are not let in.
                out.push_str("<register xmlns='urn:xmpp:ibr-token:0'/>");
                if self.terms.registration {
                    out.push_str("<register xmlns='http://jabber.org/features/iq-register'/>");
                }
                (LOGIN_BYTES, UNAUTHENTICATED_MS)
            }
            _ => {
                if matches!(self.phase, ClientPhase::Bind(_)) {
                    out.push_str("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><required/></bind>");
                }
                let offered = self.terms.features.iter().filter(|feature| feature.is_offered(self.managed));
                out.extend(offered.map(|feature| &*feature.element));
                (STANZA_BYTES, IDLE_MS)
            }
        };
        // XEP-0478 §3.1
        let _ = write!(
            out,
            "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{bytes}</max-bytes><idle-seconds>{}</idle-seconds></limits>\
             </stream:features>",
            idle / 1000
        );
        self.framing.end(out);
    }

    fn write(&self, stanza: &Stanza, out: &mut String) {
        stanza.write(self.framing.content(), out);
        self.framing.end(out);
    }

    /// Asks a silent peer whether it is there (XEP-0199 §4.1).
    fn ping(&mut self, now: Mono, out: &mut String) {
        self.asked = true;
        self.heard = now;
        if self.managed {
            Manage::Request.write(out);
            return self.framing.end(out);
        }
        self.pings = self.pings.saturating_add(1);
        let ping = Stanza::new(Kind::Iq, Type::Get).from(self.terms.domain.clone());
        let ping = ping.with_id(&format!("{PING_ID}{}", self.pings));
        self.write(&ping.with("<ping xmlns='urn:xmpp:ping'/>"), out);
    }

    /// Whether the stream begins anew after its login.
    fn restarts(&self) -> bool {
        matches!(&self.phase, ClientPhase::Login(login) if login.sasl.profile() == Profile::Rfc6120)
    }

    /// `jid`: that of the account or of the session.
    fn authenticated(&mut self, jid: Jid, begins: Begins) {
        self.phase = match std::mem::replace(&mut self.phase, ClientPhase::Over { untold: false }) {
            ClientPhase::Login(login) if begins == Begins::Unbound => {
                ClientPhase::Bind(Box::new(Bind { account: jid, random: login.random, request: None, resuming: false }))
            }
            ClientPhase::Login(_) => ClientPhase::Session(jid),
            other => other,
        };
    }

    /// Ends the stream when they failed too often (RFC 6120 §6.4.5).
    fn failed(&mut self, out: &mut String) {
        if matches!(&self.phase, ClientPhase::Login(login) if login.sasl.is_exhausted()) {
            self.end(Some(&StreamError::new(StreamCondition::PolicyViolation).text("too many attempts")), out);
            self.phase = ClientPhase::Over { untold: true };
        }
    }

    /// The next stream id.
    fn token(&mut self) -> String {
        match &mut self.phase {
            ClientPhase::Login(login) => login.random.token(),
            ClientPhase::Bind(bind) => bind.random.token(),
            // No header is written in these.
            ClientPhase::Session(_) | ClientPhase::Over { .. } => String::new(),
        }
    }

    /// Ends the stream; a header comes first, if none is out yet (RFC 6120 §4.9.1.2).
    fn end(&mut self, error: Option<&StreamError>, out: &mut String) -> Event {
        if !self.opened {
            let id = self.token();
            self.framing.open(&self.terms.domain, &id, None, out);
            self.opened = true;
        }
        self.framing.close(error, out);
        self.phase = ClientPhase::Over { untold: false };
        Event::Closed { clean: error.is_none() }
    }
}

/// A client may name itself in `from`, by its bare or full JID, and nobody else (RFC 6120 §8.1.2.1).
fn check_from(stanza: &Stanza, jid: &Jid) -> Result<(), StreamError> {
    let own = match &stanza.from {
        None => !stanza.bad_from,
        Some(from) => from == jid || (from.is_bare() && from.as_str() == jid.bare_str()),
    };
    if own { Ok(()) } else { Err(StreamCondition::InvalidFrom.into()) }
}

/// Refuses an element of stream management (XEP-0198 §6).
fn refuse_managed(condition: Condition, out: &mut String) {
    Manage::Failed { condition, handled: None }.write(out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HEADER: &str = "<stream:stream to='example.org' version='1.0' xmlns='jabber:client' \
                          xmlns:stream='http://etherx.jabber.org/streams'>";

    /// What a session owns besides its own bytes: the text of its JID, and an element that is not complete.
    #[test]
    fn a_session_owns_no_more_than_it_needs() {
        let domain = Jid::parse("example.org").unwrap();
        let terms = Terms { plain: true, ..Terms::new(domain) };
        let mut c2s =
            C2s::new(Framing::Tcp, Arc::new(terms), Tls { exporter: None, end_point: [0; 32].into() }, 0, [0; 32]);
        let mut out = String::new();
        let said = format!(
            "{HEADER}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGEAYg==</auth>{HEADER}\
             <iq type='set' id='1'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq><message/>\n<message><body>"
        );
        // By byte, so that the framer has to keep what came in.
        for byte in said.as_bytes() {
            let mut input = std::slice::from_ref(byte);
            while let Some(event) = c2s.next(0, &mut input, &mut out) {
                match event {
                    Event::Credentials(_) => {
                        let credentials = Credentials::derive("b", b"0123456789abcdef", 1).unwrap();
                        assert!(matches!(c2s.credentials(credentials, &mut out), Some(Event::Authenticated(_))));
                    }
                    Event::Bind { resource: None, .. } => {
                        c2s.bound(Jid::parse("a@example.org/x").map_err(|_| unreachable!()), &mut out)
                    }
                    Event::Stanza(_) => assert_eq!(c2s.framer.held_bytes(), 0),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert!(matches!(c2s.line.phase, ClientPhase::Session(_)));
        assert!(c2s.line.lang.is_none() && c2s.line.declared.is_usual());
        assert_eq!(c2s.framer.held_bytes(), "<message><body>".len());
        assert_eq!(Arc::strong_count(&c2s.line.terms), 1);
    }
}
