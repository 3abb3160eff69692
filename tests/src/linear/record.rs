//! Clients that do a little of everything and write down what they were told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Action, Kind, Operation};
use crate::resp::{Client, Value};

/// Between two commands of a client: the order is the point, not the load.
const BREATH: Duration = Duration::from_millis(4);
/// After a refusal or a lost connection.
const PATIENCE: Duration = Duration::from_millis(40);
/// How long the same objects are used. A command whose outcome is not known may run at any later
/// time; fresh objects keep it from burdening all that follows.
const ROUND: Duration = Duration::from_millis(1_500);
/// Errors that a server answers before it executes anything.
const REFUSED: [&str; 9] = [
    "LOADING",
    "READONLY",
    "MOVED",
    "REDIRECT",
    "EXECABORT",
    "NOREPLICAS",
    "MISCONF",
    "MASTERDOWN",
    "NOAUTH",
];

/// Connects as these clients should; called again after every lost connection.
pub type Connect = dyn Fn() -> Result<Client> + Send + Sync;

/// Clients at work.
pub struct Recorder {
    stop: Arc<AtomicBool>,
    running: Vec<JoinHandle<Vec<Operation>>>,
}

impl Recorder {
    /// One client for each way to connect. Objects bear `name`, so that histories do not meet.
    pub fn start(name: &str, ways: Vec<Arc<Connect>>) -> Self {
        Self::of(&Kind::ALL, name, ways)
    }

    /// As [`Self::start`], on objects of these kinds.
    pub fn of(kinds: &'static [Kind], name: &str, ways: Vec<Arc<Connect>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = Instant::now();
        let running = ways.into_iter().enumerate().map(|(number, connect)| {
            let (stop, name) = (Arc::clone(&stop), name.to_owned());
            thread::spawn(move || Seat::new(kinds, name, number, start).work(&*connect, &stop))
        });
        Self { running: running.collect(), stop }
    }

    /// Ends them between two commands and gives what all of them noted.
    pub fn stop(self) -> Vec<Operation> {
        self.stop.store(true, Ordering::Relaxed);
        let joined = self.running.into_iter().map(|one| one.join().expect("no client panics"));
        joined.flatten().collect()
    }
}

/// What a client knows of a command that it sent.
enum Told {
    Answer(Value),
    /// It certainly did not run.
    Refused,
    Unknown,
}

/// One client.
struct Seat {
    kinds: &'static [Kind],
    name: String,
    number: usize,
    start: Instant,
    history: Vec<Operation>,
    /// Of the course of its choices.
    chance: u64,
    /// The text that it saw last in each round, for scripts to expect.
    seen: String,
    count: u64,
}

impl Seat {
    fn new(kinds: &'static [Kind], name: String, number: usize, start: Instant) -> Self {
        let chance = number as u64 + 1;
        let (history, seen) = (Vec::new(), String::new());
        Self { kinds, name, number, start, history, chance, seen, count: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // Knuth's constants; the upper bits are the good ones.
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.chance >> 33) % bound
    }

    fn work(mut self, connect: &Connect, stop: &AtomicBool) -> Vec<Operation> {
        let mut connection = None;
        while !stop.load(Ordering::Relaxed) {
            thread::sleep(BREATH);
            let Some(client) = &mut connection else {
                connection = connect().ok();
                if connection.is_none() {
                    thread::sleep(PATIENCE);
                }
                continue;
            };
            if !self.operate(client) {
                connection = None;
                thread::sleep(PATIENCE);
            }
        }
        self.history
    }

    /// One operation; false if the connection is of no use any more.
    fn operate(&mut self, client: &mut Client) -> bool {
        let kind = self.kinds[self.below(self.kinds.len() as u64) as usize];
        let round = self.start.elapsed().as_micros() / ROUND.as_micros();
        let object = format!("{}:{round}:{kind:?}", self.name);
        let action = self.choose(kind);
        let begun = self.start.elapsed();
        let told = ask(client, &action.commands(&object));
        let ended = self.start.elapsed();
        if let (Action::Get, Told::Answer(Value::Text(text))) = (&action, &told) {
            self.seen.clone_from(text);
        }
        let answer = match told {
            Told::Refused => return false,
            Told::Answer(value) => Some((ended, value)),
            Told::Unknown => None,
        };
        let known = answer.is_some();
        // A read that was not answered says nothing.
        if known || action.writes() {
            self.history.push(Operation { object, action, begun, answer });
        }
        known
    }

    /// Texts are unlike each other, so that a read tells whose write it saw.
    fn choose(&mut self, kind: Kind) -> Action {
        self.count += 1;
        let text = format!("{}-{};", self.number, self.count);
        let field = format!("f{}", self.below(3));
        match (kind, self.below(4)) {
            (Kind::Text | Kind::Scripted, 0) => Action::Set(text),
            (Kind::Text, 1) => Action::Append(text),
            (Kind::Counter, 0 | 1) => Action::Add(self.below(9) as i64 - 3),
            (Kind::List, 0 | 1) => Action::Push(text),
            (Kind::List, 2) => Action::Pop,
            (Kind::List, _) => Action::Range,
            (Kind::Hash, 0 | 1) => Action::SetField(field, text),
            (Kind::Hash, 2) => Action::DropField(field),
            (Kind::Hash, _) => Action::Fields,
            (Kind::Pair, 0 | 1) => Action::Move(self.below(5) as i64 + 1),
            (Kind::Pair, _) => Action::Both,
            (Kind::Scripted, 1) => Action::Replace(self.seen.clone(), text),
            (Kind::Expiring, 0) => Action::SetFor(text, 20 + self.below(400)),
            (Kind::Jumping, 0) => Action::SetByJumpingClock(text, 20 + self.below(400)),
            (Kind::Text | Kind::Counter | Kind::Scripted | Kind::Expiring | Kind::Jumping, _) => {
                Action::Get
            }
        }
    }
}

/// Sends commands one after another; the last answer is the answer.
fn ask(client: &mut Client, commands: &[Vec<String>]) -> Told {
    let last = commands.len() - 1;
    for (index, command) in commands.iter().enumerate() {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        match client.call(&words) {
            Ok(Value::Error(text)) if REFUSED.iter().any(|code| text.starts_with(code)) => {
                return Told::Refused;
            }
            // A transaction that was not begun whole is not executed when its connection ends.
            Ok(Value::Error(_)) | Err(_) if index < last => return Told::Refused,
            Ok(Value::Error(_)) | Err(_) => return Told::Unknown,
            // EXEC answers nil when it did not run.
            Ok(Value::Nil) if last > 0 => return Told::Refused,
            Ok(value) if index == last => return Told::Answer(value),
            Ok(_) => {}
        }
    }
    Told::Unknown
}
