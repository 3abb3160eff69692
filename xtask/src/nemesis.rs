//! `cargo xtask nemesis`: faults in a real Kubernetes while clients count together.

use anyhow::Result;
use serde_json::Value;

use crate::report::Report;
use crate::test::{self, Suite};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How long faults go on.
    #[arg(long, default_value_t = 20)]
    minutes: u64,
    /// The order of the faults.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only faults of this kind, for example `mute-primary`.
    #[arg(long, value_name = "KIND")]
    only: Vec<String>,
}

/// Met when nothing was lost, no two nodes acknowledged the same, no read was stale, and service came
/// back after every fault, within its bar where it has one.
pub fn run(args: &Args) -> Result<Report> {
    let suite = Suite::build()?;
    let mut found = Value::Null;
    let counts = test::in_cluster(|bin| {
        let (counts, result) = suite.run_nemesis(bin, args.minutes * 60, args.seed, &args.only)?;
        found = result;
        Ok(counts)
    })?;
    let late = found["late"].as_bool().unwrap_or(true);
    let mut report = Report::plain(counts.failed == 0 && !late).with("seed", args.seed);
    if let Value::Object(fields) = found {
        report.fields.extend(fields);
    }
    Ok(report)
}
