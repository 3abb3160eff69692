//! A server under measure: pinned to a core, on a port of its own, ended when dropped.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{CONNECTIONS, VALUE_BYTES};
use crate::paths;

/// The kernel tells processor time in these, on every architecture that Rust and Linux share.
const TICKS_PER_SECOND: f64 = 100.0;
/// From how many keys the generator picks.
const KEYS: u32 = 100_000;
/// How many keys the measure of memory makes.
pub const MEMORY_KEYS: u32 = 1_000_000;
/// A script that does one small thing.
const SCRIPT: &str = "return redis.call('SET', KEYS[1], ARGV[1])";
/// How long a server may take to answer at first.
const START: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub struct Server {
    name: &'static str,
    child: Child,
    port: u16,
    benchmark: PathBuf,
}

impl Server {
    /// Starts `program` on core 0 without persistence; `benchmark` is the generator to load it with.
    pub fn start(name: &'static str, program: &Path, benchmark: &Path) -> Result<Self> {
        let dir = paths::target().join("bench").join(name);
        fs::create_dir_all(&dir).with_context(|| format!("make {}", dir.display()))?;
        let port = free_port()?;
        let child = Command::new("taskset")
            .args(["--cpu-list", "0"])
            .arg(program)
            .args(["--port", &port.to_string(), "--save", "", "--dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let server = Self { name, child, port, benchmark: benchmark.to_owned() };
        let deadline = Instant::now() + START;
        while let Err(error) = server.ask("PING") {
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("{name} does not answer"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Runs the load of one row and gives the server's µs per command.
    pub fn cost(&self, command: &str, depth: u32) -> Result<f64> {
        self.ask("FLUSHALL")?;
        if command == "GET" {
            self.load("SET", 16, KEYS * 2)?;
        }
        // About a second of the server's time, whatever a command costs.
        let requests = if depth == 1 { 120_000 } else { 1_000_000 };
        let before = self.ticks()?;
        self.load(command, depth, requests)?;
        let ticks = self.ticks()? - before;
        Ok(ticks as f64 / TICKS_PER_SECOND * 1e6 / f64::from(requests))
    }

    fn load(&self, command: &str, depth: u32, requests: u32) -> Result<()> {
        let mut load = Command::new("taskset");
        load.args(["--cpu-list", "1"]).arg(&self.benchmark).arg("-q");
        load.args(["-h", "127.0.0.1"]);
        let options = [
            ("-p", u32::from(self.port)),
            ("-c", CONNECTIONS),
            ("-d", VALUE_BYTES),
            ("-r", KEYS),
            ("-P", depth),
            ("-n", requests),
        ];
        for (option, value) in options {
            load.args([option, &value.to_string()]);
        }
        // The generator has words of its own for most commands, and takes any others as they are.
        let value = "x".repeat(VALUE_BYTES as usize);
        match command {
            "XADD" => load.args(["XADD", "stream", "*", "field", &value]),
            "EVAL" => load.args(["EVAL", SCRIPT, "1", "key:__rand_int__", &value]),
            _ => load.args(["-t", &command.to_lowercase()]),
        };
        self.run_load(&mut load, command)
    }

    /// What a key of 13 bytes with a small value takes of the process's memory. For a server that
    /// has held nothing yet.
    pub fn bytes_per_key(&self) -> Result<f64> {
        let before = self.resident_bytes()?;
        let mut load = Command::new(&self.benchmark);
        load.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string(), "--sequential"]);
        let keys = MEMORY_KEYS.to_string();
        load.args(["-P", "16", "-r", &keys, "-n", &keys]);
        load.args(["SET", "k__rand_int__", &"x".repeat(VALUE_BYTES as usize)]);
        self.run_load(&mut load, "SET")?;
        let after = self.resident_bytes()?;
        self.ask("FLUSHALL")?;
        Ok((after as f64 - before as f64) / f64::from(MEMORY_KEYS))
    }

    fn resident_bytes(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kb = line.and_then(|line| line.split_whitespace().next()).context("no VmRSS")?;
        Ok(kb.parse::<u64>()? * 1024)
    }

    fn run_load(&self, load: &mut Command, command: &str) -> Result<()> {
        let output = load.stdin(Stdio::null()).output().context("start the load generator")?;
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        // It reports errors of the server in its output, and goes on.
        if !output.status.success()
            || said.contains("Error")
            || !said.contains("requests per second")
        {
            bail!("{command} on {}: {} {}", self.name, said.trim(), errors.trim());
        }
        Ok(())
    }

    /// Processor time used so far by all threads of the server.
    fn ticks(&self) -> Result<u64> {
        let path = format!("/proc/{}/stat", self.child.id());
        let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let after = stat.rsplit_once(')').context("no name in stat")?.1;
        // utime and stime are the 14th and 15th field; the two before the name's end are gone.
        let mut fields = after.split_whitespace().skip(11).map(str::parse::<u64>);
        let (user, system) = (fields.next(), fields.next());
        Ok(user.context("no utime")?? + system.context("no stime")??)
    }

    /// Sends a command without arguments and expects a simple answer.
    fn ask(&self, command: &str) -> Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(START))?;
        stream.write_all(format!("{command}\r\n").as_bytes())?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        if !line.starts_with('+') {
            bail!("{command} on {}: {}", self.name, line.trim());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing of it is worth keeping.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("ask for a free port")?;
    Ok(listener.local_addr()?.port())
}
