//! How often somebody did something in this minute.

use crate::core::State;
use crate::core::share::{Shared, Shares, limits};
use crate::wire::{Condition, Jid, StanzaError};
use std::collections::BTreeMap;

/// The people counted in a minute, in bytes, about.
const PEOPLE_BYTES: usize = 512 * 1024;
/// What one of them takes besides the address, in bytes, about.
const AROUND_BYTES: usize = 110;

pub(in crate::ext) const SHARED: Shared = Shared {
    what: "people counted in a minute: who makes rooms send something to others, and who sends presence to one room",
    whole: limits![PEOPLE_BYTES],
    share: "an account is one; a domain of others, the rule",
    checked: "ext/muc/minute.rs",
    told: "`resource-constraint`: wait a minute",
};

/// Those who did something in this minute, and how often.
#[derive(Debug, Default)]
pub(super) struct Minute {
    /// Which one it is.
    minute: u64,
    counts: BTreeMap<Jid, u32>,
    people: Shares,
}

impl Minute {
    /// Counts `times` more, of at most `most`, or refuses them all.
    ///
    /// # Errors
    /// `resource-constraint`, for a text to be added.
    pub(super) fn count(&mut self, st: &State, jid: &Jid, times: usize, most: u32) -> Result<(), StanzaError> {
        let minute = st.now().mono / 60_000;
        if self.minute != minute {
            *self = Minute { minute, ..Minute::default() };
        }
        let refused = || StanzaError::new(Condition::ResourceConstraint);
        if !self.counts.contains_key(jid.bare_str()) {
            let whose = st.whose(jid);
            let bytes = AROUND_BYTES + jid.bare_str().len();
            if !self.people.may(whose, bytes, PEOPLE_BYTES) {
                return Err(refused());
            }
            self.people.add(whose, bytes);
        }
        let count = self.counts.entry(jid.bare()).or_default();
        let more = u32::try_from(times).unwrap_or(u32::MAX);
        *count = Some(count.saturating_add(more)).filter(|count| *count <= most).ok_or_else(refused)?;
        Ok(())
    }
}
