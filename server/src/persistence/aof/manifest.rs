//! The list of the files that make up the data. Pure.
//!
//! One line per file: `file NAME seq N type b|h|i`: base, history (to be removed), incremental. The
//! last line is a comment to stock servers, and the checksum of what stands before it: a damaged byte
//! could make a comment of a file's line, or another name.

use std::fmt::Write as _;

use super::frame::{digits, parse_sum};
use crate::persistence::rdb::crc64;
use crate::resp::{Span, split_quoted};

/// Bytes of one line, its end included.
const LINE_MAX: usize = 1024;
const SUM: &str = "#redisha:sum ";

/// One file of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub seq: u64,
}

/// The files in the order of loading: the base, then the incremental files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    pub base: Option<Entry>,
    pub incr: Vec<Entry>,
    /// Files that are not needed any more and may still be there.
    pub history: Vec<Entry>,
}

/// Why a manifest is refused, with the line's number from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("Found an empty AOF manifest")]
    Empty,
    #[error("Invalid AOF manifest file format, line {0}")]
    Format(usize),
    #[error("The AOF manifest file contains too long line, line {0}")]
    Long(usize),
    #[error("File can't be a path, just a filename, line {0}")]
    Path(usize),
    #[error("Unknown AOF file type, line {0}")]
    Kind(usize),
    #[error("Found duplicate base file information, line {0}")]
    Bases(usize),
    #[error("Found a non-monotonic sequence number, line {0}")]
    Order(usize),
    #[error(
        "The AOF manifest file is not as it was written: it has another checksum than line {0} says; \
         remove that line if it was changed on purpose"
    )]
    Sum(usize),
}

impl Manifest {
    /// The name of the manifest's own file.
    pub fn file_name(prefix: &str) -> String {
        format!("{prefix}.manifest")
    }

    pub fn parse(text: &[u8]) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        if text.is_empty() {
            return Err(ManifestError::Empty);
        }
        let whole = text.strip_suffix(b"\n").unwrap_or(text);
        let mut at = 0;
        for (index, line) in whole.split(|byte| *byte == b'\n').enumerate() {
            let number = index + 1;
            if line.len() >= LINE_MAX {
                return Err(ManifestError::Long(number));
            }
            if let Some(sum) = line.strip_prefix(SUM.as_bytes()) {
                let written = std::str::from_utf8(sum).ok().and_then(parse_sum);
                if written != Some(crc64::update(0, &text[..at])) {
                    return Err(ManifestError::Sum(number));
                }
            } else if !line.starts_with(b"#") {
                manifest.line(line, number)?;
            }
            at += line.len() + 1;
        }
        if manifest == Self::default() { Err(ManifestError::Empty) } else { Ok(manifest) }
    }

    fn line(&mut self, line: &[u8], number: usize) -> Result<(), ManifestError> {
        let bad = ManifestError::Format(number);
        let (mut text, mut spans) = (Vec::new(), Vec::<Span>::new());
        split_quoted(line.trim_ascii(), &mut text, &mut spans).map_err(|_| bad)?;
        let word = |span: &Span| {
            let bytes = &text[span.start as usize..(span.start + span.len) as usize];
            std::str::from_utf8(bytes).map_err(|_| bad)
        };
        if spans.len() < 6 || !spans.len().is_multiple_of(2) {
            return Err(bad);
        }
        let (mut name, mut seq, mut kind) = (None, None, None);
        for pair in spans.chunks_exact(2) {
            let value = word(&pair[1])?;
            // Other servers may add words of their own.
            match word(&pair[0])?.to_ascii_lowercase().as_str() {
                "file" => name = Some(value.to_owned()),
                "seq" => seq = Some(value.parse::<u64>().map_err(|_| bad)?),
                "type" => kind = Some(value.to_owned()),
                _ => {}
            }
        }
        let (name, seq, kind) = (name.ok_or(bad)?, seq.ok_or(bad)?, kind.ok_or(bad)?);
        if name.is_empty() || seq == 0 {
            return Err(bad);
        }
        if name.contains('/') || name == "." || name == ".." {
            return Err(ManifestError::Path(number));
        }
        self.add(Entry { name, seq }, &kind, number)
    }

    fn add(&mut self, entry: Entry, kind: &str, number: usize) -> Result<(), ManifestError> {
        match kind {
            "b" if self.base.is_some() => return Err(ManifestError::Bases(number)),
            "b" => self.base = Some(entry),
            "h" => self.history.push(entry),
            "i" if self.incr.last().is_some_and(|last| last.seq >= entry.seq) => {
                return Err(ManifestError::Order(number));
            }
            "i" => self.incr.push(entry),
            _ => return Err(ManifestError::Kind(number)),
        }
        Ok(())
    }

    /// The text that [`Self::parse`] reads.
    pub fn print(&self) -> String {
        let mut text = String::new();
        let mut line = |entry: &Entry, kind: char| {
            let name = quoted(&entry.name);
            writeln!(text, "file {name} seq {} type {kind}", entry.seq)
                .expect("a string takes everything");
        };
        self.base.iter().for_each(|entry| line(entry, 'b'));
        self.history.iter().for_each(|entry| line(entry, 'h'));
        self.incr.iter().for_each(|entry| line(entry, 'i'));
        let sum = digits(crc64::update(0, text.as_bytes()));
        text.push_str(SUM);
        text.extend(sum.map(char::from));
        text.push('\n');
        text
    }

    /// The base that a rewrite makes.
    pub fn next_base(&self, prefix: &str, rdb: bool) -> Entry {
        let seq = self.base.as_ref().map_or(0, |base| base.seq) + 1;
        let format = if rdb { "rdb" } else { "aof" };
        Entry { name: format!("{prefix}.{seq}.base.{format}"), seq }
    }

    /// The incremental file that comes next.
    pub fn next_incr(&self, prefix: &str) -> Entry {
        let seq = self.incr.last().map_or(0, |last| last.seq) + 1;
        Entry { name: format!("{prefix}.{seq}.incr.aof"), seq }
    }

    /// The files to load, in order.
    pub fn files(&self) -> impl Iterator<Item = &Entry> {
        self.base.iter().chain(&self.incr)
    }

    /// The manifest once `base` is whole and holds all before the incremental file `first`: the
    /// files that it makes superfluous are history.
    #[must_use]
    pub fn rebased(&self, base: Entry, first: &Entry) -> Self {
        let (kept, old): (Vec<_>, Vec<_>) =
            self.incr.iter().cloned().partition(|entry| entry.seq >= first.seq);
        let gone = self.history.iter().chain(&self.base).chain(&old);
        let history = gone.filter(|entry| entry.name != base.name).cloned().collect();
        Self { base: Some(base), incr: kept, history }
    }

    /// Takes the history out; the names of its files.
    pub fn forget_history(&mut self) -> Vec<String> {
        self.history.drain(..).map(|entry| entry.name).collect()
    }
}

fn quoted(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b'\\');
    if name.bytes().all(plain) {
        return name.to_owned();
    }
    let mut text = String::from("\"");
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b' '..=b'~' => text.push(char::from(byte)),
            other => write!(text, "\\x{other:02x}").expect("a string takes everything"),
        }
    }
    text.push('"');
    text
}
