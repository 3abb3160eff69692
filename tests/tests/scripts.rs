//! A script without an end left clients unanswered whose commands had come in the same turn of the
//! event loop: they got no BUSY, and could not end the script either.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::resp::Value;
use tests::server::Server;

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
    tests::wait::until("it has stopped", Duration::from_secs(20), || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", server.pid()))?;
        Ok(stat.contains(") T ").then_some(()))
    })?;
    script.send(&["EVAL", "while true do pcall(function() while true do end end) end", "0"])?;
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
