//! Numbers for tests that look random, and are the same each time.

/// They follow from the first one, which is not 0.
pub(crate) struct Dice(pub u64);

impl Dice {
    /// The next one, below `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) % end
    }
}
