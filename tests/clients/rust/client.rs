//! redis-rs with default settings, writing a ledger of every answer; see ../README.md.
//!
//! The constructor is `ConnectionManager`, the one whose connection outlives its server: a plain
//! `Connection` of this library never reconnects, whatever the server does.

use std::fs::File;
use std::io::{LineWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use redis::AsyncCommands;
use redis::aio::ConnectionManager;
use tokio::signal::unix::{SignalKind, signal};

const BREATH: Duration = Duration::from_millis(2);

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    host: String,
    #[arg(long)]
    port: u16,
    #[arg(long)]
    password: Option<String>,
    #[arg(long)]
    id: String,
    #[arg(long)]
    ledger: PathBuf,
    #[arg(long, default_value_t = 1e9)]
    seconds: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Arguments::parse();
    let mut ledger = LineWriter::new(File::create(&args.ledger)?);
    let mut terminate = signal(SignalKind::terminate())?;
    let login = args.password.as_ref().map(|word| format!(":{word}@")).unwrap_or_default();
    let client = redis::Client::open(format!("redis://{login}{}:{}/", args.host, args.port))?;
    let mut connection = ConnectionManager::new(client).await?;

    let (counter, log) = (format!("c:{}", args.id), format!("log:{}", args.id));
    // Heeded between two operations, so that no outcome stays unknown.
    let stopping = Arc::new(AtomicBool::new(false));
    let stop = Arc::clone(&stopping);
    tokio::spawn(async move {
        terminate.recv().await;
        stop.store(true, Ordering::Relaxed);
    });

    let started = Instant::now();
    let (mut last, mut gap) = (started, Duration::ZERO);
    let mut turn = 0u64;
    while !stopping.load(Ordering::Relaxed) && started.elapsed().as_secs_f64() < args.seconds {
        turn += 1;
        for operation in ["incr", "append"] {
            let answer: Result<u64, _> = if operation == "incr" {
                connection.incr(&counter, 1).await
            } else {
                connection.append(&log, format!("{turn},")).await
            };
            let line = match answer {
                Ok(value) if operation == "incr" => format!("incr {value}"),
                Ok(length) => format!("append {turn} {length}"),
                Err(error) => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    format!("error {operation} {error}").replace('\n', " ")
                }
            };
            gap = gap.max(last.elapsed());
            last = Instant::now();
            writeln!(ledger, "{line}")?;
        }
        tokio::time::sleep(BREATH).await;
    }
    writeln!(ledger, "end {:.1}", gap.as_secs_f64() * 1000.0)?;
    Ok(())
}
