//! Coming, changing and going (XEP-0045 §7.1, §7.2, §7.6, §7.7, §7.14).

use super::affiliation::{Affiliation, Privilege};
use super::config::RoomConfig;
use super::history::HistoryRequest;
use super::occupant::{Occupant, SEATS, Seat};
use super::presence::{Notice, Whom, clean, gone};
use super::room::Room;
use super::{LOCKED_MS, Muc, ROOMS_BYTES, ROOMS_OF_ONE, SEATS_BYTES};
use crate::core::share::may_have;
use crate::core::{Creators, Flow, Handled, RoomKind, State};
use crate::wire::{Condition, ErrorType, Jid, Kind, Node, Ns, Stanza, StanzaError, Type};
use std::collections::BTreeMap;

/// The longest nickname, in bytes.
pub(super) const NICK_BYTES: usize = 256;
/// The longest presence in a room, in bytes: everybody there gets it.
pub(super) const PRESENCE_BYTES: usize = 4096;
/// Admins and owners that are let in when a room is full.
const SPARE_OCCUPANTS: usize = 20;

/// The nickname in an address (§7.2.1, §17.1).
pub(super) fn nick(to: &Jid) -> Result<&str, StanzaError> {
    let malformed = |text: &'static str| StanzaError::new(Condition::JidMalformed).text(text);
    let nick = to.resource().ok_or(malformed("the nickname is missing"))?;
    if nick.trim().is_empty() {
        return Err(malformed("the nickname is empty"));
    }
    if nick.len() > NICK_BYTES {
        let text = format!("a nickname has at most {NICK_BYTES} bytes");
        return Err(StanzaError::new(Condition::PolicyViolation).text(text));
    }
    Ok(nick)
}

impl Muc {
    pub(super) fn presence(&mut self, st: &mut State, local: &str, presence: &Stanza) -> Handled {
        let (Some(from), Some(to)) = (presence.from.clone(), presence.to.clone()) else { return Ok(Flow::Done) };
        match presence.ty {
            Type::None => {
                if let Err(error) = self.available(st, local, presence, &from, &to) {
                    refuse(st, presence, &error);
                }
            }
            Type::Unavailable => {
                if let Some(room) = self.rooms.get_mut(local) {
                    let mut last = clean(presence);
                    if last.bytes() > PRESENCE_BYTES {
                        last = gone();
                    }
                    room.remove_session(st, &from, &last, &Notice::default());
                }
            }
            Type::Error => self.bounced(st, local, presence),
            // Rooms have no presence to subscribe to, and answer no probes.
            _ => {}
        }
        Ok(Flow::Done)
    }

    fn available(
        &mut self,
        st: &mut State,
        local: &str,
        presence: &Stanza,
        from: &Jid,
        to: &Jid,
    ) -> Result<(), StanzaError> {
        let joins = presence.child(Ns::MUC, "x");
        let inside = self.rooms.get(local).is_some_and(|room| room.sessions.contains_key(from));
        if joins.is_none() && !inside {
            return self.not_there(st, presence);
        }
        let nick = nick(to)?;
        let seen = clean(presence);
        if seen.bytes() > PRESENCE_BYTES {
            let text = format!("a presence in a room has at most {PRESENCE_BYTES} bytes");
            return Err(StanzaError::new(Condition::PolicyViolation).text(text));
        }
        let mut created = false;
        if !self.rooms.contains_key(local) {
            self.create(st, local, from, to)?;
            created = true;
        }
        let Some(room) = self.rooms.get_mut(local) else { return Ok(()) };
        let (before, weight) = (room.seat(from).map_or(0, |seat| seat.weight), Seat::bytes(from, &seen));
        let has_seat = || match self.seats.may(st.whose(from), weight.saturating_sub(before), SEATS_BYTES) {
            true => Ok(()),
            false => full("your sessions in rooms have their share of all; leave a room first"),
        };
        if inside {
            has_seat()?;
            room.pace(st, from)?;
            room.update(st, from, nick, &seen)?;
        } else {
            room.admits(st, from, nick, joins)?;
            has_seat()?;
            room.pace(st, from)?;
            room.enter(st, from, nick, &seen);
        }
        if let Some(seat) = room.seat(from) {
            seat.weight = weight;
            self.seats.take(st.whose(from), before);
            self.seats.add(st.whose(from), weight);
        }
        let Some(joins) = joins else { return Ok(()) };
        // What was read for it so far is of no use any more.
        room.greet(st, from, created);
        let wanted = HistoryRequest::read(st, room, joins);
        self.ask_history(st, local, from, wanted);
        Ok(())
    }

    /// §7.2.18: presence of somebody who believes to be there.
    fn not_there(&mut self, st: &mut State, presence: &Stanza) -> Result<(), StanzaError> {
        let x = "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='none' role='none'>\
                 <reason>You are not in the room.</reason></item>\
                 <status code='110'/><status code='307'/><status code='333'/></x>";
        if let (Some(from), Some(to)) = (&presence.from, &presence.to) {
            st.send(Stanza::new(Kind::Presence, Type::Unavailable).from(to.clone()).to(from.clone()).with(x));
        }
        Ok(())
    }

    /// §10.1: a room is made by entering it.
    fn create(&mut self, st: &mut State, local: &str, from: &Jid, to: &Jid) -> Result<(), StanzaError> {
        let allowed = match st.settings().create_rooms {
            Creators::Local => st.account(from).is_some(),
            Creators::Admins => st.administers(&from.bare()),
            Creators::Anybody => true,
        };
        if !allowed {
            let who = match st.settings().create_rooms {
                Creators::Admins => "the administrators of this server",
                _ => "people with an account here",
            };
            let text = format!("there is no such room, and only {who} may make one");
            return Err(StanzaError::new(Condition::NotAllowed).text(text));
        }
        if self.is_kept_for_house(st, local) && !st.administers(&from.bare()) {
            let text = "this name is kept for a room of everybody in the house: only the administrators of this server make one";
            return Err(StanzaError::new(Condition::NotAllowed).text(text));
        }
        let payer = st.whose(from);
        if st.local(from).is_some() && self.made.of(payer) >= ROOMS_OF_ONE {
            return full("you have made too many rooms; destroy one");
        }
        let begins = st.next_mark();
        let kind = st.settings().room_kind;
        let room = Room::new(to.bare(), from, payer, begins, RoomConfig::of(kind));
        if !self.bytes.may(payer, room.bytes(), ROOMS_BYTES) {
            return full(
                "the rooms that you made have their share of what all rooms may take; shorten a list or destroy one",
            );
        }
        self.rooms.insert(local.into(), room);
        self.look_at_house(st);
        self.enroll(local);
        self.lend(local);
        if kind == RoomKind::Channel {
            return self.open(st, local);
        }
        self.locks.insert(st.after(LOCKED_MS), (local.into(), begins));
        Ok(())
    }

    /// A new channel is there for everybody, before its maker has configured it.
    fn open(&mut self, st: &mut State, local: &str) -> Result<(), StanzaError> {
        let Some(room) = self.rooms.get_mut(local) else { return Ok(()) };
        let config = room.config.clone();
        let opened = room.configure(st, config);
        if opened.is_err() {
            // It was never stored, and nobody is there.
            self.sweep(st, local);
        }
        opened
    }

    /// An error from an occupant's address: if it says that nobody is there, the session is removed (§18.1.2, §11.1).
    pub(super) fn bounced(&mut self, st: &mut State, local: &str, stanza: &Stanza) {
        let Some(from) = &stanza.from else { return };
        let gone_away = match st.local(from) {
            // Of our own sessions it is known.
            Some(_) => st.session_at(from).is_none(),
            None => stanza.child(Ns::CLIENT, "error").is_some_and(is_gone),
        };
        if let Some(room) = self.rooms.get_mut(local).filter(|_| gone_away) {
            room.remove_session(st, from, &gone(), &Notice { codes: &[333], ..Notice::default() });
        }
    }
}

fn full<T>(text: &'static str) -> Result<T, StanzaError> {
    Err(StanzaError::new(Condition::ResourceConstraint).text(text))
}

/// Whether an error says that what was sent did not arrive, and more would not.
fn is_gone(error: Node<'_>) -> bool {
    let conditions = [
        Condition::Gone,
        Condition::ItemNotFound,
        Condition::RecipientUnavailable,
        Condition::Redirect,
        Condition::RemoteServerNotFound,
        Condition::RemoteServerTimeout,
        Condition::ServiceUnavailable,
    ];
    let conditions = conditions.map(Condition::as_str);
    error.children().any(|c| c.ns() == Ns::STANZAS && conditions.contains(&c.name()))
}

/// The answer to who was not let in says what it was about.
fn refuse(st: &mut State, presence: &Stanza, error: &StanzaError) {
    let (Some(from), Some(to)) = (&presence.from, &presence.to) else { return };
    let mut answer = Stanza::new(Kind::Presence, Type::Error).from(to.clone()).to(from.clone());
    if let Some(id) = presence.id() {
        answer = answer.with_id(&id);
    }
    let mut xml = String::new();
    error.write(&mut xml);
    st.send(answer.with("<x xmlns='http://jabber.org/protocol/muc'/>").with(xml));
}

impl Room {
    /// Whether somebody may enter with a nickname (§7.2.5 to §7.2.10).
    fn admits(&self, st: &State, from: &Jid, nick: &str, x: Option<Node<'_>>) -> Result<(), StanzaError> {
        let affiliation = self.affiliation(from);
        if self.locked && affiliation != Affiliation::Owner {
            return Err(StanzaError::new(Condition::ItemNotFound).text("the room is not configured yet"));
        }
        if affiliation == Affiliation::Outcast {
            return Err(Condition::Forbidden.into());
        }
        if !self.may(from, Privilege::Enter) {
            return Err(Condition::RegistrationRequired.into());
        }
        let password = self.config.password.as_ref().filter(|_| !self.server_admins.contains(from.bare_str()));
        if let Some(password) = password {
            let given = x.and_then(|x| x.child(Ns::MUC, "password")).map(|given| given.text());
            if given.as_deref() != Some(password.as_str()) {
                return Err(Condition::NotAuthorized.into());
            }
        }
        self.nick_is_free(from, nick)?;
        let spare = if affiliation >= Affiliation::Admin { SPARE_OCCUPANTS } else { 0 };
        let most = self.config.max_users as usize + spare;
        let all = self.occupants.len();
        match self.occupants.get(nick) {
            Some(own) if own.seats.len() >= SEATS => full("your nickname has as many sessions here as it can have"),
            None if all >= most => {
                let full = StanzaError::new(Condition::ServiceUnavailable).ty(ErrorType::Wait);
                Err(full.text("the room is full"))
            }
            None => {
                // One nickname is for whoever comes in.
                let own = self.occupants.values().filter(|other| st.whose(&other.bare) == st.whose(from)).count();
                if own > 0 && !may_have(own, 1, all, most) {
                    return full("you have your share of the nicknames in this room; leave with one first");
                }
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// §7.2.8: whose it is may have it, more than once.
    pub(super) fn nick_is_free(&self, from: &Jid, nick: &str) -> Result<(), StanzaError> {
        match self.nick_owner(nick) {
            Some(owner) if owner.bare_str() != from.bare_str() => Err(Condition::Conflict.into()),
            _ => Ok(()),
        }
    }

    /// A session comes in; the others are told, if they see something new.
    fn enter(&mut self, st: &mut State, from: &Jid, nick: &str, presence: &Stanza) {
        let since = self.next();
        let role = self.first_role(self.affiliation(from));
        let id = st.pseudonym(self.jid.as_str(), from, u64::MAX);
        let occupant = self.occupants.entry(nick.into()).or_insert_with(|| Occupant {
            bare: from.bare(),
            role,
            id: id.into(),
            seats: BTreeMap::new(),
            faces: None,
        });
        occupant.seats.insert(from.clone(), Seat::new(presence.clone(), since));
        let news = occupant.shown().is_some_and(|(jid, _)| jid == from);
        self.sessions.insert(from.clone(), nick.into());
        if news {
            self.show(st, nick, Whom::AllBut(from), &Notice::default());
        }
    }

    /// What a session gets that has just come, or lost track (§7.2.2, §17.3): all others, then itself. The history is next.
    fn greet(&mut self, st: &mut State, from: &Jid, created: bool) {
        let Some(nick) = self.sessions.get(from).cloned() else { return };
        if let Some(seat) = self.occupants.get_mut(&nick).and_then(|o| o.seats.get_mut(from)) {
            seat.release();
        }
        self.show_others(st, &nick, from);
        let mut codes = Vec::new();
        if !self.config.semi_anonymous {
            codes.push(100);
        }
        if self.config.archive {
            codes.push(170);
        }
        if created {
            codes.push(201);
        }
        self.show(st, &nick, Whom::Own(from), &Notice { codes: &codes, ..Notice::default() });
    }

    /// A session that is there sends another presence (§7.7), maybe under another nickname (§7.6).
    fn update(&mut self, st: &mut State, from: &Jid, nick: &str, presence: &Stanza) -> Result<(), StanzaError> {
        let Some(old) = self.sessions.get(from).cloned() else { return Ok(()) };
        if *old != *nick {
            self.nick_is_free(from, nick)?;
            self.rename(st, from, &old, nick, presence);
            return Ok(());
        }
        let since = self.next();
        let Some(occupant) = self.occupants.get_mut(&old) else { return Ok(()) };
        let shown = |occupant: &Occupant| occupant.shown().map(|(jid, seat)| (jid.clone(), seat.presence.clone()));
        let before = shown(occupant);
        if let Some(seat) = occupant.seats.get_mut(from) {
            (seat.presence, seat.since) = (presence.clone(), since);
        }
        let after = shown(occupant);
        let same = match (&before, &after) {
            (Some((was, before)), Some((is, after))) => was == is && content(before) == content(after),
            _ => false,
        };
        if !same {
            self.show(st, nick, Whom::All, &Notice::default());
        }
        Ok(())
    }

    /// All sessions under a nickname get another one.
    fn rename(&mut self, st: &mut State, from: &Jid, old: &str, nick: &str, presence: &Stanza) {
        let since = self.next();
        let Some(occupant) = self.occupants.get(old) else { return };
        let role = occupant.role;
        let notice = Notice { codes: &[303], nick: Some(nick), ..Notice::default() };
        self.tell(st, old, Whom::All, &gone(), role, &notice);
        let Some(mut occupant) = self.occupants.remove(old) else { return };
        if let Some(seat) = occupant.seats.get_mut(from) {
            (seat.presence, seat.since) = (presence.clone(), since);
        }
        for jid in occupant.seats.keys() {
            self.sessions.insert(jid.clone(), nick.into());
        }
        match self.occupants.get_mut(nick) {
            // Another of their sessions has that one already.
            Some(other) => {
                other.role = other.role.max(occupant.role);
                other.seats.append(&mut occupant.seats);
            }
            None => drop(self.occupants.insert(nick.into(), occupant)),
        }
        self.show(st, nick, Whom::All, &Notice::default());
    }
}

/// What a presence says, whatever its id.
fn content(presence: &Stanza) -> String {
    presence.children().map(|child| child.xml()).collect()
}
