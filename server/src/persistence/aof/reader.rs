//! Cutting a file of commands into units. Pure: bytes are fed as they are read.
//!
//! What stands in a frame with a sum is given only once all of the frame is there and its sum is right.

use super::frame::{Head, Sums};
use super::point::Note;
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
    #[error(
        "Bad checksum reading the append only file at offset {offset}: the frame of {length} bytes was \
         written with {written:016x} and is read with {read:016x}"
    )]
    Sum { offset: u64, length: u64, written: u64, read: u64 },
}

/// How a file ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// With a whole unit.
    #[default]
    Whole,
    /// With a part of a unit or of a frame, which stands behind the last whole one.
    Torn,
    /// With a frame of which all bytes are there, and not as they were written: a write that the loss
    /// of power cut short can leave such, and a disk that lost what it had.
    Damaged(AofError),
}

/// A part of a file. Lengths are in bytes, without the annotations in between.
#[derive(Debug)]
pub enum Part<'a> {
    /// An annotation. One inside a transaction comes before it.
    Note(Note),
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

/// The frame that the reader is in, or was in last.
#[derive(Clone, Copy, Debug, Default)]
struct Frame {
    /// Offset of its head.
    head: u64,
    length: u64,
    /// Offset behind it.
    end: u64,
    /// Its bytes were proved.
    proved: bool,
    /// The sum that it was written with, until that is compared.
    awaits: Option<u64>,
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
    frame: Frame,
    /// Since the last point line or the first head with a sum; none before any.
    sums: Option<Sums>,
    /// A line that is none of ours stands among what is not proved yet: it may have been a head.
    foreign: bool,
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
            frame: Frame::default(),
            sums: None,
            foreign: false,
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

    /// The file has ended: how? No unit crosses the end of a frame, so an incomplete one in a frame
    /// that is all there is corruption, behind which there may be any number of good commands.
    pub fn ended(&self) -> Result<End, AofError> {
        let Frame { end, awaits, .. } = self.frame;
        if let Some(written) = awaits {
            let read = if self.end() < end { None } else { self.frame_sum() };
            let Some(read) = read else { return Ok(End::Torn) };
            let wrong = self.wrong_sum(written, read);
            return if self.foreign { Err(wrong) } else { Ok(End::Damaged(wrong)) };
        }
        if self.open.is_none() && self.used == self.buf.len() {
            return Ok(End::Whole);
        }
        if self.valid < end && end <= self.end() {
            let why = "the frame is whole, its commands are not";
            return Err(AofError::Format { offset: self.valid, why });
        }
        Ok(End::Torn)
    }

    /// What the present frame's bytes make of the sum so far; none if some are not there yet.
    fn frame_sum(&self) -> Option<u64> {
        let length = usize::try_from(self.frame.length).ok()?;
        let bytes = self.buf[self.used..].get(..length)?;
        let mut sums = self.sums.unwrap_or_default();
        sums.add(bytes);
        Some(sums.value())
    }

    /// Compares the sum of a frame that has one, once all of it is there; false before. One that is
    /// wrong is an error as soon as something follows: at the end of a file it may be a torn tail.
    fn prove(&mut self) -> Result<bool, AofError> {
        let Some(written) = self.frame.awaits else { return Ok(true) };
        let Some(read) = self.frame_sum() else { return Ok(false) };
        if read != written {
            let last = self.end() == self.frame.end;
            return if last { Ok(false) } else { Err(self.wrong_sum(written, read)) };
        }
        self.sums = Some(Sums::from(read));
        self.frame.awaits = None;
        self.frame.proved = true;
        self.foreign = false;
        Ok(true)
    }

    /// What is read next stands in a frame whose bytes were proved: its sum has them already.
    fn is_proved(&self) -> bool {
        self.frame.proved && self.at < self.frame.end
    }

    fn wrong_sum(&self, written: u64, read: u64) -> AofError {
        let Frame { head, length, .. } = self.frame;
        AofError::Sum { offset: head, length, written, read }
    }

    /// Gives the next part; false if more must be fed first. An error is final.
    pub fn next(&mut self, take: impl FnOnce(Part<'_>)) -> Result<bool, AofError> {
        let mut take = Some(take);
        loop {
            if !self.prove()? {
                return Ok(false);
            }
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
            let proved = self.is_proved();
            if proved && self.at + length as u64 > self.frame.end {
                return Err(self.bad("a command that goes beyond its frame"));
            }
            if !proved && let Some(sums) = &mut self.sums {
                sums.add(&self.buf[self.used..self.used + length]);
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
        let line = &rest[..=length];
        let told = &line[..length];
        let Some(note) = Note::parse(told.strip_suffix(b"\r").unwrap_or(told)) else {
            return Err(self.bad("an annotation of ours is damaged"));
        };
        let next = self.at + length as u64 + 1;
        match note {
            Note::Point(_) => {
                self.sums = Some(Sums::default());
                self.frame = Frame::default();
                self.foreign = false;
            }
            Note::Frame(Head { length, sum }) => {
                let end = next.checked_add(length).ok_or(self.bad("a frame without end"))?;
                let head = self.at;
                self.frame = Frame { head, length, end, proved: false, awaits: sum };
                if sum.is_some() {
                    self.sums.get_or_insert_default();
                }
            }
            Note::Foreign => self.foreign = true,
            Note::Stamp => {}
        }
        let proved = self.is_proved();
        if !proved && let Some(sums) = &mut self.sums {
            sums.add_line(line, self.frame.awaits.is_some());
        }
        self.used += length + 1;
        self.at = next;
        // A frame that is not proved may be cut off, and its head with it.
        if self.open.is_none() && self.frame.awaits.is_none() {
            self.valid = self.at;
        }
        take(Part::Note(note));
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
