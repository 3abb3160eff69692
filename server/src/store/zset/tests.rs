use super::*;
use crate::store::Seed;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The model: members with scores; the order is computed anew for each question.
fn order(model: &BTreeMap<Vec<u8>, i32>) -> Vec<(Vec<u8>, f64)> {
    let mut all: Vec<_> = model.iter().map(|(m, s)| (m.clone(), f64::from(*s))).collect();
    all.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    all
}

fn check(zset: &ZSet, model: &BTreeMap<Vec<u8>, i32>) {
    let expected = order(model);
    let owned = |(m, s): (&[u8], f64)| (m.to_vec(), s);
    assert_eq!(zset.len(), expected.len());
    assert_eq!(zset.iter().map(owned).collect::<Vec<_>>(), expected);
    let mut back: Vec<_> = zset.range(0, zset.len(), true).map(owned).collect();
    back.reverse();
    assert_eq!(back, expected);
    for (rank, (member, score)) in expected.iter().enumerate().step_by(7) {
        assert_eq!(zset.rank(member), Some(rank));
        assert_eq!(zset.score(member), Some(*score));
        assert_eq!(zset.at(rank).map(owned), Some((member.clone(), *score)));
        let below = expected.iter().filter(|(_, other)| other < score).count();
        assert_eq!(zset.prefix(|other, _| other < *score), below);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn behaves_as_the_model(
        flat in prop_oneof![Just(0usize), Just(16), Just(10_000)],
        ops in prop::collection::vec((0u8..12, 0u32..600, -20i32..20), 1..1500),
    ) {
        let limits =
            Limits { seed: Seed([3, 4]), zset_entries: flat, ..Limits::default() };
        let mut zset = ZSet::new();
        let mut model = BTreeMap::new();
        for (op, n, score) in ops {
            let member = format!("m{n}").into_bytes();
            match op {
                0..=7 => {
                    let expected = match model.insert(member.clone(), score) {
                        None => Change::Added,
                        Some(old) if old == score => Change::Same,
                        Some(_) => Change::Updated,
                    };
                    prop_assert_eq!(zset.set(&member, f64::from(score), &limits), expected);
                }
                8..=10 => {
                    prop_assert_eq!(zset.remove(&member), model.remove(&member).is_some());
                }
                _ => {
                    let start = n as usize % (model.len() + 1);
                    let end = start + (score.unsigned_abs() as usize);
                    let gone = order(&model);
                    let gone = &gone[start..end.min(gone.len())];
                    prop_assert_eq!(zset.remove_range(start, end), gone.len());
                    for (m, _) in gone {
                        model.remove(m);
                    }
                }
            }
        }
        check(&zset, &model);
    }
}

#[test]
fn a_large_one_fills_and_empties_in_any_order() {
    let limits = Limits::default();
    let count = 30_000i32;
    for step in [1i32, 7919, 29_999] {
        let mut zset = ZSet::new();
        let mut model = BTreeMap::new();
        for i in 0..count {
            let n = i * step % count;
            let member = format!("m{n}").into_bytes();
            zset.set(&member, f64::from(n / 3), &limits);
            model.insert(member, n / 3);
        }
        check(&zset, &model);
        for i in 0..count {
            let member = format!("m{}", i * 7 % count).into_bytes();
            if i % 11 != 0 {
                assert_eq!(zset.remove(&member), model.remove(&member).is_some());
            }
        }
        check(&zset, &model);
        let left = zset.len();
        assert_eq!(zset.remove_range(0, left + 5), left);
        assert!(zset.is_empty());
        zset.set(b"again", 1.0, &limits);
        assert_eq!(zset.rank(b"again"), Some(0));
    }
}
