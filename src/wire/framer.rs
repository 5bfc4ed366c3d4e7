//! Finds where a top-level element of a stream ends, whatever the chunking, in one pass and within limits.
//!
//! It looks at quotes, angle brackets and CDATA only; whether an element is well-formed is [`super::xml`]'s to say. The
//! pieces it hands out are the stream without a byte left out but white space, so what is well-formed in each piece is
//! well-formed in the whole.

use super::error::{StreamCondition, StreamError};
use memchr::{memchr, memchr2, memrchr};
use std::ops::ControlFlow;

/// What stands behind each message of a stream that comes in messages ([`Framer::of_messages`]): no XML has this character.
pub const END: u8 = 0;

/// What one element may cost. Passing a limit is `policy-violation` (RFC 6120 §4.9.3.14).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one top-level element, or of the stream header.
    pub element_bytes: usize,
    /// Levels of nesting, the top-level element being the first.
    pub depth: usize,
    /// Elements in one top-level element, itself included.
    pub elements: usize,
    /// Attributes of one element.
    pub attributes: usize,
}

/// A piece of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// The stream's start tag, with the XML declaration that stood before it. To be read by [`super::xml::Raw::header`].
    Open(&'a str),
    /// A whole top-level element.
    Element(&'a str),
    /// The stream's end tag.
    Close,
}

/// The framer of one stream. Owns bytes only while an element is incomplete.
#[derive(Debug)]
pub struct Framer {
    limits: Limits,
    /// The beginning of a piece that is not complete, or the piece that was handed out last.
    held: Vec<u8>,
    /// Whether `held` was handed out.
    given: bool,
    place: Place,
    at: At,
    /// The elements that are open, without the stream's.
    depth: usize,
    /// Of the piece at hand.
    elements: usize,
    /// Of the start tag at hand.
    attributes: usize,
    /// The name in the stream's start tag: its end tag must have the same.
    name: Box<str>,
    #[cfg(test)]
    looked_at: usize,
}

/// Where in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Before the end of the stream's start tag.
    Header,
    /// Inside the stream.
    Body,
    /// Behind the stream's end tag.
    Closed,
    /// In a stream that has no tags of its own: each piece is a message.
    Message,
}

/// Where in the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    /// At the first byte of a piece.
    First,
    /// Between the XML declaration and the stream's start tag, or the element of a message.
    Declared,
    /// In an element.
    Text,
    /// Behind `<`; whether it is the first of a piece.
    Less(bool),
    /// In a start tag; whether the last byte was `/`.
    Tag(bool),
    /// In an attribute value, with its quote.
    Quoted(u8),
    /// In an end tag.
    EndTag,
    /// Behind `<!` and so many bytes of [`CDATA`].
    Bang(usize),
    /// In a CDATA section, behind so many `]`, at most two.
    Cdata(u8),
    /// Behind `<?` and so many bytes of [`DECLARATION`].
    Question(usize),
    /// In the XML declaration; whether the last byte was `?`.
    Declaration(bool),
    /// Behind the element of a message.
    Behind,
}

/// What a CDATA section begins with, behind `<!`.
const CDATA: &[u8] = b"[CDATA[";

/// What the XML declaration begins with, behind `<?`; white space follows.
const DECLARATION: &[u8] = b"xml";

impl Framer {
    /// A framer that waits for a stream header.
    pub fn new(limits: Limits) -> Framer {
        Framer {
            limits,
            held: Vec::new(),
            given: false,
            place: Place::Header,
            at: At::First,
            depth: 0,
            elements: 0,
            attributes: 0,
            name: "".into(),
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// A framer of a stream whose elements are messages, each with [`END`] behind it (RFC 7395 §3.3.3). It gives [`Frame::Element`] only, with
    /// the XML declaration that may stand before it and the white space behind it. What is not one element is `not-well-formed`.
    pub fn of_messages(limits: Limits) -> Framer {
        Framer { place: Place::Message, ..Framer::new(limits) }
    }

    /// Other limits from the next element on: there are wider ones after authentication.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets everything: the next thing is a stream header (a restart, RFC 6120 §4.3.3).
    pub fn reset(&mut self) {
        *self = match self.place {
            Place::Message => Framer::of_messages(self.limits),
            _ => Framer::new(self.limits),
        };
    }

    /// How many bytes of an incomplete element it holds.
    pub fn held_bytes(&self) -> usize {
        if self.given { 0 } else { self.held.len() }
    }

    /// Takes bytes from the front of `input` up to the end of the next piece. `None`: all was taken, more is needed.
    /// White space between elements is skipped, and all that follows the stream's end tag. A piece that lies whole in `input`
    /// is not copied. Errors: `policy-violation`, `restricted-xml`, `unsupported-encoding`, `not-well-formed`; the stream has
    /// ended then, and nothing more may be asked.
    pub fn next<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Result<Option<Frame<'a>>, StreamError> {
        if self.given {
            // Not cleared: an idle connection owns no buffer.
            self.held = Vec::new();
            self.given = false;
        }
        match self.place {
            Place::Message => return self.message(input),
            Place::Closed => *input = &[],
            _ => {}
        }
        if self.at == At::First {
            let spaces = input.iter().take_while(|b| is_space(**b)).count();
            *input = &input[spaces..];
        }
        if input.is_empty() {
            return Ok(None);
        }
        // One byte more than fits is enough to know that it does not.
        let room = self.limits.element_bytes.saturating_sub(self.held.len());
        let window = &input[..input.len().min(room.saturating_add(1))];
        let found = self.scan(window)?;
        let len = found.unwrap_or(window.len());
        if len > room {
            return Err(policy("the element is too long"));
        }
        let (piece, rest) = input.split_at(len);
        *input = rest;
        if found.is_none() || !self.held.is_empty() {
            self.hold(piece);
        }
        if found.is_none() {
            return Ok(None);
        }
        let closing = self.at == At::EndTag && self.depth == 0 && self.elements == 0;
        self.given = !self.held.is_empty();
        self.at = At::First;
        self.elements = 0;
        let bytes = if self.given { &self.held } else { piece };
        // RFC 6120 §4.9.3.22: a violation of the rules of UTF-8, too.
        let text = str::from_utf8(bytes).map_err(|_| error(StreamCondition::UnsupportedEncoding))?;
        if self.place == Place::Header {
            self.place = Place::Body;
            self.name = tag_name(text).into();
            return Ok(Some(Frame::Open(text)));
        }
        if closing {
            self.place = Place::Closed;
            let name = text.strip_prefix("</").and_then(|text| text.strip_suffix('>')).unwrap_or("");
            if name.trim_end_matches([' ', '\t', '\r', '\n']) != &*self.name {
                return Err(error(StreamCondition::NotWellFormed));
            }
            return Ok(Some(Frame::Close));
        }
        Ok(Some(Frame::Element(text)))
    }

    /// The next message. Its end is given, and its element must end there.
    fn message<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Result<Option<Frame<'a>>, StreamError> {
        let end = memchr(END, input);
        let piece = &input[..end.unwrap_or(input.len())];
        let room = self.limits.element_bytes.saturating_sub(self.held.len());
        self.scan(&piece[..piece.len().min(room.saturating_add(1))])?;
        if piece.len() > room {
            return Err(policy("the element is too long"));
        }
        let Some(end) = end else {
            *input = &[];
            self.hold(piece);
            return Ok(None);
        };
        if self.at != At::Behind {
            return Err(error(StreamCondition::NotWellFormed));
        }
        *input = &input[end + 1..];
        if !self.held.is_empty() {
            self.hold(piece);
        }
        self.given = !self.held.is_empty();
        self.at = At::First;
        self.elements = 0;
        let bytes = if self.given { &self.held } else { piece };
        let text = str::from_utf8(bytes).map_err(|_| error(StreamCondition::UnsupportedEncoding))?;
        Ok(Some(Frame::Element(text)))
    }

    /// Keeps the beginning of a piece, with room for twice as much but never for more than an element may have.
    fn hold(&mut self, bytes: &[u8]) {
        let need = self.held.len() + bytes.len();
        if need > self.held.capacity() {
            let room = self.held.capacity().saturating_mul(2).clamp(need, self.limits.element_bytes.max(need));
            self.held.reserve_exact(room - self.held.len());
        }
        self.held.extend_from_slice(bytes);
    }

    /// Looks at each byte once. Where the piece ends, if it ends here.
    fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, StreamError> {
        let mut i = 0;
        while i < bytes.len() {
            #[cfg(test)]
            let before = i;
            let rest = &bytes[i..];
            // Runs of bytes that mean nothing are skipped as a whole; all else is one byte at a time.
            let skip = match self.at {
                At::Text => memchr(b'<', rest),
                // Names are short: what is faster for long runs is slower here.
                At::Tag(_) => rest.iter().position(|b| matches!(b, b'>' | b'\'' | b'"')),
                At::Quoted(quote) => memchr2(quote, b'<', rest),
                At::EndTag => rest.iter().position(|b| *b == b'>'),
                At::Cdata(0) => memchr(b']', rest),
                _ => Some(0),
            };
            let skipped = skip.unwrap_or(rest.len());
            if let (At::Tag(slash), 1..) = (&mut self.at, skipped) {
                *slash = rest[skipped - 1] == b'/';
            }
            i += skipped;
            let done = match bytes.get(i) {
                Some(b) => {
                    i += 1;
                    self.byte(*b)?.is_break()
                }
                None => false,
            };
            #[cfg(test)]
            {
                self.looked_at += i - before;
            }
            if done {
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    /// One byte that may mean something. Breaks if it is the last of a piece.
    fn byte(&mut self, b: u8) -> Result<ControlFlow<()>, StreamError> {
        const WRONG: StreamCondition = StreamCondition::NotWellFormed;
        const RESTRICTED: StreamCondition = StreamCondition::RestrictedXml;
        self.at = match (self.at, b) {
            (At::First, b'<') => At::Less(true),
            // UTF-16 and UTF-32, with or without a byte order mark.
            (At::First, 0 | 0xfe | 0xff) if self.place == Place::Header => {
                return Err(error(StreamCondition::UnsupportedEncoding));
            }
            (At::First, _) => return Err(error(WRONG)),
            (At::Declared, b'<') => At::Less(false),
            (At::Declared, b) if is_space(b) => At::Declared,
            (At::Declared, _) => return Err(error(WRONG)),
            (At::Text, _) => At::Less(false),

            (At::Less(_), b'/') if self.place == Place::Body => At::EndTag,
            (At::Less(_), b'!') => At::Bang(0),
            (At::Less(_), b'/') if self.place == Place::Message && self.depth > 0 => At::EndTag,
            (At::Less(true), b'?') if matches!(self.place, Place::Header | Place::Message) => At::Question(0),
            (At::Less(_), b'?') => return Err(error(RESTRICTED)),
            (At::Less(_), b'/' | b'<' | b'>' | b'\'' | b'"') => return Err(error(WRONG)),
            (At::Less(_), _) => {
                self.attributes = 0;
                self.elements += 1;
                if self.elements > self.limits.elements {
                    return Err(policy("too many elements"));
                }
                if self.depth >= self.limits.depth {
                    return Err(policy("elements are nested too deep"));
                }
                At::Tag(false)
            }

            (At::Tag(slash), b'>') => return self.tag_end(slash),
            (At::Tag(_), quote) => {
                self.attributes += 1;
                if self.attributes > self.limits.attributes {
                    return Err(policy("too many attributes"));
                }
                At::Quoted(quote)
            }
            (At::Quoted(_), b'<') => return Err(error(WRONG)),
            (At::Quoted(_), _) => At::Tag(false),

            (At::EndTag, _) => match self.depth {
                // The stream's own.
                0 => return Ok(ControlFlow::Break(())),
                depth => {
                    self.depth = depth - 1;
                    if self.depth == 0 {
                        return Ok(self.element_end());
                    }
                    At::Text
                }
            },

            (At::Bang(0), b) if b != b'[' => return Err(error(RESTRICTED)),
            (At::Bang(n), b) if self.depth == 0 || b != CDATA[n] => return Err(error(WRONG)),
            (At::Bang(n), _) if n + 1 == CDATA.len() => At::Cdata(0),
            (At::Bang(n), _) => At::Bang(n + 1),
            (At::Cdata(2), b'>') => At::Text,
            (At::Cdata(n), b']') => At::Cdata(2.min(n + 1)),
            (At::Cdata(_), _) => At::Cdata(0),

            (At::Question(n), b) if n == DECLARATION.len() && is_space(b) => At::Declaration(false),
            (At::Question(n), b) if DECLARATION.get(n) == Some(&b) => At::Question(n + 1),
            (At::Question(_), _) => return Err(error(RESTRICTED)),
            (At::Declaration(true), b'>') => At::Declared,
            (At::Declaration(_), b'<' | b'>') => return Err(error(WRONG)),
            (At::Declaration(_), b) => At::Declaration(b == b'?'),
            (At::Behind, b) if is_space(b) => At::Behind,
            (At::Behind, _) => return Err(error(WRONG)),
        };
        Ok(ControlFlow::Continue(()))
    }

    /// The `>` of a start tag.
    fn tag_end(&mut self, empty: bool) -> Result<ControlFlow<()>, StreamError> {
        if self.place == Place::Header {
            // An empty element is no stream.
            return if empty { Err(error(StreamCondition::NotWellFormed)) } else { Ok(ControlFlow::Break(())) };
        }
        if !empty {
            self.depth += 1;
        } else if self.depth == 0 {
            return Ok(self.element_end());
        }
        self.at = At::Text;
        Ok(ControlFlow::Continue(()))
    }

    /// The end of a top-level element: that of a piece, but for a message.
    fn element_end(&mut self) -> ControlFlow<()> {
        if self.place != Place::Message {
            return ControlFlow::Break(());
        }
        self.at = At::Behind;
        ControlFlow::Continue(())
    }
}

/// The name in the stream's start tag, which is the last thing in `text`.
fn tag_name(text: &str) -> &str {
    let start = memrchr(b'<', text.as_bytes()).map_or(0, |at| at + 1);
    let tag = &text[start..];
    &tag[..tag.bytes().position(|b| is_space(b) || b == b'>').unwrap_or(tag.len())]
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

fn error(condition: StreamCondition) -> StreamError {
    condition.into()
}

fn policy(text: &'static str) -> StreamError {
    StreamError::new(StreamCondition::PolicyViolation).text(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use StreamCondition::*;

    const LIMITS: Limits = Limits { element_bytes: 4096, depth: 8, elements: 50, attributes: 8 };
    const OPEN: &str = "<?xml version='1.0'?><stream:stream to='a>b' xmlns=\"jabber:client\" xmlns:stream='s'>";

    /// All pieces of a stream that comes in chunks of these sizes, as text; a close is the empty one.
    fn frames(
        stream: &[u8],
        limits: Limits,
        mut size: impl FnMut() -> usize,
    ) -> (Vec<String>, Option<StreamCondition>) {
        let mut framer = Framer::new(limits);
        let mut out = Vec::new();
        let mut rest = stream;
        while !rest.is_empty() {
            let (mut chunk, behind) = rest.split_at(size().clamp(1, rest.len()));
            rest = behind;
            loop {
                match framer.next(&mut chunk) {
                    Ok(Some(Frame::Open(text) | Frame::Element(text))) => out.push(text.into()),
                    Ok(Some(Frame::Close)) => out.push(String::new()),
                    Ok(None) => break,
                    Err(e) => return (out, Some(e.condition)),
                }
            }
            assert!(chunk.is_empty(), "all is taken");
            assert!(framer.held.capacity() <= limits.element_bytes);
        }
        (out, None)
    }

    fn xorshift(seed: &mut u64) -> usize {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 7;
        *seed ^= *seed << 17;
        *seed as usize
    }

    /// Whole, byte by byte, and in chunks of random sizes.
    fn whatever_the_chunking(stream: &[u8], limits: Limits) -> (Vec<String>, Option<StreamCondition>) {
        let whole = frames(stream, limits, || usize::MAX);
        assert_eq!(frames(stream, limits, || 1), whole, "byte by byte: {}", String::from_utf8_lossy(stream));
        let mut seed = 88_172_645_463_325_252;
        for max in [2, 3, 7, 20, 100] {
            for _ in 0..20 {
                let random = frames(stream, limits, || 1 + xorshift(&mut seed) % max);
                assert_eq!(random, whole, "{}", String::from_utf8_lossy(stream));
            }
        }
        whole
    }

    fn fails(condition: StreamCondition, streams: &[&str]) {
        for stream in streams {
            assert_eq!(whatever_the_chunking(stream.as_bytes(), LIMITS).1, Some(condition), "{stream}");
        }
    }

    fn body(condition: StreamCondition, bodies: &[&str]) {
        for text in bodies {
            fails(condition, &[&format!("{OPEN}{text}")]);
        }
    }

    #[test]
    fn pieces() {
        let elements = [
            "<a/>",
            "<a></a>",
            "<a b='/'/>",
            "<a b='/>'></a>",
            "<a b=\"it's > '\" c='\"'><b/><c><d/></c>text ] ]] > ]></a >",
            "<a><![CDATA[ </a> <b> ]] ]> ]]]]><![CDATA[>]]]></a>",
            "<a>\u{e9}\u{1f600}</a>",
            "<\u{e9}/>",
            "<a b='c'/ ></a>",
            "<a b=c></a>",
        ];
        let mut stream = format!(" \n{OPEN}");
        for element in elements {
            stream.push_str(element);
            stream.push_str([" ", "", "\r\n\t"][element.len() % 3]);
        }
        stream.push_str("</stream:stream\n> after <it> all is skipped");
        let expected: Vec<&str> = std::iter::once(OPEN).chain(elements).chain([""]).collect();
        assert_eq!(
            whatever_the_chunking(stream.as_bytes(), LIMITS),
            (expected.iter().map(|s| s.to_string()).collect(), None)
        );
    }

    /// All messages that come in chunks of these sizes.
    fn messages(stream: &str, limits: Limits, size: usize) -> Result<Vec<String>, StreamCondition> {
        let mut framer = Framer::of_messages(limits);
        let mut out = Vec::new();
        for mut chunk in stream.as_bytes().chunks(size) {
            while let Some(frame) = framer.next(&mut chunk).map_err(|e| e.condition)? {
                let Frame::Element(text) = frame else { panic!("{frame:?}") };
                out.push(text.to_owned());
            }
            assert!(chunk.is_empty(), "all is taken");
            assert!(framer.held.capacity() <= limits.element_bytes);
        }
        assert_eq!(framer.held_bytes(), 0);
        Ok(out)
    }

    /// RFC 7395 §3.3.3: a message is one element, and begins with it.
    #[test]
    fn a_message_is_one_element() {
        let messages = |stream: &str, limits: Limits| {
            let whole = messages(stream, limits, usize::MAX);
            for size in [1, 2, 3, 5, 7, 10, 100, 1000] {
                assert_eq!(messages(stream, limits, size), whole, "{size}: {stream:?}");
            }
            whole
        };
        let good = ["<a/>", "<a b='>'><a/>x<![CDATA[</a>]]></a>", "<?xml version='1.0'?> <a></a>", "<a/>\r\n ", "<é/>"];
        let all: String = good.iter().map(|message| format!("{message}\0")).collect();
        assert_eq!(messages(&all, LIMITS).unwrap(), good);
        let parts = ["", " ", " <a/>", "a", "<a", "<a>", "<a></a", "</a>", "<a/><a/>", "<a/>a", "<a b='", "<![CDATA["];
        for (condition, wrong) in [
            (NotWellFormed, &parts[..]),
            (NotWellFormed, &["<?xml version='1.0'?></a>", "<a/><!-- -->", "<a/>\u{feff}", "<?xml version='1.0'?>"]),
            (RestrictedXml, &["<!-- --><a/>", "<?php ?><a/>", "<a><?php ?></a>", "<!DOCTYPE a><a/>"]),
        ] {
            for message in wrong {
                assert_eq!(messages(&format!("<a/>\0{message}\0"), LIMITS), Err(condition), "{message:?}");
            }
        }
        let deep = format!("{}{}", "<a>".repeat(9), "</a>".repeat(9));
        let many = format!("<a>{}</a>", "<a/>".repeat(50));
        let wide = format!("<a{}/>", (0..9).map(|n| format!(" a{n}=''")).collect::<String>());
        for message in [deep, many, wide, format!("<a>{}</a>", "x".repeat(4096))] {
            assert_eq!(messages(&format!("{message}\0"), LIMITS), Err(PolicyViolation), "{message:?}");
        }
        let most = format!("<a>{}</a>", "x".repeat(4096 - 7));
        assert_eq!(messages(&format!("{most}\0<a/>\0"), LIMITS).unwrap(), [&*most, "<a/>"]);
    }

    #[test]
    fn a_whole_piece_is_not_copied() {
        let mut framer = Framer::new(LIMITS);
        let stream = format!("{OPEN}<a/><b>");
        let mut input = stream.as_bytes();
        for at in [0, OPEN.len()] {
            match framer.next(&mut input).unwrap() {
                Some(Frame::Open(text) | Frame::Element(text)) => {
                    assert_eq!(text.as_ptr() as usize, stream.as_ptr() as usize + at)
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((framer.held_bytes(), framer.held.capacity()), (0, 0));
        assert_eq!(framer.next(&mut input), Ok(None));
        assert_eq!(framer.held_bytes(), 3);
        let mut input = &b"</b>"[..];
        assert_eq!(framer.next(&mut input), Ok(Some(Frame::Element("<b></b>"))));
        assert_eq!(framer.held_bytes(), 0);
        assert_eq!(framer.next(&mut input), Ok(None));
        assert_eq!(framer.held.capacity(), 0, "an idle connection owns no buffer");
    }

    #[test]
    fn not_well_formed() {
        fails(
            NotWellFormed,
            &[
                "x",
                "</a>",
                "<stream/>",
                "<>",
                "<<a>",
                "<a b='<'>",
                "<'a'>",
                "\u{feff}<a>",
                "<?xml <a>",
                "<?xml ?>x<a>",
                "<![CDATA[]]><a>",
            ],
        );
        body(
            NotWellFormed,
            &[
                "x",
                "<a/>x",
                "&#32;",
                "</stream>",
                "</</stream:stream>",
                "</stream:strea>",
                "</stream:stream2>",
                "</ stream:stream>",
                "</>",
                "<![CDATA[x]]>",
            ],
        );
        body(
            NotWellFormed,
            &[
                "<a><![CDATA x]]></a>",
                "<a><![x",
                "<a><![[CDATA[",
                "<a b='</a>'/>",
                "<a><<",
                "<a></a><![CDATA[]]>",
                "<a x'y<",
            ],
        );
    }

    #[test]
    fn restricted() {
        fails(
            RestrictedXml,
            &[
                "<!-- -->",
                "<!DOCTYPE a>",
                "<?xy",
                "<? ",
                "<?xml?>",
                "<?xmlx",
                "<?xm>",
                "<?XML ",
                "<?xml ?><?xml ",
                "<?xml ?><!--",
            ],
        );
        body(
            RestrictedXml,
            &[
                "<!--",
                "<!D",
                "<?x",
                "<?xml ",
                "<a><!--",
                "<a>x<!DOCTYPE",
                "<a><?",
                "<a><?xml version='1.0'?>",
                "<a><b/><!>",
            ],
        );
    }

    #[test]
    fn encodings() {
        for bytes in [&b"\xff\xfe<\0a\0"[..], b"\xfe\xff\0<\0a", b"\0<\0a"] {
            assert_eq!(whatever_the_chunking(bytes, LIMITS).1, Some(UnsupportedEncoding));
        }
        for bad in [&b"\x80"[..], b"\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xff"] {
            let stream = [OPEN.as_bytes(), b"<a>", bad, b"</a>"].concat();
            assert_eq!(whatever_the_chunking(&stream, LIMITS), (vec![OPEN.to_string()], Some(UnsupportedEncoding)));
        }
    }

    #[test]
    fn a_restart() {
        let mut framer = Framer::new(LIMITS);
        let stream = format!("{OPEN}<a/>{OPEN}<b/></stream:stream>");
        let mut input = stream.as_bytes();
        assert_eq!(framer.next(&mut input), Ok(Some(Frame::Open(OPEN))));
        assert_eq!(framer.next(&mut input), Ok(Some(Frame::Element("<a/>"))));
        framer.reset();
        assert_eq!(framer.next(&mut input), Ok(Some(Frame::Open(OPEN))));
        assert_eq!(framer.next(&mut input), Ok(Some(Frame::Element("<b/>"))));
        assert_eq!(framer.next(&mut input), Ok(Some(Frame::Close)));
        assert_eq!(framer.next(&mut &b"<c/>"[..]), Ok(None));
        framer.reset();
        assert_eq!(framer.next(&mut &b"<c>"[..]), Ok(Some(Frame::Open("<c>"))));
        assert_eq!(framer.next(&mut &b"</c>"[..]), Ok(Some(Frame::Close)));
    }

    #[test]
    fn limits_are_exact() {
        let element = |n: usize| format!("<a>{}</a>", "x".repeat(n - 7));
        let ok = |text: &str| {
            assert_eq!(whatever_the_chunking(format!("{OPEN}{text}").as_bytes(), LIMITS).1, None, "{text}")
        };
        ok(&element(4096));
        ok(&format!("{}{}", element(4096), element(4096)));
        body(PolicyViolation, &[&element(4097), &format!("<a/>{}", element(5000))]);
        ok(&format!("{}{}", "<a>".repeat(8), "</a>".repeat(8)));
        ok(&format!("{}<b/>{}", "<a>".repeat(7), "</a>".repeat(7)));
        body(PolicyViolation, &[&"<a>".repeat(9), &format!("{}<b/>", "<a>".repeat(8))]);
        ok(&format!("<a>{}</a>", "<b/>".repeat(49)));
        ok(&format!("<a>{}</a><a>{}</a>", "<b/>".repeat(49), "<b></b>".repeat(49)));
        body(PolicyViolation, &[&format!("<a>{}", "<b/>".repeat(50))]);
        let attributes = |n: usize| (0..n).map(|i| format!(" a{i}='{i}'")).collect::<String>();
        ok(&format!("<a{0}><b{0}/></a>", attributes(8)));
        body(PolicyViolation, &[&format!("<a{}", attributes(9)), &format!("<a><b{}", attributes(9))]);
        // The header as well, with what stands before it.
        fails(
            PolicyViolation,
            &[
                &format!("<a{}>", attributes(9)),
                &format!("<a b='{}", "x".repeat(4092)),
                &format!("<?xml {}", "x".repeat(4091)),
            ],
        );
        assert_eq!(whatever_the_chunking(format!("<a b='{}'>", "x".repeat(4088)).as_bytes(), LIMITS).1, None);
        // White space between elements costs nothing.
        ok(&" ".repeat(10_000));
    }

    /// The error comes with the first byte too many, not at the end of the element, and nothing is kept behind it.
    #[test]
    fn a_limit_ends_it_at_once() {
        let mut framer = Framer::new(LIMITS);
        assert!(framer.next(&mut OPEN.as_bytes()).unwrap().is_some());
        let mut taken = 0;
        let error = loop {
            let byte: &[u8] = if taken < 3 { &b"<a>"[taken..taken + 1] } else { b"x" };
            match framer.next(&mut &*byte) {
                Ok(None) => taken += 1,
                other => break other.unwrap_err(),
            }
        };
        assert_eq!((error.condition, taken), (PolicyViolation, 4096));
        assert!(framer.held.capacity() <= 4096);
        let mut framer = Framer::new(LIMITS);
        let huge = format!("{OPEN}<a>{}", "x".repeat(1 << 20));
        let mut input = huge.as_bytes();
        assert!(framer.next(&mut input).unwrap().is_some());
        assert!(framer.next(&mut input).is_err());
        assert!(framer.looked_at < OPEN.len() + 5000 && framer.held.is_empty());
    }

    #[test]
    fn wider_limits() {
        let mut framer = Framer::new(LIMITS);
        let long = format!("{OPEN}<a>{}</a>", "x".repeat(5000));
        let mut input = long.as_bytes();
        assert!(framer.next(&mut input).unwrap().is_some());
        framer.set_limits(Limits { element_bytes: 10_000, ..LIMITS });
        assert!(framer.next(&mut input).unwrap().is_some());
        // Narrower ones than what is held already.
        assert_eq!(framer.next(&mut &[b"<a>", &[b'x'; 5000][..]].concat()[..]), Ok(None));
        framer.set_limits(LIMITS);
        assert_eq!(framer.next(&mut &b"y"[..]).unwrap_err().condition, PolicyViolation);
    }

    /// A slow sender must not make it look at anything twice. Bytes are counted, not time.
    #[test]
    fn work_grows_with_the_bytes_alone() {
        let limits = Limits { element_bytes: 1 << 20, depth: 8, elements: 1 << 20, attributes: 8 };
        let parts = ["<b c='d>' e=\"'\"/>", "text ] ]] > text", "<![CDATA[ ] ]] <x> ]]>", "<c></c>"].concat();
        let element = format!("<a>{}</a>", parts.repeat((256 << 10) / parts.len()));
        let stream = format!("{OPEN}{element}");
        let mut framer = Framer::new(limits);
        let mut found = 0;
        for byte in stream.as_bytes().chunks(1) {
            found += usize::from(framer.next(&mut &*byte).unwrap().is_some());
        }
        assert_eq!((found, framer.looked_at), (2, stream.len()));
    }
}
