//! A former primary's clock, known only by what stands in the place of the log: copies and files.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::members::{Member, cluster, handover};
use tests::resp::{Value, ok};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);
const DEBUG: [&str; 2] = ["--enable-debug-command", "yes"];

/// The primary that took over from one whose clock was an hour ahead. By that clock the key `unread` had
/// expired and was answered as absent; nobody has removed it, and no clock of today is past it.
fn successor(directives: &[&str]) -> Result<Member> {
    let (mut a, mut others) = cluster(1, directives)?;
    let b = others.pop().context("b")?;
    wait::until("its files hold the data", PATIENCE, || {
        let pending = b.server.info("aof_pending_rewrite").unwrap_or_else(|_| "0".into());
        Ok((pending == "0").then_some(()))
    })?;
    for member in [&a, &b] {
        ok(&mut member.server.client()?, "DEBUG SET-ACTIVE-EXPIRE 0")?;
    }
    let mut client = a.server.client()?;
    ok(&mut client, "SET unread v EX 1800")?;
    a.pause("s1", &b)?;
    ok(&mut client, "DEBUG SET-WALL-CLOCK-OFFSET 3600000")?;
    ensure!(client.say("EXISTS unread")?.int()? == 0);
    a.expect("HANDOVER", &handover("s1", &b), "ACCEPTED 1.1")?;
    b.until("role", "primary")?;
    ensure!(b.server.client()?.say("DBSIZE")?.int()? == 1, "it was removed");
    Ok(b)
}

/// Elects this member, by whose clock nothing has expired.
fn check(mut member: Member, route: &str) -> Result<()> {
    member.tell("SEAL", "TERM 2")?;
    member.expect("PROMOTE", "TERM 2", "OK")?;
    let mut client = member.server.client()?;
    ensure!(client.say("DBSIZE")?.int()? == 1, "{route}: the data are not there");
    let value = client.say("GET unread")?;
    ensure!(value == Value::Nil, "{route}: it had expired, and is there again: {value:?}");
    Ok(())
}

/// The handover's record told of the clock, and who had not seen that record went by its own: whoever began
/// anew from a snapshot, or from files rewritten; and files that were loaded told nobody at all.
#[test]
fn copies_and_files_know_the_clock_of_a_former_primary() -> Result<()> {
    let b = successor(&DEBUG)?;
    let mut c = Member::start("c", &DEBUG)?;
    c.follow("1.1", &b)?;
    c.until("link", "up")?;
    b.until_serves(&c)?;
    check(c, "a full resync")?;
    ok(&mut b.server.client()?, "SAVE")?;
    check(b.again("b", &DEBUG)?, "a snapshot")?;

    for (route, preamble, rewrite) in [
        ("files as they were written", "yes", false),
        ("rewritten files", "yes", true),
        ("files rewritten as commands", "no", true),
    ] {
        let on = ["--appendonly", "yes", "--aof-use-rdb-preamble", preamble];
        let directives = [&DEBUG[..], &on, &["--appendfsync", "always"]].concat();
        let b = successor(&directives)?;
        let mut client = b.server.client()?;
        if rewrite {
            let before = b.server.info("aof_rewrites")?;
            ok(&mut client, "BGREWRITEAOF")?;
            wait::until("the rewrite is over", PATIENCE, || {
                Ok((b.server.info("aof_rewrites")? != before).then_some(()))
            })?;
        }
        // An answer under `always` is on the disk, and so is all before it, the manifest included.
        ok(&mut client, "SELECT 1")?;
        ok(&mut client, "SET brief v")?;
        check(b.again("b", &directives)?, route)?;
    }
    Ok(())
}
