//! Commands of a source that cannot be executed here: what they changed would be lost by a cut-over.
//! And those that can, though no client's would be.

use anyhow::{Result, ensure};
use tests::impostor::Impostor;
use tests::members::{Member, UID, cluster, elect, three_with};
use tests::resp::Value;
use tests::server::Server;

use super::{arrives, begins, fails, fill, full_resyncs, refused, source_with};

/// The members take no string from clients that is longer; their source does.
const SHORT: [&str; 2] = ["--proto-max-bulk-len", "1mb"];

/// A source's own name for a command goes into its stream, where nobody else knows it.
const RENAMES: [&str; 3] = ["--rename-command", "SETRANGE", "SETPART"];
const RENAMED: [&str; 4] = ["SETPART", "text", "0", "x"];

fn renaming() -> Result<Option<Server>> {
    source_with(Some("REDISHA_VALKEY"), "valkey", &RENAMES)
}

/// Such a command was logged and nothing else, and the cut-over lost what it had changed. Now nobody
/// cuts over, whoever is the primary, until the data have been copied anew.
#[test]
fn what_was_not_applied_keeps_from_cutting_over() -> Result<()> {
    let Some(source) = renaming()? else { return Ok(()) };
    let mut outside = fill(&source)?;
    let [mut a, mut b, mut c] = three_with("replicated", &[])?;
    let from = format!("HOST 127.0.0.1 PORT {}", source.port);
    begins(&mut a, &from)?;
    a.until("migration", "following")?;
    outside.call(&RENAMED)?.int()?;
    outside.say("SET late word")?;
    arrives(&mut a.server.client()?, "late", "word")?;
    a.until("migration-unapplied", "1")?;
    let why = a.status("migration-error")?;
    ensure!(why.contains("SETPART: ERR unknown command"), "{why}");
    ensure!(a.server.info("redisha_migration_unapplied")? == "1");
    a.refused("CUTOVER", "TIMEOUT 9000", "NOTREADY a command of the source's stream was not")?;
    ensure!(outside.say("SET late other")?.text()? == "OK", "it was paused all the same");

    for member in [&b, &c] {
        a.until_serves(member)?;
    }
    a.moves_to("s1", &b)?;
    b.until("migration-unapplied", "1")?;
    refused(&mut b)?;
    // Nothing else is written, and yet everybody knows it.
    outside.call(&RENAMED)?.int()?;
    for member in [&b, &a, &c] {
        member.until("migration-unapplied", "2")?;
    }
    ensure!(full_resyncs(&source)? == 1, "the data were copied anew");
    source.signal("STOP");
    drop(b);
    elect(&mut a, &mut c)?;
    ensure!(a.status("migration-unapplied")? == "2");
    refused(&mut a)?;
    source.signal("CONT");
    again_from_the_beginning(&mut a, &from)?;
    a.until("migration-unapplied", "0")?;
    a.until_serves(&c)?;
    let to = format!("TIMEOUT 5000 HOST 127.0.0.1 PORT {}", a.server.port);
    a.expect("CUTOVER", &to, "DONE")
}

/// As the refusal says: the migration is ended, and begun again with no keys.
fn again_from_the_beginning(member: &mut Member, from: &str) -> Result<()> {
    let end = ["REDISHA", "MIGRATE", "UID", UID, "MEMBER", &member.id, "HOST", "", "PORT", "0"];
    ensure!(member.operator.call(&end)?.text()? == "OK");
    ensure!(member.server.client()?.say("FLUSHALL")?.text()? == "OK");
    begins(member, from)?;
    member.until("migration", "following")
}

/// A restart finds it beside the data, in files of either kind.
#[test]
fn a_restart_knows_what_was_not_applied() -> Result<()> {
    for files in
        [["--save", "3600 1"].as_slice(), &["--appendonly", "yes", "--appendfsync", "always"]]
    {
        let Some(source) = renaming()? else { return Ok(()) };
        let mut outside = fill(&source)?;
        let (mut a, _) = cluster(0, files)?;
        begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
        a.until("migration", "following")?;
        outside.call(&RENAMED)?.int()?;
        a.until("migration-unapplied", "1")?;
        if files[0] == "--save" {
            ensure!(a.server.client()?.say("SAVE")?.text()? == "OK");
        }
        super::until_a_start_finds_it(&a)?;
        // The source does not say it again.
        source.signal("STOP");
        let mut a = a.again("a", files)?;
        a.tell("SEAL", "TERM 2")?;
        a.expect("PROMOTE", "TERM 2", "OK")?;
        a.until("migration-unapplied", "1")?;
        refused(&mut a)?;
        source.signal("CONT");
    }
    Ok(())
}

/// The last write of a source whose pause ran out cannot be executed here, when the source was told
/// already to take no more: it takes writes again, since nobody else does.
#[test]
fn a_source_is_given_back_what_cannot_be_applied_here() -> Result<()> {
    let source = Impostor::start()?;
    let (mut a, _) = cluster(0, &[])?;
    begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
    a.until("migration", "following")?;
    source.mute("CLIENT FORCE");
    let to = format!("TIMEOUT 20000 HOST 127.0.0.1 PORT {}", a.server.port);
    let line = format!("REDISHA CUTOVER UID {UID} MEMBER {} {to}", a.id);
    let mut asked = a.server.internal()?;
    asked.send(&line.split(' ').collect::<Vec<_>>())?;
    source.until_heard("CLIENT FORCE REDIRECT 127.0.0.1")?;
    source.stream(&RENAMED);
    match asked.receive()? {
        Value::Error(why) if why.contains("data are missing") => {}
        other => anyhow::bail!("CUTOVER: {other:?}"),
    }
    source.say("+OK\r\n");
    source.until_heard("CLIENT FORCE REDIRECT OFF")?;
    source.say("+OK\r\n");
    refused(&mut a)?;
    let told = |line: &str| source.heard().iter().any(|heard| heard.starts_with(line));
    ensure!(!told("REPLICAOF") && !told("CLIENT PAUSE 9"), "{:?}", source.heard());
    Ok(())
}

/// What its source let grow was refused by a member with smaller limits, and what it had trimmed for a
/// syntax that no client may use; and then nobody cut over.
#[test]
fn a_source_with_wider_limits_is_obeyed() -> Result<()> {
    for (variable, name) in
        [(None, "ours"), (Some("REDISHA_VALKEY"), "valkey"), (Some("REDISHA_REDIS"), "redis")]
    {
        let Some(source) = source_with(variable, name, &[])? else { continue };
        let mut outside = fill(&source)?;
        let (mut a, others) = cluster(1, &SHORT)?;
        begins(&mut a, &format!("HOST 127.0.0.1 PORT {}", source.port))?;
        a.until("migration", "following")?;
        outside.say("SETRANGE long 1048576 x")?.int()?;
        outside.say("SETBIT bits 8388608 1")?.int()?;
        // Its effect is RESTORE.
        let copies = "redis.call('restore', KEYS[2], 0, redis.call('dump', KEYS[1]))";
        outside.call(&["EVAL", copies, "2", "long", "copy"])?;
        for _ in 0..300 {
            outside.say("XADD stream MAXLEN ~ 100 LIMIT 10 * f v")?.text()?;
        }
        let entries = outside.say("XLEN stream")?.int()?;
        outside.say("SET late word")?.text()?;
        arrives(&mut a.server.client()?, "late", "word")?;
        ensure!(
            a.status("migration-error")?.is_empty(),
            "{name}: {}",
            a.status("migration-error")?
        );
        a.until_serves(&others[0])?;
        let to = format!("TIMEOUT 5000 HOST 127.0.0.1 PORT {}", a.server.port);
        a.expect("CUTOVER", &to, "DONE")?;
        let mut replica = others[0].server.client()?;
        replica.say("READONLY")?.text()?;
        arrives(&mut replica, "late", "word")?;
        for client in [&mut a.server.client()?, &mut replica] {
            for (line, expect) in [
                ("STRLEN long", 1_048_577),
                ("STRLEN copy", 1_048_577),
                ("STRLEN bits", 1_048_577),
                ("XLEN stream", entries),
            ] {
                ensure!(client.say(line)?.int()? == expect, "{name}: {line}");
            }
        }
    }
    Ok(())
}

/// A database that this server does not have is no command to be left out: the stream stays where it
/// is until the server has it.
#[test]
fn a_database_that_is_missing_is_told_and_waited_for() -> Result<()> {
    let more = ["--databases", "32"];
    let Some(source) = source_with(Some("REDISHA_VALKEY"), "valkey", &more)? else { return Ok(()) };
    let mut outside = fill(&source)?;
    let files = ["--appendonly", "yes", "--appendfsync", "always"];
    let (mut a, _) = cluster(0, &files)?;
    let from = format!("HOST 127.0.0.1 PORT {}", source.port);
    begins(&mut a, &from)?;
    a.until("migration", "following")?;
    outside.say("SELECT 20")?.text()?;
    outside.say("SET late word")?.text()?;
    fails(&a, "a database beyond `databases`")?;
    refused(&mut a)?;
    ensure!(a.status("migration-unapplied")? == "0");
    super::until_a_start_finds_it(&a)?;

    let mut a = a.again("a", &[&files[..], &more].concat())?;
    a.tell("SEAL", "TERM 2")?;
    a.expect("PROMOTE", "TERM 2", "OK")?;
    begins(&mut a, &from)?;
    let mut here = a.server.client()?;
    here.say("SELECT 20")?.text()?;
    arrives(&mut here, "late", "word")?;
    ensure!(full_resyncs(&source)? == 1, "the data were copied anew");
    Ok(())
}
