//! Data without a pattern, and clients that overwrite it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Progress;
use crate::resp::{Client, Value};
use crate::server::Server;

const VALUE_BYTES: usize = 1024;
/// Connections that overwrite, each waiting for its answers.
const WRITERS: u64 = 8;
/// Commands that are sent at once while filling.
const BATCH: u64 = 256;

/// Numbers without a pattern (xorshift), which no save can compress.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Values: pieces of a text without a pattern.
struct Values {
    text: String,
    noise: Noise,
}

impl Values {
    fn new(seed: u64) -> Self {
        let mut noise = Noise(seed | 1);
        let text =
            (0..64 * VALUE_BYTES).map(|_| char::from(b' ' + (noise.next() >> 40) as u8 % 95));
        Self { text: text.collect(), noise }
    }

    fn next(&mut self) -> &str {
        let at = self.noise.next() as usize % (self.text.len() - VALUE_BYTES);
        &self.text[at..at + VALUE_BYTES]
    }

    fn key(&mut self, keys: u64) -> String {
        format!("key:{:012}", (self.noise.next() >> 8) % keys)
    }
}

pub fn fill(server: &Server, name: &str, keys: u64) -> Result<()> {
    let mut client = server.client()?;
    let mut values = Values::new(1);
    let mut progress = Progress::default();
    for first in (0..keys).step_by(BATCH as usize) {
        let batch = first..keys.min(first + BATCH);
        for number in batch.clone() {
            client.send(&["SET", &format!("key:{number:012}"), values.next()])?;
        }
        for _ in batch {
            ensure!(client.receive()? == Value::Text("OK".into()));
        }
        progress.tell(|| Ok(format!("{name} is filled: {} %", first * 100 / keys)))?;
    }
    Ok(())
}

/// Overwrites until `over`, at `rate` a second or as fast as it goes; the answers' times in ms.
/// A write that could not begin in time because of the one before counts from when it was due.
fn overwrite(
    mut client: Client,
    (keys, seed): (u64, u64),
    rate: Option<f64>,
    over: &AtomicBool,
) -> Result<Vec<f64>> {
    let mut values = Values::new(seed * 7919);
    let every = rate.map(|rate| Duration::from_secs_f64(WRITERS as f64 / rate));
    let mut due = Instant::now();
    let mut times = Vec::new();
    while !over.load(Ordering::Relaxed) {
        let key = values.key(keys);
        let mut begun = Instant::now();
        if let Some(every) = every {
            due += every;
            if due > begun {
                thread::sleep(due - begun);
                begun = Instant::now();
            } else {
                begun = due;
            }
        }
        let answer = client.call(&["SET", &key, values.next()])?;
        ensure!(answer == Value::Text("OK".into()), "{answer:?}");
        times.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Overwrites from several connections while `what` runs; what it found, and all times, sorted.
pub fn under_load<T>(
    server: &Server,
    keys: u64,
    rate: Option<u64>,
    what: impl FnOnce() -> Result<T>,
) -> Result<(T, Vec<f64>)> {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let writers: Vec<_> = (1..=WRITERS)
            .map(|seed| {
                let over = &over;
                scope.spawn(move || {
                    overwrite(server.client()?, (keys, seed), rate.map(|rate| rate as f64), over)
                })
            })
            .collect();
        let done = what();
        over.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for writer in writers {
            all.extend(writer.join().expect("a writer does not panic")?);
        }
        all.sort_by(f64::total_cmp);
        Ok((done?, all))
    })
}

/// Overwrites a second when nothing holds them back.
pub fn peak_rate(server: &Server, keys: u64) -> Result<u64> {
    let seconds = 3;
    let ((), times) = under_load(server, keys, None, || {
        thread::sleep(Duration::from_secs(seconds));
        Ok(())
    })?;
    Ok(times.len() as u64 / seconds)
}
