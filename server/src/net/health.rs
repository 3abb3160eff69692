//! HTTP for probes and metrics: `/livez`, `/readyz`, `/metrics` on `health-port`.
//!
//! Answered by threads of their own from what the executor published last, so that a busy
//! executor never looks dead. Liveness only says that the process answers: it does not fail while
//! loading, paused or handing over.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How long a request may take to arrive, all of it, or its answer to leave.
const IO_BOUND: Duration = Duration::from_secs(2);
/// Peers that are answered at once.
const AT_ONCE_MAX: usize = 64;
/// A thread's stack: a request and its answer take a few kilobytes.
const STACK_BYTES: usize = 256 * 1024;

/// What the executor published last.
#[derive(Clone, Debug)]
pub struct Health {
    /// Whether clients should be led here, or why not.
    pub ready: Result<(), String>,
    pub metrics: Metrics,
}

impl Default for Health {
    fn default() -> Self {
        Self { ready: Err("starting".into()), metrics: Metrics::default() }
    }
}

#[derive(Clone, Debug, Default)]
#[allow(clippy::struct_excessive_bools)] // each is a metric of its own
pub struct Metrics {
    pub uptime: Duration,
    pub connected_clients: u64,
    pub commands: u64,
    pub connections: u64,
    pub memory_bytes: u64,
    pub keys: u64,
    pub primary: bool,
    /// A planned switch holds writes now.
    pub paused: bool,
    /// The epoch was given away and the answer has not come.
    pub limbo: bool,
    pub fenced: bool,
    pub draining: bool,
    pub relayed_clients: u64,
    pub last_pause: Duration,
}

/// Starts to answer on these listeners.
pub fn serve(listeners: Vec<TcpListener>, health: &Arc<Mutex<Health>>) -> std::io::Result<()> {
    for listener in listeners {
        let health = Arc::clone(health);
        std::thread::Builder::new().name("health".into()).spawn(move || {
            for stream in listener.incoming() {
                match stream {
                    Ok(stream) => answer_apart(stream, &health),
                    // Out of files, perhaps: give others the time to close some.
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        })?;
    }
    Ok(())
}

/// Each peer is answered by a thread of its own, so that one which says nothing keeps nobody waiting;
/// of more than so many at once the last is answered here, when all others may have been.
fn answer_apart(stream: TcpStream, health: &Arc<Mutex<Health>>) {
    let own = Arc::clone(health);
    if Arc::strong_count(health) > AT_ONCE_MAX {
        // A peer that breaks off its own probe needs no answer.
        return drop(answer(stream, health));
    }
    let thread = std::thread::Builder::new().name("probe".into()).stack_size(STACK_BYTES);
    // Without a thread the peer asks again.
    drop(thread.spawn(move || drop(answer(stream, &own))));
}

fn answer(mut stream: TcpStream, health: &Mutex<Health>) -> std::io::Result<()> {
    stream.set_write_timeout(Some(IO_BOUND))?;
    let mut request = Vec::new();
    let mut chunk = [0; 2048];
    let begun = Instant::now();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 * 1024 {
        // Byte by byte it would hold up the probes that wait behind it for hours.
        let left = IO_BOUND.saturating_sub(begun.elapsed());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        if left.is_zero() {
            return Ok(());
        }
        match stream.read(&mut chunk)? {
            0 => break,
            count => request.extend_from_slice(&chunk[..count]),
        }
    }
    let health = health.lock().map(|health| health.clone()).unwrap_or_default();
    let (status, body) = respond(&request, &health);
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

fn respond(request: &[u8], health: &Health) -> (&'static str, String) {
    let line = String::from_utf8_lossy(request);
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    if method != "GET" && method != "HEAD" {
        return ("405 Method Not Allowed", "only GET\n".into());
    }
    match (path.split('?').next().unwrap_or(""), &health.ready) {
        ("/livez", _) | ("/readyz", Ok(())) => ("200 OK", "ok\n".into()),
        ("/readyz", Err(why)) => ("503 Service Unavailable", format!("{why}\n")),
        ("/metrics", _) => ("200 OK", metrics(health)),
        _ => ("404 Not Found", "not found\n".into()),
    }
}

fn metrics(health: &Health) -> String {
    let metrics = &health.metrics;
    let rows = [
        ("redisha_up", "gauge", 1),
        ("redisha_ready", "gauge", u64::from(health.ready.is_ok())),
        ("redisha_primary", "gauge", u64::from(metrics.primary)),
        ("redisha_paused", "gauge", u64::from(metrics.paused)),
        ("redisha_limbo", "gauge", u64::from(metrics.limbo)),
        ("redisha_fenced", "gauge", u64::from(metrics.fenced)),
        ("redisha_draining", "gauge", u64::from(metrics.draining)),
        ("redisha_relayed_clients", "gauge", metrics.relayed_clients),
        ("redisha_last_pause_microseconds", "gauge", metrics.last_pause.as_micros() as u64),
        ("redisha_uptime_seconds", "gauge", metrics.uptime.as_secs()),
        ("redisha_connected_clients", "gauge", metrics.connected_clients),
        ("redisha_commands_total", "counter", metrics.commands),
        ("redisha_connections_total", "counter", metrics.connections),
        ("redisha_memory_bytes", "gauge", metrics.memory_bytes),
        ("redisha_keys", "gauge", metrics.keys),
    ];
    let mut text = String::new();
    for (name, kind, value) in rows {
        writeln!(text, "# TYPE {name} {kind}\n{name} {value}").expect("a string takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_readiness() {
        let mut health = Health::default();
        let check = |path: &str, health: &Health, status: &str, body: &str| {
            let got = respond(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes(), health);
            assert_eq!((got.0, got.1.starts_with(body)), (status, true), "{path}: {}", got.1);
        };
        check("/livez", &health, "200 OK", "ok");
        check("/readyz", &health, "503 Service Unavailable", "starting");
        health.ready = Ok(());
        check("/readyz?verbose", &health, "200 OK", "ok");
        check("/metrics", &health, "200 OK", "# TYPE redisha_up gauge\nredisha_up 1\n");
        check("/x", &health, "404 Not Found", "");
        assert_eq!(respond(b"POST /livez", &health).0, "405 Method Not Allowed");
    }
}
