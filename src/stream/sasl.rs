//! SASL on the server side, in both profiles (RFC 6120 §6, XEP-0388): SCRAM with channel binding and its downgrade check, PLAIN
//! where it is allowed, and the proof of a token (XEP-0484).

use super::random::Random;
use super::sasl2::{self, Profile};
use super::scram::{self, First, Second};
use super::{Event, Terms, Tls};
use crate::wire::login::{Begin, Begun, Ht, Proof, Refused, Request, Upgrade};
use crate::wire::scram::{Credentials, Hash, Keys, SALT_BYTES};
use crate::wire::{Jid, Ns, Raw, StreamCondition, StreamError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::sync::Arc;

/// How often a client may fail on one stream (RFC 6120 §6.4.5 asks for two to five retries).
pub const ATTEMPTS: u8 = 4;
/// How often it may be told besides that a mechanism is not for it: some go through all they know, once with each hash and each kind
/// of channel binding, before they come to one that works.
pub const MECHANISMS: u8 = 12;

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
pub(super) struct SaslRefusal(pub(super) Failure, pub(super) &'static str);

impl SaslRefusal {
    /// Whether it is of the mechanism, before anything was proven with it: there may be another one that works.
    fn is_of_mechanism(self) -> bool {
        matches!(self.0, Failure::InvalidMechanism | Failure::MechanismTooWeak)
            || matches!(self.1, scram::OTHER_BINDING | scram::NOT_SEEN)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mechanism {
    Scram {
        hash: Hash,
        plus: bool,
    },
    Plain,
    /// Of a token; offered apart from the others (XEP-0484 §3.1).
    Ht(Ht),
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
            Mechanism::Ht(ht) => ht.as_str(),
        }
    }
}

/// The mechanisms for a token that are offered, the strongest first.
pub(super) fn offered_ht(tls: &Tls) -> impl Iterator<Item = Ht> {
    Ht::ALL.into_iter().filter(|ht| ht_binding(*ht, tls).is_some())
}

/// What such a mechanism binds to on this connection.
fn ht_binding(ht: Ht, tls: &Tls) -> Option<&[u8]> {
    match ht {
        Ht::Exporter => tls.exporter.as_ref().map(|bytes| &bytes[..]),
        Ht::EndPoint => Some(&tls.end_point),
        Ht::None => Some(&[]),
    }
}

/// Appends the stream features: the mechanisms (RFC 6120 §6.4.1, XEP-0388 §2.1) and the types of channel binding (XEP-0440).
pub(super) fn write_features(terms: &Terms, tls: &Tls, out: &mut String) {
    let mut mechanisms = String::new();
    for mechanism in Mechanism::offered(terms) {
        mechanisms.push_str("<mechanism>");
        mechanisms.push_str(mechanism.as_str());
        mechanisms.push_str("</mechanism>");
    }
    out.push_str("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>");
    out.push_str(&mechanisms);
    out.push_str("</mechanisms>");
    sasl2::write_feature(&mechanisms, terms, tls, out);
    out.push_str("<sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'>");
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
    state: SaslState,
    /// That of the attempt which is under way, or was the last.
    profile: Profile,
    /// What was asked for with the proof (XEP-0388 §2.3).
    request: Option<Request>,
    /// Upgrades that are still to come (XEP-0480), and what was made of those before.
    tasks: Vec<Hash>,
    upgrade: Option<Upgrade>,
    failed: u8,
    /// The same, because the mechanism was not for them.
    unfit: u8,
    /// Who has proved to have seen the offer, though not in a way that lets in.
    saw: Option<Jid>,
}

enum SaslState {
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
    /// An upgrade was proposed.
    Proposed(Jid, Hash),
    /// What the password makes of this salt is awaited.
    Salted(Jid, Hash, Box<[u8]>),
    /// All is proven, and [`Event::Begin`] is to be told; the mechanism's last words.
    Proven(Jid, Option<String>),
    /// The answer to [`Event::Begin`] is awaited. `token`: it proves something, too.
    Begins { account: Jid, data: Option<String>, token: bool },
}

/// What an attempt has to do with.
pub(super) struct Around<'a> {
    pub(super) terms: &'a Terms,
    pub(super) tls: &'a Tls,
    /// Who the client said it is when it opened the stream.
    pub(super) from: Option<&'a Jid>,
    pub(super) random: &'a mut Random,
    pub(super) out: &'a mut String,
}

impl fmt::Debug for Sasl {
    /// No secrets in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sasl({} failed)", self.failed)
    }
}

impl Sasl {
    pub(super) fn new() -> Sasl {
        Sasl {
            state: SaslState::Idle,
            profile: Profile::Rfc6120,
            request: None,
            tasks: Vec::new(),
            upgrade: None,
            failed: 0,
            unfit: 0,
            saw: None,
        }
    }

    /// Whether [`Sasl::credentials`], [`Sasl::refuse`] or [`Sasl::begun`] has to come first.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, SaslState::Plain { .. } | SaslState::First(_) | SaslState::Begins { .. })
    }

    /// Whether no attempt is under way.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, SaslState::Idle)
    }

    /// Whether an attempt is under way that nothing else may come between, no white space either (XEP-0388 §2.4).
    pub(super) fn is_strict(&self) -> bool {
        !self.is_idle() && self.profile == Profile::Sasl2
    }

    /// The profile of the last attempt.
    pub(super) fn profile(&self) -> Profile {
        self.profile
    }

    /// Whether they failed too often.
    pub(super) fn is_exhausted(&self) -> bool {
        self.failed >= ATTEMPTS || self.unfit >= MECHANISMS
    }

    /// An element of one of the profiles; answers it.
    ///
    /// # Errors
    /// For what must not be said now (XEP-0388 §2.4, §4.8).
    pub(super) fn element(&mut self, raw: &Arc<Raw>, around: &mut Around<'_>) -> Result<Option<Event>, StreamError> {
        let profile = if raw.root().ns() == Ns::SASL2 { Profile::Sasl2 } else { Profile::Rfc6120 };
        if self.is_idle() {
            self.profile = profile;
        }
        let name = raw.root().name();
        let fits = match &self.state {
            SaslState::Idle => !matches!(name, "next" | "task-data"),
            SaslState::Proposed(..) => matches!(name, "next" | "abort"),
            SaslState::Salted(..) => matches!(name, "task-data" | "abort"),
            _ => matches!(name, "response" | "abort") || profile == Profile::Rfc6120,
        };
        if profile != self.profile || !fits {
            let text = "this must not be said during authentication";
            return Err(StreamError::new(StreamCondition::PolicyViolation).text(text));
        }
        let state = std::mem::replace(&mut self.state, SaslState::Idle);
        let account = state.account().cloned();
        Ok(match self.advance(state, raw, around) {
            Ok(event) => event,
            Err(refusal) => Some(self.fail(refusal, account, around.out)),
        })
    }

    fn advance(
        &mut self,
        state: SaslState,
        raw: &Arc<Raw>,
        around: &mut Around<'_>,
    ) -> Result<Option<Event>, SaslRefusal> {
        let node = raw.root();
        match (node.name(), state) {
            ("auth" | "authenticate", SaslState::Idle) => {
                let name = node.attr("mechanism").ok_or(SaslRefusal(Failure::MalformedRequest, "no mechanism"))?;
                let mut mechanisms = Mechanism::offered(around.terms);
                let mut mechanism = mechanisms.find(|mechanism| mechanism.as_str() == name);
                let mut data = Some(node.text()).filter(|text| !text.is_empty());
                if self.profile == Profile::Sasl2 {
                    let request = Request::new(raw.clone());
                    if request.fast().is_some() {
                        let ht = offered_ht(around.tls).find(|ht| ht.as_str() == name);
                        mechanism = mechanism.or(ht.map(Mechanism::Ht));
                    }
                    data = node.child(Ns::SASL2, "initial-response").map(|child| child.text());
                    self.request = Some(request);
                }
                let mechanism = mechanism.ok_or(SaslRefusal(Failure::InvalidMechanism, ""))?;
                match data {
                    Some(data) => self.begin(mechanism, &self.profile.decode(&data)?, around),
                    None => {
                        self.profile.write_challenge("", around.out);
                        self.state = SaslState::Started(mechanism);
                        Ok(None)
                    }
                }
            }
            ("response", SaslState::Started(mechanism)) => {
                let data = self.profile.decode(&node.text())?;
                self.begin(mechanism, &data, around)
            }
            ("response", SaslState::Second(second)) => {
                let last = second.check(&self.profile.decode(&node.text())?)?;
                if second.is_unbound() {
                    self.saw = Some(second.account);
                    return Err(SaslRefusal(Failure::MalformedRequest, scram::OTHER_BINDING));
                }
                Ok(self.proven(second.account, Some(last), around.out))
            }
            ("next", SaslState::Proposed(account, hash)) => {
                if node.attr("task").as_deref() != Some(sasl2::task(hash)) {
                    return Err(SaslRefusal(Failure::MalformedRequest, "this task was not proposed"));
                }
                let salt = STANDARD.decode(around.random.token()).unwrap_or_default();
                let salt: Box<[u8]> = salt.into_iter().take(SALT_BYTES).collect();
                sasl2::write_salt(&salt, around.terms.upgrades, around.out);
                self.state = SaslState::Salted(account, hash, salt);
                Ok(None)
            }
            ("task-data", SaslState::Salted(account, hash, salt)) => {
                let salted = node.child(Ns::SCRAM_UPGRADE, "hash").map(|child| child.text());
                let salted = salted.ok_or(SaslRefusal(Failure::MalformedRequest, "no hash"))?;
                let keys = Keys::of_salted(hash, &self.profile.decode(&salted)?, &salt, around.terms.upgrades);
                let keys = keys.ok_or(SaslRefusal(Failure::MalformedRequest, "the hash has a wrong length"))?;
                if let Some(upgrade) = &mut self.upgrade {
                    upgrade.keys.push((hash, keys));
                }
                Ok(self.proven(account, None, around.out))
            }
            ("abort", _) => Err(SaslRefusal(Failure::Aborted, "")),
            _ => Err(SaslRefusal(Failure::MalformedRequest, "out of order")),
        }
    }

    /// The client's first message.
    fn begin(&mut self, mechanism: Mechanism, data: &[u8], around: &Around<'_>) -> Result<Option<Event>, SaslRefusal> {
        let domain = &around.terms.domain;
        let (state, event) = match mechanism {
            Mechanism::Scram { hash, plus } => {
                let first = First::read(data, hash, plus, self.saw.as_ref(), domain, around.tls)?;
                let account = first.account.clone();
                (SaslState::First(first), Event::Credentials(account))
            }
            Mechanism::Plain => {
                let (account, password) = plain(data, domain)?;
                (SaslState::Plain { account: account.clone(), password }, Event::Credentials(account))
            }
            Mechanism::Ht(ht) => {
                let (account, hash) = sasl2::read_token(data, domain)?;
                let binding = ht_binding(ht, around.tls).unwrap_or_default();
                let proof = Proof { mechanism: ht, hash: hash.into(), binding: binding.into() };
                let begin = self.asked(account.clone(), Some(proof), around.tls);
                let begin = begin.ok_or(SaslRefusal(Failure::MalformedRequest, ""))?;
                if begin.request.client().is_none() {
                    return Err(SaslRefusal(Failure::MalformedRequest, "a token is of a client that has an id"));
                }
                (SaslState::Begins { account, data: None, token: true }, Event::Begin(Box::new(begin)))
            }
        };
        // XEP-0388 §2.3, and also where no other authorization identity is asked for.
        if self.profile == Profile::Sasl2 && around.from.is_some_and(|from| state.account() != Some(from)) {
            return Err(SaslRefusal(Failure::InvalidAuthzid, "the stream is from somebody else"));
        }
        self.state = state;
        Ok(Some(event))
    }

    /// The answer to [`Event::Credentials`].
    pub(super) fn credentials(&mut self, credentials: Credentials, around: &mut Around<'_>) -> Option<Event> {
        let state = std::mem::replace(&mut self.state, SaslState::Idle);
        if matches!(state, SaslState::Plain { .. } | SaslState::First(_)) {
            let request = self.request.as_ref().filter(|_| self.profile == Profile::Sasl2);
            self.tasks = request.map_or(Vec::new(), |r| sasl2::tasks(r, &credentials, around.terms.upgrades));
            let of = || credentials.sha256.stored.clone();
            self.upgrade = (!self.tasks.is_empty()).then(|| Upgrade { of: of(), keys: Vec::new() });
        }
        match state {
            SaslState::Plain { account, password } => {
                // This takes the time of one SCRAM login of a client (milliseconds), and stays on the connection's thread on
                // purpose: PLAIN is off unless set, and a pool of threads would let guessers take all cores at once.
                if !credentials.check(&password) {
                    return Some(self.fail(SaslRefusal(Failure::NotAuthorized, ""), Some(account), around.out));
                }
                self.proven(account, None, around.out)
            }
            SaslState::First(first) => {
                let (hash, keys) = match first.hash() {
                    Hash::Sha1 => (Hash::Sha1, credentials.sha1),
                    Hash::Sha256 => (Hash::Sha256, credentials.sha256),
                };
                let offered = hash.digest(offer_text(around.terms, around.tls).as_bytes());
                let (second, message) = first.challenge(keys, &around.random.token(), Some(&offered));
                self.profile.write_challenge(&message, around.out);
                self.state = SaslState::Second(second);
                None
            }
            other => {
                self.state = other;
                None
            }
        }
    }

    /// The password was right, and a task is done or there was none.
    fn proven(&mut self, account: Jid, data: Option<String>, out: &mut String) -> Option<Event> {
        if self.profile == Profile::Rfc6120 {
            write_success(data.as_deref(), out);
            return Some(Event::Authenticated(account));
        }
        if let Some(hash) = self.tasks.pop() {
            sasl2::write_continue(data.as_deref(), hash, out);
            self.state = SaslState::Proposed(account, hash);
            return None;
        }
        self.state = SaslState::Proven(account.clone(), data);
        Some(Event::Authenticated(account))
    }

    /// What was asked for with the proof, once.
    fn asked(&mut self, account: Jid, proof: Option<Proof>, tls: &Tls) -> Option<Begin> {
        let request = self.request.take()?;
        let token = request.wants_token().filter(|ht| ht_binding(*ht, tls).is_some());
        let upgrade = self.upgrade.take().filter(|_| proof.is_none());
        Some(Begin { account, request, proof, token, upgrade })
    }

    /// What is to be told when all is proven.
    pub(super) fn take_begin(&mut self, tls: &Tls) -> Option<Event> {
        if !matches!(self.state, SaslState::Proven(..)) {
            return None;
        }
        let SaslState::Proven(account, data) = std::mem::replace(&mut self.state, SaslState::Idle) else { return None };
        let begin = self.asked(account.clone(), None, tls)?;
        self.state = SaslState::Begins { account, data, token: false };
        Some(Event::Begin(Box::new(begin)))
    }

    /// The answer to [`Event::Begin`].
    pub(super) fn begun(&mut self, answer: &Result<Begun, Refused>, out: &mut String) -> Option<Event> {
        if !matches!(self.state, SaslState::Begins { .. }) {
            return None;
        }
        let SaslState::Begins { account, data, token } = std::mem::replace(&mut self.state, SaslState::Idle) else {
            return None;
        };
        match answer {
            Ok(begun) => {
                let data = begun.proof.as_deref().or(data.as_deref().map(str::as_bytes));
                sasl2::write_success(data, begun, out);
                token.then_some(Event::Authenticated(account))
            }
            Err(refused) => {
                let failure = match refused {
                    Refused::NotAuthorized => Failure::NotAuthorized,
                    Refused::Expired => Failure::CredentialsExpired,
                    Refused::Trouble => Failure::TemporaryAuthFailure,
                };
                Some(self.fail(SaslRefusal(failure, ""), Some(account), out))
            }
        }
    }

    /// The other answer to [`Event::Credentials`]: none will come.
    pub(super) fn refuse(&mut self, failure: Failure, out: &mut String) -> Option<Event> {
        if !matches!(self.state, SaslState::Plain { .. } | SaslState::First(_)) {
            return None;
        }
        let state = std::mem::replace(&mut self.state, SaslState::Idle);
        Some(self.fail(SaslRefusal(failure, ""), state.account().cloned(), out))
    }

    fn fail(&mut self, refusal: SaslRefusal, account: Option<Jid>, out: &mut String) -> Event {
        self.state = SaslState::Idle;
        self.request = None;
        let count = if refusal.is_of_mechanism() { &mut self.unfit } else { &mut self.failed };
        *count = count.saturating_add(1);
        self.profile.write_failure(refusal, out);
        Event::Failed(account.filter(|_| refusal.0 == Failure::NotAuthorized))
    }
}

impl SaslState {
    fn account(&self) -> Option<&Jid> {
        match self {
            SaslState::Idle | SaslState::Started(_) => None,
            SaslState::Plain { account, .. } | SaslState::Begins { account, .. } => Some(account),
            SaslState::Proposed(account, _) | SaslState::Salted(account, ..) | SaslState::Proven(account, _) => {
                Some(account)
            }
            SaslState::First(first) => Some(&first.account),
            SaslState::Second(second) => Some(&second.account),
        }
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
fn plain(data: &[u8], domain: &Jid) -> Result<(Jid, String), SaslRefusal> {
    let malformed = SaslRefusal(Failure::MalformedRequest, "");
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
    Ok((account, password.to_owned()))
}
