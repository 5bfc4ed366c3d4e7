//! What each account, and each component, has had stored lately. The disk is for all: nobody may have stored more within a day than it
//! leaves to the others, of what is still free and of the archive. Whoever passes that has to wait until there is room, or time has
//! passed; reading, and what needs no storage, goes on.

use super::ids::SessionId;
use super::peers::Peers;
use super::session::Session;
use super::share::{Shared, limits};
use super::state::State;
use super::unordered::ByNumber;
use super::work::Payer;
use crate::store::{Batch, Op};
use crate::wire::{Condition, ErrorType, Jid, Kind, Stanza, StanzaError, Type};
use std::collections::{BTreeMap, BTreeSet};

/// What may be stored for somebody within a day however full the disk is, in bytes, as long as there is room at all.
pub const WRITTEN_FREE_BYTES: u64 = 1024 * 1024;
/// What a session has had stored is counted when it is so much, in bytes.
const COUNTED_BYTES: u32 = 8 * 1024;
/// In which time all of what somebody has had stored is forgiven, in milliseconds.
const FORGIVEN_MS: u64 = 86_400_000;
/// What a change costs besides its bytes, in bytes.
const CHANGE_BYTES: usize = 64;

/// For the table in `src/lib.rs`.
pub const SHARED: Shared = Shared {
    what: "the disk and the archive: what is stored within a day",
    whole: limits![WRITTEN_FREE_BYTES],
    share: "an account or a component: as much as is left on the disk, and half of the archive; that in any case",
    checked: "core/written.rs",
    told: "`resource-constraint`, of messages and requests that change something: later it can store again",
};

/// What one has had stored.
#[derive(Debug)]
struct Sum {
    bytes: u64,
    /// When that was right, of [`super::Now::mono`].
    at: u64,
}

/// What all have had stored.
#[derive(Debug)]
pub(super) struct Written {
    of: BTreeMap<Box<str>, Sum>,
    /// Those who have passed what they may, when last looked at.
    greedy: BTreeSet<Box<str>>,
    /// Bytes that can still be stored; unknown: all.
    room: u64,
}

impl Default for Written {
    fn default() -> Written {
        Written { of: BTreeMap::new(), greedy: BTreeSet::new(), room: u64::MAX }
    }
}

impl Sum {
    /// What is not forgiven of it by now. `whole` is forgiven in [`FORGIVEN_MS`].
    fn forgive(&mut self, now: u64, whole: u64) -> u64 {
        let gone = u128::from(whole) * u128::from(now.saturating_sub(self.at)) / u128::from(FORGIVEN_MS);
        let gone = u64::try_from(gone).unwrap_or(u64::MAX);
        if gone > 0 {
            self.bytes = self.bytes.saturating_sub(gone);
            self.at = now;
        }
        self.bytes
    }
}

impl Written {
    /// Counts what a stanza of somebody has made the server store. `share`: what may have been.
    fn charge(&mut self, who: &str, bytes: u64, now: u64, share: u64) {
        match self.of.get_mut(who) {
            Some(sum) => sum.bytes += bytes,
            None => {
                self.of.retain(|_, sum| sum.forgive(now, share) > 0);
                self.of.insert(who.into(), Sum { bytes, at: now });
            }
        }
        self.judge(who, now, share);
    }

    /// Whether somebody has had more stored than may be; that is remembered.
    fn judge(&mut self, who: &str, now: u64, share: u64) -> bool {
        let Some(sum) = self.of.get_mut(who) else { return false };
        let greedy = sum.bytes > share && sum.forgive(now, share) > share;
        if greedy && !self.greedy.contains(who) {
            log::info!("{who} has had its share of the disk and the archive stored for today, and has to wait");
            self.greedy.insert(who.into());
        } else if !greedy && !self.greedy.is_empty() {
            self.greedy.remove(who);
        }
        greedy
    }

    /// Whether somebody has to wait.
    fn is_greedy(&mut self, who: &str, now: u64, share: u64) -> bool {
        self.greedy.contains(who) && self.judge(who, now, share)
    }
}

/// Whose a stream is: an account's localpart, or the domain of a component or another server.
fn who<'a>(sessions: &'a ByNumber<SessionId, Session>, peers: &'a Peers, payer: Payer) -> &'a str {
    match payer {
        Payer::Session(sid) => sessions.get(&sid).map_or("", Session::local),
        Payer::Peer(stream) => peers.of(stream).map_or("", Jid::as_str),
    }
}

impl State {
    /// What somebody may have had stored, in bytes: as much as is left for the others of the room on the disk, and of the archive.
    fn written_share(&self) -> u64 {
        let archive = (self.settings.archive_bytes / 2).max(WRITTEN_FREE_BYTES);
        archive.min(self.written.room.max(WRITTEN_FREE_BYTES))
    }

    /// So many bytes can still be stored.
    pub(super) fn set_room(&mut self, bytes: u64) {
        self.written.room = bytes;
    }

    /// Counts the changes of this turn for whose stanza made them.
    pub(super) fn charge(&mut self, batch: &Batch) {
        let Some(payer) = self.payer else { return };
        let mut bytes = batch.ops.iter().map(op_bytes).sum::<usize>() as u64;
        if let Payer::Session(sid) = payer
            && let Some(session) = self.sessions.get_mut(&sid)
        {
            bytes += u64::from(std::mem::take(&mut session.unpaid));
            if let Ok(few @ 0..COUNTED_BYTES) = u32::try_from(bytes) {
                session.unpaid = few;
                return;
            }
        }
        let share = self.written_share();
        let who = who(&self.sessions, &self.peers, payer);
        self.written.charge(who, bytes, self.now.mono, share);
    }

    /// Somebody sends a stanza: from here on, what it makes the server store is counted, and refused to who has to wait.
    pub(super) fn pays(&mut self, payer: Payer, stanza: &Stanza) -> Result<(), StanzaError> {
        self.payer = Some(payer);
        if self.written.greedy.is_empty() {
            return Ok(());
        }
        let changes = match stanza.kind {
            Kind::Message => stanza.ty != Type::Error,
            Kind::Iq => stanza.ty == Type::Set,
            Kind::Presence => super::message::rule::is_subscription(stanza.ty),
        };
        let share = self.written_share();
        let who = who(&self.sessions, &self.peers, payer);
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
}

/// What somebody reads who has to wait.
pub(super) fn over_share() -> StanzaError {
    StanzaError::new(Condition::ResourceConstraint)
        .ty(ErrorType::Wait)
        .text("you have had more stored today than your share of this server's disk; it can store for you again later")
}

/// What a change may add to what is stored.
fn op_bytes(op: &Op) -> usize {
    match op {
        Op::Put(_, key, value) => key.len() + value.len() + CHANGE_BYTES,
        Op::Append(entry) => entry.value.len() + entry.copies.bytes() + CHANGE_BYTES,
        Op::Delete(..) | Op::DeleteAll(..) | Op::Trim { .. } => 0,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::settings::Settings;
    use super::*;
    use crate::wire::Jid;

    const MIB: u64 = 1 << 20;

    #[test]
    fn somebody_may_have_what_it_leaves_to_the_others() {
        let mut st = State::new(Settings::new(Jid::parse("house.test").unwrap()), [1; 32], [2; 32]);
        let charge = |st: &mut State, who: &str, bytes: u64, room: u64| {
            st.set_room(room);
            let share = st.written_share();
            st.written.charge(who, bytes, 0, share);
            st.written.is_greedy(who, 0, share)
        };
        let passed = (1..10).find(|n| charge(&mut st, "flood", MIB, (10 - n) * MIB));
        assert_eq!(passed, Some(6), "six had been stored when four were left");
        assert!(!charge(&mut st, "modest", WRITTEN_FREE_BYTES, 0), "however full the disk is");
        assert!(!charge(&mut st, "flood", 1, 100 * MIB), "somebody made room");
        assert!(charge(&mut st, "flood", 1, MIB));
        let half = st.settings.archive_bytes / 2;
        assert!(charge(&mut st, "log", half + 1, u64::MAX), "half of the archive");
    }

    #[test]
    fn a_day_forgives_a_share() {
        let mut written = Written::default();
        written.charge("flood", 12 * MIB, 0, 8 * MIB);
        assert!(written.is_greedy("flood", FORGIVEN_MS / 4, 8 * MIB));
        assert!(!written.is_greedy("flood", FORGIVEN_MS / 2, 8 * MIB), "eight are left");
        written.charge("other", 1000, 2 * FORGIVEN_MS, 8 * MIB);
        assert_eq!(written.of.len(), 1, "who is forgiven all is forgotten");
    }

    #[test]
    fn many_small_steps_of_time_forgive_as_much() {
        let mut sum = Sum { bytes: 1000, at: 0 };
        for ms in 0..=FORGIVEN_MS / 1000 {
            sum.forgive(ms * 500, 1000);
        }
        assert!((490..=510).contains(&sum.bytes), "{}", sum.bytes);
    }
}
