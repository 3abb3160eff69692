//! The loss of all power where answers promise the disk, with volumes that outlive their pods.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::cluster::{PATIENCE, RedisHA, signal};
use tests::load::{Bar, Target};
use tests::resp::Value as Answer;
use tests::wait;

use super::World;
use super::bounds::pod_uids;

/// Volumes that are folders of the nodes. Nobody makes them but this scenario, and nobody empties them.
const CLASS: &str = "local-disks";
const NODES: [&str; 3] = ["node1", "node2", "node3"];
const SIZE: &str = "256Mi";
/// Clients that count, each a key of its own.
const CLIENTS: usize = 4;
/// How many answers each has had, at least, when the power is lost.
const ANSWERS: i64 = 200;
/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// All servers are killed at once. They come back as who they were, one of them is elected, and what
/// was answered is there; then what an answer promises is changed, and changed back, under load.
pub fn all_killed(world: &World) -> Result<()> {
    let powered = RedisHA { name: "powered".to_owned(), ..world.redisha.clone() };
    let manifest = json!({
        "apiVersion": "redisha.dev/v1alpha1",
        "kind": "RedisHA",
        "metadata": {"name": powered.name, "namespace": powered.namespace},
        "spec": {
            "replicas": NODES.len(),
            "durability": "disk",
            "storage": {"size": SIZE, "storageClassName": CLASS},
            "terminationGracePeriodSeconds": 10,
        },
    });
    let mut objects = vec![class()];
    for node in NODES {
        objects.push(volume(world, node)?);
    }
    objects.push(manifest);
    for object in &objects {
        world.cluster.kubectl_with(&["apply", "-f", "-"], &object.to_string())?;
    }
    let result = survive(world, &powered).and_then(|()| change(world, &powered));
    remove(world, &powered)?;
    result
}

fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
        "reclaimPolicy": "Retain",
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// A folder of the node, outside of what its kubelet keeps of pods.
fn volume(world: &World, node: &str) -> Result<Value> {
    let folder = world.cluster.data().join(node).join("volumes/powered");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let here = json!({"key": "kubernetes.io/hostname", "operator": "In", "values": [node]});
    Ok(json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": format!("disk-{node}")},
        "spec": {
            "capacity": {"storage": SIZE},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": CLASS,
            "local": {"path": folder},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
        },
    }))
}

fn remove(world: &World, powered: &RedisHA) -> Result<()> {
    let delete = |args: &[&str]| {
        let all = [&["delete", "--ignore-not-found", "--wait=false"], args].concat();
        world.cluster.kubectl(&all).map(drop)
    };
    let namespace = powered.namespace.as_str();
    let mine = format!("app.kubernetes.io/instance={}", powered.name);
    delete(&["redisha", &powered.name, "-n", namespace])?;
    // A volume's claim stays until no pod uses it.
    delete(&["persistentvolumeclaims", "-n", namespace, "-l", &mine])?;
    let volumes = NODES.map(|node| format!("persistentvolume/disk-{node}"));
    delete(&volumes.each_ref().map(String::as_str))?;
    delete(&["storageclass", CLASS])
}

fn survive(world: &World, powered: &RedisHA) -> Result<()> {
    until_promised(powered, "disk")?;
    powered.settled()?;
    let before = arbiter(powered)?;
    let ids = members(&before)?;
    ensure!(ids.len() == NODES.len(), "the config's members are {ids:?}");

    let target = powered.target("cp")?;
    let clients: Vec<_> =
        (0..CLIENTS).map(|number| Counting::start(&target, key(number))).collect();
    for client in &clients {
        wait::until("answers", PATIENCE, || Ok((client.told() >= ANSWERS).then_some(())))?;
    }
    let pods: Vec<_> = (0..NODES.len()).map(|at| format!("{}-{at}", powered.name)).collect();
    let process = |pod: &String| world.cluster.process_of(pod, &powered.namespace);
    let processes = pods.iter().map(process).collect::<Result<Vec<_>>>()?;
    for process in processes {
        signal(process, Signal::KILL)?;
    }
    let told = clients.into_iter().map(Counting::end).collect::<Result<Vec<_>>>()?;

    let term = |arbiter: &Value| arbiter["term"].as_u64().context("no term");
    wait::until("an election", PATIENCE, || {
        Ok((term(&arbiter(powered)?)? > term(&before)?).then_some(()))
    })?;
    powered.settled()?;
    for pod in &pods {
        let object = world.cluster.get("pod", pod, &powered.namespace)?;
        let restarts = &object["status"]["containerStatuses"][0]["restartCount"];
        ensure!(restarts.as_u64() == Some(1), "{pod} was started again {restarts} times");
    }
    let after = arbiter(powered)?;
    let same = members(&after)?;
    ensure!(same == ids, "the members were {ids:?} and are {same:?}");
    ensure!(after["dataLossPossible"].is_null(), "the status is {after}");
    ensure!(after["config"]["durability"] == "disk", "the status is {after}");

    let keys: Vec<_> = (0..CLIENTS).map(key).collect();
    let kept = wait::until("the values", PATIENCE, || target.read(&keys).map(Some))?;
    for (told, kept) in told.iter().zip(&kept) {
        let value: i64 = kept.parse().unwrap_or(0);
        // The one that was under way may have been done, and was told to nobody.
        ensure!((*told..=told + 1).contains(&value), "of {told} answered writes there are {value}");
    }
    eprintln!("  {told:?} writes were answered, {kept:?} are there");
    Ok(())
}

/// The ids of members that were started again count in elections under `disk` only, so that pods are
/// replaced when it is given up.
fn change(world: &World, powered: &RedisHA) -> Result<()> {
    let before = pod_uids(world, powered)?;
    world.under_load_of(powered, Bar::NoError, "powered", || {
        powered.patch(&json!({"spec": {"durability": "replicated"}}))?;
        until_promised(powered, "replicated")?;
        wait::until("pods that came back are replaced", PATIENCE, || {
            let now = pod_uids(world, powered)?;
            let stays = before.split_whitespace().any(|uid| now.contains(uid));
            Ok((!stays).then_some(()))
        })?;
        powered.settled()?;
        powered.patch(&json!({"spec": {"durability": "disk"}}))?;
        until_promised(powered, "disk")?;
        powered.settled().map(drop)
    })
}

fn until_promised(powered: &RedisHA, durability: &str) -> Result<()> {
    wait::until(&format!("answers promise {durability}"), PATIENCE, || {
        let config = arbiter(powered)?["config"].clone();
        Ok((config["durability"] == durability).then_some(()))
    })
}

fn arbiter(powered: &RedisHA) -> Result<Value> {
    Ok(powered.get()?["status"]["arbiter"].clone())
}

/// Names and ids, in the order of names.
fn members(arbiter: &Value) -> Result<Vec<String>> {
    let members = arbiter["config"]["members"].as_array().context("no members")?;
    let mut named: Vec<_> = members.iter().map(ToString::to_string).collect();
    named.sort();
    Ok(named)
}

fn key(number: usize) -> String {
    format!("powered:{number}")
}

/// A client that increments its key until its connection ends.
pub struct Counting {
    told: Arc<AtomicI64>,
    thread: JoinHandle<Result<()>>,
}

impl Counting {
    /// Begins at the Service, with a key that nobody else has.
    pub fn start(target: &Target, key: String) -> Self {
        let told = Arc::new(AtomicI64::new(0));
        let (note, target) = (Arc::clone(&told), target.clone());
        let thread = thread::spawn(move || {
            target.place.run(|| {
                let mut client = wait::until("a first connection", PATIENCE, || {
                    target.connect(ANSWER).map(Some)
                })?;
                while let Ok(value) = client.call(&["INCR", &key]).and_then(Answer::int) {
                    let before = note.swap(value, Ordering::Relaxed);
                    ensure!(value == before + 1, "{key}: {value} after {before}");
                }
                Ok(())
            })
        });
        Self { told, thread }
    }

    /// The last value that it was told.
    pub fn told(&self) -> i64 {
        self.told.load(Ordering::Relaxed)
    }

    /// The same, when its connection has ended.
    pub fn end(self) -> Result<i64> {
        self.thread.join().expect("no client panics")?;
        Ok(self.told.load(Ordering::Relaxed))
    }
}
