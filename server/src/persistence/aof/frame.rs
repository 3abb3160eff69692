//! Frames and their checksums: how this server's own parts of a file are told, and proved. Pure.
//!
//! `#+<length> <sum> <length>`, and then so many bytes, which end with a whole unit. The length stands
//! there twice, since a frame that ends beyond its file is a torn tail, and must not be one by a
//! damaged digit. The sum is the CRC-64 of everything since the last point line began (or, if there
//! is none, the first head), up to the end of the frame, less the digits of sums in heads. So each
//! one proves all before it too: the line that names the point, the SELECT behind it, and that no
//! frame is missing, twice there or in another place.
//!
//! Files of former versions have heads with one length and nothing else: those frames are read, and
//! proved by nothing.

use crate::persistence::rdb::crc64;

use super::point::{Point, point_line};

pub(super) const FRAME: &[u8] = b"#+";
/// Hexadecimal digits of a sum.
pub(super) const SUM_DIGITS: usize = 16;

/// The text of a sum.
pub(super) fn digits(sum: u64) -> [u8; SUM_DIGITS] {
    let mut text = [0; SUM_DIGITS];
    for (at, digit) in text.iter_mut().enumerate() {
        let nibble = (sum >> (4 * (SUM_DIGITS - 1 - at))) as u8 & 15;
        *digit = if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
    }
    text
}

/// Reads what [`digits`] wrote, and nothing else.
pub(super) fn parse_sum(text: &str) -> Option<u64> {
    let sum = u64::from_str_radix(text, 16).ok()?;
    (digits(sum) == text.as_bytes()).then_some(sum)
}

/// What a head says of its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Bytes of the frame.
    pub length: u64,
    /// None in files of former versions.
    pub sum: Option<u64>,
}

impl Head {
    /// Reads a whole line that begins like a head.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(line.strip_prefix(FRAME)?).ok()?;
        let mut words = text.split(' ');
        let first = words.next()?;
        let length = first.parse().ok()?;
        let Some(sum) = words.next() else { return Some(Self { length, sum: None }) };
        let sum = Some(parse_sum(sum)?);
        (words.next() == Some(first) && words.next().is_none()).then_some(Self { length, sum })
    }
}

/// The annotation of `aof-timestamp-enabled`, as stock servers write it.
pub fn timestamp_line(unix_s: i64) -> String {
    format!("#TS:{unix_s}\r\n")
}

/// A part of a file, of which the sum is still to be reckoned: that looks at every byte and at nothing
/// else, so a thread that delays no command can do it.
#[derive(Debug, Default)]
pub struct Draft {
    bytes: Vec<u8>,
    /// It begins with a point line.
    anchored: bool,
    /// Where the digits of its frame's sum are to stand.
    sum_at: Option<usize>,
}

impl Draft {
    /// A part that begins with the line of a point.
    pub fn at(point: &Point) -> Self {
        Self { bytes: point_line(point), anchored: true, sum_at: None }
    }

    /// Appends what belongs to no frame.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the part's one frame, at its end: `fill` appends so many bytes.
    pub fn frame<T>(&mut self, length: u64, fill: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        debug_assert!(self.sum_at.is_none(), "a part has one frame");
        self.push(FRAME);
        let length = length.to_string();
        self.push(length.as_bytes());
        self.push(b" ");
        self.sum_at = Some(self.bytes.len());
        self.push(&[b'0'; SUM_DIGITS]);
        self.push(b" ");
        self.push(length.as_bytes());
        self.push(b"\r\n");
        fill(&mut self.bytes)
    }

    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// The sums of one file, whose parts are given in order.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums(u64);

impl From<u64> for Sums {
    /// Goes on from where a frame's sum stood.
    fn from(sum: u64) -> Self {
        Self(sum)
    }
}

impl Sums {
    /// The part's bytes as they stand in the file.
    pub fn seal(&mut self, draft: Draft) -> Vec<u8> {
        let Draft { mut bytes, anchored, sum_at } = draft;
        if anchored {
            *self = Self::default();
        }
        let Some(at) = sum_at else {
            self.add(&bytes);
            return bytes;
        };
        self.add(&bytes[..at]);
        self.add(&bytes[at + SUM_DIGITS..]);
        bytes[at..at + SUM_DIGITS].copy_from_slice(&digits(self.0));
        bytes
    }

    /// A line of annotation, its line end included; `head` if it is the head of a frame with a sum.
    pub(super) fn add_line(&mut self, line: &[u8], head: bool) {
        let at = if head { line.iter().position(|byte| *byte == b' ') } else { None };
        let Some(at) = at else { return self.add(line) };
        self.add(&line[..=at]);
        self.add(&line[at + 1 + SUM_DIGITS..]);
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.0 = crc64::update(self.0, bytes);
    }

    pub(super) fn value(self) -> u64 {
        self.0
    }
}
