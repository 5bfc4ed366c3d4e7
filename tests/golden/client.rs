//! A client of RFC 6120 over TLS: it asks, and hears what comes.

use crate::common::binary::{Dir, Server, Tls, connect, greet, plain, until};
use crate::common::scram::Scram;
use async_rustls::rustls::crypto::ring::default_provider;
use async_rustls::rustls::pki_types::pem::PemObject;
use async_rustls::rustls::pki_types::{CertificateDer, UnixTime};
use async_rustls::rustls::time_provider::TimeProvider;
use async_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use minidom::Element;
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

/// Those of golden data are as short as the first versions took them.
pub fn password(name: &str) -> &'static str {
    if name == "tybalt" { "prince of cats" } else { "capulet" }
}
pub const DOMAIN: &str = "example.org";

/// How a client proves who it is: the keys of each stand in the account's row.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Login {
    Plain,
    Sha1,
    Sha256,
}

/// A client's clock, in seconds since 1970.
#[derive(Debug)]
struct At(u64);

impl TimeProvider for At {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0)))
    }
}

/// A connection that trusts the authority of the folder, on the day after the certificate's first: that is in the data, and may be
/// long ago, or not have come yet.
pub fn open(server: &Server, dir: &Dir) -> Tls {
    let leaf = CertificateDer::from_pem_file(dir.data().join("cert/server.crt")).unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&leaf).unwrap();
    let day = u64::try_from(leaf.validity().not_before.timestamp()).unwrap() + 86_400;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(dir.ca()).unwrap()).unwrap();
    let config = ClientConfig::builder_with_details(Arc::new(default_provider()), Arc::new(At(day)))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), DOMAIN.try_into().unwrap()).unwrap();
    StreamOwned::new(connection, connect(server, "c2s_tls"))
}

/// A session.
pub struct Client {
    stream: Tls,
    pub jid: String,
    unread: String,
    next: usize,
    /// What came unasked.
    pub news: Vec<Element>,
}

impl Client {
    /// Logs in, without being available.
    pub fn new(server: &Server, dir: &Dir, name: &str, resource: &str, how: Login) -> Client {
        let mut stream = open(server, dir);
        greet(&mut stream);
        match how {
            Login::Plain => say(&mut stream, &plain(name, password(name))),
            Login::Sha1 | Login::Sha256 => {
                let mechanism = if how == Login::Sha1 { "SCRAM-SHA-1" } else { "SCRAM-SHA-256" };
                let scram = Scram::new(mechanism, "n,,", vec![], name, password(name));
                say(&mut stream, &scram.first());
                let (unproven, proof, _) = scram.last(&until(&mut stream, "</challenge>"));
                say(&mut stream, &Scram::response(&unproven, &proof));
            }
        }
        until(&mut stream, "<success");
        greet(&mut stream);
        let mut client =
            Client { stream, jid: format!("{name}@{DOMAIN}/{resource}"), unread: String::new(), next: 0, news: vec![] };
        let bind = format!("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>{resource}</resource></bind>");
        let bound = client.set(None, &bind);
        assert!(String::from(&bound).contains(&client.jid), "{bound:?}");
        client
    }

    /// Sends bytes.
    pub fn say(&mut self, xml: &str) {
        say(&mut self.stream, xml);
    }

    /// A request, and its answer, which may be an error.
    pub fn iq(&mut self, ty: &str, to: Option<&str>, inner: &str) -> Element {
        self.next += 1;
        let (id, to) = (format!("q{}", self.next), to.map(|to| format!(" to='{to}'")).unwrap_or_default());
        self.say(&format!("<iq type='{ty}' id='{id}'{to}>{inner}</iq>"));
        loop {
            let stanza = self.stanza();
            if stanza.name() == "iq" && stanza.attr("id") == Some(&*id) && stanza.attr("type") != Some("get") {
                return stanza;
            }
            self.hear(stanza);
        }
    }

    /// The answer to a question; nothing else than a result is right.
    pub fn get(&mut self, to: Option<&str>, inner: &str) -> Element {
        let answer = self.iq("get", to, inner);
        assert_eq!(answer.attr("type"), Some("result"), "{inner}: {}", String::from(&answer));
        answer
    }

    /// The same for a change.
    pub fn set(&mut self, to: Option<&str>, inner: &str) -> Element {
        let answer = self.iq("set", to, inner);
        assert_eq!(answer.attr("type"), Some("result"), "{inner}: {}", String::from(&answer));
        answer
    }

    /// Everything that came until an answer to a ping did.
    pub fn heard(&mut self) -> Vec<Element> {
        self.iq("get", None, "<ping xmlns='urn:xmpp:ping'/>");
        std::mem::take(&mut self.news)
    }

    /// Everything that came until something has come that `wanted` knows.
    pub fn until(&mut self, wanted: impl Fn(&Element) -> bool) -> Vec<Element> {
        while !self.news.iter().any(&wanted) {
            let stanza = self.stanza();
            self.hear(stanza);
        }
        std::mem::take(&mut self.news)
    }

    /// Becomes available; everything that came of that, with so many messages that waited in storage, and what came behind them.
    pub fn available(&mut self, waiting: usize) -> Vec<Element> {
        self.say("<presence/>");
        let mut news = self.heard();
        let waited = |news: &[Element]| news.iter().filter(|stanza| stanza.attr("type") == Some("chat")).count();
        while waited(&news) < waiting {
            let stanza = self.stanza();
            self.hear(stanza);
            news.append(&mut self.news);
        }
        news.extend(self.heard());
        news
    }

    /// Ends the stream, and waits until the server has done so, too.
    pub fn close(mut self) {
        self.say("</stream:stream>");
        let mut rest = Vec::new();
        // A peer may end the connection without a word of TLS.
        let _ = self.stream.read_to_end(&mut rest);
    }

    fn hear(&mut self, stanza: Element) {
        if stanza.name() == "iq" && matches!(stanza.attr("type"), Some("get" | "set")) {
            let (id, from) = (stanza.attr("id").unwrap_or_default(), stanza.attr("from").unwrap_or(DOMAIN));
            let answer = format!("<iq type='result' id='{id}' to='{from}'/>");
            self.say(&answer);
        }
        self.news.push(stanza);
    }

    fn stanza(&mut self) -> Element {
        let mut buffer = [0; 16 * 1024];
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = end_of_element(&self.unread) {
                let text = self.unread[..end].to_owned();
                self.unread.drain(..end);
                let whole =
                    format!("<w xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>{text}</w>");
                let whole: Element = whole.parse().unwrap_or_else(|e| panic!("{e}: {text}"));
                return whole.children().next().unwrap().clone();
            }
            let n = self.stream.read(&mut buffer).unwrap();
            assert!(n > 0, "the stream ended: {}", self.unread);
            bytes.extend_from_slice(&buffer[..n]);
            // A character may have come in part.
            if let Ok(text) = std::str::from_utf8(&bytes) {
                self.unread.push_str(text);
                bytes.clear();
            }
        }
    }
}

fn say(stream: &mut Tls, xml: &str) {
    stream.write_all(xml.as_bytes()).unwrap();
}

/// Where the first element ends, if all of it is there.
fn end_of_element(text: &str) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let start = at + text[at..].find('<')?;
        let mut quote = None;
        let end = start
            + text[start..].find(|c| match quote {
                Some(open) => {
                    quote = Some(open).filter(|_| c != open);
                    false
                }
                None => {
                    quote = Some(c).filter(|_| c == '\'' || c == '"');
                    c == '>'
                }
            })?;
        at = end + 1;
        if text[start..].starts_with("</") {
            depth -= 1;
        } else if !text[..end].ends_with('/') {
            depth += 1;
        }
        if depth == 0 {
            return Some(at);
        }
    }
}
