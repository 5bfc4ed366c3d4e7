//! Accounts, and how a client of one comes online: TLS, SASL, resource binding, roster, presence.

use super::net::Net;
use super::split::{attribute, between, has, text};
use super::{Result, Target};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};
use std::collections::HashMap;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

/// How long a server may be silent.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Everybody's.
pub const PASSWORD: &str = "correct horse battery staple";
/// Logins under way at the same time.
pub const AT_ONCE: usize = 8;

/// What a client does when it logs in.
#[derive(Clone, Copy, Default)]
pub struct Manner {
    /// Stream management with resumption.
    pub managed: bool,
    /// What it tells the archive to keep: `always` or `never`.
    pub keep: Option<&'static str>,
    /// It is only there for the room that every client of the bare relay is in.
    pub crowd: bool,
}

/// A client that is online.
#[derive(Clone)]
pub struct Session {
    pub id: usize,
    pub user: usize,
}

enum Step {
    Features,
    Challenge { bare: String },
    Success,
    Bind,
    Bound,
    Last,
}

struct Login {
    step: Step,
    user: usize,
    began: Instant,
    manner: Manner,
}

/// Logins under way.
pub struct Logins<'a> {
    target: &'a Target,
    under_way: HashMap<usize, Login>,
    /// SCRAM's ClientKey by user, salt and iterations: computed once, as a good client does.
    keys: HashMap<(usize, String, u32), hmac::Tag>,
    nonce: u64,
    /// A stanza of one of them ended a login: how long it took.
    pub took: Duration,
}

impl<'a> Logins<'a> {
    pub fn new(target: &'a Target) -> Logins<'a> {
        Logins { target, under_way: HashMap::new(), keys: HashMap::new(), nonce: 0, took: Duration::ZERO }
    }

    pub fn under_way(&self) -> usize {
        self.under_way.len()
    }

    fn header(&self) -> String {
        let domain = &self.target.domain;
        format!(
            "<?xml version='1.0'?><stream:stream to='{domain}' version='1.0' xmlns='jabber:client' \
             xmlns:stream='http://etherx.jabber.org/streams'>"
        )
    }

    /// Connects as the user with this number.
    pub fn begin(&mut self, net: &mut Net, user: usize, manner: Manner) -> Result<usize> {
        let began = Instant::now();
        let id = net.connect(self.target.address, &self.target.domain)?;
        let step = if self.target.relay {
            let room = if manner.crowd { "room" } else { "pair" };
            net.send(id, format!("<hello user='{user}' to='{room}'/>").as_bytes());
            Step::Last
        } else {
            net.send(id, self.header().as_bytes());
            Step::Features
        };
        self.under_way.insert(id, Login { step, user, began, manner });
        Ok(id)
    }

    /// Takes a stanza of any connection; a session when that ended a login.
    pub fn take(&mut self, net: &mut Net, id: usize, stanza: &[u8]) -> Result<Option<Session>> {
        let Some(mut login) = self.under_way.remove(&id) else { return Ok(None) };
        let refused = stanza.is_empty()
            || stanza.starts_with(b"<stream:error")
            || stanza.starts_with(b"<failure")
            || stanza.starts_with(b"<failed");
        if refused {
            let said = String::from_utf8_lossy(stanza);
            return Err(format!("{} cannot log in: {said}", self.target.jid(login.user)).into());
        }
        match &login.step {
            Step::Features if stanza.starts_with(b"<stream:features") => {
                let name = self.target.user(login.user);
                if has(stanza, ">SCRAM-SHA-1<") {
                    self.nonce += 1;
                    let bare = format!("n={name},r={:08x}{:016x}", std::process::id(), self.nonce);
                    let first = STANDARD.encode(format!("n,,{bare}"));
                    net.send(id, auth("SCRAM-SHA-1", &first).as_bytes());
                    login.step = Step::Challenge { bare };
                } else {
                    net.send(id, auth("PLAIN", &STANDARD.encode(format!("\0{name}\0{PASSWORD}"))).as_bytes());
                    login.step = Step::Success;
                }
            }
            Step::Challenge { bare } if stanza.starts_with(b"<challenge") => {
                let challenge = text(stanza, "challenge").unwrap_or_default();
                let challenge = String::from_utf8(STANDARD.decode(challenge)?)?;
                let answer = self.answer(login.user, bare, &challenge).ok_or("a strange challenge")?;
                let answer = STANDARD.encode(answer);
                net.send(
                    id,
                    format!("<response xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>{answer}</response>").as_bytes(),
                );
                login.step = Step::Success;
            }
            Step::Success if stanza.starts_with(b"<success") => {
                net.send(id, self.header().as_bytes());
                login.step = Step::Bind;
            }
            Step::Bind if stanza.starts_with(b"<stream:features") => {
                net.send(id, b"<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>");
                login.step = Step::Bound;
            }
            Step::Bound if attribute(stanza, "id") == Some("bind") => {
                if attribute(stanza, "type") != Some("result") {
                    return Err(format!("bind: {}", String::from_utf8_lossy(stanza)).into());
                }
                let mut all = String::new();
                if login.manner.managed {
                    all += "<enable xmlns='urn:xmpp:sm:3' resume='true'/>";
                }
                all += "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
                if let Some(keep) = login.manner.keep {
                    all += &format!(
                        "<iq type='set' id='prefs'><prefs xmlns='urn:xmpp:mam:2' default='{keep}'><always/><never/></prefs></iq>"
                    );
                }
                all += "<presence/>";
                all +=
                    &format!("<iq type='get' id='last' to='{}'><ping xmlns='urn:xmpp:ping'/></iq>", self.target.domain);
                net.send(id, all.as_bytes());
                login.step = Step::Last;
            }
            Step::Last if stanza.starts_with(b"<enabled") => net.count(id),
            Step::Last if attribute(stanza, "id") == Some("prefs") && attribute(stanza, "type") != Some("result") => {
                return Err(format!("the archive's preferences: {}", String::from_utf8_lossy(stanza)).into());
            }
            Step::Last if attribute(stanza, "id") == Some("last") || stanza.starts_with(b"<hello") => {
                self.took = login.began.elapsed();
                return Ok(Some(Session { id, user: login.user }));
            }
            _ => {}
        }
        self.under_way.insert(id, login);
        Ok(None)
    }

    /// The client's last message of SCRAM (RFC 5802 §5). The server's signature is not looked at: this client trusts everybody.
    fn answer(&mut self, user: usize, bare: &str, challenge: &str) -> Option<String> {
        let of = |name: &str| challenge.split(',').find_map(|field| field.strip_prefix(name));
        let (nonce, salt, iterations) = (of("r=")?, of("s=")?, of("i=")?.parse::<u32>().ok()?);
        let key = match self.keys.get(&(user, salt.to_owned(), iterations)) {
            Some(key) => *key,
            None => {
                let mut salted = [0; digest::SHA1_OUTPUT_LEN];
                let plain = STANDARD.decode(salt).ok()?;
                let algorithm = pbkdf2::PBKDF2_HMAC_SHA1;
                pbkdf2::derive(algorithm, NonZeroU32::new(iterations)?, &plain, PASSWORD.as_bytes(), &mut salted);
                let key = sha1_mac(&salted, b"Client Key");
                self.keys.insert((user, salt.to_owned(), iterations), key);
                key
            }
        };
        let stored = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.as_ref());
        let end = format!("c=biws,r={nonce}");
        let signature = sha1_mac(stored.as_ref(), format!("{bare},{challenge},{end}").as_bytes());
        let proof: Vec<u8> = key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        Some(format!("{end},p={}", STANDARD.encode(proof)))
    }
}

fn sha1_mac(key: &[u8], data: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), data)
}

fn auth(mechanism: &str, first: &str) -> String {
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='{mechanism}'>{first}</auth>")
}

/// Brings these users online; their sessions, in the same order.
pub fn log_in(net: &mut Net, target: &Target, users: &[usize], manner: Manner) -> Result<Vec<Session>> {
    let mut logins = Logins::new(target);
    let mut sessions: HashMap<usize, Session> = HashMap::new();
    let mut order = Vec::new();
    let mut waiting = users.iter();
    for user in waiting.by_ref().take(AT_ONCE) {
        order.push(logins.begin(net, *user, manner)?);
    }
    net.until(PATIENCE, "the logins", &mut |net, id, stanza| {
        if let Some(session) = logins.take(net, id, stanza)? {
            sessions.insert(id, session);
            if let Some(user) = waiting.next() {
                order.push(logins.begin(net, *user, manner)?);
            }
        }
        Ok(sessions.len() == users.len())
    })?;
    Ok(order.into_iter().filter_map(|id| sessions.remove(&id)).collect())
}

/// Ends these sessions, and waits until the server has.
pub fn log_out(net: &mut Net, sessions: &[Session]) -> Result<()> {
    for session in sessions {
        net.quit(session.id);
    }
    let mut left = net.len().min(sessions.len());
    if left == 0 {
        return Ok(());
    }
    net.until(PATIENCE, "the farewells", &mut |net, id, stanza| {
        if stanza == b"</stream:stream>" {
            net.drop(id);
            left -= 1;
        } else if stanza.is_empty() {
            left -= 1;
        }
        Ok(left == 0)
    })
}

/// Asks something by an `iq` to this address, or to nobody; the answer, which may be an error.
pub fn ask(net: &mut Net, id: usize, kind: &str, to: &str, payload: &str) -> Result<Vec<u8>> {
    let to = if to.is_empty() { String::new() } else { format!(" to='{to}'") };
    net.send(id, format!("<iq type='{kind}' id='ask'{to}>{payload}</iq>").as_bytes());
    let mut answer = Vec::new();
    net.until(PATIENCE, "an answer", &mut |_, from, stanza| {
        let is = from == id && stanza.starts_with(b"<iq") && attribute(stanza, "id") == Some("ask");
        if is {
            answer = stanza.to_vec();
        }
        Ok(is)
    })?;
    Ok(answer)
}

/// Makes accounts by in-band registration (XEP-0077); those that are there are left as they are.
pub fn register(net: &mut Net, target: &Target, users: &[usize]) -> Result<()> {
    let header = Logins::new(target).header();
    let mut names = HashMap::new();
    let mut waiting = users.iter();
    let mut begin = |net: &mut Net, names: &mut HashMap<usize, usize>| -> Result<()> {
        if let Some(user) = waiting.next() {
            let id = net.connect(target.address, &target.domain)?;
            net.send(id, header.as_bytes());
            names.insert(id, *user);
        }
        Ok(())
    };
    for _ in 0..AT_ONCE {
        begin(net, &mut names)?;
    }
    let mut left = users.len();
    net.until(PATIENCE, "the registrations", &mut |net, id, stanza| {
        if stanza.starts_with(b"<stream:features") {
            let name = target.user(names[&id]);
            let query = format!("<username>{name}</username><password>{PASSWORD}</password>");
            net.send(
                id,
                format!("<iq type='set' id='new'><query xmlns='jabber:iq:register'>{query}</query></iq>").as_bytes(),
            );
        } else if stanza.starts_with(b"<iq") {
            if attribute(stanza, "type") != Some("result") && !has(stanza, "<conflict") {
                let said =
                    between(stanza, "<error", b'\0').map_or_else(|| String::from_utf8_lossy(stanza), |s| s.into());
                return Err(format!("{} cannot be made: {said}", target.jid(names[&id])).into());
            }
            net.quit(id);
            left -= 1;
            begin(net, &mut names)?;
        } else if stanza.starts_with(b"<stream:error") {
            return Err(String::from_utf8_lossy(stanza).into());
        }
        Ok(left == 0)
    })
}
