//! The configuration: redis.conf's directives, from a file, the command line and CONFIG SET.
//!
//! One table, [`DIRECTIVES`], says for each directive its name, default and whether CONFIG SET
//! may change it; the fields of [`Config`] are made from the same list. Pure, but for
//! [`file::load`], which reads the file and those that it includes.

mod events;
pub mod file;
mod files;
mod table;
mod value;
mod words;

pub use events::EventClasses;
pub use files::{DisklessLoad, Fsync};
pub use table::{ALIASES, Config, DIRECTIVES, Directive};
pub use value::{
    Bytes, MaxmemoryPolicy, OutputLimit, OutputLimits, PubSubDefault, RedirectMode, Value, Words,
};
pub use words::{
    Allowed, AuthClients, AuthClientsUser, LogFormat, LogLevel, LogTimestamp, OomScoreAdj,
    Percentiles, PropagationError, RdbVersionCheck, Share, ShutdownOn, SyslogFacility,
};

/// Why a directive was not accepted; one line, without the directive's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("unknown directive '{0}'")]
    Unknown(String),
    #[error("bad value for '{name}': {why}")]
    Value { name: String, why: String },
    #[error("cannot read {path}: {why}")]
    File { path: String, why: String },
    #[error("{path}:{line}: {source}")]
    Line { path: String, line: usize, source: Box<ConfigError> },
    #[error("unbalanced quotes")]
    Quotes,
    #[error("includes are nested too deeply")]
    Nesting,
}

impl Config {
    /// The port at which others reach this server: that of TLS if they speak it among themselves.
    pub fn announced_port(&self) -> u16 {
        match self.replica_announce_port {
            0 if self.tls_replication && self.tls_port != 0 => self.tls_port,
            0 => self.port,
            port => port,
        }
    }

    /// Sets a directive by its name, in any case.
    pub fn set(&mut self, name: &str, value: &str) -> Result<(), ConfigError> {
        let name = name.to_ascii_lowercase();
        let row = find(&name).ok_or_else(|| ConfigError::Unknown(name.clone()))?;
        (row.set)(self, value).map_err(|why| ConfigError::Value { name, why })
    }

    pub fn get(&self, name: &str) -> Option<String> {
        find(&name.to_ascii_lowercase()).map(|row| (row.get)(self))
    }
}

/// The row of a directive by its lower-case name or one of its older names.
pub fn find(name: &str) -> Option<&'static Directive> {
    let alias = ALIASES.iter().find(|(old, _)| *old == name);
    let name = alias.map_or(name, |(_, present)| *present);
    DIRECTIVES.iter().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str, expect: Result<&str, &str>) {
        let mut config = Config::default();
        let got = config.set(name, value).map(|()| config.get(name).expect(name));
        assert_eq!(
            got.as_deref().map_err(ToString::to_string),
            expect.map_err(ToOwned::to_owned),
            "{name} {value}"
        );
    }

    #[test]
    fn values() {
        check("port", "7000", Ok("7000"));
        check(
            "PORT",
            "70000",
            Err("bad value for 'port': argument must be between 0 and 65535 inclusive"),
        );
        check("maxmemory", "2gb", Ok("2147483648"));
        check("maxmemory", "2x", Err("bad value for 'maxmemory': argument must be a memory value"));
        check(
            "replica-read-only",
            "maybe",
            Err("bad value for 'replica-read-only': argument must be 'yes' or 'no'"),
        );
        check("no-such", "1", Err("unknown directive 'no-such'"));
        check("redirect-mode", "error", Ok("error"));
        check("bind", "127.0.0.1 ::1", Ok("127.0.0.1 ::1"));
        check(
            "bind",
            &["::1"; 17].join(" "),
            Err("bad value for 'bind': Too many bind addresses specified."),
        );
        check("hz", "0", Ok("1"));
        check("hz", "501", Ok("500"));
        check("hz", "100", Ok("100"));
        let why = "bad value for 'hz': argument must be between 0 and 2147483647 inclusive";
        check("hz", "-1", Err(why));
        check("hz", "2147483648", Err(why));
    }

    /// Texts that are no number were refused as numbers that are too large, and what was taken was
    /// printed with all of its digits.
    #[test]
    fn percentiles() {
        const NAME: &str = "latency-tracking-info-percentiles";
        let refused = |why: &str| format!("bad value for '{NAME}': {why}");
        let invalid = refused("Invalid latency-tracking-info-percentiles parameters");
        let beyond =
            refused("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]");
        check(NAME, "50.0 99.990 1e1 0.1234567", Ok("50 99.99 10 0.123457"));
        check(NAME, "", Ok(""));
        check(NAME, "0 100", Ok("0 100"));
        for text in ["x", "50 x", "nan", "0x10", " 5 "] {
            check(NAME, text, Err(&invalid));
        }
        for text in ["-1", "101", "50 100.5"] {
            check(NAME, text, Err(&beyond));
        }
    }

    #[test]
    fn every_default_reads_back_as_itself() {
        let config = Config::default();
        for row in DIRECTIVES {
            let mut again = Config::default();
            let text = (row.get)(&config);
            (row.set)(&mut again, &text).unwrap_or_else(|why| panic!("{}: {why}", row.name));
            assert_eq!((row.get)(&again), text, "{}", row.name);
        }
    }
}
