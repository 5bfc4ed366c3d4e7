//! What a room says of who is in it (XEP-0045 §7.2.2): presence with the role and the affiliation, with the real JID for those who
//! may know it, and with codes that say why.

use super::affiliation::{Affiliation, Role};
use super::hats;
use super::occupant::Occupant;
use super::room::Room;
use crate::core::State;
use crate::wire::xml::escaped;
use crate::wire::{Jid, Kind, Ns, Stanza, Type};
use std::fmt::Write as _;

/// What is said of a change beside the change (XEP-0045 §16.6).
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Notice<'a> {
    /// Status codes for all who get it. 110 is there by itself for the one it is about.
    pub(super) codes: &'a [u16],
    /// The nickname of who did it.
    pub(super) actor: Option<&'a str>,
    /// What they said about it.
    pub(super) reason: Option<&'a str>,
    /// The nickname from now on.
    pub(super) nick: Option<&'a str>,
    /// One element that stands beside the item: `<destroy/>`.
    pub(super) element: Option<&'a str>,
}

/// Which occupants get a notice.
#[derive(Clone, Copy, Debug)]
pub(super) enum Whom<'a> {
    /// All sessions in the room.
    All,
    AllBut(&'a Jid),
    /// All sessions of the others.
    Others,
    /// This session, which is the occupant's own.
    Own(&'a Jid),
}

/// What the others see of an occupant: without the real JID, and with it.
#[derive(Debug)]
pub(super) struct Faces {
    hidden: Stanza,
    open: Stanza,
}

/// `<x xmlns='http://jabber.org/protocol/muc#user'>` about an occupant. `own`: for themselves.
fn x(affiliation: Affiliation, role: Role, jid: Option<&Jid>, notice: &Notice<'_>, own: bool) -> String {
    let mut out = String::from("<x xmlns='http://jabber.org/protocol/muc#user'><item");
    let mut attr = |name: &str, value: &str| {
        let _ = write!(out, " {name}='{}'", escaped(value));
    };
    attr("affiliation", affiliation.as_str());
    attr("role", role.as_str());
    if let Some(jid) = jid {
        attr("jid", jid.as_str());
    }
    if let Some(nick) = notice.nick {
        attr("nick", nick);
    }
    if notice.actor.is_some() || notice.reason.is_some() {
        out.push('>');
        if let Some(actor) = notice.actor {
            let _ = write!(out, "<actor nick='{}'/>", escaped(actor));
        }
        if let Some(reason) = notice.reason {
            let _ = write!(out, "<reason>{}</reason>", escaped(reason));
        }
        out.push_str("</item>");
    } else {
        out.push_str("/>");
    }
    out.push_str(notice.element.unwrap_or_default());
    let mut codes = notice.codes.to_vec();
    if own {
        codes.push(110);
    }
    codes.sort_unstable();
    for code in codes {
        let _ = write!(out, "<status code='{code}'/>");
    }
    out + "</x>"
}

/// Cuts from a presence what only the room may say (§17.3, XEP-0359 §3, XEP-0203 §5), and the request to enter.
pub(super) fn clean(presence: &Stanza) -> Stanza {
    let mut presence = presence.clone();
    let room = presence.to.as_ref().map(Jid::bare);
    let by_room = |jid: &str| Jid::parse(jid).is_ok_and(|jid| Some(jid.bare()) == room);
    presence.cut(|c| match c.ns() {
        Ns::MUC | Ns::MUC_USER | Ns::OCCUPANT_ID | Ns::HATS => true,
        Ns::SID => c.attr("by").is_some_and(|by| by_room(&by)),
        Ns::DELAY => c.attr("from").is_none_or(|from| by_room(&from)),
        _ => false,
    });
    presence
}

/// A presence that says nothing but that somebody is gone.
pub(super) fn gone() -> Stanza {
    Stanza::new(Kind::Presence, Type::Unavailable)
}

impl Room {
    /// A presence of an occupant as one kind of receiver sees it.
    fn face(
        &self,
        nick: &str,
        occupant: &Occupant,
        said: (&Stanza, Role, Option<&Jid>),
        notice: &Notice<'_>,
        own: bool,
    ) -> Stanza {
        let (presence, role, jid) = said;
        let affiliation = self.affiliation(&occupant.bare);
        let mut face = presence.clone();
        face.from = self.jid.with_resource(nick).ok();
        face.push(x(affiliation, role, jid, notice, own));
        if presence.ty == Type::None
            && let Some(hats) = hats::element(self, &occupant.bare)
        {
            face.push(hats);
        }
        face.note(Ns::OCCUPANT_ID, "occupant-id", &[("id", &occupant.id)]);
        face
    }

    /// Tells that an occupant is there, as it is now.
    pub(super) fn show(&mut self, st: &mut State, nick: &str, whom: Whom<'_>, notice: &Notice<'_>) {
        let Some(occupant) = self.occupants.get(nick) else { return };
        let Some((_, seat)) = occupant.shown() else { return };
        let (presence, role) = (seat.presence.clone(), occupant.role);
        self.tell(st, nick, whom, &presence, role, notice);
    }

    /// Tells that an occupant is gone; it is still in the tables. `presence` is unavailable.
    pub(super) fn hide(&mut self, st: &mut State, nick: &str, whom: Whom<'_>, presence: &Stanza, notice: &Notice<'_>) {
        self.tell(st, nick, whom, presence, Role::None, notice);
    }

    /// Sends a presence of an occupant to those who get it.
    pub(super) fn tell(
        &mut self,
        st: &mut State,
        nick: &str,
        whom: Whom<'_>,
        presence: &Stanza,
        role: Role,
        notice: &Notice<'_>,
    ) {
        let Some(occupant) = self.occupants.get(nick) else { return };
        let jid = match whom {
            Whom::Own(jid) => Some(jid),
            _ => occupant.shown().map(|(jid, _)| jid),
        };
        let jid = jid.cloned();
        let jid = jid.as_ref();
        let own = self.face(nick, occupant, (presence, role, jid), notice, true);
        if let Whom::Own(jid) = whom {
            if let Some(seat) = self.occupants.get_mut(nick).and_then(|occupant| occupant.seats.get_mut(jid)) {
                seat.send(st, own.to(jid.clone()));
            }
            return;
        }
        // §7.2.2: whose presence is broadcast, is a setting.
        let seen = self.config.broadcast.has(occupant.role);
        let open = self.face(nick, occupant, (presence, role, jid), notice, false);
        let hidden = if self.config.semi_anonymous {
            self.face(nick, occupant, (presence, role, None), notice, false)
        } else {
            open.clone()
        };
        for (name, other) in &mut self.occupants {
            let mine = **name == *nick;
            if mine && matches!(whom, Whom::Others) || !mine && !seen {
                continue;
            }
            let face = match mine {
                true => &own,
                false if other.role == Role::Moderator => &open,
                false => &hidden,
            };
            for (jid, seat) in &mut other.seats {
                if !matches!(whom, Whom::AllBut(but) if but == jid) {
                    seat.send(st, face.clone().to(jid.clone()));
                }
            }
        }
        if let Some(occupant) = self.occupants.get_mut(nick) {
            let plain = presence.ty == Type::None && notice.reason.is_none() && notice.actor.is_none();
            occupant.faces = (plain && notice.codes.is_empty()).then_some(Faces { hidden, open });
        }
    }

    /// Sends a session the presence of all others (§7.2.2).
    pub(super) fn show_others(&mut self, st: &mut State, nick: &str, to: &Jid) {
        let moderator = self.role(to) == Role::Moderator;
        let others: Vec<Box<str>> = self.occupants.keys().filter(|name| ***name != *nick).cloned().collect();
        for other in others {
            let Some(occupant) = self.occupants.get(&other) else { continue };
            if !self.config.broadcast.has(occupant.role) {
                continue;
            }
            let faces = match &occupant.faces {
                Some(_) => None,
                None => occupant.shown().map(|(jid, seat)| {
                    let notice = Notice::default();
                    let said = |jid| (&seat.presence, occupant.role, jid);
                    let open = self.face(&other, occupant, said(Some(jid)), &notice, false);
                    let hidden = if self.config.semi_anonymous {
                        self.face(&other, occupant, said(None), &notice, false)
                    } else {
                        open.clone()
                    };
                    Faces { hidden, open }
                }),
            };
            let Some(occupant) = self.occupants.get_mut(&other) else { continue };
            if faces.is_some() {
                occupant.faces = faces;
            }
            let Some(Faces { hidden, open }) = &occupant.faces else { continue };
            let face = if moderator { open } else { hidden }.clone().to(to.clone());
            if let Some(seat) = self.occupants.get_mut(nick).and_then(|me| me.seats.get_mut(to)) {
                seat.send(st, face);
            }
        }
    }

    /// An occupant has another role or affiliation: all are told. `was`: the role before.
    pub(super) fn show_change(&mut self, st: &mut State, nick: &str, was: Role, notice: &Notice<'_>) {
        let Some(role) = self.occupants.get(nick).map(|occupant| occupant.role) else { return };
        if self.config.broadcast.has(was) && !self.config.broadcast.has(role) {
            // The others see it no longer.
            if let Some(occupant) = self.occupants.get_mut(nick) {
                occupant.role = was;
            }
            self.hide(st, nick, Whom::Others, &gone(), &Notice::default());
            if let Some(occupant) = self.occupants.get_mut(nick) {
                occupant.role = role;
            }
        }
        self.show(st, nick, Whom::All, notice);
    }
}
