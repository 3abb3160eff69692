//! A disk that is soon full: a small tmpfs in a mount namespace of the server's own, which takes root.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::programs;
use crate::server::Server;

/// A server whose data folder is such a disk.
pub struct OnSmallDisk {
    pub server: Server,
    /// The disk, seen from here: only through the process that lives in its namespace.
    pub disk: PathBuf,
    place: PathBuf,
}

impl OnSmallDisk {
    /// Starts a server on an empty disk of so many KiB. None where there are no mount namespaces.
    pub fn start(name: &str, kib: usize, directives: &[&str]) -> Result<Option<Self>> {
        let allowed = Command::new("unshare").args(["-m", "true"]).status();
        if !allowed.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no mount namespaces here");
            return Ok(None);
        }
        let place = std::env::temp_dir().join(format!("redisha-{name}-{}", std::process::id()));
        let mounted = place.join("disk");
        fs::create_dir_all(&mounted)?;
        let script = place.join("on-small-disk");
        let mount = format!("mount -t tmpfs -o size={kib}k none \"$0\" && exec \"$@\"");
        let (dir, program) = (mounted.display(), programs::server());
        let line = format!("exec unshare -m sh -c '{mount}' {dir} {} \"$@\"", program.display());
        fs::write(&script, format!("#!/bin/sh\n{line}\n"))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        let dir = mounted.to_string_lossy().into_owned();
        let all = [directives, &["--dir", &dir]].concat();
        let server = Server::start_program(&script, name, &all)?;
        let disk = PathBuf::from(format!("/proc/{}/root{dir}", server.pid()));
        Ok(Some(Self { server, disk, place }))
    }

    /// Takes all space but so many KiB, until [`Self::empty`].
    pub fn fill_but(&self, kib: usize) -> Result<()> {
        let space = rustix::fs::statvfs(&self.disk)?;
        let free = usize::try_from(space.f_bavail * space.f_frsize)?;
        Ok(fs::write(self.disk.join("filler"), vec![0; free.saturating_sub(kib * 1024)])?)
    }

    /// Gives the space back.
    pub fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.disk.join("filler"))?)
    }
}

impl Drop for OnSmallDisk {
    fn drop(&mut self) {
        // The mount goes with its namespace; only the folder is left.
        let _ = fs::remove_dir_all(&self.place);
    }
}
