//! The keyed hash of the keyspace: SipHash-1-3 of a byte string under a 128-bit seed.
//!
//! The seed belongs to a whole `RedisHA`, not to a process: a SCAN cursor is a position in the
//! space of these hashes, so a cursor taken from one node is valid on another one of the same seed.

/// The key of the hash. Its text form (RDB aux field `redisha-hash-seed`) is 32 hex digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seed(pub [u64; 2]);

impl Seed {
    /// Reads 32 hex digits.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let (high, low) = text.split_at(16);
        Some(Self([u64::from_str_radix(high, 16).ok()?, u64::from_str_radix(low, 16).ok()?]))
    }

    /// The same for the same text.
    pub fn of(text: &[u8]) -> Self {
        Self([0, 1].map(|salt| Self([salt, salt]).hash(text)))
    }

    /// SipHash-1-3: one round per word, three at the end.
    pub fn hash(self, bytes: &[u8]) -> u64 {
        let [k0, k1] = self.0;
        let mut v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            let m = u64::from_le_bytes(*word);
            v[3] ^= m;
            round(&mut v);
            v[0] ^= m;
        }
        let mut last = (bytes.len() as u64) << 56;
        for (i, &b) in tail.iter().enumerate() {
            last |= u64::from(b) << (8 * i);
        }
        v[3] ^= last;
        round(&mut v);
        v[0] ^= last;
        v[2] ^= 0xff;
        round(&mut v);
        round(&mut v);
        round(&mut v);
        v[0] ^ v[1] ^ v[2] ^ v[3]
    }
}

impl std::fmt::Display for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}{:016x}", self.0[0], self.0[1])
    }
}

#[inline]
fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::Hasher;

    #[test]
    fn agrees_with_the_standard_library_under_the_zero_key() {
        let text: Vec<u8> = (0..100u8).collect();
        for len in 0..text.len() {
            let mut std = std::hash::DefaultHasher::new();
            std.write(&text[..len]);
            assert_eq!(Seed([0, 0]).hash(&text[..len]), std.finish(), "{len} bytes");
        }
    }

    #[test]
    fn the_text_form_round_trips_and_refuses_others() {
        let seed = Seed([1, u64::MAX]);
        assert_eq!(Seed::parse(&seed.to_string()), Some(seed));
        assert_eq!(Seed::parse("xyz"), None);
        assert_eq!(Seed::parse("+000000000000001ffffffffffffffff"), None);
    }
}
