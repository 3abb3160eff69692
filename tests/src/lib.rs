//! The harness for tests that need more than one process.
