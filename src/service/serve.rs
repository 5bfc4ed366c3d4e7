//! The whole server: opened, run, told to read its settings again, and ended.
//!
//! ```no_run
//! use inglenook::service::serve::{Options, Order, Server};
//!
//! let server = Server::open(Options { data: Some("chat".into()), ..Options::default() })?;
//! for (setting, address) in server.addresses() {
//!     eprintln!("{setting} at {address}");
//! }
//! let orders = server.orders();
//! let thread = std::thread::spawn(move || server.run());
//! // ... later, from anywhere:
//! let _ = orders.try_send(Order::Stop);
//! thread.join().expect("the server does not panic")?;
//! # Ok::<(), inglenook::service::Failure>(())
//! ```

use super::cert::{Certificates, Facts, Names};
use super::config::Config;
use super::disk::{
    data::{self, Data, Lock},
    files::{Files, room},
    storage::{Requests, Storage},
    wear::Wear,
};
use super::hub::Hub;
use super::manager::{Manager, Told};
use super::mdns::{self, Finder};
use super::net::{
    gate::Gate,
    listen::{self, Port},
    listeners::{C2S, C2S_TLS, COMPONENT, HTTPS},
    s2s::{self, Servers},
    web::{Numbers, Web},
};
use super::owner::own_file::OwnFile;
use super::owner::{
    control, domain, find,
    lookup::{Lookup, Ports},
    metrics,
    qr::qr_code,
    restore, user,
};
use super::tls::Acceptor;
use super::{Failure, Result, first, host, lock, random, share};
use crate::core::{self, Core, Input};
use crate::ext;
use crate::store::card::Card;
use crate::store::sled_engine;
use crate::stream::Terms;
use crate::web::pages::House;
use crate::wire::Jid;
use crate::wire::punycode::a_labels;
use async_signal::{Signal, Signals};
use smol::net::unix::UnixListener;
use smol::stream::StreamExt;
use smol::{Executor, Timer, channel};
use std::future::Future;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

/// Threads that carry connections, at most: the core is one lock, and more only wait for it.
const THREADS: usize = 4;
/// How long the end may take until connections are cut, in all.
const FAREWELL: Duration = Duration::from_millis(4_000);
/// How often the certificate is looked at; and when first, if nothing was wrong with it at the start.
const CERTIFICATE_CHECK: Duration = Duration::from_secs(86_400);
const CERTIFICATE_FIRST_CHECK: Duration = Duration::from_secs(3_600);
/// How often what is to go of uploaded files is looked for.
const FILES_CHECK: Duration = Duration::from_secs(3_600);
/// How often the box's clock is looked at, and how far it must have jumped to look at the certificate at once.
const CLOCK_CHECK: Duration = Duration::from_secs(10);
const CLOCK_JUMP: Duration = Duration::from_secs(60);

/// Where files are had by HTTP, unless something else is said.
const HTTPS_PORT: u16 = 5443;
/// How long the first start waits for that.
const FIRST_LOOKUP: Duration = Duration::from_millis(500);
/// How often it is looked whether the domain is known to DNS.
const URLS_CHECK: Duration = Duration::from_secs(600);

/// How long a thread may work without a look at what came.
const LOOK: Duration = Duration::from_millis(1);

/// Threads that the server cannot be without: those of the database, of storage, of timers and sockets, of work that blocks.
const THREADS_NEEDED: usize = 8;
/// Those of the database.
const THREADS_OF_STORE: usize = 4;

/// How long to wait for a folder that another process has.
const HOLD: Duration = Duration::from_secs(6);

/// What a server is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The data folder; see [`Data::locate`].
    pub data: Option<PathBuf>,
    /// Whether nobody named it: it was found ([`super::owner::find`]).
    pub found: bool,
    /// Whether it is somebody else's, and the command was typed with `sudo`: as what is to be typed next must be.
    pub sudo: bool,
    /// The settings; else `DIR/inglenook.toml` if it is there.
    pub config: Option<PathBuf>,
    /// Whether the settings are left alone: they are wrong, and the server that runs has others. See [`Options::of_running`].
    pub unset: bool,
    /// The domain; see [`Data::settle`].
    pub domain: Option<String>,
    /// Makes the command that checks a damaged database in a process of its own; see [`Card::open`].
    pub probe: Option<fn() -> Option<Command>>,
    /// Hears how the running server is.
    pub manager: Manager,
}

/// A data folder with its settings and its domain: what every command begins with.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where all of it is.
    pub data: Data,
    /// The settings.
    pub config: Config,
    /// The domain.
    pub domain: Jid,
}

impl Place {
    /// What URLs begin with, as far as the settings tell.
    pub fn web_base(&self) -> Option<String> {
        self.config.addresses(HTTPS).first().map(|address| base_of(self.domain.domain(), address.port()))
    }
}

/// What URLs begin with at a name and a port.
fn base_of(name: &str, port: u16) -> String {
    let name = a_labels(name);
    if port == 443 { format!("https://{name}") } else { format!("https://{name}:{port}") }
}

impl Options {
    /// Finds folder, settings and domain; makes nothing.
    ///
    /// # Errors
    /// When the settings are wrong or the domain does not fit.
    pub fn place(&self) -> Result<Place> {
        let data = Data::locate(self.data.as_deref());
        let config = match self.unset {
            true => Config::default(),
            false => Config::load(self.config.as_deref(), data.dir())?,
        };
        let domain = data.settle(self.domain.as_deref(), &config)?;
        if let Some(kept) = data.domain()?.filter(|kept| *kept != domain) {
            domain::may_change(self, &data, &kept, &domain)?;
        }
        config.check_components(&domain)?;
        Ok(Place { data, config, domain })
    }

    /// Of a command that asks the server, if one runs. That has read its settings when they were right: what is wrong with the file by
    /// now is no reason not to ask, and is what the second value warns of. Where only another domain is set, it must not be that of
    /// a `new` account that is meant, and there must be accounts: else a restart is all that it needs.
    pub fn of_running(self, new: bool) -> (Options, Option<String>) {
        let data = Data::locate(self.data.as_deref());
        let fault = self.place().err().filter(|_| control::runs(&data));
        let matters = || self.is_readable(&data) && (new || matches!(domain::accounts(&self, &data), Ok(0)));
        match fault {
            Some(e) if !matters() => {
                let why =
                    format!("{e} The settings are not in use: the running server goes on with those that it has.");
                (Options { unset: true, ..self }, Some(why))
            }
            _ => (self, None),
        }
    }

    /// Whether the settings are right, whatever the data is.
    fn is_readable(&self, data: &Data) -> bool {
        let read = || {
            let config = Config::load(self.config.as_deref(), data.dir())?;
            config.check_components(&data.settle(self.domain.as_deref(), &config)?)
        };
        read().is_ok()
    }

    /// Opens the database and the core on it.
    ///
    /// # Errors
    /// When the database cannot be opened, or belongs to another domain.
    pub fn open(&self, place: &Place) -> Result<(Core, Card)> {
        threads(THREADS_OF_STORE)?;
        let dir = place.data.database();
        let explain = |e| sled_engine::explain(&dir, e);
        let mut engine = Card::open(&dir, self.probe.and_then(|make| make()))?;
        if let Some(stored) = core::stored_domain(&mut engine).map_err(explain)?
            && stored != place.domain.as_str()
        {
            engine = domain::replace(self, place, engine, &stored)?;
        }
        let core =
            Core::open(place.config.core(&place.domain, place.data.dir(), false), random()?, ext::all(), &mut engine)
                .map_err(explain)?;
        Ok((core, engine))
    }
}

/// What the parts of a running server share.
pub struct Shared {
    /// The core and its outboxes.
    pub hub: Arc<Hub>,
    servers: Arc<Servers>,
    web: Arc<Web>,
    finder: Arc<Finder>,
    /// The domain.
    pub domain: Jid,
    /// What is written.
    pub wear: Arc<Wear>,
    options: Options,
    data: Data,
    config: Mutex<Config>,
    gate: Arc<Gate>,
    certificates: Certificates,
    names: Names,
    acceptor: Mutex<Arc<Acceptor>>,
    /// Held while settings or certificate change: of two that come at once, one is whole, and then the other.
    changing: Mutex<()>,
    /// The file with which the owner tries uploads.
    pub(in crate::service) own_file: OwnFile,
    /// Whether components can connect, from the start to the end.
    has_component_port: bool,
    /// Where it listens: the setting and the address of each port.
    ports: Vec<(&'static str, SocketAddr)>,
}

/// A server that is ready to run.
pub struct Server {
    shared: Arc<Shared>,
    ports: Vec<Port>,
    control: UnixListener,
    engine: Card,
    requests: Requests,
    executor: Arc<Executor<'static>>,
    orders: (channel::Sender<Order>, channel::Receiver<Order>),
    /// The token for the first account, if there is none yet.
    first: Option<String>,
    _lock: Lock,
}

/// What a running server can be told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// End in order.
    Stop,
    /// Read settings and certificates again.
    Reload,
}

impl Server {
    /// Makes or opens the data folder, its certificates and its database, and takes the ports.
    ///
    /// # Errors
    /// Whatever keeps the server from running, with what to do.
    pub fn open(options: Options) -> Result<Server> {
        threads(THREADS_NEEDED)?;
        let place = options.place()?;
        let Place { data, config, domain } = &place;
        if !data.dir().exists() {
            // A server that cannot run makes no folder: somebody would take it for that of the one that does.
            listen::try_all(config)?;
        }
        data.make()?;
        keep_private(data);
        let held = hold(data)?;
        restore::finish_interrupted(data);
        let wear = Arc::new(Wear::open(data.dir()));
        domain::keep(&place)?;
        let certificates = Certificates::of(data);
        let names = Names::of_host(domain.as_str());
        let acceptor = Mutex::new(Arc::new(acceptor(&certificates, &names)?));
        listen::try_all(config)?;
        let (core, engine) = options.open(&place)?;
        let files = open_files(&place, &core);
        // Nobody is let in before it is known that the database can be served.
        let taken = listen::bind(config).and_then(|ports| Ok((ports, control::bind(data)?)));
        let (ports, control) = match taken {
            Ok(taken) => taken,
            Err(e) => {
                engine.close()?;
                return Err(e);
            }
        };
        let (storage, requests) = Storage::channel();
        let terms = Terms {
            domain: domain.clone(),
            plain: config.plain,
            registration: config.registration,
            features: core.stream_features(),
            bind_features: core.bind_features(),
            upgrades: core.upgrades(),
        };
        let executor = Arc::new(Executor::new());
        let hub = Hub::new(core, terms, storage, &executor);
        if let Some(files) = files {
            files.count_in(wear.clone());
            hub.keep_files(files);
        }
        let (gate, most) = (Gate::new(listen::limits_of(config)), listen::most(config));
        if let Some(few) = listen::few(config) {
            log::warn!("{few}");
        } else if most < config.connections {
            log::info!("{most} connections at the same time: the system has no descriptors or memory for more");
        }
        let servers = config.federation.has_peers(certificates.is_public(domain.domain()));
        let open: Vec<_> = ports.iter().map(|port| (port.name(), port.address)).collect();
        let shared = Shared {
            hub,
            servers: Servers::new(config.federation.clone(), ports.iter().map(|port| port.address).collect()),
            web: Web::new(names.dns(), gate.clone()),
            finder: Arc::new(Finder::new(config.mdns, mdns::wanted(domain.domain(), &open, servers))),
            domain: domain.clone(),
            wear,
            options,
            data: data.clone(),
            config: Mutex::new(config.clone()),
            gate,
            certificates,
            names,
            acceptor,
            changing: Mutex::default(),
            own_file: OwnFile::default(),
            has_component_port: ports.iter().any(|port| port.name() == COMPONENT),
            ports: open,
        };
        shared.configure(config);
        let first = first::invite(&shared.hub)?;
        let orders = channel::unbounded();
        let shared = Arc::new(shared);
        shared.web.tell(Box::new(ServerNumbers(Arc::downgrade(&shared))));
        Ok(Server { shared, ports, control, engine, requests, executor, orders, first, _lock: held })
    }

    /// The ports that are listened on: setting and address, the port's real number included.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.ports.iter().map(|port| (port.name(), port.address)).collect()
    }

    /// Where the certificate is that clients may trust.
    pub fn ca_path(&self) -> PathBuf {
        self.shared.certificates.ca_path()
    }

    /// Tells the running server to stop or to reload, from anywhere.
    pub fn orders(&self) -> channel::Sender<Order> {
        self.orders.0.clone()
    }

    /// What the owner should know, in a few lines. `qr`: where to make the first account, also as a code.
    ///
    /// # Errors
    /// When the certificate is not readable.
    pub fn greeting(&self, qr: bool) -> Result<Vec<String>> {
        let shared = &self.shared;
        let (pair, facts) = shared.certificates.current()?;
        let mut lines = vec![format!("Inglenook {} serves {}", env!("CARGO_PKG_VERSION"), shared.domain)];
        for port in &self.ports {
            lines.push(format!("listening    {} {} {}", port.address, port.name(), port.kind()));
        }
        if !pair.installed {
            lines.push(shared.certificates.authority_line()?);
        }
        lines.push(facts.line(pair.installed));
        if let Some(token) = &self.first {
            lines.extend(self.first_account(token, qr));
        }
        let flag = find::flag(shared.data.dir());
        lines.push(match &self.first {
            Some(_) => format!("next         open that, or: inglenook user add NAME@{}{flag}", shared.domain),
            None => format!("next         inglenook invite{flag}"),
        });
        Ok(lines)
    }

    /// Where the owner makes the first account.
    fn first_account(&self, token: &str, qr: bool) -> Vec<String> {
        let port = self.ports.iter().find(|port| port.name() == HTTPS).map(|port| port.address.port());
        let Some(port) = port else {
            return vec![format!("for you      xmpp:{}?register;preauth={token}", self.shared.domain)];
        };
        let name = self.shared.domain.domain().to_owned();
        let (tell, told) = std::sync::mpsc::channel();
        // Where nobody answers for a name, that is known after many seconds. A thread less is no harm: then it is the address.
        let look_up = move || drop(tell.send(reached_as(&name, port)));
        let _ = std::thread::Builder::new().spawn(look_up);
        let name = match told.recv_timeout(FIRST_LOOKUP) {
            Ok(name) => name,
            Err(_) => near_address(),
        };
        let link = format!("{}/invite/{token}", base_of(name.as_deref().unwrap_or(self.shared.domain.domain()), port));
        let mut lines = vec![
            format!("for you      {link}"),
            "             the first account is made there, and administers the server; good for a day".to_owned(),
        ];
        if qr {
            lines.extend(qr_code(&link));
        }
        lines
    }

    /// Stops at SIGTERM and SIGINT, reloads at SIGHUP.
    ///
    /// # Errors
    /// When the system does not let us hear signals.
    pub fn heed_signals(&self) -> Result<()> {
        let mut signals = Signals::new([Signal::Term, Signal::Int, Signal::Hup])
            .map_err(|e| Failure(format!("signals cannot be listened to: {e}")))?;
        let orders = self.orders();
        let task = async move {
            while let Some(Ok(signal)) = signals.next().await {
                let order = if signal == Signal::Hup { Order::Reload } else { Order::Stop };
                let _ = orders.send(order).await;
            }
        };
        self.executor.spawn(task).detach();
        Ok(())
    }

    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// When it cannot start, or not end in order.
    pub fn run(self) -> Result<()> {
        let Server { shared, ports, control, engine, requests, executor, orders, first: _, _lock } = self;
        let hub = shared.hub.clone();
        let told = hub.clone();
        let window = Duration::from_millis(lock(&shared.config).commit_window_ms);
        let storage = requests
            .start(engine, window, shared.wear.clone(), move |input| told.handle(input))
            .map_err(|e| Failure(format!("the system gives no thread: {e}")))?;
        let mut tasks = vec![executor.spawn(hub.clone().tick()), executor.spawn(shared.clone().watch_certificate())];
        // Who lines up is let in to the last.
        executor.spawn(hub.shares().clone().admit()).detach();
        tasks.push(executor.spawn(control::listen(control, shared.clone())));
        let alive = shared.clone();
        tasks.push(executor.spawn(async move { alive.manager().keep_alive(&alive.hub).await }));
        tasks.push(executor.spawn(shared.clone().dial_servers()));
        let port = |name| ports.iter().find(|port| port.name() == name).map(|port| port.address.port());
        if let Some(port) = port(HTTPS).or_else(|| port(C2S_TLS)) {
            tasks.push(executor.spawn(shared.clone().tell_urls(port)));
        }
        tasks.push(executor.spawn(shared.clone().expire_files()));
        tasks.push(executor.spawn(shared.finder.clone().run()));
        look_up(&shared, &ports);
        shared.clone().warn_of_admins();
        for port in ports {
            let (one, name) = (shared.clone(), port.name());
            let (hub, gate) = (hub.clone(), shared.gate.clone());
            let peers = (shared.servers.clone(), shared.web.clone());
            let accepting = listen::accept(port, hub, peers, gate, move || lock(&one.acceptor).clone());
            tasks.push(executor.spawn(async move {
                if let Err(e) = accepting.await {
                    log::error!("{name}: {e}");
                }
            }));
        }
        let (stop, stopped) = channel::bounded::<()>(1);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for n in 1..cores.min(THREADS) {
                let (executor, stopped) = (&executor, &stopped);
                let work = move || {
                    let _ = smol::block_on(work(executor, stopped.recv()));
                };
                // With fewer threads it goes on, slower.
                let thread = std::thread::Builder::new().name(format!("work-{n}")).spawn_scoped(scope, work);
                let _ = thread.inspect_err(|e| log::warn!("a thread less: {e}"));
            }
            smol::block_on(work(&executor, async {
                shared.manager().tell(Told::Ready(format!("serves {}", shared.domain))).await;
                while let Ok(Order::Reload) = orders.1.recv().await {
                    let shared = shared.clone();
                    match smol::unblock(move || shared.reload()).await {
                        Ok(lines) => lines.iter().for_each(|line| log::info!("{line}")),
                        Err(e) => log::error!("nothing was reloaded: {e}"),
                    }
                }
                log::info!("stopping");
                shared.manager().tell(Told::Stopping).await;
                tasks.clear();
                shared.finder.end();
                hub.shut_down();
                let late = async {
                    Timer::after(FAREWELL).await;
                    log::info!("{} connections did not end by themselves", shared.gate.count());
                };
                smol::future::or(shared.gate.empty(), late).await;
                hub.stop_storage();
            }));
            drop(stop);
        });
        let _ = std::fs::remove_file(shared.data.control());
        let engine =
            storage.join().map_err(|_| Failure::new("the thread of the database ended by a fault of the program"))?;
        engine.close()?;
        shared.wear.close();
        log::info!("stopped");
        Ok(())
    }
}

/// The name by which this box is reached: the domain if it is known, else an address if there is one. Blocks.
fn reached_as(domain: &str, port: u16) -> Option<String> {
    let name = a_labels(domain);
    let is_known = (name.as_str(), port).to_socket_addrs().is_ok_and(|mut all| all.next().is_some());
    if is_known { Some(name) } else { near_address() }
}

/// An address of this box.
fn near_address() -> Option<String> {
    let near = |ip: &IpAddr| ip.is_ipv4() && !ip.is_loopback();
    host::addresses().into_iter().find(near).map(|ip| ip.to_string())
}

/// The uploaded files, if files can be uploaded. Whatever is wrong with them, chat goes on.
fn open_files(place: &Place, core: &Core) -> Option<Arc<Files>> {
    let Place { data, config, domain } = place;
    core.state().settings().upload_bytes?;
    let base = format!("https://{}:{HTTPS_PORT}", a_labels(domain.domain()));
    let opened = Files::open(&data.uploads(), &base, config.uploads.limits(data.dir()));
    let files = opened.inspect_err(|e| log::error!("no files can be uploaded: {e}")).ok()?;
    files.keep_of(|owner| core.state().account(owner).is_some());
    Some(files)
}

/// What the server shows, made or renewed if it must be.
fn acceptor(certificates: &Certificates, names: &Names) -> Result<Acceptor> {
    let before = certificates.current().ok().map(|(pair, _)| pair);
    let renewed = match certificates.ensure_at_start(names, certificates.now()) {
        // Our own are not what is shown.
        Err(e) if certificates.is_installed() => {
            log::warn!("{e}");
            false
        }
        made => made?,
    };
    let (acceptor, pair, facts) = certificates.acceptor()?;
    if renewed && before.is_some() && !pair.installed {
        log_renewed(&facts);
    }
    Ok(acceptor)
}

/// Says in the log what phones will see of the domain, as soon as that is known. Nothing waits for it.
fn look_up(shared: &Shared, ports: &[Port]) {
    let of = |name: &str| ports.iter().filter(|p| p.name() == name).map(|p| p.address).collect::<Vec<_>>();
    let (starttls, tls) = (of(C2S), of(C2S_TLS));
    // Where nobody but this machine can connect, that is no trouble.
    let open = starttls.iter().chain(&tls).any(|address| !address.ip().is_loopback());
    let (lookup, ports) = (Lookup::begin(shared.domain.as_str()), Ports::of(&starttls, &tls));
    let tell = async move {
        let told = smol::unblock(move || lookup.end(&ports)).await;
        let level = if told.fine || !open { log::Level::Info } else { log::Level::Warn };
        log::log!(level, "{}", told.text);
    };
    shared.hub.spawn(tell);
}

/// Who keeps the certificate itself is asked again, and asks the owner.
fn log_renewed(facts: &Facts) {
    log::info!(
        "renewed the certificate, until {}, SHA-256 {}: apps that keep the certificate itself ask everybody again",
        facts.until,
        facts.fingerprint
    );
}

/// What is shared by connections and by the disk, for the table in `src/lib.rs`.
pub fn shared() -> impl Iterator<Item = &'static core::share::Shared> {
    share::SHARED.iter().chain([&listen::SHARED, &room::SHARED])
}

/// Runs tasks until something is done. Unlike [`Executor::run`] it also looks for news of sockets and timers when there is always
/// something more to do: not every 200 tasks, each of which may take a turn, but after [`LOOK`].
async fn work<T>(executor: &Executor<'static>, until: impl Future<Output = T>) -> T {
    let forever = async {
        loop {
            let looked = Instant::now();
            while looked.elapsed() < LOOK {
                executor.tick().await;
            }
            smol::future::yield_now().await;
        }
    };
    smol::future::or(until, forever).await
}

/// Whether the system gives so many threads: what needs them would wait for ever.
fn threads(count: usize) -> Result<()> {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let mut all = Vec::new();
    let mut failed = None;
    for _ in 0..count {
        let held = held.clone();
        match std::thread::Builder::new().spawn(move || lock(&held).recv().is_ok()) {
            Ok(thread) => all.push(thread),
            Err(e) => failed = Some(e),
        }
    }
    drop(hold);
    all.into_iter().for_each(|thread| drop(thread.join()));
    match failed {
        None => Ok(()),
        Some(e) => Err(Failure(format!(
            "the system gives no {count} threads to this program: {e}. Raise the limit (`TasksMax=` or `LimitNPROC=` of its unit, \
             `ulimit -u`, the container's), or end other programs of its user."
        ))),
    }
}

/// Takes the folder. A command has it for a moment only, and a server that begins or ends soon can be asked or is gone: so
/// this waits a little, but not for a server that runs.
///
/// # Errors
/// When another process has it, or it cannot be written.
pub fn hold(data: &Data) -> Result<Lock> {
    let begun = Instant::now();
    loop {
        if let Some(lock) = data.lock()? {
            return Ok(lock);
        }
        let (dir, holder) = (data.dir().display(), data.holder());
        if control::runs(data) {
            return Err(Failure(format!(
                "an Inglenook server runs on {dir} already (process {holder}). Stop it first, or choose another folder with --data."
            )));
        }
        if begun.elapsed() > HOLD {
            return Err(Failure(format!(
                "{dir} is in use by process {holder}, which does not answer. Wait for it to end, or end it."
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A folder that others may look into is closed to them.
fn keep_private(data: &Data) {
    if data::open_to_others(data.dir()).is_some() {
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        match std::fs::set_permissions(data.dir(), private) {
            Ok(()) => log::info!("{} is now for this user alone", data.dir().display()),
            Err(e) => log::warn!("others can look into {} ({e}): run chmod 700 on it", data.dir().display()),
        }
    }
}

/// What programs that look after the server are told of it.
struct ServerNumbers(Weak<Shared>);

impl Numbers for ServerNumbers {
    fn token(&self) -> String {
        self.0.upgrade().map(|shared| lock(&shared.config).metrics_token.clone()).unwrap_or_default()
    }

    fn page(&self, open: bool) -> String {
        let Some(shared) = self.0.upgrade() else { return String::new() };
        let measured = metrics::Measured {
            hub: &shared.hub,
            wear: &shared.wear,
            card_bytes: shared.card_bytes(),
            connections: shared.gate.count(),
            certificate_ends: shared.certificates.current().ok().map(|(_, facts)| facts.not_after),
            backed_up: shared.data.backed_up(),
        };
        metrics::page(&measured, open)
    }
}

impl Shared {
    /// SCRAM iterations for a new password.
    pub fn iterations(&self) -> u32 {
        lock(&self.config).scram_iterations
    }

    /// Where it listens: the setting and the address of each port.
    pub(crate) fn ports(&self) -> &[(&'static str, SocketAddr)] {
        &self.ports
    }

    /// What URLs begin with, if there is a port for browsers.
    pub fn web_base(&self) -> Option<String> {
        self.web.base()
    }

    /// How it is found in the network at hand, for people.
    pub(crate) fn found(&self) -> String {
        self.finder.told()
    }

    /// The data folder.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Bytes that the card may be written in its life.
    pub fn card_bytes(&self) -> u64 {
        lock(&self.config).card_bytes()
    }

    fn manager(&self) -> &Manager {
        &self.options.manager
    }

    fn configure(&self, config: &Config) {
        let window = Duration::from_millis(config.commit_window_ms);
        // First, as the core has streams made by what is new there.
        self.servers.configure(config.federation.clone());
        self.tell_visitors();
        // Then all other servers are talked to, unless the settings say otherwise.
        let public = self.certificates.is_public(self.domain.domain());
        if let Some(files) = self.hub.files() {
            files.set_limits(config.uploads.limits(self.data.dir()));
        }
        self.hub.configure(config.core(&self.domain, self.data.dir(), public), config.plain, window);
        self.gate.configure(listen::limits_of(config));
        if std::env::var_os("RUST_LOG").is_none() {
            log::set_max_level(config.log);
        }
    }

    /// Pages say who vouches for the house from now on.
    fn tell_visitors(&self) {
        let name = self.domain.domain().to_owned();
        match self.certificates.vouched(&name) {
            Ok(vouched) => {
                let config = lock(&self.config);
                let port = config.addresses(C2S).first().map(SocketAddr::port).filter(|port| *port != 0);
                let called = Some(config.household.name.clone()).filter(|called| !called.is_empty());
                let called = called.unwrap_or_else(|| name.clone());
                drop(config);
                self.web.set_house(House { name, called, vouched, port });
            }
            Err(e) => log::error!("pages do not tell how to trust the certificate: {e}"),
        }
    }

    /// Reads settings and certificates again. Returns what was done, for people. Blocks.
    ///
    /// # Errors
    /// When they are wrong: then nothing is changed.
    pub fn reload(self: &Arc<Self>) -> Result<Vec<String>> {
        let _alone = lock(&self.changing);
        self.manager().say(&Told::Reloading);
        let done = self.read_again();
        let remark = if done.is_err() { "; the settings were not reloaded, the log says why" } else { "" };
        self.manager().say(&Told::Ready(format!("serves {}{remark}", self.domain)));
        done
    }

    fn read_again(self: &Arc<Self>) -> Result<Vec<String>> {
        let Place { config, .. } = Options { data: Some(self.data.dir().into()), ..self.options.clone() }.place()?;
        let (acceptor, pair, facts) = self.certificates.acceptor()?;
        *lock(&self.acceptor) = Arc::new(acceptor);
        self.configure(&config);
        let before = std::mem::replace(&mut *lock(&self.config), config.clone());
        self.clone().warn_of_admins();
        let whose = if pair.installed { "installed" } else { "own" };
        let mut lines = vec![
            "reloaded the settings".to_owned(),
            format!("reloaded the {whose} certificate, until {}, SHA-256 {}", facts.until, facts.fingerprint),
        ];
        let wanted = listen::wanted(&config).iter().any(|(name, _)| *name == COMPONENT);
        if wanted != self.has_component_port {
            let what = if wanted { "open" } else { "close" };
            lines.push(format!("restart to {what} the port for components: that is not done by a reload"));
        } else if listen::wanted(&before) != listen::wanted(&config) {
            lines.push("the addresses in [listen] have changed: they are taken at the next start".to_owned());
        }
        Ok(lines)
    }

    /// Keeps what URLs begin with as it is reached: by the domain, or where nobody knows where that is, by this box's address. For ever.
    fn tell_urls(self: Arc<Self>, port: u16) -> impl Future<Output = ()> {
        let domain = a_labels(self.domain.domain());
        // Looking it up takes its time, and nobody may be told nothing meanwhile.
        self.set_urls(&domain, port);
        async move {
            loop {
                let name = domain.clone();
                let reached = smol::unblock(move || reached_as(&name, port)).await;
                self.set_urls(reached.as_ref().unwrap_or(&domain), port);
                Timer::after(URLS_CHECK).await;
            }
        }
    }

    /// What URLs begin with, if there is a port for them.
    pub fn urls(&self) -> Option<String> {
        self.web.base()
    }

    /// What URLs begin with from now on.
    fn set_urls(&self, name: &str, port: u16) {
        let base = base_of(name, port);
        self.web.set_base(base.clone());
        self.hub.set_web_base(Some(base.clone()));
        self.hub.files().iter().for_each(|files| files.set_base(base.clone()));
    }

    /// Makes streams to other servers as the core wants them, for ever.
    async fn dial_servers(self: Arc<Self>) {
        let dials = self.hub.dials();
        // Some have to be there from the start on.
        self.hub.handle(Input::Tick);
        while let Ok(dial) = dials.recv().await {
            let (hub, servers, acceptor) = (self.hub.clone(), self.servers.clone(), lock(&self.acceptor).clone());
            self.hub.spawn(s2s::dial(hub, servers, acceptor, dial));
        }
    }

    /// Removes uploaded files that are to go, for ever.
    async fn expire_files(self: Arc<Self>) {
        let Some(files) = self.hub.files().cloned() else { return };
        loop {
            let (files, mono) = (files.clone(), self.hub.mono());
            smol::unblock(move || files.expire(mono, host::clock())).await;
            Timer::after(FILES_CHECK).await;
        }
    }

    /// Says in the log who is set as an administrator and is none, as soon as the core can be asked.
    fn warn_of_admins(self: Arc<Self>) {
        let (hub, admins) = (self.hub.clone(), lock(&self.config).admins.clone());
        let tell = async move {
            let Ok(accounts) = self.hub.command(core::Command::UserList).await else { return };
            let has = |jid: &Jid| accounts.iter().any(|account| account == jid.as_str());
            user::idle_admins(&admins, &self.domain, has).iter().for_each(|line| log::warn!("{line}"));
        };
        hub.spawn(tell);
    }

    /// Renews our certificate in time, for ever. It also heals what was made before the box's clock was set: whenever the clock
    /// jumps against the one that never does.
    async fn watch_certificate(self: Arc<Self>) {
        let (mut looked, mut then, mut clock) = (Instant::now(), Instant::now(), host::clock());
        let mut pause = CERTIFICATE_FIRST_CHECK;
        loop {
            Timer::after(CLOCK_CHECK).await;
            let expected = clock.saturating_add(then.elapsed().as_secs());
            (then, clock) = (Instant::now(), host::clock());
            if clock.abs_diff(expected) < CLOCK_JUMP.as_secs() && looked.elapsed() < pause {
                continue;
            }
            (looked, pause) = (then, CERTIFICATE_CHECK);
            let shared = self.clone();
            if let Err(e) = smol::unblock(move || shared.renew_in_time()).await {
                log::error!("the certificate could not be renewed: {e}");
            }
        }
    }

    fn renew_in_time(&self) -> Result<()> {
        let _alone = lock(&self.changing);
        let (pair, facts) = self.certificates.current()?;
        let now = self.certificates.now();
        if pair.installed {
            if facts.ends_soon(now) {
                log::warn!(
                    "the installed certificate ends on {}: install another with `inglenook cert install`",
                    facts.until
                );
            }
        } else if self.certificates.ensure(&self.names, now)? {
            let (acceptor, _, facts) = self.certificates.acceptor()?;
            *lock(&self.acceptor) = Arc::new(acceptor);
            self.tell_visitors();
            log_renewed(&facts);
        }
        Ok(())
    }
}

/// Opens the database of a folder whose server does not run, does something with it, and closes it.
///
/// # Errors
/// When it cannot be opened or closed, or what `with` returns.
pub fn offline<T>(options: &Options, place: &Place, with: impl FnOnce(Core, &mut Card) -> Result<T>) -> Result<T> {
    place.data.make()?;
    let _lock = hold(&place.data)?;
    domain::keep(place)?;
    let (core, mut engine) = options.open(place)?;
    let done = with(core, &mut engine);
    engine.close()?;
    done
}
