//! The stream of one connection between servers.

use super::incoming::Incoming;
use super::line::{Event, Evidence, Line, Managing, Purpose, ServerTerms};
use super::outgoing::Outgoing;
use super::{SERVER_STANZA_BYTES, SERVER_UNPROVED_BYTES};
use crate::stream::{Mono, PLAIN_BYTES, small_limits, stanza_limits};
use crate::wire::framer::Limits;
use crate::wire::{DomainPair, Framer, Manage, Proof, Refusal, Stanza, StreamCondition, StreamError};
use std::sync::Arc;

/// The stream of one connection, before TLS or behind it.
#[derive(Debug)]
pub struct S2s {
    framer: Framer,
    line: Line,
    end: End,
    /// Stanzas of their full size may come.
    wide: bool,
}

/// Which end of it is ours.
#[derive(Debug)]
enum End {
    Incoming(Incoming),
    Outgoing(Box<Outgoing>),
}

impl S2s {
    /// Of who was dialled then. `evidence`: who the peer is, as TLS knows it; without there is no TLS yet. `random`: unpredictable, for
    /// the stream's id.
    pub fn incoming(
        terms: Arc<ServerTerms>,
        evidence: Option<Box<dyn Evidence>>,
        since: Mono,
        random: [u8; 32],
    ) -> S2s {
        S2s::new(terms, evidence, since, random, End::Incoming(Incoming::default()))
    }

    /// Of who has dialled. The peer is told something first: see [`S2s::begin`].
    pub fn outgoing(
        terms: Arc<ServerTerms>,
        evidence: Option<Box<dyn Evidence>>,
        since: Mono,
        random: [u8; 32],
        purpose: Purpose,
    ) -> S2s {
        S2s::new(terms, evidence, since, random, End::Outgoing(Box::new(Outgoing::new(purpose))))
    }

    fn new(
        terms: Arc<ServerTerms>,
        evidence: Option<Box<dyn Evidence>>,
        since: Mono,
        random: [u8; 32],
        end: End,
    ) -> S2s {
        let bytes = if evidence.is_some() { SERVER_UNPROVED_BYTES } else { PLAIN_BYTES };
        let framer = Framer::new(small_limits(bytes));
        S2s { framer, line: Line::new(terms, evidence, since, random), end, wide: false }
    }

    /// Writes the header of a stream that we have dialled; call it once, first. It may be over at once.
    pub fn begin(&mut self, out: &mut String) -> Option<Event> {
        match &mut self.end {
            End::Incoming(_) => None,
            End::Outgoing(end) => end.begin(&mut self.line, out),
        }
    }

    /// Takes bytes from the front of `input`, appends what is to be written to `out`, up to the next event or the end of `input`. Nothing
    /// is taken while [`S2s::waits`]. Call it until it gives `None`.
    pub fn next(&mut self, now: Mono, input: &mut &[u8], out: &mut String) -> Option<Event> {
        if !input.is_empty() {
            self.line.heard = now;
        }
        loop {
            if self.line.over {
                *input = &[];
                return None;
            }
            if self.waits() {
                return None;
            }
            let mut rest = *input;
            let frame = self.framer.next(&mut rest);
            let used = input.len() - rest.len();
            *input = &input[used..];
            let frame = match (self.line.spend(used, self.wide), frame) {
                (Err(error), _) | (Ok(()), Err(error)) => Err(error),
                (Ok(()), Ok(None)) => return None,
                (Ok(()), Ok(Some(frame))) => match &mut self.end {
                    End::Incoming(end) => end.frame(&mut self.line, frame, out),
                    End::Outgoing(end) => end.frame(&mut self.line, frame, out),
                },
            };
            let event = frame.unwrap_or_else(|error| self.fail(&error, out));
            self.after();
            if event.is_some() {
                return event;
            }
        }
    }

    /// What the peer says breaks the rules.
    fn fail(&mut self, error: &StreamError, out: &mut String) -> Option<Event> {
        let closed = self.line.end(Some(error), out);
        match &mut self.end {
            End::Incoming(_) => Some(closed),
            End::Outgoing(end) => end.broken(error),
        }
    }

    /// What a step means for what comes next.
    fn after(&mut self) {
        let (restarts, open) = match &self.end {
            End::Incoming(end) => (end.restarts(), !self.line.pairs.is_empty()),
            End::Outgoing(end) => (end.restarts(), end.is_open()),
        };
        if restarts && self.line.opened {
            self.framer.reset();
            self.line.opened = matches!(self.end, End::Outgoing(_));
        }
        if open && !self.wide {
            self.wide = true;
            self.framer.set_limits(Limits { element_bytes: SERVER_STANZA_BYTES, ..stanza_limits() });
        }
    }

    /// Whether the answer to [`Event::Proved`] or [`Event::Resume`] has to come first.
    pub fn waits(&self) -> bool {
        matches!(&self.end, End::Incoming(end) if end.waits()) || self.line.managing == Managing::Resuming
    }

    /// The answer to [`Event::Proved`] and to [`Event::Key`]: what proves it, or why it may not.
    pub fn judged(&mut self, pair: &DomainPair, answer: Result<Proof, Refusal>, out: &mut String) -> Option<Event> {
        if self.line.over {
            return None;
        }
        let End::Incoming(end) = &mut self.end else { return None };
        let event = end.judged(&mut self.line, pair, answer, out);
        self.after();
        event
    }

    /// Writes a stanza to the peer.
    pub fn send(&mut self, now: Mono, stanza: &Stanza, out: &mut String) {
        let open = match &self.end {
            End::Incoming(_) => self.line.both,
            End::Outgoing(end) => end.is_open(),
        };
        if open && !self.line.over {
            self.line.heard = now;
            stanza.write(None, out);
        }
    }

    /// Writes an element of stream management.
    pub fn manage(&mut self, now: Mono, element: &Manage, out: &mut String) {
        if !self.line.over {
            self.line.manage(now, element, out);
        }
    }

    /// Bytes of an element whose end has not come.
    pub fn held_bytes(&self) -> usize {
        self.framer.held_bytes()
    }

    /// When [`S2s::expired`] is to be called, if nothing comes before.
    pub fn deadline(&self) -> Mono {
        match &self.end {
            _ if self.line.over => Mono::MAX,
            End::Incoming(end) => end.deadline(&self.line),
            End::Outgoing(end) => end.deadline(&self.line),
        }
    }

    /// The time is over.
    pub fn expired(&mut self, now: Mono, out: &mut String) -> Option<Event> {
        if now < self.deadline() {
            return None;
        }
        match &mut self.end {
            End::Incoming(_) => Some(self.line.end(Some(&StreamCondition::ConnectionTimeout.into()), out)),
            End::Outgoing(end) => end.expired(&mut self.line, now, out),
        }
    }

    /// We end the stream; appends the error and the end tag, once.
    pub fn close(&mut self, error: Option<&StreamError>, out: &mut String) {
        if !self.line.over {
            self.line.end(error, out);
        }
    }
}

impl Line {
    /// Counts what was read before something was proved.
    fn spend(&mut self, used: usize, wide: bool) -> Result<(), StreamError> {
        if wide {
            return Ok(());
        }
        self.taken = self.taken.saturating_add(used);
        let most = if self.evidence.is_some() { SERVER_UNPROVED_BYTES } else { PLAIN_BYTES };
        if self.taken > most { Err(StreamCondition::PolicyViolation.into()) } else { Ok(()) }
    }
}
