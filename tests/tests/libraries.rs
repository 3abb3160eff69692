//! Stock libraries through `redisha local`, while the primary moves again and again.

use std::env;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use redis::Commands;
use rustix::process::{Pid, Signal, kill_process};
use tests::clients::Clients;
use tests::load::{Load, Target, unharmed};
use tests::place::Place;
use tests::wait;

const PATIENCE: Duration = Duration::from_mins(1);
const SWITCHOVERS: usize = 5;

/// A running `redisha local` with a folder and a port of its own.
struct Local {
    child: Child,
    program: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Local {
    fn start(name: &str) -> Result<Self> {
        let program = program()?;
        let folder = env::temp_dir().join(format!("redisha-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).context("make a folder")?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let child = Command::new(&program)
            .args(["local", "--port", &port.to_string(), "--dir"])
            .arg(&folder)
            .stdin(Stdio::null())
            .stdout(fs::File::create(folder.join("stdout"))?)
            .stderr(fs::File::create(folder.join("stderr"))?)
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        let mut local = Self { child, program, folder, port };
        local.wait_until_it_serves()?;
        Ok(local)
    }

    fn wait_until_it_serves(&mut self) -> Result<()> {
        let address = format!("redis://127.0.0.1:{}/", self.port);
        let client = redis::Client::open(address)?;
        let served = wait::until("redisha local serves", PATIENCE, || {
            ensure!(self.child.try_wait()?.is_none(), "it has ended");
            let mut connection = client.get_connection_with_timeout(Duration::from_secs(2))?;
            let set: redis::RedisResult<()> = connection.set("ready", 1);
            Ok(Some(set?))
        });
        served.with_context(|| fs::read_to_string(self.folder.join("stderr")).unwrap_or_default())
    }

    fn act(&self, action: &str) -> Result<String> {
        let mut command = Command::new(&self.program);
        command.args(["local", "--port", &self.port.to_string(), "--dir"]).arg(&self.folder);
        tests::cluster::text(command.arg(action))
    }

    /// Ctrl-C, which ends everything and succeeds.
    fn end(mut self) -> Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::INT)?;
        let status = wait::until("redisha local ends", PATIENCE, || Ok(self.child.try_wait()?))?;
        ensure!(status.success(), "it ended with {status}");
        Ok(())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It ends its servers only when asked; a kill would leave them behind.
            let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
            let _ = self.child.wait();
        }
        let mut said = String::new();
        if let Ok(mut log) = fs::File::open(self.folder.join("stderr")) {
            let _ = log.read_to_string(&mut said);
        }
        if std::thread::panicking() {
            eprintln!("{said}");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// `REDISHA_BIN`, or the program that cargo built beside the tests.
fn program() -> Result<PathBuf> {
    if let Some(program) = env::var_os("REDISHA_BIN") {
        return Ok(program.into());
    }
    let tests = env::current_exe()?;
    let built = tests.parent().and_then(|deps| deps.parent()).context("find cargo's folder")?;
    Ok(built.join("redisha"))
}

#[test]
fn no_library_notices_switchovers() {
    let clients = Clients::prepare().unwrap();
    let local = Local::start("libraries").unwrap();
    let target = Target {
        place: Place::Here,
        host: "127.0.0.1".to_owned(),
        port: local.port,
        password: None,
    };
    let mut load = Load::start(&clients, &target, "local").unwrap();
    for _ in 0..SWITCHOVERS {
        local.act("switchover").unwrap();
        load.more().unwrap();
    }
    unharmed(&load.stop().unwrap()).unwrap();
    local.end().unwrap();
}
