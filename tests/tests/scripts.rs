//! Who is served in the middle of a long script: members and the operator all the time, everybody
//! else after `busy-reply-threshold`.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, UID, cluster};
use tests::resp::{Value, ok};
use tests::server::Server;
use tests::wait;

const ENDLESS: &str = "while true do pcall(function() while true do end end) end";
/// Writes, and then works for some of the processor's time, beside the endless ones of other tests.
const LONG: &str = "redis.call('INCRBY', KEYS[1], 1234567890) \
                    local begun = os.clock() while os.clock() - begun < 0.3 do end return 'done'";
/// Nobody but members and the operator is ever served.
const NEVER_BUSY: &[&str] = &["--busy-reply-threshold", "86400000"];
const PATIENCE: Duration = Duration::from_mins(1);

/// A script without an end left clients unanswered whose commands had come in the same turn of the
/// event loop: they got no BUSY, and could not end the script either.
#[test]
fn who_asks_together_with_an_endless_script_is_answered() -> Result<()> {
    let server = Server::start("busy-together", &["--busy-reply-threshold", "10"])?;
    let (mut script, mut other, mut killer) =
        (server.client()?, server.client()?, server.client()?);
    for client in [&mut script, &mut other, &mut killer] {
        client.say("PING")?;
    }
    // What is written to a stopped process comes in one turn, in this order.
    server.signal("STOP");
    wait::until("it has stopped", Duration::from_secs(20), || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid()))?;
        Ok(stat.contains(") T ").then_some(()))
    })?;
    script.send(&["EVAL", ENDLESS, "0"])?;
    other.send(&["PING"])?;
    killer.send(&["SCRIPT", "KILL"])?;
    server.signal("CONT");
    let refused = other.receive()?;
    ensure!(matches!(&refused, Value::Error(text) if text.starts_with("BUSY")), "{refused:?}");
    ensure!(killer.receive()? == Value::Text("OK".into()));
    let ended = script.receive()?;
    ensure!(matches!(&ended, Value::Error(text) if text.contains("killed by user")), "{ended:?}");
    ensure!(other.say("PING")? == Value::Text("PONG".into()));
    Ok(())
}

/// Who waited for a list was served in the middle of the script that filled it, as soon as anybody said
/// what may be said while a script is busy: the script found what it had pushed gone.
#[test]
fn who_waits_for_a_key_is_served_at_the_end_of_the_script_that_fills_it() -> Result<()> {
    let directives = ["--busy-reply-threshold", "10", "--enable-debug-command", "yes"];
    let server = Server::start("busy-blocked", &directives)?;
    let (mut script, mut waiting, mut other) =
        (server.client()?, server.client()?, server.client()?);
    waiting.send(&["BLPOP", "list", "0"])?;
    wait::until("it waits", PATIENCE, || {
        Ok((server.info("blocked_clients")? == "1").then_some(()))
    })?;
    // So that another client can end it.
    ok(&mut other, "DEBUG SET-DISABLE-DENY-SCRIPTS 1")?;
    let code = "redis.call('LPUSH', KEYS[1], 'first') \
                while not string.find(redis.call('CLIENT', 'LIST'), 'name=end') do end \
                return redis.call('LPUSH', KEYS[1], 'second')";
    script.send(&["EVAL", code, "1", "list"])?;
    wait::until("it is busy", PATIENCE, || {
        let busy = matches!(other.say("GET k")?, Value::Error(text) if text.starts_with("BUSY"));
        Ok(busy.then_some(()))
    })?;
    ok(&mut other, "HELLO 2 SETNAME end")?;
    ensure!(script.receive()? == Value::Int(2));
    let served = ["list", "second"].map(|word| Value::Text(word.into()));
    ensure!(waiting.receive()? == Value::Array(served.to_vec()));
    Ok(())
}

/// CVE-2026-23631: a full sync replaced the data of a replica while one of its scripts let others have
/// a turn, and the script went on with what was gone. Here it waits for the script's end.
#[test]
fn cve_2026_23631_a_full_sync_waits_for_the_end_of_a_script() -> Result<()> {
    let patience = Duration::from_secs(20);
    let (first, second) = (Server::start("sync-first", &[])?, Server::start("sync-second", &[])?);
    first.client()?.say("SET k old")?;
    second.client()?.say("SET k new")?;
    let replica = Server::start(
        "sync-replica",
        &["--busy-reply-threshold", "10", "--replicaof", &format!("127.0.0.1 {}", first.port)],
    )?;
    let holds = |server: &Server, value: &str| {
        let wanted = Value::Text(value.to_owned());
        let mut client = server.client()?;
        tests::wait::until(value, patience, || Ok((client.say("GET k")? == wanted).then_some(())))
    };
    holds(&replica, "old")?;
    let (mut script, mut killer) = (replica.client()?, replica.client()?);
    let code = "while redis.call('get', 'k') == 'old' do end return 'the data changed'";
    script.send(&["EVAL_RO", code, "0"])?;
    tests::wait::until("it takes long", patience, || {
        let busy = matches!(killer.say("GET k")?, Value::Error(text) if text.starts_with("BUSY"));
        Ok(busy.then_some(()))
    })?;
    first.client()?.call(&["REPLICAOF", "127.0.0.1", &second.port.to_string()])?;
    holds(&first, "new")?;
    ensure!(matches!(killer.say("GET k")?, Value::Error(text) if text.starts_with("BUSY")));
    ensure!(killer.say("SCRIPT KILL")? == Value::Text("OK".into()));
    let ended = script.receive()?;
    ensure!(matches!(&ended, Value::Error(text) if text.contains("killed by user")), "{ended:?}");
    holds(&replica, "new")
}

/// How far the first replica of this primary is, as the primary knows it, and its own offset.
fn offsets(primary: &Member) -> Result<(u64, u64)> {
    let status = primary.server.internal()?.say("REDISHA STATUS")?;
    let Some(Value::Array(replicas)) = status.field("replicas").cloned() else {
        anyhow::bail!("no replicas in {status:?}")
    };
    let number = |value: &Value| -> Result<u64> {
        Ok(value.field("offset").cloned().context("no offset")?.text()?.parse()?)
    };
    Ok((number(replicas.first().context("it has no replica")?)?, number(&status)?))
}

/// The operator got no answer and the replicas heard nothing for as long as a script ran, so that a
/// primary whose script took some seconds was replaced.
#[test]
fn a_primary_in_the_middle_of_a_script_is_heard() -> Result<()> {
    let (a, mut others) = cluster(1, NEVER_BUSY)?;
    let b = others.pop().context("b")?;
    a.until_serves(&b)?;
    let (mut script, mut other) = (a.server.client()?, a.server.client()?);
    other.say("PING")?;
    script.send(&["EVAL", ENDLESS, "0"])?;
    other.send(&["GET", "x"])?;
    // Two signs of life, and the replica's word that it has applied them.
    let (_, begun) = offsets(&a)?;
    wait::until("the replica acknowledges what came in the script", PATIENCE, || {
        let (acknowledged, _) = offsets(&a)?;
        Ok((acknowledged >= begun + 28).then_some(()))
    })?;
    ensure!(b.status("link")? == "up");
    // It came before the threshold, and waits.
    other.patience(Duration::from_millis(50))?;
    ensure!(other.receive().is_err(), "a client was answered in the middle of a script");
    Ok(())
}

/// Only the end of the script lets a switch begin: what it wrote is in the stream then.
#[test]
fn what_the_operator_asks_for_waits_for_the_scripts_end() -> Result<()> {
    let (mut a, mut others) = cluster(1, NEVER_BUSY)?;
    let b = others.pop().context("b")?;
    a.until_serves(&b)?;
    let mut script = a.server.client()?;
    script.patience(PATIENCE)?;
    a.operator.patience(PATIENCE)?;
    script.say("PING")?;
    script.send(&["EVAL", LONG, "1", "counter"])?;
    a.operator.send(&["REDISHA", "STATUS"])?;
    let pause = ["REDISHA", "PAUSE", "UID", UID, "MEMBER", &a.id, "ID", "1", "TIMEOUT", "9000"];
    a.operator.send(&[&pause[..], &["TO", &b.id]].concat())?;
    ensure!(a.operator.receive()?.field("role") == Some(&Value::Text("primary".into())));
    let paused = a.operator.receive()?;
    ensure!(script.receive()? == Value::Text("done".into()));
    let offset = paused.field("offset").cloned().with_context(|| format!("{paused:?}"))?;
    let offset: u64 = offset.text()?.parse()?;
    let (_, now) = offsets(&a)?;
    ensure!(offset == now, "paused at {offset}, and the stream went on to {now}");
    Ok(())
}

/// A replica that does not listen, because a script runs there, said that its primary was silent.
#[test]
fn a_replica_in_the_middle_of_a_script_does_not_take_its_primary_for_lost() -> Result<()> {
    let (a, mut others) = cluster(1, NEVER_BUSY)?;
    let b = others.pop().context("b")?;
    a.until_serves(&b)?;
    let mut script = b.server.client()?;
    script.say("READONLY")?;
    script.send(&["EVAL_RO", ENDLESS, "0"])?;
    let (_, begun) = offsets(&a)?;
    wait::until("the primary has said something", PATIENCE, || {
        Ok((offsets(&a)?.1 >= begun + 14).then_some(()))
    })?;
    ensure!((b.status("silence-ms")?.as_str(), b.status("link")?.as_str()) == ("0", "up"));
    Ok(())
}

/// A client that connected between the two thresholds was held for as long as an endless script ran,
/// and could not end it.
#[test]
fn who_came_early_is_served_when_everybody_is() -> Result<()> {
    let server = Server::start("busy-early", &["--busy-reply-threshold", "2000"])?;
    let mut script = server.client()?;
    script.send(&["EVAL", ENDLESS, "0"])?;
    wait::until("the script is ended by who came early", PATIENCE, || {
        // It may even have come before the script.
        let killed = server.client()?.call(&["SCRIPT", "KILL"])?;
        Ok((killed == Value::Text("OK".into())).then_some(()))
    })?;
    let ended = script.receive()?;
    ensure!(matches!(&ended, Value::Error(text) if text.contains("killed by user")), "{ended:?}");
    Ok(())
}
