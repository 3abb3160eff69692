//! How a message is printed as a line. Pure.

use std::fmt::Write as _;

use crate::config::{LogFormat, LogTimestamp};

use super::Level;

/// Characters of a message that are kept.
const KEPT: usize = 1024;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// A message and what is told with it.
pub struct Line<'a> {
    pub pid: u32,
    pub is_replica: bool,
    /// Milliseconds since 1970.
    pub unix_ms: u64,
    pub level: Level,
    pub text: &'a str,
}

impl Line<'_> {
    /// The line with its end. Whatever the message holds, it is one line, and in `logfmt` and JSON
    /// one field.
    pub fn print(&self, format: LogFormat, timestamp: LogTimestamp) -> String {
        let Self { pid, is_replica, level, .. } = *self;
        let time = print_time(self.unix_ms, timestamp);
        let role = if is_replica { "replica" } else { "primary" };
        let name = match level {
            Level::Debug => "debug",
            Level::Verbose => "info",
            Level::Notice => "notice",
            Level::Warning => "warning",
        };
        match format {
            LogFormat::Legacy => {
                let role = if is_replica { 'S' } else { 'M' };
                let sign = match level {
                    Level::Debug => '.',
                    Level::Verbose => '-',
                    Level::Notice => '*',
                    Level::Warning => '#',
                };
                format!("{pid}:{role} {time} {sign} {}\n", self.plain())
            }
            LogFormat::Logfmt => {
                let text = self.plain().replace('"', "'");
                format!(
                    "pid={pid} role={role} timestamp=\"{time}\" level={name} message=\"{text}\"\n"
                )
            }
            LogFormat::Json => {
                let text = self.escaped();
                format!(
                    "{{\"pid\":{pid},\"role\":\"{role}\",\"timestamp\":\"{time}\",\
                     \"level\":\"{name}\",\"message\":\"{text}\"}}\n"
                )
            }
        }
    }

    /// The time as the system's log has it: `Nov  8 09:05:00`.
    pub fn syslog_time(&self) -> String {
        let (_, month, day) = date(self.unix_ms);
        format!("{} {day:2} {}", MONTHS[month - 1], clock(self.unix_ms))
    }

    fn kept(&self) -> impl Iterator<Item = char> {
        self.text.chars().take(KEPT)
    }

    /// The message without control characters.
    pub fn plain(&self) -> String {
        self.kept().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
    }

    /// The message as the inside of a JSON string.
    fn escaped(&self) -> String {
        let mut text = String::new();
        for letter in self.kept() {
            match letter {
                '"' | '\\' => text.extend(['\\', letter]),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                other if other.is_control() => {
                    write!(text, "\\u{:04x}", u32::from(other)).expect("a string takes everything");
                }
                other => text.push(other),
            }
        }
        text
    }
}

fn print_time(unix_ms: u64, timestamp: LogTimestamp) -> String {
    let (year, month, day) = date(unix_ms);
    let (clock, ms) = (clock(unix_ms), unix_ms % 1000);
    match timestamp {
        LogTimestamp::Legacy => {
            format!("{day:02} {} {year} {clock}.{ms:03}", MONTHS[month - 1])
        }
        LogTimestamp::Iso8601 => format!("{year}-{month:02}-{day:02}T{clock}.{ms:03}+00:00"),
        LogTimestamp::Milliseconds => unix_ms.to_string(),
    }
}

fn clock(unix_ms: u64) -> String {
    let s = unix_ms / 1000;
    format!("{:02}:{:02}:{:02}", s / 3600 % 24, s / 60 % 60, s % 60)
}

/// Year, month and day of the Gregorian calendar.
fn date(unix_ms: u64) -> (u64, usize, u64) {
    let mut days = unix_ms / 86_400_000;
    let mut year = 1970;
    let is_leap =
        |year: u64| year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400);
    loop {
        let length = 365 + u64::from(is_leap(year));
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 28 November 2026, 08:59:17.444 of UTC.
    const THEN: u64 = 1_795_856_357_444;

    #[test]
    fn lines_have_valkey_s_forms() {
        use {LogFormat as F, LogTimestamp as T};
        let check = |format, timestamp, is_replica, level, text: &str, expect: &str| {
            let line = Line { pid: 18498, is_replica, unix_ms: THEN, level, text };
            assert_eq!(line.print(format, timestamp), format!("{expect}\n"));
        };
        check(
            F::Legacy,
            T::Legacy,
            false,
            Level::Warning,
            "a \"b\"\r\nc",
            "18498:M 28 Nov 2026 08:59:17.444 # a \"b\"  c",
        );
        check(
            F::Legacy,
            T::Iso8601,
            true,
            Level::Debug,
            "é",
            "18498:S 2026-11-28T08:59:17.444+00:00 . é",
        );
        check(F::Legacy, T::Milliseconds, true, Level::Notice, "", "18498:S 1795856357444 * ");
        check(
            F::Logfmt,
            T::Legacy,
            true,
            Level::Verbose,
            "a \"b\" = \\\n",
            "pid=18498 role=replica timestamp=\"28 Nov 2026 08:59:17.444\" level=info \
             message=\"a 'b' = \\ \"",
        );
        check(
            F::Json,
            T::Milliseconds,
            false,
            Level::Warning,
            "a \"b\" = \\ c\n\td é \u{1}\r",
            "{\"pid\":18498,\"role\":\"primary\",\"timestamp\":\"1795856357444\",\
             \"level\":\"warning\",\"message\":\"a \\\"b\\\" = \\\\ c\\n\\td é \\u0001\\r\"}",
        );
    }

    #[test]
    fn a_long_message_is_cut() {
        let text = "é".repeat(5000);
        let line =
            Line { pid: 1, is_replica: false, unix_ms: THEN, level: Level::Notice, text: &text };
        assert_eq!(line.plain().chars().count(), KEPT);
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        let check = |days: u64, expect: (u64, usize, u64)| {
            assert_eq!(date(days * 86_400_000), expect, "{days}");
            assert_eq!(date(days * 86_400_000 + 86_399_999), expect, "{days}");
        };
        check(0, (1970, 1, 1));
        check(58, (1970, 2, 28));
        check(59, (1970, 3, 1));
        check(11_016, (2000, 2, 29));
        check(20_513, (2026, 3, 1));
        check(20_819, (2027, 1, 1));
        check(47_540, (2100, 2, 28));
        check(47_541, (2100, 3, 1));
    }
}
