//! The payloads of FUNCTION DUMP and FUNCTION RESTORE: texts of libraries. Pure.

use super::cursor::{Cursor, Stop};
use super::{VERSION, crc64, dump, op, writer};
use crate::resp::CommandError;

/// The text of a library in a payload is no longer.
const TEXT_MAX_BYTES: usize = 512 * 1024 * 1024;

/// What a snapshot carries of scripts and functions, beside the data.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    /// Texts that SCRIPT LOAD brought.
    pub loaded: Vec<Vec<u8>>,
    /// Texts that EVAL brought.
    pub evaluated: Vec<Vec<u8>>,
    /// Texts of libraries.
    pub libraries: Vec<Vec<u8>>,
}

/// The texts, the version (u16, little-endian), CRC64 of all before it.
pub fn dump<'a>(texts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for text in texts {
        out.push(op::FUNCTION);
        writer::string(&mut out, text);
    }
    out.extend_from_slice(&VERSION.to_le_bytes());
    let sum = crc64::update(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// The texts of a payload; the errors are FUNCTION RESTORE's.
pub fn restore(payload: &[u8]) -> Result<Vec<Vec<u8>>, CommandError> {
    if !dump::verify(payload, dump::Leniency::default()) {
        return Err("ERR DUMP payload version or checksum are wrong".into());
    }
    let body = &payload[..payload.len() - 10];
    let mut cur = Cursor::new(body).with_strings_up_to(TEXT_MAX_BYTES);
    let mut texts = Vec::new();
    while cur.pos < payload.len() - 10 {
        let read = |cur: &mut Cursor<'_>| -> Result<Option<Vec<u8>>, Stop> {
            match cur.byte()? {
                op::FUNCTION => Ok(Some(cur.string()?.into_owned())),
                _ => Ok(None),
            }
        };
        match read(&mut cur) {
            Ok(Some(text)) => texts.push(text),
            Ok(None) => return Err("ERR given type is not a function".into()),
            Err(_) => return Err("ERR failed loading the given functions payload".into()),
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back_and_damage_is_refused() {
        let texts = [b"#!lua name=a\n".as_slice(), b"#!lua name=b\n"];
        let payload = dump(texts.into_iter());
        assert_eq!(restore(&payload).expect("whole"), texts);
        let mut damaged = payload.clone();
        damaged[3] ^= 1;
        assert!(restore(&damaged).is_err());
        assert!(restore(b"").is_err());
        assert_eq!(restore(&dump(std::iter::empty())).expect("empty"), Vec::<Vec<u8>>::new());
    }
}
