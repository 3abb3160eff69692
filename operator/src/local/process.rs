//! One server process: started, found again after a crash of this program, watched, ended.

use std::fs::OpenOptions;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::layout::Layout;
use crate::api::Durability;
use crate::controller::build::KEEPS_IDS;
use crate::executor::client::Client;
use crate::executor::status_of;

/// How to start a server.
#[derive(Debug, Clone)]
pub struct Recipe {
    pub program: PathBuf,
    pub layout: Layout,
    pub uid: String,
    pub secret: String,
    /// What an answer promises.
    pub durability: Durability,
    /// Further directives, as pairs of name and value.
    pub directives: Vec<(String, String)>,
}

/// A running server.
#[derive(Debug)]
pub enum Process {
    /// Started by this process.
    Child(Child),
    /// Started by an earlier one, which ended without its servers.
    Adopted(Pid),
}

impl Recipe {
    /// A client of this server, at the port on record.
    pub fn client(&self, name: &str) -> Client {
        let port = self.layout.port(name).unwrap_or_default();
        Client::new("127.0.0.1", port, &self.secret)
    }

    /// The server that an earlier run has left, if it is truly ours.
    pub async fn adopt(&self, name: &str) -> Option<Process> {
        let pid = Pid::from_raw(self.layout.pid(name)?)?;
        test_kill_process(pid).ok()?;
        // The number may belong to a stranger by now: only the answer tells.
        let status = status_of(&self.client(name)).await.ok()?;
        (status.uid == self.uid).then_some(Process::Adopted(pid))
    }

    /// Starts the server on the port on record, and puts its process on record.
    pub fn start(&self, name: &str) -> io::Result<Process> {
        let folder = self.layout.server(name);
        let port = self.layout.port(name).unwrap_or_default().to_string();
        let health_port = self.layout.health_port(name).unwrap_or_default().to_string();
        let log = OpenOptions::new().create(true).append(true).open(log_file(&folder))?;
        let secret = self.layout.secret_file();
        let mut command = Command::new(&self.program);
        let mut directive = |name: &str, value: &Path| {
            command.arg(format!("--{name}")).arg(value);
        };
        directive("port", Path::new(&port));
        directive("bind", Path::new("127.0.0.1"));
        directive("health-port", Path::new(&health_port));
        directive("dir", &folder);
        directive("cluster-uid", Path::new(&self.uid));
        directive("member-name", Path::new(name));
        directive("internal-secret-file", &secret);
        directive("replica-announce-ip", Path::new("127.0.0.1"));
        directive("replica-announce-port", Path::new(&port));
        for (name, value) in KEEPS_IDS.iter().filter(|_| self.durability == Durability::Disk) {
            directive(name, Path::new(value));
        }
        for (name, value) in &self.directives {
            directive(name, Path::new(value));
        }
        // A group of its own keeps the terminal's Ctrl-C from reaching it before we end it.
        command.process_group(0).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        self.layout.set_pid(name, child.id().map(|id| id as i32))?;
        Ok(Process::Child(child))
    }
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

/// The last line that a server wrote, for a message about its end.
pub fn last_words(layout: &Layout, name: &str) -> String {
    let text = std::fs::read_to_string(log_file(&layout.server(name))).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no word").to_owned()
}

impl Process {
    fn pid(&self) -> Option<Pid> {
        match self {
            Self::Child(child) => child.id().and_then(|id| Pid::from_raw(id as i32)),
            Self::Adopted(pid) => Some(*pid),
        }
    }

    /// Waits until it has ended; may be dropped and called again.
    pub async fn ended(&mut self) {
        match self {
            Self::Child(child) => {
                // An error would mean that it was reaped already: it has ended all the same.
                let _ = child.wait().await;
            }
            Self::Adopted(pid) => {
                while test_kill_process(*pid).is_ok() {
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Sends a signal; a process that has ended already needs none.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }
}
