//! `cargo xtask test`: everything that must hold before a change lands; what CI runs.

mod suite;

use std::env;
use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::compile::cargo;
use crate::report::Report;
use crate::{cluster, compile, drill, golang, image, licenses, peers, run, simulate};
pub use suite::{Counts, Length, Suite};

/// The switchovers and clients of the short drill.
const DRILL: (u32, u32) = (10, 20);

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only these parts.
    #[arg(long, value_delimiter = ',', value_parser = PARTS.map(|(name, _)| name))]
    parts: Vec<String>,
}

type Part = fn(&mut Option<Suite>) -> Result<Counts>;

/// How long faults go on in the cluster of the scenarios, in seconds.
const NEMESIS_SECONDS: u64 = 180;

const PARTS: [(&str, Part); 8] = [
    ("licences", |_| Ok(Counts::one(licenses::check()?))),
    ("format", |_| one(&["fmt", "--all", "--check"])),
    ("lints", |_| {
        one(&["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-Dwarnings"])
    }),
    ("unit", |suite| suite::built(suite)?.run_unit()),
    ("processes", |suite| suite::built(suite)?.run_processes(&peers::find()?)),
    ("simulation", |_| Ok(Counts::one(simulate::short()?.ok))),
    ("drill", |_| short_drill()),
    ("cluster", |suite| cluster_part(suite::built(suite)?)),
];

pub fn run(args: &Args) -> Report {
    let mut tally = Tally::default();
    let mut suite = None;
    for (name, part) in PARTS {
        if args.parts.is_empty() || args.parts.iter().any(|wanted| wanted == name) {
            tally.part(name, || part(&mut suite));
        }
    }
    tally.end()
}

/// Runs the scenarios in a cluster: those whose name contains one of `wanted`, all when there are
/// none.
pub fn scenarios(suite: &Suite, length: Length, wanted: &[String]) -> Result<Counts> {
    in_cluster(|bin| suite.run_scenarios(bin, length, wanted))
}

/// The scenarios, and then faults in the same cluster.
fn cluster_part(suite: &Suite) -> Result<Counts> {
    in_cluster(|bin| {
        let mut counts = suite.run_scenarios(bin, Length::Short, &[])?;
        match suite.run_nemesis(bin, NEMESIS_SECONDS, 1, &[]) {
            Ok((faults, found)) => {
                eprintln!("{found}");
                counts.add(faults);
            }
            Err(error) => {
                eprintln!("the nemesis could not run: {error:#}");
                counts.add(Counts::one(false));
            }
        }
        Ok(counts)
    })
}

/// Starts a cluster, does the work with the folder of its tools, and removes it.
pub fn in_cluster(work: impl FnOnce(&Path) -> Result<Counts>) -> Result<Counts> {
    if !cluster::is_root() {
        let skipped = Counts { skipped: 1, ..Counts::default() };
        eprintln!("SKIPPED: the cluster part needs root");
        // In CI nothing may look tested that was not.
        let in_ci = env::var_os("CI").is_some_and(|value| !value.is_empty());
        return Ok(if in_ci { Counts { failed: 1, ..skipped } } else { skipped });
    }
    let helm = golang::helm()?;
    let archives = image::both()?;
    let cluster = cluster::up()?;
    let result = cluster.load_images(&archives).and_then(|()| {
        let state = cluster.state();
        let helm = format!(
            "#!/bin/sh\nexec {} cp {} \"$@\"\n",
            state.data("bin/on-node").display(),
            helm.join("helm").display()
        );
        state.write_script("helm", &helm)?;
        cluster::enter()?;
        work(&state.data("bin"))
    });
    // A failure keeps its logs; the cluster itself goes in any case.
    if !matches!(result, Ok(Counts { failed: 0, .. })) {
        cluster.keep_logs();
    }
    cluster.down()?;
    result
}

fn one(args: &[&str]) -> Result<Counts> {
    let passed = run::passes(&mut cargo(args))?;
    Ok(Counts::one(passed))
}

/// Errors and losses count here; speed is the bar of `cargo xtask drill`, on a quiet machine.
fn short_drill() -> Result<Counts> {
    compile::programs()?;
    let (switchovers, clients) = DRILL;
    let report = drill::measure(switchovers, clients, &[], drill::Bars::Safety)?;
    eprintln!("{}", Value::Object(report.fields.clone()));
    Ok(Counts::one(report.ok))
}

/// What the parts came to, and how long each took.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Counts,
    parts: Vec<Value>,
}

impl Tally {
    /// Runs a part; one that could not run has failed.
    pub fn part(&mut self, name: &str, part: impl FnOnce() -> Result<Counts>) {
        eprintln!("\n== {name}");
        let begun = Instant::now();
        let counts = part().unwrap_or_else(|error| {
            eprintln!("{name} could not run: {error:#}");
            Counts::one(false)
        });
        let seconds = begun.elapsed().as_secs_f64().round();
        eprintln!("== {name}: {counts} in {seconds} s");
        self.parts.push(json!({
            "part": name,
            "seconds": seconds,
            "passed": counts.passed,
            "failed": counts.failed,
            "skipped": counts.skipped,
        }));
        self.counts.add(counts);
    }

    /// Tells once more what failed, then the seconds per part and, last, the totals.
    pub fn end(self) -> Report {
        eprintln!();
        for line in &self.counts.failures {
            eprintln!("{line}");
        }
        for part in &self.parts {
            let text = |field: &str| part[field].to_string();
            let name = part["part"].as_str().unwrap_or_default();
            eprintln!("{name:12} {:>6} s  {} failed", text("seconds"), text("failed"));
        }
        println!("{}", self.counts);
        Report::plain(self.counts.failed == 0)
            .with("passed", self.counts.passed)
            .with("failed", self.counts.failed)
            .with("skipped", self.counts.skipped)
            .with("parts", self.parts)
    }
}
