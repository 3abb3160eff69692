//! The arbiter in the status of a `RedisHA`.

use std::sync::Arc;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use switchover::{Arbiter, Publication};

use super::cluster::Cluster;
use super::context::Context;
use crate::api::RedisHA;
use crate::executor::{ArbiterStore, WorldError};

/// Reads by quorum (a GET without a resource version), writes by a JSON patch that tests the
/// arbiter's own version: unrelated edits of the object do not conflict.
pub struct StatusStore {
    api: Api<RedisHA>,
    cluster: Arc<Cluster>,
}

impl StatusStore {
    pub fn new(context: &Context, cluster: Arc<Cluster>) -> Self {
        Self { api: context.redishas(&cluster.names), cluster }
    }
}

impl ArbiterStore for StatusStore {
    async fn read(&self) -> Result<Arbiter, WorldError> {
        let object = self.api.get(&self.cluster.names.name).await;
        let object = object.map_err(|error| WorldError(error.to_string()))?;
        if object.metadata.uid.as_ref() != Some(&self.cluster.uid) {
            return Err(WorldError("another object has taken its name".to_owned()));
        }
        let arbiter = stored(&object, &self.cluster.uid);
        self.cluster.set_object(Arc::new(object));
        Ok(arbiter)
    }

    async fn publish(&self, next: &Arbiter) -> Publication {
        let Some(patch) = self.cluster.object().and_then(|object| patch(&object, next)) else {
            return Publication::Conflict;
        };
        let patch: json_patch::Patch =
            serde_json::from_value(patch).expect("the operations are a JSON patch");
        let name = &self.cluster.names.name;
        let params = PatchParams::default();
        match self.api.patch_status(name, &params, &Patch::<()>::Json(patch)).await {
            Ok(object) => {
                self.cluster.set_object(Arc::new(object));
                Publication::Done
            }
            // A failed test answers 422. A server that is overloaded or timed out may have written.
            Err(kube::Error::Api(status)) if matches!(status.code, 400 | 404 | 409 | 422) => {
                tracing::warn!(name, why = status.message, "the arbiter was not published");
                Publication::Conflict
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403 | 429) => {
                tracing::warn!(name, why = status.message, "the arbiter was refused");
                Publication::Conflict
            }
            Err(error) => {
                tracing::warn!(name, %error, "whether the arbiter was published is not known");
                Publication::Unknown
            }
        }
    }
}

/// The arbiter that an object holds. One that was made for another object (a restored backup) says
/// nothing about this one's members, but its version still guards what is written next.
fn stored(object: &RedisHA, uid: &str) -> Arbiter {
    match object.status.as_ref().and_then(|status| status.arbiter.as_ref()) {
        Some(arbiter) if arbiter.uid == uid => arbiter.clone(),
        Some(arbiter) => Arbiter { version: arbiter.version, ..Arbiter::new(uid) },
        None => Arbiter::new(uid),
    }
}

/// The operations that write `next` iff the stored version is `next.version - 1`, together with
/// the fields that people read. `None` when the object at hand already shows another version.
fn patch(object: &RedisHA, next: &Arbiter) -> Option<Value> {
    let status = object.status.as_ref();
    let mut operations = Vec::new();
    let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
    let add = |path: &str, value: Value| json!({"op": "add", "path": path, "value": value});
    if let Some(stored) = status.and_then(|status| status.arbiter.as_ref()) {
        if stored.version + 1 != next.version {
            return None;
        }
        operations.push(test("/status/arbiter/version", json!(stored.version)));
        operations.push(test("/status/arbiter/uid", json!(stored.uid)));
    } else {
        if next.version != 1 {
            return None;
        }
        // There is no version to test yet, so the first one tests the whole object.
        let resource_version = object.metadata.resource_version.as_ref()?;
        operations.push(test("/metadata/resourceVersion", json!(resource_version)));
        if status.is_none() {
            operations.push(add("/status", json!({})));
        }
    }
    operations.push(add("/status/arbiter", json!(next)));
    operations.push(add("/status/epoch", json!(next.epoch)));
    operations.push(add("/status/switchovers", json!(next.switchovers)));
    if let Some(primary) = &next.primary {
        operations.push(add("/status/primary", json!(primary.name)));
    }
    if let Some(last) = &next.last_switchover {
        operations.push(add("/status/lastSwitchover", json!(last)));
    }
    Some(Value::Array(operations))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::validate::fixture;

    fn object(status: &Value) -> RedisHA {
        let mut value = serde_json::to_value(fixture::redisha(&json!({}))).unwrap();
        value["metadata"]["resourceVersion"] = json!("77");
        value["status"] = status.clone();
        serde_json::from_value(value).unwrap()
    }

    /// Applies the patch to an object as the API server holds it.
    fn write(stored: &RedisHA, patch: &Value) -> Result<RedisHA, json_patch::PatchError> {
        let mut value = serde_json::to_value(stored).unwrap();
        let patch: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
        json_patch::patch(&mut value, &patch)?;
        Ok(serde_json::from_value(value).unwrap())
    }

    fn next(version: u64) -> Arbiter {
        Arbiter { version, term: 9, ..Arbiter::new("uid-1") }
    }

    #[test]
    fn the_first_publication_tests_the_object_and_later_ones_the_version() {
        let empty = object(&Value::Null);
        let first = patch(&empty, &next(1)).unwrap();
        let written = write(&empty, &first).unwrap();
        assert_eq!(stored(&written, "uid-1"), next(1));
        let mut changed = object(&Value::Null);
        changed.metadata.resource_version = Some("78".to_owned());
        assert!(write(&changed, &first).is_err(), "somebody else wrote first");

        // An unrelated edit does not matter any more.
        let second = patch(&written, &next(2)).unwrap();
        let mut edited = written.clone();
        edited.metadata.resource_version = Some("99".to_owned());
        edited.spec.replicas = 5;
        let edited = write(&edited, &second).unwrap();
        assert_eq!((stored(&edited, "uid-1"), edited.spec.replicas), (next(2), 5));
        assert!(write(&edited, &second).is_err(), "the same patch never applies twice");
    }

    #[test]
    fn a_status_without_an_arbiter_is_kept() {
        let other = object(&json!({"image": "i", "replicas": 3}));
        let written = write(&other, &patch(&other, &next(1)).unwrap()).unwrap();
        assert_eq!(written.status.unwrap().image.as_deref(), Some("i"));
    }

    #[test]
    fn a_stale_decision_is_not_even_sent() {
        let held = object(&json!({"arbiter": next(5)}));
        assert!(patch(&held, &next(5)).is_none());
        assert!(patch(&held, &next(7)).is_none());
        assert!(patch(&held, &next(6)).is_some());
        assert!(patch(&object(&Value::Null), &next(2)).is_none());
    }

    /// A backup that was restored into a new object must not make its members those of the old.
    #[test]
    fn another_objects_arbiter_says_nothing_but_its_version_still_guards() {
        let mut other = next(5);
        other.uid = "uid-0".to_owned();
        let restored = object(&json!({"arbiter": other}));
        let read = stored(&restored, "uid-1");
        assert_eq!((read.uid.as_str(), read.version, read.term), ("uid-1", 5, 0));
        let written = write(&restored, &patch(&restored, &next(6)).unwrap()).unwrap();
        assert_eq!(stored(&written, "uid-1"), next(6));
    }
}
