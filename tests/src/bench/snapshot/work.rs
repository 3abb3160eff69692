//! The three uses of a snapshot, each begun and waited for from outside.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;

use super::Progress;
use crate::server::Server;
use crate::wait;

/// Longer than any of them.
const PATIENCE: Duration = Duration::from_mins(10);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);
/// Digits of the mark that ends a snapshot on the wire.
const MARK_BYTES: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// `BGSAVE`.
    Save,
    /// `BGREWRITEAOF`.
    Rewrite,
    /// The full resync of a replica.
    Resync,
}

impl Work {
    /// Waits until nothing of it is under way.
    pub fn rests(self, server: &Server) -> Result<()> {
        wait::until("no snapshot is being made", PATIENCE, || {
            Ok((!self.is_running(server)?).then_some(()))
        })
    }

    fn is_running(self, server: &Server) -> Result<bool> {
        let line = match self {
            Self::Save | Self::Resync => "rdb_bgsave_in_progress",
            Self::Rewrite => "aof_rewrite_in_progress",
        };
        Ok(server.info(line)? == "1")
    }

    /// Does it and returns when it is done: how long it took, and the largest size of the server's
    /// processes meanwhile.
    pub fn run(self, server: &Server, name: &str) -> Result<(f64, u64)> {
        let begun = Instant::now();
        let mut peak = 0;
        let mut progress = Progress::default();
        let mut look = || {
            let bytes = server.memory("VmRSS")?;
            peak = peak.max(bytes);
            thread::sleep(BETWEEN_LOOKS);
            ensure!(begun.elapsed() < PATIENCE, "the snapshot does not end");
            progress.tell(|| {
                let seconds = begun.elapsed().as_secs();
                Ok(format!("{name}: a snapshot since {seconds} s, {:.2} GB", bytes as f64 / 1e9))
            })
        };
        let copied = match self {
            Self::Save | Self::Rewrite => {
                let save = self == Self::Save;
                let (command, status, copied) = if save {
                    ("BGSAVE", "rdb_last_bgsave_status", "rdb_last_cow_size")
                } else {
                    ("BGREWRITEAOF", "aof_last_bgrewrite_status", "aof_last_cow_size")
                };
                server.client()?.say(command)?.text()?;
                let mut looks = 0;
                while looks % 10 != 0 || looks == 0 || self.is_running(server)? {
                    look()?;
                    looks += 1;
                }
                ensure!(server.info(status)? == "ok", "{command} failed");
                copied
            }
            Self::Resync => {
                thread::scope(|scope| {
                    let replica = scope.spawn(|| take_snapshot(server.port));
                    while !replica.is_finished() {
                        look()?;
                    }
                    replica.join().expect("it does not panic")
                })?;
                "rdb_last_cow_size"
            }
        };
        let seconds = begun.elapsed().as_secs_f64();
        // What a child copied counts on top; a server without one says 0.
        let copied = server.info(copied).map_or(Ok(0), |text| text.parse::<u64>())?;
        Ok((seconds, peak + copied))
    }
}

/// Asks for the stream as a replica does, reads the snapshot to its end, and goes.
fn take_snapshot(port: u16) -> Result<()> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.write_all(b"REPLCONF capa eof capa psync2\r\nPSYNC ? -1\r\n")?;
    let mut stream = BufReader::with_capacity(256 * 1024, stream);
    let mut line = String::new();
    let mark = loop {
        line.clear();
        ensure!(stream.read_line(&mut line)? > 0, "the connection has ended");
        ensure!(!line.starts_with('-'), "{line}");
        if let Some(mark) = line.strip_prefix("$EOF:") {
            break mark.trim_end().as_bytes().to_vec();
        }
    };
    ensure!(mark.len() == MARK_BYTES, "a mark of {} bytes", mark.len());
    let mut tail = Vec::new();
    loop {
        let part = stream.fill_buf().context("read the snapshot")?;
        ensure!(!part.is_empty(), "the connection has ended within the snapshot");
        // The mark is the last thing that is sent before the stream, but may be cut.
        tail.extend_from_slice(&part[part.len().saturating_sub(2 * MARK_BYTES)..]);
        let over = tail.windows(MARK_BYTES).any(|window| window == mark);
        let count = part.len();
        stream.consume(count);
        if over {
            return Ok(());
        }
        tail.drain(..tail.len().saturating_sub(MARK_BYTES));
    }
}
