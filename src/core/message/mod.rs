//! THE LIFE OF A MESSAGE, from the session that sends it until somebody has it. Presence and IQs go the same way as far as they go.
//!
//! There is one entrance, [`Core::sent`](super::Core::sent), for what a session says; what a hook, a component or a room says goes in at step 3. From there:
//!
//! 1. It gets its `from` and its number ([`State::mark_for`](super::State::mark_for)): `Core::sent` in [`route`].
//! 2. Its own side sees it, the `leave` hooks: `Core::leaves`. Presence ends here, in [`super::presence`].
//! 3. It is routed by its `to`: `Core::route`. To an account of ours, the `arrive` hooks see it, and the table of RFC 6121 §8.5
//!    ([`rule`]) says to which sessions it goes: `Core::arrives`.
//! 4. It is **delivered** to each of them: `State::write_message` in [`delivery`], which remembers who holds it ([`deliveries`]). Nobody
//!    is there: the `offline` hooks keep it (`Core::keep`).
//! 5. To one session it goes by `State::hand` in [`write`](mod@write): it waits behind what is older ([`progress`], [`catch_up`]), is held for a
//!    client that nobody looks at ([`quiet`]), or is written. What that came to is told in [`handed`]. What waits for a client has limits
//!    ([`waiting`]).
//! 6. With stream management it is counted and stays in the queue of its session ([`managed`]) until the client acknowledges it
//!    ([`acks`]); the session waits for its client when the connection is lost ([`resume`]), and what is known of streams beside their sessions is in [`streams`].
//! 7. It is **accepted**: the `accepted` hooks see it (`Core::accepted`), and it goes into the **log** if it is archived: `State::archive` in
//!    [`archive`], one entry ([`logged`]) for both sides, written when the turn's changes are handed to storage.
//! 8. Somebody **has** it: `State::has`, and `Core::had` in [`delivery`]; the log is told ([`notes`]), so that it is not delivered again. Or nobody
//!    will have it soon: `Core::hold` asks the extensions to keep it. Or the session ended without an acknowledgement: `Core::unacknowledged`.
//! 9. To another server it goes by [`super::peers`] instead: it is in the log from the start, on its way to nobody here, until that server has
//!    it, or its sender an error.
//! 10. After a power cut, what was on its way is read from the end of the log: `State::recover` in [`recover`].

mod acks;
mod archive;
mod catch_up;
pub(super) mod deliveries;
mod delivery;
mod handed;
pub(super) mod logged;
pub(super) mod managed;
mod notes;
pub(super) mod progress;
pub(super) mod quiet;
mod recover;
mod resume;
mod route;
pub(super) mod rule;
pub mod streams;
pub mod waiting;
mod write;

pub(in crate::core) use acks::too_high;
pub use acks::{ANSWER_MS, SILENCES};
pub use archive::Way;
pub use logged::{Counted, Logged};
pub(in crate::core) use managed::Asks;
pub use managed::{Managed, QUEUE_BYTES, QUEUE_STANZAS, QUEUED_BYTES};
pub use progress::{BEHIND_BYTES, Progress, READ_BYTES, SHARED as BEHIND};
pub use quiet::{HELD_BYTES, QUIET_BYTES, Quiet, Worth};
pub use recover::Recovered;
pub use streams::{ENDED_MESSAGES, ENDED_STREAMS};
pub use waiting::{SLOW_BYTES, WAITING_FREE_BYTES};
