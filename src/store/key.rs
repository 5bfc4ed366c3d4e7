//! What the keys of each tree are. A localpart holds no NUL byte, so NUL ends it.

use super::Bytes;

/// `local`: the key of [`super::Tree::Account`] and [`super::Tree::Vcard`].
pub fn account(local: &str) -> Bytes {
    local.as_bytes().into()
}

/// `local NUL`: how all keys of an account begin in the trees with several rows an account.
pub fn prefix(local: &str) -> Bytes {
    let mut key = Vec::with_capacity(local.len() + 1);
    key.extend_from_slice(local.as_bytes());
    key.push(0);
    key.into()
}

/// `local NUL name`: a contact's bare JID, a blocked JID, the name of a private element.
pub fn named(local: &str, name: &str) -> Bytes {
    let mut key = Vec::with_capacity(local.len() + 1 + name.len());
    key.extend_from_slice(local.as_bytes());
    key.push(0);
    key.extend_from_slice(name.as_bytes());
    key.into()
}

/// `local NUL number`, big-endian, so that the order of keys is the order of numbers.
pub fn numbered(local: &str, number: u64) -> Bytes {
    let mut key = Vec::with_capacity(local.len() + 9);
    key.extend_from_slice(local.as_bytes());
    key.push(0);
    key.extend_from_slice(&number.to_be_bytes());
    key.into()
}

/// The localpart and what stands behind its NUL.
pub fn split(key: &[u8]) -> Option<(&str, &[u8])> {
    let at = key.iter().position(|b| *b == 0)?;
    Some((std::str::from_utf8(&key[..at]).ok()?, &key[at + 1..]))
}

/// The number of a numbered key.
pub fn number(key: &[u8]) -> Option<u64> {
    let (_, tail) = split(key)?;
    Some(u64::from_be_bytes(tail.try_into().ok()?))
}
