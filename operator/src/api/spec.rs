//! What a person asks for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::RedisHAStatus;

/// Why `disk` is refused without `spec.storage`: the definition's word and the operator's.
pub const DISK_NEEDS_STORAGE: &str = "'disk' needs a volume for each pod, and without spec.storage \
    data live in an emptyDir that goes with its pod; take 'replicated', or create another RedisHA \
    with spec.storage";
/// Why `disk` is refused without append-only files, as above.
pub const DISK_NEEDS_FILES: &str = "'disk' keeps what is answered in append-only files; leave \
    'appendonly' out, or set it to 'yes'";

/// A primary and its replicas behind one address, whose primary moves without an error.
#[derive(CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "redisha.dev",
    version = "v1alpha1",
    kind = "RedisHA",
    plural = "redishas",
    singular = "redisha",
    shortname = "rha",
    category = "all",
    namespaced,
    status = "RedisHAStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Redis-compatible primary and its replicas behind one address, whose primary moves without an error.",
    validation = Rule::new("size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name: must start with a letter, hold only lower-case letters, digits and '-', and have at most 40 characters (Services and pods take their names from it)"),
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready",
        description = "Pods in sync, of all pods"),
    printcolumn(name = "Primary", type_ = "string", json_path = ".status.primary",
        description = "The pod that takes writes"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase",
        description = "What is happening now"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[x_kube(
    validation = Rule::new("has(self.storage) == has(oldSelf.storage)")
        .message("spec.storage: cannot be added or removed later; create another RedisHA and move the data"),
    validation = Rule::new("self.replicas != 2 || self.whenReplicaLost != 'block'")
        .message("spec.whenReplicaLost: 'block' is not for two pods, of which the crash of one would stop the other for good; take three"),
    validation = Rule::new("self.durability != 'disk' || has(self.storage)")
        .message(format!("spec.durability: {DISK_NEEDS_STORAGE}").as_str()),
    validation = Rule::new("self.durability != 'disk' || !has(self.config) || !('appendonly' in self.config) || self.config['appendonly'] == 'yes'")
        .message(format!("spec.config.appendonly: {DISK_NEEDS_FILES}").as_str()),
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RedisHASpec {
    /// Pods in all, the primary included. With one pod there is nobody to switch to, and each
    /// update interrupts service.
    #[serde(default = "default_replicas")]
    #[schemars(range(min = 1, max = 9))]
    pub replicas: i32,

    /// Image of the server. When absent, the operator's default at creation is taken once and
    /// stays in `status.image`, so that an upgrade of the operator rolls nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,

    /// Directives of redis.conf by name, for example `maxmemory: 1gb`. Those that a running server
    /// takes are told to it at once; a change of any other is rolled out, the replicas first. What the operator itself decides (ports, replication, identity, folders,
    /// passwords) is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "config_schema")]
    #[x_kube(
        validation = Rule::new("self.all(k, k.matches('^[a-z][a-z0-9-]*$'))")
            .message("spec.config: a directive's name holds lower-case letters, digits and '-'"),
        validation = Rule::new("self.all(k, !(k in ['port', 'tls-port', 'bind', 'unixsocket', 'dir', 'include', 'daemonize', 'pidfile', 'supervised', 'protected-mode', 'replicaof', 'slaveof', 'requirepass', 'masterauth', 'masteruser', 'primaryauth', 'primaryuser', 'replica-announce-ip', 'replica-announce-port', 'announce-hostname', 'cluster-uid', 'cluster-enabled', 'member-name', 'internal-secret-file', 'keep-member-id', 'health-port', 'readonly-port', 'shutdown-timeout', 'takeover-timeout']))")
            .message("spec.config: ports, bind, dir, replication, passwords and identity are the operator's to set; leave them out"),
        validation = Rule::new("self.all(k, !self[k].contains('\\n') && !self[k].contains('\\r'))")
            .message("spec.config: a value is one line")
    )]
    pub config: BTreeMap<String, String>,

    /// Requests and limits of each server pod. Where neither names `cpu` a pod requests 250m, and 128Mi
    /// where neither names `memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "resources_schema")]
    pub resources: Option<ResourceRequirements>,

    /// A volume of its own for each pod, with room for three times its data: unless `config` says
    /// `appendonly: "no"`, a pod keeps append-only files there, so that however it ended, it comes back
    /// with what it had and asks for the rest only. When absent, data lives in an emptyDir: it
    /// outlives a container, not a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self == oldSelf")
        .message("spec.storage: cannot be changed later (volumes keep the size that they were made with)"))]
    pub storage: Option<Storage>,

    /// When a write is answered, and so what a crash of the primary can lose: with `replicated` when
    /// more than half of the pods hold it in memory (both of two, two of three, three of five), and
    /// no crash of one loses anything; with `disk` when more than half of the pods have it on disk, and
    /// the loss of all power loses nothing either (needs `spec.storage`); with `async` at once, while
    /// more than half of them follow, and a crash can lose the last moments before it. One pod alone
    /// (`replicas: 1`) answers at once, but for `disk`, and its crash loses what its volume does not
    /// have. A planned switch loses nothing in any case. It can be changed while clients are served.
    #[serde(default)]
    pub durability: Durability,

    /// What a primary does when only half of the pods or fewer are left: `degrade` goes on with
    /// those, alone if need be, and a condition says so; `block` answers nothing until others are
    /// back, and is not for two pods: each restart of one would stop the other, and its crash for
    /// good.
    #[serde(default)]
    pub when_replica_lost: WhenReplicaLost,

    /// How the primary moves.
    #[serde(default)]
    pub switchover: Switchover,

    /// What a pod gets to hand over and to let its clients go, in seconds.
    #[serde(default = "default_grace")]
    #[schemars(range(min = 10, max = 3600))]
    pub termination_grace_period_seconds: i64,

    /// What drains and autoscalers may do.
    #[serde(default)]
    pub disruption: Disruption,

    /// A Redis or Valkey outside whose data, and in the end whose writes, this object takes over.
    /// Until the cut-over it follows the source and takes no writes. Taken out before that, it
    /// keeps what it has and takes writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migrate_from: Option<MigrateFrom>,
}

/// Where the data come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MigrateFrom {
    /// Name or address of a primary that the server pods can reach.
    #[schemars(length(min = 1, max = 253))]
    pub host: String,
    /// Its port.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
    /// The user that may replicate from it, and pause it at the cut-over; the default user when
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub username: Option<String>,
    /// Where that user's password is, in the object's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret: Option<SecretKey>,
    /// Speaks to it by TLS; without this it is spoken to in the clear. The pods themselves speak none,
    /// so that a source which follows after the cut-over does so in the clear; with `source: pause`
    /// none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<MigrateTls>,
    /// Set to true to cut over: the source's writes are paused, and as soon as all of them are
    /// here it is left as `source` says and writes are taken here.
    #[serde(default)]
    pub cut_over: bool,
    /// What becomes of the source at the cut-over.
    #[serde(default)]
    pub source: SourceAfter,
}

/// A key of a Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretKey {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[serde(default = "default_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// How the source is spoken to by TLS. All that is named is in the object's namespace; what changes
/// there is taken up in some seconds, by a new connection that goes on where the last one was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[x_kube(validation = Rule::new("has(self.caSecret) != has(self.caConfigMap)")
    .message("spec.migrateFrom.tls: name the CA that signed the source's certificate, either in caSecret or in caConfigMap; no CA is trusted by default"))]
pub struct MigrateTls {
    /// The CA that signed the source's certificate (or several, one after the other), in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_secret: Option<CaKey>,
    /// As `caSecret`, in a `ConfigMap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_config_map: Option<CaKey>,
    /// The name that the source's certificate must be for, and that it is asked for (SNI); `host`
    /// when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub server_name: Option<String>,
    /// What is asked of the source's certificate: with `full` that the CA signed it, and that it is
    /// for `serverName`; with `ca` the former alone, for certificates that are for no name.
    #[serde(default)]
    pub verify: Verify,
    /// The certificate to show to a source that asks for one: a Secret as of type
    /// `kubernetes.io/tls`, with `tls.crt` and `tls.key`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_secret: Option<SecretName>,
}

/// Where a CA is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CaKey {
    /// The Secret or `ConfigMap`.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// A Secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretName {
    /// The Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// What is asked of a server's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Verify {
    /// That the CA signed it, and that it is for `serverName`.
    #[default]
    Full,
    /// That the CA signed it: enough where that CA signs for this source alone. For certificates
    /// that are for no name (`subjectAltName`).
    Ca,
}

/// What becomes of the source at the cut-over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceAfter {
    /// It sends its clients here if it can redirect; else it follows as a replica, so that reads
    /// go on there and a Valkey sends on the clients that ask for it. It follows, and so logs in, in
    /// the clear: the pods speak no TLS. One with `tls-replication yes` takes no writes then, and does
    /// not come level.
    #[default]
    Redirect,
    /// Its writes stay paused: whoever still writes there waits.
    Pause,
}

/// When a write is answered. A planned switch loses nothing in any case.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// When more than half of the members hold it in memory: the crash of one loses nothing.
    #[default]
    Replicated,
    /// At once, while most members follow: a crash can lose the last moments before it.
    Async,
    /// When more than half of the members have it on disk: the crash of all loses nothing.
    Disk,
}

impl From<Durability> for switchover::Durability {
    fn from(asked: Durability) -> Self {
        match asked {
            Durability::Replicated => Self::Replicated,
            Durability::Async => Self::Async,
            Durability::Disk => Self::Disk,
        }
    }
}

/// What a primary does that has lost too many replicas.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WhenReplicaLost {
    /// Fewer members hold what is answered, until others are back.
    #[default]
    Degrade,
    /// Nothing is answered until enough are back.
    Block,
}

/// A volume for each pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Storage {
    /// Size of each pod's volume, for example `10Gi`.
    #[schemars(schema_with = "quantity_schema")]
    pub size: k8s_openapi::apimachinery::pkg::api::resource::Quantity,
    /// Storage class; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class_name: Option<String>,
}

/// How the primary moves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Switchover {
    /// The longest time for which a switch may hold writes, for example `2s`. When the target is
    /// not level by then, writes go on at the old primary and the attempt is over.
    #[serde(default = "default_pause")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('1m')")
        .message("spec.switchover.pauseTimeout: must be from 100ms to 1m"))]
    pub pause_timeout: String,
    /// For how long the eviction of a primary is held when no replica is in sync, for example
    /// `5m`. After that the eviction goes through. `0s` holds nothing.
    #[serde(default = "default_hold")]
    #[schemars(length(max = 16), regex(pattern = r"^([0-9]+(ms|s|m|h))+$"))]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')")
        .message("spec.switchover.drainHold: must be at most 24h"))]
    pub drain_hold: String,
}

impl Default for Switchover {
    fn default() -> Self {
        Self { pause_timeout: default_pause(), drain_hold: default_hold() }
    }
}

/// What drains and autoscalers may do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Disruption {
    /// Adds a `PodDisruptionBudget` on the primary alone, for autoscalers that look at budgets
    /// before they choose a node. Evictions of the primary still start a switch.
    #[serde(default)]
    pub primary_floor: bool,
}

fn default_port() -> i32 {
    6379
}

fn default_key() -> String {
    "password".to_owned()
}

fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

fn default_replicas() -> i32 {
    3
}

fn default_grace() -> i64 {
    60
}

fn default_pause() -> String {
    "2s".to_owned()
}

fn default_hold() -> String {
    "5m".to_owned()
}

/// Kubernetes's own pattern of quantities, so that the API server names the field that is wrong.
const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";

fn quantity_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "pattern": QUANTITY,
        "x-kubernetes-int-or-string": true,
    })
}

fn config_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "maxLength": 1024 },
    })
}

fn resources_schema(generator: &mut SchemaGenerator) -> Schema {
    let quantity = quantity_schema(generator);
    json_schema!({
        "type": "object",
        "properties": {
            "requests": {
                "description": "What the scheduler keeps free for the pod.",
                "type": "object",
                "additionalProperties": quantity.clone(),
            },
            "limits": {
                "description": "What the pod may use at most.",
                "type": "object",
                "additionalProperties": quantity,
            },
        },
    })
}
