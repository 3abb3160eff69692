//! Streams against the standard library's map.

use super::*;
use crate::store::Limits;
use proptest::prelude::*;

type Model = BTreeMap<Id, Vec<Vec<u8>>>;

fn add(stream: &mut Stream, id: Id, items: &[Vec<u8>], limits: &Limits) {
    stream.append(id, items.len() / 2, |at| &items[at], limits);
}

fn contents<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<(Id, Vec<Vec<u8>>)> {
    entries
        .map(|entry| {
            let mut items = Vec::new();
            entry.each(|item| {
                items.push(match item {
                    Item::Bytes(bytes) => bytes.to_vec(),
                    Item::Int(n) => n.to_string().into_bytes(),
                });
            });
            assert_eq!(items.len(), entry.fields() * 2);
            (entry.id(), items)
        })
        .collect()
}

fn items(kind: u8, n: u16) -> Vec<Vec<u8>> {
    let text = |n: u16| n.to_string().into_bytes();
    match kind % 4 {
        0 => vec![b"temperature".to_vec(), text(n)],
        1 => vec![b"temperature".to_vec(), vec![b'x'; n as usize % 300]],
        2 => vec![b"a".to_vec(), text(n), b"17".to_vec(), b"-9000000000".to_vec()],
        _ => vec![text(n), Vec::new()],
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_stream_is_an_ordered_map(
        most in prop_oneof![Just(0usize), Just(3), Just(100)],
        bytes in prop_oneof![Just(0usize), Just(200), Just(4096)],
        ops in prop::collection::vec((0u8..10, 0u16..40, any::<u16>()), 1..300),
    ) {
        let limits =
            Limits { stream_entries: most, stream_bytes: bytes, ..Limits::default() };
        let (mut stream, mut model) = (Stream::new(), Model::new());
        for (op, n, at) in ops {
            let known = model.keys().nth(at as usize % (model.len() + 1)).copied();
            match op {
                0..=5 => {
                    // A new millisecond begins at 0 again: below the numbers of the block's first.
                    let last = stream.last_id;
                    let id = if n % 3 == 0 { Id::new(last.ms + u64::from(at), 0) } else { last };
                    let id = if id > last { id } else { Id::new(last.ms, last.seq + 1) };
                    let items = items(op, n);
                    add(&mut stream, id, &items, &limits);
                    model.insert(id, items);
                }
                6 | 7 => {
                    let id = known.unwrap_or(Id::new(1, 1));
                    prop_assert_eq!(stream.delete(id), model.remove(&id).is_some());
                }
                8 => {
                    let keep = model.len().saturating_sub(n as usize % 5);
                    let removed = stream.trim(Trim::Len(keep as u64), false, 0);
                    prop_assert_eq!(removed as usize, model.len() - keep);
                    while model.len() > keep { model.pop_first(); }
                }
                _ => {
                    let from = known.unwrap_or(Id::MIN);
                    stream.trim(Trim::From(from), false, 0);
                    model = model.split_off(&from);
                }
            }
            prop_assert_eq!(stream.len() as usize, model.len());
            let first = model.keys().next().copied().unwrap_or(Id::MIN);
            prop_assert_eq!(stream.first_id(), first);
            let last = model.keys().next_back().copied().unwrap_or(Id::MIN);
            prop_assert_eq!(stream.last_entry_id(), last);
        }
        let all: Vec<_> = model.clone().into_iter().collect();
        prop_assert_eq!(contents(stream.range(Id::MIN, Id::MAX)), all.clone());
        let mut back = contents(stream.range_back(Id::MIN, Id::MAX));
        back.reverse();
        prop_assert_eq!(back, all.clone());
        for (from, _) in all.iter().step_by(7) {
            for (to, _) in all.iter().step_by(5).filter(|(to, _)| to >= from) {
                let want: Vec<_> =
                    model.range(*from..=*to).map(|(id, v)| (*id, v.clone())).collect();
                prop_assert_eq!(contents(stream.range(*from, *to)), want.clone());
                prop_assert_eq!(contents(stream.range_back(*from, *to)).len(), want.len());
            }
        }
    }

    #[test]
    fn what_is_written_is_read_back(
        ops in prop::collection::vec((0u8..4, any::<u16>(), 0u8..4), 1..250),
    ) {
        let limits = Limits { stream_entries: 7, ..Limits::default() };
        let mut stream = Stream::new();
        let mut group = Group::new(Id::new(3, 0), 2);
        for (kind, n, what) in ops {
            let id = Id::new(stream.last_id.ms + u64::from(n % 3), stream.last_id.seq + 1);
            add(&mut stream, id, &items(kind, n), &limits);
            let names: [&[u8]; 4] = [b"alice", b"bob", b"", b"carol"];
            let name = names[what as usize];
            let consumer = group.find(name).or_else(|| group.create(name, i64::from(n)));
            match what {
                0 => drop(stream.delete(id)),
                1 => drop(group.deliver(id, consumer.expect("made above"), 5)),
                _ => {}
            }
        }
        stream.groups.insert(Box::from(*b"g"), group);
        let bytes = crate::persistence::rdb::dump::dump(crate::store::ValueRef::Stream(&stream));
        let again = crate::persistence::rdb::dump::restore(&bytes, limits, usize::MAX).expect("it is whole");
        let Some(crate::store::Value::Stream(again)) = again else { panic!("another type") };
        prop_assert_eq!(
            contents(again.range(Id::MIN, Id::MAX)),
            contents(stream.range(Id::MIN, Id::MAX))
        );
        prop_assert_eq!(
            (again.last_id, again.first_id(), again.max_deleted, again.added, again.len()),
            (stream.last_id, stream.first_id(), stream.max_deleted, stream.added, stream.len())
        );
        let second = crate::persistence::rdb::dump::dump(crate::store::ValueRef::Stream(&again));
        let third = crate::persistence::rdb::dump::restore(&second, limits, usize::MAX).expect("it is whole");
        let Some(crate::store::Value::Stream(third)) = third else { panic!("another type") };
        prop_assert_eq!(third.groups.len(), 1);
        let facts = |stream: &Stream| format!("{:?}", stream.groups);
        prop_assert_eq!(facts(&third), facts(&again));
    }
}

#[test]
fn nodes_of_a_radix_tree() {
    let check = |ids: &[(u64, u64)], nodes: usize| {
        let keys = ids.iter().map(|(ms, seq)| Id::new(*ms, *seq).to_bytes());
        assert_eq!(radix_nodes(keys), nodes, "{ids:?}");
    };
    check(&[], 1);
    check(&[(1, 1)], 2);
    // They part in the last byte: the run before it, the place, two ends.
    check(&[(1, 1), (1, 2)], 4);
    check(&[(1, 1), (1, 2), (1, 3)], 5);
    // They part in the first byte: the place, two runs, two ends.
    check(&[(0, 0), (1 << 56, 0)], 5);
    check(&[(1, 0), (1, 256)], 6);
}

#[test]
fn ids_as_text_and_their_neighbours() {
    let text = |id: Id| String::from_utf8(id.text(&mut [0; 41]).to_vec()).expect("digits");
    assert_eq!(text(Id::MIN), "0-0");
    assert_eq!(text(Id::MAX), "18446744073709551615-18446744073709551615");
    assert_eq!(Id::new(5, u64::MAX).next(), Some(Id::new(6, 0)));
    assert_eq!(Id::MAX.next(), None);
    assert_eq!(Id::new(5, 0).previous(), Some(Id::new(4, u64::MAX)));
    assert_eq!(Id::MIN.previous(), None);
    assert_eq!(Id::from_bytes(Id::new(7, 9).to_bytes()), Id::new(7, 9));
}
