//! The replica's side: shaking hands with a primary and receiving its data. Pure: bytes and time
//! go in, [`Action`]s come out; the stream itself is [`super::Stream`]'s.
//!
//! ```text
//! Waiting ─ Connecting ─ Greeting ─ Asking ─┬─ Loading ─┬─ Streaming
//!    └───────────── any failure ────────────┴───────────┘
//! ```
//! The present data stays in place and in use until a full resync is complete: only then are the
//! new data, id and offset handed over together ([`Action::Loaded`]).

use std::collections::VecDeque;

use super::STREAM_LEVEL;
use super::history::ReplId;
use super::loader::Loader;
use crate::persistence::load::Template;
use crate::resp::encode_command;
use crate::secret::Secret;

pub use super::loader::Loaded;

/// A primary that sends no line end for so long a first line is none.
const LINE_MAX: usize = 64 * 1024;
/// The version of Valkey whose snapshots are read here, as primaries are told.
const READS_AS: &str = "9.0.0";
/// The wait after the first failure, and the greatest one.
const RETRY_MIN_MS: u64 = 100;
const RETRY_MAX_MS: u64 = 1000;

/// What the handshake needs to know of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkConfig {
    pub host: String,
    pub port: u16,
    /// The port that this node announces to its primary.
    pub listening_port: u16,
    /// The address that it announces, if it is not to be the connection's own.
    pub announce_ip: String,
    /// User (none for the old one-argument form) and password.
    pub auth: Option<(Option<String>, Secret)>,
    /// Set between members: the arguments of `REPLCONF redisha-member`.
    pub member: Option<[String; 4]>,
    /// The other side is this node's replica, and asked to take over.
    pub failover: bool,
    pub timeout_ms: u64,
}

/// Where the link is.
#[derive(Debug)]
pub enum LinkState {
    /// Not connected; to be opened at this time of the monotonic clock.
    Waiting {
        until_ms: u64,
    },
    Connecting,
    /// Answers to the introduction are awaited.
    Greeting {
        awaited: VecDeque<Greeting>,
    },
    /// The answer to PSYNC is awaited.
    Asking,
    /// A full resync is being received.
    Loading(Box<Loader>),
    Streaming,
}

/// A command of the introduction whose answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Greeting {
    Auth,
    Ping,
    /// An answer that is an error changes nothing: older primaries do not know it.
    Optional,
    Member,
}

/// What is to be done after bytes or time.
#[derive(Debug)]
pub enum Action {
    /// Open the connection.
    Connect,
    /// Another member has accepted the introduction; its words after `+OK `.
    Greeted(String),
    /// Write these bytes to the primary.
    Send(Vec<u8>),
    /// The present data is a prefix of the primary's: go on from it, under that id if it is new.
    Continue(Option<ReplId>),
    /// A full resync has begun; the present data stays until it is complete.
    LoadBegins,
    /// Replace the data.
    Loaded(Box<Loaded>),
    /// Bytes of the stream that came along.
    Stream(Vec<u8>),
    /// PSYNC was refused; otherwise as [`Action::Fail`].
    Refused(String),
    /// Close the connection; the link waits and tries again. The text is for the log.
    Fail(String),
}

/// The link of a replica to its primary.
#[derive(Debug)]
pub struct Link {
    pub config: LinkConfig,
    pub state: LinkState,
    template: Template,
    /// Bytes of an answer whose line end has not come yet.
    line: Vec<u8>,
    /// What PSYNC asks to go on from.
    have: Option<(ReplId, u64)>,
    heard_ms: u64,
    failures: u32,
    /// Why the last attempt failed.
    pub last_error: String,
    /// When the stream was last lost; for INFO.
    pub down_since_ms: Option<u64>,
}

impl Link {
    /// A link that wants to connect at once.
    pub fn new(config: LinkConfig, template: Template, now_ms: u64) -> Self {
        Self {
            config,
            state: LinkState::Waiting { until_ms: now_ms },
            template,
            line: Vec::new(),
            have: None,
            heard_ms: now_ms,
            failures: 0,
            last_error: String::new(),
            down_since_ms: Some(now_ms),
        }
    }

    pub fn is_streaming(&self) -> bool {
        matches!(self.state, LinkState::Streaming)
    }

    /// The word that REDISHA STATUS shows.
    pub fn word(&self) -> &'static str {
        match self.state {
            LinkState::Streaming => "up",
            LinkState::Asking | LinkState::Loading(_) => "syncing",
            LinkState::Connecting | LinkState::Greeting { .. } => "connecting",
            LinkState::Waiting { .. } => "down",
        }
    }

    /// The word that ROLE shows.
    pub fn role_word(&self) -> &'static str {
        match self.state {
            LinkState::Waiting { .. } => "connect",
            LinkState::Connecting => "connecting",
            LinkState::Greeting { .. } | LinkState::Asking => "handshake",
            LinkState::Loading(_) => "sync",
            LinkState::Streaming => "connected",
        }
    }

    /// Milliseconds since the primary was last heard.
    pub fn silence_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms)
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) -> Option<Action> {
        if let LinkState::Waiting { until_ms } = self.state {
            if now_ms < until_ms {
                return None;
            }
            self.state = LinkState::Connecting;
            self.heard_ms = now_ms;
            return Some(Action::Connect);
        }
        if self.silence_ms(now_ms) > self.config.timeout_ms {
            return Some(Action::Fail("timeout: the primary is silent".into()));
        }
        None
    }

    /// The connection is gone, or was given up. Answers when to call [`Self::tick`] next.
    pub fn failed(&mut self, why: String, now_ms: u64) -> u64 {
        if self.is_streaming() {
            self.failures = 0;
        }
        self.down_since_ms.get_or_insert(now_ms);
        self.last_error = why;
        let wait = RETRY_MIN_MS << self.failures.min(4);
        self.failures += 1;
        let until_ms = now_ms + wait.min(RETRY_MAX_MS);
        self.state = LinkState::Waiting { until_ms };
        self.line.clear();
        until_ms
    }

    /// The connection stands: introduces this node. `have` is the point to go on from, if any.
    pub fn connected(&mut self, have: Option<(ReplId, u64)>, now_ms: u64) -> Action {
        self.have = have;
        self.heard_ms = now_ms;
        let mut out = Vec::new();
        let mut awaited = VecDeque::new();
        let mut say = |kind, parts: &[&[u8]]| {
            encode_command(&mut out, parts.iter().copied());
            awaited.push_back(kind);
        };
        match &self.config.auth {
            Some((Some(user), password)) => {
                say(Greeting::Auth, &[b"AUTH", user.as_bytes(), password]);
            }
            Some((None, password)) => say(Greeting::Auth, &[b"AUTH", password]),
            None => {}
        }
        say(Greeting::Ping, &[b"PING"]);
        let port = self.config.listening_port.to_string();
        say(Greeting::Optional, &[b"REPLCONF", b"listening-port", port.as_bytes()]);
        if !self.config.announce_ip.is_empty() {
            let ip = self.config.announce_ip.as_bytes();
            say(Greeting::Optional, &[b"REPLCONF", b"ip-address", ip]);
        }
        let level = format!("redisha-level-{STREAM_LEVEL}");
        // Who has no password yet may say ten words at once, here as in Valkey.
        for abilities in
            [["eof", "psync2", "redisha-scripts", "redisha-relay"].as_slice(), &[&level]]
        {
            let words = abilities.iter().flat_map(|one| [b"capa".as_slice(), one.as_bytes()]);
            let words: Vec<&[u8]> = std::iter::once(b"REPLCONF".as_slice()).chain(words).collect();
            say(Greeting::Optional, &words);
        }
        // Valkey sends expiry times of fields only to whom it knows to read them.
        say(Greeting::Optional, &[b"REPLCONF", b"version", READS_AS.as_bytes()]);
        if let Some([uid, own, target, epoch]) = &self.config.member {
            let words: Vec<&[u8]> = vec![
                b"REPLCONF",
                b"redisha-member",
                uid.as_bytes(),
                own.as_bytes(),
                target.as_bytes(),
                epoch.as_bytes(),
            ];
            say(Greeting::Member, &words);
        }
        self.state = LinkState::Greeting { awaited };
        Action::Send(out)
    }

    /// Bytes arrived and the link is not streaming.
    pub fn receive(&mut self, bytes: &[u8], now_ms: u64) -> Vec<Action> {
        self.heard_ms = now_ms;
        let mut actions = Vec::new();
        let mut rest = bytes.to_vec();
        while !rest.is_empty() {
            rest = match self.step(rest, &mut actions) {
                Ok(rest) => rest,
                Err(why) => {
                    actions.push(Action::Fail(why));
                    break;
                }
            };
        }
        actions
    }

    /// Something came in while streaming.
    pub fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
    }

    /// Uses some bytes and answers the others.
    fn step(&mut self, bytes: Vec<u8>, actions: &mut Vec<Action>) -> Result<Vec<u8>, String> {
        match &mut self.state {
            LinkState::Streaming => {
                actions.push(Action::Stream(bytes));
                Ok(Vec::new())
            }
            LinkState::Loading(loader) => {
                let Some((loaded, rest)) = loader.receive(&bytes).map_err(|e| e.to_string())?
                else {
                    return Ok(Vec::new());
                };
                self.go_on();
                actions.push(Action::Loaded(Box::new(loaded)));
                Ok(rest)
            }
            LinkState::Waiting { .. } | LinkState::Connecting => Ok(Vec::new()),
            LinkState::Greeting { .. } | LinkState::Asking => {
                let Some(end) = bytes.iter().position(|b| *b == b'\n') else {
                    self.line.extend_from_slice(&bytes);
                    let fits = self.line.len() <= LINE_MAX;
                    return if fits { Ok(Vec::new()) } else { Err("no line end".into()) };
                };
                let mut line = std::mem::take(&mut self.line);
                line.extend_from_slice(&bytes[..end]);
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                // Empty lines are a primary's way to say that it is alive.
                if !line.is_empty() {
                    self.answer(&line, actions)?;
                }
                Ok(bytes[end + 1..].to_vec())
            }
        }
    }

    fn go_on(&mut self) {
        self.state = LinkState::Streaming;
        self.failures = 0;
        self.down_since_ms = None;
    }

    fn answer(&mut self, line: &[u8], actions: &mut Vec<Action>) -> Result<(), String> {
        match &mut self.state {
            LinkState::Greeting { awaited } => {
                let kind = awaited.pop_front().ok_or("an answer that nobody asked for")?;
                let last = awaited.is_empty();
                greeted(kind, line)?;
                if kind == Greeting::Member {
                    let text = String::from_utf8_lossy(line);
                    let answer = text.strip_prefix("+OK ").unwrap_or_default();
                    actions.push(Action::Greeted(answer.to_owned()));
                }
                if last {
                    self.state = LinkState::Asking;
                    actions.push(self.ask());
                }
                Ok(())
            }
            _ => self.synced(line, actions),
        }
    }

    fn ask(&self) -> Action {
        let (id, next) = match self.have {
            Some((id, offset)) => (id.to_string(), (offset + 1).to_string()),
            None => ("?".into(), "-1".into()),
        };
        let mut out = Vec::new();
        let words = [b"PSYNC".as_slice(), id.as_bytes(), next.as_bytes(), b"FAILOVER"];
        encode_command(&mut out, words[..if self.config.failover { 4 } else { 3 }].iter().copied());
        Action::Send(out)
    }

    /// The answer to PSYNC.
    fn synced(&mut self, line: &[u8], actions: &mut Vec<Action>) -> Result<(), String> {
        let text = String::from_utf8_lossy(line);
        let mut words = text.split(' ');
        match words.next() {
            Some("+CONTINUE") => {
                let id = words.next().and_then(|id| ReplId::parse(id.as_bytes()));
                self.go_on();
                actions.push(Action::Continue(id));
                Ok(())
            }
            Some("+FULLRESYNC") => {
                let id = words.next().and_then(|id| ReplId::parse(id.as_bytes()));
                let offset = words.next().and_then(offset_of);
                let (Some(id), Some(offset)) = (id, offset) else {
                    return Err(format!("a strange answer to PSYNC: {text}"));
                };
                let loader = Loader::new(id, offset, self.template);
                self.state = LinkState::Loading(Box::new(loader));
                actions.push(Action::LoadBegins);
                Ok(())
            }
            Some(word) if word.starts_with('-') => {
                actions.push(Action::Refused(format!("PSYNC was answered with {text}")));
                Ok(())
            }
            _ => Err(format!("PSYNC was answered with {text}")),
        }
    }
}

/// An offset that leaves room to count on from it.
fn offset_of(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().filter(|offset| i64::try_from(*offset).is_ok())
}

/// Judges the answer to one command of the introduction.
fn greeted(kind: Greeting, line: &[u8]) -> Result<(), String> {
    let refused = line.starts_with(b"-");
    // A PING is refused without harm by a primary that wants a password or shows stale data only.
    let harmless = kind == Greeting::Optional
        || (kind == Greeting::Ping
            && [b"-NOAUTH".as_slice(), b"-NOPERM", b"-ERR operation not permitted"]
                .iter()
                .any(|start| line.starts_with(start)));
    if refused && !harmless {
        let what = match kind {
            Greeting::Auth => "Unable to AUTH to PRIMARY",
            Greeting::Ping => "PING was refused",
            Greeting::Optional => "REPLCONF was refused",
            Greeting::Member => "REPLCONF redisha-member was refused",
        };
        return Err(format!("{what}: {}", String::from_utf8_lossy(line)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Action, Link, LinkConfig, LinkState};
    use crate::persistence::load::Template;

    /// What the link does with an answer to PSYNC.
    fn answered(line: &str) -> Vec<Action> {
        let mut link = Link::new(LinkConfig::default(), Template::default(), 0);
        link.state = LinkState::Asking;
        link.receive(format!("{line}\r\n").as_bytes(), 0)
    }

    /// Offsets are counted on from what a primary says: one near the end of the numbers ended the
    /// process with the first bytes of its stream.
    #[test]
    fn a_full_resync_begins_where_one_can_count_on_from() {
        let id = "a".repeat(40);
        for offset in ["0", "9223372036854775807"] {
            let actions = answered(&format!("+FULLRESYNC {id} {offset}"));
            assert!(matches!(&*actions, [Action::LoadBegins]), "{offset}: {actions:?}");
        }
        for offset in ["9223372036854775808", "18446744073709551615", "-1", "", "1x"] {
            let actions = answered(&format!("+FULLRESYNC {id} {offset}"));
            assert!(matches!(&*actions, [Action::Fail(_)]), "{offset}: {actions:?}");
        }
        let actions = answered(&format!("+FULLRESYNC {id}"));
        assert!(matches!(&*actions, [Action::Fail(_)]), "{actions:?}");
    }
}
