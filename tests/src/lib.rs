//! The harness for tests that need more than one process.

pub mod ledger;
