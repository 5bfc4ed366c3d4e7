//! EXTENSIONS: one file each. The list is the pipeline: hooks run in its order, top to bottom.

use crate::core::Extension;

mod blocking;
mod carbons;
mod chat_states;
mod delay;
mod hints;
mod offline;
mod ping;
mod register;
mod roster;
mod stanza_id;

/// All extensions, in order. `blocking` sees everything before anybody else does; `offline` last, when it is sure that a message
/// goes on.
#[rustfmt::skip]
pub fn all() -> Vec<Box<dyn Extension>> {
    vec![
        Box::new(blocking::Blocking::default()),
        Box::new(roster::Roster),
        Box::new(register::Register::default()),
        Box::new(ping::Ping),
        Box::new(delay::Delay),
        Box::new(stanza_id::StanzaId),
        Box::new(hints::Hints),
        Box::new(chat_states::ChatStates),
        Box::new(carbons::Carbons::default()),
        Box::new(offline::Offline::default()),
    ]
}
