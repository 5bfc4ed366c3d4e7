//! The numbers of messages, the time, and what the one tells of the other.

use super::state::State;
use crate::wire::{Jid, Ns, Stanza};

impl State {
    /// A number for a message that enters the server ([`Stanza::mark`]): greater than all before. When that was,
    /// [`State::stamp`] tells.
    pub fn next_mark(&mut self) -> u64 {
        self.numbers.next(self.time())
    }

    /// The last number that was given.
    pub fn last_mark(&self) -> u64 {
        self.numbers.last()
    }

    /// The id of a message in an account's archive, and in `stanza-id` (XEP-0359).
    pub fn uid(&self, local: &str, mark: u64) -> String {
        self.numbers.text(local, mark)
    }

    /// A name for somebody, as of a number, that tells nothing of who it is, always the same in one place (XEP-0421). Whoever has taken
    /// the name of a removed account is somebody else.
    pub fn pseudonym(&self, place: &str, who: &Jid, number: u64) -> String {
        let account = self.local(who).and_then(|local| self.here.archived(local));
        let begins = account.map_or(0, |archived| archived.begins);
        self.numbers.pseudonym(place, who.bare_str(), if number < begins { 0 } else { begins })
    }

    /// Notes in a message what it is called in an account's archive (XEP-0359).
    pub fn note_id(&self, account: &Jid, message: &mut Stanza) {
        let mut text = [0; super::number::TEXT_BYTES];
        let uid = self.numbers.write_text(account.local().unwrap_or_default(), message.mark, &mut text);
        message.note(Ns::SID, "stanza-id", &[("by", account.as_str()), ("id", uid)]);
    }

    /// The number that such an id stands for; `None` if it was not given out for this account.
    pub fn uid_mark(&self, local: &str, uid: &str) -> Option<u64> {
        self.numbers.read(local, uid)
    }

    /// The time of this turn, in milliseconds since 1970, as well as it is known: what is stamped, is stamped by it.
    pub fn time(&self) -> u64 {
        self.clock.shown(self.now)
    }

    /// When a message came, in milliseconds since 1970: what the clock showed when it got its number.
    pub fn stamp(&self, mark: u64) -> u64 {
        self.numbers.stamp(mark)
    }

    /// The numbers of what came from `start` to `end` (milliseconds since 1970, both included), in ascending order.
    pub fn marks_between(&self, start: Option<u64>, end: Option<u64>) -> Vec<(u64, u64)> {
        self.numbers.between(start, end)
    }

    /// A time that was noted before. If it is still to come, it was noted while the clock was ahead.
    pub fn past(&self, noted: u64) -> u64 {
        let ahead = self.clock.back.filter(|_| noted > self.time()).map_or(0, |back| back.by);
        noted.saturating_sub(ahead)
    }

    /// The last number that may be dropped because it is older than `archive_days`; `oldest` is the first that is there.
    pub fn too_old(&mut self, oldest: u64) -> Option<u64> {
        self.clock.too_old(oldest, self.settings.archive_days)
    }

    /// Whether a number is older than `archive_days`, whatever the clock says.
    pub fn is_surely_old(&self, mark: u64) -> bool {
        let days = self.settings.archive_days;
        days > 0 && self.clock.old(days).0.is_some_and(|number| mark <= number)
    }

    /// What there is to tell of the clock, in words.
    pub fn clock_told(&self) -> Option<String> {
        self.clock.told()
    }
}
