//! `redisha-bench`: measures the server beside Valkey and prints what it found as JSON on the last
//! line. Exit codes: 0 bars met, 1 missed, 2 could not run.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use serde_json::Value;
use tests::bench::{Peer, commands, durability, snapshot};

/// Measures the server beside Valkey.
#[derive(Debug, Parser)]
struct Cli {
    /// Valkey's folder of programs.
    #[arg(long, global = true, default_value = "/usr/bin")]
    valkey: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Processor time per command of every family, and memory per key.
    Commands(commands::Plan),
    /// Answers that wait for another member.
    Durability(durability::Plan),
    /// Writes during a background save.
    Snapshot(snapshot::Plan),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("redisha-bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let program = |name| Path::join(&cli.valkey, name);
    let peer = Peer { server: program("valkey-server"), benchmark: program("valkey-benchmark") };
    let mut found = match &cli.what {
        What::Commands(plan) => commands::run(plan, &peer)?,
        What::Durability(plan) => durability::run(plan, &peer)?,
        What::Snapshot(plan) => snapshot::run(plan, &peer)?,
    };
    for bar in &found.missed {
        eprintln!("missed: {bar}");
    }
    let missed = std::mem::take(&mut found.missed);
    let met = missed.is_empty();
    found.put("missed", missed);
    println!("{}", Value::Object(found.fields));
    Ok(met)
}
