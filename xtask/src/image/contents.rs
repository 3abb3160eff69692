//! What an image holds: a few folders, one program, and the libraries that the loader names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The user and group of every image's process.
pub const USER: u64 = 65_532;

/// One entry of a layer.
#[derive(Debug)]
pub enum Entry {
    /// A folder with its mode and its owner.
    Folder { mode: u32, owner: u64 },
    /// A file with its mode and its bytes; root owns it.
    File { mode: u32, bytes: Vec<u8> },
}

/// Entries by their path without the leading `/`, in the order in which they are written.
pub type Layer = BTreeMap<PathBuf, Entry>;

/// What every image has: a user, and folders that this user may write to.
pub fn base() -> Layer {
    let mut layer = Layer::new();
    let passwd = format!("root:x:0:0:root:/:/none\nredisha:x:{USER}:{USER}:redisha:/data:/none\n");
    let group = format!("root:x:0:\nredisha:x:{USER}:\n");
    add(&mut layer, "etc/passwd", 0o644, passwd.into_bytes());
    add(&mut layer, "etc/group", 0o644, group.into_bytes());
    layer.insert("tmp".into(), Entry::Folder { mode: 0o1777, owner: 0 });
    layer.insert("data".into(), Entry::Folder { mode: 0o750, owner: USER });
    layer
}

/// Adds a program as `/usr/local/bin/NAME`, with its libraries where its loader looks for them.
pub fn program(layer: &mut Layer, program: &Path) -> Result<()> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("read {}", path.display()));
    let name = program.file_name().context("a program has a name")?.to_string_lossy();
    add(layer, &format!("usr/local/bin/{name}"), 0o755, read(program)?);
    for library in libraries(program)? {
        let inside = library.strip_prefix("/").context("libraries have absolute paths")?;
        add(layer, &inside.to_string_lossy(), 0o755, read(&library)?);
    }
    Ok(())
}

fn add(layer: &mut Layer, path: &str, mode: u32, bytes: Vec<u8>) {
    let parents = Path::new(path).ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty());
    for folder in parents {
        let entry = Entry::Folder { mode: 0o755, owner: 0 };
        layer.entry(folder.to_owned()).or_insert(entry);
    }
    layer.insert(path.into(), Entry::File { mode, bytes });
}

/// What `ldd` names, the loader included; nothing for a static program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").env("LC_ALL", "C").arg(program).output();
    let output = output.context("start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("not a dynamic executable") || text.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        bail!("ldd {}: {}", program.display(), errors.trim());
    }
    parse_ldd(&text)
}

fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines() {
        if line.contains("not found") {
            bail!("a shared library is missing: {}", line.trim());
        }
        // `name => /path (address)`, or `/loader (address)`; the kernel's own has no path.
        found.extend(line.split_whitespace().find(|word| word.starts_with('/')).map(PathBuf::from));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ldd_names_libraries_and_the_loader_but_not_the_kernels_own() {
        let text = "\tlinux-vdso.so.1 (0x7ffd)\n\
            \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f01)\n\
            \t/lib64/ld-linux-x86-64.so.2 (0x7f02)\n";
        let found = parse_ldd(text).unwrap();
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"];
        assert_eq!(found, expected.map(PathBuf::from));
        assert!(parse_ldd("\tlibx.so.1 => not found\n").is_err());
    }

    #[test]
    fn a_file_brings_its_folders_before_it() {
        let mut layer = Layer::new();
        add(&mut layer, "usr/local/bin/x", 0o755, vec![1]);
        let paths: Vec<_> = layer.keys().map(|path| path.to_string_lossy().into_owned()).collect();
        assert_eq!(paths, ["usr", "usr/local", "usr/local/bin", "usr/local/bin/x"]);
    }
}
