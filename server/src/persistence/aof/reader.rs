//! Cutting a file of commands into units. Pure: bytes are fed as they are read.

use crate::persistence::rdb::RdbError;
use crate::resp::{Args, Limits, OwnedArgs, Parsed, Parser};

/// Stock servers read no longer annotations.
const NOTE_MAX: usize = 1024;

/// What cannot be loaded, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AofError {
    #[error("Bad file format reading the append only file at offset {offset}: {why}")]
    Format { offset: u64, why: &'static str },
    #[error("Bad RDB preamble of the append only file at offset {offset}: {source}")]
    Rdb { offset: u64, source: RdbError },
}

/// A part of a file. Lengths are in bytes, without the annotations in between.
#[derive(Debug)]
pub enum Part<'a> {
    /// An annotation without its line end. One inside a transaction comes before it.
    Note(&'a [u8]),
    One(Args<'a>, u64),
    /// The commands of a transaction; MULTI and EXEC count in the length.
    Transaction(Vec<OwnedArgs>, u64),
}

/// A transaction of which EXEC has not come.
#[derive(Debug, Default)]
struct Open {
    queue: Vec<OwnedArgs>,
    length: u64,
}

/// Reads one file: `feed`, then `next` until it answers false, and so on to the file's end.
#[derive(Debug)]
pub struct Reader {
    buf: Vec<u8>,
    used: usize,
    /// Offset in the file of `buf[used]`.
    at: u64,
    /// Offset behind the last whole unit.
    valid: u64,
    parser: Parser,
    open: Option<Open>,
}

impl Reader {
    /// A reader of what follows `offset` in a file.
    pub fn new(offset: u64) -> Self {
        Self {
            buf: Vec::new(),
            used: 0,
            at: offset,
            valid: offset,
            parser: Parser::default(),
            open: None,
        }
    }

    /// Whether a file that begins so begins with an RDB.
    pub fn has_preamble(head: &[u8]) -> bool {
        head.starts_with(b"REDIS") || head.starts_with(b"VALKEY")
    }

    pub fn feed(&mut self, bytes: &[u8]) {
        if self.used > self.buf.len() / 2 {
            self.buf.drain(..self.used);
            self.used = 0;
        }
        self.buf.extend_from_slice(bytes);
    }

    /// Offset in the file behind the last whole unit.
    pub fn valid(&self) -> u64 {
        self.valid
    }

    /// Offset in the file behind all that has been fed.
    pub fn end(&self) -> u64 {
        self.at + (self.buf.len() - self.used) as u64
    }

    /// The file has ended, with so many bytes of its last frame still to come: whether it is torn.
    /// No unit crosses the end of a frame, so an incomplete one in a frame that is all there is
    /// corruption, behind which there may be any number of good commands.
    pub fn ended(&self, left: u64) -> Result<bool, AofError> {
        let torn = self.open.is_some() || self.used < self.buf.len();
        if torn && left > 0 && self.end() - self.valid >= left {
            let why = "the frame is whole, its commands are not";
            return Err(AofError::Format { offset: self.valid, why });
        }
        Ok(torn)
    }

    /// Gives the next part; false if more must be fed first. An error is final.
    pub fn next(&mut self, take: impl FnOnce(Part<'_>)) -> Result<bool, AofError> {
        let mut take = Some(take);
        loop {
            match self.buf.get(self.used) {
                None => return Ok(false),
                Some(b'#') => return self.annotation(take.take().expect("given once")),
                Some(b'*') => {}
                Some(_) => return Err(self.bad("a command or an annotation must stand here")),
            }
            let limits = Limits::authenticated(i64::from(u32::MAX >> 1));
            let length = match self.parser.parse(&self.buf[self.used..], &limits) {
                Err(_) => return Err(self.bad("this is no command")),
                Ok(Parsed::Incomplete) => return Ok(false),
                Ok(Parsed::Command { len }) => len,
            };
            if self.parser.spans.is_empty() {
                return Err(self.bad("a command without words"));
            }
            let spans = std::mem::take(&mut self.parser.spans);
            let start = self.used;
            self.used += length;
            self.at += length as u64;
            let args = Args::new(&self.buf[start..start + length], &spans);
            let whole = group(&mut self.open, args, length as u64, &mut take);
            self.parser.spans = spans;
            match whole {
                None => return Err(self.bad("MULTI inside a transaction")),
                Some(true) => {
                    self.valid = self.at;
                    return Ok(true);
                }
                Some(false) => {}
            }
        }
    }

    fn annotation(&mut self, take: impl FnOnce(Part<'_>)) -> Result<bool, AofError> {
        let rest = &self.buf[self.used..];
        let Some(length) = memchr::memchr(b'\n', rest) else {
            let long = rest.len() >= NOTE_MAX;
            return if long { Err(self.bad("an annotation without end")) } else { Ok(false) };
        };
        if length >= NOTE_MAX {
            return Err(self.bad("an annotation that is too long"));
        }
        let line = &rest[..length];
        take(Part::Note(line.strip_suffix(b"\r").unwrap_or(line)));
        self.used += length + 1;
        self.at += length as u64 + 1;
        if self.open.is_none() {
            self.valid = self.at;
        }
        Ok(true)
    }

    fn bad(&self, why: &'static str) -> AofError {
        AofError::Format { offset: self.at, why }
    }
}

/// Sorts a command into its unit: true if `take` was given one, none if the order is impossible.
fn group(
    open: &mut Option<Open>,
    args: Args<'_>,
    length: u64,
    take: &mut Option<impl FnOnce(Part<'_>)>,
) -> Option<bool> {
    let mut take = |part: Part<'_>| take.take().expect("given once")(part);
    let (multi, exec) = (args.is(0, "multi"), args.is(0, "exec"));
    match open {
        Some(_) if multi => return None,
        None if multi => {
            *open = Some(Open { queue: Vec::new(), length });
            return Some(false);
        }
        Some(_) if exec => {
            let Open { queue, length: before } = open.take().expect("it was just seen");
            take(Part::Transaction(queue, before + length));
        }
        Some(open) => {
            open.length += length;
            open.queue.push(args.to_owned());
            return Some(false);
        }
        None => take(Part::One(args, length)),
    }
    Some(true)
}
