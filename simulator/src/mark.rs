//! Narrow places that a world has come through. Nothing rests on them: they tell whether a seed that is
//! kept for what it once showed (`tests/seeds.txt`) still shows it, since every new draw makes other
//! worlds of all seeds.

use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// A lost status was filled anew beside a primary that had never heard of its successors.
    FilledBesideOldPrimary,
    /// A status was filled anew by members of which none knew of the last epochs.
    EpochsAgain,
    /// Status and data were lost together.
    BegunAnew,
    /// A status was restored from a copy where answers promise nothing but leases.
    RestoredUnderAsync,
    /// A follower introduced itself to a primary when it was gone, or followed another one.
    LateIntroduction,
    /// A target ended after it had decided, and before its answer left.
    UnsentAnswer,
    /// A giver took its epoch back.
    TakenBack,
    /// A disk did not take a seal, an office, an id that was to be kept, what was taken over.
    SealNotKept,
    OfficeNotKept,
    IdNotKept,
    TakeoverNotKept,
    /// A process began with files that may not be on the disk.
    FilesDistrusted,
    /// A primary answered what its own disk did not have.
    CommittedByOthers,
    /// A member had a part of what belongs together, mostly half a transaction, when its link was lost.
    HalfDropped,
    /// A client's session was to be opened on a member that was not the primary.
    RelayGivenBack,
    /// Who waited for something was led to another primary.
    PopLed,
    /// A session came back with commands that had not been executed.
    SessionReturned,
    /// The link of a relay was lost behind a command that may have run.
    OutcomeUnknown,
}

impl Mark {
    pub const ALL: [Self; 18] = [
        Self::FilledBesideOldPrimary,
        Self::EpochsAgain,
        Self::BegunAnew,
        Self::RestoredUnderAsync,
        Self::LateIntroduction,
        Self::UnsentAnswer,
        Self::TakenBack,
        Self::SealNotKept,
        Self::OfficeNotKept,
        Self::IdNotKept,
        Self::TakeoverNotKept,
        Self::FilesDistrusted,
        Self::CommittedByOthers,
        Self::HalfDropped,
        Self::RelayGivenBack,
        Self::PopLed,
        Self::SessionReturned,
        Self::OutcomeUnknown,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mark| mark.to_string() == name)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
