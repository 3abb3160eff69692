//! The pods of a `RedisHA` as the executor's directory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::runtime::events::EventType;
use serde_json::json;
use switchover::{Arbiter, Label, Notice, Observation, Pulse, Reason, Seen, Settings};

use super::cluster::Cluster;
use super::context::Context;
use super::validate::parse_duration;
use crate::api::{Durability, HEALTH_PORT, REDIS_PORT, ROLE_LABEL, RedisHA, WhenReplicaLost};
use crate::executor::{Directory, View, WorldError};
use crate::trigger::{self, Facts};

/// Between two looks at calm members. A lost primary is missed by clients from the first moment on,
/// whatever its durability.
const LOOK_MS: u64 = 250;

/// For how long a process may outlive its pod: a kubelet gives it two seconds, whatever it is asked for.
const OUTLIVES: Duration = Duration::from_secs(5);

/// Lists pods from the cache, labels them, and tells people by Events and metrics.
pub struct PodDirectory {
    context: Context,
    cluster: Arc<Cluster>,
    pods: Api<k8s_openapi::api::core::v1::Pod>,
    addresses: Mutex<Addresses>,
}

/// Where pods were a moment ago. One that is deleted by force is gone, or another of its name is there
/// without an address, before its process has even been asked to end: it can still hand over.
#[derive(Debug, Default)]
struct Addresses(HashMap<String, (String, Instant)>);

impl Addresses {
    /// Takes note of where pods are, and tells where those without an address were.
    fn of_outliving(&mut self, facts: &Facts, now: Instant) -> HashMap<String, String> {
        for pod in &facts.pods {
            if let Some(ip) = &pod.ip {
                self.0.insert(pod.name.clone(), (ip.clone(), now));
            }
        }
        // Later the address may be anybody's, who shall not be told the members' secret.
        self.0.retain(|_, (_, seen)| now.duration_since(*seen) < OUTLIVES);
        let has_address = |name: &str| facts.pods.iter().any(|p| p.name == name && p.ip.is_some());
        let outliving = self.0.iter().filter(|(name, _)| !has_address(name));
        outliving.map(|(name, (ip, _))| (name.clone(), ip.clone())).collect()
    }
}

impl PodDirectory {
    pub fn new(context: &Context, cluster: Arc<Cluster>) -> Self {
        let pods = context.pods_api(&cluster.names);
        Self { context: context.clone(), cluster, pods, addresses: Mutex::default() }
    }
}

impl Directory for PodDirectory {
    async fn view(&self, arbiter: &Arbiter) -> Result<View, WorldError> {
        let redisha = self.cluster.object().ok_or_else(|| WorldError("not read yet".to_owned()))?;
        let facts = self.context.facts(&self.cluster, &redisha);
        let facts = facts.ok_or_else(|| WorldError("no plan exists yet".to_owned()))?;
        let mut addresses = self.addresses.lock().expect("no holder of this lock panics");
        let outliving = addresses.of_outliving(&facts, Instant::now());
        let domain = &self.context.options.cluster_domain;
        Ok(view(&self.cluster, domain, &redisha, &facts, arbiter, &outliving))
    }

    async fn label(&self, name: &str, label: Label) -> bool {
        let patch = json!({"metadata": {"labels": {ROLE_LABEL: label.as_str()}}});
        match self.pods.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => true,
            // Who is not there leads no client anywhere, so nothing need wait for its next pod.
            Err(kube::Error::Api(status)) if status.code == 404 && label == Label::Replica => true,
            Err(error) => {
                tracing::warn!(pod = name, %error, "the role label could not be set");
                false
            }
        }
    }

    async fn notify(&self, notice: Notice) {
        self.context.metrics.notice(&notice);
        self.cluster.notice(&notice);
        let Some(redisha) = self.cluster.object() else {
            return;
        };
        if let Some((type_, reason, note)) = told(&notice, &redisha) {
            self.context.event(&redisha, type_, reason, note).await;
        } else {
            tracing::info!(name = self.cluster.names.name, ?notice, "notice");
        }
    }

    fn observed(&self, observation: &Observation) {
        self.cluster.observed(observation);
    }
}

/// What the executor sees: every ordinal that should exist or still does.
fn view(
    cluster: &Cluster,
    cluster_domain: &str,
    redisha: &RedisHA,
    facts: &Facts,
    arbiter: &Arbiter,
    outliving: &HashMap<String, String>,
) -> View {
    let primary = arbiter.primary.as_ref().map(|primary| primary.name.as_str());
    let eligible = trigger::eligible(facts, arbiter);
    let existing = facts.pods.iter().map(|pod| pod.ordinal + 1).max().unwrap_or(0);
    let members = (0..facts.wanted.max(existing)).filter_map(|ordinal| {
        let name = cluster.names.pod(ordinal);
        let pod = facts.pods.iter().find(|pod| pod.ordinal == ordinal);
        if pod.is_none() && ordinal >= facts.wanted {
            return None;
        }
        let outlives = outliving.get(&name);
        let label = match pod.filter(|_| outlives.is_none()) {
            Some(pod) => pod.label,
            // A label is a pod's: a process without one has none that could be wrong.
            None if primary == Some(name.as_str()) => Label::Primary,
            None => Label::Replica,
        };
        let host = outlives.or_else(|| pod.and_then(|pod| pod.ip.as_ref()));
        Some(Seen {
            host: host.cloned().unwrap_or_default(),
            port: REDIS_PORT,
            probe_port: HEALTH_PORT,
            hostname: cluster.names.pod_fqdn(&name, cluster_domain),
            eligible: eligible.contains(&name),
            label,
            status: None,
            pulse: Pulse::Unknown,
            name,
        })
    });
    let pause = parse_duration(&redisha.spec.switchover.pause_timeout);
    let defaults = Settings::default();
    View {
        settings: Settings {
            pause_timeout_ms: pause.map_or(defaults.pause_timeout_ms, |p| p.as_millis() as u64),
            durability: promise(redisha, arbiter, cluster.has_files()),
            degrade: redisha.spec.when_replica_lost == WhenReplicaLost::Degrade,
            poll_ms: LOOK_MS,
            ..defaults
        },
        members: members.collect(),
        request: trigger::request(facts, arbiter),
    }
}

/// What the members' config shall promise. A primary that obeys `disk` answers when most members have
/// a write in their files, so one that serves already is told to only when all of them have such.
fn promise(redisha: &RedisHA, arbiter: &Arbiter, has_files: bool) -> switchover::Durability {
    let asked = redisha.spec.durability;
    let serves_on_less =
        arbiter.initialised && arbiter.config.durability != switchover::Durability::Disk;
    if asked == Durability::Disk && serves_on_less && !has_files {
        return switchover::Durability::Replicated;
    }
    asked.into()
}

/// Whether the published config promises the disk.
pub fn promises_disk(redisha: &RedisHA) -> bool {
    let arbiter = redisha.status.as_ref().and_then(|status| status.arbiter.as_ref());
    arbiter.is_some_and(|arbiter| arbiter.config.durability == switchover::Durability::Disk)
}

/// The Event that tells a notice, if people want to know.
fn told(notice: &Notice, redisha: &RedisHA) -> Option<(EventType, &'static str, String)> {
    let (normal, warning) = (EventType::Normal, EventType::Warning);
    Some(match notice {
        Notice::Bootstrapped { primary } => {
            (normal, "Bootstrapped", format!("{primary} is the first primary"))
        }
        Notice::SwitchoverStarted { intent } => {
            let (from, to) = (&intent.from.name, &intent.to.name);
            let note = format!("moving the primary from {from} to {to} ({})", intent.reason);
            (normal, "SwitchoverStarted", note)
        }
        Notice::SwitchoverCompleted { from, to, reason, pause_ms, .. } => {
            let pause = pause_ms.map(|ms| format!(", writes paused for {ms} ms"));
            let pause = pause.unwrap_or_default();
            let note = format!("the primary moved from {from} to {to} ({reason}){pause}");
            (normal, "SwitchoverCompleted", note)
        }
        Notice::SwitchoverAborted { from, to, reason, why, .. } => {
            let note = format!("{from} stays the primary, not {to} ({reason}): {why}");
            (warning, "SwitchoverAborted", note)
        }
        Notice::FailoverStarted { lost, .. } => (
            warning,
            "FailoverStarted",
            format!("{lost} does not answer; choosing another primary"),
        ),
        Notice::FailoverCompleted { from, to, .. } => {
            (normal, "FailoverCompleted", format!("{to} took over from {from}, which was lost"))
        }
        Notice::Held { request, why } if drains(request.reason) => {
            let bound = &redisha.spec.switchover.drain_hold;
            let note = format!(
                "the primary cannot leave its node yet: {why}; its eviction is held for at most \
                 {bound} and then let go"
            );
            (warning, "DrainHeld", note)
        }
        Notice::Held { request, why } => (
            warning,
            "SwitchoverHeld",
            format!("cannot move the primary ({}): {why}", request.reason),
        ),
        Notice::Waiting { why } => {
            let begun = redisha.status.as_ref().is_some_and(|status| status.primary.is_some());
            // At the beginning there is nothing wrong with pods that do not answer yet.
            let type_ = if begun { warning } else { normal };
            (type_, "Waiting", format!("cannot choose a primary yet: {why}"))
        }
    })
}

fn drains(reason: Reason) -> bool {
    matches!(reason, Reason::Eviction | Reason::Drain)
}

#[cfg(test)]
mod tests {
    use switchover::{Member, Request, Why};

    use super::*;
    use crate::controller::validate::fixture;
    use crate::trigger::PodFacts;

    fn facts(ordinals: &[i32], wanted: i32) -> Facts {
        let pod = |ordinal: &i32| PodFacts {
            name: format!("cache-{ordinal}"),
            ordinal: *ordinal,
            ip: Some(format!("10.0.0.{ordinal}")),
            asked: "a".to_owned(),
            ..PodFacts::default()
        };
        Facts {
            wanted,
            asked: "a".to_owned(),
            pods: ordinals.iter().map(pod).collect(),
            annotation: None,
            aborted: None,
            now: k8s_openapi::jiff::Timestamp::UNIX_EPOCH,
        }
    }

    fn view_of(spec: &serde_json::Value, facts: &Facts) -> View {
        view_with(spec, facts, &HashMap::new())
    }

    fn view_with(
        spec: &serde_json::Value,
        facts: &Facts,
        outliving: &HashMap<String, String>,
    ) -> View {
        let redisha = fixture::redisha(spec);
        let cluster = Cluster::new(crate::api::Names::of(&redisha), "uid-1".to_owned());
        let arbiter = Arbiter {
            primary: Some(Member { name: "cache-0".into(), member: "m".into() }),
            ..Arbiter::new("uid-1")
        };
        view(&cluster, "cluster.local", &redisha, facts, &arbiter, outliving)
    }

    fn seen(ordinals: &[i32], wanted: i32) -> Vec<(String, String, bool)> {
        let view = view_of(&json!({}), &facts(ordinals, wanted));
        view.members.into_iter().map(|m| (m.name, m.host, m.eligible)).collect()
    }

    /// An object that was stored before `durability` had a default is asked for the same as one that
    /// is made today.
    #[test]
    fn members_are_told_what_the_specification_asks_for() {
        use switchover::Durability::{Async, Replicated};
        let check = |spec: serde_json::Value, expect: (switchover::Durability, bool)| {
            let settings = view_of(&spec, &facts(&[0], 1)).settings;
            assert_eq!(settings.rule(), expect, "{spec}");
            assert_eq!(settings.poll_ms, LOOK_MS, "{spec}");
        };
        check(json!({}), (Replicated, true));
        check(json!({"durability": "async"}), (Async, true));
        check(json!({"durability": "replicated", "whenReplicaLost": "block"}), (Replicated, false));
        let spec = json!({"switchover": {"pauseTimeout": "700ms"}});
        assert_eq!(view_of(&spec, &facts(&[0], 1)).settings.pause_timeout_ms, 700);
    }

    /// A primary that obeyed `disk` before its replicas had append-only files would answer nobody until
    /// they have; one that was never less must not answer on less.
    #[test]
    fn a_primary_that_serves_promises_the_disk_once_all_members_have_files() {
        use switchover::Durability::{Async, Disk, Replicated};
        let redisha = fixture::redisha(&json!({"durability": "disk", "storage": {"size": "1Gi"}}));
        let check = |initialised, durability, has_files, expect| {
            let config = switchover::Config { durability, ..switchover::Config::default() };
            let arbiter = Arbiter { initialised, config, ..Arbiter::new("uid-1") };
            let made = promise(&redisha, &arbiter, has_files);
            assert_eq!(made, expect, "{initialised} {durability:?} {has_files}");
        };
        check(false, Async, false, Disk);
        check(true, Replicated, false, Replicated);
        check(true, Async, false, Replicated);
        check(true, Replicated, true, Disk);
        check(true, Disk, false, Disk);
    }

    /// "Every member is empty" is concluded from this list: an ordinal that is missing from it
    /// could hold the data.
    #[test]
    fn every_ordinal_that_should_exist_or_still_does_is_listed() {
        let listed = seen(&[0, 2], 3);
        assert_eq!(
            listed,
            [
                ("cache-0".to_owned(), "10.0.0.0".to_owned(), true),
                ("cache-1".to_owned(), String::new(), false),
                ("cache-2".to_owned(), "10.0.0.2".to_owned(), true),
            ]
        );
        let names: Vec<_> = seen(&[0, 1, 4], 2).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["cache-0", "cache-1", "cache-4"]);
    }

    /// The primary's pod was deleted by force, and nobody spoke to its process in the two seconds that it
    /// had left: instead of handing over it was lost.
    #[test]
    fn a_process_that_outlives_its_pod_is_found_where_it_was() {
        let (begun, mut addresses) = (Instant::now(), Addresses::default());
        let mut seen = |facts: &Facts, after_ms| {
            let now = begun + Duration::from_millis(after_ms);
            let outliving = addresses.of_outliving(facts, now);
            let members = view_with(&json!({}), facts, &outliving).members;
            members.into_iter().map(|m| (m.host, m.label)).collect::<Vec<_>>()
        };
        let there = |ordinal: i32, label| (format!("10.0.0.{ordinal}"), label);
        let (none, replica) = (Label::None, Label::Replica);
        let all = facts(&[0, 1], 2);
        assert_eq!(seen(&all, 0), [there(0, none), there(1, none)]);
        assert_eq!(seen(&facts(&[1], 2), 10), [there(0, Label::Primary), there(1, none)]);
        assert_eq!(seen(&facts(&[0], 2), 20), [there(0, none), there(1, replica)]);
        let mut anew = facts(&[0, 1], 2);
        anew.pods[1].ip = None;
        assert_eq!(seen(&anew, 30), [there(0, none), there(1, replica)]);
        anew.pods[1].ip = Some("10.0.0.9".into());
        assert_eq!(seen(&anew, 40), [there(0, none), there(9, none)]);
        assert_eq!(seen(&facts(&[0], 2), 6_000), [there(0, none), (String::new(), replica)]);
    }

    #[test]
    fn a_held_drain_is_told_with_its_reason_and_its_bound() {
        let redisha = fixture::redisha(&json!({"switchover": {"drainHold": "90s"}}));
        let held = |reason| Notice::Held {
            request: Request { id: "1".into(), reason, to: None },
            why: Why::NoSyncedReplica,
        };
        for reason in [Reason::Eviction, Reason::Drain] {
            let (_, event, note) = told(&held(reason), &redisha).unwrap();
            assert_eq!(event, "DrainHeld");
            assert!(note.contains("no replica") && note.contains("90s"), "{note}");
        }
        assert_eq!(told(&held(Reason::Request), &redisha).unwrap().1, "SwitchoverHeld");
    }
}
