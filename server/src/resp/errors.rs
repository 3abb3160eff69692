//! The wire texts of errors, in one place, and the type that handlers return.

use std::borrow::Cow;

/// An error reply without its leading `-`, for example `ERR syntax error`.
///
/// Handlers return it with `?`; the engine writes it as the command's reply. Line breaks in a
/// composed text are replaced when it is written, so no error can inject a second reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(pub Cow<'static, str>);

impl From<&'static str> for CommandError {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl From<String> for CommandError {
    fn from(text: String) -> Self {
        Self(Cow::Owned(text))
    }
}

pub const NOT_I32: &str =
    "ERR value is out of range, value must between -2147483648 and 2147483647";
pub const TOO_LONG: &str = "ERR Command arguments are too long";
pub const SYNTAX: &str = "ERR syntax error";
pub const WRONG_TYPE: &str = "WRONGTYPE Operation against a key holding the wrong kind of value";
pub const NOT_INTEGER: &str = "ERR value is not an integer or out of range";
pub const NOT_A_SCORE_RANGE: &str = "ERR min or max is not a float";
pub const NOT_FLOAT: &str = "ERR value is not a valid float";
pub const OVERFLOW: &str = "ERR increment or decrement would overflow";
pub const OUT_OF_RANGE: &str = "ERR value is out of range";
pub const NO_SUCH_KEY: &str = "ERR no such key";
pub const INDEX_OUT_OF_RANGE: &str = "ERR index out of range";
pub const DB_INDEX: &str = "ERR DB index is out of range";
pub const TIMEOUT: &str = "ERR timeout is not an integer or out of range";
pub const TIMEOUT_FLOAT: &str = "ERR timeout is not a float or out of range";
pub const TIMEOUT_RANGE: &str = "ERR timeout is out of range";
pub const TIMEOUT_NEGATIVE: &str = "ERR timeout is negative";
pub const NO_AUTH: &str = "NOAUTH Authentication required.";
pub const WRONG_PASS: &str = "WRONGPASS invalid username-password pair or user is disabled.";
pub const READ_ONLY: &str = "READONLY You can't write against a read only replica.";
pub const LOADING: &str = "LOADING Redis is loading the dataset in memory";
pub const MASTER_DOWN: &str =
    "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
/// The end of a blocking command whose server became a replica.
pub const UNBLOCKED: &str = "UNBLOCKED force unblock from blocking operation, \
     instance state changed (master -> replica?)";
pub const NO_LOCAL_FILES: &str =
    "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.";
pub const NO_REPLICAS: &str = "NOREPLICAS Not enough good replicas to write.";
pub const MISCONF: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist \
     to disk. Commands that may modify the data set are disabled, because this instance is \
     configured to report errors during writes if RDB snapshotting fails \
     (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
     error.";
pub const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
pub const BUSY_SCRIPT: &str = "BUSY Valkey is busy running a script. You can only call SCRIPT KILL or \
     SHUTDOWN NOSAVE.";
pub const BUSY_FUNCTION: &str = "BUSY Valkey is busy running a script. You can only call FUNCTION KILL \
     or SHUTDOWN NOSAVE.";
pub const EXEC_ABORT: &str = "EXECABORT Transaction discarded because of previous errors.";
pub const NO_PROTO: &str = "NOPROTO unsupported protocol version";
pub const STRING_TOO_LONG: &str = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";

pub fn wrong_arity(name: &str) -> CommandError {
    format!("ERR wrong number of arguments for '{name}' command").into()
}

pub fn invalid_expire(name: &str) -> CommandError {
    format!("ERR invalid expire time in '{name}' command").into()
}
