//! The links of this box, from the kernel's tables by rtnetlink(7), and word of their changes.

use super::responder::{LinkId, MdnsLink};
use rustix::io::Errno;
use rustix::net::{
    self, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType,
    netlink::SocketAddrNetlink,
    sockopt::{Timeout, set_socket_timeout},
};
use smol::Async;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

/// Interfaces that are used; a box with more has them for something else.
const INTERFACES: usize = 8;
/// Addresses of one that are told.
const ADDRESSES: usize = 8;
/// Interfaces of containers; what connects them has this in front of twelve hexadecimal digits, unlike the `br-lan` of a router.
const CONTAINERS: [&str; 2] = ["docker", "veth"];
const CONTAINER_BRIDGE: &str = "br-";
/// Bytes of a piece of a table: no more than the kernel makes of one (NLMSG_GOODSIZE).
const PIECE_BYTES: usize = 8 * 1024;
/// Pieces of a table that are read.
const PIECES: usize = 256;
/// How long the kernel may take.
const PATIENCE: Duration = Duration::from_secs(1);

// linux/netlink.h, linux/rtnetlink.h.
/// 0, which is none.
const NETLINK_ROUTE: Option<net::Protocol> = None;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;
const IFLA_IFNAME: u16 = 3;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const GROUPS: u32 = 0x1 | 0x10 | 0x100; // RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
const ROUTE_GROUPS: u32 = 0x40 | 0x400; // RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_ROUTE

// linux/if.h.
const IFF_UP: u32 = 0x1;
const IFF_LOOPBACK: u32 = 0x8;
const IFF_POINTOPOINT: u32 = 0x10;
const IFF_RUNNING: u32 = 0x40;
const IFF_MULTICAST: u32 = 0x1000;

// linux/if_addr.h.
const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;

/// An interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Interface {
    name: String,
    flags: u32,
    addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct InterfaceAddress {
    ip: IpAddr,
    prefix: u8,
    flags: u32,
}

impl Interface {
    /// Whether there may be somebody at the other end who hears all.
    fn is_link(&self) -> bool {
        let needed = IFF_UP | IFF_RUNNING | IFF_MULTICAST;
        let is_open = self.flags & needed == needed && self.flags & (IFF_LOOPBACK | IFF_POINTOPOINT) == 0;
        is_open && self.addresses.iter().any(|address| address.works())
    }

    fn is_of_container(&self) -> bool {
        let number = self.name.strip_prefix(CONTAINER_BRIDGE);
        let is_bridge = number.is_some_and(|n| n.len() == 12 && n.bytes().all(|b| b.is_ascii_hexdigit()));
        is_bridge || CONTAINERS.iter().any(|begin| self.name.starts_with(begin))
    }

    /// Where others find the box there: link-local addresses are for where there is nothing else, since not all programs know them.
    fn told(&self) -> Vec<IpAddr> {
        let lasting = |address: &&InterfaceAddress| {
            // The first bit says something else of IPv4.
            let passing = if address.ip.is_ipv6() { IFA_F_TEMPORARY | IFA_F_DEPRECATED } else { 0 };
            address.works() && address.flags & passing == 0
        };
        let all: Vec<IpAddr> = self.addresses.iter().filter(lasting).map(|address| address.ip).collect();
        let far: Vec<IpAddr> = all.iter().copied().filter(|ip| !is_link_local(*ip)).collect();
        let mut told = if far.is_empty() { all } else { far };
        told.sort_unstable();
        told.truncate(ADDRESSES);
        told
    }

    /// One for each family that can be spoken there.
    fn links(&self, number: u32) -> Vec<MdnsLink> {
        let addresses = self.told();
        let works = self.addresses.iter().filter(|address| address.works());
        let networks: Vec<(IpAddr, u8)> = works.map(|address| (address.ip, address.prefix)).collect();
        let has = |v6: bool| {
            networks.iter().any(|(ip, _)| if v6 { ip.is_ipv6() && is_link_local(*ip) } else { ip.is_ipv4() })
        };
        let families = [false, true].into_iter().filter(|v6| has(*v6) && !addresses.is_empty());
        let link = |v6| MdnsLink {
            id: LinkId { interface: number, v6 },
            addresses: addresses.clone(),
            networks: networks.clone(),
        };
        families.map(link).collect()
    }
}

impl InterfaceAddress {
    /// Not one that another box may have (RFC 4862 §5.4).
    fn works(&self) -> bool {
        self.ip.is_ipv4() || self.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0
    }
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// The links, and the names of their interfaces.
///
/// # Errors
/// When the kernel does not say.
pub(super) fn look() -> io::Result<(Vec<MdnsLink>, BTreeMap<u32, String>)> {
    let mut table = BTreeMap::new();
    for kind in [RTM_GETLINK, RTM_GETADDR] {
        ask(kind, &mut table)?;
    }
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let upstream = match is_router() {
        true => upstream(&read("/proc/net/route"), &read("/proc/net/ipv6_route")),
        false => BTreeSet::new(),
    };
    Ok(chosen(&table, &upstream))
}

/// Whether the box stands between a house and the network of others: OpenWrt does.
fn is_router() -> bool {
    Path::new("/etc/openwrt_release").exists()
}

/// The interfaces on the way to everywhere, by the kernel's tables of routes (proc(5)): destination and mask of an IPv4 route are its second
/// and eighth field, destination and length of the prefix of an IPv6 route the first two.
fn upstream(v4: &str, v6: &str) -> BTreeSet<String> {
    let fields = |line: &str| line.split_ascii_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let is_nothing = |field: Option<&String>| field.is_some_and(|field| field.bytes().all(|digit| digit == b'0'));
    let of_v4 = v4.lines().skip(1).map(fields).filter(|all| is_nothing(all.get(1)) && is_nothing(all.get(7)));
    let of_v6 = v6.lines().map(fields).filter(|all| is_nothing(all.first()) && is_nothing(all.get(1)));
    of_v4.filter_map(|all| all.first().cloned()).chain(of_v6.filter_map(|all| all.last().cloned())).collect()
}

/// Those that are used: none of containers, and none of `upstream`, where there are others.
fn chosen(table: &BTreeMap<u32, Interface>, upstream: &BTreeSet<String>) -> (Vec<MdnsLink>, BTreeMap<u32, String>) {
    let all: Vec<_> = table.iter().filter(|(_, interface)| interface.is_link()).collect();
    let others = |all: Vec<_>, is_out: &dyn Fn(&Interface) -> bool| {
        let (out, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|(_, interface): &(_, &Interface)| is_out(interface));
        if others.is_empty() { out } else { others }
    };
    let used = others(all, &|interface| interface.is_of_container());
    let used = others(used, &|interface| upstream.contains(&interface.name));
    let used = used.into_iter().take(INTERFACES);
    let (mut links, mut names) = (Vec::new(), BTreeMap::new());
    for (number, interface) in used {
        links.extend(interface.links(*number));
        names.insert(*number, interface.name.clone());
    }
    (links, names)
}

fn ask(kind: u16, table: &mut BTreeMap<u32, Interface>) -> io::Result<()> {
    let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, NETLINK_ROUTE)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
    // The kernel ignores what is in the second header, for all families.
    let length = 16 + 16_u32;
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.resize(length as usize, 0);
    net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut piece = [0; PIECE_BYTES];
    for _ in 0..PIECES {
        let (read, _) = net::recv(&socket, &mut piece[..], RecvFlags::empty())?;
        if take(&piece[..read], table).ok_or(io::ErrorKind::InvalidData)? {
            return Ok(());
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Reads a piece of a table; `true` if it is the last. `None` if it is none.
fn take(mut piece: &[u8], table: &mut BTreeMap<u32, Interface>) -> Option<bool> {
    while !piece.is_empty() {
        let length = u32_at(piece, 0)? as usize;
        let body = piece.get(16..length)?;
        match u16_at(piece, 4)? {
            NLMSG_DONE => return Some(true),
            NLMSG_ERROR => return None,
            RTM_NEWLINK => {
                let interface = table.entry(u32_at(body, 4)?).or_default();
                interface.flags = u32_at(body, 8)?;
                if let Some(name) = attribute(body.get(16..)?, IFLA_IFNAME) {
                    interface.name = String::from_utf8_lossy(name.strip_suffix(&[0]).unwrap_or(name)).into_owned();
                }
            }
            RTM_NEWADDR => {
                let (number, attributes) = (u32_at(body, 4)?, body.get(8..)?);
                // Of IPv4 the other one is the far end's, where there is one.
                let ip =
                    attribute(attributes, IFA_LOCAL).or_else(|| attribute(attributes, IFA_ADDRESS)).and_then(read_ip);
                let flags = attribute(attributes, IFA_FLAGS).and_then(|flags| u32_at(flags, 0));
                if let Some(ip) = ip {
                    let address =
                        InterfaceAddress { ip, prefix: *body.get(1)?, flags: flags.unwrap_or((*body.get(2)?).into()) };
                    table.entry(number).or_default().addresses.push(address);
                }
            }
            _ => {}
        }
        piece = piece.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(false)
}

fn attribute(mut attributes: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(4..length)?;
        if u16_at(attributes, 2)? == kind {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

fn read_ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Hears of changes.
pub(super) struct Changes(Async<OwnedFd>);

impl Changes {
    /// # Errors
    /// When the system gives no socket for it.
    pub fn open() -> io::Result<Changes> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, NETLINK_ROUTE)?;
        let groups = if is_router() { GROUPS | ROUTE_GROUPS } else { GROUPS };
        net::bind(&socket, &SocketAddrNetlink::new(0, groups))?;
        Ok(Changes(Async::new(socket)?))
    }

    /// Waits for some; which ones, [`look`] says.
    ///
    /// # Errors
    /// When none will be heard of any more.
    pub async fn next(&self) -> io::Result<()> {
        self.0.readable().await?;
        let mut piece = [0; 4096];
        loop {
            match net::recv(&self.0, &mut piece[..], RecvFlags::empty()) {
                // There were more than it could keep: a change, too.
                Ok(_) | Err(Errno::NOBUFS | Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LAN: u32 = IFF_UP | IFF_RUNNING | IFF_MULTICAST;

    fn interface(name: &str, flags: u32, addresses: &[(&str, u32)]) -> Interface {
        let address =
            |(ip, flags): &(&str, u32)| InterfaceAddress { ip: ip.parse().unwrap(), prefix: 24, flags: *flags };
        Interface { name: name.into(), flags, addresses: addresses.iter().map(address).collect() }
    }

    fn names(all: &[Interface]) -> Vec<String> {
        names_behind(all, &BTreeSet::new())
    }

    fn names_behind(all: &[Interface], upstream: &BTreeSet<String>) -> Vec<String> {
        let table = all.iter().cloned().enumerate().map(|(n, one)| (n as u32, one)).collect();
        chosen(&table, upstream).1.into_values().collect()
    }

    /// A router's neighbours at the other end are not of the house.
    #[test]
    fn a_router_says_nothing_upstream() {
        let v4 = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
                  wan\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\n\
                  br-lan\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n\
                  vpn0\t00000000\t00000000\t0001\t0\t0\t0\t00000080\n";
        let zero = "0".repeat(32);
        let net = format!("fd{}", "0".repeat(30));
        let v6 = format!(
            "{net} 40 {zero} 00 {zero} 00000100 1 0 1   br-lan\n{zero} 00 {zero} 00 fe80{} 00000400 1 0 3   wan6\n",
            "0".repeat(28)
        );
        let upstream = upstream(v4, &v6);
        assert_eq!(upstream.iter().collect::<Vec<_>>(), ["wan", "wan6"]);
        let all = ["wan", "wan6", "br-lan"].map(|name| interface(name, LAN, &[("192.168.1.5", 0)]));
        assert_eq!(names_behind(&all, &upstream), ["br-lan"]);
        // One that only bridges is found where it is.
        assert_eq!(names_behind(&all[..1], &upstream), ["wan"]);
    }

    #[test]
    fn only_links_with_others_on_them_are_used() {
        let v4: &[(&str, u32)] = &[("192.168.1.5", 0)];
        let all = [
            interface("lo", LAN | IFF_LOOPBACK, &[("127.0.0.1", 0)]),
            interface("eth0", LAN, v4),
            interface("wg0", LAN | IFF_POINTOPOINT, v4),
            interface("eth1", LAN & !IFF_RUNNING, v4),
            interface("eth2", LAN & !IFF_UP, v4),
            interface("eth3", LAN, &[]),
            interface("eth4", LAN, &[("fe80::1", IFA_F_TENTATIVE)]),
            interface("docker0", LAN, v4),
            interface("veth12", LAN, v4),
            interface("br-0123456789ab", LAN, v4),
        ];
        assert_eq!(names(&all), ["eth0"]);
        // Where there is nothing else, they are it.
        assert_eq!(names(&all[7..]), ["docker0", "veth12", "br-0123456789ab"]);
        assert_eq!(names(&[interface("br-lan", LAN, v4), interface("docker0", LAN, v4)]), ["br-lan"]);
        let many: Vec<Interface> = (0..20).map(|n| interface(&format!("eth{n}"), LAN, v4)).collect();
        assert_eq!(names(&many).len(), INTERFACES);
    }

    #[test]
    fn what_is_told_of_a_link() {
        let all =
            [("192.168.1.5", 1), ("169.254.1.1", 0), ("fe80::1", 0), ("fd00::5", 0), ("fd00::6", IFA_F_TEMPORARY)];
        let told = |addresses: &[(&str, u32)]| {
            let told = interface("eth0", LAN, addresses).told();
            told.iter().map(IpAddr::to_string).collect::<Vec<_>>()
        };
        assert_eq!(told(&all), ["192.168.1.5", "fd00::5"]);
        assert_eq!(told(&all[1..3]), ["169.254.1.1", "fe80::1"]);
        let links = interface("eth0", LAN, &all).links(7);
        let families: Vec<bool> = links.iter().map(|link| link.id.v6).collect();
        assert_eq!((families, links[0].networks.len(), links[0].id.interface), (vec![false, true], 5, 7));
        // Without IPv6 on the link, nothing is said by it.
        assert_eq!(interface("eth0", LAN, &all[..1]).links(7).len(), 1);
    }

    fn message(kind: u16, body: &[u8], attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut all = body.to_vec();
        for (kind, value) in attributes {
            all.extend((value.len() as u16 + 4).to_ne_bytes());
            all.extend(kind.to_ne_bytes());
            all.extend(*value);
            all.resize(all.len().next_multiple_of(4), 0);
        }
        let head = [&(all.len() as u32 + 16).to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10]].concat();
        [head, all].concat()
    }

    #[test]
    fn the_tables_are_read() {
        let link = [&[0; 4][..], &7_u32.to_ne_bytes(), &LAN.to_ne_bytes(), &[0; 4]].concat();
        let link = message(RTM_NEWLINK, &link, &[(4, &[0; 4]), (IFLA_IFNAME, b"eth0\0")]);
        let head = |family, prefix, flags| [&[family, prefix, flags, 0][..], &7_u32.to_ne_bytes()].concat();
        let v4 =
            message(RTM_NEWADDR, &head(2, 24, 0x80), &[(IFA_ADDRESS, &[10, 0, 0, 9]), (IFA_LOCAL, &[10, 0, 0, 1])]);
        let v6 = message(
            RTM_NEWADDR,
            &head(10, 64, 0),
            &[(IFA_ADDRESS, &[0xfd; 16]), (IFA_FLAGS, &IFA_F_TEMPORARY.to_ne_bytes())],
        );
        let mut table = BTreeMap::new();
        assert_eq!(take(&[link.clone(), v4, v6].concat(), &mut table), Some(false));
        let expected = InterfaceAddress { ip: "10.0.0.1".parse().unwrap(), prefix: 24, flags: 0x80 };
        assert_eq!((table[&7].name.as_str(), table[&7].flags, table[&7].addresses[0]), ("eth0", LAN, expected));
        assert_eq!(table[&7].addresses[1].flags, IFA_F_TEMPORARY);
        assert_eq!(take(&message(NLMSG_DONE, &[], &[]), &mut table), Some(true));
        assert_eq!(take(&message(NLMSG_ERROR, &[0; 4], &[]), &mut table), None);
        for cut in 1..link.len() {
            assert_eq!(take(&link[..cut], &mut BTreeMap::new()), None, "{cut}");
        }
        assert_eq!(take(&[0; 16], &mut table), None, "no length: no end");
    }

    #[test]
    fn the_kernel_tells() {
        let mut table = BTreeMap::new();
        ask(RTM_GETLINK, &mut table).unwrap();
        ask(RTM_GETADDR, &mut table).unwrap();
        let lo = table.values().find(|interface| interface.flags & IFF_LOOPBACK != 0).unwrap();
        assert_eq!(lo.name, "lo");
        assert!(look().unwrap().1.values().all(|name| name != "lo"));
    }
}
