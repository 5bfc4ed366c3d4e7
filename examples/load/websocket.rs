//! A client's side of a WebSocket (RFC 6455, RFC 7395), as far as a load needs it: what is said on TCP is said in messages.

use super::split;

/// Behind the text that stays in a frame of a client: a mask that changes nothing.
const MASK: [u8; 4] = [0; 4];

/// What of a connection is not read yet.
#[derive(Default)]
pub struct WebSocket {
    /// The answer to the request is read.
    upgraded: bool,
    /// Frames, or the answer, of which the end has not come.
    raw: Vec<u8>,
}

/// The request that it begins with.
pub fn request(domain: &str) -> String {
    format!(
        "GET /xmpp-websocket HTTP/1.1\r\nHost: {domain}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n"
    )
}

/// Appends what would be said on TCP, in messages.
pub fn write(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(len) = split::unit(text) {
        let unit = text[..len].trim_ascii_start();
        text = &text[len..];
        if unit.starts_with(b"<?") {
            continue;
        }
        if unit.starts_with(b"<stream:stream") {
            let to = split::attribute(unit, "to").unwrap_or_default();
            frame(
                &[b"<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' version='1.0' to='", to.as_bytes(), b"'/>"],
                out,
            );
        } else if unit.starts_with(b"</") {
            frame(&[b"<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>"], out);
        } else if split::counted(unit) {
            let name = unit.iter().position(|byte| matches!(byte, b' ' | b'/' | b'>')).unwrap_or(unit.len());
            frame(&[&unit[..name], b" xmlns='jabber:client'", &unit[name..]], out);
        } else {
            frame(&[unit], out);
        }
    }
}

fn frame(parts: &[&[u8]], out: &mut Vec<u8>) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.push(0x81);
    match u16::try_from(len) {
        Ok(short @ 0..=125) => out.push(0x80 | short as u8),
        Ok(len) => {
            out.push(0x80 | 126);
            out.extend(len.to_be_bytes());
        }
        Err(_) => {
            out.push(0x80 | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out.extend(MASK);
    parts.iter().for_each(|part| out.extend_from_slice(part));
}

impl WebSocket {
    /// Takes what came, and leaves the text of messages in its place.
    pub fn read(&mut self, inbox: &mut Vec<u8>) {
        self.raw.append(inbox);
        if !self.upgraded {
            let Some(end) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else { return };
            self.upgraded = true;
            self.raw.drain(..end + 4);
        }
        let mut at = 0;
        while let Some((head, len)) = head(&self.raw[at..])
            && let Some(payload) = self.raw.get(at + head..at + head + len)
        {
            // Text, and what continues it; a server that asks whether we are there is not answered in a run.
            if self.raw[at] & 0x0f <= 1 {
                match payload.starts_with(b"<close ") {
                    true => inbox.extend_from_slice(b"</stream:stream>"),
                    false => inbox.extend_from_slice(payload),
                }
            }
            at += head + len;
        }
        self.raw.drain(..at);
    }
}

/// How long the head of a frame is, and what follows it.
fn head(frame: &[u8]) -> Option<(usize, usize)> {
    match *frame.get(1)? {
        126 => Some((4, usize::from(u16::from_be_bytes(frame.get(2..4)?.try_into().ok()?)))),
        127 => Some((10, u64::from_be_bytes(frame.get(2..10)?.try_into().ok()?) as usize)),
        len => Some((2, usize::from(len))),
    }
}
