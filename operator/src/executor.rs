//! Performs what `switchover` decides: the only part of the operator that acts.
//!
//! Takes the two worlds it runs in as traits ([`ArbiterStore`] and [`Directory`]), so that pods and
//! local processes share every line of it. Keeps no state that outlives it: after a crash at any
//! step a new executor finds its way from the arbiter and from the members' own words.

pub mod client;
pub mod crash;
mod driver;
mod observe;
pub mod remote;
pub mod wire;
mod worker;

use std::future::Future;

use switchover::{Arbiter, Label, Notice, Observation, Publication, Request, Seen, Settings};

pub use driver::{Executor, Handle};
pub use observe::status_of;

/// Why a world could not be read. Displays as one clause.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub struct WorldError(pub String);

/// Where the arbiter lives: the status of a `RedisHA`, or a file.
pub trait ArbiterStore: Send + Sync + 'static {
    /// Reads it by quorum, never from a cache. A place that holds none yet answers
    /// `Arbiter::new(uid)`.
    fn read(&self) -> impl Future<Output = Result<Arbiter, WorldError>> + Send;

    /// Writes `next` iff the stored version is `next.version - 1`, and never twice: a request
    /// whose answer was lost is `Publication::Unknown` and is not repeated.
    fn publish(&self, next: &Arbiter) -> impl Future<Output = Publication> + Send;
}

/// What a directory knows at one time.
#[derive(Debug, Clone, Default)]
pub struct View {
    pub settings: Settings,
    /// One entry for every ordinal that should exist or still does, in the order of ordinals, with
    /// `status` left `None`: the executor asks the members at `host:port` itself.
    pub members: Vec<Seen>,
    /// The most urgent wish for another primary.
    pub request: Option<Request>,
}

/// Who the members are, and how the world outside is told what became of them.
pub trait Directory: Send + Sync + 'static {
    /// Lists the members, with the settings and the most urgent request, given the arbiter that
    /// was just read.
    fn view(&self, arbiter: &Arbiter) -> impl Future<Output = Result<View, WorldError>> + Send;

    /// Sets the role label of one member; true when it certainly is set now.
    fn label(&self, name: &str, label: Label) -> impl Future<Output = bool> + Send;

    /// Tells people. Failures are the directory's own affair.
    fn notify(&self, notice: Notice) -> impl Future<Output = ()> + Send;

    /// Shows what was just observed, before the decision acts on it. Must not block.
    fn observed(&self, observation: &Observation) {
        let _ = observation;
    }
}
