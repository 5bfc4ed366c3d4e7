//! What was said before (XEP-0045 §7.2.13 to §7.2.15): kept in the archive of the room, or a little of it in memory while there is
//! none; and sent to who enters: first that, then the subject, then what was said meanwhile.

use super::Muc;
use super::message::is_subject;
use super::moderate;
use super::room::Room;
use crate::core::message::Logged;
use crate::core::{Job, State, Way};
use crate::store::{self, Rows};
use crate::wire::{Jid, Kind, Node, Ns, Scope, Stanza, StanzaError, Type, stamp};

/// Messages that are sent to who enters and says nothing of it.
const STANZAS: usize = 20;
/// What is sent of the history, in bytes, about.
const BYTES: usize = 128 * 1024;
/// What a room keeps in memory while it has no archive, in bytes, about.
const PAST_BYTES: usize = 64 * 1024;
/// The same, in messages.
const PAST: usize = 50;

/// A history that is being read.
#[derive(Debug)]
pub(super) struct Read {
    /// The room's localpart.
    pub(super) local: Box<str>,
    /// The session that enters.
    pub(super) jid: Jid,
    wanted: HistoryRequest,
}

/// What somebody wants who enters (§7.2.14).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct HistoryRequest {
    stanzas: usize,
    /// Of their XML; `None`: that is not said.
    chars: Option<usize>,
    /// In milliseconds since 1970.
    since: u64,
}

impl HistoryRequest {
    /// What a request to enter says. What cannot be read is not said.
    pub(super) fn read(st: &State, room: &Room, x: Node<'_>) -> HistoryRequest {
        let most = room.config.history as usize;
        let mut wanted = HistoryRequest { stanzas: most.min(STANZAS), chars: None, since: 0 };
        let Some(history) = x.child(Ns::MUC, "history") else { return wanted };
        let number = |name: &str| history.attr(name)?.trim().parse::<u64>().ok();
        let small = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let since = history.attr("since").and_then(|since| stamp::parse(&since));
        let seconds = number("seconds").map(|s| st.time().saturating_sub(s.saturating_mul(1000)));
        wanted.chars = number("maxchars").map(small);
        wanted.since = since.max(seconds).unwrap_or(0);
        match number("maxstanzas") {
            Some(stanzas) => wanted.stanzas = small(stanzas).min(most),
            // It says what it wants in other words.
            None if since.or(seconds).is_some() || wanted.chars.is_some() => wanted.stanzas = most,
            None => {}
        }
        if wanted.chars == Some(0) {
            wanted.stanzas = 0;
        }
        wanted
    }
}

/// Keeps a message of an occupant, or of the room itself, which has its number. Returns its number in the room's archive.
pub(super) fn keep(st: &mut State, room: &mut Room, from: &Jid, said: &Stanza) -> Result<u64, StanzaError> {
    let mut kept = said.clone();
    if let Some((_, occupant)) = room.occupant_of(from) {
        // Who it was is shown to those who may know ([`shown`]).
        let affiliation = room.affiliation(&occupant.bare).as_str();
        let (role, jid) = (occupant.role.as_str(), crate::wire::xml::escaped(from.as_str()));
        kept.push(format!(
            "<x xmlns='http://jabber.org/protocol/muc#user'><item affiliation='{affiliation}' role='{role}' jid='{jid}'/></x>"
        ));
    }
    if room.config.archive {
        return st.archive(&room.owner, from, &kept, Way::Room);
    }
    let id = kept.mark;
    room.said.0 += kept.bytes();
    room.past.push_back(kept);
    while room.past.len() > PAST || room.said.0 > PAST_BYTES.min(room.said_most) {
        let Some(oldest) = room.past.pop_front() else { break };
        room.said.0 = room.said.0.saturating_sub(oldest.bytes());
    }
    Ok(id)
}

/// A message that was kept, as somebody may see it. `jids`: whether they may know who is who.
pub(super) fn shown(st: &State, room: &Room, id: u64, mut message: Stanza, jids: bool) -> Stanza {
    let sender = message.child(Ns::MUC_USER, "x").and_then(|x| x.child(Ns::MUC_USER, "item"));
    let sender = sender.and_then(|item| Jid::parse(&item.attr("jid")?).ok());
    if !jids {
        message.cut(|c| c.ns() == Ns::MUC_USER);
    }
    if let Some(sender) = sender {
        let occupant = st.pseudonym(room.jid.as_str(), &sender, id);
        message.note(Ns::OCCUPANT_ID, "occupant-id", &[("id", &occupant)]);
    }
    moderate::apply(room, id, &mut message);
    message
}

impl Muc {
    /// Begins to send the history to a session that has just come in; what comes meanwhile waits.
    pub(super) fn ask_history(&mut self, st: &mut State, local: &str, jid: &Jid, wanted: HistoryRequest) {
        let Some(room) = self.rooms.get_mut(local) else { return };
        if !room.config.archive || wanted.stanzas == 0 {
            let past = if room.config.archive { Vec::new() } else { room.past.iter().rev().cloned().collect() };
            let past = past.into_iter().map(|message: Stanza| (message.mark, message));
            let past = room.pick(st, jid, past, wanted);
            return room.hand_over(st, jid, past);
        }
        let spans = st.marks_between(Some(wanted.since), None);
        let page = store::Page {
            owner: room.owner.clone().into(),
            with: None,
            from: spans.first().map_or(u64::MAX, |(from, _)| *from).max(room.reads_from(jid)),
            // What comes from now on, it gets as it comes.
            to: st.last_mark(),
            backwards: true,
            // Where the clock went back, some of them are from before.
            rows: if spans.len() > 1 { usize::MAX } else { wanted.stanzas },
            bytes: BYTES,
        };
        let job = st.ask(store::Query::Archive(page));
        if let Some(seat) = room.seat(jid) {
            seat.hold(job);
        }
        self.reads.insert(job, Read { local: local.into(), jid: jid.clone(), wanted });
    }

    /// The archive was read.
    pub(super) fn history(&mut self, st: &mut State, job: Job, read: Read, rows: Option<Rows>) {
        let Some(room) = self.rooms.get_mut(&read.local) else { return };
        if !room.seat(&read.jid).is_some_and(|seat| seat.waits_for(job)) {
            return;
        }
        let messages = rows.unwrap_or_default().into_iter().filter_map(|(key, value)| {
            let id = u64::from_be_bytes((*key).try_into().ok()?);
            match Logged::read(&value) {
                Ok(Logged::Message { xml, .. }) => Some((id, Stanza::parse(xml, Scope::client()).ok().flatten()?)),
                _ => None,
            }
        });
        let past = room.pick(st, &read.jid, messages, read.wanted);
        room.hand_over(st, &read.jid, past);
    }
}

impl Room {
    /// A session that is there.
    pub(super) fn seat(&mut self, jid: &Jid) -> Option<&mut super::occupant::Seat> {
        let nick = self.sessions.get(jid)?;
        self.occupants.get_mut(nick)?.seats.get_mut(jid)
    }

    /// Of messages, the last first, those that are wanted, in the order in which they were said.
    fn pick(
        &self,
        st: &State,
        jid: &Jid,
        messages: impl Iterator<Item = (u64, Stanza)>,
        wanted: HistoryRequest,
    ) -> Vec<Stanza> {
        let first = self.reads_from(jid);
        let mut picked = Vec::new();
        let mut chars = 0;
        for (id, message) in messages {
            if picked.len() >= wanted.stanzas || id < first {
                break;
            }
            // The subject is told by itself.
            if st.stamp(id) < wanted.since || is_subject(&message) {
                continue;
            }
            let mut message = shown(st, self, id, message, false);
            let uid = st.uid(&self.owner, id);
            message.note(Ns::SID, "stanza-id", &[("by", self.jid.as_str()), ("id", &uid)]);
            message.note(Ns::DELAY, "delay", &[("from", self.jid.as_str()), ("stamp", &stamp::format(st.stamp(id)))]);
            if let Some(most) = wanted.chars {
                let mut xml = String::new();
                message.write(None, &mut xml);
                chars += xml.chars().count();
                if chars > most {
                    break;
                }
            }
            picked.push(message);
        }
        picked.reverse();
        picked
    }

    /// Sends a session the history, the subject, and what waited for them.
    pub(super) fn hand_over(&mut self, st: &mut State, jid: &Jid, past: Vec<Stanza>) {
        let subject = self.subject_message();
        let Some(seat) = self.seat(jid) else { return };
        let waited = seat.release();
        for message in past.into_iter().chain([subject]) {
            st.send(message.to(jid.clone()));
        }
        waited.into_iter().for_each(|stanza| st.send(stanza));
    }

    /// The subject, for who enters; an empty one, if there never was any (§7.2.15).
    fn subject_message(&self) -> Stanza {
        let message = Stanza::new(Kind::Message, Type::Groupchat).from(self.jid.clone());
        if self.subject.xml.is_empty() {
            return message.with("<subject/>");
        }
        let mut message = self.subject.message(message);
        if let Ok(from) = self.jid.with_resource(&self.subject.nick) {
            message.from = Some(from);
        }
        let stamp = stamp::format(self.subject.at);
        message.note(Ns::DELAY, "delay", &[("from", self.jid.as_str()), ("stamp", &stamp)]);
        message
    }
}
