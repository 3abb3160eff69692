//! How a key and its value lie in memory.

use super::string::{Str, StrRef};
use super::table::Keyed;
use super::value::{Value, ValueRef};

/// Kind of a packed value: bytes, or an integer as eight bytes little-endian.
const INT: u8 = 1;
/// Set in the kind byte when eight bytes of expiry time follow the header.
const EXPIRES: u8 = 0x80;
const HEADER: usize = 2;
/// A key longer than this, or a value longer than that, has allocations of its own.
const KEY_MAX: usize = 255;
const VALUE_MAX: usize = 1 << 16;

/// A string with its key in one allocation, or any other value beside its key.
///
/// Packed: kind, length of the key, expiry time in milliseconds (if the kind says so), key, value.
#[derive(Clone, Debug)]
pub enum Body {
    Packed(Box<[u8]>),
    Full(Box<Full>),
}

#[derive(Clone, Debug)]
pub struct Full {
    key: Box<[u8]>,
    expiry_ms: Option<i64>,
    pub value: Value,
}

impl Keyed for Body {
    #[inline]
    fn key(&self) -> &[u8] {
        match self {
            Self::Packed(bytes) => {
                let start = key_start(bytes);
                &bytes[start..start + bytes[1] as usize]
            }
            Self::Full(full) => &full.key,
        }
    }
}

#[inline]
fn key_start(bytes: &[u8]) -> usize {
    if bytes[0] & EXPIRES == 0 { HEADER } else { HEADER + 8 }
}

impl Body {
    pub fn new(key: &[u8], value: Value, expiry_ms: Option<i64>) -> Self {
        match value {
            Value::Str(Str::Int(n)) => Self::int(key, n, expiry_ms),
            Value::Str(Str::Bytes(bytes)) if bytes.len() <= VALUE_MAX => {
                Self::bytes(key, &bytes, expiry_ms)
            }
            value => Self::full(key, value, expiry_ms),
        }
    }

    fn full(key: &[u8], value: Value, expiry_ms: Option<i64>) -> Self {
        Self::Full(Box::new(Full { key: key.into(), expiry_ms, value }))
    }

    pub fn bytes(key: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Self {
        if key.len() > KEY_MAX || value.len() > VALUE_MAX {
            return Self::full(key, Value::Str(Str::Bytes(value.to_vec())), expiry_ms);
        }
        Self::packed(0, key, value, expiry_ms)
    }

    pub fn int(key: &[u8], n: i64, expiry_ms: Option<i64>) -> Self {
        if key.len() > KEY_MAX {
            return Self::full(key, Value::Str(Str::Int(n)), expiry_ms);
        }
        Self::packed(INT, key, &n.to_le_bytes(), expiry_ms)
    }

    fn packed(kind: u8, key: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + 8 + key.len() + value.len());
        match expiry_ms {
            None => bytes.extend_from_slice(&[kind, key.len() as u8]),
            Some(at) => {
                bytes.extend_from_slice(&[kind | EXPIRES, key.len() as u8]);
                bytes.extend_from_slice(&at.to_le_bytes());
            }
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        Self::Packed(bytes.into_boxed_slice())
    }

    #[inline]
    pub fn view(&self) -> ValueRef<'_> {
        match self {
            Self::Packed(bytes) => {
                let value = &bytes[key_start(bytes) + bytes[1] as usize..];
                ValueRef::Str(match value.first_chunk::<8>() {
                    Some(n) if bytes[0] & INT != 0 => StrRef::Int(i64::from_le_bytes(*n)),
                    _ => StrRef::Bytes(value),
                })
            }
            Self::Full(full) => full.value.view(),
        }
    }

    pub fn expiry_ms(&self) -> Option<i64> {
        match self {
            Self::Packed(bytes) if bytes[0] & EXPIRES == 0 => None,
            Self::Packed(bytes) => {
                bytes[HEADER..].first_chunk::<8>().map(|at| i64::from_le_bytes(*at))
            }
            Self::Full(full) => full.expiry_ms,
        }
    }

    pub fn set_expiry_ms(&mut self, expiry_ms: Option<i64>) {
        match self {
            Self::Full(full) => full.expiry_ms = expiry_ms,
            Self::Packed(bytes) => {
                if let (Some(at), true) = (expiry_ms, bytes[0] & EXPIRES != 0) {
                    bytes[HEADER..HEADER + 8].copy_from_slice(&at.to_le_bytes());
                } else if self.expiry_ms() != expiry_ms {
                    *self = match self.view() {
                        ValueRef::Str(StrRef::Int(n)) => Self::int(self.key(), n, expiry_ms),
                        ValueRef::Str(StrRef::Bytes(value)) => {
                            Self::bytes(self.key(), value, expiry_ms)
                        }
                        _ => unreachable!("only strings are packed"),
                    };
                }
            }
        }
    }

    /// Writes new bytes over a packed string of the same length and expiry; `false` when the
    /// shapes differ.
    pub fn overwrite(&mut self, value: &[u8], expiry_ms: Option<i64>) -> bool {
        self.overwrite_as(0, value, expiry_ms)
    }

    /// As [`Self::overwrite`], for an integer.
    pub fn overwrite_int(&mut self, n: i64, expiry_ms: Option<i64>) -> bool {
        self.overwrite_as(INT, &n.to_le_bytes(), expiry_ms)
    }

    fn overwrite_as(&mut self, kind: u8, value: &[u8], expiry_ms: Option<i64>) -> bool {
        let Self::Packed(bytes) = self else { return false };
        let start = key_start(bytes) + bytes[1] as usize;
        let expires = bytes[0] & EXPIRES != 0;
        if bytes.len() != start + value.len() || expires != expiry_ms.is_some() {
            return false;
        }
        if let Some(at) = expiry_ms {
            bytes[HEADER..HEADER + 8].copy_from_slice(&at.to_le_bytes());
        }
        bytes[0] = kind | (bytes[0] & EXPIRES);
        bytes[start..].copy_from_slice(value);
        true
    }

    /// The value to change in place; a packed string moves out of its pack first.
    pub fn value_mut(&mut self) -> &mut Value {
        if let Self::Packed(_) = self {
            let ValueRef::Str(s) = self.view() else { unreachable!("only strings are packed") };
            let value = Value::Str(s.to_owned());
            *self = Self::full(self.key(), value, self.expiry_ms());
        }
        match self {
            Self::Full(full) => &mut full.value,
            Self::Packed(_) => unreachable!("it was unpacked above"),
        }
    }

    /// Takes the value out.
    pub fn into_value(self) -> Value {
        match self {
            Self::Full(full) => full.value,
            Self::Packed(_) => self.view().to_owned(),
        }
    }

    /// What OBJECT ENCODING answers. Valkey keeps a short string in one block of 128 bytes with its
    /// key and expiry time until it is changed in place; the same arithmetic tells here.
    pub fn encoding(&self) -> &'static str {
        match (self, self.view()) {
            (Self::Packed(_), ValueRef::Str(StrRef::Bytes(value))) => {
                let key = self.key().len();
                let expiry = if self.expiry_ms().is_some() { 8 } else { 0 };
                let frame = 8 + if key < 32 { 3 } else { 5 } + 4;
                if frame + key + expiry + value.len() <= 128 { "embstr" } else { "raw" }
            }
            (Self::Full(_), ValueRef::Str(StrRef::Bytes(_))) => "raw",
            (_, value) => value.encoding(),
        }
    }

    /// Bytes that this entry's own allocations take, without a collection's.
    pub fn overhead(&self) -> usize {
        match self {
            Self::Packed(bytes) => bytes.len(),
            Self::Full(full) => size_of::<Full>() + full.key.len(),
        }
    }
}
