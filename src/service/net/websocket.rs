//! A WebSocket on another way that bytes go (RFC 6455, RFC 7395). Of the frames nothing is seen above: what is read and written is text with
//! [`END`](crate::wire::framer::END) behind each message. It answers Ping and Close frames itself.

use super::transport::{Socket, Transport};
use crate::web::frames::{Frames, FramesEnd, NORMAL, TextFrames, close};
use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, ready};

/// Bytes that wait to be written above which nothing more is read: answers to Ping frames could make it more.
const UNSENT_BYTES: usize = 32 * 1024;

thread_local! {
    /// Frames that were read, or are to be written.
    static FRAMES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The server's side of a WebSocket, when the requests of HTTP are over.
pub struct WebSocket<T> {
    below: T,
    frames: Frames,
    writer: TextFrames,
    /// Whole frames, or the rest of one, that are not written yet.
    unsent: Vec<u8>,
    /// How reading ended.
    end: Option<FramesEnd>,
    /// Our Close frame is the last of what is unsent, or was written.
    said_close: bool,
}

impl<T: Transport> WebSocket<T> {
    /// On this transport.
    pub fn new(below: T) -> WebSocket<T> {
        WebSocket {
            below,
            frames: Frames::default(),
            writer: TextFrames::default(),
            unsent: Vec::new(),
            end: None,
            said_close: false,
        }
    }

    /// Takes frames that were read already, behind the client's request. Appends what they say to `into`.
    pub fn take(&mut self, frames: &[u8], into: &mut Vec<u8>) {
        if self.end.is_none()
            && let Err(end) = self.frames.read(frames, into, &mut self.unsent)
        {
            self.end = Some(end);
            self.said_close = true;
        }
    }

    fn poll_unsent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            match ready!(self.below.poll_write(cx, &self.unsent))? {
                0 => return Poll::Ready(Err(ErrorKind::WriteZero.into())),
                n if n == self.unsent.len() => self.unsent = Vec::new(),
                n => drop(self.unsent.drain(..n)),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Transport> Transport for WebSocket<T> {
    /// A Close frame is the end; what the client does wrong, an error. Either shows when our own Close frame is written, and at the call after
    /// the one that gave what came before it.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        if let Some(end) = self.end {
            ready!(self.poll_close(cx))?;
            return Poll::Ready(match end {
                FramesEnd::Closed => Ok(0),
                FramesEnd::Fault(fault) => Err(io::Error::new(ErrorKind::InvalidData, fault)),
            });
        }
        if self.unsent.len() > UNSENT_BYTES {
            ready!(self.poll_unsent(cx))?;
        }
        FRAMES.with_borrow_mut(|frames| {
            frames.clear();
            let read = ready!(self.below.poll_read(cx, frames))?;
            self.take(frames, into);
            Poll::Ready(Ok(read))
        })
    }

    /// Behind our Close frame the text goes nowhere (RFC 6455 §5.5.1): an error here would keep from being heard what the client said before
    /// its own, and came in with it.
    fn poll_write(&mut self, cx: &mut Context<'_>, text: &[u8]) -> Poll<io::Result<usize>> {
        if self.said_close {
            return Poll::Ready(Ok(text.len()));
        }
        ready!(self.poll_flush(cx))?;
        FRAMES.with_borrow_mut(|frames| {
            frames.clear();
            let mut writer = self.writer;
            let taken = writer.write(text, frames);
            // Where nothing of it is taken, nothing has happened.
            let written = ready!(self.below.poll_write(cx, frames))?;
            self.writer = writer;
            self.unsent = frames[written..].to_vec();
            Poll::Ready(Ok(taken))
        })
    }

    fn unsent(&self) -> usize {
        self.unsent.len() + self.below.unsent()
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_unsent(cx))?;
        self.below.poll_flush(cx)
    }

    /// Says Close, if that was not said (RFC 6455 §7.1.2).
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.said_close {
            self.said_close = true;
            close(NORMAL, "", &mut self.unsent);
        }
        ready!(self.poll_unsent(cx))?;
        self.below.poll_close(cx)
    }

    fn socket(&mut self) -> Option<&mut Socket> {
        self.below.socket()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::link::ClientLink;
    use super::super::pump::Pump;
    use super::*;
    use crate::service::tls::Stream;
    use crate::web::frames::{FrameFault, WRITE_BYTES};
    use smol::Async;
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::task::Waker;

    /// Numbers that look random, and are the same each time.
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, end: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 16) as usize % end
        }
    }

    /// A transport whose peer says and takes so much at once as the dice say.
    struct Line {
        dice: Dice,
        /// What the peer says.
        up: Vec<u8>,
        /// What it has taken.
        down: Vec<u8>,
        /// It takes nothing more.
        is_stuck: bool,
        is_closed: bool,
    }

    impl Line {
        fn new(seed: u64, up: Vec<u8>) -> Line {
            Line { dice: Dice(seed * 2 + 1), up, down: Vec::new(), is_stuck: false, is_closed: false }
        }

        fn some(&mut self, of: usize) -> Poll<usize> {
            let most = 1 << self.dice.below(16);
            match self.dice.below(4) {
                0 => Poll::Pending,
                _ if of == 0 => Poll::Pending,
                _ => Poll::Ready(of.min(1 + self.dice.below(most))),
            }
        }
    }

    impl Transport for Line {
        fn poll_read(&mut self, _: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<io::Result<usize>> {
            let n = ready!(self.some(self.up.len()));
            into.extend(self.up.drain(..n));
            Poll::Ready(Ok(n))
        }

        fn poll_write(&mut self, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            assert!(!self.is_closed);
            if self.is_stuck {
                return Poll::Pending;
            }
            let n = ready!(self.some(bytes.len()));
            self.down.extend_from_slice(&bytes[..n]);
            Poll::Ready(Ok(n))
        }

        fn unsent(&self) -> usize {
            0
        }

        fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.is_closed = true;
            Poll::Ready(Ok(()))
        }

        fn socket(&mut self) -> Option<&mut Socket> {
            unreachable!("it has none")
        }
    }

    const FIN: u8 = 0x80;

    /// A frame of a client with this first byte.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [1, 2, 3, 0xf4];
        let mut frame = vec![first];
        if payload.len() < 126 {
            frame.push(0x80 | payload.len() as u8);
        } else {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]));
        frame
    }

    /// Messages of many lengths, some of them longer than what is written at once.
    fn messages(dice: &mut Dice, count: usize) -> Vec<String> {
        let text = |dice: &mut Dice| {
            let most = 1 << dice.below(17);
            "é\u{1f600}x".chars().cycle().skip(dice.below(3)).take(dice.below(most)).collect()
        };
        (0..count).map(|_| text(dice)).collect()
    }

    fn joined(messages: &[String]) -> String {
        messages.iter().map(|message| format!("{message}\0")).collect()
    }

    /// The same as frames, each message in fragments, with Ping frames between them that count up; and how many those are.
    fn framed(messages: &[String], dice: &mut Dice) -> (Vec<u8>, u32) {
        let (mut frames, mut pings) = (Vec::new(), 0u32);
        for message in messages {
            let (mut rest, mut opcode) = (message.as_bytes(), 1);
            loop {
                if dice.below(3) == 0 {
                    frames.extend(masked(FIN | 9, &pings.to_be_bytes()));
                    pings += 1;
                }
                let (part, behind) = rest.split_at(rest.len().min(dice.below(60_000)));
                rest = behind;
                let is_last = rest.is_empty();
                frames.extend(masked(opcode | if is_last { FIN } else { 0 }, part));
                opcode = 0;
                if is_last {
                    break;
                }
            }
        }
        (frames, pings)
    }

    /// What a client reads.
    #[derive(Default, PartialEq, Debug)]
    struct Heard {
        text: Vec<u8>,
        pongs: Vec<u32>,
        close: Option<Vec<u8>>,
    }

    fn heard(mut frames: &[u8]) -> Heard {
        let mut heard = Heard::default();
        let mut is_inside = false;
        while let [first, second, rest @ ..] = frames {
            assert!(heard.close.is_none(), "Close is the last frame");
            let (len, rest) = match *second {
                126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                short => (usize::from(short), rest),
            };
            let (payload, rest) = rest.split_at(len);
            frames = rest;
            match first & !FIN {
                0 | 1 => {
                    assert_eq!(first & 1 == 0, is_inside);
                    is_inside = first & FIN == 0;
                    heard.text.extend_from_slice(payload);
                    heard.text.extend((!is_inside).then_some(0));
                }
                8 => heard.close = Some(payload.to_vec()),
                10 => heard.pongs.push(u32::from_be_bytes(payload.try_into().unwrap())),
                opcode => panic!("{opcode}"),
            }
        }
        heard
    }

    fn now<R>(poll: impl FnOnce(&mut Context<'_>) -> R) -> R {
        poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Asks again until it is ready.
    fn at_last<R>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<R>) -> R {
        for _ in 0..1_000_000 {
            if let Poll::Ready(done) = now(&mut poll) {
                return done;
            }
        }
        panic!("it does not come to an end");
    }

    fn error(result: io::Result<usize>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn both_directions_in_any_cut() {
        for seed in 0..60 {
            let mut dice = Dice(seed * 2 + 1);
            let (theirs, ours) = (messages(&mut dice, 12), messages(&mut dice, 12));
            let (up, pings) = framed(&theirs, &mut dice);
            let out = joined(&ours);
            let mut socket = WebSocket::new(Line::new(seed, up));
            let (mut text, mut sent, mut given) = (Vec::new(), 0, 0);
            while !socket.below.up.is_empty() || sent < out.len() || socket.unsent() > 0 {
                let _ = match dice.below(3) {
                    0 => now(|cx| socket.poll_read(cx, &mut text)).map(|read| assert!(read.unwrap() > 0)),
                    1 if sent < given => {
                        let write = now(|cx| socket.poll_write(cx, &out.as_bytes()[sent..given]));
                        write.map(|n| sent += n.unwrap())
                    }
                    _ => now(|cx| socket.poll_flush(cx)).map(|flush| flush.unwrap()),
                };
                assert!(socket.unsent.len() <= UNSENT_BYTES + WRITE_BYTES);
                // As a pump does: more comes behind what waits.
                given = (given + dice.below(40_000)).min(out.len());
            }
            at_last(|cx| socket.poll_close(cx)).unwrap();
            at_last(|cx| socket.poll_close(cx)).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), joined(&theirs));
            let expected = Heard { text: out.into(), pongs: (0..pings).collect(), close: Some(vec![0x03, 0xe8]) };
            assert!(heard(&socket.below.down) == expected, "{seed}");
            assert!(socket.below.is_closed);
        }
    }

    #[test]
    fn what_the_client_does_wrong_is_told_and_ends_it() {
        let up = [masked(FIN | 1, b"<a/>"), masked(FIN | 2, b"x"), masked(FIN | 1, b"<b/>")].concat();
        for seed in 0..50 {
            let mut socket = WebSocket::new(Line::new(seed, up.clone()));
            let mut text = Vec::new();
            let end = loop {
                match at_last(|cx| socket.poll_read(cx, &mut text)) {
                    Ok(n) => assert!(n > 0),
                    Err(e) => break e,
                }
            };
            assert_eq!((&*text, end.to_string().as_str()), (&b"<a/>\0"[..], FrameFault::Binary.text()));
            let close = [&1003u16.to_be_bytes(), FrameFault::Binary.text().as_bytes()].concat();
            assert_eq!(heard(&socket.below.down), Heard { close: Some(close), ..Heard::default() });
            assert!(socket.below.is_closed && socket.unsent() == 0);
            assert_eq!(error(at_last(|cx| socket.poll_read(cx, &mut text))), FrameFault::Binary.text());
            assert_eq!(at_last(|cx| socket.poll_write(cx, b"<c/>\0")).unwrap(), 5);
            assert_eq!((&*text, socket.unsent()), (&b"<a/>\0"[..], 0));
        }
    }

    #[test]
    fn a_close_frame_is_answered_and_is_the_end() {
        for seed in 0..50 {
            let mut socket = WebSocket::new(Line::new(seed, Vec::new()));
            let out = "x".repeat(40_000) + "\0";
            let mut sent = at_last(|cx| socket.poll_write(cx, out.as_bytes())).unwrap();
            let before = sent;
            // What it said before is heard; what it is still to be told, it is not.
            socket.below.up = [masked(FIN | 1, b"<a/>"), masked(FIN | 8, b"\x03\xe9going away")].concat();
            let mut text = Vec::new();
            while socket.end.is_none() {
                assert!(at_last(|cx| socket.poll_read(cx, &mut text)).unwrap() > 0);
            }
            while sent < out.len() {
                sent += at_last(|cx| socket.poll_write(cx, &out.as_bytes()[sent..])).unwrap();
            }
            if seed % 2 == 0 {
                assert_eq!(at_last(|cx| socket.poll_read(cx, &mut text)).unwrap(), 0);
            } else {
                at_last(|cx| socket.poll_close(cx)).unwrap();
            }
            let seen = heard(&socket.below.down);
            assert_eq!((seen.text.len(), seen.close), (before, Some(b"\x03\xe9".to_vec())));
            assert!(text == b"<a/>\0" && socket.below.is_closed && socket.unsent() == 0);
        }
    }

    #[test]
    fn what_came_with_the_request_is_read() {
        let mut socket = WebSocket::new(Line::new(1, masked(FIN, b"/>")));
        let mut text = Vec::new();
        socket.take(&masked(1, b"<a"), &mut text);
        assert_eq!(text, b"<a");
        at_last(|cx| socket.poll_read(cx, &mut text)).unwrap();
        while text.last() != Some(&0) {
            at_last(|cx| socket.poll_read(cx, &mut text)).unwrap();
        }
        assert_eq!(text, b"<a/>\0");
        socket.take(&masked(FIN | 8, b""), &mut text);
        assert_eq!(at_last(|cx| socket.poll_read(cx, &mut text)).unwrap(), 0);
    }

    /// Whoever asks and does not listen is not read from.
    #[test]
    fn answers_that_wait_are_bounded() {
        let mut socket = WebSocket::new(Line::new(1, masked(FIN | 9, &[7; 125]).repeat(2_000)));
        socket.below.is_stuck = true;
        let mut text = Vec::new();
        for _ in 0..10_000 {
            let _ = now(|cx| socket.poll_read(cx, &mut text));
            assert!(socket.unsent() <= UNSENT_BYTES + (1 << 16));
        }
        assert!(!socket.below.up.is_empty() && now(|cx| socket.poll_write(cx, b"<a/>\0")).is_pending());
        socket.below.is_stuck = false;
        while !socket.below.up.is_empty() || socket.unsent() > 0 {
            let _ = now(|cx| socket.poll_read(cx, &mut text));
            let _ = now(|cx| socket.poll_flush(cx));
        }
        assert!(socket.below.down == [&[0x8a, 125][..], &[7; 125]].concat().repeat(2_000));
    }

    /// A client that says a lot before it listens, over TCP.
    #[test]
    fn over_a_real_connection() {
        let mut dice = Dice(7);
        let messages = messages(&mut dice, 60);
        let (up, pings) = framed(&messages, &mut dice);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut socket = WebSocket::new(Async::new(listener.accept().unwrap().0).unwrap());
        let client = std::thread::spawn(move || {
            for piece in up.chunks(7_919) {
                client.write_all(piece).unwrap();
            }
            client.shutdown(Shutdown::Write).unwrap();
            let mut frames = Vec::new();
            client.read_to_end(&mut frames).unwrap();
            heard(&frames)
        });
        // All that it says, and then all of it back.
        let mut text = Vec::new();
        smol::block_on(async {
            while poll_fn(|cx| socket.poll_read(cx, &mut text)).await.unwrap() > 0 {}
            let mut sent = 0;
            while sent < text.len() {
                sent += poll_fn(|cx| socket.poll_write(cx, &text[sent..])).await.unwrap();
            }
            poll_fn(|cx| socket.poll_close(cx)).await.unwrap();
        });
        drop(socket);
        let expected = Heard { text, pongs: (0..pings).collect(), close: Some(vec![0x03, 0xe8]) };
        assert!(client.join().unwrap() == expected);
        assert_eq!(String::from_utf8(expected.text).unwrap(), joined(&messages));
    }

    /// What thousands of connections have while they are idle.
    #[test]
    fn an_idle_connection_is_small() {
        let more = size_of::<Pump<WebSocket<Stream>, ClientLink>>() - size_of::<Pump<Stream, ClientLink>>();
        assert!(more <= 64, "{more}");
    }
}
