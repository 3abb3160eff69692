//! What an administrator does at a running server: users from a file, what was slow, the log.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::local::scratch;
use tests::resp::{Client, Value, ok};
use tests::server::{Server, must_not_start, text};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);

const USERS: &str = "user default on nopass ~* &* +@all
user alice on >wonder ~a:* +get +set
";

fn error(client: &mut Client, line: &str) -> Result<String> {
    match client.say(line)? {
        Value::Error(error) => Ok(error),
        other => anyhow::bail!("{line}: {other:?} is no error"),
    }
}

fn logged_in(server: &Server, user: &str, password: &str) -> Result<Client> {
    let mut client = server.client()?;
    ok(&mut client, &format!("AUTH {user} {password}"))?;
    Ok(client)
}

#[test]
fn users_come_from_their_file_whole_or_not_at_all() -> Result<()> {
    let dir = scratch();
    let path = dir.join("users.acl");
    let name = path.display().to_string();
    fs::write(&path, USERS)?;
    let server = Server::start("users", &["--aclfile", &name])?;
    let mut admin = server.client()?;
    let mut alice = logged_in(&server, "alice", "wonder")?;
    ok(&mut alice, "SET a:1 x")?;
    ensure!(error(&mut alice, "SET b:1 x")?.starts_with("NOPERM"));

    // One bad line: nothing of the file counts, and nobody's connection ends.
    let before = admin.say("ACL LIST")?;
    let bad = ["user alice on >wonder ~a:* +nothing", "alice on", "user bob on )x("];
    for line in bad {
        let broken =
            format!("user default on nopass ~* &* +@all\n{line}\nuser bob on nopass +get\n");
        fs::write(&path, broken)?;
        let why = error(&mut admin, "ACL LOAD")?;
        ensure!(why.contains(&format!("{name}:2")), "{line}: {why}");
        ensure!(why.contains("no change to the previously active ACL rules"), "{why}");
        ensure!(admin.say("ACL LIST")? == before, "{line}");
        ok(&mut alice, "GET a:1")?;
    }
    ensure!(must_not_start(&["--aclfile", &name])?.contains(&format!("{name}:2")));

    // A good one takes the place of all: who is no user any more is none at once.
    fs::write(&path, "user default on nopass ~* &* +@all\nuser bob on >builder ~b:* +@all\n")?;
    ok(&mut admin, "ACL LOAD")?;
    ensure!(alice.say("GET a:1").is_err(), "alice is still served");
    ensure!(error(&mut server.client()?, "AUTH alice wonder")?.starts_with("WRONGPASS"));
    logged_in(&server, "bob", "builder")?;

    // What SAVE wrote is what the next start reads, and it holds no password.
    ok(&mut admin, "ACL SETUSER carol on >secret ~c:* +@all")?;
    ok(&mut admin, "ACL SAVE")?;
    let before = admin.say("ACL LIST")?;
    let saved = fs::read_to_string(&path)?;
    ensure!(saved.contains("user carol on") && !saved.contains("secret"), "{saved}");
    ok(&mut admin, "ACL DELUSER carol")?;
    ok(&mut admin, "ACL LOAD")?;
    ensure!(admin.say("ACL LIST")? == before);
    let server = server.again("users-again", &["--aclfile", &name])?;
    ensure!(server.client()?.say("ACL LIST")? == before);
    let mut carol = logged_in(&server, "carol", "secret")?;

    // A file that cannot be written is said to be none, and the users stay what they are.
    fs::remove_dir_all(&dir)?;
    let why = error(&mut server.client()?, "ACL SAVE")?;
    ensure!(why.starts_with("ERR There was an error trying to save the ACLs"), "{why}");
    ensure!(error(&mut server.client()?, "ACL LOAD")?.contains("opening file"));
    ok(&mut carol, "SET c:1 x")?;

    let plain = Server::start("no-users", &[])?;
    for command in ["ACL LOAD", "ACL SAVE"] {
        let why = error(&mut plain.client()?, command)?;
        ensure!(why.contains("not configured to use an ACL file"), "{command}: {why}");
    }
    Ok(())
}

#[test]
fn the_latency_doctor_names_what_was_slow() -> Result<()> {
    let server = Server::start("latency", &["--enable-debug-command", "yes"])?;
    let mut client = server.client()?;
    ensure!(text(&server, "LATENCY DOCTOR")?.contains("not watched"));
    // Beyond what any command takes where the machine has much else to do.
    ok(&mut client, "CONFIG SET latency-monitor-threshold 60000")?;
    ensure!(text(&server, "LATENCY DOCTOR")?.contains("No latency spike"));
    ok(&mut client, "CONFIG SET latency-monitor-threshold 20")?;
    ok(&mut client, "DEBUG SLEEP 0.03")?;
    ok(&mut client, "DEBUG SLEEP 0.06")?;
    ok(&mut client, "CONFIG SET latency-monitor-threshold 60000")?;
    let said = text(&server, "LATENCY DOCTOR")?;
    let line = said.lines().find(|line| line.starts_with("- command: "));
    let line = line.with_context(|| format!("no word of commands: {said}"))?;
    // Others may have taken as long where they had no processor.
    let spikes = line.split(' ').nth(2).context("no count")?.parse::<usize>()?;
    ensure!(spikes >= 2, "{line}");
    let worst = line.split("worst ").nth(1).and_then(|rest| rest.split(' ').next());
    let worst: u64 = worst.context("no worst one")?.parse()?;
    ensure!(worst >= 60, "{line}");

    let Value::Array(history) = client.say("LATENCY HISTORY command")? else {
        anyhow::bail!("no history")
    };
    // Samples of one second are one.
    ensure!((1..=spikes).contains(&history.len()), "{history:?}");
    let Value::Array(latest) = client.say("LATENCY LATEST")? else { anyhow::bail!("no events") };
    let names = latest.iter().map(|event| match event {
        Value::Array(fields) => fields[0].clone(),
        other => other.clone(),
    });
    ensure!(names.clone().any(|name| name == Value::Text("command".into())), "{latest:?}");

    ensure!(client.say("LATENCY RESET command")? == Value::Int(1));
    ensure!(!text(&server, "LATENCY DOCTOR")?.contains("- command: "));
    Ok(())
}

/// The file `log` of a server's folder with what was written last.
fn last_line(server: &Server, name: &str) -> Result<String> {
    let text = fs::read_to_string(server.directory.join(name))?;
    Ok(text.lines().last().context("an empty log")?.to_owned())
}

fn say(client: &mut Client, level: &str, text: &str) -> Result<()> {
    let script = format!("server.log(server.LOG_{level}, {text:?})");
    match client.call(&["EVAL", &script, "0"])? {
        Value::Error(error) => anyhow::bail!("{script}: {error}"),
        _ => Ok(()),
    }
}

/// Lines were bare messages on the standard error stream, whatever `loglevel` said.
#[test]
fn the_log_has_lines_that_tools_read() -> Result<()> {
    let server = Server::start("log", &["--logfile", "own.log"])?;
    let mut client = server.client()?;
    let pid = server.pid();

    let line = last_line(&server, "own.log")?;
    let (head, message) = line.split_once(" * ").context("no level")?;
    ensure!(message.starts_with("Ready to accept connections"), "{line}");
    let (who, time) = head.split_once(' ').context("no time")?;
    ensure!(who == format!("{pid}:M"), "{line}");
    let shape: String = time
        .chars()
        .map(|letter| if letter.is_ascii_digit() { '9' } else { letter })
        .map(|letter| if letter.is_ascii_alphabetic() { 'a' } else { letter })
        .collect();
    ensure!(shape == "99 aaa 9999 99:99:99.999", "{line}");

    say(&mut client, "WARNING", "one\ntwo")?;
    let line = last_line(&server, "own.log")?;
    ensure!(line.ends_with(" # script: one two"), "{line}");
    say(&mut client, "VERBOSE", "unheard")?;
    ensure!(last_line(&server, "own.log")? == line, "notice is the least that is written");
    ok(&mut client, "CONFIG SET loglevel verbose")?;
    say(&mut client, "VERBOSE", "heard")?;
    ensure!(last_line(&server, "own.log")?.ends_with(" - script: heard"));

    ok(&mut client, "CONFIG SET log-format json log-timestamp-format iso8601")?;
    ok(&mut client, "REPLICAOF 127.0.0.1 1")?;
    say(&mut client, "NOTICE", "a \"b\"")?;
    let line = last_line(&server, "own.log")?;
    let fields: serde_json::Value = serde_json::from_str(&line)?;
    ensure!(fields["pid"] == pid && fields["role"] == "replica", "{line}");
    ensure!(fields["level"] == "notice" && fields["message"] == "script: a \"b\"", "{line}");
    ensure!(fields["timestamp"].as_str().is_some_and(|time| time.ends_with("+00:00")), "{line}");

    ok(&mut client, "CONFIG SET log-format logfmt log-timestamp-format milliseconds")?;
    say(&mut client, "NOTICE", "a \"b\"")?;
    let line = last_line(&server, "own.log")?;
    ensure!(line.starts_with(&format!("pid={pid} role=replica timestamp=\"1")), "{line}");
    ensure!(line.ends_with("\" level=notice message=\"script: a 'b'\""), "{line}");

    // A file that was moved away makes place for another one.
    let folder = &server.directory;
    fs::rename(folder.join("own.log"), folder.join("own.log.1"))?;
    say(&mut client, "WARNING", "afresh")?;
    ensure!(last_line(&server, "own.log")?.contains("afresh"));
    ok(&mut client, "CONFIG SET loglevel nothing")?;
    say(&mut client, "WARNING", "unheard")?;
    ensure!(last_line(&server, "own.log")?.contains("afresh"));
    Ok(())
}

/// The first line that found no place on the disk ended the server.
#[test]
fn a_full_disk_of_the_log_ends_no_server() -> Result<()> {
    let server = Server::start("full-log", &["--logfile", "/dev/full"])?;
    let mut client = server.client()?;
    say(&mut client, "WARNING", "lost")?;
    ensure!(client.say("PING")? == Value::Text("PONG".into()));
    Ok(())
}

/// `aof-disable-auto-gc`: files that a rewrite replaced stay, and go when it is turned off.
#[test]
fn replaced_files_stay_where_nobody_is_to_remove_them() -> Result<()> {
    let server =
        Server::start("history", &["--appendonly", "yes", "--aof-disable-auto-gc", "yes"])?;
    let mut client = server.client()?;
    let folder = server.directory.join("appendonlydir");
    let files = || -> Result<usize> { Ok(fs::read_dir(&folder)?.count()) };
    let history = || -> Result<usize> {
        let manifest = fs::read_to_string(folder.join("appendonly.aof.manifest"))?;
        Ok(manifest.lines().filter(|line| line.ends_with(" type h")).count())
    };
    ok(&mut client, "SET k v")?;
    for rewrites in 1..=2 {
        ok(&mut client, "BGREWRITEAOF")?;
        wait::until("the files are rewritten", PATIENCE, || {
            Ok((history()? == 2 * rewrites).then_some(()))
        })?;
    }
    ensure!(files()? == 7, "a manifest, a base, a file since and four of before");
    let server =
        server.again("history-again", &["--appendonly", "yes", "--aof-disable-auto-gc", "yes"])?;
    ensure!(text(&server, "GET k")? == "v");
    ensure!(files()? >= 7);
    ok(&mut server.client()?, "CONFIG SET aof-disable-auto-gc no")?;
    wait::until("the files of before are removed", PATIENCE, || Ok((files()? == 3).then_some(())))?;
    ensure!(history()? == 0);
    Ok(())
}

/// For five seconds, as long as its own end of the connection was not read, a client that had been
/// answered to `QUIT` was listed, counted, and told of keys in the place of others.
#[test]
fn who_was_answered_to_quit_is_no_client_any_more() -> Result<()> {
    let server = Server::start("quit", &[])?;
    let mut admin = server.client()?;
    let mut told = server.client()?;
    let id = told.say("CLIENT ID")?.text()?;
    ok(&mut told, "SUBSCRIBE __redis__:invalidate")?;
    let mut reader = server.client()?;
    ok(&mut reader, "HELLO 3")?;
    ok(&mut reader, &format!("CLIENT TRACKING on REDIRECT {id}"))?;
    ok(&mut reader, "GET k")?;
    ok(&mut told, "QUIT")?;
    ok(&mut admin, "SET k v")?;
    let broken = [Value::Text("tracking-redir-broken".into()), Value::Int(id.parse()?)];
    ensure!(reader.receive()? == Value::Push(broken.into()));
    let info = format!("{:?}", reader.say("CLIENT TRACKINGINFO")?);
    ensure!(info.contains("broken_redirect"), "{info}");
    let list = admin.say("CLIENT LIST")?.text()?;
    ensure!(list.lines().count() == 2, "{list}");
    told.expect_end()
}
