//! CLIENT PAUSE and CLIENT UNPAUSE: what they hold, what goes on, and in which order.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::resp::{Client, Value};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);

fn start(name: &str) -> Result<(Server, Client)> {
    let server = Server::start(name, &[])?;
    let client = server.client()?;
    Ok((server, client))
}

fn ok(client: &mut Client, line: &str) -> Result<()> {
    let answer = client.say(line)?;
    ensure!(answer == Value::Text("OK".into()), "{line}: {answer:?}");
    Ok(())
}

/// Waits until so many clients are held.
fn held(server: &Server, count: usize) -> Result<()> {
    wait::until(&format!("{count} clients are held"), PATIENCE, || {
        Ok((server.info("paused_clients")? == count.to_string()).then_some(()))
    })
}

#[test]
fn a_pause_of_writes_holds_writes_and_what_may_replicate() -> Result<()> {
    let (server, mut user) = start("writes")?;
    ok(&mut user, "SET k 1")?;
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    let mut waiting = Vec::new();
    let held_lines =
        [("INCR k", 2), ("PUBLISH channel text", 0), ("LPUSH list a", 1), ("DEL k2", 0)];
    for (line, expected) in held_lines {
        let mut client = server.client()?;
        client.send(&line.split(' ').collect::<Vec<_>>())?;
        waiting.push((line, expected, client));
    }
    held(&server, 4)?;
    for line in ["GET k", "TTL k", "EXISTS list", "PING", "CLIENT ID", "SCAN 0"] {
        let answer = user.say(line)?;
        ensure!(!matches!(answer, Value::Error(_)), "{line}: {answer:?}");
    }
    ensure!(user.say("GET k")?.text()? == "1");
    ok(&mut user, "CLIENT UNPAUSE")?;
    for (line, expected, client) in &mut waiting {
        let value = client.receive()?.int()?;
        ensure!(value == *expected, "{line}: {value}");
    }
    Ok(())
}

#[test]
fn held_commands_run_in_the_order_in_which_they_came() -> Result<()> {
    let (server, mut user) = start("order")?;
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    let mut clients = Vec::new();
    for at in 0..5 {
        let mut client = server.client()?;
        let value = at.to_string();
        client.send(&["RPUSH", "list", &value])?;
        client.send(&["GET", "none"])?;
        held(&server, at + 1)?;
        clients.push(client);
    }
    ok(&mut user, "CLIENT UNPAUSE")?;
    for (at, client) in clients.iter_mut().enumerate() {
        ensure!(client.receive()?.int()? == at as i64 + 1);
        ensure!(client.receive()? == Value::Nil, "its next command comes after it");
    }
    Ok(())
}

#[test]
fn a_pause_of_all_holds_reads_too_and_ends_by_itself() -> Result<()> {
    let (server, mut user) = start("all")?;
    let mut reader = server.client()?;
    ok(&mut user, "CLIENT PAUSE 60000 ALL")?;
    reader.send(&["GET", "k"])?;
    held(&server, 1)?;
    ok(&mut user, "CLIENT UNPAUSE")?;
    ensure!(reader.receive()? == Value::Nil);
    // One that ends by itself may have ended before anybody sees whom it holds.
    ok(&mut user, "CLIENT PAUSE 300 ALL")?;
    reader.send(&["GET", "k"])?;
    ensure!(reader.receive()? == Value::Nil);
    held(&server, 0)
}

#[test]
fn a_later_pause_neither_loosens_nor_shortens() -> Result<()> {
    let (server, mut user) = start("longer")?;
    ok(&mut user, "CLIENT PAUSE 60000 ALL")?;
    ok(&mut user, "CLIENT PAUSE 10 WRITE")?;
    let mut reader = server.client()?;
    reader.send(&["GET", "k"])?;
    held(&server, 1)?;
    reader.patience(Duration::from_millis(300))?;
    ensure!(reader.receive().is_err(), "the first pause still holds");
    ok(&mut user, "CLIENT UNPAUSE")?;
    reader.patience(PATIENCE)?;
    ensure!(reader.receive()? == Value::Nil);
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    ensure!(user.say("GET k")? == Value::Nil, "the former kind does not outlive its end");
    Ok(())
}

#[test]
fn transactions_are_held_only_for_their_writes() -> Result<()> {
    let (server, mut user) = start("exec")?;
    let mut writes = server.client()?;
    ok(&mut writes, "MULTI")?;
    ensure!(writes.say("SET k 1")?.text()? == "QUEUED");
    let mut reads = server.client()?;
    ok(&mut reads, "MULTI")?;
    ensure!(reads.say("GET k")?.text()? == "QUEUED");
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    ensure!(reads.say("EXEC")? == Value::Array(vec![Value::Nil]));
    writes.send(&["EXEC"])?;
    held(&server, 1)?;
    ensure!(user.say("GET k")? == Value::Nil);
    ok(&mut user, "CLIENT UNPAUSE")?;
    ensure!(writes.receive()? == Value::Array(vec![Value::Text("OK".into())]));
    Ok(())
}

#[test]
fn keys_expire_for_readers_but_are_deleted_only_after_the_pause() -> Result<()> {
    let server = Server::start("expiry", &["--enable-debug-command", "yes"])?;
    let mut user = server.client()?;
    let replica =
        Server::start("expiry-replica", &["--replicaof", &format!("127.0.0.1 {}", server.port)])?;
    wait::until("the replica is in sync", PATIENCE, || {
        Ok((replica.info("master_link_status")? == "up").then_some(()))
    })?;
    // None of them is deleted before the pause, however long it is until then.
    ok(&mut user, "DEBUG SET-ACTIVE-EXPIRE 0")?;
    for at in 0..20 {
        ok(&mut user, &format!("SET k{at} v PX 100"))?;
    }
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    ok(&mut user, "DEBUG SET-ACTIVE-EXPIRE 1")?;
    let offset = server.info("master_repl_offset")?;
    wait::until("the keys are gone for readers", PATIENCE, || {
        Ok((user.say("GET k0")? == Value::Nil).then_some(()))
    })?;
    ensure!(user.say("RANDOMKEY").is_ok(), "it ends though every key has expired");
    ensure!(user.say("DBSIZE")?.int()? == 20 && server.info("expired_keys")? == "0");
    ensure!(server.info("master_repl_offset")? == offset, "nothing entered the stream");
    ok(&mut user, "CLIENT UNPAUSE")?;
    wait::until(
        "they are deleted",
        PATIENCE,
        || Ok((user.say("DBSIZE")?.int()? == 0).then_some(())),
    )
}

#[test]
fn a_replica_is_served_while_clients_are_paused() -> Result<()> {
    let (server, mut user) = start("replica")?;
    ok(&mut user, "SET k v")?;
    ok(&mut user, "CLIENT PAUSE 60000 ALL")?;
    let of = format!("127.0.0.1 {}", server.port);
    let replica = Server::start("replica-2", &["--replicaof", &of])?;
    wait::until("the replica has the data", PATIENCE, || {
        Ok((replica.client()?.say("GET k")? == Value::Text("v".into())).then_some(()))
    })
}

#[test]
fn a_blocked_pop_survives_a_pause_and_is_served_after_it() -> Result<()> {
    let (server, mut user) = start("blocked")?;
    let mut popper = server.client()?;
    popper.send(&["BLPOP", "list", "0"])?;
    wait::until("it is blocked", PATIENCE, || {
        Ok((server.info("blocked_clients")? == "1").then_some(()))
    })?;
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    let mut pusher = server.client()?;
    pusher.send(&["RPUSH", "list", "a"])?;
    held(&server, 1)?;
    ok(&mut user, "CLIENT UNPAUSE")?;
    ensure!(pusher.receive()?.int()? == 1);
    let text = |text: &str| Value::Text(text.into());
    ensure!(popper.receive()? == Value::Array(vec![text("list"), text("a")]));
    Ok(())
}

#[test]
fn a_held_client_that_leaves_takes_its_command_along() -> Result<()> {
    let (server, mut user) = start("gone")?;
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    let mut client = server.client()?;
    client.send(&["SET", "k", "v"])?;
    held(&server, 1)?;
    drop(client);
    held(&server, 0)?;
    ok(&mut user, "CLIENT UNPAUSE")?;
    ensure!(user.say("GET k")? == Value::Nil);
    Ok(())
}

/// Every script was held that could be one that others do not know, though it had been seen before.
#[test]
fn a_script_that_only_reads_is_held_while_others_are_to_be_told_of_it() -> Result<()> {
    let (server, mut user) = start("scripts")?;
    let of = format!("127.0.0.1 {}", server.port);
    let replica = Server::start("scripts-replica", &["--replicaof", &of])?;
    let level = || {
        wait::until("the replica is level", PATIENCE, || {
            Ok(replica.is_level_with(&server)?.then_some(()))
        })
    };
    level()?;
    let [known, new] =
        ["known", "new"].map(|name| format!("#!lua flags=no-writes\nreturn '{name}'"));
    let sha = user.call(&["SCRIPT", "LOAD", &known])?.text()?;
    level()?;
    ok(&mut user, "CLIENT PAUSE 60000 WRITE")?;
    let offset = server.info("master_repl_offset")?;
    ensure!(user.call(&["EVAL", &known, "0"])?.text()? == "known");
    ensure!(user.call(&["EVALSHA", &sha, "0"])?.text()? == "known");
    let mut brings = server.client()?;
    brings.send(&["EVAL", &new, "0"])?;
    held(&server, 1)?;
    let mut queues = server.client()?;
    ok(&mut queues, "MULTI")?;
    queues.send(&["SCRIPT", "LOAD", &new])?;
    held(&server, 2)?;
    ensure!(server.info("master_repl_offset")? == offset, "nothing entered the stream");
    ok(&mut user, "CLIENT UNPAUSE")?;
    ensure!(brings.receive()?.text()? == "new");
    ensure!(queues.receive()?.text()? == "QUEUED");
    let sha = queues.say("EXEC")?;
    let Value::Array(sha) = sha else { anyhow::bail!("{sha:?}") };
    let sha = sha[0].clone().text()?;
    level()?;
    let exists = replica.client()?.call(&["SCRIPT", "EXISTS", &sha])?;
    ensure!(exists == Value::Array(vec![Value::Int(1)]), "{exists:?}");
    Ok(())
}

#[test]
fn wrong_arguments_are_named() -> Result<()> {
    let (_server, mut user) = start("arguments")?;
    for (line, expected) in [
        ("CLIENT PAUSE x", "ERR timeout is not an integer or out of range"),
        ("CLIENT PAUSE -1", "ERR timeout is negative"),
        ("CLIENT PAUSE 1 READ", "ERR CLIENT PAUSE mode must be WRITE or ALL"),
    ] {
        let answer = user.say(line)?;
        ensure!(answer == Value::Error(expected.into()), "{line}: {answer:?}");
    }
    Ok(())
}
