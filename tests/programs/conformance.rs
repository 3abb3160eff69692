//! `redisha-conformance`: compares the server with a Valkey and prints what it found as JSON on
//! the last line. Exit codes: 0 equal, 1 not, 2 could not run.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::json;
use tests::{conformance, programs};

/// Compares the server's commands and replies with Valkey's.
#[derive(Debug, Parser)]
struct Cli {
    /// The folder with the scripts and the argued differences.
    #[arg(long)]
    data: PathBuf,
    /// Only the parts whose name contains this: `commands`, `info`, `directives`, a script's
    /// name, or `generated`.
    #[arg(long)]
    only: Option<String>,
    /// How many failures to print.
    #[arg(long, default_value_t = 100)]
    show: usize,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("redisha-conformance: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let valkey = std::env::var_os("REDISHA_VALKEY").context("REDISHA_VALKEY names no server")?;
    let valkey = PathBuf::from(valkey);
    let found = conformance::run(&cli.data, &programs::server(), &valkey, cli.only.as_deref())?;
    for failure in found.failures.iter().take(cli.show) {
        eprintln!("{failure}");
    }
    let differences: Vec<_> = found
        .differences
        .iter()
        .map(|difference| {
            json!({
                "name": difference.name,
                "fact": difference.fact,
                "count": difference.count,
                "reason": difference.reason,
            })
        })
        .collect();
    let object = json!({
        "commands": found.commands,
        "directives": found.directives,
        "fields": found.fields,
        "differences": differences,
        "cases": found.cases,
        "failed": found.failures.len(),
    });
    println!("{object}");
    Ok(found.failures.is_empty())
}
