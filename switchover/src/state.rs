//! Where the decision stands. Lives in memory only: a crash loses nothing that matters.

use crate::{Arbiter, Config, Epoch, Intent, Member, Notice, Seen, Settings, Why};

/// Names the phase that an effect belongs to; its answer counts only while that phase lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// The whole state of one cluster's decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// As last read or written.
    pub arbiter: Arbiter,
    pub settings: Settings,
    /// As last seen.
    pub members: Vec<Seen>,
    pub phase: Phase,
    /// The current phase's tag.
    pub tag: Tag,
    /// The primary whose labels (and release) this process has completed, as far as they can be set now,
    /// before it is published.
    pub moved: Option<Member>,
    /// How many looks in a row have found the primary with too few replicas.
    pub lacking: u32,
    /// What the members sealed last still owe to an old primary, in milliseconds.
    pub lease_left_ms: u64,
    /// The primary held writes back when it was last seen, so that its stream may stand still.
    pub paused: bool,
    /// What spoke against a request at the last look and may be over at the next.
    pub doubted: Option<Why>,
    /// What was last said about being unable to act, so that it is said once.
    pub told: Option<Why>,
}

impl State {
    pub fn new() -> Self {
        Self::default()
    }
}

/// What is under way. Every phase but the first has one timer running under the state's tag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing has been asked yet.
    #[default]
    Start,
    /// Nothing is under way; the timer is the next poll.
    Idle,
    Observing {
        /// A nudge came meanwhile: what is being read may be older than it.
        again: bool,
        /// Who was silent before this look.
        silent: Option<Silence>,
    },
    /// This primary is silent; the timer tells when to look again.
    Suspecting(Silence),
    /// A compare-and-swap is under way.
    Publishing {
        next: Box<Arbiter>,
        then: Then,
    },
    /// Steps 2, 3 and 4 of a planned switch.
    Pausing(Attempt),
    Levelling(Attempt),
    HandingOver(Attempt),
    /// UNPAUSE is on its way; then the attempt is closed.
    Aborting {
        attempt: Attempt,
        why: Why,
    },
    /// The new primary is being labelled, then the old one unlabelled.
    Labelling(Labelling),
    /// The old primary is being told that the address leads to the new one.
    Releasing {
        primary: Member,
    },
    /// Term claimed; SEAL has gone to `asked`.
    Sealing {
        asked: Vec<Member>,
        sealed: Vec<Sealed>,
    },
    /// The primary is asked to obey this config too, before it is published.
    Preparing {
        primary: Member,
        config: Config,
    },
    /// The winner has been told.
    Promoting {
        winner: Member,
    },
}

impl Phase {
    /// One word for a status line.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Idle => "Idle",
            Self::Observing { .. } => "Observing",
            Self::Suspecting(_) => "Suspecting",
            Self::Publishing { .. } => "Publishing",
            Self::Pausing(_) => "Pausing",
            Self::Levelling(_) => "Levelling",
            Self::HandingOver(_) => "HandingOver",
            Self::Aborting { .. } => "Aborting",
            Self::Labelling(_) => "Labelling",
            Self::Releasing { .. } => "Releasing",
            Self::Sealing { .. } => "Sealing",
            Self::Preparing { .. } => "Preparing",
            Self::Promoting { .. } => "Promoting",
        }
    }
}

/// A primary that does not answer, and for how long at least, once the timer has expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    pub lost: Member,
    pub lasted_ms: u64,
}

/// A planned switch under way, with the target's address as seen at its precheck.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub intent: Intent,
    pub host: String,
    pub port: u16,
    pub hostname: String,
}

/// Moving the address: the new primary first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelling {
    pub primary: Member,
    /// Pods still to be labelled as replicas, once the primary's label is confirmed.
    pub replicas: Vec<String>,
    /// Confirmations that are awaited now.
    pub awaited: Vec<String>,
    /// The old primary and the id under which it handed over, to be released at the end.
    pub release: Option<(Member, String)>,
}

/// One answer to SEAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    pub member: Member,
    /// Of the last record, never of the promise.
    pub data_epoch: Epoch,
    /// Applied bytes.
    pub offset: u64,
    pub empty: bool,
    pub lease_left_ms: u64,
    pub restarted: bool,
}

/// What follows a successful publication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// Perform the recorded intent.
    Switch(Attempt),
    /// Seal for the claimed term.
    Seal,
    /// Tell the recorded winner.
    Promote,
    /// Tell this primary that its config is published.
    Commit(Member),
    /// Say this and look again.
    Tell(Vec<Notice>),
}
