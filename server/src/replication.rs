//! Replication: Redis's protocol (PSYNC2) toward replicas and toward a primary. Pure state
//! machines; [`crate::engine`] feeds them bytes and time, and its `replicate` module performs what
//! they say.
//!
//! A node has one stream: the bytes of the commands that changed its data. Its offset counts them.
//! A primary writes the stream, a replica copies it *verbatim* into its own backlog as it applies
//! it, so that its replicas and its successors go on at the same offsets.
//!
//! **Invariant.** [`Replication::offset`] is the *applied* offset: a command counts when it has been
//! executed, and the commands of a transaction count together, when EXEC has been.

mod backlog;
mod history;
mod link;
mod loader;
mod payload;
mod primary;
mod reading;
mod replicas;
mod stream;

pub use backlog::Backlog;
pub use history::{History, ReplId};
pub use link::{Action, Link, LinkConfig, LinkState, Loaded};
pub use payload::Transfer;
pub use primary::{Replication, Sync};
pub use reading::Asks;
pub use replicas::{MemberLink, Replica, Replicas, Stage};
pub use stream::{ARGUMENT_MAX, Stream, Unit};

/// The first word of the argument by which members' records are known in the stream:
/// `PING redisha:…`.
pub const RECORD_PREFIX: &[u8] = b"redisha:";

/// What a member's stream may hold beyond the one of the first release. Raised with every command,
/// record or value that an older member cannot take, so that no switch leads back to one.
pub const STREAM_LEVEL: u32 = 0;

/// The greatest part of the backlog that a slow replica can make this node keep.
pub const BACKLOG_HARD_LIMIT: u64 = 256 * 1024 * 1024;
