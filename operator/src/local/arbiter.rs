//! The arbiter as a file: compare-and-swap by version, under a lock, by an atomic rename.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;

use switchover::{Arbiter, Publication};

use super::layout::{Layout, replace};
use crate::executor::{ArbiterStore, WorldError};

/// The arbiter of one local environment.
#[derive(Debug, Clone)]
pub struct FileArbiter {
    path: PathBuf,
    uid: String,
}

impl FileArbiter {
    pub fn new(layout: &Layout, uid: &str) -> Self {
        Self { path: layout.arbiter(), uid: uid.to_owned() }
    }

    /// Reads it; a folder without one holds `Arbiter::new(uid)`.
    pub fn load(&self) -> Result<Arbiter, WorldError> {
        let unreadable = |why: String| WorldError(format!("{}: {why}", self.path.display()));
        match fs::read(&self.path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Arbiter::new(&self.uid)),
            Err(error) => Err(unreadable(error.to_string())),
        }
    }

    fn swap(&self, next: &Arbiter) -> io::Result<Publication> {
        let mut lock = self.path.clone().into_os_string();
        lock.push(".lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(lock)?;
        // Held by another executor only for the length of this function.
        lock.lock()?;
        let stored = self.load().map_err(|error| io::Error::other(error.0))?;
        if Some(stored.version) != next.version.checked_sub(1) {
            return Ok(Publication::Conflict);
        }
        replace(&self.path, &serde_json::to_string_pretty(next)?)?;
        Ok(Publication::Done)
    }
}

impl ArbiterStore for FileArbiter {
    async fn read(&self) -> Result<Arbiter, WorldError> {
        self.load()
    }

    async fn publish(&self, next: &Arbiter) -> Publication {
        match self.swap(next) {
            Ok(publication) => publication,
            Err(error) => {
                tracing::warn!(%error, "the arbiter cannot be written");
                Publication::Unknown
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::layout::random_hex;

    #[tokio::test]
    async fn only_the_next_version_is_written() {
        let name = format!("redisha-arbiter-{}", random_hex(8).unwrap());
        let layout = Layout::at(&std::env::temp_dir().join(name));
        let _held = layout.hold().unwrap();
        let store = FileArbiter::new(&layout, "u1");
        let mut next = store.read().await.unwrap();
        assert_eq!((next.uid.as_str(), next.version), ("u1", 0));
        next.version = 1;
        next.term = 7;
        assert_eq!(store.publish(&next).await, Publication::Done);
        assert_eq!(store.publish(&next).await, Publication::Conflict);
        next.version = 3;
        assert_eq!(store.publish(&next).await, Publication::Conflict);
        assert_eq!(store.read().await.unwrap().term, 7);
        fs::remove_dir_all(layout.root()).unwrap();
    }
}
