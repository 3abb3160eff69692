//! Files: loading the data at start and saving them. The one room beside `net` that does I/O.
//!
//! A save goes to a temporary file, is flushed to the disk, and only then takes the place of the old
//! one by a rename, so that whatever happens there is a whole file under the name: the old or the new.

pub mod aof;
pub mod identity;
pub mod oom_score;
mod save;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::engine::aof::Source;
use crate::persistence::aof::{AofError, Manifest, ManifestError};
use crate::persistence::rdb::RdbError;

pub use save::open;

/// Why the data cannot be used or kept; one line each.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot write to the data folder {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot load {path} at offset {offset}: {source}")]
    Load { path: PathBuf, offset: u64, source: RdbError },
    #[error("cannot load {path}: {source}")]
    Manifest { path: PathBuf, source: ManifestError },
    #[error(
        "cannot load {path}: {source}; put a whole copy in its place, or start without these files and \
         take the data of another server"
    )]
    Aof { path: PathBuf, source: AofError },
    #[error("Unexpected end of file reading the append only file {path} at offset {offset}: {why}")]
    Torn { path: PathBuf, offset: u64, why: &'static str },
    #[error("Unknown command '{name}' reading the append only file {path} before offset {offset}")]
    Command { path: PathBuf, offset: u64, name: String },
}

/// Makes sure that the data folder can be written to, and removes what interrupted saves left.
pub fn prepare(dir: &str) -> Result<(), DiskError> {
    let path = Path::new(dir);
    let failed = |source| DiskError::Folder { path: path.to_owned(), source };
    save::remove_temporary(path).map_err(failed)?;
    let probe = path.join(save::temporary_name("probe"));
    fs::File::create(&probe).map_err(failed)?;
    fs::remove_file(&probe).map_err(failed)
}

/// The data file to be loaded, if there is one.
pub fn find(dir: &str, name: &str) -> Result<Option<Source>, DiskError> {
    let path = Path::new(dir).join(name);
    match aof::open_file(&path) {
        Ok((read, bytes)) => Ok(Some(Source { path, bytes, read, commands: false })),
        Err(DiskError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Why the system refused something, in its own words and without its number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

/// The append-only files to be loaded, if there are any.
pub fn find_aof(
    parent: &str,
    dir: &str,
    prefix: &str,
) -> Result<Option<(Manifest, Vec<Source>)>, DiskError> {
    let place = aof::Place { dir: Path::new(parent).join(dir), prefix: prefix.to_owned() };
    let Some(manifest) = aof::find(&place, Path::new(parent))? else { return Ok(None) };
    let mut sources = Vec::new();
    for entry in manifest.files() {
        let path = place.dir.join(&entry.name);
        let (read, bytes) = aof::open_file(&path)?;
        sources.push(Source { path, bytes, read, commands: true });
    }
    Ok(Some((manifest, sources)))
}

/// Makes the folder if there is none, and reads its manifest; the error is one line.
pub fn find_manifest(dir: &str, prefix: &str) -> Result<Option<Manifest>, String> {
    let place = aof::Place { dir: PathBuf::from(dir), prefix: prefix.to_owned() };
    fs::create_dir_all(dir).map_err(|error| format!("{dir}: {error}"))?;
    aof::find(&place, Path::new(".")).map_err(|error| error.to_string())
}

#[cfg(test)]
pub mod testing;
#[cfg(test)]
mod tests;

/// Reads a whole file.
pub fn read(path: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Puts a text in the place of a file, whole or not at all; returns when it is durable. `what` tells its
/// temporary name from those of other files of the folder.
pub fn replace(path: &str, what: &str, text: &[u8]) -> io::Result<()> {
    let path = Path::new(path);
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?;
    save::put(path.parent().unwrap_or(Path::new("")), what, name, text)
}
