//! A primary whose machine is lost closes nothing: its replicas' links stayed `up` for
//! `repl-timeout` (a minute), and the operator, which believes replicas that hear their primary,
//! began no election for that long.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::members::cluster;

#[test]
fn a_silent_primary_is_no_link_that_is_up() -> Result<()> {
    let (a, mut others) = cluster(1, &[])?;
    let b = others.pop().context("b")?;
    b.until("link", "up")?;
    a.server.signal("STOP");
    b.until("link", "down")?;
    a.server.signal("CONT");
    b.until("link", "up")
}

#[test]
fn an_idle_primary_is_heard_each_second() -> Result<()> {
    let (a, _others) = cluster(1, &[])?;
    let offset = || -> Result<u64> { Ok(a.status("offset")?.parse()?) };
    let (start, begun) = (offset()?, Instant::now());
    // Two keep-alives; at the usual period of ten seconds not even one would come in time.
    tests::wait::until("two signs of life", Duration::from_secs(9), || {
        Ok((offset()? >= start + 28).then_some(()))
    })?;
    ensure!(begun.elapsed() < Duration::from_secs(9));
    Ok(())
}
