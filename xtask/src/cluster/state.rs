//! Where a cluster keeps itself, and the lock that makes it one per machine.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Data, logs, certificates and process ids.
const DATA: &str = "/var/lib/redisha-cluster";
/// Sockets and container state; short, since a socket's path may have 107 bytes.
const RUN: &str = "/run/redisha-cluster";
const LOCK: &str = "/run/redisha-cluster.lock";

/// The cluster's folders; with the lock held unless it is only a view.
#[derive(Debug)]
pub struct State {
    data: PathBuf,
    run: PathBuf,
    _lock: Option<File>,
}

impl State {
    /// Waits for the lock and takes it until this value is dropped.
    pub fn lock() -> Result<Self> {
        let file = File::create(LOCK).with_context(|| format!("open {LOCK}"))?;
        if file.try_lock().is_err() {
            eprintln!("waiting for {LOCK}: another command uses the cluster");
            file.lock().with_context(|| format!("lock {LOCK}"))?;
        }
        Ok(Self { _lock: Some(file), ..Self::view() })
    }

    /// The paths alone, for reading.
    pub fn view() -> Self {
        Self { data: DATA.into(), run: RUN.into(), _lock: None }
    }

    /// A path among the data.
    pub fn data(&self, path: &str) -> PathBuf {
        self.data.join(path)
    }

    /// A path among the sockets.
    pub fn run(&self, path: &str) -> PathBuf {
        self.run.join(path)
    }

    /// The folders under which everything of the cluster lies.
    pub fn roots(&self) -> [&Path; 2] {
        [&self.run, &self.data]
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.data("kubeconfig")
    }

    /// Makes the folders that everything else writes into.
    pub fn create(&self) -> Result<()> {
        for path in ["pki", "logs", "pids", "bin", "config"] {
            create_dir(&self.data(path))?;
        }
        create_dir(&self.run(""))
    }

    /// Writes a file among the data.
    pub fn write(&self, path: &str, text: &str) -> Result<PathBuf> {
        let path = self.data(path);
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
        Ok(path)
    }

    /// Puts programs into `bin`: `kubectl` enters the control plane's network by itself, and
    /// `on-node NAME COMMAND…` runs a command in a node's network; `tag-image` names images.
    pub fn write_tools(&self, programs: &Path) -> Result<()> {
        let kubectl = format!(
            "#!/bin/sh\nexport KUBECONFIG=${{KUBECONFIG:-{}}}\nexec nsenter --net={} {} \"$@\"\n",
            self.kubeconfig().display(),
            super::network::path("cp"),
            programs.join("kubectl").display(),
        );
        self.write_script("kubectl", &kubectl)?;
        let on_node = format!(
            "#!/bin/sh\nnode=$1; shift\nexport KUBECONFIG=${{KUBECONFIG:-{}}}\n\
             exec nsenter --net=/var/run/netns/\"$node\" \"$@\"\n",
            self.kubeconfig().display(),
        );
        self.write_script("on-node", &on_node)?;
        let tag_image = format!(
            "#!/bin/sh\n# tag-image FROM TO: gives an image a second name, on every node.\n\
             for socket in {}/node*/c.sock; do\n  \
             ctr --address \"$socket\" --namespace k8s.io images tag --force \"$1\" \"$2\" || exit 1\n\
             done\n",
            self.run.display(),
        );
        self.write_script("tag-image", &tag_image)?;
        let link = self.data("kubernetes");
        symlink(programs, &link).with_context(|| format!("link {}", link.display()))
    }

    /// Writes a script into `bin`.
    pub fn write_script(&self, name: &str, text: &str) -> Result<()> {
        let path = self.write(&format!("bin/{name}"), text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context("make it run")
    }

    /// `kubectl`, as the cluster's administrator.
    pub fn kubectl(&self) -> Command {
        Command::new(self.data("bin/kubectl"))
    }

    /// Runs kubectl with `input` on its stdin and gives its stdout.
    pub fn kubectl_text(&self, args: &[&str], input: &str) -> Result<String> {
        use std::process::Stdio;
        let mut command = self.kubectl();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("start kubectl")?;
        let mut stdin = child.stdin.take().expect("stdin is piped");
        stdin.write_all(input.as_bytes()).context("write to kubectl")?;
        drop(stdin);
        let output = child.wait_with_output().context("wait for kubectl")?;
        if !output.status.success() {
            let error = String::from_utf8_lossy(&output.stderr);
            bail!("kubectl {}: {}", args.join(" "), error.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Lines for `eval "$(cargo xtask cluster env)"`.
    pub fn shell(&self) -> String {
        let bin = self.data("bin");
        let kubeconfig = self.kubeconfig();
        let (kubeconfig, bin) = (kubeconfig.display(), bin.display());
        format!(
            "export KUBECONFIG={kubeconfig}
export PATH={bin}:$PATH
"
        )
    }
}

/// Makes a folder and its parents.
pub fn create_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("make {}", path.display()))
}
