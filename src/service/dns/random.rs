//! Numbers that nobody can guess.

use ring::rand::{SecureRandom, SystemRandom};

/// A number from 0 to `most`. Not evenly spread to the last bit; that matters to nobody here.
pub(in crate::service) fn number(most: u32) -> u32 {
    let mut bytes = [0; 8];
    // Without randomness no certificate can be checked either: whoever answers now gets no further than TLS.
    let _ = SystemRandom::new().fill(&mut bytes);
    (u64::from_be_bytes(bytes) % (u64::from(most) + 1)) as u32
}
