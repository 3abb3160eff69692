//! MEMORY.

use super::{HELP, HERE};
use crate::command::support::int;
use crate::command::{Command, Flags, Group, Handled, Keys};
use crate::engine::Context;
use crate::resp::errors;

const ROW: Command = Command { group: Group::Server, since: "4.0.0", ..Command::ROW };

pub const SUBCOMMANDS: &[Command] = &[
    Command {
        name: "usage",
        arity: -3,
        flags: Flags::READONLY,
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        summary: "Estimates the memory of a key and its value, in bytes.",
        handler: usage,
        ..ROW
    },
    Command {
        name: "doctor",
        arity: 2,
        flags: HERE,
        summary: "Tells of memory problems.",
        handler: doctor,
        ..ROW
    },
    Command { handler: |cx| super::help(cx, "MEMORY", SUBCOMMANDS), ..HELP },
];

/// Bytes of a key's entry beside its name and value.
const ENTRY_BYTES: usize = 24;

fn usage(cx: &mut Context<'_>) -> Handled {
    match cx.args.len() {
        3 => {}
        5 if cx.args.is(3, "samples") => {
            int(cx.args.at(4))?;
        }
        _ => return Err(errors::SYNTAX.into()),
    }
    let key = cx.args.at(2);
    match cx.engine.keyspace.db_mut(cx.client.db).lookup(key) {
        Some(value) => {
            let bytes = value.memory() + key.len() + ENTRY_BYTES;
            cx.client.reply().int(bytes as i64);
        }
        None => cx.client.reply().null(),
    }
    Ok(())
}

fn doctor(cx: &mut Context<'_>) -> Handled {
    let (now, peak) = (cx.engine.memory_bytes, cx.engine.memory_peak_bytes);
    let text = format!("Resident memory is {now} bytes; its peak was {peak} bytes.");
    cx.client.reply().verbatim("txt", text.as_bytes());
    Ok(())
}
