//! The real binary, on loopback, with real clients: tokio-xmpp over STARTTLS and direct TLS, and bare sockets for what no
//! well-behaved client would do. The clients trust the house's own authority and nothing else, so that the certificate is
//! checked, too: the file of the authority is in `SSL_CERT_FILE`, which is set for a second process of this very program.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

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
use tokio_xmpp::connect::DnsConfig;
use tokio_xmpp::jid::{BareJid, Jid};
use tokio_xmpp::minidom::Element;
use tokio_xmpp::parsers::iq::Iq;
use tokio_xmpp::parsers::message::{Lang, Message, MessageType};
use tokio_xmpp::parsers::presence::{Presence, Type as PresenceType};
use tokio_xmpp::parsers::stanza::Stanza;
use tokio_xmpp::xmlstream::Timeouts;
use tokio_xmpp::{Client, Event, IqRequest, IqResponse};

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
            "domain = '{DOMAIN}'\n[listen]\nc2s = ['127.0.0.1:0']\nc2s_tls = ['127.0.0.1:0']\ns2s = []\ns2s_tls = []\nhttps = []\n"
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
        let out = self.command(&["user", "add", &format!("{name}@{DOMAIN}"), "--password-stdin"], Some("secret"));
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

    fn client(&self, name: &str, direct: bool) -> Client {
        self.client_with(name, "secret", direct)
    }

    fn client_with(&self, name: &str, password: &str, direct: bool) -> Client {
        let jid = BareJid::new(&format!("{name}@{DOMAIN}")).unwrap();
        let timeouts = Timeouts { read_timeout: PATIENCE, response_timeout: PATIENCE };
        if direct {
            Client::new_direct_tls_with_config(jid, password, DnsConfig::addr(&self.server().direct), timeouts)
        } else {
            Client::new_starttls(jid, password, DnsConfig::addr(&self.server().starttls), timeouts)
        }
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

/// The next stanza of the kind that `pick` wants; pings are answered on the way.
async fn next<T>(client: &mut Client, mut pick: impl FnMut(Stanza) -> Option<T>) -> T {
    loop {
        let event = tokio::time::timeout(PATIENCE, client.next()).await.expect("something arrives").expect("connected");
        match event {
            Event::Stanza(Stanza::Iq(Iq::Get { from, id, .. })) => {
                client.send_stanza(Iq::Result { from: None, to: from, id, payload: None }.into()).await.unwrap();
            }
            Event::Stanza(stanza) => {
                if let Some(it) = pick(stanza) {
                    return it;
                }
            }
            Event::Online { .. } => {}
            Event::Disconnected(e) => panic!("disconnected: {e}"),
        }
    }
}

async fn online(client: &mut Client) -> Jid {
    loop {
        match tokio::time::timeout(PATIENCE, client.next()).await.expect("it answers").expect("a stream") {
            Event::Online { bound_jid, .. } => return bound_jid,
            Event::Disconnected(e) => panic!("not online: {e}"),
            Event::Stanza(_) => {}
        }
    }
}

async fn available(client: &mut Client) {
    client.send_stanza(Presence::new(PresenceType::None).into()).await.unwrap();
}

fn chat_message(to: &str, body: &str) -> Stanza {
    let mut message = Message::new(Some(Jid::new(to).unwrap()));
    message.type_ = MessageType::Chat;
    message.bodies.insert(Lang::new(), body.to_owned());
    message.into()
}

fn body(stanza: Stanza) -> Option<String> {
    match stanza {
        Stanza::Message(message) => message.bodies.values().next().cloned(),
        _ => None,
    }
}

/// Asks and waits, answering pings meanwhile.
async fn ask(client: &mut Client, set: bool, payload: &str) -> Option<Element> {
    let payload: Element = payload.parse().unwrap();
    let request = if set { IqRequest::Set(payload) } else { IqRequest::Get(payload) };
    let mut token = client.send_iq(None, request).await;
    loop {
        tokio::select! {
            answer = &mut token => match answer.unwrap() {
                IqResponse::Result(payload) => return payload,
                IqResponse::Error(e) => panic!("refused: {e:?}"),
            },
            event = client.next() => match event {
                Some(Event::Stanza(_) | Event::Online { .. }) => {}
                other => panic!("disconnected: {other:?}"),
            },
        }
    }
}

async fn chat(house: House, direct: bool) {
    let mut romeo = house.client("romeo", direct);
    let mut juliet = house.client("juliet", direct);
    let (romeo_jid, juliet_jid) = (online(&mut romeo).await, online(&mut juliet).await);
    available(&mut romeo).await;
    available(&mut juliet).await;
    let roster = ask(&mut romeo, false, "<query xmlns='jabber:iq:roster'/>").await.unwrap();
    assert_eq!(roster.children().count(), 0);

    // She sees him once she has asked and he has agreed.
    let subscribe = Presence::new(PresenceType::Subscribe).with_to(romeo_jid.to_bare());
    juliet.send_stanza(subscribe.into()).await.unwrap();
    let from = next(&mut romeo, |s| match s {
        Stanza::Presence(p) if p.type_ == PresenceType::Subscribe => p.from,
        _ => None,
    })
    .await;
    assert_eq!(from, Jid::from(juliet_jid.to_bare()));
    romeo.send_stanza(Presence::new(PresenceType::Subscribed).with_to(from).into()).await.unwrap();
    let seen = next(&mut juliet, |s| match s {
        Stanza::Presence(p) if p.type_ == PresenceType::None && p.from != Some(juliet_jid.clone()) => p.from,
        _ => None,
    })
    .await;
    assert_eq!(seen, romeo_jid);
    let roster = ask(&mut juliet, false, "<query xmlns='jabber:iq:roster'/>").await.unwrap();
    assert_eq!(roster.children().next().and_then(|item| item.attr("subscription")), Some("to"));

    romeo.send_stanza(chat_message(juliet_jid.to_bare().as_str(), "She speaks")).await.unwrap();
    assert_eq!(next(&mut juliet, body).await, "She speaks");
    juliet.send_stanza(chat_message(romeo_jid.as_str(), "Ay me & <you>")).await.unwrap();
    assert_eq!(next(&mut romeo, body).await, "Ay me & <you>");
    romeo.send_end().await.unwrap();
    juliet.send_end().await.unwrap();
}

async fn offline_after_kill(mut house: House) {
    let mut romeo = house.client("romeo", false);
    online(&mut romeo).await;
    for n in 0..20 {
        romeo.send_stanza(chat_message(&format!("juliet@{DOMAIN}"), &n.to_string())).await.unwrap();
    }
    // A change is answered when it is stored, and all before it is stored, too.
    ask(&mut romeo, true, "<query xmlns='jabber:iq:roster'><item jid='friar@house.test'/></query>").await;
    house.server.take().unwrap().kill();
    drop(romeo);

    house.server = Some(Server::start(&house.folder));
    let mut juliet = house.client("juliet", false);
    online(&mut juliet).await;
    available(&mut juliet).await;
    for n in 0..20 {
        let (body, delayed) = next(&mut juliet, |s| match s {
            Stanza::Message(m) => {
                let delayed = m.payloads.iter().any(|p| p.is("delay", "urn:xmpp:delay"));
                m.bodies.values().next().cloned().map(|b| (b, delayed))
            }
            _ => None,
        })
        .await;
        assert_eq!(body, n.to_string(), "in order");
        assert!(delayed, "with the time it was sent");
    }
    // She answers the server's question whether it arrived, and some change of hers is stored behind that.
    let answered = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(Event::Stanza(Stanza::Iq(Iq::Get { from, id, .. }))) = juliet.next().await {
                juliet.send_stanza(Iq::Result { from: None, to: from, id, payload: None }.into()).await.unwrap();
                return;
            }
        }
    });
    answered.await.expect("the server asks");
    ask(&mut juliet, true, "<query xmlns='jabber:iq:roster'><item jid='nurse@house.test'/></query>").await;
    house.server.take().unwrap().kill();
    drop(juliet);

    house.server = Some(Server::start(&house.folder));
    let mut juliet = house.client("juliet", false);
    online(&mut juliet).await;
    available(&mut juliet).await;
    juliet.send_stanza(chat_message(&format!("juliet@{DOMAIN}"), "to myself")).await.unwrap();
    assert_eq!(next(&mut juliet, body).await, "to myself", "nothing comes again");
}

async fn wrong_password(house: House) {
    let mut client = house.client_with("romeo", "wrong", false);
    match tokio::time::timeout(PATIENCE, client.next()).await.expect("an answer") {
        Some(Event::Disconnected(e)) => assert!(format!("{e:?}").contains("NotAuthorized"), "{e:?}"),
        other => panic!("{other:?}"),
    }
    let mut client = house.client_with("nobody", "wrong", true);
    match tokio::time::timeout(PATIENCE, client.next()).await.expect("an answer") {
        Some(Event::Disconnected(e)) => assert!(format!("{e:?}").contains("NotAuthorized"), "{e:?}"),
        other => panic!("{other:?}"),
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
    assert!(house.tls(true, &["http/1.1"]).await.is_err(), "another protocol is refused");
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
    let mut romeo = house.client("romeo", false);
    let jid = online(&mut romeo).await;
    available(&mut romeo).await;
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
    romeo.send_stanza(chat_message(jid.as_str(), "still here")).await.unwrap();
    assert_eq!(next(&mut romeo, body).await, "still here");
}

async fn removed(house: House) {
    let mut romeo = house.client("romeo", false);
    online(&mut romeo).await;
    available(&mut romeo).await;
    let listed = house.command(&["user", "list"], None);
    assert!(String::from_utf8_lossy(&listed.stdout).contains(&format!("romeo@{DOMAIN}")));
    let out = house.command(&["user", "remove", &format!("romeo@{DOMAIN}")], None);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let ended = tokio::time::timeout(PATIENCE, async {
        loop {
            match romeo.next().await {
                Some(Event::Disconnected(e)) => return format!("{e:?}"),
                None => return "over".to_owned(),
                Some(_) => {}
            }
        }
    });
    ended.await.expect("his stream ends");
    let listed = house.command(&["user", "list"], None);
    assert!(!String::from_utf8_lossy(&listed.stdout).contains("romeo"));
}
