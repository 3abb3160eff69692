//! The RDB format. Pure: the reader is fed chunks as they arrive, the writer appends to a buffer.
//!
//! We write version 11, which Valkey from 7.2 and Redis from 7.2 read, or `VALKEY080` where fields of
//! hashes have expiry times. We read `REDIS0001` to
//! `REDIS0012` and `VALKEY080`, each with its own types for hashes whose fields have such times, as
//! long as they hold types that this server has; a type or a format that it does not have is
//! refused by name, since dropping data silently would be a loss that nobody sees.
//!
//! Nothing is ever allocated from a length that the bytes merely declare.

use std::fmt;

mod building;
pub mod crc64;
mod cursor;
pub mod dump;
pub mod functions;
mod lzf;
mod packed;
mod reader;
mod seal;
mod stream;
#[cfg(test)]
mod tests;
mod value;
mod writer;

pub use reader::{Item, Reader};
pub use seal::{Draft, Form, Sealer};
pub use writer::{Aux, Writer, write_value};

/// The version that the writer puts into headers and DUMP payloads.
pub const VERSION: u16 = 11;
/// The greatest version under the `REDIS` magic that the reader takes.
pub const VERSION_MAX: u16 = 12;
/// The version under the `VALKEY` magic that the reader takes.
pub const VALKEY_VERSION: u16 = 80;

/// The type of a hash whose fields have expiry times, in Valkey's version only: elsewhere the number
/// means something else.
const HASH_WITH_TIMES: u8 = 22;

/// The versions in which the numbers 22 to 25 are Redis's hashes whose fields have expiry times:
/// from 7.4 on, and what may be read as such although it is not known.
const REDIS_FIELD_TIMES: std::ops::Range<u16> = 12..VALKEY_VERSION;

/// Auxiliary fields that the loader looks at. Other servers skip the `redisha-` ones.
pub mod aux_field {
    /// The hash seed of the keyspace: 32 hex digits.
    pub const HASH_SEED: &str = "redisha-hash-seed";
    /// The data epoch, `term.hop`.
    pub const EPOCH: &str = "redisha-epoch";
    /// Users and their rules, as an ACL file.
    pub const ACL: &str = "redisha-acl";
    /// The takeover of another server's data, as `migration::Moving`.
    pub const MIGRATION: &str = "redisha-migration";
    /// What a former primary's clock showed at least, Unix time in milliseconds.
    pub const CLOCK: &str = "redisha-clock";
    /// The text of a script that SCRIPT LOAD brought; servers of old wrote it, those of today skip it.
    pub const SCRIPT: &str = "lua";
    /// The text of a script that EVAL brought.
    pub const EVALUATED: &str = "redisha-script";
    pub const REPL_ID: &str = "repl-id";
    pub const REPL_OFFSET: &str = "repl-offset";
    /// The former ids of the replication history, each with the offset up to which it is the same.
    pub const FORMERS: &str = "redisha-history";
    /// A part of the stream before that point: its offset (8 bytes, the least significant first), and
    /// then its bytes. Behind the data, as often as there are parts.
    pub const TAIL: &str = "redisha-tail";
    /// The database that the stream is in at that point.
    pub const STREAM_DB: &str = "repl-stream-db";
}

mod op {
    pub const EOF: u8 = 0xff;
    pub const SELECT_DB: u8 = 0xfe;
    pub const EXPIRE_S: u8 = 0xfd;
    pub const EXPIRE_MS: u8 = 0xfc;
    pub const RESIZE_DB: u8 = 0xfb;
    pub const AUX: u8 = 0xfa;
    pub const FREQ: u8 = 0xf9;
    pub const IDLE: u8 = 0xf8;
    pub const MODULE_AUX: u8 = 0xf7;
    pub const FUNCTION_EARLY: u8 = 0xf6;
    pub const FUNCTION: u8 = 0xf5;
    pub const SLOT_INFO: u8 = 0xf4;
    pub const SLOT_IMPORT: u8 = 0xf3;
}

/// Why an RDB stream or payload cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RdbError {
    #[error("the RDB data is corrupt: {0}")]
    Corrupt(&'static str),
    #[error("the RDB data does not start with REDIS or VALKEY and a version")]
    Magic,
    #[error("RDB version {0} is not supported (REDIS up to 12 and VALKEY 80 are)")]
    Version(Version),
    #[error("the RDB data holds {0}, which this server does not support")]
    Unsupported(&'static str),
    #[error("the RDB data holds a value of the unknown type {0}")]
    UnknownType(u8),
    #[error("the RDB checksum is {found:016x} but the data gives {computed:016x}")]
    Checksum { found: u64, computed: u64 },
    #[error("the RDB data ends too early")]
    Truncated,
}

/// A version with the magic that it stands under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub valkey: bool,
    pub number: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magic = if self.valkey { "VALKEY" } else { "REDIS" };
        write!(f, "{} under the {magic} magic", self.number)
    }
}
