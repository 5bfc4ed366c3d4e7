//! XEP-0359: Unique and Stable Stanza IDs. An id in an account's name is only believed when this server made it.

use crate::core::{About, Extension, Flow, Handled, SessionId, State};
use crate::wire::{Jid, Kind, Node, Ns, Stanza};

pub(super) struct StanzaId;

impl Extension for StanzaId {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0359",
            name: "Unique and Stable Stanza IDs",
            version: "0.7.0",
            missing: "ids for messages that are not archived",
            server: &[],
            account: &["urn:xmpp:sid:0"],
            iq: &[],
        }
    }

    /// What a client says in the name of its own account: copies of the message would tell it to the others.
    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        if stanza.kind == Kind::Message
            && let Some(session) = st.session(sid)
        {
            cut(stanza, &session.jid.bare());
        }
        Ok(Flow::Pass)
    }

    fn arrive(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        if stanza.kind == Kind::Message
            && let Some(account) = st.account_of(local)
            && cut(stanza, &account.jid)
        {
            // Not what its sender's archive has.
            stanza.mark = 0;
        }
        Ok(Flow::Pass)
    }
}

/// §3, rule 2: whether or not one is added.
fn cut(message: &mut Stanza, account: &Jid) -> bool {
    let ours = |by: &str| Jid::parse(by).is_ok_and(|by| by == *account);
    let forged = |c: Node<'_>| c.is(Ns::SID, "stanza-id") && c.attr("by").is_some_and(|by| ours(&by));
    message.may_have(Ns::SID) && message.cut_foreign(forged)
}
