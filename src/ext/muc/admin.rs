//! The use cases of moderators and admins (XEP-0045 §8, §9): who has which role or affiliation, and changes of that. What one
//! request asks for is done all or not at all.

use super::affiliation::{Affiliation, Privilege, Role};
use super::join;
use super::presence::Notice;
use super::room::{REASON_BYTES, Room};
use super::{Muc, invite};
use crate::core::{Flow, Handled, State};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Node, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Items in one request: each is a change in the database, and they must fit into one batch.
pub(super) const ITEMS: usize = 40;

/// What an item asks for.
enum ItemChange {
    Role { nick: Box<str>, role: Role, reason: Option<String> },
    Affiliation { jid: Jid, affiliation: Affiliation, nick: Option<String>, reason: Option<String> },
}

fn bad(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}

/// Text in an element, cut to what is kept or told.
pub(super) fn reason(within: Node<'_>) -> Option<String> {
    let text = within.child(within.ns(), "reason")?.text();
    Some(text[..text.floor_char_boundary(REASON_BYTES)].to_owned()).filter(|text| !text.is_empty())
}

/// A nickname that is to be reserved for somebody: checked, and nobody else's.
pub(super) fn free_nick(room: &Room, jid: &Jid, nick: &str) -> Result<String, StanzaError> {
    let address = room.jid.with_resource(nick).map_err(|_| Condition::JidMalformed)?;
    let nick = join::nick(&address)?;
    room.nick_is_free(jid, nick)?;
    Ok(nick.to_owned())
}

/// A request to a room.
pub(super) fn iq(muc: &mut Muc, st: &mut State, local: &str, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
    let room = muc.room(local, &from)?;
    let query = iq.child(Ns::MUC_ADMIN, "query").ok_or_else(|| bad("no such request"))?;
    let items: Vec<Node<'_>> = query.children().filter(|c| c.is(Ns::MUC_ADMIN, "item")).take(ITEMS + 1).collect();
    if items.is_empty() {
        return Err(bad("there is no item"));
    }
    if items.len() > ITEMS {
        let text = format!("at most {ITEMS} items in a request");
        return Err(StanzaError::new(Condition::NotAcceptable).text(text));
    }
    if iq.ty == Type::Get {
        let lists = lists(room, &from, &items)?;
        return st.reply(iq, lists);
    }
    let mut changes = Vec::new();
    for item in &items {
        changes.push(read(room, &from, *item)?);
    }
    check(room, &from, &changes)?;
    let stored = changes.iter().any(|change| matches!(change, ItemChange::Affiliation { .. }));
    let (members, others) = added(room, &changes);
    if stored {
        st.write()?;
    }
    if !members.is_empty() {
        invite::count(&mut muc.knocks, st, &from, members.len())?;
    }
    // Who runs a room with somebody hears of it as long as there are few.
    let told = others.is_empty() || invite::count(&mut muc.knocks, st, &from, others.len()).is_ok();
    let others = if told { others } else { Vec::new() };
    let room = muc.room(local, &from)?;
    apply(room, st, &from, &changes)?;
    members.iter().chain(&others).for_each(|jid| invite::added(room, st, &from, jid));
    // A role is not stored: that it has changed is true at once.
    if stored { st.confirm(iq, "") } else { st.reply(iq, "") }
}

/// Who may get a list of affiliations (§9.2, §9.5, §10.5, §10.8).
pub(super) fn may_list(room: &Room, jid: &Jid, affiliation: Affiliation) -> Result<(), StanzaError> {
    let what = match affiliation {
        Affiliation::Outcast => Privilege::Administer,
        Affiliation::None => return Err(bad("there is no list of those who are nobody special")),
        Affiliation::Admin | Affiliation::Owner if room.config.semi_anonymous => Privilege::Own,
        Affiliation::Member | Affiliation::Admin | Affiliation::Owner => Privilege::MemberList,
    };
    room.must(jid, what)
}

fn affiliation_of(item: Node<'_>) -> Result<Option<Affiliation>, StanzaError> {
    let text = item.attr("affiliation");
    text.map(|text| Affiliation::of(&text).ok_or_else(|| bad("there is no such affiliation"))).transpose()
}

fn role_of(item: Node<'_>) -> Result<Option<Role>, StanzaError> {
    item.attr("role").map(|text| Role::of(&text).ok_or_else(|| bad("there is no such role"))).transpose()
}

/// The lists that are asked for, each once.
fn lists(room: &Room, from: &Jid, items: &[Node<'_>]) -> Result<String, StanzaError> {
    let mut out = String::from("<query xmlns='http://jabber.org/protocol/muc#admin'>");
    let mut seen = BTreeSet::new();
    for item in items {
        let wanted = (affiliation_of(*item)?, role_of(*item)?);
        if !seen.insert(wanted) {
            return Err(bad("a list is asked for twice"));
        }
        match wanted {
            (Some(affiliation), None) => {
                may_list(room, from, affiliation)?;
                let known = room.affiliations.iter().filter(|(_, known)| known.affiliation == affiliation);
                for (jid, known) in known {
                    let jid = escaped(jid.as_str());
                    let _ = write!(out, "<item affiliation='{}' jid='{jid}'", affiliation.as_str());
                    if let Some(nick) = &known.nick {
                        let _ = write!(out, " nick='{}'", escaped(nick));
                    }
                    match &known.reason {
                        Some(reason) => drop(write!(out, "><reason>{}</reason></item>", escaped(reason))),
                        None => out.push_str("/>"),
                    }
                }
            }
            (None, Some(Role::None)) => return Err(bad("there is no list of those who are not there")),
            (None, Some(role)) => {
                if !room.may(from, Privilege::Administer) {
                    room.must(from, Privilege::Voice)?;
                }
                for (nick, occupant) in room.occupants.iter().filter(|(_, occupant)| occupant.role == role) {
                    let jid = occupant.shown().map_or(occupant.bare.as_str(), |(jid, _)| jid.as_str());
                    let affiliation = room.affiliation(&occupant.bare).as_str();
                    let (jid, nick, role) = (escaped(jid), escaped(nick), role.as_str());
                    let _ = write!(out, "<item affiliation='{affiliation}' jid='{jid}' nick='{nick}' role='{role}'/>");
                }
            }
            _ => return Err(bad("a list is one of an affiliation or of a role")),
        }
    }
    Ok(out + "</query>")
}

/// What an item asks for. Nothing is told of a room to who may change nothing there.
fn read(room: &Room, from: &Jid, item: Node<'_>) -> Result<ItemChange, StanzaError> {
    match (affiliation_of(item)?, role_of(item)?) {
        (Some(affiliation), None) => {
            room.must(from, Privilege::Administer)?;
            let nick = item.attr("nick").map(|nick| nick.into_owned());
            let (jid, nick) = match (item.attr("jid"), nick) {
                // §10.3: a full JID means its bare one.
                (Some(jid), nick) => (Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?.bare(), nick),
                // Somebody who is there can be called by their nickname.
                (None, Some(nick)) => {
                    let occupant = room.occupants.get(nick.as_str()).ok_or(Condition::ItemNotFound)?;
                    (occupant.bare.clone(), None)
                }
                (None, None) => return Err(bad("whose affiliation?")),
            };
            Ok(ItemChange::Affiliation { jid, affiliation, nick, reason: reason(item) })
        }
        (None, Some(role)) => {
            if !room.may(from, Privilege::Administer) {
                room.must(from, Privilege::Kick)?;
            }
            let nick = item.attr("nick").ok_or_else(|| bad("whose role?"))?;
            // As it is in an address.
            let nick = room.jid.with_resource(&nick).ok().and_then(|jid| jid.resource().map(Box::from));
            Ok(ItemChange::Role { nick: nick.ok_or(Condition::ItemNotFound)?, role, reason: reason(item) })
        }
        _ => Err(bad("an item changes an affiliation or a role")),
    }
}

/// Whether all of it may be done (§9.2).
fn check(room: &Room, from: &Jid, changes: &[ItemChange]) -> Result<(), StanzaError> {
    let (mut jids, mut nicks, mut reserved) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let (mut new, mut owners, mut texts) = (Vec::new(), 0_isize, 0);
    for change in changes {
        match change {
            ItemChange::Role { nick, role, .. } => {
                room.may_set_role(from, nick, *role)?;
                if !nicks.insert(nick) {
                    return Err(bad("somebody stands twice in the request"));
                }
            }
            ItemChange::Affiliation { jid, affiliation, nick, reason } => {
                room.may_set_affiliation(from, jid, *affiliation)?;
                if !jids.insert(jid) {
                    return Err(bad("somebody stands twice in the request"));
                }
                if let Some(nick) = nick.as_ref().filter(|nick| !nick.is_empty() && *affiliation >= Affiliation::Member)
                    && !reserved.insert(free_nick(room, jid, nick)?)
                {
                    return Err(Condition::Conflict.into());
                }
                let kept = reason.as_ref().filter(|_| *affiliation == Affiliation::Outcast);
                texts += kept.map_or(0, String::len) + nick.as_ref().map_or(0, String::len);
                owners += isize::from(*affiliation == Affiliation::Owner)
                    - isize::from(room.known(jid).affiliation == Affiliation::Owner);
                if *affiliation != Affiliation::None && !room.affiliations.contains_key(jid.as_str()) {
                    new.push(jid);
                }
            }
        }
    }
    room.has_room(&new, texts)?;
    let before = room.affiliations.values().filter(|known| known.affiliation == Affiliation::Owner).count();
    if owners < 0 && before.saturating_add_signed(owners) == 0 {
        return Err(StanzaError::new(Condition::Conflict).text("a room has an owner"));
    }
    Ok(())
}

/// Who comes to belong to a members-only room and is not there: members, and those who are more.
fn added(room: &Room, changes: &[ItemChange]) -> (Vec<Jid>, Vec<Jid>) {
    let (mut members, mut others) = (Vec::new(), Vec::new());
    for change in changes.iter().filter(|_| room.config.members_only) {
        let ItemChange::Affiliation { jid, affiliation, .. } = change else { continue };
        if room.known(jid).affiliation <= Affiliation::None && room.nicks_of(jid).is_empty() {
            match affiliation {
                Affiliation::Member => members.push(jid.clone()),
                Affiliation::Admin | Affiliation::Owner => others.push(jid.clone()),
                _ => {}
            }
        }
    }
    (members, others)
}

/// Makes the changes, all of which are allowed, in their order.
fn apply(room: &mut Room, st: &mut State, from: &Jid, changes: &[ItemChange]) -> Result<(), StanzaError> {
    let actor: Option<Box<str>> = room.occupant_of(from).map(|(nick, _)| nick.into());
    let notice = |reason: &Option<String>| (actor.as_deref(), reason.clone());
    for change in changes {
        match change {
            ItemChange::Role { nick, role, reason } => {
                let (actor, reason) = notice(reason);
                if room.occupants.get(nick).is_some_and(|occupant| occupant.role != *role) {
                    let notice = Notice { actor, reason: reason.as_deref(), ..Notice::default() };
                    room.set_role(st, nick, *role, &notice);
                }
            }
            ItemChange::Affiliation { jid, affiliation, nick, reason } => {
                let before = room.known(jid).affiliation;
                let (actor, reason) = notice(reason);
                if before != *affiliation {
                    let notice = Notice { actor, reason: reason.as_deref(), ..Notice::default() };
                    change_affiliation(room, st, jid, *affiliation, nick.as_deref(), &notice)?;
                } else if let Some(nick) = nick
                    && *affiliation >= Affiliation::Member
                {
                    room.set_nick(st, jid, Some(nick.as_str()).filter(|nick| !nick.is_empty()))?;
                }
            }
        }
    }
    Ok(())
}

/// Makes somebody something else, with a nickname or without, and tells it to those in the room: by the presence of who is there, by a
/// message of who is not (§10.3).
pub(super) fn change_affiliation(
    room: &mut Room,
    st: &mut State,
    jid: &Jid,
    affiliation: Affiliation,
    nick: Option<&str>,
    notice: &Notice<'_>,
) -> Result<(), StanzaError> {
    let before = room.known(jid).affiliation;
    let absent = room.nicks_of(jid).is_empty();
    room.set_affiliation_nick(st, jid, affiliation, nick, notice)?;
    // Who is banned is for admins alone to know, if they ask.
    if !absent || before.min(affiliation) == Affiliation::Outcast {
        return Ok(());
    }
    let (list, is) = (before.max(affiliation), affiliation.as_str());
    let x = format!(
        "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='{is}' jid='{}' role='none'/></x>",
        escaped(jid.as_str())
    );
    // Nobody needs to read it later: the list says more.
    let hint = "<no-store xmlns='urn:xmpp:hints'/>";
    let message = Stanza::new(Kind::Message, Type::None).from(room.jid.clone()).with(x).with(hint);
    let informed: BTreeSet<Jid> =
        room.sessions.keys().filter(|jid| may_list(room, jid, list).is_ok()).cloned().collect();
    for (jid, seat) in room.occupants.values_mut().flat_map(|occupant| &mut occupant.seats) {
        if informed.contains(jid) {
            seat.send(st, message.clone().to(jid.clone()));
        }
    }
    Ok(())
}
