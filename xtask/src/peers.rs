//! `cargo xtask peers`: the servers that RedisHA is compared with and must work with.
//!
//! `REDISHA_VALKEY` and `REDISHA_REDIS` name a `valkey-server` and a `redis-server`; their tools are
//! looked for beside them. What is not named comes from Debian's packages.

mod debian;

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::report::Report;

/// A server and the tools that came with it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// `valkey` or `redis`, which begins its programs' names.
    name: &'static str,
    folder: PathBuf,
}

impl Peer {
    pub fn server(&self) -> PathBuf {
        self.tool("server")
    }

    /// Where its programs are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn tool(&self, tool: &str) -> PathBuf {
        self.folder.join(format!("{}-{tool}", self.name))
    }

    /// What the server says of itself.
    fn version(&self) -> Result<String> {
        let server = self.server();
        let output = Command::new(&server).arg("--version").output();
        let output = output.with_context(|| format!("start {}", server.display()))?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("{} --version: {}", server.display(), error.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// Both peers.
#[derive(Clone, Debug)]
pub struct Peers {
    pub valkey: Peer,
    pub redis: Peer,
}

pub fn run() -> Result<Report> {
    let peers = find()?;
    let mut report = Report::plain(true);
    for peer in [&peers.valkey, &peers.redis] {
        let version = peer.version()?;
        println!("{}: {version}", peer.server().display());
        report = report.with(peer.name, version);
    }
    Ok(report)
}

/// Finds the peers, and installs those that nobody named.
pub fn find() -> Result<Peers> {
    let named = |name, variable: &str| match env::var_os(variable) {
        Some(path) => from_path(name, variable, Path::new(&path)).map(Some),
        None => Ok(None),
    };
    let valkey = named("valkey", "REDISHA_VALKEY")?;
    let redis = named("redis", "REDISHA_REDIS")?;
    let installed = |name| -> Result<Peer> { Ok(Peer { name, folder: debian::install()? }) };
    Ok(Peers {
        valkey: valkey.map_or_else(|| installed("valkey"), Ok)?,
        redis: redis.map_or_else(|| installed("redis"), Ok)?,
    })
}

fn from_path(name: &'static str, variable: &str, path: &Path) -> Result<Peer> {
    if !path.is_file() || path.file_name() != Some(format!("{name}-server").as_ref()) {
        bail!("{variable} is {}, but must name a {name}-server", path.display());
    }
    let folder = path.parent().expect("a file lies in a folder").to_owned();
    Ok(Peer { name, folder })
}
