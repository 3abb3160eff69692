//! A plain client that goes on at another server when its own has ended the connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::{self, JoinHandle};

use anyhow::{Result, ensure};

pub use crate::linear::record::Connect;
use crate::resp::Client;

/// A client that increments a key without a pause. When its server ends the connection it goes on
/// at the next one, repeating the command that got no answer: a value that is not the next one
/// would be a write lost or done twice.
pub struct Mover {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<AtomicI64>,
    thread: JoinHandle<Result<usize>>,
}

impl Mover {
    /// Begins at the first of the two servers.
    pub fn start(ways: [Arc<Connect>; 2], key: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let acknowledged = Arc::new(AtomicI64::new(0));
        let (told, note) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        let thread = thread::spawn(move || {
            let mut moves = 0;
            let mut client: Client = ways[0]()?;
            while !told.load(Ordering::Relaxed) {
                match client.call(&["INCR", &key]) {
                    Ok(answer) => {
                        let value = answer.int()?;
                        let next = note.fetch_add(1, Ordering::Relaxed) + 1;
                        ensure!(value == next, "{key}: {value}, not {next}");
                    }
                    Err(error) => {
                        ensure!(is_end(&error), "{key}: {error:#}");
                        moves += 1;
                        client = ways[1]()?;
                    }
                }
            }
            Ok(moves)
        });
        Self { stop, acknowledged, thread }
    }

    /// How many writes were acknowledged so far.
    pub fn acknowledged(&self) -> i64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Whether it has ended by itself, which is a failure that [`Self::end`] tells.
    pub fn is_over(&self) -> bool {
        self.thread.is_finished()
    }

    /// Acknowledged writes and connections that were ended.
    pub fn end(self) -> Result<(i64, usize)> {
        self.stop.store(true, Ordering::Relaxed);
        let moves = self.thread.join().map_err(|_| anyhow::anyhow!("the client panicked"))??;
        Ok((self.acknowledged.load(Ordering::Relaxed), moves))
    }
}

/// Whether the connection was ended in order: a reset would be none.
fn is_end(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    text.contains("the server ended the connection") || text.contains("Broken pipe")
}
