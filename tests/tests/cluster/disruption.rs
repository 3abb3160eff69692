//! What moves a primary, each under the load of all libraries.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;
use tests::cluster::{NAMESPACE, OPERATOR, PATIENCE, file};
use tests::wait;

use super::World;

/// The webhook's configuration in the API server.
const WEBHOOK: &str = "validatingwebhookconfiguration";

pub fn changed_image(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    let status = redisha.settled()?;
    let before = redisha.switchovers()?;
    let image = status["status"]["image"].as_str().context("no image in the status")?;
    let next = format!("{image}-next");
    let full = |name: &str| format!("docker.io/library/{name}");
    tests::cluster::text(world.cluster.tool("tag-image").args([full(image), full(&next)]))?;

    world.under_load("image", || {
        redisha.patch(&json!({"spec": {"image": next}}))?;
        redisha.settled()?;
        let jsonpath = "jsonpath={.items[*].spec.containers[*].image}";
        let selector = format!("app.kubernetes.io/instance={}", redisha.name);
        let args = ["get", "pods", "-n", &redisha.namespace, "-l", &selector, "-o", jsonpath];
        let images = world.cluster.kubectl(&args)?;
        let updated = images.split_whitespace().filter(|image| **image == next).count();
        ensure!(updated == 3, "the pods' images are {images}");
        Ok(())
    })?;
    let moved = redisha.switchovers()? - before;
    ensure!(moved == 1, "{moved} switchovers for one changed image");
    Ok(())
}

/// The hardest node to drain: the primary and the operator that would move it leave together.
///
/// It once failed where chance had put them side by side: the operator ended while its webhook was
/// deciding, so the API server admitted the eviction, and the primary was stopped as it was.
pub fn drain(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let primary = beside_the_acting_operator(world)?;
    let node = redisha.node_of(&primary)?;
    let result = world.under_load("drain", || {
        let watch = Watch::start(world, &primary)?;
        let args = ["drain", &node, "--ignore-daemonsets", "--delete-emptydir-data"];
        let mut all = args.to_vec();
        all.push("--timeout=180s");
        world.cluster.kubectl(&all)?;
        watch.moved_first()?;
        ensure!(redisha.primary()? != primary, "the primary is still {primary}");
        world.cluster.kubectl(&["uncordon", &node])?;
        redisha.settled().map(drop)
    });
    // A failure shall not leave the others with a node less.
    world.cluster.kubectl(&["uncordon", &node])?;
    result
}

/// Has the primary on the node of the operator that acts, and names it.
///
/// Where pods are, earlier drains have decided: a second one in the same cluster once found no server
/// beside the operator.
fn beside_the_acting_operator(world: &World) -> Result<String> {
    let redisha = &world.redisha;
    let pods = (0..3).map(|ordinal| format!("{}-{ordinal}", redisha.name));
    let places: Vec<_> =
        pods.map(|pod| Ok((redisha.node_of(&pod)?, pod))).collect::<Result<_>>()?;
    let nodes = world.cluster.kubectl(&["get", "nodes", "-o", "name"])?;
    let nodes = nodes.lines().filter_map(|line| line.strip_prefix("node/"));
    let empty: Vec<_> = nodes.filter(|node| places.iter().all(|(at, _)| at != node)).collect();
    if empty.contains(&acting_node(world)?.as_str()) {
        operators_leave(world, &empty)?;
    }
    let node = acting_node(world)?;
    let here = places.into_iter().find(|(at, _)| *at == node);
    let (_, pod) = here.with_context(|| format!("the operator acts on {node}"))?;
    redisha.lead_by(&pod)?;
    Ok(pod)
}

/// Has the operators go to other nodes than these.
fn operators_leave(world: &World, nodes: &[&str]) -> Result<()> {
    let cluster = &world.cluster;
    let each =
        |verb: &str| nodes.iter().try_for_each(|node| cluster.kubectl(&[verb, node]).map(drop));
    each("cordon")?;
    let moved = nodes.iter().try_for_each(|node| {
        let on = format!("spec.nodeName={node}");
        let args = ["delete", "pods", "-n", NAMESPACE, "-l", OPERATOR, "--field-selector", &on];
        cluster.kubectl(&args).map(drop)
    });
    let moved = moved.and_then(|()| {
        wait::until("an operator acts elsewhere", PATIENCE, || {
            Ok((!nodes.contains(&acting_node(world)?.as_str())).then_some(()))
        })
    });
    let wait = ["rollout", "status", "deployment", "-n", NAMESPACE, "--timeout=120s"];
    let moved = moved.and_then(|()| cluster.kubectl(&wait));
    // A failure shall not leave the others with a node less.
    each("uncordon")?;
    moved.map(drop)
}

/// The node of the operator that acts.
fn acting_node(world: &World) -> Result<String> {
    wait::until("an operator acts", PATIENCE, || {
        world.cluster.node_of(&world.cluster.acting_operator()?, NAMESPACE).map(Some)
    })
}

pub fn evict(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let primary = redisha.primary()?;
    world.under_load("evict", || {
        let watch = Watch::start(world, &primary)?;
        evict_pod(world, &primary)?;
        watch.moved_first()?;
        redisha.settled().map(drop)
    })?;
    ensure!(redisha.primary()? != primary, "the primary is still {primary}");
    Ok(())
}

pub fn delete(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let primary = redisha.primary()?;
    world.under_load("delete", || {
        let args = ["delete", "pod", &primary, "-n", &redisha.namespace, "--timeout=120s"];
        world.cluster.kubectl(&args)?;
        redisha.settled().map(drop)
    })?;
    ensure!(redisha.primary()? != primary, "the primary is still {primary}");
    Ok(())
}

/// The API server admits the eviction at once; the pod's own SIGTERM hands over.
pub fn evict_without_webhook(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let primary = redisha.primary()?;
    world.under_load("unhooked", || {
        world.cluster.kubectl(&["delete", WEBHOOK, "--all"])?;
        evict_pod(world, &primary)?;
        redisha.settled().map(drop)
    })?;
    ensure!(redisha.primary()? != primary, "the primary is still {primary}");
    restore_webhook(world)
}

/// Applies the configuration again, for the scenarios after this one: whoever installs it anew gets it
/// back into service by the operator, which trusts itself there.
fn restore_webhook(world: &World) -> Result<()> {
    world.cluster.kubectl(&["apply", "-f", &file("deploy/redisha.yaml")])?;
    wait::until("the operator's certificate in the webhook", PATIENCE, || {
        let bundle = "jsonpath={.items[*].webhooks[*].clientConfig.caBundle}";
        let found = world.cluster.kubectl(&["get", WEBHOOK, "-o", bundle])?;
        Ok((!found.trim().is_empty()).then_some(()))
    })
}

pub fn request(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let primary = redisha.primary()?;
    world.under_load("request", || {
        let id = redisha.ask("asked-by-a-test", None)?;
        wait::until("the answer to the request", PATIENCE, || {
            let object = redisha.get()?;
            let last = &object["status"]["lastSwitchover"];
            let answered = last["id"] == *id;
            Ok((answered && redisha.primary()? != primary).then_some(()))
        })?;
        redisha.settled().map(drop)
    })
}

/// Calls the eviction API as a drainer does: again for as long as it says "too many requests".
pub fn evict_pod(world: &World, pod: &str) -> Result<()> {
    let namespace = &world.redisha.namespace;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    let eviction = json!({
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    });
    wait::until("the eviction is admitted", PATIENCE, || {
        let args = ["create", "--raw", &path, "-f", "-"];
        world.cluster.kubectl_with(&args, &eviction.to_string()).map(Some)
    })?;
    Ok(())
}

/// A watch on a pod that notes its role and whether it is being deleted.
struct Watch {
    child: Child,
    pod: String,
}

impl Watch {
    fn start(world: &World, pod: &str) -> Result<Self> {
        let line =
            r#"jsonpath={.metadata.labels.redisha\.dev/role}|{.metadata.deletionTimestamp}{"\n"}"#;
        let mut kubectl = world.cluster.tool("kubectl");
        kubectl.args(["get", "pod", pod, "-n", &world.redisha.namespace, "--watch", "-o", line]);
        // A watch that sees nothing more ends at last.
        kubectl.arg("--request-timeout=300s");
        let child = kubectl.stdout(Stdio::piped()).spawn().context("watch the pod")?;
        Ok(Self { child, pod: pod.to_owned() })
    }

    /// Reads until the pod is being deleted, and fails if it was the primary then.
    fn moved_first(mut self) -> Result<()> {
        let stdout = self.child.stdout.take().context("the watch has no output")?;
        let mut seen = Vec::new();
        for line in BufReader::new(stdout).lines() {
            let line = line.context("read the watch")?;
            seen.push(line.clone());
            let (role, deleted) = line.split_once('|').unwrap_or_default();
            if !deleted.is_empty() {
                ensure!(role != "primary", "{} was evicted as primary: {seen:?}", self.pod);
                return Ok(());
            }
        }
        bail!("{} was never deleted: {seen:?}", self.pod)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
