//! A client's session as a value: what the new primary must know to go on with a connection that
//! still ends at the old one.
//!
//! Takes and returns plain data; no I/O. It travels in both directions as the arguments of
//! `REDISHA SESSION`, field name and value in turn: from the old primary when it opens a relayed
//! session, and back when the node that ran it is no longer the primary and the session moves on.
//! Subscriptions are not part of it: the old primary goes on serving them from the replication
//! stream, so that no message comes twice.

use thiserror::Error;

/// One command with its arguments, as owned bytes.
pub type Argv = Vec<Vec<u8>>;

/// Everything about a connection that changes what its commands mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Session {
    /// The client's authenticated user; its rights apply to every relayed command.
    pub user: Vec<u8>,
    /// The selected database.
    pub db: usize,
    /// RESP version, 2 or 3.
    pub protocol: u8,
    /// `CLIENT SETNAME`, empty when none was given.
    pub name: Vec<u8>,
    /// The client's own address, `ip:port`, for `CLIENT LIST` and the log.
    pub address: Vec<u8>,
    /// An open `MULTI`.
    pub multi: Option<Multi>,
    /// The connection has watched keys. A watch cannot be carried, so `EXEC` answers null.
    pub watched: bool,
    /// `CLIENT REPLY`: which answers the client does not get.
    pub replies: Replies,
    /// A command that was blocked, or that arrived and was not executed.
    pub pending: Option<Pending>,
}

/// What `CLIENT REPLY` said last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    #[default]
    On,
    Off,
    /// The next command's answer is left out.
    SkipNext,
}

/// A transaction that has been opened and not yet executed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Multi {
    /// A command failed to queue, so that `EXEC` answers `EXECABORT`.
    pub aborted: bool,
    pub queue: Vec<Argv>,
}

/// A command that waits for its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pending {
    pub argv: Argv,
    /// `None` when it has not begun to run.
    pub wait: Option<Wait>,
}

/// How a blocked command stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// How long it has been blocked, in milliseconds: its place among the others that wait for the
    /// same key.
    pub since_ms: u64,
    /// How long it still waits, in milliseconds; `None` waits without end.
    pub left_ms: Option<u64>,
}

/// Why the arguments of `REDISHA SESSION` were refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SessionError {
    #[error("a session field has no value")]
    OddFields,
    #[error("the session field '{0}' is not known: the two nodes differ in version")]
    UnknownField(String),
    #[error("the session field '{0}' has a value that cannot be read")]
    BadValue(&'static str),
}

impl Session {
    /// The session as arguments, field name and value in turn; empty fields are left out.
    pub fn to_args(&self) -> Argv {
        let mut args = Argv::new();
        let mut put = |field: &str, value: &[u8]| {
            args.push(field.as_bytes().to_vec());
            args.push(value.to_vec());
        };
        put("user", &self.user);
        put("db", self.db.to_string().as_bytes());
        put("protocol", self.protocol.to_string().as_bytes());
        if !self.name.is_empty() {
            put("name", &self.name);
        }
        if !self.address.is_empty() {
            put("address", &self.address);
        }
        if self.watched {
            put("watched", b"1");
        }
        match self.replies {
            Replies::On => {}
            Replies::Off => put("replies", b"off"),
            Replies::SkipNext => put("replies", b"skip"),
        }
        if let Some(multi) = &self.multi {
            put("multi", if multi.aborted { b"aborted" } else { b"open" });
            for argv in &multi.queue {
                put("queued", &encode(argv));
            }
        }
        if let Some(pending) = &self.pending {
            if let Some(wait) = pending.wait {
                let left = wait.left_ms.map_or("-".to_owned(), |left| left.to_string());
                put("wait-ms", format!("{} {left}", wait.since_ms).as_bytes());
            }
            put("pending", &encode(&pending.argv));
        }
        args
    }

    /// Reads what [`Session::to_args`] wrote.
    pub fn from_args(args: &[&[u8]]) -> Result<Self, SessionError> {
        let mut session = Self { protocol: 2, ..Self::default() };
        let mut wait = None;
        for pair in args.chunks(2) {
            let [field, value] = *pair else { return Err(SessionError::OddFields) };
            match field {
                b"user" => session.user = value.to_vec(),
                b"db" => session.db = number(value, "db")?,
                b"protocol" => session.protocol = number(value, "protocol")?,
                b"name" => session.name = value.to_vec(),
                b"address" => session.address = value.to_vec(),
                b"watched" => session.watched = true,
                b"replies" => {
                    session.replies = match value {
                        b"off" => Replies::Off,
                        b"skip" => Replies::SkipNext,
                        _ => return Err(SessionError::BadValue("replies")),
                    };
                }
                b"multi" => {
                    let aborted = value == b"aborted";
                    session.multi = Some(Multi { aborted, queue: Vec::new() });
                }
                b"queued" => {
                    let multi = session.multi.as_mut().ok_or(SessionError::BadValue("queued"))?;
                    let argv = decode(value).filter(|argv| !argv.is_empty());
                    multi.queue.push(argv.ok_or(SessionError::BadValue("queued"))?);
                }
                b"wait-ms" => {
                    wait = Some(read_wait(value).ok_or(SessionError::BadValue("wait-ms"))?);
                }
                b"pending" => {
                    let argv = decode(value).filter(|argv| !argv.is_empty());
                    let argv = argv.ok_or(SessionError::BadValue("pending"))?;
                    session.pending = Some(Pending { argv, wait });
                }
                other => {
                    let name = String::from_utf8_lossy(other).into_owned();
                    return Err(SessionError::UnknownField(name));
                }
            }
        }
        Ok(session)
    }
}

fn read_wait(value: &[u8]) -> Option<Wait> {
    let (since, left) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let left_ms = if left == "-" { None } else { Some(left.parse().ok()?) };
    Some(Wait { since_ms: since.parse().ok()?, left_ms })
}

fn number<T: std::str::FromStr>(value: &[u8], field: &'static str) -> Result<T, SessionError> {
    std::str::from_utf8(value)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(SessionError::BadValue(field))
}

/// A command as RESP, the form in which it is sent.
pub fn encode(argv: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", argv.len()).into_bytes();
    for arg in argv {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Reads what [`encode`] wrote; `None` for anything else.
pub fn decode(mut bytes: &[u8]) -> Option<Argv> {
    let count = length(&mut bytes, b'*')?;
    let mut argv = Argv::new();
    for _ in 0..count {
        let size = length(&mut bytes, b'$')?;
        let arg = bytes.get(..size)?;
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
        argv.push(arg.to_vec());
    }
    bytes.is_empty().then_some(argv)
}

fn length(bytes: &mut &[u8], kind: u8) -> Option<usize> {
    let line_end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    let digits = bytes[..line_end].strip_prefix(&[kind])?;
    let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
    *bytes = &bytes[line_end + 2..];
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(session: &Session) {
        let args = session.to_args();
        let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        assert_eq!(Session::from_args(&args).as_ref(), Ok(session));
    }

    #[test]
    fn a_session_survives_its_journey() {
        check(&Session { protocol: 2, ..Session::default() });
        check(&Session {
            user: b"default".to_vec(),
            db: 3,
            protocol: 3,
            name: b"a \r\n name".to_vec(),
            address: b"10.0.0.1:999".to_vec(),
            multi: Some(Multi {
                aborted: true,
                queue: vec![vec![b"SET".to_vec(), b"k".to_vec(), b"\r\n\0".to_vec()]],
            }),
            watched: true,
            replies: Replies::SkipNext,
            pending: Some(Pending {
                argv: vec![b"BLPOP".to_vec(), b"k".to_vec()],
                wait: Some(Wait { since_ms: 17, left_ms: Some(4) }),
            }),
        });
        check(&Session {
            protocol: 3,
            replies: Replies::Off,
            pending: Some(Pending {
                argv: vec![b"BLPOP".to_vec()],
                wait: Some(Wait { since_ms: 0, left_ms: None }),
            }),
            ..Session::default()
        });
    }

    #[test]
    fn what_is_not_a_session_is_refused() {
        let check = |args: &[&[u8]], error| assert_eq!(Session::from_args(args), Err(error));
        check(&[b"db"], SessionError::OddFields);
        check(&[b"colour", b"blue"], SessionError::UnknownField("colour".into()));
        check(&[b"db", b"x"], SessionError::BadValue("db"));
        check(&[b"wait-ms", b"5"], SessionError::BadValue("wait-ms"));
        check(&[b"queued", b"*0\r\n"], SessionError::BadValue("queued"));
        check(&[b"pending", b"*1\r\n$9\r\nab\r\n"], SessionError::BadValue("pending"));
    }
}
