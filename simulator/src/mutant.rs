//! Planted bugs: what an implementation could get wrong, switched on for a whole run.
//!
//! Each is planted where the world joins the two machines to their surroundings, so that neither
//! machine carries a wrong branch for the sake of a test.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mutant {
    /// The target takes the epoch whatever its log holds, and counts as level before it is.
    PromoteWithoutT,
    /// A giver serves again when the pause's timer ends, though it has handed over.
    ResumeByTimer,
    /// A restarted target answers for its earlier life, and declines.
    RestartedTargetDeclines,
    /// The keep-alive of the stream goes on during the pause.
    PingAfterPause,
    /// `CLIENT UNPAUSE` of a user ends the operator's pause.
    UserUnpauses,
    /// The record binds no one member: every follower in step takes the epoch.
    TwoOwners,
    /// Nobody wakes a member when its pause has lasted long enough.
    NoPauseTimer,
    /// The address is led away from the old primary before it leads to the new one.
    UnlabelFirst,
}

impl Mutant {
    pub const ALL: [Self; 8] = [
        Self::PromoteWithoutT,
        Self::ResumeByTimer,
        Self::RestartedTargetDeclines,
        Self::PingAfterPause,
        Self::UserUnpauses,
        Self::TwoOwners,
        Self::NoPauseTimer,
        Self::UnlabelFirst,
    ];
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
