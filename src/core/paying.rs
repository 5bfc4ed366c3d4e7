//! Who pays for what is done in this turn: what is stored counts for whose stanza made it ([`super::written`]), and what is read for who
//! asked ([`super::reading`]).

use super::here::Here;
use super::ids::{Job, SessionId};
use super::message::rule::is_subscription;
use super::peers::Peers;
use super::reading::Asker;
use super::share;
use super::state::State;
use super::work::Payer;
use super::written::over_share;
use crate::store::{Batch, Op};
use crate::wire::{Condition, ErrorType, Kind, Stanza, StanzaError, Type};

/// What a session has had stored is counted when it is so much, in bytes.
const COUNTED_BYTES: u32 = 8 * 1024;

/// What a change costs besides its bytes, in bytes.
const CHANGE_BYTES: usize = 64;

/// What one of them costs besides its text, in bytes.
const READ_BYTES: usize = 512;

/// Whose a stream is: an account, by its bare JID; a component, or the site of another server.
fn who<'a>(here: &'a Here, peers: &'a Peers, ours: &str, payer: Payer) -> &'a str {
    match payer {
        Payer::Session(sid) => here.session(sid).map_or("", |session| session.jid.bare_str()),
        Payer::Peer(stream) => peers.of(stream).map_or("", |theirs| share::whose(ours, theirs)),
    }
}

impl State {
    fn written_share(&self) -> u64 {
        self.written.share(self.settings.archive_bytes)
    }

    /// Counts the changes of this turn for whose stanza made them.
    pub(super) fn charge(&mut self, batch: &Batch) {
        let Some(payer) = self.payer else { return };
        let mut bytes = batch.ops.iter().map(op_bytes).sum::<usize>() as u64;
        if let Payer::Session(sid) = payer
            && let Some(session) = self.here.session_mut(sid)
        {
            bytes += u64::from(std::mem::take(&mut session.unpaid));
            if let Ok(few @ 0..COUNTED_BYTES) = u32::try_from(bytes) {
                session.unpaid = few;
                return;
            }
        }
        let share = self.written_share();
        let who = who(&self.here, &self.peers, self.settings.domain.domain(), payer);
        self.written.charge(who, bytes, self.now.mono, share);
    }

    /// Somebody sends a stanza: from here on, what it makes the server store is counted, and refused to who has to wait.
    pub(super) fn pays(&mut self, payer: Payer, stanza: &Stanza) -> Result<(), StanzaError> {
        self.payer = Some(payer);
        if self.written.is_nobody_greedy() {
            return Ok(());
        }
        let changes = match stanza.kind {
            Kind::Message => stanza.ty != Type::Error,
            Kind::Iq => stanza.ty == Type::Set,
            Kind::Presence => is_subscription(stanza.ty),
        };
        let share = self.written_share();
        let who = who(&self.here, &self.peers, self.settings.domain.domain(), payer);
        self.over_share = changes && self.written.is_greedy(who, self.now.mono, share);
        match self.over_share && stanza.kind == Kind::Message {
            true => Err(over_share()),
            false => Ok(()),
        }
    }

    /// The turn is over.
    pub(super) fn paid(&mut self) {
        self.payer = None;
        self.over_share = false;
    }

    /// Something is read.
    pub(super) fn reads(&mut self, job: Job) {
        self.reading.begin(job, |sid| self.here.session(sid).map(|session| session.jid.bare_str()));
    }

    /// It was read: what is done with it is for the same one.
    pub(super) fn was_read(&mut self, job: Job) {
        if let Some((who, bytes)) = self.reading.end(job) {
            self.reading.asker = Asker::Named(who, bytes);
        }
    }

    /// Somebody makes a request.
    ///
    /// # Errors
    /// `resource-constraint` if too many of theirs wait for storage.
    pub(super) fn asks(&mut self, sid: Option<SessionId>, stanza: &Stanza) -> Result<(), StanzaError> {
        if stanza.kind != Kind::Iq || !matches!(stanza.ty, Type::Get | Type::Set) {
            return Ok(());
        }
        let Some(from) = &stanza.from else { return Ok(()) };
        let (who, bytes) = (self.whose(from), READ_BYTES + stanza.bytes());
        if !self.reading.may(who, bytes) {
            let text = "too many of your requests wait for storage; wait for the answers";
            return Err(StanzaError::new(Condition::ResourceConstraint).ty(ErrorType::Wait).text(text));
        }
        self.reading.asker = match sid {
            Some(sid) => Asker::Session(sid, bytes),
            None => Asker::Named(who.into(), bytes),
        };
        Ok(())
    }
}

/// What a change may add to what is stored.
fn op_bytes(op: &Op) -> usize {
    match op {
        Op::Put(_, key, value) => key.len() + value.len() + CHANGE_BYTES,
        Op::Append(entry) => entry.value.len() + entry.copies.bytes() + CHANGE_BYTES,
        Op::Delete(..) | Op::DeleteAll(..) | Op::Trim { .. } => 0,
    }
}
