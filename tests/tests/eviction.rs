//! Every eviction policy from end to end: which keys go, what writers are told when none may, and
//! that replicas lose the same keys by the primary's word.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::resp::{Client, Value, ok};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);
/// Keys of each kind.
const KEYS: usize = 120;
const VALUE_BYTES: usize = 4096;
/// By so much memory is over its bound: a part of the keys that may go under any policy.
const EXCESS_BYTES: i64 = 25 * VALUE_BYTES as i64;

/// Which keys may go: by their kind, and by how they were used.
struct Case {
    policy: &'static str,
    /// Beginnings of the names of all that may go.
    may_go: &'static [&'static str],
}

/// Keys are `KIND:USE:NUMBER`: with a time to live or without, used often and lately or not. The ones
/// with a time to live end later the greater their number is.
const CASES: &[Case] = &[
    Case { policy: "allkeys-lru", may_go: &["plain:cold", "timed:cold"] },
    Case { policy: "allkeys-lfu", may_go: &["plain:cold", "timed:cold"] },
    Case { policy: "allkeys-random", may_go: &["plain", "timed"] },
    Case { policy: "volatile-lru", may_go: &["timed:cold"] },
    Case { policy: "volatile-lfu", may_go: &["timed:cold"] },
    Case { policy: "volatile-random", may_go: &["timed"] },
    // The earlier half: the cold ones were made first.
    Case { policy: "volatile-ttl", may_go: &["timed:cold"] },
];

/// Puts the keys; their clock shows `now_s` beyond the machine's when they are used.
fn fill(client: &mut Client, now_s: usize) -> Result<()> {
    let value = "x".repeat(VALUE_BYTES);
    ok(client, "CONFIG SET maxmemory 0")?;
    ok(client, "FLUSHALL SYNC")?;
    for (at, heat) in ["cold", "warm"].iter().enumerate() {
        for number in 0..KEYS / 2 {
            let ends = 10_000 * (at + 1) + number;
            let timed = format!("timed:{heat}:{number}");
            ok(client, &format!("SET plain:{heat}:{number} {value}"))?;
            ok(client, &format!("SET {timed} {value} EX {ends}"))?;
        }
    }
    ok(client, &format!("DEBUG SET-WALL-CLOCK-OFFSET {}", now_s * 1000))?;
    for _ in 0..100 {
        for kind in ["plain", "timed"] {
            for number in 0..KEYS / 2 {
                client.send(&["STRLEN", &format!("{kind}:warm:{number}")])?;
            }
        }
        for _ in 0..KEYS {
            client.receive()?;
        }
    }
    Ok(())
}

fn keys(server: &Server) -> Result<BTreeSet<String>> {
    let Value::Array(keys) = server.client()?.say("KEYS *")? else { anyhow::bail!("no keys") };
    keys.into_iter().map(Value::text).collect()
}

/// What counts against the bound: not what waits for replicas, which differs from look to look.
fn counted(server: &Server) -> Result<i64> {
    let bytes = |field: &str| anyhow::Ok(server.info(field)?.parse::<i64>()?);
    Ok(bytes("used_memory")? - bytes("mem_not_counted_for_evict")?)
}

/// Lowers the bound below what counts now.
fn squeeze(server: &Server, client: &mut Client) -> Result<i64> {
    let bound = counted(server)? - EXCESS_BYTES;
    ok(client, &format!("CONFIG SET maxmemory {bound}"))?;
    Ok(bound)
}

#[test]
fn each_policy_lets_go_what_it_names_and_replicas_follow() -> Result<()> {
    // All samples of a kind: what goes is then no matter of luck.
    let directives = [
        ["--maxmemory-samples", "64"],
        ["--lazyfree-lazy-eviction", "no"],
        ["--enable-debug-command", "yes"],
        ["--lfu-decay-time", "0"],
    ]
    .concat();
    let primary = Server::start("evicts", &directives)?;
    let replica =
        Server::start("follows", &["--replicaof", &format!("127.0.0.1 {}", primary.port)])?;
    wait::until("the replica is in sync", PATIENCE, || {
        Ok((replica.info("master_link_status")? == "up").then_some(()))
    })?;
    let mut client = primary.client()?;
    for (index, case) in CASES.iter().enumerate() {
        ok(&mut client, &format!("CONFIG SET maxmemory-policy {}", case.policy))?;
        fill(&mut client, 100 * (index + 1))?;
        ok(&mut client, "CONFIG RESETSTAT")?;
        let before = keys(&primary)?;
        ensure!(before.len() == 2 * KEYS, "{}: {}", case.policy, before.len());
        let bound = squeeze(&primary, &mut client)?;
        wait::until(&format!("{}: memory is within its bound", case.policy), PATIENCE, || {
            // Who looks is a client, too, and takes some memory.
            Ok((counted(&primary)? <= bound + EXCESS_BYTES / 2).then_some(()))
        })?;
        ok(&mut client, "CONFIG SET maxmemory 0")?;
        let after = keys(&primary)?;
        let gone: Vec<&String> = before.difference(&after).collect();
        ensure!(!gone.is_empty() && gone.len() <= KEYS / 2, "{}: {gone:?}", case.policy);
        ensure!(primary.info("evicted_keys")? == gone.len().to_string(), "{}", case.policy);
        let may = |key: &&&String| case.may_go.iter().any(|start| key.starts_with(start));
        let wrong: Vec<_> = gone.iter().filter(|key| !may(key)).collect();
        ensure!(wrong.is_empty(), "{}: {wrong:?} of {gone:?}", case.policy);
        wait::until(&format!("{}: the replica has the same keys", case.policy), PATIENCE, || {
            Ok((keys(&replica)? == after).then_some(()))
        })?;
        ensure!(replica.info("evicted_keys")? == "0", "{}: a replica evicts nothing", case.policy);
    }
    Ok(())
}

/// Clients were ended at the end of a turn and keys in its middle: what nobody read of the answers to
/// one batch drove out data, though `maxmemory-clients` let its client have none of that memory.
#[test]
fn no_key_goes_for_what_clients_hold_beyond_their_own_bound() -> Result<()> {
    const VALUE_BYTES: usize = 100_000;
    let check = |clients: usize| -> Result<()> {
        let server = Server::start("greedy", &["--maxmemory-policy", "allkeys-lru"])?;
        let mut asks = server.client()?;
        ok(&mut asks, "CLIENT NO-EVICT ON")?;
        let value = "x".repeat(VALUE_BYTES);
        for number in 0..20 {
            ok(&mut asks, &format!("SET k{number} {value}"))?;
        }
        let bound = counted(&server)? + (4 << 20);
        ok(&mut asks, "CONFIG SET maxmemory-clients 1mb")?;
        ok(&mut asks, &format!("CONFIG SET maxmemory {bound}"))?;
        let connect = |_| TcpStream::connect(("127.0.0.1", server.port));
        let mut greedy = (0..clients).map(connect).collect::<Result<Vec<_>, _>>()?;
        let batch = "GET k0\r\n".repeat(200 / clients);
        wait::until("a client is ended", PATIENCE, || {
            for client in &mut greedy {
                // One that was ended takes no more.
                let _ = client.write_all(batch.as_bytes());
            }
            Ok((server.info("evicted_clients")? != "0").then_some(()))
        })?;
        ensure!(server.info("evicted_keys")? == "0", "{clients} clients drove out keys");
        ensure!(asks.say("DBSIZE")? == Value::Int(20));
        Ok(())
    };
    check(1)?;
    check(20)
}

#[test]
fn where_nothing_may_go_writes_are_refused() -> Result<()> {
    const OOM: &str = "OOM command not allowed when used memory > 'maxmemory'.";
    for policy in ["noeviction", "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl"]
    {
        let server = Server::start("full", &["--maxmemory-policy", policy])?;
        let mut client = server.client()?;
        let value = "x".repeat(VALUE_BYTES);
        for number in 0..KEYS {
            ok(&mut client, &format!("SET plain:{number} {value}"))?;
        }
        let before = keys(&server)?;
        squeeze(&server, &mut client)?;
        for line in
            ["SET new x", "APPEND plain:0 x", "RPUSH list x", "HSET hash f v", "BITOP NOT n k"]
        {
            ensure!(client.say(line)? == Value::Error(OOM.into()), "{policy}: {line}");
        }
        let written = client.call(&["EVAL", "return redis.call('SET', 'new', 'x')", "1", "new"])?;
        let Value::Error(why) = written else { anyhow::bail!("{policy}: {written:?}") };
        ensure!(why.starts_with("OOM "), "{policy}: {why}");
        ensure!(keys(&server)? == before, "{policy}: keys went");
        ensure!(client.say("STRLEN plain:0")? == Value::Int(VALUE_BYTES as i64));

        // What makes room is taken, and then there is room.
        for number in 0..KEYS / 2 {
            ok(&mut client, &format!("DEL plain:{number}"))?;
        }
        wait::until(&format!("{policy}: writes are taken again"), PATIENCE, || {
            Ok((client.say("SET new x")? == Value::Text("OK".into())).then_some(()))
        })?;
    }
    Ok(())
}
