//! What both ends of a stream between servers have: whom it is for, what was proved, and what may be said.

use super::SERVER_MANAGED_MS;
use super::dialback::DialbackSecret;
use crate::stream::Mono;
use crate::stream::header::{self, ServerHeader};
use crate::stream::random::Random;
use crate::wire::xml::escape;
use crate::wire::{
    Condition, DomainPair, Jid, ManageAnswer, Node, Ns, Proof, Raw, Refusal, Scope, Slice, Stanza, StanzaError,
    StreamCondition, StreamError,
};
use std::collections::BTreeSet;
use std::fmt::{self, Write};
use std::sync::Arc;

/// What all streams between servers have in common; shared.
#[derive(Clone, Debug)]
pub struct ServerTerms {
    /// The domains that are served here: ours, and those of its services and components.
    pub domains: BTreeSet<Jid>,
    /// What keys of dialback are made of.
    pub secret: DialbackSecret,
}

/// What is known of who is at the other end of a TLS connection.
pub trait Evidence: fmt::Debug + Send {
    /// What proves that the peer may speak for a domain.
    ///
    /// # Errors
    /// Why it may not, for people.
    fn proves(&self, domain: &Jid) -> Result<Proof, String>;
}

/// What a stream was dialled for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// To say something. `keep`: it stays also when there is nothing to say.
    Stanzas {
        /// From whom to whom.
        pair: DomainPair,
        /// Whether it stays.
        keep: bool,
    },
    /// To ask whether a key is theirs that somebody has shown for this pair, on a stream that we call `id` (XEP-0220 §2.1.2).
    Verify {
        /// For which domains.
        pair: DomainPair,
        /// Our name of the stream.
        id: String,
        /// The key.
        key: String,
    },
}

impl Purpose {
    /// The domains.
    pub fn pair(&self) -> &DomainPair {
        match self {
            Purpose::Stanzas { pair, .. } | Purpose::Verify { pair, .. } => pair,
        }
    }
}

/// What a stream between servers tells the world around it.
#[derive(Debug)]
pub enum Event {
    /// STARTTLS was agreed on: write what is to be written, drop what else was read, make TLS, and go on with a new stream.
    StartTls,
    /// The peer has proved that it may speak for its domain. May it? Answer with [`super::S2s::judged`]; nothing is read until then if
    /// the stream waits.
    Proved(DomainPair, Proof),
    /// The peer shows a key of dialback instead (XEP-0220 §2.2.1). Answer with [`super::S2s::judged`].
    Key {
        /// For which domains.
        pair: DomainPair,
        /// What we call the stream.
        id: String,
        /// The key.
        key: String,
    },
    /// Stanzas of this pair may come from here on, on a stream that we have dialled they may be sent. `both`: both (XEP-0288).
    Open {
        /// For which domains.
        pair: DomainPair,
        /// What proves that the peer may speak for its own.
        proof: Proof,
        /// Whether stanzas go both ways.
        both: bool,
        /// Whether stream management may be had on it: whoever has dialled asks for it.
        manages: bool,
    },
    /// A server that has dialled us wants stream management (XEP-0198 §3), whether it wants to be able to resume, and for how many
    /// seconds at most.
    Enable {
        /// Whether.
        resume: bool,
        /// How long.
        max_s: Option<u32>,
    },
    /// It wants to carry on what was on another stream. Answer with [`super::S2s::manage`]; nothing is read until then.
    Resume {
        /// By this id.
        id: String,
        /// Our stanzas that it has handled.
        h: u32,
    },
    /// A server that we have dialled answers what we want of stream management.
    Managed(ManageAnswer),
    /// `<r/>`
    Acknowledge,
    /// `<a/>`: it has handled so many of our stanzas.
    Acknowledged(u32),
    /// What a stream that was dialled to ask has learnt: whether the key is theirs.
    Verified(bool),
    /// A stanza, between two addresses of a proved pair.
    Stanza(Stanza),
    /// Nothing came of a stream that we have dialled; it is over.
    Refused(Refusal),
    /// The stream is over, by their end tag, an error of theirs or of ours.
    Closed,
}

/// How far stream management is on one stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Managing {
    #[default]
    Off,
    /// The peer wants to carry on another stream: nothing is read until that is answered.
    Resuming,
    /// We have asked the peer then.
    Asked(Mono),
    On,
}

impl Managing {
    /// When a peer that was asked must have answered.
    pub(super) fn deadline(self) -> Option<Mono> {
        match self {
            Managing::Asked(since) => Some(since.saturating_add(SERVER_MANAGED_MS)),
            _ => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Line {
    pub(super) terms: Arc<ServerTerms>,
    pub(super) random: Random,
    /// Absent before TLS.
    pub(super) evidence: Option<Box<dyn Evidence>>,
    /// When the connection was made.
    pub(super) since: Mono,
    /// When a stanza last came or went, or a byte.
    pub(super) heard: Mono,
    /// Bytes read before anything was proved.
    pub(super) taken: usize,
    pub(super) scope: Scope,
    /// The language of stanzas that name none.
    pub(super) lang: Option<Slice>,
    /// Our header is out.
    pub(super) opened: bool,
    /// What the receiving side calls the stream.
    pub(super) id: String,
    /// Stanzas go both ways.
    pub(super) both: bool,
    /// For whom stanzas may come.
    pub(super) pairs: Vec<DomainPair>,
    pub(super) managing: Managing,
    pub(super) over: bool,
}

impl Line {
    pub(super) fn new(
        terms: Arc<ServerTerms>,
        evidence: Option<Box<dyn Evidence>>,
        since: Mono,
        random: [u8; 32],
    ) -> Line {
        Line {
            terms,
            random: Random::new(random),
            evidence,
            since,
            heard: since,
            taken: 0,
            scope: Scope::default(),
            lang: None,
            opened: false,
            id: String::new(),
            both: false,
            pairs: Vec::new(),
            managing: Managing::Off,
            over: false,
        }
    }

    /// Keeps what a header of the peer says of all that follows.
    pub(super) fn hears(&mut self, header: &mut ServerHeader) {
        self.scope = std::mem::take(&mut header.scope);
        self.lang = header.lang.as_deref().map(Stanza::lang_attribute);
    }

    /// Ends the stream; a header comes first, if none is out yet (RFC 6120 §4.9.1.2).
    pub(super) fn end(&mut self, error: Option<&StreamError>, out: &mut String) -> Event {
        if !self.opened {
            let id = self.random.token();
            header::write_server(None, None, Some(&id), out);
        }
        header::write_end(error, out);
        self.over = true;
        Event::Closed
    }

    /// What became of a question whether something can be proved.
    pub(super) fn proves(&self, domain: &Jid) -> Result<Proof, String> {
        match &self.evidence {
            Some(evidence) => evidence.proves(domain),
            None => Err("there is no TLS".into()),
        }
    }

    /// A stanza (RFC 6120 §8.1): both addresses are of a pair that was proved. What cannot be an answer's address costs the stream,
    /// another wrong address only the stanza.
    pub(super) fn stanza(&self, raw: Arc<Raw>, out: &mut String) -> Result<Option<Event>, StreamError> {
        let Some(mut stanza) = Stanza::from_raw(raw, &self.scope)? else {
            return Err(StreamCondition::UnsupportedStanzaType.into());
        };
        let Some(from) = stanza.from.clone().filter(|_| !stanza.bad_from) else {
            let condition =
                if stanza.bad_from { StreamCondition::InvalidFrom } else { StreamCondition::ImproperAddressing };
            return Err(StreamError::new(condition).text("a stanza between servers needs a 'from'"));
        };
        let mut of_theirs = self.pairs.iter().filter(|pair| pair.theirs.domain() == from.domain()).peekable();
        let Some(first) = of_theirs.peek().map(|pair| pair.ours.clone()) else {
            // RFC 6120 §8.1.2.2
            return Err(
                StreamError::new(StreamCondition::InvalidFrom).text("this stream does not speak for that domain")
            );
        };
        match &stanza.to {
            Some(to) if of_theirs.any(|pair| pair.ours.domain() == to.domain()) => {}
            Some(_) => {
                let error = StreamError::new(StreamCondition::ImproperAddressing);
                return Err(error.text("this stream is not for the domain in 'to'"));
            }
            None if stanza.bad_to => {
                stanza.to = Some(first);
                stanza.bad_to = false;
                let error = StanzaError::new(Condition::JidMalformed).text("the address in 'to' is not a JID");
                Stanza::error_of(&stanza, &error).iter().for_each(|error| error.write(None, out));
                return Ok(None);
            }
            None => {
                let error = StreamError::new(StreamCondition::ImproperAddressing);
                return Err(error.text("a stanza between servers needs a 'to'"));
            }
        }
        if let Some(lang) = &self.lang {
            stanza.default_lang(lang);
        }
        Ok(Some(Event::Stanza(stanza)))
    }

    /// Whether a key is ours, for who asks (XEP-0220 §2.2.2): nothing is remembered for that.
    pub(super) fn verify(&self, asked: Node<'_>, out: &mut String) -> Result<(), StreamError> {
        let (Some(from), Some(to), Some(id)) = (domain(asked, "from"), domain(asked, "to"), asked.attr("id")) else {
            return Err(StreamError::new(StreamCondition::ImproperAddressing).text("db:verify needs from, to and id"));
        };
        if !self.terms.domains.contains(&to) {
            write_dialback("verify", &to, &from, Some(&id), Err(Condition::ItemNotFound), out);
            return Ok(());
        }
        let valid = self.terms.secret.is_key(from.as_str(), to.as_str(), &id, asked.text().trim());
        write_dialback("verify", &to, &from, Some(&id), Ok(valid), out);
        Ok(())
    }
}

/// A domain in an attribute, if it is one.
pub(super) fn domain(node: Node<'_>, name: &str) -> Option<Jid> {
    Jid::parse(&node.attr(name)?).ok().filter(|jid| jid.local().is_none() && jid.is_bare())
}

/// Appends an answer of dialback.
pub(super) fn write_dialback(
    name: &str,
    from: &Jid,
    to: &Jid,
    id: Option<&str>,
    answer: Result<bool, Condition>,
    out: &mut String,
) {
    write_addressed(name, from, to, id, out);
    let _ = match answer {
        Ok(true) => out.write_str("' type='valid'/>"),
        Ok(false) => out.write_str("' type='invalid'/>"),
        Err(condition) => write!(
            out,
            "' type='error'><error type='{}'><{} xmlns='{}'/></error></db:{name}>",
            condition.usual_type().as_str(),
            condition.as_str(),
            Ns::STANZAS.uri()
        ),
    };
}

/// Appends a key of dialback, or the question whether one is right.
pub(super) fn write_key(name: &str, from: &Jid, to: &Jid, id: Option<&str>, key: &str, out: &mut String) {
    write_addressed(name, from, to, id, out);
    out.push_str("'>");
    escape(key, out);
    let _ = write!(out, "</db:{name}>");
}

/// Appends the start of an element of dialback, up to the end of its last attribute's value.
fn write_addressed(name: &str, from: &Jid, to: &Jid, id: Option<&str>, out: &mut String) {
    let _ = write!(out, "<db:{name} from='");
    escape(from.as_str(), out);
    out.push_str("' to='");
    escape(to.as_str(), out);
    if let Some(id) = id {
        out.push_str("' id='");
        escape(id, out);
    }
}
