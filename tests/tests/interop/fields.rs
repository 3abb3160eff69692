//! Expiry times of fields of hashes, which Redis and Valkey write in ways of their own, and servers
//! of before do not read at all.

use anyhow::{Result, ensure};
use tests::resp::Value;
use tests::server::Server;
use tests::wait;

use super::{Kind, PATIENCE, contents, expect_equal, run};

/// More fields than a packed hash has in any server.
const MANY: usize = 2000;
const SOON_MS: i64 = 4_102_444_800_000;

/// A small and a large hash, each with fields that expire at different times, and one that never do.
fn fill(server: &Server) -> Result<()> {
    let mut client = server.client()?;
    for (key, count) in [("small", 6), ("large", MANY)] {
        for at in 0..count {
            let (field, value) = (format!("f{at}"), if at % 2 == 0 { "text" } else { "-70000" });
            client.call(&["HSET", key, &field, value])?.int()?;
            if at % 3 > 0 {
                let at_ms = (SOON_MS + (at * 7919 % 5000) as i64).to_string();
                run(&mut client, &format!("HPEXPIREAT {key} {at_ms} FIELDS 1 {field}"))?;
            }
        }
    }
    run(&mut client, "HSET plain f 1")?;
    run(&mut client, "SET string x")
}

/// The time of every field of every hash.
fn times(server: &Server) -> Result<Vec<(String, Vec<i64>)>> {
    let mut client = server.client()?;
    let mut all = Vec::new();
    for (key, count) in [("small", 6), ("large", MANY), ("plain", 1)] {
        let fields: Vec<String> = (0..count).map(|at| format!("f{at}")).collect();
        let count = count.to_string();
        let mut words = vec!["HPEXPIRETIME", key, "FIELDS", &count];
        words.extend(fields.iter().map(String::as_str));
        let Value::Array(found) = client.call(&words)? else { anyhow::bail!("{key}: no times") };
        all.push((key.to_owned(), found.into_iter().map(Value::int).collect::<Result<_>>()?));
    }
    Ok(all)
}

/// By a full resync, the stream, MIGRATE (which is DUMP and RESTORE), and a file.
fn all_ways_from(other: Kind) -> Result<()> {
    let Some(first) = other.start_with("fields", &["--repl-diskless-sync-delay", "0"])? else {
        return Ok(());
    };
    fill(&first)?;
    let expected = times(&first)?;
    ensure!(expected[0].1.iter().filter(|at_ms| **at_ms > 0).count() == 4, "{:?}", expected[0]);
    let from = format!("127.0.0.1 {}", first.port);
    let replica = Server::start("replica", &["--replicaof", &from])?;
    expect_equal(&first, &replica)?;
    ensure!(times(&replica)? == expected, "by a full resync");
    let mut client = first.client()?;
    run(&mut client, &format!("HPEXPIREAT small {SOON_MS} FIELDS 1 f0"))?;
    run(&mut client, "HPERSIST small FIELDS 1 f1")?;
    let expected = times(&first)?;
    expect_equal(&first, &replica)?;
    ensure!(times(&replica)? == expected, "by the stream");

    let all = contents(&first)?;
    let second = Server::start("moves-to", &[])?;
    let port = second.port.to_string();
    for (_, key) in all.keys() {
        let words = ["MIGRATE", "127.0.0.1", &port, key, "0", "20000", "COPY"];
        let moved = client.call(&words)?;
        ensure!(moved == Value::Text("OK".into()), "{key}: {moved:?}");
    }
    ensure!(contents(&second)? == all && times(&second)? == expected, "by MIGRATE");
    run(&mut client, "SAVE")?;
    drop(client);
    let loaded = first.again("loaded", &[])?;
    ensure!(contents(&loaded)? == all && times(&loaded)? == expected, "by a file");
    Ok(())
}

/// They were refused: a Redis with one such hash could neither be followed nor moved in.
#[test]
fn times_of_fields_come_from_redis() -> Result<()> {
    all_ways_from(Kind::Redis)
}

/// Valkey sends them to no replica of which it does not know that it reads them, and ours did not
/// say so: each full resync broke off.
#[test]
fn times_of_fields_come_from_valkey() -> Result<()> {
    all_ways_from(Kind::Valkey)
}

/// A replica that cannot read such a snapshot was sent it again and again. Now it is told why not,
/// and follows as soon as there is nothing left that it cannot read.
#[test]
fn a_replica_that_reads_no_times_of_fields_is_told() -> Result<()> {
    let first = Server::start("primary", &["--repl-diskless-sync-delay", "0"])?;
    fill(&first)?;
    for (version, answer) in [
        (None, "NOMASTERLINK fields of hashes have expiry times"),
        (Some("8.1.3"), "NOMASTERLINK fields of hashes have expiry times"),
        (Some("9.0.0"), "FULLRESYNC "),
    ] {
        asks(&first, version, answer)?;
    }
    let why = "is refused a full resync: fields of hashes have expiry times";
    ensure!(first.log().contains(why) && first.log().contains("(8.1.3)"), "{}", first.log());
    let mut client = first.client()?;
    if let Some(redis) = Kind::Redis.start("replica")? {
        let before = first.log().matches(why).count();
        run(&mut redis.client()?, &format!("REPLICAOF 127.0.0.1 {}", first.port))?;
        wait::until("it is refused", PATIENCE, || {
            Ok((first.log().matches(why).count() > before).then_some(()))
        })?;
        // It waits before it asks again: to another code it came back 600 times a second.
        let told = "unable to PSYNC but should be in the future: -NOMASTERLINK fields of hashes";
        wait::until("it is told why", PATIENCE, || Ok(redis.log().contains(told).then_some(())))?;
        for key in ["small", "large"] {
            client.call(&["DEL", key])?.int()?;
        }
        expect_equal(&first, &redis)?;
    }
    for key in ["small", "large"] {
        client.call(&["DEL", key])?;
    }
    asks(&first, Some("8.1.3"), "FULLRESYNC ")?;
    asks(&first, None, "FULLRESYNC ")
}

/// A replica of this version asks for everything, and the first line of the answer begins so.
fn asks(primary: &Server, version: Option<&str>, answer: &str) -> Result<()> {
    let mut replica = primary.client()?;
    run(&mut replica, "REPLCONF capa eof capa psync2")?;
    if let Some(version) = version {
        run(&mut replica, &format!("REPLCONF version {version}"))?;
    }
    let got = match replica.say("PSYNC ? -1")? {
        Value::Error(why) => {
            replica.expect_end()?;
            why
        }
        other => other.text()?,
    };
    ensure!(got.starts_with(answer), "{version:?}: {got}");
    Ok(())
}
