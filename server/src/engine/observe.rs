//! What can be seen of commands: `MONITOR` shows them as they run, the command log keeps those that
//! were slow or large. Both cost a comparison each while there is nothing to tell.
//!
//! Secrets are never shown: [`is_secret`] says which arguments are.

use std::collections::VecDeque;
use std::fmt::Write as _;

use crate::client::{Client, ClientId, Duty, Hold, User};
use crate::command::{Command, Flags};
use crate::config::Config;
use crate::resp::Args;

use super::access::log::kept;
use super::{Context, Engine};

/// Arguments of one entry, and bytes of one argument, that the log keeps.
const ARGS_MAX: usize = 32;
const ARG_BYTES_MAX: usize = 128;
/// Bytes of one argument that MONITOR shows; a byte may take four.
const MONITOR_BYTES_MAX: usize = 1024 * 1024;

/// The three logs, in the order of [`CommandLog::kinds`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Slow,
    LargeRequest,
    LargeReply,
}

pub struct Entry {
    pub id: u64,
    /// Unix time in seconds.
    pub at_s: i64,
    /// Microseconds, or bytes.
    pub value: u64,
    pub args: Vec<Vec<u8>>,
    pub address: String,
    pub name: Vec<u8>,
}

/// Entries, the newest first.
pub struct Log {
    pub entries: VecDeque<Entry>,
    next_id: u64,
    bound: usize,
    /// What is kept; never without a bound, or with a negative directive.
    from: u64,
}

impl Default for Log {
    fn default() -> Self {
        Self { entries: VecDeque::new(), next_id: 0, bound: 0, from: u64::MAX }
    }
}

impl Log {
    fn configure(&mut self, from: i64, bound: usize) {
        self.bound = bound;
        self.from = u64::try_from(from).ok().filter(|_| bound > 0).unwrap_or(u64::MAX);
        self.entries.truncate(bound);
    }

    fn add(&mut self, value: u64, make: impl FnOnce(u64) -> Entry) {
        if value >= self.from {
            self.entries.push_front(make(self.next_id));
            self.next_id += 1;
            self.entries.truncate(self.bound);
        }
    }
}

/// The room's state.
#[derive(Default)]
pub struct Observers {
    pub slow: Log,
    pub large_request: Log,
    pub large_reply: Log,
    monitors: Vec<ClientId>,
}

impl Observers {
    pub fn configure(&mut self, config: &Config) {
        let slower = config.commandlog_execution_slower_than;
        self.slow.configure(slower, config.commandlog_slow_execution_max_len);
        let larger = config.commandlog_request_larger_than;
        self.large_request.configure(larger, config.commandlog_large_request_max_len);
        let larger = config.commandlog_reply_larger_than;
        self.large_reply.configure(larger, config.commandlog_large_reply_max_len);
    }

    pub fn log(&mut self, kind: Kind) -> &mut Log {
        match kind {
            Kind::Slow => &mut self.slow,
            Kind::LargeRequest => &mut self.large_request,
            Kind::LargeReply => &mut self.large_reply,
        }
    }

    #[inline]
    pub(super) fn has_monitors(&self) -> bool {
        !self.monitors.is_empty()
    }

    /// Whether a command that took so long, and is so large, is told to anybody.
    #[inline]
    fn want(&self, us: u64, request_bytes: u64, reply_bytes: u64) -> bool {
        us >= self.slow.from
            || request_bytes >= self.large_request.from
            || reply_bytes >= self.large_reply.from
            || !self.monitors.is_empty()
    }
}

/// A command has run, or run again after it had waited; its reply begins at `before` in the output.
#[inline]
pub(super) fn observe(cx: &mut Context<'_>, us: u64, before: usize, rerun: bool) {
    let reply_bytes = cx.client.out.len().saturating_sub(before) as u64;
    // What arrived is a little longer than the arguments alone.
    let request_bytes = cx.args.raw().len() as u64 + OVERHEAD_BYTES * cx.args.len() as u64;
    if cx.engine.observers.want(us, request_bytes, reply_bytes) {
        tell(cx, us, reply_bytes, rerun);
    }
}

/// At most so much is added to an argument on its way.
const OVERHEAD_BYTES: u64 = 16;

#[cold]
fn tell(cx: &mut Context<'_>, us: u64, reply_bytes: u64, rerun: bool) {
    // The members' and the operator's own commands are nobody's business.
    if cx.client.user == User::Internal && !cx.from_primary {
        return;
    }
    if cx.engine.observers.has_monitors() && !rerun && !cx.row.is(Flags::ADMIN) && !is_script(cx) {
        feed_monitors(cx);
    }
    let logged = cx.row.name != "exec" && cx.client.hold != Hold::Blocked && !cx.from_primary;
    if logged {
        let request_bytes = request_bytes(cx.args);
        let Context { engine, client, args, row, .. } = cx;
        let at_s = engine.now.unix_us / 1_000_000;
        let entry = |value: u64| {
            let (client, args, row) = (&**client, *args, *row);
            move |id: u64| entry_of(client, row, args, (id, at_s, value))
        };
        engine.observers.slow.add(us, entry(us));
        engine.observers.large_request.add(request_bytes, entry(request_bytes));
        engine.observers.large_reply.add(reply_bytes, entry(reply_bytes));
    }
}

/// The command's size as it is sent.
fn request_bytes(args: Args<'_>) -> u64 {
    let digits = |number: usize| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let words = args.iter().map(|arg| 1 + digits(arg.len()) + 2 + arg.len() + 2);
    (1 + digits(args.len()) + 2 + words.sum::<usize>()) as u64
}

fn entry_of(
    client: &Client,
    row: &Command,
    args: Args<'_>,
    (id, at_s, value): (u64, i64, u64),
) -> Entry {
    let shown_args = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let mut words: Vec<Vec<u8>> = (0..shown_args).map(|at| shown(row, args, at)).collect();
    if args.len() > shown_args {
        words.push(format!("... ({} more arguments)", args.len() - shown_args).into_bytes());
    }
    let address = client.peer.map(|peer| peer.to_string()).unwrap_or_default();
    let name = kept(&client.name, ARG_BYTES_MAX);
    Entry { id, at_s, value, args: words, address, name }
}

fn shown(row: &Command, args: Args<'_>, at: usize) -> Vec<u8> {
    if is_secret(row, args, at) {
        return b"(redacted)".to_vec();
    }
    kept(args.at(at), ARG_BYTES_MAX)
}

/// Whether an argument must not be seen by others: passwords, rules of users, secret directives.
pub fn is_secret(row: &Command, args: Args<'_>, at: usize) -> bool {
    const SECRET: [&str; 7] = [
        "requirepass",
        "primaryuser",
        "primaryauth",
        "masteruser",
        "masterauth",
        "tls-key-file-pass",
        "tls-client-key-file-pass",
    ];
    match row.name {
        "auth" => at >= 1,
        "hello" => (2..args.len())
            .any(|word| args.is(word, "auth") && (1..=2).contains(&at.wrapping_sub(word))),
        "setuser" | "deluser" | "getuser" => at >= 2,
        "set" if args.is(0, "config") => {
            at >= 3 && SECRET.iter().any(|secret| args.is(at - 1, secret))
        }
        "migrate" | "cutover" if args.is(0, "redisha") => {
            at >= 3 && ["password", "tls-key"].iter().any(|name| args.is(at - 1, name))
        }
        "migrate" => (6..args.len()).any(|word| {
            let words = if args.is(word, "auth") { 1 } else { 2 };
            (args.is(word, "auth") || args.is(word, "auth2"))
                && (1..=words).contains(&at.wrapping_sub(word))
        }),
        _ => false,
    }
}

/// Before a command runs: scripts are shown before the commands that they call.
#[cold]
pub(super) fn announce(cx: &mut Context<'_>) {
    if is_script(cx) && cx.client.user != User::Internal {
        feed_monitors(cx);
    }
}

/// `EVAL` and its like.
fn is_script(cx: &Context<'_>) -> bool {
    crate::acl::commands::id_of(cx.row)
        .is_some_and(|id| crate::acl::commands::entry(id).doc.flags.contains(&"skip_monitor"))
}

fn feed_monitors(cx: &mut Context<'_>) {
    let in_script = cx.engine.in_script;
    let source = match cx.client.peer {
        _ if in_script => "lua".into(),
        Some(peer) => peer.to_string(),
        None if matches!(cx.client.duty, Duty::Link(_)) => "primary".into(),
        None => "unix".into(),
    };
    let unix_us = cx.engine.now.unix_us;
    let mut line =
        format!("{}.{:06} [{} {source}]", unix_us / 1_000_000, unix_us % 1_000_000, cx.client.db);
    for (at, arg) in cx.args.iter().enumerate() {
        line.push(' ');
        let secret = is_secret(cx.row, cx.args, at);
        if secret {
            quote(&mut line, b"(redacted)");
        } else {
            quote(&mut line, &kept(arg, MONITOR_BYTES_MAX));
        }
    }
    cx.engine.tell_monitors(&line);
}

/// A text in quotes, with escapes for what cannot be printed.
fn quote(line: &mut String, text: &[u8]) {
    line.push('"');
    for byte in text {
        match byte {
            b'\\' | b'"' => {
                line.push('\\');
                line.push(char::from(*byte));
            }
            b'\n' => line.push_str("\\n"),
            b'\r' => line.push_str("\\r"),
            b'\t' => line.push_str("\\t"),
            0x07 => line.push_str("\\a"),
            0x08 => line.push_str("\\b"),
            b' '..=b'~' => line.push(char::from(*byte)),
            _ => write!(line, "\\x{byte:02x}").expect("a string takes everything"),
        }
    }
    line.push('"');
}

impl Engine {
    /// `MONITOR`: the client is shown every command from now on.
    pub(crate) fn monitor(&mut self, client: &mut Client) {
        if !client.traits.monitor {
            client.traits.monitor = true;
            self.observers.monitors.push(client.id);
        }
    }

    /// It is shown no more.
    pub(crate) fn unmonitor(&mut self, client: &mut Client) {
        if client.traits.monitor {
            client.traits.monitor = false;
            self.observers.monitors.retain(|id| *id != client.id);
        }
    }

    pub(in crate::engine) fn read_clock_us(&self) -> u64 {
        self.read_clock.as_ref().map_or(self.now.mono_us, |read| read())
    }

    fn tell_monitors(&mut self, line: &str) {
        for at in 0..self.observers.monitors.len() {
            let id = self.observers.monitors[at];
            if let Some(client) = self.clients.get_mut(id) {
                client.reply().simple(line);
                self.clients.queue_flush(id);
            }
        }
    }
}

#[cfg(test)]
mod tests;
