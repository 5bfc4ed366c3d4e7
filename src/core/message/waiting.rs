//! What waits in memory for clients to acknowledge it, or to come back for it: of all of them together no more than
//! [`waiting_bytes`](crate::core::Settings::waiting_bytes), and of one account no more than it leaves to the others. Who passes that loses
//! the session that has most of it; its messages are kept like those of any session that ends.

use crate::core::ids::SessionId;
use crate::core::session::Session;
use crate::core::share::{Shared, limits, spare};
use crate::core::state::State;
use crate::core::work::Payer;

/// What may wait for one account whatever waits for others, in bytes.
pub const WAITING_FREE_BYTES: usize = 256 * 1024;
/// How much of what others say may wait for a client before who says more is slowed down, in bytes.
pub const SLOW_BYTES: usize = 512 * 1024;
/// A client that has acknowledged nothing for so long does not answer, in milliseconds.
const DEAF_MS: u64 = 2_000;
/// How often what waits for a session is looked at: whenever it has grown by so many bytes.
const STEP_BYTES: usize = 32 * 1024;

/// For the table in `src/lib.rs`.
pub const SHARED: Shared = Shared {
    what: "bytes that clients have not acknowledged, or have not come back for: half of the setting `waiting_bytes`",
    whole: limits![WAITING_FREE_BYTES],
    share: "an account: the rule, and that in any case",
    checked: "core/message/waiting.rs",
    told: "its session with most of it ends with `resource-constraint`; its messages are kept",
};

impl Session {
    /// What waits for its client, in bytes.
    pub fn waiting_bytes(&self) -> usize {
        let managed = self.managed.as_ref().map_or(0, |managed| managed.waiting().1);
        let quiet = self.quiet.as_ref().map_or(0, |quiet| quiet.bytes());
        managed + quiet + self.progress.as_ref().map_or(0, |progress| progress.bytes())
    }

    /// Whether that has become so much more that it must be looked at.
    pub(super) fn has_grown(&self, before: usize) -> bool {
        before / STEP_BYTES != self.waiting_bytes() / STEP_BYTES
    }
}

impl State {
    /// Something was written to a session. If its client is far behind, whoever said that is to be slowed down.
    pub(in crate::core) fn said_to(&mut self, sid: SessionId, bytes: usize) {
        let Some(session) = self.here.session(sid).filter(|session| session.waiting_bytes() > SLOW_BYTES) else {
            return;
        };
        // Who acknowledges nothing at all is not waited for: it will be closed.
        let answers = |at: u64| self.now.mono < at.saturating_add(DEAF_MS);
        if !session.managed.as_ref().is_some_and(|managed| answers(managed.acknowledged_at())) {
            return;
        }
        let from_others = match self.payer {
            Some(Payer::Session(from)) => self.here.session(from).is_none_or(|from| from.local() != session.local()),
            Some(Payer::Peer(_)) => true,
            None => false,
        };
        if from_others {
            self.said_to_slow += bytes;
        }
    }

    /// What was said in this turn to clients that are far behind, in bytes.
    pub(in crate::core) fn take_said_to_slow(&mut self) -> usize {
        std::mem::take(&mut self.said_to_slow)
    }

    /// What waits for a session has grown. Gives the session of its account that has to end for that, if one has.
    pub(super) fn waits_too_much(&self, sid: SessionId) -> Option<SessionId> {
        let session = self.here.session(sid)?;
        let bytes = |sid: &SessionId| self.here.session(*sid).map_or(0, Session::waiting_bytes);
        let account = self.here.account(session.local())?;
        let own: usize = account.sessions.values().map(bytes).sum();
        if own <= WAITING_FREE_BYTES {
            return None;
        }
        let all: usize = self.here.sessions().sum(Session::waiting_bytes);
        if spare(own, all, self.settings.waiting_bytes) > 0 {
            return None;
        }
        account.sessions.values().max_by_key(|sid| bytes(sid)).copied()
    }
}
