//! XEP-0280: Message Carbons: all clients of an account see both sides of its conversations.
//!
//! A copy is written to its session directly and passes no hook, so there are no copies of copies. One that a stranger forges is an
//! ordinary message from that stranger; a client knows it by its `from` (§11).

use super::hints;
use crate::core::unordered::ByName;
use crate::core::{About, Event, Extension, Flow, Handled, Inline, Place, SessionId, State};
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, Type};
use std::collections::{BTreeSet, VecDeque};

/// Messages of one account that are remembered, to know an error that answers one.
const RECENT_MESSAGES: usize = 64;
/// The longest id that is remembered, in bytes.
const RECENT_ID_BYTES: usize = 128;

/// What is remembered while an account has a session that wants copies.
#[derive(Default)]
pub(super) struct Carbons {
    accounts: ByName<CopiedAccount>,
}

#[derive(Default)]
struct CopiedAccount {
    /// The sessions that want copies.
    enabled: BTreeSet<SessionId>,
    /// Of the last messages that were copied: the id, and who the other side is.
    recent: VecDeque<(Box<str>, Jid)>,
}

/// Which way a message goes, seen from the account.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    Sent,
    Received,
}

/// Whether a message is for all clients of a user (§6.1). Errors are another matter: [`CopiedAccount::answered`].
fn eligible(message: &Stanza, way: Direction) -> bool {
    if message.child(Ns::CARBONS, "private").is_some() || hints::has(message, "no-copy") {
        return false;
    }
    let room = message.child(Ns::MUC_USER, "x");
    let invited =
        message.child(Ns::CONFERENCE, "x").is_some() || room.is_some_and(|x| x.child(Ns::MUC_USER, "invite").is_some());
    // The room itself sends a private message to all clients that are in it.
    let from_occupant = message.from.as_ref().is_some_and(|from| !from.is_bare());
    let private_in_room = room.is_some() && way == Direction::Received && from_occupant;
    match message.ty {
        Type::Groupchat | Type::Error => false,
        _ if invited => true,
        _ if private_in_room => false,
        Type::Chat => true,
        // Unknown types are normal ones (RFC 6121 §5.2.2).
        Type::None | Type::Normal | Type::Unknown if message.child(Ns::CLIENT, "body").is_some() => true,
        _ => message.children().any(|c| matches!(c.ns(), Ns::RECEIPTS | Ns::CHAT_STATES | Ns::CHAT_MARKERS)),
    }
}

fn peer(message: &Stanza, way: Direction) -> Option<Jid> {
    let jid = if way == Direction::Sent { &message.to } else { &message.from };
    jid.as_ref().map(Jid::bare)
}

impl CopiedAccount {
    fn remember(&mut self, message: &Stanza, way: Direction) {
        let (Some(id), Some(peer)) = (message.id(), peer(message, way)) else { return };
        if id.len() <= RECENT_ID_BYTES {
            self.recent.truncate(RECENT_MESSAGES - 1);
            self.recent.push_front((id.into(), peer));
        }
    }

    /// Whether an error answers a message that was eligible.
    fn answered(&self, error: &Stanza, way: Direction) -> bool {
        let (Some(id), Some(peer)) = (error.id(), peer(error, way)) else { return false };
        self.recent.iter().any(|(known, other)| **known == *id && *other == peer)
    }
}

impl Carbons {
    /// Sends copies to the sessions that want them and are not in `without`.
    fn copy(&mut self, st: &mut State, local: &str, message: &Stanza, way: Direction, without: &[SessionId]) {
        let Some(account) = self.accounts.get_mut(local) else { return };
        if message.ty == Type::Error {
            if !account.answered(message, way) {
                return;
            }
        } else if eligible(message, way) {
            account.remember(message, way);
        } else {
            return;
        }
        let sender = message.from.as_ref().and_then(|from| st.session_at(from));
        let mut message = message.clone();
        if way == Direction::Sent
            && st.is_archived(local, message.mark)
            && let Some(account) = st.account_of(local)
        {
            // XEP-0313 §3.5: for those who can read it there. What goes to the other side has it not.
            st.note_id(&account.jid, &mut message);
        }
        // A private message into a room is of use only to clients that are in the room, too.
        let room = (way == Direction::Sent && message.child(Ns::MUC_USER, "x").is_some())
            .then(|| message.to.clone().filter(|to| !to.is_bare()))
            .flatten();
        let element = if way == Direction::Sent { "sent" } else { "received" };
        let before = format!("<{element} xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>");
        let after = format!("</forwarded></{element}>");
        for sid in &account.enabled {
            let Some(session) = st.session(*sid) else { continue };
            let joined = |room: &Jid| session.directed.iter().any(|jid| jid.bare_str() == room.bare_str());
            if without.contains(sid) || sender == Some(*sid) || !room.as_ref().is_none_or(joined) {
                continue;
            }
            let mut copy = Stanza::new(Kind::Message, message.ty).from(session.jid.bare()).to(session.jid.clone());
            copy.wrap(&before, &message, &after);
            st.send_to(*sid, copy);
        }
    }
}

impl Extension for Carbons {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0280",
            name: "Message Carbons",
            version: "1.0.1",
            missing: "",
            server: &["urn:xmpp:carbons:2", "urn:xmpp:carbons:rules:0"],
            account: &["urn:xmpp:carbons:2", "urn:xmpp:carbons:rules:0"],
            iq: &[Ns::CARBONS],
        }
    }

    fn iq(&mut self, st: &mut State, at: &Place, iq: &Stanza) -> Handled {
        let Place::Own(local) = at else { return Ok(Flow::Pass) };
        let Some(sid) = iq.from.as_ref().and_then(|from| st.session_at(from)) else {
            return Err(Condition::NotAllowed.into());
        };
        if iq.ty != Type::Set {
            return Err(Condition::BadRequest.into());
        }
        if iq.child(Ns::CARBONS, "enable").is_some() {
            self.accounts.or_default(local.clone()).enabled.insert(sid);
        } else if iq.child(Ns::CARBONS, "disable").is_some() {
            self.disable(local, sid);
        } else {
            return Err(Condition::BadRequest.into());
        }
        st.reply(iq, "")
    }

    fn bind_features(&self) -> &'static [&'static str] {
        &["urn:xmpp:carbons:2"]
    }

    fn bind_inline(&mut self, st: &mut State, sid: SessionId, inline: &Inline<'_>, _bound: &mut String) {
        if let (Some(_), Some(session)) = (inline.bind.child(Ns::CARBONS, "enable"), st.session(sid)) {
            self.accounts.or_default(session.local().into()).enabled.insert(sid);
        }
    }

    fn leave(&mut self, st: &mut State, sid: SessionId, stanza: &mut Stanza) -> Handled {
        if stanza.kind == Kind::Message
            && let Some(session) = st.session(sid)
            // What stays within the account reaches all sessions on the other side.
            && stanza.to.as_ref().is_some_and(|to| to.bare_str() != session.jid.bare_str())
        {
            let me = session.jid.clone();
            self.copy(st, me.local().unwrap_or_default(), stanza, Direction::Sent, &[]);
        }
        Ok(Flow::Pass)
    }

    fn delivered(&mut self, st: &mut State, local: &str, message: &Stanza, targets: &[SessionId]) {
        self.copy(st, local, message, Direction::Received, targets);
    }

    fn event(&mut self, _st: &mut State, event: &Event) {
        match event {
            Event::Closed { sid, local, .. } => self.disable(local, *sid),
            Event::Removed(local) => {
                self.accounts.remove(local);
            }
            _ => {}
        }
    }
}

impl Carbons {
    fn disable(&mut self, local: &str, sid: SessionId) {
        if let Some(account) = self.accounts.get_mut(local) {
            account.enabled.remove(&sid);
            if account.enabled.is_empty() {
                self.accounts.remove(local);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::Scope;

    fn parse(attributes: &str, body: &str) -> Stanza {
        let xml = format!("<message {attributes}>{body}</message>");
        Stanza::parse(&xml, Scope::client()).unwrap().unwrap()
    }

    #[test]
    fn the_rules() {
        const BODY: &str = "<body>Hark</body>";
        const STATE: &str = "<active xmlns='http://jabber.org/protocol/chatstates'/>";
        const RECEIPT: &str = "<received xmlns='urn:xmpp:receipts' id='1'/>";
        const MARKER: &str = "<displayed xmlns='urn:xmpp:chat-markers:0' id='1'/>";
        const OTHER: &str = "<geo xmlns='urn:example'/>";
        const PRIVATE: &str = "<body>Hark</body><private xmlns='urn:xmpp:carbons:2'/>";
        const NO_COPY: &str = "<body>Hark</body><no-copy xmlns='urn:xmpp:hints'/>";
        const DIRECT: &str = "<x xmlns='jabber:x:conference' jid='coven@conference.house.test'/>";
        const MEDIATED: &str = "<x xmlns='http://jabber.org/protocol/muc#user'><invite to='j@house.test'/></x>";
        const IN_ROOM: &str = "<body>Hark</body><x xmlns='http://jabber.org/protocol/muc#user'/>";
        for (ty, body, expected) in [
            ("type='chat'", BODY, true),
            ("type='chat'", OTHER, true),
            ("", BODY, true),
            ("type='normal'", BODY, true),
            ("type='unheard-of'", BODY, true),
            ("", OTHER, false),
            ("", STATE, true),
            ("", RECEIPT, true),
            ("", MARKER, true),
            ("type='headline'", BODY, false),
            ("type='headline'", RECEIPT, true),
            ("type='groupchat'", BODY, false),
            ("type='groupchat'", RECEIPT, false),
            ("type='error'", BODY, false),
            ("type='chat'", PRIVATE, false),
            ("type='chat'", NO_COPY, false),
            ("", DIRECT, true),
            ("", MEDIATED, true),
        ] {
            for way in [Direction::Sent, Direction::Received] {
                let message = parse(&format!("{ty} from='r@house.test/a' to='j@house.test/b'"), body);
                assert_eq!(eligible(&message, way), expected, "{ty} {body} {way:?}");
            }
        }
        let occupant = parse("type='chat' from='coven@conference.house.test/witch' to='j@house.test/b'", IN_ROOM);
        assert!(!eligible(&occupant, Direction::Received));
        assert!(eligible(
            &parse("type='chat' from='j@house.test/b' to='coven@c.house.test/w'", IN_ROOM),
            Direction::Sent
        ));
        let room = parse("from='coven@conference.house.test' to='j@house.test'", MEDIATED);
        assert!(eligible(&room, Direction::Received));
    }

    #[test]
    fn an_error_is_known_by_what_it_answers() {
        let mut account = CopiedAccount::default();
        account.remember(&parse("to='r@house.test' id='1'", ""), Direction::Sent);
        let error = |from: &str, id: &str| parse(&format!("type='error' from='{from}' id='{id}'"), "");
        assert!(account.answered(&error("r@house.test/a", "1"), Direction::Received));
        assert!(!account.answered(&error("r@house.test/a", "2"), Direction::Received));
        assert!(!account.answered(&error("iago@house.test", "1"), Direction::Received));
        for n in 0..2 * RECENT_MESSAGES {
            account.remember(&parse(&format!("to='r@house.test' id='x{n}'"), ""), Direction::Sent);
        }
        assert_eq!(account.recent.len(), RECENT_MESSAGES);
        account.remember(
            &parse(&format!("to='r@house.test' id='{}'", "x".repeat(RECENT_ID_BYTES + 1)), ""),
            Direction::Sent,
        );
        assert!(!account.answered(&error("r@house.test/a", "1"), Direction::Received), "forgotten");
    }

    #[test]
    fn what_is_remembered_has_limits() {
        let mut account = CopiedAccount::default();
        let message = |id: &str| {
            let xml = format!("<message type='chat' id='{id}' to='romeo@house.test/orchard'><body>x</body></message>");
            Stanza::parse(&xml, Scope::client()).unwrap().unwrap()
        };
        account.remember(&message(&"x".repeat(RECENT_ID_BYTES + 1)), Direction::Sent);
        assert!(account.recent.is_empty());
        account.remember(&message(&"x".repeat(RECENT_ID_BYTES)), Direction::Sent);
        assert_eq!(account.recent.len(), 1);
        (0..2 * RECENT_MESSAGES).for_each(|n| account.remember(&message(&n.to_string()), Direction::Sent));
        assert_eq!(account.recent.len(), RECENT_MESSAGES);
        assert_eq!(*account.recent[0].0, *(2 * RECENT_MESSAGES - 1).to_string());
    }
}
