//! Manifests, torn tails, annotations and where a file says that its data stand.

use super::{
    AofError, Draft, End, Entry, Manifest, ManifestError, Part, Point, Reader, Sums, Tracker,
    point_line, read, timestamp_line,
};
use crate::replication::{History, ReplId};
use crate::resp::{Args, encode_command};

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

/// A file as this server writes it.
#[derive(Default)]
struct File {
    bytes: Vec<u8>,
    sums: Sums,
}

impl File {
    fn part(mut self, part: Draft) -> Self {
        self.bytes.extend(self.sums.seal(part));
        self
    }

    /// Goes on at a point, as after a start.
    fn at(self, offset: u64) -> Self {
        let mut part = Draft::at(&point(offset));
        part.push(&command(&["SELECT", "3"]));
        self.part(part)
    }

    fn frame(self, bytes: &[u8]) -> Self {
        let mut part = Draft::default();
        part.frame(bytes.len() as u64, |out| out.extend_from_slice(bytes));
        self.part(part)
    }

    fn push(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self
    }
}

/// As former versions wrote the line of a point, and a frame.
fn former_line(offset: u64) -> Vec<u8> {
    let line = point_line(&point(offset));
    let told = line.windows(2).position(|two| two == b" =").expect("it has a sum");
    [&line[..told], b"\r\n"].concat()
}

fn former_frame(bytes: &[u8]) -> Vec<u8> {
    [format!("#+{}\r\n", bytes.len()).as_bytes(), bytes].concat()
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
    assert_eq!(odd.print().lines().count(), 2, "a file and the sum");
    assert_eq!(Manifest::parse(odd.print().as_bytes()), Ok(odd));
    let base = manifest.next_base("a", true);
    let first = manifest.next_incr("a");
    assert_eq!((base.name.as_str(), first.name.as_str()), ("a.3.base.rdb", "a.4.incr.aof"));
    let mut grown = manifest.clone();
    grown.incr.push(first.clone());
    let mut rebased = grown.rebased(base.clone(), &first);
    let read = Manifest::parse(rebased.print().as_bytes());
    assert_eq!(read.as_ref(), Ok(&rebased), "history stays until it is forgotten");
    let gone = rebased.forget_history();
    assert_eq!(rebased.history, []);
    assert_eq!((rebased.base, rebased.incr), (Some(base), vec![first]));
    assert_eq!(gone.len(), 3, "{gone:?}");
}

/// A damaged byte could make a comment of a file's line, and the data were loaded without that file.
#[test]
fn no_damaged_byte_of_a_manifest_leaves_a_file_out() {
    let entry = |name: &str, seq| Entry { name: name.into(), seq };
    let incr = vec![entry("a.1.incr.aof", 1), entry("a.2.incr.aof", 2)];
    let whole = Manifest { base: Some(entry("a.1.base.rdb", 1)), incr, history: Vec::new() };
    let text = whole.print().into_bytes();
    for at in 0..text.len() {
        for byte in (0..=255).filter(|byte| *byte != text[at]) {
            let mut bad = text.clone();
            bad[at] = byte;
            let got = Manifest::parse(&bad);
            assert!(got.is_err() || got == Ok(whole.clone()), "{byte} instead of byte {at}");
        }
    }
    let sum = text.iter().rposition(|byte| *byte == b'#').expect("it has one");
    assert_eq!(Manifest::parse(&text[..sum]), Ok(whole), "as stock servers write it");
    let edited = [b"# by hand\n", &text[..]].concat();
    assert_eq!(Manifest::parse(&edited), Err(ManifestError::Sum(5)));
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

/// What stands in the frames of both samples: a command; a transaction and a record.
fn frames() -> [Vec<u8>; 2] {
    let set = command(&["SET", "k", "v\r\n*1"]);
    let multi = [command(&["MULTI"]), set.clone(), set.clone(), command(&["EXEC"])].concat();
    [set, [multi, command(&["PING", "redisha:start:5.0:abc"])].concat()]
}

/// A file with the offsets behind what is kept or cut as a whole.
fn sample() -> (Vec<u8>, Vec<usize>) {
    let [first, second] = frames();
    let mut stamped = Draft::default();
    stamped.push(timestamp_line(1_628_217_470).as_bytes());
    stamped.frame(second.len() as u64, |out| out.extend_from_slice(&second));
    let file = File::default().at(100);
    let mut ends = vec![0, point_line(&point(100)).len(), file.bytes.len()];
    let file = file.frame(&first);
    ends.push(file.bytes.len());
    ends.push(file.bytes.len() + timestamp_line(1_628_217_470).len());
    let file = file.part(stamped).bytes;
    ends.push(file.len());
    (file, ends)
}

/// The same as former versions wrote it, which is cut behind whole commands.
fn former_sample() -> (Vec<u8>, Vec<usize>) {
    let [set, second] = frames();
    let (multi, ping) =
        second.split_at(second.len() - command(&["PING", "redisha:start:5.0:abc"]).len());
    let mut file = Vec::new();
    let mut ends = vec![0];
    let mut add = |part: &[u8]| {
        file.extend_from_slice(part);
        ends.push(file.len());
    };
    add(&former_line(100));
    add(&command(&["SELECT", "3"]));
    let head = |bytes: &[u8]| format!("#+{}\r\n", bytes.len());
    add(head(&set).as_bytes());
    add(&set);
    add(timestamp_line(1_628_217_470).as_bytes());
    add(head(&second).as_bytes());
    add(multi);
    add(ping);
    (file, ends)
}

/// A torn tail must be cut behind what is whole, wherever the power failed: half a transaction that
/// is executed, or a position that counts what is not there, is divergence.
#[test]
fn every_cut_of_a_file_ends_behind_its_last_whole_unit() {
    for (file, ends) in [sample(), former_sample()] {
        let whole = read(&file).expect("valid");
        assert!(whole.end == End::Whole && whole.valid_bytes == file.len() as u64);
        assert_eq!(whole.commands, 5);
        let end = whole.point.expect("all of it is framed");
        assert_eq!(end.epoch.as_deref(), Some("5.0"), "the start record's");
        assert_eq!((end.db, end.history), (3, point(0).history));
        for cut in 0..file.len() {
            let got = read(&file[..cut]).unwrap_or_else(|e| panic!("cut at {cut}: {e}"));
            let last = *ends.iter().rfind(|end| **end <= cut).expect("0 is one");
            assert_eq!(got.valid_bytes, last as u64, "cut at {cut}");
            assert_eq!(got.end, if last == cut { End::Whole } else { End::Torn }, "cut at {cut}");
            // What is kept of it stands where a file says that was written up to there.
            let again = read(&file[..last]).expect("valid");
            assert_eq!(again.point, got.point, "cut at {cut}");
            let framed = got.point.map_or(0, |point| point.offset);
            assert!(framed <= end.offset && (framed >= 100 || last < ends[1]), "cut at {cut}");
        }
    }
}

/// The commands that a start would execute of a file, how it ends and where it stands then.
type Loaded = (Vec<Vec<Vec<u8>>>, End, Option<Point>);

/// Reads a file as a start does, by so many bytes at a time.
fn loaded(bytes: &[u8], piece: usize) -> Result<Loaded, AofError> {
    let (mut reader, mut tracker) = (Reader::new(0), Tracker::default());
    let mut executed = Vec::new();
    let words = |args: Args<'_>| args.iter().map(<[u8]>::to_vec).collect();
    for piece in bytes.chunks(piece) {
        reader.feed(piece);
        while reader.next(|part| match part {
            Part::Note(note) => tracker.note(note),
            Part::One(args, length) => {
                executed.push(words(args));
                tracker.command(args, length);
            }
            Part::Transaction(queue, length) => {
                executed.extend(queue.iter().map(|args| words(args.args())));
                tracker.transaction(&queue, length);
            }
        })? {}
    }
    Ok((executed, reader.ended()?, tracker.point().cloned()))
}

/// Frames had no checksums: a damaged byte within a value was loaded, and nobody noticed; and one in
/// the line of a point made a position that the data do not stand at.
#[test]
fn whatever_byte_is_damaged_nothing_else_is_loaded() {
    let (file, ends) = sample();
    let whole = loaded(&file, file.len()).expect("valid");
    let points: Vec<_> =
        ends.iter().filter_map(|end| loaded(&file[..*end], 7).expect("valid").2).collect();
    assert_eq!(whole, loaded(&file, 7).expect("valid"));
    for at in 0..file.len() {
        for byte in (0..=255).filter(|byte| *byte != file[at]) {
            let mut bad = file.clone();
            bad[at] = byte;
            let who = || format!("{} instead of byte {at}", byte.escape_ascii());
            let got = loaded(&bad, bad.len());
            // In pieces, the end of one is not taken for the end of the file.
            assert_eq!(got.is_err(), loaded(&bad, 7).is_err(), "{}", who());
            let Ok((executed, end, point)) = got else { continue };
            assert!(at >= ends[3], "{}: of a frame that is not the last one", who());
            assert!(whole.0.starts_with(&executed), "{}: {executed:?}", who());
            assert!(point.is_none_or(|point| points.contains(&point)), "{}", who());
            // All of it or nothing of the last frame.
            let all = executed.len() == whole.0.len();
            assert!(all || executed.len() == 2, "{}: {executed:?}", who());
            assert!(all || matches!(end, End::Damaged(_)), "{}: {end:?}", who());
        }
    }
}

/// Each sum proves all before it: no frame is missing, twice there or in another place.
#[test]
fn frames_stand_where_they_were_written() {
    let (file, ends) = sample();
    let second = &file[ends[3]..];
    for (what, bad) in [
        ("one is missing", [&file[..ends[2]], second].concat()),
        ("one is twice there", [&file[..ends[3]], &file[ends[2]..]].concat()),
        ("they are exchanged", [&file[..ends[2]], second, &file[ends[2]..ends[3]]].concat()),
    ] {
        let bad = [&bad[..], &command(&["PING"])].concat();
        let error = read(&bad).expect_err(what);
        assert!(matches!(error, AofError::Sum { .. }), "{what}: {error}");
    }
}

/// A damaged length or EXEC made all behind it look like a torn tail, which was cut off: commands that
/// were answered, with one line in the log.
#[test]
fn no_damaged_length_is_taken_for_a_torn_tail() {
    for (file, ends) in [former_sample(), sample()] {
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
                let torn = read(&bad).is_ok_and(|summary| summary.end == End::Torn);
                assert!(!torn, "{} at {at}", digits.escape_ascii());
            }
        }
        assert!(lengths > 20, "{lengths}");
    }
    let (file, ends) = former_sample();
    let exec = file.windows(4).position(|word| word == b"EXEC").expect("it is there");
    let mut bad = file.clone();
    bad[exec] = b'F';
    let begin = ends[ends.len() - 3] as u64;
    let error = read(&bad).expect_err("the transaction has no end");
    assert!(matches!(error, AofError::Format { offset, .. } if offset == begin), "{error}");
    // Without frames nobody can tell.
    let stock = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$9\r\nv\r\n";
    assert_eq!(read(stock).expect("valid").end, End::Torn);
}

#[test]
fn corruption_is_refused_with_its_offset() {
    let (file, ends) = former_sample();
    for at in &ends[..ends.len() - 1] {
        let mut bad = file.clone();
        bad[*at] = b'?';
        let error = read(&bad).expect_err("a unit begins here");
        assert!(matches!(error, AofError::Format { offset, .. } if offset == *at as u64), "{at}");
    }
    let (file, ends) = sample();
    let mut bad = file.clone();
    bad[ends[3] - 4] ^= 1;
    let error = read(&bad).expect_err("it is not the last frame");
    assert!(matches!(error, AofError::Sum { offset, .. } if offset == ends[2] as u64), "{error}");
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
    let ours = || File::default().at(100).frame(&set);
    let offset = |file: &[u8]| read(file).expect("valid").point.map(|point| point.offset);
    assert_eq!(offset(&ours().bytes), Some(100 + set.len() as u64));
    let others = || ours().push(&select).push(&set);
    assert_eq!(offset(&others().bytes), None);
    let later = others().at(500).frame(&set);
    assert_eq!(offset(&later.bytes), Some(500 + set.len() as u64), "known again from there on");
    assert_eq!(offset(&[&select[..], &set].concat()), None);
    assert_eq!(offset(&ours().push(b"# a line of another's\r\n").bytes), None);
    // Frames of former versions.
    let ours = [former_line(100), select, former_frame(&set)].concat();
    assert_eq!(offset(&ours), Some(100 + set.len() as u64));
    let longer = [&ours[..], b"#+3\r\n", &set].concat();
    assert_eq!(offset(&longer), None, "a command beyond its frame");
    let early = [&ours[..], b"#+900\r\n", &set, b"#+1\r\n"].concat();
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
