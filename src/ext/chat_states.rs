//! XEP-0085: Chat State Notifications. A server hands them on; the one thing to know is which messages are nothing else.

use crate::core::{About, Extension};
use crate::wire::{Node, Ns, Stanza};

pub(super) struct ChatStates;

impl Extension for ChatStates {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0085",
            name: "Chat State Notifications",
            version: "2.1",
            missing: "",
            server: &[],
            account: &[],
            iq: &[],
        }
    }
}

/// Whether a message says nothing but who is typing (§2, "standalone notification"), or nothing at all: what belongs to every
/// message (thread, hints, ids) does not count.
pub(super) fn standalone(message: &Stanza) -> bool {
    message.children().all(says_nothing)
}

/// The same of one child.
pub(super) fn says_nothing(child: Node<'_>) -> bool {
    matches!(child.ns(), Ns::CHAT_STATES | Ns::HINTS | Ns::SID) || child.is(Ns::CLIENT, "thread")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;

    #[test]
    fn what_is_only_a_state() {
        let of = |body: &str| {
            let xml = format!("<message type='chat'>{body}</message>");
            standalone(&Stanza::parse(&xml, Scope::client()).unwrap().unwrap())
        };
        let state = "<composing xmlns='http://jabber.org/protocol/chatstates'/>";
        assert!(of(state));
        assert!(of(""));
        assert!(of(&format!("<thread>t</thread>{state}<no-store xmlns='urn:xmpp:hints'/>")));
        assert!(!of(&format!("<body>Hark</body>{state}")));
        assert!(!of("<received xmlns='urn:xmpp:receipts' id='1'/>"));
        assert!(!of("<body/>"));
    }
}
