//! Invitations through the room (XEP-0045 §7.8.2), and how often somebody may make it send something to others. Those past it
//! (XEP-0249) are messages like others.

use super::affiliation::{Affiliation, Privilege};
use super::minute::Minute;
use super::presence::Notice;
use super::room::Room;
use super::{Muc, admin};
use crate::core::{About, Flow, Handled, State};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Node, Ns, Stanza, StanzaError, Type};
use std::fmt::Write as _;

/// What one person may make rooms send to others in a minute: invitations, and requests for voice and for membership.
pub(super) const KNOCKS_A_MINUTE: u32 = 20;
/// People whom an admin may invite in a minute, or add, which invites them: a class of thirty both ways.
pub(super) const INVITATIONS_A_MINUTE: u32 = 64;
/// The longest name of a thread, in bytes.
const THREAD_BYTES: usize = 256;

/// XEP-0249: what is sent from one user to another passes as it is.
pub(super) const DIRECT: About = About::new("XEP-0249", "Direct MUC Invitations", "1.2", "");

/// Counts that somebody makes a room send something to others.
///
/// # Errors
/// `resource-constraint` if that is too often.
pub(super) fn knock(knocks: &mut Minute, st: &State, jid: &Jid, times: usize) -> Result<(), StanzaError> {
    knocks.count(st, jid, times, KNOCKS_A_MINUTE).map_err(|error| error.text("not so many; wait a minute"))
}

/// The same of an admin who invites people, or adds them.
///
/// # Errors
/// `resource-constraint` if those are too many.
pub(super) fn count(knocks: &mut Minute, st: &State, jid: &Jid, people: usize) -> Result<(), StanzaError> {
    let text =
        format!("at most {INVITATIONS_A_MINUTE} people are invited in a minute; the others can be in the next one");
    knocks.count(st, jid, people, INVITATIONS_A_MINUTE).map_err(|error| error.text(text))
}

/// A message to a room, not of the type `groupchat`. `Pass`: it is nothing of the kind.
pub(super) fn message(muc: &mut Muc, st: &mut State, local: &str, message: &Stanza) -> Handled {
    let Some(from) = message.from.clone() else { return Ok(Flow::Pass) };
    let Some(x) = message.child(Ns::MUC_USER, "x") else { return Ok(Flow::Pass) };
    if let Some(decline) = x.child(Ns::MUC_USER, "decline") {
        return declined(muc, st, local, message, &from, decline);
    }
    let most = INVITATIONS_A_MINUTE as usize + 1;
    let invites: Vec<Node<'_>> = x.children().filter(|c| c.is(Ns::MUC_USER, "invite")).take(most).collect();
    if invites.is_empty() {
        return Ok(Flow::Pass);
    }
    let room = muc.room(local, &from)?;
    room.must(&from, Privilege::Invite)?;
    let mut people = Vec::new();
    for invite in invites {
        let to = address(invite)?;
        if room.affiliation(&to) == Affiliation::Outcast {
            return Err(StanzaError::new(Condition::NotAllowed).text("they are banned"));
        }
        people.push((to, invite));
    }
    // §9.5: whoever is invited into a members-only room may come in.
    let mut new: Vec<Jid> = Vec::new();
    if room.config.members_only {
        new.extend(people.iter().map(|(to, _)| to.bare()).filter(|to| room.affiliation(to) == Affiliation::None));
        new.sort_unstable();
        new.dedup();
    }
    let guests: Vec<&Jid> = new.iter().collect();
    let is_admin = room.may(&from, Privilege::Administer);
    if is_admin {
        room.has_room(&guests, 0)?
    } else {
        room.has_room_for_guests(&from, &guests)?
    }
    if !new.is_empty() {
        st.write()?;
    }
    match is_admin {
        true => count(&mut muc.knocks, st, &from, people.len())?,
        false => knock(&mut muc.knocks, st, &from, people.len())?,
    }
    let Some(room) = muc.rooms.get_mut(local) else { return Ok(Flow::Done) };
    let actor = room.occupant_of(&from).map(|(nick, _)| nick.to_owned());
    for jid in &new {
        let notice = Notice { actor: actor.as_deref(), ..Notice::default() };
        admin::change_affiliation(room, st, jid, Affiliation::Member, None, &notice)?;
        if !is_admin {
            room.brought(st, jid, &from)?;
        }
    }
    for (to, invite) in people {
        let mut inside = String::new();
        if let Some(reason) = admin::reason(invite) {
            let _ = write!(inside, "<reason>{}</reason>", escaped(&reason));
        }
        // §7.9
        if let Some(on) = invite.child(Ns::MUC_USER, "continue") {
            match on.attr("thread").filter(|thread| thread.len() <= THREAD_BYTES) {
                Some(thread) => drop(write!(inside, "<continue thread='{}'/>", escaped(&thread))),
                None => inside.push_str("<continue/>"),
            }
        }
        let id = message.id();
        send(room, st, &from, to, id.as_deref(), &inside);
    }
    Ok(Flow::Done)
}

fn address(of: Node<'_>) -> Result<Jid, StanzaError> {
    let to = of.attr("to").ok_or_else(|| StanzaError::new(Condition::BadRequest).text("to whom?"))?;
    Ok(Jid::parse(&to).map_err(|_| Condition::JidMalformed)?)
}

/// An invitation in the name of somebody. They want to be known: whoever gets it decides by who it is from.
fn send(room: &Room, st: &mut State, from: &Jid, to: Jid, id: Option<&str>, inside: &str) {
    let from = escaped(from.bare_str());
    let mut x = format!("<x xmlns='http://jabber.org/protocol/muc#user'><invite from='{from}'>{inside}</invite>");
    if let Some(password) = &room.config.password {
        let _ = write!(x, "<password>{}</password>", escaped(password));
    }
    let message = Stanza::new(Kind::Message, Type::None).from(room.jid.clone()).to(to).with(x + "</x>");
    st.send(match id {
        Some(id) => message.with_id(id),
        None => message,
    });
}

/// Somebody was added to a members-only room: it invites them (§9.5).
pub(super) fn added(room: &Room, st: &mut State, from: &Jid, jid: &Jid) {
    send(room, st, from, jid.clone(), None, "");
}

/// Somebody does not want to come.
fn declined(muc: &mut Muc, st: &mut State, local: &str, message: &Stanza, from: &Jid, decline: Node<'_>) -> Handled {
    let room = muc.room(local, from)?;
    if room.affiliation(from) == Affiliation::Outcast {
        return Err(Condition::Forbidden.into());
    }
    let to = address(decline)?;
    // The inviter may be called by their name in the room.
    let to = match to.resource() {
        Some(nick) if to.bare_str() == room.jid.as_str() => {
            room.occupants.get(nick).map(|inviter| inviter.bare.clone())
        }
        _ => Some(to),
    };
    // Nobody is reached that way but who can have sent an invitation; and nobody learns who that is.
    let known = |to: &Jid| room.affiliation(to) >= Affiliation::Member || !room.nicks_of(to).is_empty();
    let Some(to) = to.filter(known) else { return Ok(Flow::Done) };
    let mut x = format!("<x xmlns='http://jabber.org/protocol/muc#user'><decline from='{}'>", escaped(from.bare_str()));
    if let Some(reason) = admin::reason(decline) {
        let _ = write!(x, "<reason>{}</reason>", escaped(&reason));
    }
    let answer = Stanza::new(Kind::Message, Type::None).from(room.jid.clone()).to(to).with(x + "</decline></x>");
    knock(&mut muc.knocks, st, from, 1)?;
    st.send(match message.id() {
        Some(id) => answer.with_id(&id),
        None => answer,
    });
    Ok(Flow::Done)
}
