//! `cargo xtask image`: OCI archives of the server and the operator, without an engine.
//!
//! An image is one layer with a program and the shared libraries it names: no shell, no package
//! manager, not root. The same inputs give the same bytes.

mod archive;
mod contents;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use crate::report::Report;
use crate::{compile, paths, run};
use archive::Image;

/// The version of the images is that of the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The image of the pod sandboxes of the test cluster.
pub const PAUSE: &str = "redisha-pause:1";

/// The archives in the order in which they are loaded.
pub fn run() -> Result<Report> {
    compile::programs()?;
    let archives = both()?;
    let list: Vec<_> = archives.iter().map(|path| path.display().to_string()).collect();
    for path in &list {
        eprintln!("{path}");
    }
    Ok(Report::plain(true).with("archives", json!(list)))
}

/// Writes the archives of operator and server from programs that are already built.
pub fn both() -> Result<Vec<PathBuf>> {
    let mut archives = Vec::new();
    for (image, program, workdir) in
        [("operator", "redisha", "/"), ("server", "redisha-server", "/data")]
    {
        let mut layer = contents::base();
        contents::program(&mut layer, &paths::program(program))?;
        let image = Image {
            name: format!("redisha-{image}:{VERSION}"),
            entrypoint: format!("/usr/local/bin/{program}"),
            workdir: workdir.to_owned(),
            layer,
        };
        archives.push(write(&image, &paths::images())?);
    }
    Ok(archives)
}

/// Writes the archive of the pause image.
pub fn pause() -> Result<PathBuf> {
    let folder = paths::target().join("pause");
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let program = folder.join("pause");
    run::must(
        Command::new("cc")
            .args(["-Os", "-static", "-s", "-o"])
            .arg(&program)
            .arg(paths::root().join("xtask/src/image/pause.c")),
    )?;
    let mut layer = contents::base();
    contents::program(&mut layer, &program)?;
    let image = Image {
        name: PAUSE.to_owned(),
        entrypoint: "/usr/local/bin/pause".to_owned(),
        workdir: "/".to_owned(),
        layer,
    };
    write(&image, &folder)
}

fn write(image: &Image, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let file = file_name(&image.name);
    let path = folder.join(file);
    let bytes = image.archive()?;
    fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// `redisha-server:0.1.0` becomes `redisha-server.tar`.
fn file_name(name: &str) -> String {
    let last = Path::new(name).file_name().unwrap_or_default().to_string_lossy();
    let base = last.split(':').next().unwrap_or_default();
    format!("{base}.tar")
}
