//! `cargo xtask local`: builds, then becomes `redisha local`.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};

use crate::report::Report;
use crate::{compile, paths};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Arguments of `redisha local`, for example `--port 6400`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}

pub fn run(args: &Args) -> Result<Report> {
    compile::programs()?;
    // It takes this process's place, so that Ctrl-C and the exit code are its own.
    let program = paths::program("redisha");
    let error = Command::new(&program)
        .arg("local")
        .args(&args.rest)
        .env("REDISHA_SERVER_BIN", paths::program("redisha-server"))
        .exec();
    Err(error).with_context(|| format!("start {}", program.display()))
}
