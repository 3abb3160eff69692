//! LZF, the compression of long strings in RDB files. Pure.

use super::RdbError;

const BAD: RdbError = RdbError::Corrupt("a compressed string does not decompress");

/// Shorter strings are not worth the head.
const PACKED_MIN: usize = 21;
/// Positions that the search remembers: one for each hash of three bytes.
const TABLE_BITS: u32 = 13;
const BACK_MAX: usize = 1 << 13;
const RUN_MAX: usize = 264;
const LITERALS_MAX: usize = 32;

/// A shorter form of `src`, if there is one.
pub fn compress(src: &[u8]) -> Option<Vec<u8>> {
    if src.len() < PACKED_MIN {
        return None;
    }
    let room = src.len() - 4;
    let mut out = Vec::with_capacity(room);
    let mut table = vec![0_u32; 1 << TABLE_BITS];
    let (mut at, mut literals) = (0, 0);
    while at + 2 < src.len() && out.len() < room {
        // Positions count from 1 in the table: 0 is none.
        let slot = &mut table[hash(&src[at..at + 3])];
        let seen = std::mem::replace(slot, u32::try_from(at + 1).ok()?) as usize;
        let run = if seen == 0 || at + 1 - seen > BACK_MAX {
            0
        } else {
            let pairs = src[at..].iter().zip(&src[seen - 1..]);
            pairs.take(RUN_MAX).take_while(|(a, b)| a == b).count()
        };
        if run < 3 {
            at += 1;
            continue;
        }
        put_literals(&mut out, &src[literals..at]);
        put_reference(&mut out, at - seen, run);
        at += run;
        literals = at;
    }
    put_literals(&mut out, &src[literals..]);
    (out.len() < room).then_some(out)
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
    use super::{compress, decompress};
    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_compressed_comes_out(
            parts in vec((vec(0_u8..4, 1..40), 1..30_usize), 0..40)
        ) {
            let src: Vec<u8> = parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect();
            if let Some(packed) = compress(&src) {
                prop_assert!(packed.len() < src.len());
                prop_assert_eq!(decompress(&packed, src.len()).expect("valid"), src);
            }
        }
    }

    #[test]
    fn long_runs_shrink_and_noise_stays() {
        let packed = compress(&b"x".repeat(100_000)).expect("it repeats");
        assert!(packed.len() < 1500, "{}", packed.len());
        let noise: Vec<u8> = (0..4000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        if let Some(packed) = compress(&noise) {
            assert_eq!(decompress(&packed, noise.len()).expect("valid"), noise);
        }
        assert_eq!(compress(b"too short to gain"), None);
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
