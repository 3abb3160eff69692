//! What people are told: phase, counts and conditions.
//!
//! Takes the object and the facts, returns the new fields of the status; pure. The first sentence
//! of an ordered list that applies is the one that is shown.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use switchover::{Arbiter, Durability as Promise, Observation};

use super::cluster::Held;
use crate::api::{Durability, Migration, Phase, RedisHA, RedisHAStatus};
use crate::trigger::{Facts, Rollout};

/// What a status is made of.
#[derive(Debug)]
pub struct Inputs<'a> {
    pub redisha: &'a RedisHA,
    pub selector: String,
    /// `None` while the specification cannot be carried out.
    pub facts: Option<&'a Facts>,
    pub rollout: &'a Rollout,
    /// A fresh one, or `None`.
    pub observation: Option<&'a Observation>,
    pub held: Option<&'a Held>,
    /// How far another server's data are taken over.
    pub migration: Option<Migration>,
    /// What went wrong in this pass, as a sentence.
    pub problem: Option<Problem>,
    pub now: Timestamp,
}

/// Why a pass could not do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The specification; the sentence names the field.
    Invalid(String),
    /// Anything else; it is tried again.
    Failed(String),
}

/// One condition before its times are filled in.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: &'static str,
    message: String,
}

fn verdict(kind: &'static str, holds: bool, reason: &'static str, message: String) -> Verdict {
    Verdict { kind, holds, reason, message }
}

/// The fields to be merged into the status; `None` when they already stand there. Never touches
/// what the arbiter's store writes.
pub fn patch(inputs: &Inputs<'_>) -> Option<Value> {
    let empty = RedisHAStatus::default();
    let old = inputs.redisha.status.as_ref().unwrap_or(&empty);
    let mut new = old.clone();
    let arbiter = old.arbiter.as_ref();
    let pods = inputs.facts.map(|facts| facts.pods.as_slice()).unwrap_or_default();
    let in_sync: Vec<_> = pods.iter().filter(|p| p.synced).map(|p| p.name.clone()).collect();
    new.observed_generation = inputs.redisha.metadata.generation;
    new.replicas = pods.len() as i32;
    let usable = pods.iter().filter(|pod| pod.synced && pod.ready).count();
    new.ready = Some(format!("{usable}/{}", inputs.redisha.spec.replicas));
    new.selector = Some(inputs.selector.clone());
    new.sync_set = in_sync;
    new.phase = Some(phase(inputs, arbiter));
    new.migration.clone_from(&inputs.migration);
    let verdicts = [
        ready(inputs, arbiter),
        synced(inputs),
        progressing(inputs, arbiter),
        degraded(inputs, arbiter),
    ];
    new.conditions = verdicts.into_iter().map(|v| condition(v, inputs, old)).collect();
    if new == *old {
        return None;
    }
    Some(json!({"status": {
        "observedGeneration": new.observed_generation,
        "phase": new.phase,
        "ready": new.ready,
        "replicas": new.replicas,
        "selector": new.selector,
        "syncSet": new.sync_set,
        "migration": new.migration,
        "conditions": new.conditions,
    }}))
}

fn condition(verdict: Verdict, inputs: &Inputs<'_>, old: &RedisHAStatus) -> Condition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = old.conditions.iter().find(|c| c.type_ == verdict.kind && c.status == status);
    Condition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message,
        observed_generation: inputs.redisha.metadata.generation,
        last_transition_time: before
            .map_or_else(|| Time(inputs.now), |c| c.last_transition_time.clone()),
    }
}

fn phase(inputs: &Inputs<'_>, arbiter: Option<&Arbiter>) -> Phase {
    if inputs.redisha.metadata.deletion_timestamp.is_some() {
        return Phase::Deleting;
    }
    if matches!(inputs.problem, Some(Problem::Invalid(_))) {
        return Phase::Invalid;
    }
    let Some(arbiter) = arbiter.filter(|arbiter| arbiter.primary.is_some()) else {
        return Phase::Creating;
    };
    if arbiter.election.is_some() {
        Phase::FailingOver
    } else if arbiter.switchover.is_some() {
        Phase::Switching
    } else if *inputs.rollout != Rollout::Done {
        Phase::Updating
    } else if unsynced(inputs).is_empty() {
        Phase::Running
    } else {
        Phase::Degraded
    }
}

fn ready(inputs: &Inputs<'_>, arbiter: Option<&Arbiter>) -> Verdict {
    let no = |reason, message| verdict("Ready", false, reason, message);
    if let Some(Problem::Invalid(sentence)) = &inputs.problem {
        return no("Invalid", sentence.clone());
    }
    let Some(primary) = arbiter.and_then(|arbiter| arbiter.primary.as_ref()) else {
        return no("NoPrimaryYet", "the first primary is being made".to_owned());
    };
    let name = &primary.name;
    let Some(pod) = inputs.facts.and_then(|f| f.pods.iter().find(|pod| pod.name == *name)) else {
        return no("PrimaryMissing", format!("{name}, the primary, does not exist"));
    };
    if inputs.observation.is_none() {
        return no("NotObserved", "the pods have not been asked yet".to_owned());
    }
    if !pod.synced {
        return no("PrimaryDoesNotAnswer", format!("{name}, the primary, does not answer"));
    }
    if pod.label != switchover::Label::Primary || !pod.ready {
        let message = format!("{name} is the primary and its address does not lead there yet");
        return no("AddressNotReady", message);
    }
    verdict("Ready", true, "PrimaryServes", format!("{name} takes writes"))
}

/// The pods that should be in sync and are not, with a word each.
fn unsynced(inputs: &Inputs<'_>) -> Vec<String> {
    let pods = inputs.facts.map(|facts| facts.pods.as_slice()).unwrap_or_default();
    let word = |ordinal: i32| {
        let Some(pod) = pods.iter().find(|pod| pod.ordinal == ordinal) else {
            return Some(format!("pod {ordinal} (does not exist)"));
        };
        let state = match (pod.terminating, pod.ip.is_some(), pod.synced) {
            (true, _, _) => "stopping",
            (_, false, _) => "not started",
            (_, _, false) => "not in sync",
            (_, _, true) => return None,
        };
        Some(format!("{} ({state})", pod.name))
    };
    (0..inputs.redisha.spec.replicas).filter_map(word).collect()
}

fn synced(inputs: &Inputs<'_>) -> Verdict {
    let missing = unsynced(inputs);
    if missing.is_empty() {
        let count = inputs.redisha.spec.replicas;
        return verdict("Synced", true, "AllInSync", format!("all {count} pods are in sync"));
    }
    verdict("Synced", false, "NotAllInSync", missing.join(", "))
}

fn progressing(inputs: &Inputs<'_>, arbiter: Option<&Arbiter>) -> Verdict {
    let yes = |reason, message| verdict("Progressing", true, reason, message);
    if let Some(Problem::Invalid(sentence)) = &inputs.problem {
        return verdict("Progressing", false, "Invalid", sentence.clone());
    }
    if let Some(election) = arbiter.and_then(|arbiter| arbiter.election.as_ref()) {
        let message = format!("choosing a primary for term {}", election.term);
        return yes("ChoosingPrimary", message);
    }
    if let Some(intent) = arbiter.and_then(|arbiter| arbiter.switchover.as_ref()) {
        let (from, to) = (&intent.from.name, &intent.to.name);
        return yes("Switchover", format!("moving the primary from {from} to {to}"));
    }
    match inputs.rollout {
        Rollout::Done => {}
        Rollout::Wait(why) => return yes("RollingUpdate", format!("waiting: {why}")),
        Rollout::Replace { name, .. } => return yes("RollingUpdate", format!("replacing {name}")),
        Rollout::Switch => {
            let message = "every replica is up to date; the primary moves next".to_owned();
            return yes("RollingUpdate", message);
        }
    }
    if inputs.redisha.spec.durability == Durability::Disk
        && arbiter.is_some_and(|arbiter| arbiter.config.durability != Promise::Disk)
    {
        let message = "until every pod has its data in append-only files, writes are answered as \
                       `replicated` says";
        return yes("WritingFiles", message.to_owned());
    }
    let pods = inputs.facts.map_or(0, |facts| facts.pods.len() as i32);
    if pods != inputs.redisha.spec.replicas {
        let message = format!("{pods} pods exist and {} are wanted", inputs.redisha.spec.replicas);
        return yes("Scaling", message);
    }
    verdict("Progressing", false, "UpToDate", "every pod is as it was asked for".to_owned())
}

fn degraded(inputs: &Inputs<'_>, arbiter: Option<&Arbiter>) -> Verdict {
    let yes = |reason, message| verdict("Degraded", true, reason, message);
    match &inputs.problem {
        Some(Problem::Invalid(sentence)) => return yes("Invalid", sentence.clone()),
        Some(Problem::Failed(sentence)) => return yes("OperatorFails", sentence.clone()),
        None => {}
    }
    if let Some(held) = inputs.held {
        let message = format!("the primary cannot move ({}): {}", held.reason, held.why);
        return yes("MoveHeld", message);
    }
    if let Some(term) = arbiter.and_then(|arbiter| arbiter.data_loss_possible) {
        let message =
            format!("the primary of term {term} was chosen without hearing from enough members");
        return yes("DataLossPossible", message);
    }
    if let Some(message) = inputs.migration.as_ref().and_then(Migration::missing) {
        return yes("MigrationIncomplete", message);
    }
    let missing = unsynced(inputs);
    if let Some(only) = arbiter.and_then(alone)
        && !missing.is_empty()
    {
        let (reason, place) = match arbiter.map(|arbiter| arbiter.config.durability) {
            Some(Promise::Disk) => ("LoneCopy", "on its disk"),
            _ => ("LoneCopyVolatile", "in memory"),
        };
        let missing = missing.join(", ");
        let message = format!("{only} answers writes that it alone holds, {place}: {missing}");
        return yes(reason, message);
    }
    if !missing.is_empty() {
        return yes("NotAllInSync", missing.join(", "));
    }
    verdict("Degraded", false, "AsWanted", "nothing is missing".to_owned())
}

/// The one member that a write must be held by, of a primary that was once more than that.
fn alone(arbiter: &Arbiter) -> Option<&str> {
    match arbiter.config.members.as_slice() {
        [only] if arbiter.config.degrade => Some(&only.name),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
