//! Transactions: MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use super::{Command, Flags, Group, Handled, Keys, lookup, subcommand};
use crate::client::Multi;
use crate::engine::run::run_queued;
use crate::engine::{Context, hooks};
use crate::resp::{OwnedArgs, errors};

const OPEN: Flags = Flags(
    Flags::FAST.0
        | Flags::LOADING.0
        | Flags::STALE.0
        | Flags::NOSCRIPT.0
        | Flags::ALLOW_BUSY.0
        | Flags::IN_MULTI.0,
);
/// Refused inside a transaction, which it spoils.
const OUTSIDE: Flags = Flags(OPEN.0 & !Flags::IN_MULTI.0 | Flags::NO_MULTI.0);

pub const COMMANDS: &[Command] = &[
    Command {
        name: "multi",
        arity: 1,
        flags: OUTSIDE,
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Opens a transaction.",
        handler: multi,
        ..Command::ROW
    },
    Command {
        name: "exec",
        arity: 1,
        flags: Flags(OPEN.0 & !(Flags::FAST.0 | Flags::ALLOW_BUSY.0)),
        group: Group::Transactions,
        since: "1.2.0",
        summary: "Executes a transaction.",
        handler: exec,
        ..Command::ROW
    },
    Command {
        name: "discard",
        arity: 1,
        flags: OPEN,
        group: Group::Transactions,
        since: "2.0.0",
        summary: "Forgets a transaction.",
        handler: discard,
        ..Command::ROW
    },
    Command {
        name: "watch",
        arity: -2,
        flags: OUTSIDE,
        keys: Keys::ALL,
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Lets the next EXEC run only if these keys stay as they are.",
        handler: watch,
        ..Command::ROW
    },
    Command {
        name: "unwatch",
        arity: 1,
        flags: Flags(OPEN.0 & !Flags::IN_MULTI.0),
        group: Group::Transactions,
        since: "2.2.0",
        summary: "Forgets all watched keys.",
        handler: unwatch,
        ..Command::ROW
    },
];

fn multi(cx: &mut Context<'_>) -> Handled {
    cx.client.multi = Some(Box::new(Multi::default()));
    cx.client.reply().ok();
    Ok(())
}

fn exec(cx: &mut Context<'_>) -> Handled {
    let Some(multi) = cx.client.multi.take() else {
        return Err("ERR EXEC without MULTI".into());
    };
    // A watched key whose time has come counts as changed, though nobody has removed it yet.
    let watching = &cx.client.watching;
    let keyspace = &cx.engine.keyspace;
    let stale = cx.client.watch_broken
        || watching.iter().any(|(db, key)| keyspace.db(*db as usize).is_hidden(key));
    cx.engine.unwatch(cx.client);
    if multi.broken {
        return Err(errors::EXEC_ABORT.into());
    }
    // It was queued when this node was a primary.
    let writes = |queued: &OwnedArgs| {
        let args = queued.args();
        let row = lookup(args.at(0)).and_then(|row| subcommand(row, args));
        row.is_some_and(|row| cx.engine.writes(row, args))
    };
    if !cx.from_primary && hooks::refuses_writes(cx.engine) && multi.queue.iter().any(writes) {
        return Err(
            format!("EXECABORT Transaction discarded because of: {}", errors::READ_ONLY).into()
        );
    }
    if stale {
        cx.client.reply().null_array();
        return Ok(());
    }
    cx.client.reply().array(multi.queue.len());
    run_queued(cx, &multi.queue);
    Ok(())
}

fn discard(cx: &mut Context<'_>) -> Handled {
    if cx.client.multi.take().is_none() {
        return Err("ERR DISCARD without MULTI".into());
    }
    cx.engine.unwatch(cx.client);
    cx.client.reply().ok();
    Ok(())
}

fn watch(cx: &mut Context<'_>) -> Handled {
    // A key whose time came before is gone from the beginning, which is no change to wait for.
    for key in cx.args.iter().skip(1) {
        cx.engine.keyspace.db_mut(cx.client.db).contains(key);
    }
    hooks::drain_expired(cx.engine, Some(&mut *cx.client));
    for key in cx.args.iter().skip(1) {
        cx.engine.watch(cx.client, key);
    }
    cx.client.reply().ok();
    Ok(())
}

fn unwatch(cx: &mut Context<'_>) -> Handled {
    cx.engine.unwatch(cx.client);
    cx.client.reply().ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Bench;

    /// A watched key that expired did not break the WATCH, whoever noticed it first.
    #[test]
    fn an_expired_key_breaks_its_watch() {
        let check = |between: &[&str], wait_ms: u64, reply: &str| {
            let mut bench = Bench::new(&[]);
            let (client, other) = (bench.client(), bench.client());
            bench.ask(client, "SET k v PX 100");
            bench.ask(client, "WATCH k");
            bench.engine.set_now(crate::engine::Now {
                mono_us: bench.engine.now.mono_us + wait_ms * 1000,
                unix_us: bench.engine.now.unix_us + wait_ms as i64 * 1000,
            });
            for command in between {
                bench.ask(other, command);
            }
            bench.ask(client, "MULTI");
            bench.ask(client, "PING");
            assert_eq!(bench.ask(client, "EXEC"), reply, "{between:?} {wait_ms}");
        };
        check(&[], 50, "*1 +PONG");
        check(&[], 200, "*-1");
        check(&["GET k"], 200, "*-1");
    }

    /// A WATCH that found its key's time over took that for a change of the key.
    #[test]
    fn a_key_that_was_gone_before_breaks_no_watch() {
        let mut bench = Bench::new(&[("enable-debug-command", "yes")]);
        let client = bench.client();
        bench.ask(client, "DEBUG SET-ACTIVE-EXPIRE 0");
        bench.ask(client, "SET k v PX 10");
        bench.pass_ms(50);
        bench.ask(client, "WATCH k");
        bench.ask(client, "MULTI");
        bench.ask(client, "PING");
        assert_eq!(bench.ask(client, "EXEC"), "*1 +PONG");
    }

    /// SWAPDB broke every WATCH of its databases, of keys that are in neither and of those that were
    /// gone before as well.
    #[test]
    fn swapdb_breaks_the_watches_of_what_it_changes() {
        let check = |before: &[&str], between: &[&str], reply: &str| {
            let mut bench = Bench::new(&[("enable-debug-command", "yes")]);
            let (client, other) = (bench.client(), bench.client());
            bench.ask(other, "DEBUG SET-ACTIVE-EXPIRE 0");
            let run = |bench: &mut Bench, commands: &[&str]| {
                for command in commands {
                    match *command {
                        "later" => bench.pass_ms(50),
                        _ => drop(bench.ask(other, command)),
                    }
                }
            };
            run(&mut bench, before);
            bench.ask(client, "WATCH k");
            run(&mut bench, between);
            bench.ask(client, "MULTI");
            bench.ask(client, "PING");
            assert_eq!(bench.ask(client, "EXEC"), reply, "{before:?} {between:?}");
        };
        let (kept, broken) = ("*1 +PONG", "*-1");
        check(&[], &["SWAPDB 0 1"], kept);
        check(&["SET other v"], &["SWAPDB 0 1"], kept);
        check(&["SET k v"], &["SWAPDB 1 2"], kept);
        check(&["SET k v"], &["SWAPDB 0 0"], kept);
        check(&["SET k v"], &["SWAPDB 0 1"], broken);
        check(&["SELECT 1", "SET k v"], &["SWAPDB 1 0"], broken);
        check(&["SET k v", "SELECT 1", "SET k v"], &["SWAPDB 0 1"], broken);
        check(&["SET k v PX 10"], &["later", "SWAPDB 0 1"], broken);
        check(&["SET k v PX 10", "later"], &["SWAPDB 0 1"], kept);
        check(&["SET k v PX 10", "SELECT 1", "SET k v PX 10", "later"], &["SWAPDB 0 1"], kept);
        check(&["SET k v PX 10", "later", "SELECT 1", "SET k v"], &["SWAPDB 0 1"], broken);
        check(&["SELECT 1", "SET k v PX 10", "later"], &["SWAPDB 0 1"], kept);
        check(&["SELECT 1", "SET k v PX 10"], &["later", "SWAPDB 0 1"], kept);
        check(&["SELECT 1", "SET k v PX 10", "later"], &["SWAPDB 0 1", "SWAPDB 0 1"], kept);
    }

    /// A replica that had lost its primary answered plain commands though it was told not to, and
    /// transactions that had been queued before.
    #[test]
    fn stale_data_are_not_served_where_that_is_forbidden() {
        let mut bench = Bench::new(&[("replica-serve-stale-data", "no")]);
        let (client, other) = (bench.client(), bench.client());
        bench.ask(client, "MULTI");
        bench.ask(client, "GET k");
        assert_eq!(bench.ask(other, "REPLICAOF 127.0.0.1 1"), "+OK");
        assert!(bench.ask(other, "GET k").starts_with("-MASTERDOWN"));
        let refused = "-EXECABORT Transaction discarded because of: MASTERDOWN";
        assert!(bench.ask(client, "EXEC").starts_with(refused));
        assert!(bench.ask(other, "INFO server").starts_with('$'), "what tells of itself goes on");
    }

    /// A script that does not say that it only reads was queued on a replica, and refused by itself
    /// within EXEC, whose other commands ran.
    #[test]
    fn a_transaction_with_a_script_that_may_write_is_none_for_a_replica() {
        let mut bench = Bench::new(&[]);
        let scripts = ["#!lua\n", "#!lua flags=no-writes\n"];
        let (client, other) = (bench.client(), bench.client());
        let eval = |bench: &mut Bench, body: &str| {
            let text = format!("{body}return 1");
            let mut bytes = Vec::new();
            crate::resp::encode_command(&mut bytes, [b"EVAL", text.as_bytes(), b"0"]);
            bench.engine.receive(bench.id(client), &bytes);
            bench.engine.turn_end();
            bench.out(client)
        };
        bench.ask(client, "MULTI");
        assert_eq!(eval(&mut bench, scripts[0]), "+QUEUED");
        bench.ask(other, "REPLICAOF 127.0.0.1 1");
        let refused = "-EXECABORT Transaction discarded because of: READONLY";
        assert!(bench.ask(client, "EXEC").starts_with(refused));
        bench.ask(client, "MULTI");
        assert!(eval(&mut bench, scripts[0]).starts_with("-READONLY"));
        assert!(bench.ask(client, "EXEC").starts_with("-EXECABORT"));
        bench.ask(client, "MULTI");
        assert_eq!(eval(&mut bench, scripts[1]), "+QUEUED");
        assert_eq!(bench.ask(client, "EXEC"), "*1 :1");
    }

    /// `replica-read-only no` was shown and obeyed by nobody.
    #[test]
    fn a_replica_takes_writes_of_its_own_where_that_is_allowed() {
        let mut bench = Bench::new(&[]);
        let client = bench.client();
        bench.ask(client, "SET k 1 PX 100");
        bench.ask(client, "REPLICAOF 127.0.0.1 1");
        let offset = bench.engine.replication().offset();
        assert!(bench.ask(client, "SET own 1").starts_with("-READONLY"));
        bench.ask(client, "CONFIG SET replica-read-only no");
        assert_eq!(bench.ask(client, "SET own 1"), "+OK");
        assert_eq!(bench.ask(client, "EVAL redis.call('incr','own') 0"), "$-1");
        bench.ask(client, "MULTI");
        bench.ask(client, "INCR own");
        assert_eq!(bench.ask(client, "EXEC"), "*1 :3");
        bench.pass_ms(200);
        assert_eq!(bench.ask(client, "DBSIZE"), ":2", "its primary says when its keys end");
        assert_eq!(bench.ask(client, "INCR k"), ":1", "but what is written anew is new");
        bench.ask(client, "SET own 1 PX 100");
        bench.ask(client, "SET longer 1 PX 100");
        bench.ask(client, "PERSIST longer");
        assert_eq!(bench.engine.own_expiring(), 2);
        bench.pass_ms(200);
        assert_eq!(bench.ask(client, "DBSIZE"), ":2", "its own keys end by themselves");
        assert_eq!(bench.engine.own_expiring(), 0);
        for n in 0..1000 {
            bench.ask(client, &format!("SET many{n} 1 EX 1000"));
        }
        bench.ask(client, "SET own 1 PX 100");
        bench.pass_ms(200);
        bench.pass_ms(200);
        assert_eq!(bench.engine.own_expiring(), 1000, "one behind many is looked at as well");
        bench.ask(client, "SET own 1");
        assert_eq!(bench.engine.replication().offset(), offset, "nobody else hears of it");
        bench.ask(client, "CONFIG SET replica-read-only yes");
        assert!(bench.ask(client, "SET own 2").starts_with("-READONLY"));
    }
}
