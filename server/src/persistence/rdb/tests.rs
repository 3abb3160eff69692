//! Round trips, foreign encodings put together by hand, and bytes that are wrong.

use super::{Aux, Form, Item, RdbError, Reader, Sealer, Writer, dump};
use crate::persistence::load::{Data, DataLoader, Template};
use crate::store::{Hash, Limits, List, Set, Str, Value, ZSet};

/// A generator of bytes that depend on the seed alone.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    fn bytes(&mut self, len: u64) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

fn value(random: &mut Random, size: u64) -> Value {
    let limits = Limits::default();
    match random.below(6) {
        0 => {
            let len = random.below(20_000);
            Value::Str(Str::new(&random.bytes(len)))
        }
        1 => Value::Str(Str::Int((random.next() as i64) << random.below(33))),
        2 => {
            let mut list = List::new();
            (0..size).for_each(|_| list.push_back(&random.bytes(3), &limits));
            list.into()
        }
        3 => {
            let mut set = Set::new();
            for i in 0..size {
                set.add(
                    if size.is_multiple_of(2) { i.to_string() } else { format!("m{i}") }.as_bytes(),
                    &limits,
                );
            }
            set.into()
        }
        4 => {
            let mut hash = Hash::new();
            for i in 0..size {
                hash.set(&i.to_le_bytes(), &random.bytes(9), &limits);
            }
            hash.into()
        }
        _ => {
            let mut zset = ZSet::new();
            let scores = [f64::INFINITY, -0.5, 1e300, f64::NEG_INFINITY, 3.0];
            for i in 0..size {
                zset.set(&i.to_be_bytes(), scores[i as usize % 5], &limits);
            }
            zset.into()
        }
    }
}

fn load(bytes: &[u8], piece: usize) -> Result<Option<Data>, RdbError> {
    let mut loader = DataLoader::new(Template::default());
    for part in bytes.chunks(piece) {
        if loader.feed(part)? {
            return Ok(Some(loader.finish()));
        }
    }
    Ok(None)
}

/// Database, key, canonical value, expiry.
type Want = (u32, Vec<u8>, Vec<u8>, Option<i64>);

/// A file of every type, some with expiry times, in two databases.
fn sample(seed: u64) -> (Vec<u8>, Vec<Want>) {
    let mut random = Random(seed);
    let mut writer = Writer::new(&Aux {
        hash_seed: Some("00112233445566778899aabbccddeeff".into()),
        replication: Some(("ab".repeat(20), 12345, 1)),
        epoch: Some("4.2".into()),
        clock_ms: Some(1_700_000_000_123),
        ..Aux::default()
    });
    let mut sealer = Sealer::new(Form { compress: seed.is_multiple_of(2), ..Form::default() });
    let mut want = Vec::new();
    let mut out = Vec::new();
    for i in 0..60u64 {
        let size = [1, 5, 100, 700][random.below(4) as usize];
        let value = value(&mut random, size);
        let db = u32::from(i % 3 == 0);
        let expiry = (i % 4 == 0).then_some(1_900_000_000_000 + i as i64);
        let key = format!("key:{i}").into_bytes();
        writer.entry(db, &key, value.view(), expiry);
        want.push((db, key, canonical(&value), expiry));
        if i % 7 == 0 {
            out.extend(sealer.seal(writer.take()));
        }
    }
    writer.finish();
    out.extend(sealer.seal(writer.take()));
    (out, want)
}

/// Bytes that are equal for equal values, however a collection without order lies in memory.
fn canonical(value: &Value) -> Vec<u8> {
    let mut parts: Vec<Vec<u8>> = Vec::new();
    match value {
        Value::Stream(_) => unreachable!("streams have tests of their own"),
        Value::Str(s) => parts.push(s.view().bytes(&mut Default::default()).to_vec()),
        Value::List(list) => parts.extend(list.iter().map(<[u8]>::to_vec)),
        Value::Set(set) => set.each(|m| parts.push(m.to_vec())),
        Value::Hash(hash) => parts.extend(hash.iter().map(|(f, v)| [f, b"=", v].concat())),
        Value::ZSet(zset) => {
            parts.extend(zset.iter().map(|(m, s)| [m, &s.to_le_bytes()].concat()));
        }
    }
    if matches!(value, Value::Set(_) | Value::Hash(_)) {
        parts.sort();
    }
    format!("{} {parts:?}", value.view().type_name()).into_bytes()
}

#[test]
fn what_is_written_is_read_back_however_it_is_cut() {
    let (bytes, want) = sample(7);
    for piece in [1, 13, 4096, bytes.len()] {
        let data = load(&bytes, piece).expect("valid").expect("complete");
        assert_eq!(data.keyspace.len(), want.len(), "in pieces of {piece}");
        assert_eq!(data.keyspace.seed().to_string(), "00112233445566778899aabbccddeeff");
        assert_eq!(
            (data.repl_offset, data.stream_db, data.epoch.as_deref()),
            (Some(12345), 1, Some("4.2"))
        );
        assert_eq!(data.clock_ms, Some(1_700_000_000_123));
        for (db, key, value, expiry) in &want {
            let db = data.keyspace.db(*db as usize);
            let got = db.peek(key).expect("the key is there").to_owned();
            assert_eq!(&canonical(&got), value, "{}", key.escape_ascii());
            assert_eq!(db.expiry(key), *expiry);
        }
    }
}

#[test]
fn any_changed_byte_is_noticed() {
    let (bytes, _) = sample(8);
    let mut random = Random(99);
    for _ in 0..60 {
        let mut bad = bytes.clone();
        let at = random.below(bad.len() as u64) as usize;
        bad[at] ^= 1 << random.below(8);
        let sum_off = bad[bad.len() - 8..] == [0; 8];
        let whole = load(&bad, 1 << 20);
        assert!(sum_off || !matches!(whole, Ok(Some(_))), "a flipped bit at {at} went unseen");
    }
}

#[test]
fn no_bytes_make_the_reader_panic() {
    let (bytes, _) = sample(9);
    let mut random = Random(5);
    for round in 0..1500u64 {
        let from = random.below(bytes.len() as u64) as usize;
        let mut bad = bytes[from..].to_vec();
        bad.truncate(random.below(2000) as usize);
        for _ in 0..random.below(8) {
            if let Some(byte) = bad.len().checked_sub(1).map(|n| random.below(n as u64 + 1)) {
                bad[byte as usize] = random.next() as u8;
            }
        }
        let mut with_head = b"REDIS0011".to_vec();
        with_head.extend(&bad);
        let piece = 1 + random.below(300) as usize;
        drop(load(&with_head, piece));
        drop(load(&bad, piece));
        // As a RESTORE payload of each type, without the checksum's protection.
        let mut payload = vec![(round % 26) as u8];
        payload.extend(&bad);
        payload.extend([0; 10]);
        drop(dump::restore(&payload, Limits::default(), usize::MAX));
    }
}

#[test]
fn a_declared_length_allocates_nothing() {
    // A list of 2^60 elements, and a string of 2^40 bytes, of which none arrives.
    let list = [b"REDIS0011".as_slice(), &[1, 1, b'k', 0x81, 0x10, 0, 0, 0, 0, 0, 0, 0]].concat();
    let string = [b"REDIS0011".as_slice(), &[0, 1, b'k', 0x81, 0, 0, 1, 0, 0, 0, 0, 0]].concat();
    let packed =
        [b"REDIS0011".as_slice(), &[0, 1, b'k', 0xc3, 2, 0x81, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0, b'x']];
    assert!(matches!(load(&list, 100), Ok(None)));
    assert!(matches!(load(&string, 100), Ok(None)));
    assert!(load(&packed.concat(), 100).is_err(), "one byte is not 2^62");
}

fn refusal(body: &[u8]) -> String {
    load(body, 1000).expect_err("refused").to_string()
}

#[test]
fn what_this_server_does_not_have_is_refused_by_name() {
    let with = |magic: &str, body: &[u8]| refusal(&[magic.as_bytes(), body].concat());
    assert!(with("REDIS0011", &[24, 1, b'k']).contains("unknown type 24"));
    assert!(with("VALKEY080", &[25, 1, b'k']).contains("unknown type 25"));
    assert!(with("REDIS0011", &[7, 1, b'k']).contains("a module"));
    assert!(with("REDIS0011", &[0xf6, 1, b'k']).contains("a function library"));
    assert!(with("REDIS0011", &[99, 1, b'k']).contains("unknown type 99"));
    assert!(with("REDIS0013", &[]).contains("13 under the REDIS magic"));
    assert!(with("VALKEY099", &[]).contains("99 under the VALKEY magic"));
    assert!(with("HELLO0011", &[]).contains("does not start with"));
}

#[test]
fn old_encodings_and_opcodes_are_understood() {
    let mut body = b"REDIS0009".to_vec();
    // Module data: id, when, then a string and the end; then slot info, idle, freq, expiry in s.
    body.extend([0xf7, 0x05, 2, 1, 5, 2, b'h', b'i', 0, 0xf4, 1, 1, 0, 0xf8, 9, 0xf9, 3]);
    body.extend([0xfd, 0, 0, 0, 0x70]);
    // A sorted set with its score in digits.
    body.extend([3, 1, b'z', 1, 1, b'm', 3, b'2', b'.', b'5']);
    // A hash as a zipmap, a set as an intset, a list as nodes, one of them plain.
    body.extend([9, 1, b'h', 9, 1, 1, b'k', 2, 1, b'v', b'w', 0, 0xff]);
    body.extend([11, 1, b's', 12, 2, 0, 0, 0, 2, 0, 0, 0, 0xfe, 0xff, 7, 0]);
    body.extend([18, 1, b'l', 2, 1, 1, b'A', 2, 10, 10, 0, 0, 0, 1, 0, 0x81, b'B', 2, 0xff]);
    body.extend([0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    let data = load(&body, 3).expect("valid").expect("complete");
    assert_eq!(data.skipped.len(), 1);
    assert!(data.skipped[0].contains("module"));
    let db = data.keyspace.db(0);
    let text = |key: &str| {
        let value = db.peek(key.as_bytes()).expect("there").to_owned();
        String::from_utf8(canonical(&value)).expect("text")
    };
    assert!(text("z").starts_with("zset"), "{}", text("z"));
    assert_eq!(db.expiry(b"z"), Some(0x7000_0000 * 1000));
    assert_eq!(text("l"), format!("list {:?}", [b"A", b"B"]));
    assert_eq!(text("s"), format!("set {:?}", [b"-2".to_vec(), b"7".to_vec()]));
    assert_eq!(text("h"), format!("hash {:?}", [b"k=vw"]));
}

#[test]
fn dump_and_restore_are_inverse_and_guarded() {
    let mut random = Random(3);
    for size in [1, 50, 600] {
        for _ in 0..12 {
            let value = value(&mut random, size);
            let payload = dump::dump(value.view());
            assert!(dump::verify(&payload, dump::Leniency::default()));
            let back = dump::restore(&payload, Limits::default(), usize::MAX)
                .expect("valid")
                .expect("not empty");
            assert_eq!(canonical(&back), canonical(&value));
            let mut bad = payload.clone();
            bad[0] ^= 0x40;
            assert!(!dump::verify(&bad, dump::Leniency::default()), "the checksum covers the type");
        }
    }
    assert!(!dump::verify(b"short", dump::Leniency::default()));
}

#[test]
fn an_end_without_its_checksum_is_not_the_end() {
    let (bytes, _) = sample(10);
    let mut reader = Reader::new(Limits::default());
    reader.feed(&bytes[..bytes.len() - 1]);
    while let Some(item) = reader.next_item().expect("valid so far") {
        assert!(!matches!(item, Item::End));
    }
    reader.feed(&bytes[bytes.len() - 1..]);
    reader.feed(b"after");
    assert!(matches!(reader.next_item(), Ok(Some(Item::End))));
    assert_eq!(reader.consumed(), bytes.len() as u64);
    assert_eq!(reader.into_rest(), b"after");
}

/// The bytes that these digits say.
fn hex(digits: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).expect("two digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

/// Hashes of Redis whose fields have expiry times were refused: a Redis from 7.4 on with one could
/// not be moved in. The first two are what DUMP of Redis 8.0.6 answered; the others are as the
/// candidates for 7.4 wrote them, without the least time and with each time written out.
#[test]
fn times_of_fields_are_read_as_redis_writes_them() {
    const LISTPACK: &str = "3030000000090081630203\
        01f400d8c32cbb03000009816202847465787405f47bd8c32cbb0300000981610201010001ff";
    const TABLE: &str = "03010163c003000161c001407c01620474657874";
    const ABSOLUTE: &str =
        "03 81000003bb2cc3d800 0163c003 00 0161c001 81000003bb2cc3d87b 0162 0474657874";
    let rest = "0c00264c4520d6f9ca01";
    let small = hex(&format!("197bd8c32cbb030000{LISTPACK}{rest}"));
    assert!(dump::verify(&small, dump::Leniency::default()));
    let large = hex(&format!("1800d8c32cbb030000{TABLE}0c003f17fddcbb0639ce"));
    assert!(dump::verify(&large, dump::Leniency::default()));
    let early = hex(&format!("17{LISTPACK}{rest}"));
    let early_large = hex(&format!("16{}{rest}", ABSOLUTE.replace(' ', "")));
    for payload in [small, large, early, early_large] {
        let read = |payload: &[u8]| dump::restore(payload, Limits::default(), usize::MAX);
        let Ok(Some(Value::Hash(hash))) = read(&payload) else {
            panic!("type {}: {:?}", payload[0], read(&payload))
        };
        let told = [b"a", b"b", b"c"].map(|field| (hash.get(field), hash.expiry(field)));
        assert_eq!(
            told,
            [
                (Some(b"1".as_slice()), Some(None)),
                (Some(b"text".as_slice()), Some(Some(4_102_444_800_123))),
                (Some(b"3".as_slice()), Some(Some(4_102_444_800_000))),
            ]
        );
        // In a file it may come in any pieces.
        let end = payload.len() - 10;
        let key = [b"REDIS0012".as_slice(), &[payload[0], 1, b'k']].concat();
        let file = [key.as_slice(), &payload[1..end], &[0xff, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
        for piece in [1, 7, 1000] {
            let data = load(&file, piece).expect("valid").expect("complete");
            let got = data.keyspace.db(0).peek(b"k").expect("there").to_owned();
            assert_eq!(canonical(&got), canonical(&Value::Hash(hash.clone())));
        }
        // The numbers are those of another version.
        let mut payload = payload;
        payload[end..end + 2].copy_from_slice(&super::VERSION.to_le_bytes());
        assert!(read(&payload).is_err());
    }
    for (what, wrong) in [
        ("a least time below zero", "18 00d8c32cbb0300ff 01 01 0161 0162"),
        ("a time beyond all", "18 ffffffffffffff7f 01 03 0161 0162"),
        ("a time that is text", "19 00d8c32cbb030000 10 1000000003 00 816102 816202 816302 ff"),
        ("a field without a time", "19 00d8c32cbb030000 0d 0d0000000200 816102 816202 ff"),
        ("a field twice", "18 00d8c32cbb030000 02 01 0161 0162 01 0161 0162"),
    ] {
        let payload = hex(&format!("{}0c000000000000000000", wrong.replace(' ', "")));
        let read = dump::restore(&payload, Limits::default(), usize::MAX);
        assert!(matches!(read, Err(RdbError::Corrupt(_))), "{what}: {read:?}");
    }
}

/// Times of fields survive a file and a payload, under Valkey's version only: elsewhere the type's
/// number means something else.
#[test]
fn times_of_fields_are_kept_in_valkeys_version() {
    let limits = crate::store::Limits::default();
    let mut hash = crate::store::Hash::new();
    for (field, at_ms) in [("a", Some(0)), ("b", Some(4_102_444_800_000)), ("c", None)] {
        hash.set(field.as_bytes(), b"1", &limits);
        hash.set_expiry(field.as_bytes(), at_ms, &limits);
    }
    let mut payload = super::dump::dump(crate::store::ValueRef::Hash(&hash));
    assert!(super::dump::verify(&payload, super::dump::Leniency::default()));
    let back =
        super::dump::restore(&payload, limits, usize::MAX).expect("valid").expect("not empty");
    let crate::store::Value::Hash(back) = back else { panic!("a hash") };
    for field in [b"a", b"b", b"c"] {
        assert_eq!(back.expiry(field), hash.expiry(field));
    }
    let end = payload.len() - 10;
    payload[end..end + 2].copy_from_slice(&super::VERSION.to_le_bytes());
    assert!(super::dump::restore(&payload, limits, usize::MAX).is_err());
    for (field_times, head) in [(false, "REDIS0011"), (true, "VALKEY080")] {
        let mut writer = Writer::new(&Aux { field_times, ..Aux::default() });
        let bytes = Sealer::new(Form::default()).seal(writer.take());
        assert!(bytes.starts_with(head.as_bytes()));
    }
}

/// What the stream held before the data's point is kept as far as it leads there, and if it is asked
/// for: a receiver of a full resync has no use for it.
#[test]
fn the_stream_before_the_data_leads_up_to_them_or_is_dropped() {
    let read = |parts: &[(u64, &[u8])], tail_bytes: u64| {
        let replication = Some(("ab".repeat(20), 100, 0));
        let mut writer = Writer::new(&Aux { replication, ..Aux::default() });
        for (at, bytes) in parts {
            writer.tail(*at, bytes);
        }
        writer.finish();
        let bytes = Sealer::new(Form::default()).seal(writer.take());
        let mut loader = DataLoader::new(Template { tail_bytes, ..Template::default() });
        assert!(loader.feed(&bytes).unwrap());
        let tail = loader.finish().take_tail();
        assert_eq!(tail.end(), 100);
        let mut text = Vec::new();
        tail.copy(tail.start(), usize::MAX, &mut text);
        String::from_utf8(text).unwrap()
    };
    let whole: [(u64, &[u8]); 2] = [(90, b"first"), (95, b"later")];
    assert_eq!(read(&whole, 1000), "firstlater");
    assert_eq!(read(&whole, 0), "");
    assert_eq!(read(&[(80, b"lost"), (95, b"later")], 1000), "later");
    assert_eq!(read(&[(90, b"first")], 1000), "", "it does not lead to the data");
    assert_eq!(read(&[(98, b"beyond")], 1000), "");
    assert_eq!(read(&[(u64::MAX, b"beyond")], 1000), "");
    assert_eq!(read(&[], 1000), "");
}
