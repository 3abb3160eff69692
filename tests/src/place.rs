//! Where a client runs: on this machine as it is, or in the network namespace of a cluster's node.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network that programs and connections can be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This machine's own network.
    Here,
    /// A named network namespace, for example `node1`.
    Namespace(String),
}

impl Place {
    /// A command that runs `program` here. Its process id is the program's own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        match self {
            Self::Here => Command::new(program),
            Self::Namespace(name) => {
                let mut command = Command::new("nsenter");
                command.arg(format!("--net={}", file(name))).arg(program);
                command
            }
        }
    }

    /// Runs `work` so that every connection it makes is made here.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let Self::Namespace(name) = self else {
            return work();
        };
        let space = File::open(file(name)).with_context(|| format!("open namespace {name}"))?;
        // A namespace belongs to a thread, so one of its own leaves all others where they are.
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(space.as_fd(), kind).context("enter the namespace")?;
                work()
            });
            inside.join().expect("the work does not panic")
        })
    }
}

fn file(name: &str) -> String {
    format!("/var/run/netns/{name}")
}
