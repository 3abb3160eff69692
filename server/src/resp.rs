//! Bytes to values and back: requests of clients, replies to them. Pure, without I/O.
//!
//! [`Parser`] reads requests (RESP arrays of bulk strings, or inline words) out of a growing
//! buffer without copying an argument; [`Args`] is the view that it yields. [`Reply`] writes
//! replies into a client's output buffer in the dialect that the client chose with HELLO.

pub mod errors;
pub mod extended;
pub mod num;
mod parse;
mod reply;
mod wide;

pub use errors::CommandError;
pub use parse::{
    Args, Limits, OwnedArgs, Parsed, Parser, ProtocolError, Span, encode_command, split_quoted,
};
pub use reply::{Proto, Reply};
