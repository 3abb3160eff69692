//! The operator's rights, no more than its code uses.

use serde_json::{Value, json};

use super::{OPERATOR, Settings, labels};
use crate::webhook;

/// Account, roles and bindings.
pub fn objects(settings: &Settings) -> Vec<Value> {
    let namespace = &settings.namespace;
    let subject = json!([{"kind": "ServiceAccount", "name": OPERATOR, "namespace": namespace}]);
    let meta = json!({"name": OPERATOR, "labels": labels()});
    let namespaced = json!({"name": OPERATOR, "namespace": namespace, "labels": labels()});
    let binding = |kind: &str, role: &str, meta: &Value| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": OPERATOR},
            "subjects": subject,
        })
    };
    let role = |kind: &str, meta: &Value, rules: Vec<Value>| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": kind,
            "metadata": meta,
            "rules": rules,
        })
    };
    vec![
        json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": namespaced}),
        role("ClusterRole", &meta, everywhere()),
        binding("ClusterRoleBinding", "ClusterRole", &meta),
        role("Role", &namespaced, at_home()),
        binding("RoleBinding", "Role", &namespaced),
    ]
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn everywhere() -> Vec<Value> {
    let mut webhook = rule(
        "admissionregistration.k8s.io",
        &["validatingwebhookconfigurations"],
        &["get", "patch"],
    );
    webhook["resourceNames"] = json!([webhook::NAME]);
    vec![
        rule("redisha.dev", &["redishas"], &["get", "list", "watch"]),
        rule("redisha.dev", &["redishas/status"], &["patch"]),
        // What is owned blocks its owner's deletion, which some clusters ask this right for.
        rule("redisha.dev", &["redishas/finalizers"], &["update"]),
        rule("", &["pods"], &["get", "list", "watch", "patch", "delete"]),
        rule("", &["nodes"], &["get", "list", "watch"]),
        rule("", &["secrets"], &["get", "create", "patch"]),
        rule("", &["services"], &["create", "patch"]),
        // Authorities that `spec.migrateFrom.tls` names are read.
        rule("", &["configmaps"], &["get", "create", "patch"]),
        rule("apps", &["statefulsets"], &["get", "create", "patch"]),
        rule("policy", &["poddisruptionbudgets"], &["create", "patch", "delete"]),
        rule("events.k8s.io", &["events"], &["create", "patch"]),
        webhook,
    ]
}

fn at_home() -> Vec<Value> {
    let mut certificate = rule("", &["secrets"], &["update"]);
    certificate["resourceNames"] = json!([webhook::SECRET]);
    let mut lease = rule("coordination.k8s.io", &["leases"], &["get", "update"]);
    lease["resourceNames"] = json!([crate::controller::leader::NAME]);
    vec![certificate, lease, rule("coordination.k8s.io", &["leases"], &["create"])]
}
