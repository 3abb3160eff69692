//! The API: what a person writes (`RedisHASpec`) and what the operator answers (`RedisHAStatus`).
//!
//! Takes nothing, does no I/O. Everything that Kubernetes must know about the kind — validation,
//! defaults, columns, subresources — stands beside the fields, and `redisha crd` prints it.

mod names;
mod spec;
mod status;

pub use names::*;
pub use spec::*;
pub use status::*;
