//! The append-only files: a folder with a manifest, a base and the commands since. Pure.
//!
//! The formats are those of stock servers, in both directions. The base is an RDB file (or, with
//! `aof-use-rdb-preamble no`, commands); the incremental files hold commands.
//!
//! **Ours are the replication stream.** What this server appends is, byte for byte, what its
//! replicas get. It comes in frames ([`frame`]): an annotation with a length and a checksum, then as
//! many bytes of the stream; and each file begins with an annotation that says at which point of which history the stream
//! stands there ([`Point`]). Stock servers pass over annotations, and execute the rest like any
//! other command (a `PING` of the stream does nothing). So a loaded file tells not only the data
//! but how far into which replication history they are, and a restarted node goes on from there.
//!
//! **Invariant.** A position is believed only if every command since it was written stands in a
//! frame. When a stock server has appended to a file, the data are loaded whole and the position is
//! forgotten: a full resync is slow, a wrong partial one is divergence.
//!
//! **Torn tails.** Frames count as a whole: what remains of one at the end of the last file is cut off,
//! and so is the last one if its bytes are all there and its checksum is another, as a cut write can
//! leave them. Nothing that a server had made durable ends within a frame, so nothing that rested on
//! the disk is in the first kind; in the second there may be, so files that were cut so speak for no
//! member's id any more. Anything else is corruption, and is refused with its offset: what is
//! executed was proved to be what was written, and all before it too. Where there are no checksums
//! (files of stock servers and of former versions), whole commands and transactions count; what only
//! looks like a torn tail, because a length or an EXEC is damaged, is found out where there are
//! frames, since these end with a whole unit.

mod base;
mod frame;
mod manifest;
mod point;
mod reader;
#[cfg(test)]
mod tests;

pub use base::CommandWriter;
pub use frame::{Draft, Head, Sums, timestamp_line};
pub use manifest::{Entry, Manifest, ManifestError};
pub use point::{Note, Point, Tracker, point_line};
pub use reader::{AofError, End, Part, Reader};

use super::load::{DataLoader, Template};

/// What [`read`] found.
#[derive(Debug, Default)]
pub struct Summary {
    /// Keys of the RDB preamble.
    pub keys: usize,
    pub commands: usize,
    /// Bytes up to the end of the last whole unit.
    pub valid_bytes: u64,
    /// Where the data stand, if the file tells it credibly.
    pub point: Option<Point>,
    pub end: End,
}

/// Reads a whole file without executing it; for checks and fuzzing. Memory is bounded by the bytes.
pub fn read(bytes: &[u8]) -> Result<Summary, AofError> {
    let mut summary = Summary::default();
    let mut tracker = Tracker::default();
    let mut start = 0;
    if Reader::has_preamble(bytes) {
        let mut loader = DataLoader::new(Template::default());
        match loader.feed(bytes) {
            Err(source) => return Err(AofError::Rdb { offset: loader.consumed(), source }),
            Ok(false) => return Ok(Summary { end: End::Torn, ..summary }),
            Ok(true) => {}
        }
        start = loader.consumed() as usize;
        let data = loader.finish();
        summary.keys = data.keyspace.len();
        tracker.loaded(&data);
    }
    let mut reader = Reader::new(start as u64);
    reader.feed(&bytes[start..]);
    loop {
        let commands = &mut summary.commands;
        let more = reader.next(|part| match part {
            Part::Note(note) => tracker.note(note),
            Part::One(args, length) => {
                *commands += 1;
                tracker.command(args, length);
            }
            Part::Transaction(queue, length) => {
                *commands += queue.len();
                tracker.transaction(&queue, length);
            }
        })?;
        if !more {
            break;
        }
    }
    summary.valid_bytes = reader.valid();
    summary.end = reader.ended()?;
    summary.point = tracker.point().cloned();
    Ok(summary)
}
