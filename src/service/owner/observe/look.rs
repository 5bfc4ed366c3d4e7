//! Looks at one port as a stranger does, on many connections, each with little time. Nothing that is said can change anything there.

use super::chain::ChainSeen;
use super::raw_hello::{Chosen, FLIGHT_BYTES, Flight, RawHello, SSL3, TLS11, TLS12, WEAK, WeakKind};
use super::seen::{Audience, BeforeTlsSeen, ForeignAlpn, Offered, PortSeen, Protocols};
use super::talk::{STRANGER, Talk, Wire};
use crate::service::tls::{Meeting, NoMeeting, Protocol, Stranger, meet};
use crate::service::{host, random};
use crate::wire::punycode::a_labels;
use crate::wire::xml::escaped;
use crate::wire::{Node, Ns, Raw};
use rcgen::{CertificateParams, KeyPair};
use smol::future::{or, zip};
use smol::{Async, Timer};
use std::future::Future;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long one thing may take that is waited for.
pub const STEP: Duration = Duration::from_secs(4);
/// What is said before a login that no login needs, in bytes.
const LARGE_BYTES: usize = 100 * 1024;
/// A protocol of nobody.
const FOREIGN_ALPN: &[u8] = b"nobody";
/// `observer`, with the password `observer` (RFC 4616 §2).
const PLAIN_GUESS: &str = "AG9ic2VydmVyAG9ic2VydmVy";

/// A port to be looked at.
#[derive(Clone, Debug)]
pub struct PortLook {
    /// The domain that is to be there.
    pub domain: String,
    /// Names that its certificate should have besides.
    pub services: Vec<String>,
    /// Who connects.
    pub audience: Audience,
    /// Whether TLS comes first.
    pub direct: bool,
    /// Where.
    pub at: SocketAddr,
    /// Whether it is this very server.
    pub own: bool,
    /// When all must be done.
    pub until: Instant,
}

/// What the handshakes have shown.
#[derive(Default)]
struct Handshakes {
    tls13: Option<bool>,
    tls12: Option<bool>,
    chain: Vec<Vec<u8>>,
    protocols: Option<Protocols>,
    takes_other_name: Option<bool>,
    early_data: bool,
    inside: Option<Offered>,
    why: Option<String>,
}

/// What answers of bytes have shown.
#[derive(Default)]
struct RawAnswers {
    old: Vec<u16>,
    old_unseen: bool,
    weak: Vec<WeakKind>,
    suites_unseen: bool,
    strong: Option<Chosen>,
    chain: Vec<Vec<u8>>,
}

/// What has come of a hello of bytes.
enum Answer {
    Chosen(Chosen),
    /// An alert, an end, or what is no TLS.
    Refused,
    /// Nothing in time, or too much of it.
    Unseen,
}

impl PortLook {
    /// All that is to be seen there.
    pub async fn see(&self) -> PortSeen {
        let mut seen = PortSeen {
            place: self.at.to_string(),
            audience: self.audience,
            direct: self.direct,
            own: self.own,
            reached: Ok(()),
            before: None,
            tls13: None,
            tls12: None,
            old: Vec::new(),
            old_unseen: false,
            weak: Vec::new(),
            suites_unseen: false,
            compresses: false,
            renegotiates_safely: None,
            chain: None,
            protocols: None,
            takes_other_name: None,
            early_data: false,
            inside: None,
            nothing_inside: None,
            refuses_large: None,
            attempts: Vec::new(),
        };
        if let Err(why) = self.connect().await {
            seen.reached = Err(why);
            return seen;
        }
        if !self.direct {
            match self.before().await {
                Ok(before) => seen.before = Some(before),
                Err(why) => {
                    seen.reached = Err(why);
                    return seen;
                }
            }
            if seen.is_plain() {
                return seen;
            }
        }
        let tls = zip(self.handshakes(), self.raw_answers());
        let ((handshakes, raw), (large, attempts)) = zip(tls, zip(self.large(), self.attempts())).await;
        (seen.refuses_large, seen.attempts) = (large, attempts);
        seen.take(handshakes, raw, self);
        seen
    }

    /// In the time that one thing may take; `None`: it was late.
    pub async fn within<'a, T: 'a>(&'a self, work: impl Future<Output = T> + 'a) -> Option<T> {
        self.timed(Box::pin(work)).await
    }

    /// The same; apart, so that there is not one of it for each kind of work.
    async fn timed<'a, T>(&'a self, work: Pin<Box<dyn Future<Output = T> + 'a>>) -> Option<T> {
        let left = STEP.min(self.until.saturating_duration_since(Instant::now()));
        let late = async {
            Timer::after(left).await;
            None
        };
        or(async { Some(work.await) }, late).await
    }

    async fn connect(&self) -> Result<Async<TcpStream>, String> {
        match self.within(Async::<TcpStream>::connect(self.at)).await {
            Some(Ok(socket)) => Ok(socket),
            Some(Err(e)) => Err(format!("{} cannot be reached: {e}", self.at)),
            None => Err(format!("{} does not answer", self.at)),
        }
    }

    fn as_server(&self) -> bool {
        self.audience == Audience::Servers
    }

    /// A connection whose next byte is TLS's.
    async fn ready(&self) -> Result<Async<TcpStream>, String> {
        let socket = self.connect().await?;
        if self.direct {
            return Ok(socket);
        }
        let silent = || format!("{} does not go on to TLS", self.at);
        let mut talk = Talk::on(Wire::Plain(socket), Vec::new());
        let proceeds = self.within(async {
            talk.open(&self.domain, self.as_server()).await;
            while let Some(element) = talk.hear().await {
                if Offered::read(&element).is_some() {
                    talk.say("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await;
                } else {
                    return element.root().is(Ns::TLS, "proceed");
                }
            }
            false
        });
        let proceeds = proceeds.await.unwrap_or_default();
        match talk.wire {
            Wire::Plain(socket) if proceeds => Ok(socket),
            _ => Err(silent()),
        }
    }

    /// A stream before TLS, up to its features.
    async fn plain_stream(&self) -> Result<(Talk, Offered), String> {
        let mut talk = Talk::on(Wire::Plain(self.connect().await?), Vec::new());
        match self.within(self.begin(&mut talk)).await {
            Some(Some(offered)) => Ok((talk, offered)),
            Some(None) => Err(format!("what answers at {} speaks no XMPP with {}", self.at, self.domain)),
            None => Err(format!("{} says nothing", self.at)),
        }
    }

    async fn begin(&self, talk: &mut Talk) -> Option<Offered> {
        talk.open(&self.domain, self.as_server()).await;
        let element = talk.hear().await?;
        Offered::read(&element)
    }

    /// What is done before there is TLS.
    async fn before(&self) -> Result<BeforeTlsSeen, String> {
        let (mut talk, offered) = self.plain_stream().await?;
        let mut before = BeforeTlsSeen {
            starttls: offered.starttls,
            mechanisms: offered.mechanisms,
            registration: offered.registration,
            ..BeforeTlsSeen::default()
        };
        before.answers_stanza = self.answers(&mut talk, &self.ping()).await;
        if self.as_server() {
            return Ok(before);
        }
        // Who refuses a second stream has shown the first.
        if let Ok((mut talk, _)) = self.plain_stream().await {
            let guess =
                format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{PLAIN_GUESS}</auth>");
            let answer = self.within(async {
                talk.say(&guess).await;
                talk.hear().await
            });
            before.takes_password = answer.await.flatten().is_some_and(|answer| is_look_at_password(&answer));
        }
        Ok(before)
    }

    /// Something that is answered by who takes us for somebody.
    fn ping(&self) -> String {
        let to = escaped(&self.domain);
        let from = if self.as_server() { format!(" from='observer@{STRANGER}'") } else { String::new() };
        format!("<iq type='get' id='observed' to='{to}'{from}><ping xmlns='urn:xmpp:ping'/></iq>")
    }

    /// Whether that is answered as if it were allowed: with what was asked for, or by who has looked for it. That it is not allowed is
    /// said with an error of the stream, or with `<not-authorized/>`. Something else may be said before.
    async fn answers(&self, talk: &mut Talk, stanza: &str) -> bool {
        let heard = self.within(async {
            talk.say(stanza).await;
            while let Some(element) = talk.hear().await {
                if element.root().name() == "iq" {
                    return is_answer(&element);
                }
            }
            false
        });
        heard.await.unwrap_or_default()
    }

    /// The domain as TLS asks for it: an address is not asked for.
    fn asked(&self) -> Option<&str> {
        let inside = self.domain.trim_start_matches('[').trim_end_matches(']');
        inside.parse::<IpAddr>().is_err().then_some(&*self.domain)
    }

    fn protocol(&self) -> &'static [u8] {
        match self.audience {
            Audience::Apps => b"xmpp-client",
            Audience::Servers => b"xmpp-server",
            Audience::Browsers => b"http/1.1",
        }
    }

    /// Whether what both have agreed on is what this port is for.
    fn is_own(&self, agreed: Option<Protocol>) -> bool {
        let own = match self.audience {
            Audience::Apps => Protocol::Client,
            Audience::Servers => Protocol::Server,
            Audience::Browsers => Protocol::Web,
        };
        agreed == Some(own)
    }

    /// TLS there, in that time.
    ///
    /// # Errors
    /// When there is none so.
    pub async fn meet(&self, stranger: Stranger<'_>) -> Result<Meeting, NoMeeting> {
        let failed = |why: String| NoMeeting { of_protocol: false, refused: false, why };
        let socket = self.ready().await.map_err(failed)?;
        let late = || failed(format!("TLS at {} does not come to an end", self.at));
        self.within(meet(socket, stranger)).await.unwrap_or_else(|| Err(late()))
    }

    async fn handshakes(&self) -> Handshakes {
        let own = [self.protocol()];
        let protocols: &[&[u8]] = if self.direct { &own } else { &[] };
        let usual = Stranger { domain: self.asked(), protocols, ..Stranger::default() };
        let (new, old) = (self.meet(usual).await, self.meet(Stranger { old: true, ..usual }).await);
        let mut found = Handshakes { tls13: is_there(&new), tls12: is_there(&old), ..Handshakes::default() };
        let old_alone = new.is_err();
        let first = match new.or(old) {
            Ok(first) => first,
            Err(e) => return Handshakes { why: Some(e.why), ..found },
        };
        let agreed = self.is_own(first.protocol());
        found.chain.clone_from(&first.chain);
        let tickets = first.tickets.clone();
        let mut talk = Talk::on(Wire::Tls(Box::new(first.stream)), first.early);
        if self.audience != Audience::Browsers {
            found.inside = self.within(self.begin(&mut talk)).await.flatten();
            found.why = found.inside.is_none().then(|| "no features of a stream come".into());
        }
        found.early_data = tickets.take_early_data();
        let other = Stranger { domain: Some("nobody.invalid"), old: old_alone, ..usual };
        found.takes_other_name = is_there(&self.meet(other).await);
        if self.direct {
            let foreign = self.meet(Stranger { protocols: &[FOREIGN_ALPN], old: old_alone, ..usual }).await;
            let none = self.meet(Stranger { protocols: &[], old: old_alone, ..usual }).await;
            let foreign = match &foreign {
                Ok(met) if met.has_agreed() => Some(ForeignAlpn::Taken),
                Ok(_) => Some(ForeignAlpn::Ignored),
                Err(e) => e.refused.then_some(ForeignAlpn::Refused),
            };
            found.protocols = Some(Protocols { own: agreed, foreign, none: is_there(&none) });
        }
        found
    }

    /// The answer to a hello of bytes.
    async fn answer(&self, hello: &RawHello<'_>) -> Answer {
        let Ok(socket) = self.ready().await else { return Answer::Unseen };
        let mut wire = Wire::Plain(socket);
        let mut came = Vec::new();
        let read = self.within(async {
            if !wire.write(&hello.write()).await {
                return true;
            }
            while matches!(Flight::read(&came), Flight::Incomplete(_)) && came.len() < FLIGHT_BYTES {
                if wire.read(&mut came).await == 0 {
                    return true;
                }
            }
            false
        });
        let has_ended = read.await.unwrap_or_default();
        match Flight::read(&came) {
            Flight::Chosen(chosen) | Flight::Incomplete(Some(chosen)) => Answer::Chosen(chosen),
            Flight::Incomplete(None) if !has_ended => Answer::Unseen,
            Flight::Incomplete(None) | Flight::Refused => Answer::Refused,
        }
    }

    async fn raw_answers(&self) -> RawAnswers {
        let ascii = self.asked().map(a_labels);
        let name = ascii.as_deref();
        let random = random().unwrap_or([7; 32]);
        let mut found = RawAnswers::default();
        // A server takes the newest that it has of what it is offered: the next question is for what is older.
        let mut version = TLS11;
        loop {
            let answer = self.answer(&RawHello::old(version, name, random)).await;
            found.old_unseen = matches!(answer, Answer::Unseen);
            let Answer::Chosen(chosen) = answer else { break };
            if !(SSL3..=version).contains(&chosen.version) {
                break;
            }
            found.old.push(chosen.version);
            found.chain = chosen.chain;
            if chosen.version == SSL3 {
                break;
            }
            version = chosen.version - 1;
        }
        // The same with kinds of suites: what was chosen is not offered again.
        let mut kinds = WEAK.to_vec();
        while !kinds.is_empty() {
            let answer = self.answer(&RawHello::weak(&kinds, name, random)).await;
            found.suites_unseen = matches!(answer, Answer::Unseen);
            let Answer::Chosen(chosen) = answer else { break };
            let Some(weak) = chosen.weak().filter(|weak| chosen.version == TLS12 && kinds.contains(weak)) else {
                break;
            };
            found.weak.push(*weak);
            kinds.retain(|kind| kind != weak);
        }
        match self.answer(&RawHello::strong(name, random)).await {
            Answer::Chosen(chosen) => found.strong = Some(chosen).filter(|chosen| chosen.version == TLS12),
            Answer::Unseen => found.suites_unseen = true,
            Answer::Refused => {}
        }
        if let Some(strong) = found.strong.as_mut().filter(|_| found.chain.is_empty()) {
            found.chain = std::mem::take(&mut strong.chain);
        }
        found
    }

    /// A stream inside TLS, up to its features.
    async fn secure_stream(&self, identity: Option<&NobodysCertificate>) -> Option<(Talk, Offered)> {
        let own = [self.protocol()];
        let protocols: &[&[u8]] = if self.direct { &own } else { &[] };
        let identity = identity.map(|one| (one.certificate.as_slice(), one.key.as_slice()));
        let stranger = Stranger { domain: self.asked(), protocols, identity, old: false };
        let met = match self.meet(stranger).await {
            Ok(met) => met,
            Err(_) => self.meet(Stranger { old: true, ..stranger }).await.ok()?,
        };
        let mut talk = Talk::on(Wire::Tls(Box::new(met.stream)), met.early);
        let offered = self.within(self.begin(&mut talk)).await??;
        Some((talk, offered))
    }

    /// Whether something long is refused that no login needs.
    async fn large(&self) -> Option<bool> {
        if self.audience != Audience::Apps {
            return None;
        }
        let (mut talk, _) = self.secure_stream(None).await?;
        let text = "A".repeat(LARGE_BYTES);
        let ended = self.within(async {
            let all = format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{text}</auth>");
            if !talk.say(&all).await {
                return true;
            }
            talk.hear().await.is_none_or(|answer| answer.root().is(Ns::STREAM, "error"))
        });
        ended.await
    }

    /// What somebody tries who has proved nothing (RFC 6120 §13.7, XEP-0178, XEP-0220).
    async fn attempts(&self) -> Vec<(&'static str, bool)> {
        if !self.as_server() {
            return Vec::new();
        }
        let certificates = [
            ("a certificate that is signed by itself", NobodysCertificate::new(STRANGER, false)),
            ("a certificate that has expired", NobodysCertificate::new(STRANGER, true)),
            ("a certificate for another name", NobodysCertificate::new("another.invalid", false)),
        ];
        let mut attempts = Vec::new();
        for (what, identity) in certificates {
            let Some(identity) = identity else { continue };
            attempts.push((what, self.external(&identity).await));
        }
        if let Some((mut talk, _)) = self.secure_stream(None).await {
            attempts.push(("a stanza before any proof", self.answers(&mut talk, &self.ping()).await));
        }
        if let Some((mut talk, _)) = self.secure_stream(None).await {
            attempts.push(("a forged key of dialback", self.dialback(&mut talk).await));
        }
        attempts
    }

    async fn external(&self, identity: &NobodysCertificate) -> bool {
        let Some((mut talk, _)) = self.secure_stream(Some(identity)).await else { return false };
        let heard = self.within(async {
            talk.say("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>").await;
            talk.hear().await
        });
        heard.await.flatten().is_some_and(|answer| answer.root().is(Ns::SASL, "success"))
    }

    async fn dialback(&self, talk: &mut Talk) -> bool {
        let heard = self.within(async {
            talk.say(&format!(
                "<db:result from='{STRANGER}' to='{}'>0123456789abcdef</db:result>",
                escaped(&self.domain)
            ))
            .await;
            talk.hear().await
        });
        let is_valid = |answer: Arc<Raw>| {
            answer.root().is(Ns::DIALBACK, "result") && answer.root().attr("type").as_deref() == Some("valid")
        };
        heard.await.flatten().is_some_and(is_valid)
    }
}

impl PortSeen {
    fn take(&mut self, handshakes: Handshakes, raw: RawAnswers, look: &PortLook) {
        let chain = if handshakes.chain.is_empty() { raw.chain } else { handshakes.chain };
        self.chain = ChainSeen::of(&chain, &look.domain, &look.services, host::now());
        (self.tls13, self.tls12) = (handshakes.tls13, raw.strong.as_ref().map(|_| true).or(handshakes.tls12));
        (self.old, self.weak) = (raw.old, raw.weak);
        (self.old_unseen, self.suites_unseen) = (raw.old_unseen, raw.suites_unseen);
        self.compresses = raw.strong.as_ref().is_some_and(|chosen| chosen.compresses);
        self.renegotiates_safely = raw.strong.map(|chosen| chosen.renegotiates_safely);
        (self.protocols, self.takes_other_name) = (handshakes.protocols, handshakes.takes_other_name);
        (self.early_data, self.inside) = (handshakes.early_data, handshakes.inside);
        if !self.has_tls() && self.old.is_empty() && self.weak.is_empty() {
            self.reached = Err(handshakes.why.unwrap_or_else(|| format!("there is no TLS at {}", self.place)));
        } else if self.audience != Audience::Browsers && self.has_tls() {
            self.nothing_inside = handshakes.why;
        }
    }
}

/// Whether there is what was tried; `None`: it was not answered.
fn is_there(met: &Result<Meeting, NoMeeting>) -> Option<bool> {
    match met {
        Ok(_) => Some(true),
        Err(e) => e.refused.then_some(false),
    }
}

/// Whether that is said by who has done, or looked for, what an `<iq/>` asks for.
fn is_answer(iq: &Raw) -> bool {
    let root = iq.root();
    let is_refusal = |error: Node<'_>| error.child(Ns::STANZAS, "not-authorized").is_some();
    match root.attr("type").as_deref() {
        Some("result") => true,
        Some("error") => !root.children().any(is_refusal),
        _ => false,
    }
}

/// Whether that is said by who has looked at a password.
fn is_look_at_password(answer: &Raw) -> bool {
    let root = answer.root();
    let judged = |condition: &str| root.child(Ns::SASL, condition).is_some();
    root.is(Ns::SASL, "success")
        || root.is(Ns::SASL, "failure") && (judged("not-authorized") || judged("account-disabled"))
}

/// A certificate of nobody.
struct NobodysCertificate {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl NobodysCertificate {
    fn new(name: &str, expired: bool) -> Option<NobodysCertificate> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).ok()?;
        if expired {
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(2002, 1, 1));
        }
        let key = KeyPair::generate().ok()?;
        let made = params.self_signed(&key).ok()?;
        Some(NobodysCertificate { certificate: made.der().to_vec(), key: key.serialize_der() })
    }
}
