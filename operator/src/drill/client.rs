//! One client under load: plain connections with the library's own defaults.
//!
//! Does I/O. Keeps to one command (or one pipeline) at a time, and its account says what every
//! answer was. An error ends the connection, as a careful program would do, and is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{Client, RedisError, pipe};
use tokio::time::sleep;

use super::ledger::Ledger;

/// How many INCRs and APPENDs of each a pipeline holds.
const BATCH: usize = 8;

/// What all clients and the drill itself share.
#[derive(Debug, Default)]
pub struct Shared {
    pub stop: AtomicBool,
    pub errors: AtomicU64,
    /// The longest wait for an answer since the drill last took it, in microseconds.
    pub longest_us: AtomicU64,
}

/// One client and its account.
#[derive(Debug)]
pub struct Writer {
    client: Client,
    pub counter: String,
    pub log: String,
    pipelined: bool,
    shared: Arc<Shared>,
    pub ledger: Ledger,
    /// The first error's text, for the report.
    pub first_error: Option<String>,
}

impl Writer {
    /// The client called `index` of the drill called `drill`, whose keys nobody else has.
    pub fn new(client: Client, drill: &str, index: usize, shared: Arc<Shared>) -> Self {
        Self {
            client,
            counter: format!("redisha-drill:{drill}:{index}:counter"),
            log: format!("redisha-drill:{drill}:{index}:log"),
            // Every fifth sends batches, so that switches also cut pipelines in the middle.
            pipelined: index % 5 == 4,
            shared,
            ledger: Ledger::default(),
            first_error: None,
        }
    }

    /// Writes until the drill stops; returns itself with its account.
    pub async fn run(mut self) -> Self {
        let mut connection = None;
        // The wait of a client goes on while it reconnects and tries again.
        let mut waiting_since = Instant::now();
        while !self.shared.stop.load(Ordering::Relaxed) {
            let result = match connection.as_mut() {
                Some(connection) => self.round(connection).await,
                None => self.client.get_multiplexed_async_connection().await.map(|made| {
                    connection = Some(made);
                }),
            };
            match result {
                Ok(()) => {
                    let waited_us = waiting_since.elapsed().as_micros() as u64;
                    self.shared.longest_us.fetch_max(waited_us, Ordering::Relaxed);
                    waiting_since = Instant::now();
                }
                Err(error) => {
                    connection = None;
                    self.shared.errors.fetch_add(1, Ordering::Relaxed);
                    self.first_error.get_or_insert_with(|| error.to_string());
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
        self
    }

    async fn round(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        if self.pipelined { self.batch(connection).await } else { self.single(connection).await }
    }

    async fn single(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        match redis::cmd("INCR").arg(&self.counter).query_async::<u64>(connection).await {
            Ok(value) => self.ledger.counted(value),
            Err(error) => {
                self.ledger.uncounted();
                return Err(error);
            }
        }
        let (number, entry) = self.ledger.entry();
        let append = redis::cmd("APPEND").arg(&self.log).arg(entry).to_owned();
        append.query_async::<u64>(connection).await?;
        self.ledger.appended(number);
        Ok(())
    }

    async fn batch(&mut self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut pipeline = pipe();
        let mut numbers = Vec::with_capacity(BATCH);
        for _ in 0..BATCH {
            let (number, entry) = self.ledger.entry();
            numbers.push(number);
            pipeline.cmd("INCR").arg(&self.counter).cmd("APPEND").arg(&self.log).arg(entry);
        }
        match pipeline.query_async::<Vec<u64>>(connection).await {
            Ok(values) => {
                for (pair, number) in values.chunks_exact(2).zip(numbers) {
                    self.ledger.counted(pair[0]);
                    self.ledger.appended(number);
                }
                Ok(())
            }
            Err(error) => {
                (0..BATCH).for_each(|_| self.ledger.uncounted());
                Err(error)
            }
        }
    }
}
