//! A client's stream inside TLS: header, features, SASL, bind, stanzas (RFC 6120 §4 to §8).

use super::{Event, Mono, Terms, Tls};
use crate::wire::scram::Credentials;
use crate::wire::{Jid, Stanza, StanzaError, StreamError};
use std::sync::Arc;

/// The stream of a connection inside TLS.
#[derive(Debug)]
pub struct C2s {}

impl C2s {
    /// A connection whose handshake is done; `since` is when it was accepted: the time before authentication counts from there.
    /// `random`: unpredictable, for stream ids and nonces.
    pub fn new(terms: Arc<Terms>, tls: Tls, since: Mono, random: [u8; 32]) -> C2s {
        let _ = (terms, tls, since, random);
        todo!()
    }

    /// Takes bytes from the front of `input`, appends what is to be written to `out`, up to the next event or the end of `input`.
    /// After [`Event::Credentials`], [`Event::Bind`] and [`Event::Register`] call the answer first, then go on.
    pub fn next(&mut self, now: Mono, input: &mut &[u8], out: &mut String) -> Option<Event> {
        let _ = (now, input, out);
        todo!()
    }

    /// The answer to [`Event::Credentials`]; those of an unknown user are [`Credentials::fake`].
    pub fn credentials(&mut self, credentials: Credentials, out: &mut String) -> Option<Event> {
        let _ = (credentials, out);
        todo!()
    }

    /// The answer to [`Event::Bind`]: the full JID, or why not.
    pub fn bound(&mut self, answer: Result<Jid, StanzaError>, out: &mut String) {
        let _ = (answer, out);
        todo!()
    }

    /// Writes a stanza to the peer.
    pub fn send(&mut self, stanza: &Stanza, out: &mut String) {
        let _ = (stanza, out);
        todo!()
    }

    /// When [`C2s::expired`] is to be called, if nothing comes before.
    pub fn deadline(&self) -> Mono {
        todo!()
    }

    /// The time is over: a ping to a silent peer, or the end of the stream.
    pub fn expired(&mut self, now: Mono, out: &mut String) -> Option<Event> {
        let _ = (now, out);
        todo!()
    }

    /// The server ends the stream; `None` without an error. Appends the error and the end tag, once.
    pub fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        let _ = (error, out);
        todo!()
    }
}
