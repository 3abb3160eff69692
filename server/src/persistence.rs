//! How data leaves and enters the process as bytes: RDB files, append-only files and DUMP
//! payloads. Pure codecs; files are the `disk` room's, sockets the `net` room's.

pub mod aof;
pub mod load;
pub mod rdb;
