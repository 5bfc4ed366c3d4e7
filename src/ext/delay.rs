//! XEP-0203: Delayed Delivery. A note that this server delayed a message is only believed when this server made it.

use crate::core::{About, Extension, Flow, Handled, State};
use crate::wire::{Jid, Kind, Ns, Stanza, stamp};

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

    fn arrive(&mut self, st: &mut State, _local: &str, stanza: &mut Stanza) -> Handled {
        if stanza.kind == Kind::Message {
            // §5: the recipient's server discards those in its own name.
            let domain = st.domain();
            stanza.cut(|c| {
                let ours = |from: &str| Jid::parse(from).is_ok_and(|from| from == *domain);
                c.is(Ns::DELAY, "delay") && c.attr("from").is_some_and(|from| ours(&from))
            });
        }
        Ok(Flow::Pass)
    }
}

/// The note that this server held back a message since it came, which its [`Stanza::mark`] tells.
pub(super) fn note(st: &State, mark: u64) -> String {
    format!("<delay xmlns='urn:xmpp:delay' from='{}' stamp='{}'/>", st.domain(), stamp::format(mark / 1000))
}
