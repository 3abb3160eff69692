//! The faults, one row each.

use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::Signal;
use tests::cluster::{NAMESPACE, signal};

use super::World;
use super::machine::{Way, cable, filter, primary, replica};

/// Takes a fault away.
pub type Heal = Box<dyn FnOnce() -> Result<()>>;

/// Something that goes wrong.
pub struct Fault {
    pub name: &'static str,
    pub what: &'static str,
    /// How long it lasts.
    pub hold: Duration,
    /// How long the probe may go without an answer, at the 99th percentile, where a bar is set.
    pub bar: Option<Duration>,
    pub inject: fn(&World) -> Result<Heal>,
}

/// Until a primary whose process has ended has a successor that answers.
const KILLED: Duration = Duration::from_secs(1);
/// The same for one that is only silent.
const SILENT: Duration = Duration::from_secs(5);

/// Every kind of fault.
pub const FAULTS: &[Fault] = &[
    Fault {
        name: "kill-primary",
        what: "the primary's process is killed",
        hold: Duration::from_secs(2),
        bar: Some(KILLED),
        inject: kill_primary,
    },
    Fault {
        name: "kill-replica",
        what: "a replica's process is killed",
        hold: Duration::from_secs(2),
        bar: None,
        inject: kill_replica,
    },
    Fault {
        name: "stop-primary",
        what: "the primary's process is stopped, and goes on much later",
        hold: Duration::from_secs(15),
        bar: Some(SILENT),
        inject: stop_primary,
    },
    Fault {
        name: "force-delete-primary",
        what: "the primary's pod is deleted by force",
        hold: Duration::from_secs(2),
        bar: Some(KILLED),
        inject: force_delete_primary,
    },
    Fault {
        name: "partition-primary",
        what: "the cable of the primary's node is cut",
        hold: Duration::from_secs(15),
        bar: Some(SILENT),
        inject: partition_primary,
    },
    Fault {
        name: "mute-primary",
        what: "nothing that leaves the primary's node arrives",
        hold: Duration::from_secs(15),
        bar: Some(SILENT),
        inject: mute_primary,
    },
    Fault {
        name: "deafen-primary",
        what: "nothing that is sent to the primary's node arrives",
        hold: Duration::from_secs(15),
        bar: Some(SILENT),
        inject: deafen_primary,
    },
    Fault {
        name: "partition-replica",
        what: "the cable of a replica's node is cut",
        hold: Duration::from_secs(15),
        bar: Some(SILENT),
        inject: partition_replica,
    },
    Fault {
        name: "disk-full",
        what: "the disk of the primary's node takes nothing more",
        hold: Duration::from_secs(5),
        bar: None,
        inject: fill_disk,
    },
    Fault {
        name: "stop-api-server",
        what: "the API server does not answer",
        hold: Duration::from_secs(15),
        bar: None,
        inject: stop_api_server,
    },
    Fault {
        name: "kill-operator",
        what: "the acting operator is killed while the primary is asked to move",
        hold: Duration::from_secs(2),
        bar: None,
        inject: kill_operator,
    },
    Fault {
        name: "switchover",
        what: "the primary is asked to move",
        hold: Duration::from_secs(2),
        bar: None,
        inject: switchover,
    },
];

/// A fault that needs nobody to take it away.
fn nothing_to_heal() -> Heal {
    Box::new(|| Ok(()))
}

fn kill(world: &World, pod: &str, namespace: &str) -> Result<Heal> {
    signal(world.cluster.process_of(pod, namespace)?, Signal::KILL)?;
    Ok(nothing_to_heal())
}

fn kill_primary(world: &World) -> Result<Heal> {
    kill(world, &world.redisha.primary()?, &world.redisha.namespace)
}

fn kill_replica(world: &World) -> Result<Heal> {
    kill(world, &replica(&world.redisha)?, &world.redisha.namespace)
}

fn stop_primary(world: &World) -> Result<Heal> {
    let pod = world.redisha.primary()?;
    let pid = world.cluster.process_of(&pod, &world.redisha.namespace)?;
    signal(pid, Signal::STOP)?;
    // The liveness probe may have replaced it meanwhile.
    Ok(Box::new(move || {
        let _ = signal(pid, Signal::CONT);
        Ok(())
    }))
}

fn force_delete_primary(world: &World) -> Result<Heal> {
    let redisha = &world.redisha;
    let pod = redisha.primary()?;
    let args = ["delete", "pod", &pod, "-n", &redisha.namespace, "--force", "--grace-period=0"];
    world.cluster.kubectl(&args)?;
    Ok(nothing_to_heal())
}

fn partition_primary(world: &World) -> Result<Heal> {
    cut(primary(&world.redisha)?.1)
}

fn partition_replica(world: &World) -> Result<Heal> {
    let redisha = &world.redisha;
    cut(redisha.node_of(&replica(redisha)?)?)
}

fn cut(node: String) -> Result<Heal> {
    cable(&node, "down")?;
    Ok(Box::new(move || cable(&node, "up")))
}

fn mute_primary(world: &World) -> Result<Heal> {
    one_way(primary(&world.redisha)?.1, Way::Out)
}

fn deafen_primary(world: &World) -> Result<Heal> {
    one_way(primary(&world.redisha)?.1, Way::In)
}

/// Drops what goes that way.
fn one_way(node: String, way: Way) -> Result<Heal> {
    filter(&node, way, "-I")?;
    Ok(Box::new(move || filter(&node, way, "-D")))
}

/// Writes are refused until there is space again; the primary stays.
fn fill_disk(world: &World) -> Result<Heal> {
    let (_, node) = primary(&world.redisha)?;
    let path = world.cluster.data().join(node).join("kubelet/filler");
    let mut filler = File::create(&path).context("make a file that fills the disk")?;
    let piece = vec![0; 1 << 20];
    while filler.write_all(&piece).is_ok() {}
    Ok(Box::new(move || fs::remove_file(path).context("make space again")))
}

fn stop_api_server(world: &World) -> Result<Heal> {
    let pid = world.cluster.program("kube-apiserver")?;
    signal(pid, Signal::STOP)?;
    Ok(Box::new(move || signal(pid, Signal::CONT)))
}

fn kill_operator(world: &World) -> Result<Heal> {
    let pid = world.cluster.process_of(&world.cluster.acting_operator()?, NAMESPACE)?;
    world.redisha.ask("nemesis", None)?;
    signal(pid, Signal::KILL)?;
    Ok(nothing_to_heal())
}

fn switchover(world: &World) -> Result<Heal> {
    world.redisha.ask("nemesis", None)?;
    Ok(nothing_to_heal())
}
