//! How a client's stream lies on what carries it: on TCP it is one XML document from the start tag to the end tag (RFC 6120 §4); on a
//! WebSocket each of its elements is a message, and a document of its own (RFC 7395 §3.3). Both say the same, and the state machine
//! above does not know which of them it speaks.
//!
//! Whoever carries messages puts [`END`] behind each in what is read, and finds it behind each in what is to be written: it is a character
//! that no XML has.

use super::header::{self, Declared, Header};
use crate::wire::framer::{END, Limits};
use crate::wire::{Framer, Jid, Raw, StreamError};
use std::sync::Arc;

/// What separates the elements of a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Framing {
    /// Nothing: they are found by their end tags.
    Tcp,
    /// Each is a message of a WebSocket.
    WebSocket,
}

impl Framing {
    /// What finds them.
    pub(super) fn framer(self, limits: Limits) -> Framer {
        match self {
            Framing::Tcp => Framer::new(limits),
            Framing::WebSocket => Framer::of_messages(limits),
        }
    }

    /// One of them, read where it stands: inside the stream's start tag, or on its own.
    pub(super) fn parse(self, xml: &str, declared: &Declared) -> Result<Arc<Raw>, StreamError> {
        match self {
            Framing::Tcp => Raw::parse(xml, declared.scope()),
            Framing::WebSocket => Raw::document(xml),
        }
    }

    /// The default namespace that a stanza has to declare itself.
    pub(super) fn content(self) -> Option<&'static str> {
        match self {
            Framing::Tcp => None,
            Framing::WebSocket => Some("jabber:client"),
        }
    }

    /// The start tag of the stream features.
    pub(super) fn features(self) -> &'static str {
        match self {
            Framing::Tcp => "<stream:features>",
            Framing::WebSocket => "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>",
        }
    }

    /// Appends our header, which answers this one.
    pub(super) fn open(self, domain: &Jid, id: &str, peer: Option<&Header>, out: &mut String) {
        match self {
            Framing::Tcp => header::write(domain, id, peer, out),
            Framing::WebSocket => header::write_open(domain, id, peer, out),
        }
        self.end(out);
    }

    /// Appends the end of our side of a stream: the error, if there is one, and what closes it (RFC 6120 §4.4, RFC 7395 §3.6).
    pub(super) fn close(self, error: Option<&StreamError>, out: &mut String) {
        if self == Framing::Tcp {
            return header::write_end(error, out);
        }
        self.end(out);
        if let Some(error) = error {
            error.write_alone(out);
            self.end(out);
        }
        out.push_str("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>");
        self.end(out);
    }

    /// Ends the element that was written last, if that was not done.
    pub(super) fn end(self, out: &mut String) {
        if self == Framing::WebSocket && !out.is_empty() && !out.ends_with(char::from(END)) {
            out.push(char::from(END));
        }
    }
}
