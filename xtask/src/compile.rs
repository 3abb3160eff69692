//! Cargo's work. Always the whole workspace in the release profile: another selection of packages
//! would unify other features and compile most dependencies a second time.

use std::env;
use std::process::Command;

use anyhow::Result;

use crate::{paths, run};

/// Cargo, in the checkout, as the toolchain file pins it.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo says of this package is not said to the packages that it builds: a build script
    // that asks for one of these would run again at every change between `cargo` and `cargo xtask`.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&*name);
        }
    }
    command.current_dir(paths::root()).args(args);
    command
}

/// Builds `redisha` and `redisha-server`.
pub fn programs() -> Result<()> {
    run::must(&mut cargo(&["build", "--release", "--workspace", "--bins"]))
}
