//! A question to one DNS server, by UDP, or by TCP where that is needed (RFC 7766).

use super::message::{Question, Reply};
use super::random;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

/// Bytes that are taken of a datagram: more than we ask for, so that one that is too long is seen to be.
const RECEIVE_BYTES: usize = 4096;
/// Answers to other questions after which somebody is taken to be guessing: then the question goes by TCP.
const WRONG: u32 = 16;

/// Any port of all addresses of the family that another address has.
pub(super) fn unspecified(of: &SocketAddr) -> SocketAddr {
    match of {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// What a server says; within `limit`, each time for each of the two ways. `trusted`: its AD bit is believed.
///
/// # Errors
/// When it does not answer.
pub(super) async fn ask(server: SocketAddr, question: &Question, trusted: bool, limit: Duration) -> io::Result<Reply> {
    for edns in [true, false] {
        // Another number and another port each time: both have to be guessed by who wants to answer in its place (RFC 5452).
        let question = Question { id: random::number(u16::MAX.into()) as u16, ..question.clone() };
        let packet = question.packet(true, edns).ok_or(ErrorKind::InvalidInput)?;
        let mut reply = within(limit, by_udp(server, &question, &packet, trusted)).await?;
        if reply == Reply::Truncated {
            reply = within(limit, by_tcp(server, &question, &packet, trusted)).await?;
        }
        match reply {
            // It may be too old for EDNS (RFC 6891 §7).
            Reply::Puzzled => {}
            Reply::Truncated => return Ok(Reply::Failed("sends answers that are cut off")),
            reply => return Ok(reply),
        }
    }
    Ok(Reply::Failed("does not understand the question"))
}

/// The result of something, unless that takes too long.
pub(super) async fn within<T>(limit: Duration, what: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    smol::future::or(what, async {
        Timer::after(limit).await;
        Err(ErrorKind::TimedOut.into())
    })
    .await
}

/// The first success of many; `None` if none of them has any. The others are dropped.
pub(super) async fn first<T>(mut all: Vec<impl Future<Output = io::Result<T>> + Unpin>) -> Option<T> {
    poll_fn(|cx| {
        let mut found = None;
        all.retain_mut(|one| match Pin::new(one).poll(cx) {
            _ if found.is_some() => false,
            Poll::Ready(result) => {
                found = result.ok();
                false
            }
            Poll::Pending => true,
        });
        if found.is_some() || all.is_empty() { Poll::Ready(found) } else { Poll::Pending }
    })
    .await
}

async fn by_udp(server: SocketAddr, question: &Question, packet: &[u8], trusted: bool) -> io::Result<Reply> {
    let socket = Async::<UdpSocket>::bind(unspecified(&server))?;
    // From here on the system drops what others send, and tells us when there is no such port.
    socket.get_ref().connect(server)?;
    socket.send(packet).await?;
    let mut buffer = vec![0; RECEIVE_BYTES];
    for _ in 0..WRONG {
        let n = socket.recv(&mut buffer).await?;
        match question.read(&buffer[..n], trusted) {
            Reply::Foreign => {}
            _ if n == buffer.len() => break,
            reply => return Ok(reply),
        }
    }
    Ok(Reply::Truncated)
}

async fn by_tcp(server: SocketAddr, question: &Question, packet: &[u8], trusted: bool) -> io::Result<Reply> {
    let mut socket = Async::<TcpStream>::connect(server).await?;
    let length = u16::try_from(packet.len()).map_err(|_| ErrorKind::InvalidInput)?;
    socket.write_all(&[&length.to_be_bytes(), packet].concat()).await?;
    let mut length = [0; 2];
    socket.read_exact(&mut length).await?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    socket.read_exact(&mut answer).await?;
    Ok(match question.read(&answer, trusted) {
        Reply::Foreign => Reply::Failed("answers another question"),
        reply => reply,
    })
}
