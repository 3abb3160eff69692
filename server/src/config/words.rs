//! The types of directives that are words, or lists of them, of their own kind.

use super::value::{Bytes, Int, Value, Words, choice};

choice! {
    /// Who may use something dangerous.
    Allowed {
        No = "no",
        Yes = "yes",
        Local = "local",
    }
}

impl Allowed {
    /// Whether a connection may, given that it comes from this machine.
    pub fn covers(self, local: bool) -> bool {
        self == Self::Yes || self == Self::Local && local
    }
}

choice! {
    /// How much is logged.
    LogLevel {
        Debug = "debug",
        Verbose = "verbose",
        Notice = "notice",
        Warning = "warning",
        Nothing = "nothing",
    }
}

choice! {
    /// The form of the log's lines.
    LogFormat {
        Legacy = "legacy",
        Logfmt = "logfmt",
        Json = "json",
    }
}

choice! {
    /// How the log's lines tell the time.
    LogTimestamp {
        Legacy = "legacy",
        Iso8601 = "iso8601",
        Milliseconds = "milliseconds",
    }
}

choice! {
    /// Which kind of program the system's log takes the server for.
    SyslogFacility {
        User = "user",
        Local0 = "local0",
        Local1 = "local1",
        Local2 = "local2",
        Local3 = "local3",
        Local4 = "local4",
        Local5 = "local5",
        Local6 = "local6",
        Local7 = "local7",
    }
}

impl SyslogFacility {
    /// Its number in the protocol (RFC 3164, 4.1.1).
    pub fn number(self) -> u8 {
        match self {
            Self::User => 1,
            local => 15 + local as u8,
        }
    }
}

choice! {
    /// Whether clients that come by TLS must show a certificate.
    AuthClients {
        No = "no",
        Yes = "yes",
        Optional = "optional",
    }
}

choice! {
    /// Whether the common name of a client's certificate is its user.
    AuthClientsUser {
        Cn = "CN",
        Uri = "URI",
        Off = "off",
    }
}

choice! {
    /// How the kernel's readiness to kill the process is set.
    OomScoreAdj {
        No = "no",
        Yes = "yes",
        Relative = "relative",
        Absolute = "absolute",
    }
}

choice! {
    PropagationError {
        Ignore = "ignore",
        Panic = "panic",
        PanicOnReplicas = "panic-on-replicas",
    }
}

choice! {
    RdbVersionCheck {
        Strict = "strict",
        Relaxed = "relaxed",
    }
}

choice! {
    Supervised {
        Upstart = "upstart",
        Systemd = "systemd",
        Auto = "auto",
        No = "no",
    }
}

/// Rights of a file, in octal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Octal(pub u32);

impl Value for Octal {
    fn parse(text: &str) -> Result<Self, String> {
        let number = u32::from_str_radix(text, 8)
            .map_err(|_| String::from("argument couldn't be parsed as an octal number"))?;
        if number > 0o777 {
            return Err("argument must be between 0 and 777 inclusive".into());
        }
        Ok(Self(number))
    }

    fn print(&self) -> String {
        format!("{:o}", self.0)
    }
}

/// A size, or a part of another one in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    Bytes(u64),
    Percent(u64),
}

impl Share {
    pub fn of(self, whole: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => whole / 100 * percent,
        }
    }
}

impl Value for Share {
    fn parse(text: &str) -> Result<Self, String> {
        const EXPECTED: &str = "argument must be a memory or percent value";
        if let Some(percent) = text.strip_suffix('%') {
            let percent = percent.parse().map_err(|_| EXPECTED)?;
            if percent > 100 {
                return Err("percentage argument must be less or equal to 100".into());
            }
            return Ok(Self::Percent(percent));
        }
        Bytes::parse(text).map(|bytes| Self::Bytes(bytes.0)).map_err(|_| EXPECTED.into())
    }

    fn print(&self) -> String {
        match self {
            Self::Bytes(bytes) => bytes.to_string(),
            Self::Percent(percent) => format!("{percent}%"),
        }
    }
}

/// Pairs of seconds and changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saves(pub Vec<String>);

impl Value for Saves {
    fn parse(text: &str) -> Result<Self, String> {
        let words: Vec<String> = text.split_whitespace().map(ToOwned::to_owned).collect();
        let valid = |(at, word): (usize, &String)| {
            word.parse::<i64>().is_ok_and(|number| number >= i64::from(at % 2 == 0))
        };
        if !words.len().is_multiple_of(2) || !words.iter().enumerate().all(valid) {
            return Err("Invalid save parameters".into());
        }
        Ok(Self(words))
    }

    fn print(&self) -> String {
        self.0.join(" ")
    }
}

/// Percentiles between 0 and 100.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Percentiles(pub Vec<f64>);

impl Percentiles {
    /// A percentile as it is printed: six digits behind the point at most, and no more than it needs.
    pub fn print_one(number: f64) -> String {
        let text = format!("{number:.6}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Value for Percentiles {
    fn parse(text: &str) -> Result<Self, String> {
        let each = text.split(' ').filter(|_| !text.is_empty()).map(|word| {
            let number = word.parse::<f64>().ok().filter(|number| !number.is_nan());
            let number = number.ok_or("Invalid latency-tracking-info-percentiles parameters")?;
            if (0.0..=100.0).contains(&number) {
                return Ok(number);
            }
            Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                .into())
        });
        each.collect::<Result<_, _>>().map(Self)
    }

    fn print(&self) -> String {
        self.0.iter().map(|number| Self::print_one(*number)).collect::<Vec<_>>().join(" ")
    }
}

/// The addresses that the server listens on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bind(pub Vec<String>);

/// Addresses that `bind` may name.
const ADDRESSES_MAX: usize = 16;

impl Value for Bind {
    fn parse(text: &str) -> Result<Self, String> {
        let words = Words::parse(text)?.0;
        if words.len() > ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".into());
        }
        Ok(Self(words))
    }

    fn print(&self) -> String {
        self.0.join(" ")
    }
}

/// How often a second background work is to be done, within what is sensible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hz(pub u32);

impl Value for Hz {
    fn parse(text: &str) -> Result<Self, String> {
        let Int(asked) = Int::<0, { i32::MAX as i64 }>::parse(text)?;
        Ok(Self(asked.clamp(1, 500) as u32))
    }

    fn print(&self) -> String {
        self.0.to_string()
    }
}

/// How a signal ends the server: `default`, or several of `save`, `nosave`, `now`, `force`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOn(pub Vec<String>);

impl ShutdownOn {
    pub fn has(&self, word: &str) -> bool {
        self.0.iter().any(|own| own == word)
    }
}

impl Value for ShutdownOn {
    fn parse(text: &str) -> Result<Self, String> {
        const KNOWN: [&str; 5] = ["default", "save", "nosave", "now", "force"];
        let words = Words::parse(&text.to_ascii_lowercase())?.0;
        if words.is_empty() || words.iter().any(|word| !KNOWN.contains(&word.as_str())) {
            return Err("argument(s) must be one of the following: default, save, nosave, now, \
                        force"
                .into());
        }
        // In this order, each once.
        let said = KNOWN.iter().filter(|known| words.iter().any(|word| word == *known));
        let own = Self(said.map(|known| (*known).to_owned()).collect());
        if own.has("save") && own.has("nosave") || own.has("default") && own.0.len() > 1 {
            return Err("Invalid combination of shutdown flags".into());
        }
        Ok(own)
    }

    fn print(&self) -> String {
        self.0.join(" ")
    }
}

/// A directive that has no other value here.
#[derive(Clone, Copy, Debug)]
pub struct Empty;

impl Value for Empty {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(Self) } else { Err("only an empty value is supported".into()) }
    }

    fn print(&self) -> String {
        String::new()
    }
}

/// How readily the kernel should kill a primary, a replica and a child process.
#[derive(Clone, Copy, Debug)]
pub struct OomScores(pub [i32; 3]);

impl Value for OomScores {
    fn parse(text: &str) -> Result<Self, String> {
        let scores: Vec<i32> = text
            .split_whitespace()
            .map(|word| word.parse().ok().filter(|score| (-2000..=2000).contains(score)))
            .collect::<Option<_>>()
            .ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        scores.try_into().map(Self).map_err(|_| "wrong number of arguments".into())
    }

    fn print(&self) -> String {
        self.0.map(|score| score.to_string()).join(" ")
    }
}
