//! Requests for voice (XEP-0045 §7.13, §8.6). The form that moderators get says all that is needed to grant it: nothing is remembered.

use super::affiliation::{Privilege, Role};
use super::presence::Notice;
use super::{Muc, invite, register};
use crate::core::{Flow, Handled, State};
use crate::ext::form::{self, Submitted};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type};

const FORM_TYPE: &str = "http://jabber.org/protocol/muc#request";

pub(super) const FEATURES: &[&str] = &[FORM_TYPE];

/// A message to a room, not of the type `groupchat`. `Pass`: it is nothing of the kind.
pub(super) fn message(muc: &mut Muc, st: &mut State, local: &str, message: &Stanza) -> Handled {
    let Some(from) = message.from.clone() else { return Ok(Flow::Pass) };
    let submitted = |x: &crate::wire::Node<'_>| x.attr("type").as_deref() == Some("submit");
    let Some(x) = message.child(Ns::DATA_FORM, "x").filter(submitted) else { return Ok(Flow::Pass) };
    let mut fields = form::fields(x)?;
    match form::single(&mut fields, "FORM_TYPE")?.as_deref() {
        Some(FORM_TYPE) => {}
        Some(register::FORM_TYPE) => return register::answered(muc, st, local, &from, fields),
        _ => return Ok(Flow::Pass),
    }
    if form::single(&mut fields, "muc#role")?.as_deref() != Some("participant") {
        return Err(StanzaError::new(Condition::BadRequest).text("the role that is asked for is 'participant'"));
    }
    match form::boolean(&mut fields, "muc#request_allow")? {
        None => asked(muc, st, local, &from),
        Some(allow) => answered(muc, st, local, &from, fields, allow),
    }
}

/// §7.13
fn asked(muc: &mut Muc, st: &mut State, local: &str, from: &Jid) -> Handled {
    let room = muc.room(local, from)?;
    let (nick, occupant) = room.occupant_of(from).ok_or(Condition::NotAcceptable)?;
    if occupant.role != Role::Visitor {
        return Ok(Flow::Done);
    }
    let nick = escaped(nick);
    let form = format!(
        "<x xmlns='jabber:x:data' type='form'><title>Request for voice</title>\
         <field var='FORM_TYPE' type='hidden'><value>{FORM_TYPE}</value></field>\
         <field var='muc#role' type='list-single' label='Role'><value>participant</value>\
         <option label='Participant'><value>participant</value></option></field>\
         <field var='muc#jid' type='jid-single' label='Who'><value>{}</value></field>\
         <field var='muc#roomnick' type='text-single' label='Nickname'><value>{nick}</value></field>\
         <field var='muc#request_allow' type='boolean' label='Let them speak?'><value>false</value></field></x>",
        escaped(from.as_str())
    );
    // Tomorrow nobody waits for it.
    let hint = "<no-store xmlns='urn:xmpp:hints'/>";
    let message = Stanza::new(Kind::Message, Type::None).from(room.jid.clone()).with(form).with(hint);
    if !room.occupants.values().any(|occupant| occupant.role == Role::Moderator) {
        return Err(StanzaError::new(Condition::RecipientUnavailable).text("there is no moderator"));
    }
    invite::knock(&mut muc.knocks, st, from, 1)?;
    let occupants = muc.rooms.get_mut(local).into_iter().flat_map(|room| room.occupants.values_mut());
    for occupant in occupants.filter(|occupant| occupant.role == Role::Moderator) {
        for (jid, seat) in &mut occupant.seats {
            seat.send(st, message.clone().to(jid.clone()));
        }
    }
    Ok(Flow::Done)
}

/// §8.6
fn answered(muc: &mut Muc, st: &mut State, local: &str, from: &Jid, mut fields: Submitted, allow: bool) -> Handled {
    let room = muc.room(local, from)?;
    room.must(from, Privilege::Voice)?;
    if !allow {
        return Ok(Flow::Done);
    }
    let jid = form::single(&mut fields, "muc#jid")?.ok_or(Condition::BadRequest)?;
    let jid = Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?;
    // They may have another nickname meanwhile, or be gone.
    let actor = room.occupant_of(from).map(|(nick, _)| nick.to_owned());
    for nick in room.nicks_of(&jid.bare()) {
        if room.occupants.get(&nick).is_some_and(|occupant| occupant.role == Role::Visitor) {
            room.may_set_role(from, &nick, Role::Participant)?;
            let notice = Notice { actor: actor.as_deref(), ..Notice::default() };
            room.set_role(st, &nick, Role::Participant, &notice);
        }
    }
    Ok(Flow::Done)
}
