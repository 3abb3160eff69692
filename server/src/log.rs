//! The server's log: one line for each message, in the forms of Valkey, whose readers find process,
//! role, time and level where they look for them. The messages are our own.
//!
//! A process has one log, which all of its threads write to. It goes to the standard error stream,
//! or to the end of `logfile`, which is opened for each line so that it may be moved away; and to
//! the system's log besides, with `syslog-enabled`. A line that cannot be written is lost: no
//! server ends because its log's disk is full. Times are those of UTC.

mod line;
mod syslog;

use std::fs::File;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::config::{Config, LogFormat, LogLevel, LogTimestamp};

use line::Line;
use syslog::Syslog;

/// What a message is worth. `loglevel` names the least one that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

impl Level {
    fn is_written(self, least: LogLevel) -> bool {
        // Both in the same order.
        self as u8 >= least as u8
    }
}

struct Log {
    least: LogLevel,
    format: LogFormat,
    timestamp: LogTimestamp,
    /// None is the standard error stream.
    file: Option<PathBuf>,
    syslog: Option<Syslog>,
    is_replica: bool,
}

static LOG: Mutex<Log> = Mutex::new(Log {
    least: LogLevel::Notice,
    format: LogFormat::Legacy,
    timestamp: LogTimestamp::Legacy,
    file: None,
    syslog: None,
    is_replica: false,
});

fn the_log() -> MutexGuard<'static, Log> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes up `logfile` and the directives of the system's log, which are fixed; a file's name is
/// relative to the working directory of now. Panics and what a library says go to the file, too.
/// Errors: the file cannot be written to.
pub fn start(config: &Config) -> io::Result<()> {
    configure(config);
    let mut log = the_log();
    if config.syslog_enabled {
        log.syslog = Syslog::new(config.syslog_facility, &config.syslog_ident).ok();
    }
    if config.logfile.is_empty() {
        return Ok(());
    }
    let path = std::path::absolute(&config.logfile)?;
    rustix::stdio::dup2_stderr(open(&path)?)?;
    log.file = Some(path);
    Ok(())
}

/// Takes up the directives that CONFIG SET may change.
pub fn configure(config: &Config) {
    let mut log = the_log();
    log.least = config.loglevel;
    log.format = config.log_format;
    log.timestamp = config.log_timestamp_format;
}

/// Lines tell this role from now on.
pub fn set_role(is_replica: bool) {
    the_log().is_replica = is_replica;
}

/// Writes a message, if `loglevel` lets it through.
pub fn write(level: Level, text: &str) {
    let log = the_log();
    if level.is_written(log.least) {
        log.put(level, text);
    }
}

/// Why the process ends: it is told whatever `loglevel` says.
pub fn write_last(text: &str) {
    the_log().put(Level::Warning, text);
}

impl Log {
    /// What fails here cannot be told anywhere.
    fn put(&self, level: Level, text: &str) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Line {
            pid: std::process::id(),
            is_replica: self.is_replica,
            unix_ms: since.as_millis() as u64,
            level,
            text,
        };
        let bytes = line.print(self.format, self.timestamp);
        let _ = match &self.file {
            None => io::stderr().write_all(bytes.as_bytes()),
            Some(path) => open(path).and_then(|mut file| file.write_all(bytes.as_bytes())),
        };
        if let Some(syslog) = &self.syslog {
            let _ = syslog.send(&line);
        }
    }
}

fn open(path: &std::path::Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_lets_through_what_is_worth_as_much() {
        let check = |least: LogLevel, expect: [bool; 4]| {
            let levels = [Level::Debug, Level::Verbose, Level::Notice, Level::Warning];
            assert_eq!(levels.map(|level| level.is_written(least)), expect, "{least:?}");
        };
        check(LogLevel::Debug, [true; 4]);
        check(LogLevel::Verbose, [false, true, true, true]);
        check(LogLevel::Notice, [false, false, true, true]);
        check(LogLevel::Warning, [false, false, false, true]);
        check(LogLevel::Nothing, [false; 4]);
    }
}
