//! What an installation applies, made from the same types that the operator runs with.

use std::process::ExitCode;

/// Arguments of `redisha manifests`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the `CustomResourceDefinition`.
pub fn print_crd() -> anyhow::Result<ExitCode> {
    anyhow::bail!("the definition is not part of this build")
}

/// Prints everything that an installation applies.
pub fn run(_args: &Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("the manifests are not part of this build")
}
