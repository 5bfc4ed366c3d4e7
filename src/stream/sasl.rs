//! SASL on the server side (RFC 6120 §6): SCRAM with channel binding and its downgrade check, and PLAIN where it is allowed.

use super::random::Random;
use super::scram::{self, First, Second};
use super::{Event, Terms, Tls};
use crate::wire::scram::{Credentials, Hash};
use crate::wire::{Jid, Node};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// How often a client may fail on one stream (RFC 6120 §6.4.5 asks for two to five retries).
pub const ATTEMPTS: u8 = 4;

/// Why somebody could not log in (RFC 6120 §6.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The client gave it up itself.
    Aborted,
    /// The account is there, and closed for a time.
    AccountDisabled,
    /// The password has to be set anew.
    CredentialsExpired,
    /// What was sent is not base64.
    IncorrectEncoding,
    /// They want to act for somebody else.
    InvalidAuthzid,
    /// The mechanism is not offered.
    InvalidMechanism,
    /// What was sent breaks the syntax of the mechanism or the order of messages.
    MalformedRequest,
    /// The mechanism is not strong enough for this account.
    MechanismTooWeak,
    /// The proof is wrong, or there is no such user.
    NotAuthorized,
    /// Trouble on our side; they may try again.
    TemporaryAuthFailure,
}

impl Failure {
    /// The element's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Aborted => "aborted",
            Failure::AccountDisabled => "account-disabled",
            Failure::CredentialsExpired => "credentials-expired",
            Failure::IncorrectEncoding => "incorrect-encoding",
            Failure::InvalidAuthzid => "invalid-authzid",
            Failure::InvalidMechanism => "invalid-mechanism",
            Failure::MalformedRequest => "malformed-request",
            Failure::MechanismTooWeak => "mechanism-too-weak",
            Failure::NotAuthorized => "not-authorized",
            Failure::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }
}

/// A failure with words for whoever debugs the client; empty for none. No word may tell whether a user exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Refusal(pub(super) Failure, pub(super) &'static str);

impl Refusal {
    fn write(self, out: &mut String) {
        out.push_str("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><");
        out.push_str(self.0.as_str());
        out.push_str("/>");
        if !self.1.is_empty() {
            out.push_str("<text xml:lang='en'>");
            crate::wire::xml::escape(self.1, out);
            out.push_str("</text>");
        }
        out.push_str("</failure>");
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mechanism {
    Scram { hash: Hash, plus: bool },
    Plain,
}

impl Mechanism {
    /// All, the strongest first.
    const ALL: [Mechanism; 5] = [
        Mechanism::Scram { hash: Hash::Sha256, plus: true },
        Mechanism::Scram { hash: Hash::Sha1, plus: true },
        Mechanism::Scram { hash: Hash::Sha256, plus: false },
        Mechanism::Scram { hash: Hash::Sha1, plus: false },
        Mechanism::Plain,
    ];

    /// Those that are offered. -PLUS always is: `tls-server-end-point` is always there.
    fn offered(terms: &Terms) -> impl Iterator<Item = Mechanism> {
        Mechanism::ALL.into_iter().filter(|mechanism| *mechanism != Mechanism::Plain || terms.plain)
    }

    fn as_str(self) -> &'static str {
        match self {
            Mechanism::Scram { hash: Hash::Sha256, plus: true } => "SCRAM-SHA-256-PLUS",
            Mechanism::Scram { hash: Hash::Sha1, plus: true } => "SCRAM-SHA-1-PLUS",
            Mechanism::Scram { hash: Hash::Sha256, plus: false } => "SCRAM-SHA-256",
            Mechanism::Scram { hash: Hash::Sha1, plus: false } => "SCRAM-SHA-1",
            Mechanism::Plain => "PLAIN",
        }
    }
}

/// Appends the stream features: the mechanisms (RFC 6120 §6.4.1) and the types of channel binding (XEP-0440).
pub(super) fn write_features(terms: &Terms, tls: &Tls, out: &mut String) {
    out.push_str("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>");
    for mechanism in Mechanism::offered(terms) {
        out.push_str("<mechanism>");
        out.push_str(mechanism.as_str());
        out.push_str("</mechanism>");
    }
    out.push_str("</mechanisms><sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>");
    for (name, _) in scram::bindings(tls) {
        out.push_str("<channel-binding type='");
        out.push_str(name);
        out.push_str("'/>");
    }
    out.push_str("</sasl-channel-binding>");
}

/// What the downgrade check hashes: all that [`write_features`] says (XEP-0474 §6.1).
fn offer_text(terms: &Terms, tls: &Tls) -> String {
    let mut mechanisms: Vec<_> = Mechanism::offered(terms).map(Mechanism::as_str).collect();
    let mut bindings: Vec<_> = scram::bindings(tls).map(|(name, _)| name).collect();
    mechanisms.sort_unstable();
    bindings.sort_unstable();
    format!("{}\x1f{}", mechanisms.join("\x1e"), bindings.join("\x1e"))
}

/// The attempts of one stream to authenticate.
pub(super) struct Sasl {
    state: State,
    failed: u8,
}

enum State {
    /// Between attempts.
    Idle,
    /// There was no initial response: the client's first message is awaited.
    Started(Mechanism),
    /// The account's keys are awaited.
    Plain { account: Jid, password: String },
    /// The account's keys are awaited.
    First(First),
    /// The client's proof is awaited.
    Second(Second),
}

impl fmt::Debug for Sasl {
    /// No secrets in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sasl({} failed)", self.failed)
    }
}

impl Sasl {
    pub(super) fn new() -> Sasl {
        Sasl { state: State::Idle, failed: 0 }
    }

    /// Whether [`Sasl::credentials`] or [`Sasl::refuse`] has to come first.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Plain { .. } | State::First(_))
    }

    /// Whether no attempt is under way.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether they failed too often.
    pub(super) fn is_exhausted(&self) -> bool {
        self.failed >= ATTEMPTS
    }

    /// `<auth/>`, `<response/>` or `<abort/>`; answers it.
    pub(super) fn element(&mut self, node: Node<'_>, terms: &Terms, tls: &Tls, out: &mut String) -> Option<Event> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        let name = state.account().cloned();
        match self.advance(state, node, terms, tls, out) {
            Ok(event) => event,
            Err(refusal) => Some(self.fail(refusal, name, out)),
        }
    }

    fn advance(
        &mut self,
        state: State,
        node: Node<'_>,
        terms: &Terms,
        tls: &Tls,
        out: &mut String,
    ) -> Result<Option<Event>, Refusal> {
        match (node.name(), state) {
            ("auth", State::Idle) => {
                let name = node.attr("mechanism").ok_or(Refusal(Failure::MalformedRequest, "no mechanism"))?;
                let mechanism = Mechanism::offered(terms)
                    .find(|mechanism| mechanism.as_str() == name)
                    .ok_or(Refusal(Failure::InvalidMechanism, ""))?;
                let text = node.text();
                if text.is_empty() {
                    out.push_str("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>");
                    self.state = State::Started(mechanism);
                    return Ok(None);
                }
                self.begin(mechanism, &decode(&text)?, terms, tls)
            }
            ("response", State::Started(mechanism)) => self.begin(mechanism, &decode(&node.text())?, terms, tls),
            ("response", State::Second(second)) => {
                let last = second.check(&decode(&node.text())?)?;
                write_success(Some(&last), out);
                Ok(Some(Event::Authenticated(second.account)))
            }
            ("abort", _) => Err(Refusal(Failure::Aborted, "")),
            _ => Err(Refusal(Failure::MalformedRequest, "out of order")),
        }
    }

    /// The client's first message.
    fn begin(&mut self, mechanism: Mechanism, data: &[u8], terms: &Terms, tls: &Tls) -> Result<Option<Event>, Refusal> {
        self.state = match mechanism {
            Mechanism::Scram { hash, plus } => State::First(First::read(data, hash, plus, &terms.domain, tls)?),
            Mechanism::Plain => plain(data, &terms.domain)?,
        };
        Ok(self.state.account().cloned().map(Event::Credentials))
    }

    /// The answer to [`Event::Credentials`].
    pub(super) fn credentials(
        &mut self,
        credentials: Credentials,
        terms: &Terms,
        tls: &Tls,
        random: &mut Random,
        out: &mut String,
    ) -> Option<Event> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Plain { account, password } => {
                // This takes the time of one SCRAM login of a client (milliseconds), and stays on the connection's thread on
                // purpose: PLAIN is off unless set, and a pool of threads would let guessers take all cores at once.
                if !credentials.check(&password) {
                    return Some(self.fail(Refusal(Failure::NotAuthorized, ""), Some(account), out));
                }
                write_success(None, out);
                Some(Event::Authenticated(account))
            }
            State::First(first) => {
                let (hash, keys) = match first.hash() {
                    Hash::Sha1 => (Hash::Sha1, credentials.sha1),
                    Hash::Sha256 => (Hash::Sha256, credentials.sha256),
                };
                let offered = hash.digest(offer_text(terms, tls).as_bytes());
                let (second, message) = first.challenge(keys, &random.token(), Some(&offered));
                out.push_str("<challenge xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>");
                STANDARD.encode_string(message, out);
                out.push_str("</challenge>");
                self.state = State::Second(second);
                None
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The other answer to [`Event::Credentials`]: none will come.
    pub(super) fn refuse(&mut self, failure: Failure, out: &mut String) -> Option<Event> {
        if !self.waits() {
            return None;
        }
        let state = std::mem::replace(&mut self.state, State::Idle);
        Some(self.fail(Refusal(failure, ""), state.account().cloned(), out))
    }

    fn fail(&mut self, refusal: Refusal, account: Option<Jid>, out: &mut String) -> Event {
        self.state = State::Idle;
        self.failed = self.failed.saturating_add(1);
        refusal.write(out);
        Event::Failed(account.filter(|_| refusal.0 == Failure::NotAuthorized))
    }
}

impl State {
    fn account(&self) -> Option<&Jid> {
        match self {
            State::Idle | State::Started(_) => None,
            State::Plain { account, .. } => Some(account),
            State::First(first) => Some(&first.account),
            State::Second(second) => Some(&second.account),
        }
    }
}

/// The data of an element: base64 without white space, and `=` for none (RFC 6120 §6.4.2).
fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    match text {
        "" | "=" => Ok(Vec::new()),
        text => STANDARD.decode(text).map_err(|_| Refusal(Failure::IncorrectEncoding, "")),
    }
}

/// Appends `<success/>`, with additional data if there is some (RFC 6120 §6.4.6).
fn write_success(data: Option<&str>, out: &mut String) {
    out.push_str("<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'");
    match data {
        Some(data) => {
            out.push('>');
            STANDARD.encode_string(data, out);
            out.push_str("</success>");
        }
        None => out.push_str("/>"),
    }
}

/// The one message of PLAIN (RFC 4616 §2).
fn plain(data: &[u8], domain: &Jid) -> Result<State, Refusal> {
    let malformed = Refusal(Failure::MalformedRequest, "");
    let text = std::str::from_utf8(data).map_err(|_| malformed)?;
    let mut parts = text.split('\0');
    let (Some(authzid), Some(name), Some(password), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(malformed);
    };
    if name.is_empty() || password.is_empty() {
        return Err(malformed);
    }
    let account = scram::account(name, domain)?;
    if !authzid.is_empty() {
        scram::same_account(authzid, &account)?;
    }
    Ok(State::Plain { account, password: password.to_owned() })
}
