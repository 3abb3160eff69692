//! `cargo xtask`: everything that a person or CI does with this repository.
//!
//! Progress goes to stderr. With `--json` the last line of stdout is one object with `schema`,
//! `command`, `commit` and `ok`. Exit codes: 0 bars met, 1 missed, 2 could not run, 64 usage.

mod bench;
mod check;
mod cluster;
mod compile;
mod conformance;
mod digest;
mod drill;
mod fuzz;
mod golang;
mod image;
mod licenses;
mod local;
mod nemesis;
mod paths;
mod peers;
mod report;
mod run;
mod simulate;
mod soak;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::report::Report;

/// What a person or CI does with this repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    /// Print one JSON object as the last line of stdout.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Three servers and the operator's switch on this machine, until Ctrl-C.
    Local(local::Args),
    /// Switchovers under load, with the bars that must be met.
    Drill(drill::Args),
    /// Format, lints, unit tests and a short simulation: before every commit.
    Check,
    /// Everything, with real processes, libraries and a real Kubernetes; what CI runs.
    Test(test::Args),
    /// Seeded worlds with faults, and planted bugs that they must catch.
    Simulate(simulate::Args),
    /// The long forms of tests.
    Soak(soak::Args),
    /// Faults in a real Kubernetes, while clients count together.
    Nemesis(nemesis::Args),
    /// Commands and replies beside Valkey's.
    Conformance(conformance::Args),
    /// Mutations against the server's readers, and random commands beside Valkey's.
    Fuzz(fuzz::Args),
    /// The server's processor time per command, beside Valkey's.
    Bench(bench::Args),
    /// OCI archives of operator and server.
    Image,
    /// Valkey and Redis to compare with; or paths in `REDISHA_VALKEY`, `REDISHA_REDIS`.
    Peers,
    /// A three-node Kubernetes in network namespaces of this machine; needs root.
    Cluster(cluster::Args),
}

impl Command {
    fn name(&self) -> &'static str {
        match self {
            Self::Local(_) => "local",
            Self::Drill(_) => "drill",
            Self::Check => "check",
            Self::Test(_) => "test",
            Self::Simulate(_) => "simulate",
            Self::Soak(_) => "soak",
            Self::Nemesis(_) => "nemesis",
            Self::Conformance(_) => "conformance",
            Self::Fuzz(_) => "fuzz",
            Self::Bench(_) => "bench",
            Self::Image => "image",
            Self::Peers => "peers",
            Self::Cluster(_) => "cluster",
        }
    }

    fn run(&self) -> anyhow::Result<Report> {
        match self {
            Self::Local(args) => local::run(args),
            Self::Drill(args) => drill::run(args),
            Self::Check => check::run(),
            Self::Test(args) => Ok(test::run(args)),
            Self::Simulate(args) => simulate::run(args),
            Self::Soak(args) => soak::run(args),
            Self::Nemesis(args) => nemesis::run(args),
            Self::Conformance(args) => conformance::run(args),
            Self::Fuzz(args) => fuzz::run(args),
            Self::Bench(args) => bench::run(args),
            Self::Image => image::run(),
            Self::Peers => peers::run(),
            Self::Cluster(args) => cluster::command(args),
        }
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help is an answer, not a mistake; `print` picks the right stream.
            let code = if error.use_stderr() { report::USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    let name = cli.command.name();
    let result = cli.command.run();
    if let Err(error) = &result {
        eprintln!("cargo xtask {name}: {error:#}");
    }
    if cli.json {
        println!("{}", report::line(name, &result));
    }
    report::exit_code(&result)
}
