//! The client programs in `tests/clients`, with their libraries in pinned versions.
//!
//! They are built into the user's cache, keyed by the files they are made from, so that a clean
//! checkout finds them again.

use std::collections::hash_map::DefaultHasher;
use std::env;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// A client library under test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Library {
    RedisPy,
    GoRedis,
    NodeRedis,
    RedisRs,
}

impl Library {
    pub const ALL: [Self; 4] = [Self::RedisPy, Self::GoRedis, Self::NodeRedis, Self::RedisRs];

    pub fn name(self) -> &'static str {
        match self {
            Self::RedisPy => "redis-py",
            Self::GoRedis => "go-redis",
            Self::NodeRedis => "node-redis",
            Self::RedisRs => "redis-rs",
        }
    }
}

/// The programs, ready to run.
#[derive(Clone, Debug)]
pub struct Clients {
    folder: PathBuf,
    rust: PathBuf,
}

impl Clients {
    /// Installs the libraries and builds the programs that are not there yet.
    pub fn prepare() -> Result<Self> {
        // Tests run in the folder of their package; a path from the compiler would be that of the
        // checkout which last shared the target folder.
        let sources = std::path::absolute("clients").context("find the clients")?;
        let folder = cache().join(format!("clients-{:016x}", key(&sources)?));
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        let lock = fs::File::create(folder.join("lock")).context("make a lock")?;
        lock.lock().context("wait for another run's installation")?;
        let done = folder.join("complete");
        if !done.exists() {
            python(&sources.join("python"), &folder.join("python"))?;
            go(&sources.join("go"), &folder.join("go-client"))?;
            node(&sources.join("node"), &folder.join("node"))?;
            fs::write(&done, "").context("mark the clients as complete")?;
        }
        // Cargo builds it beside the test programs, which are in a folder of their own there.
        let tests = env::current_exe().context("find the test programs")?;
        let built = tests.parent().and_then(Path::parent).context("find cargo's folder")?;
        Ok(Self { folder, rust: built.join("redisha-test-client") })
    }

    /// The program, and the arguments before its own.
    pub fn program(&self, library: Library) -> (PathBuf, Vec<PathBuf>) {
        let inside = |path: &str| self.folder.join(path);
        match library {
            Library::RedisPy => {
                (inside("python/venv/bin/python"), vec![inside("python/client.py")])
            }
            Library::GoRedis => (inside("go-client"), Vec::new()),
            Library::NodeRedis => ("node".into(), vec![inside("node/client.js")]),
            Library::RedisRs => (self.rust.clone(), Vec::new()),
        }
    }
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").unwrap_or_else(|| "/root".into()));
    let base = env::var_os("XDG_CACHE_HOME").filter(|dir| !dir.is_empty());
    base.map_or_else(|| home().join(".cache"), PathBuf::from).join("redisha")
}

/// Changes with every file that the programs are made from.
fn key(sources: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    for language in ["go", "node", "python"] {
        let folder = sources.join(language);
        let listing =
            fs::read_dir(&folder).with_context(|| format!("list {}", folder.display()))?;
        let mut files: Vec<_> = listing.flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files.iter().filter(|file| file.is_file()) {
            file.file_name().hash(&mut hasher);
            fs::read(file).with_context(|| format!("read {}", file.display()))?.hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}

fn python(source: &Path, into: &Path) -> Result<()> {
    copy(source, into)?;
    let venv = into.join("venv");
    run(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    let mut install = Command::new(venv.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--requirement"]);
    run(install.arg(into.join("requirements.txt")))
}

fn go(source: &Path, program: &Path) -> Result<()> {
    let mut build = Command::new("go");
    build.current_dir(source).args(["build", "-mod=readonly", "-o"]);
    run(build.arg(program).arg("."))
}

fn node(source: &Path, into: &Path) -> Result<()> {
    copy(source, into)?;
    let mut install = Command::new("npm");
    install.current_dir(into).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
    run(&mut install)
}

/// Copies the plain files of a folder, so that what is installed beside them stays out of the
/// checkout.
fn copy(from: &Path, into: &Path) -> Result<()> {
    fs::create_dir_all(into).with_context(|| format!("make {}", into.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let target = into.join(entry.file_name());
            fs::copy(entry.path(), &target).with_context(|| format!("{}", target.display()))?;
        }
    }
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("start {command:?}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?}: {said}{errors}");
    }
    Ok(())
}
