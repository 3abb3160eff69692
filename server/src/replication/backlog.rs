//! The backlog: the last part of the replication stream, shared by all replicas. Pure.
//!
//! Replicas hold offsets into it instead of copies. Offsets count the bytes of the stream from its
//! beginning, so `start() == end()` is an empty backlog, and a replica that has applied `n` bytes
//! wants to go on from offset `n` (which it writes as `n + 1` in PSYNC).

use std::collections::VecDeque;

/// Bytes per block: large enough that blocks are few, small enough to free memory in small steps.
const BLOCK: usize = 64 * 1024;

/// A window onto an endless stream of bytes. All blocks but the last are full.
#[derive(Debug, Default)]
pub struct Backlog {
    blocks: VecDeque<Vec<u8>>,
    start: u64,
    end: u64,
}

impl Backlog {
    /// An empty window at this offset.
    pub fn new(offset: u64) -> Self {
        Self { blocks: VecDeque::new(), start: offset, end: offset }
    }

    /// Offset of the oldest byte kept.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Offset behind the newest byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Bytes kept.
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Bytes of memory that it takes.
    pub fn memory(&self) -> u64 {
        (self.blocks.len() * BLOCK) as u64
    }

    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    pub fn append(&mut self, mut bytes: &[u8]) {
        self.end += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.blocks.back().is_none_or(|block| block.len() == BLOCK) {
                self.blocks.push_back(Vec::with_capacity(BLOCK));
            }
            let block = self.blocks.back_mut().expect("one was pushed if there was none");
            let (now, later) = bytes.split_at(bytes.len().min(BLOCK - block.len()));
            block.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Whether a reader can go on from `offset`.
    pub fn holds(&self, offset: u64) -> bool {
        (self.start..=self.end).contains(&offset)
    }

    /// Bytes from `offset` on that lie together; empty at the end, none if they are not kept.
    pub fn slice(&self, offset: u64) -> Option<&[u8]> {
        if !self.holds(offset) {
            return None;
        }
        let at = (offset - self.start) as usize;
        // Appending fills a block before it begins the next, so the position gives the block.
        Some(self.blocks.get(at / BLOCK).map_or(&[], |block| &block[at % BLOCK..]))
    }

    /// Appends up to `room` bytes from `offset` on to `out`; answers the offset behind them, or
    /// none if they are not kept any more.
    pub fn copy(&self, mut offset: u64, room: usize, out: &mut Vec<u8>) -> Option<u64> {
        let mut left = room;
        loop {
            let slice = self.slice(offset)?;
            let part = &slice[..slice.len().min(left)];
            if part.is_empty() {
                return Some(offset);
            }
            out.extend_from_slice(part);
            offset += part.len() as u64;
            left -= part.len();
        }
    }

    /// Drops whole blocks before `offset`.
    pub fn trim(&mut self, offset: u64) {
        while self.start + BLOCK as u64 <= offset.min(self.end) {
            self.blocks.pop_front();
            self.start += BLOCK as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Backlog};

    fn byte_at(offset: u64) -> u8 {
        (offset.wrapping_mul(31) >> 3) as u8
    }

    #[test]
    fn every_kept_byte_is_found_at_its_offset() {
        let mut log = Backlog::new(1000);
        let mut at = 1000u64;
        for size in [1usize, 7, BLOCK - 8, BLOCK, 3 * BLOCK + 5, 100] {
            let part: Vec<u8> = (at..at + size as u64).map(byte_at).collect();
            log.append(&part);
            at += size as u64;
        }
        assert_eq!((log.start(), log.end()), (1000, at));
        log.trim(1000 + 2 * BLOCK as u64 + 17);
        assert_eq!(log.start(), 1000 + 2 * BLOCK as u64, "whole blocks go, no more");
        assert_eq!(log.memory(), log.len().next_multiple_of(BLOCK as u64), "blocks are whole");
        for offset in [log.start(), log.start() + 1, log.end() - 9, log.end()] {
            let mut out = Vec::new();
            let end = log.copy(offset, usize::MAX, &mut out).expect("kept");
            assert_eq!(end, log.end());
            assert!(out.iter().zip(offset..).all(|(b, o)| *b == byte_at(o)), "from {offset}");
        }
        assert!(log.slice(log.start() - 1).is_none(), "dropped");
        assert!(log.slice(log.end() + 1).is_none(), "from the future");
    }

    #[test]
    fn a_copy_stops_at_its_room() {
        let mut log = Backlog::new(0);
        log.append(&[7; 100]);
        let mut out = Vec::new();
        assert_eq!(log.copy(90, 4, &mut out), Some(94));
        assert_eq!(out, [7; 4]);
        log.trim(u64::MAX);
        assert!(log.holds(0), "the last block stays, since appending goes on in it");
    }
}
