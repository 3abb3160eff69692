//! Fields of hashes whose time comes. A database keeps notes of when to look at which key; a note
//! may be out of date, and then nothing comes of it. As long as there is none, nobody pays.
//!
//! On a node that may expire keys, whoever comes to a hash removes what is due first, and the names
//! are queued for the replication stream. Elsewhere such fields are hidden until the primary's word.

use super::db::Db;
use super::hash::Hash;
use super::table::{Keyed, Place};
use super::value::{Kind, Value, ValueRef};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Notes beyond which those that are out of date are thrown away.
const NOTES_KEPT: usize = 1024;

/// When to look at which key next, and what was removed.
#[derive(Debug, Default)]
pub(super) struct FieldExpiry {
    notes: BinaryHeap<Reverse<(i64, Box<[u8]>)>>,
    pub removed: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl FieldExpiry {
    #[inline]
    pub fn is_idle(&self) -> bool {
        self.notes.is_empty()
    }
}

impl Db {
    /// After a field of the hash at `key` was given an expiry time: lets it be looked at then.
    pub fn note_field_expiry(&mut self, key: &[u8]) {
        let position = self.table.position(key);
        let Some(place) = self.table.locate(position, |e| e.key() == key) else { return };
        let Some(next_ms) = self.next_field_expiry(place) else { return };
        if let Value::Hash(hash) = self.table.at_mut(place).entry.value_mut()
            && hash.needs_note(next_ms)
        {
            self.fields.notes.push(Reverse((next_ms, key.into())));
        }
        if self.fields.notes.len() > NOTES_KEPT + 2 * self.table.len() {
            self.forget_notes();
        }
    }

    /// Notes of keys that hold no such hash any more must not pile up.
    fn forget_notes(&mut self) {
        let mut kept = std::mem::take(&mut self.fields.notes).into_vec();
        kept.retain(|Reverse((at_ms, key))| {
            self.table.get(key).is_some_and(|slot| match slot.entry.view() {
                ValueRef::Hash(hash) => hash.is_noted_for(*at_ms),
                _ => false,
            })
        });
        self.fields.notes = kept.into();
    }

    fn next_field_expiry(&self, place: Place) -> Option<i64> {
        match self.table.at(place).entry.view() {
            ValueRef::Hash(hash) => hash.next_expiry(),
            _ => None,
        }
    }

    /// Whether a hash has a field with an expiry time.
    pub fn has_expiring_fields(&self) -> bool {
        self.fields.notes.iter().any(|Reverse((_, key))| self.is_volatile_hash(key))
    }

    /// How many hashes have fields with an expiry time.
    pub fn volatile_hashes(&self) -> usize {
        let mut keys: Vec<&[u8]> =
            self.fields.notes.iter().map(|Reverse((_, key))| &**key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().filter(|key| self.is_volatile_hash(key)).count()
    }

    fn is_volatile_hash(&self, key: &[u8]) -> bool {
        self.table.get(key).is_some_and(|slot| match slot.entry.view() {
            ValueRef::Hash(hash) => hash.next_expiry().is_some(),
            _ => false,
        })
    }

    /// Before somebody sees the value at `place`: removes or hides the fields whose time has come.
    /// `None` when the key went with its last field.
    #[cold]
    pub(super) fn expire_fields(&mut self, key: &[u8], place: Place) -> Option<Place> {
        let Some(next_ms) = self.next_field_expiry(place) else { return Some(place) };
        let ignore = self.ignores_expiry();
        if !self.may_expire || ignore {
            let until_ms = if ignore { i64::MIN } else { self.now_ms };
            if let Value::Hash(hash) = self.table.at_mut(place).entry.value_mut() {
                hash.hide_until(until_ms);
            }
            return Some(place);
        }
        if next_ms > self.now_ms {
            return Some(place);
        }
        self.before_write(place);
        let now_ms = self.now_ms;
        let hash = Hash::of_mut(self.table.at_mut(place).entry.value_mut())?;
        let due = hash.take_due(now_ms);
        let empty = hash.is_empty();
        self.fields.removed.push((key.to_vec(), due));
        self.queue();
        if empty {
            self.remove(key);
            return None;
        }
        Some(place)
    }

    /// Looks at the keys whose notes are due, `most` of them. Returns how many there were.
    pub(super) fn expire_fields_step(&mut self, most: usize) -> usize {
        let mut count = 0;
        while count < most && self.may_expire {
            match self.fields.notes.peek() {
                Some(Reverse((at_ms, _))) if *at_ms <= self.now_ms => {}
                _ => break,
            }
            let Some(Reverse((_, key))) = self.fields.notes.pop() else { break };
            count += 1;
            let position = self.table.position(&key);
            let Some(place) = self.table.locate(position, |e| e.key() == &*key) else { continue };
            if self.expire_fields(&key, place).is_none() || self.next_field_expiry(place).is_none()
            {
                continue;
            }
            if let Value::Hash(hash) = self.table.at_mut(place).entry.value_mut() {
                hash.forget_note();
            }
            self.note_field_expiry(&key);
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use crate::store::{Hash, Keyspace, Limits, Seed};

    /// A keyspace at 1000 ms whose hash `h` has `a` until 2000, `b` until 3000, and `c` for ever.
    fn keyspace() -> Keyspace {
        let mut keyspace = Keyspace::new(2, Seed::default());
        keyspace.set_clock(1000);
        let limits = Limits::default();
        let db = keyspace.db_mut(0);
        let hash: &mut Hash = db.typed_or_new(b"h").expect("a hash");
        for (field, at_ms) in [("a", Some(2000)), ("b", Some(3000)), ("c", None)] {
            hash.set(field.as_bytes(), b"1", &limits);
            hash.set_expiry(field.as_bytes(), at_ms, &limits);
        }
        db.note_field_expiry(b"h");
        keyspace
    }

    fn names(keyspace: &mut Keyspace, db: usize, key: &[u8]) -> Vec<String> {
        let hash = keyspace.db_mut(db).typed::<Hash>(key).expect("a hash");
        let mut names: Vec<_> = hash
            .into_iter()
            .flat_map(Hash::iter)
            .map(|(field, _)| String::from_utf8_lossy(field).into_owned())
            .collect();
        names.sort_unstable();
        names
    }

    fn removed(keyspace: &mut Keyspace) -> Vec<(usize, String, usize)> {
        let all = keyspace.take_expired_fields().into_iter();
        all.map(|(db, key, names)| (db, String::from_utf8_lossy(&key).into_owned(), names.len()))
            .collect()
    }

    #[test]
    fn whoever_comes_removes_what_is_due() {
        let mut keyspace = keyspace();
        assert!(keyspace.has_expiring_fields());
        assert_eq!(names(&mut keyspace, 0, b"h"), ["a", "b", "c"]);
        keyspace.set_clock(2000);
        assert_eq!(names(&mut keyspace, 0, b"h"), ["b", "c"]);
        assert_eq!(removed(&mut keyspace), [(0, "h".into(), 1)]);
        keyspace.set_clock(9000);
        assert_eq!(names(&mut keyspace, 0, b"h"), ["c"]);
        assert!(!keyspace.has_expiring_fields());
    }

    #[test]
    fn nobody_need_come() {
        let mut keyspace = keyspace();
        keyspace.set_clock(2500);
        assert_eq!(keyspace.expire_step(1), 1);
        assert_eq!(removed(&mut keyspace), [(0, "h".into(), 1)]);
        assert_eq!(keyspace.expire_step(1), 0);
        keyspace.set_clock(3000);
        assert_eq!(keyspace.expire_step(1), 1);
        assert_eq!(removed(&mut keyspace), [(0, "h".into(), 1)]);
        keyspace.set_clock(9000);
        assert_eq!(keyspace.expire_step(1), 0, "no note is left");
    }

    /// A replica shows what its primary would show, but only the primary's word removes anything.
    #[test]
    fn a_replica_hides_and_waits() {
        let mut keyspace = keyspace();
        keyspace.set_may_expire(false);
        keyspace.set_clock(2500);
        assert_eq!(names(&mut keyspace, 0, b"h"), ["b", "c"]);
        let db = keyspace.db_mut(0);
        let hash = db.typed::<Hash>(b"h").expect("a hash").expect("there");
        assert_eq!((hash.len(), hash.whole_len()), (2, 3));
        assert_eq!((hash.get(b"a"), hash.expiry(b"a")), (None, None));
        assert_eq!(keyspace.expire_step(1), 0);
        keyspace.ignore_expiry(true);
        assert_eq!(names(&mut keyspace, 0, b"h"), ["a", "b", "c"]);
        let db = keyspace.db_mut(0);
        assert!(db.typed_mut::<Hash>(b"h").expect("a hash").expect("there").remove(b"a"));
        keyspace.ignore_expiry(false);
        assert_eq!(names(&mut keyspace, 0, b"h"), ["b", "c"]);
        assert!(removed(&mut keyspace).is_empty());
    }

    /// Under another key, in another database or behind an exchange of databases, fields keep
    /// their times.
    #[test]
    fn times_move_with_their_hash() {
        let mut keyspace = keyspace();
        let (value, expiry_ms) = keyspace.db_mut(0).take(b"h").expect("there");
        keyspace.db_mut(0).restore(b"copy", value.clone(), None);
        keyspace.db_mut(1).restore(b"moved", value, expiry_ms);
        keyspace.swap(0, 1);
        keyspace.set_clock(2000);
        assert_eq!(keyspace.expire_step(4), 3, "two of them, and the note of the old key");
        let mut got = removed(&mut keyspace);
        got.sort_unstable();
        assert_eq!(got, [(0, "moved".into(), 1), (1, "copy".into(), 1)]);
    }

    #[test]
    fn the_last_field_takes_the_key_along() {
        let mut keyspace = keyspace();
        let db = keyspace.db_mut(0);
        db.typed_mut::<Hash>(b"h").expect("a hash").expect("there").remove(b"c");
        keyspace.set_clock(5000);
        assert!(!keyspace.db_mut(0).contains(b"h") || names(&mut keyspace, 0, b"h").is_empty());
        assert_eq!(keyspace.expire_step(1), 1);
        assert_eq!(keyspace.len(), 0);
    }

    /// Notes of keys that are long gone piled up on replicas, which never come to remove them.
    #[test]
    fn notes_out_of_date_are_forgotten() {
        let mut keyspace = keyspace();
        keyspace.set_may_expire(false);
        let limits = Limits::default();
        for n in 0..10_000 {
            let key = format!("key {n}").into_bytes();
            let db = keyspace.db_mut(0);
            let hash: &mut Hash = db.typed_or_new(&key).expect("a hash");
            hash.set(b"f", b"1", &limits);
            hash.set_expiry(b"f", Some(1_000_000), &limits);
            db.note_field_expiry(&key);
            db.remove(&key);
        }
        assert!(keyspace.db(0).fields.notes.len() < 2000);
        assert!(keyspace.has_expiring_fields());
    }
}
