//! A stream feature of an extension (RFC 6120 §4.3.2): what the core offers, and the stream writes when it may be had.

use std::borrow::Cow;

/// A stream feature, offered after authentication.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StreamFeature {
    /// The element, with its namespace.
    pub element: Cow<'static, str>,
    /// When it is offered.
    pub offer: Offer,
}

/// When a stream feature is offered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer {
    /// To everybody who is authenticated.
    Always,
    /// Not once the stream is managed: what was enabled with the login is not there to be asked for again (XEP-0388 §2.6.1).
    Unmanaged,
}

impl StreamFeature {
    /// One for everybody who is authenticated.
    pub fn new(element: impl Into<Cow<'static, str>>) -> StreamFeature {
        StreamFeature { element: element.into(), offer: Offer::Always }
    }

    /// The same, offered at other times.
    #[must_use]
    pub fn offered(self, offer: Offer) -> StreamFeature {
        StreamFeature { offer, ..self }
    }

    /// Whether a stream offers it that has stream management already, or has not.
    pub fn is_offered(&self, managed: bool) -> bool {
        match self.offer {
            Offer::Always => true,
            Offer::Unmanaged => !managed,
        }
    }
}
