//! What the operator answers.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use switchover::{Arbiter, LastSwitchover};

/// Everything that can be seen of a `RedisHA` without asking its pods.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisHAStatus {
    /// The generation of the spec that the rest of the status is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What is happening now, in one word; the conditions tell it in sentences.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// Pods in sync of all pods, for example `3/3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Pods that exist.
    pub replicas: i32,
    /// Selects the pods, for the scale subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Image of the server. Resolved once when the spec names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The pod that takes writes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<String>,
    /// The primary's epoch, `term.hop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// Pods whose data is level with the primary's, the primary included.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sync_set: Vec<String>,
    /// How often the primary has moved.
    pub switchovers: i64,
    /// The last attempt to move the primary. A request by annotation is answered when its id
    /// stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_switchover: Option<LastSwitchover>,
    /// How far the takeover of another server's data is; see `spec.migrateFrom`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<Migration>,
    /// `Ready`, `Synced`, `Progressing` and `Degraded`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// The operator's own record of who may acknowledge writes. Changed only by compare-and-swap;
    /// not for editing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arbiter: Option<Arbiter>,
}

/// How far the takeover of another server's data is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Migration {
    /// The source, `host:port`.
    pub source: String,
    pub phase: MigrationPhase,
    /// How far the source is ahead, in bytes of its replication stream.
    pub lag_bytes: i64,
    /// How many commands of the source could not be executed here. What they changed is missing, and
    /// nobody cuts over before all is copied anew.
    #[serde(default)]
    pub unapplied: i64,
    /// What stands in the way, as a sentence.
    // Written as null where there is none: what a merge patch leaves out stays.
    #[serde(default)]
    pub message: Option<String>,
}

impl Migration {
    /// What is missing here of the source's data, as a sentence.
    pub fn missing(&self) -> Option<String> {
        let Self { source, unapplied, .. } = self;
        (*unapplied > 0).then(|| {
            format!(
                "data of {source} are missing, since commands of it could not be executed here \
                 ({unapplied} so far); nobody cuts over before all is copied anew: see \
                 status.migration.message"
            )
        })
    }
}

/// How far the takeover of another server's data is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum MigrationPhase {
    /// The source's data are being copied, or the source cannot be reached.
    Copying,
    /// All that the source writes arrives here; writes are the source's.
    Following,
    /// Writes are taken here; the source takes none.
    CutOver,
}

/// What is happening, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The spec cannot be carried out; the conditions say why.
    Invalid,
    /// The first primary is being made.
    Creating,
    /// Everything is as it was asked for.
    Running,
    /// Pods are being replaced, one at a time.
    Updating,
    /// The primary is moving.
    Switching,
    /// The primary was lost and another is being chosen.
    FailingOver,
    /// Service goes on with less than what was asked for.
    Degraded,
    /// The object is being deleted.
    Deleting,
}
