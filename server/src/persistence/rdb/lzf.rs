//! LZF, the compression of long strings in RDB files. Pure; reads only: we write strings as they
//! are, which every reader takes.

use super::RdbError;

const BAD: RdbError = RdbError::Corrupt("a compressed string does not decompress");

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
    use super::decompress;

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
