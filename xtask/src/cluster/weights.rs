//! Who gets the processors when all want them, as on a real machine of Kubernetes.
//!
//! There systemd holds all that runs the machine in one control group, and the kubelet all pods in
//! another. In no group at all, each thread of a control plane and of the clients would weigh as much
//! as half of the pods together, and a server would wait for longer than a client does.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::state::create_dir;

/// The shares of a processor, as Kubernetes counts them.
const PROCESSOR: u64 = 1024;
/// How long a killed process may count as one of its group.
const LINGER: Duration = Duration::from_secs(2);

/// A control group of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// All containers; the name is containerd's.
    Pods,
    /// The control plane and what runs the nodes.
    System,
    /// The tests and their clients, which would be other machines.
    Clients,
}

impl Group {
    const ALL: [Self; 3] = [Self::Pods, Self::System, Self::Clients];

    fn name(self) -> &'static str {
        match self {
            Self::Pods => "k8s.io",
            Self::System => "redisha-system",
            Self::Clients => "redisha-clients",
        }
    }

    fn shares(self) -> Result<u64> {
        Ok(match self {
            Self::Pods => {
                let processors = thread::available_parallelism().context("count the processors")?;
                PROCESSOR * processors.get() as u64
            }
            Self::System | Self::Clients => PROCESSOR,
        })
    }

    fn folder(self) -> PathBuf {
        hierarchy().join(self.name())
    }

    /// Moves a process here with all its threads; its children follow.
    pub fn take(self, pid: u32) -> Result<()> {
        let name = self.name();
        fs::write(self.folder().join("cgroup.procs"), pid.to_string())
            .with_context(|| format!("move process {pid} to the control group {name}"))
    }
}

/// The hierarchy that weighs processors, of the first version of control groups or the second.
fn hierarchy() -> PathBuf {
    let top = Path::new("/sys/fs/cgroup");
    let first = top.join("cpu");
    if first.is_dir() { first } else { top.to_owned() }
}

/// Makes the groups.
pub fn create() -> Result<()> {
    for group in Group::ALL {
        let folder = group.folder();
        create_dir(&folder)?;
        let shares = group.shares()?;
        let (file, weight) = if folder.join("cpu.shares").exists() {
            ("cpu.shares", shares)
        } else {
            // As container runtimes translate: 2 to 262144 becomes 1 to 10000.
            ("cpu.weight", 1 + (shares.min(262_144) - 2) * 9999 / 262_142)
        };
        // Where the machine lends this hierarchy no processors, all weigh the same.
        if folder.join(file).exists() {
            fs::write(folder.join(file), weight.to_string())
                .with_context(|| format!("weigh the control group {}", group.name()))?;
        }
    }
    Ok(())
}

/// Removes the groups; processes that go on, such as this one, are the machine's again.
pub fn remove() {
    for group in Group::ALL {
        let folder = group.folder();
        let processes = fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
        for pid in processes.lines() {
            // It may have ended meanwhile.
            let _ = fs::write(hierarchy().join("cgroup.procs"), pid);
        }
        // The kernel counts killed processes for a moment longer. Another containerd of the machine may
        // hold containers in its own group, which stays.
        let begun = Instant::now();
        while folder.exists() && fs::remove_dir(&folder).is_err() && begun.elapsed() < LINGER {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
