//! The keyspace.

#[derive(Default)]
pub struct Keyspace {}
