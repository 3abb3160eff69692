//! `cargo xtask cluster`: a real three-node Kubernetes on this machine, without an engine.
//!
//! Nodes are network namespaces, each with its own containerd, kubelet and kube-proxy; the machine's
//! own network stays as it is. One cluster per machine: its folders and namespaces have fixed names.

mod cleanup;
mod control;
mod network;
mod node;
mod packages;
mod pki;
mod process;
mod state;
mod weights;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::report::Report;
use crate::{golang, image, paths, run};
pub use state::State;
use weights::Group;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Start the cluster anew; first remove what an earlier one left.
    Up,
    /// End the cluster and remove everything it made.
    Down,
    /// Import archives into every node; without arguments those of `cargo xtask image`.
    LoadImages {
        /// OCI archives.
        archives: Vec<PathBuf>,
    },
    /// Print the shell's lines that put kubectl and the kubeconfig in reach.
    Env,
}

pub fn command(args: &Args) -> Result<Report> {
    match &args.what {
        What::Up => {
            let cluster = up()?;
            print!("{}", cluster.state().shell());
            Ok(Report::plain(true)
                .with("kubeconfig", cluster.state().kubeconfig().display().to_string()))
        }
        What::Down => {
            root_or_fail()?;
            let state = State::lock()?;
            cleanup::everything(&state)?;
            Ok(Report::plain(true))
        }
        What::LoadImages { archives } => {
            root_or_fail()?;
            let archives = if archives.is_empty() { image::both()? } else { archives.clone() };
            node::load_images(&State::lock()?, &archives)?;
            Ok(Report::plain(true))
        }
        What::Env => {
            print!("{}", State::view().shell());
            Ok(Report::plain(true))
        }
    }
}

/// A running cluster, whose lock this process holds.
#[derive(Debug)]
pub struct Cluster {
    state: State,
}

impl Cluster {
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Imports archives into every node.
    pub fn load_images(&self, archives: &[PathBuf]) -> Result<()> {
        node::load_images(&self.state, archives)
    }

    /// Copies the logs of the cluster's programs and pods to where they outlive it.
    pub fn keep_logs(&self) {
        let kept = paths::target().join("cluster-logs");
        let _ = std::fs::remove_dir_all(&kept);
        let mut sources = vec![self.state.data("logs")];
        sources
            .extend((1..=network::NODES).map(|n| self.state.data(&network::node(n)).join("logs")));
        for (number, source) in sources.iter().enumerate() {
            let into = kept.join(number.to_string());
            let made = state::create_dir(&into);
            let mut copy = Command::new("cp");
            copy.arg("--recursive").arg(source).arg(&into);
            if made.and_then(|()| run::must(&mut copy)).is_err() {
                eprintln!("the logs in {} could not be kept", source.display());
            }
        }
        eprintln!("the cluster's logs are in {}", kept.display());
    }

    /// Ends it and removes everything it made.
    pub fn down(&self) -> Result<()> {
        cleanup::everything(&self.state)
    }
}

/// Makes this process, and all that it starts from now on, a client of the cluster that is up.
pub fn enter() -> Result<()> {
    Group::Clients.take(std::process::id())
}

/// Whether this process may make namespaces and cgroups.
pub fn is_root() -> bool {
    // The owner of a process's own folder is its effective user.
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn root_or_fail() -> Result<()> {
    if !is_root() {
        bail!("the cluster needs root: it makes network namespaces and cgroups");
    }
    Ok(())
}

/// Starts a cluster with three Ready nodes.
pub fn up() -> Result<Cluster> {
    root_or_fail()?;
    let programs = golang::kubernetes()?;
    packages::install()?;
    let pause = image::pause()?;
    let state = State::lock()?;
    cleanup::everything(&state)?;
    let begun = Instant::now();
    state.create()?;
    network::create()?;
    weights::create()?;
    pki::create(&state)?;
    state.write_tools(&programs)?;
    control::start(&state, &programs)?;
    node::start_all(&state, &programs, &pause)?;
    control::wait_ready(&state).context("wait for three Ready nodes")?;
    eprintln!("three nodes are Ready after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(Cluster { state })
}
