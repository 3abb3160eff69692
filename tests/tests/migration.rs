//! Moving in: a managed primary takes over the data and then the writes of a server outside.
//!
//! `REDISHA_VALKEY` and `REDISHA_REDIS` name the stock servers, as for the tests of interoperation.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, cluster};
use tests::resp::{Client, Value};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// A client of the source that counts until an error or its end, and knows what it was told.
struct Counter {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<(i64, Option<String>)>>,
}

impl Counter {
    fn start(server: &Server) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut client, told) = (server.client()?, Arc::clone(&stop));
        let thread = thread::spawn(move || {
            let mut acknowledged = 0;
            while !told.load(Ordering::Relaxed) {
                match client.say("INCR count")? {
                    Value::Int(value) => acknowledged = value,
                    Value::Error(why) => return Ok((acknowledged, Some(why))),
                    other => anyhow::bail!("INCR: {other:?}"),
                }
            }
            Ok((acknowledged, None))
        });
        Ok(Self { stop, thread })
    }

    /// The last acknowledged value, and the error that ended it.
    fn end(self) -> Result<(i64, Option<String>)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow::anyhow!("the client panicked"))?
    }
}

fn source(variable: Option<&str>, name: &str) -> Result<Option<Server>> {
    let Some(variable) = variable else { return Server::start(name, &[]).map(Some) };
    let Some(program) = env::var_os(variable).map(PathBuf::from) else {
        assert!(env::var_os("CI").is_none(), "{variable} is not set");
        eprintln!("SKIPPED: {variable} is not set");
        return Ok(None);
    };
    Server::start_program(&program, name, &[]).map(Some)
}

fn fill(server: &Server) -> Result<Client> {
    let mut client = server.client()?;
    for line in [
        "SET text hello",
        "SET passing soon PX 600000",
        "RPUSH list a b c",
        "HSET hash f 1 g 2",
        "SADD set 1 2 x",
        "ZADD zset 1 a 2 b",
    ] {
        client.say(line)?;
    }
    client.say("SELECT 3")?;
    client.say("SET elsewhere 1")?;
    client.say("SELECT 0")?;
    Ok(client)
}

/// Takes over `variable`'s server (ours if there is none) under a writer, and gives what the writer
/// was told, what is here in the end, and both sides for a closer look.
fn move_in(variable: Option<&str>, name: &str) -> Result<Option<(i64, Option<String>, i64)>> {
    let Some(source) = source(variable, name)? else { return Ok(None) };
    let mut outside = fill(&source)?;
    let (mut a, others) = cluster(1, &[])?;
    let b = &others[0];
    let counter = Counter::start(&source)?;
    let from = format!("HOST 127.0.0.1 PORT {}", source.port);
    begins(&mut a, &from)?;
    a.until("migration", "following")?;

    let mut here = a.server.client()?;
    match here.say("SET text mine")? {
        Value::Error(why) if why.starts_with("MIGRATING") => {}
        other => anyhow::bail!("a write before the cut-over: {other:?}"),
    }
    outside.say("SET late word")?;
    arrives(&mut here, "late", "word")?;
    let mut replica = b.server.client()?;
    replica.say("READONLY")?;
    arrives(&mut replica, "late", "word")?;

    let to = format!("TIMEOUT 5000 HOST 127.0.0.1 PORT {}", a.server.port);
    a.expect("CUTOVER", &to, "DONE")?;
    a.until("migration", "done")?;
    here.say("SET text mine")?.text()?;
    // Whoever the source held is answered now.
    wait::until("the writer is sent away", PATIENCE, || {
        Ok(counter.thread.is_finished().then_some(()))
    })?;
    let (acknowledged, ended) = counter.end()?;
    let count = here.say("GET count")?.text()?.parse()?;
    for (command, value) in [
        ("GET passing", "soon"),
        ("LINDEX list 2", "c"),
        ("HGET hash g", "2"),
        ("SCARD set", "3"),
        ("ZSCORE zset b", "2"),
    ] {
        ensure!(here.say(command)?.text()? == value, "{command}");
    }
    ensure!(here.say("PTTL passing")?.int()? > 0, "the expiry is gone");
    here.say("SELECT 3")?;
    ensure!(here.say("GET elsewhere")?.text()? == "1", "the other database");
    arrives(&mut replica, "text", "mine")?;
    Ok(Some((acknowledged, ended, count)))
}

fn arrives(client: &mut Client, key: &str, value: &str) -> Result<()> {
    let what = format!("{key} is {value}");
    wait::until(
        &what,
        PATIENCE,
        || Ok((client.call(&["GET", key])?.text()? == value).then_some(())),
    )
}

/// The source takes no writes any more, and none that it took is missing. Ours redirects; a stock
/// server follows, as a replica.
#[test]
fn nothing_that_the_source_acknowledged_is_lost() -> Result<()> {
    for (variable, name, word) in [
        (None, "ours", "REDIRECT"),
        (Some("REDISHA_VALKEY"), "valkey", "READONLY"),
        (Some("REDISHA_REDIS"), "redis", "READONLY"),
    ] {
        if let Some((acknowledged, ended, count)) = move_in(variable, name)? {
            let why = ended.context("the source goes on taking writes")?;
            ensure!(why.starts_with(word), "{name}: {why}");
            assert_eq!(count, acknowledged, "{name}");
        }
    }
    Ok(())
}

/// Data of its own are never replaced by another server's.
#[test]
fn a_member_with_data_takes_nobody_over() -> Result<()> {
    let source = Server::start("outside", &[])?;
    let (mut a, _others) = cluster(0, &[])?;
    a.server.client()?.say("SET own 1")?;
    let from = format!("HOST 127.0.0.1 PORT {}", source.port);
    a.refused("MIGRATE", &from, "NOTREADY")?;
    begins(&mut a, &format!("{from} REPLACE yes"))?;
    a.until("migration", "following")?;
    assert_eq!(a.server.client()?.say("DBSIZE")?, Value::Int(0));
    Ok(())
}

/// A source that answers nobody: the cut-over is refused, and reads go on.
#[test]
fn a_source_that_is_gone_cannot_be_cut_over() -> Result<()> {
    let source = Server::start("outside", &[])?;
    source.client()?.say("SET text hello")?;
    let (mut a, _others) = cluster(0, &[])?;
    let from = format!("HOST 127.0.0.1 PORT {}", source.port);
    begins(&mut a, &from)?;
    a.until("migration", "following")?;
    drop(source);
    wait::until("the end of the source is noticed", PATIENCE, || {
        Ok((!a.status("migration-error")?.is_empty()).then_some(()))
    })?;
    refused(&mut a)?;
    assert_eq!(a.server.client()?.say("GET text")?, Value::Text("hello".into()));
    Ok(())
}

fn begins(member: &mut Member, from: &str) -> Result<()> {
    match member.tell("MIGRATE", from)? {
        Value::Array(_) => Ok(()),
        other => anyhow::bail!("MIGRATE: {other:?}"),
    }
}

fn refused(member: &mut Member) -> Result<()> {
    member.refused("CUTOVER", "TIMEOUT 1000", "NOTREADY")
}
