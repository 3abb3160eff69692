//! SHUTDOWN at real servers: replicas that lag are waited for, data are saved as was asked.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::resp::{Client, Value, ok};
use tests::server::{Server, text};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// A primary that would wait for ever, and a replica that is in sync with it.
fn pair() -> Result<(Server, Server)> {
    let primary = Server::start("primary", &["--shutdown-timeout", "3600"])?;
    let replica =
        Server::start("replica", &["--replicaof", &format!("127.0.0.1 {}", primary.port)])?;
    wait::until("the replica is in sync", PATIENCE, || {
        let is_level = replica.is_level_with(&primary)?;
        Ok((is_level && primary.info("connected_slaves")? == "1").then_some(()))
    })?;
    Ok((primary, replica))
}

fn waits_for_replicas(client: &mut Client) -> Result<()> {
    wait::until("the shutdown waits", PATIENCE, || {
        let info = client.say("INFO clients")?.text()?;
        Ok(info.contains("paused_reason:shutdown_in_progress").then_some(()))
    })
}

/// It ended without asking how far the replicas were, and what they lacked was lost.
#[test]
fn a_replica_that_lags_is_waited_for() -> Result<()> {
    let (mut primary, replica) = pair()?;
    let [mut admin, mut other, mut writer] =
        [primary.client()?, primary.client()?, primary.client()?];
    replica.signal("STOP");
    ok(&mut other, "SET k 1")?;
    admin.send(&["SHUTDOWN", "NOSAVE"])?;
    waits_for_replicas(&mut other)?;
    writer.send(&["INCR", "k"])?;
    ensure!(other.say("GET k")? == Value::Text("1".into()), "writes are held, reads are not");

    // Who called it off lets all go on.
    ok(&mut other, "SHUTDOWN ABORT")?;
    let failed = "ERR Errors trying to SHUTDOWN. Check logs.";
    ensure!(admin.receive()? == Value::Error(failed.into()));
    ensure!(writer.receive()? == Value::Int(2));
    let none = "ERR No shutdown in progress.";
    ensure!(other.say("SHUTDOWN ABORT")? == Value::Error(none.into()));

    // Two ask; one goes away; the replica comes to itself, and has everything.
    admin.send(&["SHUTDOWN", "NOSAVE"])?;
    waits_for_replicas(&mut other)?;
    writer.send(&["SHUTDOWN", "NOSAVE"])?;
    drop(admin);
    replica.signal("CONT");
    writer.expect_end()?;
    ensure!(primary.ended().success(), "{}", primary.log());
    ensure!(primary.log().contains("1 of 1 replicas are in sync"), "{}", primary.log());
    ensure!(text(&replica, "GET k")? == "2");
    Ok(())
}

#[test]
fn nobody_is_waited_for_beyond_what_was_asked() -> Result<()> {
    for way in ["now", "timeout", "now while it waits", "signals"] {
        let (mut primary, replica) = pair()?;
        replica.signal("STOP");
        let [mut admin, mut other] = [primary.client()?, primary.client()?];
        ok(&mut admin, "SET k 1")?;
        match way {
            "now" => admin.send(&["SHUTDOWN", "NOSAVE", "NOW"])?,
            "timeout" => {
                ok(&mut admin, "CONFIG SET shutdown-timeout 1")?;
                admin.send(&["SHUTDOWN", "NOSAVE"])?;
            }
            "now while it waits" => {
                other.send(&["SHUTDOWN", "NOSAVE"])?;
                waits_for_replicas(&mut admin)?;
                admin.send(&["SHUTDOWN", "NOSAVE", "NOW"])?;
            }
            _ => {
                primary.signal("TERM");
                waits_for_replicas(&mut admin)?;
                primary.signal("TERM");
            }
        }
        ensure!(primary.ended().success(), "{way}: {}", primary.log());
        replica.signal("CONT");
    }
    Ok(())
}

#[test]
fn data_are_saved_as_was_asked() -> Result<()> {
    let check = |directives: &[&str], words: &[&str], saved: bool| -> Result<()> {
        let mut server = Server::start("saves", directives)?;
        let mut client = server.client()?;
        ok(&mut client, "SET k v")?;
        let command: Vec<&str> = std::iter::once("SHUTDOWN").chain(words.iter().copied()).collect();
        client.send(&command)?;
        client.expect_end()?;
        ensure!(server.ended().success(), "{}", server.log());
        let found = server.directory.join("dump.rdb").exists();
        ensure!(found == saved, "{directives:?} {words:?}: {found}");
        Ok(())
    };
    check(&[], &[], false)?;
    check(&[], &["SAVE"], true)?;
    check(&["--save", "3600 1"], &[], true)?;
    check(&["--save", "3600 1"], &["NOSAVE"], false)?;
    check(&["--save", "3600 1"], &["NOSAVE", "NOW", "FORCE"], false)
}

#[test]
fn a_server_that_cannot_save_ends_by_force_alone() -> Result<()> {
    let mut server = Server::start("no-place", &["--save", "3600 1"])?;
    let mut client = server.client()?;
    ok(&mut client, "SET k v")?;
    fs::remove_dir_all(&server.directory)?;
    for words in [&["SHUTDOWN"][..], &["SHUTDOWN", "SAVE"], &["SHUTDOWN", "NOW"]] {
        let Value::Error(why) = client.call(words)? else { anyhow::bail!("{words:?}: no error") };
        ensure!(why.starts_with("ERR Errors trying to SHUTDOWN. Check logs."), "{why}");
        ok(&mut client, "SET k w")?;
    }
    client.send(&["SHUTDOWN", "SAVE", "FORCE"])?;
    client.expect_end()?;
    ensure!(server.ended().success());
    Ok(())
}
