//! Unpredictable names from one seed: stream ids and nonces.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;

/// Makes tokens that nobody can foretell who does not know the seed.
pub(super) struct Random {
    key: [u8; 32],
    made: u32,
}

impl Random {
    pub(super) fn new(seed: [u8; 32]) -> Random {
        Random { key: seed, made: 0 }
    }

    /// 24 letters of base64, 144 bits: safe in an attribute value and in a SCRAM message.
    pub(super) fn token(&mut self) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let tag = hmac::sign(&key, &self.made.to_be_bytes());
        self.made = self.made.wrapping_add(1);
        STANDARD.encode(&tag.as_ref()[..18])
    }
}

impl std::fmt::Debug for Random {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Random")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_by_seed_and_by_turn() {
        let (mut a, mut b) = (Random::new([1; 32]), Random::new([2; 32]));
        let tokens = [a.token(), a.token(), b.token(), b.token()];
        for (i, token) in tokens.iter().enumerate() {
            assert_eq!(token.len(), 24);
            assert!(!tokens[..i].contains(token));
        }
        assert_eq!(Random::new([1; 32]).token(), tokens[0]);
    }
}
