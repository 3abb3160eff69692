//! Strings and their integer form.

/// A string value that a command holds: its bytes, or the integer that they spell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Str {
    Int(i64),
    Bytes(Vec<u8>),
}

/// A string value where it lies in the keyspace.
#[derive(Clone, Copy, Debug)]
pub enum StrRef<'a> {
    Int(i64),
    Bytes(&'a [u8]),
}

/// Room for the decimal text of any `i64`.
pub type IntBuf = [u8; 20];

/// Writes the decimal text of a number to the end of a buffer and returns it.
pub fn format_int(n: i64, buf: &mut IntBuf) -> &[u8] {
    let mut at = buf.len();
    let mut left = n.unsigned_abs();
    loop {
        at -= 1;
        buf[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if n < 0 {
        at -= 1;
        buf[at] = b'-';
    }
    &buf[at..]
}

/// The integer that these bytes spell in exactly the way `format_int` writes it.
pub use crate::resp::num::parse_i64 as parse_int;

impl<'a> StrRef<'a> {
    /// Length in bytes.
    pub fn len(self) -> usize {
        match self {
            Self::Int(n) => format_int(n, &mut IntBuf::default()).len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }

    pub fn is_empty(self) -> bool {
        matches!(self, Self::Bytes([]))
    }

    /// The bytes; an integer's are written into `buf`.
    pub fn bytes<'b>(self, buf: &'b mut IntBuf) -> &'b [u8]
    where
        'a: 'b,
    {
        match self {
            Self::Int(n) => format_int(n, buf),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// The integer, whether kept as one or spelt in bytes.
    pub fn int(self) -> Option<i64> {
        match self {
            Self::Int(n) => Some(n),
            Self::Bytes(bytes) => parse_int(bytes),
        }
    }

    /// What OBJECT ENCODING answers.
    pub fn encoding(self) -> &'static str {
        match self {
            Self::Int(_) => "int",
            Self::Bytes(bytes) if bytes.len() <= 44 => "embstr",
            Self::Bytes(_) => "raw",
        }
    }

    pub fn to_owned(self) -> Str {
        match self {
            Self::Int(n) => Str::Int(n),
            Self::Bytes(bytes) => Str::Bytes(bytes.to_vec()),
        }
    }
}

impl Str {
    /// Takes bytes, recognising an integer.
    pub fn new(bytes: &[u8]) -> Self {
        parse_int(bytes).map_or_else(|| Self::Bytes(bytes.to_vec()), Self::Int)
    }

    pub fn view(&self) -> StrRef<'_> {
        match self {
            Self::Int(n) => StrRef::Int(*n),
            Self::Bytes(bytes) => StrRef::Bytes(bytes),
        }
    }

    /// The bytes to change in place; an integer becomes its text first.
    pub fn bytes_mut(&mut self) -> &mut Vec<u8> {
        if let Self::Int(n) = self {
            *self = Self::Bytes(format_int(*n, &mut IntBuf::default()).to_vec());
        }
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Int(_) => unreachable!("it was made bytes above"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_integers_are_integers() {
        for n in [0, 1, -1, 10, i64::MAX, i64::MIN, 1_000_000_007] {
            let mut buf = IntBuf::default();
            let text = format_int(n, &mut buf);
            assert_eq!(text, n.to_string().as_bytes());
            assert_eq!(parse_int(text), Some(n));
        }
        for text in ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1a", "9223372036854775808"] {
            assert_eq!(parse_int(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_int(b"-9223372036854775809"), None);
        assert_eq!(parse_int(b"99999999999999999999"), None);
    }
}
