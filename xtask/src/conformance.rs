//! `cargo xtask conformance`: commands and replies beside Valkey's.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::report::Report;
use crate::{compile, paths, peers, run};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only the parts whose name contains this: `commands`, `info`, `directives`, `generated`, or
    /// a script's name.
    #[arg(long)]
    only: Option<String>,
    /// How many failures to print.
    #[arg(long, default_value_t = 100)]
    show: usize,
}

pub fn run(args: &Args) -> Result<Report> {
    let peers = peers::find()?;
    compile::programs()?;
    let mut command = Command::new(paths::program("redisha-conformance"));
    command
        .arg("--data")
        .arg(paths::root().join("tests/conformance"))
        .args(["--show", &args.show.to_string()])
        .args(args.only.iter().flat_map(|only| ["--only", only]))
        .env("REDISHA_SERVER_BIN", paths::program("redisha-server"))
        .env("REDISHA_VALKEY", peers.valkey.server());
    outcome(&mut command)
}

/// Runs one of the programs that print their result as JSON; its own exit code says whether the
/// bars are met.
pub fn outcome(command: &mut Command) -> Result<Report> {
    eprintln!("+ {}", run::line(command));
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("start {}", run::line(command)))?;
    let text = String::from_utf8(output.stdout).context("it prints no text")?;
    let last = text.lines().last();
    let last = last.with_context(|| format!("it ended with {} and no result", output.status))?;
    let fields: Map<String, Value> =
        serde_json::from_str(last).with_context(|| format!("read the result {last:?}"))?;
    Ok(Report { ok: output.status.success(), fields })
}
