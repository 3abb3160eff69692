use std::path::Path;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

fn defaults() -> Settings {
    (&Line::parse_from(["manifests"]).args).into()
}

/// Compares a generated file with the one in the repository, or writes it.
fn check(path: &str, made: &str) {
    let path = Path::new("..").join(path);
    if std::env::var_os("REDISHA_REWRITE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == made,
        "{} has drifted; REDISHA_REWRITE=1 cargo test -p operator manifests writes it anew",
        path.display()
    );
}

#[test]
fn the_definition_in_the_repository_is_the_one_of_the_types() {
    check("crds/redishas.yaml", &yaml::documents(&[crd::crd()]));
}

#[test]
fn the_manifests_in_the_repository_are_those_that_are_printed() {
    check("deploy/redisha.yaml", &yaml::documents(&install(&defaults())));
}

#[test]
fn the_chart_in_the_repository_is_made_from_the_same_objects() {
    for (path, text) in chart::files() {
        check(&format!("charts/redisha/{path}"), &text);
    }
}

/// The API server writes these into objects whose author left the fields out.
#[test]
fn the_definition_has_writes_held_by_more_than_one_pod() {
    let crd = crd::crd();
    let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    let default = |field: &str| crd.pointer(&format!("{fields}/{field}/default")).cloned();
    assert_eq!(default("durability"), Some(json!("replicated")));
    assert_eq!(default("whenReplicaLost"), Some(json!("degrade")));
    assert_eq!(default("replicas"), Some(json!(3)));
}

#[test]
fn the_example_is_a_valid_object_of_ten_lines() {
    let path = "../examples/redisha.yaml";
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.lines().count() <= 10, "{text}");
    let object: crate::api::RedisHA = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(object.spec.replicas, 3);
}

/// Rights are only as good as they are few: a new one must be written down here too.
#[test]
fn the_operator_may_do_this_and_nothing_else() {
    let mut rights = Vec::new();
    for object in install(&defaults()) {
        for rule in object["rules"].as_array().unwrap_or(&Vec::new()) {
            let words = |field: &str| {
                let list = rule[field].as_array().cloned().unwrap_or_default();
                list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
            };
            let kind = object["kind"].as_str().unwrap_or_default();
            let only = words("resourceNames");
            let only = if only.is_empty() { only } else { format!(" only {only}") };
            rights.push(format!("{kind} {}: {}{only}", words("resources"), words("verbs")));
        }
    }
    assert_eq!(
        rights,
        [
            "ClusterRole redishas: get,list,watch",
            "ClusterRole redishas/status: patch",
            "ClusterRole redishas/finalizers: update",
            "ClusterRole pods: get,list,watch,patch,delete",
            "ClusterRole nodes: get,list,watch",
            "ClusterRole secrets: get,create,patch",
            "ClusterRole services: create,patch",
            "ClusterRole configmaps: get,create,patch",
            "ClusterRole statefulsets: get,create,patch",
            "ClusterRole poddisruptionbudgets: create,patch,delete",
            "ClusterRole events: create,patch",
            "ClusterRole validatingwebhookconfigurations: get,patch only redisha-webhook",
            "Role secrets: update only redisha-webhook-cert",
            "Role leases: get,update only redisha-operator",
            "Role leases: create",
        ]
    );
}
