//! `redisha-fuzz`: runs the fuzzer and prints what it found as JSON on the last line. Exit codes:
//! 0 nothing found, 1 a panic or a difference, 2 could not run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Parser;
use serde_json::json;
use tests::fuzz::Extent;
use tests::{fuzz, programs};

/// Feeds the server's readers with what they do not expect.
#[derive(Debug, Parser)]
struct Cli {
    /// The folder with the seeds.
    #[arg(long)]
    data: PathBuf,
    /// Seconds for all targets together.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed of all chance.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only this target.
    #[arg(long)]
    target: Option<String>,
    /// Only this run of it.
    #[arg(long, requires = "target")]
    run: Option<u64>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("redisha-fuzz: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    let count = match cli.target {
        Some(_) => 1,
        None => fuzz::targets::ALL.len() as u32 + 1,
    };
    let plan = fuzz::Plan {
        each: Extent::Time(Duration::from_secs(cli.seconds) / count),
        seed: cli.seed,
        target: cli.target.clone(),
        run: cli.run,
    };
    let mut targets = Vec::new();
    let mut ok = true;
    for found in fuzz::run(&cli.data, &plan)? {
        for panic in &found.panics {
            eprintln!("{panic}");
        }
        ok &= found.panics.is_empty() && found.runs > 0;
        targets.push(json!({
            "name": found.name,
            "runs": found.runs,
            "panics": found.panics.len(),
        }));
    }
    if cli.target.as_deref().is_none_or(|target| target == "differential")
        && let Some(valkey) = std::env::var_os("REDISHA_VALKEY")
    {
        let found = fuzz::differential::run(&programs::server(), &PathBuf::from(valkey), &plan)?;
        for finding in found.panics.iter().chain(&found.differences) {
            eprintln!("{finding}");
        }
        ok &= found.panics.is_empty() && found.differences.is_empty() && found.runs > 0;
        targets.push(json!({
            "name": "differential",
            "runs": found.runs,
            "panics": found.panics.len(),
            "differences": found.differences.len(),
        }));
    }
    println!("{}", json!({ "targets": targets }));
    Ok(ok && !targets.is_empty())
}
