//! Versioned text of which later versions may know more: `key=value` pairs joined by `&`,
//! percent-encoded, `v=1` first. Unknown keys are ignored; another `v` is refused.

use std::fmt::Write as _;

use super::record::RecordError;

/// The text of these pairs.
pub(crate) fn encode(pairs: &[(&str, &str)]) -> String {
    let mut out = String::from("v=1");
    for (key, value) in pairs {
        out.push('&');
        out.push_str(key);
        out.push('=');
        escape(value, &mut out);
    }
    out
}

/// The pairs of a text.
pub(crate) struct Fields<'a>(&'a str);

impl<'a> Fields<'a> {
    /// Of a text of this version.
    pub(crate) fn of(text: &'a str) -> Result<Self, RecordError> {
        let fields = Self(text);
        if fields.get("v")? == "1" { Ok(fields) } else { Err(RecordError::Version) }
    }

    /// The value of that key; empty if there is none.
    pub(crate) fn get(&self, key: &str) -> Result<String, RecordError> {
        let found = self.0.split('&').find_map(|pair| match pair.split_once('=') {
            Some((name, value)) if name == key => Some(value),
            _ => None,
        });
        unescape(found.unwrap_or(""))
    }

    pub(crate) fn needed(&self, key: &'static str) -> Result<String, RecordError> {
        let value = self.get(key)?;
        if value.is_empty() { Err(RecordError::Field(key)) } else { Ok(value) }
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, key: &'static str) -> Result<T, RecordError> {
        self.get(key)?.parse().map_err(|_| RecordError::Field(key))
    }
}

fn escape(value: &str, out: &mut String) {
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:,".contains(&byte) {
            out.push(byte as char);
        } else {
            write!(out, "%{byte:02X}").expect("a String takes every write");
        }
    }
}

fn unescape(value: &str) -> Result<String, RecordError> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'%' {
            let (digits, tail) = tail.split_at_checked(2).ok_or(RecordError::Encoding)?;
            let digit = |at: usize| (digits[at] as char).to_digit(16).ok_or(RecordError::Encoding);
            bytes.push((digit(0)? * 16 + digit(1)?) as u8);
            rest = tail;
        } else {
            bytes.push(byte);
            rest = tail;
        }
    }
    String::from_utf8(bytes).map_err(|_| RecordError::Encoding)
}
