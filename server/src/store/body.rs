//! How a key and its value lie in memory.

use super::string::{Str, StrRef};
use super::table::Keyed;
use super::thin::{Beside, HEAD, Thin};
use super::value::{Value, ValueRef};

/// Kind of a packed value: bytes, or an integer as eight bytes little-endian.
const INT: u8 = 1;
/// Set in the kind byte when the length of the value takes two bytes.
const LONG: u8 = 2;
/// Set in the kind byte when eight bytes of expiry time follow the header.
const EXPIRES: u8 = 0x80;
/// A key longer than this, or a value longer than that, has allocations of its own.
const KEY_MAX: usize = u8::MAX as usize;
const VALUE_MAX: usize = u16::MAX as usize;

/// A string with its key in one allocation, or any other value beside its key.
///
/// Packed: kind, length of the key, length of the value in one byte or two, expiry time in
/// milliseconds (if the kind says so), key, value; at least four bytes.
#[derive(Debug)]
pub struct Body(Thin<Full>);

#[derive(Clone, Debug)]
pub struct Full {
    key: Box<[u8]>,
    expiry_ms: Option<i64>,
    pub value: Value,
}

impl Beside for Full {
    #[inline]
    fn length(head: [u8; HEAD]) -> usize {
        let lens = Lens::read(head);
        (lens.value_start() + lens.value).max(HEAD)
    }
}

/// Where the parts of packed bytes are.
#[derive(Clone, Copy)]
struct Lens {
    kind: u8,
    header: usize,
    key: usize,
    value: usize,
}

impl Lens {
    #[inline]
    fn read([kind, key, low, high]: [u8; HEAD]) -> Self {
        let long = kind & LONG != 0;
        let value = if long { u16::from_le_bytes([low, high]).into() } else { usize::from(low) };
        Self { kind, header: 3 + usize::from(long), key: key.into(), value }
    }

    #[inline]
    fn of(bytes: &[u8]) -> Self {
        Self::read(*bytes.first_chunk().expect("every entry has its head"))
    }

    #[inline]
    fn key_start(self) -> usize {
        if self.kind & EXPIRES == 0 { self.header } else { self.header + 8 }
    }

    #[inline]
    fn value_start(self) -> usize {
        self.key_start() + self.key
    }
}

impl Keyed for Body {
    #[inline]
    fn key(&self) -> &[u8] {
        match self.0.view() {
            Ok(bytes) => {
                let lens = Lens::of(bytes);
                &bytes[lens.key_start()..lens.value_start()]
            }
            Err(full) => &full.key,
        }
    }
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
        Self(Thin::boxed(Box::new(Full { key: key.into(), expiry_ms, value })))
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
        let long = value.len() > u8::MAX as usize;
        let expires = expiry_ms.is_some();
        let header = 3 + usize::from(long) + if expires { 8 } else { 0 };
        let len = (header + key.len() + value.len()).max(HEAD);
        let mut bytes = Vec::with_capacity(len);
        let kind = kind | if long { LONG } else { 0 } | if expires { EXPIRES } else { 0 };
        let [low, high] = (value.len() as u16).to_le_bytes();
        bytes.extend_from_slice(&[kind, key.len() as u8, low]);
        if long {
            bytes.push(high);
        }
        if let Some(at) = expiry_ms {
            bytes.extend_from_slice(&at.to_le_bytes());
        }
        bytes.extend_from_slice(key);
        bytes.extend_from_slice(value);
        bytes.resize(len, 0);
        Self(Thin::packed(bytes.into_boxed_slice()))
    }

    #[inline]
    pub fn view(&self) -> ValueRef<'_> {
        match self.0.view() {
            Ok(bytes) => {
                let lens = Lens::of(bytes);
                let start = lens.value_start();
                let value = &bytes[start..start + lens.value];
                ValueRef::Str(match value.first_chunk::<8>() {
                    Some(n) if lens.kind & INT != 0 => StrRef::Int(i64::from_le_bytes(*n)),
                    _ => StrRef::Bytes(value),
                })
            }
            Err(full) => full.value.view(),
        }
    }

    pub fn expiry_ms(&self) -> Option<i64> {
        match self.0.view() {
            Ok(bytes) => {
                let lens = Lens::of(bytes);
                let at = bytes[lens.header..].first_chunk::<8>()?;
                (lens.kind & EXPIRES != 0).then(|| i64::from_le_bytes(*at))
            }
            Err(full) => full.expiry_ms,
        }
    }

    pub fn set_expiry_ms(&mut self, expiry_ms: Option<i64>) {
        match self.0.view_mut() {
            Err(full) => full.expiry_ms = expiry_ms,
            Ok(bytes) => {
                let lens = Lens::of(bytes);
                if let (Some(at), true) = (expiry_ms, lens.kind & EXPIRES != 0) {
                    bytes[lens.header..lens.header + 8].copy_from_slice(&at.to_le_bytes());
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
        let Ok(bytes) = self.0.view_mut() else { return false };
        let lens = Lens::of(bytes);
        let expires = lens.kind & EXPIRES != 0;
        if lens.value != value.len() || expires != expiry_ms.is_some() {
            return false;
        }
        if let Some(at) = expiry_ms {
            bytes[lens.header..lens.header + 8].copy_from_slice(&at.to_le_bytes());
        }
        bytes[0] = kind | (lens.kind & !INT);
        let start = lens.value_start();
        bytes[start..start + value.len()].copy_from_slice(value);
        true
    }

    /// The value to change in place; a packed string moves out of its pack first.
    pub fn value_mut(&mut self) -> &mut Value {
        if self.0.view().is_ok() {
            let ValueRef::Str(s) = self.view() else { unreachable!("only strings are packed") };
            let value = Value::Str(s.to_owned());
            *self = Self::full(self.key(), value, self.expiry_ms());
        }
        match self.0.view_mut() {
            Err(full) => &mut full.value,
            Ok(_) => unreachable!("it was unpacked above"),
        }
    }

    /// Takes the value out.
    pub fn into_value(self) -> Value {
        match self.0.into_boxed() {
            Ok(full) => full.value,
            Err(packed) => Self(packed).view().to_owned(),
        }
    }

    /// What OBJECT ENCODING answers. Valkey keeps a short string in one block of 128 bytes with its
    /// key and expiry time until it is changed in place; the same arithmetic tells here.
    pub fn encoding(&self) -> &'static str {
        match (self.0.view(), self.view()) {
            (Ok(_), ValueRef::Str(StrRef::Bytes(value))) => {
                let key = self.key().len();
                let expiry = if self.expiry_ms().is_some() { 8 } else { 0 };
                let frame = 8 + if key < 32 { 3 } else { 5 } + 4;
                if frame + key + expiry + value.len() <= 128 { "embstr" } else { "raw" }
            }
            (Err(_), ValueRef::Str(StrRef::Bytes(_))) => "raw",
            (_, value) => value.encoding(),
        }
    }

    /// About how many allocations the entry takes.
    #[inline]
    pub fn pieces(&self) -> usize {
        match self.0.view() {
            Ok(_) => 1,
            Err(full) => full.value.view().pieces(),
        }
    }

    /// Bytes that the entry takes, those of its value included.
    pub fn memory(&self) -> usize {
        match self.0.view() {
            Ok(bytes) => crate::memory::block_size(bytes.len()),
            Err(full) => self.overhead() + full.value.view().memory(),
        }
    }

    /// Bytes that this entry's own allocations take, without a collection's.
    pub fn overhead(&self) -> usize {
        match self.0.view() {
            Ok(bytes) => bytes.len(),
            Err(full) => size_of::<Full>() + full.key.len(),
        }
    }
}
