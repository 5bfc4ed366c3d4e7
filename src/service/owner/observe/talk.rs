//! A stream of XMPP with somebody who may say anything: one element after the other, as far as that is one, and no more than a few.

use crate::service::tls::Outgoing;
use crate::wire::framer::Limits;
use crate::wire::xml::escaped;
use crate::wire::{Frame, Framer, Raw, Scope};
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use std::future::poll_fn;
use std::net::TcpStream;
use std::sync::Arc;

/// Bytes that are heard on one connection.
pub const HEARD_BYTES: usize = 256 * 1024;
/// Elements as servers make them before a login.
const LIMITS: Limits = Limits { element_bytes: 64 * 1024, depth: 16, elements: 1024, attributes: 64 };
/// Bytes that are read at once.
const READ_BYTES: usize = 4096;
/// Whose server we say to be: nobody's (RFC 2606 §2).
pub const STRANGER: &str = "observer.invalid";

/// How bytes go.
pub enum Wire {
    /// As they are.
    Plain(Async<TcpStream>),
    /// Inside TLS.
    Tls(Box<Outgoing>),
}

impl Wire {
    /// Appends what comes to `came`; gives how much that was, and 0 at the end, of whatever kind.
    pub async fn read(&mut self, came: &mut Vec<u8>) -> usize {
        match self {
            Wire::Plain(socket) => {
                let mut buffer = [0; READ_BYTES];
                let read = socket.read(&mut buffer).await.unwrap_or(0);
                came.extend_from_slice(&buffer[..read]);
                read
            }
            // What is not text is nothing to look at, and counts.
            Wire::Tls(stream) => poll_fn(|cx| stream.poll_read(cx, came)).await.unwrap_or(0),
        }
    }

    /// Writes all of it; gives whether that was possible.
    pub async fn write(&mut self, mut bytes: &[u8]) -> bool {
        match self {
            Wire::Plain(socket) => socket.write_all(bytes).await.is_ok(),
            Wire::Tls(stream) => {
                while !bytes.is_empty() {
                    match poll_fn(|cx| stream.poll_write(cx, bytes)).await {
                        Ok(n) if n > 0 => bytes = &bytes[n..],
                        _ => return false,
                    }
                }
                poll_fn(|cx| stream.poll_flush(cx)).await.is_ok()
            }
        }
    }
}

/// The stream.
pub struct Talk {
    pub wire: Wire,
    framer: Framer,
    scope: Scope,
    /// What came and was not looked at.
    came: Vec<u8>,
    heard: usize,
}

impl Talk {
    /// On a connection from which `came` was read already.
    pub fn on(wire: Wire, came: Vec<u8>) -> Talk {
        let heard = came.len();
        Talk { wire, framer: Framer::new(LIMITS), scope: Scope::default(), came, heard }
    }

    /// Begins a stream to the domain, of an app or of a server.
    pub async fn open(&mut self, domain: &str, as_server: bool) -> bool {
        let to = escaped(domain);
        let more = if as_server {
            format!("from='{STRANGER}' xmlns='jabber:server' xmlns:db='jabber:server:dialback'")
        } else {
            "xmlns='jabber:client'".into()
        };
        self.say(&format!(
            "<?xml version='1.0'?><stream:stream to='{to}' version='1.0' {more} xmlns:stream='http://etherx.jabber.org/streams'>"
        ))
        .await
    }

    /// Says something.
    pub async fn say(&mut self, text: &str) -> bool {
        self.wire.write(text.as_bytes()).await
    }

    /// The next element; `None` at the end, and at what is no stream, or too much of it.
    pub async fn hear(&mut self) -> Option<Arc<Raw>> {
        loop {
            let mut input = &self.came[..];
            let element = match self.framer.next(&mut input).ok()? {
                Some(Frame::Open(text)) => {
                    self.scope = Raw::header(text).ok()?.1;
                    Some(None)
                }
                Some(Frame::Element(xml)) => Some(Some(Raw::parse(xml, &self.scope).ok()?)),
                Some(Frame::Close) => return None,
                None => None,
            };
            let used = self.came.len() - input.len();
            self.came.drain(..used);
            match element {
                Some(Some(element)) => return Some(element),
                Some(None) => continue,
                None if self.heard > HEARD_BYTES => return None,
                None => {}
            }
            match self.wire.read(&mut self.came).await {
                0 => return None,
                read => self.heard += read,
            }
        }
    }
}
