//! `cargo xtask fuzz`: seeded mutations against the server's readers, and random sequences of
//! commands beside Valkey's.

use std::process::Command;

use anyhow::Result;

use crate::report::Report;
use crate::{compile, conformance, paths, peers};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// For all targets together.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// The seed of all chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Only this run of the target: what a panic names.
    #[arg(long, requires = "target")]
    run: Option<u64>,
}

pub fn run(args: &Args) -> Result<Report> {
    let peers = peers::find()?;
    compile::programs()?;
    let mut command = Command::new(paths::program("redisha-fuzz"));
    command
        .arg("--data")
        .arg(paths::root().join("tests/fuzz"))
        .args(["--seconds", &(args.minutes * 60).to_string()])
        .args(["--seed", &args.seed.to_string()])
        .args(args.target.iter().flat_map(|target| ["--target", target]))
        .env("REDISHA_SERVER_BIN", paths::program("redisha-server"))
        .env("REDISHA_VALKEY", peers.valkey.server());
    if let Some(run) = args.run {
        command.args(["--run", &run.to_string()]);
    }
    conformance::outcome(&mut command)
}
