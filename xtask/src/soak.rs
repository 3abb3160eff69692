//! `cargo xtask soak`: the long forms of tests, for a quiet machine and a patient person.

use std::process::Command;

use anyhow::Result;
use serde_json::Value;

use crate::report::Report;
use crate::test::{self, Counts, Length, Suite, Tally};
use crate::{compile, drill, paths, run};

/// How many worlds the simulation goes through, at some ten milliseconds each.
const SEEDS: u32 = 50_000;
/// How often the scenarios of the cluster run.
const ROUNDS: u32 = 10;
/// The switchovers and clients of the long drill.
const DRILL: (u32, u32) = (1000, 50);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only this part.
    #[arg(long, value_parser = ["simulation", "drill", "cluster"])]
    part: Option<String>,
    /// Of the cluster's scenarios only those whose name contains this.
    #[arg(long, value_name = "NAME")]
    scenario: Vec<String>,
    /// How often the scenarios of the cluster run.
    #[arg(long, default_value_t = ROUNDS)]
    rounds: u32,
}

pub fn run(args: &Args) -> Result<Report> {
    let wanted = |name: &str| args.part.as_deref().is_none_or(|part| part == name);
    let mut tally = Tally::default();
    if wanted("simulation") {
        tally.part("simulation", simulation);
    }
    if wanted("drill") {
        tally.part("drill", long_drill);
    }
    if wanted("cluster") {
        let suite = Suite::build()?;
        for round in 1..=args.rounds {
            // Every step of the switch once, and then what chance may change.
            let length = if round == 1 { Length::Long } else { Length::Short };
            let scenarios = || test::scenarios(&suite, length, &args.scenario);
            tally.part(&format!("cluster {round}"), scenarios);
        }
    }
    Ok(tally.end())
}

fn simulation() -> Result<Counts> {
    compile::programs()?;
    let seeds = SEEDS.to_string();
    let passed =
        run::passes(Command::new(paths::program("simulate")).args(["--seeds", &seeds, "--model"]))?;
    Ok(Counts::one(passed))
}

fn long_drill() -> Result<Counts> {
    compile::programs()?;
    let (switchovers, clients) = DRILL;
    let report = drill::measure(switchovers, clients, &[], drill::Bars::All)?;
    eprintln!("{}", Value::Object(report.fields.clone()));
    Ok(Counts::one(report.ok))
}
