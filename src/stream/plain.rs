//! A stream before TLS (RFC 6120 §5): it can say `<starttls/>` and nothing else. No stanza can pass, because there is no
//! code here that makes one.

use super::{Event, Mono, Terms};
use std::sync::Arc;

/// The stream of a connection that has no TLS yet.
#[derive(Debug)]
pub struct Plain {}

impl Plain {
    /// A fresh connection. `random`: unpredictable, for the stream id.
    pub fn new(terms: Arc<Terms>, now: Mono, random: [u8; 32]) -> Plain {
        let _ = (terms, now, random);
        todo!()
    }

    /// Takes bytes from the front of `input`, appends what is to be written to `out`, up to the next event or the end of `input`.
    pub fn next(&mut self, now: Mono, input: &mut &[u8], out: &mut String) -> Option<Event> {
        let _ = (now, input, out);
        todo!()
    }

    /// When [`Plain::expired`] is to be called, if nothing comes before.
    pub fn deadline(&self) -> Mono {
        todo!()
    }

    /// The time is over: the stream error.
    pub fn expired(&mut self, now: Mono, out: &mut String) -> Option<Event> {
        let _ = (now, out);
        todo!()
    }

    /// The server ends: `system-shutdown` and the like.
    pub fn close(&mut self, error: &crate::wire::StreamError, out: &mut String) {
        let _ = (error, out);
        todo!()
    }
}
