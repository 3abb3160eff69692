//! RedisHA's server beside Valkey: what both tell of their commands, and what both answer.
//!
//! The data lies in `tests/conformance/`: `differences.list` argues where the two tell different
//! things of a command, `directives.list` and `info.list` the same of directives and of INFO, and the scripts `*.txt` hold commands whose
//! replies must be equal in both dialects (see [`script`]). Further commands are made from the table itself (see [`generated`]).

pub mod argued;
pub mod directives;
pub mod generated;
pub mod info;
pub mod introspect;
pub mod pair;
pub mod script;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

pub use argued::Argued;
use pair::Pair;

/// What a comparison found.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Commands and subcommands whose descriptions were compared.
    pub commands: usize,
    /// Directives that were compared.
    pub directives: usize,
    /// Fields of INFO that were compared.
    pub fields: usize,
    /// The argued differences, each met at least once.
    pub differences: Vec<Argued>,
    /// Commands whose replies were compared, once per dialect.
    pub cases: usize,
    /// Everything that differs without a reason, one text each.
    pub failures: Vec<String>,
}

/// Compares everything. `data` is the folder with the scripts and the argued differences;
/// `only` picks the parts whose name contains it.
pub fn run(data: &Path, server: &Path, valkey: &Path, only: Option<&str>) -> Result<Outcome> {
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    let mut outcome = Outcome::default();
    let argued = |name: &str| {
        let path = data.join(name);
        fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let mut pair = Pair::start(server, valkey)?;
    if wanted("commands") {
        introspect::compare(&mut pair, &argued("differences.list")?, &mut outcome)?;
    }
    if wanted("info") {
        info::compare(&mut pair, &argued("info.list")?, &mut outcome)?;
        pair = pair.again()?;
    }
    if wanted("directives") {
        directives::compare(&mut pair, &argued("directives.list")?, &mut outcome)?;
        // What was asked for in between stays without effect on the rest.
        pair = pair.again()?;
    }
    let mut scripts: Vec<_> =
        fs::read_dir(data)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    scripts.sort();
    for path in scripts {
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if wanted(&name) {
            let text = fs::read_to_string(&path)?;
            pair = script::run(pair, &name, &text, &mut outcome)?;
        }
    }
    if wanted("generated") {
        generated::run(pair, &mut outcome)?;
    }
    Ok(outcome)
}
