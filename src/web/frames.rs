//! The server's side of WebSockets (RFC 6455) that carry text: what a client sends becomes text with [`END`] behind each message, and such
//! text becomes frames.

use crate::wire::framer::END;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use std::fmt;

/// The most bytes of a message that is read, all its fragments together. More than any element of a stream may have: who sends one that is
/// too long is told so by the stream.
pub const MESSAGE_BYTES: u64 = 1024 * 1024;
/// The most bytes that [`TextFrames::write`] appends at once: the text of one TLS record (RFC 8446 §5.1).
pub const WRITE_BYTES: usize = 16 * 1024;
/// The close code of a connection that has done what it was for (RFC 6455 §7.4.1).
pub const NORMAL: u16 = 1000;

/// Payload of a control frame, in bytes (RFC 6455 §5.5).
const CONTROL_BYTES: usize = 125;
/// The longest header that a client sends, in bytes (RFC 6455 §5.2).
const HEADER_BYTES: usize = 14;
/// The longest header of a frame that fits in [`WRITE_BYTES`].
const WRITE_HEADER_BYTES: usize = 4;

/// The last frame of a message.
const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
/// In the second byte: the payload is masked.
const MASKED: u8 = 0x80;
/// In the second byte: the length follows, in two bytes or in eight.
const LENGTH_16: u8 = 126;
const LENGTH_64: u8 = 127;

/// `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455 §4.2.2). `None`: the key is not 16 bytes in base64.
pub fn accept_key(key: &str) -> Option<String> {
    STANDARD.decode(key).ok().filter(|bytes| bytes.len() == 16)?;
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    Some(STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes())))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Opcode {
    Continuation = 0,
    Text = 1,
    Close = 8,
    Ping = 9,
    Pong = 10,
}

impl Opcode {
    fn is_control(self) -> bool {
        matches!(self, Opcode::Close | Opcode::Ping | Opcode::Pong)
    }
}

/// What a client does that RFC 6455 or RFC 7395 forbids.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameFault {
    /// A reserved bit is set (RFC 6455 §5.2).
    Reserved,
    /// There is no such opcode (RFC 6455 §5.2).
    Opcode,
    /// A frame is not masked (RFC 6455 §5.1).
    Unmasked,
    /// A length has more bytes than it needs, or its first bit is set (RFC 6455 §5.2).
    Length,
    /// A control frame is too long or a fragment (RFC 6455 §5.5).
    Control,
    /// A fragment follows no other, or a message begins inside of another (RFC 6455 §5.4).
    Order,
    /// A Close frame says no code that may be sent (RFC 6455 §5.5.1, §7.4).
    CloseCode,
    /// A message is binary (RFC 7395 §3.2).
    Binary,
    /// A text is not UTF-8 (RFC 6455 §8.1), or has the character [`END`], which no XML has (XML 1.0 §2.2).
    Text,
    /// A message is longer than [`MESSAGE_BYTES`] (RFC 6455 §10.4).
    TooBig,
}

impl FrameFault {
    /// The code of the Close frame that says so (RFC 6455 §7.4.1).
    pub fn code(self) -> u16 {
        match self {
            FrameFault::Binary => 1003,
            FrameFault::Text => 1007,
            FrameFault::TooBig => 1009,
            _ => 1002,
        }
    }

    /// Its reason.
    pub fn text(self) -> &'static str {
        match self {
            FrameFault::Reserved => "a reserved bit is set, and no extension was agreed on",
            FrameFault::Opcode => "there is no such opcode",
            FrameFault::Unmasked => "frames of clients have to be masked",
            FrameFault::Length => "the length of a frame is not in its shortest form",
            FrameFault::Control => "a control frame has at most 125 bytes, and is no fragment",
            FrameFault::Order => "the fragments of a message are not in order",
            FrameFault::CloseCode => "this close code may not be sent",
            FrameFault::Binary => "messages have to be text",
            FrameFault::Text => "text has to be UTF-8, without the character U+0000",
            FrameFault::TooBig => "the message is too long",
        }
    }
}

impl fmt::Display for FrameFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for FrameFault {}

/// How reading ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FramesEnd {
    /// The client has sent a Close frame.
    Closed,
    /// It did something wrong.
    Fault(FrameFault),
}

impl From<FrameFault> for FramesEnd {
    fn from(fault: FrameFault) -> FramesEnd {
        FramesEnd::Fault(fault)
    }
}

/// Reads the frames of one client. Owns memory only while a message or a frame is incomplete.
#[derive(Default, Debug)]
pub struct Frames {
    incomplete: Option<Box<Incomplete>>,
}

impl Frames {
    /// Takes bytes as they came in. Appends the text of messages to `text` as it comes, with [`END`] behind each whole message; and to
    /// `answers` the frames that the client must be sent, which are not longer than those that they answer.
    ///
    /// # Errors
    /// The end, and the last of `answers` is our Close frame. What was appended to `text` counts; nothing more may be read.
    pub fn read(&mut self, input: &[u8], text: &mut Vec<u8>, answers: &mut Vec<u8>) -> Result<(), FramesEnd> {
        let mut incomplete = self.incomplete.take().map_or_else(Incomplete::default, |boxed| *boxed);
        let read = incomplete.read(input, text, answers);
        match read {
            Ok(()) if incomplete.is_begun() => self.incomplete = Some(Box::new(incomplete)),
            Err(FramesEnd::Fault(fault)) => close(fault.code(), fault.text(), answers),
            _ => {}
        }
        read
    }
}

/// What is not complete.
#[derive(Default, Debug)]
struct Incomplete {
    /// A header, so many bytes of it.
    header: [u8; HEADER_BYTES],
    header_bytes: usize,
    frame: Option<Frame>,
    /// The payload of a control frame.
    control: Vec<u8>,
    /// The bytes of a message, as far as its frames have announced them.
    message: Option<u64>,
    character: PartOfCharacter,
}

impl Incomplete {
    fn is_begun(&self) -> bool {
        self.header_bytes > 0 || self.frame.is_some() || self.message.is_some()
    }

    fn read(&mut self, mut input: &[u8], text: &mut Vec<u8>, answers: &mut Vec<u8>) -> Result<(), FramesEnd> {
        loop {
            let mut frame = match self.frame.take() {
                Some(frame) => frame,
                None => match self.begin(&mut input)? {
                    Some(frame) => frame,
                    None => return Ok(()),
                },
            };
            let here = usize::try_from(frame.left).map_or(input.len(), |left| left.min(input.len()));
            let (payload, rest) = input.split_at(here);
            input = rest;
            frame.left -= here as u64;
            if frame.opcode.is_control() {
                append(payload, &mut frame.mask, &mut self.control);
            } else {
                self.append_text(payload, &mut frame.mask, text)?;
            }
            if frame.left > 0 {
                self.frame = Some(frame);
                return Ok(());
            }
            self.end(frame, text, answers)?;
        }
    }

    /// Reads the header of a frame. `None`: there is more to come.
    fn begin(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, FrameFault> {
        while self.header_bytes < whole_header_bytes(&self.header[..self.header_bytes]) {
            let Some((byte, rest)) = input.split_first() else { return Ok(None) };
            self.header[self.header_bytes] = *byte;
            self.header_bytes += 1;
            *input = rest;
        }
        let frame = Frame::parse(&self.header[..std::mem::take(&mut self.header_bytes)])?;
        if !frame.opcode.is_control() {
            if (frame.opcode == Opcode::Continuation) != self.message.is_some() {
                return Err(FrameFault::Order);
            }
            let bytes = self.message.unwrap_or_default().saturating_add(frame.left);
            if bytes > MESSAGE_BYTES {
                return Err(FrameFault::TooBig);
            }
            self.message = Some(bytes);
        }
        Ok(Some(frame))
    }

    fn append_text(&mut self, payload: &[u8], mask: &mut [u8; 4], text: &mut Vec<u8>) -> Result<(), FrameFault> {
        let at = text.len();
        append(payload, mask, text);
        let new = &text[at..];
        let checked = if new.contains(&END) { Err(FrameFault::Text) } else { self.character.check(new) };
        if checked.is_err() {
            text.truncate(at);
        }
        checked
    }

    /// Does what a frame is for, when all of it was read.
    fn end(&mut self, frame: Frame, text: &mut Vec<u8>, answers: &mut Vec<u8>) -> Result<(), FramesEnd> {
        match frame.opcode {
            Opcode::Continuation | Opcode::Text if frame.is_last => {
                if self.character.is_begun() {
                    return Err(FrameFault::Text.into());
                }
                self.message = None;
                text.push(END);
            }
            Opcode::Continuation | Opcode::Text | Opcode::Pong => {}
            Opcode::Ping => control(Opcode::Pong, &self.control, answers),
            Opcode::Close => {
                // The code is sent back, the reason is not (RFC 6455 §5.5.1).
                let code = close_code(&self.control)?.map(u16::to_be_bytes);
                control(Opcode::Close, code.as_ref().map_or(&[], |code| code), answers);
                return Err(FramesEnd::Closed);
            }
        }
        if frame.opcode.is_control() {
            self.control = Vec::new();
        }
        Ok(())
    }
}

/// How long a header is that begins with these bytes, as far as they tell.
fn whole_header_bytes(header: &[u8]) -> usize {
    let Some(second) = header.get(1) else { return 2 };
    let length = match second & !MASKED {
        LENGTH_16 => 2,
        LENGTH_64 => 8,
        _ => 0,
    };
    2 + length + if second & MASKED == 0 { 0 } else { 4 }
}

/// A frame whose header was read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    is_last: bool,
    opcode: Opcode,
    /// Turned so that its first byte is for the next byte of the payload.
    mask: [u8; 4],
    /// Bytes of the payload that are to come.
    left: u64,
}

impl Frame {
    /// RFC 6455 §5.2.
    fn parse(header: &[u8]) -> Result<Frame, FrameFault> {
        let [first, second, rest @ ..] = header else { return Err(FrameFault::Length) };
        if first & RESERVED != 0 {
            return Err(FrameFault::Reserved);
        }
        let opcode = match first & !FIN {
            0 => Opcode::Continuation,
            1 => Opcode::Text,
            2 => return Err(FrameFault::Binary),
            8 => Opcode::Close,
            9 => Opcode::Ping,
            10 => Opcode::Pong,
            _ => return Err(FrameFault::Opcode),
        };
        let is_last = first & FIN != 0;
        if second & MASKED == 0 {
            return Err(FrameFault::Unmasked);
        }
        let (length, mask) = rest.split_last_chunk().ok_or(FrameFault::Unmasked)?;
        let (left, least) = match length {
            [] => (u64::from(second & !MASKED), 0),
            [_, _] => (number(length), u64::from(LENGTH_16)),
            _ => (number(length), 1 << 16),
        };
        if left < least || left >> 63 != 0 {
            return Err(FrameFault::Length);
        }
        if opcode.is_control() && (!is_last || left > CONTROL_BYTES as u64) {
            return Err(FrameFault::Control);
        }
        Ok(Frame { is_last, opcode, mask: *mask, left })
    }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Appends what is masked, and turns the mask (RFC 6455 §5.3).
fn append(masked: &[u8], mask: &mut [u8; 4], to: &mut Vec<u8>) {
    let at = to.len();
    to.extend_from_slice(masked);
    let key = u32::from_ne_bytes(*mask);
    let (words, rest) = to[at..].as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(*mask) {
        *byte ^= key;
    }
    mask.rotate_left(rest.len());
}

/// The beginning of a character of UTF-8.
#[derive(Default, Debug)]
struct PartOfCharacter {
    bytes: [u8; 4],
    len: usize,
}

impl PartOfCharacter {
    fn is_begun(&self) -> bool {
        self.len > 0
    }

    /// Checks what follows, and keeps the beginning of a character at its end.
    fn check(&mut self, mut text: &[u8]) -> Result<(), FrameFault> {
        while self.is_begun() {
            let Some((byte, rest)) = text.split_first() else { return Ok(()) };
            self.bytes[self.len] = *byte;
            self.len += 1;
            text = rest;
            match str::from_utf8(&self.bytes[..self.len]) {
                Ok(_) => self.len = 0,
                Err(e) if e.error_len().is_none() => {}
                Err(_) => return Err(FrameFault::Text),
            }
        }
        let Err(e) = str::from_utf8(text) else { return Ok(()) };
        if e.error_len().is_some() {
            return Err(FrameFault::Text);
        }
        let begun = &text[e.valid_up_to()..];
        self.bytes[..begun.len()].copy_from_slice(begun);
        self.len = begun.len();
        Ok(())
    }
}

/// What a Close frame says, if it says something (RFC 6455 §5.5.1). Codes that have been registered, and those for libraries and applications
/// (§7.4.2).
fn close_code(payload: &[u8]) -> Result<Option<u16>, FrameFault> {
    let [a, b, reason @ ..] = payload else {
        return if payload.is_empty() { Ok(None) } else { Err(FrameFault::CloseCode) };
    };
    let code = u16::from_be_bytes([*a, *b]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(FrameFault::CloseCode);
    }
    str::from_utf8(reason).map_err(|_| FrameFault::Text)?;
    Ok(Some(code))
}

/// Makes frames of text. Between any two of its calls a control frame may be written, but no text after a Close frame.
#[derive(Clone, Copy, Default, Debug)]
pub struct TextFrames {
    /// A fragment was written, and the last one was not.
    is_inside: bool,
}

impl TextFrames {
    /// Takes something from the front of `text`, which has [`END`] behind each message, and appends frames of it, at most [`WRITE_BYTES`].
    /// Gives how much it took; nothing only of nothing. A message is one frame, if it is all there and fits; else it is several (RFC 6455
    /// §5.4), so that nothing has to wait for its end.
    pub fn write(&mut self, text: &[u8], frames: &mut Vec<u8>) -> usize {
        let (mut rest, most) = (text, frames.len() + WRITE_BYTES);
        while !rest.is_empty() {
            let Some(room) = most.checked_sub(frames.len() + WRITE_HEADER_BYTES) else { break };
            let end = rest.iter().take(room + 1).position(|byte| *byte == END);
            if end.is_none() && rest.len() > room && rest.len() < text.len() {
                // It may fit next time.
                break;
            }
            let payload = &rest[..end.unwrap_or(rest.len().min(room))];
            let opcode = if self.is_inside { Opcode::Continuation } else { Opcode::Text };
            write_frame(end.is_some(), opcode, payload, frames);
            self.is_inside = end.is_none();
            rest = &rest[payload.len() + usize::from(end.is_some())..];
        }
        text.len() - rest.len()
    }
}

/// Appends a frame of up to 65,535 bytes.
fn write_frame(is_last: bool, opcode: Opcode, payload: &[u8], frames: &mut Vec<u8>) {
    frames.push(opcode as u8 | if is_last { FIN } else { 0 });
    match payload.len() {
        short if short < usize::from(LENGTH_16) => frames.push(short as u8),
        long => {
            frames.push(LENGTH_16);
            frames.extend_from_slice(&(long as u16).to_be_bytes());
        }
    }
    frames.extend_from_slice(payload);
}

fn control(opcode: Opcode, payload: &[u8], frames: &mut Vec<u8>) {
    write_frame(true, opcode, &payload[..payload.len().min(CONTROL_BYTES)], frames);
}

/// Appends a Ping frame, whose payload comes back in a Pong frame: its first 125 bytes (RFC 6455 §5.5.2).
pub fn ping(payload: &[u8], frames: &mut Vec<u8>) {
    control(Opcode::Ping, payload, frames);
}

/// Appends a Close frame with a code and as much of the reason as fits in it (RFC 6455 §5.5.1).
pub fn close(code: u16, reason: &str, frames: &mut Vec<u8>) {
    let reason = &reason[..reason.floor_char_boundary(CONTROL_BYTES - 2)];
    control(Opcode::Close, &[&code.to_be_bytes(), reason.as_bytes()].concat(), frames);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TEXT: u8 = FIN | 1;

    /// A frame as a client sends it, with this first byte.
    fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xfa, 0x21, 0x3d];
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(MASKED | len as u8),
            len @ 126..65536 => {
                frame.push(MASKED | LENGTH_16);
                frame.extend((len as u16).to_be_bytes());
            }
            len => {
                frame.push(MASKED | LENGTH_64);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]));
        frame
    }

    #[derive(PartialEq, Debug, Default)]
    struct Read {
        text: Vec<u8>,
        answers: Vec<u8>,
        end: Option<FramesEnd>,
    }

    fn in_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Read {
        let (mut frames, mut read) = (Frames::default(), Read::default());
        for piece in pieces {
            if let Err(end) = frames.read(piece, &mut read.text, &mut read.answers) {
                read.end = Some(end);
                break;
            }
        }
        if read.end.is_some() {
            // How much comes of a message that goes wrong depends on the pieces.
            read.text.truncate(read.text.iter().rposition(|byte| *byte == END).map_or(0, |at| at + 1));
            assert!(frames.incomplete.is_none());
        }
        read
    }

    /// Whole, byte by byte, and cut in two at every place near the ends of frames.
    fn read(input: &[u8]) -> Read {
        let whole = in_pieces([input]);
        assert_eq!(in_pieces(input.chunks(1)), whole);
        for at in (0..input.len()).filter(|at| *at < 300 || at + 300 > input.len()) {
            assert_eq!(in_pieces([&input[..at], &input[at..]]), whole, "cut at {at}");
        }
        whole
    }

    fn good(input: &[u8], text: &[u8], answers: &[u8]) {
        assert_eq!(read(input), Read { text: text.into(), answers: answers.into(), end: None });
    }

    fn closing(code: u16, reason: &str) -> Vec<u8> {
        let mut frame = Vec::new();
        close(code, reason, &mut frame);
        frame
    }

    /// What came before counts, what comes behind does not.
    fn fails(fault: FrameFault, code: u16, input: &[u8]) {
        let all = [&masked(TEXT, b"<a/>"), input, &masked(TEXT, b"<b/>")].concat();
        let answers = closing(code, fault.text());
        assert_eq!(read(&all), Read { text: b"<a/>\0".into(), answers, end: Some(fault.into()) }, "{input:?}");
    }

    /// RFC 6455 §1.3.
    #[test]
    fn a_key_is_16_bytes() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for wrong in [
            "",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZQAA",
            "*GhlIHNhbXBsZSBub25jZQ==",
        ] {
            assert_eq!(accept_key(wrong), None, "{wrong}");
        }
    }

    /// RFC 6455 §5.7.
    #[test]
    fn the_examples() {
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        good(&hello, b"Hello\0", b"");
        let ping = [0x89, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        good(&ping, b"", b"\x8a\x05Hello");
        let mut out = Vec::new();
        assert_eq!(TextFrames::default().write(b"Hello\0", &mut out), 6);
        assert_eq!(out, b"\x81\x05Hello");
        out.clear();
        let mut frames = TextFrames::default();
        assert_eq!((frames.write(b"Hel", &mut out), frames.write(b"lo\0", &mut out)), (3, 3));
        assert_eq!(out, b"\x01\x03Hel\x80\x02lo");
        out.clear();
        super::ping(b"Hello", &mut out);
        assert_eq!(out, b"\x89\x05Hello");
    }

    #[test]
    fn messages_of_all_lengths() {
        for len in [0, 1, 2, 3, 4, 5, 125, 126, 127, 65535, 65536, 70000] {
            let text = "é".repeat(len / 2) + &"x".repeat(len % 2);
            good(&masked(TEXT, text.as_bytes()), &[text.as_bytes(), b"\0"].concat(), b"");
        }
    }

    #[test]
    fn fragments_and_what_comes_between_them() {
        let text = "<a>é\u{1f600}</a>".as_bytes();
        for at in 0..=text.len() {
            for to in at..=text.len() {
                let input = [
                    masked(TEXT, b"<b/>"),
                    masked(1, &text[..at]),
                    masked(FIN | 9, b"first"),
                    masked(0, &text[at..to]),
                    masked(FIN | 10, b"a pong that nobody asked for"),
                    masked(FIN | 9, b""),
                    masked(FIN, &text[to..]),
                    masked(TEXT, b"<c/>"),
                ];
                let whole = in_pieces([&input.concat()[..]]);
                let expected = [b"<b/>\0", text, b"\0<c/>\0"].concat();
                assert_eq!(whole, Read { text: expected, answers: b"\x8a\x05first\x8a\x00".into(), end: None });
                assert_eq!(in_pieces(input.concat().chunks(1)), whole);
            }
        }
        good(&masked(FIN | 9, &[7; 125]), b"", &[&[0x8a, 125][..], &[7; 125]].concat());
    }

    #[test]
    fn what_is_forbidden() {
        use FrameFault::*;
        for bit in [0x40, 0x20, 0x10] {
            fails(Reserved, 1002, &masked(TEXT | bit, b"x"));
        }
        for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
            fails(Opcode, 1002, &masked(FIN | opcode, b""));
        }
        fails(Binary, 1003, &masked(FIN | 2, b"x"));
        fails(Unmasked, 1002, b"\x81\x01x");
        fails(Unmasked, 1002, b"\x81\x00");
        fails(Unmasked, 1002, b"\x89\x00");
        let header =
            |length: &[u8]| [&[TEXT, MASKED | if length.len() == 2 { 126 } else { 127 }], length, &[0; 4]].concat();
        fails(Length, 1002, &header(&[0, 125]));
        fails(Length, 1002, &header(&[0, 0, 0, 0, 0, 0, 0xff, 0xff]));
        fails(Length, 1002, &header(&[0x80, 0, 0, 0, 0, 1, 0, 0]));
        fails(Control, 1002, &masked(FIN | 9, &[b'x'; 126]));
        fails(Control, 1002, &masked(9, b""));
        fails(Control, 1002, &masked(8, b""));
        fails(Order, 1002, &masked(0, b""));
        fails(Order, 1002, &masked(FIN, b""));
        fails(Order, 1002, &[masked(1, b"<b>"), masked(TEXT, b"<c/>")].concat());
        fails(Order, 1002, &[masked(1, b""), masked(1, b"")].concat());
        fails(Text, 1007, &masked(TEXT, b"\0"));
        fails(Text, 1007, &masked(TEXT, b"<b/>\0<c/>"));
        fails(Text, 1007, &[masked(1, b"<b/>"), masked(FIN, b"\0")].concat());
    }

    #[test]
    fn text_is_utf8() {
        let wrong: [&[u8]; 9] = [
            b"\x80",
            b"a\xff",
            b"\xc0\x80",
            b"\xc3a",
            b"\xe2\x82a",
            b"\xed\xa0\x80",
            b"\xf0\x9f\x98a",
            b"\xf4\x90\x80\x80",
            b"\xc3\0",
        ];
        for text in wrong {
            fails(FrameFault::Text, 1007, &masked(TEXT, text));
            for at in 0..=text.len() {
                fails(FrameFault::Text, 1007, &[masked(1, &text[..at]), masked(FIN, &text[at..])].concat());
            }
        }
        // A character has to end in its message.
        for text in ["é", "€", "\u{1f600}"].map(str::as_bytes) {
            for len in 1..text.len() {
                fails(FrameFault::Text, 1007, &masked(TEXT, &text[..len]));
                fails(FrameFault::Text, 1007, &[masked(1, &text[..len]), masked(FIN, b"")].concat());
            }
        }
    }

    #[test]
    fn a_message_has_a_limit() {
        let most = vec![b'x'; MESSAGE_BYTES as usize];
        let whole = [&most[..], b"\0"].concat();
        let input = [masked(TEXT, &most), masked(TEXT, &most)].concat();
        assert_eq!(in_pieces(input.chunks(10_000)), Read { text: whole.repeat(2), ..Read::default() });
        // It is refused by its header alone.
        let header = |length: u64| [&[TEXT, MASKED | LENGTH_64][..], &length.to_be_bytes(), &[0; 4]].concat();
        fails(FrameFault::TooBig, 1009, &header(MESSAGE_BYTES + 1));
        fails(FrameFault::TooBig, 1009, &header(u64::MAX >> 1));
        let more = [masked(1, &most), masked(0, b""), masked(0, b"x")].concat();
        let read = in_pieces([&more[..]]);
        assert_eq!(
            (read.end, read.answers),
            (Some(FrameFault::TooBig.into()), closing(1009, FrameFault::TooBig.text()))
        );
    }

    #[test]
    fn close_frames() {
        let payload = |code: u16, reason: &[u8]| [&code.to_be_bytes()[..], reason].concat();
        let closed = |sent: &[u8], answer: &[u8]| {
            let input = [masked(TEXT, b"<a/>"), masked(FIN | 8, sent), masked(TEXT, b"<b/>")].concat();
            let expected = Read { text: b"<a/>\0".into(), answers: answer.into(), end: Some(FramesEnd::Closed) };
            assert_eq!(read(&input), expected, "{sent:?}");
        };
        closed(b"", b"\x88\x00");
        for code in [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999] {
            closed(&payload(code, "bye é".as_bytes()), &[b"\x88\x02", &code.to_be_bytes()[..]].concat());
        }
        for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535] {
            fails(FrameFault::CloseCode, 1002, &masked(FIN | 8, &payload(code, b"")));
        }
        fails(FrameFault::CloseCode, 1002, &masked(FIN | 8, b"\x03"));
        fails(FrameFault::Text, 1007, &masked(FIN | 8, &payload(1000, b"\xc3")));
        // A reason is cut between characters.
        assert_eq!(closing(NORMAL, &"é".repeat(100)), [&[0x88, 124, 0x03, 0xe8], "é".repeat(61).as_bytes()].concat());
    }

    /// What thousands of connections have while they are idle.
    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Frames>() <= 8 && size_of::<TextFrames>() <= 1);
        let mut frames = Frames::default();
        let (mut text, mut answers) = (Vec::new(), Vec::new());
        for byte in [masked(TEXT, b"<a/>"), masked(FIN | 9, b"x")].concat() {
            frames.read(&[byte], &mut text, &mut answers).unwrap();
        }
        assert!(frames.incomplete.is_none() && !text.is_empty() && !answers.is_empty());
    }

    /// The messages in frames of ours, and how many frames there are.
    fn written(mut frames: &[u8]) -> (Vec<u8>, usize) {
        let (mut text, mut count, mut is_inside) = (Vec::new(), 0, false);
        while let [first, second, rest @ ..] = frames {
            assert_eq!(first & !FIN, u8::from(!is_inside), "the first is text, others are continuations");
            let (len, rest) = match *second {
                126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
                short => (usize::from(short), rest),
            };
            assert!(*second != 126 || len > 125);
            text.extend_from_slice(&rest[..len]);
            is_inside = first & FIN == 0;
            text.extend((!is_inside).then_some(END));
            frames = &rest[len..];
            count += 1;
        }
        (text, count)
    }

    #[test]
    fn a_message_is_one_frame_if_it_fits() {
        let lens = [1, 125, 126, 300, 16_000, 200, 16_380, 5, 16_381, 40_000, 4];
        let text = lens.map(|len| "x".repeat(len) + "\0").concat();
        let (mut rest, mut frames) = (text.as_bytes(), Vec::new());
        let mut writer = TextFrames::default();
        while !rest.is_empty() {
            let before = frames.len();
            rest = &rest[writer.write(rest, &mut frames)..];
            assert!((1..=WRITE_BYTES).contains(&(frames.len() - before)));
        }
        // 16,381 needs one more, 40,000 two.
        assert_eq!(written(&frames), (text.into_bytes(), lens.len() + 3));
    }

    #[test]
    fn what_is_written_does_not_depend_on_how_it_is_given() {
        let text = "<a/>\0<b>é</b>\0\0".to_owned() + &"x".repeat(300) + "\0<c/>\0";
        for size in 1..text.len() {
            let (mut frames, mut writer) = (Vec::new(), TextFrames::default());
            for piece in text.as_bytes().chunks(size) {
                assert_eq!(writer.write(piece, &mut frames), piece.len());
            }
            assert_eq!(written(&frames).0, text.as_bytes(), "{size}");
        }
        let mut frames = Vec::new();
        assert_eq!(TextFrames::default().write(b"", &mut frames), 0);
        assert!(frames.is_empty());
    }
}
