//! What a peer says first: which protocols it wants to speak inside TLS, read before TLS is made, because whoever wants to be heard as a
//! server is asked for its certificate, and a browser that is asked for one would ask its user.

/// A client's protocol in ALPN (XEP-0368 §3).
pub(super) const CLIENT_ALPN: &[u8] = b"xmpp-client";
/// That of another server (XEP-0368 §3).
pub(super) const SERVER_ALPN: &[u8] = b"xmpp-server";
/// That of browsers (RFC 7301 §6).
pub(super) const WEB_ALPN: &[u8] = b"http/1.1";

/// What is spoken inside TLS, if the peer has said so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// A client's stream.
    Client,
    /// One of another server.
    Server,
    /// HTTP.
    Web,
}

impl Protocol {
    /// By its name in ALPN.
    pub(super) fn of(name: &[u8]) -> Option<Protocol> {
        match name {
            CLIENT_ALPN => Some(Protocol::Client),
            SERVER_ALPN => Some(Protocol::Server),
            WEB_ALPN => Some(Protocol::Web),
            _ => None,
        }
    }
}

/// The longest ClientHello, in bytes.
const HELLO_BYTES: usize = 64 * 1024;
/// The longest record before the handshake is done, in bytes (RFC 8446 §5.1).
const FRAGMENT_BYTES: usize = 16 * 1024;

/// What was read of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Hello {
    /// More has to come in.
    Incomplete,
    /// The protocols, in the order in which they are wanted (RFC 7301 §3.1); none, if nothing is said of them, or it cannot be read: then
    /// the handshake fails for its own reasons.
    Wants(Vec<Box<[u8]>>),
}

impl Hello {
    /// From the first bytes of a connection.
    pub(super) fn read(bytes: &[u8]) -> Hello {
        match message(bytes) {
            Ok(Some(hello)) => Hello::Wants(protocols(&hello).unwrap_or_default()),
            Ok(None) if bytes.len() < HELLO_BYTES => Hello::Incomplete,
            Ok(None) | Err(NoHello) => Hello::Wants(Vec::new()),
        }
    }
}

struct NoHello;

/// The handshake message, which may be spread over records; nothing, if it is not complete.
fn message(mut bytes: &[u8]) -> Result<Option<Vec<u8>>, NoHello> {
    let mut message = Vec::new();
    loop {
        if let [kind, a, b, c, ..] = message[..] {
            let length = 4 + usize::from(a) * 0x1_0000 + usize::from(b) * 0x100 + usize::from(c);
            match (kind, length) {
                (1, ..=HELLO_BYTES) if message.len() >= length => {
                    message.truncate(length);
                    return Ok(Some(message));
                }
                (1, ..=HELLO_BYTES) => {}
                _ => return Err(NoHello),
            }
        }
        match bytes {
            [22, 3, _, high, low, rest @ ..] => {
                let length = usize::from(*high) * 0x100 + usize::from(*low);
                if length == 0 || length > FRAGMENT_BYTES {
                    return Err(NoHello);
                }
                let Some((fragment, behind)) = rest.split_at_checked(length) else { return Ok(None) };
                message.extend_from_slice(fragment);
                bytes = behind;
            }
            [] | [22] | [22, 3] | [22, 3, _] | [22, 3, _, _] => return Ok(None),
            _ => return Err(NoHello),
        }
    }
}

/// The protocols in a ClientHello (RFC 8446 §4.1.2, RFC 7301 §3.1).
fn protocols(hello: &[u8]) -> Option<Vec<Box<[u8]>>> {
    const ALPN: [u8; 2] = [0, 16];
    // Kind and length of the message, version, random.
    let mut rest = hello.get(4 + 2 + 32..)?;
    let _session = take(&mut rest, 1)?;
    let _suites = take(&mut rest, 2)?;
    let _compressions = take(&mut rest, 1)?;
    let mut extensions = take(&mut rest, 2)?;
    while let Some((kind, behind)) = extensions.split_at_checked(2) {
        extensions = behind;
        let mut content = take(&mut extensions, 2)?;
        if kind == ALPN {
            let mut list = take(&mut content, 2)?;
            let mut names = Vec::new();
            while !list.is_empty() {
                names.push(take(&mut list, 1)?.into());
            }
            return Some(names);
        }
    }
    Some(Vec::new())
}

/// What has its length before it, in so many bytes (RFC 8446 §3.4).
pub(crate) fn take<'a>(from: &mut &'a [u8], size: usize) -> Option<&'a [u8]> {
    let (length, rest) = from.split_at_checked(size)?;
    let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
    let (content, rest) = rest.split_at_checked(length)?;
    *from = rest;
    Some(content)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn with_length(size: usize, content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        [&length[length.len() - size..], content].concat()
    }

    /// With these protocols, or none.
    fn hello(protocols: Option<&[&[u8]]>) -> Vec<u8> {
        let mut extensions = [&[0, 0][..], &with_length(2, b"server name")].concat();
        if let Some(protocols) = protocols {
            let names: Vec<u8> = protocols.iter().flat_map(|name| with_length(1, name)).collect();
            extensions.extend([&[0, 16][..], &with_length(2, &with_length(2, &names))].concat());
        }
        extensions.extend([&[0, 43][..], &with_length(2, b"\x02\x03\x04")].concat());
        let parts = [
            &with_length(1, b"session")[..],
            &with_length(2, b"suites"),
            &with_length(1, b"\0"),
            &with_length(2, &extensions),
        ];
        let body = [&[3, 3][..], &[7; 32], &parts.concat()].concat();
        [&[1][..], &with_length(3, &body)].concat()
    }

    fn records(message: &[u8], size: usize) -> Vec<u8> {
        message.chunks(size).flat_map(|part| [&[22, 3, 1][..], &with_length(2, part)].concat()).collect()
    }

    fn wants(names: &[&[u8]]) -> Hello {
        Hello::Wants(names.iter().map(|name| Box::from(*name)).collect())
    }

    #[test]
    fn protocols_are_found_however_the_hello_is_cut() {
        let names: [&[u8]; 2] = [b"xmpp-server", b"h2"];
        for size in [1, 3, 50, 10_000] {
            let bytes = records(&hello(Some(&names)), size);
            assert_eq!(Hello::read(&bytes), wants(&names), "{size}");
            assert_eq!(Hello::read(&[&bytes[..], b"more"].concat()), wants(&names));
            for cut in 0..bytes.len() {
                assert_eq!(Hello::read(&bytes[..cut]), Hello::Incomplete, "{size} {cut}");
            }
        }
        assert_eq!(Hello::read(&records(&hello(None), 1000)), wants(&[]));
        assert_eq!(Hello::read(&records(&hello(Some(&[])), 1000)), wants(&[]));
    }

    #[test]
    fn what_is_no_hello_is_left_to_the_handshake() {
        for bytes in [
            &b"GET / HTTP/1.1"[..],
            b"<?xml",
            b"\x16\x03\x01\x00\x00",
            b"\x16\x03\x01\xff\xff",
            b"\x16\x03\x01\x00\x04\x02\x00\x00\x00",
            b"\x16\x03\x01\x00\x04\x01\xff\xff\xff",
            b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
            b"\x15\x03\x01\x00\x02\x02\x28",
        ] {
            assert_eq!(Hello::read(bytes), wants(&[]), "{bytes:?}");
        }
        let whole = hello(Some(&[b"xmpp-client"]));
        for at in 4..whole.len() {
            // Whatever it says, it is read to its end and no further.
            for byte in [0, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] = byte;
                let _ = Hello::read(&records(&bytes, 1000));
            }
        }
        let endless = records(&[&[1, 1, 0, 0][..], &vec![0; HELLO_BYTES]].concat(), 1000);
        assert_eq!(Hello::read(&endless), wants(&[]));
    }
}
