//! Both servers and several connections to each.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::programs::Running;
use crate::wait;
use crate::wire::{Connection, Reply};

/// The connections to each server; scripts name them by their digit.
pub const CONNECTIONS: usize = 4;
/// How long a server may take to answer at first.
const START: Duration = Duration::from_secs(20);
/// How long a process may take to be gone once its connections are.
const END: Duration = Duration::from_secs(5);

/// Ours and theirs.
pub struct Pair {
    pub sides: [Side; 2],
    programs: [PathBuf; 2],
}

/// A server with its connections; the first one never waits.
pub struct Side {
    pub connections: Vec<Connection>,
    port: u16,
    process: Running,
    /// What it says on its error stream.
    log: PathBuf,
}

impl Side {
    fn start(program: &Path) -> Result<Self> {
        let port = crate::ports::free_port()?;
        let dir = crate::local::scratch();
        let log = dir.join("log");
        let mut command = Command::new(program);
        command
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
            .arg(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?);
        let mut process = Running::start(&mut command);
        wait::until(&format!("{} answers", program.display()), START, || {
            if let Some(status) = process.try_ended() {
                anyhow::bail!("it ended with {status}");
            }
            Ok(Connection::open(port).map(drop))
        })?;
        let mut side = Self { connections: Vec::new(), port, process, log };
        side.reconnect()?;
        Ok(side)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Fresh connections, without any state of the ones before.
    pub fn reconnect(&mut self) -> Result<()> {
        let open = |_| Connection::open(self.port).context("the server accepts");
        self.connections = (0..CONNECTIONS).map(open).collect::<Result<_>>()?;
        Ok(())
    }

    /// How the server ended and what it said of it, of one whose connections have just ended; none
    /// if it is still there.
    pub fn last_words(&mut self) -> Option<String> {
        let process = &mut self.process;
        let status = wait::until("its end", END, || Ok(process.try_ended())).ok()?;
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let panic = log.find("panicked at").map_or("", |at| &log[at..]);
        let first: Vec<&str> = panic.lines().take(2).collect();
        Some(format!("it ended with {status}: {}", first.join(" ")))
    }

    /// Waits until so many clients are blocked.
    pub fn wait_for_blocked(&mut self, count: &str) -> Result<()> {
        self.wait_for(&format!("blocked_clients:{count}"))
    }

    /// Waits until INFO has this line.
    pub fn wait_for(&mut self, line: &str) -> Result<()> {
        let wanted = format!("{line}\r\n");
        wait::until(line, START, || {
            let info = self.connections[0].call(&["INFO"]);
            Ok(info.text.is_some_and(|text| text.contains(&wanted)).then_some(()))
        })
    }
}

impl Pair {
    pub fn start(ours: &Path, theirs: &Path) -> Result<Self> {
        let programs = [ours.to_owned(), theirs.to_owned()];
        Ok(Self { sides: [Side::start(ours)?, Side::start(theirs)?], programs })
    }

    /// Two more servers of the same programs.
    pub fn another(&self) -> Result<Self> {
        let [ours, theirs] = &self.programs;
        Self::start(ours, theirs)
    }

    /// Two fresh servers in the place of these.
    pub fn again(self) -> Result<Self> {
        let [ours, theirs] = self.programs.clone();
        drop(self);
        Self::start(&ours, &theirs)
    }

    /// Fresh connections that speak this dialect, and servers without a key.
    pub fn reset(&mut self, dialect: &str) -> Result<()> {
        for side in &mut self.sides {
            side.reconnect()?;
            for connection in &mut side.connections {
                let hello = connection.try_call(&["HELLO", dialect])?;
                ensure!(hello.kind != '-', "HELLO {dialect}: {hello:?}");
            }
            side.connections[0].try_call(&["FLUSHALL"])?;
        }
        Ok(())
    }

    /// The replies of both to one command.
    pub fn both(&mut self, words: &[&str]) -> [Reply; 2] {
        for side in &mut self.sides {
            side.connections[0].queue(words);
            side.connections[0].flush();
        }
        self.sides.each_mut().map(|side| side.connections[0].read())
    }

    /// The replies of both to many commands, sent in one go.
    pub fn batch(&mut self, commands: &[Vec<String>]) -> Result<Vec<[Reply; 2]>> {
        for side in &mut self.sides {
            for words in commands {
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                side.connections[0].queue(&words);
            }
            side.connections[0].try_flush()?;
        }
        let [ours, theirs] = &mut self.sides;
        let read = |_: &Vec<String>| -> Result<[Reply; 2]> {
            Ok([ours.connections[0].try_read()?, theirs.connections[0].try_read()?])
        };
        commands.iter().map(read).collect()
    }
}

/// How two replies are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    Equal,
    /// Elements come in any order, at every level.
    AnyOrder,
    /// Only what kind of reply it is: the content is chance, time or of this process.
    Kind,
    Nothing,
}

impl Check {
    pub fn holds(self, [ours, theirs]: &[Reply; 2]) -> bool {
        match self {
            Self::Equal => ours == theirs,
            Self::AnyOrder => sorted(ours) == sorted(theirs),
            Self::Kind => ours.kind == theirs.kind && (ours.kind != '-' || ours == theirs),
            Self::Nothing => true,
        }
    }
}

fn sorted(reply: &Reply) -> Reply {
    let mut items: Vec<Reply> = reply.items.iter().map(sorted).collect();
    items.sort();
    Reply { items, ..reply.clone() }
}

/// The text of a failure.
pub fn difference(place: &str, words: &[&str], [ours, theirs]: &[Reply; 2]) -> String {
    let short = |reply: &Reply| format!("{reply:?}").chars().take(400).collect::<String>();
    let line: String = words.join(" ").chars().take(200).collect();
    format!("{place}: {line}\n  ours   {}\n  theirs {}", short(ours), short(theirs))
}
