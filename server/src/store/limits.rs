//! The bounds under which collections keep their compact forms, and the seed of the tables that
//! they become beyond them.

use super::seed::Seed;
use super::stream::{Block, MAX_ENTRY_BYTES};

/// Copied out of the keyspace by a command and passed into every call that may grow a collection.
/// The defaults are the configuration directives' own.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub seed: Seed,
    /// `hash-max-listpack-entries`, fields.
    pub hash_entries: usize,
    /// `hash-max-listpack-value`, bytes.
    pub hash_value: usize,
    /// `list-max-listpack-size`: elements per chunk, or below 0 a class, from -1 (4 KB) to -5 (64 KB).
    pub list_size: i32,
    /// `set-max-intset-entries`.
    pub set_ints: usize,
    /// `set-max-listpack-entries`.
    pub set_entries: usize,
    /// `set-max-listpack-value`, bytes.
    pub set_value: usize,
    /// `zset-max-listpack-entries`.
    pub zset_entries: usize,
    /// `zset-max-listpack-value`, bytes.
    pub zset_value: usize,
    /// `stream-node-max-bytes`; 0 is without a bound.
    pub stream_bytes: usize,
    /// `stream-node-max-entries`; 0 is without a bound.
    pub stream_entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            seed: Seed::default(),
            hash_entries: 512,
            hash_value: 64,
            list_size: -2,
            set_ints: 512,
            set_entries: 128,
            set_value: 64,
            zset_entries: 128,
            zset_value: 64,
            stream_bytes: 4096,
            stream_entries: 100,
        }
    }
}

impl Limits {
    /// Whether a block of a stream takes no further entry of this many bytes.
    #[inline]
    pub fn block_is_full(&self, block: &Block, bytes: usize) -> bool {
        let most = match self.stream_bytes {
            0 => MAX_ENTRY_BYTES,
            bytes => bytes.min(MAX_ENTRY_BYTES),
        };
        block.listpack_bytes() + bytes >= most
            || self.stream_entries > 0 && (block.live + block.dead) as usize >= self.stream_entries
    }

    /// Whether a chunk of a list may hold `count` elements in `bytes` bytes.
    pub fn chunk_fits(&self, count: usize, bytes: usize) -> bool {
        const CLASSES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
        /// A chunk bounded by its number of elements still keeps to this many bytes.
        const SAFETY: usize = 8192;
        if self.list_size >= 0 {
            count <= self.list_size.max(1) as usize && bytes <= SAFETY
        } else {
            bytes <= CLASSES[(-self.list_size).min(5) as usize - 1]
        }
    }
}
