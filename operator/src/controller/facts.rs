//! From Kubernetes' objects to the facts that triggers and status are made of.
//!
//! Takes pods and nodes as the caches hold them; returns [`Facts`]. Has no client.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use k8s_openapi::jiff::Timestamp;
use switchover::{Durability as Promise, Label, Observation};

use super::cluster::in_sync;
use crate::api::{
    ASKED_ANNOTATION, Durability, EVICTION_ANNOTATION, Names, ROLE_LABEL, ROLE_PRIMARY,
    ROLE_REPLICA, RedisHA, SWITCHOVER_ANNOTATION,
};
use crate::trigger::{Eviction, Facts, PodFacts};

/// Taints by which autoscalers announce that a node will go.
const LEAVING_TAINTS: [&str; 4] = [
    "node.kubernetes.io/unschedulable",
    "ToBeDeletedByClusterAutoscaler",
    "karpenter.sh/disrupted",
    "karpenter.sh/disruption",
];

/// What facts are gathered from.
pub struct Sources<'a> {
    pub redisha: &'a RedisHA,
    pub asked: String,
    /// The object's pods, in any order; others are left out.
    pub pods: Vec<Arc<Pod>>,
    /// Finds a node by its name.
    pub node: &'a dyn Fn(&str) -> Option<Arc<Node>>,
    pub observation: Option<&'a Observation>,
    pub aborted: Option<(u32, Duration)>,
    pub now: Timestamp,
}

/// Gathers the facts of one `RedisHA`.
pub fn gather(sources: &Sources<'_>) -> Facts {
    let names = Names::of(sources.redisha);
    let mut pods: Vec<_> =
        sources.pods.iter().filter_map(|pod| pod_facts(&names, pod, sources)).collect();
    pods.sort_by_key(|pod| pod.ordinal);
    let annotations = sources.redisha.metadata.annotations.as_ref();
    Facts {
        wanted: sources.redisha.spec.replicas,
        asked: sources.asked.clone(),
        pods,
        annotation: annotations.and_then(|a| a.get(SWITCHOVER_ANNOTATION)).cloned(),
        aborted: sources.aborted,
        now: sources.now,
    }
}

fn pod_facts(names: &Names, pod: &Pod, sources: &Sources<'_>) -> Option<PodFacts> {
    let meta = &pod.metadata;
    let name = meta.name.clone()?;
    let ordinal = names.ordinal(&name)?;
    let status = pod.status.as_ref();
    let annotation = |key: &str| meta.annotations.as_ref().and_then(|a| a.get(key));
    let said = sources.observation.and_then(|observation| {
        let seen = observation.members.iter().find(|seen| seen.name == name);
        seen.and_then(|seen| seen.status.as_ref()).map(|status| (observation, status))
    });
    let synced = said.is_some_and(|(observation, status)| in_sync(observation, status));
    // It counts in an election only where answers promise the disk; a new process has a new id.
    let outlived = sources.redisha.spec.durability != Durability::Disk
        && said.is_some_and(|(observation, status)| {
            status.restarted && observation.arbiter.config.durability != Promise::Disk
        });
    let asked = annotation(ASKED_ANNOTATION).filter(|_| !outlived);
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
    Some(PodFacts {
        ordinal,
        uid: meta.uid.clone().unwrap_or_default(),
        restarts: status.and_then(restarts).unwrap_or_default(),
        ip: status.and_then(|s| s.pod_ip.clone()).filter(|ip| !ip.is_empty()),
        asked: asked.cloned().unwrap_or_default(),
        label: role_label(pod),
        ready: condition(pod, "Ready"),
        synced,
        terminating: meta.deletion_timestamp.is_some(),
        node_leaving: node.and_then(sources.node).is_some_and(|node| leaving(&node)),
        eviction: annotation(EVICTION_ANNOTATION).and_then(|text| Eviction::from_annotation(text)),
        name,
    })
}

/// A pod has one container.
fn restarts(status: &PodStatus) -> Option<i32> {
    Some(status.container_statuses.as_ref()?.first()?.restart_count)
}

/// The role that a pod's label says.
pub fn role_label(pod: &Pod) -> Label {
    match pod.metadata.labels.as_ref().and_then(|l| l.get(ROLE_LABEL)).map(String::as_str) {
        Some(ROLE_PRIMARY) => Label::Primary,
        Some(ROLE_REPLICA) => Label::Replica,
        _ => Label::None,
    }
}

fn condition(pod: &Pod, kind: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == kind && c.status == "True"))
}

/// Whether a node is cordoned or about to be removed.
pub fn leaving(node: &Node) -> bool {
    let Some(spec) = &node.spec else {
        return false;
    };
    let tainted = |taints: &Vec<k8s_openapi::api::core::v1::Taint>| {
        taints.iter().any(|taint| LEAVING_TAINTS.contains(&taint.key.as_str()))
    };
    spec.unschedulable == Some(true)
        || spec.taints.as_ref().is_some_and(tainted)
        || node.metadata.deletion_timestamp.is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use switchover::{Arbiter, Config, Seen, Settings, Status};

    use super::*;
    use crate::controller::validate::fixture;

    fn node(spec: &Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_node_leaves_when_it_is_cordoned_or_an_autoscaler_says_so() {
        assert!(!leaving(&node(&json!({}))));
        assert!(leaving(&node(&json!({"unschedulable": true}))));
        for key in LEAVING_TAINTS {
            let taints = json!({"taints": [{"key": key, "effect": "NoSchedule"}]});
            assert!(leaving(&node(&taints)), "{key}");
        }
        // Candidates are only considered; moving for each of them would be restless.
        let key = "DeletionCandidateOfClusterAutoscaler";
        assert!(!leaving(&node(&json!({"taints": [{"key": key, "effect": "PreferNoSchedule"}]}))));
    }

    #[test]
    fn pods_are_read_in_order_and_strangers_are_left_out() {
        let pod = |name: &str| -> Arc<Pod> {
            Arc::new(
                serde_json::from_value(json!({
                    "metadata": {
                        "name": name, "uid": format!("uid-{name}"),
                        "labels": {"redisha.dev/role": "primary"},
                        "annotations": {"redisha.dev/asked": "abc"},
                        "deletionTimestamp": "2026-01-01T00:00:00Z",
                    },
                    "spec": {"nodeName": "n", "containers": []},
                    "status": {
                        "podIP": "10.0.0.7",
                        "conditions": [{"type": "Ready", "status": "True"}],
                        "containerStatuses": [{
                            "name": "redisha", "restartCount": 2,
                            "image": "", "imageID": "", "ready": true,
                        }],
                    },
                }))
                .unwrap(),
            )
        };
        let redisha = fixture::redisha(&json!({}));
        let facts = gather(&Sources {
            redisha: &redisha,
            asked: "abc".to_owned(),
            pods: vec![pod("cache-2"), pod("other-0"), pod("cache-0")],
            node: &|_| Some(Arc::new(node(&json!({"unschedulable": true})))),
            observation: None,
            aborted: None,
            now: Timestamp::UNIX_EPOCH,
        });
        let names: Vec<_> = facts.pods.iter().map(|pod| pod.name.as_str()).collect();
        assert_eq!(names, ["cache-0", "cache-2"]);
        let expect = PodFacts {
            name: "cache-2".to_owned(),
            ordinal: 2,
            uid: "uid-cache-2".to_owned(),
            restarts: 2,
            ip: Some("10.0.0.7".to_owned()),
            asked: "abc".to_owned(),
            label: Label::Primary,
            ready: true,
            synced: false,
            terminating: true,
            node_leaving: true,
            eviction: None,
        };
        assert_eq!(facts.pods[1], expect);
    }

    /// After a change from `disk` to `replicated` no election counted the members that had been
    /// restarted before: with two of them, the loss of the third was the loss of service.
    #[test]
    fn an_id_that_no_election_counts_is_out_of_date() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "cache-0", "annotations": {"redisha.dev/asked": "abc"}},
        }))
        .unwrap();
        let asked = |durability: &str, published: Promise, restarted: bool| {
            let redisha = fixture::redisha(&json!({"durability": durability}));
            let config = Config { durability: published, ..Config::default() };
            let status = Status { restarted, ..Status::default() };
            let name = "cache-0".to_owned();
            let observation = Observation {
                arbiter: Arbiter { config, ..Arbiter::new("uid-1") },
                settings: Settings::default(),
                members: vec![Seen { name, status: Some(status), ..Seen::default() }],
                request: None,
            };
            let sources = Sources {
                redisha: &redisha,
                asked: "abc".to_owned(),
                pods: vec![Arc::new(pod.clone())],
                node: &|_| None,
                observation: Some(&observation),
                aborted: None,
                now: Timestamp::UNIX_EPOCH,
            };
            gather(&sources).pods[0].asked.clone()
        };
        assert_eq!(asked("replicated", Promise::Replicated, true), "");
        assert_eq!(asked("replicated", Promise::Replicated, false), "abc");
        assert_eq!(asked("replicated", Promise::Disk, true), "abc", "it is still counted");
        assert_eq!(asked("disk", Promise::Replicated, true), "abc", "it will be counted");
        assert_eq!(asked("disk", Promise::Disk, true), "abc");
    }
}
