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
