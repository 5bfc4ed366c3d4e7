//! A connection inside TLS that owns nothing but its keys while it is idle.
//!
//! What comes in is read into a buffer of the thread and decrypted there; only a record that is not complete is kept. What goes out
//! is encrypted into another one and written at once; only what the socket does not take is kept.

use super::exporter::ExporterSecret;
use super::hello::{Hello, Protocol};
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ClientConfig, CommonState, Error, ServerConfig};
use smol::Async;
use smol::io::{AsyncReadExt, AsyncWrite};
use std::cell::RefCell;
use std::future::poll_fn;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

/// The longest record, with its header, in bytes (RFC 5246 §6.2.3). A handshake message may be spread over records, but not be longer.
const RECORD_BYTES: usize = 5 + 16 * 1024 + 2048;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// Text in one record, in bytes.
const TEXT_BYTES: usize = 16 * 1024;
/// Bytes that a handshake may take from the peer.
const HANDSHAKE_BYTES: usize = 64 * 1024;
/// Bytes that wait for the socket above which nothing more is read: answers of TLS itself could make it more.
const UNSENT_BYTES: usize = 32 * 1024;
/// The beginning of a ServerHello that has its random, in bytes.
const HELLO_BYTES: usize = 43;
/// Room for a record besides its text, in bytes.
const AROUND_BYTES: usize = 128;

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers { input: vec![0; RECORD_BYTES + READ_BYTES].into(), out: Vec::new() });
}

/// What the connections of a thread share.
struct Buffers {
    input: Box<[u8]>,
    out: Vec<u8>,
}

/// Which of the two ends of TLS we are.
pub trait Side {
    /// What the TLS crate tells them apart by.
    type Data;

    /// Looks at what came in, and says what is to be done.
    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    /// What both have in common.
    fn common(&self) -> &CommonState;
}

impl Side for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ServerConnectionData> {
        self.process_tls_records(input)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

impl Side for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, ClientConnectionData> {
        self.process_tls_records(input)
    }

    fn common(&self) -> &CommonState {
        self
    }
}

/// A connection inside TLS that we have made.
pub type Outgoing = Stream<UnbufferedClientConnection>;

/// A connection inside TLS; without more, one that was made to us.
pub struct Stream<S = UnbufferedServerConnection> {
    socket: Async<TcpStream>,
    tls: Box<Tls<S>>,
    /// What is encrypted, and not yet taken by the socket.
    unsent: Vec<u8>,
    /// The last read has emptied the socket: the next one waits until the system says that there is more.
    emptied: bool,
}

impl Stream {
    /// Makes TLS on a connection that was made to us, as it is `chosen` by the protocols that the peer wants to speak. Gives what the peer
    /// said behind its part of the handshake, too, and the exporter.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn accept(
        mut socket: Async<TcpStream>,
        chosen: impl FnOnce(&[Box<[u8]>]) -> Arc<ServerConfig>,
    ) -> io::Result<(Stream, Vec<u8>, Option<[u8; 32]>)> {
        let (mut hello, mut buffer) = (Vec::new(), [0; 2048]);
        let config = loop {
            match socket.read(&mut buffer).await? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => hello.extend_from_slice(&buffer[..read]),
            }
            if let Hello::Wants(protocols) = Hello::read(&hello) {
                break chosen(&protocols);
            }
        };
        let mut stream = Stream::new(socket, UnbufferedServerConnection::new(config).map_err(invalid)?);
        let mut early = Vec::new();
        stream.feed(&mut hello, &mut early)?;
        early.extend(stream.shake_hands().await?);
        let exporter = stream.tls.handshake.take().and_then(|handshake| handshake.exporter);
        Ok((stream, early, exporter))
    }
}

impl Outgoing {
    /// Makes TLS on a connection that we have made, with the server of that name. Gives what the peer said behind its part of the
    /// handshake, too.
    ///
    /// # Errors
    /// When the handshake fails.
    pub async fn connect(
        socket: Async<TcpStream>,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> io::Result<(Outgoing, Vec<u8>)> {
        let mut stream = Stream::new(socket, UnbufferedClientConnection::new(config, name).map_err(invalid)?);
        // Says the first word.
        stream.feed(&mut [], &mut Vec::new())?;
        let early = stream.shake_hands().await?;
        stream.tls.handshake = None;
        Ok((stream, early))
    }
}

impl<S: Side> Stream<S> {
    fn new(socket: Async<TcpStream>, inner: S) -> Stream<S> {
        Stream { socket, tls: Box::new(Tls::new(inner)), unsent: Vec::new(), emptied: false }
    }

    /// The certificates that the peer has shown, its own first; none, if it has none.
    pub fn peer_chain(&self) -> &[CertificateDer<'static>] {
        self.tls.inner.common().peer_certificates().unwrap_or_default()
    }

    /// The protocol that both have agreed on (RFC 7301).
    pub fn protocol(&self) -> Option<Protocol> {
        self.tls.inner.common().alpn_protocol().and_then(Protocol::of)
    }

    /// Whether both have agreed on a protocol, be it one of ours or not.
    pub fn has_agreed(&self) -> bool {
        self.tls.inner.common().alpn_protocol().is_some()
    }

    /// Takes what was read already; what it gave is appended to `plain`.
    fn feed(&mut self, input: &mut [u8], plain: &mut Vec<u8>) -> io::Result<()> {
        BUFFERS.with_borrow_mut(|Buffers { out, .. }| {
            out.clear();
            self.tls.take(input, plain, out);
            self.send(out)
        })
    }

    async fn shake_hands(&mut self) -> io::Result<Vec<u8>> {
        let (mut plain, mut taken) = (Vec::new(), 0);
        poll_fn(|cx| {
            loop {
                ready!(self.poll_flush(cx))?;
                if !self.tls.is_handshaking() {
                    return Poll::Ready(Ok(()));
                }
                match ready!(self.poll_read(cx, &mut plain))? {
                    0 => return Poll::Ready(Err(io::Error::from(ErrorKind::UnexpectedEof))),
                    n => taken += n,
                }
                if taken > HANDSHAKE_BYTES {
                    return Poll::Ready(Err(invalid(Error::General("the handshake is too long".into()))));
                }
            }
        })
        .await?;
        Ok(plain)
    }

    /// Reads once. Appends what that gave to `plain`, maybe nothing. Gives the number of bytes that came in; 0 is the end that the
    /// peer has announced.
    ///
    /// # Errors
    /// When the connection is broken: also an end without notice, for it can be an attacker's (RFC 8446 §6.1).
    pub fn poll_read(&mut self, cx: &mut Context<'_>, plain: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if let Some(fault) = &self.tls.fault {
            return Poll::Ready(Err(invalid(fault.clone())));
        }
        if self.tls.ended {
            return Poll::Ready(Ok(0));
        }
        if self.unsent.len() > UNSENT_BYTES {
            ready!(self.poll_flush(cx))?;
        }
        BUFFERS.with_borrow_mut(|Buffers { input, out }| {
            let kept = self.tls.kept.len();
            let read = ready!(self.poll_socket(cx, &mut input[kept..kept + READ_BYTES]))?;
            if read == 0 {
                return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
            }
            input[..kept].copy_from_slice(&self.tls.kept);
            out.clear();
            self.tls.take(&mut input[..kept + read], plain, out);
            self.send(out)?;
            Poll::Ready(Ok(read))
        })
    }

    /// Encrypts something from the front of `data`, as much as fits in a record, and writes it. Pending while the socket has not
    /// taken all of what was written before.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        let data = &data[..data.len().min(TEXT_BYTES)];
        self.say(Say::Text(data))?;
        Poll::Ready(Ok(data.len()))
    }

    /// Bytes that the socket has not yet taken.
    pub fn unsent(&self) -> usize {
        self.unsent.len()
    }

    /// Writes what is not yet taken by the socket.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match self.socket.get_ref().write(&self.unsent) {
                Ok(0) => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                Ok(n) if n == self.unsent.len() => self.unsent = Vec::new(),
                Ok(n) => drop(self.unsent.drain(..n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => ready!(self.socket.poll_writable(cx))?,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Says that nothing more comes, and shuts the socket's sending side.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.tls.said_end {
            self.tls.said_end = true;
            self.say(Say::End)?;
        }
        ready!(self.poll_flush(cx))?;
        Pin::new(&mut self.socket).poll_close(cx)
    }

    /// The socket below, for the time after TLS.
    pub fn socket(&mut self) -> &mut Async<TcpStream> {
        &mut self.socket
    }

    fn poll_socket(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if self.emptied {
                ready!(self.socket.poll_readable(cx))?;
                self.emptied = false;
            }
            match self.socket.get_ref().read(buffer) {
                Ok(n) => {
                    self.emptied = n < buffer.len();
                    return Poll::Ready(Ok(n));
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => self.emptied = true,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Poll::Ready(Err(e)),
            }
        }
    }

    fn say(&mut self, say: Say<'_>) -> io::Result<()> {
        BUFFERS.with_borrow_mut(|Buffers { out, .. }| {
            out.clear();
            self.tls.say(say, out)?;
            self.send(out)
        })
    }

    /// Writes what the socket takes now, keeps the rest.
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while self.unsent.is_empty() && !bytes.is_empty() {
            match self.socket.get_ref().write(bytes) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(n) => bytes = &bytes[n..],
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.unsent.extend_from_slice(bytes);
        Ok(())
    }
}

/// What is to be said when TLS is ready for it.
enum Say<'a> {
    Nothing,
    Text(&'a [u8]),
    /// `close_notify`.
    End,
}

/// TLS without a socket.
struct Tls<S> {
    inner: S,
    /// What came in and is not complete, at most [`RECORD_BYTES`].
    kept: Vec<u8>,
    /// Why it is broken: nothing more may be asked of `inner`.
    fault: Option<Error>,
    /// The peer has said that nothing more comes.
    ended: bool,
    /// We have.
    said_end: bool,
    /// What only matters until it is done.
    handshake: Option<Box<Handshake>>,
}

#[derive(Default)]
struct Handshake {
    /// The beginning of what we said: the ServerHello.
    hello: Vec<u8>,
    exporter: Option<[u8; 32]>,
}

impl<S: Side> Tls<S> {
    fn new(inner: S) -> Tls<S> {
        let handshake = Some(Box::default());
        Tls { inner, kept: Vec::new(), fault: None, ended: false, said_end: false, handshake }
    }

    fn is_handshaking(&self) -> bool {
        self.inner.common().is_handshaking()
    }

    /// Takes what came in, behind what was kept. What is decrypted is appended to `plain`, what TLS wants to say to `out`. A fault
    /// shows at the next call: what came before it counts.
    fn take(&mut self, input: &mut [u8], plain: &mut Vec<u8>, out: &mut Vec<u8>) {
        let used = self.step(input, Say::Nothing, plain, out);
        let rest = &input[used..];
        if rest.len() > RECORD_BYTES {
            self.fault = Some(Error::General("a handshake message is too long".into()));
        }
        self.kept = if self.ended || self.fault.is_some() { Vec::new() } else { rest.to_vec() };
        if let Some(handshake) = &mut self.handshake {
            if handshake.hello.is_empty() {
                handshake.hello = out[..out.len().min(HELLO_BYTES)].to_vec();
            }
            // Taken also from a handshake that failed: it must not be found by another one.
            if let Some((secret, suite)) = ExporterSecret::take().zip(self.inner.common().negotiated_cipher_suite()) {
                handshake.exporter = secret.export(suite, &handshake.hello);
            }
        }
    }

    /// Encrypts something, appending it to `out`.
    fn say(&mut self, say: Say<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        if self.fault.is_none() && !self.is_handshaking() {
            let mut kept = std::mem::take(&mut self.kept);
            // Nothing new came in: there is nothing to decrypt.
            let used = self.step(&mut kept, say, &mut Vec::new(), out);
            kept.drain(..used);
            self.kept = kept;
        }
        self.fault.as_ref().map_or(Ok(()), |fault| Err(invalid(fault.clone())))
    }

    /// Works until more has to come in; how much of `input` is done with.
    fn step(&mut self, input: &mut [u8], mut say: Say<'_>, plain: &mut Vec<u8>, out: &mut Vec<u8>) -> usize {
        let mut used = 0;
        loop {
            // A call that only fetches an answer does not look at what came in, and may not after a fault.
            if self.fault.is_some() && !self.inner.common().wants_write() {
                return used;
            }
            let UnbufferedStatus { mut discard, state } = self.inner.process(&mut input[used..]);
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        plain.extend_from_slice(record.payload);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    let done = append(out, AROUND_BYTES, |room| {
                        data.encode(room).map_err(|e| match e {
                            EncodeError::InsufficientSize(size) => Short::Needs(size.required_size),
                            EncodeError::AlreadyEncoded => Short::Never,
                        })
                    });
                    debug_assert!(done.is_ok());
                }
                // The caller sends it.
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.ended = true,
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let said = match std::mem::replace(&mut say, Say::Nothing) {
                        Say::Nothing => return used + discard,
                        Say::Text(text) => append(out, text.len() + AROUND_BYTES, |room| {
                            traffic.encrypt(text, room).map_err(Short::from)
                        }),
                        Say::End => {
                            append(out, AROUND_BYTES, |room| traffic.queue_close_notify(room).map_err(Short::from))
                        }
                    };
                    if said.is_err() {
                        self.fault = Some(Error::EncryptError);
                    }
                }
                Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => return used + discard,
                // Early data is not allowed, and there is no other state.
                Ok(_) => self.fault = Some(Error::General("an unknown state".into())),
                Err(e) => self.fault = Some(e),
            }
            used += discard;
        }
    }
}

/// Why something was not appended.
enum Short {
    Needs(usize),
    Never,
}

impl From<EncryptError> for Short {
    fn from(error: EncryptError) -> Short {
        match error {
            EncryptError::InsufficientSize(size) => Short::Needs(size.required_size),
            EncryptError::EncryptExhausted => Short::Never,
        }
    }
}

/// Lets `write` write behind `out`, into so much room or as much as it says it needs.
fn append(out: &mut Vec<u8>, room: usize, mut write: impl FnMut(&mut [u8]) -> Result<usize, Short>) -> Result<(), ()> {
    let at = out.len();
    let mut room = room;
    loop {
        out.resize(at + room, 0);
        match write(&mut out[at..]) {
            Ok(n) => {
                out.truncate(at + n);
                return Ok(());
            }
            Err(Short::Needs(more)) if more > room => room = more,
            Err(_) => {
                out.truncate(at);
                return Err(());
            }
        }
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::{Setting, VERSIONS, setting, sockets};
    use super::*;
    use rustls::{ClientConnection, ProtocolVersion, SupportedProtocolVersion};
    use std::future::Future;
    use std::pin::pin;
    use std::task::Waker;

    /// Numbers that look random, and are the same each time.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % sides as u64) as usize
        }

        /// Mostly small, at most 64 KB.
        fn size(&mut self) -> usize {
            let most = 1 << self.roll(17);
            1 + self.roll(most)
        }

        fn text(&mut self, n: usize) -> Vec<u8> {
            (0..n).map(|_| self.roll(256) as u8).collect()
        }
    }

    /// Both ends, and what is on its way between them.
    struct Line {
        client: ClientConnection,
        tls: Tls<UnbufferedServerConnection>,
        up: Vec<u8>,
        down: Vec<u8>,
        heard: Vec<u8>,
        read: Vec<u8>,
    }

    impl Line {
        fn new(setting: &Setting, version: &'static SupportedProtocolVersion) -> Line {
            let client =
                ClientConnection::new(setting.client(version, &[]), "example.org".try_into().unwrap()).unwrap();
            let tls = Tls::new(UnbufferedServerConnection::new(setting.acceptor.configs[0].clone()).unwrap());
            Line { client, tls, up: vec![], down: vec![], heard: vec![], read: vec![] }
        }

        /// Gives the server so much of what the client has said, as a read from a socket does.
        fn up(&mut self, chunk: usize) {
            while self.client.wants_write() {
                self.client.write_tls(&mut self.up).unwrap();
            }
            let chunk = chunk.min(self.up.len()).min(READ_BYTES);
            let mut input: Vec<u8> = self.tls.kept.iter().copied().chain(self.up.drain(..chunk)).collect();
            self.tls.take(&mut input, &mut self.heard, &mut self.down);
            assert!(self.tls.kept.len() <= RECORD_BYTES);
        }

        fn down(&mut self, chunk: usize) {
            let chunk: Vec<u8> = self.down.drain(..chunk.min(self.down.len())).collect();
            let mut input = &chunk[..];
            while !input.is_empty() {
                self.client.read_tls(&mut input).unwrap();
                self.client.process_new_packets().unwrap();
                let mut text = vec![0; 1 << 17];
                if let Ok(n) = self.client.reader().read(&mut text) {
                    self.read.extend_from_slice(&text[..n]);
                }
            }
        }

        fn done(&self) -> bool {
            self.up.is_empty() && self.down.is_empty() && !self.client.wants_write()
        }

        /// Everything arrives, in chunks as the dice say.
        fn settle(&mut self, dice: &mut Dice) {
            for _ in 0..1_000_000 {
                if self.done() {
                    return;
                }
                self.up(dice.size());
                self.down(dice.size());
            }
            panic!("it does not come to an end");
        }
    }

    #[test]
    fn nothing_is_lost_or_reordered_whatever_the_chunking() {
        let setting = setting();
        for (version, seed) in VERSIONS.into_iter().flat_map(|v| (1..16).map(move |seed| (v, seed))) {
            let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
            let mut line = Line::new(&setting, version);
            line.settle(&mut dice);
            assert!(!line.tls.is_handshaking() && line.tls.kept.capacity() == 0);
            let (mut said, mut told) = (vec![], vec![]);
            for _ in 0..24 {
                let (size, other) = (dice.size(), dice.size());
                let text = dice.text(size);
                // As much as the client's own buffer takes.
                let taken = line.client.writer().write(&text).unwrap();
                said.extend_from_slice(&text[..taken]);
                if dice.roll(4) == 0 && line.client.protocol_version() == Some(ProtocolVersion::TLSv1_3) {
                    line.client.refresh_traffic_keys().unwrap();
                }
                line.up(dice.roll(1 << 15));
                for text in dice.text(other).chunks(TEXT_BYTES) {
                    line.tls.say(Say::Text(text), &mut line.down).unwrap();
                    told.extend_from_slice(text);
                }
                line.down(dice.roll(1 << 15));
                if dice.roll(3) == 0 {
                    line.settle(&mut dice);
                }
            }
            line.settle(&mut dice);
            assert!(line.heard == said && line.read == told, "seed {seed}");
            assert_eq!(line.tls.kept.capacity(), 0, "an idle connection owns no buffer");
        }
    }

    #[test]
    fn what_comes_before_a_fault_counts_and_the_peer_is_told() {
        let setting = setting();
        let garbage: [&[u8]; 4] = [
            // Not TLS.
            b"<message/>",
            // Longer than a record may be.
            &[23, 3, 3, 0xff, 0xff, 0],
            // Not encrypted with the keys.
            &[&[23u8, 3, 3, 0, 64][..], &[7; 64]].concat(),
            // Not encrypted at all: a new handshake.
            &[22, 3, 3, 0, 4, 1, 0, 0, 0],
        ];
        for version in VERSIONS {
            for garbage in garbage {
                let mut line = Line::new(&setting, version);
                line.settle(&mut Dice(1));
                line.client.writer().write_all(b"a word").unwrap();
                line.client.write_tls(&mut line.up).unwrap();
                line.up.extend_from_slice(garbage);
                line.up(READ_BYTES);
                assert_eq!(line.heard, b"a word");
                assert!(line.tls.fault.is_some());
                assert!(line.tls.say(Say::Text(b"too late"), &mut Vec::new()).is_err());
                let mut alert = &line.down[..];
                line.client.read_tls(&mut alert).unwrap();
                assert!(matches!(line.client.process_new_packets(), Err(Error::AlertReceived(_))));
                // Whatever follows changes nothing.
                line.tls.take(&mut [0; 64], &mut line.heard, &mut Vec::new());
                assert_eq!(line.heard, b"a word");
            }
        }
    }

    #[test]
    fn random_bytes_end_it_or_wait() {
        let setting = setting();
        let mut dice = Dice(7);
        for n in 0..2_000 {
            let mut line = Line::new(&setting, VERSIONS[n % 2]);
            if n % 4 > 1 {
                line.settle(&mut dice);
            } else {
                while line.client.wants_write() {
                    line.client.write_tls(&mut line.up).unwrap();
                }
            }
            // A little of what could be said, and something wrong in it.
            let _ = line.client.writer().write(b"a word");
            while line.client.wants_write() {
                line.client.write_tls(&mut line.up).unwrap();
            }
            for _ in 0..1 + dice.roll(3) {
                let at = dice.roll(line.up.len());
                line.up[at] = dice.roll(256) as u8;
            }
            while !line.up.is_empty() {
                line.up(dice.size());
            }
            let _ = line.tls.say(Say::Text(b"a word"), &mut line.down);
            let _ = line.tls.say(Say::End, &mut line.down);
        }
    }

    /// A peer cannot make us keep more than one record, whatever it says its message has.
    #[test]
    fn a_message_longer_than_a_record_is_refused() {
        let setting = setting();
        let mut line = Line::new(&setting, VERSIONS[0]);
        let mut input = Vec::new();
        for n in 0..32 {
            let mut record = vec![22, 3, 1, 4, 0];
            record.extend(if n == 0 { vec![1, 0, 0xff, 0xf0] } else { vec![0; 4] });
            record.extend([0; 1020]);
            input.extend(record);
            line.tls.take(&mut input, &mut line.heard, &mut line.down);
            input = line.tls.kept.clone();
            if line.tls.fault.is_some() {
                assert!(n > 8 && input.is_empty());
                return;
            }
        }
        panic!("{} bytes are kept", input.len());
    }

    #[test]
    fn nothing_counts_behind_the_end() {
        let setting = setting();
        for version in VERSIONS {
            let mut line = Line::new(&setting, version);
            line.settle(&mut Dice(3));
            line.client.writer().write_all(b"the last word").unwrap();
            line.client.send_close_notify();
            line.settle(&mut Dice(5));
            line.up = vec![0xff; 100];
            line.up(100);
            assert!(line.heard == b"the last word" && line.tls.ended && line.tls.fault.is_none());
            assert_eq!(line.tls.kept.capacity(), 0);
            // We may still speak, and end it, too.
            line.tls.say(Say::Text(b"and mine"), &mut line.down).unwrap();
            line.tls.say(Say::End, &mut line.down).unwrap();
            line.down(usize::MAX);
            assert_eq!(line.read, b"and mine");
            assert!(line.client.process_new_packets().unwrap().peer_has_closed());
        }
    }

    /// A server's stream, and the client at the other end of its socket.
    fn connected(version: &'static SupportedProtocolVersion) -> (Stream, ClientConnection, TcpStream) {
        let setting = setting();
        let (ours, mut theirs) = sockets();
        let mut client =
            ClientConnection::new(setting.client(version, &[]), "example.org".try_into().unwrap()).unwrap();
        let thread = std::thread::spawn(move || {
            while client.is_handshaking() || client.wants_write() {
                client.complete_io(&mut theirs).unwrap();
            }
            (client, theirs)
        });
        let (stream, _, early) =
            smol::block_on(setting.acceptor.accept(ours, crate::service::tls::Profile::StartTls)).unwrap();
        assert!(early.is_empty());
        let (client, theirs) = thread.join().unwrap();
        (stream, client, theirs)
    }

    fn read(stream: &mut Stream, plain: &mut Vec<u8>) -> io::Result<usize> {
        smol::block_on(poll_fn(|cx| stream.poll_read(cx, plain)))
    }

    #[test]
    fn a_cut_is_not_an_end() {
        for version in VERSIONS {
            let (mut stream, mut client, mut theirs) = connected(version);
            client.writer().write_all(b"and then").unwrap();
            client.complete_io(&mut theirs).unwrap();
            client.writer().write_all(b"half a record").unwrap();
            let mut record = Vec::new();
            client.write_tls(&mut record).unwrap();
            theirs.write_all(&record[..record.len() / 2]).unwrap();
            theirs.shutdown(std::net::Shutdown::Write).unwrap();
            let mut plain = Vec::new();
            let error = loop {
                match read(&mut stream, &mut plain) {
                    Ok(n) => assert!(n > 0),
                    Err(e) => break e,
                }
            };
            assert_eq!((&plain[..], error.kind()), (&b"and then"[..], ErrorKind::UnexpectedEof));
        }
    }

    #[test]
    fn both_ends_say_goodbye() {
        for version in VERSIONS {
            let (mut stream, mut client, mut theirs) = connected(version);
            smol::block_on(poll_fn(|cx| stream.poll_close(cx))).unwrap();
            let mut nothing = [0];
            while client.read_tls(&mut theirs).unwrap() > 0 {
                client.process_new_packets().unwrap();
            }
            assert_eq!(client.reader().read(&mut nothing).unwrap(), 0, "not an unexpected end");
            client.send_close_notify();
            client.write_tls(&mut theirs).unwrap();
            let mut plain = Vec::new();
            while read(&mut stream, &mut plain).unwrap() > 0 {}
            assert!(plain.is_empty());
        }
    }

    /// What a peer does not read is not encrypted either, but for one record; and a stream that waits is not busy.
    #[test]
    fn a_slow_reader_holds_up_the_writer() {
        let (mut stream, mut client, mut theirs) = connected(VERSIONS[1]);
        let text = Dice(9).text(16 << 20);
        let (mut sent, mut polls) = (0, 0);
        let reader = std::cell::Cell::new(None);
        let mut write = pin!(poll_fn(|cx| {
            polls += 1;
            while sent < text.len() {
                sent += ready!(stream.poll_write(cx, &text[sent..])).unwrap();
                assert!(stream.unsent() <= TEXT_BYTES + AROUND_BYTES);
            }
            stream.poll_flush(cx)
        }));
        // Until the sockets are full.
        assert!(write.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let expected = text.len();
        let thread = std::thread::spawn(move || {
            let mut read = Vec::new();
            let mut buffer = vec![0; 1 << 16];
            while read.len() < expected {
                client.read_tls(&mut theirs).unwrap();
                client.process_new_packets().unwrap();
                while let Ok(n @ 1..) = client.reader().read(&mut buffer) {
                    read.extend_from_slice(&buffer[..n]);
                }
            }
            read
        });
        reader.set(Some(thread));
        smol::block_on(write).unwrap();
        assert!(reader.take().unwrap().join().unwrap() == text);
        assert!(polls < 3 * text.len() / 1024, "{polls} polls");
        assert_eq!(stream.unsent.capacity(), 0);
    }

    #[test]
    fn a_stream_with_nothing_to_read_sleeps() {
        let (mut stream, mut client, mut theirs) = connected(VERSIONS[1]);
        let text = Dice(11).text(3_000);
        client.writer().write_all(&text).unwrap();
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        let bytes = wire.len();
        let thread = std::thread::spawn(move || {
            for byte in wire {
                theirs.write_all(&[byte]).unwrap();
            }
            theirs
        });
        let (mut plain, mut polls, mut reads) = (Vec::new(), 0, 0);
        smol::block_on(poll_fn(|cx| {
            polls += 1;
            while plain.len() < text.len() {
                ready!(stream.poll_read(cx, &mut plain)).unwrap();
                reads += 1;
            }
            Poll::Ready(())
        }));
        assert!(plain == text && reads <= bytes && polls <= bytes + 2, "{reads} reads, {polls} polls");
        drop(thread.join().unwrap());
    }
}
