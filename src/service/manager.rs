//! What the service manager hears of the server: datagrams on the socket that `NOTIFY_SOCKET` names (`sd_notify(3)`).

use super::hub::Hub;
use rustix::time::{ClockId, clock_gettime};
use smol::Timer;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

/// How long the manager may take to take a datagram.
const PATIENCE: Duration = Duration::from_secs(5);

/// What it can be told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    /// The server can be used, and how it is, for people.
    Ready(String),
    /// It reads its settings again; [`Told::Ready`] follows.
    Reloading,
    /// It ends, in order.
    Stopping,
    /// The core and storage answer.
    Alive,
}

/// The service manager, if there is one.
#[derive(Clone, Debug, Default)]
pub struct Manager {
    socket: Option<Arc<(UnixDatagram, SocketAddr)>>,
    /// What it takes for dead when it does not hear of it for so long.
    watchdog: Option<Duration>,
}

impl Manager {
    /// The one that this process was started by.
    pub fn of_environment() -> Manager {
        let number = |name: &str| std::env::var(name).ok()?.parse().ok();
        let watchdog = watchdog(number("WATCHDOG_USEC"), number("WATCHDOG_PID"));
        Manager::at(std::env::var_os("NOTIFY_SOCKET"), watchdog).unwrap_or_else(|e| {
            log::warn!("the service manager cannot be told anything (NOTIFY_SOCKET): {e}");
            Manager::default()
        })
    }

    /// The one that listens on this socket; with a name that begins with `@`, it is an abstract one.
    ///
    /// # Errors
    /// When that is no address.
    pub fn at(name: Option<OsString>, watchdog: Option<Duration>) -> io::Result<Manager> {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(Manager::default()) };
        let to = match name.as_bytes() {
            [b'@', name @ ..] => abstract_address(name)?,
            [b'/', ..] => SocketAddr::from_pathname(&name)?,
            _ => return Err(io::Error::new(io::ErrorKind::Unsupported, "it must begin with / or @")),
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Manager { socket: Some(Arc::new((socket, to))), watchdog })
    }

    /// Tells it again and again that the server is alive, as long as the core and storage answer. Twice within the time that
    /// the manager waits: so a disk that is slow for less than half of it is forgiven.
    pub async fn keep_alive(&self, hub: &Hub) {
        let Some(time) = self.watchdog else { return };
        loop {
            Timer::after(time / 2).await;
            if !hub.answers().await {
                return;
            }
            self.tell(Told::Alive).await;
        }
    }

    /// Tells it something, without keeping a thread of the executor waiting.
    pub async fn tell(&self, told: Told) {
        if self.socket.is_some() {
            let manager = self.clone();
            smol::unblock(move || manager.say(&told)).await;
        }
    }

    /// Tells it something. Blocks as long as it takes nothing, [`PATIENCE`] at most.
    pub fn say(&self, told: &Told) {
        let Some((socket, to)) = self.socket.as_deref() else { return };
        let text = told.text();
        if let Err(e) = socket.send_to_addr(text.as_bytes(), to) {
            log::warn!("the service manager does not take {text:?}: {e}");
        }
    }
}

impl Told {
    fn text(&self) -> String {
        match self {
            Told::Ready(status) => format!("READY=1\nSTATUS={status}"),
            Told::Reloading => {
                let now = clock_gettime(ClockId::Monotonic);
                format!("RELOADING=1\nMONOTONIC_USEC={}{:06}", now.tv_sec, now.tv_nsec / 1000)
            }
            Told::Stopping => "STOPPING=1\nSTATUS=stopping".into(),
            Told::Alive => "WATCHDOG=1".into(),
        }
    }
}

/// The time of the watchdog, if it is meant for this process.
fn watchdog(usec: Option<u64>, pid: Option<u64>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid == u64::from(std::process::id()));
    usec.filter(|usec| ours && *usec > 0).map(Duration::from_micros)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    #[cfg(target_os = "android")]
    use std::os::android::net::SocketAddrExt;
    #[cfg(target_os = "linux")]
    use std::os::linux::net::SocketAddrExt;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::core::{Core, Settings};
    use crate::service::disk::data::tests::Temp;
    use crate::service::disk::{storage::Storage, wear::Wear};
    use crate::store::memory::Memory;
    use crate::stream::Terms;
    use crate::wire::Jid;
    use smol::Executor;
    use std::sync::mpsc;

    /// Longer than anything takes.
    const LONG: Duration = Duration::from_secs(60);

    fn listener(temp: &Temp) -> (UnixDatagram, OsString) {
        let path = temp.0.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        (socket, path.into())
    }

    fn heard(socket: &UnixDatagram) -> io::Result<String> {
        let mut buffer = [0; 512];
        let n = socket.recv(&mut buffer)?;
        Ok(String::from_utf8(buffer[..n].to_vec()).unwrap())
    }

    #[test]
    fn what_is_told_arrives() {
        let temp = Temp::new();
        let (socket, name) = listener(&temp);
        let manager = Manager::at(Some(name), None).unwrap();
        manager.say(&Told::Ready("serves example.org".into()));
        manager.say(&Told::Reloading);
        manager.say(&Told::Stopping);
        assert_eq!(heard(&socket).unwrap(), "READY=1\nSTATUS=serves example.org");
        let reloading = heard(&socket).unwrap();
        let usec: u64 = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse().unwrap();
        let now = clock_gettime(ClockId::Monotonic).tv_sec as u64;
        assert!((now.saturating_sub(60)..=now).contains(&(usec / 1_000_000)), "{usec} {now}");
        assert_eq!(heard(&socket).unwrap(), "STOPPING=1\nSTATUS=stopping");
        // Nobody there is no reason to stop.
        drop(socket);
        manager.say(&Told::Ready("serves example.org".into()));
        Manager::default().say(&Told::Stopping);
    }

    #[cfg(target_os = "linux")]
    /// One that takes nothing keeps no thread of the executor: others go on at once.
    #[test]
    fn who_is_slow_to_listen_keeps_nobody_waiting() {
        let temp = Temp::new();
        let (socket, name) = listener(&temp);
        let full = UnixDatagram::unbound().unwrap();
        full.set_nonblocking(true).unwrap();
        while full.send_to(b"STATUS=", temp.0.join("notify")).is_ok() {}
        let manager = Manager::at(Some(name), None).unwrap();
        let begun = std::time::Instant::now();
        let told = smol::block_on(smol::future::or(
            async {
                manager.tell(Told::Alive).await;
                true
            },
            async {
                smol::future::yield_now().await;
                false
            },
        ));
        assert!(!told && begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
        drop(socket);
    }

    #[test]
    fn an_abstract_socket_is_found() {
        let name = format!("inglenook-test-{}", std::process::id());
        let socket = UnixDatagram::bind_addr(&abstract_address(name.as_bytes()).unwrap()).unwrap();
        Manager::at(Some(format!("@{name}").into()), None).unwrap().say(&Told::Stopping);
        assert!(heard(&socket).unwrap().starts_with("STOPPING=1"));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        assert!(Manager::at(Some("vsock:2:1234".into()), None).is_err());
        assert!(Manager::at(Some("".into()), None).unwrap().socket.is_none());
    }

    #[test]
    fn the_watchdog_is_for_one_process() {
        let own = u64::from(std::process::id());
        assert_eq!(watchdog(Some(30_000_000), None), Some(Duration::from_secs(30)));
        assert_eq!(watchdog(Some(30_000_000), Some(own)), Some(Duration::from_secs(30)));
        assert_eq!(watchdog(Some(30_000_000), Some(own + 1)), None);
        assert_eq!((watchdog(None, Some(own)), watchdog(Some(0), None)), (None, None));
    }

    /// The watchdog hears nothing while `hang` has whatever it holds; then it hears again.
    fn hangs(hang: impl FnOnce(&Arc<Hub>, mpsc::Sender<()>, mpsc::Receiver<()>)) {
        let temp = Temp::new();
        let (socket, name) = listener(&temp);
        let settings = Settings::new(Jid::parse("house.test").unwrap());
        let mut engine = Memory::default();
        let core = Core::open(settings.clone(), [0; 32], crate::ext::all(), &mut engine).unwrap();
        let features = core.stream_features();
        let terms = Terms { features, ..Terms::new(settings.domain) };
        let (storage, requests) = Storage::channel();
        let hub = Hub::new(core, terms, storage, &Arc::new(Executor::new()));
        let thread = requests.start(engine, Duration::ZERO, Arc::new(Wear::default()), |_| {}).unwrap();
        let time = Duration::from_millis(20);
        let manager = Manager::at(Some(name), Some(time)).unwrap();
        let fed = hub.clone();
        let feeding = std::thread::spawn(move || smol::block_on(manager.keep_alive(&fed)));
        assert_eq!(heard(&socket).unwrap(), "WATCHDOG=1");

        let (tell, told) = mpsc::channel();
        let (release, released) = mpsc::channel();
        hang(&hub, tell, released);
        told.recv_timeout(LONG).unwrap();
        // What was on its way may still come: what is in the socket, and one behind it. Then nothing for many times the time.
        socket.set_read_timeout(Some(time * 10)).unwrap();
        let mut last = 0;
        while heard(&socket).is_ok() {
            last += 1;
            assert!(last < 100, "it goes on");
        }
        socket.set_read_timeout(Some(LONG)).unwrap();
        release.send(()).unwrap();
        assert_eq!(heard(&socket).unwrap(), "WATCHDOG=1");
        // With storage at its end there is nothing to keep alive.
        hub.stop_storage();
        thread.join().unwrap();
        feeding.join().unwrap();
    }

    #[test]
    fn hung_storage_is_not_kept_alive() {
        hangs(|hub, tell, released| {
            hub.with_storage(move |_, _| {
                tell.send(()).unwrap();
                released.recv().unwrap();
            });
        });
    }

    #[test]
    fn a_hung_core_is_not_kept_alive() {
        hangs(|hub, tell, released| {
            let hub = hub.clone();
            std::thread::spawn(move || {
                hub.hold(|| {
                    tell.send(()).unwrap();
                    released.recv().unwrap();
                });
            });
        });
    }
}
