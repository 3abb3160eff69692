//! `cargo xtask bench`: what a command costs the server's processor, ours beside Valkey's.
//!
//! Throughput on a machine of two cores measures the load generator as much as the server, so the
//! measure is the server's own time (utime + stime) per command it served. Both servers run all the
//! while on core 0, the generator on core 1; runs alternate, so that both meet the same weather.

mod server;

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::report::Report;
use crate::{compile, paths, peers};
use server::Server;

/// The most that a command may cost us, in Valkey's cost of it.
const BAR: f64 = 1.20;
/// The most that a key may take of our memory, in what it takes of Valkey's.
const MEMORY_BAR: f64 = 1.0;
/// One of each family at least.
const COMMANDS: &[&str] = &["SET", "GET", "INCR", "LPUSH", "HSET", "SADD", "ZADD", "XADD", "EVAL"];
const DEPTHS: &[u32] = &[1, 16];
const VALUE_BYTES: u32 = 64;
const CONNECTIONS: u32 = 50;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often each row is measured on each server.
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// Only these commands, for example `SET,GET`.
    #[arg(long, value_delimiter = ',')]
    commands: Vec<String>,
    /// Only these pipeline depths.
    #[arg(long, value_delimiter = ',')]
    depths: Vec<u32>,
}

/// One row's measures: µs per command, ours and Valkey's, run by run.
#[derive(Debug)]
struct Row {
    command: String,
    depth: u32,
    costs: Vec<(f64, f64)>,
}

pub fn run(args: &Args) -> Result<Report> {
    compile::programs()?;
    let valkey = peers::find()?.valkey;
    let tool = valkey.benchmark();
    let ours = Server::start("redisha", &paths::program("redisha-server"), &tool)?;
    let theirs = Server::start("valkey", &valkey.server(), &tool)?;

    let bytes = if args.commands.is_empty() {
        Some((ours.bytes_per_key()?, theirs.bytes_per_key()?))
    } else {
        None
    };
    let mut rows = plan(args);
    let begun = Instant::now();
    for run in 0..args.runs {
        for row in &mut rows {
            // Whoever goes first in one run goes second in the next.
            let (first, second) = if run % 2 == 0 { (&ours, &theirs) } else { (&theirs, &ours) };
            let one = first.cost(&row.command, row.depth)?;
            let two = second.cost(&row.command, row.depth)?;
            row.costs.push(if run % 2 == 0 { (one, two) } else { (two, one) });
        }
        eprintln!("run {} of {}: {:.0} s", run + 1, args.runs, begun.elapsed().as_secs_f64());
    }
    eprintln!(
        "{:8} {:>5} {:>10} {:>10} {:>7} {:>7}",
        "command", "depth", "ours µs", "valkey", "ratio", "spread"
    );
    let mut missed = false;
    let mut list = Vec::new();
    for row in &rows {
        missed |= row.ratio() > BAR;
        row.print();
        list.push(row.json());
    }
    let mut report = Report::plain(!missed).with("bar", BAR).with("rows", list);
    if let Some((one, other)) = bytes {
        let ratio = one / other;
        eprintln!("memory   {one:>16.1} {other:>10.1} {ratio:>7.2} bytes per key");
        report.ok &= ratio <= MEMORY_BAR;
        let memory = json!({
            "keys": server::MEMORY_KEYS,
            "key_bytes": 13,
            "value_bytes": VALUE_BYTES,
            "ours": round(one),
            "valkey": round(other),
            "ratio": round(ratio),
            "bar": MEMORY_BAR,
        });
        report = report.with("memory", memory);
    }
    Ok(report)
}

fn plan(args: &Args) -> Vec<Row> {
    let all: Vec<_> = COMMANDS.iter().map(|command| (*command).to_owned()).collect();
    let commands = if args.commands.is_empty() { &all } else { &args.commands };
    let depths = if args.depths.is_empty() { DEPTHS } else { &args.depths };
    let row = |command: &String, depth: &u32| Row {
        command: command.to_uppercase(),
        depth: *depth,
        costs: Vec::new(),
    };
    commands
        .iter()
        .flat_map(|command| depths.iter().map(move |depth| row(command, depth)))
        .collect()
}

impl Row {
    fn ratios(&self) -> Vec<f64> {
        let mut ratios: Vec<_> = self.costs.iter().map(|(ours, theirs)| ours / theirs).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    fn ratio(&self) -> f64 {
        median(&self.ratios())
    }

    /// How far apart the runs' ratios are, as a part of their median.
    fn spread(&self) -> f64 {
        let ratios = self.ratios();
        let ends = ratios.first().zip(ratios.last());
        ends.map_or(0.0, |(least, most)| (most - least) / self.ratio())
    }

    /// The medians of what a command cost us and Valkey, in µs.
    fn costs(&self) -> (f64, f64) {
        let mut ours: Vec<_> = self.costs.iter().map(|cost| cost.0).collect();
        let mut theirs: Vec<_> = self.costs.iter().map(|cost| cost.1).collect();
        ours.sort_by(f64::total_cmp);
        theirs.sort_by(f64::total_cmp);
        (median(&ours), median(&theirs))
    }

    fn print(&self) {
        let (ours, theirs) = self.costs();
        let mark = if self.ratio() > BAR { "  over the bar" } else { "" };
        eprintln!(
            "{:8} {:>5} {ours:>10.3} {theirs:>10.3} {:>7.2} {:>7.2}{mark}",
            self.command,
            self.depth,
            self.ratio(),
            self.spread(),
        );
    }

    fn json(&self) -> Value {
        let (ours, theirs) = self.costs();
        json!({
            "command": self.command,
            "depth": self.depth,
            "value_bytes": VALUE_BYTES,
            "connections": CONNECTIONS,
            "setup": "plain",
            "ratio_cpu": round(self.ratio()),
            "spread": round(self.spread()),
            "ours_us": round(ours),
            "valkey_us": round(theirs),
        })
    }
}

/// The middle of sorted values; not a number when there are none.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
        _ => sorted[middle],
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_runs_own_ratios() {
        // The second run met a slow machine: both took twice as long, which says nothing.
        let costs = vec![(1.0, 2.0), (2.4, 4.0), (1.4, 2.0)];
        let row = Row { command: "SET".into(), depth: 1, costs };
        assert!((row.ratio() - 0.6).abs() < 1e-9);
        assert!((row.spread() - 1.0 / 3.0).abs() < 1e-9, "0.5 to 0.7 around 0.6");
    }

    #[test]
    fn a_median_of_an_even_count_lies_between() {
        assert!((median(&[1.0, 2.0]) - 1.5).abs() < f64::EPSILON);
        assert!(median(&[]).is_nan());
    }
}
