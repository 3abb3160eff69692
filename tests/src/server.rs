//! Server processes of a test: each in a directory of its own, on a port that the kernel gave,
//! ended by its own process id.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::ports::free_port;
use crate::programs::{self, Running};
use crate::resp::{Client, Value};
use crate::wait;

/// The password of the internal user in tests.
pub const SECRET: &str = "between-members";
/// How long a server may take to start or to end by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a server of ours that must not start; answers what it said.
pub fn must_not_start(directives: &[&str]) -> Result<String> {
    let mut child = Command::new(programs::server())
        .args(["--port", &free_port()?.to_string(), "--bind", "127.0.0.1"])
        .args(directives)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let ended = wait::until("the server ends", PATIENCE, || Ok(child.try_wait()?));
    if ended.is_err() {
        child.kill()?;
    }
    let output = child.wait_with_output()?;
    ensure!(!ended?.success(), "it ended as if all were well");
    Ok(String::from_utf8(output.stderr)?)
}

/// A running server; it is killed when dropped.
pub struct Server {
    pub port: u16,
    pub directory: PathBuf,
    process: Running,
}

impl Server {
    /// Starts an unmanaged server with further directives.
    pub fn start(name: &str, directives: &[&str]) -> Result<Self> {
        Self::start_program(&programs::server(), name, directives)
    }

    /// Starts a member of the cluster `uid`.
    pub fn managed(name: &str, uid: &str, directives: &[&str]) -> Result<Self> {
        Self::managed_in(fresh_directory(name)?, name, uid, directives)
    }

    fn managed_in(dir: PathBuf, name: &str, uid: &str, directives: &[&str]) -> Result<Self> {
        let secret = dir.join("secret");
        fs::write(&secret, SECRET)?;
        let secret = secret.to_string_lossy().into_owned();
        let mut all = vec!["--cluster-uid", uid, "--member-name", name];
        all.extend(["--internal-secret-file", &secret, "--replica-announce-ip", "127.0.0.1"]);
        all.extend(directives);
        Self::start_in(&programs::server(), dir, name, &all)
    }

    /// Starts another program that takes the directives of redis.conf.
    pub fn start_program(program: &Path, name: &str, directives: &[&str]) -> Result<Self> {
        Self::start_in(program, fresh_directory(name)?, name, directives)
    }

    fn start_in(program: &Path, dir: PathBuf, name: &str, directives: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let log = fs::File::create(dir.join("log"))?;
        let mut command = Command::new(program);
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", &dir.to_string_lossy()])
            .args(directives)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut server = Self { port, directory: dir, process: Running::start(&mut command) };
        wait::until(&format!("{name} answers"), PATIENCE, || {
            if let Some(status) = server.process.try_ended() {
                bail!("it ended with {status}: {}", server.log());
            }
            Ok(Some(server.client()?.say("PING")?))
        })?;
        Ok(server)
    }

    /// Starts another server of ours on what this one, which is killed unless it has ended, left in
    /// its folder.
    pub fn again(mut self, name: &str, directives: &[&str]) -> Result<Self> {
        self.process.kill();
        let directory = std::mem::take(&mut self.directory);
        Self::start_in(&programs::server(), directory, name, directives)
    }

    /// As [`Self::again`], as a member of the cluster `uid`.
    pub fn managed_again(mut self, name: &str, uid: &str, directives: &[&str]) -> Result<Self> {
        self.process.kill();
        Self::managed_in(std::mem::take(&mut self.directory), name, uid, directives)
    }

    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    pub fn client(&self) -> Result<Client> {
        Client::connect(("127.0.0.1", self.port))
    }

    /// A connection of the internal user.
    pub fn internal(&self) -> Result<Client> {
        let mut client = self.client()?;
        let answer = client.call(&["AUTH", "redisha", SECRET])?;
        ensure!(answer == Value::Text("OK".into()), "AUTH: {answer:?}");
        Ok(client)
    }

    /// A line of INFO.
    pub fn info(&self, name: &str) -> Result<String> {
        let text = self.client()?.say("INFO everything")?.text()?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.map(str::to_owned).with_context(|| format!("INFO has no {name}"))
    }

    /// Whether its link to this primary is up, and it has applied all of its stream.
    pub fn is_level_with(&self, primary: &Self) -> Result<bool> {
        let up = self.info("master_link_status")? == "up";
        Ok(up && self.info("master_repl_offset")? == primary.info("master_repl_offset")?)
    }

    /// What the kernel counts of its memory, in bytes: `VmRSS`, or `VmHWM`, the most that there was.
    pub fn memory(&self, name: &str) -> Result<u64> {
        let path = format!("/proc/{}/status", self.pid());
        let status = fs::read_to_string(&path).with_context(|| format!("read {path}"))?;
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        let kb = line.and_then(|line| line.split_whitespace().next());
        Ok(kb.with_context(|| format!("no {name}"))?.parse::<u64>()? * 1024)
    }

    /// From now on `VmHWM` counts anew.
    pub fn forget_peak(&self) -> Result<()> {
        let path = format!("/proc/{}/clear_refs", self.pid());
        fs::write(&path, "5").with_context(|| format!("write {path}"))
    }

    /// Sends a signal to this very process, by its name.
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        self.process.ended("the server ends", PATIENCE)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill();
        // A server that was started again has given its folder away.
        if !std::thread::panicking() && !self.directory.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// What a new connection is answered to a command, as text.
pub fn text(server: &Server, line: &str) -> Result<String> {
    server.client()?.say(line)?.text()
}

fn fresh_directory(name: &str) -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nonce = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("redisha-{}-{name}-{nonce}", std::process::id()));
    fs::create_dir_all(&path)?;
    Ok(path)
}
