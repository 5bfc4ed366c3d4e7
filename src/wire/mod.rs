//! BYTES: framing, stanzas, XML, namespaces, addresses and errors. Knows nothing of sessions.

#[cfg(test)]
pub(crate) mod dice;
pub(crate) mod error;
pub(crate) mod feature;
pub mod framer;
pub(crate) mod host_name;
pub(crate) mod jid;
pub mod login;
pub(crate) mod ns;
pub(crate) mod peer;
pub(crate) mod punycode;
pub mod scram;
pub(crate) mod secret;
pub(crate) mod sm;
pub mod stamp;
pub(crate) mod stanza;
pub mod typed;
pub mod xml;

pub use error::{Condition, ErrorType, StanzaError, StreamCondition, StreamError};
pub use feature::{Offer, StreamFeature};
pub use framer::{Frame, Framer};
pub use jid::{Jid, JidError};
pub use ns::Ns;
pub use peer::{DomainPair, Proof, Refusal};
pub use secret::Secret;
pub use sm::{Manage, ManageAnswer};
pub use stanza::{Kind, Stanza, Type};
pub use xml::{Node, Raw, Scope, Slice};
