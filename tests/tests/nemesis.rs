//! Faults, one after another, in a real Kubernetes, while clients on every node count together.
//!
//! `cargo xtask nemesis` starts the cluster and runs this program; its arguments name the kinds of
//! faults, none means all. It prints one line of JSON: how soon a probe was answered again after each
//! kind of fault, and whether the history of all counters, and of objects of every other kind, is
//! linearizable.

#[path = "nemesis/clients.rs"]
mod clients;
#[path = "nemesis/faults.rs"]
mod faults;
#[path = "nemesis/machine.rs"]
mod machine;

use std::collections::BTreeMap;
use std::env;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tests::cluster::{Cluster, PATIENCE, RedisHA};
use tests::history::{self, Verdict};
use tests::linear;
use tests::load::Target;
use tests::wait;

use clients::{Clients, Probe};
use faults::{FAULTS, Fault};

/// How long the world is left in peace between two faults.
const PEACE: Duration = Duration::from_secs(3);
/// A probe that is not answered again within this after a fault's end is a failure.
const LATEST: Duration = Duration::from_mins(1);

/// What the faults act on.
pub struct World {
    pub cluster: Cluster,
    pub redisha: RedisHA,
}

fn main() -> ExitCode {
    let Some(cluster) = Cluster::from_env() else {
        eprintln!("SKIPPED: no cluster; `cargo xtask nemesis` makes one");
        return ExitCode::SUCCESS;
    };
    match run(cluster) {
        Ok(found) => {
            println!("{}", found.to_json());
            if found.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("the nemesis could not run: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// A number from the environment.
fn number(name: &str, usual: u64) -> Result<u64> {
    let Some(text) = env::var_os(name) else { return Ok(usual) };
    text.to_string_lossy().parse().with_context(|| format!("{name} is no number"))
}

/// The kinds of faults with these names; all without any.
fn kinds(names: &[String]) -> Result<Vec<&'static Fault>> {
    if names.is_empty() {
        return Ok(FAULTS.iter().collect());
    }
    let kind = |name: &String| {
        let found = FAULTS.iter().find(|fault| fault.name == name);
        found.with_context(|| format!("there is no kind of fault called {name}"))
    };
    names.iter().map(kind).collect()
}

/// What was done, and what came of it.
struct Found {
    /// By kind of fault, how long the probe went without an answer, in milliseconds.
    recovery_ms: BTreeMap<&'static str, Vec<f64>>,
    verdict: Verdict,
    /// Of objects other than counters.
    objects: linear::Verdict,
    /// Sentences about what did not recover.
    complaints: Vec<String>,
}

fn run(cluster: Cluster) -> Result<Found> {
    let kinds = kinds(&env::args().skip(1).collect::<Vec<_>>())?;
    let seconds = number("REDISHA_NEMESIS_SECONDS", 180)?;
    let mut order = Order(number("REDISHA_NEMESIS_SEED", 1)?);
    let redisha = RedisHA::example(&cluster)?;
    // The scenarios may have installed it, in another way.
    if redisha.get().is_err() {
        redisha.install()?;
    }
    // Append-only files, so that a full disk matters.
    redisha.patch(&json!({"spec": {"config": {"appendonly": "yes"}}}))?;
    redisha.settled()?;
    let target = redisha.target("cp")?;
    let world = World { cluster, redisha };
    let probe = Probe::start(&target)?;
    let clients = Clients::start(&target)?;
    let recorder = linear::record::Recorder::start("nemesis", clients::ways(&target));

    let mut recovery_ms: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    let mut complaints = Vec::new();
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut every_kind = false;
    'all: loop {
        for fault in order.shuffled(&kinds) {
            // However slow the machine is, there is one of each.
            if every_kind && Instant::now() > end {
                break 'all;
            }
            match strike(&world, fault, &probe) {
                Ok(gap) => {
                    eprintln!(
                        "{}: {:.0} ms without an answer",
                        fault.name,
                        gap.as_secs_f64() * 1e3
                    );
                    recovery_ms.entry(fault.name).or_default().push(gap.as_secs_f64() * 1e3);
                }
                Err(error) => {
                    eprintln!("{}: FAILED: {error:#}", fault.name);
                    complaints.push(format!("{}: {error:#}", fault.name));
                    recovery_ms.entry(fault.name).or_default().push(f64::INFINITY);
                }
            }
        }
        every_kind = true;
    }
    let history = clients.stop();
    let objects = linear::judge(recorder.stop());
    let last = last_values(&target)?;
    let verdict = history::judge(&history, &last);
    Ok(Found { recovery_ms, verdict, objects, complaints })
}

/// Injects a fault, holds it, takes it away, and waits until all is well again. Gives the longest
/// time that the probe went without an answer meanwhile.
fn strike(world: &World, fault: &Fault, probe: &Probe) -> Result<Duration> {
    world.redisha.settled().context("before the fault")?;
    // One fault at a time: an operator that was killed may still wait for its kubelet.
    world.cluster.operators_are_ready().context("before the fault")?;
    let begun = Instant::now();
    eprintln!("{}: {}", fault.name, fault.what);
    let heal = (fault.inject)(world)?;
    let held = Instant::now() + fault.hold;
    std::thread::sleep(held.saturating_duration_since(Instant::now()));
    heal().context("take the fault away")?;
    let healed = Instant::now();
    wait::until("the probe is answered", LATEST, || {
        Ok(probe.last_answer().filter(|last| *last > healed))
    })?;
    world.redisha.settled().context("after the fault")?;
    std::thread::sleep(PEACE);
    let gap = probe.longest_gap(begun).context("the probe has no answers")?;
    let lasted = gap.1 - gap.0;
    if fault.bar.is_some_and(|bar| lasted > bar) {
        let since = gap.0.saturating_duration_since(begun).as_millis();
        eprintln!("  late, from {since} ms after the fault: {}", probe.course(gap));
    }
    Ok(lasted)
}

fn last_values(target: &Target) -> Result<Vec<u64>> {
    let names: Vec<_> = (0..clients::COUNTERS).map(clients::name).collect();
    let values = wait::until("the last values", PATIENCE, || target.read(&names).map(Some))?;
    Ok(values.iter().map(|value| value.parse().unwrap_or(0)).collect())
}

/// The bar of a kind of fault, in milliseconds.
fn bar_ms(name: &str) -> Option<f64> {
    let fault = FAULTS.iter().find(|fault| fault.name == name)?;
    fault.bar.map(|bar| bar.as_secs_f64() * 1e3)
}

/// An order of the faults that a seed repeats.
struct Order(u64);

impl Order {
    fn shuffled(&mut self, kinds: &[&'static Fault]) -> Vec<&'static Fault> {
        let mut faults = kinds.to_vec();
        for index in (1..faults.len()).rev() {
            // Knuth's constants; the upper bits are the good ones.
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            faults.swap(index, (self.0 >> 33) as usize % (index + 1));
        }
        faults
    }
}

impl Found {
    fn is_clean(&self) -> bool {
        self.verdict.is_clean() && self.objects.is_clean() && self.complaints.is_empty()
    }

    fn to_json(&self) -> Value {
        let faults: BTreeMap<_, _> = self
            .recovery_ms
            .iter()
            .map(|(name, times)| {
                let mut times = times.clone();
                times.sort_by(f64::total_cmp);
                let at = |share: f64| times[((times.len() - 1) as f64 * share).round() as usize];
                let recovery = json!({"p50": at(0.5), "p99": at(0.99), "max": at(1.0)});
                let (count, bar) = (times.len(), bar_ms(name));
                (*name, json!({"count": count, "recovery_ms": recovery, "bar_ms": bar}))
            })
            .collect();
        // Told, and no failure of this program: beside other work a machine is late at will.
        let late = faults.values().any(|fault| {
            let bar = fault["bar_ms"].as_f64();
            bar.is_some_and(|bar| fault["recovery_ms"]["p99"].as_f64().is_none_or(|p99| p99 > bar))
        });
        json!({
            "faults": faults,
            "late": late,
            "operations": self.verdict.operations + self.objects.operations,
            "lost": self.verdict.lost,
            "dual_ack": self.verdict.dual_ack,
            "stale_reads": self.verdict.stale_reads,
            "objects": self.objects.objects,
            "unknown_outcomes": self.objects.unknown,
            "not_linearizable": self.objects.broken,
            "undecided": self.objects.undecided,
            "complaints": self.complaints,
        })
    }
}
