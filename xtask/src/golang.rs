//! The Go programs that the tests need, built from modules that this repository pins.
//!
//! They are kept in the user's cache, keyed by what they are built from, so that a clean checkout
//! finds them again: Kubernetes takes minutes to compile.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::{digest, paths, run};

const KUBERNETES: &str = "1.35.4";
/// Every name under which the one program of Kubernetes is called.
const KUBERNETES_NAMES: &[&str] = &[
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
];

/// The folder that holds every program of Kubernetes by its own name.
pub fn kubernetes() -> Result<PathBuf> {
    let version =
        |name: &str, value: &str| format!("-X k8s.io/component-base/version.{name}={value}");
    let minor = KUBERNETES.split('.').nth(1).expect("a version has a minor part");
    let flags = [
        "-s -w".to_owned(),
        version("gitVersion", &format!("v{KUBERNETES}")),
        version("gitMajor", "1"),
        version("gitMinor", minor),
    ];
    let folder = build("tests/cluster", ".", "kube", &flags.join(" "))?;
    for name in KUBERNETES_NAMES {
        let link = folder.join(name);
        if !link.exists() {
            symlink("kube", &link).with_context(|| format!("link {}", link.display()))?;
        }
    }
    Ok(folder)
}

/// The folder that holds `helm`.
pub fn helm() -> Result<PathBuf> {
    build("tests/helm", "helm.sh/helm/v3/cmd/helm", "helm", "-s -w")
}

/// Builds `package` of the module in `module` into the cache, unless it is there.
fn build(module: &str, package: &str, program: &str, flags: &str) -> Result<PathBuf> {
    let module = paths::root().join(module);
    let folder = paths::cache().join(format!("{program}-{}", key(&module, flags)?));
    let built = folder.join(program);
    if !built.exists() {
        eprintln!(
            "building {program}: some minutes the first time, then kept in {}",
            folder.display()
        );
        fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
        // Another run may build the same; each renames a whole program into place.
        let fresh = folder.join(format!("{program}.{}", std::process::id()));
        run::must(
            Command::new("go")
                .current_dir(&module)
                .args(["build", "-mod=readonly", "-trimpath", "-ldflags", flags, "-o"])
                .arg(&fresh)
                .arg(package),
        )?;
        fs::rename(&fresh, &built).with_context(|| format!("name {}", built.display()))?;
    }
    Ok(folder)
}

/// What decides the program: the pinned modules, the sources and the flags.
fn key(module: &Path, flags: &str) -> Result<String> {
    let mut all = flags.as_bytes().to_vec();
    for name in ["go.mod", "go.sum", "main.go"] {
        match fs::read(module.join(name)) {
            Ok(bytes) => all.extend(bytes),
            // The module of Helm has no source of its own.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("read {name}")),
        }
    }
    Ok(digest::sha256(&all)[..16].to_owned())
}
