//! Unpredictable bytes from one seed: the same seed gives the same bytes, so that a simulation can be run again.

use ring::hmac;

/// A generator: HMAC-SHA-256 over a counter, keyed with the seed.
#[derive(Debug)]
pub(super) struct Random {
    key: hmac::Key,
    count: u64,
}

impl Random {
    pub(super) fn new(seed: [u8; 32]) -> Random {
        Random { key: hmac::Key::new(hmac::HMAC_SHA256, &seed), count: 0 }
    }

    pub(super) fn next(&mut self) -> [u8; 32] {
        self.count += 1;
        let tag = hmac::sign(&self.key, &self.count.to_le_bytes());
        let mut out = [0; 32];
        out.copy_from_slice(tag.as_ref());
        out
    }
}
