//! Switchovers under load, and what clients saw of them.

use std::process::ExitCode;

/// Arguments of `redisha drill`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the drill; 0 when no client saw anything.
pub async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    std::future::ready(()).await;
    anyhow::bail!("the drill is not part of this build")
}
