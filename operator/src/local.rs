//! Three servers on this machine, switched by the same executor that runs in a cluster.

use std::process::ExitCode;

/// Arguments of `redisha local`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the servers until Ctrl-C.
pub async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    std::future::ready(()).await;
    anyhow::bail!("the local environment is not part of this build")
}
