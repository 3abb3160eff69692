//! The three Services: the primary, the replicas, every pod by name.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Plan, owned};
use crate::api::{REDIS_PORT, ROLE_LABEL, ROLE_PRIMARY, ROLE_REPLICA};

/// `NAME`: the address that always leads to the primary.
pub fn primary(plan: &Plan) -> Service {
    by_role(plan, plan.names.name.clone(), ROLE_PRIMARY, "redis")
}

/// `NAME-ro`: the replicas, at the port on which a connection may read without asking.
pub fn readonly(plan: &Plan) -> Service {
    by_role(plan, plan.names.readonly_service(), ROLE_REPLICA, "readonly")
}

/// `NAME-pods`: gives each pod a name, and the only one that leads to pods that are not ready,
/// because they need each other before they are.
pub fn pods(plan: &Plan) -> Service {
    Service {
        metadata: owned(plan, plan.names.pods_service()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(plan.names.selector()),
            ports: Some(vec![port("redis")]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn by_role(plan: &Plan, name: String, role: &str, target: &str) -> Service {
    let mut selector: BTreeMap<_, _> = plan.names.selector();
    selector.insert(ROLE_LABEL.to_owned(), role.to_owned());
    Service {
        metadata: owned(plan, name),
        spec: Some(ServiceSpec {
            selector: Some(selector),
            ports: Some(vec![port(target)]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn port(target: &str) -> ServicePort {
    ServicePort {
        name: Some("redis".to_owned()),
        port: i32::from(REDIS_PORT),
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(target.to_owned())),
        ..ServicePort::default()
    }
}
