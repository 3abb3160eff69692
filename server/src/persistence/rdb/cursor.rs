//! Reading the format's primitives from a slice that may end before they do. Pure.

use std::borrow::Cow;

use super::{RdbError, lzf};

/// Why a primitive could not be read: the bytes are not there yet, or they are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    More,
    Bad(RdbError),
}

impl From<RdbError> for Stop {
    fn from(e: RdbError) -> Self {
        Stop::Bad(e)
    }
}

/// A length, or the announcement of a specially encoded string.
enum Len {
    Plain(u64),
    Special(u8),
}

/// A position in a slice. After `Stop::More` the caller puts `pos` back to where it began.
#[derive(Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    pub pos: usize,
    string_max: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, string_max: usize::MAX }
    }

    /// Refuses compressed strings that say they are longer: of a payload that a client sends, each
    /// byte could become ninety.
    #[must_use]
    pub fn with_strings_up_to(self, string_max: usize) -> Self {
        Self { string_max, ..self }
    }

    pub fn take(&mut self, n: u64) -> Result<&'a [u8], Stop> {
        let n = usize::try_from(n).map_err(|_| RdbError::Corrupt("a length is impossible"))?;
        let end = self.pos.checked_add(n).ok_or(RdbError::Corrupt("a length is impossible"))?;
        let taken = self.bytes.get(self.pos..end).ok_or(Stop::More)?;
        self.pos = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N as u64)?);
        Ok(out)
    }

    pub fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.array::<1>()?[0])
    }

    pub fn i32_le(&mut self) -> Result<i32, Stop> {
        self.array().map(i32::from_le_bytes)
    }

    pub fn i64_le(&mut self) -> Result<i64, Stop> {
        self.array().map(i64::from_le_bytes)
    }

    pub fn u64_le(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn f64_le(&mut self) -> Result<f64, Stop> {
        self.array().map(f64::from_le_bytes)
    }

    fn length_or_special(&mut self) -> Result<Len, Stop> {
        let first = self.byte()?;
        Ok(match first >> 6 {
            0 => Len::Plain(u64::from(first & 0x3f)),
            1 => Len::Plain((u64::from(first & 0x3f) << 8) | u64::from(self.byte()?)),
            3 => Len::Special(first & 0x3f),
            _ => match first {
                0x80 => Len::Plain(u64::from(u32::from_be_bytes(self.array()?))),
                0x81 => Len::Plain(u64::from_be_bytes(self.array()?)),
                _ => return Err(RdbError::Corrupt("a length has an unknown form").into()),
            },
        })
    }

    pub fn length(&mut self) -> Result<u64, Stop> {
        match self.length_or_special()? {
            Len::Plain(n) => Ok(n),
            Len::Special(_) => Err(RdbError::Corrupt("a string stands where a length must").into()),
        }
    }

    /// A string: plain, an integer, or compressed.
    pub fn string(&mut self) -> Result<Cow<'a, [u8]>, Stop> {
        let int = match self.length_or_special()? {
            Len::Plain(n) => return self.take(n).map(Cow::Borrowed),
            Len::Special(0) => i64::from(self.byte()?.cast_signed()),
            Len::Special(1) => i64::from(i16::from_le_bytes(self.array()?)),
            Len::Special(2) => i64::from(self.i32_le()?),
            Len::Special(3) => {
                let packed = self.length()?;
                let len = self.length()?;
                let src = self.take(packed)?;
                let len = usize::try_from(len).ok().filter(|len| *len <= self.string_max);
                let len = len.ok_or(RdbError::Corrupt("a compressed string is too long"))?;
                return Ok(Cow::Owned(lzf::decompress(src, len)?));
            }
            Len::Special(_) => return Err(RdbError::Corrupt("a string's form is unknown").into()),
        };
        Ok(Cow::Owned(int.to_string().into_bytes()))
    }

    /// A score as the first versions wrote it: its digits after their count.
    pub fn f64_text(&mut self) -> Result<f64, Stop> {
        let bad = RdbError::Corrupt("a score is no number");
        match self.byte()? {
            255 => Ok(f64::NEG_INFINITY),
            254 => Ok(f64::INFINITY),
            253 => Err(bad.into()),
            n => {
                let text = self.take(u64::from(n))?;
                let text = std::str::from_utf8(text).map_err(|_| bad)?;
                Ok(text.parse().map_err(|_| bad)?)
            }
        }
    }
}
