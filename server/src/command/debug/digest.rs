//! A hash of data that two servers with the same keys agree on, whatever their encodings and
//! orders: the one that Valkey computes, so that ours can be compared with its own.
//!
//! Parts in a fixed order are chained into a digest; parts without an order are combined by XOR.

use std::fmt;

use crate::resp::num::shortest_f64;
use crate::script::sha1;
use crate::store::{Id, IntBuf, Item, Keyspace, ValueRef};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest([u8; 20]);

impl Digest {
    /// Adds a part without regard to the order of parts.
    fn add(&mut self, part: &[u8]) {
        for (own, other) in self.0.iter_mut().zip(sha1::digest(part)) {
            *own ^= other;
        }
    }

    /// Adds a part behind those before it.
    fn chain(&mut self, part: &[u8]) {
        self.add(part);
        self.0 = sha1::digest(&self.0);
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

pub fn of_keyspace(keyspace: &Keyspace) -> Digest {
    let mut whole = Digest::default();
    for index in 0..keyspace.databases() {
        let db = keyspace.db(index);
        if db.is_empty() {
            continue;
        }
        whole.chain(&(index as u32).to_be_bytes());
        db.each(|key, value, expiry_ms| {
            let mut entry = Digest::default();
            entry.chain(key);
            add_value(&mut entry, value, expiry_ms);
            whole.add(&entry.0);
        });
    }
    whole
}

pub fn of_value(value: ValueRef<'_>, expiry_ms: Option<i64>) -> Digest {
    let mut digest = Digest::default();
    add_value(&mut digest, value, expiry_ms);
    digest
}

fn add_value(digest: &mut Digest, value: ValueRef<'_>, expiry_ms: Option<i64>) {
    digest.chain(&kind(value).to_be_bytes());
    let chained = |parts: [&[u8]; 2]| {
        let mut element = Digest::default();
        for part in parts {
            element.chain(part);
        }
        element.0
    };
    match value {
        ValueRef::Str(text) => digest.chain(text.bytes(&mut IntBuf::default())),
        ValueRef::List(list) => list.iter().for_each(|element| digest.chain(element)),
        ValueRef::Set(set) => set.each(|member| digest.add(member)),
        ValueRef::Hash(hash) => {
            hash.iter().for_each(|(field, value)| digest.add(&chained([field, value])));
        }
        ValueRef::ZSet(zset) => zset.iter().for_each(|(member, score)| {
            digest.add(&chained([member, shortest_f64(score).as_bytes()]));
        }),
        ValueRef::Stream(stream) => {
            for entry in stream.range(Id::MIN, Id::MAX) {
                let Id { ms, seq } = entry.id();
                digest.chain(format!("{ms}.{seq}").as_bytes());
                entry.each(|item| match item {
                    Item::Bytes(bytes) => digest.chain(bytes),
                    Item::Int(number) => digest.chain(number.to_string().as_bytes()),
                });
            }
        }
    }
    if expiry_ms.is_some() {
        digest.add(b"!!expire!!");
    }
}

/// The number of a type in that hash.
fn kind(value: ValueRef<'_>) -> u32 {
    match value {
        ValueRef::Str(_) => 0,
        ValueRef::List(_) => 1,
        ValueRef::Set(_) => 2,
        ValueRef::ZSet(_) => 3,
        ValueRef::Hash(_) => 4,
        ValueRef::Stream(_) => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::Digest;
    use crate::engine::testing::Bench;

    #[test]
    fn a_digest_depends_on_data_alone() {
        let digest = |lines: &[&str]| {
            let mut bench = Bench::new(&[("enable-debug-command", "yes")]);
            let client = bench.client();
            for line in lines {
                bench.ask(client, line);
            }
            bench.ask(client, "DEBUG DIGEST")
        };
        assert_eq!(digest(&[]), format!("+{}", Digest::default()));
        assert_eq!(digest(&["SADD s a b", "SET k 1"]), digest(&["SET k 1", "SADD s b a"]));
        assert_ne!(digest(&["RPUSH l a b"]), digest(&["RPUSH l b a"]));
        assert_ne!(digest(&["SET k 1"]), digest(&["SET k 1 EX 100"]));
        assert_ne!(digest(&["SET k 1"]), digest(&["SELECT 1", "SET k 1"]));
        assert_ne!(digest(&["ZADD z 1 a"]), digest(&["ZADD z 2 a"]));
    }
}
