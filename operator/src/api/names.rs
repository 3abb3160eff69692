//! Every name that the operator puts into a cluster, in one place.
//!
//! Users, dashboards and scripts rely on these: a change of one is a change of the API.

use std::collections::BTreeMap;

use super::RedisHA;

/// API group of the kind, and prefix of labels and annotations.
pub const GROUP: &str = "redisha.dev";
/// Label on pods: `primary` or `replica`. Services select by it.
pub const ROLE_LABEL: &str = "redisha.dev/role";
/// Value of [`ROLE_LABEL`] on the pod that the address leads to.
pub const ROLE_PRIMARY: &str = "primary";
/// Value of [`ROLE_LABEL`] on pods that follow.
pub const ROLE_REPLICA: &str = "replica";
/// Annotation on a `RedisHA`: `<id>[/POD]` asks for one switchover, answered in
/// `status.lastSwitchover.id`.
pub const SWITCHOVER_ANNOTATION: &str = "redisha.dev/switchover";
/// Annotation on pods: a hash of what the user asked for. A pod with another one is out of date.
pub const ASKED_ANNOTATION: &str = "redisha.dev/asked";
/// Annotation on a pod whose eviction waits for a switchover: since when (RFC 3339).
pub const EVICTION_ANNOTATION: &str = "redisha.dev/eviction-requested";
/// Field manager of everything that the operator applies.
pub const FIELD_MANAGER: &str = "redisha";

/// Port on which clients connect.
pub const REDIS_PORT: u16 = 6379;
/// Port on which connections start as if they had sent READONLY.
pub const READONLY_PORT: u16 = 6380;
/// Port of `/livez`, `/readyz` and `/metrics` of a server pod.
pub const HEALTH_PORT: u16 = 9121;
/// User and group of the server's and the operator's containers.
pub const RUN_AS: i64 = 65532;

/// Key of the password in `NAME-auth`.
pub const PASSWORD_KEY: &str = "password";
/// Key of the internal user's password in `NAME-internal`.
pub const INTERNAL_KEY: &str = "secret";
/// Key in `NAME-internal` of the piece of configuration that sets the users' password.
pub const AUTH_CONF_KEY: &str = "auth.conf";
/// Key in the `ConfigMap` of the server's configuration.
pub const CONF_KEY: &str = "redisha.conf";

/// The names of one `RedisHA`'s resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// Name of the `RedisHA`, its `StatefulSet`, its `ConfigMap`, its PDB and its primary's Service.
    pub name: String,
    /// Namespace of everything.
    pub namespace: String,
}

impl Names {
    /// The names that belong to this object; an object without a namespace lives in `default`.
    pub fn of(redisha: &RedisHA) -> Self {
        Self {
            name: redisha.metadata.name.clone().unwrap_or_default(),
            namespace: redisha.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned()),
        }
    }

    /// Service of the replicas.
    pub fn readonly_service(&self) -> String {
        format!("{}-ro", self.name)
    }

    /// Headless Service that gives every pod its name, ready or not.
    pub fn pods_service(&self) -> String {
        format!("{}-pods", self.name)
    }

    /// Secret that users read their password from.
    pub fn auth_secret(&self) -> String {
        format!("{}-auth", self.name)
    }

    /// Secret that only servers and operator read.
    pub fn internal_secret(&self) -> String {
        format!("{}-internal", self.name)
    }

    /// PDB that keeps the primary, with `disruption.primaryFloor`.
    pub fn primary_pdb(&self) -> String {
        format!("{}-primary", self.name)
    }

    /// Name of the pod with this ordinal.
    pub fn pod(&self, ordinal: i32) -> String {
        format!("{}-{ordinal}", self.name)
    }

    /// Ordinal of a pod of this `StatefulSet`, `None` for any other name.
    pub fn ordinal(&self, pod: &str) -> Option<i32> {
        let digits = pod.strip_prefix(&self.name)?.strip_prefix('-')?;
        if digits.len() > 1 && digits.starts_with('0') {
            return None;
        }
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
    }

    /// The name under which the rest of the cluster can resolve a pod.
    pub fn pod_fqdn(&self, pod: &str, cluster_domain: &str) -> String {
        format!("{pod}.{}.{}.svc.{cluster_domain}", self.pods_service(), self.namespace)
    }

    /// Labels that select this object's pods and nothing else.
    pub fn selector(&self) -> BTreeMap<String, String> {
        BTreeMap::from([
            ("app.kubernetes.io/name".to_owned(), "redisha".to_owned()),
            ("app.kubernetes.io/instance".to_owned(), self.name.clone()),
        ])
    }

    /// Labels of every resource that belongs to this object.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.insert("app.kubernetes.io/managed-by".to_owned(), "redisha".to_owned());
        labels
    }

    /// [`Names::selector`] as a query.
    pub fn selector_query(&self) -> String {
        let pairs = self.selector();
        pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { name: "cache".into(), namespace: "shop".into() }
    }

    #[test]
    fn ordinals_are_only_read_from_this_sets_pods() {
        assert_eq!(names().ordinal("cache-0"), Some(0));
        assert_eq!(names().ordinal("cache-12"), Some(12));
        for other in ["cache", "cache-", "cache-x", "cache-01", "cache-1-0", "cachet-1", "c-1"] {
            assert_eq!(names().ordinal(other), None, "{other}");
        }
    }

    #[test]
    fn a_pods_name_resolves_through_the_headless_service() {
        let fqdn = names().pod_fqdn("cache-1", "cluster.local");
        assert_eq!(fqdn, "cache-1.cache-pods.shop.svc.cluster.local");
    }
}
