//! From an RDB stream to a keyspace. Pure.

use super::aof::Point;
use super::rdb::functions::Carried;
use super::rdb::{Item, RdbError, Reader, aux_field};
use crate::replication::{Backlog, History, ReplId};
use crate::store::{Keyspace, Limits, Seed};

/// The shape of the keyspace that is to be built.
#[derive(Clone, Copy, Debug)]
pub struct Template {
    pub databases: usize,
    /// Used unless the data names the seed that it is to lie by.
    pub seed: Seed,
    pub limits: Limits,
    /// How much is kept of the stream before the data, in bytes.
    pub tail_bytes: u64,
}

impl Default for Template {
    fn default() -> Self {
        Self { databases: 16, seed: Seed::default(), limits: Limits::default(), tail_bytes: 0 }
    }
}

/// Data with what its file said about it.
#[derive(Debug)]
pub struct Data {
    pub keyspace: Keyspace,
    /// The database that the replication stream goes on in after this data.
    pub stream_db: u32,
    /// The replication history that the data is a point of, as the file has it.
    pub repl_id: Option<String>,
    pub repl_offset: Option<u64>,
    /// The stream before that point, as far as the file has it and it was asked for.
    pub tail: Backlog,
    /// The former ids of that history, as `aof::Point::formers_text` writes them.
    pub formers: String,
    /// The data epoch of a member, `term.hop`.
    pub epoch: Option<String>,
    /// Users and their rules, as an ACL file.
    pub acl: Option<Vec<u8>>,
    /// The takeover of another server's data, as [`crate::migration::Moving`].
    pub migration: Option<Vec<u8>>,
    /// What a former primary's clock showed at least, Unix time in milliseconds.
    pub clock_ms: Option<i64>,
    pub scripts: Carried,
    /// Sentences on what was left out.
    pub skipped: Vec<String>,
}

impl Data {
    /// Of which nothing is known yet.
    fn new(keyspace: Keyspace) -> Self {
        Self {
            keyspace,
            stream_db: 0,
            repl_id: None,
            repl_offset: None,
            tail: Backlog::default(),
            formers: String::new(),
            epoch: None,
            acl: None,
            migration: None,
            clock_ms: None,
            scripts: Carried::default(),
            skipped: Vec::new(),
        }
    }

    /// The stream before the point that the data stand at; empty if the file has none that leads there.
    pub fn take_tail(&mut self) -> Backlog {
        let offset = self.repl_offset.unwrap_or(0);
        let tail = std::mem::take(&mut self.tail);
        if tail.end() == offset { tail } else { Backlog::new(offset) }
    }

    /// Where the data stand, if the file said so.
    pub fn point(&self) -> Option<Point> {
        let id = ReplId::parse(self.repl_id.as_deref()?.as_bytes())?;
        let formers = Point::parse_formers(&self.formers).unwrap_or_default();
        Some(Point {
            history: History::with_formers(id, formers),
            offset: self.repl_offset?,
            db: self.stream_db,
            epoch: self.epoch.clone(),
        })
    }
}

/// Builds a keyspace from chunks of an RDB stream.
#[derive(Debug)]
pub struct DataLoader {
    template: Template,
    reader: Option<Reader>,
    consumed: u64,
    rest: Vec<u8>,
    data: Data,
}

/// How many sentences about what was left out are kept.
const SKIPPED_MAX: usize = 20;

impl DataLoader {
    pub fn new(template: Template) -> Self {
        let data = Data::new(new_keyspace(template, template.seed));
        let reader = Some(Reader::new(data.keyspace.limits()));
        Self { template, reader, consumed: 0, rest: Vec::new(), data }
    }

    /// Takes a chunk; true once the data is complete.
    pub fn feed(&mut self, chunk: &[u8]) -> Result<bool, RdbError> {
        let Some(mut reader) = self.reader.take() else {
            self.rest.extend_from_slice(chunk);
            return Ok(true);
        };
        reader.feed(chunk);
        loop {
            let item = reader.next_item();
            self.consumed = reader.consumed();
            let Some(item) = item? else { break };
            match item {
                Item::Aux { name, value } => self.aux(&mut reader, &name, &value)?,
                Item::Entry { db, key, value, expiry_ms } => {
                    if db as usize >= self.template.databases {
                        return Err(RdbError::Unsupported("a database beyond `databases`"));
                    }
                    // A key whose time has passed is loaded too: it goes by the DEL that a primary
                    // writes when it notices, so that all nodes' data stays the same.
                    let db = self.data.keyspace.db_mut(db as usize);
                    if !db.restore(&key, value, expiry_ms) {
                        return Err(RdbError::Corrupt("a key occurs twice"));
                    }
                }
                Item::Library(text) => self.data.scripts.libraries.push(text),
                Item::Skipped(what) => {
                    if self.data.skipped.len() < SKIPPED_MAX {
                        self.data.skipped.push(what);
                    }
                }
                Item::End => {
                    self.rest = reader.into_rest();
                    return Ok(true);
                }
            }
        }
        self.reader = Some(reader);
        Ok(false)
    }

    fn aux(&mut self, reader: &mut Reader, name: &[u8], value: &[u8]) -> Result<(), RdbError> {
        if name == aux_field::ACL.as_bytes() {
            self.data.acl = Some(value.to_owned());
            return Ok(());
        }
        if name == aux_field::MIGRATION.as_bytes() {
            self.data.migration = Some(value.to_owned());
            return Ok(());
        }
        if name == aux_field::SCRIPT.as_bytes() {
            self.data.scripts.loaded.push(value.to_vec());
            return Ok(());
        }
        if name == aux_field::EVALUATED.as_bytes() {
            self.data.scripts.evaluated.push(value.to_vec());
            return Ok(());
        }
        if name == aux_field::TAIL.as_bytes() {
            self.tail(value);
            return Ok(());
        }
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            return Ok(());
        };
        match name {
            aux_field::HASH_SEED => {
                let seed = Seed::parse(value).ok_or(RdbError::Corrupt("a hash seed"))?;
                if !self.data.keyspace.is_empty() {
                    return Err(RdbError::Corrupt("a hash seed after the first key"));
                }
                self.data.keyspace = new_keyspace(self.template, seed);
                reader.set_limits(self.data.keyspace.limits());
            }
            aux_field::EPOCH => self.data.epoch = Some(value.to_owned()),
            aux_field::REPL_ID => self.data.repl_id = Some(value.to_owned()),
            aux_field::REPL_OFFSET => {
                let offset = value.parse().ok();
                self.data.repl_offset = offset.filter(|offset| i64::try_from(*offset).is_ok());
            }
            aux_field::CLOCK => self.data.clock_ms = value.parse().ok(),
            aux_field::FORMERS => value.clone_into(&mut self.data.formers),
            aux_field::STREAM_DB => {
                let db = value.parse().ok().filter(|db| (*db as usize) < self.template.databases);
                self.data.stream_db = db.unwrap_or(0);
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes a part of the stream. One that does not follow the last one begins anew: the writer passes
    /// over what the backlog has lost meanwhile.
    fn tail(&mut self, value: &[u8]) {
        let Some((at, bytes)) = value.split_first_chunk() else { return };
        let at = u64::from_le_bytes(*at);
        let keeps = self.template.tail_bytes;
        if keeps == 0 || i64::try_from(at).is_err() {
            return;
        }
        let tail = &mut self.data.tail;
        if tail.end() != at {
            *tail = Backlog::new(at);
        }
        tail.append(bytes);
        tail.trim(tail.end().saturating_sub(keeps));
    }

    /// Bytes of the data that were read so far: all of it, once it is complete.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Takes what was fed beyond the end.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.rest)
    }

    /// Takes the data; to be called once, after it is complete.
    pub fn finish(&mut self) -> Data {
        let empty = Data::new(Keyspace::new(0, self.template.seed));
        std::mem::replace(&mut self.data, empty)
    }
}

fn new_keyspace(template: Template, seed: Seed) -> Keyspace {
    let mut keyspace = Keyspace::new(template.databases, seed);
    keyspace.set_limits(template.limits);
    keyspace
}
