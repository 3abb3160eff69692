//! `cargo xtask simulate`: seeded worlds around the real decisions and the real members, and planted
//! bugs that their checkers must catch.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::report::Report;
use crate::{compile, paths};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many worlds.
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Also go through every course of the larger small clusters.
    #[arg(long)]
    model: bool,
}

/// The worlds of `cargo xtask test`, and every planted bug.
pub fn short() -> Result<Report> {
    run(&Args { seeds: 2_000, seed: 1, model: false })
}

/// Runs the worlds and then every planted bug.
pub fn run(args: &Args) -> Result<Report> {
    compile::programs()?;
    let (seeds, seed) = (args.seeds.to_string(), args.seed.to_string());
    let output = Command::new(paths::program("simulate"))
        .args(["--seeds", &seeds, "--seed", &seed, "--mutants", "--json"])
        .args(args.model.then_some("--model"))
        .stderr(Stdio::inherit())
        .output()
        .context("start simulate")?;
    let text = String::from_utf8(output.stdout).context("read what simulate says")?;
    let mut fields: Map<String, Value> =
        serde_json::from_str(text.lines().last().unwrap_or_default())
            .context("read its figures")?;
    for own in ["schema", "command", "ok"] {
        fields.remove(own);
    }
    Ok(Report { ok: output.status.success(), fields })
}
