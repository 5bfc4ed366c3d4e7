//! Addresses (RFC 7622): parsed and prepared once, compared as bytes.

use std::fmt;
use std::sync::Arc;

/// The longest localpart, domainpart or resourcepart, in bytes after preparation (RFC 7622 §3).
pub const PART_BYTES: usize = 1023;

/// A JID, prepared: two that are equal compare equal as bytes. Cloning shares the text.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Where the domainpart begins.
    domain: u16,
    /// Where the bare JID ends: the place of the `/`, or the whole length.
    bare: u16,
}

/// Why a text is not a JID; the stanza error is `jid-malformed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct JidError(pub &'static str);

impl Jid {
    /// Parses and prepares `local@domain/resource`.
    pub fn parse(text: &str) -> Result<Jid, JidError> {
        let _ = text;
        todo!()
    }

    /// Prepares the parts and joins them.
    pub fn new(local: Option<&str>, domain: &str, resource: Option<&str>) -> Result<Jid, JidError> {
        let _ = (local, domain, resource);
        todo!()
    }

    /// The prepared localpart.
    pub fn local(&self) -> Option<&str> {
        (self.domain > 0).then(|| &self.text[..self.domain as usize - 1])
    }

    /// The prepared domainpart.
    pub fn domain(&self) -> &str {
        &self.text[self.domain as usize..self.bare as usize]
    }

    /// The prepared resourcepart.
    pub fn resource(&self) -> Option<&str> {
        self.text.get(self.bare as usize + 1..)
    }

    /// The bare JID as text, without copying.
    pub fn bare_str(&self) -> &str {
        &self.text[..self.bare as usize]
    }

    /// The bare JID; shares the text when it is one already.
    pub fn bare(&self) -> Jid {
        if self.is_bare() {
            return self.clone();
        }
        Jid { text: self.bare_str().into(), domain: self.domain, bare: self.bare }
    }

    /// Whether there is no resourcepart.
    pub fn is_bare(&self) -> bool {
        self.bare as usize == self.text.len()
    }

    /// The same bare JID with this resource.
    pub fn with_resource(&self, resource: &str) -> Result<Jid, JidError> {
        Jid::new(self.local(), self.domain(), Some(resource))
    }

    /// The whole address.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Jid) -> bool {
        self.text == other.text
    }
}
impl Eq for Jid {}
impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Jid) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Jid {
    fn cmp(&self, other: &Jid) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
impl std::hash::Hash for Jid {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state)
    }
}
impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)
    }
}
impl fmt::Display for JidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
impl std::error::Error for JidError {}
