//! The streaming reader. Takes chunks as they arrive and gives items; never does I/O.

use super::cursor::{Cursor, Stop};
use super::value::{ValueReader, committed};
use super::{RdbError, VALKEY_VERSION, VERSION_MAX, Version, crc64, op};
use crate::store::{Limits, Value};

/// What the stream holds, in its order.
#[derive(Debug)]
pub enum Item {
    /// Facts about the file or its writer; unknown ones are to be ignored.
    Aux { name: Vec<u8>, value: Vec<u8> },
    /// A key. `expiry_ms` is Unix time and may have passed.
    Entry { db: u32, key: Vec<u8>, value: Value, expiry_ms: Option<i64> },
    /// The text of a library of functions.
    Library(Vec<u8>),
    /// Something left out that is no data of this server, for the log.
    Skipped(String),
    /// The data is whole and its checksum right. What follows is not part of it.
    End,
}

#[derive(Debug)]
enum Phase {
    Magic,
    Opcode,
    Value { key: Vec<u8>, value: ValueReader },
    Checksum,
    Done,
}

/// Reads one RDB stream.
///
/// ```text
/// feed(chunk); while let Some(item) = next_item()? { … }   until Item::End
/// ```
/// After `Item::End`, [`Reader::into_rest`] gives the bytes fed beyond the end. An error is final.
#[derive(Debug)]
pub struct Reader {
    phase: Phase,
    limits: Limits,
    buf: Vec<u8>,
    /// Bytes of `buf` that have been used and counted in `crc`.
    used: usize,
    consumed: u64,
    crc: u64,
    version: u16,
    db: u32,
    expiry_ms: Option<i64>,
}

impl Reader {
    /// `limits` shape the collections that are built.
    pub fn new(limits: Limits) -> Self {
        Self {
            phase: Phase::Magic,
            limits,
            buf: Vec::new(),
            used: 0,
            consumed: 0,
            crc: 0,
            version: 0,
            db: 0,
            expiry_ms: None,
        }
    }

    /// Changes the shape of the collections to come.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Appends a chunk of the stream.
    pub fn feed(&mut self, chunk: &[u8]) {
        // Used bytes are dropped when they are the larger part, so that each is moved about once.
        if self.used > self.buf.len() / 2 {
            self.buf.drain(..self.used);
            self.used = 0;
        }
        self.buf.extend_from_slice(chunk);
    }

    /// Bytes of the stream used so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// The next item, or none until more has been fed.
    pub fn next_item(&mut self) -> Result<Option<Item>, RdbError> {
        // The buffer is lent to the cursor while the other fields change.
        let buf = std::mem::take(&mut self.buf);
        let result = loop {
            let mut cur = Cursor::new(&buf[self.used..]);
            let result = self.item(&mut cur);
            let taken = &buf[self.used..self.used + cur.pos];
            self.used += taken.len();
            self.consumed += taken.len() as u64;
            // The checksum itself is not part of what it sums up.
            if !matches!(self.phase, Phase::Done) {
                self.crc = crc64::update(self.crc, taken);
            }
            let again = matches!(self.phase, Phase::Checksum) && !taken.is_empty();
            match result {
                Err(Stop::More) if again => {}
                Err(Stop::More) => break Ok(None),
                Ok(item) => break Ok(Some(item)),
                Err(Stop::Bad(e)) => break Err(e),
            }
        };
        self.buf = buf;
        result
    }

    /// What was fed beyond the end of the data.
    pub fn into_rest(mut self) -> Vec<u8> {
        self.buf.drain(..self.used);
        self.buf
    }

    fn item(&mut self, cur: &mut Cursor<'_>) -> Result<Item, Stop> {
        loop {
            match &mut self.phase {
                Phase::Magic => {
                    self.version = committed(cur, magic)?;
                    self.phase = Phase::Opcode;
                }
                Phase::Opcode => {
                    if let Some(item) = committed(cur, |cur| self.opcode(cur))? {
                        return Ok(item);
                    }
                }
                Phase::Value { value, .. } => {
                    value.advance(cur)?;
                    return Ok(self.entry());
                }
                Phase::Checksum => {
                    // The sum over what this call has used is added by `next` only afterwards.
                    if cur.pos > 0 {
                        return Err(Stop::More);
                    }
                    if self.version >= 5 {
                        let found = cur.u64_le()?;
                        let computed = self.crc;
                        if found != 0 && found != computed {
                            return Err(RdbError::Checksum { found, computed }.into());
                        }
                    }
                    self.phase = Phase::Done;
                    return Ok(Item::End);
                }
                Phase::Done => return Err(Stop::More),
            }
        }
    }

    fn entry(&mut self) -> Item {
        let Phase::Value { key, value } = std::mem::replace(&mut self.phase, Phase::Opcode) else {
            unreachable!("called in the phase of a value only");
        };
        let expiry_ms = self.expiry_ms.take();
        match value.finish() {
            Some(value) => Item::Entry { db: self.db, key, value, expiry_ms },
            None => Item::Skipped(format!("empty collection {}", key.escape_ascii())),
        }
    }

    /// Reads one opcode with what belongs to it; none if it only changed this reader's state.
    fn opcode(&mut self, cur: &mut Cursor<'_>) -> Result<Option<Item>, Stop> {
        match cur.byte()? {
            op::EOF => self.phase = Phase::Checksum,
            op::SELECT_DB => {
                let db = cur.length()?;
                self.db = u32::try_from(db)
                    .map_err(|_| RdbError::Corrupt("a database number is impossible"))?;
            }
            op::EXPIRE_S => self.expiry_ms = Some(i64::from(cur.i32_le()?) * 1000),
            op::EXPIRE_MS => self.expiry_ms = Some(cur.i64_le()?),
            op::RESIZE_DB => {
                cur.length()?;
                cur.length()?;
            }
            op::AUX => {
                let name = cur.string()?.into_owned();
                let value = cur.string()?.into_owned();
                return Ok(Some(Item::Aux { name, value }));
            }
            op::FREQ => {
                cur.byte()?;
            }
            op::IDLE => {
                cur.length()?;
            }
            op::MODULE_AUX => return module_aux(cur).map(Some),
            op::FUNCTION => return Ok(Some(Item::Library(cur.string()?.into_owned()))),
            op::FUNCTION_EARLY => {
                let what = "a function library of a version before 7.0";
                return Err(RdbError::Unsupported(what).into());
            }
            op::SLOT_INFO => {
                for _ in 0..3 {
                    cur.length()?;
                }
            }
            op::SLOT_IMPORT => return Err(RdbError::Unsupported("a slot import").into()),
            type_id => {
                let value = ValueReader::new(type_id, self.version, self.limits)?;
                let key = cur.string()?.into_owned();
                self.phase = Phase::Value { key, value };
            }
        }
        Ok(None)
    }
}

fn magic(cur: &mut Cursor<'_>) -> Result<u16, Stop> {
    let head = cur.take(9)?;
    let number = |digits: &[u8]| {
        let text =
            std::str::from_utf8(digits).ok().filter(|s| s.bytes().all(|b| b.is_ascii_digit()));
        text.and_then(|s| s.parse::<u16>().ok()).ok_or(RdbError::Magic)
    };
    let version = if let Some(digits) = head.strip_prefix(b"VALKEY") {
        Version { valkey: true, number: number(digits)? }
    } else if let Some(digits) = head.strip_prefix(b"REDIS") {
        Version { valkey: false, number: number(digits)? }
    } else {
        return Err(RdbError::Magic.into());
    };
    let known = if version.valkey {
        version.number == VALKEY_VERSION
    } else {
        (1..=VERSION_MAX).contains(&version.number)
    };
    if known { Ok(version.number) } else { Err(RdbError::Version(version).into()) }
}

/// Passes over what a module left beside the data, and says whose it was.
fn module_aux(cur: &mut Cursor<'_>) -> Result<Item, Stop> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let id = cur.length()?;
    cur.length()?;
    cur.length()?;
    loop {
        match cur.length()? {
            0 => break,
            1 | 2 => {
                cur.length()?;
            }
            3 => {
                cur.take(4)?;
            }
            4 => {
                cur.take(8)?;
            }
            5 => {
                cur.string()?;
            }
            _ => return Err(RdbError::Corrupt("a module's data has an unknown form").into()),
        }
    }
    let name: String =
        (0..9).map(|i| char::from(LETTERS[(id >> (58 - 6 * i)) as usize & 63])).collect();
    Ok(Item::Skipped(format!("data of the module {name}")))
}
