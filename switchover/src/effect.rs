//! What the decision wants done. The executor is the only one that acts.

use std::fmt;

use crate::{Arbiter, Command, Epoch, Intent, Member, Reason, Request, Tag};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Read the arbiter by quorum and ask every member for its STATUS → `Event::Observed`.
    Observe { tag: Tag },
    /// Write this arbiter iff the stored version is `arbiter.version - 1` (version 0 and "no
    /// arbiter there" are the same), and never twice → `Event::Published`.
    Publish { tag: Tag, arbiter: Box<Arbiter> },
    /// Send one command to one life of a member → `Event::Replied`. Commands to different
    /// members go out at the same time. The answer to HANDOVER may take
    /// [`Settings::handover_timeout_ms`](crate::Settings::handover_timeout_ms).
    Command { tag: Tag, to: Member, command: Command },
    /// Set the role label of a pod → `Event::Labelled`.
    Label { tag: Tag, name: String, label: Label },
    /// → `Event::Expired` after this many milliseconds. Never needs to be cancelled.
    SetTimer { tag: Tag, after_ms: u64 },
    /// Tell people: an Event, a condition, a metric, a log line. No answer.
    Notify(Notice),
}

/// The label `redisha.dev/role`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Label {
    #[default]
    None,
    Primary,
    Replica,
}

impl Label {
    /// The label's value; `None` when there is no label.
    pub const fn as_str(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Primary => Some("primary"),
            Self::Replica => Some("replica"),
        }
    }
}

/// News for people and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    Bootstrapped {
        primary: String,
    },
    SwitchoverStarted {
        intent: Intent,
    },
    SwitchoverCompleted {
        id: String,
        from: String,
        to: String,
        reason: Reason,
        epoch: Epoch,
        pause_ms: Option<u64>,
    },
    SwitchoverAborted {
        id: String,
        from: String,
        to: String,
        reason: Reason,
        why: Why,
    },
    FailoverStarted {
        lost: String,
        term: u64,
    },
    FailoverCompleted {
        from: String,
        to: String,
        epoch: Epoch,
    },
    /// A request cannot start now; said once for each change of the reason.
    Held {
        request: Request,
        why: Why,
    },
    /// Nothing can be done about the primary now; said once for each change of the reason.
    Waiting {
        why: Why,
    },
}

/// Why something is not done. Displays as one clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The intent could not be carried out by the old primary.
    Refused {
        name: String,
        step: &'static str,
        text: String,
    },
    Declined,
    Abdicated,
    /// The target was not level in time.
    NotLevel,
    TooManyAttempts,
    /// The primary was lost while the switch was open.
    PrimaryLost,
    /// The named or chosen target restarted, left, or lags.
    TargetUnfit {
        name: String,
        text: &'static str,
    },
    NoSyncedReplica,
    /// Some ordinals have not answered, and the conclusion needs every one.
    Silent {
        names: Vec<String>,
    },
    /// An election has heard too few members.
    TooFewSealed {
        sealed: usize,
        needed: usize,
    },
    /// The handing-over primary does not know the outcome yet.
    HandoverPending {
        name: String,
    },
    /// A member belongs to another cluster.
    ForeignMember {
        name: String,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { name, step, text } => write!(f, "{name} refused {step}: {text}"),
            Self::Declined => f.write_str("the target declined the handover"),
            Self::Abdicated => f.write_str("the old primary abdicated before the target answered"),
            Self::NotLevel => f.write_str("the target did not catch up within the pause"),
            Self::TooManyAttempts => f.write_str("every attempt was interrupted"),
            Self::PrimaryLost => f.write_str("the primary was lost meanwhile"),
            Self::TargetUnfit { name, text } => write!(f, "{name} {text}"),
            Self::NoSyncedReplica => f.write_str("no replica that may take over is in sync"),
            Self::Silent { names } => write!(f, "no answer from {}", names.join(", ")),
            Self::TooFewSealed { sealed, needed } => {
                write!(f, "{sealed} members answered the election and {needed} are needed")
            }
            Self::HandoverPending { name } => {
                write!(f, "{name} has handed over and waits for the target's answer")
            }
            Self::ForeignMember { name } => write!(f, "{name} belongs to another cluster"),
        }
    }
}
