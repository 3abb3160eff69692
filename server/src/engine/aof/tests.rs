//! What counts as durable.

use std::fs;
use std::time::{Duration, Instant};

use super::super::testing::Bench;
use super::State;
use crate::disk::testing::Folder;
use crate::resp::{encode_command, errors};

fn until(bench: &mut Bench, what: &str, done: impl Fn(&mut Bench) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !done(bench) {
        assert!(Instant::now() < deadline, "{what}");
        bench.pass_ms(1);
        std::thread::yield_now();
    }
}

/// An engine whose append-only files are to be in a folder of the test's own.
fn bench_in(name: &str) -> (Folder, Bench) {
    let folder = Folder::new(&format!("aof-{name}"));
    let mut bench = Bench::new(&[("appendfsync", "always")]);
    let engine = &mut bench.engine;
    engine.config.appenddirname = folder.path().into();
    engine.rooms.aof.open = Some(crate::disk::aof::open);
    engine.rooms.aof.find = Some(crate::disk::find_manifest);
    engine.rooms.replication.saves.open = Some(crate::disk::open);
    (folder, bench)
}

/// A client in `WAITAOF 1 0 0` waited for ever once `appendonly` was turned off.
#[test]
fn who_waits_for_the_disk_hears_that_nothing_is_written_any_more() {
    let (_folder, mut bench) = bench_in("refused");
    let (client, other, far) = (bench.client(), bench.client(), bench.client());
    assert_eq!(bench.ask(other, "CONFIG SET appendonly yes"), "+OK");
    // No files of the first rewrite are named yet, so that the disk cannot hold what is written.
    assert_eq!(bench.engine.aof_durable_offset(), None);
    assert_eq!(bench.ask(client, "SET k v"), "+OK");
    assert_eq!(bench.ask(client, "WAITAOF 1 0 0"), "");
    assert_eq!(bench.ask(far, "WAITAOF 0 1 0"), "");
    assert_eq!(bench.ask(other, "CONFIG SET appendonly no"), "+OK");
    assert_eq!(bench.out(client), format!("-{}", errors::NO_LOCAL_FILES));
    assert_eq!(bench.ask(client, "PING"), "+PONG");
    assert_eq!(bench.out(far), "", "other disks are waited for as before");
    assert_eq!(bench.engine.waiting_for_copies(), 1);
}

/// The first rewrite counted as the data's place as soon as its manifest was handed to the disk:
/// answers and acknowledgements went out for files that a start would not have found.
#[test]
fn nothing_is_durable_before_a_manifest_names_the_files() {
    let (folder, mut bench) = bench_in("named");
    let client = bench.client();
    assert_eq!(bench.ask(client, "CONFIG SET appendonly yes"), "+OK");
    // No manifest can be written while its temporary name is taken.
    let taken = folder.0.join(format!("temp-redisha-{}-manifest", std::process::id()));
    fs::create_dir(&taken).unwrap();
    until(&mut bench, "the rewrite ends", |bench| bench.engine.rooms.aof.rewrites.count == 1);
    let end = bench.engine.stream_offset();
    until(&mut bench, "its files are written", |bench| {
        bench.engine.rooms.aof.disk.as_ref().is_some_and(|disk| disk.synced() >= end)
    });
    assert_eq!(bench.engine.aof_durable_offset(), None);
    assert_ne!(bench.engine.rooms.aof.state, State::On);
    fs::remove_dir(&taken).unwrap();
    until(&mut bench, "the manifest is written", |bench| {
        bench.engine.aof_durable_offset().is_some()
    });
}

/// Files whose names are relative were looked for in another folder from then on, in the middle of a
/// start.
#[test]
fn where_files_are_does_not_change_while_they_are_loaded() {
    let (_folder, mut bench) = bench_in("elsewhere");
    let client = bench.client();
    bench.engine.config.set("enable-protected-configs", "yes").unwrap();
    let mut set = |line: &str| {
        // It lasts until the end of the turn.
        bench.engine.load_open(Vec::new(), None, false);
        let mut bytes = Vec::new();
        let words: Vec<&[u8]> =
            ["CONFIG", "SET"].into_iter().chain(line.split(' ')).map(str::as_bytes).collect();
        encode_command(&mut bytes, words.iter().copied());
        bench.engine.receive(bench.id(client), &bytes);
        bench.engine.turn_end();
        bench.out(client)
    };
    let here = std::env::current_dir().unwrap();
    for line in ["dir /", "appendonly yes", "maxclients 100 appendonly yes"] {
        assert_eq!(set(line), format!("-{}", errors::LOADING), "{line}");
    }
    assert_eq!(std::env::current_dir().unwrap(), here);
    assert_eq!(set("maxclients 100"), "+OK");
}

/// The first command of a new server must wait for the disk like all later ones.
#[test]
fn a_server_that_starts_without_files_has_named_them_before_it_answers() {
    let (folder, mut bench) = bench_in("first");
    let engine = &mut bench.engine;
    engine.config.appendonly = true;
    engine.aof_start().unwrap();
    assert!(folder.0.join("appendonly.aof.manifest").is_file());
    assert_eq!(engine.rooms.aof.state, State::On);
    assert_eq!(engine.aof_durable_offset(), Some(engine.stream_offset()));
}

/// Who waited for copies while its server was made a replica was left waiting until the data of the
/// new primary had come, and was then answered with what had been reached, as if it had been enough.
#[test]
fn who_waits_for_copies_hears_that_its_server_became_a_replica() {
    let (_folder, mut bench) = bench_in("demoted");
    let (client, other, by_hand) = (bench.client(), bench.client(), bench.client());
    assert_eq!(bench.ask(client, "WAIT 1 0"), "");
    assert_eq!(bench.ask(other, "WAITAOF 0 1 0"), "");
    assert_eq!(bench.ask(by_hand, "REPLICAOF 127.0.0.1 1"), "+OK");
    for waiting in [client, other] {
        assert_eq!(bench.out(waiting), format!("-{}", errors::UNBLOCKED));
        assert_eq!(bench.ask(waiting, "PING"), "+PONG");
    }
    assert_eq!(bench.engine.waiting_for_copies(), 0);
}
