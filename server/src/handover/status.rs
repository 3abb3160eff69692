//! What a member says about itself.

use super::epoch::Epoch;
use super::event::Target;

/// How an attempt to hand over ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// It never came to the handing over.
    #[default]
    None,
    /// Handed over, no answer yet.
    Pending,
    Accepted,
    Declined,
    Abdicated,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Abdicated => "abdicated",
        }
    }
}

/// The part of `REDISHA STATUS` that this module knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub uid: String,
    pub member: String,
    pub name: String,
    pub role: &'static str,
    pub epoch: Epoch,
    pub promised: Epoch,
    pub data_epoch: Epoch,
    pub offset: u64,
    pub empty: bool,
    /// Whom a follower follows.
    pub primary: Option<Target>,
    pub pause_id: String,
    /// Of the operator's pause or a user's, whichever lasts longer.
    pub pause_left_ms: u64,
    pub handover_id: String,
    pub handover_to: String,
    pub handover_outcome: Outcome,
    pub handover_epoch: Epoch,
    /// The record while its outcome is pending, so that others can carry it; else empty.
    pub handover_record: String,
    pub pause_us: u64,
    pub draining: bool,
    /// Active configs, see [`Config`](super::Config); empty when none was told.
    pub configs: String,
    /// What W members hold, in bytes of the stream.
    pub committed: u64,
    /// This process goes on under the id of an earlier one, with what its files held.
    pub restarted: bool,
    /// How long leases that this member gave still last.
    pub lease_left_ms: u64,
}
