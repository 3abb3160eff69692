//! The payloads of DUMP and RESTORE: a value, the version, a checksum. Pure.

use super::cursor::{Cursor, Stop};
use super::value::ValueReader;
use super::{HASH_WITH_TIMES, RdbError, VALKEY_VERSION, VERSION, VERSION_MAX, crc64, writer};
use crate::store::{Limits, Value, ValueRef};

/// The payload of DUMP: type, value, version (u16, little-endian), CRC64 of all before it.
pub fn dump(value: ValueRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    writer::write_value(&mut out, value);
    let valkey = out[0] == HASH_WITH_TIMES;
    out.extend_from_slice(&if valkey { VALKEY_VERSION } else { VERSION }.to_le_bytes());
    let sum = crc64::update(0, &out);
    out.extend_from_slice(&sum.to_le_bytes());
    out
}

/// What [`verify`] lets pass.
#[derive(Clone, Copy, Debug, Default)]
pub struct Leniency {
    /// A version that is not known: what it says may be read all the same.
    pub version: bool,
    /// A wrong checksum; for tests alone.
    pub checksum: bool,
}

/// Whether version and checksum of a payload are right; RESTORE answers a failure of this with
/// `DUMP payload version or checksum are wrong`, any later one with `Bad data format`.
pub fn verify(payload: &[u8], leniency: Leniency) -> bool {
    let Some((body, sum)) = payload.split_last_chunk::<8>() else { return false };
    let Some((_, version)) = body.split_last_chunk::<2>() else { return false };
    let version = u16::from_le_bytes(*version);
    let sum = u64::from_le_bytes(*sum);
    let known = version <= VERSION_MAX || version == VALKEY_VERSION;
    (known || leniency.version) && (leniency.checksum || sum == crc64::update(0, body))
}

/// The value of a payload that [`verify`] has accepted; none if it is an empty collection. No string
/// in it may be longer than `string_max`.
pub fn restore(
    payload: &[u8],
    limits: Limits,
    string_max: usize,
) -> Result<Option<Value>, RdbError> {
    let end = payload.len().checked_sub(10).ok_or(RdbError::Truncated)?;
    let mut cur = Cursor::new(&payload[..end]).with_strings_up_to(string_max);
    let version = u16::from_le_bytes([payload[end], payload[end + 1]]);
    let read = |cur: &mut Cursor<'_>| -> Result<Option<Value>, Stop> {
        let mut value = ValueReader::new(cur.byte()?, version, limits)?;
        value.advance(cur)?;
        Ok(value.finish())
    };
    match read(&mut cur) {
        Ok(value) if cur.pos == end => Ok(value),
        Ok(_) => Err(RdbError::Corrupt("bytes follow the value")),
        Err(Stop::More) => Err(RdbError::Truncated),
        Err(Stop::Bad(e)) => Err(e),
    }
}
