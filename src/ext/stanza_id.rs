//! XEP-0359: Unique and Stable Stanza IDs. An id in an account's name is only believed when this server made it.

use crate::core::{About, Extension, Flow, Handled, State};
use crate::wire::xml::escaped;
use crate::wire::{Jid, Kind, Ns, Stanza};

pub(super) struct StanzaId;

impl Extension for StanzaId {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0359",
            name: "Unique and Stable Stanza IDs",
            version: "0.7.0",
            missing: "ids for messages that are not stored",
            server: &[],
            account: &["urn:xmpp:sid:0"],
            iq: &[],
        }
    }

    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        if stanza.kind == Kind::Message
            && let Some(account) = st.accounts.get(local)
        {
            // §3, rule 2: whether or not one is added.
            stanza.cut(|c| {
                let ours = |by: &str| Jid::parse(by).is_ok_and(|by| by == account.jid);
                c.is(Ns::SID, "stanza-id") && c.attr("by").is_some_and(|by| ours(&by))
            });
        }
        Ok(Flow::Pass)
    }
}

/// Gives a message an id in the name of the account that it came to.
pub(super) fn give(st: &mut State, account: &Jid, message: &mut Stanza) {
    let id = st.token();
    message.push(format!("<stanza-id xmlns='urn:xmpp:sid:0' by='{}' id='{id}'/>", escaped(account.as_str())));
}
