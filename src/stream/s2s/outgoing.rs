//! The end of whoever has dialled: TLS, then a proof of ours, then stanzas; or a question whether a key is theirs.

use super::incoming::told;
use super::line::{Event, Line, Purpose, domain, write_dialback, write_key};
use super::{SERVER_IDLE_MS, SERVER_UNPROVED_MS};
use crate::stream::Mono;
use crate::stream::header;
use crate::wire::{Condition, DomainPair, Frame, Node, Ns, Proof, Raw, Refusal, StreamCondition, StreamError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::sync::Arc;

/// How often something is written to a stream that is to stay, in milliseconds: less than what a NAT forgets within.
const KEEP_MS: Mono = 240_000;

/// What the dialling end knows.
#[derive(Debug)]
pub(super) struct Outgoing {
    purpose: Purpose,
    step: Step,
    /// What proves who they are.
    proof: Option<Proof>,
    /// Whether they speak dialback.
    dialback: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step {
    /// Nothing was said.
    Begin,
    /// Their header comes; `true`: after SASL.
    Header(bool),
    /// Their features come; `true`: after SASL.
    Features(bool),
    /// TLS is asked for.
    StartTls,
    /// SASL EXTERNAL.
    External,
    /// Our key, or a question about one, is under way.
    Dialback,
    /// Stanzas may be sent.
    Open,
    /// What was asked is answered.
    Done,
}

impl Outgoing {
    pub(super) fn new(purpose: Purpose) -> Outgoing {
        Outgoing { purpose, step: Step::Begin, proof: None, dialback: false }
    }

    /// Whether the next thing to come is a header again.
    pub(super) fn restarts(&self) -> bool {
        self.step == Step::Header(true)
    }

    /// Whether stanzas may be sent.
    pub(super) fn is_open(&self) -> bool {
        self.step == Step::Open
    }

    /// Writes our header.
    pub(super) fn begin(&mut self, line: &mut Line, out: &mut String) -> Option<Event> {
        if line.evidence.is_some() {
            match line.proves(&self.purpose.pair().theirs) {
                Ok(proof) => self.proof = Some(proof),
                Err(why) => {
                    line.over = true;
                    return self.refused(Refusal::wait(format!("{} is not who it should be: {why}", self.name())));
                }
            }
        }
        self.write_header(line, out);
        self.step = Step::Header(false);
        None
    }

    fn write_header(&self, line: &mut Line, out: &mut String) {
        let DomainPair { ours, theirs } = self.purpose.pair();
        header::write_server(Some(ours), Some(theirs), None, out);
        line.opened = true;
    }

    pub(super) fn deadline(&self, line: &Line) -> Mono {
        match (self.step, &self.purpose) {
            (Step::Open, _) if line.managing.deadline().is_some() => line.managing.deadline().unwrap_or(Mono::MAX),
            (Step::Open, Purpose::Stanzas { keep: true, .. }) => line.heard.saturating_add(KEEP_MS),
            (Step::Open, _) => line.heard.saturating_add(SERVER_IDLE_MS),
            _ => line.since.saturating_add(SERVER_UNPROVED_MS),
        }
    }

    /// The time is over.
    pub(super) fn expired(&mut self, line: &mut Line, now: Mono, out: &mut String) -> Option<Event> {
        match (self.step, &self.purpose) {
            (Step::Open, _) if line.managing.deadline().is_some() => {
                Some(line.end(Some(&StreamCondition::ConnectionTimeout.into()), out))
            }
            (Step::Open, Purpose::Stanzas { keep: true, .. }) => {
                line.heard = now;
                out.push(' ');
                None
            }
            (Step::Open, _) => Some(line.end(None, out)),
            _ => {
                line.end(None, out);
                let at = match self.step {
                    Step::Begin | Step::Header(_) | Step::Features(_) => "does not answer",
                    Step::StartTls => "does not go on with TLS",
                    Step::External => "does not go on with our certificate",
                    _ => "does not say whether our key is right (dialback)",
                };
                self.refused(Refusal::wait(format!("{} {at}", self.name())))
            }
        }
    }

    fn name(&self) -> &str {
        self.purpose.pair().theirs.as_str()
    }

    /// Nothing comes of it, or nothing more.
    fn refused(&mut self, refusal: Refusal) -> Option<Event> {
        let told = !matches!(self.step, Step::Open | Step::Done);
        self.step = Step::Done;
        Some(if told { Event::Refused(refusal) } else { Event::Closed })
    }

    pub(super) fn frame(
        &mut self,
        line: &mut Line,
        frame: Frame<'_>,
        out: &mut String,
    ) -> Result<Option<Event>, StreamError> {
        match frame {
            Frame::Open(open) => {
                let Step::Header(again) = self.step else { return Err(StreamCondition::BadFormat.into()) };
                let mut header = header::read_server(open)?;
                line.hears(&mut header);
                line.id = header.id.take().unwrap_or_default().into();
                self.dialback |= header.dialback;
                self.step = Step::Features(again);
                Ok(None)
            }
            Frame::Element(xml) => {
                let raw = Raw::parse(xml, &line.scope)?;
                self.element(line, raw, out)
            }
            Frame::Close => {
                line.end(None, out);
                Ok(self.refused(Refusal::wait(format!("{} ended the stream", self.name()))))
            }
        }
    }

    /// The stream breaks off on our side: what they said is wrong.
    pub(super) fn broken(&mut self, error: &StreamError) -> Option<Event> {
        let mut text = format!("{} says what is no stream: {error}", self.name());
        if error.condition == StreamCondition::InvalidNamespace {
            text = format!("{} is no stream for servers there: other servers usually listen on port 5269", self.name());
        }
        self.refused(Refusal::wait(text))
    }

    fn element(&mut self, line: &mut Line, raw: Arc<Raw>, out: &mut String) -> Result<Option<Event>, StreamError> {
        let root = raw.root();
        match (root.ns(), root.name(), self.step) {
            (Ns::STREAM, "error", _) => {
                let told = told(root);
                line.end(None, out);
                let unknown = told.starts_with("host-unknown") || told.starts_with("host-gone");
                let condition = if unknown { Condition::RemoteServerNotFound } else { Condition::RemoteServerTimeout };
                Ok(self.refused(Refusal { condition, text: format!("{} ended the stream: {told}", self.name()) }))
            }
            (Ns::STREAM, "features", Step::Features(again)) => Ok(self.features(line, root, again, out)),
            (Ns::TLS, "proceed", Step::StartTls) => {
                line.over = true;
                self.step = Step::Done;
                Ok(Some(Event::StartTls))
            }
            (Ns::TLS, _, Step::StartTls) => {
                line.end(None, out);
                Ok(self.refused(Refusal::wait(format!("{} cannot do TLS", self.name()))))
            }
            (Ns::SASL, "success", Step::External) => {
                self.write_header(line, out);
                self.step = Step::Header(true);
                Ok(None)
            }
            (Ns::SASL, "failure", Step::External) => {
                let why = root.children().find(|child| child.name() != "text").map_or("", Node::name).to_owned();
                Ok(self.prove_by_key(line, &format!("it refuses our certificate ({why})"), out))
            }
            (Ns::DIALBACK, "result" | "verify", _) if root.attr("type").is_some() => Ok(self.answered(line, root, out)),
            (Ns::DIALBACK, "verify", _) if line.evidence.is_some() => line.verify(root, out).map(|()| None),
            // Who wants more domains in the other direction makes a stream for that (XEP-0220 §2.5: no harm to this one).
            (Ns::DIALBACK, "result", _) if line.evidence.is_some() => {
                if let (Some(theirs), Some(ours)) = (domain(root, "from"), domain(root, "to")) {
                    write_dialback("result", &ours, &theirs, None, Err(Condition::FeatureNotImplemented), out);
                }
                Ok(None)
            }
            (Ns::CLIENT, "message" | "presence" | "iq", Step::Open) if line.both => line.stanza(raw, out),
            (Ns::SM, _, Step::Open) => Ok(line.answered_to_manage(root)),
            (Ns::CLIENT, "message" | "presence" | "iq", _) => {
                Err(StreamError::new(StreamCondition::NotAuthorized).text("this stream is for what we say"))
            }
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    /// What they offer.
    fn features(&mut self, line: &mut Line, features: Node<'_>, again: bool, out: &mut String) -> Option<Event> {
        if line.evidence.is_none() {
            if features.child(Ns::TLS, "starttls").is_some() {
                out.push_str("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                self.step = Step::StartTls;
                return None;
            }
            line.end(None, out);
            return self.refused(Refusal::wait(format!("{} offers no TLS, and nothing is sent without", self.name())));
        }
        if again {
            return self.open(line, features.child(Ns::SM, "sm").is_some());
        }
        self.dialback |= features.child(Ns::DIALBACK_FEATURE, "dialback").is_some();
        let DomainPair { ours, theirs } = self.purpose.pair().clone();
        if let Purpose::Verify { id, key, .. } = &self.purpose {
            write_key("verify", &ours, &theirs, Some(id), key, out);
            self.step = Step::Dialback;
            return None;
        }
        if features.child(Ns::BIDI_FEATURE, "bidi").is_some() {
            // XEP-0288 §2.2: before SASL and before dialback.
            out.push_str("<bidi xmlns='urn:xmpp:bidi'/>");
            line.both = true;
        }
        let mechanisms = features.child(Ns::SASL, "mechanisms");
        if mechanisms.is_some_and(|all| all.children().any(|one| one.text().trim() == "EXTERNAL")) {
            // XEP-0178 §3: with our name, for older servers.
            out.push_str("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>");
            out.push_str(&STANDARD.encode(ours.as_str()));
            out.push_str("</auth>");
            self.step = Step::External;
            return None;
        }
        self.prove_by_key(line, "it does not trust our certificate", out)
    }

    /// Shows our key: whoever wants no certificate may ask our domain.
    fn prove_by_key(&mut self, line: &mut Line, why: &str, out: &mut String) -> Option<Event> {
        if !self.dialback {
            line.end(None, out);
            let text = format!("{} does not know that we are {}: {why}", self.name(), self.purpose.pair().ours);
            return self.refused(Refusal::wait(text));
        }
        let DomainPair { ours, theirs } = self.purpose.pair();
        let key = line.terms.secret.key(theirs.as_str(), ours.as_str(), &line.id);
        write_key("result", ours, theirs, None, &key, out);
        self.step = Step::Dialback;
        None
    }

    /// An answer of dialback. What was not asked on this stream is nothing.
    fn answered(&mut self, line: &mut Line, answer: Node<'_>, out: &mut String) -> Option<Event> {
        let pair = self.purpose.pair();
        let ours = domain(answer, "to").as_ref() == Some(&pair.ours);
        if self.step != Step::Dialback || !ours || domain(answer, "from").as_ref() != Some(&pair.theirs) {
            return None;
        }
        let is = |ty: &str| answer.attr("type").as_deref() == Some(ty);
        match (&self.purpose, answer.name()) {
            (Purpose::Stanzas { .. }, "result") if is("valid") => self.open(line, false),
            (Purpose::Stanzas { .. }, "result") => {
                line.end(None, out);
                let why = answer.child(Ns::CLIENT, "error").and_then(|error| error.children().next());
                let why = why.map_or("it says that our key is not ours", Node::name);
                let text = format!("{} does not know that we are {} (dialback: {why})", self.name(), pair.ours);
                self.refused(Refusal::wait(text))
            }
            (Purpose::Verify { id, .. }, "verify") if answer.attr("id").as_deref() == Some(id) => {
                line.end(None, out);
                self.step = Step::Done;
                if is("valid") || is("invalid") {
                    return Some(Event::Verified(is("valid")));
                }
                Some(Event::Refused(Refusal::wait(format!("{} could not say whether a key is its own", self.name()))))
            }
            _ => None,
        }
    }

    fn open(&mut self, line: &mut Line, manages: bool) -> Option<Event> {
        self.step = Step::Open;
        let pair = self.purpose.pair().clone();
        if line.both {
            line.pairs.push(pair.clone());
        }
        let proof = self.proof.unwrap_or(Proof::Dialback);
        Some(Event::Open { pair, proof, both: line.both, manages })
    }
}
