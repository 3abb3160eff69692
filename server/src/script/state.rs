//! What the running script and the engine share.
//!
//! The functions that Lua calls are made once and live as long as the interpreter, so they cannot
//! hold the engine. Each run lends its host, which borrows engine and client, for as long as the run
//! lasts; the functions leave their question here and ask it.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use mlua::Function;

use crate::engine::busy::Served;
use crate::resp::{Args, Span};

/// How often members and the operator are served while a script runs: often enough for their links,
/// leases and patience to last.
const MEMBERS_EVERY_MS: u64 = 100;
/// How often everybody is, once the script is slow.
const EVERYBODY_EVERY_MS: u64 = 2;

/// What a function of the sandbox asks of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Request {
    /// Run the command; its reply goes to `reply`.
    #[default]
    Call,
    /// May the user run the command? Answered in `reply` by one byte: `1`, `0` or `?`.
    AclCheck,
    /// The script runs long: let these have a bounded turn.
    Busy(Served),
}

/// The arguments of a command that a script composed. The same string can be among them any number
/// of times: all of them are kept under [`COMPOSED_MAX_BYTES`], which spans can count.
#[derive(Debug, Default)]
pub struct Composed {
    pub buf: Vec<u8>,
    pub spans: Vec<Span>,
}

/// As much as a client may send.
pub const COMPOSED_MAX_BYTES: usize = 1024 * 1024 * 1024;

impl Composed {
    pub fn args(&self) -> Args<'_> {
        Args::new(&self.buf, &self.spans)
    }

    pub fn clear(&mut self) {
        self.buf.clear();
        self.spans.clear();
    }

    /// Adds an argument; false, and nothing is added, when a command cannot be as long as that.
    pub fn push(&mut self, part: &[u8]) -> bool {
        let start = self.buf.len();
        if start + part.len() > COMPOSED_MAX_BYTES {
            return false;
        }
        self.spans.push(Span { start: start as u32, len: part.len() as u32 });
        self.buf.extend_from_slice(part);
        true
    }
}

/// A function that a library registered while it was loaded.
#[derive(Clone, Debug)]
pub struct Registered {
    pub name: Vec<u8>,
    pub description: Option<Vec<u8>>,
    pub function: Function,
    pub flags: super::flags::ScriptFlags,
}

/// The most that a buffer keeps from one run to the next.
const BUFFER_KEPT: usize = 64 << 10;

/// To which logs effects go: `REPL_AOF` and `REPL_REPLICA`.
pub const REPLICATE_ALL: u8 = 3;

#[derive(Debug, Default)]
pub struct Shared {
    /// How large the script's result may be, in bytes.
    pub bound: Cell<usize>,
    pub request: Cell<Request>,
    pub composed: RefCell<Composed>,
    pub reply: RefCell<Vec<u8>>,
    /// What the script returned, as a reply.
    pub result: RefCell<Vec<u8>>,
    /// What the script returned is an error that a command of its own was counted for.
    pub counted: Cell<bool>,
    pub host: super::lend::Lent,
    /// The dialect of the replies that the script reads.
    pub resp3: Cell<bool>,
    pub replicate: Cell<u8>,
    /// A write was begun: from here the script cannot be refused or killed.
    pub wrote: Cell<bool>,
    pub killed: Cell<bool>,
    /// Functions run here, not scripts.
    pub functions: Cell<bool>,
    /// Set when the script has run longer than `busy-reply-threshold`.
    pub busy: Cell<bool>,
    pub started: Cell<Option<Instant>>,
    /// Milliseconds after which everybody is served; 0 never.
    pub threshold_ms: Cell<u64>,
    /// Milliseconds after which somebody is served next.
    next_turn_ms: Cell<u64>,
    /// Present while a library is loaded.
    pub loading: RefCell<Option<Vec<Registered>>>,
    /// Milliseconds that loading a library may take; 0 is unbounded.
    pub load_ms: Cell<u64>,
    pub random: super::random::Random,
}

impl Shared {
    /// Before a run.
    pub fn begin(&self, threshold_ms: u64) {
        self.resp3.set(false);
        self.replicate.set(REPLICATE_ALL);
        self.wrote.set(false);
        self.killed.set(false);
        self.busy.set(false);
        self.started.set(Some(Instant::now()));
        self.threshold_ms.set(threshold_ms);
        self.next_turn_ms.set(MEMBERS_EVERY_MS);
    }

    /// Who is to be served now in the middle of the run, if anybody is.
    pub fn served(&self) -> Option<Served> {
        let elapsed_ms = self.elapsed_ms();
        let threshold_ms = self.threshold_ms.get();
        let busy = threshold_ms > 0 && elapsed_ms >= threshold_ms;
        let turns_busy = busy && !self.busy.get();
        if elapsed_ms < self.next_turn_ms.get() && !turns_busy {
            return None;
        }
        let (served, wait_ms) = if busy {
            (Served::Everybody, EVERYBODY_EVERY_MS)
        } else {
            (Served::Members, MEMBERS_EVERY_MS)
        };
        self.next_turn_ms.set(elapsed_ms + wait_ms);
        Some(served)
    }

    /// Gives back what a run with large replies took.
    pub fn trim(&self) {
        let (mut reply, mut result) = (self.reply.borrow_mut(), self.result.borrow_mut());
        for buffer in [&mut *reply, &mut *result, &mut self.composed.borrow_mut().buf] {
            if buffer.capacity() > BUFFER_KEPT {
                *buffer = Vec::new();
            }
        }
    }

    pub fn elapsed_ms(&self) -> u64 {
        self.started.get().map_or(0, |started| started.elapsed().as_millis() as u64)
    }
}
