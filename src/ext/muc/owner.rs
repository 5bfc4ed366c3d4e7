//! The use cases of owners (XEP-0045 §10).

use super::Muc;
use super::affiliation::Privilege;
use crate::core::{Flow, Handled, State};
use crate::wire::{Condition, Ns, Stanza, Type};

/// A request to a room.
pub fn iq(muc: &mut Muc, st: &mut State, local: &str, iq: &Stanza) -> Handled {
    let Some(from) = iq.from.clone() else { return Ok(Flow::Pass) };
    let room = muc.room(local, &from)?;
    room.must(&from, Privilege::Own)?;
    // §10.1.2
    let form = iq.children().next().and_then(|query| query.child(Ns::DATA_FORM, "x"));
    if iq.ty == Type::Set && form.is_some_and(|form| form.children().next().is_none()) {
        let config = room.config.clone();
        room.configure(st, config)?;
        return st.confirm(iq, "");
    }
    Err(Condition::FeatureNotImplemented.into())
}
