//! What it costs that a write is answered only when another member holds it.
//!
//! Three pairs of a primary and one replica: ours under `async`, ours under `replicated` (W 2), and
//! Valkey with `WAIT 1` after each write, which is as near as it comes. Primaries run on core 0;
//! replicas and load on core 1.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::process::{self, on_core};
use super::{Found, Pairs, Peer, VALUE_BYTES, quantile, round};
use crate::members::Member;
use crate::resp::{Client, Value};
use crate::server::Server;
use crate::wait;

/// The most that the primary's time per command may be, in that of `async`.
const COST_BAR: f64 = 1.20;
/// The most that a typical write may take longer than under `async`, in PINGs to the replica.
const LATENCY_BAR: f64 = 1.3;
const DEPTHS: &[u32] = &[1, 16];
const KEYS: u32 = 100_000;
/// Writes of one measure of latency, and how often it is repeated.
const WRITES: usize = 500;
const ROUNDS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub struct Plan {
    /// How often each cost is measured on each pair.
    #[arg(long, default_value_t = 5)]
    pub runs: u32,
}

/// A primary and its replica.
struct Pair {
    primary: Server,
    replica: Server,
    /// Follows every write.
    then: &'static [&'static str],
}

pub fn run(plan: &Plan, peer: &Peer) -> Result<Found> {
    let pairs = [ours("async")?, ours("replicated")?, valkey(&peer.server)?];
    let mut found = Found::default();
    costs(plan, peer, &pairs, &mut found)?;
    latencies(&pairs, &mut found)?;
    Ok(found)
}

fn ours(rule: &str) -> Result<Pair> {
    let mut a = on_core(0, || Member::start("a", &[]))?;
    let mut b = on_core(1, || Member::start("b", &[]))?;
    a.expect("BOOTSTRAP", &format!("TERM 1 CONFIG 1/1/1/{rule}/block/{}", a.id), "OK")?;
    b.follow("1.0", &a)?;
    b.until("link", "up")?;
    a.until_serves(&b)?;
    let config = format!("CONFIG 2/1/2/{rule}/block/{},{}", a.id, b.id);
    wait::until("the config is prepared", PATIENCE, || {
        Ok((a.tell("PREPARE", &config)?.text()? == "PREPARED").then_some(()))
    })?;
    a.expect("COMMIT", &config, "OK")?;
    Ok(Pair { primary: a.server, replica: b.server, then: &[] })
}

fn valkey(program: &Path) -> Result<Pair> {
    let primary = process::start(program, "valkey", &[])?;
    let of = format!("127.0.0.1 {}", primary.port);
    let of: Vec<_> = ["--replicaof"].into_iter().chain(of.split(' ')).collect();
    let replica = on_core(1, || Server::start_program(program, "valkey-replica", &of))?;
    wait::until("the replica's link is up", PATIENCE, || {
        Ok((replica.info("master_link_status")? == "up").then_some(()))
    })?;
    Ok(Pair { primary, replica, then: &["WAIT", "1", "0"] })
}

impl Pair {
    /// How many SETs the primary has run.
    fn writes(&self) -> Result<f64> {
        let text = self.primary.info("cmdstat_set")?;
        let calls = text.strip_prefix("calls=").and_then(|rest| rest.split(',').next());
        Ok(calls.context("no calls in cmdstat_set")?.parse()?)
    }

    /// The primary's µs per write under load.
    fn cost(&self, peer: &Peer, depth: u32) -> Result<f64> {
        let writes: u32 = if depth == 1 { 100_000 } else { 600_000 };
        let value = "x".repeat(VALUE_BYTES as usize);
        let mut what = vec!["SET", "key:__rand_int__", &value];
        if !self.then.is_empty() {
            what.push(";");
            what.extend(self.then);
        }
        self.primary.client()?.call(&["SET", "key", "value"])?;
        let (before, done) = (process::processor_us(&self.primary)?, self.writes()?);
        let options = [("-r", KEYS), ("-P", depth), ("-n", writes)];
        process::load(peer, &self.primary, &options, &what)?;
        Ok((process::processor_us(&self.primary)? - before) / (self.writes()? - done))
    }

    /// The times that writes took, one after the other, in µs.
    fn writing(&self) -> Result<Vec<f64>> {
        let value = "x".repeat(VALUE_BYTES as usize);
        let mut client = self.primary.client()?;
        times(|index| {
            client.send(&["SET", &format!("key:{index}"), &value])?;
            if !self.then.is_empty() {
                client.send(self.then)?;
                ensure!(client.receive()? == Value::Text("OK".into()));
            }
            let last = client.receive()?;
            ensure!(last == Value::Text("OK".into()) || last == Value::Int(1), "{last:?}");
            Ok(())
        })
    }
}

fn times(mut what: impl FnMut(usize) -> Result<()>) -> Result<Vec<f64>> {
    let timed = (0..WRITES).map(|index| {
        let begun = Instant::now();
        what(index)?;
        Ok(begun.elapsed().as_secs_f64() * 1e6)
    });
    timed.collect()
}

fn costs(plan: &Plan, peer: &Peer, pairs: &[Pair; 3], found: &mut Found) -> Result<()> {
    let mut rows = Vec::new();
    for depth in DEPTHS {
        let (mut to_async, mut to_valkey) = (Pairs::default(), Pairs::default());
        for run in 0..plan.runs {
            // Whoever goes first in one run goes last in the next.
            let mut costs = [0.0; 3];
            let turn = |at: usize| if run % 2 == 0 { at } else { 2 - at };
            for at in (0..3).map(turn) {
                costs[at] = pairs[at].cost(peer, *depth)?;
            }
            to_async.push(costs[1], costs[0]);
            to_valkey.push(costs[1], costs[2]);
        }
        let ((replicated, plain), (_, valkey)) = (to_async.medians(), to_valkey.medians());
        let (ratio, spread) = (to_async.ratio(), to_async.spread());
        eprintln!(
            "depth {depth:2}: async {plain:.3} µs, replicated {replicated:.3}, ratio {ratio:.2} ± \
             {spread:.2}; valkey with WAIT 1 {valkey:.3}"
        );
        found.bar(&format!("the cost at depth {depth}"), ratio, COST_BAR);
        rows.push(json!({
            "depth": depth,
            "async_us": round(plain),
            "replicated_us": round(replicated),
            "valkey_wait_us": round(valkey),
            "ratio_cpu": round(ratio),
            "spread": round(spread),
            "bar": COST_BAR,
        }));
    }
    found.put("rows", rows);
    Ok(())
}

/// One connection that waits for each answer. The PING goes from the primary's core to the replica,
/// as what a write waits for does.
fn latencies(pairs: &[Pair; 3], found: &mut Found) -> Result<()> {
    let mut all: [Vec<f64>; 4] = Default::default();
    let mut pinger = Client::connect(("127.0.0.1", pairs[1].replica.port))?;
    for _ in 0..ROUNDS {
        for (pair, times) in pairs.iter().zip(&mut all) {
            times.extend(on_core(1, || pair.writing())?);
        }
        all[3].extend(on_core(0, || {
            times(|_| {
                ensure!(pinger.say("PING")? == Value::Text("PONG".into()));
                Ok(())
            })
        })?);
    }
    for times in &mut all {
        times.sort_by(f64::total_cmp);
    }
    let [plain, replicated, valkey, ping] = all.each_ref().map(|times| quantile(times, 0.5));
    let [plain99, replicated99, valkey99, ping99] =
        all.each_ref().map(|times| quantile(times, 0.99));
    let ratio = (replicated - plain) / ping;
    eprintln!(
        "latency p50: async {plain:.1} µs, replicated {replicated:.1}, PING to the replica \
         {ping:.1}, added {ratio:.2} PINGs; valkey with WAIT 1 {valkey:.1}"
    );
    found.bar("the added latency in PINGs", ratio, LATENCY_BAR);
    let both = |p50: f64, p99: f64| json!({"p50": round(p50), "p99": round(p99)});
    let latency = json!({
        "async_us": both(plain, plain99),
        "replicated_us": both(replicated, replicated99),
        "valkey_wait_us": both(valkey, valkey99),
        "ping_us": both(ping, ping99),
        "added_p50_us": round(replicated - plain),
        "added_in_pings": round(ratio),
        "bar": LATENCY_BAR,
    });
    found.put("latency", latency);
    Ok(())
}
