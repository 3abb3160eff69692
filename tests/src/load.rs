//! Stock clients that write all the while, and the account of what they were told.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::Commands;
use rustix::process::{Pid, Signal, kill_process};

use crate::clients::{Clients, Library};
use crate::ledger::{Verdict, judge};
use crate::place::Place;
use crate::resp::Client;
use crate::wait;

/// How long a client may take for its next answers, or to end; far beyond any pause.
const PATIENCE: Duration = Duration::from_mins(1);
/// The longest that writes may be held when nobody ends a pause: its timeout is 2 s, and the rest is for
/// a machine that has other things to do.
const LONGEST_HOLD_MS: f64 = 5000.0;
/// How many clients each library has.
const EACH: usize = 2;

/// What clients connect to.
#[derive(Clone, Debug)]
pub struct Target {
    pub place: Place,
    pub host: String,
    pub port: u16,
    pub password: Option<String>,
}

impl Target {
    /// A plain connection that is logged in; made in the place that the calling thread is in. `patience`
    /// is for the connection and for each answer.
    pub fn connect(&self, patience: Duration) -> Result<Client> {
        let address: SocketAddr = format!("{}:{}", self.host, self.port).parse()?;
        let mut client = Client::connect_within(address, patience)?;
        client.call(&["AUTH", self.password.as_deref().unwrap_or_default()])?.text()?;
        Ok(client)
    }

    /// What a key holds now; empty when there is none.
    pub fn read(&self, keys: &[String]) -> Result<Vec<String>> {
        let login = self.password.as_ref().map(|word| format!(":{word}@")).unwrap_or_default();
        let address = format!("redis://{login}{}:{}/", self.host, self.port);
        self.place.run(|| {
            let client = redis::Client::open(address)?;
            let mut connection = client.get_connection_with_timeout(PATIENCE)?;
            let read = |key| Ok(connection.get::<_, Option<String>>(key)?.unwrap_or_default());
            keys.iter().map(read).collect()
        })
    }
}

/// Running clients.
#[derive(Debug)]
pub struct Load {
    target: Target,
    running: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    library: Library,
    id: String,
    ledger: PathBuf,
    log: PathBuf,
    child: Child,
}

/// What one client was told, judged.
#[derive(Debug)]
pub struct Account {
    pub library: Library,
    pub verdict: Verdict,
}

impl Load {
    /// Starts clients of every library; `name` makes their keys their own. Returns when each has had
    /// answers.
    pub fn start(clients: &Clients, target: &Target, name: &str) -> Result<Self> {
        // The object may outlive this program, and so may the keys of an earlier one.
        let run = std::process::id();
        let folder = std::env::temp_dir().join(format!("redisha-{run}-{name}"));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let mut load = Self { target: target.clone(), running: Vec::new() };
        for library in Library::ALL {
            for number in 0..EACH {
                let id = format!("{run}-{name}-{}-{number}", library.name());
                let ledger = folder.join(format!("{id}.ledger"));
                let log = folder.join(format!("{id}.log"));
                let (program, first) = clients.program(library);
                let mut command = target.place.command(program);
                command.args(first).args(["--host", &target.host, "--id", &id]);
                command.args(["--port", &target.port.to_string()]).arg("--ledger").arg(&ledger);
                if let Some(password) = &target.password {
                    command.args(["--password", password]);
                }
                let out = fs::File::create(&log).context("make a client's log")?;
                command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
                let child = command.spawn().with_context(|| format!("start {id}"))?;
                load.running.push(Running { library, id, ledger, log, child });
            }
        }
        load.more()?;
        Ok(load)
    }

    /// Waits until every client has had some more answers, so that all of them have met whatever
    /// happened before.
    pub fn more(&mut self) -> Result<()> {
        // A line has some ten bytes, so these are about a hundred answers.
        const BYTES: u64 = 1000;
        let wanted: Vec<_> = self.running.iter().map(|one| one.told() + BYTES).collect();
        for (one, wanted) in self.running.iter_mut().zip(wanted) {
            let id = one.id.clone();
            let log = one.log.clone();
            let mut ended = false;
            let waited = wait::until(&format!("answers for {id}"), PATIENCE, || {
                ended = one.child.try_wait()?.is_some();
                Ok((ended || one.told() >= wanted).then_some(()))
            });
            if waited.is_err() || ended {
                let said = fs::read_to_string(&log).unwrap_or_default();
                let told = fs::read_to_string(&one.ledger).unwrap_or_default();
                let last = told.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
                bail!("{id} has no more answers; it said: {}; ledger ends: {last}", said.trim());
            }
        }
        Ok(())
    }

    /// Ends the clients between two operations and judges each.
    pub fn stop(mut self) -> Result<Vec<Account>> {
        for one in &self.running {
            let pid = Pid::from_child(&one.child);
            kill_process(pid, Signal::TERM).with_context(|| format!("end {}", one.id))?;
        }
        let mut accounts = Vec::new();
        for one in &mut self.running {
            let status = wait::until(&format!("the end of {}", one.id), PATIENCE, || {
                Ok(one.child.try_wait()?)
            })?;
            let ledger = fs::read_to_string(&one.ledger).context("read a ledger")?;
            let keys = [format!("c:{}", one.id), format!("log:{}", one.id)];
            // Only what clients were told is judged. When the API server was away, Kubernetes may call a
            // node lost on its return, and the Service leads nowhere until the node has reported.
            let values =
                wait::until("the final values", PATIENCE, || self.target.read(&keys).map(Some))?;
            let counter = values[0].parse().unwrap_or(0);
            let mut verdict = judge(&ledger, counter, &values[1]);
            if !status.success() {
                let said = fs::read_to_string(&one.log).unwrap_or_default();
                verdict.errors.push(format!("the client ended with {status}: {}", said.trim()));
            }
            accounts.push(Account { library: one.library, verdict });
        }
        Ok(accounts)
    }
}

impl Running {
    /// How many bytes its ledger has.
    fn told(&self) -> u64 {
        fs::metadata(&self.ledger).map_or(0, |meta| meta.len())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for one in &mut self.running {
            // Those that have ended already need no end.
            let _ = one.child.kill();
            let _ = one.child.wait();
        }
    }
}

/// Whether an error says only that a connection was closed between commands, by a library that tells
/// its user so instead of connecting again.
///
/// redis-rs writes its next command into the closed connection, finds it closed, reconnects for the
/// commands after it and gives this one back: it was never sent. Every pod's end costs each of its
/// clients one such error, whatever the server does, since it takes no notice of the announcements.
fn is_its_own_default(library: Library, error: &str, bar: Bar) -> bool {
    let error = error.to_lowercase();
    let timeout = bar == Bar::HeldUntilTheTimer && error.ends_with("timed out");
    library == Library::RedisRs && (timeout || error.ends_with("broken pipe"))
}

/// What a client may have seen without harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bar {
    /// Nothing at all.
    NoError,
    /// A pause up to its timeout, since nobody was there to end it sooner. redis-rs gives up on an
    /// answer after half a second by its defaults, which is told and is no error here.
    HeldUntilTheTimer,
}

/// Fails unless every client was answered, none saw an error, and nothing was lost or done twice;
/// names each library with its counts.
pub fn unharmed(accounts: &[Account], bar: Bar) -> Result<()> {
    let mut complaints = Vec::new();
    for library in Library::ALL {
        let mut sum = Verdict::default();
        let mut gap = 0.0_f64;
        for account in accounts.iter().filter(|account| account.library == library) {
            let verdict = &account.verdict;
            sum.replies += verdict.replies;
            sum.lost += verdict.lost;
            sum.duplicated += verdict.duplicated;
            sum.errors.extend(verdict.errors.iter().cloned());
            gap = gap.max(verdict.gap_ms.unwrap_or(f64::INFINITY));
        }
        let total = sum.errors.len();
        sum.errors.retain(|error| !is_its_own_default(library, error, bar));
        let own = total - sum.errors.len();
        if own > 0 {
            eprintln!(
                "  NAMED: {} told its user {own} times of a closed connection or of its own timeout; \
                 it does not try again by its defaults",
                library.name(),
            );
        }
        let line = format!(
            "{}: {} replies, {} errors, {} lost, {} duplicated, longest gap {gap:.0} ms",
            library.name(),
            sum.replies,
            sum.errors.len(),
            sum.lost,
            sum.duplicated,
        );
        eprintln!("  {line}");
        if bar == Bar::HeldUntilTheTimer && gap > LONGEST_HOLD_MS {
            complaints.push(format!("{line}; that is longer than the pause's timeout"));
        }
        if sum.replies == 0 || sum.lost + sum.duplicated > 0 || !sum.errors.is_empty() {
            let first = sum.errors.first().map(String::as_str).unwrap_or_default();
            complaints.push(format!("{line}; {first}"));
        }
    }
    if complaints.is_empty() { Ok(()) } else { bail!("{}", complaints.join("\n")) }
}
