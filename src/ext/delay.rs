//! XEP-0203: Delayed Delivery. A note that this server delayed a message is only believed when this server made it.

use crate::core::{About, Extension, Flow, Handled, Sid, State};
use crate::wire::{Jid, Kind, Node, Ns, Stanza, stamp};

pub(super) struct Delay;

impl Extension for Delay {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0203",
            name: "Delayed Delivery",
            version: "2.0",
            missing: "",
            server: &[],
            account: &[],
            iq: &[],
        }
    }

    /// What a client says in the server's name: copies of the message would tell it to the others.
    fn leave(&mut self, st: &mut State, _sid: Sid, stanza: &mut Stanza) -> Handled {
        cut(st, stanza);
        Ok(Flow::Pass)
    }

    fn arrive(&mut self, st: &mut State, _local: &str, stanza: &mut Stanza) -> Handled {
        if cut(st, stanza) {
            // Not what its sender's archive has.
            stanza.mark = 0;
        }
        Ok(Flow::Pass)
    }
}

/// §5: the recipient's server discards those in its own name.
fn cut(st: &State, stanza: &mut Stanza) -> bool {
    if stanza.kind != Kind::Message || !stanza.may_have(Ns::DELAY) {
        return false;
    }
    let ours = |from: &str| Jid::parse(from).is_ok_and(|from| from == *st.domain());
    let forged = |c: Node<'_>| c.is(Ns::DELAY, "delay") && c.attr("from").is_some_and(|from| ours(&from));
    stanza.cut(forged)
}

/// The note that this server held back a message since it came, which its [`Stanza::mark`] tells.
pub(super) fn note(st: &State, mark: u64) -> String {
    format!("<delay xmlns='urn:xmpp:delay' from='{}' stamp='{}'/>", st.domain(), stamp::format(st.stamp(mark)))
}
