//! `cargo xtask drill`: builds, runs `redisha drill`, and holds its figures against the bars.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value};

use crate::report::Report;
use crate::{compile, paths, run};

/// The longest pause that a typical and that nearly every switchover may take, in ms.
const PAUSE_BARS: &[(&str, f64)] = &[("p50", 10.0), ("p99", 50.0)];

/// Which bars count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bars {
    /// No error, nothing lost, nothing done twice.
    Safety,
    /// And the length of the pauses.
    All,
}

#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often the primary moves.
    #[arg(long, default_value_t = 100)]
    switchovers: u32,
    /// How many clients write all the while.
    #[arg(long, default_value_t = 50)]
    clients: u32,
    /// Further arguments of `redisha drill`, for example `--namespace N --name R`.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub fn run(args: &Args) -> Result<Report> {
    compile::programs()?;
    measure(args.switchovers, args.clients, &args.rest, Bars::All)
}

/// Runs the drill with programs that are already built.
pub fn measure(switchovers: u32, clients: u32, rest: &[String], bars: Bars) -> Result<Report> {
    let mut command = Command::new(paths::program("redisha"));
    command
        .args(["drill", "--json"])
        .args(["--switchovers", &switchovers.to_string()])
        .args(["--clients", &clients.to_string()])
        .args(rest)
        .env("REDISHA_SERVER_BIN", paths::program("redisha-server"))
        .stderr(Stdio::inherit());
    eprintln!("+ {}", run::line(&command));
    let output = command.output().context("start redisha drill")?;
    let text = String::from_utf8(output.stdout).context("redisha drill prints no text")?;
    let Some(last) = text.lines().last() else {
        bail!("redisha drill ended with {} and without a result", output.status);
    };
    let fields: Map<String, Value> =
        serde_json::from_str(last).with_context(|| format!("read the result {last:?}"))?;
    Ok(judge(fields, switchovers, bars))
}

/// Adds `missed`, the bars that are not met, and strips what the outer object says itself.
fn judge(mut fields: Map<String, Value>, switchovers: u32, bars: Bars) -> Report {
    let mut missed = Vec::new();
    if fields.get("switchovers").and_then(Value::as_u64) != Some(u64::from(switchovers)) {
        missed.push(format!("switchovers is not {switchovers}"));
    }
    for count in ["errors", "lost", "duplicated"] {
        if fields.get(count).and_then(Value::as_u64) != Some(0) {
            missed.push(format!("{count} is not 0"));
        }
    }
    if fields.get("replies").and_then(Value::as_u64).unwrap_or(0) == 0 {
        missed.push("no client had a reply".to_owned());
    }
    let pauses = if bars == Bars::All { PAUSE_BARS } else { &[] };
    for (quantile, bar) in pauses {
        let pause = fields.get("pause_ms").and_then(|pause| pause.get(*quantile));
        if pause.and_then(Value::as_f64).is_none_or(|pause| pause > *bar) {
            missed.push(format!("pause_ms.{quantile} is over {bar}"));
        }
    }
    for line in &missed {
        eprintln!("missed: {line}");
    }
    for own in ["schema", "command", "commit", "ok"] {
        fields.remove(own);
    }
    let ok = missed.is_empty();
    Report { ok, fields }.with("missed", missed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn result() -> Map<String, Value> {
        let value = json!({
            "ok": true, "switchovers": 3, "replies": 90, "errors": 0, "lost": 0, "duplicated": 0,
            "pause_ms": {"p50": 4.0, "p99": 20.0, "max": 21.0},
        });
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_drill_within_its_bars_is_ok() {
        let report = judge(result(), 3, Bars::All);
        assert!(report.ok, "{:?}", report.fields["missed"]);
        assert!(!report.fields.contains_key("ok"), "the outer object says it");
    }

    #[test]
    fn a_long_pause_is_no_breach_of_safety() {
        let mut fields = result();
        fields.insert("pause_ms".to_owned(), json!({"p50": 90.0, "p99": 90.0}));
        assert!(judge(fields, 3, Bars::Safety).ok);
    }

    #[test]
    fn each_bar_is_held() {
        for (field, value) in [
            ("errors", json!(1)),
            ("lost", json!(1)),
            ("duplicated", json!(1)),
            ("replies", json!(0)),
            ("switchovers", json!(2)),
            ("pause_ms", json!({"p50": 10.1, "p99": 20.0})),
            ("pause_ms", json!({"p50": 4.0, "p99": 50.1})),
            ("pause_ms", json!({"p50": 4.0})),
            ("errors", Value::Null),
        ] {
            let mut fields = result();
            fields.insert(field.to_owned(), value.clone());
            assert!(!judge(fields, 3, Bars::All).ok, "{field} {value}");
        }
    }
}
