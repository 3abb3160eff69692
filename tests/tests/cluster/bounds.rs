//! What the specification bounds, and what it changes without a restart or without a loss.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::cluster::{PATIENCE, RedisHA};
use tests::wait;

use super::World;
use super::disruption::evict_pod;

/// For how long the held primary's eviction is held.
const HOLD: Duration = Duration::from_secs(12);

/// With its only replica on an image that does not exist, a primary has nobody to hand over to: its
/// eviction is held with an Event that says so, and let go after the bound.
pub fn held_drain(world: &World) -> Result<()> {
    let held = RedisHA { name: "held".to_owned(), ..world.redisha.clone() };
    let manifest = json!({
        "apiVersion": "redisha.dev/v1alpha1",
        "kind": "RedisHA",
        "metadata": {"name": held.name, "namespace": held.namespace},
        "spec": {
            "replicas": 2,
            "terminationGracePeriodSeconds": 10,
            "switchover": {"drainHold": format!("{}s", HOLD.as_secs())},
        },
    });
    world.cluster.kubectl_with(&["apply", "-f", "-"], &manifest.to_string())?;
    let result = hold_and_let_go(world, &held);
    let delete = ["delete", "redisha", &held.name, "-n", &held.namespace, "--wait=false"];
    world.cluster.kubectl(&delete)?;
    result
}

fn hold_and_let_go(world: &World, held: &RedisHA) -> Result<()> {
    held.settled()?;
    let primary = held.primary()?;
    held.patch(&json!({"spec": {"image": "no-such-image:0"}}))?;
    wait::until("the replica is out of sync", PATIENCE, || {
        Ok((condition(&held.get()?, "Synced")["status"] == "False").then_some(()))
    })?;

    let asked = Instant::now();
    evict_pod(world, &primary)?;
    let waited = asked.elapsed();
    ensure!(waited >= HOLD, "let go after {waited:?}, before the bound of {HOLD:?}");
    let field = format!("involvedObject.name={},reason=DrainHeld", held.name);
    let args = ["get", "events", "-n", &held.namespace, "--field-selector", &field, "-o", "json"];
    let events: Value = serde_json::from_str(&world.cluster.kubectl(&args)?)?;
    let said = events["items"][0]["message"].as_str().context("no Event DrainHeld")?;
    ensure!(said.contains("no replica"), "the Event says: {said}");
    Ok(())
}

/// The pod that a smaller set would lose first is the primary: it moves before it goes.
pub fn scale_down(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let last = format!("{}-2", redisha.name);
    redisha.lead_by(&last)?;
    let before = redisha.switchovers()?;
    world.under_load("scale", || {
        scale(world, 2)?;
        redisha.settled()?;
        wait::until("the last pod is gone", PATIENCE, || {
            let args = ["get", "pod", &last, "-n", &redisha.namespace, "--ignore-not-found"];
            Ok(world.cluster.kubectl(&args)?.is_empty().then_some(()))
        })
    })?;
    let moved = redisha.switchovers()? - before;
    ensure!(moved == 1, "{moved} switchovers for one scale-down");
    scale(world, 3)?;
    redisha.settled().map(drop)
}

/// A directive that a running server takes is told to it, and nobody restarts.
pub fn live_directive(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let before = pod_uids(world, redisha)?;
    redisha.patch(&json!({"spec": {"config": {"maxmemory": "255mb"}}}))?;
    let object = redisha.settled()?;
    ensure!(
        condition(&object, "Degraded")["status"] == "False",
        "its status is {}",
        object["status"]
    );
    ensure!(pod_uids(world, redisha)? == before, "pods were replaced");
    new_password(world)?;
    ensure!(pod_uids(world, redisha)? == before, "pods were replaced for a password");
    Ok(())
}

/// What an answer promises is changed, and changed back, while clients are served: as it is for an
/// object that an upgrade gives another default.
pub fn changed_durability(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let before = pod_uids(world, redisha)?;
    world.under_load("durability", || {
        for durability in ["async", "replicated"] {
            redisha.patch(&json!({"spec": {"durability": durability}}))?;
            wait::until(&format!("members are {durability}"), PATIENCE, || {
                let object = redisha.get()?;
                let config = &object["status"]["arbiter"]["config"];
                Ok((config["durability"].as_str().unwrap_or("async") == durability).then_some(()))
            })?;
            redisha.settled()?;
        }
        Ok(())
    })?;
    ensure!(pod_uids(world, redisha)? == before, "pods were replaced");
    Ok(())
}

/// A password that a person changes in the Secret is taken up by servers that run.
fn new_password(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    let before = redisha.target("cp")?;
    let name = format!("{}-auth", redisha.name);
    let set = json!({"stringData": {"password": "another word"}}).to_string();
    let args = ["patch", "secret", &name, "-n", &redisha.namespace, "--type=merge", "-p", &set];
    world.cluster.kubectl(&args)?;
    let after = redisha.target("cp")?;
    wait::until("the new password opens", PATIENCE, || after.read(&[]).map(Some))?;
    wait::until("the old one does not", PATIENCE, || Ok(before.read(&[]).is_err().then_some(())))
}

fn scale(world: &World, replicas: u32) -> Result<()> {
    let redisha = &world.redisha;
    let replicas = format!("--replicas={replicas}");
    let args = ["scale", "redisha", &redisha.name, "-n", &redisha.namespace, &replicas];
    world.cluster.kubectl(&args).map(drop)
}

/// The UIDs of its pods, in one line.
pub fn pod_uids(world: &World, redisha: &RedisHA) -> Result<String> {
    let selector = format!("app.kubernetes.io/instance={}", redisha.name);
    let uids = "jsonpath={.items[*].metadata.uid}";
    world.cluster.kubectl(&["get", "pods", "-n", &redisha.namespace, "-l", &selector, "-o", uids])
}

/// The condition of that type in an object's status, null if there is none.
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a Value {
    let mut conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}
