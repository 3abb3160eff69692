//! The decision of a switchover, as one pure step.
//!
//! Takes what was seen (an [`Event`]) and where the decision stands (a [`State`]); returns the new
//! state and the [`Effect`]s that somebody else must perform. It may not do I/O, read a clock or
//! draw a random number: its manifest names no crate that could. Time exists only as
//! [`Effect::SetTimer`], whose end comes back as [`Event::Expired`].
//!
//! # How an executor drives it
//! 1. Start with [`State::new`] and feed it [`Event::Nudge`].
//! 2. Perform every effect of each step **in order**, and feed back one event for each effect that
//!    promises one, with the effect's [`Tag`]. An answer that comes too late is dropped by its tag,
//!    so nothing ever needs to be cancelled.
//! 3. Feed [`Event::Nudge`] whenever something outside changed (a pod, a request). The machine asks
//!    for an observation by itself otherwise, each [`Settings::poll_ms`].
//! 4. A state is never stored. After a crash a new [`State::new`] finds its way from the
//!    [`Arbiter`] and the members' [`Status`] alone.
//!
//! **Architecture invariant:** between `PAUSE` and `RELEASE` no effect writes the arbiter.
//! **Architecture invariant:** a new primary is labelled before the old one is unlabelled.

mod arbiter;
mod command;
mod effect;
mod epoch;
mod event;
mod state;
mod status;
mod step;

pub use arbiter::{
    Arbiter, Config, Durability, Election, Intent, LastSwitchover, Member, Outcome, Reason,
};
pub use command::{Command, Refusal, Reply};
pub use effect::{Effect, Label, Notice, Why};
pub use epoch::{Epoch, EpochError};
pub use event::{Event, Observation, Publication, Pulse, Request, Seen, Settings};
pub use state::{Attempt, Labelling, Phase, Sealed, Silence, State, Tag, Then};
pub use status::{Handover, Link, Replica, Role, Status, StatusError};
pub use step::step;
