//! A handover whose record can not reach the target by the replication link: it is carried by
//! another route, and both still agree on every byte of the log.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, Writer, handover};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);

/// A way to a server that can be made deaf: what the server says stops coming, and nothing breaks.
/// The server is never told that the other end has gone.
struct Way {
    port: u16,
    deaf: Arc<AtomicBool>,
}

impl Way {
    fn to(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let own = listener.local_addr()?.port();
        let deaf = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&deaf);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let _ = carry(&near, &far, Arc::default());
                let _ = carry(&far, &near, Arc::clone(&flag));
            }
        });
        Ok(Self { port: own, deaf })
    }
}

/// Carries bytes one way until either end closes, and leaves the other end open; drops the bytes
/// while the flag is up.
fn carry(from: &TcpStream, to: &TcpStream, deaf: Arc<AtomicBool>) -> Result<()> {
    let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if !deaf.load(Ordering::SeqCst) && to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
    });
    Ok(())
}

/// A primary, and a follower that reaches it by such a way.
fn pair(directives: &[&str]) -> Result<(Member, Member, Way)> {
    let mut a = Member::start("a", directives)?;
    a.expect("BOOTSTRAP", "TERM 1", "OK")?;
    let way = Way::to(a.server.port)?;
    let mut b = Member::start("b", directives)?;
    let follow = format!("EPOCH 1.0 PRIMARY {} HOST 127.0.0.1 PORT {}", a.id, way.port);
    b.expect("FOLLOW", &follow, "OK")?;
    b.until("link", "up")?;
    Ok((a, b, way))
}

#[test]
fn the_giver_carries_the_record_itself_when_the_link_is_dead() -> Result<()> {
    let (mut a, b, way) = pair(&[])?;
    let writer = Writer::start(&a.server, "n")?;
    a.pause("x", &b)?;
    way.deaf.store(true, Ordering::SeqCst);
    a.expect("HANDOVER", &handover("x", &b), "ACCEPTED 1.1")?;
    ensure!(b.status("role")? == "primary");
    a.until("link", "up")?;
    ensure!(b.server.info("sync_full")? == "0", "the logs are the same to the last byte");
    wait::until("writes go on", PATIENCE, || {
        let value = b.server.client()?.say("GET n")?.text()?;
        Ok(value.parse::<i64>().is_ok_and(|value| value > 100).then_some(()))
    })?;
    let acknowledged = writer.end()?;
    ensure!(b.server.client()?.say("GET n")?.text()? == acknowledged.to_string());
    Ok(())
}

#[test]
fn the_operator_carries_the_record_of_a_giver_that_died() -> Result<()> {
    let (mut a, mut b, way) = pair(&["--takeover-timeout", "20000"])?;
    ensure!(a.server.client()?.say("SET k v")?.text()? == "OK");
    a.pause("x", &b)?;
    way.deaf.store(true, Ordering::SeqCst);
    // The target is not reachable either, so the giver stays between the two.
    let nowhere = format!("ID x TO {} HOST 127.0.0.1 PORT 1", b.id);
    let id = a.id.clone();
    let uid = tests::members::UID;
    a.operator.send(
        &format!("REDISHA HANDOVER UID {uid} MEMBER {id} {nowhere}").split(' ').collect::<Vec<_>>(),
    )?;
    a.until("handover-outcome", "pending")?;
    let record = a.status("handover-record")?;
    ensure!(a.status("role")? == "limbo" && !record.is_empty());
    drop(a);
    b.expect("TAKEOVER", &format!("RECORD {record}"), "ACCEPTED 1.1")?;
    b.expect("TAKEOVER", &format!("RECORD {record}"), "ACCEPTED 1.1")?;
    ensure!(b.server.client()?.say("GET k")?.text()? == "v");
    ensure!(b.status("epoch")? == "1.1" && b.status("data-epoch")? == "1.1");
    b.server.client()?.say("SET k w").context("it is open at once")?.text()?;
    Ok(())
}

/// A member came back by a new connection before its primary had noticed the end of the old one.
/// When that was noticed, the primary took the member for gone, though it acknowledged every
/// write, and no switch to it was possible any more.
#[test]
fn a_member_that_came_back_is_not_forgotten_with_its_old_connection() -> Result<()> {
    let (mut a, b, way) = pair(&["--repl-timeout", "2", "--repl-ping-replica-period", "1"])?;
    way.deaf.store(true, Ordering::SeqCst);
    b.until("link", "down")?;
    way.deaf.store(false, Ordering::SeqCst);
    b.until("link", "up")?;
    // The old connection is still counted, until the primary has found it silent.
    wait::until("the old connection is noticed", PATIENCE, || {
        Ok((a.server.info("connected_slaves")? == "1").then_some(()))
    })?;
    a.pause("x", &b)?;
    a.expect("HANDOVER", &handover("x", &b), "ACCEPTED 1.1")
}
