//! The folder of a local environment: what lies where, and who may use it.
//!
//! Everything that outlives a process is a file here, so that another process (a status command,
//! or an executor that was started again) sees what this one saw.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// How many servers a local environment has.
pub const SERVERS: usize = 3;

/// Why a folder cannot serve. Each names its remedy.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("another `redisha local` runs in {0}: end it, or choose another folder with --dir")]
    InUse(PathBuf),
    #[error("no `redisha local` runs in {0}: start one, or name its folder with --dir")]
    NotRunning(PathBuf),
    #[error("{0} belongs to another user: choose another folder with --dir")]
    Foreign(PathBuf),
    #[error("cannot use {path}: {source}; choose another folder with --dir")]
    Io { path: PathBuf, source: io::Error },
}

/// The paths of one environment.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
}

/// Held while an environment runs; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct Held {
    _file: File,
}

impl Layout {
    /// The environment in this folder, which need not exist yet.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Where an environment lives when no folder is named: one per user and front door.
    pub fn default_root(port: u16) -> PathBuf {
        let user = rustix::process::getuid().as_raw();
        std::env::temp_dir().join(format!("redisha-local-{user}-{port}"))
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of the servers, in order.
    pub fn names() -> [String; SERVERS] {
        std::array::from_fn(|index| format!("redisha-{index}"))
    }

    /// The folder of one server.
    pub fn server(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub fn arbiter(&self) -> PathBuf {
        self.root.join("arbiter.json")
    }

    pub fn labels(&self) -> PathBuf {
        self.root.join("labels.json")
    }

    pub fn request(&self) -> PathBuf {
        self.root.join("request.json")
    }

    pub fn secret_file(&self) -> PathBuf {
        self.root.join("secret")
    }

    /// Makes the folder for this user alone and takes its lock.
    pub fn hold(&self) -> Result<Held, LayoutError> {
        let io = |source| LayoutError::Io { path: self.root.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).map_err(io)?;
        let owner = fs::metadata(&self.root).map_err(io)?.uid();
        if owner != rustix::process::getuid().as_raw() {
            return Err(LayoutError::Foreign(self.root.clone()));
        }
        for name in Self::names() {
            fs::create_dir_all(self.server(&name)).map_err(io)?;
        }
        let file = self.lock_file().map_err(io)?;
        match file.try_lock() {
            Ok(()) => Ok(Held { _file: file }),
            Err(TryLockError::WouldBlock) => Err(LayoutError::InUse(self.root.clone())),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Fails when no environment runs in the folder.
    pub fn must_run(&self) -> Result<(), LayoutError> {
        let Ok(file) = File::open(self.root.join("lock")) else {
            return Err(LayoutError::NotRunning(self.root.clone()));
        };
        match file.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Ok(()),
            _ => Err(LayoutError::NotRunning(self.root.clone())),
        }
    }

    fn lock_file(&self) -> io::Result<File> {
        let path = self.root.join("lock");
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)
    }

    /// The cluster's UID; drawn once per folder.
    pub fn uid(&self) -> Result<String, LayoutError> {
        self.once("uid", || random_hex(16))
    }

    /// The password of the internal user; drawn once per folder.
    pub fn secret(&self) -> Result<String, LayoutError> {
        self.once("secret", || random_hex(32))
    }

    fn once(
        &self,
        name: &str,
        make: impl FnOnce() -> io::Result<String>,
    ) -> Result<String, LayoutError> {
        let path = self.root.join(name);
        let io = |source| LayoutError::Io { path: path.clone(), source };
        if let Some(text) = read_line(&path) {
            return Ok(text);
        }
        let text = make().map_err(io)?;
        replace(&path, &text).map_err(io)?;
        Ok(text)
    }

    /// The port that a server was started on last.
    pub fn port(&self, name: &str) -> Option<u16> {
        read_line(&self.server(name).join("port"))?.parse().ok()
    }

    pub fn set_port(&self, name: &str, port: u16) -> io::Result<()> {
        replace(&self.server(name).join("port"), &port.to_string())
    }

    /// The port on which a server answers probes.
    pub fn health_port(&self, name: &str) -> Option<u16> {
        read_line(&self.server(name).join("health-port"))?.parse().ok()
    }

    pub fn set_health_port(&self, name: &str, port: u16) -> io::Result<()> {
        replace(&self.server(name).join("health-port"), &port.to_string())
    }

    /// The process of a server, while it runs.
    pub fn pid(&self, name: &str) -> Option<i32> {
        read_line(&self.server(name).join("pid"))?.parse().ok()
    }

    pub fn set_pid(&self, name: &str, pid: Option<i32>) -> io::Result<()> {
        let path = self.server(name).join("pid");
        match pid {
            Some(pid) => replace(&path, &pid.to_string()),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        }
    }
}

/// The trimmed first line of a file; `None` when there is none.
pub fn read_line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// Replaces a file as a whole: a reader sees the old content or the new, never a part.
pub fn replace(path: &Path, content: &str) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(format!(".{}", std::process::id()));
    let aside = PathBuf::from(aside);
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&aside)?;
    file.write_all(content.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    fs::rename(aside, path)
}

/// Random bytes of the kernel as hexadecimal text.
pub fn random_hex(bytes: usize) -> io::Result<String> {
    let mut buffer = vec![0_u8; bytes];
    File::open("/dev/urandom")?.read_exact(&mut buffer)?;
    let mut text = String::with_capacity(2 * bytes);
    for byte in buffer {
        write!(text, "{byte:02x}").expect("a String takes any text");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch() -> PathBuf {
        std::env::temp_dir().join(format!("redisha-layout-{}", random_hex(8).unwrap()))
    }

    #[test]
    fn a_folder_serves_one_environment_at_a_time() {
        let root = scratch();
        let layout = Layout::at(&root);
        assert!(matches!(layout.must_run(), Err(LayoutError::NotRunning(_))));
        let held = layout.hold().unwrap();
        layout.must_run().unwrap();
        let refused = layout.hold().unwrap_err();
        assert!(refused.to_string().contains("--dir"), "{refused}");
        drop(held);
        assert!(matches!(layout.must_run(), Err(LayoutError::NotRunning(_))));
        drop(layout.hold().unwrap());
        fs::remove_dir_all(root).unwrap();
    }

    #[test]
    fn uid_and_secret_are_drawn_once() {
        let root = scratch();
        let layout = Layout::at(&root);
        let _held = layout.hold().unwrap();
        let uid = layout.uid().unwrap();
        assert_eq!(uid.len(), 32);
        assert_eq!(layout.uid().unwrap(), uid);
        assert_ne!(layout.secret().unwrap(), uid);
        fs::remove_dir_all(root).unwrap();
    }
}
