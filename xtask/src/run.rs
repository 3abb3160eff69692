//! Starting other programs: said on stderr, their output never on our stdout.

use std::io::stderr;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A command line as a person would type it.
pub fn line(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(|arg| arg.to_string_lossy()));
    words.join(" ")
}

/// Runs it to its end with both its streams on our stderr, and says whether it succeeded.
pub fn passes(command: &mut Command) -> Result<bool> {
    eprintln!("+ {}", line(command));
    let progress = stderr().as_fd().try_clone_to_owned().context("duplicate stderr")?;
    command.stdout(Stdio::from(progress));
    let status = command.status().with_context(|| format!("start {}", line(command)))?;
    Ok(status.success())
}

/// As [`passes`], and its failure is an error.
pub fn must(command: &mut Command) -> Result<()> {
    if !passes(command)? {
        bail!("`{}` failed", line(command));
    }
    Ok(())
}
