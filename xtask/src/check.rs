//! `cargo xtask check`: what must hold before every commit.

use std::time::Instant;

use anyhow::Result;

use crate::compile::cargo;
use crate::report::Report;
use crate::{licenses, run};

/// The parts, each a name and cargo's arguments.
const PARTS: &[(&str, &[&str])] = &[
    ("format", &["fmt", "--all", "--check"]),
    (
        "lints",
        &["clippy", "--release", "--workspace", "--all-targets", "--quiet", "--", "-Dwarnings"],
    ),
    ("unit tests", &["test", "--release", "--workspace", "--exclude", "tests", "--quiet"]),
];

pub fn run() -> Result<Report> {
    let mut failed = Vec::new();
    if !licenses::check()? {
        failed.push("licences");
    }
    for (name, args) in PARTS {
        let begun = Instant::now();
        let passed = run::passes(&mut cargo(args))?;
        let verdict = if passed { "ok" } else { "FAILED" };
        eprintln!("{name}: {verdict} in {:.0} s", begun.elapsed().as_secs_f64());
        if !passed {
            failed.push(*name);
        }
    }
    Ok(Report::plain(failed.is_empty()).with("failed", failed))
}
