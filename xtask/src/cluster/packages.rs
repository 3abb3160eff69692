//! The programs that come from the distribution.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::run;

/// A file that a package brings, and the package.
const NEEDED: &[(&str, &str)] = &[
    ("/usr/bin/containerd", "containerd"),
    ("/usr/sbin/runc", "runc"),
    ("/usr/lib/cni/bridge", "containernetworking-plugins"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/sbin/iptables", "iptables"),
    ("/usr/sbin/conntrack", "conntrack"),
    ("/usr/bin/socat", "socat"),
];

/// Installs what is missing, by apt-get.
pub fn install() -> Result<()> {
    let missing = || NEEDED.iter().filter(|(file, _)| !Path::new(file).exists());
    let packages: Vec<_> = missing().map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").arg("-q").args(args);
        run::must(&mut command)
    };
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&packages);
    apt(&install).with_context(|| format!("install {}", packages.join(", ")))
}
