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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_apart_again() {
        let key = named("juliet", "romeo@example.org");
        assert_eq!(split(&key), Some(("juliet", &b"romeo@example.org"[..])));
        assert_eq!(split(&prefix("juliet")), Some(("juliet", &b""[..])));
        assert_eq!(split(&account("juliet")), None);
        assert_eq!(split(b"\xff\0x"), None);
        for n in [0, 1, 255, 256, u64::MAX] {
            assert_eq!(number(&numbered("juliet", n)), Some(n));
        }
        assert_eq!(number(&key), None);
        // A number may hold NUL bytes; only the first one ends the localpart.
        assert_eq!(split(&numbered("juliet", 0)).unwrap().1, [0; 8]);
    }

    #[test]
    fn a_prefix_takes_one_account_and_numbers_are_in_order() {
        for other in ["julie", "julieta", "juliet2"] {
            assert!(!named(other, "x").starts_with(&prefix("juliet")));
        }
        assert!(named("juliet", "x").starts_with(&prefix("juliet")));
        let keys: Vec<_> = [0, 9, 255, 256, 65_536, u64::MAX].map(|n| numbered("juliet", n)).into();
        assert!(keys.is_sorted());
    }
}
