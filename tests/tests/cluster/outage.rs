//! The data path without operator and API server.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tests::cluster::{NAMESPACE, OPERATOR, PATIENCE, RedisHA, signal};
use tests::load::Target;
use tests::mover::{Connect, Mover};
use tests::wait;

use super::World;

/// How long they are away: far longer than any lease, timer or patience of a server.
const SHORT: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_mins(10);
/// How long each step of a primary's end may take.
const LEAVES: Duration = Duration::from_secs(30);
/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How many answers show that writes go on.
const ANSWERS: i64 = 200;
const KEY: &str = "pair:counted";

/// Nobody is left to decide anything, and writes go on to be answered when two members hold them. A
/// primary that is asked to end meanwhile hands over by itself, of two members to one that goes on alone.
pub fn control_plane(world: &World) -> Result<()> {
    world.redisha.settled()?;
    let pair = RedisHA { name: "pair".to_owned(), ..world.redisha.clone() };
    let manifest = json!({
        "apiVersion": "redisha.dev/v1alpha1",
        "kind": "RedisHA",
        "metadata": {"name": pair.name, "namespace": pair.namespace},
        "spec": {"replicas": 2, "terminationGracePeriodSeconds": 10},
    });
    world.cluster.kubectl_with(&["apply", "-f", "-"], &manifest.to_string())?;
    let result = pair.settled().and_then(|_| outage(world, &pair));
    let delete = ["delete", "redisha", &pair.name, "-n", &pair.namespace, "--wait=false"];
    world.cluster.kubectl(&delete)?;
    result
}

fn outage(world: &World, pair: &RedisHA) -> Result<()> {
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
        let leaver = Leaver::find(pair)?;
        let api_server = world.cluster.program("kube-apiserver")?;
        signal(api_server, Signal::STOP)?;
        let end = Instant::now() + if soaks() { LONG } else { SHORT };
        let left = leaver.leaves(end);
        signal(api_server, Signal::CONT)?;
        left
    });
    // A failure shall not leave the others without an operator.
    operators(world, name, processes)?;
    world.redisha.settled()?;
    pair.settled()?;
    result
}

/// The primary of two, and what is to be known of both while nobody can be asked.
struct Leaver {
    process: Pid,
    /// To the primary, and to the other.
    ways: [Arc<Connect>; 2],
}

impl Leaver {
    fn find(pair: &RedisHA) -> Result<Self> {
        let primary = pair.primary()?;
        let other = ["0", "1"].map(|ordinal| format!("{}-{ordinal}", pair.name));
        let other = other.into_iter().find(|name| *name != primary).context("a replica")?;
        let process = pair.cluster.process_of(&primary, &pair.namespace)?;
        let service = pair.target("cp")?;
        let way = |pod: &str| -> Result<Arc<Connect>> {
            let pod = pair.cluster.get("pod", pod, &pair.namespace)?;
            let host = pod["status"]["podIP"].as_str().context("the pod has no address")?;
            let target = Target { host: host.to_owned(), ..service.clone() };
            Ok(Arc::new(move || target.place.run(|| target.connect(ANSWER))))
        };
        Ok(Self { process, ways: [way(&primary)?, way(&other)?] })
    }

    /// Ends the primary under a client that then goes on at the other, until the end of the outage.
    fn leaves(&self, end: Instant) -> Result<()> {
        let mover = Mover::start(self.ways.clone(), KEY.to_owned());
        let result = self.ends_under(&mover, end);
        // What the client saw tells more than that it has no answers.
        let (acknowledged, moves) = mover.end()?;
        result?;
        ensure!(moves == 1, "the connection was ended {moves} times");
        let kept: i64 = self.ways[1]()?.call(&["GET", KEY])?.text()?.parse()?;
        ensure!(kept == acknowledged, "of {acknowledged} answered writes there are {kept}");
        eprintln!(
            "  the successor of two alone: {acknowledged} writes were answered and are there"
        );
        Ok(())
    }

    fn ends_under(&self, mover: &Mover, end: Instant) -> Result<()> {
        let more = |what: &str| {
            let wanted = mover.acknowledged() + ANSWERS;
            wait::until(what, LEAVES, || {
                Ok((mover.is_over() || mover.acknowledged() >= wanted).then_some(()))
            })
        };
        more("writes before")?;
        signal(self.process, Signal::TERM)?;
        let folder = format!("/proc/{}", self.process.as_raw_nonzero());
        wait::until("the primary has ended", LEAVES, || {
            Ok((!std::fs::exists(&folder)?).then_some(()))
        })?;
        more("writes at the one that is left")?;
        thread::sleep(end.saturating_duration_since(Instant::now()));
        more("writes until the end")
    }
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
