//! A client of HTTP that says to the server whatever a test wants, and looks at each answer.

use super::binary::{Dir, Server, Tls, connect, tls_for};
use std::io::{Read, Write};

/// What all answers have, so that no browser makes more of one than it is.
const CAREFUL: [(&str, &str); 4] = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("x-frame-options", "DENY"),
    ("content-security-policy", "default-src 'none'; "),
];

/// A connection on which requests are made.
pub struct Http {
    pub stream: Tls,
    /// What came, and was not looked at.
    came: Vec<u8>,
}

pub struct HttpAnswer {
    pub status: u16,
    /// Their names in lower case.
    fields: Vec<(String, String)>,
    pub content: Vec<u8>,
}

impl HttpAnswer {
    /// A field; nothing, if it is not there.
    pub fn field(&self, name: &str) -> &str {
        let mut values = self.fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
        let value = values.next().unwrap_or_default();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.content.clone()).unwrap()
    }

    /// Of a status, with a field for each of these, in which that stands.
    pub fn is(&self, status: u16, fields: &[(&str, &str)]) {
        let text = String::from_utf8_lossy(&self.content);
        assert_eq!(self.status, status, "{:?} {text}", self.fields);
        for (name, value) in fields {
            assert!(self.field(name).contains(value), "{name}: {value} in {:?} {text}", self.fields);
        }
    }
}

impl Http {
    /// To the port for browsers.
    pub fn new(server: &Server, dir: &Dir) -> Http {
        Http::on(tls_for(connect(server, "https"), &dir.ca(), &["http/1.1"]))
    }

    pub fn on(stream: Tls) -> Http {
        Http { stream, came: Vec::new() }
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// A request for a method and a path, with these lines of fields besides its host; gives the answer.
    pub fn ask(&mut self, what: &str, fields: &str) -> HttpAnswer {
        self.send(format!("{what} HTTP/1.1\r\nHost: example.org\r\n{fields}\r\n"));
        self.answer_to(what)
    }

    /// The next answer, to a request that begins so.
    pub fn answer_to(&mut self, what: &str) -> HttpAnswer {
        let mut answer = self.head();
        if !what.starts_with("HEAD ") && !matches!(answer.status, 100..=199 | 204 | 304) {
            let length = answer.field("content-length").parse().unwrap();
            answer.content = self.bytes(length);
        }
        answer
    }

    /// The head of the next answer.
    pub fn head(&mut self) -> HttpAnswer {
        let end = loop {
            match self.came.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => self.read(),
            }
        };
        let text = String::from_utf8(self.bytes(end)).unwrap();
        let mut lines = text.split("\r\n").take_while(|line| !line.is_empty());
        let status = lines.next().unwrap().strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
        let fields = lines.map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.into())));
        let answer = HttpAnswer { status, fields: fields.map(Option::unwrap).collect(), content: Vec::new() };
        if status != 100 {
            answer.is(status, &CAREFUL);
        }
        answer
    }

    /// So many bytes that come next.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.came.len() < count {
            self.read();
        }
        self.came.drain(..count).collect()
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer).unwrap() {
            0 => panic!("the end came behind {:?}", String::from_utf8_lossy(&self.came)),
            n => self.came.extend_from_slice(&buffer[..n]),
        }
    }

    /// Nothing more comes, and that is said.
    pub fn is_over(&mut self) {
        let mut rest = std::mem::take(&mut self.came);
        self.stream.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}
