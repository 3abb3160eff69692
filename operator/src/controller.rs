//! The operator in a cluster: observe → validate → build → apply → status.

pub mod apply;
pub mod build;
pub mod cluster;
pub mod context;
pub mod directory;
pub mod facts;
pub mod leader;
pub mod observe;
pub mod status;
pub mod store;
pub mod validate;

use std::process::ExitCode;

/// Arguments of `redisha operator`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs until it is told to stop.
pub async fn run(_args: Args) -> anyhow::Result<ExitCode> {
    std::future::ready(()).await;
    anyhow::bail!("the controller is not part of this build")
}
