//! Messages on their way: from when they were written to a session with stream management until somebody has them.
//!
//! A message is delivered when one session of the account acknowledged it, or got it without stream management: nobody knows more
//! of such a client. Until then each of its holders has it in its queue, and
//! - while one of them is connected, the log says that it is on its way: after a power cut it is kept like one that came while
//!   nobody was there ([`State::recover`]);
//! - when none is connected any more, or if it is not in the log, it is kept at once ([`super::Extension::hold`]);
//! - when all of them have ended, what is kept goes to whoever comes.
//!
//! That it arrived is noted in the log with the next change, or a little later.

use super::ids::SessionId;
use super::logged::{Counted, Logged};
use super::outcome::Hold;
use super::quiet::Handed;
use super::rows::damaged;
use super::server::Core;
use super::sm::Ended;
use super::state::State;
use super::work::{Timer, Work};
use crate::store::{Batch, Copies, Engine, Entry, Query, StoreError};
use crate::wire::{Condition, Jid, Kind, Scope, Stanza, StanzaError, Type};
use std::collections::{BTreeMap, BTreeSet};

/// How long a note that messages arrived may wait for a change that it can go along with, in milliseconds.
const NOTE_MS: u64 = 5_000;
/// Notes in one entry.
const NOTES: usize = 4096;
/// Entries of the log that are read again at a start, about, besides those that are on their way: they tell what clients sent.
const RECENT_ENTRIES: u64 = 1024;
/// So many notes of what streams were told count as one entry: they are short, and must not push messages out.
const HEARD_WEIGHT: u64 = 8;
/// Time for which the streams before a restart are remembered, in milliseconds.
const RECOVERED_MS: u64 = 86_400_000;
/// Entries read at once.
const PAGE_ROWS: usize = 1024;
/// Bytes read at once.
const PAGE_BYTES: usize = 512 * 1024;

/// A message that nobody has for sure.
#[derive(Debug)]
struct OnItsWay {
    local: Box<str>,
    /// The sessions that have it in their queues, and how their streams count it.
    holders: Vec<(SessionId, Counted)>,
    /// The sessions that were given it and do not count it ([`super::progress`]).
    unsure: Vec<SessionId>,
    /// It is in the log.
    logged: bool,
    /// It is kept elsewhere, too.
    kept: bool,
    /// The entry of the log from which on this is told.
    since: u64,
}

/// What became of a message that had waited behind older ones.
pub(super) enum Given {
    /// How the stream counts it, and what it is called.
    Counted((u32, u64)),
    /// It is not known whether it arrives.
    Unsure,
    /// It needs nothing more.
    Sure,
}

/// What the end of the log tells at a start.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Messages that were on their way, in order, and how the streams count them that they were written to.
    pub lost: Vec<(Stanza, Vec<Counted>)>,
    /// Messages that were kept, and handed to a stream: whose, and what they are called.
    pub handed: Vec<(Box<str>, u64)>,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    on_their_way: BTreeMap<u64, OnItsWay>,
    /// Where the log tells of them: the entry, and what the message is called.
    told: BTreeSet<(u64, u64)>,
    /// In the log, and arrived or kept elsewhere since; to be noted.
    settled: Vec<u64>,
    /// The timer for that runs.
    timed: bool,
    /// From where on the log is read at a start if nothing is on its way, and from where on soon.
    recent: (u64, u64),
    /// Entries since that was moved, in parts of [`HEARD_WEIGHT`].
    entries: u64,
    /// It was, and not all that matters is noted behind it.
    moved: bool,
}

impl Deliveries {
    /// [`crate::store::Batch::low`]
    pub(super) fn low(&self) -> u64 {
        self.told.first().map_or(u64::MAX, |(since, _)| *since).min(self.recent.0)
    }

    /// Whether nobody has a message for sure.
    pub(super) fn is_on_its_way(&self, mark: u64) -> bool {
        self.on_their_way.contains_key(&mark)
    }

    fn remove(&mut self, mark: u64) -> Option<OnItsWay> {
        let way = self.on_their_way.remove(&mark)?;
        self.told.remove(&(way.since, mark));
        Some(way)
    }

    /// The log tells of a message from this entry on.
    fn told_since(&mut self, mark: u64, since: u64) {
        if let Some(way) = self.on_their_way.get_mut(&mark)
            && way.since == 0
        {
            way.since = since;
            self.told.insert((since, mark));
        }
    }

    /// Another entry.
    fn count(&mut self, id: u64) {
        self.weigh(id, HEARD_WEIGHT);
    }

    /// The same, as the part of one that it is.
    fn weigh(&mut self, id: u64, parts: u64) {
        self.entries += parts;
        if self.entries >= RECENT_ENTRIES * HEARD_WEIGHT {
            self.entries = 0;
            self.recent = (self.recent.1, id);
            self.moved = true;
        }
    }
}

impl State {
    /// A number for a message that is worth one: what is answered, broadcast or said in a room is not.
    pub fn mark_for(&mut self, message: &Stanza) -> u64 {
        match message.ty {
            Type::Error | Type::Headline | Type::Groupchat => 0,
            _ => self.next_mark(),
        }
    }

    /// Writes a message to these sessions of an account.
    pub(super) fn write_message(&mut self, local: &str, message: &Stanza, targets: &[SessionId], kept: bool) {
        let (mut holders, mut unsure) = (Vec::new(), Vec::new());
        let mut had = false;
        let numbered = message.mark > 0 && message.kind == Kind::Message;
        for sid in targets {
            // What is kept is what the others wait behind.
            let handed = if kept { self.pass(*sid, message.clone()) } else { self.hand(*sid, message.clone()) };
            match handed {
                Handed::Counted(counted) => holders.push((*sid, counted)),
                Handed::Written => had = true,
                Handed::Dropped => had |= kept,
                Handed::Unsure | Handed::Waits => unsure.push(*sid),
            }
            if handed == Handed::Unsure && numbered {
                self.unsure(*sid, message.mark);
            }
        }
        if !numbered || targets.is_empty() {
            return;
        }
        if had {
            if kept || self.deliveries.on_their_way.contains_key(&message.mark) {
                self.has(local, message.mark);
            }
            return;
        }
        if holders.is_empty() && unsure.is_empty() {
            return;
        }
        let way = self.deliveries.on_their_way.entry(message.mark).or_insert_with(|| OnItsWay {
            local: local.into(),
            holders: Vec::new(),
            unsure: Vec::new(),
            logged: false,
            kept,
            since: 0,
        });
        way.kept |= kept;
        way.holders.extend(holders);
        way.unsure.extend(unsure);
    }

    /// Whether a session was given a message that its stream does not count.
    pub(super) fn is_given(&self, sid: SessionId, mark: u64) -> bool {
        self.deliveries.on_their_way.get(&mark).is_some_and(|way| way.unsure.contains(&sid))
    }

    /// Whether a message is on its way to a session.
    pub fn is_on_its_way_to(&self, sid: SessionId, mark: u64) -> bool {
        let way = self.deliveries.on_their_way.get(&mark);
        way.is_some_and(|way| way.unsure.contains(&sid) || way.holders.iter().any(|(holder, _)| *holder == sid))
    }

    /// A session will not have a message that it was given.
    pub(super) fn not_given(&mut self, sid: SessionId, mark: u64) {
        let Some(way) = self.deliveries.on_their_way.get_mut(&mark) else { return };
        way.unsure.retain(|given| *given != sid);
        if way.holders.is_empty() && way.unsure.is_empty() && self.deliveries.remove(mark).is_some_and(|w| w.logged) {
            self.settle(mark);
        }
    }

    /// A message that waited behind older ones for a session was handed to it.
    pub(super) fn waited(&mut self, local: &str, sid: SessionId, message: Stanza, handed: Handed) -> Given {
        let mark = message.mark;
        let Some(way) = self.deliveries.on_their_way.get_mut(&mark) else { return Given::Sure };
        way.unsure.retain(|given| *given != sid);
        match handed {
            Handed::Counted(counted) => {
                way.holders.push((sid, counted));
                if !way.kept {
                    self.work.push_back(Work::Hold(message));
                }
                Given::Counted((counted.count, mark))
            }
            Handed::Unsure => {
                way.unsure.push(sid);
                Given::Unsure
            }
            Handed::Written | Handed::Dropped | Handed::Waits => {
                self.has(local, mark);
                Given::Sure
            }
        }
    }

    /// Hands messages that are kept to a session with stream management: when one is acknowledged, [`super::Extension::had`] is told.
    /// How the stream counts them is stored before they are written, so that a client that comes back after a power cut does not
    /// get them again.
    pub fn hand_over(&mut self, local: &str, messages: &[Stanza], sid: SessionId) {
        // One that lost its connection may have some already.
        let has = |way: &OnItsWay| way.holders.iter().any(|(holder, _)| *holder == sid);
        let new = |message: &&Stanza| !self.deliveries.on_their_way.get(&message.mark).is_some_and(has);
        let messages: Vec<&Stanza> = messages.iter().filter(new).collect();
        let Some(stream) = self.sessions.get(&sid).and_then(|s| s.managed.as_ref()).map(|m| m.number) else { return };
        // While storage takes nothing, they are better handed over without a note.
        let noted = !messages.is_empty() && self.write().is_ok();
        if noted {
            self.hold_back(sid);
        }
        let mut counts = Vec::new();
        for message in messages {
            self.write_message(local, message, &[sid], true);
            let way = self.deliveries.on_their_way.get(&message.mark);
            let held = way.and_then(|way| way.holders.iter().rfind(|(holder, _)| *holder == sid));
            counts.extend(held.map(|(_, counted)| (counted.count, message.mark)));
        }
        // New messages wait behind these.
        self.flush(sid);
        if noted {
            self.note_handed(local, stream, counts);
        }
    }

    /// How a session's stream counts messages that were just written to it is stored.
    pub(super) fn note_counts(&mut self, sid: SessionId, local: &str, counts: Vec<(u32, u64)>) {
        let Some(stream) = self.sessions.get(&sid).and_then(|s| s.managed.as_ref()).map(|m| m.number) else { return };
        self.flush(sid);
        for counts in counts.chunks(NOTES) {
            self.note_handed(local, stream, counts.to_vec());
        }
    }

    /// Notes what the clients of these streams are told was handled.
    pub(super) fn note_heard(&mut self, counts: Vec<Counted>) {
        let entry = self.note_of(&Logged::Heard(counts));
        self.deliveries.weigh(entry.id, 1);
        if let Ok(batch) = self.write() {
            batch.append(entry);
        }
    }

    /// The part of the log that is read at a start has moved on: what was noted before it of streams that live is noted again.
    pub(super) fn note_heard_again(&mut self) {
        if !std::mem::take(&mut self.deliveries.moved) {
            return;
        }
        let counts: Vec<Counted> =
            self.sessions.iter().filter_map(|(_, s)| s.managed.as_ref()?.heard()).take(NOTES).collect();
        if !counts.is_empty() && self.write().is_ok() {
            self.note_heard(counts);
        }
    }

    fn note_handed(&mut self, local: &str, stream: u64, messages: Vec<(u32, u64)>) {
        let marks: Vec<u64> = messages.iter().map(|(_, mark)| *mark).collect();
        let entry = self.note_of(&Logged::Handed { local, stream, messages });
        self.deliveries.count(entry.id);
        marks.into_iter().for_each(|mark| self.deliveries.told_since(mark, entry.id));
        if let Ok(batch) = self.write() {
            batch.append(entry);
        }
    }

    /// What was held for a session is about to be written, and some of it was dropped: how its stream counts the messages behind that
    /// is stored before they are written, as in [`State::hand_over`].
    pub(super) fn recount<'a>(&mut self, sid: SessionId, held: impl Iterator<Item = &'a Stanza>) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let Some(managed) = session.managed.as_ref() else { return };
        let (local, stream) = (Box::<str>::from(session.local()), managed.number);
        let mut counts = Vec::new();
        for (n, stanza) in (1..).zip(held).filter(|(_, stanza)| stanza.mark > 0) {
            let Some(way) = self.deliveries.on_their_way.get_mut(&stanza.mark) else { continue };
            let known = way.holders.iter_mut().rfind(|(holder, _)| *holder == sid);
            let now = managed.count_of(n);
            if let Some((_, known)) = known.filter(|(_, known)| *known != now) {
                *known = now;
                counts.push((now.count, stanza.mark));
            }
        }
        if counts.is_empty() || self.write().is_err() {
            return;
        }
        self.hold_back(sid);
        for counts in counts.chunks(NOTES) {
            self.note_handed(&local, stream, counts.to_vec());
        }
    }

    /// How the streams count a message that was just written to them, for the log; empty if it needs no more than that.
    pub(super) fn on_its_way(&mut self, mark: u64) -> Vec<Counted> {
        // What no stream counts is kept elsewhere: the log has nothing to tell.
        let way = self.deliveries.on_their_way.get_mut(&mark).filter(|way| !way.holders.is_empty());
        let Some(way) = way else { return Vec::new() };
        way.logged = true;
        self.deliveries.told_since(mark, mark);
        self.holders(mark)
    }

    /// How the streams count a message in whose queues it is.
    pub fn holders(&self, mark: u64) -> Vec<Counted> {
        let way = self.deliveries.on_their_way.get(&mark);
        way.map(|way| way.holders.iter().map(|(_, counted)| *counted).collect()).unwrap_or_default()
    }

    /// Whether a message is in the queue of a session, connected or not.
    pub fn is_held(&self, mark: u64) -> bool {
        self.deliveries.is_on_its_way(mark)
    }

    fn connected(&self, way: &OnItsWay) -> bool {
        way.holders.iter().any(|(sid, _)| self.sessions.get(sid).is_some_and(|s| s.stream.is_some()))
    }

    /// Somebody has a message: it needs no more delivery.
    pub fn has(&mut self, local: &str, mark: u64) {
        self.work.push_back(Work::Had(local.into(), mark));
    }

    /// The session's account is removed: the messages that it has not acknowledged go with it.
    pub(super) fn abandon(&mut self, sid: SessionId) {
        self.lose_given(sid);
        let Some(session) = self.sessions.get(&sid) else { return };
        for stanza in session.undelivered() {
            self.deliveries.remove(stanza.mark);
        }
    }

    /// A session lost its connection: what only such sessions hold must be kept.
    pub(super) fn parted(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get(&sid) else { return };
        let messages: Vec<Stanza> = session.undelivered().filter(|s| s.mark > 0).cloned().collect();
        self.work.extend(messages.into_iter().map(Work::Hold));
    }

    /// A session comes that takes messages: what others of its account have not acknowledged of what came for all is kept at once,
    /// for it would come late if they never do.
    pub(super) fn share(&mut self, local: &str, comes: SessionId) {
        for sid in self.sessions_of(local) {
            let Some(session) = self.sessions.get(&sid).filter(|_| sid != comes) else { continue };
            let for_all = |message: &&Stanza| message.mark > 0 && message.to.as_ref().is_some_and(|to| to.is_bare());
            self.work.extend(session.undelivered().filter(for_all).cloned().map(Work::Keep));
        }
    }

    /// Notes what arrived, when something is stored anyway.
    pub(super) fn note_settled(&mut self) {
        if self.deliveries.settled.is_empty() || self.write().is_err() {
            return;
        }
        let take = self.deliveries.settled.len().min(NOTES);
        let ids: Vec<u64> = self.deliveries.settled.drain(..take).collect();
        let entry = self.note_of(&Logged::Settled(ids));
        if let Ok(batch) = self.write() {
            batch.append(entry);
        }
    }

    /// An entry of the log that is in nobody's archive.
    fn note_of(&mut self, what: &Logged<'_>) -> Entry {
        let id = self.next_mark();
        self.numbers.logged = id;
        Entry { id, copies: Copies::default(), value: what.record() }
    }

    /// A message was put into the log.
    pub(super) fn logged(&mut self, id: u64) {
        self.numbers.logged = id;
        self.deliveries.count(id);
    }

    fn settle(&mut self, mark: u64) {
        self.deliveries.settled.push(mark);
        if !std::mem::replace(&mut self.deliveries.timed, true) {
            self.set_timer(self.now.mono + NOTE_MS, Timer::Note);
        }
    }

    /// It is time to note what arrived.
    pub(super) fn note(&mut self) {
        self.deliveries.timed = false;
        self.note_settled();
        if !self.deliveries.settled.is_empty() {
            self.deliveries.timed = true;
            self.set_timer(self.now.mono + NOTE_MS, Timer::Note);
        }
    }

    /// Reads the end of the log again: what was on its way when the server stopped, and what streams had counted. The messages must
    /// be kept by whoever calls this, and [`State::recovered`] tells of it.
    pub fn recover(&mut self, engine: &mut dyn Engine) -> Result<Recovered, StoreError> {
        let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged("a number"));
        let Some((low, last)) = engine.query(&Query::Edge)?.into_iter().next() else { return Ok(Recovered::default()) };
        let (low, last) = (number(&low)?, number(&last)?);
        self.numbers.seen(last);
        self.numbers.logged = last;
        self.deliveries.recent = (low.min(last), last);
        let mut lost: BTreeMap<u64, (Stanza, Vec<Counted>)> = BTreeMap::new();
        let mut handed = Vec::new();
        let mut after = low.saturating_sub(1);
        loop {
            let rows = engine.query(&Query::Since { after, rows: PAGE_ROWS, bytes: PAGE_BYTES })?;
            let Some((newest, _)) = rows.last() else { break };
            after = number(newest)?;
            for (id, value) in &rows {
                let id = number(id)?;
                let Ok(entry) = Logged::read(value) else {
                    log::error!("entry {id} of the log is not readable, and is left out");
                    continue;
                };
                match entry {
                    Logged::Message { sent, received, xml } => {
                        if let Some(Counted { stream, count }) = sent {
                            self.counted(stream, |ended| ended.handled = Some(count));
                        }
                        let message = Stanza::parse(xml, Scope::client()).ok().flatten();
                        if let Some(mut message) = message.filter(|_| !received.is_empty()) {
                            message.mark = id;
                            if let Some(to) = message.to.as_ref().map(Jid::bare) {
                                // Under the id that it had when it was on its way.
                                self.note_id(&to, &mut message);
                            }
                            lost.insert(id, (message, received));
                        }
                    }
                    Logged::Settled(ids) => ids.iter().for_each(|id| {
                        lost.remove(id);
                    }),
                    Logged::Heard(counts) => {
                        for Counted { stream, count } in counts {
                            self.counted(stream, |ended| ended.handled = Some(count));
                        }
                    }
                    Logged::Handed { local, stream, messages } => {
                        handed.extend(messages.iter().map(|(_, mark)| (local.into(), *mark)));
                        self.counted(stream, |ended| {
                            ended.local = local.into();
                            ended.sent.extend(messages);
                        });
                    }
                }
            }
        }
        Ok(Recovered { lost: lost.into_values().collect(), handed })
    }

    /// A message that is kept was written to these streams before the server started.
    pub fn was_written(&mut self, local: &str, mark: u64, holders: &[Counted]) {
        for Counted { stream, count } in holders {
            self.counted(*stream, |ended| {
                ended.local = local.into();
                ended.sent.push((*count, mark));
            });
        }
    }

    fn counted(&mut self, stream: u64, change: impl FnOnce(&mut Ended)) {
        if !self.streams.ended.contains_key(&stream) {
            let ended = Ended { handled: None, local: Box::default(), sent: Vec::new(), until: RECOVERED_MS };
            self.streams.remember(self.now.mono, stream, ended);
        }
        if let Some(ended) = self.streams.ended.get_mut(&stream) {
            change(ended);
        }
    }

    /// Notes that these messages, which were on their way, are kept elsewhere: in the batch that does that.
    pub fn recovered(&mut self, marks: Vec<u64>, batch: &mut Batch) {
        batch.append(self.note_of(&Logged::Settled(marks)));
        batch.low = self.deliveries.low();
    }

    /// A number that is in use; greater ones are given from now on.
    pub fn seen_mark(&mut self, mark: u64) {
        self.numbers.seen(mark);
    }
}

impl Core {
    /// Somebody has a message.
    pub(super) fn had(&mut self, local: &str, mark: u64) {
        let way = self.state.deliveries.remove(mark);
        if way.as_ref().is_none_or(|way| way.kept) {
            for n in 0..self.extensions.len() {
                self.hook(n, |x, st| x.had(st, local, mark));
            }
        }
        if way.is_some_and(|way| way.logged) {
            self.state.settle(mark);
        }
    }

    /// Whether a message has nobody left who will have it soon, and is not kept.
    pub(super) fn must_hold(&self, mark: u64) -> bool {
        let way = self.state.deliveries.on_their_way.get(&mark);
        way.is_some_and(|way| !(way.kept || way.logged && self.state.connected(way)))
    }

    /// Then it is kept.
    pub(super) fn hold(&mut self, message: Stanza) {
        if self.must_hold(message.mark) {
            self.hold_now(message);
        }
    }

    /// Keeps a message that is on its way, if it is not kept.
    pub(super) fn hold_now(&mut self, mut message: Stanza) {
        let way = self.state.deliveries.on_their_way.get(&message.mark);
        let Some(way) = way.filter(|way| !way.kept) else { return };
        let local = way.local.clone();
        let outcome = self.keep_it(&local, &mut message);
        let deliveries = &mut self.state.deliveries;
        match (outcome, deliveries.on_their_way.get_mut(&message.mark)) {
            (Ok(Hold::Kept), Some(way)) => way.kept = true,
            // Nobody needs to know what becomes of it.
            (Ok(Hold::NotMissed), Some(way)) if !way.logged => self.unkept(message.mark),
            (_, Some(way)) if way.holders.is_empty() => {
                // Where it was written it cannot be known better. Where it waits, its end will tell.
                let given = way.unsure.clone();
                if !given.iter().any(|sid| self.state.is_behind(*sid)) {
                    self.unkept(message.mark);
                }
            }
            _ => {}
        }
    }

    /// A message is not kept, and nothing is done about it any more.
    fn unkept(&mut self, mark: u64) {
        let Some(way) = self.state.deliveries.remove(mark) else { return };
        for sid in way.unsure {
            self.state.take_for_sure(sid, mark);
        }
    }

    fn keep_it(&mut self, local: &str, message: &mut Stanza) -> Result<Hold, StanzaError> {
        for n in 0..self.extensions.len() {
            let hold = self.hook(n, |x, st| x.hold(st, local, message))?;
            if hold != Hold::Pass {
                return Ok(hold);
            }
        }
        Ok(Hold::Pass)
    }

    /// A stanza that a session never acknowledged, which has ended (XEP-0198 §4).
    pub(super) fn unacknowledged(&mut self, sid: SessionId, mut stanza: Stanza) {
        if stanza.kind == Kind::Iq && matches!(stanza.ty, Type::Get | Type::Set) {
            // RFC 6121 §8.5.3.2.3: as if it had come now. Our own questions have nobody to tell.
            if stanza.from.as_ref().is_some_and(|from| self.state.local(from).is_some() || from != self.state.domain())
            {
                self.state.refuse(&stanza, &Condition::ServiceUnavailable.into());
            }
            return;
        }
        let Some(way) = self.state.deliveries.on_their_way.get_mut(&stanza.mark) else { return };
        way.holders.retain(|(holder, _)| *holder != sid);
        way.unsure.retain(|given| *given != sid);
        if !way.holders.is_empty() || !way.unsure.is_empty() {
            // If the others are not connected either, it is kept already.
            return self.hold(stanza);
        }
        let Some(OnItsWay { local, logged, kept, .. }) = self.state.deliveries.remove(stanza.mark) else {
            return;
        };
        if !kept {
            match self.keep_it(&local, &mut stanza) {
                Ok(Hold::Pass) => self.state.refuse(&stanza, &Condition::ServiceUnavailable.into()),
                Ok(_) => {}
                Err(error) => self.state.refuse(&stanza, &error),
            }
        }
        if logged {
            self.state.settle(stanza.mark);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::ids::StreamId;
    use super::super::session::Session;
    use super::super::settings::Settings;
    use super::super::state::Way;
    use super::*;
    use crate::wire::Jid;

    #[test]
    fn what_could_not_be_logged_is_not_logged() {
        let jid = |text: &str| Jid::parse(text).unwrap();
        let mut st = State::new(Settings::new(jid("house.test")), [1; 32], [2; 32]);
        let (stream, sid) = (StreamId(1), SessionId::of(StreamId(1)));
        st.sessions.insert(sid, Session::new(jid("juliet@house.test/balcony"), stream));
        st.enable(stream, true, None);
        let mut message = Stanza::new(Kind::Message, Type::Chat).from(jid("romeo@house.test/orchard"));
        message.mark = st.mark_for(&message);
        st.write_message("juliet", &message, &[sid], false);
        for (stalled, logged) in [(true, false), (false, true)] {
            st.on_stalled(stalled);
            assert_eq!(st.archive("juliet", &jid("romeo@house.test"), &message, Way::Received).is_ok(), logged);
            assert_eq!(st.deliveries.on_their_way[&message.mark].logged, logged);
        }
    }
}
