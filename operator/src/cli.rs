//! The command line of `redisha` and the exit codes that it promises.
//!
//! 0: done, bars met; 1: failed or missed; 2: could not run; 64: usage.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Exit code for an invocation that cannot be understood (`EX_USAGE`).
pub const USAGE: u8 = 64;
/// Exit code for a command that could not run at all.
pub const COULD_NOT_RUN: u8 = 2;

/// A Redis that moves without its clients noticing.
#[derive(Debug, Parser)]
#[command(name = "redisha", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator in a cluster.
    Operator(crate::controller::Args),
    /// Run three servers on this machine, with a front door that leads to the primary.
    Local(crate::local::Args),
    /// Run switchovers under load and report what clients saw.
    Drill(crate::drill::Args),
    /// Print the `CustomResourceDefinition` as YAML.
    Crd,
    /// Print everything that an installation applies, as YAML.
    Manifests(crate::manifests::Args),
    /// Show what a `RedisHA` in a cluster is doing.
    Status(crate::executor::remote::StatusArgs),
    /// Move the primary of a `RedisHA` in a cluster, and wait until it has moved.
    Switchover(crate::executor::remote::SwitchoverArgs),
}

/// Parses the arguments, runs the command and turns its result into an exit code.
pub fn main() -> ExitCode {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, not mistakes; `print` picks the right stream.
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    log(&cli.command);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("redisha: cannot start the async runtime: {error}");
            return ExitCode::from(COULD_NOT_RUN);
        }
    };
    let result = runtime.block_on(run(cli.command));
    // A task that is stuck in a system call must not keep the process from ending.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("redisha: {error:#}");
            ExitCode::from(COULD_NOT_RUN)
        }
    }
}

/// Reads the arguments and refuses those that contradict each other.
fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let cli = Cli::try_parse_from(args)?;
    if let Command::Local(args) = &cli.command
        && let Some(why) = args.contradiction()
    {
        return Err(Cli::command().error(ErrorKind::ArgumentConflict, why));
    }
    Ok(cli)
}

/// What the program does goes to stderr: JSON lines of the operator, else only what went wrong.
/// `REDISHA_LOG` says how much, in the form of `RUST_LOG`.
fn log(command: &Command) {
    let in_cluster = matches!(command, Command::Operator(_));
    let usual = if in_cluster { "info" } else { "warn" };
    let filter = EnvFilter::try_from_env("REDISHA_LOG").unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    if in_cluster { log.json().init() } else { log.init() }
}

async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Operator(args) => Box::pin(crate::controller::run(args)).await,
        Command::Local(args) => crate::local::run(args).await,
        Command::Drill(args) => crate::drill::run(args).await,
        Command::Crd => crate::manifests::print_crd(),
        Command::Manifests(args) => crate::manifests::run(&args),
        Command::Status(args) => crate::executor::remote::status(args).await,
        Command::Switchover(args) => crate::executor::remote::switchover(args).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, taken: bool) {
        let parsed = parse(line.split_whitespace().map(OsString::from));
        assert_eq!(parsed.is_ok(), taken, "{line}: {:?}", parsed.err());
    }

    /// It was taken, and ignored, by commands that act on servers which run already.
    #[test]
    fn a_durability_is_for_servers_that_are_started() {
        check("redisha local --durability disk", true);
        check("redisha local --durability disk --port 7000", true);
        check("redisha local execute --durability disk", true);
        check("redisha local --port 7000 status --dir d", true);
        for command in ["status", "switchover --to redisha-1", "kill"] {
            check(&format!("redisha local {command} --durability disk"), false);
            check(&format!("redisha local --durability disk {command}"), false);
        }
        check("redisha local --durability disk execute", false);
    }
}
