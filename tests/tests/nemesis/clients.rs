//! Clients on every node that count together and note what they were told, and a probe.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tests::history::{Kind, Operation};
use tests::linear::record::Connect;
use tests::load::Target;
use tests::place::Place;
use tests::resp::{Client, Value};
use tests::wait;

/// How many counters there are.
pub const COUNTERS: u32 = 8;
/// Where clients are: on the control plane's side of any partition, and on every node's.
const PLACES: [&str; 4] = ["cp", "node1", "node2", "node3"];
/// How long a client waits for a connection and for each answer, as the probe of a user would.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long the first connection may take.
const FIRST: Duration = Duration::from_secs(30);
/// Between two operations of a client: the faults are the point, not the load.
const BREATH: Duration = Duration::from_millis(5);

/// The key of a counter.
pub fn name(counter: u32) -> String {
    format!("nemesis:{counter}")
}

/// Two writers and a reader in each place.
pub struct Clients {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Vec<Operation>>>,
}

impl Clients {
    /// Counters start anew.
    pub fn start(target: &Target) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        // The address of a Service that has just been made leads nowhere for a moment.
        let mut client = wait::until("a first connection", FIRST, || {
            target.place.run(|| target.connect(PATIENCE)).map(Some)
        })?;
        for counter in 0..COUNTERS {
            target.place.run(|| client.call(&["DEL", &name(counter)]).map(drop))?;
        }
        let start = Instant::now();
        let kinds = [Kind::Increment, Kind::Increment, Kind::Read];
        let mut running = Vec::new();
        for (seat, place) in PLACES.iter().enumerate() {
            for (chair, kind) in kinds.iter().enumerate() {
                let target = Target { place: Place::Namespace((*place).into()), ..target.clone() };
                let (stop, kind) = (Arc::clone(&stop), *kind);
                let first = (seat * kinds.len() + chair) as u32;
                running.push(thread::spawn(move || {
                    let mut history = Vec::new();
                    let work = || {
                        work(&target, kind, first, start, &stop, &mut history);
                        Ok(())
                    };
                    // The thread's place is entered once; without it there is no history.
                    if let Err(error) = target.place.run(work) {
                        eprintln!("a client in {:?} could not begin: {error:#}", target.place);
                    }
                    history
                }));
            }
        }
        Ok(Self { stop, running })
    }

    /// Ends them between two operations and gives what they noted.
    pub fn stop(self) -> Vec<Operation> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.running.into_iter().map(|one| one.join().expect("no client panics"));
        joined.flatten().collect()
    }
}

/// One client: counter after counter, connecting again after any error.
fn work(
    target: &Target,
    kind: Kind,
    first: u32,
    start: Instant,
    stop: &AtomicBool,
    history: &mut Vec<Operation>,
) {
    let mut connection = None;
    let mut counter = first % COUNTERS;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(BREATH);
        counter = (counter + 1) % COUNTERS;
        let Some(client) = &mut connection else {
            connection = target.connect(PATIENCE).ok();
            continue;
        };
        let begun = start.elapsed();
        match operate(client, kind, counter) {
            Ok(value) => {
                let ended = start.elapsed();
                history.push(Operation { kind, counter, begun, ended, value });
            }
            // Whether it ran is not known; it is not in the history.
            Err(_) => connection = None,
        }
    }
}

fn operate(client: &mut Client, kind: Kind, counter: u32) -> Result<u64> {
    let command = if kind == Kind::Increment { "INCR" } else { "GET" };
    match client.call(&[command, &name(counter)])? {
        Value::Error(error) => bail!("{error}"),
        other => Ok(other.text()?.parse().unwrap_or(0)),
    }
}

/// A way to connect from every place, for clients that record what they do.
pub fn ways(target: &Target) -> Vec<Arc<Connect>> {
    let way = |place: &str| -> Arc<Connect> {
        let target = Target { place: Place::Namespace(place.into()), ..target.clone() };
        Arc::new(move || target.place.run(|| target.connect(PATIENCE)))
    };
    PLACES.into_iter().chain(PLACES).map(way).collect()
}

/// A client that writes all the time and notes what came of it.
pub struct Probe {
    stop: Arc<AtomicBool>,
    notes: Arc<Mutex<Notes>>,
    running: Option<JoinHandle<()>>,
}

/// What the probe was told.
#[derive(Default)]
struct Notes {
    answers: Vec<Instant>,
    failures: Vec<Failure>,
}

/// An attempt to connect or to write that came to nothing.
struct Failure {
    begun: Instant,
    ended: Instant,
    why: String,
}

impl Probe {
    pub fn start(target: &Target) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let notes = Arc::new(Mutex::new(Notes::default()));
        let (ending, noted, target) = (Arc::clone(&stop), Arc::clone(&notes), target.clone());
        let running = thread::Builder::new().name("probe".into()).spawn(move || {
            let work = || {
                probe(&target, &ending, &noted);
                Ok(())
            };
            target.place.run(work).expect("the control plane's network is there");
        });
        Ok(Self { stop, notes, running: Some(running.context("start the probe")?) })
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().expect("the probe does not panic")
    }

    /// When it was answered last.
    pub fn last_answer(&self) -> Option<Instant> {
        self.notes().answers.last().copied()
    }

    /// The two answers that lie furthest apart of those of which the later one came after `begun`.
    pub fn longest_gap(&self, begun: Instant) -> Option<(Instant, Instant)> {
        let notes = self.notes();
        let pairs = notes.answers.windows(2).filter(|pair| pair[1] > begun);
        pairs.map(|pair| (pair[0], pair[1])).max_by_key(|(from, to)| *to - *from)
    }

    /// What came to nothing in that time, in milliseconds from its begin, those of a kind together.
    pub fn course(&self, (from, to): (Instant, Instant)) -> String {
        let notes = self.notes();
        let mut runs: Vec<(&Failure, &Failure, usize)> = Vec::new();
        for failure in notes.failures.iter().filter(|one| one.begun >= from && one.begun <= to) {
            match runs.last_mut() {
                Some((first, last, count)) if first.why == failure.why => {
                    (*last, *count) = (failure, *count + 1);
                }
                _ => runs.push((failure, failure, 1)),
            }
        }
        let ms = |at: Instant| at.saturating_duration_since(from).as_millis();
        let told = runs.iter().map(|(first, last, count)| {
            format!("{}–{}: {count} × {}", ms(first.begun), ms(last.ended), first.why)
        });
        told.collect::<Vec<_>>().join("; ")
    }
}

fn probe(target: &Target, stop: &AtomicBool, notes: &Mutex<Notes>) {
    let mut connection = None;
    while !stop.load(Ordering::Relaxed) {
        thread::sleep(BREATH);
        let begun = Instant::now();
        let told = attempt(target, &mut connection);
        let mut notes = notes.lock().expect("its reader does not panic");
        let ended = Instant::now();
        match told {
            Ok(true) => notes.answers.push(ended),
            Ok(false) => {}
            Err(error) => {
                connection = None;
                notes.failures.push(Failure { begun, ended, why: format!("{error:#}") });
            }
        }
    }
}

/// Connects, or writes where that is done; true when a write was answered.
fn attempt(target: &Target, connection: &mut Option<Client>) -> Result<bool> {
    let Some(client) = connection else {
        *connection = Some(target.connect(PATIENCE)?);
        return Ok(false);
    };
    match client.call(&["INCR", "nemesis:probe"])? {
        Value::Int(_) => Ok(true),
        other => bail!("{other:?}"),
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(running) = self.running.take() {
            let _ = running.join();
        }
    }
}
