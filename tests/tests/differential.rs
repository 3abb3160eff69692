//! RedisHA's server beside Valkey: the same commands, equal replies, in both dialects.
//!
//! `REDISHA_VALKEY` names the `valkey-server`; without it the tests skip, aloud, but with `CI` set
//! they fail. The lists in `differential/*.txt` hold commands line by line (`#` begins a comment, quotes
//! hold spaces); the random sequences are made from a seed that a failure prints.

#[path = "differential/blocking.rs"]
mod blocking;
#[path = "differential/pair.rs"]
mod pair;
#[path = "differential/random.rs"]
mod random;

use pair::Pair;
use tests::script::words;

/// Runs every line of a list on both servers.
fn list(name: &str, text: &str) {
    let Some(mut pair) = Pair::start() else { return };
    for dialect in ["2", "3"] {
        pair.both(&["HELLO", dialect], |_, _| {});
        pair.check(&["FLUSHALL"]);
        for line in text.lines() {
            let words = words(line);
            if !words.is_empty() {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                pair.check(&words);
            }
        }
        pair.check_contents(name);
    }
    pair.settle();
}

#[test]
fn strings() {
    list("strings", include_str!("differential/strings.txt"));
}

#[test]
fn bitmaps() {
    list("bitmaps", include_str!("differential/bitmaps.txt"));
}

#[test]
fn hashes() {
    list("hashes", include_str!("differential/hashes.txt"));
}

#[test]
fn places() {
    list("places", include_str!("differential/places.txt"));
}

#[test]
fn hyperloglogs() {
    list("hyperloglogs", include_str!("differential/hyperloglogs.txt"));
}

#[test]
fn sorting() {
    list("sorting", include_str!("differential/sorting.txt"));
}

#[test]
fn field_expiry() {
    list("field expiry", include_str!("differential/field_expiry.txt"));
}

#[test]
fn lists() {
    list("lists", include_str!("differential/lists.txt"));
}

#[test]
fn sets() {
    list("sets", include_str!("differential/sets.txt"));
}

#[test]
fn sorted_sets() {
    list("sorted sets", include_str!("differential/zsets.txt"));
}

#[test]
fn streams() {
    list("streams", include_str!("differential/streams.txt"));
}

/// The digest of data was another than Valkey's, so that what compares the two saw a difference.
#[test]
fn digests() {
    list("digests", include_str!("differential/digests.txt"));
}

#[test]
fn clients_that_wait() {
    blocking::run(include_str!("differential/blocking.txt"));
}

#[test]
fn random_sequences() {
    let Some(mut pair) = Pair::start() else { return };
    for family in random::FAMILIES {
        for seed in 1..=8 {
            pair.both(&["HELLO", if seed % 2 == 0 { "2" } else { "3" }], |_, _| {});
            pair.check(&["FLUSHALL"]);
            pair.label = format!("{} seed {seed}", family.name);
            let mut commands = random::Commands::new(family, seed);
            for _ in 0..30 {
                let batch: Vec<Vec<String>> = (0..100).map(|_| commands.next()).collect();
                pair.check_batch(&batch);
            }
            pair.check_contents(family.name);
        }
    }
}
