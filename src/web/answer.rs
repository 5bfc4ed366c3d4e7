//! Answers (RFC 9110 §15, RFC 9112 §4). Each has the fields that keep a browser from doing more with it than it should.

use std::borrow::Cow;
use std::io::Write;

/// The interim answer to whoever waits before it sends what follows (RFC 9110 §15.2.1).
pub const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $code:literal $reason:literal,)*) => {
        /// What became of a request (RFC 9110 §15).
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Status {
            $($(#[$doc])* $name,)*
        }

        impl Status {
            /// As it stands in the first line.
            fn line(self) -> &'static str {
                match self {
                    $(Status::$name => concat!($code, " ", $reason),)*
                }
            }
        }
    };
}

statuses! {
    /// Another protocol is spoken from here on.
    SwitchingProtocols = "101" "Switching Protocols",
    /// Here it is.
    Ok = "200" "OK",
    /// It is stored.
    Created = "201" "Created",
    /// Done, and there is nothing to say.
    NoContent = "204" "No Content",
    /// Parts of it.
    PartialContent = "206" "Partial Content",
    /// It is there for good.
    MovedPermanently = "301" "Moved Permanently",
    /// It is as it was.
    NotModified = "304" "Not Modified",
    /// What is said is not understood.
    BadRequest = "400" "Bad Request",
    /// Who asks has to say who they are.
    Unauthorized = "401" "Unauthorized",
    /// Whoever asks may not.
    Forbidden = "403" "Forbidden",
    /// There is nothing there.
    NotFound = "404" "Not Found",
    /// That is not to be done with it.
    MethodNotAllowed = "405" "Method Not Allowed",
    /// It took too long.
    RequestTimeout = "408" "Request Timeout",
    /// It was done before, or is being done.
    Conflict = "409" "Conflict",
    /// It was there, and is no more.
    Gone = "410" "Gone",
    /// How long it is has to be told.
    LengthRequired = "411" "Length Required",
    /// It is not as whoever asks believes.
    PreconditionFailed = "412" "Precondition Failed",
    /// More than may be.
    ContentTooLarge = "413" "Content Too Large",
    /// Of another type than was agreed on.
    UnsupportedMediaType = "415" "Unsupported Media Type",
    /// Nothing of it is there.
    RangeNotSatisfiable = "416" "Range Not Satisfiable",
    /// That cannot be expected.
    ExpectationFailed = "417" "Expectation Failed",
    /// It is for somebody else.
    MisdirectedRequest = "421" "Misdirected Request",
    /// It is understood, and cannot be done as it is.
    UnprocessableContent = "422" "Unprocessable Content",
    /// Another version is needed.
    UpgradeRequired = "426" "Upgrade Required",
    /// Too often.
    TooManyRequests = "429" "Too Many Requests",
    /// The head is too long.
    FieldsTooLarge = "431" "Request Header Fields Too Large",
    /// Our fault.
    InternalServerError = "500" "Internal Server Error",
    /// Nobody here can do that.
    NotImplemented = "501" "Not Implemented",
    /// Not now.
    ServiceUnavailable = "503" "Service Unavailable",
    /// In another version of HTTP.
    VersionNotSupported = "505" "HTTP Version Not Supported",
    /// There is no room.
    InsufficientStorage = "507" "Insufficient Storage",
}

/// What keeps a browser from making more of an answer than it is.
const CAREFUL: &str = "X-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n";
/// The same, unless the answer says otherwise: nothing is loaded, run or framed because of it.
const POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

/// An answer, without what is streamed behind it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// What became of the request.
    pub status: Status,
    /// Fields besides those that all answers have.
    pub fields: Vec<(&'static str, Cow<'static, str>)>,
    /// The whole content; nothing, if it follows from elsewhere.
    pub content: Cow<'static, [u8]>,
    /// The policy for browsers (Content-Security-Policy).
    pub policy: Cow<'static, str>,
}

impl Answer {
    /// With nothing in it.
    pub fn new(status: Status) -> Answer {
        Answer { status, fields: Vec::new(), content: Cow::Borrowed(b""), policy: POLICY.into() }
    }

    /// With words for a person.
    pub fn text(status: Status, text: impl Into<String>) -> Answer {
        Answer::of(status, "text/plain; charset=utf-8", format!("{}\n", text.into()))
    }

    /// With a text of a type.
    pub fn of(status: Status, content_type: &'static str, content: impl Into<Cow<'static, str>>) -> Answer {
        let content = match content.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Answer::of_bytes(status, content_type, content)
    }

    /// With content of a type that is no text.
    pub fn of_bytes(status: Status, content_type: &'static str, content: Cow<'static, [u8]>) -> Answer {
        Answer { content, ..Answer::new(status) }.with("Content-Type", content_type)
    }

    /// With one more field. What could end it is left out.
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Answer {
        let value = value.into();
        let value = match value.bytes().any(|b| b < b' ' || b == 0x7f) {
            true => value.chars().filter(|c| !c.is_control()).collect::<String>().into(),
            false => value,
        };
        self.fields.push((name, value));
        self
    }

    /// Appends its head. `length`: of the content, in bytes; `stays`: another request may follow; `now`: milliseconds since 1970, if that is
    /// known.
    pub fn write_head(&self, length: u64, stays: bool, now: Option<u64>, out: &mut Vec<u8>) {
        let _ = write!(out, "HTTP/1.1 {}\r\n", self.status.line());
        if let Some(now) = now {
            let _ = write!(out, "Date: {}\r\n", date(now));
        }
        out.extend_from_slice(CAREFUL.as_bytes());
        let _ = write!(out, "Content-Security-Policy: {}\r\n", self.policy);
        for (name, value) in &self.fields {
            let _ = write!(out, "{name}: {value}\r\n");
        }
        // RFC 9110 §8.6: not where there is never content.
        if !matches!(self.status, Status::SwitchingProtocols | Status::NoContent | Status::NotModified) {
            let _ = write!(out, "Content-Length: {length}\r\n");
        }
        if self.status != Status::SwitchingProtocols {
            out.extend_from_slice(if stays { b"" } else { b"Connection: close\r\n" });
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Appends it. `is_head`: without its content, as HEAD wants it.
    pub fn write(&self, is_head: bool, stays: bool, now: Option<u64>, out: &mut Vec<u8>) {
        self.write_head(self.content.len() as u64, stays, now, out);
        if !is_head {
            out.extend_from_slice(&self.content);
        }
    }
}

/// A time in milliseconds since 1970, as HTTP writes it (RFC 9110 §5.6.7).
pub fn date(ms: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = crate::wire::stamp::format(ms);
    let weekday = DAYS[(ms / 86_400_000 % 7) as usize];
    let month = text[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&"Jan");
    format!("{weekday}, {} {month} {} {} GMT", &text[8..10], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date(0), "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(date(1_709_164_799_999), "Wed, 28 Feb 2024 23:59:59 GMT");
    }

    #[test]
    fn answers_are_whole_and_careful() {
        let written = |answer: &Answer, is_head, stays, now| {
            let mut out = Vec::new();
            answer.write(is_head, stays, now, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        };
        let answer = Answer::text(Status::NotFound, "nothing").with("X-A", "b\r\nX-Evil: 1");
        let out = written(&answer, false, true, Some(0));
        let (head, content) = out.split_once("\r\n\r\n").unwrap_or_default();
        assert_eq!(content, "nothing\n");
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(lines[0], "HTTP/1.1 404 Not Found");
        for line in [
            "X-Content-Type-Options: nosniff",
            "Content-Length: 8",
            "X-A: bX-Evil: 1",
            "Date: Thu, 01 Jan 1970 00:00:00 GMT",
        ] {
            assert!(lines.contains(&line), "{line} in {lines:?}");
        }
        let out = written(&answer, true, false, None);
        assert!(out.ends_with("Content-Length: 8\r\nConnection: close\r\n\r\n"), "{out}");
        let out = written(&Answer::new(Status::NoContent), false, true, None);
        assert!(!out.contains("Content-Length"), "{out}");
    }
}
