//! XEP-0045: Multi-User Chat. Rooms at `conference.` of the domain.
//!
//! [`room`] is what a room is and how it changes, [`affiliation`] who may do what, [`config`] what its owners can choose, [`occupant`]
//! who is there, [`presence`] what is told of them, [`heir`] what becomes of it when an account goes. The use cases stand beside: each a file with functions that take the whole
//! service, the state of the server, the room's localpart and the stanza, and return what a hook returns.
//!
//! What is sent to one room comes out in one order for all: everything a room says goes through the queue of the turn, and a session
//! that is being sent the history gets the rest behind it ([`history`]).

mod admin;
mod affiliation;
mod archive;
mod command;
mod config;
mod disco;
mod features;
pub(in crate::ext) mod forward;
mod hats;
mod heir;
mod history;
mod house;
mod invite;
mod join;
mod message;
pub(in crate::ext) mod minute;
pub(in crate::ext) mod moderate;
mod occupant;
mod owner;
mod presence;
mod register;
pub(in crate::ext) mod room;
mod search;
mod vcard;
mod voice;

use super::archive::Unreadable;
use super::archive::query::Queue;
use crate::core::share::{Shared, Shares, limits};
use crate::core::{About, Command, Event, Extension, Flow, Handled, Job, State, scan};
use crate::store::{BATCH_OPS, Batch, Engine, Rows, StoreError, Tree, Whose, key};
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type};
use affiliation::{Affiliation, ServerAdmins};
use config::OCCUPANTS_MOST;
use minute::Minute;
use presence::{Notice, Whom, gone};
use room::Room;
use std::collections::{BTreeMap, BTreeSet};

/// What all rooms may take in memory, in bytes, about, without who is there.
const ROOMS_BYTES: usize = 16 * 1024 * 1024;
/// Rooms that one account may have made.
const ROOMS_OF_ONE: usize = 200;
/// The vCards of all rooms, in bytes.
const VCARDS_BYTES: usize = 32 * 1024 * 1024;
/// What was said in all rooms without an archive, and is kept in memory, in bytes.
const SAID_BYTES: usize = 8 * 1024 * 1024;
/// What all who are in rooms take in memory, in bytes, about.
const SEATS_BYTES: usize = 32 * 1024 * 1024;
/// What waits in all rooms for those who are being sent the history, in bytes, about.
const HELD_BYTES: usize = 8 * 1024 * 1024;
/// Time in which who made a room must configure it, in milliseconds; then it is gone.
const LOCKED_MS: u64 = 5 * 60_000;

pub(super) const SHARED: [Shared; 5] = [
    Shared {
        what: "rooms: lists with reasons and nicknames, configuration, subject, hats, what was taken back",
        whole: limits![ROOMS_BYTES, ROOMS_OF_ONE],
        share: "an account: that number of rooms that it made, and the rule for their bytes, whoever makes them grow",
        checked: "ext/muc/room.rs",
        told: "`resource-constraint`: shorten a list or destroy a room",
    },
    Shared {
        what: "what was said in rooms without an archive",
        whole: limits![SAID_BYTES],
        share: "an account: the rule for the rooms that it made",
        checked: "ext/muc/history.rs",
        told: "the oldest in the same room is forgotten",
    },
    Shared {
        what: "vCards of rooms",
        whole: limits![VCARDS_BYTES],
        share: "an account: the rule for the rooms that it made",
        checked: "ext/muc/vcard.rs",
        told: "`resource-constraint`: remove a picture",
    },
    Shared {
        what: "sessions in rooms, with their presence",
        whole: limits![SEATS_BYTES, OCCUPANTS_MOST],
        share: "an account or a component: the rule; of the nicknames in one room, too, from the second on",
        checked: "ext/muc/join.rs",
        told: "`resource-constraint`: leave a room first",
    },
    Shared {
        what: "what is said in rooms and waits for those who are being sent the history",
        whole: limits![HELD_BYTES],
        share: "a room: the loudest one loses first",
        checked: "ext/muc/mod.rs",
        told: "its sessions get no history",
    },
];

pub(super) const SUBDOMAIN: &str = "conference";

#[derive(Default)]
pub(super) struct Muc {
    host: Option<Jid>,
    /// The rooms by localpart.
    rooms: BTreeMap<Box<str>, Room>,
    /// Who administers the server, as the rooms know it.
    server_admins: ServerAdmins,
    /// The setting and the invitations that it was made of.
    admins: (Vec<Jid>, BTreeSet<Jid>),
    /// When a locked room is removed: which, and where its archive begins, as another may have its name.
    locks: BTreeMap<Job, (Box<str>, u64)>,
    /// Histories that are being read.
    reads: BTreeMap<Job, history::Read>,
    /// Archives that are being read, by the full JID of who reads.
    queries: Queue<Jid>,
    unreadable: Unreadable,
    /// Requests from one occupant to another.
    forwards: forward::Forwards,
    /// Messages that are to be taken back, and are being read.
    moderations: BTreeMap<Job, moderate::Moderation>,
    /// Requests for vCards that are being read.
    vcards: BTreeMap<Job, Stanza>,
    /// The rooms that were made for everybody in the house, ever, by localpart, and whether each was ended.
    house: BTreeMap<Box<str>, bool>,
    /// What people make rooms send to others.
    knocks: Minute,
    /// What the rooms take that somebody made, in bytes, and how many they are.
    bytes: Shares,
    made: Shares,
    /// The same of their vCards, and of what was said there.
    vcard_bytes: Shares,
    said: Shares,
    /// What the sessions take that are in rooms, in bytes.
    seats: Shares,
    /// What waits in each room, in bytes.
    held: Shares,
}

impl Muc {
    /// A room that can be used, or `item-not-found`: one that is locked is not there but for who is in it (§7.2.10, §17.2).
    fn room(&mut self, local: &str, from: &Jid) -> Result<&mut Room, StanzaError> {
        let room = self.rooms.get_mut(local).ok_or(Condition::ItemNotFound)?;
        if room.locked && !room.sessions.contains_key(from) {
            return Err(Condition::ItemNotFound.into());
        }
        Ok(room)
    }

    /// Says a room how much it may take in this turn.
    fn lend(&mut self, local: &str) {
        if let Some(room) = self.rooms.get_mut(local) {
            room.most = room.weight + self.bytes.spare(&room.payer, ROOMS_BYTES);
            room.said_most = room.said.1 + self.said.spare(&room.payer, SAID_BYTES);
        }
    }

    /// Counts what a room takes now, and who has left it.
    fn settle(&mut self, st: &State, local: &str) {
        let Some(room) = self.rooms.get_mut(local) else { return };
        let bytes = room.bytes();
        if bytes != room.weight {
            self.bytes.take(&room.payer, room.weight);
            self.bytes.add(&room.payer, bytes);
            room.weight = bytes;
        }
        for (shares, (now, before)) in
            [(&mut self.vcard_bytes, &mut room.features.picture), (&mut self.said, &mut room.said)]
        {
            if now != before {
                shares.take(&room.payer, *before);
                shares.add(&room.payer, *now);
                *before = *now;
            }
        }
        for (jid, weight) in room.left.drain(..) {
            self.seats.take(st.whose(&jid), weight);
        }
    }

    /// A room is in somebody's share from now on.
    fn enroll(&mut self, local: &str) {
        let Some(room) = self.rooms.get_mut(local) else { return };
        room.server_admins = self.server_admins.clone();
        room.weight = room.bytes();
        (room.features.picture.1, room.said.1) = (room.features.picture.0, room.said.0);
        self.bytes.add(&room.payer, room.weight);
        self.vcard_bytes.add(&room.payer, room.features.picture.1);
        self.said.add(&room.payer, room.said.1);
        self.made.add(&room.payer, 1);
    }

    /// It is no longer.
    fn strike(&mut self, room: &Room) {
        self.bytes.take(&room.payer, room.weight);
        self.vcard_bytes.take(&room.payer, room.features.picture.1);
        self.said.take(&room.payer, room.said.1);
        self.made.take(&room.payer, 1);
    }

    /// An owner goes on with a room whose maker is none of its owners any more: it is in the share of that one from now on, if it
    /// has room there. Nobody gets a room into theirs by what others do, nor who only looks after the server.
    fn adopt(&mut self, st: &mut State, local: &str, owner: &Jid) {
        let heir: Box<str> = st.whose(owner).into();
        let Some(room) = self.rooms.get_mut(local) else { return };
        if room.known(owner).affiliation != Affiliation::Owner {
            return;
        }
        let left = room.affiliations.get(&*room.payer).is_none_or(|known| known.affiliation != Affiliation::Owner);
        if heir == room.payer || !left || !self.bytes.may(&heir, room.weight, ROOMS_BYTES) {
            return;
        }
        let (before, weight, picture, said) = (room.payer.clone(), room.weight, room.features.picture.1, room.said.1);
        if room.set_payer(st, &heir).is_ok() {
            let parts = [(&mut self.bytes, weight), (&mut self.vcard_bytes, picture), (&mut self.said, said)];
            for (shares, part) in parts.into_iter().chain([(&mut self.made, 1)]) {
                shares.take(&before, part);
                shares.add(&heir, part);
            }
            self.lend(local);
        }
    }

    /// Counts anew what all rooms take.
    fn recount(&mut self) {
        (self.bytes, self.vcard_bytes, self.said, self.made) = Default::default();
        let all: Vec<Box<str>> = self.rooms.keys().cloned().collect();
        all.iter().for_each(|local| self.enroll(local));
    }

    /// Removes a room, and tells all who are there. `destroy`: the element that says so (§10.9), empty for none.
    ///
    /// # Errors
    /// `resource-constraint` if storage takes nothing; then it stays.
    fn destroy(&mut self, st: &mut State, local: &str, destroy: &str) -> Result<(), StanzaError> {
        let Some(room) = self.rooms.get(local) else { return Ok(()) };
        if room.is_stored() {
            st.erase()?;
        }
        // First: should the power fail before the room is gone, nothing is said in another one of its name.
        st.lose_notifiers(&room.jid);
        st.lose_invitations(&room.jid);
        if room.is_stored() {
            room.forget(st)?;
        }
        let Some(mut room) = self.rooms.remove(local) else { return Ok(()) };
        self.strike(&room);
        self.house_ended(st, &room);
        let lock = self.locks.iter().find(|(_, (name, begins))| **name == *local && *begins == room.begins);
        if let Some(job) = lock.map(|(job, _)| *job) {
            self.locks.remove(&job);
            st.forget(job);
        }
        self.held.take(local, usize::MAX);
        for (jid, nick) in &room.sessions {
            let seat = room.occupants.get(nick).and_then(|occupant| occupant.seats.get(jid));
            self.seats.take(st.whose(jid), seat.map_or(0, |seat| seat.weight));
        }
        for (jid, weight) in room.left.drain(..) {
            self.seats.take(st.whose(&jid), weight);
        }
        let nicks: Vec<Box<str>> = room.occupants.keys().cloned().collect();
        for nick in nicks {
            // Each only hears of itself: there is nobody left to whom the others matter.
            let seats: Vec<Jid> =
                room.occupants.get(&nick).map(|o| o.seats.keys().cloned().collect()).unwrap_or_default();
            for jid in seats {
                let notice = Notice { element: Some(destroy), ..Notice::default() };
                room.hide(st, &nick, Whom::Own(&jid), &gone(), &notice);
            }
            let seats = room.occupants.remove(&nick).map(|occupant| occupant.seats).unwrap_or_default();
            seats.into_values().flat_map(|seat| seat.removed()).for_each(|stanza| st.send(stanza));
        }
        Ok(())
    }

    /// After something was done in a room: what has nobody and is not to stay is gone.
    fn sweep(&mut self, st: &mut State, local: &str) {
        self.settle(st, local);
        if !self.reads.is_empty() || self.held.all() > 0 {
            self.hand_over_late(st, local);
        }
        let Some(room) = self.rooms.get(local) else { return };
        if room.sessions.is_empty() && !room.is_stored() {
            let _ = self.destroy(st, local, "");
        }
    }

    /// The storage is too slow: those for whom too much waits do without the history, and those in the room where most is said, if
    /// it is too much in all.
    fn hand_over_late(&mut self, st: &mut State, local: &str) {
        let late = |read: &&history::Read| *read.local == *local;
        let late: Vec<Jid> = self.reads.values().filter(late).map(|read| read.jid.clone()).collect();
        let Some(room) = self.rooms.get_mut(local) else { return };
        let mut held = 0;
        for jid in &late {
            if room.seat(jid).is_some_and(|seat| seat.holds_too_much()) {
                room.hand_over(st, jid, Vec::new());
            }
            held += room.seat(jid).map_or(0, |seat| seat.held());
        }
        self.held.take(local, usize::MAX);
        self.held.add(local, held);
        while self.held.all() > HELD_BYTES {
            let Some(loudest) = self.held.greediest().map(Box::<str>::from) else { return };
            self.held.take(&loudest, usize::MAX);
            let late: Vec<Jid> =
                self.reads.values().filter(|read| read.local == loudest).map(|read| read.jid.clone()).collect();
            if let Some(room) = self.rooms.get_mut(&loudest) {
                for jid in late.iter().filter(|jid| room_holds(room, jid)).cloned().collect::<Vec<_>>() {
                    room.hand_over(st, &jid, Vec::new());
                }
            }
        }
    }

    fn at_room(&mut self, st: &mut State, local: &str, stanza: &mut Stanza) -> Handled {
        match stanza.kind {
            Kind::Presence => self.presence(st, local, stanza),
            Kind::Message => self.message(st, local, stanza),
            Kind::Iq if stanza.to.as_ref().is_some_and(|to| !to.is_bare()) => self.forward(st, local, stanza),
            Kind::Iq if matches!(stanza.ty, Type::Get | Type::Set) => self.request(st, local, stanza),
            Kind::Iq => Ok(Flow::Done),
        }
    }

    /// A request to a room.
    fn request(&mut self, st: &mut State, local: &str, iq: &Stanza) -> Handled {
        let ns = iq.children().next().map_or(Ns::OTHER, |payload| payload.ns());
        match ns {
            Ns::DISCO_INFO | Ns::DISCO_ITEMS => self.room_disco(st, local, iq),
            Ns::MAM => self.query(st, local, iq),
            Ns::PING if self.rooms.contains_key(local) => st.reply(iq, ""),
            Ns::MUC_ADMIN => admin::iq(self, st, local, iq),
            Ns::MUC_OWNER => owner::iq(self, st, local, iq),
            Ns::REGISTER => register::iq(self, st, local, iq),
            Ns::MODERATE => moderate::iq(self, st, local, iq),
            Ns::VCARD => vcard::iq(self, st, local, iq),
            Ns::COMMANDS => hats::iq(self, st, local, iq),
            _ if !self.rooms.contains_key(local) => Err(Condition::ItemNotFound.into()),
            _ => Ok(Flow::Pass),
        }
    }

    /// To the service itself.
    fn at_service(&mut self, st: &mut State, stanza: &Stanza) -> Handled {
        if stanza.kind != Kind::Iq || !matches!(stanza.ty, Type::Get | Type::Set) {
            return Ok(Flow::Pass);
        }
        let ns = stanza.children().next().map_or(Ns::OTHER, |payload| payload.ns());
        match ns {
            _ if stanza.to.as_ref().is_some_and(|to| !to.is_bare()) => Err(Condition::ItemNotFound.into()),
            Ns::DISCO_INFO | Ns::DISCO_ITEMS => self.service_disco(st, stanza),
            Ns::PING => st.reply(stanza, ""),
            Ns::SEARCH => search::iq(self, st, stanza),
            _ => Ok(Flow::Pass),
        }
    }
}

/// Whether something waits for a session in a room.
fn room_holds(room: &mut Room, jid: &Jid) -> bool {
    room.seat(jid).is_some_and(|seat| seat.held() > 0)
}

impl Extension for Muc {
    fn about(&self) -> &'static About {
        &About {
            spec: "XEP-0045",
            name: "Multi-User Chat",
            version: "1.35.5",
            missing: "status 210 for a nickname that was prepared, 332 when the server stops",
            server: &[],
            account: &[],
            iq: &[],
        }
    }

    fn also(&self) -> &'static [About] {
        &[
            invite::DIRECT,
            hats::SPEC,
            forward::SELF_PING,
            disco::OCCUPANT_ID,
            moderate::MODERATION,
            search::CHANNELS,
            vcard::AVATARS,
        ]
    }

    fn load(&mut self, st: &mut State, engine: &mut dyn Engine) -> Result<(), StoreError> {
        let host = format!("{SUBDOMAIN}.{}", st.domain().domain());
        let Ok(host) = Jid::new(None, &host, None) else {
            log::error!("there are no rooms: {host} is not a domain name");
            return Ok(());
        };
        st.serve(host.as_str(), "Rooms");
        scan(engine, Tree::Room, &[], |key, value| Room::load(&mut self.rooms, &host, key, value))?;
        let remains: Vec<Box<str>> =
            self.rooms.iter().filter(|(_, room)| !room.is_whole()).map(|(local, _)| local.clone()).collect();
        for local in remains {
            let mut batch = Batch::default();
            batch.delete_all(Tree::Room, key::prefix(&local));
            batch.delete(Tree::Vcard, key::account(&Whose::room(&local)));
            engine.commit(&[batch])?;
            self.rooms.remove(&local);
        }
        scan(engine, Tree::Vcard, Whose::NO_ACCOUNTS, |key, value| {
            if let Some(room) = Whose::stored_room(key).and_then(|local| self.rooms.get_mut(local)) {
                room.features.picture.0 = value.len();
            }
            Ok(())
        })?;
        self.load_house(engine)?;
        self.look_at_house(st);
        // Those that were not stored.
        let gone = |jid: &Jid| jid.local().is_none_or(|local| !self.rooms.contains_key(local));
        st.notified_at(host.as_str()).iter().filter(|jid| gone(jid)).for_each(|jid| st.lose_notifiers(jid));
        st.invited_at(host.as_str()).iter().filter(|jid| gone(jid)).for_each(|jid| st.lose_invitations(jid));
        let mut payers = Batch::default();
        for room in self.rooms.values_mut() {
            for (key, value) in room.settle_payer(st).into_iter().chain(room.settle_owner(st)) {
                payers.put(Tree::Room, key, value);
            }
            if payers.ops.len() >= BATCH_OPS / 2 {
                engine.commit(&[std::mem::take(&mut payers)])?;
            }
        }
        if !payers.is_empty() {
            engine.commit(&[payers])?;
        }
        self.server_admins = admins_of(st);
        self.admins = (st.settings().admins.clone(), st.granted().clone());
        self.recount();
        for room in self.rooms.values() {
            // What is archived from now on lies behind that, also if the clock went back.
            let since = room.affiliations.values().map(|known| known.since.saturating_sub(1).max(known.given));
            st.seen_mark(since.fold(room.begins.max(room.open.saturating_sub(1)), u64::max));
        }
        self.host = Some(host);
        Ok(())
    }

    fn serve(&mut self, st: &mut State, stanza: &mut Stanza) -> Handled {
        let Some(to) = stanza.to.clone() else { return Ok(Flow::Done) };
        self.learn_admins(st);
        let Some(local) = to.local() else { return self.at_service(st, stanza) };
        self.lend(local);
        let handled = self.at_room(st, local, stanza);
        self.sweep(st, local);
        handled
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match self.reads.remove(&job) {
            Some(read) => {
                self.held.take(&read.local, usize::MAX);
                self.history(st, job, read, rows);
            }
            None if self.moderations.contains_key(&job) => moderate::answer(self, st, job, rows),
            None if self.vcards.contains_key(&job) => vcard::answer(self, st, job, rows),
            None => self.queried(st, job, rows),
        }
    }

    fn timer(&mut self, st: &mut State, job: Job) {
        let Some((local, begins)) = self.locks.remove(&job) else { return };
        if self.rooms.get(&local).is_some_and(|room| room.locked && room.begins == begins) {
            let _ = self.destroy(st, &local, "<destroy><reason>It was not configured.</reason></destroy>");
        }
    }

    fn command(&mut self, st: &mut State, command: &Command) -> Option<Result<Vec<String>, String>> {
        self.learn_admins(st);
        command::carry_out(self, st, command)
    }

    fn event(&mut self, st: &mut State, event: &Event) {
        match event {
            Event::Removed(local) => self.removed(st, local),
            Event::Arrived(local) => self.house_arrived(st, local),
            Event::Configured => {
                self.learn_admins(st);
                self.look_at_house(st);
            }
            Event::Invited { local, room } => drop(command::enroll(self, st, local, room)),
            Event::ComponentGone(domain) => self.component_gone(st, domain),
            _ => {}
        }
    }
}

impl Muc {
    /// Whoever was in rooms through a component has left them (§14.4: no ghosts).
    fn component_gone(&mut self, st: &mut State, domain: &Jid) {
        let there = |jid: &&Jid| jid.domain() == domain.domain();
        let rooms = self.rooms.iter().filter(|(_, room)| room.sessions.keys().any(|jid| there(&jid)));
        let rooms: Vec<Box<str>> = rooms.map(|(local, _)| local.clone()).collect();
        for local in rooms {
            let Some(room) = self.rooms.get_mut(&local) else { continue };
            let left: Vec<Jid> = room.sessions.keys().filter(there).cloned().collect();
            for jid in left {
                room.remove_session(st, &jid, &gone(), &Notice { codes: &[333], ..Notice::default() });
            }
            self.sweep(st, &local);
            st.step();
        }
    }

    /// An account is no more: whoever has the name next is somebody else.
    fn removed(&mut self, st: &mut State, local: &str) {
        let Ok(jid) = Jid::new(Some(local), st.domain().domain(), None) else { return };
        let known = |room: &&mut Room| {
            room.affiliations.contains_key(jid.as_str())
                || room.features.hats.has(&jid)
                || *room.payer == *jid.as_str()
                || room.affiliations.values().any(|known| known.by.as_deref() == Some(jid.as_str()))
        };
        let (mut changed, mut empty) = (Vec::new(), Vec::new());
        for room in self.rooms.values_mut().filter(known) {
            changed.push(Box::<str>::from(room.local()));
            room.lose(st, &jid);
            if room.is_left_by_all() {
                empty.push(Box::<str>::from(room.local()));
            }
            st.step();
        }
        self.recount();
        changed.iter().for_each(|local| self.settle(st, local));
        // What belonged to nobody else went with them.
        for local in empty {
            let _ = self.destroy(st, &local, "");
            st.step();
        }
    }

    /// The rooms know who administers the server from now on.
    fn learn_admins(&mut self, st: &mut State) {
        if self.admins.0 == st.settings().admins && self.admins.1 == *st.granted() {
            return;
        }
        self.admins = (st.settings().admins.clone(), st.granted().clone());
        let now = admins_of(st);
        let before = std::mem::replace(&mut self.server_admins, now.clone());
        let changed: Vec<&Jid> = before.symmetric_difference(&now).collect();
        for room in self.rooms.values_mut() {
            room.server_admins = now.clone();
            for jid in &changed {
                room.reconsider(st, jid);
                st.step();
            }
        }
    }
}

/// The accounts that administer the server.
fn admins_of(st: &State) -> ServerAdmins {
    st.administrators().cloned().collect::<BTreeSet<Jid>>().into()
}
