//! Why a server elsewhere cannot be reached.

use crate::wire::Condition;
use std::fmt;

/// Why a domain cannot be reached: what its stanzas get as an error, and words for a person.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unreachable {
    /// `remote-server-not-found`, `remote-server-timeout` or `not-allowed` (RFC 6120 §8.3.3, §10.4).
    pub condition: Condition,
    /// What is wrong and whose fault it is: a sentence without the full stop at its end.
    pub text: String,
}

impl Unreachable {
    /// There is no such server, and it does not help to wait.
    pub fn gone(text: impl Into<String>) -> Unreachable {
        Unreachable { condition: Condition::RemoteServerNotFound, text: text.into() }
    }

    /// It may be there another time.
    pub fn wait(text: impl Into<String>) -> Unreachable {
        Unreachable { condition: Condition::RemoteServerTimeout, text: text.into() }
    }

    /// This server does not go there.
    pub fn refused(text: impl Into<String>) -> Unreachable {
        Unreachable { condition: Condition::NotAllowed, text: text.into() }
    }
}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Unreachable {}
