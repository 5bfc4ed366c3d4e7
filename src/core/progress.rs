//! A session's own progress through what was stored before it came (XEP-0160), and what that means for what comes meanwhile.
//!
//! While older messages are still to come, all that others send to the session waits behind them, whatever it is and however it is
//! addressed, copies too: stanzas of one pair of entities stay in order (RFC 6120 §10.1). It waits here, in memory, and not in
//! storage: most of it has another receiver that has it at once, or is nothing that can be stored. So there is a limit, and who
//! passes it has a client that reads more slowly than it is written to; the session ends, as with [`super::sm::QUEUE_BYTES`].
//! What the server itself answers, for itself, a service or an account, does not wait: that is another pair, and a client may not read
//! on before it has its answer.
//!
//! A client without stream management is asked (by a ping) whether it has read what it was handed. Until it answers, its line may be
//! dead: what else is written to it, or waits for it, is not sure to arrive, and is kept if nobody else has it. The same goes for
//! what waits here for a client with stream management, which has not counted it yet.

use super::delivery::Given;
use super::event::Event;
use super::ids::SessionId;
use super::quiet::Handed;
use super::session::Session;
use super::state::State;
use super::work::Work;
use crate::wire::{Kind, Ns, Stanza};
use std::collections::{BTreeSet, VecDeque};

/// What may wait behind older messages for one session, in bytes; more ends the session. What is kept comes to the next one.
pub const BEHIND_BYTES: usize = 256 * 1024;
/// What a stanza that waits costs besides its text, in bytes.
pub const WAITING_BYTES: usize = 256;
/// Numbers of messages that a session has read in the archive and that are remembered while messages wait for its account, in bytes.
/// What was read beyond that may come twice.
pub const READ_BYTES: usize = 64 * 1024;
const READ: usize = READ_BYTES / size_of::<u64>();

/// One session's progress. There is none while nothing older is on its way to it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Older messages are still to come.
    behind: bool,
    /// What came meanwhile, in order.
    queue: VecDeque<Stanza>,
    bytes: usize,
    /// Written since the client was last asked whether it reads, and not counted by its stream.
    given: Vec<u64>,
    /// Written before it was asked, and not answered yet.
    asked: Vec<u64>,
    /// It has read them in the archive.
    read: BTreeSet<u64>,
    /// How many requests to read there are not answered yet.
    reading: usize,
    /// How many of them are to be answered before it is handed what is older.
    awaited: usize,
}

impl Progress {
    /// Whether a client that does not count is sure to read what is written now.
    pub(super) fn is_sure(&self) -> bool {
        self.given.is_empty() && self.asked.is_empty()
    }

    /// What waits, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What waits, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &Stanza> {
        self.queue.iter()
    }

    fn is_over(&self) -> bool {
        !self.behind && self.is_sure() && self.queue.is_empty() && self.read.is_empty() && self.reading == 0
    }
}

impl State {
    /// Whether a stanza for this session comes behind what is older.
    fn waits(&self, session: &Session, stanza: &Stanza) -> bool {
        let Some(from) = &stanza.from else { return false };
        let local = from.domain() == session.jid.domain() || self.services.contains_key(from.domain());
        // Clients speak from full JIDs.
        let ours = local && from.is_bare();
        match stanza.kind {
            // What it reads in an archive it has asked for.
            Kind::Message => !(ours && stanza.child(Ns::MAM, "result").is_some()),
            Kind::Presence => *from != session.jid,
            Kind::Iq => !ours,
        }
    }

    fn progress(&mut self, sid: SessionId) -> Option<&mut Progress> {
        self.sessions.get_mut(&sid).and_then(|session| session.progress.as_deref_mut())
    }

    /// Older messages are to be handed to a session: what others send to it waits from now on, until [`State::catch_up`].
    /// Says whether that was not so before.
    pub fn fall_behind(&mut self, sid: SessionId) -> bool {
        let Some(session) = self.sessions.get_mut(&sid) else { return false };
        !std::mem::replace(&mut session.progress.get_or_insert_default().behind, true)
    }

    /// Lets a stanza wait, if it must.
    pub(super) fn behind(&mut self, sid: SessionId, stanza: &Stanza) -> bool {
        let Some(session) = self.sessions.get(&sid).filter(|s| s.progress.as_ref().is_some_and(|p| p.behind)) else {
            return false;
        };
        if !self.waits(session, stanza) {
            return false;
        }
        let Some(session) = self.sessions.get_mut(&sid) else { return false };
        let before = session.waiting_bytes();
        let Some(progress) = session.progress.as_deref_mut() else { return false };
        progress.bytes += stanza.bytes() + WAITING_BYTES;
        progress.queue.push_back(stanza.clone());
        if progress.bytes > BEHIND_BYTES {
            self.work.push_back(Work::Overflow(sid));
        } else if session.has_grown(before)
            && let Some(most) = self.waits_too_much(sid)
        {
            self.work.push_back(Work::Overflow(most));
        }
        true
    }

    /// All that is older was written: what waited follows, and what comes waits no longer.
    pub fn catch_up(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let (local, managed) = (Box::<str>::from(session.local()), session.managed.is_some());
        let Some(progress) = session.progress.as_deref_mut() else { return };
        progress.behind = false;
        progress.bytes = 0;
        let queue = std::mem::take(&mut progress.queue);
        let noted = managed && queue.iter().any(|stanza| self.is_given(sid, stanza.mark)) && self.write().is_ok();
        if noted {
            // How the stream counts them is stored before they are written, as with what is older.
            self.hold_back(sid);
        }
        let mut counts = Vec::new();
        for stanza in queue {
            if let Given::Counted(count) = self.write_waiting(&local, sid, stanza) {
                counts.push(count);
            }
        }
        if noted {
            self.note_counts(sid, &local, counts);
        }
    }

    /// The session takes no messages any more, and what is older stays in storage: what waited behind that, and can be kept, is kept
    /// behind it, or this session would get it first. All else follows now.
    pub fn stay_behind(&mut self, sid: SessionId) {
        let Some(progress) = self.progress(sid) else { return };
        progress.bytes = 0;
        for stanza in std::mem::take(&mut progress.queue) {
            if self.is_given(sid, stanza.mark) {
                self.work.push_back(Work::Left(sid, stanza));
            } else {
                self.pass(sid, stanza);
            }
        }
        self.catch_up(sid);
    }

    fn write_waiting(&mut self, local: &str, sid: SessionId, stanza: Stanza) -> Given {
        let mark = stanza.mark;
        let read = mark > 0 && self.progress(sid).is_some_and(|p| p.read.contains(&mark));
        if !self.is_given(sid, mark) {
            // Somebody else has it, or it is nothing that anybody has to have.
            if !read {
                self.pass(sid, stanza);
            }
            return Given::Sure;
        }
        // It has read it in the archive already: a question behind that tells that it has.
        let handed = if read { Handed::Unsure } else { self.pass(sid, stanza.clone()) };
        if handed == Handed::Unsure {
            self.unsure(sid, mark);
        }
        self.waited(local, sid, stanza, handed)
    }

    /// Hands an older message to a session, and does not care what becomes of it.
    pub fn send_old(&mut self, sid: SessionId, message: Stanza) {
        self.pass(sid, message);
    }

    /// Hands an older message to a session that does not count what it gets.
    pub fn hand_old(&mut self, sid: SessionId, message: Stanza) {
        let mark = message.mark;
        self.pass(sid, message);
        self.unsure(sid, mark);
    }

    /// A session has got a message, but its stream does not count that: the next question is behind it.
    pub fn unsure(&mut self, sid: SessionId, mark: u64) {
        if let Some(session) = self.sessions.get_mut(&sid) {
            session.progress.get_or_insert_default().given.push(mark);
        }
    }

    /// A message that was just written cannot be kept: then it is as sure as any that is written to who does not count.
    pub(super) fn take_for_sure(&mut self, sid: SessionId, mark: u64) {
        if let Some(progress) = self.progress(sid) {
            progress.given.pop_if(|last| *last == mark);
        }
    }

    /// Whether older messages are still to come.
    pub(super) fn is_behind(&self, sid: SessionId) -> bool {
        self.sessions.get(&sid).and_then(|s| s.progress.as_ref()).is_some_and(|p| p.behind)
    }

    /// A question is about to be written behind all that was given. Says whether there is any.
    pub fn asks_now(&mut self, sid: SessionId) -> bool {
        let Some(progress) = self.progress(sid) else { return false };
        let given = std::mem::take(&mut progress.given);
        progress.asked.extend(given);
        !progress.asked.is_empty()
    }

    /// The client has answered. What it has: what was asked for, and what is `live`, which was written since to one who reads.
    pub fn answered(&mut self, sid: SessionId, live: impl Fn(u64) -> bool) -> Vec<u64> {
        let Some(progress) = self.progress(sid) else { return Vec::new() };
        let mut has = std::mem::take(&mut progress.asked);
        has.extend(progress.given.extract_if(.., |mark| live(*mark)));
        has
    }

    /// Whether all that was given to a session without being counted is known to have arrived.
    pub fn is_sure(&self, sid: SessionId) -> bool {
        self.sessions.get(&sid).and_then(|s| s.progress.as_ref()).is_none_or(|p| p.is_sure())
    }

    /// A session asks for messages of the archive.
    pub fn begin_reading(&mut self, sid: SessionId) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        if self.accounts.get(session.local()).is_some_and(|account| account.kept > 0) {
            session.progress.get_or_insert_default().reading += 1;
        }
    }

    /// Such a request was answered.
    pub fn end_reading(&mut self, sid: SessionId) {
        let Some(progress) = self.progress(sid).filter(|progress| progress.reading > 0) else { return };
        progress.reading -= 1;
        if progress.awaited > 0 {
            progress.awaited -= 1;
            if progress.awaited == 0 {
                self.announce(Event::Read(sid));
            }
        }
        self.end_progress(sid, true);
    }

    /// What a session has asked for in the archive is to come before what is older: it is not to get that twice.
    pub fn await_reading(&mut self, sid: SessionId) {
        if let Some(progress) = self.progress(sid) {
            progress.awaited = progress.reading;
        }
    }

    /// Whether it is still to come.
    pub fn awaits_reading(&self, sid: SessionId) -> bool {
        self.sessions.get(&sid).and_then(|s| s.progress.as_ref()).is_some_and(|p| p.awaited > 0)
    }

    /// Messages of the archive were written to a session. Those of them that wait for its account, or may have to, it need not get
    /// again.
    pub fn has_read(&mut self, sid: SessionId, marks: impl IntoIterator<Item = u64>) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let kept = self.accounts.get(session.local()).is_some_and(|account| account.kept > 0);
        for mark in marks {
            if kept || self.deliveries.is_on_its_way(mark) {
                let read = &mut session.progress.get_or_insert_default().read;
                if read.len() < READ {
                    read.insert(mark);
                }
            }
        }
    }

    /// Whether a session has read this message in the archive.
    pub fn knows(&self, sid: SessionId, mark: u64) -> bool {
        self.sessions.get(&sid).and_then(|s| s.progress.as_ref()).is_some_and(|p| p.read.contains(&mark))
    }

    /// Nothing older is on its way to a session any more. `kept`: messages still wait for its account.
    pub fn end_progress(&mut self, sid: SessionId, kept: bool) {
        let Some(session) = self.sessions.get_mut(&sid) else { return };
        let Some(progress) = session.progress.as_deref_mut() else { return };
        if !kept {
            // One that is on its way may be kept again.
            progress.read.retain(|mark| self.deliveries.is_on_its_way(*mark));
        }
        if progress.is_over() {
            session.progress = None;
        }
    }

    /// What was given to a session and not counted is not known to have arrived, and will not be. Which messages these are.
    pub fn lose_given(&mut self, sid: SessionId) -> Vec<u64> {
        let Some(progress) = self.progress(sid) else { return Vec::new() };
        let mut lost = std::mem::take(&mut progress.asked);
        lost.append(&mut progress.given);
        for mark in &lost {
            self.not_given(sid, *mark);
        }
        lost
    }
}
