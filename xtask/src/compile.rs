//! Cargo's work. Always the whole workspace in the release profile: another selection of packages
//! would unify other features and compile most dependencies a second time.

use std::env;
use std::process::Command;

use anyhow::Result;

use crate::{paths, run};

/// Cargo, in the checkout, as the toolchain file pins it.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(paths::root()).args(args);
    command
}

/// Builds `redisha` and `redisha-server`.
pub fn programs() -> Result<()> {
    run::must(&mut cargo(&["build", "--release", "--workspace", "--bins"]))
}
