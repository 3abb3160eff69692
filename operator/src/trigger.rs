//! Facts → wish: when the primary should move, where it may go, and which pod is replaced next.
//!
//! Takes what was seen of pods, nodes and the object; returns the most urgent [`Request`], the pods
//! that may take over, and the next step of a rollout. Pure: time comes in as a value. The loss of
//! a primary is not here: the decision sees silence by itself, sooner than Kubernetes does.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use switchover::{Arbiter, Label, Outcome, Reason, Request};

/// An eviction counts as wanted for this long after it was last asked for. Drains ask every 5 s,
/// autoscalers every 10 s; who stopped asking no longer wants it.
pub const EVICTION_FRESH: Duration = Duration::from_secs(30);

/// Everything that may move a primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `spec.replicas`.
    pub wanted: i32,
    /// What the user asks of a pod now, as a hash; see [`crate::controller::build::asked_hash`].
    pub asked: String,
    /// The pods that exist, in the order of their ordinals.
    pub pods: Vec<PodFacts>,
    /// The annotation `redisha.dev/switchover`.
    pub annotation: Option<String>,
    /// How many attempts have been given up in a row, and how long ago the last one was.
    pub aborted: Option<(u32, Duration)>,
    pub now: Timestamp,
}

/// One pod. Its facts are independent of each other, so they are bools and no state.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodFacts {
    pub name: String,
    pub ordinal: i32,
    pub uid: String,
    /// How often its container was started again.
    pub restarts: i32,
    /// Its address once it has one.
    pub ip: Option<String>,
    /// The hash that it was made with.
    pub asked: String,
    pub label: Label,
    /// Kubernetes' own word: its readiness probe passes.
    pub ready: bool,
    /// The members' word: it is the primary, or follows it with a link that is up.
    pub synced: bool,
    /// It has a deletion timestamp.
    pub terminating: bool,
    /// Its node is cordoned, or an autoscaler is about to remove it.
    pub node_leaving: bool,
    pub eviction: Option<Eviction>,
}

/// Somebody wants the pod evicted, and is told to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Eviction {
    /// Since when it is held.
    pub since: Timestamp,
    /// When it was last asked for.
    pub last: Timestamp,
}

impl Eviction {
    /// Whether somebody still asks for it.
    pub fn fresh(&self, now: Timestamp) -> bool {
        elapsed(self.last, now) <= EVICTION_FRESH
    }

    /// `since/last`, as it stands in the pod's annotation.
    pub fn to_annotation(self) -> String {
        format!("{}/{}", self.since, self.last)
    }

    /// Reads [`Eviction::to_annotation`]; anything else is no eviction.
    pub fn from_annotation(text: &str) -> Option<Self> {
        let (since, last) = text.split_once('/')?;
        Some(Self { since: since.parse().ok()?, last: last.parse().ok()? })
    }
}

/// How long ago, never negative: clocks of two operators may differ.
pub fn elapsed(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

/// A request by annotation: `<id>[/POD]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub id: String,
    pub to: Option<String>,
}

impl Asked {
    /// `None` for a text that is no request; ids hold letters, digits, `.`, `_` and `-`.
    pub fn parse(text: &str) -> Option<Self> {
        let (id, to) = match text.split_once('/') {
            Some((id, to)) => (id, Some(to.to_owned())),
            None => (text, None),
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let good = |word: &str| !word.is_empty() && word.len() <= 100 && word.chars().all(plain);
        (good(id) && to.as_deref().is_none_or(good)).then(|| Self { id: id.to_owned(), to })
    }
}

/// The most urgent wish for another primary, if there is one now.
pub fn request(facts: &Facts, arbiter: &Arbiter) -> Option<Request> {
    let primary = arbiter.primary.as_ref()?;
    let pod = facts.pods.iter().find(|pod| pod.name == primary.name)?;
    let wish = own_wish(facts, pod);
    if let Some((reason, id)) = wish.filter(|(reason, _)| urgent(*reason)) {
        return retried(facts, arbiter, reason, &id);
    }
    if let Some(asked) = facts.annotation.as_deref().and_then(Asked::parse)
        && !arbiter.has_answered(&asked.id)
    {
        return Some(Request { id: asked.id, reason: Reason::Request, to: asked.to });
    }
    let (reason, id) = own_wish(facts, pod)?;
    retried(facts, arbiter, reason, &id)
}

/// The operator's own reason to move the primary away from this pod, and the wish's stable id.
fn own_wish(facts: &Facts, pod: &PodFacts) -> Option<(Reason, String)> {
    if pod.terminating {
        return Some((Reason::Deletion, format!("deletion-{}", pod.uid)));
    }
    if let Some(eviction) = pod.eviction.filter(|eviction| eviction.fresh(facts.now)) {
        let since = eviction.since.as_second();
        return Some((Reason::Eviction, format!("eviction-{}-{since}", pod.uid)));
    }
    if pod.node_leaving {
        return Some((Reason::Drain, format!("drain-{}", pod.uid)));
    }
    if pod.ordinal >= facts.wanted {
        return Some((Reason::ScaleDown, format!("scale-down-{}", pod.uid)));
    }
    if rollout(facts, &pod.name) == Rollout::Switch {
        return Some((Reason::RollingUpdate, format!("rolling-update-{}", facts.asked)));
    }
    None
}

/// Whether a wish comes before what a person asked for by name.
fn urgent(reason: Reason) -> bool {
    matches!(reason, Reason::Deletion | Reason::Eviction | Reason::Drain)
}

/// A wish of the operator's own is tried again after an attempt that was given up, under a new id
/// and not at once: each attempt may pause writes.
fn retried(facts: &Facts, arbiter: &Arbiter, reason: Reason, id: &str) -> Option<Request> {
    let mut id = id.to_owned();
    if let Some(last) = &arbiter.last_switchover
        && last.outcome == Outcome::Aborted
        && let Some(count) = try_of(&last.id, &id)
    {
        if let Some((aborts, ago)) = facts.aborted
            && ago < backoff(reason, aborts)
        {
            return None;
        }
        id = format!("{id}.{}", count + 1);
    }
    Some(Request { id, reason, to: None })
}

/// Which try of the wish `base` this id names: 1 for itself, n for `base.n`.
fn try_of(id: &str, base: &str) -> Option<u32> {
    match id.strip_prefix(base)? {
        "" => Some(1),
        rest => rest.strip_prefix('.')?.parse().ok(),
    }
}

fn backoff(reason: Reason, aborts: u32) -> Duration {
    // A pod that is being deleted has only its grace period.
    let (first_ms, most_ms) = match reason {
        Reason::Deletion => (200, 1_000),
        Reason::Eviction => (1_000, 5_000),
        _ => (2_000, 60_000),
    };
    let factor = 1_u64 << aborts.saturating_sub(1).min(16);
    Duration::from_millis((first_ms * factor).min(most_ms))
}

/// The pods that a planned switch may choose by itself.
///
/// Never one that leaves. One that is out of date only when none that is up to date is there and
/// the primary must go at once: otherwise a rollout would need two switches.
pub fn eligible(facts: &Facts, arbiter: &Arbiter) -> Vec<String> {
    let primary = arbiter.primary.as_ref().map(|p| p.name.as_str());
    let stays = |pod: &&PodFacts| {
        !pod.terminating && !pod.node_leaving && pod.ordinal < facts.wanted && pod.ip.is_some()
    };
    let staying: Vec<&PodFacts> = facts.pods.iter().filter(stays).collect();
    let current = |pod: &PodFacts| pod.asked == facts.asked;
    let current_synced =
        staying.iter().any(|pod| current(pod) && pod.synced && Some(pod.name.as_str()) != primary);
    let names = staying.iter().filter(|pod| !current_synced || current(pod));
    names.map(|pod| pod.name.clone()).collect()
}

/// The next step towards pods that are all as the user asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rollout {
    /// Every pod is up to date.
    Done,
    /// Something must settle first; the text is a clause for people.
    Wait(String),
    /// Delete this replica, so that it comes back up to date.
    Replace { name: String, uid: String },
    /// Every replica is up to date and in sync: the primary moves, once.
    Switch,
}

/// One pod at a time, replicas first, the primary never while it is primary.
pub fn rollout(facts: &Facts, primary: &str) -> Rollout {
    let old = |pod: &&PodFacts| pod.asked != facts.asked && pod.ordinal < facts.wanted;
    let replace =
        |pod: &PodFacts| Rollout::Replace { name: pod.name.clone(), uid: pod.uid.clone() };
    let replicas = || facts.pods.iter().filter(|pod| pod.name != primary);
    if !facts.pods.iter().any(|pod| old(&pod)) {
        return Rollout::Done;
    }
    if let Some(pod) = facts.pods.iter().find(|pod| pod.terminating) {
        return Rollout::Wait(format!("{} is stopping", pod.name));
    }
    let missing =
        facts.wanted - facts.pods.iter().filter(|p| p.ordinal < facts.wanted).count() as i32;
    if missing > 0 {
        return Rollout::Wait(format!("{missing} of {} pods do not exist yet", facts.wanted));
    }
    // A pod that is broken and out of date is replaced first: that may be what heals it.
    if let Some(pod) = replicas().filter(old).find(|pod| !pod.ready) {
        return replace(pod);
    }
    let settled = |pod: &&PodFacts| pod.ordinal >= facts.wanted || (pod.ready && pod.synced);
    if let Some(pod) = replicas().find(|pod| !settled(pod)) {
        return Rollout::Wait(format!("{} is not in sync yet", pod.name));
    }
    if let Some(pod) = replicas().filter(old).max_by_key(|pod| pod.ordinal) {
        return replace(pod);
    }
    match facts.pods.iter().find(|pod| pod.name == primary) {
        None => Rollout::Wait("there is no primary".to_owned()),
        // Alone, it has nobody to hand over to.
        Some(pod) if facts.wanted == 1 => replace(pod),
        Some(_) => Rollout::Switch,
    }
}

/// How many pods to ask the `StatefulSet` for: a scale-down never removes the primary, it waits until
/// the primary has moved to a pod that stays.
pub fn scale(wanted: i32, current: Option<i32>, primary: Option<i32>) -> i32 {
    match (current, primary) {
        (Some(current), Some(ordinal)) if ordinal >= wanted => {
            (ordinal + 1).min(current).max(wanted)
        }
        _ => wanted,
    }
}

#[cfg(test)]
pub mod fixture {
    use super::*;

    /// Three pods of that name, all as asked and in sync, the first of them the primary.
    pub fn calm(name: &str) -> Facts {
        let pod = |ordinal: i32| PodFacts {
            name: format!("{name}-{ordinal}"),
            ordinal,
            uid: format!("u{ordinal}"),
            ip: Some(format!("10.0.0.{ordinal}")),
            asked: "new".to_owned(),
            label: if ordinal == 0 { Label::Primary } else { Label::Replica },
            ready: true,
            synced: true,
            ..PodFacts::default()
        };
        Facts {
            wanted: 3,
            asked: "new".to_owned(),
            pods: (0..3).map(pod).collect(),
            annotation: None,
            aborted: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

#[cfg(test)]
mod tests;
