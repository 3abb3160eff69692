//! FAILOVER: who moves a primary here is the operator; the command answers what it can.

use super::support::int;
use super::{Command, Flags, Group, Handled};
use crate::engine::Context;
use crate::resp::errors;

pub const COMMANDS: &[Command] = &[Command {
    name: "failover",
    arity: -1,
    flags: Flags(Flags::LOCAL.0 | Flags::ADMIN.0 | Flags::NOSCRIPT.0 | Flags::STALE.0),
    group: Group::Server,
    since: "6.2.0",
    summary: "Says how the primary moves to another node.",
    handler: failover,
    ..Command::ROW
}];

fn failover(cx: &mut Context<'_>) -> Handled {
    let (mut at, mut aborts) = (1, false);
    while at < cx.args.len() {
        let rest = cx.args.len() - at - 1;
        if cx.args.is(at, "abort") && cx.args.len() == 2 {
            aborts = true;
        } else if cx.args.is(at, "force") {
        } else if cx.args.is(at, "timeout") && rest >= 1 {
            at += 1;
            if int(cx.args.at(at))? <= 0 {
                return Err("ERR FAILOVER timeout must be greater than 0".into());
            }
        } else if cx.args.is(at, "to") && rest >= 2 {
            int(cx.args.at(at + 2))?;
            at += 2;
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 1;
    }
    if aborts {
        return Err("ERR No failover in progress.".into());
    }
    if cx.engine.replication().is_replica() {
        return Err("ERR FAILOVER is not valid when server is a replica.".into());
    }
    if cx.engine.replication().replicas.iter().next().is_none() {
        return Err("ERR FAILOVER requires connected replicas.".into());
    }
    Err("ERR FAILOVER is not offered: the operator moves the primary (redisha switchover), and by \
         hand CLIENT PAUSE, REPLICAOF and CLIENT FORCE REDIRECT do"
        .into())
}
