//! Sockets of multicast DNS: each hears one interface alone, and speaks there.

use super::packet::READ_BYTES;
use super::responder::LinkId;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use smol::Async;
use socket2::SockRef;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

/// The port of everybody, and their groups (RFC 6762 §3).
const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// No router has counted on it (RFC 6762 §11).
const HOPS: u8 = 255;

/// A socket on a link.
#[derive(Debug)]
pub(super) struct MdnsSocket {
    socket: Async<UdpSocket>,
    link: LinkId,
}

impl MdnsSocket {
    /// Others on this box may have the port, too.
    ///
    /// # Errors
    /// When the system does not give it.
    pub fn open(link: LinkId, interface: &str) -> io::Result<MdnsSocket> {
        let family = if link.v6 { AddressFamily::INET6 } else { AddressFamily::INET };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::DGRAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        sockopt::set_socket_reuseport(&socket, true)?;
        // So that what came on another interface is not answered here.
        SockRef::from(&socket).bind_device(Some(interface.as_bytes()))?;
        let any: SocketAddr = match link.v6 {
            true => {
                sockopt::set_ipv6_v6only(&socket, true)?;
                sockopt::set_ipv6_multicast_if(&socket, link.interface)?;
                sockopt::set_ipv6_multicast_hops(&socket, HOPS.into())?;
                sockopt::set_ipv6_unicast_hops(&socket, Some(HOPS))?;
                (Ipv6Addr::UNSPECIFIED, PORT).into()
            }
            false => {
                sockopt::set_ip_multicast_if_with_ifindex(&socket, &GROUP_V4, &Ipv4Addr::UNSPECIFIED, link.interface)?;
                sockopt::set_ip_multicast_ttl(&socket, HOPS.into())?;
                sockopt::set_ip_ttl(&socket, HOPS.into())?;
                (Ipv4Addr::UNSPECIFIED, PORT).into()
            }
        };
        net::bind(&socket, &any)?;
        match link.v6 {
            true => sockopt::set_ipv6_add_membership(&socket, &GROUP_V6, link.interface)?,
            false => {
                let (group, any) = (GROUP_V4, Ipv4Addr::UNSPECIFIED);
                sockopt::set_ip_add_membership_with_ifindex(&socket, &group, &any, link.interface)?;
            }
        }
        Ok(MdnsSocket { socket: Async::new(UdpSocket::from(socket))?, link })
    }

    /// Sends to one, or to everybody on the link.
    ///
    /// # Errors
    /// When it cannot be sent now: packets may get lost, this one is.
    pub fn send(&self, to: Option<SocketAddr>, bytes: &[u8]) -> io::Result<()> {
        let everybody = || match self.link.v6 {
            true => SocketAddrV6::new(GROUP_V6, PORT, 0, self.link.interface).into(),
            false => (GROUP_V4, PORT).into(),
        };
        self.socket.get_ref().send_to(bytes, to.unwrap_or_else(everybody)).map(drop)
    }

    /// Takes what has come, at most `most` packets. A packet that is larger than what is read is cut.
    pub fn receive(&self, most: u32, mut take: impl FnMut(SocketAddr, &[u8])) {
        let mut buffer = [0; READ_BYTES + 1];
        for _ in 0..most {
            match self.socket.get_ref().recv_from(&mut buffer) {
                Ok((read, from)) => take(from, &buffer[..read]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // What came of a packet that we have sent.
                Err(_) => {}
            }
        }
    }

    /// Whether something has come.
    pub fn poll_readable(&self, cx: &mut std::task::Context<'_>) -> bool {
        self.socket.poll_readable(cx).is_ready()
    }
}
