//! XEP-0045: Multi-User Chat. Rooms at `conference.` of the domain.
//!
//! [`room`] is what a room is and how it changes, [`affiliation`] who may do what, [`config`] what its owners can choose, [`occupant`]
//! who is there, [`presence`] what is told of them. The use cases stand beside: each a file with functions that take the whole
//! service, the state of the server, the room's localpart and the stanza, and return what a hook returns.
//!
//! What is sent to one room comes out in one order for all: everything a room says goes through the queue of the turn, and a session
//! that is being sent the history gets the rest behind it ([`history`]).

mod admin;
mod affiliation;
mod archive;
mod config;
mod disco;
mod forward;
mod hats;
mod history;
mod invite;
mod join;
mod message;
mod moderate;
mod occupant;
mod owner;
mod presence;
mod register;
mod room;
mod search;
mod vcard;
mod voice;

use super::archive::Unreadable;
use super::archive::query::Queue;
use crate::core::{About, Event, Extension, Flow, Handled, Job, State, scan};
use crate::store::{Batch, Engine, Rows, StoreError, Tree, key};
use crate::wire::{Condition, Jid, Kind, Ns, Stanza, StanzaError, Type};
use affiliation::Affiliation;
use presence::{Notice, Whom, gone};
use room::Room;
use std::collections::BTreeMap;

/// What all rooms may take in memory, in bytes, about, without who is there. More are not made.
const ROOMS_BYTES: usize = 16 * 1024 * 1024;
/// Rooms that one person may own when making another.
const ROOMS_OF_ONE: usize = 200;
/// Time in which who made a room must configure it, in milliseconds; then it is gone.
const LOCKED_MS: u64 = 5 * 60_000;

/// The service.
#[derive(Default)]
pub(super) struct Muc {
    /// Its domain.
    host: Option<Jid>,
    /// The rooms by localpart.
    rooms: BTreeMap<Box<str>, Room>,
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
    moderations: BTreeMap<Job, moderate::Waiting>,
    /// Requests for vCards that are being read.
    vcards: BTreeMap<Job, Stanza>,
    /// What people make rooms send to others.
    knocks: invite::Knocks,
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

    /// Removes a room, and tells all who are there. `destroy`: the element that says so (§10.9), empty for none.
    ///
    /// # Errors
    /// `resource-constraint` if storage takes nothing; then it stays.
    fn destroy(&mut self, st: &mut State, local: &str, destroy: &str) -> Result<(), StanzaError> {
        let Some(room) = self.rooms.get(local) else { return Ok(()) };
        if room.is_stored() {
            room.forget(st)?;
        }
        let Some(mut room) = self.rooms.remove(local) else { return Ok(()) };
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
        let late = |read: &&history::Read| *read.local == *local;
        let late: Vec<Jid> = self.reads.values().filter(late).map(|read| read.jid.clone()).collect();
        let Some(room) = self.rooms.get_mut(local) else { return };
        for jid in late {
            // The storage is too slow: they do without the history.
            if room.seat(&jid).is_some_and(|seat| seat.holds_too_much()) {
                room.hand_over(st, &jid, Vec::new());
            }
        }
        if room.sessions.is_empty() && !room.is_stored() {
            let _ = self.destroy(st, local, "");
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
        let host = format!("conference.{}", st.domain().domain());
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
            batch.delete(Tree::Vcard, key::account(&format!("@{local}")));
            engine.commit(&[batch])?;
            self.rooms.remove(&local);
        }
        for room in self.rooms.values() {
            // What is archived from now on lies behind that, also if the clock went back.
            let since = room.affiliations.values().map(|known| known.since).chain([room.open]);
            st.seen_mark(since.fold(room.begins, |all, since| all.max(since.saturating_sub(1))));
        }
        self.host = Some(host);
        Ok(())
    }

    fn serve(&mut self, st: &mut State, stanza: &mut Stanza) -> Handled {
        let Some(to) = stanza.to.clone() else { return Ok(Flow::Done) };
        let Some(local) = to.local() else { return self.at_service(st, stanza) };
        let handled = self.at_room(st, local, stanza);
        self.sweep(st, local);
        handled
    }

    fn answer(&mut self, st: &mut State, job: Job, rows: Option<Rows>) {
        match self.reads.remove(&job) {
            Some(read) => self.history(st, job, read, rows),
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

    fn event(&mut self, st: &mut State, event: &Event) {
        let Event::Removed(local) = event else { return };
        let Ok(jid) = Jid::new(Some(local), st.domain().domain(), None) else { return };
        // Whoever has the name next is somebody else.
        let known = |room: &&mut Room| room.affiliations.contains_key(jid.as_str()) || room.hats.has(&jid);
        let mut empty = Vec::new();
        for room in self.rooms.values_mut().filter(known) {
            if room.hats.has(&jid) {
                let mut hats = room.hats.clone();
                hats.forget(&jid);
                let _ = hats::store(room, st, &hats);
                room.hats = hats;
            }
            let _ = room.set_affiliation(st, &jid, Affiliation::None, &Notice::default());
            if room.sessions.is_empty()
                && room.affiliations.values().all(|known| known.affiliation <= Affiliation::None)
            {
                empty.push(Box::<str>::from(room.local()));
            }
            st.step();
        }
        // What belonged to nobody else went with them.
        for local in empty {
            let _ = self.destroy(st, &local, "");
            st.step();
        }
    }
}
