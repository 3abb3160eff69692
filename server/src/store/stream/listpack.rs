//! The items of a block, encoded as in a listpack: each is followed by its own length, so that
//! they can be read from both ends. Works on blocks that this server built itself.

use crate::store::string::parse_int;

/// One item: integers are held as such wherever their text is the usual one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

impl Item<'_> {
    /// Whether the item is held for exactly these bytes.
    #[inline]
    pub fn is(&self, text: &[u8]) -> bool {
        match self {
            Item::Bytes(bytes) => *bytes == text,
            Item::Int(n) => parse_int(text) == Some(*n),
        }
    }

    /// As [`Self::is`], for what another item is held for.
    #[inline]
    pub fn same(&self, other: Item<'_>) -> bool {
        match other {
            Item::Bytes(text) => self.is(text),
            Item::Int(_) => *self == other,
        }
    }

    /// The number of an item that was written as one.
    #[inline]
    pub fn number(self) -> i64 {
        match self {
            Item::Int(n) => n,
            Item::Bytes(_) => 0,
        }
    }
}

pub const END: u8 = 0xff;

/// Appends the length of the item that began at `start`, for readers from the end.
#[inline]
fn close(out: &mut Vec<u8>, start: usize) {
    let size = out.len() - start;
    if size <= 127 {
        return out.push(size as u8);
    }
    for at in (0..back_size(size)).rev() {
        let digit = (size >> (7 * at)) as u8 & 127;
        let first = at + 1 == back_size(size);
        out.push(if first { digit } else { digit | 128 });
    }
}

/// Bytes that the length of an item of this size takes.
#[inline]
fn back_size(size: usize) -> usize {
    match size {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

#[inline]
pub fn push_int(out: &mut Vec<u8>, n: i64) {
    match n {
        0..=127 => out.extend_from_slice(&[n as u8, 1]),
        -4096..=4095 => {
            let raw = n as u16 & 0x1fff;
            out.extend_from_slice(&[0xc0 | (raw >> 8) as u8, raw as u8, 2]);
        }
        -32_768..=32_767 => sized(out, 0xf1, n, 2),
        -8_388_608..=8_388_607 => sized(out, 0xf2, n, 3),
        -2_147_483_648..=2_147_483_647 => sized(out, 0xf3, n, 4),
        _ => sized(out, 0xf4, n, 8),
    }
}

fn sized(out: &mut Vec<u8>, mark: u8, n: i64, bytes: usize) {
    out.push(mark);
    out.extend_from_slice(&n.to_le_bytes()[..bytes]);
    out.push(bytes as u8 + 1);
}

#[inline]
pub fn push(out: &mut Vec<u8>, item: Item<'_>) {
    match item {
        Item::Bytes(bytes) => push_bytes(out, bytes),
        Item::Int(n) => push_int(out, n),
    }
}

#[inline]
pub fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.len() <= 20
        && let Some(n) = parse_int(bytes)
    {
        return push_int(out, n);
    }
    let start = out.len();
    match bytes.len() {
        len @ 0..64 => out.push(0x80 | len as u8),
        len @ 64..4096 => out.extend_from_slice(&[0xe0 | (len >> 8) as u8, len as u8]),
        len => {
            out.push(0xf0);
            out.extend_from_slice(&(len as u32).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
    close(out, start);
}

/// Header and content of the item at `at`, in bytes, without the length behind it.
#[inline]
fn shape(data: &[u8], at: usize) -> (usize, usize) {
    match data[at] {
        0..=0x7f => (1, 0),
        first @ 0x80..=0xbf => (1, usize::from(first & 0x3f)),
        0xc0..=0xdf => (2, 0),
        first @ 0xe0..=0xef => (2, usize::from(first & 0x0f) << 8 | usize::from(data[at + 1])),
        0xf0 => {
            let len = [data[at + 1], data[at + 2], data[at + 3], data[at + 4]];
            (5, u32::from_le_bytes(len) as usize)
        }
        0xf1 => (1, 2),
        0xf2 => (1, 3),
        0xf3 => (1, 4),
        _ => (1, 8),
    }
}

/// The item that starts at `at`, and where the next one starts.
#[inline]
pub fn read(data: &[u8], at: usize) -> (Item<'_>, usize) {
    let first = data[at];
    if first <= 0x7f {
        return (Item::Int(i64::from(first)), at + 2);
    }
    let (header, content) = shape(data, at);
    let size = header + content;
    let next = at + size + back_size(size);
    let body = &data[at + header..at + size];
    let item = match first {
        0xc0..=0xdf => {
            let raw = i64::from(first & 0x1f) << 8 | i64::from(data[at + 1]);
            Item::Int(if raw < 4096 { raw } else { raw - 8192 })
        }
        0xf1..=0xf4 => {
            let mut wide = [0; 8];
            wide[..content].copy_from_slice(body);
            let shift = 64 - 8 * content as u32;
            Item::Int((i64::from_le_bytes(wide) << shift) >> shift)
        }
        _ => Item::Bytes(body),
    };
    (item, next)
}

/// Where the item after the one at `at` starts.
#[inline]
pub fn skip(data: &[u8], at: usize) -> usize {
    let (header, content) = shape(data, at);
    let size = header + content;
    at + size + back_size(size)
}

/// Where the item starts that ends before `end`.
#[inline]
pub fn before(data: &[u8], end: usize) -> usize {
    let mut at = end - 1;
    let mut size = usize::from(data[at] & 127);
    let mut shift = 7;
    while data[at] & 128 != 0 {
        at -= 1;
        size |= usize::from(data[at] & 127) << shift;
        shift += 7;
    }
    at - size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read_from_both_ends() {
        let mut data = Vec::new();
        let mut expect: Vec<Vec<u8>> = Vec::new();
        let edges = [0i64, 1, 127, 128, 4095, 4096, 32_767, 32_768, 8_388_607, 8_388_608];
        for n in edges.iter().flat_map(|n| [*n, -n, n * 1_000_003, i64::MAX, i64::MIN]) {
            expect.push(n.to_string().into_bytes());
        }
        for len in [0, 1, 63, 64, 125, 126, 127, 4095, 4096, 16_380, 16_383, 70_000, 2_097_140] {
            expect.push(vec![b'z'; len]);
        }
        expect.extend([b"-0".to_vec(), b"007".to_vec(), b"+1".to_vec()]);
        for text in &expect {
            push_bytes(&mut data, text);
        }
        let (mut at, mut starts) = (0, Vec::new());
        for text in &expect {
            let (item, next) = read(&data, at);
            assert!(item.is(text), "{} at {at}", String::from_utf8_lossy(text));
            assert_eq!(skip(&data, at), next);
            starts.push(at);
            at = next;
        }
        assert_eq!(at, data.len());
        for start in starts.into_iter().rev() {
            at = before(&data, at);
            assert_eq!(at, start);
        }
    }
}
