//! Keys of dialback (XEP-0185): what proves that a stream was made by us needs no memory, it is computed.

use ring::{digest, hmac};
use std::fmt;
use subtle::ConstantTimeEq;

/// What the keys are made of, unpredictable; never shown.
#[derive(Clone)]
pub struct DialbackSecret(hmac::Key);

impl DialbackSecret {
    /// From 32 unpredictable bytes.
    pub fn new(seed: [u8; 32]) -> DialbackSecret {
        DialbackSecret::of(&seed)
    }

    fn of(secret: &[u8]) -> DialbackSecret {
        // XEP-0185 §3 has the hash in hexadecimal digits as the key.
        let hash = hex(digest::digest(&digest::SHA256, secret).as_ref());
        DialbackSecret(hmac::Key::new(hmac::HMAC_SHA256, hash.as_bytes()))
    }

    /// The key for a stream from the originating domain to the receiving one, who calls it `id`. The spaces keep what is said apart
    /// (CVE-2016-0756).
    pub fn key(&self, receiving: &str, originating: &str, id: &str) -> String {
        hex(hmac::sign(&self.0, format!("{receiving} {originating} {id}").as_bytes()).as_ref())
    }

    /// Whether it is that key. Takes as long for one that is nearly right.
    pub fn is_key(&self, receiving: &str, originating: &str, id: &str, key: &str) -> bool {
        self.key(receiving, originating, id).as_bytes().ct_eq(key.as_bytes()).into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |hex, byte| hex + &format!("{byte:02x}"))
}

impl fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialbackSecret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of XEP-0220 §2.1.1.
    #[test]
    fn the_key_of_the_specification() {
        let secret = DialbackSecret::of(b"s3cr3tf0rd14lb4ck");
        let key = "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3";
        assert_eq!(secret.key("montague.example", "capulet.example", "D60000229F"), key);
        assert!(secret.is_key("montague.example", "capulet.example", "D60000229F", key));
        assert!(!secret.is_key("montague.example", "capulet.example", "D60000229E", key));
        assert!(!secret.is_key("capulet.example", "montague.example", "D60000229F", key));
        assert!(!secret.is_key("montague.example", "capulet.example", "D60000229F", &key[1..]));
        assert!(!format!("{secret:?}").contains("s3cr3t"));
    }
}
