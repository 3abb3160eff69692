//! The operator ended outright at each step of a switch, before and after its effect.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::cluster::{NAMESPACE, OPERATOR, PATIENCE, signal};
use tests::load::Bar;
use tests::programs::STEPS;
use tests::wait;

use super::World;
use super::bounds::condition;
use super::power::Counting;

/// Every scenario in the long form; else one of each side of the point of no return.
const SHORT: &[&str] = &["pause:after", "handover:before", "handover:after", "outcome:before"];

pub fn operator(world: &World) -> Result<()> {
    let long: Vec<_> = STEPS.iter().flat_map(|step| both_sides(step)).collect();
    let short: Vec<_> = SHORT.iter().map(|point| (*point).to_owned()).collect();
    let soaks = std::env::var_os("REDISHA_SOAK").is_some();
    for point in if soaks { long } else { short } {
        crash_at(world, &point).with_context(|| format!("the operator ended at {point}"))?;
    }
    Ok(())
}

fn both_sides(step: &str) -> [String; 2] {
    [format!("{step}:before"), format!("{step}:after")]
}

fn crash_at(world: &World, point: &str) -> Result<()> {
    let redisha = &world.redisha;
    redisha.settled()?;
    let name = format!("crash-{}", point.replace(':', "-"));
    world.under_load_with(Bar::HeldUntilTheTimer, &name, || {
        set_crash(world, &format!("REDISHA_CRASH_AT={point}"))?;
        let id = redisha.ask(&name, None)?;
        wait::until("the operator ends", PATIENCE, || Ok(has_crashed(world)?.then_some(())))?;
        set_crash(world, "REDISHA_CRASH_AT-")?;
        // Finished or called off. Until somebody acts again the status is as it was, and looks settled.
        wait::until("the switch is over", PATIENCE, || {
            let last = &redisha.settled()?["status"]["lastSwitchover"];
            ensure!(last["id"] == *id, "the last switchover is {last}");
            Ok(Some(()))
        })
    })
}

fn set_crash(world: &World, assignment: &str) -> Result<()> {
    let cluster = &world.cluster;
    let deployment = cluster.kubectl(&["get", "deployment", "-n", NAMESPACE, "-o", "name"])?;
    let deployment = deployment.trim();
    if deployment.is_empty() {
        bail!("there is no operator");
    }
    cluster.kubectl(&["set", "env", deployment, "-n", NAMESPACE, assignment])?;
    let wait = ["rollout", "status", deployment, "-n", NAMESPACE, "--timeout=120s"];
    cluster.kubectl(&wait).map(drop)
}

/// An operator whose lease was lost ended, and its kubelet started it again later and later: after some
/// lost nodes none of the two was there, and the next lost primary had no successor for fifteen seconds.
pub fn lease(world: &World) -> Result<()> {
    world.redisha.settled()?;
    world.cluster.operators_are_ready()?;
    let before = restarts(world)?;
    world.under_load("lease", || {
        // So often that each of the two has lost it and has taken it again.
        for _ in 0..3 {
            lose_lease(world, before)?;
        }
        let id = world.redisha.ask("lease", None)?;
        wait::until("who holds the lease acts", PATIENCE, || {
            let last = &world.redisha.settled()?["status"]["lastSwitchover"]["id"];
            Ok((*last == id).then_some(()))
        })
    })?;
    let now = restarts(world)?;
    ensure!(now == before, "operators were started again {} times", now - before);
    Ok(())
}

/// Stops the process that acts until the other one acts, and then until it has noticed.
fn lose_lease(world: &World, restarts_before: i64) -> Result<()> {
    let cluster = &world.cluster;
    let acting = cluster.acting_operator()?;
    let process = cluster.process_of(&acting, NAMESPACE)?;
    let said = || -> Result<usize> {
        let log = cluster.kubectl(&["logs", &acting, "-n", NAMESPACE])?;
        Ok(log.matches("another process holds the lease now").count())
    };
    let before = said()?;
    signal(process, Signal::STOP)?;
    let other = wait::until("another operator acts", PATIENCE, || {
        Ok((cluster.acting_operator()? != acting).then_some(()))
    });
    signal(process, Signal::CONT)?;
    other?;
    wait::until("it knows that another one acts", PATIENCE, || {
        Ok((said()? > before || restarts(world)? > restarts_before).then_some(()))
    })
}

/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);
/// How many answers a client has had, at least, when its primary is lost.
const ANSWERS: i64 = 200;

/// A pod that asks for more memory than it may have: the definition takes it, and the API server refuses
/// the `StatefulSet`, so that every pass of the operator's loop fails. Whoever acts from then on, as after a
/// lost node, has applied nothing at all, and a lost primary has a successor all the same.
pub fn unapplied(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    let before = &redisha.settled()?["spec"]["resources"];
    ensure!(before.is_null(), "the example has resources that would be taken away: {before}");
    let memory = json!({"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}});
    redisha.patch(&json!({"spec": {"resources": memory}}))?;
    let result = lose_primary(world);
    // A failure shall not leave the others without an operator that can apply anything.
    redisha.patch(&json!({"spec": {"resources": null}}))?;
    redisha.settled()?;
    result
}

fn lose_primary(world: &World) -> Result<()> {
    let redisha = &world.redisha;
    wait::until("nothing can be applied", PATIENCE, || Ok(is_refused(world)?.then_some(())))?;
    lose_lease(world, restarts(world)?)?;

    let target = redisha.target("cp")?;
    let key = format!("unapplied:{}", std::process::id());
    let client = Counting::start(&target, key.clone());
    wait::until("answers", PATIENCE, || Ok((client.told() >= ANSWERS).then_some(())))?;
    let before = term(world)?;
    signal(world.cluster.process_of(&redisha.primary()?, &redisha.namespace)?, Signal::KILL)?;
    let told = client.end()?;
    let mut attempts = 0;
    let next = wait::until("a successor that answers", PATIENCE, || {
        attempts += 1;
        target.place.run(|| target.connect(ANSWER)?.call(&["INCR", &key])?.int()).map(Some)
    })?;
    // The one that was under way, and each attempt, may have been done and told to nobody.
    ensure!(
        (told + 1..=told + 1 + attempts).contains(&next),
        "the write after {told} is number {next}, by {attempts} attempts"
    );
    wait::until("the successor is published", PATIENCE, || {
        Ok((term(world)? > before).then_some(()))
    })?;
    ensure!(is_refused(world)?, "the specification could be applied meanwhile");
    Ok(())
}

fn term(world: &World) -> Result<u64> {
    let object = world.redisha.get()?;
    object["status"]["arbiter"]["epoch"]
        .as_str()
        .and_then(|epoch| epoch.split('.').next()?.parse().ok())
        .with_context(|| format!("the status is {}", object["status"]))
}

/// Whether people are told that the API server does not take what is to be applied.
fn is_refused(world: &World) -> Result<bool> {
    let object = world.redisha.get()?;
    let said = condition(&object, "Degraded")["message"].as_str().unwrap_or_default();
    Ok(said.contains("cannot apply StatefulSet"))
}

fn has_crashed(world: &World) -> Result<bool> {
    Ok(restarts(world)? > 0)
}

/// How often containers of the operator were started again. Pods of an earlier template count no more,
/// though they take some seconds to end: what ended there is not what is asked about.
fn restarts(world: &World) -> Result<i64> {
    let args = ["get", "pods", "-n", NAMESPACE, "-l", OPERATOR, "-o", "json"];
    let pods: Value = serde_json::from_str(&world.cluster.kubectl(&args)?)?;
    let pods = pods["items"].as_array().context("no pods")?;
    let stay = pods.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    let statuses = stay.filter_map(|pod| pod["status"]["containerStatuses"].as_array());
    let counts = statuses.flatten().filter_map(|container| container["restartCount"].as_i64());
    Ok(counts.sum())
}
