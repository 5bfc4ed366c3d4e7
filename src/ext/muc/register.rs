//! Registration with a room (XEP-0045 §7.10, §9.9): membership, and a nickname that nobody else can have.
//!
//! Whoever is a member already gets the nickname at once. Where membership gives nothing that everybody has not (an open, unmoderated,
//! semi-anonymous room without a password), others become members by registering. Elsewhere the admins are asked; the form that they
//! get says all that is needed: nothing is remembered.

use super::affiliation::{Affiliation, Privilege};
use super::presence::Notice;
use super::room::Room;
use super::{Muc, admin, invite};
use crate::core::{Flow, Handled, State};
use crate::ext::form::{self, Submitted};
use crate::wire::xml::escaped;
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type};

/// The type of both forms.
pub(super) const FORM_TYPE: &str = "http://jabber.org/protocol/muc#register";
/// The field with the nickname.
const NICK: &str = "muc#register_roomnick";
/// The field with who it is, in the form for admins.
const WHO: &str = "x-muc#register_jid";
/// Admins and owners that are asked, at most.
const ASKED: usize = 20;

pub(super) const FEATURES: &[&str] = &["jabber:iq:register", FORM_TYPE];

fn bad(text: &'static str) -> StanzaError {
    StanzaError::new(Condition::BadRequest).text(text)
}

/// Whether membership can be had for the asking.
fn is_open(room: &Room) -> bool {
    let config = &room.config;
    !config.members_only && !config.moderated && config.semi_anonymous && config.password.is_none()
}

/// A request to a room.
pub(super) fn iq(muc: &mut Muc, st: &mut State, local: &str, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
    let room = muc.room(local, &from)?;
    let query = iq.child(Ns::REGISTER, "query").ok_or_else(|| bad("no such request"))?;
    let known = room.known(&from);
    if room.affiliation(&from) == Affiliation::Outcast {
        return Err(Condition::NotAllowed.into());
    }
    if iq.ty == Type::Get {
        let inside = match &known.nick {
            Some(nick) => format!("<registered/><username>{}</username>", escaped(nick)),
            None => format!(
                "<instructions>Which nickname should be yours?</instructions>\
                 <x xmlns='jabber:x:data' type='form'><title>Registration with the room</title>\
                 <field type='hidden' var='FORM_TYPE'><value>{FORM_TYPE}</value></field>\
                 <field type='text-single' var='{NICK}' label='Nickname'><required/></field></x>"
            ),
        };
        return st.reply(iq, format!("<query xmlns='jabber:iq:register'>{inside}</query>"));
    }
    if query.child(Ns::REGISTER, "remove").is_some() {
        match known.affiliation {
            Affiliation::Outcast | Affiliation::None => return Err(Condition::RegistrationRequired.into()),
            Affiliation::Member => {
                admin::change_affiliation(room, st, &from.bare(), Affiliation::None, None, &Notice::default())?;
            }
            Affiliation::Admin | Affiliation::Owner => room.set_nick(st, &from, None)?,
        }
        return st.confirm(iq, "");
    }
    let mut fields = form::submitted(query, FORM_TYPE)?.ok_or_else(|| bad("the form is missing"))?;
    let nick = form::single(&mut fields, NICK)?.ok_or_else(|| bad("the nickname is missing"))?;
    let nick = admin::free_nick(room, &from, &nick)?;
    if known.affiliation >= Affiliation::Member {
        room.set_nick(st, &from, Some(&nick))?;
    } else if is_open(room) || room.affiliation(&from) == Affiliation::Owner {
        let notice = Notice::default();
        room.has_room_for_guests(&from, &[&from])?;
        admin::change_affiliation(room, st, &from.bare(), Affiliation::Member, Some(&nick), &notice)?;
    } else {
        ask(muc, st, local, &from, &nick)?;
    }
    st.confirm(iq, "")
}

/// §9.9: sends admins and owners the form.
fn ask(muc: &mut Muc, st: &mut State, local: &str, from: &Jid, nick: &str) -> Result<(), StanzaError> {
    let room = muc.room(local, from)?;
    let form = format!(
        "<x xmlns='jabber:x:data' type='form'><title>Somebody wants to register with the room</title>\
         <field var='FORM_TYPE' type='hidden'><value>{FORM_TYPE}</value></field>\
         <field var='{WHO}' type='jid-single' label='Who'><value>{}</value></field>\
         <field var='{NICK}' type='text-single' label='Nickname'><value>{}</value></field>\
         <field var='muc#register_allow' type='boolean' label='Make them a member?'><value>0</value></field></x>",
        escaped(from.bare_str()),
        escaped(nick)
    );
    let message = Stanza::new(Kind::Message, Type::None).from(room.jid.clone()).with(form);
    let admins = room.affiliations.iter().filter(|(_, known)| known.affiliation >= Affiliation::Admin);
    let mut admins: Vec<Jid> = admins.map(|(jid, _)| jid.clone()).take(ASKED).collect();
    if admins.is_empty() {
        // Of a room that nobody owns.
        admins.extend(room.server_admins.iter().take(ASKED).cloned());
    }
    invite::knock(&mut muc.knocks, st, from, 1)?;
    for jid in admins {
        st.send(message.clone().to(jid));
    }
    Ok(())
}

/// An admin sends the form back.
pub(super) fn answered(muc: &mut Muc, st: &mut State, local: &str, from: &Jid, mut fields: Submitted) -> Handled {
    let room = muc.room(local, from)?;
    room.must(from, Privilege::Administer)?;
    if form::boolean(&mut fields, "muc#register_allow")? != Some(true) {
        return Ok(Flow::Done);
    }
    let jid = form::single(&mut fields, WHO)?.ok_or_else(|| bad("who is it?"))?;
    let jid = Jid::parse(&jid).map_err(|_| Condition::JidMalformed)?.bare();
    let nick = form::single(&mut fields, NICK)?.map(|nick| admin::free_nick(room, &jid, &nick)).transpose()?;
    let is = if room.affiliation(&jid) == Affiliation::Outcast {
        Affiliation::Outcast
    } else {
        room.known(&jid).affiliation
    };
    match is {
        Affiliation::Outcast => Err(StanzaError::new(Condition::NotAllowed).text("they are banned")),
        Affiliation::None => {
            room.has_room(&[&jid], 0)?;
            let invited = room.config.members_only && room.nicks_of(&jid).is_empty();
            if invited {
                invite::count(&mut muc.knocks, st, from, 1)?;
            }
            let room = muc.room(local, from)?;
            let actor = room.occupant_of(from).map(|(nick, _)| nick.to_owned());
            let notice = Notice { actor: actor.as_deref(), ..Notice::default() };
            admin::change_affiliation(room, st, &jid, Affiliation::Member, nick.as_deref(), &notice)?;
            if invited {
                invite::added(room, st, from, &jid);
            }
            Ok(Flow::Done)
        }
        _ => {
            if nick.is_some() {
                room.set_nick(st, &jid, nick.as_deref())?;
            }
            Ok(Flow::Done)
        }
    }
}
