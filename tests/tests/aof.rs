//! Append-only files: what stock servers read, torn tails, damaged bytes, and where a node goes on.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::resp::{Client, Value, ok};
use tests::server::{Server, must_not_start, text};
use tests::{programs, wait};

const PATIENCE: Duration = Duration::from_secs(30);
const ALWAYS: [&str; 4] = ["--appendonly", "yes", "--appendfsync", "always"];
const ON: [&str; 2] = ["--appendonly", "yes"];

fn stock(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{variable} is not set");
        eprintln!("SKIPPED: {variable} is not set");
    }
    path
}

/// The files of the folder whose names end so, in order.
fn files(directory: &Path, end: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory.join("appendonlydir"))? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// WAITAOF counts disks, not memories.
#[test]
fn waitaof_counts_the_disks_that_hold_a_write() -> Result<()> {
    let primary = Server::start("waitaof", &ON)?;
    let source = format!("127.0.0.1 {}", primary.port);
    let on_disk = Server::start("waitaof-disk", &[&ON[..], &["--replicaof", &source]].concat())?;
    let _in_memory = Server::start("waitaof-memory", &["--replicaof", &source])?;
    let mut client = primary.client()?;
    ok(&mut client, "SET k v")?;
    ensure!(client.say("WAIT 2 20000")? == Value::Int(2));
    let both = Value::Array(vec![Value::Int(1), Value::Int(1)]);
    ensure!(client.say("WAITAOF 1 1 20000")? == both);
    ok(&mut client, "SET k w")?;
    ensure!(client.say("WAIT 2 20000")? == Value::Int(2));
    ensure!(client.say("WAITAOF 1 1 20000")? == both);
    // All who will ever tell have told, so that how soon they do decides nothing.
    ensure!(client.say("WAITAOF 1 2 100")? == both, "a replica without a disk was counted");
    ok(&mut client, "CONFIG SET appendonly no")?;
    let refused = client.say("WAITAOF 1 0 0")?;
    ensure!(matches!(&refused, Value::Error(why) if why.contains("appendonly is disabled")));
    let refused = on_disk.client()?.say("WAITAOF 0 0 0")?;
    ensure!(matches!(&refused, Value::Error(why) if why.contains("replica instances")));
    Ok(())
}

fn fill(client: &mut Client) -> Result<()> {
    for line in [
        "SET text value",
        "SET timed v PXAT 4102444800123",
        "RPUSH list a b c",
        "SADD set a b",
        "HSET hash f v g w",
        "ZADD zset 1.5 m -inf n",
        "XADD stream 5-1 f v",
        "SELECT 3",
        "SET other 3",
        "SELECT 0",
    ] {
        ok(client, line)?;
    }
    Ok(())
}

fn check_filled(server: &Server, who: &str) -> Result<()> {
    let mut client = server.client()?;
    for (line, want) in [
        ("GET text", "value"),
        ("PEXPIRETIME timed", "4102444800123"),
        ("LINDEX list 2", "c"),
        ("SISMEMBER set b", "1"),
        ("HGET hash g", "w"),
        ("ZSCORE zset m", "1.5"),
        ("XLEN stream", "1"),
    ] {
        let got = match client.say(line)? {
            Value::Int(n) => n.to_string(),
            other => other.text()?,
        };
        ensure!(got == want, "{who}: {line} is {got}");
    }
    ok(&mut client, "SELECT 3")?;
    ensure!(client.say("GET other")?.text()? == "3", "{who}");
    Ok(())
}

/// Starts a program on a copy of what another left, which is killed.
fn on_copy(of: &Path, program: &Path, name: &str) -> Result<Server> {
    let copy = std::env::temp_dir().join(format!("redisha-aof-{name}-{}", std::process::id()));
    fs::create_dir_all(copy.join("appendonlydir"))?;
    for entry in fs::read_dir(of.join("appendonlydir"))? {
        let path = entry?.path();
        let to = copy.join("appendonlydir").join(path.file_name().context("a file")?);
        fs::copy(&path, to)?;
    }
    let dir = copy.to_string_lossy().into_owned();
    let server = Server::start_program(program, name, &["--appendonly", "yes", "--dir", &dir])?;
    // A stock server answers while it loads, too.
    wait::until("the copy is loaded", PATIENCE, || {
        Ok((server.info("loading")? == "0").then_some(()))
    })?;
    Ok(server)
}

#[test]
fn stock_servers_read_our_files_and_we_read_theirs() -> Result<()> {
    for preamble in ["yes", "no"] {
        for variable in ["REDISHA_VALKEY", "REDISHA_REDIS"] {
            let Some(program) = stock(variable) else { continue };
            let who = format!("{variable}-{preamble}");
            let ours = Server::start("ours", &["--aof-use-rdb-preamble", preamble])?;
            let mut client = ours.client()?;
            fill(&mut client)?;
            ok(&mut client, "CONFIG SET appendonly yes")?;
            wait::until("the first rewrite is over", PATIENCE, || {
                Ok((ours.info("aof_pending_rewrite")? == "0").then_some(()))
            })?;
            // The second base holds a part of the stream before it, which is none of their business.
            ok(&mut client, "SET streamed 1")?;
            ok(&mut client, "BGREWRITEAOF")?;
            wait::until("the second rewrite is over", PATIENCE, || {
                Ok((ours.info("aof_rewrites")? == "2").then_some(()))
            })?;
            ok(&mut client, "SET ours 1")?;
            client.call(&["SHUTDOWN"]).ok();
            let stock = on_copy(&ours.directory, &program, &format!("stock-{who}"))?;
            check_filled(&stock, &who)?;
            ensure!(text(&stock, "GET ours")? == "1", "{who}");
            let mut client = stock.client()?;
            ok(&mut client, "SET theirs 2")?;
            let dir = client.call(&["CONFIG", "GET", "dir"])?;
            let Value::Array(pair) = dir else { anyhow::bail!("{dir:?}") };
            let dir = PathBuf::from(pair[1].clone().text()?);
            client.call(&["SHUTDOWN"]).ok();
            drop(stock);
            let again = on_copy(&dir, &programs::server(), &format!("again-{who}"))?;
            check_filled(&again, &who)?;
            ensure!(
                text(&again, "GET ours")? == "1" && text(&again, "GET theirs")? == "2",
                "{who}"
            );
            // What a stock server wrote is in no stream of ours: nobody may go on from there.
            ensure!(again.info("second_repl_offset")? == "-1", "{who}: a position is claimed");
        }
    }
    Ok(())
}

#[test]
fn the_files_can_be_turned_off_and_on() -> Result<()> {
    let server = Server::start("on-off", &ON)?;
    let mut client = server.client()?;
    ok(&mut client, "SET first 1")?;
    ok(&mut client, "CONFIG SET appendonly no")?;
    ok(&mut client, "SET unwritten 2")?;
    ensure!(server.info("aof_enabled")? == "0");
    ok(&mut client, "CONFIG SET appendonly yes")?;
    wait::until("the first rewrite is over", PATIENCE, || {
        Ok((server.info("aof_pending_rewrite")? == "0").then_some(()))
    })?;
    ok(&mut client, "CONFIG SET appendfsync always")?;
    ok(&mut client, "SET last 3")?;
    ensure!(files(&server.directory, ".rdb")?.len() == 1, "old files are removed");
    let server = server.again("on-again", &ON)?;
    for (key, value) in [("first", "1"), ("unwritten", "2"), ("last", "3")] {
        ensure!(text(&server, &format!("GET {key}"))? == value, "{key}");
    }
    Ok(())
}

/// Files of other servers may be a base alone, or commands without a base; they are gone on with.
#[test]
fn a_base_alone_or_no_base_is_gone_on_with() -> Result<()> {
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\n1\r\n";
    for (kind, lines) in [("b", 3), ("i", 1)] {
        let place = format!("redisha-only-{kind}-{}", std::process::id());
        let directory = std::env::temp_dir().join(place);
        let folder = directory.join("appendonlydir");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("one.aof"), set)?;
        let manifest = folder.join("appendonly.aof.manifest");
        fs::write(&manifest, format!("file one.aof seq 1 type {kind}\n"))?;
        let dir = directory.to_string_lossy().into_owned();
        let on = [&ALWAYS[..], &["--dir", &dir]].concat();
        let server = Server::start("only", &on)?;
        ok(&mut server.client()?, "INCR k")?;
        drop(server);
        let server = Server::start("only-again", &on)?;
        ensure!(text(&server, "GET k")? == "2", "{kind}");
        ensure!(fs::read_to_string(&manifest)?.lines().count() == lines, "{kind}");
        fs::remove_dir_all(&directory)?;
    }
    Ok(())
}

#[test]
fn a_torn_tail_is_cut_with_a_message_and_corruption_is_refused() -> Result<()> {
    let mut server = Server::start("torn", &ALWAYS)?;
    let mut client = server.client()?;
    ok(&mut client, "SET k 1")?;
    ok(&mut client, "MULTI")?;
    ok(&mut client, "SET k 2")?;
    ok(&mut client, "SET k 3")?;
    ok(&mut client, "EXEC")?;
    client.call(&["SHUTDOWN"]).ok();
    ensure!(server.ended().success(), "{}", server.log());
    let last = files(&server.directory, ".incr.aof")?.pop().context("an incremental file")?;
    let whole = fs::read(&last)?;
    fs::write(&last, &whole[..whole.len() - 3])?;
    let folder = server.directory.to_string_lossy().into_owned();
    let on = [&ON[..], &["--dir", &folder]].concat();
    let said = must_not_start(&[&on[..], &["--aof-load-truncated", "no"]].concat())?;
    ensure!(said.contains("Unexpected end of file") && said.contains(".incr.aof"), "{said}");
    let name = last.file_name().context("a file")?.to_string_lossy().into_owned();
    let mut server = server.again("torn-again", &ALWAYS)?;
    ensure!(text(&server, "GET k")? == "1", "half a transaction was executed");
    let log = server.log();
    ensure!(log.contains("truncating the AOF at offset") && log.contains(&name), "{log}");
    let mut client = server.client()?;
    ok(&mut client, "SET k 4")?;
    client.call(&["SHUTDOWN"]).ok();
    ensure!(server.ended().success(), "{}", server.log());
    let good = fs::read(&last)?;
    let head = good.windows(2).position(|w| w == b"#+").context("a frame")?;
    let damaged = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        fs::write(&last, &bytes)
    };
    // A byte of a value, a length that reaches beyond the file, the head itself.
    let value = good.windows(7).position(|w| w == b"k\r\n$1\r\n").context("a value")? + 7;
    let command = good[head..].windows(2).position(|w| w == b"*3").context("a command")?;
    for (at, byte, why) in [
        (value, b'7', "was written with"),
        (head + command + 1, b'9', "was written with"),
        (head + 2, b'9', "annotation of ours is damaged"),
    ] {
        damaged(at, byte)?;
        let said = must_not_start(&on)?;
        ensure!(said.contains(&format!("offset {head}")) && said.contains(&name), "{said}");
        ensure!(said.contains(why) && said.contains("copy"), "{said}");
    }
    // In the last frame, a write may have been cut short.
    damaged(good.len() - 3, b'7')?;
    let said = must_not_start(&[&on[..], &["--aof-load-truncated", "no"]].concat())?;
    ensure!(said.contains("was written with") && said.contains(&name), "{said}");
    let server = server.again("torn-last", &ALWAYS)?;
    ensure!(text(&server, "GET k")? == "1", "a frame that is not as it was written was executed");
    let log = server.log();
    ensure!(
        log.contains("truncating the AOF at offset") && log.contains("was written with"),
        "{log}"
    );
    Ok(())
}

/// The files are the stream: a killed replica, which saved nothing, asks for the rest only, and so
/// do the replicas of a killed primary.
#[test]
fn a_killed_node_is_followed_by_a_partial_resync() -> Result<()> {
    let primary = Server::start("aof-primary", &ALWAYS)?;
    let source = format!("127.0.0.1 {}", primary.port);
    let follow = [&ALWAYS[..], &["--replicaof", &source]].concat();
    let replica = Server::start("aof-replica", &follow)?;
    let level = |replica: &Server, primary: &Server| {
        wait::until("the replica is level", PATIENCE, || {
            let level = replica.is_level_with(primary)?;
            let synced = replica.info("redisha_aof_synced_offset").unwrap_or_default();
            let durable = synced == replica.info("master_repl_offset")?;
            // Those of a full resync count once a manifest names the files that hold them.
            let named = replica.info("aof_pending_rewrite")? == "0";
            Ok((level && durable && named).then_some(()))
        })
    };
    let mut client = primary.client()?;
    ok(&mut client, "SET before 1")?;
    level(&replica, &primary)?;
    let full = primary.info("sync_full")?;
    let replica = replica.again("aof-replica-again", &follow)?;
    ok(&mut client, "SET between 2")?;
    level(&replica, &primary)?;
    ensure!(primary.info("sync_full")? == full, "the replica took a snapshot again");

    let primary = primary.again("aof-primary-again", &ALWAYS)?;
    ok(&mut primary.client()?, "SET later 3")?;
    ok(&mut replica.client()?, &format!("REPLICAOF 127.0.0.1 {}", primary.port))?;
    level(&replica, &primary)?;
    ensure!(primary.info("sync_full")? == "0", "the restarted primary sent a snapshot");
    for (key, value) in [("before", "1"), ("between", "2"), ("later", "3")] {
        ensure!(text(&replica, &format!("GET {key}"))? == value, "{key}");
    }
    Ok(())
}

/// Who asks while large data are loaded is told so, and nobody sees half of them. (The test once
/// demanded to come before the end of 16 MB, which a quick machine had loaded by then.)
#[test]
fn large_data_are_loaded_while_the_server_answers() -> Result<()> {
    const KEYS: usize = 600_000;
    let directory = std::env::temp_dir().join(format!("redisha-large-{}", std::process::id()));
    let folder = directory.join("appendonlydir");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("appendonly.aof.manifest"), "file all.aof seq 1 type b\n")?;
    let mut file = std::io::BufWriter::new(fs::File::create(folder.join("all.aof"))?);
    let value = "v".repeat(60);
    for i in 0..KEYS {
        write!(file, "*3\r\n$3\r\nSET\r\n$10\r\nkey:{i:06}\r\n$60\r\n{value}\r\n")?;
    }
    file.flush()?;
    let dir = directory.to_string_lossy().into_owned();
    let server = Server::start("large", &[&ON[..], &["--dir", &dir]].concat())?;
    let mut client = server.client()?;
    // How far it is by then depends on the machine; what may be answered meanwhile does not.
    wait::until("all is loaded", PATIENCE, || match client.say("DBSIZE")? {
        Value::Error(why) if why.starts_with("LOADING") => Ok(None),
        Value::Int(count) => {
            assert_eq!(count, KEYS as i64, "a part of the data was seen");
            Ok(Some(()))
        }
        other => panic!("DBSIZE while loading: {other:?}"),
    })?;
    fs::remove_dir_all(&directory)?;
    Ok(())
}

/// A base in the form of commands must tell when fields of hashes end: the first of them knew of
/// keys' times alone. With Valkey beside it, which has the same command for it.
#[test]
fn fields_keep_their_times_in_a_base_of_commands() -> Result<()> {
    const FAR: &str = "4102444800123";
    let directives = [&ON[..], &["--aof-use-rdb-preamble", "no"]].concat();
    let server = Server::start("fields", &directives)?;
    let mut client = server.client()?;
    for line in [
        "HSET mixed a 1 b 2 c 3",
        "HPEXPIREAT mixed 4102444800123 FIELDS 1 b",
        "HSET timed x 1",
        "HPEXPIREAT timed 4102444800123 FIELDS 1 x",
        "HSET ended e 1 stays 2",
        "HPEXPIRE ended 300 FIELDS 1 e",
        "BGREWRITEAOF",
    ] {
        ok(&mut client, line)?;
    }
    wait::until("the rewrite is over", PATIENCE, || {
        let idle = server.info("aof_rewrite_in_progress")? == "0";
        Ok((idle && server.info("aof_pending_rewrite")? == "0").then_some(()))
    })?;
    wait::until("a field has ended", PATIENCE, || {
        Ok((server.client()?.say("HLEN ended")? == Value::Int(1)).then_some(()))
    })?;
    let base = files(&server.directory, ".base.aof")?.pop().context("a base of commands")?;
    ensure!(fs::read(base)?.starts_with(b"#+"), "the base is no list of commands, in frames");
    let check = |server: &Server, who: &str| -> Result<()> {
        for (line, want) in [
            ("HPEXPIRETIME mixed FIELDS 3 a b c", vec!["-1", FAR, "-1"]),
            ("HPEXPIRETIME timed FIELDS 1 x", vec![FAR]),
            ("HMGET mixed a b c", vec!["1", "2", "3"]),
            ("HMGET ended stays", vec!["2"]),
        ] {
            let Value::Array(got) = server.client()?.say(line)? else {
                anyhow::bail!("{who}: {line}")
            };
            let got: Vec<String> = got
                .into_iter()
                .map(|value| match value {
                    Value::Int(n) => Ok(n.to_string()),
                    other => other.text(),
                })
                .collect::<Result<_>>()?;
            ensure!(got == want, "{who}: {line} is {got:?}");
        }
        ensure!(server.client()?.say("HEXISTS ended e")? == Value::Int(0), "{who}: it came back");
        Ok(())
    };
    if let Some(program) = stock("REDISHA_VALKEY") {
        check(&on_copy(&server.directory, &program, "fields-stock")?, "Valkey")?;
    }
    let server = server.again("fields-again", &directives)?;
    check(&server, "ours")?;
    // What is written since the base keeps the times just as well.
    for line in ["HSETEX mixed KEEPTTL FIELDS 2 a 1 b 2", "HSETEX timed KEEPTTL FIELDS 1 x 1"] {
        ok(&mut server.client()?, line)?;
    }
    check(&server, "written")?;
    check(&server.again("fields-since", &directives)?, "written and loaded")
}

/// A base in the form of commands left out all functions, what SCRIPT LOAD had brought, and users: they
/// were gone with the first restart behind a rewrite.
#[test]
fn functions_and_scripts_stay_in_a_base_of_commands() -> Result<()> {
    let directives = [&ON[..], &["--aof-use-rdb-preamble", "no"]].concat();
    let server = Server::start("functions", &directives)?;
    let mut client = server.client()?;
    let library = "#!lua name=lib\nredis.register_function('answer', function() return 42 end)";
    ensure!(client.call(&["FUNCTION", "LOAD", library])? == Value::Text("lib".into()));
    let sha = client.call(&["SCRIPT", "LOAD", "return 'loaded'"])?.text()?;
    ok(&mut client, "BGREWRITEAOF")?;
    wait::until("the rewrite is over", PATIENCE, || {
        let idle = server.info("aof_rewrite_in_progress")? == "0";
        Ok((idle && server.info("aof_pending_rewrite")? == "0").then_some(()))
    })?;
    let base = files(&server.directory, ".base.aof")?.pop().context("a base of commands")?;
    ensure!(fs::read(base)?.starts_with(b"#+"), "the base is no list of commands, in frames");
    let answers = |server: &Server| -> Result<Value> { server.client()?.say("FCALL answer 0") };
    if let Some(program) = stock("REDISHA_VALKEY") {
        let stock = on_copy(&server.directory, &program, "functions-stock")?;
        ensure!(answers(&stock)? == Value::Int(42), "Valkey");
    }
    let server = server.again("functions-again", &directives)?;
    ensure!(answers(&server)? == Value::Int(42));
    let loaded = server.client()?.call(&["EVALSHA", &sha, "0"])?;
    ensure!(loaded == Value::Text("loaded".into()), "{loaded:?}");
    Ok(())
}

/// The commands that were loaded counted as what `DEBUG LOADAOF` had changed, so that it went into the
/// stream itself, where no replica knows it.
#[test]
fn loading_again_adds_nothing_to_the_stream() -> Result<()> {
    let server = Server::start("loadaof", &[&ON[..], &["--enable-debug-command", "yes"]].concat())?;
    let replica =
        Server::start("loadaof-replica", &["--replicaof", &format!("127.0.0.1 {}", server.port)])?;
    let mut client = server.client()?;
    ok(&mut client, "SET k v")?;
    let level = || {
        wait::until("the replica is level", PATIENCE, || {
            Ok(replica.is_level_with(&server)?.then_some(()))
        })
    };
    level()?;
    ok(&mut client, "DEBUG LOADAOF")?;
    ok(&mut client, "SET k after")?;
    level()?;
    ensure!(text(&replica, "GET k")? == "after");
    ensure!(!replica.log().contains("was not applied"), "{}", replica.log());
    Ok(())
}
