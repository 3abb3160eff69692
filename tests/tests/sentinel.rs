//! Valkey's Sentinel over servers of ours that no operator manages.
//!
//! `REDISHA_VALKEY` names the `valkey-server`, which is the sentinel, too; without it the test skips,
//! aloud, but with `CI` set it fails.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::local::scratch;
use tests::ports::free_port;
use tests::programs::Running;
use tests::resp::{Client, Value, ok};
use tests::server::{Server, text};
use tests::wait;

/// A sentinel lets eight seconds pass before it makes the old primary a replica.
const PATIENCE: Duration = Duration::from_mins(1);

fn level(replica: &Server, primary: &Server) -> Result<()> {
    wait::until("the replica is level", PATIENCE, || {
        Ok((replica.info("role")? == "slave" && replica.is_level_with(primary)?).then_some(()))
    })
}

/// Sentinel changes roles in a transaction, and `REPLICAOF` was refused in one: it never failed over.
#[test]
fn sentinel_fails_over() -> Result<()> {
    let Some(valkey) = std::env::var_os("REDISHA_VALKEY") else {
        ensure!(std::env::var_os("CI").is_none(), "REDISHA_VALKEY must name a valkey-server");
        eprintln!("skipped: REDISHA_VALKEY does not name a valkey-server");
        return Ok(());
    };
    let a = Server::start("sentinel-a", &[])?;
    let b = Server::start("sentinel-b", &["--replicaof", &format!("127.0.0.1 {}", a.port)])?;
    ok(&mut a.client()?, "SET k v")?;
    level(&b, &a)?;

    let (folder, port) = (scratch(), free_port()?);
    let config = folder.join("sentinel.conf");
    let dir = folder.display();
    let lines = format!(
        "port {port}\nbind 127.0.0.1\ndir {dir}\nsentinel monitor ours 127.0.0.1 {} 1\n",
        a.port
    );
    fs::write(&config, lines)?;
    let mut command = Command::new(valkey);
    command.arg(&config).arg("--sentinel").stdin(Stdio::null()).stdout(Stdio::null());
    let _sentinel = Running::start(&mut command);
    let ask = |line: &str| Client::connect(("127.0.0.1", port))?.say(line);
    wait::until("the sentinel fails over", PATIENCE, || {
        // It is refused until the replica was found, and has told of itself.
        Ok((ask("SENTINEL FAILOVER ours")? == Value::Text("OK".into())).then_some(()))
    })?;
    wait::until("b is the primary", PATIENCE, || Ok((b.info("role")? == "master").then_some(())))?;
    ok(&mut b.client()?, "SET k after")?;
    level(&a, &b)?;
    ensure!(text(&a, "GET k")? == "after");
    Ok(())
}

/// What follows a `REPLICAOF` in its transaction is for a replica.
#[test]
fn a_transaction_changes_the_role_where_it_says_so() -> Result<()> {
    let a = Server::start("role-a", &[])?;
    let b = Server::start("role-b", &["--replicaof", &format!("127.0.0.1 {}", a.port)])?;
    level(&b, &a)?;
    let mut client = a.client()?;
    for line in ["MULTI", "SET before 1", &format!("REPLICAOF 127.0.0.1 {}", b.port), "SET k 2"] {
        ok(&mut client, line)?;
    }
    let answers = client.say("EXEC")?;
    let Value::Array(answers) = answers else { anyhow::bail!("{answers:?}") };
    ensure!(answers[..2] == [Value::Text("OK".into()), Value::Text("OK".into())], "{answers:?}");
    ensure!(matches!(&answers[2], Value::Error(why) if why.starts_with("READONLY")), "{answers:?}");
    let mut other = b.client()?;
    for line in ["MULTI", "REPLICAOF NO ONE", "EXEC"] {
        ok(&mut other, line)?;
    }
    ok(&mut other, "SET after 3")?;
    level(&a, &b)?;
    ensure!(text(&a, "GET k")?.is_empty() && text(&a, "GET after")? == "3");
    // Whether the first write had come to B before A left it is chance; the two must agree on it.
    ensure!(text(&a, "GET before")? == text(&b, "GET before")?);
    Ok(())
}
