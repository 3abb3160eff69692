//! All members lose power at once where answers promise the disk: what was answered is there again,
//! under the ids that held it; and an id whose files do not hold what it said never comes back.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use server::persistence::aof::{Part, Reader, Tracker};
use tests::members::{Member, Writer, field, three_with};
use tests::wait;

const PATIENCE: Duration = Duration::from_secs(20);
/// The files are made durable since the id is kept, whatever `appendfsync` says.
const KEPT: [&str; 6] = ["--appendonly", "yes", "--appendfsync", "no", "--keep-member-id", "yes"];

fn folder(member: &Member) -> PathBuf {
    member.server.directory.join("appendonlydir")
}

/// The incremental file that is written now.
fn last_file(folder: &Path) -> Result<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.to_string_lossy().ends_with(".incr.aof") {
            found.push(path);
        }
    }
    found.sort();
    found.pop().context("a member that keeps its id has files")
}

/// Cuts the file back to what its member had said to be durable, and a torn rest of what follows. How
/// many bytes are gone.
fn lose_power(member: &Member, durable: u64) -> Result<u64> {
    let path = last_file(&folder(member))?;
    let bytes = fs::read(&path)?;
    let (mut reader, mut tracker) = (Reader::new(0), Tracker::default());
    let mut keep = 0;
    // One by one, since the reader says after a unit where it ends.
    reader.feed(&bytes);
    while reader.next(|part| match part {
        Part::Note(text) => tracker.note(text),
        Part::One(args, length) => tracker.command(args, length),
        Part::Transaction(queue, length) => tracker.transaction(&queue, length),
    })? {
        if tracker.point().is_some_and(|point| point.offset <= durable) {
            keep = reader.valid();
        }
    }
    ensure!(keep > 0, "nothing of {} is durable at {durable}", path.display());
    let keep = (keep + 3).min(bytes.len() as u64);
    fs::OpenOptions::new().write(true).open(&path)?.set_len(keep)?;
    Ok(bytes.len() as u64 - keep)
}

fn kill(member: &mut Member) {
    member.server.signal("KILL");
    member.server.ended();
}

fn durable(member: &Member) -> Result<u64> {
    Ok(member.status("durable")?.parse()?)
}

/// With memory alone every id died with its process, so nobody could be elected after all had lost
/// power; and a file of `everysec` lacked a second of what had been answered.
#[test]
fn what_was_answered_survives_the_loss_of_power_of_all() -> Result<()> {
    let mut members = three_with("disk", &KEPT)?;
    for member in &members {
        wait::until("the id is kept", PATIENCE, || Ok((durable(member)? > 0).then_some(())))?;
    }
    let ids = members.each_ref().map(|member| member.id.clone());
    for round in 1_u64..=2 {
        let (primary, term) = (&members[0], round + 1);
        let key = ["first", "second"][round as usize - 1];
        let mut ledger = primary.server.client()?;
        for n in 1..=200 {
            ensure!(ledger.call(&["INCR", key])?.int()? == n);
        }
        // All of it was answered before these were asked, so two of them cover it.
        let said = [durable(&members[0])?, durable(&members[1])?, durable(&members[2])?];
        let more = Writer::start(&members[0].server, "more")?;
        let end = said[0];
        wait::until("more is written", PATIENCE, || {
            Ok((durable(&members[0])? > end + 2000).then_some(()))
        })?;
        for member in &members {
            member.server.signal("KILL");
        }
        let mut lost = 0;
        for (member, said) in members.iter_mut().zip(said) {
            member.server.ended();
            lost += lose_power(member, said)?;
        }
        ensure!(more.end().is_err(), "its server is gone");
        ensure!(lost > 0, "nothing was cut");
        let mut again = Vec::new();
        for (member, name) in members.into_iter().zip(["a", "b", "c"]) {
            again.push(member.again(name, &KEPT)?);
        }
        let mut held = Vec::new();
        for (at, member) in again.iter_mut().enumerate() {
            ensure!(ids.contains(&member.id), "{}: {}", member.id, member.server.log());
            let sealed = member.tell("SEAL", &format!("TERM {term}"))?;
            ensure!(field(&sealed, "restarted")? == "1");
            let epoch = field(&sealed, "data-epoch")?;
            held.push((epoch, field(&sealed, "offset")?.parse::<u64>()?, at));
        }
        let (_, _, best) = held.into_iter().max().context("three were sealed")?;
        let mut first = again.swap_remove(best);
        let config = format!("{}/{term}/2/disk/block/{}", term + 2, ids.join(","));
        first.expect("PROMOTE", &format!("TERM {term} CONFIG {config} WAIT 700"), "OK")?;
        for member in &mut again {
            member.follow(&format!("{term}.0"), &first)?;
            member.until("link", "up")?;
        }
        let value = first.server.client()?.call(&["GET", key])?.text()?;
        ensure!(value == "200", "round {round}: of 200 answered writes there are {value}");
        let mut all = again.into_iter();
        let mut next = || all.next().context("three members");
        members = [first, next()?, next()?];
    }
    Ok(())
}

/// An id that came back without its data was counted as one that held what had been answered.
#[test]
fn an_id_comes_back_with_its_files_only() -> Result<()> {
    type Harm = fn(&mut Member) -> Result<()>;
    let harms: [(&str, bool, Harm); 6] = [
        ("killed", true, |member| {
            kill(member);
            Ok(())
        }),
        ("its files are gone", false, |member| {
            kill(member);
            Ok(fs::remove_dir_all(folder(member))?)
        }),
        ("the record alone is left", false, |member| {
            kill(member);
            let record = fs::read(folder(member).join("redisha-member"))?;
            fs::remove_dir_all(folder(member))?;
            fs::create_dir(folder(member))?;
            Ok(fs::write(folder(member).join("redisha-member"), record)?)
        }),
        ("the record is damaged", false, |member| {
            kill(member);
            let path = folder(member).join("redisha-member");
            let record = fs::read(&path)?;
            Ok(fs::write(path, &record[..record.len() - 2])?)
        }),
        ("it resigned", false, |member| {
            member.server.signal("TERM");
            member.server.ended();
            Ok(())
        }),
        ("it was told to keep it no more", false, |member| {
            member.operator.say("CONFIG SET keep-member-id no")?;
            kill(member);
            Ok(())
        }),
    ];
    let mut member = Member::start("a", &KEPT)?;
    for (what, comes_back, harm) in harms {
        wait::until("the id is kept", PATIENCE, || {
            Ok(folder(&member).join("redisha-member").is_file().then_some(()))
        })?;
        let id = member.id.clone();
        harm(&mut member)?;
        member = member.again("a", &KEPT)?;
        ensure!((member.id == id) == comes_back, "{what}: {}", member.server.log());
    }
    Ok(())
}

/// A damaged last frame, which was durable and of which all bytes are there, was to be cut like a torn one; but the
/// id would have gone on to speak for it.
#[test]
fn an_id_does_not_outlive_a_damaged_frame() -> Result<()> {
    let mut members = three_with("disk", &KEPT)?;
    for member in &members {
        wait::until("the id is kept", PATIENCE, || Ok((durable(member)? > 0).then_some(())))?;
    }
    let mut client = members[0].server.client()?;
    for n in 1..=50 {
        ensure!(client.call(&["INCR", "counted"])?.int()? == n);
    }
    for member in &mut members {
        kill(member);
    }
    let [damaged, torn, whole] = members;
    for (member, name, harm) in [(damaged, "damaged", 0), (torn, "torn", 3), (whole, "whole", 0)] {
        let path = last_file(&folder(&member))?;
        let mut bytes = fs::read(&path)?;
        let length = bytes.len();
        bytes.truncate(length - harm);
        if name == "damaged" {
            bytes[length - 3] ^= 1;
        }
        fs::write(&path, &bytes)?;
        let id = member.id.clone();
        let member = member.again(name, &KEPT)?;
        let log = member.server.log();
        ensure!((member.id == id) == (name != "damaged"), "{name}: {log}");
        ensure!(log.contains("truncating") == (name != "whole"), "{name}: {log}");
    }
    Ok(())
}

/// Directives that were told to a running pod reach its mounted configuration minutes later. A container that
/// was started again in between kept no files by its directives, loaded none, and its record was erased:
/// all that had been answered was gone, with whole files beside it.
#[test]
fn a_start_by_older_directives_finds_what_was_answered() -> Result<()> {
    let [mut member, _b, _c] = three_with("disk", &KEPT)?;
    wait::until("the id is kept", PATIENCE, || Ok((durable(&member)? > 0).then_some(())))?;
    let id = member.id.clone();
    let mut client = member.server.client()?;
    for n in 1..=50 {
        ensure!(client.call(&["INCR", "counted"])?.int()? == n);
    }
    let said = durable(&member)?;
    for (directives, as_before) in [(&[][..], false), (&[], false), (&KEPT, true)] {
        kill(&mut member);
        member = member.again("a", directives)?;
        let holds: u64 = member.status("offset")?.parse()?;
        ensure!(holds >= said, "of {said} it holds {holds}: {}", member.server.log());
        ensure!((member.id == id) == as_before, "{}: {}", member.id, member.server.log());
    }
    Ok(())
}
