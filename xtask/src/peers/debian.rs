//! Valkey and Redis from Debian's unstable suite, unpacked into the user's cache.
//!
//! They bring the C library that they were built for and run by its loader, so the machine's own
//! packages stay as they are, and so do its package sources.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{paths, run};

const SUITE: &str = "sid";
const PACKAGES: &[&str] = &["valkey-server", "valkey-tools", "redis-server", "redis-tools"];
/// A program's name, and the file that it runs: in Debian a server is its own check program under
/// another name, and its link is made on installation in some releases.
const PROGRAMS: &[(&str, &[&str])] = &[
    ("valkey-server", &["valkey-server", "valkey-check-rdb"]),
    ("valkey-cli", &["valkey-cli"]),
    ("valkey-benchmark", &["valkey-benchmark"]),
    ("redis-server", &["redis-server", "redis-check-rdb"]),
    ("redis-cli", &["redis-cli"]),
    ("redis-benchmark", &["redis-benchmark"]),
];

/// The folder of the programs; installs them unless an earlier run did.
pub fn install() -> Result<PathBuf> {
    let folder = paths::cache().join("peers");
    let bin = folder.join("bin");
    let done = folder.join("complete");
    if done.exists() {
        return Ok(bin);
    }
    eprintln!("fetching Valkey and Redis from Debian's packages into {}", folder.display());
    if folder.exists() {
        fs::remove_dir_all(&folder).context("remove what an interrupted run left")?;
    }
    for part in ["lists/partial", "debs", "root", "bin"] {
        let part = folder.join(part);
        fs::create_dir_all(&part).with_context(|| format!("make {}", part.display()))?;
    }
    fetch(&folder).context("fetch Debian's packages; REDISHA_VALKEY and REDISHA_REDIS avoid it")?;
    wrap_all(&folder)?;
    fs::write(&done, "").context("mark the peers as complete")?;
    Ok(bin)
}

fn fetch(folder: &Path) -> Result<()> {
    let source = format!(
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {} {SUITE} main\n",
        mirror()?
    );
    let list = folder.join("sources.list");
    fs::write(&list, source).with_context(|| format!("write {}", list.display()))?;
    run::must(apt("apt-get", folder).arg("update"))?;
    let wanted = closure(folder)?;
    let debs = folder.join("debs");
    run::must(apt("apt-get", folder).arg("download").args(&wanted).current_dir(&debs))?;
    for deb in fs::read_dir(&debs)? {
        let deb = deb?.path();
        let mut unpack = Command::new("dpkg-deb");
        let status = unpack.arg("--extract").arg(&deb).arg(folder.join("root")).status();
        if !status.context("start dpkg-deb")?.success() {
            bail!("cannot unpack {}", deb.display());
        }
    }
    Ok(())
}

/// One of apt's tools, with lists and sources of our own and nothing taken as installed.
fn apt(tool: &str, folder: &Path) -> Command {
    let mut command = Command::new(tool);
    let option = |name: &str, value: &Path| format!("-o{name}={}", value.display());
    command
        .arg("-q=2")
        .arg(option("Dir::Etc::SourceList", &folder.join("sources.list")))
        .arg(option("Dir::Etc::SourceParts", Path::new("/dev/null")))
        .arg(option("Dir::State::Lists", &folder.join("lists")))
        .arg(option("Dir::State::Status", Path::new("/dev/null")))
        .arg("-oAPT::Sandbox::User=root");
    command
}

/// The packages and every library below them.
fn closure(folder: &Path) -> Result<Vec<String>> {
    let mut depends = apt("apt-cache", folder);
    depends.args(["depends", "--recurse", "--no-recommends", "--no-suggests", "--no-enhances"]);
    depends.args(["--no-conflicts", "--no-breaks", "--no-replaces"]).args(PACKAGES);
    let output = depends.output().context("start apt-cache")?;
    if !output.status.success() {
        bail!("apt-cache depends: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let text = String::from_utf8_lossy(&output.stdout);
    // A line that is not indented names a package; `<name>` is virtual, `name:arch` foreign.
    let names = text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase()));
    let names = names.filter(|name| !name.contains(':'));
    let mut wanted: Vec<_> = names.filter(|name| is_wanted(name)).map(str::to_owned).collect();
    wanted.sort_unstable();
    wanted.dedup();
    Ok(wanted)
}

/// Libraries only: what else a server depends on is for its service, not for the program.
fn is_wanted(package: &str) -> bool {
    PACKAGES.contains(&package) || package.starts_with("lib") || package == "zlib1g"
}

/// The mirror that the machine itself uses.
fn mirror() -> Result<String> {
    let modern = fs::read_to_string("/etc/apt/sources.list.d/debian.sources").unwrap_or_default();
    let classic = fs::read_to_string("/etc/apt/sources.list").unwrap_or_default();
    let uris = modern.lines().filter_map(|line| line.strip_prefix("URIs:"));
    let lines = classic.lines().filter(|line| line.starts_with("deb "));
    let words = uris.chain(lines).flat_map(str::split_whitespace);
    let mut addresses = words.filter(|word| word.contains("://"));
    let found = addresses.find(|address| !address.contains("security"));
    Ok(found.context("this machine has no Debian package source")?.to_owned())
}

fn wrap_all(folder: &Path) -> Result<()> {
    let root = folder.join("root");
    let mut libraries = Vec::new();
    let mut loader = None;
    find_libraries(&root, &mut libraries, &mut loader)?;
    let loader = loader.context("the packages bring no loader")?;
    let libraries: Vec<_> = libraries.iter().map(|dir| dir.display().to_string()).collect();
    for (name, files) in PROGRAMS {
        let mut files = files.iter().map(|file| root.join("usr/bin").join(file));
        // A link may point to an absolute path, which is not here.
        let program = files.find(|file| file.is_file());
        let program = program.with_context(|| format!("the packages bring no {name}"))?;
        let script = format!(
            "#!/bin/sh\nexec {} --argv0 {name} --library-path {} {} \"$@\"\n",
            loader.display(),
            libraries.join(":"),
            program.display(),
        );
        let wrapper = folder.join("bin").join(name);
        fs::write(&wrapper, script).with_context(|| format!("write {}", wrapper.display()))?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// Every folder that holds a shared library, and the loader.
fn find_libraries(
    folder: &Path,
    found: &mut Vec<PathBuf>,
    loader: &mut Option<PathBuf>,
) -> Result<()> {
    let mut holds = false;
    for entry in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Links to folders would be walked twice.
        if entry.file_type()?.is_dir() {
            find_libraries(&entry.path(), found, loader)?;
        } else if name.starts_with("ld-linux") {
            *loader = Some(entry.path());
        } else {
            holds |= name.contains(".so");
        }
    }
    if holds {
        found.push(folder.to_owned());
    }
    Ok(())
}
