//! Pods and cables of the cluster's nodes.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use tests::cluster::{RedisHA, text};

/// The primary and the node that it runs on.
pub fn primary(redisha: &RedisHA) -> Result<(String, String)> {
    let primary = redisha.primary()?;
    let node = redisha.node_of(&primary)?;
    Ok((primary, node))
}

/// A pod that follows the primary.
pub fn replica(redisha: &RedisHA) -> Result<String> {
    let primary = redisha.primary()?;
    let mut pods = (0..3).map(|ordinal| format!("{}-{ordinal}", redisha.name));
    pods.find(|pod| *pod != primary).context("there is no replica")
}

/// Cuts or mends a node's cable.
pub fn cable(node: &str, state: &str) -> Result<()> {
    let port = format!("to-{node}");
    text(Command::new("ip").args(["-n", "fabric", "link", "set", &port, state])).map(drop)
}

/// One of the two ways of a node's cable.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    Out,
    In,
}

/// Drops all that goes one way (`-I`), or lets it pass again (`-D`).
pub fn filter(node: &str, way: Way, action: &str) -> Result<()> {
    let (own, interface) = match way {
        Way::Out => ("OUTPUT", "-o"),
        Way::In => ("INPUT", "-i"),
    };
    // What is the node's own, and what is its pods'.
    for chain in [own, "FORWARD"] {
        let space = format!("--net={}", Path::new("/var/run/netns").join(node).display());
        let mut command = Command::new("nsenter");
        command.arg(space).args(["iptables", "-w", action, chain, interface, "eth0", "-j", "DROP"]);
        text(&mut command)?;
    }
    Ok(())
}
