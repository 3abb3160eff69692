//! One command of every family, and memory per key.

use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use super::{CONNECTIONS, Found, Pairs, Peer, VALUE_BYTES, process, round};
use crate::programs;
use crate::server::Server;

/// The most that a command may cost us, in Valkey's cost of it.
const BAR: f64 = 1.20;
/// The most that a key may take of our memory, in what it takes of Valkey's.
const MEMORY_BAR: f64 = 1.0;
/// One of each family at least.
const COMMANDS: &[&str] =
    &["SET", "GET", "INCR", "LPUSH", "HSET", "SADD", "ZADD", "XADD", "EVAL", "EVALSHA", "FCALL"];
const DEPTHS: &[u32] = &[1, 16];
/// From how many keys the generator picks.
const KEYS: u32 = 100_000;
/// How many keys the measure of memory makes.
const MEMORY_KEYS: u32 = 1_000_000;
/// A script that does one small thing, and a function that does the same.
const SCRIPT: &str = "return redis.call('SET', KEYS[1], ARGV[1])";
const LIBRARY: &str = "#!lua name=bench\nredis.register_function('set', function(keys, args) \
     return redis.call('SET', keys[1], args[1]) end)";

#[derive(Debug, clap::Args)]
pub struct Plan {
    /// How often each row is measured on each server.
    #[arg(long, default_value_t = 5)]
    pub runs: u32,
    /// Only these commands, for example `SET,GET`.
    #[arg(long, value_delimiter = ',')]
    pub commands: Vec<String>,
    /// Only these pipeline depths.
    #[arg(long, value_delimiter = ',')]
    pub depths: Vec<u32>,
}

/// One row's measures: µs per command, ours and Valkey's.
#[derive(Debug)]
struct Row {
    command: String,
    depth: u32,
    costs: Pairs,
}

pub fn run(plan: &Plan, peer: &Peer) -> Result<Found> {
    let ours = process::start(&programs::server(), "ours", &[])?;
    let theirs = process::start(&peer.server, "valkey", &[])?;
    let mut found = Found::default();
    if plan.commands.is_empty() {
        let (one, other) = (bytes_per_key(&ours, peer)?, bytes_per_key(&theirs, peer)?);
        eprintln!("bytes per key: {one:.1}, valkey {other:.1}, ratio {:.2}", one / other);
        found.bar("memory per key", one / other, MEMORY_BAR);
        let memory = json!({
            "keys": MEMORY_KEYS,
            "key_bytes": 13,
            "value_bytes": VALUE_BYTES,
            "ours": round(one),
            "valkey": round(other),
            "ratio": round(one / other),
            "bar": MEMORY_BAR,
        });
        found.put("memory", memory);
    }
    let mut rows = rows(plan);
    let begun = Instant::now();
    for run in 0..plan.runs {
        for row in &mut rows {
            let cost = |server| cost(server, peer, &row.command, row.depth);
            // Whoever goes first in one run goes second in the next.
            let (one, two) = if run % 2 == 0 {
                (cost(&ours)?, cost(&theirs)?)
            } else {
                let two = cost(&theirs)?;
                (cost(&ours)?, two)
            };
            row.costs.push(one, two);
        }
        eprintln!("run {} of {}: {:.0} s", run + 1, plan.runs, begun.elapsed().as_secs_f64());
    }
    for row in &rows {
        let (ours, valkey) = row.costs.medians();
        let (ratio, spread) = (row.costs.ratio(), row.costs.spread());
        let name = format!("{} at depth {}", row.command, row.depth);
        eprintln!("{name:20} {ours:8.3} µs, valkey {valkey:8.3}, ratio {ratio:.2} ± {spread:.2}");
        found.bar(&name, ratio, BAR);
    }
    found.put("bar", BAR);
    found.put("rows", rows.iter().map(Row::json).collect::<Vec<_>>());
    Ok(found)
}

fn rows(plan: &Plan) -> Vec<Row> {
    let all: Vec<_> = COMMANDS.iter().map(|command| (*command).to_owned()).collect();
    let commands = if plan.commands.is_empty() { &all } else { &plan.commands };
    let depths = if plan.depths.is_empty() { DEPTHS } else { &plan.depths };
    let row = |command: &String, depth: &u32| Row {
        command: command.to_uppercase(),
        depth: *depth,
        costs: Pairs::default(),
    };
    commands
        .iter()
        .flat_map(|command| depths.iter().map(move |depth| row(command, depth)))
        .collect()
}

impl Row {
    fn json(&self) -> Value {
        let (ours, valkey) = self.costs.medians();
        json!({
            "command": self.command,
            "depth": self.depth,
            "value_bytes": VALUE_BYTES,
            "connections": CONNECTIONS,
            "setup": "plain",
            "ratio_cpu": round(self.costs.ratio()),
            "spread": round(self.costs.spread()),
            "ours_us": round(ours),
            "valkey_us": round(valkey),
        })
    }
}

/// Runs the load of one row and gives the server's µs per command.
fn cost(server: &Server, peer: &Peer, command: &str, depth: u32) -> Result<f64> {
    let mut client = server.client()?;
    client.say("FLUSHALL")?;
    if command == "GET" {
        send(server, peer, "SET", 16, KEYS * 2)?;
    }
    // About a second of the server's time, whatever a command costs.
    let requests = if depth == 1 { 120_000 } else { 1_000_000 };
    let before = process::processor_us(server)?;
    send(server, peer, command, depth, requests)?;
    Ok((process::processor_us(server)? - before) / f64::from(requests))
}

fn send(server: &Server, peer: &Peer, command: &str, depth: u32, requests: u32) -> Result<()> {
    // The generator has words of its own for most commands, and takes any others as they are.
    let value = "x".repeat(VALUE_BYTES as usize);
    let (key, lower) = ("key:__rand_int__", command.to_lowercase());
    let mut client = server.client()?;
    let sha;
    let what = match command {
        "XADD" => vec!["XADD", "stream", "*", "field", &value],
        "EVAL" => vec!["EVAL", SCRIPT, "1", key, &value],
        "EVALSHA" => {
            sha = client.call(&["SCRIPT", "LOAD", SCRIPT])?.text()?;
            vec!["EVALSHA", &sha, "1", key, &value]
        }
        "FCALL" => {
            client.call(&["FUNCTION", "LOAD", "REPLACE", LIBRARY])?.text()?;
            vec!["FCALL", "set", "1", key, &value]
        }
        _ => vec!["-t", &lower],
    };
    process::load(peer, server, &[("-r", KEYS), ("-P", depth), ("-n", requests)], &what)
}

/// What a key of 13 bytes with a small value takes of the process's memory. For a server that has
/// held nothing yet.
fn bytes_per_key(server: &Server, peer: &Peer) -> Result<f64> {
    let before = server.memory("VmRSS")?;
    let value = "x".repeat(VALUE_BYTES as usize);
    let options = [("-P", 16), ("-r", MEMORY_KEYS), ("-n", MEMORY_KEYS)];
    let what = ["--sequential", "SET", "k__rand_int__", &value];
    process::load(peer, server, &options, &what)?;
    let after = server.memory("VmRSS")?;
    server.client()?.say("FLUSHALL")?;
    Ok((after as f64 - before as f64) / f64::from(MEMORY_KEYS))
}
