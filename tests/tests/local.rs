//! `redisha local` as a person uses it, and the executor ended at every step of a switch.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use redis::Commands;
use tests::local::{Local, alive, command, scratch};
use tests::programs::{Running, STEPS, eventually};
use tests::writer::Writer;

/// What a person does in the first five minutes.
#[test]
fn a_switch_is_not_noticed_and_a_crash_loses_nothing_that_was_replicated() {
    let local = Local::start(&[]);
    let first = local.primary();
    let writer = Writer::start(local.connect().unwrap(), "counter");
    let said = local.run(&["switchover"]);
    assert!(said.starts_with(&format!("Switched from {first} to ")), "{said}");
    let second = local.primary();
    assert_ne!(first, second);
    let said = local.run(&["switchover", "--to", &first]);
    assert!(said.starts_with(&format!("Switched from {second} to {first}")), "{said}");
    let written = writer.stop();
    assert!(written > 0);

    let mut connection = local.connect().unwrap();
    let held: u64 = redis::cmd("WAIT").arg(2).arg(10_000).query(&mut connection).unwrap();
    assert_eq!(held, 2, "both replicas hold every write");
    assert_eq!(local.run(&["kill"]).trim(), format!("Killed {first}."));
    eventually("another server takes over", Duration::from_secs(30), || {
        let value = local.connect().and_then(|mut fresh| fresh.get::<_, i64>("counter"));
        value.is_ok_and(|value| value == written)
    });
    eventually("the killed server follows again", Duration::from_secs(30), || {
        let table = local.run(&["status"]);
        table.lines().any(|line| line.starts_with(&first) && line.contains("follower  "))
    });
    let mut connection = local.connect().unwrap();
    let next: i64 = connection.incr("counter", 1).unwrap();
    assert_eq!(next, written + 1);

    let pids = local.server_pids();
    assert_eq!(pids.len(), 3);
    assert!(local.interrupt().success());
    assert!(pids.into_iter().all(|pid| !alive(pid)), "Ctrl-C left a server");
}

/// All servers are killed at once, twice: what was answered is there again.
/// Under `replicated` the ids, and the word of those who hold the last writes, would be gone with them.
#[test]
fn all_servers_killed_at_once_lose_nothing_that_the_disk_was_promised() {
    let local = Local::start(&["--durability", "disk"]);
    eventually("all are members", Duration::from_secs(30), || members(&local).len() == 3);
    let ids = members(&local);
    let mut answered = 0_u64;
    for _ in 0..2 {
        let mut connection = local.connect().unwrap();
        let writer = std::thread::spawn(move || {
            // Until the server that it is connected to is gone.
            let mut increased = || connection.incr::<_, _, u64>("counter", 1);
            std::iter::from_fn(|| increased().ok()).last()
        });
        eventually("writes are answered", Duration::from_secs(30), || {
            let value =
                local.connect().and_then(|mut fresh| fresh.get::<_, Option<u64>>("counter"));
            value.is_ok_and(|value| value.is_some_and(|value| value >= answered + 100))
        });
        let pids = local.server_pids();
        assert_eq!(pids.len(), 3);
        let pids = pids.iter().map(u32::to_string);
        assert!(Command::new("kill").arg("-KILL").args(pids).status().unwrap().success());
        answered = writer.join().unwrap().expect("some were answered");
        let mut value = None;
        eventually("there is a primary again", Duration::from_mins(1), || {
            value = local.connect().and_then(|mut fresh| fresh.get::<_, u64>("counter")).ok();
            value.is_some()
        });
        // The last one may have been done without an answer.
        let value = value.unwrap();
        assert!((answered..=answered + 1).contains(&value), "{answered} answered, {value} there");
        answered = value;
        eventually("two follow the third", Duration::from_secs(30), || {
            local.run(&["status"]).matches("follower  ").count() == 2
        });
        // Who came back under another id would be a new member. One that came late may have been left out
        // until it held all.
        eventually("all are members again", Duration::from_secs(30), || members(&local) == ids);
    }
}

/// The ids of the members whose word counts.
fn members(local: &Local) -> BTreeSet<String> {
    let text =
        std::fs::read_to_string(local.root.join("arbiter.json")).expect("the status is there");
    let arbiter: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    let members = arbiter["config"]["members"].as_array().cloned().unwrap_or_default();
    members.iter().filter_map(|one| one["member"].as_str().map(str::to_owned)).collect()
}

/// Each refusal is one line that names a way out, with the exit code of what could not run.
#[test]
fn what_cannot_start_says_why_in_one_line() {
    let local = Local::start(&[]);
    let taken = local.port.to_string();
    let elsewhere = scratch();
    for (root, args, words) in [
        (&elsewhere, ["--port", taken.as_str()], "choose another with --port"),
        (&local.root, ["--port", "0"], "choose another folder with --dir"),
        (&elsewhere, ["--server", "/nonexistent"], "name one with --server"),
        (&elsewhere, ["--server", "/bin/false"], "ended as it started"),
    ] {
        let mut refused = command(root, &args);
        if args[0] == "--server" {
            refused.args(["--port", "0"]);
        }
        let output = refused.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains(words) && error.lines().count() == 1, "{error}");
    }
    std::fs::remove_dir_all(elsewhere).unwrap();
    assert!(local.interrupt().success());
}

/// The executor ends at every effect of a planned switch, before and after it. The next one must
/// finish the switch or take it back, while a client writes on and sees nothing.
#[test]
fn an_executor_that_ends_at_any_step_leaves_nothing_that_the_next_cannot_finish() {
    let local = Local::start(&["--no-executor"]);
    let mut executor = execute(&local, None);
    eventually("there is a primary", Duration::from_secs(30), || {
        local.connect().is_ok_and(|mut fresh| fresh.set::<_, _, ()>("ready", 1).is_ok())
    });
    let writer = Writer::start(local.connect().unwrap(), "counter");
    for step in STEPS {
        for moment in ["before", "after"] {
            executor.kill();
            let point = format!("{step}:{moment}");
            let from = local.primary();
            let mut doomed = execute(&local, Some(&point));
            let mut asked = command(&local.root, &["switchover"]);
            let mut asked = Running::start(asked.stdout(Stdio::null()));
            let end = doomed.ended(&format!("{point} is reached"), Duration::from_secs(30));
            assert_eq!(end.signal(), Some(6), "{point} was not reached");
            executor = execute(&local, None);
            let answered = asked.ended(&format!("{point}: an answer"), Duration::from_secs(30));
            assert!(answered.success(), "{point}: the request was called off");
            assert_ne!(local.primary(), from, "{point}");
        }
    }
    let written = writer.stop();
    let stored: i64 = local.connect().unwrap().get("counter").unwrap();
    assert_eq!(stored, written);
    executor.kill();
    assert!(local.interrupt().success());
}

fn execute(local: &Local, crash_at: Option<&str>) -> Running {
    let mut command = command(&local.root, &["execute"]);
    if let Some(point) = crash_at {
        command.env("REDISHA_CRASH_AT", point);
    }
    Running::start(&mut command)
}
