//! Found in the network at hand: a responder of multicast DNS (RFC 6762) that tells of what is served here (RFC 6763).
//!
//! [`packet`] is what goes over the wire, [`responder`] what is said when; [`links`] knows the interfaces, [`sockets`] speaks there, and
//! [`neighbour`] sees who else answers on this box. What brings them together is here.

mod claims;
mod links;
mod neighbour;
mod offers;
pub mod packet;
pub mod responder;
mod sockets;

pub use self::claims::{Offer, Wanted};
pub(crate) use self::neighbour::Neighbour;
pub(crate) use self::offers::{avahi_service, wanted};

use self::links::Changes;
use self::responder::{LinkId, MdnsNews, Responder};
use self::sockets::MdnsSocket;
use super::dns::random;
use super::lock;
use smol::Timer;
use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::{Duration, Instant};

/// How often links and other responders are looked at, if nothing tells of a change.
const LOOK: Duration = Duration::from_secs(30);
/// Changes come in several pieces: how long is waited for the last.
const SETTLED: Duration = Duration::from_millis(200);
/// Packets of a link that are taken in one go, and the pause after that: to be woken by each costs more than to answer it.
const PACKETS: u32 = 32;
const PAUSE: Duration = Duration::from_millis(3);
/// Packets that are thrown away after a flood: more than the system keeps.
const STALE_PACKETS: u32 = 4_096;
/// How often a flood is told.
const FLOOD_TOLD: Duration = Duration::from_secs(600);

/// Whether this server answers multicast DNS.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MdnsSetting {
    /// Where nobody else on this box does.
    #[default]
    Auto,
    /// In any case for its services; for the host's name where nobody else does.
    On,
    /// Never.
    Off,
}

/// How this server is found in the network at hand.
pub(crate) struct Finder {
    setting: MdnsSetting,
    wanted: Wanted,
    began: Instant,
    inside: Mutex<Inside>,
}

#[derive(Default)]
struct Inside {
    /// Answers, if it is for us to do.
    responder: Option<Responder>,
    /// Who else does. `None`: that was not looked at yet.
    neighbour: Option<Option<Neighbour>>,
    sockets: BTreeMap<LinkId, Arc<MdnsSocket>>,
    interfaces: BTreeMap<u32, String>,
    /// Links on which it was told that nothing can be said.
    mute: BTreeSet<LinkId>,
    /// The name that was told last.
    host: Option<String>,
    flood_told: Option<Duration>,
    /// Whether it was told that the kernel does not tell of links.
    is_blind: bool,
}

/// Why the loop goes on.
enum Wake {
    Packets(Vec<LinkId>),
    Due,
    Changed,
    Look,
}

impl Finder {
    /// One that has said nothing yet. What is `wanted` without services is not announced: nobody in the network could connect.
    pub(crate) fn new(setting: MdnsSetting, wanted: Wanted) -> Finder {
        Finder { setting, wanted, began: Instant::now(), inside: Mutex::default() }
    }

    /// Whether there is anything to do.
    fn is_used(&self) -> bool {
        self.setting != MdnsSetting::Off && !self.wanted.services.is_empty()
    }

    /// How it stands, for the owner.
    pub(crate) fn told(&self) -> String {
        if self.setting == MdnsSetting::Off {
            return "off, as it is set".into();
        }
        if !self.is_used() {
            return "not used: no port is open to the network".into();
        }
        let inside = lock(&self.inside);
        if let (None, Some(Some(neighbour))) = (&inside.responder, inside.neighbour) {
            return neighbour.told();
        }
        let names: BTreeSet<&str> = inside
            .sockets
            .keys()
            .filter_map(|link| inside.interfaces.get(&link.interface))
            .map(String::as_str)
            .collect();
        let on = names.into_iter().collect::<Vec<_>>().join(", ");
        match (inside.responder.as_ref().and_then(Responder::host), &inside.neighbour) {
            (Some(host), _) => format!("found as {host} on {on}"),
            (None, Some(Some(_))) if !on.is_empty() => {
                format!("services are told of on {on}; another program answers for this box")
            }
            _ if on.is_empty() => "no network to be found in".into(),
            _ => format!("not found yet; asking on {on} whether the name is free"),
        }
    }

    /// Answers, for ever.
    pub(crate) async fn run(self: Arc<Self>) {
        if !self.is_used() {
            return;
        }
        let changes = Changes::open().inspect_err(|e| log::debug!("changes of links are not heard of: {e}")).ok();
        loop {
            self.look();
            let mut next = Timer::after(LOOK);
            let mut is_near = false;
            loop {
                match self.wake(changes.as_ref(), &mut next).await {
                    Wake::Packets(links) => {
                        links.into_iter().for_each(|link| self.receive(link));
                        Timer::after(PAUSE).await;
                    }
                    Wake::Due => self.act(|responder, now| responder.tick(now)),
                    Wake::Changed if is_near => {}
                    Wake::Changed => {
                        is_near = true;
                        next.set_after(SETTLED);
                    }
                    Wake::Look => break,
                }
            }
        }
    }

    async fn wake(&self, changes: Option<&Changes>, next: &mut Timer) -> Wake {
        let (sockets, wake, ignored) = {
            let inside = lock(&self.inside);
            let now = self.began.elapsed();
            let until = |link: &LinkId| inside.responder.as_ref().and_then(|responder| responder.ignored(*link, now));
            let ignored = inside.sockets.keys().filter_map(until).min();
            let heard = inside.sockets.iter().filter(|(link, _)| until(link).is_none());
            let sockets: Vec<_> = heard.map(|(link, socket)| (*link, socket.clone())).collect();
            (sockets, inside.responder.as_ref().and_then(Responder::wake), ignored)
        };
        let packets = poll_fn(|cx| {
            let ready: Vec<LinkId> =
                sockets.iter().filter(|(_, socket)| socket.poll_readable(cx)).map(|(link, _)| *link).collect();
            if ready.is_empty() { Poll::Pending } else { Poll::Ready(Wake::Packets(ready)) }
        });
        let due = async {
            match wake.into_iter().chain(ignored).min() {
                Some(at) => Timer::at(self.began + at).await,
                None => std::future::pending().await,
            };
            Wake::Due
        };
        let changed = async {
            match changes {
                Some(changes) if changes.next().await.is_ok() => Wake::Changed,
                _ => std::future::pending().await,
            }
        };
        let look = async {
            next.await;
            Wake::Look
        };
        // What is due goes first: packets may come without end.
        let told = smol::future::or(smol::future::or(due, look), changed);
        smol::future::or(told, packets).await
    }

    /// Does something with the responder, and sends what it has to say.
    fn act(&self, act: impl FnOnce(&mut Responder, Duration)) {
        let mut inside = lock(&self.inside);
        let now = self.began.elapsed();
        if let Some(responder) = &mut inside.responder {
            act(responder, now);
        }
        inside.speak(now);
    }

    fn receive(&self, link: LinkId) {
        let mut inside = lock(&self.inside);
        let now = self.began.elapsed();
        let (Some(socket), Some(responder)) = (inside.sockets.get(&link).cloned(), &mut inside.responder) else {
            return;
        };
        socket.receive(PACKETS, |from, bytes| responder.handle(now, link, from, bytes));
        if responder.ignored(link, now).is_some() {
            socket.receive(STALE_PACKETS, |_, _| {});
        }
        inside.speak(now);
    }

    /// Looks who else answers, and at the links.
    fn look(&self) {
        let neighbour = Neighbour::look();
        let mut inside = lock(&self.inside);
        let now = self.began.elapsed();
        if inside.neighbour != Some(neighbour) {
            inside.end(now, neighbour.is_none());
            inside.neighbour = Some(neighbour);
            match neighbour.filter(|_| self.setting == MdnsSetting::Auto) {
                Some(neighbour) => log::info!("{}", neighbour.told()),
                None => {
                    let random = Box::new(random::number);
                    inside.responder = Some(Responder::new(&self.wanted, neighbour.is_some(), random));
                }
            }
        }
        if inside.responder.is_some() {
            inside.look(now);
        }
    }

    /// Tells the network that this server ends.
    pub(crate) fn end(&self) {
        lock(&self.inside).end(self.began.elapsed(), true);
    }
}

impl Inside {
    /// Opens and closes sockets as links come and go.
    fn look(&mut self, now: Duration) {
        let (links, interfaces) = match links::look() {
            Ok(found) => found,
            Err(e) => {
                if !std::mem::replace(&mut self.is_blind, true) {
                    log::warn!(
                        "this server is not found in the network: the system does not tell of its interfaces: {e}"
                    );
                }
                return;
            }
        };
        // What has another name is another interface.
        self.sockets.retain(|id, _| {
            let same = self.interfaces.get(&id.interface) == interfaces.get(&id.interface);
            same && links.iter().any(|link| link.id == *id)
        });
        self.interfaces = interfaces;
        for link in &links {
            let Some(name) = self.interfaces.get(&link.id.interface) else { continue };
            if self.sockets.contains_key(&link.id) {
                continue;
            }
            match MdnsSocket::open(link.id, name) {
                Ok(socket) => drop(self.sockets.insert(link.id, Arc::new(socket))),
                Err(e) => self.tell_mute(link.id, &e),
            }
        }
        let links = links.into_iter().filter(|link| self.sockets.contains_key(&link.id)).collect();
        if let Some(responder) = &mut self.responder {
            responder.set_links(now, links);
        }
        self.speak(now);
    }

    fn tell_mute(&mut self, link: LinkId, error: &io::Error) {
        if self.mute.insert(link) {
            let (name, family) = (self.interfaces.get(&link.interface), if link.v6 { "IPv6" } else { "IPv4" });
            let name = name.map(String::as_str).unwrap_or_default();
            log::info!("this server is not found on {name} by {family}: multicast DNS cannot be spoken there: {error}");
        }
    }

    /// Sends what the responder has to say, to the network and to the owner.
    fn speak(&mut self, now: Duration) {
        let Some(responder) = &mut self.responder else { return };
        let (packets, news, host) = (responder.packets(), responder.news(), responder.host());
        for packet in packets {
            if let Some(Err(e)) = self.sockets.get(&packet.link).map(|socket| socket.send(packet.to, &packet.bytes)) {
                log::debug!("a packet of multicast DNS was not sent: {e}");
            }
        }
        news.iter().for_each(|news| self.tell(now, news));
        if host.is_some() && host != self.host {
            log::info!("found in this network as {}", host.as_deref().unwrap_or_default());
            self.host = host;
        }
    }

    fn tell(&mut self, now: Duration, news: &MdnsNews) {
        match news {
            MdnsNews::Renamed { from, to } if from.ends_with("._tcp.local") => {
                log::info!("in this network {from} is another server, this one is {to}");
            }
            MdnsNews::Renamed { from, to } => log::warn!(
                "in this network {from} is another box, this one is {to}. Give it a name of its own (hostnamectl set-hostname NAME) and restart"
            ),
            MdnsNews::Taken(name) => log::warn!(
                "in this network {name} is another box, and apps that look for {name} find that one. One of the two needs another domain"
            ),
            MdnsNews::Elsewhere(name) => log::info!("another program on this box answers for {name}"),
            MdnsNews::Flood(link) => {
                if self.flood_told.is_none_or(|told| now.saturating_sub(told) > FLOOD_TOLD) {
                    self.flood_told = Some(now);
                    let name = self.interfaces.get(&link.interface).map(String::as_str).unwrap_or_default();
                    log::warn!("a flood of multicast DNS on {name}: it is not listened to for a while");
                }
            }
        }
    }

    /// `hosts`: nobody else answers for this box.
    fn end(&mut self, now: Duration, hosts: bool) {
        if let Some(responder) = &mut self.responder {
            responder.end(now, hosts);
        }
        self.speak(now);
        *self = Inside { neighbour: self.neighbour, flood_told: self.flood_told, ..Inside::default() };
    }
}
