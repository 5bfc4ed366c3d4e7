//! EXTENSIONS: one file each. The list is the pipeline: hooks run in its order, top to bottom.

use crate::core::Extension;

mod ping;
mod roster;

/// All extensions, in order.
pub fn all() -> Vec<Box<dyn Extension>> {
    vec![Box::new(roster::Roster), Box::new(ping::Ping)]
}
