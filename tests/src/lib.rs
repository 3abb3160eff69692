//! The harness for tests that need more than one process.

pub mod clients;
pub mod cluster;
pub mod ledger;
pub mod load;
pub mod place;
pub mod wait;
