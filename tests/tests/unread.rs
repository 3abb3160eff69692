//! Clients that do not read what they are answered.

use std::time::Duration;

use anyhow::{Result, ensure};
use tests::resp::ok;
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);

/// What clients had not read counted against `maxmemory-clients` only ten times a second: between
/// two looks it grew as far as a fast producer liked. Without these looks it was never found.
#[test]
fn unread_answers_are_bounded_when_they_are_made() -> Result<()> {
    let server = Server::start("unread", &["--enable-debug-command", "yes"])?;
    let mut by_hand = server.client()?;
    ok(&mut by_hand, "CONFIG SET maxmemory-clients 3mb")?;
    ok(&mut by_hand, "DEBUG PAUSE-CRON 1")?;
    ensure!(by_hand.say("SETRANGE k 200000 v")?.int()? == 200_001);
    let (mut idle, mut other) = (server.client()?, server.client()?);
    ok(&mut other, "CLIENT SETNAME other")?;
    // Far more than the kernel's buffers of one connection take.
    for _ in 0..400 {
        if other.send(&["GET", "k"]).is_err() {
            break;
        }
    }
    wait::until("it is ended", PATIENCE, || {
        Ok((server.info("evicted_clients")? == "1").then_some(()))
    })?;
    let left = by_hand.say("CLIENT LIST")?.text()?;
    ensure!(!left.contains("name=other"), "{left}");
    ensure!(idle.say("PING")?.text()? == "PONG", "those within the bound stay");
    Ok(())
}
