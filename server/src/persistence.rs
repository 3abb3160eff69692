//! How data leaves and enters the process as bytes: RDB files and DUMP payloads. Pure codecs;
//! files are the `disk` room's, sockets the `net` room's.

pub mod load;
pub mod rdb;
