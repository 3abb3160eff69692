//! Who may acknowledge, and how that right moves from one member to another.
//!
//! Takes: requests of the operator, records of the replication stream, replicas' acknowledgements
//! and time, all as arguments. Returns: effects. Does no I/O, reads no clock, draws no random
//! number, so that the simulator runs the very code that the server runs.
//!
//! **Invariant (one acknowledger).** Every epoch has one owner for ever. A member answers writes
//! only while it is [`Role::Primary`] of an epoch, and between two members' times of answering lies
//! the handing over of the whole log:
//!
//! 1. A term `(t, 0)` has the owner that the arbiter decided; a hop `(t, h + 1)` is given by the
//!    owner of `(t, h)` to exactly one member id, once; `(t, h + 2)` belongs to that member, or,
//!    if it declined, to the giver.
//! 2. Once a giver is in [`Role::Limbo`], no timer and no user makes it a primary again: only the
//!    target's refusal for that very epoch does. Without an answer it abdicates to
//!    [`Role::Fenced`].
//! 3. A target answers one thing for ever: what it accepted it never declines, and what it declined
//!    it never accepts, since declining promises the epoch. A restarted target has another id and
//!    answers neither, or comes back with what it answered (see [`Kept`]).
//! 4. A target accepts only a log that is exactly the giver's: same data epoch, same offset `T`.
//! 5. Promises only grow, and a command for a lower epoch changes nothing.
//!
//! Where ids outlive a restart (durability `disk`), [`Effect::Keep`] makes what they bind durable first.
//!
//! The handover record is part of the log. A target that was told by another route appends the very
//! bytes that it missed, so giver, target and the other followers agree on every offset, and all of
//! them follow the new primary by a partial resynchronisation.

mod commit;
mod config;
mod drain;
mod election;
mod epoch;
mod event;
pub(crate) mod fields;
mod giver;
mod keep;
mod member;
mod pause;
mod record;
mod status;
mod taker;
#[cfg(test)]
mod tests;

pub use config::{Config, ConfigError, Durability, MEMBERS_MAX};
pub use epoch::Epoch;
pub use event::{Effect, Env, Event, Notice, Peer, Reply, Request, Target, Verb};
pub use keep::Kept;
pub use member::{Gate, Identity, Member, Role, Timing};
pub use pause::{PauseKind, UserPause};
pub use record::{Handover, Record, RecordError};
pub use status::{Outcome, Status};
