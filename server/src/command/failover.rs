//! FAILOVER: hands this primary's office to one of its replicas. Managed servers leave that to their
//! operator.

use super::support::int;
use super::{Command, Flags, Group, Handled};
use crate::engine::Context;
use crate::engine::replicate::Wish;
use crate::resp::{Args, CommandError, errors};

pub const COMMANDS: &[Command] = &[Command {
    name: "failover",
    arity: -1,
    flags: Flags(Flags::LOCAL.0 | Flags::ADMIN.0 | Flags::NOSCRIPT.0 | Flags::STALE.0),
    group: Group::Server,
    since: "6.2.0",
    summary: "Hands over to a replica without losing a write.",
    handler: failover,
    ..Command::ROW
}];

const MANAGED: &str = "ERR this server is managed: its operator moves the primary (redisha \
     switchover, or the annotation redisha.dev/switchover)";

fn failover(cx: &mut Context<'_>) -> Handled {
    if cx.engine.is_managed() {
        return Err(MANAGED.into());
    }
    if cx.args.len() == 2 && cx.args.is(1, "abort") {
        if !cx.engine.abort_failover() {
            return Err("ERR No failover in progress.".into());
        }
    } else {
        let wish = read(cx.args)?;
        cx.engine.fail_over(wish)?;
    }
    cx.reply().ok();
    Ok(())
}

fn read(args: Args<'_>) -> Result<Wish, CommandError> {
    let mut wish = Wish::default();
    let mut at = 1;
    while at < args.len() {
        let rest = args.len() - at - 1;
        if args.is(at, "timeout") && rest >= 1 && wish.timeout_ms.is_none() {
            let timeout_ms = int(args.at(at + 1))?;
            let timeout_ms = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0);
            wish.timeout_ms =
                Some(timeout_ms.ok_or("ERR FAILOVER timeout must be greater than 0")?);
            at += 1;
        } else if args.is(at, "to") && rest >= 2 && wish.target.is_none() {
            let port = int(args.at(at + 2))?;
            // No replica has a port that is none.
            let port = u16::try_from(port).unwrap_or(0);
            wish.target = Some((String::from_utf8_lossy(args.at(at + 1)).into_owned(), port));
            at += 2;
        } else if args.is(at, "force") && !wish.force {
            wish.force = true;
        } else {
            return Err(errors::SYNTAX.into());
        }
        at += 1;
    }
    Ok(wish)
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Bench;

    #[test]
    fn what_cannot_be_done_is_refused_in_valkeys_words() {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        let mut check = |command: &str, expected: &str| {
            assert_eq!(bench.ask(client, command), expected, "{command}");
        };
        check("FAILOVER ABORT", "-ERR No failover in progress.");
        check("FAILOVER", "-ERR FAILOVER requires connected replicas.");
        check("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0");
        check("FAILOVER TIMEOUT", "-ERR syntax error");
        check("FAILOVER TO h 7 TO h 7", "-ERR syntax error");
        check("FAILOVER ABORT FORCE", "-ERR syntax error");
        check("FAILOVER TO h x", "-ERR value is not an integer or out of range");
        check("REPLICAOF 127.0.0.1 1", "+OK");
        check("FAILOVER", "-ERR FAILOVER is not valid when server is a replica.");
    }
}
