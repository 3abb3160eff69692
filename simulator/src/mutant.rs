//! Planted bugs: what an implementation could get wrong, switched on for a whole run.
//!
//! `docs/mutants.md` names those of the protocol and what catches each; some are for the model
//! (`crate::model`) or for tests of the server, since chance does not meet them here.
//!
//! Each is planted where the world joins the real machines to their surroundings, so that none of
//! them carries a wrong branch for the sake of a test.

use std::fmt;

use crate::theme::Theme;

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
    /// An election is content with one seal too few.
    FewerSeals,
    /// The winner is who has promised most, not who holds most.
    WinnerByPromise,
    /// A member that was started anew counts as the one before.
    RestartedIdCounted,
    /// An elected primary answers before its start record is committed.
    OpenWithoutStart,
    /// A config is published without the primary's obeying it first.
    PrepareSkipped,
    /// The primary forgets a prepared config by itself.
    AbortWithoutCas,
    /// An election keeps only who was sealed, whatever they hold.
    KeepsUnequal,
    /// Reads are answered while the epoch is being given away.
    ReadsInLimbo,
    /// Reads are answered whether or not anybody has been heard.
    ReadsWithoutLease,
    /// When the stream grew is noted late, as after a long command, so leases seem younger.
    GrowthNotedLate,
    /// Under `async` everything is answered at once, whether or not anybody has been heard.
    AsyncWithoutLease,
    /// A status that was restored is believed, whatever the members know.
    RestoredBelieved,
    /// A process that was stopped goes on by the time at which it was.
    CachedClock,
    /// What was received counts as applied.
    ReceiveAsApply,
    /// A replica whose connection broke counts as one that resigned.
    CrashAsResignation,
    /// A lost status is filled anew though one name was silent.
    ColdStartSilent,
    /// The status is written over whatever stands there.
    ConflictRetried,
    /// After a lost status an empty member is the first primary, whoever else holds data.
    StatusResetBootstraps,
    /// An elected primary waits for no lease of the one before.
    NoLeaseWait,
    /// A config is called prepared before its members hold what is committed.
    PreparedWithoutData,
    /// Under `async` a config is called prepared before its members have given a lease.
    PreparedWithoutLeases,
    /// The primary obeys only the next config, before it is published.
    GrowCountedEarly,
    /// In limbo any refusal counts, whatever epoch it is for and whoever says so.
    AnyAnswerCounts,
    /// A member that is still reading its data answers as if it held nothing.
    LoadingNodeSeals,
    /// The status comes out of a cache, under the number of the present one.
    StaleReadActedOn,
    /// A command acts on whoever has the address now.
    ReusedAddress,
    /// What was received or written counts as durable.
    KeepsByMemory,
    /// The promise is not made durable before the seal is answered.
    KeepsUnsealed,
    /// An id outlives the files that it told of.
    KeptAcrossDrop,
    /// A sync that failed is passed over.
    FailedSyncIgnored,
    /// What a full disk does not take is answered as if it had.
    NotKeptUnseen,
    /// The record counts though a sync has failed: what is read may not be on the disk.
    DistrustedBelieved,
    /// The primary's own copy counts before its disk has it.
    OwnMemoryCounts,
    /// An epoch is given away though fewer than W members hold its log.
    HandoverUncommitted,
    /// A member forgets the leases that it gave when there is another primary.
    LeaseForgottenAtNext,
    /// An elected primary gives its epoch away before old leases have ended.
    GivesBeforeOpen,
    /// Half a transaction counts as applied.
    HalfCounts,
    /// A start counts half a transaction at the end of its files.
    TornTailCounts,
    /// What a relay sent before its link was lost is sent once more.
    RelayResends,
    /// A relayed client reads where it is.
    RelayReadsHere,
    /// Whoever is not the primary passes on what it is sent by a relay.
    RelayCircle,
    /// Who waits for something is led to the target before that has accepted.
    PopServedTwice,
    /// Nobody asks which stream the target can take.
    LevelSkipped,
    /// A new primary goes by its own clock, whatever the old one's showed.
    FloorDropped,
    /// A restarted target does not find that it had accepted.
    AcceptanceForgotten,
    /// A restarted member says that it gave no leases.
    LeasesForgotten,
}

impl Mutant {
    /// The fault plan that leads to the place where it does harm; without one chance does.
    pub const fn theme(self) -> Option<Theme> {
        Some(match self {
            Self::WinnerByPromise => Theme::HalfSealed,
            Self::OpenWithoutStart => Theme::Marooned,
            Self::KeepsUnequal => Theme::Chain,
            Self::ReadsInLimbo | Self::RestartedTargetDeclines => Theme::SlowAnswer,
            Self::ReadsWithoutLease | Self::NoLeaseWait | Self::GrowthNotedLate => Theme::Isolated,
            Self::CachedClock => Theme::Stopped,
            Self::ConflictRetried | Self::StaleReadActedOn => Theme::Rivals,
            Self::StatusResetBootstraps | Self::ColdStartSilent | Self::LoadingNodeSeals => {
                Theme::ColdStart
            }
            Self::PreparedWithoutData | Self::PreparedWithoutLeases => Theme::Growth,
            Self::AnyAnswerCounts => Theme::Declines,
            Self::ReusedAddress => Theme::Reused,
            Self::RestoredBelieved => Theme::Restored,
            Self::KeepsByMemory
            | Self::KeepsUnsealed
            | Self::KeptAcrossDrop
            | Self::FailedSyncIgnored
            | Self::DistrustedBelieved
            | Self::TornTailCounts
            | Self::AcceptanceForgotten => Theme::Blackout,
            Self::NotKeptUnseen => Theme::Full,
            Self::OwnMemoryCounts | Self::HandoverUncommitted => Theme::Stalled,
            Self::LeaseForgottenAtNext | Self::GivesBeforeOpen => Theme::Regrant,
            Self::HalfCounts => Theme::Halves,
            Self::LeasesForgotten => Theme::Revived,
            _ => return None,
        })
    }

    pub const ALL: [Self; 54] = [
        Self::PromoteWithoutT,
        Self::ResumeByTimer,
        Self::RestartedTargetDeclines,
        Self::PingAfterPause,
        Self::UserUnpauses,
        Self::TwoOwners,
        Self::NoPauseTimer,
        Self::UnlabelFirst,
        Self::FewerSeals,
        Self::WinnerByPromise,
        Self::RestartedIdCounted,
        Self::OpenWithoutStart,
        Self::PrepareSkipped,
        Self::AbortWithoutCas,
        Self::KeepsUnequal,
        Self::ReadsInLimbo,
        Self::ReadsWithoutLease,
        Self::GrowthNotedLate,
        Self::AsyncWithoutLease,
        Self::RestoredBelieved,
        Self::CachedClock,
        Self::ReceiveAsApply,
        Self::CrashAsResignation,
        Self::ColdStartSilent,
        Self::ConflictRetried,
        Self::StatusResetBootstraps,
        Self::NoLeaseWait,
        Self::PreparedWithoutData,
        Self::PreparedWithoutLeases,
        Self::GrowCountedEarly,
        Self::AnyAnswerCounts,
        Self::LoadingNodeSeals,
        Self::StaleReadActedOn,
        Self::ReusedAddress,
        Self::KeepsByMemory,
        Self::KeepsUnsealed,
        Self::KeptAcrossDrop,
        Self::FailedSyncIgnored,
        Self::NotKeptUnseen,
        Self::DistrustedBelieved,
        Self::OwnMemoryCounts,
        Self::HandoverUncommitted,
        Self::LeaseForgottenAtNext,
        Self::GivesBeforeOpen,
        Self::HalfCounts,
        Self::TornTailCounts,
        Self::RelayResends,
        Self::RelayReadsHere,
        Self::RelayCircle,
        Self::PopServedTwice,
        Self::LevelSkipped,
        Self::FloorDropped,
        Self::AcceptanceForgotten,
        Self::LeasesForgotten,
    ];
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
