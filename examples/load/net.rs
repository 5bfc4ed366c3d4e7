//! Connections over TLS, all on one thread: epoll, one read and one write for all that is there.

use super::Result;
use super::anyone::Anyone;
use super::split;
use super::websocket::{self, WebSocket};
use async_rustls::rustls::client::Resumption;
use async_rustls::rustls::crypto::ring;
use async_rustls::rustls::pki_types::ServerName;
use async_rustls::rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Read at once from a socket.
const READ_BYTES: usize = 256 * 1024;
/// The listener among the events.
const LISTENER: u64 = u64::MAX;

/// One connection.
struct Conn {
    socket: TcpStream,
    tls: Connection,
    /// Plain text that is to be written.
    out: Vec<u8>,
    /// The beginning of a unit whose end has not come.
    rest: Vec<u8>,
    /// It is in the list of those to flush.
    dirty: bool,
    /// The socket takes no more; epoll tells when it does.
    full: bool,
    /// Its end is no failure.
    leaving: bool,
    /// Stanzas that came since stream management was enabled.
    received: Option<u32>,
    websocket: Option<WebSocket>,
}

/// All connections.
pub struct Net {
    epoll: OwnedFd,
    conns: Vec<Option<Box<Conn>>>,
    dirty: Vec<usize>,
    wire: Vec<u8>,
    inbox: Vec<u8>,
    events: Vec<epoll::Event>,
    client: Arc<ClientConfig>,
    /// Clients speak on WebSockets.
    websockets: bool,
    listener: Option<(TcpListener, Arc<ServerConfig>)>,
}

impl Net {
    pub fn new() -> Result<Net> {
        let provider = Arc::new(ring::default_provider());
        let mut client = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
            .with_no_client_auth();
        // Each login pays for a whole handshake.
        client.resumption = Resumption::disabled();
        Ok(Net {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            conns: Vec::new(),
            dirty: Vec::new(),
            wire: vec![0; READ_BYTES],
            inbox: Vec::new(),
            events: Vec::with_capacity(1024),
            client: Arc::new(client),
            websockets: false,
            listener: None,
        })
    }

    /// Clients speak on WebSockets from now on.
    pub fn on_websockets(&mut self) {
        Arc::make_mut(&mut self.client).alpn_protocols = vec![b"http/1.1".to_vec()];
        self.websockets = true;
    }

    /// Takes connections, as a server.
    pub fn listen(&mut self, listener: TcpListener, config: ServerConfig) -> Result<()> {
        listener.set_nonblocking(true)?;
        epoll::add(&self.epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        self.listener = Some((listener, Arc::new(config)));
        Ok(())
    }

    /// Connects; the number of the connection. Numbers are not used again.
    pub fn connect(&mut self, to: SocketAddr, domain: &str) -> Result<usize> {
        let socket = TcpStream::connect(to)?;
        let name = ServerName::try_from(domain.to_owned())?;
        let tls = ClientConnection::new(self.client.clone(), name)?;
        let id = self.add(socket, Connection::Client(tls))?;
        if self.websockets
            && let Some(conn) = &mut self.conns[id]
        {
            conn.out.extend_from_slice(websocket::request(domain).as_bytes());
            conn.websocket = Some(WebSocket::default());
        }
        Ok(id)
    }

    fn add(&mut self, socket: TcpStream, mut tls: Connection) -> Result<usize> {
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        tls.set_buffer_limit(None);
        let id = self.conns.len();
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(id as u64), epoll::EventFlags::IN)?;
        let (out, rest) = (Vec::new(), Vec::new());
        let conn =
            Conn { socket, tls, out, rest, dirty: false, full: false, leaving: false, received: None, websocket: None };
        self.conns.push(Some(Box::new(conn)));
        self.touch(id);
        Ok(id)
    }

    /// Says something, at the end of the turn.
    pub fn send(&mut self, id: usize, bytes: &[u8]) {
        if let Some(conn) = &mut self.conns[id] {
            match conn.websocket {
                Some(_) => websocket::write(bytes, &mut conn.out),
                None => conn.out.extend_from_slice(bytes),
            }
            self.touch(id);
        }
    }

    /// Ends the stream; its end is expected from now on.
    pub fn quit(&mut self, id: usize) {
        self.send(id, b"</stream:stream>");
        if let Some(conn) = &mut self.conns[id] {
            conn.leaving = true;
        }
    }

    /// Closes the connection.
    pub fn drop(&mut self, id: usize) {
        self.conns[id] = None;
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.conns.iter().flatten().count()
    }

    /// Stream management is enabled: stanzas are counted, and the server's requests answered.
    pub fn count(&mut self, id: usize) {
        if let Some(conn) = &mut self.conns[id] {
            conn.received = Some(0);
        }
    }

    fn touch(&mut self, id: usize) {
        if let Some(conn) = &mut self.conns[id]
            && !conn.dirty
        {
            conn.dirty = true;
            self.dirty.push(id);
        }
    }

    /// Writes what is to be written, waits until something comes or `until`, and hands it over, unit by unit.
    ///
    /// # Errors
    /// Those of `take`, and when a connection ends that was not leaving.
    pub fn turn(&mut self, until: Instant, take: &mut impl FnMut(&mut Net, usize, &[u8]) -> Result<()>) -> Result<()> {
        self.flush()?;
        let wait = until.saturating_duration_since(Instant::now());
        let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        for event in &events {
            match event.data.u64() {
                LISTENER => self.accept()?,
                id => self.ready(id as usize, take)?,
            }
        }
        self.events = events;
        self.flush()
    }

    /// Turns until `done`, or until nothing has come for `patience`: then it is an error.
    pub fn until(
        &mut self,
        patience: Duration,
        what: &str,
        take: &mut impl FnMut(&mut Net, usize, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut done = false;
        let mut last = Instant::now();
        while !done {
            let mut came = false;
            self.turn(last + patience, &mut |net, id, unit| {
                came = true;
                done |= take(net, id, unit)?;
                Ok(())
            })?;
            if came {
                last = Instant::now();
            } else if last.elapsed() >= patience {
                return Err(format!("nothing came for {patience:?} while waiting for {what}").into());
            }
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<()> {
        while let Some((listener, config)) = &self.listener {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e.into()),
            };
            let tls = ServerConnection::new(config.clone())?;
            let id = self.add(socket, Connection::Server(tls))?;
            // Whoever hangs up is not missed.
            if let Some(conn) = &mut self.conns[id] {
                conn.leaving = true;
            }
        }
        Ok(())
    }

    fn ready(&mut self, id: usize, take: &mut impl FnMut(&mut Net, usize, &[u8]) -> Result<()>) -> Result<()> {
        let mut inbox = std::mem::take(&mut self.inbox);
        let Some(conn) = self.conns.get_mut(id).and_then(Option::as_mut) else { return Ok(()) };
        if conn.full {
            self.touch(id);
        }
        let conn = self.conns[id].as_mut().expect("it was there");
        inbox.clear();
        let open = match conn.websocket {
            None => {
                inbox.append(&mut conn.rest);
                conn.read(&mut self.wire, &mut inbox)
            }
            Some(_) => {
                let open = conn.read(&mut self.wire, &mut inbox);
                conn.unframe(&mut inbox);
                open
            }
        };
        if conn.tls.wants_write() {
            self.touch(id);
        }
        let mut at = 0;
        while let Some(len) = split::unit(&inbox[at..]) {
            let unit = inbox[at..at + len].trim_ascii_start();
            at += len;
            self.managed(id, unit);
            take(self, id, unit)?;
            if self.conns[id].is_none() {
                self.inbox = inbox;
                return Ok(());
            }
        }
        let conn = self.conns[id].as_mut().expect("it is still there");
        conn.rest.extend_from_slice(&inbox[at..]);
        let leaving = conn.leaving;
        match open {
            Ok(true) => {}
            Ok(false) | Err(_) if leaving => {
                self.conns[id] = None;
                take(self, id, b"")?;
            }
            Ok(_) => return Err(format!("connection {id} was closed by the server").into()),
            Err(e) => return Err(format!("connection {id}: {e}").into()),
        }
        self.inbox = inbox;
        Ok(())
    }

    /// What every client does by itself: it counts and acknowledges, and answers what the server asks; a ping behind a page of old
    /// messages, say.
    fn managed(&mut self, id: usize, unit: &[u8]) {
        let Some(conn) = &mut self.conns[id] else { return };
        if let Some(received) = &mut conn.received
            && split::counted(unit)
        {
            *received = received.wrapping_add(1);
        }
        if unit.starts_with(b"<r ") {
            let answer = format!("<a xmlns='urn:xmpp:sm:3' h='{}'/>", conn.received.unwrap_or(0));
            self.send(id, answer.as_bytes());
        } else if unit.starts_with(b"<iq") && split::attribute(unit, "type") == Some("get") {
            let to = split::attribute(unit, "from").map(|from| format!(" to='{from}'")).unwrap_or_default();
            let number = split::attribute(unit, "id").unwrap_or_default();
            let answer = if split::has(unit, "urn:xmpp:ping") {
                format!("<iq type='result' id='{number}'{to}/>")
            } else {
                let error = "<service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>";
                format!("<iq type='error' id='{number}'{to}><error type='cancel'>{error}</error></iq>")
            };
            self.send(id, answer.as_bytes());
        }
    }

    /// Writes what is to be written.
    pub fn flush(&mut self) -> Result<()> {
        let mut dirty = std::mem::take(&mut self.dirty);
        for id in dirty.drain(..) {
            let Some(conn) = &mut self.conns[id] else { continue };
            conn.dirty = false;
            let was = conn.full;
            if let Err(e) = conn.write()
                && !conn.leaving
            {
                return Err(format!("connection {id}: {e}").into());
            }
            if was != conn.full {
                let flags =
                    if conn.full { epoll::EventFlags::IN | epoll::EventFlags::OUT } else { epoll::EventFlags::IN };
                epoll::modify(&self.epoll, &conn.socket, epoll::EventData::new_u64(id as u64), flags)?;
            }
        }
        self.dirty = dirty;
        Ok(())
    }
}

impl Conn {
    /// Leaves the text in the place of the frames that came, behind what was not complete before.
    fn unframe(&mut self, inbox: &mut Vec<u8>) {
        if let Some(websocket) = &mut self.websocket {
            websocket.read(inbox);
            inbox.splice(..0, self.rest.drain(..));
        }
    }

    /// Whether more can come.
    fn read(&mut self, wire: &mut [u8], inbox: &mut Vec<u8>) -> Result<bool> {
        loop {
            let n = match self.socket.read(wire) {
                Ok(0) => return Ok(false),
                Ok(n) => n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(e) => return Err(e.into()),
            };
            let mut bytes = &wire[..n];
            while !bytes.is_empty() {
                self.tls.read_tls(&mut bytes)?;
                let state = self.tls.process_new_packets()?;
                let len = state.plaintext_bytes_to_read();
                if len > 0 {
                    let at = inbox.len();
                    inbox.resize(at + len, 0);
                    self.tls.reader().read_exact(&mut inbox[at..])?;
                }
                if state.peer_has_closed() {
                    return Ok(false);
                }
            }
            if n < wire.len() {
                return Ok(true);
            }
        }
    }

    fn write(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            self.tls.writer().write_all(&self.out)?;
            self.out.clear();
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.full = true;
                    return Ok(());
                }
                Err(e) => return Err(e.into()),
            }
        }
        self.full = false;
        Ok(())
    }
}
