//! Why a server elsewhere cannot be reached.

/// What its stanzas get as an error, and words for a person.
pub type Unreachable = crate::wire::Refusal;
