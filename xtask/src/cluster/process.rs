//! Processes that outlive this command: started in a namespace, recorded, ended by their record.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::weights::Group;
use super::{State, network};

/// How long a killed process may take to vanish.
const VANISH: Duration = Duration::from_secs(10);

/// Starts `program` in the network namespace `space`; its output goes to `logs/NAME.log`.
pub fn start(
    state: &State,
    name: &str,
    space: &str,
    program: &Path,
    args: &[String],
) -> Result<()> {
    let log = state.data(&format!("logs/{name}.log"));
    let log = File::create(&log).with_context(|| format!("make {}", log.display()))?;
    // nsenter becomes the program, so the child's id is the program's. `ip netns exec` would
    // remount /sys and lose the cgroups.
    let child = Command::new("nsenter")
        .arg(format!("--net={}", network::path(space)))
        .arg(program)
        .args(args)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share the log")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let born = born(child.id()).with_context(|| format!("{name} ended at once"))?;
    state.write(&format!("pids/{name}"), &format!("{} {born}\n", child.id()))?;
    Group::System.take(child.id())
}

/// Kills every recorded process that is still the one recorded, and waits until all are gone.
pub fn end_recorded(state: &State) -> Result<()> {
    let Ok(entries) = fs::read_dir(state.data("pids")) else {
        return Ok(());
    };
    let mut pids = Vec::new();
    for entry in entries {
        let text = fs::read_to_string(entry?.path())?;
        let mut words = text.split_whitespace().map(str::parse::<u64>);
        if let (Some(Ok(pid)), Some(Ok(recorded))) = (words.next(), words.next()) {
            // An id may have been given to another process since.
            if born(pid as u32) == Some(recorded) {
                pids.push(pid as u32);
            }
        }
    }
    kill_all(&pids)
}

/// Kills the processes and waits until they are gone.
pub fn kill_all(pids: &[u32]) -> Result<()> {
    if pids.is_empty() {
        return Ok(());
    }
    let before: Vec<_> = pids.iter().map(|pid| (*pid, born(*pid))).collect();
    let words = pids.iter().map(ToString::to_string);
    // Those that ended meanwhile make kill complain; what counts is that none is left.
    let _ = Command::new("kill").arg("-KILL").args(words).stderr(Stdio::null()).status();
    let deadline = Instant::now() + VANISH;
    while before.iter().any(|(pid, born_then)| born_then.is_some() && born(*pid) == *born_then) {
        if Instant::now() > deadline {
            bail!("processes {pids:?} do not end");
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// When a process was started, in clock ticks since boot; none for a dead or unknown one.
pub fn born(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; state is the field after it, start the 20th.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    if fields.next() == Some("Z") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Every process with its parent's id and its arguments.
pub fn table() -> Vec<(u32, u32, String)> {
    let mut table = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let parent = after.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        let args = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let args = String::from_utf8_lossy(&args).replace('\0', " ");
        table.push((pid, parent.unwrap_or(0), args));
    }
    table
}
