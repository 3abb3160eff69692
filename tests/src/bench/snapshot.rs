//! What a snapshot in the background costs those who write meanwhile: memory, and the slowest
//! answers.
//!
//! Both servers are filled alike. Each makes two snapshots, in turn with the other: one under
//! overwrites at a fixed rate, for its memory, and one at a quarter of the load that the slower of
//! them bears, for the answers. Valkey's saving child takes memory, too, which it tells itself.

mod load;
mod work;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Found, Pairs, Peer, quantile, round};
use crate::programs;
use crate::server::Server;
use work::Work;

/// The most that the process may hold at any time of a save, in what it held before.
const MEMORY_BAR: f64 = 1.10;
/// The most that our slowest answers may take, in Valkey's.
const LATENCY_BAR: f64 = 1.0;
/// What a key of ours and its value take, roughly.
const ENTRY_BYTES: u64 = 1100;
/// The rest between two lines that tell how far it is.
const TELL_EACH: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub struct Plan {
    /// Memory to fill, in GB.
    #[arg(long, default_value_t = 4.0)]
    pub gigabytes: f64,
    /// Overwrites a second while memory is watched.
    #[arg(long, default_value_t = 10_000)]
    pub rate: u64,
    /// How often each server is measured.
    #[arg(long, default_value_t = 1)]
    pub runs: u32,
    /// What the snapshot is made for.
    #[arg(long, value_enum, default_value = "save")]
    pub work: Work,
}

/// Tells on stderr, now and then, how far something is.
struct Progress(Instant);

impl Default for Progress {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Progress {
    fn tell(&mut self, what: impl FnOnce() -> Result<String>) -> Result<()> {
        if self.0.elapsed() >= TELL_EACH {
            self.0 = Instant::now();
            eprintln!("{}", what()?);
        }
        Ok(())
    }
}

/// What one server did.
#[derive(Debug)]
struct Measured {
    before: u64,
    peak: u64,
    /// Of the snapshot at a quarter of the peak load.
    seconds: f64,
    /// Overwrites a second meanwhile.
    rate: f64,
    /// Of the answers meanwhile, in ms.
    p50: f64,
    p999: f64,
    max: f64,
}

impl Measured {
    fn memory(&self) -> f64 {
        self.peak as f64 / self.before as f64
    }

    fn fields(&self) -> Value {
        json!({
            "before_bytes": self.before,
            "peak_bytes": self.peak,
            "peak_ratio": round(self.memory()),
            "seconds": round(self.seconds),
            "rate": self.rate.round(),
            "p50_ms": round(self.p50),
            "p999_ms": round(self.p999),
            "max_ms": round(self.max),
        })
    }
}

pub fn run(plan: &Plan, peer: &Peer) -> Result<Found> {
    let keys = (plan.gigabytes * 1e9) as u64 / ENTRY_BYTES;
    check_room(plan.gigabytes)?;
    let ours = Server::start_program(&programs::server(), "ours", &[])?;
    let at_once = ["--repl-diskless-sync-delay", "0"];
    let theirs = Server::start_program(&peer.server, "valkey", &at_once)?;
    let servers = [("ours", &ours), ("valkey", &theirs)];
    let mut quarter = u64::MAX;
    for (name, server) in servers {
        load::fill(server, name, keys)?;
        let peak = load::peak_rate(server, keys)?;
        eprintln!("{name}: {peak} overwrites a second at most");
        quarter = quarter.min(peak / 4);
    }
    let mut found = Found::default();
    let (mut slowest, mut memory, mut runs) = (Pairs::default(), f64::NAN, Vec::new());
    for _ in 0..plan.runs.max(1) {
        let mut pair = Vec::new();
        let mut fields = json!({});
        for (name, server) in servers {
            let measured = measure(server, name, keys, (plan, quarter))?;
            let weather = load_average()?;
            eprintln!(
                "{name:6}: {:.2} GB, peak {:.3} of it; {:.1} s at {:.0} a second, answers p50 {:.2} \
                 ms, p99.9 {:.2}, max {:.2}; load average {weather}",
                measured.before as f64 / 1e9,
                measured.memory(),
                measured.seconds,
                measured.rate,
                measured.p50,
                measured.p999,
                measured.max
            );
            fields[name] = measured.fields();
            fields[name]["load_average"] = json!(weather);
            pair.push(measured);
        }
        let [ours, theirs] = &*pair else { unreachable!("two servers were measured") };
        slowest.push(ours.p999, theirs.p999);
        memory = memory.max(ours.memory());
        runs.push(fields);
    }
    found.bar("peak memory", memory, MEMORY_BAR);
    found.bar("p99.9 in Valkey's", slowest.ratio(), LATENCY_BAR);
    found.put("work", format!("{:?}", plan.work).to_lowercase());
    found.put("keys", keys);
    found.put("rate", plan.rate);
    found.put("quarter_rate", quarter);
    found.put("peak_ratio", round(memory));
    found.put("p999_ratio", round(slowest.ratio()));
    found.put("runs", runs);
    found.put("bars", json!({"memory": MEMORY_BAR, "p999": LATENCY_BAR}));
    Ok(found)
}

fn measure(server: &Server, name: &str, keys: u64, (plan, rate): (&Plan, u64)) -> Result<Measured> {
    plan.work.rests(server)?;
    let before = server.memory("VmRSS")?;
    let work = || plan.work.run(server, name);
    let ((_, peak), _) = load::under_load(server, keys, Some(plan.rate), work)?;
    plan.work.rests(server)?;
    let ((seconds, _), times) = load::under_load(server, keys, Some(rate), work)?;
    let rate = times.len() as f64 / seconds;
    let [p50, p999, max] = [0.5, 0.999, 1.0].map(|part| quantile(&times, part));
    Ok(Measured { before, peak, seconds, rate, p50, p999, max })
}

/// Refuses what the machine has no room for: the data twice, and half as much for a forked child's
/// copies in memory; for each server one save and the one that takes its place on the disk.
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
        ("memory", gigabytes * 2.5 + 1.0, memory),
        (&*format!("space in {}", place.display()), gigabytes * 4.0 + 1.0, disk),
    ] {
        if there < needed {
            bail!("{what}: {needed:.1} GB are needed, {there:.1} GB are free");
        }
    }
    Ok(())
}

/// Processes that wanted to run, on average over the last minute: what else the machine did.
fn load_average() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg").context("read /proc/loadavg")?;
    Ok(text.split_whitespace().next().context("/proc/loadavg is empty")?.to_owned())
}
