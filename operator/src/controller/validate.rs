//! From what a person wrote to what can be built.
//!
//! Takes the object, what is already decided about it and the operator's options; returns a
//! [`Plan`] or the sentence that says which field is wrong. Has no client. The API server refuses
//! nearly all of this before, by the rules in the definition; this is for objects that were stored
//! under an older definition.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::ResourceRequirements;
use thiserror::Error;

use crate::api::{DISK_NEEDS_FILES, DISK_NEEDS_STORAGE, Durability, Names, RedisHA, Storage};

/// A specification that cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct Invalid {
    /// The field, as a path from the object.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

/// What is decided about an object outside its specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Pods to ask for: differs from `spec.replicas` while a scale-down waits for a switch.
    pub replicas: i32,
    /// `spec.image`, or the recorded default.
    pub image: String,
    /// The users' password.
    pub password: String,
    /// Whether `NAME-auth` is a person's own: then it is read and never written.
    pub foreign_auth: bool,
    /// The internal user's password.
    pub internal_password: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// An eviction has been held for as long as the specification allows: no budget may hold it.
    pub let_go: bool,
    /// The published config still promises the disk.
    pub on_disk: bool,
}

/// Everything that the builders need. Its bools are independent of each other; together they are no state.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub names: Names,
    /// UID of the object, and of the cluster of its members.
    pub uid: String,
    pub replicas: i32,
    pub image: String,
    pub config: BTreeMap<String, String>,
    pub resources: Option<ResourceRequirements>,
    pub storage: Option<Storage>,
    pub grace_seconds: i64,
    pub primary_floor: bool,
    pub pause_timeout: Duration,
    pub drain_hold: Duration,
    pub password: String,
    pub foreign_auth: bool,
    pub internal_password: String,
    pub cluster_domain: String,
    pub let_go: bool,
    /// Pods keep append-only files, and their members' ids with them: before a config promises the
    /// disk, and for as long as one does.
    pub keeps_ids: bool,
}

/// Checks and completes.
pub fn validate(redisha: &RedisHA, decided: Decided) -> Result<Plan, Invalid> {
    let invalid = |field, problem: &str| Err(Invalid { field, problem: problem.to_owned() });
    let spec = &redisha.spec;
    let Some(uid) = redisha.metadata.uid.clone() else {
        return invalid("metadata.uid", "the object has none yet");
    };
    if !(1..=9).contains(&spec.replicas) {
        return invalid("spec.replicas", "must be from 1 to 9");
    }
    if spec.termination_grace_period_seconds < 10 {
        return invalid("spec.terminationGracePeriodSeconds", "must be at least 10");
    }
    if spec.durability == Durability::Disk {
        if spec.storage.is_none() {
            return invalid("spec.durability", DISK_NEEDS_STORAGE);
        }
        if spec.config.get("appendonly").is_some_and(|value| value.trim() != "yes") {
            return invalid("spec.config.appendonly", DISK_NEEDS_FILES);
        }
    }
    if decided.image.trim().is_empty() {
        return invalid("spec.image", "is empty");
    }
    if decided.password.trim().is_empty() {
        return invalid(
            "Secret NAME-auth, key password",
            "is empty; users could not be told apart",
        );
    }
    for (name, value) in &spec.config {
        let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || !name.chars().all(word) || value.contains(['\n', '\r']) {
            let problem = format!("`{name}` is not one directive with one line as its value");
            return Err(Invalid { field: "spec.config", problem });
        }
    }
    let duration = |field, text: &str| {
        parse_duration(text).ok_or_else(|| Invalid {
            field,
            problem: format!("`{text}` is not a duration such as `2s` or `5m`"),
        })
    };
    Ok(Plan {
        names: Names::of(redisha),
        uid,
        replicas: decided.replicas,
        image: decided.image,
        config: spec.config.clone(),
        resources: spec.resources.clone(),
        storage: spec.storage.clone(),
        grace_seconds: spec.termination_grace_period_seconds,
        primary_floor: spec.disruption.primary_floor,
        pause_timeout: duration("spec.switchover.pauseTimeout", &spec.switchover.pause_timeout)?,
        drain_hold: duration("spec.switchover.drainHold", &spec.switchover.drain_hold)?,
        password: decided.password,
        foreign_auth: decided.foreign_auth,
        internal_password: decided.internal_password,
        cluster_domain: decided.cluster_domain,
        let_go: decided.let_go,
        keeps_ids: spec.durability == Durability::Disk || decided.on_disk,
    })
}

/// Reads durations as Kubernetes writes them: `90s`, `1m30s`, `250ms`.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let millis = match &rest[..unit] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(total)
}

#[cfg(test)]
pub mod fixture {
    use serde_json::{Value, json};

    use super::*;

    /// An object with this spec, as the API server would store it.
    pub fn redisha(spec: &Value) -> RedisHA {
        serde_json::from_value(json!({
            "apiVersion": "redisha.dev/v1alpha1",
            "kind": "RedisHA",
            "metadata": {"name": "cache", "namespace": "shop", "uid": "uid-1", "generation": 1},
            "spec": spec,
        }))
        .expect("the fixture is a RedisHA")
    }

    /// What is decided for it when nothing special is going on.
    pub fn decided(redisha: &RedisHA) -> Decided {
        Decided {
            replicas: redisha.spec.replicas,
            image: redisha.spec.image.clone().unwrap_or_else(|| "redisha-server:0".to_owned()),
            password: "user's \"word\"".to_owned(),
            foreign_auth: false,
            internal_password: "internal-word".to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            let_go: false,
            on_disk: false,
        }
    }

    /// The plan of a valid spec.
    pub fn plan(spec: &Value) -> Plan {
        let redisha = redisha(spec);
        validate(&redisha, decided(&redisha)).expect("the spec is valid")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn check(spec: &Value, sentence: &str) {
        let redisha = fixture::redisha(spec);
        let error = validate(&redisha, fixture::decided(&redisha)).unwrap_err();
        assert_eq!(error.to_string(), sentence);
    }

    #[test]
    fn every_refusal_names_its_field() {
        check(&json!({"replicas": 0}), "spec.replicas: must be from 1 to 9");
        check(
            &json!({"terminationGracePeriodSeconds": 3}),
            "spec.terminationGracePeriodSeconds: must be at least 10",
        );
        check(&json!({"image": " "}), "spec.image: is empty");
        check(
            &json!({"durability": "disk"}),
            "spec.durability: 'disk' needs a volume for each pod, and without spec.storage data live \
             in an emptyDir that goes with its pod; take 'replicated', or create another RedisHA \
             with spec.storage",
        );
        check(
            &json!({
                "durability": "disk", "storage": {"size": "1Gi"}, "config": {"appendonly": "no"},
            }),
            "spec.config.appendonly: 'disk' keeps what is answered in append-only files; leave \
             'appendonly' out, or set it to 'yes'",
        );
        check(
            &json!({"config": {"a b": "c"}}),
            "spec.config: `a b` is not one directive with one line as its value",
        );
        check(
            &json!({"config": {"save": "1 2\nrequirepass x"}}),
            "spec.config: `save` is not one directive with one line as its value",
        );
        check(
            &json!({"switchover": {"pauseTimeout": "soon"}}),
            "spec.switchover.pauseTimeout: `soon` is not a duration such as `2s` or `5m`",
        );
    }

    #[test]
    fn defaults_are_those_of_the_definition() {
        let plan = fixture::plan(&json!({}));
        assert_eq!((plan.replicas, plan.grace_seconds), (3, 60));
        assert_eq!(plan.pause_timeout, Duration::from_secs(2));
        assert_eq!(plan.drain_hold, Duration::from_mins(5));
        assert!(!plan.primary_floor);
    }

    #[test]
    fn durations_read_as_kubernetes_writes_them() {
        for (text, millis) in [("250ms", 250), ("2s", 2_000), ("1m30s", 90_000), ("0s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "s", "5", "5 s", "-1s", "1d", "99999999999999999999s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
