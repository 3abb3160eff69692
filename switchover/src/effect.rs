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
    /// The old primary, told to stop, gave the office to another member meanwhile.
    WentElsewhere {
        name: String,
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
    /// The primary does not answer the operator, but a replica's link to it is up.
    PrimaryCutOff {
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
            Self::WentElsewhere { name } => write!(f, "{name} became primary instead"),
            Self::TooFewSealed { sealed, needed } => {
                write!(f, "{sealed} members answered the election and {needed} are needed")
            }
            Self::HandoverPending { name } => {
                write!(f, "{name} has handed over and waits for the target's answer")
            }
            Self::PrimaryCutOff { name } => {
                write!(f, "{name} does not answer here, but its replicas hear it")
            }
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bootstrapped { primary } => write!(f, "{primary} is the first primary"),
            Self::SwitchoverStarted { intent } => {
                let Intent { id, from, to, reason, .. } = intent;
                write!(f, "switching from {} to {} ({reason}, {id})", from.name, to.name)
            }
            Self::SwitchoverCompleted { id, from, to, reason, epoch, pause_ms } => {
                write!(f, "switched from {from} to {to} at epoch {epoch} ({reason}, {id})")?;
                match pause_ms {
                    Some(ms) => write!(f, ", writes paused for {ms} ms"),
                    None => Ok(()),
                }
            }
            Self::SwitchoverAborted { id, from, to, reason, why } => {
                write!(f, "switch from {from} to {to} aborted ({reason}, {id}): {why}")
            }
            Self::FailoverStarted { lost, term } => {
                write!(f, "electing a primary for term {term}: {lost} is lost")
            }
            Self::FailoverCompleted { from, to, epoch } => {
                write!(f, "{to} replaces {from} at epoch {epoch}")
            }
            Self::Held { request, why } => {
                write!(f, "no switch yet ({}, {}): {why}", request.reason, request.id)
            }
            Self::Waiting { why } => write!(f, "waiting: {why}"),
        }
    }
}

/// One line, for logs and for the tests' expectations; wire words as they are sent, but for the
/// cluster's UID.
impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Observe { .. } => f.write_str("observe"),
            Self::Publish { arbiter, .. } => write!(f, "publish {arbiter}"),
            Self::Command { to, command, .. } => {
                write!(f, "{}: {}", to.name, command.name())?;
                command.words("", to)[6..].iter().try_for_each(|word| write!(f, " {word}"))
            }
            Self::Label { name, label, .. } => {
                write!(f, "label {name} {}", label.as_str().unwrap_or("none"))
            }
            Self::SetTimer { after_ms, .. } => write!(f, "timer {after_ms}"),
            Self::Notify(notice) => write!(f, "notify {notice}"),
        }
    }
}
