//! The system's log: a datagram for each message, in the form that `syslog` has on every Unix.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use crate::config::SyslogFacility;

use super::Level;
use super::line::Line;

/// Where the system's log listens.
const SOCKET: &str = "/dev/log";

/// The way to the system's log. It is sent to by name each time, since its listener may be another
/// one by then.
pub struct Syslog {
    socket: UnixDatagram,
    path: PathBuf,
    facility: SyslogFacility,
    ident: String,
}

impl Syslog {
    pub fn new(facility: SyslogFacility, ident: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A listener that does not read must not stop the server.
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path: SOCKET.into(), facility, ident: ident.to_owned() })
    }

    pub fn send(&self, line: &Line<'_>) -> io::Result<()> {
        let severity = match line.level {
            Level::Debug => 7,
            Level::Verbose => 6,
            Level::Notice => 5,
            Level::Warning => 4,
        };
        let text = format!(
            "<{}>{} {}[{}]: {}",
            self.facility.number() * 8 + severity,
            line.syslog_time(),
            self.ident,
            line.pid,
            line.plain()
        );
        self.socket.send_to(text.as_bytes(), &self.path).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_datagram_with_its_priority() {
        let path = std::env::temp_dir().join(format!("redisha-syslog-{}", std::process::id()));
        let listener = UnixDatagram::bind(&path).unwrap();
        let mut syslog = Syslog::new(SyslogFacility::Local3, "cache").unwrap();
        syslog.path.clone_from(&path);
        let line = |level, text| Line {
            pid: 7,
            is_replica: false,
            unix_ms: 1_794_128_700_000, // 8 November 2026, 09:05
            level,
            text,
        };
        let check = |level, text, expect: &str| {
            syslog.send(&line(level, text)).unwrap();
            let mut bytes = [0; 256];
            let length = listener.recv(&mut bytes).unwrap();
            assert_eq!(std::str::from_utf8(&bytes[..length]).unwrap(), expect);
        };
        check(Level::Warning, "disk\nfull", "<156>Nov  8 09:05:00 cache[7]: disk full");
        check(Level::Debug, "x", "<159>Nov  8 09:05:00 cache[7]: x");
        drop(listener);
        std::fs::remove_file(&path).unwrap();
        assert!(syslog.send(&line(Level::Notice, "nobody listens")).is_err());
    }
}
