//! DNS, asked by ourselves: where the server of a domain is, and what its hosts' addresses are.
//!
//! [`system`] is what the box knows; [`exchange`] asks one server, [`multicast`] everybody on the link; [`message`] is what goes over the
//! wire. [`service`] says what the records of a domain mean. What is asked of whom, and for how long it is believed, is here.

mod cache;
mod exchange;
pub mod message;
pub(crate) mod multicast;
mod name;
pub(in crate::service) mod random;
pub(crate) mod service;
mod system;
#[cfg(test)]
pub(in crate::service) mod tests;

pub use self::message::Tlsa;
pub use self::name::DnsName;
pub use self::service::{Host, Target};

use self::cache::Cache;
use self::message::{ALIASES, Data, Kind, Looked, Question, Reply};
use self::multicast::MulticastLink;
use self::service::{SERVERS, ServiceNames, Services, Way};
use self::system::{Resolv, ResolvConf, hosts};
use crate::service::{host, lock};
use crate::wire::Refusal;
use smol::Timer;
use smol::lock::Semaphore;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// How long one look-up may take, whatever servers it asks.
const LOOK_UP: Duration = Duration::from_secs(12);
/// Questions that may be on their way at once; others wait.
const QUESTIONS: usize = 64;
/// Addresses of one kind that a host may have.
const ADDRESSES: usize = 8;

/// Where the resolver looks.
#[derive(Clone, Debug)]
pub struct Sources {
    /// Which servers to ask (resolv.conf(5)).
    pub resolv_conf: PathBuf,
    /// Addresses that go before DNS (hosts(5)).
    pub hosts: PathBuf,
    /// The port of DNS servers.
    pub port: u16,
    /// Who is asked for names under `.local`. It is called each time: links come and go.
    pub links: fn() -> Vec<MulticastLink>,
}

/// Whether addresses of version 4 or 6 are meant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// The addresses of a host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// At most eight.
    pub list: Vec<IpAddr>,
    /// Whether DNSSEC vouches for them.
    pub authentic: bool,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Unanswered {
    /// Nobody has said anything: who was asked, for a sentence.
    Silence(String),
    /// Somebody has said that they cannot say: that, as a sentence.
    Failure(String),
}

impl From<Unanswered> for Refusal {
    fn from(why: Unanswered) -> Refusal {
        match why {
            Unanswered::Silence(who) => Refusal::wait(format!("{who} did not answer")),
            Unanswered::Failure(why) => Refusal::wait(why),
        }
    }
}

/// The resolver. It remembers what was said.
#[derive(Debug)]
pub struct Resolver {
    sources: Sources,
    resolv: Mutex<Resolv>,
    cache: Mutex<Cache>,
    questions: Semaphore,
    /// Which server is asked first: the one that has answered last, or the next in turn.
    first: AtomicUsize,
}

/// What a person waits for, no longer than this.
///
/// # Errors
/// Those of the work, or that there is no answer in time.
pub(crate) async fn in_time<T>(most: Duration, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = async {
        Timer::after(most).await;
        Err(Refusal::wait("the DNS does not answer in time"))
    };
    smol::future::or(work, late).await
}

impl Resolver {
    /// One that looks where this system does.
    pub fn of_system() -> Resolver {
        let links = || multicast::links(&host::addresses());
        Resolver::new(Sources { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into(), port: 53, links })
    }

    /// One that knows nothing yet.
    pub fn new(sources: Sources) -> Resolver {
        let resolv = Mutex::new(Resolv::new(sources.port));
        let questions = Semaphore::new(QUESTIONS);
        Resolver { sources, resolv, cache: Mutex::default(), questions, first: AtomicUsize::new(0) }
    }

    /// Where the server of a domain may be, in the order in which to try (RFC 6120 §3.2, XEP-0368). At least one place.
    ///
    /// # Errors
    /// When DNS says that it has none, or says nothing.
    pub async fn targets(&self, domain: &str) -> Result<Vec<Target>, Refusal> {
        self.targets_of(domain, SERVERS).await
    }

    /// The same, for whoever asks for these services.
    ///
    /// # Errors
    /// As [`Resolver::targets`].
    pub(crate) async fn targets_of(&self, domain: &str, names: ServiceNames) -> Result<Vec<Target>, Refusal> {
        let fall_back = |host, authentic| vec![Target { host, port: names.port, direct: false, authentic }];
        if let Some(address) = literal(domain) {
            return Ok(fall_back(Host::Address(address), false));
        }
        let name = DnsName::parse(domain)
            .ok_or_else(|| Refusal::gone(format!("{domain} is no name that could stand in the DNS")))?;
        if name.is_special() {
            return Err(Refusal::gone(format!("{domain} is a name that the DNS does not have")));
        }
        let asked = smol::future::zip(self.services(&name, names.direct), self.services(&name, names.starttls)).await;
        let known = |asked: &Result<Looked, Unanswered>| match asked {
            Ok(looked) => Services::Known { records: looked.services(), authentic: looked.authentic },
            Err(Unanswered::Silence(_)) => Services::Silence,
            Err(Unanswered::Failure(_)) => Services::Failure,
        };
        match service::way(&known(&asked.0), &known(&asked.1), &mut random::number) {
            Way::Targets(targets) => Ok(targets),
            Way::FallBack { authentic } => Ok(fall_back(Host::Name(name), authentic)),
            Way::Denied => Err(Refusal::gone(format!("{domain} has no XMPP server: its DNS says so"))),
            Way::Unusable => Err(Refusal::gone(format!(
                "the DNS of {domain} has records of an XMPP server, and none of them names a host"
            ))),
            // The owner of this box may know better.
            Way::Unknown if !hosts(&self.sources.hosts, &name).is_empty() => Ok(fall_back(Host::Name(name), false)),
            Way::Unknown => Err(asked.1.or(asked.0).err().map_or_else(
                || Refusal::wait(format!("the DNS cannot say where the server of {domain} is")),
                Refusal::from,
            )),
        }
    }

    async fn services(&self, domain: &DnsName, service: &str) -> Result<Looked, Unanswered> {
        match domain.below(service) {
            Some(name) => self.look_up(&name, Kind::Srv).await,
            // A domain so long that it cannot have them.
            None => Ok(Looked::nothing()),
        }
    }

    /// The addresses of a host, of one family. None: it has none of that family. Both families are best asked for at once.
    ///
    /// # Errors
    /// When there is no such host (`remote-server-not-found`), or nobody says.
    pub async fn addresses(&self, host: &DnsName, family: Family) -> Result<Addresses, Refusal> {
        let kind = match family {
            Family::V4 => Kind::A,
            Family::V6 => Kind::Aaaa,
        };
        let looked = match self.look_up(host, kind).await {
            Err(Unanswered::Failure(why)) => return Err(Refusal::wait(format!("{why}, asked for {host}"))),
            looked => looked?,
        };
        if !looked.exists {
            return Err(Refusal::gone(match host.is_local() {
                true => format!("nobody in this network answers to the name {host}"),
                false => format!("there is no {host} in the DNS"),
            }));
        }
        let address = |data| match data {
            Data::Address(address) => Some(address),
            _ => None,
        };
        let list = looked.records.into_iter().filter_map(address).take(ADDRESSES).collect();
        Ok(Addresses { list, authentic: looked.authentic })
    }

    /// The keys that DNS tells of a place (DANE, RFC 7673 §3.2): only what DNSSEC vouches for. To be asked if that vouches for
    /// all before, the addresses among it. None: there are none.
    ///
    /// # Errors
    /// When nobody says: then the place must not be used, for an attacker could be why.
    pub async fn keys(&self, host: &DnsName, port: u16) -> Result<Vec<Tlsa>, Refusal> {
        let Some(name) = host.below(&format!("_{port}._tcp")) else { return Ok(Vec::new()) };
        let looked = self.look_up(&name, Kind::Tlsa).await?;
        let key = |data| match data {
            Data::Key(key) => Some(key),
            _ => None,
        };
        Ok(match looked.authentic {
            true => looked.records.into_iter().filter_map(key).collect(),
            false => Vec::new(),
        })
    }

    /// What there is of a kind under a name, wherever that is known.
    async fn look_up(&self, name: &DnsName, kind: Kind) -> Result<Looked, Unanswered> {
        if matches!(kind, Kind::A | Kind::Aaaa) {
            let found = hosts(&self.sources.hosts, name);
            if !found.is_empty() {
                let is_it = |ip: &IpAddr| ip.is_ipv4() == (kind == Kind::A);
                let records = found.into_iter().filter(is_it).map(Data::Address).collect();
                return Ok(Looked { records, exists: true, authentic: false, ttl_s: 0 });
            }
        }
        if name.is_special() {
            return Ok(Looked::nothing());
        }
        let conf = self.conf();
        if let Some(looked) = lock(&self.cache).get(name, kind, Instant::now()) {
            return Ok(looked.clone());
        }
        let looked = match name.is_local() {
            true => {
                let _one = self.questions.acquire().await;
                let question = Question { id: 0, name: name.clone(), kind };
                multicast::ask(&(self.sources.links)(), &question).await
            }
            false => {
                let late = async {
                    Timer::after(LOOK_UP).await;
                    Err(Unanswered::Silence(who(&conf.servers)))
                };
                smol::future::or(self.follow(name, kind, &conf), late).await?
            }
        };
        lock(&self.cache).put(name.clone(), kind, looked.clone(), Instant::now());
        Ok(looked)
    }

    /// resolv.conf as it is now.
    fn conf(&self) -> ResolvConf {
        let mut resolv = lock(&self.resolv);
        let (conf, is_new) = resolv.look(&self.sources.resolv_conf, self.sources.port);
        if is_new {
            lock(&self.cache).clear();
        }
        conf.clone()
    }

    /// Asks for a name, and for those that it stands for.
    async fn follow(&self, name: &DnsName, kind: Kind, conf: &ResolvConf) -> Result<Looked, Unanswered> {
        let (mut at, mut all_authentic, mut least_s) = (name.clone(), true, u32::MAX);
        for _ in 0..=ALIASES {
            // What an alias may not lead to: what is only known here.
            if at.is_special() || at.is_local() {
                return Ok(Looked::nothing());
            }
            match self.ask_all(&at, kind, conf).await? {
                Reply::Alias { to, authentic, ttl_s } => {
                    (all_authentic, least_s, at) = (all_authentic && authentic, least_s.min(ttl_s), to);
                }
                Reply::Found(looked) => {
                    let (authentic, ttl_s) = (looked.authentic && all_authentic, looked.ttl_s.min(least_s));
                    return Ok(Looked { authentic, ttl_s, ..looked });
                }
                _ => break,
            }
        }
        Err(Unanswered::Failure(format!("in the DNS {name} stands for another name, and so on without end")))
    }

    /// Asks one server after the other, all of them as often as resolv.conf says.
    async fn ask_all(&self, name: &DnsName, kind: Kind, conf: &ResolvConf) -> Result<Reply, Unanswered> {
        let _one = self.questions.acquire().await;
        let question = Question { id: 0, name: name.clone(), kind };
        let count = conf.servers.len();
        let first = match conf.rotate {
            true => self.first.fetch_add(1, Ordering::Relaxed),
            false => self.first.load(Ordering::Relaxed),
        };
        let mut said = None;
        for n in 0..count * conf.attempts as usize {
            let at = (first + n) % count;
            let server = conf.servers[at];
            // Nobody can come between us and a resolver on this box (RFC 6840 §5.7, resolv.conf(5)).
            let trusted = conf.trust_ad || server.ip().is_loopback();
            match exchange::ask(server, &question, trusted, conf.timeout).await {
                Ok(Reply::Failed(why)) => said = Some(format!("the DNS server {} {why}", server.ip())),
                Ok(reply) => {
                    if !conf.rotate {
                        self.first.store(at, Ordering::Relaxed);
                    }
                    return Ok(reply);
                }
                Err(e) if e.kind() == ErrorKind::TimedOut => {}
                Err(e) => log::debug!("DNS server {server}: {e}"),
            }
        }
        Err(said.map_or_else(|| Unanswered::Silence(who(&conf.servers)), Unanswered::Failure))
    }
}

/// The servers, as the beginning of a sentence.
fn who(servers: &[SocketAddr]) -> String {
    let list: Vec<String> = servers.iter().map(|server| server.ip().to_string()).collect();
    match &list[..] {
        [one] => format!("the DNS server {one}"),
        _ => format!("the DNS servers {}", list.join(", ")),
    }
}

/// The address that a domain is, if it is one (RFC 7622 §3.2).
fn literal(domain: &str) -> Option<IpAddr> {
    let inside = domain.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inside {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().ok().map(IpAddr::from),
        None => domain.parse::<std::net::Ipv4Addr>().ok().map(IpAddr::from),
    }
}
