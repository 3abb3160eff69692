//! Where in which replication history the data of a file stand. Pure.

use crate::persistence::load::Data;
use crate::replication::{History, ReplId};
use crate::resp::{Args, OwnedArgs};

const POINT: &[u8] = b"#redisha:at ";
const FRAME: &[u8] = b"#+";

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

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let offset = words.next()?.parse().ok()?;
        let db = words.next()?.parse().ok()?;
        let epoch = Some(words.next()?).filter(|word| *word != "-").map(str::to_owned);
        let id = ReplId::parse(words.next()?.as_bytes())?;
        let formers = Self::parse_formers(&words.collect::<Vec<_>>().join(" "))?;
        Some(Self { history: History::with_formers(id, formers), offset, db, epoch })
    }
}

/// The annotation that names a point.
pub fn point_line(point: &Point) -> Vec<u8> {
    let epoch = point.epoch.as_deref().unwrap_or("-");
    let mut line = POINT.to_vec();
    let rest = format!("{} {} {epoch} {}", point.offset, point.db, point.history.id);
    line.extend_from_slice(rest.as_bytes());
    let formers = Point::formers_text(&point.history);
    if !formers.is_empty() {
        line.push(b' ');
        line.extend_from_slice(formers.as_bytes());
    }
    line.extend_from_slice(b"\r\n");
    line
}

/// The annotation in front of so many bytes of the stream.
pub fn frame_head(bytes: u64) -> String {
    format!("#+{bytes}\r\n")
}

/// The annotation of `aof-timestamp-enabled`, as stock servers write it.
pub fn timestamp_line(unix_s: i64) -> String {
    format!("#TS:{unix_s}\r\n")
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

    /// Bytes of the present frame that are still to come.
    pub fn left(&self) -> u64 {
        self.left
    }

    /// An RDB file was loaded; it says itself where it stands.
    pub fn loaded(&mut self, data: &Data) {
        self.left = 0;
        self.at = data.point();
    }

    /// An annotation of a command file, without its line end.
    pub fn note(&mut self, text: &[u8]) {
        let text_of = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        if let Some(rest) = text.strip_prefix(POINT) {
            self.left = 0;
            self.at = text_of(rest).and_then(|text| Point::parse(&text));
        } else if let Some(rest) = text.strip_prefix(FRAME) {
            let length = text_of(rest).and_then(|text| text.trim().parse().ok());
            // A frame that begins before the last one has ended is not one that we wrote.
            match length.filter(|_| self.left == 0) {
                Some(length) => self.left = length,
                None => self.at = None,
            }
        }
    }

    /// A command of `length` bytes.
    pub fn command(&mut self, args: Args<'_>, length: u64) {
        // The SELECT behind the point of a new file is no part of the stream.
        let free = self.left == 0 && is_select(args);
        self.advance(length, free);
        self.select(args);
        let record = args.len() == 2 && args.is(0, "ping");
        if record && let Some(epoch) = start_epoch(args.at(1)) {
            self.epoch(epoch);
        }
    }

    /// A transaction of `length` bytes.
    pub fn transaction(&mut self, queue: &[OwnedArgs], length: u64) {
        self.advance(length, false);
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

    fn advance(&mut self, length: u64, free: bool) {
        if free {
            return;
        }
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
