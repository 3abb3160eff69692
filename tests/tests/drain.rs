//! SIGTERM at real members under load: connections end between commands, and nothing is executed
//! after the end was sent, so that a client may repeat on another connection what got no answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, cluster, handover};
use tests::mover::{Connect, Mover};
use tests::resp::{Client, Value};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);
/// Where no operator comes, connections begin to end after five eighths of it. At its end the process ends
/// whatever is left, in the middle of commands: of 6 s there was only one left for a machine that is busy.
const ALONE: [&str; 2] = ["--shutdown-timeout", "12"];

fn count(member: &Member, key: &str) -> Result<i64> {
    Ok(member.server.client()?.call(&["GET", key])?.text()?.parse().unwrap_or(0))
}

fn end_all(movers: Vec<Mover>, primary: &Member) -> Result<()> {
    for (at, mover) in movers.into_iter().enumerate() {
        let (acknowledged, moves) = mover.end()?;
        let kept = count(primary, &format!("k{at}"))?;
        ensure!(kept == acknowledged, "k{at}: {acknowledged} answers, {kept} kept");
        ensure!(moves == 1, "k{at}: its connection was ended {moves} times");
    }
    Ok(())
}

fn movers(from: &Member, to: &Member) -> Result<Vec<Mover>> {
    let way = |member: &Member| -> Arc<Connect> {
        let port = member.server.port;
        Arc::new(move || Client::connect(("127.0.0.1", port)))
    };
    let ways = [way(from), way(to)];
    let movers = (0..8).map(|at| Mover::start(ways.clone(), format!("k{at}"))).collect();
    wait::until("writes go on", PATIENCE, || Ok((count(from, "k7")? > 50).then_some(())))?;
    Ok(movers)
}

#[test]
fn a_draining_primary_ends_connections_only_when_the_switch_is_released() -> Result<()> {
    let (mut a, mut others) = cluster(2, &["--shutdown-timeout", "30"])?;
    let b = others.remove(0);
    let movers = movers(&a, &b)?;
    a.server.signal("TERM");
    a.until("draining", "1")?;
    a.pause("s", &b)?;
    a.expect("HANDOVER", &handover("s", &b), "ACCEPTED 1.1")?;
    // Relayed, and no connection has ended: they are all still counted here.
    wait::until("all clients are relayed", PATIENCE, || {
        Ok((a.status("relayed")? == "8").then_some(()))
    })?;
    let newcomer = a.server.client()?.say("GET k0")?.text()?;
    ensure!(newcomer.parse::<i64>()? > 0, "a new connection is answered, too");
    a.expect("RELEASE", "ID s", "OK")?;
    let ended = a.server.ended();
    ensure!(ended.success(), "{ended}: {}", a.server.log());
    end_all(movers, &b)
}

/// In a cluster the nodes learn one after the other that a Service leads elsewhere. A client that came
/// back meanwhile was closed after each of its answers: go-redis used up its attempts and told its
/// user "EOF".
#[test]
fn who_comes_by_the_old_address_after_the_release_is_not_closed_at_once() -> Result<()> {
    let (mut a, mut others) = cluster(1, &["--shutdown-timeout", "30"])?;
    let b = others.pop().context("b")?;
    let mut before = a.server.client()?;
    ensure!(before.say("SET k v")?.text()? == "OK");
    a.server.signal("TERM");
    a.until("draining", "1")?;
    a.pause("s", &b)?;
    a.expect("HANDOVER", &handover("s", &b), "ACCEPTED 1.1")?;
    a.expect("RELEASE", "ID s", "OK")?;
    let mut newcomer = a.server.client()?;
    for _ in 0..20 {
        ensure!(newcomer.say("GET k")?.text()? == "v");
    }
    before.expect_end()?;
    newcomer.expect_end()?;
    let ended = a.server.ended();
    ensure!(ended.success(), "{ended}: {}", a.server.log());
    Ok(())
}

#[test]
fn without_an_operator_a_draining_primary_hands_over_by_itself() -> Result<()> {
    let (mut a, mut others) = cluster(1, &ALONE)?;
    let b = others.pop().context("b")?;
    let movers = movers(&a, &b)?;
    a.server.signal("TERM");
    let ended = a.server.ended();
    ensure!(ended.success(), "{ended}: {}", a.server.log());
    ensure!(b.status("role")? == "primary" && b.status("epoch")? == "1.1");
    end_all(movers, &b)
}

/// With two members both must hold a write: the one that ends resigns, and its successor goes on alone.
#[test]
fn without_an_operator_the_successor_of_two_goes_on_alone() -> Result<()> {
    let start = |name| Member::start(name, &ALONE);
    let (mut a, mut b) = (start("a")?, start("b")?);
    a.expect("BOOTSTRAP", &format!("TERM 1 CONFIG 1/1/1/replicated/degrade/{}", a.id), "OK")?;
    b.follow("1.0", &a)?;
    b.until("link", "up")?;
    a.until_serves(&b)?;
    a.change_config(&format!("2/1/2/replicated/degrade/{},{}", a.id, b.id))?;
    let movers = movers(&a, &b)?;
    a.server.signal("TERM");
    let ended = a.server.ended();
    ensure!(ended.success(), "{ended}: {}", a.server.log());
    let before = count(&b, "k7")?;
    wait::until("writes go on at the one that is left", PATIENCE, || {
        Ok((count(&b, "k7")? > before + 50).then_some(()))
    })?;
    ensure!(b.status("role")? == "primary" && b.status("epoch")? == "1.1");
    end_all(movers, &b)
}

#[test]
fn a_follower_ends_at_once_and_its_primary_goes_on() -> Result<()> {
    let (a, mut others) = cluster(1, &["--shutdown-timeout", "30"])?;
    let mut b = others.pop().context("b")?;
    let mut reader = b.server.client()?;
    ensure!(reader.say("SET k v")?.text()? == "OK", "by relay");
    b.server.signal("TERM");
    reader.expect_end()?;
    let ended = b.server.ended();
    ensure!(ended.success(), "{ended}: {}", b.server.log());
    ensure!(a.server.client()?.say("GET k")?.text()? == "v");
    Ok(())
}

#[test]
fn what_is_open_is_answered_before_its_connection_ends() -> Result<()> {
    let (mut a, mut others) = cluster(1, &["--shutdown-timeout", "30"])?;
    let b = others.pop().context("b")?;
    let mut popper = a.server.client()?;
    popper.send(&["BLPOP", "list", "0"])?;
    let mut transaction = a.server.client()?;
    ensure!(transaction.say("MULTI")?.text()? == "OK");
    ensure!(transaction.say("INCR n")?.text()? == "QUEUED");
    let mut idle = a.server.client()?;
    ensure!(idle.say("PING")?.text()? == "PONG");
    let mut subscriber = a.server.client()?;
    subscriber.say("SUBSCRIBE channel")?;
    wait::until("the pop waits", PATIENCE, || {
        Ok((a.server.info("blocked_clients")? == "1").then_some(()))
    })?;
    a.server.signal("TERM");
    a.until("draining", "1")?;
    a.pause("s", &b)?;
    a.expect("HANDOVER", &handover("s", &b), "ACCEPTED 1.1")?;
    a.expect("RELEASE", "ID s", "OK")?;
    idle.expect_end()?;
    subscriber.expect_end()?;
    ensure!(transaction.say("EXEC")? == Value::Array(vec![Value::Int(1)]));
    transaction.expect_end()?;
    ensure!(b.server.client()?.say("RPUSH list x")?.int()? == 1);
    let served = ["list", "x"].map(|text| Value::Text(text.into()));
    ensure!(popper.receive()? == Value::Array(served.into()));
    popper.expect_end()?;
    drop((idle, subscriber, transaction, popper));
    let ended = a.server.ended();
    ensure!(ended.success(), "{ended}: {}", a.server.log());
    ensure!(b.server.client()?.say("GET n")?.text()? == "1");
    Ok(())
}

/// A cluster that was deleted kept its last pod for the whole of its grace period.
#[test]
fn a_primary_that_nobody_uses_and_nobody_follows_does_not_wait() -> Result<()> {
    let (mut a, others) = cluster(1, &["--shutdown-timeout", "600"])?;
    drop(others);
    wait::until("the follower is gone", PATIENCE, || {
        Ok((a.server.info("connected_slaves")? == "0").then_some(()))
    })?;
    a.server.signal("TERM");
    ensure!(a.server.ended().success());
    Ok(())
}
