//! Processes and cables of the cluster's nodes.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use tests::cluster::{RedisHA, text};

use super::World;

/// The process of a pod's only container.
pub fn process_of(world: &World, pod: &str, namespace: &str) -> Result<Pid> {
    let object = world.cluster.get("pod", pod, namespace)?;
    let id = object["status"]["containerStatuses"][0]["containerID"].as_str();
    let id = id.and_then(|id| id.strip_prefix("containerd://"));
    let id = id.with_context(|| format!("{pod} has no running container"))?;
    for entry in fs::read_dir("/proc").context("list the processes")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may end while it is looked at.
        let group = fs::read_to_string(entry.path().join("cgroup")).unwrap_or_default();
        if group.contains(id)
            && let Some(pid) = Pid::from_raw(pid)
        {
            return Ok(pid);
        }
    }
    bail!("no process of {pod} is there")
}

/// The primary and the node that it runs on.
pub fn primary(redisha: &RedisHA) -> Result<(String, String)> {
    let primary = redisha.primary()?;
    let node = redisha.node_of(&primary)?;
    Ok((primary, node))
}

/// Cuts or mends a node's cable.
pub fn cable(node: &str, state: &str) -> Result<()> {
    let port = format!("to-{node}");
    text(Command::new("ip").args(["-n", "fabric", "link", "set", &port, state])).map(drop)
}

/// Drops, or lets pass again, what leaves a node.
pub fn mute(node: &str, action: &str) -> Result<()> {
    for chain in ["OUTPUT", "FORWARD"] {
        let space = format!("--net={}", Path::new("/var/run/netns").join(node).display());
        let mut command = Command::new("nsenter");
        command.arg(space).args(["iptables", "-w", action, chain, "-o", "eth0", "-j", "DROP"]);
        text(&mut command)?;
    }
    Ok(())
}
