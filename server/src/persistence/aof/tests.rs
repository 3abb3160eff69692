//! Manifests, torn tails, annotations and where a file says that its data stand.

use super::{AofError, Entry, Manifest, ManifestError, Point, frame_head, point_line, read};
use crate::replication::{History, ReplId};
use crate::resp::encode_command;

fn command(words: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_command(&mut out, words.iter().map(|word| word.as_bytes()));
    out
}

fn point(offset: u64) -> Point {
    let mut history = History::new(ReplId::from_random([1; 20]));
    history.shift(ReplId::from_random([2; 20]), 90);
    Point { history, offset, db: 3, epoch: Some("4.1".into()) }
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    [frame_head(bytes.len() as u64).as_bytes(), bytes].concat()
}

#[test]
fn manifests_are_read_as_stock_servers_write_them() {
    let text = b"file appendonly.aof.2.base.rdb seq 2 type b\n\
                 file appendonly.aof.1.incr.aof seq 1 type h\n# a comment\n\
                 file \"with space.aof\" seq 3 type i startoffset 7\n";
    let manifest = Manifest::parse(text).expect("valid");
    let entry = |name: &str, seq| Entry { name: name.into(), seq };
    assert_eq!(manifest.base, Some(entry("appendonly.aof.2.base.rdb", 2)));
    assert_eq!(manifest.history, [entry("appendonly.aof.1.incr.aof", 1)]);
    assert_eq!(manifest.incr, [entry("with space.aof", 3)]);
    assert_eq!(Manifest::parse(manifest.print().as_bytes()), Ok(manifest.clone()));
    // A name with line ends and quotes must not break the lines of the manifest.
    let odd = Manifest { base: Some(entry(" a\n\"b\\\u{e9}\r\t", 1)), ..Manifest::default() };
    assert_eq!(odd.print().lines().count(), 1);
    assert_eq!(Manifest::parse(odd.print().as_bytes()), Ok(odd));
    let base = manifest.next_base("a", true);
    let first = manifest.next_incr("a");
    assert_eq!((base.name.as_str(), first.name.as_str()), ("a.3.base.rdb", "a.4.incr.aof"));
    let mut grown = manifest.clone();
    grown.incr.push(first.clone());
    let (rebased, gone) = grown.rebased(base.clone(), &first);
    assert_eq!((rebased.base, rebased.incr), (Some(base), vec![first]));
    assert_eq!(gone.len(), 3, "{gone:?}");
}

#[test]
fn a_manifest_that_cannot_be_trusted_is_refused_with_its_line() {
    let file = |rest: &str| format!("file a seq 1 type b\nfile {rest}\n");
    let cases = [
        (String::new(), ManifestError::Empty),
        ("# only\n".into(), ManifestError::Empty),
        (file("b seq 2"), ManifestError::Format(2)),
        (file("b seq x type i"), ManifestError::Format(2)),
        (file("b seq 2 type i extra"), ManifestError::Format(2)),
        (file("../b seq 2 type i"), ManifestError::Path(2)),
        (file("b seq 2 type q"), ManifestError::Kind(2)),
        (file("b seq 2 type b"), ManifestError::Bases(2)),
        (file("b seq 2 type i\nfile c seq 2 type i"), ManifestError::Order(3)),
        (file("b seq 2 type i\n\n"), ManifestError::Format(3)),
        (file(&"b".repeat(2000)), ManifestError::Long(2)),
    ];
    for (text, error) in cases {
        assert_eq!(Manifest::parse(text.as_bytes()), Err(error), "{text:?}");
    }
}

/// A file as this server writes it, with the offsets behind its whole units.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let mut file = point_line(&point(100));
    let mut ends = vec![0, file.len()];
    let mut add = |part: &[u8], file: &mut Vec<u8>| {
        file.extend_from_slice(part);
        ends.push(file.len());
    };
    add(&command(&["SELECT", "3"]), &mut file);
    let set = command(&["SET", "k", "v\r\n*1"]);
    add(frame_head(set.len() as u64).as_bytes(), &mut file);
    add(&set, &mut file);
    let multi = [command(&["MULTI"]), set.clone(), set.clone(), command(&["EXEC"])].concat();
    add(b"#TS:1628217470\r\n", &mut file);
    let ping = command(&["PING", "redisha:start:5.0:abc"]);
    add(frame_head((multi.len() + ping.len()) as u64).as_bytes(), &mut file);
    add(&multi, &mut file);
    add(&ping, &mut file);
    (file, ends)
}

/// A torn tail must be cut behind the last whole unit, wherever the power failed: half a
/// transaction that is executed, or a position that counts what is not there, is divergence.
#[test]
fn every_cut_of_a_file_ends_behind_its_last_whole_unit() {
    let (file, ends) = sample();
    let whole = read(&file).expect("valid");
    assert!(!whole.torn && whole.valid_bytes == file.len() as u64);
    assert_eq!(whole.commands, 5);
    let end = whole.point.expect("all of it is framed");
    assert_eq!(end.epoch.as_deref(), Some("5.0"), "the start record's");
    assert_eq!((end.db, end.history), (3, point(0).history));
    for cut in 0..file.len() {
        let got = read(&file[..cut]).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
        let last = *ends.iter().rfind(|end| **end <= cut).expect("0 is one");
        assert_eq!(got.valid_bytes, last as u64, "cut at {cut}");
        assert_eq!(got.torn, last != cut, "cut at {cut}");
        // What is kept of it stands where a file says that was written up to there.
        let again = read(&file[..last]).expect("valid");
        assert_eq!(again.point, got.point, "cut at {cut}");
        let framed = got.point.map_or(0, |point| point.offset);
        assert!(framed <= end.offset && (framed >= 100 || last < ends[1]), "cut at {cut}");
    }
}

/// A damaged length or EXEC made all behind it look like a torn tail, which was cut off: commands that
/// were answered, with one line in the log.
#[test]
fn no_damaged_length_is_taken_for_a_torn_tail() {
    let (file, ends) = sample();
    let mut lengths = 0;
    for at in ends[2]..file.len() - 1 {
        if !file[at - 1..].starts_with(b"$") && !file[at - 1..].starts_with(b"*") {
            continue;
        }
        lengths += 1;
        let others = (b'0'..=b'9').filter(|digit| *digit != file[at]).map(|digit| vec![digit]);
        let longer =
            ["10", "200", "50000000", "900000000"].map(|digits| digits.as_bytes().to_vec());
        for digits in others.chain(longer) {
            let bad = [&file[..at], &digits, &file[at + 1..]].concat();
            let torn = read(&bad).is_ok_and(|summary| summary.torn);
            assert!(!torn, "{} at {at}", digits.escape_ascii());
        }
    }
    assert!(lengths > 20, "{lengths}");
    let exec = file.windows(4).position(|word| word == b"EXEC").expect("it is there");
    let mut bad = file.clone();
    bad[exec] = b'F';
    let begin = ends[ends.len() - 3] as u64;
    let error = read(&bad).expect_err("the transaction has no end");
    assert!(matches!(error, AofError::Format { offset, .. } if offset == begin), "{error}");
    // Without frames nobody can tell.
    let stock = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\nv\r\n";
    assert!(read(stock).expect("valid").torn);
}

#[test]
fn corruption_is_refused_with_its_offset() {
    let (file, ends) = sample();
    for at in &ends[..ends.len() - 1] {
        let mut bad = file.clone();
        bad[*at] = b'?';
        let error = read(&bad).expect_err("a unit begins here");
        assert!(matches!(error, AofError::Format { offset, .. } if offset == *at as u64), "{at}");
    }
    let nested = [command(&["MULTI"]), command(&["MULTI"])].concat();
    assert!(read(&nested).is_err());
    assert!(read(&[b"#".as_slice(), &[b'x'; 2000]].concat()).is_err(), "an endless annotation");
    assert!(read(b"*0\r\n").is_err() && read(b"PING\r\n").is_err());
}

/// A stock server that goes on with our files counts nothing: its commands are not of our stream.
#[test]
fn a_position_is_forgotten_when_others_have_written() {
    let set = command(&["SET", "k", "v"]);
    let select = command(&["SELECT", "0"]);
    let ours = [point_line(&point(100)), select.clone(), framed(&set)].concat();
    let offset = |file: &[u8]| read(file).expect("valid").point.map(|point| point.offset);
    assert_eq!(offset(&ours), Some(100 + set.len() as u64));
    let others = [ours.clone(), select.clone(), set.clone()].concat();
    assert_eq!(offset(&others), None);
    let later = [others, point_line(&point(500)), framed(&set)].concat();
    assert_eq!(offset(&later), Some(500 + set.len() as u64), "known again from there on");
    assert_eq!(offset(&[select, set.clone()].concat()), None);
    let longer = [ours.clone(), frame_head(3).into_bytes(), set.clone()].concat();
    assert_eq!(offset(&longer), None, "a command beyond its frame");
    let early = [ours, frame_head(900).into_bytes(), set, frame_head(1).into_bytes()].concat();
    assert_eq!(offset(&early), None, "a frame inside a frame");
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(
        mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        at in 0_usize..400,
        byte: u8,
    ) {
        let _ = read(&bytes);
        bytes = sample().0;
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = read(&bytes);
        let _ = Manifest::parse(&bytes);
    }
}
