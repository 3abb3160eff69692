//! The collections and the keyspace against the standard library's.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};

fn tight() -> Limits {
    Limits { hash_entries: 8, set_ints: 8, set_entries: 12, list_size: 5, ..Limits::default() }
}

fn element(n: u16) -> Vec<u8> {
    match n % 10 {
        0 => vec![b'x'; 300],
        1 => Vec::new(),
        2 => vec![b'y'; 253 + (n as usize / 10) % 3],
        _ => n.to_string().into_bytes(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_list_is_a_deque(
        size in prop_oneof![Just(5i32), Just(-1), Just(1)],
        ops in prop::collection::vec((0u8..12, 0u16..60, any::<u16>()), 1..400),
    ) {
        let limits = Limits { list_size: size, ..Limits::default() };
        let mut list = List::new();
        let mut model: VecDeque<Vec<u8>> = VecDeque::new();
        for (op, n, at) in ops {
            let e = element(n);
            let index = at as usize % (model.len() + 1);
            match op {
                0..=2 => { list.push(End::Left, &e, &limits); model.push_front(e); }
                3..=5 => { list.push(End::Right, &e, &limits); model.push_back(e); }
                6 => prop_assert_eq!(list.pop(End::Left, &limits), model.pop_front()),
                7 => prop_assert_eq!(list.pop(End::Right, &limits), model.pop_back()),
                8 => { list.insert(index, &e, &limits); model.insert(index, e); }
                9 => {
                    let known = index < model.len();
                    prop_assert_eq!(list.set(index, &e, &limits), known);
                    if known { model[index] = e; }
                }
                10 => {
                    let end = (index + n as usize % 9).min(model.len());
                    list.remove_range(index, n as usize % 9, &limits);
                    model.drain(index..end);
                }
                _ => {
                    let count = n as usize % 3 + 1;
                    let end = if at % 2 == 0 { End::Left } else { End::Right };
                    let hits = model.iter().filter(|x| **x == e).count();
                    let removed = list.remove_equal(end, &e, count, &limits);
                    prop_assert_eq!(removed, hits.min(count));
                    for _ in 0..removed {
                        let found = if end == End::Left {
                            model.iter().position(|x| *x == e)
                        } else {
                            model.iter().rposition(|x| *x == e)
                        };
                        model.remove(found.expect("counted above"));
                    }
                }
            }
            prop_assert_eq!(list.len(), model.len());
            prop_assert_eq!(list.get(index), model.get(index).map(Vec::as_slice));
        }
        prop_assert!(list.iter().eq(model.iter().map(Vec::as_slice)));
        prop_assert!(list.iter().rev().eq(model.iter().rev().map(Vec::as_slice)));
        let half = model.len() / 2;
        prop_assert!(list.iter_from(half).eq(model.iter().skip(half).map(Vec::as_slice)));
    }

    #[test]
    fn a_hash_is_a_map(ops in prop::collection::vec((0u8..4, 0u16..60, 0u16..60), 1..300)) {
        let mut hash = Hash::new();
        let mut model = BTreeMap::new();
        for (op, f, v) in ops {
            let (field, value) = (element(f), element(v));
            if op == 0 {
                prop_assert_eq!(hash.remove(&field), model.remove(&field).is_some());
            } else {
                let new = model.insert(field.clone(), value.clone()).is_none();
                prop_assert_eq!(hash.set(&field, &value, &tight()), new);
            }
            prop_assert_eq!(hash.get(&field), model.get(&field).map(Vec::as_slice));
            prop_assert_eq!(hash.len(), model.len());
        }
        let all: BTreeMap<_, _> = hash.iter().map(|(f, v)| (f.to_vec(), v.to_vec())).collect();
        prop_assert_eq!(all, model);
    }

    #[test]
    fn a_set_is_a_set(
        numbers in any::<bool>(),
        ops in prop::collection::vec((0u8..4, 0u16..60), 1..300),
    ) {
        let mut set = Set::new();
        let mut model = BTreeSet::new();
        for (op, n) in ops {
            let member = if numbers { n.to_string().into_bytes() } else { element(n) };
            if op == 0 {
                prop_assert_eq!(set.remove(&member), model.remove(&member));
            } else {
                prop_assert_eq!(set.add(&member, &tight()), model.insert(member.clone()));
            }
            prop_assert_eq!(set.contains(&member), model.contains(&member));
            prop_assert_eq!(set.len(), model.len());
        }
        let mut all = BTreeSet::new();
        set.each(|m| { all.insert(m.to_vec()); });
        prop_assert_eq!(all, model);
    }

    #[test]
    fn a_snapshot_is_the_moment_it_began(
        before in prop::collection::vec((0u16..3000, 0u8..6), 0..4000),
        during in prop::collection::vec((0u16..3000, 0u8..7), 0..2000),
        stride in 1usize..200,
    ) {
        let mut keyspace = Keyspace::new(2, Seed([1, 2]));
        for (n, op) in before { change(&mut keyspace, n, op); }
        let expected = contents(&keyspace);
        let got = Arc::new(Mutex::new(Vec::new()));
        keyspace.snapshot_begin(Box::new(Gather(Arc::clone(&got))));
        for (i, (n, op)) in during.into_iter().enumerate() {
            change(&mut keyspace, n, op);
            if i % stride == 0 { keyspace.snapshot_step(3000); }
        }
        while !keyspace.snapshot_step(20_000) {}
        keyspace.snapshot_end();
        let got = got.lock().expect("the sink does not panic");
        let as_map: Contents = got.iter().cloned().collect();
        prop_assert_eq!(as_map.len(), got.len(), "an entry came twice");
        prop_assert_eq!(as_map, expected);
        // A second one sees no mark of the first.
        let expected = contents(&keyspace);
        let got = Arc::new(Mutex::new(Vec::new()));
        keyspace.snapshot_begin(Box::new(Gather(Arc::clone(&got))));
        while !keyspace.snapshot_step(usize::MAX) {}
        keyspace.snapshot_end();
        let got: Contents = got.lock().expect("no panic").iter().cloned().collect();
        prop_assert_eq!(got, expected);
    }
}

type Contents = HashMap<(u32, Vec<u8>), (String, Option<i64>)>;

fn show(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Str(s) => String::from_utf8_lossy(s.bytes(&mut IntBuf::default())).into(),
        ValueRef::List(list) => format!("{:?}", list.iter().collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

fn contents(keyspace: &Keyspace) -> Contents {
    let mut all = Contents::new();
    for db in 0..keyspace.databases() {
        keyspace.db(db).each(|key, value, expiry| {
            all.insert((db as u32, key.to_vec()), (show(value), expiry));
        });
    }
    all
}

fn change(keyspace: &mut Keyspace, n: u16, op: u8) {
    let limits = keyspace.limits();
    let key = format!("k{}", n / 2).into_bytes();
    let db = keyspace.db_mut(n as usize % 2);
    match op {
        0 | 1 => _ = db.set_str(&key, n.to_string().as_bytes(), op == 1),
        2 => _ = db.set_str(&key, format!("value {n}").as_bytes(), false),
        3 => _ = db.remove(&key),
        4 => _ = db.expire_at(&key, i64::from(n) + 1_000_000),
        5 => {
            if let Ok(list) = db.typed_or_new::<List>(&key) {
                list.push_back(&n.to_le_bytes(), &limits);
            }
        }
        _ if n == 77 => _ = keyspace.flush_db(0, false),
        _ if n == 78 => keyspace.swap(0, 1),
        _ => _ = db.take(&key),
    }
}

type Entry = ((u32, Vec<u8>), (String, Option<i64>));

struct Gather(Arc<Mutex<Vec<Entry>>>);

impl SnapshotSink for Gather {
    fn entry(&mut self, db: u32, key: &[u8], value: ValueRef<'_>, expiry_ms: Option<i64>) -> usize {
        let entry = ((db, key.to_vec()), (show(value), expiry_ms));
        self.0.lock().expect("nobody panics").push(entry);
        key.len()
    }
}

#[test]
fn a_snapshot_that_is_given_up_leaves_no_mark() {
    let mut keyspace = Keyspace::new(2, Seed([1, 2]));
    for n in 0..5000 {
        change(&mut keyspace, n, 2);
    }
    let first = Arc::new(Mutex::new(Vec::new()));
    keyspace.snapshot_begin(Box::new(Gather(Arc::clone(&first))));
    for n in 0..5000 {
        change(&mut keyspace, n, 0);
    }
    keyspace.snapshot_end();
    let second = Arc::new(Mutex::new(Vec::new()));
    keyspace.snapshot_begin(Box::new(Gather(Arc::clone(&second))));
    while !keyspace.snapshot_step(usize::MAX) {}
    assert_eq!(second.lock().expect("nobody panics").len(), keyspace.len());
}

/// A step went through a whole segment of a thousand entries, however few it was asked for, so that
/// a save of large values kept commands waiting for milliseconds each turn.
#[test]
fn a_step_of_a_snapshot_is_as_short_as_it_was_asked_to_be() {
    let mut keyspace = Keyspace::new(2, Seed([1, 2]));
    for n in 0..3000 {
        change(&mut keyspace, n, 2);
    }
    let got = Arc::new(Mutex::new(Vec::new()));
    let count = || got.lock().expect("nobody panics").len();
    keyspace.snapshot_begin(Box::new(Gather(Arc::clone(&got))));
    let mut done = false;
    while !done {
        let before = count();
        done = keyspace.snapshot_step(1);
        // Two entries at one position are handed over together.
        assert!(count() - before <= 3, "{}", count() - before);
    }
    assert_eq!(count(), keyspace.len());
}

#[test]
fn strings_of_all_shapes_keep_value_and_expiry() {
    let mut keyspace = Keyspace::new(1, Seed::default());
    let db = keyspace.db_mut(0);
    let long = vec![b'k'; 300];
    let big = vec![b'v'; 70_000];
    for key in [b"".as_slice(), b"key", &long] {
        for value in [b"".as_slice(), b"12345678", b"-7", b"abcdefgh", &big, b"9"] {
            db.set_str(key, value, true);
            let mut buf = IntBuf::default();
            let Some(ValueRef::Str(found)) = db.lookup(key) else { panic!("a string was set") };
            assert_eq!(found.bytes(&mut buf), value);
            assert!(db.expire_at(key, 5000));
            assert_eq!(db.expiry(key), Some(5000));
            db.set_str(key, value, true);
            assert_eq!(db.expiry(key), Some(5000));
            let Some(Value::Str(inner)) = db.get_mut(key) else { panic!("a string was set") };
            inner.bytes_mut().push(b'!');
            assert_eq!((db.expiry(key), db.volatile()), (Some(5000), 1));
            assert!(db.persist(key));
            assert!(!db.persist(key));
            let expected = [value, b"!"].concat();
            let taken = db.take(key);
            assert!(matches!(taken, Some((Value::Str(Str::Bytes(b)), None)) if b == expected));
            assert_eq!(db.volatile(), 0);
        }
    }
}

#[test]
fn a_primary_expires_and_a_replica_hides() {
    let mut keyspace = Keyspace::new(2, Seed::default());
    keyspace.set_clock(1000);
    for db in 0..2 {
        keyspace.db_mut(db).set_str(b"a", b"1", false);
        keyspace.db_mut(db).expire_at(b"a", 2000);
    }
    keyspace.set_may_expire(false);
    keyspace.set_clock(2000);
    assert!(keyspace.db_mut(1).lookup(b"a").is_none());
    assert!(keyspace.db(1).peek(b"a").is_none());
    assert_eq!((keyspace.db(1).len(), keyspace.expire_step(100)), (1, 0));
    assert!(keyspace.take_expired().is_empty());
    keyspace.set_may_expire(true);
    assert!(keyspace.db_mut(1).lookup(b"a").is_none());
    assert_eq!(keyspace.take_expired(), [(1, b"a".to_vec())]);
    assert_eq!((keyspace.db(1).len(), keyspace.expire_step(100)), (0, 1));
    assert_eq!(keyspace.take_expired(), [(0, b"a".to_vec())]);
    assert!(keyspace.is_empty());
}

/// A replica applies its primary's write to a key that it only hides: the old value must not shine
/// through.
#[test]
fn a_write_replaces_a_hidden_key() {
    let mut keyspace = Keyspace::new(1, Seed::default());
    let limits = keyspace.limits();
    let db = keyspace.db_mut(0);
    db.typed_or_new::<List>(b"l").expect("new").push_back(b"old", &limits);
    db.expire_at(b"l", 10);
    keyspace.set_may_expire(false);
    keyspace.set_clock(10);
    let list = keyspace.db_mut(0).typed_or_new::<List>(b"l").expect("a new list");
    assert!(list.is_empty());
    assert_eq!(keyspace.db(0).volatile(), 0);
}

/// A replica whose clock is ahead found a key gone that its primary still incremented, and began at
/// zero.
#[test]
fn the_stream_finds_what_the_primary_found() {
    let mut keyspace = Keyspace::new(1, Seed::default());
    keyspace.db_mut(0).set_str(b"n", b"41", false);
    keyspace.db_mut(0).expire_at(b"n", 10);
    keyspace.set_may_expire(false);
    keyspace.set_clock(11);
    keyspace.ignore_expiry(true);
    assert!(matches!(keyspace.db_mut(0).lookup(b"n"), Some(ValueRef::Str(StrRef::Int(41)))));
    keyspace.db_mut(0).set_int(b"n", 42, true);
    assert!(keyspace.db_mut(0).expire_at(b"n", 20));
    keyspace.ignore_expiry(false);
    assert!(matches!(keyspace.db(0).peek(b"n"), Some(ValueRef::Str(StrRef::Int(42)))));
}

#[test]
fn the_active_cycle_finds_all_that_is_due() {
    let mut keyspace = Keyspace::new(1, Seed([5, 5]));
    for n in 0..10_000 {
        let key = format!("k{n}");
        keyspace.db_mut(0).set_str(key.as_bytes(), b"x", false);
        keyspace.db_mut(0).expire_at(key.as_bytes(), 1000 + n);
    }
    keyspace.set_clock(1000 + 4999);
    let mut found = 0;
    for _ in 0..100 {
        found += keyspace.expire_step(4);
    }
    assert_eq!((found, keyspace.len(), keyspace.db(0).volatile()), (5000, 5000, 5000));
}
