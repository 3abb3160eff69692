//! Small changes of bytes, of the kinds that find what a reader did not expect.

use super::chance::Chance;

/// Bytes that mean something to one of the formats.
const BYTES: &[u8] = &[0, 1, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xfe, 0xff];
/// What stands for a number in a text.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "65536",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551615",
    "1e400",
    "nan",
    "-inf",
    "",
];
/// How long an input may grow.
const SIZE_MAX: usize = 64 * 1024;

/// Changes `bytes` in one to eight places; `others` lend pieces.
pub fn mutate(chance: &mut Chance, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    for _ in 0..=chance.below(8) {
        once(chance, bytes, others);
    }
    bytes.truncate(SIZE_MAX);
}

fn once(chance: &mut Chance, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    if bytes.is_empty() {
        bytes.push(chance.word() as u8);
        return;
    }
    let at = chance.below(bytes.len());
    let len = (1 + chance.below(16)).min(bytes.len() - at);
    match chance.below(10) {
        0 => bytes[at] ^= 1 << chance.below(8),
        1 => bytes[at] = BYTES[chance.below(BYTES.len())],
        2 => bytes[at] = chance.word() as u8,
        3 => bytes[at] = bytes[at].wrapping_add(1),
        4 => drop(bytes.drain(at..at + len)),
        5 => {
            let piece = bytes[at..at + len].to_vec();
            insert(bytes, at, &piece);
        }
        6 => insert(bytes, at, &chance.word().to_le_bytes()[..=len.min(7)]),
        7 => bytes.truncate(at),
        8 => number(chance, bytes, at),
        _ => {
            let other = &others[chance.below(others.len())];
            let from = chance.below(other.len());
            let to = (from + 1 + chance.below(64)).min(other.len());
            insert(bytes, at, &other[from.min(to)..to]);
        }
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

/// Puts another number in the place of the next one.
fn number(chance: &mut Chance, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = bytes[at..].iter().position(u8::is_ascii_digit) else { return };
    let start = at + start;
    let len = bytes[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = chance.pick(NUMBERS).as_bytes();
    bytes.splice(start..start + len, number.iter().copied());
}

/// Cuts bytes into pieces, as a network does.
pub fn pieces<'a>(chance: &mut Chance, bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let (mut rest, mut found) = (bytes, Vec::new());
    while !rest.is_empty() {
        let len = if chance.one_in(2) { rest.len() } else { 1 + chance.below(rest.len()) };
        let (piece, after) = rest.split_at(len);
        found.push(piece);
        rest = after;
    }
    found
}
