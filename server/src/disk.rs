//! Files: loading the data at start and saving them. The one room beside `net` that does I/O.
//!
//! A save goes to a temporary file, is flushed to the disk, and only then takes the place of the old
//! one by a rename, so that whatever happens there is a whole file under the name: the old or the new.

mod save;

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::persistence::load::{Data, DataLoader, Template};
use crate::persistence::rdb::RdbError;

pub use save::open;

/// Why the data cannot be used or kept; one line each.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("cannot write to the data folder {path}: {source}")]
    Folder { path: PathBuf, source: io::Error },
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("cannot load {path}: {source}")]
    Load { path: PathBuf, source: RdbError },
}

/// Makes sure that the data folder can be written to, and removes what interrupted saves left.
pub fn prepare(dir: &str) -> Result<(), DiskError> {
    let path = Path::new(dir);
    let failed = |source| DiskError::Folder { path: path.to_owned(), source };
    for entry in fs::read_dir(path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if save::is_temporary(&entry.file_name().to_string_lossy()) {
            fs::remove_file(entry.path()).map_err(failed)?;
        }
    }
    let probe = path.join(save::temporary_name("probe"));
    fs::File::create(&probe).map_err(failed)?;
    fs::remove_file(&probe).map_err(failed)
}

/// The data of the file, or none if there is no such file.
pub fn load(dir: &str, name: &str, template: Template) -> Result<Option<Data>, DiskError> {
    let path = Path::new(dir).join(name);
    let unread = |source| DiskError::Read { path: path.clone(), source };
    let unusable = |source| DiskError::Load { path: path.clone(), source };
    let mut file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unread(e)),
    };
    let mut loader = DataLoader::new(template);
    let mut chunk = vec![0; 256 * 1024];
    loop {
        let n = file.read(&mut chunk).map_err(unread)?;
        if n == 0 {
            return Err(unusable(RdbError::Truncated));
        }
        if loader.feed(&chunk[..n]).map_err(unusable)? {
            return Ok(Some(loader.finish()));
        }
    }
}

/// Why the system refused something, in its own words and without its number.
pub fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests;

/// Reads a whole file.
pub fn read(path: &str) -> std::io::Result<Vec<u8>> {
    std::fs::read(path)
}

/// Puts a text in the place of a file, whole or not at all.
pub fn replace(path: &str, text: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    let fresh = format!("{path}.{}.tmp", std::process::id());
    let written = std::fs::File::create(&fresh).and_then(|mut file| {
        file.write_all(text)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)
    });
    if written.is_err() {
        // The error tells what went wrong; the remains are only tidied away.
        let _ = std::fs::remove_file(&fresh);
    }
    written
}
