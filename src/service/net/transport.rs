//! The ways that bytes go between a peer and a stream.

use crate::service::tls::{Side, Stream};
use smol::Async;
use smol::io::{AsyncRead, AsyncWrite};
use std::io;
use std::net::TcpStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A TCP connection.
pub type Socket = Async<TcpStream>;

/// Bytes that are read at once from a connection without TLS.
const READ_BYTES: usize = 16 * 1024;

/// A connection on which a stream can be spoken.
pub trait Transport {
    /// Reads once. Appends what that gave to `into`, maybe nothing. Gives the number of bytes that came in; 0 is the end.
    ///
    /// # Errors
    /// When the connection is broken.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>>;

    /// Takes something from the front of `bytes`. Pending while the peer has not taken what was written before.
    ///
    /// # Errors
    /// When the connection is broken.
    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Bytes that it keeps, and the peer has not taken.
    fn unsent(&self) -> usize;

    /// All bytes that it keeps.
    fn kept(&self) -> usize {
        self.unsent()
    }

    /// Writes those.
    ///
    /// # Errors
    /// When the connection is broken.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Says that nothing follows, in the words of the transport, and writes that.
    ///
    /// # Errors
    /// When the connection is broken.
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// The TCP connection below, if it is one.
    fn socket(&mut self) -> Option<&mut Socket>;
}

impl<S: Side> Transport for Stream<S> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        Stream::poll_read(self, cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Stream::poll_write(self, cx, bytes)
    }

    fn unsent(&self) -> usize {
        Stream::unsent(self)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_flush(self, cx)
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Stream::poll_close(self, cx)
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        Some(Stream::socket(self))
    }
}

/// Without TLS: only for who is on the same box, or in front of a handshake.
impl Transport for Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let mut buffer = [0; READ_BYTES];
        let read = ready!(AsyncRead::poll_read(Pin::new(self), cx, &mut buffer))?;
        into.extend_from_slice(&buffer[..read]);
        Poll::Ready(Ok(read))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(self), cx, bytes)
    }

    fn unsent(&self) -> usize {
        0
    }

    fn poll_flush(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(&mut self, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        Some(self)
    }
}
