//! `HyperLogLog`: how many different elements a string has seen, about.

mod sketch;

use super::support::wrote;
use super::{Command, Flags, Group, Handled, Keys};
use crate::config::EventClasses;
use crate::engine::{Context, hooks};
use crate::resp::{CommandError, errors};
use crate::store::{Db, Str, StrRef, Value, ValueRef};

use sketch::Run;

const ROW: Command = Command {
    group: Group::HyperLogLog,
    keys: Keys::ONE,
    flags: Flags::WRITE.with(Flags::DENYOOM),
    since: "2.8.9",
    ..Command::ROW
};

pub const COMMANDS: &[Command] = &[
    Command {
        name: "pfadd",
        arity: -2,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::FAST),
        summary: "Adds elements to a HyperLogLog.",
        handler: pfadd,
        ..ROW
    },
    Command {
        name: "pfcount",
        arity: -2,
        flags: Flags::READONLY.with(Flags::MAY_REPLICATE),
        keys: Keys::ALL,
        summary: "Returns about how many different elements HyperLogLogs have seen together.",
        handler: pfcount,
        ..ROW
    },
    Command {
        name: "pfmerge",
        arity: -2,
        keys: Keys::ALL,
        summary: "Merges HyperLogLogs into one.",
        handler: pfmerge,
        ..ROW
    },
    Command {
        name: "pfdebug",
        arity: 3,
        flags: Flags::WRITE.with(Flags::DENYOOM).with(Flags::ADMIN),
        keys: Keys::Range { first: 2, last: 2, step: 1 },
        summary: "Shows the inside of a HyperLogLog.",
        handler: pfdebug,
        ..ROW
    },
    Command {
        name: "pfselftest",
        arity: 1,
        flags: Flags::ADMIN,
        keys: Keys::None,
        summary: "Checks the HyperLogLog's own arithmetic.",
        handler: pfselftest,
        ..ROW
    },
];

impl From<sketch::Corrupt> for CommandError {
    fn from(_: sketch::Corrupt) -> Self {
        "INVALIDOBJ Corrupted HLL object detected".into()
    }
}

/// The sketch at a key; an error for a value that is none.
fn sketch_at<'d>(db: &'d mut Db, key: &[u8]) -> Result<Option<&'d [u8]>, CommandError> {
    match db.lookup(key) {
        None => Ok(None),
        Some(ValueRef::Str(StrRef::Bytes(bytes))) if sketch::is_sketch(bytes) => Ok(Some(bytes)),
        Some(ValueRef::Str(_)) => {
            Err("WRONGTYPE Key is not a valid HyperLogLog string value.".into())
        }
        Some(_) => Err(errors::WRONG_TYPE.into()),
    }
}

/// The bytes of the string at a key to change in place; an empty sketch where there is none. The
/// caller checked what is there.
fn sketch_mut<'d>(db: &'d mut Db, key: &[u8]) -> Result<&'d mut Vec<u8>, CommandError> {
    match db.get_or_insert_with(key, || Value::Str(Str::Bytes(sketch::empty()))) {
        Value::Str(text) => Ok(text.bytes_mut()),
        _ => Err(errors::WRONG_TYPE.into()),
    }
}

/// `hll-sparse-max-bytes`.
fn sparse_max(cx: &Context<'_>) -> usize {
    cx.engine.config.hll_sparse_max_bytes.0 as usize
}

fn pfadd(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(1);
    let sparse_max = sparse_max(cx);
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let mut changes = usize::from(sketch_at(db, key)?.is_none());
    let bytes = sketch_mut(db, key)?;
    for element in args.tail(2).iter() {
        changes += usize::from(sketch::add(bytes, element, sparse_max)?);
    }
    if changes > 0 {
        sketch::forget_count(bytes);
        wrote(cx, key, changes);
        cx.notify(EventClasses::STRING, "pfadd", key);
    }
    cx.client.reply().int(i64::from(changes > 0));
    Ok(())
}

fn pfcount(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    if args.len() > 2 {
        let (registers, _) = merged(db, args.iter().skip(1))?;
        let mut histogram: sketch::Histogram = [0; 64];
        for value in registers {
            histogram[usize::from(value)] += 1;
        }
        cx.client.reply().int(sketch::estimate(&histogram) as i64);
        return Ok(());
    }
    let key = args.at(1);
    let Some(bytes) = sketch_at(db, key)? else {
        cx.client.reply().int(0);
        return Ok(());
    };
    if let Some(count) = sketch::kept_count(bytes) {
        cx.client.reply().int(count as i64);
        return Ok(());
    }
    let count = sketch::estimate(&sketch::histogram(bytes)?);
    // The count is kept in the value, which is a change like any other: a replica makes none of
    // its own, and none is made while a switch keeps the stream still.
    if !hooks::is_replica(cx.engine) && hooks::stream_may_grow(cx.engine) {
        let db = cx.engine.keyspace.db_mut(cx.client.db);
        sketch::keep_count(sketch_mut(db, key)?, count);
        wrote(cx, key, 1);
    }
    cx.client.reply().int(count as i64);
    Ok(())
}

/// The highest value of each register in all sketches, and whether one of them is dense.
fn merged<'k>(
    db: &mut Db,
    keys: impl Iterator<Item = &'k [u8]>,
) -> Result<(Vec<u8>, bool), CommandError> {
    let mut registers = vec![0; sketch::REGISTERS];
    let mut dense = false;
    for key in keys {
        let Some(bytes) = sketch_at(db, key)? else { continue };
        dense |= !sketch::is_sparse(bytes);
        sketch::each_register(bytes, |index, value| {
            registers[index] = value.max(registers[index]);
        })?;
    }
    Ok((registers, dense))
}

fn pfmerge(cx: &mut Context<'_>) -> Handled {
    let key = cx.args.at(1);
    let sparse_max = sparse_max(cx);
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let (registers, dense) = merged(db, cx.args.iter().skip(1))?;
    let bytes = sketch_mut(db, key)?;
    if dense {
        sketch::make_dense(bytes)?;
    }
    for (index, value) in registers.into_iter().enumerate().filter(|(_, value)| *value > 0) {
        sketch::raise(bytes, index, value, sparse_max)?;
    }
    sketch::forget_count(bytes);
    wrote(cx, key, 1);
    cx.notify(EventClasses::STRING, "pfadd", key);
    cx.client.reply().ok();
    Ok(())
}

fn pfdebug(cx: &mut Context<'_>) -> Handled {
    let args = cx.args;
    let key = args.at(2);
    if args.is(1, "simd") {
        // There is one way to count here; the words are taken for those who compare two.
        let state = match args.at(2) {
            word if word.eq_ignore_ascii_case(b"on") => "enabled",
            word if word.eq_ignore_ascii_case(b"off") => "disabled",
            _ => return Err("ERR Argument must be ON or OFF".into()),
        };
        cx.client.reply().simple(state);
        return Ok(());
    }
    let db = cx.engine.keyspace.db_mut(cx.client.db);
    let bytes = sketch_at(db, key)?.ok_or("ERR The specified key does not exist")?;
    if args.is(1, "encoding") {
        let name = if sketch::is_sparse(bytes) { "sparse" } else { "dense" };
        cx.client.reply().simple(name);
    } else if args.is(1, "decode") {
        if !sketch::is_sparse(bytes) {
            return Err("ERR HLL encoding is not sparse".into());
        }
        let text = decoded(bytes);
        cx.client.reply().bulk(text.as_bytes());
    } else if args.is(1, "getreg") || args.is(1, "todense") {
        let changed = sketch::make_dense(sketch_mut(db, key)?)?;
        if args.is(1, "todense") {
            cx.client.reply().int(i64::from(changed));
        } else {
            let (registers, _) = merged(db, std::iter::once(key))?;
            let mut reply = cx.client.reply();
            reply.array(registers.len());
            for value in registers {
                reply.int(value.into());
            }
        }
        if changed {
            wrote(cx, key, 1);
        }
    } else {
        let name = String::from_utf8_lossy(args.at(1)).into_owned();
        return Err(format!("ERR Unknown PFDEBUG subcommand '{name}'").into());
    }
    Ok(())
}

/// The runs of a sparse sketch, damaged or not: `z` few and `Z` many zeroes, `v` a value with its
/// count.
fn decoded(bytes: &[u8]) -> String {
    let runs = sketch::runs(bytes).map(|run| match run {
        Run::Zeroes(count) => format!("z:{count}"),
        Run::ManyZeroes(count) => format!("Z:{count}"),
        Run::Value(value, count) => format!("v:{value},{count}"),
    });
    runs.collect::<Vec<_>>().join(" ")
}

/// Adds elements to both forms and compares: registers, estimates, and the error of these. Shorter
/// than elsewhere, since nobody is served meanwhile.
fn pfselftest(cx: &mut Context<'_>) -> Handled {
    let (mut small, mut dense) = (sketch::empty(), sketch::empty());
    sketch::make_dense(&mut dense)?;
    let sparse_max = sparse_max(cx);
    let salt = cx.engine.rooms.random.draw();
    let mut checkpoint = 1;
    for n in 1..=100_000u64 {
        let element = (n ^ salt).to_le_bytes();
        sketch::add(&mut small, &element, sparse_max)?;
        sketch::add(&mut dense, &element, sparse_max)?;
        if n != checkpoint {
            continue;
        }
        let count = sketch::estimate(&sketch::histogram(&dense)?);
        if count != sketch::estimate(&sketch::histogram(&small)?) {
            return Err("ERR TESTFAILED dense/sparse disagree".into());
        }
        let error = count.abs_diff(n);
        if error as f64 > (6.0 * 1.04 / 128.0 * n as f64).ceil().max(1.0) {
            let text = format!("ERR TESTFAILED Too big error. card:{n} abserr:{error}");
            return Err(text.into());
        }
        checkpoint *= 10;
    }
    cx.client.reply().ok();
    Ok(())
}
