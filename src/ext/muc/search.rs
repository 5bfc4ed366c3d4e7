//! Search for rooms (XEP-0433).

use super::Muc;
use crate::core::{Flow, Handled, State};
use crate::wire::Stanza;

/// Features of the service.
pub const FEATURES: &[&str] = &[];

/// A request to the service.
pub fn iq(_muc: &mut Muc, _st: &mut State, _iq: &Stanza) -> Handled {
    Ok(Flow::Pass)
}
