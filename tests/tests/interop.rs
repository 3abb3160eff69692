//! Replication with stock Valkey and Redis, both ways, and between our own servers.
//!
//! `REDISHA_VALKEY` and `REDISHA_REDIS` name their servers (`cargo xtask peers` installs them and
//! `cargo xtask test` sets both). Without them the tests with peers are skipped aloud; with `CI` set
//! that is a failure.

#[path = "interop/fields.rs"]
mod fields;

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::resp::{Client, Value};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// What a test runs: our server or a stock one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Ours,
    Valkey,
    Redis,
}

impl Kind {
    fn program(self) -> Option<PathBuf> {
        let variable = match self {
            Self::Ours => return Some(tests::programs::server()),
            Self::Valkey => "REDISHA_VALKEY",
            Self::Redis => "REDISHA_REDIS",
        };
        let path = env::var_os(variable).map(PathBuf::from);
        if path.is_none() {
            assert!(env::var_os("CI").is_none(), "{variable} is not set");
            eprintln!("SKIPPED: {variable} is not set");
        }
        path
    }

    fn start(self, name: &str) -> Result<Option<Server>> {
        self.start_with(name, &[])
    }

    fn start_with(self, name: &str, directives: &[&str]) -> Result<Option<Server>> {
        let Some(program) = self.program() else { return Ok(None) };
        Server::start_program(&program, &format!("{name}-{self:?}"), directives).map(Some)
    }
}

/// Type, value and expiry of every key of every database.
type Contents = BTreeMap<(u32, String), (String, Vec<String>, i64)>;

fn strings(value: Value) -> Result<Vec<String>> {
    match value {
        Value::Array(items) => items.into_iter().map(Value::text).collect(),
        other => Ok(vec![other.text()?]),
    }
}

/// What XINFO tells of a stream, in one row, without what each node has for itself: when it saw
/// the consumers, how it holds the entries, and a lag that not every server reckons alike.
fn stream_facts(value: Value, out: &mut Vec<String>) -> Result<()> {
    const OWN: [&str; 5] =
        ["seen-time", "active-time", "radix-tree-keys", "radix-tree-nodes", "lag"];
    match value {
        Value::Array(items) => {
            let mut items = items.into_iter();
            while let Some(item) = items.next() {
                match &item {
                    Value::Text(name) if OWN.contains(&name.as_str()) => drop(items.next()),
                    _ => stream_facts(item, out)?,
                }
            }
            out.push("end".into());
        }
        other => out.push(other.text()?),
    }
    Ok(())
}

fn contents(server: &Server) -> Result<Contents> {
    let mut client = server.client()?;
    let mut all = Contents::new();
    for db in 0..3 {
        client.say(&format!("SELECT {db}"))?;
        for key in strings(client.say("KEYS *")?)? {
            let kind = client.call(&["TYPE", &key])?.text()?;
            if kind == "stream" {
                let mut facts = Vec::new();
                let full = client.call(&["XINFO", "STREAM", &key, "FULL", "COUNT", "0"])?;
                stream_facts(full, &mut facts)?;
                all.insert((db, key), (kind, facts, -1));
                continue;
            }
            let mut value = strings(match kind.as_str() {
                "string" => client.call(&["GET", &key])?,
                "list" => client.call(&["LRANGE", &key, "0", "-1"])?,
                "set" => client.call(&["SMEMBERS", &key])?,
                "hash" => client.call(&["HGETALL", &key])?,
                _ => client.call(&["ZRANGE", &key, "0", "-1", "WITHSCORES"])?,
            })?;
            match kind.as_str() {
                "set" => value.sort(),
                "hash" => {
                    value = value.chunks(2).map(|pair| pair.join("\0")).collect();
                    value.sort();
                }
                _ => {}
            }
            let expiry = client.call(&["PEXPIRETIME", &key])?.int()?;
            all.insert((db, key), (kind, value, expiry));
        }
    }
    Ok(all)
}

/// Waits until the replica has applied the primary's stream and holds the same contents.
fn expect_equal(primary: &Server, replica: &Server) -> Result<()> {
    wait::until("the replica has applied the stream", PATIENCE, || {
        Ok(replica.is_level_with(primary)?.then_some(()))
    })?;
    // Stock servers have no such line.
    let failed = replica.info("slave_failed_commands").unwrap_or_else(|_| "0".into());
    ensure!(failed == "0", "commands of the stream were not applied: {}", replica.log());
    let (want, got) = (contents(primary)?, contents(replica)?);
    for (key, value) in &want {
        ensure!(got.get(key) == Some(value), "{key:?}: {value:?} is {:?}", got.get(key));
    }
    ensure!(got.len() == want.len(), "the replica has {} keys of {}", got.len(), want.len());
    Ok(())
}

/// Runs a line; an error reply is an error.
fn run(client: &mut Client, line: &str) -> Result<()> {
    let answer = client.say(line)?;
    ensure!(!matches!(answer, Value::Error(_)), "{line:.80}: {answer:?}");
    Ok(())
}

/// Every type in its small and its large form, with and without expiry, in two databases.
fn fill(server: &Server) -> Result<()> {
    let mut client = server.client()?;
    for db in 0..2 {
        run(&mut client, &format!("SELECT {db}"))?;
        let numbers = ["0", "-1", "127", "40000", "-3000000000", "9223372036854775807"];
        for (i, number) in numbers.iter().enumerate() {
            run(&mut client, &format!("SET int:{i} {number}"))?;
        }
        run(&mut client, "SET text hello")?;
        run(&mut client, "SET empty ")?;
        client.call(&["SET", "spaced", "with blanks\r\nand \"quotes\""])?;
        client.call(&["SET", "large", &"abcdefgh".repeat(20_000)])?;
        for count in [3, 200, 3000_i32] {
            for i in 0..i64::from(count) {
                run(&mut client, &format!("RPUSH list:{count} element-{i}"))?;
                run(&mut client, &format!("SADD ints:{count} {}", i * 1_000_003 - 500))?;
                run(&mut client, &format!("SADD set:{count} member-{i}"))?;
                run(&mut client, &format!("HSET hash:{count} field-{i} {i}"))?;
                run(&mut client, &format!("ZADD zset:{count} {}.5 member-{i}", i - 7))?;
            }
            client.call(&["HSET", &format!("hash:{count}"), "long", &"x".repeat(300)])?;
            client.call(&["RPUSH", &format!("list:{count}"), &"y".repeat(9000)])?;
            client.call(&["SADD", &format!("ints:{count}"), "no-number"])?;
        }
        fill_streams(&mut client)?;
        run(&mut client, "SADD only-ints 1 2 3 -70000 5000000000")?;
        run(&mut client, "ZADD ends inf above -inf below 1e300 large 0.1 tenth")?;
        run(&mut client, "PEXPIREAT text 4102444800123")?;
        run(&mut client, "EXPIREAT list:200 4102444800")?;
        run(&mut client, "PEXPIREAT hash:3000 4102444800456")?;
        run(&mut client, "SET gone soon PX 1")?;
    }
    Ok(())
}

/// Streams of one and of many blocks, with deleted entries, groups and what was delivered.
fn fill_streams(client: &mut Client) -> Result<()> {
    for i in 0..350 {
        run(client, &format!("XADD stream * temperature {i} place hall-{}", i % 7))?;
        run(client, &format!("XADD mixed {}-{} field{} -9000000000 x {i}", i + 1, i % 5, i % 3))?;
    }
    client.call(&["XADD", "mixed", "9000-1", "long", &"z".repeat(5000), "empty", ""])?;
    run(client, "XADD trimmed MAXLEN 0 5-5 f v")?;
    run(client, "XGROUP CREATE none g $ MKSTREAM")?;
    run(client, "XDEL mixed 3-2 4-3 120-4 351-0")?;
    run(client, "XTRIM stream MAXLEN ~ 200")?;
    run(client, "XTRIM mixed MINID 150")?;
    run(client, "XGROUP CREATE mixed readers 0")?;
    run(client, "XGROUP CREATE mixed later 170 ENTRIESREAD 20")?;
    run(client, "XGROUP CREATECONSUMER mixed readers idle")?;
    run(client, "XREADGROUP GROUP readers alice COUNT 30 STREAMS mixed >")?;
    run(client, "XREADGROUP GROUP readers bob COUNT 20 STREAMS mixed >")?;
    run(client, "XREADGROUP GROUP later carol COUNT 3 NOACK STREAMS mixed >")?;
    run(client, "XDEL mixed 151-0 155-4 200-4")
}

/// Writes of many kinds that the stream carries; `round` makes them differ.
fn write(server: &Server, round: u32) -> Result<()> {
    let mut client = server.client()?;
    for db in [1, 0, 2] {
        run(&mut client, &format!("SELECT {db}"))?;
        // There from the second round on.
        client.say("XGROUP CREATE numbered workers 0 MKSTREAM")?;
        for line in [
            format!("SET live:{round} {round}"),
            "INCRBY counter 5".into(),
            "INCRBYFLOAT float 0.1".into(),
            "APPEND text more".into(),
            format!("SET timed:{round} v EX 100000"),
            "SETEX short 200000 v".into(),
            "GETEX short PX 300000000".into(),
            format!("RPUSH queue a{round} b{round} c{round}"),
            "LMOVE queue other LEFT RIGHT".into(),
            "LPOP queue".into(),
            format!("SADD tags t{round} u{round} w{round}"),
            "SPOP tags".into(),
            format!("HSET object f{round} v g w"),
            "HINCRBYFLOAT object sum 1.5".into(),
            "HDEL object g".into(),
            format!("ZADD board {round} p{round} 2 q"),
            "ZINCRBY board 1.25 q".into(),
            "ZPOPMIN board".into(),
            format!("SUNIONSTORE union:{round} tags only-ints"),
            format!("XADD log * round {round}"),
            format!("XADD log MAXLEN ~ 2 * round {round} and more"),
            format!("XADD numbered {round}-* f v"),
            format!("XADD numbered {round}-* f w"),
            "XREADGROUP GROUP workers one COUNT 1 STREAMS numbered >".into(),
            "XREADGROUP GROUP workers two NOACK COUNT 1 STREAMS numbered >".into(),
            "XCLAIM numbered workers three 0 0-0 1-0 2-0 FORCE JUSTID".into(),
            "XAUTOCLAIM numbered workers four 0 2-0 COUNT 2".into(),
            format!("XACK numbered workers {round}-1"),
            "XDEL numbered 2-0".into(),
            "EXPIRE counter 500000".into(),
            "PERSIST counter".into(),
            "DEL int:3".into(),
            format!("RENAME live:{round} renamed:{round}"),
        ] {
            run(&mut client, &line)?;
        }
        run(&mut client, "MULTI")?;
        run(&mut client, &format!("SET in:{round} transaction"))?;
        run(&mut client, "INCR counter")?;
        run(&mut client, "EXEC")?;
    }
    Ok(())
}

fn follow(replica: &Server, primary: &Server) -> Result<()> {
    run(&mut replica.client()?, &format!("REPLICAOF 127.0.0.1 {}", primary.port))
}

fn count(server: &Server, field: &str) -> Result<u64> {
    server.info(field)?.parse().context("a count")
}

/// Ends the connection between the two from one side, and says which kind of peer it is there.
fn cut(side: &Server, peer: &str) -> Result<()> {
    let ended = side.client()?.say(&format!("CLIENT KILL TYPE {peer}"))?;
    ensure!(ended == Value::Int(1), "CLIENT KILL TYPE {peer}: {ended:?}");
    Ok(())
}

/// Full resync, the live stream, and a partial resync after the connection broke.
fn story(primary: Kind, replica: Kind) -> Result<()> {
    let Some(first) = primary.start("primary")? else { return Ok(()) };
    let Some(second) = replica.start("replica")? else { return Ok(()) };
    fill(&first)?;
    run(&mut second.client()?, "SET old data")?;
    follow(&second, &first)?;
    expect_equal(&first, &second)?;
    for round in 0..3 {
        write(&first, round)?;
    }
    expect_equal(&first, &second)?;

    let (full, partial) = (count(&first, "sync_full")?, count(&first, "sync_partial_ok")?);
    if replica == Kind::Ours {
        cut(&first, "replica")?;
    } else {
        cut(&second, "master")?;
    }
    for round in 3..6 {
        write(&first, round)?;
    }
    expect_equal(&first, &second)?;
    ensure!(count(&first, "sync_full")? == full, "a full resync after a short break");
    ensure!(count(&first, "sync_partial_ok")? == partial + 1, "no partial resync");
    Ok(())
}

/// The replica is promoted, the old primary follows it, and so does a replica of the replica: all by
/// partial resyncs, without a key lost. Then the same back again.
fn promotion(primary: Kind, replica: Kind) -> Result<()> {
    let Some(first) = primary.start("first")? else { return Ok(()) };
    let Some(second) = replica.start("second")? else { return Ok(()) };
    let Some(third) = Kind::Ours.start("third")? else { return Ok(()) };
    write(&first, 0)?;
    follow(&second, &first)?;
    expect_equal(&first, &second)?;
    follow(&third, &second)?;
    expect_equal(&second, &third)?;
    write(&first, 1)?;
    expect_equal(&first, &second)?;
    expect_equal(&second, &third)?;

    let full = count(&second, "sync_full")?;
    run(&mut second.client()?, "REPLICAOF NO ONE")?;
    follow(&first, &second)?;
    write(&second, 2)?;
    expect_equal(&second, &first)?;
    expect_equal(&second, &third)?;
    ensure!(count(&second, "sync_full")? == full, "the new primary sent a snapshot");

    let full = count(&first, "sync_full")?;
    run(&mut first.client()?, "REPLICAOF NO ONE")?;
    follow(&second, &first)?;
    write(&first, 3)?;
    expect_equal(&first, &second)?;
    expect_equal(&second, &third)?;
    ensure!(count(&first, "sync_full")? == full, "the old primary, back again, sent a snapshot");
    Ok(())
}

/// `FAILOVER` by the primary: its replica takes over, it follows, and nobody needs a snapshot.
fn failover(primary: Kind, replica: Kind) -> Result<()> {
    let Some(first) = primary.start("office")? else { return Ok(()) };
    let Some(second) = replica.start("heir")? else { return Ok(()) };
    write(&first, 0)?;
    follow(&second, &first)?;
    expect_equal(&first, &second)?;
    for (from, to) in [(&first, &second), (&second, &first)] {
        let full = count(to, "sync_full")?;
        run(&mut from.client()?, &format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 20000", to.port))?;
        wait::until("the office has moved", PATIENCE, || {
            let done = from.info("master_failover_state")? == "no-failover";
            Ok((done && to.info("role")? == "master" && from.info("role")? == "slave")
                .then_some(()))
        })?;
        write(to, 1)?;
        expect_equal(to, from)?;
        ensure!(count(to, "sync_full")? == full, "the new primary sent a snapshot");
    }
    Ok(())
}

/// `MIGRATE` of every key, with its type, value and expiry.
fn migrate(from: Kind, to: Kind) -> Result<()> {
    let Some(first) = from.start("moves-from")? else { return Ok(()) };
    let Some(second) = to.start("moves-to")? else { return Ok(()) };
    fill(&first)?;
    let before = contents(&first)?;
    let port = second.port.to_string();
    for (db, key) in before.keys() {
        let mut client = first.client()?;
        let db = db.to_string();
        run(&mut client, &format!("SELECT {db}"))?;
        let moved = client.call(&[
            "MIGRATE",
            "127.0.0.1",
            &port,
            "",
            &db,
            "20000",
            "KEYS",
            key,
            "absent",
        ])?;
        ensure!(moved == Value::Text("OK".into()), "{key} of {db}: {moved:?}");
    }
    let after = contents(&second)?;
    ensure!(contents(&first)?.is_empty(), "keys are left");
    ensure!(after.keys().eq(before.keys()));
    for (key, (kind, value, expiry_ms)) in &before {
        let (new_kind, new_value, new_expiry_ms) = &after[key];
        // The rest of its life is told, and the way takes a moment.
        let near = (expiry_ms - new_expiry_ms).abs() < 20_000;
        ensure!(kind == new_kind && value == new_value && near, "{key:?}");
    }
    Ok(())
}

#[test]
fn keys_move_between_ours_and_valkey() -> Result<()> {
    migrate(Kind::Ours, Kind::Ours)?;
    migrate(Kind::Ours, Kind::Valkey)?;
    migrate(Kind::Valkey, Kind::Ours)
}

#[test]
fn failover_with_valkey() -> Result<()> {
    failover(Kind::Ours, Kind::Valkey)
}

#[test]
fn ours_follows_ours() -> Result<()> {
    story(Kind::Ours, Kind::Ours)
}

#[test]
fn valkey_follows_ours() -> Result<()> {
    story(Kind::Ours, Kind::Valkey)
}

#[test]
fn redis_follows_ours() -> Result<()> {
    story(Kind::Ours, Kind::Redis)
}

#[test]
fn ours_follows_valkey() -> Result<()> {
    story(Kind::Valkey, Kind::Ours)
}

#[test]
fn ours_follows_redis() -> Result<()> {
    story(Kind::Redis, Kind::Ours)
}

#[test]
fn promotion_among_ours() -> Result<()> {
    promotion(Kind::Ours, Kind::Ours)
}

#[test]
fn promotion_with_valkey() -> Result<()> {
    promotion(Kind::Ours, Kind::Valkey)?;
    promotion(Kind::Valkey, Kind::Ours)
}

#[test]
fn promotion_with_redis() -> Result<()> {
    promotion(Kind::Ours, Kind::Redis)?;
    promotion(Kind::Redis, Kind::Ours)
}
