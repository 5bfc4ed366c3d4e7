//! The real binary: its commands, its files, its signals, and what it does with connections.

#![allow(clippy::unwrap_used)]

use async_rustls::rustls::crypto::ring::default_provider;
use async_rustls::rustls::pki_types::CertificateDer;
use async_rustls::rustls::pki_types::pem::PemObject;
use async_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use base64::Engine;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Longer than anything takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(60);

/// A folder of one test.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("inglenook-cli-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    /// With settings: free ports, and `more` above them.
    fn with(more: &str) -> Dir {
        let dir = Dir::new();
        dir.settings(more);
        dir
    }

    fn settings(&self, more: &str) {
        std::fs::create_dir_all(self.data()).unwrap();
        let text = format!("{more}\n[listen]\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = [\"127.0.0.1:0\"]\n");
        std::fs::write(self.data().join("inglenook.toml"), text).unwrap();
    }

    fn data(&self) -> PathBuf {
        self.0.join("data")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(dir: &Dir, words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_inglenook"));
    command.current_dir(&dir.0).args(words).env_remove("STATE_DIRECTORY").env_remove("RUST_LOG");
    command
}

/// What a command said, and how it ended.
struct Said {
    out: String,
    err: String,
    code: i32,
}

fn run(dir: &Dir, words: &[&str], input: &str) -> Said {
    let mut command = command(dir, words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

/// A command on `dir`'s data that must go well; its output.
fn ok(dir: &Dir, words: &[&str], input: &str) -> String {
    let data = dir.data();
    let said = run(dir, &[words, &["--data", data.to_str().unwrap()]].concat(), input);
    assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
    said.out
}

/// A command on `dir`'s data that must fail; what it complains about.
fn fails(dir: &Dir, words: &[&str], input: &str) -> String {
    let data = dir.data();
    let said = run(dir, &[words, &["--data", data.to_str().unwrap()]].concat(), input);
    assert_eq!(said.code, 1, "{words:?}: {}{}", said.out, said.err);
    said.err
}

/// A running server.
struct Server {
    child: Child,
    greeting: Vec<String>,
    log: Receiver<String>,
}

impl Server {
    fn start(dir: &Dir, words: &[&str]) -> Server {
        let data = dir.data();
        let words = [&["serve", "--data", data.to_str().unwrap()], words].concat();
        Server::launch(command(dir, &words))
    }

    fn launch(mut command: Command) -> Server {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (said, log) = channel();
        std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                let _ = said.send(line);
            }
        });
        let mut greeting = Vec::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            let last = line.starts_with("next ");
            greeting.push(line);
            if last {
                return Server { child, greeting, log };
            }
        }
        child.wait().unwrap();
        let log: Vec<String> = log.into_iter().collect();
        panic!("the server ended: {}", log.join("\n"));
    }

    fn address(&self, name: &str) -> SocketAddr {
        let line = self.greeting.iter().find(|l| l.split_whitespace().nth(2) == Some(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line of the log.
    fn logs(&self, part: &str) -> String {
        loop {
            let line = self.log.recv_timeout(LONG).unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    fn stop(mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.logs("stopped");
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const HEADER: &str = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

type Tls = StreamOwned<ClientConnection, TcpStream>;

fn tls(socket: TcpStream, ca: &Path) -> Tls {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), "example.org".try_into().unwrap()).unwrap();
    StreamOwned::new(connection, socket)
}

fn connect(server: &Server, name: &str) -> TcpStream {
    let socket = TcpStream::connect(server.address(name)).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// Reads until `end` has come; everything that came.
fn until(stream: &mut impl Read, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        match stream.read(&mut buffer).unwrap() {
            0 => panic!("the end came before {end:?}: {text}"),
            n => text.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
        }
    }
    text
}

/// Logs in by PLAIN and binds.
fn login(server: &Server, dir: &Dir, name: &str, password: &str) -> Tls {
    let mut stream = tls(connect(server, "c2s_tls"), &dir.data().join("cert/ca.crt"));
    stream.write_all(HEADER.as_bytes()).unwrap();
    until(&mut stream, "</stream:features>");
    let proof = base64::engine::general_purpose::STANDARD.encode(format!("\0{name}\0{password}"));
    write!(stream, "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>").unwrap();
    until(&mut stream, "<success");
    stream.write_all(HEADER.as_bytes()).unwrap();
    until(&mut stream, "</stream:features>");
    let bind = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    stream.write_all(bind.as_bytes()).unwrap();
    until(&mut stream, "</iq>");
    stream.write_all(b"<presence/>").unwrap();
    stream
}

#[test]
fn usage_ends_with_2_and_help_with_0() {
    let dir = Dir::new();
    for wrong in [&["serve", "--sing"][..], &["user", "add"], &["sing"], &[]] {
        assert_eq!(run(&dir, wrong, "").code, 2, "{wrong:?}");
    }
    let help = run(&dir, &["--help"], "");
    assert_eq!(help.code, 0);
    for verb in ["serve", "user", "cert", "config", "check"] {
        assert!(help.out.contains(verb), "{}", help.out);
    }
}

#[test]
fn what_config_prints_is_taken_as_settings() {
    let dir = Dir::new();
    let printed = run(&dir, &["config"], "");
    assert_eq!(printed.code, 0);
    std::fs::create_dir(dir.data()).unwrap();
    std::fs::write(dir.data().join("inglenook.toml"), printed.out).unwrap();
    assert_eq!(ok(&dir, &["user", "list"], ""), "");
}

#[test]
fn wrong_settings_are_named_with_their_line() {
    let dir = Dir::with("plain = true\nregistratoin = true");
    let error = fails(&dir, &["serve"], "");
    let path = dir.data().join("inglenook.toml");
    let wanted = format!("{}:2: there is no setting \"registratoin\"; did you mean \"registration\"?", path.display());
    assert!(error.contains(&wanted), "{error}");
}

#[test]
fn serve_makes_everything_for_its_user_alone() {
    let dir = Dir::with("");
    std::fs::set_permissions(dir.data(), PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::start(&dir, &["--domain", "example.org"]);
    assert!(server.greeting[0].ends_with("serves example.org"), "{:?}", server.greeting);
    let shown = ok(&dir, &["cert", "show"], "");
    let fingerprint = server.greeting.iter().find_map(|l| l.strip_prefix("fingerprint  SHA-256 ")).unwrap();
    assert!(shown.contains(fingerprint), "{shown}");
    assert!(server.greeting.last().unwrap().contains("inglenook user add NAME@example.org --data"));
    let mut folders = vec![dir.data()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        let mode = |path: &Path| std::fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700, "{}", folder.display());
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("inglenook.toml") {
                files += 1;
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
    assert!(files >= 8, "{files}");
    assert!(server.stop().success());
}

#[test]
fn one_server_at_a_time_and_one_domain() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let error = fails(&dir, &["serve"], "");
    assert!(error.contains("runs on") && error.contains(&format!("process {}", server.child.id())), "{error}");
    assert!(server.stop().success());
    let error = fails(&dir, &["serve", "--domain", "example.net"], "");
    assert!(error.contains("belong to example.org"), "{error}");
    // Without an argument it is the one the data has.
    let server = Server::start(&dir, &[]);
    assert!(server.greeting[0].ends_with("serves example.org"));
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let dir = Dir::with("");
    std::fs::write(dir.data().join("inglenook.toml"), format!("[listen]\nc2s = [\"{address}\"]\nc2s_tls = []\n"))
        .unwrap();
    let error = fails(&dir, &["serve"], "");
    assert!(error.contains(&address.to_string()) && error.contains("setting c2s in [listen]"), "{error}");
    let report = run(&dir, &["check", "--data", "data"], "");
    assert_eq!(report.code, 1);
    assert!(report.out.contains("WRONG  port: cannot listen on"), "{}", report.out);
}

#[test]
fn accounts_without_a_server() {
    let dir = Dir::with("domain = \"example.org\"");
    accounts(&dir);
}

#[test]
fn accounts_with_a_server() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    accounts(&dir);
    assert!(server.stop().success());
    assert_eq!(ok(&dir, &["user", "list"], ""), "romeo@example.org\n");
}

fn accounts(dir: &Dir) {
    let made = ok(dir, &["user", "add", "Juliet"], "");
    let (first, second) = made.split_once('\n').unwrap();
    assert_eq!(first, "added juliet@example.org");
    assert!(second.strip_prefix("password").unwrap().trim().len() >= 18, "{made}");
    let told = ok(dir, &["user", "add", "romeo@example.org", "--password-stdin"], "calliope\n");
    assert_eq!(told, "added romeo@example.org\n");
    assert_eq!(ok(dir, &["user", "list"], ""), "juliet@example.org\nromeo@example.org\n");
    assert!(fails(dir, &["user", "add", "romeo"], "").contains("there already"));
    assert!(fails(dir, &["user", "add", "tybalt@example.net"], "").contains("not an address of example.org"));
    assert!(fails(dir, &["user", "add", "a b@example.org"], "").contains("not an address"));
    assert!(fails(dir, &["user", "add", "paris", "--password-stdin"], "").contains("no password on standard input"));
    assert!(ok(dir, &["user", "passwd", "juliet"], "").contains("password "));
    assert!(fails(dir, &["user", "passwd", "nurse"], "").contains("there is no nurse@example.org"));
    assert_eq!(ok(dir, &["user", "remove", "juliet"], ""), "removed juliet@example.org\n");
    assert!(fails(dir, &["user", "remove", "juliet"], "").contains("there is no juliet@example.org"));
    assert_eq!(ok(dir, &["user", "list"], ""), "romeo@example.org\n");
}

#[test]
fn the_control_socket_works_in_a_deep_folder() {
    let mut dir = Dir::new();
    let top = dir.0.clone();
    dir.0.push("a-folder-with-a-long-name/and-another-one-in-it/and-one-more-so-that-no-socket-address-holds-it-all");
    dir.settings("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    assert_eq!(ok(&dir, &["user", "add", "romeo", "--password-stdin"], "calliope\n"), "added romeo@example.org\n");
    assert!(fails(&dir, &["serve"], "").contains("runs on"));
    assert!(server.stop().success());
    dir.0 = top;
}

#[test]
fn a_fresh_folder_takes_the_first_account_s_domain() {
    let dir = Dir::with("");
    ok(&dir, &["user", "add", "juliet@example.org"], "");
    assert!(Server::start(&dir, &[]).greeting[0].ends_with("serves example.org"));
}

#[test]
fn an_account_outlives_a_killed_server() {
    let dir = Dir::with("");
    let mut server = Server::start(&dir, &["--domain", "example.org"]);
    ok(&dir, &["user", "add", "juliet"], "");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
    assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
    let server = Server::start(&dir, &[]);
    assert_eq!(ok(&dir, &["user", "list"], ""), "juliet@example.org\n");
    assert!(server.stop().success());
}

#[test]
fn a_stop_says_goodbye_to_every_stream() {
    let dir = Dir::with("plain = true");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet\n");
    let mut plain = connect(&server, "c2s");
    plain.write_all(HEADER.as_bytes()).unwrap();
    until(&mut plain, "</stream:features>");
    let mut session = login(&server, &dir, "juliet", "capulet");
    // One that has said nothing yet, and one in the middle of its handshake.
    let mut silent = connect(&server, "c2s_tls");
    silent.write_all(&[22, 3, 1]).unwrap();
    server.signal(Signal::TERM);
    until(&mut plain, "<system-shutdown");
    let end = until(&mut session, "</stream:stream>");
    assert!(end.contains("<system-shutdown"), "{end}");
    // TLS ends in order: a missing close_notify would be an error here.
    assert_eq!(session.read(&mut [0; 16]).unwrap(), 0);
    drop((plain, session));
    assert_eq!(silent.read(&mut [0; 16]).unwrap_or(0), 0);
    assert!(server.stop().success());
    assert!(!dir.data().join("control").exists());
}

#[test]
fn the_variable_for_the_log_goes_before_the_setting() {
    let lines = |variable: &str, setting: &str| -> Vec<String> {
        let dir = Dir::with(&format!("log = \"{setting}\""));
        let mut command = command(&dir, &["serve", "--data", "data", "--domain", "example.org"]);
        command.env("RUST_LOG", variable);
        let mut server = Server::launch(command);
        drop(connect(&server, "c2s"));
        server.signal(Signal::TERM);
        assert!(server.child.wait().unwrap().success());
        std::iter::from_fn(|| server.log.recv().ok()).collect()
    };
    assert_eq!(lines("warn", "trace"), Vec::<String>::new());
    assert!(lines("info", "error").contains(&"info: stopped".to_owned()));
}

#[test]
fn settings_and_certificate_are_reloaded() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let own_ca = dir.data().join("cert/ca.crt");
    let shown = |ca: &Path| {
        let mut stream = tls(connect(&server, "c2s_tls"), ca);
        stream.write_all(HEADER.as_bytes())?;
        Ok::<_, std::io::Error>(until(&mut stream, "</stream:features>"))
    };
    assert!(!shown(&own_ca).unwrap().contains("PLAIN"));
    // Another authority's certificate for the same domain.
    let other = Dir::with("domain = \"example.org\"");
    ok(&other, &["cert", "renew"], "");
    let files = other.data().join("cert");
    let (chain, key, other_ca) = (files.join("server.crt"), files.join("server.key"), files.join("ca.crt"));
    let said = ok(&dir, &["cert", "install", chain.to_str().unwrap(), key.to_str().unwrap()], "");
    assert!(said.contains("the running server shows it from now on"), "{said}");
    shown(&other_ca).unwrap();
    shown(&own_ca).unwrap_err();
    // And back, with other settings, by signal.
    std::fs::remove_file(dir.data().join("cert/installed.pem")).unwrap();
    dir.settings("plain = true");
    server.signal(Signal::HUP);
    server.logs("reloaded the own certificate");
    assert!(shown(&own_ca).unwrap().contains("<mechanism>PLAIN</mechanism>"));
    // What is wrong changes nothing.
    dir.settings("plain = maybe");
    server.signal(Signal::HUP);
    assert!(server.logs("nothing was reloaded").contains("inglenook.toml:1"));
    assert!(shown(&own_ca).unwrap().contains("<mechanism>PLAIN</mechanism>"));
    assert!(server.stop().success());
}

#[test]
fn what_is_sent_behind_starttls_is_never_read() {
    let dir = Dir::with("plain = true");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut socket = connect(&server, "c2s");
    let injected = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/><stream:stream to='evil.example'><auth/>";
    socket.write_all(format!("{HEADER}{injected}").as_bytes()).unwrap();
    until(&mut socket, "<proceed");
    let mut stream = tls(socket, &dir.data().join("cert/ca.crt"));
    stream.write_all(HEADER.as_bytes()).unwrap();
    let features = until(&mut stream, "</stream:features>");
    assert!(
        features.contains("<mechanisms") && !features.contains("error") && !features.contains("<starttls"),
        "{features}"
    );
}

#[test]
fn a_stanza_before_tls_ends_the_stream() {
    let dir = Dir::with("");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut socket = connect(&server, "c2s");
    socket.write_all(format!("{HEADER}<presence/>").as_bytes()).unwrap();
    let text = until(&mut socket, "</stream:stream>");
    assert!(text.contains("<not-authorized"), "{text}");
    assert_eq!(socket.read(&mut [0; 16]).unwrap(), 0);
}

#[test]
fn connections_of_one_address_are_limited() {
    let dir = Dir::with("connections_per_address = 2");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    let mut greeted = Vec::new();
    for _ in 0..2 {
        let mut socket = connect(&server, "c2s");
        socket.write_all(HEADER.as_bytes()).unwrap();
        until(&mut socket, "</stream:features>");
        greeted.push(socket);
    }
    let refused = |server: &Server| connect(server, "c2s").read(&mut [0; 16]).unwrap_or(0) == 0;
    assert!(refused(&server));
    // Another address is another's business.
    #[cfg(target_os = "linux")]
    {
        let listen = server.address("c2s");
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
        rustix::net::bind(&socket, &"127.0.0.2:0".parse::<SocketAddr>().unwrap()).unwrap();
        rustix::net::connect(&socket, &listen).unwrap();
        let mut socket = TcpStream::from(socket);
        socket.write_all(HEADER.as_bytes()).unwrap();
        until(&mut socket, "</stream:features>");
    }
    // Once one has ended there is room again.
    let mut first = greeted.remove(0);
    first.write_all(b"</stream:stream>").unwrap();
    until(&mut first, "</stream:stream>");
    assert_eq!(first.read(&mut [0; 16]).unwrap(), 0);
    drop(first);
    while refused_now(&server) {}
}

/// Whether a connection is closed before it gets an answer.
fn refused_now(server: &Server) -> bool {
    let mut socket = connect(server, "c2s");
    let greeted = socket.write_all(HEADER.as_bytes()).and_then(|()| socket.read(&mut [0; 16]));
    greeted.unwrap_or(0) == 0
}

#[test]
fn who_never_reads_is_closed_and_nobody_else_is() {
    let dir = Dir::with("plain = true\noffline_bytes = 0");
    let server = Server::start(&dir, &["--domain", "example.org"]);
    ok(&dir, &["user", "add", "juliet", "--password-stdin"], "capulet\n");
    ok(&dir, &["user", "add", "romeo", "--password-stdin"], "montague\n");
    let deaf = login(&server, &dir, "juliet", "capulet");
    let mut romeo = login(&server, &dir, "romeo", "montague");
    let ping = "<iq type='get' id='p'><ping xmlns='urn:xmpp:ping'/></iq>";
    let message = format!("<message to='juliet@example.org'><body>{}</body></message>", "x".repeat(200_000));
    let mut closed = false;
    // Far more than all buffers of two sockets.
    for _ in 0..400 {
        romeo.write_all(message.as_bytes()).unwrap();
        romeo.write_all(ping.as_bytes()).unwrap();
        until(&mut romeo, "id='p'");
        closed = closed || server.log.try_iter().any(|line| line.contains("does not read what waits for it"));
        if closed {
            break;
        }
    }
    assert!(closed);
    romeo.write_all(ping.as_bytes()).unwrap();
    until(&mut romeo, "id='p'");
    drop(deaf);
    assert!(server.stop().success());
}
