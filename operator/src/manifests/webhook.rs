//! The eviction webhook's registration.

use serde_json::{Value, json};

use super::{OPERATOR, Settings, labels};
use crate::webhook::{NAME, PATH, TIMEOUT_SECONDS};

/// The Service in front of the webhook and its registration.
pub fn objects(settings: &Settings) -> Vec<Value> {
    vec![service(settings), registration(settings)]
}

fn service(settings: &Settings) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": NAME, "namespace": settings.namespace, "labels": labels()},
        "spec": {
            "selector": {"app.kubernetes.io/name": OPERATOR},
            "ports": [{"name": "https", "port": 443, "targetPort": "webhook"}],
        },
    })
}

fn registration(settings: &Settings) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME, "labels": labels()},
        "webhooks": [{
            "name": "evictions.redisha.dev",
            "admissionReviewVersions": ["v1"],
            // The operator fills in `caBundle` with the authority that it made.
            "clientConfig": {"service": {
                "name": NAME, "namespace": settings.namespace, "path": PATH, "port": 443,
            }},
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/eviction"],
                "operations": ["CREATE"], "scope": "Namespaced",
            }],
            // Without the webhook evictions go through, and the server hands over at SIGTERM.
            "failurePolicy": "Ignore",
            "matchPolicy": "Equivalent",
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": TIMEOUT_SECONDS,
        }],
    })
}
