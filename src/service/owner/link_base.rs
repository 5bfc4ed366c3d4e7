//! What links begin with that the owner is given.

use super::control::{self, Request};
use crate::service::Result;
use crate::service::serve::Place;

/// It, as far as it is known.
pub(super) struct LinkBase {
    /// `https://HOST:PORT`; nothing, if nothing listens for browsers.
    pub url: Option<String>,
    runs: bool,
}

impl LinkBase {
    /// As the running server has it; else as it will be, most likely.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn of(place: &Place) -> Result<LinkBase> {
        Ok(match control::ask(&place.data, &Request::Urls)? {
            Some(lines) => LinkBase { url: lines.into_iter().next(), runs: true },
            None => LinkBase { url: place.web_base(), runs: false },
        })
    }

    /// What is to be told of a link that begins so.
    pub fn note(&self) -> Option<String> {
        let note = "note         the server does not run: when it does, it may be reached at another name or port";
        (!self.runs).then(|| note.to_owned())
    }
}
