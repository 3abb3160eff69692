//! The harness for tests that need more than one process.

pub mod bench;
pub mod clients;
pub mod cluster;
pub mod conformance;
pub mod failing_disk;
pub mod fuzz;
pub mod history;
pub mod impostor;
pub mod ledger;
pub mod linear;
pub mod load;
#[expect(clippy::unwrap_used, reason = "a harness fails by panicking")]
pub mod local;
pub mod members;
pub mod mover;
pub mod place;
pub mod ports;
pub mod programs;
pub mod resp;
pub mod script;
pub mod server;
pub mod small_disk;
pub mod tls;
pub mod valve;
pub mod wait;
pub mod wire;
#[expect(clippy::unwrap_used, reason = "a harness fails by panicking")]
pub mod writer;
