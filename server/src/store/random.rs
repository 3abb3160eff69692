//! Random numbers for commands that pick elements.

use std::hash::BuildHasher;

/// A `splitmix64` generator: evenly spread, nothing secret.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Default for Random {
    /// Seeded by the standard library's own source of randomness for hash keys.
    fn default() -> Self {
        Self(std::hash::RandomState::new().hash_one(0u8))
    }
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut n = self.0;
        n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        n ^ (n >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.draw()) * bound as u128) >> 64) as usize
    }
}
