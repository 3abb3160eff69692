//! What a cluster client says. This server is one shard without cluster mode, so it answers as a
//! Valkey with cluster support disabled; but it remembers that the connection speaks cluster, and
//! tells it the way to another node in its own words (`-MOVED`).

use super::{Command, Flags, Group, Handled};
use crate::engine::Context;
use crate::engine::relay::key_slot;

const OPEN: Flags = Flags(Flags::LOCAL.0 | Flags::LOADING.0 | Flags::STALE.0);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "asking",
        arity: 1,
        flags: Flags(OPEN.0 | Flags::FAST.0),
        group: Group::Connection,
        since: "3.0.0",
        summary: "Said by a cluster client before a command that was sent elsewhere first.",
        handler: disabled,
        ..Command::ROW
    },
    Command {
        name: "cluster",
        arity: -2,
        flags: OPEN,
        group: Group::Server,
        since: "3.0.0",
        summary: "Cluster mode is not offered; CLUSTER KEYSLOT answers.",
        handler: cluster,
        ..Command::ROW
    },
];

fn cluster(cx: &mut Context<'_>) -> Handled {
    if cx.args.is(1, "keyslot") && cx.args.len() == 3 {
        let slot = key_slot(cx.args.at(2));
        cx.client.reply().int(i64::from(slot));
        return Ok(());
    }
    disabled(cx)
}

fn disabled(cx: &mut Context<'_>) -> Handled {
    cx.client.traits.speaks_cluster = true;
    Err("ERR This instance has cluster support disabled".into())
}
