//! The real binary, on loopback, with real clients: tokio-xmpp over STARTTLS and direct TLS, and bare sockets for what no
//! well-behaved client would do. The clients trust the house's own authority and nothing else, so that the certificate is
//! checked, too: the file of the authority is in `SSL_CERT_FILE`, which is set for a second process of this very program.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

use base64::prelude::{BASE64_STANDARD, Engine as _};
use futures::StreamExt;
use libtest_mimic::{Arguments, Trial};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_xmpp::connect::{DirectTlsServerConnector, DnsConfig, StartTlsServerConnector};
use tokio_xmpp::jid::Jid;
use tokio_xmpp::minidom::Element;
use tokio_xmpp::parsers::iq::Iq;
use tokio_xmpp::parsers::message::{Lang, Message, MessageType};
use tokio_xmpp::parsers::presence::{Presence, Type as PresenceType};
use tokio_xmpp::parsers::stanza::Stanza;
use tokio_xmpp::stanzastream::{Event, StanzaStream, StreamEvent};
use tokio_xmpp::xmlstream::Timeouts;

const DOMAIN: &str = "house.test";
/// Nothing here takes so long; what does has failed.
const PATIENCE: Duration = Duration::from_secs(30);
/// A folder with certificates, made once: servers of tests begin as copies of it.
const TEMPLATE: &str = "INGLENOOK_LIVE_TEMPLATE";

fn main() {
    let Some(template) = std::env::var_os(TEMPLATE) else {
        let folder = tempdir("template");
        Server::start(&folder).stop();
        let status = Command::new(std::env::current_exe().unwrap())
            .args(std::env::args_os().skip(1))
            .env(TEMPLATE, &folder)
            .env("SSL_CERT_FILE", folder.join("cert/ca.crt"))
            .status()
            .unwrap();
        let _ = std::fs::remove_dir_all(&folder);
        std::process::exit(status.code().unwrap_or(1));
    };
    tokio_rustls::rustls::crypto::ring::default_provider().install_default().unwrap();
    let template = PathBuf::from(template);
    let mut trials = Vec::new();
    let mut add = |name: &str, run: fn(House)| {
        let template = template.clone();
        trials.push(Trial::test(name, move || {
            run(House::new(&template));
            Ok(())
        }));
    };
    add("chat_over_starttls", |house| block_on(chat(house, false)));
    add("chat_over_direct_tls", |house| block_on(chat(house, true)));
    add("offline_messages_survive_a_kill", |house| block_on(offline_after_kill(house)));
    add("a_wrong_password_is_refused", |house| block_on(wrong_password(house)));
    add("nothing_but_starttls_before_tls", |house| block_on(before_tls(house)));
    add("plaintext_behind_starttls_is_dropped", |house| block_on(injection(house)));
    add("direct_tls_knows_its_protocol", |house| block_on(alpn(house)));
    add("a_stop_is_announced", |house| block_on(stop(house)));
    add("half_open_connections_do_not_keep_others_out", |house| block_on(half_open(house)));
    add("bytes_that_are_no_xml_end_one_stream_alone", |house| block_on(garbage(house)));
    add("a_removed_user_is_gone", |house| block_on(removed(house)));
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn block_on(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE * 3, test).await.expect("the test takes too long") });
}

fn tempdir(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let folder = std::env::temp_dir().join(format!("inglenook-live-{}-{name}-{n}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The binary under test, serving a folder.
struct Server {
    child: Child,
    starttls: String,
    direct: String,
}

fn inglenook(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inglenook"));
    command
        .env_remove("SSL_CERT_FILE")
        .env("RUST_LOG", std::env::var("RUST_LOG").unwrap_or_else(|_| "warn".into()))
        .current_dir(folder);
    command
}

impl Server {
    fn start(folder: &Path) -> Server {
        let settings = format!(
            "domain = '{DOMAIN}'\n[house]\ncontacts = false\nroom = false\n[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = ['127.0.0.1:0']\nc2s_tls = ['127.0.0.1:0']\n"
        );
        std::fs::write(folder.join("inglenook.toml"), settings).unwrap();
        let mut child = inglenook(folder).args(["serve", "--data"]).arg(folder).stdout(Stdio::piped()).spawn().unwrap();
        let (mut starttls, mut direct) = (None, None);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        for line in &mut lines {
            let line = line.unwrap();
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                ["listening", address, "c2s", ..] => starttls = Some(address.to_owned()),
                ["listening", address, "c2s_tls", ..] => direct = Some(address.to_owned()),
                ["next", ..] => break,
                _ => {}
            }
        }
        // Whatever it says later must not block it.
        std::thread::spawn(move || lines.for_each(drop));
        Server { child, starttls: starttls.expect("it listens"), direct: direct.expect("it listens") }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    fn stop(mut self) {
        self.signal("TERM");
        assert!(self.child.wait().unwrap().success(), "a clean end");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server with two users, in a folder of its own.
struct House {
    folder: PathBuf,
    server: Option<Server>,
}

impl House {
    fn new(template: &Path) -> House {
        let folder = tempdir("house");
        copy(template, &folder);
        let server = Some(Server::start(&folder));
        let house = House { folder, server };
        // One with the server running and one without: both ways must work.
        house.user_add("romeo");
        house.user_add("juliet");
        house
    }

    fn user_add(&self, name: &str) {
        let out =
            self.command(&["user", "add", &format!("{name}@{DOMAIN}"), "--password-stdin"], Some("a long secret"));
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    fn command(&self, words: &[&str], input: Option<&str>) -> std::process::Output {
        let mut child = inglenook(&self.folder)
            .args(words)
            .arg("--data")
            .arg(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        if let Some(input) = input {
            child.stdin.take().unwrap().write_all(format!("{input}\n").as_bytes()).unwrap();
        }
        child.wait_with_output().unwrap()
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    async fn client(&self, name: &str, direct: bool) -> Client {
        let jid = Jid::new(&format!("{name}@{DOMAIN}")).unwrap();
        let timeouts = Timeouts { read_timeout: PATIENCE, response_timeout: PATIENCE };
        let password = "a long secret".to_owned();
        let stream = if direct {
            let connector = DirectTlsServerConnector::from(DnsConfig::addr(&self.server().direct));
            StanzaStream::new_c2s(connector, jid, password, timeouts, 16)
        } else {
            let connector = StartTlsServerConnector::from(DnsConfig::addr(&self.server().starttls));
            StanzaStream::new_c2s(connector, jid, password, timeouts, 16)
        };
        let mut client = Client { stream, jid: None };
        while client.jid.is_none() {
            client.event().await;
        }
        client
    }

    async fn tls(
        &self,
        direct: bool,
        protocols: &[&str],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.folder.join("cert/ca.crt")).unwrap()).unwrap();
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let address = if direct { &self.server().direct } else { &self.server().starttls };
        let mut socket = TcpStream::connect(address).await?;
        if !direct {
            socket.write_all(header().as_bytes()).await?;
            until(&mut socket, "</stream:features>").await;
            socket.write_all(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").await?;
            until(&mut socket, "<proceed").await;
        }
        TlsConnector::from(Arc::new(config)).connect(ServerName::try_from(DOMAIN).unwrap(), socket).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.server = None;
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn header() -> String {
    format!(
        "<stream:stream to='{DOMAIN}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
    )
}

/// Reads until a text has come; returns all that came.
async fn until(socket: &mut (impl AsyncReadExt + Unpin), text: &str) -> String {
    let mut got = String::new();
    let mut buffer = [0; 4096];
    while !got.contains(text) {
        let n = tokio::time::timeout(PATIENCE, socket.read(&mut buffer)).await.expect("it answers").unwrap_or(0);
        assert!(n > 0, "the end, and no {text} in {got:?}");
        got.push_str(std::str::from_utf8(&buffer[..n]).unwrap());
    }
    got
}

/// Reads to the end.
async fn rest(socket: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut got = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut got)).await.expect("it ends");
    String::from_utf8(got).unwrap()
}

/// A client of tokio-xmpp. Not its `Client`: version 6 of that can sleep through an event while it sends.
struct Client {
    stream: StanzaStream,
    jid: Option<Jid>,
}

impl Client {
    fn jid(&self) -> Jid {
        self.jid.clone().expect("it is online")
    }

    async fn send(&mut self, stanza: impl Into<Stanza>) {
        self.stream.send(Box::new(stanza.into())).await;
    }

    /// The next event. Requests are answered, as RFC 6120 §8.2.3 asks.
    async fn event(&mut self) -> Option<Stanza> {
        let event = tokio::time::timeout(PATIENCE, self.stream.next()).await.expect("something happens");
        match event.expect("the stream is never over") {
            Event::Stanza(stanza) => {
                if let Stanza::Iq(Iq::Get { from, id, .. }) = &stanza {
                    let (to, id) = (from.clone(), id.clone());
                    self.send(Iq::Result { from: None, to, id, payload: None }).await;
                }
                return Some(stanza);
            }
            Event::Stream(StreamEvent::Reset { bound_jid, .. }) => {
                assert!(self.jid.is_none(), "it had to connect again");
                self.jid = Some(bound_jid);
            }
            Event::Stream(_) => {}
        }
        None
    }

    /// The next stanza that `pick` wants.
    async fn next<T>(&mut self, mut pick: impl FnMut(Stanza) -> Option<T>) -> T {
        loop {
            if let Some(it) = self.event().await.and_then(&mut pick) {
                return it;
            }
        }
    }

    /// The sender of the next presence of that type.
    async fn presence(&mut self, wanted: PresenceType) -> Jid {
        let me = self.jid();
        self.next(|stanza| match stanza {
            Stanza::Presence(p) if p.type_ == wanted => p.from.filter(|from| *from != me),
            _ => None,
        })
        .await
    }

    async fn available(&mut self) {
        self.send(Presence::new(PresenceType::None)).await;
    }

    /// The answer to a request.
    async fn ask(&mut self, set: bool, payload: &str) -> Option<Element> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let mine = format!("ask-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let (id, payload) = (mine.clone(), payload.parse().unwrap());
        self.send(match set {
            true => Iq::Set { from: None, to: None, id, payload },
            false => Iq::Get { from: None, to: None, id, payload },
        })
        .await;
        self.next(|stanza| match stanza {
            Stanza::Iq(Iq::Result { id, payload, .. }) if id == mine => Some(payload),
            Stanza::Iq(Iq::Error { id, error, .. }) if id == mine => panic!("refused: {error:?}"),
            _ => None,
        })
        .await
    }
}

fn chat_message(to: &str, body: &str) -> Message {
    let mut message = Message::new(Some(Jid::new(to).unwrap()));
    message.type_ = MessageType::Chat;
    message.bodies.insert(Lang::new(), body.to_owned());
    message
}

fn body(stanza: Stanza) -> Option<String> {
    match stanza {
        Stanza::Message(message) => message.bodies.values().next().cloned(),
        _ => None,
    }
}

async fn chat(house: House, direct: bool) {
    let mut romeo = house.client("romeo", direct).await;
    let mut juliet = house.client("juliet", direct).await;
    romeo.available().await;
    juliet.available().await;
    let roster = romeo.ask(false, "<query xmlns='jabber:iq:roster'/>").await.unwrap();
    assert_eq!(roster.children().count(), 0);

    // She sees him once she has asked and he has agreed.
    juliet.send(Presence::new(PresenceType::Subscribe).with_to(romeo.jid().to_bare())).await;
    let from = romeo.presence(PresenceType::Subscribe).await;
    assert_eq!(from, Jid::from(juliet.jid().to_bare()));
    romeo.send(Presence::new(PresenceType::Subscribed).with_to(from)).await;
    assert_eq!(juliet.presence(PresenceType::None).await, romeo.jid());
    let roster = juliet.ask(false, "<query xmlns='jabber:iq:roster'/>").await.unwrap();
    assert_eq!(roster.children().next().and_then(|item| item.attr("subscription")), Some("to"));

    romeo.send(chat_message(juliet.jid().to_bare().as_str(), "She speaks")).await;
    assert_eq!(juliet.next(body).await, "She speaks");
    juliet.send(chat_message(romeo.jid().as_str(), "Ay me & <you>")).await;
    assert_eq!(romeo.next(body).await, "Ay me & <you>");
    romeo.stream.close().await;
    juliet.stream.close().await;
}

async fn offline_after_kill(mut house: House) {
    let mut romeo = house.client("romeo", false).await;
    for n in 0..20 {
        romeo.send(chat_message(&format!("juliet@{DOMAIN}"), &n.to_string())).await;
    }
    // A change is answered when it is stored, and all before it is stored, too.
    romeo.ask(true, "<query xmlns='jabber:iq:roster'><item jid='friar@house.test'/></query>").await;
    house.server.take().unwrap().kill();
    drop(romeo);

    house.server = Some(Server::start(&house.folder));
    let mut juliet = house.client("juliet", false).await;
    juliet.available().await;
    for n in 0..20 {
        let message = juliet.next(|s| if let Stanza::Message(m) = s { Some(m) } else { None }).await;
        assert!(message.payloads.iter().any(|p| p.is("delay", "urn:xmpp:delay")), "with the time it was sent");
        assert_eq!(body(message.into()), Some(n.to_string()), "in order");
    }
    // The server asks whether that arrived, and the library answers before anything else (XEP-0198 §4). Then some change is stored
    // behind the deletion.
    for contact in ["nurse", "friar"] {
        juliet.ask(true, &format!("<query xmlns='jabber:iq:roster'><item jid='{contact}@house.test'/></query>")).await;
    }
    house.server.take().unwrap().kill();
    drop(juliet);

    house.server = Some(Server::start(&house.folder));
    let mut juliet = house.client("juliet", false).await;
    juliet.available().await;
    juliet.send(chat_message(&format!("juliet@{DOMAIN}"), "to myself")).await;
    assert_eq!(juliet.next(body).await, "to myself", "nothing comes again");
}

async fn wrong_password(house: House) {
    let sasl = |element: &str, attributes: &str, text: &str| {
        let text = BASE64_STANDARD.encode(text);
        format!("<{element} xmlns='urn:ietf:params:xml:ns:xmpp-sasl'{attributes}>{text}</{element}>")
    };
    for name in ["romeo", "nobody"] {
        let mut tls = house.tls(false, &[]).await.unwrap();
        tls.write_all(header().as_bytes()).await.unwrap();
        until(&mut tls, "</stream:features>").await;
        let auth = sasl("auth", " mechanism='SCRAM-SHA-256'", &format!("n,,n={name},r=abcdefgh"));
        tls.write_all(auth.as_bytes()).await.unwrap();
        let challenge = until(&mut tls, "</challenge>").await;
        let challenge = BASE64_STANDARD.decode(challenge.split(['>', '<']).nth(2).unwrap()).unwrap();
        let challenge = String::from_utf8(challenge).unwrap();
        let nonce = challenge.split(',').next().unwrap();
        let proof = BASE64_STANDARD.encode([0; 32]);
        let response = sasl("response", "", &format!("c=biws,{nonce},p={proof}"));
        tls.write_all(response.as_bytes()).await.unwrap();
        let failure = until(&mut tls, "</failure>").await;
        assert!(failure.contains("<not-authorized/>"), "{name}: {failure}");
    }
}

async fn before_tls(house: House) {
    let attempts = [
        (
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHNlY3JldA==</auth>",
            "encryption-required",
        ),
        ("<message to='juliet@house.test'><body>psst</body></message>", "<stream:error>"),
        ("<iq type='get' id='1'><query xmlns='jabber:iq:register'/></iq>", "<stream:error>"),
        ("<presence/>", "<stream:error>"),
    ];
    for (attempt, answer) in attempts {
        let mut socket = TcpStream::connect(&house.server().starttls).await.unwrap();
        socket.write_all(header().as_bytes()).await.unwrap();
        let features = until(&mut socket, "</stream:features>").await;
        assert!(features.contains("<required/>") && !features.contains("<mechanism"), "{features}");
        socket.write_all(attempt.as_bytes()).await.unwrap();
        let got = rest(&mut socket).await;
        assert!(got.contains(answer) && !got.contains("<success") && !got.contains("<challenge"), "{attempt}: {got}");
    }
}

async fn injection(house: House) {
    let mut socket = TcpStream::connect(&house.server().starttls).await.unwrap();
    let smuggled = format!(
        "{}<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>{}<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AHJvbWVvAHNlY3JldA==</auth>",
        header(),
        header()
    );
    socket.write_all(smuggled.as_bytes()).await.unwrap();
    until(&mut socket, "<proceed").await;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(house.folder.join("cert/ca.crt")).unwrap()).unwrap();
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut tls = connector.connect(ServerName::try_from(DOMAIN).unwrap(), socket).await.unwrap();
    // The server has read nothing of what was in plain text: it waits for a header, and this is the first.
    tls.write_all(header().as_bytes()).await.unwrap();
    let got = until(&mut tls, "</stream:features>").await;
    assert!(got.contains("SCRAM-SHA-256-PLUS") && got.matches("<stream:stream").count() == 1, "{got}");
    assert!(!got.contains("<success") && !got.contains("<failure"), "{got}");
}

async fn alpn(house: House) {
    let mut tls = house.tls(true, &["xmpp-client"]).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"xmpp-client"[..]));
    tls.write_all(header().as_bytes()).await.unwrap();
    until(&mut tls, "</stream:features>").await;
    let mut tls = house.tls(true, &[]).await.unwrap();
    tls.write_all(header().as_bytes()).await.unwrap();
    until(&mut tls, "</stream:features>").await;
    let tls = house.tls(true, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]), "each port is for browsers, too");
    assert!(house.tls(true, &["h2"]).await.is_err(), "another protocol is refused");
}

async fn stop(mut house: House) {
    let mut tls = house.tls(false, &[]).await.unwrap();
    tls.write_all(header().as_bytes()).await.unwrap();
    until(&mut tls, "</stream:features>").await;
    house.server.take().unwrap().stop();
    let got = rest(&mut tls).await;
    assert!(got.contains("<system-shutdown") && got.ends_with("</stream:stream>"), "{got}");
}

async fn half_open(house: House) {
    let mut idle = Vec::new();
    for n in 0..200 {
        if let Ok(mut socket) = TcpStream::connect(&house.server().starttls).await {
            if n % 2 == 0 {
                let _ = socket.write_all(b"<stream:stream to='house.te").await;
            }
            idle.push(socket);
        }
    }
    // From another address of this machine, as another device would be.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut socket = socket.connect(house.server().starttls.parse().unwrap()).await.unwrap();
    socket.write_all(header().as_bytes()).await.unwrap();
    until(&mut socket, "</stream:features>").await;
}

async fn garbage(house: House) {
    let mut romeo = house.client("romeo", false).await;
    romeo.available().await;
    let bombs: [&[u8]; 6] = [
        b"\xff\xfe\x00",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>",
        b"<stream:stream to='house.test' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'><a b='1' b='2'/>",
        b"GET / HTTP/1.1\r\nHost: house.test\r\n\r\n",
        &[b'<'; 20_000],
        &[b'a'; 20_000],
    ];
    for bomb in bombs {
        let mut tls = house.tls(false, &[]).await.unwrap();
        let _ = tls.write_all(bomb).await;
        let _ = tls.flush().await;
        let got = rest(&mut tls).await;
        assert!(got.contains("<stream:error>") && got.ends_with("</stream:stream>"), "{got}");
    }
    let jid = romeo.jid();
    romeo.send(chat_message(jid.as_str(), "still here")).await;
    assert_eq!(romeo.next(body).await, "still here");
}

async fn removed(house: House) {
    let mut romeo = house.client("romeo", false).await;
    let mut juliet = house.client("juliet", false).await;
    romeo.available().await;
    juliet.available().await;
    juliet.send(Presence::new(PresenceType::Subscribe).with_to(romeo.jid().to_bare())).await;
    let from = romeo.presence(PresenceType::Subscribe).await;
    romeo.send(Presence::new(PresenceType::Subscribed).with_to(from)).await;
    juliet.presence(PresenceType::Subscribed).await;

    let list = |house: &House| String::from_utf8(house.command(&["user", "list"], None).stdout).unwrap();
    assert!(list(&house).contains("romeo@house.test"));
    let out = house.command(&["user", "remove", "romeo@house.test"], None);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!list(&house).contains("romeo"));
    let gone = juliet.presence(PresenceType::Unsubscribed).await;
    assert_eq!(gone, Jid::from(romeo.jid().to_bare()), "his contacts are told");
    let ended = tokio::time::timeout(PATIENCE, async {
        while !matches!(romeo.stream.next().await, Some(Event::Stream(StreamEvent::Suspended)) | None) {}
    });
    ended.await.expect("his stream ends");
}
