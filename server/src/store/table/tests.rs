use super::*;
use std::collections::{BTreeSet, HashSet};

fn key(n: u32) -> Box<[u8]> {
    format!("key:{n}").into_bytes().into()
}

fn filled(count: u32) -> Table<Box<[u8]>> {
    let mut table = Table::new(Seed([7, 9]));
    for n in 0..count {
        assert!(table.get_or_insert(&key(n), || key(n)).1);
    }
    table
}

#[test]
fn grows_and_shrinks_without_losing_an_entry() {
    let count = 40_000;
    let mut table = filled(count);
    assert_eq!(table.len(), count as usize);
    assert!(table.depth >= 6, "{} segments' worth of keys", table.depth);
    assert!((0..count).all(|n| table.contains(&key(n))));
    for n in 0..count {
        assert!(table.remove(&key(n)).is_some(), "{n}");
        assert!(table.remove(&key(n)).is_none(), "{n}");
        if n % 5000 == 0 {
            assert!((n + 1..count).all(|n| table.contains(&key(n))));
        }
    }
    assert_eq!((table.len(), table.depth, table.directory.len()), (0, 0, 1));
}

/// Every entry that stays through a scan is met, while others come and go between its steps.
#[test]
fn a_scan_meets_what_stays_while_the_table_grows_and_shrinks() {
    for (start, target) in [(500, 60_000u32), (60_000, 500), (3000, 3000)] {
        let mut table = filled(start);
        let stay = start.min(target).min(400);
        let mut seen = HashSet::new();
        let (mut cursor, mut now, mut step) = (0, start, 0u32);
        loop {
            cursor = table.scan(cursor, 10, |s| {
                seen.insert(s.entry.clone());
            });
            if cursor == 0 {
                break;
            }
            step += 1;
            for _ in 0..1500 {
                if now < target {
                    table.get_or_insert(&key(now), || key(now));
                    now += 1;
                } else if now > target {
                    now -= 1;
                    table.remove(&key(now));
                }
            }
        }
        assert!(step > 5, "the scan took only {step} steps");
        assert!((0..stay).all(|n| seen.contains(&key(n))), "from {start} to {target}");
    }
}

#[test]
fn a_cursor_is_good_on_another_table_of_the_same_seed() {
    let small = filled(1000);
    let mut large = filled(50_000);
    let mut seen = BTreeSet::new();
    let cursor = small.scan(0, 500, |s| {
        seen.insert(s.entry.clone());
    });
    for n in 1000..50_000 {
        large.remove(&key(n));
    }
    let end = large.scan(cursor, 10_000, |s| {
        assert!(seen.insert(s.entry.clone()), "met twice though nothing moved");
    });
    assert_eq!((end, seen.len()), (0, 1000));
}

#[test]
fn a_scan_gives_about_what_was_asked_for() {
    let table = filled(20_000);
    let (mut cursor, mut total) = (0, 0);
    loop {
        let mut step = 0;
        cursor = table.scan(cursor, 10, |_| step += 1);
        assert!(step <= 12, "{step} entries in one step");
        total += step;
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(total, 20_000);
}

#[test]
fn random_entries_are_nearly_even() {
    let table = filled(5000);
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        state ^ (state >> 29)
    };
    let mut seen = std::collections::HashMap::new();
    for _ in 0..100_000 {
        let slot = table.random(&mut next).expect("the table has entries");
        *seen.entry(slot.entry.clone()).or_insert(0u32) += 1;
    }
    assert!(seen.len() > 4950, "only {} of 5000 were ever picked", seen.len());
    assert!(seen.values().all(|&n| n < 100), "some entry is picked five times too often");
}
