//! Everything that clients were told, under planned switches, crashes and stopped processes, could
//! have been told by one server: texts, counters, lists, hashes, transactions, scripts, expiry. And
//! where wall clocks jump around switches, what was told to have expired is not there again.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use redis::Commands;
use tests::linear::record::{Connect, Recorder};
use tests::linear::{self, Kind};
use tests::local::{Local, NAMES};
use tests::members::{handover, three_with};
use tests::programs::eventually;
use tests::resp::Client;

/// How long a client waits for an answer before it counts the outcome as unknown.
const PATIENCE: Duration = Duration::from_millis(700);
const CLIENTS: usize = 8;
/// Fewer operations on objects of a kind would show nothing.
const OF_A_KIND: usize = 20;

/// Two of three members hold what is answered, and both replicas follow.
fn whole(local: &Local) {
    eventually("two of three members hold what is answered", Duration::from_secs(40), || {
        let arbiter = std::fs::read_to_string(local.root.join("arbiter.json")).unwrap_or_default();
        arbiter.contains("replicated") && arbiter.contains("\"w\": 2") && {
            let table = local.run(&["status"]);
            table.lines().filter(|line| line.contains("follower")).count() == 2
        }
    });
}

fn signal(local: &Local, name: &str, signal: &str) {
    let file = local.root.join(name).join("pid");
    let pid = std::fs::read_to_string(file).expect("each server leaves its pid");
    let mut kill = Command::new("kill");
    kill.args([signal, pid.trim()]);
    assert!(kill.status().expect("kill is there").success());
}

/// Runs `harm` while clients record, and judges what they noted.
fn one_server_could_have_answered(what: &str, harm: impl FnOnce(&Local)) {
    let local = Local::start(&[]);
    whole(&local);
    let address = SocketAddr::from(([127, 0, 0, 1], local.port));
    let connect: Arc<Connect> = Arc::new(move || Client::connect_within(address, PATIENCE));
    let recorder = Recorder::start(what, vec![connect; CLIENTS]);
    harm(&local);
    eventually("clients are answered again", Duration::from_secs(30), || {
        let asked = local.connect().and_then(|mut one| one.incr::<_, _, i64>("again", 1));
        asked.is_ok()
    });
    std::thread::sleep(Duration::from_secs(1));
    let history = recorder.stop();
    for kind in Kind::ALL {
        let name = format!("{kind:?}");
        let answered = history.iter().filter(|one| one.object.ends_with(&name)).count();
        assert!(answered > OF_A_KIND, "{what}: {answered} operations on {name} show nothing");
    }
    let verdict = linear::judge(history);
    eprintln!(
        "{what}: {} operations on {} objects, {} outcomes unknown",
        verdict.operations, verdict.objects, verdict.unknown
    );
    assert!(verdict.is_clean(), "{what}: {:?} {:?}", verdict.broken, verdict.undecided);
    assert!(local.interrupt().success());
}

#[test]
fn planned_switches_are_not_seen() {
    one_server_could_have_answered("switches", |local| {
        for turn in 0..6 {
            let to = NAMES[(turn + 1) % NAMES.len()];
            local.run(&["switchover", "--to", to]);
            std::thread::sleep(Duration::from_millis(400));
        }
    });
}

#[test]
fn a_killed_primary_is_not_seen_but_as_silence() {
    one_server_could_have_answered("killed", |local| {
        for _ in 0..2 {
            let first = local.primary();
            local.run(&["kill"]);
            eventually("another is primary", Duration::from_mins(1), || local.primary() != first);
            whole(local);
        }
    });
}

/// The old primary goes on under an office that it has lost, in the middle of a switch or not.
#[test]
fn a_stopped_primary_that_goes_on_is_not_seen() {
    one_server_could_have_answered("stopped", |local| {
        let first = local.primary();
        signal(local, &first, "-STOP");
        eventually("another is primary", Duration::from_mins(1), || local.primary() != first);
        std::thread::sleep(Duration::from_millis(500));
        signal(local, &first, "-CONT");
        whole(local);
        // A replica that is stopped holds nobody up, and a switch to another goes on.
        let primary = local.primary();
        let others: Vec<&str> = NAMES.into_iter().filter(|name| *name != primary).collect();
        signal(local, others[0], "-STOP");
        local.run(&["switchover", "--to", others[1]]);
        signal(local, others[0], "-CONT");
        whole(local);
    });
}

const HOUR_MS: i64 = 3_600_000;

/// The giver's clock jumps in the pause, in which nothing that expires is removed, so that texts go
/// which are there by every other clock; after the switch it is behind by as much.
#[test]
fn what_has_expired_by_a_clock_that_jumped_is_not_there_again() -> Result<()> {
    let mut members = three_with("replicated", &["--enable-debug-command", "yes"])?;
    let address = SocketAddr::from(([127, 0, 0, 1], members[0].server.port));
    let connect: Arc<Connect> = Arc::new(move || Client::connect_within(address, PATIENCE));
    // Few clients on each object: a write that waits for the switch would hide what is there again.
    let recorders = ["jumps-1", "jumps-2", "jumps-3", "jumps-4"]
        .map(|name| Recorder::of(&[Kind::Jumping], name, vec![Arc::clone(&connect); 2]));
    for round in 1..=9 {
        std::thread::sleep(Duration::from_millis(300));
        let [giver, taker, _] = &mut members;
        let id = format!("jump-{round}");
        giver.pause(&id, taker)?;
        let jump = |ms: i64| format!("DEBUG SET-WALL-CLOCK-OFFSET {ms}");
        giver.operator.say(&jump(round * HOUR_MS))?.text()?;
        // Reads go on in a pause.
        std::thread::sleep(Duration::from_millis(15));
        let answer = giver.tell("HANDOVER", &handover(&id, taker))?.text()?;
        ensure!(answer.starts_with("ACCEPTED"), "{answer}");
        taker.until("role", "primary")?;
        giver.operator.say(&jump(-round * HOUR_MS))?.text()?;
        giver.until("link", "up")?;
        members.rotate_left(1);
        let [primary, next, _] = &members;
        next.until("primary-member", &primary.id)?;
        next.until("link", "up")?;
        primary.until_serves(next)?;
    }
    let history: Vec<_> = recorders.into_iter().flat_map(Recorder::stop).collect();
    let gone = |one: &&linear::Operation| matches!(one.answer, Some((_, tests::resp::Value::Nil)));
    let gone = history.iter().filter(gone).count();
    let verdict = linear::judge(history);
    eprintln!("{} operations, {gone} of them found nothing", verdict.operations);
    ensure!(gone > OF_A_KIND, "{gone} texts that had gone show nothing");
    ensure!(verdict.is_clean(), "{:?} {:?}", verdict.broken, verdict.undecided);
    Ok(())
}
