//! LZF, the compression of long strings in RDB files. Pure.

use super::RdbError;

const BAD: RdbError = RdbError::Corrupt("a compressed string does not decompress");

/// Positions that the search remembers: one for each hash of three bytes.
const TABLE_BITS: u32 = 13;
const BACK_MAX: usize = 1 << 13;
const RUN_MAX: usize = 264;
const LITERALS_MAX: usize = 32;
/// After each so many positions in vain the search goes on in steps that are longer by one, so that
/// what does not repeat costs little.
const VAIN: usize = 32;

/// Compresses strings one after the other.
#[derive(Debug)]
pub struct Packer {
    /// The last position with each hash. Positions are counted through all strings, so that those
    /// of earlier ones are known as such and the table needs no clearing.
    table: Box<[u32]>,
    /// The position before the present string.
    base: u32,
    out: Vec<u8>,
}

impl Default for Packer {
    fn default() -> Self {
        Self { table: vec![0; 1 << TABLE_BITS].into(), base: 0, out: Vec::new() }
    }
}

impl Packer {
    /// A shorter form of `src`, if there is one.
    pub fn pack(&mut self, src: &[u8]) -> Option<&[u8]> {
        let room = src.len().checked_sub(4)?;
        let end = u32::try_from(src.len()).ok()?;
        if self.base.checked_add(end).is_none() {
            self.table.fill(0);
            self.base = 0;
        }
        self.out.clear();
        let (mut at, mut literals, mut vain) = (0, 0, 0);
        while at + 2 < src.len() && self.out.len() < room {
            let slot = &mut self.table[hash(&src[at..at + 3])];
            let seen = std::mem::replace(slot, self.base + at as u32 + 1);
            let seen = (seen.checked_sub(self.base + 1)).map(|seen| seen as usize);
            let seen = seen.filter(|seen| at - seen <= BACK_MAX);
            let run = seen.map_or(0, |seen| common(&src[at..], &src[seen..]));
            let Some(seen) = seen.filter(|_| run >= 3) else {
                vain += 1;
                at += 1 + vain / VAIN;
                continue;
            };
            put_literals(&mut self.out, &src[literals..at]);
            put_reference(&mut self.out, at - seen - 1, run);
            at += run;
            (literals, vain) = (at, 0);
        }
        self.base += end;
        put_literals(&mut self.out, &src[literals..]);
        (self.out.len() < room).then_some(self.out.as_slice())
    }
}

/// How long a run both begin with, as far as one reference reaches.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take(RUN_MAX).take_while(|(a, b)| a == b).count()
}

fn hash(three: &[u8]) -> usize {
    let word = u32::from_be_bytes([0, three[0], three[1], three[2]]);
    (word.wrapping_mul(2_654_435_761) >> (32 - TABLE_BITS)) as usize
}

fn put_literals(out: &mut Vec<u8>, bytes: &[u8]) {
    for run in bytes.chunks(LITERALS_MAX) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

/// `back` is the distance less one.
fn put_reference(out: &mut Vec<u8>, back: usize, run: usize) {
    let high = (back >> 8) as u8;
    let length = run - 2;
    if length < 7 {
        out.push(((length as u8) << 5) | high);
    } else {
        out.push((7 << 5) | high);
        out.push((length - 7) as u8);
    }
    out.push(back as u8);
}

/// The bytes that `src` stands for, exactly `len` of them.
///
/// The output grows as it is decoded, never from `len` alone, so that a lying length costs nothing.
pub fn decompress(src: &[u8], len: usize) -> Result<Vec<u8>, RdbError> {
    let mut out: Vec<u8> = Vec::new();
    let mut rest = src;
    while let Some((&ctrl, tail)) = rest.split_first() {
        if ctrl < 32 {
            let (run, tail) = tail.split_at_checked(usize::from(ctrl) + 1).ok_or(BAD)?;
            out.extend_from_slice(run);
            rest = tail;
        } else {
            rest = copy_back(ctrl, tail, &mut out)?;
        }
        if out.len() > len {
            return Err(BAD);
        }
    }
    if out.len() == len { Ok(out) } else { Err(BAD) }
}

/// Repeats a run that `out` already ends with; answers what follows the reference.
fn copy_back<'a>(ctrl: u8, tail: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], RdbError> {
    let mut tail = tail.iter();
    let mut byte = || tail.next().copied().map(usize::from).ok_or(BAD);
    let mut run = usize::from(ctrl >> 5) + 2;
    if run == 9 {
        run += byte()?;
    }
    let back = (usize::from(ctrl & 0x1f) << 8) + byte()? + 1;
    let from = out.len().checked_sub(back).ok_or(BAD)?;
    // Source and target may overlap: a run copies what it has just written.
    for i in from..from + run {
        out.push(out[i]);
    }
    Ok(tail.as_slice())
}

#[cfg(test)]
mod tests {
    use super::{Packer, decompress};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_compressed_comes_out(
            parts in vec((vec(0_u8..4, 1..40), 1..30_usize), 0..40)
        ) {
            // One string after the other by the same table.
            let mut packer = Packer::default();
            let srcs = parts.chunks(7).map(|parts| {
                parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect::<Vec<u8>>()
            });
            for src in srcs {
                if let Some(packed) = packer.pack(&src) {
                    prop_assert!(packed.len() < src.len());
                    prop_assert_eq!(decompress(packed, src.len()).expect("valid"), src);
                }
            }
        }
    }

    #[test]
    fn long_runs_shrink_and_noise_stays() {
        let mut packer = Packer::default();
        let packed = packer.pack(&b"x".repeat(100_000)).expect("it repeats").to_vec();
        assert!(packed.len() < 1500, "{}", packed.len());
        let noise: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        if let Some(packed) = packer.pack(&noise) {
            assert_eq!(decompress(packed, noise.len()).expect("valid"), noise);
        }
        assert_eq!(packer.pack(b"too short to gain"), None);
        assert_eq!(packer.pack(b""), None);
    }

    /// Positions are counted on and on, and begin anew before they run over.
    #[test]
    fn the_count_of_positions_may_run_over() {
        let src = b"twice and again: ".repeat(6);
        let mut packer = Packer { base: u32::MAX - 150, ..Packer::default() };
        for _ in 0..3 {
            let packed = packer.pack(&src).expect("it repeats").to_vec();
            assert_eq!(decompress(&packed, src.len()).expect("valid"), src);
        }
        assert!(packer.base < 1000, "{}", packer.base);
    }

    #[test]
    fn literals_and_overlapping_references_come_out() {
        // Two literals "ab", then a reference two bytes back of length 6, written over itself.
        let src = [1, b'a', b'b', (4 << 5), 1];
        assert_eq!(decompress(&src, 8).expect("valid"), b"abababab");
        // The long form: 7 in the length bits, then 10 more.
        let src = [0, b'x', (7 << 5), 10, 0];
        assert_eq!(decompress(&src, 20).expect("valid"), vec![b'x'; 20]);
    }

    #[test]
    fn a_wrong_length_or_reference_is_refused() {
        assert!(decompress(&[1, b'a', b'b'], 3).is_err(), "too short");
        assert!(decompress(&[1, b'a', b'b'], 1).is_err(), "too long");
        assert!(decompress(&[5, b'a'], 6).is_err(), "cut literal run");
        assert!(decompress(&[0, b'a', (1 << 5), 9], 4).is_err(), "before the start");
        assert!(decompress(&[(7 << 5)], 4).is_err(), "cut reference");
    }
}
