//! Many connections of one process that means harm: they say the same again and again, as fast as they are read, on one thread.

use crate::PASSWORD;
use crate::common::binary::{Dir, HEADER, LONG, Server, Tls, connect, connect_from, log_in, plain, socket_from, tls};
use async_rustls::rustls::ClientConnection;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Bytes of plain text that are handed to TLS at once.
const CHUNK_BYTES: usize = 16 * 1024;

struct Line {
    socket: TcpStream,
    tls: ClientConnection,
    open: bool,
}

impl Line {
    fn new(stream: Tls) -> Line {
        let (tls, socket) = stream.into_parts();
        socket.set_nonblocking(true).unwrap();
        Line { socket, tls, open: true }
    }

    /// Says the next chunk when the last one is out, and hears what there is. Gives what came, in bytes.
    fn turn(&mut self, chunk: &[u8], hears: bool) -> (usize, usize) {
        let (mut said, mut heard) = (0, 0);
        if !self.tls.wants_write() {
            self.tls.writer().write_all(chunk).unwrap();
            said = chunk.len();
        }
        while self.tls.wants_write() {
            match self.tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.open = false,
            }
            if !self.open {
                return (said, heard);
            }
        }
        if hears {
            match self.tls.read_tls(&mut self.socket) {
                Ok(0) => self.open = false,
                Ok(_) => match self.tls.process_new_packets() {
                    Ok(state) => {
                        let mut sink = vec![0; state.plaintext_bytes_to_read()];
                        heard = self.tls.reader().read(&mut sink).unwrap_or(0);
                    }
                    Err(_) => self.open = false,
                },
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(_) => self.open = false,
            }
        }
        (said, heard)
    }
}

/// A flood, until it is dropped.
pub struct Crowd {
    ends: Arc<AtomicBool>,
    said: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Sessions of one account that all say this for ever. `hears`: they read what they get.
    pub fn sessions(server: &Server, dir: &Dir, name: &str, count: usize, stanza: &str, hears: bool) -> Crowd {
        let lines = (0..count).map(|n| {
            let mut stream = tls(connect_from(server, "c2s_tls", &format!("127.0.1.{}", n / 8 + 1)), &dir.ca());
            log_in(&mut stream, name, PASSWORD);
            Line::new(stream)
        });
        Crowd::of(lines.collect(), stanza, hears)
    }

    /// Sessions of one account that say this once, and then neither say nor hear anything.
    pub fn silent(server: &Server, dir: &Dir, name: &str, count: usize, stanza: &str) -> Crowd {
        let sessions = (0..count).map(|n| {
            let mut stream = tls(connect_from(server, "c2s_tls", &format!("127.0.4.{}", n / 8 + 1)), &dir.ca());
            log_in(&mut stream, name, PASSWORD);
            // Some are told to go before they have said all.
            let _ = stream.write_all(stanza.as_bytes()).and_then(|()| stream.flush());
            stream
        });
        let sessions: Vec<Tls> = sessions.collect();
        let (ends, said) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
            }
            drop(sessions);
        });
        Crowd { ends, said, thread: Some(thread) }
    }

    fn of(mut lines: Vec<Line>, stanza: &str, hears: bool) -> Crowd {
        let chunk = stanza.repeat(CHUNK_BYTES.div_ceil(stanza.len())).into_bytes();
        let (ends, said) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (ends.clone(), said.clone());
        let size = stanza.len() as u64;
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                let mut idle = true;
                for line in lines.iter_mut().filter(|line| line.open) {
                    let (said, heard) = line.turn(&chunk, hears);
                    count.fetch_add(said as u64 / size, Ordering::Relaxed);
                    idle &= said == 0 && heard == 0;
                }
                if idle {
                    // Nothing can be said: the server does not read on.
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        Crowd { ends, said, thread: Some(thread) }
    }

    /// How many stanzas it has said.
    pub fn said(&self) -> u64 {
        self.said.load(Ordering::Relaxed)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Something done again and again on a thread of its own, until it is dropped.
pub struct Again {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Again {
    pub fn new(mut what: impl FnMut() + Send + 'static) -> Again {
        let ends = Arc::new(AtomicBool::new(false));
        let told = ends.clone();
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                what();
            }
        });
        Again { ends, thread: Some(thread) }
    }
}

impl Drop for Again {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A connection that says nothing.
pub fn silent(server: &Server, from: &str) -> TcpStream {
    let socket = connect_from(server, "c2s_tls", from);
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// A connection whose handshake is all there is.
pub fn handshake(server: std::net::SocketAddr, ca: &std::path::Path) {
    let Ok(socket) = TcpStream::connect(server) else { return };
    let mut stream = tls(socket, ca);
    let _ = stream.flush();
    while stream.conn.is_handshaking() && stream.conn.complete_io(&mut stream.sock).is_ok() {}
}

/// A login that fails, from this address.
pub fn wrong_password(server: std::net::SocketAddr, ca: &std::path::Path, from: &str, name: &str) {
    let socket = socket_from(server, from);
    // It does not wait for ever: then the server has not answered yet.
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let mut stream = tls(socket, ca);
    let mut buffer = [0; 4096];
    let login = [HEADER, &plain(name, "not the password")].concat();
    if stream.write_all(login.as_bytes()).and_then(|()| stream.flush()).is_ok() {
        while matches!(stream.read(&mut buffer), Ok(1..)) {}
    }
}

/// The same as [`connect`], for who needs no address of its own.
pub fn stream(server: &Server, dir: &Dir) -> Tls {
    tls(connect(server, "c2s_tls"), &dir.ca())
}
