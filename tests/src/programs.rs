//! The programs under test, and processes of them that end with the test.

use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

/// `redisha`, as `REDISHA_BIN` names it, else beside the test's own program.
pub fn redisha() -> PathBuf {
    program("REDISHA_BIN", "redisha")
}

/// `redisha-server`, as `REDISHA_SERVER_BIN` names it, else beside the test's own program.
pub fn server() -> PathBuf {
    program("REDISHA_SERVER_BIN", "redisha-server")
}

fn program(variable: &str, name: &str) -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().expect("a test knows its own program");
        own.ancestors().nth(2).expect("target/PROFILE/deps/TEST").join(name)
    };
    let path = std::env::var_os(variable).map_or_else(beside, PathBuf::from);
    assert!(path.is_file(), "{} is not built: cargo build --bins", path.display());
    path
}

/// The steps of a switch at which `REDISHA_CRASH_AT` can end who performs it.
pub const STEPS: [&str; 8] = [
    "intent",
    "pause",
    "level",
    "handover",
    "label-primary",
    "label-replica",
    "release",
    "outcome",
];

/// Waits until the condition holds; panics with what it waits for when the deadline passes.
pub fn eventually(what: &str, within: Duration, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + within;
    while !holds() {
        assert!(Instant::now() < until, "not within {} s: {what}", within.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A process that is killed when the test leaves it behind.
pub struct Running {
    child: Child,
}

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self { child: command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn try_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("own child")
    }

    /// Kills it outright and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end; panics when the deadline passes.
    pub fn ended(&mut self, what: &str, within: Duration) -> ExitStatus {
        let mut status = None;
        eventually(what, within, || {
            status = self.try_ended();
            status.is_some()
        });
        status.expect("the wait is over")
    }

    /// Sends it a signal by its name, as `kill -NAME` does.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name} {}", self.id());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}
