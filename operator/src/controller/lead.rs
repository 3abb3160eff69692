//! What the acting operator does: watches, and keeps one loop per `RedisHA`.

use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt, reflector};
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::cluster::Cluster;
use super::context::{Caches, Context};
use super::reconcile::Loop;
use crate::api::{Names, RedisHA};

/// Namespace and name.
type Key = (String, String);

/// The loops of all objects.
#[derive(Clone)]
struct Loops {
    context: Context,
    inner: Arc<Mutex<HashMap<Key, Entry>>>,
}

struct Entry {
    cluster: Arc<Cluster>,
    task: JoinHandle<()>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Watches and acts until the future is dropped; then every loop ends.
pub async fn lead(context: Context, caches: Caches) {
    let loops = Loops { context: context.clone(), inner: Arc::default() };
    let of_pod = loops.clone();
    let pods = reflect(caches.pods, pods(&context), move |pod: &Pod| of_pod.pod_changed(pod));
    let of_node = loops.clone();
    let nodes = reflect(caches.nodes, nodes(&context), move |_: &Node| of_node.nudge_all());
    let caches_filled = async {
        // A loop that starts before would take pods that it cannot see for missing ones.
        let filled = (context.pods.wait_until_ready(), context.nodes.wait_until_ready());
        let _ = filled.0.await;
        let _ = filled.1.await;
        objects(&context, &loops).await;
    };
    tokio::join!(pods, nodes, caches_filled);
}

fn pods(context: &Context) -> impl Stream<Item = watcher::Result<Event<Pod>>> + use<> {
    let config = watcher::Config::default().labels("app.kubernetes.io/name=redisha");
    watched(Api::all(context.client.clone()), config)
}

fn nodes(context: &Context) -> impl Stream<Item = watcher::Result<Event<Node>>> + use<> {
    watched(Api::all(context.client.clone()), watcher::Config::default())
}

fn watched<K>(api: Api<K>, config: watcher::Config) -> impl Stream<Item = watcher::Result<Event<K>>>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let strip = |object: &mut K| object.managed_fields_mut().clear();
    watcher(api, config).modify(strip).default_backoff()
}

/// Keeps a cache and calls back for each object that changed, once the cache shows it.
async fn reflect<K>(
    writer: reflector::store::Writer<K>,
    stream: impl Stream<Item = watcher::Result<Event<K>>>,
    changed: impl Fn(&K),
) where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    let stream = reflector(writer, stream);
    futures::pin_mut!(stream);
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object) | Event::Delete(object)) => {
                changed(&object);
            }
            Ok(Event::Init | Event::InitDone) => {}
            Err(error) => tracing::warn!(%error, "a watch broke and is made again"),
        }
    }
}

async fn objects(context: &Context, loops: &Loops) {
    let api: Api<RedisHA> = Api::all(context.client.clone());
    let stream = watched(api, watcher::Config::default());
    futures::pin_mut!(stream);
    loop {
        match stream.try_next().await {
            Ok(Some(Event::Apply(object) | Event::InitApply(object))) => loops.changed(&object),
            Ok(Some(Event::Delete(object))) => loops.gone(&object),
            Ok(Some(Event::Init | Event::InitDone)) => {}
            Ok(None) => return,
            Err(error) => tracing::warn!(%error, "the watch of RedisHA broke and is made again"),
        }
    }
}

impl Loops {
    /// Starts a loop for an object that is new, wakes the one that is there.
    fn changed(&self, object: &RedisHA) {
        let Some(uid) = object.metadata.uid.clone() else {
            return;
        };
        let names = Names::of(object);
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        inner.retain(|_, entry| !entry.task.is_finished());
        let key = (names.namespace.clone(), names.name.clone());
        if let Some(entry) = inner.get(&key).filter(|entry| entry.cluster.uid == uid) {
            entry.cluster.nudge();
        } else {
            tracing::info!(namespace = key.0, name = key.1, "looking after a RedisHA");
            let cluster = Arc::new(Cluster::new(names, uid));
            let work = Loop::new(self.context.clone(), Arc::clone(&cluster));
            let task = tokio::spawn(work.run());
            inner.insert(key, Entry { cluster, task });
        }
        self.context.metrics.managed(inner.len());
    }

    fn gone(&self, object: &RedisHA) {
        let names = Names::of(object);
        let mut inner = self.inner.lock().expect("no holder of this lock panics");
        inner.remove(&(names.namespace, names.name));
        self.context.metrics.managed(inner.len());
    }

    fn pod_changed(&self, pod: &Pod) {
        let Some(instance) = pod.labels().get("app.kubernetes.io/instance") else {
            return;
        };
        let key = (pod.namespace().unwrap_or_default(), instance.clone());
        let inner = self.inner.lock().expect("no holder of this lock panics");
        if let Some(entry) = inner.get(&key) {
            entry.cluster.nudge();
        }
    }

    fn nudge_all(&self) {
        let inner = self.inner.lock().expect("no holder of this lock panics");
        inner.values().for_each(|entry| entry.cluster.nudge());
    }
}
