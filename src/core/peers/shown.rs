//! What a component has shown of its people to people here: taken back when it goes.

use crate::wire::{Jid, Type};
use std::collections::{BTreeSet, VecDeque};

/// What is remembered of the presence that the people of one component have sent to people here, in bytes, about. Of what is beyond
/// that, contacts are told when the component goes, and nobody else.
const SHOWN_BYTES: usize = 2 * 1024 * 1024;
/// What one of them takes besides the addresses, in bytes, about.
const SHOWN_AROUND_BYTES: usize = 120;
/// A component that is attached.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) domain: Jid,
    /// Who of its people is available to whom here: from whom, and to which address.
    pub(super) shown: BTreeSet<(Jid, Jid)>,
    /// What those take, in bytes, about.
    shown_bytes: usize,
    /// There were more.
    pub(super) more_shown: bool,
    /// The accounts and their contacts there that are still to be asked about each other.
    pub(super) greetings: VecDeque<(Box<str>, Jid)>,
}

impl Attached {
    pub(super) fn new(domain: Jid) -> Attached {
        Attached { domain, shown: BTreeSet::new(), shown_bytes: 0, more_shown: false, greetings: VecDeque::new() }
    }

    /// Remembers a presence to somebody here, to be taken back when the component goes.
    pub(super) fn note(&mut self, from: &Jid, to: &Jid, ty: Type) {
        let bytes = SHOWN_AROUND_BYTES + from.as_str().len() + to.as_str().len();
        let pair = (from.clone(), to.clone());
        match ty {
            Type::Unavailable if self.shown.remove(&pair) => self.shown_bytes -= bytes,
            Type::None if !self.shown.contains(&pair) && self.shown_bytes + bytes > SHOWN_BYTES => {
                self.more_shown = true;
            }
            Type::None if self.shown.insert(pair) => self.shown_bytes += bytes,
            _ => {}
        }
    }
}
