//! A stream before TLS (RFC 6120 §5): it can say `<starttls/>` and nothing else. No stanza can pass, because there is no
//! code here that makes one.

use super::header::{self, Declared};
use super::random::Random;
use super::{Event, Mono, PLAIN_BYTES, Terms, UNAUTHENTICATED_MS, small_limits};
use crate::wire::{Frame, Framer, Ns, Raw, StreamCondition, StreamError};
use std::sync::Arc;

/// The stream of a connection that has no TLS yet.
#[derive(Debug)]
pub struct Plain {
    framer: Framer,
    line: PlainLine,
}

/// All but the framer, which lends out what is looked at.
#[derive(Debug)]
struct PlainLine {
    terms: Arc<Terms>,
    random: Random,
    declared: Declared,
    /// When the connection was accepted.
    since: Mono,
    /// Bytes read.
    taken: usize,
    /// Our header is out.
    opened: bool,
    /// Nothing is read any more.
    over: bool,
}

impl Plain {
    /// A fresh connection. `random`: unpredictable, for the stream id.
    pub fn new(terms: Arc<Terms>, now: Mono, random: [u8; 32]) -> Plain {
        Plain {
            framer: Framer::new(small_limits(PLAIN_BYTES)),
            line: PlainLine {
                terms,
                random: Random::new(random),
                declared: Declared::default(),
                since: now,
                taken: 0,
                opened: false,
                over: false,
            },
        }
    }

    /// Takes bytes from the front of `input`, appends what is to be written to `out`, up to the next event or the end of `input`.
    /// After [`Event::StartTls`] and [`Event::Closed`] whatever else is in `input` is dropped unread.
    pub fn next(&mut self, _now: Mono, input: &mut &[u8], out: &mut String) -> Option<Event> {
        let line = &mut self.line;
        while !line.over {
            let mut rest = *input;
            let frame = self.framer.next(&mut rest);
            let used = input.len() - rest.len();
            line.taken = line.taken.saturating_add(used);
            *input = &input[used..];
            let event = match frame {
                Ok(_) if line.taken > PLAIN_BYTES => Err(StreamCondition::PolicyViolation.into()),
                Ok(Some(frame)) => line.frame(frame, out),
                Ok(None) => return None,
                Err(error) => Err(error),
            };
            let event = event.unwrap_or_else(|error| Some(line.end(Some(&error), out)));
            if event.is_some() {
                if line.over {
                    *input = &[];
                }
                return event;
            }
        }
        *input = &[];
        None
    }

    /// When [`Plain::expired`] is to be called, if nothing comes before.
    pub fn deadline(&self) -> Mono {
        if self.line.over { Mono::MAX } else { self.line.since.saturating_add(UNAUTHENTICATED_MS) }
    }

    /// The time is over: the stream error.
    pub fn expired(&mut self, now: Mono, out: &mut String) -> Option<Event> {
        (now >= self.deadline()).then(|| self.line.end(Some(&StreamCondition::ConnectionTimeout.into()), out))
    }

    /// The server ends: `system-shutdown` and the like.
    pub fn close(&mut self, error: &StreamError, out: &mut String) {
        if !self.line.over {
            self.line.end(Some(error), out);
        }
    }
}

impl PlainLine {
    fn frame(&mut self, frame: Frame<'_>, out: &mut String) -> Result<Option<Event>, StreamError> {
        match frame {
            Frame::Open(open) => {
                let header = header::read(open, &self.terms.domain)?;
                header::write(&self.terms.domain, &self.random.token(), Some(&header), out);
                self.opened = true;
                self.declared = header.declared;
                out.push_str(
                    "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>\
                     </stream:features>",
                );
                Ok(None)
            }
            Frame::Element(xml) => self.element(xml, out),
            Frame::Close => Ok(Some(self.end(None, out))),
        }
    }

    fn element(&mut self, xml: &str, out: &mut String) -> Result<Option<Event>, StreamError> {
        let raw = Raw::parse(xml, self.declared.scope())?;
        match (raw.root().ns(), raw.root().name()) {
            (Ns::TLS, "starttls") => {
                out.push_str("<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
                self.over = true;
                Ok(Some(Event::StartTls))
            }
            (Ns::SASL, "auth") => {
                // RFC 6120 §6.5.4. The stream ends too: who sends secrets in the open shall not go on.
                out.push_str("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><encryption-required/></failure>");
                Err(StreamError::new(StreamCondition::PolicyViolation).text("STARTTLS comes first"))
            }
            (Ns::CLIENT, "message" | "presence" | "iq") => {
                Err(StreamError::new(StreamCondition::NotAuthorized).text("STARTTLS comes first"))
            }
            (Ns::STREAM, "error") => {
                self.end(None, out);
                Ok(Some(Event::Closed { clean: false }))
            }
            _ => Err(StreamCondition::UnsupportedStanzaType.into()),
        }
    }

    /// Ends the stream; a header comes first, if none is out yet (RFC 6120 §4.9.1.2).
    fn end(&mut self, error: Option<&StreamError>, out: &mut String) -> Event {
        if !self.opened {
            header::write(&self.terms.domain, &self.random.token(), None, out);
        }
        header::write_end(error, out);
        self.over = true;
        Event::Closed { clean: error.is_none() }
    }
}
