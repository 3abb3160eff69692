//! What lives in the status of a `RedisHA`: the one record that decides who may acknowledge.
//!
//! Changed only by a compare-and-swap that tests [`Arbiter::version`], after a read by quorum.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Epoch;

/// A data member at one life: the pod's (or process's) name and the random id of its data.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// The pod's name; stays the same over restarts.
    pub name: String,
    /// The member id; new at every boot without trusted data and at every drop of the data.
    pub member: String,
}

/// The arbiter. A status that holds nothing yet is `Arbiter::new(uid)`, with version 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Arbiter {
    /// The cluster's UID, which every message between members carries.
    pub uid: String,
    /// Own counter of the compare-and-swap: each publication tests the old and adds one.
    pub version: u64,
    /// Set once, before the first bootstrap; from then on an empty member is never the first.
    pub initialised: bool,
    /// The greatest term ever claimed.
    pub term: u64,
    /// The primary as last published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary: Option<Member>,
    /// The epoch of that primary.
    pub epoch: Epoch,
    pub config: Config,
    /// An open election; absent when none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub election: Option<Election>,
    /// An open planned switch; absent when none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub switchover: Option<Intent>,
    /// Completed changes of the primary, planned or not.
    pub switchovers: u64,
    /// The last finished attempt, whatever its outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_switchover: Option<LastSwitchover>,
    /// The id of the last request by a person that was answered. It outlives other switches, which
    /// replace [`Arbiter::last_switchover`]: the request is still there and is not a new one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// The term of an election that could not hear enough members, when there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_loss_possible: Option<u64>,
}

impl Arbiter {
    pub fn new(uid: impl Into<String>) -> Self {
        Self { uid: uid.into(), ..Self::default() }
    }

    /// Records a finished attempt.
    pub fn finish(&mut self, last: LastSwitchover) {
        if last.reason == Reason::Request {
            self.answered = Some(last.id.clone());
        }
        self.last_switchover = Some(last);
    }

    /// Whether a person's request with this id has had its answer.
    pub fn has_answered(&self, id: &str) -> bool {
        let last = self.last_switchover.as_ref().map(|last| last.id.as_str());
        last == Some(id) || self.answered.as_deref() == Some(id)
    }
}

/// One line, for logs and for the tests' expectations.
impl fmt::Display for Arbiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{} term {}", self.version, self.term)?;
        match &self.primary {
            Some(primary) => write!(f, " primary {}@{}", primary.member, self.epoch)?,
            None => write!(f, " primary none")?,
        }
        let ids: Vec<&str> = self.config.members.iter().map(|m| m.member.as_str()).collect();
        write!(f, " config v{} {}/{}", self.config.v, ids.join(","), self.config.w)?;
        if self.config.durability != Durability::Async {
            let lost = if self.config.degrade { "degrade" } else { "block" };
            write!(f, " {} {lost}", self.config.durability.as_str())?;
        }
        if let Some(Election { term, winner, empty }) = &self.election {
            let winner = winner.as_ref().map_or("undecided", |winner| &winner.member);
            write!(f, " election {term} {winner}{}", if *empty { " empty" } else { "" })?;
        }
        if let Some(intent) = &self.switchover {
            write!(f, " intent {} to {}", intent.action_id(), intent.to.member)?;
        }
        if let Some(last) = &self.last_switchover {
            let outcome = if last.outcome == Outcome::Completed { "completed" } else { "aborted" };
            write!(f, " last {} {outcome}", last.id)?;
        }
        match self.data_loss_possible {
            Some(term) => write!(f, " data-loss-possible {term}"),
            None => Ok(()),
        }
    }
}

// Under `async` it is leases that `w` counts, not copies.
/// The members whose word counts, and how many of them hold a write (`w`, the primary included).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase", default)]
pub struct Config {
    pub v: u64,
    pub term: u64,
    pub members: Vec<Member>,
    pub w: usize,
    /// What an answer promises.
    #[serde(skip_serializing_if = "Durability::is_async")]
    pub durability: Durability,
    /// Whether fewer members may do when too few are left.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub degrade: bool,
}

/// What an answer of the primary promises.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// At once, under leases: a planned switch loses nothing, a crash what the successor lacks.
    #[default]
    Async,
    /// When `w` members hold it.
    Replicated,
    /// When `w` members hold it in files from which they would start again.
    Disk,
}

impl Durability {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference")]
    fn is_async(&self) -> bool {
        *self == Self::Async
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Async => "async",
            Self::Replicated => "replicated",
            Self::Disk => "disk",
        }
    }
}

impl Config {
    /// How many of the members must be sealed before an election may decide: `N − W + 1`.
    pub fn seals_needed(&self) -> usize {
        (self.members.len() + 1).saturating_sub(self.w).max(1)
    }

    pub fn holds(&self, member: &Member) -> bool {
        self.members.contains(member)
    }

    /// Whether the word of this id counts. One that was restarted has what its disk held, which is all
    /// that it ever promised only where answers promise the disk.
    pub fn counts(&self, member: &Member, restarted: bool) -> bool {
        self.holds(member) && (!restarted || self.durability == Durability::Disk)
    }

    /// The same rule for the same members, whatever the number of the publication.
    pub fn same_rule(&self, other: &Self) -> bool {
        (self.w, self.durability, self.degrade) == (other.w, other.durability, other.degrade)
            && self.members == other.members
    }

    /// This config under another number.
    #[must_use]
    pub fn numbered(&self, v: u64) -> Self {
        Self { v, ..self.clone() }
    }

    /// Reads [`Config::text`]; `name` tells the name of the member with an id.
    pub fn from_text(text: &str, name: impl Fn(&str) -> String) -> Option<Self> {
        let mut parts = text.split('/');
        let mut next = || parts.next();
        let (v, term) = (next()?.parse().ok()?, next()?.parse().ok()?);
        let w = next()?.parse().ok()?;
        let durability = next()?;
        let all = [Durability::Async, Durability::Replicated, Durability::Disk];
        let durability = all.into_iter().find(|one| one.as_str() == durability)?;
        let degrade = next()? == "degrade";
        let ids = next()?.split(',').filter(|id| !id.is_empty());
        let members = ids.map(|id| Member { name: name(id), member: id.to_owned() }).collect();
        Some(Self { v, term, members, w, durability, degrade })
    }

    /// As members read it: `v/term/w/durability/whenReplicaLost/id,id,…`.
    pub fn text(&self) -> String {
        let Self { v, term, w, .. } = self;
        let durability = self.durability.as_str();
        let lost = if self.degrade { "degrade" } else { "block" };
        let ids: Vec<&str> = self.members.iter().map(|member| member.member.as_str()).collect();
        format!("{v}/{term}/{w}/{durability}/{lost}/{}", ids.join(","))
    }
}

/// A claimed term, and its winner once decided.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Election {
    pub term: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub winner: Option<Member>,
    /// The winner starts empty: the first bootstrap, or a cold start after every copy was lost.
    #[serde(default)]
    pub empty: bool,
}

/// A planned switch that somebody may be performing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// The request's id.
    pub id: String,
    pub from: Member,
    pub to: Member,
    pub reason: Reason,
    /// Counts publications of this intent: every attempt pauses under an id of its own.
    pub attempt: u32,
    /// The longest pause of writes that this attempt may cause, in milliseconds.
    pub deadline_ms: u64,
}

impl Intent {
    /// The id under which the members act for this attempt.
    pub fn action_id(&self) -> String {
        format!("{}/{}", self.id, self.attempt)
    }
}

/// Why the primary moves. Printed in kebab case; also the label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    RollingUpdate,
    Drain,
    Eviction,
    Deletion,
    ScaleDown,
    Request,
    /// The primary handed over by itself as it was told to stop.
    Shutdown,
    PrimaryLost,
}

impl Reason {
    pub const ALL: [Self; 8] = [
        Self::RollingUpdate,
        Self::Drain,
        Self::Eviction,
        Self::Deletion,
        Self::ScaleDown,
        Self::Request,
        Self::Shutdown,
        Self::PrimaryLost,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RollingUpdate => "rolling-update",
            Self::Drain => "drain",
            Self::Eviction => "eviction",
            Self::Deletion => "deletion",
            Self::ScaleDown => "scale-down",
            Self::Request => "request",
            Self::Shutdown => "shutdown",
            Self::PrimaryLost => "primary-lost",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    Completed,
    Aborted,
}

/// The last finished attempt. A request is answered when its id stands here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LastSwitchover {
    pub id: String,
    /// The old primary's name; empty when there was none.
    pub from: String,
    /// The new primary's name, or the intended one when aborted.
    pub to: String,
    pub reason: Reason,
    pub outcome: Outcome,
    /// From the gate shut to the first held command answered, on the old primary's clock, in
    /// milliseconds rounded up; absent when the old primary could not be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pause_ms: Option<u64>,
    /// Why it was aborted, as one clause for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(id: &str, reason: Reason) -> LastSwitchover {
        LastSwitchover {
            id: id.into(),
            from: "a".into(),
            to: "b".into(),
            reason,
            outcome: Outcome::Completed,
            pause_ms: None,
            why: None,
        }
    }

    /// A request was answered; then a failover took its place in `last_switchover`, and the
    /// request, which still stood in the annotation, was performed once more.
    #[test]
    fn a_request_stays_answered_when_the_primary_moves_for_another_reason() {
        let mut arbiter = Arbiter::new("u");
        arbiter.finish(last("r1", Reason::Request));
        arbiter.finish(last("", Reason::PrimaryLost));
        assert!(arbiter.has_answered("r1"));
        assert!(!arbiter.has_answered("r2"));
        assert_eq!(arbiter.last_switchover.unwrap().reason, Reason::PrimaryLost);
    }
}
