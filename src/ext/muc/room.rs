//! A room: its configuration, its subject, who belongs to it, who is there; and how that changes.
//!
//! What changes is written first, if the room is persistent, then done, then told to all who are there. The one who asked for it is
//! answered with [`State::confirm`].

use super::affiliation::{Affiliation, Privilege, Role, ServerAdmins};
use super::config::RoomConfig;
use super::features::{self, Features};
use super::minute::Minute;
use super::occupant::Occupant;
use super::presence::{Notice, Whom, gone};
use crate::core::State;
use crate::core::share::{Shared, limits, may_have};
use crate::store::record::{Broken, Reader, Writer};
use crate::store::{StoreError, Tree, Whose, key};
use crate::wire::{Condition, Jid, Kind, Scope, Stanza, StanzaError, Type};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;

/// Affiliations in one room.
pub(super) const AFFILIATIONS: usize = 2000;
/// The same in bytes, their nicknames and reasons among it: a list of them is one answer. Half of both is for admins: what members and
/// strangers add, by invitations and registrations, leaves them room to ban somebody.
const AFFILIATIONS_BYTES: usize = 192 * 1024;
/// The longest reason that is kept or told, in bytes.
pub(super) const REASON_BYTES: usize = 1024;
/// Presence that one person may send to a room in a minute, joins and changes of nickname among it.
const PRESENCE_A_MINUTE: u32 = 60;
/// What a room costs besides its rows, in bytes, about.
const ROOM_BYTES: usize = 1024;
/// What an affiliation or an occupant costs besides its text, in bytes, about.
pub(super) const AROUND_BYTES: usize = 256;

pub(in crate::ext) const SHARED: Shared = Shared {
    what: "lists of one room",
    whole: limits![AFFILIATIONS, AFFILIATIONS_BYTES],
    share: "its admins: all; whoever else brings people in: the rule of half",
    checked: "ext/muc/room.rs",
    told: "`resource-constraint`: ask an admin",
};

#[derive(Debug)]
pub(super) struct Room {
    pub(super) jid: Jid,
    /// Whose its archive and its vCard are.
    pub(super) owner: Whose,
    /// What its owners have chosen.
    pub(super) config: RoomConfig,
    pub(super) subject: Subject,
    /// The first number of the log that may be in its archive: a room that had its name before shows nothing.
    pub(super) begins: u64,
    /// The first number of the log whose sender everybody may know: the room was semi-anonymous before.
    pub(super) open: u64,
    /// The one that everybody in the house belongs to: nobody owns it but who administers the server.
    pub(super) of_house: bool,
    /// Nobody but its owner is let in, and it is not stored, until it is configured (§10.1.1).
    pub(super) locked: bool,
    /// By bare JID; without an entry: none.
    pub(super) affiliations: BTreeMap<Jid, Affiliated>,
    /// Who administers the server: owners of every room.
    pub(super) server_admins: ServerAdmins,
    /// What hangs on it besides.
    pub(super) features: Features,
    /// Who is there, by nickname.
    pub(super) occupants: BTreeMap<Box<str>, Occupant>,
    /// Under which nickname a session is there, by full JID.
    pub(super) sessions: BTreeMap<Jid, Box<str>>,
    /// What was said, while nothing is archived ([`super::history`]).
    pub(super) past: VecDeque<Stanza>,
    /// In whose share it is ([`crate::core::State::whose`]): who made it; the service, if that account is gone. Empty: that is not known.
    pub(super) payer: Box<str>,
    /// How much of that share it takes, in bytes: [`Room::bytes`] when that was looked at last.
    pub(super) weight: usize,
    /// How much it may take in this turn.
    pub(super) most: usize,
    /// The bytes of its rows.
    pub(super) kept: usize,
    /// The bytes of what was said, and how many of them are in the share of that already; and how many they may be in this turn.
    pub(super) said: (usize, usize),
    pub(super) said_most: usize,
    /// Sessions that have left in this turn, and what they took of their share.
    pub(super) left: Vec<(Jid, usize)>,
    /// Who sent how much presence in this minute.
    pace: Minute,
    /// The last number of a presence.
    last: u64,
}

/// What a person is to a room.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Affiliated {
    pub(super) affiliation: Affiliation,
    /// The nickname that is theirs (§7.10).
    pub(super) nick: Option<Box<str>>,
    /// Why: of an outcast.
    pub(super) reason: Option<Box<str>>,
    /// The first number of the archive that may be read by somebody who was banned: what was said before the ban was lifted, they
    /// never see. It stays, whatever becomes of them.
    pub(super) since: u64,
    /// Who brought them in, by bare JID, if that was no admin.
    pub(super) by: Option<Box<str>>,
    /// A number that is greater than that of everybody who has been what they are, or something else, for longer. 0: before such numbers
    /// were stored, or they do not belong to the room.
    pub(super) given: u64,
}

impl Affiliated {
    /// What its row takes in memory, in bytes, about.
    fn bytes(&self, jid: &Jid) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        AROUND_BYTES + jid.as_str().len() + text(&self.nick) + text(&self.reason) + text(&self.by)
    }

    fn record(&self) -> Box<[u8]> {
        let version = if self.given > 0 { 3 } else { 1 + u8::from(self.by.is_some()) };
        let w = Writer::new(version).u8(self.affiliation.number());
        let w = w.opt_str(self.nick.as_deref()).opt_str(self.reason.as_deref()).u64(self.since);
        match version {
            3 => w.opt_str(self.by.as_deref()).u64(self.given).done(),
            _ => self.by.iter().fold(w, |w, by| w.str(by)).done(),
        }
    }

    fn from_record(record: &[u8]) -> Result<Affiliated, Broken> {
        let mut r = Reader::new(record)?;
        if !matches!(r.version, 1..=3) {
            return Err(Broken);
        }
        let affiliation = Affiliation::of_number(r.u8()?)?;
        let mut text = || r.opt_str().map(|text| text.map(Box::from));
        let (nick, reason) = (text()?, text()?);
        let since = r.u64()?;
        // Of those whom admins brought in, and of old ones, that is not said.
        let by = match r.version {
            1 => None,
            2 => Some(r.str()?.into()),
            _ => r.opt_str()?.map(Box::from),
        };
        let given = if r.version == 3 { r.u64()? } else { 0 };
        Ok(Affiliated { affiliation, nick, reason, since, by, given })
    }
}

/// What a room is about.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Subject {
    /// The `<subject/>` elements; empty: there was never one.
    pub(super) xml: String,
    /// The nickname of who set it.
    pub(super) nick: String,
    /// When, in milliseconds since 1970.
    pub(super) at: u64,
}

impl Subject {
    fn bytes(&self) -> usize {
        self.xml.len() + self.nick.len()
    }

    fn record(&self) -> Box<[u8]> {
        Writer::new(1).str(&self.xml).str(&self.nick).u64(self.at).done()
    }

    fn from_record(record: &[u8]) -> Result<Subject, Broken> {
        let mut r = Reader::new(record)?;
        if r.version != 1 {
            return Err(Broken);
        }
        Ok(Subject { xml: r.str()?.into(), nick: r.str()?.into(), at: r.u64()? })
    }

    /// A message with it.
    pub(super) fn message(&self, empty: Stanza) -> Stanza {
        let xml = format!("<message type='groupchat'>{}</message>", self.xml);
        let message = Stanza::parse(&xml, Scope::client()).ok().flatten();
        match (message, empty.from.clone()) {
            (Some(message), Some(from)) => message.from(from),
            (message, _) => message.unwrap_or(empty),
        }
    }

    /// The text in no particular language, or the first.
    pub(super) fn text(&self) -> String {
        let message = self.message(Stanza::new(Kind::Message, Type::Groupchat));
        let plain = message.children().find(|c| c.lang().is_none());
        plain.or_else(|| message.children().next()).map(|c| c.text().into_owned()).unwrap_or_default()
    }
}

/// The row of a room's configuration.
const CONFIG: &str = "config";
/// The row of its subject.
const SUBJECT: &str = "subject";
/// The row that says in whose share it is.
const PAYER: &str = "payer";
/// How the rows of affiliations begin; the bare JID follows.
const AFFILIATION: &str = "a ";

fn payer_record(payer: &str) -> Box<[u8]> {
    Writer::new(1).str(payer).done()
}

impl Room {
    /// A new one that its creator has to configure, in somebody's share.
    pub(super) fn new(jid: Jid, creator: &Jid, payer: &str, begins: u64, config: RoomConfig) -> Room {
        let mut room = Room::bare(jid, config, begins);
        room.locked = true;
        room.payer = payer.into();
        let owner = Affiliated { affiliation: Affiliation::Owner, given: begins, ..Affiliated::default() };
        room.keep(creator.bare(), owner);
        room
    }

    /// A new one that everybody in the house is to belong to, in the share of the service. It is stored with its configuration.
    pub(super) fn of_house(jid: Jid, begins: u64) -> Room {
        let payer: Box<str> = jid.domain().into();
        Room { of_house: true, locked: true, payer, ..Room::bare(jid, RoomConfig::default(), begins) }
    }

    fn bare(jid: Jid, config: RoomConfig, begins: u64) -> Room {
        Room {
            owner: Whose::room(jid.local().unwrap_or_default()),
            jid,
            config,
            subject: Subject::default(),
            begins,
            open: 0,
            of_house: false,
            locked: false,
            affiliations: BTreeMap::new(),
            server_admins: ServerAdmins::default(),
            features: Features::default(),
            occupants: BTreeMap::new(),
            sessions: BTreeMap::new(),
            past: VecDeque::new(),
            payer: Box::default(),
            weight: 0,
            most: 0,
            kept: 0,
            said: (0, 0),
            said_most: 0,
            left: Vec::new(),
            pace: Minute::default(),
            last: 0,
        }
    }

    pub(super) fn local(&self) -> &str {
        self.jid.local().unwrap_or_default()
    }

    /// The nickname of a session, and its occupant.
    pub(super) fn occupant_of(&self, jid: &Jid) -> Option<(&str, &Occupant)> {
        let nick = self.sessions.get(jid)?;
        self.occupants.get(nick).map(|occupant| (&**nick, occupant))
    }

    /// What a person (bare or full JID) is to the room, by their own row.
    pub(super) fn known(&self, jid: &Jid) -> Affiliated {
        self.affiliations.get(jid.bare_str()).cloned().unwrap_or_default()
    }

    /// The first number of the archive that somebody may read.
    pub(super) fn reads_from(&self, jid: &Jid) -> u64 {
        let rows = [jid.bare_str(), jid.domain()].into_iter().filter_map(|who| self.affiliations.get(who));
        rows.map(|known| known.since).fold(self.begins, u64::max)
    }

    /// Whether somebody may know whose a message of the archive is.
    pub(super) fn shows_sender(&self, jid: &Jid, number: u64) -> bool {
        let always = self.affiliation(jid) >= Affiliation::Admin || self.role(jid) >= Role::Moderator;
        always || number >= self.open && self.may(jid, Privilege::SeeJids)
    }

    /// The nicknames under which a person is there.
    pub(super) fn nicks_of(&self, bare: &Jid) -> Vec<Box<str>> {
        let theirs = self.occupants.iter().filter(|(_, occupant)| occupant.bare.bare_str() == bare.bare_str());
        theirs.map(|(nick, _)| nick.clone()).collect()
    }

    /// Whose a nickname is: who is there with it, or for whom it is reserved (§7.10).
    pub(super) fn nick_owner(&self, nick: &str) -> Option<&Jid> {
        let reserved = || {
            let mut all = self.affiliations.iter();
            all.find(|(_, known)| known.nick.as_deref() == Some(nick)).map(|(jid, _)| jid)
        };
        self.occupants.get(nick).map(|occupant| &occupant.bare).or_else(reserved)
    }

    /// Whether it is stored.
    pub(super) fn is_stored(&self) -> bool {
        self.config.persistent && !self.locked
    }

    /// What it takes in memory, in bytes, about, without who is there.
    pub(super) fn bytes(&self) -> usize {
        ROOM_BYTES + 2 * self.owner.len() + self.kept + self.config.bytes() + self.subject.bytes()
    }

    /// Whether it may take so much more.
    ///
    /// # Errors
    /// `resource-constraint` if that is not in the share of who made it.
    pub(super) fn fits(&self, more: usize) -> Result<(), StanzaError> {
        if more == 0 || self.bytes() + more <= self.most {
            return Ok(());
        }
        let text = "the rooms of whoever made this one have their share of what all rooms may take; shorten a list or destroy one";
        Err(StanzaError::new(Condition::ResourceConstraint).text(text))
    }

    /// Something was added, and something taken away, of what is counted in [`Room::bytes`].
    pub(super) fn count(&mut self, added: usize, gone: usize) {
        self.kept = (self.kept + added).saturating_sub(gone);
    }

    /// Keeps what somebody is, which is stored already.
    pub(super) fn keep(&mut self, jid: Jid, known: Affiliated) {
        let added = known.bytes(&jid);
        let gone = self.affiliations.get(&jid).map_or(0, |before| before.bytes(&jid));
        self.count(added, gone);
        self.affiliations.insert(jid, known);
    }

    /// Another one pays for it.
    pub(super) fn set_payer(&mut self, st: &mut State, payer: &str) -> Result<(), StanzaError> {
        self.put(st, PAYER, payer_record(payer))?;
        self.payer = payer.into();
        Ok(())
    }

    /// A number for a presence, greater than all before.
    pub(super) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Somebody sends presence.
    ///
    /// # Errors
    /// `resource-constraint` if they send it too often: everybody gets it.
    pub(super) fn pace(&mut self, st: &State, jid: &Jid) -> Result<(), StanzaError> {
        let text = "too much presence; wait a minute";
        self.pace.count(st, jid, 1, PRESENCE_A_MINUTE).map_err(|error| error.text(text))
    }

    // --- rows ---

    /// A row of a room that is read at the start.
    pub(super) fn load(
        rooms: &mut BTreeMap<Box<str>, Room>,
        host: &Jid,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let damaged = || StoreError::Damaged("a row of a room in the database is not readable".into());
        let (local, what) = key::split(key).ok_or_else(damaged)?;
        let what = std::str::from_utf8(what).map_err(|_| damaged())?;
        let room = match rooms.entry(local.into()) {
            std::collections::btree_map::Entry::Occupied(room) => room.into_mut(),
            std::collections::btree_map::Entry::Vacant(room) => {
                let jid = Jid::new(Some(local), host.domain(), None).map_err(|_| damaged())?;
                room.insert(Room::bare(jid, RoomConfig::default(), 0))
            }
        };
        if what == CONFIG {
            (room.config, room.begins, room.open) = RoomConfig::from_record(value)?;
        } else if what == SUBJECT {
            room.subject = Subject::from_record(value)?;
        } else if let Some(jid) = what.strip_prefix(AFFILIATION) {
            let jid = Jid::parse(jid).map_err(|_| damaged())?;
            room.keep(jid, Affiliated::from_record(value)?);
        } else if what == PAYER {
            room.payer = Reader::new(value)?.str()?.into();
        } else {
            features::load(room, what, value)?;
        }
        Ok(())
    }

    /// In whose share a room is that was read: one from before there were shares in that of the first of its owners, one whose payer
    /// is gone in that of the service. If that is not what is stored: the row that says so.
    pub(super) fn settle_payer(&mut self, st: &State) -> Option<(crate::store::Bytes, Box<[u8]>)> {
        let gone = |payer: &Jid| st.local(payer).is_some_and(|local| !st.accounts().contains_key(local));
        let payer: Box<str> = if self.payer.is_empty() {
            let mut owners = self.affiliations.iter().filter(|(_, known)| known.affiliation == Affiliation::Owner);
            owners.next().map(|(jid, _)| st.whose(jid).into())?
        } else if Jid::parse(&self.payer).is_ok_and(|payer| gone(&payer)) {
            self.jid.domain().into()
        } else {
            return None;
        };
        self.payer = payer;
        Some((self.key(PAYER), payer_record(&self.payer)))
    }

    /// Whether all of it was read: not so, if the power failed while it was made or destroyed.
    pub(super) fn is_whole(&self) -> bool {
        self.begins > 0
    }

    fn key(&self, what: &str) -> Box<[u8]> {
        key::named(self.local(), what)
    }

    /// Puts a row, if the room is stored. Asked first, it tells whether something can be changed at all.
    pub(super) fn put(&self, st: &mut State, what: &str, value: Box<[u8]>) -> Result<(), StanzaError> {
        if self.is_stored() {
            st.write()?.put(Tree::Room, self.key(what), value);
        }
        Ok(())
    }

    /// Removes a row, if the room is stored.
    pub(super) fn delete(&self, st: &mut State, what: &str) -> Result<(), StanzaError> {
        if self.is_stored() {
            st.write()?.delete(Tree::Room, self.key(what));
        }
        Ok(())
    }

    /// Removes all that is stored of it.
    pub(super) fn forget(&self, st: &mut State) -> Result<(), StanzaError> {
        // First: should the power fail before the others are gone, they are known to be remains.
        st.erase()?.delete(Tree::Room, self.key(CONFIG));
        st.barrier();
        let batch = st.write()?;
        batch.delete_all(Tree::Room, key::prefix(self.local()));
        features::forget(self, batch);
        Ok(())
    }

    /// The row of somebody: its key and its value.
    pub(super) fn row_of(&self, jid: &Jid, known: &Affiliated) -> (crate::store::Bytes, Box<[u8]>) {
        (self.key(&format!("{AFFILIATION}{}", jid.bare_str())), known.record())
    }

    fn put_affiliation(&self, st: &mut State, jid: &Jid, known: &Affiliated) -> Result<(), StanzaError> {
        let what = format!("{AFFILIATION}{}", jid.bare_str());
        if *known == Affiliated::default() { self.delete(st, &what) } else { self.put(st, &what, known.record()) }
    }

    // --- changes ---

    pub(super) fn set_subject(&mut self, st: &mut State, subject: Subject) -> Result<(), StanzaError> {
        self.fits(subject.bytes().saturating_sub(self.subject.bytes()))?;
        self.put(st, SUBJECT, subject.record())?;
        self.subject = subject;
        Ok(())
    }

    /// Makes a person (bare JID) something else, and tells all who are there (§9, §10). Who may not be there any more is
    /// removed: with 301 an outcast, with 321 who is no member of a members-only room. Whether it may be done is asked before
    /// ([`Room::may_set_affiliation`]). `notice`: the actor and the reason.
    ///
    /// # Errors
    /// `resource-constraint` if storage takes nothing, or there are too many.
    pub(super) fn set_affiliation(
        &mut self,
        st: &mut State,
        jid: &Jid,
        affiliation: Affiliation,
        notice: &Notice<'_>,
    ) -> Result<(), StanzaError> {
        self.set_affiliation_nick(st, jid, affiliation, None, notice)
    }

    /// The same, and reserves a nickname for them, if they belong to the room then.
    ///
    /// # Errors
    /// As [`Room::set_affiliation`].
    pub(super) fn set_affiliation_nick(
        &mut self,
        st: &mut State,
        jid: &Jid,
        affiliation: Affiliation,
        nick: Option<&str>,
        notice: &Notice<'_>,
    ) -> Result<(), StanzaError> {
        let jid = jid.bare();
        let before = self.known(&jid);
        if before.affiliation == Affiliation::None && affiliation != Affiliation::None {
            self.has_room(&[&jid], 0)?;
        }
        let mut known = Affiliated { affiliation, by: None, ..before.clone() };
        let cut = |reason: &str| reason[..reason.floor_char_boundary(REASON_BYTES)].into();
        known.reason = notice.reason.filter(|_| affiliation == Affiliation::Outcast).map(cut);
        if known.reason.is_some() && self.affiliations_bytes() > AFFILIATIONS_BYTES / 2 {
            // It is worth less than another row.
            known.reason = None;
        }
        if affiliation <= Affiliation::None {
            known.nick = None;
        } else if let Some(nick) = nick {
            known.nick = Some(nick).filter(|nick| !nick.is_empty()).map(Box::from);
        }
        if self.affiliation(&jid) == Affiliation::Outcast && affiliation != Affiliation::Outcast {
            known.since = st.last_mark().saturating_add(1);
        }
        if affiliation <= Affiliation::None {
            known.given = 0;
        } else if before.affiliation != affiliation {
            known.given = st.next_mark();
        }
        self.put_known(st, &jid, known)?;
        // What is on the list does not count for who administers the server.
        let affiliation = if self.server_admins.contains(&jid) { Affiliation::Owner } else { affiliation };
        // A domain: all of its people that are nobody special (§9.2).
        let mut nicks = self.nicks_of(&jid);
        if jid.local().is_none() && affiliation == Affiliation::Outcast {
            let theirs = |bare: &Jid| bare.domain() == jid.domain() && self.affiliation(bare) == Affiliation::Outcast;
            nicks.extend(self.occupants.iter().filter(|(_, o)| theirs(&o.bare)).map(|(nick, _)| nick.clone()));
        }
        for nick in nicks {
            let first = self.first_role(affiliation);
            if first == Role::None {
                let code = if affiliation == Affiliation::Outcast { 301 } else { 321 };
                self.remove(st, &nick, &gone(), &Notice { codes: &[code], ..*notice });
                continue;
            }
            let Some(occupant) = self.occupants.get_mut(&nick) else { continue };
            let was = occupant.role;
            // What comes with an affiliation goes with it; what was given besides stays.
            let came = |affiliation| affiliation >= Affiliation::Admin;
            if came(affiliation) || came(before.affiliation) || first > was && before.affiliation != affiliation {
                occupant.role = first;
            }
            self.show_change(st, &nick, was, notice);
        }
        Ok(())
    }

    /// Reserves a nickname for a person, or no more.
    ///
    /// # Errors
    /// As [`Room::set_affiliation`].
    pub(super) fn set_nick(&mut self, st: &mut State, jid: &Jid, nick: Option<&str>) -> Result<(), StanzaError> {
        let known = self.affiliations.get(jid.bare_str()).cloned().unwrap_or_default();
        self.put_known(st, &jid.bare(), Affiliated { nick: nick.map(Box::from), ..known })
    }

    /// Stores what somebody is, and keeps it.
    ///
    /// # Errors
    /// As [`Room::set_affiliation`].
    pub(super) fn put_known(&mut self, st: &mut State, jid: &Jid, known: Affiliated) -> Result<(), StanzaError> {
        let is_none = known == Affiliated::default();
        let before = self.affiliations.get(jid.as_str()).map_or(0, |before| before.bytes(jid));
        self.fits(if is_none { 0 } else { known.bytes(jid).saturating_sub(before) })?;
        self.put_affiliation(st, jid, &known)?;
        if is_none {
            self.affiliations.remove(jid.as_str());
            self.count(0, before);
        } else {
            self.keep(jid.clone(), known);
        }
        Ok(())
    }

    /// What a list of everybody takes, in bytes, about.
    fn affiliations_bytes(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_deref().map_or(0, str::len);
        self.affiliations.iter().map(|(jid, known)| jid.as_str().len() + text(&known.nick) + text(&known.reason)).sum()
    }

    /// Whether there is room for those, who have no row yet, and for so many bytes of nicknames and reasons.
    pub(super) fn has_room(&self, new: &[&Jid], texts: usize) -> Result<(), StanzaError> {
        let new = new.iter().filter(|jid| !self.affiliations.contains_key(jid.bare_str()));
        let (count, bytes) = new.fold((0, 0), |(count, bytes), jid| (count + 1, bytes + jid.bare_str().len()));
        let full =
            self.affiliations.len() + count > AFFILIATIONS || self.affiliations_bytes() + bytes > AFFILIATIONS_BYTES;
        if count > 0 && full {
            let text = "the lists of this room are full";
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        self.fits(texts + count * AROUND_BYTES + bytes)
    }

    /// The same for those whom somebody adds who is no admin.
    pub(super) fn has_room_for_guests(&self, by: &Jid, new: &[&Jid]) -> Result<(), StanzaError> {
        let text = "you have brought as many people into this room as you may; ask an admin";
        let theirs = self.affiliations.iter().filter(|(_, known)| known.by.as_deref() == Some(by.bare_str()));
        let (count, bytes) = theirs.fold((0, 0), |(n, bytes), (jid, _)| (n + 1, bytes + jid.as_str().len()));
        let more = new.iter().map(|jid| jid.bare_str().len()).sum();
        let rows = may_have(count, new.len(), self.affiliations.len(), AFFILIATIONS / 2);
        if !rows || !may_have(bytes, more, self.affiliations_bytes(), AFFILIATIONS_BYTES / 2) {
            return Err(StanzaError::new(Condition::ResourceConstraint).text(text));
        }
        self.has_room(new, 0)
    }

    /// Somebody who is no admin has brought somebody in.
    pub(super) fn brought(&mut self, st: &mut State, jid: &Jid, by: &Jid) -> Result<(), StanzaError> {
        self.put_known(st, jid, Affiliated { by: Some(by.bare_str().into()), ..self.known(jid) })
    }

    /// Gives an occupant another role and tells all (§8.2 to §8.5); [`Role::None`]: removes it, with 307. Whether it may be done
    /// is asked before ([`Room::may_set_role`]).
    pub(super) fn set_role(&mut self, st: &mut State, nick: &str, role: Role, notice: &Notice<'_>) {
        if role == Role::None {
            return self.remove(st, nick, &gone(), &Notice { codes: &[307], ..*notice });
        }
        let Some(occupant) = self.occupants.get_mut(nick) else { return };
        let was = std::mem::replace(&mut occupant.role, role);
        self.show_change(st, nick, was, notice);
    }

    /// Removes an occupant with all sessions, and tells all. `presence` is unavailable.
    pub(super) fn remove(&mut self, st: &mut State, nick: &str, presence: &Stanza, notice: &Notice<'_>) {
        self.hide(st, nick, Whom::All, presence, notice);
        if let Some(occupant) = self.occupants.remove(nick) {
            for (jid, seat) in occupant.seats {
                self.sessions.remove(&jid);
                self.left.push((jid, seat.weight));
                seat.removed().for_each(|stanza| st.send(stanza));
            }
        }
    }

    /// Removes one session; its occupant, if it was the last one.
    pub(super) fn remove_session(&mut self, st: &mut State, jid: &Jid, presence: &Stanza, notice: &Notice<'_>) {
        let Some(nick) = self.sessions.get(jid).cloned() else { return };
        let Some(occupant) = self.occupants.get_mut(&nick) else { return };
        if occupant.seats.len() == 1 {
            return self.remove(st, &nick, presence, notice);
        }
        self.hide(st, &nick, Whom::Own(jid), presence, notice);
        let Some(occupant) = self.occupants.get_mut(&nick) else { return };
        let shown = |occupant: &Occupant| occupant.shown().map(|(jid, _)| jid.clone());
        let was = shown(occupant);
        if let Some(seat) = occupant.seats.remove(jid) {
            self.left.push((jid.clone(), seat.weight));
            seat.removed().for_each(|stanza| st.send(stanza));
        }
        let changed = was != shown(occupant);
        self.sessions.remove(jid);
        if changed {
            self.show(st, &nick, Whom::All, &Notice::default());
        }
    }

    /// Another configuration; a locked room is open from now on. Those who may not be there any more are removed with 322, all
    /// others are told with 104, 170 to 173 what is different (§10.2.1).
    ///
    /// # Errors
    /// `resource-constraint` if storage takes nothing; then nothing is changed.
    pub(super) fn configure(&mut self, st: &mut State, config: RoomConfig) -> Result<(), StanzaError> {
        self.fits(config.bytes().saturating_sub(self.config.bytes()))?;
        st.write()?;
        let was_stored = self.is_stored();
        let before = std::mem::replace(&mut self.config, config);
        let was_locked = std::mem::replace(&mut self.locked, false);
        if before.semi_anonymous && !self.config.semi_anonymous {
            self.open = st.last_mark().saturating_add(1);
        }
        if self.is_stored() {
            if !was_stored {
                self.put(st, SUBJECT, self.subject.record())?;
                for (jid, known) in &self.affiliations {
                    self.put_affiliation(st, jid, known)?;
                    st.step();
                }
                features::store(self, st)?;
                self.put(st, PAYER, payer_record(&self.payer))?;
            }
            // Last: a room without that row is none ([`Room::is_whole`]).
            self.put(st, CONFIG, self.config.record(self.begins, self.open))?;
        } else if was_stored {
            self.forget(st)?;
            features::forgotten(self);
        }
        if self.config.archive && !before.archive {
            self.past.clear();
            self.said.0 = 0;
        }
        // What was made for others may show what they may not see any more.
        self.occupants.values_mut().for_each(|occupant| occupant.faces = None);
        let mut codes = Vec::new();
        if !was_locked && before != self.config {
            let privacy = [(before.archive, self.config.archive, 170, 171)];
            let anonymous = [(before.semi_anonymous, self.config.semi_anonymous, 173, 172)];
            for (was, is, on, off) in privacy.into_iter().chain(anonymous) {
                if was != is {
                    codes.push(if is { on } else { off });
                }
            }
            if codes.is_empty() {
                codes.push(104);
            }
        }
        let nicks: Vec<Box<str>> = self.occupants.keys().cloned().collect();
        for nick in nicks {
            let Some(occupant) = self.occupants.get(&nick) else { continue };
            let (was, first) = (occupant.role, self.first_role(self.affiliation(&occupant.bare)));
            if first == Role::None {
                self.remove(st, &nick, &gone(), &Notice { codes: &[322], ..Notice::default() });
            } else if before.moderated && !self.config.moderated && was == Role::Visitor {
                // Nobody needs voice any more.
                self.set_role(st, &nick, Role::Participant, &Notice::default());
            }
        }
        if !codes.is_empty() {
            let mut x = String::from("<x xmlns='http://jabber.org/protocol/muc#user'>");
            for code in codes {
                let _ = write!(x, "<status code='{code}'/>");
            }
            let message = Stanza::new(Kind::Message, Type::Groupchat).from(self.jid.clone()).with(x + "</x>");
            self.say(st, &message);
        }
        Ok(())
    }

    /// Sends a message to all sessions: prepared once, shared by all.
    pub(super) fn say(&mut self, st: &mut State, message: &Stanza) {
        for occupant in self.occupants.values_mut() {
            for (jid, seat) in &mut occupant.seats {
                seat.send(st, message.clone().to(jid.clone()));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_comes_back() {
        let outcast = Affiliated {
            affiliation: Affiliation::Outcast,
            reason: Some("why".into()),
            since: 7,
            ..Affiliated::default()
        };
        let member = Affiliated { affiliation: Affiliation::Member, nick: Some("n".into()), ..Affiliated::default() };
        let brought = Affiliated { by: Some("juliet@house.test".into()), ..member.clone() };
        let given = Affiliated { given: 7, ..member.clone() };
        let both = Affiliated { given: 7, ..brought.clone() };
        let all = [(1, Affiliated::default()), (1, outcast), (1, member), (2, brought), (3, given), (3, both)];
        for (version, known) in all {
            let record = known.record();
            assert_eq!((record[0], Affiliated::from_record(&record)), (version, Ok(known)));
            for end in 0..record.len() {
                assert_eq!(Affiliated::from_record(&record[..end]), Err(Broken), "{end}");
            }
        }
        assert_eq!(Affiliated::from_record(&[4]), Err(Broken), "a newer one");
    }

    /// What is counted as it comes and goes is what is there.
    #[test]
    fn a_room_knows_what_it_takes() {
        let jid = |text: &str| Jid::parse(text).unwrap();
        let creator = jid("juliet@house.test/balcony");
        let mut room =
            Room::new(jid("garden@conference.house.test"), &creator, "juliet@house.test", 1, RoomConfig::default());
        let empty = room.bytes();
        let long = Affiliated { reason: Some("r".repeat(500).into()), ..Affiliated::default() };
        for (n, known) in [(0, long.clone()), (1, long), (0, Affiliated::default())] {
            room.keep(jid(&format!("u{n}@house.test")), known);
        }
        let rows = room.affiliations.iter().map(|(jid, known)| known.bytes(jid)).sum::<usize>();
        assert_eq!(room.kept, rows);
        room.most = room.bytes() + 10;
        assert!(room.fits(10).is_ok() && room.fits(11).is_err());
        room.most = 0;
        assert!(room.fits(0).is_ok() && room.fits(1).is_err());
        assert_eq!(room.bytes() - empty, rows - creator.bare_str().len() - AROUND_BYTES);
    }
}
