//! The head of a request (RFC 9112). Stricter than the standard allows to be, where lenience has let one request be read as two.

use super::answer::{Answer, Status};
use super::body::Framed;

/// The longest head, in bytes.
pub const HEAD_BYTES: usize = 8 * 1024;
/// Fields in a head.
pub const HEAD_FIELDS: usize = 48;

/// What is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// A resource.
    Get,
    /// What the answer to [`Method::Get`] would begin with.
    Head,
    /// To store something.
    Put,
    /// To have something done with what follows.
    Post,
    /// What can be done.
    Options,
    /// Anything else that is known to HTTP.
    Other,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is wanted.
    pub method: Method,
    /// Of what, as it was sent: percent-encoded, without the query.
    pub path: String,
    /// Behind the question mark.
    pub query: Option<String>,
    /// Whom it is for, in lower case, without the port: the name of the host, or its address.
    pub host: String,
    /// The other fields, their names in lower case.
    fields: Vec<(String, String)>,
    /// What follows.
    pub framed: Framed,
    /// Whether another request may follow.
    pub stays: bool,
    /// Whether it is of HTTP/1.1, not of 1.0.
    pub is_latest: bool,
}

/// Why a request is not read: what is answered. The connection ends then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadRequest(pub Status, pub &'static str);

impl BadRequest {
    /// What is answered.
    pub fn answer(self) -> Answer {
        Answer::text(self.0, self.1)
    }
}

const fn bad(why: &'static str) -> BadRequest {
    BadRequest(Status::BadRequest, why)
}

impl Request {
    /// Reads the head at the front of `input`. Gives also how long it is; nothing, if it is not complete.
    ///
    /// # Errors
    /// When it is none, or more than may be.
    pub fn read(input: &[u8]) -> Result<Option<(Request, usize)>, BadRequest> {
        let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS];
        let mut parsed = httparse::Request::new(&mut fields);
        let seen = &input[..input.len().min(HEAD_BYTES)];
        let length = match parsed.parse(seen) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) if seen.len() < HEAD_BYTES => {
                has_whole_lines(seen)?;
                return Ok(None);
            }
            Ok(httparse::Status::Partial) | Err(httparse::Error::TooManyHeaders) => {
                return Err(BadRequest(Status::FieldsTooLarge, "the head of the request is too long"));
            }
            Err(httparse::Error::Version) => {
                return Err(BadRequest(Status::VersionNotSupported, "HTTP/1.1 is spoken here"));
            }
            Err(_) => return Err(bad("that is no request of HTTP/1.1")),
        };
        has_whole_lines(&seen[..length])?;
        Request::of(&parsed).map(|request| Some((request, length)))
    }

    fn of(parsed: &httparse::Request<'_, '_>) -> Result<Request, BadRequest> {
        let is_latest = parsed.version == Some(1);
        let mut fields = Vec::with_capacity(parsed.headers.len());
        for field in parsed.headers.iter() {
            let value = std::str::from_utf8(field.value).map_err(|_| bad("a field is not UTF-8"))?;
            fields.push((field.name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        let (authority, target) = split(parsed.path.unwrap_or_default())?;
        let mut hosts = fields.iter().filter(|(name, _)| name == "host").map(|(_, value)| value.as_str());
        // RFC 9112 §3.2
        let host = match (authority, hosts.next(), hosts.next()) {
            (_, _, Some(_)) => return Err(bad("there are several fields Host")),
            (_, None, _) if is_latest => return Err(bad("the field Host is missing")),
            (Some(authority), ..) => authority,
            (None, host, _) => host.unwrap_or_default(),
        };
        let host = name_of(host).ok_or(bad("the field Host has no name of a host"))?;
        let method = match parsed.method.unwrap_or_default() {
            "GET" => Method::Get,
            "HEAD" => Method::Head,
            "PUT" => Method::Put,
            "POST" => Method::Post,
            "OPTIONS" => Method::Options,
            _ => Method::Other,
        };
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let framed = Framed::of(&fields, is_latest)?;
        let mut request =
            Request { method, path: path.to_owned(), query, host, fields, framed, stays: is_latest, is_latest };
        request.stays &= !request.has_token("connection", "close");
        Ok(request)
    }

    /// A field, by its name in lower case; of several with one name the first.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Whether a list of words has this one, in whatever case (RFC 9110 §5.6.1).
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        let values = self.fields.iter().filter(|(field, _)| field == name);
        values.flat_map(|(_, value)| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    }

    /// The token that is shown in the field `Authorization` (RFC 6750 §2.1).
    pub fn bearer(&self) -> Option<&str> {
        let (scheme, token) = self.field("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    }

    /// Whether whoever asks waits for [`super::answer::CONTINUE`] before it sends what follows (RFC 9110 §10.1.1).
    ///
    /// # Errors
    /// When it expects something else.
    pub fn expects_continue(&self) -> Result<bool, BadRequest> {
        match self.field("expect") {
            None => Ok(false),
            Some(expects) if expects.eq_ignore_ascii_case("100-continue") => Ok(true),
            Some(_) => Err(BadRequest(Status::ExpectationFailed, "that cannot be expected here")),
        }
    }
}

/// Lines end in CR LF, both, and an empty one does not begin a request (RFC 9112 §2.2 allows to be lenient, others were).
fn has_whole_lines(head: &[u8]) -> Result<(), BadRequest> {
    let lone = memchr::memchr_iter(b'\n', head).any(|at| at == 0 || head[at - 1] != b'\r');
    match lone || head.first().is_some_and(|b| b"\r\n".contains(b)) {
        true => Err(bad("a line does not end in CR LF")),
        false => Ok(()),
    }
}

/// The authority of an absolute target, if it is one (RFC 9112 §3.2.2), and its path with the query.
fn split(target: &str) -> Result<(Option<&str>, &str), BadRequest> {
    if target.starts_with('/') || target == "*" {
        return Ok((None, target));
    }
    let scheme = target.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
    let rest = scheme.map(|_| &target[8..]).ok_or(bad("the target is no path"))?;
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    match &rest[at..] {
        "" => Ok((Some(rest), "/")),
        path if path.starts_with('/') => Ok((Some(&rest[..at]), path)),
        _ => Err(bad("the target is no path")),
    }
}

/// The host of `HOST`, `HOST:PORT`, `[IPV6]` or `[IPV6]:PORT`.
fn name_of(authority: &str) -> Option<String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => {
            let at = authority.find(':').unwrap_or(authority.len());
            authority.split_at(at)
        }
    };
    let port = port.strip_prefix(':').unwrap_or(port);
    let is_port = port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    let fine = |b: u8| b.is_ascii_alphanumeric() || b"-._:".contains(&b);
    (is_port && host.bytes().all(fine)).then(|| host.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Request, BadRequest> {
        let (request, length) = Request::read(text.as_bytes())?.unwrap_or_else(|| panic!("{text:?} is not complete"));
        assert_eq!(length, text.len());
        Ok(request)
    }

    fn head(fields: &str) -> Result<Request, BadRequest> {
        read(&format!("PUT /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n"))
    }

    #[test]
    fn a_request_is_read_however_it_is_cut() {
        let text =
            "GET /upload/abc/a%20b.jpg?x=1 HTTP/1.1\r\nHost: Office.Example:5443\r\nRange:  bytes=0-1 \r\n\r\nGET";
        let end = text.len() - 3;
        for cut in 0..end {
            assert!(Request::read(&text.as_bytes()[..cut]).unwrap().is_none(), "{cut}");
        }
        let (request, length) = Request::read(text.as_bytes()).unwrap().unwrap();
        assert_eq!((length, request.method, request.path.as_str()), (end, Method::Get, "/upload/abc/a%20b.jpg"));
        assert_eq!((request.query.as_deref(), request.host.as_str()), (Some("x=1"), "office.example"));
        assert_eq!((request.field("range"), request.field("if-range")), (Some("bytes=0-1"), None));
        assert!(request.stays && request.framed == Framed::Nothing);
    }

    #[test]
    fn who_is_asked() {
        let host = |line: &str, fields: &str| read(&format!("{line}\r\n{fields}\r\n")).map(|request| request.host);
        assert_eq!(host("GET / HTTP/1.1", "Host: [2001:db8::5]:443\r\n").unwrap(), "2001:db8::5");
        assert_eq!(host("GET / HTTP/1.1", "Host: 192.0.2.7\r\n").unwrap(), "192.0.2.7");
        assert_eq!(host("GET / HTTP/1.1", "Host: a.example.\r\n").unwrap(), "a.example");
        assert_eq!(host("GET HTTPS://b.example/x HTTP/1.1", "Host: a\r\n").unwrap(), "b.example");
        assert_eq!(host("GET / HTTP/1.0", "").unwrap(), "");
        for fields in
            ["", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host: [::1\r\n", "Host: a:80x\r\n", "Host: a/b\r\n"]
        {
            assert_eq!(host("GET / HTTP/1.1", fields).unwrap_err().0, Status::BadRequest, "{fields:?}");
        }
        for target in ["a", "http://a/", "a:443", "https://a?x", ""] {
            assert!(host(&format!("GET {target} HTTP/1.1"), "Host: a\r\n").is_err(), "{target}");
        }
    }

    #[test]
    fn what_could_be_read_as_two_requests_is_refused() {
        for fields in [
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 1\r\nContent-Length: 1\r\n",
            "Content-Length: 1, 1\r\n",
            "Content-Length: +1\r\n",
            "Content-Length: -1\r\n",
            "Content-Length: 0x1\r\n",
            "Content-Length: \r\n",
            "Content-Length: 99999999999999999999\r\n",
            "Content-Length : 1\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "X: a\r\n b\r\n",
            "X: a\n",
            "X: a\rb\r\n",
            "X\r\n",
            ": a\r\n",
            "X: \0\r\n",
        ] {
            assert_eq!(head(fields).unwrap_err().0, Status::BadRequest, "{fields:?}");
        }
        for fields in [
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
        ] {
            assert_eq!(head(fields).unwrap_err().0, Status::NotImplemented, "{fields:?}");
        }
        assert!(Request::read(b"GET / HTTP/1.1\nHost: a\n\n").is_err());
        assert!(Request::read(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").is_err());
        assert!(Request::read(b"GET / HTTP/1.1\n").is_err(), "before it is complete");
        assert_eq!(head("Transfer-Encoding: Chunked\r\n").unwrap().framed, Framed::Chunked);
        assert_eq!(head("Content-Length: 17\r\n").unwrap().framed, Framed::Length(17));
        assert!(read("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
    }

    #[test]
    fn heads_have_limits() {
        let many = |n: usize| head(&"X: y\r\n".repeat(n)).map(|_| ());
        assert_eq!((many(HEAD_FIELDS - 1), many(HEAD_FIELDS).unwrap_err().0), (Ok(()), Status::FieldsTooLarge));
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(HEAD_BYTES));
        assert_eq!(Request::read(long.as_bytes()).unwrap_err().0, Status::FieldsTooLarge);
        assert_eq!(Request::read(&long.as_bytes()[..HEAD_BYTES - 1]).unwrap().map(|_| ()), None);
        assert_eq!(Request::read(b"GET / HTTP/2.0\r\n\r\n").unwrap_err().0, Status::VersionNotSupported);
        assert_eq!(Request::read(b"\x16\x03\x01").unwrap_err().0, Status::BadRequest);
        assert_eq!(Request::read(b"<stream:stream").unwrap_err().0, Status::BadRequest);
    }

    #[test]
    fn connections_stay_unless_somebody_says_otherwise() {
        assert!(!head("Connection: keep-alive, Close\r\n").unwrap().stays);
        assert!(!read("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").unwrap().stays);
        assert!(head("Connection: Upgrade\r\n").unwrap().has_token("connection", "upgrade"));
        assert_eq!(head("Expect: 100-Continue\r\n").unwrap().expects_continue(), Ok(true));
        assert!(head("Expect: tea\r\n").unwrap().expects_continue().is_err());
    }
}
