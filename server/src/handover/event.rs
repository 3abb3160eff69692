//! What a member is told and what it asks for.

use super::config::Config;
use super::epoch::Epoch;
use super::keep::Kept;
use super::record::Record;
use super::status::{Outcome, Status};

/// Facts that go with every event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Env {
    /// This node's monotonic clock, microseconds.
    pub now_us: u64,
    /// The stream's offset: written on a primary, applied on a follower.
    pub offset: u64,
    /// The keyspace holds nothing and no stream has ever been applied or written.
    pub empty: bool,
}

/// A member and where it is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    pub member: String,
    /// Address, without brackets.
    pub host: String,
    pub port: u16,
    /// Fully qualified name for clients that asked for one; may be empty.
    pub hostname: String,
}

/// A member replica of this primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub target: Target,
    /// Last acknowledged (applied) offset.
    pub acked: u64,
    /// Up to which offset it would find the stream in its files; 0 if it keeps none.
    pub durable: u64,
    /// The greatest level of a stream that it takes.
    pub level: u32,
}

/// A request of the operator (or of a giver, for `Takeover`), addressed to one member id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub uid: String,
    pub member: String,
    pub verb: Verb,
}

/// The subcommands of `REDISHA` that change something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// `config` is absent where nothing waits for other members.
    Bootstrap {
        term: u64,
        config: Option<Config>,
    },
    Seal {
        term: u64,
    },
    /// `wait_ms`: what the sealed members' leases may still last.
    Promote {
        term: u64,
        config: Option<Config>,
        wait_ms: u64,
    },
    /// Obey this config too, before it is published.
    Prepare {
        config: Config,
    },
    /// This config was published: obey no other.
    Commit {
        config: Config,
    },
    Follow {
        epoch: Epoch,
        primary: Target,
    },
    Pause {
        id: String,
        timeout_ms: u64,
        to: String,
    },
    Unpause {
        id: String,
    },
    Level {
        id: String,
        to: String,
    },
    Handover {
        id: String,
        to: Target,
    },
    Takeover {
        blob: String,
    },
    Release {
        id: String,
    },
}

/// What happens to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// `token` names whom to answer; the answer may come with a later event.
    Request { token: u64, request: Request },
    /// A record of the stream was applied on this follower. `start` is the offset just before it;
    /// `Env::offset` is the one behind it.
    Applied { record: Record, start: u64 },
    /// A full resynchronisation has replaced this follower's data; `data_epoch` is the one that
    /// came with it (`0.0` if the source named none).
    Replaced { data_epoch: Epoch },
    /// The primary answered this follower's introduction with its own epoch.
    Linked { epoch: Epoch },
    /// A member replica has completed its synchronisation with this primary.
    ReplicaUp { peer: Peer },
    /// A member replica acknowledges that it has applied everything up to `offset`, and would find
    /// everything up to `durable` in its files.
    Ack { member: String, offset: u64, durable: u64 },
    /// A start of this member would find everything up to `offset` in its files.
    Durable { offset: u64 },
    /// The files are about to be dropped for a full resynchronisation's data.
    Replacing,
    /// The disk is full or slow: an [`Effect::Sync`] or [`Effect::Keep`] could not be performed, what
    /// was on the disk before still is, and nothing that was to follow has been performed. `renewed` is
    /// an id to go on under where the old one is not to be saved. (Where the disk failed to make durable what
    /// it had taken, the process ends instead, and the next one finds a record that speaks for nobody.)
    NotKept { renewed: String },
    /// The link to a member replica is gone.
    ReplicaGone { member: String },
    /// A target's answer to a handover, over whatever route.
    Answer { member: String, epoch: Epoch, accepted: bool },
    /// A member says that it will never answer again.
    Resigned { member: String },
    /// Time has passed; due at [`Member::next_deadline_us`](super::Member::next_deadline_us).
    Tick,
    /// The process ends now: the id will never be sealed or counted again.
    Resign,
    /// The process was asked to end. From `alone_at_us` on it hands over by itself.
    Drain { alone_at_us: u64 },
}

/// What the caller must do, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer the request of that token; nothing happens if its connection is gone.
    Reply { token: u64, reply: Reply },
    /// Make the own log durable as far as it goes. If that does not work nothing after it may be
    /// performed, and [`Event::NotKept`] is to follow at once; so too for [`Effect::Keep`].
    Sync,
    /// Make this record durable in the place of the last one; none: no record may be found again.
    Keep { kept: Option<Box<Kept>> },
    /// Append `PING <argument>` to the own log and stream.
    Append { argument: String },
    /// Tell the primary, on the replication link, `REPLCONF redisha-accepted|redisha-declined`.
    Answer { epoch: Epoch, accepted: bool },
    /// Tell the primary, on the replication link, `REPLCONF redisha-resigned`.
    Resign,
    /// Carry the record to the target over a connection of its own (`REDISHA TAKEOVER`); its answer
    /// comes back as [`Event::Answer`], no answer is no event.
    Takeover { to: Target, blob: String },
    /// Stop replicating and take a new replication id at the present offset, keeping the old one
    /// as the second, so that all others follow by a partial resynchronisation.
    Promote { epoch: Epoch },
    /// Replicate from `primary`, from the present offset on, keeping the data meanwhile.
    Follow { primary: Target, epoch: Epoch },
    /// Drop the replication link and serve no stream.
    Detach,
    /// Lead clients to that member, or to none any more.
    Redirect(Option<Target>),
    /// The gate is open again: run held commands in their order, through all gates.
    ResumeHeld,
    /// Answer held commands with an error that means "not executed".
    RefuseHeld,
    /// Tell the clients that asked for maintenance notifications.
    Notify(Notice),
    /// The address leads elsewhere, or has had its time to: if draining, close connections between
    /// commands.
    CloseClients,
}

/// Moments of a switch that some clients are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A pause for a switch has begun.
    Started,
    /// The new primary has accepted.
    Moved(Target),
    /// The address leads to the new primary.
    Completed,
    /// The attempt is over and nothing has changed.
    Aborted,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Ok,
    Level,
    NotLevel,
    /// The config may be published.
    Prepared,
    /// Answer to SEAL: what this member holds.
    Sealed(Box<Status>),
    /// Answer to PAUSE.
    Paused {
        offset: u64,
        epoch: Epoch,
    },
    Outcome {
        outcome: Outcome,
        epoch: Epoch,
    },
    WrongMember,
    Stale {
        promised: Epoch,
    },
    NotReady(String),
}
