//! The end of whoever was dialled: TLS, then a proof, then stanzas.

use super::line::{Event, Line, Managing, domain, write_dialback};
use super::{SERVER_DEAF_MS, SERVER_STANZA_BYTES, SERVER_UNPROVED_MS, STREAM_PAIRS};
use crate::stream::Mono;
use crate::stream::header;
use crate::wire::{Condition, DomainPair, Frame, Jid, Node, Ns, Proof, Raw, Refusal, StreamCondition, StreamError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt::Write;
use std::sync::Arc;

/// How much longer a peer may wait whose key is being verified, in milliseconds: somebody has to be dialled for that.
const VERIFY_MS: Mono = 40_000;

/// What the dialled end knows.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// The peer's header was read: who it says it is, and whom it speaks to.
    header: Option<(Option<Jid>, Jid)>,
    external: External,
    /// Pairs whose keys are being verified.
    asked: Vec<DomainPair>,
}

/// How far SASL EXTERNAL is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum External {
    #[default]
    No,
    /// [`Event::Proved`] waits for its answer.
    Waits(Proof),
    /// The stream begins anew (RFC 6120 §6.4.6).
    Done(Proof),
    /// It has.
    Open,
}

impl Incoming {
    /// Whether nothing is to be read until an answer is there.
    pub(super) fn waits(&self) -> bool {
        matches!(self.external, External::Waits(_))
    }

    /// Whether the next thing to come is a header again.
    pub(super) fn restarts(&self) -> bool {
        matches!(self.external, External::Done(_))
    }

    pub(super) fn deadline(&self, line: &Line) -> Mono {
        match (line.pairs.is_empty(), self.asked.is_empty()) {
            (true, true) => line.since.saturating_add(SERVER_UNPROVED_MS),
            (true, false) => line.since.saturating_add(SERVER_UNPROVED_MS + VERIFY_MS),
            _ => line.heard.saturating_add(SERVER_DEAF_MS),
        }
    }

    /// Whether something was proved.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.external, External::Open | External::Done(_))
    }

    pub(super) fn frame(
        &mut self,
        line: &mut Line,
        frame: Frame<'_>,
        out: &mut String,
    ) -> Result<Option<Event>, StreamError> {
        match frame {
            Frame::Open(open) => self.open(line, open, out),
            Frame::Element(xml) => {
                let raw = Raw::parse(xml, &line.scope)?;
                if line.evidence.is_some() { self.element(line, raw, out) } else { plain(line, raw.root(), out) }
            }
            Frame::Close => Ok(Some(line.end(None, out))),
        }
    }

    fn open(&mut self, line: &mut Line, open: &str, out: &mut String) -> Result<Option<Event>, StreamError> {
        let mut header = header::read_server(open)?;
        let Some(to) = header.to.take() else {
            return Err(StreamError::new(StreamCondition::ImproperAddressing).text("the header needs a 'to'"));
        };
        if !line.terms.domains.contains(&to) {
            return Err(StreamCondition::HostUnknown.into());
        }
        let from = header.from.take();
        if from.as_ref().is_some_and(|from| line.terms.domains.contains(from)) {
            return Err(StreamError::new(StreamCondition::InvalidFrom).text("that domain is served here"));
        }
        // Who has proved to be somebody is somebody from then on.
        if let Some((before, before_to)) = &self.header
            && self.is_open()
            && (from.as_ref().is_some_and(|from| Some(from) != before.as_ref()) || *before_to != to)
        {
            return Err(StreamError::new(StreamCondition::InvalidFrom).text("the stream was begun for other domains"));
        }
        let from = from.or_else(|| self.header.as_ref().and_then(|(before, _)| before.clone()));
        line.hears(&mut header);
        line.id = line.random.token();
        header::write_server(Some(&to), from.as_ref(), Some(&line.id), out);
        line.opened = true;
        self.write_features(line, from.as_ref(), out);
        let pair = from.clone().map(|theirs| DomainPair { ours: to.clone(), theirs });
        self.header = Some((from, to));
        let (External::Done(proof), Some(pair)) = (self.external, pair) else { return Ok(None) };
        self.external = External::Open;
        Ok(opened(line, pair, proof, true))
    }

    fn write_features(&self, line: &Line, from: Option<&Jid>, out: &mut String) {
        out.push_str("<stream:features>");
        if line.evidence.is_none() {
            out.push_str("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>");
        } else {
            if !self.is_open() {
                out.push_str("<bidi xmlns='urn:xmpp:features:bidi'/>");
                // Only what will succeed is offered (XEP-0178 §3).
                if from.is_some_and(|from| line.proves(from).is_ok()) {
                    out.push_str(
                        "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>",
                    );
                }
            } else {
                out.push_str("<sm xmlns='urn:xmpp:sm:3'/>");
            }
            out.push_str("<dialback xmlns='urn:xmpp:features:dialback'><errors/></dialback>");
            if self.is_open() {
                // XEP-0478
                let _ = write!(
                    out,
                    "<limits xmlns='urn:xmpp:stream-limits:0'><max-bytes>{SERVER_STANZA_BYTES}</max-bytes></limits>"
                );
            }
        }
        out.push_str("</stream:features>");
    }

    fn element(&mut self, line: &mut Line, raw: Arc<Raw>, out: &mut String) -> Result<Option<Event>, StreamError> {
        let root = raw.root();
        match (root.ns(), root.name()) {
            (Ns::STREAM, "error") => {
                log::debug!("a server ended its stream: {}", told(root));
                Ok(Some(line.end(None, out)))
            }
            // XEP-0288 §2.2: before it is proved who it is.
            (Ns::BIDI, "bidi") if !self.is_open() && line.pairs.is_empty() => {
                line.both = true;
                Ok(None)
            }
            (Ns::SASL, "auth") if !self.is_open() => self.external(line, root, out),
            (Ns::DIALBACK, "result") if root.attr("type").is_none() => self.key(line, root, out),
            (Ns::DIALBACK, "verify") if root.attr("type").is_none() => line.verify(root, out).map(|()| None),
            (Ns::CLIENT, "message" | "presence" | "iq") if line.pairs.is_empty() => {
                Err(StreamError::new(StreamCondition::NotAuthorized).text("first prove who you are"))
            }
            (Ns::CLIENT, "message" | "presence" | "iq") => line.stanza(raw, out),
            (Ns::SM, "enable" | "resume" | "r" | "a") if self.is_open() => line.asked_to_manage(root, out),
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    /// RFC 6120 §6.4, XEP-0178 §3
    fn external(&mut self, line: &Line, auth: Node<'_>, out: &mut String) -> Result<Option<Event>, StreamError> {
        let mut fail = |condition: &str| {
            out.push_str("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><");
            out.push_str(condition);
            out.push_str("/></failure>");
            Ok(None)
        };
        let Some((Some(from), to)) = &self.header else { return fail("not-authorized") };
        if auth.attr("mechanism").as_deref() != Some("EXTERNAL") {
            return fail("invalid-mechanism");
        }
        let text = auth.text();
        let said = match text.trim() {
            "" | "=" => None,
            text => match STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(said) => Some(said),
                None => return fail("incorrect-encoding"),
            },
        };
        if said.is_some_and(|said| Jid::parse(&said).ok().as_ref() != Some(from)) {
            return fail("invalid-authzid");
        }
        match line.proves(from) {
            Ok(proof) => {
                self.external = External::Waits(proof);
                Ok(Some(Event::Proved(DomainPair { ours: to.clone(), theirs: from.clone() }, proof)))
            }
            Err(why) => {
                log::info!("{from} cannot prove by its certificate who it is: {why}");
                fail("not-authorized")
            }
        }
    }

    /// A key of dialback; or only its form: who has a certificate for the domain needs no key.
    fn key(&mut self, line: &Line, result: Node<'_>, out: &mut String) -> Result<Option<Event>, StreamError> {
        let (Some(theirs), Some(ours)) = (domain(result, "from"), domain(result, "to")) else {
            return Err(StreamError::new(StreamCondition::ImproperAddressing).text("db:result needs from and to"));
        };
        let mut fail = |condition| {
            write_dialback("result", &ours, &theirs, None, Err(condition), out);
            Ok(None)
        };
        if !line.terms.domains.contains(&ours) {
            return fail(Condition::ItemNotFound);
        }
        if line.terms.domains.contains(&theirs) {
            return fail(Condition::NotAcceptable);
        }
        let pair = DomainPair { ours: ours.clone(), theirs: theirs.clone() };
        if self.asked.contains(&pair) {
            return fail(Condition::UnexpectedRequest);
        }
        // With stream management it is for one pair, or what is carried on would be for others than those who prove themselves.
        if self.asked.len() + line.pairs.len() >= STREAM_PAIRS || line.managing != Managing::Off {
            return fail(Condition::ResourceConstraint);
        }
        self.asked.push(pair.clone());
        Ok(Some(match line.proves(&theirs) {
            Ok(proof) => Event::Proved(pair, proof),
            Err(_) => Event::Key { pair, id: line.id.clone(), key: result.text().trim().to_owned() },
        }))
    }

    /// The answer to [`Event::Proved`] and [`Event::Key`].
    pub(super) fn judged(
        &mut self,
        line: &mut Line,
        pair: &DomainPair,
        answer: Result<Proof, Refusal>,
        out: &mut String,
    ) -> Option<Event> {
        if let External::Waits(proof) = self.external {
            match answer {
                Ok(_) => {
                    out.push_str("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
                    self.external = External::Done(proof);
                }
                Err(refusal) => {
                    self.external = External::No;
                    out.push_str(
                        "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/><text xml:lang='en'>",
                    );
                    crate::wire::xml::escape(&refusal.text, out);
                    out.push_str("</text></failure>");
                }
            }
            return None;
        }
        let at = self.asked.iter().position(|asked| asked == pair)?;
        self.asked.remove(at);
        let result = match &answer {
            Ok(_) => Ok(true),
            // XEP-0220 §2.5: the key is not theirs.
            Err(refusal) if refusal.condition == Condition::Forbidden => Ok(false),
            Err(refusal) => Err(refusal.condition),
        };
        write_dialback("result", &pair.ours, &pair.theirs, None, result, out);
        match answer {
            Ok(proof) => opened(line, pair.clone(), proof, false),
            // §2.2.1: nobody who lies is listened to any longer.
            Err(_) if result == Ok(false) && line.pairs.is_empty() => Some(line.end(None, out)),
            Err(_) => None,
        }
    }
}

/// Stanzas of this pair may come.
fn opened(line: &mut Line, pair: DomainPair, proof: Proof, manages: bool) -> Option<Event> {
    if line.pairs.contains(&pair) {
        return None;
    }
    line.pairs.push(pair.clone());
    Some(Event::Open { pair, proof, both: line.both, manages })
}

/// What may be said before TLS (RFC 6120 §5).
fn plain(line: &mut Line, root: Node<'_>, out: &mut String) -> Result<Option<Event>, StreamError> {
    match (root.ns(), root.name()) {
        (Ns::TLS, "starttls") => {
            out.push_str("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
            line.over = true;
            Ok(Some(Event::StartTls))
        }
        (Ns::STREAM, "error") => Ok(Some(line.end(None, out))),
        (Ns::DIALBACK | Ns::SASL, _) => {
            Err(StreamError::new(StreamCondition::PolicyViolation).text("STARTTLS comes first"))
        }
        (Ns::CLIENT, "message" | "presence" | "iq") => {
            Err(StreamError::new(StreamCondition::NotAuthorized).text("STARTTLS comes first"))
        }
        _ => Err(StreamCondition::UnsupportedStanzaType.into()),
    }
}

/// The condition of a stream error, and its text.
pub(super) fn told(error: Node<'_>) -> String {
    let condition = error.children().find(|child| child.ns() == Ns::STREAMS && child.name() != "text");
    let name = condition.map_or("without a condition", Node::name);
    match error.child(Ns::STREAMS, "text") {
        Some(text) => format!("{name} ({})", text.text().chars().take(200).collect::<String>()),
        None => name.to_owned(),
    }
}
