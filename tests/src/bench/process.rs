//! A server's process as the system sees it, and the generator that loads it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::{CONNECTIONS, Peer, VALUE_BYTES};
use crate::server::Server;

/// The kernel tells processor time in these, on every architecture that Rust and Linux share.
const TICKS_PER_SECOND: f64 = 100.0;

/// Does `what` on one core; what it starts stays there.
pub fn on_core<T>(core: usize, what: impl FnOnce() -> Result<T>) -> Result<T> {
    let before = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set(core);
    sched_setaffinity(None, &one).with_context(|| format!("move to core {core}"))?;
    let done = what();
    sched_setaffinity(None, &before)?;
    done
}

/// Starts a server without persistence on core 0.
pub fn start(program: &Path, name: &str, directives: &[&str]) -> Result<Server> {
    on_core(0, || Server::start_program(program, name, directives))
}

/// Processor time used so far by all threads of a server, in µs.
pub fn processor_us(server: &Server) -> Result<f64> {
    let path = format!("/proc/{}/stat", server.pid());
    let stat = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
    let after = stat.rsplit_once(')').context("no name in stat")?.1;
    // utime and stime are the 14th and 15th field; the two before the name's end are gone.
    let mut fields = after.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (fields.next(), fields.next());
    let ticks = user.context("no utime")?? + system.context("no stime")??;
    Ok(ticks as f64 / TICKS_PER_SECOND * 1e6)
}

/// Runs the generator with these options and what it is to send.
pub fn load(peer: &Peer, server: &Server, options: &[(&str, u32)], what: &[&str]) -> Result<()> {
    let mut load = Command::new(&peer.benchmark);
    load.args(["-q", "-h", "127.0.0.1", "-p", &server.port.to_string()]);
    load.args(["-c", &CONNECTIONS.to_string(), "-d", &VALUE_BYTES.to_string()]);
    for (option, value) in options {
        load.args([option, &*value.to_string()]);
    }
    load.args(what).stdin(Stdio::null());
    let output = on_core(1, || load.output().context("start the load generator"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    // It reports errors of the server in its output, and goes on.
    if !output.status.success() || said.contains("Error") || !said.contains("requests per second") {
        bail!("{what:?}: {} {}", said.trim(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
