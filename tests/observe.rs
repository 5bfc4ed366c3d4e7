//! `inglenook check` as strangers see servers: our own gets its letters, and each fault that is planted in another one costs what it should.
#![allow(clippy::unwrap_used)]

mod common;

use async_rustls::rustls::crypto::ring::default_provider;
use async_rustls::rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use async_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};
use common::binary::{Dir, Said, Server, run};
use inglenook::service::owner::observe::ALL;
use inglenook::web::json::Json;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// What a stream begins with, of whoever pretends to be a server.
const HEADER: &str = "<?xml version='1.0'?><stream:stream id='1' from='example.org' version='1.0' xmlns='jabber:client' \
                      xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'>";
/// An answer that waits for more.
const MORE: &str = " ";
const GOOD: &str = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism></mechanisms>\
                    <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>";

/// What `check --of example.org` says of somebody there, as an object.
struct Checked {
    said: Said,
}

impl Checked {
    fn at(place: &str) -> Checked {
        let said = run(&Dir::new(), &["check", "--of", "example.org", "--json", "--at", place], "");
        assert!(said.out.ends_with("}\n") && said.out.lines().count() == 1, "{}{}", said.out, said.err);
        Checked { said }
    }

    fn json(&self) -> Json<'_> {
        Json::read(self.said.out.trim_end()).unwrap()
    }

    /// The letter of a side.
    fn letter(&self, side: &str) -> Option<String> {
        self.json().text_of(side).map(str::to_owned)
    }

    /// What a fault with this id is told as.
    fn fault(&self, id: &str) -> String {
        let json = self.json();
        let is_it = |test: &&Json<'_>| test.text_of("id") == Some(id) && test.text_of("status") == Some("fault");
        let found = json.get("tests").unwrap().items().iter().find(is_it);
        let found = found.unwrap_or_else(|| panic!("no {id} in {}", self.said.out));
        assert!(!found.text_of("fix").unwrap().is_empty());
        found.text_of("what").unwrap().to_owned()
    }

    /// Graded so because of that, and told in the exit status.
    fn is(&self, side: &str, letter: &str, id: &str, part: &str) {
        assert_eq!(self.letter(side).as_deref(), Some(letter), "{}", self.said.out);
        let what = self.fault(&format!("{side}.{id}"));
        assert!(what.contains(part), "{part:?} is not in {what:?}");
        assert_eq!(self.said.code, i32::from(letter != "B"), "{}", self.said.err);
    }
}

/// Somebody who does something with each who connects.
fn peer(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let serve = serve.clone();
            std::thread::spawn(move || serve(socket));
        }
    });
    at
}

/// A stream: these features, and `answer` to what comes then; more than 64 KiB is too much. Gives whether it goes on to TLS.
fn stream(wire: &mut (impl Read + Write), features: &str, answer: impl Fn(&str) -> &'static str) -> bool {
    let (mut heard, mut buffer) = (String::new(), [0; 4096]);
    let mut opened = false;
    loop {
        let Ok(n @ 1..) = wire.read(&mut buffer) else { return false };
        heard.push_str(&String::from_utf8_lossy(&buffer[..n]));
        if !opened && heard.contains("xmlns:stream=") && heard.ends_with('>') {
            let _ = wire.write_all(format!("{HEADER}<stream:features>{features}</stream:features>").as_bytes());
            (opened, heard) = (true, String::new());
            continue;
        }
        if heard.contains("<starttls") && features.contains("starttls") {
            return wire.write_all(b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>").is_ok();
        }
        if heard.len() > 64 * 1024 || heard.ends_with('>') {
            let said = answer(&heard);
            if said == MORE {
                continue;
            }
            let _ = wire.write_all(said.as_bytes());
            if said.is_empty() {
                let _ = wire.write_all(b"<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>");
                return false;
            }
            heard.clear();
        }
    }
}

/// A certificate and its key.
struct Pair {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

fn signed(change: impl Fn(&mut CertificateParams), authority: bool, names: &[&str]) -> Pair {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    // Its names are told apart.
    params.distinguished_name.push(rcgen::DnType::CommonName, names[0]);
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2040, 1, 1));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let chain = if authority {
        let mut above = CertificateParams::default();
        above.distinguished_name.push(rcgen::DnType::CommonName, "somebody in between");
        above.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(above, KeyPair::generate().unwrap());
        params.signed_by(&key, &issuer).unwrap()
    } else {
        params.self_signed(&key).unwrap()
    };
    Pair { chain: vec![chain.der().clone()], key: key.serialize_der() }
}

/// A server with TLS from the first byte, and this certificate.
fn tls_peer(pair: Pair, protocol: &str, features: &'static str, answer: fn(&str) -> &'static str) -> SocketAddr {
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(pair.chain, PrivatePkcs8KeyDer::from(pair.key).into())
        .unwrap();
    config.alpn_protocols = Some(protocol.into()).filter(|_| !protocol.is_empty()).into_iter().collect();
    let config = Arc::new(config);
    peer(move |socket| {
        let connection = ServerConnection::new(config.clone()).unwrap();
        stream(&mut StreamOwned::new(connection, socket), features, answer);
    })
}

fn silent(_: &str) -> &'static str {
    ""
}

fn app_peer(pair: Pair, features: &'static str) -> Checked {
    Checked::at(&format!("c2s_tls={}", tls_peer(pair, "xmpp-client", features, silent)))
}

fn settings() -> Dir {
    let dir = Dir::begun("mdns = \"off\"\n[federation]\npolicy = \"open\"\nloopback = true");
    let file = dir.data().join("inglenook.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(file, text.replace("= []", "= [\"127.0.0.1:0\"]")).unwrap();
    dir
}

/// T for both: all is as it should be, for who has installed the authority. Nothing is worse anywhere.
#[test]
fn our_own_server_is_as_it_should_be() {
    let dir = settings();
    let server = Server::start(&dir, &[]);
    let begun = Instant::now();
    let data = dir.data();
    let data = data.to_str().unwrap();
    let said = run(&dir, &["check", "--json", "--data", data], "");
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(begun.elapsed() < ALL);
    let json = Json::read(said.out.trim_end()).unwrap();
    for key in ["domain", "clients", "servers", "tests", "fine", "notes", "records", "wrong"] {
        assert!(json.get(key).is_some(), "{key} is not in {}", said.out);
    }
    assert_eq!(
        (json.text_of("domain"), json.text_of("clients"), json.text_of("servers")),
        (Some("example.org"), Some("T"), Some("T"))
    );
    assert_eq!(json.get("wrong").unwrap().items(), []);
    let tests = json.get("tests").unwrap().items();
    let faults: Vec<_> = tests.iter().filter(|test| test.text_of("status") == Some("fault")).collect();
    assert!(faults.iter().all(|test| test.text_of("grade") == Some("T")), "{faults:?}");
    let fine =
        |id: &str| tests.iter().any(|test| test.text_of("id") == Some(id) && test.text_of("status") == Some("ok"));
    for id in ["starttls", "old-tls", "new-tls", "suites", "key", "chain", "names", "usage", "alpn", "early-data"] {
        assert!(fine(&format!("clients.{id}")) && fine(&format!("servers.{id}")), "{id}: {}", said.out);
    }
    for id in ["mechanisms", "limits", "host-meta", "websocket", "pages", "upload"] {
        assert!(fine(&format!("clients.{id}")), "{id}: {}", said.out);
    }
    assert!(fine("servers.strangers"));
    // Nothing is left of what was uploaded.
    assert_eq!(std::fs::read_dir(dir.data().join("uploads")).unwrap().count(), 0);
    // People are told the same; the letters come last.
    let said = run(&dir, &["check", "--data", data], "").out;
    let last: Vec<&str> = said.lines().rev().take(2).collect();
    assert_eq!(
        last,
        [
            "grade  servers T: good, for those who installed the authority",
            "grade  clients T: good, for those who installed the authority"
        ]
    );
    // A stranger does not know the authority.
    let place = format!("c2s={}", server.address("c2s"));
    let text = run(&dir, &["check", "--of", "example.org", "--at", &place], "");
    assert!(text.code == 1 && text.err.contains("the grade for clients is T"), "{}", text.err);
    Checked::at(&place).is("clients", "T", "trust", "does not trust");
    Checked::at(&format!("s2s={}", server.address("s2s"))).is("servers", "T", "trust", "does not trust");
    assert!(server.stop().success());
    let said = run(&dir, &["check", "--data", data], "");
    assert!(said.code == 0 && said.out.contains("note   grade: nothing was tried from outside"), "{}", said.out);
}

/// A setting that lets apps send passwords is what it costs here, too.
#[test]
fn a_setting_that_is_worse_costs_our_own_its_letter() {
    let dir = settings();
    let file = dir.data().join("inglenook.toml");
    std::fs::write(&file, format!("plain = true\n{}", std::fs::read_to_string(&file).unwrap())).unwrap();
    let server = Server::start(&dir, &[]);
    let said = run(&dir, &["check", "--data", dir.data().to_str().unwrap()], "");
    assert!(said.code == 1 && said.err.contains("the grade for clients is C"), "{}{}", said.out, said.err);
    assert!(said.out.lines().any(|line| line.starts_with("C      clients: PLAIN")
        && line.ends_with("Fix: take `plain = true` out of the settings")));
    assert!(said.out.contains("grade  servers T"), "{}", said.out);
    assert!(server.stop().success());
}

#[test]
fn faults_of_certificates_cost_what_they_should() {
    let name = ["example.org"];
    app_peer(signed(|_| {}, false, &name), GOOD).is("clients", "T", "trust", "signed by itself");
    let over = |params: &mut CertificateParams| params.not_after = rcgen::date_time_ymd(2026, 2, 1);
    app_peer(signed(over, false, &name), GOOD).is("clients", "F", "chain", "has ended on");
    let to_come = |params: &mut CertificateParams| params.not_before = rcgen::date_time_ymd(2039, 1, 1);
    app_peer(signed(to_come, false, &name), GOOD).is("clients", "F", "chain", "in the future");
    app_peer(signed(|_| {}, false, &["example.net"]), GOOD).is("clients", "F", "names", "example.net");
    app_peer(signed(|_| {}, true, &name), GOOD).is("clients", "B", "chain", "somebody in between");
    let clients = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    app_peer(signed(clients, false, &name), GOOD).is("clients", "F", "usage", "not for servers");
}

#[test]
fn faults_of_logins_cost_what_they_should() {
    let pair = || signed(|_| {}, false, &["example.org"]);
    let mechanisms = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms>";
    app_peer(pair(), mechanisms).is("clients", "C", "mechanisms", "PLAIN");
    let open = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>SCRAM-SHA-256-PLUS</mechanism></mechanisms>\
                <sasl-channel-binding xmlns='urn:xmpp:sasl-cb:0'><channel-binding type='tls-exporter'/></sasl-channel-binding>\
                <register xmlns='http://jabber.org/features/iq-register'/>";
    app_peer(pair(), open).is("clients", "B", "mechanisms", "strangers may make accounts");
    // Before TLS, which is not there at all; or is, and a password is taken anyway.
    let plain = peer(|mut socket| {
        stream(
            &mut socket,
            mechanisms,
            |_| "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
        );
    });
    let checked = Checked::at(&format!("c2s={plain}"));
    checked.is("clients", "F", "starttls", "no STARTTLS is offered");
    assert!(checked.said.out.contains("a password is looked at") && checked.said.out.contains("PLAIN"));
    let answers = peer(|mut socket| {
        stream(
            &mut socket,
            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            |_| "<iq type='result' id='observed'/>",
        );
    });
    let checked = Checked::at(&format!("c2s={answers}"));
    checked.is("clients", "F", "starttls", "a stanza is answered before TLS");
    checked.is("clients", "F", "tls", "no TLS can be made");
}

const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>";

/// What is offered or answered before TLS, however it is said, and by who lets nobody in twice.
#[test]
fn what_goes_on_before_tls_costs_what_it_should() {
    let offers = |features: &'static str| {
        let at = peer(move |mut socket| {
            stream(&mut socket, features, silent);
        });
        Checked::at(&format!("c2s={at}"))
    };
    let login =
        offers("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><auth xmlns='http://jabber.org/features/iq-auth'/>");
    login.is("clients", "F", "starttls", "a login is offered before TLS: jabber:iq:auth");
    let account = offers(
        "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><register xmlns='http://jabber.org/features/iq-register'/>",
    );
    account.is("clients", "F", "starttls", "an account can be made before TLS");
    let answers = |answer: fn(&str) -> &'static str| {
        let at = peer(move |mut socket| {
            stream(&mut socket, STARTTLS, answer);
        });
        Checked::at(&format!("c2s={at}"))
    };
    for answer in [
        (|_| "<message><body>welcome</body></message><iq type='result' id='observed'/>") as fn(&str) -> &'static str,
        |_| "<iq type='error' id='observed'><error type='cancel'><service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    ] {
        answers(answer).is("clients", "F", "starttls", "a stanza is answered before TLS");
    }
    let refuses = answers(
        |_| "<iq type='error' id='observed'><error type='auth'><not-authorized xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
    );
    assert!(!refuses.said.out.contains("a stanza is answered"), "{}", refuses.said.out);
    let once = std::sync::atomic::AtomicUsize::new(0);
    let at = peer(move |mut socket| {
        // The first is whether somebody is there at all, the second a stream.
        if once.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 {
            stream(&mut socket, "", silent);
        }
    });
    Checked::at(&format!("c2s={at}")).is("clients", "F", "starttls", "no STARTTLS is offered");
}

#[test]
fn who_limits_nothing_is_seen() {
    let endless = |heard: &str| match heard {
        h if h.contains("<auth") && !h.ends_with("</auth>") => MORE,
        _ => "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>",
    };
    let pair = || signed(|_| {}, false, &["example.org"]);
    let checked = Checked::at(&format!("c2s_tls={}", tls_peer(pair(), "xmpp-client", GOOD, endless)));
    checked.is("clients", "B", "limits", "100 KiB");
    // Who knows nothing of ALPN has taken none.
    let deaf = Checked::at(&format!("c2s_tls={}", tls_peer(pair(), "", GOOD, silent)));
    deaf.is("clients", "B", "alpn", "ALPN is ignored");
    assert!(!deaf.said.out.contains("is taken in ALPN"), "{}", deaf.said.out);
}

/// Who says nothing inside TLS, one after the other: that is no reason to say what is not offered there.
#[test]
fn silence_is_not_taken_for_a_fact() {
    let config = |pair: Pair| {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        Arc::new(config.with_single_cert(pair.chain, PrivatePkcs8KeyDer::from(pair.key).into()).unwrap())
    };
    let config = config(signed(|_| {}, false, &["example.org"]));
    let turn = std::sync::Mutex::new(());
    let at = peer(move |socket| {
        let _turn = turn.lock();
        let mut wire = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), socket);
        let _ = std::io::copy(&mut wire, &mut std::io::sink());
    });
    let checked = Checked::at(&format!("c2s_tls={at}"));
    checked.is("clients", "B", "inside", "does not answer inside TLS");
    for claim in ["TLS 1.3 alone", "(SNI) is refused", "there is no TLS 1.3", "is refused (", "nothing is taken before"]
    {
        assert!(!checked.said.out.contains(claim), "{claim}: {}", checked.said.out);
    }
    assert!(checked.said.out.contains("not seen: "), "{}", checked.said.out);
}

/// What is shown behind the first certificate counts, and too much of it is no old TLS.
#[test]
fn certificates_in_between_are_looked_at() {
    let authority = |name: &str, over: bool| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = match over {
            true => (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2021, 1, 1)),
            false => (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2040, 1, 1)),
        };
        params
    };
    let root = Issuer::new(authority("root", false), KeyPair::generate().unwrap());
    let between = KeyPair::generate().unwrap();
    let params = authority("somebody in between", true);
    let shown = params.signed_by(&between, &root).unwrap().der().clone();
    let issuer = Issuer::new(params, between);
    let mut leaf = CertificateParams::new(vec!["example.org".to_owned()]).unwrap();
    (leaf.not_before, leaf.not_after) = (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2040, 1, 1));
    let key = KeyPair::generate().unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap().der().clone();
    let pair = |more: usize| {
        let chain = std::iter::once(leaf.clone()).chain(std::iter::repeat_n(shown.clone(), more)).collect();
        Pair { chain, key: key.serialize_der() }
    };
    app_peer(pair(1), GOOD).is("clients", "F", "chain", "somebody in between");
    assert!(app_peer(pair(1), GOOD).said.out.contains("does not hold today"));
    let long = app_peer(pair(200), GOOD);
    assert!(!long.said.out.contains("there is no TLS 1.3"), "{}", long.said.out);
}

/// A server that believes everything.
#[test]
fn who_believes_strangers_is_not_to_be_trusted() {
    let gullible = |heard: &str| match heard {
        h if h.contains("<db:result") => "<db:result from='example.org' to='observer.invalid' type='valid'/>",
        h if h.contains("EXTERNAL") => "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
        _ => "<iq type='result' id='observed'/>",
    };
    let pair = signed(|_| {}, false, &["example.org"]);
    let at = tls_peer(pair, "xmpp-server", "<dialback xmlns='urn:xmpp:features:dialback'/>", gullible);
    let checked = Checked::at(&format!("s2s_tls={at}"));
    checked.is("servers", "F", "strangers", "is accepted");
    let out = &checked.said.out;
    for what in
        ["signed by itself", "has expired", "for another name", "a stanza before any proof", "a forged key of dialback"]
    {
        assert!(
            out.contains(&format!("{what} is accepted")) || out.contains(&format!("that is {what} is accepted")),
            "{what}: {out}"
        );
    }
}

/// A program that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(dir: &Dir, words: &[&str]) -> Option<()> {
    let done = Command::new("openssl").current_dir(&dir.0).args(words).output().ok()?;
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    Some(())
}

const REQUEST: [&str; 11] = [
    "req",
    "-x509",
    "-nodes",
    "-days",
    "3000",
    "-subj",
    "/CN=example.org",
    "-addext",
    "subjectAltName=DNS:example.org",
    "-out",
    "cert.pem",
];

/// OpenSSL with what was given up: each version is one more answer of bytes.
#[test]
fn old_versions_of_openssl_are_seen() {
    let dir = Dir::new();
    let made = openssl(&dir, &[&REQUEST[..], &["-newkey", "rsa:2048", "-keyout", "key.pem"]].concat());
    if made.is_none() {
        eprintln!("there is no openssl here");
        return;
    }
    for (version, told) in [("-tls1", "TLS 1.0"), ("-tls1_1", "TLS 1.1")] {
        // The port that it has chosen is in its first line.
        let words = [
            "s_server",
            "-accept",
            "127.0.0.1:0",
            "-cert",
            "cert.pem",
            "-key",
            "key.pem",
            "-cipher",
            "ALL:@SECLEVEL=0",
        ];
        let mut command = Command::new("openssl");
        command
            .current_dir(&dir.0)
            .args(words)
            .arg(version)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut running = Running(command.spawn().unwrap());
        let mut said = running.0.stdout.take().unwrap();
        let mut text = String::new();
        let port = loop {
            let mut byte = [0];
            said.read_exact(&mut byte).unwrap();
            text.push(char::from(byte[0]));
            if let Some(line) = text
                .strip_suffix('\n')
                .and_then(|text| text.rsplit("ACCEPT ").next().filter(|_| text.contains("ACCEPT")))
            {
                break line.rsplit(':').next().unwrap().to_owned();
            }
        };
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let checked = Checked::at(&format!("c2s_tls=127.0.0.1:{port}"));
        checked.is("clients", "C", "old-tls", told);
        // The certificate is seen in the open.
        assert!(checked.fault("clients.trust").contains("signed by itself"));
    }
}

/// A key that no library here signs with: what TLS 1.2 says in the open is enough. Also a suite that was given up, and compression.
#[test]
fn what_is_weak_is_seen_in_the_first_answer() {
    let dir = Dir::new();
    let words = [&REQUEST[..], &["-newkey", "rsa:1024", "-keyout", "key.pem", "-outform", "DER"]].concat();
    if openssl(&dir, &words).is_none() {
        eprintln!("there is no openssl here");
        return;
    }
    let certificate = std::fs::read(dir.0.join("cert.pem")).unwrap();
    let sized = |size: usize, content: &[u8]| [&content.len().to_be_bytes()[8 - size..], content].concat();
    let message = |kind: u8, body: &[u8]| [&[kind][..], &sized(3, body)].concat();
    let answer = |suite: [u8; 2], compression: u8| {
        let hello = [&[3, 3][..], &[7; 32], &[0], &suite, &[compression], &sized(2, &[0xff, 1, 0, 1, 0])].concat();
        let chain = sized(3, &sized(3, &certificate));
        let messages = [message(2, &hello), message(11, &chain), message(14, &[])].concat();
        [&[22, 3, 3][..], &sized(2, &messages)].concat()
    };
    let speaks = |answer: Vec<u8>| {
        peer(move |mut socket| {
            let mut head = [0; 5];
            let _ = socket.read_exact(&mut head);
            let mut hello = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
            let _ = socket.read_exact(&mut hello);
            let _ = socket.write_all(&answer);
        })
    };
    Checked::at(&format!("c2s_tls={}", speaks(answer([0xc0, 0x2f], 0)))).is("clients", "F", "key", "RSA, 1024 bits");
    let checked = Checked::at(&format!("c2s_tls={}", speaks(answer([0, 5], 1))));
    for (id, part) in [("clients.suites", "RC4"), ("clients.key", "1024")] {
        assert!(checked.fault(id).contains(part), "{}", checked.said.out);
    }
    assert!(checked.said.out.contains("compresses"), "{}", checked.said.out);
}

/// Whoever stalls at whatever point: all is over within its time, and what was not seen is not praised.
#[test]
fn nobody_is_waited_for_for_long() {
    let begun = Instant::now();
    let nothing = peer(std::mem::forget);
    let half = peer(|mut socket| {
        if stream(&mut socket, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>", silent) {
            std::mem::forget(socket);
        }
    });
    let noise = peer(|mut socket| while socket.write_all(&[b'<'; 4096]).is_ok() {});
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let places: Vec<String> = [nothing, noise, closed].iter().map(|at| format!("c2s={at}")).collect();
    let mut words = vec!["check", "--of", "example.org"];
    places.iter().for_each(|place| words.extend(["--at", place]));
    let said = run(&Dir::new(), &words, "");
    assert!(said.code == 1 && said.err.contains("nobody answers for example.org"), "{}{}", said.out, said.err);
    assert!(!said.out.contains("ok     "), "{}", said.out);
    Checked::at(&format!("c2s={half}")).is("clients", "F", "tls", "does not come to an end");
    assert!(begun.elapsed() < ALL * 2, "{:?}", begun.elapsed());
}

#[test]
fn wrong_words_are_told() {
    for (words, part) in [
        (&["check", "--at", "127.0.0.1:5222"][..], "give both"),
        (&["check", "--of", "a b"], "is no domain"),
        (&["check", "--of", "example.org", "--data", "x"], "leave out --data"),
        (&["check", "--of", "example.org", "--at", "nowhere"], "ADDRESS:PORT"),
        (&["check", "--of", "nobody.invalid"], "cannot be looked at"),
    ] {
        let said = run(&Dir::new(), words, "");
        assert!(said.code == 1 && said.err.contains(part), "{words:?}: {}{}", said.out, said.err);
    }
}
