//! What every member knows of a takeover: a record of the stream, and a field of every snapshot.
//!
//! The source's password is no part of it, since the stream and the files reach those who must not
//! know it, and neither is what TLS needs: a successor that needs one waits until the operator says
//! it again.

use std::fmt;

use super::control::Source;
use crate::handover::RecordError;
use crate::handover::fields::{self, Fields};
use crate::replication::ReplId;

/// The start of a record's argument; the text of a [`Moving`] follows, or nothing when it has
/// ended.
pub const RECORD: &[u8] = b"redisha:migration:";

/// A takeover as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moving {
    /// The cluster that moves in: data that were brought into another one follow nobody.
    pub uid: String,
    pub host: String,
    pub port: u16,
    /// The source wants to know who asks, or is spoken to by TLS.
    pub login: bool,
    pub phase: Phase,
    /// What of the source's stream is missing here since its data were copied.
    pub unapplied: Option<Unapplied>,
}

/// Commands of the source's stream that could not be executed here: what they changed there is not
/// so here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unapplied {
    pub count: u64,
    /// The name of the last of them, without its arguments; empty if that is not known.
    pub name: String,
    /// Why it was not executed.
    pub why: String,
}

/// Of an error no more is told, in characters.
const WHY_MAX: usize = 200;

impl Unapplied {
    /// What a member of a version that counts nothing may have left out.
    fn unknown() -> Self {
        Self { count: 1, ..Self::default() }
    }

    /// One more.
    pub fn add(&mut self, name: &str, why: &str) {
        self.count += 1;
        name.clone_into(&mut self.name);
        self.why = why.chars().take(WHY_MAX).collect();
    }
}

impl fmt::Display for Unapplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, name, why } = self;
        if name.is_empty() {
            return write!(
                f,
                "a member of an older version followed the source, which does not count what it \
                 could not execute, so that data may be missing"
            );
        }
        match count {
            1 => write!(f, "a command of the source's stream was not applied here, ")?,
            _ => write!(f, "{count} commands of the source's stream were not applied here, ")?,
        }
        write!(f, "so that data are missing; the last one is {name}: {why}")
    }
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// None of the source's data are here.
    Copying,
    /// The data are this point of the source's history.
    Following(Point),
    /// As `Following`; and the source, which takes no writes, may have been told to follow this
    /// cluster.
    Leaving(Point),
    /// Writes are taken here.
    Done,
}

/// A point of the source's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    pub id: ReplId,
    pub offset: u64,
    /// The database that its stream is in there.
    pub db: u32,
}

impl Moving {
    pub fn new(uid: &str, source: &Source) -> Self {
        Self {
            uid: uid.to_owned(),
            host: source.host.clone(),
            port: source.port,
            login: source.wants_login(),
            phase: Phase::Copying,
            unapplied: None,
        }
    }

    /// Whether this is the takeover of that server.
    pub fn is_from(&self, source: &Source) -> bool {
        (&self.host, self.port) == (&source.host, source.port)
    }

    /// The point that the data are, while the source is followed.
    pub fn point(&self) -> Option<Point> {
        match self.phase {
            Phase::Following(point) | Phase::Leaving(point) => Some(point),
            Phase::Copying | Phase::Done => None,
        }
    }

    pub fn text(&self) -> String {
        let (word, point) = match self.phase {
            Phase::Copying => ("copying", None),
            Phase::Following(point) => ("following", Some(point)),
            Phase::Leaving(point) => ("leaving", Some(point)),
            Phase::Done => ("done", None),
        };
        let port = self.port.to_string();
        let numbers = point.map(|p| [p.id.to_string(), p.offset.to_string(), p.db.to_string()]);
        let mut pairs = vec![
            ("uid", self.uid.as_str()),
            ("host", &self.host),
            ("port", &port),
            ("login", if self.login { "1" } else { "0" }),
            ("phase", word),
            // A version that leaves commands out without a word says nothing like it: a record
            // without this was written by such a primary, whatever its predecessor had counted.
            ("counts", "1"),
        ];
        if let Some([id, offset, db]) = &numbers {
            pairs.extend([("id", id.as_str()), ("offset", offset), ("db", db)]);
        }
        let count = self.unapplied.as_ref().map(|unapplied| unapplied.count.to_string());
        if let (Some(Unapplied { name, why, .. }), Some(count)) = (&self.unapplied, &count) {
            pairs.extend([
                ("unapplied", count.as_str()),
                ("last", name.as_str()),
                ("why", why.as_str()),
            ]);
        }
        fields::encode(&pairs)
    }

    pub fn parse(text: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(text).map_err(|_| RecordError::Encoding)?;
        let fields = Fields::of(text)?;
        let point = || -> Result<Point, RecordError> {
            let id = ReplId::parse(fields.needed("id")?.as_bytes());
            Ok(Point {
                id: id.ok_or(RecordError::Field("id"))?,
                offset: fields.parsed("offset")?,
                db: fields.parsed("db")?,
            })
        };
        let phase = match fields.get("phase")?.as_str() {
            "copying" => Phase::Copying,
            "following" => Phase::Following(point()?),
            "leaving" => Phase::Leaving(point()?),
            "done" => Phase::Done,
            _ => return Err(RecordError::Field("phase")),
        };
        let counts = fields.get("counts")? == "1";
        let unapplied = match fields.get("unapplied")?.as_str() {
            "" if counts => None,
            "" => matches!(phase, Phase::Following(_) | Phase::Leaving(_)).then(Unapplied::unknown),
            _ => Some(Unapplied {
                count: fields.parsed("unapplied")?,
                name: fields.get("last")?,
                why: fields.get("why")?,
            }),
        };
        Ok(Self {
            uid: fields.needed("uid")?,
            host: fields.needed("host")?,
            port: fields.parsed("port")?,
            login: fields.get("login")? == "1",
            phase,
            unapplied,
        })
    }
}
