//! XEP-0352: Client State Indication. What wakes a client that nobody looks at, and what can wait; `core/message/quiet.rs` holds it.
//!
//! What somebody says, calls and invitations wake it, and whatever it waits for itself: answers, errors, its own presence in a
//! room. Presence, receipts, markers, notifications of nodes and pushes of lists wait, the newest of each. Who is typing is worth
//! nothing later. Rooms are as the rest: what is said there comes at once.

use super::{chat_states, hints};
use crate::core::{About, Extension, Inline, SessionId, State, Worth};
use crate::store::{Engine, StoreError};
use crate::wire::{Jid, Kind, Node, Ns, Stanza, StreamFeature, Type};

pub(super) struct ClientState;

impl Extension for ClientState {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0352",
            name: "Client State Indication",
            version: "1.0.0",
            missing: "a setting for what can wait",
            server: &[],
            account: &[],
            iq: &[],
        }
    }

    fn load(&mut self, st: &mut State, _engine: &mut dyn Engine) -> Result<(), StoreError> {
        st.weigh_with(weigh);
        Ok(())
    }

    fn stream_features(&self, _st: &State) -> Vec<StreamFeature> {
        vec![StreamFeature::new("<csi xmlns='urn:xmpp:csi:0'/>")]
    }

    fn bind_features(&self) -> &'static [&'static str] {
        &["urn:xmpp:csi:0"]
    }

    fn bind_inline(&mut self, st: &mut State, sid: SessionId, inline: &Inline<'_>, _bound: &mut String) {
        if inline.bind.child(Ns::CSI, "inactive").is_some() {
            st.set_active(sid, false);
        }
    }
}

/// What a stanza is worth to a client that nobody looks at.
fn weigh(stanza: &Stanza) -> Worth {
    match stanza.kind {
        Kind::Message => message(stanza),
        Kind::Presence => presence(stanza),
        Kind::Iq => iq(stanza),
    }
}

fn message(message: &Stanza) -> Worth {
    if message.ty == Type::Error {
        return Worth::Urgent;
    }
    if message.ty != Type::Headline && (is_said(message.children()) || is_said(message.wrapped())) {
        return Worth::Urgent;
    }
    let states = |mut nodes: Box<dyn Iterator<Item = Node<'_>> + '_>| nodes.all(chat_states::says_nothing);
    let mut wrapped = message.wrapped().peekable();
    if wrapped.peek().is_some() {
        // A copy of a state (XEP-0280), or a message of the archive, which its client waits for.
        return if states(Box::new(wrapped)) { Worth::Nothing } else { Worth::Later };
    }
    if states(Box::new(message.children())) && !hints::has(message, "store") {
        return Worth::Nothing;
    }
    item(message).map_or(Worth::Later, Worth::Newest)
}

/// Whether among the children of a message is something that a person says, or a call, or an invitation. Also a subject, which is
/// what a client that enters a room waits for.
pub(super) fn is_said<'a>(mut children: impl Iterator<Item = Node<'a>>) -> bool {
    children.any(|c| match c.ns() {
        Ns::CLIENT => matches!(c.name(), "body" | "subject"),
        Ns::CONFERENCE => c.name() == "x",
        Ns::MUC_USER => c.child(Ns::MUC_USER, "invite").is_some(),
        Ns::JINGLE_MESSAGE => true,
        _ => is_encrypted(std::iter::once(c)),
    })
}

/// Whether what is said is in none of the children that can be read here: OMEMO, OpenPGP (XEP-0373, XEP-0027), or whatever says so
/// (XEP-0380).
pub(super) fn is_encrypted<'a>(mut children: impl Iterator<Item = Node<'a>>) -> bool {
    children.any(|c| match c.ns() {
        Ns::OMEMO_OLD | Ns::OMEMO => c.name() == "encrypted",
        Ns::OPENPGP => c.name() == "openpgp",
        Ns::ENCRYPTED => c.name() == "x",
        Ns::EME => true,
        _ => false,
    })
}

/// The name of the one item that a notification of a node tells of (XEP-0060): the next of that name takes its place.
fn item(message: &Stanza) -> Option<Box<str>> {
    let items = message.child(Ns::PUBSUB_EVENT, "event")?.child(Ns::PUBSUB_EVENT, "items")?;
    let mut all = items.children();
    let (Some(item), None) = (all.next(), all.next()) else { return None };
    let id = item.attr("id").filter(|_| matches!(item.name(), "item" | "retract"))?;
    Some(format!("{}\0{}\0{id}", text(&message.from), items.attr("node")?).into())
}

fn text(jid: &Option<Jid>) -> &str {
    jid.as_ref().map_or("", Jid::as_str)
}

fn presence(presence: &Stanza) -> Worth {
    match presence.ty {
        Type::Subscribe | Type::Error => Worth::Urgent,
        Type::None | Type::Unavailable if presence.child(Ns::MUC_USER, "x").is_some_and(is_own) => Worth::Urgent,
        Type::None | Type::Unavailable => Worth::Newest(text(&presence.from).into()),
        _ => Worth::Later,
    }
}

/// XEP-0045 §15.6.2: status 110 is about the receiver itself.
fn is_own(x: Node<'_>) -> bool {
    x.children().any(|c| c.is(Ns::MUC_USER, "status") && c.attr("code").as_deref() == Some("110"))
}

fn iq(iq: &Stanza) -> Worth {
    if iq.ty != Type::Set {
        return Worth::Urgent;
    }
    if let Some(query) = iq.child(Ns::ROSTER, "query") {
        // RFC 6121 §2.6.3: of several changes of one item the last is enough.
        let jid = query.child(Ns::ROSTER, "item").and_then(|item| item.attr("jid"));
        return jid.map_or(Worth::Later, |jid| Worth::Newest(format!("roster\0{jid}").into()));
    }
    if iq.may_have(Ns::BLOCKING) { Worth::Later } else { Worth::Urgent }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;

    fn of(xml: &str) -> Worth {
        weigh(&Stanza::parse(xml, Scope::client()).unwrap().unwrap())
    }

    #[test]
    fn what_wakes_a_client() {
        for xml in [
            "<message type='chat'><body>Hark</body></message>",
            "<message type='groupchat'><body>Hark</body></message>",
            "<message type='groupchat'><subject/></message>",
            "<message type='chat'><encrypted xmlns='eu.siacs.conversations.axolotl'/></message>",
            "<message type='chat'><encrypted xmlns='urn:xmpp:omemo:2'/></message>",
            "<message><openpgp xmlns='urn:xmpp:openpgp:0'/></message>",
            "<message><x xmlns='jabber:x:encrypted'>..</x></message>",
            "<message><propose xmlns='urn:xmpp:jingle-message:0' id='1'/></message>",
            "<message><x xmlns='jabber:x:conference' jid='a@b'/></message>",
            "<message><x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x></message>",
            "<message type='error'><active xmlns='http://jabber.org/protocol/chatstates'/></message>",
            "<presence type='subscribe' from='a@b'/>",
            "<presence type='error' from='a@b/c'/>",
            "<presence from='a@b/c'><x xmlns='http://jabber.org/protocol/muc#user'><status code='110'/></x></presence>",
            "<iq type='result' id='1'/>",
            "<iq type='error' id='1'/>",
            "<iq type='get' id='1'><ping xmlns='urn:xmpp:ping'/></iq>",
            "<iq type='set' id='1'><jingle xmlns='urn:xmpp:jingle:1'/></iq>",
        ] {
            assert_eq!(of(xml), Worth::Urgent, "{xml}");
        }
    }

    #[test]
    fn what_can_wait() {
        for xml in [
            "<message type='chat'><received xmlns='urn:xmpp:receipts' id='1'/></message>",
            "<message type='chat'><displayed xmlns='urn:xmpp:chat-markers:0' id='1'/></message>",
            "<message type='headline'><body>News</body></message>",
            "<message type='groupchat'><x xmlns='http://jabber.org/protocol/muc#user'><status code='104'/></x></message>",
            "<message type='chat'><active xmlns='http://jabber.org/protocol/chatstates'/><store xmlns='urn:xmpp:hints'/></message>",
            "<presence type='subscribed' from='a@b'/>",
            "<iq type='set' id='1'><block xmlns='urn:xmpp:blocking'><item jid='a@b'/></block></iq>",
        ] {
            assert_eq!(of(xml), Worth::Later, "{xml}");
        }
        for xml in [
            "<message type='chat'><paused xmlns='http://jabber.org/protocol/chatstates'/></message>",
            "<message type='groupchat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
        ] {
            assert_eq!(of(xml), Worth::Nothing, "{xml}");
        }
    }

    #[test]
    fn what_takes_the_place_of_what() {
        let presence = of("<presence from='a@b/c'/>");
        assert_eq!(presence, of("<presence from='a@b/c' type='unavailable'/>"));
        assert_ne!(presence, of("<presence from='a@b/d'/>"));
        let event = |node: &str, item: &str| {
            of(&format!(
                "<message from='a@b'><event xmlns='http://jabber.org/protocol/pubsub#event'><items node='{node}'>{item}</items></event></message>"
            ))
        };
        let one = event("n", "<item id='1'><x xmlns='y'/></item>");
        assert!(matches!(one, Worth::Newest(_)));
        assert_eq!(one, event("n", "<retract id='1'/>"));
        assert_ne!(one, event("n", "<item id='2'/>"));
        assert_ne!(one, event("m", "<item id='1'/>"));
        assert_eq!(event("n", "<item id='1'/><item id='2'/>"), Worth::Later, "two are not one");
        let push = |jid: &str| {
            of(&format!("<iq type='set' id='1'><query xmlns='jabber:iq:roster'><item jid='{jid}'/></query></iq>"))
        };
        assert!(matches!(push("a@b"), Worth::Newest(_)));
        assert_ne!(push("a@b"), push("b@b"));
    }

    #[test]
    fn copies_are_worth_what_they_are_copies_of() {
        let copy = |body: &str| {
            let xml = format!("<message type='chat' from='a@b/c' to='d@e'>{body}</message>");
            let inner = Stanza::parse(&xml, Scope::client()).unwrap().unwrap();
            let mut copy = Stanza::new(Kind::Message, Type::Chat);
            copy.wrap(
                "<received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>",
                &inner,
                "</forwarded></received>",
            );
            weigh(&copy)
        };
        assert_eq!(copy("<body>Hark</body>"), Worth::Urgent);
        assert_eq!(copy("<received xmlns='urn:xmpp:receipts' id='1'/>"), Worth::Later);
        assert_eq!(copy("<gone xmlns='http://jabber.org/protocol/chatstates'/>"), Worth::Nothing);
    }
}
