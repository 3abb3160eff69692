//! `math.random`: the same sequence for the same seed on every machine, that of `lrand48`.

use std::cell::Cell;

#[derive(Debug)]
pub struct Random(Cell<u64>);

const MASK: u64 = (1 << 48) - 1;

impl Default for Random {
    fn default() -> Self {
        Self(Cell::new(0x1234_abcd_330e))
    }
}

impl Random {
    pub fn seed(&self, seed: i32) {
        self.0.set(u64::from(seed as u32) << 16 | 0x330e);
    }

    /// At least 0, below 1.
    pub fn unit(&self) -> f64 {
        let next = self.0.get().wrapping_mul(0x5_deec_e66d).wrapping_add(0xb) & MASK;
        self.0.set(next);
        let max = i64::from(i32::MAX);
        ((next >> 17) as i64 % max) as f64 / max as f64
    }
}
