//! The primary of `redisha local` is killed or stopped under load, where two of three members hold
//! what is answered: nothing that a client was told is lost.

use std::fmt::Write as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use redis::Commands;
use tests::ledger::judge;
use tests::local::Local;
use tests::programs::eventually;

/// A client that goes on over every error, and writes down what it was told.
struct Client {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<String>,
}

impl Client {
    fn start(port: u16, key: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut ledger, mut longest, mut last) = (String::new(), 0.0, Instant::now());
            let mut connection = None;
            while !told.load(Ordering::Relaxed) {
                let Some(open) = &mut connection else {
                    connection = connect(port).ok();
                    thread::sleep(Duration::from_millis(5));
                    continue;
                };
                match open.incr::<_, _, i64>(&key, 1) {
                    Ok(value) => {
                        longest = f64::max(longest, last.elapsed().as_secs_f64() * 1000.0);
                        last = Instant::now();
                        writeln!(ledger, "incr {value}").expect("a string takes all");
                    }
                    Err(error) => {
                        writeln!(ledger, "error incr {error}").expect("a string takes all");
                        connection = None;
                    }
                }
            }
            ledger + &format!("end {longest:.0}\n")
        });
        Self { stop, thread }
    }

    fn end(self) -> String {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the client panicked")
    }
}

fn connect(port: u16) -> redis::RedisResult<redis::Connection> {
    let client = redis::Client::open(("127.0.0.1", port))?;
    let connection = client.get_connection_with_timeout(Duration::from_millis(500))?;
    connection.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(connection)
}

/// Runs `harm` under load; every client must have been answered after it, and nothing be lost.
fn nothing_is_lost(what: &str, harm: impl FnOnce(&Local)) {
    let local = Local::start(&[]);
    eventually("two of three members hold what is answered", Duration::from_secs(30), || {
        let arbiter = std::fs::read_to_string(local.root.join("arbiter.json")).unwrap_or_default();
        arbiter.contains("replicated") && arbiter.contains("\"w\": 2") && {
            let table = local.run(&["status"]);
            table.lines().filter(|line| line.contains("follower")).count() == 2
        }
    });
    let first = local.primary();
    let clients: Vec<Client> =
        (0..4).map(|at| Client::start(local.port, format!("counter-{at}"))).collect();
    eventually("clients write", Duration::from_secs(30), || {
        let mut fresh = local.connect().expect("the front door is open");
        (0..4).all(|at| fresh.get(format!("counter-{at}")).is_ok_and(|n: Option<i64>| n > Some(50)))
    });
    harm(&local);
    let reached = |at: usize| {
        local.connect().and_then(|mut fresh| fresh.get::<_, Option<i64>>(format!("counter-{at}")))
    };
    eventually("another is primary", Duration::from_mins(1), || local.primary() != first);
    let marks: Vec<Option<i64>> = (0..4).map(|at| reached(at).unwrap_or_default()).collect();
    eventually("clients write again", Duration::from_mins(1), || {
        (0..4).all(|at| reached(at).is_ok_and(|now| now > marks[at].map(|mark| mark + 20)))
    });
    let ledgers: Vec<String> = clients.into_iter().map(Client::end).collect();
    for (at, ledger) in ledgers.iter().enumerate() {
        let counter = reached(at).expect("it answers").unwrap_or_default();
        let verdict = judge(ledger, counter as u64, "");
        println!("{what}: {} answers, gap {:?} ms", verdict.replies, verdict.gap_ms);
        assert_eq!((verdict.lost, verdict.duplicated), (0, 0), "{what}: {:?}", verdict.errors);
    }
    assert!(local.interrupt().success());
}

#[test]
fn a_killed_primary_takes_nothing_with_it_that_was_acknowledged() {
    nothing_is_lost("killed", |local| {
        local.run(&["kill"]);
    });
}

/// A process that was stopped for long and then went on answered under an office that it had lost.
#[test]
fn a_stopped_primary_that_goes_on_does_no_harm() {
    nothing_is_lost("stopped", |local| {
        let first = local.primary();
        let of = |signal: &str, pid: u32| {
            let mut kill = Command::new("kill");
            kill.args([signal, &pid.to_string()]);
            assert!(kill.status().expect("kill is there").success());
        };
        let pid = primary_pid(local);
        of("-STOP", pid);
        eventually("another is elected", Duration::from_mins(1), || local.primary() != first);
        of("-CONT", pid);
    });
}

/// The process that serves as primary.
fn primary_pid(local: &Local) -> u32 {
    let file = local.root.join(local.primary()).join("pid");
    let text = std::fs::read_to_string(file).expect("each server leaves its pid");
    text.trim().parse().expect("a pid")
}
