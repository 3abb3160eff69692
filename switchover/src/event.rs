//! What the decision is told.

use crate::{Arbiter, Durability, Label, Reason, Refusal, Reply, Status, Tag};

/// One thing that happened. All but [`Event::Nudge`] answer an effect and carry its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something outside changed: look again as soon as nothing is under way.
    Nudge,
    /// Answers [`Effect::Observe`](crate::Effect::Observe). An executor that cannot read the
    /// arbiter by quorum sends nothing; the machine's timer asks again.
    Observed { tag: Tag, observation: Box<Observation> },
    /// Answers [`Effect::Publish`](crate::Effect::Publish).
    Published { tag: Tag, result: Publication },
    /// Answers [`Effect::Command`](crate::Effect::Command); `name` is the member's.
    Replied { tag: Tag, name: String, result: Result<Reply, Refusal> },
    /// Answers [`Effect::Label`](crate::Effect::Label).
    Labelled { tag: Tag, name: String, done: bool },
    /// Answers [`Effect::SetTimer`](crate::Effect::SetTimer).
    Expired { tag: Tag },
}

/// What became of a compare-and-swap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    Done,
    /// Somebody else has changed the arbiter: nothing was written.
    Conflict,
    /// No clear answer: it may have been written.
    Unknown,
}

/// Everything that can be seen at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// Read by quorum, never from a cache; `Arbiter::new(uid)` when the status is empty.
    pub arbiter: Arbiter,
    pub settings: Settings,
    /// One entry for **every** ordinal that should exist or still does, in the order of ordinals,
    /// reachable or not: "every member is empty" is concluded from this list.
    pub members: Vec<Seen>,
    /// The most urgent wish for another primary, if the facts hold one now. It must vanish by
    /// itself once fulfilled or once [`Arbiter::last_switchover`] answers its id.
    pub request: Option<Request>,
}

/// One ordinal, as seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub name: String,
    /// Where members reach it (for FOLLOW and HANDOVER).
    pub host: String,
    pub port: u16,
    /// Where its process answers probes (`/livez`), however busy it is; 0 when nowhere.
    pub probe_port: u16,
    /// The name that clients may verify by TLS; empty when there is none.
    pub hostname: String,
    /// Whether a planned switch may choose it by itself: not leaving, not cordoned, up to date.
    pub eligible: bool,
    /// The role label that it has now.
    pub label: Label,
    /// Its answer to STATUS; `None` when it could not be asked in time.
    pub status: Option<Status>,
    /// What else is known of a process that did not answer.
    pub pulse: Pulse,
}

/// What is known of a process that does not answer STATUS.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pulse {
    /// Nothing.
    #[default]
    Unknown,
    /// Its address refuses connections: nobody listens there.
    Gone,
    /// It answers its probe, so it lives and is only busy.
    Beats,
}

/// A wish for another primary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Stays the same while the wish is the same; answered in `lastSwitchover.id`.
    pub id: String,
    pub reason: Reason,
    /// The pod that shall become primary; `None` leaves the choice to the decision.
    pub to: Option<String>,
}

/// Times and bounds, in milliseconds or bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The longest pause of writes that a switch may cause.
    pub pause_timeout_ms: u64,
    /// How long a primary must be silent before an election begins.
    pub failover_after_ms: u64,
    /// How long an election waits for members that have not answered SEAL.
    pub seal_timeout_ms: u64,
    /// Above the servers' `takeover-timeout`, after which a handing-over primary abdicates.
    pub handover_timeout_ms: u64,
    /// Any other answer is overdue after this.
    pub answer_timeout_ms: u64,
    /// Idle time between two observations.
    pub poll_ms: u64,
    /// A target that lags more than this is not worth a pause.
    pub max_lag_bytes: u64,
    /// The longest that a lease given to a primary may last, in milliseconds.
    pub lease_ms: u64,
    /// How long a primary must be silent when enough of its replicas say that they lost it too.
    pub agreed_after_ms: u64,
    /// A replica that heard its primary within this hears it, unless the primary's stream stands
    /// still for a reason: then the replica's own word counts, which comes later.
    pub heard_within_ms: u64,
    /// What answers promise.
    pub durability: Durability,
    /// Whether a primary that lost too many replicas may go on with fewer.
    pub degrade: bool,
    /// Attempts of one intent before it is given up.
    pub max_attempts: u32,
}

impl Settings {
    /// What a config says beside its members.
    pub fn rule(&self) -> (Durability, bool) {
        (self.durability, self.degrade)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            pause_timeout_ms: 2_000,
            failover_after_ms: 3_000,
            seal_timeout_ms: 2_000,
            handover_timeout_ms: 12_000,
            answer_timeout_ms: 5_000,
            poll_ms: 1_000,
            max_lag_bytes: 16 << 20,
            lease_ms: 700,
            agreed_after_ms: 150,
            heard_within_ms: 1_000,
            durability: Durability::Async,
            degrade: true,
            max_attempts: 3,
        }
    }
}
