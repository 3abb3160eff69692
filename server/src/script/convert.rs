//! Replies to Lua values, and what a script returns to a reply. On Lua's stack, by its rules:
//! nothing here owns what must be dropped while it calls what may raise.

use std::ffi::c_int;

use super::stack::{Found, Stack};
use crate::resp::Reply;
use crate::resp::num::{parse_f64, parse_i64};

/// Tables nested deeper than this in a result are answered by an error in their place.
const DEPTH_MAX: usize = 1000;
/// Values that one level of either direction holds on the stack at a time.
const LEVEL: c_int = 6;

/// Reads one reply, as the engine writes them, from the front of `bytes`, and pushes it.
pub fn push_reply(stack: Stack<'_>, bytes: &mut &[u8]) {
    stack.reserve(LEVEL);
    let (line, rest) = split_line(bytes);
    *bytes = rest;
    let (kind, line) = line.split_first().map_or((b'_', line), |(kind, line)| (*kind, line));
    let number = || parse_i64(line).unwrap_or(0);
    match kind {
        b'+' => push_single(stack, "ok", Found::Text(line)),
        b'-' => {
            push_error(stack, line, true);
        }
        b':' => stack.push(Found::Number(number() as f64)),
        b'$' | b'*' if number() < 0 => stack.push(Found::Flag(false)),
        b'$' => stack.push(Found::Text(take(bytes, number()))),
        b'*' | b'>' => push_array(stack, bytes, number()),
        b'#' => stack.push(Found::Flag(line == b"t")),
        b',' => push_single(stack, "double", Found::Number(double(line))),
        b'(' => push_single(stack, "big_number", Found::Text(line)),
        b'=' => push_verbatim(stack, take(bytes, number())),
        b'%' => push_wrapped(stack, "map", |at| push_map(stack, at, bytes, number())),
        b'~' => push_wrapped(stack, "set", |at| push_set(stack, at, bytes, number())),
        b'|' => {
            stack.push_table(0, 0);
            push_map(stack, stack.len(), bytes, number());
            stack.truncate(stack.len() - 1);
            push_reply(stack, bytes);
        }
        _ => stack.push(Found::Nil),
    }
}

/// The table that a script sees of an error reply. `counted`: the command that failed has been
/// counted as an error already.
pub fn push_error(stack: Stack<'_>, text: &[u8], counted: bool) {
    push_single(stack, "err", Found::Text(text));
    if counted {
        set_field(stack, "ignore_error_stats_update", Found::Flag(true));
    }
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'\r', bytes) {
        Some(end) => (&bytes[..end], bytes.get(end + 2..).unwrap_or(&[])),
        None => (bytes, &[]),
    }
}

/// The bytes of a bulk string, whose end is taken too.
fn take<'a>(bytes: &mut &'a [u8], len: i64) -> &'a [u8] {
    let len = (len.max(0) as usize).min(bytes.len());
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest.get(2..).unwrap_or(&[]);
    taken
}

fn double(text: &[u8]) -> f64 {
    if text == b"nan" { f64::NAN } else { parse_f64(text).unwrap_or(0.0) }
}

/// Sets a field of the table on top.
fn set_field(stack: Stack<'_>, name: &str, value: Found<'_>) {
    stack.push(Found::Text(name.as_bytes()));
    stack.push(value);
    stack.set(-3);
}

/// A table with one field.
fn push_single(stack: Stack<'_>, name: &str, value: Found<'_>) {
    stack.push_table(0, 1);
    set_field(stack, name, value);
}

/// A table with one field, a table that `fill` fills.
fn push_wrapped(stack: Stack<'_>, name: &str, fill: impl FnOnce(c_int)) {
    stack.push_table(0, 1);
    stack.push(Found::Text(name.as_bytes()));
    stack.push_table(0, 0);
    fill(stack.len());
    stack.set(-3);
}

fn push_array(stack: Stack<'_>, bytes: &mut &[u8], len: i64) {
    let len = len.max(0) as usize;
    stack.push_table(len, 0);
    for index in 1..=len {
        push_reply(stack, bytes);
        stack.set_element(-2, index);
    }
}

fn push_map(stack: Stack<'_>, at: c_int, bytes: &mut &[u8], pairs: i64) {
    for _ in 0..pairs {
        push_reply(stack, bytes);
        push_reply(stack, bytes);
        set_unless_nil(stack, at);
    }
}

fn push_set(stack: Stack<'_>, at: c_int, bytes: &mut &[u8], len: i64) {
    for _ in 0..len {
        push_reply(stack, bytes);
        stack.push(Found::Flag(true));
        set_unless_nil(stack, at);
    }
}

/// Takes key and value from the top; a table has no key nil.
fn set_unless_nil(stack: Stack<'_>, table: c_int) {
    if stack.at(-2) == Found::Nil {
        stack.truncate(stack.len() - 2);
    } else {
        stack.set(table);
    }
}

fn push_verbatim(stack: Stack<'_>, text: &[u8]) {
    let (format, text) = text.split_at(text.len().min(3));
    push_wrapped(stack, "verbatim_string", |_| {
        set_field(stack, "string", Found::Text(text.get(1..).unwrap_or(&[])));
        set_field(stack, "format", Found::Text(format));
    });
}

/// Writes the value on top, which a script returned. `resp3` is what the script chose with
/// `setresp`, which only decides what booleans are.
pub fn to_reply(stack: Stack<'_>, reply: &mut Reply<'_>, resp3: bool) {
    Writer { stack, resp3, depth: 0 }.write(reply);
}

/// Whether the value on top is an error that was counted when a command of the script failed.
pub fn is_counted(stack: Stack<'_>) -> bool {
    if stack.at(-1) != Found::Table {
        return false;
    }
    stack.reserve(LEVEL);
    let at = stack.len();
    let counted = matches!(stack.field(at, "err"), Found::Text(_))
        && stack.field(at, "ignore_error_stats_update") == Found::Flag(true);
    stack.truncate(at);
    counted
}

#[derive(Clone, Copy)]
struct Writer<'s> {
    stack: Stack<'s>,
    resp3: bool,
    depth: usize,
}

/// A number as C casts it on the machines that we know: what does not fit is the smallest.
fn cut(number: f64) -> i64 {
    if number.is_nan() || number.abs() >= i64::MAX as f64 {
        return i64::MIN;
    }
    number as i64
}

impl Writer<'_> {
    /// Writes the value on top and leaves it there.
    fn write(self, reply: &mut Reply<'_>) {
        if reply.is_full() {
            // A table that holds itself many times over is small in memory and without end in a
            // reply.
            return;
        }
        match self.stack.at(-1) {
            Found::Text(text) => reply.bulk(text),
            Found::Flag(value) if self.resp3 => reply.bool(value),
            Found::Flag(true) => reply.int(1),
            Found::Number(number) => reply.int(cut(number)),
            Found::Table => self.write_table(reply),
            Found::Nil | Found::Flag(false) | Found::Other => reply.null(),
        }
    }

    fn write_table(mut self, reply: &mut Reply<'_>) {
        if self.depth >= DEPTH_MAX {
            return reply.error(&"ERR reached lua stack limit".into());
        }
        self.depth += 1;
        self.stack.reserve(LEVEL);
        let at = self.stack.len();
        let field = |name| {
            self.stack.truncate(at);
            self.stack.field(at, name)
        };
        if let Found::Text(error) = field("err") {
            reply.error_bytes(error);
        } else if let Found::Text(status) = field("ok") {
            reply.simple_bytes(status);
        } else if let Found::Number(number) = field("double") {
            reply.double(number);
        } else if let Found::Text(digits) = field("big_number") {
            reply.big_number(digits);
        } else if field("verbatim_string") == Found::Table
            && let Found::Text(format) = self.stack.field(at + 1, "format")
            && let Found::Text(text) = self.stack.field(at + 1, "string")
        {
            write_verbatim(reply, format, text);
        } else if field("map") == Found::Table {
            reply.map(self.count(at + 1));
            self.write_pairs(at + 1, true, reply);
        } else if field("set") == Found::Table {
            reply.set(self.count(at + 1));
            self.write_pairs(at + 1, false, reply);
        } else {
            self.stack.truncate(at);
            self.write_array(at, reply);
        }
        self.stack.truncate(at);
    }

    /// How many pairs a table has.
    fn count(self, table: c_int) -> usize {
        let mut count = 0;
        self.stack.push(Found::Nil);
        while self.stack.next(table) {
            self.stack.truncate(self.stack.len() - 1);
            count += 1;
        }
        count
    }

    /// Writes the keys of a table, each with its value when they are `values`.
    fn write_pairs(self, table: c_int, values: bool, reply: &mut Reply<'_>) {
        self.stack.push(Found::Nil);
        while self.stack.next(table) {
            let key = self.stack.len() - 1;
            self.stack.copy(key);
            self.write(reply);
            self.stack.truncate(key + 1);
            if values {
                self.write(reply);
            }
            self.stack.truncate(key);
        }
    }

    /// The elements up to the first nil.
    fn write_array(self, at: c_int, reply: &mut Reply<'_>) {
        // With holes the border that Lua finds may lie behind the first of them.
        let mut len = 0;
        for index in 1..=self.stack.length(at) {
            let found = self.stack.element(at, index);
            self.stack.truncate(at);
            if found == Found::Nil {
                break;
            }
            len = index;
        }
        reply.array(len);
        for index in 1..=len {
            self.stack.element(at, index);
            self.write(reply);
            self.stack.truncate(at);
        }
    }
}

/// The format is three bytes of the script's, which need not be characters.
fn write_verbatim(reply: &mut Reply<'_>, format: &[u8], text: &[u8]) {
    let format: String = String::from_utf8_lossy(format).chars().take(3).collect();
    reply.verbatim(&format, text);
}
