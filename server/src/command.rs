//! The command table, from which COMMAND, ACL categories and the gates are derived.
//!
//! # To add a command
//! 1. In the family's file `command/<family>.rs` write the handler
//!    `fn name(cx: &mut Context<'_>) -> Handled` and a row of that file's
//!    `pub const COMMANDS: &[Command]` with named fields, the rest from [`Command::ROW`].
//! 2. A new family's slice is added to [`FAMILIES`]. That is all: lookup, arity, COMMAND, ACL
//!    categories, redirect, pause and read-only gates follow from the row.
//!
//! A handler reads `cx.args`, works on `cx.engine` and writes **exactly one** reply through
//! `cx.client.reply()`; or returns an error (`Err("ERR …".into())` or a constant of
//! [`crate::resp::errors`]) before it wrote anything. To use both halves at once take the
//! context apart: `let Context { engine, client, args, .. } = cx;`.
//!
//! A write handler calls `cx.dirty(changes)` when it changed something; then the command goes to
//! replicas as it came, unless the handler said otherwise with `cx.propagate(&[…])` (any number
//! of commands instead) or `cx.propagate_nothing()`. What is propagated must be deterministic:
//! absolute times, no randomness. Changed keys are announced with `cx.touch(key)` (WATCH) and,
//! where blocked commands may be waiting for them, `cx.signal(key)`.
//! Then subscribers are told with `cx.notify(EventClasses::STRING, "set", key)`, and of a collection
//! that may have lost its last element with `cx.notify_emptied(key)`; see [`crate::engine::events`].
//!
//! To block, a handler that found nothing calls `cx.block(keys, deadline, OnTimeout::…)` and
//! returns without a reply: it is run again, as if it had just arrived, when one of the keys is
//! signalled, in order of arrival. See [`crate::engine::blocking`].

pub mod bitmap;
pub mod client;
pub mod cluster;
pub mod commandlog;
pub mod connection;
pub mod debug;
pub mod docs;
pub mod failover;
pub mod function;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod keys;
pub mod list;
pub mod module;
pub mod pause;
pub mod pubsub;
pub mod redirect;
pub mod redisha;
pub mod replication;
pub mod scripting;
pub mod server;
pub mod set;
pub mod sort;
pub mod stream;
pub mod string;
pub mod support;
mod table;
pub mod transactions;
pub mod zset;

use crate::engine::Context;
use crate::resp::{Args, CommandError};

pub use table::{FAMILIES, all, lookup, subcommand};

/// What a handler returns: the reply has been written, or this error is to be.
pub type Handled = Result<(), CommandError>;

pub type Handler = fn(&mut Context<'_>) -> Handled;

/// A set of properties of a command, as COMMAND INFO shows them, with some of our own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1);
    pub const READONLY: Flags = Flags(1 << 1);
    pub const DENYOOM: Flags = Flags(1 << 2);
    pub const ADMIN: Flags = Flags(1 << 3);
    pub const PUBSUB: Flags = Flags(1 << 4);
    pub const NOSCRIPT: Flags = Flags(1 << 5);
    pub const BLOCKING: Flags = Flags(1 << 6);
    pub const LOADING: Flags = Flags(1 << 7);
    pub const STALE: Flags = Flags(1 << 8);
    pub const FAST: Flags = Flags(1 << 9);
    pub const NO_AUTH: Flags = Flags(1 << 10);
    pub const MAY_REPLICATE: Flags = Flags(1 << 11);
    pub const NO_MULTI: Flags = Flags(1 << 12);
    pub const MOVABLE_KEYS: Flags = Flags(1 << 13);
    pub const ALLOW_BUSY: Flags = Flags(1 << 14);
    /// Run by MULTI's client at once instead of being queued (EXEC, DISCARD, WATCH, …).
    pub const IN_MULTI: Flags = Flags(1 << 15);
    /// A connection or administration command: never redirected, relayed or paused.
    pub const LOCAL: Flags = Flags(1 << 16);
    /// Only for the internal user that members authenticate as.
    pub const INTERNAL: Flags = Flags(1 << 17);
    /// Allowed to a RESP2 connection that has subscriptions.
    pub const IN_SUBSCRIBE: Flags = Flags(1 << 18);

    /// Changes what the members of a managed cluster share beside the keys: held by a pause and
    /// relayed like a write.
    pub const SHARED: Flags = Flags(1 << 24);

    /// It may add to the stream though it writes no key (a script for the cache): a pause holds it
    /// where others are told of it.
    pub const FEEDS_STREAM: Flags = Flags(1 << 25);

    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    #[inline]
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

impl std::ops::BitOr for Flags {
    type Output = Flags;

    fn bitor(self, other: Flags) -> Flags {
        self.with(other)
    }
}

/// Where a command's keys are among its arguments.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    None,
    /// From `first` to `last` in steps; a negative `last` counts from the end (-1 the last).
    Range {
        first: usize,
        last: i32,
        step: usize,
    },
    /// The argument at this index tells how many keys follow it.
    Counted(usize),
    /// As `Counted`, with one more key at a fixed place before it (`ZUNIONSTORE`).
    CountedWith {
        fixed: usize,
        count: usize,
    },
    /// The first half of what follows the word STREAMS, which is looked for from this index on.
    Streams(usize),
    /// One at a fixed place or, if that is empty, what follows the word KEYS (`MIGRATE`).
    Migrated,
}

impl Keys {
    pub const ONE: Keys = Keys::Range { first: 1, last: 1, step: 1 };
    pub const ALL: Keys = Keys::Range { first: 1, last: -1, step: 1 };

    /// Calls `each` with the index of every key that `args` really has.
    pub fn visit(&self, args: Args<'_>, mut each: impl FnMut(usize)) {
        let counted = |at: usize| {
            let count = args.get(at).and_then(crate::resp::num::parse_i64).unwrap_or(0);
            at + 1..(at + 1 + count.max(0) as usize).min(args.len())
        };
        match *self {
            Keys::None => {}
            Keys::Range { first, last, step } => {
                let last = if last < 0 { args.len() as i64 + i64::from(last) } else { last.into() };
                let mut at = first;
                while (at as i64) <= last && at < args.len() {
                    each(at);
                    at += step;
                }
            }
            Keys::Counted(at) => counted(at).for_each(each),
            Keys::CountedWith { fixed, count } => {
                if fixed < args.len() {
                    each(fixed);
                }
                counted(count).for_each(each);
            }
            Keys::Migrated => keys::keys_of_migrate(args).for_each(each),
            Keys::Streams(from) => {
                if let Some(word) = (from..args.len()).find(|at| args.is(*at, "streams")) {
                    (word + 1..word + 1 + (args.len() - word - 1) / 2).for_each(each);
                }
            }
        }
    }
}

/// The family of a command, as COMMAND DOCS names it; it also gives the ACL category.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    Generic,
    String,
    Bitmap,
    HyperLogLog,
    Geo,
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
    PubSub,
    Transactions,
    Connection,
    Server,
    Scripting,
    Cluster,
}

/// One row of the table. Write `..Command::ROW` for the fields that do not matter.
#[derive(Clone, Copy)]
pub struct Command {
    /// In lower case; a subcommand's own word only.
    pub name: &'static str,
    /// Arguments with the name: exactly that many, or at least `-arity` when negative. Counted
    /// with both words for a subcommand.
    pub arity: i32,
    pub flags: Flags,
    pub keys: Keys,
    pub group: Group,
    pub summary: &'static str,
    pub since: &'static str,
    pub handler: Handler,
    pub subcommands: &'static [Command],
}

impl Command {
    pub const ROW: Command = Command {
        name: "",
        arity: 1,
        flags: Flags::NONE,
        keys: Keys::None,
        group: Group::Generic,
        summary: "",
        since: "1.0.0",
        handler: missing_subcommand,
        subcommands: &[],
    };

    #[inline]
    pub fn arity_fits(&self, count: usize) -> bool {
        if self.arity >= 0 {
            count == self.arity as usize
        } else {
            count >= self.arity.unsigned_abs() as usize
        }
    }

    #[inline]
    pub fn is(&self, flags: Flags) -> bool {
        self.flags.has(flags)
    }
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// The handler of a row that has subcommands: reached only when none was named.
fn missing_subcommand(cx: &mut Context<'_>) -> Handled {
    Err(crate::resp::errors::wrong_arity(cx.row.name))
}
