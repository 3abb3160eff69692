//! The packed forms in which RDB files carry small collections: listpack, ziplist, intset and
//! zipmap. Pure readers over one blob; no byte sequence makes them panic or loop.
//!
//! Each is an iterator of elements that stops at the first error. Counts in the headers are not
//! believed: the end mark and the blob's own length decide.

use super::RdbError;

/// One element of a packed collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elem<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

impl Elem<'_> {
    /// Gives `f` the element as the string that a client would see.
    pub fn with_bytes<T>(self, f: impl FnOnce(&[u8]) -> T) -> T {
        match self {
            Elem::Bytes(b) => f(b),
            Elem::Int(n) => f(n.to_string().as_bytes()),
        }
    }

    /// The element as a sorted set's score.
    pub fn score(self) -> Result<f64, RdbError> {
        match self {
            Elem::Int(n) => Ok(n as f64),
            Elem::Bytes(b) => std::str::from_utf8(b)
                .ok()
                .and_then(|s| s.parse::<f64>().ok())
                .filter(|f| !f.is_nan())
                .ok_or(RdbError::Corrupt("a score is no number")),
        }
    }
}

type Next<'a> = Result<Option<Elem<'a>>, RdbError>;

/// The form of a packed blob; each has its own header and entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Listpack,
    Ziplist,
    Intset,
    Zipmap,
}

/// Walks one packed blob.
#[derive(Debug)]
pub struct Packed<'a> {
    form: Form,
    rest: &'a [u8],
    /// Intset: bytes per integer. Zipmap: whether a value comes next.
    width: usize,
    value_next: bool,
    done: bool,
}

impl<'a> Packed<'a> {
    pub fn new(form: Form, blob: &'a [u8]) -> Result<Self, RdbError> {
        let header = match form {
            Form::Listpack => 6,
            Form::Ziplist => 10,
            Form::Intset => 8,
            Form::Zipmap => 1,
        };
        let cut = RdbError::Corrupt("a packed collection is cut off");
        let (head, rest) = blob.split_at_checked(header).ok_or(cut)?;
        let mut width = 0;
        if form == Form::Intset {
            width = usize::from(head[0]);
            let count = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let sane = matches!(width, 2 | 4 | 8) && head[1..4] == [0; 3];
            if !sane || rest.len() % width != 0 || rest.len() / width != count {
                return Err(RdbError::Corrupt("an intset's header does not match its size"));
            }
        } else if form != Form::Zipmap {
            let total = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
            if total != blob.len() {
                return Err(RdbError::Corrupt("a packed collection's length is wrong"));
            }
        }
        Ok(Self { form, rest, width, value_next: false, done: false })
    }

    /// The next element, or none at the end.
    pub fn advance(&mut self) -> Next<'a> {
        if self.done {
            return Ok(None);
        }
        let next = match self.form {
            Form::Listpack => self.listpack(),
            Form::Ziplist => self.ziplist(),
            Form::Intset => self.intset(),
            Form::Zipmap => self.zipmap(),
        };
        self.done = !matches!(next, Ok(Some(_)));
        next
    }

    /// The next two elements, or none at the end; one alone is an error.
    pub fn advance_pair(&mut self) -> Result<Option<(Elem<'a>, Elem<'a>)>, RdbError> {
        let Some(first) = self.advance()? else { return Ok(None) };
        let second = self.advance()?.ok_or(RdbError::Corrupt("a field has no value"))?;
        Ok(Some((first, second)))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], RdbError> {
        let cut = RdbError::Corrupt("a packed collection is cut off");
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(cut)?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, RdbError> {
        Ok(self.take(1)?[0])
    }

    /// A little-endian signed integer of `n` ≤ 8 bytes.
    fn int(&mut self, n: usize) -> Result<Elem<'a>, RdbError> {
        let bytes = self.take(n)?;
        let mut wide = [0u8; 8];
        wide[..n].copy_from_slice(bytes);
        let shift = 64 - 8 * n as u32;
        Ok(Elem::Int((i64::from_le_bytes(wide) << shift) >> shift))
    }

    fn bytes(&mut self, n: usize) -> Result<Elem<'a>, RdbError> {
        Ok(Elem::Bytes(self.take(n)?))
    }

    fn at_end(&self) -> Next<'a> {
        if self.rest.is_empty() {
            Ok(None)
        } else {
            Err(RdbError::Corrupt("bytes follow the end of a packed collection"))
        }
    }

    fn listpack(&mut self) -> Next<'a> {
        let before = self.rest.len();
        let first = self.byte()?;
        let elem = match first {
            0x00..=0x7f => Elem::Int(i64::from(first)),
            0x80..=0xbf => self.bytes(usize::from(first & 0x3f))?,
            0xc0..=0xdf => {
                let raw = (i64::from(first & 0x1f) << 8) | i64::from(self.byte()?);
                Elem::Int(if raw < 4096 { raw } else { raw - 8192 })
            }
            0xe0..=0xef => {
                let low = usize::from(self.byte()?);
                self.bytes((usize::from(first & 0x0f) << 8) | low)?
            }
            0xf0 => {
                let n = self.take(4)?;
                self.bytes(u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize)?
            }
            0xf1 => self.int(2)?,
            0xf2 => self.int(3)?,
            0xf3 => self.int(4)?,
            0xf4 => self.int(8)?,
            0xff => return self.at_end(),
            _ => return Err(RdbError::Corrupt("a listpack entry has an unknown encoding")),
        };
        let size = before - self.rest.len();
        self.take(backlen_size(size))?;
        Ok(Some(elem))
    }

    fn ziplist(&mut self) -> Next<'a> {
        match self.byte()? {
            0xff => return self.at_end(),
            0xfe => {
                self.take(4)?;
            }
            _ => {}
        }
        let first = self.byte()?;
        let elem = match first {
            0x00..=0x3f => self.bytes(usize::from(first))?,
            0x40..=0x7f => {
                let low = usize::from(self.byte()?);
                self.bytes((usize::from(first & 0x3f) << 8) | low)?
            }
            0x80 => {
                let n = self.take(4)?;
                self.bytes(u32::from_be_bytes([n[0], n[1], n[2], n[3]]) as usize)?
            }
            0xc0 => self.int(2)?,
            0xd0 => self.int(4)?,
            0xe0 => self.int(8)?,
            0xf0 => self.int(3)?,
            0xfe => self.int(1)?,
            0xf1..=0xfd => Elem::Int(i64::from(first & 0x0f) - 1),
            _ => return Err(RdbError::Corrupt("a ziplist entry has an unknown encoding")),
        };
        Ok(Some(elem))
    }

    fn intset(&mut self) -> Next<'a> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.int(self.width).map(Some)
    }

    fn zipmap(&mut self) -> Next<'a> {
        let len = match self.byte()? {
            0xff if !self.value_next => return self.at_end(),
            0xfe => {
                let n = self.take(4)?;
                let len = u32::from_le_bytes([n[0], n[1], n[2], n[3]]) as usize;
                if len < 0xfe {
                    return Err(RdbError::Corrupt("a zipmap's length is written too long"));
                }
                len
            }
            0xff => return Err(RdbError::Corrupt("a zipmap's field has no value")),
            n => usize::from(n),
        };
        // Room that a shrunken value left behind follows it.
        let spare = if self.value_next { usize::from(self.byte()?) } else { 0 };
        let elem = self.bytes(len)?;
        self.take(spare)?;
        self.value_next = !self.value_next;
        Ok(Some(elem))
    }
}

/// Bytes that a listpack spends after an entry of `size` bytes to let readers walk backwards.
fn backlen_size(size: usize) -> usize {
    match size {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::{Elem, Form, Packed};

    fn all(form: Form, blob: &[u8]) -> Result<Vec<String>, super::RdbError> {
        let mut walk = Packed::new(form, blob)?;
        let mut out = Vec::new();
        while let Some(e) = walk.advance()? {
            out.push(e.with_bytes(|b| String::from_utf8_lossy(b).into_owned()));
        }
        Ok(out)
    }

    fn with_total(mut blob: Vec<u8>) -> Vec<u8> {
        let total = (blob.len() as u32).to_le_bytes();
        blob[..4].copy_from_slice(&total);
        blob
    }

    #[test]
    fn a_listpack_of_every_encoding() {
        let mut blob = vec![0; 6];
        blob.extend([0x05, 1]);
        blob.extend([0x83, b'a', b'b', b'c', 4]);
        blob.extend([0xdf, 0xff, 2]);
        blob.extend([0xc1, 0x00, 2]);
        blob.extend([0xf1, 0x00, 0x80, 3]);
        blob.extend([0xf2, 0xff, 0xff, 0x7f, 4]);
        blob.extend([0xf3, 0, 0, 0, 0x80, 5]);
        blob.extend([0xf4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 9]);
        blob.extend([0xe0, 200]);
        blob.extend(vec![b'z'; 200]);
        blob.extend([1, 0xca]);
        blob.extend([0xf0, 1, 0, 0, 0, b'q', 6, 0xff]);
        let got = all(Form::Listpack, &with_total(blob)).expect("valid");
        let z = "z".repeat(200);
        let want = [
            "5",
            "abc",
            "-1",
            "256",
            "-32768",
            "8388607",
            "-2147483648",
            "9223372036854775807",
            &z,
            "q",
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn a_ziplist_of_every_encoding() {
        let mut blob = vec![0; 10];
        blob.extend([0, 0x02, b'h', b'i']);
        blob.extend([4, 0x40, 3, b'x', b'y', b'z']);
        blob.extend([0xfe, 6, 0, 0, 0, 0x80, 0, 0, 0, 1, b'w']);
        blob.extend([0, 0xc0, 0xff, 0xff, 0, 0xd0, 1, 0, 0, 0, 0, 0xf0, 0, 0, 0x80]);
        blob.extend([0, 0xfe, 0x80, 0, 0xf1, 0, 0xfd, 0, 0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xff]);
        let got = all(Form::Ziplist, &with_total(blob)).expect("valid");
        let want =
            ["hi", "xyz", "w", "-1", "1", "-8388608", "-128", "0", "12", "-9223372036854775808"];
        assert_eq!(got, want);
    }

    #[test]
    fn an_intset_and_a_zipmap() {
        let blob = [2, 0, 0, 0, 2, 0, 0, 0, 0xfe, 0xff, 7, 0];
        assert_eq!(all(Form::Intset, &blob).expect("valid"), ["-2", "7"]);
        let blob = [1, 1, b'k', 2, 1, b'v', b'w', 0, 0xff];
        assert_eq!(all(Form::Zipmap, &blob).expect("valid"), ["k", "vw"]);
        // CVE-2026-25243: what validates such a length and what reads it must not differ.
        let blob = [1, 0xfe, 1, 0, 0, 0, b'k', 1, 0, b'v', 0xff];
        assert!(all(Form::Zipmap, &blob).is_err());
    }

    #[test]
    fn cut_or_trailing_bytes_are_refused() {
        let whole = with_total(vec![0, 0, 0, 0, 1, 0, 0x83, b'a', b'b', b'c', 4, 0xff]);
        assert!(all(Form::Listpack, &whole).is_ok());
        for n in 0..whole.len() {
            assert!(all(Form::Listpack, &whole[..n]).is_err(), "cut at {n}");
            let mut short = whole[..n].to_vec();
            if n >= 4 {
                short = with_total(short);
                assert!(all(Form::Listpack, &short).is_err(), "cut at {n} with its length");
            }
        }
        assert!(all(Form::Intset, &[2, 0, 0, 0, 9, 0, 0, 0, 1, 0]).is_err());
        assert!(Elem::Bytes(b"nan").score().is_err());
        assert!((Elem::Bytes(b"-inf").score().expect("a number")).is_infinite());
    }
}
