//! What is said in a room: to all (XEP-0045 §7.4), the subject (§8.1), and to one (§7.5).

use super::affiliation::Privilege;
use super::room::{Room, Subject};
use super::{Muc, history, invite, voice};
use crate::core::{Flow, Handled, State};
use crate::ext::archive::lasting;
use crate::wire::{Condition, Jid, Node, Ns, Stanza, StanzaError, Type};

/// A subject, in bytes, in all its languages: it is kept.
pub(super) const SUBJECT_BYTES: usize = 4096;

/// Whether a message changes the subject (§7.2.15): it has one, and no body.
pub(super) fn is_subject(message: &Stanza) -> bool {
    message.child(Ns::CLIENT, "subject").is_some() && message.child(Ns::CLIENT, "body").is_none()
}

impl Muc {
    /// A message to a room or to somebody in it.
    pub(super) fn message(&mut self, st: &mut State, local: &str, message: &mut Stanza) -> Handled {
        let Some(to) = message.to.clone() else { return Ok(Flow::Done) };
        match message.ty {
            Type::Error => {
                self.bounced(st, local, message);
                Ok(Flow::Done)
            }
            Type::Groupchat if to.is_bare() => self.groupchat(st, local, message),
            Type::Groupchat => {
                Err(StanzaError::new(Condition::BadRequest).text("what is for one is not of the type 'groupchat'"))
            }
            _ if to.is_bare() => {
                for hook in [invite::message, voice::message] {
                    if hook(self, st, local, message)? == Flow::Done {
                        return Ok(Flow::Done);
                    }
                }
                Err(StanzaError::new(Condition::BadRequest).text("what is for all is of the type 'groupchat'"))
            }
            _ => self.private(st, local, message),
        }
    }

    fn groupchat(&mut self, st: &mut State, local: &str, message: &Stanza) -> Handled {
        let Some(from) = message.from.clone() else { return Ok(Flow::Done) };
        let room = self.room(local, &from)?;
        if from == room.jid && st.is_notification(message) {
            let mut said = message.clone();
            said.to = None;
            self.publish(st, local, &from, said)?;
            return Ok(Flow::Done);
        }
        let Some((nick, _)) = room.occupant_of(&from) else { return Err(Condition::NotAcceptable.into()) };
        let nick: Box<str> = nick.into();
        let subject = is_subject(message);
        room.must(&from, if subject { Privilege::Subject } else { Privilege::Speak })?;
        let Ok(speaker) = room.jid.with_resource(&nick) else { return Ok(Flow::Done) };
        let mut said = message.clone().from(speaker);
        cut_forged(room, &mut said);
        said.to = None;
        if subject {
            let mut xml = String::new();
            for subject in said.children().filter(|c| c.is(Ns::CLIENT, "subject")) {
                xml.push_str(&subject.copy());
                if xml.len() > SUBJECT_BYTES {
                    let text = format!("a subject has at most {SUBJECT_BYTES} bytes");
                    return Err(StanzaError::new(Condition::PolicyViolation).text(text));
                }
            }
            room.set_subject(st, Subject { xml, nick: nick.as_ref().into(), at: st.time() })?;
        }
        self.publish(st, local, &from, said)?;
        Ok(Flow::Done)
    }

    /// Archives what an occupant or the room itself says, and sends it to all. `from`: whose message it is, or the room.
    ///
    /// # Errors
    /// `resource-constraint` if it must be archived, because its sender is promised that, and cannot be.
    pub(super) fn publish(
        &mut self,
        st: &mut State,
        local: &str,
        from: &Jid,
        mut said: Stanza,
    ) -> Result<(), StanzaError> {
        let Some(room) = self.rooms.get_mut(local) else { return Ok(()) };
        if lasting(&said) {
            said.mark = st.next_mark();
            match history::keep(st, room, from, &said) {
                Ok(id) => {
                    let uid = st.uid(&room.owner, id);
                    said.note(Ns::SID, "stanza-id", &[("by", room.jid.as_str()), ("id", &uid)]);
                }
                Err(error) => {
                    let promised = st.session_at(from).and_then(|sid| st.session(sid));
                    if promised.is_some_and(|session| session.managed.is_some()) {
                        return Err(error);
                    }
                }
            }
        }
        if let Some((_, occupant)) = room.occupant_of(from) {
            said.note(Ns::OCCUPANT_ID, "occupant-id", &[("id", &occupant.id)]);
        }
        // Nobody keeps it for those who do not acknowledge it: they get it from the archive.
        said.mark = 0;
        room.say(st, &said);
        Ok(())
    }

    fn private(&mut self, st: &mut State, local: &str, message: &Stanza) -> Handled {
        let (Some(from), Some(to)) = (message.from.clone(), message.to.clone()) else { return Ok(Flow::Done) };
        let room = self.room(local, &from)?;
        let Some((nick, me)) = room.occupant_of(&from) else { return Err(Condition::NotAcceptable.into()) };
        let (speaker, id) = (room.jid.with_resource(nick), me.id.clone());
        room.must(&from, Privilege::Private)?;
        let mut said = message.clone();
        cut_forged(room, &mut said);
        said.from = speaker.ok();
        let Some(target) = to.resource().and_then(|nick| room.occupants.get_mut(nick)) else {
            return Err(Condition::ItemNotFound.into());
        };
        said.push("<x xmlns='http://jabber.org/protocol/muc#user'/>");
        said.note(Ns::OCCUPANT_ID, "occupant-id", &[("id", &id)]);
        // All of them get the same message, by the same name.
        said.mark = st.mark_for(&said);
        // Also to who is being sent the history: later it would not be the same message for all of them.
        for jid in target.seats.keys() {
            st.send(said.clone().to(jid.clone()));
        }
        Ok(Flow::Done)
    }
}

/// Cuts what only the room may say (§17.3 of XEP-0045, XEP-0359 §3, XEP-0421 §4).
fn cut_forged(room: &Room, message: &mut Stanza) {
    let by_us = |jid: &str| Jid::parse(jid).is_ok_and(|jid| jid.bare() == room.jid);
    let forged = |c: Node<'_>| match c.ns() {
        Ns::MUC_USER | Ns::OCCUPANT_ID => true,
        Ns::SID => c.name() == "stanza-id" && c.attr("by").is_some_and(|by| by_us(&by)),
        Ns::DELAY => c.attr("from").is_some_and(|from| by_us(&from)),
        _ => false,
    };
    if [Ns::MUC_USER, Ns::OCCUPANT_ID, Ns::SID, Ns::DELAY].into_iter().any(|ns| message.may_have(ns)) {
        message.cut(forged);
    }
}
