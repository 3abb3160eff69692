//! What a background save costs those who write meanwhile: memory, and the slowest answers.
//!
//! One server after the other, filled alike, saves twice: once under overwrites at a fixed rate,
//! for its memory, and once at a quarter of the load that it can bear, for the answers. Valkey's
//! saving child takes memory, too, which it tells itself.

use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::process::resident_bytes;
use super::{Found, Peer, quantile, round};
use crate::programs;
use crate::resp::{Client, Value};
use crate::server::Server;
use crate::wait;

/// The most that the process may hold at any time of a save, in what it held before.
const MEMORY_BAR: f64 = 1.10;
/// The most that our slowest answers may take, in Valkey's.
const LATENCY_BAR: f64 = 1.0;
const VALUE_BYTES: usize = 1024;
/// What a key of ours and its value take, roughly.
const ENTRY_BYTES: u64 = 1100;
/// Connections that overwrite, each waiting for its answers.
const WRITERS: u64 = 8;
/// Commands that are sent at once while filling.
const BATCH: u64 = 256;
/// Longer than any save.
const PATIENCE: Duration = Duration::from_mins(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Memory to fill, in GB.
    #[arg(long, default_value_t = 4.0)]
    pub gigabytes: f64,
    /// Overwrites a second while memory is watched.
    #[arg(long, default_value_t = 10_000)]
    pub rate: u64,
}

/// What one server did.
#[derive(Debug)]
struct Save {
    before: u64,
    peak: u64,
    seconds: f64,
    /// Of the answers at a quarter of the peak load, in ms.
    p50: f64,
    p999: f64,
    max: f64,
}

pub fn run(plan: &Plan, peer: &Peer) -> Result<Found> {
    let keys = (plan.gigabytes * 1e9) as u64 / ENTRY_BYTES;
    check_room(plan.gigabytes)?;
    let ours = Server::start_program(&programs::server(), "ours", &[])?;
    fill(&ours, keys)?;
    let quarter = peak_rate(&ours, keys)? / 4;
    let ours = save(ours, keys, plan.rate, quarter)?;
    let theirs = Server::start_program(&peer.server, "valkey", &[])?;
    fill(&theirs, keys)?;
    // Both answer the same load: a quarter of what the slower one bears.
    let slower = quarter.min(peak_rate(&theirs, keys)? / 4);
    let theirs = save(theirs, keys, plan.rate, slower)?;
    let mut found = Found::default();
    for (name, save) in [("ours", &ours), ("valkey", &theirs)] {
        let memory = save.peak as f64 / save.before as f64;
        eprintln!(
            "{name:6}: {:.2} GB, peak {memory:.3} of it, {:.1} s; answers p50 {:.2} ms, p99.9 \
             {:.2}, max {:.2}",
            save.before as f64 / 1e9,
            save.seconds,
            save.p50,
            save.p999,
            save.max
        );
        let fields = json!({
            "before_bytes": save.before,
            "peak_bytes": save.peak,
            "peak_ratio": round(memory),
            "seconds": round(save.seconds),
            "p50_ms": round(save.p50),
            "p999_ms": round(save.p999),
            "max_ms": round(save.max),
        });
        found.put(name, fields);
    }
    found.bar("peak memory", ours.peak as f64 / ours.before as f64, MEMORY_BAR);
    found.bar("p99.9 in Valkey's", ours.p999 / theirs.p999, LATENCY_BAR);
    found.put("keys", keys);
    found.put("rate", plan.rate);
    found.put("quarter_rate", slower);
    found.put("bars", json!({"memory": MEMORY_BAR, "p999": LATENCY_BAR}));
    Ok(found)
}

/// Refuses what the machine has no room for: the data and half as much for a forked child's
/// copies in memory; one save and the one that takes its place on the disk.
fn check_room(gigabytes: f64) -> Result<()> {
    let meminfo = std::fs::read_to_string("/proc/meminfo").context("read /proc/meminfo")?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kb = line.and_then(|line| line.split_whitespace().next()).context("no MemAvailable")?;
    let memory = kb.parse::<f64>()? * 1024.0 / 1e9;
    let place = std::env::temp_dir();
    let df = Command::new("df").args(["--output=avail", "-B1"]).arg(&place).output();
    let df = String::from_utf8(df.context("start df")?.stdout)?;
    let disk = df.lines().nth(1).context("df says nothing")?.trim().parse::<f64>()? / 1e9;
    for (what, needed, there) in [
        ("memory", gigabytes * 1.5 + 1.0, memory),
        (&*format!("space in {}", place.display()), gigabytes * 2.2, disk),
    ] {
        if there < needed {
            bail!("{what}: {needed:.1} GB are needed, {there:.1} GB are free");
        }
    }
    Ok(())
}

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

fn fill(server: &Server, keys: u64) -> Result<()> {
    let mut client = server.client()?;
    let mut values = Values::new(1);
    for first in (0..keys).step_by(BATCH as usize) {
        let batch = first..keys.min(first + BATCH);
        for number in batch.clone() {
            client.send(&["SET", &format!("key:{number:012}"), values.next()])?;
        }
        for _ in batch {
            ensure!(client.receive()? == Value::Text("OK".into()));
        }
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

/// Overwrites from several connections while `what` runs; what it found, and all times.
fn under_load<T>(
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
fn peak_rate(server: &Server, keys: u64) -> Result<u64> {
    let seconds = 3;
    let ((), times) = under_load(server, keys, None, || {
        thread::sleep(Duration::from_secs(seconds));
        Ok(())
    })?;
    Ok(times.len() as u64 / seconds)
}

/// Saves in the background and returns when that is done: how long it took, and the largest size
/// of the process meanwhile.
fn background_save(server: &Server) -> Result<(f64, u64)> {
    let begun = Instant::now();
    let mut client = server.client()?;
    client.say("BGSAVE")?.text()?;
    let mut peak = 0;
    let (mut looks, mut running) = (0, true);
    while running {
        peak = peak.max(resident_bytes(server)?);
        thread::sleep(BETWEEN_LOOKS);
        looks += 1;
        running = looks % 10 != 0 || server.info("rdb_bgsave_in_progress")? == "1";
        ensure!(begun.elapsed() < PATIENCE, "the save does not end");
    }
    ensure!(server.info("rdb_last_bgsave_status")? == "ok", "the save failed");
    // What a child copied counts on top; a server without one says 0.
    let copied = server.info("rdb_last_cow_size").map_or(Ok(0), |text| text.parse::<u64>())?;
    Ok((begun.elapsed().as_secs_f64(), peak + copied))
}

fn save(server: Server, keys: u64, rate: u64, quarter: u64) -> Result<Save> {
    wait::until("nothing is being saved", PATIENCE, || {
        Ok((server.info("rdb_bgsave_in_progress")? == "0").then_some(()))
    })?;
    let before = resident_bytes(&server)?;
    let ((seconds, peak), _) = under_load(&server, keys, Some(rate), || background_save(&server))?;
    let (_, times) = under_load(&server, keys, Some(quarter), || background_save(&server))?;
    // The next server needs the memory.
    drop(server);
    let [p50, p999, max] = [0.5, 0.999, 1.0].map(|part| quantile(&times, part));
    Ok(Save { before, peak, seconds, p50, p999, max })
}
