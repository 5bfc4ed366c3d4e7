//! A real server at an address, with the same handles as the house in memory: so that a play can be run on the program itself,
//! or on another server to see what that does. Clients are bare sockets with TLS, which believe any certificate.

use super::{DOMAIN, Stage};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use inglenook::core::StreamId;
use inglenook::wire::Jid;
use inglenook::wire::framer::{Frame, Framer, Limits};
use inglenook::wire::scram::Hash;
use ring::pbkdf2;
use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroU32;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

#[path = "../../examples/load/anyone.rs"]
mod anyone;

/// Nothing that is asked of a server takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
const LIMITS: Limits = Limits { element_bytes: 1 << 24, depth: 1000, elements: 100_000, attributes: 1000 };

/// A server somewhere.
pub struct Remote {
    /// `ADDRESS:PORT`, for STARTTLS.
    address: String,
    /// A shell command that makes an account; `{user}`, `{domain}` and `{password}` stand for those.
    add: String,
    clients: BTreeMap<StreamId, Client>,
    /// Somebody who takes no part: whose changes are stored behind those of the others.
    observer: Option<Client>,
    accounts: Vec<String>,
    next: u64,
}

struct Client {
    tls: StreamOwned<ClientConnection, TcpStream>,
    framer: Framer,
    jid: Option<Jid>,
    inbox: VecDeque<String>,
    closed: bool,
}

impl Remote {
    /// The server at an address.
    pub fn new(address: &str, add: &str) -> Remote {
        let mut remote = Remote {
            address: address.to_owned(),
            add: add.to_owned(),
            clients: BTreeMap::new(),
            observer: None,
            accounts: Vec::new(),
            next: 0,
        };
        let sid = remote.login(&format!("observer@{DOMAIN}/observer"));
        remote.observer = remote.clients.remove(&sid);
        remote
    }

    fn header() -> String {
        format!(
            "<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
        )
    }

    /// A connection behind TLS and the first features.
    fn connect(&self) -> Client {
        let mut socket = TcpStream::connect(&self.address).expect("the server listens");
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.write_all(Remote::header().as_bytes()).unwrap();
        let mut plain = String::new();
        let mut wait = |socket: &mut TcpStream, text: &str| {
            let mut byte = [0];
            while !plain.ends_with(text) {
                assert_eq!(socket.read(&mut byte).unwrap(), 1, "the end, after {plain}");
                plain.push(byte[0] as char);
            }
        };
        wait(&mut socket, "</stream:features>");
        socket.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").unwrap();
        wait(&mut socket, "<proceed");
        wait(&mut socket, ">");
        let provider = Arc::new(default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(anyone::Anyone(provider)))
            .with_no_client_auth();
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from(DOMAIN).unwrap()).unwrap();
        let tls = StreamOwned::new(tls, socket);
        Client { tls, framer: Framer::new(LIMITS), jid: None, inbox: VecDeque::new(), closed: false }
    }

    /// Waits until all that was sent so far has had its consequences everywhere. A server handles what one client sends in
    /// order, so the answer to a ping comes behind the rest; the second round is for what the first has set off elsewhere, and
    /// for what had to be stored or read first.
    fn settle(&mut self) {
        for _ in 0..2 {
            for client in self.clients.values_mut().filter(|c| !c.closed) {
                client.ping();
            }
            if let Some(observer) = &mut self.observer {
                observer.change();
            }
        }
        for client in self.clients.values_mut().filter(|c| !c.closed) {
            client.ping();
        }
    }
}

impl Client {
    fn write(&mut self, xml: &str) {
        if xml.contains("<stream:stream") {
            self.framer = Framer::new(LIMITS);
        }
        // A server that hung up meanwhile is noticed when reading.
        let _ = self.tls.write_all(xml.as_bytes()).and_then(|()| self.tls.flush());
    }

    /// Reads until `last` says that this was it; what came before is in the inbox. Or until the end.
    fn read(&mut self, last: impl Fn(&str) -> bool) {
        let mut buffer = [0; 4096];
        loop {
            let n = match self.tls.read(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::UnexpectedEof || e.kind() == ErrorKind::ConnectionReset => 0,
                Err(e) => panic!("{:?} waits for an answer: {e}", self.jid),
            };
            if n == 0 {
                self.closed = true;
                return;
            }
            let (mut rest, mut found) = (&buffer[..n], false);
            while let Some(frame) = self.framer.next(&mut rest).expect("the server writes well-formed streams") {
                let xml = match frame {
                    Frame::Open(xml) | Frame::Element(xml) => xml,
                    Frame::Close => "</stream:stream>",
                };
                if last(xml) {
                    found = true;
                } else {
                    self.inbox.push_back(xml.to_owned());
                }
            }
            if found {
                return;
            }
        }
    }

    fn ping(&mut self) {
        self.write(&format!("<iq type='get' id='remote-ping' to='{DOMAIN}'><ping xmlns='urn:xmpp:ping'/></iq>"));
        self.read(|xml| xml.starts_with("<iq") && xml.contains("remote-ping"));
    }

    /// A change, and the answer that it is stored (XEP-0049).
    fn change(&mut self) {
        self.write(
            "<iq type='set' id='remote-set'><query xmlns='jabber:iq:private'><seen xmlns='observer'/></query></iq>",
        );
        self.read(|xml| xml.starts_with("<iq") && xml.contains("remote-set"));
    }

    /// Sends a header and waits for the features, or sends something else and waits for the answer.
    fn ask(&mut self, xml: &str, last: &str) -> String {
        self.write(xml);
        let before = self.inbox.len();
        let answer = std::cell::RefCell::new(String::new());
        self.read(|xml| {
            let is = xml.starts_with(last);
            if is {
                *answer.borrow_mut() = xml.to_owned();
            }
            is
        });
        assert!(!self.closed, "the end, instead of {last}: {:?}", self.inbox);
        self.inbox.truncate(before);
        answer.into_inner()
    }

    /// SCRAM-SHA-1 (RFC 5802), which every server has.
    fn authenticate(&mut self, user: &str, password: &str) {
        let sasl = |element: &str, attributes: &str, text: &str| {
            let text = BASE64_STANDARD.encode(text);
            format!("<{element} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'{attributes}>{text}</{element}>")
        };
        let first = format!("n={user},r=remotenonce");
        let challenge = self.ask(&sasl("auth", " mechanism='SCRAM-SHA-1'", &format!("n,,{first}")), "<challenge");
        let challenge = BASE64_STANDARD.decode(challenge.split(['<', '>']).nth(2).unwrap()).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        let field = |name: &str| challenge.split(',').find_map(|f| f.strip_prefix(name)).unwrap();
        let salt = BASE64_STANDARD.decode(field("s=")).unwrap();
        let iterations: NonZeroU32 = field("i=").parse().unwrap();
        let mut salted = [0; 20];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA1, iterations, &salt, password.as_bytes(), &mut salted);
        let last = format!("c=biws,r={}", field("r="));
        let client_key = Hash::Sha1.hmac(&salted, b"Client Key");
        let all = format!("{first},{challenge},{last}");
        let signature = Hash::Sha1.hmac(&Hash::Sha1.digest(&client_key), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        self.ask(&sasl("response", "", &format!("{last},p={}", BASE64_STANDARD.encode(proof))), "<success");
    }
}

/// Long enough for any server.
fn password(user: &str) -> String {
    format!("{user}-of-the-house")
}

impl Stage for Remote {
    fn account(&mut self, jid: &str) {
        let jid = Jid::parse(jid).unwrap().bare();
        let (user, bare) = (jid.local().unwrap(), jid.to_string());
        if self.accounts.contains(&bare) {
            return;
        }
        let command = self.add.replace("{user}", user).replace("{domain}", DOMAIN);
        let command = command.replace("{password}", &password(user));
        let mut shell = Command::new("sh");
        let mut child = shell.args(["-c", &command]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        writeln!(child.stdin.take().unwrap(), "{}", password(user)).unwrap();
        assert!(child.wait().unwrap().success(), "{command}");
        self.accounts.push(bare);
    }

    fn open(&mut self) -> StreamId {
        let client = self.connect();
        self.next += 1;
        self.clients.insert(StreamId(self.next), client);
        StreamId(self.next)
    }

    fn login(&mut self, jid: &str) -> StreamId {
        self.account(jid);
        let jid = Jid::parse(jid).unwrap();
        let user = jid.local().unwrap();
        let sid = self.open();
        let client = self.clients.get_mut(&sid).unwrap();
        client.ask(&Remote::header(), "<stream:features");
        client.authenticate(user, &password(user));
        client.ask(&Remote::header(), "<stream:features");
        let resource = jid.resource().map(|r| format!("<resource>{r}</resource>")).unwrap_or_default();
        let bind =
            format!("<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{resource}</bind></iq>");
        let bound = client.ask(&bind, "<iq");
        let (_, bound) = bound.split_once("<jid>").expect("a JID");
        client.jid = Some(Jid::parse(bound.split('<').next().unwrap()).unwrap());
        self.settle();
        sid
    }

    fn jid(&self, sid: StreamId) -> Option<Jid> {
        self.clients[&sid].jid.clone()
    }

    fn send(&mut self, sid: StreamId, xml: &str) {
        let client = self.clients.get_mut(&sid).unwrap();
        client.write(xml);
        if xml.ends_with("</stream:stream>") {
            client.read(|_| false);
        }
        self.settle();
    }

    fn receive_all(&mut self, sid: StreamId) -> Vec<String> {
        self.clients.get_mut(&sid).map(|c| c.inbox.drain(..).collect()).unwrap_or_default()
    }

    fn receive(&mut self, sid: StreamId) -> Option<String> {
        self.clients.get_mut(&sid)?.inbox.pop_front()
    }

    fn peek(&self, sid: StreamId) -> Vec<String> {
        self.clients.get(&sid).map(|c| c.inbox.iter().cloned().collect()).unwrap_or_default()
    }

    fn is_closed(&self, sid: StreamId) -> bool {
        self.clients.get(&sid).is_none_or(|c| c.closed)
    }

    fn cut(&mut self, sid: StreamId) {
        if let Some(mut client) = self.clients.remove(&sid) {
            let _ = client.tls.sock.shutdown(std::net::Shutdown::Write);
            client.read(|_| false);
        }
        self.settle();
    }
}

impl Drop for Remote {
    /// The next play begins with nobody: every account removes itself (XEP-0077 §3.2).
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.clients.clear();
        self.observer = None;
        for account in std::mem::take(&mut self.accounts) {
            self.accounts.push(account.clone());
            let sid = self.login(&format!("{account}/last"));
            self.clients
                .get_mut(&sid)
                .unwrap()
                .write("<iq type='set' id='gone'><query xmlns='jabber:iq:register'><remove/></query></iq>");
            self.clients.get_mut(&sid).unwrap().read(|_| false);
            self.clients.clear();
        }
    }
}
