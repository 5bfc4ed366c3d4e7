//! How a session gets through what was stored before it came, and what comes meanwhile waits ([`super::progress`]).

use super::handed::{Given, Handed};
use super::progress::{BEHIND_BYTES, Progress, READ, WAITING_BYTES};
use crate::core::event::Event;
use crate::core::ids::SessionId;
use crate::core::impossible::impossible;
use crate::core::session::Session;
use crate::core::state::State;
use crate::core::work::Work;
use crate::wire::{Condition, ErrorType, Jid, Kind, Ns, Stanza, StanzaError, Type};

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
        self.here.session_mut(sid).and_then(|session| session.progress.as_deref_mut())
    }

    /// Older messages are to be handed to a session: what others send to it waits from now on, until [`State::catch_up`].
    /// Says whether that was not so before.
    pub fn fall_behind(&mut self, sid: SessionId) -> bool {
        let Some(session) = self.here.session_mut(sid) else { return false };
        !std::mem::replace(&mut session.progress.get_or_insert_default().behind, true)
    }

    /// Whose it is, of what waits for a session: in a room each occupant speaks for themselves.
    fn speaker<'a>(&self, from: &'a Jid) -> &'a str {
        if self.services.contains_key(from.domain()) { from.as_str() } else { self.whose(from) }
    }

    /// Whether somebody has more waiting behind what is older for this session than they leave to others.
    fn says_too_much(&self, session: &Session, stanza: &Stanza) -> bool {
        let Some(progress) = session.progress.as_deref().filter(|progress| progress.behind) else { return false };
        let Some(from) = stanza.from.as_ref().filter(|from| from.bare_str() != session.jid.bare_str()) else {
            return false;
        };
        let bytes = stanza.bytes() + WAITING_BYTES;
        self.waits(session, stanza) && !progress.speakers.may(self.speaker(from), bytes, BEHIND_BYTES)
    }

    /// Whether what somebody says can wait for these sessions, where it has to.
    ///
    /// # Errors
    /// When too much of theirs does already: later.
    pub(super) fn may_wait(&self, targets: &[SessionId], stanza: &Stanza) -> Result<(), StanzaError> {
        let is_told =
            stanza.kind != Kind::Presence && !matches!(stanza.ty, Type::Error | Type::Result | Type::Groupchat);
        let too_much =
            |sid: &SessionId| self.here.session(*sid).is_some_and(|session| self.says_too_much(session, stanza));
        match is_told && targets.iter().any(too_much) {
            true => {
                let text =
                    "they still read what was stored for them, and much of yours waits behind that; try again later";
                Err(StanzaError::new(Condition::ResourceConstraint).ty(ErrorType::Wait).text(text))
            }
            false => Ok(()),
        }
    }

    /// Lets a stanza wait, if it must.
    pub(in crate::core) fn behind(&mut self, sid: SessionId, stanza: &Stanza) -> bool {
        let Some(session) = self.here.session(sid).filter(|s| s.progress.as_ref().is_some_and(|p| p.behind)) else {
            return false;
        };
        if !self.waits(session, stanza) {
            return false;
        }
        if stanza.mark == 0 && self.says_too_much(session, stanza) {
            // It is nothing that anybody was promised.
            return true;
        }
        let speaker: Box<str> = stanza.from.as_ref().map_or("", |from| self.speaker(from)).into();
        let Some(session) = self.here.session_mut(sid) else {
            impossible("a session is gone while something waits for it");
            return false;
        };
        let before = session.waiting_bytes();
        let Some(progress) = session.progress.as_deref_mut() else { return false };
        progress.bytes += stanza.bytes() + WAITING_BYTES;
        progress.speakers.add(&speaker, stanza.bytes() + WAITING_BYTES);
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
        let Some(session) = self.here.session_mut(sid) else { return };
        let (local, managed) = (Box::<str>::from(session.local()), session.managed.is_some());
        let Some(progress) = session.progress.as_deref_mut() else { return };
        progress.behind = false;
        let queue = progress.take_waiting();
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
        for stanza in progress.take_waiting() {
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
        if let Some(session) = self.here.session_mut(sid) {
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
        self.here.session(sid).and_then(|s| s.progress.as_ref()).is_some_and(|p| p.behind)
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
        self.here.session(sid).and_then(|s| s.progress.as_ref()).is_none_or(|p| p.is_sure())
    }

    /// A session asks for messages of the archive.
    pub fn begin_reading(&mut self, sid: SessionId) {
        let Some((session, account)) = self.here.session_and_account(sid) else { return };
        if account.is_some_and(|account| account.kept > 0) {
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
        self.here.session(sid).and_then(|s| s.progress.as_ref()).is_some_and(|p| p.awaited > 0)
    }

    /// Messages of the archive were written to a session. Those of them that wait for its account, or may have to, it need not get
    /// again.
    pub fn has_read(&mut self, sid: SessionId, marks: impl IntoIterator<Item = u64>) {
        let Some((session, account)) = self.here.session_and_account(sid) else { return };
        let kept = account.is_some_and(|account| account.kept > 0);
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
        self.here.session(sid).and_then(|s| s.progress.as_ref()).is_some_and(|p| p.read.contains(&mark))
    }

    /// Nothing older is on its way to a session any more. `kept`: messages still wait for its account.
    pub fn end_progress(&mut self, sid: SessionId, kept: bool) {
        let Some(session) = self.here.session_mut(sid) else { return };
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
