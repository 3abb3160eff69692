//! The second connection to the source: what it is told and asked in its own words, and what its
//! answers mean.

use std::collections::VecDeque;

use crate::resp::encode_command;
use crate::secret::Secret;
use crate::tls::Given;

/// Answers nested deeper than this are no answers to what is asked here.
const DEPTH_MAX: usize = 4;
/// No answer to what is asked here is longer, in bytes.
const ANSWER_MAX: usize = 1024 * 1024;
/// How long a source that is left paused stays so, in milliseconds: as long as a pause can be.
const FOREVER_MS: u64 = 9_000_000_000_000;

/// The server that the data come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    pub host: String,
    pub port: u16,
    /// User (none for the old one-argument form) and password.
    pub auth: Option<(Option<String>, Secret)>,
    /// How it is spoken to by TLS; in the clear, if nothing says so.
    pub tls: Option<Given>,
}

impl Source {
    /// Whether it cannot be spoken to by what the log tells alone.
    pub fn wants_login(&self) -> bool {
        self.auth.is_some() || self.tls.is_some()
    }
}

/// What becomes of the source after the cut-over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leave {
    /// Its writes stay paused.
    Paused,
    /// It leads its clients to this address: by a redirect if it knows one, else as a replica.
    Redirecting { host: String, port: u16, auth: Option<(String, Secret)> },
}

impl Leave {
    /// It leads its clients here, by whatever it knows.
    pub fn redirects(&self) -> bool {
        matches!(self, Self::Redirecting { .. })
    }
}

/// What was asked of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Login,
    /// How far it is.
    Role,
    Pause,
    /// To redirect its clients.
    Redirect,
    /// To hold its writes for good.
    Hold,
    /// To follow, from a source that cannot redirect; what must be set for that may fail.
    Follow,
    Setting,
    Unpause,
}

/// What the source answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is a primary and its stream is at this offset.
    Primary(u64),
    /// It follows another server.
    Replica,
    Done(Asked),
    Refused(Asked, String),
}

/// The second connection to the source.
#[derive(Debug, Default)]
pub struct Control {
    awaited: VecDeque<Asked>,
    input: Vec<u8>,
    answered: bool,
}

impl Control {
    /// Whether anything was answered on this connection.
    pub fn was_answered(&self) -> bool {
        self.answered
    }

    /// Introduces this node on a new connection.
    pub fn connected(&mut self, source: &Source, out: &mut Vec<u8>) {
        *self = Self::default();
        match &source.auth {
            Some((Some(user), password)) => {
                self.ask(Asked::Login, &[b"AUTH", user.as_bytes(), password], out);
            }
            Some((None, password)) => self.ask(Asked::Login, &[b"AUTH", password], out),
            None => {}
        }
        self.ask(Asked::Role, &[b"ROLE"], out);
    }

    /// Asks how far the source is, unless that is asked already.
    pub fn ask_role(&mut self, out: &mut Vec<u8>) {
        if !self.awaited.contains(&Asked::Role) {
            self.role(out);
        }
    }

    /// Asks how far the source is from now on.
    pub fn role(&mut self, out: &mut Vec<u8>) {
        self.ask(Asked::Role, &[b"ROLE"], out);
    }

    /// Holds the source's writes, and asks how far it is then.
    pub fn pause(&mut self, timeout_ms: u64, out: &mut Vec<u8>) {
        let timeout = timeout_ms.to_string();
        self.ask(Asked::Pause, &[b"CLIENT", b"PAUSE", timeout.as_bytes(), b"WRITE"], out);
        self.ask(Asked::Role, &[b"ROLE"], out);
    }

    pub fn unpause(&mut self, out: &mut Vec<u8>) {
        self.ask(Asked::Unpause, &[b"CLIENT", b"UNPAUSE"], out);
    }

    /// Has the source take writes again, whatever it was told; `redirects`: it may send its clients
    /// elsewhere, which a stock server does not know.
    pub fn give_back(&mut self, redirects: bool, out: &mut Vec<u8>) {
        if redirects {
            self.ask(Asked::Unpause, &[b"CLIENT", b"FORCE", b"REDIRECT", b"OFF"], out);
        }
        self.unpause(out);
    }

    /// Has the source send its clients to this address: by errors, since a server outside is not
    /// trusted with sessions for other clients.
    pub fn redirect(&mut self, host: &str, port: u16, out: &mut Vec<u8>) {
        let port = port.to_string();
        let words: [&[u8]; 6] =
            [b"CLIENT", b"FORCE", b"REDIRECT", host.as_bytes(), port.as_bytes(), b"ERROR"];
        self.ask(Asked::Redirect, &words, out);
    }

    /// Holds the source's writes for good.
    pub fn hold(&mut self, out: &mut Vec<u8>) {
        let forever = FOREVER_MS.to_string();
        self.ask(Asked::Hold, &[b"CLIENT", b"PAUSE", forever.as_bytes(), b"WRITE"], out);
    }

    /// Has a source that cannot redirect follow this `RedisHA`: a Valkey leads clients that ask for
    /// it on from there, and all others can at least read.
    pub fn follow(
        &mut self,
        host: &str,
        port: u16,
        auth: Option<&(String, Secret)>,
        out: &mut Vec<u8>,
    ) {
        if let Some((user, password)) = auth {
            for (name, value) in [("masteruser", user.as_bytes()), ("masterauth", password)] {
                let words = [b"CONFIG", b"SET".as_slice(), name.as_bytes(), value];
                self.ask(Asked::Setting, &words, out);
            }
        }
        let port = port.to_string();
        self.ask(Asked::Follow, &[b"REPLICAOF", host.as_bytes(), port.as_bytes()], out);
    }

    fn ask(&mut self, what: Asked, parts: &[&[u8]], out: &mut Vec<u8>) {
        encode_command(out, parts.iter().copied());
        self.awaited.push_back(what);
    }

    /// Takes bytes and gives what they say, in order.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Told>, String> {
        self.input.extend_from_slice(bytes);
        let mut told = Vec::new();
        while let Some(length) = length(&self.input, 0)? {
            let answer: Vec<u8> = self.input.drain(..length).collect();
            let asked = self.awaited.pop_front().ok_or("an answer that nobody asked for")?;
            self.answered = true;
            told.push(read(asked, &answer));
        }
        if self.input.len() > ANSWER_MAX {
            return Err("an answer without end".into());
        }
        Ok(told)
    }
}

fn read(asked: Asked, answer: &[u8]) -> Told {
    if let Some(error) = answer.strip_prefix(b"-") {
        return Told::Refused(asked, String::from_utf8_lossy(error.trim_ascii_end()).into_owned());
    }
    if asked != Asked::Role {
        return Told::Done(asked);
    }
    // *3 $6 master :OFFSET *N …; a replica begins with its own word.
    let mut lines = answer.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let role = lines.nth(2).unwrap_or_default();
    let offset = lines.next().and_then(|line| line.strip_prefix(b":"));
    let offset = offset.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    match (role, offset) {
        (b"master", Some(offset)) => Told::Primary(offset),
        (b"slave", _) => Told::Replica,
        _ => Told::Refused(asked, "ROLE was answered strangely".into()),
    }
}

/// How many bytes the first answer has; `None` if its end is not there yet.
fn length(bytes: &[u8], depth: usize) -> Result<Option<usize>, String> {
    if depth > DEPTH_MAX {
        return Err("an answer that is nested too deeply".into());
    }
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let head = end + 2;
    let count = || -> Result<usize, String> {
        let text = std::str::from_utf8(&bytes[1..end]).map_err(|_| "no number")?;
        let count: i64 = text.parse().map_err(|_| format!("no number: {text}"))?;
        Ok(usize::try_from(count).unwrap_or(0))
    };
    match bytes[0] {
        b'+' | b'-' | b':' => Ok(Some(head)),
        b'$' if &bytes[1..end] == b"-1" => Ok(Some(head)),
        b'$' => {
            let whole = head.saturating_add(count()?).saturating_add(2);
            Ok((bytes.len() >= whole).then_some(whole))
        }
        b'*' => {
            let mut at = head;
            for _ in 0..count()? {
                match length(&bytes[at..], depth + 1)? {
                    Some(part) => at += part,
                    None => return Ok(None),
                }
            }
            Ok(Some(at))
        }
        other => Err(format!("no answer begins with {:?}", char::from(other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(how: impl Fn(&mut Control, &mut Vec<u8>)) -> (Control, String) {
        let (mut control, mut out) = (Control::default(), Vec::new());
        how(&mut control, &mut out);
        let text = String::from_utf8(out).expect("ascii");
        let words = text.split("\r\n").filter(|word| !word.starts_with(['*', '$']));
        (control, words.collect::<Vec<_>>().join(" ").trim().to_owned())
    }

    #[test]
    fn answers_are_read_in_whatever_pieces_they_come() {
        let bytes =
            b"+OK\r\n*3\r\n$6\r\nmaster\r\n:77\r\n*1\r\n*3\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\n5\r\n\
                      -ERR unknown subcommand\r\n";
        let expect = [
            Told::Done(Asked::Pause),
            Told::Primary(77),
            Told::Refused(Asked::Hold, "ERR unknown subcommand".into()),
        ];
        for piece in 1..bytes.len() {
            let (mut control, _) = asked(|control, out| {
                control.pause(1000, out);
                control.hold(out);
            });
            let mut told = Vec::new();
            for part in bytes.chunks(piece) {
                told.extend(control.receive(part).expect("they are answers"));
            }
            assert_eq!(told, expect, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for bytes in [b"hello\r\n".as_slice(), b"+OK\r\n", b"*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"]
        {
            assert!(Control::default().receive(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        let (mut control, _) = asked(Control::ask_role);
        let replica = b"*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$4\r\nsync\r\n:-1\r\n";
        assert_eq!(control.receive(replica), Ok(vec![Told::Replica]));
    }

    #[test]
    fn the_source_is_told_in_its_own_words() {
        let source =
            Source { auth: Some((Some("u".into()), b"p".as_slice().into())), ..Source::default() };
        let said = asked(|control, out| control.connected(&source, out)).1;
        assert_eq!(said, "AUTH u p ROLE");
        let said = asked(|control, out| control.redirect("cache", 6379, out)).1;
        assert_eq!(said, "CLIENT FORCE REDIRECT cache 6379 ERROR");
        let said = asked(|control, out| control.give_back(true, out)).1;
        assert_eq!(said, "CLIENT FORCE REDIRECT OFF CLIENT UNPAUSE");
        let auth = ("default".to_owned(), b"word".as_slice().into());
        let said = asked(|control, out| control.follow("cache", 6379, Some(&auth), out)).1;
        assert_eq!(
            said,
            "CONFIG SET masteruser default CONFIG SET masterauth word REPLICAOF cache 6379"
        );
    }
}
