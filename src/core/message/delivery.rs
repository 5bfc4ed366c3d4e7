//! Messages on their way: from when they were written to a session with stream management until somebody has them.
//!
//! A message is delivered when one session of the account acknowledged it, or got it without stream management: nobody knows more
//! of such a client. Until then each of its holders has it in its queue, and
//! - while one of them is connected, the log says that it is on its way: after a power cut it is kept like one that came while
//!   nobody was there ([`State::recover`]);
//! - when none is connected any more, or if it is not in the log, it is kept at once ([`crate::core::Extension::hold`]);
//! - when all of them have ended, what is kept goes to whoever comes.
//!
//! That it arrived is noted in the log with the next change, or a little later.

use super::deliveries::OnItsWay;
use super::handed::{Given, Handed};
use super::logged::Counted;
use crate::core::Core;
use crate::core::ids::SessionId;
use crate::core::impossible::impossible;
use crate::core::outcome::Hold;
use crate::core::state::State;
use crate::core::work::Work;
use crate::wire::{Condition, Kind, Stanza, StanzaError, Type};

impl State {
    /// A number for a message that is worth one: what is answered, broadcast or said in a room is not.
    pub fn mark_for(&mut self, message: &Stanza) -> u64 {
        match message.ty {
            Type::Error | Type::Headline | Type::Groupchat => 0,
            _ => self.next_mark(),
        }
    }

    /// Writes a message to these sessions of an account.
    pub(in crate::core) fn write_message(&mut self, local: &str, message: &Stanza, targets: &[SessionId], kept: bool) {
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
            if kept || self.deliveries.is_on_its_way(message.mark) {
                self.has(local, message.mark);
            }
            return;
        }
        if holders.is_empty() && unsure.is_empty() {
            return;
        }
        self.deliveries.wrote(message.mark, local, kept, holders, unsure);
    }

    /// Whether a session was given a message that its stream does not count.
    pub(super) fn is_given(&self, sid: SessionId, mark: u64) -> bool {
        self.deliveries.get(mark).is_some_and(|way| way.unsure.contains(&sid))
    }

    /// Whether a message is on its way to a session.
    pub fn is_on_its_way_to(&self, sid: SessionId, mark: u64) -> bool {
        let way = self.deliveries.get(mark);
        way.is_some_and(|way| way.unsure.contains(&sid) || way.count_of(sid).is_some())
    }

    /// A session will not have a message that it was given.
    pub(super) fn not_given(&mut self, sid: SessionId, mark: u64) {
        if self.deliveries.not_given(sid, mark) {
            self.settle(mark);
        }
    }

    /// A message that waited behind older ones for a session was handed to it.
    pub(in crate::core) fn waited(&mut self, local: &str, sid: SessionId, message: Stanza, handed: Handed) -> Given {
        let mark = message.mark;
        let Some(way) = self.deliveries.get_mut(mark) else { return Given::Sure };
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

    /// Hands messages that are kept to a session with stream management: when one is acknowledged, [`crate::core::Extension::had`] is told.
    /// How the stream counts them is stored before they are written, so that a client that comes back after a power cut does not
    /// get them again.
    pub fn hand_over(&mut self, local: &str, messages: &[Stanza], sid: SessionId) {
        // One that lost its connection may have some already.
        let count = |message: &Stanza| self.deliveries.get(message.mark).and_then(|way| way.count_of(sid));
        let new = |message: &&Stanza| count(message).is_none();
        let messages: Vec<&Stanza> = messages.iter().filter(new).collect();
        let Some(stream) = self.here.session(sid).and_then(|s| s.managed.as_ref()).map(|m| m.number()) else { return };
        // While storage takes nothing, they are better handed over without a note.
        let noted = !messages.is_empty() && self.write().is_ok();
        if noted {
            self.hold_back(sid);
        }
        let mut counts = Vec::new();
        for message in messages {
            self.write_message(local, message, &[sid], true);
            let counted = self.deliveries.get(message.mark).and_then(|way| way.count_of(sid));
            counts.extend(counted.map(|counted| (counted.count, message.mark)));
        }
        // New messages wait behind these.
        self.flush(sid);
        if noted {
            self.note_handed(local, stream, counts);
        }
    }

    /// How the streams count a message in whose queues it is.
    pub fn holders(&self, mark: u64) -> Vec<Counted> {
        let way = self.deliveries.get(mark);
        way.map(|way| way.holders.iter().map(|(_, counted)| *counted).collect()).unwrap_or_default()
    }

    /// Whether a message is in the queue of a session, connected or not.
    pub fn is_held(&self, mark: u64) -> bool {
        self.deliveries.is_on_its_way(mark)
    }

    fn connected(&self, way: &OnItsWay) -> bool {
        way.holders.iter().any(|(sid, _)| self.here.session(*sid).is_some_and(|s| s.stream.is_some()))
    }

    /// Somebody has a message: it needs no more delivery.
    pub fn has(&mut self, local: &str, mark: u64) {
        self.work.push_back(Work::Had(local.into(), mark));
    }

    /// The session's account is removed: the messages that it has not acknowledged go with it.
    pub(in crate::core) fn abandon(&mut self, sid: SessionId) {
        self.lose_given(sid);
        let Some(session) = self.here.session(sid) else { return };
        for stanza in session.undelivered() {
            self.deliveries.remove(stanza.mark);
        }
    }

    /// A session lost its connection: what only such sessions hold must be kept.
    pub(super) fn parted(&mut self, sid: SessionId) {
        let Some(session) = self.here.session(sid) else { return };
        let messages: Vec<Stanza> = session.undelivered().filter(|s| s.mark > 0).cloned().collect();
        self.work.extend(messages.into_iter().map(Work::Hold));
    }

    /// A session comes that takes messages: what others of its account have not acknowledged of what came for all is kept at once,
    /// for it would come late if they never do.
    pub(in crate::core) fn share(&mut self, local: &str, comes: SessionId) {
        for sid in self.sessions_of(local) {
            let Some(session) = self.here.session(sid).filter(|_| sid != comes) else { continue };
            let for_all = |message: &&Stanza| message.mark > 0 && message.to.as_ref().is_some_and(|to| to.is_bare());
            self.work.extend(session.undelivered().filter(for_all).cloned().map(Work::Keep));
        }
    }
}

impl Core {
    /// Somebody has a message.
    pub(in crate::core) fn had(&mut self, local: &str, mark: u64) {
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
        let way = self.state.deliveries.get(mark);
        way.is_some_and(|way| !(way.kept || way.logged && self.state.connected(way)))
    }

    /// Then it is kept.
    pub(in crate::core) fn hold(&mut self, message: Stanza) {
        if self.must_hold(message.mark) {
            self.hold_now(message);
        }
    }

    /// Keeps a message that is on its way, if it is not kept.
    pub(in crate::core) fn hold_now(&mut self, mut message: Stanza) {
        let way = self.state.deliveries.get(message.mark);
        let Some(way) = way.filter(|way| !way.kept) else { return };
        let local = way.local.clone();
        let outcome = self.keep_it(&local, &mut message);
        let deliveries = &mut self.state.deliveries;
        match (outcome, deliveries.get_mut(message.mark)) {
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
        let Some(way) = self.state.deliveries.remove(mark) else {
            return impossible("a message is not on its way that nobody keeps");
        };
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
    pub(in crate::core) fn unacknowledged(&mut self, sid: SessionId, mut stanza: Stanza) {
        if stanza.kind == Kind::Iq && matches!(stanza.ty, Type::Get | Type::Set) {
            // RFC 6121 §8.5.3.2.3: as if it had come now. Our own questions have nobody to tell.
            if stanza.from.as_ref().is_some_and(|from| self.state.local(from).is_some() || from != self.state.domain())
            {
                self.state.refuse(&stanza, &Condition::ServiceUnavailable.into());
            }
            return;
        }
        let Some(way) = self.state.deliveries.get_mut(stanza.mark) else { return };
        way.holders.retain(|(holder, _)| *holder != sid);
        way.unsure.retain(|given| *given != sid);
        if !way.is_with_nobody() {
            // If the others are not connected either, it is kept already.
            return self.hold(stanza);
        }
        let Some(OnItsWay { local, logged, kept, .. }) = self.state.deliveries.remove(stanza.mark) else {
            return impossible("a message is not on its way that was left behind");
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
    use super::super::archive::Way;
    use super::*;
    use crate::core::ids::StreamId;
    use crate::core::settings::Settings;
    use crate::wire::Jid;

    #[test]
    fn what_could_not_be_logged_is_not_logged() {
        let jid = |text: &str| Jid::parse(text).unwrap();
        let mut st = State::new(Settings::new(jid("house.test")), [1; 32], [2; 32]);
        let (stream, sid) = (StreamId(1), SessionId::of(StreamId(1)));
        st.here.add_a_test("juliet@house.test");
        st.here.enter(jid("juliet@house.test/balcony"), stream);
        st.enable(stream, true, None);
        let mut message = Stanza::new(Kind::Message, Type::Chat).from(jid("romeo@house.test/orchard"));
        message.mark = st.mark_for(&message);
        st.write_message("juliet", &message, &[sid], false);
        for (stalled, logged) in [(true, false), (false, true)] {
            st.on_stalled(stalled);
            assert_eq!(st.archive("juliet", &jid("romeo@house.test"), &message, Way::Received).is_ok(), logged);
            assert_eq!(st.deliveries.get(message.mark).unwrap().logged, logged);
        }
    }
}
