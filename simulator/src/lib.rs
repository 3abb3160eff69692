//! A seeded world around the decision (`switchover::step`) and the member (`server::handover`).
//!
//! Takes a seed; returns what its checkers found. Both machines are the very code that the operator
//! and the server run; the world gives them a network that delays, loses, repeats and parts,
//! clocks, disks that forget or fail, clients that write, people that pause, and crashes of the operator
//! and of any member between any two effects. No I/O, no real time: a seed is one course.
//!
//! | Room | What it holds |
//! |---|---|
//! | [`world`] | the queue of things to come, the network, chaos |
//! | `node` | one member's process: its log, its gate, its effects |
//! | `link` | replication between two members |
//! | `brain` | operators' processes, the arbiter's store, labels |
//! | `check` | the promises, watched from outside |
//! | `answer` | clients where answers wait for members, and the one history they see |
//! | `fault` | processes stopped, ways open in one direction, clocks, the status |
//! | `disk` | disks that take their time, fail, and lose what they had not taken |
//! | `misdeed` | planted bugs on the way between operators and members |
//! | [`theme`] | fault plans that lead to narrow places |
//! | [`model`] | every course of a small cluster, within bounds |
//! | [`mutant`] | planted bugs, which the checkers must catch |

mod answer;
mod brain;
mod chaos;
mod check;
mod convert;
mod disk;
mod fault;
mod link;
mod log;
mod misdeed;
pub mod model;
pub mod mutant;
mod node;
mod rng;
pub mod run;
pub mod theme;
pub mod world;

pub use mutant::Mutant;
pub use run::{Report, Run, SECONDS, Victim, run, strike};
pub use theme::Theme;
