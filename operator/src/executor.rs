//! Performs what `switchover` decides: the only part of the operator that acts.

pub mod remote;
