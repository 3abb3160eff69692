//! The sketch itself: 16384 registers within a string, dense or sparse, byte for byte as every
//! Redis keeps them, so that a dump or a replica can be taken over by any. Pure; bytes that are no
//! valid sketch are refused, whatever they declare.
//!
//! A header of 16 bytes (`HYLL`, the encoding, three unused, the last count in little-endian with
//! its highest bit set when it is out of date) is followed by the registers: six bits each, or runs
//! of one or two bytes: `00nnnnnn` zeroes, `01nnnnnn nnnnnnnn` many zeroes, `1vvvvvnn` equal values.
//!
//! The estimate is Otmar Ertl's (arXiv:1702.01284).

pub const REGISTERS: usize = 16384;
const INDEX_BITS: u32 = 14;
/// Bits of the hash behind those that name the register.
const RANK_BITS: usize = 50;
const HEADER: usize = 16;
const DENSE_LEN: usize = HEADER + REGISTERS * 6 / 8;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// The largest value that the sparse form can hold.
const SPARSE_VALUE_MAX: u8 = 32;
const ZERO_MAX: usize = 64;
const VALUE_RUN_MAX: usize = 4;

/// The bytes are no sketch, or one that was damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

/// A run of the sparse form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    Zeroes(usize),
    ManyZeroes(usize),
    Value(u8, usize),
}

impl Run {
    fn read(bytes: &[u8], at: usize) -> Result<Self, Corrupt> {
        let first = *bytes.get(at).ok_or(Corrupt)?;
        Ok(match first >> 6 {
            0 => Self::Zeroes(usize::from(first) + 1),
            1 => {
                let low = *bytes.get(at + 1).ok_or(Corrupt)?;
                Self::ManyZeroes((usize::from(first & 0x3f) << 8 | usize::from(low)) + 1)
            }
            _ => Self::Value((first >> 2 & 0x1f) + 1, usize::from(first & 3) + 1),
        })
    }

    fn zeroes(count: usize) -> Self {
        if count > ZERO_MAX { Self::ManyZeroes(count) } else { Self::Zeroes(count) }
    }

    /// How many registers it stands for.
    fn registers(self) -> usize {
        match self {
            Self::Zeroes(count) | Self::ManyZeroes(count) | Self::Value(_, count) => count,
        }
    }

    fn value(self) -> u8 {
        if let Self::Value(value, _) = self { value } else { 0 }
    }

    /// Bytes that it takes.
    fn size(self) -> usize {
        if matches!(self, Self::ManyZeroes(_)) { 2 } else { 1 }
    }

    fn write(self, out: &mut Vec<u8>) {
        match self {
            Self::Zeroes(count) => out.push((count - 1) as u8),
            Self::ManyZeroes(count) => {
                out.extend_from_slice(&[0x40 | ((count - 1) >> 8) as u8, (count - 1) as u8]);
            }
            Self::Value(value, count) => out.push(0x80 | (value - 1) << 2 | (count - 1) as u8),
        }
    }
}

/// Whether a string looks like a sketch; the runs of a sparse one are checked as they are read.
pub fn is_sketch(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes.starts_with(b"HYLL")
        && match bytes[4] {
            DENSE => bytes.len() == DENSE_LEN,
            encoding => encoding == SPARSE,
        }
}

/// The smallest sketch, which has seen nothing.
pub fn empty() -> Vec<u8> {
    let mut bytes = b"HYLL".to_vec();
    bytes.push(SPARSE);
    bytes.resize(HEADER, 0);
    Run::ManyZeroes(REGISTERS).write(&mut bytes);
    bytes
}

pub fn is_sparse(sketch: &[u8]) -> bool {
    sketch[4] == SPARSE
}

/// The count that was kept when it was last reckoned, unless elements came since.
pub fn kept_count(sketch: &[u8]) -> Option<u64> {
    let bytes = sketch[8..].first_chunk::<8>()?;
    (bytes[7] & 0x80 == 0).then(|| u64::from_le_bytes(*bytes))
}

pub fn keep_count(sketch: &mut [u8], count: u64) {
    sketch[8..HEADER].copy_from_slice(&count.to_le_bytes());
}

/// The kept count is out of date.
pub fn forget_count(sketch: &mut [u8]) {
    sketch[HEADER - 1] |= 0x80;
}

/// The runs of a sparse sketch as they come, without the check that they fit the registers.
pub fn runs(sketch: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let run = Run::read(sketch, at).ok()?;
        at += run.size();
        Some(run)
    })
}

/// Calls `f` with each run of a sparse sketch and its first register; refuses runs that do not end
/// exactly at the last register.
pub fn each_run(sketch: &[u8], mut f: impl FnMut(usize, Run)) -> Result<(), Corrupt> {
    let (mut at, mut first) = (HEADER, 0);
    while at < sketch.len() {
        let run = Run::read(sketch, at)?;
        if first + run.registers() > REGISTERS {
            return Err(Corrupt);
        }
        f(first, run);
        at += run.size();
        first += run.registers();
    }
    if first == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

fn dense_get(registers: &[u8], index: usize) -> u8 {
    let (at, shift) = (index * 6 / 8, index * 6 % 8);
    let next = registers.get(at + 1).copied().unwrap_or(0);
    (u16::from_le_bytes([registers[at], next]) >> shift) as u8 & 0x3f
}

fn dense_set(registers: &mut [u8], index: usize, value: u8) {
    let (at, shift) = (index * 6 / 8, index * 6 % 8);
    let next = registers.get(at + 1).copied().unwrap_or(0);
    let pair = u16::from_le_bytes([registers[at], next]);
    let pair = pair & !(0x3f << shift) | u16::from(value) << shift;
    let [low, high] = pair.to_le_bytes();
    registers[at] = low;
    if let Some(next) = registers.get_mut(at + 1) {
        *next = high;
    }
}

/// Calls `f` with each register that is not zero, in order.
pub fn each_register(sketch: &[u8], mut f: impl FnMut(usize, u8)) -> Result<(), Corrupt> {
    if is_sparse(sketch) {
        return each_run(sketch, |first, run| {
            if run.value() > 0 {
                (first..first + run.registers()).for_each(|index| f(index, run.value()));
            }
        });
    }
    for index in 0..REGISTERS {
        let value = dense_get(&sketch[HEADER..], index);
        if value > 0 {
            f(index, value);
        }
    }
    Ok(())
}

/// Makes a sketch dense; `true` when it was sparse.
pub fn make_dense(sketch: &mut Vec<u8>) -> Result<bool, Corrupt> {
    if !is_sparse(sketch) {
        return Ok(false);
    }
    let mut dense = vec![0; DENSE_LEN];
    dense[..HEADER].copy_from_slice(&sketch[..HEADER]);
    dense[4] = DENSE;
    each_register(sketch, |index, value| dense_set(&mut dense[HEADER..], index, value))?;
    *sketch = dense;
    Ok(true)
}

/// Adds an element; `true` when a register grew by it.
pub fn add(sketch: &mut Vec<u8>, element: &[u8], sparse_max: usize) -> Result<bool, Corrupt> {
    let hash = murmur(element);
    let index = hash as usize & (REGISTERS - 1);
    let rank = (hash >> INDEX_BITS | 1 << RANK_BITS).trailing_zeros() + 1;
    raise(sketch, index, rank as u8, sparse_max)
}

/// Raises a register to `value`; `true` when it was lower. A sparse sketch becomes dense when it
/// cannot hold the value, or would grow beyond `sparse_max` bytes.
pub fn raise(
    sketch: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_max: usize,
) -> Result<bool, Corrupt> {
    if is_sparse(sketch) {
        if let Some(raised) = raise_sparse(sketch, index, value, sparse_max)? {
            if raised {
                forget_count(sketch);
            }
            return Ok(raised);
        }
        make_dense(sketch)?;
    }
    let registers = &mut sketch[HEADER..];
    let lower = dense_get(registers, index) < value;
    if lower {
        dense_set(registers, index, value);
    }
    Ok(lower)
}

/// As [`raise`]; `None` when the sparse form has no room for it.
fn raise_sparse(
    sketch: &mut Vec<u8>,
    index: usize,
    value: u8,
    sparse_max: usize,
) -> Result<Option<bool>, Corrupt> {
    if value > SPARSE_VALUE_MAX {
        return Ok(None);
    }
    // The run that covers the register, and the one before it.
    let (mut at, mut first, mut before) = (HEADER, 0, HEADER);
    let run = loop {
        let run = Run::read(sketch, at)?;
        if index < first + run.registers() {
            break run;
        }
        before = at;
        at += run.size();
        first += run.registers();
    };
    if run.value() >= value {
        return Ok(Some(false));
    }
    let rest = |count: usize| match run {
        Run::Value(old, _) => Run::Value(old, count),
        _ => Run::zeroes(count),
    };
    let mut parts = Vec::with_capacity(5);
    if index > first {
        rest(index - first).write(&mut parts);
    }
    Run::Value(value, 1).write(&mut parts);
    let behind = first + run.registers() - index - 1;
    if behind > 0 {
        rest(behind).write(&mut parts);
    }
    if parts.len() > run.size() && sketch.len() + parts.len() - run.size() > sparse_max {
        return Ok(None);
    }
    sketch.splice(at..at + run.size(), parts);
    merge_equal(sketch, before);
    Ok(Some(true))
}

/// Joins neighbouring runs of one value, among the five from `at` on.
fn merge_equal(sketch: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Ok(run) = Run::read(sketch, at) else { break };
        let next = Run::read(sketch, at + 1);
        if let (Run::Value(value, count), Ok(Run::Value(same, more))) = (run, next)
            && value == same
            && count + more <= VALUE_RUN_MAX
        {
            let mut joined = Vec::with_capacity(1);
            Run::Value(value, count + more).write(&mut joined);
            sketch.splice(at..at + 2, joined);
        } else {
            at += run.size();
        }
    }
}

/// How many registers have each value.
pub type Histogram = [u32; 64];

pub fn histogram(sketch: &[u8]) -> Result<Histogram, Corrupt> {
    let mut counts = [0; 64];
    if is_sparse(sketch) {
        each_run(sketch, |_, run| counts[usize::from(run.value())] += run.registers() as u32)?;
    } else {
        for index in 0..REGISTERS {
            counts[usize::from(dense_get(&sketch[HEADER..], index))] += 1;
        }
    }
    Ok(counts)
}

/// The estimate of how many different elements made these registers.
// Powers of two and repeated squares, until nothing changes any more.
#[allow(clippy::float_cmp)]
pub fn estimate(histogram: &Histogram) -> u64 {
    let m = REGISTERS as f64;
    let highest = f64::from(histogram[RANK_BITS + 1]);
    let mut z = m * tau((m - highest) / m);
    for count in histogram[1..=RANK_BITS].iter().rev() {
        z = (z + f64::from(*count)) * 0.5;
    }
    z += m * sigma(f64::from(histogram[0]) / m);
    let alpha = 0.5 / std::f64::consts::LN_2;
    (alpha * m * m / z).round() as u64
}

#[allow(clippy::float_cmp)]
fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

#[allow(clippy::float_cmp)]
fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// `MurmurHash64A` with the seed that every Redis uses.
fn murmur(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 0xadc8_3b19 ^ (bytes.len() as u64).wrapping_mul(M);
    let mut words = bytes.chunks_exact(8);
    for word in words.by_ref() {
        let mut k = word.first_chunk::<8>().map_or(0, |word| u64::from_le_bytes(*word));
        k = k.wrapping_mul(M);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(M)).wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(M);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 47
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers(sketch: &[u8]) -> Vec<u8> {
        let mut all = vec![0; REGISTERS];
        each_register(sketch, |index, value| all[index] = value).expect("valid");
        all
    }

    /// The same raises in both forms leave the same registers, and the sparse runs stay joined.
    #[test]
    fn both_forms_agree() {
        let mut sparse = empty();
        let mut dense = empty();
        make_dense(&mut dense).expect("valid");
        let mut state = 7u64;
        for _ in 0..3000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (index, value) = ((state >> 20) as usize % 300, (state >> 50) as u8 % 33);
            let value = value.max(1);
            let a = raise(&mut sparse, index, value, 1 << 20).expect("valid");
            let b = raise(&mut dense, index, value, 0).expect("valid");
            assert_eq!(a, b);
        }
        assert!(is_sparse(&sparse));
        assert_eq!(registers(&sparse), registers(&dense));
        assert_eq!(histogram(&sparse), histogram(&dense));
        raise(&mut sparse, 5, 40, 1 << 20).expect("valid");
        assert!(!is_sparse(&sparse), "40 does not fit into a sparse value");
    }

    #[test]
    fn estimates_are_close_and_forms_change_by_size() {
        for (elements, sparse) in [(0u64, true), (10, true), (1000, true), (100_000, false)] {
            let mut sketch = empty();
            for n in 0..elements {
                add(&mut sketch, n.to_string().as_bytes(), 3000).expect("valid");
            }
            let got = estimate(&histogram(&sketch).expect("valid"));
            let error = got.abs_diff(elements) as f64;
            assert!(error <= elements as f64 * 0.04, "{elements}: {got}");
            assert_eq!(is_sparse(&sketch), sparse, "{elements}");
        }
    }

    /// CVE-2025-32023 and its kind: sparse runs that go beyond the last register, end too early, or
    /// are cut off, wrote outside the registers. Every reader must refuse them.
    #[test]
    fn cve_2025_32023_damaged_runs_are_refused() {
        let sketch = |runs: &[u8]| {
            let mut bytes = empty();
            bytes.truncate(HEADER);
            bytes.extend_from_slice(runs);
            bytes
        };
        let bad: &[&[u8]] = &[
            &[],
            &[0x7f],
            &[0x7f, 0xff, 0x80],
            &[0x7f, 0xff, 0x7f, 0xff, 0xff],
            &[0x7f, 0xfe],
            &[0x7f, 0xff, 0x00],
            &[0x7f, 0xff, 0x40],
            &[0xff; 5000],
        ];
        for runs in bad {
            let bytes = sketch(runs);
            assert!(is_sketch(&bytes));
            assert_eq!(histogram(&bytes), Err(Corrupt), "{runs:x?}");
            assert_eq!(make_dense(&mut bytes.clone()), Err(Corrupt), "{runs:x?}");
            assert_eq!(each_register(&bytes, |_, _| {}), Err(Corrupt), "{runs:x?}");
            for element in 0..200u8 {
                // Either it is noticed, or the write stays within the runs.
                let _ = add(&mut bytes.clone(), &[element], 3000);
            }
        }
    }

    #[test]
    fn what_is_a_sketch() {
        assert!(is_sketch(&empty()));
        let mut dense = empty();
        make_dense(&mut dense).expect("valid");
        assert!(is_sketch(&dense));
        dense.push(0);
        assert!(!is_sketch(&dense));
        for bad in [&b""[..], b"HYLL", b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0", b"HILL\x01xxxxxxxxxxxxx"]
        {
            assert!(!is_sketch(bad));
        }
    }
}
