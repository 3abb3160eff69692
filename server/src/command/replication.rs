//! Replication and saving commands.

use super::{Command, Flags, Group, Handled};
use crate::client::Duty;
use crate::engine::Context;
use crate::engine::replicate::{Introduced, Need, SaveError, write_reached};
use crate::replication::MemberLink;
use crate::resp::num::parse_i64;
use crate::resp::{CommandError, errors};

const NODE: Flags = Flags(
    Flags::ADMIN.0
        | Flags::LOCAL.0
        | Flags::STALE.0
        | Flags::LOADING.0
        | Flags::NOSCRIPT.0
        | Flags::NO_MULTI.0,
);
/// Sentinel changes roles in transactions.
const ROLE: Flags = Flags(NODE.0 & !Flags::NO_MULTI.0);
const SAVING: Flags = Flags(Flags::ADMIN.0 | Flags::LOCAL.0 | Flags::NOSCRIPT.0);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "psync",
        arity: -3,
        flags: NODE,
        group: Group::Server,
        summary: "Begins the replication stream, from an offset if it can.",
        since: "2.8.0",
        handler: psync,
        ..Command::ROW
    },
    Command {
        name: "sync",
        arity: 1,
        flags: NODE,
        group: Group::Server,
        summary: "Begins the replication stream with a snapshot.",
        handler: sync,
        ..Command::ROW
    },
    Command {
        name: "replconf",
        arity: -1,
        flags: ROLE.with(Flags::ALLOW_BUSY),
        group: Group::Server,
        summary: "What replicas and primaries tell each other beside the stream.",
        since: "3.0.0",
        handler: replconf,
        ..Command::ROW
    },
    Command {
        name: "replicaof",
        arity: 3,
        flags: ROLE,
        group: Group::Server,
        summary: "Follows a primary, or becomes one.",
        since: "5.0.0",
        handler: replicaof,
        ..Command::ROW
    },
    Command {
        name: "slaveof",
        arity: 3,
        flags: ROLE,
        group: Group::Server,
        summary: "The older name of REPLICAOF.",
        handler: replicaof,
        ..Command::ROW
    },
    Command {
        name: "role",
        arity: 1,
        flags: Flags(
            Flags::FAST.0 | Flags::LOCAL.0 | Flags::STALE.0 | Flags::LOADING.0 | Flags::NOSCRIPT.0,
        ),
        group: Group::Server,
        summary: "Tells the role in replication.",
        since: "2.8.12",
        handler: role,
        ..Command::ROW
    },
    Command {
        name: "wait",
        arity: 3,
        flags: Flags::BLOCKING,
        group: Group::Generic,
        summary: "Waits until replicas have applied the writes made so far.",
        since: "3.0.0",
        handler: wait,
        ..Command::ROW
    },
    Command {
        name: "waitaof",
        arity: 4,
        flags: Flags::BLOCKING,
        group: Group::Generic,
        summary: "Waits until disks hold the writes made so far.",
        since: "7.2.0",
        handler: waitaof,
        ..Command::ROW
    },
    Command {
        name: "save",
        arity: 1,
        flags: Flags(SAVING.0 | Flags::NO_MULTI.0),
        group: Group::Server,
        summary: "Saves the data to disk and returns when that is done.",
        handler: save,
        ..Command::ROW
    },
    Command {
        name: "bgsave",
        arity: -1,
        flags: SAVING,
        group: Group::Server,
        summary: "Saves the data to disk while commands go on.",
        handler: bgsave,
        ..Command::ROW
    },
    Command {
        name: "bgrewriteaof",
        arity: 1,
        flags: SAVING,
        group: Group::Server,
        summary: "Rewrites the append-only files while commands go on.",
        since: "1.0.0",
        handler: bgrewriteaof,
        ..Command::ROW
    },
    Command {
        name: "lastsave",
        arity: 1,
        flags: Flags(Flags::FAST.0 | Flags::LOCAL.0 | Flags::STALE.0 | Flags::LOADING.0),
        group: Group::Server,
        summary: "Tells the Unix time of the last successful save.",
        handler: lastsave,
        ..Command::ROW
    },
];

/// Of the version that a replica tells no more is kept.
const VERSION_LEN: usize = 32;

fn psync(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    let next = parse_i64(args.at(2)).ok_or(errors::NOT_INTEGER)?;
    if args.len() > 3 && args.is(3, "failover") {
        engine.take_over(args.at(1))?;
    }
    engine.replica_asks(client, Some((args.at(1), next)))
}

fn sync(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, .. } = cx;
    engine.replica_asks(client, None)
}

fn replconf(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    if args.len() < 2 {
        return Err(errors::SYNTAX.into());
    }
    let offset = |at: usize| args.get(at).and_then(parse_i64).and_then(|n| u64::try_from(n).ok());
    // What comes beside the stream has no answer.
    if args.is(1, "ack") {
        if let Some(acked) = offset(2) {
            let pair = |at: usize, word: &str| {
                if args.len() > at + 1 && args.is(at, word) { offset(at + 1) } else { None }
            };
            engine.replica_acknowledges(client.id, acked, (pair(3, "fack"), pair(5, "kept")));
        }
        return Ok(());
    }
    if args.is(1, "getack") {
        return Ok(());
    }
    if args.is(1, "redisha-resigned") {
        engine.replica_resigns(client.id);
        return Ok(());
    }
    if args.is(1, "redisha-accepted") || args.is(1, "redisha-declined") {
        let text = args.get(2).ok_or(errors::SYNTAX)?;
        engine.replica_answers(client.id, args.is(1, "redisha-accepted"), text);
        return Ok(());
    }
    if args.is(1, "redisha-member") {
        return introduce_member(cx);
    }
    if args.len().is_multiple_of(2) {
        return Err(errors::SYNTAX.into());
    }
    let mut at = 1;
    while at < args.len() {
        let value = args.at(at + 1);
        let text = || String::from_utf8_lossy(value).into_owned();
        let what = if args.is(at, "listening-port") {
            let port = offset(at + 1).and_then(|n| u16::try_from(n).ok());
            Some(Introduced::Port(port.ok_or(errors::NOT_INTEGER)?))
        } else if args.is(at, "ip-address") {
            Some(Introduced::Host(text()))
        } else if args.is(at, "rdb-only") {
            Some(Introduced::RdbOnly(value == b"1"))
        } else if args.is(at, "capa") {
            match value {
                b"eof" => Some(Introduced::Eof),
                b"psync2" => Some(Introduced::Psync2),
                b"redisha-relay" => Some(Introduced::Relays),
                b"redisha-scripts" => Some(Introduced::Scripts),
                other => level_of(other).map(Introduced::Level),
            }
        } else if args.is(at, "version") {
            Some(Introduced::Version(text().chars().take(VERSION_LEN).collect()))
        } else {
            let name = args.at(at).escape_ascii();
            return Err(format!("ERR Unrecognized REPLCONF option: {name}").into());
        };
        if let Some(what) = what {
            engine.replica_introduces(client, what);
        }
        at += 2;
    }
    client.reply().ok();
    Ok(())
}

/// The level in the ability `redisha-level-<n>`: servers of other kinds, and those of before there
/// were levels, skip an ability that they do not know.
fn level_of(ability: &[u8]) -> Option<u32> {
    std::str::from_utf8(ability.strip_prefix(b"redisha-level-")?).ok()?.parse().ok()
}

/// `REPLCONF redisha-member <uid> <own id> <target id> <t.h>`: answered with this member's epoch.
fn introduce_member(cx: &mut Context<'_>) -> Handled {
    if !cx.is_internal() {
        return Err("NOPERM members authenticate as their internal user".into());
    }
    let Context { engine, client, args, .. } = cx;
    let word = |at: usize| -> Result<String, CommandError> {
        let word = args.get(at).ok_or(errors::SYNTAX)?;
        Ok(String::from_utf8_lossy(word).into_owned())
    };
    let link = MemberLink { uid: word(2)?, member: word(3)?, epoch: word(5)? };
    let own_epoch = engine.admit_member(&link, &word(4)?)?;
    engine.replica_introduces(client, Introduced::Member(link));
    client.reply().simple(&own_epoch);
    Ok(())
}

fn replicaof(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, args, .. } = cx;
    if engine.is_managed() {
        return Err("ERR this server is managed: its role is its operator's to change".into());
    }
    if engine.is_failing_over() {
        return Err("ERR REPLICAOF not allowed while failing over.".into());
    }
    // What its transaction has written is in the stream that this node makes, and in no other.
    engine.flush_outbox();
    if args.is(1, "no") && args.is(2, "one") {
        if engine.replication().is_replica() {
            engine.lead_stream(false);
        }
        client.reply().ok();
        return Ok(());
    }
    let host = std::str::from_utf8(args.at(1)).map_err(|_| errors::SYNTAX)?;
    let port = parse_i64(args.at(2)).and_then(|n| u16::try_from(n).ok());
    let port = port.ok_or("ERR Invalid master port")?;
    if client.duty != Duty::Commands {
        return Err("ERR Command is not valid when client is a replica.".into());
    }
    let link = engine.replication().link.as_ref();
    if link.is_some_and(|link| link.config.host == host && link.config.port == port) {
        client.reply().simple("OK Already connected to specified master");
        return Ok(());
    }
    engine.follow_primary(host, port, None);
    engine.end_waits();
    client.reply().ok();
    Ok(())
}

fn role(cx: &mut Context<'_>) -> Handled {
    let Context { engine, client, .. } = cx;
    engine.write_role(client.reply());
    Ok(())
}

fn wait(cx: &mut Context<'_>) -> Handled {
    let count = parse_i64(cx.args.at(1)).ok_or(errors::NOT_INTEGER)?;
    // Fewer than none are there at once.
    let count = usize::try_from(count).unwrap_or(0);
    let timeout = parse_i64(cx.args.at(2)).ok_or(errors::TIMEOUT)?;
    let timeout_ms = wait_ms(cx, timeout)?;
    if cx.engine.replication().is_replica() {
        return Err("ERR WAIT cannot be used with replica instances. Please also note that since \
                    Redis 4.0 if a replica is configured to be writable (which is not the \
                    default) writes to replicas are just local and are not propagated."
            .into());
    }
    wait_for(cx, Need::Applied(count), timeout_ms)
}

/// How long to wait: it must end at a time that can be told.
fn wait_ms(cx: &Context<'_>, timeout: i64) -> Result<u64, CommandError> {
    let timeout_ms = u64::try_from(timeout).map_err(|_| errors::TIMEOUT_NEGATIVE)?;
    match cx.engine.now.unix_ms().checked_add(timeout) {
        Some(_) => Ok(timeout_ms),
        None => Err(errors::TIMEOUT_RANGE.into()),
    }
}

/// Answers now what is met already, or later.
fn wait_for(cx: &mut Context<'_>, need: Need, timeout_ms: u64) -> Handled {
    let id = cx.client.id;
    let reached = if cx.in_exec {
        Some(cx.engine.copies_now(need))
    } else {
        cx.engine.wait_for_copies(id, need, timeout_ms)
    };
    match reached {
        Some(reached) => write_reached(cx.reply(), need, reached),
        None => {
            cx.defer();
        }
    }
    Ok(())
}

fn waitaof(cx: &mut Context<'_>) -> Handled {
    let local = parse_i64(cx.args.at(1)).ok_or(errors::NOT_INTEGER)?;
    if !(0..=1).contains(&local) {
        return Err("ERR value is out of range, value must between 0 and 1".into());
    }
    let replicas = parse_i64(cx.args.at(2)).and_then(|number| usize::try_from(number).ok());
    let replicas = replicas.ok_or("ERR value is out of range, must be positive")?;
    let timeout = parse_i64(cx.args.at(3)).ok_or(errors::TIMEOUT)?;
    let timeout_ms = wait_ms(cx, timeout)?;
    if cx.engine.replication().is_replica() {
        return Err("ERR WAITAOF cannot be used with replica instances. Please also note that \
                    writes to replicas are just local and are not propagated."
            .into());
    }
    if local == 1 && !cx.engine.aof_is_on() {
        return Err(errors::NO_LOCAL_FILES.into());
    }
    wait_for(cx, Need::Durable { local: local == 1, replicas }, timeout_ms)
}

fn save(cx: &mut Context<'_>) -> Handled {
    cx.engine.save_now()?;
    cx.reply().ok();
    Ok(())
}

fn bgsave(cx: &mut Context<'_>) -> Handled {
    let schedule = match cx.args.len() {
        1 => false,
        2 if cx.args.is(1, "schedule") => true,
        2 if cx.args.is(1, "cancel") => {
            let cancelled = cx.engine.cancel_save();
            let none = "ERR Background saving is currently not in progress or scheduled";
            cx.reply().simple(cancelled.ok_or(none)?);
            return Ok(());
        }
        _ => return Err(errors::SYNTAX.into()),
    };
    let schedule = schedule || cx.in_exec;
    let begun = match cx.engine.save_in_background() {
        Err(SaveError::Busy) if schedule => {
            cx.engine.rooms.replication.saves.scheduled = true;
            false
        }
        other => other?,
    };
    cx.reply().simple(if begun {
        "Background saving started"
    } else {
        "Background saving scheduled"
    });
    Ok(())
}

fn bgrewriteaof(cx: &mut Context<'_>) -> Handled {
    let begun = cx.engine.rewrite_in_background()?;
    cx.reply().simple(if begun {
        "Background append only file rewriting started"
    } else {
        "Background append only file rewriting scheduled"
    });
    Ok(())
}

fn lastsave(cx: &mut Context<'_>) -> Handled {
    let at = cx.engine.rooms.replication.saves.last_unix_s;
    cx.reply().int(at);
    Ok(())
}
