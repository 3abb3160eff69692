//! Saves, what a restart finds, and folders that cannot be used: with real processes.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::resp::{Value, ok};
use tests::server::{Server, must_not_start, text};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_restart_finds_what_shutdown_saved() -> Result<()> {
    let mut server = Server::start("restart", &["--save", "3600 1"])?;
    let mut client = server.client()?;
    ok(&mut client, "SET k v")?;
    ok(&mut client, "SET timed v PXAT 4102444800123")?;
    ok(&mut client, "SELECT 3")?;
    ok(&mut client, "RPUSH l a b c")?;
    client.send(&["SHUTDOWN"])?;
    client.expect_end()?;
    ensure!(server.ended().success(), "{}", server.log());

    let server = server.again("restarted", &[])?;
    ensure!(text(&server, "GET k")? == "v");
    ensure!(text(&server, "PEXPIRETIME timed")? == "4102444800123");
    let mut client = server.client()?;
    ok(&mut client, "SELECT 3")?;
    ensure!(client.say("LLEN l")? == Value::Int(3));
    Ok(())
}

/// What had been deleted by `FLUSHALL` was there again after a crash, up to an hour later: one change
/// of all is one change for the save points.
#[test]
fn a_crash_does_not_bring_back_what_was_flushed() -> Result<()> {
    let server = Server::start("flushed", &["--save", "3600 1"])?;
    let mut client = server.client()?;
    ok(&mut client, "SET k v")?;
    ok(&mut client, "SAVE")?;
    ensure!(server.info("rdb_changes_since_last_save")? == "0");
    ok(&mut client, "MULTI")?;
    ok(&mut client, "FLUSHALL")?;
    ok(&mut client, "SET after v")?;
    ok(&mut client, "EXEC")?;
    wait::until("it is saved", PATIENCE, || {
        Ok((server.info("rdb_changes_since_last_save")? == "0").then_some(()))
    })?;
    let server = server.again("flushed-again", &[])?;
    ensure!(text(&server, "GET after")? == "v");
    ensure!(server.client()?.say("DBSIZE")? == Value::Int(1));
    Ok(())
}

/// A save that was cancelled counted as one that had failed, so that every write was refused until
/// another one had succeeded.
#[test]
fn a_cancelled_save_refuses_no_write() -> Result<()> {
    let server = Server::start("cancelled", &["--save", "3600 1"])?;
    let mut client = server.client()?;
    // Nothing comes between the two.
    ok(&mut client, "MULTI")?;
    ok(&mut client, "BGSAVE")?;
    ok(&mut client, "BGSAVE CANCEL")?;
    let answers = client.say("EXEC")?;
    let text = |text: &str| Value::Text(text.into());
    let expected = ["Background saving started", "Background saving cancelled"].map(text);
    ensure!(answers == Value::Array(expected.into()), "{answers:?}");
    ensure!(server.info("rdb_last_bgsave_status")? == "ok");
    ok(&mut client, "SET k v")
}

/// A snapshot is of one moment: writes go on while it is taken, and none of them is in it.
#[test]
fn a_background_save_holds_one_moment() -> Result<()> {
    let server = Server::start("bgsave", &[])?;
    let mut client = server.client()?;
    for i in 0..5000 {
        client.send(&["SET", &format!("key:{i}"), "before"])?;
    }
    for _ in 0..5000 {
        client.receive()?;
    }
    let before = server.info("rdb_last_save_time")?;
    client.send(&["BGSAVE"])?;
    for i in (0..5000).rev() {
        client.send(&["APPEND", &format!("key:{i}"), ",after"])?;
        client.send(&["SET", &format!("new:{i}"), "after"])?;
    }
    ensure!(client.receive()? == Value::Text("Background saving started".into()));
    for _ in 0..10_000 {
        client.receive()?;
    }
    wait::until("the save has ended", PATIENCE, || {
        let over = server.info("rdb_bgsave_in_progress")? == "0";
        Ok((over && server.info("rdb_saves")? == "1").then_some(()))
    })?;
    ensure!(server.info("rdb_last_bgsave_status")? == "ok");
    ensure!(server.info("rdb_last_save_time")? >= before);

    let server = server.again("bgsaved", &[])?;
    ensure!(text(&server, "DBSIZE")? == "5000", "{}", text(&server, "DBSIZE")?);
    let mut client = server.client()?;
    for i in 0..5000 {
        let value = client.say(&format!("GET key:{i}"))?;
        ensure!(value == Value::Text("before".into()), "key:{i} is {value:?}");
    }
    Ok(())
}

/// A save that fails leaves the old file whole and tells why; in the background it stops writes, too,
/// since nobody may have seen its error.
#[test]
fn a_failed_save_is_told_and_tears_nothing() -> Result<()> {
    let server = Server::start("failed-save", &["--save", "3600 100000"])?;
    let mut client = server.client()?;
    ok(&mut client, "SET k old")?;
    ok(&mut client, "SAVE")?;
    let file = server.directory.join("dump.rdb");
    let whole = fs::read(&file)?;
    // A full disk: the names of the temporary files lead to the device that is always full.
    for number in 1..=2 {
        let temporary = format!("temp-redisha-{}-save-{number}", server.pid());
        std::os::unix::fs::symlink("/dev/full", server.directory.join(temporary))?;
    }
    ok(&mut client, "SET k new")?;
    let answer = client.say("SAVE")?;
    ensure!(matches!(&answer, Value::Error(why) if why.contains("No space left")), "{answer:?}");
    ensure!(fs::read(&file)? == whole, "the old file was touched");
    ok(&mut client, "SET k newer")?;
    client.say("BGSAVE")?;
    wait::until("the save fails", PATIENCE, || {
        Ok((server.info("rdb_last_bgsave_status")? == "err").then_some(()))
    })?;
    ensure!(fs::read(&file)? == whole, "the old file was touched");
    ensure!(server.info("rdb_last_error")?.contains("No space left"));
    let refused = client.say("SET k newer")?;
    ensure!(matches!(&refused, Value::Error(why) if why.starts_with("MISCONF")), "{refused:?}");
    ok(&mut client, "GET k")?;
    ok(&mut client, "SAVE")?;
    ok(&mut client, "SET k newest")?;
    Ok(())
}

#[test]
fn what_cannot_be_used_is_one_line_and_an_exit() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("redisha-unusable-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let dir = folder.to_string_lossy().into_owned();
    fs::write(folder.join("dump.rdb"), b"REDIS0099 and so on")?;
    let said = must_not_start(&["--dir", &dir])?;
    ensure!(said.contains("dump.rdb") && said.contains("99"), "{said}");
    ensure!(said.trim_end().lines().count() == 1, "{said}");
    let missing = folder.join("missing").to_string_lossy().into_owned();
    let said = must_not_start(&["--dir", &missing])?;
    ensure!(said.contains("missing") && said.trim_end().lines().count() == 1, "{said}");
    // The process's own entry in /proc is a folder in which nobody may write.
    let said = must_not_start(&["--dir", "/proc/self"])?;
    ensure!(said.contains("cannot write") && said.trim_end().lines().count() == 1, "{said}");
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// A replica that was restarted goes on from its file's point of the stream, and so do the replicas of
/// a primary that was restarted.
#[test]
fn a_restart_is_followed_by_a_partial_resync() -> Result<()> {
    let primary = Server::start("restart-primary", &[])?;
    let source = format!("127.0.0.1 {}", primary.port);
    let replica = Server::start("restart-replica", &["--replicaof", &source])?;
    let mut client = primary.client()?;
    ok(&mut client, "SET before 1")?;
    let level = |replica: &Server, primary: &Server| {
        wait::until("the replica is level", PATIENCE, || {
            Ok(replica.is_level_with(primary)?.then_some(()))
        })
    };
    level(&replica, &primary)?;
    ok(&mut replica.client()?, "SAVE")?;
    ok(&mut client, "SET between 2")?;
    let full = primary.info("sync_full")?;
    let replica = replica.again("restarted-replica", &["--replicaof", &source])?;
    ok(&mut client, "SET after 3")?;
    level(&replica, &primary)?;
    ensure!(primary.info("sync_full")? == full, "the replica took a snapshot again");
    for (key, value) in [("before", "1"), ("between", "2"), ("after", "3")] {
        ensure!(text(&replica, &format!("GET {key}"))? == value, "{key}");
    }

    ok(&mut client, "SAVE")?;
    let primary = primary.again("restarted-primary", &[])?;
    ok(&mut primary.client()?, "SET later 4")?;
    ok(&mut replica.client()?, &format!("REPLICAOF 127.0.0.1 {}", primary.port))?;
    level(&replica, &primary)?;
    ensure!(primary.info("sync_full")? == "0", "the restarted primary sent a snapshot");
    ensure!(text(&replica, "GET later")? == "4" && text(&replica, "GET before")? == "1");
    Ok(())
}
