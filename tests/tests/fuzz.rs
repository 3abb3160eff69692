//! A short run of the fuzzer: `cargo xtask fuzz` is the long one.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tests::{fuzz, programs};

/// Targets run one after the other; the test takes some of these.
fn plan() -> fuzz::Plan {
    fuzz::Plan { each: Duration::from_secs(4), seed: 7, target: None, run: None }
}

/// The stack of a process's first thread, on which the server runs; a test's own is a quarter of it.
const STACK_BYTES: usize = 8 * 1024 * 1024;

#[test]
fn no_reader_panics() {
    let run = || fuzz::run(Path::new("fuzz"), &plan()).expect("the seeds can be read");
    let thread = thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
    let all = thread.expect("a thread").join().expect("the fuzzer itself does not panic");
    for found in all {
        assert!(found.runs > 0, "{} did not run", found.name);
        assert!(found.panics.is_empty(), "{}", found.panics.join("\n"));
    }
}

#[test]
fn random_commands_have_equal_replies() {
    let Some(valkey) = std::env::var_os("REDISHA_VALKEY") else {
        assert!(std::env::var_os("CI").is_none(), "REDISHA_VALKEY must name a valkey-server");
        eprintln!("skipped: REDISHA_VALKEY does not name a valkey-server");
        return;
    };
    let found = fuzz::differential::run(&programs::server(), &PathBuf::from(valkey), &plan());
    let found = found.expect("both servers run");
    assert!(found.runs > 0);
    assert!(found.differences.is_empty(), "{}", found.differences.join("\n"));
}
