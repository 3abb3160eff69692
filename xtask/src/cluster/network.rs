//! The network: one namespace with a bridge, and one namespace each for control plane and nodes.
//!
//! Pod ranges are static, 10.244.N.0/24 on node N, with host routes between the namespaces. The
//! machine's own network is never touched: even the veth pairs are made inside of namespaces.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// How many nodes there are.
pub const NODES: u8 = 3;
/// The control plane's address, at which the API server listens.
pub const CONTROL: &str = "10.99.0.1";
/// All pods of all nodes.
pub const PODS: &str = "10.244.0.0/16";
/// The range of `ClusterIP` addresses.
pub const SERVICES: &str = "10.96.0.0/16";
/// The first of them, which is the API server's own Service.
pub const API_SERVICE: &str = "10.96.0.1";

/// The namespace that holds the bridge.
const FABRIC: &str = "fabric";

/// The namespace, and the node, called `node1` and so on.
pub fn node(number: u8) -> String {
    format!("node{number}")
}

/// A node's address.
pub fn node_address(number: u8) -> String {
    format!("10.99.0.{}", 10 + number)
}

/// The range of a node's pods.
pub fn node_pods(number: u8) -> String {
    format!("10.244.{number}.0/24")
}

/// The file that stands for a namespace.
pub fn path(space: &str) -> String {
    format!("/var/run/netns/{space}")
}

fn spaces() -> Vec<(String, String)> {
    let mut spaces = vec![("cp".to_owned(), CONTROL.to_owned())];
    spaces.extend((1..=NODES).map(|number| (node(number), node_address(number))));
    spaces
}

/// Makes the namespaces and connects them.
pub fn create() -> Result<()> {
    ip(&["netns", "add", FABRIC])?;
    in_space(FABRIC, &["link", "set", "lo", "up"])?;
    in_space(FABRIC, &["link", "add", "bridge0", "type", "bridge"])?;
    in_space(FABRIC, &["link", "set", "bridge0", "up"])?;
    for (space, address) in spaces() {
        let port = format!("to-{space}");
        ip(&["netns", "add", &space])?;
        in_space(&space, &["link", "set", "lo", "up"])?;
        let pair = ["link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &space];
        in_space(FABRIC, &pair)?;
        in_space(FABRIC, &["link", "set", &port, "master", "bridge0", "up"])?;
        in_space(&space, &["address", "add", &format!("{address}/24"), "dev", "eth0"])?;
        in_space(&space, &["link", "set", "eth0", "up"])?;
        sysctl(&space, "net/ipv4/ip_forward", "1")?;
        for number in 1..=NODES {
            if node(number) != space {
                let route = ["route", "add", &node_pods(number), "via", &node_address(number)];
                in_space(&space, &route)?;
            }
        }
        // ClusterIPs have no route of their own; any will do, since the address is rewritten.
        let services = ["route", "add", SERVICES, "dev", "eth0"];
        in_space(&space, &services)?;
    }
    Ok(())
}

/// The processes in the namespaces, whoever started them: clients of an interrupted test, or a program
/// whose record was not written yet.
pub fn processes() -> Result<Vec<u32>> {
    let mut found = Vec::new();
    for (space, _) in spaces() {
        if Path::new(&path(&space)).exists() {
            let output = Command::new("ip").args(["netns", "pids", &space]).output()?;
            let text = String::from_utf8_lossy(&output.stdout);
            found.extend(text.split_whitespace().filter_map(|word| word.parse::<u32>().ok()));
        }
    }
    Ok(found)
}

/// Deletes the namespaces, and with them all that is in them.
pub fn remove() -> Result<()> {
    let names = spaces().into_iter().map(|(space, _)| space).chain([FABRIC.to_owned()]);
    for space in names {
        if Path::new(&path(&space)).exists() {
            ip(&["netns", "delete", &space])?;
        }
    }
    Ok(())
}

fn in_space(space: &str, args: &[&str]) -> Result<()> {
    let mut all = vec!["-n", space];
    all.extend(args);
    ip(&all)
}

fn ip(args: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let error = String::from_utf8_lossy(&output.stderr);
        bail!("ip {}: {}", args.join(" "), error.trim());
    }
    Ok(())
}

fn sysctl(space: &str, key: &str, value: &str) -> Result<()> {
    let script = format!("echo {value} > /proc/sys/{key}");
    let status = Command::new("nsenter")
        .arg(format!("--net={}", path(space)))
        .args(["sh", "-c", &script])
        .status()?;
    if !status.success() {
        bail!("cannot set {key} in {space}");
    }
    Ok(())
}
