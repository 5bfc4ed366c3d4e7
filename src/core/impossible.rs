//! What cannot be.

use std::panic::Location;
use std::sync::{Mutex, PoisonError};

/// The places that have said so.
static SAID: Mutex<Vec<&'static Location<'static>>> = Mutex::new(Vec::new());

/// Two tables do not agree: that is a fault of this program, and nothing can be done about it here. The log says so, once for each
/// place; the server goes on for all others.
#[track_caller]
#[cold]
pub(super) fn impossible(what: &str) {
    let place = Location::caller();
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if !said.contains(&place) {
        said.push(place);
        log::error!("this cannot be, and is a fault of the server: {what} ({}:{})", place.file(), place.line());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_says_so_once() {
        let said =
            || SAID.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|at| at.file() == file!()).count();
        for _ in 0..3 {
            impossible("a test");
        }
        assert_eq!(said(), 1);
        impossible("another place of it");
        assert_eq!(said(), 2);
    }
}
