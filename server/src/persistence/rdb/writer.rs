//! The writer of RDB 11. Appends to a buffer that the caller empties as it goes; never does I/O.
//!
//! Collections are written in the plain forms that every version reads; a reader packs them by its
//! own limits. What it leaves is a draft, which copies data and nothing else: compression and the
//! checksum are [`super::seal`]'s.

use super::functions::Carried;
use super::seal::{Draft, WORTH_MIN};
use super::{HASH_WITH_TIMES, VALKEY_VERSION, VERSION, aux_field, op, stream};
use crate::store::{StrRef, ValueRef};

/// Room for what is usually written between two calls of [`Writer::take`].
const PART_BYTES: usize = 64 * 1024;

/// What goes into the head of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Aux {
    /// Unix time of writing.
    pub created_s: u64,
    pub used_memory: u64,
    /// 32 hex digits; see [`crate::store::Seed`].
    pub hash_seed: Option<String>,
    /// The replication history that this data is a point of: its id, the offset and the
    /// database that the stream is in.
    pub replication: Option<(String, u64, u32)>,
    /// The former ids of that history; empty for none.
    pub formers: String,
    /// The data epoch of a member, `term.hop`.
    pub epoch: Option<String>,
    /// The file is the base of append-only files.
    pub aof_base: bool,
    /// Users and their rules, as an ACL file.
    pub acl: Option<Vec<u8>>,
    /// The takeover of another server's data, as `migration::Moving`.
    pub migration: Option<String>,
    /// What a former primary's clock showed at least, Unix time in milliseconds.
    pub clock_ms: Option<i64>,
    pub scripts: Carried,
    /// Fields of hashes have expiry times, which only Valkey's version can hold.
    pub field_times: bool,
}

/// Writes one RDB stream: [`Writer::new`], entries, [`Writer::finish`]; [`Writer::take`] at any
/// time, whose parts become the stream's bytes by one [`super::Sealer`].
#[derive(Debug)]
pub struct Writer {
    draft: Draft,
    db: Option<u32>,
}

impl Writer {
    pub fn new(aux: &Aux) -> Self {
        let magic = if aux.field_times {
            format!("VALKEY{VALKEY_VERSION:03}")
        } else {
            format!("REDIS{VERSION:04}")
        };
        let mut out = magic.into_bytes();
        let mut text = |name: &str, value: &str| field(&mut out, name, value.as_bytes());
        text("redis-ver", "7.2.4");
        text("redis-bits", "64");
        text("ctime", &aux.created_s.to_string());
        text("used-mem", &aux.used_memory.to_string());
        if let Some((id, offset, stream_db)) = &aux.replication {
            text(aux_field::STREAM_DB, &stream_db.to_string());
            text(aux_field::REPL_ID, id);
            text(aux_field::REPL_OFFSET, &offset.to_string());
        }
        text("aof-base", if aux.aof_base { "1" } else { "0" });
        if !aux.formers.is_empty() {
            text(aux_field::FORMERS, &aux.formers);
        }
        if let Some(seed) = &aux.hash_seed {
            text(aux_field::HASH_SEED, seed);
        }
        if let Some(epoch) = &aux.epoch {
            text(aux_field::EPOCH, epoch);
        }
        if let Some(migration) = &aux.migration {
            text(aux_field::MIGRATION, migration);
        }
        if let Some(clock_ms) = aux.clock_ms {
            text(aux_field::CLOCK, &clock_ms.to_string());
        }
        aux.scripts.loaded.iter().for_each(|text| field(&mut out, aux_field::SCRIPT, text));
        aux.scripts.evaluated.iter().for_each(|text| field(&mut out, aux_field::EVALUATED, text));
        for text in &aux.scripts.libraries {
            out.push(op::FUNCTION);
            string(&mut out, text);
        }
        if let Some(acl) = &aux.acl {
            field(&mut out, aux_field::ACL, acl);
        }
        Self { draft: out.into(), db: None }
    }

    /// Appends one key; entries may come in any order of databases.
    pub fn entry(&mut self, db: u32, key: &[u8], value: ValueRef<'_>, expiry_ms: Option<i64>) {
        let Draft { bytes: out, long, .. } = &mut self.draft;
        if self.db != Some(db) {
            self.db = Some(db);
            out.push(op::SELECT_DB);
            length(out, u64::from(db));
        }
        if let Some(ms) = expiry_ms {
            out.push(op::EXPIRE_MS);
            out.extend_from_slice(&ms.to_le_bytes());
        }
        out.push(type_id(value));
        string(out, key);
        body(out, value, |out, bytes| {
            let head = out.len();
            string(out, bytes);
            if bytes.len() >= WORTH_MIN {
                long.push((head, out.len() - bytes.len()..out.len()));
            }
        });
    }

    /// Appends a part of the replication stream, which begins at this offset; parts follow each other.
    pub fn tail(&mut self, at: u64, bytes: &[u8]) {
        let value = [&at.to_le_bytes(), bytes].concat();
        field(&mut self.draft.bytes, aux_field::TAIL, &value);
    }

    /// Appends the end mark. Nothing may follow but the checksum.
    pub fn finish(&mut self) {
        self.draft.bytes.push(op::EOF);
        self.draft.ends = true;
    }

    /// Bytes written and not taken yet.
    pub fn pending(&self) -> usize {
        self.draft.len()
    }

    /// Takes what has been written since the last call.
    pub fn take(&mut self) -> Draft {
        std::mem::replace(&mut self.draft, Vec::with_capacity(PART_BYTES).into())
    }
}

/// Appends a value as it stands in a DUMP payload: its type, then its body.
pub fn write_value(out: &mut Vec<u8>, value: ValueRef<'_>) {
    out.push(type_id(value));
    body(out, value, string);
}

fn type_id(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::Str(_) => 0,
        ValueRef::List(_) => 1,
        ValueRef::Set(_) => 2,
        ValueRef::Hash(hash) if hash.next_expiry().is_some() => HASH_WITH_TIMES,
        ValueRef::Hash(_) => 4,
        ValueRef::ZSet(_) => 5,
        ValueRef::Stream(_) => stream::TYPE,
    }
}

/// `string` writes each string of the value.
fn body(out: &mut Vec<u8>, value: ValueRef<'_>, mut string: impl FnMut(&mut Vec<u8>, &[u8])) {
    match value {
        ValueRef::Str(StrRef::Bytes(bytes)) => string(out, bytes),
        ValueRef::Str(StrRef::Int(n)) => integer(out, n),
        ValueRef::List(list) => {
            length(out, list.len() as u64);
            list.iter().for_each(|element| string(out, element));
        }
        ValueRef::Set(set) => {
            length(out, set.len() as u64);
            set.each(|member| string(out, member));
        }
        ValueRef::Hash(hash) => {
            let times = hash.next_expiry().is_some();
            length(out, hash.whole_len() as u64);
            hash.whole(|field, value, at_ms| {
                string(out, field);
                string(out, value);
                if times {
                    out.extend_from_slice(&at_ms.unwrap_or(-1).to_le_bytes());
                }
            });
        }
        ValueRef::Stream(stream) => stream::write(out, stream),
        ValueRef::ZSet(zset) => {
            length(out, zset.len() as u64);
            zset.iter().for_each(|(member, score)| {
                string(out, member);
                out.extend_from_slice(&score.to_le_bytes());
            });
        }
    }
}

pub(super) fn length(out: &mut Vec<u8>, n: u64) {
    if n < 1 << 6 {
        out.push(n as u8);
    } else if n < 1 << 14 {
        out.extend_from_slice(&((n as u16) | 0x4000).to_be_bytes());
    } else if let Ok(n) = u32::try_from(n) {
        out.push(0x80);
        out.extend_from_slice(&n.to_be_bytes());
    } else {
        out.push(0x81);
        out.extend_from_slice(&n.to_be_bytes());
    }
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.push(op::AUX);
    string(out, name.as_bytes());
    string(out, value);
}

pub(super) fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    length(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// A string that is an integer takes the short form where there is one.
fn integer(out: &mut Vec<u8>, n: i64) {
    if let Ok(n) = i8::try_from(n) {
        out.push(0xc0);
        out.push(n.cast_unsigned());
    } else if let Ok(n) = i16::try_from(n) {
        out.push(0xc1);
        out.extend_from_slice(&n.to_le_bytes());
    } else if let Ok(n) = i32::try_from(n) {
        out.push(0xc2);
        out.extend_from_slice(&n.to_le_bytes());
    } else {
        string(out, n.to_string().as_bytes());
    }
}
