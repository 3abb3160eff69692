//! The workspace's test programs: compiled once, then run by package.
//!
//! Cargo would unify features anew for every selection of packages, and so compile dependencies
//! again for each part; here it compiles all of them in one go and names the programs it made.

use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::peers::Peers;
use crate::{compile, paths, run};

/// The package whose tests need more than one process.
const PROCESSES: &str = "tests";
/// Its program of scenarios in a cluster.
const SCENARIOS: &str = "cluster";
/// Its program of faults in a cluster.
const NEMESIS: &str = "nemesis";

/// Whether scenarios go through everything, or through one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    Short,
    Long,
}

/// The line behind which a program says what failed, and how.
const FAILURES: &str = "failures:";
/// How many lines of what a program says of its failures are told again at the end; the last ones
/// name every test that failed.
const TOLD_AGAIN: usize = 60;

/// How many tests passed, failed and were skipped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
    pub skipped: u64,
    /// What the programs said of those that failed: a long run's end is often all that is kept of it.
    pub failures: Vec<String>,
}

impl Counts {
    /// A single check.
    pub fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed), ..Self::default() }
    }

    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }

    /// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
    fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("test result: ")?;
        let count = |word: &str| -> Option<u64> {
            let part = rest.split([';', '.']).find(|part| part.trim().ends_with(word))?;
            part.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            passed: count("passed")?,
            failed: count("failed")?,
            skipped: count("ignored")?,
            failures: Vec::new(),
        })
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Compiled test programs.
#[derive(Debug)]
pub struct Suite {
    programs: Vec<Program>,
}

#[derive(Debug)]
struct Program {
    /// The folder of its package, in which its tests expect to run.
    package: PathBuf,
    name: String,
    path: PathBuf,
}

/// The suite, compiled when first asked for.
pub fn built(suite: &mut Option<Suite>) -> Result<&Suite> {
    if suite.is_none() {
        *suite = Some(Suite::build()?);
    }
    Ok(suite.as_ref().expect("just built"))
}

impl Suite {
    /// Compiles the programs and their tests.
    pub fn build() -> Result<Self> {
        compile::programs()?;
        let arguments = ["test", "--release", "--workspace", "--no-run", "--message-format=json"];
        let mut cargo = compile::cargo(&arguments);
        eprintln!("+ {}", run::line(&cargo));
        let output = cargo.stderr(Stdio::inherit()).output().context("start cargo")?;
        if !output.status.success() {
            bail!("the tests do not compile");
        }
        let text = String::from_utf8(output.stdout).context("cargo prints no text")?;
        let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        Ok(Self { programs: messages.filter_map(|message| program(&message)).collect() })
    }

    /// Tests that need nothing but their own process, those in the documentation included.
    pub fn run_unit(&self) -> Result<Counts> {
        let mut counts = self.run(&[], |program| !program.is_of(PROCESSES))?;
        let mut docs = compile::cargo(&["test", "--release", "--workspace", "--doc", "--quiet"]);
        counts.add(run_counted(&mut docs)?);
        Ok(counts)
    }

    /// Tests that start servers and clients, with the peers by their usual variables.
    pub fn run_processes(&self, peers: &Peers) -> Result<Counts> {
        let variables =
            [("REDISHA_VALKEY", peers.valkey.server()), ("REDISHA_REDIS", peers.redis.server())];
        let alone = |program: &Program| ![SCENARIOS, NEMESIS].contains(&program.name.as_str());
        self.run(&variables, |program| program.is_of(PROCESSES) && alone(program))
    }

    /// The scenarios, with the cluster's tools from `bin`.
    pub fn run_scenarios(&self, bin: &Path, length: Length, wanted: &[String]) -> Result<Counts> {
        let mut command = self.program(SCENARIOS)?.command();
        if length == Length::Long {
            command.env("REDISHA_SOAK", "1");
        }
        run_counted(command.args(wanted).env("REDISHA_CLUSTER_BIN", bin))
    }

    /// Faults for some seconds, in the order that a seed gives, of all kinds or only of some; what they
    /// did, as JSON.
    pub fn run_nemesis(
        &self,
        bin: &Path,
        seconds: u64,
        seed: u64,
        only: &[String],
    ) -> Result<(Counts, Value)> {
        let mut command = self.program(NEMESIS)?.command();
        command.args(only).env("REDISHA_CLUSTER_BIN", bin);
        command.env("REDISHA_NEMESIS_SECONDS", seconds.to_string());
        command.env("REDISHA_NEMESIS_SEED", seed.to_string());
        eprintln!("+ {}", run::line(&command));
        let output = command.stderr(Stdio::inherit()).output().context("start the nemesis")?;
        let text = String::from_utf8(output.stdout).context("it prints no text")?;
        let last = text.lines().last().context("the nemesis ended without a result")?;
        let found = serde_json::from_str(last).context("read its result")?;
        Ok((Counts::one(output.status.success()), found))
    }

    /// The program of that name among the tests of more than one process.
    fn program(&self, name: &str) -> Result<&Program> {
        let mut programs = self.programs.iter();
        let found = programs.find(|program| program.is_of(PROCESSES) && program.name == name);
        found.with_context(|| format!("there is no test program called {name}"))
    }

    fn run(
        &self,
        variables: &[(&str, PathBuf)],
        wanted: impl Fn(&Program) -> bool,
    ) -> Result<Counts> {
        let mut counts = Counts::default();
        for program in self.programs.iter().filter(|program| wanted(program)) {
            let mut command = program.command();
            command.arg("--quiet").envs(variables.iter().map(|(name, value)| (name, value)));
            counts.add(run_counted(&mut command)?);
        }
        Ok(counts)
    }
}

impl Program {
    fn is_of(&self, package: &str) -> bool {
        self.package.file_name().is_some_and(|name| name == package)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.current_dir(&self.package);
        command.env("CARGO_MANIFEST_DIR", &self.package);
        command.env("REDISHA_BIN", paths::program("redisha"));
        command.env("REDISHA_SERVER_BIN", paths::program("redisha-server"));
        command
    }
}

/// A test program that one of cargo's messages tells of.
fn program(message: &Value) -> Option<Program> {
    let is_test = message["profile"]["test"].as_bool()?;
    let path = message["executable"].as_str().filter(|_| is_test)?;
    let manifest = Path::new(message["manifest_path"].as_str()?);
    Some(Program {
        package: manifest.parent()?.to_owned(),
        name: message["target"]["name"].as_str()?.to_owned(),
        path: path.into(),
    })
}

/// Runs a program, passes on what it says, and adds up its results.
fn run_counted(command: &mut Command) -> Result<Counts> {
    eprintln!("+ {}", run::line(command));
    let mut child = command.stdout(Stdio::piped()).spawn().context("start a test program")?;
    let stdout = child.stdout.take().expect("stdout is piped");
    let mut counts = Counts::default();
    let (mut failures, mut telling) = (Vec::new(), false);
    for line in BufReader::new(stdout).lines() {
        let line = line.context("read a test program's output")?;
        eprintln!("{line}");
        let result = Counts::parse(&line);
        telling = (telling || line == FAILURES) && result.is_none();
        if telling {
            failures.push(line);
        }
        counts.add(result.unwrap_or_default());
    }
    let status = child.wait().context("wait for a test program")?;
    if let Some(end) = untold_failure(status, &counts) {
        failures.push(format!("FAILED: it ended with {end}"));
        counts.failed += 1;
    }
    if !failures.is_empty() {
        counts.failures.push(run::line(command));
        counts.failures.extend(failures.split_off(failures.len().saturating_sub(TOLD_AGAIN)));
    }
    Ok(counts)
}

/// How a program ended, if that is a failure that none of its result lines counts: a crash in the
/// middle of a test.
fn untold_failure(status: ExitStatus, counts: &Counts) -> Option<String> {
    let told = status.code().is_some() && counts.failed > 0;
    (!status.success() && !told).then(|| status.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn result_lines_are_counted() {
        let line =
            "test result: FAILED. 31 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out";
        let expected = Counts { passed: 31, failed: 2, skipped: 1, failures: Vec::new() };
        assert_eq!(Counts::parse(line), Some(expected));
        assert_eq!(Counts::parse("test engine::get ... ok"), None);
    }

    /// A program that aborts prints no result; it was once counted as nothing at all, and later as
    /// a failure that nothing named.
    #[test]
    fn a_crash_is_a_failure() {
        let mut crashing = Command::new("sh");
        crashing.args(["-c", "kill -ABRT $$"]);
        let counts = run_counted(&mut crashing).unwrap();
        assert_eq!((counts.passed, counts.failed), (0, 1));
        let named = counts.failures.last().unwrap();
        assert!(named.contains("SIGABRT"), "{named}");
    }

    /// A run of twenty minutes once ended with "1 failed", of whose output only the end was kept: the
    /// test that had failed was never found.
    #[test]
    fn what_failed_is_told_again() {
        let script = "echo 'running 3 tests'; echo; echo failures:; echo; echo '---- b stdout ----'
            yes 'a line of its log' | head -200; echo 'panicked at b.rs:1'; echo; echo failures:; echo '    b'
            echo; echo 'test result: FAILED. 2 passed; 1 failed; 0 ignored;'; echo later; exit 101";
        let counts = run_counted(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!((counts.passed, counts.failed), (2, 1));
        assert_eq!(counts.failures.len(), 1 + TOLD_AGAIN);
        assert!(counts.failures[0].starts_with("sh -c"), "{:?}", counts.failures[0]);
        let told = |line: &str| counts.failures.iter().any(|said| said == line);
        assert!(told("panicked at b.rs:1") && told("    b") && !told("later"), "{counts:?}");
    }

    #[test]
    fn nothing_is_told_of_programs_that_pass() {
        let script =
            "echo 'running 1 test'; echo 'test result: ok. 1 passed; 0 failed; 0 ignored;'";
        let counts = run_counted(Command::new("sh").args(["-c", script])).unwrap();
        assert_eq!(counts, Counts::one(true));
    }

    #[test]
    fn only_test_programs_are_taken_from_cargos_messages() {
        let mut message = json!({
            "reason": "compiler-artifact",
            "manifest_path": "/x/server/Cargo.toml",
            "target": {"name": "server"},
            "profile": {"test": true},
            "executable": "/x/target/release/deps/server-1",
        });
        assert!(program(&message).is_some_and(|found| found.is_of("server")));
        message["profile"]["test"] = json!(false);
        assert!(program(&message).is_none());
    }
}
