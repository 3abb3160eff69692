//! What other commands do to a running environment, through the files in its folder.

use std::time::Duration;

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use switchover::{LastSwitchover, Status};
use tokio::time::{Instant, sleep};

use super::arbiter::FileArbiter;
use super::directory::{Labels, Wish};
use super::layout::{Layout, random_hex};
use crate::executor::client::Client;
use crate::executor::status_of;

/// A switch that was asked for must be answered by then.
const ANSWER_WITHIN: Duration = Duration::from_mins(1);

/// Writes a request for a switch and returns its id.
pub fn request(layout: &Layout, to: Option<&str>) -> anyhow::Result<String> {
    if let Some(name) = to
        && !Layout::names().iter().any(|known| known == name)
    {
        bail!("there is no server {name}: the servers are {}", Layout::names().join(", "));
    }
    let wish = Wish { id: random_hex(6)?, to: to.map(str::to_owned) };
    wish.write(layout).context("cannot write the request")?;
    Ok(wish.id)
}

/// Waits until the request with this id is answered.
pub async fn answer(layout: &Layout, id: &str) -> anyhow::Result<LastSwitchover> {
    let store = FileArbiter::new(layout, &layout.uid()?);
    let until = Instant::now() + ANSWER_WITHIN;
    loop {
        if let Some(last) = store.load()?.last_switchover
            && last.id == id
        {
            return Ok(last);
        }
        if Instant::now() >= until {
            bail!("no answer to the request within {} s", ANSWER_WITHIN.as_secs());
        }
        sleep(Duration::from_millis(5)).await;
    }
}

/// Kills one server outright, the primary if none is named; returns its name.
pub fn kill(layout: &Layout, name: Option<&str>) -> anyhow::Result<String> {
    let name = match name {
        Some(name) => name.to_owned(),
        None => Labels::read(layout).address.context("there is no primary to kill")?,
    };
    let pid = layout.pid(&name).with_context(|| format!("{name} does not run"))?;
    let pid = Pid::from_raw(pid).context("the record of its process is empty")?;
    kill_process(pid, Signal::KILL).with_context(|| format!("cannot kill {name}"))?;
    Ok(name)
}

/// A table of the servers, for people.
pub async fn table(layout: &Layout) -> anyhow::Result<String> {
    let secret = layout.secret()?;
    let labels = Labels::read(layout);
    let mut lines = vec![format!(
        "{:<10} {:<9} {:<7} {:>12} {:<11} {}",
        "NAME", "ROLE", "EPOCH", "OFFSET", "LINK", "ADDRESS"
    )];
    for name in Layout::names() {
        let port = layout.port(&name).unwrap_or_default();
        let status = status_of(&Client::new("127.0.0.1", port, &secret)).await.ok();
        lines.push(row(&name, port, status.as_ref()));
    }
    let led = labels.address.unwrap_or_else(|| "nobody yet".to_owned());
    lines.push(format!("\nThe front door leads to {led}."));
    let arbiter = FileArbiter::new(layout, &layout.uid()?).load()?;
    if let Some(last) = arbiter.last_switchover {
        lines.push(sentence(&last));
    }
    Ok(lines.join("\n"))
}

fn row(name: &str, port: u16, status: Option<&Status>) -> String {
    let Some(status) = status else {
        return format!(
            "{name:<10} {:<9} {:<7} {:>12} {:<11} 127.0.0.1:{port}",
            "-", "-", "-", "-"
        );
    };
    format!(
        "{name:<10} {:<9} {:<7} {:>12} {:<11} 127.0.0.1:{port}",
        status.role.as_str(),
        status.epoch.to_string(),
        status.offset,
        status.link.as_str(),
    )
}

/// The outcome of a switch, for people.
pub fn sentence(last: &LastSwitchover) -> String {
    let LastSwitchover { from, to, reason, pause_ms, why, .. } = last;
    match (last.outcome, pause_ms, why) {
        (switchover::Outcome::Aborted, _, why) => {
            let why = why.as_deref().unwrap_or("no reason was recorded");
            format!("Not switched from {from} to {to} ({reason}): {why}.")
        }
        (_, Some(ms), _) => {
            format!("Switched from {from} to {to} ({reason}); writes waited at most {ms} ms.")
        }
        _ => format!("Switched from {from} to {to} ({reason})."),
    }
}
