//! A base in the form of commands, for `aof-use-rdb-preamble no`. Pure.

use crate::persistence::rdb::dump;
use crate::persistence::rdb::functions::Carried;
use crate::resp::encode_command;
use crate::store::{IntBuf, ValueRef};

/// Elements that one command of a base carries at most, as stock servers write them.
const ELEMENTS_MAX: usize = 64;

/// Writes entries as the commands that make them. Same use as [`crate::persistence::rdb::Writer`].
#[derive(Debug, Default)]
pub struct CommandWriter {
    out: Vec<u8>,
    db: Option<u32>,
}

impl CommandWriter {
    /// Appends a record of members, which stock servers take without effect.
    pub fn record(&mut self, prefix: &[u8], text: &[u8]) {
        self.command(&[b"PING", &[prefix, text].concat()]);
    }

    /// Appends the libraries, and what SCRIPT LOAD brought.
    pub fn scripts(&mut self, scripts: &Carried) {
        scripts.libraries.iter().for_each(|text| self.command(&[b"FUNCTION", b"LOAD", text]));
        scripts.loaded.iter().for_each(|text| self.command(&[b"SCRIPT", b"LOAD", text]));
    }

    /// Appends one key; entries may come in any order of databases.
    pub fn entry(&mut self, db: u32, key: &[u8], value: ValueRef<'_>, expiry_ms: Option<i64>) {
        if self.db != Some(db) {
            self.db = Some(db);
            self.command(&[b"SELECT", db.to_string().as_bytes()]);
        }
        match value {
            ValueRef::Str(text) => {
                let mut digits = IntBuf::default();
                let text = text.bytes(&mut digits);
                self.command(&[b"SET", key, text]);
            }
            ValueRef::List(list) => {
                self.elements(b"RPUSH", key, 1, list.iter().map(|element| [element.to_vec()]));
            }
            ValueRef::Set(set) => {
                let mut members = Vec::new();
                set.each(|member| members.push([member.to_vec()]));
                self.elements(b"SADD", key, 1, members.into_iter());
            }
            ValueRef::Hash(hash) => {
                let mut pairs = Vec::new();
                hash.whole(|field, value, at_ms| match at_ms {
                    None => pairs.push([field.to_vec(), value.to_vec()]),
                    Some(at_ms) => {
                        let time = at_ms.to_string();
                        let time = time.as_bytes();
                        self.command(&[
                            b"HSETEX", key, b"PXAT", time, b"FIELDS", b"1", field, value,
                        ]);
                    }
                });
                self.elements(b"HSET", key, 2, pairs.into_iter());
            }
            ValueRef::ZSet(zset) => {
                // The shortest digits that give the same number again, and `inf`.
                let pairs = zset
                    .iter()
                    .map(|(member, score)| [score.to_string().into_bytes(), member.to_vec()]);
                self.elements(b"ZADD", key, 2, pairs);
            }
            // Its commands would be many, and their ids are not free to choose in any order.
            stream @ ValueRef::Stream(_) => {
                self.command(&[b"RESTORE", key, b"0", &dump::dump(stream)]);
            }
        }
        if let Some(expiry_ms) = expiry_ms {
            self.command(&[b"PEXPIREAT", key, expiry_ms.to_string().as_bytes()]);
        }
    }

    /// Bytes written and not taken yet.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    /// Takes what has been written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.out)
    }

    fn command(&mut self, parts: &[&[u8]]) {
        encode_command(&mut self.out, parts.iter().copied());
    }

    /// Commands `name key element…`, each with a bounded number of elements of `width` words.
    fn elements<const N: usize>(
        &mut self,
        name: &[u8],
        key: &[u8],
        width: usize,
        elements: impl Iterator<Item = [Vec<u8>; N]>,
    ) {
        let mut words: Vec<Vec<u8>> = Vec::new();
        for element in elements {
            words.extend(element);
            if words.len() == ELEMENTS_MAX * width {
                self.with_words(name, key, &mut words);
            }
        }
        self.with_words(name, key, &mut words);
    }

    fn with_words(&mut self, name: &[u8], key: &[u8], words: &mut Vec<Vec<u8>>) {
        if !words.is_empty() {
            let mut parts = vec![name, key];
            parts.extend(words.iter().map(Vec::as_slice));
            encode_command(&mut self.out, parts);
            words.clear();
        }
    }
}
