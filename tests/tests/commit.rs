//! Answers that wait for members, at real processes: what is not held by W of them is shown to
//! nobody, and nothing else waits for it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, Writer, three};
use tests::resp::{Client, Value};
use tests::wait;

/// Long enough to see that no answer comes; a late one is found by the next assertion.
const NOT_YET: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(20);

fn silent(client: &mut Client, what: &str) -> Result<()> {
    client.patience(NOT_YET)?;
    let answer = client.receive();
    client.patience(PATIENCE)?;
    ensure!(answer.is_err(), "{what} was answered: {answer:?}");
    Ok(())
}

/// A write was answered, and shown to others, before any other member held it.
#[test]
fn what_only_the_primary_holds_is_shown_to_nobody() -> Result<()> {
    let [a, b, c] = three("replicated")?;
    let [mut writer, mut reader, mut popper, mut bystander] =
        [a.server.client()?, a.server.client()?, a.server.client()?, a.server.client()?];
    ensure!(writer.call(&["SET", "k", "old"])? == Value::Text("OK".into()));
    popper.send(&["BLPOP", "list", "0"])?;
    for stopped in [&b, &c] {
        stopped.server.signal("STOP");
    }
    writer.send(&["SET", "k", "new"])?;
    writer.send(&["RPUSH", "list", "x"])?;
    silent(&mut writer, "a write that one member holds")?;
    reader.send(&["GET", "k"])?;
    silent(&mut reader, "a read of it")?;
    silent(&mut popper, "a pop of it")?;
    ensure!(bystander.call(&["PING"])? == Value::Text("PONG".into()), "PING waits for nobody");
    b.server.signal("CONT");
    ensure!(writer.receive()? == Value::Text("OK".into()));
    ensure!(writer.receive()? == Value::Int(1));
    ensure!(reader.receive()? == Value::Text("new".into()));
    ensure!(matches!(popper.receive()?, Value::Array(_)));
    c.server.signal("CONT");
    Ok(())
}

/// An object that was made when `async` was the default is told another one while clients write: none
/// of them is refused, and from then on what one member holds is shown to nobody.
#[test]
fn another_durability_is_taken_up_while_clients_write() -> Result<()> {
    let [mut a, b, c] = three("async")?;
    let writer = Writer::start(&a.server, "count")?;
    let mut client = a.server.client()?;
    for (v, rule) in [(3, "replicated"), (4, "async"), (5, "replicated")] {
        a.change_config(&format!("{v}/1/2/{rule}/degrade/{},{},{}", a.id, b.id, c.id))?;
        ensure!(client.call(&["SET", "rule", rule])? == Value::Text("OK".into()));
    }
    // It may have had no processor until now.
    wait::until("the writer is answered", PATIENCE, || {
        Ok((client.call(&["GET", "count"])? != Value::Nil).then_some(()))
    })?;
    ensure!(writer.end()? > 0);
    for stopped in [&b, &c] {
        stopped.server.signal("STOP");
    }
    client.send(&["SET", "k", "alone"])?;
    silent(&mut client, "a write that one member holds")?;
    for stopped in [&b, &c] {
        stopped.server.signal("CONT");
    }
    ensure!(client.receive()? == Value::Text("OK".into()));
    Ok(())
}

/// The primary of two was killed; its successor was given both as members again, waited for the life
/// that was over, and never answered anybody.
#[test]
fn the_one_that_is_left_of_two_goes_on_alone() -> Result<()> {
    for (members, w, answers) in [("both", 2, false), ("sealed", 1, true)] {
        let [mut a, mut b] = [Member::start("a", &[])?, Member::start("b", &[])?];
        a.expect("BOOTSTRAP", &format!("TERM 1 CONFIG 1/1/1/replicated/degrade/{}", a.id), "OK")?;
        b.follow("1.0", &a)?;
        b.until("link", "up")?;
        a.until_serves(&b)?;
        a.change_config(&format!("2/1/2/replicated/degrade/{},{}", a.id, b.id))?;
        ensure!(a.server.client()?.call(&["SET", "k", "v"])? == Value::Text("OK".into()));
        let ids = if members == "both" { format!("{},{}", a.id, b.id) } else { b.id.clone() };
        drop(a);
        b.tell("SEAL", "TERM 2")?.field("offset").context("SEAL")?;
        let config = format!("3/2/{w}/replicated/degrade/{ids}");
        b.expect("PROMOTE", &format!("TERM 2 CONFIG {config} WAIT 0"), "OK")?;
        let mut client = b.server.client()?;
        client.send(&["GET", "k"])?;
        if answers {
            ensure!(client.receive()? == Value::Text("v".into()), "{members}");
        } else {
            silent(&mut client, "what only one of both holds")?;
        }
    }
    Ok(())
}

/// A write of a deposed primary was answered, and then it was in no member's data.
#[test]
fn a_sealed_primary_ends_the_connections_that_it_owes_an_answer() -> Result<()> {
    let [mut a, b, c] = three("replicated")?;
    let (mut writer, mut idle) = (a.server.client()?, a.server.client()?);
    ensure!(idle.call(&["SET", "k", "1"])? == Value::Text("OK".into()));
    for stopped in [&b, &c] {
        stopped.server.signal("STOP");
    }
    writer.send(&["SET", "k", "2"])?;
    silent(&mut writer, "a write that one member holds")?;
    let sealed = a.tell("SEAL", "TERM 2")?;
    sealed.field("lease-left-ms").context("SEAL says what leases were given")?;
    writer.expect_end()?;
    ensure!(matches!(idle.call(&["GET", "k"])?, Value::Error(_)), "a fenced member serves nothing");
    for stopped in [&b, &c] {
        stopped.server.signal("CONT");
    }
    Ok(())
}

/// A read was answered by a primary that nobody had heard for longer than any lease; and under
/// `async` a write was, by one that had been cut off, while its successor answered others.
#[test]
fn a_primary_without_leases_answers_nothing() -> Result<()> {
    for (rule, question, answer) in [
        ("replicated", ["GET", "k"].as_slice(), Value::Text("1".into())),
        ("async", ["GET", "k"].as_slice(), Value::Text("1".into())),
        ("async", ["SET", "k", "2"].as_slice(), Value::Text("OK".into())),
    ] {
        let [a, b, c] = three(rule)?;
        let mut client = a.server.client()?;
        ensure!(client.call(&["SET", "k", "1"])? == Value::Text("OK".into()));
        for stopped in [&b, &c] {
            stopped.server.signal("STOP");
        }
        // From some moment on nothing is answered any more, though nothing is uncommitted.
        let mut last = Ok(Value::Nil);
        client.patience(Duration::from_secs(2))?;
        while last.is_ok() {
            last = client.call(question);
        }
        b.server.signal("CONT");
        let mut again = a.server.client()?;
        let after = again.call(question)?;
        ensure!(after == answer, "{rule} {question:?}: {after:?}");
        c.server.signal("CONT");
    }
    Ok(())
}
