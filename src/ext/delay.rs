//! XEP-0203: Delayed Delivery. A note that this server delayed a message is only believed when this server made it.

use crate::core::{About, Extension, Flow, Handled, SessionId, State};
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
    fn leave(&mut self, st: &mut State, _sid: SessionId, stanza: &mut Stanza) -> Handled {
        // Whoever delayed it says so: one without a name is for the receiver's server to make.
        cut(st, stanza, |from| from.is_none());
        Ok(Flow::Pass)
    }

    fn arrive(&mut self, st: &mut State, _local: &str, stanza: &mut Stanza) -> Handled {
        let bare = |jid: &Option<Jid>| jid.as_ref().map(Jid::bare);
        let (to, sender) = (bare(&stanza.to), bare(&stanza.from));
        // Nor does its receiver, but for what one sends to oneself.
        if cut(st, stanza, |from| from.is_some() && bare(&from) == to && to != sender) {
            // Not what its sender's archive has.
            stanza.mark = 0;
        }
        Ok(Flow::Pass)
    }
}

/// §5: the recipient's server discards those in its own name, and those for which `more` is true.
fn cut(st: &State, stanza: &mut Stanza, more: impl Fn(Option<Jid>) -> bool) -> bool {
    if stanza.kind != Kind::Message || !stanza.may_have(Ns::DELAY) {
        return false;
    }
    let forged = |c: Node<'_>| {
        let from = c.attr("from").and_then(|from| Jid::parse(&from).ok());
        c.is(Ns::DELAY, "delay") && (from.as_ref() == Some(st.domain()) || more(from))
    };
    stanza.cut(forged)
}

/// The note that this server held back a message since it came, which its [`Stanza::mark`] tells.
pub(super) fn note(st: &State, mark: u64) -> String {
    format!("<delay xmlns='urn:xmpp:delay' from='{}' stamp='{}'/>", st.domain(), stamp::format(st.stamp(mark)))
}
