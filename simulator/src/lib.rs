//! A seeded world around the decision (`switchover::step`) and the member (`server::handover`), with the
//! server's relay (`server::relay`), the reader of its stream (`server::replication`) and the clock that
//! its keys expire by (`server::engine::floor`).
//!
//! Takes a seed; returns what its checkers found. All of these are the very code that the operator
//! and the server run; the world gives them a network that delays, loses, repeats and parts,
//! clocks, disks that forget or fail, clients that write, people that pause, and crashes of the operator
//! and of any member between any two effects. No I/O, no real time: a seed is one course.
//!
//! | Room | What it holds |
//! |---|---|
//! | [`world`] | the queue of things to come, the network, chaos |
//! | `node` | one member's process: its log, its gate, its effects |
//! | `asked` | what operators ask of a member, and what it says of itself |
//! | `link`, `stream` | replication between two members, and what goes over it |
//! | `brain` | operators' processes, the arbiter's store, labels |
//! | `check` | the promises, watched from outside |
//! | `answer` | clients where answers wait for members, and the one history they see |
//! | `client` | what clients ask of any member, in order |
//! | `relay`, `session` | the two ends of the server's relay, by which it reaches the primary |
//! | `fault` | processes stopped, ways open in one direction, clocks, the status |
//! | `disk` | disks that take their time, fail, and lose what they had not taken |
//! | [`mark`] | narrow places that a world came through |
//! | `misdeed` | planted bugs on the way between operators and members |
//! | [`theme`] | fault plans that lead to narrow places |
//! | [`model`] | every course of a small cluster, within bounds |
//! | [`mutant`] | planted bugs, which the checkers must catch |

mod answer;
mod asked;
mod brain;
mod chaos;
mod check;
mod client;
mod convert;
mod disk;
mod fault;
mod link;
mod log;
pub mod mark;
mod misdeed;
pub mod model;
pub mod mutant;
mod node;
mod relay;
mod rng;
pub mod run;
mod session;
mod stream;
pub mod theme;
pub mod world;

pub use mark::Mark;
pub use mutant::Mutant;
pub use run::{Report, Run, SECONDS, Victim, run, strike};
pub use theme::Theme;
