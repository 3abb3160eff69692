//! Payloads that contradict themselves, as attackers and broken disks make them.

use super::*;
use crate::persistence::rdb::dump;
use crate::store::{Limits, Trim, ValueRef};

/// A stream of several blocks with a group.
fn sample() -> Stream {
    let limits = Limits { stream_entries: 4, ..Limits::default() };
    let mut stream = Stream::new();
    let pair = |field: &'static str, value: &'static str| [field.as_bytes(), value.as_bytes()];
    for i in 1..10 {
        let items = if i % 3 == 0 { pair("other", "17") } else { pair("field", "text") };
        stream.append(Id::new(i, i % 2), 1, |at| items[at], &limits);
    }
    stream.delete(Id::new(2, 0));
    let mut group = Group::new(Id::new(3, 1), 3);
    let alice = group.create(b"alice", 5).expect("there is no other");
    group.deliver(Id::new(1, 1), alice, 1000);
    group.deliver(Id::new(3, 1), alice, 1000);
    stream.groups.insert(Box::from(*b"g"), group);
    stream
}

fn restored(payload: &[u8]) -> Result<Option<Value>, RdbError> {
    dump::restore(payload, Limits::default(), usize::MAX)
}

/// Uses a stream in every way: nothing in it may make a command stop the server.
fn exercise(mut stream: Stream) {
    let all = (Id::MIN, Id::MAX);
    let forward = stream.range(all.0, all.1).map(|entry| entry.id()).collect::<Vec<_>>();
    let mut back = stream.range_back(all.0, all.1).map(|entry| entry.id()).collect::<Vec<_>>();
    back.reverse();
    assert_eq!(forward, back);
    assert_eq!(forward.len() as u64, stream.len());
    for group in stream.groups.values() {
        stream.lag(group);
        for consumer in group.consumers() {
            assert!(consumer.pending.iter().all(|id| group.pending().contains_key(id)));
        }
    }
    stream.radix_nodes();
    for entry in stream.range(all.0, all.1) {
        entry.each(|item| drop(format!("{item:?}")));
    }
    for id in forward.iter().step_by(2) {
        assert!(stream.delete(*id));
    }
    if let Some(id) = stream.last_id.next() {
        stream.append(id, 1, |_| b"new".as_slice(), &Limits::default());
    }
    stream.trim(Trim::Len(1), false, 0);
    stream.trim(Trim::From(Id::MAX), false, 0);
}

/// CVE-2026-25243 and CVE-2026-63639 are of the class of payloads for RESTORE that were believed.
#[test]
fn cve_2026_25243_and_2026_63639_no_payload_makes_a_stream_that_cannot_be() {
    let payload = dump::dump(ValueRef::Stream(&sample()));
    assert!(restored(&payload).is_ok());
    let end = payload.len() - 10;
    let (mut refused, mut taken) = (0, 0);
    for at in 1..end {
        for value in [0, 1, 0x7f, 0x80, 0xff, payload[at] ^ 1, payload[at].wrapping_add(1)] {
            let mut changed = payload.clone();
            changed[at] = value;
            match restored(&changed) {
                Ok(Some(Value::Stream(stream))) => {
                    taken += 1;
                    exercise(*stream);
                }
                Ok(_) => panic!("another type"),
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100 && taken > 100, "{refused} refused, {taken} taken");
}

#[test]
fn cut_payloads_are_refused() {
    let payload = dump::dump(ValueRef::Stream(&sample()));
    let (body, tail) = payload.split_at(payload.len() - 10);
    for end in 1..body.len() {
        assert!(restored(&[&body[..end], tail].concat()).is_err(), "cut at {end}");
    }
}

/// The one block of a stream as a listpack, from its items.
fn listpack(items: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; 6];
    for item in items {
        out.extend_from_slice(item);
        out.push(item.len() as u8);
    }
    out.push(0xff);
    let total = (out.len() as u32).to_le_bytes();
    out[..4].copy_from_slice(&total);
    out[4..6].copy_from_slice(&[0xff, 0xff]);
    out
}

/// The payload of a stream with this block, so many entries and this last id.
fn payload(block: &[u8], len: u8, last_ms: u8) -> Vec<u8> {
    let mut out = vec![TYPE, 1];
    string(&mut out, &Id::new(1, 1).to_bytes());
    string(&mut out, block);
    // Length, last id, first id, greatest deleted id, entries added, groups.
    out.extend([len, last_ms, 9, 0, 0, 0, 0, len, 0]);
    out.extend([0; 10]);
    out
}

#[test]
fn blocks_that_contradict_themselves() {
    const NEGATIVE: &[u8] = &[0xdf, 0xff];
    const HUGE: &[u8] = &[0xf4, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    const TEXT: &[u8] = &[0x81, b'a'];
    let sound: &[&[u8]] = &[&[1], &[0], &[1], TEXT, &[0], &[2], &[0], &[0], TEXT, &[4]];
    let check = |what: &str, at: usize, item: Option<&[u8]>| {
        let mut items = sound.to_vec();
        match item {
            Some(item) => items[at] = item,
            None => drop(items.remove(at)),
        }
        assert!(restored(&payload(&listpack(&items), 1, 5)).is_err(), "{what}");
    };
    assert!(restored(&payload(&listpack(sound), 1, 5)).is_ok());
    assert!(restored(&payload(&listpack(sound), 2, 5)).is_err(), "another length");
    assert!(restored(&payload(&listpack(sound), 1, 0)).is_err(), "a last id before the entries");
    assert!(restored(&payload(&listpack(&[]), 0, 5)).is_err(), "no items at all");
    check("more entries than there are", 0, Some(&[2]));
    check("deleted entries that are not there", 1, Some(&[1]));
    check("a negative number of entries", 0, Some(NEGATIVE));
    check("a number of fields that nothing can hold", 2, Some(HUGE));
    check("a negative number of fields", 2, Some(NEGATIVE));
    check("text for a number", 2, Some(TEXT));
    check("no end to the fields", 4, Some(&[3]));
    check("unknown flags", 5, Some(&[4]));
    check("text for flags", 5, Some(TEXT));
    check("text for an id", 6, Some(TEXT));
    check("an id below the block's", 7, Some(NEGATIVE));
    check("another number of items", 9, Some(&[5]));
    check("no value", 8, None);
    check("an entry with a number of fields that overflows", 5, Some(&[0]));
}
