//! What every task of the operator shares.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::runtime::reflector::store::Writer;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Client, Resource, ResourceExt};

use super::cluster::Cluster;
use super::facts::{self, Sources};
use super::validate::parse_duration;
use crate::api::{EVICTION_ANNOTATION, Names, RedisHA};
use crate::metrics::Metrics;
use crate::trigger::{self, Eviction, Facts};

/// Options that an installation sets.
#[derive(Debug, Clone)]
pub struct Options {
    /// Image of servers whose specification names none.
    pub default_image: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// This process's pod, or host.
    pub identity: String,
    /// Where the operator's own objects are.
    pub namespace: String,
}

/// The writing ends of the caches.
#[derive(Default)]
pub struct Caches {
    pub pods: Writer<Pod>,
    pub nodes: Writer<Node>,
}

/// Shared by every task.
#[derive(Clone)]
pub struct Context {
    pub client: Client,
    pub options: Arc<Options>,
    pub pods: Store<Pod>,
    pub nodes: Store<Node>,
    pub metrics: Arc<Metrics>,
    recorder: Recorder,
}

impl Context {
    /// A context without caches, which is all that the webhook needs.
    pub fn new(client: Client, options: Options, metrics: Arc<Metrics>) -> Self {
        let reporter =
            Reporter { controller: "redisha".to_owned(), instance: Some(options.identity.clone()) };
        let recorder = Recorder::new(client.clone(), reporter);
        let Caches { pods, nodes } = Caches::default();
        let (pods, nodes) = (pods.as_reader(), nodes.as_reader());
        Self { client, options: Arc::new(options), pods, nodes, metrics, recorder }
    }

    /// The same with caches that are empty, and what fills them.
    pub fn with_caches(&self) -> (Self, Caches) {
        let caches = Caches::default();
        let (pods, nodes) = (caches.pods.as_reader(), caches.nodes.as_reader());
        (Self { pods, nodes, ..self.clone() }, caches)
    }

    /// The API of `RedisHA` in the cluster's namespace.
    pub fn redishas(&self, names: &Names) -> Api<RedisHA> {
        Api::namespaced(self.client.clone(), &names.namespace)
    }

    /// The API of pods in the cluster's namespace.
    pub fn pods_api(&self, names: &Names) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &names.namespace)
    }

    /// Whether somebody still asks for an eviction that has been held for long enough.
    pub fn holds_too_long(&self, names: &Names, redisha: &RedisHA) -> bool {
        let hold = parse_duration(&redisha.spec.switchover.drain_hold).unwrap_or_default();
        let now = Timestamp::now();
        let marks = self.pods_of(names);
        let marks = marks.iter().filter_map(|pod| pod.annotations().get(EVICTION_ANNOTATION));
        let mut evictions = marks.filter_map(|text| Eviction::from_annotation(text));
        evictions
            .any(|eviction| eviction.fresh(now) && trigger::elapsed(eviction.since, now) >= hold)
    }

    fn pods_of(&self, names: &Names) -> Vec<Arc<Pod>> {
        self.pods.state_filter(|pod| {
            pod.metadata.namespace.as_ref() == Some(&names.namespace)
                && pod.labels().get("app.kubernetes.io/instance") == Some(&names.name)
        })
    }

    /// The facts of one cluster, as the caches hold them; `None` before its first plan.
    pub fn facts(&self, cluster: &Cluster, redisha: &RedisHA) -> Option<Facts> {
        let pods = self.pods_of(&cluster.names);
        let observation = cluster.observation();
        Some(facts::gather(&Sources {
            redisha,
            asked: cluster.asked()?,
            pods,
            node: &|name| self.nodes.get(&ObjectRef::new(name)),
            observation: observation.as_deref(),
            aborted: cluster.aborted(),
            now: Timestamp::now(),
        }))
    }

    /// Publishes an Event about a `RedisHA`; a failure is logged and nothing else.
    pub async fn event(&self, about: &RedisHA, type_: EventType, reason: &str, note: String) {
        tracing::info!(name = about.name_any(), reason, note, "event");
        let reference: ObjectReference = about.object_ref(&());
        let event = Event {
            type_,
            reason: reason.to_owned(),
            // The API takes at most a kilobyte.
            note: Some(note.chars().take(900).collect()),
            action: "Switchover".to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &reference).await {
            tracing::warn!(%error, reason, "an Event could not be published");
        }
    }
}
