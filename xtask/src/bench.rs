//! `cargo xtask bench`: what the server costs, beside Valkey in the same run.

use std::process::Command;

use anyhow::Result;
use clap::ValueEnum;

use crate::conformance::outcome;
use crate::report::Report;
use crate::{compile, paths, peers};

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// Processor time per command of every family, and memory per key.
    Commands,
    /// Answers that wait for another member.
    Durability,
    /// Writes during a background save.
    Snapshot,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_enum, default_value = "commands")]
    what: What,
    /// How often each cost is measured on each server.
    #[arg(long)]
    runs: Option<u32>,
    /// Only these commands, for example `SET,GET`.
    #[arg(long)]
    commands: Option<String>,
    /// Only these pipeline depths.
    #[arg(long)]
    depths: Option<String>,
    /// Memory to fill before it is saved, in GB.
    #[arg(long)]
    gigabytes: Option<f64>,
    /// Overwrites a second during a save.
    #[arg(long)]
    rate: Option<u64>,
    /// What a snapshot is made for: `save`, `rewrite` or `resync`.
    #[arg(long)]
    work: Option<String>,
}

pub fn run(args: &Args) -> Result<Report> {
    compile::programs()?;
    let valkey = peers::find()?.valkey;
    let what = args.what.to_possible_value().expect("none of them is hidden");
    let mut command = Command::new(paths::program("redisha-bench"));
    command.arg("--valkey").arg(valkey.folder()).arg(what.get_name());
    // Which of them fit is the program's to say.
    for (option, value) in [
        ("--runs", args.runs.map(|runs| runs.to_string())),
        ("--commands", args.commands.clone()),
        ("--depths", args.depths.clone()),
        ("--gigabytes", args.gigabytes.map(|size| size.to_string())),
        ("--rate", args.rate.map(|rate| rate.to_string())),
        ("--work", args.work.clone()),
    ] {
        command.args(value.iter().flat_map(|value| [option, value]));
    }
    command.env("REDISHA_SERVER_BIN", paths::program("redisha-server"));
    outcome(&mut command)
}
