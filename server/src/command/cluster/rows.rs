//! The subcommands of CLUSTER: all but KEYSLOT answer that there is no cluster.

use super::{Command, Flags, Group, Handler, OPEN, disabled, keyslot};

const STALE: Flags = Flags(Flags::LOCAL.0 | Flags::STALE.0);
const ADMIN: Flags = Flags(STALE.0 | Flags::ADMIN.0);
const RESET: Flags = Flags(ADMIN.0 | Flags::NOSCRIPT.0);
const FLUSH: Flags = Flags(Flags::WRITE.0 | Flags::ADMIN.0);

const fn row(
    name: &'static str,
    arity: i32,
    flags: Flags,
    since: &'static str,
    summary: &'static str,
    handler: Handler,
) -> Command {
    Command { name, arity, flags, since, summary, handler, group: Group::Cluster, ..Command::ROW }
}

#[rustfmt::skip]
pub const SUBCOMMANDS: &[Command] = &[
    row("addslots", -3, ADMIN, "3.0.0", "Assigns slots to this node.", disabled),
    row("addslotsrange", -4, ADMIN, "7.0.0", "Assigns ranges of slots to this node.", disabled),
    row("bumpepoch", 2, ADMIN, "3.0.0", "Raises the configuration epoch.", disabled),
    row("cancelslotmigrations", 2, ADMIN, "9.0.0", "Gives up the migrations of slots.", disabled),
    row("count-failure-reports", 3, ADMIN, "3.0.0", "Counts the reports that a node failed.", disabled),
    row("countkeysinslot", 3, STALE, "3.0.0", "Counts the keys of a slot.", disabled),
    row("delslots", -3, ADMIN, "3.0.0", "Takes slots from this node.", disabled),
    row("delslotsrange", -4, ADMIN, "7.0.0", "Takes ranges of slots from this node.", disabled),
    row("failover", -2, ADMIN, "3.0.0", "Lets this replica take over.", disabled),
    row("flushslot", -3, FLUSH, "9.0.0", "Deletes the keys of a slot.", disabled),
    row("flushslots", 2, ADMIN, "3.0.0", "Takes all slots from this node.", disabled),
    row("forget", 3, ADMIN, "3.0.0", "Forgets a node.", disabled),
    row("getkeysinslot", 4, STALE, "3.0.0", "Returns keys of a slot.", disabled),
    row("getslotmigrations", 2, ADMIN, "9.0.0", "Lists the migrations of slots.", disabled),
    row("help", 2, OPEN, "5.0.0", "Lists the subcommands.", disabled),
    row("info", 2, OPEN, "3.0.0", "Returns the state of the cluster.", disabled),
    row("keyslot", 3, STALE, "3.0.0", "Returns the slot of a key.", keyslot),
    row("links", 2, STALE, "7.0.0", "Lists the connections between nodes.", disabled),
    row("meet", -4, ADMIN, "3.0.0", "Introduces a node.", disabled),
    row("migrateslots", -4, ADMIN, "9.0.0", "Moves slots to other nodes.", disabled),
    row("myid", 2, OPEN, "3.0.0", "Returns the id of this node.", disabled),
    row("myshardid", 2, OPEN, "7.2.0", "Returns the id of this shard.", disabled),
    row("nodes", 2, OPEN, "3.0.0", "Lists the nodes.", disabled),
    row("replicas", 3, ADMIN, "5.0.0", "Lists the replicas of a node.", disabled),
    row("replicate", -3, ADMIN, "3.0.0", "Makes this node a replica.", disabled),
    row("reset", -2, RESET, "3.0.0", "Forgets the cluster.", disabled),
    row("saveconfig", 2, ADMIN, "3.0.0", "Saves the configuration of the cluster.", disabled),
    row("set-config-epoch", 3, ADMIN, "3.0.0", "Sets the configuration epoch.", disabled),
    row("setslot", -4, ADMIN, "3.0.0", "Assigns a slot.", disabled),
    row("shards", 2, OPEN, "7.0.0", "Lists the shards.", disabled),
    row("slaves", 3, ADMIN, "3.0.0", "Lists the replicas of a node.", disabled),
    row("slot-stats", -4, OPEN, "8.0.0", "Returns what slots are used for.", disabled),
    row("slots", 2, OPEN, "3.0.0", "Lists the slots with their nodes.", disabled),
    row("syncslots", -3, ADMIN, "9.0.0", "Used between nodes that move slots.", disabled),
];
