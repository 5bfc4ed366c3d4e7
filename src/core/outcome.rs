//! What hooks answer.

use crate::wire::StanzaError;

/// Whether the next in the list is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    /// Go on.
    Pass,
    /// It is dealt with: nobody else sees it, nothing more happens.
    Done,
}

/// What [`super::Extension::offline`] does with a message that nobody was there to take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Accepts {
    /// Nothing: the next in the list is asked.
    Pass,
    /// It is stored, or nobody misses it: it counts as accepted.
    Accepted,
}

/// What [`super::Extension::hold`] does with a message that may not arrive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hold {
    /// Nothing: the next in the list is asked.
    Pass,
    /// It is stored, and will be delivered or told of later.
    Kept,
    /// Nobody misses it.
    NotMissed,
}

/// What a hook answers. An error is sent to the stanza's sender, where the RFC allows one, and ends its way.
pub type Handled = Result<Flow, StanzaError>;
