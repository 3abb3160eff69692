//! Removes what a cluster made, also when the run that made it was cut off anywhere.

mod traces;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::{State, network, process, weights};

/// Processes first, then what they had mounted, then namespaces, control groups and files.
pub fn everything(state: &State) -> Result<()> {
    process::end_recorded(state)?;
    let containers = containers(state);
    let groups = traces::control_groups(&containers);
    process::kill_all(&containers)?;
    process::kill_all(&network::processes()?)?;
    traces::remove_groups(&groups);
    weights::remove();
    unmount_all(state)?;
    network::remove()?;
    traces::remove_files(state);
    for root in state.roots() {
        if root.exists() {
            fs::remove_dir_all(root).with_context(|| format!("remove {}", root.display()))?;
        }
    }
    Ok(())
}

/// The shims that serve our containerds' sockets, and all that descend from them.
///
/// containerd's shims outlive it on purpose, and carry its socket's path among their arguments,
/// which no other containerd on the machine has.
fn containers(state: &State) -> Vec<u32> {
    let table = process::table();
    let [run, _] = state.roots();
    let ours = format!("-address {}/", run.display());
    let mut found: BTreeSet<u32> = table
        .iter()
        .filter(|(_, _, args)| args.contains("containerd-shim") && args.contains(&ours))
        .map(|(pid, _, _)| *pid)
        .collect();
    loop {
        let before = found.len();
        let children = table.iter().filter(|(_, parent, _)| found.contains(parent));
        let children: Vec<_> = children.map(|(pid, _, _)| *pid).collect();
        found.extend(children);
        if found.len() == before {
            return found.into_iter().collect();
        }
    }
}

fn unmount_all(state: &State) -> Result<()> {
    let mounts = mounts_under(state)?;
    // The last mounted is the first to go.
    for mount in mounts.iter().rev() {
        let _ = Command::new("umount").arg("--lazy").arg(mount).stderr(Stdio::null()).status();
    }
    let left = mounts_under(state)?;
    if !left.is_empty() {
        bail!("still mounted, so nothing is removed: {left:?}");
    }
    Ok(())
}

fn mounts_under(state: &State) -> Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo").context("read the mounts")?;
    let points = text.lines().filter_map(|line| line.split_whitespace().nth(4));
    // Spaces are written as \040; none of our paths has any.
    let points = points.map(PathBuf::from);
    Ok(points.filter(|point| state.roots().iter().any(|root| point.starts_with(root))).collect())
}
