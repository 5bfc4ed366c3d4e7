//! The secret that an external component shares with the server, and its handshake (XEP-0114 §3).

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA1_OUTPUT_LEN, digest};
use std::fmt;
use subtle::ConstantTimeEq;

/// The shortest secret, in bytes.
pub(crate) const SECRET_BYTES_MIN: usize = 16;
/// The longest secret, in bytes.
pub(crate) const SECRET_BYTES_MAX: usize = 1023;

/// A component's secret. It is never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// From the text of the settings; `None` if it is too short or too long.
    pub fn new(text: &str) -> Option<Secret> {
        (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&text.len()).then(|| Secret(text.into()))
    }

    /// What a handshake in the stream of this id must say: SHA-1 over id and secret, in small hexadecimal digits.
    pub fn handshake(&self, id: &str) -> String {
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, [id, &self.0].concat().as_bytes());
        hash.as_ref().iter().fold(String::with_capacity(2 * SHA1_OUTPUT_LEN), |hex, byte| hex + &format!("{byte:02x}"))
    }

    /// Whether a handshake in the stream of this id proves that its sender knows the secret. Takes as long for one that is
    /// nearly right.
    pub fn is_proved(&self, id: &str, handshake: &str) -> bool {
        self.handshake(id).as_bytes().ct_eq(handshake.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake() {
        // By `printf '%s' 3BF96D32this-is-a-secret | sha1sum`.
        let secret = Secret::new("this-is-a-secret").unwrap();
        let right = secret.handshake("3BF96D32");
        assert_eq!(right, "174e81a667a46f8f0b6b59ce30bc3ee131fd3133");
        assert!(secret.is_proved("3BF96D32", &right));
        for wrong in ["", &right[1..], &right.to_uppercase(), &format!("{right} "), &secret.handshake("3BF96D33")] {
            assert!(!secret.is_proved("3BF96D32", wrong), "{wrong}");
        }
    }

    #[test]
    fn a_secret_has_some_length_and_is_not_shown() {
        assert!(Secret::new("fifteen letters").is_none());
        assert!(Secret::new(&"x".repeat(SECRET_BYTES_MAX + 1)).is_none());
        assert!(!format!("{:?}", Secret::new("this-is-a-secret").unwrap()).contains("this"));
    }
}
