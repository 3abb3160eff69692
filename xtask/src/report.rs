//! What a command found: its fields, whether the bars are met, and how that leaves the process.

use std::process::{Command, ExitCode};

use serde_json::{Map, Value, json};

/// Exit code for an invocation that cannot be understood (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// Exit code for a command that could not run at all.
const COULD_NOT_RUN: u8 = 2;
/// The version of the objects that `--json` prints; it rises when a field changes its meaning.
const SCHEMA: u32 = 1;

/// The result of a command that ran: whether its bars are met, and what it measured.
#[derive(Debug)]
pub struct Report {
    pub ok: bool,
    pub fields: Map<String, Value>,
}

impl Report {
    /// A result without any measure.
    pub fn plain(ok: bool) -> Self {
        Self { ok, fields: Map::new() }
    }

    /// The same result with one more field.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.fields.insert(name.to_owned(), value.into());
        self
    }
}

/// The one line of `--json`. A command that could not run is `ok: false` with its `error`.
pub fn line(command: &str, result: &anyhow::Result<Report>) -> String {
    let mut object = Map::new();
    object.insert("schema".into(), json!(SCHEMA));
    object.insert("command".into(), json!(command));
    object.insert("commit".into(), json!(commit()));
    match result {
        Ok(report) => {
            object.insert("ok".into(), json!(report.ok));
            object.extend(report.fields.clone());
        }
        Err(error) => {
            object.insert("ok".into(), json!(false));
            object.insert("error".into(), json!(format!("{error:#}")));
        }
    }
    Value::Object(object).to_string()
}

/// 0 bars met, 1 missed, 2 could not run.
pub fn exit_code(result: &anyhow::Result<Report>) -> ExitCode {
    match result {
        Ok(report) if report.ok => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(_) => ExitCode::from(COULD_NOT_RUN),
    }
}

/// The commit of the checkout, with a `+` when files differ from it; empty outside of git.
fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(crate::paths::root()).output();
        output.ok().filter(|output| output.status.success()).map(|output| output.stdout)
    };
    let Some(head) = git(&["rev-parse", "HEAD"]) else {
        return String::new();
    };
    let changed = git(&["status", "--porcelain"]).is_some_and(|files| !files.is_empty());
    let head = String::from_utf8_lossy(&head).trim().to_owned();
    if changed { head + "+" } else { head }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_the_promised_fields_first_and_the_measures_after() {
        let line = line("drill", &Ok(Report::plain(true).with("replies", 7)));
        let object: Map<String, Value> = serde_json::from_str(&line).unwrap();
        assert_eq!(object["schema"], json!(1));
        assert_eq!(object["command"], json!("drill"));
        assert_eq!(object["ok"], json!(true));
        assert_eq!(object["replies"], json!(7));
        assert!(object["commit"].is_string());
    }

    #[test]
    fn a_command_that_could_not_run_says_why() {
        let result = Err(anyhow::anyhow!("no such file").context("start the server"));
        let object: Value = serde_json::from_str(&line("drill", &result)).unwrap();
        assert_eq!(object["ok"], json!(false));
        assert_eq!(object["error"], json!("start the server: no such file"));
    }
}
