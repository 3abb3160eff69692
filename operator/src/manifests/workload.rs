//! The operator's own pods.

use serde_json::{Value, json};

use super::{OPERATOR, Settings, labels};
use crate::api::RUN_AS;

/// The namespace of the installation.
pub fn namespace(settings: &Settings) -> Value {
    let mut labels = labels();
    labels["pod-security.kubernetes.io/enforce"] = json!("restricted");
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": settings.namespace, "labels": labels},
    })
}

/// Deployment and budget.
pub fn objects(settings: &Settings) -> Vec<Value> {
    let selector = json!({"matchLabels": {"app.kubernetes.io/name": OPERATOR}});
    let meta = json!({"name": OPERATOR, "namespace": settings.namespace, "labels": labels()});
    let deployment = json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": settings.replicas,
            "selector": selector,
            "template": {
                "metadata": {"labels": labels()},
                "spec": pod(settings, &selector),
            },
        },
    });
    let budget = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": meta,
        "spec": {
            "maxUnavailable": 1,
            "selector": selector,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    });
    vec![deployment, budget]
}

fn pod(settings: &Settings, selector: &Value) -> Value {
    json!({
        "serviceAccountName": OPERATOR,
        "terminationGracePeriodSeconds": 30,
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{
            "weight": 100,
            "podAffinityTerm": {
                "topologyKey": "kubernetes.io/hostname", "labelSelector": selector,
            },
        }]}},
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": RUN_AS,
            "runAsGroup": RUN_AS,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(settings)],
    })
}

fn container(settings: &Settings) -> Value {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    // A starved node answers late, and a restart would only make it worse.
    let probe = |path: &str, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "probes"},
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        })
    };
    json!({
        "name": "operator",
        "image": settings.operator_image,
        "imagePullPolicy": settings.pull_policy,
        "args": ["operator"],
        "env": [
            field("POD_NAME", "metadata.name"),
            field("POD_NAMESPACE", "metadata.namespace"),
            {"name": "REDISHA_DEFAULT_IMAGE", "value": settings.server_image},
            {"name": "REDISHA_CLUSTER_DOMAIN", "value": settings.cluster_domain},
        ],
        "ports": [
            {"name": "probes", "containerPort": 8080},
            {"name": "webhook", "containerPort": 9443},
        ],
        "livenessProbe": probe("/livez", 6),
        "readinessProbe": probe("/readyz", 3),
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": false,
            "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]},
        },
    })
}
