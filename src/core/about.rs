//! What an extension says of itself.

use crate::wire::Ns;

/// What an extension says of itself: discovery, the table of specifications and `doap.xml` are made from it.
#[derive(Debug)]
pub struct About {
    /// `XEP-0199`, `RFC 6121`.
    pub spec: &'static str,
    /// The specification's title.
    pub name: &'static str,
    /// The version of the text it was written from.
    pub version: &'static str,
    /// What is left out; empty: it is complete for a server.
    pub missing: &'static str,
    /// Features that the server's own address has (XEP-0030).
    pub server: &'static [&'static str],
    /// Features that every account has.
    pub account: &'static [&'static str],
    /// Namespaces of IQ payloads whose requests come to [`super::Extension::iq`].
    pub iq: &'static [Ns],
}

impl About {
    /// A specification without features of its own.
    pub const fn new(spec: &'static str, name: &'static str, version: &'static str, missing: &'static str) -> About {
        About { spec, name, version, missing, server: &[], account: &[], iq: &[] }
    }
}
