//! The database: the data path, replication and the member’s side of a switchover.

pub mod handover;
pub mod maintenance;
pub mod relay;
