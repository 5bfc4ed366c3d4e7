//! Who is in a room: under each nickname one person, with one session or several.

use super::affiliation::Role;
use crate::core::{Job, State};
use crate::wire::{Jid, Kind, Ns, Stanza};
use std::collections::BTreeMap;

/// Sessions of one person under one nickname.
pub(super) const SEATS: usize = 32;
/// What a session in a room takes besides its texts, in bytes, about.
const SEAT_BYTES: usize = 512;
/// What waits for a session that is being sent the history, in bytes. More, and it gets no history.
const HELD_BYTES: usize = 256 * 1024;

#[derive(Debug)]
pub(super) struct Occupant {
    pub(super) bare: Jid,
    pub(super) role: Role,
    /// Their name in `occupant-id` (XEP-0421).
    pub(super) id: Box<str>,
    /// Their sessions by full JID, at least one.
    pub(super) seats: BTreeMap<Jid, Seat>,
    /// What the others see, if that was made already.
    pub(super) faces: Option<super::presence::Faces>,
}

/// A session in a room.
#[derive(Debug)]
pub(super) struct Seat {
    /// Its last presence, without what only the room may say.
    pub(super) presence: Stanza,
    /// Greater for a presence that came later.
    pub(super) since: u64,
    /// What it takes of the share of its account, in bytes.
    pub(super) weight: usize,
    /// What it gets once it has the history.
    held: Option<Held>,
}

#[derive(Debug)]
struct Held {
    /// What reads the history.
    job: Job,
    stanzas: Vec<Stanza>,
    bytes: usize,
}

impl Seat {
    pub(super) fn new(presence: Stanza, since: u64) -> Seat {
        Seat { presence, since, weight: 0, held: None }
    }

    /// What a session takes that is in a room with this presence, in bytes, about.
    pub(super) fn bytes(jid: &Jid, presence: &Stanza) -> usize {
        SEAT_BYTES + 2 * jid.as_str().len() + presence.bytes()
    }

    /// Sends something to its client, `to` set: at once, or behind the history.
    pub(super) fn send(&mut self, st: &mut State, stanza: Stanza) {
        match &mut self.held {
            Some(held) => {
                held.bytes += stanza.bytes();
                held.stanzas.push(stanza);
            }
            None => st.send(stanza),
        }
    }

    /// From now on what is sent waits until this job has read the history.
    pub(super) fn hold(&mut self, job: Job) {
        self.held = Some(Held { job, stanzas: Vec::new(), bytes: 0 });
    }

    /// Whether it waits for this job.
    pub(super) fn waits_for(&self, job: Job) -> bool {
        self.held.as_ref().is_some_and(|held| held.job == job)
    }

    /// What waits, in bytes.
    pub(super) fn held(&self) -> usize {
        self.held.as_ref().map_or(0, |held| held.bytes)
    }

    /// Whether more waits than may.
    pub(super) fn holds_too_much(&self) -> bool {
        self.held() > HELD_BYTES
    }

    /// What waited; nothing waits any more.
    pub(super) fn release(&mut self) -> Vec<Stanza> {
        self.held.take().map(|held| held.stanzas).unwrap_or_default()
    }

    /// What waited for one that is removed: who is there, and at last that it is not. What was said meanwhile is left out, as it came
    /// too late for somebody who may be banned.
    pub(super) fn removed(mut self) -> impl Iterator<Item = Stanza> {
        self.release().into_iter().filter(|stanza| stanza.kind == Kind::Presence)
    }

    /// How available it is: who is more so is the one that is shown.
    fn availability(&self) -> u8 {
        let show = self.presence.child(Ns::CLIENT, "show");
        match show.map(|show| show.text().trim().to_owned()).as_deref() {
            Some("chat") => 4,
            None => 3,
            Some("dnd") => 2,
            Some("away") => 1,
            Some(_) => 0,
        }
    }
}

impl Occupant {
    /// The session whose presence is shown to the others: the most available, of those the latest.
    pub(super) fn shown(&self) -> Option<(&Jid, &Seat)> {
        self.seats.iter().max_by_key(|(_, seat)| (seat.availability(), seat.since))
    }
}
