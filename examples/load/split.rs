//! Where a stanza ends, and what little this program needs to know of it: bytes are scanned, no tree is built.

use memchr::memmem::{Finder, find};
use memchr::{memchr, memrchr};
use std::sync::LazyLock;

/// How long the first unit of `bytes` is: a stanza, a stream header, a declaration or the end of the stream. `None` while more has
/// to come. Servers escape `>` in attributes, and send no comments and no CDATA here.
pub fn unit(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0;
    let mut at = 0;
    loop {
        let open = at + memchr(b'<', &bytes[at..])?;
        let close = open + memchr(b'>', &bytes[open..])?;
        at = close + 1;
        match bytes[open + 1] {
            b'?' => return Some(at),
            b'/' if depth <= 1 => return Some(at),
            b'/' => depth -= 1,
            _ if bytes[close - 1] == b'/' && depth == 0 => return Some(at),
            _ if bytes[close - 1] == b'/' => {}
            _ if bytes[open..].starts_with(b"<stream:stream") => return Some(at),
            _ => depth += 1,
        }
    }
}

/// Whether it is a stanza that stream management counts (XEP-0198 §4).
pub fn counted(stanza: &[u8]) -> bool {
    stanza.starts_with(b"<message") || stanza.starts_with(b"<presence") || stanza.starts_with(b"<iq")
}

/// Whether `part` is somewhere in it.
pub fn has(stanza: &[u8], part: &str) -> bool {
    find(stanza, part.as_bytes()).is_some()
}

/// What stands between `before` and the next `after`.
pub fn between<'a>(stanza: &'a [u8], before: &str, after: u8) -> Option<&'a str> {
    let start = find(stanza, before.as_bytes())? + before.len();
    let end = start + memchr(after, &stanza[start..])?;
    std::str::from_utf8(&stanza[start..end]).ok()
}

/// An attribute of the start tag.
pub fn attribute<'a>(stanza: &'a [u8], name: &str) -> Option<&'a str> {
    let tag = &stanza[..memchr(b'>', stanza)?];
    let name = format!(" {name}=");
    let start = find(tag, name.as_bytes())? + name.len();
    let quote = *tag.get(start)?;
    let end = start + 1 + memchr(quote, &tag[start + 1..])?;
    std::str::from_utf8(&tag[start + 1..end]).ok()
}

/// The text of the last element `<name>`, whatever its attributes.
pub fn text<'a>(stanza: &'a [u8], name: &str) -> Option<&'a str> {
    let end = find(stanza, format!("</{name}>").as_bytes())?;
    let start = memrchr(b'>', &stanza[..end])? + 1;
    std::str::from_utf8(&stanza[start..end]).ok()
}

/// What a text of this program says of itself, in places of fixed width: which run it belongs to, which line (a pair, say), its
/// number there, and when it was sent, in nanoseconds since the run began.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mark {
    pub run: u32,
    pub line: u32,
    pub number: u32,
    pub sent: u64,
}

/// `~RRRRRRRR~LLLLLLLL~NNNNNNNN~SSSSSSSSSSSSSSSS~`
pub const MARK_BYTES: usize = 45;

static START: LazyLock<Finder<'_>> = LazyLock::new(|| Finder::new(">~"));

impl Mark {
    /// Writes it into a place of `MARK_BYTES` that [`Mark::place`] found.
    pub fn write(&self, at: &mut [u8]) {
        at.fill(b'~');
        hex(&mut at[1..9], self.run.into());
        hex(&mut at[10..18], self.line.into());
        hex(&mut at[19..27], self.number.into());
        hex(&mut at[28..44], self.sent);
    }

    /// Where the mark is.
    pub fn place(stanza: &[u8]) -> Option<usize> {
        START.find(stanza).map(|at| at + 1)
    }

    /// The mark of a stanza of the run `run`.
    pub fn read(stanza: &[u8], run: u32) -> Option<Mark> {
        let at = Mark::place(stanza)?;
        let text = stanza.get(at..at + MARK_BYTES)?;
        let mark = Mark {
            run: unhex(&text[1..9]) as u32,
            line: unhex(&text[10..18]) as u32,
            number: unhex(&text[19..27]) as u32,
            sent: unhex(&text[28..44]),
        };
        (mark.run == run).then_some(mark)
    }
}

fn hex(at: &mut [u8], mut value: u64) {
    for digit in at.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(value & 15) as usize];
        value >>= 4;
    }
}

fn unhex(text: &[u8]) -> u64 {
    text.iter().fold(0, |sum, b| sum << 4 | u64::from(if *b > b'9' { b - b'a' + 10 } else { b - b'0' } & 15))
}
