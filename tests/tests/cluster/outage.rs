//! The data path without operator and API server.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use serde_json::Value;
use tests::cluster::{NAMESPACE, OPERATOR, PATIENCE, signal};
use tests::wait;

use super::World;

/// How long they are away: far longer than any lease, timer or patience of a server.
const SHORT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_mins(10);

/// Nobody is left to decide anything, and writes go on to be answered when two members hold them.
pub fn control_plane(world: &World) -> Result<()> {
    world.redisha.settled()?;
    let deployment =
        world.cluster.kubectl(&["get", "deployment", "-n", NAMESPACE, "-o", "json"])?;
    let deployment: Value = serde_json::from_str(&deployment)?;
    let deployment = &deployment["items"][0];
    let name = deployment["metadata"]["name"].as_str().context("there is no operator")?;
    let processes = deployment["spec"]["replicas"].as_u64().unwrap_or(1);
    let result = world.under_load("outage", || {
        operators(world, name, 0)?;
        wait::until("no operator is left", PATIENCE, || {
            let args = ["get", "pods", "-n", NAMESPACE, "-l", OPERATOR, "-o", "name"];
            Ok(world.cluster.kubectl(&args)?.trim().is_empty().then_some(()))
        })?;
        let api_server = world.cluster.program("kube-apiserver")?;
        signal(api_server, Signal::STOP)?;
        std::thread::sleep(if soaks() { LONG } else { SHORT });
        signal(api_server, Signal::CONT)
    });
    // A failure shall not leave the others without an operator.
    operators(world, name, processes)?;
    world.redisha.settled()?;
    result
}

fn soaks() -> bool {
    std::env::var_os("REDISHA_SOAK").is_some()
}

fn operators(world: &World, deployment: &str, processes: u64) -> Result<()> {
    let replicas = format!("--replicas={processes}");
    wait::until("the API server answers", PATIENCE, || {
        let args = ["scale", "deployment", deployment, "-n", NAMESPACE, &replicas];
        Ok(world.cluster.kubectl(&args).ok())
    })
    .map(drop)
}
