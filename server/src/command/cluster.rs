//! What a cluster client says. This server is one shard without cluster mode, so it answers as a
//! Valkey with cluster support disabled; but it remembers that the connection speaks cluster, and
//! tells it the way to another node in its own words (`-MOVED`).

mod rows;

use super::{Command, Flags, Group, Handled, Handler};
use crate::engine::Context;
use crate::engine::relay::key_slot;

const OPEN: Flags = Flags(Flags::LOCAL.0 | Flags::LOADING.0 | Flags::STALE.0);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "asking",
        arity: 1,
        flags: Flags(Flags::LOCAL.0 | Flags::FAST.0),
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Said by a cluster client before a command that was sent elsewhere first.",
        handler: disabled,
        ..Command::ROW
    },
    Command {
        name: "cluster",
        arity: -2,
        flags: Flags::LOCAL,
        group: Group::Cluster,
        since: "3.0.0",
        summary: "Cluster mode is not offered; CLUSTER KEYSLOT answers.",
        subcommands: rows::SUBCOMMANDS,
        ..Command::ROW
    },
    Command {
        name: "clusterscan",
        arity: -2,
        flags: Flags(Flags::LOCAL.0 | Flags::READONLY.0),
        group: Group::Cluster,
        since: "9.1.0",
        summary: "Iterates over the keys of a cluster's slots.",
        handler: disabled,
        ..Command::ROW
    },
];

fn keyslot(cx: &mut Context<'_>) -> Handled {
    let slot = key_slot(cx.args.at(2));
    cx.client.reply().int(i64::from(slot));
    Ok(())
}

fn disabled(cx: &mut Context<'_>) -> Handled {
    cx.client.traits.speaks_cluster = true;
    Err("ERR This instance has cluster support disabled".into())
}
