//! Waiting for something to become true, with a deadline and never a mere sleep.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Asks until the answer is `Some`, and says what it waited for when `limit` has passed.
///
/// An error of `ask` counts as not yet: what is asked may not be there so far. The last one is told
/// at the deadline.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let answer = ask();
        if let Ok(Some(value)) = answer {
            return Ok(value);
        }
        if Instant::now() > deadline {
            let seconds = limit.as_secs();
            match answer {
                Err(error) => bail!("{what}: not within {seconds} s: {error:#}"),
                Ok(_) => bail!("{what}: not within {seconds} s"),
            }
        }
        thread::sleep(Duration::from_millis(100));
    }
}
