//! Reading one value, element by element, so that a collection of any size needs each byte once
//! however the chunks are cut. Pure.

use super::building::{Building, Kind};
use super::cursor::{Cursor, Stop};
use super::packed::{Elem, Form, Packed};
use super::{HASH_WITH_TIMES, REDIS_FIELD_TIMES, RdbError, VALKEY_VERSION, stream};
use crate::store::{Limits, Value};

const TOO_LATE: RdbError = RdbError::Corrupt("a field's time is beyond all times");

/// How the elements of a value are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// One string, which is the value.
    Single,
    /// A count, then as many strings.
    Strings,
    /// A count, then as many pairs of strings.
    Pairs,
    /// A count, then as many pairs of strings with a time in milliseconds, -1 for none.
    Timed,
    /// A count, then as many times with a field and its value: 0 for none, 1 for [`Head::origin`],
    /// and so on in milliseconds.
    TimesFirst,
    /// One listpack of fields, each with its value and its time in milliseconds, 0 for none.
    Triples,
    /// A count, then as many members with a score in digits.
    ScoresText,
    /// A count, then as many members with a binary score.
    ScoresBinary,
    /// One packed blob.
    Blob(Form),
    /// A count, then as many packed blobs.
    Blobs(Form),
    /// A count, then as many nodes: a mark, and a listpack or one plain element.
    Nodes,
    /// See [`stream`].
    Stream,
}

/// What precedes the elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    /// The time, in milliseconds, that those of the fields are written from.
    origin: i64,
    /// Elements (or blobs, or nodes) still to come.
    left: u64,
}

/// A value in the course of being read.
#[derive(Debug)]
pub struct ValueReader {
    layout: Layout,
    /// The least time of the fields is written before all else.
    least_first: bool,
    /// None until it has been read.
    head: Option<Head>,
    building: Building,
    /// A stream, which is not built of elements.
    stream: Option<Box<stream::Reader>>,
}

impl ValueReader {
    /// Starts on a value of the type with this number; names the types that are refused.
    /// `version` says whose number it is: Redis and Valkey use some for different things.
    pub fn new(type_id: u8, version: u16, limits: Limits) -> Result<Self, RdbError> {
        let valkey = version == VALKEY_VERSION;
        let (kind, layout) = match type_id {
            0 => (Kind::Str, Layout::Single),
            1 => (Kind::List, Layout::Strings),
            2 => (Kind::Set, Layout::Strings),
            3 => (Kind::ZSet, Layout::ScoresText),
            4 => (Kind::Hash, Layout::Pairs),
            5 => (Kind::ZSet, Layout::ScoresBinary),
            6 | 7 => return Err(RdbError::Unsupported("a module's value")),
            9 => (Kind::Hash, Layout::Blob(Form::Zipmap)),
            10 => (Kind::List, Layout::Blob(Form::Ziplist)),
            11 => (Kind::Set, Layout::Blob(Form::Intset)),
            12 => (Kind::ZSet, Layout::Blob(Form::Ziplist)),
            13 => (Kind::Hash, Layout::Blob(Form::Ziplist)),
            14 => (Kind::List, Layout::Blobs(Form::Ziplist)),
            15 | 19 | 21 => (Kind::Str, Layout::Stream),
            16 => (Kind::Hash, Layout::Blob(Form::Listpack)),
            17 => (Kind::ZSet, Layout::Blob(Form::Listpack)),
            18 => (Kind::List, Layout::Nodes),
            20 => (Kind::Set, Layout::Blob(Form::Listpack)),
            HASH_WITH_TIMES if valkey => (Kind::Hash, Layout::Timed),
            22 | 24 if REDIS_FIELD_TIMES.contains(&version) => (Kind::Hash, Layout::TimesFirst),
            23 | 25 if REDIS_FIELD_TIMES.contains(&version) => (Kind::Hash, Layout::Triples),
            other => return Err(RdbError::UnknownType(other)),
        };
        let stream = match type_id {
            15 => Some(stream::Version::First),
            19 => Some(stream::Version::Second),
            21 => Some(stream::Version::Third),
            _ => None,
        };
        let stream = stream.map(|version| Box::new(stream::Reader::new(version)));
        let building = Building::new(kind, limits);
        // The numbers below were used before the release of what they are for.
        let least_first = matches!(type_id, 24 | 25);
        Ok(Self { layout, least_first, head: None, building, stream })
    }

    /// Reads on; done once this answers Ok. On `Stop::More` the cursor stands at the first byte
    /// not used, and the call is to be repeated from there with more bytes.
    pub fn advance(&mut self, cur: &mut Cursor<'_>) -> Result<(), Stop> {
        if let Some(stream) = &mut self.stream {
            return stream.advance(cur);
        }
        let Head { origin, mut left } = match self.head {
            Some(head) => head,
            None => committed(cur, |cur| self.head(cur))?,
        };
        while left > 0 {
            let read = committed(cur, |cur| self.element(origin, cur));
            left -= u64::from(read.is_ok());
            self.head = Some(Head { origin, left });
            read?;
        }
        Ok(())
    }

    fn head(&self, cur: &mut Cursor<'_>) -> Result<Head, Stop> {
        let origin = if self.least_first { cur.i64_le()? } else { 1 };
        if origin < 0 {
            return Err(RdbError::Corrupt("the least time of a hash is negative").into());
        }
        let single = matches!(self.layout, Layout::Single | Layout::Blob(_) | Layout::Triples);
        Ok(Head { origin, left: if single { 1 } else { cur.length()? } })
    }

    /// The value; none if it is an empty collection, which no server keeps.
    pub fn finish(self) -> Option<Value> {
        match self.stream {
            Some(stream) => Some(stream.finish()),
            None => self.building.finish(),
        }
    }

    fn element(&mut self, origin: i64, cur: &mut Cursor<'_>) -> Result<(), Stop> {
        match self.layout {
            Layout::Single => self.building.string(&cur.string()?),
            Layout::Strings => self.building.one(&cur.string()?)?,
            Layout::Pairs => {
                let field = cur.string()?;
                self.building.field(&field, &cur.string()?)?;
            }
            Layout::Timed => {
                let field = cur.string()?;
                let value = cur.string()?;
                let at_ms = cur.i64_le()?;
                if at_ms < -1 {
                    return Err(RdbError::Corrupt("a field's time is negative").into());
                }
                self.building.timed(&field, &value, (at_ms != -1).then_some(at_ms))?;
            }
            Layout::TimesFirst => {
                let at_ms = match cur.length()?.checked_sub(1) {
                    None => None,
                    Some(later) => Some(origin.checked_add_unsigned(later).ok_or(TOO_LATE)?),
                };
                let field = cur.string()?;
                self.building.timed(&field, &cur.string()?, at_ms)?;
            }
            Layout::Triples => self.triples(&cur.string()?)?,
            Layout::ScoresText => {
                let member = cur.string()?;
                self.building.member(&member, cur.f64_text()?)?;
            }
            Layout::ScoresBinary => {
                let member = cur.string()?;
                self.building.member(&member, cur.f64_le()?)?;
            }
            Layout::Stream => unreachable!("streams have their own reader"),
            Layout::Blob(form) | Layout::Blobs(form) => self.blob(form, &cur.string()?)?,
            Layout::Nodes => match cur.length()? {
                1 => self.building.one(&cur.string()?)?,
                2 => self.blob(Form::Listpack, &cur.string()?)?,
                _ => return Err(RdbError::Corrupt("a list node has an unknown form").into()),
            },
        }
        Ok(())
    }

    fn triples(&mut self, blob: &[u8]) -> Result<(), RdbError> {
        let mut walk = Packed::new(Form::Listpack, blob)?;
        while let Some((field, value)) = walk.advance_pair()? {
            let at_ms = match walk.advance()? {
                Some(Elem::Int(0)) => None,
                Some(Elem::Int(at_ms)) if at_ms > 0 => Some(at_ms),
                _ => return Err(RdbError::Corrupt("a field has no time where one must be")),
            };
            field.with_bytes(|f| value.with_bytes(|v| self.building.timed(f, v, at_ms)))?;
        }
        Ok(())
    }

    fn blob(&mut self, form: Form, blob: &[u8]) -> Result<(), RdbError> {
        let mut walk = Packed::new(form, blob)?;
        match self.building.kind() {
            Kind::Str => unreachable!("no string is packed"),
            Kind::List | Kind::Set => {
                while let Some(elem) = walk.advance()? {
                    elem.with_bytes(|b| self.building.one(b))?;
                }
            }
            Kind::Hash => {
                while let Some((field, value)) = walk.advance_pair()? {
                    field.with_bytes(|f| value.with_bytes(|v| self.building.field(f, v)))?;
                }
            }
            Kind::ZSet => {
                while let Some((member, score)) = walk.advance_pair()? {
                    let score = score.score()?;
                    member.with_bytes(|m| self.building.member(m, score))?;
                }
            }
        }
        Ok(())
    }
}

/// Runs `read`; if the bytes do not suffice, puts the cursor back to where it stood.
pub fn committed<'a, T>(
    cur: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let start = cur.pos;
    let result = read(cur);
    if result.is_err() {
        cur.pos = start;
    }
    result
}
