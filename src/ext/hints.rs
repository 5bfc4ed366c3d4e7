//! XEP-0334: Message Processing Hints. What they say is done by those who keep and copy messages: `offline`, `carbons`.

use crate::core::{About, Extension};
use crate::wire::{Ns, Stanza, Type};

pub(super) struct Hints;

impl Extension for Hints {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0334",
            name: "Message Processing Hints",
            version: "1.0.0",
            missing: "store on headlines",
            server: &[],
            account: &[],
            iq: &[],
        }
    }
}

/// Whether a message has this hint. An error has none: what is in it is likely the message that it answers (§5).
pub(super) fn has(message: &Stanza, hint: &str) -> bool {
    message.ty != Type::Error && message.child(Ns::HINTS, hint).is_some()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;

    #[test]
    fn errors_have_no_hints() {
        let parse = |ty| {
            let xml = format!("<message type='{ty}'><no-store xmlns='urn:xmpp:hints'/><store/></message>");
            Stanza::parse(&xml, Scope::client()).unwrap().unwrap()
        };
        assert!(has(&parse("chat"), "no-store"));
        assert!(!has(&parse("chat"), "store"), "of another namespace");
        assert!(!has(&parse("error"), "no-store"));
    }
}
