//! XEP-0490: Message Displayed Synchronization. What is displayed is a private node; a client may also say it in the message that tells
//! the sender (§4.5), and the server publishes it.

use super::pubsub;
use crate::core::{About, Extension, Flow, Handled, SessionId, State};
use crate::wire::{Kind, Node, Ns, Stanza};

const NODE: &str = "urn:xmpp:mds:displayed:0";
/// §4.2
const OPTIONS: [(&str, &str); 4] = [
    ("pubsub#persist_items", "true"),
    ("pubsub#max_items", "max"),
    ("pubsub#send_last_published_item", "never"),
    ("pubsub#access_model", "whitelist"),
];

pub(super) struct Displayed;

impl Extension for Displayed {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0490",
            name: "Message Displayed Synchronization",
            version: "1.0.1",
            missing: "",
            server: &[],
            account: &["urn:xmpp:mds:server-assist:0"],
            iq: &[],
        }
    }

    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        let is = |c: &Node<'_>| c.is(Ns::MDS, "displayed");
        if stanza.kind != Kind::Message || !stanza.may_have(Ns::MDS) {
            return Ok(Flow::Pass);
        }
        let Some(displayed) = stanza.children().find(is).map(Node::copy) else { return Ok(Flow::Pass) };
        stanza.cut(|c| is(&c));
        if let (Some(to), Some(session)) = (stanza.to.clone(), st.session(sid)) {
            let account = session.jid.bare();
            pubsub::publish(st, &account, NODE, to.as_str(), &displayed, &OPTIONS);
        }
        Ok(Flow::Pass)
    }
}
