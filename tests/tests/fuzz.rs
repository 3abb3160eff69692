//! A short run of the fuzzer: `cargo xtask fuzz` is the long one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use tests::conformance::pair::Pair;
use tests::fuzz::differential::{self, Compared};
use tests::fuzz::{Extent, Found, targets};
use tests::{fuzz, local, programs};

/// Each target, and how many runs it takes: some seconds' worth. They were as many as a machine made in four
/// seconds, so that what was tested was another thing on each.
const RUNS: &[(&str, u64)] = &[
    ("resp", 300_000),
    ("rdb", 150_000),
    ("aof", 250_000),
    ("restore", 250_000),
    ("replication", 3_000),
    ("acl", 150_000),
    ("glob", 2_000_000),
    ("lua", 80_000),
];
/// Sequences of commands for both servers.
const SEQUENCES: u64 = 1_000;

fn plan(target: Option<&str>, runs: u64) -> fuzz::Plan {
    fuzz::Plan { each: Extent::Runs(runs), seed: 7, target: target.map(str::to_owned), run: None }
}

/// The stack of a process's first thread, on which the server runs; a test's own is a quarter of it.
const STACK_BYTES: usize = 8 * 1024 * 1024;

#[test]
fn no_reader_panics() {
    let run = || -> Result<Vec<Found>> {
        let runs =
            |(name, runs): &(&str, u64)| fuzz::run(Path::new("fuzz"), &plan(Some(name), *runs));
        let found: Vec<Vec<Found>> = RUNS.iter().map(runs).collect::<Result<_>>()?;
        Ok(found.concat())
    };
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    let all = thread.expect("a thread").join().expect("the fuzzer itself does not panic");
    let all = all.expect("the seeds can be read");
    assert!(all.iter().map(|found| found.name).eq(targets::ALL.iter().map(|(name, _)| *name)));
    for found in all {
        assert!(found.panics.is_empty(), "{}", found.panics.join("\n"));
    }
}

fn valkey() -> Option<PathBuf> {
    let valkey = std::env::var_os("REDISHA_VALKEY");
    if valkey.is_none() {
        assert!(std::env::var_os("CI").is_none(), "REDISHA_VALKEY must name a valkey-server");
        eprintln!("skipped: REDISHA_VALKEY does not name a valkey-server");
    }
    valkey.map(PathBuf::from)
}

#[test]
fn random_commands_have_equal_replies() {
    let Some(valkey) = valkey() else { return };
    let found = fuzz::differential::run(&programs::server(), &valkey, &plan(None, SEQUENCES));
    let found = found.expect("both servers run");
    assert!(found.runs > 0);
    let texts = [found.panics, found.differences].concat();
    assert!(texts.is_empty(), "{}", texts.join("\n"));
}

/// A server that panicked under random commands ended the fuzzer, which so never told of a panic.
#[test]
fn a_server_that_panics_is_counted_and_another_one_takes_its_place() -> Result<()> {
    let Some(valkey) = valkey() else { return Ok(()) };
    let panics = local::scratch().join("panics");
    let server = programs::server();
    let script =
        format!("#!/bin/sh\nexec '{}' --enable-debug-command yes \"$@\"\n", server.display());
    fs::write(&panics, script)?;
    fs::set_permissions(&panics, fs::Permissions::from_mode(0o755))?;
    let mut pair = Pair::start(&panics, &valkey)?;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    ensure!(pair.batch(&[words("PING"), words("DEBUG JMAP")])?.len() == 2);
    let answers = pair.batch(&[words("PING"), words("DEBUG PANIC"), words("PING")]);
    let error = answers.err().context("it went on after a panic")?;
    let mut compared = Compared::default();
    let mut pair = differential::broken_off(pair, error, "run 7", &mut compared)?;
    let told = compared.panics.join("\n");
    ensure!(told.starts_with("run 7: ") && told.contains("asked for by DEBUG"), "{told}");
    pair.reset("3")?;
    ensure!(pair.batch(&[words("PING")])?[0][0].text.as_deref() == Some("PONG"));
    // A server of theirs that ends is no finding about ours.
    let silent = anyhow!("no answer");
    ensure!(differential::broken_off(pair, silent, "run 8", &mut compared).is_err());
    ensure!(compared.panics.len() == 1);
    Ok(())
}
