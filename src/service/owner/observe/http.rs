//! One request of HTTP, as programs make them, and its answer, as far as that is looked at (RFC 9112).

use super::talk::Wire;

/// Bytes of an answer that are read.
pub const ANSWER_BYTES: usize = 256 * 1024;
/// Fields of an answer.
const FIELDS: usize = 64;

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HttpReply {
    /// 200 and the like.
    pub status: u16,
    /// Names in lower case, and values.
    fields: Vec<(String, String)>,
    /// What comes behind the head.
    pub content: Vec<u8>,
}

impl HttpReply {
    /// A field; empty if it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(field, _)| field == name).map_or("", |(_, value)| value)
    }

    /// From all that came; `None`: it is not whole, or is none.
    pub fn read(bytes: &[u8]) -> Option<HttpReply> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut head = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = head.parse(bytes).ok()? else { return None };
        let status = head.code?;
        let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
        let fields = head.headers.iter().map(|field| (field.name.to_ascii_lowercase(), text(field.value))).collect();
        let mut reply = HttpReply { status, fields, content: Vec::new() };
        let behind = &bytes[length..];
        let wanted = match status {
            100..=199 | 204 | 304 => 0,
            _ => reply.field("content-length").parse().ok()?,
        };
        reply.content = behind.get(..wanted)?.to_vec();
        Some(reply)
    }
}

/// Asks; the connection is for this request alone. The caller limits the time.
pub async fn ask(wire: &mut Wire, head: &str, content: &[u8]) -> Option<HttpReply> {
    if !wire.write(&[head.as_bytes(), b"\r\n", content].concat()).await {
        return None;
    }
    let mut came = Vec::new();
    while came.len() < ANSWER_BYTES {
        if let Some(reply) = HttpReply::read(&came) {
            return Some(reply);
        }
        if wire.read(&mut came).await == 0 {
            break;
        }
    }
    HttpReply::read(&came)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_or_none() {
        let bytes = b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nX: y\r\n\r\nabcd";
        for cut in 0..bytes.len() - 1 {
            assert_eq!(HttpReply::read(&bytes[..cut]), None, "{cut}");
        }
        let reply = HttpReply::read(bytes).unwrap();
        assert_eq!((reply.status, reply.field("x"), reply.content.as_slice()), (206, "y", &b"abc"[..]));
        assert_eq!(HttpReply::read(b"HTTP/1.1 101 Switching Protocols\r\n\r\nmore").unwrap().content, b"");
        for none in
            [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"]
        {
            assert_eq!(HttpReply::read(none), None);
        }
    }
}
