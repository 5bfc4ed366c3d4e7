//! What the system knows of names: `/etc/resolv.conf` and `/etc/hosts` (resolv.conf(5), hosts(5)).

use super::name::DnsName;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV6};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Servers that are asked, as the system's own resolver has it.
const NAMESERVERS: usize = 3;
/// Bytes that are read of resolv.conf.
const RESOLV_BYTES: u64 = 16 * 1024;
/// Bytes that are read of hosts: lists against advertisements are long.
const HOSTS_BYTES: u64 = 32 * 1024 * 1024;
/// Addresses that one name may have in hosts.
const ADDRESSES: usize = 16;

/// What resolv.conf says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct ResolvConf {
    /// The servers, at most three; the port is 53.
    pub servers: Vec<SocketAddr>,
    /// How long one of them may take.
    pub timeout: Duration,
    /// How often all of them are asked.
    pub attempts: u32,
    /// Whether each question begins with another one.
    pub rotate: bool,
    /// Whether they and the way to them are to be trusted with the AD bit.
    pub trust_ad: bool,
}

impl ResolvConf {
    /// Reads it; what is not understood is left out, as the system does. There is no search list: our names are whole.
    pub(crate) fn parse(text: &str, port: u16) -> ResolvConf {
        let mut conf = ResolvConf {
            servers: Vec::new(),
            timeout: Duration::from_secs(5),
            attempts: 2,
            rotate: false,
            trust_ad: false,
        };
        for line in text.lines() {
            let line = line.split(['#', ';']).next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") if conf.servers.len() < NAMESERVERS => {
                    conf.servers.extend(words.next().and_then(|word| server(word, port)));
                }
                Some("options") => words.for_each(|word| conf.option(word)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, port).into());
        }
        conf
    }

    fn option(&mut self, word: &str) {
        let number = |text: &str| text.parse::<u32>().ok().filter(|n| *n > 0);
        match word.split_once(':') {
            Some(("timeout", n)) => {
                self.timeout = number(n).map_or(self.timeout, |n| Duration::from_secs(n.min(30).into()));
            }
            Some(("attempts", n)) => self.attempts = number(n).map_or(self.attempts, |n| n.min(5)),
            None if word == "rotate" => self.rotate = true,
            None if word == "trust-ad" => self.trust_ad = true,
            _ => {}
        }
    }
}

/// The address of a server, maybe with a zone (`fe80::1%eth0`).
fn server(word: &str, port: u16) -> Option<SocketAddr> {
    let Some((address, zone)) = word.split_once('%') else {
        return word.parse::<IpAddr>().ok().map(|ip| (ip, port).into());
    };
    let is_name = zone.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b)) && !zone.starts_with('.');
    let index = || std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")).ok()?.trim().parse().ok();
    let zone = zone.parse().ok().or_else(|| is_name.then(index).flatten())?;
    Some(SocketAddrV6::new(address.parse().ok()?, port, 0, zone).into())
}

/// By what a file is seen to be another one than before.
type Seen = Option<(SystemTime, u64)>;

/// resolv.conf, read again when it changes.
#[derive(Debug)]
pub(crate) struct Resolv {
    seen: Option<Seen>,
    conf: ResolvConf,
}

impl Resolv {
    /// Not read yet.
    pub(crate) fn new(port: u16) -> Resolv {
        Resolv { seen: None, conf: ResolvConf::parse("", port) }
    }

    /// As it is now, and whether that is something new.
    pub(crate) fn look(&mut self, path: &Path, port: u16) -> (&ResolvConf, bool) {
        let seen = std::fs::metadata(path).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok();
        let is_new = self.seen != Some(seen);
        if is_new {
            let mut bytes = Vec::new();
            let _ = File::open(path).and_then(|file| file.take(RESOLV_BYTES).read_to_end(&mut bytes));
            self.conf = ResolvConf::parse(&String::from_utf8_lossy(&bytes), port);
            self.seen = Some(seen);
        }
        (&self.conf, is_new)
    }
}

/// The addresses of a name in hosts, in its order. The file is read each time: it may be long, and is asked before a connection only.
pub(crate) fn hosts(path: &Path, name: &DnsName) -> Vec<IpAddr> {
    let Ok(file) = File::open(path) else { return Vec::new() };
    let mut reader = BufReader::new(file.take(HOSTS_BYTES));
    let (mut found, mut line) = (Vec::new(), Vec::new());
    while found.len() < ADDRESSES && reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        found.extend(std::str::from_utf8(&line).ok().and_then(|line| entry(line, name)));
        line.clear();
    }
    found
}

/// The address in a line, if it is of this name.
fn entry(line: &str, name: &DnsName) -> Option<IpAddr> {
    let mut words = line.split('#').next()?.split_ascii_whitespace();
    let address = words.next()?;
    let is_it = |word: &str| word.strip_suffix('.').unwrap_or(word).eq_ignore_ascii_case(name.as_str());
    words.any(is_it).then(|| address.split('%').next()?.parse().ok()).flatten()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::service::disk::data::tests::Temp;

    #[test]
    fn resolv_conf_is_read_as_the_system_reads_it() {
        let conf = ResolvConf::parse("", 53);
        assert_eq!(
            (conf.servers, conf.timeout.as_secs(), conf.attempts),
            (vec!["127.0.0.1:53".parse().unwrap()], 5, 2)
        );
        let conf = ResolvConf::parse(
            "# a comment\n; another\nsearch example.org\nnameserver 192.0.2.1 # the router\nnameserver nonsense\nnameserver fe80::1%7\n\
             nameserver\t2001:db8::1\nnameserver 192.0.2.4\noptions timeout:2 attempts:9 rotate ndots:3\noptions trust-ad timeout:0\n",
            53,
        );
        let servers: Vec<String> = conf.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "[fe80::1%7]:53", "[2001:db8::1]:53"]);
        assert_eq!((conf.timeout.as_secs(), conf.attempts, conf.rotate, conf.trust_ad), (2, 5, true, true));
        assert_eq!(server("fe80::1%../../x", 53), None);
        assert_eq!(server("fe80::1%lo", 53).unwrap().to_string(), "[fe80::1%1]:53");
    }

    #[test]
    fn a_changed_resolv_conf_is_read_again() {
        let temp = Temp::new();
        std::fs::create_dir_all(&temp.0).unwrap();
        let path = temp.0.join("resolv.conf");
        let mut resolv = Resolv::new(53);
        assert!(resolv.look(&path, 53).1);
        assert!(!resolv.look(&path, 53).1);
        std::fs::write(&path, "nameserver 192.0.2.1").unwrap();
        let (conf, is_new) = resolv.look(&path, 53);
        assert!(is_new && conf.servers == ["192.0.2.1:53".parse().unwrap()]);
        assert!(!resolv.look(&path, 53).1);
        std::fs::write(&path, "nameserver 192.0.2.22").unwrap();
        assert!(resolv.look(&path, 53).1);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(resolv.look(&path, 53).0.servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn hosts_is_asked_by_any_of_its_names() {
        let temp = Temp::new();
        std::fs::create_dir_all(&temp.0).unwrap();
        let path = temp.0.join("hosts");
        let text = b"127.0.0.1 localhost\n\xff\xfe broken\n192.0.2.7\tOffice.example office # example.org\n2001:db8::7 office\n0.0.0.0\n";
        std::fs::write(&path, text).unwrap();
        let find = |name: &str| hosts(&path, &DnsName::parse(name).unwrap());
        assert_eq!(find("office"), ["192.0.2.7".parse::<IpAddr>().unwrap(), "2001:db8::7".parse().unwrap()]);
        assert_eq!(find("office.example"), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert!(find("example.org").is_empty() && find("192.0.2.7").is_empty());
        std::fs::write(&path, "192.0.2.1 many\n".repeat(100)).unwrap();
        assert_eq!(find("many").len(), ADDRESSES);
    }
}
