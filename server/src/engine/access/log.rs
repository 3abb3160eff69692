//! `ACL LOG`: what was refused lately, the same refusals as one entry.

use std::collections::VecDeque;

/// Refusals further apart are separate entries, in milliseconds.
const TOGETHER_MS: i64 = 60_000;
/// The newest entries, among which an equal one is looked for.
const LOOKED_AT: usize = 10;

/// Bytes of a name, and of the description of a connection, that an entry keeps: both are what a
/// client says.
const NAME_MAX: usize = 1024;
const INFO_MAX: usize = 4096;

/// As much of a client's text as is kept of it, which says what is missing.
pub fn kept(text: &[u8], most: usize) -> Vec<u8> {
    match text.split_at_checked(most) {
        Some((start, rest)) if !rest.is_empty() => {
            [start, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
        }
        _ => text.to_vec(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Command,
    Key,
    Channel,
    Database,
    Auth,
    /// A certificate names no user that may log in.
    Certificate,
}

impl Reason {
    pub fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Database => "database",
            Reason::Auth => "auth",
            Reason::Certificate => "tls-cert",
        }
    }
}

/// Where the refused command stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Where {
    TopLevel,
    Multi,
    Lua,
}

impl Where {
    pub fn name(self) -> &'static str {
        match self {
            Where::TopLevel => "toplevel",
            Where::Multi => "multi",
            Where::Lua => "lua",
        }
    }
}

/// One refusal.
pub struct Refused {
    pub reason: Reason,
    pub place: Where,
    /// The command, key or channel.
    pub object: Vec<u8>,
    pub user: Vec<u8>,
    /// The connection, in the words of `CLIENT LIST`.
    pub info: String,
}

pub struct Entry {
    pub id: u64,
    pub count: u64,
    pub last: Refused,
    /// Unix time in milliseconds.
    pub created_ms: i64,
    pub updated_ms: i64,
}

/// Refusals by their reason, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub auth: u64,
    pub command: u64,
    pub key: u64,
    pub channel: u64,
    pub database: u64,
    pub certificate: u64,
}

/// The newest first.
#[derive(Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    bound: usize,
    next_id: u64,
    pub counts: Counts,
}

impl Log {
    /// What is there stays until the next refusal.
    pub fn set_bound(&mut self, bound: usize) {
        self.bound = bound;
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    pub fn add(&mut self, mut refused: Refused, now_ms: i64) {
        refused.object = kept(&refused.object, NAME_MAX);
        refused.user = kept(&refused.user, NAME_MAX);
        if refused.info.len() > INFO_MAX {
            refused.info = refused.info.chars().take(INFO_MAX).collect();
        }
        let count = match refused.reason {
            Reason::Auth => &mut self.counts.auth,
            Reason::Command => &mut self.counts.command,
            Reason::Key => &mut self.counts.key,
            Reason::Channel => &mut self.counts.channel,
            Reason::Database => &mut self.counts.database,
            Reason::Certificate => &mut self.counts.certificate,
        };
        *count += 1;
        let same = |entry: &Entry| {
            let last = &entry.last;
            last.reason == refused.reason
                && last.place == refused.place
                && last.object == refused.object
                && last.user == refused.user
                && (now_ms - entry.updated_ms).abs() <= TOGETHER_MS
        };
        let found = self.entries.iter().take(LOOKED_AT).position(same);
        if let Some(mut entry) = found.and_then(|at| self.entries.remove(at)) {
            entry.count += 1;
            entry.updated_ms = now_ms;
            entry.last = refused;
            self.entries.push_front(entry);
            return;
        }
        if self.bound == 0 {
            self.entries.clear();
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let entry = Entry { id, count: 1, last: refused, created_ms: now_ms, updated_ms: now_ms };
        self.entries.push_front(entry);
        self.entries.truncate(self.bound);
    }
}
