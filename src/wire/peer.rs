//! Which two domains speak to each other over a stream between servers, and what proves that the other side may speak for its own.

use super::{Condition, Jid, StanzaError};
use std::fmt;

/// A domain of ours and one of somebody else: what is said between them is proved, queued and kept in order on its own (XEP-0220 §1).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DomainPair {
    /// One that is served here.
    pub ours: Jid,
    /// The other server's.
    pub theirs: Jid,
}

impl fmt::Display for DomainPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and {}", self.ours, self.theirs)
    }
}

/// What proves that a server may speak for its domain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Proof {
    /// Its certificate names the domain, and somebody whom this box trusts has signed it (RFC 6120 §13.7.2).
    Certificate,
    /// Its key is the one that the owner has pinned for the domain.
    Pin,
    /// Whoever the domain's DNS names has said so (XEP-0220).
    Dialback,
    /// It knows the secret of this component (XEP-0114).
    Secret,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Proof::Certificate => "its certificate",
            Proof::Pin => "its pinned key",
            Proof::Dialback => "dialback",
            Proof::Secret => "its secret",
        })
    }
}

/// Why nothing came of a stream, or a peer may not have what it wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// What the senders of stanzas are told: `remote-server-not-found`, `remote-server-timeout` or `not-allowed` (RFC 6120 §8.3.3, §10.4), or
    /// what a peer is told of its key (XEP-0220 §2.5).
    pub condition: Condition,
    /// For people: which step failed and whose fault it is, a sentence without the full stop at its end.
    pub text: String,
}

impl Refusal {
    /// There is no such server, and it does not help to wait.
    pub fn gone(text: impl Into<String>) -> Refusal {
        Refusal { condition: Condition::RemoteServerNotFound, text: text.into() }
    }

    /// The server is there, or was: it may be reached another time.
    pub fn wait(text: impl Into<String>) -> Refusal {
        Refusal { condition: Condition::RemoteServerTimeout, text: text.into() }
    }

    /// This server does not go there.
    pub fn refused(text: impl Into<String>) -> Refusal {
        Refusal { condition: Condition::NotAllowed, text: text.into() }
    }

    /// As an error for those whose stanzas waited.
    pub fn error(&self) -> StanzaError {
        StanzaError::new(self.condition).text(self.text.clone())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
