//! HTTP on a connection inside TLS: one request after the other, by the table of paths in [`Connection::answer`]. There is nothing else, and HTTP without
//! TLS says only where this is ([`plain`]).

mod bosh;
mod content;
mod files;
mod health;
mod notify;
mod pages;
pub(super) mod plain;
mod taken;

use self::taken::Taken;
use super::bosh::BoshSessions;
use super::gate::Gate;
use super::link::ClientLink;
use super::pump::{Entry, HANG_UP_MS, Pump, WRITE_MS, Wait, linger, wait};
use super::{c2s, websocket::WebSocket};
use crate::service::tls::Stream;
use crate::service::{host, lock};
use crate::stream::framing::Framing;
use crate::stream::{Mono, Tls};
use crate::web::answer::{Answer, Status};
use crate::web::body::Framed;
use crate::web::frames::accept_key;
use crate::web::pages::{House, Purpose};
use crate::web::request::{Method, Request};
use crate::wire::punycode::a_labels;
use crate::wire::xml::escaped;
use std::collections::BTreeSet;
use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock};

/// How long a request may take to come in, up to what follows its head, in milliseconds.
const HEAD_MS: Mono = 10_000;
/// How long a connection waits for another request, in milliseconds.
const IDLE_MS: Mono = 30_000;
/// A peer that is slower than so many bytes a second is not waited for, after a while.
const SLOWEST_BYTES: u64 = 1024;
/// Requests on a connection.
const REQUESTS: usize = 1_000;

/// What is served by HTTP, and under which names.
pub struct Web {
    /// The names of hosts that requests may be for: whoever has a page in a browser here and makes its own name mean this box must not
    /// read what is on it (DNS rebinding).
    names: BTreeSet<String>,
    /// What URLs begin with: `https://HOST:PORT`.
    base: Mutex<String>,
    /// What programs that look after the server are told.
    numbers: OnceLock<Box<dyn Numbers>>,
    bosh: Arc<BoshSessions>,
    house: Mutex<Arc<House>>,
    taken: Taken,
}

/// What there is for programs that look after the server.
pub trait Numbers: Send + Sync {
    /// What they have to show who are not on this box; empty: they get nothing.
    fn token(&self) -> String;

    /// All numbers. `open`: as OpenMetrics wants them. Waits for storage.
    fn page(&self, open: bool) -> String;
}

impl Web {
    /// Under these names. URLs are told as soon as it is known which port is open.
    pub fn new(names: impl IntoIterator<Item = String>, gate: Arc<Gate>) -> Arc<Web> {
        let names = names.into_iter().map(|name| a_labels(&name).to_ascii_lowercase()).collect();
        Arc::new(Web {
            names,
            base: Mutex::default(),
            numbers: OnceLock::new(),
            bosh: Arc::new(BoshSessions::new(gate)),
            house: Mutex::default(),
            taken: Taken::default(),
        })
    }

    /// Numbers can be had from here; once.
    pub fn tell(&self, numbers: Box<dyn Numbers>) {
        let _ = self.numbers.set(numbers);
    }

    /// What URLs begin with, if there is a port.
    pub fn base(&self) -> Option<String> {
        Some(lock(&self.base).clone()).filter(|base| !base.is_empty())
    }

    /// What URLs begin with from now on: `https://HOST:PORT`.
    pub fn set_base(&self, base: String) {
        *lock(&self.base) = base;
    }

    /// Whose pages are shown.
    fn house(&self) -> Arc<House> {
        lock(&self.house).clone()
    }

    /// Whose pages are shown from now on.
    pub fn set_house(&self, house: House) {
        *lock(&self.house) = Arc::new(house);
    }

    /// Whether a request may be for this host. What is no name means no other host to a browser.
    fn is_ours(&self, host: &str) -> bool {
        host.parse::<IpAddr>().is_ok() || self.names.contains(host) || host == "localhost"
    }
}

/// A connection on which requests come.
pub(super) struct Connection {
    entry: Entry,
    stream: Stream,
    tls: Tls,
    /// Who asks.
    ip: IpAddr,
    /// What was read, and not looked at.
    input: Vec<u8>,
    /// When what was read last began to come.
    since: Mono,
}

/// What a request has come to.
enum Outcome {
    /// It was answered.
    Answered,
    /// The same, and nothing else may come.
    Over,
    /// A stream of XMPP follows on a WebSocket.
    WebSocket,
}

/// Answers what comes on a connection, of which this was read already. Gives a stream on a WebSocket, if it becomes one.
pub(super) async fn serve(
    web: &Arc<Web>,
    entry: Entry,
    stream: Stream,
    tls: Tls,
    early: Vec<u8>,
    ip: IpAddr,
) -> Option<Box<Pump<WebSocket<Stream>, ClientLink>>> {
    let since = entry.hub.mono();
    let sid = entry.sid;
    let mut connection = Connection { entry, stream, tls, ip, input: early, since };
    for n in 1..=REQUESTS {
        let outcome = match connection.request().await {
            Ok(Some(Ok(mut request))) => {
                request.stays &= n < REQUESTS;
                log::debug!("{sid:?}: {:?} {}", request.method, path_for_log(&request.path));
                connection.answer(web, &request).await
            }
            Ok(Some(Err(answer))) => connection.say(&answer, false, false).await.map(|()| Outcome::Over),
            Ok(None) => Ok(Outcome::Over),
            Err(e) => Err(e),
        };
        match outcome {
            Ok(Outcome::Answered) => {}
            Ok(Outcome::Over) => {
                connection.end().await;
                return None;
            }
            Ok(Outcome::WebSocket) => {
                let Connection { entry, stream, tls, input, since, .. } = connection;
                let (mut transport, mut text) = (WebSocket::new(stream), Vec::new());
                transport.take(&input, &mut text);
                return c2s::pump(entry, transport, Framing::WebSocket, tls, &text, ip, since);
            }
            Err(e) => {
                log::debug!("{sid:?}: {e}");
                return None;
            }
        }
    }
    None
}

/// A path without what only those have to know who were told it.
fn path_for_log(path: &str) -> &str {
    let end = path.match_indices('/').nth(1).map_or(path.len(), |(at, _)| at);
    path.get(..end.min(80)).unwrap_or_default()
}

impl Connection {
    /// Reads the head of the next request, or what to say to what is none. `None`: none came.
    async fn request(&mut self) -> io::Result<Option<Result<Request, Answer>>> {
        self.since = self.entry.hub.mono();
        self.keeps(self.input.len())?;
        if self.input.is_empty() {
            // What a file has needed, an idle connection does not.
            self.input = Vec::new();
        }
        loop {
            match Request::read(&self.input) {
                Ok(Some((request, length))) => {
                    self.input.drain(..length);
                    return Ok(Some(Ok(request)));
                }
                Ok(None) => {}
                Err(bad) => return Ok(Some(Err(bad.answer()))),
            }
            let begun = !self.input.is_empty();
            let until = self.since + if begun { HEAD_MS } else { IDLE_MS };
            match self.read(until).await {
                Ok(0) => return Ok(None),
                // Bytes of TLS that say nothing are no beginning.
                Ok(_) if !begun && !self.input.is_empty() => self.since = self.entry.hub.mono(),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::TimedOut && begun => {
                    let late = Answer::text(Status::RequestTimeout, "the request did not come in time");
                    return Ok(Some(Err(late)));
                }
                Err(e) if e.kind() == ErrorKind::TimedOut => return Ok(None),
                Err(e) => return Err(e),
            }
        }
    }

    /// Reads once, behind what was read. Gives how many bytes came, in TLS; 0 is the end.
    async fn read(&mut self, until: Mono) -> io::Result<usize> {
        let (stream, input) = (&mut self.stream, &mut self.input);
        let read = poll_fn(|cx| stream.poll_read(cx, input));
        match wait(&self.entry.hub, Some(&self.entry.outbox), until, read).await {
            Wait::Done(read) => read,
            Wait::Late => Err(ErrorKind::TimedOut.into()),
            // The server stops.
            Wait::Mail => Ok(0),
        }
    }

    /// Writes all of it. Who reads more slowly than [`SLOWEST_BYTES`] says is not waited for; nor is anybody who has to make room for
    /// others, or when the server stops.
    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let begun = self.entry.hub.mono();
        let mut at = 0;
        while at < bytes.len() || self.stream.unsent() > 0 {
            let (stream, left) = (&mut self.stream, &bytes[at..]);
            let write = poll_fn(|cx| match left.is_empty() {
                true => stream.poll_flush(cx).map_ok(|()| 0),
                false => stream.poll_write(cx, left),
            });
            let until = begun + WRITE_MS + at as u64 * 1000 / SLOWEST_BYTES;
            match wait(&self.entry.hub, Some(&self.entry.outbox), until, write).await {
                Wait::Done(written) => at += written?,
                Wait::Late => return Err(ErrorKind::TimedOut.into()),
                Wait::Mail => return Err(ErrorKind::ConnectionAborted.into()),
            }
        }
        Ok(())
    }

    /// So many bytes are kept for it.
    ///
    /// # Errors
    /// When its owner keeps more than it leaves to others.
    fn keeps(&mut self, bytes: usize) -> io::Result<()> {
        match self.entry.keeps(bytes) {
            true => Ok(()),
            false => Err(io::Error::new(ErrorKind::QuotaExceeded, "its owner keeps more than it leaves to the others")),
        }
    }

    async fn say(&mut self, answer: &Answer, is_head: bool, stays: bool) -> io::Result<()> {
        let mut out = Vec::new();
        answer.write(is_head, stays, now(), &mut out);
        self.write(&out).await
    }

    /// Answers a request that has to be answered at once. What follows its head is not read: then nothing else may come.
    async fn reply(&mut self, request: &Request, answer: Answer) -> io::Result<Outcome> {
        let stays = request.stays && request.framed == Framed::Nothing;
        self.say(&answer, request.method == Method::Head, stays).await?;
        Ok(if stays { Outcome::Answered } else { Outcome::Over })
    }

    /// The table of paths.
    async fn answer(&mut self, web: &Arc<Web>, request: &Request) -> io::Result<Outcome> {
        if !web.is_ours(&request.host) {
            return self.reply(request, misdirected()).await;
        }
        match request.path.as_str() {
            "/xmpp-websocket" => self.websocket(request).await,
            "/http-bind" => self.bosh(web, request).await,
            "/metrics" => {
                let open = request.field("accept").is_some_and(|types| types.contains("application/openmetrics-text"));
                let page = match web.numbers.get().filter(|numbers| health::may(self.ip, &numbers.token(), request)) {
                    Some(_) => {
                        smol::unblock({
                            let web = web.clone();
                            move || web.numbers.get().map(|numbers| numbers.page(open))
                        })
                        .await
                    }
                    None => None,
                };
                self.reply(request, page.map_or_else(nothing, |page| health::numbers(page, open))).await
            }
            "/health" => {
                let answer = health::answer(&self.entry.hub, self.ip, request).unwrap_or_else(nothing);
                self.reply(request, answer).await
            }
            "/.well-known/host-meta" => self.reply(request, links(web, request, false)).await,
            "/.well-known/host-meta.json" => self.reply(request, links(web, request, true)).await,
            path => match (path.strip_prefix("/upload/"), self.entry.hub.files().cloned()) {
                (Some(rest), Some(files)) => self.file(&files, request, rest).await,
                _ if path.starts_with("/notify/") => self.notify(request, &path["/notify/".len()..]).await,
                _ => match (path.strip_prefix("/invite/"), path.strip_prefix("/reset/")) {
                    (Some(token), _) => self.link(web, request, Purpose::Account, token).await,
                    (_, Some(token)) => self.link(web, request, Purpose::Reset, token).await,
                    _ => self.reply(request, web.public(request, None).unwrap_or_else(nothing)).await,
                },
            },
        }
    }

    /// RFC 6455 §4.2, RFC 7395 §3.1
    async fn websocket(&mut self, request: &Request) -> io::Result<Outcome> {
        let upgrades = request.has_token("connection", "upgrade") && request.has_token("upgrade", "websocket");
        let key = request.field("sec-websocket-key").and_then(accept_key);
        let refused = match (request.method, upgrades, key) {
            // RFC 6455 §4.2.1; and what follows the head is frames, nothing else.
            (Method::Get, true, _) if !request.is_latest || request.framed != Framed::Nothing => {
                Answer::text(Status::BadRequest, "a WebSocket begins with HTTP/1.1, and without content")
            }
            (Method::Get, true, Some(key)) if request.field("sec-websocket-version") == Some("13") => {
                if request.has_token("sec-websocket-protocol", "xmpp") {
                    let answer = Answer::new(Status::SwitchingProtocols)
                        .with("Upgrade", "websocket")
                        .with("Connection", "Upgrade")
                        .with("Sec-WebSocket-Accept", key)
                        .with("Sec-WebSocket-Protocol", "xmpp");
                    self.say(&answer, false, true).await?;
                    return Ok(Outcome::WebSocket);
                }
                Answer::text(Status::BadRequest, "the subprotocol of the WebSocket has to be xmpp")
            }
            (Method::Get, true, _) if request.field("sec-websocket-version") != Some("13") => {
                Answer::text(Status::UpgradeRequired, "WebSockets are of version 13 here")
                    .with("Sec-WebSocket-Version", "13")
            }
            (Method::Get, true, None) => Answer::text(Status::BadRequest, "Sec-WebSocket-Key is missing or wrong"),
            (Method::Get, ..) => Answer::text(Status::UpgradeRequired, "there are WebSockets here, for XMPP")
                .with("Upgrade", "websocket")
                .with("Connection", "Upgrade"),
            _ => Answer::text(Status::MethodNotAllowed, "a WebSocket begins with GET").with("Allow", "GET"),
        };
        self.reply(request, refused).await
    }

    /// Says that nothing follows, and waits a little until that is read.
    async fn end(mut self) {
        let until = self.entry.hub.mono() + HANG_UP_MS;
        let stream = &mut self.stream;
        let close = poll_fn(|cx| stream.poll_close(cx));
        if let Wait::Done(Ok(())) = wait(&self.entry.hub, None, until, close).await {
            linger(&self.entry.hub, self.stream.socket()).await;
        }
    }
}

/// Milliseconds since 1970, if the box knows (RFC 9110 §6.6.1: who has no clock says nothing).
fn now() -> Option<u64> {
    host::clock_is_set().then(|| host::clock() * 1000)
}

fn misdirected() -> Answer {
    Answer::text(Status::MisdirectedRequest, "this server has another name; its owner can tell it")
}

fn nothing() -> Answer {
    Answer::text(Status::NotFound, "there is nothing here")
}

/// XEP-0156 §3.2: where streams can be had by HTTP.
fn links(web: &Web, request: &Request, json: bool) -> Answer {
    if !matches!(request.method, Method::Get | Method::Head) {
        return Answer::text(Status::MethodNotAllowed, "this can only be read").with("Allow", "GET, HEAD");
    }
    let base = lock(&web.base).clone();
    let links = [
        ("urn:xmpp:alt-connections:websocket", format!("{}/xmpp-websocket", base.replacen("https:", "wss:", 1))),
        ("urn:xmpp:alt-connections:xbosh", format!("{base}/http-bind")),
    ];
    let (content_type, content) = match json {
        true => {
            let links = links.map(|(rel, url)| format!("{{\"rel\":\"{rel}\",\"href\":\"{url}\"}}"));
            ("application/json", format!("{{\"links\":[{}]}}\n", links.join(",")))
        }
        false => {
            let links = links.map(|(rel, url)| format!("<Link rel='{rel}' href='{}'/>", escaped(&url)));
            let xrd = "<XRD xmlns='http://docs.oasis-open.org/ns/xri/xrd-1.0'>";
            ("application/xrd+xml", format!("<?xml version='1.0' encoding='utf-8'?>\n{xrd}{}</XRD>\n", links.concat()))
        }
    };
    Answer::of(Status::Ok, content_type, content).with("Access-Control-Allow-Origin", "*")
}
