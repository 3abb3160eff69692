//! A `redisha local` in a folder of its own, ended with the test whatever happens.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::ports::free_port;
use crate::programs::{self, Running, eventually};

/// The names of the servers.
pub const NAMES: [&str; 3] = ["redisha-0", "redisha-1", "redisha-2"];

/// A running environment.
pub struct Local {
    pub root: PathBuf,
    pub port: u16,
    process: Running,
}

/// An empty folder that no other test uses.
pub fn scratch() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let root = std::env::temp_dir().join(format!("redisha-test-{}-{count}", std::process::id()));
    fs::create_dir_all(&root).unwrap();
    root
}

/// `redisha local` with these arguments, for the environment in this folder.
pub fn command(root: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(programs::redisha());
    command.arg("local").arg("--dir").arg(root).args(args);
    command.env("REDISHA_SERVER_BIN", programs::server()).stdin(Stdio::null());
    command
}

impl Local {
    /// Starts one and waits until it prints how to connect.
    pub fn start(args: &[&str]) -> Self {
        let (root, port) = (scratch(), free_port().unwrap());
        let out = fs::File::create(root.join("stdout")).unwrap();
        let mut command = command(&root, args);
        command.args(["--port", &port.to_string()]).stdout(out);
        let mut local = Self { process: Running::start(&mut command), root, port };
        let root = local.root.clone();
        eventually("redisha local says how to connect", Duration::from_mins(1), || {
            assert!(local.process.try_ended().is_none(), "redisha local has ended");
            fs::read_to_string(root.join("stdout")).unwrap().contains("Three servers run")
        });
        local
    }

    /// Runs one of the commands on it.
    pub fn run(&self, args: &[&str]) -> String {
        let output = command(&self.root, args).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {} {error}", output.status);
        String::from_utf8(output.stdout).unwrap()
    }

    /// A new connection through the front door, without any special option.
    pub fn connect(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(("127.0.0.1", self.port))?.get_connection()
    }

    /// The processes of the servers that run now.
    pub fn server_pids(&self) -> Vec<u32> {
        let pid = |name| fs::read_to_string(self.root.join(name).join("pid")).ok();
        NAMES.iter().filter_map(|name| pid(name)?.trim().parse().ok()).collect()
    }

    /// The server that the front door leads to.
    pub fn primary(&self) -> String {
        let labels = fs::read_to_string(self.root.join("labels.json")).unwrap_or_default();
        let after = labels.split("\"address\":\"").nth(1).unwrap_or_default();
        after.split('"').next().unwrap_or_default().to_owned()
    }

    /// Ends it as Ctrl-C does.
    pub fn interrupt(mut self) -> ExitStatus {
        self.process.signal("INT");
        self.process.ended("redisha local ends after Ctrl-C", Duration::from_secs(30))
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // After a failed test the parent is killed below, and its servers would stay.
        let pids = self.server_pids();
        self.process.kill();
        for pid in pids {
            let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).output();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Whether a process exists.
pub fn alive(pid: u32) -> bool {
    Command::new("kill")
        .args(["-0", &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
