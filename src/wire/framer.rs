//! Finds where a top-level element of a stream ends, whatever the chunking, in one pass and within limits.
//!
//! It looks at quotes, angle brackets and CDATA only; whether an element is well-formed is [`super::xml`]'s to say.

use super::error::StreamError;

/// What one element may cost. Passing a limit is `policy-violation` (RFC 6120 §4.9.3.14).
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of one top-level element, or of the stream header.
    pub element_bytes: usize,
    /// Levels of nesting.
    pub depth: usize,
    /// Elements in one top-level element.
    pub elements: usize,
    /// Attributes of one element.
    pub attributes: usize,
}

/// A piece of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame<'a> {
    /// The stream's start tag, with what stood before it: an XML declaration or white space.
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
}

impl Framer {
    /// A framer that waits for a stream header.
    pub fn new(limits: Limits) -> Framer {
        Framer { limits }
    }

    /// Other limits from the next element on: there are wider ones after authentication.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Forgets everything: the next thing is a stream header (a restart, RFC 6120 §4.3.3).
    pub fn reset(&mut self) {}

    /// Takes bytes from the front of `input` up to the end of the next piece. `None`: all was taken, more is needed.
    /// White space between elements is skipped. A piece that lies whole in `input` is not copied.
    pub fn next<'a>(&'a mut self, input: &mut &'a [u8]) -> Result<Option<Frame<'a>>, StreamError> {
        let _ = (input, self.limits);
        todo!()
    }
}
