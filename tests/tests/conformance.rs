//! The server's commands and replies beside Valkey's, as `cargo xtask conformance` compares them.
//!
//! `REDISHA_VALKEY` names the `valkey-server`; without it the test skips, aloud, but with `CI` set
//! it fails.

use std::path::{Path, PathBuf};

use tests::{conformance, programs};

#[test]
fn commands_and_replies_are_equal() {
    let Some(valkey) = std::env::var_os("REDISHA_VALKEY") else {
        assert!(std::env::var_os("CI").is_none(), "REDISHA_VALKEY must name a valkey-server");
        eprintln!("skipped: REDISHA_VALKEY does not name a valkey-server");
        return;
    };
    let data = Path::new("conformance");
    let found = conformance::run(data, &programs::server(), &PathBuf::from(valkey), None);
    let found = found.expect("the comparison runs");
    let first: Vec<&str> = found.failures.iter().take(40).map(String::as_str).collect();
    assert!(first.is_empty(), "{} failures\n{}", found.failures.len(), first.join("\n"));
    assert!(
        found.commands > 300 && found.directives > 200 && found.fields > 900 && found.cases > 1000,
        "{found:?}"
    );
}
