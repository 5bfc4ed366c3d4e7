//! The real binary, started in a folder of its own, and a client that says to it whatever a test wants.

use async_rustls::rustls::crypto::ring::default_provider;
use async_rustls::rustls::pki_types::CertificateDer;
use async_rustls::rustls::pki_types::pem::PemObject;
use async_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Longer than anything takes; a test that waits so long has failed.
pub const LONG: Duration = Duration::from_secs(60);

/// A folder of one test.
pub struct Dir(pub PathBuf);

impl Dir {
    pub fn new() -> Dir {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let dir = std::env::temp_dir().join(format!("inglenook-cli-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        Dir(dir)
    }

    /// With settings: free ports, and `more` above them.
    pub fn with(more: &str) -> Dir {
        let dir = Dir::new();
        dir.settings(more);
        dir
    }

    /// The same, and the data is that of `example.org` already, as after a first start.
    pub fn begun(more: &str) -> Dir {
        let dir = Dir::with(more);
        std::fs::write(dir.data().join("domain"), "example.org\n").unwrap();
        dir
    }

    pub fn settings(&self, more: &str) {
        std::fs::create_dir_all(self.data()).unwrap();
        // What a test counts is not what everybody in a house has, unless it asks for that.
        let house = if more.contains("[house]") { "" } else { "[house]\ncontacts = false\nroom = false\n" };
        let text = format!(
            "{more}\n{house}[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = [\"127.0.0.1:0\"]\nc2s_tls = [\"127.0.0.1:0\"]\n"
        );
        std::fs::write(self.data().join("inglenook.toml"), text).unwrap();
    }

    pub fn data(&self) -> PathBuf {
        self.0.join("data")
    }

    /// The certificate of the server's authority.
    pub fn ca(&self) -> PathBuf {
        self.data().join("cert/ca.crt")
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub fn command(dir: &Dir, words: &[&str]) -> Command {
    // Another build of it, to compare.
    let binary = std::env::var_os("INGLENOOK_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_inglenook").into());
    let mut command = Command::new(binary);
    command.current_dir(&dir.0).args(words).env_remove("STATE_DIRECTORY").env_remove("RUST_LOG");
    command
}

/// What a command said, and how it ended.
pub struct Said {
    pub out: String,
    pub err: String,
    pub code: i32,
}

pub fn run(dir: &Dir, words: &[&str], input: &str) -> Said {
    let mut command = command(dir, words);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended without a look at it.
    match child.stdin.take().unwrap().write_all(input.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => panic!("{e}"),
        _ => {}
    }
    let output = child.wait_with_output().unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}

/// A command on `dir`'s data that must go well; its output.
pub fn ok(dir: &Dir, words: &[&str], input: &str) -> String {
    let data = dir.data();
    let said = run(dir, &[words, &["--data", data.to_str().unwrap()]].concat(), input);
    assert_eq!(said.code, 0, "{words:?}: {}{}", said.out, said.err);
    said.out
}

/// A command on `dir`'s data that must fail; what it complains about.
pub fn fails(dir: &Dir, words: &[&str], input: &str) -> String {
    let data = dir.data();
    let said = run(dir, &[words, &["--data", data.to_str().unwrap()]].concat(), input);
    assert_eq!(said.code, 1, "{words:?}: {}{}", said.out, said.err);
    said.err
}

/// A running server.
pub struct Server {
    pub child: Child,
    pub greeting: Vec<String>,
    pub log: Mutex<Receiver<String>>,
}

impl Server {
    pub fn start(dir: &Dir, words: &[&str]) -> Server {
        let data = dir.data();
        let words = [&["serve", "--data", data.to_str().unwrap()], words].concat();
        Server::of(command(dir, &words))
    }

    /// Waits until it serves.
    pub fn of(mut command: Command) -> Server {
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
                return Server { child, greeting, log: Mutex::new(log) };
            }
        }
        child.wait().unwrap();
        let log: Vec<String> = log.into_iter().collect();
        panic!("the server ended: {}", log.join("\n"));
    }

    pub fn address(&self, name: &str) -> SocketAddr {
        let line = self.greeting.iter().find(|l| l.split_whitespace().nth(2) == Some(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for a line of the log.
    pub fn logs(&self, part: &str) -> String {
        loop {
            let line = self.log.lock().unwrap().recv_timeout(LONG).unwrap_or_else(|_| panic!("no line with {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Bytes of memory it has, and the most it ever had.
    pub fn memory(&self) -> (usize, usize) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim_end_matches(" kB").trim().parse::<usize>().unwrap() * 1024
        };
        (of("VmRSS:"), of("VmHWM:"))
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn stop(mut self) -> ExitStatus {
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

pub const HEADER: &str = "<?xml version='1.0'?><stream:stream to='example.org' version='1.0' xmlns='jabber:client' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

pub fn tls(socket: TcpStream, ca: &Path) -> Tls {
    tls_of(socket, ca, ALL_VERSIONS)
}

/// With one of these versions.
pub fn tls_of(socket: TcpStream, ca: &Path, versions: &[&'static SupportedProtocolVersion]) -> Tls {
    tls_with(socket, config(ca, versions))
}

/// That says which protocols it wants to speak inside (RFC 7301).
pub fn tls_for(socket: TcpStream, ca: &Path, protocols: &[&str]) -> Tls {
    let mut config = config(ca, ALL_VERSIONS);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    tls_with(socket, config)
}

fn tls_with(socket: TcpStream, config: ClientConfig) -> Tls {
    let connection = ClientConnection::new(Arc::new(config), "example.org".try_into().unwrap()).unwrap();
    StreamOwned::new(connection, socket)
}

fn config(ca: &Path, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub fn connect(server: &Server, name: &str) -> TcpStream {
    let socket = TcpStream::connect(server.address(name)).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// From another address of this machine, as another device would be.
#[cfg(target_os = "linux")]
pub fn connect_from(server: &Server, name: &str, from: &str) -> TcpStream {
    socket_from(server.address(name), from)
}

/// The same, to an address.
#[cfg(target_os = "linux")]
pub fn socket_from(to: SocketAddr, from: &str) -> TcpStream {
    use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
    connect(&socket, &to).unwrap();
    let socket = TcpStream::from(socket);
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// Begins a stream; gives its features.
pub fn greet(stream: &mut (impl Read + Write)) -> String {
    stream.write_all(HEADER.as_bytes()).unwrap();
    until(stream, "</stream:features>")
}

/// Reads until `end` has come; everything that came.
pub fn until(stream: &mut impl Read, end: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains(end) {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("the end came before {end:?}: {text}"),
            Ok(n) => text.push_str(std::str::from_utf8(&buffer[..n]).unwrap()),
            // A socket with a time limit can be interrupted, by a machine that was stopped for a moment.
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => panic!("{e} before {end:?}: {text}"),
        }
    }
    text
}

/// Logs in by PLAIN and binds.
pub fn login(server: &Server, dir: &Dir, name: &str, password: &str) -> Tls {
    let mut stream = tls(connect(server, "c2s_tls"), &dir.ca());
    log_in(&mut stream, name, password);
    stream
}

/// The same on a stream of TLS.
pub fn log_in(stream: &mut Tls, name: &str, password: &str) {
    greet(stream);
    stream.write_all(plain(name, password).as_bytes()).unwrap();
    until(stream, "<success");
    greet(stream);
    let bind = "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";
    stream.write_all(bind.as_bytes()).unwrap();
    until(stream, "</iq>");
    stream.write_all(b"<presence/>").unwrap();
}

/// A login by PLAIN.
pub fn plain(name: &str, password: &str) -> String {
    let proof = STANDARD.encode(format!("\0{name}\0{password}"));
    format!("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{proof}</auth>")
}

/// Waits for the answer to a ping; gives all that came until then.
pub fn ping(stream: &mut Tls) -> String {
    stream.write_all(b"<iq type='get' id='ping'><ping xmlns='urn:xmpp:ping'/></iq>").unwrap();
    until(stream, "id='ping'")
}
