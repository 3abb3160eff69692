//! The database: the data path, replication and the member’s side of a switchover.

pub mod acl;
pub mod client;
pub mod command;
pub mod config;
pub mod disk;
pub mod engine;
pub mod glob;
pub mod handover;
#[cfg(test)]
mod hostile;
pub mod lazyfree;
pub mod log;
pub mod maintenance;
pub mod memory;
pub mod migration;
pub mod net;
pub mod persistence;
pub mod relay;
pub mod replication;
pub mod resp;
pub mod script;
pub mod secret;
pub mod store;
pub mod tls;
pub mod transfer;
