//! A short run of the fuzzer: `cargo xtask fuzz` is the long one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::{fuzz, programs};

/// Targets run one after the other; the test takes some of these.
fn plan() -> fuzz::Plan {
    fuzz::Plan { each: Duration::from_secs(4), seed: 7, target: None, run: None }
}

#[test]
fn no_reader_panics() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    for found in fuzz::run(&data, &plan()).expect("the seeds can be read") {
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
