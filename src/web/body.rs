//! What follows the head of a request (RFC 9112 §6, §7): as long as it says, or in chunks.

use super::answer::Status;
use super::request::BadRequest;

/// The longest line before a chunk, in bytes: its length and extensions that nobody reads.
const CHUNK_LINE_BYTES: usize = 256;
/// What may follow the last chunk, in bytes.
const TRAILER_BYTES: usize = 4 * 1024;

/// How it is known where it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framed {
    /// Nothing follows.
    Nothing,
    /// After so many bytes.
    Length(u64),
    /// Each chunk says how long it is.
    Chunked,
}

impl Framed {
    /// By the fields of a request, their names in lower case. `is_latest`: it is of HTTP/1.1.
    ///
    /// # Errors
    /// When two readers could see different ends (RFC 9112 §11.2).
    pub(super) fn of(fields: &[(String, String)], is_latest: bool) -> Result<Framed, BadRequest> {
        let only = |name: &str| {
            let mut values = fields.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str());
            match (values.next(), values.next()) {
                (_, Some(_)) => Err(bad("the length of what follows is told twice")),
                (value, None) => Ok(value),
            }
        };
        match (only("content-length")?, only("transfer-encoding")?) {
            (Some(_), Some(_)) => Err(bad("the length of what follows is told twice")),
            (None, None) => Ok(Framed::Nothing),
            (Some(length), None) => {
                let is_number = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
                let length = length.parse().ok().filter(|_| is_number);
                length.map(Framed::Length).ok_or(bad("Content-Length is no number"))
            }
            (None, Some(_)) if !is_latest => Err(bad("HTTP/1.0 has no Transfer-Encoding")),
            (None, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Ok(Framed::Chunked),
            (None, Some(_)) => Err(BadRequest(Status::NotImplemented, "the only Transfer-Encoding is chunked")),
        }
    }
}

const fn bad(why: &'static str) -> BadRequest {
    BadRequest(Status::BadRequest, why)
}

/// Reads what follows.
#[derive(Debug)]
pub struct Body(Part);

#[derive(Debug)]
enum Part {
    /// So many bytes of content, all that there are or those of a chunk.
    Content {
        left: u64,
        chunked: bool,
    },
    /// The digits before a chunk, so many bytes of its line.
    Size {
        read: usize,
        size: Option<u64>,
    },
    /// Extensions behind these.
    Extension {
        read: usize,
        size: u64,
    },
    /// LF of that line.
    Begins {
        size: u64,
    },
    /// CR LF behind a chunk: what is next of it.
    Behind(u8),
    /// Fields behind the last chunk: so many bytes, of which so many of the last line, and whether CR was the last one.
    Trailer {
        read: usize,
        line: usize,
        cr: bool,
    },
    Done,
}

impl Body {
    /// What follows a request.
    pub fn new(framed: Framed) -> Body {
        Body(match framed {
            Framed::Nothing | Framed::Length(0) => Part::Done,
            Framed::Length(left) => Part::Content { left, chunked: false },
            Framed::Chunked => Part::SIZE,
        })
    }

    /// Whether all was read.
    pub fn is_done(&self) -> bool {
        matches!(self.0, Part::Done)
    }

    /// Takes what belongs to it from the front of `input`, and gives the next piece of its content; nothing, if there is none in it.
    ///
    /// # Errors
    /// When it is not as it should be.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, BadRequest> {
        while let (false, Some(byte)) = (self.is_done(), input.first().copied()) {
            if let Part::Content { left, chunked } = &mut self.0 {
                let n = usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                let (piece, rest) = input.split_at(n);
                *input = rest;
                *left -= n as u64;
                if *left == 0 {
                    self.0 = if *chunked { Part::Behind(b'\r') } else { Part::Done };
                }
                return Ok(Some(piece));
            }
            *input = &input[1..];
            self.0 = std::mem::replace(&mut self.0, Part::Done).with(byte)?;
        }
        Ok(None)
    }
}

impl Part {
    const SIZE: Part = Part::Size { read: 0, size: None };

    /// With one more byte that is no content.
    fn with(self, byte: u8) -> Result<Part, BadRequest> {
        const LINE: BadRequest = bad("a line does not end in CR LF");
        Ok(match self {
            Part::Size { read: CHUNK_LINE_BYTES.., .. } | Part::Extension { read: CHUNK_LINE_BYTES.., .. } => {
                return Err(bad("the line before a chunk is too long"));
            }
            Part::Size { size: Some(size), .. } if byte == b'\r' => Part::Begins { size },
            Part::Size { read, size: Some(size) } if b"; \t".contains(&byte) => Part::Extension { read, size },
            Part::Size { read, size } => {
                let digit = char::from(byte).to_digit(16).ok_or(bad("a chunk has no length"))?;
                let more = size.unwrap_or_default();
                if more >> 60 > 0 {
                    return Err(bad("a chunk is too long"));
                }
                Part::Size { read: read + 1, size: Some(more << 4 | u64::from(digit)) }
            }
            Part::Extension { size, .. } if byte == b'\r' => Part::Begins { size },
            Part::Extension { .. } if byte == b'\n' => return Err(LINE),
            Part::Extension { read, size } => Part::Extension { read: read + 1, size },
            Part::Begins { size: 0 } if byte == b'\n' => Part::Trailer { read: 0, line: 0, cr: false },
            Part::Begins { size } if byte == b'\n' => Part::Content { left: size, chunked: true },
            Part::Begins { .. } => return Err(LINE),
            Part::Behind(b'\r') if byte == b'\r' => Part::Behind(b'\n'),
            Part::Behind(b'\n') if byte == b'\n' => Part::SIZE,
            Part::Behind(_) => return Err(bad("a chunk is longer than it says")),
            Part::Trailer { read: TRAILER_BYTES.., .. } => return Err(bad("too much follows the last chunk")),
            Part::Trailer { line: 0, cr: true, .. } if byte == b'\n' => Part::Done,
            Part::Trailer { read, cr: true, .. } if byte == b'\n' => {
                Part::Trailer { read: read + 1, line: 0, cr: false }
            }
            Part::Trailer { cr, .. } if cr || byte == b'\n' => return Err(LINE),
            Part::Trailer { read, line, .. } if byte == b'\r' => Part::Trailer { read: read + 1, line, cr: true },
            Part::Trailer { read, line, .. } => Part::Trailer { read: read + 1, line: line + 1, cr: false },
            part @ (Part::Content { .. } | Part::Done) => part,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The content, and what is left of the input.
    fn read(framed: Framed, text: &str, cut: usize) -> Result<(String, String, bool), BadRequest> {
        let mut body = Body::new(framed);
        let mut content = Vec::new();
        let mut left = String::new();
        for part in [&text[..cut], &text[cut..]] {
            let mut input = part.as_bytes();
            while let Some(piece) = body.next(&mut input)? {
                content.extend_from_slice(piece);
            }
            left.push_str(std::str::from_utf8(input).unwrap());
        }
        Ok((String::from_utf8(content).unwrap(), left, body.is_done()))
    }

    #[test]
    fn what_follows_ends_where_it_says() {
        let chunks = "4;x=\"y\"\r\nWiki\r\n5 \r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\nX: y\r\nZ: z\r\n\r\nGET /";
        for cut in 0..chunks.len() {
            let (content, left, done) = read(Framed::Chunked, chunks, cut).unwrap();
            assert_eq!(
                (content.as_str(), left.as_str(), done),
                ("Wikipedia in\r\n\r\nchunks.", "GET /", true),
                "{cut}"
            );
        }
        for cut in 0..=5 {
            assert_eq!(read(Framed::Length(5), "abcde", cut).unwrap(), ("abcde".into(), "".into(), true));
            assert_eq!(read(Framed::Length(3), "abcde", cut).unwrap(), ("abc".into(), "de".into(), true));
            assert_eq!(read(Framed::Length(6), "abcde", cut).unwrap(), ("abcde".into(), "".into(), false));
        }
        assert_eq!(read(Framed::Nothing, "abc", 1).unwrap(), ("".into(), "abc".into(), true));
        assert_eq!(read(Framed::Length(0), "abc", 1).unwrap(), ("".into(), "abc".into(), true));
        assert_eq!(read(Framed::Chunked, "0\r\n\r\nx", 1).unwrap(), ("".into(), "x".into(), true));
    }

    #[test]
    fn chunks_that_are_none() {
        let long = format!("1{}\r\nx", " ".repeat(CHUNK_LINE_BYTES));
        let zeros = format!("{}1\r\nx", "0".repeat(CHUNK_LINE_BYTES));
        let trailer = format!("0\r\n{}", "X: y\r\n".repeat(TRAILER_BYTES / 6 + 1));
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1\nx\r\n",
            "1\r\nxy",
            "1\r\nx\n",
            "1\r\nx\rx",
            "1\rx",
            "1;a\n",
            ";\r\n",
            "10000000000000000\r\n",
            "0\r\nX\n",
            "0\r\nX\rY",
            "0\r\n\n",
            "0\r\n\rx",
            &long,
            &zeros,
            &trailer,
        ] {
            assert!(read(Framed::Chunked, text, 0).is_err(), "{text:?}");
        }
    }
}
