//! A restart is cheap: id, offset and the last part of the stream outlive it, so that also a replica
//! which was behind goes on by a partial resync.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::cluster;
use tests::resp::{Value, ok};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);
const FILES: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const SNAPSHOT: [&str; 2] = ["--save", "3600 1"];
/// More than sockets hold by themselves, so that who reads nothing is behind.
const KEYS: usize = 250;
const VALUE: usize = 100_000;

fn offset(server: &Server) -> Result<u64> {
    Ok(server.info("master_repl_offset")?.parse()?)
}

/// A primary ends while its replica is stopped, and has much of the stream that the replica lacks
/// only in its files: the primary that starts on them sends the rest and no snapshot.
fn check(files: &[&str], rewrite: bool, killed: bool) -> Result<()> {
    let directives = [files, &["--repl-backlog-size", "64mb"]].concat();
    let mut primary = Server::start("ends", &directives)?;
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("behind", &["--replicaof", &source])?;
    let mut client = primary.client()?;
    ok(&mut client, "SET before 1")?;
    ensure!(client.say("WAIT 1 20000")? == Value::Int(1));
    replica.signal("STOP");
    let value = "v".repeat(VALUE);
    for n in 0..KEYS {
        ok(&mut client, &format!("SET key:{n} {value}"))?;
    }
    if rewrite {
        ok(&mut client, "BGREWRITEAOF")?;
        wait::until("the rewrite is over", PATIENCE, || {
            let idle = primary.info("aof_rewrite_in_progress")? == "0";
            Ok((idle && primary.info("aof_pending_rewrite")? == "0").then_some(()))
        })?;
    }
    ok(&mut client, "SET last 2")?;
    let end = offset(&primary)?;
    if killed {
        primary.signal("KILL");
    } else {
        client.call(&["SHUTDOWN", "NOW"]).ok();
    }
    primary.ended();
    replica.signal("CONT");
    wait::until("the link is down", PATIENCE, || {
        Ok((replica.info("master_link_status")? == "down").then_some(()))
    })?;
    let has = offset(&replica)?;
    ensure!(has + (KEYS * VALUE / 4) as u64 <= end, "it has {has} of {end} bytes");

    let primary = primary.again("goes-on", &directives)?;
    wait::until("the data are loaded", PATIENCE, || {
        ok(&mut primary.client()?, "SET after 3").map(Some)
    })?;
    ok(&mut replica.client()?, &format!("REPLICAOF 127.0.0.1 {}", primary.port))?;
    wait::until("the replica is level", PATIENCE, || {
        Ok(replica.is_level_with(&primary)?.then_some(()))
    })?;
    ensure!(primary.info("sync_full")? == "0", "the restarted primary sent a snapshot");
    ensure!(primary.info("sync_partial_ok")? == "1");
    let mut client = replica.client()?;
    for (key, want) in [("before", "1"), ("key:249", value.as_str()), ("last", "2"), ("after", "3")]
    {
        ensure!(client.say(&format!("GET {key}"))?.text()? == want, "{key}");
    }
    Ok(())
}

/// The stream before a rewrite was in no file any more once the rewrite had ended, and a snapshot
/// held nothing of it: who was behind then needed all data.
#[test]
fn a_replica_that_was_behind_a_restarted_primary_goes_on() -> Result<()> {
    for (files, rewrite, killed) in [
        (&FILES[..], false, true),
        (&FILES[..], true, true),
        (&FILES[..], false, false),
        (&FILES[..], true, false),
        (&SNAPSHOT[..], false, false),
    ] {
        check(files, rewrite, killed)
            .with_context(|| format!("files: {files:?}, rewritten: {rewrite}, killed: {killed}"))?;
    }
    Ok(())
}

/// A pod of a `RedisHA` with a volume, as the operator configures it: killed, it comes back as
/// another member and takes no snapshot, though it saved none.
#[test]
fn a_killed_member_with_files_comes_back_by_a_partial_resync() -> Result<()> {
    let directives = ["--appendonly", "yes"];
    let (primary, mut followers) = cluster(1, &directives)?;
    let follower = followers.pop().context("one was asked for")?;
    let mut client = primary.server.client()?;
    for n in 0..1000 {
        ok(&mut client, &format!("SET key:{n} before"))?;
    }
    ensure!(client.say("WAIT 1 20000")? == Value::Int(1));
    wait::until("its files hold what the first resync brought", PATIENCE, || {
        Ok((follower.server.info("aof_pending_rewrite")? == "0").then_some(()))
    })?;
    let full = primary.server.info("sync_full")?;
    let id = follower.id.clone();
    let mut follower = follower.again("b-again", &directives)?;
    ensure!(follower.id != id, "an id that nothing keeps came back");
    for n in 500..1000 {
        ok(&mut client, &format!("SET key:{n} after"))?;
    }
    follower.follow("1.0", &primary)?;
    follower.until("link", "up")?;
    ensure!(client.say("WAIT 1 20000")? == Value::Int(1));
    ensure!(primary.server.info("sync_full")? == full, "it took a snapshot");
    ensure!(primary.server.info("sync_partial_ok")? == "1");
    Ok(())
}
