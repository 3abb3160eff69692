//! Syncs and writes that the kernel refuses at a chosen moment: nothing is acknowledged that is not on as
//! many disks as were promised, and what a failed sync lost is never taken for durable later.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libc::{EIO, ENOSPC};
use tests::failing_disk::{Call, FailingDisk, Fate};
use tests::members::{Member, field, joined};
use tests::resp::{Client, Value, ok};
use tests::server::Server;
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(30);
const KEPT: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "no", "--keep-member-id", "yes"];
/// The file that the stream goes into, and the folder of all files, by parts of their names.
const FILE: &str = ".incr.aof";
const FOLDER: &str = "appendonlydir";

fn until_held(disk: &FailingDisk, calls: usize) -> Result<()> {
    wait::until("the disk holds", PATIENCE, || Ok((disk.held() == calls).then_some(())))
}

fn number(member: &Member, name: &str) -> Result<u64> {
    Ok(member.status(name)?.parse()?)
}

fn until_kept(member: &Member) -> Result<()> {
    let kept = wait::until("the id is kept", PATIENCE, || {
        Ok((number(member, "durable")? > 0).then_some(()))
    });
    kept.with_context(|| member.server.log())
}

/// Increments it so often, from `n` on: each is answered.
fn count(client: &mut Client, n: i64, times: i64) -> Result<i64> {
    for next in n + 1..=n + times {
        let value = client.call(&["INCR", "n"])?.int()?;
        ensure!(value == next, "{value} instead of {next}");
    }
    Ok(n + times)
}

fn counted(server: &Server) -> Result<i64> {
    Ok(server.client()?.say("GET n")?.text()?.parse()?)
}

/// The process ended by itself, said why, and left word for the next one.
fn ended_in_distrust(server: &mut Server, why: &str) -> Result<()> {
    let status = server.ended();
    let log = server.log();
    ensure!(status.signal() == Some(libc::SIGABRT), "{status}: {log}");
    ensure!(log.contains("could not be made durable") && log.contains(why), "{log}");
    let record = fs::read_to_string(server.directory.join(FOLDER).join("redisha-member"))?;
    ensure!(record == "distrusted\n", "{record}");
    Ok(())
}

/// The bytes whose sync failed are gone, as after a loss of power. No file of now may have them.
fn lose_power(disk: &FailingDisk) -> Result<()> {
    let lost = disk.lost();
    ensure!(!lost.is_empty() && lost.iter().all(|one| one.to > one.from), "{lost:?}");
    for one in lost {
        one.happens()?;
    }
    Ok(())
}

/// A member whose disk can fail, the primary of three, and the others.
fn three(errors: i32) -> Result<Option<([Member; 3], FailingDisk)>> {
    let name = format!("a-{errors}");
    let Some((a, disk)) = FailingDisk::under(|| Member::start(&name, &KEPT))? else {
        return Ok(None);
    };
    let members = joined("disk", [a, Member::start("b", &KEPT)?, Member::start("c", &KEPT)?])?;
    members.iter().try_for_each(until_kept)?;
    Ok(Some((members, disk)))
}

/// Seals these, and makes the one that holds most the primary of `term`; it comes first then.
fn elect(term: u64, config: &str, pair: &mut [Member; 2]) -> Result<()> {
    let mut held = Vec::new();
    for member in pair.iter_mut() {
        let sealed = member.tell("SEAL", &format!("TERM {term}"))?;
        held.push((field(&sealed, "data-epoch")?, field(&sealed, "offset")?.parse::<u64>()?));
    }
    if held[1] > held[0] {
        pair.swap(0, 1);
    }
    let [first, second] = pair;
    first.expect("PROMOTE", &format!("TERM {term} CONFIG {config} WAIT 700"), "OK")?;
    second.follow(&format!("{term}.0"), first)?;
    second.until("link", "up")
}

/// The primary's sync of a write fails while one replica has the write on its disk and the other is away: the
/// answer is not given. The primary ends; what was answered is found at whoever is elected; and when the old
/// primary says again that it holds everything durably, it does, without the bytes that were lost.
#[test]
fn a_failed_sync_takes_nothing_with_it_that_was_answered() -> Result<()> {
    for (error, why) in [(EIO, "Input/output error"), (ENOSPC, "No space left")] {
        let Some(([mut a, b, c], disk)) = three(error)? else { return Ok(()) };
        let mut client = a.server.client()?;
        let n = count(&mut client, 0, 50)?;
        c.server.signal("STOP");
        disk.set(Call::Sync, FILE, Fate::Held);
        client.send(&["INCR", "n"])?;
        until_held(&disk, 1)?;
        let end = number(&a, "offset")?;
        wait::until("the replica has it on its disk", PATIENCE, || {
            Ok((number(&b, "durable")? >= end).then_some(()))
        })?;
        let committed = number(&a, "committed")?;
        ensure!(committed < end, "one disk of two has {end}, and {committed} is committed");
        disk.set(Call::Sync, FILE, Fate::Fails(error));
        ended_in_distrust(&mut a.server, why)?;
        ensure!(client.receive().is_err(), "it was answered without a disk");
        disk.heal();

        c.server.signal("CONT");
        let (old, ids) = (a.id.clone(), format!("{},{},{}", a.id, b.id, c.id));
        let mut pair = [b, c];
        elect(2, &format!("3/2/2/disk/block/{ids}"), &mut pair)?;
        let found = counted(&pair[0].server)?;
        ensure!((n..=n + 1).contains(&found), "{n} were answered, {found} are there");

        let mut a = a.again("a", &KEPT)?;
        ensure!(a.id != old, "it came back as who it was");
        ensure!(a.server.log().contains("they are written anew"), "{}", a.server.log());
        a.follow("2.0", &pair[0])?;
        a.until("link", "up")?;
        until_kept(&a)?;
        let ids = format!("{},{},{}", a.id, pair[0].id, pair[1].id);
        pair[0].change_config(&format!("4/2/2/disk/block/{ids}"))?;
        let n = count(&mut pair[0].server.client()?, found, 50)?;
        let end = number(&pair[0], "offset")?;
        wait::until("it has all of it on its disk", PATIENCE, || {
            Ok((number(&a, "durable")? >= end).then_some(()))
        })?;
        let new = a.id.clone();
        a.server.signal("KILL");
        a.server.ended();
        lose_power(&disk)?;
        let a = a.again("a", &KEPT)?;
        ensure!(a.id == new, "it is another one: {}", a.server.log());
        let holds = number(&a, "offset")?;
        ensure!(holds >= end, "of {end} it holds {holds}");
        ensure!(n == found + 50);
    }
    Ok(())
}

/// A disk that takes no write ends nobody: while it is needed nothing is answered, whether it is the primary's or
/// the replica's; and all that waited is, under the same ids, when it takes writes again.
#[test]
fn a_refused_write_is_answered_when_the_disk_takes_it() -> Result<()> {
    let Some(([a, b, c], disk)) = three(0)? else { return Ok(()) };
    let ids = [a.id.clone(), b.id.clone(), c.id.clone()];
    let mut client = a.server.client()?;
    let n = count(&mut client, 0, 50)?;
    c.server.signal("STOP");
    disk.set(Call::Write, FILE, Fate::Fails(ENOSPC));
    client.send(&["INCR", "n"])?;
    wait::until("the write is refused by the disk", PATIENCE, || {
        Ok((a.server.info("aof_last_write_status")? == "err").then_some(()))
    })?;
    let end = number(&a, "offset")?;
    wait::until("the replica has it on its disk", PATIENCE, || {
        Ok((number(&b, "durable")? >= end).then_some(()))
    })?;
    ensure!(number(&a, "committed")? < end, "one disk of two has it");
    let refused = a.server.client()?.say("SET k v")?;
    ensure!(matches!(&refused, Value::Error(why) if why.starts_with("MISCONF")), "{refused:?}");
    disk.heal();
    ensure!(client.receive()?.int()? == n + 1);
    c.server.signal("CONT");
    let now = [&a, &b, &c].map(|member| member.status("member"));
    for (was, now) in ids.into_iter().zip(now) {
        ensure!(was == now?);
    }
    Ok(())
}

/// A server that nobody manages has no record. When its sync failed, the next one went on with the files as it
/// read them, and answered for bytes behind a hole: what was answered after the restart was gone with it.
#[test]
fn files_of_a_failed_sync_are_not_gone_on_with() -> Result<()> {
    for policy in ["always", "everysec"] {
        let on = ["--appendonly", "yes", "--appendfsync", policy];
        let Some((mut server, disk)) = FailingDisk::under(|| Server::start(policy, &on))? else {
            return Ok(());
        };
        let mut client = server.client()?;
        let mut n = count(&mut client, 0, 20)?;
        disk.set(Call::Sync, FILE, Fate::Held);
        client.send(&["INCR", "n"])?;
        let mut waiting = server.client()?;
        if policy == "everysec" {
            // Answered at once, and on the disk within a second, for which this one waits.
            n = client.receive()?.int()?;
            waiting.send(&["WAITAOF", "1", "0", "0"])?;
        }
        until_held(&disk, 1)?;
        disk.set(Call::Sync, FILE, Fate::Fails(EIO));
        ended_in_distrust(&mut server, "Input/output error")?;
        ensure!(client.receive().is_err(), "{policy}: answered without a disk");
        ensure!(waiting.receive().is_err(), "{policy}: told that the disk has it");
        disk.heal();

        let mut server = server.again(policy, &on)?;
        let found = counted(&server)?;
        ensure!(found >= n, "{policy}: {n} were answered, {found} are there: {}", server.log());
        let mut client = server.client()?;
        let n = count(&mut client, found, 20)?;
        if policy == "everysec" {
            let held = client.say("WAITAOF 1 0 20000")?;
            ensure!(held == Value::Array(vec![Value::Int(1), Value::Int(0)]), "{held:?}");
        }
        let mark = server.directory.join(FOLDER).join("redisha-member");
        ensure!(!mark.exists(), "{policy}: the files are new, and are not believed");
        server.signal("KILL");
        server.ended();
        lose_power(&disk)?;
        let server = server.again(policy, &on)?;
        let found = counted(&server)?;
        ensure!(found == n, "{policy}: {n} were durable, {found} are there: {}", server.log());
    }
    Ok(())
}

/// The name of a new file counted as durable after the second sync of the folder, which the system answers
/// without doing anything once the first one has failed.
#[test]
fn a_failed_sync_of_the_folder_is_one_of_the_files() -> Result<()> {
    let on = ["--appendonly", "yes", "--appendfsync", "always"];
    let Some((mut server, disk)) = FailingDisk::under(|| Server::start("folder", &on))? else {
        return Ok(());
    };
    let mut client = server.client()?;
    let n = count(&mut client, 0, 20)?;
    disk.set(Call::Sync, FOLDER, Fate::Held);
    ensure!(client.say("BGREWRITEAOF")?.text()?.contains("started"));
    // That of the new file, and that of the new base.
    until_held(&disk, 2)?;
    disk.set(Call::Sync, FOLDER, Fate::Fails(EIO));
    wait::until("it fails", PATIENCE, || Ok((disk.failed() > 0).then_some(())))?;
    disk.heal();
    ended_in_distrust(&mut server, "Input/output error")?;
    let server = server.again("folder", &on)?;
    ensure!(counted(&server)? == n);
    Ok(())
}

/// A record that was to be erased was gone from the folder, and the folder's sync had failed: the next sync found
/// nothing to do and was taken for the end. After a loss of power the record was there again, and spoke for an id
/// that had been given up.
#[test]
fn a_record_whose_erasing_failed_is_erased_anew() -> Result<()> {
    let Some((mut member, disk)) = FailingDisk::under(|| Member::start("erased", &KEPT))? else {
        return Ok(());
    };
    member.expect("BOOTSTRAP", "TERM 1", "OK")?;
    until_kept(&member)?;
    let record = member.server.directory.join(FOLDER).join("redisha-member");
    disk.set(Call::Sync, FOLDER, Fate::FailsOnce(EIO));
    member.operator.send(&["CONFIG", "SET", "keep-member-id", "no"])?;
    until_held(&disk, 1)?;
    ensure!(disk.failed() == 1);
    // What is made durable now is a change of the folder, and the next one is that it is gone.
    ensure!(fs::read_to_string(&record)? == "distrusted\n");
    disk.heal();
    ensure!(member.operator.receive()? == Value::Text("OK".into()));
    ensure!(!record.exists());
    Ok(())
}

/// A save that cannot be made durable is none: the file of before stays, and the error is told.
#[test]
fn a_save_that_is_not_durable_leaves_the_file_of_before() -> Result<()> {
    let Some((server, disk)) = FailingDisk::under(|| Server::start("save", &[]))? else {
        return Ok(());
    };
    let mut client = server.client()?;
    ok(&mut client, "SET k old")?;
    ok(&mut client, "SAVE")?;
    let before = fs::read(server.directory.join("dump.rdb"))?;
    ok(&mut client, "SET k new")?;
    disk.set(Call::Sync, "temp-redisha", Fate::Fails(EIO));
    let refused = client.say("SAVE")?;
    ensure!(matches!(refused, Value::Error(_)), "{refused:?}");
    ensure!(server.log().contains("Input/output error"), "{}", server.log());
    ensure!(fs::read(server.directory.join("dump.rdb"))? == before);
    disk.heal();
    ok(&mut client, "SAVE")?;
    ensure!(fs::read(server.directory.join("dump.rdb"))? != before);
    Ok(())
}
