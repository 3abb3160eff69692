//! Builds every resource of a `RedisHA` from what was validated.
//!
//! Takes a [`Plan`], returns a [`Bundle`]; has no client and draws no random number, so each
//! builder is tested by one comparison. One file per kind of resource.

mod config_map;
mod disruption;
mod secrets;
mod services;
mod stateful_set;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::validate::Plan;
use crate::api::Names;

pub use config_map::{FILES, KEEP_ID, KEEPS_IDS};
pub use stateful_set::asked_hash;

/// Everything that belongs to one `RedisHA`. `apply` takes it apart without `..`, so a resource
/// that is built and never applied does not compile.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// `None` when the users' Secret is a person's own, which is left alone.
    pub auth: Option<Secret>,
    pub internal: Secret,
    pub config: ConfigMap,
    pub primary_service: Service,
    pub readonly_service: Service,
    pub pods_service: Service,
    pub stateful_set: StatefulSet,
    pub pdb: PodDisruptionBudget,
    /// The floor on the primary; `None` means that there shall be none.
    pub primary_pdb: Option<PodDisruptionBudget>,
}

/// Builds the bundle.
pub fn build(plan: &Plan) -> Bundle {
    Bundle {
        auth: (!plan.foreign_auth).then(|| secrets::auth(plan)),
        internal: secrets::internal(plan),
        config: config_map::config(plan),
        primary_service: services::primary(plan),
        readonly_service: services::readonly(plan),
        pods_service: services::pods(plan),
        stateful_set: stateful_set::stateful_set(plan),
        pdb: disruption::all(plan),
        primary_pdb: disruption::floor(plan),
    }
}

/// Metadata of a resource that Kubernetes deletes together with its `RedisHA`.
fn owned(plan: &Plan, name: String) -> ObjectMeta {
    let Names { namespace, .. } = &plan.names;
    ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.clone()),
        labels: Some(plan.names.labels()),
        owner_references: Some(vec![OwnerReference {
            api_version: "redisha.dev/v1alpha1".to_owned(),
            kind: "RedisHA".to_owned(),
            name: plan.names.name.clone(),
            uid: plan.uid.clone(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }]),
        ..ObjectMeta::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::validate::{Decided, fixture, validate};

    /// One spec as a user writes it → one resource, compared at the paths that matter.
    fn check(spec: &Value, resource: impl Fn(&Bundle) -> Value, expect: &[(&str, Value)]) {
        let made = resource(&build(&fixture::plan(spec)));
        for (path, value) in expect {
            assert_eq!(made.pointer(path), Some(value), "{path} in {made:#}");
        }
    }

    fn to_json(value: &impl serde::Serialize) -> Value {
        serde_json::to_value(value).unwrap()
    }

    #[test]
    fn the_set_leaves_the_order_of_restarts_to_the_operator() {
        check(
            &json!({"replicas": 3}),
            |b| to_json(&b.stateful_set),
            &[
                ("/spec/updateStrategy/type", json!("OnDelete")),
                ("/spec/podManagementPolicy", json!("Parallel")),
                ("/spec/serviceName", json!("cache-pods")),
                ("/spec/replicas", json!(3)),
                ("/spec/template/spec/terminationGracePeriodSeconds", json!(60)),
                ("/metadata/ownerReferences/0/uid", json!("uid-1")),
            ],
        );
    }

    #[test]
    fn pods_hold_no_token_no_rights_and_need_no_shell() {
        check(
            &json!({}),
            |b| to_json(&b.stateful_set.spec.as_ref().unwrap().template.spec),
            &[
                ("/automountServiceAccountToken", json!(false)),
                ("/enableServiceLinks", json!(false)),
                ("/securityContext/runAsNonRoot", json!(true)),
                ("/securityContext/seccompProfile/type", json!("RuntimeDefault")),
                ("/containers/0/securityContext/allowPrivilegeEscalation", json!(false)),
                ("/containers/0/securityContext/readOnlyRootFilesystem", json!(true)),
                ("/containers/0/securityContext/capabilities/drop", json!(["ALL"])),
                (
                    "/containers/0/args",
                    json!([
                        "/etc/redisha/conf/redisha.conf",
                        "--member-name",
                        "$(POD_NAME)",
                        "--replica-announce-ip",
                        "$(POD_IP)",
                        "--announce-hostname",
                        "$(POD_NAME).cache-pods.shop.svc.cluster.local",
                    ]),
                ),
            ],
        );
    }

    #[test]
    fn each_service_leads_to_its_role_and_only_the_headless_one_to_unready_pods() {
        check(
            &json!({}),
            |b| to_json(&[&b.primary_service, &b.readonly_service, &b.pods_service]),
            &[
                ("/0/metadata/name", json!("cache")),
                ("/0/spec/selector/redisha.dev~1role", json!("primary")),
                ("/0/spec/ports/0/targetPort", json!("redis")),
                ("/1/metadata/name", json!("cache-ro")),
                ("/1/spec/selector/redisha.dev~1role", json!("replica")),
                ("/1/spec/ports/0/port", json!(6379)),
                ("/1/spec/ports/0/targetPort", json!("readonly")),
                ("/2/metadata/name", json!("cache-pods")),
                ("/2/spec/clusterIP", json!("None")),
                ("/2/spec/publishNotReadyAddresses", json!(true)),
            ],
        );
        let bundle = build(&fixture::plan(&json!({})));
        for service in [&bundle.primary_service, &bundle.readonly_service] {
            let spec = service.spec.as_ref().unwrap();
            assert_eq!(spec.publish_not_ready_addresses, None);
        }
    }

    #[test]
    fn storage_becomes_a_claim_and_its_absence_an_empty_dir() {
        let with = json!({"storage": {"size": "10Gi", "storageClassName": "fast"}});
        let set = |b: &Bundle| to_json(&b.stateful_set.spec);
        check(
            &with,
            set,
            &[
                ("/volumeClaimTemplates/0/metadata/name", json!("data")),
                ("/volumeClaimTemplates/0/spec/storageClassName", json!("fast")),
                ("/volumeClaimTemplates/0/spec/resources/requests/storage", json!("10Gi")),
            ],
        );
        check(&json!({}), set, &[("/template/spec/volumes/2/emptyDir", json!({}))]);
    }

    /// A server pod without requests has the least weight that there is: beside busy neighbours it
    /// was held for up to a second in the middle of a switch.
    #[test]
    fn a_pod_asks_for_what_it_needs_unless_the_user_says_more() {
        let resources = |b: &Bundle| {
            to_json(&b.stateful_set.spec.as_ref().unwrap().template.spec)
                .pointer("/containers/0/resources")
                .cloned()
                .unwrap()
        };
        let default = json!({"cpu": "250m", "memory": "128Mi"});
        check(&json!({}), resources, &[("/requests", default)]);
        let asked = json!({"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}});
        check(&json!({"resources": asked}), resources, &[("", asked)]);
    }

    /// Two budgets over one pod make the eviction API answer 500, so the floor must take the
    /// primary out of the other budget.
    #[test]
    fn the_floor_and_the_budget_never_select_the_same_pod() {
        let bundle = build(&fixture::plan(&json!({})));
        assert_eq!(bundle.primary_pdb, None);
        let spec = bundle.pdb.spec.unwrap();
        assert_eq!(to_json(&spec.max_unavailable), json!(1));

        let bundle = build(&fixture::plan(&json!({"disruption": {"primaryFloor": true}})));
        let floor = to_json(&bundle.primary_pdb.unwrap().spec);
        assert_eq!(floor["minAvailable"], json!(1));
        assert_eq!(floor["selector"]["matchLabels"]["redisha.dev/role"], json!("primary"));
        let rest = to_json(&bundle.pdb.spec);
        assert_eq!(rest["minAvailable"], json!(1));
        assert_eq!(
            rest["selector"]["matchExpressions"],
            json!([{"key": "redisha.dev/role", "operator": "NotIn", "values": ["primary"]}])
        );
    }

    /// With its only replica out of sync, a primary's eviction was admitted by the webhook after
    /// the bound, and then refused by the budget for ever.
    #[test]
    fn what_was_held_long_enough_is_held_by_no_budget() {
        for spec in [json!({}), json!({"disruption": {"primaryFloor": true}})] {
            let mut plan = fixture::plan(&spec);
            plan.let_go = true;
            let bundle = build(&plan);
            assert_eq!(bundle.primary_pdb, None);
            let spec = to_json(&bundle.pdb.spec);
            assert_eq!(spec["maxUnavailable"], json!("100%"));
            assert_eq!(spec["selector"].get("matchExpressions"), None);
        }
    }

    #[test]
    fn the_configuration_names_the_cluster_and_keeps_what_the_user_wrote() {
        let spec = json!({"config": {"maxmemory": "1gb", "save": "", "client-output-buffer-limit": "replica 1 2 3"}});
        let bundle = build(&fixture::plan(&spec));
        let text = &bundle.config.data.unwrap()["redisha.conf"];
        for line in [
            "cluster-uid uid-1",
            "port 6379",
            "readonly-port 6380",
            "health-port 9121",
            "shutdown-timeout 55",
            "internal-secret-file /etc/redisha/auth/secret",
            "maxmemory 1gb",
            "save \"\"",
            "client-output-buffer-limit replica 1 2 3",
            "include /etc/redisha/auth/auth.conf",
        ] {
            assert!(text.lines().any(|l| l == line), "no line `{line}` in:\n{text}");
        }
    }

    #[test]
    fn who_promises_the_disk_keeps_ids_and_files() {
        let lines = |spec: Value, on_disk: bool| {
            let redisha = fixture::redisha(&spec);
            let decided = Decided { on_disk, ..fixture::decided(&redisha) };
            let bundle = build(&validate(&redisha, decided).unwrap());
            let text = bundle.config.data.unwrap()["redisha.conf"].clone();
            let ours = |line: &&str| line.starts_with("appendonly") || line.starts_with("keep-");
            text.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
        };
        let disk = json!({"durability": "disk", "storage": {"size": "1Gi"}});
        let replicated = json!({"durability": "replicated", "storage": {"size": "1Gi"}});
        assert_eq!(lines(disk, false), ["appendonly yes", "keep-member-id yes"]);
        assert_eq!(lines(replicated.clone(), false), ["appendonly yes"]);
        // What is still published is still kept.
        assert_eq!(lines(replicated, true), ["appendonly yes", "keep-member-id yes"]);
    }

    /// A pod with a volume that was killed came back with a snapshot of up to an hour ago, and needed
    /// a full resync.
    #[test]
    fn who_asks_for_a_volume_has_append_only_files_unless_told_otherwise() {
        let files = |spec: Value| {
            let text = build(&fixture::plan(&spec)).config.data.unwrap()["redisha.conf"].clone();
            let ours = |line: &&str| line.starts_with("appendonly");
            text.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
        };
        let storage = json!({"size": "1Gi"});
        assert_eq!(files(json!({"storage": storage})), ["appendonly yes"]);
        assert_eq!(files(json!({})), [""; 0]);
        for told in ["yes", "no"] {
            let spec = json!({"storage": storage, "config": {"appendonly": told}});
            assert_eq!(files(spec), [format!("appendonly {told}")]);
        }
    }

    #[test]
    fn passwords_are_in_secrets_only() {
        let bundle = build(&fixture::plan(&json!({})));
        let auth = bundle.auth.unwrap().string_data.unwrap();
        assert_eq!(auth["password"], "user's \"word\"");
        let internal = bundle.internal.string_data.as_ref().unwrap();
        assert_eq!(internal["secret"], "internal-word");
        assert_eq!(internal["auth.conf"], "requirepass \"user's \\\"word\\\"\"\n");
        let rest = to_json(&[to_json(&bundle.config), to_json(&bundle.stateful_set)]).to_string();
        assert!(!rest.contains("word\\\"") && !rest.contains("internal-word"), "{rest}");
    }

    /// An owner reference would delete a person's own Secret together with the object.
    #[test]
    fn a_persons_own_secret_is_never_written() {
        let mut plan = fixture::plan(&json!({}));
        plan.foreign_auth = true;
        assert_eq!(build(&plan).auth, None);
    }

    /// Operator issue OT-CONTAINER-KIT 606 and others: an upgrade of the operator recreates pods.
    #[test]
    fn only_what_the_user_asked_for_makes_a_pod_out_of_date() {
        let hash = |spec: Value| asked_hash(&fixture::plan(&spec));
        let base = hash(json!({}));
        assert_eq!(hash(json!({"replicas": 5})), base, "scaling restarts nobody");
        assert_eq!(hash(json!({"switchover": {"pauseTimeout": "1s"}})), base);
        assert_eq!(hash(json!({"disruption": {"primaryFloor": true}})), base);
        assert_ne!(hash(json!({"image": "other:1"})), base);
        assert_eq!(hash(json!({"config": {"maxmemory": "1gb"}})), base, "told, not rolled out");
        let disk = json!({"durability": "disk", "storage": {"size": "1Gi"}});
        assert_eq!(hash(disk), base, "told, not rolled out");
        assert_ne!(hash(json!({"config": {"databases": "32"}})), base);
        assert_ne!(hash(json!({"resources": {"limits": {"memory": "1Gi"}}})), base);
        assert_ne!(hash(json!({"terminationGracePeriodSeconds": 61})), base);
        let mut newer = fixture::plan(&json!({}));
        newer.cluster_domain = "other.local".to_owned();
        assert_eq!(asked_hash(&newer), base, "an option of the operator restarts nobody");
    }
}
