//! BYTES: framing, stanzas, XML, namespaces, addresses and errors. Knows nothing of sessions.

pub mod error;
pub mod feature;
pub mod framer;
pub mod host_name;
pub mod jid;
pub mod login;
pub mod ns;
pub mod peer;
pub mod punycode;
pub mod scram;
pub mod secret;
pub mod sm;
pub mod stamp;
pub mod stanza;
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
