//! The server under test, in a folder of its own: ours, or another to compare with.

use crate::common::binary::{Dir, LONG, Server, ok};
use crate::device::DEVICES;
use crate::stream::{DOMAIN, PASSWORD};
use async_rustls::rustls::crypto::ring::default_provider;
use async_rustls::rustls::pki_types::CertificateDer;
use async_rustls::rustls::pki_types::pem::PemObject;
use async_rustls::rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeSet;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

/// Names the other server: `prosody`.
const PEER: &str = "INGLENOOK_DURABILITY_PEER";

/// The installation of a server; it can be started and killed many times.
pub(crate) struct Peer {
    dir: Dir,
    /// Prosody and its port; otherwise ours.
    prosody: Option<u16>,
    pub(crate) trust: Arc<ClientConfig>,
}

/// A running server. Killed when dropped.
pub(crate) struct Running {
    server: Alive,
    pub(crate) address: SocketAddr,
}

enum Alive {
    Inglenook(Server),
    Prosody(Child),
}

impl Peer {
    pub(crate) fn new() -> Peer {
        let names: BTreeSet<&str> = DEVICES.iter().map(|spec| spec.name).collect();
        match std::env::var(PEER).as_deref() {
            Err(_) => Peer::inglenook(&names),
            Ok("prosody") => Peer::prosody(&names),
            Ok(other) => panic!("{PEER} is {other:?}, not \"prosody\""),
        }
    }

    /// Whether the promise must hold; another server made none.
    pub(crate) fn is_ours(&self) -> bool {
        self.prosody.is_none()
    }

    pub(crate) fn name(&self) -> &'static str {
        if self.is_ours() { "Inglenook" } else { "Prosody" }
    }

    /// All that must survive.
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.data()
    }

    /// A place beside the data.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.0.join(name)
    }

    /// The file of the certificate that clients must trust.
    pub(crate) fn authority(&self) -> PathBuf {
        if self.is_ours() { self.dir.ca() } else { self.beside("leaf.crt") }
    }

    fn inglenook(names: &BTreeSet<&str>) -> Peer {
        let dir = Dir::begun("");
        let text = format!(
            "domain = '{DOMAIN}'\nplain = true\n[house]\ncontacts = false\nroom = false\n[listen]\ns2s = []\ns2s_tls = []\nhttps = []\nc2s = []\nc2s_tls = ['127.0.0.1:0']\n"
        );
        fs::write(dir.data().join("inglenook.toml"), text).unwrap();
        for name in names {
            ok(&dir, &["user", "add", &format!("{name}@{DOMAIN}"), "--password-stdin"], &format!("{PASSWORD}\n"));
        }
        // The authority is made at the first start.
        let peer = Peer { dir, prosody: None, trust: trust(&[]) };
        peer.start(None).stop();
        let ca = CertificateDer::from_pem_file(peer.dir.ca()).unwrap();
        Peer { trust: trust(&[ca]), ..peer }
    }

    fn prosody(names: &BTreeSet<&str>) -> Peer {
        let dir = Dir::new();
        let root = dir.0.to_str().unwrap();
        let certificate = rcgen::generate_simple_self_signed([DOMAIN.to_owned()]).unwrap();
        fs::write(dir.0.join("leaf.crt"), certificate.cert.pem()).unwrap();
        fs::write(dir.0.join("leaf.key"), certificate.signing_key.serialize_pem()).unwrap();
        let port = free_port();
        // The storage is Debian's default. Its limit of 10 KB a second for each client is left out.
        let config = format!(
            "run_as_root = true\ndata_path = '{root}/data'\npidfile = '{root}/pid'\nlog = {{ warn = '{root}/log' }}\n\
             interfaces = {{ '127.0.0.1' }}\nc2s_ports = {{}}\nc2s_direct_tls_ports = {{ {port} }}\n\
             c2s_direct_tls_ssl = {{ certificate = '{root}/leaf.crt', key = '{root}/leaf.key' }}\n\
             modules_enabled = {{ 'roster', 'saslauth', 'tls', 'disco', 'ping', 'smacks', 'mam', 'carbons' }}\n\
             modules_disabled = {{ 's2s' }}\nauthentication = 'internal_plain'\nstorage = 'internal'\n\
             VirtualHost '{DOMAIN}'\nssl = {{ certificate = '{root}/leaf.crt', key = '{root}/leaf.key' }}\n"
        );
        fs::write(dir.0.join("prosody.cfg.lua"), config).unwrap();
        let accounts = dir.data().join(DOMAIN.replace('.', "%2e")).join("accounts");
        fs::create_dir_all(&accounts).unwrap();
        for name in names {
            let text = format!("return {{ [\"password\"] = \"{PASSWORD}\"; }};\n");
            fs::write(accounts.join(format!("{name}.dat")), text).unwrap();
        }
        Peer { dir, prosody: Some(port), trust: trust(&[certificate.cert.der().clone()]) }
    }

    /// Starts it, with a disk that will lose what was not synced if there is one, and waits until it serves.
    pub(crate) fn start(&self, shim: Option<&Shim>) -> Running {
        let with_shim = |command: &mut Command| {
            if let Some(shim) = shim {
                command.env("LD_PRELOAD", &shim.path).env("CUT_ROOT", self.data());
                command.env("CUT_GRAVES", &shim.graves).env("CUT_LOG", &shim.notes);
            }
        };
        let Some(port) = self.prosody else {
            let data = self.data();
            let mut command = crate::common::binary::command(&self.dir, &["serve", "--data", data.to_str().unwrap()]);
            with_shim(&mut command);
            let server = Server::of(command);
            let address = server.address("c2s_tls");
            return Running { server: Alive::Inglenook(server), address };
        };
        let mut command = Command::new("prosody");
        command.arg("-F").arg("--config").arg(self.beside("prosody.cfg.lua"));
        with_shim(&mut command);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(self.beside("stderr")).unwrap());
        let mut child = command.spawn().expect("prosody starts");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let end = Instant::now() + LONG;
        while TcpStream::connect(address).is_err() {
            assert!(child.try_wait().unwrap().is_none() && Instant::now() < end, "prosody does not serve");
            std::thread::sleep(Duration::from_millis(2));
        }
        Running { server: Alive::Prosody(child), address }
    }
}

/// A port that stays free while the server is away: not one of those that the system gives to connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 20_000 + (std::process::id() % 1_000) as u16 * 10;
    let mut ports = std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

fn trust(roots: &[CertificateDer<'static>]) -> Arc<ClientConfig> {
    let mut store = RootCertStore::empty();
    roots.iter().for_each(|root| store.add(root.clone()).unwrap());
    let config =
        ClientConfig::builder_with_provider(Arc::new(default_provider())).with_safe_default_protocol_versions();
    Arc::new(config.unwrap().with_root_certificates(store).with_no_client_auth())
}

impl Running {
    fn child(&mut self) -> &mut Child {
        match &mut self.server {
            Alive::Inglenook(server) => &mut server.child,
            Alive::Prosody(child) => child,
        }
    }

    /// Fails if it has ended by itself.
    pub(crate) fn must_live(&mut self) {
        let ended = self.child().try_wait().unwrap();
        assert!(ended.is_none(), "the server ended by itself: {ended:?}");
    }

    pub(crate) fn kill(mut self) {
        self.must_live();
        self.child().kill().unwrap();
        self.child().wait().unwrap();
    }

    /// Ends it in order.
    pub(crate) fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(self.child());
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child().wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child().kill();
        let _ = self.child().wait();
    }
}

/// Where a disk that loses things keeps its notes.
pub(crate) struct Shim {
    pub(crate) path: PathBuf,
    graves: PathBuf,
    pub(crate) notes: PathBuf,
}

impl Shim {
    pub(crate) fn new(peer: &Peer, library: &Path) -> Shim {
        Shim { path: library.into(), graves: peer.beside("graves"), notes: peer.beside("notes") }
    }

    /// Forgets everything, for a new start.
    pub(crate) fn reset(&self) {
        let _ = fs::remove_dir_all(&self.graves);
        fs::create_dir_all(&self.graves).unwrap();
        let _ = fs::remove_file(&self.notes);
    }
}
