//! Processes that are killed under load, and disks without space: what each `appendfsync` promises, and
//! that nothing is torn.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::resp::{Client, Value, ok};
use tests::server::Server;
use tests::small_disk::OnSmallDisk;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);
const ON: [&str; 2] = ["--appendonly", "yes"];
/// Of nothing that is to fill a disk is less written than it says.
const PLAIN: [&str; 4] = ["--appendonly", "yes", "--rdbcompression", "no"];

/// Copies what a server left, into a folder that another can start in.
fn copy_of(disk: &Path, name: &str) -> Result<PathBuf> {
    let copy = std::env::temp_dir().join(format!("redisha-{name}-{}", std::process::id()));
    fs::create_dir_all(copy.join("appendonlydir"))?;
    for folder in ["", "appendonlydir"] {
        let Ok(entries) = fs::read_dir(disk.join(folder)) else { continue };
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().context("a file")?;
            if path.is_file() && name != "filler" {
                fs::copy(&path, copy.join(folder).join(name))?;
            }
        }
    }
    Ok(copy)
}

/// Starts a server on a copy of the disk, as a crash at this moment would leave it.
fn started_on_copy(disk: &Path, name: &str, directives: &[&str]) -> Result<(Server, PathBuf)> {
    let copy = copy_of(disk, name)?;
    let dir = copy.to_string_lossy().into_owned();
    Ok((Server::start(name, &[directives, &["--dir", &dir]].concat())?, copy))
}

/// What is sent in each step of a load: counters that tell how far it is, two of them in a transaction.
const STEP: [&[&str]; 5] = [&["INCR", "n"], &["MULTI"], &["INCR", "a"], &["INCR", "b"], &["EXEC"]];

/// Where a server's counters stand: n, a, b.
fn counters(server: &Server) -> Result<[i64; 3]> {
    let mut client = server.client()?;
    let mut counters = [0; 3];
    for (counter, key) in counters.iter_mut().zip(["n", "a", "b"]) {
        if let Value::Text(text) = client.call(&["GET", key])? {
            *counter = text.parse()?;
        }
    }
    Ok(counters)
}

/// A killed process leaves what it had handed to the system, whatever `appendfsync` says: under `always`
/// all that it answered, else all but what waited for the writing thread; and always the first part of
/// what it executed, in whole transactions.
#[test]
fn what_a_killed_process_had_written_is_there() -> Result<()> {
    for policy in ["always", "everysec", "no"] {
        let directives = [&ON[..], &["--appendfsync", policy]].concat();
        let mut server = Server::start(policy, &directives)?;
        for round in 1..=3 {
            let [before, a_before, _] = counters(&server)?;
            let mut client = server.client()?;
            let steps = |count: usize, client: &mut Client| -> Result<()> {
                for at in 0..count {
                    STEP.iter().try_for_each(|words| client.send(words))?;
                    if at == count / 2 && round == 2 {
                        client.send(&["BGREWRITEAOF"])?;
                    }
                }
                Ok(())
            };
            steps(300, &mut client)?;
            let mut kept = before;
            for _ in 0..300 * STEP.len() {
                if let Value::Int(n) = client.receive()? {
                    kept = n;
                }
            }
            ensure!(kept == before + 300, "{policy}, round {round}: {kept}");
            // Answered is kept at once under `always`, and otherwise when nothing waits any more.
            if policy != "always" {
                wait::until("all is written", PATIENCE, || {
                    Ok((server.info("aof_buffer_length")? == "0").then_some(()))
                })?;
            }
            if policy == "everysec" {
                // The rest of a second later it is on the disk, too.
                let mut other = server.client()?;
                let Value::Array(held) = other.say("WAITAOF 1 0 30000")? else {
                    anyhow::bail!("WAITAOF answers an array")
                };
                ensure!(held[0] == Value::Int(1), "{held:?}");
            }
            // More of it is under way as the process is killed.
            steps(2000, &mut client)?;
            for _ in 0..200 {
                if let Value::Int(n) = client.receive()?
                    && policy == "always"
                {
                    kept = n;
                }
            }
            server = server.again(&format!("{policy}-again"), &directives)?;
            let [n, a, b] = counters(&server)?;
            let who = format!("{policy}, round {round}: {kept} kept, found {n} {a} {b}");
            ensure!(n >= kept && n <= before + 2300, "{who}");
            let ahead = (n - before) - (a - a_before);
            ensure!(a == b && (0..=1).contains(&ahead), "{who}: not the first part of the load");
        }
    }
    Ok(())
}

fn fill(client: &mut Client, keys: usize) -> Result<()> {
    let value = "x".repeat(50_000);
    for n in 0..keys {
        let answer = client.call(&["SET", &format!("key:{n}"), &value])?;
        ensure!(answer == Value::Text("OK".into()), "{answer:?}");
    }
    Ok(())
}

/// A full disk refuses writes and tears nothing; when there is space again, so are writes, without
/// a restart.
#[test]
fn a_full_disk_refuses_writes_until_there_is_space() -> Result<()> {
    let Some(small) = OnSmallDisk::start("full", 2048, &ON)? else { return Ok(()) };
    let server = &small.server;
    small.fill_but(500)?;
    let mut client = server.client()?;
    let value = "x".repeat(50_000);
    let mut kept = Vec::new();
    let why = wait::until("a write is refused", PATIENCE, || {
        let key = format!("key:{}", kept.len());
        if let Value::Error(why) = client.call(&["SET", &key, &value])? {
            return Ok(Some(why));
        }
        kept.push(key);
        Ok(None)
    })?;
    ensure!(why.starts_with("MISCONF Errors writing to the AOF file"), "{why}");
    ensure!(server.info("aof_last_write_status")? == "err");
    ensure!(client.call(&["GET", &kept[0]])?.text()? == value, "reads go on");
    small.empty()?;
    writes_are_taken_again(&small)?;
    let (copy, place) = started_on_copy(&small.disk, "after-full", &ON)?;
    ensure!(copy.client()?.say("DBSIZE")? == Value::Int(kept.len() as i64 + 1), "{}", copy.log());
    ensure!(!copy.log().contains("truncating"), "{}", copy.log());
    Ok(fs::remove_dir_all(&place)?)
}

fn writes_are_taken_again(small: &OnSmallDisk) -> Result<()> {
    let mut client = small.server.client()?;
    wait::until("writes are taken again", PATIENCE, || {
        Ok((client.call(&["SET", "again", "1"])? == Value::Text("OK".into())).then_some(()))
    })?;
    wait::until("all is written", PATIENCE, || {
        Ok((small.server.info("aof_buffer_length")? == "0").then_some(()))
    })
}

/// A rewrite needs the space of all data once more. Without it it fails and says so, the files of before
/// hold everything that was answered, writes are taken once its own remains are gone, and the next one
/// works when there is space.
#[test]
fn a_rewrite_on_a_full_disk_leaves_the_files_of_before() -> Result<()> {
    for preamble in ["yes", "no"] {
        let name = format!("rewrite-{preamble}");
        let directives = [&PLAIN[..], &["--aof-use-rdb-preamble", preamble]].concat();
        let Some(small) = OnSmallDisk::start(&name, 6144, &directives)? else { return Ok(()) };
        let server = &small.server;
        let mut client = server.client()?;
        fill(&mut client, 40)?;
        writes_are_taken_again(&small)?;
        small.fill_but(700)?;
        // Before the disk is full: nobody knows how soon it will be.
        let mut answered = client.say("INCR n")?.int()?;
        ok(&mut client, "BGREWRITEAOF")?;
        wait::until("the rewrite fails", PATIENCE, || {
            // Refused for a moment at most, while the rewrite's own part holds the space.
            match client.say("INCR n")? {
                Value::Int(n) => answered = n,
                Value::Error(why) if why.starts_with("MISCONF") => {}
                other => anyhow::bail!("{other:?}"),
            }
            Ok((server.info("aof_last_bgrewrite_status")? == "err").then_some(()))
        })?;
        writes_are_taken_again(&small)?;
        let log = server.log();
        ensure!(log.contains("No space left"), "{log}");
        let check = |name: &str, dbsize: i64| -> Result<()> {
            let (copy, place) = started_on_copy(&small.disk, name, &directives)?;
            let mut client = copy.client()?;
            ensure!(client.say("DBSIZE")? == Value::Int(dbsize), "{name}: {}", copy.log());
            let n: i64 = client.say("GET n")?.text()?.parse()?;
            ensure!(n >= answered, "{name}: {answered} answered, {n} kept");
            ensure!(!copy.log().contains("truncating"), "{name}: {}", copy.log());
            Ok(fs::remove_dir_all(&place)?)
        };
        // The keys, the counter, and the one that was written at the end.
        check(&format!("{name}-before"), 42)?;
        small.empty()?;
        ok(&mut client, "BGREWRITEAOF")?;
        wait::until("the rewrite is over", PATIENCE, || {
            let over = server.info("aof_rewrite_in_progress")? == "0";
            Ok((over && server.info("aof_last_bgrewrite_status")? == "ok").then_some(()))
        })?;
        check(&format!("{name}-after"), 42)?;
    }
    Ok(())
}

/// A background save that finds no space leaves the old file whole and stops writes, since nobody may
/// have seen its error; when there is space, the next one that is due takes writes up again by itself.
#[test]
fn a_save_on_a_full_disk_is_made_when_there_is_space() -> Result<()> {
    let directives = ["--rdbcompression", "no"];
    let Some(small) = OnSmallDisk::start("save", 6144, &directives)? else { return Ok(()) };
    let server = &small.server;
    let mut client = server.client()?;
    ok(&mut client, "SET k old")?;
    ok(&mut client, "SAVE")?;
    let file = small.disk.join("dump.rdb");
    let whole = fs::read(&file)?;
    small.fill_but(700)?;
    fill(&mut client, 40)?;
    client.call(&["CONFIG", "SET", "save", "1 1"])?.text()?;
    wait::until("a save fails", PATIENCE, || {
        Ok((server.info("rdb_last_bgsave_status")? == "err").then_some(()))
    })?;
    ensure!(server.info("rdb_last_error")?.contains("No space left"), "{}", server.log());
    let refused = client.say("SET k new")?;
    ensure!(matches!(&refused, Value::Error(why) if why.starts_with("MISCONF")), "{refused:?}");
    ensure!(fs::read(&file)? == whole, "the old file was touched");
    small.empty()?;
    wait::until("writes are taken again", PATIENCE, || {
        Ok((client.say("SET k new")? == Value::Text("OK".into())).then_some(()))
    })?;
    let (copy, place) = started_on_copy(&small.disk, "after-save", &[])?;
    ensure!(copy.client()?.say("DBSIZE")? == Value::Int(41), "{}", copy.log());
    Ok(fs::remove_dir_all(&place)?)
}
