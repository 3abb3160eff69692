//! Where in which replication history the data of a file stand. Pure.

use super::frame::{FRAME, Head, digits, parse_sum};
use crate::persistence::load::Data;
use crate::persistence::rdb::crc64;
use crate::replication::{History, ReplId};
use crate::resp::{Args, OwnedArgs};

const POINT: &str = "#redisha:at ";
/// Between a point and the sum of its line.
const SUM: &str = " =";
const STAMP: &[u8] = b"#TS:";

/// A point of a history that data stand at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub history: History,
    pub offset: u64,
    /// The database that the stream is in there.
    pub db: u32,
    /// The data epoch of a member, `term.hop`.
    pub epoch: Option<String>,
}

impl Point {
    /// The former ids as they are written: `id:end`, separated by spaces.
    pub fn formers_text(history: &History) -> String {
        // Eight stay well within the line length that stock servers read.
        let texts = history.formers().iter().take(8).map(|(id, end)| format!("{id}:{end}"));
        texts.collect::<Vec<_>>().join(" ")
    }

    /// Reads what [`Self::formers_text`] wrote.
    pub fn parse_formers(text: &str) -> Option<Vec<(ReplId, u64)>> {
        let one = |word: &str| {
            let (id, end) = word.split_once(':')?;
            Some((ReplId::parse(id.as_bytes())?, end.parse().ok()?))
        };
        text.split_whitespace().map(one).collect()
    }

    /// Reads a whole line that begins like a point's. Those of former versions have no sum.
    fn parse(line: &[u8]) -> Option<Self> {
        let mut line = std::str::from_utf8(line).ok()?;
        if let Some((told, sum)) = line.rsplit_once(SUM) {
            if parse_sum(sum)? != crc64::update(0, told.as_bytes()) {
                return None;
            }
            line = told;
        }
        let mut words = line.strip_prefix(POINT)?.split_whitespace();
        let offset = words.next()?.parse().ok()?;
        let db = words.next()?.parse().ok()?;
        let epoch = Some(words.next()?).filter(|word| *word != "-").map(str::to_owned);
        let id = ReplId::parse(words.next()?.as_bytes())?;
        let formers = Self::parse_formers(&words.collect::<Vec<_>>().join(" "))?;
        Some(Self { history: History::with_formers(id, formers), offset, db, epoch })
    }
}

/// The annotation that names a point, with the CRC-64 of what it says.
pub fn point_line(point: &Point) -> Vec<u8> {
    let epoch = point.epoch.as_deref().unwrap_or("-");
    let Point { history, offset, db, .. } = point;
    let mut line = format!("{POINT}{offset} {db} {epoch} {}", history.id);
    let formers = Point::formers_text(history);
    if !formers.is_empty() {
        line.push(' ');
        line.push_str(&formers);
    }
    let sum = digits(crc64::update(0, line.as_bytes()));
    [line.as_bytes(), SUM.as_bytes(), &sum, b"\r\n"].concat()
}

/// An annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    Point(Point),
    Frame(Head),
    /// The time of writing.
    Stamp,
    /// One that this server does not write.
    Foreign,
}

impl Note {
    /// Reads a line without its end; none if it is one of ours that is damaged.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        if line.starts_with(POINT.as_bytes()) {
            Point::parse(line).map(Self::Point)
        } else if line.starts_with(FRAME) {
            Head::parse(line).map(Self::Frame)
        } else {
            Some(if line.starts_with(STAMP) { Self::Stamp } else { Self::Foreign })
        }
    }
}

/// Follows what is loaded and knows where it stands, as long as that can be believed.
#[derive(Debug, Default)]
pub struct Tracker {
    at: Option<Point>,
    /// Bytes of the present frame that are still to come.
    left: u64,
}

impl Tracker {
    pub fn point(&self) -> Option<&Point> {
        self.at.as_ref()
    }

    /// An RDB file was loaded; it says itself where it stands.
    pub fn loaded(&mut self, data: &Data) {
        self.left = 0;
        self.at = data.point();
    }

    /// An annotation of a command file.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Point(point) => {
                self.left = 0;
                self.at = Some(point);
            }
            // A frame that begins before the last one has ended is not one that we wrote.
            Note::Frame(_) if self.left != 0 => self.at = None,
            Note::Frame(head) => self.left = head.length,
            Note::Stamp => {}
            Note::Foreign => self.at = None,
        }
    }

    /// A command of `length` bytes.
    pub fn command(&mut self, args: Args<'_>, length: u64) {
        // The SELECT behind the point of a new file is no part of the stream; the point says it too.
        if self.left == 0 && is_select(args) {
            return;
        }
        self.advance(length);
        self.select(args);
        let record = args.len() == 2 && args.is(0, "ping");
        if record && let Some(epoch) = start_epoch(args.at(1)) {
            self.epoch(epoch);
        }
    }

    /// A transaction of `length` bytes.
    pub fn transaction(&mut self, queue: &[OwnedArgs], length: u64) {
        self.advance(length);
        for args in queue {
            self.select(args.args());
        }
    }

    /// The data epoch is this one from here on.
    pub fn epoch(&mut self, epoch: String) {
        if let Some(point) = &mut self.at {
            point.epoch = Some(epoch);
        }
    }

    fn advance(&mut self, length: u64) {
        let left = self.left.checked_sub(length);
        let offset = self.at.as_ref().and_then(|point| point.offset.checked_add(length));
        self.left = left.unwrap_or(0);
        match (left, offset, &mut self.at) {
            (Some(_), Some(offset), Some(point)) => point.offset = offset,
            _ => self.at = None,
        }
    }

    fn select(&mut self, args: Args<'_>) {
        if is_select(args)
            && let Some(point) = &mut self.at
            && let Some(db) = crate::resp::num::parse_i64(args.at(1))
        {
            point.db = u32::try_from(db).unwrap_or(0);
        }
    }
}

fn is_select(args: Args<'_>) -> bool {
    args.len() == 2 && args.is(0, "select")
}

/// The epoch that a start record names: it is the epoch of all data after it.
fn start_epoch(argument: &[u8]) -> Option<String> {
    match crate::handover::Record::parse(argument).ok()? {
        crate::handover::Record::Start { epoch, .. } => Some(epoch.to_string()),
        crate::handover::Record::Handover(_) => None,
    }
}
