//! What the log is told of messages besides themselves: how streams count them, and which of them need no more delivery.

use super::logged::{Counted, Logged};
use crate::core::ids::SessionId;
use crate::core::state::State;
use crate::core::work::Timer;
use crate::store::{Batch, Copies, Entry};
use crate::wire::Stanza;

/// How long a note that messages arrived may wait for a change that it can go along with, in milliseconds.
const NOTE_MS: u64 = 5_000;

/// Notes in one entry.
const NOTES: usize = 4096;

impl State {
    /// How a session's stream counts messages that were just written to it is stored.
    pub(super) fn note_counts(&mut self, sid: SessionId, local: &str, counts: Vec<(u32, u64)>) {
        let Some(stream) = self.here.session(sid).and_then(|s| s.managed.as_ref()).map(|m| m.number()) else { return };
        self.flush(sid);
        for counts in counts.chunks(NOTES) {
            self.note_handed(local, stream, counts.to_vec());
        }
    }

    /// Notes what the clients of these streams are told was handled.
    pub(in crate::core) fn note_heard(&mut self, counts: Vec<Counted>) {
        let entry = self.note_of(&Logged::Heard(counts));
        self.deliveries.weigh(entry.id, 1);
        if let Ok(batch) = self.write() {
            batch.append(entry);
        }
    }

    /// The part of the log that is read at a start has moved on: what was noted before it of streams that live is noted again.
    pub(in crate::core) fn note_heard_again(&mut self) {
        if !self.deliveries.take_moved() {
            return;
        }
        let clients = self.here.sessions().iter().filter_map(|(_, s)| s.managed.as_ref()?.heard());
        let counts: Vec<Counted> = clients.chain(self.peers.heard()).take(NOTES).collect();
        self.name_peer_sessions_again();
        if !counts.is_empty() && self.write().is_ok() {
            self.note_heard(counts);
        }
    }

    pub(in crate::core) fn note_handed(&mut self, local: &str, stream: u64, messages: Vec<(u32, u64)>) {
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
        let Some(session) = self.here.session(sid) else { return };
        let Some(managed) = session.managed.as_ref() else { return };
        let (local, stream) = (Box::<str>::from(session.local()), managed.number());
        let mut counts = Vec::new();
        for (n, stanza) in (1..).zip(held).filter(|(_, stanza)| stanza.mark > 0) {
            let Some(way) = self.deliveries.get_mut(stanza.mark) else { continue };
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

    /// Notes what arrived, when something is stored anyway.
    pub(in crate::core) fn note_settled(&mut self) {
        if !self.deliveries.has_settled() || self.write().is_err() {
            return;
        }
        let settled = self.deliveries.take_settled(NOTES);
        let entry = self.note_of(&Logged::Settled(settled));
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
    pub(in crate::core) fn logged(&mut self, id: u64) {
        self.numbers.logged = id;
        self.deliveries.count(id);
    }

    pub(in crate::core) fn settle(&mut self, mark: u64) {
        if self.deliveries.settle(mark) {
            self.set_timer(self.now.mono + NOTE_MS, Timer::Note);
        }
    }

    /// A message comes or goes on a stream with another server: what that is called is stored, too, once.
    pub(in crate::core) fn name_peer_session(&mut self, number: u64) {
        if self.write().is_err() {
            return;
        }
        let Some((pair, id)) = self.peers.unnamed(number) else { return };
        let name = Logged::Peer { stream: number, ours: pair.ours.as_str(), theirs: pair.theirs.as_str(), id: &id };
        let entry = self.note_of(&name);
        self.deliveries.weigh(entry.id, 1);
        if let Ok(batch) = self.write() {
            batch.append(entry);
        }
    }

    fn name_peer_sessions_again(&mut self) {
        for number in self.peers.forget_names() {
            self.name_peer_session(number);
        }
    }

    /// It is time to note what arrived.
    pub(in crate::core) fn note(&mut self) {
        self.note_settled();
        if self.deliveries.timer_ended() {
            self.set_timer(self.now.mono + NOTE_MS, Timer::Note);
        }
    }

    /// Notes that these messages, which were on their way, are kept elsewhere: in the batch that does that.
    pub fn recovered(&mut self, marks: Vec<u64>, batch: &mut Batch) {
        batch.append(self.note_of(&Logged::Settled(marks)));
        batch.low = self.deliveries.low();
    }
}
